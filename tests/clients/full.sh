#!/usr/bin/env bash
# F99: a real disk that is full, a file system in memory of 24 MB. Where this script may
# not mount one it says so; the same is shown with a disk that is made up (test_compact_room).
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
serve "$work/disk/kv.log"

value=$(head -c 1000000 /dev/zero | tr '\0' v)
sets=$(for i in {1..30}; do printf 'SET %d %s\n' "$i" "$value"; done)
accepted=$(nc_plain <<<"$sets" | grep -c '^success$')
check "$name: values are refused when it is full" \
    "$((accepted > 20 && accepted < 25)) $(nc_plain <<<"SET again $value")" \
    "1 error: storage full"
check "$name: deletions are not" \
    "$(for i in {1..30}; do echo "DELETE $i"; done | nc_plain | sort | uniq -c | tr -s ' ')" \
    " 30 success"
# Each answer is awaited; that there is room again ends it.
echo "SET again $value" >"$work/again"
set_until_accepted() {
    until [[ $(nc_plain <"$work/again") == success ]]; do :; done
}
export -f set_until_accepted nc_plain
export port work seconds_max
succeeds "$name: values are accepted again" \
    timeout "$seconds_max" bash -c set_until_accepted
check "$name: COUNT" "$(nc_plain <<<COUNT)" 1
stop_server TERM
check "$name: it stops cleanly" "$server_status" 0
umount "$work/disk"
