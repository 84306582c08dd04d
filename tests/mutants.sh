#!/usr/bin/env bash
# Do the tests notice what no branch shows, as a sync that is left out? (Of branches asks
# mutate.py.) Each mutant is one small change to a copy of the sources; the test program
# named with it has to fail then. Prints a line per mutant, and exits non-zero if one
# survives, if a change no longer applies, or if a test fails without any change.
#
#     tests/mutants.sh [NAME...]        only those mutants
set -u
cd "$(dirname "$0")/.." || exit 1

seconds_max=60
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
cp -r src include tests Makefile "$scratch/"
cp -r src "$scratch/original" # what is edited meanwhile must not be taken for a mutant

# name | test program | file | sed expression
mutants() {
    sed -e '/^#/d' -e '/^$/d' <<'LIST'
# What is durable, and when.
commit-without-sync|test_store|transaction.c|s/if (transaction->is_durable) {/if (false) {/
failed-sync-goes-on|test_log|reach.c|/^enum status reach_sync/,/^}/s/return KV_FATAL;/return KV_IO;/
publish-without-sync|test_compact|files.c|s/enum status status = io_sync(fd);/enum status status = fd < 0 ? KV_IO : KV_OK;/
cut-without-sync|test_log|reach.c|s/^        status = io_sync(place->fd);/        status = KV_OK;/
rename-without-directory-sync|test_compact|files.c|/^static enum status rename_durably/,/^}/s/sync_directory(files) != KV_OK/files == NULL/
remove-without-directory-sync|test_compact|files.c|/^enum status files_remove/,/^}/s/status = sync_directory(files);/status = KV_OK;/
start-without-directory-sync|test_recover|files.c|/^enum status files_settle_names/,/^}/s/sync_directory(files) != KV_OK/files == NULL/
reply-before-commit|test_rows|commands.c|s/^    enum status status = store_commit(commands->store);/    (void)replies_send(commands->replies);\n&/
seal-calls-its-own-batch-durable|test_recover|log.c|s/\.durable_length = log->reach\.durable_length,/.durable_length = staged_end(log),/
no-undo-of-a-failed-write|test_store|transaction.c|/^enum status transaction_commit/,/^}/s/transaction_abort(transaction);/publish(transaction);/
# Recovery.
batch-before-space-ahead-taken-for-torn|test_scan|scan.c|s/i <= RECORD_HEADER_BYTES/i < RECORD_HEADER_BYTES/
length-of-space-ahead-taken-for-a-batch|test_scan|scan.c|s/= field + AHEAD_LENGTH_BYTES/= field/
half-a-write-left-in-space-ahead|test_log|reach.c|s/reach->file_length == end || (errno == EROFS && written == 0)/true/
tail-cut-without-a-copy|test_recover|recover.c|s/enum status status = torn_save(set->files, tail, scan->offset, suffix);/suffix[0] = '\\0';\n    enum status status = KV_OK;/
# Compaction.
drained-mark-not-durable|test_compact|compact.c|/^static enum status finish_copying/,/^}/s/transaction_commit(compaction->transaction)/log_write(log)/;/^static enum status finish_copying/,/^}/s/status = log_sync(log);/status = KV_OK;/
deleted-keys-come-back|test_compact_kills|load.c|s/if (change.now.is_tombstone \&\& location_is_nowhere(\&change.before)) {/if (change.now.is_tombstone \&\& (location_is_nowhere(\&change.before) \|\| keydir_is_older(keydir, \&change.before))) {/
slice-without-bound|test_compact|compact.c|s/compaction->cursor + COMPACT_SLICE_BYTES;/compaction->cursor + LOG_BYTES_MAX;/
# The lock, the index, the hash.
no-lock|test_files|files.c|s/^    long owner = 0;/    return KV_OK;\n&/
lock-on-the-log-itself|test_files|files.c|s/open_plain(files, FILES_LOCK, flags/open_plain(files, "", flags/
index-passes-over-a-candidate|test_index|part.c|/^bool part_next/,/^}/s/++\*at;/*at += 2;/
index-forgets-a-change|test_store|index.c|/^uint32_t index_version/,/^}/s/return .*/return hash == 0 \&\& index == NULL ? 1 : 0;/
# The protocol and the connection.
overlong-utf8-accepted|test_utf8|utf8.c|s/uint8_t low = lead == 0xe0 ? 0xa0 :/uint8_t low = lead == 0xe0 ? 0x80 :/
key-limit-off-by-one|test_protocol|protocol.c|s/request->key.length > KEY_BYTES_MAX/request->key.length > KEY_BYTES_MAX - 1/
large-value-overtakes-held-replies|test_session|replies.c|s/if (result == CONN_DONE \&\& replies->long_reply == LONG_VALUE) {/if (result != CONN_LOST \&\& replies->long_reply == LONG_VALUE) {/
closed-without-lingering|test_server_clock|session.c|s/return session->turn.is_closing \&\& !session->turn.is_lost \&\&/return false \&\&/
accept-spins|test_rows|lobby.c|s/now_ms + ACCEPT_PAUSE_MS/now_ms + 1/
LIST
}

build() { # build TEST: of the copy; output in build.out
    make -s -C "$scratch" BUILD=build/mutants CFLAGS="-O1 -g" "build/mutants/tests/$1" \
        build/mutants/kv-store >"$scratch/build.out" 2>&1
}

run() { # run TEST: output in run.out
    (cd "$scratch" && KV_STORE_PROGRAM=build/mutants/kv-store \
        timeout "$seconds_max" "build/mutants/tests/$1") >"$scratch/run.out" 2>&1
}

# The first test function that failed, or how else the program ended.
first_failure() {
    local name
    name=$(sed -n 's/^\[  FAILED  \] \([a-z0-9_]*\)$/\1/p' "$scratch/run.out" | head -n 1)
    if [[ -n $name ]]; then
        echo "$name"
    else
        sed -n 's/^\[ RUN      \] \([a-z0-9_]*\).*/\1 (ended early)/p' "$scratch/run.out" |
            tail -n 1
    fi
}

killed=0
problems=0
declare -A is_sound
problem() {
    echo "$1"
    problems=$((problems + 1))
}

# A test that fails anyway kills nothing.
check_sound() { # check_sound TEST
    if [[ -z ${is_sound[$1]:-} ]]; then
        is_sound[$1]=no
        if ! build "$1"; then
            problem "$1 does not build: $(grep -m 1 error "$scratch/build.out")"
        elif run "$1"; then
            is_sound[$1]=yes
        else
            problem "$1 fails without a mutant: $(first_failure)"
        fi
    fi
    [[ ${is_sound[$1]} == yes ]]
}

try() { # try NAME TEST FILE EXPRESSION
    local original copy
    original=$(find "$scratch/original" -name "$3")
    copy=$scratch/src/${original#"$scratch/original/"}
    check_sound "$2" || return
    sed -e "$4" "$original" >"$copy"
    if cmp -s "$original" "$copy"; then
        problem "GONE $1: the change does not apply to src/$3 any more"
    elif ! build "$2"; then
        problem "BROKEN $1: $(grep -m 1 error "$scratch/build.out")"
    elif run "$2"; then
        problem "SURVIVED $1 ($2)"
    else
        echo "killed $1 by $2: $(first_failure)"
        killed=$((killed + 1))
    fi
    cp "$original" "$copy"
}

is_wanted() { # is_wanted NAME NAMES...
    local name=$1 wanted
    shift
    [[ $# -gt 0 ]] || return 0
    for wanted in "$@"; do
        [[ $wanted != "$name" ]] || return 0
    done
    return 1
}

# The list is read through another descriptor, so that no test can read from it.
while IFS='|' read -r -u 9 name test file expression; do
    if is_wanted "$name" "$@"; then
        try "$name" "$test" "$file" "$expression"
    fi
done 9< <(mutants)

echo "mutants: $killed killed, $problems problems"
[[ $problems -eq 0 && $killed -gt 0 ]]
