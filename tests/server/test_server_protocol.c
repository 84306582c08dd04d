/*
 * The protocol as a client of the running program sees it: which bytes get which
 * reply, what is stored by it, and what a refusal leaves alone.
 */
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

enum { KEY_BYTES_LIMIT = 65535 };

/* In this order on one store; the last leaves it empty. */
static const struct exchange exchanges[] = {
    {BYTES("GET nothing\n"), BYTES("no value stored\n")},
    {BYTES("COUNT\n"), BYTES("0\n")},
    {BYTES("KEYS\n"), BYTES("\n")},
    {BYTES("SET one first\n"), BYTES("success\n")},
    {BYTES("GET one\n"), BYTES("first\n")},
    {BYTES("EXISTS one\n"), BYTES("1\n")},
    {BYTES("EXISTS One\n"), BYTES("0\n")},
    {BYTES("KEYS\n"), BYTES("one\n\n")},
    {BYTES("KEYS on\n"), BYTES("one\n\n")},
    {BYTES("KEYS one\n"), BYTES("one\n\n")},
    {BYTES("KEYS ones\n"), BYTES("\n")},
    {BYTES("COUNT\n"), BYTES("1\n")},
    {BYTES("SYNC\n"), BYTES("success\n")},
    {BYTES("SET one second value\n"), BYTES("success\n")},
    {BYTES("GET one\n"), BYTES("second value\n")},
    {BYTES("COUNT\n"), BYTES("1\n")},
    /* Command words in any case. */
    {BYTES("set one third\n"), BYTES("success\n")},
    {BYTES("gEt one\n"), BYTES("third\n")},
    {BYTES("Exists one\n"), BYTES("1\n")},
    {BYTES("kEYS o\n"), BYTES("one\n\n")},
    {BYTES("counT\n"), BYTES("1\n")},
    {BYTES("sync\n"), BYTES("success\n")},
    {BYTES("delete one\n"), BYTES("success\n")},
    {BYTES("GET one\n"), BYTES("no value stored\n")},
    {BYTES("DELETE one\n"), BYTES("success\n")},
    /* Spaces belong to the value, all but the one behind the key. */
    {BYTES("SET s  two  spaces \n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES(" two  spaces \n")},
    {BYTES("SET s  \n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES(" \n")},
    {BYTES("SET s \n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES("\n")},
    {BYTES("EXISTS s\n"), BYTES("1\n")},
    {BYTES("SET s a\tb\n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES("a\tb\n")},
    /* One CR before LF is no part of the line; any other is. */
    {BYTES("SET s x\r\n"), BYTES("success\n")},
    {BYTES("GET s\r\n"), BYTES("x\n")},
    {BYTES("SET s x\r\r\n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES("x\r\n")},
    {BYTES("SET s \r\n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES("\n")},
    {BYTES("SET s \rx\r \n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES("\rx\r \n")},
    {BYTES("GET s\r\r\n"), BYTES("no value stored\n")},
    {BYTES("COUNT\r\n"), BYTES("1\n")},
    {BYTES("COUNT\r\r\n"), BYTES("error: unknown command\n")},
    {BYTES("DELETE s\r\n"), BYTES("success\n")},
    /* Usage, once for each command. */
    {BYTES("SET\n"), BYTES("error: usage: SET key value\n")},
    {BYTES("SET \n"), BYTES("error: usage: SET key value\n")},
    {BYTES("SET k\n"), BYTES("error: usage: SET key value\n")},
    {BYTES("SET k\r\n"), BYTES("error: usage: SET key value\n")},
    {BYTES("SET  k v\n"), BYTES("error: usage: SET key value\n")},
    {BYTES("SET  \n"), BYTES("error: usage: SET key value\n")},
    {BYTES("GET\n"), BYTES("error: usage: GET key\n")},
    {BYTES("GET \n"), BYTES("error: usage: GET key\n")},
    {BYTES("GET  k\n"), BYTES("error: usage: GET key\n")},
    {BYTES("GET k \n"), BYTES("no value stored\n")},
    {BYTES("GET k k\n"), BYTES("error: usage: GET key\n")},
    {BYTES("DELETE\n"), BYTES("error: usage: DELETE key\n")},
    {BYTES("DELETE \n"), BYTES("error: usage: DELETE key\n")},
    {BYTES("DELETE  k\n"), BYTES("error: usage: DELETE key\n")},
    {BYTES("DELETE k k\n"), BYTES("error: usage: DELETE key\n")},
    {BYTES("EXISTS\n"), BYTES("error: usage: EXISTS key\n")},
    {BYTES("EXISTS k k\n"), BYTES("error: usage: EXISTS key\n")},
    {BYTES("KEYS a b\n"), BYTES("error: usage: KEYS [prefix]\n")},
    {BYTES("COUNT k\n"), BYTES("error: usage: COUNT\n")},
    {BYTES("STATS k\n"), BYTES("error: usage: STATS\n")},
    {BYTES("SYNC now\n"), BYTES("error: usage: SYNC\n")},
    {BYTES("HELP me\n"), BYTES("error: usage: HELP [command]\n")},
    {BYTES("help get \n"),
     BYTES("GET key            the value, or: no value stored\n\n")},
    {BYTES("COUNT  \n"), BYTES("0\n")},
    {BYTES("KEYS zz \n"), BYTES("\n")},
    {BYTES("QUIT now\n"), BYTES("error: usage: QUIT\n")},
    /* Words that are no commands. */
    {BYTES("BOGUS\n"), BYTES("error: unknown command\n")},
    {BYTES("GE k\n"), BYTES("error: unknown command\n")},
    {BYTES("GETS k\n"), BYTES("error: unknown command\n")},
    {BYTES("GET\tk\n"), BYTES("error: unknown command\n")},
    {BYTES(" GET k\n"), BYTES("error: unknown command\n")},
    {BYTES(" \n"), BYTES("error: unknown command\n")},
    {BYTES("POST\n"), BYTES("error: unknown command\n")},
    {BYTES("POSTS /\n"), BYTES("error: unknown command\n")},
    {BYTES("Host\n"), BYTES("error: unknown command\n")},
    {BYTES("*1\n"), BYTES("error: unknown command\n")},
    {BYTES("\xc3\xa9\n"), BYTES("error: unknown command\n")},
    {BYTES("\n"), BYTES("error: empty line\n")},
    {BYTES("\r\n"), BYTES("error: empty line\n")},
    {BYTES("\r\r\n"), BYTES("error: unknown command\n")},
    {BYTES("SET k a\0b\n"), BYTES("error: NUL byte\n")},
    {BYTES("SET k \xff\n"), BYTES("error: not UTF-8\n")},
    {BYTES("\xff\n"), BYTES("error: not UTF-8\n")},
    {BYTES("COUNT\n"), BYTES("0\n")},
};

enum { EXCHANGE_COUNT = sizeof exchanges / sizeof exchanges[0] };

static void f20_each_request_has_its_exact_reply(void **state)
{
    struct client client = scene_client(*state);
    for (size_t i = 0; i < EXCHANGE_COUNT; i++) {
        client_exchange(&client, exchanges[i].request, exchanges[i].reply);
    }
    client_finish(&client, SLICE_LITERAL(""));
}

/* Errors among them: the neighbours of a bad command are none the worse. */
static void f90_a_pipeline_gets_the_replies_of_its_lines_in_order(void **state)
{
    struct script requests = {0};
    struct script replies = {0};
    for (size_t i = 0; i < EXCHANGE_COUNT; i++) {
        script_add(&requests, exchanges[i].request);
        script_add(&replies, exchanges[i].reply);
    }
    scene_talk_scripts(*state, &requests, &replies);
}

static bool is_refused(const struct exchange *exchange)
{
    return slice_starts_with(exchange->reply, (struct slice)BYTES("error: "));
}

static void assert_log_equals(const struct scene *scene, const struct script *expected)
{
    struct script log = {0};
    script_add_file(&log, scene->log.path);
    assert_true(slice_equal(script_slice(&log), script_slice(expected)));
    script_free(&log);
}

/* Nothing was ever written, so that no seal is due either: not one byte may differ. */
static void f20_reads_and_refused_lines_leave_the_log_as_it_is(void **state)
{
    struct scene *scene = *state;
    struct script before = {0};
    script_add_file(&before, scene->log.path);
    struct client client = scene_client(scene);
    for (size_t i = 0; i < EXCHANGE_COUNT; i++) {
        if (is_refused(&exchanges[i])) {
            client_exchange(&client, exchanges[i].request, exchanges[i].reply);
        }
    }
    client_exchange(&client,
                    SLICE_LITERAL("GET k\nEXISTS k\nKEYS\nCOUNT\nSYNC\nDELETE k\n"),
                    SLICE_LITERAL("no value stored\n0\n\n0\nsuccess\nsuccess\n"));
    client_close(&client);
    assert_log_equals(scene, &before);
    script_free(&before);
}

static void f27_deleting_a_missing_key_appends_no_record(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene, "SET here 1\nSET gone 2\nDELETE gone\n",
                    "success\nsuccess\nsuccess\n");
    assert_int_equal(scene_log_record_count(scene), 3);
    scene_talk_text(scene, "DELETE gone\nDELETE never\nDELETE gone\n",
                    "success\nsuccess\nsuccess\n");
    assert_int_equal(scene_log_record_count(scene), 3);
    scene_talk_text(scene, "DELETE here\nDELETE here\n", "success\nsuccess\n");
    assert_int_equal(scene_log_record_count(scene), 4);
}

/* Adds "SET key value" with one byte replaced, and a GET that shows what it stored. */
static void add_replaced(struct script *requests, struct script *replies, size_t at,
                         int byte)
{
    char line[] = "SET key value";
    line[at] = (char)byte;
    struct slice text = {(const uint8_t *)line, sizeof line - 1};
    script_add(requests, text);
    script_add_text(requests, "\n");
    if (byte == 0 || byte >= 0x80) {
        script_add_text(replies, byte == 0 ? "error: NUL byte\n" : "error: not UTF-8\n");
        return;
    }
    if (at == 4 && byte == ' ') {
        script_add_text(replies, "error: usage: SET key value\n");
        return;
    }
    script_add_text(replies, "success\n");
    if (at < 7 && (byte == ' ' || byte == '\r')) {
        return; /* the key ends sooner, or cannot end its own line */
    }
    script_add_text(requests, "GET ");
    script_add(requests, slice_first(slice_after(text, 4), 3));
    script_add_text(requests, "\n");
    bool is_dropped = byte == '\r' && at == text.length - 1;
    script_add(replies, slice_first(slice_after(text, 8), is_dropped ? 4 : 5));
    script_add_text(replies, "\n");
}

/* LF ends a line wherever it stands, so it is left to the tests of splits. */
static void f22_every_byte_at_any_place_of_a_line_is_kept_or_refused(void **state)
{
    struct script requests = {0};
    struct script replies = {0};
    for (size_t at = 4; at < 13; at++) {
        for (int byte = 0; byte < 256; byte++) {
            if (byte != '\n' && at != 7) {
                add_replaced(&requests, &replies, at, byte);
            }
        }
    }
    scene_talk_scripts(*state, &requests, &replies);
}

static void f22_nul_is_refused_at_every_place_of_every_command(void **state)
{
    static const char *const lines[] = {"SET key value\n", "GET key\n",   "DELETE key\n",
                                        "EXISTS key\n",    "KEYS pref\n", "COUNT\n"};
    struct script requests = {0};
    struct script replies = {0};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        for (size_t at = 0; lines[i][at] != '\n'; at++) {
            size_t start = requests.length;
            script_add_text(&requests, lines[i]);
            requests.bytes[start + at] = 0;
            script_add_text(&replies, "error: NUL byte\n");
        }
    }
    script_add_text(&requests, "COUNT\n");
    script_add_text(&replies, "0\n");
    scene_talk_scripts(*state, &requests, &replies);
}

/* A value of one NUL is how the log says "deleted": a client must not be able to. */
static void f22_a_forged_tombstone_does_not_delete(void **state)
{
    struct scene *scene = *state;
    scene_talk(scene, SLICE_LITERAL("SET k kept\nSET k \0\nGET k\n"),
               SLICE_LITERAL("success\nerror: NUL byte\nkept\n"));
    scene_restart(scene);
    scene_talk_text(scene, "GET k\n", "kept\n");
}

static const char *const malformed[] = {
    "\x80",                     /* a continuation byte alone */
    "\xbf",                     /* the last of those */
    "\xc3",                     /* two bytes, one missing */
    "\xe2\x82",                 /* three bytes, one missing */
    "\xf0\x9f\x98",             /* four bytes, one missing */
    "\xc3(",                    /* second byte is no continuation */
    "\xe2(\xa1",                /* likewise */
    "\xe2\x82(",                /* third byte is none */
    "\xf0\x9f\x98(",            /* fourth byte is none */
    "\xc0\xaf",                 /* overlong '/' in two bytes */
    "\xc1\xbf",                 /* overlong, two bytes */
    "\xe0\x80\xaf",             /* overlong, three bytes */
    "\xe0\x9f\xbf",             /* the last overlong of three bytes */
    "\xf0\x80\x80\xaf",         /* overlong, four bytes */
    "\xf0\x8f\xbf\xbf",         /* the last overlong of four bytes */
    "\xc0\x80",                 /* overlong NUL */
    "\xed\xa0\x80",             /* the first surrogate */
    "\xed\xbf\xbf",             /* the last surrogate */
    "\xf4\x90\x80\x80",         /* beyond U+10FFFF */
    "\xf5\x80\x80\x80",         /* a lead byte beyond that */
    "\xf8\x88\x80\x80\x80",     /* five bytes */
    "\xfc\x84\x80\x80\x80\x80", /* six bytes */
    "\xfe",
    "\xff",
};

static const char *const well_formed[] = {
    "\x01",         "\x7f",         "\xc2\x80",         "\xdf\xbf",
    "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",     "\xef\xbf\xbf",
    "\xef\xbb\xbf", "\xe2\x82\xac", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
};

/* The texts around the sequence put it at the start, in the middle, at the end. */
static void f24_malformed_utf8_is_refused_wherever_it_stands(void **state)
{
    static const char *const forms[] = {
        "SET k %s\n",   "SET k a%s\n",        "SET k %sz\n", "SET k abcdefgh%sijklmnop\n",
        "SET %s v\n",   "SET a%sz v\n",       "GET %s\n",    "GET a%s\n",
        "DELETE %sz\n", "EXISTS abcdefg%s\n", "KEYS %s\n",   "%s\n",
        "%s SET k v\n",
    };
    struct script requests = {0};
    struct script replies = {0};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        for (size_t form = 0; form < sizeof forms / sizeof forms[0]; form++) {
            const char *gap = strstr(forms[form], "%s");
            script_add(&requests, (struct slice){(const uint8_t *)forms[form],
                                                 (size_t)(gap - forms[form])});
            script_add_text(&requests, malformed[i]);
            script_add_text(&requests, gap + 2);
            script_add_text(&replies, "error: not UTF-8\n");
        }
    }
    script_add_text(&requests, "COUNT\n");
    script_add_text(&replies, "0\n");
    scene_talk_scripts(*state, &requests, &replies);
}

static void f24_well_formed_utf8_is_kept_in_keys_and_values(void **state)
{
    struct script requests = {0};
    struct script replies = {0};
    for (size_t i = 0; i < sizeof well_formed / sizeof well_formed[0]; i++) {
        const char *text = well_formed[i];
        script_add_format(&requests, "SET %s %s\nGET %s\nKEYS %s\n", text, text, text,
                          text);
        script_add_format(&replies, "success\n%s\n%s\n\n", text, text);
    }
    scene_talk_scripts(*state, &requests, &replies);
}

static void f25_the_longest_key_serves_every_command(void **state)
{
    struct scene *scene = *state;
    struct script key = {0};
    script_add_fill(&key, 'k', KEY_BYTES_LIMIT);
    static const struct {
        const char *before;
        const char *after;
        const char *reply;
    } steps[] = {
        {"SET ", " v\n", "success\n"},
        {"GET ", "\r\n", "v\n"},
        {"EXISTS ", "\n", "1\n"},
        {"DELETE ", "\n", "success\n"},
        {"GET ", "\n", "no value stored\n"},
        {"SET ", " w\n", "success\n"},
    };
    struct script requests = {0};
    struct script replies = {0};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        script_add_text(&requests, steps[i].before);
        script_add(&requests, script_slice(&key));
        script_add_text(&requests, steps[i].after);
        script_add_text(&replies, steps[i].reply);
    }
    script_add_text(&requests, "KEYS kkk\n");
    script_add(&replies, script_slice(&key));
    script_add_text(&replies, "\n\n");
    scene_talk(scene, script_slice(&requests), script_slice(&replies));
    scene_restart(scene);
    requests.length = 0;
    script_add_text(&requests, "GET ");
    script_add(&requests, script_slice(&key));
    script_add_text(&requests, "\n");
    scene_talk(scene, script_slice(&requests), SLICE_LITERAL("w\n"));
    script_free(&key);
    script_free(&requests);
    script_free(&replies);
}

static void f25_a_key_one_byte_too_long_is_refused(void **state)
{
    static const char *const commands[] = {"SET ", "GET ", "DELETE ", "EXISTS "};
    struct script requests = {0};
    struct script replies = {0};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        script_add_text(&requests, commands[i]);
        script_add_fill(&requests, 'k', KEY_BYTES_LIMIT + 1);
        script_add_text(&requests, i == 0 ? " v\n" : "\n");
        script_add_text(&replies, "error: key too long\n");
    }
    script_add_text(&requests, "COUNT\n");
    script_add_text(&replies, "0\n");
    scene_talk_scripts(*state, &requests, &replies);
}

static void f25_a_value_at_the_limit_is_kept_and_one_byte_more_refused(void **state)
{
    struct scene *scene = *state;
    static const char *const options[] = {"--max-value", "1K", NULL};
    scene_start(scene, options);
    struct script requests = {0};
    struct script replies = {0};
    script_add_text(&requests, "SET v ");
    script_add_fill(&requests, 'x', 1024);
    script_add_text(&requests, "\nSET v ");
    script_add_fill(&requests, 'y', 1025);
    script_add_text(&requests, "\nSET w ");
    script_add_fill(&requests, 'z', 1024);
    script_add_text(&requests, "\r\nGET v\nGET w\nCOUNT\n");
    script_add_text(&replies, "success\nerror: value too long\nsuccess\n");
    script_add_fill_line(&replies, 'x', 1024);
    script_add_fill(&replies, 'z', 1024);
    script_add_text(&replies, "\n2\n");
    scene_talk_scripts(scene, &requests, &replies);
}

/* The longest line is a SET with the longest key and value; its CR does not count. */
static void f25_the_longest_line_is_executed_and_one_byte_more_skipped(void **state)
{
    enum { VALUE_BYTES = 1000, LINE_BYTES = 4 + KEY_BYTES_LIMIT + 1 + VALUE_BYTES };
    struct scene *scene = *state;
    static const char *const options[] = {"--max-value", "1000", NULL};
    scene_start(scene, options);
    struct script requests = {0};
    for (int i = 0; i < 2; i++) {
        script_add_text(&requests, "SET ");
        script_add_fill(&requests, 'k', KEY_BYTES_LIMIT);
        script_add_text(&requests, " ");
        script_add_fill(&requests, 'v', VALUE_BYTES);
        script_add_text(&requests, i == 0 ? "\r\n" : "\n");
    }
    script_add_fill_line(&requests, 'u', LINE_BYTES);
    script_add_fill(&requests, 'l', LINE_BYTES + 1);
    script_add_text(&requests, "\nSET k v\n");
    script_add_fill(&requests, 'l', LINE_BYTES * 3);
    script_add_text(&requests, "\r\nGET k\nCOUNT\n");
    scene_talk(scene, script_slice(&requests),
               SLICE_LITERAL("success\nsuccess\nerror: unknown command\n"
                             "error: line too long\nsuccess\n"
                             "error: line too long\nv\n2\n"));
    script_free(&requests);
}

/* One line cut in two near its end; with a CR of its own before LF, or without. */
static void add_line(struct script *line, size_t length, bool has_cr)
{
    script_add_text(line, "SET ");
    script_add_fill(line, 'k', KEY_BYTES_LIMIT);
    script_add_text(line, " ");
    script_add_fill(line, 'v', length - line->length);
    script_add_text(line, has_cr ? "\r\n" : "\n");
}

enum { LINE_BYTES_LIMIT = 4 + KEY_BYTES_LIMIT + 1 + 1000 };

static void send_cut_line(struct client *client, size_t length, size_t cut, bool has_cr)
{
    struct script line = {0};
    add_line(&line, length, has_cr);
    client_send(client, slice_first(script_slice(&line), cut));
    client_await_consumed(client);
    client_send(client, slice_after(script_slice(&line), cut));
    client_expect_text(client, length > LINE_BYTES_LIMIT ? "error: line too long\n"
                                                         : "success\n");
    client_exchange(client, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("1\n"));
    script_free(&line);
}

static void f25_where_a_line_is_cut_does_not_decide_whether_it_is_too_long(void **state)
{
    static const char *const options[] = {"--max-value", "1000", NULL};
    scene_start(*state, options);
    struct client client = scene_client(*state);
    for (size_t length = LINE_BYTES_LIMIT - 1; length <= LINE_BYTES_LIMIT + 3; length++) {
        for (size_t cut = LINE_BYTES_LIMIT - 2; cut <= length + 1; cut++) {
            send_cut_line(&client, length, cut, false);
            send_cut_line(&client, length, cut, true);
        }
    }
    client_close(&client);
}

/* Sends a line that never seems to end, then LF; the next command must be served. */
static void send_endless_line(const struct scene *scene, size_t mib)
{
    struct client client = scene_client(scene);
    struct script chunk = {0};
    script_add_text(&chunk, "SET k ");
    client_send(&client, script_slice(&chunk));
    chunk.length = 0;
    script_add_fill(&chunk, 'x', 1024 * 1024);
    for (size_t i = 0; i < mib; i++) {
        client_send(&client, script_slice(&chunk));
    }
    client_exchange(&client, SLICE_LITERAL("\nCOUNT\n"),
                    SLICE_LITERAL("error: line too long\n0\n"));
    client_close(&client);
    script_free(&chunk);
}

static void f25_skipping_a_line_takes_no_more_memory_than_a_value(void **state)
{
    struct scene *scene = *state;
    static const char *const options[] = {"--max-value", "1M", NULL};
    scene_start(scene, options);
    scene_talk_text(scene, "COUNT\n", "0\n");
    size_t before_kib = server_process_peak_kib(&scene->server);
    send_endless_line(scene, watchdog_scaled(256, 8));
    size_t after_kib = server_process_peak_kib(&scene->server);
    assert_in_range(after_kib - before_kib, 0, 8 * 1024);
}

static void f25_a_line_beyond_the_default_limit_keeps_memory_bounded(void **state)
{
    struct scene *scene = *state;
    send_endless_line(scene, watchdog_scaled(200, 66));
    assert_in_range(server_process_peak_kib(&scene->server), 0, 160 * 1024);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(f20_each_request_has_its_exact_reply),
        ON_SERVER(f90_a_pipeline_gets_the_replies_of_its_lines_in_order),
        ON_SERVER(f20_reads_and_refused_lines_leave_the_log_as_it_is),
        ON_SERVER(f27_deleting_a_missing_key_appends_no_record),
        ON_SERVER(f22_every_byte_at_any_place_of_a_line_is_kept_or_refused),
        ON_SERVER(f22_nul_is_refused_at_every_place_of_every_command),
        ON_SERVER(f22_a_forged_tombstone_does_not_delete),
        ON_SERVER(f24_malformed_utf8_is_refused_wherever_it_stands),
        ON_SERVER(f24_well_formed_utf8_is_kept_in_keys_and_values),
        ON_SERVER(f25_the_longest_key_serves_every_command),
        ON_SERVER(f25_a_key_one_byte_too_long_is_refused),
        ON_SCENE(f25_a_value_at_the_limit_is_kept_and_one_byte_more_refused),
        ON_SCENE(f25_the_longest_line_is_executed_and_one_byte_more_skipped),
        ON_SCENE(f25_where_a_line_is_cut_does_not_decide_whether_it_is_too_long),
        ON_SCENE(f25_skipping_a_line_takes_no_more_memory_than_a_value),
        ON_SERVER(f25_a_line_beyond_the_default_limit_keeps_memory_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
