/*
 * Start-up on logs as crashes, bad disks and other programs leave them. What test_corpus
 * does to every byte of a log is not done again here.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap clock_gettime
 */
#include "engine/store.h"
#include "log/record.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* A log whose second batch was cut short, and its store before each test. */
struct torn {
    struct engine *engine;
    struct image image;
    uint64_t end; /* of the first batch */
};

static int torn_setup(void **state)
{
    static struct torn torn;
    assert_int_equal(engine_setup(state), 0);
    torn = (struct torn){.engine = *state};
    image_begin_first(&torn.image);
    image_put_text(&torn.image, "kept", "value");
    image_put_text(&torn.image, "deleted", "value");
    image_delete(&torn.image, "deleted");
    image_delete(&torn.image, "never there");
    image_seal(&torn.image);
    torn.end = torn.image.log.length;
    image_put_text(&torn.image, "lost", "value");
    image_delete(&torn.image, "kept");
    image_seal(&torn.image);
    image_cut(&torn.image, torn.image.log.length - 5);
    engine_place(torn.engine, image_slice(&torn.image));
    *state = &torn;
    return 0;
}

static int torn_teardown(void **state)
{
    struct torn *torn = *state;
    image_free(&torn->image);
    *state = torn->engine;
    return engine_teardown(state);
}

#define ON_TORN(test) cmocka_unit_test_setup_teardown(test, torn_setup, torn_teardown)

/* The store holds what the first batch left. */
static void expect_kept(struct engine *engine)
{
    engine_expect(engine, "kept", "value");
    engine_expect(engine, "deleted", NULL);
    engine_expect(engine, "lost", NULL);
    assert_int_equal(store_count(engine->store), 1);
}

static void expect_refused(struct engine *engine, struct slice bytes, enum status status)
{
    assert_int_equal(engine_try_open(engine), status);
    engine_expect_file(engine, "", bytes);
    assert_int_equal(engine_count_files(engine, "kv.log"), 2); /* and the lock */
    assert_int_equal(engine_told(engine, engine->log.path), 1);
    assert_int_equal(engine_told(engine, ""), 1);
}

/* The tail behind `offset` was cut off, kept byte for byte, and the operator told. */
static void expect_tail_saved(const struct engine *engine, struct slice bytes,
                              uint64_t offset)
{
    char suffix[64];
    char told[64];
    struct slice tail = slice_after(bytes, (size_t)offset);
    (void)snprintf(suffix, sizeof suffix, ".torn.%d", (int)offset);
    (void)snprintf(told, sizeof told, "offset %d: %zu bytes", (int)offset, tail.length);
    engine_expect_file(engine, suffix, tail);
    assert_int_equal(engine_told(engine, suffix), 1);
    assert_int_equal(engine_told(engine, told), 1);
    assert_int_equal(engine_log_length(engine), offset);
    assert_int_equal(engine_count_files(engine, ".torn."), 1);
}

/* ---- Tails ---- */

static void f48_recover_appends_behind_a_cut_tail(void **state)
{
    const struct torn *torn = *state;
    struct engine *engine = torn->engine;
    engine_open(engine);
    expect_tail_saved(engine, image_slice(&torn->image), torn->end);
    engine_put(engine, "more", "value");
    engine_crash(engine);
    engine_forget_messages(engine);
    engine_open(engine);
    engine_expect(engine, "kept", "value");
    engine_expect(engine, "more", "value");
    assert_int_equal(store_count(engine->store), 2);
    assert_int_equal(engine_told(engine, ""), 0);
}

/* Zero the first whole sector at `from` or later, as a tear leaves it. */
static void lose_sector(struct script *bytes, uint64_t from)
{
    size_t start = ((size_t)from + SECTOR_BYTES - 1) / SECTOR_BYTES * SECTOR_BYTES;
    assert_true(start + SECTOR_BYTES <= bytes->length);
    memset(bytes->bytes + start, 0, SECTOR_BYTES);
}

/* With --sync everysec the last second may be lost, but not what was synced before. */
static void f47_f50_recover_cuts_an_unsynced_tail_and_no_more(void **state)
{
    enum { BATCHES = 4 };
    struct engine *engine = *state;
    static char value[2000];
    uint64_t ends[BATCHES + 1] = {OPENING_BYTES};
    memset(value, 'v', sizeof value - 1);
    engine->sync = SYNC_EVERYSEC;
    engine_open(engine);
    for (size_t i = 1; i <= BATCHES; i++) {
        engine_put(engine, model_key(i), value);
        ends[i] = engine_log_length(engine);
        if (i == 1) {
            assert_int_equal(store_sync(engine->store), KV_OK);
        }
    }
    engine_crash(engine);
    struct script bytes = engine_read(engine, "");
    for (size_t lost = BATCHES; lost > 1; lost--) {
        lose_sector(&bytes, ends[lost - 1]);
        engine_place(engine, script_slice(&bytes));
        engine_open(engine);
        for (size_t i = 1; i <= BATCHES; i++) {
            engine_expect(engine, model_key(i), i < lost ? value : NULL);
        }
        expect_tail_saved(engine, script_slice(&bytes), ends[lost - 1]);
        engine_close(engine);
    }
    lose_sector(&bytes, ends[0]);
    engine_place(engine, script_slice(&bytes));
    expect_refused(engine, script_slice(&bytes), KV_CORRUPT);
    script_free(&bytes);
}

/* Pages that cannot be read are no end of the log: nothing may be cut off or judged. */
static void f57_recover_takes_a_read_error_for_no_end_of_the_log(void **state)
{
    struct engine *engine = *state;
    engine_catch_sigbus();
    shim_omit_syncs();
    engine_open(engine);
    for (int i = 0; i < 200; i++) {
        engine_put(engine, "key", "a value that makes the log several pages long");
    }
    engine_crash(engine);
    struct script log = engine_read(engine, "");
    struct slice bytes = script_slice(&log);
    for (size_t length = 0; length < bytes.length; length += 4096) {
        engine_place(engine, bytes);
        int fd = engine_map_instead(engine, SHIM_LOG, slice_first(bytes, length));
        expect_refused(engine, bytes, KV_IO);
        engine_map_again(SHIM_LOG, fd);
    }
    engine_place(engine, bytes);
    shim_lose_page(0); /* there are marks behind it */
    expect_refused(engine, bytes, KV_IO);
    script_free(&log);
}

/* Damage before a seal that cannot be read is no torn tail. */
static void f57_recover_cuts_no_tail_that_it_cannot_read(void **state)
{
    struct engine *engine = *state;
    struct image image;
    engine_catch_sigbus();
    uint64_t seal_page = image_make_seal_apart(&image);
    engine_place(engine, image_slice(&image));
    shim_lose_page(seal_page);
    expect_refused(engine, image_slice(&image), KV_IO);
    image_free(&image);
}

/*
 * A batch over the last bytes of a space ahead and beyond, of which a power loss kept all
 * but the first sector: there the header of that space stands, and leads to a record of
 * the batch.
 */
static void f47_recover_knows_a_tear_over_the_end_of_a_space_ahead(void **state)
{
    struct engine *engine = *state;
    enum { LEFT = 64, SHARE = 24, END = SECTOR_BYTES - SHARE };
    static char filler[END - OPENING_BYTES - SEAL_BYTES - RECORD_HEADER_BYTES];
    struct image image;
    memset(filler, 'x', sizeof filler - 1);
    image_begin_first(&image);
    image_put_text(&image, "k", filler);
    image_seal(&image);
    assert_int_equal(image.sealed_length, END);
    image_put_text(&image, "a key of sixteen", "a value of thirty-two characters");
    assert_int_equal(image.log.length, END + LEFT);
    image_seal(&image);
    image_fill(&image, END, SECTOR_BYTES, 0);
    record_encode_header(image.log.bytes + END, 0, LEFT - RECORD_HEADER_BYTES);
    engine_place(engine, image_slice(&image));
    engine_open(engine);
    expect_tail_saved(engine, image_slice(&image), END);
    engine_expect(engine, "k", filler);
    image_free(&image);
}

/* ---- What a torn tail meets on its way aside ---- */

/* The unfinished copy of a tail is read once more, and the tail with it. */
static void f113_recover_keeps_no_zeros_for_a_tail_that_fades(void **state)
{
    struct engine *engine = *state;
    static char value[2 * 4096];
    struct image image;
    char suffix[64];
    engine_catch_sigbus();
    memset(value, 'x', sizeof value - 1);
    image_begin_first(&image);
    image_put_text(&image, "k", "kept");
    image_seal(&image);
    uint64_t end = image.sealed_length;
    image_put_text(&image, "torn", value);
    struct slice tail = slice_after(image_slice(&image), (size_t)end);
    struct script unfinished = {0};
    script_add(&unfinished, slice_first(tail, 2 * SECTOR_BYTES));
    script_add_fill(&unfinished, 0, tail.length - 2 * SECTOR_BYTES);
    engine_place(engine, image_slice(&image));
    (void)snprintf(suffix, sizeof suffix, ".torn.%d", (int)end);
    engine_write(engine, suffix, script_slice(&unfinished));
    int fd = engine_map_instead(engine, SHIM_LOG, image_slice(&image));
    shim_before(SHIM_BIT(SHIM_OPENAT), SHIM_TORN, engine_cut_to_a_page, &fd);
    assert_int_equal(engine_try_open(engine), KV_IO);
    engine_expect_file(engine, "", image_slice(&image));
    engine_map_again(SHIM_LOG, fd);
    engine_open(engine); /* which makes another copy */
    (void)snprintf(suffix, sizeof suffix, ".torn.%d.2", (int)end);
    engine_expect_file(engine, suffix, tail);
    script_free(&unfinished);
    image_free(&image);
}

/* What cannot be read is not known to be an unfinished copy of the same. */
static void f51_recover_does_not_replace_a_copy_that_it_cannot_read(void **state)
{
    const struct torn *torn = *state;
    struct engine *engine = torn->engine;
    char suffix[64];
    engine_catch_sigbus();
    (void)snprintf(suffix, sizeof suffix, ".torn.%d", (int)torn->end);
    engine_write(engine, suffix, SLICE_LITERAL("from another crash"));
    int fd = engine_map_instead(engine, SHIM_TORN, SLICE_LITERAL(""));
    (void)engine_try_open(engine); /* the next copy is no easier to read */
    engine_map_again(SHIM_TORN, fd);
    engine_expect_file(engine, suffix, SLICE_LITERAL("from another crash"));
}

static void f51_recover_does_not_replace_another_copy(void **state)
{
    const struct torn *torn = *state;
    struct engine *engine = torn->engine;
    char first[64];
    char second[64];
    (void)snprintf(first, sizeof first, ".torn.%d", (int)torn->end);
    (void)snprintf(second, sizeof second, ".torn.%d.2", (int)torn->end);
    engine_write(engine, first, SLICE_LITERAL("from another crash"));
    engine_open(engine);
    expect_kept(engine);
    engine_expect_file(engine, first, SLICE_LITERAL("from another crash"));
    engine_expect_file(engine, second,
                       slice_after(image_slice(&torn->image), (size_t)torn->end));
    assert_int_equal(engine_told(engine, second), 1);
}

static void f30_recover_without_space_for_the_copy_touches_nothing(void **state)
{
    const struct torn *torn = *state;
    struct engine *engine = torn->engine;
    struct slice bytes = image_slice(&torn->image);
    uint64_t tail = bytes.length - torn->end;
    for (uint64_t room = 0; room < tail; room += watchdog_scaled(1, 5)) {
        engine_place(engine, bytes);
        shim_set_space(SHIM_TORN, room, ENOSPC);
        expect_refused(engine, bytes, KV_NO_SPACE);
    }
    shim_give_space();
    engine_forget_messages(engine);
    engine_open(engine);
    expect_tail_saved(engine, bytes, torn->end);
}

/* ---- Recovery that fails on its way ---- */

/* Start with a call that fails, then without: the result is always the same. */
static void start_twice(const struct torn *torn, const struct shim_fault *fault)
{
    struct engine *engine = torn->engine;
    engine_place(engine, image_slice(&torn->image));
    shim_inject(fault);
    if (engine_try_open(engine) == KV_OK) {
        expect_kept(engine);
        engine_crash(engine);
    }
    shim_clear_faults();
    for (int i = 0; i < 2; i++) {
        engine_open(engine);
        expect_kept(engine);
        assert_true(i == 0 || engine_told(engine, "") == 0); /* without a word */
        assert_int_equal(engine_log_length(engine), torn->end);
        assert_int_equal(engine_count_files(engine, ".torn."), 1);
        assert_false(engine_has_file(engine, ".new"));
        engine_crash(engine);
        engine_forget_messages(engine);
    }
}

/* Fail one call, or all from there on. */
static void f56_recover_interrupted_anywhere_ends_the_same(void **state)
{
    const int errors[] = {EIO, ENOSPC, EMFILE, ENOMEM, EINTR};
    /* Which call fails decides where it goes on; with which errno, what it says. */
    size_t error_count = watchdog_scaled(sizeof errors / sizeof errors[0], 1);
    for (size_t i = 0; i < 2 * error_count; i++) {
        struct shim_fault fault = {
            .calls = SHIM_FILES, .error = errors[i / 2], .is_sticky = i % 2 == 1};
        if (fault.is_sticky && fault.error == EINTR) {
            continue; /* it would be retried for ever */
        }
        do {
            fault.nth++;
            start_twice(*state, &fault);
        } while (shim_fired_count() > 0);
    }
}

static void f56_recover_saves_the_tail_durably_before_it_cuts(void **state)
{
    const struct torn *torn = *state;
    engine_open(torn->engine);
    const unsigned order = SHIM_BIT(SHIM_PWRITE) | SHIM_BIT(SHIM_FDATASYNC) |
                           SHIM_BIT(SHIM_RENAMEAT) | SHIM_BIT(SHIM_FSYNC) |
                           SHIM_BIT(SHIM_FTRUNCATE);
    assert_string_equal(
        shim_trace_text(order),
        "fsync:directory fdatasync:log pwrite:torn fdatasync:torn fsync:directory "
        "ftruncate:log fdatasync:log");
}

/* ---- Files that are no log, or one of another time ---- */

static void f95_recover_refuses_what_is_no_log(void **state)
{
    struct engine *engine = *state;
    static uint8_t zeros[5000];
    const struct slice files[] = {
        SLICE_LITERAL("x"),
        SLICE_LITERAL("A text file that somebody needs.\nIt has lines.\n"),
        SLICE_LITERAL("\x7f"
                      "ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0>\0\1\0\0\0"),
        SLICE_LITERAL("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1k"),     /* not even one record */
        SLICE_LITERAL("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\xffv"), /* no UTF-8 */
        SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1v"),     /* an empty key */
        {zeros, 1},
        {zeros, 15},
        {zeros, 16},
        {zeros, 17},
        {zeros, 512},
        {zeros, 5000},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        engine_place(engine, files[i]);
        expect_refused(engine, files[i], KV_CORRUPT);
        assert_int_equal(engine_told(engine, "is not a kv-store log"), 1);
    }
}

/* With all of it gone there are still marks behind it, which tell what it is. */
static void f95_recover_names_a_damaged_opening_record(void **state)
{
    struct torn *torn = *state;
    struct engine *engine = torn->engine;
    for (size_t length = 1; length <= OPENING_BYTES; length += 9) {
        image_fill(&torn->image, 0, length, 'x');
        engine_place(engine, image_slice(&torn->image));
        expect_refused(engine, image_slice(&torn->image), KV_CORRUPT);
        assert_int_equal(engine_told(engine, "damaged at offset 0"), 1);
    }
}

static void recover_refuses_a_format_of_the_future(void **state)
{
    struct engine *engine = *state;
    struct image image;
    const struct opening opening = {
        .version = RECORD_FORMAT_VERSION + 1, .log_id = IMAGE_LOG_ID, .generation = 1};
    image_begin(&image, &opening);
    image_put_text(&image, "key", "value");
    image_seal(&image);
    engine_place(engine, image_slice(&image));
    expect_refused(engine, image_slice(&image), KV_IO);
    assert_int_equal(engine_told(engine, "version"), 1);
    image_free(&image);
}

/*
 * The log that README.md shows, as the first release wrote it. Whatever becomes of the
 * format, this one opens, takes more, and opens again.
 */
static void recover_opens_a_log_of_version_1_for_ever(void **state)
{
#define ZEROS "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    static const char bytes[] =
        ZEROS "\1306b762d73746f72650001eadac0449eea31050000000000000001"
              "00000000000000000000000000007248ece8"
              "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5ahello" ZEROS
              "\0605ea1eadac0449eea31050000000000681147d70b7b5b8904" ZEROS
              "\0605ea1eadac0449eea31050000000000be80edba38a81fa705";
#undef ZEROS
    struct engine *engine = *state;
    engine_place(engine, (struct slice){(const uint8_t *)bytes, sizeof bytes - 1});
    engine_open(engine);
    assert_int_equal(engine_told(engine, ""), 0);
    engine_expect(engine, "a", "hello");
    engine_put(engine, "b", "more");
    engine_close(engine);
    engine_open(engine);
    engine_expect(engine, "a", "hello");
    engine_expect(engine, "b", "more");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_TORN(f48_recover_appends_behind_a_cut_tail),
        ON_ENGINE(f47_f50_recover_cuts_an_unsynced_tail_and_no_more),
        ON_ENGINE(f57_recover_takes_a_read_error_for_no_end_of_the_log),
        ON_ENGINE(f57_recover_cuts_no_tail_that_it_cannot_read),
        ON_ENGINE(f47_recover_knows_a_tear_over_the_end_of_a_space_ahead),
        ON_ENGINE(f113_recover_keeps_no_zeros_for_a_tail_that_fades),
        ON_TORN(f51_recover_does_not_replace_another_copy),
        ON_TORN(f51_recover_does_not_replace_a_copy_that_it_cannot_read),
        ON_TORN(f30_recover_without_space_for_the_copy_touches_nothing),
        ON_TORN(f56_recover_interrupted_anywhere_ends_the_same),
        ON_TORN(f56_recover_saves_the_tail_durably_before_it_cuts),
        ON_ENGINE(f95_recover_refuses_what_is_no_log),
        ON_TORN(f95_recover_names_a_damaged_opening_record),
        ON_ENGINE(recover_refuses_a_format_of_the_future),
        ON_ENGINE(recover_opens_a_log_of_version_1_for_ever),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
