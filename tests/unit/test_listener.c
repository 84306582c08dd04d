/*
 * Where the server listens: what may stand at the path of a socket, and what a service
 * manager may hand over.
 *
 * wrap: socket connect chmod getaddrinfo freeaddrinfo
 */
#include "net/listener.h"

#include "support/engine.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int socket_error; /* 0: none */
static int connect_error;
static int chmod_error;

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __real_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);
int __real_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode);

int __wrap_socket(int domain, int type, int protocol)
{
    errno = socket_error;
    return socket_error != 0 ? -1 : __real_socket(domain, type, protocol);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    errno = connect_error;
    return connect_error != 0 ? -1 : __real_connect(fd, address, length);
}

int __wrap_chmod(const char *path, mode_t mode)
{
    errno = chmod_error;
    return chmod_error != 0 ? -1 : __real_chmod(path, mode);
}

/* A name with two addresses, whatever the names of this machine have. */
#define NAME_OF_TWO "name.of.two"

static struct sockaddr_in two_addresses[2];
static struct addrinfo two[2];

int __real_getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found_out);
int __wrap_getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found_out);
void __real_freeaddrinfo(struct addrinfo *found);
void __wrap_freeaddrinfo(struct addrinfo *found);

int __wrap_getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found_out)
{
    if (strcmp(name, NAME_OF_TWO) != 0) {
        return __real_getaddrinfo(name, port, hints, found_out);
    }
    for (size_t i = 0; i < 2; i++) {
        two_addresses[i] = (struct sockaddr_in){
            .sin_family = AF_INET,
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 100 + (in_addr_t)i)};
        two[i] = (struct addrinfo){.ai_family = AF_INET,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_addr = (struct sockaddr *)&two_addresses[i],
                                   .ai_addrlen = sizeof two_addresses[i]};
    }
    two[0].ai_next = &two[1];
    *found_out = &two[0];
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *found)
{
    if (found != &two[0]) {
        __real_freeaddrinfo(found);
    }
}

static struct listener_options at(const char *address)
{
    return (struct listener_options){
        .address_count = 1, .addresses = {address}, .port = "0"};
}

/* Refused before it listens, or when it is to listen; with one line. */
static void expect_refusal_of(struct engine *engine,
                              const struct listener_options *options)
{
    struct listener listener;
    engine_forget_messages(engine);
    assert_true(listener_bind(options, &listener) == KV_IO ||
                listener_open(options, &listener) == KV_IO);
    listener_close(&listener);
    assert_int_equal(engine_told(engine, ""), 1);
}

static void expect_refusal(struct engine *engine, const char *address)
{
    struct listener_options options = at(address);
    expect_refusal_of(engine, &options);
}

/* What the server prints when it is ready is no address, and the line says why. */
static void listener_takes_no_port_in_an_address(void **state)
{
    struct engine *engine = *state;
    const char *const addresses[] = {"127.0.0.1:7878", "[::1]:7878", "localhost:7878"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        char told[100];
        expect_refusal(engine, addresses[i]);
        (void)snprintf(told, sizeof told, "%s: no such address: its port goes into",
                       addresses[i]);
        assert_int_equal(engine_told(engine, told), 1);
    }
    expect_refusal(engine, "127.0.0.1:0");
    engine_expect_line(engine,
                       "127.0.0.1:0: no such address: its port goes into --port; "
                       "giving up",
                       0, 0);
    expect_refusal(engine, "::g"); /* IPv6, and wrong in another way */
    assert_int_equal(engine_told(engine, "--port"), 0);
}

/* What is no socket is never replaced; one on which somebody answers is left to him. */
static void f121_listener_replaces_only_what_a_dead_server_left(void **state)
{
    struct engine *engine = *state;
    struct listener listener;
    struct stat info;
    engine_open(engine);
    expect_refusal(engine, engine->log.path);
    engine_expect_line(engine, "PATH: is no socket and is not replaced; giving up", 0, 0);
    char path[TEMPDIR_FILE_BYTES + 8];
    (void)snprintf(path, sizeof path, "%s/below", engine->log.path);
    expect_refusal(engine, path); /* and nobody can say what stands there */
    engine_expect_line(engine,
                       "PATH/below: cannot find out who listens there; giving up: ERROR",
                       0, ENOTDIR);
    (void)snprintf(path, sizeof path, "%s.here", engine->log.path);
    struct listener_options options = at(path);
    assert_int_equal(listener_bind(&options, &listener), KV_OK);
    assert_int_equal(listener_open(&options, &listener), KV_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    expect_refusal(engine, path);
    engine_expect_line(engine, "PATH.here: another server listens there; giving up", 0,
                       0);
    connect_error = EAGAIN; /* so many wait there already */
    expect_refusal(engine, path);
    engine_expect_line(engine, "PATH.here: another server listens there; giving up", 0,
                       0);
    connect_error = EACCES; /* another user's */
    expect_refusal(engine, path);
    engine_expect_line(engine,
                       "PATH.here: cannot find out who listens there; giving up: ERROR",
                       0, EACCES);
    connect_error = 0;
    assert_int_equal(close(listener.fds[0]), 0); /* as a death leaves it */
    socket_error = EMFILE;
    expect_refusal(engine, path);
    engine_expect_line(engine,
                       "PATH.here: cannot find out who listens there; giving up: ERROR",
                       0, EMFILE);
    socket_error = 0;
    chmod_error = EPERM;
    engine_forget_messages(engine);
    assert_int_equal(listener_bind(&options, &listener), KV_OK);
    assert_int_equal(listener_open(&options, &listener), KV_IO);
    engine_expect_line(engine, "PATH.here: cannot set its mode; giving up: ERROR", 0,
                       EPERM);
    listener_close(&listener);
    chmod_error = 0;
    options.addresses[options.address_count++] = path; /* named twice, it is one */
    assert_int_equal(listener_bind(&options, &listener), KV_OK);
    assert_int_equal(listener_open(&options, &listener), KV_OK);
    assert_int_equal(listener.count, 1);
    engine_forget_messages(engine);
    listener_tell_ready(&listener);
    engine_expect_line(engine, "listening on PATH.here", 0, 0);
    listener_close(&listener);
    assert_int_equal(stat(path, &info), -1);
}

/* What the system says of a socket that cannot be had is what is told. */
static void f121_listener_tells_why_a_path_has_no_socket(void **state)
{
    struct engine *engine = *state;
    char path[TEMPDIR_FILE_BYTES + 8];
    engine_open(engine);
    (void)snprintf(path, sizeof path, "%s.here", engine->log.path);
    socket_error = EMFILE;
    expect_refusal(engine, path);
    engine_expect_line(engine, "PATH.here: cannot listen; giving up: ERROR", 0, EMFILE);
    socket_error = 0;
}

/* Add so many addresses of this machine. */
static void add_addresses(struct listener_options *options, size_t count)
{
    static char texts[LISTENERS_MAX][32];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "127.0.0.%zu", i + 1);
        options->addresses[options->address_count++] = texts[i];
    }
}

/* Every address of a name is listened on, or the one that has no place any more is named.
 */
static void listener_names_what_is_one_socket_too_many(void **state)
{
    struct engine *engine = *state;
    struct listener listener;
    char path[TEMPDIR_FILE_BYTES + 8];
    engine_open(engine);
    (void)snprintf(path, sizeof path, "%s.here", engine->log.path);

    struct listener_options options = at(NAME_OF_TWO);
    add_addresses(&options, LISTENERS_MAX - 3);
    options.addresses[options.address_count++] = path;
    assert_int_equal(listener_bind(&options, &listener), KV_OK);
    assert_int_equal(listener_open(&options, &listener), KV_OK);
    assert_int_equal(listener.count, LISTENERS_MAX);
    listener_close(&listener);

    options = at(NAME_OF_TWO);
    add_addresses(&options, LISTENERS_MAX - 2);
    options.addresses[options.address_count++] = path;
    expect_refusal_of(engine, &options);
    engine_expect_line(engine, "PATH.here: one socket too many, 16 at most; giving up", 0,
                       0);

    options = at(NAME_OF_TWO);
    add_addresses(&options, LISTENERS_MAX - 1);
    expect_refusal_of(engine, &options);
    engine_expect_line(engine, "127.0.0.15: one socket too many, 16 at most; giving up",
                       0, 0);

    options = (struct listener_options){.port = "0"};
    add_addresses(&options, LISTENERS_MAX - 1);
    options.addresses[options.address_count++] = NAME_OF_TWO;
    expect_refusal_of(engine, &options);
    engine_expect_line(engine, NAME_OF_TWO ": one socket too many, 16 at most; giving up",
                       0, 0);
}

static void f121_listener_takes_no_path_that_is_too_long(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    expect_refusal(engine,
                   "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    engine_expect_line(engine,
                       "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                       "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: "
                       "too long for the path of a socket; giving up",
                       0, 0);
}

static void hand_over(const char *count)
{
    char pid[24];
    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
    assert_int_equal(setenv("LISTEN_PID", pid, 1), 0);
    assert_int_equal(setenv("LISTEN_FDS", count, 1), 0);
}

static void f121_listener_refuses_sockets_that_are_none(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    hand_over("0");
    expect_refusal(engine, "127.0.0.1");
    engine_expect_line(engine, "LISTEN_FDS: takes 1 to 16 sockets; giving up", 0, 0);
    hand_over("1"); /* whatever has that number here does not listen */
    expect_refusal(engine, "127.0.0.1");
    engine_expect_line(
        engine, "LISTEN_FDS: descriptor 3 is no socket that listens; giving up", 0, 0);

    /* One that listens, but to messages. */
    enum { FIRST_FD = 3 };
    const struct sockaddr_un any = {.sun_family = AF_UNIX};
    int messages = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    int kept = dup(FIRST_FD);
    assert_int_equal(bind(messages, (const struct sockaddr *)&any, sizeof any.sun_family),
                     0);
    assert_int_equal(listen(messages, 1), 0);
    assert_int_equal(dup2(messages, FIRST_FD), FIRST_FD);
    hand_over("1");
    expect_refusal(engine, "127.0.0.1");
    assert_int_equal(dup2(kept, FIRST_FD), FIRST_FD);
    assert_int_equal(close(kept), 0);
    assert_int_equal(close(messages), 0);
}

/* One of Linux that has no file: it is told as ss and systemd write it. */
static void f121_listener_names_a_socket_without_a_file(void **state)
{
    enum { FIRST_FD = 3 };
    struct engine *engine = *state;
    struct listener listener;
    struct listener_options options = at("127.0.0.1");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char line[64];
    engine_open(engine);
    int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "kv-test-%ld",
                          (long)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int kept = dup(FIRST_FD);
    if (bind(fd, (const struct sockaddr *)&name,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) <
        0) {
        print_message("no sockets without a file here\n");
        skip();
    }
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(dup2(fd, FIRST_FD), FIRST_FD);
    hand_over("1");
    engine_forget_messages(engine);
    assert_int_equal(listener_bind(&options, &listener), KV_OK);
    listener_tell_ready(&listener);
    listener_close(&listener);
    assert_int_equal(dup2(kept, FIRST_FD), FIRST_FD);
    assert_int_equal(close(kept), 0);
    assert_int_equal(close(fd), 0);
    (void)snprintf(line, sizeof line, "listening on @kv-test-%ld", (long)getpid());
    engine_expect_line(engine, line, 0, 0);
}

/* Whether a socket is for IPv6 alone. */
static bool is_narrow(int fd)
{
    int is_only = 0;
    socklen_t length = sizeof is_only;
    assert_int_equal(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &is_only, &length), 0);
    return is_only != 0;
}

/* The address of all of IPv6 stands for IPv4 too, as the system has it, but beside
 * others; a path is none. */
static void listener_narrows_ipv6_only_beside_other_addresses(void **state)
{
    struct engine *engine = *state;
    struct listener listener;
    engine_open(engine);
    int fresh = socket(AF_INET6, SOCK_STREAM, 0);
    struct listener_options options = at("::");
    if (fresh < 0 || listener_bind(&options, &listener) != KV_OK) {
        print_message("no IPv6 here\n");
        skip();
    }
    assert_true(is_narrow(listener.fds[0]) == is_narrow(fresh));
    listener_close(&listener);
    options.addresses[options.address_count++] = "/tmp/no.such.directory/socket";
    assert_int_equal(listener_bind(&options, &listener), KV_OK);
    assert_true(is_narrow(listener.fds[0]) == is_narrow(fresh));
    listener_close(&listener);
    options = at("[::1]"); /* as it is printed */
    assert_int_equal(listener_bind(&options, &listener), KV_OK);
    listener_close(&listener);
    options = at("::");
    options.addresses[options.address_count++] = "127.0.0.1";
    assert_int_equal(listener_bind(&options, &listener), KV_OK);
    assert_true(is_narrow(listener.fds[0]));
    listener_close(&listener);
    assert_int_equal(close(fresh), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(listener_takes_no_port_in_an_address),
        ON_ENGINE(f121_listener_replaces_only_what_a_dead_server_left),
        ON_ENGINE(f121_listener_tells_why_a_path_has_no_socket),
        ON_ENGINE(f121_listener_takes_no_path_that_is_too_long),
        ON_ENGINE(listener_names_what_is_one_socket_too_many),
        ON_ENGINE(listener_narrows_ipv6_only_beside_other_addresses),
        ON_ENGINE(f121_listener_names_a_socket_without_a_file),
        ON_ENGINE(f121_listener_refuses_sockets_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
