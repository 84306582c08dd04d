#!/bin/sh
# Install the Debian packages that the tests need and this machine lacks.
# Says what it does; does nothing where everything is there, and where it may not install
# anything it says what is missing.
set -eu
cd "$(dirname "$0")/.."

missing=""
need() { # need PACKAGE COMMAND-THAT-SHOWS-IT
    if ! sh -c "$2" >/dev/null 2>&1; then
        missing="$missing $1"
    fi
}

need gcc 'command -v gcc'
need clang 'command -v clang'
need valgrind 'command -v valgrind'
need libcmocka-dev 'test -e /usr/include/cmocka.h'
need netcat-openbsd 'command -v nc.openbsd'
need netcat-traditional 'command -v nc.traditional'
need ncat 'command -v ncat'
need socat 'command -v socat'
need busybox 'busybox nc --help'
need telnet 'command -v telnet'
need expect 'command -v expect'
need curl 'command -v curl'
need python3 'command -v python3'
need wamerican 'test -e /usr/share/dict/american-english'
need systemd 'command -v systemd-analyze'
if [ "$(id -u)" -eq 0 ] && [ -c /dev/fuse ]; then # check-power runs nowhere else
    need libfuse3-dev 'test -e /usr/include/fuse3/fuse.h'
    need fuse3 'command -v fusermount3'
    need e2fsprogs 'command -v mkfs.ext4'
    need xfsprogs 'command -v mkfs.xfs'
    need btrfs-progs 'command -v mkfs.btrfs'
fi
need redis-server 'command -v redis-server'
need redis-tools 'command -v redis-cli'
need sqlite3 'command -v sqlite3'
need patch 'command -v patch'
need wukrainian 'test -e /usr/share/dict/ukrainian'

if [ -z "$missing" ]; then
    echo "tests: every tool is installed"
    exit 0
fi
root=""
if [ "$(id -u)" -ne 0 ]; then
    root="sudo"
fi
if ! command -v apt-get >/dev/null || { [ -n "$root" ] && ! command -v sudo >/dev/null; }; then
    echo "tests: the tests need what Debian calls:$missing"
    echo "tests: none of it can be installed from here; as root, on Debian:"
    echo "    apt-get update && apt-get install --no-install-recommends$missing"
    exit 1
fi
log=build/install.log
mkdir -p build
echo "tests: installing$missing (what apt-get says is in $log)"
# Unquoted on purpose: nothing or sudo, a list of packages.
# shellcheck disable=SC2086
if ! { $root apt-get update -q &&
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; } \
    >"$log" 2>&1 </dev/null; then
    tail -n 5 "$log"
    echo "tests: they could not be installed"
    exit 1
fi
echo "tests: they are installed"
