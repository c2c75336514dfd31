#!/usr/bin/env python3
"""Prints the tables of docs/cluster.md: what a billion tokens of Llama-3.1-8B to a TopK autoencoder take, and what workers that train
one autoencoder together would send each other. Only what is marked as measured was measured; the rest follows from sizes."""

# Llama-3.1-8B: width, MLP, key and value width, blocks that run up to blocks.16.hook_resid_pre, context.
D, MLP, KV, BLOCKS, CONTEXT = 4096, 14336, 1024, 16, 1024
TOKENS, F, K, BATCH = 1e9, 65_536, 64, 4096

# Measured (docs/speed.md, ARCHITECTURE.md), 2 cores of an AMD EPYC (Zen 4); the share of the step on 2 cores with AVX2.
PRODUCT = 205e9  # operations a second of f32 products, 200 to 210 in the runs of SmolLM2
HARVEST_SHARE = 0.86  # the least share of the product's rate that a harvest of SmolLM2 kept there, 0.86 to 0.94
BF16_HARVEST = 3041 / 1785  # a harvest with --dtype bf16 against the fastest f32 one
STEP_SHARE = 0.88  # share of the encoder's product in a TopK step at F = 49,152 and k = 32
BF16_STEP = 0.28 / 0.18  # the same step with precision = "bf16"
CORES = 2

MATRICES = 2 * (2 * D * D + 2 * D * KV + 3 * D * MLP)  # operations of the products of a block, a token
SCORES = 4 * D * CONTEXT / 2  # scores and sums of values over half a context on average
harvest_token = BLOCKS * (MATRICES + SCORES)
step_token = 2 * D * F


def hours(operations, share, faster):
    return operations / (PRODUCT * share * faster) / 3600 * CORES


print(f"a token: harvest {harvest_token / 1e9:.2f} G operations ({BLOCKS} blocks), encoder's product {step_token / 1e9:.3f} G")
print(f"store: {TOKENS * D * 2 / 1e12:.1f} TB in f16; autoencoder {(2 * F * D + F + D) * 4 / 1e9:.1f} GB, with Adam {(2 * F * D + F + D) * 12 / 1e9:.1f} GB")
print("\n| | core-hours, f32 | core-hours, bf16 | nodes of 96 cores: node-hours, f32, bf16 |\n| --- | --- | --- | --- |")
total = [0.0, 0.0]
for name, operations, share, faster in (
    ("harvest", TOKENS * harvest_token, HARVEST_SHARE, BF16_HARVEST),
    ("training", TOKENS * step_token, STEP_SHARE, BF16_STEP),
):
    both = [hours(operations, share, 1), hours(operations, share, faster)]
    total = [a + b for a, b in zip(total, both)]
    print(f"| {name} | {both[0]:,.0f} | {both[1]:,.0f} | {both[0] / 96:,.0f}, {both[1] / 96:,.0f} |")
print(f"| both | {total[0]:,.0f} | {total[1]:,.0f} | {total[0] / 96:,.0f}, {total[1] / 96:,.0f} |")

NETS = (("10", 1.25e9), ("100", 12.5e9), ("400", 50e9))  # Gbit/s, bytes a second
WORKERS, RATE = 8, PRODUCT * 48 / CORES  # nodes of 48 times two cores, as if products scaled with cores
GPU = 2e14  # operations a second of a GPU, assumed as in docs/design/training.md
ring = 2 * (WORKERS - 1) / WORKERS  # what each sends and receives of what all sum
print(f"\n{WORKERS} nodes, batch {BATCH} for each (by rows) or for all (by latents), k = {K}:\n")
print("| D | F | parameters and Adam | by rows: all gradients | by rows: active latents only | by latents | product by rows: 96 cores, GPU | by latents |")
print("| --- | --- | --- | --- | --- | --- | --- | --- |")
for d in (2304, 4096):
    for f in (65_536, 262_144, 1_048_576):
        parameters = 2 * f * d + f + d
        # Latents that are active in any row of a batch, if all were equally likely: an upper bound.
        active = f * (1 - (1 - 1 / f) ** (BATCH * WORKERS * K))
        sent = (
            ring * parameters * 4,
            ring * active * (2 * d + 1) * 4,
            # Partial reconstructions [B, D] are summed; everyone tells everyone its k best of each row: value and number.
            ring * BATCH * d * 4 + (WORKERS - 1) * BATCH * K * 8,
        )
        told = ["%.2f GB: %s s" % (b / 1e9, ", ".join(f"{b / speed:.3g}" for _, speed in NETS)) for b in sent]
        rows = 2 * BATCH * d * f
        products = [", ".join(f"{operations / rate:.3g} s" for rate in (RATE, GPU)) for operations in (rows, rows / WORKERS)]
        print(f"| {d:,} | {f:,} | {parameters * 12 / 1e9:.1f} GB | {' | '.join(told)} | {' | '.join(products)} |")
print("\nsent by each node in a step, and how long that takes at", ", ".join(name for name, _ in NETS), "Gbit/s")
