"""Times training steps of dictionary_learning 0.1 on the shapes of `saelab bench train`, one JSON line a trainer.

Not part of the build. `make bench-peers PYTHON=path/to/python` runs it next to saelab in a Python environment that holds
`pip install torch dictionary-learning==0.1.0`.
"""

import json
import sys
import time

import torch
from dictionary_learning.trainers import batch_top_k, gdm, jumprelu, matryoshka_batch_top_k, standard, top_k

D_IN, D_SAE, BATCH, STEPS = 768, 6144, 4096, int(sys.argv[1]) if len(sys.argv) > 1 else 4

COMMON = dict(activation_dim=D_IN, dict_size=D_SAE, layer=0, lm_name="none", device="cpu", seed=0, steps=1000, lr=1e-5)
WARM = dict(warmup_steps=10, sparsity_warmup_steps=10)
TRAINERS = {
    "topk": lambda: top_k.TopKTrainer(**COMMON, k=32, warmup_steps=10),
    "batch-topk": lambda: batch_top_k.BatchTopKTrainer(**COMMON, k=32, warmup_steps=10),
    "matryoshka": lambda: matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer(
        **COMMON, k=32, warmup_steps=10, group_fractions=[0.125, 0.125, 0.25, 0.5]
    ),
    "relu": lambda: standard.StandardTrainer(**COMMON, **WARM, l1_penalty=1e-3, resample_steps=None),
    "gated": lambda: gdm.GatedSAETrainer(**COMMON, **WARM, l1_penalty=1e-3),
    "jumprelu": lambda: jumprelu.JumpReluTrainer(**COMMON, **WARM, target_l0=64.0),
}

batches = [torch.randn(BATCH, D_IN) for _ in range(4)]
for name, make in TRAINERS.items():
    trainer = make()
    trainer.update(0, batches[0])
    start = time.perf_counter()
    for step in range(STEPS):
        trainer.update(step + 1, batches[step % 4])
    seconds = time.perf_counter() - start
    line = dict(bench="dictionary_learning", arch=name, d_in=D_IN, d_sae=D_SAE, batch=BATCH, steps=STEPS)
    print(json.dumps(line | dict(tokens_per_s=BATCH * STEPS / seconds, threads=torch.get_num_threads())), flush=True)
