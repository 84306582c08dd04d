#!/bin/bash
# What compaction costs those who are being served.
#
#   tests/bench/compact.sh [loaded | growing]...
#
# loaded   a log of 300 MB, half of it dead, is compacted under load: throughput, p99.9 and
#          the slowest command during it and right after it; BGREWRITEAOF of Redis beside it
# growing  10 million keys in bulk: the slowest command
#
# Both run on the disk and in memory (/dev/shm), where a sync costs nothing: what
# remains slow there is the server's own doing, and only that is held against its goal.
#
#   BENCH_ROUNDS=N (3)   BENCH_QUICK=1 a tenth of the data, one round
#   BENCH_DIR, KV_STORE  as for bench.sh
#
# Raw numbers go to build/bench/compact.csv.
# shellcheck source=tests/bench/lib.sh
. "$(dirname -- "$0")/lib.sh"

rounds=${BENCH_ROUNDS:-3}
unit=1000000
if [[ -n ${BENCH_QUICK:-} ]]; then
    rounds=${BENCH_ROUNDS:-1}
    unit=100000
fi
csv=$out/compact.csv

# Nothing that a compaction does may take longer than this, in seconds.
compaction_s_max=120

places() { # where to run: the disk, and memory if there is some
    echo disk
    [[ -z $memory ]] || echo memory
}

go_to() { # go_to disk|memory
    case $1 in
    disk) place=$data ;;
    memory) place=$memory ;;
    esac
}

# Values of 100 bytes make records of 132. The overwritten ones stay just below half of
# the log, so that the compaction begins when it is told to.
keys=$((unit * 5 / 4))
half_dead() { # half_dead NAME
    fill "$1" "$keys"
    drive "$1" --reads 0 --order sequential --keys "$keys" --depth 512 \
        --count $((keys * 9 / 10)) >/dev/null
}

loads="get-1 get-64 mixed-1 mixed-64"
load_options() { # load_options LOAD
    local reads=100
    [[ $1 != mixed-* ]] || reads=50
    echo "--reads $reads --depth ${1#*-} --keys $keys"
}

record() { # record GROUP PLACE NAME ROUND LOAD PHASE LINE
    echo "$1,$2,$3,$4,$5,$6,$(field ops_per_s "$7"),$(field p999_us "$7"),$(field \
        max_us "$7"),$(field first_us "$7")" >>"$csv"
}

# settle NAME WHERE ROUND LOAD DURING: the same load without a compaction, and one round for
# the eye; medians follow at the end.
settle() {
    local name=$1 where=$2 round=$3 load=$4 during=$5 after
    # Unquoted on purpose here and below: a list of options.
    # shellcheck disable=SC2046
    after=$(drive "$name" $(load_options "$load") --seconds 2 --count "$keys") || exit 1
    record loaded "$where" "$name" "$round" "$load" during "$during"
    record loaded "$where" "$name" "$round" "$load" after "$after"
    say "$(printf '%-6s %-6s %-8s during %10s ops/s, slowest %9s us; after %10s ops/s, %9s us' \
        "$where" "$name" "$load" "$(field ops_per_s "$during")" "$(field max_us "$during")" \
        "$(field ops_per_s "$after")" "$(field max_us "$after")")"
}

# compact_under_load WHERE ROUND LOAD: the load's own connection asks for the compaction,
# since one client is served at a time, and it stops when the older log is gone. The load
# without a compaction comes after it, on the same keys, in a log that has little dead.
compact_under_load() {
    local where=$1 round=$2 load=$3 during percent before_kib
    start_kv kv everysec
    half_dead kv
    before_kib=$(memory_kib "${server_pid[kv]}")
    # shellcheck disable=SC2046
    during=$(drive kv $(load_options "$load") --first COMPACT \
        --while-exists "$place/kv/log.old" --seconds "$compaction_s_max") || exit 1
    percent=$(stat_of kv compaction_percent)
    if [[ $percent != 100 || -e $place/kv/log.old ]]; then
        die "the compaction stands at $percent % after $(field seconds "$during") s"
    fi
    settle kv "$where" "$round" "$load" "$during"
    say "       it took $(field seconds "$during") s, the command COMPACT $(field first_us \
        "$during") us, memory $((($(memory_kib "${server_pid[kv]}") - before_kib) / 1024)) MiB more"
    stop_all
    rm -rf -- "${place:?}"/kv
}

# watch_rewrite FLAG: until Redis has rewritten its log; then remove the flag, and leave
# behind what its child held, all of it and what it shares with nobody, in KiB. The child
# may use the client's core too, as it would if nothing were pinned.
watch_rewrite() {
    local child kib own kib_max=0 own_max=0 port=${server_port[redis]}
    sleep 0.05
    while redis-cli -p "$port" info persistence |
        grep -q 'aof_rewrite_\(in_progress\|scheduled\):1'; do
        for child in $(pgrep -P "${server_pid[redis]}"); do
            [[ ${#on_server_core[@]} -eq 0 ]] || taskset -cp 0,1 "$child" >/dev/null
            kib=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$child/status")
            own=$(sed -n 's/^Private_Dirty:[^0-9]*\([0-9]*\).*/\1/p' \
                "/proc/$child/smaps_rollup")
            kib_max=$((${kib:-0} > kib_max ? kib : kib_max))
            own_max=$((${own:-0} > own_max ? own : own_max))
        done 2>/dev/null
        sleep 0.02
    done
    echo "$kib_max $own_max" >"$1.memory"
    rm -f -- "$1"
}

rewrite_under_load() { # rewrite_under_load WHERE ROUND LOAD
    local where=$1 round=$2 load=$3 during flag=$data/rewriting watcher kib own
    start_redis redis everysec || return
    half_dead redis
    : >"$flag"
    watch_rewrite "$flag" &
    watcher=$!
    # shellcheck disable=SC2046
    during=$(drive redis $(load_options "$load") --first BGREWRITEAOF \
        --while-exists "$flag" --seconds "$compaction_s_max") || exit 1
    wait "$watcher"
    read -r kib own <"$flag.memory"
    settle redis "$where" "$round" "$load" "$during"
    say "       it took $(field seconds "$during") s, the command BGREWRITEAOF $(field \
        first_us "$during") us, its child held $((kib / 1024)) MiB, $((own / 1024)) alone"
    stop_all
    rm -rf -- "${place:?}"/redis
}

# Medians of the rounds: during against after, and how much longer the slowest command took.
summarize_loaded() {
    awk -F , "$awk_median"'
    $1 == "loaded" {
        key = $2 "," $3 "," $5
        if (!(key in known)) { known[key] = 1; order[++total] = key }
        rounds = $4 > rounds ? $4 : rounds
        rate[key, $4, $6] = $7; tail[key, $4, $6] = $8; slowest[key, $4, $6] = $9
        if ($6 == "during") first[key, $4] = $10
    }
    END {
        if (total == 0) exit
        printf "%-7s %-6s %-9s %11s %6s %12s %12s %12s %12s\n", "on", "", "load", "throughput",
            "p99.9", "slowest, us", "without, us", "beyond, us", "begin, us"
        for (i = 1; i <= total; i++) {
            key = order[i]
            split(key, part, ",")
            count = 0
            for (round = 1; round <= rounds; round++) {
                if (!((key, round, "after") in rate)) continue
                count++
                a[count] = rate[key, round, "during"] / rate[key, round, "after"]
                b[count] = tail[key, round, "during"] / tail[key, round, "after"]
                c[count] = slowest[key, round, "during"]
                d[count] = slowest[key, round, "after"]
                e[count] = c[count] - d[count]
                f[count] = first[key, round]
            }
            worth = median(a, count)
            beyond = median(e, count)
            printf "%-7s %-6s %-9s %11.2f %6.2f %12.0f %12.0f %12.0f %12.0f", part[1], part[2],
                part[3], worth, median(b, count), median(c, count), median(d, count), beyond,
                median(f, count)
            if (part[2] == "kv") {
                printf "  goal 0.5: %s", (worth >= 0.5 ? "met" : "MISSED")
                if (part[1] == "memory") {
                    printf ", 5000: %s", (beyond <= 5000 ? "met" : "MISSED")
                }
            }
            printf "\n"
        }
        print "throughput, p99.9: while compacting, against the same load without"
        print "begin: the command COMPACT or BGREWRITEAOF itself"
    }' "$csv"
}

group_loaded() {
    local where round load
    for where in $(places); do
        go_to "$where"
        for ((round = 1; round <= rounds; round++)); do
            for load in $loads; do
                compact_under_load "$where" "$round" "$load"
                [[ $load != *-64 ]] || rewrite_under_load "$where" "$round" "$load"
            done
        done
    done
    place=$data
    summarize_loaded
}

# A command's time includes that of the window it was sent in, so the median is shown too.
group_growing() {
    local where name line count=$((10 * unit)) verdict
    for where in $(places); do
        go_to "$where"
        for name in kv redis; do
            "start_$name" "$name" everysec || continue
            line=$(drive "$name" --reads 0 --order sequential --keys "$count" \
                --count "$count" --depth 64) || exit 1
            record growing "$where" "$name" 1 set-64 during "$line"
            verdict=
            [[ $name-$where != kv-memory ]] ||
                verdict="goal <= 5000: $(judge "$(field max_us "$line")" 5000)"
            echo "growing to $count keys on $where, $name: $(field ops_per_s "$line") SET/s," \
                "p50 $(field p50_us "$line") us, p99.9 $(field p999_us "$line") us," \
                "slowest $(field max_us "$line") us $verdict"
            stop_all
            rm -rf -- "${place:?}/$name"
        done
    done
    place=$data
}

build_tools
echo "group,place,contestant,round,load,phase,ops_per_s,p999_us,max_us,first_us" >"$csv"
[[ $# -gt 0 ]] || set -- loaded growing
for group; do
    declare -F "group_$group" >/dev/null || die "no group $group: loaded, growing"
    "group_$group"
done
