/*
 * A log that continues another names it in its opening record, and says with a drained
 * mark when it is not needed any more. So each combination of files is either a state
 * that a crash can leave, or something is missing.
 */
#include "log/logset.h"

#include "base/diag.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "engine/load.h"
#include "engine/snapshot.h"

#include <inttypes.h>

static enum status refuse(const struct logset *set, const char *suffix,
                          const char *reason)
{
    diag_errorx("%s%s: %s; nothing was changed", files_path(set->files), suffix, reason);
    return KV_CORRUPT;
}

/* What could not be read is zeros, about which nothing else may be said. */
static enum status check_was_read(const struct log *log, uint64_t from)
{
    if (log_lost_end(log) <= from) {
        return KV_OK;
    }
    diag_errorx("%s%s: a part of the log cannot be read; nothing was changed",
                log_path(log), log_suffix(log));
    return KV_IO;
}

/* Whether the log says that everything live was copied from the one that it continues. */
static bool has_drained_mark(const struct logset *set)
{
    struct scan scan;
    struct batch batch;
    const struct log *log = set->log;
    scan_begin(&scan, log_bytes(log), set->opening.log_id);
    progress_begin("reading", log_path(log), log_suffix(log), log_length(log));
    while (scan_next(&scan, &batch)) {
        /* Whatever damage ends this will be judged when the log is loaded. */
    }
    progress_end();
    return scan.drained_id == set->opening.older_id;
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
    enum status status = check_was_read(set->older, 0);
    if (status != KV_OK) {
        return status;
    }
    if (set->opening.older_id == 0 || (!is_named && !is_cut_short)) {
        return refuse(set, FILES_OLD, "is not the log that this one continues");
    }
    if (has_drained_mark(set)) {
        (void)log_close(set->older); /* nothing in it is wanted */
        set->older = NULL;
        set->is_drained = true;
        return KV_OK;
    }
    return log_length(set->older) == set->opening.older_length
               ? KV_OK
               : refuse(set, FILES_OLD, "is not as long as it was when it was continued");
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
    struct record record;
    while (record_decode(bytes, &record)) {
        if (!record_is_mark(&record) && utf8_is_valid(record.key)) {
            return true;
        }
        bytes = slice_after(bytes, (size_t)record.length);
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
    enum status status = check_was_read(set->log, 0);
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
        return refuse(set, "", "is not a kv-store log");
    }
    return set->older == NULL
               ? KV_OK
               : refuse(set, FILES_OLD, "does not belong to a log without marks");
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
    enum status status = check_was_read(set->log, 0);
    return status == KV_OK
               ? refuse(set, FILES_OLD, "is no whole log, and there is none beside it")
               : status;
}

/* No log, or an empty file: one may be begun, unless it is known that there was one. */
static enum status take_nothing(struct logset *set)
{
    (void)log_close(set->log); /* nothing was written */
    set->log = NULL;
    enum status status = files_find(set->files, FILES_INDEX);
    if (status == KV_OK) {
        return refuse(set, "",
                      "is missing or empty, but there is a " FILES_INDEX
                      " of it: restore the log, or remove that file to begin anew");
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
        return refuse(set, "", "is empty, but there is an older log beside it");
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
    *set_out = (struct logset){.files = files, .access = access};
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

/* Fill the key directory from its current log. */
static enum status load(struct keydir *keydir, struct logset_end *end)
{
    const struct log *log = keydir_log(keydir);
    enum status status = load_log(keydir, &end->scan, &end->counts);
    if (status == KV_OK) {
        return check_was_read(log, end->image_length);
    }
    diag_errorx("%s%s: cannot load the records up to offset %" PRIu64
                ": %s; nothing was changed",
                log_path(log), log_suffix(log), end->scan.offset, status_text(status));
    return status;
}

/* The older log was durable as a whole: any damage in it is corruption. */
static enum status load_older(const struct logset *set, struct keydir *keydir,
                              struct logset_end *end)
{
    struct log *older = set->older;
    scan_begin(&end->scan, log_bytes(older), set->opening.older_id);
    enum status status = load(keydir, end);
    if (status != KV_OK) {
        return status;
    }
    if (!scan_is_at_end(&end->scan)) {
        diag_errorx("%s" FILES_OLD ": the log is damaged at offset %" PRIu64
                    "; nothing was changed",
                    files_path(set->files), end->scan.offset);
        return KV_CORRUPT;
    }
    log_resume(older, &(struct log_end){.log_id = set->opening.older_id,
                                        .generation = set->opening.generation - 1,
                                        .offset = end->scan.offset,
                                        .chain = end->scan.chain});
    keydir_push_log(keydir, set->log);
    return KV_OK;
}

/* Without marks nothing is verified, but what we could not keep must not be left out. */
static enum status load_unmarked(const struct logset *set, struct keydir *keydir,
                                 struct logset_end *end)
{
    struct record record;
    scan_begin_unmarked(&end->scan, log_bytes(set->log));
    enum status status = load(keydir, end);
    if (status != KV_OK ||
        !record_decode(slice_after(end->scan.log, (size_t)end->scan.offset), &record)) {
        return status;
    }
    diag_errorx("%s: the record at offset %" PRIu64
                " has a key of %zu and a value of %zu bytes, more than this program "
                "keeps; nothing was changed",
                files_path(set->files), end->scan.offset, record.key.length,
                record.value.length);
    return KV_IO;
}

/* Begin to read PATH, keeping what is known of how much of it had been durable. */
static void begin_log(const struct logset *set, struct scan *scan)
{
    uint64_t proved_length = scan->proved_length;
    scan_begin(scan, log_bytes(set->log), set->opening.log_id);
    scan->proved_length = set->is_older_alone ? log_length(set->log) : proved_length;
}

/* Whether everything that the image covers is as it was sealed. */
static bool is_intact(const struct logset *set, uint64_t length)
{
    struct scan scan = {0};
    struct batch batch;
    begin_log(set, &scan);
    progress_begin("reading", log_path(set->log), "", length);
    while (scan.offset < length && scan_next(&scan, &batch)) {
    }
    progress_end();
    return scan.offset >= length;
}

/*
 * Records that the image leads to were found damaged when others replaced them. If the
 * log has no damage, it is the image that is wrong; else a client has mended the log so
 * while it was served, and no start may undo that.
 */
static enum status judge_replaced(const struct logset *set, const struct logset_end *end,
                                  enum status status)
{
    const char *path = files_path(set->files);
    if (status != KV_OK && status != KV_CORRUPT) {
        return status;
    }
    if (status == KV_CORRUPT || is_intact(set, end->image_length)) {
        diag_warnx("%s" FILES_INDEX
                   ": does not lead to the records of the log; reading all of it",
                   path);
        return KV_NOT_FOUND;
    }
    diag_warnx("%s: %" PRIu64 " records that are damaged or cannot be read had been "
               "replaced or deleted since; the next compaction leaves them out",
               path, end->counts.replaced_unseen);
    return KV_OK;
}

/*
 * From the image of the index and the records behind it. KV_NOT_FOUND: there is none to
 * use, and nothing is loaded.
 */
static enum status load_from_image(const struct logset *set, struct keydir *keydir,
                                   struct logset_end *end)
{
    begin_log(set, &end->scan);
    enum status status = keydir_init(keydir, set->log);
    if (status == KV_OK) {
        status = snapshot_load(set->files, &set->opening, keydir, &end->scan);
    }
    if (status == KV_OK) {
        end->image_length = end->scan.offset;
        status = load(keydir, end);
        if (status == KV_CORRUPT || end->counts.replaced_unseen > 0) {
            status = judge_replaced(set, end, status);
        }
    }
    if (status == KV_NOT_FOUND) {
        keydir_destroy(keydir);
        *end = (struct logset_end){.scan.proved_length = end->scan.proved_length};
    }
    return status;
}

static enum status load_whole(const struct logset *set, struct keydir *keydir,
                              struct logset_end *end)
{
    struct log *older = set->older;
    enum status status = keydir_init(keydir, older != NULL ? older : set->log);
    if (status == KV_OK && older != NULL) {
        status = load_older(set, keydir, end);
    }
    if (status != KV_OK) {
        return status;
    }
    if (!set->has_marks) {
        return load_unmarked(set, keydir, end);
    }
    begin_log(set, &end->scan);
    return load(keydir, end);
}

enum status logset_load(const struct logset *set, struct keydir *keydir_out,
                        struct logset_end *end_out)
{
    bool may_use_image =
        set->access == LOG_APPEND && set->has_marks && set->older == NULL;
    *end_out = (struct logset_end){0};
    enum status status =
        may_use_image ? load_from_image(set, keydir_out, end_out) : KV_NOT_FOUND;
    if (status == KV_NOT_FOUND) {
        status = load_whole(set, keydir_out, end_out);
    }
    bool is_complete = set->opening.older_id == 0 || set->older != NULL ||
                       end_out->scan.drained_id == set->opening.older_id;
    if (status == KV_OK && !is_complete) {
        return refuse(set, FILES_OLD,
                      "is missing, and holds data that is not in the log");
    }
    return status;
}

enum status logset_read(const char *path, struct reading *reading_out)
{
    struct reading *reading = reading_out;
    *reading = (struct reading){0};
    enum status status = files_open_to_read(path, &reading->files);
    if (status == KV_OK) {
        status = logset_open(reading->files, LOG_READ, &reading->set);
    }
    if (status == KV_OK && reading->set.log == NULL) {
        diag_errorx("%s: there is no log, or an empty file; nothing was read", path);
        status = KV_IO;
    }
    if (status == KV_OK) {
        status = logset_load(&reading->set, &reading->keydir, &reading->end);
    }
    if (status == KV_NO_MEMORY) {
        diag_errorx("%s: not enough memory to read it; giving up", path);
    }
    return status;
}

void logset_release(struct reading *reading)
{
    keydir_destroy(&reading->keydir);
    logset_close(&reading->set);
    files_close(reading->files);
}
