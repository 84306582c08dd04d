/*
 * Plain arrays, by the numbers of keys.
 */
#include "support/contents.h"

#include "base/bounds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORD_BYTES = 16, NUMBER_BYTES = 24 };

void contents_clear(struct contents *contents)
{
    words_clear(&contents->keys);
    words_clear(&contents->values);
    if (contents->capacity > 0) {
        memset(contents->held, 0, contents->capacity * sizeof *contents->held);
    }
    contents->key_count = 0;
    contents->live_bytes = 0;
}

uint32_t contents_key(struct contents *contents, struct slice key)
{
    uint32_t number = words_put(&contents->keys, key);
    size_t old = contents->capacity;
    if (number >= old) {
        contents->capacity = ((size_t)number + 1) * 2 + 64;
        contents->held =
            resize(contents->held, contents->capacity * sizeof *contents->held);
        memset(contents->held + old, 0,
               (contents->capacity - old) * sizeof *contents->held);
    }
    return number;
}

static uint64_t record_bytes(const struct contents *contents, uint32_t key,
                             uint32_t value)
{
    return value == 0 ? 0
                      : RECORD_BYTES + words_get(&contents->keys, key).length +
                            words_get(&contents->values, value).length;
}

void contents_set(struct contents *contents, uint32_t key, uint32_t value)
{
    uint32_t before = contents->held[key];
    contents->key_count += value != 0 ? 1 : 0;
    contents->key_count -= before != 0 ? 1 : 0;
    contents->live_bytes +=
        record_bytes(contents, key, value) - record_bytes(contents, key, before);
    contents->held[key] = value;
}

void contents_sum_up(struct contents *contents)
{
    contents->key_count = 0;
    contents->live_bytes = 0;
    for (uint32_t key = 1; key <= contents->keys.count; key++) {
        contents->key_count += contents->held[key] != 0 ? 1 : 0;
        contents->live_bytes += record_bytes(contents, key, contents->held[key]);
    }
}

void contents_forget_unused(struct contents *contents)
{
    struct words kept = {0};
    for (uint32_t key = 1; key <= contents->keys.count; key++) {
        uint32_t *value = &contents->held[key];
        *value = *value == 0 ? 0 : words_put(&kept, words_get(&contents->values, *value));
    }
    words_free(&contents->values);
    contents->values = kept;
}

/* ---- What lines do, and their replies ---- */

struct slice contents_line(struct slice line)
{
    bool has_return = line.length > 0 && line.bytes[line.length - 1] == '\r';
    return slice_first(line, line.length - (has_return ? 1 : 0));
}

bool contents_is_decimal(struct slice text, int64_t *number_out)
{
    char copy[NUMBER_BYTES] = {0};
    char again[NUMBER_BYTES];
    if (text.length == 0 || text.length >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.bytes, text.length);
    *number_out = strtoll(copy, NULL, 10);
    (void)snprintf(again, sizeof again, "%" PRId64, *number_out); /* it fits */
    return strcmp(copy, again) == 0;
}

/* What INCR makes of a value, and the number of that; else the refusal. */
static enum status count_on(struct contents *contents, uint32_t value, int64_t number,
                            uint32_t *sum_out)
{
    int64_t count = 0;
    char text[NUMBER_BYTES];
    if (value != 0 && !contents_is_decimal(words_get(&contents->values, value), &count)) {
        return KV_NOT_A_NUMBER;
    }
    if (__builtin_add_overflow(count, number, &count)) {
        return KV_NUMBER_TOO_LARGE;
    }
    (void)snprintf(text, sizeof text, "%" PRId64, count); /* it fits */
    *sum_out = words_put(&contents->values, slice_of_text(text));
    return KV_OK;
}

bool contents_written(struct contents *contents, const struct request *request,
                      uint32_t before, uint32_t *after_out)
{
    switch (request->verb) {
    case VERB_SET:
        *after_out = words_put(&contents->values, request->value);
        return true;
    case VERB_DELETE:
        *after_out = 0;
        return true;
    case VERB_ADD:
        *after_out = before == 0 ? words_put(&contents->values, request->value) : before;
        return before == 0;
    case VERB_INCR:
        return count_on(contents, before, request->number, after_out) == KV_OK;
    default:
        return false;
    }
}

struct slice contents_status(enum status status, enum verb verb)
{
    static uint8_t bytes[REPLY_LINE_BYTES_MAX];
    struct buffer reply = {.bytes = bytes, .capacity = sizeof bytes};
    protocol_put_status(&reply, status, verb);
    return slice_first(buffer_slice(&reply), reply.length - 1);
}

static struct slice number_text(uint64_t number)
{
    static char text[NUMBER_BYTES];
    (void)snprintf(text, sizeof text, "%" PRIu64, number); /* it fits */
    return slice_of_text(text);
}

struct slice contents_reply(struct contents *contents, const struct request *request)
{
    uint32_t key =
        protocol_has_key(request->verb) ? words_find(&contents->keys, request->key) : 0;
    uint32_t value = key == 0 ? 0 : contents->held[key];
    enum status status = KV_OK;
    switch (request->verb) {
    case VERB_GET:
        if (value != 0) {
            return words_get(&contents->values, value);
        }
        status = KV_NOT_FOUND;
        break;
    case VERB_EXISTS:
        return number_text(value == 0 ? 0 : 1);
    case VERB_COUNT:
        return number_text(contents->key_count);
    case VERB_ADD:
        status = value == 0 ? KV_OK : KV_ALREADY_STORED;
        break;
    case VERB_INCR: {
        uint32_t sum = 0;
        status = count_on(contents, value, request->number, &sum);
        if (status == KV_OK) {
            return words_get(&contents->values, sum);
        }
        break;
    }
    default: /* SET, DELETE, SYNC, COMPACT */
        break;
    }
    return contents_status(status, request->verb);
}

/* ---- Replies of many lines ---- */

bool hearing_next(struct hearing *hearing, struct slice *line_out)
{
    struct slice rest = slice_after(hearing->rest, hearing->used);
    const uint8_t *lf = rest.length == 0 ? NULL : memchr(rest.bytes, '\n', rest.length);
    if (lf == NULL) {
        return false;
    }
    *line_out = slice_first(rest, (size_t)(lf - rest.bytes));
    hearing->used += line_out->length + 1;
    return true;
}

/* The value in a line of LIST is what its key has; what is left is the key. */
static bool take_value(const struct contents *contents, struct slice *heard)
{
    const uint8_t *space = memchr(heard->bytes, ' ', heard->length);
    if (space == NULL) {
        return false;
    }
    struct slice key = slice_first(*heard, (size_t)(space - heard->bytes));
    struct slice value = slice_after(*heard, key.length + 1);
    uint32_t number = words_find(&contents->keys, key);
    *heard = key;
    return number != 0 && contents->held[number] != 0 &&
           slice_equal(words_get(&contents->values, contents->held[number]), value);
}

/* How many keys that have a value begin so. */
static uint64_t count_beginning(const struct contents *contents, struct slice prefix)
{
    uint64_t count = 0;
    for (uint32_t key = 1; key <= contents->keys.count; key++) {
        count += contents->held[key] != 0 &&
                 slice_starts_with(words_get(&contents->keys, key), prefix);
    }
    return count;
}

enum match contents_match_keys(const struct contents *contents, struct hearing *hearing,
                               const struct request *request, bool may_fail)
{
    static struct bytes is_seen; /* by the number of a key */
    struct slice heard;
    bool has_values = request->verb == VERB_LIST;
    uint64_t count = 0;
    uint64_t failed = 0;
    bytes_set_length(&is_seen, 0);
    bytes_set_length(&is_seen, contents->keys.count + 1);
    while (hearing_next(hearing, &heard)) {
        bool is_failure =
            may_fail && slice_equal(heard, contents_status(KV_IO, VERB_NONE));
        if (is_failure && has_values) {
            return MATCH;
        }
        if (is_failure) {
            failed++;
            continue;
        }
        if (heard.length == 0) {
            uint64_t wanted = count_beginning(contents, request->key);
            /* Of what cannot be read nobody knows whether it begins so. */
            return count <= wanted && count + failed >= wanted ? MATCH : WRONG;
        }
        if (has_values && !take_value(contents, &heard)) {
            return WRONG;
        }
        uint32_t key = words_find(&contents->keys, heard);
        if (key == 0 || contents->held[key] == 0 || is_seen.at[key] != 0 ||
            !slice_starts_with(heard, request->key)) {
            return WRONG;
        }
        is_seen.at[key] = 1;
        count++;
    }
    return MORE;
}

/* ---- Writes that may have been carried out ---- */

void writes_put(struct writes *writes, struct write write)
{
    if (writes->count == writes->capacity) {
        writes->capacity = writes->capacity * 2 + 64;
        writes->items = resize(writes->items, writes->capacity * sizeof *writes->items);
    }
    writes->items[writes->count++] = write;
}

size_t states_differing(const uint32_t held[], const uint32_t observed[],
                        size_t key_count)
{
    size_t count = 0;
    for (size_t key = 1; key <= key_count; key++) {
        count += held[key] != observed[key] ? 1 : 0;
    }
    return count;
}

size_t writes_follow(const struct writes *writes, uint32_t held[],
                     const uint32_t observed[], size_t *differing)
{
    size_t count = 0;
    while (*differing > 0 && count < writes->count) {
        const struct write *write = &writes->items[count++];
        *differing -= held[write->key] != observed[write->key] ? 1 : 0;
        held[write->key] = write->value;
        *differing += held[write->key] != observed[write->key] ? 1 : 0;
    }
    return count;
}
