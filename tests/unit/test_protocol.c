/*
 * Lines to requests and outcomes to lines. Every line that is parsed here ends at an
 * unreadable page.
 */
#include "net/protocol.h"

#include "base/bounds.h"
#include "support/aborts.h"
#include "support/dice.h"
#include "support/guarded.h"
#include "support/unit.h"

#include <stdio.h>

enum { PAGE_BYTES_MAX = 1 << 18, VALUE_LIMIT = 1000 };

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

struct line_case {
    const char *line;
    enum verb verb;
    const char *key;
    const char *value;
};

static void check_good_lines(const struct line_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
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

static void protocol_parse_knows_every_command(void **state)
{
    static const struct line_case cases[] = {
        {"SET key value", VERB_SET, "key", "value"},
        {"GET key", VERB_GET, "key", ""},
        {"DELETE key", VERB_DELETE, "key", ""},
        {"EXISTS key", VERB_EXISTS, "key", ""},
        {"KEYS", VERB_KEYS, "", ""},
        {"KEYS user:", VERB_KEYS, "user:", ""},
        {"LIST", VERB_LIST, "", ""},
        {"LIST user:", VERB_LIST, "user:", ""},
        {"ADD key value", VERB_ADD, "key", "value"},
        {"ADD key ", VERB_ADD, "key", ""},
        {"INCR key", VERB_INCR, "key", ""},
        {"INCR key -5", VERB_INCR, "key", ""},
        {"COUNT", VERB_COUNT, "", ""},
        {"STATS", VERB_STATS, "", ""},
        {"SYNC", VERB_SYNC, "", ""},
        {"COMPACT", VERB_COMPACT, "", ""},
        {"HELP", VERB_HELP, "", ""},
        {"QUIT", VERB_QUIT, "", ""},
    };
    (void)state;
    check_good_lines(cases, sizeof cases / sizeof *cases);
}

static void protocol_parse_matches_commands_in_any_case(void **state)
{
    static const struct line_case cases[] = {
        {"set key value", VERB_SET, "key", "value"},
        {"sEt KeY VaLuE", VERB_SET, "KeY", "VaLuE"},
        {"get key", VERB_GET, "key", ""},
        {"GeT key", VERB_GET, "key", ""},
        {"delete key", VERB_DELETE, "key", ""},
        {"dELETE key", VERB_DELETE, "key", ""},
        {"exists key", VERB_EXISTS, "key", ""},
        {"ExIsTs key", VERB_EXISTS, "key", ""},
        {"keys", VERB_KEYS, "", ""},
        {"kEYs p", VERB_KEYS, "p", ""},
        {"count", VERB_COUNT, "", ""},
        {"cOuNt", VERB_COUNT, "", ""},
        {"stats", VERB_STATS, "", ""},
        {"sTATS", VERB_STATS, "", ""},
        {"sync", VERB_SYNC, "", ""},
        {"Sync", VERB_SYNC, "", ""},
        {"cOMPACt", VERB_COMPACT, "", ""},
        {"help", VERB_HELP, "", ""},
        {"hELp", VERB_HELP, "", ""},
        {"quit", VERB_QUIT, "", ""},
        {"QuIT", VERB_QUIT, "", ""},
    };
    (void)state;
    check_good_lines(cases, sizeof cases / sizeof *cases);
}

static void protocol_parse_keeps_spaces_of_a_value(void **state)
{
    static const struct line_case cases[] = {
        {"SET key a b  c", VERB_SET, "key", "a b  c"},
        {"SET key  two before", VERB_SET, "key", " two before"},
        {"SET key behind  ", VERB_SET, "key", "behind  "},
        {"SET key  ", VERB_SET, "key", " "},
        {"SET key    ", VERB_SET, "key", "   "},
        {"SET key \t", VERB_SET, "key", "\t"},
    };
    (void)state;
    check_good_lines(cases, sizeof cases / sizeof *cases);
}

static void protocol_parse_takes_an_empty_value(void **state)
{
    (void)state;
    struct request request;
    assert_int_equal(parse_text("SET key ", &request), KV_OK);
    check_slice(request.key, "key");
    assert_int_equal(request.value.length, 0);
    assert_int_equal(parse_text("SET key", &request), KV_USAGE);
}

/* Only the space parts words; CR, tabs and other controls belong to them. */
static void protocol_parse_parts_words_at_spaces_alone(void **state)
{
    static const struct line_case cases[] = {
        {"SET a\tb c\td", VERB_SET, "a\tb", "c\td"},
        {"GET a\rb", VERB_GET, "a\rb", ""},
        {"SET k v\r", VERB_SET, "k", "v\r"},
        {"GET y\xc2\xa0z", VERB_GET, "y\xc2\xa0z", ""},
        {"GET GET", VERB_GET, "GET", ""},
        {"SET SET SET", VERB_SET, "SET", "SET"},
        {"SET \x1b[2J \x7f", VERB_SET, "\x1b[2J", "\x7f"},
        {"KEYS \xd0\xba", VERB_KEYS, "\xd0\xba", ""},
    };
    (void)state;
    check_good_lines(cases, sizeof cases / sizeof *cases);
}

/* Their bytes are those of the line: nothing is copied. */
static void protocol_parse_points_into_the_line(void **state)
{
    (void)state;
    struct request request;
    struct slice line = guarded_place(&page, SLICE_LITERAL("SET key value"));
    assert_int_equal(protocol_parse(line, VALUE_LIMIT, &request), KV_OK);
    assert_ptr_equal(request.key.bytes, line.bytes + 4);
    assert_ptr_equal(request.value.bytes, line.bytes + 8);
}

static void protocol_parse_refuses_wrong_words_with_the_usage(void **state)
{
    static const struct {
        const char *line;
        enum verb verb;
    } cases[] = {
        {"SET", VERB_SET},
        {"SET ", VERB_SET},
        {"SET key", VERB_SET},
        {"SET  key value", VERB_SET},
        {"SET  ", VERB_SET},
        {"set", VERB_SET},
        {"GET", VERB_GET},
        {"GET ", VERB_GET},
        {"GET  ", VERB_GET},
        {"GET  key", VERB_GET},
        {"GET key extra", VERB_GET},
        {"GET / HTTP/1.1", VERB_GET},
        {"DELETE", VERB_DELETE},
        {"DELETE ", VERB_DELETE},
        {"DELETE  key", VERB_DELETE},
        {"DELETE key extra", VERB_DELETE},
        {"EXISTS", VERB_EXISTS},
        {"EXISTS ", VERB_EXISTS},
        {"EXISTS a b", VERB_EXISTS},
        {"ADD key", VERB_ADD},
        {"ADD  key value", VERB_ADD},
        {"INCR", VERB_INCR},
        {"INCR ", VERB_INCR},
        {"INCR key 1 2", VERB_INCR},
        {"INCR key  1", VERB_INCR},
        {"LIST a b", VERB_LIST},
        {"KEYS a b", VERB_KEYS},
        {"KEYS  a", VERB_KEYS},
        {"COUNT x", VERB_COUNT},
        {"STATS x", VERB_STATS},
        {"SYNC now", VERB_SYNC},
        {"COMPACT now", VERB_COMPACT},
        {"HELP me", VERB_HELP},
        {"QUIT now", VERB_QUIT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct request request;
        enum status status = parse_text(cases[i].line, &request);
        if (status != KV_USAGE || request.verb != cases[i].verb) {
            fail_msg("`%s`: status %d, verb %d", cases[i].line, (int)status,
                     (int)request.verb);
        }
    }
}

static void protocol_parse_reads_what_incr_adds(void **state)
{
    static const struct {
        const char *line;
        enum status status;
        int64_t number;
    } cases[] = {
        {"INCR k", KV_OK, 1},
        {"INCR k 0", KV_OK, 0},
        {"INCR k 41", KV_OK, 41},
        {"INCR k -7", KV_OK, -7},
        {"INCR k 9223372036854775807", KV_OK, INT64_MAX},
        {"INCR k -9223372036854775808", KV_OK, INT64_MIN},
        {"INCR k 9223372036854775808", KV_NOT_A_NUMBER, 0},
        {"INCR k -9223372036854775809", KV_NOT_A_NUMBER, 0},
        {"INCR k 18446744073709551617", KV_NOT_A_NUMBER, 0},
        {"INCR k ", KV_NOT_A_NUMBER, 0},
        {"INCR k -", KV_NOT_A_NUMBER, 0},
        {"INCR k +1", KV_NOT_A_NUMBER, 0},
        {"INCR k 01", KV_NOT_A_NUMBER, 0},
        {"INCR k -0", KV_NOT_A_NUMBER, 0},
        {"INCR k 1x", KV_NOT_A_NUMBER, 0},
        {"INCR k 1.5", KV_NOT_A_NUMBER, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct request request;
        assert_int_equal(parse_text(cases[i].line, &request), cases[i].status);
        assert_int_equal(request.verb, VERB_INCR);
        assert_true(cases[i].status != KV_OK || request.number == cases[i].number);
    }
}

static void protocol_parse_refuses_unknown_commands(void **state)
{
    static const char *const lines[] = {
        "S",
        "SE",
        "SETT key value",
        "SETkey value",
        "GETS key",
        "GE key",
        " GET key",
        " ",
        "  ",
        "\t",
        "GET\tkey",
        "PUT a b",
        "get_key",
        "DEL key",
        "EXIST key",
        "KEY",
        "KEYS2",
        "COUNTS",
        "QUIT\r",
        "\"GET\" k",
        "SET\xc2\xa0k v",
        "G\xc3\x8bT k",
        "?",
        "*1",
        "PING",
        "[ET key",
        "{ET key",
        "SET\x1fk v",
        "\x07",
        "GET@",
        "3ET k v",
        "\023ET k v",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct request request;
        enum status status = parse_text(lines[i], &request);
        if (status != KV_UNKNOWN_COMMAND || request.verb != VERB_NONE) {
            fail_msg("`%s`: status %d, verb %d", lines[i], (int)status,
                     (int)request.verb);
        }
        assert_int_equal(request.key.length, 0);
        assert_int_equal(request.value.length, 0);
    }
}

static void protocol_parse_refuses_an_empty_line(void **state)
{
    (void)state;
    struct request request;
    assert_int_equal(parse_text("", &request), KV_EMPTY_LINE);
    assert_int_equal(request.verb, VERB_NONE);
    request.verb = VERB_SET;
    assert_int_equal(protocol_parse((struct slice){NULL, 0}, 0, &request), KV_EMPTY_LINE);
    assert_int_equal(request.verb, VERB_NONE);
}

/* A NUL would end a record's text, or be a tombstone. */
static void protocol_parse_refuses_a_nul_at_every_place(void **state)
{
    static const char *const lines[] = {"SET key value", "GET key", "KEYS", "QUIT",
                                        "nonsense in several words"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        size_t length = strlen(lines[i]);
        for (size_t at = 0; at <= length; at++) {
            uint8_t line[64];
            struct request request;
            memcpy(line, lines[i], length + 1);
            line[at] = 0; /* the last time: one more byte */
            struct slice slice = {line, at == length ? length + 1 : length};
            assert_int_equal(parse(slice, &request), KV_NUL_BYTE);
        }
    }
}

static void protocol_parse_refuses_what_is_not_utf8_at_every_place(void **state)
{
    static const char *const lines[] = {"SET key value", "GET key", "QUIT", "nonsense"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        size_t length = strlen(lines[i]);
        for (size_t at = 0; at < length; at++) {
            uint8_t line[64];
            struct request request;
            memcpy(line, lines[i], length);
            line[at] = 0xff;
            assert_int_equal(parse((struct slice){line, length}, &request), KV_NOT_UTF8);
        }
    }
    struct request request;
    assert_int_equal(parse_text("SET key \xe2\x82", &request), KV_NOT_UTF8);
    assert_int_equal(parse_text("SET key \xed\xa0\x80", &request), KV_NOT_UTF8);
    assert_int_equal(parse_text("GET \xc0\x80", &request), KV_NOT_UTF8);
    assert_int_equal(parse_text("GET \xd0\xba", &request), KV_OK);
    assert_int_equal(parse_text("SET key \xf4\x8f\xbf\xbf", &request), KV_OK);
}

/* The words of a line that is cut are half a character if the space is in between. */
static void protocol_parse_refuses_a_character_cut_by_a_space(void **state)
{
    (void)state;
    struct request request;
    assert_int_equal(parse_text("SET \xd0 \xba", &request), KV_NOT_UTF8);
    assert_int_equal(parse_text("SET key \xd0 \xba", &request), KV_NOT_UTF8);
}

static void protocol_parse_tells_the_first_refusal_that_applies(void **state)
{
    static const struct {
        const char *line;
        size_t length;
        enum status status;
        enum verb verb;
    } cases[] = {
        {"\xff\0", 2, KV_NUL_BYTE, VERB_NONE},
        {"GET \xff\0", 6, KV_NUL_BYTE, VERB_GET},
        {"nonsense \xff", 10, KV_NOT_UTF8, VERB_NONE},
        {"GET \xff extra", 11, KV_NOT_UTF8, VERB_GET},
        {"SET \xff", 5, KV_NOT_UTF8, VERB_SET},
        {"DELETE \0", 8, KV_NUL_BYTE, VERB_DELETE},
        {"QUIT \xff", 6, KV_NOT_UTF8, VERB_QUIT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct request request;
        struct slice line = {(const uint8_t *)cases[i].line, cases[i].length};
        assert_int_equal(parse(line, &request), cases[i].status);
        assert_int_equal(request.verb, cases[i].verb);
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

static void protocol_parse_takes_keys_up_to_their_limit(void **state)
{
    static const struct {
        const char *before;
        const char *after;
        enum verb verb;
    } cases[] = {
        {"SET ", " value", VERB_SET}, {"SET ", " ", VERB_SET},
        {"GET ", "", VERB_GET},       {"DELETE ", "", VERB_DELETE},
        {"EXISTS ", "", VERB_EXISTS}, {"KEYS ", "", VERB_KEYS},
        {"ADD ", " value", VERB_ADD}, {"LIST ", "", VERB_LIST},
        {"INCR ", "", VERB_INCR},     {"INCR ", " -12", VERB_INCR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct request request;
        struct slice line = long_line(cases[i].before, 65535, cases[i].after);
        assert_int_equal(parse(line, &request), KV_OK);
        assert_int_equal(request.verb, cases[i].verb);
        assert_int_equal(request.key.length, 65535);
        line = long_line(cases[i].before, 65536, cases[i].after);
        assert_int_equal(parse(line, &request), KV_KEY_TOO_LONG);
        assert_int_equal(request.verb, cases[i].verb);
        line = long_line(cases[i].before, 1, cases[i].after);
        assert_int_equal(parse(line, &request), KV_OK);
        assert_int_equal(request.key.length, 1);
    }
}

/* The limit counts bytes, not characters. */
static void protocol_parse_counts_the_bytes_of_a_key(void **state)
{
    (void)state;
    struct request request;
    struct slice line = long_line("GET \xd0\xba", 65533, "");
    assert_int_equal(parse(line, &request), KV_OK);
    line = long_line("GET \xd0\xba", 65534, "");
    assert_int_equal(parse(line, &request), KV_KEY_TOO_LONG);
}

static void protocol_parse_takes_values_up_to_the_limit_given(void **state)
{
    static const uint64_t limits[] = {0, 1, 2, 100, 65536};
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
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

static void protocol_parse_tells_a_long_key_before_a_long_value(void **state)
{
    (void)state;
    struct request request;
    struct slice line = guarded_place(&page, long_line("SET ", 65536, " value"));
    assert_int_equal(protocol_parse(line, 1, &request), KV_KEY_TOO_LONG);
}

/* A line beyond the limit is refused unread, so no good request may be that long. */
static void protocol_line_bytes_max_is_the_longest_set(void **state)
{
    (void)state;
    assert_true(protocol_line_bytes_max(100) == 4 + 65535 + 1 + 100);
    assert_true(protocol_line_bytes_max(VALUE_BYTES_MAX) ==
                UINT64_C(4) + 65535 + 1 + UINT64_C(4294967295));
    struct request request;
    struct slice line = long_line("SET ", 65535, " 1234567890");
    assert_true(line.length == protocol_line_bytes_max(10));
    line = guarded_place(&page, line);
    assert_int_equal(protocol_parse(line, 10, &request), KV_OK);
    assert_int_equal(protocol_parse(line, 9, &request), KV_VALUE_TOO_LONG);
}

static void protocol_line_bytes_max_has_room_for_the_longest_key(void **state)
{
    static const char *const commands[] = {"GET ", "DELETE ", "EXISTS ", "KEYS "};
    (void)state;
    for (uint64_t limit = 0; limit <= 3; limit++) {
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
            struct slice line = long_line(commands[i], 65535, "");
            if (line.length > protocol_line_bytes_max(limit)) {
                fail_msg("%s with the longest key, values up to %llu", commands[i],
                         (unsigned long long)limit);
            }
        }
    }
}

static void protocol_is_write_only_for_commands_that_change_the_store(void **state)
{
    (void)state;
    for (int verb = 0; verb <= VERB_NONE; verb++) {
        bool is_write = verb == VERB_SET || verb == VERB_DELETE || verb == VERB_ADD ||
                        verb == VERB_INCR;
        assert_int_equal(protocol_is_write((enum verb)verb), is_write);
    }
}

static void protocol_is_hangup_for_web_pages_and_telnet(void **state)
{
    static const struct {
        const char *line;
        bool is_hangup;
    } cases[] = {
        {"POST ", true},
        {"POST / HTTP/1.1", true},
        {"post / HTTP/1.1", true},
        {"pOsT x", true},
        {"Host:", true},
        {"Host: 127.0.0.1:7878", true},
        {"host:x", true},
        {"HOST: x", true},
        {"hOsT:", true},
        {"\xff\xf4", true},
        {"\xff\xf4\xff\xfd\x06", true},
        {"", false},
        {"P", false},
        {"POST", false},
        {"POST\t/", false},
        {"POSTS x", false},
        {" POST /", false},
        {"Host", false},
        {"Host ", false},
        {"Hosts:", false},
        {"GET /", false},
        {"SET POST value", false},
        {"SET Host: value", false},
        {"GET Host:", false},
        {"\xff", false},
        {"\xff\xf5", false},
        {"\xfe\xf4", false},
        {"x\xff\xf4", false},
        {"\xf4\xff", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice line = guarded_place(&page, slice_of_text(cases[i].line));
        if (protocol_is_hangup(line) != cases[i].is_hangup) {
            fail_msg("`%s`", cases[i].line);
        }
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
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int verb = 0; verb <= VERB_NONE; verb++) {
            check_status(cases[i].status, (enum verb)verb, cases[i].reply);
        }
    }
}

/* Each command with its arguments, as the manual gives them. */
static const struct {
    enum verb verb;
    const char *usage;
} usages[] = {
    {VERB_SET, "SET key value"},
    {VERB_GET, "GET key"},
    {VERB_DELETE, "DELETE key"},
    {VERB_ADD, "ADD key value"},
    {VERB_INCR, "INCR key [number]"},
    {VERB_EXISTS, "EXISTS key"},
    {VERB_KEYS, "KEYS [prefix]"},
    {VERB_LIST, "LIST [prefix]"},
    {VERB_COUNT, "COUNT"},
    {VERB_STATS, "STATS"},
    {VERB_SYNC, "SYNC"},
    {VERB_COMPACT, "COMPACT"},
    {VERB_HELP, "HELP [command]"},
    {VERB_QUIT, "QUIT"},
};

enum { USAGE_COUNT = sizeof usages / sizeof *usages };

static void protocol_put_status_gives_the_usage_of_each_command(void **state)
{
    (void)state;
    assert_int_equal(USAGE_COUNT, VERB_NONE); /* a new command needs its line above */
    for (size_t i = 0; i < USAGE_COUNT; i++) {
        char expected[REPLY_LINE_BYTES_MAX];
        (void)snprintf(expected, sizeof expected, "error: usage: %s\n", usages[i].usage);
        check_status(KV_USAGE, usages[i].verb, expected);
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
    assert_int_equal(buffer_reserve(&replies, 4 * REPLY_LINE_BYTES_MAX), KV_OK);
    protocol_put_status(&replies, KV_OK, VERB_SET);
    protocol_put_number(&replies, 17);
    protocol_put_stat(&replies, "keys", 18);
    protocol_put_status(&replies, KV_USAGE, VERB_GET);
    check_slice(buffer_slice(&replies), "success\n17\nkeys 18\nerror: usage: GET key\n");
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
    for (size_t i = 0; i < USAGE_COUNT; i++) {
        const char *end = strchr(line, '\n');
        size_t length = strlen(usages[i].usage);
        assert_non_null(end);
        assert_memory_equal(line, usages[i].usage, length);
        assert_int_equal(line[length], ' ');
        assert_in_range(end - line, length + 2, 80); /* words follow, for a terminal */
        assert_int_not_equal(end[-1], ' ');
        line = end + 1;
    }
    assert_string_equal(line, "\n");
    buffer_free(&replies);
}

static void protocol_put_number_writes_decimal_digits(void **state)
{
    static const struct {
        uint64_t number;
        const char *line;
    } cases[] = {
        {0, "0\n"},
        {1, "1\n"},
        {9, "9\n"},
        {10, "10\n"},
        {UINT32_MAX, "4294967295\n"},
        {INT64_MAX, "9223372036854775807\n"},
        {UINT64_MAX, "18446744073709551615\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer replies = {0};
        assert_int_equal(buffer_reserve(&replies, REPLY_LINE_BYTES_MAX), KV_OK);
        protocol_put_number(&replies, cases[i].number);
        check_slice(buffer_slice(&replies), cases[i].line);
        buffer_free(&replies);
    }
}

static void protocol_put_stat_writes_a_name_and_a_value(void **state)
{
    (void)state;
    struct buffer replies = {0};
    assert_int_equal(buffer_reserve(&replies, 4 * REPLY_LINE_BYTES_MAX), KV_OK);
    protocol_put_stat(&replies, "log_bytes", UINT64_MAX);
    protocol_put_stat(&replies, "keys", 0);
    protocol_put_stat_text(&replies, "sync", "everysec");
    check_slice(buffer_slice(&replies),
                "log_bytes 18446744073709551615\nkeys 0\nsync everysec\n");
    buffer_free(&replies);
}

/* Whatever the bytes, a request that is taken is one that the store can hold. */
static void protocol_parse_of_random_bytes_keeps_its_promises(void **state)
{
    static const char *const words[] = {
        "SET",      "get",  "DELETE", "KEYS", " ",    " ",      " ",    "key", "v",
        "\xd0\xba", "\xff", "QUIT",   "\t",   "\xd0", "Exists", "INCR", "add", "-1"};
    enum { ROUNDS = 50000 };
    (void)state;
    struct dice dice;
    dice_begin(&dice);
    size_t taken = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint8_t line[64];
        size_t length = 0;
        for (uint64_t i = dice_below(&dice, 7); i > 0; i--) {
            const char *word = words[dice_below(&dice, sizeof words / sizeof *words)];
            memcpy(line + length, word, strlen(word));
            length += strlen(word);
        }
        if (length > 0 && dice_below(&dice, 4) == 0) {
            line[dice_below(&dice, length)] = (uint8_t)dice_next(&dice);
        }
        struct request request;
        enum status status = parse((struct slice){line, length}, &request);
        assert_true(status == KV_OK ||
                    (status >= KV_UNKNOWN_COMMAND && status <= KV_NUL_BYTE) ||
                    status == KV_NOT_A_NUMBER);
        assert_int_equal(status == KV_EMPTY_LINE, length == 0);
        assert_in_range(request.verb, 0, VERB_NONE);
        if (status != KV_OK) {
            continue;
        }
        taken++;
        assert_true(request.verb != VERB_NONE);
        bool has_key = request.key.length > 0;
        assert_true(has_key || request.verb >= VERB_KEYS);
        assert_true(!has_key ||
                    memchr(request.key.bytes, ' ', request.key.length) == NULL);
        assert_true(request.verb == VERB_SET || request.verb == VERB_ADD ||
                    request.value.length == 0);
    }
    assert_in_range(taken, ROUNDS / 100, ROUNDS);
}

static void protocol_tells_which_commands_have_a_key(void **state)
{
    (void)state;
    for (int verb = 0; verb <= VERB_NONE; verb++) {
        bool has_key = verb < VERB_KEYS;
        assert_int_equal(protocol_has_key((enum verb)verb), has_key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocol_tells_which_commands_have_a_key),
        cmocka_unit_test(protocol_parse_knows_every_command),
        cmocka_unit_test(protocol_parse_matches_commands_in_any_case),
        cmocka_unit_test(protocol_parse_keeps_spaces_of_a_value),
        cmocka_unit_test(protocol_parse_takes_an_empty_value),
        cmocka_unit_test(protocol_parse_parts_words_at_spaces_alone),
        cmocka_unit_test(protocol_parse_points_into_the_line),
        cmocka_unit_test(protocol_parse_refuses_wrong_words_with_the_usage),
        cmocka_unit_test(protocol_parse_reads_what_incr_adds),
        cmocka_unit_test(protocol_parse_refuses_unknown_commands),
        cmocka_unit_test(protocol_parse_refuses_an_empty_line),
        cmocka_unit_test(protocol_parse_refuses_a_nul_at_every_place),
        cmocka_unit_test(protocol_parse_refuses_what_is_not_utf8_at_every_place),
        cmocka_unit_test(protocol_parse_refuses_a_character_cut_by_a_space),
        cmocka_unit_test(protocol_parse_tells_the_first_refusal_that_applies),
        cmocka_unit_test(protocol_parse_takes_keys_up_to_their_limit),
        cmocka_unit_test(protocol_parse_counts_the_bytes_of_a_key),
        cmocka_unit_test(protocol_parse_takes_values_up_to_the_limit_given),
        cmocka_unit_test(protocol_parse_tells_a_long_key_before_a_long_value),
        cmocka_unit_test(protocol_line_bytes_max_is_the_longest_set),
        cmocka_unit_test(protocol_line_bytes_max_has_room_for_the_longest_key),
        cmocka_unit_test(protocol_is_write_only_for_commands_that_change_the_store),
        cmocka_unit_test(protocol_is_hangup_for_web_pages_and_telnet),
        cmocka_unit_test(protocol_put_status_gives_the_reply_of_each_outcome),
        cmocka_unit_test(protocol_put_status_gives_the_usage_of_each_command),
        cmocka_unit_test(protocol_put_status_refuses_the_usage_of_no_command),
        cmocka_unit_test(protocol_put_appends_to_earlier_replies),
        cmocka_unit_test(protocol_put_help_gives_a_line_per_command_and_an_empty_one),
        cmocka_unit_test(protocol_put_number_writes_decimal_digits),
        cmocka_unit_test(protocol_put_stat_writes_a_name_and_a_value),
        cmocka_unit_test(protocol_parse_of_random_bytes_keeps_its_promises),
    };
    return cmocka_run_group_tests(tests, page_begin, page_end);
}
