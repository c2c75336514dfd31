"""TransformerLens on the setting of `saelab bench harvest`, in turns with it: GPT-2 small's sizes, batch 16 x 128, f32.

    python scripts/bench_transformer_lens.py SAELAB [ROUNDS]

Its faster call is taken, `run_with_cache` with `stop_at_layer=9`, which runs block 8 too; of each, the fastest round counts.
Prints a JSON line. Made with TransformerLens 3.9.0 and torch 2.15.0.
"""

import json
import subprocess
import sys
import time

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

HOOK = "blocks.8.hook_resid_pre"


def main(saelab, rounds=3):
    torch.manual_seed(0)
    config = HookedTransformerConfig(
        n_layers=12, d_model=768, n_ctx=1024, d_head=64, n_heads=12, d_mlp=3072, d_vocab=50257, act_fn="gelu_new",
        normalization_type="LN", device="cpu", seed=0,
    )
    model = HookedTransformer(config)
    tokens = torch.randint(0, config.d_vocab, (16, 128))
    ours, theirs = 0.0, 0.0
    for _ in range(int(rounds)):
        line = subprocess.run([saelab, "bench", "harvest", "--repeats", "2"], check=True, capture_output=True, text=True)
        ours = max(ours, json.loads(line.stdout)["tokens_per_s"])
        with torch.no_grad():
            for _ in range(4):
                start = time.perf_counter()
                model.run_with_cache(tokens, names_filter=[HOOK], stop_at_layer=9, return_type=None)
                theirs = max(theirs, tokens.numel() / (time.perf_counter() - start))
    line = {"bench": "harvest-peers", "threads": torch.get_num_threads(), "saelab_tokens_per_s": ours,
            "transformer_lens_tokens_per_s": theirs, "ratio": ours / theirs}
    print(json.dumps(line))


main(*sys.argv[1:])
