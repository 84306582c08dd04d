#!/bin/bash
# A log that is larger than the memory there is for it: what writes, reads and restarts
# cost then, beside the same without a limit. The limit is a cgroup's (version 1 or 2), so
# it holds for the server's own memory and for the pages of its files; making one needs
# root.
#
#   tests/bench/larger.sh
#
#   BENCH_LIMIT_MB=N (256)      BENCH_QUICK=1 a quarter of it
#   BENCH_DIR, KV_STORE         as for bench.sh
#
# Raw numbers go to build/bench/larger.csv.
# shellcheck source=tests/bench/lib.sh
. "$(dirname -- "$0")/lib.sh"

limit_mb=${BENCH_LIMIT_MB:-256}
seconds=5
if [[ -n ${BENCH_QUICK:-} ]]; then
    limit_mb=$((limit_mb / 4))
    seconds=1
fi
limit=$((limit_mb << 20))

# A key of 16 bytes and a value of 1 KiB make a record of 1,056; two and a half limits of
# them. Two in five are overwritten, which a compaction would not be worth yet.
keys=$((limit * 5 / 2 / 1056))
csv=$out/larger.csv

# make_group: a group of processes below our own with this limit; its directory is `group`.
group=
means=
make_group() {
    local path
    path=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    if [[ -n $path && -d /sys/fs/cgroup/memory$path ]]; then
        group=/sys/fs/cgroup/memory${path%/}/bench.$$
        means="cgroup v1, memory.limit_in_bytes"
    else
        path=$(sed -n 's/^0:://p' /proc/self/cgroup)
        group=/sys/fs/cgroup${path%/}/bench.$$
        means="cgroup v2, memory.max"
    fi
    if ! mkdir "$group" 2>/dev/null || ! echo "$limit" >"$group/${means##* }"; then
        rmdir "$group" 2>/dev/null
        group=
        die "no cgroup with a limit on memory can be made here (are you root?)"
    fi
    [[ $means != *v2* || ! -e $group/memory.swap.max ]] || echo 0 >"$group/memory.swap.max"
}

clean_up_all() {
    clean_up
    [[ -z $group ]] || rmdir "$group"
}
trap clean_up_all EXIT

# What stands before the server's command: nothing, or a step into the group.
core=("${on_server_core[@]}")
enter() { # enter limited|free
    on_server_core=("${core[@]}")
    if [[ $1 == limited ]]; then
        # The shell that is started expands these.
        # shellcheck disable=SC2016
        on_server_core=(sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "${core[@]}")
    fi
}

read_bytes() { # that the disk delivered to the server so far
    sed -n 's/^read_bytes: //p' "/proc/${server_pid[kv]}/io"
}

record() { # record WHERE WHAT RATE P50 P999 MAX READ: one line of the CSV and for the eye
    echo "$1,$2,$3,$4,$5,$6,$7" >>"$csv"
    say "$(printf '%-8s %-22s %12s' "$1" "$2" "$3")"
}

measure() { # measure WHERE WHAT OPTION...
    local where=$1 what=$2 line before
    shift 2
    before=$(read_bytes)
    line=$(drive kv --keys "$keys" --size 1K "$@") || exit 1
    record "$where" "$what" "$(field ops_per_s "$line")" "$(field p50_us "$line")" \
        "$(field p999_us "$line")" "$(field max_us "$line")" \
        "$((($(read_bytes) - before) / $(field ops "$line")))"
}

measure_restart() { # measure_restart WHERE WHAT SIGNAL
    stop_server kv "$3"
    restart kv "$keys" --size 1K
    record "$1" "$2" "$restart_ms" "" "" "" "$(read_bytes)"
}

# What the offline modes take, in milliseconds, with nothing of the log in memory at first.
measure_offline() { # measure_offline WHERE WHAT COMMAND...
    local where=$1 what=$2 since before after
    shift 2
    sync "$place/kv/log"
    dd of="$place/kv/log" oflag=nocache conv=notrunc count=0 status=none </dev/null
    since=$EPOCHREALTIME
    "${on_server_core[@]}" "$@" >/dev/null || die "$what failed"
    before=${since/./}
    after=${EPOCHREALTIME/./}
    record "$where" "$what" "$(((after - before) / 1000))" "" "" "" ""
}

# A compaction beside a client that reads one key after another: seconds for all of it.
measure_compaction() { # measure_compaction WHERE WHAT
    local line before
    before=$(read_bytes)
    line=$(drive kv --keys "$keys" --size 1K --first COMPACT \
        --while-exists "$place/kv/log.old" --seconds 600) || exit 1
    [[ $(stat_of kv compaction_percent) == 100 ]] || die "the compaction did not end"
    record "$1" "$2" "$(field seconds "$line")" "$(field p50_us "$line")" \
        "$(field p999_us "$line")" "$(field max_us "$line")" $(($(read_bytes) - before))
}

run_in() { # run_in limited|free
    enter "$1"
    start_kv kv everysec
    measure "$1" "SET of new keys" --reads 0 --order sequential --count "$keys" --depth 64
    measure "$1" "SET overwriting" --reads 0 --count $((keys * 2 / 5)) --depth 64
    measure "$1" "GET one at a time" --seconds "$seconds"
    measure "$1" "GET" --depth 64 --seconds "$seconds"
    measure "$1" "GET zipfian" --order zipfian --depth 64 --seconds "$seconds"
    say "larger.sh: log $(stat_of kv log_bytes) bytes, index $(stat_of kv index_bytes)," \
        "limit $limit"
    measure_restart "$1" "restart after kill -9" KILL
    measure_restart "$1" "restart after stop" TERM
    stop_server kv
    measure_offline "$1" "cat of the log" cat "$place/kv/log"
    measure_offline "$1" "--dump" "$program" --file "$place/kv/log" --dump
    start_kv kv everysec
    measure_compaction "$1" "compaction"
    stop_all
    rm -rf -- "${place:?}"/kv
}

print_table() {
    echo "log of $keys keys, 3.5 times the limit of $limit_mb MiB ($means)"
    printf '%-22s %14s %14s %7s %10s %12s %14s\n' work "without limit" within ratio \
        "p99.9, us" "slowest, us" "disk bytes/op"
    awk -F , '
        $1 == "free" { free[$2] = $3; order[++count] = $2 }
        $1 == "limited" { rate[$2] = $3; tail[$2] = $5; most[$2] = $6; disk[$2] = $7 }
        END { for (i = 1; i <= count; i++) {
            w = order[i]
            printf "%-22s %14.*f %14.*f %7.2f %10s %12s %14s\n", w, w == "compaction",
                free[w], w == "compaction", rate[w], rate[w] / free[w], tail[w], most[w],
                disk[w] } }' "$csv"
    echo "operations a second, uniform and 64 in flight unless said; milliseconds until the"
    echo "first answer after a restart; milliseconds for cat and --dump; seconds for a"
    echo "compaction, beside GETs one at a time. For restarts and the compaction the disk"
    echo "bytes are all that were read. The last three columns are of the run within"
}

build_tools
make_group
echo "where,what,rate,p50_us,p999_us,max_us,disk_bytes_per_op" >"$csv"
run_in free
run_in limited
print_table
