/*
 * A log that continues another names it in its opening record, and says with a drained
 * mark when it is not needed any more. So each combination of files is either a state
 * that a crash can leave, or something is missing.
 */
#include "log/logset.h"

#include "base/diag.h"
#include "base/progress.h"
#include "base/utf8.h"

#include <inttypes.h>

enum status logset_refuse(const struct logset *set, const char *suffix,
                          const char *reason)
{
    diag_errorx("%s%s: %s; nothing was changed", files_path(set->files), suffix, reason);
    return KV_CORRUPT;
}

enum status logset_check_was_read(const struct log *log, uint64_t from)
{
    if (log_lost_end(log) <= from) {
        return KV_OK;
    }
    diag_errorx("%s%s: a part of the log cannot be read; nothing was changed",
                log_path(log), log_suffix(log));
    return KV_IO;
}

enum status logset_judge_tail(const struct log *log, const struct scan *scan,
                              enum tail *tail_out)
{
    enum tail tail = scan_judge_tail(scan);
    enum status status = logset_check_was_read(log, scan->offset);
    if (status == KV_OK) {
        *tail_out = tail;
    }
    return status;
}

enum status logset_prove_length(const struct files *files, struct scan *scan,
                                uint64_t length)
{
    if (length > scan->proved_length) {
        scan->proved_length = length;
    }
    if (length <= scan->log.length) {
        return KV_OK;
    }
    const char *path = files_path(files);
    diag_errorx("%s: the log is %zu bytes long, but %" PRIu64
                " of it were durable when %s" FILES_INDEX
                " was written; nothing was changed",
                path, scan->log.length, length, path);
    return KV_CORRUPT;
}

void logset_verify(const struct log *log, struct scan *scan, uint64_t end)
{
    struct batch batch;
    log_begin_progress(log, "reading", end);
    while (scan->offset < end && scan_next(scan, &batch)) {
        progress_at(scan->offset);
    }
    progress_end();
}

bool logset_is_drained(const struct log *log, struct scan scan, uint64_t older_id)
{
    /* Whatever damage ends this will be judged when the log is read. */
    logset_verify(log, &scan, scan.log.length);
    return scan.drained_id == older_id;
}

/* Whether PATH, as far as it is intact, says so of the log that it continues. */
static bool is_drained(const struct logset *set)
{
    struct scan scan;
    scan_begin(&scan, log_bytes(set->log), set->opening.log_id);
    return logset_is_drained(set->log, scan, set->opening.older_id);
}

/* PATH and PATH.old are both there. */
static enum status judge_older(struct logset *set)
{
    struct opening older;
    bool has_opening = record_decode_opening(log_bytes(set->older), &older);
    bool is_named = has_opening && set->opening.older_id == older.log_id &&
                    set->opening.generation == older.generation + 1;
    bool is_cut_short = !has_opening && log_length(set->older) < OPENING_BYTES &&
                        record_begins_opening(log_bytes(set->older));
    enum status status = logset_check_was_read(set->older, 0);
    if (status != KV_OK) {
        return status;
    }
    if (set->opening.older_id == 0 || (!is_named && !is_cut_short)) {
        return logset_refuse(set, FILES_OLD, "is not the log that this one continues");
    }
    if (is_drained(set)) {
        (void)log_close(set->older); /* nothing in it is wanted */
        set->older = NULL;
        set->is_drained = true;
        return KV_OK;
    }
    /* A drained mark that cannot be read is none that is missing. */
    status = logset_check_was_read(set->log, 0);
    if (status != KV_OK) {
        return status;
    }
    return log_length(set->older) == set->opening.older_length
               ? KV_OK
               : logset_refuse(set, FILES_OLD,
                               "is not as long as it was when it was continued");
}

static enum status judge_version(const struct logset *set)
{
    if (set->opening.version == RECORD_FORMAT_VERSION) {
        return KV_OK;
    }
    diag_errorx("%s: the log has format version %" PRIu64
                ", this program knows version %d; nothing was changed",
                files_path(set->files), set->opening.version, RECORD_FORMAT_VERSION);
    return KV_IO;
}

bool logset_is_original(struct slice bytes)
{
    struct record_walk walk = record_walk_begin(bytes, 0);
    while (record_next(&walk)) {
        if (!record_is_mark(&walk.record) && utf8_is_valid(walk.record.key)) {
            return true;
        }
    }
    return false;
}

/* PATH is there, not empty, and has no intact opening record. */
static enum status judge_unopened(const struct logset *set)
{
    uint64_t mark_offset = 0;
    struct slice bytes = log_bytes(set->log);
    bool has_mark = record_find_mark(bytes, 0, &mark_offset);
    bool is_original = !has_mark && logset_is_original(bytes);
    enum status status = logset_check_was_read(set->log, 0);
    if (status != KV_OK) {
        return status;
    }
    if (has_mark) {
        diag_errorx(
            "%s: the log is damaged at offset 0: its opening record is not intact, "
            "but a mark at offset %" PRIu64 " is; nothing was changed",
            files_path(set->files), mark_offset);
        return KV_CORRUPT;
    }
    if (!is_original) {
        return logset_refuse(set, "", "is not a kv-store log");
    }
    return set->older == NULL
               ? KV_OK
               : logset_refuse(set, FILES_OLD, "does not belong to a log without marks");
}

/* Only PATH.old is there: a compaction had given it this name and made no new log. */
static enum status take_older_alone(struct logset *set)
{
    set->log = set->older;
    set->older = NULL;
    set->is_older_alone = true;
    set->has_marks = record_decode_opening(log_bytes(set->log), &set->opening);
    if (set->has_marks) {
        return judge_version(set);
    }
    enum status status = logset_check_was_read(set->log, 0);
    return status == KV_OK ? logset_refuse(set, FILES_OLD,
                                           "is no whole log, and there is none beside it")
                           : status;
}

/* No log, or an empty file: one may be begun, unless it is known that there was one. */
static enum status take_nothing(struct logset *set)
{
    (void)log_close(set->log); /* nothing was written */
    set->log = NULL;
    enum status status = files_find(set->files, FILES_INDEX);
    if (status == KV_OK) {
        const char *path = files_path(set->files);
        diag_errorx("%s: is missing or empty, but there is %s" FILES_INDEX
                    ", the index of it: restore the log, or remove that file to begin "
                    "anew; nothing was changed",
                    path, path);
        return KV_CORRUPT;
    }
    return status == KV_NOT_FOUND ? KV_OK : status;
}

static enum status judge(struct logset *set)
{
    bool is_empty = set->log != NULL && log_length(set->log) == 0;
    if (set->older == NULL && (set->log == NULL || is_empty)) {
        return take_nothing(set);
    }
    if (set->log == NULL) {
        return take_older_alone(set);
    }
    if (is_empty) {
        return logset_refuse(set, "", "is empty, but there is an older log beside it");
    }
    set->has_marks = record_decode_opening(log_bytes(set->log), &set->opening);
    if (!set->has_marks) {
        return judge_unopened(set);
    }
    enum status status = judge_version(set);
    return status == KV_OK && set->older != NULL ? judge_older(set) : status;
}

enum status logset_open(const struct files *files, enum log_access access,
                        struct logset *set_out)
{
    *set_out = (struct logset){
        .files = files, .access = access, .may_use_image = access == LOG_APPEND};
    enum status status = log_open(files, "", access, &set_out->log);
    if (status == KV_OK || status == KV_NOT_FOUND) {
        status = log_open(files, FILES_OLD, access, &set_out->older);
    }
    if (status == KV_OK || status == KV_NOT_FOUND) {
        status = judge(set_out);
    }
    if (status != KV_OK) {
        logset_close(set_out);
    }
    return status;
}

void logset_close(struct logset *set)
{
    (void)log_close(set->older); /* nothing was written through this set */
    (void)log_close(set->log);
    set->older = NULL;
    set->log = NULL;
}
