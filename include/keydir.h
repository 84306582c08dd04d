/*
 * The key directory (Bitcask's word): index and log taken together, so that a key is
 * found by its own bytes and not by a hash alone.
 *
 * Used at start-up and while serving. Reads the log, never writes it.
 */
#ifndef KV_KEYDIR_H
#define KV_KEYDIR_H

#include "hash.h"
#include "index.h"
#include "log.h"

struct keydir {
    struct index *index;
    struct log *log;
    struct hash_seed seed;
    uint64_t key_count;  /* keys that have a value */
    uint64_t live_bytes; /* of the records that hold these values */
};

/* One change of a key, which can be taken back. */
struct change {
    uint64_t hash;
    bool had_before;
    struct location before; /* if had_before */
    struct location now;
};

/* KV_NO_MEMORY, KV_IO.  Release with keydir_destroy, which leaves the log alone. */
enum status keydir_init(struct keydir *keydir, struct log *log);
void keydir_destroy(struct keydir *keydir);

uint64_t keydir_hash(const struct keydir *keydir, struct slice key);

/*
 * Find the record of a key; staged deletes are found too.
 *
 * KV_NOT_FOUND.  KV_CORRUPT: a record whose hash is this key's does not pass its CRC,
 * so it may be the one; location_out is it.  KV_IO: likewise, after a failed read.
 */
enum status keydir_find(const struct keydir *keydir, uint64_t hash, struct slice key,
                        struct location *location_out);

/*
 * The value of a location, after its record passed its CRC.
 *
 * value_out: valid until the log is changed.
 * KV_CORRUPT, KV_IO: reported to the operator with the offset.
 */
enum status keydir_read(const struct keydir *keydir, const struct location *location,
                        struct slice *value_out);

/* The location of a record that was staged or scanned. */
struct location keydir_locate(struct slice record_bytes, const struct record *record,
                              uint64_t offset);

/* Make sure that applying a change for this hash cannot fail. KV_NO_MEMORY. */
enum status keydir_reserve(struct keydir *keydir, uint64_t hash);

/* Apply a change, take it back (in reverse order), or make it final (in order). */
void keydir_apply(struct keydir *keydir, const struct change *change);
void keydir_revert(struct keydir *keydir, const struct change *change);
void keydir_settle(struct keydir *keydir, const struct change *change);

/*
 * Apply a run of records in order, as they stand in the log from `offset` on; marks are
 * passed over. Nothing of it can be taken back.
 *
 * KV_NO_MEMORY, KV_CORRUPT, KV_IO: applied in part.
 */
enum status keydir_load(struct keydir *keydir, struct slice records, uint64_t offset);

/* Whether the record at this offset is the one that gives its key its value. */
bool keydir_is_latest(const struct keydir *keydir, const struct record *record,
                      uint64_t offset);

/*
 * Visit the keys that have a value: position starts at 0 and is moved on.
 *
 * key_out: valid until the log is changed.
 * KV_NOT_FOUND: no more keys.  KV_CORRUPT: the key at this place is not the one that was
 * stored (reported); position has moved on.
 */
enum status keydir_walk(const struct keydir *keydir, uint64_t *position,
                        struct slice *key_out);

#endif
