/*
 * The memory of the program under test: each piece of it is known, so that a process that
 * is killed gives all of it back, and one that ends must have given it back itself.
 * What the world keeps for itself is had from world_resize and known to nobody.
 */
#ifndef KV_WORLD_MEMORY_H
#define KV_WORLD_MEMORY_H

#include <stddef.h>

/* How much the program holds now. */
size_t memory_held_bytes(void);

/* Take everything back, as the system does when a process ends. */
void memory_release_all(void);

/* realloc for the world itself; ends the program if there is none. */
void *world_resize(void *memory, size_t length);

/* Bytes that grow. All zero is empty. */
struct bytes {
    unsigned char *at;
    size_t length;
    size_t capacity;
};

void bytes_reserve(struct bytes *bytes, size_t more);
void bytes_put(struct bytes *bytes, const void *from, size_t length);

/* Make it longer, with zeros, or shorter. */
void bytes_set_length(struct bytes *bytes, size_t length);

#endif
