"""Writes lm/tests/fixtures/llama-geometry: SmolLM2-135M's sizes with hashed weights, run by `transformers`.

    python scripts/llama_geometry.py

Element i (in the checkpoint's own row-major order, linear weights as [out, in]) of the tensor at place t is
hash(i + t * 0x9e3779b9), whose upper 24 bits are read as u in [-1/2, 1/2). A norm's weight is 1 + u / 4, every other weight u / 8,
as in `gpt2_geometry.py`: a product with 576 normalised numbers then has a standard deviation of 0.87, scores one of about 1, and
the residual stream grows from 0.04 to about 5. Places, counted from 0: model.embed_tokens.weight; of every layer
input_layernorm.weight, self_attn.q_proj.weight, k_proj, v_proj, o_proj, post_attention_layernorm.weight, mlp.gate_proj.weight,
up_proj, down_proj; model.norm.weight. The head is tied.

`config.json` is the model's; `expected.json` holds the tokens and, of every resid_pre, z, mlp post, of the last resid_post, of
ln_final and of the logits, mean, Euclidean norm and 64 values at places spread evenly over the flat tensor.
Made with transformers 5.24.0 and torch 2.15.0.
"""

import json
import pathlib

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import numpy as np

FOLDER = pathlib.Path(__file__).parent.parent / "lm/tests/fixtures/llama-geometry"
TOKENS = [[(row * 7919 + position * 104_729 + 1) % 49_152 for position in range(12)] for row in range(2)]
SIZES = dict(
    hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536,
    vocab_size=49_152, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
    rope_parameters=dict(rope_type="default", rope_theta=100_000.0),
)


def hashed(n, place):
    h = np.arange(n, dtype=np.uint32) + np.uint32(place * 0x9E3779B9 % 2**32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
    h = h ^ (h >> np.uint32(16))
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(2**24) - np.float32(0.5)


def tensors(config):
    yield "model.embed_tokens.weight"
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}"
        yield f"{at}.input_layernorm.weight"
        for part in "qkvo":
            yield f"{at}.self_attn.{part}_proj.weight"
        yield f"{at}.post_attention_layernorm.weight"
        for part in ["gate", "up", "down"]:
            yield f"{at}.mlp.{part}_proj.weight"
    yield "model.norm.weight"


def main():
    torch.set_num_threads(1)
    model = LlamaForCausalLM(LlamaConfig(**SIZES, attn_implementation="eager")).eval()
    config = model.config
    state = dict(model.named_parameters())
    with torch.no_grad():
        for place, name in enumerate(tensors(config)):
            tensor = state.pop(name)
            u = hashed(tensor.numel(), place).reshape(tensor.shape)
            value = np.float32(1) + np.float32(0.25) * u if "norm" in name else np.float32(0.125) * u
            tensor.copy_(torch.from_numpy(value))
    assert not state, state.keys()

    hooks = {}

    def keep(name, tensor):
        hooks[name] = tensor.detach()

    for layer, block in enumerate(model.model.layers):
        at = f"blocks.{layer}"
        block.register_forward_pre_hook(lambda _, x, at=at: keep(f"{at}.hook_resid_pre", x[0]))
        block.self_attn.o_proj.register_forward_pre_hook(lambda _, x, at=at: keep(f"{at}.attn.hook_z", x[0]))
        block.mlp.down_proj.register_forward_pre_hook(lambda _, x, at=at: keep(f"{at}.mlp.hook_post", x[0]))

    def last(_, x, y):
        keep(f"blocks.{config.num_hidden_layers - 1}.hook_resid_post", x[0])
        keep("ln_final.hook_normalized", y / model.model.norm.weight)

    model.model.norm.register_forward_hook(last)
    with torch.no_grad():
        keep("logits", model(torch.tensor(TOKENS)).logits)

    expected = {}
    for name, tensor in sorted(hooks.items()):
        flat = tensor.double().flatten()
        places = [i * (len(flat) - 1) // 63 for i in range(64)]
        expected[name] = {
            "mean": float(f"{flat.mean().item():.9g}"),
            "norm": float(f"{flat.norm().item():.9g}"),
            "values": [float(f"{flat[i].item():.7g}") for i in places],
        }
    FOLDER.mkdir(exist_ok=True)
    lines = json.dumps({"tokens": TOKENS, "hooks": expected}, separators=(",", ":")).replace('},"', '},\n"')
    (FOLDER / "expected.json").write_text(lines + "\n")
    stated = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | SIZES
    (FOLDER / "config.json").write_text(json.dumps(stated, indent=2) + "\n")
    sizes = {name: round(tensor.pow(2).mean().sqrt().item(), 3) for name, tensor in hooks.items()}
    print(FOLDER, len(expected), "hooks", len(lines), "bytes", {k: v for k, v in sizes.items() if ".0." in k or ".29." in k or "blocks" not in k})


main()
