/*
 * Connections of the running program: how they may end, how much one may ask for without
 * reading, and how many may come.
 */
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

static void f5_f6_an_unfinished_read_is_answered_and_a_write_refused(void **state)
{
    static const struct exchange endings[] = {
        {BYTES("SET k v\nGET k"), BYTES("success\nv\n")},
        {BYTES("KEYS"), BYTES("k\n\n")},
        {BYTES("SET k other"), BYTES("error: incomplete line\n")},
        {BYTES("DELETE k"), BYTES("error: incomplete line\n")},
        {BYTES("GET k\nDELETE k"), BYTES("v\nerror: incomplete line\n")},
        {BYTES("GET k\nQUIT"), BYTES("v\n")},
        {BYTES("KEYS\nGET k\n"), BYTES("k\n\nv\n")},
        {BYTES(""), BYTES("")},
    };
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        struct client client = scene_client(scene);
        client_send(&client, endings[i].request);
        client_finish(&client, endings[i].reply);
    }
    scene_talk_text(scene, "GET k\nCOUNT\n", "v\n1\n");
}

/* A web page's GET is a bad command, and what comes behind it ends the connection. */
static void a_stranger_is_hung_up_on_after_the_replies_before_it(void **state)
{
    static const struct exchange strangers[] = {
        {BYTES("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\n"), BYTES("")},
        {BYTES("POST / HTTP/1.1"), BYTES("")},
        {BYTES("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\n"),
         BYTES("error: usage: GET key\n")},
        {BYTES("host: x\n"), BYTES("")},
        {BYTES("\xff\xf4\xff\xfd\x06"), BYTES("")},
        {BYTES("\xff\xf4SET k v\nSET k v\n"), BYTES("")},
    };
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        struct client client = scene_client(scene);
        client_send_text(&client, "SET before 1\nGET before\n");
        client_send(&client, strangers[i].request);
        client_expect_text(&client, "success\n1\n");
        client_expect(&client, strangers[i].reply);
        client_expect_end(&client); /* though this side has not closed */
        client_close(&client);
    }
    scene_talk_text(scene, "EXISTS k\nCOUNT\n", "0\n1\n");
}

/* Long keys make many bytes of requests of few commands; each value is held, or too large
 * for that. */
enum { BACKLOG_KEYS = 8, BACKLOG_KEY_BYTES = 60000 };

static void add_backlog_key(struct script *script, const char *verb, size_t number)
{
    script_add_text(script, verb);
    script_add_fill(script, (char)('a' + number), BACKLOG_KEY_BYTES);
}

static void store_backlog_value(const struct scene *scene, size_t number,
                                struct script *line_out)
{
    struct script request = {0};
    script_add_random(line_out, number, number % 2 == 0 ? 60 << 10 : 256 << 10);
    script_add_text(line_out, "\n");
    add_backlog_key(&request, "SET ", number);
    script_add_text(&request, " ");
    script_add(&request, script_slice(line_out));
    scene_talk(scene, script_slice(&request), SLICE_LITERAL("success\n"));
    script_free(&request);
}

/*
 * Ask for much more than the 64 MiB that the server holds, and read nothing until it
 * takes no more requests; only the kernel's buffers and the longest line fit then.
 */
static void f3_replies_to_a_client_that_does_not_read_stay_bounded(void **state)
{
    static const char *const options[] = {"--max-value", "1M", NULL};
    struct scene *scene = *state;
    size_t count = watchdog_scaled(1600, 24);
    struct script lines[BACKLOG_KEYS] = {{0}};
    struct script requests = {0};
    scene_start(scene, options);
    for (size_t i = 0; i < BACKLOG_KEYS; i++) {
        store_backlog_value(scene, i, &lines[i]);
    }
    for (size_t i = 0; i < count; i++) {
        add_backlog_key(&requests, "GET ", i % BACKLOG_KEYS);
        script_add_text(&requests, "\n");
    }
    struct client client = scene_client(scene);
    size_t sent = scene_send_until_refused(scene, &client, script_slice(&requests));
    if (!watchdog_is_slow()) {
        assert_in_range(sent, 1, requests.length - 1);
    }
    struct slice unsent = slice_after(script_slice(&requests), sent);
    for (size_t i = 0; i < count; i++) {
        client_expect_while_sending(&client, &unsent,
                                    script_slice(&lines[i % BACKLOG_KEYS]));
    }
    client_finish(&client, SLICE_LITERAL(""));
    assert_in_range(server_process_peak_kib(&scene->server), 0, 160 * 1024);
    for (size_t i = 0; i < BACKLOG_KEYS; i++) {
        script_free(&lines[i]);
    }
    script_free(&requests);
}

static void f15_many_waiting_clients_are_each_served_rightly(void **state)
{
    enum { WAITING_MAX = 500 };
    struct scene *scene = *state;
    size_t count = watchdog_scaled(WAITING_MAX, 40);
    static struct client clients[WAITING_MAX];
    struct client holder = scene_client(scene);
    client_exchange(&holder, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    for (size_t i = 0; i < count; i++) {
        struct script request = {0};
        script_add_format(&request, "SET w%zu %zu\nGET w%zu\nQUIT\n", i, i, i);
        clients[i] = scene_client(scene);
        client_send(&clients[i], script_slice(&request));
        script_free(&request);
    }
    client_exchange(&holder, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    client_close(&holder);
    for (size_t i = 0; i < count; i++) {
        struct script reply = {0};
        script_add_format(&reply, "success\n%zu\n", i);
        client_expect(&clients[i], script_slice(&reply));
        client_expect_end(&clients[i]);
        client_close(&clients[i]);
        script_free(&reply);
    }
}

/* With a client that is being served, so that its own descriptor counts each time. */
static size_t fd_count_while_serving(const struct scene *scene)
{
    struct client client = scene_client(scene);
    client_exchange(&client, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    size_t count = server_process_fd_count(&scene->server);
    client_close(&client);
    return count;
}

/* Served or silent, with a goodbye or a reset. */
static void f18_connections_that_come_and_go_leave_no_descriptor_behind(void **state)
{
    struct scene *scene = *state;
    size_t before = fd_count_while_serving(scene);
    for (size_t i = 0; i < watchdog_scaled(2000, 100); i++) {
        struct client client = scene_client(scene);
        if (i % 4 < 2) {
            client_exchange(&client, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
        }
        if (i % 2 == 0) {
            client_reset(&client);
        } else {
            client_close(&client);
        }
    }
    assert_int_equal(fd_count_while_serving(scene), before);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(f5_f6_an_unfinished_read_is_answered_and_a_write_refused),
        ON_SERVER(a_stranger_is_hung_up_on_after_the_replies_before_it),
        ON_SCENE(f3_replies_to_a_client_that_does_not_read_stay_bounded),
        ON_SERVER(f15_many_waiting_clients_are_each_served_rightly),
        ON_SERVER(f18_connections_that_come_and_go_leave_no_descriptor_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
