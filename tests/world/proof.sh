#!/usr/bin/env bash
# The world proves itself: each defect of defects/ is put into a copy of the program, and
# has to be found within a minute of the processor's time, from seeds that nobody chose, and shrunk.
#
#     tests/world/proof.sh [NAME...]      without a name: all
#
# SEED      where the seeds begin (the time of day)
# KV_RAN    a file to which the last line is added, for the end of `make test`
#
# A patch begins with what it does and the rule that it breaks. Its file is found by its
# last part, so that it may move to another directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=60
seed=${SEED:-$(date +%s)000}
place=$PWD/build/world-proof
flags="-O2 -g"

build() { # build DIRECTORY
    make --no-print-directory -C "$1" BUILD=build CFLAGS="$flags" build/world/world \
        >"$1/make.out" 2>&1 || { cat "$1/make.out"; return 1; }
}

rm -rf "$place"
mkdir -p "$place/plain"
cp -r Makefile src include "$place/plain"
ln -s "$PWD/tests" "$place/plain/tests"
build "$place/plain"

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

found=0
missed=""
for patch in tests/world/defects/*.patch; do
    name=$(basename "$patch" .patch)
    [[ $# == 0 || " $* " == *" $name "* ]] || continue
    copy=$place/$name
    cp -a "$place/plain" "$copy" # with its times: only what is patched is built again
    if ! patched "$patch" "$copy" || ! build "$copy"; then
        missed+=" $name (cannot be put in)"
        continue
    fi
    if "$copy/build/world/world" --violations 1 --seed "$seed" --processor-seconds "$seconds" \
        >"$copy/out" 2>&1; then
        missed+=" $name"
        echo "$name: NOT FOUND in $seconds s"
        continue
    fi
    found=$((found + 1))
    echo "$name: $(sed -n 's/^\(after [^:]*\): VIOLATION at seed \([0-9]*\): \(.\{0,70\}\).*/\1, seed \2: \3/p;
        s/^shrunk to \([0-9]*\) lines.*/    shrunk to \1 lines/p;
        s/^world: seed .* ended by signal.*/&/p' "$copy/out" | head -2 | tr '\n' ';')"
    rm -rf "$copy/build"
done
line="world-proof: $found defects found${missed:+; missed:$missed}"
echo "$line" | tee -a "${KV_RAN:-/dev/null}"
[[ -z $missed ]]
