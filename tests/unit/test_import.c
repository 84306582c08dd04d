/*
 * Logs of the original program: what is kept of them, and that they are never harmed.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap malloc calloc realloc strdup
 */
#include "log/logset.h"

#include "base/bounds.h"
#include "engine/store.h"
#include "log/record.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/keyed.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The records of an original log, and what a reader must find behind each of them. */
enum { RECORDS = 14 };

struct sample {
    struct image image;
    uint64_t ends[RECORDS + 1];
    struct model models[RECORDS + 1];
    bool has_key[RECORDS + 1]; /* whether some key was not empty */
};

struct step {
    int key;           /* -1: the empty key */
    const char *value; /* NULL: a tombstone */
};

static const struct step steps[RECORDS] = {
    {-1, "an empty key"},
    {0, "zero"},
    {1, "one"},
    {1, "x"},
    {2, ""},
    {0, NULL},
    {-1, ""},
    {3, "0123abcd"},
    {2, "two"},
    {5, NULL},
    {0, "again"},
    {-1, NULL},
    {7, "with  two "},
    {3, NULL},
};

static struct sample *make_sample(void)
{
    struct sample *sample = calloc(1, sizeof *sample);
    assert_non_null(sample);
    for (size_t i = 0; i < RECORDS; i++) {
        const struct step *step = &steps[i];
        const char *key = step->key < 0 ? "" : model_key((size_t)step->key);
        struct model *model = &sample->models[i + 1];
        *model = sample->models[i];
        if (step->value == NULL) {
            image_delete(&sample->image, key);
        } else {
            image_put_text(&sample->image, key, step->value);
        }
        if (step->key >= 0 && step->value == NULL) {
            model_delete(model, (size_t)step->key);
        } else if (step->key >= 0) {
            model_set(model, (size_t)step->key, step->value);
        }
        sample->ends[i + 1] = sample->image.log.length;
        sample->has_key[i + 1] = sample->has_key[i] || step->key >= 0;
    }
    return sample;
}

static void free_sample(struct sample *sample)
{
    image_free(&sample->image);
    free(sample);
}

static void expect_untouched(const struct engine *engine, struct slice bytes)
{
    engine_expect_file(engine, "", bytes);
    assert_false(engine_has_file(engine, ".new"));
    assert_true(engine_told(engine, engine->log.path) >= 1);
}

/* The log has become one of ours, which opens without a word. */
static void expect_ours(struct engine *engine, const struct model *model)
{
    struct opening opening;
    engine_close(engine);
    struct script bytes = engine_read(engine, "");
    assert_true(record_decode_opening(script_slice(&bytes), &opening));
    assert_int_equal(opening.version, RECORD_FORMAT_VERSION);
    assert_int_equal(opening.generation, 1);
    assert_int_equal(opening.older_id, 0);
    script_free(&bytes);
    engine_forget_messages(engine);
    engine_open(engine);
    model_expect(model, engine);
    assert_int_equal(engine_told(engine, ""), 0);
    assert_false(engine_has_file(engine, ".new"));
    engine_close(engine);
}

static void f58_import_keeps_what_a_correct_reader_finds(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample();
    engine_place(engine, image_slice(&sample->image));
    engine_open(engine);
    model_expect(&sample->models[RECORDS], engine);
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(engine_told(engine, engine->log.path), 1);
    assert_int_equal(engine_told(engine, "4 keys"), 1);
    assert_int_equal(engine_told(engine, "3 records with an empty key"), 1);
    assert_int_equal(engine_count_files(engine, "kv.log"), 2);
    expect_ours(engine, &sample->models[RECORDS]);
    free_sample(sample);
}

static void f59_import_keeps_the_whole_records_before_any_cut(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample();
    struct slice bytes = image_slice(&sample->image);
    for (size_t cut = 1; cut <= bytes.length; cut += watchdog_scaled(1, 3)) {
        size_t record = 0;
        while (record < RECORDS && sample->ends[record + 1] <= cut) {
            record++;
        }
        struct slice rest = slice_first(bytes, cut);
        engine_place(engine, rest);
        if (!sample->has_key[record]) {
            assert_int_equal(engine_try_open(engine), KV_CORRUPT);
            expect_untouched(engine, rest);
            continue;
        }
        char torn[64];
        (void)snprintf(torn, sizeof torn, ".torn.%d", (int)sample->ends[record]);
        engine_open(engine);
        model_expect(&sample->models[record], engine);
        bool is_torn = sample->ends[record] < cut;
        assert_int_equal(engine_count_files(engine, ".torn."), is_torn ? 1 : 0);
        if (is_torn) {
            engine_expect_file(engine, torn,
                               slice_after(rest, (size_t)sample->ends[record]));
            assert_int_equal(engine_told(engine, torn), 1);
        }
        expect_ours(engine, &sample->models[record]);
    }
    free_sample(sample);
}

/* A log of so many values, the key of each being a model's. */
static void expect_taken_over(struct engine *engine, const struct slice *values,
                              size_t count)
{
    struct image image = {0};
    struct slice value;
    for (size_t i = 0; i < count; i++) {
        image_put(&image, slice_of_text(model_key(i)), values[i]);
    }
    engine_place(engine, image_slice(&image));
    engine_open(engine);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(keyed_get(engine->store, slice_of_text(model_key(i)), &value),
                         KV_OK);
        assert_true(slice_equal(value, values[i]));
    }
    image_free(&image);
}

static void f58_import_keeps_values_that_contain_nul(void **state)
{
    const struct slice values[] = {SLICE_LITERAL("\0\0"), SLICE_LITERAL("a\0b"),
                                   SLICE_LITERAL("\0a"), SLICE_LITERAL("a\0"),
                                   SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")};
    expect_taken_over(*state, values, sizeof values / sizeof values[0]);
}

/* More than one batch takes: each batch has its seal, and all are there. */
static void import_splits_a_large_log_into_batches(void **state)
{
    struct engine *engine = *state;
    struct script value = {0};
    struct slice values[6];
    script_add_fill(&value, 'v', 1 * MIB + 1);
    for (size_t i = 0; i < 6; i++) {
        values[i] = script_slice(&value);
    }
    expect_taken_over(engine, values, 6);
    assert_true(store_stats(engine->store).dead_bytes >= OPENING_BYTES + 2 * SEAL_BYTES);
    script_free(&value);
}

/* One key of this length between two others. */
static enum status try_key(struct engine *engine, size_t key_length)
{
    struct script key = {0};
    struct image image = {0};
    struct slice value;
    script_add_fill(&key, 'k', key_length);
    image_put_text(&image, "before", "value");
    image_put(&image, script_slice(&key), SLICE_LITERAL("value"));
    image_put_text(&image, "behind", "value");
    engine_place(engine, image_slice(&image));
    enum status status = engine_try_open(engine);
    if (status == KV_OK) {
        assert_int_equal(keyed_get(engine->store, script_slice(&key), &value), KV_OK);
        assert_int_equal(store_count(engine->store), 3);
        engine_close(engine);
    } else {
        expect_untouched(engine, image_slice(&image));
    }
    script_free(&key);
    image_free(&image);
    return status;
}

static void import_takes_keys_up_to_the_limit(void **state)
{
    assert_int_equal(try_key(*state, KEY_BYTES_MAX), KV_OK);
    assert_int_equal(try_key(*state, KEY_BYTES_MAX + 1), KV_IO);
    assert_int_equal(engine_told(*state, "65536"), 1);
    assert_int_equal(engine_told(*state, "untouched"), 1);
}

static void f97_import_puts_the_new_log_in_place_by_rename(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample();
    engine_place(engine, image_slice(&sample->image));
    engine_open(engine);
    const unsigned order = SHIM_CHANGES & ~SHIM_BIT(SHIM_OPENAT);
    const char *wanted =
        "fsync:directory pwrite:new fdatasync:new pwrite:new fdatasync:new renameat:log "
        "fsync:directory";
    assert_int_equal(strncmp(shim_trace_text(order), wanted, strlen(wanted)), 0);
    free_sample(sample);
}

static void f97_import_without_space_leaves_the_original(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample();
    struct slice bytes = image_slice(&sample->image);
    engine_place(engine, bytes);
    engine_open(engine);
    uint64_t needed = engine_log_length(engine) - SEAL_BYTES; /* the second one follows */
    engine_crash(engine);
    for (uint64_t room = 0; room < needed; room += watchdog_scaled(1, 11)) {
        engine_place(engine, bytes);
        shim_set_space(SHIM_NEW, room, room % 2 == 0 ? ENOSPC : EDQUOT);
        assert_int_equal(engine_try_open(engine), KV_NO_SPACE);
        expect_untouched(engine, bytes);
        assert_int_equal(engine_told(engine, "untouched"), 1);
    }
    shim_give_space();
    engine_open(engine);
    model_expect(&sample->models[RECORDS], engine);
    free_sample(sample);
}

/* After a failed start PATH holds the original, or all of it in our format; that it is
 * untouched may only be said where it is. */
static void expect_original_or_whole(const struct engine *engine, struct slice bytes)
{
    struct script now = engine_read(engine, "");
    struct opening opening;
    if (!slice_equal(script_slice(&now), bytes)) {
        assert_true(record_decode_opening(script_slice(&now), &opening));
        assert_int_equal(engine_told(engine, "untouched"), 0);
    }
    script_free(&now);
}

static void f97_import_interrupted_anywhere_ends_the_same(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample();
    struct slice bytes =
        slice_first(image_slice(&sample->image), (size_t)sample->ends[RECORDS] - 3);
    const struct model *model = &sample->models[RECORDS - 1];
    const int errors[] = {EIO, ENOSPC, EMFILE};
    /* Which call fails decides where it goes on; with which errno, what it says. */
    size_t error_count = watchdog_scaled(sizeof errors / sizeof errors[0], 1);
    for (size_t i = 0; i < 2 * error_count; i++) {
        struct shim_fault fault = {
            .calls = SHIM_FILES, .error = errors[i / 2], .is_sticky = i % 2 == 1};
        bool has_fired = true;
        while (has_fired) {
            fault.nth++;
            engine_place(engine, bytes);
            shim_inject(&fault);
            enum status status = engine_try_open(engine);
            has_fired = shim_fired_count() > 0;
            shim_clear_faults();
            if (status == KV_OK) {
                model_expect(model, engine);
                engine_crash(engine);
            } else {
                expect_original_or_whole(engine, bytes);
            }
            engine_open(engine);
            model_expect(model, engine);
            assert_int_equal(engine_count_files(engine, ".torn."), 1);
            expect_ours(engine, model);
        }
    }
    free_sample(sample);
}

static void f71_import_without_memory_leaves_the_original(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample();
    struct slice bytes = image_slice(&sample->image);
    enum status status = KV_NO_MEMORY;
    for (uint64_t nth = 1; status == KV_NO_MEMORY; nth++) {
        engine_place(engine, bytes);
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        status = engine_try_open(engine);
        shim_clear_faults();
        if (status != KV_OK) {
            expect_original_or_whole(engine, bytes);
        }
    }
    assert_int_equal(status, KV_OK);
    model_expect(&sample->models[RECORDS], engine);
    free_sample(sample);
}

/* A page that cannot be read must not be taken for records with empty keys: at once, or
 * when all of it was read and the disk fails before it is copied. */
static void f57_import_takes_a_read_error_for_no_data(void **state)
{
    struct engine *engine = *state;
    struct image image = {0};
    char value[32];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(value, sizeof value, "value %d", i); /* fits */
        image_put_text(&image, model_key((size_t)i % MODEL_KEYS), value);
    }
    struct slice bytes = image_slice(&image);
    engine_catch_sigbus();
    for (size_t length = 0; length < bytes.length + 4096; length += 4096) {
        bool is_late = length > bytes.length;
        engine_place(engine, bytes);
        int fd = engine_map_instead(engine, SHIM_LOG,
                                    is_late ? bytes : slice_first(bytes, length));
        if (is_late) {
            shim_before(SHIM_BIT(SHIM_OPENAT), SHIM_NEW, engine_cut_to_a_page, &fd);
        }
        assert_int_equal(engine_try_open(engine), KV_IO);
        engine_map_again(SHIM_LOG, fd);
        expect_untouched(engine, bytes);
        assert_int_equal(engine_count_files(engine, ".torn."), 0);
    }
    image_free(&image);
}

struct judgement {
    struct slice bytes;
    bool is_original;
};

static void logset_is_original_wants_a_whole_record_with_a_key(void **state)
{
    (void)state;
    const struct judgement judgements[] = {
        {SLICE_LITERAL(""), false},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), false},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0k"), true},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1k"), false},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\xff"), false},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\xc3\xbc"), true},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                       "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0k"),
         true},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0ktorn"), true},
        {SLICE_LITERAL("\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\1k"), false},
    };
    for (size_t i = 0; i < sizeof judgements / sizeof judgements[0]; i++) {
        assert_int_equal(logset_is_original(judgements[i].bytes),
                         judgements[i].is_original);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f58_import_keeps_what_a_correct_reader_finds),
        ON_ENGINE(f59_import_keeps_the_whole_records_before_any_cut),
        ON_ENGINE(f58_import_keeps_values_that_contain_nul),
        ON_ENGINE(import_takes_keys_up_to_the_limit),
        ON_ENGINE(import_splits_a_large_log_into_batches),
        ON_ENGINE(f97_import_puts_the_new_log_in_place_by_rename),
        ON_ENGINE(f97_import_without_space_leaves_the_original),
        ON_ENGINE(f97_import_interrupted_anywhere_ends_the_same),
        ON_ENGINE(f71_import_without_memory_leaves_the_original),
        ON_ENGINE(f57_import_takes_a_read_error_for_no_data),
        cmocka_unit_test(logset_is_original_wants_a_whole_record_with_a_key),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
