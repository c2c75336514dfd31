"""Writes lm/tests/fixtures/gpt2-geometry/expected.json: GPT-2 small's sizes with hashed weights, run by `transformers`.

    python scripts/gpt2_geometry.py

Element i of the tensor at place t (in the order of `tensors` below) is hash(i + t * 0x9e3779b9), whose upper 24 bits are read
as u in [-1/2, 1/2); the weight is u / 8, or 1 + u / 4 for the scale of a layer norm. For every hook: mean, Euclidean norm and
64 values at places spread evenly over the flat tensor. Made with transformers 5.23.0 and torch 2.15.0.
"""

import json
import pathlib

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

TOKENS = [[(row * 7919 + position * 104_729 + 1) % 50_257 for position in range(12)] for row in range(2)]


def hashed(n, place):
    h = np.arange(n, dtype=np.uint32) + np.uint32(place * 0x9E3779B9 % 2**32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
    h = h ^ (h >> np.uint32(16))
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(2**24) - np.float32(0.5)


def tensors(config):
    yield "wte.weight"
    yield "wpe.weight"
    for layer in range(config.n_layer):
        for part in ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"]:
            yield f"h.{layer}.{part}.weight"
            yield f"h.{layer}.{part}.bias"
    yield "ln_f.weight"
    yield "ln_f.bias"


def main():
    config = GPT2Config(attn_implementation="eager")
    model = GPT2LMHeadModel(config).eval()
    state = dict(model.transformer.named_parameters())
    with torch.no_grad():
        for place, name in enumerate(tensors(config)):
            tensor = state.pop(name)
            u = hashed(tensor.numel(), place).reshape(tensor.shape)
            is_scale = "ln_" in name and name.endswith(".weight")
            value = np.float32(1) + np.float32(0.25) * u if is_scale else np.float32(0.125) * u
            tensor.copy_(torch.from_numpy(value))
    assert not state, state.keys()

    hooks = {}

    def keep(name, tensor):
        hooks[name] = tensor.detach()

    def heads(tensor):
        return tensor.reshape(*tensor.shape[:2], config.n_head, -1)

    for layer, block in enumerate(model.transformer.h):
        at = f"blocks.{layer}"
        block.register_forward_pre_hook(lambda _, x, at=at: keep(f"{at}.hook_resid_pre", x[0]))
        block.ln_2.register_forward_pre_hook(lambda _, x, at=at: keep(f"{at}.hook_resid_mid", x[0]))
        block.attn.c_proj.register_forward_hook(lambda _, x, y, at=at: keep(f"{at}.hook_attn_out", y))
        block.mlp.register_forward_hook(lambda _, x, y, at=at: keep(f"{at}.hook_mlp_out", y))
        block.mlp.c_proj.register_forward_pre_hook(lambda _, x, at=at: keep(f"{at}.mlp.hook_post", x[0]))
        block.attn.c_proj.register_forward_pre_hook(lambda _, x, at=at: keep(f"{at}.attn.hook_z", heads(x[0])))

        def qkv(_, x, y, at=at):
            for name, part in zip("qkv", y.split(config.n_embd, dim=2)):
                keep(f"{at}.attn.hook_{name}", heads(part))

        block.attn.c_attn.register_forward_hook(qkv)
    model.transformer.wte.register_forward_hook(lambda _, x, y: keep("hook_embed", y))
    model.transformer.ln_f.register_forward_pre_hook(
        lambda _, x: keep("ln_final.hook_normalized", torch.nn.functional.layer_norm(x[0], [config.n_embd], eps=1e-5))
    )
    with torch.no_grad():
        out = model(torch.tensor(TOKENS), output_attentions=True)
    for layer, pattern in enumerate(out.attentions):
        keep(f"blocks.{layer}.attn.hook_pattern", pattern)
    for layer in range(config.n_layer - 1):
        keep(f"blocks.{layer}.hook_resid_post", hooks[f"blocks.{layer + 1}.hook_resid_pre"])
    last = config.n_layer - 1
    mid, mlp = hooks[f"blocks.{last}.hook_resid_mid"], hooks[f"blocks.{last}.hook_mlp_out"]
    keep(f"blocks.{last}.hook_resid_post", mid + mlp)
    positions = model.transformer.wpe.weight[: len(TOKENS[0])].detach()
    keep("hook_pos_embed", positions.expand(len(TOKENS), -1, -1))
    keep("logits", out.logits)

    expected = {}
    for name, tensor in sorted(hooks.items()):
        flat = tensor.double().flatten()
        places = [i * (len(flat) - 1) // 63 for i in range(64)]
        expected[name] = {
            "mean": flat.mean().item(),
            "norm": flat.norm().item(),
            "values": [round(flat[i].item(), 7) for i in places],
        }
    out = pathlib.Path(__file__).parent.parent / "lm/tests/fixtures/gpt2-geometry/expected.json"
    out.write_text(json.dumps({"tokens": TOKENS, "hooks": expected}, separators=(",", ":")).replace('},"', '},\n"') + "\n")
    print(out, len(expected), "hooks")


main()
