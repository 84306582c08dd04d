/*
 * Several clients of the running program: they are served in turn, and one that is
 * idle, or never asks for anything, keeps the others waiting no longer than it may.
 */
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <poll.h>

static void a_connection_is_a_critical_section(void **state)
{
    struct scene *scene = *state;
    struct client first = scene_client(scene);
    client_exchange(&first, SLICE_LITERAL("SET k 1\n"), SLICE_LITERAL("success\n"));
    struct client second = scene_client(scene);
    client_send_text(&second, "GET k\nSET k 3\n");
    client_expect_silence(&second, 200);
    client_exchange(&first, SLICE_LITERAL("SET k 2\nGET k\n"),
                    SLICE_LITERAL("success\n2\n"));
    client_expect_silence(&second, 50);
    client_close(&first);
    client_expect_text(&second, "2\nsuccess\n");
    client_close(&second);
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
        script_add_format(&request, "SET w%zu %zu\nGET w%zu\n%s", i, i, i,
                          i % 2 == 0 ? "QUIT\n" : "");
        clients[i] = scene_client(scene);
        client_send(&clients[i], script_slice(&request));
        if (i % 2 != 0) {
            client_half_close(&clients[i]);
        }
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

static void f15_waiting_clients_that_give_up_are_passed_over(void **state)
{
    struct scene *scene = *state;
    struct client holder = scene_client(scene);
    client_exchange(&holder, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    for (size_t i = 0; i < 60; i++) {
        struct client client = scene_client(scene);
        if (i % 3 != 0) {
            client_send_text(&client, "GET k\n");
        }
        if (i % 2 == 0) {
            client_reset(&client);
        } else {
            client_close(&client);
        }
    }
    client_close(&holder);
    scene_talk_text(scene, "COUNT\n", "0\n");
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

static void f18_connections_that_come_and_go_leave_no_descriptor_behind(void **state)
{
    struct scene *scene = *state;
    size_t before = fd_count_while_serving(scene);
    for (size_t i = 0; i < watchdog_scaled(2000, 100); i++) {
        struct client client = scene_client(scene);
        if (i % 4 == 1) {
            client_exchange(&client, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
        } else if (i % 4 == 2) {
            client_exchange(&client, SLICE_LITERAL("COUNT\nQUIT\n"),
                            SLICE_LITERAL("0\n"));
        }
        if (i % 4 == 3) {
            client_reset(&client);
        } else {
            client_close(&client);
        }
    }
    assert_int_equal(fd_count_while_serving(scene), before);
}

static const char *const idle_one_second[] = {"--idle", "1", NULL};

/* Times on a slow machine say nothing, so that there only the order is judged. */
static void assert_elapsed(uint64_t start_ms, uint64_t least_ms, uint64_t most_ms)
{
    uint64_t elapsed_ms = watchdog_now_ms() - start_ms;
    if (elapsed_ms < least_ms || (elapsed_ms > most_ms && !watchdog_is_slow())) {
        fail_msg("took %llu ms", (unsigned long long)elapsed_ms);
    }
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
    scene_start(scene, idle_one_second);
    struct client idle = scene_client(scene);
    client_exchange(&idle, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    client_expect_silence(&idle, 1700);
    uint64_t start_ms = watchdog_now_ms();
    client_exchange(&idle, SLICE_LITERAL("SET k v\n"), SLICE_LITERAL("success\n"));
    struct client second = scene_client(scene);
    client_send_text(&second, "GET k\n");
    expect_eviction(&idle);
    assert_elapsed(start_ms, 950, 3000);
    client_expect_text(&second, "v\n");
    client_close(&second);
}

static void f1_a_client_idle_for_long_is_closed_as_soon_as_another_comes(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, idle_one_second);
    struct client idle = scene_client(scene);
    client_expect_silence(&idle, 1400); /* not one command since it connected */
    struct client second = scene_client(scene);
    uint64_t start_ms = watchdog_now_ms();
    client_send_text(&second, "COUNT\n");
    expect_eviction(&idle);
    assert_elapsed(start_ms, 0, 800);
    client_expect_text(&second, "0\n");
    client_close(&second);
}

static void f2_bytes_without_a_command_do_not_extend_the_time(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, idle_one_second);
    struct client dripping = scene_client(scene);
    client_exchange(&dripping, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
    struct client second = scene_client(scene);
    client_send_text(&second, "COUNT\n");
    uint64_t start_ms = watchdog_now_ms();
    while (!watchdog_sees(dripping.fd, POLLIN, 50)) {
        client_send_text(&dripping, "x");
        assert_elapsed(start_ms, 0, 5000);
    }
    expect_eviction(&dripping);
    assert_elapsed(start_ms, 900, 3000);
    client_expect_text(&second, "0\n");
    client_close(&second);
}

static void f2_commands_do_extend_the_time_though_another_waits(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, idle_one_second);
    struct client busy = scene_client(scene);
    struct client second = scene_client(scene);
    client_send_text(&second, "COUNT\n");
    for (size_t i = 0; i < 7; i++) {
        client_exchange(&busy, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("0\n"));
        client_expect_silence(&busy, 300);
    }
    client_close(&busy);
    client_expect_text(&second, "0\n");
    client_close(&second);
}

static void f16_an_evicted_client_reads_why_though_its_input_was_unread(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, idle_one_second);
    struct script unfinished = {0};
    script_add_text(&unfinished, "COUNT\nSET k ");
    script_add_fill(&unfinished, 'x', 40000);
    struct client idle = scene_client(scene);
    client_send(&idle, script_slice(&unfinished));
    client_expect_text(&idle, "0\n");
    struct client second = scene_client(scene);
    client_send_text(&second, "COUNT\n");
    expect_eviction(&idle);
    client_expect_text(&second, "0\n");
    client_close(&second);
    script_free(&unfinished);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(a_connection_is_a_critical_section),
        ON_SERVER(f15_many_waiting_clients_are_each_served_rightly),
        ON_SERVER(f15_waiting_clients_that_give_up_are_passed_over),
        ON_SERVER(f18_connections_that_come_and_go_leave_no_descriptor_behind),
        ON_SCENE(f1_an_idle_client_is_closed_only_when_another_waits),
        ON_SCENE(f1_a_client_idle_for_long_is_closed_as_soon_as_another_comes),
        ON_SCENE(f2_bytes_without_a_command_do_not_extend_the_time),
        ON_SCENE(f2_commands_do_extend_the_time_though_another_waits),
        ON_SCENE(f16_an_evicted_client_reads_why_though_its_input_was_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
