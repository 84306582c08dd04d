#!/usr/bin/env bash
# Run cmocka programs, as many at once as there are processors, and say what was run.
#
#     tests/run-unit.sh RUNNER PROGRAM...     RUNNER: a command put before each, or ""
#
# Prints a line for each program, with what it measured and which tests skipped themselves
# below it; PROGRAM.out keeps its whole output, which is shown at the end if it failed.
#
# KV_JOBS   how many at once
# KV_TITLE  what the last line begins with (unit)
# KV_RAN    a file to which the last line is added, for the end of `make test`
set -u
unset JOURNAL_STREAM NOTIFY_SOCKET # what a service would inherit is for tests to set

count() { # count PROGRAM KIND: how many tests ended as this one kind, OK or SKIPPED
    grep -aoE "^\[ +$2 \] [a-z0-9_]+$" "$1.out" | sort -u | wc -l
}

# Runs in a shell of its own; the line comes out at once, so that lines are never mixed.
if [[ ${1:-} == --one ]]; then
    program=$3
    TIMEFORMAT='%1R s, %1U + %1S s of processor'
    # Unquoted on purpose: the runner is a command with options.
    # shellcheck disable=SC2086
    times=$({ time $2 "$program" >"$program.out" 2>&1 </dev/null; } 2>&1)
    echo $? >"$program.status"
    facts=$(grep -av -e '^\[' -e '^KV_TEST_SEED=' -e '^kv-store: ' -e 'TEST(S)$' \
        -e '^$' "$program.out" | sed 's/^/    /')
    skipped=$(grep -aoE '^\[  SKIPPED \] [a-z0-9_]+$' "$program.out" | sort -u |
        sed 's/.* /    skipped itself: /')
    printf '%s%s\n' "$(basename "$program"): $(count "$program" OK) tests, $times" \
        "${facts:+$'\n'$facts}${skipped:+$'\n'$skipped}"
    exit 0
fi

runner=$1
shift
for program; do
    rm -f "$program.out" "$program.status"
done
printf '%s\0' "$@" |
    xargs -0 -n 1 -P "${KV_JOBS:-$(getconf _NPROCESSORS_ONLN)}" "$0" --one "$runner"

failed=""
passed_count=0
skipped_count=0
for program; do
    if [[ $(cat "$program.status" 2>/dev/null) != 0 ]]; then
        failed+=" $(basename "$program")"
        echo "== $program failed with status $(cat "$program.status" 2>&1)"
        cat "$program.out"
    fi
    passed_count=$((passed_count + $(count "$program" OK)))
    skipped_count=$((skipped_count + $(count "$program" SKIPPED)))
done
line="${KV_TITLE:-unit}: $# programs, $passed_count tests passed"
[[ $skipped_count -eq 0 ]] || line+=", $skipped_count skipped themselves"
[[ -z $failed ]] || line+="; FAILED:$failed"
echo "$line" | tee -a "${KV_RAN:-/dev/null}"
[[ -z $failed ]]
