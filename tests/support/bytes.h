/*
 * Bytes that grow, for what a test keeps for itself while the program under test runs in
 * the same process.
 */
#ifndef KV_SUPPORT_BYTES_H
#define KV_SUPPORT_BYTES_H

#include <stddef.h>

/*
 * realloc, which ends the program if there is no memory; length 0 frees. In the world it
 * is known to nobody, elsewhere it is plain memory (resize.c).
 */
void *resize(void *memory, size_t length);

/* All zero is empty. */
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
