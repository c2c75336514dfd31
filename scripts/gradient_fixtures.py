"""Writes gradients.safetensors of the fixtures gpt2-micro and families/llama: gradients of a scalar at every hook.

    python scripts/gradient_fixtures.py

The scalar is logits[0, -1, 3] - logits[1, -1, 5] + 0.5 logits[0, 4, 7]. Both models are written out here in plain PyTorch, from
the weights on disk, so that the residual stream enters every head's queries, keys and values and the MLP as a tensor of its own:
`hook_q_input` [B, T, H, D], `hook_k_input` and `hook_v_input` [B, T, K, D], `hook_mlp_in` [B, T, D], each before the norm, as in
TransformerLens. `gradients.safetensors` holds `ids` [B, T], `scalar` [1] and the gradients under the hooks' names. Gradients at
masked scores are 0; those at masked places of a pattern are what they would be if the pattern there were a free number.
Logits must be those of `expected.safetensors`, and the gradients of all separate inputs of a block, plus the one that goes round
it, must add up to the gradient of its residual stream. Made with torch 2.15.0.
"""

import json
import math
import pathlib

import torch
from safetensors.torch import load_file, save_file

FIXTURES = pathlib.Path(__file__).parent.parent / "lm/tests/fixtures"


class Pass:
    """The tensors of a forward pass, by name, which keep their gradients."""

    def __init__(self):
        self.tensors = {}

    def keep(self, name, tensor):
        """`tensor` as a node of its own, so that what else uses it does not count."""
        tensor = tensor.clone()
        tensor.retain_grad()
        self.tensors[name] = tensor
        return tensor

    def heads(self, name, resid, n):
        """The residual stream [B, T, D] once for each of `n` heads, [B, T, N, D]."""
        return self.keep(name, resid[:, :, None].expand(-1, -1, n, -1))


def layer_norm(x, weight, bias):
    x = x - x.mean(-1, keepdim=True)
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def attend(keep, at, q, k, v):
    """`z` [B, T, H, Dh] of queries [B, T, H, Dh], keys and values [B, T, K, Dh]."""
    group = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(q.shape[3])
    length = q.shape[1]
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    scores = keep(f"{at}.attn.hook_attn_scores", scores.masked_fill(later, torch.finfo(torch.float32).min))
    pattern = keep(f"{at}.attn.hook_pattern", scores.softmax(-1))
    return keep(f"{at}.attn.hook_z", torch.einsum("bhij,bjhd->bihd", pattern, v))


def gpt2(run, weights, config, ids):
    keep, heads = run.keep, config["n_head"]
    w = {name.removeprefix("transformer."): value for name, value in weights.items()}
    x = keep("hook_embed", w["wte.weight"][ids].requires_grad_())
    x = x + keep("hook_pos_embed", w["wpe.weight"][: ids.shape[1]].expand(ids.shape[0], -1, -1).clone().requires_grad_())
    width = x.shape[2]
    for layer in range(config["n_layer"]):
        at, h = f"blocks.{layer}", f"h.{layer}"
        x = keep(f"{at}.hook_resid_pre", x)
        weight = w[f"{h}.attn.c_attn.weight"].view(width, 3, heads, -1)  # [D, 3, H, Dh]
        bias = w[f"{h}.attn.c_attn.bias"].view(3, heads, -1)
        parts = []
        for i, name in enumerate("qkv"):
            entering = run.heads(f"{at}.hook_{name}_input", x, heads)
            normed = layer_norm(entering, w[f"{h}.ln_1.weight"], w[f"{h}.ln_1.bias"])
            parts.append(keep(f"{at}.attn.hook_{name}", torch.einsum("bthd,dhe->bthe", normed, weight[:, i]) + bias[i]))
        z = attend(keep, at, *parts)
        out = z.flatten(2) @ w[f"{h}.attn.c_proj.weight"] + w[f"{h}.attn.c_proj.bias"]
        x = keep(f"{at}.hook_resid_mid", x + keep(f"{at}.hook_attn_out", out))
        entering = keep(f"{at}.hook_mlp_in", x)
        normed = layer_norm(entering, w[f"{h}.ln_2.weight"], w[f"{h}.ln_2.bias"])
        pre = keep(f"{at}.mlp.hook_pre", normed @ w[f"{h}.mlp.c_fc.weight"] + w[f"{h}.mlp.c_fc.bias"])
        post = keep(f"{at}.mlp.hook_post", torch.nn.functional.gelu(pre, approximate="tanh"))
        out = keep(f"{at}.hook_mlp_out", post @ w[f"{h}.mlp.c_proj.weight"] + w[f"{h}.mlp.c_proj.bias"])
        x = keep(f"{at}.hook_resid_post", x + out)
    x = keep("ln_final.hook_normalized", layer_norm(x, 1.0, 0.0))
    return (x * w["ln_f.weight"] + w["ln_f.bias"]) @ w["wte.weight"].T


def llama(run, w, config, ids):
    keep = run.keep
    counts = dict(q=config["num_attention_heads"], k=config["num_key_value_heads"], v=config["num_key_value_heads"])
    head = config["head_dim"]

    def rms(x, weight):
        return x * (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).rsqrt() * weight

    frequencies = config["rope_parameters"]["rope_theta"] ** (-torch.arange(0, head, 2).float() / head)
    angles = torch.arange(ids.shape[1])[:, None].float() * frequencies  # [T, Dh / 2]
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]  # [T, 1, Dh / 2]

    def rotate(x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    x = keep("hook_embed", w["model.embed_tokens.weight"][ids].requires_grad_())
    for layer in range(config["num_hidden_layers"]):
        at, h = f"blocks.{layer}", f"model.layers.{layer}"
        x = keep(f"{at}.hook_resid_pre", x)
        parts = []
        for name, n in counts.items():
            normed = rms(run.heads(f"{at}.hook_{name}_input", x, n), w[f"{h}.input_layernorm.weight"])
            weight = w[f"{h}.self_attn.{name}_proj.weight"].view(n, head, -1)  # [H or K, Dh, D]
            part = keep(f"{at}.attn.hook_{name}", torch.einsum("bthd,hed->bthe", normed, weight))
            parts.append(part if name == "v" else keep(f"{at}.attn.hook_rot_{name}", rotate(part)))
        z = attend(keep, at, *parts)
        out = keep(f"{at}.hook_attn_out", z.flatten(2) @ w[f"{h}.self_attn.o_proj.weight"].T)
        x = keep(f"{at}.hook_resid_mid", x + out)
        normed = rms(keep(f"{at}.hook_mlp_in", x), w[f"{h}.post_attention_layernorm.weight"])
        gate = keep(f"{at}.mlp.hook_pre", normed @ w[f"{h}.mlp.gate_proj.weight"].T)
        up = keep(f"{at}.mlp.hook_pre_linear", normed @ w[f"{h}.mlp.up_proj.weight"].T)
        post = keep(f"{at}.mlp.hook_post", torch.nn.functional.silu(gate) * up)
        out = keep(f"{at}.hook_mlp_out", post @ w[f"{h}.mlp.down_proj.weight"].T)
        x = keep(f"{at}.hook_resid_post", x + out)
    x = keep("ln_final.hook_normalized", rms(x, 1.0))
    return x * w["model.norm.weight"] @ w["lm_head.weight"].T


def case(folder, forward, rows, length):
    folder = FIXTURES / folder
    config = json.loads((folder / "config.json").read_text())
    expected = load_file(folder / "expected.safetensors")
    ids = expected["ids"][:rows, :length]
    run = Pass()
    logits = forward(run, load_file(folder / "model.safetensors"), config, ids)
    difference = (logits - expected["logits"][:rows, :length]).abs().max().item()
    assert difference < 2e-5, difference
    for name, tensor in run.tensors.items():
        if name in expected and "attn_scores" not in name:
            found = expected[name][:rows, :, :length, :length] if "pattern" in name else expected[name][:rows, :length]
            error = (tensor - found).abs().max().item()
            assert error < 2e-5, (name, error)
    scalar = logits[0, -1, 3] - logits[1, -1, 5] + 0.5 * logits[0, 4, 7]
    scalar.backward()
    gradients = {name: tensor.grad.contiguous() for name, tensor in run.tensors.items()}

    layers = 1 + max(int(name.split(".")[1]) for name in gradients if name.startswith("blocks."))
    for at in (f"blocks.{layer}" for layer in range(layers)):
        inputs = sum(gradients[f"{at}.hook_{x}_input"].sum(2) for x in "qkv")
        for total, parts in (
            (f"{at}.hook_resid_pre", gradients[f"{at}.hook_resid_mid"] + inputs),
            (f"{at}.hook_resid_mid", gradients[f"{at}.hook_resid_post"] + gradients[f"{at}.hook_mlp_in"]),
        ):
            assert torch.allclose(gradients[total], parts, rtol=1e-4, atol=1e-5), total
    assert all(gradient.abs().max() > 1e-3 for gradient in gradients.values())
    path = folder / "gradients.safetensors"
    save_file({"ids": ids.contiguous(), "scalar": scalar.detach().reshape(1)} | gradients, path)
    print(path, len(gradients), f"gradients, {path.stat().st_size / 1000:.0f} kB, logits differ by {difference:.1e}")


torch.set_num_threads(1)
case("gpt2-micro", gpt2, 2, 8)
case("families/llama", llama, 2, 8)
