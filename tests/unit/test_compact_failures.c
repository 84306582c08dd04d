/*
 * Compaction over calls that fail, once or for good: what is taken back, what is tried
 * again, how often the operator is told, and what ends the program.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen clock_gettime fstatvfs
 * wrap: malloc calloc realloc posix_madvise
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "file/files.h"
#include "log/record.h"
#include "support/compacting.h"
#include "support/disk.h"
#include "support/keyed.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Failing calls ---- */

/* Take all steps, one of them without memory at the nth time that it is asked for; false
 * if it was not asked for so often. */
static bool step_without_memory(const struct engine *engine, uint64_t nth)
{
    shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
    for (size_t i = 0; i < 200 && shim_fired_count() == 0; i++) {
        uint64_t length = compacting_is_running(engine) ? engine_log_length(engine) : 0;
        uint64_t percent = store_stats(engine->store).compaction_percent;
        assert_int_equal(compacting_step(engine), KV_OK);
        if (shim_fired_count() > 0 &&
            compacting_is_running(engine)) { /* it was taken back */
            assert_in_range(engine_log_length(engine) - length, 0, SEAL_BYTES);
            assert_int_equal(store_staged_bytes(engine->store), 0);
            assert_int_equal(store_stats(engine->store).compaction_percent, percent);
        }
    }
    shim_clear_faults();
    return shim_fired_count() > 0;
}

/* A slice that cannot be staged or sealed waits, and service goes on meanwhile. */
static void f71_compact_without_memory_pauses_and_service_goes_on(void **state)
{
    struct engine *engine = *state;
    struct table table;
    for (int is_swept = 0; is_swept < 2; is_swept++) {
        uint64_t nth = 0;
        bool has_failed = true;
        while (has_failed) {
            if (is_swept) {
                compacting_begin_rotten(&table, engine, 60, 16000);
            } else {
                compacting_begin_some(&table, engine);
                compacting_start(engine);
            }
            nth += watchdog_scaled(1, 3);
            has_failed = step_without_memory(engine, nth);
            table_put(&table, 3);
            shim_advance_clock(COMPACT_RETRY_MS);
            compacting_exhaust(engine);
            table_put(&table, 0); /* mends what is rotten */
            (void)compacting_finish(engine);
            assert_true(table_holds(&table));
            compacting_reopen(&table);
            compacting_start_over(engine);
        }
        assert_in_range(nth, 5, 200);
    }
}

/*
 * What a new log needs and cannot be had, again and again: the log keeps its name all the
 * time, and the operator is told once a minute at most; then it goes on by itself.
 */
static void f111_compact_that_cannot_make_a_new_log_backs_off(void **state)
{
    static const struct shim_fault faults[] = {
        {SHIM_BIT(SHIM_OPENAT), SHIM_NEW, 1, EMFILE, true},
        {SHIM_BIT(SHIM_OPENAT), SHIM_NEW, 1, ENOSPC, true},
        {SHIM_BIT(SHIM_PWRITE), SHIM_NEW, 1, ENOSPC, true},
        {SHIM_BIT(SHIM_FDATASYNC), SHIM_NEW, 1, ENOSPC, true},
        {SHIM_BIT(SHIM_MMAP), SHIM_NEW, 1, ENOMEM, true},
        {SHIM_BIT(SHIM_CALLOC), SHIM_ANY, 1, ENOMEM, true},
    };
    enum { MINUTES = 3 };
    struct engine *engine = *state;
    struct table table;
    /* Slowly: one that fails to make the file, and one that fails later. */
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i += watchdog_scaled(1, 3)) {
        compacting_begin(&table, engine, 600, 16000); /* so much is dead as is needed */
        table_fill(&table);
        shim_inject(&faults[i]);
        shim_forget_trace();
        for (uint64_t ms = 0; ms < MINUTES * LOG_MESSAGE_MS; ms += COMPACT_RETRY_MS / 2) {
            assert_int_equal(compacting_step(engine), KV_OK);
            shim_advance_clock(COMPACT_RETRY_MS / 2);
        }
        assert_null(strstr(shim_trace_text(SHIM_CHANGES), "renameat"));
        assert_false(engine_has_file(engine, FILES_NEW));
        assert_in_range(engine_told(engine, ""), 1, MINUTES + 1);
        table_put(&table, 3);
        assert_true(table_holds(&table));
        shim_clear_faults();
        shim_advance_clock(LOG_MESSAGE_MS);
        assert_int_equal(compacting_step(engine), KV_OK); /* by itself */
        assert_true(compacting_is_running(engine));
        (void)compacting_finish(engine);
        compacting_expect_log(&table);
        compacting_start_over(engine);
    }
}

/* Nor is it told more often to who asks for one again and again; each of them tries. */
static void f111_compact_by_hand_tells_once_a_minute_why_none_begins(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 20, 1000);
    shim_fail_from(SHIM_BIT(SHIM_OPENAT), SHIM_NEW, 1, EMFILE);
    for (size_t i = 1; i <= 90; i++) {
        assert_int_equal(store_compact(engine->store), KV_IO);
        assert_int_equal(shim_fired_count(), i);
        shim_advance_clock(LOG_MESSAGE_MS / 30);
    }
    assert_int_equal(engine_told(engine, ""), 3);
    assert_int_equal(engine_told(engine, "kv.log.new: cannot create"), 3);
    shim_clear_faults();
    compacting_start(engine);
    (void)compacting_finish(engine);
    shim_fail_once(SHIM_BIT(SHIM_OPENAT), SHIM_NEW, 1, EMFILE); /* another time */
    assert_int_equal(store_compact(engine->store), KV_IO);
    assert_int_equal(engine_told(engine, ""), 4);
    shim_fail_once(SHIM_BIT(SHIM_FSYNC), SHIM_ANY, 1, EIO); /* the last word is told */
    assert_int_equal(store_compact(engine->store), KV_FATAL);
    assert_int_equal(engine_told(engine, "cannot sync the directory"), 1);
    engine_abandon(engine);
}

/* ---- A view of the log that is short ---- */

/* Open with a view that ends a MiB behind the end of the log, as where address space is
 * scarce. */
static void open_with_a_short_view(struct engine *engine)
{
    shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENOMEM);
    shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 2, ENOMEM);
    engine_open(engine);
    shim_clear_faults();
}

/* One batch of one record, whose seal ends at this length of the log. */
static enum status fill_up_to(const struct engine *engine, const char *key,
                              uint64_t length)
{
    uint64_t other_bytes = record_length(strlen(key), 0) + SEAL_BYTES;
    size_t value_bytes = (size_t)(length - engine_log_length(engine) - other_bytes);
    uint8_t *bytes = malloc(value_bytes);
    assert_non_null(bytes);
    memset(bytes, 'v', value_bytes);
    enum status status =
        keyed_set(engine->store, slice_of_text(key), (struct slice){bytes, value_bytes});
    free(bytes);
    return status == KV_OK ? store_commit(engine->store) : status;
}

/*
 * The last seal of the log begins exactly where its view ends, at a page: the walk
 * through it, when it has become the older log, goes over that seal too.
 */
static void f114_compact_walks_over_a_seal_beyond_the_view(void **state)
{
    struct engine *engine = *state;
    struct table table;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    compacting_begin(&table, engine, 0, 100);
    assert_int_equal(fill_up_to(engine, "first", page), KV_OK);
    engine_crash(engine); /* without another seal */
    shim_guard_views();
    open_with_a_short_view(engine);
    assert_int_equal(engine_log_length(engine), page);
    assert_int_equal(fill_up_to(engine, "second", MIB), KV_OK);
    assert_int_equal(fill_up_to(engine, "third", page + MIB), KV_OK); /* in one slice */
    shim_advance_clock(SECOND_SEAL_MS);
    assert_int_equal(compacting_step(engine), KV_OK);
    assert_int_equal(engine_log_length(engine), page + MIB + SEAL_BYTES);
    compacting_start(engine);
    (void)compacting_finish(engine);
    assert_int_equal(store_count(engine->store), 3);
    engine_crash(engine);
    engine_open(engine);
    assert_int_equal(store_count(engine->store), 3);
}

/* Nor does it begin where the view cannot be widened for that. */
static void f114_compact_waits_for_a_view_of_the_whole_log(void **state)
{
    struct engine *engine = *state;
    struct table table;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    compacting_begin(&table, engine, 0, 100);
    assert_int_equal(fill_up_to(engine, "first", page), KV_OK);
    engine_crash(engine);
    open_with_a_short_view(engine);
    assert_int_equal(fill_up_to(engine, "second", page + MIB), KV_OK);
    shim_fail_from(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENOMEM);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(store_compact(engine->store), KV_NO_MEMORY);
        assert_false(compacting_is_running(engine));
    }
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(engine_told(engine, "not enough memory for a compaction"), 1);
    shim_clear_faults();
    compacting_start(engine);
    (void)compacting_finish(engine);
    assert_int_equal(store_count(engine->store), 2);
}

/*
 * The view cannot grow: what fits is accepted, what does not is refused, the operator is
 * told once a minute, and all goes on when there is address space again.
 */
static void f112_a_view_that_cannot_grow_is_told_once_a_minute(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 0, 100);
    uint64_t length = engine_log_length(engine);
    engine_crash(engine);
    open_with_a_short_view(engine);
    shim_fail_from(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENOMEM);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(fill_up_to(engine, "large", length + 2 * MIB), KV_NO_MEMORY);
        engine_put(engine, "small", "value");
        engine_expect(engine, "small", "value");
    }
    assert_int_equal(engine_told(engine, "no address space for the log"), 1);
    shim_advance_clock(LOG_MESSAGE_MS);
    assert_int_equal(fill_up_to(engine, "large", length + 2 * MIB), KV_NO_MEMORY);
    assert_int_equal(engine_told(engine, "no address space for the log"), 2);
    assert_int_equal(engine_delete(engine, "small"), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    shim_clear_faults();
    assert_int_equal(fill_up_to(engine, "large", length + 2 * MIB), KV_OK);
    assert_int_equal(store_count(engine->store), 1);
    assert_int_equal(engine_told(engine, ""), 2);
}

/* A slice that finds no memory, for its view or for itself, is told once and tried on. */
static void f112_compact_without_memory_says_so_once(void **state)
{
    static const struct shim_fault faults[] = {
        {SHIM_BIT(SHIM_MMAP), SHIM_ANY, 1, ENOMEM, true},
        {SHIM_BIT(SHIM_REALLOC), SHIM_ANY, 1, ENOMEM, true},
    };
    struct engine *engine = *state;
    struct table table;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        compacting_begin(&table, engine, watchdog_scaled(160, 100),
                         16000); /* more than a MiB */
        shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_NEW, 1, ENOMEM);
        shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_NEW, 2, ENOMEM);
        compacting_start(engine);
        shim_clear_faults();
        shim_inject(&faults[i]);
        for (size_t steps = 0; steps < 40; steps++) {
            assert_int_equal(compacting_step(engine), KV_OK);
            shim_advance_clock(COMPACT_RETRY_MS);
        }
        assert_true(compacting_is_running(engine));
        shim_clear_faults();
        assert_int_equal(engine_told(engine, "not enough memory for a compaction"), 1);
        assert_true(table_holds(&table));
        (void)compacting_finish(engine);
        assert_true(table_holds(&table));
        compacting_start_over(engine);
    }
}

/* Nor is a drained log tried to be removed, and told about, each second. */
static void f111_compact_that_cannot_drop_the_older_log_backs_off(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 20, 1000);
    compacting_start(engine);
    shim_fail_from(SHIM_BIT(SHIM_UNLINKAT), SHIM_OLD, 1, EACCES);
    for (uint64_t ms = 0; ms < 3 * LOG_MESSAGE_MS; ms += COMPACT_RETRY_MS / 2) {
        assert_int_equal(compacting_step(engine), KV_OK);
        shim_advance_clock(COMPACT_RETRY_MS / 2);
    }
    assert_in_range(engine_told(engine, "cannot remove"), 2, 4);
    shim_clear_faults();
    shim_advance_clock(LOG_MESSAGE_MS);
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
}

/* A sync that fails leaves the state of the disk unknown, in a slice as in a commit. */
static void f67_compact_that_cannot_sync_is_fatal(void **state)
{
    struct engine *engine = *state;
    struct table table;
    /* The copies; the drained mark; under everysec that has the only sync. */
    for (size_t i = 0; i < 3; i++) {
        engine->sync = i == 2 ? SYNC_EVERYSEC : SYNC_ALWAYS;
        compacting_begin(&table, engine, 20, 1000);
        compacting_start(engine);
        shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_LOG, i == 1 ? 2 : 1, EIO);
        while (compacting_step(engine) == KV_OK) {
            assert_true(compacting_is_running(engine));
        }
        assert_int_equal(shim_fired_count(), 1);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        assert_true(compacting_is_running(engine));
        engine_abandon(engine);
        engine_open(engine);
        (void)compacting_finish(engine);
        assert_true(table_holds(&table));
        compacting_start_over(engine);
    }
}

/* The older log cannot be got rid of: service goes on, and it is tried again. */
static void f67_compact_that_cannot_drop_the_older_log_tries_again(void **state)
{
    static const struct shim_fault failures[] = {
        {SHIM_BIT(SHIM_FTRUNCATE), SHIM_OLD, 1, EIO, false},
        {SHIM_BIT(SHIM_UNLINKAT), SHIM_OLD, 1, EIO, false},
        {SHIM_BIT(SHIM_UNLINKAT), SHIM_OLD, 1, EROFS, false},
        {SHIM_BIT(SHIM_FSYNC), SHIM_DIRECTORY, 1, EIO, false},
    };
    struct engine *engine = *state;
    struct table table;
    for (size_t i = 0; i < 2 * sizeof failures / sizeof failures[0]; i++) {
        compacting_begin(&table, engine, 20, 1000);
        compacting_grow_log(engine, CUT_STEP_BYTES);
        compacting_start(engine);
        shim_inject(&failures[i / 2]);
        for (size_t k = 0; k < 60; k++) {
            assert_int_equal(compacting_step(engine), KV_OK);
        }
        assert_int_equal(shim_fired_count(), 1);
        assert_int_equal(store_stats(engine->store).compactions, 0);
        table_put(&table, 2);
        assert_true(table_holds(&table));
        if (i % 2 == 1) {
            compacting_reopen(&table);
        }
        for (size_t k = 0; k < 8; k++) {
            shim_advance_clock(LOG_MESSAGE_MS);
            assert_int_equal(compacting_step(engine), KV_OK);
        }
        assert_false(compacting_is_running(engine));
        assert_int_equal(store_stats(engine->store).compactions, i % 2 == 1 ? 0 : 1);
        assert_true(table_holds(&table));
        compacting_start(engine); /* the next one is not held up */
        (void)compacting_finish(engine);
        assert_true(table_holds(&table));
        compacting_reopen(&table);
        compacting_start_over(engine);
    }
}

/* A start that cannot remove a drained log serves; the next compaction replaces it. */
static void f67_a_start_that_cannot_remove_a_drained_log_serves(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 20, 1000);
    compacting_start(engine);
    assert_int_equal(compacting_step(engine), KV_OK);
    assert_int_equal(compacting_step(engine), KV_OK); /* the drained mark */
    engine_crash(engine);
    shim_fail_from(SHIM_BIT(SHIM_UNLINKAT), SHIM_OLD, 1, EIO);
    engine_open(engine);
    assert_true(table_holds(&table));
    assert_true(compacting_is_running(engine));
    table_put(&table, 1);
    shim_clear_faults();
    assert_int_equal(store_compact(engine->store), KV_OK);
    compacting_reopen(&table);
    (void)compacting_finish(engine);
    compacting_expect_log(&table);
}

/* A backup by a second link keeps every byte of the log that it was made of. */
static void f102_a_second_link_to_the_log_keeps_its_bytes(void **state)
{
    struct engine *engine = *state;
    struct table table;
    for (size_t is_late = 0; is_late < 2; is_late++) {
        compacting_begin_some(&table, engine);
        struct tempdir_file backup = engine_file(engine, ".backup");
        if (is_late == 0) {
            assert_int_equal(link(engine->log.path, backup.path), 0);
            table_put(&table, 1); /* goes into both */
        }
        compacting_start(engine);
        if (is_late == 1) { /* while it is being copied from */
            assert_int_equal(compacting_step(engine), KV_OK);
            assert_int_equal(link(engine_file(engine, FILES_OLD).path, backup.path), 0);
        }
        struct script older = engine_read(engine, FILES_OLD);
        (void)compacting_finish(engine);
        engine_expect_file(engine, ".backup", script_slice(&older));
        compacting_expect_log(&table);
        script_free(&older);
        assert_int_equal(remove(backup.path), 0);
        compacting_start_over(engine);
    }
}

/* A file that cannot be inspected may have another link: it is unlinked as a whole. */
static void f102_an_older_log_that_cannot_be_inspected_is_not_cut(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 20, 1000);
    compacting_start(engine);
    shim_fail_from(SHIM_BIT(SHIM_FSTAT), SHIM_OLD, 1, EIO);
    shim_forget_trace();
    (void)compacting_finish(engine);
    assert_null(strstr(shim_trace_text(SHIM_CHANGES), "ftruncate"));
    assert_true(table_holds(&table));
}

static bool knows_no_size; /* as some file systems of user space */
static bool takes_no_advice;

int __real_posix_madvise(void *place, size_t length, int advice);
int __wrap_posix_madvise(void *place, size_t length, int advice);

int __wrap_posix_madvise(void *place, size_t length, int advice)
{
    return takes_no_advice ? EINVAL : __real_posix_madvise(place, length, advice);
}

/* Compact and start again on a file system that does not know a call; count the lines. */
static void compact_where_a_call_fails(struct engine *engine, unsigned calls, int error,
                                       size_t line_count)
{
    struct table table;
    compacting_begin(&table, engine, 20, 1000);
    if (knows_no_size) {
        disk_be_of_unknown_size();
    }
    if (calls != 0) {
        shim_fail_from(calls, SHIM_ANY, 1, error);
    }
    compacting_start(engine);
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
    compacting_reopen(&table);
    assert_int_equal(engine_told(engine, ""), line_count);
    compacting_start_over(engine);
}

static void f109_strange_file_systems_start_and_compact(void **state)
{
    struct engine *engine = *state;
    compact_where_a_call_fails(engine, SHIM_BIT(SHIM_FSTATVFS), ENOSYS, 0);
    knows_no_size = true;
    compact_where_a_call_fails(engine, 0, 0, 0);
    knows_no_size = false;
    takes_no_advice = true;
    compact_where_a_call_fails(engine, 0, 0, 0);
    takes_no_advice = false;
    /* One for the start. */
    compact_where_a_call_fails(engine, SHIM_BIT(SHIM_FADVISE), ENOSYS, 1);
    compact_where_a_call_fails(engine, SHIM_BIT(SHIM_FADVISE), EINVAL, 1);
    /* One for each store, however often it syncs the directory. */
    compact_where_a_call_fails(engine, SHIM_BIT(SHIM_FSYNC), EINVAL, 2);
    compact_where_a_call_fails(engine, SHIM_BIT(SHIM_FSYNC), EOPNOTSUPP, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_ENGINE(f71_compact_without_memory_pauses_and_service_goes_on),
        ON_ENGINE(f111_compact_that_cannot_make_a_new_log_backs_off),
        ON_ENGINE(f111_compact_by_hand_tells_once_a_minute_why_none_begins),
        ON_ENGINE(f111_compact_that_cannot_drop_the_older_log_backs_off),
        ON_ENGINE(f114_compact_walks_over_a_seal_beyond_the_view),
        ON_ENGINE(f114_compact_waits_for_a_view_of_the_whole_log),
        ON_ENGINE(f112_a_view_that_cannot_grow_is_told_once_a_minute),
        ON_ENGINE(f112_compact_without_memory_says_so_once),
        ON_ENGINE(f67_compact_that_cannot_sync_is_fatal),
        ON_ENGINE(f67_compact_that_cannot_drop_the_older_log_tries_again),
        ON_ENGINE(f67_a_start_that_cannot_remove_a_drained_log_serves),
        ON_ENGINE(f102_a_second_link_to_the_log_keeps_its_bytes),
        ON_ENGINE(f102_an_older_log_that_cannot_be_inspected_is_not_cut),
        ON_ENGINE(f109_strange_file_systems_start_and_compact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
