/*
 * The key directory tells which record of each key is the last; those are copied, in the
 * order of the file.
 */
#include "engine/import.h"

#include "base/diag.h"
#include "base/progress.h"
#include "file/torn.h"
#include "log/rewrite.h"

#include <inttypes.h>

/* Whether a record is the one that gives its key its value. */
static bool is_latest(const struct keydir *keydir, const struct record_walk *walk,
                      bool is_older)
{
    struct location location;
    struct slice key = walk->record.key;
    return !record_is_mark(&walk->record) &&
           keydir_find(keydir, keydir_hash(keydir, key), key, &location) == KV_OK &&
           keydir_is_older(keydir, &location) == is_older &&
           location.offset == walk->offset;
}

enum status import_copy(const struct keydir *keydir, const struct batch *batch,
                        bool is_older, struct log *to)
{
    enum status status = KV_OK;
    struct record_walk walk = record_walk_begin(batch->records, batch->offset);
    while (status == KV_OK && record_next(&walk)) {
        if (is_latest(keydir, &walk, is_older)) {
            status = rewrite_append(to, &walk.record);
        }
        progress_at(walk.offset);
    }
    return status;
}

static enum status save_torn(const struct logset *original, uint64_t end)
{
    char suffix[FILES_SUFFIX_BYTES_MAX];
    const char *path = files_path(original->files);
    struct slice tail = slice_after(log_bytes(original->log), (size_t)end);
    if (tail.length == 0) {
        return KV_OK;
    }
    enum status status = torn_save(original->files, tail, end, suffix);
    if (status == KV_OK) {
        diag_warnx("%s: leaving out an incomplete record at offset %" PRIu64
                   ": %zu bytes, kept in %s%s",
                   path, end, tail.length, path, suffix);
    }
    return status;
}

static enum status rewrite(const struct logset *original, const struct keydir *keydir,
                           uint64_t end)
{
    struct log *to = NULL;
    struct batch all = {0, slice_first(log_bytes(original->log), (size_t)end)};
    enum status status = rewrite_begin(original->files, &to);
    if (status != KV_OK) {
        return status;
    }
    log_begin_progress(original->log, "copying", end);
    status = import_copy(keydir, &all, false, to);
    progress_end();
    /* Zeros that stand for what could not be read must never replace it. */
    if (status == KV_OK && log_lost_end(original->log) > 0) {
        diag_errorx("%s: a part of the log cannot be read; nothing replaces it",
                    files_path(original->files));
        status = KV_IO;
    }
    return rewrite_end(original->files, to, original->log, status);
}

enum status import_original(const struct logset *original, const struct keydir *keydir,
                            uint64_t end, uint64_t mark_count)
{
    enum status status = save_torn(original, end);
    if (status == KV_OK) {
        status = rewrite(original, keydir, end);
    }
    if (status == KV_OK) {
        diag_info("%s: a log without marks was rewritten: %" PRIu64 " keys kept, %" PRIu64
                  " records with an empty key left out",
                  files_path(original->files), keydir->key_count, mark_count);
    }
    return status;
}
