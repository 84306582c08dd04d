/*
 * The descriptors of the server: numbers that no real file has, so that a call that the
 * world does not answer fails instead of reaching somebody else's file.
 */
#ifndef KV_WORLD_DESCRIPTORS_H
#define KV_WORLD_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>

enum descriptor_kind {
    DESCRIPTOR_NONE,
    DESCRIPTOR_DIRECTORY,
    DESCRIPTOR_FILE,
    DESCRIPTOR_ZERO, /* /dev/zero */
    DESCRIPTOR_PIPE,
    DESCRIPTOR_LISTENER,
    DESCRIPTOR_CLIENT
};

struct descriptor {
    enum descriptor_kind kind;
    size_t number; /* of the file or the client */
};

/* Those of a follower are others: what is said here is of whoever makes the calls. */

/* The lowest that is free, or -1 with errno. */
int descriptor_open(enum descriptor_kind kind, size_t number);

/* kind DESCRIPTOR_NONE: there is none. */
struct descriptor descriptor_at(int fd);

void descriptors_close_all(void);
size_t descriptors_count(enum descriptor_kind kind);

#endif
