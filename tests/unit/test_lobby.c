/*
 * Those who are connected and have not had a turn, over calls that fail or tell what is
 * not so.
 *
 * wrap: accept recv poll clock_gettime
 */
#include "net/lobby.h"

#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 8 };

static const struct pollfd nobody[WAIT_OTHERS] = {{.fd = -1}, {.fd = -1}};

/* The lobby under test, the clients' ends, and theirs that accept gives next. */
static struct lobby lobby;
static int clients[CLIENTS];
static int coming[CLIENTS];
static size_t coming_count;
static size_t come_count;
static int bell[2]; /* in place of a socket that listens */

int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length);

int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    (void)fd;
    (void)address;
    (void)length;
    errno = EAGAIN;
    return come_count < coming_count ? coming[come_count++] : -1;
}

static int setup(void **state)
{
    (void)state;
    shim_reset();
    assert_int_equal(pipe(bell), 0);
    assert_int_equal(write(bell[1], "!", 1), 1);
    lobby_open(&lobby, bell, 1);
    for (size_t i = 0; i < CLIENTS; i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
        coming[i] = fds[0];
        clients[i] = fds[1];
    }
    coming_count = CLIENTS;
    come_count = 0;
    lobby_look(&lobby, nobody, 0);
    assert_int_equal(come_count, CLIENTS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shim_reset();
    lobby_close(&lobby);
    for (size_t i = 0; i < CLIENTS; i++) {
        (void)close(clients[i]); /* a socket */
    }
    (void)close(bell[0]); /* only a pipe */
    (void)close(bell[1]);
    return 0;
}

#define IN_LOBBY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void speak(size_t client)
{
    assert_int_equal(write(clients[client], "x", 1), 1);
}

static bool is_closed(size_t client)
{
    char byte;
    ssize_t count = recv(clients[client], &byte, sizeof byte, 0);
    return count == 0 || (count < 0 && errno == ECONNRESET);
}

/*
 * Urgent data on a Unix-domain socket are such a thing: the socket is ready, and nothing
 * can be peeked. Who was kept would end each wait at once.
 */
static void f118_lobby_keeps_nobody_who_is_ready_without_a_byte(void **state)
{
    (void)state;
    speak(2);
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, EAGAIN);
    lobby_look(&lobby, nobody, 0);
    shim_clear_faults();
    assert_int_equal(lobby_heard_count(&lobby), 0);
    assert_true(is_closed(2));
    speak(3);
    lobby_look(&lobby, nobody, 0);
    assert_int_equal(lobby_heard_count(&lobby), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_LOBBY(f118_lobby_keeps_nobody_who_is_ready_without_a_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
