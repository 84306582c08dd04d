/*
 * The log file. What is staged stands, in the offsets of the log, right behind what
 * was written, so an offset alone says where a record is to be read.
 */
#include "log/log.h"

#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "base/progress.h"
#include "file/io.h"
#include "file/mapping.h"
#include "file/place.h"
#include "file/room.h"
#include "log/reach.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>

/* What the staging buffer keeps between batches. */
#define STAGED_BYTES_KEPT MIB

struct log {
    struct place place;
    struct mapping *mapping;
    struct log_end end; /* only its offset until the log is resumed */
    struct reach reach;
    struct told told;
    struct room room;
    struct buffer staged;
};

/* Make a log of an open file, which is closed if that fails. */
static enum status take_over(struct place place, enum log_access access,
                             struct log **log_out)
{
    struct log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        (void)io_close(place.fd); /* nothing was written */
        return KV_NO_MEMORY;
    }
    log->place = place;
    enum status status = mapping_open(log->place.fd, &log->mapping, &log->end.offset);
    log->reach.file_length = log->end.offset;
    if (status != KV_OK) {
        told_not_mapped(&log->place);
    } else {
        status = place_take(&log->place, access == LOG_READ);
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
    struct place place = {.files = files, .suffix = suffix};
    int flags = access == LOG_READ ? O_RDONLY : O_RDWR;
    enum status status = files_open_plain(files, suffix, flags, &place.fd);
    return status == KV_OK ? take_over(place, access, log_out) : status;
}

/* The whole of PATH.new is durable. */
static enum status prepare(struct log *log)
{
    enum status status = files_sync_new(log->place.files, log->place.fd);
    if (status == KV_OK) {
        log->reach.durable_length = log->end.offset;
    }
    return status;
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
    enum status status = io_write_at(log->place.fd, bytes, 0);
    if (status == KV_OK && opening.older_id == 0) {
        /* Records will follow before the log is put in place: whatever a power loss
         * leaves of it begins as a log does. */
        status = io_sync(log->place.fd);
    }
    if (status != KV_OK) {
        return place_tell(&log->place, status,
                          "cannot write the opening record; no log is made");
    }
    log_resume(log, &(struct log_end){.log_id = opening.log_id,
                                      .generation = opening.generation,
                                      .offset = OPENING_BYTES,
                                      .chain = crc32c(0, bytes)});
    log->reach.durable_length = 0;
    return KV_OK;
}

enum status log_create(const struct files *files, const struct opening *opening,
                       struct log **log_out)
{
    struct log *log = NULL;
    struct place place = {.files = files, .suffix = FILES_NEW};
    enum status status = files_begin_new(files, &place.fd);
    if (status != KV_OK) {
        return status;
    }
    status = take_over(place, LOG_APPEND, &log);
    if (status == KV_OK) {
        status = write_opening(log, *opening);
    }
    if (status == KV_OK && opening->older_id != 0) {
        status = prepare(log);
    }
    if (status != KV_OK) {
        (void)log_close(log); /* the first failure is the one that counts */
        files_drop(files, FILES_NEW);
        return status;
    }
    *log_out = log;
    return KV_OK;
}

enum status log_close(struct log *log)
{
    if (log == NULL) {
        return KV_OK;
    }
    mapping_close(log->mapping);
    enum status status = io_close(log->place.fd);
    if (status != KV_OK) {
        (void)place_tell(&log->place, status,
                         "cannot close the log; it is not tried again");
    }
    buffer_free(&log->staged);
    free(log);
    return status;
}

const char *log_path(const struct log *log)
{
    return files_path(log->place.files);
}

const char *log_suffix(const struct log *log)
{
    return log->place.suffix;
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

void log_begin_progress(const struct log *log, const char *verb, uint64_t total_bytes)
{
    progress_begin(verb, log_path(log), log_suffix(log), total_bytes);
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

bool log_has_given_up(const struct log *log, uint64_t offset, uint64_t length,
                      uint64_t patience_ms)
{
    return mapping_has_given_up(log->mapping, offset, length, patience_ms);
}

bool log_read_all_again(const struct log *log)
{
    return mapping_read_all_again(log->mapping, log->end.offset);
}

void log_tell_fault(struct log *log, enum record_fault fault, uint64_t offset)
{
    told_fault(&log->told, &log->place, fault, offset);
}

enum status log_cover(struct log *log)
{
    return mapping_cover(log->mapping, log->end.offset);
}

enum status log_settle(struct log *log)
{
    enum status status = io_sync(log->place.fd);
    return status == KV_OK
               ? KV_OK
               : place_tell(&log->place, status,
                            "cannot sync the log before reading it; giving up");
}

enum status log_reread(struct log *log, uint64_t offset)
{
    /* Pages that are mapped cannot be dropped, so the view is renewed around it. */
    enum status status = mapping_renew(log->mapping);
    if (status != KV_OK) {
        return place_tell(&log->place, status,
                          "cannot read the last batch anew; giving up");
    }
    if (io_forget_cache(log->place.fd, offset) != KV_OK) {
        diag_warn("%s%s: memory is not made to forget the log, so the last batch is not "
                  "compared with the disk: if a sync failed before this start, a loss of "
                  "power may still take it",
                  log_path(log), log->place.suffix);
    }
    return KV_OK;
}

enum status log_cut(struct log *log, uint64_t offset)
{
    enum status status = reach_cut(&log->reach, &log->place, offset);
    log->end.offset = log->reach.file_length;
    return status;
}

void log_resume(struct log *log, const struct log_end *end)
{
    log->end = *end;
    log->reach.durable_length = end->offset;
    log->reach.file_length = end->offset;
}

uint64_t log_length(const struct log *log)
{
    return log->end.offset;
}

uint64_t log_durable_length(const struct log *log)
{
    return log->reach.durable_length;
}

uint64_t log_ahead_bytes(const struct log *log)
{
    return log->reach.file_length - log->end.offset;
}

uint64_t log_staged_bytes(const struct log *log)
{
    return log->staged.length;
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
        told_uncovered(&log->told, &log->place, log->end.offset);
    }
    return status;
}

uint64_t log_stage(struct log *log, struct slice key, struct slice value)
{
    uint64_t offset = staged_end(log);
    uint64_t length = record_length(key.length, value.length);
    record_encode(buffer_extend(&log->staged, (size_t)length), key, value);
    return offset;
}

bool log_has_room(struct log *log, uint64_t bytes, uint64_t kept_bytes)
{
    uint64_t needed = log->staged.length + bytes;
    if (room_has(&log->room, needed, kept_bytes)) {
        return true;
    }
    room_look(&log->room, log->place.files, log->end.offset, log_ahead_bytes(log));
    return room_has(&log->room, needed, kept_bytes);
}

void log_look_again(struct log *log)
{
    log->room.is_known = false;
}

const struct io_space *log_space(const struct log *log)
{
    return log->room.is_known ? &log->room.space : NULL;
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

/* Nothing of a failed write is left, or everything stops. */
static enum status cut_back(struct log *log, enum status cause, uint64_t written)
{
    log_look_again(log);
    told_refused(&log->told, &log->place, log->end.offset); /* which keeps errno */
    enum status cut = reach_cut_back(&log->reach, &log->place, log->end.offset, written);
    return cut == KV_OK ? cause : cut;
}

enum status log_publish(struct log *log, const struct log *replaced)
{
    bool is_durable = log->reach.durable_length == log->end.offset;
    enum status status = is_durable ? KV_OK : prepare(log);
    if (status == KV_OK) {
        status = replaced == NULL ? place_judge(log->place.files, NULL, 0)
                                  : place_judge(log->place.files, &replaced->place,
                                                replaced->reach.file_length);
    }
    return status == KV_OK ? place_put_new(&log->place, log->reach.file_length) : status;
}

/* Room for the seal was reserved; `chain` is set to the one behind it. */
static void stage_seal(struct log *log, uint32_t *chain)
{
    uint8_t mark[SEAL_BYTES];
    struct seal seal = {
        .log_id = log->end.log_id,
        .durable_length = log->reach.durable_length,
        .chain = crc32c(*chain, buffer_slice(&log->staged)),
    };
    record_encode_seal(mark, &seal, staged_end(log));
    buffer_append(&log->staged, (struct slice){mark, sizeof mark});
    *chain = crc32c(seal.chain, (struct slice){mark, sizeof mark});
}

/*
 * Behind the batch that is staged with its seal, put the header of what will be left of
 * the space ahead: the rest of the file and, where that is too short for a header, a few
 * bytes more. Returns how much is left with it. Room for it was reserved.
 */
static uint64_t stage_rest(struct log *log)
{
    uint64_t ahead_bytes = log_ahead_bytes(log);
    if (ahead_bytes <= log->staged.length) {
        return 0;
    }
    uint8_t header[RECORD_HEADER_BYTES];
    uint64_t rest = ahead_bytes - log->staged.length;
    rest = rest > sizeof header ? rest : sizeof header;
    record_encode_header(header, 0, rest - sizeof header);
    buffer_append(&log->staged, (struct slice){header, sizeof header});
    return rest;
}

enum status log_write(struct log *log)
{
    /* The view is not widened for a seal: nobody reads one through it while serving. */
    enum status status = buffer_reserve(&log->staged, SEAL_BYTES + RECORD_HEADER_BYTES);
    if (status == KV_OK) {
        status = place_check(&log->place, log->reach.file_length);
    }
    if (status != KV_OK) {
        return status;
    }
    struct log_end end = log->end;
    stage_seal(log, &end.chain);
    end.offset += log->staged.length;
    uint64_t rest = stage_rest(log);
    uint64_t written;
    status = io_write_counted(log->place.fd, buffer_slice(&log->staged), log->end.offset,
                              &written);
    if (status != KV_OK) {
        return cut_back(log, status, written);
    }
    told_works_again(&log->told, &log->place, log->end.offset);
    room_take(&log->room, end.offset - log->end.offset);
    log->end = end;
    log->reach.file_length = end.offset + rest;
    log_unstage(log);
    return KV_OK;
}

enum status log_make_ahead(struct log *log, uint64_t bytes)
{
    assert(log->staged.length == 0 && log->reach.durable_length == log->end.offset);
    assert(bytes % RECORD_HEADER_BYTES == 0);
    return reach_make_ahead(&log->reach, &log->place, log->end.offset, bytes);
}

enum status log_cut_ahead(struct log *log)
{
    return reach_cut_ahead(&log->reach, &log->place, log->end.offset);
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
    return place_rename(&log->place, suffix, log->reach.file_length);
}

enum status log_remove(const struct log *log)
{
    return place_remove(&log->place);
}

bool log_has_other_links(const struct log *log)
{
    struct io_info info;
    return io_inspect(log->place.fd, &info) != KV_OK || info.link_count > 1;
}

enum status log_cut_away(struct log *log, uint64_t bytes)
{
    uint64_t length = log->end.offset > bytes ? log->end.offset - bytes : 0;
    mapping_cut(log->mapping, length);
    enum status status = io_truncate(log->place.fd, length);
    if (status != KV_OK) {
        return place_tell(&log->place, status,
                          "cannot cut the drained log away; to be tried again");
    }
    log->end.offset = length;
    log->reach.file_length = length;
    return KV_OK;
}

void log_unstage(struct log *log)
{
    log->staged.length = 0;
    buffer_trim(&log->staged, STAGED_BYTES_KEPT);
}

void log_begin_sync(struct log *log)
{
    reach_begin_sync(&log->reach, &log->place, log->end.offset);
}

enum status log_sync(struct log *log)
{
    uint64_t end = log->end.offset;
    return log->reach.durable_length == end ? KV_OK
                                            : reach_sync(&log->reach, &log->place, end);
}
