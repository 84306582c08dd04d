# Shared by the benchmarks: build the tools, start and stop the servers, run the load.
# A server is known by a name; the arrays below say where it is and how to talk to it.
# shellcheck shell=bash
set -u
export LC_ALL=C

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
top=$(realpath -- "$here/../..")
out=$top/build/bench
program=$(realpath -- "${KV_STORE:-$top/kv-store}")

# On the disk that is measured: the same for every server.
mkdir -p -- "$out"
data=$(mktemp -d -- "${BENCH_DIR:-$out}/data.XXXXXX") || exit 1

# A place in memory tells what a server costs from what the disk under it does.
memory=
if [[ -d /dev/shm && -w /dev/shm ]]; then
    memory=$(mktemp -d /dev/shm/bench.XXXXXX)
fi

# Where servers that are started now put their files: one of the two.
place=$data

declare -A server_pid=() server_port=() server_wire=()

say() { # say MESSAGE: progress, beside the results on stdout
    printf '%s\n' "$*" >&2
}

die() { # die MESSAGE
    say "${0##*/}: $*"
    exit 1
}

# Server on one core, client on another: neither takes time from the other, and a wake-up
# always crosses cores.
on_server_core=()
on_client_core=()
if [[ $(nproc) -ge 2 ]] && command -v taskset >/dev/null; then
    on_server_core=(taskset -c 0)
    on_client_core=(taskset -c 1)
else
    say "bench: one processor, or no taskset: server and client are not kept apart"
fi

stop_server() { # stop_server NAME [SIGNAL]: and wait for its end
    local pid=${server_pid[$1]:-} signal=${2:-TERM} status
    [[ -n $pid ]] || return 0
    kill "-$signal" "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    unset "server_pid[$1]"
    [[ $signal == KILL || $status -eq 0 ]] ||
        say "bench: $1 stopped with status $status: $(tail -n 3 "$data/$1.err")"
}

stop_all() {
    local name
    for name in "${!server_pid[@]}"; do
        stop_server "$name" KILL
    done
}

clean_up() {
    stop_all
    rm -rf -- "$data" ${memory:+"$memory"}
}
trap clean_up EXIT
trap 'exit 130' INT TERM

build_tools() {
    local compile=("${CC:-cc}" -std=c11 -D_POSIX_C_SOURCE=200809L -O2 -g -Wall -Wextra)
    [[ -x $program ]] || die "no $program: run make first"
    "${compile[@]}" -o "$out/load" "$here/load.c" "$here/workload.c" \
        "$here/histogram.c" -lm || die "cannot build load"
    "${compile[@]}" -o "$out/nothing" "$here/nothing.c" || die "cannot build nothing"
}

# has NAME PACKAGE: whether a peer is there; says what is missing, once.
declare -A told_missing=()
has() {
    command -v "$1" >/dev/null && return 0
    if [[ -z ${told_missing[$1]:-} ]]; then
        say "bench: no $1 (Debian package $2): its rows are left out"
        told_missing[$1]=yes
    fi
    return 1
}

# Whether anything listens there. The redirection's own complaint is not for the user.
is_listening() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port for a server that cannot choose one itself.
free_port() {
    local port
    for ((;;)); do
        port=$((20000 + RANDOM % 10000))
        is_listening "$port" || break
    done
    echo "$port"
}

await() { # await NAME COMMAND...: until the command succeeds; ends if the server does
    local name=$1 tries
    shift
    for ((tries = 0; tries < 12000; tries++)); do
        "$@" && return
        kill -0 "${server_pid[$name]}" 2>/dev/null || break
        sleep 0.005
    done
    die "$name did not start: $(tail -n 3 "$data/$name.err")"
}

await_port() { # await_port NAME: the server listens
    await "$1" is_listening "${server_port[$1]}"
}

# launch_kv NAME SYNC [PORT]: without waiting. Its log is PLACE/NAME/log, so that a second
# start finds it again.
launch_kv() {
    local name=$1
    mkdir -p "$place/$name"
    : >"$data/$name.err"
    server_port[$name]=${3:-0}
    server_wire[$name]=kv
    "${on_server_core[@]}" "$program" --file "$place/$name/log" --port "${3:-0}" \
        --sync "$2" --max-value 64M 2>"$data/$name.err" &
    server_pid[$name]=$!
}

has_told_port() { # has_told_port NAME: what it says on stderr when it is ready
    server_port[$1]=$(sed -n 's/.*listening on .*://p' "$data/$1.err")
    [[ -n ${server_port[$1]} ]]
}

start_kv() { # start_kv NAME SYNC
    launch_kv "$1" "$2"
    await "$1" has_told_port "$1"
}

# launch_redis NAME SYNC [PORT]: without waiting. At its best: no snapshots, no rewriting by
# itself, one thread for commands.
launch_redis() {
    local name=$1
    mkdir -p "$place/$name"
    server_port[$name]=${3:-$(free_port)}
    server_wire[$name]=resp
    "${on_server_core[@]}" redis-server --bind 127.0.0.1 --port "${server_port[$name]}" \
        --dir "$place/$name" --save "" --appendonly yes --appendfsync "$2" \
        --auto-aof-rewrite-percentage 0 --io-threads 1 --daemonize no \
        >"$data/$name.err" 2>&1 &
    server_pid[$name]=$!
}

start_redis() { # start_redis NAME SYNC
    has redis-server redis-server || return 1
    launch_redis "$1" "$2"
    await_port "$1"
}

start_nothing() { # start_nothing NAME
    local name=$1
    : >"$data/$name.port"
    "${on_server_core[@]}" "$out/nothing" >"$data/$name.port" 2>"$data/$name.err" &
    server_pid[$name]=$!
    server_wire[$name]=kv
    await "$name" test -s "$data/$name.port"
    server_port[$name]=$(<"$data/$name.port")
}

start_pogocache() { # start_pogocache NAME: only if the user says where one is
    [[ -n ${POGOCACHE:-} ]] || return 1
    server_port[$1]=$(free_port)
    "${on_server_core[@]}" "$POGOCACHE" -h 127.0.0.1 -p "${server_port[$1]}" -t 1 \
        >"$data/$1.err" 2>&1 &
    server_pid[$1]=$!
    server_wire[$1]=memcache
    await_port "$1"
}

# drive NAME OPTION...: run the load against a server and print its line.
drive() {
    local name=$1
    shift
    "${on_client_core[@]}" "$out/load" --protocol "${server_wire[$name]}" \
        --port "${server_port[$name]}" --pid "${server_pid[$name]}" "$@" ||
        die "$name: the load failed: $*"
}

# fill NAME KEYS [OPTION]...: store every key once.
fill() {
    local name=$1 keys=$2
    shift 2
    drive "$name" --reads 0 --order sequential --keys "$keys" --count "$keys" \
        --depth 512 "$@" >/dev/null
}

# restart NAME KEYS [OPTION]...: launch, and leave in restart_ms the milliseconds until the
# first answer. The port is known beforehand, so that no time passes in looking for it.
# shellcheck disable=SC2034 # its callers read it
restart_ms=
restart() {
    local name=$1 keys=$2 port since line
    shift 2
    port=$(free_port)
    since=$EPOCHREALTIME
    "launch_${name%%-*}" "$name" everysec "$port"
    line=$(drive "$name" --await --since "$since" --keys "$keys" "$@") || exit 1
    # shellcheck disable=SC2034
    restart_ms=$(field first_answer_ms "$line")
}

field() { # field NAME LINE: the value of name=value
    local pair
    for pair in $2; do
        [[ $pair != "$1="* ]] || echo "${pair#*=}"
    done
}

ask() { # ask NAME COMMAND: a command of kv-store and all of its reply
    exec 3<>"/dev/tcp/127.0.0.1/${server_port[$1]}" || die "cannot ask $1"
    printf '%s\nQUIT\n' "$2" >&3
    cat <&3
    exec 3>&-
}

stat_of() { # stat_of NAME STATISTIC
    ask "$1" STATS | sed -n "s/^$2 //p"
}

memory_kib() { # memory_kib PID: what is its own, without pages of files
    sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null
}

ratio() { # ratio A B
    awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'
}

# For programs of awk: median(list, count), which sorts the list.
# shellcheck disable=SC2016 # awk's variables
awk_median='
    function median(list, count,    i, j, held) {
        for (i = 2; i <= count; i++) {
            held = list[i]
            for (j = i - 1; j >= 1 && list[j] > held; j--) list[j + 1] = list[j]
            list[j + 1] = held
        }
        return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
    }
'

median_of() { # median_of NUMBER...
    printf '%s\n' "$@" | awk "$awk_median"'{ n[NR] = $1 } END { print median(n, NR) }'
}

judge() { # judge NUMBER LIMIT: met or MISSED
    awk -v a="$1" -v b="$2" 'BEGIN { print a <= b ? "met" : "MISSED" }'
}
