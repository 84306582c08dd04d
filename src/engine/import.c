/*
 * Loading tells which record of each key is the last; those are copied, in the order of
 * the file.
 */
#include "engine/import.h"

#include "base/diag.h"
#include "base/progress.h"
#include "file/torn.h"
#include "log/rewrite.h"

#include <inttypes.h>

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

/* end: of the last whole record. */
static enum status rewrite(const struct logset *original, const struct keydir *keydir,
                           uint64_t end)
{
    const char *path = files_path(original->files);
    struct log *to = NULL;
    enum status status = rewrite_begin(original->files, &to);
    if (status != KV_OK) {
        return status;
    }
    progress_begin("copying", path, "", end);
    struct batch whole = {.records = slice_first(log_bytes(original->log), (size_t)end)};
    status = rewrite_copy(to, keydir, original->log, &whole);
    progress_end();
    /* Zeros that stand for what could not be read must never replace it. */
    if (status == KV_OK && log_lost_end(original->log) > 0) {
        diag_errorx("%s: a part of the log cannot be read; nothing replaces it", path);
        status = KV_IO;
    }
    return rewrite_end(original->files, to, original->log, status);
}

enum status import_original(const struct logset *original)
{
    struct keydir keydir;
    struct logset_end end;
    enum status status = logset_load(original, &keydir, &end);
    if (status == KV_OK) {
        status = save_torn(original, end.scan.offset);
    }
    if (status == KV_OK) {
        status = rewrite(original, &keydir, end.scan.offset);
    }
    if (status == KV_OK) {
        diag_info("%s: a log without marks was rewritten: %" PRIu64 " keys kept, %" PRIu64
                  " records with an empty key left out",
                  files_path(original->files), keydir.key_count, end.counts.marks);
    } else if (status != KV_FATAL) {
        diag_errorx("%s: a log without marks could not be rewritten: %s; it is untouched",
                    files_path(original->files), status_text(status));
    }
    keydir_destroy(&keydir);
    return status;
}
