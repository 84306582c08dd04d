#!/usr/bin/env bash
# Three scripts as a user writes them, over kv: a to-do list, a build cache, and jobs that
# several workers take from one list.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

mkdir "$work/bin"
ln -s "$(dirname -- "$program")/kv" "$work/bin/kv"
PATH=$work/bin:$here/scripts:$PATH
serve "$work/kv.log"
export KV_PORT=$port

check "todo: numbers its entries" "$(todo add write it down; todo add  'and  forget it')" $'1\n2'
check "todo: lists them" "$(todo list)" $'1 write it down\n2 and  forget it'
check "todo: does one" "$(todo 'done' 1; todo list; todo left)" $'2 and  forget it\n1'
check "todo: knows none that is done" "$(todo 'done' 1 2>&1; echo $?)" $'todo: no entry 1\n1'
check "todo: fails without a server" "$(KV_PORT=1 todo list 2>&1 | sed 's/:.*//' | sort -u)" "kv"

printf 'one\n' >"$work/a"
count_calls() { echo x >>"$work/calls"; printf 'made of %s\n\nand more\n' "$(cat "$work/a")"; }
export -f count_calls
export work
cached() { cache "$work/a" -- bash -c count_calls; }
check "cache: makes it once" "$(cached | tail -n 1; cached | head -n 1; wc -l <"$work/calls")" \
    $'and more\nmade of one\n1'
printf 'two\n' >"$work/a"
check "cache: makes it anew for another input" "$(cached | head -n 1; kv get cache.misses)" \
    $'made of two\n2'
printf 'one\n' >"$work/a"
check "cache: has the one before yet" "$(cached | head -n 1; kv get cache.misses)" $'made of one\n2'

seq 30 >"$work/list"
job() { echo "$1" >>"$work/did"; [[ $1 != 13 ]]; }
export -f job
printf '#!/bin/bash\njob "$1"\n' >"$work/bin/job"
chmod +x "$work/bin/job"
check "spread: does each once, whoever does it" \
    "$(spread "$work/list" 4 job; sort -n "$work/did" | cmp - "$work/list" && echo each)" \
    $'29 done, 1 failed\neach'
wc -l "$here"/scripts/* | tail -n 1 | sed 's/^ */# lines of the three: /; s/ total//'
exit 0
