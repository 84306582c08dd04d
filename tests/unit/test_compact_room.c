/*
 * Compaction where room ends: it waits for it and goes on, and a full disk, whose data is
 * deleted, gets its room back.
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
#include "support/disk.h"
#include "support/keyed.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

/* ---- No space ---- */

static void f64_compact_without_space_pauses_and_service_goes_on(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin_some(&table, engine);
    compacting_start(engine);
    assert_int_equal(compacting_step(engine), KV_OK);
    uint64_t length = engine_log_length(engine);
    shim_set_space(SHIM_LOG, length + 40000, ENOSPC);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(compacting_step(engine), KV_OK);
        /* Nothing of it is left; only the second seal of the slice before it fits. */
        assert_in_range(engine_log_length(engine), length, length + SEAL_BYTES);
        uint64_t writes = shim_count(SHIM_PWRITE);
        assert_int_equal(compacting_step(engine), KV_OK); /* not again at once */
        shim_advance_clock(COMPACT_RETRY_MS - 1);
        assert_true(store_due_ms(engine->store, LEISURE_ALL) >
                    COMPACTING_START_MS + i * COMPACT_RETRY_MS);
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
        assert_int_equal(shim_count(SHIM_PWRITE), writes);
        shim_advance_clock(1);
        assert_true(table_holds(&table));
    }
    assert_int_equal(engine_told(engine, "cannot append"), 1);
    table_put(&table, 5);                                  /* what fits is accepted */
    assert_int_equal(store_compact(engine->store), KV_OK); /* it is still running */
    assert_true(table_holds(&table));
    shim_give_space();
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
    compacting_reopen(&table);
}

/* The records, for each a seal at most, the marks of a log, and some to spare. */
static uint64_t bytes_to_begin(const struct table *table)
{
    return table_live_bytes(table) + table->row_count * SEAL_BYTES + OPENING_BYTES +
           DRAINED_BYTES + 2 * SEAL_BYTES + COMPACT_SPARE_BYTES;
}

static void f64_compact_does_not_begin_where_there_is_no_room(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 40, 16000);
    while (store_stats(engine->store).dead_bytes <= 2 * COMPACT_DEAD_BYTES_MIN) {
        table_put(&table, table.last_version % table.row_count);
    }
    uint64_t needed = bytes_to_begin(&table);
    disk_set_free(needed - 1);
    shim_forget_trace();
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(compacting_step(engine), KV_OK);
        shim_advance_clock(COMPACT_RETRY_MS);
    }
    assert_int_equal(store_compact(engine->store), KV_NO_SPACE);
    assert_false(compacting_is_running(engine));
    assert_null(strstr(shim_trace_text(SHIM_CHANGES), "renameat"));
    assert_int_equal(engine_told(engine, "no room"), 1);
    assert_true(table_holds(&table));
    disk_set_free(needed);
    shim_advance_clock(COMPACT_RETRY_MS);
    assert_int_equal(compacting_step(engine), KV_OK); /* by itself */
    assert_true(compacting_is_running(engine));
    (void)compacting_finish(engine);
    compacting_expect_log(&table);
}

/* What is not dead to a half is compacted while that fits; later nothing is tried. */
static void f64_compact_of_a_log_that_is_mostly_live_needs_its_room(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 200, 16000);
    while (store_stats(engine->store).dead_bytes <= COMPACT_DEAD_BYTES_MIN / 2) {
        table_put(&table, table.last_version % table.row_count);
    }
    for (int has_room = 0; has_room < 2; has_room++) {
        engine_close(engine);
        disk_set_free(bytes_to_begin(&table) + (has_room != 0 ? 40000 : 0));
        engine_open(engine);
        table_put(&table, 0);
        table_put(&table, 0); /* which looks at the disk, and takes some of it */
        assert_int_equal(compacting_step(engine), KV_OK);
        assert_int_equal(compacting_is_running(engine), has_room);
        assert_int_equal(engine_told(engine, "no room"), 0);
    }
}

/* ---- A full disk ---- */

/* Whatever is written, the disk has room for it: nothing is only refused by the disk. */
static void expect_to_fit(void *context, const struct shim_event *change)
{
    (void)context; /* the disk is one for the program */
    (void)change;  /* the sum counts */
    assert_true(disk_used_bytes() <= disk_size());
}

/* From now on the files are on a disk of this size. */
static void be_on_a_disk(const struct table *table, uint64_t bytes)
{
    disk_set_size(table->engine, bytes);
    shim_witness(expect_to_fit, NULL);
    shim_advance_clock(ROOM_LOOK_MS);
    assert_int_equal(compacting_step(table->engine), KV_OK); /* room is looked at again */
}

/* Try to give a row its next value, alone. */
static enum status try_to_put(struct table *table, size_t row)
{
    struct slice value = table_value(table, row, table->last_version + 1);
    enum status status = keyed_set(table->engine->store, table_key(row), value);
    if (status == KV_OK) {
        table->versions[row] = ++table->last_version;
        table_commit(table);
    }
    return status;
}

/* New rows until one is refused. */
static void fill_the_disk(struct table *table)
{
    while (try_to_put(table, table->row_count) == KV_OK) {
        table->row_count++;
        assert_in_range(table->row_count, 0, TABLE_ROWS_MAX - 1);
    }
}

/*
 * A disk of values; all of them, or all but so many, are deleted one by one. That works
 * though values are refused, and gives the room back: by itself, or after a restart.
 */
static void f99_a_full_disk_gets_its_room_back_when_its_data_is_deleted(void **state)
{
    struct engine *engine = *state;
    struct table table;
    uint64_t size = watchdog_scaled(24, 10) * MIB;
    /* Slowly: all of them by itself, and all but some after a restart. */
    for (size_t i = 0; i < 4; i += watchdog_scaled(1, 3)) {
        compacting_begin(&table, engine, 1, 16000);
        be_on_a_disk(&table, size);
        fill_the_disk(&table);
        assert_int_equal(try_to_put(&table, 0), KV_NO_SPACE);
        assert_int_equal(engine_told(engine, "the disk is nearly full"), 1);
        size_t kept = i < 2 ? 0 : 30; /* half a MiB */
        for (size_t row = kept; row < table.row_count; row++) {
            table_delete(&table, row);
        }
        assert_int_equal(try_to_put(&table, 0), KV_NO_SPACE); /* not yet */
        if (i % 2 == 1) {
            compacting_reopen(&table);
            assert_int_equal(try_to_put(&table, 0), KV_NO_SPACE);
        }
        assert_int_equal(compacting_step(engine), KV_OK); /* by itself */
        assert_true(compacting_is_running(engine));
        (void)compacting_finish(engine);
        compacting_expect_log(&table);
        fill_the_disk(&table); /* which has room for as much again */
        assert_in_range(table_live_bytes(&table), size - 2 * MIB, size);
        compacting_reopen(&table);
        compacting_start_over(engine);
    }
}

/* Deletions leave to a compaction what it needs to begin. */
static void f99_deletions_end_where_a_compaction_still_begins(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 1, 100);
    struct slice value = {(const uint8_t *)"", 0};
    for (size_t row = 1; row < TABLE_ROWS_MAX; row++) { /* they take less than a value */
        (void)keyed_set(engine->store, table_key(row), value);
    }
    assert_int_equal(store_commit(engine->store), KV_OK);
    be_on_a_disk(&table, engine_log_length(engine) + MIB / 2);
    enum status status = KV_OK;
    size_t row = 1;
    for (; row < TABLE_ROWS_MAX && status == KV_OK; row++) {
        status = keyed_delete(engine->store, table_key(row));
        assert_int_equal(store_commit(engine->store), KV_OK);
    }
    assert_in_range(row, 1000, TABLE_ROWS_MAX - 1);
    assert_int_equal(status, KV_NO_SPACE);
    assert_true(disk_size() - disk_used_bytes() >= COMPACT_SPARE_BYTES / 16);
}

static void overwrite_two_fifths_of_a_disk(struct engine *engine, struct dice *dice)
{
    struct table table;
    compacting_begin(&table, engine, watchdog_scaled(1000, 80), 16000);
    be_on_a_disk(&table, table_live_bytes(&table) / 2 * 5);
    size_t refused = 0;
    for (size_t i = 0; i < watchdog_scaled(6000, 300); i++) {
        size_t row = (size_t)dice_below(dice, table.row_count);
        while (try_to_put(&table, row) != KV_OK) {
            assert_int_equal(compacting_step(engine), KV_OK);
            assert_in_range(++refused, 0, i + 200);
        }
        shim_advance_clock(1);
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    }
    assert_in_range(store_stats(engine->store).compactions, 1, 1000);
    assert_true(table_holds(&table));
}

/*
 * Two fifths of the disk are live and overwritten for ever: a compaction begins while it
 * fits, and its room is not given away meanwhile.
 */
static void
f99_a_log_that_is_live_to_two_fifths_of_the_disk_never_gets_stuck(void **state)
{
    struct dice dice;
    dice_begin(&dice);
    overwrite_two_fifths_of_a_disk(*state, &dice);
}

/* What a compaction gives back counts at once: with this sequence it was not seen until
 * the next no longer fitted. */
static void f99_room_given_back_is_seen_at_once(void **state)
{
    struct dice dice = {UINT64_C(1795839115600606269)};
    overwrite_two_fifths_of_a_disk(*state, &dice);
}

/* Values that come while it runs leave it the room to finish, however many they are. */
static void f99_values_leave_a_compaction_the_room_to_finish(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, watchdog_scaled(500, 200), 16000);
    table_fill(&table);
    be_on_a_disk(&table, table_live_bytes(&table) * 4); /* room for as much again twice */
    compacting_start(engine);
    for (size_t percent = 0; percent <= 100; percent += 25) {
        if (compacting_is_running(engine)) {
            compacting_advance(engine, percent);
        }
        size_t accepted = 0;
        while (try_to_put(&table, 0) == KV_OK) { /* the others are to be copied */
            assert_in_range(++accepted, 1, 3 * table.row_count);
        }
    }
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
}

/* A value that finds no room for its size makes a log that could give it worth a
 * compaction.
 */
static void f99_a_large_value_that_is_refused_begins_a_compaction(void **state)
{
    struct engine *engine = *state;
    struct table table;
    uint8_t *bytes = malloc(6 * MIB);
    struct slice value = {bytes, 6 * MIB};
    assert_non_null(bytes);
    memset(bytes, 'v', 6 * MIB);
    compacting_begin(&table, engine, 20, 16000);
    while (engine_log_length(engine) < 3 * MIB) {
        table_fill(&table);
    }
    be_on_a_disk(&table, 9 * MIB);
    assert_false(compacting_is_running(engine));
    assert_int_equal(keyed_set(engine->store, slice_of_text("large"), value),
                     KV_NO_SPACE);
    assert_int_equal(compacting_step(engine), KV_OK);
    assert_true(compacting_is_running(engine));
    (void)compacting_finish(engine);
    assert_int_equal(keyed_set(engine->store, slice_of_text("large"), value), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    free(bytes);
}

/* On a small disk less is dead than is worth a compaction elsewhere. */
static void f99_a_small_full_disk_gets_its_room_back_by_itself(void **state)
{
    struct engine *engine = *state;
    struct table table;
    compacting_begin(&table, engine, 1, 16000);
    be_on_a_disk(&table, 2 * MIB);
    fill_the_disk(&table);
    for (size_t row = 0; row < table.row_count; row++) {
        table_delete(&table, row);
    }
    assert_int_equal(compacting_step(engine), KV_OK);
    assert_true(compacting_is_running(engine));
    (void)compacting_finish(engine);
    for (size_t i = 0; i < 10; i++) { /* an empty log is not compacted again and again */
        shim_advance_clock(LOG_MESSAGE_MS);
        assert_int_equal(compacting_step(engine), KV_OK);
        assert_false(compacting_is_running(engine));
    }
    assert_int_equal(try_to_put(&table, 0), KV_OK);
}

/* The length that the process may give to files is a disk, too; here a real one. */
static void f99_a_file_size_limit_is_as_a_full_disk(void **state)
{
    struct engine *engine = *state;
    struct table table;
    struct rlimit before;
    compacting_begin(&table, engine, 1, 16000);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit limit = {.rlim_cur = 4 * MIB, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t i = 0; i < 2; i++) {
        fill_the_disk(&table);
        for (size_t row = 0; row < table.row_count; row++) {
            table_delete(&table, row);
        }
        if (i == 1) { /* not even a seal fits any more */
            limit.rlim_cur = (rlim_t)engine_log_length(engine);
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
            assert_int_equal(engine_set(engine, "k", "v"), KV_NO_SPACE);
        }
        compacting_start(engine);
        (void)compacting_finish(engine);
        table_put(&table, 0);
    }
    compacting_reopen(&table);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
}

/* An image of the index is a hint: it is left out where it would take what is kept. */
static void f99_an_image_leaves_the_room_that_is_kept(void **state)
{
    struct engine *engine = *state;
    struct table table;
    engine->keeps_index = true;
    compacting_begin(&table, engine, TABLE_ROWS_MAX, 40);
    disk_set_left(engine, 200 * KIB);
    engine_close(engine);
    assert_false(engine_has_file(engine, FILES_INDEX));
    disk_be_real();
    engine_open(engine);
    engine_close(engine);
    assert_true(engine_has_file(engine, FILES_INDEX));
    engine_open(engine);
}

/* ... and it is dropped where a compaction needs its room. */
static void f99_an_image_makes_room_for_a_compaction(void **state)
{
    struct engine *engine = *state;
    struct table table;
    engine->keeps_index = true;
    compacting_begin(&table, engine, TABLE_ROWS_MAX, 40);
    engine_close(engine);
    engine_open(engine);
    assert_true(engine_has_file(engine, FILES_INDEX));
    for (size_t row = 0; row < table.row_count; row++) {
        table_stage_delete(&table, row);
    }
    table_commit(&table);
    disk_set_left(engine, 100);
    assert_int_equal(engine_set(engine, "k", "v"), KV_NO_SPACE);
    compacting_start(engine);
    assert_false(engine_has_file(engine, FILES_INDEX));
    (void)compacting_finish(engine);
    assert_true(table_holds(&table));
    table_put(&table, 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_ENGINE(f64_compact_without_space_pauses_and_service_goes_on),
        ON_ENGINE(f64_compact_does_not_begin_where_there_is_no_room),
        ON_ENGINE(f64_compact_of_a_log_that_is_mostly_live_needs_its_room),
        ON_ENGINE(f99_a_full_disk_gets_its_room_back_when_its_data_is_deleted),
        ON_ENGINE(f99_deletions_end_where_a_compaction_still_begins),
        ON_ENGINE(f99_a_log_that_is_live_to_two_fifths_of_the_disk_never_gets_stuck),
        ON_ENGINE(f99_room_given_back_is_seen_at_once),
        ON_ENGINE(f99_values_leave_a_compaction_the_room_to_finish),
        ON_ENGINE(f99_a_large_value_that_is_refused_begins_a_compaction),
        ON_ENGINE(f99_a_small_full_disk_gets_its_room_back_by_itself),
        ON_ENGINE(f99_a_file_size_limit_is_as_a_full_disk),
        ON_ENGINE(f99_an_image_leaves_the_room_that_is_kept),
        ON_ENGINE(f99_an_image_makes_room_for_a_compaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
