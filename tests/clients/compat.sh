#!/usr/bin/env bash
# Logs that the original program wrote are taken over once and served; files that are no
# logs are refused and keep every byte.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

cd -- "$work" || exit 1
mkdir fixtures
python3 "$here/fixtures.py" fixtures || exit 1

side_files() { # side_files PATH: what exists beside it, but for its lock and snapshot
    find . -maxdepth 1 -name "$1.*" ! -name "$1.lock" ! -name "$1.index" | sort | paste -sd ' '
}

# What the good fixture holds, written out by hand.
expect_good() { # expect_good NAME
    printf 'GET %s\n' plain one zero-digit empty gone over ключ-é spaces never nul nuls back \
        hex carriage last >gets
    printf '%s\n' 'an ordinary value' 1 0 '' 'no value stored' \
        'a new value, longer than the old one' 'naïve ☃' '  two  words ' 'no value stored' \
        >expected
    printf 'before\0after\n\0\0\nagain\ndeadbeef\nreturn\r\nz\n' >>expected
    nc_plain <gets >got
    same "$1" got expected
}

# adopted NAME: the fixture is served, and so is what became of it at the next start.
adopted() {
    local name=$1 count
    cp "fixtures/$name" "$name"
    python3 "$here/reader.py" "$name" | LC_ALL=C sort >expected.data
    count=$(wc -l <expected.data)
    serve "$name"
    check "$name: COUNT" "$(echo COUNT | nc_plain)" "$count"
    if [[ $count -gt 10 ]]; then
        expect_good "$name: every key has its value"
    fi
    talks "$name: the empty key is not served" $'GET \n' $'error: usage: GET key\n' nc_plain
    stop_server TERM
    check "$name: one line tells of the rewriting" "$(grep -ci 'rewr' stderr)" 1
    [[ $count -le 10 ]] || check "$name: empty keys are reported" "$(grep -ci 'empty key' stderr)" 1
    check "$name: a clean stop" "$server_status" 0
    python3 "$here/reader.py" "$name" | LC_ALL=C sort >got.data
    same "$name: an independent reader finds in the new log what was in the old" \
        got.data expected.data
    succeeds "$name: every mark of the new log is as drawn" python3 "$here/seals.py" "$name"

    serve "$name"
    check "$name: it is rewritten only once" "$(grep -ci 'rewr' stderr)" 0
    talks "$name: a write after the rewrite" $'SET after rewrite\nGET after\n' \
        $'success\nrewrite\n' nc_plain
    stop_server KILL
    serve "$name"
    check "$name: after kill -9 and a restart nothing is missing" \
        "$(printf 'COUNT\nGET after\n' | nc_plain | paste -sd ' ')" "$((count + 1)) rewrite"
    stop_server TERM
    check "$name: the rewritten log is private" "$(stat -c %a "$name")" 600
}

adopted good
check "good: no side file is left" "$(side_files good)" ""
adopted single
check "single: no side file is left" "$(side_files single)" ""

cp fixtures/long-key long-key
serve long-key
{
    printf 'GET '
    repeated k 65535
    printf '\nGET plain\nGET '
    repeated k 65536
    printf '\n'
} | nc_plain >got
printf 'the longest key\nkept\nerror: key too long\n' >expected
same "a key of 65535 bytes is served, one of 65536 cannot be" got expected
stop_server TERM

# A cut last record is set aside, byte for byte. What is told of it, every cut
# there is, and what else is no log, test_import and test_recover try.
for name in torn-header torn-value torn-length; do
    offset=$(cat "fixtures/$name.whole")
    tail -c "+$((offset + 1))" "fixtures/$name" >tail.expected
    adopted "$name"
    check "$name: only the torn tail is set aside" "$(side_files "$name")" \
        "./$name.torn.$offset"
    same "$name: exactly the incomplete bytes are set aside" "$name.torn.$offset" \
        tail.expected
    check "$name: the torn tail is private" "$(stat -c %a "$name.torn.$offset")" 600
done

cp fixtures/empty-file empty-file
serve empty-file
talks "an empty file is a new log" $'COUNT\nSET a b\n' $'0\nsuccess\n' nc_plain
stop_server TERM
succeeds "an empty file: every mark of the new log is as drawn" \
    python3 "$here/seals.py" empty-file

refused() { # refused NAME STATUS: exit status, nothing served, not one byte changed
    local name=$1
    cp -p "fixtures/$name" "$name"
    touch -d '2001-02-03 04:05:06' "$name"
    run_program --file "$name" --port 0
    check "$name: exit status" "$run_status" "$2"
    check "$name: the operator is told" "$(grep -q "$name" run.stderr && echo yes)" yes
    check "$name: nothing listened" "$(grep -c ' listening on ' run.stderr)" 0
    same "$name: the file keeps every byte" "$name" "fixtures/$name"
    check "$name: the file is not even touched" "$(stat -c %Y "$name")" \
        "$(date -d '2001-02-03 04:05:06' +%s)"
    check "$name: no side file but the lock" \
        "$(find . -maxdepth 1 -name "$name.*" | sort | paste -sd ' ')" "./$name.lock"
}

for name in zeros text only-torn bad-key; do
    refused "$name" 3
done
refused too-long-key 1

# A log of our own whose opening record is damaged is corrupt, not the original's.
serve corrupt
talks "a log to be damaged" $'SET a b\nSET c d\n' $'success\nsuccess\n' nc_plain
stop_server TERM
rm -f corrupt.lock corrupt.index
mv corrupt fixtures/corrupt
printf 'X' | dd of=fixtures/corrupt bs=1 seek=40 conv=notrunc status=none
refused corrupt 3
exit 0
