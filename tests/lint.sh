#!/bin/bash
# Static checks: clang-tidy, cppcheck, who includes whom, the map in README.md, tests that
# measure or wait for real time, and the ceilings on lengths and parameters.
set -u
cd "$(dirname "$0")/.." || exit 1
failures=0
fail() {
    echo "lint: $*"
    failures=$((failures + 1))
}

# A file includes only files of a lower level. The gaps in knowledge that levels alone
# do not express stand below.
levels="
platform:0 version:0 bounds:0 status:0 slice:0 bytes:0 clock:0
buffer:1 crc32c:1 hash:1 utf8:1 diag:1
progress:2 io:2 stop:2
record:3 index:3 protocol:3 mapping:3
scan:4 files:4
place:5 torn:5
log:6 keydir:7 load:8 lookup:8 rewrite:8 salvage:9 snapshot:8 logset:9 import:10 recover:11 verify:11 dump:11 transaction:8 compact:9 store:12
conn:13 listener:13 notify:13 replies:14 commands:15 session:16 server:17 options:18 main:19
"
level_of() {
    tr ' ' '\n' <<<"$levels" | sed -n "s/^$1://p"
}
for file in src/*.c include/*.h; do
    module=$(basename "${file%.*}")
    level=$(level_of "$module")
    [ -n "$level" ] || { fail "$file: module has no level in tests/lint.sh"; continue; }
    for included in $(sed -n 's/^#include "\(.*\)\.h"/\1/p' "$file"); do
        [ "$included" = "$module" ] && continue
        included_level=$(level_of "$included")
        if [ -z "$included_level" ] || [ "$included_level" -ge "$level" ]; then
            fail "$file includes $included.h, which is not below it"
        fi
    done
done
deny() { # deny FILES HEADERS: none of these files includes any of these headers
    for file in $1; do
        for header in $2; do
            grep -q "#include [\"<]${header}[\">]" "$file" && fail "$file includes $header"
        done
    done
}
below_net="src/store.c src/recover.c src/import.c src/keydir.c src/log.c src/files.c src/place.c src/torn.c src/io.c
    src/mapping.c src/index.c src/record.c src/scan.c src/protocol.c include/store.h"
network="sys/socket.h netinet/in.h netinet/tcp.h netdb.h arpa/inet.h"
deny "$below_net src/commands.c src/options.c src/main.c" "$network"
deny "src/store.c src/recover.c src/keydir.c src/log.c src/import.c" "protocol.h"
deny "src/conn.c include/conn.h" "io.h protocol.h store.h log.h"
deny "src/protocol.c include/protocol.h" "unistd.h sys/socket.h fcntl.h"

# The map in README.md names every module, and nothing that is gone.
map=$(sed -n '/^## Where things are/,/^## /p' README.md | grep '^| `' | cut -d '|' -f 2 |
    grep -o '`[a-z0-9_]*`' | tr -d '`')
for file in src/*.c include/*.h; do
    module=$(basename "${file%.*}")
    grep -qx "$module" <<<"$map" || fail "README.md: the map does not name $module ($file)"
done
for module in $map; do
    [ -e "src/$module.c" ] || [ -e "include/$module.h" ] ||
        fail "README.md: the map names $module, which is not there"
done

# tests/README.md names every program, script, helper and target, and no test that is gone.
page=tests/README.md
for file in tests/test_*.c tests/torture.c tests/*.sh tests/bench/*.sh tests/fuzz/run.sh \
    tests/support/*.h tests/fuzz/fuzz_*.c tests/clients/*.sh tests/clients/*.exp; do
    name=${file#tests/}
    name=${name#support/}
    name=${name%.[ch]}
    case $name in
    fuzz/fuzz_*) name=${name#fuzz/} ;;
    clients/run.sh) ;;
    clients/*) name=${name#clients/} name=${name%.*} ;;
    esac
    grep -q "\`$name\`" "$page" || fail "$page does not name $file"
done
targets='^(test|check|lint|bench|fuzz|mutants|coverage|torture)'
for target in $(sed -n 's/^#: \([a-z-]*\) .*/\1/p' Makefile | grep -E "$targets"); do
    grep -qE "\`(make )?${target}[\` ]" "$page" || fail "$page does not name make $target"
done
for name in $(sed -n '/^## Track record/,$p' "$page" | grep -oE '`[a-z0-9]+_[a-z0-9_]+`' |
    tr -d '`'); do
    grep -qE "^static void $name\(" tests/*.c || fail "$page: there is no test $name"
done

# No test depends on how fast the machine is: time is the shim's (support/shim.h), what is
# waited for is an event, and what bounds a hang is support/watchdog.h or $seconds_max.
# What kills at random moments (torture) and measures speed (bench) may look at a clock.
timed='\b(nanosleep|clock_nanosleep|usleep|sleep|gettimeofday|timespec_get|setitimer|timer_create|time|times|clock)\('
timed+='|(^|[^_])clock_gettime\(|\b(sigtimedwait|SO_RCVTIMEO|SO_SNDTIMEO|RLIMIT_CPU)\b'
timed+='|\bpoll\([^()]*, *[1-9][0-9]*\)|\balarm\([^W]'
for place in $(grep -nE "$timed" tests/test_*.c | cut -d : -f 1,2); do
    fail "$place: real time; see support/shim.h for the clock of tests"
done
timed='(^|[^a-z_])(sleep|usleep) |EPOCH(REALTIME|SECONDS)|\$SECONDS|\bdate \+|\btimeout [0-9]'
timed+='|read .*-t *[0-9]|--max-time|--connect-timeout|time\.(sleep|time|perf_counter)\('
for place in $(grep -nE "$timed" tests/clients/* tests/test_*.sh tests/install.sh \
    tests/service.sh 2>/dev/null | grep -v -e run.sh: -e telnet.exp: | cut -d : -f 1,2); do
    fail "$place: real time; await an event, and bound the wait by \$seconds_max"
done

# Functions of at most 70 lines, files of at most 500.
long=$(awk '
    FNR == 1 { start = 0 }
    /^\{/ { start = FNR }
    /^\}/ { if (start && FNR - start > 70) print FILENAME ":" start; start = 0 }
' src/*.c)
[ -z "$long" ] || fail "functions over 70 lines: $long"
# Functions of at most four parameters: so many commas between the parentheses.
wide=$(awk '
    /^[A-Za-z_][A-Za-z0-9_ *]*\(/ && !/^static_assert/ {
        depth = 0
        commas = 0
        place = FILENAME ":" FNR
        is_open = 1
    }
    is_open {
        for (i = 1; i <= length($0) && is_open; i++) {
            c = substr($0, i, 1)
            depth += (c == "(") - (c == ")")
            commas += c == "," && depth == 1
            if (c == ")" && depth == 0) is_open = 0
        }
        if (!is_open && commas > 3) print place
    }
' src/*.c include/*.h)
[ -z "$wide" ] || fail "functions of more than four parameters: $wide"
for file in src/*.c include/*.h; do
    [ "$(wc -l <"$file")" -le 500 ] || fail "$file is over 500 lines"
done

flags="-std=c11 -D_POSIX_C_SOURCE=200809L -Iinclude"
# Unquoted on purpose: the flags are a list.
# shellcheck disable=SC2086
clang-tidy --quiet src/*.c -- $flags 2>/dev/null || fail "clang-tidy"
# shellcheck disable=SC2086
cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning,performance,portability \
    --suppress=missingIncludeSystem -Iinclude -D_POSIX_C_SOURCE=200809L src || fail "cppcheck"

if [ "$failures" -gt 0 ]; then
    echo "lint: $failures failures"
    exit 1
fi
echo "lint: include levels, module map, lengths, clang-tidy and cppcheck are silent"
