/*
 * The damage corpus: one log, hurt in every way that bits, sectors and misplaced blocks
 * can be, and opened by the store each time. A log must open with the state of a whole
 * number of its batches, or be refused with every byte as it was; and what another batch
 * follows must never be missing from a log that opens.
 */
#include "base/bounds.h"
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

static struct allowed refused_or_opens_with(size_t batches)
{
    return (struct allowed){true, batches, batches};
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

static struct corpus *corpus_begin(struct engine *engine, enum sync_policy sync)
{
    struct corpus *corpus = calloc(1, sizeof *corpus);
    assert_non_null(corpus);
    engine->sync = sync;
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

/* The batch that a place belongs to; 0: the opening record; BATCHES + 1: what follows. */
static size_t batch_at(const struct corpus *corpus, uint64_t place)
{
    size_t batch = 0;
    while (batch <= BATCHES && corpus->ends[batch] <= place) {
        batch++;
    }
    return batch;
}

/* ---- A test ---- */

static int trial_setup(void **state)
{
    struct trial *trial = calloc(1, sizeof *trial);
    assert_non_null(trial);
    assert_int_equal(engine_setup(state), 0);
    trial->engine = *state;
    trial->corpus = corpus_begin(trial->engine, SYNC_ALWAYS);
    *state = trial;
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

/* The same with space ahead behind it, as kill -9 leaves a log that was served. */
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

static void demand(struct trial *trial, bool is_so, const char *what)
{
    if (!is_so) {
        complain(trial, what);
    }
}

static void expect_no_violation(const struct trial *trial)
{
    print_message("  %zu cases, %zu refused untouched, %zu opened whole, %zu opened "
                  "without what may be missing, %zu silent losses\n",
                  trial->cases, trial->refused, trial->opened_whole, trial->opened_less,
                  trial->silent_losses);
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

static void judge_refusal(struct trial *trial)
{
    struct engine *engine = trial->engine;
    trial->refused++;
    demand(trial, has_bytes(engine, "", image_slice(&trial->image)),
           "the refused log was changed");
    demand(trial, engine_count_files(engine, "kv.log") == 2,
           "a refusal left more than the log and the lock");
    demand(trial,
           engine_told(engine, "") == 1 && engine_told(engine, engine->log.path) == 1,
           "the operator was not told once which file is damaged");
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

static size_t count_records(struct slice tail)
{
    size_t count = 0;
    struct record_walk walk = record_walk_begin(tail, 0);
    while (record_next(&walk)) {
        count += !record_is_mark(&walk.record);
    }
    return count;
}

/* What stood behind the last batch was saved and told, and the log ends with that batch.
 */
static void judge_tail(struct trial *trial, uint64_t end)
{
    char suffix[64];
    char told[128];
    struct engine *engine = trial->engine;
    struct slice damaged = image_slice(&trial->image);
    struct slice tail = slice_after(damaged, (size_t)end);
    demand(trial, has_bytes(engine, "", slice_first(damaged, (size_t)end)),
           "the log was not cut to its last whole batch");
    size_t torn_count = engine_count_files(engine, "kv.log.torn.");
    if (tail.length == 0 || is_space(tail)) {
        demand(trial, torn_count == 0, "a tail was saved where there was none");
        return;
    }
    (void)snprintf(suffix, sizeof suffix, ".torn.%" PRIu64, end); /* fits */
    (void)snprintf(told, sizeof told, "at offset %" PRIu64 ": %zu bytes, %zu whole", end,
                   tail.length, count_records(tail)); /* fits */
    demand(trial, torn_count == 1 && has_bytes(engine, suffix, tail),
           "the tail that was cut off was not saved");
    demand(trial, engine_told(engine, told) == 1 && engine_told(engine, suffix) == 1,
           "the operator was not told what was cut off, and where it is");
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

static void judge_opened(struct trial *trial, struct allowed allowed)
{
    struct engine *engine = trial->engine;
    size_t batches = judge_state(trial, allowed);
    /* An empty file becomes a log with an opening record. */
    if (batches <= BATCHES && trial->image.log.length > 0) {
        judge_tail(trial, trial->corpus->ends[batches]);
    }
    engine_close(engine);
    forget_messages(engine);
    engine_open(engine);
    demand(trial, count_batches(trial) == batches && engine_told(engine, "") == 0,
           "the second start differs from the first");
    engine_close(engine);
}

/* Start on the image of the trial. */
static void judge(struct trial *trial, struct allowed allowed)
{
    trial->cases++;
    engine_clean(trial->engine);
    engine_write(trial->engine, "", image_slice(&trial->image));
    forget_messages(trial->engine);
    enum status status = engine_try_open(trial->engine);
    if (status == KV_OK && allowed.batches_min > allowed.batches_max) {
        trial->silent_losses++;
        complain(trial, "opened, though it is not what the store wrote");
        engine_close(trial->engine);
    } else if (status == KV_OK) {
        judge_opened(trial, allowed);
    } else if (status != KV_CORRUPT) {
        complain(trial, status_text(status));
    } else if (!allowed.refusal) {
        complain(trial, "refused, though nothing that was durable is missing");
    }
    if (status != KV_OK) {
        judge_refusal(trial);
    }
}

/* ---- F50, F51: bits ---- */

/* Whether the sector share rule leaves a tear possible; written after its text alone. */
static bool has_missing_sector(struct slice log, uint64_t from)
{
    for (uint64_t at = from; at < log.length;) {
        uint64_t end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        end = end < log.length ? end : log.length;
        if (slice_is_zero(
                slice_first(slice_after(log, (size_t)at), (size_t)(end - at)))) {
            return true;
        }
        at = end;
    }
    return false;
}

/* What may become of a log with damage at a place, which has been done already. */
static struct allowed allowed_at(const struct trial *trial, uint64_t place)
{
    const struct corpus *corpus = trial->corpus;
    struct slice log = image_slice(&trial->image);
    size_t batch = batch_at(corpus, place);
    bool lags = trial->engine->sync == SYNC_EVERYSEC;
    if (batch > BATCHES) { /* nothing but space, or an empty batch, is at stake */
        return trial->space_bytes > 0 ? opens_with(BATCHES)
                                      : refused_or_opens_with(BATCHES);
    }
    if (batch == 0 || (!lags && corpus->ends[batch] != log.length - trial->space_bytes)) {
        return refusal_only; /* a later seal says that it had been durable */
    }
    struct slice judged =
        slice_first(log, lags ? log.length : (size_t)corpus->ends[batch]);
    return has_missing_sector(judged, corpus->ends[batch - 1])
               ? refused_or_opens_with(batch - 1)
               : refusal_only;
}

static void flip(struct trial *trial, uint64_t bit)
{
    char told[64];
    uint64_t offset = bit / 8;
    size_t batch = batch_at(trial->corpus, offset);
    size_t refused = trial->refused;
    image_flip(&trial->image, offset, (unsigned)(bit % 8));
    name_case(trial, "byte and bit", offset, bit % 8);
    judge(trial, allowed_at(trial, offset));
    (void)snprintf(told, sizeof told, "damaged at offset %" PRIu64,
                   batch == 0 ? 0 : trial->corpus->ends[batch - 1]); /* fits */
    demand(trial, trial->refused == refused || engine_told(trial->engine, told) == 1,
           "the operator was not told where the damage is");
    image_flip(&trial->image, offset, (unsigned)(bit % 8));
}

/* From one byte to another, every so many bits. */
static void flip_bits(struct trial *trial, uint64_t from, uint64_t to, uint64_t step)
{
    for (uint64_t bit = from * 8; bit < to * 8; bit += step) {
        flip(trial, bit);
    }
}

static void f50_f51_any_flipped_bit_is_found(void **state)
{
    struct trial *trial = *state;
    struct image *image = hurt(trial, &trial->corpus->log);
    flip_bits(trial, 0, image->log.length, watchdog_scaled(1, 17));
    assert_true(watchdog_is_slow() || trial->cases >= 65536);
    expect_no_violation(trial);
}

/* Zeros behind the last batch make no damage in it, or before it, less certain. */
static void f50_f51_f115_any_flipped_bit_is_found_before_space_ahead(void **state)
{
    struct trial *trial = *state;
    struct image *image = hurt_served(trial, 3000);
    uint64_t late = trial->corpus->ends[BATCHES - 3];
    uint64_t space = trial->corpus->ends[BATCHES] + RECORD_HEADER_BYTES;
    uint64_t step = watchdog_scaled(1, 17);
    flip_bits(trial, 0, late, 13 * step);
    flip_bits(trial, late, space, step);
    flip_bits(trial, space, image->log.length, step + 97);
    expect_no_violation(trial);
}

/* The seal that a clean stop adds protects the last batch as each one protects others. */
static void f50_f51_any_flipped_bit_of_a_log_at_rest_is_found(void **state)
{
    struct trial *trial = *state;
    const uint64_t *ends = trial->corpus->ends;
    struct image *image = hurt(trial, &trial->corpus->rested);
    flip_bits(trial, ends[BATCHES - 2], ends[BATCHES], watchdog_scaled(1, 17));
    flip_bits(trial, ends[BATCHES], image->log.length, 1);
    expect_no_violation(trial);
}

/* Under everysec the seals lag behind, and the tail to judge is many batches long. */
static void f50_flipped_bits_are_found_where_seals_lag(void **state)
{
    struct trial *trial = *state;
    engine_clean(trial->engine);
    assert_int_equal(unlink(trial->engine->log.path), 0);
    corpus_end(trial->corpus);
    trial->corpus = corpus_begin(trial->engine, SYNC_EVERYSEC);
    struct image *image = hurt(trial, &trial->corpus->log);
    flip_bits(trial, 0, image->log.length, watchdog_scaled(7, 171));
    expect_no_violation(trial);
}

/* ---- F48, F54, F61: cuts ---- */

/*
 * Cut exactly at a seal, a log alone cannot tell that there was more. A file of no bytes
 * was made by nobody's crash, since a log gets its name with its opening record in it.
 */
static void f48_f54_f61_f115_every_cut_leaves_the_newest_whole_batch(void **state)
{
    struct trial *trial = *state;
    uint64_t length = hurt_served(trial, 1500)->log.length;
    for (uint64_t cut = 0; cut <= length; cut += watchdog_scaled(1, 17)) {
        size_t batch = batch_at(trial->corpus, cut);
        image_cut(hurt_served(trial, 1500), cut);
        name_case(trial, "cut to", cut, length);
        judge(trial, cut > 0 && batch == 0 ? refusal_only
                                           : opens_with(batch == 0 ? 0 : batch - 1));
    }
    expect_no_violation(trial);
}

/* ---- F49: tails ---- */

/* No record begins so, and no share of a sector is zero by chance. */
static void put_garbage(struct image *image, struct dice *dice, uint64_t count)
{
    uint64_t from = image->log.length;
    image_grow(image, count, 0xff);
    for (uint64_t at = from + 1; at < image->log.length; at++) {
        image->log.bytes[at] = (uint8_t)dice_next(dice);
    }
}

static void f49_a_tail_of_zeros_or_garbage_is_cut_off(void **state)
{
    struct trial *trial = *state;
    const struct script *log = &trial->corpus->log;
    struct dice dice;
    dice_begin(&dice);
    for (uint64_t count = 1; count <= TAIL_BYTES_MAX; count += watchdog_scaled(1, 97)) {
        image_grow(hurt(trial, log), count, 0);
        name_case(trial, "zeros", count, 0);
        judge(trial, opens_with(BATCHES));
        put_garbage(hurt(trial, log), &dice, count);
        name_case(trial, "garbage", count, 0);
        judge(trial, opens_with(BATCHES));
    }
    expect_no_violation(trial);
}

/* The length of the file says that all of the batch was written, so it was no tear. */
static void f49_garbage_that_ends_in_a_seal_is_refused(void **state)
{
    struct trial *trial = *state;
    const struct script *log = &trial->corpus->log;
    struct dice dice;
    uint8_t mark[SEAL_BYTES];
    struct opening opening;
    dice_begin(&dice);
    assert_true(record_decode_opening(script_slice(log), &opening));
    for (uint64_t count = 8; count <= TAIL_BYTES_MAX; count += watchdog_scaled(13, 397)) {
        struct image *image = hurt(trial, log);
        struct seal seal = {opening.log_id, log->length, (uint32_t)dice_next(&dice)};
        put_garbage(image, &dice, count);
        record_encode_seal(mark, &seal, image->log.length);
        image_append(image, (struct slice){mark, sizeof mark});
        name_case(trial, "garbage and a seal", count, 0);
        judge(trial, refusal_only);
    }
    expect_no_violation(trial);
}

/* ---- F52: lengths ---- */

/* All pairs of these in the header of the record at a place. */
static void put_lengths(struct trial *trial, uint64_t at)
{
    static const uint64_t lengths[] = {
        0,
        1,
        UINT64_C(1) << 31,
        UINT32_MAX,
        UINT64_C(1) << 48,
        INT64_MAX,
        UINT64_C(1) << 63,
        UINT64_MAX - 15,
        UINT64_MAX,
    };
    enum { COUNT = sizeof lengths / sizeof lengths[0] };
    uint8_t kept[RECORD_HEADER_BYTES];
    uint8_t *header = trial->image.log.bytes + at;
    bool is_tail = at >= trial->corpus->ends[BATCHES];
    memcpy(kept, header, sizeof kept);
    for (size_t i = 0; i < (size_t)COUNT * COUNT; i++) {
        record_encode_header(header, lengths[i / COUNT], lengths[i % COUNT]);
        if (is_tail || memcmp(header, kept, sizeof kept) != 0) {
            name_case(trial, "lengths at", at, i);
            judge(trial, is_tail ? opens_with(BATCHES) : allowed_at(trial, at));
        }
    }
    memcpy(header, kept, sizeof kept);
}

static void f52_impossible_lengths_are_damage(void **state)
{
    struct trial *trial = *state;
    struct image *image = hurt(trial, &trial->corpus->log);
    struct record_walk walk = record_walk_begin(script_slice(&trial->corpus->log), 0);
    for (size_t number = 0; record_next(&walk); number++) {
        if (number % watchdog_scaled(1, 29) == 0) {
            put_lengths(trial, walk.offset);
        }
    }
    /* Behind the last seal they are only the start of a record that was cut. */
    uint64_t end = image->log.length;
    image_grow(image, RECORD_HEADER_BYTES + 8, 0);
    put_lengths(trial, end);
    memset(image->log.bytes + end + RECORD_HEADER_BYTES, 'x', 8);
    put_lengths(trial, end);
    expect_no_violation(trial);
}

/* ---- F53: batches out of place ---- */

static struct slice bytes_between(const struct image *image, uint64_t from, uint64_t to)
{
    return slice_after(slice_first(image_slice(image), (size_t)to), (size_t)from);
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
            judge(trial, refusal_only);
        }
    }
    expect_no_violation(trial);
}

/* Also in the place of its neighbour: then the two are swapped. */
static void f53_a_batch_at_another_place_is_noticed(void **state)
{
    struct trial *trial = *state;
    const uint64_t *ends = trial->corpus->ends;
    struct image whole = {.log_id = 0};
    image_append(&whole, script_slice(&trial->corpus->log));
    for (size_t batch = 1; batch <= BATCHES; batch++) {
        struct slice bytes = bytes_between(&whole, ends[batch - 1], ends[batch]);
        for (size_t place = 0; place <= BATCHES; place++) {
            image_insert(hurt(trial, &trial->corpus->log), ends[place], bytes);
            name_case(trial, "batch put again behind", batch, place);
            judge(trial, refusal_only);
        }
        if (batch > 1) {
            struct image *image = hurt(trial, &trial->corpus->log);
            image_remove(image, ends[batch - 1], ends[batch]);
            image_insert(image, ends[batch - 2], bytes);
            name_case(trial, "batch and its neighbour", batch, batch - 1);
            judge(trial, refusal_only);
        }
    }
    expect_no_violation(trial);
    image_free(&whole);
}

/* ---- F53 wherever a sector may begin ---- */

enum { SMALL_BATCHES = 5 };

/* A small log whose second batch begins `shift` bytes later than it would. */
static void make_shifted(struct image *image, uint64_t ends[SMALL_BATCHES + 1],
                         size_t shift)
{
    static const char *const values[] = {"odd", "even", "odd", NULL, "odd"};
    char filler[SECTOR_BYTES];
    memset(filler, 'f', sizeof filler);
    image_free(image);
    image_begin_first(image);
    ends[0] = image->log.length;
    for (size_t batch = 1; batch <= SMALL_BATCHES; batch++) {
        if (batch == 1) {
            image_put(image, SLICE_LITERAL("filler"),
                      (struct slice){(const uint8_t *)filler, shift});
        } else if (values[batch - 1] != NULL) { /* a seal alone is a batch as well */
            image_put_text(image, "key", values[batch - 1]);
        }
        image_seal(image);
        ends[batch] = image->log.length;
    }
}

/* Every damage that moves what follows it, to the place of one batch. */
static void move_batches(struct trial *trial, size_t shift, size_t batch)
{
    static const char *const kinds[] = {"removed",
                                        "doubled",
                                        "own log joined",
                                        "other log joined",
                                        "own log joined without its opening",
                                        "other log joined without its opening"};
    uint64_t ends[SMALL_BATCHES + 1];
    struct image *image = &trial->image;
    struct image copy = {.log_id = 0};
    struct image other;
    const struct opening opening = {
        .version = RECORD_FORMAT_VERSION, .log_id = IMAGE_FOREIGN_ID, .generation = 1};
    image_begin(&other, &opening);
    image_put_text(&other, "other", "log");
    image_seal(&other);
    make_shifted(&copy, ends, shift);
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        make_shifted(image, ends, shift);
        if (kind == 0) {
            image_remove(image, ends[batch - 1], ends[batch]);
        } else if (kind == 1) {
            image_insert(image, ends[batch - 1],
                         bytes_between(&copy, ends[batch - 1], ends[batch]));
        } else {
            struct slice joined = image_slice(kind % 2 == 0 ? &copy : &other);
            image_cut(image, ends[batch]);
            image_append(image, slice_after(joined, kind < 4 ? 0 : OPENING_BYTES));
        }
        name_case(trial, kinds[kind], batch, shift);
        judge(trial, refusal_only);
    }
    image_free(&copy);
    image_free(&other);
}

/*
 * The end of a batch in zeros, as a sector that was lost leaves it: were it not for the
 * seal behind it, that could be a torn write. The last batch has no such seal.
 */
static void lose_sector(struct trial *trial, size_t shift, size_t batch)
{
    uint64_t ends[SMALL_BATCHES + 1];
    make_shifted(&trial->image, ends, shift);
    uint64_t start = ends[batch - 1];
    uint64_t end = (start / SECTOR_BYTES + 1) * SECTOR_BYTES;
    /* Fewer than 16 zeros may be what the record begins with anyway. */
    if (end - start >= RECORD_HEADER_BYTES && end <= ends[batch]) {
        image_fill(&trial->image, start, end, 0);
        name_case(trial, "sector lost of batch, shift", batch, shift);
        judge(trial, refusal_only);
    }
}

/*
 * Records begin with zero bytes. Where a sector ends among them they look like a sector
 * that never reached the disk, and a moved batch like a torn one.
 */
static void f50_f53_f55_moved_batches_are_noticed_at_every_sector_offset(void **state)
{
    struct trial *trial = *state;
    for (size_t shift = 0; shift < SECTOR_BYTES; shift += watchdog_scaled(1, 37)) {
        for (size_t batch = 2; batch < SMALL_BATCHES; batch++) {
            move_batches(trial, shift, batch);
            lose_sector(trial, shift, batch);
        }
    }
    expect_no_violation(trial);
}

/* ---- F55: holes and misdirected blocks ---- */

/* As long as the last seal is intact it bears witness to all that was before it. */
static void judge_if_hurt(struct trial *trial)
{
    if (!slice_equal(image_slice(&trial->image), script_slice(&trial->corpus->log))) {
        judge(trial, refusal_only);
    }
}

static void f55_holes_are_noticed(void **state)
{
    struct trial *trial = *state;
    uint64_t end = trial->corpus->ends[BATCHES - 1];
    uint64_t step = watchdog_scaled(1, 97);
    for (uint64_t length = SECTOR_BYTES; length <= BLOCK_BYTES; length *= 2) {
        for (uint64_t at = 0; at + length <= end;
             at += length == BLOCK_BYTES ? step : SECTOR_BYTES) {
            image_fill(hurt(trial, &trial->corpus->log), at, at + length, 0);
            name_case(trial, "hole at", at, length);
            judge_if_hurt(trial);
        }
    }
    expect_no_violation(trial);
}

static void f55_misdirected_blocks_are_noticed(void **state)
{
    struct trial *trial = *state;
    const struct script *log = &trial->corpus->log;
    uint64_t end = trial->corpus->ends[BATCHES - 1];
    uint64_t step = watchdog_scaled(SECTOR_BYTES, 5 * SECTOR_BYTES);
    for (uint64_t length = SECTOR_BYTES; length <= BLOCK_BYTES; length *= 8) {
        for (uint64_t to = 0; to + length <= end; to += step) {
            for (uint64_t from = 0; from + length <= log->length; from += step) {
                struct image *image = hurt(trial, log);
                memcpy(image->log.bytes + to, log->bytes + from, (size_t)length);
                name_case(trial, "block written to, from", to, from);
                judge_if_hurt(trial);
            }
        }
    }
    expect_no_violation(trial);
}

/* ---- F60: the original program has appended ---- */

static void f60_a_few_records_without_a_seal_are_saved_and_told(void **state)
{
    struct trial *trial = *state;
    struct image *image = hurt(trial, &trial->corpus->log);
    for (size_t count = 1; count <= 50; count++) {
        image_put_text(image, "key-0", "appended");
        name_case(trial, "records appended", count, 0);
        judge(trial, opens_with(BATCHES));
    }
    expect_no_violation(trial);
}

/* No batch of ours is so long, so somebody else may have acknowledged these. */
static void f60_more_records_than_a_batch_can_hold_are_refused(void **state)
{
    struct trial *trial = *state;
    const struct script *log = &trial->corpus->log;
    struct script value = {0};
    script_add_random(&value, 1, 200000);
    struct image *image = hurt(trial, log);
    while (image->log.length < log->length + BATCH_BYTES_MAX) {
        image_put(image, SLICE_LITERAL("key-1"), script_slice(&value));
    }
    name_case(trial, "as much as a batch can hold", image->log.length, 0);
    judge(trial, opens_with(BATCHES));
    image_put_text(image, "key-0", "appended");
    name_case(trial, "a record more than a batch can hold", image->log.length, 0);
    judge(trial, refusal_only);
    assert_int_equal(engine_told(trial->engine, "--salvage"), 1);
    image_put_text(image, "key-0", "appended");
    image_cut(image, image->log.length - 3);
    name_case(trial, "a torn record more", image->log.length, 0);
    judge(trial, refusal_only);
    expect_no_violation(trial);
    script_free(&value);
}

#define ON_TRIAL(test) cmocka_unit_test_setup_teardown(test, trial_setup, trial_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_TRIAL(f50_f51_any_flipped_bit_is_found),
        ON_TRIAL(f50_f51_f115_any_flipped_bit_is_found_before_space_ahead),
        ON_TRIAL(f50_f51_any_flipped_bit_of_a_log_at_rest_is_found),
        ON_TRIAL(f50_flipped_bits_are_found_where_seals_lag),
        ON_TRIAL(f48_f54_f61_f115_every_cut_leaves_the_newest_whole_batch),
        ON_TRIAL(f49_a_tail_of_zeros_or_garbage_is_cut_off),
        ON_TRIAL(f49_garbage_that_ends_in_a_seal_is_refused),
        ON_TRIAL(f52_impossible_lengths_are_damage),
        ON_TRIAL(f53_a_removed_batch_is_missed),
        ON_TRIAL(f53_a_batch_at_another_place_is_noticed),
        ON_TRIAL(f50_f53_f55_moved_batches_are_noticed_at_every_sector_offset),
        ON_TRIAL(f55_holes_are_noticed),
        ON_TRIAL(f55_misdirected_blocks_are_noticed),
        ON_TRIAL(f60_a_few_records_without_a_seal_are_saved_and_told),
        ON_TRIAL(f60_more_records_than_a_batch_can_hold_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
