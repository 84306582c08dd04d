/*
 * Lines to requests and outcomes to lines.
 */
#include "protocol.h"

#include "bounds.h"
#include "utf8.h"

#include <assert.h>
#include <stdio.h>

enum arguments {
    ARGUMENTS_NONE,
    ARGUMENTS_PREFIX, /* one word, which may be left out */
    ARGUMENTS_KEY,
    ARGUMENTS_KEY_VALUE
};

struct command {
    struct slice name;
    enum arguments arguments;
    bool is_write;
    const char *usage;
    const char *help;
};

static const struct command commands[VERB_NONE] = {
    [VERB_SET] = {{(const uint8_t *)"SET", 3},
                  ARGUMENTS_KEY_VALUE,
                  true,
                  "SET key value",
                  "store a value; everything after the key's space is kept"},
    [VERB_GET] = {{(const uint8_t *)"GET", 3},
                  ARGUMENTS_KEY,
                  false,
                  "GET key",
                  "the value, or: no value stored"},
    [VERB_DELETE] = {{(const uint8_t *)"DELETE", 6},
                     ARGUMENTS_KEY,
                     true,
                     "DELETE key",
                     "forget a key; success also if there was none"},
    [VERB_EXISTS] =
        {{(const uint8_t *)"EXISTS", 6}, ARGUMENTS_KEY, false, "EXISTS key", "1 or 0"},
    [VERB_KEYS] = {{(const uint8_t *)"KEYS", 4},
                   ARGUMENTS_PREFIX,
                   false,
                   "KEYS [prefix]",
                   "the keys that begin so, then an empty line"},
    [VERB_COUNT] = {{(const uint8_t *)"COUNT", 5},
                    ARGUMENTS_NONE,
                    false,
                    "COUNT",
                    "how many keys are stored"},
    [VERB_STATS] = {{(const uint8_t *)"STATS", 5},
                    ARGUMENTS_NONE,
                    false,
                    "STATS",
                    "figures of the server, then an empty line"},
    [VERB_SYNC] = {{(const uint8_t *)"SYNC", 4},
                   ARGUMENTS_NONE,
                   false,
                   "SYNC",
                   "success when everything acknowledged is on disk"},
    [VERB_COMPACT] = {{(const uint8_t *)"COMPACT", 7},
                      ARGUMENTS_NONE,
                      false,
                      "COMPACT",
                      "make the log as small as its data, while it is served"},
    [VERB_HELP] = {{(const uint8_t *)"HELP", 4},
                   ARGUMENTS_NONE,
                   false,
                   "HELP",
                   "these lines, then an empty line"},
    [VERB_QUIT] = {{(const uint8_t *)"QUIT", 4},
                   ARGUMENTS_NONE,
                   false,
                   "QUIT",
                   "close the connection once all replies are delivered"},
};

uint64_t protocol_line_bytes_max(uint64_t value_bytes_max)
{
    uint64_t set =
        commands[VERB_SET].name.length + 1 + KEY_BYTES_MAX + 1 + value_bytes_max;
    uint64_t delete = commands[VERB_DELETE].name.length + 1 + KEY_BYTES_MAX;
    return set > delete ? set : delete;
}

static uint8_t upper_case(uint8_t byte)
{
    return byte >= 'a' && byte <= 'z' ? (uint8_t)(byte - 'a' + 'A') : byte;
}

/* upper: all letters upper case. */
static bool equals_in_any_case(struct slice word, struct slice upper)
{
    if (word.length != upper.length) {
        return false;
    }
    for (size_t i = 0; i < word.length; i++) {
        if (upper_case(word.bytes[i]) != upper.bytes[i]) {
            return false;
        }
    }
    return true;
}

static bool starts_in_any_case(struct slice line, struct slice upper)
{
    return line.length >= upper.length &&
           equals_in_any_case(slice_first(line, upper.length), upper);
}

/* The bytes before the first space, or all of them. */
static struct slice first_word(struct slice text)
{
    const uint8_t *space = text.length == 0 ? NULL : memchr(text.bytes, ' ', text.length);
    return space == NULL ? text : slice_first(text, (size_t)(space - text.bytes));
}

static enum verb find_verb(struct slice word)
{
    for (int verb = 0; verb < VERB_NONE; verb++) {
        if (equals_in_any_case(word, commands[verb].name)) {
            return (enum verb)verb;
        }
    }
    return VERB_NONE;
}

/* arguments: what follows the space after a key-value command. */
static enum status parse_key_value(struct slice arguments, uint64_t value_bytes_max,
                                   struct request *request)
{
    request->key = first_word(arguments);
    if (request->key.length == 0 || request->key.length == arguments.length) {
        return KV_USAGE;
    }
    request->value = slice_after(arguments, request->key.length + 1);
    if (request->key.length > KEY_BYTES_MAX) {
        return KV_KEY_TOO_LONG;
    }
    return request->value.length > value_bytes_max ? KV_VALUE_TOO_LONG : KV_OK;
}

/* One word and nothing behind it. */
static enum status parse_key(struct slice arguments, struct request *request)
{
    request->key = first_word(arguments);
    if (request->key.length == 0 || request->key.length != arguments.length) {
        return KV_USAGE;
    }
    return request->key.length > KEY_BYTES_MAX ? KV_KEY_TOO_LONG : KV_OK;
}

/* Nearly every line is plain text, and one pass tells. */
static enum status check_text(struct slice line)
{
    if (utf8_is_plain(line)) {
        return KV_OK;
    }
    if (memchr(line.bytes, 0, line.length) != NULL) {
        return KV_NUL_BYTE;
    }
    return utf8_is_valid(line) ? KV_OK : KV_NOT_UTF8;
}

enum status protocol_parse(struct slice line, uint64_t value_bytes_max,
                           struct request *request_out)
{
    *request_out = (struct request){.verb = VERB_NONE};
    if (line.length == 0) {
        return KV_EMPTY_LINE;
    }
    struct slice word = first_word(line);
    request_out->verb = find_verb(word);
    enum status status = check_text(line);
    if (status != KV_OK) {
        return status;
    }
    if (request_out->verb == VERB_NONE) {
        return KV_UNKNOWN_COMMAND;
    }
    enum arguments wanted = commands[request_out->verb].arguments;
    if (word.length == line.length) {
        return wanted == ARGUMENTS_NONE || wanted == ARGUMENTS_PREFIX ? KV_OK : KV_USAGE;
    }
    struct slice arguments = slice_after(line, word.length + 1);
    if (wanted == ARGUMENTS_NONE) {
        return KV_USAGE;
    }
    return wanted == ARGUMENTS_KEY_VALUE
               ? parse_key_value(arguments, value_bytes_max, request_out)
               : parse_key(arguments, request_out);
}

bool protocol_has_key(enum verb verb)
{
    return verb != VERB_NONE && (commands[verb].arguments == ARGUMENTS_KEY ||
                                 commands[verb].arguments == ARGUMENTS_KEY_VALUE);
}

bool protocol_is_write(enum verb verb)
{
    return verb != VERB_NONE && commands[verb].is_write;
}

bool protocol_is_hangup(struct slice line)
{
    /* Nearly every line begins otherwise, and one look tells. */
    switch (line.length == 0 ? 0 : line.bytes[0]) {
    case 'P':
    case 'p':
        return starts_in_any_case(line, SLICE_LITERAL("POST "));
    case 'H':
    case 'h':
        return starts_in_any_case(line, SLICE_LITERAL("HOST:"));
    case 0xff:
        return slice_starts_with(line, SLICE_LITERAL("\xff\xf4"));
    default:
        return false;
    }
}

static void put_text(struct buffer *replies, const char *text)
{
    buffer_append(replies, slice_of_text(text));
}

void protocol_put_status(struct buffer *replies, enum status status, enum verb verb)
{
    if (status == KV_OK || status == KV_NOT_FOUND) {
        put_text(replies, status_text(status));
    } else {
        put_text(replies, "error: ");
        put_text(replies, status_text(status));
    }
    if (status == KV_USAGE) {
        assert(verb < VERB_NONE);
        put_text(replies, ": ");
        put_text(replies, commands[verb].usage);
    }
    buffer_append_byte(replies, '\n');
}

enum status protocol_put_help(struct buffer *replies)
{
    enum status status = buffer_reserve(replies, (VERB_NONE + 1) * REPLY_LINE_BYTES_MAX);
    if (status != KV_OK) {
        return status;
    }
    for (int verb = 0; verb < VERB_NONE; verb++) {
        char line[REPLY_LINE_BYTES_MAX];
        (void)snprintf(line, sizeof line, "%-14s %s\n", commands[verb].usage,
                       commands[verb].help); /* the table's texts are short */
        put_text(replies, line);
    }
    buffer_append_byte(replies, '\n');
    return KV_OK;
}

void protocol_put_stat_text(struct buffer *replies, const char *name, const char *text)
{
    put_text(replies, name);
    buffer_append_byte(replies, ' ');
    put_text(replies, text);
    buffer_append_byte(replies, '\n');
}

/* The decimal digits of a number, NUL-terminated. */
struct digits {
    char text[24];
};

static struct digits to_digits(uint64_t number)
{
    struct digits digits;
    (void)snprintf(digits.text, sizeof digits.text, "%llu", (unsigned long long)number);
    return digits; /* 20 digits at most */
}

void protocol_put_stat(struct buffer *replies, const char *name, uint64_t number)
{
    protocol_put_stat_text(replies, name, to_digits(number).text);
}

void protocol_put_number(struct buffer *replies, uint64_t number)
{
    put_text(replies, to_digits(number).text);
    buffer_append_byte(replies, '\n');
}
