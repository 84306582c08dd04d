#!/bin/bash
# Build each fuzz target with clang and run it for a time, starting from its saved corpus.
#   run.sh SECONDS [TARGET...]      TARGET: protocol conn scan recover
# New inputs stay in build/fuzz/found/; MERGE=1 afterwards saves the fewest that reach as
# much in corpus/TARGET. Exits 1 on a crash, and leaves its input in build/fuzz/.
set -u
cd "$(dirname "$0")/../.." || exit 1

seconds=${1:-}
case $seconds in
'' | *[!0-9]*)
    echo "usage: $0 SECONDS [TARGET...]" >&2
    exit 2
    ;;
esac
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(protocol conn scan recover)

out=build/fuzz
mkdir -p "$out/found"
fuzz_flags="-g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all"
language="-std=c11 -D_POSIX_C_SOURCE=200809L -Iinclude -Itests"

# Debian ships the run-time part of libFuzzer in a package of its own.
if ! echo 'int LLVMFuzzerTestOneInput(const char *d, long n); int LLVMFuzzerTestOneInput(const char *d, long n) { return d == 0 && n < 0; }' |
    clang -x c -fsanitize=fuzzer,address,undefined -o "$out/probe" - 2>"$out/probe.txt"; then
    echo "fuzz: clang cannot link with -fsanitize=fuzzer,address,undefined:" >&2
    head -3 "$out/probe.txt" >&2
    echo "fuzz: install clang and libclang-rt-14-dev (the number is that of clang --version)" >&2
    exit 1
fi

# Everything but the entry of libFuzzer is built once and linked into each target.
build() {
    local objects=() source object
    # What stands in src/ itself has a main, or is for one.
    for source in src/*/*.c tests/fuzz/*.c tests/support/{bytes,contents,resize,words}.c; do
        case $source in
        tests/fuzz/replay.c | tests/fuzz/libfuzzer_entry.c) continue ;;
        esac
        object=$out/$(basename "${source%.c}").o
        # Unquoted on purpose: the flags are lists.
        # shellcheck disable=SC2086
        clang $language $fuzz_flags -c -o "$object" "$source" || return 1
        [ "$source" = tests/fuzz/libfuzzer_mutate.c ] || objects+=("$object")
    done
    for target in "${targets[@]}"; do
        local extra=()
        case $target in scan | recover) extra=("$out/libfuzzer_mutate.o") ;; esac
        # shellcheck disable=SC2086
        clang $language $fuzz_flags -fsanitize=fuzzer -DFUZZ_TARGET="fuzz_$target" \
            -o "$out/fuzz_$target" tests/fuzz/libfuzzer_entry.c "${objects[@]}" \
            "${extra[@]}" || return 1
    done
}
build || { echo "fuzz: the build failed" >&2; exit 1; }

# The files of a log are written for each input: in memory, if there is such a place.
scratch_parent=${TMPDIR:-/tmp}
[ -w /dev/shm ] && scratch_parent=/dev/shm
TMPDIR=$(mktemp -d "$scratch_parent/kv-fuzz-XXXXXX") || exit 1
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

total=0
failed=""
for target in "${targets[@]}"; do
    corpus=tests/fuzz/corpus/$target
    found=$out/found/$target
    mkdir -p "$corpus" "$found"
    case $target in
    protocol)
        options="-max_len=400 -dict=$out/protocol.dict"
        { cat tests/fuzz/protocol.dict; sed -nE 's/.*\bNAME\(("[A-Z]+)"\).*/\1 "/p' src/net/protocol.c; } \
            >"$out/protocol.dict"
        ;;
    conn) options="-max_len=2000" ;;
    *) options="-max_len=4096" ;;
    esac
    # What the program tells its operator goes nowhere; libFuzzer keeps its own way out.
    # shellcheck disable=SC2086
    "$out/fuzz_$target" -max_total_time="$seconds" -close_fd_mask=3 -print_final_stats=1 \
        -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$out/crash-$target-" $options \
        "$found" "$corpus" >"$out/$target.txt" 2>&1
    status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.txt")
    coverage=$(sed -n 's/.*\(cov: [0-9]* ft: [0-9]*\).*/\1/p' "$out/$target.txt" | tail -1)
    total=$((total + ${executions:-0}))
    printf 'fuzz: %-9s %10s executions, %s\n' "$target" "${executions:-0}" "$coverage"
    if [ $status -ne 0 ]; then
        failed="$failed $target"
        grep -E -m1 'ERROR: |runtime error: ' "$out/$target.txt"
        grep -E '^ +#[0-9]+ .* in (fuzz|check|expect|read|[a-z_]*_)' "$out/$target.txt" | head -8
        grep 'Test unit written to' "$out/$target.txt"
    elif [ "${MERGE:-0}" = 1 ]; then
        rm -rf "$out/merged"
        mkdir "$out/merged"
        # By edges alone: how often each was passed would keep many times the files.
        # shellcheck disable=SC2086
        "$out/fuzz_$target" -merge=1 -use_counters=0 -close_fd_mask=3 $options "$out/merged" "$corpus" "$found" \
            >"$out/$target-merge.txt" 2>&1 && rm -rf "$corpus" && cp -r "$out/merged" "$corpus"
    fi
done
echo "fuzz: $total executions in all${failed:+; FAILED:$failed}"
[ -z "$failed" ]
