/*
 * Makes the program break its promise, to see that check-power notices: loaded with
 * LD_PRELOAD, it does what KV_POWER_FAULT names.
 *
 * no-fdatasync       nothing is ever synced, no file at least
 * no-directory-sync  a name is durable when the file system pleases
 * reply-first        a sync is made when the replies that wait for it have left
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static int late_fd = -1; /* to be synced; none */

static bool is_fault(const char *name)
{
    const char *fault = getenv("KV_POWER_FAULT");
    return fault != NULL && strcmp(fault, name) == 0;
}

/* The function of the C library behind ours; a union since C has no such cast. */
union next {
    void *symbol;
    int (*sync)(int fd);
    ssize_t (*receive)(int fd, void *bytes, size_t length, int flags);
    int (*wait)(struct pollfd *fds, nfds_t count, int timeout_ms);
};

static union next find(const char *name)
{
    return (union next){.symbol = dlsym(RTLD_NEXT, name)};
}

static void sync_late(void)
{
    if (late_fd >= 0) {
        (void)find("fdatasync").sync(late_fd); /* it promises nothing any more */
        late_fd = -1;
    }
}

int fdatasync(int fd)
{
    sync_late();
    if (is_fault("reply-first")) {
        late_fd = fd;
        return 0;
    }
    return is_fault("no-fdatasync") ? 0 : find("fdatasync").sync(fd);
}

int fsync(int fd)
{
    sync_late();
    return is_fault("no-directory-sync") ? 0 : find("fsync").sync(fd);
}

ssize_t recv(int fd, void *bytes, size_t length, int flags)
{
    sync_late();
    return find("recv").receive(fd, bytes, length, flags);
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    sync_late();
    return find("poll").wait(fds, count, timeout_ms);
}
