/*
 * One line at a time to stderr, never waiting for whoever reads it.
 */
#include "diag.h"

#include "bounds.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static unsigned long dropped_count;

/* A pipe that is full would block the server: look before writing. */
static int write_line(const char *line, size_t length)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0) {
        return 0;
    }
    return write(STDERR_FILENO, line, length) == (ssize_t)length;
}

static void tell_dropped(void)
{
    char line[DIAG_LINE_BYTES_MAX];
    int length = snprintf(line, sizeof line, "kv-store: %lu messages were dropped here\n",
                          dropped_count);
    if (length > 0 && write_line(line, (size_t)length)) {
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

/* The line is cut to its limit, never longer; it always ends in LF. */
KV_PRINTF_LIKE(1, 0)
static void tell(const char *format, va_list arguments, const char *cause)
{
    char line[DIAG_LINE_BYTES_MAX];
    size_t room = sizeof line - 1;
    size_t length = 0;
    int count = snprintf(line, room, "kv-store: ");
    length += (size_t)count;
    count = vsnprintf(line + length, room - length, format, arguments);
    length += count < 0 ? 0 : (size_t)count;
    length = length >= room ? room - 1 : length;
    if (cause != NULL) {
        count = snprintf(line + length, room - length, ": %s", cause);
        length += count < 0 ? 0 : (size_t)count;
        length = length >= room ? room - 1 : length;
    }
    blank_controls(line, length);
    line[length++] = '\n';
    if (dropped_count > 0) {
        tell_dropped();
    }
    if (dropped_count > 0 || !write_line(line, length)) {
        dropped_count++;
    }
}

void diag_info(const char *format, ...)
{
    int kept_errno = errno;
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments, NULL);
    va_end(arguments);
    errno = kept_errno;
}

void diag_warn(const char *format, ...)
{
    int kept_errno = errno;
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments, strerror(kept_errno));
    va_end(arguments);
    errno = kept_errno;
}
