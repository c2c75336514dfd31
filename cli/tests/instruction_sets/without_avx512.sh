#!/usr/bin/env bash
# Runs a program of this project as on a processor without AVX-512 (and so without AMX): gdb takes the bit away from what the standard
# library knows of the processor, before anything has asked for it. For programs with symbols, as cargo makes them here, by Rust 1.95.
#
#     bash cli/tests/instruction_sets/without_avx512.sh PROGRAM ARGUMENT...
#
# The scores in avx2.json are those of
#
#     bash cli/tests/instruction_sets/evaluate.sh RUN bash cli/tests/instruction_sets/without_avx512.sh target/release/saelab
#     jq -f cli/tests/instruction_sets/scores.jq RUN/report.json
set -euo pipefail

# The place of AVX512F in the first word of `std_detect`'s record.
avx512f=$((1 << 19))

program=$1
shift
symbol() {
    nm "$program" | awk -v name="$1" '$3 ~ name { print $3 }'
}
initialize=$(symbol '10std_detect6detect5cache21detect_and_initialize$')
cache=$(symbol '10std_detect6detect5cache5CACHE$')
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cat >"$out/commands" <<GDB
set pagination off
break $initialize
run $(printf '%q ' "$@") >$out/stdout 2>$out/stderr
finish
set *(unsigned long*)&$cache &= ~(unsigned long)$avx512f
delete
continue
quit \$_exitcode
GDB
status=0
gdb -batch -x "$out/commands" "$program" >"$out/gdb" 2>&1 || status=$?
cat "$out/stdout"
cat "$out/stderr" >&2
exit "$status"
