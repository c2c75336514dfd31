"""What `transformers` and TransformerLens need for `blocks.15.hook_resid_pre` of a Llama of SmolLM2-135M's sizes, on the CPU.

    python scripts/bench_peers_lm.py [ROUNDS]

Batch 16 x 128, f32, random weights, 2 threads. No peer runs a block more than it must: `transformers` has a model of 15 blocks
and no head, whose last block's output is taken before the final norm; TransformerLens stops at layer 15 and keeps that one hook.
They take turns; of each the fastest pass counts, and of a product of the sizes of the MLP (`[2048, 576] [576, 1536]`), run as often
as makes up the operations of a pass, the fastest series. Both must give the same numbers from the same weights. Prints a JSON line.

TransformerLens's `HookedTransformer` was removed in version 4; install 3.9 for it (`pip install --no-deps transformer-lens==3.9.0`).
Without it, it is left out. Made with TransformerLens 3.9.0, transformers 5.24.0 and torch 2.15.0.
"""

import json
import sys
import time

import torch
from transformers import LlamaConfig, LlamaModel

LAYER, BATCH, CONTEXT = 15, 16, 128
D, HEADS, KV_HEADS, HEAD, MLP = 576, 9, 3, 64, 1536


def of_transformers():
    """A function from tokens to the hook, and the weights."""
    config = LlamaConfig(
        hidden_size=D, num_hidden_layers=LAYER, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, intermediate_size=MLP,
        vocab_size=49_152, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=100_000.0), attn_implementation="sdpa",
    )
    model = LlamaModel(config).eval()
    model.norm = torch.nn.Identity()
    return lambda tokens: model(tokens, use_cache=False).last_hidden_state, model


def of_transformer_lens(peer):
    """The same of the same weights; None where it is not installed."""
    try:
        from transformer_lens import HookedTransformer, HookedTransformerConfig
    except ImportError:
        return None
    model = HookedTransformer(HookedTransformerConfig(
        n_layers=LAYER, d_model=D, n_ctx=8192, d_head=HEAD, n_heads=HEADS, n_key_value_heads=KV_HEADS, d_mlp=MLP, d_vocab=49_152,
        act_fn="silu", gated_mlp=True, normalization_type="RMS", final_rms=True, eps=1e-5, positional_embedding_type="rotary",
        rotary_adjacent_pairs=False, rotary_dim=HEAD, rotary_base=100_000, device="cpu", seed=0,
    ))
    state = {"embed.W_E": peer.embed_tokens.weight}
    for layer, block in enumerate(peer.layers):
        at, attention, mlp = f"blocks.{layer}", block.self_attn, block.mlp
        for name, linear in (("W_Q", attention.q_proj), ("_W_K", attention.k_proj), ("_W_V", attention.v_proj)):
            state[f"{at}.attn.{name}"] = linear.weight.view(-1, HEAD, D).transpose(1, 2)  # [H or K, D, Dh]
        state[f"{at}.attn.W_O"] = attention.o_proj.weight.view(D, HEADS, HEAD).permute(1, 2, 0)
        state[f"{at}.ln1.w"], state[f"{at}.ln2.w"] = block.input_layernorm.weight, block.post_attention_layernorm.weight
        for name, linear in (("W_gate", mlp.gate_proj), ("W_in", mlp.up_proj), ("W_out", mlp.down_proj)):
            state[f"{at}.mlp.{name}"] = linear.weight.T
    missing, unexpected = model.load_state_dict(state, strict=False)
    drawn = [name for name in missing if "W_" in name and not name.startswith("unembed")]
    assert not drawn and not unexpected, (drawn, unexpected)

    hook = f"blocks.{LAYER}.hook_resid_pre"

    def run(tokens):
        # `stop_at_layer` returns the residual stream that enters this layer.
        resid, _ = model.run_with_cache(tokens, names_filter=[hook], stop_at_layer=LAYER)
        return resid

    return run


def flops_per_token():
    """Of the linear layers."""
    return 2 * LAYER * D * (HEADS * HEAD * 2 + KV_HEADS * HEAD * 2 + 3 * MLP)


def product(a, b, flops):
    """Operations a second over as many products as make up `flops`."""
    each = 2 * a.shape[0] * a.shape[1] * b.shape[1]
    times = -(-flops // each)
    start = time.perf_counter()
    for _ in range(times):
        a @ b
    return times * each / (time.perf_counter() - start)


def main(rounds=5):
    torch.manual_seed(0)
    torch.set_num_threads(2)
    tokens = torch.randint(0, 49_152, (BATCH, CONTEXT))
    transformers, model = of_transformers()
    peers = {"transformers": transformers, "transformer_lens": of_transformer_lens(model)}
    peers = {name: run for name, run in peers.items() if run}
    flops = flops_per_token() * tokens.numel()
    a, b = torch.randn(tokens.numel(), D), torch.randn(D, MLP)
    best, gemm = dict.fromkeys(peers, 0.0), 0.0
    with torch.no_grad():
        first = [run(tokens) for run in peers.values()]
        for other in first[1:]:
            error = ((other - first[0]).abs().max() / first[0].abs().max()).item()
            assert error < 1e-4, f"the peers compute different things: {error}"
        for _ in range(int(rounds)):
            for name, run in peers.items():
                start = time.perf_counter()
                run(tokens)
                best[name] = max(best[name], tokens.numel() / (time.perf_counter() - start))
            gemm = max(gemm, product(a, b, flops))
    line = {"bench": "harvest-peers", "model": "SmolLM2-135M's sizes", "hook": f"blocks.{LAYER}.hook_resid_pre",
            "batch": BATCH, "context": CONTEXT, "threads": torch.get_num_threads(), "torch": torch.__version__,
            "mflop_per_token": flops_per_token() / 1e6, "gemm_gflops": gemm / 1e9}
    for name, rate in best.items():
        line[f"{name}_tokens_per_s"] = rate
        line[f"{name}_gflops"] = rate * flops_per_token() / 1e9
    print(json.dumps(line))


main(*sys.argv[1:])
