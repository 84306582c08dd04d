/*
 * Any line to a request, any outcome to one line.
 */
#include "fuzz/fuzz.h"

#include "base/bounds.h"
#include "base/decimal.h"
#include "base/utf8.h"
#include "net/protocol.h"

#include <stdlib.h>
#include <string.h>

/* Small, so that short inputs reach the limit. */
enum { VALUE_BYTES = 40 };

static bool is_inside(struct slice part, struct slice line)
{
    return part.length == 0 ||
           (part.bytes >= line.bytes && part.length <= line.length &&
            (size_t)(part.bytes - line.bytes) <= line.length - part.length);
}

static bool has(struct slice slice, char byte)
{
    return slice.length > 0 && memchr(slice.bytes, byte, slice.length) != NULL;
}

/* A command and its arguments, as the refusal shows them. Valid until the next call. */
static const char *usage_of(enum verb verb)
{
    static char usage[REPLY_LINE_BYTES_MAX + 1];
    struct buffer reply = {0};
    REQUIRE(buffer_reserve(&reply, REPLY_LINE_BYTES_MAX) == KV_OK);
    protocol_put_status(&reply, KV_USAGE, verb);
    struct slice shown = buffer_slice(&reply);
    memcpy(usage, shown.bytes, shown.length);
    usage[shown.length - 1] = '\0'; /* in place of LF */
    buffer_free(&reply);
    return usage + strlen("error: usage: ");
}

static bool takes_value(enum verb verb)
{
    return verb != VERB_NONE && strstr(usage_of(verb), " value") != NULL;
}

/* Which may be left out. */
static bool may_take_word(enum verb verb)
{
    return strstr(usage_of(verb), " [") != NULL;
}

/* What an accepted request may look like. */
static void check_accepted(struct slice line, const struct request *request)
{
    REQUIRE(request->verb < VERB_NONE);
    REQUIRE(utf8_is_valid(line));
    REQUIRE(!has(line, '\0'));
    REQUIRE(is_inside(request->key, line));
    REQUIRE(is_inside(request->value, line));
    REQUIRE(!has(request->key, ' '));
    REQUIRE(request->key.length <= KEY_BYTES_MAX);
    REQUIRE(request->value.length <= VALUE_BYTES);
    REQUIRE(!protocol_has_key(request->verb) || request->key.length > 0);
    REQUIRE(protocol_has_key(request->verb) || may_take_word(request->verb) ||
            request->key.length == 0);
    REQUIRE(takes_value(request->verb) || request->value.length == 0);
}

/* A key and a value account for the whole line, whatever the command word looked like. */
static void check_is_complete(struct slice line, const struct request *request)
{
    size_t word = strcspn(usage_of(request->verb), " ");
    size_t length = word;
    length += request->key.length > 0 ? 1 + request->key.length : 0;
    length += takes_value(request->verb) ? 1 + request->value.length : 0;
    struct decimal number = decimal_of(request->number);
    /* Spaces behind a command that takes no value are none of it. */
    while (!takes_value(request->verb) && line.length > length &&
           line.bytes[line.length - 1] == ' ') {
        line.length--;
    }
    REQUIRE(length == line.length ||
            (request->verb == VERB_INCR && length + 1 + number.length == line.length &&
             memcmp(line.bytes + length + 1, number.bytes, number.length) == 0));
    REQUIRE(request->key.length == 0 || request->key.bytes == line.bytes + word + 1);
    REQUIRE(!takes_value(request->verb) || request->value.length == 0 ||
            request->value.bytes == request->key.bytes + request->key.length + 1);
}

/* Each refusal is for its reason, and the first reason that applies is told. */
static void check_refused(struct slice line, const struct request *request,
                          enum status status)
{
    enum status expected = line.length == 0             ? KV_EMPTY_LINE
                           : has(line, '\0')            ? KV_NUL_BYTE
                           : !utf8_is_valid(line)       ? KV_NOT_UTF8
                           : request->verb == VERB_NONE ? KV_UNKNOWN_COMMAND
                                                        : KV_OK;
    if (expected != KV_OK) {
        REQUIRE(status == expected);
        return;
    }
    REQUIRE(status == KV_USAGE || status == KV_KEY_TOO_LONG ||
            status == KV_VALUE_TOO_LONG || status == KV_NOT_A_NUMBER);
    REQUIRE(status != KV_NOT_A_NUMBER || request->verb == VERB_INCR);
    REQUIRE(status != KV_KEY_TOO_LONG || request->key.length > KEY_BYTES_MAX);
    REQUIRE(status != KV_VALUE_TOO_LONG || request->value.length > VALUE_BYTES);
}

/* One line, ended by LF, within its bound, and never mistaken for another outcome. */
static void check_reply(enum status status, enum verb verb)
{
    struct buffer replies = {0};
    REQUIRE(buffer_reserve(&replies, REPLY_LINE_BYTES_MAX) == KV_OK);
    protocol_put_status(&replies, status, verb);
    struct slice reply = buffer_slice(&replies);
    REQUIRE(reply.length >= 2 && reply.length <= REPLY_LINE_BYTES_MAX);
    REQUIRE(reply.bytes[reply.length - 1] == '\n');
    REQUIRE(!has(slice_first(reply, reply.length - 1), '\n'));
    REQUIRE(utf8_is_valid(reply));
    bool is_error = status != KV_OK && status != KV_NOT_FOUND;
    REQUIRE(slice_starts_with(reply, SLICE_LITERAL("error: ")) == is_error);
    buffer_free(&replies);
}

/* The same line in the other case of its command word asks for the same. */
static void check_case(struct slice line, const struct request *request,
                       enum status status)
{
    struct request again;
    uint8_t *copy = fuzz_copy(line.bytes, line.length);
    for (size_t i = 0; i < line.length && copy[i] != ' '; i++) {
        bool is_letter = (copy[i] | 0x20) >= 'a' && (copy[i] | 0x20) <= 'z';
        copy[i] = is_letter ? copy[i] ^ 0x20 : copy[i];
    }
    struct slice other = {copy, line.length};
    REQUIRE(protocol_parse(other, VALUE_BYTES, &again) == status);
    REQUIRE(again.verb == request->verb);
    REQUIRE(slice_equal(again.key, request->key));
    REQUIRE(slice_equal(again.value, request->value));
    REQUIRE(protocol_is_hangup(other) == protocol_is_hangup(line));
    free(copy);
}

int fuzz_protocol(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    struct slice line = {copy, size};
    struct request request;
    enum status status = protocol_parse(line, VALUE_BYTES, &request);
    REQUIRE(request.verb <= VERB_NONE);
    if (status == KV_OK) {
        check_accepted(line, &request);
        check_is_complete(line, &request);
    } else {
        check_refused(line, &request, status);
    }
    REQUIRE(!takes_value(request.verb) || protocol_is_write(request.verb));
    check_reply(status, request.verb);
    check_case(line, &request, status);
    free(copy);
    return 0;
}
