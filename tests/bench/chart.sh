#!/bin/bash
# Draw chart.svg beside this script from what `make bench` and `make bench-restart`
# left in build/bench: how many times as fast as Redis, or as small.
#
#   tests/bench/chart.sh [FIGURES-DIRECTORY]
#
# Colours are such that they can be read on a white page and on a black one.
set -euo pipefail
here=$(dirname -- "$(realpath -- "$0")")
from=${1:-$here/../../build/bench}
bars=$(mktemp)
trap 'rm -f -- "$bars"' EXIT

# bar LABEL ROW-OF-BENCH: the median ratio to Redis.
bar() {
    awk -F '|' -v label="$1" -v row="$2" '
        $1 == row && $2 == "redis" { printf "%s|%s\n", label, $5; found = 1 }
        END { exit !found }' "$from/bench.txt" >>"$bars" ||
        { echo "chart.sh: no figures for $2 in $from/bench.txt" >&2; exit 1; }
}

restarts() { # restarts LABEL START: how many times as fast as Redis
    awk -F , -v label="$1" -v start="$2" '
        $1 == start && $2 == 2000000 { sum[$3] += $5; count[$3]++ }
        END {
            if (!count["kv"] || !count["redis"]) exit 1
            printf "%s|%.1f\n", label, sum["redis"] / count["redis"] / (sum["kv"] / count["kv"])
        }' "$from/restart.csv" >>"$bars" ||
        { echo "chart.sh: no start \"$2\" in $from/restart.csv" >&2; exit 1; }
}

bar 'a file of SETs through nc' 'a file of SETs through nc'
bar 'durable SET, one at a time' 'durable SET, 1 in flight'
bar 'durable SET, 128 in flight' 'durable SET, 128 in flight'
bar 'durable SET, 1,024 in flight' 'durable SET, 1024 in flight'
bar 'GET, one at a time' 'GET, one at a time'
bar 'GET, 128 in flight' 'GET, 10,000 keys, 128 in flight'
bar 'GET, 1,024 in flight' 'GET, 10,000 keys, 1024 in flight'
restarts 'start after kill -9, 2 M keys' kill-9
restarts 'start after a clean stop' clean

# The average over all counts of keys that were tried.
awk -F , -v redis="$(<"$from/memory-redis.txt")" 'NR > 1 { sum += $3 }
    END { printf "memory a key, beyond the log|%.1f\n", redis / (sum / (NR - 1)) }' \
    "$from/memory.csv" >>"$bars"

# A step to the right is twice as much: 1 stands at 330, each doubling takes 57.
awk -F '|' -v count="$(wc -l <"$bars")" '
    function at(ratio) { return 330 + 57 * log(ratio) / log(2) }
    function text(x, y, anchor, words) {
        printf "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, words
    }
    BEGIN {
        bottom = 20 + count * 27
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"%d\"", bottom + 65
        print " font-family=\"sans-serif\" font-size=\"13\" fill=\"#7a7a7a\">"
        print "<title>kv-store beside Redis</title>"
        for (ratio = 1; ratio <= 64; ratio *= 2) {
            printf "<path stroke=\"#a0a0a0\" stroke-dasharray=\"2,4\" d=\"M%.0f,20 V%d\"/>\n",
                at(ratio), bottom
            text(at(ratio), bottom + 23, "middle", ratio)
        }
        text(500, bottom + 53, "middle",
            "times as fast, or as small, as Redis 7.0 with its append-only file")
    }
    {
        top = 20 + (NR - 1) * 27
        text(320, top + 18, "end", $1)
        printf "<rect x=\"330\" y=\"%d\" width=\"%.0f\" height=\"17\" fill=\"#3d7ebf\"/>\n",
            top + 5, at($2) - 330
        text(at($2) + 6, top + 18, "start", sprintf("%.1f", $2))
    }
    END { print "</svg>" }' "$bars" >"$here/chart.svg"
