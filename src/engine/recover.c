/*
 * Recovery. Everything is judged before anything is changed. What is changed: a torn tail
 * is cut off, once a copy of it is safe; a drained log is removed; and a state that is
 * not a sealed log yet is made one.
 */
#include "engine/recover.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "engine/import.h"
#include "file/torn.h"
#include "log/rewrite.h"

#include <inttypes.h>

/* A log without a batch. */
static enum status create(const struct files *files)
{
    struct log *log = NULL;
    enum status status = rewrite_begin(files, &log);
    return status == KV_OK ? rewrite_end(files, log, NULL, status) : status;
}

/* Open what is there; what is no log of ours yet is made one first. */
static enum status open_sealed(const struct files *files, struct logset *set)
{
    enum status status = logset_open(files, LOG_APPEND, set);
    if (status != KV_OK || set->has_marks) {
        return status;
    }
    status = set->log == NULL ? create(files) : import_original(set);
    logset_close(set);
    if (status == KV_OK) {
        status = logset_open(files, LOG_APPEND, set);
    }
    if (status == KV_OK && !set->has_marks) {
        logset_close(set);
        diag_errorx("%s: something else changed it meanwhile; giving up",
                    files_path(files));
        return KV_IO;
    }
    return status;
}

/*
 * Look again at everything that the last seal does not call durable, this time as the
 * disk gives it: after a failed sync, memory may hold what the disk never got.
 */
static enum status compare_with_disk(struct log *log, uint64_t from, bool *is_same_out)
{
    uint32_t crc = crc32c(0, slice_after(log_bytes(log), (size_t)from));
    enum status status = log_reread(log, from);
    if (status == KV_OK) {
        *is_same_out = crc32c(0, slice_after(log_bytes(log), (size_t)from)) == crc;
    }
    return status;
}

static enum status load(struct logset *set, struct keydir *keydir, struct logset_end *end)
{
    const struct files *files = set->files;
    bool is_same = false;
    enum status status = log_settle(set->log);
    if (status == KV_OK && set->older != NULL) {
        status = log_settle(set->older);
    }
    if (status == KV_OK) {
        status = logset_load(set, keydir, end);
    }
    if (status == KV_OK) {
        status = compare_with_disk(set->log, end->scan.durable_length, &is_same);
    }
    if (status != KV_OK || is_same) {
        return status;
    }
    diag_warnx("%s: the disk lacks what memory held behind offset %" PRIu64
               "; reading the log again",
               files_path(files), end->scan.durable_length);
    keydir_destroy(keydir);
    /* What it said of an older log counts no more either: a drained mark may be gone. */
    logset_close(set);
    status = open_sealed(files, set);
    return status == KV_OK ? logset_load(set, keydir, end) : status;
}

/* A tail that never was durable: save a copy, then cut it off. */
static enum status drop_torn_tail(const struct logset *set, const struct scan *scan)
{
    char suffix[FILES_SUFFIX_BYTES_MAX];
    const char *path = files_path(set->files);
    struct slice tail = slice_after(log_bytes(set->log), (size_t)scan->offset);
    enum status status = torn_save(set->files, tail, scan->offset, suffix);
    if (status != KV_OK) {
        return status;
    }
    diag_warnx("%s: cutting off an unfinished batch at offset %" PRIu64
               ": %zu bytes, %" PRIu64 " whole records, kept in %s%s",
               path, scan->offset, tail.length, scan_count_records(scan), path, suffix);
    return log_cut(set->log, scan->offset);
}

/* A compaction had given the log its older name and made no successor. */
static enum status take_name_back(const struct logset *set)
{
    const char *path = files_path(set->files);
    diag_info("%s: taking up %s" FILES_OLD ", whose compaction had only begun", path,
              path);
    return log_rename(set->log, "");
}

/* What to do about whatever stands behind the last good seal. */
static enum status finish(const struct logset *set, const struct scan *scan)
{
    enum status status = KV_OK;
    enum tail tail = scan_judge_tail(scan);
    if (tail != TAIL_TORN) {
        diag_errorx("%s%s: the log is damaged at offset %" PRIu64
                    ", %s; nothing was changed: see --verify and --salvage",
                    log_path(set->log), log_suffix(set->log), scan->offset,
                    tail == TAIL_CORRUPT ? "where it had been durable"
                                         : "where records without a seal follow");
        return KV_CORRUPT;
    }
    if (set->is_older_alone) {
        status = take_name_back(set);
    }
    if (status == KV_OK && !scan_is_at_end(scan)) {
        status = drop_torn_tail(set, scan);
    }
    if (status == KV_OK) {
        log_resume(set->log, &(struct log_end){.log_id = scan->log_id,
                                               .generation = set->opening.generation,
                                               .offset = scan->offset,
                                               .chain = scan->chain});
    }
    return status;
}

enum status recover_open(const struct files *files, struct keydir *keydir_out,
                         struct recovery *recovery_out)
{
    struct logset set;
    struct logset_end end = {0};
    uint64_t started_ms = clock_now_ms();
    *keydir_out = (struct keydir){0};
    enum status status = rewrite_clear(files);
    if (status == KV_OK) {
        status = files_settle_names(files);
    }
    if (status == KV_OK) {
        status = open_sealed(files, &set);
    }
    if (status != KV_OK) {
        return status;
    }
    status = load(&set, keydir_out, &end);
    if (status == KV_OK) {
        status = finish(&set, &end.scan);
    }
    if (status != KV_OK) {
        keydir_destroy(keydir_out);
        logset_close(&set);
        return status;
    }
    if (set.is_drained) {
        (void)files_remove(files, FILES_OLD); /* told; the next start tries again */
    }
    *recovery_out = (struct recovery){
        .scanned_bytes = log_length(set.log) - end.image_length +
                         (set.older == NULL ? 0 : log_length(set.older)),
        .snapshot_length = end.image_length,
        .elapsed_ms = clock_now_ms() - started_ms,
        .is_at_rest = scan_is_at_rest(&end.scan),
    };
    return KV_OK;
}
