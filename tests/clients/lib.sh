# Shared by the client tests: start and stop a server, compare, and say how it went.
# Each test script sources this file with the program's path as its first argument,
# and works in a temporary directory of its own that is removed at exit.
# shellcheck shell=bash
set -u

# Byte order for sort, UTF-8 for the clients, whatever the caller has set.
export LC_ALL=C.UTF-8
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY

# How long any one client or start of the program may take; reaching it is a failure.
# Only a hang lasts so long, on a slow machine too; nothing here measures time.
seconds_max=300

program=$(realpath -- "$1")
# shellcheck disable=SC2034 # The scripts that source this file use it.
here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
server_pid=
server_status=
server_stderr=
port=
kept_pids=()
redis_pid=
redis_socket=$work/redis.socket

clean_up() {
    local pid
    for pid in $server_pid "${kept_pids[@]}" $redis_pid; do
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    rm -rf -- "$work"
}
trap clean_up EXIT

ok() { # ok NAME
    printf 'ok %s\n' "$1"
}

not_ok() { # not_ok NAME WHY
    local why=${2//$'\n'/ | }
    printf 'not ok %s: %s\n' "$1" "${why:0:400}"
}

# A check that this machine cannot make, for want of a program that nobody is to install
# for it: neither passed nor failed, and the summary says so.
not_run() { # not_run NAME WHY
    printf 'not run: %s (%s)\n' "$2" "$1"
}

# A function that is gone, or a tool that is not there, is a check that nobody made.
command_not_found_handle() {
    not_ok "$1 is a command" "it is not found"
    return 127
}

check() { # check NAME GOT EXPECTED
    if [[ $2 == "$3" ]]; then
        ok "$1"
    else
        not_ok "$1" "expected ${3@Q}, got ${2@Q}"
    fi
}

same() { # same NAME FILE-GOT FILE-EXPECTED
    local difference
    if difference=$(cmp -- "$2" "$3" 2>&1); then
        ok "$1"
    else
        not_ok "$1" "$difference; the first lines: got $(head -c 100 -- "$2" 2>&1 | cat -v)"
    fi
}

succeeds() { # succeeds NAME COMMAND...
    local name=$1 output status
    shift
    output=$("$@" 2>&1)
    status=$?
    if [[ $status -eq 0 ]]; then
        ok "$name"
    else
        not_ok "$name" "exit status $status: $(tail -c 300 <<<"$output")"
    fi
}

# talks NAME INPUT EXPECTED CLIENT...: the client prints the expected bytes, no more
# and no fewer, and exits with status 0.
talks() {
    local name=$1 input=$2 expected=$3 status
    shift 3
    printf '%s' "$input" | "$@" >"$work/reply" 2>"$work/reply.stderr"
    status=${PIPESTATUS[1]}
    printf '%s' "$expected" >"$work/reply.expected"
    if ! cmp -s -- "$work/reply" "$work/reply.expected"; then
        not_ok "$name" "expected $(cat -v "$work/reply.expected"), got $(cat -v \
            "$work/reply") $(cat "$work/reply.stderr")"
    elif [[ $status -ne 0 ]]; then
        not_ok "$name" "exit status $status: $(cat "$work/reply.stderr")"
    else
        ok "$name"
    fi
}

# The client of every check that is not about clients.
nc_plain() {
    timeout "$seconds_max" nc.openbsd -N 127.0.0.1 "$port"
}

# Send lines and stop sending nothing: the end of the replies is the server's doing.
bash_until_closed() {
    # shellcheck disable=SC2016 # The inner shell expands these.
    timeout "$seconds_max" bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && cat >&3 && cat <&3' \
        bash "$port"
}

# serve LOG [OPTION...]: start the program on a free port and wait for the line that
# means ready. Sets port and server_pid; stderr up to that line is in $work/stderr.
# The script ends if there is no such line, since nothing after it could mean anything.
serve() {
    local log=$1 line
    shift
    rm -f -- "$work/stderr.pipe"
    mkfifo -- "$work/stderr.pipe"
    : >"$work/stderr"
    # A background child of a script ignores SIGINT and, under nohup, SIGHUP; a server
    # that a person starts does not.
    env --default-signal=INT,HUP "$program" --file "$log" --port 0 "$@" \
        >"$work/stdout" 2>"$work/stderr.pipe" &
    server_pid=$!
    exec {server_stderr}<"$work/stderr.pipe"
    port=
    while IFS= read -r -t "$seconds_max" -u "$server_stderr" line; do
        printf '%s\n' "$line" >>"$work/stderr"
        if [[ $line =~ ^kv-store:\ listening\ on\ (127\.0\.0\.1|\[::1\]):([0-9]+)$ ]]; then
            port=${BASH_REMATCH[2]}
            return
        fi
    done
    stop_server KILL
    not_ok "the server starts on $(basename -- "$log")" \
        "exit status $server_status: $(tail -n 3 "$work/stderr")"
    exit 1
}

# stop_server SIGNAL: sets server_status; $work/stderr holds everything the server said.
stop_server() {
    kill "-$1" "$server_pid" 2>/dev/null
    wait_server
}

wait_server() {
    wait "$server_pid" 2>/dev/null
    server_status=$?
    server_pid=
    cat <&"$server_stderr" >>"$work/stderr"
    exec {server_stderr}<&-
}

# The server runs on beside the next one that is started.
keep_server() {
    kept_pids+=("$server_pid")
    server_pid=
}

# Sets kept_status: 0 if each of them stopped cleanly.
stop_kept_servers() {
    local pid
    kept_status=0
    for pid in "${kept_pids[@]}"; do
        kill -TERM "$pid"
        # shellcheck disable=SC2034 # The scripts that source this file use it.
        wait "$pid" || kept_status=$?
    done
    kept_pids=()
}

# Start an empty Redis on $redis_socket, unless it runs; fails if there is none to start.
start_redis() {
    local line
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null || return
    [[ -z $redis_pid ]] || return 0
    rm -f -- "$work/redis.pipe"
    mkfifo -- "$work/redis.pipe"
    redis-server --port 0 --unixsocket "$redis_socket" --save '' --appendonly no \
        --dir "$work" >"$work/redis.pipe" 2>&1 &
    redis_pid=$!
    exec {redis_output}<"$work/redis.pipe"
    while IFS= read -r -t "$seconds_max" -u "$redis_output" line; do
        [[ $line != *'eady to accept connections'* ]] || return 0
    done
    not_ok "redis-server starts" "$line"
    exit 1
}

stop_redis() {
    [[ -n $redis_pid ]] || return 0
    kill -TERM "$redis_pid"
    cat <&"$redis_output" >/dev/null
    exec {redis_output}<&-
    wait "$redis_pid"
    redis_pid=
}

# run_program ARGUMENT...: a run that is to end by itself. Sets run_status; output is in
# $work/run.stdout and $work/run.stderr.
run_program() {
    timeout "$seconds_max" "$program" "$@" >"$work/run.stdout" 2>"$work/run.stderr" \
        </dev/null
    # shellcheck disable=SC2034 # The scripts that source this file use it.
    run_status=$?
}

successes() { # successes COUNT: what so many accepted writes are answered
    yes success | head -n "$1"
}

repeated() { # repeated CHARACTER COUNT
    head -c "$2" /dev/zero | tr '\0' "$1"
}
