#!/bin/sh
# How exposed the service unit is by systemd's own measure; at most 1.2 of 10 is wanted.
set -eu
cd "$(dirname "$0")/.."
if ! command -v systemd-analyze >/dev/null; then
    echo "service: NOT RUN: the unit was not measured: no systemd-analyze here" |
        tee -a "${KV_RAN:-/dev/null}"
    exit 0
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
sed 's|@PREFIX@|/usr/local|' src/kv-store.service >"$directory/kv-store.service"
line=$(systemd-analyze security --offline=yes "$directory/kv-store.service" 2>/dev/null |
    grep 'Overall exposure level')
score=$(echo "$line" | sed 's/.*: \([0-9.]*\) .*/\1/')
echo "service: exposure $score (limit 1.2)" | tee -a "${KV_RAN:-/dev/null}"
awk -v score="$score" 'BEGIN { exit !(score != "" && score <= 1.2) }'
