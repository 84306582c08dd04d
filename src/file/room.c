/*
 * The system's word counts, less what was written since; where it says nothing, a write
 * will tell.
 */
#include "file/room.h"

#include "base/bounds.h"

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* What the file has ahead of its length is room as well. */
static struct io_space measure(const struct files *files, uint64_t length,
                               uint64_t ahead_bytes)
{
    struct io_space space;
    uint64_t length_max = io_length_max();
    uint64_t growth_max = length_max > length ? length_max - length : 0;
    if (files_measure(files, &space) != KV_OK) {
        space = (struct io_space){UINT64_MAX, UINT64_MAX};
    }
    return (struct io_space){
        .free_bytes = least(sum(space.free_bytes, ahead_bytes), growth_max),
        .capacity_bytes = least(space.capacity_bytes, length_max),
    };
}

struct io_space room_measure(const struct files *files, uint64_t length)
{
    return measure(files, length, 0);
}

uint64_t room_kept(const struct io_space *space, uint64_t kept_bytes)
{
    return space->capacity_bytes >= ROOM_KEPT_CAPACITY_BYTES
               ? kept_bytes
               : kept_bytes * space->capacity_bytes / ROOM_KEPT_CAPACITY_BYTES;
}

void room_look(struct room *room, const struct files *files, uint64_t length,
               uint64_t ahead_bytes)
{
    room->space = measure(files, length, ahead_bytes);
    room->is_known = true;
}

bool room_has(const struct room *room, uint64_t bytes, uint64_t kept_bytes)
{
    return room->is_known &&
           bytes + room_kept(&room->space, kept_bytes) <= room->space.free_bytes;
}

void room_take(struct room *room, uint64_t bytes)
{
    room->space.free_bytes -= least(bytes, room->space.free_bytes);
}
