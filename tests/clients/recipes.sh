#!/usr/bin/env bash
# What the pages show is what happens. Every fenced block of README.md, src/README.md and
# src/recipes.md is taken from there by its language and run as it stands; nothing of a block
# is repeated here.
#
#     ```sh, ```bash     a recipe for that shell: exit status 0, nothing on stderr, and on
#                        stdout exactly the ```output block under it, or nothing
#     ```session         lines for a connection, and their replies in the ```output block
#     ```text --help     what the program prints when asked so
#     ```text kv.log     a log's bytes
#
# The blocks under one heading share a directory and a server with its log in ./kv.log. A
# word behind the language says what the recipe meets; the text above it tells the reader:
#
#     offline    the server has been stopped; the next recipe finds it started again
#     killed     the server has died of kill -9
#     damaged    offline, and a byte of its log has been changed
#     busy       another client overwrites keys all the while, so that compactions run
#
# Another port than 7878 that a block names belongs to another server, started empty; a
# recipe that calls redis-cli needs a redis-server. The ports from 7000 to 7003 are its own to
# listen on, here others that are free. With the second netcat and the third those blocks are
# run again that call one.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

pages=(README.md src/recipes.md src/README.md)
manual=$here/../../src/kv-store.1

declare -A port_of=()
scene=0

mkdir "$work/bin"
ln -s "$program" "$work/bin/kv-store"
ln -s "$(dirname -- "$program")/kv" "$work/bin/kv"
PATH=$work/bin:$PATH

# The only change made to a recipe: where the servers are, and which netcat is at hand.
for_here() { # for_here <RECIPE
    local edits="s/\b7878\b/$port/g; s/\bnc -N /$netcat /g; s/\bredis-cli (-[cp]|--cluster)/redis-client \1/g"
    edits+="; s|\bredis-cli\b|& -s $redis_socket|g; s/redis-client/redis-cli/g"
    local other
    for other in "${!port_of[@]}"; do
        edits+="; s/\b$other\b/${port_of[$other]}/g"
    done
    sed -E "$edits"
}

# Write each block to a file of its own, NUMBER.block, with its language, words, heading and
# output beside it. Fails on anything between fences that no test would look at.
extract() { # extract PAGE DIRECTORY
    awk -v to="$2/" '
        function fail(why) { print "line " NR ": " why; failed = 1; exit 1 }
        /^```/ && inside { inside = 0; close(file); next }
        /^```output$/ {
            if (!expects_output) fail("output of nothing")
            inside = 1; expects_output = 0; file = block ".output"; next
        }
        /^```(sh|bash)( (offline|killed|damaged|busy))?$/ || /^```session$/ || /^```text (--help|kv\.log)$/ {
            inside = 1; expects_output = $1 != "```text"
            block = sprintf("%s%03d", to, ++count); file = block ".block"
            print substr($1, 4) > (block ".language")
            print $2 > (block ".word")
            print heading > (block ".heading")
            printf "" > (block ".output")
            close(block ".language"); close(block ".word"); close(block ".heading")
            next
        }
        /^```/ { fail("a fence of no known kind: " $0) }
        inside { print > file; next }
        /^#+ / { heading = $0; sub(/^#+ /, "", heading); expects_output = 0 }
        END { if (!failed && inside) { print "a block without an end"; exit 1 } }
    ' "$1"
}

# The same of the manual's examples: after each `$ ` a command, then what it prints.
extract_manual() { # extract_manual MANUAL DIRECTORY
    awk -v to="$2/" '
        /^\.Sh / { wanted = /EXAMPLES/ }
        !wanted { next }
        /^\.\\" offline$/ { word = "offline" }
        /^\.Bd / {
            inside = 1; block = sprintf("%s%03d", to, ++count)
            print "sh" > (block ".language")
            print word > (block ".word")
            print "EXAMPLES" > (block ".heading")
            printf "" > (block ".output")
            word = ""; next
        }
        /^\.Ed/ { inside = 0 }
        inside { gsub(/\\e/, "\\") }
        inside && sub(/^\$ /, "") { print > (block ".block"); next }
        inside { print > (block ".output") }
    ' "$1"
}

# recipe NAME SHELL FILE OUTPUT [busy]: run a recipe here, and compare. A busy one may say
# on stderr which of its attempts failed.
recipe() {
    local name=$1 status
    for_here <"$3" >"$work/recipe"
    export KV_PORT=$port # kv's default is the 7878 of the page
    timeout "$seconds_max" "$2" "$work/recipe" >"$work/recipe.stdout" \
        2>"$work/recipe.stderr" </dev/null
    status=$?
    if ! cmp -s -- "$work/recipe.stdout" "$4"; then
        not_ok "$name" "expected $(cat -v "$4"), got $(cat -v "$work/recipe.stdout")$(
            cat -v "$work/recipe.stderr")"
    elif [[ -s $work/recipe.stderr && $# -lt 5 ]]; then
        not_ok "$name" "on stderr: $(cat -v "$work/recipe.stderr")"
    elif [[ $status -ne 0 ]]; then
        not_ok "$name" "exit status $status"
    else
        ok "$name"
        return 0
    fi
    return 1
}

# A writer that overwrites the same keys in order and has the log compacted, round after
# round, until `loading` is gone; it says when each round is acknowledged.
write_rounds() {
    local round=0 tally
    while [[ -e loading ]]; do
        round=$((round + 1))
        tally=$({
            echo COMPACT
            seq 2000 | sed "s/.*/SET load& $round $(printf '%0500d' 0)/"
        } | nc_plain | sort | uniq -c)
        [[ $tally =~ ^\ *2001\ success$ ]] || break
        echo "$round"
    done
}

# A copy holds a beginning of what was written: the first keys are of one round, the rest
# of the round before.
copied_rounds() {
    kv-store --file backup/kv.log --dump 2>"$work/copied.stderr" |
        sed -n 's/^SET load\([0-9]*\) \([0-9]*\) .*/\1 \2/p' | sort -n | awk '
            NR == 1 { newest = last = $2 }
            $2 > last || $2 < newest - 1 { wrong = wrong " " $0 }
            { last = $2 }
            END { print NR " keys, " (wrong == "" ? "in order" : "wrong:" wrong) }'
}

# The recipe, over and over, while 12 rounds are written.
busy_recipe() { # busy_recipe NAME SHELL FILE OUTPUT busy
    local writer round=0 first copies=0 wrong=0
    seq 8000 | sed "s/.*/SET still& $(printf '%01000d' 0)/" | nc_plain >/dev/null
    touch loading
    mkfifo rounds
    write_rounds >rounds &
    writer=$!
    exec {rounds}<rounds
    IFS= read -r -t "$seconds_max" -u "$rounds" first
    recipe "$@" || wrong=1
    check "$1: the copy has all that was acknowledged, and nothing after its end" \
        "$(copied_rounds)" "2000 keys, in order"
    while [[ $wrong -eq 0 ]] && IFS= read -r -t "$seconds_max" -u "$rounds" round; do
        [[ $round -lt 12 ]] || break
        recipe "$1 again" "${@:2}" >"$work/again" || wrong=1
        copies=$((copies + 1))
        [[ $(copied_rounds) == "2000 keys, in order" ]] || wrong=1
    done
    check "$1: again and again while 12 rounds were written" \
        "${first:-none} $((round >= 12 && copies > 0)) $wrong" "1 1 0"
    [[ $wrong -eq 0 ]] || cat "$work/again"
    rm loading
    cat <&"$rounds" >/dev/null
    exec {rounds}<&-
    wait "$writer"
    between_two_logs "$@"
}

# The same where a compaction stands still: with both of its logs the backup is whole, and
# with one of them the recipe must not say so, nor take away the one that is there.
between_two_logs() { # between_two_logs NAME SHELL FILE OUTPUT busy
    local attempt
    for ((attempt = 0; attempt < 20; attempt++)); do
        echo COMPACT | nc_plain >/dev/null
        kill -STOP "$server_pid"
        # A drained mark, 44 bytes of text, says that the older log is not needed any more.
        [[ -e kv.log.old ]] && ! grep -aq ',d4a1' kv.log && break
        kill -CONT "$server_pid"
    done
    mkdir both one
    cp kv.log.old kv.log both/
    cp kv.log one/
    kill -CONT "$server_pid"
    cd both && recipe "$1, within a compaction" "${@:2}"
    cd ../one && fails_and_keeps "$1, without its older log" "$2" "$3"
    cd ..
}

# The recipe says by its status that there is no new backup, and the one of before stays.
fails_and_keeps() { # fails_and_keeps NAME SHELL FILE
    mkdir backup
    touch backup/kept
    for_here <"$3" >"$work/recipe"
    timeout "$seconds_max" "$2" "$work/recipe" >"$work/recipe.stdout" 2>"$work/recipe.stderr" </dev/null
    check "$1: it fails, and the backup of before stays" \
        "$? $(cat "$work/recipe.stdout")$(ls backup)" "3 kept"
}

damage_log() { # in the value `two` of the log that is served here
    local offset
    offset=$(grep -abo '[a-z]two' kv.log | head -n 1 | cut -d : -f 1)
    printf 'X' | dd of=kv.log bs=1 seek="$((offset + 1))" conv=notrunc status=none
}

# Ports that nobody listens on, nor on those of a cluster's bus, which are 10000 more; all below
# those that a system gives to clients, one of which might take it at any moment.
free_ports() { # free_ports COUNT
    python3 -c '
import random, socket, sys
ports = random.sample(range(18000, 22700), 1000)
for _ in range(int(sys.argv[1])):
    while True:
        port = ports.pop()
        try:
            for number in port, port + 10000:
                with socket.socket() as it:
                    it.bind(("127.0.0.1", number))
        except OSError:
            continue
        print(port)
        break' "$1"
}

# Start what the blocks under a heading need, in a directory of its own.
begin() { # begin FILE...
    local other others ports
    scene=$((scene + 1))
    mkdir "$work/scene$scene" && cd "$work/scene$scene" || exit 1
    port_of=()
    mapfile -t others < <(grep -ohE '\b700[0-3]\b' -- "$@" | sort -u)
    if [[ ${#others[@]} -gt 0 ]]; then
        mapfile -t ports < <(free_ports "${#others[@]}")
        for other in "${!others[@]}"; do
            port_of[${others[other]}]=${ports[other]}
        done
    fi
    mapfile -t others < <(grep -ohE '\b78(79|8[0-9])\b' -- "$@" | sort -u)
    for other in "${others[@]}"; do
        serve "$other.log"
        port_of[$other]=$port
        keep_server
    done
    serve kv.log
}

finish() { # finish HEADING
    local statuses=0
    if [[ -n $server_pid ]]; then
        stop_server TERM
        statuses=$server_status
    fi
    stop_kept_servers
    check "$1: the servers stop cleanly" "$statuses $kept_status" "0 0"
    stop_redis
}

# block FILE NAME: whatever kind it is.
block() {
    local file=$1 name=$2 language word output=${1%.block}.output
    language=$(cat "${file%.block}.language")
    word=$(cat "${file%.block}.word")
    if [[ $word == killed ]]; then
        [[ -z $server_pid ]] || stop_server KILL
    elif [[ $word == offline || $word == damaged ]]; then
        [[ -z $server_pid ]] || stop_server TERM
        [[ $word == offline ]] || damage_log
    elif [[ -z $server_pid ]]; then
        serve kv.log
    fi
    if [[ $language != text ]] && grep -q '\bredis-cli\b' "$file" && ! start_redis; then
        not_run "$name" "no redis-server"
    elif [[ $language == session ]]; then
        nc_plain <"$file" >"$work/recipe.stdout"
        same "$name" "$work/recipe.stdout" "$output"
    elif [[ $word == --help ]]; then
        run_program --help
        same "$name: --help" "$work/run.stdout" "$file"
    elif [[ $word == kv.log ]]; then
        show_log "$file" "$name"
    elif [[ $word == busy && $netcat == "$netcat_first" ]]; then
        busy_recipe "$name" "$language" "$file" "$output" busy
    else
        recipe "$name" "$language" "$file" "$output"
    fi
}

# The bytes that a page shows are a log, and the log that the text around them tells of.
show_log() { # show_log FILE NAME
    python3 "$here/hexdump.py" "$1" shown.log >shown.dump
    same "$2: the text beside the bytes is theirs" "$1" shown.dump
    succeeds "$2: every mark of them is as drawn" python3 "$here/seals.py" shown.log
    succeeds "$2: the program takes them for a whole log" kv-store --file shown.log --verify
    talks "$2: the text's command" $'SET a hello\n' $'success\n' nc_plain
    stop_server TERM
    python3 "$here/reader.py" shown.log >shown.data
    python3 "$here/reader.py" kv.log >real.data
    same "$2: they hold the data of a real log" shown.data real.data
    check "$2: they are as many as in a real log" "$(stat -c %s shown.log)" \
        "$(stat -c %s kv.log)"
    check "$2: they are of the version that a real log has" "$(head -c 36 shown.log | tail -c 20)" \
        "$(head -c 36 kv.log | tail -c 20)"
}

# Whether blocks are run with the netcat of now: once with the first; with another if they
# call netcat, and what they do there is not the work of other servers.
is_about_netcat() { # is_about_netcat FILE...
    [[ $netcat == "$netcat_first" ]] ||
        { grep -q '\bnc -N ' -- "$@" && ! grep -q '\bredis-server\b' -- "$@"; }
}

# run_all SOURCE DIRECTORY: the blocks under each heading in turn.
run_all() {
    local file heading title last='' count together
    for file in "$2"/*.block; do
        heading=$(cat "${file%.block}.heading")
        mapfile -t together < <(grep -lxF -- "$heading" "$2"/*.heading)
        is_about_netcat "${together[@]/%heading/block}" || continue
        if [[ $heading != "$last" ]]; then
            [[ -z $last ]] || finish "$title"
            title="$1: $heading"
            last=$heading
            count=0
            begin "${together[@]/%heading/block}"
        fi
        count=$((count + 1))
        block "$file" "$title, block $count"
    done
    [[ -z $last ]] || finish "$title"
}

# The recipes' kvget is to be kept in a script: what its block does not show of it.
kvget_alone() { # kvget_alone DIRECTORY
    local name="src/recipes.md: kvget"
    begin /dev/null
    sed -n '/^kvget() {/,/^}/p' "$1"/*.block | for_here >kvget
    # shellcheck disable=SC2016 # The script expands it.
    echo 'kvget "$1"' >>kvget
    printf 'SET %s\n' 'empty ' 'spaces   two  words  ' $'cr one\r\r' 'escapes \n%s\\t' \
        'text error: of mine' 'rotten two' "megabyte $(printf '%01048576d' 0)" >sets
    check "$name: values to try it with" "$(nc_plain <sets | uniq -c)" "      7 success"
    kvgets() { # kvgets KEY STATUS VALUE-AND-LF
        timeout "$seconds_max" sh kvget "$1" >got 2>why
        check "$name: status of ${1@Q}" "$?" "$2"
        printf '%s' "$3" >expected
        same "$name: value of ${1@Q}" got expected
    }
    kvgets empty 0 $'\n'
    kvgets spaces 0 $'  two  words  \n'
    kvgets cr 0 $'one\r\n'
    kvgets escapes 0 $'\\n%s\\\\t\n'
    kvgets text 0 $'error: of mine\n'
    kvgets megabyte 0 "$(printf '%01048576d' 0)"$'\n'
    kvgets nothing 1 ''
    kvgets $'empty\nDELETE empty' 2 ''
    kvgets empty 0 $'\n'
    damage_log
    kvgets rotten 2 ''
    check "$name: says why on stderr" "$(cat why)" "error: corrupt value"
    stop_server TERM
    kvgets empty 2 ''
}

mkdir "$work/manual"
for page in "${pages[@]}"; do
    mkdir "$work/${page//\//.}"
    why=$(extract "$here/../../$page" "$work/${page//\//.}")
    check "$page: every fenced block is of a kind that is tested" "$? $why" "0 "
done
netcat_first="nc.openbsd -N"
for netcat in "$netcat_first" "nc.traditional -q 60" "busybox nc"; do
    for page in "${pages[@]}"; do
        run_all "$page, $netcat" "$work/${page//\//.}"
    done
done
netcat=$netcat_first
kvget_alone "$work/src.recipes.md"
extract_manual "$manual" "$work/manual"
run_all "kv-store.1" "$work/manual"
exit 0
