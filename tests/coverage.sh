#!/bin/bash
# Which lines and branches of src/ the unit tests reach, and which lines they do not.
#   coverage.sh [FILE...]      FILE: list the uncovered lines of these alone, as src/log.c
# Builds with gcc --coverage in build/coverage and runs every unit test there. Needs lcov.
set -u
cd "$(dirname "$0")/.." || exit 1
command -v lcov >/dev/null || { echo "coverage: install the package lcov" >&2; exit 1; }

build=build/coverage
# Counts add up over runs, and a stale count belongs to code that is gone.
find "$build" -name '*.gcda' -delete 2>/dev/null
mkdir -p "$build"
status=0
# One test that does not compile must not hide what the others reach.
make --no-print-directory -k BUILD=$build CC=gcc CFLAGS="-O0 -g --coverage" \
    unit-binaries >"$build/make.txt" 2>&1 || status=1
programs=()
for source in tests/test_*.c; do
    programs+=("$build/tests/$(basename "${source%.c}")")
done
[ -x "$build/fuzz/replay" ] && programs+=("$build/fuzz/replay")
KV_STORE_PROGRAM=$build/kv-store tests/run-unit.sh "" "${programs[@]}" \
    >"$build/run.txt" 2>&1 || status=1
if [ $status -ne 0 ]; then
    echo "coverage: not all tests were built and passed, the figures are what is left:"
    grep -hE 'error:|\*\*\*' "$build/make.txt" | head -5
    grep -E '^FAILED' "$build/run.txt"
fi

# An assertion counts as a branch that no test takes, so 100 % is not to be had there.
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

awk -v root="$PWD/" -v wanted=" $* " '
    function percent(hit, all) { return all == 0 ? "   -  " : sprintf("%5.1f%%", 100 * hit / all) }
    function row(name, lh, lf, bh, bf) {
        printf "%-16s %s %5d of %5d   %s %5d of %5d\n", name, percent(lh, lf), lh, lf, \
            percent(bh, bf), bh, bf
    }
    function source_line(file, number,    text, i) {
        if (!(file in loaded)) {
            loaded[file] = 1
            i = 0
            while ((getline text < file) > 0) source[file, ++i] = text
            close(file)
        }
        text = source[file, number]
        gsub(/^[ \t]+/, "", text)
        return text
    }
    BEGIN { printf "%-16s lines                  branches\n", "" }
    /^SF:/ { file = substr($0, 4); sub(root, "", file); lf = lh = bf = bh = 0 }
    /^DA:/ {
        split(substr($0, 4), part, ",")
        lf++
        if (part[2] > 0) { lh++; next }
        if (wanted == "  " || index(wanted, " " file " "))
            missed[++count] = file SUBSEP part[1]
    }
    /^BRDA:/ {
        split(substr($0, 6), part, ",")
        bf++
        if (part[4] != "-" && part[4] > 0) bh++
        else if (part[4] != "-" && !((file, part[1]) in half) &&
                 (wanted == "  " || index(wanted, " " file " "))) {
            half[file, part[1]] = 1
            halves[++half_count] = file SUBSEP part[1]
        }
    }
    /^end_of_record/ {
        row(file, lh, lf, bh, bf)
        total_lf += lf; total_lh += lh; total_bf += bf; total_bh += bh
    }
    END {
        row("all", total_lh, total_lf, total_bh, total_bf)
        print "\nLines that no unit test reaches:"
        for (i = 1; i <= count; i++) {
            split(missed[i], part, SUBSEP)
            printf "%s:%d: %s\n", part[1], part[2], source_line(part[1], part[2])
        }
        if (count == 0) print "none"
        print "\nLines of which some branch is never taken (assertions left out):"
        for (i = 1; i <= half_count; i++) {
            split(halves[i], part, SUBSEP)
            text = source_line(part[1], part[2])
            if (text !~ /^assert\(/) printf "%s:%d: %s\n", part[1], part[2], text
        }
    }
' "$build/src.info"
exit $status
