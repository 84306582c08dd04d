#!/usr/bin/env bash
# The same few conversations through every client that a person may have at hand.
# The clients are called by name, which shellcheck cannot see.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

nc_openbsd_N() { timeout "$seconds_max" nc.openbsd -N 127.0.0.1 "$port"; }
nc_openbsd_q0() { timeout "$seconds_max" nc.openbsd -q0 127.0.0.1 "$port"; }
nc_traditional_q60() { timeout "$seconds_max" nc.traditional -q 60 127.0.0.1 "$port"; }
ncat_plain() { timeout "$seconds_max" ncat 127.0.0.1 "$port"; }
busybox_nc() { timeout "$seconds_max" busybox nc 127.0.0.1 "$port"; }
socat_stdio() { timeout "$seconds_max" socat -t 60 - "TCP:127.0.0.1:$port"; }

# Bash cannot close one half of a connection, so QUIT ends it.
bash_dev_tcp() {
    {
        cat
        echo QUIT
    } | bash_until_closed
}

# Nor does curl: it waits for the server after its own input has ended.
curl_telnet() {
    {
        cat
        echo QUIT
    } | timeout "$seconds_max" curl -sS --noproxy '*' --no-buffer \
        "telnet://127.0.0.1:$port"
}

clients=(nc_openbsd_N nc_openbsd_q0 nc_traditional_q60 ncat_plain busybox_nc socat_stdio
    bash_dev_tcp curl_telnet)

conversations() { # conversations CLIENT
    local name=${1//_/ } client=$1
    talks "$name: one-shot SET" "SET $client first"$'\n' $'success\n' "$client"
    talks "$name: one-shot GET" "GET $client"$'\n' $'first\n' "$client"
    talks "$name: a miss" "GET $client-missing"$'\n' $'no value stored\n' "$client"
    talks "$name: spaces inside, before and after a value are kept" \
        "SET $client-spaces   two  words "$'\n'"GET $client-spaces"$'\n' \
        $'success\n  two  words \n' "$client"
    talks "$name: accents and other scripts" \
        "SET $client-ключ-é naïve ☃ 値 𝄞"$'\n'"GET $client-ключ-é"$'\n' \
        $'success\nnaïve ☃ 値 𝄞\n' "$client"
    printf '%s\n' "SET $client-1 a" "set $client-2 b" "GET $client-1" "DELETE $client-1" \
        "GET $client-1" "EXISTS $client-2" "GET $client-2" '' 'GET' >"$work/several"
    printf '%s\n' success success a success 'no value stored' 1 b 'error: empty line' \
        'error: usage: GET key' >"$work/several.expected"
    "$client" <"$work/several" >"$work/got" 2>/dev/null
    same "$name: several commands down one pipe" "$work/got" "$work/several.expected"
}

serve "$work/log" --idle 60
for client in "${clients[@]}"; do
    conversations "$client"
done

# What one client stored another reads: no client added a CR or lost a byte.
for client in "${clients[@]}"; do
    printf 'GET %s\nGET %s-spaces\nGET %s-ключ-é\n' "$client" "$client" "$client"
done >"$work/gets"
for client in "${clients[@]}"; do
    printf 'first\n  two  words \nnaïve ☃ 値 𝄞\n'
done >"$work/expected"
nc_plain <"$work/gets" >"$work/got"
same "what any client stored, nc reads to the byte" "$work/got" "$work/expected"

talks "a line may end in CR LF" $'SET crlf one\r\nGET crlf\r\n' $'success\none\n' nc_plain
talks "only one CR is dropped" $'SET crcr one\r\r\nGET crcr\n' $'success\none\r\n' nc_plain
talks "the empty value is a value" $'SET empty \nGET empty\nEXISTS empty\nSET empty\n' \
    $'success\n\n1\nerror: usage: SET key value\n' nc_plain

# Telnet wants a terminal: expect gives it one. The script prints its own check lines.
timeout "$seconds_max" expect -f "$here/telnet.exp" "$port" 2>&1 | grep -E '^(ok|not ok) ' >"$work/telnet"
telnet_status=${PIPESTATUS[0]}
cat "$work/telnet"
check "telnet: the script ran to its end" "$telnet_status" 0
talks "telnet: nc reads what telnet stored, without the CR" \
    $'GET telnet\nGET telnet-ключ-é\nGET telnet-half\n' \
    $'  two  words \nnaïve Привіт\nno value stored\n' nc_plain

stop_server TERM
check "the server of these conversations stops cleanly" "$server_status" 0
exit 0
