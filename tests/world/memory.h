/*
 * The memory of the program under test: each piece of it is known, so that a process that
 * is killed gives all of it back, and one that ends must have given it back itself.
 * What the world keeps for itself is had from resize (support/bytes.h), and known to
 * nobody.
 */
#ifndef KV_WORLD_MEMORY_H
#define KV_WORLD_MEMORY_H

#include "support/bytes.h"

#include <stddef.h>

/* How much the program holds now. */
size_t memory_held_bytes(void);

/* Take everything back, as the system does when a process ends. */
void memory_release_all(void);

/* Byte for byte, with what a sanitizer has put between the variables; NULL: zeros. */
void memory_copy_plainly(volatile char *to, const volatile char *from, size_t length);

#endif
