/*
 * The bytes on disk, format version 1. This is the only description of them, and
 * record.c the only code that knows them; both work in memory alone.
 *
 * A log is a sequence of records and nothing else:
 *
 *      8 bytes           8 bytes             key length      value length
 *     +-----------------+-------------------+---------------+----------------+
 *     | key length, u64 | value length, u64 | key           | value          |
 *     | big-endian      | big-endian        | UTF-8         | UTF-8          |
 *     +-----------------+-------------------+---------------+----------------+
 *
 * A value of the single byte 0x00 is a tombstone: the key was deleted. A later
 * record replaces an earlier one with the same key.
 *
 * A record with an empty key is a mark of the log itself. But for the last kind its value
 * is lower-case hexadecimal text of fixed length, so that a reader who knows only the
 * paragraph above finds ordinary records, with one empty key among them:
 *
 *     opening record, at offset 0 and nowhere else
 *         16  6b762d73746f7265  ("kv-store" in ASCII)
 *          4  format version
 *         16  log id, random
 *         16  generation, 1 for the first log, one more after each compaction
 *         16  id of the older log that this one continues, or zeros
 *         12  length of that older log, or zeros
 *          8  checksum of the mark
 *     seal, at the end of each batch
 *          4  5ea1
 *         16  log id
 *         12  durable length: how long the log was known to be on disk when this
 *             seal was written
 *          8  chain: CRC-32C of every byte of the log before this seal
 *          8  checksum of the mark
 *     drained mark, in a log that continues an older one: everything live has been
 *     copied from it
 *          4  d4a1
 *         16  log id
 *         16  id of the older log
 *          8  checksum of the mark
 *
 *     space ahead, behind the last seal of a log that is being served
 *          value: zeros, up to the end of the file or until other records of this kind,
 *          of any length, 0 as well (see log.h)
 *
 * The checksum of a mark is the CRC-32C of its offset in the file (u64 big-endian),
 * its record header and its text before the checksum. So a mark is intact only where
 * it was written, and bytes that a client stored can never pass for one: 15 zero
 * bytes begin a mark, and no record of a client holds more than 9 in a row.
 *
 * To change the format: raise RECORD_FORMAT_VERSION, keep reading the versions
 * before it, and describe the new bytes here first.
 */
#ifndef KV_RECORD_H
#define KV_RECORD_H

#include "base/slice.h"
#include "base/status.h"

#define RECORD_FORMAT_VERSION 1

#define RECORD_HEADER_BYTES 16
#define OPENING_BYTES       (RECORD_HEADER_BYTES + 88)
#define SEAL_BYTES          (RECORD_HEADER_BYTES + 48)
#define DRAINED_BYTES       (RECORD_HEADER_BYTES + 44)

/* A whole record in memory; the slices point into the bytes it was decoded from. */
struct record {
    struct slice key;
    struct slice value;
    uint64_t length; /* of the whole record, header included */
};

struct opening {
    uint64_t version;
    uint64_t log_id;
    uint64_t generation;
    uint64_t older_id;     /* 0: this log continues none */
    uint64_t older_length; /* 0: likewise */
};

struct seal {
    uint64_t log_id;
    uint64_t durable_length;
    uint32_t chain;
};

struct drained {
    uint64_t log_id;
    uint64_t older_id;
};

/* How many bytes a record with a key and a value of these lengths takes. */
static inline uint64_t record_length(uint64_t key_length, uint64_t value_length)
{
    return RECORD_HEADER_BYTES + key_length + value_length;
}

void record_encode_header(uint8_t out[RECORD_HEADER_BYTES], uint64_t key_length,
                          uint64_t value_length);

/* A whole record; `out` has room for its length. */
void record_encode(uint8_t *out, struct slice key, struct slice value);

/*
 * The record at the start of `bytes`, with lengths as they stand there.
 *
 * Returns false, and leaves record_out alone, when there is no whole record; any
 * lengths, however large, are safe to judge.
 */
bool record_decode(struct slice bytes, struct record *record_out);

/* A walk over records that stand one behind the other. */
struct record_walk {
    struct slice bytes;   /* from the record that was found last on; borrowed */
    uint64_t offset;      /* of that record; behind the last one when there are no more */
    struct record record; /* length 0: none was looked for yet */
};

/* offset: of the first of these bytes in their file. */
static inline struct record_walk record_walk_begin(struct slice bytes, uint64_t offset)
{
    return (struct record_walk){.bytes = bytes, .offset = offset};
}

/* Go on to the next record; false: what stands there is no whole one. */
bool record_next(struct record_walk *walk);

/* The value that stands for "deleted". */
struct slice record_tombstone_value(void);
bool record_is_tombstone(const struct record *record);
bool record_is_mark(const struct record *record);

/* Whether key and value are within the limits of bounds.h. */
bool record_is_within_limits(const struct record *record);

/* Marks, to and from bytes. `offset` is the place of the mark in its file. */
void record_encode_opening(uint8_t out[OPENING_BYTES], const struct opening *opening);
void record_encode_seal(uint8_t out[SEAL_BYTES], const struct seal *seal,
                        uint64_t offset);
void record_encode_drained(uint8_t out[DRAINED_BYTES], const struct drained *drained,
                           uint64_t offset);

/*
 * The mark at the start of `bytes`: true only if it is whole, of this kind and its
 * checksum is right. A version that this program does not know is still decoded.
 */
bool record_decode_opening(struct slice bytes, struct opening *opening_out);
bool record_decode_seal(struct slice bytes, uint64_t offset, struct seal *seal_out);
bool record_decode_drained(struct slice bytes, uint64_t offset,
                           struct drained *drained_out);

/*
 * Whether the bytes begin as every opening record does; where there are fewer of them,
 * whether that much is right.
 */
bool record_begins_opening(struct slice bytes);

/* Whether the bytes begin with the header of a seal, or of any mark, whatever follows. */
bool record_has_seal_header(struct slice bytes);
bool record_has_mark_header(struct slice bytes);

/*
 * Find an intact mark of any kind and any log at `from` or later.
 *
 * log: the whole file, so that offsets are right.
 * offset_out: where it is, written only when one is found.
 */
bool record_find_mark(struct slice log, uint64_t from, uint64_t *offset_out);

#endif
