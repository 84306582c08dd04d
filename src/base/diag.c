/*
 * One line at a time to stderr, never waiting for whoever reads it.
 */
#include "base/diag.h"

#include "base/bounds.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The numbers of syslog(3), which the journal takes. */
enum level { LEVEL_ERROR = 3, LEVEL_WARNING = 4, LEVEL_INFO = 6 };

static unsigned long dropped_count;
static bool is_holding;
static char held_lines[DIAG_HELD_MAX][DIAG_LINE_BYTES_MAX];
static size_t held_count;
static bool is_showing; /* the cursor stands in a line that is to be taken away */

/* A pipe that is full would block the server: look before writing. */
static bool write_line(const char *line, size_t length)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0) {
        return false;
    }
    return write(STDERR_FILENO, line, length) == (ssize_t)length;
}

/* Whether the journal reads stderr; it names its end of the stream as device:inode. */
static bool is_journal(void)
{
    char name[64];
    struct stat info = {0};
    const char *stream = getenv("JOURNAL_STREAM");
    if (stream == NULL) {
        return false;
    }
    (void)fstat(STDERR_FILENO, &info); /* where that fails, nobody reads the line */
    (void)snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)info.st_dev,
                   (uintmax_t)info.st_ino); /* two numbers fit */
    return strcmp(stream, name) == 0;
}

/* What each line begins with; returns its length. */
static size_t put_prefix(char *line, size_t room, enum level level)
{
    int length = is_journal() ? snprintf(line, room, "<%d>kv-store: ", (int)level)
                              : snprintf(line, room, "kv-store: ");
    return (size_t)length; /* there is room */
}

static void tell_dropped(void)
{
    char line[DIAG_LINE_BYTES_MAX];
    size_t length = put_prefix(line, sizeof line, LEVEL_WARNING);
    length += (size_t)snprintf(line + length, sizeof line - length,
                               "%lu messages were dropped here\n", dropped_count);
    if (write_line(line, length)) {
        dropped_count = 0;
    }
}

/* A path may hold anything; an event is one line all the same. */
static void blank_controls(char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool is_control = (unsigned char)line[i] < ' ' || line[i] == 0x7f;
        if (is_control) {
            line[i] = '?';
        }
    }
}

/* Blanks to the full width cover what stood there, on any terminal. */
void diag_show(const char *format, ...)
{
    int kept_errno = errno;
    char text[DIAG_COLUMNS_MAX + 1];
    char line[DIAG_COLUMNS_MAX + 2];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments); /* it may be cut */
    va_end(arguments);
    blank_controls(text, strlen(text));
    int length = snprintf(line, sizeof line, "\r%-*s", DIAG_COLUMNS_MAX, text);
    is_showing = write_line(line, (size_t)length) || is_showing;
    errno = kept_errno;
}

void diag_clear(void)
{
    if (is_showing) {
        diag_show("%s", "");
        is_showing = !write_line("\r", 1);
    }
}

void diag_leave(void)
{
    static const char blanks[DIAG_COLUMNS_MAX + 3] =
        "\r                                        "
        "                                       \r";
    static_assert(sizeof blanks == 82, "a return, the columns, a return and the end");
    if (is_showing) {
        ssize_t written = write(STDERR_FILENO, blanks, sizeof blanks - 1);
        (void)written; /* nothing could be done about it */
    }
}

/* Where a line ends after `count` more bytes, as snprintf tells, or is cut. */
static size_t end_after(size_t length, int count, size_t room)
{
    length += count < 0 ? 0 : (size_t)count;
    return length < room ? length : room - 1;
}

static void put_line(const char *line, size_t length)
{
    diag_clear();
    if (dropped_count > 0) {
        tell_dropped();
    }
    if (dropped_count > 0 || !write_line(line, length)) {
        dropped_count++;
    }
}

/* The line is cut to its limit, never longer; it always ends in LF. */
KV_PRINTF_LIKE(2, 0)
static void tell(enum level level, const char *format, va_list arguments,
                 const char *cause)
{
    int kept_errno = errno;
    char line[DIAG_LINE_BYTES_MAX];
    size_t room = sizeof line - 1;
    size_t length = put_prefix(line, room, level);
    int count = vsnprintf(line + length, room - length, format, arguments);
    length = end_after(length, count, room);
    if (cause != NULL) {
        count = snprintf(line + length, room - length, ": %s", cause);
        length = end_after(length, count, room);
    }
    blank_controls(line, length);
    line[length++] = '\n';
    if (is_holding && held_count < DIAG_HELD_MAX) {
        memcpy(held_lines[held_count], line, length);
        held_lines[held_count++][length] = '\0';
    } else {
        put_line(line, length);
    }
    errno = kept_errno;
}

void diag_hold(void)
{
    is_holding = true;
    held_count = 0;
}

void diag_release(bool is_told)
{
    int kept_errno = errno;
    is_holding = false;
    for (size_t i = 0; is_told && i < held_count; i++) {
        put_line(held_lines[i], strlen(held_lines[i]));
    }
    held_count = 0;
    errno = kept_errno;
}

void diag_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(LEVEL_INFO, format, arguments, NULL);
    va_end(arguments);
}

void diag_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(LEVEL_WARNING, format, arguments, strerror(errno));
    va_end(arguments);
}

void diag_warnx(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(LEVEL_WARNING, format, arguments, NULL);
    va_end(arguments);
}

void diag_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(LEVEL_ERROR, format, arguments, strerror(errno));
    va_end(arguments);
}

void diag_errorx(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(LEVEL_ERROR, format, arguments, NULL);
    va_end(arguments);
}
