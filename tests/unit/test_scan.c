/*
 * Reading a sealed log: whole batches are found, and every kind of damage gets the
 * verdict that recovery acts on.
 */
#include "log/scan.h"

#include "base/bounds.h"
#include "support/dice.h"
#include "support/guarded.h"
#include "support/image.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <stdlib.h>

enum { BATCHES = 5 };

/* How the seals of a sample log speak of durability. */
enum seals {
    SEALS_ALWAYS, /* each batch was durable before the next one began */
    SEALS_LAGGING /* as under everysec: nothing behind the opening record was yet */
};

/* A log of five batches, and where each begins; the last number is its length. */
struct sample {
    struct image image;
    uint64_t starts[BATCHES + 1];
};

static void end_batch(struct sample *sample, int number, enum seals seals)
{
    if (seals == SEALS_ALWAYS) {
        image_seal(&sample->image);
    } else {
        image_seal_durable(&sample->image, OPENING_BYTES);
    }
    sample->starts[number] = sample->image.log.length;
}

/* Sets, deletes, an empty batch and a drained mark: all that a batch may hold. */
static void sample_begin(struct sample *sample, enum seals seals)
{
    struct opening opening = {
        .version = RECORD_FORMAT_VERSION,
        .log_id = IMAGE_LOG_ID,
        .generation = 2,
        .older_id = IMAGE_OLDER_ID,
        .older_length = 4096,
    };
    struct image *image = &sample->image;
    image_begin(image, &opening);
    sample->starts[0] = OPENING_BYTES;
    image_put_text(image, "apple", "green");
    image_put_text(image, "pear", "");
    end_batch(sample, 1, seals);
    image_delete(image, "apple");
    image_put_text(image, "\xd1\x81\xd0\xbb\xd0\xb8\xd0\xb2\xd0\xb0", "blue and round");
    end_batch(sample, 2, seals);
    end_batch(sample, 3, seals);
    image_put_text(image, "fig", "brown");
    image_drained(image, IMAGE_OLDER_ID);
    image_put_text(image, "plum", "red");
    end_batch(sample, 4, seals);
    image_put_text(image, "quince", "yellow");
    image_delete(image, "pear");
    end_batch(sample, 5, seals);
}

static void sample_end(struct sample *sample)
{
    image_free(&sample->image);
}

/* The number of the batch that a place of the sample belongs to; 0: the opening record.
 */
static size_t batch_of(const struct sample *sample, uint64_t place)
{
    size_t number = 0;
    while (number <= BATCHES && sample->starts[number] <= place) {
        number++;
    }
    return number;
}

/* What a scan of a whole log came to. */
struct outcome {
    bool is_damaged;
    enum tail tail;
    uint64_t offset;
    size_t batch_count;
};

/* Scan a copy that ends at an unreadable page. */
static struct outcome scan_whole(struct slice log)
{
    struct guarded guarded;
    guarded_create(&guarded, log.length);
    struct scan scan;
    scan_begin(&scan, guarded_place(&guarded, log), IMAGE_LOG_ID);
    struct outcome outcome = {0};
    struct batch batch;
    while (scan_next(&scan, &batch)) {
        outcome.batch_count++;
    }
    outcome.offset = scan.offset;
    outcome.is_damaged = !scan_is_at_end(&scan);
    outcome.tail = scan_judge_tail(&scan);
    guarded_destroy(&guarded);
    return outcome;
}

static void check_damaged(struct slice log, uint64_t offset, enum tail tail)
{
    struct outcome outcome = scan_whole(log);
    assert_true(outcome.is_damaged);
    assert_true(outcome.offset == offset);
    assert_int_equal(outcome.tail, tail);
}

static void check_clean(struct slice log, size_t batch_count)
{
    struct outcome outcome = scan_whole(log);
    assert_false(outcome.is_damaged);
    assert_true(outcome.offset == log.length);
    assert_int_equal(outcome.batch_count, batch_count);
}

static void scan_gives_each_batch_and_then_the_end(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    struct slice log = image_slice(&sample.image);
    struct scan scan;
    scan_begin(&scan, log, IMAGE_LOG_ID);
    assert_true(scan.offset == OPENING_BYTES);
    for (int i = 0; i < BATCHES; i++) {
        struct batch batch;
        assert_true(scan_next(&scan, &batch));
        assert_true(batch.offset == sample.starts[i]);
        assert_ptr_equal(batch.records.bytes, log.bytes + sample.starts[i]);
        assert_true(batch.records.length ==
                    sample.starts[i + 1] - sample.starts[i] - SEAL_BYTES);
        assert_true(scan.offset == sample.starts[i + 1]);
    }
    struct batch batch = {.offset = 77};
    assert_false(scan_next(&scan, &batch));
    assert_false(scan_next(&scan, &batch));
    assert_true(scan_is_at_end(&scan));
    assert_true(batch.offset == 77);
    assert_true(scan.chain == sample.image.chain);
    sample_end(&sample);
}

static void scan_gives_records_in_the_order_written(void **state)
{
    static const char *const keys[] = {"fig", "", "plum"};
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    struct scan scan;
    struct batch batch = {0};
    scan_begin(&scan, image_slice(&sample.image), IMAGE_LOG_ID);
    for (int i = 0; i < 4; i++) {
        assert_true(scan_next(&scan, &batch));
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct record record;
        assert_true(record_decode(batch.records, &record));
        assert_true(slice_equal(record.key, slice_of_text(keys[i])));
        batch.records = slice_after(batch.records, (size_t)record.length);
    }
    assert_int_equal(batch.records.length, 0);
    sample_end(&sample);
}

static void scan_of_an_opening_record_alone_is_at_its_end(void **state)
{
    (void)state;
    struct image image;
    image_begin_first(&image);
    check_clean(image_slice(&image), 0);
    image_free(&image);
}

static void scan_takes_empty_batches_one_after_another(void **state)
{
    (void)state;
    struct image image;
    image_begin_first(&image);
    for (size_t count = 1; count <= 20; count++) {
        image_seal(&image);
        check_clean(image_slice(&image), count);
    }
    image_free(&image);
}

static void scan_takes_a_seal_that_says_all_before_it_is_durable(void **state)
{
    (void)state;
    struct image image;
    image_begin_first(&image);
    image_put_text(&image, "key", "value");
    image_seal_durable(&image, image.log.length);
    check_clean(image_slice(&image), 1);
    image_free(&image);
}

static void scan_calls_every_cut_torn_at_the_last_whole_batch(void **state)
{
    (void)state;
    for (int seals = SEALS_ALWAYS; seals <= SEALS_LAGGING; seals++) {
        struct sample sample;
        sample_begin(&sample, (enum seals)seals);
        struct slice whole = image_slice(&sample.image);
        for (size_t length = OPENING_BYTES; length <= whole.length; length++) {
            struct slice cut = slice_first(whole, length);
            size_t whole_batches = batch_of(&sample, length) - 1;
            if (sample.starts[whole_batches] == length) {
                check_clean(cut, whole_batches);
            } else {
                check_damaged(cut, sample.starts[whole_batches], TAIL_TORN);
            }
        }
        sample_end(&sample);
    }
}

/* Every seal says that the batch before its own was durable. */
static void scan_calls_every_flip_before_the_last_batch_corrupt(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    for (uint64_t at = 0; at < sample.starts[BATCHES - 1]; at++) {
        size_t number = batch_of(&sample, at);
        uint64_t offset = sample.starts[number == 0 ? 0 : number - 1];
        for (unsigned bit = 0; bit < 8; bit++) {
            image_flip(&sample.image, at, bit);
            check_damaged(image_slice(&sample.image), offset, TAIL_CORRUPT);
            image_flip(&sample.image, at, bit);
        }
    }
    check_clean(image_slice(&sample.image), BATCHES);
    sample_end(&sample);
}

/* Every byte of the batch is there, so no write was cut short: something changed it. */
static void check_flips(struct sample *sample, uint64_t from, uint64_t to)
{
    uint64_t offset = sample->starts[batch_of(sample, from) - 1];
    for (uint64_t at = from; at < to; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            image_flip(&sample->image, at, bit);
            check_damaged(image_slice(&sample->image), offset, TAIL_CORRUPT);
            image_flip(&sample->image, at, bit);
        }
    }
}

static void scan_calls_every_flip_in_a_full_last_batch_corrupt(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    uint64_t seal = sample.starts[BATCHES] - SEAL_BYTES;
    check_flips(&sample, sample.starts[BATCHES - 1], seal);
    check_flips(&sample, seal + RECORD_HEADER_BYTES, sample.starts[BATCHES]);
    sample_end(&sample);
}

static void scan_calls_every_flip_in_the_header_of_the_last_seal_corrupt(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    uint64_t seal = sample.starts[BATCHES] - SEAL_BYTES;
    check_flips(&sample, seal, seal + RECORD_HEADER_BYTES);
    sample_end(&sample);
}

/* Nothing was known durable, but nothing is missing either: no tear looks like this. */
static void scan_calls_every_flip_under_lagging_seals_corrupt(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_LAGGING);
    for (size_t i = 0; i < BATCHES - 1; i++) {
        check_flips(&sample, sample.starts[i], sample.starts[i + 1]);
    }
    sample_end(&sample);
}

/* A log of one batch that ends at a chosen place of a sector. */
static uint64_t begin_short(struct image *image, size_t place)
{
    uint8_t text[SECTOR_BYTES];
    memset(text, 'v', sizeof text);
    image_begin_first(image);
    size_t taken = OPENING_BYTES + RECORD_HEADER_BYTES + 1 + SEAL_BYTES;
    size_t filler = (2 * SECTOR_BYTES + place - taken) % SECTOR_BYTES;
    image_put(image, SLICE_LITERAL("f"), (struct slice){text, filler});
    image_seal(image);
    assert_int_equal(image->log.length % SECTOR_BYTES, place);
    return image->log.length;
}

/* One whose last batch takes several sectors and begins there. */
static uint64_t begin_long(struct image *image, size_t place)
{
    uint8_t text[5 * SECTOR_BYTES];
    memset(text, 'v', sizeof text);
    uint64_t start = begin_short(image, place);
    image_put(image, SLICE_LITERAL("long"), (struct slice){text, sizeof text});
    image_put_text(image, "short", "value");
    image_seal(image);
    return start;
}

static uint64_t sector_end(uint64_t at, uint64_t length)
{
    uint64_t end = at - at % SECTOR_BYTES + SECTOR_BYTES;
    return end < length ? end : length;
}

static bool is_zero(const struct image *image, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at++) {
        if (image->log.bytes[at] != 0) {
            return false;
        }
    }
    return true;
}

/* Zero one sector's share of the last batch after another, each time in a new log. */
static void check_lost_sectors(size_t place)
{
    struct image image;
    uint64_t start = begin_long(&image, place);
    uint64_t length = image.log.length;
    image_free(&image);
    for (uint64_t at = start; at < length; at = sector_end(at, length)) {
        (void)begin_long(&image, place);
        uint64_t end = sector_end(at, length);
        if (is_zero(&image, at, end)) {
            /* The zeros that a record begins with: losing them changes nothing. */
            check_clean(image_slice(&image), 2);
        } else {
            image_fill(&image, at, end, 0);
            check_damaged(image_slice(&image), start, TAIL_TORN);
            image_fill(&image, at, length, 0);
            /* Nothing of it is there: that is what space ahead looks like. */
            check_damaged(image_slice(&image), start,
                          is_zero(&image, start, length) ? TAIL_AHEAD : TAIL_TORN);
        }
        image_free(&image);
    }
}

static void scan_calls_a_last_batch_with_a_lost_sector_torn(void **state)
{
    (void)state;
    for (size_t place = 0; place < SECTOR_BYTES; place += 13) {
        check_lost_sectors(place);
    }
    check_lost_sectors(SECTOR_BYTES - 1);
    check_lost_sectors(SECTOR_BYTES - 7);
    check_lost_sectors(SECTOR_BYTES - 8);
}

/* A sector is written whole, so one that is there in part was not torn. */
static void scan_calls_a_last_batch_with_half_a_sector_of_zeros_corrupt(void **state)
{
    (void)state;
    struct image image;
    uint64_t start = begin_long(&image, 100);
    uint64_t sector = sector_end(sector_end(start, image.log.length), image.log.length);
    image_fill(&image, sector, sector + SECTOR_BYTES - 1, 0);
    check_damaged(image_slice(&image), start, TAIL_CORRUPT);
    image_fill(&image, sector + SECTOR_BYTES - 1, sector + SECTOR_BYTES, 0);
    check_damaged(image_slice(&image), start, TAIL_TORN);
    image_free(&image);

    /* Zeros at the very end are not what was never written, if the sector has more. */
    start = begin_long(&image, 100);
    image_fill(&image, image.log.length - 4, image.log.length, 0);
    check_damaged(image_slice(&image), start, TAIL_CORRUPT);
    image_free(&image);
}

static void scan_calls_a_lost_sector_that_had_been_durable_corrupt(void **state)
{
    (void)state;
    struct image image;
    uint64_t start = begin_long(&image, 100);
    image_seal(&image);
    uint64_t sector = sector_end(start, image.log.length);
    image_fill(&image, sector, sector + SECTOR_BYTES, 0);
    check_damaged(image_slice(&image), start, TAIL_CORRUPT);
    image_free(&image);
}

/* Under everysec whole batches behind a lost sector do not make it durable. */
static void scan_calls_a_lost_sector_before_lagging_seals_torn(void **state)
{
    (void)state;
    struct image image;
    uint64_t start = begin_long(&image, 100);
    uint64_t sector = sector_end(start, image.log.length);
    image_put_text(&image, "later", "value");
    image_seal_durable(&image, OPENING_BYTES);
    image_seal_durable(&image, start);
    image_fill(&image, sector, sector + SECTOR_BYTES, 0);
    check_damaged(image_slice(&image), start, TAIL_TORN);
    image_free(&image);
}

/* The damaged place itself must have been durable, by one byte at least. */
static void scan_takes_the_word_of_any_later_seal_on_durability(void **state)
{
    (void)state;
    for (uint64_t beyond = 0; beyond <= 1; beyond++) {
        for (int later = 0; later < 3; later++) {
            struct image image;
            uint64_t start = begin_long(&image, 100);
            uint64_t sector = sector_end(start, image.log.length);
            for (int i = 0; i < 3; i++) {
                image_put_text(&image, "later", "value");
                image_seal_durable(&image, i == later ? start + beyond : OPENING_BYTES);
            }
            image_fill(&image, sector, sector + SECTOR_BYTES, 0);
            check_damaged(image_slice(&image), start,
                          beyond == 0 ? TAIL_TORN : TAIL_CORRUPT);
            image_free(&image);
        }
    }
}

/* A tail that a file system left behind as zeros, of any length. */
static void scan_calls_zeros_behind_the_last_seal_space_ahead(void **state)
{
    (void)state;
    for (uint64_t count = 1; count <= 1100; count++) {
        struct sample sample;
        sample_begin(&sample, SEALS_ALWAYS);
        image_grow(&sample.image, count, 0);
        /* Fewer than the shortest record has were never made. */
        check_damaged(image_slice(&sample.image), sample.starts[BATCHES],
                      count < RECORD_HEADER_BYTES ? TAIL_TORN : TAIL_AHEAD);
        sample_end(&sample);
    }
}

/* One pass over a long tail: a search that began again at each byte would take hours. */
static void scan_judges_a_long_tail_of_zeros_in_one_pass(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    image_grow(&sample.image, 1 << 22, 0);
    check_damaged(image_slice(&sample.image), sample.starts[BATCHES], TAIL_AHEAD);
    image_grow(&sample.image, 1, 'x');
    check_damaged(image_slice(&sample.image), sample.starts[BATCHES], TAIL_TORN);
    sample_end(&sample);
}

/* ---- Space ahead ---- */

/* What a log held before its last batch was written over space ahead, and after. */
struct overwrite {
    struct image old;
    struct image new;
    uint64_t start;
    uint64_t end; /* of the batch's seal */
};

static void put_space(struct image *image, uint64_t bytes)
{
    uint8_t header[RECORD_HEADER_BYTES];
    record_encode_header(header, 0, bytes - sizeof header);
    image_append(image, (struct slice){header, sizeof header});
    image_grow(image, bytes - sizeof header, 0);
}

static void overwrite_begin(struct overwrite *overwrite, size_t place, size_t length)
{
    enum { SPACE_BYTES = 8 * SECTOR_BYTES };
    uint8_t text[5 * SECTOR_BYTES];
    struct image *new = &overwrite->new;
    overwrite->start = begin_short(&overwrite->old, place);
    put_space(&overwrite->old, SPACE_BYTES);
    (void)begin_short(new, place);
    memset(text, 'w', sizeof text);
    image_put(new, SLICE_LITERAL("k"), (struct slice){text, length});
    image_seal(new);
    overwrite->end = new->log.length;
    put_space(new, overwrite->old.log.length - new->log.length);
}

static void overwrite_end(struct overwrite *overwrite)
{
    image_free(&overwrite->old);
    image_free(&overwrite->new);
}

/* Whether nothing behind the start differs from space ahead but in its length. */
static bool is_space(struct slice log, uint64_t start)
{
    struct slice tail = slice_after(log, (size_t)start);
    return slice_is_zero(slice_first(tail, 8)) &&
           slice_is_zero(slice_after(tail, RECORD_HEADER_BYTES));
}

/* Judge what a power loss left: the sectors of a set are written, the others are not. */
static void check_tear(const struct overwrite *overwrite, unsigned set)
{
    struct image torn = {0};
    image_append(&torn, image_slice(&overwrite->old));
    uint64_t number = 0;
    for (uint64_t at = overwrite->start; at < overwrite->end + RECORD_HEADER_BYTES;
         number++) {
        uint64_t end = sector_end(at, torn.log.length);
        if ((set >> number & 1) != 0) {
            memcpy(torn.log.bytes + at, overwrite->new.log.bytes + at, end - at);
        }
        at = end;
    }
    struct slice written = slice_first(image_slice(&overwrite->new), overwrite->end);
    bool is_whole = slice_starts_with(image_slice(&torn), written);
    uint64_t offset = is_whole ? overwrite->end : overwrite->start;
    check_damaged(image_slice(&torn), offset,
                  is_whole || is_space(image_slice(&torn), offset) ? TAIL_AHEAD
                                                                   : TAIL_TORN);
    image_free(&torn);
}

/* Whatever sectors of a batch are written over zeros: all of it, nothing, or torn. */
static void f115_scan_calls_any_tear_over_space_ahead_torn(void **state)
{
    (void)state;
    for (size_t place = 0; place < SECTOR_BYTES; place += place < 490 ? 7 : 1) {
        for (size_t length = 1; length < 5 * SECTOR_BYTES; length += 397) {
            struct overwrite overwrite;
            overwrite_begin(&overwrite, place, length);
            uint64_t sectors = (overwrite.end + RECORD_HEADER_BYTES) / SECTOR_BYTES + 1 -
                               overwrite.start / SECTOR_BYTES;
            for (unsigned set = 0; set < 1u << sectors; set++) {
                check_tear(&overwrite, set);
            }
            overwrite_end(&overwrite);
        }
    }
}

/* Zeros behind a batch do not make damage in it a tear. */
static void f115_scan_calls_every_flip_before_space_ahead_corrupt(void **state)
{
    (void)state;
    for (size_t place = 0; place < SECTOR_BYTES; place += place < 490 ? 97 : 3) {
        struct overwrite overwrite;
        overwrite_begin(&overwrite, place, 700);
        for (uint64_t at = overwrite.start; at < overwrite.end; at++) {
            for (size_t bit = at % watchdog_scaled(1, 4); bit < 8;
                 bit += watchdog_scaled(1, 4)) {
                image_flip(&overwrite.new, at, (unsigned)bit);
                check_damaged(image_slice(&overwrite.new), overwrite.start, TAIL_CORRUPT);
                image_flip(&overwrite.new, at, (unsigned)bit);
            }
        }
        overwrite_end(&overwrite);
    }
}

/* Nothing is at stake there: another length of the space, or a byte that is not zero. */
static void f115_scan_loses_nothing_by_a_flip_within_space_ahead(void **state)
{
    (void)state;
    struct overwrite overwrite;
    overwrite_begin(&overwrite, 77, 700);
    for (uint64_t at = overwrite.end; at < overwrite.new.log.length; at++) {
        image_flip(&overwrite.new, at, at % 8);
        struct outcome outcome = scan_whole(image_slice(&overwrite.new));
        assert_true(outcome.offset == overwrite.end);
        assert_true(outcome.tail == TAIL_AHEAD || outcome.tail == TAIL_TORN);
        assert_true(outcome.tail == TAIL_TORN || at < overwrite.end + 16);
        image_flip(&overwrite.new, at, at % 8);
    }
    overwrite_end(&overwrite);
}

/* Zeros where a later seal, or another file, says that something was durable. */
static void f115_scan_calls_zeros_that_had_been_written_corrupt(void **state)
{
    (void)state;
    struct overwrite overwrite;
    struct scan scan;
    struct batch batch;
    overwrite_begin(&overwrite, 300, 700);
    image_cut(&overwrite.new, overwrite.end);
    image_put_text(&overwrite.new, "later", "value");
    image_seal(&overwrite.new);
    put_space(&overwrite.new, 5000);
    image_fill(&overwrite.new, overwrite.start, overwrite.end, 0);
    check_damaged(image_slice(&overwrite.new), overwrite.start, TAIL_CORRUPT);
    scan_begin(&scan, image_slice(&overwrite.old), IMAGE_LOG_ID);
    assert_true(scan_next(&scan, &batch));
    assert_false(scan_next(&scan, &batch));
    assert_int_equal(scan_judge_tail(&scan), TAIL_AHEAD);
    scan.proved_length = overwrite.start + 1;
    assert_int_equal(scan_judge_tail(&scan), TAIL_CORRUPT);
    overwrite_end(&overwrite);
}

/* Another program appends behind the zeros, and more than a batch of ours would hold. */
static void f60_f115_scan_tells_foreign_records_behind_space_ahead(void **state)
{
    (void)state;
    struct overwrite overwrite;
    overwrite_begin(&overwrite, 1, 700);
    struct image *image = &overwrite.new;
    image_grow(image, 4 * RECORD_HEADER_BYTES, 0);
    image_put_text(image, "foreign", "value");
    check_damaged(image_slice(image), overwrite.end, TAIL_TORN);
    char *text = malloc(BATCH_BYTES_MAX);
    assert_non_null(text);
    memset(text, 'x', BATCH_BYTES_MAX);
    image_put(image, SLICE_LITERAL("long"),
              (struct slice){(const uint8_t *)text, BATCH_BYTES_MAX});
    check_damaged(image_slice(image), overwrite.end, TAIL_TORN);
    image_put_text(image, "last", "value");
    check_damaged(image_slice(image), overwrite.end, TAIL_FOREIGN);
    free(text);
    overwrite_end(&overwrite);
}

/* The seal of a batch may stand beyond its limit: it is no record of another program. */
static void scan_calls_a_torn_batch_with_its_seal_beyond_the_limit_torn(void **state)
{
    (void)state;
    struct sample sample;
    char *text = malloc(BATCH_BYTES_MAX);
    assert_non_null(text);
    memset(text, 'x', BATCH_BYTES_MAX);
    sample_begin(&sample, SEALS_ALWAYS);
    struct image *image = &sample.image;
    uint64_t start = sample.starts[BATCHES];
    image_put(image, SLICE_LITERAL("long"),
              (struct slice){(const uint8_t *)text, BATCH_BYTES_MAX});
    image_seal(image);
    uint64_t missing = start / SECTOR_BYTES * SECTOR_BYTES + 2 * SECTOR_BYTES;
    image_fill(image, missing, missing + SECTOR_BYTES, 0);
    check_damaged(image_slice(image), start, TAIL_TORN);
    free(text);
    sample_end(&sample);
}

static void scan_calls_records_without_a_seal_torn(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    image_put_text(&sample.image, "unsealed", "value");
    check_damaged(image_slice(&sample.image), sample.starts[BATCHES], TAIL_TORN);
    image_put_text(&sample.image, "unsealed", "once more");
    check_damaged(image_slice(&sample.image), sample.starts[BATCHES], TAIL_TORN);
    sample_end(&sample);
}

/* Text of a client that looks like a seal, at the very end of what was written. */
static void scan_calls_a_value_with_the_text_of_a_seal_torn(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    struct slice log = image_slice(&sample.image);
    uint8_t text[SEAL_BYTES - RECORD_HEADER_BYTES];
    memcpy(text, log.bytes + log.length - sizeof text, sizeof text);
    image_put(&sample.image, SLICE_LITERAL("key"), (struct slice){text, sizeof text});
    check_damaged(image_slice(&sample.image), sample.starts[BATCHES], TAIL_TORN);
    sample_end(&sample);
}

static void scan_calls_a_removed_batch_corrupt(void **state)
{
    (void)state;
    for (size_t i = 0; i < BATCHES - 1; i++) {
        struct sample sample;
        sample_begin(&sample, SEALS_ALWAYS);
        image_remove(&sample.image, sample.starts[i], sample.starts[i + 1]);
        check_damaged(image_slice(&sample.image), sample.starts[i], TAIL_CORRUPT);
        sample_end(&sample);
    }
}

static void scan_calls_a_doubled_batch_corrupt(void **state)
{
    (void)state;
    for (size_t i = 0; i < BATCHES; i++) {
        struct sample sample;
        sample_begin(&sample, SEALS_ALWAYS);
        uint8_t copy[1024];
        size_t length = (size_t)(sample.starts[i + 1] - sample.starts[i]);
        memcpy(copy, sample.image.log.bytes + sample.starts[i], length);
        image_insert(&sample.image, sample.starts[i + 1], (struct slice){copy, length});
        check_damaged(image_slice(&sample.image), sample.starts[i + 1], TAIL_CORRUPT);
        sample_end(&sample);
    }
}

static void scan_calls_swapped_batches_corrupt(void **state)
{
    (void)state;
    for (size_t i = 0; i + 2 <= BATCHES; i++) {
        struct sample sample;
        sample_begin(&sample, SEALS_ALWAYS);
        uint8_t copy[1024];
        size_t length = (size_t)(sample.starts[i + 1] - sample.starts[i]);
        memcpy(copy, sample.image.log.bytes + sample.starts[i], length);
        image_remove(&sample.image, sample.starts[i], sample.starts[i + 1]);
        image_insert(&sample.image, sample.starts[i + 2] - length,
                     (struct slice){copy, length});
        check_damaged(image_slice(&sample.image), sample.starts[i], TAIL_CORRUPT);
        sample_end(&sample);
    }
}

/* Swapped records within a batch keep all lengths: only the chain can tell. */
static void scan_calls_swapped_records_corrupt(void **state)
{
    (void)state;
    struct image image;
    image_begin_first(&image);
    image_put_text(&image, "a", "1");
    image_put_text(&image, "b", "2");
    image_seal(&image);
    uint8_t *records = image.log.bytes + OPENING_BYTES;
    uint8_t copy[18];
    memcpy(copy, records, sizeof copy);
    memmove(records, records + sizeof copy, sizeof copy);
    memcpy(records + sizeof copy, copy, sizeof copy);
    check_damaged(image_slice(&image), OPENING_BYTES, TAIL_CORRUPT);
    image_free(&image);
}

/* A batch with one wrong thing about it, sealed so that all checksums are right. */
enum wrong {
    WRONG_NOTHING,
    WRONG_SEAL_ID,
    WRONG_CHAIN,
    WRONG_DURABLE_LENGTH,
    WRONG_DRAINED_ID,
    WRONG_SECOND_OPENING,
    WRONG_EMPTY_KEY,
    WRONG_TOTAL
};

static void put_wrong_records(struct image *image, enum wrong wrong)
{
    image_put_text(image, "key", "value");
    if (wrong == WRONG_DRAINED_ID) {
        image->log_id = IMAGE_FOREIGN_ID;
        image_drained(image, IMAGE_OLDER_ID);
        image->log_id = IMAGE_LOG_ID;
    } else if (wrong == WRONG_SECOND_OPENING) {
        uint8_t copy[OPENING_BYTES];
        memcpy(copy, image->log.bytes, sizeof copy);
        image_append(image, (struct slice){copy, sizeof copy});
    } else if (wrong == WRONG_EMPTY_KEY) {
        image_put_text(image, "", "value");
    }
}

static void put_wrong_seal(struct image *image, enum wrong wrong)
{
    if (wrong == WRONG_DURABLE_LENGTH) {
        image_seal_durable(image, image->log.length + 1);
        return;
    }
    uint32_t chain_bits = wrong == WRONG_CHAIN ? 1 : 0;
    image->log_id = wrong == WRONG_SEAL_ID ? IMAGE_FOREIGN_ID : IMAGE_LOG_ID;
    image->chain ^= chain_bits;
    image_seal(image);
    image->log_id = IMAGE_LOG_ID;
}

static void scan_refuses_a_batch_with_one_wrong_thing(void **state)
{
    (void)state;
    for (int wrong = WRONG_NOTHING; wrong < WRONG_TOTAL; wrong++) {
        struct image image;
        image_begin_first(&image);
        image_put_text(&image, "first", "value");
        image_seal(&image);
        uint64_t start = image.log.length;
        put_wrong_records(&image, (enum wrong)wrong);
        put_wrong_seal(&image, (enum wrong)wrong);
        if (wrong == WRONG_NOTHING) {
            check_clean(image_slice(&image), 2);
        } else {
            check_damaged(image_slice(&image), start, TAIL_CORRUPT);
        }
        image_free(&image);
    }
}

/* What another log knew to be durable says nothing about this one. */
static void scan_gives_no_ear_to_seals_of_another_log(void **state)
{
    (void)state;
    struct image image;
    uint64_t start = begin_long(&image, 100);
    uint64_t sector = sector_end(start, image.log.length);
    image.log_id = IMAGE_FOREIGN_ID;
    image_seal(&image);
    image_fill(&image, sector, sector + SECTOR_BYTES, 0);
    check_damaged(image_slice(&image), start, TAIL_TORN);
    image_free(&image);
}

/* ... nor that the last batch was written to its end. */
static void scan_takes_the_end_of_another_log_for_no_end_of_a_batch(void **state)
{
    (void)state;
    for (int is_own = 0; is_own < 2; is_own++) {
        struct image image;
        image_begin_first(&image);
        image_put_text(&image, "first", "value");
        image_seal(&image);
        uint64_t start = image.log.length;
        image_put_text(&image, "second", "value");
        image.log_id = is_own ? IMAGE_LOG_ID : IMAGE_FOREIGN_ID;
        image_seal(&image);
        image_flip(&image, image.log.length - SEAL_BYTES + 15, 0); /* its header */
        check_damaged(image_slice(&image), start, is_own ? TAIL_CORRUPT : TAIL_TORN);
        image_free(&image);
    }
}

/* A key that no index slot can hold never came from a server, whatever seals it. */
static void scan_takes_no_batch_with_a_key_over_the_limit(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct image image;
        size_t length = (size_t)KEY_BYTES_MAX + more;
        uint8_t *key = malloc(length);
        assert_non_null(key);
        memset(key, 'k', length);
        image_begin_first(&image);
        image_put(&image, (struct slice){key, length}, SLICE_LITERAL("value"));
        image_seal(&image);
        image_seal(&image);
        if (more == 0) {
            check_clean(image_slice(&image), 2);
        } else {
            check_damaged(image_slice(&image), OPENING_BYTES, TAIL_CORRUPT);
        }
        image_free(&image);
        free(key);
    }
}

static void scan_of_another_log_s_id_finds_no_batch(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    struct scan scan;
    struct batch batch = {.offset = 77};
    scan_begin(&scan, image_slice(&sample.image), IMAGE_FOREIGN_ID);
    assert_false(scan_next(&scan, &batch));
    assert_true(scan.offset == OPENING_BYTES);
    sample_end(&sample);
}

static void scan_stays_where_it_is_at_damage(void **state)
{
    (void)state;
    struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    image_flip(&sample.image, sample.starts[2] - 1, 0);
    struct scan scan;
    struct batch batch = {0};
    scan_begin(&scan, image_slice(&sample.image), IMAGE_LOG_ID);
    assert_true(scan_next(&scan, &batch));
    struct scan before = scan;
    batch = (struct batch){.offset = 77, .records = SLICE_LITERAL("untouched")};
    for (int i = 0; i < 3; i++) {
        assert_false(scan_next(&scan, &batch));
        assert_true(scan.offset == before.offset && scan.chain == before.chain);
        assert_true(batch.offset == 77 && batch.records.length == 9);
        assert_int_equal(scan_judge_tail(&scan), TAIL_CORRUPT);
    }
    /* The same place goes on as soon as it is whole. */
    image_flip(&sample.image, sample.starts[2] - 1, 0);
    assert_true(scan_next(&scan, &batch));
    sample_end(&sample);
}

/* Runs of them, as long as a batch may be, up to the first that is not whole. */
static void scan_of_a_log_without_marks_gives_whole_records(void **state)
{
    (void)state;
    struct image image;
    struct scan scan;
    struct batch batch;
    uint8_t *value = calloc(1, (size_t)BATCH_BYTES_MAX);
    assert_non_null(value);
    image_begin_first(&image); /* for this reader a record like any other */
    image_put(&image, SLICE_LITERAL("large"),
              (struct slice){value, (size_t)BATCH_BYTES_MAX});
    uint64_t first_end = image.log.length;
    image_put_text(&image, "small", "value");
    uint64_t second_end = image.log.length;
    image_put_text(&image, "small", "torn");
    image_cut(&image, image.log.length - 1);
    scan_begin_unmarked(&scan, image_slice(&image));
    assert_true(scan_next(&scan, &batch));
    assert_int_equal(batch.offset, 0);
    assert_int_equal(batch.records.length, first_end);
    assert_true(scan_next(&scan, &batch));
    assert_int_equal(batch.offset, first_end);
    assert_int_equal(batch.records.length, second_end - first_end);
    assert_false(scan_next(&scan, &batch));
    assert_int_equal(scan.offset, second_end);
    assert_false(scan_is_at_end(&scan));
    assert_int_equal(scan_judge_tail(&scan), TAIL_TORN);
    image_free(&image);
    free(value);
}

static void scan_refuses_lengths_beyond_the_log(void **state)
{
    static const uint64_t lengths[] = {
        4096,       UINT64_C(1) << 31, UINT64_C(1) << 32, INT64_MAX, UINT64_C(1) << 63,
        UINT64_MAX, UINT64_MAX - 15};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (int which = 0; which < 2; which++) {
            struct sample sample;
            sample_begin(&sample, SEALS_ALWAYS);
            uint8_t header[RECORD_HEADER_BYTES];
            record_encode_header(header, which == 0 ? lengths[i] : 4,
                                 which == 0 ? 5 : lengths[i]);
            image_append(&sample.image, (struct slice){header, sizeof header});
            image_grow(&sample.image, 40, 'x');
            check_damaged(image_slice(&sample.image), sample.starts[BATCHES], TAIL_TORN);
            sample_end(&sample);
        }
    }
}

/* Whatever happens to a log, what a scan hands out is what was written. */
static void scan_never_gives_a_changed_byte(void **state)
{
    (void)state;
    struct dice dice;
    dice_begin(&dice);
    struct sample original;
    sample_begin(&original, SEALS_ALWAYS);
    for (int round = 0; round < 3000; round++) {
        struct sample sample;
        sample_begin(&sample, SEALS_ALWAYS);
        uint64_t room = sample.image.log.length - OPENING_BYTES;
        uint64_t count = 1 + dice_below(&dice, 4);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t from = OPENING_BYTES + dice_below(&dice, room);
            uint64_t to = from + 1 + dice_below(&dice, 3);
            to = to < sample.image.log.length ? to : sample.image.log.length;
            image_fill(&sample.image, from, to, (uint8_t)dice_next(&dice));
        }
        struct outcome outcome = scan_whole(image_slice(&sample.image));
        assert_memory_equal(sample.image.log.bytes, original.image.log.bytes,
                            (size_t)outcome.offset);
        sample_end(&sample);
    }
    sample_end(&original);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_gives_each_batch_and_then_the_end),
        cmocka_unit_test(scan_gives_records_in_the_order_written),
        cmocka_unit_test(scan_of_an_opening_record_alone_is_at_its_end),
        cmocka_unit_test(scan_takes_empty_batches_one_after_another),
        cmocka_unit_test(scan_takes_a_seal_that_says_all_before_it_is_durable),
        cmocka_unit_test(scan_calls_every_cut_torn_at_the_last_whole_batch),
        cmocka_unit_test(scan_calls_every_flip_before_the_last_batch_corrupt),
        cmocka_unit_test(scan_calls_every_flip_in_a_full_last_batch_corrupt),
        cmocka_unit_test(scan_calls_every_flip_in_the_header_of_the_last_seal_corrupt),
        cmocka_unit_test(scan_calls_every_flip_under_lagging_seals_corrupt),
        cmocka_unit_test(scan_calls_a_last_batch_with_a_lost_sector_torn),
        cmocka_unit_test(scan_calls_a_last_batch_with_half_a_sector_of_zeros_corrupt),
        cmocka_unit_test(scan_calls_a_lost_sector_that_had_been_durable_corrupt),
        cmocka_unit_test(scan_calls_a_lost_sector_before_lagging_seals_torn),
        cmocka_unit_test(scan_takes_the_word_of_any_later_seal_on_durability),
        cmocka_unit_test(scan_calls_zeros_behind_the_last_seal_space_ahead),
        cmocka_unit_test(scan_judges_a_long_tail_of_zeros_in_one_pass),
        cmocka_unit_test(f115_scan_calls_any_tear_over_space_ahead_torn),
        cmocka_unit_test(f115_scan_calls_every_flip_before_space_ahead_corrupt),
        cmocka_unit_test(f115_scan_loses_nothing_by_a_flip_within_space_ahead),
        cmocka_unit_test(f115_scan_calls_zeros_that_had_been_written_corrupt),
        cmocka_unit_test(f60_f115_scan_tells_foreign_records_behind_space_ahead),
        cmocka_unit_test(scan_calls_a_torn_batch_with_its_seal_beyond_the_limit_torn),
        cmocka_unit_test(scan_calls_records_without_a_seal_torn),
        cmocka_unit_test(scan_calls_a_value_with_the_text_of_a_seal_torn),
        cmocka_unit_test(scan_calls_a_removed_batch_corrupt),
        cmocka_unit_test(scan_calls_a_doubled_batch_corrupt),
        cmocka_unit_test(scan_calls_swapped_batches_corrupt),
        cmocka_unit_test(scan_calls_swapped_records_corrupt),
        cmocka_unit_test(scan_refuses_a_batch_with_one_wrong_thing),
        cmocka_unit_test(scan_gives_no_ear_to_seals_of_another_log),
        cmocka_unit_test(scan_takes_the_end_of_another_log_for_no_end_of_a_batch),
        cmocka_unit_test(scan_takes_no_batch_with_a_key_over_the_limit),
        cmocka_unit_test(scan_of_another_log_s_id_finds_no_batch),
        cmocka_unit_test(scan_stays_where_it_is_at_damage),
        cmocka_unit_test(scan_of_a_log_without_marks_gives_whole_records),
        cmocka_unit_test(scan_refuses_lengths_beyond_the_log),
        cmocka_unit_test(scan_never_gives_a_changed_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
