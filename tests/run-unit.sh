#!/usr/bin/env bash
# Run cmocka programs, as many at once as there are processors, and say what was run.
#
#     tests/run-unit.sh RUNNER PROGRAM...     RUNNER: a command put before each, or ""
#
# Prints a line for each program, with what it measured and which tests skipped themselves
# below it; PROGRAM.TITLE.out keeps its whole output, shown at the end if it failed.
#
# KV_JOBS   how many at once
# KV_TITLE  what the last line begins with, and names the files (unit)
# KV_RAN    a file to which the last line is added, for the end of `make test`
set -u
unset JOURNAL_STREAM NOTIFY_SOCKET # what a service would inherit is for tests to set

export KV_TITLE=${KV_TITLE:-unit}

ended() { # ended PROGRAM KIND: the tests that ended so, as OK or SKIPPED
    grep -aoE "^\[ +$2 \] [a-z0-9_]+$" "$1.$KV_TITLE.out" | sed 's/.* //' | sort -u
}

# Runs in a shell of its own; the line comes out at once, so that lines are never mixed.
if [[ ${1:-} == --one ]]; then
    program=$3
    TIMEFORMAT='%1R s, %1U + %1S s of processor'
    # Unquoted on purpose: the runner is a command with options.
    # shellcheck disable=SC2086
    times=$({ time $2 "$program" >"$program.$KV_TITLE.out" 2>&1 </dev/null; } 2>&1)
    echo $? >"$program.$KV_TITLE.status"
    facts=$(grep -av -e '^\[' -e '^KV_TEST_SEED=' -e '^kv-store: ' -e 'TEST(S)$' \
        -e '^$' "$program.$KV_TITLE.out" | sed 's/^/    /')
    skipped=$(ended "$program" SKIPPED | sed 's/^/    skipped itself: /')
    printf '%s%s\n' "$(basename "$program"): $(ended "$program" OK | wc -l) tests, $times" \
        "${facts:+$'\n'$facts}${skipped:+$'\n'$skipped}"
    exit 0
fi

runner=$1
shift
for program; do
    rm -f "$program.$KV_TITLE.out" "$program.$KV_TITLE.status"
done
printf '%s\0' "$@" |
    xargs -0 -n 1 -P "${KV_JOBS:-$(getconf _NPROCESSORS_ONLN)}" "$0" --one "$runner"

failed=""
passed_count=0
skipped=""
for program; do
    if [[ $(cat "$program.$KV_TITLE.status" 2>/dev/null) != 0 ]]; then
        failed+=" $(basename "$program")"
        echo "== $program failed with status $(cat "$program.$KV_TITLE.status" 2>&1)"
        cat "$program.$KV_TITLE.out"
    fi
    passed_count=$((passed_count + $(ended "$program" OK | wc -l)))
    skipped+=$(ended "$program" SKIPPED | sed 's/^/ /' | tr -d '\n')
done
line="$KV_TITLE: $# programs, $passed_count tests passed"
[[ -z $skipped ]] || line+="; skipped themselves, as their sources say why:$skipped"
[[ -z $failed ]] || line+="; FAILED:$failed"
echo "$line" | tee -a "${KV_RAN:-/dev/null}"
[[ -z $failed ]]
