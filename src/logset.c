/*
 * A log that continues another names it in its opening record, and says with a drained
 * mark when it is not needed any more. So each combination of files is either a state
 * that a crash can leave, or something is missing.
 */
#include "logset.h"

#include "diag.h"
#include "import.h"
#include "load.h"
#include "progress.h"
#include "snapshot.h"

#include <inttypes.h>

static enum status refuse(const struct logset *set, const char *suffix,
                          const char *reason)
{
    diag_errorx("%s%s: %s; nothing was changed", files_path(set->files), suffix, reason);
    return KV_CORRUPT;
}

static void begin_work(const char *verb, const struct log *log)
{
    progress_begin(verb, log_path(log), log_suffix(log), log_length(log));
}

/* Whether the drained mark is in a verified batch of PATH. */
static bool has_drained_mark(const struct logset *set)
{
    struct scan scan;
    struct batch batch;
    bool is_found = false;
    scan_begin(&scan, log_bytes(set->log), set->opening.log_id);
    begin_work("reading", set->log);
    while (!is_found && scan_next(&scan, &batch) == SCAN_BATCH) {
        is_found = scan.drained_id == set->opening.older_id;
    }
    progress_end();
    return is_found;
}

/* What could not be read is zeros, about which nothing else may be said. */
static enum status check_was_read(const struct logset *set, const struct log *log)
{
    if (!log_has_failed_reads(log)) {
        return KV_OK;
    }
    diag_errorx("%s%s: the log cannot be read; nothing was changed",
                files_path(set->files), log_suffix(log));
    return KV_IO;
}

/* PATH and PATH.old are both there. */
static enum status judge_older(struct logset *set)
{
    struct opening older;
    bool has_opening = record_decode_opening(log_bytes(set->older), &older);
    bool is_named = has_opening && set->opening.older_id == older.log_id &&
                    set->opening.generation == older.generation + 1;
    bool is_cut_short = !has_opening && log_length(set->older) < OPENING_BYTES;
    enum status status = check_was_read(set, set->older);
    if (status != KV_OK) {
        return status;
    }
    if (set->opening.older_id == 0 || (!is_named && !is_cut_short)) {
        return refuse(set, FILES_OLD, "is not the log that this one continues");
    }
    set->is_drained = has_drained_mark(set);
    if (!set->is_drained && log_length(set->older) != set->opening.older_length) {
        return refuse(set, FILES_OLD, "is not as long as it was when it was continued");
    }
    return KV_OK;
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

/* PATH is there, not empty, and has no intact opening record. */
static enum status judge_unopened(struct logset *set)
{
    uint64_t mark_offset = 0;
    struct slice bytes = log_bytes(set->log);
    bool has_mark = record_find_mark(bytes, 0, &mark_offset);
    bool is_original = !has_mark && import_is_original(bytes);
    enum status status = check_was_read(set, set->log);
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
    set->shape = LOGSET_UNMARKED;
    return set->older == NULL
               ? KV_OK
               : refuse(set, FILES_OLD, "does not belong to a log without marks");
}

/* PATH is there and not empty. */
static enum status judge_log(struct logset *set)
{
    if (!record_decode_opening(log_bytes(set->log), &set->opening)) {
        return judge_unopened(set);
    }
    set->shape = LOGSET_SEALED;
    enum status status = judge_version(set);
    return status == KV_OK && set->older != NULL ? judge_older(set) : status;
}

/* Only PATH.old is there: it got its name when all of it was sealed and durable. */
static enum status judge_older_alone(struct logset *set)
{
    struct scan scan;
    struct batch batch;
    enum scan_result result = SCAN_DAMAGED;
    struct slice bytes = log_bytes(set->older);
    set->shape = LOGSET_OLDER_ALONE;
    if (record_decode_opening(bytes, &set->opening)) {
        scan_begin(&scan, bytes, set->opening.log_id);
        begin_work("reading", set->older);
        do {
            result = scan_next(&scan, &batch);
        } while (result == SCAN_BATCH);
        progress_end();
    }
    enum status status = check_was_read(set, set->older);
    if (status == KV_OK && result != SCAN_END) {
        return refuse(set, FILES_OLD, "is no whole log, and there is none beside it");
    }
    return status;
}

/* No log, or an empty file: begin one, unless it is known that there was one. */
static enum status judge_nothing(struct logset *set)
{
    int fd = -1;
    set->shape = LOGSET_NONE;
    enum status status = files_open_plain(set->files, FILES_INDEX, true, &fd);
    if (status != KV_OK) {
        return status == KV_NOT_FOUND ? KV_OK : status;
    }
    files_close_plain(fd);
    return refuse(set, "",
                  "is missing or empty, but there is a " FILES_INDEX
                  " of it: restore the log, or remove that file to begin anew");
}

static enum status judge(struct logset *set)
{
    bool has_log = set->log != NULL && log_length(set->log) > 0;
    if (has_log) {
        return judge_log(set);
    }
    if (set->log != NULL && set->older != NULL) {
        return refuse(set, "", "is empty, but there is an older log beside it");
    }
    if (set->older != NULL) {
        return judge_older_alone(set);
    }
    return judge_nothing(set);
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

/* Verify batches up to the end or the first damage, and take their records. */
static enum status take_batches(struct load *load, const struct log *log,
                                struct logset_end *end)
{
    struct batch batch;
    enum status status = KV_OK;
    begin_work("reading", log);
    while (status == KV_OK &&
           (end->result = scan_next(&end->scan, &batch)) == SCAN_BATCH) {
        status = load_records(load, batch.records, batch.offset, &end->record_count);
        end->seal_count += status == KV_OK ? 1 : 0;
    }
    return status;
}

static enum status load_batches(struct keydir *keydir, struct logset_end *end)
{
    const struct log *log = keydir_log(keydir);
    struct load *load = NULL;
    enum status status = load_begin(keydir, &load);
    if (status == KV_OK) {
        status = load_end(load, take_batches(load, log, end));
    }
    progress_end();
    if (status != KV_OK) {
        diag_errorx("%s%s: cannot load the batches up to offset %" PRIu64
                    ": %s; nothing was changed",
                    log_path(log), log_suffix(log), end->scan.offset,
                    status_text(status));
    } else if (log_has_failed_reads(log)) {
        diag_errorx("%s%s: a part of the log cannot be read; nothing was changed",
                    log_path(log), log_suffix(log));
        status = KV_IO;
    }
    return status;
}

/* The older log was durable as a whole: any damage in it is corruption. */
static enum status load_older(const struct logset *set, struct keydir *keydir,
                              struct logset_end *end)
{
    struct log *older = set->older;
    scan_begin(&end->scan, log_bytes(older), set->opening.older_id);
    enum status status = load_batches(keydir, end);
    if (status == KV_OK && end->result != SCAN_END) {
        diag_errorx("%s" FILES_OLD ": the log is damaged at offset %" PRIu64
                    "; nothing was changed",
                    files_path(set->files), end->scan.offset);
        return KV_CORRUPT;
    }
    log_resume(older, &(struct log_end){.log_id = set->opening.older_id,
                                        .generation = set->opening.generation - 1,
                                        .offset = end->scan.offset,
                                        .chain = end->scan.chain});
    return status;
}

/* Without marks there is nothing to verify but that records are whole and fit. */
static enum status load_unmarked(const struct logset *set, struct keydir *keydir,
                                 struct logset_end *end)
{
    struct record record;
    struct slice bytes = log_bytes(set->log);
    end->scan = (struct scan){.log = bytes};
    begin_work("reading", set->log);
    while (record_decode(slice_after(bytes, (size_t)end->scan.offset), &record)) {
        if (!record_is_within_limits(&record)) {
            diag_errorx("%s: the record at offset %" PRIu64
                        " is over the limits of this program; giving up",
                        files_path(set->files), end->scan.offset);
            progress_end();
            return KV_IO;
        }
        end->scan.offset += record.length;
        progress_at(end->scan.offset);
    }
    begin_work("loading", set->log);
    end->result = end->scan.offset == bytes.length ? SCAN_END : SCAN_DAMAGED;
    struct load *load = NULL;
    enum status status = load_begin(keydir, &load);
    if (status == KV_OK) {
        bytes = slice_first(bytes, (size_t)end->scan.offset);
        status = load_end(load, load_records(load, bytes, 0, &end->record_count));
    }
    progress_end();
    if (status != KV_OK) {
        diag_errorx("%s: cannot load the log: %s; giving up", files_path(set->files),
                    status_text(status));
    }
    return status;
}

/* From the image of the index and the records behind it; KV_NOT_FOUND: not to be had so.
 */
static enum status load_from_image(const struct logset *set, struct keydir *keydir,
                                   struct logset_end *end)
{
    if (set->access != LOG_APPEND || keydir_older_log(keydir) != NULL) {
        return KV_NOT_FOUND;
    }
    enum status status =
        snapshot_load(set->files, &set->opening, keydir, &end->scan, &end->proved_length);
    if (status != KV_OK) {
        return status;
    }
    end->image_length = end->scan.offset;
    status = load_batches(keydir, end);
    if (status != KV_CORRUPT) {
        return status;
    }
    diag_warnx("%s" FILES_INDEX
               ": does not lead to the records of the log; reading all of it",
               files_path(set->files));
    keydir_destroy(keydir);
    status = keydir_init(keydir, set->log);
    *end = (struct logset_end){.result = SCAN_END, .proved_length = end->proved_length};
    return status == KV_OK ? KV_NOT_FOUND : status;
}

static enum status load_sealed(const struct logset *set, struct keydir *keydir,
                               struct logset_end *end)
{
    scan_begin(&end->scan, log_bytes(set->log), set->opening.log_id);
    enum status status = load_from_image(set, keydir, end);
    if (status == KV_NOT_FOUND) {
        scan_begin(&end->scan, log_bytes(set->log), set->opening.log_id);
        status = load_batches(keydir, end);
    }
    bool is_complete = set->opening.older_id == 0 || set->older != NULL ||
                       end->scan.drained_id == set->opening.older_id;
    if (status == KV_OK && !is_complete) {
        return refuse(set, FILES_OLD,
                      "is missing, and holds data that is not in the log");
    }
    return status;
}

enum status logset_load(const struct logset *set, struct keydir *keydir_out,
                        struct logset_end *end_out)
{
    bool has_older = set->older != NULL && !set->is_drained;
    *end_out = (struct logset_end){.result = SCAN_END};
    enum status status = keydir_init(keydir_out, has_older ? set->older : set->log);
    if (status == KV_OK && has_older) {
        status = load_older(set, keydir_out, end_out);
        keydir_push_log(keydir_out, set->log);
    }
    if (status != KV_OK) {
        return status;
    }
    return set->shape == LOGSET_UNMARKED ? load_unmarked(set, keydir_out, end_out)
                                         : load_sealed(set, keydir_out, end_out);
}

/* A log to read, and not just what a start could make one of. */
static enum status check_has_log(const struct logset *set)
{
    if (set->shape == LOGSET_NONE) {
        diag_errorx("%s: there is no log; nothing was read", files_path(set->files));
        return KV_IO;
    }
    if (set->shape == LOGSET_OLDER_ALONE) {
        diag_errorx("%s: only " FILES_OLD
                    " is there, of a compaction that had just begun: start "
                    "the server once",
                    files_path(set->files));
        return KV_IO;
    }
    return KV_OK;
}

enum status logset_read(const char *path, logset_reader *reader, const void *context)
{
    struct files *files = NULL;
    struct reading reading = {0};
    enum status status = files_open(path, &files);
    if (status == KV_OK) {
        status = logset_open(files, LOG_READ, &reading.set);
    }
    if (status == KV_OK) {
        status = check_has_log(&reading.set);
    }
    if (status == KV_OK) {
        status = logset_load(&reading.set, &reading.keydir, &reading.end);
    }
    if (status == KV_NO_MEMORY) {
        diag_errorx("%s: not enough memory to read it; giving up", path);
    }
    if (status == KV_OK) {
        status = reader(&reading, context);
    }
    keydir_destroy(&reading.keydir);
    logset_close(&reading.set);
    files_close(files);
    return status;
}

enum tail logset_judge_tail(const struct logset *set, const struct logset_end *end)
{
    return set->shape == LOGSET_UNMARKED ? TAIL_TORN : scan_judge_tail(&end->scan);
}
