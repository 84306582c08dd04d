#!/bin/sh
# Run cmocka programs one after another and say at the end how many failed.
#   run-unit.sh RUNNER PROGRAM...     RUNNER: a command put before each, or ""
unset JOURNAL_STREAM NOTIFY_SOCKET # what a service would inherit is for tests to set
runner=$1
shift
failed=""
for program in "$@"; do
    echo "== $(basename "$program")"
    # Unquoted on purpose: the runner is a command with options.
    $runner "$program" || failed="$failed $(basename "$program")"
done
if [ -n "$failed" ]; then
    echo "FAILED:$failed"
    exit 1
fi
echo "all $# test programs passed"
