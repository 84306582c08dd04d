/*
 * Zeros are counted once they are durable, and whatever is cut off is so durably.
 */
#include "log/reach.h"

#include "base/bounds.h"
#include "base/diag.h"
#include "file/io.h"

#include <errno.h>
#include <inttypes.h>

/* The disk is asked to begin writing in pieces of this size. */
#define BEGIN_SYNC_BYTES (512 * KIB)

/* What is written to make space ahead, a part of it at a time. */
static const uint8_t zeros[16 * KIB];

void reach_begin_sync(struct reach *reach, const struct place *place, uint64_t end)
{
    uint64_t begun = reach->begun_length > reach->durable_length ? reach->begun_length
                                                                 : reach->durable_length;
    if (end - begun >= BEGIN_SYNC_BYTES) {
        io_begin_sync(place->fd, begun, end - begun);
        reach->begun_length = end;
    }
}

enum status reach_sync(struct reach *reach, const struct place *place, uint64_t end)
{
    if (io_sync(place->fd) != KV_OK) {
        diag_error("%s: cannot sync the log at offset %" PRIu64
                   "; stopping, since what is on disk is unknown",
                   files_path(place->files), reach->durable_length);
        /* Best effort: the bytes that may be half there must not look like a batch. */
        (void)io_truncate(place->fd, reach->durable_length);
        return KV_FATAL;
    }
    reach->durable_length = end;
    return KV_OK;
}

enum status reach_cut(struct reach *reach, const struct place *place, uint64_t length)
{
    enum status status = io_truncate(place->fd, length);
    if (status == KV_OK) {
        status = io_sync(place->fd);
    }
    if (status != KV_OK) {
        return place_tell(place, status,
                          "cannot cut the log back to its last seal; stopping");
    }
    reach->file_length = length;
    return KV_OK;
}

/* Whether the file is as long as it was: of what stands ahead of its end, nobody knows.
 */
static bool is_of_its_length(const struct reach *reach, const struct place *place)
{
    struct io_info info;
    return io_inspect(place->fd, &info) == KV_OK && info.length == reach->file_length;
}

enum status reach_cut_back(struct reach *reach, const struct place *place, uint64_t end,
                           uint64_t written)
{
    bool may_be_as_it_was = reach->file_length == end || (errno == EROFS && written == 0);
    if (may_be_as_it_was && is_of_its_length(reach, place)) {
        return KV_OK;
    }
    return reach_cut(reach, place, end) == KV_OK ? KV_OK : KV_FATAL;
}

/* Errors as for io_write_at. */
static enum status add_zeros(const struct reach *reach, const struct place *place,
                             uint64_t bytes)
{
    enum status status = KV_OK;
    for (uint64_t done = 0; done < bytes && status == KV_OK; done += sizeof zeros) {
        uint64_t left = bytes - done;
        struct slice part = {zeros, left < sizeof zeros ? (size_t)left : sizeof zeros};
        status = io_write_at(place->fd, part, reach->file_length + done);
    }
    return status;
}

/* Take back, durably, what was to be space ahead. */
static enum status drop_zeros(struct reach *reach, const struct place *place,
                              uint64_t end)
{
    if (is_of_its_length(reach, place)) {
        return KV_OK;
    }
    if (io_truncate(place->fd, reach->file_length) != KV_OK) {
        return place_tell(place, KV_FATAL,
                          "cannot cut off what was to be space ahead; stopping");
    }
    return reach_sync(reach, place, end);
}

enum status reach_make_ahead(struct reach *reach, const struct place *place, uint64_t end,
                             uint64_t bytes)
{
    if (reach->file_length + bytes > LOG_BYTES_MAX) {
        return KV_NO_SPACE;
    }
    enum status status = place_check(place, reach->file_length);
    if (status != KV_OK) {
        return status;
    }
    status = add_zeros(reach, place, bytes);
    if (status != KV_OK) {
        return drop_zeros(reach, place, end) == KV_OK ? status : KV_FATAL;
    }
    status = reach_sync(reach, place, end);
    reach->file_length += status == KV_OK ? bytes : 0;
    return status;
}

enum status reach_cut_ahead(struct reach *reach, const struct place *place, uint64_t end)
{
    if (reach->file_length == end) {
        return KV_OK;
    }
    /* One that somebody else has shortened must not become as long as it should be. */
    enum status status = place_check(place, reach->file_length);
    if (status != KV_OK) {
        return status;
    }
    status = io_truncate(place->fd, end);
    if (status != KV_OK) {
        return place_tell(place, status,
                          "cannot cut off the space ahead of the log; it stays there");
    }
    reach->file_length = end;
    return reach_sync(reach, place, end);
}
