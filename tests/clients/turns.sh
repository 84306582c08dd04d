#!/usr/bin/env bash
# Whose turn it is and where the server listens, with the clients that people have.
# The clients are called by name, which shellcheck cannot see.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

# ---- Turns: with an hour for idle clients, only those who keep nobody out let one in ----

serve "$work/log" --idle 3600
silent=()
for _ in 1 2 3 4 5 6; do
    exec {fd}<>"/dev/tcp/127.0.0.1/$port"
    silent+=("$fd")
done
talks "six open connections keep nobody out" $'SET a 1\nGET a\n' $'success\n1\n' nc_plain

seq -f 'SET x.%.0f v' 200000 | nc_plain >/dev/null
echo 'KEYS x.' | nc_plain | sed '/^$/d; s/^/DELETE /' | nc_plain | sort | uniq -c >"$work/got"
check "KEYS | sed | nc to one server deletes all" "$(tr -s ' ' <"$work/got")" " 200000 success"
long=$(repeated l 200)
seq -f "SET $long%.0f v" 100000 | nc_plain >/dev/null
KV_PORT=$port "$(dirname -- "$program")/kv" keys "$long" | sed 's/^/DELETE /' | nc_plain | sort |
    uniq -c >"$work/got"
check "kv keys | sed | nc, with more than sockets hold" "$(tr -s ' ' <"$work/got")" " 100000 success"
talks "and nothing is left" $'COUNT\n' $'1\n' nc_plain
for fd in "${silent[@]}"; do
    echo COUNT >&"$fd"
    read -r -t "$seconds_max" -u "$fd" line
    check "a connection that was silent is served when it speaks" "$line" 1
    exec {fd}>&-
done

# ---- Behind a server that is held for three seconds ----

nc_openbsd() { timeout "$seconds_max" nc.openbsd -N 127.0.0.1 "$port"; }
nc_traditional() { timeout "$seconds_max" nc.traditional -q 60 127.0.0.1 "$port"; }
ncat_form() { timeout "$seconds_max" ncat 127.0.0.1 "$port"; }
busybox_form() { timeout "$seconds_max" busybox nc 127.0.0.1 "$port"; }
socat_form() { timeout "$seconds_max" socat -t 60 - "TCP:127.0.0.1:$port"; }
forms=(nc_openbsd nc_traditional ncat_form busybox_form socat_form)
kill -STOP "$server_pid"
waiting=()
for form in "${forms[@]}"; do
    echo 'GET a' | "$form" >"$work/held.$form" 2>"$work/held.$form.stderr" &
    waiting+=($!)
done
sleep 3 # on purpose: what is tested is that they wait so long
kill -CONT "$server_pid"
for i in "${!forms[@]}"; do
    wait "${waiting[i]}"
    check "${forms[i]//_/ } waits for a server that is held" \
        "$? $(cat "$work/held.${forms[i]}")" "0 1"
done
stop_server TERM

# ---- Paths ----

path=$work/socket
nc_path() { timeout "$seconds_max" nc.openbsd -NU "$path"; }
socat_path() { timeout "$seconds_max" socat -t 60 - "UNIX-CONNECT:$path"; }
ncat_path() { timeout "$seconds_max" ncat -U "$path"; }
serve "$work/log" --address "$path" --address 127.0.0.1
check "a socket's file is for its owner alone" "$(stat -c '%F %a' "$path")" "socket 600"
for client in nc_path socat_path ncat_path; do
    talks "${client/_/ to a }" $'SET b 2\nGET b\n' $'success\n2\n' "$client"
done
run_program --address "$path" --file "$work/other"
check "a path where somebody answers is refused" "$run_status $(cat "$work/run.stderr")" \
    "1 kv-store: $path: another server listens there; giving up"
check "and no log is made" "$(ls "$work/other"* 2>/dev/null)" ""
talks "the first goes on" $'GET b\n' $'2\n' nc_path
stop_server KILL
check "a server that is killed leaves its file" "$(stat -c %F "$path")" socket
serve "$work/log" --address "$path" --address 127.0.0.1
talks "the next takes its place" $'GET b\n' $'2\n' nc_path
stop_server TERM
check "a clean stop removes it" "$(ls "$path" 2>/dev/null)" ""
echo precious >"$path"
run_program --address "$path" --file "$work/log"
check "another's file is not replaced" "$run_status $(cat "$path")" "1 precious"

# ---- Several addresses, and one that is in use ----

serve "$work/log" --address 127.0.0.1 --address '[::1]'
check "each has a line, with one port" "$(cat "$work/stderr"; read -r -u "$server_stderr" line && echo "$line")" \
    "kv-store: listening on 127.0.0.1:$port"$'\n'"kv-store: listening on [::1]:$port"
talks "IPv4" $'GET b\n' $'2\n' timeout "$seconds_max" nc.openbsd -N 127.0.0.1 "$port"
talks "IPv6" $'GET b\n' $'2\n' timeout "$seconds_max" nc.openbsd -N ::1 "$port"
for address in 127.0.0.1 '[::1]'; do
    run_program --address "$address" --port "$port" --file "$work/other"
    check "$address in use is said as it is printed" \
        "$run_status $(sed 's/\(giving up: Address\) .*in use$/\1 in use/' "$work/run.stderr")" \
        "1 kv-store: $address:$port: cannot listen; giving up: Address in use" # as libcs say
    check "and the log is not touched" "$(ls "$work/other"* 2>/dev/null)" ""
done
stop_server TERM

# ---- Sockets that are handed over ----

coproc manager { exec python3 "$here/handover.py" "$program" "$work/log"; }
read -r -t "$seconds_max" -u "${manager[0]}" port
: >"$work/handed"
for i in {1..20}; do
    echo "SET handed $i" | nc_plain >>"$work/handed"
    echo restart >&"${manager[1]}"
done
check "a stop and start after each command refuses none" "$(sort "$work/handed" | uniq -c | tr -s ' ')" \
    " 20 success"
exec {manager[1]}>&-
check "each stop was clean" "$(sort -u <&"${manager[0]}")" 0

if command -v systemd-socket-activate >/dev/null; then
    port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
    systemd-socket-activate --listen="127.0.0.1:$port" "$program" --file "$work/log" \
        2>"$work/activated" &
    server_pid=$!
    until grep -qs Listening "$work/activated"; do :; done
    talks "systemd-socket-activate" $'GET handed\n' $'20\n' nc_plain
    kill -TERM "$server_pid"
    wait "$server_pid"
    check "it stops cleanly" "$?" 0
    server_pid=
else
    not_run "systemd-socket-activate" "no systemd-socket-activate"
fi

# ---- Who is no client of ours ----

serve "$work/log"
printf '\026\003\001\002\001\n\nSET pwned 1\n' | nc_plain >"$work/got"
check "TLS is hung up on" "$(cat "$work/got")" ""
talks "and stores nothing" $'EXISTS pwned\n' $'0\n' nc_plain
talks "a byte order mark is skipped" $'\xef\xbb\xbfSET mark 1\nGET mark \n' $'success\n1\n' nc_plain
stop_server HUP
check "SIGHUP stops cleanly" "$server_status" 0
