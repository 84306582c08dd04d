#!/bin/bash
# How long a restart takes, after a clean stop and after kill -9, and what a key costs in
# memory: kv-store, and Redis on the same data. The time runs from before the server is
# executed until a client has its first right answer. The files are in the page cache, for
# both; what a cold disk adds is the disk's.
#
#   tests/bench/restart.sh
#
#   BENCH_ROUNDS=N (3)   BENCH_BIG=1 also 10 million keys   BENCH_QUICK=1 a tenth of the keys
#   BENCH_DIR, KV_STORE  as for bench.sh
#
# Raw numbers go to build/bench/restart.csv and memory.csv.
# shellcheck source=tests/bench/lib.sh
. "$(dirname -- "$0")/lib.sh"

rounds=${BENCH_ROUNDS:-3}
unit=1000000
[[ -z ${BENCH_QUICK:-} ]] || unit=100000
csv=$out/restart.csv
memory_csv=$out/memory.csv

# Of values, in bytes.
size=100

# restarts LABEL KEYS SIGNAL LIMIT-MS NAME...: stop by a signal and start again, in turns.
restarts() {
    local label=$1 keys=$2 signal=$3 limit=$4 round name middle verdict
    local -A times=()
    shift 4
    for ((round = 1; round <= rounds; round++)); do
        for name in "$@"; do
            stop_server "$name" "$signal"
            restart "$name" "$keys" --size "$size"
            times[$name]+=" $restart_ms"
            echo "$label,$keys,$name,$round,$restart_ms" >>"$csv"
        done
    done
    for name in "$@"; do
        # Unquoted on purpose: a list of numbers.
        # shellcheck disable=SC2086
        middle=$(median_of ${times[$name]})
        verdict=
        [[ $name != kv || -n ${BENCH_QUICK:-} ]] || verdict="goal <= $limit: $(judge "$middle" "$limit")"
        printf '%-10s %10s keys  %-6s %10.1f ms  %s\n' "$label" "$keys" "$name" "$middle" \
            "$verdict"
    done
    say "restart.sh: the last start of kv read $(stat_of kv recovered_bytes) bytes of a log of" \
        "$(stat_of kv log_bytes) in $(stat_of kv recovery_ms) ms by its own account"
}

# overwrite_until_image NAME... KEYS: overwrite until little more would have kv save its
# index again, which is when its log has grown by four times what the last image takes,
# which covers all of it.
overwrite_until_image() {
    local keys=${*: -1} name image count
    stop_server kv TERM
    restart kv "$keys" --size "$size"
    image=$(stat -c %s "$place/kv/log.index")
    count=$((image * 4 * 19 / 20 / (16 + 16 + size + 1)))
    for name in "${@:1:$#-1}"; do
        drive "$name" --reads 0 --keys "$keys" --count "$count" --depth 512 \
            --size "$size" >/dev/null
    done
}

# start_both KEYS: fill kv and, if there is one, Redis; their names are then in `names`.
start_both() {
    names=(kv)
    start_kv kv everysec
    fill kv "$1" --size "$size"
    if start_redis redis everysec; then
        fill redis "$1" --size "$size"
        names+=(redis)
    fi
}

# How a server that was killed starts: as it comes from being filled, and where it has most
# to read, which is just before the next image.
compare_restarts() {
    local keys=$((2 * unit)) names
    start_both "$keys"
    restarts kill-9 "$keys" KILL 150 "${names[@]}"
    restarts clean "$keys" TERM 50 "${names[@]}"
    overwrite_until_image "${names[@]}" "$keys"
    restarts kill-late "$keys" KILL 300 "${names[@]}"
    stop_all
    rm -rf -- "${place:?}"/*
}

# The same keys in a log of 2.6 GB.
compare_long() {
    local keys=$((2 * unit)) names size=1270
    start_both "$keys"
    overwrite_until_image "${names[@]}" "$keys"
    restarts kill-long "$keys" KILL 300 "${names[@]}"
    stop_all
    rm -rf -- "${place:?}"/*
}

restart_many() {
    local keys=$((10 * unit))
    start_kv kv everysec
    fill kv "$keys"
    restarts clean "$keys" TERM 250 kv
    overwrite_until_image kv "$keys"
    restarts kill-late "$keys" KILL 1500 kv
    stop_all
    rm -rf -- "${place:?}"/*
}

# weigh KEYS: bytes of memory for each key, by kv-store's account and by the system's (less
# what it has without keys); the latter also after a clean restart, where the index comes from its snapshot.
weigh() {
    local keys=$1 empty index rss rss_restarted
    start_kv kv everysec
    empty=$(memory_kib "${server_pid[kv]}")
    fill kv "$keys"
    index=$(ratio "$(stat_of kv index_bytes)" "$keys")
    rss=$(ratio "$((($(memory_kib "${server_pid[kv]}") - empty) * 1024))" "$keys")
    stop_server kv TERM
    restart kv "$keys"
    rss_restarted=$(ratio "$((($(memory_kib "${server_pid[kv]}") - empty) * 1024))" "$keys")
    stop_all
    rm -rf -- "${place:?}"/*
    echo "$keys,$index,$rss,$rss_restarted" >>"$memory_csv"
    printf '%10s keys  index %6s B  resident %6s B  after restart %6s B\n' "$keys" "$index" \
        "$rss" "$rss_restarted"
}

weigh_redis() {
    local keys=$((2 * unit)) before resident
    start_redis redis everysec || return
    before=$(memory_kib "${server_pid[redis]}")
    fill redis "$keys"
    resident=$(ratio "$((($(memory_kib "${server_pid[redis]}") - before) * 1024))" "$keys")
    echo "$resident" >"$out/memory-redis.txt"
    printf '%10s keys  Redis, keys and values in memory: resident %s B a key\n' "$keys" "$resident"
    stop_all
    rm -rf -- "${place:?}"/*
}

# Mean and worst case of what is resident over the counts that were tried.
judge_memory() {
    local mean worst
    read -r mean worst < <(awk -F , 'NR > 1 { sum += $3; if ($3 > worst) worst = $3 }
        END { printf "%.1f %.1f\n", sum / (NR - 1), worst }' "$memory_csv")
    echo "resident bytes a key: on average $mean, goal <= 28: $(judge "$mean" 28);" \
        "at worst $worst, goal <= 30: $(judge "$worst" 30)"
}

build_tools
echo "label,keys,contestant,round,first_answer_ms" >"$csv"
echo "keys,index_bytes_per_key,rss_per_key,rss_per_key_restarted" >"$memory_csv"
counts=(10 12 15 17 20 25 30 50)
compare_restarts
compare_long
if [[ -n ${BENCH_BIG:-} ]]; then
    restart_many
    counts+=(70 100)
fi
for tenths in "${counts[@]}"; do
    weigh $((tenths * unit / 10))
done
judge_memory
weigh_redis
