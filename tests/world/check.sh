#!/usr/bin/env bash
# The world as a part of `make test`: scripts that were found once, a fixed set of seeds,
# then fresh ones, by as many at once as there are processors.
#
#     tests/world/check.sh WORLD SEED SECONDS
#
# KV_RAN    a file to which the last line is added, for the end of `make test`
set -euo pipefail
world=$1
seed=$2
seconds=$3
processors=$(getconf _NPROCESSORS_ONLN)
fixed=3000
apart=$((1 << 32)) # seeds of two that run at once never meet

"$world"
out=$(mktemp)
said=$(mktemp)
trap 'rm -f -- "$out" "$said"' EXIT
for ((i = 0; i < processors; i++)); do
    echo "--seed $((1 + i * fixed / processors)) --seeds $((fixed / processors))"
done >"$out"
for ((i = 0; i < processors; i++)); do
    echo "--save tests/world/found --seed $((seed + i * apart)) --seconds $seconds"
done >>"$out"
failed=0
xargs -P "$processors" -L 1 "$world" <"$out" | tee "$said" || failed=1
figures=$(awk -v fixed="$fixed" '
    /^world: / {
        seeds += $2; commands += $4; starts += $11; losses += $15; violations += $(NF - 1)
    }
    END {
        printf "%d seeds, %d of them fixed, %d commands, %d starts, %d losses of power, %d violations",
            seeds, fixed, commands, starts, losses, violations
    }' "$said")
echo "check-world: $figures" | tee -a "${KV_RAN:-/dev/null}"
exit "$failed"
