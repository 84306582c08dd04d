/*
 * Recovery. Everything is judged before anything is changed; the only change to a log
 * is to cut off a torn tail, and only once a copy of it is safe.
 */
#include "recover.h"

#include "clock.h"
#include "crc32c.h"
#include "diag.h"
#include "import.h"
#include "scan.h"

#include <inttypes.h>

static enum status create(const struct files *files, struct log **log_out)
{
    enum status status = log_create(files, &(struct opening){.generation = 1}, log_out);
    if (status != KV_OK) {
        return status;
    }
    status = log_publish(*log_out);
    if (status != KV_OK) {
        (void)log_close(*log_out); /* the first failure is the one that counts */
        files_drop_new(files);
    }
    return status;
}

/* Verify and load batches up to the end or the first damage, which result_out tells. */
static enum status load_log(const struct files *files, struct keydir *keydir,
                            struct scan *scan, enum scan_result *result_out)
{
    uint64_t told_ms = clock_now_ms();
    struct batch batch;
    while ((*result_out = scan_next(scan, &batch)) == SCAN_BATCH) {
        enum status status = keydir_load(keydir, batch.records, batch.offset);
        if (status != KV_OK) {
            diag_info("%s: cannot load the batch at offset %" PRIu64 ": %s",
                      files_path(files), batch.offset, status_text(status));
            return status;
        }
        uint64_t now_ms = clock_now_ms();
        if (now_ms - told_ms >= PROGRESS_MS) {
            diag_info("%s: read %" PRIu64 " of %" PRIu64 " MiB", files_path(files),
                      scan->offset / MIB, (uint64_t)scan->log.length / MIB);
            told_ms = now_ms;
        }
    }
    return KV_OK;
}

/*
 * Look again at everything that the last seal does not call durable, this time as the
 * disk gives it: after a failed sync, memory may hold what the disk never got.
 */
static enum status compare_with_disk(struct log *log, const struct scan *scan,
                                     bool *is_same_out)
{
    struct slice in_memory = slice_after(log_bytes(log), (size_t)scan->durable_length);
    uint32_t crc = crc32c(0, in_memory);
    enum status status = log_reread(log, scan->durable_length);
    if (status == KV_OK) {
        *is_same_out =
            crc32c(0, slice_after(log_bytes(log), (size_t)scan->durable_length)) == crc;
    }
    return status;
}

/* Fill an empty key directory; scan_out tells how far the log is whole. */
static enum status load(const struct files *files, struct keydir *keydir,
                        struct scan *scan_out, enum scan_result *result_out)
{
    struct scan start = *scan_out;
    enum status status = load_log(files, keydir, scan_out, result_out);
    bool is_same = true;
    if (status == KV_OK) {
        status = compare_with_disk(keydir->log, scan_out, &is_same);
    }
    if (status != KV_OK || is_same) {
        return status;
    }
    diag_info("%s: the disk lacks what memory held behind offset %" PRIu64
              "; reading the log again",
              files_path(files), scan_out->durable_length);
    struct log *log = keydir->log;
    keydir_destroy(keydir);
    status = keydir_init(keydir, log);
    *scan_out = start;
    return status == KV_OK ? load_log(files, keydir, scan_out, result_out) : status;
}

/* A tail that never was durable: save a copy, then cut it off. */
static enum status drop_torn_tail(const struct files *files, struct log *log,
                                  const struct scan *scan)
{
    char suffix[FILES_SUFFIX_BYTES_MAX];
    struct slice tail = slice_after(log_bytes(log), (size_t)scan->offset);
    enum status status = files_save_torn(files, tail, scan->offset, suffix);
    if (status != KV_OK) {
        return status;
    }
    diag_info("%s: cutting off an unfinished batch at offset %" PRIu64
              ": %zu bytes, %" PRIu64 " whole records, kept in %s%s",
              files_path(files), scan->offset, tail.length, scan_count_records(scan),
              files_path(files), suffix);
    return log_cut(log, scan->offset);
}

/* What to do about whatever stands behind the last good seal. */
static enum status finish(const struct files *files, struct log *log,
                          const struct scan *scan, enum scan_result result)
{
    if (log_has_failed_reads(log)) {
        diag_info("%s: a part of the log cannot be read", files_path(files));
        return KV_IO;
    }
    enum tail tail = result == SCAN_DAMAGED ? scan_judge_tail(scan) : TAIL_TORN;
    if (tail != TAIL_TORN) {
        diag_info("%s: the log is damaged at offset %" PRIu64
                  ", %s; nothing was changed: see "
                  "--verify and --salvage",
                  files_path(files), scan->offset,
                  tail == TAIL_CORRUPT ? "where it had been durable"
                                       : "where records without a seal follow");
        return KV_CORRUPT;
    }
    enum status status =
        result == SCAN_DAMAGED ? drop_torn_tail(files, log, scan) : KV_OK;
    if (status == KV_OK) {
        log_resume(log, &(struct log_end){scan->log_id, scan->offset, scan->chain});
    }
    return status;
}

static enum status recover_log(const struct files *files, const struct opening *opening,
                               struct keydir *keydir, bool *is_at_rest_out)
{
    struct log *log = keydir->log;
    enum scan_result result = SCAN_END;
    struct scan scan;
    enum status status = log_settle(log);
    if (status != KV_OK) {
        return status;
    }
    scan_begin(&scan, log_bytes(log), opening->log_id);
    status = load(files, keydir, &scan, &result);
    if (status == KV_OK) {
        status = finish(files, log, &scan, result);
    }
    *is_at_rest_out = scan.is_at_rest;
    return status;
}

/* Say what a file is that does not begin with an intact opening record. */
static enum status refuse(const struct files *files, struct slice bytes)
{
    uint64_t mark_offset = 0;
    if (record_find_mark(bytes, 0, &mark_offset)) {
        diag_info("%s: the log is damaged at offset 0: its opening record is not intact, "
                  "but a seal at offset %" PRIu64 " is; nothing was changed",
                  files_path(files), mark_offset);
    } else {
        diag_info("%s: is not a kv-store log; nothing was changed", files_path(files));
    }
    return KV_CORRUPT;
}

/* Open the file at PATH as a log with an opening record, making it one where that is
 * right. */
static enum status open_log(const struct files *files, struct log **log_out,
                            struct opening *opening_out)
{
    enum status status = log_open(files, LOG_APPEND, log_out);
    if (status == KV_NOT_FOUND || (status == KV_OK && log_length(*log_out) == 0)) {
        if (status == KV_OK) {
            (void)log_close(*log_out); /* nothing was written */
        }
        status = create(files, log_out);
    }
    if (status != KV_OK) {
        return status;
    }
    uint64_t mark_offset = 0;
    struct slice bytes = log_bytes(*log_out);
    if (record_decode_opening(bytes, opening_out)) {
        return KV_OK;
    }
    if (record_find_mark(bytes, 0, &mark_offset) || !import_is_original(bytes)) {
        status = refuse(files, bytes);
    } else {
        status = import_original(files, *log_out);
    }
    (void)log_close(*log_out); /* nothing was written */
    if (status == KV_OK) {
        status = log_open(files, LOG_APPEND, log_out);
    }
    if (status == KV_OK && !record_decode_opening(log_bytes(*log_out), opening_out)) {
        (void)log_close(*log_out); /* nothing was written */
        status = KV_CORRUPT;
    }
    return status;
}

enum status recover_open(const struct files *files, struct keydir *keydir_out,
                         struct recovery *recovery_out)
{
    struct opening opening = {0};
    struct log *log = NULL;
    uint64_t started_ms = clock_now_ms();
    *keydir_out = (struct keydir){0};
    files_drop_new(files); /* what a crash left half made */
    enum status status = open_log(files, &log, &opening);
    if (status != KV_OK) {
        return status;
    }
    if (opening.version != RECORD_FORMAT_VERSION) {
        diag_info("%s: the log has format version %" PRIu64
                  ", this program knows version %d",
                  files_path(files), opening.version, RECORD_FORMAT_VERSION);
        status = KV_IO;
    } else {
        status = keydir_init(keydir_out, log);
    }
    bool is_at_rest = false;
    if (status == KV_OK) {
        status = recover_log(files, &opening, keydir_out, &is_at_rest);
    }
    if (status != KV_OK) {
        keydir_destroy(keydir_out);
        (void)log_close(log); /* the first failure is the one that counts */
        return status;
    }
    *recovery_out = (struct recovery){
        .scanned_bytes = log_length(log),
        .elapsed_ms = clock_now_ms() - started_ms,
        .is_at_rest = is_at_rest,
    };
    return KV_OK;
}
