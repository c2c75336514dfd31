#!/usr/bin/env bash
# Times training, harvest and one whole run on a GPU. Builds nothing, needs no network; run it in the repository's root.
#
#     scripts/bench-gpu.sh SAELAB OUT.jsonl [DEVICE]
#
# SAELAB is a program built with --features cuda or wgpu, DEVICE one that `SAELAB devices` lists (default cuda). With PYTHON set
# to an interpreter that has torch, the same training steps in PyTorch stand beside them, so that ratios come from one run.
# D_SAE and BATCHES (lists, with commas and with spaces) change the sizes.
set -euo pipefail

saelab=${1:?the program} out=${2:?the file for JSON lines} device=${3:-cuda}
d_sae=${D_SAE:-6144,24576,65536} batches=${BATCHES:-4096 16384}
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT

"$saelab" devices >&2
: > "$out"
note() { tee -a "$out"; }

"$saelab" bench gemm --device "$device" | note
for batch in $batches; do
    for arch in topk batch-topk relu; do
        "$saelab" bench train --device "$device" --arch "$arch" --k 32 --d-sae "$d_sae" --batch "$batch" | note
    done
    if [ -n "${PYTHON:-}" ]; then
        "$PYTHON" scripts/bench_torch_train.py --d-sae "$d_sae" --batch "$batch" --k 32 | note
    fi
done
"$saelab" bench harvest --device "$device" --batch 64 | note

sites=configs/sites/small-world.toml start=$SECONDS
"$saelab" harvest configs/ioi/harvest.toml --device "$device" --no-progress --out "$run/activations" >&2
"$saelab" fit configs/ioi/fit.toml --device "$device" --no-progress --run "$run" --sites "$sites" >&2
"$saelab" train configs/ioi/train.toml --device "$device" --no-progress --run "$run" --sites "$sites" >&2
"$saelab" eval configs/eval/ioi-quick.toml --device "$device" --no-progress --model models/small-world --run "$run" \
    --sites "$sites" >&2
echo "{\"bench\":\"eval-ioi\",\"device\":\"$device\",\"seconds\":$((SECONDS - start))}" | note
