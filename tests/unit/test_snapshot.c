/*
 * The saved index: believed only when every check passes, and never needed.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen clock_gettime crc32c
 */
#include "engine/snapshot.h"

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "log/record.h"
#include "offline/dump.h"
#include "offline/verify.h"
#include "support/compacting.h"
#include "support/engine.h"
#include "support/redirect.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
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

enum { ROWS = 60 };

/* ---- A store that was closed, with its index saved beside it ---- */

struct saved {
    struct table *table;
    struct engine *engine;
    struct script image; /* what PATH.index is, and PATH */
    struct script log;
};

/* *state is such a store. */
#define ON_SAVED(test) cmocka_unit_test_setup_teardown(test, saved_setup, saved_teardown)

/* What the store holds, and what is beside it, from now on. */
static void save(struct saved *saved)
{
    engine_open(saved->engine);
    table_fill(saved->table);
    engine_close(saved->engine);
    script_free(&saved->image);
    script_free(&saved->log);
    saved->image = engine_read(saved->engine, FILES_INDEX);
    saved->log = engine_read(saved->engine, "");
}

static int saved_setup(void **state)
{
    struct saved *saved = calloc(1, sizeof *saved);
    assert_non_null(saved);
    assert_int_equal(engine_setup(state), 0);
    saved->engine = *state;
    saved->table = table_make(saved->engine, ROWS);
    save(saved);
    *state = saved;
    return 0;
}

static int saved_teardown(void **state)
{
    struct saved *saved = *state;
    *state = saved->table;
    script_free(&saved->image);
    script_free(&saved->log);
    free(saved);
    return table_teardown(state);
}

/* Change some rows in one batch, and end. */
static void save_more(const struct saved *saved)
{
    engine_open(saved->engine);
    table_stage(saved->table, 0);
    table_stage(saved->table, ROWS - 1);
    table_stage_delete(saved->table, ROWS / 2);
    table_commit(saved->table);
    engine_close(saved->engine);
}

/*
 * A start reads so much of the log, finds everything, and says a text in its only line.
 * NULL: says nothing.
 */
static void expect_start(const struct saved *saved, uint64_t bytes, const char *told)
{
    struct engine *engine = saved->engine;
    engine_forget_messages(engine);
    engine_open(engine);
    assert_int_equal(engine_told(engine, ""), told != NULL ? 1 : 0);
    assert_int_equal(engine_told(engine, told != NULL ? told : ""), told != NULL ? 1 : 0);
    assert_int_equal(store_stats(engine->store).recovered_bytes, bytes);
    assert_true(table_holds(saved->table));
    engine_kill(engine);
}

/* A start believes the saved index and reads so much of the log behind it. */
static void expect_believed(const struct saved *saved, uint64_t replayed_bytes)
{
    expect_start(saved, replayed_bytes, NULL);
}

/* A start reads the whole log, and says why. */
static void expect_disbelieved(const struct saved *saved, const char *reason)
{
    expect_start(saved, engine_log_length(saved->engine), reason);
}

/* The log is these bytes, or missing: a start is refused, and leaves everything alone. */
static void expect_refused(const struct saved *saved, struct slice log,
                           const char *reason)
{
    struct engine *engine = saved->engine;
    struct script image = engine_read(engine, FILES_INDEX);
    if (log.bytes == NULL) {
        assert_int_equal(unlink(engine->log.path), 0);
    } else {
        engine_write(engine, "", log);
    }
    engine_forget_messages(engine);
    assert_int_equal(engine_try_open(engine), KV_CORRUPT);
    assert_int_equal(engine_told(engine, reason), 1);
    assert_int_equal(engine_has_file(engine, ""), log.bytes != NULL);
    if (log.bytes != NULL) {
        engine_expect_file(engine, "", log);
    }
    engine_expect_file(engine, FILES_INDEX, script_slice(&image));
    script_free(&image);
}

/* ---- Other images than the saved one ---- */

static void write_image(const struct saved *saved, const struct script *image)
{
    engine_write(saved->engine, FILES_INDEX, script_slice(image));
}

/* Write what was changed, with a CRC that is right. */
static void write_sealed(const struct saved *saved, struct script *image)
{
    struct slice covered = slice_first(script_slice(image), image->length - FIELD);
    bytes_put_u64(image->bytes + covered.length, crc32c(0, covered));
    write_image(saved, image);
}

static uint64_t field(const struct saved *saved, size_t at)
{
    return bytes_get_u64(saved->image.bytes + at);
}

/* Write the image with another number in one field, and a right CRC. */
static void write_forged(const struct saved *saved, size_t at, uint64_t number)
{
    struct script forged = {0};
    script_add(&forged, script_slice(&saved->image));
    bytes_put_u64(forged.bytes + at, number);
    write_sealed(saved, &forged);
    script_free(&forged);
}

static void expect_forgery_disbelieved(const struct saved *saved, size_t at,
                                       uint64_t number, const char *reason)
{
    write_forged(saved, at, number);
    expect_disbelieved(saved, reason);
}

/* Where the first part with at least two entries begins. */
static size_t find_pair(const struct saved *saved)
{
    size_t at = PARTS_AT;
    while (at < saved->image.length - TRAILER && field(saved, at) < 2) {
        at += FIELD + (size_t)field(saved, at) * ENTRY;
    }
    assert_true(at < saved->image.length - TRAILER);
    return at;
}

/* ---- Never believed when wrong ---- */

static uint64_t index_bytes_of(const struct engine *engine)
{
    return store_stats(engine->store).index_bytes;
}

/* Nor does it take more memory: a part without entries has none. */
static void saved_index_makes_a_start_read_nothing(void **state)
{
    const struct saved *saved = *state;
    engine_open(saved->engine);
    uint64_t bytes = index_bytes_of(saved->engine);
    engine_kill(saved->engine);
    expect_believed(saved, 0);
    engine_drop_index(saved->engine);
    expect_believed(saved, saved->log.length); /* without a warning */
    engine_open(saved->engine);
    assert_true(bytes <= index_bytes_of(saved->engine));
}

static void f87_image_with_any_byte_flipped_is_not_believed(void **state)
{
    struct saved *saved = *state;
    struct script *image = &saved->image;
    for (size_t at = 0; at < image->length; at += watchdog_scaled(1, 67)) {
        uint8_t mask = (uint8_t)(1u << (at * 5 % 8));
        image->bytes[at] ^= mask;
        write_image(saved, image);
        expect_disbelieved(saved, at < 8
                                      ? "is no image of an index; reading the whole log"
                                      : "is damaged; reading the whole log");
        image->bytes[at] ^= mask;
    }
    write_image(saved, image);
    expect_believed(saved, 0);
}

static void image_of_any_other_length_is_not_believed(void **state)
{
    struct saved *saved = *state;
    struct script *image = &saved->image;
    for (size_t length = 0; length < image->length; length += watchdog_scaled(1, 71)) {
        engine_write(saved->engine, FILES_INDEX,
                     slice_first(script_slice(image), length));
        expect_disbelieved(saved, "is damaged");
    }
    for (size_t more = 0; more < 24; more += watchdog_scaled(1, 5)) {
        script_add_fill(image, (char)(more % 3 == 0 ? 0 : 'x'), 1);
        write_image(saved, image);
        expect_disbelieved(saved, "is damaged");
    }
}

static void image_of_another_log_or_generation_is_not_believed(void **state)
{
    struct saved *saved = *state;
    const char *reason = "is of another log";
    expect_forgery_disbelieved(saved, LOG_ID_AT, field(saved, LOG_ID_AT) ^ 1, reason);
    expect_forgery_disbelieved(saved, GENERATION_AT, field(saved, GENERATION_AT) + 1,
                               reason);
    struct script kept = {0};
    script_add(&kept, script_slice(&saved->image));
    assert_int_equal(unlink(saved->engine->log.path), 0);
    engine_drop_index(saved->engine);
    save(saved); /* another log with the same data */
    write_image(saved, &kept);
    expect_disbelieved(saved, reason);
    script_free(&kept);
}

static void image_that_does_not_match_the_log_is_not_believed(void **state)
{
    const struct saved *saved = *state;
    const char *reason = "does not match the log";
    uint64_t covered = field(saved, COVERED_AT);
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
        expect_forgery_disbelieved(saved, COVERED_AT, offsets[i], reason);
    }
    for (size_t bit = 0; bit < 64; bit += watchdog_scaled(1, 9)) {
        uint64_t chain = field(saved, CHAIN_AT) ^ UINT64_C(1) << bit;
        expect_forgery_disbelieved(saved, CHAIN_AT, chain, reason);
    }
}

/* With a right CRC nothing but the shape is left to judge by. */
static void image_of_a_wrong_shape_is_not_believed(void **state)
{
    const struct saved *saved = *state;
    size_t pair = find_pair(saved);
    size_t first = pair + FIELD;
    uint64_t hashes = field(saved, first);
    uint64_t lengths = field(saved, first + FIELD) & ~(LOG_BYTES_MAX - 1);
    uint64_t needed = field(saved, saved->image.length - TRAILER);
    const struct {
        size_t at;
        uint64_t number;
    } wrong[] = {
        {first, field(saved, first + ENTRY) + (UINT64_C(1) << 32)}, /* out of order */
        {first, hashes | UINT64_C(1) << 62}, /* flags in the hash */
        {first, hashes | UINT64_C(1) << 63},
        {first + FIELD, field(saved, first + FIELD) & (LOG_BYTES_MAX - 1)}, /* no key */
        {first + FIELD, lengths | (needed - 20)}, /* ends behind */
        {first + FIELD, lengths | (needed + 1)},
        {first + FIELD, lengths | (LOG_BYTES_MAX - 1)},
        {pair, 0}, /* entries */
        {pair, 1},
        {pair, 3},
        {pair, 1000000},
        {pair, UINT64_MAX},
        {pair, UINT64_MAX / ENTRY + 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        expect_forgery_disbelieved(saved, wrong[i].at, wrong[i].number, "is damaged");
    }
    /* Bytes between the last part and the trailer. */
    struct slice all = script_slice(&saved->image);
    for (size_t more = 1; more < 20; more += watchdog_scaled(1, 6)) {
        struct script longer = {0};
        script_add(&longer, slice_first(all, all.length - TRAILER));
        script_add_fill(&longer, 0, more);
        script_add(&longer, slice_after(all, all.length - TRAILER));
        write_sealed(saved, &longer);
        expect_disbelieved(saved, "is damaged");
        script_free(&longer);
    }
}

/* With a right CRC around wrong places: replaying meets them, and the log is read. */
static void image_that_leads_to_no_records_is_not_believed(void **state)
{
    struct saved *saved = *state;
    struct engine *engine = saved->engine;
    size_t at = PARTS_AT;
    while (at < saved->image.length - TRAILER) {
        size_t count = (size_t)field(saved, at);
        for (size_t i = 0; i < count; i++) {
            size_t place = at + FIELD + i * ENTRY + FIELD;
            bytes_put_u64(saved->image.bytes + place, field(saved, place) - 1);
        }
        at += FIELD + count * ENTRY;
    }
    save_more(saved);
    write_sealed(saved, &saved->image);
    engine_forget_messages(engine);
    shim_fail_once(SHIM_BIT(SHIM_FOPEN), SHIM_ANY, 2, EMFILE);
    assert_int_equal(engine_try_open(engine), KV_IO); /* no seed to begin anew */
    shim_clear_faults();
    assert_int_equal(engine_told(engine, "/dev/urandom"), 1);
    engine_forget_messages(engine);
    engine_open(engine); /* which also tells what was met */
    engine_expect_line(engine,
                       "PATH.index: does not lead to the records of the log; reading all "
                       "of it",
                       0, 0);
    assert_int_equal(store_stats(engine->store).recovered_bytes,
                     engine_log_length(engine));
    assert_true(table_holds(saved->table));
    engine_kill(engine);
}

/* Reading anew needs a new seed for the hash. */
static void image_disbelieved_without_random_bytes_ends_the_start(void **state)
{
    const struct saved *saved = *state;
    size_t entry = find_pair(saved) + FIELD;
    write_forged(saved, entry, field(saved, entry) | UINT64_C(1) << 63);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        engine_forget_messages(saved->engine);
        shim_fail_once(SHIM_BIT(SHIM_FOPEN), SHIM_ANY, nth, EMFILE);
        assert_int_equal(engine_try_open(saved->engine), KV_IO);
        shim_clear_faults();
        assert_int_equal(engine_told(saved->engine, "/dev/urandom"), 1);
        engine_expect_file(saved->engine, "", script_slice(&saved->log));
    }
    expect_disbelieved(saved, "is damaged");
}

/* A whole seal where the image begins, but of another log: no place to go on from. */
static void image_that_begins_behind_the_seal_of_another_log_is_not_believed(void **state)
{
    const struct saved *saved = *state;
    struct slice log = script_slice(&saved->log);
    uint64_t at = field(saved, COVERED_AT) - SEAL_BYTES;
    struct seal seal;
    assert_true(record_decode_seal(slice_after(log, (size_t)at), at, &seal));
    seal.log_id ^= 1;
    record_encode_seal(saved->log.bytes + at, &seal, at);
    /* Even the chain is made to fit. */
    struct slice mark = {saved->log.bytes + at, SEAL_BYTES};
    write_forged(saved, CHAIN_AT, crc32c(seal.chain, mark));
    expect_refused(saved, log, "does not match the log"); /* that is damage */
    assert_int_equal(engine_told(saved->engine, "the log is damaged at offset"), 1);
}

/* A log cut at a seal, a backup from before, looks whole but for the image. */
static void f54_f61_f87_log_shorter_than_its_image_is_refused(void **state)
{
    struct saved *saved = *state;
    struct script older = {0};
    script_add(&older, script_slice(&saved->log));
    save(saved);
    struct slice log = script_slice(&saved->log);
    expect_refused(saved, script_slice(&older), "the log is");
    expect_refused(saved, slice_first(log, log.length - 1), "the log is");
    expect_refused(saved, slice_first(log, 0), "missing or empty");
    expect_refused(saved, (struct slice){NULL, 0}, "missing or empty");
    engine_write(saved->engine, "", log);
    expect_believed(saved, 0);
    script_free(&older);
}

/* What the image says was durable cannot be a torn tail: it is rot, and refused. */
static void f51_damage_that_the_image_proves_was_durable_is_refused(void **state)
{
    const struct saved *saved = *state;
    struct slice log = script_slice(&saved->log);
    for (size_t at = log.length - SEAL_BYTES; at < log.length;
         at += watchdog_scaled(1, 13)) {
        saved->log.bytes[at] ^= 0x10;
        expect_refused(saved, log, "is damaged at offset");
        saved->log.bytes[at] ^= 0x10;
    }
    engine_write(saved->engine, "", log);
    expect_believed(saved, 0);
}

/* An image that covers less than it needs: taken in steps, while a batch came in. */
static void f51_damage_between_covered_and_needed_is_refused(void **state)
{
    struct saved *saved = *state;
    struct engine *engine = saved->engine;
    engine_open(engine);
    compacting_start(engine);
    for (size_t row = 0; !engine_has_file(engine, FILES_INDEX); row++) {
        table_put(saved->table, row % ROWS);
        assert_int_equal(compacting_step(engine), KV_OK);
        assert_in_range(row, 0, COMPACTING_STEPS_MAX);
    }
    engine_kill(engine);
    script_free(&saved->image);
    saved->image = engine_read(engine, FILES_INDEX);
    uint64_t covered = field(saved, COVERED_AT);
    uint64_t needed = field(saved, saved->image.length - TRAILER);
    assert_true(covered < needed);
    expect_believed(saved, engine_log_length(engine) - covered);
    struct script log = engine_read(engine, "");
    for (uint64_t at = covered; at < needed; at += watchdog_scaled(3, 31)) {
        log.bytes[at] ^= 0x04;
        expect_refused(saved, script_slice(&log), "is damaged at offset");
        log.bytes[at] ^= 0x04;
    }
    script_free(&log);
}

/* ---- When it is written ---- */

static void f84_full_disk_while_saving_is_told_and_costs_only_time(void **state)
{
    struct saved *saved = *state;
    struct engine *engine = saved->engine;
    engine_drop_index(engine);
    for (uint64_t room = 0; room < 5000; room += watchdog_scaled(150, 1500)) {
        engine_open(engine);
        engine_forget_messages(engine);
        shim_set_space(SHIM_NEW, room, ENOSPC);
        engine_close(engine);
        shim_give_space();
        assert_int_equal(engine_told(engine, "cannot write the index"), 1);
        assert_false(engine_has_file(engine, FILES_NEW));
        assert_false(engine_has_file(engine, FILES_INDEX));
        expect_believed(saved, engine_log_length(engine)); /* all of it, without a word */
    }
    engine_open(engine);
    engine_close(engine);
    expect_believed(saved, 0);
}

/* Nor is one whose sync fails put in place, at its begin or at its end. */
static void image_that_cannot_be_synced_is_not_put_in_place(void **state)
{
    struct saved *saved = *state;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_NEW, nth, EIO);
        uint64_t fired_before = shim_fired_count();
        save_more(saved);
        assert_int_equal(shim_fired_count(), fired_before + 1);
        engine_expect_file(saved->engine, FILES_INDEX, script_slice(&saved->image));
        assert_false(engine_has_file(saved->engine, FILES_NEW));
    }
    expect_believed(saved, engine_log_length(saved->engine) - saved->log.length);
}

static void unchanged_store_keeps_its_image(void **state)
{
    struct saved *saved = *state;
    struct engine *engine = saved->engine;
    for (int is_empty = 0; is_empty < 2; is_empty++) {
        shim_forget_trace();
        for (int i = 0; i < 3; i++) {
            expect_believed(saved, 0);
            engine_open(engine);
            engine_close(engine);
        }
        assert_null(strstr(shim_trace_text(SHIM_BIT(SHIM_PWRITE)), ":new"));
        assert_string_equal(shim_trace_text(SHIM_BIT(SHIM_RENAMEAT)), "");
        engine_open(engine); /* and one without keys */
        for (size_t row = 0; is_empty == 0 && row < ROWS; row++) {
            table_delete(saved->table, row);
        }
        engine_close(engine);
    }
}

static void image_is_private_whatever_the_umask(void **state)
{
    struct saved *saved = *state;
    struct stat info;
    mode_t kept = umask(0);
    save_more(saved);
    (void)umask(kept);
    assert_int_equal(stat(engine_file(saved->engine, FILES_INDEX).path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

/* Another file there is nobody's business: neither a stop nor a compaction takes it. */
static void f100_a_file_that_is_no_image_is_never_replaced(void **state)
{
    struct saved *saved = *state;
    struct engine *engine = saved->engine;
    const struct slice text = SLICE_LITERAL("an index of somebody's books\n");
    engine_write(engine, FILES_INDEX, text);
    expect_disbelieved(saved, "is no image of an index; reading the whole log");
    for (int is_compacted = 0; is_compacted < 2; is_compacted++) {
        engine_open(engine);
        if (is_compacted != 0) {
            compacting_start(engine);
            (void)compacting_finish(engine);
        }
        engine_close(engine);
        engine_expect_file(engine, FILES_INDEX, text);
        assert_false(engine_has_file(engine, FILES_NEW));
    }
    engine_open(engine);
    assert_true(table_holds(saved->table));
}

/* F83: a planted link is neither read nor written through. */
static void f83_symbolic_link_in_its_place_does_no_harm(void **state)
{
    struct saved *saved = *state;
    struct engine *engine = saved->engine;
    struct stat info;
    struct tempdir_file link = engine_file(engine, FILES_INDEX);
    engine_write(engine, ".victim", script_slice(&saved->image));
    engine_drop_index(engine);
    assert_int_equal(symlink("kv.log.victim", link.path), 0);
    expect_disbelieved(saved, "is a symbolic link");
    engine_open(engine);
    engine_close(engine);
    assert_int_equal(lstat(link.path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    engine_expect_file(engine, ".victim", script_slice(&saved->image));
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
    const struct saved *saved = *state;
    struct engine *engine = saved->engine;
    for (int is_dump = 0; is_dump < 2; is_dump++) {
        saved->image.bytes[PARTS_AT] ^= 1;
        write_image(saved, &saved->image);
        engine_forget_messages(engine);
        assert_int_equal(run_quietly(engine, is_dump != 0), KV_OK);
        assert_int_equal(engine_told(engine, FILES_INDEX), 1); /* as a start says */
        saved->image.bytes[PARTS_AT] ^= 1;
        write_image(saved, &saved->image);
        /* A right image hides no damage from them. */
        engine_flip(engine, OPENING_BYTES + 30, 1);
        assert_int_equal(run_quietly(engine, is_dump != 0), KV_CORRUPT);
        engine_expect_file(engine, FILES_INDEX, script_slice(&saved->image));
        engine_flip(engine, OPENING_BYTES + 30, 1);
    }
}

/* ---- A disk that fails behind the check of an image ---- */

static uint8_t
    *fading; /* the page that is lost once the image that it is in was checked */
static bool is_to_fade;

uint32_t __real_crc32c(uint32_t crc, struct slice bytes);
uint32_t __wrap_crc32c(uint32_t crc, struct slice bytes);

uint32_t __wrap_crc32c(uint32_t crc, struct slice bytes)
{
    enum { PAGE = 4096 };
    uint32_t sum = __real_crc32c(crc, bytes);
    if (is_to_fade && bytes.length > 2 * PAGE &&
        bytes_get_u64(bytes.bytes) == FILES_INDEX_MAGIC) {
        is_to_fade = false;
        fading = (uint8_t *)(uintptr_t)bytes.bytes + PAGE;
        FILE *empty = tmpfile();
        assert_non_null(empty);
        assert_true(mmap(fading, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fileno(empty),
                         0) == fading);
        assert_int_equal(fclose(empty), 0);
    }
    return sum;
}

static void f113_image_that_fades_behind_its_check_is_not_believed(void **state)
{
    struct saved *saved = *state;
    struct engine *engine = saved->engine;
    engine_catch_sigbus();
    engine_open(engine);
    for (int i = 0; i < 300; i++) { /* so that its end is on another page */
        char key[32];
        (void)snprintf(key, sizeof key, "more-%d", i);
        engine_put(engine, key, "value");
    }
    engine_close(engine);
    is_to_fade = true;
    engine_forget_messages(engine);
    engine_open(engine);
    assert_false(is_to_fade);
    assert_int_equal(engine_told(engine, ""), 1);
    engine_expect_line(
        engine, "PATH.index: cannot be read any more; reading the whole log", 0, 0);
    engine_expect(engine, "more-299", "value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SAVED(saved_index_makes_a_start_read_nothing),
        ON_SAVED(f87_image_with_any_byte_flipped_is_not_believed),
        ON_SAVED(image_of_any_other_length_is_not_believed),
        ON_SAVED(image_of_another_log_or_generation_is_not_believed),
        ON_SAVED(image_that_does_not_match_the_log_is_not_believed),
        ON_SAVED(image_of_a_wrong_shape_is_not_believed),
        ON_SAVED(image_that_leads_to_no_records_is_not_believed),
        ON_SAVED(f113_image_that_fades_behind_its_check_is_not_believed),
        ON_SAVED(image_disbelieved_without_random_bytes_ends_the_start),
        ON_SAVED(image_that_begins_behind_the_seal_of_another_log_is_not_believed),
        ON_SAVED(f54_f61_f87_log_shorter_than_its_image_is_refused),
        ON_SAVED(f51_damage_that_the_image_proves_was_durable_is_refused),
        ON_SAVED(f51_damage_between_covered_and_needed_is_refused),
        ON_SAVED(f84_full_disk_while_saving_is_told_and_costs_only_time),
        ON_SAVED(image_that_cannot_be_synced_is_not_put_in_place),
        ON_SAVED(unchanged_store_keeps_its_image),
        ON_SAVED(image_is_private_whatever_the_umask),
        ON_SAVED(f100_a_file_that_is_no_image_is_never_replaced),
        ON_SAVED(f83_symbolic_link_in_its_place_does_no_harm),
        ON_SAVED(verify_and_dump_read_all_of_the_log),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
