/*
 * Keys that the next calls are about: what they need is fetched from memory for all of
 * them at once, and what is found then serves when their turn comes.
 *
 * All of it is a hint: a key that was not announced is found as well. What was found
 * serves until the group ends, but for entries of the index that have changed since.
 */
#ifndef KV_LOOKAHEAD_H
#define KV_LOOKAHEAD_H

#include "keydir.h"
#include "mapping.h"

struct expected {
    struct slice key;
    uint64_t hash;
    uint32_t version;          /* of the index under this hash, when it was looked up */
    struct location candidate; /* the first record under this hash, if any */
};

/* All zero is an empty group. */
struct lookahead {
    struct expected expected[EXPECTED_KEYS_MAX];
    size_t count;
    size_t next; /* the one whose turn it is */
    bool is_fetched;
    size_t watched_groups;
    struct mapping_watch watch;
    bool has_waited; /* for the disk: one of the groups that were watched last */
};

/*
 * Add a key to a group, in the order of the calls that may come. The first that is looked
 * up closes the group: the next that is added begins another.
 *
 * key: its bytes stay as they are until lookahead_end.
 */
void lookahead_add(struct lookahead *lookahead, const struct keydir *keydir,
                   struct slice key);
void lookahead_end(struct lookahead *lookahead);

/* As keydir_find; the hash is told, too. */
enum status lookahead_find(struct lookahead *lookahead, const struct keydir *keydir,
                           struct slice key, struct change *found_out);

#endif
