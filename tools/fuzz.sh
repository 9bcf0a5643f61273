#!/bin/sh
# Builds every fuzz target with libFuzzer and runs each for the given seconds.
#
#     tools/fuzz.sh SECONDS [TARGET...]
#
# What is found new stays in build-fuzz/corpus; a crash's input is named and kept there.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:?seconds}
shift

[ -f build-fuzz/build.ninja ] ||
    CC=clang meson setup build-fuzz -Dfuzzers=true -Db_sanitize=address,undefined -Db_lundef=false
ninja -C build-fuzz

if [ $# -eq 0 ]; then
    for program in build-fuzz/tests/fuzz/fuzz_*; do
        [ -x "$program" ] && [ ! -d "$program" ] && set -- "$@" "${program##*/fuzz_}"
    done
fi

failed=""
for target in "$@"; do
    found=build-fuzz/corpus/$target
    mkdir -p "$found"
    echo "== $target, $seconds seconds"
    build-fuzz/tests/fuzz/fuzz_"$target" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$found/../$target-" \
        "$found" tests/fuzz/corpus/"$target" 2>"build-fuzz/$target.log" ||
        failed="$failed $target"
    grep -E '^(#[0-9]+.DONE|stat::number_of_executed_units|SUMMARY|Test unit written)' \
        "build-fuzz/$target.log" || tail -n 5 "build-fuzz/$target.log"
done

if [ -n "$failed" ]; then
    echo "failed:$failed (see build-fuzz/TARGET.log)" >&2
    exit 1
fi
echo "$# targets, nothing found"
