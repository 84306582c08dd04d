/*
 * Two passes over the old file: which record of each key is the last, then a copy of
 * those that are, in the order of the file.
 */
#include "import.h"

#include "diag.h"
#include "load.h"
#include "progress.h"
#include "rewrite.h"
#include "utf8.h"

#include <inttypes.h>

bool import_is_original(struct slice bytes)
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

/* What a pass over the old file finds. */
struct survey {
    uint64_t end; /* of the last whole record */
    uint64_t empty_key_count;
};

/* Find where whole records end, and that each is within the limits. */
static enum status survey(const struct files *files, struct slice bytes,
                          struct survey *survey_out)
{
    struct record record;
    *survey_out = (struct survey){0};
    progress_begin("reading", files_path(files), "", bytes.length);
    while (record_decode(slice_after(bytes, (size_t)survey_out->end), &record)) {
        if (!record_is_within_limits(&record)) {
            diag_errorx("%s: the record at offset %" PRIu64
                        " has a key of %zu and a value of %zu "
                        "bytes, more than this program keeps",
                        files_path(files), survey_out->end, record.key.length,
                        record.value.length);
            return KV_IO;
        }
        survey_out->empty_key_count += record_is_mark(&record) ? 1 : 0;
        survey_out->end += record.length;
        progress_at(survey_out->end);
    }
    return KV_OK;
}

static enum status save_torn(const struct files *files, struct slice bytes, uint64_t end)
{
    char suffix[FILES_SUFFIX_BYTES_MAX];
    struct slice tail = slice_after(bytes, (size_t)end);
    if (tail.length == 0) {
        return KV_OK;
    }
    enum status status = files_save_torn(files, tail, end, suffix);
    if (status == KV_OK) {
        diag_warnx("%s: leaving out an incomplete record at offset %" PRIu64
                   ": %zu bytes, kept in %s%s",
                   files_path(files), end, tail.length, files_path(files), suffix);
    }
    return status;
}

static enum status load_all(struct keydir *keydir, struct slice records)
{
    struct load *load = NULL;
    uint64_t count = 0; /* the keys are told instead */
    enum status status = load_begin(keydir, &load);
    if (status == KV_OK) {
        status = load_end(load, load_records(load, records, 0, &count));
    }
    return status;
}

/* Zeros that stand for what could not be read must never replace it. */
static enum status check_was_read(const struct log *original)
{
    if (!log_has_failed_reads(original)) {
        return KV_OK;
    }
    diag_errorx("%s: a part of the log cannot be read; nothing replaces it",
                log_path(original));
    return KV_IO;
}

static enum status rewrite(const struct files *files, const struct keydir *keydir,
                           struct slice records)
{
    struct log *to = NULL;
    enum status status = rewrite_begin(files, &to);
    if (status != KV_OK) {
        return status;
    }
    progress_begin("copying", files_path(files), "", records.length);
    status = rewrite_copy(to, keydir, records, keydir_current_offset(keydir, 0));
    if (status == KV_OK) {
        status = check_was_read(keydir_log(keydir));
    }
    return rewrite_end(files, to, status);
}

enum status import_original(const struct files *files, struct log *original)
{
    struct survey found;
    struct keydir keydir;
    struct slice bytes = log_bytes(original);
    enum status status = keydir_init(&keydir, original);
    if (status == KV_OK) {
        status = survey(files, bytes, &found);
    }
    if (status == KV_OK) {
        progress_begin("loading", files_path(files), "", found.end);
        status = load_all(&keydir, slice_first(bytes, (size_t)found.end));
    }
    if (status == KV_OK) {
        status = check_was_read(original);
    }
    if (status == KV_OK) {
        status = save_torn(files, bytes, found.end);
    }
    if (status == KV_OK) {
        status = rewrite(files, &keydir, slice_first(bytes, (size_t)found.end));
    }
    progress_end();
    if (status == KV_OK) {
        diag_info("%s: a log without marks was rewritten: %" PRIu64 " keys kept, %" PRIu64
                  " records with an empty key left out",
                  files_path(files), keydir.key_count, found.empty_key_count);
    } else if (status != KV_FATAL) {
        diag_errorx("%s: a log without marks could not be rewritten: %s; it is untouched",
                    files_path(files), status_text(status));
    }
    keydir_destroy(&keydir);
    return status;
}
