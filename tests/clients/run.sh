#!/usr/bin/env bash
# Drive a kv-store program with the clients that people have: nc in its many kinds,
# telnet, curl, socat and bash. Prints a line per check and exits 0 only if all passed.
#
#     tests/clients/run.sh PROGRAM [SCRIPT...]
#
# SCRIPT: names of scripts beside this one, to run only those.
# Scripts mostly wait, so twice as many as there are processors run at once. Each has a
# directory, servers and ports of its own; its lines come together, when it has ended.
# The last lines name what is not on this machine, so that nobody takes the checks that
# need it for passed. KV_RAN: a file to which they are added, for the end of `make test`.
set -u
here=$(dirname -- "$(realpath -- "$0")")

# A script that does not reach its end has checks that nobody ran: that is a failure too.
if [[ ${1:-} == --one ]]; then
    program=$2 results=$3 script=$4
    timeout 1800 bash "$here/$script" "$program" >"$results/$script" 2>&1 </dev/null
    status=$?
    {
        [[ $status -eq 0 ]] || echo "not ok $script: ended early with status $status"
        echo "   ($script: $SECONDS s)"
    } >>"$results/$script"
    exec flock "$results" cat "$results/$script"
fi

if [[ $# -lt 1 || ! -x $1 ]]; then
    echo "usage: $0 PROGRAM [SCRIPT...]" >&2
    exit 1
fi
program=$(realpath -- "$1")
shift
# All but what is no script of its own, and narrow.sh, which is for 32 bits; those that take
# longest begin.
if [[ $# -eq 0 ]]; then
    set -- words.sh recipes.sh kv.sh follow.sh pipes.sh
    for script in "$here"/*.sh; do
        case " $* run.sh lib.sh narrow.sh " in
        *" ${script##*/} "*) ;;
        *) set -- "$@" "${script##*/}" ;;
        esac
    done
fi

results=$(mktemp -d)
trap 'rm -rf -- "$results"' EXIT
printf '%s\0' "$@" | xargs -0 -n 1 -P $((2 * $(getconf _NPROCESSORS_ONLN))) \
    "$0" --one "$program" "$results"

passed=$(cat "$results"/*.sh | grep -c '^ok ')
failed=$(cat "$results"/*.sh | grep -c '^not ok ')
{
    echo "check-clients: $# scripts, $passed checks passed, $failed failed"
    cat "$results"/*.sh | sed -n 's/^not run: \(.*\) (.*/\1/p' | sort | uniq -c |
        sed -E 's/^ *([0-9]+) (.*)/check-clients: NOT RUN: \1 checks: \2/'
} | tee -a "${KV_RAN:-/dev/null}"
[[ $failed -eq 0 && $passed -gt 0 ]]
