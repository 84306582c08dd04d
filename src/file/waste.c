/*
 * Failures are nobody's business: when the last descriptor of such a file is closed, the
 * system frees the rest of it.
 */
#include "file/waste.h"

#include "base/bounds.h"
#include "file/io.h"

void waste_take(struct waste *waste, int fd)
{
    if (waste->count == WASTE_FILES_MAX) {
        (void)io_close(waste->fds[--waste->count]);
    }
    waste->fds[waste->count++] = fd;
}

/* Whether it had more than one step's worth, which is gone now. */
static bool cut(int fd)
{
    struct io_info info;
    return io_inspect(fd, &info) == KV_OK && info.link_count == 0 &&
           info.length > CUT_STEP_BYTES &&
           io_truncate(fd, info.length - CUT_STEP_BYTES) == KV_OK;
}

void waste_step(struct waste *waste)
{
    if (waste->count > 0 && !cut(waste->fds[waste->count - 1])) {
        (void)io_close(waste->fds[--waste->count]);
    }
}

void waste_drop(struct waste *waste)
{
    while (waste->count > 0) {
        (void)io_close(waste->fds[--waste->count]);
    }
}
