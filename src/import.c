/*
 * Two passes over the old file: which record of each key is the last, then a copy of
 * those that are, in the order of the file.
 */
#include "import.h"

#include "diag.h"
#include "io.h"
#include "keydir.h"
#include "utf8.h"

#include <inttypes.h>

bool import_is_original(struct slice bytes)
{
    struct record record;
    while (record_decode(bytes, &record)) {
        if (record.key.length > 0 && utf8_is_valid(record.key)) {
            return true;
        }
        bytes = slice_after(bytes, (size_t)record.length);
    }
    return false;
}

struct import {
    const struct files *files;
    struct slice bytes; /* of the original */
    struct keydir latest;
    uint64_t end; /* of the last whole record */
    uint64_t empty_key_count;
};

/* Remember this record as the latest of its key. */
static enum status note(struct import *import, const struct record *record,
                        uint64_t offset)
{
    if (record->key.length > KEY_BYTES_MAX || record->value.length > VALUE_BYTES_MAX) {
        diag_info(
            "%s: the record at offset %" PRIu64 " has a key of %zu and a value of %zu "
            "bytes, more than this program keeps; nothing was changed",
            files_path(import->files), offset, record->key.length, record->value.length);
        return KV_IO;
    }
    struct slice bytes =
        slice_first(slice_after(import->bytes, (size_t)offset), (size_t)record->length);
    struct change change = {
        .hash = keydir_hash(&import->latest, record->key),
        .now = keydir_locate(bytes, record, offset),
    };
    enum status status =
        keydir_find(&import->latest, change.hash, record->key, &change.before);
    change.had_before = status == KV_OK;
    if (status != KV_OK && status != KV_NOT_FOUND) {
        return status;
    }
    status = keydir_reserve(&import->latest, change.hash);
    if (status == KV_OK) {
        keydir_apply(&import->latest, &change);
    }
    return status;
}

static enum status find_latest(struct import *import)
{
    struct record record;
    while (record_decode(slice_after(import->bytes, (size_t)import->end), &record)) {
        enum status status = KV_OK;
        if (record.key.length == 0) {
            import->empty_key_count++;
        } else {
            status = note(import, &record, import->end);
        }
        if (status != KV_OK) {
            return status;
        }
        import->end += record.length;
    }
    return KV_OK;
}

static bool is_latest(const struct import *import, const struct record *record,
                      uint64_t offset)
{
    struct location location;
    uint64_t hash = keydir_hash(&import->latest, record->key);
    return record->key.length > 0 && !record_is_tombstone(record) &&
           keydir_find(&import->latest, hash, record->key, &location) == KV_OK &&
           location.offset == offset;
}

static enum status copy_latest(struct import *import, struct log *to)
{
    struct record record;
    uint64_t offset = 0;
    enum status status = KV_OK;
    while (status == KV_OK && offset < import->end &&
           record_decode(slice_after(import->bytes, (size_t)offset), &record)) {
        if (is_latest(import, &record, offset)) {
            status = log_reserve(to, record.key.length, record.value.length);
            if (status == KV_OK) {
                (void)log_stage(to, record.key,
                                record.value); /* read again after the rename */
            }
        }
        if (status == KV_OK && log_staged_bytes(to) >= BATCH_BYTES_MAX) {
            status = log_write(to);
        }
        offset += record.length;
    }
    return status == KV_OK && log_staged_bytes(to) > 0 ? log_write(to) : status;
}

static enum status save_torn(struct import *import)
{
    char suffix[FILES_SUFFIX_BYTES_MAX];
    struct slice tail = slice_after(import->bytes, (size_t)import->end);
    if (tail.length == 0) {
        return KV_OK;
    }
    enum status status = files_save_torn(import->files, tail, import->end, suffix);
    if (status == KV_OK) {
        diag_info("%s: an incomplete record of %zu bytes at offset %" PRIu64
                  " is left out, and kept in %s%s",
                  files_path(import->files), tail.length, import->end,
                  files_path(import->files), suffix);
    }
    return status;
}

static enum status rewrite(struct import *import)
{
    struct log *to = NULL;
    struct opening opening = {.version = RECORD_FORMAT_VERSION, .generation = 1};
    if (io_random(&opening.log_id, sizeof opening.log_id) != KV_OK) {
        diag_warn("/dev/urandom: cannot read a log id");
        return KV_IO;
    }
    enum status status = log_create(import->files, &opening, &to);
    if (status == KV_OK) {
        status = copy_latest(import, to);
    }
    if (status == KV_OK) {
        status = log_publish(to);
    }
    enum status close_status = log_close(to);
    if (status != KV_OK) {
        files_drop_new(import->files);
    }
    return status == KV_OK ? close_status : status;
}

enum status import_original(const struct files *files, struct log *original)
{
    struct import import = {.files = files, .bytes = log_bytes(original)};
    enum status status = keydir_init(&import.latest, original);
    if (status == KV_OK) {
        status = find_latest(&import);
    }
    if (status == KV_OK) {
        status = save_torn(&import);
    }
    if (status == KV_OK) {
        status = rewrite(&import);
    }
    if (status == KV_OK) {
        diag_info("%s: a log without marks was rewritten: %" PRIu64 " keys kept, %" PRIu64
                  " records with an empty key left out",
                  files_path(files), import.latest.key_count, import.empty_key_count);
    } else {
        diag_info("%s: a log without marks could not be rewritten; it is untouched",
                  files_path(files));
    }
    keydir_destroy(&import.latest);
    return status;
}
