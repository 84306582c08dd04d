/*
 * Batches, seals and the question "had it been durable?".
 */
#include "scan.h"

#include "crc32c.h"

#include <assert.h>

/* A disk writes sectors of at least this size whole. */
enum { SECTOR_BYTES = 512 };

void scan_begin(struct scan *scan, struct slice log, uint64_t log_id)
{
    assert(log.length >= OPENING_BYTES);
    *scan = (struct scan){
        .log = log,
        .log_id = log_id,
        .offset = OPENING_BYTES,
        .chain = crc32c(0, slice_first(log, OPENING_BYTES)),
        .durable_length = OPENING_BYTES,
        .is_at_rest = true,
    };
}

/*
 * The offset of the first record at `from` or later that is a mark but no drained
 * mark, which is where a batch must have its seal; false if the records before it
 * are not whole.
 */
static bool find_batch_end(const struct scan *scan, uint64_t *offset_out)
{
    uint64_t at = scan->offset;
    struct record record;
    struct drained drained;
    while (record_decode(slice_after(scan->log, (size_t)at), &record)) {
        bool is_drained =
            record_decode_drained(slice_after(scan->log, (size_t)at), at, &drained) &&
            drained.log_id == scan->log_id;
        if (record_is_mark(&record) && !is_drained) {
            *offset_out = at;
            return true;
        }
        at += record.length;
    }
    return false;
}

static bool is_own_seal(const struct scan *scan, uint64_t at, struct seal *seal_out)
{
    return record_decode_seal(slice_after(scan->log, (size_t)at), at, seal_out) &&
           seal_out->log_id == scan->log_id && seal_out->durable_length <= at;
}

enum scan_result scan_next(struct scan *scan, struct batch *batch_out)
{
    if (scan->offset == scan->log.length) {
        return SCAN_END;
    }
    uint64_t end = 0;
    struct seal seal;
    if (!find_batch_end(scan, &end) || !is_own_seal(scan, end, &seal)) {
        return SCAN_DAMAGED;
    }
    struct slice rest = slice_after(scan->log, (size_t)scan->offset);
    struct slice records = slice_first(rest, (size_t)(end - scan->offset));
    uint32_t chain = crc32c(scan->chain, records);
    if (chain != seal.chain) {
        return SCAN_DAMAGED;
    }
    *batch_out = (struct batch){.offset = scan->offset, .records = records};
    scan->chain =
        crc32c(chain, slice_first(slice_after(rest, records.length), SEAL_BYTES));
    scan->offset = end + SEAL_BYTES;
    scan->durable_length = seal.durable_length;
    scan->is_at_rest = records.length == 0;
    return SCAN_BATCH;
}

/* Whether some intact seal behind the damage says that the damaged place was durable. */
static bool had_been_durable(const struct scan *scan)
{
    uint64_t at = scan->offset;
    struct seal seal;
    while (record_find_mark(scan->log, at, &at)) {
        if (is_own_seal(scan, at, &seal) && seal.durable_length > scan->offset) {
            return true;
        }
        at++;
    }
    return false;
}

static bool is_all_zero(struct slice bytes)
{
    for (size_t i = 0; i < bytes.length; i++) {
        if (bytes.bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Whether the share that some disk sector has in the tail is all zero. */
static bool has_zero_sector(struct slice log, uint64_t from)
{
    uint64_t at = from;
    while (at < log.length) {
        uint64_t end = at - at % SECTOR_BYTES + SECTOR_BYTES;
        end = end < log.length ? end : log.length;
        if (is_all_zero(slice_first(slice_after(log, (size_t)at), (size_t)(end - at)))) {
            return true;
        }
        at = end;
    }
    return false;
}

/* Whether the tail is as long as the batch that was written there: it ends in a seal. */
static bool is_full_length(const struct scan *scan)
{
    struct slice tail = slice_after(scan->log, (size_t)scan->offset);
    return tail.length >= SEAL_BYTES &&
           record_has_seal_header(slice_after(tail, tail.length - SEAL_BYTES));
}

enum tail scan_judge_tail(const struct scan *scan)
{
    if (had_been_durable(scan)) {
        return TAIL_CORRUPT;
    }
    /* A write cut short leaves missing sectors, as a shorter file or as zeros. */
    if (is_full_length(scan) && !has_zero_sector(scan->log, scan->offset)) {
        return TAIL_CORRUPT;
    }
    return TAIL_TORN;
}
