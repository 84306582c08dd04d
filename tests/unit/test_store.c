/*
 * The engine's face: staging, commit and rollback, the second seal, the sync policies.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap clock_gettime
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "log/record.h"
#include "log/scan.h"
#include "support/engine.h"
#include "support/keyed.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>

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
    assert_int_equal(store_commit(engine->store), KV_OK);
    assert_int_equal(engine_log_length(engine), length);
    engine_put(engine, "key", "value");
    assert_int_equal(engine_delete(engine, "key"), KV_OK);
    uint64_t staged_bytes = store_staged_bytes(engine->store);
    assert_int_equal(engine_delete(engine, "key"), KV_NOT_FOUND);
    assert_int_equal(store_staged_bytes(engine->store), staged_bytes);
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
        ON_ENGINE(store_takes_the_longest_key),
        ON_ENGINE(f27_store_delete_of_a_missing_key_appends_nothing),
        ON_ENGINE(store_stats_count_what_happened),
        ON_ENGINE(f37_store_commit_writes_once_then_syncs_once),
        ON_ENGINE(store_commit_under_everysec_does_not_sync),
        ON_ENGINE(store_writes_its_rest_seal_once),
        ON_ENGINE(store_puts_the_rest_seal_off_while_batches_come),
        ON_ENGINE(store_maintain_leaves_values_in_place),
        ON_ENGINE(store_everysec_seals_lag_by_what_is_not_synced),
        ON_ENGINE(f30_store_rollback_restores_every_sequence_on_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
