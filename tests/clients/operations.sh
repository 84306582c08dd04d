#!/usr/bin/env bash
# What an operator meets: options, exit statuses, files and their rights, signals, locks.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

cd -- "$work" || exit 1

figure() { # figure NAME: from STATS
    echo STATS | nc_plain | sed -n "s/^$1 //p"
}

# How long it takes is told by test_server_clock, on a clock that stands still.
stops_cleanly() { # stops_cleanly NAME SIGNAL
    stop_server "$2"
    check "$1: exit status" "$server_status" 0
}

# Usage.
for option in --help -h; do
    run_program "$option"
    check "$option: exit status" "$run_status" 0
    check "$option: stderr is silent" "$(cat run.stderr)" ""
done
manual=$here/../../src/kv-store.1
run_program --help
check "the manual names the options of --help, and no other" \
    "$(sed -nE 's/^\.It Fl //p' "$manual" | grep -oE '(^|Fl )-?[-a-zA-Z]+' |
        sed -E 's/Fl //; s/^(-?)/-\1/' | sort | xargs)" \
    "$(sed -nE 's/^ +((-[a-zA-Z], )?--[-a-z]+).*/\1/p' run.stdout | sed 's/, /\n/' | sort | xargs)"
missing=
while IFS= read -r text; do # of all there are: those that no client is told stand at the end
    grep -qF -e "Ql $text" "$manual" || missing+=" $text,"
done < <(sed -nE 's/^    \[KV_[A-Z0-9_]+\] = "(.*)",$/\1/p' "$here/../../src/base/status.c" |
    grep -vxE 'in use|incomplete|behind')
check "the manual names every error and reply" "not named:$missing" "not named:"
missing=
for status in 0 1 2 3 129 130 143; do
    sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EX/p' "$manual" | grep -qE "^\.It .*\b$status\b" || missing+=" $status"
done
check "the manual names every exit status" "not named:$missing" "not named:"
for option in --version -V; do
    run_program "$option"
    check "$option: exit status" "$run_status" 0
    check "$option: one line with a number" "$(grep -cE '^kv-store .*[0-9]' run.stdout)" \
        "$(wc -l <run.stdout)"
    check "$option: stderr is silent" "$(cat run.stderr)" ""
done

mkdir nowhere
misused() { # misused ARGUMENT...: wrong usage, told in a line with one on help behind it, and nothing is done
    # A program that starts all the same does so on a free port, and not for ever.
    (cd nowhere && timeout "$seconds_max" "$program" --port 0 "$@") >run.stdout 2>run.stderr </dev/null
    run_status=$?
    if [[ $run_status -ne 2 ]]; then
        not_ok "wrong usage: $*" "exit status $run_status: $(cat run.stderr)"
    elif [[ $(wc -l <run.stderr) -ne 2 || -s run.stdout ||
        $(tail -n 1 run.stderr) != 'kv-store: see kv-store --help' ]]; then
        not_ok "wrong usage: $*" "not a line and where help is: $(cat run.stdout run.stderr)"
    elif [[ -n $(ls -A nowhere) ]]; then
        not_ok "wrong usage: $*" "files were made: $(ls -A nowhere)"
    else
        ok "wrong usage: $*"
    fi
    rm -f nowhere/*
}
# What is wrong of each option is test_options' to say.
misused --port 65536
misused --port
misused --frobnicate
misused -x
misused extra

# A start on a new log: one line, and stdout is silent to the end.
serve log
check "the ready line is the only line of a start on a new log" "$(cat stderr)" \
    "kv-store: listening on 127.0.0.1:$port"
talks "a ready server serves" $'SET a b\nGET a\nCOUNT\n' $'success\nb\n1\n' nc_plain
check "by default every write is synced" "$(figure sync)" always

# Others that want what this one has.
run_program --file other.log --port "$port"
check "address in use: exit status" "$run_status" 1
check "address in use: one line tells" "$(wc -l <run.stderr) $(grep -c "$port" run.stderr)" \
    "1 1"
cp log log.before
run_program --file log --port 0
check "log in use: exit status" "$run_status" 1
check "log in use: one line tells" "$(wc -l <run.stderr) $(grep -c 'log: ' run.stderr)" "1 1"
if unshare --pid --fork true 2>/dev/null; then
    unshare --pid --fork "$program" --file log --port 0 2>apart.stderr
    check "log in use, by one that has no number here: no number is told" \
        "$? $(sed 's/.*log: //' apart.stderr)" "1 is in use by another process; giving up"
else
    not_run "a log in use by a process of another namespace" "no namespaces of processes"
fi
head -c "$(stat -c %s log.before)" log >log.beginning
same "log in use: the log is untouched" log.beginning log.before
talks "log in use: the first server still serves" $'GET a\n' $'b\n' nc_plain
stops_cleanly "SIGTERM, idle" TERM
check "stdout was silent" "$(cat stdout)" ""
succeeds "after a clean stop every mark is as drawn" python3 "$here/seals.py" log
check "reader: the data is in the log" "$(python3 "$here/reader.py" log)" "a b"

serve log
cp log log.before
blocked_port=$port
stop_server TERM
serve other.log --port "$blocked_port"
cp log log.before
run_program --file log --port "$blocked_port"
check "address in use: exit status with a log that has data" "$run_status" 1
same "address in use: the log is untouched" log log.before
stop_server TERM
serve log
talks "address in use: the lock is free again" $'GET a\n' $'b\n' nc_plain
stops_cleanly "SIGINT, idle" INT

serve log
stops_cleanly "SIGHUP, idle" HUP

# Files are private whatever the umask says.
(
    umask 0
    serve private
    talks "umask 0: the server serves" $'SET a b\n' $'success\n' nc_plain
    check "umask 0: the log and its lock are private" \
        "$(stat -c '%n %a' private private.* | paste -sd ' ')" "private 600 private.lock 600"
    stop_server TERM
    check "umask 0: every file is private after the stop" \
        "$(stat -c %a private private.* | sort -u)" 600
)

# What is no regular file with one name is refused, and what it names is not harmed; of
# which kinds there are test_files knows more.
refused() { # refused NAME PATH
    run_program --file "$2" --port 0
    check "$1 is refused" "$run_status" 1
    check "$1: one line tells" "$(wc -l <run.stderr)" 1
}
cp log target
ln -s target link
refused "a symbolic link" link
same "a symbolic link: its target is untouched" target log
mkfifo pipe
refused "a FIFO" pipe
refused "an empty path" ''
refused "a path through a file" target/log

# Limits and ways to run.
serve small --max-value 1K
{
    printf 'SET fits '
    repeated v 1024
    printf '\nSET over '
    repeated v 1025
    printf '\nEXISTS fits\nEXISTS over\n'
} | nc_plain >got
check "--max-value 1K: 1024 bytes fit, 1025 do not" "$(paste -sd '|' got)" \
    'success|error: value too long|1|0'
stop_server TERM

serve lazy --sync everysec
check "--sync everysec: STATS says so" "$(figure sync)" everysec
seq 1 20000 | sed 's/.*/SET k& v&/' | nc_plain >got
successes 20000 >expected
same "--sync everysec: writes are answered" got expected
stop_server KILL
serve lazy --sync everysec
talks "--sync everysec: all is there after kill -9" $'COUNT\nDELETE k1\n' $'20000\nsuccess\n' nc_plain
stop_server TERM
check "--sync everysec: a clean stop" "$server_status" 0
succeeds "--sync everysec: every mark is as drawn" python3 "$here/seals.py" lazy everysec

# Output that somebody has enough of, or that nobody can get.
"$program" --file lazy --dump 2>dump.stderr | head -n 1 >dump.first
check "--dump | head: ends quietly, with status 0" \
    "${PIPESTATUS[0]} $(cut -c 1-5 dump.first) $(wc -c <dump.stderr)" "0 SET k 0"
mkfifo enough
head -c 0 enough & # it opens, and goes
exec {enough}>enough
wait $!
"$program" --file lazy --verify >&"$enough" 2>verify.stderr
check "--verify to a reader that has gone: ends quietly, with its verdict" \
    "$? $(wc -c <verify.stderr)" "0 0"
exec {enough}>&-
"$program" --file lazy --dump >&- 2>dump.stderr
check "--dump to no output is an error" "$? $(wc -l <dump.stderr)" "1 1"

# Where what is closed cannot be replaced by /dev/null, the log would be what messages go to.
mkdir jail
ldd "$program" 2>/dev/null | grep -oE '/[^ ]+' | xargs -I{} cp --parents {} jail
cp -- "$program" jail/kv-store
if chroot jail /kv-store --version >/dev/null 2>&1; then
    timeout "$seconds_max" chroot jail /kv-store --file /log --port 0 >jail.out </dev/null 2>&-
    check "no standard descriptors, and none to be had: nothing is begun" \
        "$? $(cat jail.out; ls jail)" "1 $(ls --ignore='log*' jail)"
else
    not_run "no standard descriptors, and none to be had" "the program does not start in another root here"
fi

# Conventions of a line, and what a client sees that is alone.
serve conventions
check "alone, nobody waits, and no compaction has come anywhere" \
    "$(figure waiting) $(figure compaction_percent)" "0 0"
talks "spaces behind a whole command are passed over" \
    $'SET k v  \nGET k \nCOUNT \nEXISTS k  \nDELETE k \nCOUNT  \nQUIT \n' \
    $'success\nv  \n1\n1\nsuccess\n0\n' nc_plain
talks "HELP SET tells that one" $'HELP SET\n' \
    "$(echo HELP | nc_plain | grep '^SET ')"$'\n\n' nc_plain
stop_server TERM

serve named --address localhost
talks "--address takes a host name" $'COUNT\n' $'0\n' \
    timeout "$seconds_max" nc.openbsd -N localhost "$port"
stop_server TERM

if grep -q '^00000000000000000000000000000001 ' /proc/net/if_inet6 2>/dev/null; then
    serve six -a ::1
    check "IPv6: the ready line has brackets" "$(cat stderr)" \
        "kv-store: listening on [::1]:$port"
    talks "IPv6: nc -6" $'SET six sechs\nGET six\n' $'success\nsechs\n' \
        timeout "$seconds_max" nc.openbsd -6 -N ::1 "$port"
    talks "IPv6: curl" $'GET six\nQUIT\n' $'sechs\n' timeout "$seconds_max" \
        curl -sS --noproxy '*' --no-buffer "telnet://[::1]:$port"
    stop_server TERM
    check "IPv6: a clean stop" "$server_status" 0
fi
exit 0
