/*
 * Recovery. Everything is judged before anything is changed. What is changed: space ahead
 * is cut off, and so is a torn tail, once a copy of it is safe; a drained log is removed;
 * and a state that is not a sealed log yet is made one.
 */
#include "engine/recover.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "engine/import.h"
#include "engine/snapshot.h"
#include "file/torn.h"
#include "log/rewrite.h"

#include <inttypes.h>

/* From now on the log ends where the scan stands. */
static void resume(struct log *log, const struct scan *scan, uint64_t generation)
{
    log_resume(log, &(struct log_end){.log_id = scan->log_id,
                                      .generation = generation,
                                      .offset = scan->offset,
                                      .chain = scan->chain});
}

/* Fill the key directory from its current log. */
static enum status fill_from_log(struct keydir *keydir, struct findings *found)
{
    const struct log *log = keydir_log(keydir);
    enum status status = load_log(keydir, &found->scan, &found->counts);
    if (status == KV_OK) {
        return logset_check_was_read(log, found->image_length);
    }
    diag_errorx("%s%s: cannot load the records up to offset %" PRIu64
                ": %s; nothing was changed",
                log_path(log), log_suffix(log), found->scan.offset, status_text(status));
    return status;
}

/* The older log was durable as a whole: any damage in it is corruption. */
static enum status fill_from_older(const struct logset *set, struct keydir *keydir,
                                   struct findings *found)
{
    struct log *older = set->older;
    scan_begin(&found->scan, log_bytes(older), set->opening.older_id);
    enum status status = fill_from_log(keydir, found);
    if (status != KV_OK) {
        return status;
    }
    if (!scan_is_at_end(&found->scan)) {
        diag_errorx("%s" FILES_OLD ": the log is damaged at offset %" PRIu64
                    "; nothing was changed",
                    files_path(set->files), found->scan.offset);
        return KV_CORRUPT;
    }
    resume(older, &found->scan, set->opening.generation - 1);
    keydir_push_log(keydir, set->log);
    return KV_OK;
}

/* Without marks nothing is verified, but what we could not keep must not be left out. */
static enum status fill_from_unmarked(const struct logset *set, struct keydir *keydir,
                                      struct findings *found)
{
    struct record record;
    scan_begin_unmarked(&found->scan, log_bytes(set->log));
    enum status status = fill_from_log(keydir, found);
    if (status != KV_OK ||
        !record_decode(slice_after(found->scan.log, (size_t)found->scan.offset),
                       &record)) {
        return status;
    }
    diag_errorx("%s: the record at offset %" PRIu64
                " has a key of %zu and a value of %zu bytes, more than this program "
                "keeps; nothing was changed",
                files_path(set->files), found->scan.offset, record.key.length,
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
    begin_log(set, &scan);
    logset_verify(set->log, &scan, length);
    return scan.offset >= length;
}

/*
 * Records that the image leads to were found damaged when others replaced them. If the
 * log has no damage, it is the image that is wrong; else a client has mended the log so
 * while it was served, and no start may undo that.
 */
static enum status judge_replaced(const struct logset *set, const struct findings *found,
                                  enum status status)
{
    const char *path = files_path(set->files);
    if (status != KV_OK && status != KV_CORRUPT) {
        return status;
    }
    if (status == KV_CORRUPT || is_intact(set, found->image_length)) {
        diag_warnx("%s" FILES_INDEX
                   ": does not lead to the records of the log; reading all of it",
                   path);
        return KV_NOT_FOUND;
    }
    diag_warnx("%s: %" PRIu64 " records that are damaged or cannot be read had been "
               "replaced or deleted since; the next compaction leaves them out",
               path, found->counts.replaced_unseen);
    return KV_OK;
}

/*
 * From the image of the index and the records behind it. What it covers is verified all
 * the same by whoever only reads: no start has to be short, but the log is gone through
 * from end to end, where replaying compares the earlier records of keys.
 *
 * KV_NOT_FOUND: there is none to use, and nothing is loaded.
 */
static enum status fill_from_image(const struct logset *set, struct keydir *keydir,
                                   struct findings *found)
{
    begin_log(set, &found->scan);
    enum status status = keydir_init(keydir, set->log);
    if (status == KV_OK) {
        status = snapshot_load(set->files, &set->opening, keydir, &found->scan);
    }
    if (status == KV_OK && set->access == LOG_READ &&
        !is_intact(set, found->scan.offset)) {
        status = KV_NOT_FOUND; /* reading all of it says where it is damaged */
    }
    if (status == KV_OK) {
        found->image_length = found->scan.offset;
        status = fill_from_log(keydir, found);
        if (status == KV_CORRUPT || found->counts.replaced_unseen > 0) {
            status = judge_replaced(set, found, status);
        }
    }
    if (status == KV_NOT_FOUND) {
        keydir_destroy(keydir);
        *found = (struct findings){.scan.proved_length = found->scan.proved_length};
    }
    return status;
}

/*
 * Whoever counts all records believes no image, but is told by it, as any start is, how
 * much of the log had been durable. KV_CORRUPT: more than there is (reported).
 */
static enum status heed_image(const struct logset *set, struct scan *scan)
{
    uint64_t needed_length = snapshot_needed_length(set->files, &set->opening);
    return logset_prove_length(set->files, scan, needed_length);
}

static enum status fill_from_all(const struct logset *set, struct keydir *keydir,
                                 struct findings *found)
{
    struct log *older = set->older;
    enum status status = keydir_init(keydir, older != NULL ? older : set->log);
    if (status == KV_OK && older != NULL) {
        status = fill_from_older(set, keydir, found);
    }
    if (status != KV_OK) {
        return status;
    }
    if (!set->has_marks) {
        return fill_from_unmarked(set, keydir, found);
    }
    begin_log(set, &found->scan);
    if (older == NULL && !set->may_use_image) {
        status = heed_image(set, &found->scan);
    }
    return status == KV_OK ? fill_from_log(keydir, found) : status;
}

enum status recover_fill(const struct logset *set, struct keydir *keydir_out,
                         struct findings *found_out)
{
    bool may_use_image = set->may_use_image && set->has_marks && set->older == NULL;
    *found_out = (struct findings){0};
    enum status status =
        may_use_image ? fill_from_image(set, keydir_out, found_out) : KV_NOT_FOUND;
    if (status == KV_NOT_FOUND) {
        status = fill_from_all(set, keydir_out, found_out);
    }
    bool is_complete = set->opening.older_id == 0 || set->older != NULL ||
                       found_out->scan.drained_id == set->opening.older_id;
    if (status == KV_OK && !is_complete) {
        return logset_refuse(set, FILES_OLD,
                             "is missing, and holds data that is not in the log");
    }
    return status;
}

/* A log without a batch. */
static enum status create(const struct files *files)
{
    struct log *log = NULL;
    enum status status = rewrite_begin(files, &log);
    return status == KV_OK ? rewrite_end(files, log, NULL, status) : status;
}

/* A log of the original program: read it, and write it anew. */
static enum status import(const struct logset *original)
{
    struct keydir keydir;
    struct findings found;
    enum status status = recover_fill(original, &keydir, &found);
    if (status == KV_OK) {
        status =
            import_original(original, &keydir, found.scan.offset, found.counts.marks);
    }
    if (status != KV_OK && status != KV_FATAL) {
        diag_errorx("%s: a log without marks could not be rewritten: %s; it is untouched",
                    files_path(original->files), status_text(status));
    }
    keydir_destroy(&keydir);
    return status;
}

/* Open what is there; what is no log of ours yet is made one first. */
static enum status open_sealed(const struct files *files, struct logset *set)
{
    enum status status = logset_open(files, LOG_APPEND, set);
    if (status != KV_OK || set->has_marks) {
        return status;
    }
    status = set->log == NULL ? create(files) : import(set);
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

static void tell_lacking(const struct logset *set, uint64_t offset)
{
    diag_warnx("%s: the disk lacks what memory held behind offset %" PRIu64
               "; reading the log as the disk has it",
               files_path(set->files), offset);
}

/* The seal that ends the file: a server was killed behind it, with no space ahead. */
static bool find_last_seal(const struct logset *set, struct seal *seal_out)
{
    struct slice bytes = log_bytes(set->log);
    if (bytes.length < OPENING_BYTES + SEAL_BYTES) {
        return false;
    }
    uint64_t at = bytes.length - SEAL_BYTES;
    return record_decode_seal(slice_after(bytes, (size_t)at), at, seal_out) &&
           seal_out->log_id == set->opening.log_id && seal_out->durable_length <= at;
}

/*
 * After a failed sync, memory may hold what the disk never got. Where the last seal of
 * the file says what had been durable, everything else is read from the disk from the
 * first: reading and comparing it all later costs as much as verifying it did.
 *
 * from_out: written only where there is such a seal: nothing from there on is read from
 * memory.
 */
static enum status forget_tail(const struct logset *set, uint64_t *from_out)
{
    struct seal seal;
    struct seal on_disk;
    if (!find_last_seal(set, &seal)) {
        return KV_OK;
    }
    enum status status = log_reread(set->log, seal.durable_length);
    if (status != KV_OK) {
        return status;
    }
    if (!find_last_seal(set, &on_disk) || on_disk.chain != seal.chain) {
        tell_lacking(set, seal.durable_length);
    }
    *from_out = seal.durable_length;
    return KV_OK;
}

/*
 * Look again at everything that the last good seal does not call durable, this time as
 * the disk gives it.
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

static enum status settle(const struct logset *set)
{
    enum status status = log_settle(set->log);
    return status == KV_OK && set->older != NULL ? log_settle(set->older) : status;
}

/* That an older log is not wanted any more, memory alone has said so far. */
static enum status fill_as_on_disk(struct logset *set, struct keydir *keydir,
                                   struct findings *found)
{
    const struct files *files = set->files;
    bool is_same = false;
    uint64_t forgotten_from = UINT64_MAX;
    enum status status = settle(set);
    if (status == KV_OK && !set->is_drained) {
        status = forget_tail(set, &forgotten_from);
    }
    if (status == KV_OK) {
        status = recover_fill(set, keydir, found);
    }
    if (status == KV_OK && found->scan.durable_length < forgotten_from) {
        status = compare_with_disk(set->log, found->scan.durable_length, &is_same);
    } else {
        is_same = true;
    }
    if (status != KV_OK || is_same) {
        return status;
    }
    tell_lacking(set, found->scan.durable_length);
    keydir_destroy(keydir);
    /* What it said of an older log counts no more either: a drained mark may be gone. */
    logset_close(set);
    status = open_sealed(files, set);
    return status == KV_OK ? recover_fill(set, keydir, found) : status;
}

/* A tail that never was durable: save a copy, then cut it off. */
static enum status drop_torn_tail(const struct logset *set, const struct scan *scan)
{
    char suffix[FILES_SUFFIX_BYTES_MAX];
    const char *path = files_path(set->files);
    struct slice tail = slice_after(log_bytes(set->log), (size_t)scan->offset);
    enum status status = torn_save(set->files, tail, scan->offset, suffix);
    if (status == KV_OK) {
        status = logset_check_was_read(set->log, scan->offset); /* else zeros are kept */
    }
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
    enum tail tail;
    enum status status = logset_judge_tail(set->log, scan, &tail);
    if (status != KV_OK) {
        return status;
    }
    if (tail != TAIL_TORN && tail != TAIL_AHEAD) {
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
        status = tail == TAIL_AHEAD ? log_cut(set->log, scan->offset)
                                    : drop_torn_tail(set, scan);
    }
    if (status == KV_OK) {
        resume(set->log, scan, set->opening.generation);
    }
    return status;
}

enum status recover_open(const struct files *files, struct keydir *keydir_out,
                         struct recovery *recovery_out)
{
    struct logset set;
    struct findings found = {0};
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
    status = fill_as_on_disk(&set, keydir_out, &found);
    if (status == KV_OK) {
        status = finish(&set, &found.scan);
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
        .scanned_bytes = log_length(set.log) - found.image_length +
                         (set.older == NULL ? 0 : log_length(set.older)),
        .snapshot_length = found.image_length,
        .elapsed_ms = clock_now_ms() - started_ms,
        .is_at_rest = scan_is_at_rest(&found.scan),
    };
    return KV_OK;
}
