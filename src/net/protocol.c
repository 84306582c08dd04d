/*
 * Lines to requests and outcomes to lines.
 */
#include "net/protocol.h"

#include "base/bounds.h"
#include "base/decimal.h"
#include "base/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum arguments {
    ARGUMENTS_NONE,
    ARGUMENTS_COMMAND,    /* a command's name, which may be left out */
    ARGUMENTS_PREFIX,     /* one word, likewise */
    ARGUMENTS_KEY,        /* from here on: about one key */
    ARGUMENTS_KEY_NUMBER, /* the number may be left out */
    ARGUMENTS_KEY_VALUE
};

/* How the usage shows them behind the command word. */
static const char *const argument_texts[] = {
    [ARGUMENTS_NONE] = "",
    [ARGUMENTS_COMMAND] = " [command]",
    [ARGUMENTS_PREFIX] = " [prefix]",
    [ARGUMENTS_KEY] = " key",
    [ARGUMENTS_KEY_NUMBER] = " key [number]",
    [ARGUMENTS_KEY_VALUE] = " key value",
};

struct command {
    struct slice name; /* of a literal: a NUL follows */
    enum arguments arguments;
    bool is_write;
    const char *help;
};

/* A slice for a table, where SLICE_LITERAL is no constant. */
#define NAME(text)                                                                       \
    {                                                                                    \
        (const uint8_t *)(text), sizeof(text) - 1                                        \
    }

static const struct command commands[VERB_NONE] = {
    [VERB_SET] = {NAME("SET"), ARGUMENTS_KEY_VALUE, true,
                  "store a value; everything after the key's space is kept"},
    [VERB_GET] = {NAME("GET"), ARGUMENTS_KEY, false, "the value, or: no value stored"},
    [VERB_DELETE] = {NAME("DELETE"), ARGUMENTS_KEY, true,
                     "forget a key; success also if there was none"},
    [VERB_ADD] = {NAME("ADD"), ARGUMENTS_KEY_VALUE, true,
                  "store a value if the key has none, or: already stored"},
    [VERB_INCR] = {NAME("INCR"), ARGUMENTS_KEY_NUMBER, true,
                   "add 1, or a number, to the key's; the sum"},
    [VERB_EXISTS] = {NAME("EXISTS"), ARGUMENTS_KEY, false, "1 or 0"},
    [VERB_KEYS] = {NAME("KEYS"), ARGUMENTS_PREFIX, false,
                   "the keys that begin so, then an empty line"},
    [VERB_LIST] = {NAME("LIST"), ARGUMENTS_PREFIX, false,
                   "key and value of those, then an empty line"},
    [VERB_COUNT] = {NAME("COUNT"), ARGUMENTS_NONE, false, "how many keys are stored"},
    [VERB_STATS] = {NAME("STATS"), ARGUMENTS_NONE, false,
                    "figures of the server, then an empty line"},
    [VERB_SYNC] = {NAME("SYNC"), ARGUMENTS_NONE, false,
                   "success when everything acknowledged is on disk"},
    [VERB_COMPACT] = {NAME("COMPACT"), ARGUMENTS_NONE, false,
                      "make the log as small as its data, while it is served"},
    [VERB_HELP] = {NAME("HELP"), ARGUMENTS_COMMAND, false,
                   "these lines, or that one, then an empty line"},
    [VERB_QUIT] = {NAME("QUIT"), ARGUMENTS_NONE, false,
                   "close the connection once all replies are delivered"},
};

uint64_t protocol_line_bytes_max(uint64_t value_bytes_max)
{
    uint64_t most = 0;
    for (int verb = 0; verb < VERB_NONE; verb++) {
        const struct command *command = &commands[verb];
        uint64_t length = command->name.length + 1 + KEY_BYTES_MAX;
        if (command->arguments == ARGUMENTS_KEY_VALUE) {
            length += 1 + value_bytes_max;
        } else if (command->arguments == ARGUMENTS_KEY_NUMBER) {
            length += 1 + DECIMAL_BYTES_MAX;
        }
        most = length > most ? length : most;
    }
    return most;
}

/* upper: all letters upper case. */
static bool starts_in_any_case(struct slice line, struct slice upper)
{
    if (line.length < upper.length) {
        return false;
    }
    for (size_t i = 0; i < upper.length; i++) {
        /* The other case of a letter; a space, a colon as it is. */
        uint8_t wanted = upper.bytes[i];
        if (line.bytes[i] != wanted && line.bytes[i] != (wanted | 0x20)) {
            return false;
        }
    }
    return true;
}

/* The bytes before the first space, or all of them. */
static struct slice first_word(struct slice text)
{
    const uint8_t *space = text.length == 0 ? NULL : memchr(text.bytes, ' ', text.length);
    return space == NULL ? text : slice_first(text, (size_t)(space - text.bytes));
}

/*
 * Whether a line of at least four bytes begins with three letters, in any case, and a
 * space; all of it at once. The cases of a letter differ in one bit, 0x20.
 */
static bool begins_with_word(struct slice line, const char upper[4])
{
    static const uint8_t kept_bits[4] = {0xdf, 0xdf, 0xdf, 0xff};
    uint32_t word;
    uint32_t mask;
    uint32_t wanted;
    memcpy(&word, line.bytes, sizeof word);
    memcpy(&mask, kept_bits, sizeof mask);
    memcpy(&wanted, upper, sizeof wanted);
    return (word & mask) == wanted;
}

/* The command that the first word of a line is. */
static enum verb find_verb(struct slice line)
{
    if (line.length >= 4 && begins_with_word(line, "GET ")) {
        return VERB_GET; /* nearly every line is one of these two */
    }
    if (line.length >= 4 && begins_with_word(line, "SET ")) {
        return VERB_SET;
    }
    for (int verb = 0; verb < VERB_NONE; verb++) {
        struct slice name = commands[verb].name;
        if (starts_in_any_case(line, name) &&
            (line.length == name.length || line.bytes[name.length] == ' ')) {
            return (enum verb)verb;
        }
    }
    return VERB_NONE;
}

static struct slice without_spaces_at_end(struct slice line)
{
    while (line.length > 0 && line.bytes[line.length - 1] == ' ') {
        line.length--;
    }
    return line;
}

/* What INCR adds: 1, if nothing says otherwise. */
static enum status parse_number(struct slice text, bool is_given, struct request *request)
{
    request->number = 1;
    if (first_word(text).length < text.length) {
        return KV_USAGE;
    }
    return !is_given || decimal_parse(text, &request->number) ? KV_OK : KV_NOT_A_NUMBER;
}

/* text: what follows the space after the command word. */
static enum status parse_arguments(struct slice text, enum arguments wanted,
                                   uint64_t value_bytes_max, struct request *request)
{
    request->key = first_word(text);
    bool has_more = request->key.length < text.length;
    bool may_have_more = wanted == ARGUMENTS_KEY_VALUE || wanted == ARGUMENTS_KEY_NUMBER;
    if (request->key.length == 0 || (has_more && !may_have_more) ||
        (!has_more && wanted == ARGUMENTS_KEY_VALUE)) {
        return KV_USAGE;
    }
    struct slice rest = slice_after(text, request->key.length + (has_more ? 1 : 0));
    if (wanted == ARGUMENTS_COMMAND) {
        return find_verb(request->key) == VERB_NONE ? KV_USAGE : KV_OK;
    }
    if (request->key.length > KEY_BYTES_MAX) {
        return KV_KEY_TOO_LONG;
    }
    if (wanted == ARGUMENTS_KEY_NUMBER) {
        return parse_number(rest, has_more, request);
    }
    request->value = rest;
    return request->value.length > value_bytes_max ? KV_VALUE_TOO_LONG : KV_OK;
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
    request_out->verb = find_verb(line);
    enum status status = check_text(line);
    if (status != KV_OK) {
        return status;
    }
    if (request_out->verb == VERB_NONE) {
        return KV_UNKNOWN_COMMAND;
    }
    enum arguments wanted = commands[request_out->verb].arguments;
    size_t name_length = commands[request_out->verb].name.length;
    if (wanted <= ARGUMENTS_KEY) {
        line = without_spaces_at_end(line);
    }
    if (name_length == line.length) {
        return wanted < ARGUMENTS_KEY ? KV_OK : KV_USAGE;
    }
    if (wanted == ARGUMENTS_NONE) {
        return KV_USAGE;
    }
    return parse_arguments(slice_after(line, name_length + 1), wanted, value_bytes_max,
                           request_out);
}

struct slice protocol_skip_mark(struct slice line)
{
    struct slice mark = SLICE_LITERAL("\xef\xbb\xbf");
    assert(mark.length == PROTOCOL_MARK_BYTES);
    return slice_starts_with(line, mark) ? slice_after(line, mark.length) : line;
}

bool protocol_has_key(enum verb verb)
{
    return verb != VERB_NONE && commands[verb].arguments >= ARGUMENTS_KEY;
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
    case 0x16:
        return slice_starts_with(line, SLICE_LITERAL("\x16\x03"));
    case 0xff:
        return slice_starts_with(line, SLICE_LITERAL("\xff\xf4"));
    default:
        return false;
    }
}

bool protocol_is_http(const struct request *request)
{
    return slice_starts_with(request->key, SLICE_LITERAL("/")) &&
           (slice_equal(request->value, SLICE_LITERAL("HTTP/1.1")) ||
            slice_equal(request->value, SLICE_LITERAL("HTTP/1.0")));
}

static void put_text(struct buffer *replies, const char *text)
{
    buffer_append(replies, slice_of_text(text));
}

static void put_failure(struct buffer *replies, enum status status, enum verb verb)
{
    put_text(replies, "error: ");
    buffer_append(replies, status_slice(status));
    if (status == KV_USAGE) {
        assert(verb < VERB_NONE);
        put_text(replies, ": ");
        buffer_append(replies, commands[verb].name);
        put_text(replies, argument_texts[commands[verb].arguments]);
    }
}

void protocol_put_status(struct buffer *replies, enum status status, enum verb verb)
{
    if (status == KV_OK || status == KV_NOT_FOUND || status == KV_ALREADY_STORED) {
        buffer_append(replies, status_slice(status));
    } else {
        put_failure(replies, status, verb);
    }
    buffer_append_byte(replies, '\n');
}

/* Where the explanations of HELP begin. */
enum { HELP_COLUMN = 18 };

enum status protocol_put_help(struct buffer *replies, struct slice name)
{
    enum status status = buffer_reserve(replies, (VERB_NONE + 1) * REPLY_LINE_BYTES_MAX);
    if (status != KV_OK) {
        return status;
    }
    enum verb only = name.length > 0 ? find_verb(name) : VERB_NONE;
    for (int verb = 0; verb < VERB_NONE; verb++) {
        const struct command *command = &commands[verb];
        if (only != VERB_NONE && verb != (int)only) {
            continue;
        }
        char line[REPLY_LINE_BYTES_MAX];
        (void)snprintf(
            line, sizeof line, "%s%-*s %s\n", (const char *)command->name.bytes,
            HELP_COLUMN - (int)command->name.length, argument_texts[command->arguments],
            command->help); /* the table's texts are short */
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

void protocol_put_stat(struct buffer *replies, const char *name, uint64_t number)
{
    put_text(replies, name);
    buffer_append_byte(replies, ' ');
    protocol_put_number(replies, number);
}

void protocol_put_number(struct buffer *replies, uint64_t number)
{
    char line[24];
    (void)snprintf(line, sizeof line, "%" PRIu64 "\n", number); /* 20 digits at most */
    put_text(replies, line);
}
