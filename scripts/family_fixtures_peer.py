"""TransformerLens's opinion on the fixtures that `family_fixtures.py` and `gradient_fixtures.py` have made.

    python scripts/family_fixtures_peer.py

Loads the same weights into `HookedTransformer` (removed in version 4: `pip install --no-deps transformer-lens==3.9.0 better-abc`) and
compares logits, every hook of the same name and shape, and the gradients. Fails where one is off by more than a share of 2e-5 of
the largest number. Made with TransformerLens 3.9.0, transformers 5.24.0 and torch 2.15.0.
"""

import pathlib

import torch
from safetensors.torch import load_file
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained import weight_conversions as convert
from transformers import AutoModelForCausalLM

FIXTURES = pathlib.Path(__file__).parent.parent / "lm/tests/fixtures"
ROTARY = dict(positional_embedding_type="rotary", rotary_adjacent_pairs=False, rotary_base=100, n_ctx=64, d_vocab=50)
RMS = ROTARY | dict(
    n_layers=2, d_model=24, d_head=8, n_heads=4, n_key_value_heads=2, d_mlp=40, act_fn="silu", gated_mlp=True,
    normalization_type="RMS", final_rms=True, rotary_dim=8, eps=1e-6,
)
GEMMA2 = dict(
    n_layers=3, act_fn="gelu_pytorch_tanh", use_local_attn=True, window_size=4, attn_types=["local", "global", "local"],
    use_attn_scale=True, attn_scale=5**0.5, attn_scores_soft_cap=1.5, output_logits_soft_cap=2.0,
    use_normalization_before_and_after=True, original_architecture="Gemma2ForCausalLM",
)
NEOX = ROTARY | dict(
    n_layers=2, d_model=32, d_head=16, n_heads=2, d_mlp=40, act_fn="gelu", normalization_type="LN", eps=1e-5,
    original_architecture="GPTNeoXForCausalLM",
)
GPT2 = dict(
    n_layers=3, d_model=48, n_ctx=32, d_head=12, n_heads=4, d_mlp=192, d_vocab=211, act_fn="gelu_new", normalization_type="LN",
    eps=1e-5,
)
CASES = {
    "families/llama": (RMS | dict(eps=1e-5, original_architecture="LlamaForCausalLM"), convert.convert_llama_weights),
    "families/qwen3": (
        RMS | dict(d_head=10, rotary_dim=10, use_qk_norm=True, original_architecture="Qwen3ForCausalLM"),
        convert.convert_qwen3_weights,
    ),
    "families/gemma2": (RMS | GEMMA2, convert.convert_gemma_weights),
    "families/neox": (NEOX | dict(rotary_dim=4, parallel_attn_mlp=True), convert.convert_neox_weights),
    "families/neox-serial": (NEOX | dict(rotary_dim=8), convert.convert_neox_weights),
    "gpt2-micro": (GPT2, convert.convert_gpt2_weights),
}


def compare(case, found, expected):
    """How many tensors agree and which have no counterpart of the same shape."""
    agree, other, wrong = 0, [], []
    for name, right in expected.items():
        if name in ("ids", "scalar", "next_token_loss"):
            continue
        if name not in found or found[name].shape != right.shape:
            other.append(name)
            continue
        visible = right > -1e9 if name.endswith("attn_scores") else torch.ones_like(right, dtype=torch.bool)
        a, b = found[name][visible], right[visible]
        error = ((a - b).abs().max() / b.abs().max()).item()
        if error < 2e-5:
            agree += 1
        else:
            wrong.append((name, error))
    print(case, agree, "agree; without counterpart:", other, "; wrong:", wrong)
    return not wrong and agree > 0


def main():
    right = True
    for case, (config, weights) in CASES.items():
        folder = FIXTURES / case
        expected = load_file(folder / "expected.safetensors")
        checkpoint = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
        config = HookedTransformerConfig(**config, device="cpu", seed=0)
        model = HookedTransformer(config)
        model.load_state_dict(weights(checkpoint, config), strict=False)
        model.set_use_attn_result(True)
        with torch.no_grad():
            logits, cache = model.run_with_cache(expected["ids"])
        right &= compare(case, dict(cache) | {"logits": logits}, expected)
        if not (folder / "gradients.safetensors").exists():
            continue
        expected, found = load_file(folder / "gradients.safetensors"), {}
        model.set_use_attn_result(False)
        model.set_use_split_qkv_input(True)
        model.set_use_hook_mlp_in(True)
        for name in expected:
            if name in model.hook_dict:
                keep = lambda gradient, hook: found.__setitem__(hook.name, gradient.detach().clone())
                model.hook_dict[name].add_hook(keep, dir="bwd")
        logits = model(expected["ids"])
        (logits[0, -1, 3] - logits[1, -1, 5] + 0.5 * logits[0, 4, 7]).backward()
        right &= compare(f"{case}, gradients", found, expected)
    assert right


main()
