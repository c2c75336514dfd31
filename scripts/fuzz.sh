#!/bin/sh
# Gives the targets of the crate `fuzz` to libFuzzer: scripts/fuzz.sh SECONDS [TARGET...], each for so many seconds; without
# names, all of them. What fails is left in target/fuzz/found/ (copy it to fuzz/corpus/TARGET/ once it is mended), what led to
# new code in target/fuzz/corpus/TARGET/, from which the next run continues.
#
# Stable Rust is enough: -C passes=sancov-module needs no nightly. Only this workspace is compiled again, with coverage.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-600}
[ $# -gt 0 ] && shift
RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/coverage-rustc.sh cargo build --release -p fuzz -p saelab --bin fuzz-readers --features fuzz/libfuzzer
program=target/release/fuzz-readers
targets=${*:-$(FUZZ_TARGET=list "$program" 2>&1 | sed -n 's/.*expected one of: //p')}
mkdir -p target/fuzz/found
failed=
for target in $targets; do
    work=target/fuzz/corpus/$target
    mkdir -p "$work"
    committed=fuzz/corpus/$target
    [ -d "$committed" ] || committed=
    # Files that are not whole have many sizes; 256 KiB hold the largest seed.
    FUZZ_TARGET=$target FUZZ_SEEDS=$work "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=262144 \
        -artifact_prefix="target/fuzz/found/$target-" "$work" $committed 2>"target/fuzz/$target.log" || {
        failed="$failed $target"
        grep -m 1 -A 1 -E 'panicked at|ERROR: libFuzzer|memory allocation of' "target/fuzz/$target.log" || tail -n 3 "target/fuzz/$target.log"
    }
done
[ -z "$failed" ] || { echo "failed:$failed (target/fuzz/found, target/fuzz/TARGET.log)"; exit 1; }
