#!/usr/bin/env bash
# Make the parts of `make test` one after another, and say where it is and how it ended.
#
#     KV_RAN=FILE tests/run-parts.sh VARIABLE=VALUE... TARGET...
#
# KV_RAN  where each part adds the lines that are shown at the end
# MAKE    the make to use (make)
set -u

variables=()
while [[ ${1:-} == *=* ]]; do
    variables+=("$1")
    shift
done
mkdir -p "$(dirname "$KV_RAN")" && : >"$KV_RAN" || exit 1

so_far() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }
what_ran() { sed 's/^/    /' "$KV_RAN"; }

number=0
for part; do
    number=$((number + 1))
    echo "== part $number of $#: $part ($(so_far) so far)"
    start=$SECONDS
    if ! ${MAKE:-make} --no-print-directory "${variables[@]}" "$part"; then
        echo "make test FAILED in $part, after $(so_far). Up to there it ran:"
        what_ran
        echo "make test FAILED: what is wrong stands above; \`make $part\` repeats this part alone"
        exit 1
    fi
    echo "    ($part took $((SECONDS - start)) s)" >>"$KV_RAN"
done
echo "it ran:"
what_ran
echo "make test PASSED: all $# parts, in $(so_far)"
