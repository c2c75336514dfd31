#!/usr/bin/env bash
# Runs the agent and the judge against a real server of the protocol: llama.cpp's own server, as PyPI's xllamacpp brings it compiled, with
# a GGUF model. Usage: scripts/test-llm.sh SAELAB MODEL.gguf
set -euo pipefail
saelab=$1 model=$2
test -f "$model" || { echo "$model is missing; run: make smollm2" >&2; exit 1; }
venv=target/llm
test -x "$venv/bin/python" || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --only-binary :all: xllamacpp
out=target/llm-run
rm -rf "$out"
mkdir -p "$out"
# The server chooses a free port and prints its address.
"$venv/bin/python" - "$model" > "$out/address" 2> "$out/server.log" << 'PYTHON' &
import os, signal, sys
import xllamacpp

settings = xllamacpp.CommonParams()
settings.model.path = sys.argv[1]
settings.n_ctx = 4096
settings.n_parallel = 1
settings.cpuparams.n_threads = os.cpu_count()
server = xllamacpp.Server(settings)
print(server.listening_address, flush=True)
signal.pause()
PYTHON
server=$!
trap 'kill $server 2> /dev/null || true' EXIT
for _ in $(seq 120); do
    test -s "$out/address" && break
    kill -0 $server 2> /dev/null || { tail -5 "$out/server.log" >&2; exit 1; }
    sleep 1
done
base=$(tail -1 "$out/address")/v1
asks=(configs/find/quick.toml --set numeric=0 --set strings=1 --set entities=1 --set relations=0 --set text=0 --lm smollm2
    --timeout 600 --max-tokens 20000)
# One batch of exemplars with the model as judge too, then the agent, whose explanations are executed.
for how in "lm:milan lm" "lm:aia exec"; do
    read -r explainer judge <<< "$how"
    tape="$out/$explainer.jsonl"
    "$saelab" find "${asks[@]}" --explainer "$explainer" --judge "$judge" --base-url "$base" --record "$tape" \
        --out "$out/recorded" > "$out/recorded.txt"
    "$saelab" find "${asks[@]}" --explainer "$explainer" --judge "$judge" --replay "$tape" --out "$out/replayed" > "$out/replayed.txt"
    cmp "$out/recorded.txt" "$out/replayed.txt"
    cmp "$out/recorded/find.jsonl" "$out/replayed/find.jsonl"
    cat "$out/replayed.txt"
done
echo "PASS: a real server answered, and its recording plays back to the same bytes"
