/*
 * Bytes that a test puts together: requests, the replies that they must get, files.
 */
#ifndef KV_SUPPORT_SCRIPT_H
#define KV_SUPPORT_SCRIPT_H

#include "base/platform.h"
#include "base/slice.h"

struct script {
    uint8_t *bytes; /* owned; script_free */
    size_t length;
    size_t capacity;
};

void script_free(struct script *script);

void script_add(struct script *script, struct slice bytes);
void script_add_text(struct script *script, const char *text);

/* Short text as by printf, at most 1,000 bytes. */
void script_add_format(struct script *script, const char *format, ...)
    KV_PRINTF_LIKE(2, 3);

/* One byte many times; and the same with an LF behind it. */
void script_add_fill(struct script *script, char byte, size_t count);
void script_add_fill_line(struct script *script, char byte, size_t count);

/* Printable bytes without a space, another sequence for each seed. */
void script_add_random(struct script *script, uint64_t seed, size_t count);

/* The whole content of a file. */
void script_add_file(struct script *script, const char *path);

/* The file gets exactly these bytes; it is made if it is missing. */
void script_write_file(const struct script *script, const char *path);

/* Borrowed: valid until the script changes. */
struct slice script_slice(const struct script *script);

#endif
