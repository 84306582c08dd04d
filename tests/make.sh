#!/bin/sh
# What a user of make may count on: its usual variables, a build that follows them, and a
# program that can be built while it runs. GNU make is needed.
set -u
cd "$(dirname "$0")/.." || exit 1
scratch=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
failures=0
fail() {
    echo "make: $*"
    failures=$((failures + 1))
}

# Another make may be running this: its options are not for these.
unset MAKEFLAGS MFLAGS MAKELEVEL CFLAGS CPPFLAGS LDFLAGS
cp -r Makefile src include "$scratch"
cd "$scratch" || exit 1
build() {
    make -j2 V=1 CFLAGS=-O0 "$@" >output 2>&1 || fail "make $*: $(tail -n 5 output)"
}
runs_with() { # runs_with TEXT...: every compilation had it
    ! grep -- ' -c -o ' output | grep -qv -e "$1" || fail "$1 is not in every compilation"
    grep -q -- "$1" output || fail "$1 is in no command"
}

make CFLAGS=-O0 >output 2>&1 || fail "make: $(tail -n 5 output)"
[ "$(grep -c '^CC   src/' output)" = "$(find src -name '*.c' | wc -l)" ] ||
    fail "not a line for each file: $(head -n 3 output)"
build
! grep -q -- ' -o ' output || fail "a second build compiles: $(head -n 3 output)"
mkdir -p tests/unit
echo 'int main(void) { return 0; }' >tests/unit/test_none.c
build build/release/tests/test_none
build build/release/tests/test_none
! grep -q -- ' -o ' output || fail "a second build of a test compiles: $(head -n 3 output)"
rm -r tests
# All are compiled by one rule: the small program tells as much as the large one.
build CFLAGS=-O1 kv
runs_with -O1
build CFLAGS=-O1 "CPPFLAGS=-DKV_UNUSED='\"a b\"'" kv
runs_with -DKV_UNUSED

# Any C compiler will do, under whatever name, and one that is named goes before.
mkdir compilers
for tool in make sh cat sed grep getconf mkdir cmp; do
    ln -s "$(command -v "$tool")" compilers/$tool
done
ln -s cat compilers/clang
unset CC
PATH=$scratch/compilers make -n V=1 BUILD=other kv 2>output >commands
grep -q '^clang .* -c ' commands || fail "clang alone is not taken: $(head -n 3 output commands)"
PATH=$scratch/compilers CC=another make -n V=1 BUILD=other kv 2>output >commands
grep -q '^another .* -c ' commands || fail "CC is not taken: $(head -n 3 output commands)"

# Who may install nothing is told what the tests need.
mkdir tools tests
cp "$OLDPWD/tests/install-tools.sh" tests
for tool in sh dirname apt-get; do
    ln -s "$(command -v $tool || echo /bin/true)" tools/$tool
done
printf '#!/bin/sh\necho 1000\n' >tools/id && chmod +x tools/id
PATH=$scratch/tools sh tests/install-tools.sh >output 2>&1 && fail "tools are there: $(cat output)"
grep -q '^    apt-get update && apt-get install .* socat' output ||
    fail "what is to be installed is not told: $(cat output)"

# The program that runs is not written to, and another may be built without any library to
# look for.
mkfifo ready
./kv-store --port 0 --file "$scratch/kv.log" 2>ready &
server=$!
head -n 1 <ready >/dev/null
cp kv-store before
build LDFLAGS=-static kv-store
cmp -s before /proc/$server/exe || fail "the program changed that runs"
kill -0 $server || fail "the server did not live through a build"
kill $server && wait $server
server=
if readelf -l kv-store 2>/dev/null | grep -q INTERP; then
    fail "LDFLAGS=-static: the program asks for libraries"
fi
[ "$(./kv-store --version)" = "$(./before --version)" ] ||
    fail "the static program does not run"

if [ "$failures" -gt 0 ]; then
    echo "make: $failures failures"
    exit 1
fi
echo "make: CFLAGS, CPPFLAGS, LDFLAGS (-static too), a build beside a running server" |
    tee -a "${KV_RAN:-/dev/null}"
