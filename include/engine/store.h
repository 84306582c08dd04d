/*
 * The storage engine: keys and values, durable in one log.
 *
 * Changes are staged: they can be read at once, and become durable together with
 * store_commit. Until that has returned KV_OK nothing may tell a client that they, or
 * anything read from them, are so.
 */
#ifndef KV_STORE_H
#define KV_STORE_H

#include "base/slice.h"
#include "base/status.h"
#include "engine/lookup.h"
#include "engine/upkeep.h"

enum sync_policy {
    SYNC_ALWAYS,  /* a commit returns when the disk has it */
    SYNC_EVERYSEC /* the disk has it at most SYNC_LAG_MS_MAX later */
};

struct store_options {
    const char *path;
    enum sync_policy sync;
    struct image_pace image_pace; /* all zero: as bounds.h says */
};

/* Figures that cost nothing to produce. */
struct store_stats {
    uint64_t keys;
    uint64_t log_bytes;     /* of the older log too, while a compaction runs */
    uint64_t live_bytes;    /* of the records that the index points at */
    uint64_t dead_bytes;    /* the rest of the log, marks included */
    uint64_t reserve_bytes; /* of the file, behind the log */
    uint64_t index_bytes;
    uint64_t commits;
    uint64_t compactions;        /* finished since the start */
    uint64_t compaction_percent; /* of the one that is running, else 100 */
    uint64_t recovered_bytes;
    uint64_t recovery_ms;
    enum sync_policy sync;
};

struct store;

/*
 * Lock and recover the log of these options, or begin a new one.
 *
 * KV_CORRUPT: the log is damaged or none; it is untouched.  KV_IO, KV_NO_SPACE,
 * KV_NO_MEMORY: failed.  All are reported to the operator.
 */
enum status store_open(const struct store_options *options, struct store **store_out);

/* Seal, sync and close; what is staged is dropped. KV_IO, KV_FATAL: reported. */
enum status store_close(struct store *store);

/*
 * What a request about a key brings along: the key, and what is known about it.
 *
 * key: borrowed; its bytes stay as they are as long as the lookup is used.
 */
void store_begin_lookup(const struct store *store, struct slice key,
                        struct lookup *lookup_out);

/*
 * Find out about a group of keys at once what the calls about them will want; those may
 * come in any order, or not at all. A hint: a lookup without it is slower.
 */
void store_fetch(struct store *store, struct lookup *lookups, size_t count);

/*
 * Read a value, with what is staged.
 *
 * value_out: valid until the next store_set, store_delete or store_commit.
 * KV_NOT_FOUND.  KV_CORRUPT, KV_IO: the record fails its checksum or cannot be read.
 */
enum status store_get(const struct store *store, const struct lookup *lookup,
                      struct slice *value_out);

/*
 * How often reading its logs has failed. If it is as it was before a key or a value that
 * the store gave was copied, the copy is right; else it may have zeros in it.
 */
uint64_t store_fault_count(const struct store *store);

/* KV_OK or KV_NOT_FOUND; errors as for store_get. The value is not read. */
enum status store_exists(const struct store *store, const struct lookup *lookup);

/*
 * Stage a value; limits in bounds.h are the caller's duty.
 * KV_NO_MEMORY, KV_NO_SPACE (the log is at its limit), KV_IO (a record cannot be read
 * that may be of this key): nothing changed.
 */
enum status store_set(struct store *store, const struct lookup *lookup,
                      struct slice value);

/* Stage a deletion. KV_NOT_FOUND: there was nothing to delete. Errors as store_set. */
enum status store_delete(struct store *store, const struct lookup *lookup);

/* Bytes staged for the next commit. */
uint64_t store_staged_bytes(const struct store *store);

/*
 * Make everything staged durable, as the policy says; the commit point.
 *
 * KV_NO_SPACE, KV_IO, KV_NO_MEMORY: everything staged was taken back, the log is as
 * before.  KV_FATAL: stop without a reply; the next start judges what the disk has.
 */
enum status store_commit(struct store *store);

/* Wait until everything committed is on disk, whatever the policy. KV_FATAL. */
enum status store_sync(struct store *store);

/* How many keys have a value, staged changes included. */
uint64_t store_count(const struct store *store);

/*
 * Visit the keys: position starts at 0 and is moved on; the store must not change
 * between the first visit and the last.
 *
 * key_out: valid until the store changes.  KV_NOT_FOUND: no more.  KV_CORRUPT: the key
 * at this place is damaged; the next call goes on behind it.
 */
enum status store_walk(const struct store *store, uint64_t *position,
                       struct slice *key_out);

/*
 * Begin a compaction, if none is running. Nothing may be staged.
 *
 * KV_OK: one is running.  KV_NO_SPACE, KV_IO, KV_NO_MEMORY: it could not begin.
 * KV_CORRUPT: the last one is held up by damaged records.  KV_FATAL: as for a commit.
 */
enum status store_compact(struct store *store);

/* When store_maintain has something to do next; CLOCK_NEVER if nothing is due. */
uint64_t store_due_ms(const struct store *store, enum leisure leisure);

/*
 * Do what is due: the delayed sync, the second seal of the last batch, one step of a
 * compaction. Nothing may be staged.
 * KV_FATAL: as for store_commit.
 */
enum status store_maintain(struct store *store, enum leisure leisure);

struct store_stats store_stats(const struct store *store);

#endif
