/*
 * The server in this process, over calls that fail: what it makes of them, and the
 * whole line that it says.
 *
 * wrap: calloc realloc fcntl pwrite ftruncate fdatasync fstat fstatat recv send shutdown
 * wrap: accept socket setsockopt bind listen pipe getsockname getaddrinfo freeaddrinfo
 * wrap: gai_strerror getnameinfo poll sysconf clock_gettime
 */
#include "net/server.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "support/engine.h"
#include "support/keyed.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
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
        assert_int_equal(__real_getaddrinfo("127.0.0.2", port, hints, &doubled), 0);
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

static long processor_count = 2;

long __real_sysconf(int name);
long __wrap_sysconf(int name);

long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN ? processor_count : __real_sysconf(name);
}

/* What happens while the server waits, and whether its clock stands still otherwise. */
static struct {
    void (*happen)(void); /* before each wait for a client; NULL: nothing */
    bool has_clock;
    bool is_client_deaf; /* its socket never has room, however much the kernel has */
    int looks_in_vain;   /* so many looks for another client see none */
    void (*alone)(void); /* before each wait for a client to be accepted; or NULL */
} waiting;

/* Then nobody seems to come where the server only looks. */
static bool looks_are_counted;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);

/* Whether all clients of the script have come. */
static bool has_played(void);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    bool has_lobby = count >= 3;
    bool is_alone = has_lobby && fds[1].fd < 0;
    if (count >= 2 && fds[1].fd >= 0 && waiting.happen != NULL) {
        waiting.happen();
    }
    if (is_alone && fds[2].fd >= 0 && timeout != 0 && has_played() &&
        waiting.alone != NULL) {
        waiting.alone();
    }
    if (count >= 2 && waiting.is_client_deaf) {
        fds[1].events = (short)(fds[1].events & ~POLLOUT);
    }
    bool must_not_wait = waiting.has_clock || is_alone;
    int ready = __real_poll(fds, count, must_not_wait ? 0 : timeout);
    if (is_alone && ready == 0 && (timeout != 0 || !looks_are_counted) &&
        fds[2].fd >= 0) {
        fds[2].revents = POLLIN; /* whoever comes is made by accept */
        return 1;
    }
    if (ready == 0 && timeout > 0) {
        shim_advance_clock((uint64_t)timeout);
    }
    bool is_other_there = ready > 0 && has_lobby && fds[1].fd >= 0 && fds[2].revents != 0;
    if (is_other_there && waiting.looks_in_vain > 0) {
        waiting.looks_in_vain--;
        fds[2].revents = 0;
        return ready - 1;
    }
    return ready;
}

/* ---- A server that cannot begin ---- */

static const struct server_options loopback = {
    .listener = {.addresses = {"127.0.0.1"}, .address_count = 1, .port = "0"},
    .session = {.value_bytes_max = MIB, .idle_ms = 10000},
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

/* As main does. */
static enum status run_server(const struct server_options *options, struct store *store)
{
    struct listener listener;
    enum status status = listener_bind(&options->listener, &listener);
    status = status == KV_OK ? server_run(options, &listener, store) : status;
    listener_close(&listener);
    return status;
}

static void server_run_names_the_call_that_failed(void **state)
{
    struct engine *engine = *state;
    static const struct refusal refusals[] = {
        {.line = "--max-value: not enough memory for values of that size; giving up",
         .fault = {SHIM_BIT(SHIM_CALLOC), SHIM_ANY, 1, ENOMEM, false},
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
        {.line = "port 0: cannot listen; giving up: ERROR",
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
        assert_int_equal(run_server(&loopback, engine->store), refusal->status);
        network_fault.call = CALL_NONE;
        shim_clear_faults();
        engine_expect_line(engine, refusal->line, 0, refusal->fault.error);
        assert_int_equal(engine_told(engine, ""), 1);
        assert_int_equal(count_open_fds(), fds);
    }
}

/* The pipe that wakes the server is there, but not as it must be. */
static void server_run_needs_a_pipe_that_does_not_block(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    for (uint64_t nth = 3; nth <= 6; nth++) { /* two were for the listening socket */
        engine_forget_messages(engine);
        shim_fail_once(SHIM_BIT(SHIM_FCNTL), SHIM_ANY, nth, EINVAL);
        assert_int_equal(run_server(&loopback, engine->store), KV_IO);
        shim_reset();
        engine_expect_line(engine, "signals: cannot make a pipe; giving up: ERROR", 0,
                           EINVAL);
    }
}

/* ---- A server that runs: the accept calls are a script ---- */

struct step {
    int error;           /* accept fails with it; 0: a client comes */
    const char *request; /* what the client has sent before it is accepted */
    void (*happen)(void);
    bool stays; /* the client does not say that this was all */
};

static struct {
    const struct step *steps;
    size_t count;
    size_t next;
    int listen_fd;
    int client_fd;
    int port;
    bool keeps_client;    /* the last one, so that what it got can be read */
    bool has_other;       /* besides the script's, one waits */
    bool has_come;        /* one, for whom accept is called once more in vain */
    void (*nobody)(void); /* in place of a stop after the last step; or NULL */
} play;

static bool has_played(void)
{
    return play.next == play.count;
}

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
    bool is_last = play.next == play.count;
    if (play.has_come) {
        play.has_come = false;
        errno = EAGAIN;
        return -1;
    }
    if (play.has_other) {
        play.has_other = false;
        play.has_come = true;
        return __real_accept(fd, address, length);
    }
    if (play.client_fd >= 0 && !(is_last && play.keeps_client)) {
        assert_int_equal(close(play.client_fd), 0);
        play.client_fd = -1;
    }
    play.listen_fd = fd;
    if (is_last && play.nobody != NULL) {
        play.nobody();
        errno = EAGAIN;
        return -1;
    }
    if (is_last) {
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
    if (!step->stays) {
        assert_int_equal(shutdown(play.client_fd, SHUT_WR), 0);
    }
    if (step->happen != NULL) {
        step->happen();
    }
    play.has_come = true;
    return __real_accept(fd, address, length);
}

static void expect_run(struct engine *engine, const struct step *steps, size_t count,
                       enum status status)
{
    play.steps = steps;
    play.count = count;
    play.next = 0;
    play.client_fd = -1;
    assert_int_equal(run_server(&loopback, engine->store), status);
    assert_int_equal(play.next, count);
}

static void refuse_flags(void)
{
    shim_fail_once(SHIM_BIT(SHIM_FCNTL), SHIM_ANY, 1, EINVAL);
}

static void refuse_syncs(void)
{
    shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_ANY, 1, EIO);
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

/* ---- Clients that are served, each in a process of its own: a stop is for ever ---- */

struct visit {
    struct step step;
    struct server_options options;
    const char *reply; /* what the client has got in the end; NULL: not looked at */
    uint64_t least_ms; /* how long it takes on a clock that stands still; 0: any time */
    uint64_t most_ms;
    unsigned network_calls; /* of the kind that fails, when it begins; 0: any */
};

/* What went wrong meanwhile: an assertion would not end the process that it fails in. */
static bool is_wrong;

/* The clock stood still at this moment before the visit. */
#define STOPPED_MS UINT64_C(1000)

static bool took_its_time(const struct visit *visit)
{
    uint64_t took_ms = clock_now_ms() - STOPPED_MS;
    return visit->most_ms == 0 ||
           (took_ms >= visit->least_ms && took_ms <= visit->most_ms);
}

static bool has_got(const char *reply)
{
    char got[256] = {0};
    size_t length = 0;
    ssize_t count = 1;
    while (count > 0 && length < sizeof got - 1) {
        count = recv(play.client_fd, got + length, sizeof got - 1 - length, 0);
        length += count > 0 ? (size_t)count : 0;
    }
    if (strcmp(got, reply) != 0) {
        print_message("the client got: %s\n", got);
    }
    return strcmp(got, reply) == 0;
}

static bool has_called(const struct visit *visit)
{
    return visit->network_calls == 0 || visit->network_calls == network_fault.seen;
}

/* Serve one client and stop; returns whether that went well. */
static bool serve(struct engine *engine, const struct visit *visit)
{
    network_fault.seen = 0;
    play.steps = &visit->step;
    play.count = 1;
    play.next = 0;
    play.client_fd = -1;
    play.keeps_client = true;
    return run_server(&visit->options, engine->store) == KV_OK && took_its_time(visit) &&
           has_called(visit) && !is_wrong &&
           (visit->reply == NULL || has_got(visit->reply));
}

static void expect_visit(struct engine *engine, const struct visit *visit)
{
    int result = -1;
    (void)fflush(stdout); /* or the child would say it again */
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(WATCHDOG_S); /* what never ends must fail, not hang */
        bool is_good = serve(engine, visit);
        (void)fflush(stdout);
        _exit(is_good ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
}

/* A name may stand for addresses that this machine does not have. */
static void server_run_passes_over_addresses_that_are_not_here(void **state)
{
    struct engine *engine = *state;
    struct visit visit = {
        .step = {.request = "COUNT\n"},
        .options = loopback,
        .reply = "0\n",
        .network_calls = 2,
    };
    engine_open(engine);
    network_fault.call = CALL_BIND;
    network_fault.nth = 1;
    network_fault.error = EADDRNOTAVAIL;
    doubles_addresses = true;
    expect_visit(engine, &visit);
    network_fault.call = CALL_SOCKET;
    network_fault.nth = 2;
    visit.network_calls = 3; /* one is not to be had; the last is the client's */
    expect_visit(engine, &visit);
    doubles_addresses = false;
    network_fault.call = CALL_NONE;
}

/* ---- One that keeps another waiting ---- */

static void stop_the_clock(void)
{
    waiting.has_clock = true;
    shim_set_clock(STOPPED_MS);
}

/* Where the clock stands still, nothing may look at it for ever. */
static void take_away_a_processor(void)
{
    processor_count = 1;
}

static void bring_another(void)
{
    stop_the_clock();
    int fd = connect_to(play.listen_fd); /* it waits until the process ends */
    assert_int_equal(write(fd, "COUNT\n", 6), 6);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    play.has_other = true;
}

/* Whoever waited may have given up when the time is over: then nobody is sent away. */
static void f1_an_idle_client_stays_when_nobody_waits_any_more(void **state)
{
    struct engine *engine = *state;
    struct visit visit = {
        .step = {.request = "COUNT\n", .happen = bring_another, .stays = true},
        .options = loopback,
        .reply = "0\nerror: idle too long\n",
    };
    visit.least_ms = visit.options.session.idle_ms;
    visit.most_ms = visit.least_ms + STOP_LINGER_MS_MAX + LINGER_MS_MAX;
    engine_open(engine);
    take_away_a_processor();
    waiting.looks_in_vain = 3;
    expect_visit(engine, &visit);
    waiting.looks_in_vain = 0; /* the other process has counted them */
    processor_count = 2;
}

/* ---- One that takes nothing ---- */

/*
 * Of the reply one piece has room in the socket. When the kernel passes bytes on to the
 * client is its own affair, and would decide how often the time begins anew.
 */
static void go_deaf(void)
{
    stop_the_clock();
    waiting.is_client_deaf = true;
    shim_fail_from(SHIM_BIT(SHIM_SEND), SHIM_ANY, 2, EAGAIN);
}

static void store_large_value(struct engine *engine)
{
    struct script value = {0};
    script_add_fill(&value, 'v', 16 * MIB);
    assert_int_equal(keyed_set(engine->store, SLICE_LITERAL("k"), script_slice(&value)),
                     KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    script_free(&value);
}

static struct visit visit_that_takes_nothing(struct engine *engine)
{
    struct visit visit = {
        .step = {.request = "GET k\n", .happen = go_deaf, .stays = true},
        .options = loopback,
    };
    visit.options.session.value_bytes_max = 16 * MIB;
    engine_open(engine);
    store_large_value(engine);
    take_away_a_processor();
    return visit;
}

static void go_deaf_before_another(void)
{
    go_deaf();
    bring_another();
}

static void f3_a_client_that_takes_nothing_is_dropped_when_another_waits(void **state)
{
    struct visit visit = visit_that_takes_nothing(*state);
    visit.step.happen = go_deaf_before_another;
    visit.least_ms = visit.options.session.idle_ms;
    visit.most_ms = visit.least_ms + STOP_LINGER_MS_MAX + LINGER_MS_MAX;
    expect_visit(*state, &visit);
    processor_count = 2;
}

static void stop_now(void)
{
    assert_int_equal(raise(SIGTERM), 0);
}

static void f72_a_stop_does_not_wait_for_a_client_that_takes_nothing(void **state)
{
    struct visit visit = visit_that_takes_nothing(*state);
    visit.least_ms = STOP_DRAIN_MS_MAX;
    visit.most_ms = STOP_DRAIN_MS_MAX + STOP_LINGER_MS_MAX;
    waiting.happen = stop_now;
    expect_visit(*state, &visit);
    waiting.happen = NULL;
    processor_count = 2;
}

/* ---- Stops at other moments ---- */

static int receives_left;

static void count_receives(void *context)
{
    if (--receives_left > 0) {
        shim_before(SHIM_BIT(SHIM_RECV), SHIM_ANY, count_receives, context);
    } else {
        stop_now();
    }
}

static void stop_at_a_receive(void)
{
    shim_before(SHIM_BIT(SHIM_RECV), SHIM_ANY, count_receives, NULL);
}

/* With its command, after it, and while the server looks for the next one. */
static void f72_a_stop_at_any_receive_delivers_what_was_executed(void **state)
{
    struct engine *engine = *state;
    struct visit visit = {
        .step = {.request = "COUNT\n", .happen = stop_at_a_receive, .stays = true},
        .options = loopback,
        .reply = "0\n",
    };
    engine_open(engine);
    waiting.happen = stop_now;    /* at the latest */
    for (int i = 2; i < 6; i++) { /* the first only looks whether it has sent something */
        receives_left = i;
        expect_visit(engine, &visit);
    }
    waiting.happen = NULL;
}

static void stop_when_called(void *context)
{
    (void)context; /* there is nothing to know */
    stop_now();
}

static void stop_at_the_send(void)
{
    shim_before(SHIM_BIT(SHIM_SEND), SHIM_ANY, stop_when_called, NULL);
}

/* The stop comes with the end of the client. */
static void f72_a_stop_at_the_end_of_a_client_is_clean(void **state)
{
    struct engine *engine = *state;
    struct visit visit = {
        .step = {.request = "COUNT\nQUIT\n", .happen = stop_at_a_receive},
        .options = loopback,
        .reply = "0\n",
    };
    engine_open(engine);
    for (int i = 2; i < 5; i++) {
        receives_left = i;
        expect_visit(engine, &visit);
    }
    visit.step.happen = stop_at_the_send; /* of its last reply */
    expect_visit(engine, &visit);
}

/* ---- A client that is slow each time ---- */

enum { COMMANDS = 1200 };
static int commands_said;

static void say_another(void)
{
    char got[4] = {0};
    is_wrong = is_wrong || recv(play.client_fd, got, sizeof got, 0) != 2 ||
               strcmp(got, "0\n") != 0;
    if (is_wrong || commands_said == COMMANDS) {
        stop_now();
        return;
    }
    commands_said++;
    is_wrong = write(play.client_fd, "COUNT\n", 6) != 6;
}

/* Looking for the next command in vain becomes rarer, and each is answered all the same.
 */
static void a_slow_client_is_answered_however_often_it_was_waited_for(void **state)
{
    struct engine *engine = *state;
    struct visit visit = {
        .step = {.request = "COUNT\n", .stays = true},
        .options = loopback,
        .reply = "", /* each was taken when it came */
    };
    engine_open(engine);
    commands_said = 0;
    waiting.happen = say_another;
    expect_visit(engine, &visit);
    waiting.happen = NULL;
}

/* ---- Waiting awake for the next client ---- */

/* Looks for the next client while no time goes by, and later than any deadline. */
enum { LOOKS_AWAKE = 5 };
#define LATER_MS (UINT64_C(1) << 40)

static struct {
    int wanted; /* so many looks, and then the server must sleep */
    int seen;
} lookout;

static void look_in_vain(void)
{
    lookout.seen++;
    if (lookout.seen > lookout.wanted) {
        stop_now(); /* it ought to be asleep */
    } else if (lookout.seen == LOOKS_AWAKE) {
        shim_set_clock(LATER_MS);
    } else if (lookout.seen == 1) {
        shim_set_clock(STOPPED_MS);
    }
}

static void go_to_sleep(void)
{
    is_wrong = lookout.seen != lookout.wanted;
    stop_now();
}

#ifdef KV_POSIX_ONLY
static const bool processors_are_counted = false;
#else
static const bool processors_are_counted = true;
#endif

/* For as long as its moment lasts, and not at all where the client needs the processor.
 */
static void server_looks_for_the_next_client_awake_for_a_moment(void **state)
{
    struct engine *engine = *state;
    struct visit visit = {.step = {.request = "COUNT\n"}, .options = loopback};
    engine_open(engine);
    play.nobody = look_in_vain;
    looks_are_counted = true;
    waiting.alone = go_to_sleep;
    is_wrong = true; /* until it sleeps, in the other process */
    for (processor_count = 1; processor_count <= 2; processor_count++) {
        bool is_awake = processors_are_counted && processor_count > 1;
        lookout.wanted = is_awake ? LOOKS_AWAKE : 0;
        expect_visit(engine, &visit);
    }
    is_wrong = false;
    processor_count = 2;
    waiting.alone = NULL;
    play.nobody = NULL;
    looks_are_counted = false;
}

/* ---- What accept meets ---- */

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
        engine_expect_line(engine, "listening on a socket without a name", 0, 0);
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
        ON_ENGINE(server_run_names_the_call_that_failed),
        ON_ENGINE(server_run_needs_a_pipe_that_does_not_block),
        ON_ENGINE(server_run_passes_over_addresses_that_are_not_here),
        ON_ENGINE(f35_server_ends_when_the_log_fails),
        ON_ENGINE(f1_an_idle_client_stays_when_nobody_waits_any_more),
        ON_ENGINE(f3_a_client_that_takes_nothing_is_dropped_when_another_waits),
        ON_ENGINE(f72_a_stop_does_not_wait_for_a_client_that_takes_nothing),
        ON_ENGINE(f72_a_stop_at_any_receive_delivers_what_was_executed),
        ON_ENGINE(f72_a_stop_at_the_end_of_a_client_is_clean),
        ON_ENGINE(a_slow_client_is_answered_however_often_it_was_waited_for),
        ON_ENGINE(server_looks_for_the_next_client_awake_for_a_moment),
        ON_ENGINE(f12_f13_f14_server_names_what_accept_met_and_goes_on),
        ON_ENGINE(server_run_says_ready_without_a_name),
        ON_ENGINE(server_run_puts_an_ipv6_address_in_brackets),
        ON_ENGINE(f72_signals_without_end_do_not_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
