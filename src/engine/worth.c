/*
 * A compaction copies what is live, and for each slice that has anything a seal; it gives
 * back the rest.
 */
#include "engine/worth.h"

#include "base/bounds.h"
#include "file/room.h"

/* Copying so many bytes of records, of so many entries, out of a log that long. */
static uint64_t bytes_to_copy(uint64_t live_bytes, uint64_t entries, uint64_t length)
{
    uint64_t slices = length / COMPACT_SLICE_BYTES + 1;
    return live_bytes + (entries < slices ? entries : slices) * SEAL_BYTES;
}

uint64_t worth_bytes_to_begin(const struct keydir *keydir)
{
    uint64_t marks = OPENING_BYTES + DRAINED_BYTES + 2 * SEAL_BYTES;
    return bytes_to_copy(keydir->live_bytes, keydir->key_count,
                         log_length(keydir_log(keydir))) +
           marks;
}

uint64_t worth_bytes_to_finish(const struct keydir *keydir, uint64_t cursor)
{
    const struct log *older = keydir_older_log(keydir);
    if (older == NULL) {
        return 0;
    }
    uint64_t left = log_length(older) - cursor;
    return bytes_to_copy(left < keydir->live_bytes ? left : keydir->live_bytes,
                         keydir_older_entries(keydir), left);
}

/*
 * Whether a compaction, which needs room for all that is live, still fits the disk but
 * soon would not: a log that is live to a third or more would be full for ever.
 */
static bool is_last_chance(const struct keydir *keydir, uint64_t dead_bytes)
{
    const struct io_space *space = log_space(keydir_log(keydir));
    if (space == NULL) {
        return false;
    }
    uint64_t spare = room_kept(space, COMPACT_SPARE_BYTES);
    uint64_t needed = worth_bytes_to_begin(keydir) + spare;
    uint64_t share = needed / COMPACT_LAST_CHANCE_PART;
    return space->free_bytes >= needed && dead_bytes >= share + spare &&
           space->free_bytes < needed + share + room_kept(space, ROOM_KEPT_BYTES);
}

/* Of the log, the only one. */
static uint64_t dead_bytes_of(const struct keydir *keydir)
{
    return log_length(keydir_log(keydir)) - keydir->live_bytes;
}

bool worth_beginning(const struct keydir *keydir, bool is_full)
{
    if (keydir_older_log(keydir) != NULL) {
        return false;
    }
    uint64_t half = log_length(keydir_log(keydir)) / 2;
    uint64_t dead = dead_bytes_of(keydir);
    return (dead > COMPACT_DEAD_BYTES_MIN && dead > half) ||
           (is_full && half > worth_bytes_to_begin(keydir)) ||
           is_last_chance(keydir, dead);
}

uint64_t worth_bytes_until(const struct keydir *keydir)
{
    uint64_t length = log_length(keydir_log(keydir));
    uint64_t dead = dead_bytes_of(keydir);
    uint64_t to_floor = dead < COMPACT_DEAD_BYTES_MIN ? COMPACT_DEAD_BYTES_MIN - dead : 0;
    uint64_t to_half = dead < length / 2 ? length - 2 * dead : 0;
    return to_floor > to_half ? to_floor : to_half;
}
