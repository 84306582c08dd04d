/*
 * Compaction of a log with damaged records: what is intact is copied, what is not keeps
 * the older log, and is mended by a new value.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen clock_gettime fstatvfs
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "file/files.h"
#include "log/record.h"
#include "support/compacting.h"
#include "support/keyed.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <stdio.h>
#include <unistd.h>

enum { ROWS_MANY = 1024 };

/* ---- Rot ---- */

static void expect_all_but(const struct table *table, size_t rotten)
{
    for (size_t row = 0; row < table->row_count; row++) {
        if (row != rotten) {
            assert_true(table_holds_row(table, row));
        }
    }
    struct slice value;
    assert_int_equal(keyed_get(table->engine->store, table_key(rotten), &value),
                     KV_CORRUPT);
}

/* How many records of a row a log has. */
static size_t count_row(const struct engine *engine, size_t row)
{
    struct script log = engine_read(engine, "");
    struct record record;
    size_t count = 0;
    for (uint64_t at = 0; at < log.length; at += record.length) {
        assert_true(record_decode(slice_after(script_slice(&log), (size_t)at), &record));
        count += slice_equal(record.key, table_key(row));
    }
    script_free(&log);
    return count;
}

static void f65_compact_keeps_the_older_log_of_a_rotten_record(void **state)
{
    struct engine *engine = *state;
    struct table table;
    for (size_t mended_by = 0; mended_by < 2; mended_by++) {
        compacting_begin_some(&table, engine);
        size_t rotten = table.row_count / 2;
        compacting_start(engine);
        compacting_flip_older(engine,
                              compacting_find_row(&table, FILES_OLD, rotten) + 100);
        struct script older = engine_read(engine, FILES_OLD);
        compacting_exhaust(engine);
        expect_all_but(&table, rotten);
        assert_int_equal(store_compact(engine->store), KV_CORRUPT);
        assert_int_equal(engine_told(engine, "is damaged"), 1); /* copied; then read */
        assert_int_equal(engine_told(engine, "the file is kept"), 1);
        assert_int_equal(count_row(engine, rotten), 0); /* no new seal stands for it */
        engine_expect_file(engine, FILES_OLD, script_slice(&older));
        table_put(&table, rotten == 0 ? 1 : 0); /* other keys go on */
        assert_true(compacting_is_running(engine));
        if (mended_by == 0) {
            table_put(&table, rotten);
        } else {
            table_delete(&table, rotten);
        }
        assert_int_equal(store_compact(engine->store), KV_OK);
        (void)compacting_finish(engine);
        assert_true(table_holds(&table));
        compacting_reopen(&table);
        script_free(&older);
        compacting_start_over(engine);
    }
}

/* Rot that only a dead record has concerns nobody. */
static void f65_compact_passes_over_rot_in_a_dead_value(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    uint64_t place = compacting_find_row(&table, FILES_OLD, 9) + 100;
    table_put(&table, 9);
    compacting_flip_older(engine, place);
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
    compacting_reopen(&table);
}

/*
 * Rot in the framing hides the records behind it from the walk through the log, not from
 * the index: all but the rotten one are copied, and mending that one ends it.
 */
static void f65_compact_copies_what_stands_behind_a_rotten_header(void **state)
{
    struct engine *engine = *state;
    struct table table;
    /* Both ends of both lengths are among every fifth. */
    for (size_t byte = 0; byte < RECORD_HEADER_BYTES; byte += watchdog_scaled(1, 5)) {
        compacting_begin_some(&table, engine);
        size_t rotten = table.row_count / 2;
        compacting_start(engine);
        compacting_flip_older(engine,
                              compacting_find_row(&table, FILES_OLD, rotten) + byte);
        compacting_exhaust(engine);
        expect_all_but(&table, rotten);
        assert_true(compacting_is_running(engine));
        assert_int_equal(engine_told(engine, ": 1 records are damaged"), 1);
        table_put(&table, rotten);
        (void)compacting_finish(engine);
        assert_true(table_holds(&table));
        compacting_reopen(&table);
        compacting_start_over(engine);
    }
}

/*
 * Rot in the framing, and in the seal of the same batch: no seal follows from where the
 * walk could go on. What the index knows behind it is still copied.
 */
static void f65_compact_copies_what_stands_before_a_rotten_last_seal(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin_some(&table, engine);
    size_t rotten = table.row_count - 5; /* others of its batch stand behind it */
    compacting_start(engine);
    struct script older = engine_read(engine, FILES_OLD);
    /* The batch's own seal, and the second one of the rest. */
    compacting_flip_older(engine, older.length - 1);
    compacting_flip_older(engine, older.length - SEAL_BYTES - 1);
    compacting_flip_older(engine, compacting_find_row(&table, FILES_OLD, rotten) + 7);
    script_free(&older);
    compacting_exhaust(engine);
    expect_all_but(&table, rotten);
    assert_int_equal(engine_told(engine, ": 1 records are damaged"), 1);
    table_put(&table, rotten);
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
    compacting_reopen(&table);
}

/* What is swept up is copied in slices, too. */
static void f69_a_slice_of_what_stands_behind_rot_is_bounded(void **state)
{
    struct engine *engine = *state;
    struct table table;
    const size_t shapes[][2] = {{100, 16000}, {ROWS_MANY, 40}};
    for (size_t i = 0; i < 2; i++) {
        compacting_begin_rotten(&table, engine, shapes[i][0], shapes[i][1]);
        uint64_t most = 0;
        for (size_t steps = 0; steps < 200; steps++) {
            uint64_t before = engine_log_length(engine);
            assert_int_equal(compacting_step(engine), KV_OK);
            uint64_t more = engine_log_length(engine) - before;
            most = more > most ? more : most;
        }
        assert_in_range(most, 1, COMPACT_SLICE_BYTES + 16000 + 1000);
        assert_int_equal(engine_told(engine, ": 1 records are damaged"), 1);
        expect_all_but(&table, 0);
        table_put(&table, 0);
        (void)compacting_finish(engine);
        assert_true(table_holds(&table));
        compacting_start_over(engine);
    }
}

/* Nor does a slice look at more than so many entries, though there is nothing to copy. */
static void f69_a_slice_looks_at_so_many_entries(void **state)
{
    struct engine *engine = *state;
    struct table table;
    size_t counts[2];
    for (size_t i = 0; i < 2; i++) {
        compacting_begin(&table, engine, 20, 1000);
        for (size_t key = 0; i == 1 && key < COMPACT_SLICE_ENTRIES; key++) {
            char text[32];
            (void)snprintf(text, sizeof text, "small-%zu", key);
            assert_int_equal(engine_set(engine, text, ""), KV_OK);
        }
        table_commit(&table);
        compacting_start(engine);
        compacting_flip_older(engine, compacting_find_row(&table, FILES_OLD, 3) + 100);
        compacting_advance(engine, 100);
        counts[i] = 0;
        while (engine_told(engine, ": 1 records are damaged") == 0) {
            assert_int_equal(compacting_step(engine), KV_OK);
            assert_in_range(++counts[i], 1, 10);
        }
        expect_all_but(&table, 3);
        compacting_start_over(engine);
    }
    assert_int_equal(counts[1], counts[0] + 1);
}

/*
 * An image of the index knows one log. One that was wanted before this compaction began
 * must wait for its end, also when rot holds it up.
 */
static void f65_no_index_is_saved_while_an_older_log_is_wanted(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    (void)compacting_finish(engine);
    assert_false(engine_has_file(engine, FILES_INDEX));
    compacting_start(engine);
    compacting_flip_older(engine, compacting_find_row(&table, FILES_OLD, 0) + 100);
    compacting_exhaust(engine);
    expect_all_but(&table, 0);
    assert_true(compacting_is_running(engine));
    assert_false(engine_has_file(engine, FILES_INDEX));
    table_put(&table, 0);
    (void)compacting_finish(engine);
    compacting_exhaust(engine);
    assert_true(engine_has_file(engine, FILES_INDEX));
    assert_true(table_holds(&table));
    engine->keeps_index = true;
    engine_close(engine);
    engine_open(engine);
    assert_true(table_holds(&table));
}

/* A start on a rotten older log says so and changes nothing. */
static void f65_a_start_on_a_rotten_older_log_is_refused(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    assert_int_equal(compacting_step(engine), KV_OK);
    engine_crash(engine);
    compacting_flip_older(engine, compacting_find_row(&table, FILES_OLD, 5) + 100);
    struct script older = engine_read(engine, FILES_OLD);
    struct script log = engine_read(engine, "");
    assert_int_equal(engine_try_open(engine), KV_CORRUPT);
    assert_int_equal(engine_told(engine, "kv.log.old: the log is damaged at offset"), 1);
    engine_expect_file(engine, FILES_OLD, script_slice(&older));
    engine_expect_file(engine, "", script_slice(&log));
    script_free(&older);
    script_free(&log);
}

/* ---- Reads that fail for a while ---- */

/* What stands behind so many bytes of PATH.old cannot be read; returns what that was. */
static struct script lose_older(const struct engine *engine, uint64_t length)
{
    struct script older = engine_read(engine, FILES_OLD);
    assert_int_equal(truncate(engine_file(engine, FILES_OLD).path, (off_t)length), 0);
    return older;
}

/* Its first bytes can be read again. */
static void give_older_back(const struct engine *engine, const struct script *older,
                            uint64_t length)
{
    engine_write(engine, FILES_OLD, slice_first(script_slice(older), (size_t)length));
}

/* Let time pass, with what is due in it. */
static void pass(const struct engine *engine, uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += COMPACT_RETRY_MS / 2) {
        shim_advance_clock(COMPACT_RETRY_MS / 2);
        compacting_exhaust(engine);
    }
}

/*
 * A read error that passes: the compaction waits, says so once however long it lasts, and
 * goes on by itself; what can be read meanwhile is copied.
 */
static void f123_compact_goes_on_when_reading_works_again(void **state)
{
    watchdog_skip_under_valgrind();
    struct engine *engine = *state;
    struct table table;
    engine_catch_sigbus();
    for (size_t is_early = 0; is_early < 2; is_early++) {
        compacting_begin_some(&table, engine);
        compacting_start(engine);
        compacting_advance(engine, is_early != 0 ? 0 : 40);
        struct script older = lose_older(engine, 16 * KIB);
        compacting_exhaust(engine);
        engine_forget_messages(engine);
        pass(engine, 3 * LOG_MESSAGE_MS);
        assert_true(compacting_is_running(engine));
        assert_int_equal(engine_told(engine, ""), 0);
        assert_int_equal(store_compact(engine->store), KV_OK); /* it is running */
        uint64_t left = engine_log_length(engine);
        give_older_back(engine, &older, older.length / 2);
        pass(engine, READ_RETRY_MS_MAX);
        assert_true(compacting_is_running(engine));
        assert_true(is_early == 0 || engine_log_length(engine) > left + 100000);
        give_older_back(engine, &older, older.length);
        pass(engine, READ_RETRY_MS_MAX);
        assert_false(compacting_is_running(engine));
        assert_true(table_holds(&table));
        assert_int_equal(store_stats(engine->store).compactions, 1);
        script_free(&older);
        compacting_reopen(&table);
        compacting_start_over(engine);
    }
}

/* A disk that cannot is asked ever more rarely; whoever asks for a compaction asks it. */
static void f123_compact_waits_longer_and_longer_for_reads(void **state)
{
    watchdog_skip_under_valgrind();
    struct engine *engine = *state;
    struct table table;
    engine_catch_sigbus();
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    struct script older = lose_older(engine, 16 * KIB);
    compacting_exhaust(engine);
    assert_int_equal(engine_told(engine, "cannot be read; it is not served"), 1);
    assert_int_equal(engine_told(engine, "cannot be read; the file is kept"), 1);
    uint64_t maps = shim_count(SHIM_MMAP);
    pass(engine, 10 * READ_RETRY_MS_MAX);
    /* Each try takes two: the file, and zeros again. */
    assert_in_range((shim_count(SHIM_MMAP) - maps) / 2, 10, 10 + 8);
    maps = shim_count(SHIM_MMAP);
    compacting_exhaust(engine);
    assert_int_equal(shim_count(SHIM_MMAP), maps);
    give_older_back(engine, &older, older.length);
    assert_int_equal(store_compact(engine->store), KV_OK);
    compacting_exhaust(engine); /* no time passes */
    assert_false(compacting_is_running(engine));
    assert_true(table_holds(&table));
    script_free(&older);
}

/* Damage beside it is told when it alone is left, and is what it always was. */
static void f123_compact_tells_damage_from_what_it_cannot_read_yet(void **state)
{
    watchdog_skip_under_valgrind();
    struct engine *engine = *state;
    struct table table;
    engine_catch_sigbus();
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    compacting_flip_older(engine, compacting_find_row(&table, FILES_OLD, 0) + 100);
    struct script older = lose_older(engine, 40 * KIB);
    compacting_exhaust(engine);
    assert_int_equal(engine_told(engine, "and cannot be copied"), 0);
    assert_int_equal(store_compact(engine->store), KV_OK);
    give_older_back(engine, &older, older.length);
    pass(engine, READ_RETRY_MS_MIN);
    assert_int_equal(engine_told(engine, ": 1 records are damaged and cannot"), 1);
    assert_int_equal(store_compact(engine->store), KV_CORRUPT);
    expect_all_but(&table, 0);
    table_put(&table, 0);
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
    script_free(&older);
}

/*
 * What cannot be read may be another key's of the same hash. It is replaced or deleted
 * only when it was tried again for a minute; then nothing is waited for.
 */
static void f123_compact_ends_when_what_it_cannot_read_is_replaced(void **state)
{
    watchdog_skip_under_valgrind();
    struct engine *engine = *state;
    struct table table;
    engine_catch_sigbus();
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    struct script older = lose_older(engine, 40 * KIB);
    compacting_exhaust(engine);
    uint64_t waited_ms = 0;
    while (keyed_set(engine->store, table_key(table.row_count - 1),
                     SLICE_LITERAL("new")) == KV_IO &&
           waited_ms < 3 * READ_RETRY_MS_MAX) {
        shim_advance_clock(500);
        waited_ms += 500;
    }
    assert_in_range(waited_ms, READ_RETRY_MS_MAX / 2, 2 * READ_RETRY_MS_MAX);
    for (size_t row = 1; row < table.row_count; row++) {
        table_put(&table, row);
    }
    assert_true(compacting_is_running(engine));
    table_delete(&table, 0);
    engine_crash(engine); /* before anything else */
    engine_open(engine);
    assert_true(table_holds(&table));
    script_free(&older);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_ENGINE(f65_compact_keeps_the_older_log_of_a_rotten_record),
        ON_ENGINE(f65_compact_passes_over_rot_in_a_dead_value),
        ON_ENGINE(f65_compact_copies_what_stands_behind_a_rotten_header),
        ON_ENGINE(f65_compact_copies_what_stands_before_a_rotten_last_seal),
        ON_ENGINE(f69_a_slice_of_what_stands_behind_rot_is_bounded),
        ON_ENGINE(f69_a_slice_looks_at_so_many_entries),
        ON_ENGINE(f65_no_index_is_saved_while_an_older_log_is_wanted),
        ON_ENGINE(f65_a_start_on_a_rotten_older_log_is_refused),
        ON_ENGINE(f123_compact_goes_on_when_reading_works_again),
        ON_ENGINE(f123_compact_waits_longer_and_longer_for_reads),
        ON_ENGINE(f123_compact_tells_damage_from_what_it_cannot_read_yet),
        ON_ENGINE(f123_compact_ends_when_what_it_cannot_read_is_replaced),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
