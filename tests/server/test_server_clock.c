/*
 * How long the server lets anybody wait, on a clock that stands still until the test
 * moves it: one that is idle, or never asks for anything, keeps the others waiting no
 * longer than it may, and a stop takes no longer than it may.
 *
 * wrap: poll clock_gettime sysconf pwrite
 */
#include "net/server.h"

#include "base/bounds.h"
#include "base/clock.h"
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

/* When a test's last write gets its second seal. */
#define SLOW_AFTER_MS (IDLE_MS + 200 + SECOND_SEAL_MS)

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

/* When the disk becomes slow; CLOCK_NEVER: it does not. */
static uint64_t slow_ms = CLOCK_NEVER;

/* A write that takes so long that the time of any client is over, after others have had
 * the time to do something. */
static void write_slowly(void *context)
{
    (void)context;
    if (clock_now_ms() < slow_ms) {
        shim_before(SHIM_BIT(SHIM_PWRITE), SHIM_ANY, write_slowly, NULL);
    } else {
        assert_int_equal(raise(SIGSTOP), 0);
        shim_advance_clock(IDLE_MS);
    }
}

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
    shim_before(SHIM_BIT(SHIM_PWRITE), SHIM_ANY, write_slowly, NULL);
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

/* The first maintenance that the test below has on its way. */
static int set_up_slow(void **state)
{
    slow_ms = START_MS + SLOW_AFTER_MS;
    int result = set_up(state);
    slow_ms = CLOCK_NEVER;
    return result;
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

#define ON_CLOCK(test)     cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define ON_SLOW_DISK(test) cmocka_unit_test_setup_teardown(test, set_up_slow, tear_down)

/* Let time go by; false: the server has ended. */
static bool begin_to_pass(uint64_t ms)
{
    return write(hands.orders_fds[1], &ms, sizeof ms) == (ssize_t)sizeof ms;
}

/*
 * Likewise, and wait until the server has done all that was to be done meanwhile.
 * Returns false if it has ended.
 */
static bool pass(uint64_t ms)
{
    uint64_t waits_until_ms = 0;
    if (!begin_to_pass(ms)) {
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

/* Alone it may be idle for ever; what counts then is its last whole command. */
static void f1_f2_an_idle_client_is_closed_only_when_another_waits(void **state)
{
    enum { DRIPS = 10 };
    struct scene *scene = *state;
    struct client idle = scene_client(scene);
    client_exchange(&idle, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    assert_true(pass(100 * IDLE_MS));
    client_exchange(&idle, SLICE_LITERAL("SET k v\n"), SLICE_LITERAL("success\n"));
    struct client second = bring_another(scene, "GET k\n");
    assert_true(pass(IDLE_MS - 1));
    client_exchange(&idle, SLICE_LITERAL("SET k w\n"), SLICE_LITERAL("success\n"));
    for (size_t i = 0; i < DRIPS; i++) {
        client_send_text(&idle, "x");
        client_await_consumed(&idle);
        assert_true(pass(IDLE_MS / DRIPS));
    }
    expect_eviction(&idle);
    client_expect_text(&second, "w\n");
    client_close(&second);
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

/* Its time is over, and both are there when the server looks. */
static void f118_a_line_that_arrived_before_another_client_came_is_executed(void **state)
{
    struct scene *scene = *state;
    struct client first = scene_client(scene);
    client_exchange(&first, SLICE_LITERAL("EXISTS k\n"), SLICE_LITERAL("0\n"));
    assert_true(pass(IDLE_MS + 100));
    server_process_signal(&scene->server, SIGSTOP);
    server_process_await_stopped(&scene->server);
    client_send_text(&first, "SET k 1\n");
    client_await_arrived(&first);
    struct client second = bring_another(scene, "GET k\n");
    server_process_signal(&scene->server, SIGCONT);
    client_expect_text(&first, "success\n");
    client_close(&first);
    client_expect_text(&second, "1\n");
    client_close(&second);
}

/*
 * Another waits, and the disk takes so long over the second seal that the time of the
 * first is over: what it sends meanwhile arrives before that.
 */
static void f118_a_line_that_arrived_while_the_disk_was_slow_is_executed(void **state)
{
    struct scene *scene = *state;
    struct client first = scene_client(scene);
    client_exchange(&first, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    struct client second = bring_another(scene, "GET k\n");
    assert_true(pass(IDLE_MS - 200));
    client_exchange(&first, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    assert_true(pass(400));
    client_exchange(&first, SLICE_LITERAL("SET k v\n"), SLICE_LITERAL("success\n"));
    assert_true(pass(SECOND_SEAL_MS - 200)); /* by now the second was heard */
    client_exchange(&first, SLICE_LITERAL("EXISTS k\n"), SLICE_LITERAL("1\n"));
    assert_true(begin_to_pass(200));
    server_process_await_stopped(&scene->server);
    client_send_text(&first, "SET k w\n");
    client_await_arrived(&first);
    server_process_signal(&scene->server, SIGCONT);
    client_expect_text(&first, "success\n");
    client_close(&first);
    client_expect_text(&second, "w\n");
    client_close(&second);
}

/* A tenth more than earns its time, in each tenth of the time that an idle client has. */
static void f118_an_upload_that_goes_on_is_not_cut_off(void **state)
{
    struct scene *scene = *state;
    struct script piece = {0};
    script_add_fill(&piece, 'x', 64 * KIB / 10 + 100);
    struct client loading = scene_client(scene);
    client_send_text(&loading, "SET k ");
    client_await_consumed(&loading);
    struct client second = bring_another(scene, "EXISTS k\n");
    for (size_t i = 0; i < 100; i++) {
        client_send(&loading, script_slice(&piece));
        client_await_consumed(&loading);
        assert_true(pass(IDLE_MS / 10));
    }
    client_exchange(&loading, SLICE_LITERAL("\n"), SLICE_LITERAL("success\n"));
    client_close(&loading);
    client_expect_text(&second, "1\n");
    client_close(&second);
    script_free(&piece);
}

/* ---- One that is hung up on: the lingering ends when it closes ---- */

/* Requests that must not be executed, some of which the server will not even read. */
static void add_unread_tail(struct script *requests)
{
    for (size_t i = 0; i < 2000; i++) {
        script_add_text(requests, "SET late value\n");
    }
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

/* The signal comes within a line: what stands before it is executed, and it is not. */
static void f72_a_stop_is_prompt_within_a_line(void **state)
{
    struct scene *scene = *state;
    struct client client = scene_client(scene);
    client_send_text(&client, "SET k v\nSET k unfinished");
    client_await_consumed(&client);
    server_process_signal(&scene->server, SIGINT);
    expect_prompt_end(scene);
    client_close(&client);
    scene_start(scene, NULL);
    scene_talk_text(scene, "GET k\nCOUNT\n", "v\n1\n");
}

/* More replies than sockets hold: all of them are due, and the client takes none. */
enum { DUE_BYTES = 100000, DUE_COUNT = 300 };

static void ask_and_do_not_read(const struct scene *scene, struct client *client)
{
    struct script request = {0};
    script_add_text(&request, "SET big ");
    script_add_fill_line(&request, 'x', DUE_BYTES);
    scene_talk(scene, script_slice(&request), SLICE_LITERAL("success\n"));
    request.length = 0;
    for (size_t i = 0; i < DUE_COUNT; i++) {
        script_add_text(&request, "GET big\n");
    }
    *client = scene_client(scene);
    client_send(client, script_slice(&request));
    client_await_consumed(client);
    script_free(&request);
}

/* It begins to, in time. */
static void f72_a_stop_delivers_what_was_executed(void **state)
{
    struct scene *scene = *state;
    struct client client;
    struct script reply = {0};
    ask_and_do_not_read(scene, &client);
    server_process_signal(&scene->server, SIGTERM);
    server_process_await_taken(&scene->server, SIGTERM);
    script_add_fill_line(&reply, 'x', DUE_BYTES);
    for (size_t i = 0; i < DUE_COUNT; i++) {
        client_expect(&client, script_slice(&reply));
    }
    client_expect_end(&client);
    client_close(&client);
    assert_int_equal(server_process_wait(&scene->server), 0);
    script_free(&reply);
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

static void f72_f119_a_stop_resets_a_client_that_does_not_read(void **state)
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
        ON_CLOCK(f1_f2_an_idle_client_is_closed_only_when_another_waits),
        ON_CLOCK(f16_a_client_that_stays_after_quit_keeps_nobody_waiting),
        ON_CLOCK(f118_a_line_that_arrived_before_another_client_came_is_executed),
        ON_SLOW_DISK(f118_a_line_that_arrived_while_the_disk_was_slow_is_executed),
        ON_CLOCK(f118_an_upload_that_goes_on_is_not_cut_off),
        ON_CLOCK(f3_f119_a_client_that_takes_no_replies_is_reset_when_another_waits),
        ON_CLOCK(f72_a_stop_delivers_what_was_executed),
        ON_CLOCK(f72_f119_a_stop_resets_a_client_that_does_not_read),
        ON_CLOCK(f119_a_stop_hears_one_that_has_only_just_come),
        ON_CLOCK(f119_a_stop_resets_one_that_has_been_silent),
        ON_CLOCK(f16_requests_behind_a_quit_that_come_late_destroy_no_reply),
        ON_CLOCK(f16_hanging_up_on_unread_input_loses_no_reply),
        ON_CLOCK(f72_a_stop_is_prompt_within_a_line),
        ON_CLOCK(f72_a_second_sigint_ends_at_once),
        ON_CLOCK(f42_a_stop_without_the_log_exits_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
