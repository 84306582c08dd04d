#!/usr/bin/env bash
# Make the parts of `make test` one after another, and say where it is and how it ended.
#
#     KV_RAN=FILE tests/run-parts.sh VARIABLE=VALUE... TARGET[+TARGET]...
#
# Targets joined by + are made at the same time, for one that mostly waits beside one that
# computes. What a part prints is in TARGET.log beside FILE, and shown if it fails, without
# the hundreds of checks that went well.
#
# KV_RAN  where each part adds the lines that are shown when it has ended
# MAKE    the make to use (make)
set -um # with -m each target has a process group, which a signal ends as a whole

variables=()
while [[ ${1:-} == *=* ]]; do
    variables+=("$1")
    shift
done
logs=$(dirname "$KV_RAN")
mkdir -p "$logs" || exit 1

so_far() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

pids=()
give_up() {
    trap '' INT TERM
    for pid in "${pids[@]}"; do
        kill -TERM -- "-$pid"
    done
    wait
    echo "make test was stopped, after $(so_far)"
    exit 1
} 2>/dev/null
trap give_up INT TERM

# Sets failed to those that did.
make_together() { # make_together TARGET...
    local target
    pids=()
    failed=()
    for target; do
        "${MAKE:-make}" --no-print-directory "${variables[@]}" "$target" </dev/null \
            >"$logs/$target.log" 2>&1 &
        pids+=($!)
    done
    for target; do
        wait "${pids[0]}" || failed+=("$target")
        pids=("${pids[@]:1}")
    done
}

number=0
for part; do
    number=$((number + 1))
    read -ra targets <<<"${part//+/ }"
    echo "== part $number of $#: ${targets[*]} ($(so_far) so far)"
    start=$SECONDS
    : >"$KV_RAN"
    make_together "${targets[@]}"
    for target in "${failed[@]}"; do
        sed '/^ok /d' "$logs/$target.log"
    done
    sed 's/^/    /' "$KV_RAN"
    echo "    ($((SECONDS - start)) s)"
    if [[ ${#failed[@]} -gt 0 ]]; then
        echo "make test FAILED in ${failed[*]}, after $(so_far): what is wrong stands above;" \
            "\`make ${failed[*]}\` repeats this alone"
        exit 1
    fi
done
echo "make test PASSED: all $# parts, in $(so_far); what each printed is in" \
    "$(realpath --relative-to=. "$logs")/*.log"
