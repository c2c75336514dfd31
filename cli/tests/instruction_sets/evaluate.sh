#!/usr/bin/env bash
# A small evaluation of the indirect object, from harvest to report, in an empty folder.
#
#     bash cli/tests/instruction_sets/evaluate.sh RUN PROGRAM...
set -euo pipefail

run=$1
shift
sites=cli/tests/instruction_sets/sites.toml
"$@" harvest configs/ioi/harvest.toml --set source.n=2000 --set "sites=$sites" --out "$run/activations" --no-progress
"$@" fit configs/ioi/fit.toml --run "$run" --sites "$sites" --no-progress
"$@" train configs/ioi/train.toml --set steps=300 --run "$run" --sites "$sites" --no-progress
"$@" eval configs/eval/ioi-quick.toml --model models/small-world --run "$run" --sites "$sites" --no-progress --replace \
    --set prompts=200 --set "ks=[2, 4]" --set interpretability_prompts=400 --set resamples=20 --set "compare=[]" \
    --set "edits=[\"greedy\"]" --set "baselines=[]"
