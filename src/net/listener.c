/*
 * From a name and a port to a listening socket.
 */
#include "net/listener.h"

#include "base/bounds.h"
#include "base/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

/* Numeric address and port as text. */
enum { HOST_BYTES_MAX = 256, PORT_BYTES_MAX = 16 };

static int open_listener(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    /* Accepted sockets take TCP_NODELAY and keepalive over from the listening one. */
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) < 0 ||
        listen(fd, WAITING_CLIENTS_MAX) < 0) {
        int kept_errno = errno;
        (void)close(fd); /* the first failure is the one that counts */
        errno = kept_errno;
        return -1;
    }
    return fd;
}

/* Listen on the first address of that name that allows it. */
enum status listener_open(const char *address, const char *port, int *fd_out)
{
    struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *addresses = NULL;
    int error = getaddrinfo(address, port, &hints, &addresses);
    if (error != 0) {
        diag_errorx("%s: no such address: %s; giving up", address, gai_strerror(error));
        return KV_IO;
    }
    int fd = -1;
    for (struct addrinfo *a = addresses; a != NULL && fd < 0; a = a->ai_next) {
        fd = open_listener(a);
    }
    if (fd < 0) {
        diag_error("%s:%s: cannot listen; giving up", address, port);
    }
    freeaddrinfo(addresses);
    *fd_out = fd;
    return fd < 0 ? KV_IO : KV_OK;
}

void listener_tell_ready(const char *address, const char *port, int listen_fd)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char bound_host[HOST_BYTES_MAX];
    char bound_port[PORT_BYTES_MAX];
    if (getsockname(listen_fd, (struct sockaddr *)&bound, &length) < 0 ||
        getnameinfo((struct sockaddr *)&bound, length, bound_host, sizeof bound_host,
                    bound_port, sizeof bound_port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        diag_info("listening on %s:%s", address, port);
        return;
    }
    bool is_ipv6 = bound.ss_family == AF_INET6;
    diag_info("listening on %s%s%s:%s", is_ipv6 ? "[" : "", bound_host,
              is_ipv6 ? "]" : "", bound_port);
}
