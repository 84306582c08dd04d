/*
 * One walk through the logs, of which the index says which records are live; memory is
 * that of the index, and of the largest record.
 */
#include "offline/dump.h"

#include "base/diag.h"
#include "base/progress.h"
#include "offline/reading.h"

#include <inttypes.h>
#include <unistd.h>

struct dump {
    const struct keydir *keydir;
    struct lines lines;
    uint64_t found_count; /* live records, printed or reported */
    enum status first;    /* of what could not be printed, which was reported */
};

/* Print a record, if it is what its key has now. */
static enum status print_live(struct dump *dump, const struct log *log,
                              const struct record_walk *walk)
{
    struct slice key = walk->record.key;
    struct slice value;
    struct location location = {.offset = walk->offset};
    uint64_t hash = keydir_hash(dump->keydir, key);
    if (!keydir_find_at(dump->keydir, hash, log, &location) || location.is_tombstone) {
        return KV_OK;
    }
    size_t before = dump->lines.text.length;
    uint64_t fault_count = log_fault_count(log);
    enum status status = keydir_read(dump->keydir, &location, &value);
    if (status == KV_OK) {
        status = lines_put_set(&dump->lines, key, value);
    }
    if (log_fault_count(log) != fault_count) {
        dump->lines.text.length = before; /* zeros may have come in its place */
        return status;
    }
    dump->found_count++;
    return status;
}

/* Have it read while what comes before it is printed. */
static void read_ahead(const struct log *log, uint64_t offset, uint64_t end)
{
    if (offset < end) {
        log_will_read(log, offset,
                      end - offset < DUMP_AHEAD_BYTES ? end - offset : DUMP_AHEAD_BYTES);
    }
}

/* Behind what cannot be read any more records are found again after the next seal. */
static bool skip_damage(struct record_walk *walk, struct slice bytes)
{
    struct opening opening = {0}; /* of a log without marks, which has no seal */
    (void)record_decode_opening(bytes, &opening);
    struct scan scan = {
        .log = bytes, .log_id = opening.log_id, .offset = walk->offset + 1};
    bool is_found = walk->offset < bytes.length && scan_skip_damage(&scan);
    if (is_found) {
        *walk = record_walk_begin(slice_after(bytes, (size_t)scan.offset), scan.offset);
    }
    return is_found;
}

/*
 * Print what is live in a log, of which `done` bytes came before. KV_NOT_FOUND, KV_IO:
 * stdout takes no more.
 */
static enum status print_log(struct dump *dump, const struct log *log, uint64_t end,
                             uint64_t done)
{
    struct slice bytes = slice_first(log_bytes(log), (size_t)end);
    struct record_walk walk = record_walk_begin(bytes, 0);
    uint64_t asked = 0;
    enum status status = KV_OK;
    while (status == KV_OK && (record_next(&walk) || skip_damage(&walk, bytes))) {
        if (walk.offset >= asked) {
            asked = walk.offset + DUMP_AHEAD_BYTES;
            read_ahead(log, asked, end);
        }
        if (walk.record.length == 0 || record_is_mark(&walk.record)) {
            continue;
        }
        enum status printed = print_live(dump, log, &walk);
        dump->first = dump->first == KV_OK ? printed : dump->first;
        if (lines_are_many(&dump->lines)) {
            status = lines_write(&dump->lines);
        }
        progress_at(done + walk.offset);
    }
    return status;
}

/* What was found a moment ago may be gone: what hides it was not told where it stands. */
static void tell_missing(struct dump *dump)
{
    const struct log *log = keydir_log(dump->keydir);
    const struct log *older = keydir_older_log(dump->keydir);
    uint64_t missing = dump->keydir->key_count - dump->found_count;
    bool is_unread = log_lost_end(log) > 0 || (older != NULL && log_lost_end(older) > 0);
    if (missing > 0 && is_unread) {
        diag_errorx("%s: left out %" PRIu64 " keys whose records cannot be read",
                    log_path(log), missing);
        dump->first = KV_IO;
    } else if (missing > 0) {
        diag_errorx("%s: left out %" PRIu64
                    " keys whose records were damaged meanwhile; see --salvage",
                    log_path(log), missing);
        dump->first = KV_CORRUPT;
    }
}

/* The older log comes first, as in time. */
static enum status print_both(struct dump *dump, uint64_t end)
{
    const struct log *older = keydir_older_log(dump->keydir);
    const struct log *log = keydir_log(dump->keydir);
    uint64_t older_end = older == NULL ? 0 : log_length(older);
    enum status status = KV_OK;
    /* A line that is rewritten must not come between lines of the dump. */
    if (isatty(STDOUT_FILENO) != 1) {
        log_begin_progress(log, "dumping", older_end + end);
    }
    if (older != NULL) {
        status = print_log(dump, older, older_end, 0);
    }
    if (status == KV_OK) {
        status = print_log(dump, log, end, older_end);
    }
    progress_end();
    if (status == KV_OK) {
        tell_missing(dump);
        status = lines_write(&dump->lines);
    }
    return status;
}

/*
 * What cannot be printed is reported, and the first failure returned. A reader that has
 * gone has seen enough.
 */
static enum status print_all(const struct reading *reading, enum lines_format format)
{
    struct dump dump = {.keydir = &reading->keydir, .lines.format = format};
    enum status status = print_both(&dump, reading->found.scan.offset);
    lines_free(&dump.lines);
    return status == KV_OK || status == KV_NOT_FOUND ? dump.first : KV_IO;
}

static enum status check_tail(const char *path, const struct reading *reading)
{
    enum tail tail;
    const struct scan *scan = &reading->found.scan;
    enum status status = logset_judge_tail(reading->set.log, scan, &tail);
    if (status != KV_OK) {
        return status;
    }
    if (tail != TAIL_TORN && tail != TAIL_AHEAD) {
        diag_errorx("%s: nothing was dumped: the log is damaged at offset %" PRIu64, path,
                    scan->offset);
        return KV_CORRUPT;
    }
    if (tail == TAIL_TORN && !scan_is_at_end(scan)) {
        diag_warnx("%s: leaving out a torn tail at offset %" PRIu64, path, scan->offset);
    }
    return KV_OK;
}

enum status dump_log(const char *path, enum lines_format format)
{
    struct reading reading;
    enum status status = reading_open(path, false, &reading);
    if (status == KV_OK) {
        status = check_tail(path, &reading);
    }
    if (status == KV_OK) {
        status = print_all(&reading, format);
    }
    reading_close(&reading);
    return status;
}
