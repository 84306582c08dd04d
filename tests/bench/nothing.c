/*
 * A server that does nothing: it sleeps in recv and answers each line of the kv protocol
 * at once, a SET with success and a GET with always the same value. What it reaches is
 * the most that a server which sleeps between requests can reach on this machine.
 *
 * It prints its port, and serves one client at a time until it is killed.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* As much as a window of commands, so that one reception takes all that is there. */
#define RECEIVE_BYTES ((size_t)1 << 20)

#define VALUE_BYTES 100

static const char success[] = "success\n";

struct nothing {
    int listen_fd;
    char *input;
    char *replies; /* to what one reception brought */
    size_t replies_capacity;
    size_t replies_length;
};

static void fail(const char *what)
{
    (void)fprintf(stderr, "nothing: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void listen_somewhere(struct nothing *nothing)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    nothing->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (nothing->listen_fd < 0 ||
        bind(nothing->listen_fd, (struct sockaddr *)&address, length) < 0 ||
        listen(nothing->listen_fd, SOMAXCONN) < 0 ||
        getsockname(nothing->listen_fd, (struct sockaddr *)&address, &length) < 0) {
        fail("cannot listen");
    }
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    (void)fflush(stdout); /* a reader that is gone will not find the port either way */
}

static bool send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        bytes += sent > 0 ? sent : 0;
        length -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

static void append_reply(struct nothing *nothing, char command)
{
    size_t length = command == 'G' ? VALUE_BYTES + 1 : sizeof success - 1;
    if (nothing->replies_length + length > nothing->replies_capacity) {
        nothing->replies_capacity = 2 * (nothing->replies_length + length);
        nothing->replies = realloc(nothing->replies, nothing->replies_capacity);
        if (nothing->replies == NULL) {
            fail("out of memory");
        }
    }
    char *end = nothing->replies + nothing->replies_length;
    if (command == 'G') {
        memset(end, 'x', length - 1);
        end[length - 1] = '\n';
    } else {
        memcpy(end, success, length);
    }
    nothing->replies_length += length;
}

/* Serve one client to its end. A line is known by its first byte. */
static void serve(struct nothing *nothing, int fd)
{
    char command = '\0'; /* of the line that is being received */
    bool is_over = false;
    while (!is_over) {
        ssize_t got = recv(fd, nothing->input, RECEIVE_BYTES, 0);
        if (got <= 0) {
            return;
        }
        const char *position = nothing->input;
        const char *end = position + got;
        nothing->replies_length = 0;
        while (position < end) {
            const char *line_end = memchr(position, '\n', (size_t)(end - position));
            command = command == '\0' ? *position : command;
            if (line_end == NULL) {
                break;
            }
            append_reply(nothing, command);
            command = '\0';
            position = line_end + 1;
        }
        is_over = !send_all(fd, nothing->replies, nothing->replies_length);
    }
}

int main(void)
{
    struct nothing nothing = {0};
    int on = 1;
    nothing.input = malloc(RECEIVE_BYTES);
    if (nothing.input == NULL) {
        fail("out of memory");
    }
    listen_somewhere(&nothing);
    for (;;) {
        int fd = accept(nothing.listen_fd, NULL, NULL);
        if (fd >= 0) {
            /* Refused by a socket whose client has gone already; then it does not matter.
             */
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            serve(&nothing, fd);
            (void)close(fd);
        }
    }
}
