#!/usr/bin/env bash
# Scripts of the world with each thing that can be done to them, as many scripts at once as
# there are processors.
#
#     tests/world/every.sh WORLD [SCRIPT...]      without SCRIPT: all in every/
#
# KV_RAN    a file to which the last line is added, for the end of `make test`
set -uo pipefail
world=$1
shift
[ $# -gt 0 ] || set -- "$(dirname "$0")"/every/*.world
# Each start has a large piece of memory, of which it uses little: from the system it comes
# empty, where glibc would keep it and fill it with zeros anew.
export MALLOC_MMAP_THRESHOLD_=131072
out=$(mktemp)
trap 'rm -f -- "$out"' EXIT
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" "$world" --every |
    tee "$out"
status=$?
runs=$(grep -oE '[0-9]+ (failures|deaths|fading pages|pairs)' "$out" | awk '{ sum += $1 } END { print sum }')
echo "every: $# scripts, $runs runs with a failing call, a kill, a loss of power or a fading page each" |
    tee -a "${KV_RAN:-/dev/null}"
exit "$status"
