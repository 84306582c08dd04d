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

/* Whether a sanitizer watches each access. */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#endif
#endif

/* How much the program holds now. */
size_t memory_held_bytes(void);

/* Take everything back, as the system does when a process ends. */
void memory_release_all(void);

/* Byte for byte, with what a sanitizer has put between the variables; NULL: zeros. */
void memory_copy_plainly(char *to, const char *from, size_t length);

#endif
