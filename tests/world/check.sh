#!/usr/bin/env bash
# The world as a part of `make test`: scripts that were found once, a fixed set of seeds,
# then fresh ones.
#
#     tests/world/check.sh WORLD SEED SECONDS
#
# KV_RAN    a file to which the last line is added, for the end of `make test`
set -euo pipefail
world=$1
"$world"
"$world" --seed 1 --seeds 4000
figures=$("$world" --save tests/world/found --seed "$2" --seconds "$3" | tee /dev/stderr |
    sed -n 's/^world: //p')
echo "check-world: 4000 fixed seeds, then $figures" | tee -a "${KV_RAN:-/dev/null}"
