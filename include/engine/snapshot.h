/*
 * PATH.index: an image of the index, so that a start need not read the whole log.
 *
 * It is a hint. It is believed only if its own CRC is right and it names this log, this
 * generation, and the seal that the log has where the image begins; anything else means
 * that the log is read from its start. It may be deleted at any time.
 *
 *     u64      6b76696e64657831 ("kvindex1" in ASCII)
 *     u64      log id
 *     u64      generation
 *     u64      covered offset: records from there on are replayed over the image
 *     u64      chain: CRC-32C of the log before the covered offset
 *     2 u64    seed of the hash
 *     512 parts of the index, by the top bits of the hash: for each
 *         u64  how many entries, then these in order of the rest of the hash:
 *         u64  hash (its low 30 bits, in 32), CRC of the record (32)
 *         u64  key length (16), offset (48)
 *         u32  value length
 *     u64      needed length: no entry points behind it, and it was durable
 *     u64      CRC-32C of everything before
 *
 * All big-endian.
 *
 * The image is taken in steps while commands go on. A part of the index is copied whole,
 * between two commits, so that growth, deletions and what they move within a part cannot
 * make it miss an entry or have one twice; but each part is as it was at another moment.
 * That is right all the same: for each key the image has what it had at some moment at or
 * behind the covered offset, a record or none. What happened to the key before that
 * offset is in it, unless something newer is; and whatever newer happened stands in the
 * log from there on, and is replayed in order, so that the last of it stays. This needs
 * two things. All of that is in the log after a crash as well: an image gets its name
 * only once the log is durable beyond everything that was copied, which is the needed
 * length, and a log that is shorter is refused. And replaying finds the entry of a key
 * by the key, whichever of its records the entry points at.
 *
 * Rejected: to leave out what points behind the covered offset. A key replaced meanwhile
 * would have no entry, which replaying would mend as well, but not need less of the log:
 * what had been durable must be there in any case.
 */
#ifndef KV_SNAPSHOT_H
#define KV_SNAPSHOT_H

#include "engine/keydir.h"
#include "log/scan.h"

struct snapshot_writer;

/*
 * Begin an image of a key directory that has one log, which ends in a seal; nothing is
 * staged, now and at each step.
 *
 * KV_NO_SPACE, KV_IO, KV_NO_MEMORY: reported.  Release with finish or abort.
 */
enum status snapshot_begin(const struct files *files, const struct keydir *keydir,
                           struct snapshot_writer **writer_out);

/*
 * Write one piece of about so many bytes, not 0 and less than twice as many; it takes
 * time for those, and for copying one part of the index. KV_NOT_FOUND: all is written,
 * finish.  Errors as for begin.
 *
 * sync_bytes: have it made durable whenever so much was written, so that finishing need
 * not sync all of it; 0: finishing does.
 */
enum status snapshot_step(struct snapshot_writer *writer, uint64_t bytes,
                          uint64_t sync_bytes);

/* The offset that the image covers; how many bytes of it are written. */
uint64_t snapshot_covered(const struct snapshot_writer *writer);
uint64_t snapshot_length(const struct snapshot_writer *writer);

/* How long an image of all of it would be now. */
uint64_t snapshot_length_of(const struct keydir *keydir);

/*
 * Put the image in place; everything in the log is durable. Releases the writer.
 *
 * waste: here and below, takes over what has no name any more.
 * KV_FATAL: as for files_rename.  Other errors as for begin.
 */
enum status snapshot_finish(struct snapshot_writer *writer, struct waste *waste);

/* Give up and release the writer. */
void snapshot_abort(struct snapshot_writer *writer, struct waste *waste);

/*
 * Fill a fresh key directory from PATH.index, and set a scan of its log to where records
 * have to be replayed.
 *
 * scan: begun at the opening record of the log; goes on only with KV_OK. Its proved
 * length is set by an image of this log whose own CRC is right, believed or not.
 * KV_NOT_FOUND: there is no image, or none to believe (reported).  KV_CORRUPT: the image
 * is right, but the log is shorter than it was (reported).  KV_NO_MEMORY.  In all of
 * these cases the key directory is to be destroyed.
 */
enum status snapshot_load(const struct files *files, const struct opening *opening,
                          struct keydir *keydir, struct scan *scan);

/*
 * How long the log had been at least, and durable, as PATH.index says, of which nothing
 * else is looked at; 0 if there is no image of this log whose own CRC is right (reported,
 * if there is a file).
 */
uint64_t snapshot_needed_length(const struct files *files, const struct opening *opening);

/* Remove PATH.index, if there is one. */
void snapshot_remove(const struct files *files, struct waste *waste);

#endif
