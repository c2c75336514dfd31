"""Times dense training steps of autoencoders in PyTorch, compiled: what `scripts/bench-gpu.sh` sets beside `saelab bench train`.

Not part of the build. One JSON line for each architecture and width: TopK and BatchTopK select exactly (torch.topk) and decode
densely, ReLU has an L1 penalty; decoder gradients are projected, clipped and followed by Adam and unit rows, as in saelab.
"""

import argparse
import json
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--d-in", type=int, default=768)
parser.add_argument("--d-sae", default="6144")
parser.add_argument("--batch", type=int, default=4096)
parser.add_argument("--k", type=int, default=32)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--eager", action="store_true", help="do not compile")
args = parser.parse_args()
device = "cuda" if torch.cuda.is_available() else "cpu"


def synchronize():
    if device == "cuda":
        torch.cuda.synchronize()


def codes(arch, pre, k):
    if arch == "relu":
        return torch.relu(pre)
    pre = torch.relu(pre)
    if arch == "topk":
        values, places = pre.topk(k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, places, values)
    values, places = pre.flatten().topk(k * pre.shape[0])
    return torch.zeros_like(pre).flatten().scatter(0, places, values).reshape(pre.shape)


def train(arch, d_sae):
    torch.manual_seed(0)
    w_dec = torch.nn.functional.normalize(torch.randn(d_sae, args.d_in, device=device), dim=-1).requires_grad_()
    w_enc = w_dec.detach().T.clone().requires_grad_()
    b_enc, b_dec = (torch.zeros(n, device=device, requires_grad=True) for n in (d_sae, args.d_in))
    parameters = [w_enc, w_dec, b_enc, b_dec]
    optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=device == "cuda")

    def loss_of(x):
        f = codes(arch, (x - b_dec) @ w_enc + b_enc, args.k)
        squared = (f @ w_dec + b_dec - x).pow(2).sum(-1).mean()
        return squared + (1e-3 * f.sum(-1).mean() if arch == "relu" else 0.0)

    loss_of = loss_of if args.eager else torch.compile(loss_of)

    def step(x):
        optimizer.zero_grad(set_to_none=True)
        loss_of(x).backward()
        with torch.no_grad():
            w_dec.grad -= (w_dec.grad * w_dec).sum(-1, keepdim=True) * w_dec
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            w_dec.copy_(torch.nn.functional.normalize(w_dec, dim=-1))

    batches = [torch.randn(args.batch, args.d_in, device=device) for _ in range(4)]
    for x in batches:
        step(x)
    synchronize()
    start = time.perf_counter()
    for i in range(args.steps):
        step(batches[i % 4])
    synchronize()
    return args.batch * args.steps / (time.perf_counter() - start)


torch.set_float32_matmul_precision("high")
for d_sae in map(int, args.d_sae.split(",")):
    for arch in ("topk", "batch-topk", "relu"):
        line = dict(bench="torch-train", arch=arch, d_in=args.d_in, d_sae=d_sae, batch=args.batch, k=args.k, device=device)
        print(json.dumps(line | dict(compiled=not args.eager, tokens_per_s=train(arch, d_sae))), flush=True)
