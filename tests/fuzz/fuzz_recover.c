/*
 * Any bytes as the file that a server starts on, through everything that opens a log:
 * what is refused is untouched, what is served stands in the file, and all of them agree.
 *
 * The expected state is a plain replay of the part of the file that opening it kept; the
 * checks on that part are made here once more, from the description in record.h.
 */
#include "fuzz/fuzz.h"

#include "base/bounds.h"
#include "base/crc32c.h"
#include "engine/store.h"
#include "fuzz/scratch.h"
#include "log/record.h"
#include "offline/salvage.h"
#include "offline/verify.h"
#include "support/contents.h"
#include "support/keyed.h"

#include <stdio.h>

#define LOG      "log"
#define SALVAGED "salvaged"

/* What there was before, and what opening it made of it. */
struct specimen {
    struct slice bytes;
    bool has_opening;
    struct opening opening;
    struct buffer kept; /* the file after it was opened */
};

/* What it must hold; one for all, so that its memory serves them all. */
static struct contents contents;

/* ---- A reading of the format that shares no code with src/log/record.c ---- */

static uint64_t read_number(const uint8_t *bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < 8; i++) {
        number = number * 256 + bytes[i];
    }
    return number;
}

/* The record that starts here. */
static bool read_record(struct slice bytes, struct slice *key_out,
                        struct slice *value_out)
{
    if (bytes.length < RECORD_HEADER_BYTES) {
        return false;
    }
    uint64_t key_length = read_number(bytes.bytes);
    uint64_t value_length = read_number(bytes.bytes + 8);
    uint64_t left = bytes.length - RECORD_HEADER_BYTES;
    if (key_length > left || value_length > left - key_length) {
        return false;
    }
    *key_out = (struct slice){bytes.bytes + RECORD_HEADER_BYTES, (size_t)key_length};
    *value_out = (struct slice){bytes.bytes + RECORD_HEADER_BYTES + key_length,
                                (size_t)value_length};
    return true;
}

/*
 * Apply whole records as a reader of the format without marks does; records with an empty
 * key are passed over. Returns the length of the whole records.
 */
static size_t replay(struct slice records)
{
    struct slice key;
    struct slice value;
    size_t at = 0;
    while (read_record(slice_after(records, at), &key, &value)) {
        bool is_delete = value.length == 1 && value.bytes[0] == 0;
        if (key.length > 0) {
            uint32_t number = contents_key(&contents, key);
            contents_set(&contents, number,
                         is_delete ? 0 : words_put(&contents.values, value));
        }
        at += RECORD_HEADER_BYTES + key.length + value.length;
    }
    return at;
}

/* ---- What is served ---- */

static enum status open_store(const char *name, struct store **store_out)
{
    struct scratch_path path = scratch_path(name);
    struct store_options options = {.path = path.text, .sync = SYNC_ALWAYS};
    return store_open(&options, store_out);
}

/* The store holds what it must, and nothing else. */
static void check_state(struct store *store)
{
    struct slice key;
    struct slice value;
    uint64_t position = 0;
    size_t count = 0;
    enum status status;
    REQUIRE(store_count(store) == contents.key_count);
    REQUIRE(store_stats(store).live_bytes == contents.live_bytes);
    for (uint32_t number = 1; number <= contents.keys.count; number++) {
        uint32_t held = contents.held[number];
        status = keyed_get(store, words_get(&contents.keys, number), &value);
        REQUIRE(status == (held == 0 ? KV_NOT_FOUND : KV_OK));
        REQUIRE(held == 0 || slice_equal(value, words_get(&contents.values, held)));
    }
    while ((status = store_walk(store, &position, &key)) == KV_OK) {
        uint32_t number = words_find(&contents.keys, key);
        REQUIRE(number != 0 && contents.held[number] != 0);
        count++;
    }
    REQUIRE(status == KV_NOT_FOUND);
    REQUIRE(count == contents.key_count);
}

/* Whether a whole record with this key and value stands anywhere in the file. */
static bool is_in_file(struct slice bytes, struct slice key, struct slice value)
{
    struct slice found_key;
    struct slice found_value;
    for (size_t at = 0; at < bytes.length; at++) {
        if (read_record(slice_after(bytes, at), &found_key, &found_value) &&
            slice_equal(found_key, key) && slice_equal(found_value, value)) {
            return true;
        }
    }
    return false;
}

/* Nothing is served that does not stand in the file. */
static void check_is_from(struct store *store, struct slice bytes)
{
    struct slice key;
    struct slice value;
    uint64_t position = 0;
    while (store_walk(store, &position, &key) == KV_OK) {
        REQUIRE(keyed_get(store, key, &value) == KV_OK);
        REQUIRE(is_in_file(bytes, key, value));
    }
}

/* Behind the place where the log was cut no seal says that the place was durable. */
static void check_tail_was_not_durable(const struct specimen *specimen)
{
    struct seal seal;
    for (size_t at = specimen->kept.length; at < specimen->bytes.length; at++) {
        if (record_decode_seal(slice_after(specimen->bytes, at), at, &seal) &&
            seal.log_id == specimen->opening.log_id) {
            REQUIRE(seal.durable_length <= specimen->kept.length ||
                    seal.durable_length > at);
        }
    }
}

/* What is kept ends in a seal over all that is before it, or is the opening record. */
static void check_is_sealed(struct slice kept, uint64_t log_id)
{
    struct seal seal;
    if (kept.length == OPENING_BYTES) {
        return;
    }
    REQUIRE(kept.length >= OPENING_BYTES + SEAL_BYTES);
    size_t at = kept.length - SEAL_BYTES;
    REQUIRE(record_decode_seal(slice_after(kept, at), at, &seal));
    REQUIRE(seal.log_id == log_id);
    REQUIRE(seal.chain == crc32c(0, slice_first(kept, at)));
}

/* A log that continues another is served alone only once it needs that no more. */
static void check_is_complete(const struct specimen *specimen)
{
    struct drained drained;
    bool is_drained = specimen->opening.older_id == 0;
    for (size_t at = 0; at < specimen->kept.length; at++) {
        is_drained =
            is_drained ||
            (record_decode_drained(slice_after(specimen->bytes, at), at, &drained) &&
             drained.log_id == specimen->opening.log_id &&
             drained.older_id == specimen->opening.older_id);
    }
    REQUIRE(is_drained);
}

/* One record of nothing but zeros, and zeros behind it: no more than that was cut off. */
static bool is_space_ahead(struct slice tail)
{
    struct record space;
    return record_decode(tail, &space) && space.key.length == 0 &&
           slice_is_zero(slice_after(tail, RECORD_HEADER_BYTES));
}

/* What was cut off stands in a file of its own. */
static void check_torn(struct slice bytes, size_t from)
{
    char name[64];
    (void)snprintf(name, sizeof name, LOG ".torn.%zu", from);
    if (from == bytes.length || is_space_ahead(slice_after(bytes, from))) {
        REQUIRE(!scratch_exists(name));
    } else {
        REQUIRE(scratch_holds(name, slice_after(bytes, from)));
    }
}

/* What is to be held is what opening kept. */
static void replay_kept(struct specimen *specimen)
{
    struct slice kept = buffer_slice(&specimen->kept);
    if (specimen->has_opening) {
        REQUIRE(slice_starts_with(specimen->bytes, kept));
        check_is_sealed(kept, specimen->opening.log_id);
        check_tail_was_not_durable(specimen);
        check_is_complete(specimen);
        REQUIRE(replay(kept) == kept.length);
        check_torn(specimen->bytes, kept.length);
    } else {
        check_torn(specimen->bytes, replay(specimen->bytes));
    }
}

/* Open again, change something, and open once more. */
static void check_goes_on(void)
{
    struct store *store = NULL;
    struct slice key = SLICE_LITERAL("kiwi");
    struct slice value = SLICE_LITERAL("green");
    uint32_t victim = 1;
    REQUIRE(open_store(LOG, &store) == KV_OK);
    check_state(store);
    REQUIRE(keyed_set(store, key, value) == KV_OK);
    contents_set(&contents, contents_key(&contents, key),
                 words_put(&contents.values, value));
    while (contents.held[victim] == 0) {
        victim++;
    }
    if (contents.key_count > 1) {
        REQUIRE(keyed_delete(store, words_get(&contents.keys, victim)) == KV_OK);
        contents_set(&contents, victim, 0);
    }
    check_state(store);
    REQUIRE(store_commit(store) == KV_OK);
    check_state(store);
    REQUIRE(store_close(store) == KV_OK);
    REQUIRE(verify_log(scratch_path(LOG).text) == KV_OK);
    REQUIRE(open_store(LOG, &store) == KV_OK);
    check_state(store);
    REQUIRE(store_close(store) == KV_OK);
}

/* A salvaged log is whole and holds nothing but what the old one does. */
static enum status check_salvage(struct slice bytes, bool is_all_there)
{
    struct store *store = NULL;
    scratch_clear();
    scratch_write(LOG, bytes);
    enum status status = salvage_log(scratch_path(LOG).text, scratch_path(SALVAGED).text);
    REQUIRE(scratch_holds(LOG, bytes));
    REQUIRE(!scratch_exists(LOG ".new") && !scratch_exists(SALVAGED ".new"));
    REQUIRE(scratch_exists(SALVAGED) == (status == KV_OK));
    if (status != KV_OK) {
        return status;
    }
    REQUIRE(verify_log(scratch_path(SALVAGED).text) == KV_OK);
    REQUIRE(open_store(SALVAGED, &store) == KV_OK);
    check_is_from(store, bytes);
    if (is_all_there) {
        check_state(store);
    }
    REQUIRE(store_close(store) == KV_OK);
    return status;
}

static void check_refused(const struct specimen *specimen, enum status opened,
                          enum status verified)
{
    REQUIRE(opened == KV_CORRUPT || opened == KV_IO);
    REQUIRE(opened == verified);
    REQUIRE(scratch_holds(LOG, specimen->bytes));
    REQUIRE(scratch_count() == 2); /* the log and its lock */
    enum status salvaged = check_salvage(specimen->bytes, false);
    REQUIRE(salvaged == KV_OK || salvaged == KV_CORRUPT || opened == KV_IO);
}

static void check_opened(struct specimen *specimen, struct store *store)
{
    fuzz_read(scratch_path(LOG).text, &specimen->kept);
    replay_kept(specimen);
    check_state(store);
    REQUIRE(store_close(store) == KV_OK);
    check_goes_on();
    if (specimen->has_opening) {
        contents_clear(&contents);
        (void)replay(buffer_slice(&specimen->kept));
        /* Behind a torn tail there may be whole batches that salvage keeps. */
        bool is_whole = specimen->kept.length == specimen->bytes.length;
        REQUIRE(check_salvage(specimen->bytes, is_whole) == KV_OK);
    }
}

/* Table 3-7 of Unicode 15, by decoding each code point. */
static bool is_utf8(struct slice text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    size_t at = 0;
    while (at < text.length) {
        uint8_t lead = text.bytes[at++];
        size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        uint32_t point = more == 0 ? lead : lead & (0x3fU >> more);
        if ((lead >= 0x80 && lead < 0xc0) || lead >= 0xf8 || more > text.length - at) {
            return false;
        }
        for (size_t i = 0; i < more; i++) {
            uint8_t byte = text.bytes[at++];
            if ((byte & 0xc0) != 0x80) {
                return false;
            }
            point = point << 6 | (byte & 0x3fU);
        }
        if (point < least[more] || point > 0x10ffff ||
            (point >= 0xd800 && point <= 0xdfff)) {
            return false;
        }
    }
    return true;
}

/* What opening a log without any mark, one of the original, must come to. */
static enum status expected_of_original(struct slice log)
{
    struct slice key;
    struct slice value;
    bool is_log = log.length == 0; /* an empty file is a log that was never begun */
    bool has_longer_key = false;
    while (read_record(log, &key, &value)) {
        is_log = is_log || (key.length > 0 && is_utf8(key));
        has_longer_key = has_longer_key || key.length > KEY_BYTES_MAX;
        log = slice_after(log, RECORD_HEADER_BYTES + key.length + value.length);
    }
    return !is_log ? KV_CORRUPT : has_longer_key ? KV_IO : KV_OK;
}

int fuzz_recover(const uint8_t *data, size_t size)
{
    uint64_t offset = 0;
    struct store *store = NULL;
    /* To a null pointer not even 0 may be added. */
    struct slice bytes = size == 0 ? SLICE_LITERAL("") : (struct slice){data, size};
    struct specimen specimen = {.bytes = bytes};
    specimen.has_opening = record_decode_opening(bytes, &specimen.opening);
    contents_clear(&contents);
    scratch_clear();
    scratch_write(LOG, bytes);
    enum status verified = verify_log(scratch_path(LOG).text);
    REQUIRE(scratch_holds(LOG, bytes));
    REQUIRE(scratch_count() == 1); /* only the log */
    enum status opened = open_store(LOG, &store);
    if (opened == KV_OK) {
        /* An empty file is nothing to read, but something to begin a log in. */
        REQUIRE(verified == (bytes.length == 0 ? KV_IO : KV_OK));
        check_opened(&specimen, store);
    } else {
        check_refused(&specimen, opened, verified);
    }
    buffer_free(&specimen.kept);
    REQUIRE(record_find_mark(bytes, 0, &offset) || opened == expected_of_original(bytes));
    return 0;
}
