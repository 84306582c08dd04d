/*
 * Telling the service manager over calls that fail; test_server_notify has the rest.
 *
 * wrap: socket setsockopt sendto
 */
#include "net/notify.h"

#include "support/unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
ssize_t __wrap_sendto(int fd, const void *bytes, size_t length, int flags,
                      const struct sockaddr *address, socklen_t address_length);

/* Which of the calls fail from now on, and how often sendto is interrupted first. */
static struct {
    bool has_no_socket;
    bool has_no_timeout;
    int interruption_count;
    int sent_count;
} manager;

int __wrap_socket(int domain, int type, int protocol)
{
    if (manager.has_no_socket) {
        errno = EMFILE;
        return -1;
    }
    return __real_socket(domain, type, protocol);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    (void)fd;
    (void)level;
    (void)name;
    (void)value;
    (void)length;
    errno = EDOM;
    return manager.has_no_timeout ? -1 : 0;
}

ssize_t __wrap_sendto(int fd, const void *bytes, size_t length, int flags,
                      const struct sockaddr *address, socklen_t address_length)
{
    (void)fd;
    (void)bytes;
    (void)flags;
    (void)address;
    (void)address_length;
    if (manager.interruption_count > 0) {
        manager.interruption_count--;
        errno = EINTR;
        return -1;
    }
    manager.sent_count++;
    return (ssize_t)length;
}

static int set_up(void **state)
{
    (void)state;
    memset(&manager, 0, sizeof manager);
    return setenv("NOTIFY_SOCKET", "/nowhere", 1);
}

static void notify_sends_again_after_a_signal(void **state)
{
    (void)state;
    manager.interruption_count = 2;
    notify_ready();
    assert_int_equal(manager.sent_count, 1);
    assert_non_null(getenv("NOTIFY_SOCKET"));
    notify_stopping();
    assert_int_equal(manager.sent_count, 2);
    assert_null(getenv("NOTIFY_SOCKET"));
}

static void notify_without_a_socket_gives_up(void **state)
{
    (void)state;
    manager.has_no_socket = true;
    notify_ready();
    assert_null(getenv("NOTIFY_SOCKET"));
}

/* A send that could wait for ever is not begun. */
static void notify_without_a_timeout_sends_nothing(void **state)
{
    (void)state;
    manager.has_no_timeout = true;
    notify_ready();
    assert_int_equal(manager.sent_count, 0);
    assert_null(getenv("NOTIFY_SOCKET"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(notify_sends_again_after_a_signal, set_up),
        cmocka_unit_test_setup(notify_without_a_socket_gives_up, set_up),
        cmocka_unit_test_setup(notify_without_a_timeout_sends_nothing, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
