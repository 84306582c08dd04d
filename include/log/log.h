/*
 * One append-only log file: its bytes for reading, and batches for writing.
 *
 * A batch is staged in memory, where its records can already be read at the offsets
 * they will have; log_write appends it with its seal, log_sync makes it durable. The
 * caller (transaction.c) owns the order of these steps. Failures are reported to the
 * operator here, with path and offset.
 *
 * A log at rest ends with its last seal. While it is served the file may go on, with
 * space ahead: blocks that were written before, so that writing over them changes nothing
 * that the file system keeps about the file, and a sync is one request to the disk and
 * not two or more. They hold zeros, which are records in this format too, of empty keys:
 *
 *                 end                                                    file length
 *      ... | seal |                                                                |
 *     made at first        0 0 0 0 0 ...  in multiples of 16: records without a value
 *     after a batch | rec | rec | seal | 0, length | 0 0 0 0 ...   one record, all zeros
 *     made larger   ...          | seal | 0, length | 0 0 0 0 ... | 0 0 0 0 ...
 *     used up       ...                              | rec | seal |
 *
 * A batch, its seal and the new header of the rest go over the beginning of the space
 * with one write; a batch that is longer goes beyond its end and leaves none. Where less
 * than a header would be left, the file grows by the rest of one. Zeros are durable
 * before they are counted, so until the next sync a power loss may leave, of each sector
 * of that write, either the new bytes or the old: the old are zeros but for the length in
 * the header of the space, 8 bytes at end + 8. So
 *
 *     no sector           the space as it was: the log ends where it ended
 *     all                 the batch; of the new header any part, the rest is zeros
 *     some                a torn batch: some sector's share is zero, but for that length
 *     beyond the end      as for any append: a shorter file, zeros, or old blocks
 *
 * and scan.h tells these from damage. Old bytes, as databases use that write their logs
 * round and round, would be overwritten as cheaply, but then a sector that was never
 * written looks like any other, and what is behind the last seal like a batch.
 *
 * Rejected:
 * - Allocating the blocks without writing them (posix_fallocate): the first write to each
 *   is noted by the file system, which is what shall be saved.
 * - A write for each record: a batch is one write and one sync, and is kept or lost as a
 *   whole, since nothing counts before its seal.
 * - Leaving what a failed write has written, to be overwritten: a crash in between would
 *   leave bytes that nobody acknowledged, and some of them may look like a batch.
 * - Trying a failed sync again: the system may have dropped what it could not write and
 *   call the next one a success. Only the disk knows, so the program stops.
 * - Reading with pread: a view in memory costs no system call for a value. The price is a
 *   signal where the disk fails (mapping.h).
 */
#ifndef KV_LOG_H
#define KV_LOG_H

#include "base/bounds.h"
#include "file/files.h"
#include "log/record.h"
#include "log/told.h"

struct log;

/* Which log it is, and where its last seal ends. */
struct log_end {
    uint64_t log_id;
    uint64_t generation;
    uint64_t offset;
    uint32_t chain; /* CRC-32C of everything before offset */
};

enum log_access {
    LOG_READ,  /* never written to */
    LOG_APPEND /* may be cut and appended to */
};

/*
 * Open an existing log, at PATH (suffix "") or PATH.old; nothing of its content is
 * judged.
 *
 * KV_NOT_FOUND: there is none.  KV_IO (reported).  KV_NO_MEMORY: the caller tells.
 * Release with log_close.
 */
enum status log_open(const struct files *files, const char *suffix,
                     enum log_access access, struct log **log_out);

/*
 * Begin a new log as PATH.new, with its opening record, which is durable; batches may
 * follow, none of them durable before log_publish has put the file at PATH.
 *
 * opening: generation and, if it continues an older log, which; its id and version are
 * given here.  KV_NO_SPACE, KV_IO (reported).  KV_NO_MEMORY: the caller tells.
 */
enum status log_create(const struct files *files, const struct opening *opening,
                       struct log **log_out);

/*
 * Put a log that was created at PATH, durably.
 *
 * replaced: what is there now, and has not changed since it was opened; NULL: no file, or
 * an empty one.  KV_IO, KV_NO_SPACE: it is not there (reported).  KV_FATAL: unknown.
 */
enum status log_publish(struct log *log, const struct log *replaced);

/* Close the file. KV_IO: what was written may not have reached the disk (reported). */
enum status log_close(struct log *log);

/* For messages: the path of the log, and what is behind it in the file's name. */
const char *log_path(const struct log *log);
const char *log_suffix(const struct log *log);

/* The last seal's end, in a log that was created or resumed. */
const struct log_end *log_end(const struct log *log);

/*
 * The whole file; valid until the log is appended to, cut or closed. In one that was
 * appended to, the last seal may lie beyond what can be read, until log_cover.
 */
struct slice log_bytes(const struct log *log);

/* Make all of log_bytes readable. KV_NO_MEMORY, KV_IO: nothing changed (not reported). */
enum status log_cover(struct log *log);

/*
 * Behind the last place that could not be read at some time, so that what was seen there
 * is not to be judged; 0: everything could.
 */
uint64_t log_lost_end(const struct log *log);

/* Begin to tell the progress of work on this file, as progress_begin does. */
void log_begin_progress(const struct log *log, const char *verb, uint64_t total_bytes);

/* How often reading failed: what was verified before may read as zeros since. */
uint64_t log_fault_count(const struct log *log);

/* Whether these bytes cannot be read, and what stands for them is no damage. */
bool log_is_lost(const struct log *log, uint64_t offset, uint64_t length);

/* Try again what could not be read, now and then; whether these bytes are right now. */
bool log_read_again(const struct log *log, uint64_t offset, uint64_t length);

/*
 * Whether reading some of these bytes failed so long ago, and whenever it was tried
 * since: after READ_RETRY_MS_MAX they count as lost for good.
 */
bool log_has_given_up(const struct log *log, uint64_t offset, uint64_t length,
                      uint64_t patience_ms);

/* Try all that could not be read again, at once; false: nothing of it can be read yet. */
bool log_read_all_again(const struct log *log);

/* Tell that a record is not served; of each fault once a minute at most, with a count. */
void log_tell_fault(struct log *log, enum record_fault fault, uint64_t offset);

/*
 * Make everything in the file durable before it is judged. KV_IO, KV_NO_SPACE: unknown
 * what of it is (reported).
 */
enum status log_settle(struct log *log);

/*
 * Read from the disk, not from memory, what stands at `offset` or later. Where the system
 * does not do that, the operator is told and nothing else.
 *
 * KV_NO_MEMORY: the view is as it was (reported).
 */
enum status log_reread(struct log *log, uint64_t offset);

/*
 * Cut the file back to a verified end and make that durable.
 * KV_IO, KV_NO_SPACE: unknown how long it is (reported).
 */
enum status log_cut(struct log *log, uint64_t offset);

/* Append from now on at the end of a file that is whole, and durable up to there. */
void log_resume(struct log *log, const struct log_end *end);

/* Bytes up to the last seal; bytes of them known to be durable. */
uint64_t log_length(const struct log *log);
uint64_t log_durable_length(const struct log *log);

/* How much of the file stands behind the last seal, as space ahead. */
uint64_t log_ahead_bytes(const struct log *log);

/* Bytes staged and not yet written. */
uint64_t log_staged_bytes(const struct log *log);

/*
 * Make sure that a record of these lengths can be staged.
 *
 * KV_NO_MEMORY, KV_IO: there is no room for it in memory, or in the address space (which
 * is reported).  KV_NO_SPACE: the log is at LOG_BYTES_MAX.  Nothing changed.
 */
enum status log_reserve(struct log *log, uint64_t key_length, uint64_t value_length);

/*
 * Whether this many more bytes can be staged and written so that what room_kept makes of
 * `kept_bytes` is still free behind them; space ahead is room as well. Asks the system
 * only when what is known says no, or is old (log_look_again).
 */
bool log_has_room(struct log *log, uint64_t bytes, uint64_t kept_bytes);
void log_look_again(struct log *log);

/* What is known of that without asking; NULL: nothing. Valid until the next call. */
const struct io_space *log_space(const struct log *log);

/* Stage a record for which room was reserved; returns the offset it will have. */
uint64_t log_stage(struct log *log, struct slice key, struct slice value);

/* How the log will be read: see mapping_read_at_random, mapping_will_read. */
void log_read_at_random(struct log *log, bool is_random);
void log_will_read(const struct log *log, uint64_t offset, uint64_t length);

/* The bytes of a record, staged or written; valid until the log is changed. */
struct slice log_record(const struct log *log, uint64_t offset, uint64_t length);

/*
 * Append the staged batch and its seal with one write, over the space ahead if there is
 * some; with nothing staged, a seal.
 *
 * KV_NO_SPACE, KV_IO: nothing was appended, the file was cut back to the last seal (both
 * are reported once until writing works again).  KV_NO_MEMORY: nothing was done.
 * KV_FATAL: the file is not what it should be, or is not found under its name any more
 * (reported).
 */
enum status log_write(struct log *log);

/*
 * Make so much space ahead more, a multiple of RECORD_HEADER_BYTES, durably. Nothing is
 * staged, everything written is durable.
 *
 * KV_NO_SPACE, KV_IO: there is none more (not reported).  KV_FATAL: as for log_write and
 * log_sync.
 */
enum status log_make_ahead(struct log *log, uint64_t bytes);

/*
 * Cut all of it off, durably. KV_IO, KV_NO_SPACE: it is there still (reported). KV_FATAL:
 * as for log_sync, and for a log that another has changed.
 */
enum status log_cut_ahead(struct log *log);

/*
 * Stage the mark that says that everything live was copied from an older log, for which
 * log_reserve made room as for a value of DRAINED_BYTES.
 */
void log_stage_drained(struct log *log, uint64_t older_id);

/* Drop what is staged. */
void log_unstage(struct log *log);

/*
 * Give the log the name PATH.old, or PATH (suffix "") again, durably.
 * KV_IO, KV_NO_SPACE: it has the name it had.  KV_FATAL: unknown, or that name leads to
 * it no more.  All are reported.
 */
enum status log_rename(struct log *log, const char *suffix);

/* Remove the file's name, durably, if it leads to the file still. KV_IO (reported). */
enum status log_remove(const struct log *log);

/*
 * Whether the file has another name, under which somebody keeps its bytes (or may have:
 * it cannot be inspected). Such a log is only unlinked.
 */
bool log_has_other_links(const struct log *log);

/*
 * Free at most `bytes` at the end of a log that is not needed and has no other link;
 * nothing of it is read again. KV_IO, KV_NO_SPACE: to be tried again (reported).
 */
enum status log_cut_away(struct log *log, uint64_t bytes);

/* A sync will come later: let the disk begin with what was written, if it is much. */
void log_begin_sync(struct log *log);

/* Make everything written durable. KV_FATAL: unknown how much of it is; stop (reported).
 */
enum status log_sync(struct log *log);

#endif
