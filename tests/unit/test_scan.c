/*
 * Reading a sealed log: whole batches are found, and every kind of damage gets the
 * verdict that recovery acts on.
 */
#include "log/scan.h"

#include "base/bounds.h"
#include "support/dice.h"
#include "support/guarded.h"
#include "support/image.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

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

/* A test on a sample, which is its *state. */
#define ON_SAMPLE(test) cmocka_unit_test_setup_teardown(test, sample_setup, sample_end)

static int sample_setup(void **state)
{
    static struct sample sample;
    sample_begin(&sample, SEALS_ALWAYS);
    *state = &sample;
    return 0;
}

static int sample_end(void **state)
{
    struct sample *sample = *state;
    image_free(&sample->image);
    return 0;
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

static void check_image(const struct image *image, uint64_t offset, enum tail tail)
{
    check_damaged(image_slice(image), offset, tail);
}

static void check_clean(struct slice log, size_t batch_count)
{
    struct outcome outcome = scan_whole(log);
    assert_false(outcome.is_damaged);
    assert_true(outcome.offset == log.length);
    assert_int_equal(outcome.batch_count, batch_count);
}

/* A value of so many bytes. */
static void put_long(struct image *image, const char *key, size_t value_bytes)
{
    struct script value = {0};
    script_add_fill(&value, 'v', value_bytes);
    image_put(image, slice_of_text(key), script_slice(&value));
    script_free(&value);
}

static struct slice bytes_between(const struct image *image, uint64_t from, uint64_t to)
{
    return slice_after(slice_first(image_slice(image), (size_t)to), (size_t)from);
}

/* ---- Whole logs ---- */

static void scan_gives_each_batch_and_then_the_end(void **state)
{
    struct sample *sample = *state;
    struct slice log = image_slice(&sample->image);
    struct scan scan;
    scan_begin(&scan, log, IMAGE_LOG_ID);
    assert_true(scan.offset == OPENING_BYTES);
    for (int i = 0; i < BATCHES; i++) {
        struct batch batch;
        assert_true(scan_next(&scan, &batch));
        assert_true(batch.offset == sample->starts[i]);
        assert_ptr_equal(batch.records.bytes, log.bytes + sample->starts[i]);
        assert_true(batch.records.length ==
                    sample->starts[i + 1] - sample->starts[i] - SEAL_BYTES);
        assert_true(scan.offset == sample->starts[i + 1]);
    }
    struct batch batch = {.offset = 77};
    assert_false(scan_next(&scan, &batch));
    assert_false(scan_next(&scan, &batch));
    assert_true(scan_is_at_end(&scan));
    assert_true(batch.offset == 77);
    assert_true(scan.chain == sample->image.chain);
}

/* None at all, seals alone, and one that calls its own batch durable. */
static void scan_takes_any_number_of_batches(void **state)
{
    (void)state;
    struct image image;
    image_begin_first(&image);
    for (size_t count = 0; count <= 20; count++) {
        check_clean(image_slice(&image), count);
        image_seal(&image);
    }
    image_put_text(&image, "key", "value");
    image_seal_durable(&image, image.log.length);
    check_clean(image_slice(&image), 22);
    image_free(&image);
}

static void scan_of_another_log_s_id_finds_no_batch(void **state)
{
    struct sample *sample = *state;
    struct scan scan;
    struct batch batch = {.offset = 77};
    scan_begin(&scan, image_slice(&sample->image), IMAGE_FOREIGN_ID);
    assert_false(scan_next(&scan, &batch));
    assert_true(scan.offset == OPENING_BYTES);
}

static void scan_stays_where_it_is_at_damage(void **state)
{
    struct sample *sample = *state;
    image_flip(&sample->image, sample->starts[2] - 1, 0);
    struct scan scan;
    struct batch batch = {0};
    scan_begin(&scan, image_slice(&sample->image), IMAGE_LOG_ID);
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
    image_flip(&sample->image, sample->starts[2] - 1, 0);
    assert_true(scan_next(&scan, &batch));
}

/* Runs of them, as long as a batch may be, up to the first that is not whole. */
static void scan_of_a_log_without_marks_gives_whole_records(void **state)
{
    (void)state;
    struct image image;
    struct scan scan;
    struct batch batch;
    image_begin_first(&image); /* for this reader a record like any other */
    put_long(&image, "large", (size_t)BATCH_BYTES_MAX);
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
}

/* ---- Cuts and flips ---- */

static void scan_calls_every_cut_torn_and_every_flip_corrupt(void **state)
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
        /* A seal says so, or every byte is there, so that no write was cut short. */
        for (uint64_t bit = 0; bit < whole.length * 8; bit++) {
            size_t number = batch_of(&sample, bit / 8);
            uint64_t offset = sample.starts[number == 0 ? 0 : number - 1];
            image_flip(&sample.image, bit / 8, (unsigned)(bit % 8));
            check_image(&sample.image, offset, TAIL_CORRUPT);
            image_flip(&sample.image, bit / 8, (unsigned)(bit % 8));
        }
        image_free(&sample.image);
    }
}

/* ---- Lost sectors ---- */

/* A log of one batch that ends at a chosen place of a sector. */
static uint64_t begin_short(struct image *image, size_t place)
{
    image_begin_first(image);
    size_t taken = OPENING_BYTES + RECORD_HEADER_BYTES + 1 + SEAL_BYTES;
    put_long(image, "f", (2 * SECTOR_BYTES + place - taken) % SECTOR_BYTES);
    image_seal(image);
    assert_int_equal(image->log.length % SECTOR_BYTES, place);
    return image->log.length;
}

/* One whose last batch takes several sectors and begins there. */
static uint64_t begin_long(struct image *image, size_t place)
{
    uint64_t start = begin_short(image, place);
    put_long(image, "long", 5 * SECTOR_BYTES);
    image_put_text(image, "short", "value");
    image_seal(image);
    return start;
}

static uint64_t sector_end(uint64_t at, uint64_t length)
{
    uint64_t end = at - at % SECTOR_BYTES + SECTOR_BYTES;
    return end < length ? end : length;
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
        if (slice_is_zero(bytes_between(&image, at, end))) {
            /* The zeros that a record begins with: losing them changes nothing. */
            check_clean(image_slice(&image), 2);
        } else {
            image_fill(&image, at, end, 0);
            check_image(&image, start, TAIL_TORN);
            image_fill(&image, at, length, 0);
            /* Nothing of it is there: that is what space ahead looks like. */
            bool is_nothing = slice_is_zero(bytes_between(&image, start, length));
            check_image(&image, start, is_nothing ? TAIL_AHEAD : TAIL_TORN);
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

/* A batch that begins in the middle of a sector, and what became of one behind that. */
static void scan_asks_later_seals_about_a_lost_sector(void **state)
{
    enum { PLACE = 100, START = SECTOR_BYTES + PLACE, FIRST = OPENING_BYTES };
    static const struct {
        const char *name;
        uint64_t durable[3]; /* what seals of later batches say; 0: no such batch */
        bool is_foreign;     /* they are another log's */
        uint64_t left;       /* bytes of the sector that are still there */
        enum tail tail;
    } cases[] = {
        {"no later seal", {0}, false, 0, TAIL_TORN},
        {"sectors are written whole", {0}, false, 1, TAIL_CORRUPT},
        {"durable up to the batch", {FIRST, START, START}, false, 0, TAIL_TORN},
        {"durable, says the first", {START + 1, FIRST, FIRST}, false, 0, TAIL_CORRUPT},
        {"durable, says the second", {FIRST, START + 1, FIRST}, false, 0, TAIL_CORRUPT},
        {"durable, says the last", {FIRST, FIRST, START + 1}, false, 0, TAIL_CORRUPT},
        {"durable in another log", {START + 1}, true, 0, TAIL_TORN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct image image;
        print_message("  %s\n", cases[i].name);
        assert_int_equal(begin_long(&image, PLACE), START);
        image.log_id = cases[i].is_foreign ? IMAGE_FOREIGN_ID : IMAGE_LOG_ID;
        for (size_t k = 0; k < 3 && cases[i].durable[k] != 0; k++) {
            image_put_text(&image, "later", "value");
            image_seal_durable(&image, cases[i].durable[k]);
        }
        image_fill(&image, 2 * SECTOR_BYTES, 3 * SECTOR_BYTES - cases[i].left, 0);
        check_image(&image, START, cases[i].tail);
        image_free(&image);
    }
}

/* Zeros at the very end are not what was never written, if their sector has more. */
static void scan_calls_a_last_batch_with_zeros_at_its_end_corrupt(void **state)
{
    struct image image;
    (void)state;
    uint64_t start = begin_long(&image, 100);
    image_fill(&image, image.log.length - 4, image.log.length, 0);
    check_image(&image, start, TAIL_CORRUPT);
    image_free(&image);
}

/* ---- Space ahead ---- */

/* Also many of them, in one pass: a search that began again at each would take hours. */
static void scan_calls_zeros_behind_the_last_seal_space_ahead(void **state)
{
    struct sample *sample = *state;
    for (uint64_t count = 1; count <= 1100; count++) {
        image_grow(&sample->image, 1, 0);
        /* Fewer than the shortest record has were never made. */
        check_image(&sample->image, sample->starts[BATCHES],
                    count < RECORD_HEADER_BYTES ? TAIL_TORN : TAIL_AHEAD);
    }
    image_grow(&sample->image, 1 << 22, 0);
    check_image(&sample->image, sample->starts[BATCHES], TAIL_AHEAD);
    image_grow(&sample->image, 1, 'x');
    check_image(&sample->image, sample->starts[BATCHES], TAIL_TORN);
}

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
    struct image *new = &overwrite->new;
    overwrite->start = begin_short(&overwrite->old, place);
    put_space(&overwrite->old, SPACE_BYTES);
    (void)begin_short(new, place);
    put_long(new, "k", length);
    image_seal(new);
    overwrite->end = new->log.length;
    put_space(new, overwrite->old.log.length - new->log.length);
}

static void overwrite_end(struct overwrite *overwrite)
{
    image_free(&overwrite->old);
    image_free(&overwrite->new);
}

/* Whether a tail differs from space ahead in nothing but its length. */
static bool is_space(struct slice tail)
{
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
            memcpy(torn.log.bytes + at, overwrite->new.log.bytes + at,
                   (size_t)(end - at));
        }
        at = end;
    }
    struct slice written = bytes_between(&overwrite->new, 0, overwrite->end);
    bool is_whole = slice_starts_with(image_slice(&torn), written);
    uint64_t offset = is_whole ? overwrite->end : overwrite->start;
    bool is_ahead = is_whole || is_space(bytes_between(&torn, offset, torn.log.length));
    check_image(&torn, offset, is_ahead ? TAIL_AHEAD : TAIL_TORN);
    image_free(&torn);
}

/* Whatever sectors of a batch are written over zeros: all of it, nothing, or torn. */
static void f115_scan_calls_any_tear_over_space_ahead_torn(void **state)
{
    (void)state;
    const size_t pace = watchdog_scaled(7, 35);
    for (size_t place = 0; place < SECTOR_BYTES; place += place < 490 ? pace : 1) {
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
            for (uint64_t bit = at % watchdog_scaled(1, 4); bit < 8;
                 bit += watchdog_scaled(1, 4)) {
                image_flip(&overwrite.new, at, (unsigned)bit);
                check_image(&overwrite.new, overwrite.start, TAIL_CORRUPT);
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
    check_image(&overwrite.new, overwrite.start, TAIL_CORRUPT);
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
    check_image(image, overwrite.end, TAIL_TORN);
    put_long(image, "long", BATCH_BYTES_MAX);
    check_image(image, overwrite.end, TAIL_TORN);
    image_put_text(image, "last", "value");
    check_image(image, overwrite.end, TAIL_FOREIGN);
    overwrite_end(&overwrite);
}

/* ---- Tails without a seal, and with one where it does not belong ---- */

/* The seal of a batch may stand beyond its limit: it is no record of another program. */
static void scan_calls_a_torn_batch_with_its_seal_beyond_the_limit_torn(void **state)
{
    struct sample *sample = *state;
    struct image *image = &sample->image;
    uint64_t start = sample->starts[BATCHES];
    put_long(image, "long", BATCH_BYTES_MAX);
    image_seal(image);
    uint64_t missing = start / SECTOR_BYTES * SECTOR_BYTES + 2 * SECTOR_BYTES;
    image_fill(image, missing, missing + SECTOR_BYTES, 0);
    check_image(image, start, TAIL_TORN);
}

/* Also when the last one has a client's text that looks like a seal. */
static void scan_calls_records_without_a_seal_torn(void **state)
{
    struct sample *sample = *state;
    struct image *image = &sample->image;
    uint64_t start = sample->starts[BATCHES];
    uint8_t text[SEAL_BYTES - RECORD_HEADER_BYTES];
    memcpy(text, image->log.bytes + start - sizeof text, sizeof text);
    for (int i = 0; i < 3; i++) {
        image_put(image, SLICE_LITERAL("key"), (struct slice){text, sizeof text});
        check_image(image, start, TAIL_TORN);
        image_put_text(image, "unsealed", "value");
        check_image(image, start, TAIL_TORN);
    }
}

/* The end of another log does not say that the last batch was written to its end. */
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
        check_image(&image, start, is_own ? TAIL_CORRUPT : TAIL_TORN);
        image_free(&image);
    }
}

/* ---- Batches that are wrong ---- */

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
    check_image(&image, OPENING_BYTES, TAIL_CORRUPT);
    image_free(&image);
}

/* Batches with one wrong thing about them, sealed so that all checksums are right. */
static void scan_refuses_a_batch_with_one_wrong_thing(void **state)
{
    static const struct {
        const char *name;
        bool has_foreign_drained, has_opening, has_empty_key;
        uint64_t seal_id;
        uint32_t chain_bits;   /* that are wrong */
        uint64_t durable_more; /* than there is before the seal */
    } cases[] = {
        {.name = "nothing", .seal_id = IMAGE_LOG_ID},
        {.name = "another log's drained mark",
         .has_foreign_drained = true,
         .seal_id = IMAGE_LOG_ID},
        {.name = "an opening record", .has_opening = true, .seal_id = IMAGE_LOG_ID},
        {.name = "an empty key", .has_empty_key = true, .seal_id = IMAGE_LOG_ID},
        {.name = "another log's seal", .seal_id = IMAGE_FOREIGN_ID},
        {.name = "the chain", .seal_id = IMAGE_LOG_ID, .chain_bits = 1},
        {.name = "the durable length", .seal_id = IMAGE_LOG_ID, .durable_more = 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct image image;
        print_message("  %s\n", cases[i].name);
        image_begin_first(&image);
        struct script opening = {0};
        script_add(&opening, image_slice(&image));
        image_put_text(&image, "first", "value");
        image_seal(&image);
        uint64_t start = image.log.length;
        image_put_text(&image, "key", "value");
        if (cases[i].has_foreign_drained) {
            image.log_id = IMAGE_FOREIGN_ID;
            image_drained(&image, IMAGE_OLDER_ID);
        } else if (cases[i].has_opening) {
            image_append(&image, script_slice(&opening));
        } else if (cases[i].has_empty_key) {
            image_put_text(&image, "", "value");
        }
        uint64_t more = cases[i].durable_more;
        image.log_id = cases[i].seal_id;
        image.chain ^= cases[i].chain_bits;
        image_seal_durable(&image, more > 0 ? image.log.length + more : start);
        if (i == 0) {
            check_clean(image_slice(&image), 2);
        } else {
            check_image(&image, start, TAIL_CORRUPT);
        }
        script_free(&opening);
        image_free(&image);
    }
}

/* A key that no index slot can hold never came from a server, whatever seals it. */
static void scan_takes_no_batch_with_a_key_over_the_limit(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct image image;
        struct script key = {0};
        script_add_fill(&key, 'k', (size_t)KEY_BYTES_MAX + more);
        image_begin_first(&image);
        image_put(&image, script_slice(&key), SLICE_LITERAL("value"));
        image_seal(&image);
        image_seal(&image);
        if (more == 0) {
            check_clean(image_slice(&image), 2);
        } else {
            check_image(&image, OPENING_BYTES, TAIL_CORRUPT);
        }
        image_free(&image);
        script_free(&key);
    }
}

/* Whatever happens to a log, what a scan hands out is what was written. */
static void scan_never_gives_a_changed_byte(void **state)
{
    struct sample *sample = *state;
    struct dice dice;
    dice_begin(&dice);
    for (int round = 0; round < 3000; round++) {
        struct image image = {.log_id = 0};
        image_append(&image, image_slice(&sample->image));
        uint64_t room = image.log.length - OPENING_BYTES;
        uint64_t count = 1 + dice_below(&dice, 4);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t from = OPENING_BYTES + dice_below(&dice, room);
            uint64_t to = from + 1 + dice_below(&dice, 3);
            to = to < image.log.length ? to : image.log.length;
            image_fill(&image, from, to, (uint8_t)dice_next(&dice));
        }
        struct outcome outcome = scan_whole(image_slice(&image));
        assert_memory_equal(image.log.bytes, sample->image.log.bytes,
                            (size_t)outcome.offset);
        image_free(&image);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SAMPLE(scan_gives_each_batch_and_then_the_end),
        cmocka_unit_test(scan_takes_any_number_of_batches),
        ON_SAMPLE(scan_of_another_log_s_id_finds_no_batch),
        ON_SAMPLE(scan_stays_where_it_is_at_damage),
        cmocka_unit_test(scan_of_a_log_without_marks_gives_whole_records),
        cmocka_unit_test(scan_calls_every_cut_torn_and_every_flip_corrupt),
        cmocka_unit_test(scan_calls_a_last_batch_with_a_lost_sector_torn),
        cmocka_unit_test(scan_asks_later_seals_about_a_lost_sector),
        cmocka_unit_test(scan_calls_a_last_batch_with_zeros_at_its_end_corrupt),
        ON_SAMPLE(scan_calls_zeros_behind_the_last_seal_space_ahead),
        cmocka_unit_test(f115_scan_calls_any_tear_over_space_ahead_torn),
        cmocka_unit_test(f115_scan_calls_every_flip_before_space_ahead_corrupt),
        cmocka_unit_test(f115_scan_loses_nothing_by_a_flip_within_space_ahead),
        cmocka_unit_test(f115_scan_calls_zeros_that_had_been_written_corrupt),
        cmocka_unit_test(f60_f115_scan_tells_foreign_records_behind_space_ahead),
        ON_SAMPLE(scan_calls_a_torn_batch_with_its_seal_beyond_the_limit_torn),
        ON_SAMPLE(scan_calls_records_without_a_seal_torn),
        cmocka_unit_test(scan_takes_the_end_of_another_log_for_no_end_of_a_batch),
        cmocka_unit_test(scan_calls_swapped_records_corrupt),
        cmocka_unit_test(scan_refuses_a_batch_with_one_wrong_thing),
        cmocka_unit_test(scan_takes_no_batch_with_a_key_over_the_limit),
        ON_SAMPLE(scan_never_gives_a_changed_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
