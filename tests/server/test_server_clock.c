/*
 * How long the server lets anybody wait, on a clock that stands still until the test
 * moves it: one that is idle, or never asks for anything, keeps the others waiting no
 * longer than it may, and a stop takes no longer than it may.
 *
 * wrap: poll clock_gettime sysconf
 */
#include "net/server.h"

#include "base/bounds.h"
#include "support/scene.h"
#include "support/script.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_MS  UINT64_C(5000000)
#define IDLE_MS   UINT64_C(1000)
#define SECOND_MS UINT64_C(1000)

/* Where the clock stands still nothing may look at it for ever. */
long __real_sysconf(int name);
long __wrap_sysconf(int name);

long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN ? 1 : __real_sysconf(name);
}

/* ---- The server and its clock ---- */

/* The ends of two pipes, see shim_obey. */
static struct {
    int orders_fds[2];
    int answers_fds[2];
} hands;

/* In the child. */
static int serve(void *context)
{
    const struct scene *scene = context;
    const struct store_options store_options = {.path = scene->log.path,
                                                .sync = SYNC_ALWAYS};
    const struct server_options options = {
        .listener = {.addresses = {"127.0.0.1"}, .address_count = 1, .port = "0"},
        .session = {.value_bytes_max = 2 * MIB, .idle_ms = IDLE_MS},
    };
    struct store *store = NULL;
    assert_int_equal(close(hands.orders_fds[1]), 0);
    assert_int_equal(close(hands.answers_fds[0]), 0);
    shim_set_clock(START_MS);
    shim_obey(hands.orders_fds[0], hands.answers_fds[1]);
    struct listener listener;
    enum status status = listener_bind(&options.listener, &listener);
    if (status != KV_OK || store_open(&store_options, &store) != KV_OK) {
        return 1;
    }
    status = server_run(&options, &listener, store);
    listener_close(&listener);
    enum status close_status = store_close(store);
    return status == KV_OK && close_status == KV_OK ? 0 : 1;
}

static int set_up(void **state)
{
    (void)scene_setup(state);
    struct scene *scene = *state;
    (void)signal(SIGPIPE, SIG_IGN); /* an order may find nobody */
    assert_int_equal(pipe(hands.orders_fds), 0);
    assert_int_equal(pipe(hands.answers_fds), 0);
    server_process_fork(&scene->server, serve, scene);
    assert_int_equal(close(hands.orders_fds[0]), 0);
    assert_int_equal(close(hands.answers_fds[1]), 0);
    server_process_await_ready(&scene->server);
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    if (scene->server.pid > 0) {
        server_process_kill(&scene->server); /* its clock stands still */
    }
    (void)close(hands.orders_fds[1]); /* only pipes */
    (void)close(hands.answers_fds[0]);
    return scene_teardown(state);
}

#define ON_CLOCK(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/*
 * Let time go by, and wait until the server has done all that was to be done meanwhile.
 * Returns false if it has ended.
 */
static bool pass(uint64_t ms)
{
    uint64_t waits_until_ms = 0;
    if (write(hands.orders_fds[1], &ms, sizeof ms) != (ssize_t)sizeof ms) {
        return false;
    }
    watchdog_await(hands.answers_fds[0], POLLIN, watchdog_deadline_ms(), "an answer");
    return read(hands.answers_fds[0], &waits_until_ms, sizeof waits_until_ms) ==
           (ssize_t)sizeof waits_until_ms;
}

/* ---- One that keeps another waiting ---- */

/* Another client asks, and its question is there for the server to see. */
static struct client bring_another(const struct scene *scene, const char *request)
{
    struct client client = scene_client(scene);
    client_send_text(&client, request);
    client_await_arrived(&client);
    return client;
}

/* The client is told why, and closed; this side closes then, too. */
static void expect_eviction(struct client *client)
{
    client_expect_text(client, "error: idle too long\n");
    client_expect_end(client);
    client_close(client);
}

static void f1_an_idle_client_is_closed_only_when_another_waits(void **state)
{
    struct scene *scene = *state;
    struct client idle = scene_client(scene);
    client_exchange(&idle, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    assert_true(pass(100 * IDLE_MS));
    client_exchange(&idle, SLICE_LITERAL("SET k v\n"), SLICE_LITERAL("success\n"));
    struct client second = bring_another(scene, "GET k\n");
    assert_true(pass(IDLE_MS - 1));
    client_exchange(&idle, SLICE_LITERAL("SET k w\n"), SLICE_LITERAL("success\n"));
    assert_true(pass(IDLE_MS)); /* counted anew */
    expect_eviction(&idle);
    client_expect_text(&second, "w\n");
    client_close(&second);
}

static void f1_a_client_idle_for_long_is_closed_as_soon_as_another_comes(void **state)
{
    struct scene *scene = *state;
    struct client idle = scene_client(scene);
    client_exchange(&idle, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    assert_true(pass(2 * IDLE_MS));
    struct client second = bring_another(scene, "COUNT\n");
    expect_eviction(&idle);
    client_expect_text(&second, "0\n");
    client_close(&second);
}

static void f2_bytes_without_a_command_do_not_extend_the_time(void **state)
{
    enum { DRIPS = 10 };
    struct scene *scene = *state;
    struct client dripping = scene_client(scene);
    client_exchange(&dripping, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    struct client second = bring_another(scene, "COUNT\n");
    for (size_t i = 0; i < DRIPS; i++) {
        client_send_text(&dripping, "x");
        client_await_consumed(&dripping);
        assert_true(pass(IDLE_MS / DRIPS));
    }
    expect_eviction(&dripping);
    client_expect_text(&second, "0\n");
    client_close(&second);
}

static void f2_commands_do_extend_the_time_though_another_waits(void **state)
{
    struct scene *scene = *state;
    struct client busy = scene_client(scene);
    client_exchange(&busy, SLICE_LITERAL("SET k v\n"), SLICE_LITERAL("success\n"));
    struct client second = bring_another(scene, "GET k\n");
    for (size_t i = 0; i < 20; i++) {
        assert_true(pass(IDLE_MS - 1));
        client_exchange(&busy, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("1\n"));
    }
    client_exchange(&busy, SLICE_LITERAL("SET k w\n"), SLICE_LITERAL("success\n"));
    client_close(&busy);
    client_expect_text(&second, "w\n");
    client_close(&second);
}

static void f16_an_evicted_client_reads_why_though_its_input_was_unread(void **state)
{
    struct scene *scene = *state;
    struct script unfinished = {0};
    script_add_text(&unfinished, "COUNT\nSET k ");
    script_add_fill(&unfinished, 'x', 40000);
    struct client idle = scene_client(scene);
    client_send(&idle, script_slice(&unfinished));
    client_expect_text(&idle, "0\n");
    client_await_consumed(&idle);
    struct client second = bring_another(scene, "COUNT\n");
    assert_true(pass(IDLE_MS));
    expect_eviction(&idle);
    client_expect_text(&second, "0\n");
    client_close(&second);
    script_free(&unfinished);
}

static void f16_a_client_that_stays_after_quit_keeps_nobody_waiting(void **state)
{
    struct scene *scene = *state;
    struct client first = scene_client(scene);
    client_exchange(&first, SLICE_LITERAL("COUNT\nQUIT\n"), SLICE_LITERAL("0\n"));
    client_expect_end(&first);
    struct client second = bring_another(scene, "COUNT\n");
    assert_true(pass(LINGER_MS_MAX));
    client_expect_text(&second, "0\n");
    client_close(&second);
    client_close(&first);
}

/* ---- Whose turn it is ---- */

/* However many and for however long, they are not heard of, and count as nobody. */
static void f118_silent_connections_keep_nobody_waiting(void **state)
{
    enum { SILENT = 6 };
    struct scene *scene = *state;
    struct client silent[SILENT];
    for (size_t i = 0; i < SILENT; i++) {
        silent[i] = scene_client(scene);
    }
    scene_talk_text(scene, "COUNT\n", "0\n"); /* no time goes by */
    struct client idle = scene_client(scene);
    client_exchange(&idle, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    assert_true(pass(100 * IDLE_MS));
    client_exchange(&idle, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    client_close(&idle);
    for (size_t i = SILENT; i > 0; i--) {
        client_exchange(&silent[i - 1], SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
        client_close(&silent[i - 1]);
    }
}

static void f118_a_line_that_arrived_before_another_client_came_is_executed(void **state)
{
    struct scene *scene = *state;
    for (size_t i = 0; i < 20; i++) {
        struct client first = scene_client(scene);
        client_exchange(&first, SLICE_LITERAL("EXISTS k\n"), SLICE_LITERAL("0\n"));
        assert_true(pass(IDLE_MS + 100));
        client_send_text(&first, "SET k 1\n");
        struct client second = bring_another(scene, "GET k\n");
        client_expect_text(&first, "success\n");
        client_close(&first);
        client_expect_text(&second, "1\n");
        client_exchange(&second, SLICE_LITERAL("DELETE k\n"), SLICE_LITERAL("success\n"));
        client_close(&second);
    }
}

/* So many bytes in each tenth of the time that an idle client has. */
static void send_pieces(struct client *client, size_t piece_bytes, size_t count)
{
    struct script piece = {0};
    script_add_fill(&piece, 'x', piece_bytes);
    for (size_t i = 0; i < count; i++) {
        client_send(client, script_slice(&piece));
        client_await_consumed(client);
        assert_true(pass(IDLE_MS / 10));
    }
    script_free(&piece);
}

static void f118_an_upload_that_goes_on_is_not_cut_off(void **state)
{
    struct scene *scene = *state;
    struct client loading = scene_client(scene);
    client_send_text(&loading, "SET k ");
    client_await_consumed(&loading);
    struct client second = bring_another(scene, "EXISTS k\n");
    send_pieces(&loading, 64 * KIB / 10 + 100, 100);
    client_exchange(&loading, SLICE_LITERAL("\n"), SLICE_LITERAL("success\n"));
    client_close(&loading);
    client_expect_text(&second, "1\n");
    client_close(&second);
}

static void f118_an_upload_that_hardly_goes_on_is_cut_off(void **state)
{
    struct scene *scene = *state;
    struct client loading = scene_client(scene);
    client_send_text(&loading, "SET k ");
    client_await_consumed(&loading);
    struct client second = bring_another(scene, "EXISTS k\n");
    send_pieces(&loading, KIB, 12); /* which earn a sixth of their time */
    expect_eviction(&loading);
    client_expect_text(&second, "0\n");
    client_exchange(&second, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    client_close(&second);
}

/* ---- One that is hung up on: the lingering ends when it closes ---- */

/* Requests that must not be executed, some of which the server will not even read. */
static void add_unread_tail(struct script *requests)
{
    for (size_t i = 0; i < 2000; i++) {
        script_add_text(requests, "SET late value\n");
    }
}

static void f16_quit_delivers_earlier_replies_and_executes_nothing_later(void **state)
{
    struct scene *scene = *state;
    struct script value = {0};
    script_add_random(&value, 1, 300000);
    struct script requests = {0};
    script_add_text(&requests, "SET big ");
    script_add(&requests, script_slice(&value));
    script_add_text(&requests, "\nGET big\nGET big\nQUIT\n");
    add_unread_tail(&requests);
    struct script replies = {0};
    script_add_text(&replies, "success\n");
    for (int i = 0; i < 2; i++) {
        script_add(&replies, script_slice(&value));
        script_add_text(&replies, "\n");
    }
    for (size_t i = 0; i < watchdog_scaled(20, 3); i++) {
        struct client client = scene_client(scene);
        client_send(&client, script_slice(&requests));
        client_expect(&client, script_slice(&replies));
        client_expect_end(&client);
        client_close(&client);
    }
    scene_talk_text(scene, "EXISTS late\nCOUNT\nquit\nCOUNT\n", "0\n1\n");
    script_free(&value);
    script_free(&requests);
    script_free(&replies);
}

/*
 * Requests that arrive once the server is through with the client must not tear down
 * what it has sent: replies of many sizes, so that some still wait in the kernel.
 */
static void f16_requests_behind_a_quit_that_come_late_destroy_no_reply(void **state)
{
    struct script late = {0};
    add_unread_tail(&late);
    for (size_t i = 0; i < watchdog_scaled(20, 4); i++) {
        struct script value = {0};
        script_add_random(&value, i, 30000 + i * 20000);
        script_add_text(&value, "\n");
        struct script request = {0};
        script_add_text(&request, "SET big ");
        script_add(&request, script_slice(&value));
        scene_talk(*state, script_slice(&request), SLICE_LITERAL("success\n"));
        struct client client = scene_client(*state);
        client_send_text(&client, "GET big\nQUIT\n");
        watchdog_await(client.fd, POLLIN, watchdog_deadline_ms(), "the first reply");
        client_send(&client, script_slice(&late));
        client_expect(&client, script_slice(&value));
        client_expect_end(&client);
        client_close(&client);
        script_free(&value);
        script_free(&request);
    }
    scene_talk_text(*state, "EXISTS late\n", "0\n");
    script_free(&late);
}

static void f16_hanging_up_on_unread_input_loses_no_reply(void **state)
{
    struct scene *scene = *state;
    struct script requests = {0};
    script_add_text(&requests, "COUNT\nPOST / HTTP/1.1\r\n");
    add_unread_tail(&requests);
    for (size_t i = 0; i < watchdog_scaled(20, 3); i++) {
        struct client client = scene_client(scene);
        client_send(&client, script_slice(&requests));
        client_expect_text(&client, "0\n");
        client_expect_end(&client);
        client_close(&client);
    }
    scene_talk_text(scene, "COUNT\n", "0\n");
    script_free(&requests);
}

/* ---- A stop ---- */

/* Within a second it has ended in order. */
static void expect_prompt_end(struct scene *scene)
{
    assert_false(pass(SECOND_MS));
    assert_int_equal(server_process_wait(&scene->server), 0);
}

/* The signal comes while the server has nothing, or nothing whole, to execute. */
static void expect_prompt_stop(struct scene *scene, const char *beginning, int number)
{
    struct client client = scene_client(scene);
    client_send_text(&client, beginning);
    client_await_consumed(&client);
    server_process_signal(&scene->server, number);
    expect_prompt_end(scene);
    client_close(&client);
    scene_start(scene, NULL);
}

static void f72_a_stop_is_prompt_while_nothing_was_asked(void **state)
{
    expect_prompt_stop(*state, "", SIGTERM);
}

static void f72_a_stop_is_prompt_after_a_reply(void **state)
{
    expect_prompt_stop(*state, "GET k\n", SIGINT);
}

static void f72_a_stop_is_prompt_within_a_line(void **state)
{
    expect_prompt_stop(*state, "SET k unfinished", SIGTERM);
    scene_talk_text(*state, "COUNT\n", "0\n");
}

static void f72_a_stop_is_prompt_behind_a_whole_line(void **state)
{
    expect_prompt_stop(*state, "SET k v\nGET k", SIGINT);
    scene_talk_text(*state, "GET k\nCOUNT\n", "v\n1\n");
}

/* A client that does not take its replies must not hold up the end. */
static void ask_and_do_not_read(const struct scene *scene, struct client *client)
{
    struct script request = {0};
    script_add_text(&request, "SET big ");
    script_add_fill_line(&request, 'x', 1 << 20);
    scene_talk(scene, script_slice(&request), SLICE_LITERAL("success\n"));
    request.length = 0;
    for (size_t i = 0; i < 30; i++) {
        script_add_text(&request, "GET big\n");
    }
    *client = scene_client(scene);
    client_send(client, script_slice(&request));
    client_await_consumed(client);
    script_free(&request);
}

static void f72_a_client_that_does_not_read_does_not_hold_up_the_stop(void **state)
{
    struct scene *scene = *state;
    struct client client;
    ask_and_do_not_read(scene, &client);
    server_process_signal(&scene->server, SIGTERM);
    expect_prompt_end(scene);
    client_close(&client);
    scene_start(scene, NULL);
    scene_talk_text(scene, "COUNT\n", "1\n");
}

/* It is reset: what it read is not all, and it can tell. */
static void expect_reset(struct client *client)
{
    char bytes[65536];
    ssize_t count;
    do {
        watchdog_await(client->fd, POLLIN, watchdog_deadline_ms(), "an end");
        count = recv(client->fd, bytes, sizeof bytes, 0);
    } while (count > 0);
    assert_int_equal(count, -1);
    assert_int_equal(errno, ECONNRESET);
    client_close(client);
}

static void
f3_f119_a_client_that_takes_no_replies_is_reset_when_another_waits(void **state)
{
    struct scene *scene = *state;
    struct client deaf;
    ask_and_do_not_read(scene, &deaf);
    assert_true(pass(100 * IDLE_MS)); /* alone it may take as long as it likes */
    struct client second = bring_another(scene, "COUNT\n");
    assert_true(pass(IDLE_MS));
    client_expect_text(&second, "1\n");
    client_close(&second);
    expect_reset(&deaf);
    server_process_signal(&scene->server, SIGTERM);
    expect_prompt_end(scene);
    assert_non_null(strstr(scene->server.messages,
                           "a client did not take replies while others waited"));
}

/* Asking for more while replies are due is no taking of them. */
static void f3_asking_on_earns_no_time_for_taking_replies(void **state)
{
    struct scene *scene = *state;
    struct script requests = {0};
    script_add_text(&requests, "SET big ");
    script_add_fill(&requests, 'v', 4000);
    for (int i = 0; i < 5000; i++) {
        script_add_text(&requests, "\nGET big");
    }
    script_add_text(&requests, "\n");
    struct client deaf = scene_client(scene);
    client_send(&deaf, script_slice(&requests));
    client_await_consumed(&deaf);
    struct client second = bring_another(scene, "COUNT\n");
    for (int i = 0; i < 20; i++) { /* the system takes some of them yet, for later */
        assert_true(pass(IDLE_MS / 2));
        (void)send(deaf.fd, "COUNT\n", 6, MSG_NOSIGNAL); /* until it is reset */
    }
    client_expect_text(&second, "1\n");
    client_close(&second);
    client_close(&deaf); /* its last send may have been told of the reset */
    script_free(&requests);
}

static void f119_a_stop_resets_a_client_whose_replies_it_cuts_off(void **state)
{
    struct scene *scene = *state;
    struct client deaf;
    ask_and_do_not_read(scene, &deaf);
    server_process_signal(&scene->server, SIGTERM);
    expect_prompt_end(scene);
    expect_reset(&deaf);
    assert_non_null(
        strstr(scene->server.messages, "was cut off before all was answered"));
}

/* What it came for may be on its way: a manager that keeps the sockets refuses nobody. */
static void f119_a_stop_hears_one_that_has_only_just_come(void **state)
{
    struct scene *scene = *state;
    struct client silent = scene_client(scene);
    scene_talk_text(scene, "COUNT\n", "0\n"); /* who came before it is in */
    server_process_signal(&scene->server, SIGTERM);
    server_process_await_taken(&scene->server, SIGTERM);
    client_send_text(&silent, "SET k v\n");
    client_expect_text(&silent, "success\n");
    expect_prompt_end(scene);
    client_close(&silent);
}

static void f119_a_stop_resets_one_that_has_been_silent(void **state)
{
    struct scene *scene = *state;
    struct client silent = scene_client(scene);
    scene_talk_text(scene, "COUNT\n", "0\n");
    assert_true(pass(STOP_GRACE_MS));
    server_process_signal(&scene->server, SIGTERM);
    assert_int_equal(server_process_wait(&scene->server), 0);
    expect_reset(&silent);
}

/*
 * The first alone would wait for this client to take its replies, and no time goes by.
 * How the second one ends it is not promised, only that it does and that data stay.
 */
static void f72_a_second_sigint_ends_at_once(void **state)
{
    struct scene *scene = *state;
    struct client client;
    ask_and_do_not_read(scene, &client);
    server_process_signal(&scene->server, SIGINT);
    server_process_await_taken(&scene->server, SIGINT);
    assert_true(pass(0));
    server_process_signal(&scene->server, SIGINT);
    (void)server_process_wait(&scene->server);
    client_close(&client);
    scene_start(scene, NULL);
    scene_talk_text(scene, "COUNT\n", "1\n");
}

/* What was acknowledged is safe, but its second seal, due at rest, has no log to go to.
 */
static void f42_a_stop_without_the_log_exits_1(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene, "SET k v\n", "success\n");
    assert_int_equal(unlink(scene->log.path), 0);
    server_process_signal(&scene->server, SIGTERM);
    assert_int_equal(server_process_wait(&scene->server), 1);
    assert_non_null(
        strstr(scene->server.messages, "was removed while it was served; stopping"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_CLOCK(f1_an_idle_client_is_closed_only_when_another_waits),
        ON_CLOCK(f1_a_client_idle_for_long_is_closed_as_soon_as_another_comes),
        ON_CLOCK(f2_bytes_without_a_command_do_not_extend_the_time),
        ON_CLOCK(f2_commands_do_extend_the_time_though_another_waits),
        ON_CLOCK(f16_an_evicted_client_reads_why_though_its_input_was_unread),
        ON_CLOCK(f16_a_client_that_stays_after_quit_keeps_nobody_waiting),
        ON_CLOCK(f118_silent_connections_keep_nobody_waiting),
        ON_CLOCK(f118_a_line_that_arrived_before_another_client_came_is_executed),
        ON_CLOCK(f118_an_upload_that_goes_on_is_not_cut_off),
        ON_CLOCK(f118_an_upload_that_hardly_goes_on_is_cut_off),
        ON_CLOCK(f3_f119_a_client_that_takes_no_replies_is_reset_when_another_waits),
        ON_CLOCK(f3_asking_on_earns_no_time_for_taking_replies),
        ON_CLOCK(f119_a_stop_resets_a_client_whose_replies_it_cuts_off),
        ON_CLOCK(f119_a_stop_hears_one_that_has_only_just_come),
        ON_CLOCK(f119_a_stop_resets_one_that_has_been_silent),
        ON_CLOCK(f16_quit_delivers_earlier_replies_and_executes_nothing_later),
        ON_CLOCK(f16_requests_behind_a_quit_that_come_late_destroy_no_reply),
        ON_CLOCK(f16_hanging_up_on_unread_input_loses_no_reply),
        ON_CLOCK(f72_a_stop_is_prompt_while_nothing_was_asked),
        ON_CLOCK(f72_a_stop_is_prompt_after_a_reply),
        ON_CLOCK(f72_a_stop_is_prompt_within_a_line),
        ON_CLOCK(f72_a_stop_is_prompt_behind_a_whole_line),
        ON_CLOCK(f72_a_client_that_does_not_read_does_not_hold_up_the_stop),
        ON_CLOCK(f72_a_second_sigint_ends_at_once),
        ON_CLOCK(f42_a_stop_without_the_log_exits_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
