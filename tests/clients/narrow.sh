#!/usr/bin/env bash
# For a program of 32 bits: what does not fit its address space is refused in clear
# words, nothing is harmed, and what fits is served. Not part of the usual run.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"
cd "$work" || exit 1

# A log of 3 GiB (a sparse file): each way to open it says why not, and leaves it alone.
serve log
talks "a first value" $'SET key value\n' $'success\n' nc_plain
stop_server TERM
cp log large
truncate -s 3G large
head -c 1M large >large.before
refused() { # refused NAME OPTION...
    local name=$1
    shift
    run_program --file large "$@"
    check "a log of 3 GiB, $name: exit status" "$run_status" 1
    check "a log of 3 GiB, $name: why" "$(head -n 1 run.stderr)" \
        "kv-store: large: cannot map the log; it is not used: File too large"
    check "a log of 3 GiB, $name: its length" "$(stat -c %s large)" 3221225472
    head -c 1M large >large.after
    same "a log of 3 GiB, $name: its bytes" large.after large.before
}
refused serving --port 0
refused verifying --verify
refused dumping --dump
refused salvaging --salvage new
check "no new log is left" "$(ls new 2>/dev/null)" ""

run_program --file other --port 0 --max-value 4294967295
check "values of 4 GiB: exit status" "$run_status" 1
check "values of 4 GiB: why" "$(cat run.stderr)" \
    "kv-store: --max-value: not enough memory for values of that size; giving up"

# The log grows until there is no address space for it: refused, and service goes on.
# 600 MB stand for what a machine has, so that the disk need not hold gigabytes.
value() { # value NUMBER: of 20 MB
    repeated "$1" 20000000
}
ulimit -S -v 600000
serve log
ulimit -S -v unlimited
for number in {1..60}; do
    printf 'SET large%d ' "$number"
    value $((number % 10))
    printf '\nSET small%d fits\n' "$number"
done | nc_plain >got
taken=$(grep -c '^success$' got)
check "values until none fits: each is answered" "$(wc -l <got)" 120
check "values until none fits: in these words" \
    "$(grep -v '^success$' got | sort -u)" "error: out of memory"
check "values until none fits: some did" "$((taken > 62 && taken < 120))" 1
talks "what was taken is counted" $'COUNT\n' "$((taken + 1))"$'\n' nc_plain
printf 'GET large1\n' | nc_plain >got
{ value 1; echo; } >expected
same "what was taken is there" got expected
stop_server TERM
check "a clean stop" "$server_status" 0
run_program --file log --verify
check "the log is whole" "$run_status" 0
