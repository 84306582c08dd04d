/*
 * Start-up on logs as crashes, bad disks and other programs leave them.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap clock_gettime
 */
#include "engine/store.h"
#include "log/record.h"
#include "support/dice.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCHES = 6 };

/* A log of some batches; what it holds behind each of them. */
struct sample {
    struct script bytes;
    uint64_t ends[BATCHES + 1]; /* behind the opening record and each seal */
    struct model models[BATCHES + 1];
};

/* One batch of a few changes, another for each number. */
static void put_batch(struct engine *engine, struct model *model, size_t number)
{
    char value[64];
    for (size_t i = 0; i < 1 + number % 3; i++) {
        size_t key = (number * 2 + i) % 5;
        (void)snprintf(value, sizeof value, "%zu of %zu", i, number);
        assert_int_equal(engine_set(engine, model_key(key), value), KV_OK);
        model_set(model, key, value);
    }
    if (number % 2 == 1) {
        size_t key = number % 5;
        assert_int_equal(engine_delete(engine, model_key(key)),
                         model->has[key] ? KV_OK : KV_NOT_FOUND);
        model_delete(model, key);
    }
    assert_int_equal(store_commit(engine->store), KV_OK);
}

static struct sample *make_sample(struct engine *engine)
{
    struct sample *sample = calloc(1, sizeof *sample);
    assert_non_null(sample);
    engine_open(engine);
    sample->ends[0] = engine_log_length(engine);
    for (size_t i = 0; i < BATCHES; i++) {
        sample->models[i + 1] = sample->models[i];
        put_batch(engine, &sample->models[i + 1], i);
        sample->ends[i + 1] = engine_log_length(engine);
    }
    engine_crash(engine);
    engine_clean(engine);
    sample->bytes = engine_read(engine, "");
    return sample;
}

static void free_sample(struct sample *sample)
{
    script_free(&sample->bytes);
    free(sample);
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
    char text[64];
    struct slice tail = slice_after(bytes, (size_t)offset);
    (void)snprintf(text, sizeof text, ".torn.%d", (int)offset);
    engine_expect_file(engine, text, tail);
    assert_int_equal(engine_told(engine, text), 1);
    (void)snprintf(text, sizeof text, "%d", (int)tail.length);
    assert_true(engine_told(engine, text) >= 1);
    (void)snprintf(text, sizeof text, "offset %d", (int)offset);
    assert_true(engine_told(engine, text) >= 1);
    assert_int_equal(engine_log_length(engine), offset);
    assert_int_equal(engine_count_files(engine, ".torn."), 1);
}

/* Recovered once, the log opens without a word. */
static void expect_clean_reopen(struct engine *engine, const struct model *model)
{
    engine_crash(engine);
    engine_forget_messages(engine);
    size_t torn_count = engine_count_files(engine, ".torn.");
    engine_open(engine);
    model_expect(model, engine);
    assert_int_equal(engine_told(engine, ""), 0);
    assert_int_equal(engine_count_files(engine, ".torn."), torn_count);
    engine_close(engine);
}

/* ---- Logs that were cut short ---- */

static void f48_recover_keeps_the_whole_batches_before_any_cut(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    struct slice bytes = script_slice(&sample->bytes);
    size_t step = watchdog_scaled(1, 29);
    for (size_t cut = OPENING_BYTES; cut <= bytes.length; cut += step) {
        size_t batch = 0;
        while (batch < BATCHES && sample->ends[batch + 1] <= cut) {
            batch++;
        }
        struct slice rest = slice_first(bytes, cut);
        engine_place(engine, rest);
        engine_open(engine);
        model_expect(&sample->models[batch], engine);
        if (sample->ends[batch] < cut) {
            expect_tail_saved(engine, rest, sample->ends[batch]);
        } else {
            assert_int_equal(engine_count_files(engine, ".torn."), 0);
            assert_int_equal(engine_told(engine, ""), 0);
        }
        expect_clean_reopen(engine, &sample->models[batch]);
    }
    free_sample(sample);
}

static void f48_recover_appends_behind_a_cut_tail(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    engine_place(engine, slice_first(script_slice(&sample->bytes),
                                     (size_t)sample->ends[BATCHES] - 1));
    engine_open(engine);
    struct model model = sample->models[BATCHES - 1];
    put_batch(engine, &model, 17);
    model_expect(&model, engine);
    expect_clean_reopen(engine, &model);
    free_sample(sample);
}

static void f61_recover_refuses_a_log_shorter_than_its_opening(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    for (size_t cut = 1; cut < OPENING_BYTES; cut += watchdog_scaled(1, 7)) {
        struct slice rest = slice_first(script_slice(&sample->bytes), cut);
        engine_place(engine, rest);
        expect_refused(engine, rest, KV_CORRUPT);
    }
    engine_place(engine, SLICE_LITERAL(""));
    engine_open(engine); /* nothing was ever published there */
    assert_int_equal(store_count(engine->store), 0);
    free_sample(sample);
}

/* ---- Tails that no batch left ---- */

struct tail_trial {
    struct engine *engine;
    struct sample *sample;
    struct dice dice;
};

/* Open the sample with this behind it: the tail is dropped, with a copy. */
static void open_with_tail(const struct tail_trial *tail, struct slice bytes,
                           struct script *log_out)
{
    script_add(log_out, script_slice(&tail->sample->bytes));
    script_add(log_out, bytes);
    engine_place(tail->engine, script_slice(log_out));
    engine_open(tail->engine);
    model_expect(&tail->sample->models[BATCHES], tail->engine);
}

static void expect_tail_dropped(const struct tail_trial *tail, struct slice bytes)
{
    struct script log = {0};
    open_with_tail(tail, bytes, &log);
    expect_tail_saved(tail->engine, script_slice(&log), tail->sample->ends[BATCHES]);
    expect_clean_reopen(tail->engine, &tail->sample->models[BATCHES]);
    script_free(&log);
}

/* Space ahead is no damage: nothing is told of it or kept. */
static void expect_space_dropped(const struct tail_trial *tail, struct slice bytes)
{
    struct script log = {0};
    open_with_tail(tail, bytes, &log);
    assert_int_equal(engine_count_files(tail->engine, ".torn."), 0);
    assert_int_equal(engine_told(tail->engine, ""), 0);
    assert_int_equal(engine_log_length(tail->engine), tail->sample->ends[BATCHES]);
    expect_clean_reopen(tail->engine, &tail->sample->models[BATCHES]);
    script_free(&log);
}

static void f49_recover_drops_a_tail_of_zeros_or_garbage(void **state)
{
    struct tail_trial tail = {.engine = *state, .sample = make_sample(*state)};
    size_t few = watchdog_scaled(140, 3);
    const size_t lengths[] = {511, 512, 513, 1024, 4095, 4096, 4097, 8191, 8192};
    size_t more = sizeof lengths / sizeof lengths[0];
    uint8_t *bytes = malloc(8192);
    assert_non_null(bytes);
    dice_begin(&tail.dice);
    for (size_t i = 0; i < few + more; i++) {
        size_t length = i < few ? i + 1 : lengths[i - few];
        memset(bytes, 0, length);
        if (length < RECORD_HEADER_BYTES) {
            expect_tail_dropped(&tail, (struct slice){bytes, length});
        } else {
            expect_space_dropped(&tail, (struct slice){bytes, length});
        }
        for (size_t j = 0; j < length; j++) {
            bytes[j] = (uint8_t)(1 + dice_below(&tail.dice, 255)); /* never a header */
        }
        expect_tail_dropped(&tail, (struct slice){bytes, length});
        bytes[length - 1] = 0;
        expect_tail_dropped(&tail, (struct slice){bytes, length});
    }
    free(bytes);
    free_sample(tail.sample);
}

static void f52_recover_drops_a_tail_of_any_lengths(void **state)
{
    struct tail_trial tail = {.engine = *state, .sample = make_sample(*state)};
    const uint64_t lengths[] = {0,
                                1,
                                255,
                                UINT64_C(1) << 31,
                                UINT64_C(1) << 32,
                                UINT64_MAX,
                                INT64_MAX,
                                UINT64_MAX - 15,
                                UINT64_C(1) << 63,
                                UINT64_MAX - 16};
    enum { COUNT = sizeof lengths / sizeof lengths[0] };
    /* Each length is met on both sides by every third pair, too. */
    for (size_t i = 0; i < COUNT * COUNT; i += watchdog_scaled(1, 3)) {
        uint8_t bytes[RECORD_HEADER_BYTES + 24];
        memset(bytes, 'x', sizeof bytes);
        record_encode_header(bytes, lengths[i / COUNT], lengths[i % COUNT]);
        expect_tail_dropped(&tail, (struct slice){bytes, sizeof bytes});
    }
    free_sample(tail.sample);
}

/* As long as a batch, but its seal is wrong and no sector of it is missing. */
static void f49_recover_refuses_a_full_batch_with_a_bad_seal(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    uint8_t seal[SEAL_BYTES];
    for (size_t length = 1; length < 2000; length += 97) {
        struct script log = {0};
        script_add(&log, script_slice(&sample->bytes));
        script_add_random(&log, length, length);
        memset(seal, '5', sizeof seal);
        record_encode_header(seal, 0, SEAL_BYTES - RECORD_HEADER_BYTES);
        script_add(&log, (struct slice){seal, sizeof seal});
        engine_place(engine, script_slice(&log));
        expect_refused(engine, script_slice(&log), KV_CORRUPT);
        script_free(&log);
    }
    free_sample(sample);
}

/* Records that the original program appended behind our last seal are not thrown away. */
static void f60_recover_keeps_foreign_records_behind_the_last_seal(void **state)
{
    struct tail_trial tail = {.engine = *state, .sample = make_sample(*state)};
    struct image records = {0};
    image_put_text(&records, "foreign", "one");
    image_put_text(&records, "foreign", "two");
    image_delete(&records, "key-1");
    expect_tail_dropped(&tail, image_slice(&records));
    image_free(&records);
    free_sample(tail.sample);
}

/* ---- Damage ---- */

static void f50_recover_refuses_every_flip_before_the_last_batch(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    uint64_t end = sample->ends[BATCHES - 1];
    size_t step = watchdog_scaled(1, 331);
    for (size_t i = 0; i < end * 8; i += step) {
        sample->bytes.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        engine_place(engine, script_slice(&sample->bytes));
        expect_refused(engine, script_slice(&sample->bytes), KV_CORRUPT);
        sample->bytes.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    free_sample(sample);
}

/* Refuse, or drop the batch with a copy of it; anything else would be a wrong answer. */
static void expect_refused_or_dropped(struct engine *engine, const struct sample *sample,
                                      size_t batch)
{
    struct slice bytes = script_slice(&sample->bytes);
    engine_place(engine, bytes);
    enum status status = engine_try_open(engine);
    if (status != KV_OK) {
        assert_int_equal(status, KV_CORRUPT);
        engine_expect_file(engine, "", bytes);
        assert_int_equal(engine_count_files(engine, "kv.log"), 2);
        assert_int_equal(engine_told(engine, ""), 1);
        return;
    }
    model_expect(&sample->models[batch], engine);
    expect_tail_saved(engine, bytes, sample->ends[batch]);
    engine_close(engine);
}

static void f51_recover_never_serves_a_flip_in_the_last_batch(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    size_t step = watchdog_scaled(1, 67);
    for (size_t i = (size_t)sample->ends[BATCHES - 1] * 8; i < sample->bytes.length * 8;
         i += step) {
        sample->bytes.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        expect_refused_or_dropped(engine, sample, BATCHES - 1);
        sample->bytes.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    free_sample(sample);
}

/* At rest the last batch has a second seal: damage in it is known as such. */
static void f51_recover_refuses_a_flip_in_a_batch_at_rest(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    engine_open(engine);
    engine_close(engine);
    struct script bytes = engine_read(engine, "");
    assert_int_equal(bytes.length, sample->ends[BATCHES] + SEAL_BYTES);
    size_t step = watchdog_scaled(1, 5);
    for (size_t i = (size_t)sample->ends[BATCHES - 1]; i < sample->ends[BATCHES];
         i += step) {
        bytes.bytes[i] ^= (uint8_t)(1u << i % 8);
        engine_place(engine, script_slice(&bytes));
        expect_refused(engine, script_slice(&bytes), KV_CORRUPT);
        bytes.bytes[i] ^= (uint8_t)(1u << i % 8);
    }
    script_free(&bytes);
    free_sample(sample);
}

static void f53_recover_refuses_batches_out_of_order(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    const uint64_t *ends = sample->ends;
    struct slice all = script_slice(&sample->bytes);
    /* Pieces of the log, each from the end of one batch to the end of another. */
    const uint64_t orders[][6] = {
        {0, ends[0], ends[1], ends[6], 0, 0},             /* first batch removed */
        {0, ends[2], ends[3], ends[6], 0, 0},             /* one removed */
        {0, ends[3], ends[2], ends[6], 0, 0},             /* one doubled */
        {0, ends[6], ends[5], ends[6], 0, 0},             /* the last doubled */
        {0, ends[6], 0, ends[6], 0, 0},                   /* joined with itself */
        {0, ends[1], ends[2], ends[3], ends[1], ends[2]}, /* swapped */
    };
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        struct script log = {0};
        for (size_t j = 0; j < 6; j += 2) {
            struct slice piece = slice_first(all, (size_t)orders[i][j + 1]);
            script_add(&log, slice_after(piece, (size_t)orders[i][j]));
        }
        engine_place(engine, script_slice(&log));
        expect_refused(engine, script_slice(&log), KV_CORRUPT);
        script_free(&log);
    }
    free_sample(sample);
}

static void f55_recover_refuses_a_hole_in_the_middle(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    for (int i = 0; i < 100; i++) {
        engine_put(engine, model_key((size_t)i % MODEL_KEYS),
                   "a value that takes about a hundred bytes, so that a hundred of them "
                   "are more than two pages of memory");
    }
    engine_crash(engine);
    struct script whole = engine_read(engine, "");
    for (size_t from = 0; from + 4096 < whole.length - 512; from += 4096) {
        struct script log = {0};
        script_add(&log, script_slice(&whole));
        memset(log.bytes + from, 0, 4096);
        engine_place(engine, script_slice(&log));
        expect_refused(engine, script_slice(&log), KV_CORRUPT);
        memmove(log.bytes + from, whole.bytes + 512, 4096); /* a misdirected write */
        engine_place(engine, script_slice(&log));
        expect_refused(engine, script_slice(&log), KV_CORRUPT);
        script_free(&log);
    }
    script_free(&whole);
}

/* Zero the first whole sector at `from` or later, as a tear leaves it. */
static void lose_sector(struct script *bytes, uint64_t from)
{
    size_t start = ((size_t)from + 511) / 512 * 512;
    assert_true(start + 512 <= bytes->length);
    memset(bytes->bytes + start, 0, 512);
}

/* With --sync everysec the last second may be lost, but not what was synced before. */
static void f47_recover_cuts_an_unsynced_tail_of_several_batches(void **state)
{
    struct engine *engine = *state;
    static char value[2000];
    struct model models[5] = {0};
    uint64_t ends[5] = {0};
    memset(value, 'v', sizeof value - 1);
    engine->sync = SYNC_EVERYSEC;
    engine_open(engine);
    ends[0] = engine_log_length(engine);
    for (size_t i = 1; i < 5; i++) {
        models[i] = models[i - 1];
        engine_put(engine, model_key(i), value);
        model_set(&models[i], i, value);
        ends[i] = engine_log_length(engine);
        if (i == 1) {
            assert_int_equal(store_sync(engine->store), KV_OK);
        }
    }
    engine_crash(engine);
    struct script bytes = engine_read(engine, "");
    for (size_t lost = 4; lost > 1; lost--) { /* none of these was synced */
        lose_sector(&bytes, ends[lost - 1]);
        engine_place(engine, script_slice(&bytes));
        engine_open(engine);
        model_expect(&models[lost - 1], engine);
        expect_tail_saved(engine, script_slice(&bytes), ends[lost - 1]);
        engine_close(engine);
    }
    script_free(&bytes);
}

/* The same damage where a later seal says that the log had been durable. */
static void f50_recover_refuses_a_lost_sector_that_was_synced(void **state)
{
    struct engine *engine = *state;
    static char value[2000];
    memset(value, 'v', sizeof value - 1);
    engine->sync = SYNC_EVERYSEC;
    engine_open(engine);
    engine_put(engine, "a", value);
    assert_int_equal(store_sync(engine->store), KV_OK);
    engine_put(engine, "b", value);
    engine_crash(engine);
    struct script bytes = engine_read(engine, "");
    lose_sector(&bytes, OPENING_BYTES);
    engine_place(engine, script_slice(&bytes));
    expect_refused(engine, script_slice(&bytes), KV_CORRUPT);
    script_free(&bytes);
}

/* Pages of the log from `length` on cannot be read: nothing may be cut off or judged. */
static void expect_unreadable(struct engine *engine, struct slice bytes, size_t length)
{
    engine_place(engine, bytes);
    int fd = engine_map_instead(engine, SHIM_LOG, slice_first(bytes, length));
    expect_refused(engine, bytes, KV_IO);
    engine_map_again(SHIM_LOG, fd);
}

/* A log of several pages; released with script_free. */
static struct script make_pages(struct engine *engine)
{
    engine_open(engine);
    for (int i = 0; i < 200; i++) {
        engine_put(engine, "key", "a value that makes the log several pages long");
    }
    engine_crash(engine);
    return engine_read(engine, "");
}

static void f57_recover_takes_a_read_error_for_no_end_of_the_log(void **state)
{
    struct engine *engine = *state;
    engine_catch_sigbus();
    shim_omit_syncs();
    struct script bytes = make_pages(engine);
    for (size_t length = 4096; length < bytes.length; length += 4096) {
        expect_unreadable(engine, script_slice(&bytes), length);
    }
    script_free(&bytes);
}

static void f57_recover_does_not_judge_an_opening_that_cannot_be_read(void **state)
{
    struct engine *engine = *state;
    engine_catch_sigbus();
    shim_omit_syncs();
    struct script bytes = make_pages(engine);
    expect_unreadable(engine, script_slice(&bytes), 0);
    engine_place(engine, script_slice(&bytes));
    shim_lose_page(0); /* there are marks behind it */
    expect_refused(engine, script_slice(&bytes), KV_IO);
    script_free(&bytes);
}

/* ---- What a torn tail meets on its way aside ---- */

static void f51_recover_does_not_replace_another_copy(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    uint64_t offset = sample->ends[BATCHES - 1];
    struct slice bytes =
        slice_first(script_slice(&sample->bytes), (size_t)sample->ends[BATCHES] - 5);
    char first[64];
    char second[64];
    (void)snprintf(first, sizeof first, ".torn.%d", (int)offset);
    (void)snprintf(second, sizeof second, ".torn.%d.2", (int)offset);
    engine_place(engine, bytes);
    engine_write(engine, first, SLICE_LITERAL("from another crash"));
    engine_open(engine);
    model_expect(&sample->models[BATCHES - 1], engine);
    engine_expect_file(engine, first, SLICE_LITERAL("from another crash"));
    engine_expect_file(engine, second, slice_after(bytes, (size_t)offset));
    assert_int_equal(engine_told(engine, second), 1);
    free_sample(sample);
}

static void f30_recover_without_space_for_the_copy_touches_nothing(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    struct slice bytes =
        slice_first(script_slice(&sample->bytes), (size_t)sample->ends[BATCHES] - 5);
    uint64_t tail = bytes.length - sample->ends[BATCHES - 1];
    for (uint64_t room = 0; room < tail; room += watchdog_scaled(1, 5)) {
        engine_place(engine, bytes);
        shim_set_space(SHIM_TORN, room, ENOSPC);
        expect_refused(engine, bytes, KV_NO_SPACE);
    }
    shim_give_space();
    engine_forget_messages(engine);
    engine_open(engine);
    expect_tail_saved(engine, bytes, sample->ends[BATCHES - 1]);
    free_sample(sample);
}

/* ---- Recovery that fails on its way ---- */

/* Fail one call, or all from there on; then start again: the result is always the same.
 */
static void f56_recover_interrupted_anywhere_ends_the_same(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    const struct model *model = &sample->models[BATCHES - 1];
    struct slice torn =
        slice_first(script_slice(&sample->bytes), (size_t)sample->ends[BATCHES] - 5);
    const int errors[] = {EIO, ENOSPC, EINTR, EMFILE, ENOMEM};
    /* Which call fails decides where it goes on; with which errno, what it says. */
    for (size_t i = 0; i < 2 * watchdog_scaled(sizeof errors / sizeof errors[0], 1);
         i++) {
        bool has_fired = true;
        for (uint64_t nth = 1; has_fired; nth++) {
            engine_place(engine, torn);
            shim_inject(&(struct shim_fault){.calls = SHIM_FILES,
                                             .nth = nth,
                                             .error = errors[i / 2],
                                             .is_sticky = i % 2 == 1});
            if (i % 2 == 1 && errors[i / 2] == EINTR) {
                break; /* it would be retried for ever */
            }
            if (engine_try_open(engine) == KV_OK) {
                model_expect(model, engine);
                engine_crash(engine);
            }
            has_fired = shim_fired_count() > 0;
            shim_clear_faults();
            engine_open(engine);
            model_expect(model, engine);
            assert_int_equal(engine_log_length(engine), sample->ends[BATCHES - 1]);
            assert_int_equal(engine_count_files(engine, ".torn."), 1);
            assert_false(engine_has_file(engine, ".new"));
            expect_clean_reopen(engine, model);
        }
    }
    free_sample(sample);
}

static void f56_recover_saves_the_tail_durably_before_it_cuts(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    engine_place(engine, slice_first(script_slice(&sample->bytes),
                                     (size_t)sample->ends[BATCHES] - 5));
    engine_open(engine);
    const unsigned order = SHIM_BIT(SHIM_PWRITE) | SHIM_BIT(SHIM_FDATASYNC) |
                           SHIM_BIT(SHIM_RENAMEAT) | SHIM_BIT(SHIM_FSYNC) |
                           SHIM_BIT(SHIM_FTRUNCATE);
    assert_string_equal(
        shim_trace_text(order),
        "fsync:directory fdatasync:log pwrite:torn fdatasync:torn fsync:directory "
        "ftruncate:log fdatasync:log");
    free_sample(sample);
}

/* ---- Files that are no log ---- */

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

static void f95_recover_names_a_damaged_opening_record(void **state)
{
    struct engine *engine = *state;
    struct sample *sample = make_sample(engine);
    struct slice bytes = script_slice(&sample->bytes);
    for (size_t length = 1; length <= OPENING_BYTES; length += 9) {
        struct script log = {0};
        script_add(&log, bytes);
        memset(log.bytes, 'x', length);
        engine_place(engine, script_slice(&log));
        expect_refused(engine, script_slice(&log), KV_CORRUPT);
        assert_int_equal(engine_told(engine, "damaged at offset 0"), 1);
        script_free(&log);
    }
    free_sample(sample);
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

static void recover_opens_an_image_of_the_format(void **state)
{
    struct engine *engine = *state;
    struct image image;
    image_begin_first(&image);
    image_put_text(&image, "key", "value");
    image_put_text(&image, "other", "x");
    image_seal(&image);
    image_delete(&image, "other");
    image_delete(&image, "never there");
    image_seal(&image);
    engine_place(engine, image_slice(&image));
    engine_open(engine);
    engine_expect(engine, "key", "value");
    engine_expect(engine, "other", NULL);
    assert_int_equal(store_count(engine->store), 1);
    assert_int_equal(engine_told(engine, ""), 0);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f48_recover_keeps_the_whole_batches_before_any_cut),
        ON_ENGINE(f48_recover_appends_behind_a_cut_tail),
        ON_ENGINE(f61_recover_refuses_a_log_shorter_than_its_opening),
        ON_ENGINE(f49_recover_drops_a_tail_of_zeros_or_garbage),
        ON_ENGINE(f52_recover_drops_a_tail_of_any_lengths),
        ON_ENGINE(f49_recover_refuses_a_full_batch_with_a_bad_seal),
        ON_ENGINE(f60_recover_keeps_foreign_records_behind_the_last_seal),
        ON_ENGINE(f50_recover_refuses_every_flip_before_the_last_batch),
        ON_ENGINE(f51_recover_never_serves_a_flip_in_the_last_batch),
        ON_ENGINE(f51_recover_refuses_a_flip_in_a_batch_at_rest),
        ON_ENGINE(f53_recover_refuses_batches_out_of_order),
        ON_ENGINE(f55_recover_refuses_a_hole_in_the_middle),
        ON_ENGINE(f47_recover_cuts_an_unsynced_tail_of_several_batches),
        ON_ENGINE(f50_recover_refuses_a_lost_sector_that_was_synced),
        ON_ENGINE(f57_recover_takes_a_read_error_for_no_end_of_the_log),
        ON_ENGINE(f57_recover_does_not_judge_an_opening_that_cannot_be_read),
        ON_ENGINE(f51_recover_does_not_replace_another_copy),
        ON_ENGINE(f30_recover_without_space_for_the_copy_touches_nothing),
        ON_ENGINE(f56_recover_interrupted_anywhere_ends_the_same),
        ON_ENGINE(f56_recover_saves_the_tail_durably_before_it_cuts),
        ON_ENGINE(f95_recover_refuses_what_is_no_log),
        ON_ENGINE(f95_recover_names_a_damaged_opening_record),
        ON_ENGINE(recover_refuses_a_format_of_the_future),
        ON_ENGINE(recover_opens_a_log_of_version_1_for_ever),
        ON_ENGINE(recover_opens_an_image_of_the_format),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
