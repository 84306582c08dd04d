/*
 * Files that have no name any more, cut away in steps: to free much at once would hold up
 * whoever waits meanwhile.
 */
#ifndef KV_WASTE_H
#define KV_WASTE_H

#include <stdbool.h>
#include <stddef.h>

enum { WASTE_FILES_MAX = 4 };

/* All zero: there are none. */
struct waste {
    int fds[WASTE_FILES_MAX];
    size_t count;
};

/*
 * Take over the descriptor of a file that has lost its name, or is about to. One that has
 * a name after all, or another, is left as it is.
 *
 * fd: for writing.
 */
void waste_take(struct waste *waste, int fd);

/* Take one step, if there is something to cut away. */
void waste_step(struct waste *waste);

/* Close them all, as they are. */
void waste_drop(struct waste *waste);

#endif
