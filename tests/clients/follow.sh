#!/usr/bin/env bash
# --follow beside the real program: under load, with compactions, kill -9 and restarts, what
# it printed, applied in order, is the store; how it ends, and that it is in nobody's way.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

cd -- "$work" || exit 1

statistic() { # statistic NAME: of STATS
    echo STATS | nc_plain | sed -n "s/^$1 //p"
}

# Await what the server does by itself; each look is a whole conversation with it.
await_compactions() { # await_compactions COUNT
    local looks
    for ((looks = 0; looks < 10000; looks++)); do
        [[ $(statistic compactions) -lt $1 ]] || return 0
    done
    not_ok "$1 compactions end" "$(statistic compactions)"
}

compact() { # compact COUNT: which of this server it is
    echo COMPACT | nc_plain >/dev/null
    await_compactions "$1"
}

listed() { # listed FILE: all that the server has, sorted
    echo LIST | nc_plain | sed '/^$/d' | sort >"$1"
}

# Await that the follower has come so far, by conversations too.
follows() { # follows MARK FILE
    echo "SET mark $1" | nc_plain >/dev/null
    until grep -q "^SET mark $1\$" "$2"; do
        echo COUNT | nc_plain >/dev/null
    done
}

# Changes of a round: keys of four kinds are set over and over, some are deleted.
changes() { # changes ROUND COUNT
    awk -v round="$1" -v count="$2" 'BEGIN {
        for (i = 1; i <= count; i++) {
            key = "k" (i * 7919 + round) % 3000
            if (i % 11 == 0) print "DELETE " key
            else if (i % 13 == 0) print "INCR n" i % 7
            else print "SET " key " value " i " of round " round
        }
    }'
}

# ---- Under load ----

# The follower outlives the server; its reader goes when it sees the mark.
serve log
{
    "$program" --file log --follow 2>follow.stderr
    echo $? >follow.status
} | sed -u '/^SET the\.end /q' >stream &
follower=$!
for round in 1 2 3 4 5 6; do
    changes "$round" 20000 | nc_plain >/dev/null
    follows "round.$round" stream
    if [[ $((round % 3)) -ne 0 ]]; then
        compact $((round % 3))
        changes "$round.5" 5000 | nc_plain >/dev/null
        follows "compacted.$round" stream
    fi
    if [[ $((round % 3)) -eq 0 ]]; then
        echo COMPACT | nc_plain >/dev/null # and amid it:
        changes "$round.7" 100000 | timeout "$seconds_max" nc.openbsd -N 127.0.0.1 "$port" |
            { read -r _ && kill -KILL "$server_pid" && cat >/dev/null; }
        wait_server
        check "round $round: the server was killed under load" "$server_status" 137
        serve log
    fi
done
echo 'SET the.end 1' | nc_plain >/dev/null
wait "$follower"
check "--follow ends quietly with status 0 when its reader goes" \
    "$(cat follow.status follow.stderr)" 0
listed want
stop_server TERM

serve copy
nc_plain <stream | sort | uniq -c | tr -s ' ' >replies
check "each line that it printed is accepted" "$(cat replies)" " $(wc -l <stream) success"
listed got
same "what it printed, applied in order, is the store" got want
stop_server TERM

# ---- Into Redis ----

if start_redis; then
    serve log
    "$program" --file log --follow=resp | sed -u '/^redis\.end/{n;n;q}' |
        timeout "$seconds_max" redis-cli -s "$redis_socket" --pipe >piped 2>&1 &
    follower=$!
    changes 7 20000 | nc_plain >/dev/null
    echo 'SET mark redis.begun' | nc_plain >/dev/null
    until [[ $(redis-cli -s "$redis_socket" GET mark) == redis.begun ]]; do
        echo COUNT | nc_plain >/dev/null
    done
    compact 1
    printf 'SET binary \001\002\t\r\r\nDELETE k1\nSET redis.end 1\n' | nc_plain >/dev/null
    wait "$follower"
    check "Redis accepts each command of --follow=resp" "$(grep -o 'errors: 0' piped)" "errors: 0"
    listed want
    cut -d ' ' -f 1 want >keys
    sed 's/^/GET /' keys | nc_plain >values
    python3 "$here/redis_values.py" "$redis_socket" <keys >values.redis
    same "Redis has the same value for every key" values.redis values
    check "and no key more" "$(redis-cli -s "$redis_socket" DBSIZE)" "$(wc -l <keys)"
    stop_server TERM
    stop_redis
else
    not_run "--follow=resp into Redis" "no redis-server"
fi

# ---- A reader that stops reading ----

# Nothing reads the pipe, of which this shell holds both ends.
mkfifo slow
exec {slow}<>slow
serve stalled
"$program" --file stalled --follow >slow 2>stalled.stderr &
follower=$!
changes 1 100000 | nc_plain >replies
check "nobody is held up by a reader that stops reading" \
    "$(wc -l <replies) $(grep -c '^error' replies)" "100000 0"
compact 1
changes 2 1000 | nc_plain >/dev/null
compact 2
check "nor is a compaction" "$(ls stalled.old 2>/dev/null)" ""
listed want
cat <&"$slow" >/dev/null &
drain=$!
wait "$follower"
check "and it says that it fell behind, with status 4" "$? $(sed 's/offset [0-9]*/offset N/' stalled.stderr)" \
    "4 kv-store: stalled: fell behind by more than a compaction, at offset N of a log that is gone; begin anew with an empty reader"
kill "$drain"
wait "$drain" 2>/dev/null
exec {slow}<&-

# ---- Signals, latency, idleness ----

cat >watch.py <<'P'
import socket, subprocess, sys, time

program, port = sys.argv[1], int(sys.argv[2])
follow = subprocess.Popen([program, "--file", "stalled", "--follow"], stdout=subprocess.PIPE)
client = socket.create_connection(("127.0.0.1", port))
replies = client.makefile("rb")

def send(line):
    client.sendall(line)
    assert replies.readline() == b"success\n"

def await_line(wanted):
    for line in follow.stdout:
        if line == wanted:
            return time.monotonic()

def processor_ticks():
    fields = open(f"/proc/{follow.pid}/stat").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])

delays = []
for i in range(20):
    send(b"SET first %d\n" % i)
    send(b"SET second %d\n" % i)
    sealed = time.monotonic()
    delays.append(await_line(b"SET first %d\n" % i) - sealed)
await_line(b"SET second 19\n")
delays.sort()
before = processor_ticks()
time.sleep(3)  # on purpose: idle time is what is measured
idle = processor_ticks() - before
follow.terminate()
status = follow.wait()
print("latency", "right" if delays[0] <= 0.1 else "wrong", "idle", "right" if idle <= 2 else idle,
      "status", status)
print(f"    a batch was printed {delays[10] * 1000:.0f} ms (most {delays[-1] * 1000:.0f}) after "
      f"its seal; {idle * 10} ms of processor in 3 s of rest", file=sys.stderr)
P
check "a batch comes within 0.1 s of its seal, rest costs nothing, SIGTERM ends with status 0" \
    "$(timeout "$seconds_max" python3 watch.py "$program" "$port")" "latency right idle right status 0"
stop_server TERM

# ---- Where nothing can be written ----

mkdir quiet
cp stalled quiet/log
# shellcheck disable=SC2016 # The inner shell expands it.
read_only='mount --bind quiet quiet && mount -o remount,ro,bind quiet && "$0" --file quiet/log --follow'
if unshare -m sh -c 'mount --bind quiet quiet && mount -o remount,ro,bind quiet' 2>/dev/null; then
    check "it works where nothing can be written" \
        "$(unshare -m sh -c "$read_only" "$program" 2>&1 | sed -n '/^SET second 19$/{p;q}')" \
        "SET second 19"
else
    not_run "--follow on a read-only mount" "mounts cannot be made here"
fi

exit 0
