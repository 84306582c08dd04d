/*
 * The engine's face: staging, commit and rollback, the second seal, the sync policies,
 * and a random test against a plain array.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap clock_gettime
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "log/record.h"
#include "log/scan.h"
#include "support/dice.h"
#include "support/engine.h"
#include "support/keyed.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A moment far from 0, so that a deadline counted from 0 is seen. */
#define START_MS UINT64_C(5000000)

/* The durable length that the last seal of the log tells. */
static uint64_t last_durable_length(const struct engine *engine)
{
    struct script bytes = engine_read(engine, "");
    struct opening opening;
    struct scan scan;
    struct batch batch;
    assert_true(record_decode_opening(script_slice(&bytes), &opening));
    scan_begin(&scan, script_slice(&bytes), opening.log_id);
    while (scan_next(&scan, &batch)) {
    }
    assert_true(scan_is_at_end(&scan));
    script_free(&bytes);
    return scan.durable_length;
}

/* ---- Reading and staging ---- */

static void store_reads_its_own_staged_writes(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    engine_expect(engine, "key", NULL);
    assert_int_equal(engine_set(engine, "key", "one"), KV_OK);
    engine_expect(engine, "key", "one");
    assert_int_equal(engine_set(engine, "key", "two"), KV_OK);
    assert_int_equal(engine_set(engine, "other", "three"), KV_OK);
    engine_expect(engine, "key", "two");
    assert_int_equal(engine_delete(engine, "key"), KV_OK);
    engine_expect(engine, "key", NULL);
    engine_expect(engine, "other", "three");
    assert_int_equal(store_count(engine->store), 1);
    assert_int_equal(store_commit(engine->store), KV_OK);
    engine_expect(engine, "key", NULL);
    engine_expect(engine, "other", "three");
}

static void store_keeps_values_of_every_kind(void **state)
{
    struct engine *engine = *state;
    const char *const pairs[][2] = {
        {"empty", ""},
        {"spaces", "  two before and two behind  "},
        {"hex", "0123abcd"},
        {"0123abcd", "hex as a key"},
        {"one", "x"},
        {"sixteen", "0123456789abcdef"},
        {"newline", "a\nb"},
        {"k", "short key"},
        {"\xc3\xbc", "\xf0\x9f\x98\x80"},
    };
    enum { COUNT = sizeof pairs / sizeof pairs[0] };
    engine_open(engine);
    for (size_t i = 0; i < COUNT; i++) {
        engine_put(engine, pairs[i][0], pairs[i][1]);
    }
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            engine_expect(engine, pairs[i][0], pairs[i][1]);
        }
        engine_close(engine);
        engine_open(engine);
    }
}

static void store_takes_the_longest_key(void **state)
{
    struct engine *engine = *state;
    struct script key = {0};
    struct slice value;
    script_add_fill(&key, 'k', KEY_BYTES_MAX);
    engine_open(engine);
    assert_int_equal(keyed_set(engine->store, script_slice(&key), SLICE_LITERAL("value")),
                     KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    engine_close(engine);
    engine_open(engine);
    assert_int_equal(keyed_get(engine->store, script_slice(&key), &value), KV_OK);
    assert_true(slice_equal(value, SLICE_LITERAL("value")));
    script_free(&key);
}

static void f27_store_delete_of_a_missing_key_appends_nothing(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    uint64_t length = engine_log_length(engine);
    assert_int_equal(engine_delete(engine, "key"), KV_NOT_FOUND);
    assert_int_equal(store_staged_bytes(engine->store), 0);
    assert_int_equal(store_commit(engine->store), KV_OK);
    assert_int_equal(engine_log_length(engine), length);
    engine_put(engine, "key", "value");
    assert_int_equal(engine_delete(engine, "key"), KV_OK);
    assert_int_equal(engine_delete(engine, "key"), KV_NOT_FOUND);
    assert_int_equal(store_commit(engine->store), KV_OK);
    assert_int_equal(engine_delete(engine, "key"), KV_NOT_FOUND);
}

static void store_close_drops_what_is_staged(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    engine_put(engine, "kept", "value");
    assert_int_equal(engine_set(engine, "dropped", "value"), KV_OK);
    assert_int_equal(engine_delete(engine, "kept"), KV_OK);
    engine_close(engine);
    engine_open(engine);
    engine_expect(engine, "kept", "value");
    engine_expect(engine, "dropped", NULL);
}

static void store_stats_count_what_happened(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    struct store_stats stats = store_stats(engine->store);
    assert_int_equal(stats.log_bytes, OPENING_BYTES);
    assert_int_equal(stats.dead_bytes, OPENING_BYTES);
    assert_int_equal(stats.commits, 0);
    engine_put(engine, "key", "value");
    engine_put(engine, "key", "longer value");
    stats = store_stats(engine->store);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(stats.commits, 2);
    assert_int_equal(stats.live_bytes, record_length(3, 12));
    assert_int_equal(stats.log_bytes, engine_log_length(engine));
    uint64_t length = engine_log_length(engine);
    engine_close(engine);
    engine_open(engine);
    stats = store_stats(engine->store);
    assert_int_equal(stats.recovered_bytes, length + SEAL_BYTES);
    assert_int_equal(stats.live_bytes, record_length(3, 12));
    assert_int_equal(stats.commits, 0);
}

/* ---- The order of durable steps ---- */

static const unsigned writing =
    SHIM_CHANGES | SHIM_BIT(SHIM_FADVISE) | SHIM_BIT(SHIM_CLOSE);

static void f37_store_commit_writes_once_then_syncs_once(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    assert_int_equal(engine_set(engine, "a", "one"), KV_OK);
    assert_int_equal(engine_set(engine, "b", "two"), KV_OK);
    assert_int_equal(engine_delete(engine, "a"), KV_OK);
    uint64_t looks = shim_count(SHIM_FSTATAT);
    shim_forget_trace();
    assert_int_equal(store_commit(engine->store), KV_OK);
    assert_string_equal(shim_trace_text(writing), "pwrite:log fdatasync:log");
    assert_true(shim_count(SHIM_FSTATAT) > looks); /* whether the log is still ours */
    shim_forget_trace();
    assert_int_equal(store_commit(engine->store), KV_OK); /* nothing is staged */
    engine_expect(engine, "b", "two");
    assert_string_equal(shim_trace_text(SHIM_FILES), "");
}

static void store_commit_under_everysec_does_not_sync(void **state)
{
    struct engine *engine = *state;
    engine->sync = SYNC_EVERYSEC;
    engine_open(engine);
    shim_forget_trace();
    engine_put(engine, "a", "one");
    assert_string_equal(shim_trace_text(writing), "pwrite:log");
    shim_forget_trace();
    assert_int_equal(store_sync(engine->store), KV_OK);
    assert_int_equal(store_sync(engine->store), KV_OK);
    assert_string_equal(shim_trace_text(SHIM_FILES), "fdatasync:log");
}

/* The last batch is synced here, so this says nothing new after a lone restart. */
static void store_writes_its_rest_seal_once(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    engine_open(engine);
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), CLOCK_NEVER);
    engine_put(engine, "a", "one");
    uint64_t length = engine_log_length(engine);
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), START_MS + SECOND_SEAL_MS);
    shim_advance_clock(SECOND_SEAL_MS - 1);
    shim_forget_trace();
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_string_equal(shim_trace_text(SHIM_FILES), "");
    shim_advance_clock(1);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_string_equal(shim_trace_text(writing), "pwrite:log fdatasync:log");
    assert_int_equal(engine_log_length(engine), length + SEAL_BYTES);
    assert_int_equal(last_durable_length(engine), length);
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), CLOCK_NEVER);
    shim_advance_clock(100 * SECOND_SEAL_MS);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    for (int restart = 0; restart < 3; restart++) {
        engine_close(engine);
        assert_int_equal(engine_log_length(engine), length + SEAL_BYTES);
        engine_open(engine);
        assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), CLOCK_NEVER);
    }
}

static void store_writes_its_rest_seal_at_close(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    engine_open(engine);
    engine_put(engine, "a", "one");
    uint64_t length = engine_log_length(engine);
    for (int restart = 0; restart < 3; restart++) {
        engine_close(engine);
        assert_int_equal(engine_log_length(engine), length + SEAL_BYTES);
        assert_int_equal(last_durable_length(engine), length);
        engine_open(engine);
    }
}

static void store_writes_the_rest_seal_that_a_crash_prevented(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    engine_open(engine);
    engine_put(engine, "a", "one");
    uint64_t length = engine_log_length(engine);
    engine_crash(engine);
    engine_open(engine);
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), START_MS + SECOND_SEAL_MS);
    shim_advance_clock(SECOND_SEAL_MS);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_int_equal(engine_log_length(engine), length + SEAL_BYTES);
    engine_close(engine);
    assert_int_equal(engine_log_length(engine), length + SEAL_BYTES);
}

static void store_puts_the_rest_seal_off_while_batches_come(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    engine_open(engine);
    for (int i = 0; i < 10; i++) {
        engine_put(engine, "a", "one");
        shim_advance_clock(SECOND_SEAL_MS - 1);
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    }
    assert_int_equal(engine_log_length(engine),
                     OPENING_BYTES + 10 * (record_length(1, 3) + SEAL_BYTES));
    shim_advance_clock(1);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_int_equal(engine_log_length(engine),
                     OPENING_BYTES + 10 * (record_length(1, 3) + SEAL_BYTES) +
                         SEAL_BYTES);
}

/* Values stay where they are through maintenance, as store.h promises. */
static void store_maintain_leaves_values_in_place(void **state)
{
    struct engine *engine = *state;
    struct slice value;
    shim_set_clock(START_MS);
    engine_open(engine);
    engine_put(engine, "a", "one");
    assert_int_equal(keyed_get(engine->store, SLICE_LITERAL("a"), &value), KV_OK);
    shim_advance_clock(SECOND_SEAL_MS);
    assert_int_equal(store_maintain(engine->store, LEISURE_NONE), KV_OK);
    assert_true(slice_equal(value, SLICE_LITERAL("one")));
    struct slice again;
    assert_int_equal(keyed_get(engine->store, SLICE_LITERAL("a"), &again), KV_OK);
    assert_ptr_equal(again.bytes, value.bytes);
}

/* Steady writing must not put the sync off. */
static void store_everysec_syncs_at_most_a_second_later(void **state)
{
    struct engine *engine = *state;
    engine->sync = SYNC_EVERYSEC;
    shim_set_clock(START_MS);
    engine_open(engine);
    for (int second = 0; second < 3; second++) {
        uint64_t syncs = shim_count(SHIM_FDATASYNC);
        for (int i = 0; i < 10; i++) {
            engine_put(engine, "a", "one");
            assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
            assert_int_equal(shim_count(SHIM_FDATASYNC), syncs);
            shim_advance_clock(SYNC_LAG_MS_MAX / 10);
        }
        assert_true(store_due_ms(engine->store, LEISURE_ALL) <=
                    START_MS + (uint64_t)(second + 1) * SYNC_LAG_MS_MAX);
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        assert_int_equal(shim_count(SHIM_FDATASYNC), syncs + 1);
    }
}

static void store_everysec_seals_lag_by_what_is_not_synced(void **state)
{
    struct engine *engine = *state;
    engine->sync = SYNC_EVERYSEC;
    shim_set_clock(START_MS);
    engine_open(engine);
    engine_put(engine, "a", "one");
    engine_put(engine, "a", "two");
    assert_int_equal(last_durable_length(engine), OPENING_BYTES);
    uint64_t length = engine_log_length(engine);
    shim_advance_clock(SYNC_LAG_MS_MAX / 2);
    engine_put(engine, "a", "two");
    assert_int_equal(last_durable_length(engine), OPENING_BYTES);
    length = engine_log_length(engine);
    shim_advance_clock(SYNC_LAG_MS_MAX / 2);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    engine_put(engine, "a", "three");
    assert_int_equal(last_durable_length(engine), length);
    length = engine_log_length(engine);
    engine_close(engine);
    assert_int_equal(engine_log_length(engine), length + SEAL_BYTES);
    assert_int_equal(last_durable_length(engine), length);
}

/* ---- Rollback ---- */

struct rollback {
    const char *steps; /* S: set, D: delete */
    bool had_before;
};

static const struct rollback rollbacks[] = {
    {"S", false},   {"S", true},    {"SS", false},   {"SS", true},    {"SD", false},
    {"SD", true},   {"D", true},    {"DS", true},    {"DSD", true},   {"DSS", true},
    {"SDS", false}, {"SDS", true},  {"SSD", true},   {"SDSD", false}, {"SDSD", true},
    {"DSDS", true}, {"SSSS", true}, {"DSDSD", true},
};

/* The staged state of the key after these steps. */
static void stage_steps(struct engine *engine, struct model *model, const char *steps)
{
    char value[32];
    for (size_t i = 0; steps[i] != '\0'; i++) {
        (void)snprintf(value, sizeof value, "step %zu", i);
        if (steps[i] == 'S') {
            assert_int_equal(engine_set(engine, model_key(3), value), KV_OK);
            model_set(model, 3, value);
        } else {
            assert_int_equal(engine_delete(engine, model_key(3)), KV_OK);
            model_delete(model, 3);
        }
        model_expect(model, engine);
    }
}

static void f30_store_rollback_restores_every_sequence_on_a_key(void **state)
{
    struct engine *engine = *state;
    shim_omit_syncs();
    for (size_t i = 0; i < sizeof rollbacks / sizeof rollbacks[0]; i++) {
        struct model before = {0};
        engine_open(engine);
        model_set(&before, 5, "another key");
        engine_put(engine, model_key(5), "another key");
        if (rollbacks[i].had_before) {
            model_set(&before, 3, "value from before");
            engine_put(engine, model_key(3), "value from before");
        }
        uint64_t length = engine_log_length(engine);
        struct model staged = before;
        stage_steps(engine, &staged, rollbacks[i].steps);
        shim_set_space(SHIM_LOG, length, ENOSPC);
        assert_int_equal(store_commit(engine->store), KV_NO_SPACE);
        model_expect(&before, engine);
        assert_int_equal(store_staged_bytes(engine->store), 0);
        assert_int_equal(engine_log_length(engine), length);
        shim_give_space();
        staged = before;
        stage_steps(engine, &staged, rollbacks[i].steps);
        assert_int_equal(store_commit(engine->store), KV_OK);
        model_expect(&staged, engine);
        engine_crash(engine);
        engine_open(engine);
        model_expect(&staged, engine);
        engine_close(engine);
        engine_clean(engine);
        assert_int_equal(remove(engine->log.path), 0);
    }
}

/* ---- Random operations ---- */

struct play {
    struct engine *engine;
    struct dice dice;
    struct model staged;
    struct model committed;
};

static void play_set(struct play *play)
{
    static char value[MODEL_VALUE_BYTES];
    size_t length = (size_t)dice_below(&play->dice, 40);
    if (dice_below(&play->dice, 50) == 0) {
        length = (size_t)dice_below(&play->dice, MODEL_VALUE_BYTES);
    }
    for (size_t i = 0; i < length; i++) {
        value[i] = (char)('a' + dice_below(&play->dice, 26));
    }
    value[length] = '\0';
    size_t key = (size_t)dice_below(&play->dice, MODEL_KEYS);
    assert_int_equal(engine_set(play->engine, model_key(key), value), KV_OK);
    model_set(&play->staged, key, value);
}

static void play_delete(struct play *play)
{
    size_t key = (size_t)dice_below(&play->dice, MODEL_KEYS);
    assert_int_equal(engine_delete(play->engine, model_key(key)),
                     play->staged.has[key] ? KV_OK : KV_NOT_FOUND);
    model_delete(&play->staged, key);
}

static void play_commit(struct play *play)
{
    assert_int_equal(store_commit(play->engine->store), KV_OK);
    play->committed = play->staged;
}

/* A commit that fails somewhere inside the batch, if there is one. */
static void play_failed_commit(struct play *play)
{
    const int errors[] = {ENOSPC, EDQUOT, EFBIG, EIO};
    uint64_t staged_bytes = store_staged_bytes(play->engine->store);
    uint64_t room = dice_below(&play->dice, staged_bytes + SEAL_BYTES);
    int error = errors[dice_below(&play->dice, 4)];
    shim_set_space(SHIM_LOG, engine_log_length(play->engine) + room, error);
    enum status wanted = staged_bytes == 0 ? KV_OK : error == EIO ? KV_IO : KV_NO_SPACE;
    assert_int_equal(store_commit(play->engine->store), wanted);
    shim_give_space();
    play->staged = play->committed;
}

static void play_restart(struct play *play)
{
    if (dice_below(&play->dice, 2) == 0) {
        engine_close(play->engine);
    } else {
        engine_crash(play->engine);
    }
    play->engine->sync = dice_below(&play->dice, 2) == 0 ? SYNC_ALWAYS : SYNC_EVERYSEC;
    engine_open(play->engine);
    play->staged = play->committed;
}

static void play_wait(struct play *play)
{
    play_commit(play);
    shim_advance_clock(dice_below(&play->dice, 1500));
    assert_int_equal(store_maintain(play->engine->store, LEISURE_ALL), KV_OK);
}

static void play_step(struct play *play)
{
    uint64_t choice = dice_below(&play->dice, 100);
    if (choice < 45) {
        play_set(play);
    } else if (choice < 70) {
        play_delete(play);
    } else if (choice < 85) {
        play_commit(play);
    } else if (choice < 92) {
        play_failed_commit(play);
    } else if (choice < 97) {
        play_wait(play);
    } else {
        play_restart(play);
    }
}

static void store_equals_a_plain_array_through_random_operations(void **state)
{
    struct play *play = calloc(1, sizeof *play);
    assert_non_null(play);
    play->engine = *state;
    dice_begin(&play->dice);
    shim_set_clock(START_MS);
    shim_omit_syncs();
    engine_open(play->engine);
    size_t step_count = watchdog_scaled(6000, 500);
    for (size_t i = 0; i < step_count; i++) {
        play_step(play);
        if (i % 7 == 0) {
            model_expect(&play->staged, play->engine);
        }
    }
    engine_crash(play->engine);
    engine_open(play->engine);
    model_expect(&play->committed, play->engine);
    assert_int_equal(engine_count_files(play->engine, ".torn."), 0);
    free(play);
}

/* So many keys that every part of the index grows several times. */
static void store_keeps_many_keys_through_a_restart(void **state)
{
    struct engine *engine = *state;
    char key[32];
    char value[32];
    size_t key_count = watchdog_scaled(40000, 2000);
    engine_open(engine);
    for (size_t i = 0; i < key_count; i++) {
        (void)snprintf(key, sizeof key, "key:%zu", i);
        (void)snprintf(value, sizeof value, "%zu", i * 31);
        assert_int_equal(engine_set(engine, key, value), KV_OK);
        if (i % 5000 == 4999) {
            assert_int_equal(store_commit(engine->store), KV_OK);
        }
    }
    assert_int_equal(store_commit(engine->store), KV_OK);
    engine_close(engine);
    engine_open(engine);
    assert_int_equal(store_count(engine->store), key_count);
    for (size_t i = 0; i < key_count; i++) {
        (void)snprintf(key, sizeof key, "key:%zu", i);
        (void)snprintf(value, sizeof value, "%zu", i * 31);
        engine_expect(engine, key, value);
    }
    engine_expect(engine, "key:x", NULL);
}

/* A group that was fetched is used in any order, in part, or beside keys that were not.
 */
static void store_fetch_is_a_hint(void **state)
{
    struct engine *engine = *state;
    struct slice found;
    engine_open(engine);
    engine_put(engine, "apples", "many");
    engine_put(engine, "pear", "green");
    struct lookup lookups[3];
    store_begin_lookup(engine->store, SLICE_LITERAL("apples"), &lookups[0]);
    store_begin_lookup(engine->store, SLICE_LITERAL("missing"), &lookups[1]);
    store_begin_lookup(engine->store, SLICE_LITERAL("pear"), &lookups[2]);
    store_fetch(engine->store, lookups, 0);
    for (size_t fetched = 0; fetched <= 3; fetched++) {
        store_fetch(engine->store, lookups, fetched);
        assert_int_equal(store_get(engine->store, &lookups[2], &found), KV_OK);
        assert_true(slice_equal(found, SLICE_LITERAL("green")));
        assert_int_equal(store_get(engine->store, &lookups[1], &found), KV_NOT_FOUND);
        assert_int_equal(store_exists(engine->store, &lookups[0]), KV_OK);
        assert_int_equal(store_get(engine->store, &lookups[0], &found), KV_OK);
        assert_true(slice_equal(found, SLICE_LITERAL("many")));
    }
}

/* What was found when a group was fetched is not what is there after a write, and not
 * what is there after that write was refused. */
static void store_fetch_before_a_write_finds_what_is_there_after_it(void **state)
{
    struct engine *engine = *state;
    struct slice found;
    engine_open(engine);
    engine_put(engine, "key", "old");
    struct lookup lookup;
    store_begin_lookup(engine->store, SLICE_LITERAL("key"), &lookup);
    store_fetch(engine->store, &lookup, 1);
    assert_int_equal(store_set(engine->store, &lookup, SLICE_LITERAL("new")), KV_OK);
    assert_int_equal(store_get(engine->store, &lookup, &found), KV_OK);
    assert_true(slice_equal(found, SLICE_LITERAL("new")));
    store_fetch(engine->store, &lookup, 1);
    shim_fail_once(SHIM_BIT(SHIM_PWRITE), SHIM_LOG, 1, ENOSPC);
    assert_int_equal(store_commit(engine->store), KV_NO_SPACE);
    assert_int_equal(store_get(engine->store, &lookup, &found), KV_OK);
    assert_true(slice_equal(found, SLICE_LITERAL("old")));
    assert_int_equal(store_delete(engine->store, &lookup), KV_OK);
    assert_int_equal(store_get(engine->store, &lookup, &found), KV_NOT_FOUND);
    assert_int_equal(store_commit(engine->store), KV_OK);
    assert_int_equal(store_exists(engine->store, &lookup), KV_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(store_fetch_before_a_write_finds_what_is_there_after_it),
        ON_ENGINE(store_reads_its_own_staged_writes),
        ON_ENGINE(store_keeps_values_of_every_kind),
        ON_ENGINE(store_takes_the_longest_key),
        ON_ENGINE(f27_store_delete_of_a_missing_key_appends_nothing),
        ON_ENGINE(store_close_drops_what_is_staged),
        ON_ENGINE(store_stats_count_what_happened),
        ON_ENGINE(f37_store_commit_writes_once_then_syncs_once),
        ON_ENGINE(store_commit_under_everysec_does_not_sync),
        ON_ENGINE(store_writes_its_rest_seal_once),
        ON_ENGINE(store_writes_its_rest_seal_at_close),
        ON_ENGINE(store_writes_the_rest_seal_that_a_crash_prevented),
        ON_ENGINE(store_puts_the_rest_seal_off_while_batches_come),
        ON_ENGINE(store_maintain_leaves_values_in_place),
        ON_ENGINE(store_everysec_syncs_at_most_a_second_later),
        ON_ENGINE(store_everysec_seals_lag_by_what_is_not_synced),
        ON_ENGINE(f30_store_rollback_restores_every_sequence_on_a_key),
        ON_ENGINE(store_equals_a_plain_array_through_random_operations),
        ON_ENGINE(store_keeps_many_keys_through_a_restart),
        ON_ENGINE(store_fetch_is_a_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
