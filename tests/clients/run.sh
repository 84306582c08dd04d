#!/usr/bin/env bash
# Drive a kv-store program with the clients that people have: nc in its many kinds,
# telnet, curl, socat and bash. Prints a line per check and exits 0 only if all passed.
#
#     tests/clients/run.sh PROGRAM [SCRIPT...]
#
# SCRIPT: names of scripts beside this one, to run only those.
# Its last lines name what is not on this machine, so that nobody takes the checks that
# need it for passed. KV_RAN: a file to which they are added, for the end of `make test`.
set -u

if [[ $# -lt 1 || ! -x $1 ]]; then
    echo "usage: $0 PROGRAM [SCRIPT...]" >&2
    exit 1
fi
program=$(realpath -- "$1")
shift
here=$(dirname -- "$(realpath -- "$0")")
if [[ $# -eq 0 ]]; then
    set -- oneshot.sh pipes.sh kv.sh scripts.sh compat.sh operations.sh crash.sh words.sh \
        recipes.sh moving.sh follow.sh full.sh turns.sh
fi

results=$(mktemp)
trap 'rm -f -- "$results"' EXIT

# A script that does not reach its end has checks that nobody ran: that is a failure too.
for script in "$@"; do
    timeout 1800 bash "$here/$script" "$program"
    status=$?
    if [[ $status -ne 0 ]]; then
        printf 'not ok %s: ended early with status %d\n' "$script" "$status"
    fi
done | tee "$results"

passed=$(grep -c '^ok ' "$results")
failed=$(grep -c '^not ok ' "$results")
{
    echo "check-clients: $# scripts, $passed checks passed, $failed failed"
    sed -n 's/^not run: \(.*\) (.*/\1/p' "$results" | sort | uniq -c |
        sed -E 's/^ *([0-9]+) (.*)/check-clients: NOT RUN: \1 checks: \2/'
} | tee -a "${KV_RAN:-/dev/null}"
[[ $failed -eq 0 && $passed -gt 0 ]]
