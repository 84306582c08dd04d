/*
 * wrap: malloc calloc realloc free strdup
 *
 * A header in front of each piece links them all.
 */
#include "world/memory.h"

#include "world/beside.h"
#include "world/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t length);
void *__real_calloc(size_t count, size_t length);
void *__real_realloc(void *memory, size_t length);
void __real_free(void *memory);
void *__wrap_malloc(size_t length);
void *__wrap_calloc(size_t count, size_t length);
void *__wrap_realloc(void *memory, size_t length);
void __wrap_free(void *memory);
char *__wrap_strdup(const char *text);

struct piece {
    struct piece *before;
    struct piece *after;
    size_t length;
    size_t pad; /* what follows stays aligned for anything */
};

/* Of the server, and of who follows it. */
static struct piece all[2] = {{&all[0], &all[0], 0, 0}, {&all[1], &all[1], 0, 0}};
static size_t held_bytes[2];

static int caller(void)
{
    return beside_is_looking() ? 1 : 0;
}

size_t memory_held_bytes(void)
{
    return held_bytes[caller()];
}

static void link_in(struct piece *piece, size_t length)
{
    piece->length = length;
    struct piece *first = &all[caller()];
    piece->before = first;
    piece->after = first->after;
    first->after->before = piece;
    first->after = piece;
    held_bytes[caller()] += length;
}

static void take_out(struct piece *piece)
{
    piece->before->after = piece->after;
    piece->after->before = piece->before;
    held_bytes[caller()] -= piece->length;
}

static struct piece *piece_of(void *memory)
{
    return (struct piece *)memory - 1;
}

static void *give(struct piece *piece, size_t length)
{
    if (piece == NULL) {
        return NULL;
    }
    link_in(piece, length);
    return piece + 1;
}

void *__wrap_malloc(size_t length)
{
    return process_meets_fault(CALL_MALLOC, ROLE_ANY) != 0
               ? NULL
               : give(__real_malloc(sizeof(struct piece) + length), length);
}

void *__wrap_calloc(size_t count, size_t length)
{
    size_t bytes = count * length; /* the program's counts are small */
    return process_meets_fault(CALL_CALLOC, ROLE_ANY) != 0
               ? NULL
               : give(__real_calloc(1, sizeof(struct piece) + bytes), bytes);
}

void *__wrap_realloc(void *memory, size_t length)
{
    if (process_meets_fault(CALL_REALLOC, ROLE_ANY) != 0) {
        return NULL;
    }
    if (memory == NULL) {
        return give(__real_malloc(sizeof(struct piece) + length), length);
    }
    struct piece *piece = piece_of(memory);
    take_out(piece);
    piece = resize(piece, sizeof *piece + length);
    link_in(piece, length);
    return piece + 1;
}

void __wrap_free(void *memory)
{
    if (memory != NULL) {
        take_out(piece_of(memory));
        __real_free(piece_of(memory));
    }
}

char *__wrap_strdup(const char *text)
{
    size_t length = strlen(text) + 1;
    char *copy = __wrap_malloc(length);
    return copy == NULL ? NULL : memcpy(copy, text, length);
}

void memory_release_all(void)
{
    while (all[caller()].after != &all[caller()]) {
        __wrap_free(all[caller()].after + 1);
    }
}

void *resize(void *memory, size_t length)
{
    if (length == 0) {
        __real_free(memory);
        return NULL;
    }
    void *moved = __real_realloc(memory, length);
    if (moved == NULL) {
        (void)fprintf(stderr, "world: no memory for %zu bytes\n", length);
        abort();
    }
    return moved;
}

#ifdef HAS_ADDRESS_SANITIZER
/* Through volatile, lest the compiler calls memcpy, which the sanitizer watches as well.
 */
__attribute__((no_sanitize_address, noinline)) void
memory_copy_plainly(char *to, const char *from, size_t length)
{
    volatile char *place = to;
    const volatile char *source = from;
    for (size_t i = 0; i < length; i++) {
        place[i] = source == NULL ? 0 : source[i];
    }
}
#else
void memory_copy_plainly(char *to, const char *from, size_t length)
{
    if (from == NULL) {
        memset(to, 0, length);
    } else {
        memcpy(to, from, length);
    }
}
#endif
