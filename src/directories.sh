#!/bin/sh
# What `make uninstall` needs to leave a system as `make install` found it.
#
#     directories.sh make RECORD DIRECTORY...
#         make the directories, and write to the file RECORD which were missing
#     directories.sh remove RECORD DIRECTORY...
#         of these directories and those above them, remove the ones that RECORD names
#         and that are empty; those that are gone are taken off it
set -eu
LC_ALL=C
export LC_ALL
command=$1
record=$2
shift 2

# Each directory and those above it, a line each; a relative path ends at ".".
list_upwards() {
    for directory; do
        while [ "$directory" != / ] && [ "$directory" != . ]; do
            printf '%s\n' "$directory"
            directory=$(dirname -- "$directory")
        done
    done | sed 's|//*|/|g' | sort -u
}

list_missing() {
    list_upwards "$@" | while IFS= read -r directory; do
        [ -d "$directory" ] || printf '%s\n' "$directory"
    done
}

keep_directories() {
    while IFS= read -r directory; do
        [ ! -d "$directory" ] || printf '%s\n' "$directory"
    done
}

case $command in
make)
    missing=$(list_missing "$@")
    if [ -n "$missing" ]; then
        mkdir -p -- "$(dirname -- "$record")"
        printf '%s\n' "$missing" >>"$record"
    fi
    install -d -- "$@"
    ;;
remove)
    [ -f "$record" ] || exit 0
    # In reverse order a directory comes before the one that it is in.
    list_upwards "$@" | sort -r | while IFS= read -r directory; do
        if grep -Fqx -e "$directory" "$record"; then
            rmdir -- "$directory" 2>/dev/null || true # not empty, or gone already
        fi
    done
    rest=$(sort -u "$record" | keep_directories)
    if [ -n "$rest" ]; then
        printf '%s\n' "$rest" >"$record"
    else
        rm -f -- "$record"
    fi
    ;;
*)
    echo "usage: $0 make|remove RECORD DIRECTORY..." >&2
    exit 2
    ;;
esac
