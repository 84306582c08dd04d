#!/usr/bin/env bash
# Make the parts of `make test` one after another, and say where it is and how it ended.
#
#     KV_RAN=FILE tests/run-parts.sh VARIABLE=VALUE... TARGET[+TARGET]...
#
# Targets joined by + are made at the same time, for one that mostly waits beside one that
# computes; what they print comes when both have ended.
#
# KV_RAN  where each part adds the lines that are shown at the end
# MAKE    the make to use (make)
set -u

variables=()
while [[ ${1:-} == *=* ]]; do
    variables+=("$1")
    shift
done
logs=$(dirname "$KV_RAN")
mkdir -p "$logs" && : >"$KV_RAN" || exit 1

so_far() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }
what_ran() { sed 's/^/    /' "$KV_RAN"; }
make_one() { "${MAKE:-make}" --no-print-directory "${variables[@]}" "$1"; }

# Names those that failed.
make_together() { # make_together TARGET...
    local target failed="" pids=()
    for target; do
        make_one "$target" >"$logs/$target.log" 2>&1 &
        pids+=($!)
    done
    for target; do
        wait "${pids[0]}" || failed+=" $target"
        pids=("${pids[@]:1}")
        cat "$logs/$target.log"
    done
    failed_targets=$failed
    [[ -z $failed ]]
}

number=0
for part; do
    number=$((number + 1))
    read -ra targets <<<"${part//+/ }"
    echo "== part $number of $#: ${targets[*]} ($(so_far) so far)"
    start=$SECONDS
    failed_targets=" $part"
    if [[ ${#targets[@]} -eq 1 ]]; then
        make_one "$part"
    else
        make_together "${targets[@]}"
    fi || {
        echo "make test FAILED in$failed_targets, after $(so_far). Up to there it ran:"
        what_ran
        echo "make test FAILED: what is wrong stands above; \`make$failed_targets\` repeats this part alone"
        exit 1
    }
    echo "    (${targets[*]}: $((SECONDS - start)) s)" >>"$KV_RAN"
done
echo "it ran:"
what_ran
echo "make test PASSED: all $# parts, in $(so_far)"
