/*
 * The protocol as a client of the running program sees it: a line of each kind with its
 * reply, in any pieces, and how long a line may be. What else a line may hold is told by
 * the tests of the parser.
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
    {BYTES("GET one\r\n"), BYTES("first\n")},
    {BYTES("EXISTS one\n"), BYTES("1\n")},
    {BYTES("EXISTS One\n"), BYTES("0\n")},
    {BYTES("KEYS on\n"), BYTES("one\n\n")},
    {BYTES("KEYS ones\n"), BYTES("\n")},
    {BYTES("LIST on\n"), BYTES("one first\n\n")},
    {BYTES("set one second value\n"), BYTES("success\n")},
    {BYTES("gEt one\n"), BYTES("second value\n")},
    {BYTES("ADD one third\n"), BYTES("already stored\n")},
    {BYTES("INCR one\n"), BYTES("error: not a number\n")},
    {BYTES("COUNT\r\n"), BYTES("1\n")},
    {BYTES("SYNC\n"), BYTES("success\n")},
    {BYTES("COMPACT\n"), BYTES("success\n")},
    {BYTES("delete one\n"), BYTES("success\n")},
    {BYTES("DELETE one\n"), BYTES("success\n")},
    {BYTES("INCR n 41\n"), BYTES("41\n")},
    {BYTES("INCR n\n"), BYTES("42\n")},
    {BYTES("DELETE n\n"), BYTES("success\n")},
    /* Spaces belong to the value, all but the one behind the key. */
    {BYTES("SET s  two  spaces \r\n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES(" two  spaces \n")},
    {BYTES("SET s \n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES("\n")},
    /* One CR before LF is no part of the line; any other is. */
    {BYTES("SET s \rx\r\r\n"), BYTES("success\n")},
    {BYTES("GET s\n"), BYTES("\rx\r\n")},
    {BYTES("DELETE s\r\n"), BYTES("success\n")},
    {BYTES("SET \xc3\xa9t\xc3\xa9 \xe2\x82\xac\n"), BYTES("success\n")},
    {BYTES("GET \xc3\xa9t\xc3\xa9\r\n"), BYTES("\xe2\x82\xac\n")},
    {BYTES("DELETE \xc3\xa9t\xc3\xa9\n"), BYTES("success\n")},
    /* What is refused. */
    {BYTES("SET k\n"), BYTES("error: usage: SET key value\n")},
    {BYTES("SET  k v\n"), BYTES("error: usage: SET key value\n")},
    {BYTES(" GET k\n"), BYTES("error: unknown command\n")},
    {BYTES("BOGUS\n"), BYTES("error: unknown command\n")},
    {BYTES("\n"), BYTES("error: empty line\n")},
    {BYTES("\r\n"), BYTES("error: empty line\n")},
    {BYTES("SET k a\0b\n"), BYTES("error: NUL byte\n")},
    {BYTES("SET k \xff\n"), BYTES("error: not UTF-8\n")},
    {BYTES("SET \xed\xa0\x80 v\n"), BYTES("error: not UTF-8\n")},
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

/* All at once and a byte at a time: the neighbours of a bad line are none the worse. */
static void f11_f90_lines_get_the_same_replies_in_any_pieces(void **state)
{
    struct script requests = {0};
    struct script replies = {0};
    for (size_t i = 0; i < EXCHANGE_COUNT; i++) {
        script_add(&requests, exchanges[i].request);
        script_add(&replies, exchanges[i].reply);
    }
    scene_talk(*state, script_slice(&requests), script_slice(&replies));
    struct client client = scene_client(*state);
    for (size_t i = 0; i < requests.length; i++) {
        client_send(&client, slice_first(slice_after(script_slice(&requests), i), 1));
        client_await_consumed(&client);
    }
    client_finish(&client, script_slice(&replies));
    script_free(&requests);
    script_free(&replies);
}

/* Nothing was ever written, so that no seal is due either: not one byte may differ. */
static void f20_reads_and_refused_lines_leave_the_log_as_it_is(void **state)
{
    struct scene *scene = *state;
    struct script before = {0};
    struct script after = {0};
    script_add_file(&before, scene->log.path);
    scene_talk(scene,
               SLICE_LITERAL("GET k\nEXISTS k\nKEYS\nCOUNT\nSYNC\nDELETE k\nINCR k x\n"
                             "SET k\n\nSET  k v\nSET k \0\nSET k \xff\n"),
               SLICE_LITERAL("no value stored\n0\n\n0\nsuccess\nsuccess\n"
                             "error: not a number\nerror: usage: SET key value\n"
                             "error: empty line\nerror: usage: SET key value\n"
                             "error: NUL byte\nerror: not UTF-8\n"));
    script_add_file(&after, scene->log.path);
    assert_true(slice_equal(script_slice(&after), script_slice(&before)));
    script_free(&before);
    script_free(&after);
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

/* Add a line: before, so many letters, after. */
static void add_long(struct script *script, const char *before, size_t count,
                     const char *after)
{
    script_add_text(script, before);
    script_add_fill(script, 'k', count);
    script_add_text(script, after);
}

/* The longest line is a SET with the longest key and value; its CR does not count. */
static void f25_the_longest_line_is_executed_and_one_byte_more_refused(void **state)
{
    enum { VALUE_BYTES = 1000, LINE_BYTES = 4 + KEY_BYTES_LIMIT + 1 + VALUE_BYTES };
    static const char *const options[] = {"--max-value", "1000", NULL};
    struct scene *scene = *state;
    struct script requests = {0};
    struct script value = {0};
    struct script replies = {0};
    script_add_fill(&value, 'v', VALUE_BYTES);
    for (size_t i = 0; i < 2; i++) {
        add_long(&requests, "SET ", KEY_BYTES_LIMIT, " ");
        script_add(&requests, script_slice(&value));
        script_add_text(&requests, i == 0 ? "\r\n" : "\n");
    }
    script_add_text(&requests, "SET short ");
    script_add(&requests, script_slice(&value));
    script_add_text(&requests, "v\n");
    add_long(&requests, "", LINE_BYTES, "\n");
    add_long(&requests, "", LINE_BYTES + 1, "\nSET k v\n");
    add_long(&requests, "", LINE_BYTES * 3, "\r\nGET k\n");
    add_long(&requests, "GET ", KEY_BYTES_LIMIT + 1, "\n");
    add_long(&requests, "EXISTS ", KEY_BYTES_LIMIT, "\n");
    add_long(&requests, "GET ", KEY_BYTES_LIMIT, "\r\n");
    script_add_text(&replies, "success\nsuccess\nerror: value too long\n"
                              "error: unknown command\nerror: line too long\nsuccess\n"
                              "error: line too long\nv\nerror: key too long\n1\n");
    script_add(&replies, script_slice(&value));
    script_add_text(&replies, "\n");
    scene_start(scene, options);
    scene_talk_scripts(scene, &requests, &replies);
    scene_restart(scene);
    add_long(&requests, "GET ", KEY_BYTES_LIMIT, "\nCOUNT\n");
    script_add(&replies, script_slice(&value));
    script_add_text(&replies, "\n2\n");
    scene_talk_scripts(scene, &requests, &replies);
    script_free(&value);
}

/* A line that never seems to end; the command behind it must be served. */
static void f25_skipping_a_line_takes_no_more_memory_than_a_value(void **state)
{
    static const char *const options[] = {"--max-value", "1M", NULL};
    struct scene *scene = *state;
    struct script chunk = {0};
    scene_start(scene, options);
    scene_talk_text(scene, "COUNT\n", "0\n");
    size_t before_kib = server_process_peak_kib(&scene->server);
    struct client client = scene_client(scene);
    client_send_text(&client, "SET k ");
    script_add_fill(&chunk, 'x', 1 << 20);
    for (size_t i = 0; i < watchdog_scaled(256, 8); i++) {
        client_send(&client, script_slice(&chunk));
    }
    client_exchange(&client, SLICE_LITERAL("\nCOUNT\n"),
                    SLICE_LITERAL("error: line too long\n0\n"));
    client_close(&client);
    size_t after_kib = server_process_peak_kib(&scene->server);
    assert_in_range(after_kib - before_kib, 0, 8 * 1024);
    script_free(&chunk);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(f20_each_request_has_its_exact_reply),
        ON_SERVER(f11_f90_lines_get_the_same_replies_in_any_pieces),
        ON_SERVER(f20_reads_and_refused_lines_leave_the_log_as_it_is),
        ON_SERVER(f22_a_forged_tombstone_does_not_delete),
        ON_SCENE(f25_the_longest_line_is_executed_and_one_byte_more_refused),
        ON_SCENE(f25_skipping_a_line_takes_no_more_memory_than_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
