/*
 * A log that continues another names it in its opening record, and says with a drained
 * mark when it is not needed any more. So each combination of files is either a state
 * that a crash can leave, or something is missing.
 */
#include "logset.h"

#include "diag.h"
#include "load.h"
#include "progress.h"
#include "snapshot.h"
#include "utf8.h"

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

/* What could not be read is zeros, about which nothing else may be said. */
static enum status check_was_read(const struct log *log)
{
    if (!log_has_failed_reads(log)) {
        return KV_OK;
    }
    diag_errorx("%s%s: a part of the log cannot be read; nothing was changed",
                log_path(log), log_suffix(log));
    return KV_IO;
}

/* Go through the batches of a log with this id, up to its end or its first damage. */
static enum scan_result read_batches(const struct log *log, uint64_t log_id,
                                     struct scan *scan_out)
{
    struct batch batch;
    enum scan_result result = SCAN_BATCH;
    scan_begin(scan_out, log_bytes(log), log_id);
    begin_work("reading", log);
    while (result == SCAN_BATCH) {
        result = scan_next(scan_out, &batch);
    }
    progress_end();
    return result;
}

/* PATH and PATH.old are both there. */
static enum status judge_older(struct logset *set)
{
    struct scan scan;
    struct opening older;
    bool has_opening = record_decode_opening(log_bytes(set->older), &older);
    bool is_named = has_opening && set->opening.older_id == older.log_id &&
                    set->opening.generation == older.generation + 1;
    bool is_cut_short = !has_opening && log_length(set->older) < OPENING_BYTES;
    enum status status = check_was_read(set->older);
    if (status != KV_OK) {
        return status;
    }
    if (set->opening.older_id == 0 || (!is_named && !is_cut_short)) {
        return refuse(set, FILES_OLD, "is not the log that this one continues");
    }
    /* Whatever damage there is will be judged when the log is loaded. */
    (void)read_batches(set->log, set->opening.log_id, &scan);
    set->is_drained = scan.drained_id == set->opening.older_id;
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
static enum status judge_unopened(struct logset *set)
{
    uint64_t mark_offset = 0;
    struct slice bytes = log_bytes(set->log);
    bool has_mark = record_find_mark(bytes, 0, &mark_offset);
    bool is_original = !has_mark && logset_is_original(bytes);
    enum status status = check_was_read(set->log);
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
    enum scan_result result = SCAN_DAMAGED;
    set->shape = LOGSET_OLDER_ALONE;
    if (record_decode_opening(log_bytes(set->older), &set->opening)) {
        result = read_batches(set->older, set->opening.log_id, &scan);
    }
    enum status status = check_was_read(set->older);
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
    if (set->log != NULL && log_length(set->log) > 0) {
        return judge_log(set);
    }
    if (set->older == NULL) {
        return judge_nothing(set);
    }
    return set->log == NULL
               ? judge_older_alone(set)
               : refuse(set, "", "is empty, but there is an older log beside it");
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

/* Without marks: take the records that survey_unmarked went through. */
static enum status take_unmarked(struct load *load, const struct log *log,
                                 struct logset_end *end)
{
    begin_work("loading", log);
    return load_records(load, slice_first(log_bytes(log), (size_t)end->scan.offset), 0,
                        &end->record_count);
}

/* Fill the key directory from its current log. */
static enum status load_log(const struct logset *set, struct keydir *keydir,
                            struct logset_end *end)
{
    const struct log *log = keydir_log(keydir);
    struct load *load = NULL;
    enum status status = load_begin(keydir, &load);
    if (status == KV_OK) {
        status =
            load_end(load, set->shape == LOGSET_UNMARKED ? take_unmarked(load, log, end)
                                                         : take_batches(load, log, end));
    }
    progress_end();
    if (status == KV_OK) {
        return check_was_read(log);
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
    enum status status = load_log(set, keydir, end);
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
static enum status survey_unmarked(const struct log *log, struct logset_end *end)
{
    struct record record;
    struct slice rest = log_bytes(log);
    begin_work("reading", log);
    for (; record_decode(rest, &record);
         rest = slice_after(rest, (size_t)record.length)) {
        if (!record_is_within_limits(&record)) {
            diag_errorx("%s: the record at offset %" PRIu64
                        " has a key of %zu and a value of %zu bytes, more than this "
                        "program keeps; nothing was changed",
                        log_path(log), end->scan.offset, record.key.length,
                        record.value.length);
            progress_end();
            return KV_IO;
        }
        end->empty_key_count += record_is_mark(&record) ? 1 : 0;
        end->scan.offset += record.length;
        progress_at(end->scan.offset);
    }
    end->result = rest.length == 0 ? SCAN_END : SCAN_DAMAGED;
    return KV_OK;
}

static enum status load_unmarked(const struct logset *set, struct keydir *keydir,
                                 struct logset_end *end)
{
    enum status status = survey_unmarked(set->log, end);
    return status == KV_OK ? load_log(set, keydir, end) : status;
}

/* From the image of the index and the records behind it. KV_NOT_FOUND: none to use. */
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
    status = load_log(set, keydir, end);
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
        status = load_log(set, keydir, end);
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

enum status logset_read(const char *path, struct reading *reading_out)
{
    struct reading *reading = reading_out;
    *reading = (struct reading){0};
    enum status status = files_open(path, &reading->files);
    if (status == KV_OK) {
        status = logset_open(reading->files, LOG_READ, &reading->set);
    }
    if (status == KV_OK) {
        status = check_has_log(&reading->set);
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

enum tail logset_judge_tail(const struct logset *set, const struct logset_end *end)
{
    if (end->result == SCAN_END || set->shape == LOGSET_UNMARKED) {
        return TAIL_TORN;
    }
    return end->scan.offset < end->proved_length ? TAIL_CORRUPT
                                                 : scan_judge_tail(&end->scan);
}
