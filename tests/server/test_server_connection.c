/*
 * One connection of the running program: how its bytes may be cut up, how it may end,
 * and what other clients notice of it.
 */
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <poll.h>

/* Ends with the store as it began, so that it can be run over and over. */
static const struct exchange exchanges[] = {
    {BYTES("SET alpha one\n"), BYTES("success\n")},
    {BYTES("GET alpha\r\n"), BYTES("one\n")},
    {BYTES("get ALPHA\n"), BYTES("no value stored\n")},
    {BYTES("SET beta two words \r\n"), BYTES("success\n")},
    {BYTES("GET beta\n"), BYTES("two words \n")},
    {BYTES("EXISTS beta\n"), BYTES("1\n")},
    {BYTES("COUNT\r\n"), BYTES("2\n")},
    {BYTES("KEYS al\n"), BYTES("alpha\n\n")},
    {BYTES("DELETE alpha\n"), BYTES("success\n")},
    {BYTES("EXISTS alpha\n"), BYTES("0\n")},
    {BYTES("SET  alpha x\n"), BYTES("error: usage: SET key value\n")},
    {BYTES("\n"), BYTES("error: empty line\n")},
    {BYTES("\r\n"), BYTES("error: empty line\n")},
    {BYTES("BOGUS\n"), BYTES("error: unknown command\n")},
    {BYTES("PO\n"), BYTES("error: unknown command\n")},
    {BYTES("SET \xc3\xa9t\xc3\xa9 \xe2\x82\xac\n"), BYTES("success\n")},
    {BYTES("GET \xc3\xa9t\xc3\xa9\r\n"), BYTES("\xe2\x82\xac\n")},
    {BYTES("SET bad \xff\xf4\n"), BYTES("error: not UTF-8\n")},
    {BYTES("SET bad \0\n"), BYTES("error: NUL byte\n")},
    {BYTES("SET empty \n"), BYTES("success\n")},
    {BYTES("GET empty\n"), BYTES("\n")},
    {BYTES("DELETE empty\n"), BYTES("success\n")},
    {BYTES("SET beta 2\r\r\n"), BYTES("success\n")},
    {BYTES("GET beta\n"), BYTES("2\r\n")},
    {BYTES("DELETE beta\n"), BYTES("success\n")},
    {BYTES("DELETE \xc3\xa9t\xc3\xa9\n"), BYTES("success\n")},
    {BYTES("KEYS\n"), BYTES("\n")},
};

enum { EXCHANGE_COUNT = sizeof exchanges / sizeof exchanges[0] };

/* The exchanges as one pipeline. */
struct pipeline {
    struct script requests;
    struct script replies;
};

static struct pipeline make_pipeline(void)
{
    struct pipeline pipeline = {{0}, {0}};
    for (size_t i = 0; i < EXCHANGE_COUNT; i++) {
        script_add(&pipeline.requests, exchanges[i].request);
        script_add(&pipeline.replies, exchanges[i].reply);
    }
    return pipeline;
}

static void free_pipeline(struct pipeline *pipeline)
{
    script_free(&pipeline->requests);
    script_free(&pipeline->replies);
}

/* How many bytes of replies are due once so many bytes of requests have arrived. */
static size_t replies_due(size_t request_bytes)
{
    size_t requests = 0;
    size_t replies = 0;
    for (size_t i = 0; i < EXCHANGE_COUNT; i++) {
        requests += exchanges[i].request.length;
        if (requests > request_bytes) {
            break;
        }
        replies += exchanges[i].reply.length;
    }
    return replies;
}

static void f11_every_two_way_split_gets_the_same_replies(void **state)
{
    struct scene *scene = *state;
    struct pipeline pipeline = make_pipeline();
    struct slice requests = script_slice(&pipeline.requests);
    struct slice replies = script_slice(&pipeline.replies);
    scene_talk(scene, requests, replies);
    struct client client = scene_client(scene);
    for (size_t cut = 1; cut < requests.length; cut += watchdog_scaled(1, 11)) {
        size_t due = replies_due(cut);
        client_send(&client, slice_first(requests, cut));
        client_expect(&client, slice_first(replies, due));
        client_await_consumed(&client);
        client_send(&client, slice_after(requests, cut));
        client_expect(&client, slice_after(replies, due));
    }
    client_finish(&client, SLICE_LITERAL(""));
    free_pipeline(&pipeline);
}

static void f11_single_bytes_get_the_same_replies(void **state)
{
    struct pipeline pipeline = make_pipeline();
    struct slice requests = script_slice(&pipeline.requests);
    struct client client = scene_client(*state);
    for (size_t i = 0; i < requests.length; i++) {
        client_send(&client, slice_first(slice_after(requests, i), 1));
        client_await_consumed(&client);
    }
    client_expect(&client, script_slice(&pipeline.replies));
    client_finish(&client, SLICE_LITERAL(""));
    free_pipeline(&pipeline);
}

static void f11_cr_and_lf_may_come_apart(void **state)
{
    struct client client = scene_client(*state);
    static const char *const parts[] = {"SET k v\r", "\nGET k\r", "\r", "\n\r",
                                        "\nGET k\r"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        client_send_text(&client, parts[i]);
        client_await_consumed(&client);
    }
    client_send_text(&client, "\n");
    client_expect_text(&client, "success\nno value stored\nerror: empty line\nv\n");
    client_close(&client);
}

static void f5_half_close_after_complete_lines_gets_every_reply(void **state)
{
    struct scene *scene = *state;
    size_t count = watchdog_scaled(20000, 1000);
    struct script requests = {0};
    struct script replies = {0};
    for (size_t i = 0; i < count; i++) {
        script_add_format(&requests, "SET k%zu %zu\nGET k%zu\n", i, i, i);
        script_add_format(&replies, "success\n%zu\n", i);
    }
    struct client client = scene_client(scene);
    client_send(&client, script_slice(&requests));
    client_finish(&client, script_slice(&replies));
    script_free(&requests);
    script_free(&replies);
}

static void f5_half_close_at_once_just_ends(void **state)
{
    scene_talk_text(*state, "", "");
}

static void f6_an_unfinished_read_is_answered_and_a_write_refused(void **state)
{
    static const struct exchange endings[] = {
        {BYTES("SET k v\nGET k"), BYTES("success\nv\n")},
        {BYTES("EXISTS k"), BYTES("1\n")},
        {BYTES("COUNT"), BYTES("1\n")},
        {BYTES("KEYS"), BYTES("k\n\n")},
        {BYTES("SET k other"), BYTES("error: incomplete line\n")},
        {BYTES("set new "), BYTES("error: incomplete line\n")},
        {BYTES("DELETE k"), BYTES("error: incomplete line\n")},
        {BYTES("GET k\nDELETE k"), BYTES("v\nerror: incomplete line\n")},
        {BYTES("GET k\nQUIT"), BYTES("v\n")},
        {BYTES("KEYS\nGET k\n"), BYTES("k\n\nv\n")},
    };
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        struct client client = scene_client(scene);
        client_send(&client, endings[i].request);
        client_finish(&client, endings[i].reply);
    }
    assert_int_equal(scene_log_record_count(scene), 1);
}

/* As when a loader is killed: the socket is closed, not only its sending side. */
static void f6_a_line_cut_by_a_close_changes_nothing(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene, "SET k kept\nSET gone 1\n", "success\nsuccess\n");
    static const char *const cuts[] = {"SET k other", "SET new value", "DELETE gone"};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        struct client client = scene_client(scene);
        client_send_text(&client, cuts[i]);
        client_close(&client);
    }
    scene_talk_text(scene, "GET k\nEXISTS gone\nCOUNT\n", "kept\n1\n2\n");
    assert_int_equal(scene_log_record_count(scene), 2);
}

static void a_stranger_is_hung_up_on_after_the_replies_before_it(void **state)
{
    static const struct slice strangers[] = {
        BYTES("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\n"),
        BYTES("POST / HTTP/1.1"),
        BYTES("post /\n"),
        BYTES("POST \nSET k v\n"),
        BYTES("Host: localhost\r\nSET k v\n"),
        BYTES("Host:"),
        BYTES("host: x\n"),
        BYTES("\xff\xf4\xff\xfd\x06"),
        BYTES("\xff\xf4\n"),
        BYTES("\xff\xf4SET k v\nSET k v\n"),
    };
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        struct script requests = {0};
        script_add_text(&requests, "SET before 1\nGET before\n");
        script_add(&requests, strangers[i]);
        struct client client = scene_client(scene);
        client_send(&client, script_slice(&requests));
        client_expect_text(&client, "success\n1\n");
        client_expect_end(&client); /* though this side has not closed */
        client_close(&client);
        script_free(&requests);
    }
    scene_talk_text(scene, "EXISTS k\nCOUNT\n", "0\n1\n");
}

/* What a browser sends for a GET: the request line is a bad command, Host: ends it. */
static void a_web_page_cannot_reach_the_store_by_get(void **state)
{
    struct client client = scene_client(*state);
    client_send_text(&client, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\n");
    client_expect_text(&client, "error: usage: GET key\n");
    client_expect_end(&client);
    client_close(&client);
    scene_talk_text(*state, "COUNT\n", "0\n");
}

enum { RESET_POINTS = 24, RESET_LINES = 400 };

static void add_reset_sets(struct script *requests, size_t point)
{
    for (size_t i = 0; i < RESET_LINES; i++) {
        script_add_format(requests, "SET r%zu-%zu whole\n", point, i);
    }
}

/* Demands that the lines executed are the first ones; returns how many they are. */
static size_t expect_prefix(const struct scene *scene, size_t point)
{
    struct script gets = {0};
    for (size_t i = 0; i < RESET_LINES; i++) {
        script_add_format(&gets, "GET r%zu-%zu\n", point, i);
    }
    struct client client = scene_client(scene);
    client_send(&client, script_slice(&gets));
    size_t executed = 0;
    for (size_t i = 0; i < RESET_LINES; i++) {
        const char *line = client_read_line(&client);
        if (executed == i && strcmp(line, "whole") == 0) {
            executed++;
        } else {
            assert_string_equal(line, "no value stored");
        }
    }
    client_close(&client);
    script_free(&gets);
    return executed;
}

/* A third resets at once, a third when a reply is there, a third after reading some. */
static size_t read_before_reset(struct client *client, size_t point, size_t lines_sent)
{
    if (point % 3 == 0 || lines_sent == 0) {
        return 0;
    }
    watchdog_await(client->fd, POLLIN, watchdog_deadline_ms(), "a reply");
    size_t wanted = point % 3 == 1 ? 0 : lines_sent / 2;
    for (size_t i = 0; i < wanted; i++) {
        assert_string_equal(client_read_line(client), "success");
    }
    return wanted;
}

static void f8_after_a_reset_exactly_the_first_lines_are_executed(void **state)
{
    struct scene *scene = *state;
    size_t executed[RESET_POINTS];
    for (size_t point = 0; point < RESET_POINTS; point++) {
        struct script requests = {0};
        add_reset_sets(&requests, point);
        size_t cut = requests.length * (point + 1) / RESET_POINTS;
        size_t lines_sent = cut * RESET_LINES / requests.length;
        lines_sent -= lines_sent > 2 ? 2 : lines_sent; /* lines differ in length */
        struct client client = scene_client(scene);
        client_send(&client, slice_first(script_slice(&requests), cut));
        size_t acknowledged = read_before_reset(&client, point, lines_sent);
        client_reset(&client);
        executed[point] = expect_prefix(scene, point);
        assert_in_range(executed[point], acknowledged, RESET_LINES);
        script_free(&requests);
    }
    scene_crash(scene);
    for (size_t point = 0; point < RESET_POINTS; point++) {
        assert_int_equal(expect_prefix(scene, point), executed[point]);
    }
}

static void f7_a_reset_amid_a_large_reply_leaves_the_server_serving(void **state)
{
    struct scene *scene = *state;
    struct script request = {0};
    script_add_text(&request, "SET big ");
    script_add_random(&request, 7, 1 << 20);
    script_add_text(&request, "\n");
    scene_talk(scene, script_slice(&request), SLICE_LITERAL("success\n"));
    struct script gets = {0};
    for (size_t i = 0; i < 20; i++) {
        script_add_text(&gets, "GET big\n");
    }
    for (size_t point = 0; point < watchdog_scaled(20, 4); point++) {
        struct client client = scene_client(scene);
        client_send(&client, script_slice(&gets));
        watchdog_await(client.fd, POLLIN, watchdog_deadline_ms(), "a reply");
        struct slice nothing = SLICE_LITERAL("");
        while (client.end < point * 100000) {
            assert_int_equal(client_pump(&client, &nothing), CLIENT_OPEN);
        }
        client_reset(&client);
        scene_talk_text(scene, "COUNT\n", "1\n");
    }
    script_free(&request);
    script_free(&gets);
}

static void f4_a_client_may_write_everything_before_it_reads(void **state)
{
    struct scene *scene = *state;
    struct script requests = {0};
    size_t wanted_bytes = watchdog_scaled(20 << 20, 1 << 20);
    size_t count = 0;
    while (requests.length < wanted_bytes) {
        script_add_format(&requests, "SET key%zu value-%zu-abcdef\n", count % 5000,
                          count);
        count++;
    }
    struct client client = scene_client(scene);
    client_send(&client, script_slice(&requests));
    client_half_close(&client);
    struct slice nothing = SLICE_LITERAL("");
    size_t successes = 0;
    while (client_pump(&client, &nothing) == CLIENT_OPEN) {
        successes += client_take_lines(&client, "success");
    }
    successes += client_take_lines(&client, "success");
    assert_int_equal(successes, count);
    client_expect_end(&client);
    client_close(&client);
    struct script last = {0};
    struct script value = {0};
    script_add_format(&last, "GET key%zu\n", (count - 1) % 5000);
    script_add_format(&value, "value-%zu-abcdef\n", count - 1);
    scene_talk(scene, script_slice(&last), script_slice(&value));
    script_free(&requests);
    script_free(&last);
    script_free(&value);
}

/*
 * A reply that is sent from the log, not held, must not stop the reading of requests:
 * these are more than the longest line and the kernel's buffers together.
 */
static void f4_large_replies_do_not_stop_requests_from_being_read(void **state)
{
    static const char *const options[] = {"--max-value", "1M", NULL};
    struct scene *scene = *state;
    scene_start(scene, options);
    size_t count = watchdog_scaled(2000, 100);
    struct script value = {0};
    script_add_random(&value, 3, 1 << 20);
    script_add_text(&value, "\n");
    struct script requests = {0};
    struct script replies = {0};
    script_add_text(&requests, "SET big ");
    script_add(&requests, script_slice(&value));
    script_add_text(&replies, "success\n");
    for (size_t i = 0; i < count; i++) {
        if (i % (count / 20) == 0) {
            script_add_text(&requests, "GET big\n");
            script_add(&replies, script_slice(&value));
        }
        script_add_format(&requests, "SET key%zu ", i % 10);
        script_add_fill_line(&requests, 'x', 40000);
        script_add_text(&replies, "success\n");
    }
    struct client client = scene_client(scene);
    client_send(&client, script_slice(&requests));
    client_finish(&client, script_slice(&replies));
    script_free(&value);
    script_free(&requests);
    script_free(&replies);
}

enum { BACKLOG_KEYS = 8, BACKLOG_KEY_BYTES = 60000 };

/* A key as long as this makes many bytes of requests out of few commands. */
static void add_backlog_key(struct script *script, size_t number)
{
    script_add_fill(script, (char)('a' + number), BACKLOG_KEY_BYTES);
}

static void store_backlog_values(const struct scene *scene, size_t value_bytes)
{
    for (size_t i = 0; i < BACKLOG_KEYS; i++) {
        struct script request = {0};
        script_add_text(&request, "SET ");
        add_backlog_key(&request, i);
        script_add_text(&request, " ");
        script_add_random(&request, i, value_bytes);
        script_add_text(&request, "\n");
        scene_talk(scene, script_slice(&request), SLICE_LITERAL("success\n"));
        script_free(&request);
    }
}

static void add_backlog_gets(struct script *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        script_add_text(requests, "GET ");
        add_backlog_key(requests, i % BACKLOG_KEYS);
        script_add_text(requests, "\n");
    }
}

/* Demands the value of each key in turn, sending what is left to send meanwhile. */
static void expect_backlog(struct client *client, struct slice unsent, size_t value_bytes,
                           size_t count)
{
    struct script values[BACKLOG_KEYS] = {{0}};
    for (size_t i = 0; i < BACKLOG_KEYS; i++) {
        script_add_random(&values[i], i, value_bytes);
        script_add_text(&values[i], "\n");
    }
    for (size_t i = 0; i < count; i++) {
        client_expect_while_sending(client, &unsent,
                                    script_slice(&values[i % BACKLOG_KEYS]));
    }
    for (size_t i = 0; i < BACKLOG_KEYS; i++) {
        script_free(&values[i]);
    }
}

/*
 * Asks for much more than the 64 MiB that the server holds, and reads nothing until it
 * takes no more requests; only the kernel's buffers and the longest line fit then.
 */
static void run_backlog(struct scene *scene, size_t value_bytes, size_t count)
{
    static const char *const options[] = {"--max-value", "1M", NULL};
    scene_start(scene, options);
    store_backlog_values(scene, value_bytes);
    struct script requests = {0};
    add_backlog_gets(&requests, count);
    struct client client = scene_client(scene);
    size_t sent = scene_send_until_refused(scene, &client, script_slice(&requests));
    if (!watchdog_is_slow()) {
        assert_in_range(sent, 1, requests.length - 1);
    }
    expect_backlog(&client, slice_after(script_slice(&requests), sent), value_bytes,
                   count);
    client_finish(&client, SLICE_LITERAL(""));
    script_free(&requests);
    assert_in_range(server_process_peak_kib(&scene->server), 0, 160 * 1024);
}

static void f3_large_replies_to_a_client_that_does_not_read_stay_bounded(void **state)
{
    run_backlog(*state, 256 << 10, watchdog_scaled(1000, 24));
}

static void f3_small_replies_to_a_client_that_does_not_read_stay_bounded(void **state)
{
    run_backlog(*state, 60 << 10, watchdog_scaled(2400, 24));
}

static void f3_replies_larger_than_what_is_left_of_the_backlog_arrive_whole(void **state)
{
    struct scene *scene = *state;
    struct script values[2] = {{0}};
    static const char *const names[2] = {"a", "b"};
    const size_t lengths[2] = {watchdog_scaled(40 << 20, 4 << 20),
                               watchdog_scaled(64 << 20, 6 << 20)};
    for (size_t i = 0; i < 2; i++) {
        script_add_random(&values[i], i, lengths[i]);
        script_add_text(&values[i], "\n");
        struct script request = {0};
        script_add_format(&request, "SET %s ", names[i]);
        script_add(&request, script_slice(&values[i]));
        scene_talk(scene, script_slice(&request), SLICE_LITERAL("success\n"));
        script_free(&request);
    }
    struct client client = scene_client(scene);
    client_send_text(&client, "COUNT\nGET a\nGET b\nEXISTS a\nGET b\nGET a\nCOUNT\n");
    client_half_close(&client);
    client_await_consumed(&client);
    client_expect_text(&client, "2\n");
    client_expect(&client, script_slice(&values[0]));
    client_expect(&client, script_slice(&values[1]));
    client_expect_text(&client, "1\n");
    client_expect(&client, script_slice(&values[1]));
    client_expect(&client, script_slice(&values[0]));
    client_expect_text(&client, "2\n");
    client_expect_end(&client);
    client_close(&client);
    script_free(&values[0]);
    script_free(&values[1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(f11_every_two_way_split_gets_the_same_replies),
        ON_SERVER(f11_single_bytes_get_the_same_replies),
        ON_SERVER(f11_cr_and_lf_may_come_apart),
        ON_SERVER(f5_half_close_after_complete_lines_gets_every_reply),
        ON_SERVER(f5_half_close_at_once_just_ends),
        ON_SERVER(f6_an_unfinished_read_is_answered_and_a_write_refused),
        ON_SERVER(f6_a_line_cut_by_a_close_changes_nothing),
        ON_SERVER(a_stranger_is_hung_up_on_after_the_replies_before_it),
        ON_SERVER(a_web_page_cannot_reach_the_store_by_get),
        ON_SERVER(f8_after_a_reset_exactly_the_first_lines_are_executed),
        ON_SERVER(f7_a_reset_amid_a_large_reply_leaves_the_server_serving),
        ON_SERVER(f4_a_client_may_write_everything_before_it_reads),
        ON_SCENE(f4_large_replies_do_not_stop_requests_from_being_read),
        ON_SCENE(f3_large_replies_to_a_client_that_does_not_read_stay_bounded),
        ON_SCENE(f3_small_replies_to_a_client_that_does_not_read_stay_bounded),
        ON_SERVER(f3_replies_larger_than_what_is_left_of_the_backlog_arrive_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
