#!/bin/bash
# Draw chart.svg beside this script from what `make bench` and `make bench-restart`
# left in build/bench: how many times as fast as Redis, or as small. Needs gnuplot.
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
        $1 == row && $2 == "redis" { printf "\"%s\"|%s\n", label, $5; found = 1 }
        END { exit !found }' "$from/bench.txt" >>"$bars" ||
        { echo "chart.sh: no figures for $2 in $from/bench.txt" >&2; exit 1; }
}

restarts() { # restarts LABEL START: how many times as fast as Redis
    awk -F , -v label="$1" -v start="$2" '
        $1 == start && $2 == 2000000 { sum[$3] += $5; count[$3]++ }
        END {
            if (!count["kv"] || !count["redis"]) exit 1
            printf "\"%s\"|%.1f\n", label, sum["redis"] / count["redis"] / (sum["kv"] / count["kv"])
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
    END { printf "\"memory a key, beyond the log\"|%.1f\n", redis / (sum / (NR - 1)) }' \
    "$from/memory.csv" >>"$bars"

count=$(wc -l <"$bars")
gnuplot <<END
set terminal svg size 760,$((count * 30 + 60)) font 'sans-serif,13'
set output '$here/chart.svg'
set datafile separator '|'
set style fill solid noborder
set border 0
set logscale x 2
set xrange [0.5:128]
set yrange [$((count - 1)).6:-0.6]
set xtics ('1' 1, '2' 2, '4' 4, '8' 8, '16' 16, '32' 32, '64' 64) textcolor rgb '#7a7a7a' scale 0
set grid xtics linecolor rgb '#a0a0a0' linewidth 0.5
set xlabel 'times as fast, or as small, as Redis 7.0 with its append-only file' textcolor rgb '#7a7a7a'
set ytics textcolor rgb '#7a7a7a' scale 0
set lmargin 30
unset key
plot '$bars' using (1):0:(1):2:(\$0-0.32):(\$0+0.32):ytic(1) with boxxyerror linecolor rgb '#3d7ebf', \
     '' using (\$2*1.08):0:(sprintf('%.1f', \$2)) with labels left textcolor rgb '#7a7a7a'
END
# No background of its own: the page has one; and no title but its own.
sed -i -E 's/<rect x="0" y="0" [^>]*fill="#ffffff"\/>//; s/<title>Gnuplot</<title>kv-store beside Redis</
    /gnuplot_plot/s/<title>[^<]*<\/title>//' "$here/chart.svg"
