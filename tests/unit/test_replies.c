/*
 * Replies of a client that is lost, and without memory. That they are the same bytes in
 * whatever pieces a client takes them, and nobody else's, is the world's to judge.
 *
 * wrap: send malloc calloc realloc
 */
#include "net/replies.h"

#include "base/bounds.h"
#include "support/script.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The replies under test, and the client's end of the connection. */
struct pair {
    struct conn *conn;
    struct replies replies;
    int client;
};

static int setup(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);
    int fds[2];
    assert_non_null(pair);
    shim_reset();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(conn_create(100, &pair->conn), KV_OK);
    assert_int_equal(replies_init(&pair->replies, pair->conn, NULL), KV_OK);
    conn_attach(pair->conn, fds[0]);
    pair->client = fds[1];
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    shim_reset();
    replies_destroy(&pair->replies);
    conn_close(pair->conn);
    conn_destroy(pair->conn);
    (void)close(pair->client); /* a socket */
    free(pair);
    return 0;
}

#define ON_PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void put(struct pair *pair, struct slice bytes)
{
    assert_int_equal(buffer_reserve(replies_held(&pair->replies), bytes.length), KV_OK);
    buffer_append(replies_held(&pair->replies), bytes);
}

static void f7_replies_tell_a_lost_client_and_keep_the_rest(void **state)
{
    struct pair *pair = *state;
    put(pair, SLICE_LITERAL("reply\n"));
    shim_fail_from(SHIM_BIT(SHIM_SEND), SHIM_ANY, 1, ECONNRESET);
    assert_int_equal(replies_send(&pair->replies), CONN_LOST);
    assert_true(replies_are_due(&pair->replies));
}

static void f71_replies_without_memory_have_no_room_and_append_nothing(void **state)
{
    struct pair *pair = *state;
    struct replies second;
    struct script value = {0};
    script_add_fill(&value, 'v', REPLIES_BYTES_KEPT + 1);
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    assert_int_equal(replies_init(&second, pair->conn, NULL), KV_NO_MEMORY);
    assert_int_equal(replies_put_value(&pair->replies, script_slice(&value)),
                     KV_NO_MEMORY);
    assert_false(replies_are_due(&pair->replies));
    assert_true(replies_have_room(&pair->replies)); /* that was there from the start */
    put(pair, slice_first(script_slice(&value), REPLIES_BYTES_KEPT));
    assert_false(replies_have_room(&pair->replies));
    shim_clear_faults();
    assert_true(replies_have_room(&pair->replies));
    script_free(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_PAIR(f7_replies_tell_a_lost_client_and_keep_the_rest),
        ON_PAIR(f71_replies_without_memory_have_no_room_and_append_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
