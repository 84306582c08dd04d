/*
 * Anonymous pages of which the last one is taken away.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "support/guarded.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void guarded_create(struct guarded *guarded, size_t bytes_max)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t page_count = bytes_max / page_bytes + 1;
    size_t readable = page_count * page_bytes;
    void *pages = mmap(NULL, readable + page_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        abort();
    }
    *guarded = (struct guarded){pages, readable, readable + page_bytes};
    if (mprotect(guarded->pages + readable, page_bytes, PROT_NONE) != 0) {
        abort();
    }
}

void guarded_destroy(struct guarded *guarded)
{
    (void)munmap(guarded->pages, guarded->pages_bytes); /* the program ends soon */
    *guarded = (struct guarded){0};
}

struct slice guarded_place(struct guarded *guarded, struct slice bytes)
{
    if (bytes.length > guarded->bytes_max) {
        abort();
    }
    uint8_t *at = guarded->pages + guarded->bytes_max - bytes.length;
    if (bytes.length < guarded->bytes_max) {
        at[-1] = 'G';
    }
    if (bytes.length > 0) {
        memmove(at, bytes.bytes, bytes.length);
    }
    return (struct slice){at, bytes.length};
}
