/*
 * The saved index: believed only when every check passes, never needed, and the same as
 * what the log alone says, also when it was taken in steps while commands went on.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen clock_gettime
 * wrap: malloc calloc realloc strdup
 */
#include "engine/snapshot.h"

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "engine/store.h"
#include "log/record.h"
#include "offline/dump.h"
#include "offline/verify.h"
#include "support/compacting.h"
#include "support/dice.h"
#include "support/engine.h"
#include "support/entries.h"
#include "support/redirect.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where things stand in the file, as snapshot.h draws it. */
enum {
    FIELD = 8,
    LOG_ID_AT = 1 * FIELD,
    GENERATION_AT = 2 * FIELD,
    COVERED_AT = 3 * FIELD,
    CHAIN_AT = 4 * FIELD,
    PARTS_AT = 7 * FIELD,
    TRAILER = 2 * FIELD,
    ENTRY = 20
};

enum { ROWS_FEW = 60 };

/* ---- A table whose index is saved ---- */

/* A test on few rows; *state is its struct table. */
#define ON_TABLE(test) cmocka_unit_test_setup_teardown(test, table_setup, table_teardown)

static int table_setup(void **state)
{
    assert_int_equal(engine_setup(state), 0);
    *state = table_make(*state, ROWS_FEW);
    return 0;
}

static uint64_t recovered_bytes(const struct table *table)
{
    return store_stats(table->engine->store).recovered_bytes;
}

/* A store with rows, closed, and its saved index beside it. */
static void save_store(struct table *table)
{
    engine_open(table->engine);
    table_fill(table);
    engine_close(table->engine);
    assert_true(engine_has_file(table->engine, FILES_INDEX));
}

/* Change some rows in one batch, and end. */
static void save_more(struct table *table)
{
    engine_open(table->engine);
    table_stage(table, 0);
    table_stage(table, table->row_count - 1);
    table_stage_delete(table, table->row_count / 2);
    table_commit(table);
    engine_close(table->engine);
}

/* A start reads the whole log, says why in one line, and finds everything. */
static void expect_disbelieved(const struct table *table, const char *reason)
{
    struct engine *engine = table->engine;
    engine_forget_messages(engine);
    engine_open(engine);
    assert_int_equal(engine_told(engine, reason), 1);
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(recovered_bytes(table), engine_log_length(engine));
    assert_true(table_holds(table));
    engine_kill(table->engine);
}

/* A start believes the saved index and reads so much of the log behind it. */
static void expect_believed(const struct table *table, uint64_t replayed_bytes)
{
    struct engine *engine = table->engine;
    engine_forget_messages(engine);
    engine_open(engine);
    assert_int_equal(engine_told(engine, ""), 0);
    assert_int_equal(recovered_bytes(table), replayed_bytes);
    assert_true(table_holds(table));
    engine_kill(table->engine);
}

/* A start is refused, and leaves everything alone. */
static void expect_refused(const struct table *table, const char *reason)
{
    struct engine *engine = table->engine;
    bool has_log = engine_has_file(engine, "");
    struct script log = {0};
    if (has_log) {
        log = engine_read(engine, "");
    }
    struct script index = engine_read(engine, FILES_INDEX);
    engine_forget_messages(engine);
    assert_int_equal(engine_try_open(engine), KV_CORRUPT);
    assert_int_equal(engine_told(engine, reason), 1);
    assert_int_equal(engine_has_file(engine, ""), has_log);
    if (has_log) {
        engine_expect_file(engine, "", script_slice(&log));
    }
    engine_expect_file(engine, FILES_INDEX, script_slice(&index));
    script_free(&log);
    script_free(&index);
}

/* ---- Forging an image whose own CRC is right ---- */

static void seal_image(struct script *image)
{
    struct slice covered = slice_first(script_slice(image), image->length - FIELD);
    bytes_put_u64(image->bytes + covered.length, crc32c(0, covered));
}

static void write_image(const struct table *table, const struct script *image)
{
    engine_write(table->engine, FILES_INDEX, script_slice(image));
}

/* Write a copy of an image in which one field has another value, with a right CRC. */
static void write_forged(const struct table *table, const struct script *image, size_t at,
                         uint64_t number)
{
    struct script forged = {0};
    script_add(&forged, script_slice(image));
    bytes_put_u64(forged.bytes + at, number);
    seal_image(&forged);
    write_image(table, &forged);
    script_free(&forged);
}

/* Where the first part with at least so many entries begins. */
static size_t find_part(const struct script *image, uint64_t entries_min)
{
    size_t at = PARTS_AT;
    while (at < image->length - TRAILER) {
        uint64_t count = bytes_get_u64(image->bytes + at);
        if (count >= entries_min) {
            return at;
        }
        at += FIELD + (size_t)count * ENTRY;
    }
    fail_msg("no part has %llu entries", (unsigned long long)entries_min);
    return 0;
}

/* ---- Never believed when wrong ---- */

static void saved_index_makes_a_start_read_nothing(void **state)
{
    struct table *table = *state;
    save_store(table);
    expect_believed(table, 0);
    engine_drop_index(table->engine);
    expect_believed(table, engine_log_length(table->engine)); /* without a warning */
}

static void image_with_any_byte_flipped_is_not_believed(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script image = engine_read(table->engine, FILES_INDEX);
    for (size_t at = 0; at < image.length; at += watchdog_scaled(1, 67)) {
        uint8_t mask = (uint8_t)(1u << (at * 5 % 8));
        image.bytes[at] ^= mask;
        write_image(table, &image);
        expect_disbelieved(table, at < 8 ? "is no image of an index" : "is damaged");
        image.bytes[at] ^= mask;
    }
    write_image(table, &image);
    expect_believed(table, 0);
    script_free(&image);
}

static void image_of_any_other_length_is_not_believed(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script image = engine_read(table->engine, FILES_INDEX);
    for (size_t length = 0; length < image.length; length += watchdog_scaled(1, 71)) {
        engine_write(table->engine, FILES_INDEX,
                     slice_first(script_slice(&image), length));
        expect_disbelieved(table, "is damaged");
    }
    for (size_t more = 0; more < 24; more += watchdog_scaled(1, 5)) {
        script_add_fill(&image, (char)(more % 3 == 0 ? 0 : 'x'), 1);
        write_image(table, &image);
        expect_disbelieved(table, "is damaged");
    }
    script_free(&image);
}

static void image_of_another_log_or_generation_is_not_believed(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    save_store(table);
    struct script image = engine_read(engine, FILES_INDEX);
    write_forged(table, &image, LOG_ID_AT, bytes_get_u64(image.bytes + LOG_ID_AT) ^ 1);
    expect_disbelieved(table, "is of another log");
    write_forged(table, &image, GENERATION_AT,
                 bytes_get_u64(image.bytes + GENERATION_AT) + 1);
    expect_disbelieved(table, "is of another log");
    assert_int_equal(unlink(engine->log.path), 0);
    engine_drop_index(engine);
    save_store(table); /* another log with the same data */
    write_image(table, &image);
    expect_disbelieved(table, "is of another log");
    script_free(&image);
}

static void image_that_does_not_match_the_log_is_not_believed(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script image = engine_read(table->engine, FILES_INDEX);
    uint64_t covered = bytes_get_u64(image.bytes + COVERED_AT);
    const uint64_t offsets[] = {0,
                                1,
                                OPENING_BYTES,
                                OPENING_BYTES + 1,
                                SEAL_BYTES,
                                covered - 1,
                                covered + 1,
                                covered * 2,
                                UINT64_MAX,
                                UINT64_MAX - SEAL_BYTES,
                                covered - SEAL_BYTES};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        /* The empty seal at the end has a seal before it, but with another chain. */
        write_forged(table, &image, COVERED_AT, offsets[i]);
        expect_disbelieved(table, "does not match the log");
    }
    for (size_t bit = 0; bit < 64; bit += watchdog_scaled(1, 9)) {
        uint64_t chain = bytes_get_u64(image.bytes + CHAIN_AT);
        write_forged(table, &image, CHAIN_AT, chain ^ UINT64_C(1) << bit);
        expect_disbelieved(table, "does not match the log");
    }
    script_free(&image);
}

/* With a right CRC nothing but the shape is left to judge by. */
static void image_of_a_wrong_shape_is_not_believed(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script image = engine_read(table->engine, FILES_INDEX);
    size_t pair = find_part(&image, 2);
    uint8_t *first = image.bytes + pair + FIELD;
    uint64_t hashes = bytes_get_u64(first);
    uint64_t place = bytes_get_u64(first + FIELD);
    uint64_t needed = bytes_get_u64(image.bytes + image.length - TRAILER);
    const struct {
        size_t at; /* from the first entry on */
        uint64_t number;
    } wrong[] = {
        {0, bytes_get_u64(first + ENTRY) + (UINT64_C(1) << 32)}, /* out of order */
        {0, hashes | UINT64_C(1) << 62},                         /* flags in the hash */
        {0, hashes | UINT64_C(1) << 63},
        {FIELD, place & (LOG_BYTES_MAX - 1)},                    /* no key */
        {FIELD, (place & ~(LOG_BYTES_MAX - 1)) | (needed - 20)}, /* ends behind */
        {FIELD, (place & ~(LOG_BYTES_MAX - 1)) | (needed + 1)},
        {FIELD, place | (LOG_BYTES_MAX - 1)},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_forged(table, &image, pair + FIELD + wrong[i].at, wrong[i].number);
        expect_disbelieved(table, "is damaged");
    }
    const uint64_t counts[] = {0, 1, 3, 1000000, UINT64_MAX, UINT64_MAX / ENTRY + 1};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        write_forged(table, &image, pair, counts[i]);
        expect_disbelieved(table, "is damaged");
    }
    /* Bytes between the last part and the trailer. */
    for (size_t more = 1; more < 20; more += watchdog_scaled(1, 6)) {
        struct script longer = {0};
        struct slice all = script_slice(&image);
        script_add(&longer, slice_first(all, all.length - TRAILER));
        script_add_fill(&longer, 0, more);
        script_add(&longer, slice_after(all, all.length - TRAILER));
        seal_image(&longer);
        write_image(table, &longer);
        expect_disbelieved(table, "is damaged");
        script_free(&longer);
    }
    script_free(&image);
}

static void image_of_an_older_state_is_brought_up_to_date(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script image = engine_read(table->engine, FILES_INDEX);
    uint64_t length = engine_log_length(table->engine);
    save_more(table);
    write_image(table, &image);
    expect_believed(table, engine_log_length(table->engine) - length);
    script_free(&image);
}

/* With a right CRC around wrong places: replaying meets them, and the log is read. */
static void image_that_leads_to_no_records_is_not_believed(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script image = engine_read(table->engine, FILES_INDEX);
    size_t at = PARTS_AT;
    while (at < image.length - TRAILER) {
        size_t count = (size_t)bytes_get_u64(image.bytes + at);
        for (size_t i = 0; i < count; i++) {
            uint8_t *place = image.bytes + at + FIELD + i * ENTRY + FIELD;
            bytes_put_u64(place, bytes_get_u64(place) - 1); /* the offset */
        }
        at += FIELD + count * ENTRY;
    }
    seal_image(&image);
    save_more(table);
    write_image(table, &image);
    engine_forget_messages(table->engine);
    engine_open(table->engine); /* which also tells what was met */
    engine_expect_line(table->engine,
                       "PATH.index: does not lead to the records of the log; reading all "
                       "of it",
                       0, 0);
    assert_int_equal(recovered_bytes(table), engine_log_length(table->engine));
    assert_true(table_holds(table));
    engine_kill(table->engine);
    engine_forget_messages(table->engine);
    shim_fail_once(SHIM_BIT(SHIM_FOPEN), SHIM_ANY, 2, EMFILE);
    assert_int_equal(engine_try_open(table->engine), KV_IO); /* no seed to begin anew */
    shim_clear_faults();
    assert_int_equal(engine_told(table->engine, "/dev/urandom"), 1);
    engine_open(table->engine);
    assert_true(table_holds(table));
    engine_kill(table->engine);
    script_free(&image);
}

/* Reading anew needs a new seed for the hash. */
static void image_disbelieved_without_random_bytes_ends_the_start(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script log = engine_read(table->engine, "");
    struct script image = engine_read(table->engine, FILES_INDEX);
    size_t pair = find_part(&image, 2);
    uint64_t entry = bytes_get_u64(image.bytes + pair + FIELD);
    write_forged(table, &image, pair + FIELD, entry | UINT64_C(1) << 63);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        engine_forget_messages(table->engine);
        shim_fail_once(SHIM_BIT(SHIM_FOPEN), SHIM_ANY, nth, EMFILE);
        assert_int_equal(engine_try_open(table->engine), KV_IO);
        shim_clear_faults();
        assert_int_equal(engine_told(table->engine, "/dev/urandom"), 1);
        engine_expect_file(table->engine, "", script_slice(&log));
    }
    expect_disbelieved(table, "is damaged");
    script_free(&image);
    script_free(&log);
}

/* A whole seal where the image begins, but of another log: no place to go on from. */
static void image_that_begins_behind_the_seal_of_another_log_is_not_believed(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script image = engine_read(table->engine, FILES_INDEX);
    struct script log = engine_read(table->engine, "");
    uint64_t at = bytes_get_u64(image.bytes + COVERED_AT) - SEAL_BYTES;
    struct seal seal;
    assert_true(
        record_decode_seal(slice_after(script_slice(&log), (size_t)at), at, &seal));
    seal.log_id ^= 1;
    record_encode_seal(log.bytes + at, &seal, at);
    /* Even the chain is made to fit. */
    struct slice mark = {log.bytes + at, SEAL_BYTES};
    write_forged(table, &image, CHAIN_AT, crc32c(seal.chain, mark));
    engine_write(table->engine, "", script_slice(&log));
    engine_forget_messages(table->engine);
    assert_int_equal(engine_try_open(table->engine), KV_CORRUPT); /* that is damage */
    assert_int_equal(engine_told(table->engine, "does not match the log"), 1);
    assert_int_equal(engine_told(table->engine, "the log is damaged at offset"), 1);
    engine_expect_file(table->engine, "", script_slice(&log));
    script_free(&image);
    script_free(&log);
}

/* F87, F54: a log cut at a seal, a backup from before, looks whole but for the image. */
static void f87_log_shorter_than_its_image_is_refused(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    save_store(table);
    struct script older = engine_read(engine, "");
    save_more(table);
    struct script newer = engine_read(engine, "");
    engine_write(engine, "", script_slice(&older));
    expect_refused(table, "the log is");
    engine_write(engine, "", slice_first(script_slice(&newer), newer.length - 1));
    expect_refused(table, "the log is");
    engine_write(engine, "", script_slice(&newer));
    expect_believed(table, 0);
    script_free(&older);
    script_free(&newer);
}

static void f61_log_missing_or_empty_beside_its_image_is_refused(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    save_store(table);
    struct script log = engine_read(engine, "");
    engine_write(engine, "", (struct slice){NULL, 0});
    expect_refused(table, "missing or empty");
    assert_int_equal(unlink(engine->log.path), 0);
    expect_refused(table, "missing or empty");
    engine_write(engine, "", script_slice(&log));
    expect_believed(table, 0);
    script_free(&log);
}

/* What the image says was durable cannot be a torn tail: it is rot, and refused. */
static void f51_damage_that_the_image_proves_was_durable_is_refused(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    save_store(table);
    uint64_t length = engine_log_length(engine);
    for (uint64_t at = length - SEAL_BYTES; at < length; at += watchdog_scaled(1, 13)) {
        engine_flip(engine, at, 0x10);
        expect_refused(table, "is damaged at offset");
        engine_flip(engine, at, 0x10);
    }
    expect_believed(table, 0);
}

/* An image that covers less than it needs: taken in steps, while a batch came in. */
static void f51_damage_between_covered_and_needed_is_refused(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    engine_open(engine);
    table_fill(table);
    assert_int_equal(store_compact(engine->store), KV_OK);
    while (!engine_has_file(engine, FILES_INDEX)) {
        assert_in_range(table->last_version, 0, 1000);
        table_stage(table, table->last_version % table->row_count);
        table_commit(table);
        assert_int_equal(compacting_step(engine), KV_OK);
    }
    engine_kill(table->engine);
    struct script image = engine_read(engine, FILES_INDEX);
    uint64_t covered = bytes_get_u64(image.bytes + COVERED_AT);
    uint64_t needed = bytes_get_u64(image.bytes + image.length - TRAILER);
    assert_true(covered < needed);
    expect_believed(table, engine_log_length(engine) - covered);
    for (uint64_t at = covered; at < needed; at += watchdog_scaled(3, 31)) {
        engine_flip(engine, at, 0x04);
        expect_refused(table, "is damaged at offset");
        engine_flip(engine, at, 0x04);
    }
    script_free(&image);
}

/* ---- Failures while it is saved or read ---- */

static const enum shim_call allocations[] = {SHIM_MALLOC, SHIM_CALLOC, SHIM_REALLOC,
                                             SHIM_STRDUP};
enum { ALLOCATION_COUNT = sizeof allocations / sizeof allocations[0] };

/* Returns whether the fault was met. */
static bool start_without_memory(const struct table *table, enum shim_call call,
                                 uint64_t nth, bool is_sticky)
{
    struct engine *engine = table->engine;
    uint64_t fired_before = shim_fired_count();
    shim_inject(&(struct shim_fault){
        .calls = SHIM_BIT(call), .nth = nth, .error = ENOMEM, .is_sticky = is_sticky});
    enum status status = engine_try_open(engine);
    shim_clear_faults();
    assert_true(status == KV_OK || status == KV_NO_MEMORY || status == KV_IO);
    if (status == KV_OK) {
        assert_true(table_holds(table));
        engine_kill(table->engine);
    }
    return shim_fired_count() > fired_before;
}

static void f71_a_start_from_an_image_without_memory_is_refused_or_whole(void **state)
{
    struct table *table = *state;
    save_store(table);
    for (size_t i = 0; i < ALLOCATION_COUNT; i++) {
        for (int is_sticky = 0; is_sticky < 2; is_sticky++) {
            uint64_t nth = 1;
            while (start_without_memory(table, allocations[i], nth, is_sticky != 0)) {
                nth += watchdog_scaled(1, 9);
            }
        }
    }
    expect_believed(table, 0);
}

/* Returns whether the fault was met. */
static bool stop_with_a_fault(struct table *table, struct shim_fault fault)
{
    struct engine *engine = table->engine;
    engine_open(engine);
    table_stage(table, table->last_version % table->row_count);
    table_commit(table);
    shim_advance_clock(SECOND_SEAL_MS);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    uint64_t fired_before = shim_fired_count();
    shim_inject(&fault);
    engine_close(engine); /* a stop is clean without it */
    shim_clear_faults();
    bool has_fired = shim_fired_count() > fired_before;
    engine_open(engine);
    assert_true(table_holds(table));
    engine_close(engine);
    return has_fired;
}

static void f71_stop_without_memory_is_clean(void **state)
{
    struct table *table = *state;
    save_store(table);
    for (size_t i = 0; i < ALLOCATION_COUNT; i++) {
        struct shim_fault fault = {
            .calls = SHIM_BIT(allocations[i]), .nth = 1, .error = ENOMEM};
        while (stop_with_a_fault(table, fault)) {
            fault.nth++;
        }
    }
}

/* Each call for the new file fails; the stop is clean, and the next start is right. */
static void stop_is_clean_when_the_image_cannot_be_saved(void **state)
{
    static const struct shim_fault faults[] = {
        {.calls = SHIM_BIT(SHIM_OPENAT), .role = SHIM_NEW, .error = EMFILE},
        {.calls = SHIM_BIT(SHIM_PWRITE), .role = SHIM_NEW, .error = EIO},
        {.calls = SHIM_BIT(SHIM_FDATASYNC), .role = SHIM_NEW, .error = EIO},
        {.calls = SHIM_BIT(SHIM_RENAMEAT), .role = SHIM_INDEX, .error = EIO},
        {.calls = SHIM_BIT(SHIM_FSYNC), .role = SHIM_DIRECTORY, .error = EIO},
        {.calls = SHIM_BIT(SHIM_CLOSE), .role = SHIM_INDEX, .error = EIO},
    };
    struct table *table = *state;
    save_store(table);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct shim_fault fault = faults[i];
        fault.nth = 1;
        while (stop_with_a_fault(table, fault)) {
            fault.nth++;
            assert_false(engine_has_file(table->engine, FILES_NEW));
        }
        assert_in_range(fault.nth, 2, 20);
    }
}

static void f84_full_disk_while_saving_is_told_and_costs_only_time(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    engine_open(engine);
    table_fill(table);
    for (uint64_t room = 0; room < 5000; room += watchdog_scaled(150, 1500)) {
        engine_forget_messages(engine);
        shim_set_space(SHIM_NEW, room, ENOSPC);
        engine_close(engine);
        shim_give_space();
        assert_int_equal(engine_told(engine, "cannot write the index"), 1);
        assert_false(engine_has_file(engine, FILES_NEW));
        assert_false(engine_has_file(engine, FILES_INDEX));
        engine_forget_messages(engine);
        engine_open(engine);
        assert_int_equal(engine_told(engine, ""), 0);
        assert_int_equal(recovered_bytes(table), engine_log_length(engine));
        assert_true(table_holds(table));
    }
    engine_close(engine);
    expect_believed(table, 0);
}

/* Nor is one whose sync fails put in place, at its begin or at its end. */
static void image_that_cannot_be_synced_is_not_put_in_place(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        engine_open(engine);
        table_fill(table);
        shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_NEW, nth, EIO);
        uint64_t fired_before = shim_fired_count();
        engine_close(engine);
        assert_int_equal(shim_fired_count(), fired_before + 1);
        assert_false(engine_has_file(engine, FILES_INDEX));
        assert_false(engine_has_file(engine, FILES_NEW));
    }
}

/* The image of before stays, and what came later is read behind it. */
static void image_of_before_is_kept_when_a_new_one_cannot_be_saved(void **state)
{
    struct table *table = *state;
    save_store(table);
    struct script image = engine_read(table->engine, FILES_INDEX);
    uint64_t length = engine_log_length(table->engine);
    shim_set_space(SHIM_NEW, 100, ENOSPC);
    save_more(table);
    shim_give_space();
    engine_expect_file(table->engine, FILES_INDEX, script_slice(&image));
    expect_believed(table, engine_log_length(table->engine) - length);
    script_free(&image);
}

/* ---- When it is written ---- */

static void unchanged_store_keeps_its_image(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    save_store(table);
    shim_forget_trace();
    for (int i = 0; i < 3; i++) {
        engine_open(engine);
        assert_int_equal(recovered_bytes(table), 0);
        assert_true(table_holds(table));
        engine_close(engine);
    }
    assert_string_equal(shim_trace_text(SHIM_BIT(SHIM_PWRITE) | SHIM_BIT(SHIM_RENAMEAT)),
                        "");
}

static void store_without_keys_keeps_its_image(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    engine_open(engine);
    engine_close(engine);
    assert_true(engine_has_file(engine, FILES_INDEX));
    shim_forget_trace();
    engine_open(engine);
    assert_int_equal(recovered_bytes(table), 0);
    engine_close(engine);
    assert_string_equal(shim_trace_text(SHIM_BIT(SHIM_RENAMEAT)), "");
}

static void image_is_private_whatever_the_umask(void **state)
{
    struct table *table = *state;
    struct stat info;
    mode_t kept = umask(0);
    save_store(table);
    (void)umask(kept);
    assert_int_equal(stat(engine_file(table->engine, FILES_INDEX).path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

/* Another file there is nobody's business: neither a stop nor a compaction takes it. */
static void f100_a_file_that_is_no_image_is_never_replaced(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    const struct slice text = SLICE_LITERAL("an index of somebody's books\n");
    save_store(table);
    engine_drop_index(engine);
    engine_write(engine, FILES_INDEX, text);
    expect_disbelieved(table, "is no image of an index; reading the whole log");
    engine_open(engine);
    engine_close(engine);
    engine_expect_file(engine, FILES_INDEX, text);
    engine_open(engine);
    assert_int_equal(store_compact(engine->store), KV_OK);
    while (store_stats(engine->store).compactions == 0) {
        assert_int_equal(compacting_step(engine), KV_OK);
    }
    engine_close(engine);
    engine_expect_file(engine, FILES_INDEX, text);
    assert_false(engine_has_file(engine, FILES_NEW));
    engine_open(engine);
    assert_true(table_holds(table));
}

/* F83: a planted link is neither read nor written through. */
static void f83_symbolic_link_in_its_place_does_no_harm(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    struct stat info;
    save_store(table);
    struct script image = engine_read(engine, FILES_INDEX);
    struct tempdir_file link = engine_file(engine, FILES_INDEX);
    struct tempdir_file victim = tempdir_file(&engine->tempdir, "victim");
    script_write_file(&image, victim.path);
    engine_drop_index(engine);
    assert_int_equal(symlink("victim", link.path), 0);
    expect_disbelieved(table, "is a symbolic link");
    engine_open(engine);
    engine_close(engine);
    assert_int_equal(lstat(link.path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(unlink(link.path), 0);
    struct script kept = {0};
    script_add_file(&kept, victim.path);
    assert_true(slice_equal(script_slice(&kept), script_slice(&image)));
    script_free(&kept);
    script_free(&image);
}

/* What these print on stdout is not for this test. */
static enum status run_quietly(const struct engine *engine, bool is_dump)
{
    int kept_fd = redirect_begin(stdout, "/dev/null");
    enum status status =
        is_dump ? dump_log(engine->log.path, LINES_SET) : verify_log(engine->log.path);
    redirect_end(stdout, kept_fd);
    return status;
}

/* A dump takes from the image what is live, and verifies all of the log. */
static void verify_and_dump_read_all_of_the_log(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    save_store(table);
    struct script image = engine_read(engine, FILES_INDEX);
    for (int is_dump = 0; is_dump < 2; is_dump++) {
        image.bytes[PARTS_AT] ^= 1;
        write_image(table, &image);
        engine_forget_messages(engine);
        assert_int_equal(run_quietly(engine, is_dump != 0), KV_OK);
        assert_int_equal(engine_told(engine, FILES_INDEX), is_dump);
        engine_expect_file(engine, FILES_INDEX, script_slice(&image));
        image.bytes[PARTS_AT] ^= 1;
        write_image(table, &image);
        /* A right image hides no damage from them. */
        engine_flip(engine, OPENING_BYTES + 30, 1);
        assert_int_equal(run_quietly(engine, is_dump != 0), KV_CORRUPT);
        engine_expect_file(engine, FILES_INDEX, script_slice(&image));
        engine_flip(engine, OPENING_BYTES + 30, 1);
    }
    script_free(&image);
}

/* ---- Compactions ---- */

/* Steps until nothing is due but the clock. */
static void maintain_fully(const struct table *table)
{
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(compacting_step(table->engine), KV_OK);
    }
}

static void compaction_is_followed_by_an_image(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    save_store(table);
    engine_open(engine);
    assert_int_equal(store_compact(engine->store), KV_OK);
    assert_false(engine_has_file(engine, FILES_INDEX)); /* it was of the log before */
    maintain_fully(table);
    assert_true(engine_has_file(engine, FILES_INDEX));
    assert_false(engine_has_file(engine, FILES_NEW));
    engine_kill(table->engine);
    expect_believed(table, 0);
}

/* A store that was compacted, up to where its image is due. */
static void compact_new_store(struct table *table)
{
    struct engine *engine = table->engine;
    engine_open(engine);
    table_fill(table);
    assert_int_equal(store_compact(engine->store), KV_OK);
    while (engine_has_file(engine, FILES_OLD)) {
        assert_int_equal(compacting_step(engine), KV_OK);
    }
}

/* A sync that fails on the way is told, and the store goes on. */
static void image_that_cannot_be_synced_in_steps_is_told(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    compact_new_store(table);
    shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_NEW, 1, EIO);
    maintain_fully(table);
    shim_clear_faults();
    assert_int_equal(engine_told(engine, FILES_NEW), 1);
    assert_false(engine_has_file(engine, FILES_INDEX));
    assert_false(engine_has_file(engine, FILES_NEW));
    assert_true(table_holds(table));
    engine_close(engine);
    expect_believed(table, 0);
}

/* Offsets in an image mean one log: none is taken while there are two of them. */
static void no_image_is_taken_beside_an_older_log(void **state)
{
    struct table *table = *state;
    struct engine *engine = table->engine;
    compact_new_store(table);
    /* The image of this compaction is still wanted when the next one meets rot. */
    engine_flip(engine, OPENING_BYTES + RECORD_HEADER_BYTES, 1);
    assert_int_equal(store_compact(engine->store), KV_OK);
    maintain_fully(table);
    assert_true(engine_has_file(engine, FILES_OLD));
    assert_false(engine_has_file(engine, FILES_INDEX));
    engine_close(engine);
    assert_false(engine_has_file(engine, FILES_INDEX));
}

/* ---- Taken in steps while commands go on ---- */

static void make_random_batch(struct table *table, struct dice *dice)
{
    size_t count = 1 + (size_t)dice_below(dice, 4);
    for (size_t i = 0; i < count; i++) {
        size_t row = (size_t)dice_below(dice, table->row_count);
        if (dice_below(dice, 3) == 0) {
            table_stage_delete(table, row);
        } else {
            table_stage(table, row);
        }
    }
    if (dice_below(dice, 8) > 0) {
        table_commit(table);
    }
}

/* The same with the image, with what a second start makes of it, and without it. */
static uint64_t expect_same_both_ways(const struct table *table)
{
    struct engine *engine = table->engine;
    uint64_t replayed = 0;
    for (int way = 0; way < 2; way++) {
        if (way == 1) {
            engine_drop_index(engine);
        }
        engine_forget_messages(engine);
        engine_open(engine);
        replayed = way == 0 ? recovered_bytes(table) : replayed;
        if (!table_holds(table)) {
            fail_msg("the store does not hold what it must %s an image",
                     way == 0 ? "with" : "without");
        }
        engine_kill(table->engine);
    }
    return replayed;
}

/* Returns whether the last start replayed a part of the log behind an image. */
static bool run_random_life(struct table *table, struct dice *dice, size_t step_count)
{
    struct engine *engine = table->engine;
    bool has_begun = false;
    engine->sync = dice_below(dice, 2) == 0 ? SYNC_ALWAYS : SYNC_EVERYSEC;
    engine_open(engine);
    table_fill(table);
    for (size_t step = 0; step < step_count; step++) {
        make_random_batch(table, dice);
        table_commit(table);
        if (!has_begun && dice_below(dice, 6) == 0) {
            assert_int_equal(store_compact(engine->store), KV_OK);
            has_begun = true;
        }
        if (dice_below(dice, 2) == 0) {
            assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        }
        shim_advance_clock(dice_below(dice, 400));
    }
    if (dice_below(dice, 4) == 0) {
        engine_close(engine);
    } else {
        engine_kill(table->engine);
    }
    bool has_image = engine_has_file(engine, FILES_INDEX);
    uint64_t length = engine_log_length(engine);
    uint64_t replayed = expect_same_both_ways(table);
    return has_image && replayed > 0 && replayed < length;
}

static void run_random_lives(struct engine *engine, size_t row_count, size_t life_count,
                             size_t step_count)
{
    struct dice dice;
    size_t replayed_count = 0;
    dice_begin(&dice);
    for (size_t life = 0; life < life_count; life++) {
        struct table *table = table_make(engine, row_count);
        (void)unlink(engine->log.path); /* there may be none */
        engine_clean(engine);
        shim_set_random(dice_next(&dice));
        replayed_count += run_random_life(table, &dice, step_count);
        free(table);
    }
    printf("%zu of %zu lives ended with a part of the log behind the image\n",
           replayed_count, life_count);
    assert_in_range(replayed_count, life_count > 20 ? life_count / 10 : 0, life_count);
}

static void image_taken_in_steps_of_a_small_store_is_right(void **state)
{
    run_random_lives(*state, ROWS_FEW / 3, watchdog_scaled(400, 8), 40);
}

/* So many entries make three pieces. */
static void image_taken_in_steps_of_a_larger_store_is_right(void **state)
{
    run_random_lives(*state, TABLE_ROWS_MAX, watchdog_scaled(12, 1), 60);
}

/* ---- The index as bytes ---- */

enum { ENTRIES_MAX = 20000 };

struct entries {
    uint64_t hashes[ENTRIES_MAX];
    struct location locations[ENTRIES_MAX];
    size_t count;
};

static void add_entry(struct index *index, struct entries *entries, uint64_t hash,
                      struct location location)
{
    assert_in_range(entries->count, 0, ENTRIES_MAX - 1);
    entries_insert(index, hash, location);
    entries->hashes[entries->count] = hash;
    entries->locations[entries->count++] = location;
}

static struct location make_location(struct dice *dice, uint64_t offset)
{
    return (struct location){
        .offset = offset,
        .key_length = 1 + (uint32_t)dice_below(dice, KEY_BYTES_MAX),
        .value_length = (uint32_t)dice_next(dice),
        .crc = (uint32_t)dice_next(dice),
    };
}

static void expect_round_trip(struct index *index, const struct entries *entries)
{
    struct index *copy = entries_create();
    assert_int_equal(entries_copy(copy, index), KV_OK);
    for (size_t i = 0; i < entries->count; i++) {
        const struct location *wanted = &entries->locations[i];
        struct location found = {.side = wanted->side, .offset = wanted->offset};
        assert_true(index_get(copy, entries->hashes[i], &found));
        assert_int_equal(found.key_length, wanted->key_length);
        assert_int_equal(found.value_length, wanted->value_length);
        assert_int_equal(found.crc, wanted->crc);
        assert_false(found.is_tombstone);
        found.side = 1 - found.side;
        assert_false(index_get(copy, entries->hashes[i], &found));
    }
    assert_int_equal(entries_count(copy), entries->count);
    index_destroy(copy);
}

static void index_parts_come_back_whole_at_any_size(void **state)
{
    const size_t counts[] = {
        0, 1, 2, 33, 511, 3000, watchdog_scaled(ENTRIES_MAX - 1, 600)};
    struct entries *entries = calloc(1, sizeof *entries);
    struct dice dice;
    (void)state;
    assert_non_null(entries);
    dice_begin(&dice);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct index *index = entries_create();
        entries->count = 0;
        while (entries->count < counts[i]) {
            uint64_t offset = dice_below(&dice, LOG_BYTES_MAX);
            offset = entries->count % 50 == 7 ? LOG_BYTES_MAX - 1 : offset;
            add_entry(index, entries, dice_next(&dice), make_location(&dice, offset));
        }
        expect_round_trip(index, entries);
        index_destroy(index);
    }
    free(entries);
}

/* Equal hashes, all ones, and other entries around them. */
static void index_parts_with_equal_hashes_come_back_whole(void **state)
{
    struct entries *entries = calloc(1, sizeof *entries);
    struct index *index = entries_create();
    struct dice dice;
    (void)state;
    assert_non_null(entries);
    dice_begin(&dice);
    const uint64_t hashes[] = {0, UINT64_MAX, UINT64_C(0x123456789abcdef0)};
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        /* Behind the last home there is room for no more than 32. */
        uint64_t count = hashes[i] == UINT64_MAX ? 31 : 33;
        for (uint64_t j = 0; j < count; j++) {
            add_entry(index, entries, hashes[i], make_location(&dice, i * 100 + j));
        }
        add_entry(index, entries, hashes[i] ^ 1, make_location(&dice, LOG_BYTES_MAX - 1));
        expect_round_trip(index, entries);
    }
    index_destroy(index);
    free(entries);
}

static void index_parts_keep_which_log_an_offset_is_in(void **state)
{
    struct entries *entries = calloc(1, sizeof *entries);
    struct index *index = entries_create();
    struct dice dice = {1};
    (void)state;
    assert_non_null(entries);
    for (int i = 0; i < 4; i++) {
        struct location location = make_location(&dice, i < 2 ? 0 : LOG_BYTES_MAX - 1);
        location.side = (uint8_t)(i % 2);
        add_entry(index, entries, 5 + (uint64_t)i, location);
    }
    expect_round_trip(index, entries);
    index_destroy(index);
    free(entries);
}

static void index_parts_without_memory_are_refused(void **state)
{
    struct entries *entries = calloc(1, sizeof *entries);
    struct index *index = entries_create();
    struct dice dice = {2};
    (void)state;
    assert_non_null(entries);
    for (uint64_t i = 0; i < 200; i++) {
        add_entry(index, entries, dice_next(&dice), make_location(&dice, i));
    }
    for (uint64_t nth = 1; nth < 100; nth += watchdog_scaled(1, 20)) {
        struct index *copy = entries_create();
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        assert_int_equal(entries_copy(copy, index), KV_NO_MEMORY);
        shim_clear_faults();
        index_destroy(copy);
    }
    index_destroy(index);
    free(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_TABLE(saved_index_makes_a_start_read_nothing),
        ON_TABLE(image_with_any_byte_flipped_is_not_believed),
        ON_TABLE(image_of_any_other_length_is_not_believed),
        ON_TABLE(image_of_another_log_or_generation_is_not_believed),
        ON_TABLE(image_that_does_not_match_the_log_is_not_believed),
        ON_TABLE(image_of_a_wrong_shape_is_not_believed),
        ON_TABLE(image_of_an_older_state_is_brought_up_to_date),
        ON_TABLE(image_that_leads_to_no_records_is_not_believed),
        ON_TABLE(image_disbelieved_without_random_bytes_ends_the_start),
        ON_TABLE(image_that_begins_behind_the_seal_of_another_log_is_not_believed),
        ON_TABLE(f87_log_shorter_than_its_image_is_refused),
        ON_TABLE(f61_log_missing_or_empty_beside_its_image_is_refused),
        ON_TABLE(f51_damage_that_the_image_proves_was_durable_is_refused),
        ON_TABLE(f51_damage_between_covered_and_needed_is_refused),
        ON_TABLE(f71_a_start_from_an_image_without_memory_is_refused_or_whole),
        ON_TABLE(f71_stop_without_memory_is_clean),
        ON_TABLE(stop_is_clean_when_the_image_cannot_be_saved),
        ON_TABLE(f84_full_disk_while_saving_is_told_and_costs_only_time),
        ON_TABLE(image_of_before_is_kept_when_a_new_one_cannot_be_saved),
        ON_TABLE(unchanged_store_keeps_its_image),
        ON_TABLE(store_without_keys_keeps_its_image),
        ON_TABLE(image_is_private_whatever_the_umask),
        ON_TABLE(f100_a_file_that_is_no_image_is_never_replaced),
        ON_TABLE(f83_symbolic_link_in_its_place_does_no_harm),
        ON_TABLE(verify_and_dump_read_all_of_the_log),
        ON_TABLE(compaction_is_followed_by_an_image),
        ON_TABLE(image_that_cannot_be_synced_is_not_put_in_place),
        ON_TABLE(image_that_cannot_be_synced_in_steps_is_told),
        ON_TABLE(no_image_is_taken_beside_an_older_log),
        ON_ENGINE(image_taken_in_steps_of_a_small_store_is_right),
        ON_ENGINE(image_taken_in_steps_of_a_larger_store_is_right),
        cmocka_unit_test(index_parts_come_back_whole_at_any_size),
        cmocka_unit_test(index_parts_with_equal_hashes_come_back_whole),
        cmocka_unit_test(index_parts_keep_which_log_an_offset_is_in),
        cmocka_unit_test(index_parts_without_memory_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
