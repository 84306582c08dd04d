#!/bin/bash
# Throughput and processor time side by side: kv-store, Redis, pogocache, and a
# server that does nothing. The contestants of a row take turns, several rounds long, so
# that a slow minute of the machine slows all of them; ratios are made within a round, and
# the table shows their median.
#
#   tests/bench/bench.sh [ROW]...     rows, or beginnings of their names; all by default
#
#   BENCH_ROUNDS=N   rounds (3)              BENCH_QUICK=1     a minute, not for quoting
#   BENCH_DIR=PATH   where the data goes     POGOCACHE=PATH    a pogocache program
#   KV_STORE=PATH    another kv-store        BENCH_SLOW_DISK=1 set by disk.sh: its goals
#
# build/bench/ gets the raw numbers (bench.csv) and the ratios (bench.txt); those of a slow
# disk have names of their own.
# shellcheck source=tests/bench/lib.sh
. "$(dirname -- "$0")/lib.sh"

rounds=${BENCH_ROUNDS:-3}
seconds=2
million=1000000
many=4000000
ycsb_keys=200000
ycsb_writes=150000
if [[ -n ${BENCH_QUICK:-} ]]; then
    rounds=${BENCH_ROUNDS:-1}
    seconds=0.3
    million=200000
    many=500000
    ycsb_keys=20000
    ycsb_writes=15000
fi
selection=("$@")
figures=$out/${BENCH_SLOW_DISK:+slow-disk-}bench # of which there are two kinds
csv=$figures.csv

wanted() { # wanted ROW: selected by its name, or a beginning of it
    local name
    [[ ${#selection[@]} -gt 0 ]] || return 0
    for name in "${selection[@]}"; do
        [[ $1 != "$name"* ]] || return 0
    done
    return 1
}

any_wanted() { # any_wanted ROW...
    local row
    for row in "$@"; do
        ! wanted "$row" || return 0
    done
    return 1
}

# measure ROW ROUND NAME OPTION...: one run, one line of the CSV.
columns="ops seconds ops_per_s p50_us p99_us p999_us max_us server_ns_per_op client_busy"
measure() {
    local row=$1 round=$2 name=$3 line column values=
    wanted "$row" || return 0
    shift 3
    [[ $name != nothing ]] || set -- "$@" --no-verify
    line=$(drive "$name" "$@") || exit 1
    for column in $columns; do
        values+=,$(field "$column" "$line")
    done
    printf '%s,%s,%s%s\n' "$row" "$name" "$round" "$values" >>"$csv"
    say "$(printf '%-18s round %s  %-9s %12s ops/s' "$row" "$round" "$name" \
        "$(field ops_per_s "$line")")"
}

# How the window is refilled is what serves a server best. Writes that wait for the disk
# go fastest when the whole window shares one sync. Reads go fastest in halves, where
# client and server work at the same time. With everysec, Redis gains from halves and
# kv-store from the larger batch.
refill_of() { # refill_of KIND NAME
    case $1-$2 in
    read-* | everysec-redis | everysec-pogocache) echo half ;;
    *) echo whole ;;
    esac
}

# note_compaction NAME ROW: Redis rewrites nothing meanwhile, so kv-store should not have to.
note_compaction() {
    local count percent
    count=$(stat_of "$1" compactions)
    percent=$(stat_of "$1" compaction_percent)
    [[ $count == 0 && $percent == 0 ]] ||
        say "bench: $2: kv-store compacted its log meanwhile ($count times, $percent %)"
}

# Fresh servers for each run: a log that is overwritten would make kv-store compact it.
run_writes() { # run_writes SYNC KEYS ROW DEPTH SECONDS [NAME]...
    local sync=$1 keys=$2 row=$3 depth=$4 time=$5 round name
    shift 5
    wanted "$row" || return 0
    for ((round = 1; round <= rounds; round++)); do
        for name in kv redis "$@"; do
            case $name in
            kv) start_kv kv "$sync" ;;
            *) "start_$name" "$name" "$sync" || continue ;;
            esac
            measure "$row" "$round" "$name" --reads 0 --keys "$keys" --depth "$depth" \
                --refill "$(refill_of "$sync" "$name")" --seconds "$time" \
                --count "$((keys * 3 / 2))"
            [[ $name != kv ]] || note_compaction kv "$row"
            stop_server "$name" KILL
            rm -rf -- "${place:?}/$name"
        done
    done
}

group_durable() {
    local depth
    for depth in 1 128 1024; do
        run_writes always "$million" "durable-$depth" "$depth" "$seconds"
    done
}

# What a user of the shell feels: a file of SET lines through plain nc, the same through
# redis-cli --pipe, and a copy of the file with a sync, which is what the disk alone takes.
group_shell() {
    local round name lines=$data/lines start_us took_us
    wanted shell || return 0
    has nc.openbsd netcat-openbsd || return 0
    seq "$million" | awk '{ printf "SET key:%09d %090d.%09d\n", $1, 0, $1 }' >"$lines"
    awk '{ printf "*3\r\n$3\r\nSET\r\n$13\r\n%s\r\n$100\r\n%s\r\n", $2, $3 }' "$lines" >"$lines.resp"
    for ((round = 1; round <= rounds; round++)); do
        for name in kv redis copy; do
            case $name in
            copy) ;;
            *) "start_$name" "$name" always || continue ;;
            esac
            start_us=${EPOCHREALTIME/./}
            case $name in
            kv) "${on_client_core[@]}" nc.openbsd -N 127.0.0.1 "${server_port[kv]}" <"$lines" \
                | grep -c '^success$' >"$data/count" ;;
            redis) "${on_client_core[@]}" redis-cli -p "${server_port[redis]}" --pipe \
                <"$lines.resp" >"$data/count" ;;
            copy) cp "$lines" "$place/copy" && sync "$place/copy" ;;
            esac
            took_us=$((${EPOCHREALTIME/./} - start_us))
            [[ $name != kv || $(<"$data/count") == "$million" ]] || die "shell: not all stored"
            echo "shell,$name,$round,$million,,$((million * 1000000 / took_us))" >>"$csv"
            say "$(printf '%-18s round %s  %-9s %9d ms' shell "$round" "$name" $((took_us / 1000)))"
            [[ $name == copy ]] || stop_server "$name" KILL
            rm -rf -- "${place:?}/$name"
        done
    done
    rm -f -- "$lines" "$lines.resp"
}

# Longer than a second, so that at least one sync falls into it.
group_everysec() {
    local depth time=3
    [[ -z ${BENCH_QUICK:-} ]] || time=1.2
    for depth in 128 1024; do
        run_writes everysec "$many" "everysec-$depth" "$depth" "$time" pogocache
    done
}

# start_filled KEYS NAME...: those that could be started are then in `started`.
started=()
start_filled() {
    local keys=$1 name
    shift
    started=()
    for name in "$@"; do
        case $name in
        kv) start_kv kv everysec ;;
        nothing) start_nothing nothing ;;
        *) "start_$name" "$name" everysec || continue ;;
        esac
        started+=("$name")
        [[ $name == nothing ]] || fill "$name" "$keys"
    done
}

stop_started() {
    stop_all
    rm -rf -- "${place:?}"/*
}

run_reads() { # run_reads LABEL KEYS
    local label=$1 keys=$2 round depth name
    any_wanted "get-$label-128" "get-$label-1024" || return 0
    start_filled "$keys" kv redis pogocache
    for ((round = 1; round <= rounds; round++)); do
        for depth in 128 1024; do
            for name in "${started[@]}"; do
                measure "get-$label-$depth" "$round" "$name" --keys "$keys" \
                    --depth "$depth" --refill half --seconds "$seconds"
            done
        done
    done
    stop_started
}

group_get() {
    run_reads 10k 10000
    run_reads 1m "$million"
}

# One command at a time: all contestants are woken for each.
group_single() {
    local round name
    any_wanted single-get single-set || return 0
    start_filled 100000 kv redis nothing
    for ((round = 1; round <= rounds; round++)); do
        for name in "${started[@]}"; do
            measure single-get "$round" "$name" --keys 100000 --seconds "$seconds"
            measure single-set "$round" "$name" --keys 100000 --seconds "$seconds" \
                --count 30000 --reads 0
        done
    done
    stop_started
}

# Few enough that the ports of connections that have just ended do not run out.
group_reconnect() {
    local round name count=10000
    any_wanted reconnect || return 0
    [[ -z ${BENCH_QUICK:-} ]] || count=2000
    start_filled 10000 kv redis nothing
    for ((round = 1; round <= rounds; round++)); do
        for name in "${started[@]}"; do
            measure reconnect "$round" "$name" --keys 10000 --count "$count" \
                --reconnect
        done
    done
    stop_started
}

# Fresh servers in each round, and fewer overwrites than a compaction needs.
group_ycsb() {
    local round name load reads depth
    any_wanted ycsb-{a,b,c}-{1,64} || return 0
    for ((round = 1; round <= rounds; round++)); do
        for name in kv redis; do
            "start_$name" "$name" everysec || continue
            fill "$name" "$ycsb_keys" --size 1K
        done
        for load in c-100 b-95 a-50; do
            reads=${load#*-}
            for depth in 1 64; do
                for name in kv redis; do
                    [[ -n ${server_pid[$name]:-} ]] || continue
                    measure "ycsb-${load%-*}-$depth" "$round" "$name" --size 1K \
                        --keys "$ycsb_keys" --order zipfian --reads "$reads" \
                        --depth "$depth" --refill whole --seconds "$seconds" \
                        --count $((reads == 100 ? 100000000 : ycsb_writes))
                done
            done
        done
        note_compaction kv ycsb
        stop_started
    done
}

# The processor time of a read where neither index nor log is in any cache.
group_keys() {
    local round name
    any_wanted keys || return 0
    for name in kv-1k kv-4m; do
        start_kv "$name" everysec
    done
    fill kv-1k 1000
    fill kv-4m "$many"
    for ((round = 1; round <= rounds; round++)); do
        measure keys "$round" kv-1k --keys 1000 --depth 1024 --refill half \
            --seconds "$seconds"
        measure keys "$round" kv-4m --keys "$many" --depth 1024 --refill half \
            --seconds "$seconds"
    done
    stop_started
}

# What the table shows: label, row, ours, theirs, column of the CSV, and the goal: a ratio
# with >= or <= before it, or nothing where there is none.
table_lines() {
    local durable=(1.2 2.2 6.5)
    [[ -z ${BENCH_SLOW_DISK:-} ]] || durable=(2.0 2.0 10)
    cat <<END
a file of SETs through nc|shell|kv|redis|ops_per_s|
a file of SETs through nc|shell|kv|copy|ops_per_s|
durable SET, 1 in flight|durable-1|kv|redis|ops_per_s|>=${durable[0]}
durable SET, 128 in flight|durable-128|kv|redis|ops_per_s|>=${durable[1]}
durable SET, 1024 in flight|durable-1024|kv|redis|ops_per_s|>=${durable[2]}
everysec SET, 128 in flight|everysec-128|kv|redis|ops_per_s|>=4
everysec SET, 1024 in flight|everysec-1024|kv|redis|ops_per_s|>=6
everysec SET, 1024 in flight|everysec-1024|kv|pogocache|ops_per_s|>=2
GET, 10,000 keys, 128 in flight|get-10k-128|kv|redis|ops_per_s|>=4
GET, 10,000 keys, 1024 in flight|get-10k-1024|kv|redis|ops_per_s|>=5
GET, 10,000 keys, 1024 in flight|get-10k-1024|kv|pogocache|ops_per_s|>=3
GET, 1,000,000 keys, 128 in flight|get-1m-128|kv|redis|ops_per_s|>=6
GET, 1,000,000 keys, 1024 in flight|get-1m-1024|kv|redis|ops_per_s|>=8
GET, 1,000,000 keys, 1024 in flight|get-1m-1024|kv|pogocache|ops_per_s|
GET, one at a time|single-get|kv|nothing|ops_per_s|>=1.5
everysec SET, one at a time|single-set|kv|nothing|ops_per_s|>=1.4
GET, one at a time|single-get|kv|redis|ops_per_s|
everysec SET, one at a time|single-set|kv|redis|ops_per_s|
server CPU per GET, 10,000 keys, 1024|get-10k-1024|kv|redis|server_ns_per_op|<=0.2
server CPU per GET, 1,000,000 keys, 1024|get-1m-1024|kv|redis|server_ns_per_op|<=0.12
server CPU per everysec SET, 1024|everysec-1024|kv|redis|server_ns_per_op|
server CPU per durable SET, 1024|durable-1024|kv|redis|server_ns_per_op|
CPU of a GET, 4 M keys against 1,000|keys|kv-4m|kv-1k|server_ns_per_op|<=2
a connection for each command|reconnect|kv|redis|ops_per_s|>=1.6
a connection for each command|reconnect|kv|nothing|ops_per_s|>=1.0
YCSB A, one at a time|ycsb-a-1|kv|redis|ops_per_s|>=1.5
YCSB B, one at a time|ycsb-b-1|kv|redis|ops_per_s|>=1.5
YCSB C, one at a time|ycsb-c-1|kv|redis|ops_per_s|>=1.5
YCSB A, 64 in flight|ycsb-a-64|kv|redis|ops_per_s|>=2.5
YCSB B, 64 in flight|ycsb-b-64|kv|redis|ops_per_s|>=2.5
YCSB C, 64 in flight|ycsb-c-64|kv|redis|ops_per_s|>=2.5
END
}

# Print for each line of the table that was measured: label, theirs, our and their median,
# median, least and greatest ratio, goal, verdict, and how busy the client was with ours.
# A client near 1 would mean that it, and not the server, was measured.
summarize() {
    awk -F '|' "$awk_median"'
    FNR == NR {
        split($0, cell, ",")
        if (FNR == 1) {
            for (i in cell) column[cell[i]] = i
            next
        }
        key = cell[1] "," cell[2] "," cell[3]
        rounds = cell[3] > rounds ? cell[3] : rounds
        for (name in column) value[key, name] = cell[column[name]]
        next
    }
    {
        count = 0
        for (round = 1; round <= rounds; round++) {
            a = $2 "," $3 "," round
            b = $2 "," $4 "," round
            if (value[a, $5] > 0 && value[b, $5] > 0) {
                count++
                ours[count] = value[a, $5] + 0
                theirs[count] = value[b, $5] + 0
                ratio[count] = ours[count] / theirs[count]
                busy[count] = value[a, "client_busy"] + 0
            }
        }
        if (count == 0) next
        middle = median(ratio, count)
        goal = substr($6, 3) + 0
        verdict = $6 == "" ? "" : (substr($6, 1, 2) == ">=" ? middle >= goal : middle <= goal) ? "met" : "MISSED"
        printf "%s|%s|%.0f|%.0f|%.2f|%.2f|%.2f|%s|%s|%.2f\n", $1, $4, median(ours, count),
            median(theirs, count), middle, ratio[1], ratio[count], $6, verdict, median(busy, count)
    }' "$csv" <(table_lines)
}

print_table() {
    {
        echo "work|against|ours|theirs|ratio|least|most|goal||client"
        cat "$figures.txt"
    } | awk -F '|' '{ printf "%-40s %-10s %12s %12s %7s %15s %7s %-6s %s\n", $1, $2, $3, $4, $5,
        "(" $6 "-" $7 ")", $8, $9, $10 }'
    echo "ours, theirs: operations a second, or nanoseconds of the server's processor time"
}

build_tools
echo "row,contestant,round,${columns// /,}" >"$csv"
for group in shell durable everysec get single reconnect ycsb keys; do
    "group_$group"
done
summarize >"$figures.txt"
[[ -s $figures.txt ]] || die "no such row, or nothing to compare with"
print_table
say "bench: $csv, $figures.txt"
