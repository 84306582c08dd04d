/*
 * One walk through the keys; memory is that of the index alone.
 */
#include "offline/dump.h"

#include "base/diag.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "offline/reading.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static void put(struct slice bytes)
{
    (void)fwrite(bytes.bytes, 1, bytes.length,
                 stdout); /* ferror is looked at in the end */
}

static bool contains(struct slice bytes, int byte)
{
    return bytes.length > 0 && memchr(bytes.bytes, byte, bytes.length) != NULL;
}

/* Whether a SET line can hold it; what a server acknowledged always can. */
static bool fits_a_line(struct slice key, struct slice value)
{
    return !contains(key, ' ') && !contains(key, '\n') && !contains(key, 0) &&
           !contains(value, '\n') && !contains(value, 0) && utf8_is_valid(key) &&
           utf8_is_valid(value);
}

static enum status print_set(struct slice key, struct slice value)
{
    if (!fits_a_line(key, value)) {
        diag_errorx(
            "the key %.*s: no SET line can carry its value; left out: see --dump=resp",
            (int)(key.length < 200 ? key.length : 200), (const char *)key.bytes);
        return KV_PARTIAL;
    }
    put(SLICE_LITERAL("SET "));
    put(key);
    put(SLICE_LITERAL(" "));
    put(value);
    if (value.length > 0 && value.bytes[value.length - 1] == '\r') {
        put(SLICE_LITERAL("\r")); /* one CR at the end of a line is dropped */
    }
    put(SLICE_LITERAL("\n"));
    return KV_OK;
}

static enum status print_resp(struct slice key, struct slice value)
{
    printf("*3\r\n$3\r\nSET\r\n$%zu\r\n", key.length);
    put(key);
    printf("\r\n$%zu\r\n", value.length);
    put(value);
    put(SLICE_LITERAL("\r\n"));
    return KV_OK;
}

/* printed_bytes: raised by the length of the record. */
static enum status print_key(const struct keydir *keydir, struct slice key,
                             enum dump_format format, uint64_t *printed_bytes)
{
    struct location location;
    struct slice value;
    enum status status = keydir_find(keydir, keydir_hash(keydir, key), key, &location);
    if (status == KV_OK) {
        status = keydir_read(keydir, &location, &value);
    }
    if (status != KV_OK) {
        return status;
    }
    *printed_bytes += record_length(key.length, value.length);
    return format == DUMP_SET ? print_set(key, value) : print_resp(key, value);
}

/* A line that is rewritten must not come between lines of the dump. */
static void begin_progress(const struct keydir *keydir)
{
    if (isatty(STDOUT_FILENO) != 1) {
        log_begin_progress(keydir_log(keydir), "dumping", keydir->live_bytes);
    }
}

/* Print all keys; what cannot be printed is reported, and the first failure returned. */
static enum status print_all(const struct keydir *keydir, enum dump_format format)
{
    uint64_t position = 0;
    uint64_t printed_bytes = 0;
    struct slice key;
    enum status first = KV_OK;
    begin_progress(keydir);
    enum status status = keydir_walk(keydir, &position, &key);
    while (status != KV_NOT_FOUND && !ferror(stdout)) {
        if (status == KV_OK) {
            status = print_key(keydir, key, format, &printed_bytes);
            progress_at(printed_bytes);
        }
        first = first == KV_OK ? status : first;
        status = keydir_walk(keydir, &position, &key);
    }
    progress_end();
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (errno != EPIPE) { /* else the reader has seen enough */
            diag_error("standard output: cannot write the dump; giving up");
        }
        return KV_IO;
    }
    return first;
}

static enum status check_tail(const char *path, const struct scan *scan)
{
    enum tail tail = scan_judge_tail(scan);
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

enum status dump_log(const char *path, enum dump_format format)
{
    struct reading reading;
    enum status status = reading_open(path, &reading);
    if (status == KV_OK) {
        status = check_tail(path, &reading.found.scan);
    }
    if (status == KV_OK) {
        status = print_all(&reading.keydir, format);
    }
    reading_close(&reading);
    return status;
}
