/*
 * The log file. What is staged stands, in the offsets of the log, right behind what
 * was written, so an offset alone says where a record is to be read.
 */
#include "log/log.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "base/progress.h"
#include "file/io.h"
#include "file/mapping.h"
#include "file/place.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

/* What the staging buffer keeps between batches. */
#define STAGED_BYTES_KEPT MIB

/* The disk is asked to begin writing in pieces of this size. */
#define BEGIN_SYNC_BYTES (512 * KIB)

struct log {
    const struct files *files;
    const char *suffix; /* where the file is now: "", FILES_NEW or FILES_OLD */
    int fd;
    uint64_t device; /* see place.h */
    uint64_t inode;
    struct mapping *mapping;
    struct log_end end;       /* only its offset until the log is resumed */
    uint64_t durable_length;  /* how much of the log is known to be durable */
    uint64_t begun_length;    /* how much of it the disk was asked to begin with */
    bool has_told_refused;    /* that a write failed, and not yet that they work again */
    uint64_t told_refused_ms; /* when; 0: never */
    uint64_t told_uncovered_ms; /* when it was told that the view cannot grow; 0: never */
    struct io_space
        space; /* behind the end, when last looked, less what was written since */
    bool is_space_fresh; /* else it is to be looked at anew */
    struct buffer staged;
    struct {
        uint64_t told_ms; /* 0: never */
        uint64_t untold_count;
    } faults[LOG_FAULT_COUNT];
};

static enum status tell(const struct log *log, enum status status, const char *what)
{
    diag_error("%s%s: %s", files_path(log->files), log->suffix, what);
    return status == KV_NOT_FOUND ? KV_IO : status;
}

static struct place place_of(const struct log *log)
{
    return (struct place){log->files, log->suffix, log->fd, log->device, log->inode};
}

/* Whether the log is where it should be, as long as it should be. */
static enum status check_place(const struct log *log)
{
    struct place place = place_of(log);
    return place_check(&place, log->end.offset);
}

static void tell_not_mapped(const struct log *log, enum status status)
{
    if (errno == ENODEV) {
        diag_errorx(
            "%s%s: lies on a file system that lets no file be mapped into memory; "
            "it is not used",
            files_path(log->files), log->suffix);
    } else {
        (void)tell(log, status, "cannot map the log; it is not used");
    }
}

/* Make a log of an open file, which is closed if that fails. */
static enum status take_over(const struct log *made, enum log_access access,
                             struct log **log_out)
{
    struct log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        (void)io_close(made->fd); /* nothing was written */
        return KV_NO_MEMORY;
    }
    *log = *made;
    enum status status = mapping_open(log->fd, &log->mapping, &log->end.offset);
    if (status != KV_OK) {
        tell_not_mapped(log, status);
    } else {
        struct place place = place_of(log);
        status = place_take(&place, access == LOG_READ);
        log->device = place.device;
        log->inode = place.inode;
    }
    if (status != KV_OK) {
        (void)log_close(log); /* the first failure is the one that counts */
        return status;
    }
    *log_out = log;
    return KV_OK;
}

enum status log_open(const struct files *files, const char *suffix,
                     enum log_access access, struct log **log_out)
{
    struct log opened = {.files = files, .suffix = suffix};
    int flags = access == LOG_READ ? O_RDONLY : O_RDWR;
    enum status status = files_open_plain(files, suffix, flags, &opened.fd);
    return status == KV_OK ? take_over(&opened, access, log_out) : status;
}

static enum status write_opening(struct log *log, struct opening opening)
{
    uint8_t mark[OPENING_BYTES];
    struct slice bytes = {mark, sizeof mark};
    opening.version = RECORD_FORMAT_VERSION;
    if (io_random(&opening.log_id, sizeof opening.log_id) != KV_OK) {
        diag_error("/dev/urandom: cannot read a log id; no log is made");
        return KV_IO;
    }
    record_encode_opening(mark, &opening);
    enum status status = io_write_at(log->fd, bytes, 0);
    if (status == KV_OK && opening.older_id == 0) {
        /* Records will follow before the log is put in place: whatever a power loss
         * leaves of it begins as a log does. */
        status = io_sync(log->fd);
    }
    if (status != KV_OK) {
        return tell(log, status, "cannot write the opening record; no log is made");
    }
    log_resume(log, &(struct log_end){.log_id = opening.log_id,
                                      .generation = opening.generation,
                                      .offset = OPENING_BYTES,
                                      .chain = crc32c(0, bytes)});
    log->durable_length = 0;
    return KV_OK;
}

enum status log_create(const struct files *files, const struct opening *opening,
                       struct log **log_out)
{
    struct log *log = NULL;
    struct log made = {.files = files, .suffix = FILES_NEW};
    enum status status = files_begin_new(files, &made.fd);
    if (status != KV_OK) {
        return status;
    }
    status = take_over(&made, LOG_APPEND, &log);
    if (status == KV_OK) {
        status = write_opening(log, *opening);
    }
    if (status != KV_OK) {
        (void)log_close(log); /* the first failure is the one that counts */
        files_drop(files, FILES_NEW);
        return status;
    }
    *log_out = log;
    return KV_OK;
}

enum status log_prepare(struct log *log)
{
    enum status status = files_sync_new(log->files, log->fd);
    if (status == KV_OK) {
        log->durable_length = log->end.offset;
    }
    return status;
}

enum status log_close(struct log *log)
{
    if (log == NULL) {
        return KV_OK;
    }
    mapping_close(log->mapping);
    enum status status = io_close(log->fd);
    if (status != KV_OK) {
        (void)tell(log, status, "cannot close the log; it is not tried again");
    }
    buffer_free(&log->staged);
    free(log);
    return status;
}

const char *log_path(const struct log *log)
{
    return files_path(log->files);
}

const char *log_suffix(const struct log *log)
{
    return log->suffix;
}

const struct log_end *log_end(const struct log *log)
{
    return &log->end;
}

struct slice log_bytes(const struct log *log)
{
    return (struct slice){mapping_bytes(log->mapping), (size_t)log->end.offset};
}

uint64_t log_lost_end(const struct log *log)
{
    return mapping_lost_end(log->mapping);
}

enum status log_check_was_read(const struct log *log, uint64_t from)
{
    if (log_lost_end(log) <= from) {
        return KV_OK;
    }
    diag_errorx("%s%s: a part of the log cannot be read; nothing was changed",
                log_path(log), log_suffix(log));
    return KV_IO;
}

void log_begin_progress(const struct log *log, const char *verb, uint64_t total_bytes)
{
    progress_begin(verb, log_path(log), log_suffix(log), total_bytes);
}

void log_verify(const struct log *log, struct scan *scan, uint64_t end)
{
    struct batch batch;
    log_begin_progress(log, "reading", end);
    while (scan->offset < end && scan_next(scan, &batch)) {
        progress_at(scan->offset);
    }
    progress_end();
}

uint64_t log_fault_count(const struct log *log)
{
    return mapping_fault_count(log->mapping);
}

/* What is staged is in memory. */
bool log_is_lost(const struct log *log, uint64_t offset, uint64_t length)
{
    return offset < log->end.offset && mapping_is_lost(log->mapping, offset, length);
}

bool log_read_again(const struct log *log, uint64_t offset, uint64_t length)
{
    return offset < log->end.offset && mapping_read_again(log->mapping, offset, length);
}

static void tell_fault(const struct log *log, enum log_fault fault, uint64_t offset)
{
    const char *path = log_path(log);
    if (fault == LOG_FAULT_KEY) {
        diag_errorx("%s%s: the key of the record at offset %" PRIu64
                    " is damaged; it is not listed",
                    path, log->suffix, offset);
    } else {
        diag_errorx("%s%s: the record at offset %" PRIu64 " %s; it is not served", path,
                    log->suffix, offset,
                    fault == LOG_FAULT_LOST ? "cannot be read"
                                            : "is damaged, its checksum is wrong");
    }
}

void log_tell_fault(struct log *log, enum log_fault fault, uint64_t offset)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t told_ms = log->faults[fault].told_ms;
    uint64_t untold_count = log->faults[fault].untold_count;
    if (told_ms != 0 && now_ms - told_ms < LOG_MESSAGE_MS) {
        log->faults[fault].untold_count++;
        return;
    }
    if (untold_count > 0) {
        diag_errorx("%s%s: %" PRIu64 " reads more failed like the one told last",
                    log_path(log), log->suffix, untold_count);
    }
    tell_fault(log, fault, offset);
    log->faults[fault].told_ms = now_ms;
    log->faults[fault].untold_count = 0;
}

enum status log_cover(struct log *log)
{
    return mapping_cover(log->mapping, log->end.offset);
}

enum status log_settle(struct log *log)
{
    enum status status = io_sync(log->fd);
    return status == KV_OK
               ? KV_OK
               : tell(log, status, "cannot sync the log before reading it; giving up");
}

enum status log_reread(struct log *log, uint64_t offset)
{
    /* Pages that are mapped cannot be dropped, so the view is renewed around it. */
    enum status status = mapping_renew(log->mapping);
    if (status != KV_OK) {
        return tell(log, status, "cannot read the last batch anew; giving up");
    }
    if (io_forget_cache(log->fd, offset) != KV_OK) {
        diag_warn("%s%s: memory is not made to forget the log, so the last batch is not "
                  "compared with the disk: if a sync failed before this start, a loss of "
                  "power may still take it",
                  files_path(log->files), log->suffix);
    }
    return KV_OK;
}

enum status log_cut(struct log *log, uint64_t offset)
{
    enum status status = io_truncate(log->fd, offset);
    if (status == KV_OK) {
        status = io_sync(log->fd);
    }
    if (status != KV_OK) {
        return tell(log, status, "cannot cut the log back to its last seal; stopping");
    }
    log->end.offset = offset;
    return KV_OK;
}

void log_resume(struct log *log, const struct log_end *end)
{
    log->end = *end;
    log->durable_length = end->offset;
}

uint64_t log_length(const struct log *log)
{
    return log->end.offset;
}

uint64_t log_durable_length(const struct log *log)
{
    return log->durable_length;
}

uint64_t log_staged_bytes(const struct log *log)
{
    return log->staged.length;
}

/*
 * The view of the log cannot grow. Whatever fits into it goes on, so this may fail and
 * work by turns: told once a minute at most.
 */
static void tell_uncovered(struct log *log)
{
    uint64_t now_ms = clock_now_ms();
    if (log->told_uncovered_ms == 0 ||
        now_ms - log->told_uncovered_ms >= LOG_MESSAGE_MS) {
        diag_error("%s: no address space for the log beyond offset %" PRIu64
                   "; what does not fit is refused",
                   files_path(log->files), log->end.offset);
        log->told_uncovered_ms = now_ms;
    }
}

/* Where the next record that is staged will stand. */
static uint64_t staged_end(const struct log *log)
{
    return log->end.offset + log->staged.length;
}

enum status log_reserve(struct log *log, uint64_t key_length, uint64_t value_length)
{
    uint64_t more = record_length(key_length, value_length) + SEAL_BYTES;
    uint64_t end = staged_end(log) + more;
    /* One more seal must always fit behind the batch. */
    if (end + SEAL_BYTES > LOG_BYTES_MAX) {
        return KV_NO_SPACE;
    }
    if (more > SIZE_MAX) {
        return KV_NO_MEMORY;
    }
    enum status status = buffer_reserve(&log->staged, (size_t)more);
    if (status != KV_OK) {
        return status;
    }
    status = mapping_cover(log->mapping, end);
    if (status != KV_OK) {
        tell_uncovered(log);
    }
    return status;
}

uint64_t log_stage(struct log *log, struct slice key, struct slice value)
{
    uint64_t offset = staged_end(log);
    uint8_t header[RECORD_HEADER_BYTES];
    record_encode_header(header, key.length, value.length);
    buffer_append(&log->staged, (struct slice){header, sizeof header});
    buffer_append(&log->staged, key);
    buffer_append(&log->staged, value);
    return offset;
}

bool log_has_room(struct log *log, uint64_t bytes, uint64_t kept_bytes)
{
    uint64_t needed = log->staged.length + bytes;
    if (log->is_space_fresh &&
        needed + files_kept(&log->space, kept_bytes) <= log->space.free_bytes) {
        return true;
    }
    log->space = files_space(log->files, log->end.offset);
    log->is_space_fresh = true;
    return needed + files_kept(&log->space, kept_bytes) <= log->space.free_bytes;
}

void log_look_again(struct log *log)
{
    log->is_space_fresh = false;
}

const struct io_space *log_space(const struct log *log)
{
    return log->is_space_fresh ? &log->space : NULL;
}

void log_read_at_random(struct log *log, bool is_random)
{
    mapping_read_at_random(log->mapping, is_random);
}

void log_will_read(const struct log *log, uint64_t offset, uint64_t length)
{
    if (offset < log->end.offset) { /* what is staged is in memory */
        uint64_t left = log->end.offset - offset;
        mapping_will_read(log->mapping, offset, length < left ? length : left);
    }
}

struct slice log_record(const struct log *log, uint64_t offset, uint64_t length)
{
    assert(offset + length <= staged_end(log));
    const uint8_t *bytes = offset < log->end.offset
                               ? mapping_bytes(log->mapping) + offset
                               : log->staged.bytes + (offset - log->end.offset);
    return (struct slice){bytes, (size_t)length};
}

/* A disk that is nearly full fails and works by turns: tell so once a minute at most. */
static void tell_refused(struct log *log)
{
    uint64_t now_ms = clock_now_ms();
    if (!log->has_told_refused &&
        (log->told_refused_ms == 0 || now_ms - log->told_refused_ms >= LOG_MESSAGE_MS)) {
        diag_error("%s: cannot append at offset %" PRIu64 ", batch refused",
                   files_path(log->files), log->end.offset);
        log->has_told_refused = true;
        log->told_refused_ms = now_ms;
    }
}

static void tell_works_again(struct log *log)
{
    if (log->has_told_refused) {
        diag_info("%s: appending works again at offset %" PRIu64, files_path(log->files),
                  log->end.offset);
        log->has_told_refused = false;
    }
}

/* Nothing of a failed write may ever be taken for a batch: cut it off, durably. */
static enum status cut_back(struct log *log, enum status cause)
{
    struct io_info info;
    log_look_again(log);
    tell_refused(log);
    /* A file system that turned read-only took nothing, and would not cut it either. */
    if (io_inspect(log->fd, &info) == KV_OK && info.length == log->end.offset) {
        return cause;
    }
    return log_cut(log, log->end.offset) == KV_OK ? cause : KV_FATAL;
}

enum status log_publish(struct log *log, const struct log *replaced)
{
    struct place known = {0};
    bool is_durable = log->durable_length == log->end.offset;
    enum status status = is_durable ? KV_OK : log_prepare(log);
    if (status == KV_OK && replaced != NULL) {
        known = place_of(replaced);
        status = place_judge(log->files, &known, replaced->end.offset);
    } else if (status == KV_OK) {
        status = place_judge(log->files, NULL, 0);
    }
    if (status == KV_OK) {
        status = check_place(log);
    }
    if (status == KV_OK) {
        status = files_place_new(log->files, "");
    }
    if (status == KV_OK) {
        log->suffix = "";
    }
    return status;
}

/* Returns the chain behind the seal. Room for the seal was reserved. */
static uint32_t stage_seal(struct log *log)
{
    uint8_t mark[SEAL_BYTES];
    struct seal seal = {
        .log_id = log->end.log_id,
        .durable_length = log->durable_length,
        .chain = crc32c(log->end.chain, buffer_slice(&log->staged)),
    };
    record_encode_seal(mark, &seal, staged_end(log));
    buffer_append(&log->staged, (struct slice){mark, sizeof mark});
    return crc32c(seal.chain, (struct slice){mark, sizeof mark});
}

enum status log_write(struct log *log)
{
    /* The view is not widened for a seal: nobody reads one through it while serving. */
    enum status status = buffer_reserve(&log->staged, SEAL_BYTES);
    if (status != KV_OK) {
        return status;
    }
    status = check_place(log);
    if (status != KV_OK) {
        return status;
    }
    uint32_t chain = stage_seal(log);
    status = io_write_at(log->fd, buffer_slice(&log->staged), log->end.offset);
    if (status != KV_OK) {
        return cut_back(log, status);
    }
    tell_works_again(log);
    uint64_t left = log->space.free_bytes;
    log->space.free_bytes -= log->staged.length < left ? log->staged.length : left;
    log->end.offset += log->staged.length;
    log->end.chain = chain;
    log_unstage(log);
    return KV_OK;
}

void log_stage_drained(struct log *log, uint64_t older_id)
{
    uint8_t mark[DRAINED_BYTES];
    struct drained drained = {.log_id = log->end.log_id, .older_id = older_id};
    record_encode_drained(mark, &drained, staged_end(log));
    buffer_append(&log->staged, (struct slice){mark, sizeof mark});
}

enum status log_rename(struct log *log, const char *suffix)
{
    enum status status = check_place(log);
    if (status == KV_OK) {
        status = files_rename(log->files, log->suffix, suffix);
    }
    if (status == KV_OK) {
        log->suffix = suffix;
    }
    return status;
}

enum status log_remove(const struct log *log)
{
    struct place place = place_of(log);
    return place_remove(&place);
}

bool log_has_other_links(const struct log *log)
{
    struct io_info info;
    return io_inspect(log->fd, &info) != KV_OK || info.link_count > 1;
}

enum status log_cut_away(struct log *log, uint64_t bytes)
{
    uint64_t length = log->end.offset > bytes ? log->end.offset - bytes : 0;
    mapping_cut(log->mapping, length);
    enum status status = io_truncate(log->fd, length);
    if (status != KV_OK) {
        return tell(log, status, "cannot cut the drained log away; to be tried again");
    }
    log->end.offset = length;
    return KV_OK;
}

void log_unstage(struct log *log)
{
    log->staged.length = 0;
    buffer_trim(&log->staged, STAGED_BYTES_KEPT);
}

void log_begin_sync(struct log *log)
{
    uint64_t begun =
        log->begun_length > log->durable_length ? log->begun_length : log->durable_length;
    if (log->end.offset - begun >= BEGIN_SYNC_BYTES) {
        io_begin_sync(log->fd, begun, log->end.offset - begun);
        log->begun_length = log->end.offset;
    }
}

enum status log_sync(struct log *log)
{
    if (log->durable_length == log->end.offset) {
        return KV_OK;
    }
    if (io_sync(log->fd) != KV_OK) {
        diag_error("%s: cannot sync the log at offset %" PRIu64
                   "; stopping, since what is on disk is unknown",
                   files_path(log->files), log->durable_length);
        /* Best effort: the bytes that may be half there must not look like a batch. */
        (void)io_truncate(log->fd, log->durable_length);
        return KV_FATAL;
    }
    log->durable_length = log->end.offset;
    return KV_OK;
}
