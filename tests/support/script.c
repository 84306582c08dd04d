/*
 * A growing run of bytes.
 */
#include "support/script.h"

#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { FORMAT_BYTES_MAX = 1000 };

void script_free(struct script *script)
{
    free(script->bytes);
    *script = (struct script){0};
}

/* Room for more bytes behind the end. */
static uint8_t *reserve(struct script *script, size_t count)
{
    if (script->bytes == NULL || script->capacity - script->length < count) {
        size_t capacity = script->capacity * 2 + 64;
        capacity = capacity < script->length + count ? script->length + count : capacity;
        uint8_t *bytes = realloc(script->bytes, capacity);
        assert_non_null(bytes);
        script->bytes = bytes;
        script->capacity = capacity;
    }
    return script->bytes + script->length;
}

void script_add(struct script *script, struct slice bytes)
{
    if (bytes.length > 0) {
        memcpy(reserve(script, bytes.length), bytes.bytes, bytes.length);
        script->length += bytes.length;
    }
}

void script_add_text(struct script *script, const char *text)
{
    script_add(script, slice_of_text(text));
}

void script_add_format(struct script *script, const char *format, ...)
{
    char text[FORMAT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert_in_range(length, 0, sizeof text - 1);
    script_add_text(script, text);
}

void script_add_fill(struct script *script, char byte, size_t count)
{
    memset(reserve(script, count), byte, count);
    script->length += count;
}

void script_add_fill_line(struct script *script, char byte, size_t count)
{
    script_add_fill(script, byte, count);
    script_add_text(script, "\n");
}

void script_add_random(struct script *script, uint64_t seed, size_t count)
{
    uint8_t *bytes = reserve(script, count);
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < count; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bytes[i] = (uint8_t)('!' + (state >> 33) % 94);
    }
    script->length += count;
}

void script_add_file(struct script *script, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("cannot open %s: %s", path, strerror(errno));
        return;
    }
    size_t count = 1;
    while (count > 0) {
        enum { CHUNK_BYTES = 65536 };
        count = fread(reserve(script, CHUNK_BYTES), 1, CHUNK_BYTES, file);
        script->length += count;
    }
    assert_false(ferror(file));
    (void)fclose(file); /* nothing was written to it */
}

void script_write_file(const struct script *script, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        fail_msg("cannot create %s: %s", path, strerror(errno));
        return;
    }
    size_t count =
        script->length == 0 ? 0 : fwrite(script->bytes, 1, script->length, file);
    assert_int_equal(count, script->length);
    assert_int_equal(fclose(file), 0);
}

struct slice script_slice(const struct script *script)
{
    return script->bytes == NULL ? SLICE_LITERAL("")
                                 : (struct slice){script->bytes, script->length};
}
