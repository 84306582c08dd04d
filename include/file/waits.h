/*
 * Telling work that had to wait for the disk from work that found everything in memory.
 */
#ifndef KV_WAITS_H
#define KV_WAITS_H

#include <stdbool.h>
#include <stdint.h>

/* All zero is work that has not begun. */
struct waits {
    uint64_t since_us;
    long blocks_read;
};

/* The work begins. */
void waits_begin(struct waits *waits);

/*
 * The work has ended: whether it took as long as a disk takes for one read, and the disk
 * was read for this program since that was asked last. A system call only if it took so
 * long; false where nobody counts reads.
 */
bool waits_end(struct waits *waits);

#endif
