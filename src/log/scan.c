/*
 * Batches, seals and the question "had it been durable?".
 */
#include "log/scan.h"

#include "base/bounds.h"
#include "base/crc32c.h"
#include "base/platform.h"

#include <assert.h>

void scan_begin(struct scan *scan, struct slice log, uint64_t log_id)
{
    assert(log.length >= OPENING_BYTES);
    *scan = (struct scan){
        .log = log,
        .log_id = log_id,
        .offset = OPENING_BYTES,
        .chain = crc32c(0, slice_first(log, OPENING_BYTES)),
        .durable_length = OPENING_BYTES,
    };
}

void scan_begin_unmarked(struct scan *scan, struct slice log)
{
    *scan = (struct scan){.log = log, .is_unmarked = true};
}

static struct slice bytes_from(const struct scan *scan, uint64_t offset)
{
    return slice_after(scan->log, (size_t)offset);
}

/* Records are small steps through much memory: prefetch what comes next. */
static void prefetch_ahead(struct slice log, uint64_t offset)
{
    enum { AHEAD_BYTES = 2048, LINE_BYTES = 64 };
    if (log.length - offset > AHEAD_BYTES + LINE_BYTES) {
        KV_PREFETCH(log.bytes + offset + AHEAD_BYTES);
        KV_PREFETCH(log.bytes + offset + AHEAD_BYTES + LINE_BYTES);
    }
}

/* The records from the scan on. */
static struct record_walk walk_on(const struct scan *scan)
{
    return record_walk_begin(bytes_from(scan, scan->offset), scan->offset);
}

/*
 * Find the first mark that is no drained mark: a batch must have its seal there. false:
 * the records before it are not whole. drained_id: set by a drained mark before it.
 */
static bool find_seal_place(const struct scan *scan, uint64_t *place,
                            uint64_t *drained_id)
{
    struct drained drained;
    struct record_walk walk = walk_on(scan);
    while (record_next(&walk) && record_is_within_limits(&walk.record)) {
        prefetch_ahead(scan->log, walk.offset);
        if (!record_is_mark(&walk.record)) {
            continue;
        }
        if (!record_decode_drained(walk.bytes, walk.offset, &drained) ||
            drained.log_id != scan->log_id) {
            *place = walk.offset;
            return true;
        }
        *drained_id = drained.older_id;
    }
    return false;
}

static bool is_own_seal(const struct scan *scan, uint64_t at, struct seal *seal_out)
{
    return record_decode_seal(bytes_from(scan, at), at, seal_out) &&
           seal_out->log_id == scan->log_id && seal_out->durable_length <= at;
}

/* Go on behind a seal. */
static void step_over_seal(struct scan *scan, uint64_t at, const struct seal *seal)
{
    struct slice mark = slice_first(bytes_from(scan, at), SEAL_BYTES);
    scan->chain = crc32c(seal->chain, mark);
    scan->offset = at + SEAL_BYTES;
    scan->durable_length = seal->durable_length;
}

bool scan_go_to(struct scan *scan, uint64_t offset, uint64_t chain)
{
    struct seal seal;
    struct scan there = *scan;
    if (offset == scan->offset) {
        return chain == scan->chain;
    }
    if (offset < scan->offset + SEAL_BYTES || offset > scan->log.length ||
        !is_own_seal(scan, offset - SEAL_BYTES, &seal)) {
        return false;
    }
    step_over_seal(&there, offset - SEAL_BYTES, &seal);
    if (there.chain != chain) {
        return false;
    }
    *scan = there;
    return true;
}

/* As many records as a batch of ours would hold, whatever they say. */
static bool next_unmarked(struct scan *scan, struct batch *batch_out)
{
    uint64_t start = scan->offset;
    struct record_walk walk = walk_on(scan);
    while (scan->offset - start < BATCH_BYTES_MAX && record_next(&walk) &&
           record_is_within_limits(&walk.record)) {
        scan->offset += walk.record.length;
    }
    if (scan->offset == start) {
        return false;
    }
    struct slice records = bytes_from(scan, start);
    *batch_out =
        (struct batch){start, slice_first(records, (size_t)(scan->offset - start))};
    return true;
}

static bool next_sealed(struct scan *scan, struct batch *batch_out)
{
    struct seal seal;
    uint64_t end = 0;
    uint64_t drained_id = scan->drained_id;
    if (!find_seal_place(scan, &end, &drained_id) || !is_own_seal(scan, end, &seal)) {
        return false;
    }
    struct slice records =
        slice_first(bytes_from(scan, scan->offset), (size_t)(end - scan->offset));
    if (crc32c(scan->chain, records) != seal.chain) {
        return false;
    }
    *batch_out = (struct batch){.offset = scan->offset, .records = records};
    step_over_seal(scan, end, &seal);
    scan->drained_id = drained_id;
    return true;
}

bool scan_next(struct scan *scan, struct batch *batch_out)
{
    do {
        if (scan->is_unmarked ? next_unmarked(scan, batch_out)
                              : next_sealed(scan, batch_out)) {
            return true;
        }
    } while (scan->skips_damage && scan_skip_damage(scan));
    return false;
}

/* Find the next intact seal of this log, at *at or later. */
static bool find_seal(const struct scan *scan, uint64_t *at, struct seal *seal_out)
{
    for (; record_find_mark(scan->log, *at, at); ++*at) {
        if (is_own_seal(scan, *at, seal_out)) {
            return true;
        }
    }
    return false;
}

bool scan_skip_damage(struct scan *scan)
{
    uint64_t at = scan->offset;
    struct seal seal;
    if (!find_seal(scan, &at, &seal)) {
        return false;
    }
    step_over_seal(scan, at, &seal);
    return true;
}

uint64_t scan_count_records(const struct scan *scan)
{
    uint64_t count = 0;
    struct record_walk walk = walk_on(scan);
    while (record_next(&walk)) {
        count += record_is_mark(&walk.record) ? 0 : 1;
    }
    return count;
}

/* Whether some intact seal behind the damage says that the damaged place was durable. */
static bool had_been_durable(const struct scan *scan)
{
    struct seal seal;
    for (uint64_t at = scan->offset; find_seal(scan, &at, &seal); at++) {
        if (seal.durable_length > scan->offset) {
            return true;
        }
    }
    return false;
}

/*
 * A batch is closed before a record begins so far behind its start. Who appends to a log
 * as it was while it was served does so behind its space ahead.
 */
static bool is_larger_than_a_batch(const struct scan *scan)
{
    uint64_t ahead_bytes = 0;
    struct record_walk walk = walk_on(scan);
    while (record_next(&walk)) {
        if (!record_is_mark(&walk.record)) {
            if (walk.offset - scan->offset - ahead_bytes >= BATCH_BYTES_MAX) {
                return true;
            }
        } else if (walk.offset == scan->offset + ahead_bytes &&
                   slice_is_zero(walk.record.value)) {
            ahead_bytes += walk.record.length;
        } else {
            return false; /* a seal, which may stand behind the last record's end */
        }
    }
    return false;
}

static bool has_zero(struct slice bytes)
{
    return memchr(bytes.bytes, 0, bytes.length) != NULL;
}

/* Whether whole records lead from the scan to a seal that ends the file. */
static bool is_framed_whole(const struct scan *scan)
{
    struct record_walk walk = walk_on(scan);
    while (record_next(&walk)) {
        /* Zeros that decode as records were never written, and no mark has one in it: the
         * header of a space ahead may have stood here, and a batch been written behind.
         */
        if (record_is_mark(&walk.record) &&
            (!record_has_mark_header(walk.bytes) || has_zero(walk.record.value))) {
            return false;
        }
        if (walk.record.length == walk.bytes.length) {
            return record_has_seal_header(walk.bytes);
        }
    }
    return false;
}

/*
 * The length in the header of a space ahead, which stands behind a seal: the only bytes
 * of a space that need not be zero, and so of a sector that was not written over.
 */
#define AHEAD_LENGTH_AT    8
#define AHEAD_LENGTH_BYTES 8

/* Whether bytes of the tail are as a space ahead has them. */
static bool is_unwritten(const struct scan *scan, uint64_t from, uint64_t to)
{
    uint64_t field = scan->offset + AHEAD_LENGTH_AT;
    uint64_t field_end = field + AHEAD_LENGTH_BYTES;
    uint64_t before_end = to < field ? to : field;
    uint64_t behind = from > field_end ? from : field_end;
    return (from >= before_end ||
            slice_is_zero(
                slice_first(bytes_from(scan, from), (size_t)(before_end - from)))) &&
           (behind >= to ||
            slice_is_zero(slice_first(bytes_from(scan, behind), (size_t)(to - behind))));
}

/*
 * Whether nothing but space ahead follows: zeros, with a header that does not lead beyond
 * them or, where the last write was cut short, with a part of one or without.
 */
static bool is_ahead(const struct scan *scan)
{
    struct record space;
    return record_decode(bytes_from(scan, scan->offset), &space) &&
           is_unwritten(scan, scan->offset, scan->log.length);
}

/*
 * Whether the share that some disk sector has in the tail was not written. A record
 * begins with six zero bytes at least, and a mark with 15, so a first share proves
 * nothing when it is no longer than that, or when the records that begin in it are whole
 * to the end.
 */
static bool has_zero_sector(const struct scan *scan)
{
    enum { ZEROS_OF_A_RECORD = 6 };
    uint64_t at = scan->offset;
    while (at < scan->log.length) {
        uint64_t end = at - at % SECTOR_BYTES + SECTOR_BYTES;
        end = end < scan->log.length ? end : scan->log.length;
        bool is_telling =
            at > scan->offset || (end - at > ZEROS_OF_A_RECORD && !is_framed_whole(scan));
        if (is_telling && is_unwritten(scan, at, end)) {
            return true;
        }
        at = end;
    }
    return false;
}

/*
 * Whether the tail is as long as the batch that was written there: its last bytes are a
 * seal, of which either the header or all the rest is intact.
 */
static bool is_full_length(const struct scan *scan)
{
    struct slice tail = bytes_from(scan, scan->offset);
    if (tail.length < SEAL_BYTES) {
        return false;
    }
    uint8_t mended[SEAL_BYTES];
    struct seal seal;
    struct slice last = slice_after(tail, tail.length - SEAL_BYTES);
    memcpy(mended, last.bytes, sizeof mended);
    record_encode_header(mended, 0, SEAL_BYTES - RECORD_HEADER_BYTES);
    return record_has_seal_header(last) ||
           (record_decode_seal((struct slice){mended, sizeof mended},
                               scan->log.length - SEAL_BYTES, &seal) &&
            seal.log_id == scan->log_id);
}

/*
 * Whether all of a batch was written that is none. A write cut short leaves missing
 * sectors, as a shorter file or as zeros. Where space ahead follows, the last byte that
 * is not zero is the seal's, or one of the header behind it.
 */
static bool is_written_whole(const struct scan *scan)
{
    struct scan batch = *scan;
    if (is_full_length(scan) && !has_zero_sector(scan)) {
        return true;
    }
    while (batch.log.length > scan->offset &&
           batch.log.bytes[batch.log.length - 1] == 0) {
        batch.log.length--;
    }
    for (int i = 0; i <= RECORD_HEADER_BYTES && batch.log.length > scan->offset; i++) {
        if (is_full_length(&batch) && !has_zero_sector(&batch)) {
            return true;
        }
        batch.log.length--;
    }
    return false;
}

enum tail scan_judge_tail(const struct scan *scan)
{
    if (scan_is_at_end(scan) || scan->is_unmarked) {
        return TAIL_TORN;
    }
    if (scan->offset < scan->proved_length) {
        return TAIL_CORRUPT;
    }
    if (is_ahead(scan)) {
        return TAIL_AHEAD;
    }
    if (had_been_durable(scan) || is_written_whole(scan)) {
        return TAIL_CORRUPT;
    }
    return is_larger_than_a_batch(scan) ? TAIL_FOREIGN : TAIL_TORN;
}
