#!/usr/bin/env bash
# Pipes, loops and bad manners: what clients do to a server beyond one command at a time.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

serve "$work/log" --idle 60

# The README's way to look up a list of keys.
seq 1 500 | sed 's/.*/SET key& value &/' | nc_plain >"$work/got"
successes 500 >"$work/expected"
same "500 SETs down one pipe" "$work/got" "$work/expected"
seq 1 3 600 | sed 's/^/key/' >"$work/keys"
sed 's/^/GET /' "$work/keys" | nc_plain | paste "$work/keys" - >"$work/got"
awk '{ n = substr($0, 4) + 0; print $0 "\t" (n <= 500 ? "value " n : "no value stored") }' \
    "$work/keys" >"$work/expected"
same "sed, nc and paste make a table of keys and values" "$work/got" "$work/expected"

# loop WORD TAIL EXPECTED: one command, one reply, a thousand times, on one connection.
# A % in TAIL and EXPECTED stands for the number. Prints how many replies were right.
loop() {
    local connection reply right=0 i
    exec {connection}<>"/dev/tcp/127.0.0.1/$port" || return
    for ((i = 0; i < 1000; i++)); do
        printf '%s\n' "$1 loop$i${2//%/$i}" >&"$connection"
        IFS= read -r -t "$seconds_max" -u "$connection" reply || break
        [[ $reply == "${3//%/$i}" ]] && right=$((right + 1))
    done
    echo "$right"
}
check "a bash loop writes 1000 times, a reply each" "$(loop SET ' v %' success)" 1000
check "a bash loop reads 1000 times, a reply each" "$(loop GET '' 'v %')" 1000
check "the loops' keys are counted" "$(echo COUNT | nc_plain)" 1500

# QUIT: replies first, then the end of the connection, with input still unread.
{
    printf 'SET quit yes\nGET quit\nQUIT\nSET after-quit no\n'
    repeated x 30000
} | bash_until_closed >"$work/got"
quit_status=${PIPESTATUS[1]}
printf 'success\nyes\n' >"$work/expected"
same "QUIT delivers the replies before it" "$work/got" "$work/expected"
check "QUIT closes the connection in good order" "$quit_status" 0
{
    for _ in {1..40}; do
        seq 1 500 | sed 's/^/GET key/'
    done
    echo QUIT
} | bash_until_closed >"$work/got"
for _ in {1..40}; do
    seq 1 500 | sed 's/^/value /'
done >"$work/expected"
same "QUIT delivers 20000 replies first" "$work/got" "$work/expected"
talks "what follows QUIT is not executed" $'EXISTS after-quit\n' $'0\n' nc_plain

# The end of the input inside a line: a read is answered, a write changes nothing.
talks "an unfinished SET is refused" 'SET cut value' $'error: incomplete line\n' nc_plain
talks "an unfinished SET stores nothing" $'EXISTS cut\n' $'0\n' nc_plain
talks "an unfinished DELETE is refused" 'DELETE quit' $'error: incomplete line\n' nc_plain
talks "an unfinished DELETE deletes nothing" $'GET quit\n' $'yes\n' nc_plain
talks "an unfinished GET is answered" 'GET quit' $'yes\n' nc_plain
talks "an unfinished line does not harm those before it" $'SET whole 1\nSET cut 2' \
    $'success\nerror: incomplete line\n' nc_plain
talks "no input, no reply" '' '' nc_plain

# What a web page could make a browser send must not reach the store.
before=$(echo COUNT | nc_plain)
talks "POST closes without a reply" $'POST / HTTP/1.1\r\nSET post 1\r\n' '' nc_plain
talks "Host: closes without a reply of its own" \
    $'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET host 1\r\n' \
    $'error: usage: GET key\n' nc_plain
talks "telnet's interrupt closes without a reply, finished line or not" \
    $'\xff\xf4\xff\xfd\x06' '' bash_until_closed
printf 'SET body 1\n' >"$work/body"

browses() { # browses NAME CURL-ARGUMENT...: curl is sent away at once, with nothing
    local name=$1 status
    shift
    timeout "$seconds_max" curl -s --noproxy '*' --output "$work/page" "$@" \
        "http://127.0.0.1:$port/"
    status=$?
    # 52 is an empty reply, 56 a reset, 1 an answer that is not HTTP; 124 would be a hang.
    if [[ $status -ne 52 && $status -ne 56 && $status -ne 1 ]]; then
        not_ok "$name" "curl's exit status is $status"
    else
        ok "$name"
    fi
}
browses "curl http:// is sent away"
browses "curl -d is sent away" -d x
browses "curl -X SET is sent away" -X SET
browses "curl -X ADD is sent away" -X ADD
browses "curl with commands as its body is sent away" --data-binary "@$work/body"
browses "curl PUT with commands as its body is sent away" -X PUT --data-binary "@$work/body"
check "nothing of it was stored" "$(printf 'COUNT\nEXISTS body\nEXISTS post\nEXISTS host\n' |
    nc_plain | paste -sd ' ')" "$before 0 0 0"

# Replies of many lines end with an empty one.
printf 'KEYS key49\nCOUNT\n' | nc_plain >"$work/got"
check "KEYS with a prefix, then an empty line" "$(sort "$work/got" | paste -sd ' ')" \
    " $before key49 key490 key491 key492 key493 key494 key495 key496 key497 key498 key499"
check "KEYS without a match is an empty line" \
    "$(printf 'KEYS nothing-begins-so\nEXISTS key1\n' | nc_plain | paste -sd '|')" '|1'
printf 'KEYS\n' | nc_plain >"$work/got"
check "KEYS names every key once" "$(sort -u "$work/got" | wc -l) $(wc -l <"$work/got")" \
    "$((before + 1)) $((before + 1))"
printf 'HELP\n' | nc_plain >"$work/got"
missing=
while IFS= read -r word; do
    grep -qE "^\| \`${word}[ \`]" "$here/../../README.md" || missing+=" $word (README.md)"
    grep -qE "^\.It Ic $word( |\$)" "$here/../../src/kv-store.1" || missing+=" $word (kv-store.1)"
done < <(sed 's/ .*//; /^$/d' "$work/got")
check "every command of HELP is in README and manual" "not named:$missing" "not named:"
check "HELP ends with its only empty line" "$(grep -n '^$' "$work/got")" \
    "$(wc -l <"$work/got"):"
printf 'STATS\n' | nc_plain >"$work/got"
manual=$here/../../src/kv-store.1
check "the manual knows every line of STATS, and no other" \
    "$(sed -n '/^\.Sh STATISTICS/,/^\.Sh ENV/s/^\.It Ic //p' "$manual" | sed 's/ , /\n/g' | sort | xargs)" \
    "$(sed 's/ .*//; /^$/d' "$work/got" | sort | xargs)"
missing=
for name in version uptime_seconds keys log_bytes live_bytes dead_bytes index_bytes commands \
    gets sets deletes connections commits sync compactions compaction_percent \
    recovered_bytes recovery_ms waiting evicted dropped refused; do
    grep -qE "^$name [^ ]" "$work/got" || missing+=" $name"
done
check "STATS has every figure" "without a figure:$missing" "without a figure:"
check "STATS counts the keys" "$(sed -n 's/^keys //p' "$work/got")" "$before"
check "STATS ends with its only empty line" "$(grep -n '^$' "$work/got")" \
    "$(wc -l <"$work/got"):"
talks "SYNC is answered once all is durable" $'SYNC\nsync\n' $'success\nsuccess\n' nc_plain
stop_server TERM
check "the server of these pipes stops cleanly" "$server_status" 0

# An idle client keeps the others waiting for so long and no longer; how long is told by
# test_server_clock. A client that has been answered is the one being served: what follows
# is no race.
serve "$work/idle.log" --idle 1
talks "idle: a key is stored" $'SET idle yes\n' $'success\n' nc_plain

# Reading the pipe is waiting for the event: a reply, the reason, the end.
mkfifo -- "$work/input" "$work/output"
exec {input}<>"$work/input"
timeout "$seconds_max" nc.openbsd 127.0.0.1 "$port" <"$work/input" >"$work/output" &
idle_pid=$!
exec {output}<"$work/output"
echo 'GET idle' >&"$input"
IFS= read -r -t "$seconds_max" -u "$output" reply
check "idle nc: the client is being served" "$reply" yes
talks "idle nc: another client is served all the same" $'GET idle\n' $'yes\n' nc_plain
IFS= read -r -t "$seconds_max" -u "$output" reply
check "idle nc: was told why" "$reply" 'error: idle too long'
kill "$idle_pid" 2>/dev/null
wait "$idle_pid" 2>/dev/null
exec {input}>&- {output}<&-

stop_server TERM
check "the server with the short limit stops cleanly" "$server_status" 0
exit 0
