#!/usr/bin/env bash
# kill -9 in the middle of a load, ten times over on one log: whatever was acknowledged
# is there afterwards, and whatever was not is there whole or not at all.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

per_round=100000
rounds=10

for ((round = 0; round < rounds; round++)); do
    serve "$work/log"
    first=$((round * per_round))
    # Early and late kills, inside and between batches.
    kill_after=$((1 + round * round * 900))
    acked=$(timeout "$seconds_max" python3 "$here/loader.py" load "$port" "$server_pid" "$first" \
        "$per_round" "$kill_after" 2>"$work/why")
    loaded=$?
    # A failed loader may have left the server alive; this round fails either way.
    stop_server KILL
    if [[ $loaded -ne 0 ]]; then
        not_ok "round $round: the server was killed inside a load" "$(cat "$work/why")"
        continue
    fi
    check "round $round: the server died of kill -9" "$server_status" 137
    serve "$work/log"
    succeeds "round $round: what was acknowledged is there, the rest is whole or absent" \
        timeout "$seconds_max" python3 "$here/loader.py" judge "$port" "$first" "$per_round" "$acked"
    acked_of[round]=$acked
    stop_server TERM
    check "round $round: a clean stop after the recovery" "$server_status" 0
done

serve "$work/log"
for ((round = 0; round < rounds; round++)); do
    timeout "$seconds_max" python3 "$here/loader.py" judge "$port" $((round * per_round)) "$per_round" \
        "${acked_of[round]-$per_round}" 2>&1 || echo "round $round"
done >"$work/wrong"
check "in the end every round's acknowledged writes are there" "$(cat "$work/wrong")" ""
stop_server TERM

# A load ended by SIGTERM: the batch in hand is finished, nothing acknowledged is lost.
serve "$work/term"
mkfifo -- "$work/pipe"
seq 1 500000 | sed 's/.*/SET t& &/' |
    timeout "$seconds_max" nc.openbsd -N 127.0.0.1 "$port" >"$work/pipe" 2>/dev/null &
exec {replies}<"$work/pipe"
# The first reply says that the load is under way.
IFS= read -r -t "$seconds_max" -u "$replies" first_reply
echo "$first_reply" >"$work/replies"
cat <&"$replies" >>"$work/replies" &
reader_pid=$!
stop_server TERM
check "SIGTERM inside a load: exit status" "$server_status" 0
wait "$reader_pid"
exec {replies}<&-
acked=$(grep -c '^success$' "$work/replies")
serve "$work/term"
stored=$(echo COUNT | nc_plain)
check "SIGTERM inside a load: all that was acknowledged is there, $acked or more" \
    "$((acked > 0 && stored >= acked))" 1
seq 1 "$stored" >"$work/expected"
sed 's/^/GET t/' "$work/expected" | nc_plain >"$work/got"
same "SIGTERM inside a load: what is there is a beginning of the load" "$work/got" \
    "$work/expected"
stop_server TERM
exit 0
