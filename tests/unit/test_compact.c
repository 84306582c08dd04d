/*
 * Compaction seen from the engine's face: what it copies, when it begins, in which order
 * it changes files, and what it costs.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen clock_gettime fstatvfs
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "file/files.h"
#include "log/record.h"
#include "support/compacting.h"
#include "support/dice.h"
#include "support/keyed.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <stdlib.h>

/* ---- What it does when all is well ---- */

/* How much of a log is live. */
enum live { LIVE_ALL, LIVE_SOME, LIVE_NONE, LIVE_COUNT };

static void have_rows(struct table *table, struct engine *engine, enum live live)
{
    compacting_begin_some(table, engine);
    if (live != LIVE_ALL) {
        table_fill(table);
    }
    for (size_t row = 0; live != LIVE_ALL && row < table->row_count; row++) {
        if (live == LIVE_NONE || row % 3 == 0) {
            table_delete(table, row);
        }
    }
}

static void f70_compact_copies_exactly_the_live_data(void **state)
{
    struct engine *engine = *state;
    struct table table;
    for (enum live live = LIVE_ALL; live < LIVE_COUNT; live++) {
        have_rows(&table, engine, live);
        uint64_t length = engine_log_length(engine);
        compacting_start(engine);
        assert_int_equal(store_compact(engine->store), KV_OK); /* it is running already */
        size_t steps = compacting_finish(engine);
        assert_in_range(steps, 2, live == LIVE_NONE ? 4 : COMPACTING_STEPS_MAX);
        assert_true(table_holds(&table));
        compacting_expect_log(&table);
        assert_true(live == LIVE_ALL || engine_log_length(engine) < length / 2);
        assert_int_equal(store_stats(engine->store).compactions, 1);
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        assert_false(compacting_is_running(engine)); /* not again */
        compacting_reopen(&table);
        compacting_expect_log(&table);
        assert_int_equal(engine_told(engine, ""), 0);
        compacting_start_over(engine);
    }
}

/*
 * The table at the top of compact.c: each thing is durable before the next is built on
 * it. The call that fails looks for a PATH.index.
 */
static void compact_makes_each_step_durable_before_the_next(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 4, 1000);
    shim_forget_trace();
    compacting_start(engine);
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "pwrite:log fdatasync:log "     /* the second seal */
                        "openat:new pwrite:new "        /* the opening record */
                        "fdatasync:new "                /* ... is durable */
                        "renameat:old fsync:directory " /* PATH -> PATH.old */
                        "renameat:log fsync:directory " /* PATH.new -> PATH */
                        "openat:index!");               /* it is of the older log */
    shim_forget_trace();
    (void)compacting_finish(engine);
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "pwrite:log fdatasync:log " /* the copies and their seal */
                        "pwrite:log fdatasync:log " /* the drained mark */
                        "unlinkat:old fsync:directory");
}

/* With lazy syncs the copies need none of their own, but the drained mark covers them. */
static void compact_syncs_the_copies_before_it_drops_under_everysec(void **state)
{
    struct engine *engine = *state;
    struct table table;
    engine->sync = SYNC_EVERYSEC;
    compacting_begin(&table, engine, 4, 1000);
    shim_forget_trace();
    compacting_start(engine);
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "fdatasync:log pwrite:log fdatasync:log "
                        "openat:new pwrite:new fdatasync:new "
                        "renameat:old fsync:directory "
                        "renameat:log fsync:directory openat:index!");
    table_put(&table, 1);
    shim_forget_trace();
    (void)compacting_finish(engine);
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "pwrite:log pwrite:log fdatasync:log "
                        "unlinkat:old fsync:directory");
    assert_true(table_holds(&table));
    compacting_reopen(&table);
}

/* Who follows the log has so long to see that another one continues it. */
static void compact_keeps_a_drained_log_for_a_while(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 4, 1000);
    compacting_start(engine);
    compacting_advance(engine, 100);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    }
    shim_set_clock(COMPACTING_START_MS + COMPACT_KEEP_MS - 1);
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL),
                     COMPACTING_START_MS + COMPACT_KEEP_MS);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_true(compacting_is_running(engine));
    shim_advance_clock(1);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_false(compacting_is_running(engine));
    assert_true(table_holds(&table));
}

/* ---- When it starts ---- */

static void f70_compact_starts_by_itself_when_more_than_half_is_dead(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 700, 16000); /* half of it is more than the floor */
    struct store_stats stats = store_stats(engine->store);
    while (stats.dead_bytes <= stats.log_bytes / 2 ||
           stats.dead_bytes <= COMPACT_DEAD_BYTES_MIN) {
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        assert_false(compacting_is_running(engine));
        table_put(&table, table.last_version % table.row_count);
        stats = store_stats(engine->store);
    }
    assert_int_equal(store_maintain(engine->store, LEISURE_NONE), KV_OK);
    assert_false(compacting_is_running(engine));
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), 0);
    assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    assert_true(compacting_is_running(engine));
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_false(compacting_is_running(engine)); /* once is enough */
}

/* While commands are waiting a sync of each part would cost more than it saves. */
static void compact_saves_the_index_of_a_short_log_when_nobody_is_waiting(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    (void)compacting_finish(engine);
    for (size_t i = 0; i < 100; i++) {
        shim_advance_clock(1);
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
        assert_false(engine_has_file(engine, FILES_INDEX));
    }
    size_t steps = 0;
    while (!engine_has_file(engine, FILES_INDEX)) {
        assert_int_equal(compacting_step(engine), KV_OK);
        assert_in_range(++steps, 1, COMPACTING_STEPS_MAX);
    }
}

static void compact_saves_the_index_of_a_long_log_also_while_commands_wait(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 700, 16000);
    compacting_start(engine);
    (void)compacting_finish(engine);
    assert_true(engine_log_length(engine) > SNAPSHOT_LOG_BYTES_MIN);
    size_t steps = 0;
    while (!engine_has_file(engine, FILES_INDEX)) {
        shim_advance_clock(1);
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
        assert_in_range(++steps, 1, COMPACTING_STEPS_MAX);
    }
}

static void f70_compact_leaves_a_small_log_alone(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 10, 16000);
    while (store_stats(engine->store).dead_bytes <= COMPACT_DEAD_BYTES_MIN - 17000) {
        table_put(&table, table.last_version % table.row_count);
    }
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_false(compacting_is_running(engine));
}

static void f70_compact_never_starts_by_itself_on_a_log_without_dead_records(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, watchdog_scaled(900, 400), 16000);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        assert_false(compacting_is_running(engine));
        shim_advance_clock(10 * COMPACT_RETRY_MS);
    }
}

static void f70_compact_copies_the_largest_value_in_one_step(void **state)
{
    struct engine *engine = *state;
    struct table table;
    size_t length = watchdog_scaled(64 * MIB, 4 * MIB);
    uint8_t *bytes = malloc(length);
    struct slice value = {bytes, length};
    struct slice found;
    assert_non_null(bytes);
    memset(bytes, 'v', length);
    compacting_begin(&table, engine, 3, 100);
    for (size_t i = 0; i < 3; i++) {
        bytes[length / 2] = (uint8_t)('a' + i);
        assert_int_equal(keyed_set(engine->store, slice_of_text("large"), value), KV_OK);
        table_commit(&table);
    }
    assert_int_equal(compacting_step(engine), KV_OK); /* by itself */
    assert_true(compacting_is_running(engine));
    (void)compacting_finish(engine);
    assert_in_range(engine_log_length(engine), length, length + 2000);
    engine_crash(engine);
    engine_open(engine);
    assert_int_equal(keyed_get(engine->store, slice_of_text("large"), &found), KV_OK);
    assert_true(slice_equal(found, value));
    free(bytes);
}

/* ---- What it costs ---- */

/* The most bytes that one step wrote, and how many cut the older log. */
static uint64_t largest_write(void)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < shim_event_count(); i++) {
        const struct shim_event *event = shim_event_at(i);
        if (event->call == SHIM_PWRITE) {
            bytes += event->length;
        }
    }
    return bytes;
}

static void f69_a_slice_is_bounded(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, watchdog_scaled(900, 400), 16000);
    uint64_t record = record_length(table_key(0).length, 16010) + 8;
    uint64_t older = engine_log_length(engine);
    compacting_start(engine);
    size_t steps = 0;
    while (compacting_is_running(engine)) {
        struct store_stats before = store_stats(engine->store);
        shim_forget_trace();
        assert_int_equal(compacting_step(engine), KV_OK);
        assert_in_range(largest_write(), 0, COMPACT_SLICE_BYTES + record + SEAL_BYTES);
        struct store_stats after = store_stats(engine->store);
        assert_true(after.compaction_percent >= before.compaction_percent);
        for (size_t i = 0; i < shim_event_count(); i++) {
            const struct shim_event *event = shim_event_at(i);
            if (event->call == SHIM_FTRUNCATE) {
                assert_in_range(older - event->offset, 0, CUT_STEP_BYTES);
                older = event->offset;
            }
        }
        steps++;
    }
    /* No slice does next to nothing either. */
    assert_in_range(steps, 2, 10 + table.row_count * record / (COMPACT_SLICE_BYTES / 2));
    assert_true(table_holds(&table));
}

/* Each write takes three milliseconds. */
static void spend_time(void *context, const struct shim_event *change)
{
    (void)context; /* the clock is the shim's own */
    if (change->call == SHIM_PWRITE) {
        shim_advance_clock(3);
    }
}

/*
 * While commands wait, a slice is followed by a pause in proportion to it; commands that
 * write as much as a slice earn the next one at once, so that it ends in any case.
 */
static void f69_slices_take_a_share_of_the_time(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    shim_witness(spend_time, NULL);
    uint64_t writes = shim_count(SHIM_PWRITE);
    assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    assert_int_equal(shim_count(SHIM_PWRITE), writes + 1);
    assert_int_equal(store_due_ms(engine->store, LEISURE_SOME),
                     COMPACTING_START_MS + 3 + 3 * COMPACT_PAUSE_FACTOR);
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), 0);
    assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    assert_int_equal(shim_count(SHIM_PWRITE), writes + 1);
    shim_advance_clock(3 * COMPACT_PAUSE_FACTOR);
    assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    assert_int_equal(shim_count(SHIM_PWRITE), writes + 2);
    shim_witness(NULL, NULL);
    size_t sets = 0;
    while (compacting_is_running(engine)) { /* time stands still but for the slices */
        table_put(&table, sets++ % table.row_count);
        if (store_stats(engine->store).compaction_percent == 100) {
            shim_advance_clock(COMPACT_KEEP_MS); /* and when all has been copied */
        }
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
        assert_in_range(sets, 0, COMPACTING_STEPS_MAX);
    }
    assert_true(table_holds(&table));
}

/* Every byte that goes to a file. */
static void count_written(void *context, const struct shim_event *change)
{
    uint64_t *written = context;
    *written += change->call == SHIM_PWRITE ? change->length : 0;
}

/*
 * A log is compacted when more than half of it is dead, so each byte copied was paid for
 * by a byte written: overwriting for ever writes each byte at most twice.
 */
static void compact_writes_at_most_twice_what_clients_write(void **state)
{
    struct engine *engine = *state;
    struct table table;
    struct dice dice;
    uint64_t written = 0;
    uint64_t wanted = 0;
    uint64_t batches = 0;
    dice_begin(&dice);
    compacting_begin(&table, engine, 300, 16000);
    shim_witness(count_written, &written);
    while (store_stats(engine->store).compactions < watchdog_scaled(6, 1)) {
        for (size_t i = 0; i < 4; i++) {
            size_t row = (size_t)dice_below(&dice, table.row_count);
            table_stage(&table, row);
            wanted +=
                record_length(table_key(row).length, table_value_now(&table, row).length);
        }
        table_commit(&table);
        shim_advance_clock(1);
        batches++;
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
        assert_true(store_stats(engine->store).log_bytes <
                    4 * table_live_bytes(&table) + 4 * COMPACT_DEAD_BYTES_MIN);
    }
    shim_witness(NULL, NULL);
    /* A seal for each batch and for each slice, of which there are fewer. */
    assert_true(written <= 2 * wanted + 2 * batches * SEAL_BYTES);
    assert_true(written > wanted);
    assert_true(table_holds(&table));
    compacting_reopen(&table);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_ENGINE(f70_compact_copies_exactly_the_live_data),
        ON_ENGINE(compact_makes_each_step_durable_before_the_next),
        ON_ENGINE(compact_keeps_a_drained_log_for_a_while),
        ON_ENGINE(compact_syncs_the_copies_before_it_drops_under_everysec),
        ON_ENGINE(f70_compact_starts_by_itself_when_more_than_half_is_dead),
        ON_ENGINE(f70_compact_leaves_a_small_log_alone),
        ON_ENGINE(f70_compact_never_starts_by_itself_on_a_log_without_dead_records),
        ON_ENGINE(f70_compact_copies_the_largest_value_in_one_step),
        ON_ENGINE(compact_saves_the_index_of_a_short_log_when_nobody_is_waiting),
        ON_ENGINE(compact_saves_the_index_of_a_long_log_also_while_commands_wait),
        ON_ENGINE(f69_a_slice_is_bounded),
        ON_ENGINE(f69_slices_take_a_share_of_the_time),
        ON_ENGINE(compact_writes_at_most_twice_what_clients_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
