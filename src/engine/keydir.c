/*
 * Candidates of a hash are told apart by their keys in the log. One whose key differs
 * is either another key or a damaged record: only its CRC can say which.
 */
#include "engine/keydir.h"

#include "base/crc32c.h"
#include "base/diag.h"
#include "base/platform.h"
#include "engine/slot.h"
#include "file/io.h"

#include <assert.h>

/* A cache line, and how much of a record is prefetched: the rest comes by itself. */
enum { LINE_BYTES = 64, PREFETCH_BYTES_MAX = 512 };

enum status keydir_init(struct keydir *keydir, struct log *log)
{
    *keydir = (struct keydir){.logs = {log, NULL}};
    if (io_random(&keydir->seed, sizeof keydir->seed) != KV_OK) {
        diag_error("/dev/urandom: cannot read the hash seed; giving up");
        return KV_IO;
    }
    return index_create(&keydir->index);
}

void keydir_destroy(struct keydir *keydir)
{
    index_destroy(keydir->index);
    keydir->index = NULL;
}

enum status keydir_close(struct keydir *keydir)
{
    (void)log_close(keydir_older_log(keydir)); /* it was durable all the time */
    enum status status = log_close(keydir_log(keydir));
    keydir_destroy(keydir);
    return status;
}

void keydir_read_at_random(const struct keydir *keydir, bool is_random)
{
    for (size_t side = 0; side < sizeof keydir->logs / sizeof keydir->logs[0]; side++) {
        if (keydir->logs[side] != NULL) {
            log_read_at_random(keydir->logs[side], is_random);
        }
    }
}

uint64_t keydir_hash(const struct keydir *keydir, struct slice key)
{
    return hash_key(&keydir->seed, key);
}

static uint8_t other_side(const struct keydir *keydir)
{
    return keydir->current == 0 ? 1 : 0;
}

struct log *keydir_log(const struct keydir *keydir)
{
    return keydir->logs[keydir->current];
}

struct log *keydir_older_log(const struct keydir *keydir)
{
    return keydir->logs[other_side(keydir)];
}

static struct log *log_of(const struct keydir *keydir, const struct location *location)
{
    return keydir->logs[location->side];
}

void keydir_push_log(struct keydir *keydir, struct log *log)
{
    assert(keydir_older_log(keydir) == NULL);
    keydir->current = other_side(keydir);
    keydir->logs[keydir->current] = log;
}

void keydir_pop_older_log(struct keydir *keydir)
{
    assert(keydir_older_entries(keydir) == 0);
    (void)log_close(keydir_older_log(keydir)); /* nothing in it is wanted */
    keydir->logs[other_side(keydir)] = NULL;
}

uint64_t keydir_older_entries(const struct keydir *keydir)
{
    return keydir->entry_count[other_side(keydir)];
}

static struct slice bytes_of(const struct keydir *keydir, const struct location *location)
{
    return log_record(log_of(keydir, location), location->offset,
                      record_length(location->key_length, location->value_length));
}

struct slice keydir_key(const struct keydir *keydir, const struct location *location)
{
    return slice_first(slice_after(bytes_of(keydir, location), RECORD_HEADER_BYTES),
                       location->key_length);
}

void keydir_prefetch_record(const struct keydir *keydir, const struct location *location)
{
    struct slice bytes = bytes_of(keydir, location);
    size_t length = bytes.length < PREFETCH_BYTES_MAX ? bytes.length : PREFETCH_BYTES_MAX;
    for (size_t at = 0; at < length; at += LINE_BYTES) {
        KV_PREFETCH(bytes.bytes + at);
    }
    KV_PREFETCH(bytes.bytes + length - 1);
}

void keydir_prefetch_key(const struct keydir *keydir, const struct location *location)
{
    KV_PREFETCH(keydir_key(keydir, location).bytes);
}

void keydir_will_read(const struct keydir *keydir, const struct location *location,
                      uint64_t length)
{
    log_will_read(log_of(keydir, location), location->offset, length);
}

void keydir_find_candidate(const struct keydir *keydir, uint64_t hash,
                           struct location *location_out)
{
    struct index_cursor cursor = index_find(keydir->index, hash);
    if (!index_next(&cursor, keydir->index, location_out)) {
        *location_out = (struct location){0};
    }
}

static bool passes_crc(const struct keydir *keydir, const struct location *location)
{
    return crc32c(0, bytes_of(keydir, location)) == location->crc;
}

static bool is_lost(const struct keydir *keydir, const struct location *location)
{
    return log_is_lost(log_of(keydir, location), location->offset,
                       record_length(location->key_length, location->value_length));
}

enum status keydir_verify(const struct keydir *keydir, const struct location *location)
{
    const struct log *log = log_of(keydir, location);
    uint64_t length = record_length(location->key_length, location->value_length);
    if (passes_crc(keydir, location) ||
        (log_read_again(log, location->offset, length) && passes_crc(keydir, location))) {
        return KV_OK;
    }
    return is_lost(keydir, location) ? KV_IO : KV_CORRUPT;
}

/*
 * Whether the record of a location is that of a key: KV_OK or KV_NOT_FOUND. What cannot
 * be told so is looked at again behind the CRC, since reading it may have been what
 * failed.
 */
static enum status compare(const struct keydir *keydir, const struct location *location,
                           struct slice key)
{
    if (location->key_length != key.length) {
        return KV_NOT_FOUND; /* whatever the record has become */
    }
    if (slice_equal(keydir_key(keydir, location), key)) {
        return KV_OK;
    }
    enum status status = keydir_verify(keydir, location);
    if (status != KV_OK) {
        return status;
    }
    if (slice_equal(keydir_key(keydir, location), key)) {
        return KV_OK;
    }
    /* That it was another is sure if it is whole now: else it may have been zeros. */
    return passes_crc(keydir, location) ? KV_NOT_FOUND : KV_IO;
}

/* A record that nobody can tell the key of hides none that can be told. */
enum status keydir_find(const struct keydir *keydir, uint64_t hash, struct slice key,
                        struct location *location_out)
{
    struct location location;
    enum status found = KV_NOT_FOUND;
    struct index_cursor cursor = index_find(keydir->index, hash);
    while (found != KV_OK && index_next(&cursor, keydir->index, &location)) {
        enum status status = compare(keydir, &location, key);
        if (status == KV_OK || (status != KV_NOT_FOUND && found == KV_NOT_FOUND)) {
            *location_out = location;
            found = status;
        }
    }
    return found;
}

/* Tell that a record is not served, and why. */
static enum status tell(const struct keydir *keydir, const struct location *location,
                        enum status status, enum record_fault damage)
{
    log_tell_fault(log_of(keydir, location), status == KV_IO ? FAULT_LOST : damage,
                   location->offset);
    return status;
}

bool keydir_has_given_up(const struct keydir *keydir, const struct location *location,
                         uint64_t patience_ms)
{
    return log_has_given_up(log_of(keydir, location), location->offset,
                            record_length(location->key_length, location->value_length),
                            patience_ms);
}

enum status keydir_tell(const struct keydir *keydir, const struct location *location,
                        enum status status)
{
    return tell(keydir, location, status, FAULT_DAMAGED);
}

enum status keydir_read(const struct keydir *keydir, const struct location *location,
                        struct slice *value_out)
{
    if (location->value_length >= READ_AHEAD_BYTES_MIN) {
        keydir_will_read(keydir, location, location->value_length);
    }
    struct slice bytes = bytes_of(keydir, location);
    if (crc32c(0, bytes) != location->crc) {
        enum status status = keydir_verify(keydir, location); /* it may be read again */
        if (status != KV_OK) {
            return keydir_tell(keydir, location, status);
        }
    }
    *value_out = slice_after(bytes, RECORD_HEADER_BYTES + (size_t)location->key_length);
    return KV_OK;
}

bool keydir_find_at(const struct keydir *keydir, uint64_t hash, const struct log *log,
                    struct location *location)
{
    uint8_t side = log == keydir_log(keydir) ? keydir->current : other_side(keydir);
    *location = (struct location){.side = side, .offset = location->offset};
    return index_get(keydir->index, hash, location);
}

bool keydir_is_older(const struct keydir *keydir, const struct location *location)
{
    return location->side != keydir->current;
}

struct location keydir_locate(const struct keydir *keydir, const struct record *record,
                              uint64_t offset)
{
    return (struct location){
        .offset = offset,
        .key_length = (uint32_t)record->key.length,
        .value_length = (uint32_t)record->value.length,
        .crc = crc32c(0, log_record(keydir_log(keydir), offset, record->length)),
        .is_tombstone = record_is_tombstone(record),
        .side = keydir->current,
    };
}

/* Count a location in (1) or out (-1), modulo 2^64; a staged delete holds no value. */
static void tally(struct keydir *keydir, const struct location *location, int sign)
{
    uint64_t one = (uint64_t)(int64_t)sign;
    keydir->entry_count[location->side] += one;
    if (!location->is_tombstone) {
        keydir->key_count += one;
        keydir->live_bytes +=
            one * record_length(location->key_length, location->value_length);
    }
}

/* Move the entry of a key from one location to another; one of them may be nowhere. */
static void move(struct keydir *keydir, uint64_t hash, const struct location *from,
                 const struct location *to)
{
    bool is_found = true;
    if (location_is_nowhere(from)) {
        index_insert(keydir->index, hash, to);
    } else {
        tally(keydir, from, -1);
        is_found = location_is_nowhere(to) ? index_remove(keydir->index, hash, from)
                                           : index_replace(keydir->index, hash, from, to);
    }
    assert(is_found);
    if (!location_is_nowhere(to)) {
        tally(keydir, to, 1);
    }
}

void keydir_apply(struct keydir *keydir, const struct change *change)
{
    move(keydir, change->hash, &change->before, &change->now);
}

enum status keydir_add(struct keydir *keydir, size_t part, const struct slot *entries,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct location location = slot_decode(&entries[i]);
        tally(keydir, &location, 1);
    }
    return index_merge(keydir->index, part, entries, count);
}

void keydir_revert(struct keydir *keydir, const struct change *change)
{
    move(keydir, change->hash, &change->now, &change->before);
}

void keydir_settle(struct keydir *keydir, const struct change *change)
{
    /* A staged delete is not there any more if the key was set again in the same batch.
     */
    if (change->now.is_tombstone &&
        index_remove(keydir->index, change->hash, &change->now)) {
        keydir->entry_count[change->now.side]--;
    }
}

enum status keydir_walk(const struct keydir *keydir, uint64_t *position,
                        struct slice *key_out)
{
    struct location location;
    do {
        if (!index_walk(keydir->index, position, &location)) {
            return KV_NOT_FOUND;
        }
    } while (location.is_tombstone);
    *key_out = keydir_key(keydir, &location);
    /* index_get would say so too, but search: KEYS would take twice as long. */
    if (index_walk_matches(keydir->index, *position, keydir_hash(keydir, *key_out))) {
        return KV_OK;
    }
    /* Reading it may have failed, and be right now. */
    enum status status = keydir_verify(keydir, &location);
    if (status == KV_OK &&
        index_walk_matches(keydir->index, *position, keydir_hash(keydir, *key_out))) {
        return KV_OK;
    }
    bool is_unread = status == KV_IO || is_lost(keydir, &location);
    return tell(keydir, &location, is_unread ? KV_IO : KV_CORRUPT, FAULT_KEY);
}
