/*
 * Compaction seen from the engine's face: what it copies, what it survives, in which
 * order it changes files, and what it costs.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen clock_gettime fstatvfs
 * wrap: malloc calloc realloc posix_madvise
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "file/files.h"
#include "log/record.h"
#include "support/dice.h"
#include "support/engine.h"
#include "support/keyed.h"
#include "support/shim.h"
#include "support/table.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define START_MS UINT64_C(5000000)

enum { ROWS_MANY = 1024, STEPS_MAX = 10000 };

/* What fstatvfs says is free; the shim does not know this call. */
static uint64_t free_bytes = UINT64_MAX;

/* ... or how large the disk is that the files of an engine are alone on. */
static uint64_t disk_bytes = UINT64_MAX;
static const struct engine *disk_user;

static uint64_t used_bytes(void)
{
    static const char *const suffixes[] = {"", FILES_OLD, FILES_NEW, FILES_INDEX};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        struct stat info;
        if (stat(engine_file(disk_user, suffixes[i]).path, &info) == 0) {
            bytes += (uint64_t)info.st_size;
        }
    }
    return bytes;
}

int __real_fstatvfs(int fd, struct statvfs *info);
int __wrap_fstatvfs(int fd, struct statvfs *info);

static bool knows_no_size; /* as some file systems of user space */
static bool knows_no_call; /* likewise */

int __wrap_fstatvfs(int fd, struct statvfs *info)
{
    if (knows_no_call) {
        errno = ENOSYS;
        return -1;
    }
    if (knows_no_size) {
        *info = (struct statvfs){.f_frsize = 4096};
        return 0;
    }
    int result = __real_fstatvfs(fd, info);
    if (result == 0 && free_bytes != UINT64_MAX) {
        info->f_frsize = 1;
        info->f_blocks = (fsblkcnt_t)GIB;
        info->f_bavail = (fsblkcnt_t)free_bytes;
    }
    if (result == 0 && disk_bytes != UINT64_MAX) {
        uint64_t used = used_bytes();
        info->f_frsize = 1;
        info->f_blocks = (fsblkcnt_t)disk_bytes;
        info->f_bavail = (fsblkcnt_t)(used < disk_bytes ? disk_bytes - used : 0);
    }
    return result;
}

/* ---- A table that spans many slices ---- */

/* As after kill -9 at this moment. */
static void reopen(const struct table *table)
{
    engine_crash(table->engine);
    engine_open(table->engine);
    assert_true(table_holds(table));
}

/* A store on an empty directory with so many rows; time stands still. */
static void begin(struct table *table, struct engine *engine, size_t row_count,
                  size_t value_bytes)
{
    *table = (struct table){engine, row_count, value_bytes, {0}, 0};
    free_bytes = UINT64_MAX;
    disk_bytes = UINT64_MAX;
    shim_reset();
    shim_set_clock(START_MS);
    shim_omit_syncs();
    engine_open(engine);
    table_fill(table);
}

/* Rows for about six slices; three have a first, a middle and a last one, too. */
static void begin_some(struct table *table, struct engine *engine)
{
    begin(table, engine, watchdog_scaled(160, 48), watchdog_scaled(8192, 16000));
}

/* Close, if it is open, and remove everything, for the next of many runs. */
static void start_over(struct engine *engine)
{
    struct store *store = engine->store;
    engine->store = NULL;
    (void)store_close(store); /* the run may have ended in a failure */
    engine_clean(engine);
    (void)remove(engine->log.path); /* a failure may have left only PATH.old */
    engine_forget_messages(engine);
}

/* ---- Steps ---- */

static bool is_compacting(const struct engine *engine)
{
    return engine_has_file(engine, FILES_OLD);
}

static enum status step(const struct engine *engine)
{
    return store_maintain(engine->store, LEISURE_ALL);
}

static void start(const struct engine *engine)
{
    assert_int_equal(store_compact(engine->store), KV_OK);
    assert_true(is_compacting(engine));
}

/* Returns how many steps it took. */
static size_t finish(const struct engine *engine)
{
    size_t count = 0;
    while (is_compacting(engine)) {
        assert_int_equal(step(engine), KV_OK);
        assert_in_range(++count, 1, STEPS_MAX);
    }
    assert_int_equal(store_stats(engine->store).compaction_percent, 100);
    return count;
}

/* Until about a part of the older log was copied, in percent. */
static void advance(const struct engine *engine, uint64_t percent)
{
    size_t count = 0;
    while (store_stats(engine->store).compaction_percent < percent) {
        assert_int_equal(step(engine), KV_OK);
        assert_in_range(++count, 1, STEPS_MAX);
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
static void expect_compact_log(const struct table *table)
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
static uint64_t find_row(const struct table *table, const char *suffix, size_t row)
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

static void flip_in_older(const struct engine *engine, uint64_t offset)
{
    FILE *file = fopen(engine_file(engine, FILES_OLD).path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, file), byte ^ 1);
    assert_int_equal(fclose(file), 0);
}

/* ---- What it does when all is well ---- */

static void compact_copies_exactly_the_live_data(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    table_fill(&table);
    for (size_t row = 0; row < table.row_count; row += 3) {
        table_delete(&table, row);
    }
    uint64_t length = engine_log_length(engine);
    start(engine);
    assert_int_equal(store_compact(engine->store), KV_OK); /* it is running already */
    assert_in_range(finish(engine), 2, STEPS_MAX);
    assert_true(table_holds(&table));
    expect_compact_log(&table);
    assert_true(engine_log_length(engine) < length / 2);
    assert_int_equal(store_stats(engine->store).compactions, 1);
    reopen(&table);
    expect_compact_log(&table);
    assert_int_equal(engine_told(engine, ""), 0);
}

/* Each one that follows another names the one before it. */
static void compact_can_be_repeated(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 40, 4000);
    for (unsigned i = 1; i <= 5; i++) {
        table_fill(&table);
        start(engine);
        table_put(&table, i);
        table_delete(&table, 10 + i);
        (void)finish(engine);
        assert_true(table_holds(&table));
        assert_int_equal(store_stats(engine->store).compactions, i);
    }
    reopen(&table);
}

static void compact_of_an_empty_store_ends(void **state)
{
    struct table table;
    begin(&table, *state, 0, 100);
    start(table.engine);
    assert_in_range(finish(table.engine), 1, 4);
    expect_compact_log(&table);
    reopen(&table);
}

/*
 * The table at the top of compact.c: each thing is durable before the next is built on
 * it. The call that fails looks for a PATH.index.
 */
static void compact_makes_each_step_durable_before_the_next(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 4, 1000);
    shim_forget_trace();
    start(engine);
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "pwrite:log fdatasync:log "     /* the second seal */
                        "openat:new pwrite:new "        /* the opening record */
                        "fdatasync:new "                /* ... is durable */
                        "renameat:old fsync:directory " /* PATH -> PATH.old */
                        "renameat:log fsync:directory " /* PATH.new -> PATH */
                        "openat:index!");               /* it is of the older log */
    shim_forget_trace();
    (void)finish(engine);
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "pwrite:log fdatasync:log " /* the copies and their seal */
                        "pwrite:log fdatasync:log " /* the drained mark */
                        "ftruncate:old unlinkat:old fsync:directory");
}

/* With lazy syncs the copies need none of their own, but the drained mark covers them. */
static void compact_syncs_the_copies_before_it_drops_under_everysec(void **state)
{
    struct engine *engine = *state;
    struct table table;
    engine->sync = SYNC_EVERYSEC;
    begin(&table, engine, 4, 1000);
    shim_forget_trace();
    start(engine);
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "fdatasync:log pwrite:log fdatasync:log "
                        "openat:new pwrite:new fdatasync:new "
                        "renameat:old fsync:directory "
                        "renameat:log fsync:directory openat:index!");
    table_put(&table, 1);
    shim_forget_trace();
    (void)finish(engine);
    assert_string_equal(shim_trace_text(SHIM_CHANGES),
                        "pwrite:log pwrite:log fdatasync:log "
                        "ftruncate:old unlinkat:old fsync:directory");
    assert_true(table_holds(&table));
    reopen(&table);
}

/* ---- When it starts ---- */

static void f70_compact_starts_by_itself_when_more_than_half_is_dead(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 700, 16000); /* half of it is more than the floor */
    struct store_stats stats = store_stats(engine->store);
    while (stats.dead_bytes <= stats.log_bytes / 2 ||
           stats.dead_bytes <= COMPACT_DEAD_BYTES_MIN) {
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        assert_false(is_compacting(engine));
        table_put(&table, table.last_version % table.row_count);
        stats = store_stats(engine->store);
    }
    assert_int_equal(store_maintain(engine->store, LEISURE_NONE), KV_OK);
    assert_false(is_compacting(engine));
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), 0);
    assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    assert_true(is_compacting(engine));
    (void)finish(engine);
    assert_true(table_holds(&table));
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_false(is_compacting(engine)); /* once is enough */
}

/* While commands are waiting a sync of each part would cost more than it saves. */
static void compact_saves_the_index_of_a_short_log_when_nobody_is_waiting(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    (void)finish(engine);
    for (size_t i = 0; i < 100; i++) {
        shim_advance_clock(1);
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
        assert_false(engine_has_file(engine, FILES_INDEX));
    }
    size_t steps = 0;
    while (!engine_has_file(engine, FILES_INDEX)) {
        assert_int_equal(step(engine), KV_OK);
        assert_in_range(++steps, 1, STEPS_MAX);
    }
}

static void compact_saves_the_index_of_a_long_log_also_while_commands_wait(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 700, 16000);
    start(engine);
    (void)finish(engine);
    assert_true(engine_log_length(engine) > SNAPSHOT_LOG_BYTES_MIN);
    size_t steps = 0;
    while (!engine_has_file(engine, FILES_INDEX)) {
        shim_advance_clock(1);
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
        assert_in_range(++steps, 1, STEPS_MAX);
    }
}

static void f70_compact_leaves_a_small_log_alone(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 10, 16000);
    while (store_stats(engine->store).dead_bytes <= COMPACT_DEAD_BYTES_MIN - 17000) {
        table_put(&table, table.last_version % table.row_count);
    }
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_false(is_compacting(engine));
}

static void f70_compact_never_starts_by_itself_on_a_log_without_dead_records(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, watchdog_scaled(900, 400), 16000);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        assert_false(is_compacting(engine));
        shim_advance_clock(10 * COMPACT_RETRY_MS);
    }
}

static void f70_compact_of_all_live_data_copies_it_and_stops(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    (void)finish(engine);
    expect_compact_log(&table);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_false(is_compacting(engine));
    reopen(&table);
}

static void f70_compact_of_all_dead_data_leaves_marks_alone(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    for (size_t row = 0; row < table.row_count; row++) {
        table_delete(&table, row);
    }
    start(engine);
    assert_in_range(finish(engine), 1, 4); /* nothing in it is looked at */
    expect_compact_log(&table);
    assert_in_range(engine_log_length(engine), 0, 1000);
    reopen(&table);
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
    begin(&table, engine, 3, 100);
    for (size_t i = 0; i < 3; i++) {
        bytes[length / 2] = (uint8_t)('a' + i);
        assert_int_equal(keyed_set(engine->store, slice_of_text("large"), value), KV_OK);
        table_commit(&table);
    }
    assert_int_equal(step(engine), KV_OK); /* by itself */
    assert_true(is_compacting(engine));
    (void)finish(engine);
    assert_in_range(engine_log_length(engine), length, length + 2000);
    engine_crash(engine);
    engine_open(engine);
    assert_int_equal(keyed_get(engine->store, slice_of_text("large"), &found), KV_OK);
    assert_true(slice_equal(found, value));
    free(bytes);
}

/* ---- Crashes and writes between steps ---- */

static void f63_compact_killed_after_any_step_goes_on(void **state)
{
    struct engine *engine = *state;
    struct table table;
    size_t steps = 0;
    for (size_t killed_at = 0; killed_at <= steps; killed_at += watchdog_scaled(1, 2)) {
        begin_some(&table, engine);
        for (size_t row = 0; row < table.row_count; row += 4) {
            table_put(&table, row);
            table_delete(&table, row + 1);
        }
        start(engine);
        for (size_t i = 0; i < killed_at && is_compacting(engine); i++) {
            assert_int_equal(step(engine), KV_OK);
            steps = steps < i + 2 ? i + 2 : steps;
        }
        steps = steps == 0 ? 1 : steps;
        bool was_over = !is_compacting(engine);
        reopen(&table);
        steps = was_over ? 0 : steps;
        (void)finish(engine);
        assert_true(table_holds(&table));
        reopen(&table);
        assert_int_equal(engine_told(engine, ""), 0);
        start_over(engine);
    }
}

/* Kills that come after ever more steps: each start takes up what the last one left. */
static void f63_compact_ends_though_it_is_killed_again_and_again(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    for (size_t life = 1; is_compacting(engine); life++) {
        for (size_t i = 0; i < life && is_compacting(engine); i++) {
            assert_int_equal(step(engine), KV_OK);
        }
        reopen(&table);
        assert_in_range(life, 0, 100);
    }
    assert_true(table_holds(&table));
}

/* One row is written at each stage of the copying, by a set and by a delete. */
static void f66_writes_before_during_and_after_the_copy_of_a_key_last(void **state)
{
    struct engine *engine = *state;
    struct table table;
    const uint64_t stages[] = {0, 1, 50, 90};
    /* Every third meets each stage, and each way of writing and going on. */
    for (size_t i = 0; i < 4 * 4; i += watchdog_scaled(1, 3)) {
        begin_some(&table, engine);
        size_t rows[] = {0, table.row_count / 2, table.row_count - 1};
        start(engine);
        advance(engine, stages[i / 4]);
        for (size_t k = 0; k < 3; k++) {
            if (i % 2 == 0) {
                table_put(&table, rows[k]);
            } else {
                table_delete(&table, rows[k]);
            }
        }
        if (i % 4 >= 2) {
            reopen(&table);
        }
        (void)finish(engine);
        assert_true(table_holds(&table));
        reopen(&table);
        start(engine); /* what is gone stays away in the next one too */
        (void)finish(engine);
        assert_true(table_holds(&table));
        start_over(engine);
    }
}

/* A tombstone is wanted while the older log is there, also across a crash. */
static void f66_deleted_keys_never_come_back(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    advance(engine, 30);
    for (size_t row = 0; row < table.row_count; row++) {
        table_delete(&table, row);
        if (row % 40 == 0) {
            reopen(&table);
        }
    }
    reopen(&table);
    (void)finish(engine);
    reopen(&table);
    table_put(&table, 3);
    start(engine);
    (void)finish(engine);
    expect_compact_log(&table);
}

static void play(struct table *table, struct dice *dice)
{
    size_t row = (size_t)dice_below(dice, table->row_count);
    switch (dice_below(dice, 16)) {
    case 0:
        if (!is_compacting(table->engine)) {
            start(table->engine);
        }
        break;
    case 1:
        reopen(table);
        break;
    case 2:
    case 3:
        assert_int_equal(step(table->engine), KV_OK);
        break;
    case 4:
        table_stage(table, row);
        table_stage(table, (row + 1) % table->row_count);
        table_commit(table);
        break;
    case 5:
    case 6:
    case 7:
        table_delete(table, row);
        break;
    case 8:
        shim_advance_clock(dice_below(dice, 1500));
        break;
    default:
        table_put(table, row);
        break;
    }
}

static void f66_random_writes_amid_compactions_equal_the_model(void **state)
{
    struct engine *engine = *state;
    struct table table;
    struct dice dice;
    dice_begin(&dice);
    for (int policy = 0; policy < 2; policy++) {
        engine->sync = policy == 0 ? SYNC_ALWAYS : SYNC_EVERYSEC;
        begin(&table, engine, 40, 12000);
        for (size_t i = 0; i < watchdog_scaled(3000, 120); i++) {
            play(&table, &dice);
        }
        assert_true(table_holds(&table));
        start_over(engine);
    }
}

/* ---- No space ---- */

static void f64_compact_without_space_pauses_and_service_goes_on(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    assert_int_equal(step(engine), KV_OK);
    uint64_t length = engine_log_length(engine);
    shim_set_space(SHIM_LOG, length + 40000, ENOSPC);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(step(engine), KV_OK);
        /* Nothing of it is left; only the second seal of the slice before it fits. */
        assert_in_range(engine_log_length(engine), length, length + SEAL_BYTES);
        uint64_t writes = shim_count(SHIM_PWRITE);
        assert_int_equal(step(engine), KV_OK); /* not again at once */
        shim_advance_clock(COMPACT_RETRY_MS - 1);
        assert_true(store_due_ms(engine->store, LEISURE_ALL) >
                    START_MS + i * COMPACT_RETRY_MS);
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
    (void)finish(engine);
    assert_true(table_holds(&table));
    reopen(&table);
}

static void f64_compact_goes_on_after_a_restart_on_a_full_disk(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    assert_int_equal(step(engine), KV_OK);
    shim_set_space(SHIM_LOG, engine_log_length(engine) + 3, ENOSPC);
    assert_int_equal(step(engine), KV_OK);
    reopen(&table);
    assert_int_equal(step(engine), KV_OK);
    assert_true(table_holds(&table));
    assert_true(is_compacting(engine));
    shim_give_space();
    shim_advance_clock(COMPACT_RETRY_MS);
    (void)finish(engine);
    assert_true(table_holds(&table));
}

/* The last mark finds no room; it is tried again. */
static void f64_compact_waits_with_the_drained_mark(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 4, 1000);
    start(engine);
    assert_int_equal(step(engine), KV_OK);
    shim_set_space(SHIM_LOG, engine_log_length(engine) + 20, ENOSPC);
    assert_int_equal(step(engine), KV_OK);
    shim_give_space();
    assert_true(is_compacting(engine));
    reopen(&table);
    shim_advance_clock(COMPACT_RETRY_MS);
    (void)finish(engine);
    assert_true(table_holds(&table));
}

static void f64_compact_does_not_begin_where_there_is_no_room(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 40, 16000);
    while (store_stats(engine->store).dead_bytes <= 2 * COMPACT_DEAD_BYTES_MIN) {
        table_put(&table, table.last_version % table.row_count);
    }
    /* The records, for each a seal at most, and the marks of a log. */
    uint64_t needed = table_live_bytes(&table) + 40 * SEAL_BYTES + OPENING_BYTES +
                      DRAINED_BYTES + 2 * SEAL_BYTES + COMPACT_SPARE_BYTES;
    free_bytes = needed - 1;
    shim_forget_trace();
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(step(engine), KV_OK);
        shim_advance_clock(COMPACT_RETRY_MS);
    }
    assert_int_equal(store_compact(engine->store), KV_NO_SPACE);
    assert_false(is_compacting(engine));
    assert_null(strstr(shim_trace_text(SHIM_CHANGES), "renameat"));
    assert_int_equal(engine_told(engine, "no room"), 1);
    assert_true(table_holds(&table));
    free_bytes++;
    shim_advance_clock(COMPACT_RETRY_MS);
    assert_int_equal(step(engine), KV_OK); /* by itself */
    assert_true(is_compacting(engine));
    (void)finish(engine);
    expect_compact_log(&table);
}

/* ---- A full disk ---- */

/* Whatever is written, the disk has room for it: nothing is only refused by the disk. */
static void expect_to_fit(void *context, const struct shim_change *change)
{
    (void)context; /* the disk is one for the program */
    (void)change;  /* the sum counts */
    assert_true(used_bytes() <= disk_bytes);
}

/* From now on the files are on a disk of this size. */
static void be_on_a_disk(const struct table *table, uint64_t bytes)
{
    disk_user = table->engine;
    disk_bytes = bytes;
    shim_witness(expect_to_fit, NULL);
    shim_advance_clock(ROOM_LOOK_MS);
    assert_int_equal(step(table->engine), KV_OK); /* idle: room is looked at again */
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
    /* Slowly: all of them by itself, and all but some after a restart. */
    for (size_t i = 0; i < 4; i += watchdog_scaled(1, 3)) {
        begin(&table, engine, 1, 16000);
        be_on_a_disk(&table, 24 * MIB);
        fill_the_disk(&table);
        assert_int_equal(try_to_put(&table, 0), KV_NO_SPACE);
        assert_int_equal(engine_told(engine, "the disk is nearly full"), 1);
        size_t kept = i < 2 ? 0 : 30; /* half a MiB */
        for (size_t row = kept; row < table.row_count; row++) {
            table_delete(&table, row);
        }
        assert_int_equal(try_to_put(&table, 0), KV_NO_SPACE); /* not yet */
        if (i % 2 == 1) {
            reopen(&table);
            assert_int_equal(try_to_put(&table, 0), KV_NO_SPACE);
        }
        assert_int_equal(step(engine), KV_OK); /* by itself */
        assert_true(is_compacting(engine));
        (void)finish(engine);
        expect_compact_log(&table);
        fill_the_disk(&table); /* which has room for as much again */
        assert_in_range(table_live_bytes(&table), 22 * MIB, 24 * MIB);
        reopen(&table);
        start_over(engine);
    }
}

/* Deletions leave to a compaction what it needs to begin. */
static void f99_deletions_end_where_a_compaction_still_begins(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 1, 100);
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
    assert_true(disk_bytes - used_bytes() >= COMPACT_SPARE_BYTES / 16);
}

static void overwrite_two_fifths_of_a_disk(struct engine *engine, struct dice *dice)
{
    struct table table;
    begin(&table, engine, watchdog_scaled(1000, 200), 16000);
    be_on_a_disk(&table, table_live_bytes(&table) / 2 * 5);
    size_t refused = 0;
    for (size_t i = 0; i < watchdog_scaled(6000, 1000); i++) {
        size_t row = (size_t)dice_below(dice, table.row_count);
        while (try_to_put(&table, row) != KV_OK) {
            assert_int_equal(step(engine), KV_OK);
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
    begin(&table, engine, 500, 16000);
    table_fill(&table);
    be_on_a_disk(&table, table_live_bytes(&table) * 4); /* room for as much again twice */
    start(engine);
    for (size_t percent = 0; percent <= 100; percent += 25) {
        if (is_compacting(engine)) {
            advance(engine, percent);
        }
        size_t accepted = 0;
        while (try_to_put(&table, 0) == KV_OK) { /* the others are to be copied */
            assert_in_range(++accepted, 1, 3 * table.row_count);
        }
    }
    (void)finish(engine);
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
    begin(&table, engine, 20, 16000);
    while (engine_log_length(engine) < 3 * MIB) {
        table_fill(&table);
    }
    be_on_a_disk(&table, 9 * MIB);
    assert_false(is_compacting(engine));
    assert_int_equal(keyed_set(engine->store, slice_of_text("large"), value),
                     KV_NO_SPACE);
    assert_int_equal(step(engine), KV_OK);
    assert_true(is_compacting(engine));
    (void)finish(engine);
    assert_int_equal(keyed_set(engine->store, slice_of_text("large"), value), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    free(bytes);
}

/* On a small disk less is dead than is worth a compaction elsewhere. */
static void f99_a_small_full_disk_gets_its_room_back_by_itself(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 1, 16000);
    be_on_a_disk(&table, 2 * MIB);
    fill_the_disk(&table);
    for (size_t row = 0; row < table.row_count; row++) {
        table_delete(&table, row);
    }
    assert_int_equal(step(engine), KV_OK);
    assert_true(is_compacting(engine));
    (void)finish(engine);
    for (size_t i = 0; i < 10; i++) { /* an empty log is not compacted again and again */
        shim_advance_clock(LOG_MESSAGE_MS);
        assert_int_equal(step(engine), KV_OK);
        assert_false(is_compacting(engine));
    }
    assert_int_equal(try_to_put(&table, 0), KV_OK);
}

/* The length that the process may give to files is a disk, too; here a real one. */
static void f99_a_file_size_limit_is_as_a_full_disk(void **state)
{
    struct engine *engine = *state;
    struct table table;
    struct rlimit before;
    begin(&table, engine, 1, 16000);
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
        start(engine);
        (void)finish(engine);
        table_put(&table, 0);
    }
    reopen(&table);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
}

/* An image of the index is a hint: it is left out where it would take what is kept. */
static void f99_an_image_leaves_the_room_that_is_kept(void **state)
{
    struct engine *engine = *state;
    struct table table;
    engine->keeps_index = true;
    begin(&table, engine, TABLE_ROWS_MAX, 40);
    disk_user = engine;
    disk_bytes = used_bytes() + 200 * KIB;
    engine_close(engine);
    assert_false(engine_has_file(engine, FILES_INDEX));
    disk_bytes = UINT64_MAX;
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
    begin(&table, engine, TABLE_ROWS_MAX, 40);
    engine_close(engine);
    engine_open(engine);
    assert_true(engine_has_file(engine, FILES_INDEX));
    for (size_t row = 0; row < table.row_count; row++) {
        table_stage_delete(&table, row);
    }
    table_commit(&table);
    disk_user = engine;
    disk_bytes = used_bytes() + 100;
    assert_int_equal(engine_set(engine, "k", "v"), KV_NO_SPACE);
    start(engine);
    assert_false(engine_has_file(engine, FILES_INDEX));
    (void)finish(engine);
    assert_true(table_holds(&table));
    table_put(&table, 1);
}

/* ---- Rot ---- */

/* Go on until nothing is left to do. */
static void exhaust(const struct engine *engine)
{
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(step(engine), KV_OK);
    }
}

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
        begin_some(&table, engine);
        size_t rotten = table.row_count / 2;
        start(engine);
        flip_in_older(engine, find_row(&table, FILES_OLD, rotten) + 100);
        struct script older = engine_read(engine, FILES_OLD);
        exhaust(engine);
        expect_all_but(&table, rotten);
        assert_int_equal(store_compact(engine->store), KV_CORRUPT);
        assert_int_equal(engine_told(engine, "is damaged"), 1); /* copied; then read */
        assert_int_equal(engine_told(engine, "the file is kept"), 1);
        assert_int_equal(count_row(engine, rotten), 0); /* no new seal stands for it */
        engine_expect_file(engine, FILES_OLD, script_slice(&older));
        table_put(&table, rotten == 0 ? 1 : 0); /* other keys go on */
        assert_true(is_compacting(engine));
        if (mended_by == 0) {
            table_put(&table, rotten);
        } else {
            table_delete(&table, rotten);
        }
        assert_int_equal(store_compact(engine->store), KV_OK);
        (void)finish(engine);
        assert_true(table_holds(&table));
        reopen(&table);
        script_free(&older);
        start_over(engine);
    }
}

/* Rot that only a dead record has concerns nobody. */
static void f65_compact_passes_over_rot_in_a_dead_value(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    uint64_t place = find_row(&table, FILES_OLD, 9) + 100;
    table_put(&table, 9);
    flip_in_older(engine, place);
    (void)finish(engine);
    assert_true(table_holds(&table));
    reopen(&table);
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
        begin_some(&table, engine);
        size_t rotten = table.row_count / 2;
        start(engine);
        flip_in_older(engine, find_row(&table, FILES_OLD, rotten) + byte);
        exhaust(engine);
        expect_all_but(&table, rotten);
        assert_true(is_compacting(engine));
        assert_int_equal(engine_told(engine, ": 1 records are damaged"), 1);
        table_put(&table, rotten);
        (void)finish(engine);
        assert_true(table_holds(&table));
        reopen(&table);
        start_over(engine);
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
    begin_some(&table, engine);
    size_t rotten = table.row_count - 5; /* others of its batch stand behind it */
    start(engine);
    struct script older = engine_read(engine, FILES_OLD);
    /* The batch's own seal, and the second one of the rest. */
    flip_in_older(engine, older.length - 1);
    flip_in_older(engine, older.length - SEAL_BYTES - 1);
    flip_in_older(engine, find_row(&table, FILES_OLD, rotten) + 7);
    script_free(&older);
    exhaust(engine);
    expect_all_but(&table, rotten);
    assert_int_equal(engine_told(engine, ": 1 records are damaged"), 1);
    table_put(&table, rotten);
    (void)finish(engine);
    assert_true(table_holds(&table));
    reopen(&table);
}

/* All rows in one batch, the first of them with a rotten header: the rest is swept up. */
static void begin_rotten_batch(struct table *table, struct engine *engine,
                               size_t row_count, size_t value_bytes)
{
    begin(table, engine, row_count, value_bytes);
    for (size_t row = 0; row < row_count; row++) {
        table_stage(table, row);
    }
    table_commit(table);
    start(engine);
    flip_in_older(engine, find_row(table, FILES_OLD, 0) + 7);
}

/* What is swept up is copied in slices, too. */
static void f69_a_slice_of_what_stands_behind_rot_is_bounded(void **state)
{
    struct engine *engine = *state;
    struct table table;
    const size_t shapes[][2] = {{100, 16000}, {ROWS_MANY, 40}};
    for (size_t i = 0; i < 2; i++) {
        begin_rotten_batch(&table, engine, shapes[i][0], shapes[i][1]);
        uint64_t most = 0;
        for (size_t steps = 0; steps < 200; steps++) {
            uint64_t before = engine_log_length(engine);
            assert_int_equal(step(engine), KV_OK);
            uint64_t more = engine_log_length(engine) - before;
            most = more > most ? more : most;
        }
        assert_in_range(most, 1, COMPACT_SLICE_BYTES + 16000 + 1000);
        assert_int_equal(engine_told(engine, ": 1 records are damaged"), 1);
        expect_all_but(&table, 0);
        table_put(&table, 0);
        (void)finish(engine);
        assert_true(table_holds(&table));
        start_over(engine);
    }
}

/* Nor does a slice look at more than so many entries, though there is nothing to copy. */
static void f69_a_slice_looks_at_so_many_entries(void **state)
{
    struct engine *engine = *state;
    struct table table;
    size_t counts[2];
    for (size_t i = 0; i < 2; i++) {
        begin(&table, engine, 20, 1000);
        for (size_t key = 0; i == 1 && key < COMPACT_SLICE_ENTRIES; key++) {
            char text[32];
            (void)snprintf(text, sizeof text, "small-%zu", key);
            assert_int_equal(engine_set(engine, text, ""), KV_OK);
        }
        table_commit(&table);
        start(engine);
        flip_in_older(engine, find_row(&table, FILES_OLD, 3) + 100);
        advance(engine, 100);
        counts[i] = 0;
        while (engine_told(engine, ": 1 records are damaged") == 0) {
            assert_int_equal(step(engine), KV_OK);
            assert_in_range(++counts[i], 1, 10);
        }
        expect_all_but(&table, 3);
        start_over(engine);
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
    begin_some(&table, engine);
    start(engine);
    (void)finish(engine);
    assert_false(engine_has_file(engine, FILES_INDEX));
    start(engine);
    flip_in_older(engine, find_row(&table, FILES_OLD, 0) + 100);
    exhaust(engine);
    expect_all_but(&table, 0);
    assert_true(is_compacting(engine));
    assert_false(engine_has_file(engine, FILES_INDEX));
    table_put(&table, 0);
    (void)finish(engine);
    exhaust(engine);
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
    begin_some(&table, engine);
    start(engine);
    assert_int_equal(step(engine), KV_OK);
    engine_crash(engine);
    flip_in_older(engine, find_row(&table, FILES_OLD, 5) + 100);
    struct script older = engine_read(engine, FILES_OLD);
    struct script log = engine_read(engine, "");
    assert_int_equal(engine_try_open(engine), KV_CORRUPT);
    assert_int_equal(engine_told(engine, "kv.log.old: the log is damaged at offset"), 1);
    engine_expect_file(engine, FILES_OLD, script_slice(&older));
    engine_expect_file(engine, "", script_slice(&log));
    script_free(&older);
    script_free(&log);
}

/* ---- Failing calls ---- */

struct failure {
    enum shim_call call;
    enum shim_role role;
    uint64_t nth;
    int error;
    enum status status;
};

/* What fails before the switch is done is taken back, and can be tried again. */
static void f67_compact_that_cannot_begin_leaves_all_as_it_was(void **state)
{
    static const struct failure failures[] = {
        {SHIM_RENAMEAT, SHIM_OLD, 1, EIO, KV_IO},
        {SHIM_RENAMEAT, SHIM_OLD, 1, ENOSPC, KV_NO_SPACE},
        {SHIM_RENAMEAT, SHIM_OLD, 1, EACCES, KV_IO},
        {SHIM_OPENAT, SHIM_NEW, 1, EMFILE, KV_IO},
        {SHIM_FSTAT, SHIM_NEW, 1, EIO, KV_IO},
        {SHIM_MMAP, SHIM_NEW, 1, EIO, KV_OK}, /* a smaller view does */
        {SHIM_FOPEN, SHIM_OTHER, 1, EMFILE, KV_IO},
        {SHIM_PWRITE, SHIM_NEW, 1, ENOSPC, KV_NO_SPACE},
        {SHIM_PWRITE, SHIM_NEW, 1, EIO, KV_IO},
        {SHIM_FDATASYNC, SHIM_NEW, 1, EIO, KV_IO},
        {SHIM_FDATASYNC, SHIM_NEW, 1, ENOSPC, KV_NO_SPACE},
        {SHIM_RENAMEAT, SHIM_LOG, 1, EIO, KV_IO},
    };
    struct engine *engine = *state;
    struct table table;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        const struct failure *failure = &failures[i];
        begin(&table, engine, 20, 1000);
        shim_fail_once(SHIM_BIT(failure->call), failure->role, failure->nth,
                       failure->error);
        assert_int_equal(store_compact(engine->store), failure->status);
        assert_int_equal(shim_fired_count(), 1);
        if (failure->status != KV_OK) {
            assert_false(is_compacting(engine));
            assert_in_range(engine_told(engine, ""), 1, 2);
        }
        assert_false(engine_has_file(engine, FILES_NEW));
        table_put(&table, 3);
        assert_true(table_holds(&table));
        reopen(&table);
        assert_int_equal(store_compact(engine->store), KV_OK);
        (void)finish(engine);
        assert_true(table_holds(&table));
        start_over(engine);
    }
}

/* Take all steps, one of them without memory at the nth time that it is asked for; false
 * if it was not asked for so often. */
static bool step_without_memory(const struct engine *engine, uint64_t nth)
{
    shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
    for (size_t i = 0; i < 200 && shim_fired_count() == 0; i++) {
        uint64_t length = is_compacting(engine) ? engine_log_length(engine) : 0;
        uint64_t percent = store_stats(engine->store).compaction_percent;
        assert_int_equal(step(engine), KV_OK);
        if (shim_fired_count() > 0 && is_compacting(engine)) { /* it was taken back */
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
                begin_rotten_batch(&table, engine, 60, 16000);
            } else {
                begin_some(&table, engine);
                start(engine);
            }
            nth += watchdog_scaled(1, 3);
            has_failed = step_without_memory(engine, nth);
            table_put(&table, 3);
            shim_advance_clock(COMPACT_RETRY_MS);
            exhaust(engine);
            table_put(&table, 0); /* mends what is rotten */
            (void)finish(engine);
            assert_true(table_holds(&table));
            reopen(&table);
            start_over(engine);
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
        begin(&table, engine, 700, 16000);
        table_fill(&table);
        shim_inject(&faults[i]);
        shim_forget_trace();
        for (uint64_t ms = 0; ms < MINUTES * LOG_MESSAGE_MS; ms += COMPACT_RETRY_MS / 2) {
            assert_int_equal(step(engine), KV_OK);
            shim_advance_clock(COMPACT_RETRY_MS / 2);
        }
        assert_null(strstr(shim_trace_text(SHIM_CHANGES), "renameat"));
        assert_false(engine_has_file(engine, FILES_NEW));
        assert_in_range(engine_told(engine, ""), 1, MINUTES + 1);
        table_put(&table, 3);
        assert_true(table_holds(&table));
        shim_clear_faults();
        shim_advance_clock(LOG_MESSAGE_MS);
        assert_int_equal(step(engine), KV_OK); /* by itself */
        assert_true(is_compacting(engine));
        (void)finish(engine);
        expect_compact_log(&table);
        start_over(engine);
    }
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
    begin(&table, engine, 0, 100);
    assert_int_equal(fill_up_to(engine, "first", page), KV_OK);
    engine_crash(engine); /* without another seal */
    shim_guard_views();
    open_with_a_short_view(engine);
    assert_int_equal(engine_log_length(engine), page);
    assert_int_equal(fill_up_to(engine, "second", MIB), KV_OK);
    assert_int_equal(fill_up_to(engine, "third", page + MIB), KV_OK); /* in one slice */
    shim_advance_clock(SECOND_SEAL_MS);
    assert_int_equal(step(engine), KV_OK);
    assert_int_equal(engine_log_length(engine), page + MIB + SEAL_BYTES);
    start(engine);
    (void)finish(engine);
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
    begin(&table, engine, 0, 100);
    assert_int_equal(fill_up_to(engine, "first", page), KV_OK);
    engine_crash(engine);
    open_with_a_short_view(engine);
    assert_int_equal(fill_up_to(engine, "second", page + MIB), KV_OK);
    shim_fail_from(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENOMEM);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(store_compact(engine->store), KV_NO_MEMORY);
        assert_false(is_compacting(engine));
    }
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(engine_told(engine, "not enough memory for a compaction"), 1);
    shim_clear_faults();
    start(engine);
    (void)finish(engine);
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
    begin(&table, engine, 0, 100);
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
        begin(&table, engine, watchdog_scaled(160, 100), 16000); /* more than a MiB */
        shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_NEW, 1, ENOMEM);
        shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_NEW, 2, ENOMEM);
        start(engine);
        shim_clear_faults();
        shim_inject(&faults[i]);
        for (size_t steps = 0; steps < 40; steps++) {
            assert_int_equal(step(engine), KV_OK);
            shim_advance_clock(COMPACT_RETRY_MS);
        }
        assert_true(is_compacting(engine));
        shim_clear_faults();
        assert_int_equal(engine_told(engine, "not enough memory for a compaction"), 1);
        assert_true(table_holds(&table));
        (void)finish(engine);
        assert_true(table_holds(&table));
        start_over(engine);
    }
}

/* Nor is a drained log tried to be removed, and told about, each second. */
static void f111_compact_that_cannot_drop_the_older_log_backs_off(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 20, 1000);
    start(engine);
    shim_fail_from(SHIM_BIT(SHIM_UNLINKAT), SHIM_OLD, 1, EACCES);
    for (uint64_t ms = 0; ms < 3 * LOG_MESSAGE_MS; ms += COMPACT_RETRY_MS / 2) {
        assert_int_equal(step(engine), KV_OK);
        shim_advance_clock(COMPACT_RETRY_MS / 2);
    }
    assert_in_range(engine_told(engine, "cannot remove"), 2, 4);
    shim_clear_faults();
    shim_advance_clock(LOG_MESSAGE_MS);
    (void)finish(engine);
    assert_true(table_holds(&table));
}

/* Where nobody knows which names are durable, nothing may be acknowledged any more. */
static void f67_compact_with_unknown_names_is_fatal(void **state)
{
    struct engine *engine = *state;
    struct table table;
    for (size_t i = 0; i < 4; i++) {
        begin(&table, engine, 20, 1000);
        if (i < 2) { /* the directory sync behind either rename */
            shim_fail_once(SHIM_BIT(SHIM_FSYNC), SHIM_ANY, i + 1, EIO);
        } else { /* neither the new name nor the old one can be had */
            shim_fail_from(SHIM_BIT(SHIM_RENAMEAT), SHIM_LOG, 1, i == 2 ? EIO : ENOSPC);
        }
        assert_int_equal(store_compact(engine->store), KV_FATAL);
        shim_clear_faults();
        assert_int_equal(store_compact(engine->store), KV_FATAL);
        assert_int_equal(step(engine), KV_FATAL);
        assert_int_equal(keyed_set(engine->store, table_key(0), table_key(1)), KV_OK);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        struct store *store = engine->store;
        engine->store = NULL;
        (void)store_close(store); /* there is nothing left to save */
        engine_open(engine);
        assert_true(table_holds(&table));
        start_over(engine);
    }
}

/* A sync that fails leaves the state of the disk unknown, in a slice as in a commit. */
static void f67_compact_that_cannot_sync_is_fatal(void **state)
{
    struct engine *engine = *state;
    struct table table;
    for (size_t i = 0; i < 2; i++) { /* the copies; the drained mark */
        begin(&table, engine, 20, 1000);
        start(engine);
        shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_LOG, i + 1, EIO);
        while (step(engine) == KV_OK) {
            assert_true(is_compacting(engine));
        }
        assert_int_equal(shim_fired_count(), 1);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        assert_true(is_compacting(engine));
        shim_clear_faults();
        struct store *store = engine->store;
        engine->store = NULL;
        (void)store_close(store); /* there is nothing left to save */
        engine_open(engine);
        assert_true(table_holds(&table));
        (void)finish(engine);
        assert_true(table_holds(&table));
        start_over(engine);
    }
}

/* The older log cannot be got rid of: service goes on, and it is tried again. */
static void f67_compact_that_cannot_drop_the_older_log_tries_again(void **state)
{
    static const struct failure failures[] = {
        {SHIM_FTRUNCATE, SHIM_OLD, 1, EIO, KV_OK},
        {SHIM_UNLINKAT, SHIM_OLD, 1, EIO, KV_OK},
        {SHIM_UNLINKAT, SHIM_OLD, 1, EROFS, KV_OK},
        {SHIM_FSYNC, SHIM_DIRECTORY, 1, EIO, KV_OK},
    };
    struct engine *engine = *state;
    struct table table;
    for (size_t i = 0; i < 2 * sizeof failures / sizeof failures[0]; i++) {
        const struct failure *failure = &failures[i / 2];
        begin(&table, engine, 20, 1000);
        start(engine);
        shim_fail_once(SHIM_BIT(failure->call), failure->role, failure->nth,
                       failure->error);
        for (size_t k = 0; k < 8; k++) {
            assert_int_equal(step(engine), KV_OK);
        }
        assert_int_equal(shim_fired_count(), 1);
        assert_int_equal(store_stats(engine->store).compactions, 0);
        table_put(&table, 2);
        assert_true(table_holds(&table));
        if (i % 2 == 1) {
            reopen(&table);
        }
        for (size_t k = 0; k < 8; k++) {
            shim_advance_clock(LOG_MESSAGE_MS);
            assert_int_equal(step(engine), KV_OK);
        }
        assert_false(is_compacting(engine));
        assert_int_equal(store_stats(engine->store).compactions, i % 2 == 1 ? 0 : 1);
        assert_true(table_holds(&table));
        start(engine); /* the next one is not held up */
        (void)finish(engine);
        assert_true(table_holds(&table));
        reopen(&table);
        start_over(engine);
    }
}

/* A backup by a second link keeps every byte of the log that it was made of. */
static void f102_a_second_link_to_the_log_keeps_its_bytes(void **state)
{
    struct engine *engine = *state;
    struct table table;
    for (size_t is_late = 0; is_late < 2; is_late++) {
        begin_some(&table, engine);
        struct tempdir_file backup = engine_file(engine, ".backup");
        if (is_late == 0) {
            assert_int_equal(link(engine->log.path, backup.path), 0);
            table_put(&table, 1); /* goes into both */
        }
        start(engine);
        if (is_late == 1) { /* while it is being copied from */
            assert_int_equal(step(engine), KV_OK);
            assert_int_equal(link(engine_file(engine, FILES_OLD).path, backup.path), 0);
        }
        struct script older = engine_read(engine, FILES_OLD);
        (void)finish(engine);
        engine_expect_file(engine, ".backup", script_slice(&older));
        expect_compact_log(&table);
        script_free(&older);
        assert_int_equal(remove(backup.path), 0);
        start_over(engine);
    }
}

/* A file that cannot be inspected may have another link: it is unlinked as a whole. */
static void f102_an_older_log_that_cannot_be_inspected_is_not_cut(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 20, 1000);
    start(engine);
    shim_fail_from(SHIM_BIT(SHIM_FSTAT), SHIM_OLD, 1, EIO);
    shim_forget_trace();
    (void)finish(engine);
    assert_null(strstr(shim_trace_text(SHIM_CHANGES), "ftruncate"));
    assert_true(table_holds(&table));
}

/* A start that cannot remove a drained log serves; the next compaction replaces it. */
static void f67_a_start_that_cannot_remove_a_drained_log_serves(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin(&table, engine, 20, 1000);
    start(engine);
    assert_int_equal(step(engine), KV_OK);
    assert_int_equal(step(engine), KV_OK); /* the drained mark */
    engine_crash(engine);
    shim_fail_from(SHIM_BIT(SHIM_UNLINKAT), SHIM_OLD, 1, EIO);
    engine_open(engine);
    assert_true(table_holds(&table));
    assert_true(is_compacting(engine));
    table_put(&table, 1);
    shim_clear_faults();
    assert_int_equal(store_compact(engine->store), KV_OK);
    reopen(&table);
    (void)finish(engine);
    expect_compact_log(&table);
}

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
    begin(&table, engine, 20, 1000);
    if (calls != 0) {
        shim_fail_from(calls, SHIM_ANY, 1, error);
    }
    start(engine);
    (void)finish(engine);
    assert_true(table_holds(&table));
    reopen(&table);
    assert_int_equal(engine_told(engine, ""), line_count);
    start_over(engine);
}

static void f109_strange_file_systems_start_and_compact(void **state)
{
    struct engine *engine = *state;
    knows_no_call = true;
    compact_where_a_call_fails(engine, 0, 0, 0);
    knows_no_call = false;
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

/* ---- What a start may find ---- */

static void f68_an_older_log_alone_is_taken_up(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    engine_crash(engine);
    assert_int_equal(remove(engine->log.path), 0);
    engine_write(engine, FILES_NEW,
                 SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x58"
                               "6b76"));
    shim_fail_once(SHIM_BIT(SHIM_RENAMEAT), SHIM_ANY, 1, EIO);
    assert_int_equal(engine_try_open(engine), KV_IO);
    assert_true(engine_has_file(engine, FILES_OLD));
    engine_open(engine);
    assert_true(table_holds(&table));
    assert_false(is_compacting(engine));
    assert_false(engine_has_file(engine, FILES_NEW));
    start(engine);
    (void)finish(engine);
    assert_true(table_holds(&table));
}

static void f68_both_logs_and_a_stale_new_one_are_taken_up(void **state)
{
    struct engine *engine = *state;
    struct table table;
    begin_some(&table, engine);
    start(engine);
    advance(engine, 40);
    engine_crash(engine);
    engine_write(engine, FILES_NEW, SLICE_LITERAL(""));
    engine_open(engine);
    assert_true(table_holds(&table));
    assert_false(engine_has_file(engine, FILES_NEW));
    assert_in_range(store_stats(engine->store).compaction_percent, 0, 99);
    (void)finish(engine);
    assert_true(table_holds(&table));
}

/* A drained log, whole or cut short in any step of its removal, is only removed. */
static void f68_a_drained_log_of_any_length_is_removed(void **state)
{
    struct engine *engine = *state;
    struct table table;
    const uint64_t lengths[] = {0, 1, OPENING_BYTES - 1, OPENING_BYTES, 5000, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        begin(&table, engine, 20, 1000);
        start(engine);
        struct script older = engine_read(engine, FILES_OLD);
        (void)finish(engine);
        table_put(&table, 4);
        table_delete(&table, 5);
        engine_crash(engine);
        size_t length = lengths[i] < older.length ? (size_t)lengths[i] : older.length;
        engine_write(engine, FILES_OLD, slice_first(script_slice(&older), length));
        engine_open(engine);
        assert_true(table_holds(&table));
        assert_false(is_compacting(engine));
        script_free(&older);
        start_over(engine);
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
    begin(&table, engine, 20, 1000);
    start(engine);
    struct script first = engine_read(engine, FILES_OLD);
    (void)finish(engine);
    start(engine);
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
    begin(&table, engine, 20, 1000);
    start(engine);
    engine_crash(engine);
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
    begin(&table, engine, 20, 1000);
    struct tempdir_file older = engine_file(engine, FILES_OLD);
    assert_int_equal(mkdir(older.path, 0700), 0);
    assert_int_equal(store_compact(engine->store), KV_IO);
    table_put(&table, 1);
    assert_true(table_holds(&table));
    assert_int_equal(rmdir(older.path), 0);
    start(engine);
    (void)finish(engine);
    assert_true(table_holds(&table));
}

static void f96_an_older_log_that_is_missing_is_named(void **state)
{
    struct engine *engine = *state;
    struct table table;
    const uint64_t stages[] = {0, 40, 99};
    for (size_t i = 0; i < 3; i++) {
        begin_some(&table, engine);
        start(engine);
        advance(engine, stages[i]);
        engine_crash(engine);
        struct script older = engine_read(engine, FILES_OLD);
        assert_int_equal(remove(engine_file(engine, FILES_OLD).path), 0);
        expect_refusal(engine, KV_CORRUPT, "kv.log.old: is missing");
        engine_write(engine, FILES_OLD, script_slice(&older)); /* and back again */
        engine_open(engine);
        assert_true(table_holds(&table));
        script_free(&older);
        start_over(engine);
    }
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
    begin(&table, engine, watchdog_scaled(900, 400), 16000);
    uint64_t record = record_length(table_key(0).length, 16010) + 8;
    uint64_t older = engine_log_length(engine);
    start(engine);
    size_t steps = 0;
    while (is_compacting(engine)) {
        struct store_stats before = store_stats(engine->store);
        shim_forget_trace();
        assert_int_equal(step(engine), KV_OK);
        assert_in_range(largest_write(), 0, COMPACT_SLICE_BYTES + record + SEAL_BYTES);
        struct store_stats after = store_stats(engine->store);
        assert_true(after.compaction_percent >= before.compaction_percent);
        for (size_t i = 0; i < shim_event_count(); i++) {
            const struct shim_event *event = shim_event_at(i);
            if (event->call == SHIM_FTRUNCATE) {
                assert_in_range(older - event->offset, 0, COMPACT_DROP_BYTES);
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
static void spend_time(void *context, const struct shim_change *change)
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
    begin_some(&table, engine);
    start(engine);
    shim_witness(spend_time, NULL);
    uint64_t writes = shim_count(SHIM_PWRITE);
    assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    assert_int_equal(shim_count(SHIM_PWRITE), writes + 1);
    assert_int_equal(store_due_ms(engine->store, LEISURE_SOME),
                     START_MS + 3 + 3 * COMPACT_PAUSE_FACTOR);
    assert_int_equal(store_due_ms(engine->store, LEISURE_ALL), 0);
    assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    assert_int_equal(shim_count(SHIM_PWRITE), writes + 1);
    shim_advance_clock(3 * COMPACT_PAUSE_FACTOR);
    assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
    assert_int_equal(shim_count(SHIM_PWRITE), writes + 2);
    shim_witness(NULL, NULL);
    size_t sets = 0;
    while (is_compacting(engine)) { /* time stands still but for the slices */
        table_put(&table, sets++ % table.row_count);
        assert_int_equal(store_maintain(engine->store, LEISURE_SOME), KV_OK);
        assert_in_range(sets, 0, STEPS_MAX);
    }
    assert_true(table_holds(&table));
}

/* Every byte that goes to a file. */
static void count_written(void *context, const struct shim_change *change)
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
    begin(&table, engine, 300, 16000);
    shim_witness(count_written, &written);
    while (store_stats(engine->store).compactions < watchdog_scaled(6, 1)) {
        for (size_t i = 0; i < 4; i++) {
            size_t row = (size_t)dice_below(&dice, table.row_count);
            table_stage(&table, row);
            wanted +=
                record_length(table_key(row).length, table_value_now(&table, row).length);
        }
        table_commit(&table);
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
    reopen(&table);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_ENGINE(compact_copies_exactly_the_live_data),
        ON_ENGINE(compact_can_be_repeated),
        ON_ENGINE(compact_of_an_empty_store_ends),
        ON_ENGINE(compact_makes_each_step_durable_before_the_next),
        ON_ENGINE(compact_syncs_the_copies_before_it_drops_under_everysec),
        ON_ENGINE(f70_compact_starts_by_itself_when_more_than_half_is_dead),
        ON_ENGINE(f70_compact_leaves_a_small_log_alone),
        ON_ENGINE(f70_compact_never_starts_by_itself_on_a_log_without_dead_records),
        ON_ENGINE(f70_compact_of_all_live_data_copies_it_and_stops),
        ON_ENGINE(f70_compact_of_all_dead_data_leaves_marks_alone),
        ON_ENGINE(f70_compact_copies_the_largest_value_in_one_step),
        ON_ENGINE(f63_compact_killed_after_any_step_goes_on),
        ON_ENGINE(f63_compact_ends_though_it_is_killed_again_and_again),
        ON_ENGINE(f66_writes_before_during_and_after_the_copy_of_a_key_last),
        ON_ENGINE(f66_deleted_keys_never_come_back),
        ON_ENGINE(f66_random_writes_amid_compactions_equal_the_model),
        ON_ENGINE(f64_compact_without_space_pauses_and_service_goes_on),
        ON_ENGINE(f64_compact_goes_on_after_a_restart_on_a_full_disk),
        ON_ENGINE(f64_compact_waits_with_the_drained_mark),
        ON_ENGINE(f64_compact_does_not_begin_where_there_is_no_room),
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
        ON_ENGINE(f65_compact_keeps_the_older_log_of_a_rotten_record),
        ON_ENGINE(f65_compact_passes_over_rot_in_a_dead_value),
        ON_ENGINE(f65_compact_copies_what_stands_behind_a_rotten_header),
        ON_ENGINE(f65_compact_copies_what_stands_before_a_rotten_last_seal),
        ON_ENGINE(f69_a_slice_of_what_stands_behind_rot_is_bounded),
        ON_ENGINE(f69_a_slice_looks_at_so_many_entries),
        ON_ENGINE(f71_compact_without_memory_pauses_and_service_goes_on),
        ON_ENGINE(f65_no_index_is_saved_while_an_older_log_is_wanted),
        ON_ENGINE(f65_a_start_on_a_rotten_older_log_is_refused),
        ON_ENGINE(f67_compact_that_cannot_begin_leaves_all_as_it_was),
        ON_ENGINE(f111_compact_that_cannot_make_a_new_log_backs_off),
        ON_ENGINE(f111_compact_that_cannot_drop_the_older_log_backs_off),
        ON_ENGINE(f114_compact_walks_over_a_seal_beyond_the_view),
        ON_ENGINE(f114_compact_waits_for_a_view_of_the_whole_log),
        ON_ENGINE(f112_a_view_that_cannot_grow_is_told_once_a_minute),
        ON_ENGINE(f112_compact_without_memory_says_so_once),
        ON_ENGINE(f67_compact_with_unknown_names_is_fatal),
        ON_ENGINE(f67_compact_that_cannot_sync_is_fatal),
        ON_ENGINE(f67_compact_that_cannot_drop_the_older_log_tries_again),
        ON_ENGINE(f67_a_start_that_cannot_remove_a_drained_log_serves),
        ON_ENGINE(f102_a_second_link_to_the_log_keeps_its_bytes),
        ON_ENGINE(f102_an_older_log_that_cannot_be_inspected_is_not_cut),
        ON_ENGINE(f109_strange_file_systems_start_and_compact),
        ON_ENGINE(f68_an_older_log_alone_is_taken_up),
        ON_ENGINE(f68_both_logs_and_a_stale_new_one_are_taken_up),
        ON_ENGINE(f68_a_drained_log_of_any_length_is_removed),
        ON_ENGINE(f68_an_older_log_of_another_generation_is_refused),
        ON_ENGINE(f68_an_older_log_that_is_no_file_is_refused),
        ON_ENGINE(f68_compact_does_not_begin_over_a_directory),
        ON_ENGINE(f96_an_older_log_that_is_missing_is_named),
        ON_ENGINE(compact_saves_the_index_of_a_short_log_when_nobody_is_waiting),
        ON_ENGINE(compact_saves_the_index_of_a_long_log_also_while_commands_wait),
        ON_ENGINE(f69_a_slice_is_bounded),
        ON_ENGINE(f69_slices_take_a_share_of_the_time),
        ON_ENGINE(compact_writes_at_most_twice_what_clients_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
