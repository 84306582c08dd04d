#!/bin/bash
# Static checks: clang-tidy, cppcheck, who includes whom by the map in src/README.md, tests that
# measure or wait for real time, and the ceilings on lengths and parameters.
set -u
cd "$(dirname "$0")/.." || exit 1
failures=0
fail() {
    echo "lint: $*"
    failures=$((failures + 1))
}

# The table of rooms in src/README.md: a line "room/file" for each file, lowest first.
map=$(sed -n '/^## Where things are/,/^## /p' src/README.md | awk -F '|' '
    /^\| `[a-z]*\/` / || /^\| \(top\)/ {
        room = $2
        gsub(/[` ]|\(top\)/, "", room)
        count = split($3, words, /[^a-z0-9_]+/)
        for (i = 1; i <= count; i++) if (words[i] != "") print room words[i]
    }')
place_of() { # place_of FILE-WITHOUT-ENDING: its line in the table, or nothing
    grep -nx "$1" <<<"$map" | cut -d : -f 1
}
for file in src/*.c src/*/*.c include/*.h include/*/*.h; do
    name=${file#*/}
    name=${name%.*}
    place=$(place_of "$name")
    [ -n "$place" ] || { fail "src/README.md: the map does not name $name ($file)"; continue; }
    for included in $(sed -n 's/^#include "\(.*\)\.h"/\1/p' "$file"); do
        included_place=$(place_of "$included")
        [ "$included" = "$name" ] || [ "${included_place:-$place}" -lt "$place" ] ||
            fail "$file includes $included.h, which is not below it"
    done
done
for name in $map; do
    [ -e "src/$name.c" ] || [ -e "include/$name.h" ] ||
        fail "src/README.md: the map names $name, which is not there"
done

# What the order of rooms alone does not say.
deny() { # deny HEADERS FILE...: none of these files includes any of these headers
    local headers=$1 found
    shift
    found=$(grep -lE "^#include [\"<]($headers)[\">]" "$@") && fail "$headers: included by $found"
}
deny 'sys/socket\.h|netinet/.*|netdb\.h|arpa/.*' src/{file,log,engine,offline}/*.c src/{main,options}.c
deny 'offline/.*' src/net/*.c include/net/*.h
deny 'engine/.*|log/.*|file/.*' src/net/{protocol,conn,listener}.c include/net/{protocol,conn,listener}.h
deny 'unistd\.h|sys/socket\.h|fcntl\.h' src/net/protocol.c
deny '(file|log|engine|offline|net)/.*' src/kv.c

# tests/README.md names every program, script, helper and target, and no test that is gone.
page=tests/README.md
for file in tests/unit/test_*.c tests/server/*.c tests/*.sh tests/*.py tests/bench/*.sh tests/fuzz/run.sh \
    tests/power/run.sh tests/support/*.h tests/fuzz/fuzz_*.c tests/clients/*.sh tests/clients/*.exp; do
    name=${file#tests/}
    name=${name#unit/}
    name=${name#server/}
    name=${name#support/}
    name=${name%.[ch]}
    case $name in
    fuzz/fuzz_*) name=${name#fuzz/} ;;
    clients/run.sh) ;;
    clients/*) name=${name#clients/} name=${name%.*} ;;
    esac
    grep -q "\`$name\`" "$page" || fail "$page does not name $file"
done
targets='^(test|check|lint|bench|fuzz|mutants|mutate|coverage|torture)'
for target in $(sed -n 's/^#: \([a-z-]*\) .*/\1/p' Makefile | grep -E "$targets"); do
    grep -qE "\`(make )?${target}[\` ]" "$page" || fail "$page does not name make $target"
done
for name in $(sed -n '/^## Track record/,$p' "$page" | grep -oE '`[a-z0-9]+_[a-z0-9_]+`' |
    tr -d '`'); do
    grep -qE "^static void $name\(" tests/*/*.c || fail "$page: there is no test $name"
done

# No test depends on how fast the machine is: time is the shim's (support/shim.h), what is
# waited for is an event, and what bounds a hang is support/watchdog.h or $seconds_max.
# What kills at random moments (torture) and measures speed (bench) may look at a clock.
timed='\b(nanosleep|clock_nanosleep|usleep|sleep|gettimeofday|timespec_get|setitimer|timer_create|time|times|clock)\('
timed+='|(^|[^_])clock_gettime\(|\b(sigtimedwait|SO_RCVTIMEO|SO_SNDTIMEO|RLIMIT_CPU)\b'
timed+='|\bpoll\([^()]*, *[1-9][0-9]*\)|\balarm\([^W]'
for place in $(grep -nE "$timed" tests/unit/*.c tests/server/test_*.c | cut -d : -f 1,2); do
    fail "$place: real time; see support/shim.h for the clock of tests"
done
timed='(^|[^a-z_])(sleep|usleep) |EPOCH(REALTIME|SECONDS)|\$SECONDS|\bdate \+|\btimeout [0-9]'
timed+='|read .*-t *[0-9]|--max-time|--connect-timeout|time\.(sleep|time|perf_counter)\('
for place in $(grep -d skip -nE "$timed" tests/clients/* tests/install.sh |
    grep -v -e run.sh: -e telnet.exp: -e '# on purpose: ' | cut -d : -f 1,2); do
    fail "$place: real time; await an event, and bound the wait by \$seconds_max"
done

# Opened by that name, a file to which the output goes is cut to nothing, and what stood there
# before is lost.
for place in $(grep -rnE '(tee|>>?) *(-a )?/dev/std(err|out)' tests --include='*.sh' | cut -d : -f 1,2); do
    fail "$place: opens its output once more; >&2"
done

# How long functions are, and how many parameters they take, .clang-tidy says.
for file in src/*.c src/*/*.c include/*.h include/*/*.h; do
    [ "$(wc -l <"$file")" -le 500 ] || fail "$file is over 500 lines"
done

flags="-std=c11 -D_POSIX_C_SOURCE=200809L -Iinclude"
# Unquoted on purpose: the flags are a list.
# shellcheck disable=SC2086
clang-tidy --quiet src/*.c src/*/*.c -- $flags 2>/dev/null || fail "clang-tidy"
# shellcheck disable=SC2086
cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning,performance,portability \
    --suppress=missingIncludeSystem -Iinclude -D_POSIX_C_SOURCE=200809L src || fail "cppcheck"

if [ "$failures" -gt 0 ]; then
    echo "lint: $failures failures"
    exit 1
fi
echo "lint: rooms, module map, lengths, clang-tidy and cppcheck are silent"
