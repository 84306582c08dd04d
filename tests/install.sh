#!/bin/sh
# What `make install` brings, how exposed its unit is, and that `make uninstall` leaves the
# tree as it was before: nothing of ours behind, and nothing of others gone, not even an
# empty directory.
set -u
cd "$(dirname "$0")/.." || exit 1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
fail() {
    echo "install: $*"
    failures=$((failures + 1))
}

# Another make may be running this: its options are not for these.
unset MAKEFLAGS MFLAGS MAKELEVEL
run() { # run DESTDIR PREFIX TARGET
    make -s INSTALLED="$scratch/record/installed" DESTDIR="$1" PREFIX="$2" "$3" \
        >"$scratch/output" 2>&1
}
tree() {
    (cd "$scratch" && find root -printf '%y %m %p\n' 2>/dev/null | sort)
}
same() { # same NAME EXPECTED GOT
    if [ "$2" != "$3" ]; then
        fail "$1: not the same; expected and got:"
        printf '%s\n--\n%s\n' "$2" "$3"
    fi
}
# there_and_back NAME DESTDIR PREFIX: each install must do, and the tree be as before.
there_and_back() {
    before=$(tree)
    run "$2" "$3" install || fail "$1: install: $(cat "$scratch/output")"
    run "$2" "$3" install || fail "$1: second install: $(cat "$scratch/output")"
    [ -x "$2$3/bin/kv-store" ] || fail "$1: no program"
    run "$2" "$3" uninstall || fail "$1: uninstall: $(cat "$scratch/output")"
    same "$1" "$before" "$(tree)"
    [ ! -e "$scratch/record/installed" ] || fail "$1: a record of directories is left"
    rm -rf "$scratch/root" "$scratch/record"
}
root=$scratch/root

there_and_back "no DESTDIR yet" "$root" /usr/local
mkdir "$root"
there_and_back "an empty DESTDIR" "$root/" /usr
mkdir "$root"
there_and_back "a DESTDIR with a space" "$root/a b" /opt/kv-store
mkdir "$root"
there_and_back "no DESTDIR, a PREFIX of its own" "" "$root/deep/prefix"

# Directories of others, with files and without.
mkdir -p "$root/usr/local/bin" "$root/usr/local/share/man/man1" "$root/usr/local/lib/systemd"
echo other >"$root/usr/local/bin/other"
echo other >"$root/usr/local/share/man/man1/other.1"
there_and_back "a DESTDIR with others in it" "$root" /usr/local
mkdir -p "$root/usr/local/bin" "$root/usr/local/share/man/man1" \
    "$root/usr/local/lib/systemd/system"
there_and_back "a DESTDIR with empty directories" "$root" /usr/local

# What came into a directory that install made stays, and so does the directory.
run "$root" /usr/local install
echo later >"$root/usr/local/bin/later"
run "$root" /usr/local uninstall
same "a file that came later" "d root
d root/usr
d root/usr/local
d root/usr/local/bin
f root/usr/local/bin/later" "$(tree | sed 's/ [0-7]* / /')"
rm "$root/usr/local/bin/later"
run "$root" /usr/local uninstall
same "a file that came later and went" "" "$(tree)"
rm -rf "$root" "$scratch/record"

# Two installations are undone each for itself, in whatever order.
run "$root/one" /usr install
run "$root/two" /usr install
run "$root/one" /usr uninstall
[ ! -e "$root/one" ] || fail "the first of two is not gone"
[ -x "$root/two/usr/bin/kv-store" ] || fail "the second of two is gone with the first"
run "$root/two" /usr uninstall
same "two installations" "" "$(tree)"
rm -rf "$root" "$scratch/record"

# Whatever the umask, exactly these, with the modes that a package wants.
run "$root" /usr install
same "what is installed" "f 644 root/usr/lib/systemd/system/kv-store.service
f 644 root/usr/lib/systemd/system/kv-store.socket
f 644 root/usr/share/man/man1/kv-store.1
f 644 root/usr/share/man/man1/kv.1
f 755 root/usr/bin/kv
f 755 root/usr/bin/kv-store" "$(tree | grep '^f')"
unit=$root/usr/lib/systemd/system/kv-store.service
same "the program of the unit" "ExecStart=/usr/bin/kv-store --file /var/lib/kv-store/kv.log" \
    "$(grep '^ExecStart=' "$unit")"
! grep -q '@PREFIX@' "$unit" || fail "a place for the prefix is left in the unit"
"$root/usr/bin/kv-store" --version >/dev/null || fail "the installed program does not run"
run "$root" /usr uninstall

# The unit of an installation in place names a program that is there, and by systemd's own
# measure it is exposed 1.2 of 10 at most.
if command -v systemd-analyze >/dev/null; then
    run "" "$root/prefix" install
    unit=$root/prefix/lib/systemd/system/kv-store.service
    systemd-analyze verify --man=no "$unit" >"$scratch/verified" 2>&1 ||
        fail "the installed unit: $(cat "$scratch/verified")"
    score=$(systemd-analyze security --offline=yes "$unit" 2>/dev/null |
        sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "service: exposure $score (limit 1.2)" | tee -a "${KV_RAN:-/dev/null}"
    awk -v score="$score" 'BEGIN { exit !(score != "" && score <= 1.2) }' ||
        fail "the unit is exposed: ${score:-how much is not told}"
    run "" "$root/prefix" uninstall
else
    echo "service: NOT RUN: the unit was not measured: no systemd-analyze here" |
        tee -a "${KV_RAN:-/dev/null}"
fi

for prefix in relative/prefix '/with space' '/with|bar'; do
    if run "$root" "$prefix" install || [ -e "$root" ]; then
        fail "a prefix that the unit cannot hold is taken: $prefix"
        rm -rf "$root"
    fi
done

if [ "$failures" -gt 0 ]; then
    echo "install: $failures failures"
    exit 1
fi
echo "install: complete, and uninstall leaves every tree as it was" |
    tee -a "${KV_RAN:-/dev/null}"
