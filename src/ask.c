/*
 * A blocking socket with a limit to each call.
 */
#include "ask.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { RECEIVE_BYTES = 65536 };

_Noreturn void ask_give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("kv: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(ASK_TROUBLE);
}

void ask_put(struct buffer *buffer, struct slice bytes)
{
    if (buffer_reserve(buffer, bytes.length) != KV_OK) {
        ask_give_up("out of memory");
    }
    buffer_append(buffer, bytes);
}

_Noreturn static void give_up_on(const struct ask_server *server)
{
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINPROGRESS) {
        ask_give_up("%s: the connection was lost: %s", server->address, strerror(errno));
    }
    ask_give_up("%s: no answer for %d s; what was asked may be done yet", server->address,
                server->patience_s);
}

/* Returns -1 with errno. No call on it takes longer than the user's patience. */
static int try_address(const struct addrinfo *address, const struct ask_server *server)
{
    struct timeval patience = {.tv_sec = server->patience_s};
    int fd = socket(address->ai_family, SOCK_STREAM, 0);
    if (fd < 0) {
        return -1; /* a name may have addresses of a kind that this machine lacks */
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0) {
        ask_give_up("%s: no socket: %s", server->address, strerror(errno));
    }
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) {
        return fd;
    }
    if (errno == EINPROGRESS || errno == EAGAIN) {
        give_up_on(server);
    }
    return -1; /* what is open is closed at the end, which is near */
}

static int connect_to_path(const struct ask_server *server)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct addrinfo address = {.ai_family = AF_UNIX,
                               .ai_addr = (struct sockaddr *)&path,
                               .ai_addrlen = sizeof path};
    size_t length = strlen(server->address);
    if (length >= sizeof path.sun_path) {
        ask_give_up("%s: too long a path for a socket", server->address);
    }
    memcpy(path.sun_path, server->address, length);
    return try_address(&address, server);
}

/* The address as the server prints it, [::1], or without the brackets. */
static int connect_to_name(const struct ask_server *server)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    char name[256];
    const char *start = server->address + (server->address[0] == '[' ? 1 : 0);
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(start, "]"), start);
    int error = getaddrinfo(name, server->port, &hints, &addresses);
    if (error != 0) {
        ask_give_up("%s:%s: no such address: %s", server->address, server->port,
                    gai_strerror(error));
    }
    int fd = -1;
    for (const struct addrinfo *a = addresses; a != NULL && fd < 0; a = a->ai_next) {
        fd = try_address(a, server);
    }
    return fd;
}

/* A server that has heard enough may end while we speak; its answer says why. */
static void say(int fd, struct slice rest, const struct ask_server *server)
{
    while (rest.length > 0) {
        ssize_t count = send(fd, rest.bytes, rest.length, MSG_NOSIGNAL);
        if (count > 0) {
            rest = slice_after(rest, (size_t)count);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            give_up_on(server);
        } else if (errno != EINTR) {
            return;
        }
    }
    (void)shutdown(fd, SHUT_WR); /* if that fails, so does receiving */
}

/* All that the server answers until it ends. */
struct buffer ask_server(const struct ask_server *server, const struct buffer *lines)
{
    struct buffer answer = {0};
    uint8_t bytes[RECEIVE_BYTES];
    bool is_path = strchr(server->address, '/') != NULL;
    int fd = is_path ? connect_to_path(server) : connect_to_name(server);
    if (fd < 0) {
        ask_give_up("%s%s%s: cannot connect: %s", server->address, is_path ? "" : ":",
                    is_path ? "" : server->port, strerror(errno));
    }
    say(fd, buffer_slice(lines), server);
    ssize_t count;
    while ((count = recv(fd, bytes, sizeof bytes, 0)) != 0) {
        if (count > 0) {
            ask_put(&answer, (struct slice){bytes, (size_t)count});
        } else if (errno != EINTR) {
            give_up_on(server);
        }
    }
    return answer;
}
