/*
 * Keys that the next calls are about: what they need is fetched from memory for all of
 * them at once, and what is found then serves when their turn comes.
 *
 * All of it is a hint: a key that was not announced is found as well. What was found
 * holds until the next group, as long as nobody but the owner, who tells of it with
 * lookahead_note_written, changes the key directory.
 */
#ifndef KV_LOOKAHEAD_H
#define KV_LOOKAHEAD_H

#include "keydir.h"
#include "mapping.h"

/* Which hashes were written since the group began: one bit stands for many of them. */
enum { LOOKAHEAD_BITS = 1024, LOOKAHEAD_WORD_BITS = 64 };

struct expected {
    struct slice key;
    uint64_t hash;
    struct location candidate; /* the first record under this hash, if any */
};

/* All zero is an empty group. */
struct lookahead {
    struct expected expected[EXPECTED_KEYS_MAX];
    size_t count;
    size_t next; /* the one whose turn it is */
    size_t watched_groups;
    struct mapping_watch watch;
    bool has_waited; /* for the disk: one of the groups that were watched last */
    uint64_t written[LOOKAHEAD_BITS / LOOKAHEAD_WORD_BITS];
};

/*
 * Begin a group: these keys, in the order of the calls that may come.
 *
 * keys: at most EXPECTED_KEYS_MAX; their bytes stay as they are until the next group.
 */
void lookahead_begin(struct lookahead *lookahead, const struct keydir *keydir,
                     const struct slice *keys, size_t count);

/* As keydir_find; the hash is told, too. */
enum status lookahead_find(struct lookahead *lookahead, const struct keydir *keydir,
                           struct slice key, struct change *found_out);

/* The entry of this hash is about to change. */
void lookahead_note_written(struct lookahead *lookahead, uint64_t hash);

#endif
