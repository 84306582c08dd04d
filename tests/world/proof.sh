#!/usr/bin/env bash
# The world proves itself: each defect of defects/ is put into a copy of the program, and
# has to be found within a minute of the processor's time, from seeds that nobody chose, and
# shrunk. One that was not may be found by a script that was saved, which is told.
#
#     tests/world/proof.sh [NAME...]      without a name: all, as many at once as there are
#                                         processors
#
# SEED      where the seeds begin (the time of day)
# KV_RAN    a file to which the last line is added, for the end of `make test`
#
# A patch begins with what it does and the rule that it breaks. Its file is found by its
# last part, so that it may move to another directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=60
export SEED=${SEED:-$(date +%s)000}
place=$PWD/build/world-proof
flags="-O2 -g"

build() { # build DIRECTORY
    make --no-print-directory -C "$1" BUILD=build CFLAGS="$flags" build/world/world \
        >"$1/make.out" 2>&1 || { cat "$1/make.out"; return 1; }
}

patched() { # patched PATCH DIRECTORY: apply it to each of its files, wherever they are
    local name file
    while read -r name; do
        file=$(find "$2/src" "$2/include" -name "$(basename "$name")")
        [[ $(wc -l <<<"$file") == 1 && -n $file ]] || { echo "no one $name"; return 1; }
        awk -v name="$name" '/^--- a\// { is_it = $2 == "a/" name }
            is_it' "$1" >"$2/one.patch"
        patch --quiet --forward "$file" "$2/one.patch" || return 1
    done < <(sed -n 's|^--- a/\([^ \t]*\).*|\1|p' "$1")
}

prove() { # prove NAME: prints one line, which begins with what came of it
    local copy=$place/$1 script
    cp -a "$place/plain" "$copy" # with its times: only what is patched is built again
    if ! patched "tests/world/defects/$1.patch" "$copy" >"$copy/out" || ! build "$copy" >"$copy/out"; then
        echo "missed $1: cannot be put in"
        return
    fi
    if ! "$copy/build/world/world" --violations 1 --seed "$SEED" --processor-seconds "$seconds" \
        >"$copy/out" 2>&1; then
        echo "found $1: $(sed -n 's/^\(after [^:]*\): VIOLATION at seed \([0-9]*\): \(.\{0,70\}\).*/\1, seed \2: \3/p;
            s/^shrunk to \([0-9]*\) lines.*/    shrunk to \1 lines/p;
            s/^world: seed .* ended by signal.*/&/p' "$copy/out" | head -2 | tr '\n' ';')"
        rm -rf "$copy/build"
        return
    fi
    for script in tests/world/found/*.world; do
        if ! "$copy/build/world/world" --replay "$script" >"$copy/out" 2>&1; then
            echo "scripted $1: not from fresh seeds in $seconds s, but by $(basename "$script")"
            return
        fi
    done
    echo "missed $1: NOT FOUND in $seconds s, nor by a script"
}

if [[ ${1:-} == --one ]]; then # how it calls itself
    prove "$2"
    exit
fi
rm -rf "$place"
mkdir -p "$place/plain"
cp -r Makefile src include "$place/plain"
ln -s "$PWD/tests" "$place/plain/tests"
build "$place/plain"

names=("$@")
if [[ $# == 0 ]]; then
    mapfile -t names < <(basename -s .patch tests/world/defects/*.patch)
fi
printf '%s\0' "${names[@]}" | xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" tests/world/proof.sh --one |
    tee "$place/results"
count() { grep -c "^$1 " "$place/results" || true; }
line="world-proof: $(count found) defects found from fresh seeds, $(count scripted) by a saved script alone"
missed=$(sed -n 's/^missed \([^:]*\):.*/\1/p' "$place/results" | tr '\n' ' ')
echo "$line${missed:+; missed: $missed}" | tee -a "${KV_RAN:-/dev/null}"
[[ -z $missed && $(count found) -gt 0 ]]
