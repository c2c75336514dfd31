"""Matrix products against PyTorch and training steps against dictionary_learning 0.1, in turns with saelab on the same cores.

    python scripts/bench_peers.py SAELAB [ROUNDS]

Not part of the build. `make bench-peers PYTHON=path/to/python` runs it in a Python environment that holds
`pip install torch dictionary-learning==0.1.0`. Prints a JSON line a comparison: of each program the median of the rounds, and
the ratio of saelab's to the peer's. A round of a product is 12 products, of which each program's median (PyTorch) or fastest
(`saelab bench gemm`) counts; nothing else should run on the machine.
"""

import json
import statistics
import subprocess
import sys
import time

import torch
from dictionary_learning.trainers import batch_top_k, gdm, jumprelu, matryoshka_batch_top_k, standard, top_k

# Width, latents, activations of a step, active latents where they are selected and where they are not, steps of a round.
LARGE = dict(d_in=768, d_sae=6144, batch=4096, k=32, l0=64, steps=4)
SMALL = dict(d_in=128, d_sae=512, batch=512, k=6, l0=6, steps=1000)
SELECT = ["topk", "batch-topk", "matryoshka"]


def trainer(arch, shape):
    common = dict(
        activation_dim=shape["d_in"], dict_size=shape["d_sae"], layer=0, lm_name="none", device="cpu", seed=0, steps=100_000,
        lr=1e-5,
    )
    warm = dict(warmup_steps=10, sparsity_warmup_steps=10)
    k = dict(k=shape["k"], warmup_steps=10)
    return {
        "topk": lambda: top_k.TopKTrainer(**common, **k),
        "batch-topk": lambda: batch_top_k.BatchTopKTrainer(**common, **k),
        "matryoshka": lambda: matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer(
            **common, **k, group_fractions=[0.125, 0.125, 0.25, 0.5]
        ),
        "relu": lambda: standard.StandardTrainer(**common, **warm, l1_penalty=1e-3, resample_steps=None),
        "gated": lambda: gdm.GatedSAETrainer(**common, **warm, l1_penalty=1e-3),
        "jumprelu": lambda: jumprelu.JumpReluTrainer(**common, **warm, target_l0=float(shape["l0"])),
    }[arch]()


def lines(saelab, *arguments):
    # PyTorch's threads wait actively for a while after their work.
    time.sleep(1)
    command = [saelab, "bench", *map(str, arguments)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def products(saelab, rounds):
    ours, theirs, instructions = {}, {}, None
    for _ in range(rounds):
        for line in lines(saelab, "gemm", "--repeats", 12):
            m, k, n = line["m"], line["k"], line["n"]
            instructions = line["instruction_set"]
            ours.setdefault((m, k, n), []).append(max(line["kernel_gflops"], line["burn_gflops"]))
            a, b, out, seconds = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n), []
            for _ in range(12):
                start = time.perf_counter()
                torch.mm(a, b, out=out)
                seconds.append(time.perf_counter() - start)
            theirs.setdefault((m, k, n), []).append(2e-9 * m * k * n / statistics.median(seconds))
    for shape, rates in ours.items():
        compare("gemm", {"shape": shape, "instruction_set": instructions}, rates, theirs[shape], "gflops")


def training(saelab, arch, shape, rounds):
    k = shape["k"] if arch in SELECT else shape["l0"]
    sizes = [f"--{name.replace('_', '-')}={shape[name]}" for name in ("d_in", "d_sae", "batch", "steps")]
    peer, ours, theirs = trainer(arch, shape), [], []
    batches = [torch.randn(shape["batch"], shape["d_in"]) for _ in range(4)]
    peer.update(0, batches[0])
    done = 1
    for _ in range(rounds):
        ours.append(lines(saelab, "train", f"--arch={arch}", f"--k={k}", *sizes)[0]["tokens_per_s"])
        start = time.perf_counter()
        for step in range(shape["steps"]):
            peer.update(done, batches[step % 4])
            done += 1
        theirs.append(shape["batch"] * shape["steps"] / (time.perf_counter() - start))
    compare("train", {"arch": arch, "d_in": shape["d_in"], "d_sae": shape["d_sae"]}, ours, theirs, "tokens_per_s")


def compare(bench, what, ours, theirs, unit):
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    line = {"bench": bench} | what | {f"saelab_{unit}": round(ours, 1), f"peer_{unit}": round(theirs, 1)}
    print(json.dumps(line | {"ratio": round(ours / theirs, 2), "threads": torch.get_num_threads()}), flush=True)


def main(saelab, rounds=3):
    products(saelab, int(rounds))
    for shape, architectures in ((LARGE, [*SELECT, "relu", "gated", "jumprelu"]), (SMALL, ["topk", "relu"])):
        for arch in architectures:
            training(saelab, arch, shape, int(rounds))


main(*sys.argv[1:])
