#include "support/compacting.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "file/files.h"
#include "log/record.h"
#include "support/keyed.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <stdio.h>

/* ---- A table that spans many slices ---- */

/* As after kill -9 at this moment. */
void compacting_reopen(const struct table *table)
{
    engine_crash(table->engine);
    engine_open(table->engine);
    assert_true(table_holds(table));
}

/* A store on an empty directory with so many rows; time stands still. */
void compacting_begin(struct table *table, struct engine *engine, size_t row_count,
                      size_t value_bytes)
{
    *table = (struct table){engine, row_count, value_bytes, {0}, 0};
    shim_reset();
    shim_set_clock(COMPACTING_START_MS);
    shim_omit_syncs();
    engine_open(engine);
    table_fill(table);
}

/* Rows for about six slices; three have a first, a middle and a last one, too. */
void compacting_begin_some(struct table *table, struct engine *engine)
{
    compacting_begin(table, engine, watchdog_scaled(160, 48),
                     watchdog_scaled(8192, 16000));
}

/* Close, if it is open, and remove everything, for the next of many runs. */
void compacting_start_over(struct engine *engine)
{
    engine_abandon(engine);
    engine_clean(engine);
    (void)remove(engine->log.path); /* a failure may have left only PATH.old */
    engine_forget_messages(engine);
}

void compacting_grow_log(const struct engine *engine, size_t value_bytes)
{
    struct script value = {0};
    script_add_fill(&value, 'v', value_bytes);
    assert_int_equal(
        keyed_set(engine->store, SLICE_LITERAL("large"), script_slice(&value)), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    assert_int_equal(keyed_delete(engine->store, SLICE_LITERAL("large")), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    script_free(&value);
}

/* ---- Steps ---- */

bool compacting_is_running(const struct engine *engine)
{
    return engine_has_file(engine, FILES_OLD);
}

/* A log that is drained is kept for a while, which passes here. */
enum status compacting_step(const struct engine *engine)
{
    uint64_t due_ms = store_due_ms(engine->store, LEISURE_ALL);
    uint64_t now_ms = clock_now_ms();
    if (due_ms > now_ms && due_ms - now_ms <= COMPACT_KEEP_MS &&
        compacting_is_running(engine)) {
        shim_set_clock(due_ms);
    }
    return store_maintain(engine->store, LEISURE_ALL);
}

void compacting_start(const struct engine *engine)
{
    assert_int_equal(store_compact(engine->store), KV_OK);
    assert_true(compacting_is_running(engine));
    assert_in_range(store_stats(engine->store).compaction_percent, 0, 99);
}

/* Returns how many steps it took. */
size_t compacting_finish(const struct engine *engine)
{
    size_t count = 0;
    while (compacting_is_running(engine)) {
        assert_int_equal(compacting_step(engine), KV_OK);
        assert_in_range(++count, 1, COMPACTING_STEPS_MAX);
        assert_in_range(store_stats(engine->store).compaction_percent, 0, 100);
    }
    assert_int_equal(store_stats(engine->store).compaction_percent, 100);
    return count;
}

/* Until about a part of the older log was copied, in percent. */
void compacting_advance(const struct engine *engine, uint64_t percent)
{
    size_t count = 0;
    while (store_stats(engine->store).compaction_percent < percent) {
        assert_int_equal(compacting_step(engine), KV_OK);
        assert_in_range(++count, 1, COMPACTING_STEPS_MAX);
    }
}

/* ---- The bytes of a log ---- */

struct content {
    uint64_t records;
    uint64_t tombstones;
    uint64_t seals;
    uint64_t drained_marks;
};

static struct content count_records(struct slice log)
{
    struct content content = {0};
    struct record record;
    struct seal seal;
    struct drained drained;
    uint64_t at = 0;
    while (at < log.length) {
        struct slice rest = slice_after(log, (size_t)at);
        assert_true(record_decode(rest, &record));
        content.seals += record_decode_seal(rest, at, &seal);
        content.drained_marks += record_decode_drained(rest, at, &drained);
        content.records += !record_is_mark(&record);
        content.tombstones += !record_is_mark(&record) && record_is_tombstone(&record);
        at += record.length;
    }
    return content;
}

/* PATH is the live data, each record once, and the marks that belong to it. */
void compacting_expect_log(const struct table *table)
{
    struct script log = engine_read(table->engine, "");
    struct content content = count_records(script_slice(&log));
    assert_int_equal(content.records, table_live_rows(table));
    assert_int_equal(content.tombstones, 0);
    assert_int_equal(content.drained_marks, 1);
    assert_int_equal(log.length, OPENING_BYTES + table_live_bytes(table) + DRAINED_BYTES +
                                     content.seals * SEAL_BYTES);
    assert_false(engine_has_file(table->engine, FILES_OLD));
    assert_false(engine_has_file(table->engine, FILES_NEW));
    script_free(&log);
}

/* Where the record of a row with its present value begins in a file. */
uint64_t compacting_find_row(const struct table *table, const char *suffix, size_t row)
{
    struct script log = engine_read(table->engine, suffix);
    struct slice bytes = script_slice(&log);
    struct slice wanted = table_value_now(table, row);
    struct record record;
    uint64_t at = 0;
    while (record_decode(slice_after(bytes, (size_t)at), &record) &&
           !slice_equal(record.value, wanted)) {
        at += record.length;
    }
    assert_true(at < log.length);
    script_free(&log);
    return at;
}

void compacting_flip_older(const struct engine *engine, uint64_t offset)
{
    FILE *file = fopen(engine_file(engine, FILES_OLD).path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, file), byte ^ 1);
    assert_int_equal(fclose(file), 0);
}

/* Go on until nothing is left to do. */
void compacting_exhaust(const struct engine *engine)
{
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(compacting_step(engine), KV_OK);
    }
}

/* All rows in one batch, the first of them with a rotten header: the rest is swept up. */
void compacting_begin_rotten(struct table *table, struct engine *engine, size_t row_count,
                             size_t value_bytes)
{
    compacting_begin(table, engine, row_count, value_bytes);
    for (size_t row = 0; row < row_count; row++) {
        table_stage(table, row);
    }
    table_commit(table);
    compacting_start(engine);
    compacting_flip_older(engine, compacting_find_row(table, FILES_OLD, 0) + 7);
}
