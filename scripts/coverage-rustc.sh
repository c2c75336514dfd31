#!/bin/sh
# RUSTC_WORKSPACE_WRAPPER of scripts/fuzz.sh: compiles the libraries of this workspace with the coverage counters that
# libFuzzer reads, and with checks for overflow. Dependencies are compiled as always, so burn is not built a second time.
rustc=$1
shift
case " $* " in
*" --crate-name build_script_build "* | *" --test "*) exec "$rustc" "$@" ;;
*" --crate-name "*" --crate-type lib "* | *" --crate-name fuzz_readers "*)
    exec "$rustc" "$@" --cfg fuzzing -C overflow-checks -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
        -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
        -C llvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$rustc" "$@" ;;
esac
