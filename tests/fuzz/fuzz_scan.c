/*
 * Any bytes as a log in memory: marks are found where a search from place to place finds
 * them, batches are whole, and what had been durable is never taken for a torn tail.
 */
#include "fuzz/fuzz.h"

#include "base/crc32c.h"
#include "log/scan.h"

#include <stdlib.h>

static bool is_seal_of(struct slice log, size_t at, uint64_t log_id,
                       struct seal *seal_out)
{
    return record_decode_seal(slice_after(log, at), at, seal_out) &&
           seal_out->log_id == log_id && seal_out->durable_length <= at;
}

/* A mark that is read and written again is the same bytes. */
static bool check_mark(struct slice log, size_t at)
{
    uint8_t bytes[OPENING_BYTES];
    size_t length = 0;
    struct opening opening;
    struct seal seal;
    struct drained drained;
    struct slice rest = slice_after(log, at);
    if (record_decode_seal(rest, at, &seal)) {
        record_encode_seal(bytes, &seal, at);
        length = SEAL_BYTES;
    } else if (record_decode_drained(rest, at, &drained)) {
        record_encode_drained(bytes, &drained, at);
        length = DRAINED_BYTES;
    } else if (at == 0 && record_decode_opening(rest, &opening)) {
        record_encode_opening(bytes, &opening);
        length = OPENING_BYTES;
    }
    REQUIRE(length == 0 || memcmp(bytes, rest.bytes, length) == 0);
    return length > 0;
}

static void check_find_mark(struct slice log)
{
    uint64_t found = 0;
    bool is_found = record_find_mark(log, 0, &found);
    for (size_t at = 0; at < log.length; at++) {
        if (check_mark(log, at)) {
            REQUIRE(is_found && found == at);
            is_found = record_find_mark(log, at + 1, &found);
        }
    }
    REQUIRE(!is_found);
}

static bool had_been_durable(const struct scan *scan)
{
    struct seal seal;
    for (size_t at = (size_t)scan->offset; at < scan->log.length; at++) {
        if (is_seal_of(scan->log, at, scan->log_id, &seal) &&
            seal.durable_length > scan->offset) {
            return true;
        }
    }
    return false;
}

static void check_place(const struct scan *scan)
{
    REQUIRE(scan->offset <= scan->log.length);
    REQUIRE(scan->durable_length <= scan->offset);
    REQUIRE(crc32c(0, slice_first(scan->log, (size_t)scan->offset)) == scan->chain);
}

static void check_batch(const struct scan *scan, const struct batch *batch,
                        uint64_t offset)
{
    struct record record;
    struct slice rest = batch->records;
    REQUIRE(batch->offset == offset);
    REQUIRE(rest.bytes == scan->log.bytes + offset);
    REQUIRE(scan->offset == offset + rest.length + SEAL_BYTES);
    while (rest.length > 0) {
        REQUIRE(record_decode(rest, &record));
        rest = slice_after(rest, (size_t)record.length);
    }
}

/* Read batches up to the end or the first damage, and judge that. */
static void check_scan(struct scan *scan, bool is_from_start)
{
    struct batch batch = {0};
    uint64_t offset = scan->offset;
    while (scan_next(scan, &batch)) {
        check_batch(scan, &batch, offset);
        offset = scan->offset;
        if (is_from_start) {
            check_place(scan);
        }
    }
    REQUIRE(scan->offset == offset);
    if (!scan_is_at_end(scan)) {
        REQUIRE(scan_judge_tail(scan) == TAIL_CORRUPT || !had_been_durable(scan));
    }
    REQUIRE(scan_count_records(scan) <= scan->log.length - offset);
}

/* Go on behind each damage as salvage does; this ends. */
static void check_salvage(struct scan scan)
{
    uint64_t offset = scan.offset;
    while (scan_skip_damage(&scan)) {
        REQUIRE(scan.offset > offset);
        check_scan(&scan, false);
        offset = scan.offset;
    }
}

int fuzz_scan(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    struct slice log = {copy, size};
    struct opening opening;
    struct seal seal;
    struct scan scan;
    uint64_t at = 0;
    check_find_mark(log);
    if (record_decode_opening(log, &opening)) {
        scan_begin(&scan, log, opening.log_id);
        check_scan(&scan, true);
        check_salvage(scan);
    }
    if (record_find_mark(log, 0, &at) &&
        record_decode_seal(slice_after(log, (size_t)at), at, &seal)) {
        check_salvage((struct scan){.log = log, .log_id = seal.log_id});
    }
    free(copy);
    return 0;
}
