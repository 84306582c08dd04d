#!/bin/bash
# Which lines and branches of src/ the tests take, and which they do not.
# Builds with gcc --coverage in build/coverage and runs every test_*.c, fuzz/replay and the
# client scripts. It fails where a test does; whether a branch that none takes matters is
# for a reader to say, and for `make mutate`. Needs lcov.
#
# Left out: assertions, whose failing side no test should take; what a process did that was
# killed by a signal, which leaves no counts behind; the world, which puts the program's
# data, and so the counts, back to their beginning.
set -u
cd "$(dirname "$0")/.." || exit 1
command -v lcov >/dev/null || { echo "coverage: install the package lcov" >&2; exit 1; }

build=build/coverage
# Counts add up over runs, and a stale count belongs to code that is gone.
find "$build" -name '*.gcda' -delete 2>/dev/null
mkdir -p "$build"
status=0
# One test that does not compile must not hide what the others reach.
make --no-print-directory -k BUILD=$build CC=gcc \
    CFLAGS="-O0 -g --coverage -include tests/support/coverage.h" \
    all-binaries >"$build/make.txt" 2>&1 || status=1
programs=()
for source in tests/*/test_*.c; do
    programs+=("$build/tests/$(basename "${source%.c}")")
done
programs+=("$build/fuzz/replay")
# Long sweeps in their short form: what they repeat takes the same branches.
KV_TEST_SLOW=1 KV_STORE_PROGRAM=$build/kv-store tests/run-unit.sh "" "${programs[@]}" \
    >"$build/run.txt" 2>&1 || status=1
tests/clients/run.sh "$build/kv-store" >"$build/clients.txt" 2>&1 || status=1
if [ $status -ne 0 ]; then
    echo "coverage: not all tests were built and passed, the figures are what is left:"
    grep -hE 'error:|\*\*\*' "$build/make.txt" | head -5
    grep -E 'FAILED:' "$build/run.txt"
    grep '^not ok' "$build/clients.txt"
fi

# A branch of an assertion is none to take.
options=(--quiet --rc lcov_branch_coverage=1 --rc "lcov_excl_br_line=assert\\(|LCOV_EXCL_BR_LINE")
lcov "${options[@]}" --capture --directory "$build/src" --base-directory "$PWD" --no-external \
    --output-file "$build/src.info" 2>"$build/lcov.txt" &&
    lcov "${options[@]}" --remove "$build/src.info" '*/tests/*' --output-file "$build/src.info" \
        2>>"$build/lcov.txt" &&
    genhtml --quiet --branch-coverage --prefix "$PWD" --output-directory "$build/html" \
        "$build/src.info" >>"$build/lcov.txt" 2>&1
if [ ! -s "$build/html/index.html" ]; then
    echo "coverage: there is nothing to show:" >&2
    tail -5 "$build/lcov.txt" >&2
    exit 1
fi
lcov --rc lcov_branch_coverage=1 --list "$build/src.info"
echo "coverage: each line and branch that was not taken: $build/html/index.html"
exit $status
