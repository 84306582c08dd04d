/*
 * Several clients of the running program: they are served in turn. How long one may keep
 * the others waiting is told by test_server_clock.
 */
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

static void a_connection_is_a_critical_section(void **state)
{
    struct scene *scene = *state;
    struct client first = scene_client(scene);
    client_exchange(&first, SLICE_LITERAL("SET k 1\n"), SLICE_LITERAL("success\n"));
    struct client second = scene_client(scene);
    client_send_text(&second, "GET k\nSET k 3\n");
    client_await_arrived(&second);
    client_exchange(&first, SLICE_LITERAL("SET k 2\nGET k\n"),
                    SLICE_LITERAL("success\n2\n"));
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(a_connection_is_a_critical_section),
        ON_SERVER(f15_many_waiting_clients_are_each_served_rightly),
        ON_SERVER(f15_waiting_clients_that_give_up_are_passed_over),
        ON_SERVER(f18_connections_that_come_and_go_leave_no_descriptor_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
