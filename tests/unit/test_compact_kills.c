/*
 * What a start makes of a compaction that was killed: keys deleted meanwhile stay away,
 * and the pairs of logs that it may find.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen clock_gettime fstatvfs
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "file/files.h"
#include "log/record.h"
#include "support/compacting.h"
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A compaction was killed when so much had been copied, in percent. */
static void have_killed(struct table *table, struct engine *engine, uint64_t percent)
{
    compacting_begin_some(table, engine);
    compacting_start(engine);
    compacting_advance(engine, percent);
    engine_crash(engine);
}

/* A tombstone is wanted while the older log is there, also across a crash. */
static void f66_deleted_keys_never_come_back(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    compacting_advance(engine, 30);
    for (size_t row = 0; row < table.row_count; row++) {
        table_delete(&table, row);
        if (row % 40 == 0) {
            compacting_reopen(&table);
        }
    }
    compacting_reopen(&table);
    (void)compacting_finish(engine);
    compacting_reopen(&table);
    table_put(&table, 3);
    compacting_start(engine);
    (void)compacting_finish(engine);
    compacting_expect_log(&table);
}

/* ---- What a start may find ---- */

/*
 * That a log has its older name proves that all of it was durable, also where an image
 * knows of less: what is missing at its end was no torn tail.
 */
static void f68_an_image_that_knows_less_excuses_no_lost_end(void **state)
{
    struct engine *engine = *state;
    engine->keeps_index = true;
    engine_open(engine);
    engine_put(engine, "covered", "by the image");
    engine_close(engine);
    engine_open(engine);
    engine_put(engine, "behind", "it");
    uint64_t length = engine_log_length(engine);
    shim_fail_from(SHIM_BIT(SHIM_RENAMEAT), SHIM_ANY, 2, EIO);
    assert_int_equal(store_compact(engine->store), KV_FATAL);
    shim_clear_faults();
    engine_kill(engine);
    assert_true(engine_has_file(engine, FILES_INDEX));
    assert_false(engine_has_file(engine, ""));
    struct script older = engine_read(engine, FILES_OLD);
    engine_write(engine, FILES_OLD, slice_first(script_slice(&older), length - 5));
    assert_int_equal(engine_try_open(engine), KV_CORRUPT);
    engine_write(engine, FILES_OLD, script_slice(&older));
    engine_open(engine);
    engine_expect(engine, "behind", "it");
    script_free(&older);
}

static void f68_an_older_log_alone_is_taken_up(void **state)
{
    struct engine *engine = *state;
    struct table table;
    have_killed(&table, engine, 0);
    assert_int_equal(remove(engine->log.path), 0);
    engine_write(engine, FILES_NEW,
                 SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x58"
                               "6b76"));
    shim_fail_once(SHIM_BIT(SHIM_RENAMEAT), SHIM_ANY, 1, EIO);
    assert_int_equal(engine_try_open(engine), KV_IO);
    assert_true(engine_has_file(engine, FILES_OLD));
    engine_open(engine);
    assert_true(table_holds(&table));
    assert_false(compacting_is_running(engine));
    assert_false(engine_has_file(engine, FILES_NEW));
    compacting_start(engine);
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
}

/* All of it was durable before it got that name: what is cut off was not torn off. */
static void f68_an_older_log_alone_that_lost_its_end_is_refused(void **state)
{
    struct engine *engine = *state;
    struct table table;
    have_killed(&table, engine, 0);
    assert_int_equal(remove(engine->log.path), 0);
    struct script older = engine_read(engine, FILES_OLD);
    older.length -= 5;
    engine_write(engine, FILES_OLD, script_slice(&older));
    assert_int_equal(engine_try_open(engine), KV_CORRUPT);
    engine_expect_file(engine, FILES_OLD, script_slice(&older));
    script_free(&older);
}

/* A drained log, whole or cut short in any step of its removal, is only removed. */
static void f68_a_drained_log_of_any_length_is_removed(void **state)
{
    struct engine *engine = *state;
    struct table table;
    const uint64_t lengths[] = {0, 1, OPENING_BYTES - 1, OPENING_BYTES, 5000, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        compacting_begin(&table, engine, 20, 1000);
        compacting_start(engine);
        struct script older = engine_read(engine, FILES_OLD);
        (void)compacting_finish(engine);
        table_put(&table, 4);
        table_delete(&table, 5);
        engine_crash(engine);
        size_t length = lengths[i] < older.length ? (size_t)lengths[i] : older.length;
        engine_write(engine, FILES_OLD, slice_first(script_slice(&older), length));
        engine_open(engine);
        assert_true(table_holds(&table));
        assert_false(compacting_is_running(engine));
        script_free(&older);
        compacting_start_over(engine);
    }
}

/* The start refuses what is there with a message that holds a text, and leaves it. */
static void expect_refusal(struct engine *engine, enum status status, const char *text)
{
    struct script log = engine_read(engine, "");
    shim_forget_trace();
    engine_forget_messages(engine);
    assert_int_equal(engine_try_open(engine), status);
    assert_int_equal(engine_told(engine, text), 1);
    assert_null(strstr(shim_trace_text(SHIM_CHANGES), "renameat"));
    assert_null(strstr(shim_trace_text(SHIM_CHANGES), "ftruncate"));
    assert_null(strstr(shim_trace_text(SHIM_CHANGES), "unlinkat:old"));
    engine_expect_file(engine, "", script_slice(&log));
    script_free(&log);
}

static void f68_an_older_log_of_another_generation_is_refused(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 20, 1000);
    compacting_start(engine);
    struct script first = engine_read(engine, FILES_OLD);
    (void)compacting_finish(engine);
    compacting_start(engine);
    engine_crash(engine);
    struct script second = engine_read(engine, FILES_OLD);
    engine_write(engine, FILES_OLD, script_slice(&first));
    expect_refusal(engine, KV_CORRUPT, "kv.log.old: is not the log that this one");
    engine_expect_file(engine, FILES_OLD, script_slice(&first));
    /* One that is not as long as it was when it was continued. */
    engine_write(engine, FILES_OLD, slice_first(script_slice(&second), 3000));
    expect_refusal(engine, KV_CORRUPT, "kv.log.old: is not as long as it was");
    /* One beside a log that continues none. */
    engine_write(engine, "", script_slice(&first));
    engine_write(engine, FILES_OLD, script_slice(&second));
    expect_refusal(engine, KV_CORRUPT, "kv.log.old: is not the log that this one");
    engine_expect_file(engine, FILES_OLD, script_slice(&second));
    script_free(&first);
    script_free(&second);
}

static void f68_an_older_log_that_is_no_file_is_refused(void **state)
{
    struct engine *engine = *state;
    struct table table;
    have_killed(&table, engine, 0);
    struct tempdir_file older = engine_file(engine, FILES_OLD);
    assert_int_equal(remove(older.path), 0);
    assert_int_equal(mkdir(older.path, 0700), 0);
    expect_refusal(engine, KV_IO, "kv.log.old: ");
    assert_int_equal(rmdir(older.path), 0);
    assert_int_equal(symlink("kv.log", older.path), 0);
    expect_refusal(engine, KV_IO, "kv.log.old: is a symbolic link");
}

/* Nor can a compaction put its older log where a directory stands. */
static void f68_compact_does_not_begin_over_a_directory(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 20, 1000);
    struct tempdir_file older = engine_file(engine, FILES_OLD);
    assert_int_equal(mkdir(older.path, 0700), 0);
    assert_int_equal(store_compact(engine->store), KV_IO);
    table_put(&table, 1);
    assert_true(table_holds(&table));
    assert_int_equal(rmdir(older.path), 0);
    compacting_start(engine);
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
}

static void f96_an_older_log_that_is_missing_is_named(void **state)
{
    struct engine *engine = *state;
    struct table table;
    const uint64_t stages[] = {0, 40, 99};
    for (size_t i = 0; i < 3; i++) {
        have_killed(&table, engine, stages[i]);
        struct script older = engine_read(engine, FILES_OLD);
        assert_int_equal(remove(engine_file(engine, FILES_OLD).path), 0);
        expect_refusal(engine, KV_CORRUPT, "kv.log.old: is missing");
        engine_write(engine, FILES_OLD, script_slice(&older)); /* and back again */
        engine_open(engine);
        assert_true(table_holds(&table));
        script_free(&older);
        compacting_start_over(engine);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_ENGINE(f66_deleted_keys_never_come_back),
        ON_ENGINE(f68_an_older_log_alone_is_taken_up),
        ON_ENGINE(f68_an_older_log_alone_that_lost_its_end_is_refused),
        ON_ENGINE(f68_an_image_that_knows_less_excuses_no_lost_end),
        ON_ENGINE(f68_a_drained_log_of_any_length_is_removed),
        ON_ENGINE(f68_an_older_log_of_another_generation_is_refused),
        ON_ENGINE(f68_an_older_log_that_is_no_file_is_refused),
        ON_ENGINE(f68_compact_does_not_begin_over_a_directory),
        ON_ENGINE(f96_an_older_log_that_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
