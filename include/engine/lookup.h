/*
 * Looking up keys, a group at a time.
 *
 * What is known about a key lies with the request that is about it, and nowhere else: it
 * goes when the request goes, and no other key can be given it. The candidates of a whole
 * group are fetched at once, since each waits for memory or for the disk, and serve when
 * the turn of their request comes, but for entries of the index that have changed since.
 *
 * Rejected: keeping what was found in the store and giving it to the call whose key
 * stands at the same place in memory. A request that was not executed left it behind, and
 * the next to use that memory was answered from another key's record.
 */
#ifndef KV_LOOKUP_H
#define KV_LOOKUP_H

#include "engine/keydir.h"
#include "file/waits.h"

/* A key that a request is about, and what is known about it. */
struct lookup {
    struct slice key; /* borrowed */
    uint64_t hash;
    bool is_fetched;           /* what follows is known */
    uint32_t version;          /* of the index under this hash, when it was fetched */
    struct location candidate; /* the first record under this hash, if any */
};

/* What groups have shown so far. All zero is one that has seen none. */
struct lookup_watch {
    size_t group_count; /* since it was last looked whether the disk was read */
    struct waits disk;
    bool has_waited; /* for the disk: one of the groups that were watched last */
};

/*
 * key: its bytes stay as they are as long as the lookup is used.
 * lookup_out: made where it is to be used, since a copy of what was written just now
 * holds a processor up.
 */
void lookup_begin(const struct keydir *keydir, struct slice key,
                  struct lookup *lookup_out);

/*
 * Fetch what the lookups of a group will want. A hint: a lookup that was not fetched
 * finds as much.
 */
void lookup_fetch(struct lookup_watch *watch, const struct keydir *keydir,
                  struct lookup *lookups, size_t count);

/* As keydir_find; location_out is nowhere for KV_NOT_FOUND. */
enum status lookup_find(const struct lookup *lookup, const struct keydir *keydir,
                        struct location *location_out);

#endif
