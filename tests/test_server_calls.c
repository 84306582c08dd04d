/*
 * The server in this process, over calls that fail: what it makes of them, and the
 * whole line that it says.
 *
 * wrap: calloc realloc fcntl pwrite ftruncate fdatasync fstat recv send shutdown
 * wrap: accept socket setsockopt bind listen pipe getsockname getaddrinfo freeaddrinfo
 * wrap: gai_strerror getnameinfo
 */
#include "server.h"

#include "bounds.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Calls that the shim does not know ---- */

enum network_call {
    CALL_NONE,
    CALL_PIPE,
    CALL_RESOLVE,
    CALL_ADDRESS,
    CALL_NAME,
    CALL_SOCKET,
    CALL_OPTION,
    CALL_BIND,
    CALL_LISTEN
};

/* The one that fails: the nth of its kind, and all later ones if nth is 0. */
static struct {
    enum network_call call;
    unsigned nth;
    int error;
    unsigned seen;
} network_fault;

static bool network_fails(enum network_call call)
{
    if (network_fault.call != call) {
        return false;
    }
    network_fault.seen++;
    bool is_met = network_fault.nth == 0 || network_fault.seen == network_fault.nth;
    if (is_met) {
        errno = network_fault.error;
    }
    return is_met;
}

int __real_pipe(int ends[2]);
int __wrap_pipe(int ends[2]);
int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **addresses);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **addresses);
const char *__wrap_gai_strerror(int error);
void __real_freeaddrinfo(struct addrinfo *addresses);
void __wrap_freeaddrinfo(struct addrinfo *addresses);
int __real_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int __real_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                       socklen_t host_length, char *port, socklen_t port_length,
                       int flags);
int __wrap_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                       socklen_t host_length, char *port, socklen_t port_length,
                       int flags);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __real_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int __real_bind(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length);
int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __real_accept(int fd, struct sockaddr *address, socklen_t *length);
int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length);

int __wrap_pipe(int ends[2])
{
    return network_fails(CALL_PIPE) ? -1 : __real_pipe(ends);
}

/* A name stands for its addresses twice. */
static bool doubles_addresses;
static struct addrinfo *doubled;

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **addresses)
{
    if (network_fails(CALL_RESOLVE)) {
        return EAI_NONAME;
    }
    int error = __real_getaddrinfo(host, port, hints, addresses);
    if (error == 0 && doubles_addresses) {
        assert_null((*addresses)->ai_next);
        assert_int_equal(__real_getaddrinfo(host, port, hints, &doubled), 0);
        (*addresses)->ai_next = doubled;
    }
    return error;
}

void __wrap_freeaddrinfo(struct addrinfo *addresses)
{
    if (doubled != NULL) {
        addresses->ai_next = NULL;
        __real_freeaddrinfo(doubled);
        doubled = NULL;
    }
    __real_freeaddrinfo(addresses);
}

/* The socket says that it listens on [::1]:7878. */
static bool says_ipv6;

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    if (network_fails(CALL_ADDRESS)) {
        return -1;
    }
    if (!says_ipv6) {
        return __real_getsockname(fd, address, length);
    }
    struct sockaddr_in6 local = {.sin6_family = AF_INET6, .sin6_port = htons(7878)};
    local.sin6_addr.s6_addr[15] = 1;
    memcpy(address, &local, sizeof local);
    *length = sizeof local;
    return 0;
}

/* Its words are those of the system. */
const char *__wrap_gai_strerror(int error)
{
    assert_int_equal(error, EAI_NONAME);
    return "nobody knows it";
}

int __wrap_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                       socklen_t host_length, char *port, socklen_t port_length,
                       int flags)
{
    return network_fails(CALL_NAME)
               ? EAI_MEMORY
               : __real_getnameinfo(address, length, host, host_length, port, port_length,
                                    flags);
}

int __wrap_socket(int domain, int type, int protocol)
{
    return network_fails(CALL_SOCKET) ? -1 : __real_socket(domain, type, protocol);
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    return network_fails(CALL_OPTION)
               ? -1
               : __real_setsockopt(fd, level, option, value, length);
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return network_fails(CALL_BIND) ? -1 : __real_bind(fd, address, length);
}

int __wrap_listen(int fd, int backlog)
{
    return network_fails(CALL_LISTEN) ? -1 : __real_listen(fd, backlog);
}

/* ---- A server that cannot begin ---- */

static const struct server_options loopback = {
    .address = "127.0.0.1",
    .port = "0",
    .idle_ms = 10000,
    .value_bytes_max = MIB,
    .sync_name = "always",
};

struct refusal {
    const char *line; /* as engine_expect_line takes it */
    enum network_call call;
    unsigned nth;
    struct shim_fault fault; /* calls 0: none; its error is that of the call, too */
    enum status status;
};

static size_t count_open_fds(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void server_create_names_the_call_that_failed(void **state)
{
    struct engine *engine = *state;
    static const struct refusal refusals[] = {
        {.line = "not enough memory for a server; giving up: ERROR",
         .fault = {SHIM_BIT(SHIM_CALLOC), SHIM_ANY, 1, ENOMEM, false},
         .status = KV_NO_MEMORY},
        {.line = "--max-value: not enough memory for values of that size; giving up",
         .fault = {SHIM_BIT(SHIM_CALLOC), SHIM_ANY, 2, ENOMEM, false},
         .status = KV_NO_MEMORY},
        {.line = "127.0.0.1: no such address: nobody knows it; giving up",
         .call = CALL_RESOLVE,
         .status = KV_IO},
        {.line = "127.0.0.1:0: cannot listen; giving up: ERROR",
         .call = CALL_SOCKET,
         .fault = {.error = EAFNOSUPPORT},
         .status = KV_IO},
        {.line = "127.0.0.1:0: cannot listen; giving up: ERROR",
         .fault = {SHIM_BIT(SHIM_FCNTL), SHIM_ANY, 1, EINVAL, false},
         .status = KV_IO},
        {.line = "127.0.0.1:0: cannot listen; giving up: ERROR",
         .fault = {SHIM_BIT(SHIM_FCNTL), SHIM_ANY, 2, EINVAL, false},
         .status = KV_IO},
        {.line = "127.0.0.1:0: cannot listen; giving up: ERROR",
         .call = CALL_OPTION,
         .nth = 1,
         .fault = {.error = ENOBUFS},
         .status = KV_IO},
        {.line = "127.0.0.1:0: cannot listen; giving up: ERROR",
         .call = CALL_OPTION,
         .nth = 2,
         .fault = {.error = ENOBUFS},
         .status = KV_IO},
        {.line = "127.0.0.1:0: cannot listen; giving up: ERROR",
         .call = CALL_OPTION,
         .nth = 3,
         .fault = {.error = ENOBUFS},
         .status = KV_IO},
        {.line = "127.0.0.1:0: cannot listen; giving up: ERROR",
         .call = CALL_BIND,
         .fault = {.error = EADDRINUSE},
         .status = KV_IO},
        {.line = "127.0.0.1:0: cannot listen; giving up: ERROR",
         .call = CALL_LISTEN,
         .fault = {.error = EADDRINUSE},
         .status = KV_IO},
        {.line = "signals: cannot make a pipe; giving up: ERROR",
         .call = CALL_PIPE,
         .fault = {.error = EMFILE},
         .status = KV_IO},
    };
    engine_open(engine);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *refusal = &refusals[i];
        struct server *server = NULL;
        size_t fds = count_open_fds();
        shim_reset();
        engine_forget_messages(engine);
        if (refusal->fault.calls != 0) {
            shim_inject(&refusal->fault);
        }
        network_fault.call = refusal->call;
        network_fault.nth = refusal->nth;
        network_fault.error = refusal->fault.error;
        network_fault.seen = 0;
        assert_int_equal(server_create(&loopback, engine->store, &server),
                         refusal->status);
        network_fault.call = CALL_NONE;
        shim_clear_faults();
        assert_null(server);
        engine_expect_line(engine, refusal->line, 0, refusal->fault.error);
        assert_int_equal(engine_told(engine, ""), 1);
        assert_int_equal(count_open_fds(), fds);
    }
}

/* The pipe that wakes the server is there, but not as it must be. */
static void server_create_needs_a_pipe_that_does_not_block(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    for (uint64_t nth = 3; nth <= 6; nth++) { /* two were for the listening socket */
        struct server *server = NULL;
        engine_forget_messages(engine);
        shim_inject(&(struct shim_fault){
            .calls = SHIM_BIT(SHIM_FCNTL), .nth = nth, .error = EINVAL});
        assert_int_equal(server_create(&loopback, engine->store, &server), KV_IO);
        shim_reset();
        engine_expect_line(engine, "signals: cannot make a pipe; giving up: ERROR", 0,
                           EINVAL);
    }
}

/* A name may stand for several addresses: the first that works is taken. */
static void server_create_takes_the_next_address_of_a_name(void **state)
{
    struct engine *engine = *state;
    struct server *server = NULL;
    engine_open(engine);
    network_fault.call = CALL_BIND;
    network_fault.nth = 1;
    network_fault.error = EADDRNOTAVAIL;
    network_fault.seen = 0;
    doubles_addresses = true;
    assert_int_equal(server_create(&loopback, engine->store, &server), KV_OK);
    doubles_addresses = false;
    network_fault.call = CALL_NONE;
    assert_int_equal(network_fault.seen, 2);
    assert_int_equal(engine_told(engine, ""), 0);
    server_destroy(server);
}

/* ---- A server that runs: the accept calls are a script ---- */

struct step {
    int error;           /* accept fails with it; 0: a client comes */
    const char *request; /* what the client has sent before it is accepted */
    void (*happen)(void);
};

static struct {
    const struct step *steps;
    size_t count;
    size_t next;
    int client_fd;
    int port;
} play;

static int connect_to(int listen_fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&address, &length), 0);
    play.port = ntohs(address.sin_port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, length), 0);
    return fd;
}

/* After the last step a stop comes; the clients of before are gone then. */
int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    if (play.client_fd >= 0) {
        assert_int_equal(close(play.client_fd), 0);
        play.client_fd = -1;
    }
    if (play.next == play.count) {
        assert_int_equal(raise(SIGTERM), 0);
        errno = EAGAIN;
        return -1;
    }
    const struct step *step = &play.steps[play.next++];
    if (step->error != 0) {
        errno = step->error;
        return -1;
    }
    play.client_fd = connect_to(fd);
    size_t request_length = strlen(step->request);
    assert_int_equal(write(play.client_fd, step->request, request_length),
                     request_length);
    assert_int_equal(shutdown(play.client_fd, SHUT_WR), 0);
    if (step->happen != NULL) {
        step->happen();
    }
    return __real_accept(fd, address, length);
}

static void expect_run(struct engine *engine, const struct step *steps, size_t count,
                       enum status status)
{
    struct server *server = NULL;
    play.steps = steps;
    play.count = count;
    play.next = 0;
    play.client_fd = -1;
    assert_int_equal(server_create(&loopback, engine->store, &server), KV_OK);
    assert_int_equal(server_run(server), status);
    assert_int_equal(play.next, count);
    server_destroy(server);
}

static void refuse_flags(void)
{
    shim_inject(
        &(struct shim_fault){.calls = SHIM_BIT(SHIM_FCNTL), .nth = 1, .error = EINVAL});
}

static void refuse_syncs(void)
{
    shim_inject(
        &(struct shim_fault){.calls = SHIM_BIT(SHIM_FDATASYNC), .nth = 1, .error = EIO});
}

/* The log fails while a client is served: no reply, and the server ends. */
static void f35_server_ends_when_the_log_fails(void **state)
{
    struct engine *engine = *state;
    static const struct step steps[] = {
        {.request = "GET k\n"},
        {.request = "SET k v\nGET k\n", .happen = refuse_syncs},
    };
    char reply[16];
    engine_open(engine);
    expect_run(engine, steps, 2, KV_FATAL);
    engine_expect_line(engine, "listening on 127.0.0.1:OFFSET", (uint64_t)play.port, 0);
    assert_int_equal(engine_told(engine, "cannot sync the log"), 1);
    assert_true(read(play.client_fd, reply, sizeof reply) <= 0);
    assert_int_equal(close(play.client_fd), 0);
}

/* A stop is for ever in one process, so this test is the last that accepts anybody. */
static void f12_f13_f14_server_names_what_accept_met_and_goes_on(void **state)
{
    struct engine *engine = *state;
    static const struct step steps[] = {
        {.error = EINTR},
        {.error = ECONNABORTED},
        {.error = ENETUNREACH},
        {.error = EMFILE},
        {.request = "SET k 1\n", .happen = refuse_flags},
        {.request = "SET k 2\n"},
    };
    engine_open(engine);
    expect_run(engine, steps, 6, KV_OK);
    engine_expect_line(engine,
                       "a client was lost before it was accepted; going on: ERROR", 0,
                       ECONNABORTED);
    engine_expect_line(engine,
                       "a client was lost before it was accepted; going on: ERROR", 0,
                       ENETUNREACH);
    engine_expect_line(engine, "cannot accept a client for now; trying again: ERROR", 0,
                       EMFILE);
    engine_expect_line(engine, "cannot set up a client's socket; closing it: ERROR", 0,
                       EINVAL);
    assert_int_equal(engine_told(engine, ""), 5); /* and the one that says ready */
    engine_expect(engine, "k", "2");
}

/* Also where nobody can tell what the address is called. */
static void server_run_says_ready_without_a_name(void **state)
{
    struct engine *engine = *state;
    const enum network_call calls[] = {CALL_ADDRESS, CALL_NAME};
    engine_open(engine);
    for (size_t i = 0; i < 2; i++) {
        engine_forget_messages(engine);
        network_fault.call = calls[i];
        network_fault.nth = 0;
        expect_run(engine, NULL, 0, KV_OK);
        network_fault.call = CALL_NONE;
        engine_expect_line(engine, "listening on 127.0.0.1:0", 0, 0);
    }
}

static void server_run_puts_an_ipv6_address_in_brackets(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    says_ipv6 = true;
    expect_run(engine, NULL, 0, KV_OK);
    says_ipv6 = false;
    engine_expect_line(engine, "listening on [::1]:7878", 0, 0);
}

static void server_destroy_takes_nothing(void **state)
{
    (void)state;
    server_destroy(NULL);
}

/* More signals than the pipe holds: nothing blocks, and errno is kept. */
static void f72_signals_without_end_do_not_block(void **state)
{
    (void)state; /* the handler is still there */
    for (int i = 0; i < 70000; i++) {
        errno = i;
        assert_int_equal(raise(SIGTERM), 0);
        assert_int_equal(errno, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(server_create_names_the_call_that_failed),
        ON_ENGINE(server_create_needs_a_pipe_that_does_not_block),
        ON_ENGINE(server_create_takes_the_next_address_of_a_name),
        ON_ENGINE(f35_server_ends_when_the_log_fails),
        ON_ENGINE(f12_f13_f14_server_names_what_accept_met_and_goes_on),
        ON_ENGINE(server_run_says_ready_without_a_name),
        ON_ENGINE(server_run_puts_an_ipv6_address_in_brackets),
        cmocka_unit_test(server_destroy_takes_nothing),
        ON_ENGINE(f72_signals_without_end_do_not_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
