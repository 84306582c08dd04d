/*
 * wrap: close fcntl
 */
#include "world/descriptors.h"

#include "world/beside.h"
#include "world/disk.h"
#include "world/process.h"
#include "world/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

enum { FIRST = 1000, OPEN_MAX_COUNT = 64, CALLERS = 2 };

int __wrap_close(int fd);
int __wrap_fcntl(int fd, int command, ...);

/* Of the server, and of who follows it. */
static struct descriptor tables[CALLERS][OPEN_MAX_COUNT];

static struct descriptor *own_table(void)
{
    return tables[beside_is_looking() ? 1 : 0];
}

int descriptor_open(enum descriptor_kind kind, size_t number)
{
    struct descriptor *table = own_table();
    for (int i = 0; i < OPEN_MAX_COUNT; i++) {
        if (table[i].kind == DESCRIPTOR_NONE) {
            table[i] = (struct descriptor){kind, number};
            return FIRST + i;
        }
    }
    errno = EMFILE;
    return -1;
}

struct descriptor descriptor_at(int fd)
{
    bool is_known = fd >= FIRST && fd < FIRST + OPEN_MAX_COUNT;
    return is_known ? own_table()[fd - FIRST] : (struct descriptor){DESCRIPTOR_NONE, 0};
}

static void let_go(struct descriptor *descriptor)
{
    struct descriptor gone = *descriptor;
    descriptor->kind = DESCRIPTOR_NONE;
    if (gone.kind == DESCRIPTOR_FILE) {
        disk_release(gone.number);
    }
}

void descriptors_close_all(void)
{
    for (int i = 0; i < OPEN_MAX_COUNT; i++) {
        let_go(&own_table()[i]);
    }
}

size_t descriptors_count(enum descriptor_kind kind)
{
    size_t count = 0;
    for (int i = 0; i < OPEN_MAX_COUNT; i++) {
        count += own_table()[i].kind == kind ? 1 : 0;
    }
    return count;
}

int __wrap_close(int fd)
{
    struct descriptor gone = descriptor_at(fd);
    bool is_file = gone.kind == DESCRIPTOR_FILE;
    int error = process_enter(CALL_CLOSE, is_file ? disk_role(gone.number) : ROLE_OTHER,
                              (uint64_t)fd, 0);
    if (gone.kind == DESCRIPTOR_NONE) {
        violation("a descriptor is closed twice", "close(%d)", fd);
    }
    let_go(&own_table()[fd - FIRST]);
    if (gone.kind == DESCRIPTOR_CLIENT) {
        sockets_note_closed(gone.number);
    } else if (gone.kind == DESCRIPTOR_LISTENER) {
        sockets_note_deaf();
    }
    errno = error;
    return error == 0 ? 0 : -1;
}

int __wrap_fcntl(int fd, int command, ...)
{
    struct descriptor descriptor = descriptor_at(fd);
    bool is_file = descriptor.kind == DESCRIPTOR_FILE;
    int error =
        process_enter(CALL_FCNTL, is_file ? disk_role(descriptor.number) : ROLE_OTHER,
                      (uint64_t)fd, (uint64_t)command);
    if (error == 0 && descriptor.kind == DESCRIPTOR_NONE) {
        error = EBADF;
    }
    if (error != 0 && descriptor.kind == DESCRIPTOR_CLIENT) {
        sockets_client((unsigned)descriptor.number)->is_lost =
            true; /* it cannot be served */
    }
    if (error == 0 && command == F_GETLK) {
        va_list arguments;
        va_start(arguments, command);
        va_arg(arguments, struct flock *)->l_type = F_UNLCK;
        va_end(arguments);
    }
    errno = error;
    return error == 0 ? 0 : -1;
}
