#!/bin/bash
# Which lines and branches of src/ the tests take, and which they do not.
#   coverage.sh [FILE...]      FILE: show what is missing of these alone, as src/log/log.c
# Builds with gcc --coverage in build/coverage and runs every test_*.c and fuzz/replay.
# Fails unless each line of src/ that has a branch no test takes stands, with the reason,
# in the list in tests/README.md, and nothing else does. Needs lcov.
#
# Left out: assertions, whose failing side no test should take, and what a process did
# that was killed by a signal, which leaves no counts behind.
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
if [ $status -ne 0 ]; then
    echo "coverage: not all tests were built and passed, the figures are what is left:"
    grep -hE 'error:|\*\*\*' "$build/make.txt" | head -5
    grep -E 'FAILED:' "$build/run.txt"
fi

info=$build/all.info
lcov --quiet --capture --rc lcov_branch_coverage=1 --directory "$build/src" \
    --output-file "$info" 2>"$build/lcov.txt" &&
    lcov --quiet --extract "$info" "$PWD/src/*" --rc lcov_branch_coverage=1 \
        --output-file "$build/src.info" 2>>"$build/lcov.txt"
if [ ! -s "$build/src.info" ]; then
    echo "coverage: there is nothing to show:" >&2
    tail -5 "$build/lcov.txt" >&2
    exit 1
fi

# An entry of the list: - `FILE` `FUNCTION` `TEXT OF THE LINE`: reason, which may go on.
list=$build/untaken.txt
awk '
    /^## / { is_list = /^## Branches that no test takes/ }
    !is_list || !/^- `/ { next }
    split($0, part, "`") == 7 && part[7] ~ /^:/ { print part[2] "\t" part[4] "\t" part[6]; next }
    { print "no such entry: " $0 }
' tests/README.md >"$list"

awk -v root="$PWD/" -v wanted=" $* " -v list="$list" '
    function percent(hit, all) { return all == 0 ? "   -  " : sprintf("%5.1f%%", 100 * hit / all) }
    function row(name, lh, lf, bh, bf) {
        printf "%-17s %s %5d of %5d   %s %5d of %5d\n", name, percent(lh, lf), lh, lf, \
            percent(bh, bf), bh, bf
    }
    function is_wanted(file) { return wanted == "  " || index(wanted, " " file " ") }
    # Read a source, and note which of its lines belong to an assertion.
    function load(file,    text, i, is_inside) {
        while ((getline text < file) > 0) {
            gsub(/^[ \t]+/, "", text)
            source[file, ++i] = text
            is_inside = is_inside || text ~ /^assert\(/
            is_assertion[file, i] = is_inside
            if (text ~ /;$/) is_inside = 0
        }
        close(file)
    }
    function show(file, number) {
        printf "%s:%d: %s: %s\n", file, number, function_at[file, number], source[file, number]
    }
    BEGIN {
        FS = "\t"
        while ((getline < list) > 0) {
            listed[$1, $2, $3]++
            entries[++entry_count] = $1 SUBSEP $2 SUBSEP $3
        }
        printf "%-17s lines                   branches\n", ""
    }
    /^SF:/ {
        file = substr($0, 4)
        sub(root, "", file)
        lf = lh = bf = bh = first_count = 0
        load(file)
    }
    /^FN:/ {
        split(substr($0, 4), part, ",")
        first_line[++first_count] = part[1]
        name_of[first_count] = part[2]
    }
    /^DA:/ {
        split(substr($0, 4), part, ",")
        lf++
        if (part[2] > 0) lh++
        else missed[++missed_count] = file SUBSEP part[1]
    }
    /^(DA|BRDA):/ {
        number = substr($0, index($0, ":") + 1) + 0
        best = 0
        for (i = 1; i <= first_count; i++)
            if (first_line[i] + 0 <= number && first_line[i] + 0 > best) {
                best = first_line[i] + 0
                function_at[file, number] = name_of[i]
            }
    }
    /^BRDA:/ {
        split(substr($0, 6), part, ",")
        if (is_assertion[file, part[1]]) next
        bf++
        if (part[4] != "-" && part[4] > 0) bh++
        else if (part[4] != "-" && !((file, part[1]) in is_half)) {
            is_half[file, part[1]] = 1
            halves[++half_count] = file SUBSEP part[1]
        }
    }
    /^end_of_record/ {
        row(file, lh, lf, bh, bf)
        total_lf += lf; total_lh += lh; total_bf += bf; total_bh += bh
    }
    END {
        row("all", total_lh, total_lf, total_bh, total_bf)
        print "\nLines that no test reaches:"
        for (i = 1; i <= missed_count; i++) {
            split(missed[i], part, SUBSEP)
            if (is_wanted(part[1])) show(part[1], part[2])
        }
        print "\nLines with a branch that no test takes, and that the list does not excuse:"
        for (i = 1; i <= half_count; i++) {
            split(halves[i], part, SUBSEP)
            key = part[1] SUBSEP function_at[part[1], part[2]] SUBSEP source[part[1], part[2]]
            if (listed[key] > 0) {
                listed[key]--
                continue
            }
            failures++
            if (is_wanted(part[1])) show(part[1], part[2])
        }
        print "\nEntries of the list for which there is no such line, or a test takes it now:"
        for (i = 1; i <= entry_count; i++) {
            if (listed[entries[i]] <= 0) continue
            failures++
            listed[entries[i]]--
            split(entries[i], part, SUBSEP)
            printf "%s: %s: %s\n", part[1], part[2], part[3]
        }
        if (failures > 0) {
            printf "\ncoverage: %d lines and list entries to look at\n", failures
            exit 1
        }
        print "\ncoverage: every branch is taken by a test or listed with the reason"
    }
' "$build/src.info" || status=1
exit $status
