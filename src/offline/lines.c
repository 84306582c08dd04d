/*
 * A buffer that is filled and written.
 */
#include "offline/lines.h"

#include "base/decimal.h"
#include "base/diag.h"
#include "base/utf8.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* What stands in a line, or in a command of RESP, besides key and value. */
enum { FRAME_BYTES_MAX = 128 };

static bool contains(struct slice bytes, int byte)
{
    return bytes.length > 0 && memchr(bytes.bytes, byte, bytes.length) != NULL;
}

/* Whether a line can hold it; what a server acknowledged always can, and so below. */
static bool is_value_for_a_line(struct slice value)
{
    return !contains(value, '\n') && !contains(value, 0) && utf8_is_valid(value);
}

static bool is_key_for_a_line(struct slice key)
{
    return is_value_for_a_line(key) && !contains(key, ' ');
}

static enum status leave_out(struct slice key, const char *reason)
{
    diag_errorx("the key %.*s: %s; left out: see --dump=resp",
                (int)(key.length < 200 ? key.length : 200), (const char *)key.bytes,
                reason);
    return KV_PARTIAL;
}

/* KV_PARTIAL: a SET line, or a DELETE line of no value, cannot carry it (reported). */
static enum status check_fits(struct slice key, struct slice value)
{
    if (!is_key_for_a_line(key)) {
        return leave_out(key, "no line can carry it");
    }
    return is_value_for_a_line(value) ? KV_OK
                                      : leave_out(key, "no SET line can carry its value");
}

static enum status reserve(struct lines *lines, struct slice key, struct slice value)
{
    enum status status = KV_NO_MEMORY;
    if (value.length <= SIZE_MAX / 4) {
        status =
            buffer_reserve(&lines->text, key.length + value.length + FRAME_BYTES_MAX);
    }
    if (status != KV_OK) {
        diag_errorx("not enough memory to print a value of %zu bytes; giving up",
                    value.length);
    }
    return status;
}

/* One CR at the end of a line is dropped, so there is one more. */
static void end_line(struct buffer *text, struct slice last)
{
    if (last.length > 0 && last.bytes[last.length - 1] == '\r') {
        buffer_append_byte(text, '\r');
    }
    buffer_append_byte(text, '\n');
}

static void put_word(struct buffer *text, struct slice word)
{
    struct decimal length = decimal_of((int64_t)word.length);
    buffer_append_byte(text, '$');
    buffer_append(text, (struct slice){length.bytes, length.length});
    buffer_append(text, SLICE_LITERAL("\r\n"));
    buffer_append(text, word);
    buffer_append(text, SLICE_LITERAL("\r\n"));
}

enum status lines_put_set(struct lines *lines, struct slice key, struct slice value)
{
    struct buffer *text = &lines->text;
    bool is_line = lines->format == LINES_SET;
    enum status status = is_line ? check_fits(key, value) : KV_OK;
    if (status == KV_OK) {
        status = reserve(lines, key, value);
    }
    if (status != KV_OK) {
        return status;
    }
    if (is_line) {
        buffer_append(text, SLICE_LITERAL("SET "));
        buffer_append(text, key);
        buffer_append_byte(text, ' ');
        buffer_append(text, value);
        end_line(text, value);
    } else {
        buffer_append(text, SLICE_LITERAL("*3\r\n$3\r\nSET\r\n"));
        put_word(text, key);
        put_word(text, value);
    }
    return KV_OK;
}

enum status lines_put_delete(struct lines *lines, struct slice key)
{
    struct buffer *text = &lines->text;
    bool is_line = lines->format == LINES_SET;
    enum status status = is_line ? check_fits(key, SLICE_LITERAL("")) : KV_OK;
    if (status == KV_OK) {
        status = reserve(lines, key, SLICE_LITERAL(""));
    }
    if (status != KV_OK) {
        return status;
    }
    if (is_line) {
        buffer_append(text, SLICE_LITERAL("DELETE "));
        buffer_append(text, key);
        end_line(text, key);
    } else {
        buffer_append(text, SLICE_LITERAL("*2\r\n$3\r\nDEL\r\n"));
        put_word(text, key);
    }
    return KV_OK;
}

/* A terminal or a socket may be one that others have made not to wait. */
static bool is_worth_another_try(void)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
        (void)poll(&out, 1, -1); /* whatever it finds, the next write tells */
        return true;
    }
    return errno == EINTR;
}

enum status lines_write(struct lines *lines)
{
    struct slice rest = buffer_slice(&lines->text);
    while (rest.length > 0) {
        ssize_t count = write(STDOUT_FILENO, rest.bytes, rest.length);
        if (count >= 0) {
            rest = slice_after(rest, (size_t)count);
        } else if (!is_worth_another_try()) {
            break;
        }
    }
    enum status status = rest.length == 0 ? KV_OK : errno == EPIPE ? KV_NOT_FOUND : KV_IO;
    if (status == KV_IO) {
        diag_error("standard output: cannot write; giving up");
    }
    lines_drop(lines);
    return status;
}

void lines_drop(struct lines *lines)
{
    lines->text.length = 0;
    buffer_trim(&lines->text, (size_t)(2 * LINES_BYTES_MAX));
}

void lines_free(struct lines *lines)
{
    buffer_free(&lines->text);
}
