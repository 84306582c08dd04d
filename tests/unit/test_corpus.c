/*
 * The damage corpus: one log, hurt in every way that bits, sectors and misplaced blocks
 * can be, and opened by the store each time. A log must open with the state of a whole
 * number of its batches, or be refused with every byte as it was; and what another batch
 * follows must never be missing from a log that opens.
 */
#include "base/bounds.h"
#include "base/bytes.h"
#include "support/dice.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/keyed.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BATCHES = 52,
    BLOCK_BYTES = 4096,
    TAIL_BYTES_MAX = 8192,
    NAME_BYTES = 160,
    SHOWN_MAX = 10
};

/* A log by the store, where each batch ends in it, and what it holds up to there. */
struct corpus {
    struct script log;          /* as kill -9 right after the last batch leaves it */
    struct script rested;       /* as a clean stop leaves it, with a seal more */
    uint64_t ends[BATCHES + 1]; /* ends[0]: of the opening record */
    struct model states[BATCHES + 1];
};

/* What may become of a damaged log. */
struct allowed {
    bool refusal;
    size_t batches_min; /* of a log that opens */
    size_t batches_max;
};

/* One kind of damage: all its cases and how they ended. *state of each test is one. */
struct trial {
    struct engine *engine;
    struct corpus *corpus;
    struct image image;    /* what the case at hand hurts, see hurt */
    char name[NAME_BYTES]; /* of the case at hand */
    size_t cases;
    size_t refused;
    size_t opened_whole; /* with the last batch */
    size_t opened_less;  /* without it, as allowed */
    size_t silent_losses;
    size_t violations;
    uint64_t space_bytes; /* of the image, behind the last batch */
};

static const struct allowed refusal_only = {true, 1, 0};

static struct allowed opens_with(size_t batches)
{
    return (struct allowed){false, batches, batches};
}

/* ---- The corpus ---- */

/* Values of every kind that may look like something else in a log. */
static const char *value_of(size_t batch)
{
    static char text[MODEL_VALUE_BYTES];
    static const char *const kinds[] = {
        "",
        "0",
        "5ea10123",
        "\xd0\xb7\xd0\xbd\xd0\xb0\xd1\x87\xd0\xb5\xd0\xbd\xd0\xb8\xd0\xb5",
        " two words and spaces at both ends ",
        "6b762d73746f7265000100000000000000000000000000000000",
    };
    size_t kind = batch % (sizeof kinds / sizeof kinds[0] + 1);
    if (kind < sizeof kinds / sizeof kinds[0]) {
        return kinds[kind];
    }
    (void)snprintf(text, sizeof text, "%0100zu", batch); /* fits */
    return text;
}

static void set(struct engine *engine, struct model *model, size_t key, const char *value)
{
    assert_int_equal(engine_set(engine, model_key(key), value), KV_OK);
    model_set(model, key, value);
}

/* Key 0 tells the number of the batch, so that a state is known by it. */
static void put_batch(struct engine *engine, struct model *model, size_t batch)
{
    char number[16];
    (void)snprintf(number, sizeof number, "batch-%02zu", batch); /* fits */
    set(engine, model, 0, number);
    set(engine, model, 1 + batch % (MODEL_KEYS - 1), value_of(batch));
    if (batch % 3 == 0) {
        size_t key = 1 + (batch + 4) % (MODEL_KEYS - 1);
        enum status status = engine_delete(engine, model_key(key));
        assert_int_equal(status, model->has[key] ? KV_OK : KV_NOT_FOUND);
        model_delete(model, key);
    }
    if (batch % 4 == 1) {
        set(engine, model, 1 + (batch + 7) % (MODEL_KEYS - 1), value_of(batch + 3));
    }
    assert_int_equal(store_commit(engine->store), KV_OK);
}

static struct corpus *corpus_begin(struct engine *engine)
{
    struct corpus *corpus = calloc(1, sizeof *corpus);
    assert_non_null(corpus);
    engine_open(engine);
    corpus->ends[0] = engine_log_length(engine);
    for (size_t batch = 1; batch <= BATCHES; batch++) {
        corpus->states[batch] = corpus->states[batch - 1];
        put_batch(engine, &corpus->states[batch], batch);
        corpus->ends[batch] = engine_log_length(engine);
    }
    corpus->log = engine_read(engine, "");
    engine_close(engine);
    corpus->rested = engine_read(engine, "");
    assert_in_range(corpus->log.length, 8 * KIB, 64 * KIB);
    assert_int_equal(corpus->rested.length, corpus->log.length + SEAL_BYTES);
    return corpus;
}

static void corpus_end(struct corpus *corpus)
{
    script_free(&corpus->log);
    script_free(&corpus->rested);
    free(corpus);
}

/* The batch that a place belongs to; 0: the opening record. */
static size_t batch_at(const struct corpus *corpus, uint64_t place)
{
    size_t batch = 0;
    while (batch < BATCHES && corpus->ends[batch] <= place) {
        batch++;
    }
    return batch;
}

/* How many whole batches stand before a place. */
static size_t batches_before(const struct corpus *corpus, uint64_t place)
{
    size_t batches = 0;
    while (batches < BATCHES && corpus->ends[batches + 1] <= place) {
        batches++;
    }
    return batches;
}

/* ---- A test ---- */

static struct trial *trial_begin(void **state, enum sync_policy sync)
{
    struct trial *trial = calloc(1, sizeof *trial);
    assert_non_null(trial);
    assert_int_equal(engine_setup(state), 0);
    trial->engine = *state;
    trial->engine->sync = sync;
    trial->corpus = corpus_begin(trial->engine);
    return trial;
}

static int trial_setup(void **state)
{
    *state = trial_begin(state, SYNC_ALWAYS);
    return 0;
}

/* With seals that lag behind. */
static int trial_setup_everysec(void **state)
{
    *state = trial_begin(state, SYNC_EVERYSEC);
    return 0;
}

static int trial_teardown(void **state)
{
    struct trial *trial = *state;
    *state = trial->engine;
    image_free(&trial->image);
    corpus_end(trial->corpus);
    free(trial);
    return engine_teardown(state);
}

/* The image of the trial, with the bytes of a log; what was in it before is gone. */
static struct image *hurt(struct trial *trial, const struct script *log)
{
    image_free(&trial->image);
    trial->image = (struct image){.log_id = 0};
    image_append(&trial->image, script_slice(log));
    return &trial->image;
}

/* ---- The judge ---- */

static void name_case(struct trial *trial, const char *kind, uint64_t place,
                      uint64_t detail)
{
    (void)snprintf(trial->name, sizeof trial->name, "%s %" PRIu64 ", %" PRIu64, kind,
                   place, detail); /* cut if need be */
}

static void complain(struct trial *trial, const char *what)
{
    trial->violations++;
    if (trial->violations <= SHOWN_MAX) {
        print_message("  VIOLATION at %s: %s\n", trial->name, what);
    }
}

static void expect_no_violation(const struct trial *trial, const char *what)
{
    print_message("  %s: %zu cases, %zu refused untouched, %zu opened whole, %zu opened "
                  "without what may be missing, %zu silent losses\n",
                  what, trial->cases, trial->refused, trial->opened_whole,
                  trial->opened_less, trial->silent_losses);
    assert_int_equal(trial->silent_losses, 0);
    assert_int_equal(trial->violations, 0);
}

/* There are so many cases that the messages of earlier ones must go. */
static void forget_messages(struct engine *engine)
{
    assert_int_equal(truncate(engine->messages.path, 0), 0);
    engine_forget_messages(engine);
}

static bool has_bytes(struct engine *engine, const char *suffix, struct slice bytes)
{
    if (!engine_has_file(engine, suffix)) {
        return false;
    }
    struct script file = engine_read(engine, suffix);
    bool is_same = slice_equal(script_slice(&file), bytes);
    script_free(&file);
    return is_same;
}

static void judge_refusal(struct trial *trial, struct slice damaged)
{
    trial->refused++;
    if (!has_bytes(trial->engine, "", damaged)) {
        complain(trial, "the refused log was changed");
    }
    if (engine_count_files(trial->engine, "kv.log") != 2) {
        complain(trial, "a refusal left more than the log and the lock");
    }
    if (engine_told(trial->engine, trial->engine->log.path) == 0) {
        complain(trial, "the operator was not told which file is damaged");
    }
}

/* How many batches the open store holds; BATCHES + 1 if its state is that of none. */
static size_t count_batches(struct trial *trial)
{
    struct slice value;
    size_t batches = 0;
    struct store *store = trial->engine->store;
    if (keyed_get(store, slice_of_text(model_key(0)), &value) == KV_OK) {
        while (batches <= BATCHES &&
               !slice_equal(value,
                            slice_of_text(trial->corpus->states[batches].values[0]))) {
            batches++;
        }
    }
    if (batches > BATCHES ||
        !model_matches(&trial->corpus->states[batches], trial->engine)) {
        return BATCHES + 1;
    }
    model_expect(&trial->corpus->states[batches], trial->engine);
    return batches;
}

/* Whether a tail is what a served log has behind its last batch. */
static bool is_space(struct slice tail)
{
    struct record space;
    return record_decode(tail, &space) && space.key.length == 0 &&
           slice_is_zero(slice_after(tail, RECORD_HEADER_BYTES));
}

/* What stood behind the last batch was saved and told, and the log ends with that batch.
 */
static void judge_tail(struct trial *trial, struct slice damaged, uint64_t end)
{
    char suffix[64];
    char told[64];
    struct engine *engine = trial->engine;
    if (!has_bytes(engine, "", slice_first(damaged, (size_t)end))) {
        complain(trial, "the log was not cut to its last whole batch");
    }
    size_t torn_count = engine_count_files(engine, "kv.log.torn.");
    if (damaged.length == end || is_space(slice_after(damaged, (size_t)end))) {
        if (torn_count != 0) {
            complain(trial, "a tail was saved where there was none");
        }
        return;
    }
    (void)snprintf(suffix, sizeof suffix, ".torn.%" PRIu64, end); /* fits */
    (void)snprintf(told, sizeof told, "at offset %" PRIu64 ": %" PRIu64 " bytes", end,
                   (uint64_t)damaged.length - end); /* fits */
    if (torn_count != 1 ||
        !has_bytes(engine, suffix, slice_after(damaged, (size_t)end))) {
        complain(trial, "the tail that was cut off was not saved");
    }
    if (engine_told(engine, told) != 1) {
        complain(trial, "the operator was not told offset and length of the tail");
    }
}

/* How the state of the open store compares with what is allowed. */
static size_t judge_state(struct trial *trial, struct allowed allowed)
{
    size_t batches = count_batches(trial);
    if (batches > BATCHES) {
        complain(trial, "opened with a state that no number of batches gives");
    } else if (batches < allowed.batches_min) {
        trial->silent_losses++;
        complain(trial, "opened without batches that it held");
    } else if (batches > allowed.batches_max) {
        complain(trial, "opened with batches that it cannot vouch for");
    }
    trial->opened_whole += batches == BATCHES;
    trial->opened_less += batches < BATCHES;
    return batches;
}

static void judge_opened(struct trial *trial, struct slice damaged,
                         struct allowed allowed)
{
    struct engine *engine = trial->engine;
    size_t batches = judge_state(trial, allowed);
    /* An empty file becomes a log with an opening record. */
    if (batches <= BATCHES && damaged.length > 0) {
        judge_tail(trial, damaged, trial->corpus->ends[batches]);
    }
    engine_close(engine);
    forget_messages(engine);
    engine_open(engine);
    if (count_batches(trial) != batches || engine_told(engine, "") != 0) {
        complain(trial, "the second start differs from the first");
    }
    engine_close(engine);
}

/* Returns whether the log was opened. */
static bool judge(struct trial *trial, struct slice damaged, struct allowed allowed)
{
    trial->cases++;
    engine_write(trial->engine, "", damaged);
    forget_messages(trial->engine);
    enum status status = engine_try_open(trial->engine);
    if (status == KV_OK && allowed.batches_min > allowed.batches_max) {
        trial->silent_losses++;
        complain(trial, "opened, though it is not what the store wrote");
        engine_close(trial->engine);
    } else if (status == KV_OK) {
        judge_opened(trial, damaged, allowed);
    }
    if (status == KV_OK) {
        engine_clean(trial->engine);
        return true;
    }
    if (status != KV_CORRUPT) {
        complain(trial, status_text(status));
    } else if (!allowed.refusal) {
        complain(trial, "refused, though nothing that was durable is missing");
    }
    judge_refusal(trial, damaged);
    return false;
}

/* ---- F50, F51: bits ---- */

/* Whether the sector share rule leaves a tear possible; written after its text alone. */
static bool has_missing_sector(struct slice log, uint64_t from)
{
    for (uint64_t at = from; at < log.length;) {
        uint64_t end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        bool is_zero = true;
        for (; at < end && at < log.length; at++) {
            is_zero = is_zero && log.bytes[at] == 0;
        }
        if (is_zero) {
            return true;
        }
    }
    return false;
}

static void flip(struct trial *trial, struct image *image, uint64_t bit)
{
    const struct corpus *corpus = trial->corpus;
    uint64_t offset = bit / 8;
    size_t batch = batch_at(corpus, offset);
    struct allowed allowed = refusal_only;
    image_flip(image, offset, (unsigned)(bit % 8));
    uint64_t start = batch == 0 ? 0 : corpus->ends[batch - 1];
    if (corpus->ends[batch] == image->log.length - trial->space_bytes &&
        has_missing_sector(slice_first(image_slice(image), corpus->ends[batch]), start)) {
        allowed = (struct allowed){true, BATCHES - 1, BATCHES - 1};
    }
    name_case(trial, "byte and bit", offset, bit % 8);
    if (!judge(trial, image_slice(image), allowed)) {
        char told[64];
        (void)snprintf(told, sizeof told, "damaged at offset %" PRIu64, start); /* fits */
        if (engine_told(trial->engine, told) != 1) {
            complain(trial, "the operator was not told where the damage is");
        }
    }
    image_flip(image, offset, (unsigned)(bit % 8));
}

static void f50_f51_any_flipped_bit_is_found(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->log);
    uint64_t step = watchdog_scaled(1, 17);
    for (uint64_t bit = 0; bit < image->log.length * 8; bit += step) {
        flip(trial, image, bit);
    }
    assert_true(watchdog_is_slow() || trial->cases >= 65536);
    expect_no_violation(trial, "bits of a log whose last batch has one seal");
}

/* As kill -9 leaves a log that had space ahead. */
static struct image *hurt_served(struct trial *trial, uint64_t space_bytes)
{
    uint8_t header[RECORD_HEADER_BYTES];
    struct image *image = hurt(trial, &trial->corpus->log);
    record_encode_header(header, 0, space_bytes - sizeof header);
    image_append(image, (struct slice){header, sizeof header});
    image_grow(image, space_bytes - sizeof header, 0);
    trial->space_bytes = space_bytes;
    return image;
}

/* Zeros behind the last batch make no damage in it, or before it, less certain. */
static void f50_f51_f115_any_flipped_bit_is_found_before_space_ahead(void **state)
{
    struct trial *trial = *state;
    struct image *image = hurt_served(trial, 3000);
    uint64_t first = trial->corpus->ends[BATCHES - 3];
    uint64_t end = trial->corpus->ends[BATCHES];
    uint64_t step = watchdog_scaled(1, 17);
    for (uint64_t bit = 0; bit < first * 8; bit += 13 * step) {
        flip(trial, image, bit);
    }
    for (uint64_t bit = first * 8; bit < end * 8; bit += step) {
        flip(trial, image, bit);
    }
    for (uint64_t bit = end * 8; bit < image->log.length * 8; bit += step) {
        bool is_in_header = bit < (end + RECORD_HEADER_BYTES) * 8;
        image_flip(image, bit / 8, (unsigned)(bit % 8));
        name_case(trial, "byte and bit of the space", bit / 8, bit % 8);
        (void)judge(trial, image_slice(image), opens_with(BATCHES));
        image_flip(image, bit / 8, (unsigned)(bit % 8));
        bit += is_in_header ? 0 : 97;
    }
    expect_no_violation(trial, "bits of a log with space ahead");
}

/* The seal that a clean stop adds protects the last batch as each one protects others. */
static void f50_any_flipped_bit_of_a_log_at_rest_is_found(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->rested);
    uint64_t step = watchdog_scaled(1, 17);
    uint64_t end = corpus->ends[BATCHES] * 8;
    for (uint64_t bit = corpus->ends[BATCHES - 2] * 8; bit < end; bit += step) {
        flip(trial, image, bit);
    }
    expect_no_violation(trial, "bits of the last batches of a log at rest");
}

/* Nothing but an empty batch is at stake in the second seal. */
static void f51_a_flipped_bit_in_the_second_seal_loses_nothing(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->rested);
    for (uint64_t offset = corpus->ends[BATCHES]; offset < image->log.length; offset++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            image_flip(image, offset, bit);
            name_case(trial, "byte and bit", offset, bit);
            (void)judge(trial, image_slice(image),
                        (struct allowed){true, BATCHES, BATCHES});
            image_flip(image, offset, bit);
        }
    }
    expect_no_violation(trial, "bits of the second seal");
}

/* Under everysec the seals lag behind, and the tail to judge is many batches long. */
static void f50_flipped_bits_are_found_where_seals_lag(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->log);
    uint64_t step = watchdog_scaled(7, 171);
    for (uint64_t bit = 0; bit < image->log.length * 8; bit += step) {
        uint64_t offset = bit / 8;
        size_t batch = batch_at(corpus, offset);
        image_flip(image, offset, (unsigned)(bit % 8));
        bool is_undecidable =
            batch > 0 && has_missing_sector(image_slice(image), corpus->ends[batch - 1]);
        name_case(trial, "byte and bit", offset, bit % 8);
        (void)judge(trial, image_slice(image),
                    is_undecidable ? (struct allowed){true, batch - 1, batch - 1}
                                   : refusal_only);
        image_flip(image, offset, (unsigned)(bit % 8));
    }
    expect_no_violation(trial, "bits of a log that was never synced");
}

/* ---- F48, F54, F61: cuts ---- */

/*
 * Cut exactly at a seal, a log alone cannot tell that there was more. A file of no bytes
 * was made by nobody's crash, since a log gets its name with its opening record in it.
 */
static void f48_f54_f61_every_cut_leaves_the_newest_whole_batch(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct slice log = script_slice(&corpus->log);
    uint64_t step = watchdog_scaled(1, 17);
    for (uint64_t length = 0; length <= log.length; length += step) {
        name_case(trial, "cut to", length, log.length);
        bool is_no_log = length > 0 && length < corpus->ends[0];
        (void)judge(trial, slice_first(log, (size_t)length),
                    is_no_log ? refusal_only
                              : opens_with(batches_before(corpus, length)));
    }
    expect_no_violation(trial, "cuts");
}

static void f48_f115_every_cut_of_space_ahead_leaves_all_batches(void **state)
{
    struct trial *trial = *state;
    struct image *image = hurt_served(trial, 1500);
    uint64_t end = trial->corpus->ends[BATCHES];
    uint64_t step = watchdog_scaled(1, 17);
    for (uint64_t length = end; length <= image->log.length; length += step) {
        name_case(trial, "space cut to", length, image->log.length);
        (void)judge(trial, slice_first(image_slice(image), (size_t)length),
                    opens_with(BATCHES));
    }
    expect_no_violation(trial, "cuts of space ahead");
}

/* ---- F49: tails ---- */

static void f49_a_tail_of_zeros_is_cut_off(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->log);
    uint64_t step = watchdog_scaled(1, 97);
    for (uint64_t count = 1; count <= TAIL_BYTES_MAX; count += step) {
        image_grow(image, count, 0);
        name_case(trial, "zeros", count, 0);
        (void)judge(trial, image_slice(image), opens_with(BATCHES));
        image_cut(image, corpus->log.length);
    }
    expect_no_violation(trial, "tails of zeros");
}

static void fill_random(struct dice *dice, uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)dice_next(dice);
    }
}

static void f49_a_tail_of_garbage_is_cut_off(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct dice dice;
    uint8_t garbage[TAIL_BYTES_MAX];
    dice_begin(&dice);
    struct image *image = hurt(trial, &corpus->log);
    uint64_t step = watchdog_scaled(1, 97);
    for (uint64_t count = 1; count <= TAIL_BYTES_MAX; count += step) {
        fill_random(&dice, garbage, (size_t)count);
        image_append(image, (struct slice){garbage, (size_t)count});
        name_case(trial, "garbage", count, 0);
        (void)judge(trial, image_slice(image), opens_with(BATCHES));
        image_cut(image, corpus->log.length);
    }
    expect_no_violation(trial, "tails of garbage");
}

/* The length of the file says that all of the batch was written, so it was no tear. */
static void f49_garbage_that_ends_in_a_seal_is_refused(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct dice dice;
    uint8_t garbage[TAIL_BYTES_MAX];
    uint8_t mark[SEAL_BYTES];
    struct opening opening;
    dice_begin(&dice);
    assert_true(record_decode_opening(script_slice(&corpus->log), &opening));
    struct image *image = hurt(trial, &corpus->log);
    uint64_t step = watchdog_scaled(13, 397);
    for (uint64_t count = 8; count <= TAIL_BYTES_MAX; count += step) {
        fill_random(&dice, garbage, (size_t)count);
        garbage[0] = 0xff; /* so that no sector's share is zero by chance */
        struct seal seal = {opening.log_id, corpus->log.length,
                            (uint32_t)dice_next(&dice)};
        image_append(image, (struct slice){garbage, (size_t)count});
        record_encode_seal(mark, &seal, image->log.length);
        image_append(image, (struct slice){mark, sizeof mark});
        name_case(trial, "garbage and a seal", count, 0);
        (void)judge(trial, image_slice(image), refusal_only);
        image_cut(image, corpus->log.length);
    }
    expect_no_violation(trial, "garbage that ends in a seal");
}

/* ---- F52: lengths ---- */

static void put_lengths(struct trial *trial, struct image *image, uint64_t at)
{
    static const uint64_t lengths[] = {
        0,
        1,
        (UINT64_C(1) << 31),
        (UINT64_C(1) << 32) - 1,
        (UINT64_C(1) << 48),
        (UINT64_C(1) << 63) - 1,
        (UINT64_C(1) << 63),
        UINT64_MAX - 15,
        UINT64_MAX,
    };
    enum { COUNT = sizeof lengths / sizeof lengths[0] };
    uint8_t kept[RECORD_HEADER_BYTES];
    uint8_t *header = image->log.bytes + at;
    const struct corpus *corpus = trial->corpus;
    bool is_last = batch_at(corpus, at) == BATCHES;
    memcpy(kept, header, sizeof kept);
    for (size_t i = 0; i < (size_t)COUNT * COUNT; i++) {
        bytes_put_u64(header, lengths[i / COUNT]);
        bytes_put_u64(header + 8, lengths[i % COUNT]);
        if (memcmp(header, kept, sizeof kept) != 0) {
            struct allowed allowed = refusal_only;
            if (is_last &&
                has_missing_sector(image_slice(image), corpus->ends[BATCHES - 1])) {
                allowed = (struct allowed){true, BATCHES - 1, BATCHES - 1};
            }
            name_case(trial, "lengths at", at, i);
            (void)judge(trial, image_slice(image), allowed);
        }
        memcpy(header, kept, sizeof kept);
    }
}

static void f52_impossible_lengths_are_damage(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->log);
    struct record record;
    size_t number = 0;
    size_t step = watchdog_scaled(1, 29);
    for (uint64_t at = 0; at < image->log.length; number++) {
        assert_true(record_decode(slice_after(image_slice(image), (size_t)at), &record));
        uint64_t length = record.length;
        if (number % step == 0) {
            put_lengths(trial, image, at);
        }
        at += length;
    }
    expect_no_violation(trial, "lengths in the header of each record");
}

/* Behind the last seal the same lengths are only the start of a record that was cut. */
static void f52_impossible_lengths_in_a_tail_are_cut_off(void **state)
{
    static const uint64_t lengths[] = {0, 1, UINT64_C(1) << 31, UINT64_C(1) << 63,
                                       UINT64_MAX};
    enum { COUNT = sizeof lengths / sizeof lengths[0] };
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->log);
    for (size_t i = 0; i < (size_t)COUNT * COUNT; i++) {
        uint8_t header[RECORD_HEADER_BYTES + 8] = {0};
        record_encode_header(header, lengths[i / COUNT], lengths[i % COUNT]);
        image_append(image, (struct slice){header, sizeof header});
        name_case(trial, "lengths", i / COUNT, i % COUNT);
        (void)judge(trial, image_slice(image), opens_with(BATCHES));
        image_cut(image, corpus->log.length);
    }
    expect_no_violation(trial, "lengths in a tail");
}

/* ---- F53: batches out of place ---- */

static struct slice batch_bytes(const struct corpus *corpus, size_t batch)
{
    struct slice log = script_slice(&corpus->log);
    return slice_first(slice_after(log, (size_t)corpus->ends[batch - 1]),
                       (size_t)(corpus->ends[batch] - corpus->ends[batch - 1]));
}

/* Without its last batch a log is one that never had it. */
static void f53_a_removed_batch_is_missed(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    for (size_t batch = 1; batch < BATCHES; batch++) {
        for (size_t last = batch; last < BATCHES; last++) {
            struct image *image = hurt(trial, &corpus->log);
            image_remove(image, corpus->ends[batch - 1], corpus->ends[last]);
            name_case(trial, "removed batches", batch, last);
            (void)judge(trial, image_slice(image), refusal_only);
        }
    }
    expect_no_violation(trial, "runs of batches removed");
}

static void f53_a_doubled_batch_is_noticed(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    for (size_t batch = 1; batch <= BATCHES; batch++) {
        for (size_t place = 0; place <= BATCHES; place++) {
            struct image *image = hurt(trial, &corpus->log);
            image_insert(image, corpus->ends[place], batch_bytes(corpus, batch));
            name_case(trial, "batch put again behind", batch, place);
            (void)judge(trial, image_slice(image), refusal_only);
        }
    }
    expect_no_violation(trial, "batches written again, anywhere");
}

static void f53_swapped_batches_are_noticed(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    for (size_t batch = 1; batch < BATCHES; batch++) {
        struct image *image = hurt(trial, &corpus->log);
        image_remove(image, corpus->ends[batch], corpus->ends[batch + 1]);
        image_insert(image, corpus->ends[batch - 1], batch_bytes(corpus, batch + 1));
        assert_int_equal(image->log.length, corpus->log.length);
        name_case(trial, "batch and its neighbour", batch, batch + 1);
        (void)judge(trial, image_slice(image), refusal_only);
    }
    expect_no_violation(trial, "neighbours swapped");
}

/* The same log again, another log, or either without its opening record. */
static void f53_joined_logs_are_noticed(void **state)
{
    struct trial *trial = *state;
    struct engine *engine = trial->engine;
    const struct corpus *corpus = trial->corpus;
    engine_clean(engine);
    assert_int_equal(unlink(engine->log.path), 0);
    struct corpus *other = corpus_begin(engine);
    const struct script *const joined[] = {&corpus->log, &corpus->rested, &other->log,
                                           &other->rested};
    for (size_t i = 0; i < 2 * sizeof joined / sizeof joined[0]; i++) {
        struct image *image = hurt(trial, &corpus->log);
        size_t from = i % 2 == 0 ? 0 : (size_t)corpus->ends[0];
        image_append(image, slice_after(script_slice(joined[i / 2]), from));
        name_case(trial, "joined", i / 2, from);
        (void)judge(trial, image_slice(image), refusal_only);
    }
    expect_no_violation(trial, "logs joined");
    corpus_end(other);
}

/* ---- F53 wherever a sector may begin ---- */

enum { SMALL_BATCHES = 5 };

/* A small log whose second batch begins `shift` bytes later than it would. */
static void make_shifted(struct image *image, uint64_t ends[SMALL_BATCHES + 1],
                         size_t shift)
{
    char filler[2 * SECTOR_BYTES];
    assert_in_range(shift, 0, sizeof filler - 1);
    memset(filler, 'f', sizeof filler);
    filler[shift] = '\0';
    image_begin_first(image);
    ends[0] = image->log.length;
    for (size_t batch = 1; batch <= SMALL_BATCHES; batch++) {
        if (batch == 1) {
            image_put_text(image, "filler", filler);
        } else if (batch != 4) { /* a seal alone is a batch as well */
            image_put_text(image, "key", batch % 2 == 0 ? "even" : "odd");
        }
        image_seal(image);
        ends[batch] = image->log.length;
    }
}

/* Every damage that moves what follows it, to the place of one batch. */
static void move_batches(struct trial *trial, size_t shift, size_t batch)
{
    static const char *const kinds[] = {"removed", "doubled", "own log joined",
                                        "other log joined"};
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        struct image image;
        struct image other;
        uint64_t ends[SMALL_BATCHES + 1];
        make_shifted(&image, ends, shift);
        struct opening opening = {.version = RECORD_FORMAT_VERSION,
                                  .log_id = IMAGE_FOREIGN_ID,
                                  .generation = 1};
        image_begin(&other, &opening);
        image_put_text(&other, "other", "log");
        image_seal(&other);
        if (kind == 0) {
            image_remove(&image, ends[batch - 1], ends[batch]);
        } else if (kind == 1) {
            struct script copy = {0};
            script_add(&copy, slice_first(slice_after(image_slice(&image),
                                                      (size_t)ends[batch - 1]),
                                          (size_t)(ends[batch] - ends[batch - 1])));
            image_insert(&image, ends[batch - 1], script_slice(&copy));
            script_free(&copy);
        } else {
            struct script copy = {0};
            script_add(&copy, image_slice(kind == 2 ? &image : &other));
            image_cut(&image, ends[batch]);
            image_append(&image, script_slice(&copy));
            script_free(&copy);
        }
        (void)snprintf(trial->name, sizeof trial->name, "batch %zu %s, shift %zu", batch,
                       kinds[kind], shift); /* cut if need be */
        (void)judge(trial, image_slice(&image), refusal_only);
        image_free(&other);
        image_free(&image);
    }
}

/*
 * Records begin with zero bytes. Where a sector ends among them they look like a sector
 * that never reached the disk, and a moved batch like a torn one.
 */
static void f53_moved_batches_are_noticed_at_every_sector_offset(void **state)
{
    struct trial *trial = *state;
    size_t step = watchdog_scaled(1, 37);
    for (size_t shift = 0; shift < SECTOR_BYTES; shift += step) {
        for (size_t batch = 2; batch < SMALL_BATCHES; batch++) {
            move_batches(trial, shift, batch);
        }
    }
    expect_no_violation(trial, "batches moved, at every offset in a sector");
}

/*
 * The end of a batch in zeros, as a sector that was lost leaves it: were it not for the
 * seal behind it, that could be a torn write. The last batch has no such seal.
 */
static void f50_f55_a_lost_sector_of_a_durable_batch_is_no_torn_write(void **state)
{
    struct trial *trial = *state;
    size_t step = watchdog_scaled(1, 37);
    for (size_t shift = 0; shift < SECTOR_BYTES; shift += step) {
        for (size_t batch = 2; batch < SMALL_BATCHES; batch++) {
            struct image image;
            uint64_t ends[SMALL_BATCHES + 1];
            make_shifted(&image, ends, shift);
            uint64_t start = ends[batch - 1];
            uint64_t end = (start / SECTOR_BYTES + 1) * SECTOR_BYTES;
            /* Fewer than 16 zeros may be what the record begins with anyway. */
            if (end - start >= RECORD_HEADER_BYTES && end <= ends[batch]) {
                image_fill(&image, start, end, 0);
                name_case(trial, "sector lost of batch, shift", batch, shift);
                (void)judge(trial, image_slice(&image), refusal_only);
            }
            image_free(&image);
        }
    }
    expect_no_violation(trial, "sectors lost of durable batches");
}

/* ---- F55: holes and misdirected blocks ---- */

/* As long as the last seal is intact it bears witness to all that was before it. */
static void damage_block(struct trial *trial, uint64_t at, uint64_t length,
                         const struct slice *other)
{
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->log);
    if (other == NULL) {
        image_fill(image, at, at + length, 0);
    } else {
        memcpy(image->log.bytes + at, other->bytes, (size_t)length);
    }
    if (!slice_equal(image_slice(image), script_slice(&corpus->log))) {
        (void)judge(trial, image_slice(image), refusal_only);
    }
}

static void f55_holes_are_noticed(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    uint64_t end = corpus->ends[BATCHES - 1];
    uint64_t step = watchdog_scaled(1, 97);
    for (uint64_t length = SECTOR_BYTES; length <= BLOCK_BYTES; length *= 2) {
        for (uint64_t at = 0; at + length <= end; at += step) {
            name_case(trial, "hole at", at, length);
            damage_block(trial, at, length, NULL);
            at += length == BLOCK_BYTES ? 0 : SECTOR_BYTES - step;
        }
    }
    expect_no_violation(trial, "holes");
}

static void f55_misdirected_blocks_are_noticed(void **state)
{
    struct trial *trial = *state;
    const struct corpus *corpus = trial->corpus;
    struct slice log = script_slice(&corpus->log);
    uint64_t end = corpus->ends[BATCHES - 1];
    uint64_t step = watchdog_scaled(SECTOR_BYTES, 5 * SECTOR_BYTES);
    for (uint64_t length = SECTOR_BYTES; length <= BLOCK_BYTES; length *= 8) {
        for (uint64_t to = 0; to + length <= end; to += step) {
            for (uint64_t from = 0; from + length <= log.length; from += step) {
                struct slice other = slice_after(log, (size_t)from);
                name_case(trial, "block written to, from", to, from);
                damage_block(trial, to, length, &other);
            }
        }
    }
    expect_no_violation(trial, "misdirected blocks");
}

/* ---- F60: the original program has appended ---- */

static void f60_a_few_records_without_a_seal_are_saved_and_told(void **state)
{
    struct trial *trial = *state;
    struct engine *engine = trial->engine;
    const struct corpus *corpus = trial->corpus;
    struct image *image = hurt(trial, &corpus->log);
    for (size_t count = 1; count <= 50; count++) {
        char told[64];
        image_put_text(image, "key-0", "appended");
        (void)snprintf(told, sizeof told, "%zu whole records", count); /* fits */
        engine_write(engine, "", image_slice(image));
        forget_messages(engine);
        engine_open(engine);
        assert_int_equal(engine_told(engine, told), 1);
        engine_close(engine);
        engine_clean(engine);
        name_case(trial, "records appended", count, 0);
        (void)judge(trial, image_slice(image), opens_with(BATCHES));
    }
    expect_no_violation(trial, "records without a seal");
}

/* No batch of ours is so long, so somebody else may have acknowledged these. */
static void f60_more_records_than_a_batch_can_hold_are_refused(void **state)
{
    struct trial *trial = *state;
    struct engine *engine = trial->engine;
    const struct corpus *corpus = trial->corpus;
    struct script value = {0};
    script_add_random(&value, 1, 200000);
    struct image *image = hurt(trial, &corpus->log);
    while (image->log.length < corpus->log.length + BATCH_BYTES_MAX) {
        image_put(image, SLICE_LITERAL("key-1"), script_slice(&value));
    }
    name_case(trial, "as much as a batch can hold", image->log.length, 0);
    (void)judge(trial, image_slice(image), opens_with(BATCHES));
    image_put_text(image, "key-0", "appended");
    name_case(trial, "a record more than a batch can hold", image->log.length, 0);
    (void)judge(trial, image_slice(image), refusal_only);
    assert_int_equal(engine_told(engine, "--salvage"), 1);
    image_put_text(image, "key-0", "appended");
    image_cut(image, image->log.length - 3);
    name_case(trial, "a torn record more", image->log.length, 0);
    (void)judge(trial, image_slice(image), refusal_only);
    expect_no_violation(trial, "many records without a seal");
    script_free(&value);
}

#define ON_TRIAL(test) cmocka_unit_test_setup_teardown(test, trial_setup, trial_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_TRIAL(f50_f51_any_flipped_bit_is_found),
        ON_TRIAL(f50_f51_f115_any_flipped_bit_is_found_before_space_ahead),
        ON_TRIAL(f48_f115_every_cut_of_space_ahead_leaves_all_batches),
        ON_TRIAL(f50_any_flipped_bit_of_a_log_at_rest_is_found),
        ON_TRIAL(f51_a_flipped_bit_in_the_second_seal_loses_nothing),
        cmocka_unit_test_setup_teardown(f50_flipped_bits_are_found_where_seals_lag,
                                        trial_setup_everysec, trial_teardown),
        ON_TRIAL(f48_f54_f61_every_cut_leaves_the_newest_whole_batch),
        ON_TRIAL(f49_a_tail_of_zeros_is_cut_off),
        ON_TRIAL(f49_a_tail_of_garbage_is_cut_off),
        ON_TRIAL(f49_garbage_that_ends_in_a_seal_is_refused),
        ON_TRIAL(f52_impossible_lengths_are_damage),
        ON_TRIAL(f52_impossible_lengths_in_a_tail_are_cut_off),
        ON_TRIAL(f53_a_removed_batch_is_missed),
        ON_TRIAL(f53_a_doubled_batch_is_noticed),
        ON_TRIAL(f53_swapped_batches_are_noticed),
        ON_TRIAL(f53_joined_logs_are_noticed),
        ON_TRIAL(f53_moved_batches_are_noticed_at_every_sector_offset),
        ON_TRIAL(f50_f55_a_lost_sector_of_a_durable_batch_is_no_torn_write),
        ON_TRIAL(f55_holes_are_noticed),
        ON_TRIAL(f55_misdirected_blocks_are_noticed),
        ON_TRIAL(f60_a_few_records_without_a_seal_are_saved_and_told),
        ON_TRIAL(f60_more_records_than_a_batch_can_hold_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
