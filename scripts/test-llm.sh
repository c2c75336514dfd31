#!/usr/bin/env bash
# Runs the agent and the judge against a real server of the protocol: the server of PyPI's llama-cpp-python with a GGUF model. Slow the
# first time: pip compiles it. Usage: scripts/test-llm.sh SAELAB MODEL.gguf
set -euo pipefail
saelab=$1 model=$2
test -f "$model" || { echo "$model is missing; run: make smollm2" >&2; exit 1; }
venv=target/llm
test -x "$venv/bin/python" || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet 'llama-cpp-python[server]'
out=target/llm-run
rm -rf "$out"
mkdir -p "$out"
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$venv/bin/python" -m llama_cpp.server --model "$model" --host 127.0.0.1 --port "$port" --n_ctx 4096 > "$out/server.log" 2>&1 &
server=$!
trap 'kill $server 2> /dev/null || true' EXIT
for _ in $(seq 120); do
    "$venv/bin/python" -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$port/v1/models')" 2> /dev/null && break
    kill -0 $server 2> /dev/null || { tail -5 "$out/server.log" >&2; exit 1; }
    sleep 1
done
asks=(configs/find/quick.toml --set numeric=1 --set strings=1 --set entities=2 --set relations=1 --set text=0 --judge lm
    --lm smollm2 --timeout 600)
for explainer in lm:aia lm:milan; do
    tape="$out/$explainer.jsonl"
    "$saelab" find "${asks[@]}" --explainer "$explainer" --base-url "http://127.0.0.1:$port/v1" --record "$tape" --out "$out/recorded" > "$out/recorded.txt"
    "$saelab" find "${asks[@]}" --explainer "$explainer" --replay "$tape" --out "$out/replayed" > "$out/replayed.txt"
    cmp "$out/recorded.txt" "$out/replayed.txt"
    cmp "$out/recorded/find.jsonl" "$out/replayed/find.jsonl"
    cat "$out/replayed.txt"
done
echo "PASS: a real server answered, and its recording plays back to the same bytes"
