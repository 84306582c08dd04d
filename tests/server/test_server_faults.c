/*
 * The server in this process, over calls that fail while it begins and while it accepts:
 * what it makes of them, and the whole line that it says.
 *
 * wrap: calloc fcntl accept socket setsockopt bind listen pipe getsockname getaddrinfo
 * wrap: freeaddrinfo gai_strerror getnameinfo poll sysconf clock_gettime
 */
#include "net/server.h"

#include "base/bounds.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Calls that fail ---- */

enum call {
    CALL_NONE,
    CALL_CALLOC, /* the shim's, and the next */
    CALL_FCNTL,
    CALL_PIPE,
    CALL_RESOLVE,
    CALL_ADDRESS,
    CALL_NAME,
    CALL_SOCKET,
    CALL_OPTION,
    CALL_BIND,
    CALL_LISTEN
};

/* The one that fails: the nth of its kind, and each if nth is 0. */
static struct {
    enum call call;
    uint64_t nth;
    int error;
    uint64_t seen;
} fault;

static bool fails(enum call call)
{
    if (fault.call != call) {
        return false;
    }
    fault.seen++;
    bool is_met = fault.nth == 0 || fault.seen == fault.nth;
    if (is_met) {
        errno = fault.error;
    }
    return is_met;
}

static void fail_call(enum call call, uint64_t nth, int error)
{
    fault.call = call;
    fault.nth = nth;
    fault.error = error;
    fault.seen = 0;
    shim_clear_faults();
    if (call == CALL_CALLOC || call == CALL_FCNTL) {
        shim_fail_once(call == CALL_CALLOC ? SHIM_BIT(SHIM_CALLOC) : SHIM_BIT(SHIM_FCNTL),
                       SHIM_ANY, nth, error);
    }
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
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
long __real_sysconf(int name);
long __wrap_sysconf(int name);

int __wrap_pipe(int ends[2])
{
    return fails(CALL_PIPE) ? -1 : __real_pipe(ends);
}

/* A name stands for two addresses. */
static bool has_two_addresses;

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **addresses)
{
    static struct sockaddr_in names[2];
    static struct addrinfo both[2];
    if (fails(CALL_RESOLVE)) {
        return EAI_NONAME;
    }
    if (!has_two_addresses) {
        return __real_getaddrinfo(host, port, hints, addresses);
    }
    for (size_t i = 0; i < 2; i++) {
        names[i] = (struct sockaddr_in){.sin_family = AF_INET};
        names[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)i);
        both[i] = (struct addrinfo){.ai_family = AF_INET,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_addr = (struct sockaddr *)&names[i],
                                    .ai_addrlen = sizeof names[i],
                                    .ai_next = i == 0 ? &both[1] : NULL};
    }
    *addresses = both;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *addresses)
{
    if (!has_two_addresses) {
        __real_freeaddrinfo(addresses);
    }
}

/* Its words are those of the system. */
const char *__wrap_gai_strerror(int error)
{
    assert_int_equal(error, EAI_NONAME);
    return "nobody knows it";
}

/* The socket says that it listens on [::1]:7878. */
static bool says_ipv6;

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    if (fails(CALL_ADDRESS)) {
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

int __wrap_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                       socklen_t host_length, char *port, socklen_t port_length,
                       int flags)
{
    return fails(CALL_NAME) ? EAI_MEMORY
                            : __real_getnameinfo(address, length, host, host_length, port,
                                                 port_length, flags);
}

int __wrap_socket(int domain, int type, int protocol)
{
    return fails(CALL_SOCKET) ? -1 : __real_socket(domain, type, protocol);
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    return fails(CALL_OPTION) ? -1 : __real_setsockopt(fd, level, option, value, length);
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return fails(CALL_BIND) ? -1 : __real_bind(fd, address, length);
}

int __wrap_listen(int fd, int backlog)
{
    return fails(CALL_LISTEN) ? -1 : __real_listen(fd, backlog);
}

static long processor_count = 2;

long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN ? processor_count : __real_sysconf(name);
}

/* ---- A server that cannot begin ---- */

static const struct server_options loopback = {
    .listener = {.addresses = {"127.0.0.1"}, .address_count = 1, .port = "0"},
    .session = {.value_bytes_max = MIB, .idle_ms = 10000},
};

/* One call of a kind fails, from the first to the last that are named. */
struct event {
    const char *line; /* as engine_expect_line takes it */
    enum call call;
    uint64_t first;
    uint64_t last;
    int error;
    size_t fds_left; /* that the end of the program closes */
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
static enum status run_server(struct store *store)
{
    struct listener listener;
    enum status status = listener_bind(&loopback.listener, &listener);
    status = status == KV_OK ? server_run(&loopback, &listener, store) : status;
    listener_close(&listener);
    return status;
}

static void expect_refusal(struct engine *engine, const struct event *event, uint64_t nth)
{
    size_t fds = count_open_fds();
    shim_reset();
    engine_forget_messages(engine);
    fail_call(event->call, nth, event->error);
    assert_int_equal(run_server(engine->store),
                     event->error == ENOMEM ? KV_NO_MEMORY : KV_IO);
    fail_call(CALL_NONE, 0, 0);
    engine_expect_line(engine, event->line, 0, event->error);
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(count_open_fds(), fds + event->fds_left);
}

static void server_run_names_the_call_that_failed(void **state)
{
    static const struct event events[] = {
        {"--max-value: not enough memory for values of that size; giving up", CALL_CALLOC,
         1, 1, ENOMEM, 0},
        {"127.0.0.1: no such address: nobody knows it; giving up", CALL_RESOLVE, 1, 1, 0,
         0},
        {"127.0.0.1:0: cannot listen; giving up: ERROR", CALL_SOCKET, 1, 1, EAFNOSUPPORT,
         0},
        {"127.0.0.1:0: cannot listen; giving up: ERROR", CALL_FCNTL, 1, 2, EINVAL, 0},
        {"127.0.0.1:0: cannot listen; giving up: ERROR", CALL_OPTION, 1, 3, ENOBUFS, 0},
        {"127.0.0.1:0: cannot listen; giving up: ERROR", CALL_BIND, 1, 1, EADDRINUSE, 0},
        {"port 0: cannot listen; giving up: ERROR", CALL_LISTEN, 1, 1, EADDRINUSE, 0},
        {"signals: cannot make a pipe; giving up: ERROR", CALL_PIPE, 1, 1, EMFILE, 0},
        /* It is there, but not as it must be. */
        {"signals: cannot make a pipe; giving up: ERROR", CALL_FCNTL, 3, 6, EINVAL, 2},
    };
    struct engine *engine = *state;
    engine_open(engine);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        for (uint64_t nth = events[i].first; nth <= events[i].last; nth++) {
            expect_refusal(engine, &events[i], nth);
        }
    }
}

/* One of them is enough, whichever it is. */
static void listener_passes_over_addresses_that_are_not_here(void **state)
{
    static const struct {
        enum call call;
        int error;
    } rows[] = {{CALL_BIND, EADDRNOTAVAIL}, {CALL_SOCKET, EAFNOSUPPORT}};
    (void)state;
    has_two_addresses = true;
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t nth = 0; nth <= 2; nth++) { /* 0: both */
            struct listener listener;
            fail_call(rows[i].call, nth, rows[i].error);
            assert_int_equal(listener_bind(&loopback.listener, &listener),
                             nth == 0 ? KV_IO : KV_OK);
            assert_int_equal(listener.count, nth == 0 ? 0 : 1);
            listener_close(&listener);
        }
    }
    fail_call(CALL_NONE, 0, 0);
    has_two_addresses = false;
}

/* ---- A server that runs: the accept calls are a script ---- */

struct step {
    int error;           /* accept fails with it; 0: a client comes */
    const char *request; /* all that the client sends, before it is accepted */
    void (*happen)(void);
};

static struct {
    const struct step *steps;
    size_t count;
    size_t next;
    int port;
    bool has_come;        /* one, for whom accept is called once more in vain */
    void (*nobody)(void); /* in place of a stop after the last step; or NULL */
    void (*alone)(void);  /* before each wait for somebody after it; or NULL */
} play;

static void bring_client(int listen_fd, const char *request)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&address, &length), 0);
    play.port = ntohs(address.sin_port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    assert_int_equal(close(fd), 0);
}

/* After the last step a stop comes; the clients of before are gone then. */
int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    errno = EAGAIN;
    if (play.has_come) {
        play.has_come = false;
        return -1;
    }
    if (play.next == play.count) {
        if (play.nobody != NULL) {
            play.nobody();
        } else {
            assert_int_equal(raise(SIGTERM), 0);
        }
        errno = EAGAIN;
        return -1;
    }
    const struct step *step = &play.steps[play.next++];
    if (step->error != 0) {
        errno = step->error;
        return -1;
    }
    bring_client(fd, step->request);
    if (step->happen != NULL) {
        step->happen();
    }
    play.has_come = true;
    return __real_accept(fd, address, length);
}

/* Whoever comes is made by accept, so the server never waits for somebody. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    bool is_for_somebody = count >= 3 && fds[1].fd < 0;
    bool is_accepting = is_for_somebody && fds[2].fd >= 0;
    if (is_accepting && timeout != 0 && play.next == play.count && play.alone != NULL) {
        play.alone();
    }
    int ready = __real_poll(fds, count, is_for_somebody ? 0 : timeout);
    if (is_accepting && ready == 0 && (timeout != 0 || play.alone == NULL)) {
        fds[2].revents = POLLIN;
        return 1;
    }
    if (ready == 0 && timeout > 0) {
        shim_advance_clock((uint64_t)timeout);
    }
    return ready;
}

static void expect_run(struct engine *engine, const struct step *steps, size_t count)
{
    play.steps = steps;
    play.count = count;
    play.next = 0;
    assert_int_equal(run_server(engine->store), KV_OK);
    assert_int_equal(play.next, count);
}

/* ---- Waiting awake for the next client ---- */

/* Looks for the next client while no time goes by, and later than any deadline. */
enum { LOOKS_AWAKE = 5 };
#define STOPPED_MS UINT64_C(1000)
#define LATER_MS   (UINT64_C(1) << 40)

static struct {
    int wanted; /* so many looks, and then the server must sleep */
    int seen;
    bool has_slept;
} lookout;

static void look_in_vain(void)
{
    lookout.seen++;
    if (lookout.seen > lookout.wanted) {
        assert_int_equal(raise(SIGTERM), 0); /* it ought to be asleep */
    } else if (lookout.seen == LOOKS_AWAKE) {
        shim_set_clock(LATER_MS);
    } else if (lookout.seen == 1) {
        shim_set_clock(STOPPED_MS);
    }
}

static void go_to_sleep(void)
{
    lookout.has_slept = lookout.seen == lookout.wanted;
    assert_int_equal(raise(SIGTERM), 0);
}

/* In a process of its own: a stop is for ever. */
static void expect_looks(struct engine *engine, int wanted)
{
    static const struct step step = {.request = "COUNT\n"};
    int result = -1;
    lookout.wanted = wanted;
    (void)fflush(stdout); /* or the child would say it again */
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(WATCHDOG_S); /* what never ends must fail, not hang */
        play.nobody = look_in_vain;
        play.alone = go_to_sleep;
        expect_run(engine, &step, 1);
        _exit(lookout.has_slept ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
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
    engine_open(engine);
    processor_count = 1;
    expect_looks(engine, 0);
    processor_count = 2;
    expect_looks(engine, processors_are_counted ? LOOKS_AWAKE : 0);
}

/* ---- What accept meets ---- */

static void refuse_flags(void)
{
    shim_fail_once(SHIM_BIT(SHIM_FCNTL), SHIM_ANY, 1, EINVAL);
}

/* A stop is for ever in one process, so this test is the last that accepts anybody. */
static void f12_f13_f14_server_names_what_accept_met_and_goes_on(void **state)
{
    static const struct step steps[] = {
        {.error = EINTR},
        {.error = ECONNABORTED},
        {.error = ENETUNREACH},
        {.error = EMFILE},
        {.request = "SET k 1\n", .happen = refuse_flags},
        {.request = "SET k 2\n"},
    };
    struct engine *engine = *state;
    engine_open(engine);
    expect_run(engine, steps, sizeof steps / sizeof steps[0]);
    engine_expect_line(engine, "listening on 127.0.0.1:OFFSET", (uint64_t)play.port, 0);
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
    assert_int_equal(engine_told(engine, ""), 5);
    engine_expect(engine, "k", "2");
}

/* Also where nobody can tell what the address is called. */
static void server_run_says_ready_without_a_name(void **state)
{
    struct engine *engine = *state;
    const enum call calls[] = {CALL_ADDRESS, CALL_NAME};
    engine_open(engine);
    for (size_t i = 0; i < 2; i++) {
        engine_forget_messages(engine);
        fail_call(calls[i], 0, EINVAL);
        expect_run(engine, NULL, 0);
        fail_call(CALL_NONE, 0, 0);
        engine_expect_line(engine, "listening on a socket without a name", 0, 0);
    }
}

static void server_run_puts_an_ipv6_address_in_brackets(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    says_ipv6 = true;
    expect_run(engine, NULL, 0);
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
        ON_ENGINE(listener_passes_over_addresses_that_are_not_here),
        ON_ENGINE(server_looks_for_the_next_client_awake_for_a_moment),
        ON_ENGINE(f12_f13_f14_server_names_what_accept_met_and_goes_on),
        ON_ENGINE(server_run_says_ready_without_a_name),
        ON_ENGINE(server_run_puts_an_ipv6_address_in_brackets),
        ON_ENGINE(f72_signals_without_end_do_not_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
