/*
 * Reading a log from front to back, in memory: which batches are whole, and what to think
 * of the place where they end. Reads no file, changes nothing and tells nobody.
 *
 * Rejected: a checksum for each record, which cannot see that a whole batch is missing,
 * or stands there twice; the chain of seals does. And to take whatever ends a log for a
 * torn tail: a wrong bit in a length looks like one, and acknowledged records behind it
 * would be cut off. So each seal says how much had been durable before it.
 *
 * The zeros of a space ahead (log.h) end a log as the end of the file does. A batch that
 * was lost there as a whole looks as if it had never been written, as one does that was
 * cut off with the end of the file: a seal that follows, or an image of the index, tells.
 */
#ifndef KV_SCAN_H
#define KV_SCAN_H

#include "log/record.h"

/* Where a scan stands: everything before `offset` was verified. */
struct scan {
    struct slice log; /* the whole file; borrowed while scanning */
    bool is_unmarked; /* by the original program: records, of which any may be the last */
    bool skips_damage; /* go on behind it wherever there is another seal of this log */
    uint64_t log_id;
    uint64_t offset;         /* end of the last good seal, or of the opening record */
    uint32_t chain;          /* CRC-32C of all bytes before `offset` */
    uint64_t durable_length; /* what the last good seal says was durable before it */
    uint64_t proved_length;  /* so much had been durable, as another file says, or 0 */
    uint64_t drained_id;     /* of the older log that a drained mark names, or 0 */
};

/* Whether nothing stands behind the scan: the log ends with a seal or an opening record.
 */
static inline bool scan_is_at_end(const struct scan *scan)
{
    return scan->offset == scan->log.length;
}

/* Whether the last good seal, if there is one, says that all before it is durable. */
static inline bool scan_is_at_rest(const struct scan *scan)
{
    return scan->offset - scan->durable_length <= SEAL_BYTES;
}

/*
 * One verified batch: walk its records with record_next. All are whole and within the
 * limits of bounds.h; marks may be among them.
 */
struct batch {
    uint64_t offset;      /* of the first record */
    struct slice records; /* without the seal; may be empty */
};

/*
 * What stands behind the last good seal.
 *
 * TAIL_AHEAD: space ahead of the log, which ends where the scan stands.
 * TAIL_TORN: a write that never became durable: nothing there was acknowledged.
 * TAIL_CORRUPT: it had been durable, or cannot be a write that was cut short.
 * TAIL_FOREIGN: whole records, more than a batch can hold, and no seal: another program
 * wrote there, which may have acknowledged them.
 */
enum tail { TAIL_AHEAD, TAIL_TORN, TAIL_CORRUPT, TAIL_FOREIGN };

/* Begin behind the opening record of a log whose opening record was decoded. */
void scan_begin(struct scan *scan, struct slice log, uint64_t log_id);

/*
 * Begin a log without marks. Its batches are runs of whole records, there is nothing to
 * verify, and its tail is a torn one.
 */
void scan_begin_unmarked(struct scan *scan, struct slice log);

/*
 * Go on at `offset`, where an image says that the chain is this: behind a seal that
 * leads to it, or where the scan stands. false, and no step, if that is not so.
 */
bool scan_go_to(struct scan *scan, uint64_t offset, uint64_t chain);

/*
 * Verify the next batch and step over it.
 *
 * false: the log ends there, or what follows is no whole batch with a right seal. The
 * scan stays where it is then, unless it skipped damage; batch_out is not written.
 */
bool scan_next(struct scan *scan, struct batch *batch_out);

/*
 * Step over damage, behind the next intact seal of this log, from where batches
 * can be verified again; false, and no step, if there is none.
 */
bool scan_skip_damage(struct scan *scan);

/* Whole records, marks left out, that stand behind the scan, whether sealed or not. */
uint64_t scan_count_records(const struct scan *scan);

/* Judge what stands where there is no next batch: TAIL_TORN also if nothing does. */
enum tail scan_judge_tail(const struct scan *scan);

#endif
