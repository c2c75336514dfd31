"""Writes lm/tests/fixtures/families: micro models of every family with random weights, run by `transformers`.

    python scripts/family_fixtures.py [CASE ...]

Each case is a folder in Hugging Face layout (config.json, model.safetensors, f32) with `expected.safetensors`: `ids` [B, T],
`logits` [B, T, V] and every hook under TransformerLens's classic name. Where a case has `config-old.json`, that is the same
configuration in the keys of transformers 4; transformers computes the same logits from both, which is checked here.
The cases `defaults-*` state sizes alone: all else is what an absent key means.

No weight, norm weight or bias is 0 or 1. Inputs and outputs of modules come from forward hooks, rotated queries and keys from a
wrapper around the eager attention function; what no module returns (scores, normalised values, results of heads) is computed
here, and what transformers computes from it must come out. Masked scores are the lowest f32.
Made with transformers 5.24.0 and torch 2.15.0.
"""

import json
import math
import pathlib
import sys
import tempfile
import zlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

FOLDER = pathlib.Path(__file__).parent.parent / "lm/tests/fixtures/families"
ROWS, LENGTH = 2, 12
LOWEST = torch.finfo(torch.float32).min

LLAMA = dict(
    model_type="llama", vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
    tie_word_embeddings=False,
)
QWEN2 = dict(
    model_type="qwen2", vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, bos_token_id=1, eos_token_id=2,
)
GEMMA = dict(
    vocab_size=50, hidden_size=24, intermediate_size=40, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    max_position_embeddings=64, rms_norm_eps=1e-6,
)
NEOX = dict(
    model_type="gpt_neox", vocab_size=50, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=64, layer_norm_eps=1e-5,
)
THETA_100 = dict(rope_type="default", rope_theta=100.0)

CASES = {
    "llama": LLAMA | dict(rope_parameters=THETA_100),
    "llama3": LLAMA | dict(
        tie_word_embeddings=True,
        # Wavelengths 6, 20, 63, 199: below 32 / 4, between, and twice above 32 / 1.
        rope_parameters=dict(
            rope_type="llama3", rope_theta=100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=32,
        ),
    ),
    "llama-bias": LLAMA | dict(attention_bias=True, mlp_bias=True, num_key_value_heads=4, rope_parameters=THETA_100),
    "llama-yarn": LLAMA | dict(
        # A ramp of 0, 1/3, 2/3, 1.
        rope_parameters=dict(
            rope_type="yarn", rope_theta=100.0, factor=4.0, beta_fast=8.0, beta_slow=1.0,
            original_max_position_embeddings=64,
        ),
        max_position_embeddings=256,
    ),
    "llama-linear": LLAMA | dict(rope_parameters=dict(rope_type="linear", rope_theta=100.0, factor=2.5)),
    "mistral": LLAMA | dict(model_type="mistral", sliding_window=4, num_key_value_heads=1, rope_parameters=THETA_100),
    "qwen2": QWEN2 | dict(tie_word_embeddings=True, rope_parameters=THETA_100),
    "qwen2-window": QWEN2 | dict(
        num_hidden_layers=3, use_sliding_window=True, sliding_window=3, max_window_layers=1, tie_word_embeddings=False,
        rope_parameters=THETA_100,
    ),
    "qwen3": QWEN2 | dict(model_type="qwen3", head_dim=10, tie_word_embeddings=True, rope_parameters=THETA_100),
    "gemma2": GEMMA | dict(
        model_type="gemma2", num_hidden_layers=3, attn_logit_softcapping=1.5, final_logit_softcapping=2.0,
        query_pre_attn_scalar=5, sliding_window=4, rope_parameters=THETA_100,
    ),
    "gemma3": GEMMA | dict(
        model_type="gemma3_text", num_hidden_layers=3, query_pre_attn_scalar=6, sliding_window=4,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        rope_parameters=dict(
            sliding_attention=dict(rope_type="default", rope_theta=30.0),
            full_attention=dict(rope_type="linear", rope_theta=200.0, factor=8.0),
        ),
    ),
    "neox": NEOX | dict(
        use_parallel_residual=True, tie_word_embeddings=True,
        rope_parameters=THETA_100 | dict(partial_rotary_factor=0.25),
    ),
    "neox-serial": NEOX | dict(
        use_parallel_residual=False, tie_word_embeddings=False,
        rope_parameters=THETA_100 | dict(partial_rotary_factor=0.5),
    ),
}

# What is kept of a case that differs from another in one thing only, by the ends of names; of a case that is not here, all.
KEPT = {
    "llama3": ("rot_q", "rot_k", "attn_scores", "pattern", "hook_resid_post"),
    "llama-yarn": ("rot_q", "rot_k", "attn_scores", "pattern", "hook_resid_post"),
    "llama-linear": ("rot_q", "rot_k", "attn_scores", "pattern", "hook_resid_post"),
    "mistral": ("rot_q", "rot_k", "attn_scores", "pattern", "hook_z", "hook_resid_post"),
    "qwen2-window": ("rot_q", "rot_k", "attn_scores", "pattern", "hook_z", "hook_resid_post"),
    "defaults": ("hook_pattern", "hook_resid_post"),
}
WITH_RESULT = ("llama", "llama-bias", "gemma3", "neox-serial")

SIZES = dict(vocab_size=20, hidden_size=12, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
# Sizes that are stated beyond them, since the default would be too large or does not divide the heads.
WITHOUT_DEFAULTS = {
    "llama": {},
    "mistral": dict(num_key_value_heads=1),
    "qwen2": dict(num_key_value_heads=1),
    "qwen3": dict(num_key_value_heads=1, head_dim=8),
    "gemma2": dict(num_key_value_heads=1, head_dim=8),
    "gemma3_text": dict(num_key_value_heads=1, head_dim=8),
    # A quarter of 8 dimensions is rotated.
    "gpt_neox": dict(hidden_size=16),
}


def old_spelling(config):
    """The keys of transformers 4 for a configuration in those of 5."""
    config = dict(config)
    rope = config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype")
    if "full_attention" in rope:
        config["rope_theta"] = rope["full_attention"]["rope_theta"]
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    elif config["model_type"] == "gpt_neox":
        config["rotary_emb_base"] = rope["rope_theta"]
        config["rotary_pct"] = rope["partial_rotary_factor"]
    else:
        config["rope_theta"] = rope["rope_theta"]
    scaling = {key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")}
    config["rope_scaling"] = None if scaling["rope_type"] == "default" else scaling
    if scaling["rope_type"] == "linear" and config["model_type"] == "llama":
        scaling["type"] = scaling.pop("rope_type")
    if config.get("layer_types") and config["model_type"] != "mistral":
        del config["layer_types"]
    if config["model_type"] == "gemma3_text":
        config["sliding_window_pattern"] = 3
        del config["_sliding_window_pattern"]
        config["cache_implementation"] = "hybrid"
    if config["model_type"] == "qwen2" and not config["use_sliding_window"]:
        config["sliding_window"] = 3  # As in released files: stated, and not used.
    if config["num_attention_heads"] == config.get("num_key_value_heads"):
        del config["num_key_value_heads"]
    if config["model_type"] == "gemma2":
        # Released files carry it, and it is not what is computed.
        config["hidden_act"] = "gelu"
    return config


def draw(model, gemma):
    """Random numbers in every parameter, none of them what a parameter is set to at first."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if name.endswith("bias"):
                parameter.copy_(0.2 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.3 * noise if gemma else 1 + 0.3 * noise)
            elif "embed" in name or "lm_head" in name:
                parameter.copy_(0.4 * noise)
            else:
                gain = 1.6 if any(part in name for part in ("q_proj", "k_proj", "query_key_value")) else 1.0
                parameter.copy_(gain * noise / math.sqrt(parameter.shape[1]))


class Recorder:
    """Inputs and outputs of modules by name, and the arguments and results of attention by layer."""

    def __init__(self, model):
        self.inputs, self.outputs, self.attention = {}, {}, []
        self.handles = [
            module.register_forward_hook(self.of(name), with_kwargs=True) for name, module in model.named_modules() if name
        ]
        self.module = sys.modules[type(model).__module__]
        self.eager = self.module.eager_attention_forward
        self.module.eager_attention_forward = self.attend

    def of(self, name):
        def record(_, args, kwargs, output):
            if args or kwargs.get("hidden_states") is not None:
                self.inputs[name] = args[0] if args else kwargs["hidden_states"]
            self.outputs[name] = output
        return record

    def attend(self, module, query, key, value, mask, **kwargs):
        z, pattern = self.eager(module, query, key, value, mask, **kwargs)
        self.attention.append((query, key, value, mask, kwargs, z, pattern))
        return z, pattern

    def close(self):
        self.module.eager_attention_forward = self.eager
        for handle in self.handles:
            handle.remove()


def same(a, b, what, tolerance=2e-6):
    error = (a - b).abs().max().item() / b.abs().max().item()
    assert a.shape == b.shape and error < tolerance, f"{what}: {error}"


def normalised(x, epsilon, centred):
    x = x - x.mean(-1, keepdim=True) if centred else x
    scale = (x.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
    return x / scale, scale


class Hooks:
    """All hooks of one run. `strict`: caps must change something."""

    def __init__(self, model, record, strict):
        self.strict = strict
        self.model, self.config, self.record, self.found = model, model.config, record, {}
        self.neox = self.config.model_type == "gpt_neox"
        self.gemma = self.config.model_type.startswith("gemma")
        self.body = "gpt_neox" if self.neox else "model"

    def keep(self, name, tensor):
        assert name not in self.found and tensor.isfinite().all(), name
        self.found[name] = tensor.detach().clone().contiguous()

    def norm(self, name, module):
        """Scale and normalised values of a norm, checked against what it returns."""
        layer = self.model.get_submodule(module)
        epsilon = self.config.layer_norm_eps if self.neox else self.config.rms_norm_eps
        x_hat, scale = normalised(self.record.inputs[module], epsilon, self.neox)
        weighted = x_hat * (1 + layer.weight) if self.gemma else x_hat * layer.weight
        same(weighted + layer.bias if self.neox else weighted, self.record.outputs[module], module)
        self.keep(f"{name}.hook_scale", scale)
        self.keep(f"{name}.hook_normalized", x_hat)

    def all(self, out):
        record, body = self.record, self.body
        embed = record.outputs[f"{body}.{'embed_in' if self.neox else 'embed_tokens'}"]
        same(embed, record.inputs[f"{body}.layers.0"], "embedding")
        self.keep("hook_embed", embed)
        for layer in range(self.config.num_hidden_layers):
            self.block(layer)
            self.attention(layer, out.attentions[layer])
            self.mlp(layer)
        last = f"{body}.{'final_layer_norm' if self.neox else 'norm'}"
        same(record.inputs[last], record.outputs[f"{body}.layers.{self.config.num_hidden_layers - 1}"], "last block")
        self.norm("ln_final", last)
        logits = record.outputs["lm_head"]
        cap = getattr(self.config, "final_logit_softcapping", None)
        same(cap * torch.tanh(logits / cap) if cap else logits, out.logits, "logits")
        if cap and self.strict:
            assert (logits - out.logits).abs().max() > 0.5, "the cap of logits does nothing"
        self.keep("logits", out.logits)
        return self.found

    def block(self, layer):
        record, at, block = self.record, f"{self.body}.layers.{layer}", f"blocks.{layer}"
        before, after = record.inputs[at], record.outputs[at]
        attention, mlp = record.outputs[f"{at}.{'attention' if self.neox else 'self_attn'}"][0], record.outputs[f"{at}.mlp"]
        second = "post_attention_layernorm"
        if self.gemma:
            self.norm(f"{block}.ln1_post", f"{at}.post_attention_layernorm")
            self.norm(f"{block}.ln2_post", f"{at}.post_feedforward_layernorm")
            attention = record.outputs[f"{at}.post_attention_layernorm"]
            mlp = record.outputs[f"{at}.post_feedforward_layernorm"]
            second = "pre_feedforward_layernorm"
        self.norm(f"{block}.ln1", f"{at}.input_layernorm")
        self.norm(f"{block}.ln2", f"{at}.{second}")
        same(record.inputs[f"{at}.input_layernorm"], before, "input of the first norm")
        self.keep(f"{block}.hook_resid_pre", before)
        if self.neox and self.config.use_parallel_residual:
            same(record.inputs[f"{at}.{second}"], before, "input of the second norm")
        else:
            mid = record.inputs[f"{at}.{second}"]
            same(before + attention, mid, "between attention and MLP")
            self.keep(f"{block}.hook_resid_mid", mid)
        same(before + attention + mlp, after, "residual stream")
        self.keep(f"{block}.hook_resid_post", after)
        self.keep(f"{block}.hook_attn_out", attention)
        self.keep(f"{block}.hook_mlp_out", mlp)

    def attention(self, layer, weights):
        record, block = self.record, f"blocks.{layer}.attn"
        at = f"{self.body}.layers.{layer}.{'attention' if self.neox else 'self_attn'}"
        query, key, value, mask, kwargs, z, pattern = record.attention[layer]
        heads, width = query.shape[1], query.shape[3]
        rows, length = query.shape[0], query.shape[2]
        if self.neox:
            parts = record.outputs[f"{at}.query_key_value"].view(rows, length, heads, 3, width).unbind(3)
        else:
            parts = [record.outputs[f"{at}.{x}_proj"].view(rows, length, -1, width) for x in "qkv"]
        for name, part in zip("qkv", parts):
            self.keep(f"{block}.hook_{name}", part)  # [B, T, H or K, Dh]
        same(parts[2].transpose(1, 2), value, "values")
        q, k = parts[:2]
        if f"{at}.q_norm" in record.outputs:
            q, k = [record.outputs[f"{at}.{x}_norm"] for x in "qk"]
            if q.shape[1] == heads and q.shape[2] == length:
                q, k = q.transpose(1, 2), k.transpose(1, 2)
            for name, part, raw in (("q", q, parts[0]), ("k", k, parts[1])):
                weight = self.model.get_submodule(f"{at}.{name}_norm").weight
                x_hat, _ = normalised(raw, self.config.rms_norm_eps, False)
                same(x_hat * (1 + weight if self.gemma else weight), part, f"norm of {name}")
                self.keep(f"{block}.hook_{name}_normed", part)
        self.rotated(layer, q, k, query, key)
        self.keep(f"{block}.hook_rot_q", query.transpose(1, 2))  # [B, T, H, Dh]
        self.keep(f"{block}.hook_rot_k", key.transpose(1, 2))  # [B, T, K, Dh]

        group = heads // key.shape[1]
        scores = query @ key.repeat_interleave(group, 1).transpose(2, 3) * kwargs["scaling"]  # [B, H, T, T]
        if kwargs.get("softcap"):
            capped = kwargs["softcap"] * torch.tanh(scores / kwargs["softcap"])
            assert not self.strict or (capped - scores).abs().max() > 0.5, "the cap of scores does nothing"
            scores = capped
        visible = (mask == 0).expand(rows, heads, length, length)
        i, j = torch.arange(length)[:, None], torch.arange(length)[None]
        window = self.window(layer)
        expected = (j <= i) & (j > i - window) if window else j <= i
        assert (visible == expected).all(), "mask"
        scores = scores.masked_fill(~visible, LOWEST)
        same(scores.softmax(-1), pattern, "pattern")
        same(pattern, weights, "pattern that the model returns")
        self.keep(f"{block}.hook_attn_scores", scores)
        self.keep(f"{block}.hook_pattern", pattern)
        same(torch.einsum("bhij,bjhd->bihd", pattern, parts[2].repeat_interleave(group, 2)), z, "z")
        self.keep(f"{block}.hook_z", z)  # [B, T, H, Dh]

        out = self.model.get_submodule(f"{at}.{'dense' if self.neox else 'o_proj'}")
        result = torch.einsum("bthd,ohd->btho", z, out.weight.view(-1, heads, width))  # [B, T, H, D]
        total = result.sum(2) if out.bias is None else result.sum(2) + out.bias
        same(total, record.outputs[at][0], "sum of the heads' results")
        self.keep(f"{block}.hook_result", result)

    def window(self, layer):
        config = self.config
        kinds = getattr(config, "layer_types", None)
        if config.model_type == "mistral" or (kinds and kinds[layer] == "sliding_attention"):
            return config.sliding_window
        return None

    def rotated(self, layer, q, k, query, key):
        """What attention received are the projections, rotated by the model's own rotary module."""
        rotary = self.model.get_submodule(f"{self.body}.rotary_emb")
        positions = torch.arange(q.shape[1])[None]
        kind = [self.config.layer_types[layer]] if self.config.model_type == "gemma3_text" else []
        cos, sin = rotary(q, positions, *kind)
        turned = self.record.module.apply_rotary_pos_emb(q.transpose(1, 2), k.transpose(1, 2), cos, sin)
        same(turned[0], query, "rotated queries")
        same(turned[1], key, "rotated keys")
        assert (query - q.transpose(1, 2)).abs().max() > 0.1, "nothing is rotated"

    def mlp(self, layer):
        record, at, block = self.record, f"{self.body}.layers.{layer}.mlp", f"blocks.{layer}.mlp"
        if self.neox:
            self.keep(f"{block}.hook_pre", record.outputs[f"{at}.dense_h_to_4h"])
            post = record.inputs[f"{at}.dense_4h_to_h"]
        else:
            gate, up = record.outputs[f"{at}.gate_proj"], record.outputs[f"{at}.up_proj"]
            post = record.inputs[f"{at}.down_proj"]
            same(record.outputs[f"{at}.act_fn"] * up, post, "gated MLP")
            self.keep(f"{block}.hook_pre", gate)
            self.keep(f"{block}.hook_pre_linear", up)
        self.keep(f"{block}.hook_post", post)


def run(model, ids, strict=True):
    record = Recorder(model)
    with torch.no_grad():
        out = model(ids, output_attentions=True, use_cache=False)
        found = Hooks(model, record, strict).all(out)
    record.close()
    return found


def write(path, config):
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def made(name, config):
    """The folder of a case, with its model; transformers reads it again from there."""
    torch.manual_seed(zlib.crc32(name.encode()))
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name != "gradients.safetensors":
            old.unlink()
    config = AutoConfig.for_model(**config)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    draw(model, config.model_type.startswith("gemma"))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder, config.vocab_size


def loaded(folder):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def logits_with(folder, config, ids):
    """What transformers computes from the weights of `folder` with another configuration."""
    with tempfile.TemporaryDirectory() as other:
        other = pathlib.Path(other)
        write(other / "config.json", config)
        (other / "model.safetensors").symlink_to(folder / "model.safetensors")
        with torch.no_grad():
            return loaded(other)(ids, use_cache=False).logits


def selected(name, found):
    ends = KEPT.get(name.split("-")[0] if name.startswith("defaults") else name)
    result = name in WITH_RESULT
    return {
        key: value for key, value in found.items()
        if key == "logits" or ((result or not key.endswith("hook_result")) and (ends is None or key.endswith(ends)))
    }


def case(name, config):
    folder, vocabulary = made(name, config)
    ids = torch.randint(0, vocabulary, (ROWS, LENGTH))
    found = run(loaded(folder), ids)
    kept = selected(name, found)
    save_file({"ids": ids} | kept, folder / "expected.safetensors")
    old = old_spelling(json.loads((folder / "config.json").read_text()))
    assert torch.equal(logits_with(folder, old, ids), found["logits"]), f"{name}: the old spelling says something else"
    write(folder / "config-old.json", old)
    report(name, folder, kept)


def defaults_case(family, changes):
    name = f"defaults-{family}"
    config = {"model_type": family} | SIZES | changes
    folder, vocabulary = made(name, config)
    write(folder / "config.json", config)
    ids = torch.randint(0, vocabulary, (ROWS, LENGTH))
    kept = selected(name, run(loaded(folder), ids, strict=False))
    save_file({"ids": ids} | kept, folder / "expected.safetensors")
    report(name, folder, kept)


def report(name, folder, found):
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    weights = load_file(folder / "model.safetensors")
    largest = max(value.abs().max().item() for key, value in found.items() if not key.endswith("hook_attn_scores"))
    print(f"{name}: {len(found)} tensors, largest {largest:.1f}, {sum(sizes.values()) / 1000:.0f} kB, {sizes}, "
          f"{len(weights)} weights")
    assert sizes["model.safetensors"] < 100_000


def main(chosen):
    torch.set_num_threads(1)
    for name, config in CASES.items():
        if not chosen or name in chosen:
            case(name, config)
    for family, changes in WITHOUT_DEFAULTS.items():
        if not chosen or f"defaults-{family}" in chosen:
            defaults_case(family, changes)


main(sys.argv[1:])
