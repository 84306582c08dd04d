/*
 * What the running program tells the service manager through NOTIFY_SOCKET.
 */
#include "base/bounds.h"
#include "support/scene.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { NAME_BYTES = 256 };

static const char variable[] = "NOTIFY_SOCKET";

/* The manager's side: a datagram socket of this name, "@" for an abstract one. */
static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_in_range(strlen(name), 2, sizeof address.sun_path - 1);
    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@') {
        address.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    size_t length = offsetof(struct sockaddr_un, sun_path) + strlen(name);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)length), 0);
    return fd;
}

/* The next datagram is there, and is this text; NULL: none is there. */
static void expect_told(int fd, const char *text)
{
    char bytes[256];
    ssize_t length = recv(fd, bytes, sizeof bytes - 1, 0);
    bytes[length < 0 ? 0 : length] = '\0';
    if (text == NULL) {
        assert_int_equal(length, -1);
        assert_int_equal(errno, EAGAIN);
    } else {
        assert_string_equal(bytes, text);
    }
}

static void path_name(const struct scene *scene, char name[NAME_BYTES])
{
    struct tempdir_file file = tempdir_file(&scene->tempdir, "notify");
    assert_in_range(snprintf(name, NAME_BYTES, "%s", file.path), 2, NAME_BYTES - 1);
}

static size_t count_said(const struct scene *scene, const char *text)
{
    size_t count = 0;
    const char *at = scene->server.messages;
    while ((at = strstr(at, text)) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* Ready comes with the ready line before it, stopping at the stop, and nothing else. */
static void expect_both_told(struct scene *scene, const char *name)
{
    int fd = listen_at(name);
    assert_int_equal(setenv(variable, name, 1), 0);
    struct server_launch launch = {.log = scene->log.path};
    server_process_launch(&scene->server, &launch);
    watchdog_await(fd, POLLIN, watchdog_deadline_ms(), "READY=1");
    expect_told(fd, "READY=1");
    assert_true(watchdog_sees(scene->server.stderr_fd, POLLIN));
    server_process_await_ready(&scene->server);
    scene_talk_text(scene, "SET k v\n", "success\n");
    expect_told(fd, NULL);
    server_process_stop(&scene->server);
    expect_told(fd, "STOPPING=1");
    expect_told(fd, NULL);
    assert_int_equal(count_said(scene, "kv-store: "), 1);
    close(fd);
}

static void notify_tells_a_path_socket(void **state)
{
    char name[NAME_BYTES];
    path_name(*state, name);
    expect_both_told(*state, name);
}

static void notify_tells_an_abstract_socket(void **state)
{
    char name[NAME_BYTES];
    path_name(*state, name);
    name[0] = '@';
    expect_both_told(*state, name);
}

static void notify_tells_nothing_that_nobody_asked_for(void **state)
{
    struct scene *scene = *state;
    char name[NAME_BYTES];
    path_name(scene, name);
    int fd = listen_at(name);
    assert_int_equal(unsetenv(variable), 0);
    scene_start(scene, NULL);
    server_process_stop(&scene->server);
    assert_int_equal(setenv(variable, "", 1), 0);
    scene_start(scene, NULL);
    server_process_stop(&scene->server);
    assert_int_equal(count_said(scene, "kv-store: "), 1);
    expect_told(fd, NULL);
    close(fd);
}

/* Neither work offline, nor a start that fails, nor a death is ready or a clean stop. */
static void notify_tells_only_of_service(void **state)
{
    static const char *const verify[] = {"--verify", NULL};
    static const char *const nowhere[] = {"--address", "192.0.2.1", NULL};
    struct scene *scene = *state;
    char name[NAME_BYTES];
    path_name(scene, name);
    int fd = listen_at(name);
    scene_start(scene, NULL); /* makes a log, and is told to nobody */
    server_process_stop(&scene->server);
    assert_int_equal(setenv(variable, name, 1), 0);
    assert_int_equal(server_process_run(&scene->server, scene->log.path, nowhere), 1);
    assert_int_equal(server_process_run(&scene->server, scene->log.path, verify), 0);
    expect_told(fd, NULL);
    scene_start(scene, NULL);
    watchdog_await(fd, POLLIN, watchdog_deadline_ms(), "READY=1");
    server_process_kill(&scene->server);
    expect_told(fd, "READY=1");
    expect_told(fd, NULL);
    close(fd);
}

/* One warning, and then service and a clean stop as ever. */
static void expect_one_warning(struct scene *scene, const char *name)
{
    assert_int_equal(setenv(variable, name, 1), 0);
    scene_start(scene, NULL);
    server_process_await_message(&scene->server, "NOTIFY_SOCKET");
    scene_talk_text(scene, "SET k v\nGET k\n", "success\nv\n");
    server_process_stop(&scene->server);
    assert_int_equal(count_said(scene, "NOTIFY_SOCKET"), 1);
    assert_int_equal(count_said(scene, "kv-store: "), 2);
}

static void scene_expect_line(const struct scene *scene, const char *line)
{
    assert_int_equal(count_said(scene, line), 1);
}

static void notify_survives_whatever_the_variable_says(void **state)
{
    static const char *const names[] = {
        "relative", "vsock:2:1234", "@", "/", "/nowhere/at/all", "@nobody listens here"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        expect_one_warning(*state, names[i]);
    }
    expect_one_warning(*state, names[0]);
    /* What stands behind it are the words of the C library. */
    scene_expect_line(*state,
                      "kv-store: NOTIFY_SOCKET=relative: cannot send READY=1; nothing "
                      "more is sent there: ");
    /* The longest name that fits, and one byte more. */
    char name[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
    memset(name, 'n', sizeof name);
    name[0] = '/';
    name[sizeof name - 2] = '\0';
    expect_one_warning(*state, name);
    assert_int_equal(count_said(*state, " too long\n"), 0);
    name[sizeof name - 2] = 'n';
    name[sizeof name - 1] = '\0';
    expect_one_warning(*state, name);
    assert_int_equal(count_said(*state, " too long\n"), 1);
}

/* A manager that takes nothing: the wait is bounded, and service begins all the same. */
static void notify_gives_up_on_a_full_socket(void **state)
{
    struct scene *scene = *state;
    char name[NAME_BYTES];
    path_name(scene, name);
    int fd = listen_at(name);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, strlen(name));
    while (sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof address) == 1) {
    }
    assert_int_equal(errno, EAGAIN);
    expect_one_warning(scene, name);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SCENE(notify_tells_a_path_socket),
        ON_SCENE(notify_tells_an_abstract_socket),
        ON_SCENE(notify_tells_nothing_that_nobody_asked_for),
        ON_SCENE(notify_tells_only_of_service),
        ON_SCENE(notify_survives_whatever_the_variable_says),
        ON_SCENE(notify_gives_up_on_a_full_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
