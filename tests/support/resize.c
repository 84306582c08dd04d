/*
 * Of plain memory; the world has another.
 */
#include "support/bytes.h"

#include <stdio.h>
#include <stdlib.h>

void *resize(void *memory, size_t length)
{
    if (length == 0) {
        free(memory);
        return NULL;
    }
    void *moved = realloc(memory, length);
    if (moved == NULL) {
        (void)fprintf(stderr, "no memory for %zu bytes\n", length);
        abort();
    }
    return moved;
}
