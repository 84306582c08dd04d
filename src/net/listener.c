/*
 * From names and a port to listening sockets.
 *
 * A path is only bound when the log is locked: a socket on which nobody listens yet, and
 * one that a dead server left behind, cannot be told apart.
 */
#include "net/listener.h"

#include "base/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Numeric address and port as text. */
enum { HOST_BYTES_MAX = 256, PORT_BYTES_MAX = 16, FIRST_INHERITED_FD = 3 };

static bool is_path(const char *address)
{
    return strchr(address, '/') != NULL;
}

static bool set_flags(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* Accepted sockets take both over from the listening one. */
static bool set_habits(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
}

static void close_keeping_errno(int fd)
{
    int kept_errno = errno;
    (void)close(fd); /* the first failure is the one that counts */
    errno = kept_errno;
}

/* Whether one socket more can be had; who gets none is told. */
static bool has_place(const struct listener *listener, const char *address)
{
    if (listener->count < LISTENERS_MAX) {
        return true;
    }
    diag_errorx("%s: one socket too many, %d at most; giving up", address, LISTENERS_MAX);
    return false;
}

/* ---- TCP ---- */

/*
 * is_only: there is no other address but paths, and that of all of IPv6 may stand for all
 * of IPv4 too, as the system wants it.
 */
static int bind_address(const struct addrinfo *address, bool is_only)
{
    int on = 1;
    int fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    if (!set_flags(fd) || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        !set_habits(fd) ||
        (address->ai_family == AF_INET6 && !is_only &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) ||
        bind(fd, address->ai_addr, address->ai_addrlen) < 0) {
        close_keeping_errno(fd);
        return -1;
    }
    return fd;
}

/* The port of a socket, which the system may have chosen. */
static void take_port(struct sockaddr *address, int fd)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)address;
    in_port_t *port = address->sa_family == AF_INET6 ? &in6->sin6_port : &in->sin_port;
    if (getsockname(fd, (struct sockaddr *)&bound, &length) == 0) {
        *port = bound.ss_family == AF_INET6
                    ? ((const struct sockaddr_in6 *)(const void *)&bound)->sin6_port
                    : ((const struct sockaddr_in *)(const void *)&bound)->sin_port;
    }
}

/* A name may have the same address twice, in its file and in its network. */
static bool is_repeated(const struct addrinfo *addresses, const struct addrinfo *one)
{
    for (const struct addrinfo *a = addresses; a != one; a = a->ai_next) {
        if (a->ai_addrlen == one->ai_addrlen &&
            memcmp(a->ai_addr, one->ai_addr, a->ai_addrlen) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * Bind all of them that this machine has. Returns whether there is one, and no failure;
 * errno tells of it, unless there was no place for one.
 */
static bool bind_addresses(struct listener *listener, struct addrinfo *addresses,
                           bool is_only)
{
    size_t count = listener->count;
    int passed_errno = 0;
    is_only = is_only && addresses->ai_next == NULL;
    for (struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
        if (listener->count > 0) {
            take_port(a->ai_addr, listener->fds[0]);
        }
        if (is_repeated(addresses, a)) {
            continue;
        }
        if (listener->count == LISTENERS_MAX) {
            return false;
        }
        int fd = bind_address(a, is_only);
        if (fd >= 0) {
            listener->fds[listener->count++] = fd;
            take_port(a->ai_addr, listener->fds[0]);
        } else if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT) {
            passed_errno = errno;
        } else {
            return false;
        }
    }
    errno = passed_errno;
    return listener->count > count;
}

/* The address without the brackets that an IPv6 one is printed in. */
static const char *without_brackets(const char *address, char *room, size_t size)
{
    size_t length = strlen(address);
    if (address[0] != '[' || address[length - 1] != ']' || length - 2 >= size) {
        return address;
    }
    memcpy(room, address + 1, length - 2);
    room[length - 2] = '\0';
    return room;
}

/* An address and a port in one word, as the server prints them; one of IPv6 has brackets.
 */
static bool has_port(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon != NULL && colon > address &&
           (colon[-1] == ']' || strchr(address, ':') == colon);
}

/* Bind all that a name has. */
static enum status bind_name(struct listener *listener, const char *address,
                             const char *port, bool is_only)
{
    struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    if (has_port(address)) {
        diag_errorx("%s: no such address: its port goes into --port; giving up", address);
        return KV_IO;
    }
    char room[HOST_BYTES_MAX];
    struct addrinfo *addresses = NULL;
    const char *host = without_brackets(address, room, sizeof room);
    int error = getaddrinfo(host, port, &hints, &addresses);
    if (error != 0) {
        diag_errorx("%s: no such address: %s; giving up", address, gai_strerror(error));
        return KV_IO;
    }
    bool is_bound = bind_addresses(listener, addresses, is_only);
    if (!is_bound && has_place(listener, address)) {
        bool is_ipv6 = strchr(host, ':') != NULL;
        diag_error("%s%s%s:%s: cannot listen; giving up", is_ipv6 ? "[" : "", host,
                   is_ipv6 ? "]" : "", port);
    }
    freeaddrinfo(addresses);
    return is_bound ? KV_OK : KV_IO;
}

/* ---- Paths ---- */

/* Whether what stands at a path may be replaced: a socket on which nobody answers. */
static enum status judge_path(const char *path, const struct sockaddr_un *address)
{
    struct stat at;
    bool is_seen = lstat(path, &at) == 0;
    if (!is_seen && errno == ENOENT) {
        return KV_OK;
    }
    if (is_seen && !S_ISSOCK(at.st_mode)) {
        diag_errorx("%s: is no socket and is not replaced; giving up", path);
        return KV_IO;
    }
    int fd = is_seen ? socket(AF_UNIX, SOCK_STREAM, 0) : -1;
    bool can_ask = fd >= 0 && set_flags(fd);
    /* Where so many wait already that no more may, somebody is to take them. */
    bool is_served =
        can_ask && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                    errno == EAGAIN || errno == EWOULDBLOCK);
    bool is_left = can_ask && !is_served && errno == ECONNREFUSED;
    if (is_served) {
        diag_errorx("%s: another server listens there; giving up", path);
    } else if (!is_left) {
        diag_error("%s: cannot find out who listens there; giving up", path);
    }
    if (fd >= 0) {
        (void)close(fd); /* a socket: nothing to lose */
    }
    return is_left ? KV_OK : KV_IO;
}

static enum status fill_path(const char *path, struct sockaddr_un *address_out)
{
    *address_out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address_out->sun_path) {
        diag_errorx("%s: too long for the path of a socket; giving up", path);
        return KV_IO;
    }
    memcpy(address_out->sun_path, path, strlen(path));
    return judge_path(path, address_out);
}

/* Whether what stands at a path is a socket of ours, by its number. */
static bool is_ours(const struct listener *listener, const char *path, size_t number)
{
    struct stat at;
    return lstat(path, &at) == 0 && at.st_dev == listener->files[number].device &&
           at.st_ino == listener->files[number].inode;
}

/* Bind it, in place of what a dead server left there; one that is named twice, once. */
static enum status bind_path(struct listener *listener, const char *path)
{
    struct stat at;
    struct sockaddr_un address;
    for (size_t i = 0; i < listener->file_count; i++) {
        if (is_ours(listener, path, i)) {
            return KV_OK;
        }
    }
    if (fill_path(path, &address) != KV_OK || !has_place(listener, path)) {
        return KV_IO;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || !set_flags(fd) || (unlink(path) < 0 && errno != ENOENT) ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        diag_error("%s: cannot listen; giving up", path);
        if (fd >= 0) {
            (void)close(fd); /* a socket: nothing to lose */
        }
        return KV_IO;
    }
    listener->fds[listener->count++] = fd;
    if (chmod(path, S_IRUSR | S_IWUSR) < 0 || lstat(path, &at) < 0) {
        diag_error("%s: cannot set its mode; giving up", path);
        return KV_IO;
    }
    listener->files[listener->file_count].path = path;
    listener->files[listener->file_count].device = at.st_dev;
    listener->files[listener->file_count++].inode = at.st_ino;
    return KV_OK;
}

/* ---- Sockets that are handed over ---- */

/* A number of the environment that is for this process; 0: there is none. */
static long read_variable(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    long number = text == NULL || text[0] == '\0' ? 0 : strtol(text, &end, 10);
    return end != NULL && *end == '\0' ? number : 0;
}

static bool is_listening(int fd)
{
    int type = 0;
    int listens = 0;
    socklen_t type_length = sizeof type;
    socklen_t listens_length = sizeof listens;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) == 0 &&
           type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_length) == 0 &&
           listens != 0;
}

/* Take what is there for this process, once: what it starts is not meant. */
static enum status inherit(struct listener *listener)
{
    bool is_for_us = read_variable("LISTEN_PID") == (long)getpid();
    long count = is_for_us ? read_variable("LISTEN_FDS") : 0;
    bool is_told = is_for_us && getenv("LISTEN_FDS") != NULL;
    (void)unsetenv("LISTEN_PID"); /* these cannot fail */
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    if (is_told && (count < 1 || count > LISTENERS_MAX)) {
        diag_errorx("LISTEN_FDS: takes 1 to %d sockets; giving up", LISTENERS_MAX);
        return KV_IO;
    }
    for (int i = 0; i < (int)count; i++) {
        int fd = FIRST_INHERITED_FD + i;
        if (!is_listening(fd) || !set_flags(fd)) {
            diag_errorx("LISTEN_FDS: descriptor %d is no socket that listens; giving up",
                        fd);
            return KV_IO;
        }
        (void)set_habits(fd); /* a path has none of them, and they are not needed */
        listener->fds[listener->count++] = fd;
    }
    listener->are_inherited = count > 0;
    return KV_OK;
}

/* ---- All of them ---- */

/* Whether one name at most is listened on: a path is in nobody's way. */
static bool has_one_name(const struct listener_options *options)
{
    size_t count = 0;
    for (size_t i = 0; i < options->address_count; i++) {
        count += is_path(options->addresses[i]) ? 0 : 1;
    }
    return count <= 1;
}

enum status listener_bind(const struct listener_options *options,
                          struct listener *listener_out)
{
    *listener_out = (struct listener){.count = 0};
    enum status status = inherit(listener_out);
    for (size_t i = 0;
         i < options->address_count && status == KV_OK && !listener_out->are_inherited;
         i++) {
        const char *address = options->addresses[i];
        struct sockaddr_un unused;
        status = is_path(address) ? fill_path(address, &unused)
                                  : bind_name(listener_out, address, options->port,
                                              has_one_name(options));
    }
    return status;
}

enum status listener_open(const struct listener_options *options,
                          struct listener *listener)
{
    for (size_t i = 0; i < options->address_count && !listener->are_inherited; i++) {
        const char *address = options->addresses[i];
        if (is_path(address) && bind_path(listener, address) != KV_OK) {
            return KV_IO;
        }
    }
    for (size_t i = 0; i < listener->count && !listener->are_inherited; i++) {
        if (listen(listener->fds[i], WAITING_CLIENTS_MAX) < 0) {
            diag_error("port %s: cannot listen; giving up", options->port);
            return KV_IO;
        }
    }
    return KV_OK;
}

void listener_tell_ready(const struct listener *listener)
{
    for (size_t i = 0; i < listener->count; i++) {
        union {
            struct sockaddr any;
            struct sockaddr_un path;
            struct sockaddr_storage storage;
        } bound = {.storage = {.ss_family = AF_UNSPEC}};
        socklen_t length = sizeof bound.storage - 1; /* a path ends with a NUL */
        char host[HOST_BYTES_MAX];
        char port[PORT_BYTES_MAX];
        if (getsockname(listener->fds[i], &bound.any, &length) == 0 &&
            bound.any.sa_family == AF_UNIX) {
            /* On Linux a NUL stands before a name that has no file: unix(7). */
            bool has_file = bound.path.sun_path[0] != '\0';
            diag_info("listening on %s%s", has_file ? "" : "@",
                      bound.path.sun_path + (has_file ? 0 : 1));
        } else if (getnameinfo(&bound.any, length, host, sizeof host, port, sizeof port,
                               NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
            bool is_ipv6 = bound.any.sa_family == AF_INET6;
            diag_info("listening on %s%s%s:%s", is_ipv6 ? "[" : "", host,
                      is_ipv6 ? "]" : "", port);
        } else {
            diag_info("listening on a socket without a name");
        }
    }
}

void listener_close(struct listener *listener)
{
    for (size_t i = 0; i < listener->file_count; i++) {
        if (is_ours(listener, listener->files[i].path, i)) {
            (void)unlink(listener->files[i].path); /* else the next start replaces it */
        }
    }
    for (size_t i = 0; i < listener->count; i++) {
        (void)close(listener->fds[i]); /* sockets: nothing to lose */
    }
    *listener = (struct listener){.count = 0};
}
