#!/usr/bin/env bash
# Other compilers, other levels of optimisation, another C library, 32 bits, and no
# extras: each build without a warning, and its tests. A build whose tools are missing is
# a failure too; the last line names it.
#
#     tests/builds.sh [BUILD...]        only those builds
#
# gcc-O0 ... clang-O3   every unit and server test
# posix                 the same without the extras of platform.h; nothing but POSIX is
#                       called (posix.sh); clang compiles it too
# musl, m32             the program, driven by the server tests and by real clients; unit
#                       tests only with a cmocka for them, which distributions lack: name
#                       the directory of its source in CMOCKA (apt-get source cmocka)
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL # of a make that runs this
all=(gcc-O0 gcc-O2 gcc-O3 clang-O0 clang-O2 clang-O3 posix musl m32)
out=build/builds
mkdir -p "$out"

run_make() { # run_make NAME CC CFLAGS TARGET...
    local name=$1 cc=$2 flags=$3
    shift 3
    make -s -j"$(nproc)" BUILD="$out/$name" CC="$cc" CFLAGS="-g -Werror $flags" "$@"
}

# Can a C program be built and run with it?
works() { # works CC
    # Unquoted on purpose: a compiler and its options.
    # shellcheck disable=SC2086
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' |
        $1 -x c -o "$out/works" - 2>/dev/null && "$out/works" >/dev/null
}

build_native() { # build_native NAME CC CFLAGS
    run_make "$@" all-binaries && run_make "$@" run-unit
}

build_posix() {
    run_make posix gcc "-O2 -DKV_POSIX_ONLY" all-binaries &&
        run_make posix gcc "-O2 -DKV_POSIX_ONLY" run-unit &&
        tests/posix.sh "$out"/posix/src/*.o "$out"/posix/src/*/*.o &&
        # clang warns of a format that only the attribute left out would check.
        run_make posix-clang clang "-O2 -DKV_POSIX_ONLY -Wno-format-nonliteral" all-binaries
}

# Server tests built for this machine, and clients, drive a program built for another.
drive() { # drive NAME CLIENT-SCRIPT...
    local program=$out/$1/kv-store tests
    shift
    mapfile -t tests < <(printf '%s\n' tests/server/test_*.c | not_long)
    run_make gcc-O2 gcc -O2 unit-binaries all-binaries &&
        KV_STORE_PROGRAM=$program tests/run-unit.sh "" "${tests[@]/#/$out/gcc-O2/tests/}" &&
        "$out/gcc-O2/torture" "$program" 50 &&
        tests/clients/run.sh "$program" "$@"
}

# unit NAME CC TEST...: unit tests with a cmocka made for this compiler, if there is one.
unit() {
    local name=$1 cc=$2 place=$out/$1/cmocka defines
    shift 2
    [[ -n ${CMOCKA:-} ]] || return 0
    defines=$(printf -- '-DHAVE_%s ' ASSERT_H INTTYPES_H MALLOC_H SETJMP_H SIGNAL_H STDINT_H \
        STRINGS_H STRING_H TIME_H UNISTD_H STRUCT_TIMESPEC CLOCK_GETTIME CLOCK_REALTIME \
        GCC_THREAD_LOCAL_STORAGE STRSIGNAL SNPRINTF VSNPRINTF)
    mkdir -p "$place"
    # Unquoted on purpose: a compiler and its options, and a list of them.
    # shellcheck disable=SC2086
    $cc -O1 -w -I"$CMOCKA/include" $defines -c -o "$place/cmocka.o" "$CMOCKA/src/cmocka.c" &&
        ar rcs "$place/libcmocka.a" "$place/cmocka.o" && cp "$CMOCKA"/include/*.h "$place" &&
        run_make "$name" "$cc" "-O2 -isystem $place -L$place" unit-binaries &&
        KV_STORE_PROGRAM=$out/$name/kv-store tests/run-unit.sh "" "${@/#/$out/$name/tests/}"
}

# Of sources of tests, the names of the programs that `make check` runs.
not_long() {
    grep -vE '_corpus\.c$' | sed 's|.*/||; s/\.c$//'
}

build_musl() {
    run_make musl-static musl-gcc -O2 LDFLAGS=-static "$out/musl-static/kv-store" &&
        ! readelf -l "$out/musl-static/kv-store" | grep INTERP &&
        "$out/musl-static/kv-store" --version &&
        run_make musl musl-gcc -O2 "$out/musl/kv-store" "$out/musl/kv" &&
        readelf -l "$out/musl/kv-store" | grep 'interpreter.*musl' &&
        drive musl && mapfile -t tests < <(printf '%s\n' tests/*/test_*.c | not_long) &&
        unit musl musl-gcc "${tests[@]}"
}

# Calls that a test replaces have other names where offsets are 64 bits wide by choice.
build_m32() {
    run_make m32 "gcc -m32" -O2 "$out/m32/kv-store" "$out/m32/kv" &&
        readelf -h "$out/m32/kv-store" | grep ELF32 &&
        drive m32 oneshot.sh pipes.sh kv.sh compat.sh operations.sh words.sh narrow.sh &&
        mapfile -t tests < <(grep -L '^ \* wrap: ' tests/*/test_*.c | not_long) &&
        unit m32 "gcc -m32" "${tests[@]}"
}

# need BUILD: prints the package whose absence keeps the build from being made, if so.
need() {
    case $1 in
    gcc-*) works gcc || echo gcc ;;
    clang-*) works clang || echo clang ;;
    posix) works gcc || echo gcc; works clang || echo clang ;;
    musl) works musl-gcc || echo musl-tools ;;
    m32) works "gcc -m32" || echo gcc-multilib ;;
    esac
}

run_build() {
    case $1 in
    posix | musl | m32) "build_$1" ;;
    gcc-O? | clang-O?) build_native "$1" "${1%-*}" "-${1#*-}" ;;
    *) echo "error: there is no build $1" && false ;;
    esac
}

passed=0
failed=""
missing=""
[[ $# -gt 0 ]] || set -- "${all[@]}"
for name; do
    package=$(need "$name" | paste -sd ' ')
    if [[ -n $package ]]; then
        missing+="; NOT RUN: $name (apt-get install $package)"
    elif (run_build "$name") >"$out/$name.log" 2>&1; then
        echo "ok $name: $(awk '/^unit: / { n += $4 } END { print n + 0 }' "$out/$name.log") tests," \
            "$(grep -c '^ok ' "$out/$name.log") checks with clients"
        passed=$((passed + 1))
    else
        failed+=" $name"
        grep -E 'error|warning|FAILED|ERROR|^not ok|^posix:' "$out/$name.log" | head -n 30
        echo "not ok $name: see $out/$name.log"
    fi
done
if [[ -z ${CMOCKA:-} && " $* " =~ \ (musl|m32)\  ]]; then
    missing+="; NOT RUN: unit tests of musl and m32 (set CMOCKA)"
fi
echo "builds: $passed of $# passed; failed:${failed:- none}$missing"
[[ $passed -eq $# ]]
