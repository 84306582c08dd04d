/*
 * How far the file of a log reaches: how much of it is durable, and what stands behind
 * its end as space ahead (see log.h). Failures are reported to the operator but where it
 * says otherwise.
 */
#ifndef KV_REACH_H
#define KV_REACH_H

#include "file/place.h"

struct reach {
    uint64_t durable_length; /* how much of the log is known to be durable */
    uint64_t begun_length;   /* how much of it the disk was asked to begin with */
    uint64_t file_length;    /* beyond the end by the space ahead, which is durable */
};

/* `end`, here and below: of the last seal, up to which everything was written. */

/* A sync will come later: let the disk begin with what was written, if it is much. */
void reach_begin_sync(struct reach *reach, const struct place *place, uint64_t end);

/*
 * Make everything in the file durable. KV_FATAL: unknown how much of it is; what may be
 * half there is cut off if that can be, and nothing more may be written.
 */
enum status reach_sync(struct reach *reach, const struct place *place, uint64_t end);

/* Cut the file, durably. KV_IO, KV_NO_SPACE: unknown how long it is. */
enum status reach_cut(struct reach *reach, const struct place *place, uint64_t length);

/*
 * A write behind the end has failed, and errno says why. Nothing of it may ever be taken
 * for a batch: cut it off, durably, and the space ahead, of which it may have taken a
 * part. A file system that was read-only took nothing, and would not cut it either.
 *
 * written: how much of it is known to have been taken, before it failed.
 * KV_FATAL: it could not be cut off.
 */
enum status reach_cut_back(struct reach *reach, const struct place *place, uint64_t end,
                           uint64_t written);

/*
 * Make so much space ahead more, durably, when everything up to the end is.
 *
 * KV_NO_SPACE, KV_IO: there is none more (not reported).  KV_FATAL: as for reach_sync and
 * place_check, and if what was written cannot be taken back.
 */
enum status reach_make_ahead(struct reach *reach, const struct place *place, uint64_t end,
                             uint64_t bytes);

/* Cut all of it off, durably. KV_IO, KV_NO_SPACE: it is there still.  KV_FATAL: as for
 * reach_sync and place_check. */
enum status reach_cut_ahead(struct reach *reach, const struct place *place, uint64_t end);

#endif
