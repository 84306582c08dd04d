/*
 * Lines to requests and outcomes to lines. Every line that is parsed here ends at an
 * unreadable page. What must hold of any bytes fuzz/fuzz_protocol demands.
 */
#include "net/protocol.h"

#include "base/bounds.h"
#include "support/aborts.h"
#include "support/guarded.h"
#include "support/unit.h"

#include <stdio.h>

enum { PAGE_BYTES_MAX = 1 << 18, VALUE_LIMIT = 1000 };

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* Each command with its arguments, in the order of HELP: a new one needs its row here. */
static const struct {
    enum verb verb;
    const char *usage;
    bool is_write;
} commands[] = {
    {VERB_SET, "SET key value", true},
    {VERB_GET, "GET key", false},
    {VERB_DELETE, "DELETE key", true},
    {VERB_ADD, "ADD key value", true},
    {VERB_INCR, "INCR key [number]", true},
    {VERB_EXISTS, "EXISTS key", false},
    {VERB_KEYS, "KEYS [prefix]", false},
    {VERB_LIST, "LIST [prefix]", false},
    {VERB_COUNT, "COUNT", false},
    {VERB_STATS, "STATS", false},
    {VERB_SYNC, "SYNC", false},
    {VERB_COMPACT, "COMPACT", false},
    {VERB_HELP, "HELP [command]", false},
    {VERB_QUIT, "QUIT", false},
};

enum { COMMAND_COUNT = COUNT_OF(commands), WORDS_MAX = 3 };

/* A command's word, and words that may stand for its arguments. */
struct form {
    char usage[REPLY_LINE_BYTES_MAX];
    const char *words[WORDS_MAX];
    size_t needed; /* so many of them must be there, the command's own included */
    size_t count;
    bool has_value;
};

static const char *example_of(const char *argument)
{
    static const char *const examples[][2] = {{"key", "Key"},
                                              {"value", "VaLue"},
                                              {"[number]", "-5"},
                                              {"[prefix]", "uSer:"},
                                              {"[command]", "GET"}};
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        if (strcmp(argument, examples[i][0]) == 0) {
            return examples[i][1];
        }
    }
    fail_msg("%s: an argument that needs an example", argument);
    return NULL;
}

static void form_of(const char *usage, struct form *form)
{
    *form = (struct form){.count = 0};
    (void)snprintf(form->usage, sizeof form->usage, "%s", usage);
    char *place = NULL;
    for (char *word = strtok_r(form->usage, " ", &place); word != NULL;
         word = strtok_r(NULL, " ", &place)) {
        assert_in_range(form->count, 0, WORDS_MAX - 1);
        form->has_value = form->has_value || strcmp(word, "value") == 0;
        form->needed += word[0] == '[' ? 0 : 1;
        form->words[form->count] = form->count == 0 ? word : example_of(word);
        form->count++;
    }
}

/* The first so many words of a form. Valid until the next call. */
static char *line_of(const struct form *form, size_t count)
{
    static char line[REPLY_LINE_BYTES_MAX];
    size_t length = 0;
    line[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        length += (size_t)snprintf(line + length, sizeof line - length, "%s%s",
                                   i == 0 ? "" : " ", form->words[i]);
    }
    return line;
}

static struct guarded page;

static int page_begin(void **state)
{
    (void)state;
    guarded_create(&page, PAGE_BYTES_MAX);
    return 0;
}

static int page_end(void **state)
{
    (void)state;
    guarded_destroy(&page);
    return 0;
}

static enum status parse(struct slice line, struct request *request_out)
{
    /* What stood there before must not shine through. */
    *request_out = (struct request){(enum verb)(VERB_NONE + 1), SLICE_LITERAL("?"),
                                    SLICE_LITERAL("?"), 77};
    return protocol_parse(guarded_place(&page, line), VALUE_LIMIT, request_out);
}

static enum status parse_text(const char *text, struct request *request_out)
{
    return parse(slice_of_text(text), request_out);
}

static void check_slice(struct slice slice, const char *text)
{
    assert_true(slice_equal(slice, slice_of_text(text)));
}

static void check_command(size_t command, const struct form *form, size_t count,
                          const char *line)
{
    struct request request;
    assert_int_equal(parse_text(line, &request), KV_OK);
    assert_int_equal(request.verb, commands[command].verb);
    check_slice(request.key, count > 1 ? form->words[1] : "");
    check_slice(request.value, form->has_value && count > 2 ? form->words[2] : "");
}

static void protocol_parse_knows_every_command(void **state)
{
    (void)state;
    struct form form;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        form_of(commands[i].usage, &form);
        for (size_t count = form.needed; count <= form.count; count++) {
            check_command(i, &form, count, line_of(&form, count));
        }
    }
}

static void protocol_parse_matches_commands_in_any_case(void **state)
{
    (void)state;
    struct form form;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        form_of(commands[i].usage, &form);
        /* The first letters, or each second one, in lower case. */
        for (size_t pattern = 0; pattern < 8; pattern++) {
            char *line = line_of(&form, form.needed);
            for (size_t k = 0; k < strlen(form.words[0]); k++) {
                bool is_lower = pattern < 6 ? k <= pattern : (k + pattern) % 2 == 0;
                line[k] = is_lower ? (char)(line[k] | 0x20) : line[k];
            }
            check_command(i, &form, form.needed, line);
        }
    }
}

/* Only one space parts words; CR, tabs and other controls belong to them. */
static void protocol_parse_parts_words_at_single_spaces(void **state)
{
    static const struct {
        const char *line;
        enum verb verb;
        const char *key;
        const char *value;
    } cases[] = {
        {"SET key ", VERB_SET, "key", ""},
        {"SET key  ", VERB_SET, "key", " "},
        {"SET key    ", VERB_SET, "key", "   "},
        {"SET key a b  c", VERB_SET, "key", "a b  c"},
        {"SET key  two before", VERB_SET, "key", " two before"},
        {"SET key behind  ", VERB_SET, "key", "behind  "},
        {"SET key \t", VERB_SET, "key", "\t"},
        {"SET a\tb c\td", VERB_SET, "a\tb", "c\td"},
        {"SET k v\r", VERB_SET, "k", "v\r"},
        {"SET SET SET", VERB_SET, "SET", "SET"},
        {"SET \x1b[2J \x7f", VERB_SET, "\x1b[2J", "\x7f"},
        {"SET key \xf4\x8f\xbf\xbf", VERB_SET, "key", "\xf4\x8f\xbf\xbf"},
        {"GET a\rb", VERB_GET, "a\rb", ""},
        {"GET y\xc2\xa0z", VERB_GET, "y\xc2\xa0z", ""},
        {"GET GET", VERB_GET, "GET", ""},
        {"KEYS \xd0\xba", VERB_KEYS, "\xd0\xba", ""},
        /* Spaces behind a command that takes no value are passed over. */
        {"GET a  ", VERB_GET, "a", ""},
        {"KEYS  ", VERB_KEYS, "", ""},
        {"KEYS a ", VERB_KEYS, "a", ""},
        {"COUNT   ", VERB_COUNT, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request;
        enum status status = parse_text(cases[i].line, &request);
        if (status != KV_OK || request.verb != cases[i].verb) {
            fail_msg("`%s`: status %d, verb %d", cases[i].line, (int)status,
                     (int)request.verb);
        }
        check_slice(request.key, cases[i].key);
        check_slice(request.value, cases[i].value);
    }
}

/* The verb is right even where its words are not, and a refusal shows nothing else. */
static void check_refusal(struct slice line, enum status status, enum verb verb)
{
    struct request request;
    enum status found = parse(line, &request);
    if (found != status || request.verb != verb) {
        fail_msg("`%.*s`: status %d, verb %d", (int)line.length, (const char *)line.bytes,
                 (int)found, (int)request.verb);
    }
    assert_true(verb != VERB_NONE || request.key.length + request.value.length == 0);
}

static void check_usage(size_t command, const char *line)
{
    check_refusal(slice_of_text(line), KV_USAGE, commands[command].verb);
}

static void protocol_parse_refuses_wrong_words_with_the_usage(void **state)
{
    (void)state;
    struct form form;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        form_of(commands[i].usage, &form);
        for (size_t count = 1; count < form.needed; count++) {
            check_usage(i, line_of(&form, count));
        }
        if (form.needed > 1) {
            check_usage(i, strcat(line_of(&form, 1), " "));
            check_usage(i, strcat(line_of(&form, 1), "  "));
            check_usage(i, strcat(strcat(line_of(&form, 1), "  "), "key"));
        }
        if (!form.has_value) {
            check_usage(i, strcat(line_of(&form, form.count), " x"));
        }
    }
}

static void protocol_parse_refuses_unknown_commands(void **state)
{
    static const char *const lines[] = {"\t",         "GET\tkey",
                                        "{ET key",    "PING",
                                        "EXIST key",  "[ET key",
                                        "GET@",       "SETT key value",
                                        "COUNTS",     "\"GET\" k",
                                        "GETS key",   "SE",
                                        "\x07",       "SET\x1fk v",
                                        "3ET k v",    "DEL key",
                                        "PUT a b",    "SET\xc2\xa0k v",
                                        "S",          "G\xc3\x8bT k",
                                        "\023ET k v", "get_key",
                                        "KEY",        "SETkey value",
                                        "?",          " ",
                                        " GET key",   "*1",
                                        "  ",         "GE key",
                                        "KEYS2",      "QUIT\r"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        check_refusal(slice_of_text(lines[i]), KV_UNKNOWN_COMMAND, VERB_NONE);
    }
}

/* A line of literal text, which may have a NUL in it. */
#define LINE(text)                                                                       \
    {                                                                                    \
        (const uint8_t *)(text), sizeof(text) - 1                                        \
    }

/* The words that people and browsers send; and the first refusal that applies. */
static void protocol_parse_refuses_other_lines_with_the_reason(void **state)
{
    static const struct {
        struct slice line;
        enum status status;
        enum verb verb;
    } cases[] = {
        {LINE(""), KV_EMPTY_LINE, VERB_NONE},
        {{NULL, 0}, KV_EMPTY_LINE, VERB_NONE},
        {LINE("SET key"), KV_USAGE, VERB_SET},
        {LINE("set"), KV_USAGE, VERB_SET},
        {LINE("SET  key value"), KV_USAGE, VERB_SET},
        {LINE("ADD  key value"), KV_USAGE, VERB_ADD},
        {LINE("GET / HTTP/1.1"), KV_USAGE, VERB_GET},
        {LINE("INCR key  1"), KV_USAGE, VERB_INCR},
        {LINE("KEYS  a"), KV_USAGE, VERB_KEYS},
        {LINE("HELP me"), KV_USAGE, VERB_HELP},
        {LINE("\xff\0"), KV_NUL_BYTE, VERB_NONE},
        {LINE("GET \xff\0"), KV_NUL_BYTE, VERB_GET},
        {LINE("DELETE \0"), KV_NUL_BYTE, VERB_DELETE},
        {LINE("nonsense \xff"), KV_NOT_UTF8, VERB_NONE},
        {LINE("GET \xff extra"), KV_NOT_UTF8, VERB_GET},
        {LINE("SET \xff"), KV_NOT_UTF8, VERB_SET},
        {LINE("QUIT \xff"), KV_NOT_UTF8, VERB_QUIT},
        {LINE("GET \xc0\x80"), KV_NOT_UTF8, VERB_GET},
        {LINE("SET key \xe2\x82"), KV_NOT_UTF8, VERB_SET},
        {LINE("SET key \xed\xa0\x80"), KV_NOT_UTF8, VERB_SET},
        /* The words of a line that is cut are half a character each. */
        {LINE("SET \xd0 \xba"), KV_NOT_UTF8, VERB_SET},
        {LINE("SET key \xd0 \xba"), KV_NOT_UTF8, VERB_SET},
        {LINE("INCR k 9223372036854775808"), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k -9223372036854775809"), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k 18446744073709551617"), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k "), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k -"), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k +1"), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k 01"), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k -0"), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k 1x"), KV_NOT_A_NUMBER, VERB_INCR},
        {LINE("INCR k 1.5"), KV_NOT_A_NUMBER, VERB_INCR},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        check_refusal(cases[i].line, cases[i].status, cases[i].verb);
    }
}

static void protocol_parse_reads_what_incr_adds(void **state)
{
    static const struct {
        const char *line;
        int64_t number;
    } cases[] = {
        {"INCR k", 1},
        {"INCR k 0", 0},
        {"INCR k 41", 41},
        {"INCR k -7", -7},
        {"INCR k 9223372036854775807", INT64_MAX},
        {"INCR k -9223372036854775808", INT64_MIN},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request;
        assert_int_equal(parse_text(cases[i].line, &request), KV_OK);
        assert_int_equal(request.verb, VERB_INCR);
        assert_true(request.number == cases[i].number);
    }
}

/* A NUL would end a record's text, or be a tombstone. */
static void protocol_parse_refuses_a_wrong_byte_at_every_place(void **state)
{
    static const char *const lines[] = {"SET key value", "GET key", "KEYS", "QUIT",
                                        "nonsense in several words"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        size_t length = strlen(lines[i]);
        for (size_t at = 0; at <= length; at++) { /* the last time: one more byte */
            uint8_t line[64];
            struct request request;
            memcpy(line, lines[i], length);
            struct slice slice = {line, at == length ? length + 1 : length};
            line[at] = 0;
            assert_int_equal(parse(slice, &request), KV_NUL_BYTE);
            line[at] = 0xff;
            assert_int_equal(parse(slice, &request), KV_NOT_UTF8);
        }
    }
}

/* `before`, then so many letters, then `after`; the caller frees nothing. */
static struct slice long_line(const char *before, size_t letters, const char *after)
{
    static uint8_t line[PAGE_BYTES_MAX];
    size_t before_length = strlen(before);
    size_t after_length = strlen(after);
    assert_true(before_length + letters + after_length <= sizeof line);
    memcpy(line, before, before_length);
    memset(line + before_length, 'k', letters);
    memcpy(line + before_length + letters, after, after_length);
    return (struct slice){line, before_length + letters + after_length};
}

static struct slice line_with_key(const struct form *form, size_t count, size_t key_bytes)
{
    char before[REPLY_LINE_BYTES_MAX];
    char after[REPLY_LINE_BYTES_MAX];
    (void)snprintf(before, sizeof before, "%s ", form->words[0]);
    (void)snprintf(after, sizeof after, " %s", count > 2 ? form->words[2] : "");
    return long_line(before, key_bytes, count > 2 ? after : "");
}

static void protocol_parse_takes_keys_up_to_their_limit(void **state)
{
    (void)state;
    struct request request;
    struct form form;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        form_of(commands[i].usage, &form);
        size_t least = form.needed > 2 ? form.needed : 2;
        for (size_t count = least; commands[i].verb != VERB_HELP && count <= form.count;
             count++) {
            assert_int_equal(parse(line_with_key(&form, count, 65535), &request), KV_OK);
            assert_int_equal(request.verb, commands[i].verb);
            assert_int_equal(request.key.length, 65535);
            assert_int_equal(parse(line_with_key(&form, count, 65536), &request),
                             KV_KEY_TOO_LONG);
            assert_int_equal(request.verb, commands[i].verb);
            assert_int_equal(parse(line_with_key(&form, count, 1), &request), KV_OK);
            assert_int_equal(request.key.length, 1);
        }
    }
}

/* The limit counts bytes, not characters; a long key is told before a long value. */
static void protocol_parse_counts_the_bytes_of_a_key(void **state)
{
    (void)state;
    struct request request;
    assert_int_equal(parse(long_line("GET \xd0\xba", 65533, ""), &request), KV_OK);
    assert_int_equal(parse(long_line("GET \xd0\xba", 65534, ""), &request),
                     KV_KEY_TOO_LONG);
    struct slice line = guarded_place(&page, long_line("SET ", 65536, " value"));
    assert_int_equal(protocol_parse(line, 1, &request), KV_KEY_TOO_LONG);
}

static void protocol_parse_takes_values_up_to_the_limit_given(void **state)
{
    static const uint64_t limits[] = {0, 1, 2, 100, 65536};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct request request;
        size_t limit = (size_t)limits[i];
        struct slice line = guarded_place(&page, long_line("SET key ", limit, ""));
        assert_int_equal(protocol_parse(line, limit, &request), KV_OK);
        assert_int_equal(request.value.length, limit);
        line = guarded_place(&page, long_line("SET key ", limit + 1, ""));
        assert_int_equal(protocol_parse(line, limit, &request), KV_VALUE_TOO_LONG);
        assert_int_equal(request.verb, VERB_SET);
        assert_int_equal(protocol_parse(line, VALUE_BYTES_MAX, &request), KV_OK);
    }
}

/* A line beyond the limit is refused unread, so no good request may be that long. */
static void protocol_line_bytes_max_is_the_longest_set(void **state)
{
    (void)state;
    assert_true(protocol_line_bytes_max(100) == 4 + 65535 + 1 + 100);
    assert_true(protocol_line_bytes_max(VALUE_BYTES_MAX) ==
                UINT64_C(4) + 65535 + 1 + UINT64_C(4294967295));
    struct request request;
    struct slice line = long_line("SET ", 65535, " 123456789012345678901234567890");
    assert_true(line.length == protocol_line_bytes_max(30));
    line = guarded_place(&page, line);
    assert_int_equal(protocol_parse(line, 30, &request), KV_OK);
    assert_int_equal(protocol_parse(line, 29, &request), KV_VALUE_TOO_LONG);
}

static void protocol_line_bytes_max_has_room_for_the_longest_key(void **state)
{
    (void)state;
    struct form form;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        form_of(commands[i].usage, &form);
        const char *after = form.has_value   ? " 1"
                            : form.count > 2 ? " -9223372036854775808"
                                             : "";
        struct slice line = long_line(strcat(line_of(&form, 1), " "), 65535, after);
        if (line.length > protocol_line_bytes_max(1)) {
            fail_msg("%s with the longest key", commands[i].usage);
        }
    }
}

static void protocol_tells_which_commands_write_and_which_have_a_key(void **state)
{
    (void)state;
    assert_false(protocol_is_write(VERB_NONE));
    assert_false(protocol_has_key(VERB_NONE));
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        bool has_key = strstr(commands[i].usage, " key") != NULL;
        assert_int_equal(protocol_is_write(commands[i].verb), commands[i].is_write);
        assert_int_equal(protocol_has_key(commands[i].verb), has_key);
    }
}

static void protocol_is_hangup_for_web_pages_and_telnet(void **state)
{
    static const char *const hangups[] = {
        "POST ",  "POST / HTTP", "post /", "pOsT x",   "Host:",        "Host: ::1",
        "host:x", "HOST: x",     "hOsT:",  "\xff\xf4", "\xff\xf4\xff", "\x16\x03\x01"};
    static const char *const others[] = {
        "",          "P",        "POST",           "POST\t/",
        "POSTS x",   " POST /",  "Host",           "Host ",
        "Hosts:",    "GET /",    "SET POST value", "SET Host: value",
        "GET Host:", "\xff",     "\xff\xf5",       "\xfe\xf4",
        "x\xff\xf4", "\x16\x02", "\x16",           "\xf4\xff"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(hangups); i++) {
        struct slice line = guarded_place(&page, slice_of_text(hangups[i]));
        assert_true(protocol_is_hangup(line));
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct slice line = guarded_place(&page, slice_of_text(others[i]));
        assert_false(protocol_is_hangup(line));
    }
    assert_false(protocol_is_hangup((struct slice){NULL, 0}));
}

/* A reply into exactly the room that its promise asks for. */
static void check_status(enum status status, enum verb verb, const char *expected)
{
    struct buffer replies = {0};
    assert_int_equal(buffer_reserve(&replies, REPLY_LINE_BYTES_MAX), KV_OK);
    protocol_put_status(&replies, status, verb);
    assert_in_range(replies.length, 1, REPLY_LINE_BYTES_MAX);
    check_slice(buffer_slice(&replies), expected);
    buffer_free(&replies);
}

static void protocol_put_status_gives_the_reply_of_each_outcome(void **state)
{
    static const struct {
        enum status status;
        const char *reply;
    } cases[] = {
        {KV_OK, "success\n"},
        {KV_NOT_FOUND, "no value stored\n"},
        {KV_ALREADY_STORED, "already stored\n"},
        {KV_NOT_A_NUMBER, "error: not a number\n"},
        {KV_NUMBER_TOO_LARGE, "error: number too large\n"},
        {KV_UNKNOWN_COMMAND, "error: unknown command\n"},
        {KV_EMPTY_LINE, "error: empty line\n"},
        {KV_NOT_UTF8, "error: not UTF-8\n"},
        {KV_NUL_BYTE, "error: NUL byte\n"},
        {KV_KEY_TOO_LONG, "error: key too long\n"},
        {KV_VALUE_TOO_LONG, "error: value too long\n"},
        {KV_LINE_TOO_LONG, "error: line too long\n"},
        {KV_INCOMPLETE_LINE, "error: incomplete line\n"},
        {KV_NO_SPACE, "error: storage full\n"},
        {KV_IO, "error: storage failed\n"},
        {KV_CORRUPT, "error: corrupt value\n"},
        {KV_NO_MEMORY, "error: out of memory\n"},
        {KV_IDLE, "error: idle too long\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int verb = 0; verb <= VERB_NONE; verb++) {
            check_status(cases[i].status, (enum verb)verb, cases[i].reply);
        }
    }
}

static void protocol_put_status_gives_the_usage_of_each_command(void **state)
{
    (void)state;
    assert_int_equal(COMMAND_COUNT, VERB_NONE); /* a new command needs its row */
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char expected[REPLY_LINE_BYTES_MAX];
        (void)snprintf(expected, sizeof expected, "error: usage: %s\n",
                       commands[i].usage);
        check_status(KV_USAGE, commands[i].verb, expected);
    }
}

static void put_usage_of_no_command(void *context)
{
    protocol_put_status(context, KV_USAGE, VERB_NONE);
}

static void protocol_put_status_refuses_the_usage_of_no_command(void **state)
{
    (void)state;
    struct buffer replies = {0};
    assert_int_equal(buffer_reserve(&replies, REPLY_LINE_BYTES_MAX), KV_OK);
    assert_true(aborts(put_usage_of_no_command, &replies));
    buffer_free(&replies);
}

static void protocol_put_appends_to_earlier_replies(void **state)
{
    (void)state;
    struct buffer replies = {0};
    assert_int_equal(buffer_reserve(&replies, 8 * REPLY_LINE_BYTES_MAX), KV_OK);
    protocol_put_status(&replies, KV_OK, VERB_SET);
    protocol_put_number(&replies, 0);
    protocol_put_number(&replies, 19);
    protocol_put_number(&replies, UINT64_MAX);
    protocol_put_stat(&replies, "keys", 0);
    protocol_put_stat(&replies, "log_bytes", UINT64_MAX);
    protocol_put_stat_text(&replies, "sync", "everysec");
    protocol_put_status(&replies, KV_USAGE, VERB_GET);
    check_slice(buffer_slice(&replies), "success\n0\n19\n18446744073709551615\nkeys 0\n"
                                        "log_bytes 18446744073709551615\nsync everysec\n"
                                        "error: usage: GET key\n");
    buffer_free(&replies);
}

static void protocol_put_help_gives_a_line_per_command_and_an_empty_one(void **state)
{
    (void)state;
    struct buffer replies = {0};
    assert_int_equal(protocol_put_help(&replies, (struct slice){NULL, 0}), KV_OK);
    assert_int_equal(buffer_reserve(&replies, 1), KV_OK);
    buffer_append_byte(&replies, 0);
    const char *line = (const char *)replies.bytes;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const char *end = strchr(line, '\n');
        size_t length = strlen(commands[i].usage);
        assert_non_null(end);
        assert_memory_equal(line, commands[i].usage, length);
        assert_int_equal(line[length], ' ');
        assert_in_range(end - line, length + 2, 80); /* words follow, for a terminal */
        assert_int_not_equal(end[-1], ' ');
        line = end + 1;
    }
    assert_string_equal(line, "\n");
    buffer_free(&replies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocol_parse_knows_every_command),
        cmocka_unit_test(protocol_parse_matches_commands_in_any_case),
        cmocka_unit_test(protocol_parse_parts_words_at_single_spaces),
        cmocka_unit_test(protocol_parse_refuses_wrong_words_with_the_usage),
        cmocka_unit_test(protocol_parse_refuses_other_lines_with_the_reason),
        cmocka_unit_test(protocol_parse_reads_what_incr_adds),
        cmocka_unit_test(protocol_parse_refuses_unknown_commands),
        cmocka_unit_test(protocol_parse_refuses_a_wrong_byte_at_every_place),
        cmocka_unit_test(protocol_parse_takes_keys_up_to_their_limit),
        cmocka_unit_test(protocol_parse_counts_the_bytes_of_a_key),
        cmocka_unit_test(protocol_parse_takes_values_up_to_the_limit_given),
        cmocka_unit_test(protocol_line_bytes_max_is_the_longest_set),
        cmocka_unit_test(protocol_line_bytes_max_has_room_for_the_longest_key),
        cmocka_unit_test(protocol_tells_which_commands_write_and_which_have_a_key),
        cmocka_unit_test(protocol_is_hangup_for_web_pages_and_telnet),
        cmocka_unit_test(protocol_put_status_gives_the_reply_of_each_outcome),
        cmocka_unit_test(protocol_put_status_gives_the_usage_of_each_command),
        cmocka_unit_test(protocol_put_status_refuses_the_usage_of_no_command),
        cmocka_unit_test(protocol_put_appends_to_earlier_replies),
        cmocka_unit_test(protocol_put_help_gives_a_line_per_command_and_an_empty_one),
    };
    return cmocka_run_group_tests(tests, page_begin, page_end);
}
