#!/usr/bin/env bash
# F99: a real disk that is full, a file system in memory of 24 MB. Where this script may
# not mount one it says so; the same is shown with a disk that is made up (test_compact).
source "$(dirname -- "$0")/lib.sh"

name="a full disk gets its room back when everything is deleted"
if [[ -z ${KV_IN_OWN_MOUNTS:-} ]]; then
    if unshare -m mount -t tmpfs -o size=24m none "$work" 2>/dev/null; then
        KV_IN_OWN_MOUNTS=1 unshare -m bash "$0" "$program"
        exit
    fi
    not_run "$name" "mounting a file system, which takes root"
    exit 0
fi

mkdir "$work/disk" && mount -t tmpfs -o size=24m none "$work/disk" || exit 1
"$program" --file "$work/disk/kv.log" --port 0 2>"$work/stderr" &
server_pid=$!
until grep -q 'listening on' "$work/stderr"; do
    kill -0 "$server_pid" || exit 1
    sleep 0.05
done
port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\)$/\1/p' "$work/stderr")

value=$(head -c 1000000 /dev/zero | tr '\0' v)
sets=$(for i in {1..30}; do printf 'SET %d %s\n' "$i" "$value"; done)
accepted=$(nc_plain <<<"$sets" | grep -c '^success$')
check "$name: values are refused when it is full" \
    "$((accepted > 20 && accepted < 25)) $(nc_plain <<<"SET again $value")" \
    "1 error: storage full"
check "$name: deletions are not" \
    "$(for i in {1..30}; do echo "DELETE $i"; done | nc_plain | sort | uniq -c | tr -s ' ')" \
    " 30 success"
for ((tries = 0; tries < seconds_max; tries++)); do
    again=$(nc_plain <<<"SET again $value")
    [[ $again == success ]] && break
    sleep 1
done
check "$name: values are accepted again" "$again" success
check "$name: COUNT" "$(nc_plain <<<COUNT)" 1
kill "$server_pid"
wait "$server_pid"
check "$name: it stops cleanly" $? 0
server_pid=
umount "$work/disk"
