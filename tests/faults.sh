#!/usr/bin/env bash
# Print which tests stand for each row of the table in faults.md, and fail if a row has
# neither a test nor a line in faults-without-test.txt, or if that file names a test that
# does not exist or a row that has a test of its own, or a test a row that does not exist.
#
# A test stands for a row if its name carries the number (f30_..., f48_f54_...), or if a
# comment of a script names it (F30), the world's scripts included.
set -u
cd "$(dirname "$0")" || exit 1

# The numbers of the rows: some may not be there yet.
rows=$(sed -nE 's/^\| F([0-9]+) \| .* \| .* \|$/\1/p' faults.md)
exceptions=faults-without-test.txt
found=$(mktemp)
trap 'rm -f -- "$found"' EXIT

# "number name file" for each test function and each row that it carries.
list_functions() {
    grep -HoE '^static void f[0-9]+_[a-z0-9_]+\(void \*\*state\)' ./*/*.c |
        sed -E 's/^(\.\/)?([^:]+):static void ([a-z0-9_]+)\(.*/\3 \2/' |
        while read -r name file; do
            rest=$name
            while [[ $rest =~ ^f([0-9]+)_(.*)$ ]]; do
                printf '%d %s %s\n' "${BASH_REMATCH[1]}" "$name" "$file"
                rest=${BASH_REMATCH[2]}
            done
        done
}

# The same for the comments of scripts, and of the program that is no cmocka test.
list_comments() {
    grep -HoE '^ *(#|\*|/\*).*' clients/*.sh server/torture.c world/every/*.world world/found/*.world | sed 's|^\./||' |
        while IFS=: read -r file comment; do
            for word in $(grep -oE '\bF[0-9]+\b' <<<"$comment" | tr -d F); do
                printf '%d comment %s\n' "$word" "$file"
            done
        done
}

has_function() {
    grep -qE "^static void $1\(" ./*/*.c
}

{ list_functions; list_comments; } | sort -u >"$found"

failures=0
complain() {
    printf 'faults: %s\n' "$1" >&2
    failures=$((failures + 1))
}

print_row() {
    local row=$1 line names name fault
    line=$(grep -E "^F$row: " "$exceptions")
    names=$(awk -v row="$row" '$1 == row { printf "  %s (%s)\n", $2, $3 }' "$found")
    fault=$(sed -n "s/^| F$row | \([^|]*\) | .*/\1/p" faults.md)
    [[ -n $fault ]] || complain "faults.md: the row F$row has no fault"
    printf 'F%d %s\n' "$row" "$fault"
    [[ -z $names ]] || printf '%s\n' "$names"
    if [[ -n $line && -n $names ]]; then
        complain "F$row has a test; its line in $exceptions can go"
    elif [[ -n $line ]]; then
        printf '  %s\n' "${line#F*: }"
        if [[ $line == *": covered by "* ]]; then
            for name in ${line#*: covered by }; do
                has_function "$name" || complain "F$row: there is no test $name"
            done
        fi
    elif [[ -z $names ]]; then
        complain "F$row has neither a test nor a line in $exceptions"
    fi
}

for row in $rows; do
    print_row "$row"
done
awk -v rows="$rows" 'BEGIN { split(rows, list); for (i in list) is_row[list[i]] = 1 }
    !($1 in is_row) { print "faults: no such row: F" $0; bad = 1 }
    END { exit bad }' "$found" >&2 || failures=$((failures + 1))
[[ -z $(sort <<<"$rows" | uniq -d) ]] || complain "faults.md: two rows have one number"

with_test=$(awk '{ print $1 }' "$found" | sort -u | wc -l)
covered=$(grep -cE '^F[0-9]+: covered by ' "$exceptions")
without=$(grep -E '^F[0-9]+: ' "$exceptions" | grep -cv ': covered by ')
echo "faults: $(wc -w <<<"$rows") rows, $with_test with a test of their own," \
    "$covered covered by others, $without without, $failures problems" | tee -a "${KV_RAN:-/dev/null}"
[[ $failures -eq 0 ]]
