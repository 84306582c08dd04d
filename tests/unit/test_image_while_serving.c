/*
 * Images of the index that are taken while commands go on: when one is begun, in which
 * pieces it is written, and what makes the store give one up.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen fstatvfs clock_gettime
 * wrap: malloc calloc realloc strdup
 */
#include "base/bounds.h"
#include "engine/snapshot.h"
#include "engine/store.h"
#include "support/compacting.h"
#include "support/disk.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/table.h"
#include "support/unit.h"

#include <errno.h>
#include <stdlib.h>

enum {
    ROWS = 300,
    IMAGE_BYTES = 7 * 8 + 512 * 8 + ROWS * 20 + 2 * 8,
    PIECE_MIN = 300,
    PIECE_MAX = 2000,
    STEPS_MAX = IMAGE_BYTES / PIECE_MIN + 8
};

static const struct image_pace small_pace = {
    .growth_bytes_min = 1000,
    .growth_factor = 4,
    .piece_bytes_min = PIECE_MIN,
    .piece_bytes_max = PIECE_MAX,
};

/* What reached the files, by what they are to the program. */
static struct {
    uint64_t image_bytes; /* pwrite to PATH.new */
    uint64_t piece_max;
    uint64_t unsynced;
    uint64_t unsynced_max;
    uint64_t images; /* renamed to PATH.index */
} seen;

static void witness(void *context, const struct shim_event *change)
{
    (void)context;
    if (change->role == SHIM_NEW && change->call == SHIM_PWRITE) {
        seen.image_bytes += change->length;
        seen.piece_max =
            change->length > seen.piece_max ? change->length : seen.piece_max;
        seen.unsynced += change->length;
        seen.unsynced_max =
            seen.unsynced > seen.unsynced_max ? seen.unsynced : seen.unsynced_max;
    } else if (change->role == SHIM_NEW && change->call == SHIM_FDATASYNC) {
        seen.unsynced = 0;
    }
    seen.images += change->call == SHIM_RENAMEAT && change->role == SHIM_INDEX;
}

/* ---- A table that grows its log ---- */

/* *state is its struct table, filled, stopped once, and open: the image covers it. */
#define ON_TABLE(test) cmocka_unit_test_setup_teardown(test, table_setup, teardown)

static int table_setup(void **state)
{
    assert_int_equal(engine_setup(state), 0);
    struct engine *engine = *state;
    struct table *table = table_make(engine, ROWS);
    engine->image_pace = small_pace;
    engine_open(engine);
    table_fill(table);
    engine_close(engine);
    engine_open(engine);
    memset(&seen, 0, sizeof seen);
    shim_witness(witness, NULL);
    *state = table;
    return 0;
}

static int teardown(void **state)
{
    disk_be_real();
    return table_teardown(state);
}

/* What is due while commands are waiting. */
static void maintain(const struct table *table)
{
    assert_int_equal(store_maintain(table->engine->store, LEISURE_SOME), KV_OK);
}

static void maintain_fully(const struct table *table)
{
    for (int i = 0; i < 2 * STEPS_MAX; i++) {
        maintain(table);
    }
}

static bool is_saving(const struct table *table)
{
    return engine_has_file(table->engine, FILES_NEW);
}

static uint64_t bytes_logged(const struct table *table)
{
    return store_stats(table->engine->store).log_bytes;
}

/* Rows in turn, one by one, until the log has grown by so much. */
static void write_rows(struct table *table, uint64_t bytes)
{
    static size_t row;
    uint64_t end = bytes_logged(table) + bytes;
    while (bytes_logged(table) < end) {
        row = (row + 1) % table->row_count;
        table_put(table, row);
    }
}

static void begin_image(struct table *table)
{
    write_rows(table, (uint64_t)IMAGE_BYTES * 4);
    for (int i = 0; i < 3 && !is_saving(table); i++) {
        maintain(table); /* the one before may have to be cut away */
    }
    assert_true(is_saving(table));
}

static void finish_image(const struct table *table)
{
    maintain_fully(table);
    assert_false(is_saving(table));
    assert_true(engine_has_file(table->engine, FILES_INDEX));
}

/* A start after kill -9 reads no more of the log than this, and finds everything. */
static void expect_start_reads(const struct table *table, uint64_t bytes_max)
{
    struct engine *engine = table->engine;
    engine_kill(table->engine);
    engine_forget_messages(engine);
    engine_open(engine);
    assert_int_equal(engine_told(engine, ""), 0);
    assert_in_range(store_stats(engine->store).recovered_bytes, 0, bytes_max);
    assert_true(table_holds(table));
}

/* ---- When ---- */

/* None before the log has grown by 64 MiB, however small the index is. */
static void f130_no_image_before_the_log_has_grown_by_its_floor(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    engine_close(engine);
    engine->image_pace = (struct image_pace){0};
    engine_open(engine);
    uint64_t begin = bytes_logged(table);
    table->row_count = TABLE_ROWS_MAX;
    table->value_bytes = TABLE_VALUE_BYTES_MOST - 100;
    size_t row = 0;
    for (; bytes_logged(table) < begin + IMAGE_GROWTH_BYTES_MIN; row++) {
        assert_false(is_saving(table));
        table_put(table, row);
        maintain(table);
    }
    assert_in_range(row, ROWS, TABLE_ROWS_MAX);
    maintain(table);
    assert_true(is_saving(table));
    finish_image(table);
    expect_start_reads(table, 0);
}

/* Each costs a quarter of what is written at most, and a start reads what was written
 * since. */
static void f130_images_are_saved_as_the_log_grows(void **state)
{
    struct table *table = *state;
    uint64_t begin = bytes_logged(table);
    for (int i = 0; i < 400; i++) {
        write_rows(table, 1000);
        maintain(table);
    }
    uint64_t grown = bytes_logged(table) - begin;
    assert_in_range(seen.images, 4, 20);
    assert_in_range(seen.image_bytes, seen.images * IMAGE_BYTES, grown / 4);
    expect_start_reads(table, (uint64_t)IMAGE_BYTES * 4 + STEPS_MAX * UINT64_C(1100));
}

/* A start counts from the image that it finds. */
static void f130_an_image_is_due_from_the_one_before_a_kill_on(void **state)
{
    struct table *table = *state;
    write_rows(table, (uint64_t)IMAGE_BYTES * 4 - 1000);
    maintain_fully(table);
    engine_kill(table->engine);
    engine_open(table->engine);
    maintain_fully(table);
    assert_int_equal(seen.image_bytes, 0);
    write_rows(table, 1000);
    maintain(table);
    assert_true(is_saving(table));
    finish_image(table);
}

/* Commands wait for a piece, and for the sync of a few. */
static void f130_image_is_written_in_pieces_and_synced_on_the_way(void **state)
{
    struct table *table = *state;
    begin_image(table);
    int steps = 0;
    for (; is_saving(table); steps++) {
        assert_in_range(steps, 0, STEPS_MAX);
        maintain(table);
        table_put(table, (size_t)steps);
    }
    assert_in_range(steps, IMAGE_BYTES / PIECE_MAX, STEPS_MAX);
    assert_in_range(seen.piece_max, PIECE_MIN, 2 * PIECE_MIN);
    assert_in_range(seen.unsynced_max, PIECE_MAX, PIECE_MAX + 2 * PIECE_MIN);
}

/* The more is written, the larger they are: a fast load does not outrun the image. */
static void f130_pieces_grow_with_what_commands_write(void **state)
{
    struct table *table = *state;
    begin_image(table);
    for (int steps = 0; is_saving(table); steps++) {
        assert_in_range(steps, 0, IMAGE_BYTES / PIECE_MAX * 2 + 8);
        write_rows(table, (uint64_t)4 * PIECE_MAX); /* and seals */
        maintain(table);
    }
    assert_in_range(seen.piece_max, PIECE_MAX, 2 * PIECE_MAX);
}

/* Without writes it takes its turn all the same, and at once where nobody waits. */
static void f130_image_is_finished_at_leisure(void **state)
{
    struct table *table = *state;
    begin_image(table);
    for (int i = 0; i < STEPS_MAX; i++) {
        assert_int_equal(store_maintain(table->engine->store, LEISURE_ALL), KV_OK);
    }
    assert_false(is_saving(table));
    assert_int_equal(seen.images, 1);
    expect_start_reads(table, 0);
}

/* No step is taken while values that were read must stay where they are. */
static void f130_no_step_without_leisure(void **state)
{
    struct table *table = *state;
    begin_image(table);
    uint64_t written = seen.image_bytes;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(store_maintain(table->engine->store, LEISURE_NONE), KV_OK);
    }
    assert_int_equal(seen.image_bytes, written);
    finish_image(table);
}

/* ---- What comes in between ---- */

static void f131_compaction_gives_up_the_image_of_its_log(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    begin_image(table);
    maintain(table);
    assert_int_equal(store_compact(engine->store), KV_OK);
    assert_false(is_saving(table));
    assert_false(engine_has_file(engine, FILES_INDEX)); /* it was of the log before */
    assert_int_equal(seen.images, 0);
    for (int i = 0; i < 1000 && seen.images == 0; i++) {
        assert_int_equal(compacting_step(engine), KV_OK);
    }
    expect_start_reads(table, 0);
}

/* One that cannot begin leaves the image of before. */
static void f131_compaction_that_cannot_begin_leaves_the_image_of_before(void **state)
{
    struct table *table = *state;
    uint64_t covered = bytes_logged(table);
    begin_image(table);
    shim_fail_once(SHIM_BIT(SHIM_OPENAT), SHIM_NEW, 1, EMFILE);
    assert_int_equal(store_compact(table->engine->store), KV_IO);
    assert_false(is_saving(table));
    assert_true(engine_has_file(table->engine, FILES_INDEX));
    expect_start_reads(table, bytes_logged(table) - covered);
}

/* ---- What it lacks ---- */

/* Nothing is said, and nothing is missed: it is a hint. */
static void f132_image_leaves_the_room_of_values(void **state)
{
    struct table *table = *state;
    uint64_t covered = bytes_logged(table);
    disk_set_left(table->engine, IMAGE_BYTES * UINT64_C(5));
    write_rows(table, (uint64_t)IMAGE_BYTES * 4);
    maintain_fully(table);
    assert_int_equal(seen.image_bytes, 0);
    assert_int_equal(engine_told(table->engine, ""), 0);
    /* Room alone is not enough: it is tried again when the log has grown again. */
    disk_be_real();
    maintain_fully(table);
    assert_int_equal(seen.image_bytes, 0);
    expect_start_reads(table, bytes_logged(table) - covered);
    begin_image(table);
    finish_image(table);
}

/* At a stop nobody writes any more: its own room is enough. */
static void f132_image_at_a_stop_needs_its_own_room_alone(void **state)
{
    struct table *table = *state;
    write_rows(table, (uint64_t)IMAGE_BYTES * 4);
    disk_set_free(ROOM_KEPT_BYTES + IMAGE_BYTES * UINT64_C(3) / 2);
    maintain_fully(table);
    assert_int_equal(seen.image_bytes, 0);
    engine_close(table->engine);
    disk_be_real();
    engine_open(table->engine);
    expect_start_reads(table, 0);
}

/* One on the way is given up when others take the room, or a batch finds none. */
static void f132_image_on_the_way_gives_its_room_back(void **state)
{
    struct table *table = *state;
    begin_image(table);
    maintain(table);
    disk_set_left(table->engine, IMAGE_BYTES);
    maintain(table);
    assert_false(is_saving(table));
    disk_be_real();
    begin_image(table);
    maintain(table);
    shim_fail_once(SHIM_BIT(SHIM_PWRITE), SHIM_LOG, 1, ENOSPC);
    assert_int_equal(engine_set(table->engine, "more", "value"), KV_OK);
    assert_int_equal(store_commit(table->engine->store), KV_NO_SPACE);
    assert_false(is_saving(table));
    assert_int_equal(seen.images, 0);
    expect_start_reads(table, bytes_logged(table));
}

/* What fails again and again is told once, until it works. */
static void f132_image_that_cannot_be_written_is_told_once(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    uint64_t covered = 0;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        shim_fail_from(SHIM_BIT(SHIM_PWRITE), SHIM_NEW, nth, EIO);
        write_rows(table, (uint64_t)IMAGE_BYTES * 4);
        maintain_fully(table);
        assert_false(is_saving(table));
        shim_clear_faults();
    }
    assert_int_equal(engine_told(engine, "cannot write the index"), 1);
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(seen.images, 0);
    begin_image(table);
    finish_image(table);
    covered = bytes_logged(table);
    begin_image(table);
    shim_fail_once(SHIM_BIT(SHIM_PWRITE), SHIM_NEW, 1, EIO);
    maintain_fully(table);
    assert_int_equal(engine_told(engine, "cannot write the index"), 2);
    expect_start_reads(table, bytes_logged(table) - covered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_TABLE(f130_no_image_before_the_log_has_grown_by_its_floor),
        ON_TABLE(f130_images_are_saved_as_the_log_grows),
        ON_TABLE(f130_an_image_is_due_from_the_one_before_a_kill_on),
        ON_TABLE(f130_image_is_written_in_pieces_and_synced_on_the_way),
        ON_TABLE(f130_pieces_grow_with_what_commands_write),
        ON_TABLE(f130_image_is_finished_at_leisure),
        ON_TABLE(f130_no_step_without_leisure),
        ON_TABLE(f131_compaction_gives_up_the_image_of_its_log),
        ON_TABLE(f131_compaction_that_cannot_begin_leaves_the_image_of_before),
        ON_TABLE(f132_image_leaves_the_room_of_values),
        ON_TABLE(f132_image_at_a_stop_needs_its_own_room_alone),
        ON_TABLE(f132_image_on_the_way_gives_its_room_back),
        ON_TABLE(f132_image_that_cannot_be_written_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
