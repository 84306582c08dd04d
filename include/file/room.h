/*
 * How much can still be written, and what is kept of it: for deletions and for the start
 * of a compaction, so that a full disk is no trap.
 */
#ifndef KV_ROOM_H
#define KV_ROOM_H

#include "file/files.h"

/*
 * By how much a file of this length beside the log, or the log, can still grow, as far as
 * the system says, and how much it could on an empty disk. UINT64_MAX: nobody says.
 */
struct io_space room_measure(const struct files *files, uint64_t length);

/* What is kept of it, where that would be so much on a disk that is not small. */
uint64_t room_kept(const struct io_space *space, uint64_t kept_bytes);

/* What is known of the room behind the end of a log. All zero: nothing. */
struct room {
    struct io_space space; /* when last looked, less what was taken since */
    bool is_known;         /* else it is to be looked at anew */
};

/*
 * Look at the room behind a log of this length, of which the file has `ahead_bytes`
 * already: those can be written whatever else fills the disk.
 */
void room_look(struct room *room, const struct files *files, uint64_t length,
               uint64_t ahead_bytes);

/* Whether there is room for so much, and what room_kept makes of `kept_bytes` behind it.
 */
bool room_has(const struct room *room, uint64_t bytes, uint64_t kept_bytes);

/* So much was written behind the end. */
void room_take(struct room *room, uint64_t bytes);

#endif
