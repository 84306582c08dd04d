/*
 * wrap: socket setsockopt bind listen accept getsockname getaddrinfo freeaddrinfo
 * wrap: getnameinfo recv send shutdown poll pipe write sigaction sigprocmask raise
 * wrap: _exit
 */
#include "world/sockets.h"

#include "support/lines.h"
#include "world/beside.h"
#include "world/clock.h"
#include "world/descriptors.h"
#include "world/mappings.h"
#include "world/model.h"
#include "world/path.h"
#include "world/process.h"
#include "world/small.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { QUEUE_MAX = CLIENTS_MAX, POLLED_MAX = 8 };

ssize_t __real_write(int fd, const void *bytes, size_t length);

int __wrap_socket(int family, int type, int protocol);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_listen(int fd, int backlog);
int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **result);
void __wrap_freeaddrinfo(struct addrinfo *addresses);
int __wrap_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                       socklen_t host_length, char *port, socklen_t port_length,
                       int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t length, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_pipe(int fds[2]);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old);
int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_raise(int number);
_Noreturn void __wrap__exit(int status);

static struct client clients[CLIENTS_MAX];
static unsigned queue[QUEUE_MAX];
static size_t queue_count;
static uint64_t seen_to_speak;     /* how many were, in the lobby */
static size_t piped_bytes;         /* in the one pipe */
static bool has_wanted_descriptor; /* an accept failed for want of one */
static bool is_listening;

/* ---- Clients ---- */

static size_t lobby_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        count += clients[i].state == CLIENT_LOBBY ? 1 : 0;
    }
    return count;
}

static void begin_client(struct client *client, enum client_state state)
{
    struct client fresh = {.state = state,
                           .said = client->said,
                           .heard = client->heard,
                           .marks = client->marks,
                           .mark_capacity = client->mark_capacity,
                           .takes = WORLD_ALL,
                           .dribble = WORLD_ALL};
    fresh.said.length = 0;
    fresh.heard.length = 0;
    *client = fresh;
}

void sockets_begin_life(void)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        begin_client(&clients[i], CLIENT_GONE);
    }
    queue_count = 0;
    seen_to_speak = 0;
    has_wanted_descriptor = false;
    is_listening = false;
    piped_bytes = 0;
}

void sockets_begin_run(void)
{
    sockets_begin_life();
}

struct client *sockets_client(unsigned number)
{
    return &clients[number];
}

unsigned sockets_number(const struct client *client)
{
    return (unsigned)(client - clients);
}

struct client *sockets_served(void)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (clients[i].state == CLIENT_SERVED) {
            return &clients[i];
        }
    }
    return NULL;
}

bool sockets_has_somebody_spoken(void)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        const struct client *client = &clients[i];
        bool is_outside =
            client->state == CLIENT_WAITING || client->state == CLIENT_LOBBY;
        if (is_outside && client->said.length > 0) {
            return true;
        }
    }
    return false;
}

bool sockets_is_somebody_waiting(void)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        const struct client *client = &clients[i];
        bool is_outside =
            client->state == CLIENT_WAITING || client->state == CLIENT_LOBBY;
        if (is_outside && client->said.length > 0 && !client->is_reset) {
            return true;
        }
    }
    return false;
}

bool sockets_may_crowd_out(void)
{
    return has_wanted_descriptor || lobby_count() >= SOCKETS_IN_LOBBY_MAX;
}

void sockets_connect(unsigned number)
{
    struct client *client = &clients[number];
    bool is_over = client->has_ended || client->is_reset || client->is_shut;
    if (client->state == CLIENT_GONE) {
        begin_client(client, CLIENT_WAITING);
        queue[queue_count++] = number;
    } else if (is_over) {
        return; /* it has to be seen off first */
    }
}

bool sockets_is_listening(void)
{
    return is_listening;
}

void sockets_note_deaf(void)
{
    is_listening = false;
}

/* It ends its side itself, whatever the server does. */
void sockets_connect_small(unsigned number)
{
    sockets_connect(number);
    clients[number].is_small = true;
    clients[number].stays = true;
}

bool sockets_has_line(const struct client *client)
{
    size_t length = client->said.length - client->answered;
    return length > 0 && memchr(client->said.at + client->answered, '\n', length) != NULL;
}

void sockets_note_saying(struct client *client)
{
    client->line_came_us =
        sockets_has_line(client) ? client->line_came_us : world_now_us();
}

void sockets_say(unsigned number, const char *text)
{
    struct client *client = &clients[number];
    sockets_connect(number);
    if (!client->has_ended && !client->is_reset) {
        sockets_note_saying(client);
        lines_expand(text, &client->said);
    }
}

void sockets_reset(unsigned number)
{
    struct client *client = &clients[number];
    client->is_reset = client->state != CLIENT_GONE;
    if (client->is_small && client->is_reset) {
        small_note_closed(number, true);
    }
}

void sockets_heal(void)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        clients[i].takes = WORLD_ALL;
        clients[i].dribbles_left = 0;
        clients[i].has_ended = clients[i].has_ended || !clients[i].is_small;
    }
}

void sockets_note_closed(size_t number)
{
    struct client *client = &clients[number];
    model_note_closed(client);
    if (client->is_small && !client->has_left) {
        bool has_more = client->received < client->said.length;
        small_note_closed((unsigned)number, client->is_cut_off || has_more);
    }
    client->state = CLIENT_GONE;
    process_note_progress();
}

/* ---- Listening ---- */

static struct sockaddr_in own_address(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7878)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int __wrap_socket(int family, int type, int protocol)
{
    (void)family;
    (void)type;
    (void)protocol;
    int error = process_enter(CALL_LISTEN, ROLE_ANY, 0, 0);
    size_t number = descriptors_count(DESCRIPTOR_LISTENER);
    return error != 0 ? outcome(error) : descriptor_open(DESCRIPTOR_LISTENER, number);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    (void)level;
    (void)value;
    (void)length;
    int error = process_enter(CALL_LISTEN, ROLE_ANY, 1, 0);
    struct descriptor descriptor = descriptor_at(fd);
    if (error == 0 && name == SO_LINGER && descriptor.kind == DESCRIPTOR_CLIENT) {
        clients[descriptor.number].is_cut_off = true;
    }
    return outcome(error);
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    (void)length;
    int error = process_enter(CALL_LISTEN, ROLE_ANY, 2, 0);
    return outcome(error != 0 ? error : path_bind(address, descriptor_at(fd).number));
}

int __wrap_listen(int fd, int backlog)
{
    (void)backlog;
    int error = process_enter(CALL_LISTEN, ROLE_ANY, 3, 0);
    path_check_listened(descriptor_at(fd).number);
    is_listening = is_listening || error == 0;
    return outcome(error);
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    struct sockaddr_in own = own_address();
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = PATH_OF_SOCKET};
    bool is_path = path_is_at(descriptor_at(fd).number);
    *length = is_path ? sizeof path : sizeof own;
    memcpy(address, is_path ? (const void *)&path : &own, *length);
    return 0;
}

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **result)
{
    static struct sockaddr_in address;
    static struct addrinfo only;
    (void)port;
    (void)hints;
    address = own_address();
    (void)inet_pton(AF_INET, host, &address.sin_addr); /* the hosts are numbers */
    only = (struct addrinfo){
        .ai_family = AF_INET,
        .ai_socktype = SOCK_STREAM,
        .ai_addr = (struct sockaddr *)&address,
        .ai_addrlen = sizeof address,
    };
    *result = &only;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *addresses)
{
    (void)addresses; /* it is static */
}

int __wrap_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                       socklen_t host_length, char *port, socklen_t port_length,
                       int flags)
{
    (void)address;
    (void)length;
    (void)flags;
    (void)snprintf(host, host_length, "127.0.0.1"); /* both fit */
    (void)snprintf(port, port_length, "7878");
    return 0;
}

/* The place in the queue of the next one at a listener; queue_count: there is none. */
static size_t next_at(size_t listener)
{
    size_t at = 0;
    while (at < queue_count && queue[at] % process_serving()->address_count != listener) {
        at++;
    }
    return at;
}

int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    (void)address;
    (void)length;
    size_t listener = descriptor_at(fd).number;
    int error = process_enter(CALL_ACCEPT, ROLE_ANY, queue_count, listener);
    size_t at = next_at(listener); /* somebody may have come just now */
    if (error == 0 && at == queue_count) {
        error = EAGAIN;
    }
    has_wanted_descriptor = has_wanted_descriptor || error == EMFILE || error == ENFILE;
    if (error != 0) {
        return outcome(error);
    }
    unsigned number = queue[at];
    queue_count--;
    memmove(queue + at, queue + at + 1, (queue_count - at) * sizeof queue[0]);
    clients[number].state = CLIENT_LOBBY;
    process_note_progress();
    return descriptor_open(DESCRIPTOR_CLIENT, number);
}

/* ---- A client's socket ---- */

/* Whether another client was seen to have sent something before this one was. */
static bool is_somebody_seen_before(const struct client *client)
{
    uint64_t own = client->seen_to_speak > 0 ? client->seen_to_speak : UINT64_MAX;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        uint64_t seen = clients[i].state == CLIENT_LOBBY ? clients[i].seen_to_speak : 0;
        if (seen > 0 && seen < own) {
            return true;
        }
    }
    return false;
}

/* The first bytes are taken. */
static void begin_turn(struct client *client)
{
    if (sockets_served() != NULL) {
        violation("two clients are served at once", "client %zu",
                  (size_t)(client - clients) + 1);
    }
    if (is_somebody_seen_before(client)) {
        violation("turns come in another order than the server heard of them",
                  "client %zu", (size_t)(client - clients) + 1);
    }
    model_settle();
    client->state = CLIENT_SERVED;
    client->last_reply_us = world_now_us();
    client->last_moved_us = world_fair_us();
    client->taking_us = world_now_us() + process_serving()->idle_s * 1000000;
}

/* The server learns that it is gone. */
static ssize_t lose(struct client *client, int error)
{
    client->is_lost = true;
    return outcome(error);
}

static struct client *client_at(int fd)
{
    struct descriptor descriptor = descriptor_at(fd);
    if (descriptor.kind != DESCRIPTOR_CLIENT) {
        violation("a call on a socket that is closed", "descriptor %d", fd);
    }
    return &clients[descriptor.number];
}

ssize_t __wrap_recv(int fd, void *bytes, size_t length, int flags)
{
    struct client *client = client_at(fd);
    bool is_peek = (flags & MSG_PEEK) != 0;
    int error = process_enter(CALL_RECV, ROLE_ANY, length, 0);
    if (error == EINTR) {
        return outcome(error);
    }
    if (error != 0 || client->is_reset) {
        return lose(client, error != 0 ? error : ECONNRESET);
    }
    size_t count = client->said.length - client->received;
    count = count < length ? count : length;
    if (is_peek && count > 0) {
        client->seen_to_speak =
            client->seen_to_speak > 0 ? client->seen_to_speak : ++seen_to_speak;
        memcpy(bytes, client->said.at, 1);
        return 1;
    }
    if (client->dribbles_left > 0) {
        client->dribbles_left--;
        count = count < client->dribble ? count : (size_t)client->dribble;
    }
    count = count == 0 ? 0 : process_cut(count);
    if (count == 0) {
        return client->has_ended && client->received == client->said.length
                   ? 0
                   : outcome(EAGAIN);
    }
    if (client->state == CLIENT_LOBBY) {
        begin_turn(client);
    }
    memcpy(bytes, client->said.at + client->received, count);
    client->received += count;
    process_digest(count);
    process_note_progress();
    model_note_received(client, count);
    return (ssize_t)count;
}

/* The system takes it also if nobody is there any more, and learns that from it. */
static void note_small_sent(struct client *client, const void *bytes, size_t length)
{
    if (client->has_left) {
        client->is_reset = true;
    } else {
        small_note_sent(sockets_number(client), bytes, length);
    }
}

ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags)
{
    (void)flags;
    struct client *client = client_at(fd);
    int error = process_enter(CALL_SEND, ROLE_ANY, length, 0);
    if (error == EINTR) {
        return outcome(error);
    }
    if (error == 0 && mappings_have_lost(bytes, length)) {
        error = EFAULT;
        faults_note(CALL_READ, error);
    }
    if (error != 0 || client->is_reset) {
        return lose(client, error != 0 ? error : EPIPE);
    }
    size_t count = length < client->takes ? length : (size_t)client->takes;
    count = count == 0 ? 0 : process_cut(count);
    if (count == 0) {
        return outcome(EAGAIN);
    }
    client->takes -= client->takes == WORLD_ALL ? 0 : count;
    model_note_taken(client, count);
    client->last_moved_us = world_fair_us();
    bytes_put(&client->heard, bytes, count);
    process_digest_bytes(bytes, count);
    process_note_lasting();
    process_note_progress();
    if (client->is_small) {
        note_small_sent(client, bytes, count);
    }
    model_note_sent(client);
    return (ssize_t)count;
}

int __wrap_shutdown(int fd, int how)
{
    (void)how;
    struct client *client = client_at(fd);
    int error = process_enter(CALL_SHUTDOWN, ROLE_ANY, 0, 0);
    if (error == 0) {
        client->is_shut = true;
        client->has_ended = client->has_ended || !client->stays;
    }
    if (error == 0 && client->is_small && !client->has_left) {
        small_note_shut(sockets_number(client));
    }
    return outcome(error);
}

/* ---- Waiting ---- */

static short readiness(const struct pollfd *polled)
{
    struct descriptor descriptor = descriptor_at(polled->fd);
    const struct client *client = &clients[descriptor.number];
    short ready = 0;
    switch (descriptor.kind) {
    case DESCRIPTOR_LISTENER:
        ready = next_at(descriptor.number) < queue_count ? POLLIN : 0;
        break;
    case DESCRIPTOR_PIPE:
        ready = piped_bytes > 0 ? POLLIN : 0;
        break;
    case DESCRIPTOR_CLIENT:
        if (client->is_reset) {
            return POLLERR | POLLHUP;
        }
        if (client->received < client->said.length || client->has_ended) {
            ready |= POLLIN;
        }
        ready |= client->takes > 0 ? POLLOUT : 0;
        break;
    default:
        break;
    }
    return ready & polled->events;
}

static int look(struct pollfd *fds, nfds_t count)
{
    int ready = 0;
    for (nfds_t i = 0; i < count; i++) {
        fds[i].revents = fds[i].fd < 0 ? 0 : readiness(&fds[i]);
        ready += fds[i].revents != 0 ? 1 : 0;
    }
    return ready;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (count == 1 && fds[0].fd == STDERR_FILENO) { /* the operator reads everything */
        fds[0].revents = POLLOUT;
        return 1;
    }
    if (beside_is_looking()) {
        return 0;
    }
    int error = process_enter(CALL_POLL, ROLE_ANY, count, (uint64_t)(int64_t)timeout_ms);
    if (error != 0) {
        return outcome(error);
    }
    if (count == 0) { /* a rest */
        world_clock_move((uint64_t)timeout_ms * 1000);
        return 0;
    }
    uint64_t until_us =
        timeout_ms < 0 ? WORLD_ALL : world_now_us() + (uint64_t)timeout_ms * 1000;
    int ready = look(fds, count);
    while (ready == 0 && timeout_ms != 0) {
        bool was_stopping = process_is_stopping();
        model_check_wait(until_us);
        bool is_over = process_wait(until_us);
        ready = look(fds, count);
        if (is_over || world_now_us() >= until_us) {
            break;
        }
        if (ready == 0 && process_is_stopping() != was_stopping) {
            return outcome(EINTR);
        }
    }
    process_digest((uint64_t)ready);
    return ready;
}

/* ---- Signals, and the pipe that they wake ---- */

int __wrap_pipe(int fds[2])
{
    int error = process_enter(CALL_LISTEN, ROLE_ANY, 4, 0);
    if (error != 0) {
        return outcome(error);
    }
    fds[0] = descriptor_open(DESCRIPTOR_PIPE, 0);
    fds[1] = descriptor_open(DESCRIPTOR_PIPE, 0);
    return fds[1] < 0 ? -1 : 0;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    if (beside_is_looking()) {
        beside_take(fd, bytes, length);
        return (ssize_t)length;
    }
    if (fd == STDERR_FILENO) {
        process_note_diag(bytes, length);
        return (ssize_t)length;
    }
    if (descriptor_at(fd).kind != DESCRIPTOR_PIPE) {
        return __real_write(fd, bytes, length);
    }
    piped_bytes += length;
    return (ssize_t)length;
}

int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    if (number == SIGBUS) {
        mappings_catch(action);
        return 0;
    }
    if (old != NULL) {
        memset(old, 0, sizeof *old);
        old->sa_handler = process_handler(number);
    }
    if (action != NULL) {
        process_catch(number, action->sa_handler);
    }
    return 0;
}

int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    (void)set; /* it is always all stop signals */
    (void)old;
    process_hold_signals(how == SIG_BLOCK);
    return 0;
}

int __wrap_raise(int number)
{
    (void)number;
    siglongjmp(process_death, DEATH_KILLED);
}

void __wrap__exit(int status)
{
    (void)status;
    siglongjmp(process_death, DEATH_KILLED);
}
