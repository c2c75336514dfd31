"""EAP-IG with 5 steps at GPT-2 small's geometry (random weights) beside its published implementation, on the same cores.

    cargo build --release --workspace --example speed
    python scripts/bench_eap_ig.py target/release/examples/speed FOLDER_OF_EAP_IG/src [PAIRS] [TOKENS] [STEPS] [BATCH] [ROUNDS]

Python needs torch, transformer_lens and matplotlib; the folder is a checkout of https://github.com/hannamw/EAP-IG. Both programs run by turns in
processes of their own; of each the best time, the least processor time of all threads, and the largest peak of resident memory are printed. Neither
time has the making of the model in it; the memory has its weights in both. Where other programs run beside them, processor time says more.
"""

import os
import re
import resource
import subprocess
import sys
import time


def theirs(source, pairs, tokens, steps, batch):
    sys.path.insert(0, source)
    import torch
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    config = HookedTransformerConfig(
        n_layers=12, d_model=768, n_ctx=1024, d_head=64, n_heads=12, d_mlp=3072, d_vocab=50257, act_fn="gelu_new",
        normalization_type="LN", attention_dir="causal", seed=0, device="cpu", dtype=torch.float32,
    )
    model = HookedTransformer(config)
    config = model.cfg
    config.use_attn_result = config.use_split_qkv_input = config.use_hook_mlp_in = True
    config.ungroup_grouped_query_attention = True
    model.setup()
    # Its scores are made on "cuda" whatever the model's device is.
    zeros = torch.zeros
    torch.zeros = lambda *size, device=None, **rest: zeros(*size, device="cpu" if device == "cuda" else device, **rest)
    import eap.attribute as attribute
    from eap.graph import Graph

    graph = Graph.from_model(model)
    clean = torch.randint(0, 50257, (pairs, tokens))
    corrupted = clean.clone()
    corrupted[:, tokens // 2] = torch.randint(0, 50257, (pairs,))
    answers = torch.randint(0, 50257, (pairs, 2))
    text = lambda rows: [" ".join(map(str, row.tolist())) for row in rows]

    def tokenize(model, inputs, max_length=None):
        ids = torch.tensor([[int(x) for x in row.split()] for row in inputs])
        return ids, torch.ones_like(ids), torch.full((len(ids),), ids.shape[1]), ids.shape[1]

    attribute.tokenize_plus = tokenize

    def metric(logits, clean_logits, lengths, labels):
        last = logits[torch.arange(len(logits)), lengths - 1].gather(1, labels)
        return (last[:, 1] - last[:, 0]).mean()

    data = [
        (text(clean[i : i + batch]), text(corrupted[i : i + batch]), answers[i : i + batch])
        for i in range(0, pairs, batch)
    ]
    start, processor = time.monotonic(), time.process_time()
    attribute.attribute(model, graph, data, metric, method="EAP-IG-inputs", ig_steps=steps, quiet=True)
    seconds, processor = time.monotonic() - start, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{len(graph.edges)} edges: {seconds:.1f} s, {processor:.1f} s of processor time, peak {peak:.2f} GB")


def main():
    ours, source = sys.argv[1:3]
    numbers = sys.argv[3:8] + ["32", "20", "5", "32", "3"][len(sys.argv[3:8]) :]
    size, rounds = numbers[:4], int(numbers[4])
    found = {"saelab": [], "EAP-IG": []}
    for turn in range(rounds):
        commands = {"saelab": [ours, *size], "EAP-IG": [sys.executable, __file__, "--theirs", source, *size]}
        for name, command in commands.items():
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                sys.exit(f"{name}: {run.stderr.strip().splitlines()[-1]}")
            line = run.stdout.strip().splitlines()[-1]
            seconds, processor = map(float, re.search(r"([\d.]+) s, ([\d.]+) s of", line).groups())
            peak = re.search(r"peak ([\d.]+) (kB|GB)", line)
            found[name].append((seconds, processor, float(peak.group(1)) / (1e6 if peak.group(2) == "kB" else 1)))
            print(f"round {turn + 1} {name}: {line}", file=sys.stderr)
    best = {name: (min(run[0] for run in runs), min(run[1] for run in runs), max(run[2] for run in runs)) for name, runs in found.items()}
    print(f"{'':<8} {'best':>8}   {'processor':>9}   {'peak':>8}")
    for name, (seconds, processor, peak) in best.items():
        print(f"{name:<8} {seconds:8.1f} s {processor:9.1f} s {peak:8.2f} GB")
    (seconds, processor, peak), theirs = best["saelab"], best["EAP-IG"]
    print(f"times as fast {theirs[0] / seconds:.2f}, by processor time {theirs[1] / processor:.2f}, share of the memory {peak / theirs[2]:.2f}")


if sys.argv[1:2] == ["--theirs"]:
    theirs(sys.argv[2], *map(int, sys.argv[3:7]))
else:
    main()
