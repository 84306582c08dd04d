#!/bin/bash
# Durable SETs on ext4 on a disk whose sync takes a millisecond, as that of a common SSD
# does, kv-store and Redis in turn. What the machine's own disk costs, and how it is today,
# does not enter: the disk is in memory, and waits. Takes what `make check-power` takes.
#
#   tests/bench/disk.sh [ROW]...     as bench.sh; all durable ones by default
#
#   BENCH_SYNC_US=N  what a sync takes (1000)     the rest as for bench.sh
set -eu
here=$(dirname -- "$(realpath -- "$0")")
rows=("$@")
[[ $# -gt 0 ]] || rows=(durable)
exec "$here/../power/run.sh" "$here/../../kv-store" --sync-us "${BENCH_SYNC_US:-1000}" \
    --run "$here/bench.sh" "${rows[@]}"
