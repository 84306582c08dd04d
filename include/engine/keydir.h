/*
 * The key directory (Bitcask's word): index and logs taken together, so that a key is
 * found by its own bytes and not by a hash alone.
 *
 * While a compaction runs there are two logs: the current one, which is appended to, and
 * the older one, which is being emptied. A location says by its side which it is in.
 * Sides change places with each compaction, so that no entry has to be touched when one
 * begins.
 *
 * Used at start-up and while serving. Reads logs, never writes them.
 */
#ifndef KV_KEYDIR_H
#define KV_KEYDIR_H

#include "base/hash.h"
#include "engine/index.h"
#include "log/log.h"

struct keydir {
    struct index *index;
    struct log *logs[2]; /* owned once it serves; NULL where there is none */
    uint8_t current;     /* the side that is appended to */
    struct hash_seed seed;
    uint64_t key_count;      /* keys that have a value */
    uint64_t live_bytes;     /* of the records that hold these values */
    uint64_t entry_count[2]; /* entries of the index, by side */
};

/* One change of a key, which can be taken back. */
struct change {
    uint64_t hash;
    struct location before; /* nowhere: it had no record */
    struct location now;
};

/*
 * Begin with a log, which is read. While the directory is being filled the logs are those
 * of the set that they were opened as, and keydir_destroy leaves them alone; recover_open
 * hands both over, and from then on keydir_close closes them.
 *
 * KV_NO_MEMORY, KV_IO: reported.
 */
enum status keydir_init(struct keydir *keydir, struct log *log);
void keydir_destroy(struct keydir *keydir);

/* Close the logs, too. KV_IO: what was written may not have reached the disk (reported).
 */
enum status keydir_close(struct keydir *keydir);

/* The log that is appended to; the one it continues, or NULL. */
struct log *keydir_log(const struct keydir *keydir);
struct log *keydir_older_log(const struct keydir *keydir);

/* Make a new log the current one: the one before becomes the older, of which there was
 * none. */
void keydir_push_log(struct keydir *keydir, struct log *log);

/* Close the older log, at which no entry points any more. */
void keydir_pop_older_log(struct keydir *keydir);

/* Entries that still point at the older log. */
uint64_t keydir_older_entries(const struct keydir *keydir);

/* The logs are read by key from now on, and not from end to end; or the other way. */
void keydir_read_at_random(const struct keydir *keydir, bool is_random);

uint64_t keydir_hash(const struct keydir *keydir, struct slice key);

/* Prefetch the first bytes of this record, and its last. */
void keydir_prefetch_record(const struct keydir *keydir, const struct location *location);

/* Prefetch the first bytes of its key. */
void keydir_prefetch_key(const struct keydir *keydir, const struct location *location);

/*
 * Ask for the first bytes of a record, at most all of it, to be read from the disk,
 * without waiting for them: several that are asked for before the first is looked at are
 * read at once. A system call, unlike the above.
 */
void keydir_will_read(const struct keydir *keydir, const struct location *location,
                      uint64_t length);

/* The first record with this hash, whatever its key; nowhere: there is none. */
void keydir_find_candidate(const struct keydir *keydir, uint64_t hash,
                           struct location *location_out);

/* The key of the record of a location. Valid until the log is changed. */
struct slice keydir_key(const struct keydir *keydir, const struct location *location);

/*
 * Find the record of a key; staged deletes are found too.
 *
 * KV_NOT_FOUND.  KV_CORRUPT: no record is, but one with the hash and the length of this
 * key does not pass its CRC, so it may be the one; location_out is it.  KV_IO: likewise,
 * after a failed read.
 */
enum status keydir_find(const struct keydir *keydir, uint64_t hash, struct slice key,
                        struct location *location_out);

/* Whether the record of a location passes its CRC: KV_OK, KV_CORRUPT or KV_IO. */
enum status keydir_verify(const struct keydir *keydir, const struct location *location);

/*
 * The value of a location, after its record passed its CRC.
 *
 * value_out: valid until the log is changed.
 * KV_CORRUPT, KV_IO: reported to the operator with the offset.
 */
enum status keydir_read(const struct keydir *keydir, const struct location *location,
                        struct slice *value_out);

/* Whether a record that cannot be read counts as lost: see log_has_given_up. */
bool keydir_has_given_up(const struct keydir *keydir, const struct location *location,
                         uint64_t patience_ms);

/* Tell the operator that the record of a location is not served. Returns the status. */
enum status keydir_tell(const struct keydir *keydir, const struct location *location,
                        enum status status);

/* Whether the record at location->offset of one of the logs is live: then all of its
 * location. */
bool keydir_find_at(const struct keydir *keydir, uint64_t hash, const struct log *log,
                    struct location *location);

/* Whether a location is in the older log. */
bool keydir_is_older(const struct keydir *keydir, const struct location *location);

/* The location of a record that was staged in, or scanned from, the current log. */
struct location keydir_locate(const struct keydir *keydir, const struct record *record,
                              uint64_t offset);

/*
 * Apply a change, for which index_reserve made room; take it back (in reverse order); or
 * make it final (in order).
 */
void keydir_apply(struct keydir *keydir, const struct change *change);
void keydir_revert(struct keydir *keydir, const struct change *change);
void keydir_settle(struct keydir *keydir, const struct change *change);

/*
 * Add many keys to a part of the index at once, as index_merge takes them: none of them
 * is there, nor is another key of the same hash. KV_NO_MEMORY: the key directory is to be
 * destroyed.
 */
enum status keydir_add(struct keydir *keydir, size_t part, const struct slot *entries,
                       size_t count);

/*
 * Visit the keys that have a value: position starts at 0 and is moved on.
 *
 * key_out: valid until the log is changed.
 * KV_NOT_FOUND: no more keys.  KV_CORRUPT: the key at this place is not the one that was
 * stored, KV_IO: it cannot be read (both reported); position has moved on.
 */
enum status keydir_walk(const struct keydir *keydir, uint64_t *position,
                        struct slice *key_out);

#endif
