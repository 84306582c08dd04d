/*
 * One log file: staging, batches and seals, syncs, and the cut after a failed write.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap clock_gettime malloc calloc realloc
 * wrap: sync_file_range fstatvfs
 */
#include "log/log.h"

#include "base/bounds.h"
#include "log/scan.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const unsigned writing =
    SHIM_BIT(SHIM_PWRITE) | SHIM_BIT(SHIM_FTRUNCATE) | SHIM_BIT(SHIM_FDATASYNC);

static struct files *files;
static struct log *log_file;

static int setup(void **state)
{
    const struct opening wanted = {.generation = 1};
    engine_setup(state);
    struct engine *engine = *state;
    assert_int_equal(files_open(engine->log.path, &files), KV_OK);
    assert_int_equal(log_create(files, &wanted, &log_file), KV_OK);
    assert_int_equal(log_publish(log_file, NULL), KV_OK);
    return 0;
}

static int teardown(void **state)
{
    shim_reset();
    (void)log_close(log_file); /* whatever the test left it in */
    log_file = NULL;
    files_close(files);
    files = NULL;
    return engine_teardown(state);
}

#define ON_LOG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static uint64_t stage(const char *key, const char *value)
{
    assert_int_equal(log_reserve(log_file, strlen(key), strlen(value)), KV_OK);
    return log_stage(log_file, slice_of_text(key), slice_of_text(value));
}

/* A batch of one record. */
static enum status try_put(const char *key, const char *value)
{
    (void)stage(key, value);
    return log_write(log_file);
}

static void put(const char *key, const char *value)
{
    assert_int_equal(try_put(key, value), KV_OK);
}

/* Of a batch with keys of one byte and values of three. */
#define BATCH_BYTES (record_length(1, 3) + SEAL_BYTES)

static void make_ahead(uint64_t bytes)
{
    assert_int_equal(log_make_ahead(log_file, bytes), KV_OK);
}

static void expect_record(uint64_t offset, const char *key, const char *value)
{
    struct record record;
    uint64_t length = record_length(strlen(key), strlen(value));
    assert_true(record_decode(log_record(log_file, offset, length), &record));
    assert_true(slice_equal(record.key, slice_of_text(key)));
    assert_true(slice_equal(record.value, slice_of_text(value)));
}

/* Scan the file as it is: every batch is whole; the durable length that each says. */
static size_t scan_file(const struct engine *engine, uint64_t *durable_lengths,
                        size_t batches_max)
{
    struct script bytes = engine_read(engine, "");
    struct scan scan;
    struct batch batch;
    size_t count = 0;
    scan_begin(&scan, script_slice(&bytes), log_end(log_file)->log_id);
    while (scan_next(&scan, &batch)) {
        assert_in_range(count, 0, batches_max - 1);
        durable_lengths[count++] = scan.durable_length;
    }
    assert_true(scan_is_at_end(&scan));
    script_free(&bytes);
    return count;
}

static void log_create_publishes_a_synced_opening_record(void **state)
{
    struct engine *engine = *state;
    struct opening opening;
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "openat:lock! openat:lock openat:new pwrite:new fdatasync:new "
                        "fdatasync:new renameat:log fsync:directory");
    struct script bytes = engine_read(engine, "");
    assert_int_equal(bytes.length, OPENING_BYTES);
    assert_true(record_decode_opening(script_slice(&bytes), &opening));
    assert_int_equal(opening.version, RECORD_FORMAT_VERSION);
    assert_int_equal(opening.generation, 1);
    assert_int_equal(opening.log_id, log_end(log_file)->log_id);
    script_free(&bytes);
    assert_int_equal(log_length(log_file), OPENING_BYTES);
    assert_int_equal(log_durable_length(log_file), OPENING_BYTES);
}

static void log_records_are_readable_where_they_will_be(void **state)
{
    (void)state;
    uint64_t first = stage("a", "one");
    uint64_t second = stage("b", "");
    assert_int_equal(first, OPENING_BYTES);
    assert_int_equal(second, first + record_length(1, 3));
    assert_int_equal(log_staged_bytes(log_file),
                     record_length(1, 3) + record_length(1, 0));
    expect_record(first, "a", "one");
    expect_record(second, "b", "");
    assert_int_equal(log_write(log_file), KV_OK);
    assert_int_equal(log_staged_bytes(log_file), 0);
    uint64_t third = stage("c", "three");
    assert_int_equal(third, second + record_length(1, 0) + SEAL_BYTES);
    expect_record(first, "a", "one");
    expect_record(second, "b", "");
    expect_record(third, "c", "three");
}

static void log_write_appends_batch_and_seal_with_one_write(void **state)
{
    shim_forget_trace();
    (void)stage("a", "one");
    put("b", "two");
    assert_string_equal(shim_trace_text(writing), "pwrite:log");
    assert_int_equal(engine_log_length(*state),
                     OPENING_BYTES + BATCH_BYTES + record_length(1, 3));
}

static void log_sync_makes_what_was_written_durable_once(void **state)
{
    (void)state;
    put("a", "one");
    assert_int_equal(log_durable_length(log_file), OPENING_BYTES);
    shim_forget_trace();
    assert_int_equal(log_sync(log_file), KV_OK);
    assert_int_equal(log_sync(log_file), KV_OK); /* nothing is left to do */
    assert_string_equal(shim_trace_text(writing), "fdatasync:log");
    assert_int_equal(log_durable_length(log_file), log_length(log_file));
}

/* Each says what was durable when it was written; nothing to write is a seal as well. */
static void log_seals_tell_how_far_the_log_was_durable(void **state)
{
    enum { BATCHES = 5 };
    uint64_t durable[BATCHES] = {0};
    uint64_t ends[BATCHES] = {0};
    const bool is_synced[BATCHES] = {false, false, true, true, false};
    for (size_t i = 0; i < BATCHES; i++) {
        if (i < BATCHES - 1) {
            (void)stage("k", "val");
        }
        assert_int_equal(log_write(log_file), KV_OK);
        ends[i] = log_length(log_file);
        if (is_synced[i]) {
            assert_int_equal(log_sync(log_file), KV_OK);
        }
    }
    assert_int_equal(ends[3], OPENING_BYTES + 4 * BATCH_BYTES);
    assert_int_equal(ends[4], ends[3] + SEAL_BYTES);
    assert_int_equal(scan_file(*state, durable, BATCHES), BATCHES);
    assert_int_equal(durable[0], OPENING_BYTES);
    assert_int_equal(durable[1], OPENING_BYTES);
    assert_int_equal(durable[2], OPENING_BYTES);
    assert_int_equal(durable[3], ends[2]);
    assert_int_equal(durable[4], ends[3]);
}

static void log_unstage_drops_a_batch(void **state)
{
    (void)stage("a", "one");
    log_unstage(log_file);
    assert_int_equal(log_staged_bytes(log_file), 0);
    assert_int_equal(stage("b", "two"), OPENING_BYTES);
    assert_int_equal(log_write(log_file), KV_OK);
    uint64_t durable[1];
    assert_int_equal(scan_file(*state, durable, 1), 1);
    expect_record(OPENING_BYTES, "b", "two");
}

static void f30_log_write_without_space_cuts_back_durably(void **state)
{
    uint64_t before = log_length(log_file);
    shim_forget_trace();
    shim_set_space(SHIM_LOG, before + 10, ENOSPC);
    assert_int_equal(try_put("a", "one"), KV_NO_SPACE);
    assert_string_equal(shim_trace_text(writing),
                        "pwrite:log pwrite:log! ftruncate:log fdatasync:log");
    assert_int_equal(engine_log_length(*state), before);
    assert_int_equal(log_length(log_file), before);
    engine_expect_line(*state,
                       "PATH: cannot append at offset OFFSET, batch refused: ERROR",
                       before, ENOSPC);
}

/* What failed is cut off, but may be there again after a loss of power. */
static void f34_log_write_that_is_not_cut_back_durably_is_fatal(void **state)
{
    uint64_t before = log_length(log_file);
    shim_set_space(SHIM_LOG, before + 10, ENOSPC);
    shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_LOG, 1, EIO);
    assert_int_equal(try_put("a", "one"), KV_FATAL);
    assert_int_equal(engine_log_length(*state), before);
    assert_int_equal(engine_told(*state, "cannot cut the log back to its last seal"), 1);
}

/*
 * The operator hears when it begins and when it ends, not each time; and where it fails
 * and works by turns, as on a disk that is nearly full, once a minute.
 */
static void f30_log_tells_once_that_it_cannot_append(void **state)
{
    struct engine *engine = *state;
    const uint64_t waits_ms[] = {0, LOG_MESSAGE_MS - 1, 1, LOG_MESSAGE_MS};
    const size_t told[] = {1, 1, 2, 3};
    shim_set_clock(5000000);
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        shim_advance_clock(waits_ms[i]);
        shim_set_space(SHIM_LOG, log_length(log_file), ENOSPC);
        for (int times = 0; times < 5; times++) {
            assert_int_equal(try_put("a", "one"), KV_NO_SPACE);
            log_unstage(log_file);
        }
        assert_int_equal(engine_told(engine, "cannot append"), told[i]);
        shim_give_space();
        put("a", "one");
        put("a", "one");
        assert_int_equal(engine_told(engine, "appending works again"), told[i]);
        assert_int_equal(engine_told(engine, engine->log.path), 2 * told[i]);
        assert_int_equal(engine_told(engine, ""), 2 * told[i]);
    }
    /* It has not worked meanwhile: then a minute that is over is no reason. */
    shim_set_space(SHIM_LOG, log_length(log_file), ENOSPC);
    for (int times = 0; times < 3; times++) {
        shim_advance_clock(LOG_MESSAGE_MS);
        assert_int_equal(try_put("a", "one"), KV_NO_SPACE);
        log_unstage(log_file);
    }
    assert_int_equal(engine_told(engine, "cannot append"), 4);
}

/* A seal alone may be the first that needs the buffer: it is put off, not half written.
 */
static void f71_log_write_of_a_seal_without_memory_writes_nothing(void **state)
{
    const struct engine *engine = *state;
    uint64_t before = log_length(log_file);
    shim_forget_trace();
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    assert_int_equal(log_write(log_file), KV_NO_MEMORY);
    shim_clear_faults();
    assert_string_equal(shim_trace_text(writing), "");
    assert_int_equal(engine_log_length(engine), before);
    assert_int_equal(log_length(log_file), before);
    assert_int_equal(log_write(log_file), KV_OK);
    assert_int_equal(engine_log_length(engine), before + SEAL_BYTES);
}

/* Some network disks say so of a file that is open: it is a failure, not an answer. */
static void f57_log_settle_takes_not_found_for_a_failure(void **state)
{
    shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_ANY, 1, ENOENT);
    assert_int_equal(log_settle(log_file), KV_IO);
    assert_int_equal(engine_told(*state, "cannot sync the log before reading it"), 1);
    assert_int_equal(log_settle(log_file), KV_OK);
}

static void f35_log_sync_failing_cuts_to_the_durable_length(void **state)
{
    uint64_t before = log_length(log_file);
    put("a", "one");
    shim_forget_trace();
    shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_ANY, 1, EIO);
    assert_int_equal(log_sync(log_file), KV_FATAL);
    assert_string_equal(shim_trace_text(writing), "fdatasync:log! ftruncate:log");
    assert_int_equal(engine_log_length(*state), before);
}

/* The length is set by hand: nobody has a disk of that size for a test. */
static void log_reserve_ends_at_the_largest_log(void **state)
{
    (void)state;
    uint64_t more = record_length(3, 5) + 2 * SEAL_BYTES; /* and its second seal */
    struct log_end end = {.offset = LOG_BYTES_MAX - more};
    log_resume(log_file, &end);
    assert_int_not_equal(log_reserve(log_file, 3, 5), KV_NO_SPACE);
    end.offset++;
    log_resume(log_file, &end);
    assert_int_equal(log_reserve(log_file, 3, 5), KV_NO_SPACE);
    assert_int_equal(log_staged_bytes(log_file), 0);
}

/* A batch beyond the room of the first view: the view moves, what it shows does not. */
static void log_grows_past_its_view(void **state)
{
    (void)state;
    uint64_t offset = stage("a", "one");
    assert_int_equal(log_write(log_file), KV_OK);
    uint64_t mappings = shim_count(SHIM_MMAP);
    struct log_end end = {.offset = 17 * GIB};
    log_resume(log_file, &end); /* as if that much had been appended */
    assert_int_equal(log_reserve(log_file, 1, 1), KV_OK);
    assert_int_equal(shim_count(SHIM_MMAP), mappings + 1);
    expect_record(offset, "a", "one");
}

static void f91_log_close_reports_a_failed_close(void **state)
{
    struct log *log = log_file;
    log_file = NULL;
    shim_fail_once(SHIM_BIT(SHIM_CLOSE), SHIM_ANY, 1, EIO);
    assert_int_equal(log_close(log), KV_IO);
    assert_int_equal(engine_told(*state, "cannot close"), 1);
}

/* What the disk was asked to begin with. */
static struct {
    int calls;
    uint64_t offset;
    uint64_t length;
} begun;

int __wrap_sync_file_range(int fd, off_t offset, off_t length, unsigned flags);

int __wrap_sync_file_range(int fd, off_t offset, off_t length, unsigned flags)
{
    (void)fd;
    assert_int_equal(flags, 2); /* SYNC_FILE_RANGE_WRITE: it does not wait */
    begun.calls++;
    begun.offset = (uint64_t)offset;
    begun.length = (uint64_t)length;
    return 0;
}

static void put_long(size_t value_bytes)
{
    char *value = calloc(1, value_bytes + 1);
    assert_non_null(value);
    memset(value, 'v', value_bytes);
    (void)stage("key", value);
    assert_int_equal(log_write(log_file), KV_OK);
    log_begin_sync(log_file);
    free(value);
}

static void log_begin_sync_asks_for_much_at_once_and_for_nothing_twice(void **state)
{
    (void)state;
#ifdef KV_POSIX_ONLY
    skip(); /* POSIX has no such call */
#endif
    put_long(MIB / 4);
    assert_int_equal(begun.calls, 0);
    put_long(MIB / 4);
    assert_int_equal(begun.calls, 1);
    assert_int_equal(begun.offset, OPENING_BYTES);
    assert_int_equal(begun.length, log_length(log_file) - OPENING_BYTES);
    put_long(MIB / 4);
    assert_int_equal(begun.calls, 1);
    assert_int_equal(log_sync(log_file), KV_OK);
    uint64_t durable = log_length(log_file);
    put_long(MIB / 2);
    assert_int_equal(begun.calls, 2);
    assert_int_equal(begun.offset, durable);
    assert_int_equal(begun.length, log_length(log_file) - durable);
}

/* ---- Space ahead ---- */

/* Whole records lead to the end of the file, and what is behind the log is zeros. */
static void expect_ahead(const struct engine *engine, uint64_t bytes)
{
    struct script file = engine_read(engine, "");
    struct record_walk walk = record_walk_begin(script_slice(&file), 0);
    uint64_t end = log_length(log_file);
    assert_int_equal(log_ahead_bytes(log_file), bytes);
    assert_int_equal(file.length, end + bytes);
    while (record_next(&walk)) {
        assert_true(walk.offset < end || slice_is_zero(walk.record.value));
    }
    assert_int_equal(walk.offset, file.length);
    script_free(&file);
}

static void log_write_goes_over_space_ahead(void **state)
{
    struct engine *engine = *state;
    uint64_t durable_lengths[4];
    make_ahead(4096);
    expect_ahead(engine, 4096);
    put("a", "one");
    expect_ahead(engine, 4096 - BATCH_BYTES);
    assert_int_equal(log_sync(log_file), KV_OK);
    make_ahead(1600);
    uint64_t offset = stage("b", "two");
    assert_int_equal(log_write(log_file), KV_OK);
    expect_record(offset, "b", "two");
    expect_ahead(engine, 4096 + 1600 - 2 * BATCH_BYTES);
    assert_int_equal(log_sync(log_file), KV_OK);
    assert_int_equal(log_cut_ahead(log_file), KV_OK);
    expect_ahead(engine, 0);
    assert_int_equal(scan_file(engine, durable_lengths, 4), 2);
    assert_int_equal(log_cut_ahead(log_file), KV_OK);
}

/* A batch of about the length of what is left, and a byte less or more. */
static void log_write_uses_up_space_ahead(void **state)
{
    struct engine *engine = *state;
    enum { SPACE = 160, ROOM = SPACE - SEAL_BYTES - RECORD_HEADER_BYTES - 1 };
    char value[ROOM + 40];
    memset(value, 'v', sizeof value);
    for (size_t length = ROOM - 40; length < sizeof value; length++) {
        struct slice key = SLICE_LITERAL("k");
        uint64_t left = length < ROOM ? ROOM - length : 0;
        make_ahead(SPACE);
        assert_int_equal(log_reserve(log_file, 1, length), KV_OK);
        (void)log_stage(log_file, key, (struct slice){(const uint8_t *)value, length});
        assert_int_equal(log_write(log_file), KV_OK);
        /* Not even a header fits into fewer, so there it is, and nothing more. */
        left = left == 0 || left > RECORD_HEADER_BYTES ? left : RECORD_HEADER_BYTES;
        expect_ahead(engine, left);
        assert_int_equal(log_sync(log_file), KV_OK);
        assert_int_equal(log_cut_ahead(log_file), KV_OK);
    }
}

/* It may have taken any part, which must not stand in the space. */
static void f30_f115_log_write_that_fails_in_space_ahead_cuts_all_of_it(void **state)
{
    struct engine *engine = *state;
    put("a", "one");
    assert_int_equal(log_sync(log_file), KV_OK);
    uint64_t length = log_length(log_file);
    const int errors[] = {EIO, ENOSPC};
    for (size_t i = 0; i < 2; i++) {
        make_ahead(4096);
        (void)stage("b", "two");
        shim_limit_bytes(SHIM_BIT(SHIM_PWRITE), 30);
        shim_fail_once(SHIM_BIT(SHIM_PWRITE), SHIM_LOG, 2, errors[i]);
        assert_int_equal(log_write(log_file), errors[i] == EIO ? KV_IO : KV_NO_SPACE);
        shim_limit_bytes(SHIM_BIT(SHIM_PWRITE), 0);
        log_unstage(log_file);
        assert_int_equal(log_length(log_file), length);
        expect_ahead(engine, 0);
    }
}

/* Nothing was taken, and nothing could be cut off. */
static void f41_f115_log_keeps_space_ahead_where_nothing_can_be_written(void **state)
{
    struct engine *engine = *state;
    make_ahead(4096);
    (void)stage("a", "one");
    shim_fail_from(writing, SHIM_LOG, 1, EROFS);
    assert_int_equal(log_write(log_file), KV_IO);
    shim_clear_faults();
    log_unstage(log_file);
    expect_ahead(engine, 4096);
}

/* A part was taken before that, which may hold a seal, and cannot be cut off now. */
static void f41_f115_log_gives_up_where_it_became_read_only_amid_a_write(void **state)
{
    make_ahead(4096);
    (void)stage("a", "one");
    shim_limit_bytes(SHIM_BIT(SHIM_PWRITE), record_length(1, 3) + SEAL_BYTES + 4);
    shim_fail_from(writing, SHIM_LOG, 2, EROFS);
    assert_int_equal(log_write(log_file), KV_FATAL);
    engine_expect_line(*state,
                       "PATH: cannot cut the log back to its last seal; stopping: ERROR",
                       0, EROFS);
    shim_clear_faults();
    shim_limit_bytes(SHIM_BIT(SHIM_PWRITE), 0);
}

/* Cutting space ahead off would make the file as long again as it should be. */
static void f42_log_that_another_has_shortened_is_not_made_longer(void **state)
{
    struct engine *engine = *state;
    make_ahead(4096);
    assert_int_equal(truncate(engine->log.path, 5), 0);
    assert_int_equal(log_cut_ahead(log_file), KV_FATAL);
    assert_int_equal(engine_told(engine, "something else changed it; stopping"), 1);
    struct script file = engine_read(engine, "");
    assert_int_equal(file.length, 5);
    script_free(&file);
}

static void f30_f115_log_make_ahead_without_space_changes_nothing(void **state)
{
    struct engine *engine = *state;
    make_ahead(1600);
    uint64_t length = log_length(log_file) + 1600;
    for (uint64_t room = 0; room < 40000; room += 9999) {
        shim_set_space(SHIM_LOG, length + room, ENOSPC);
        assert_int_equal(log_make_ahead(log_file, 48000), KV_NO_SPACE);
        expect_ahead(engine, 1600);
    }
    shim_give_space();
    make_ahead(48000);
    expect_ahead(engine, 49600);
}

static void f34_f35_f115_log_make_ahead_that_cannot_be_taken_back_is_fatal(void **state)
{
    (void)state;
    shim_set_space(SHIM_LOG, log_length(log_file) + 100, EIO);
    shim_fail_once(SHIM_BIT(SHIM_FTRUNCATE), SHIM_LOG, 1, EIO);
    assert_int_equal(log_make_ahead(log_file, 4096), KV_FATAL);
    engine_expect_line(*state,
                       "PATH: cannot cut off what was to be space ahead; stopping: ERROR",
                       0, EIO);
    shim_give_space();
    shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_LOG, 1, EIO);
    assert_int_equal(log_make_ahead(log_file, 4096), KV_FATAL);
}

static void f115_log_cut_ahead_that_fails_leaves_the_space(void **state)
{
    struct engine *engine = *state;
    make_ahead(4096);
    shim_fail_once(SHIM_BIT(SHIM_FTRUNCATE), SHIM_LOG, 1, EIO);
    assert_int_equal(log_cut_ahead(log_file), KV_IO);
    engine_expect_line(*state,
                       "PATH: cannot cut off the space ahead of the log; it stays there: "
                       "ERROR",
                       0, EIO);
    expect_ahead(engine, 4096);
    assert_int_equal(log_cut_ahead(log_file), KV_OK);
    expect_ahead(engine, 0);
}

static void fill_disk(struct statvfs *info)
{
    info->f_bavail = 0;
}

/* Others fill the disk to its last byte: there is room within the file, and kept of it.
 */
static void f99_f115_space_ahead_is_room_on_a_full_disk(void **state)
{
    (void)state;
    enum { MORE = 64 * 1024 };
    make_ahead(ROOM_KEPT_BYTES + MORE);
    shim_change_space(fill_disk);
    log_look_again(log_file);
    assert_true(log_has_room(log_file, MORE, ROOM_KEPT_BYTES));
    assert_false(log_has_room(log_file, MORE + 1, ROOM_KEPT_BYTES));
    assert_true(log_has_room(log_file, MORE + 1, ROOM_KEPT_FOR_COMPACT_BYTES));
    put("a", "one");
    uint64_t left = MORE - BATCH_BYTES;
    assert_true(log_has_room(log_file, left, ROOM_KEPT_BYTES));
    assert_false(log_has_room(log_file, left + 1, ROOM_KEPT_BYTES));
    shim_change_space(NULL);
}

/* What somebody appends behind the space is noticed as what is appended to the log. */
static void f42_f115_log_write_notices_another_length_of_the_file(void **state)
{
    struct engine *engine = *state;
    make_ahead(4096);
    assert_int_equal(truncate(engine->log.path, (off_t)log_length(log_file)), 0);
    assert_int_equal(try_put("a", "one"), KV_FATAL);
    log_unstage(log_file);
    assert_int_equal(log_make_ahead(log_file, 4096), KV_FATAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_LOG(log_create_publishes_a_synced_opening_record),
        ON_LOG(log_records_are_readable_where_they_will_be),
        ON_LOG(log_write_appends_batch_and_seal_with_one_write),
        ON_LOG(log_sync_makes_what_was_written_durable_once),
        ON_LOG(log_seals_tell_how_far_the_log_was_durable),
        ON_LOG(log_unstage_drops_a_batch),
        ON_LOG(f30_log_write_without_space_cuts_back_durably),
        ON_LOG(f34_log_write_that_is_not_cut_back_durably_is_fatal),
        ON_LOG(log_write_goes_over_space_ahead),
        ON_LOG(log_write_uses_up_space_ahead),
        ON_LOG(f30_f115_log_write_that_fails_in_space_ahead_cuts_all_of_it),
        ON_LOG(f41_f115_log_keeps_space_ahead_where_nothing_can_be_written),
        ON_LOG(f41_f115_log_gives_up_where_it_became_read_only_amid_a_write),
        ON_LOG(f42_log_that_another_has_shortened_is_not_made_longer),
        ON_LOG(f30_f115_log_make_ahead_without_space_changes_nothing),
        ON_LOG(f34_f35_f115_log_make_ahead_that_cannot_be_taken_back_is_fatal),
        ON_LOG(f115_log_cut_ahead_that_fails_leaves_the_space),
        ON_LOG(f99_f115_space_ahead_is_room_on_a_full_disk),
        ON_LOG(f42_f115_log_write_notices_another_length_of_the_file),
        ON_LOG(f30_log_tells_once_that_it_cannot_append),
        ON_LOG(f71_log_write_of_a_seal_without_memory_writes_nothing),
        ON_LOG(f57_log_settle_takes_not_found_for_a_failure),
        ON_LOG(f35_log_sync_failing_cuts_to_the_durable_length),
        ON_LOG(log_reserve_ends_at_the_largest_log),
        ON_LOG(log_grows_past_its_view),
        ON_LOG(log_begin_sync_asks_for_much_at_once_and_for_nothing_twice),
        ON_LOG(f91_log_close_reports_a_failed_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
