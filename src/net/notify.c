/*
 * One datagram for each state, from a socket of its own.
 */
#include "net/notify.h"

#include "base/bounds.h"
#include "base/diag.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static const char variable[] = "NOTIFY_SOCKET";

/* A path, or after "@" the name of an abstract socket, which begins with a NUL. */
static bool fill_address(const char *name, struct sockaddr_un *address_out)
{
    bool is_abstract = name[0] == '@';
    *address_out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (name[0] != '/' && !is_abstract) {
        errno = EAFNOSUPPORT;
        return false;
    }
    if (strlen(name) >= sizeof address_out->sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(address_out->sun_path, name, strlen(name));
    if (is_abstract) {
        address_out->sun_path[0] = '\0';
    }
    return true;
}

static bool send_from(int fd, const char *name, const char *text)
{
    struct sockaddr_un address;
    struct timeval wait = {.tv_sec = NOTIFY_WAIT_S_MAX};
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    ssize_t sent = -1;
    if (!fill_address(name, &address) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) < 0) {
        return false;
    }
    do {
        sent = sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, length);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

static void send_state(const char *text)
{
    const char *name = getenv(variable);
    if (name == NULL || name[0] == '\0') {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0 || !send_from(fd, name, text)) {
        diag_warn("%s=%s: cannot send %s; nothing more is sent there", variable, name,
                  text);
        (void)unsetenv(variable); /* fails only for an empty name */
    }
    if (fd >= 0) {
        (void)close(fd); /* a socket: nothing to lose */
    }
}

void notify_ready(void)
{
    send_state("READY=1");
}

void notify_stopping(void)
{
    send_state("STOPPING=1");
    (void)unsetenv(variable); /* as above */
}
