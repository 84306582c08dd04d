#!/usr/bin/env bash
# Real input: a dictionary through nc, through crashes and restarts, and back; then one of
# a million and a half words in letters of two bytes, of which every third is enough.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

read_back() { # read_back NAME: every word of the dictionary has its expected value
    nc_plain <gets >got
    same "$1" got expected
}

# The logs as an independent reader sees them, against what the server answers.
reader_agrees() { # reader_agrees NAME
    local logs=(log)
    [[ -e log.old ]] && logs=(log.old log)
    python3 "$here/reader.py" "${logs[@]}" | LC_ALL=C sort >got.reader
    paste -d ' ' words expected | grep -v ' no value stored$' | LC_ALL=C sort >expected.reader
    same "$1" got.reader expected.reader
}

dictionary() { # dictionary NAME FILE STEP: one word of so many
    local name=$1 count kept
    mkdir -- "$work/$name" && cd -- "$work/$name" || exit 1
    awk -v step="$3" 'NR % step == 0 && !seen[$0]++' "$2" >words
    count=$(wc -l <words)
    check "$name: the dictionary is a real one" "$((count > 50000))" 1
    awk '{ print "SET " $0 " " NR }' words >sets
    sed 's/^/GET /' words >gets
    seq 1 "$count" >expected

    serve log
    nc_plain <sets >got
    successes "$count" >expected.success
    same "$name: each of $count SETs is answered success" got expected.success
    check "$name: COUNT is the number of words" "$(echo COUNT | nc_plain)" "$count"
    printf 'KEYS\n' | nc_plain | LC_ALL=C sort >got.keys
    {
        echo
        cat words
    } | LC_ALL=C sort >expected.keys
    same "$name: KEYS is the dictionary" got.keys expected.keys

    stop_server KILL
    check "$name: the server was killed" "$server_status" 137
    serve log
    read_back "$name: after kill -9 and a restart"
    stop_server TERM
    check "$name: a clean stop" "$server_status" 0
    reader_agrees "$name: an independent reader finds the same data in the log"
    serve log
    read_back "$name: after a clean stop and a restart"

    # Every second word goes. This makes more than half of the log dead.
    awk 'NR % 2 == 1 { print "DELETE " $0 }' words >deletes
    kept=$((count - $(wc -l <deletes)))
    awk '{ print NR % 2 == 1 ? "no value stored" : NR }' words >expected
    nc_plain <deletes >got
    successes "$((count - kept))" >expected.success
    same "$name: each of $((count - kept)) DELETEs is answered success" got expected.success
    check "$name: COUNT is what is left" "$(echo COUNT | nc_plain)" "$kept"
    stop_server TERM
    reader_agrees "$name: an independent reader finds half of the words"
    serve log
    check "$name: COUNT after the restart" "$(echo COUNT | nc_plain)" "$kept"
    read_back "$name: after the restart half is gone, the other half is there"
    stop_server TERM
    check "$name: the last stop is clean" "$server_status" 0
}

dictionary american /usr/share/dict/american-english 1
succeeds "american: every mark of the log is as drawn" python3 "$here/seals.py" log

# A check of the check: with other bytes in the middle the seals must no longer hold.
printf 'a' | dd of=log bs=1 seek="$(($(stat -c %s log) / 2))" conv=notrunc status=none
printf 'b' | dd of=log bs=1 seek="$(($(stat -c %s log) / 2 + 1))" conv=notrunc status=none
python3 "$here/seals.py" log >/dev/null 2>&1
check "american: the marks of a damaged log do not hold" "$?" 1

dictionary ukrainian /usr/share/dict/ukrainian 3
exit 0
