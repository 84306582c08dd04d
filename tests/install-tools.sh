#!/bin/sh
# Install the Debian packages that the tests need and this machine lacks.
# Says what it does; does nothing where everything is there.
set -eu

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
need libclang-rt-14-dev 'test -e /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a || test -e /usr/lib/clang/14/lib/linux/libclang_rt.fuzzer-x86_64.a'
need lcov 'command -v lcov'
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
echo "tests: installing$missing"
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    sudo="sudo"
fi
$sudo apt-get update -q
# Unquoted on purpose: a list of packages.
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q $missing
