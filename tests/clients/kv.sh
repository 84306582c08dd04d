#!/usr/bin/env bash
# kv, the small client: its statuses and texts, and that no trouble with the server or the
# connection ever looks like an answer.
#
# KV_RUNNER     what kv is run under, as valgrind
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

kv=$(dirname -- "$program")/kv
if [[ -n ${KV_RUNNER:-} ]]; then
    # Its words go into a file of their own, opened by a shell: it would do so in place of
    # standard output or errors where those are closed.
    printf '#!/bin/sh\nexec %s --log-fd=9 %s "$@" 9>>%s\n' "$KV_RUNNER" "$kv" "$work/runner" >"$work/kv"
    chmod +x "$work/kv"
    kv=$work/kv
fi
export KV_PORT KV_ADDRESS

# kvs NAME STATUS STDOUT STDERR ARGUMENT...: standard input is the caller's.
kvs() {
    local name=$1 status=$2 output=$3 message=$4 got
    shift 4
    timeout "$seconds_max" "$kv" "$@" >"$work/kv.stdout" 2>"$work/kv.stderr"
    got=$?
    check "kv $name: status" "$got $(wc -l <"$work/kv.stderr")" \
        "$status $([[ -z $message ]] && echo 0 || echo 1)"
    check "kv $name: output" "$(cat "$work/kv.stdout"; echo .)" "$output."
    [[ -z $message ]] || check "kv $name: message" "$(cat "$work/kv.stderr")" "kv: $message"
}
line=$'\n'
one_word="a key, prefix or number is one word, without a space or a line's end"

addresses=("$work/socket")
grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null && addresses+=(::1)
serve "$work/kv.log" --max-value 1M --address 127.0.0.1 "${addresses[@]/#/--address=}"
KV_PORT=$port KV_ADDRESS=

kvs "set" 0 '' '' set color 'deep  red '
kvs "get" 0 "deep  red $line" '' get color
kvs "get of nothing" 1 '' '' get nothing
kvs "exists" 0 '' '' exists color
kvs "exists of nothing" 1 '' '' exists nothing
kvs "add" 0 '' '' add size ''
kvs "get of an empty value" 0 "$line" '' get size
kvs "add again" 1 '' '' add size big
kvs "incr" 0 "1$line" '' incr n
kvs "incr by a number" 0 "-41$line" '' incr n -42
kvs "incr of a word" 2 '' 'not a number' incr color
kvs "incr by a word" 2 '' 'not a number' incr n x
kvs "incr by two" 2 '' "$one_word" incr n '1 2'
kvs "incr by nothing" 2 '' "$one_word" incr n ''
kvs "keys" 0 "color${line}n${line}size$line" '' keys
kvs "keys by prefix" 0 "color$line" '' keys co
kvs "keys of no prefix" 0 '' '' keys none
kvs "list" 0 "color deep  red ${line}n -41${line}size $line" '' list
kvs "list by prefix" 0 "n -41$line" '' list n
kvs "count" 0 "3$line" '' count
kvs "delete" 0 '' '' delete size
kvs "delete of nothing" 1 '' '' delete size
kvs "sync" 0 '' '' sync
kvs "compact" 0 '' '' compact
timeout "$seconds_max" "$kv" stats >"$work/stats"
check "kv stats: as the server says them" "$? $(sed -n 's/ .*//p' "$work/stats" | sort | head -n 3 | xargs)" \
    "0 commands commits compaction_percent"

printf 'from a pipe\n' | kvs "set from standard input" 0 '' '' set piped
kvs "get of that" 0 "from a pipe$line" '' get piped
kvs "set of what cannot be read" 2 '' 'cannot read standard input: Is a directory' set piped </
kvs "get of what was there" 0 "from a pipe$line" '' get piped
printf 'no end' | kvs "set of a value without LF" 0 '' '' set piped
kvs "get of that too" 0 "no end$line" '' get piped
printf 'two\n\n' | kvs "set of two lines" 2 '' \
    'words are one line of UTF-8 without NUL; encode others, as with base64' set piped
printf 'a\0b' | kvs "set of a NUL" 2 '' \
    'words are one line of UTF-8 without NUL; encode others, as with base64' set piped
printf '\377' | kvs "set of what is no UTF-8" 2 '' \
    'words are one line of UTF-8 without NUL; encode others, as with base64' set piped
printf 'cr\r\n' | kvs "set of a value that ends in CR" 0 '' '' set cr
kvs "get of that CR" 0 $'cr\r\n' '' get cr
repeated v 1000000 | kvs "set of a megabyte" 0 '' '' set large
"$kv" get large | cmp -s - <(repeated v 1000000; echo)
check "kv get: of a megabyte" "${PIPESTATUS[*]}" "0 0"
repeated v 2000000 | kvs "set of too much" 2 '' 'line too long' set large

for key in '' 'two words' $'x\nDELETE color'; do
    kvs "get of ${key@Q}" 2 '' "$one_word" get "$key"
    kvs "set of ${key@Q}" 2 '' "$one_word" set "$key" v
done
kvs "get of a key that is no UTF-8" 2 '' \
    'words are one line of UTF-8 without NUL; encode others, as with base64' get $'\377'
kvs "a key that was not deleted" 0 '' '' exists color
kvs "no command" 2 '' 'a command is wanted; see kv --help'
kvs "a word too many" 2 '' 'usage: kv count; see kv --help' count x
kvs "a word too few" 2 '' 'usage: kv set KEY [VALUE]; see kv --help' set
kvs "no such command" 2 '' 'put: no such command; see kv --help' put a b
kvs "no such option" 2 '' '-x: no such option, or it lacks its value; see kv --help' -x count
kvs "an option without its value" 2 '' \
    '--port: no such option, or it lacks its value; see kv --help' --port
kvs "long options" 0 "5$line" '' --address=127.0.0.1 --port "$port" count
kvs "a value like an option" 0 '' '' add minus --help
kvs "get of that value" 0 "--help$line" '' get minus
kvs "delete of that" 0 '' '' delete minus
check "kv --help and --version" "$("$kv" --help && "$kv" --version)" "$("$kv" -h && "$kv" -V)"
kvs "no time" 2 '' '0: -t is a number from 1 to 1000000' -t 0 count
kvs "localhost" 0 "5$line" '' -a localhost count
for address in "${addresses[@]}" "${addresses[@]/#::1/[::1]}"; do
    kvs "on ${address##*/}" 0 "5$line" '' -a "$address" count
done
KV_ADDRESS=127.0.0.1 kvs "an address from the environment" 0 "5$line" '' count
"$kv" -a no.such.host.invalid count 2>"$work/kv.stderr"
check "kv: no such address" "$? $(sed 's/\(no such address: \)..*/\1a reason/' "$work/kv.stderr")" \
    "2 kv: no.such.host.invalid:$port: no such address: a reason" # in the words of its libc
for address in 127.0.0.1:1 '[::1]:1' "localhost:$port"; do
    kvs "$address, a port in its address" 2 '' "$address: no such address: a port goes into -p, brackets around all else" \
        -a "$address" count
done
for address in '127.0.0.1]' '127.0.0.1]foo' '[127.0.0.1' '[127.0.0.1]foo' '[[127.0.0.1]]'; do
    kvs "$address, which another may answer to" 2 '' \
        "$address: no such address: a port goes into -p, brackets around all else" -a "$address" count
done
kvs "brackets around all of it" 0 "5$line" '' -a '[127.0.0.1]' count
kvs "a port that is this one and 65536" 2 '' \
    "$((port + 65536)): a port is a number from 1 to 65535" -p $((port + 65536)) count
kvs "port 0" 2 '' '0: a port is a number from 1 to 65535' -p 0 count
kvs "no such path" 2 '' '/no/such/socket: cannot connect: No such file or directory' \
    -a /no/such/socket count
"$kv" count >/dev/full 2>"$work/kv.stderr"
check "kv: standard output that is full" "$? $(cat "$work/kv.stderr")" \
    "2 kv: cannot write to standard output: No space left on device"
"$kv" count >&- 2>"$work/kv.stderr"
check "kv: standard output that is closed" "$? $(cat "$work/kv.stderr")" \
    "2 kv: cannot write to standard output: Bad file descriptor"
"$kv" set closed <&- 2>"$work/kv.stderr"
check "kv: standard input that is closed" "$? $(cat "$work/kv.stderr")" \
    "2 kv: cannot read standard input: Bad file descriptor"
"$kv" get nothing 2>&-
check "kv: standard error that is closed" $? 1
check "kv -h and its manual name the same commands" \
    "$("$kv" -h | sed -nE 's/^  ([a-z]+) .*/\1/p' | sort | xargs)" \
    "$(sed -nE 's/^\.It Cm ([a-z]+).*/\1/p' "$here/../../src/kv.1" |
        grep -vxE 'stats|compact|sync' | sort | xargs)"

# Records that are damaged: what there is, and then why it is not all.
"$kv" set damaged.whole 1 && "$kv" set damaged.mine 2
offset=$(LC_ALL=C grep -abo damaged.mine2 "$work/kv.log" | head -n 1 | cut -d : -f 1)
printf X | dd of="$work/kv.log" bs=1 seek="$offset" conv=notrunc status=none
kvs "keys of which one is damaged" 2 "damaged.whole$line" 'corrupt value' keys damaged
kvs "list of which one is damaged" 2 "damaged.whole 1$line" 'corrupt value' list damaged

# A server that is held by somebody else: nothing is said, and nobody waits for ever.
exec {held}<>"/dev/tcp/127.0.0.1/$port"
echo COUNT >&"$held"
IFS= read -r _ <&"$held"
kvs "a server that is busy" 2 '' \
    '127.0.0.1: no answer for 1 s; what was asked may be done yet' -t 1 get color
kvs "a server that is busy, asked to store" 2 '' \
    '127.0.0.1: no answer for 1 s; what was asked may be done yet' -t 1 set color blue
exec {held}>&-

kill -STOP "$server_pid"
kvs "a server that is stopped" 2 '' \
    '127.0.0.1: no answer for 1 s; what was asked may be done yet' -t 1 get color
kill -CONT "$server_pid"
kvs "what was asked meanwhile is done" 0 "blue$line" '' get color

stop_server KILL
kvs "a server whose socket has stayed" 2 '' \
    "$work/socket: cannot connect: Connection refused" -a "$work/socket" get color
kvs "a server that is gone" 2 '' "127.0.0.1:$KV_PORT: cannot connect: Connection refused" get color

# Others that answer there: whatever they say, no command takes it for an answer.
impostor() { # impostor BEHAVIOUR MESSAGE-OF-GET
    local status name all='' seconds=$seconds_max
    [[ $2 != *': no answer for 1 s;'* ]] || seconds=1
    coproc python3 "$here/impostor.py" "$1"
    read -r KV_PORT <&"${COPROC[0]}"
    kvs "get from one that $1" 2 '' "${2/PORT/$KV_PORT}" -t "$seconds" get color
    for name in "set k v" "add k v" "incr k" "delete k" "exists k" keys list count stats sync compact; do
        # Unquoted on purpose: a command and its words.
        # shellcheck disable=SC2086
        timeout "$seconds_max" "$kv" -t "$seconds" $name >"$work/kv.stdout" 2>"$work/kv.stderr"
        status=$?
        [[ $status == 2 && $(wc -l <"$work/kv.stderr") == 1 ]] || all+=" $name:$status"
    done
    check "kv: one that $1 gives no command a status of 0 or 1" "$all" ''
    exec {COPROC[1]}>&-
    kill "$COPROC_PID"
    wait "$COPROC_PID" 2>/dev/null
}
other='this is not the answer of a kv-store'
impostor closes 'the server ended without an answer'
impostor resets '127.0.0.1:PORT: the connection was lost: Connection reset by peer'
impostor silent '127.0.0.1: no answer for 1 s; what was asked may be done yet'
impostor half 'the answer is cut off'
impostor success 'the answer is cut off'
impostor http "$other"
impostor echo "$other"
impostor stops 'the server ended without an answer'
impostor pauses '127.0.0.1: no answer for 1 s; what was asked may be done yet'
impostor many "$other"
impostor twice "$other"
impostor endless "$other"
impostor empty "$other"
impostor evicts 'idle too long'

# A server that takes no connection: nothing was asked. Who is stopped meanwhile goes on.
coproc python3 "$here/impostor.py" full
read -r KV_PORT <&"${COPROC[0]}"
kvs "a server that takes no connection" 2 '' \
    "127.0.0.1: no connection for 1 s; nothing was asked" -t 1 set color red
"$kv" -t "$seconds_max" count >"$work/kv.stdout" 2>"$work/kv.stderr" &
kv_pid=$!
until grep -q "$(printf ':%04X 02 ' "$KV_PORT")" /proc/net/tcp; do :; done # it connects
kill -STOP "$kv_pid"
until grep -q '^State:.T' "/proc/$kv_pid/status"; do :; done
kill -CONT "$kv_pid"
until ! grep -q '^State:.T' "/proc/$kv_pid/status" 2>/dev/null; do :; done
echo >&"${COPROC[1]}"
wait "$kv_pid"
check "kv: one that was stopped while it connected" \
    "$? $(cat "$work/kv.stdout" "$work/kv.stderr")" "0 1"
exec {COPROC[1]}>&-
kill "$COPROC_PID"
wait "$COPROC_PID" 2>/dev/null

[[ -z ${KV_RUNNER:-} ]] ||
    check "kv: nothing that its runner has to say" "$(head -c 2000 "$work/runner")" ''
exit 0
