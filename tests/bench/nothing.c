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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* As much as a window of commands, so that one reception takes all that is there; and
 * room for what that may ask for: a line has two bytes at least. */
#define RECEIVE_BYTES ((size_t)1 << 20)
#define VALUE_BYTES   100
#define REPLIES_BYTES (RECEIVE_BYTES / 2 * (VALUE_BYTES + 1))

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 ||
        listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        (void)fprintf(stderr, "nothing: cannot listen: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    (void)fflush(stdout); /* a reader that is gone will not find the port either way */
    return fd;
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

static char *append_reply(char *end, char command)
{
    static const char success[] = "success\n";
    if (command != 'G') {
        memcpy(end, success, sizeof success - 1);
        return end + sizeof success - 1;
    }
    memset(end, 'x', VALUE_BYTES);
    end[VALUE_BYTES] = '\n';
    return end + VALUE_BYTES + 1;
}

/* Serve one client to its end. A line is known by its first byte. */
static void serve(int fd)
{
    static char input[RECEIVE_BYTES];
    static char replies[REPLIES_BYTES];
    char command = '\0'; /* of the line that is being received */
    ssize_t got;
    while ((got = recv(fd, input, sizeof input, 0)) > 0) {
        char *replies_end = replies;
        const char *end = input + got;
        for (const char *position = input; position < end;) {
            const char *line_end = memchr(position, '\n', (size_t)(end - position));
            command = command == '\0' ? *position : command;
            if (line_end == NULL) {
                break;
            }
            replies_end = append_reply(replies_end, command);
            command = '\0';
            position = line_end + 1;
        }
        if (!send_all(fd, replies, (size_t)(replies_end - replies))) {
            return;
        }
    }
}

int main(void)
{
    int on = 1;
    int listen_fd = listen_somewhere();
    for (;;) {
        int fd = accept(listen_fd, NULL, NULL);
        if (fd >= 0) {
            /* Refused by a socket whose client has gone already; no matter then. */
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            serve(fd);
            (void)close(fd);
        }
    }
}
