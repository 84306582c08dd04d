#!/usr/bin/env bash
# Power cuts on the kernel's own ext4, xfs and btrfs, for `make check-power`:
#
#     tests/power/run.sh PROGRAM [OPTION]...     options of power.py
#
# Builds what it needs below build/power and hands over to power.py. That takes root,
# /dev/fuse and loop devices: where they are missing it says so, also at the end of `make
# test`, which goes on; asked for by itself it fails.
#
# KV_RAN  a file to which the last lines are added, for the end of `make test`
set -eu

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
out=$(realpath -m -- "$here/../../build/power")
program=$(realpath -- "$1")
shift

skip() { # skip REASON: not a failure of `make test`, but no success either
    echo "check-power: did not run: $1" | tee -a "${KV_RAN:-/dev/null}"
    [[ -n ${KV_RAN:-} ]] && exit 0
    exit 1
}

build() { # build NAME OPTION...: one C source of this directory
    local name=$1
    shift
    "${CC:-cc}" -std=c11 -O2 -g -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
        -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Werror \
        -o "$out/$name" "$here/$name.c" "$@"
}

[[ $(id -u) -eq 0 ]] || skip "it takes root"
[[ -c /dev/fuse ]] || skip "there is no /dev/fuse"
[[ -c /dev/loop-control ]] || skip "there is no /dev/loop-control"
[[ -e /usr/include/fuse3/fuse.h ]] || skip "there is no libfuse3-dev"
command -v python3 >/dev/null || skip "there is no python3"

mkdir -p -- "$out"
build disk -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -isystem /usr/include/fuse3 \
    -lfuse3
build witness -fPIC -shared -ldl
PYTHONDONTWRITEBYTECODE=1 exec python3 "$here/power.py" "$out/disk" "$program" \
    "$out/witness" "$out" "$@"
