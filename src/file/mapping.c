/*
 * mmap with room to grow, and the answer to SIGBUS.
 *
 * The view is longer than the file: pages behind its end become readable as it grows,
 * so that an append costs no system call here until the room is used up.
 */
#include "file/mapping.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/platform.h"
#include "file/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Two logs are open during a compaction; one more while one is rewritten. */
enum { MAPPINGS_MAX = 4 };

/*
 * Address space is asked for in plenty, since a view that has to move costs a command
 * tens of milliseconds; where it is scarce, less will do.
 */
#define ROOM_BYTES       (sizeof(size_t) > 4 ? 16 * GIB : 64 * MIB)
#define ROOM_BYTES_LEAST (64 * MIB)

/* Pages in a row that stand for what could not be read, as offsets in the view. */
struct hole {
    size_t start;
    size_t end;
    uint64_t since_ms; /* when reading the first page of them that did failed */
};

struct mapping {
    int fd;
    uint8_t *bytes;
    size_t length;
    bool is_random;         /* reads are few and anywhere */
    size_t lost_end;        /* behind the last page that ever failed; 0: none has */
    uint64_t fault_count;   /* how often reading failed */
    uint64_t retry_ms;      /* when what failed may be read again */
    uint64_t retry_wait_ms; /* how long after a failure that is */
    size_t hole_count;
    struct hole holes[MAPPING_HOLES_MAX];
};

/* What the signal handler may touch: the open mappings and a source of zero pages. */
static struct mapping *volatile open_mappings[MAPPINGS_MAX];
static int zero_fd = -1;
static uintptr_t page_bytes;

/* The mapping in whose view a place is, or NULL. */
static struct mapping *find_mapping(uintptr_t place)
{
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        struct mapping *mapping = open_mappings[i];
        uintptr_t start = mapping == NULL ? 0 : (uintptr_t)mapping->bytes;
        if (mapping != NULL && place >= start && place - start < mapping->length) {
            return mapping;
        }
    }
    return NULL;
}

/*
 * What cannot be read at a place: its page or, behind the end of a file that was cut, all
 * the rest of the view. A page each would soon be more than a process may have.
 */
static struct hole measure_hole(const struct mapping *mapping, size_t place)
{
    struct io_info info;
    size_t start = place / page_bytes * page_bytes;
    if (io_inspect(mapping->fd, &info) == KV_OK && info.length <= start) {
        size_t kept_pages = (size_t)((info.length + page_bytes - 1) / page_bytes);
        return (struct hole){kept_pages * page_bytes, mapping->length, 0};
    }
    return (struct hole){start, start + page_bytes, 0};
}

/* false: there are as many already as are kept. */
static bool note_hole(struct mapping *mapping, struct hole more)
{
    mapping->fault_count++;
    mapping->lost_end = more.end > mapping->lost_end ? more.end : mapping->lost_end;
    more.since_ms = clock_now_ms();
    mapping->retry_ms = more.since_ms + mapping->retry_wait_ms;
    for (size_t i = 0; i < mapping->hole_count; i++) {
        struct hole *hole = &mapping->holes[i];
        if (more.start <= hole->end && more.end >= hole->start) {
            hole->start = more.start < hole->start ? more.start : hole->start;
            hole->end = more.end > hole->end ? more.end : hole->end;
            return true;
        }
    }
    if (mapping->hole_count == MAPPING_HOLES_MAX) {
        return false;
    }
    mapping->holes[mapping->hole_count++] = more;
    return true;
}

/* Neighbours make one mapping for the system, since offset follows offset. */
static bool put_zeros(const struct mapping *mapping, struct hole hole)
{
    void *start = mapping->bytes + hole.start;
    return mmap(start, hole.end - hole.start, PROT_READ, MAP_PRIVATE | MAP_FIXED, zero_fd,
                (off_t)hole.start) == start;
}

/*
 * A mapping that is remapped meanwhile is not read, so it cannot raise the signal. It
 * comes from reading a page and from nothing else, so what is no part of that read is in
 * no half-changed state, and may be used.
 */
static void answer_fault(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    int kept_errno = errno;
    uintptr_t place = (uintptr_t)info->si_addr;
    struct mapping *mapping = find_mapping(place);
    if (mapping == NULL) {
        /* Not ours: the next fault ends the program as it would have. */
        (void)signal(signal_number, SIG_DFL);
    } else {
        struct hole hole = measure_hole(mapping, place - (uintptr_t)mapping->bytes);
        if (!note_hole(mapping, hole) || !put_zeros(mapping, hole)) {
            diag_errorx("a file in use cannot be read in too many places; giving up");
            _exit(EXIT_FAILURE);
        }
    }
    errno = kept_errno;
}

static enum status install_handler(void)
{
    if (zero_fd >= 0) {
        return KV_OK;
    }
    do {
        zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    } while (zero_fd < 0 && errno == EINTR);
    if (zero_fd < 0) {
        return KV_IO;
    }
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction action = {.sa_sigaction = answer_fault, .sa_flags = SA_SIGINFO};
    (void)sigemptyset(&action.sa_mask);     /* cannot fail on a valid set */
    (void)sigaction(SIGBUS, &action, NULL); /* cannot fail for this signal */
    return KV_OK;
}

/* Give up the view behind its first `kept` bytes, which are whole pages. */
static void unmap(struct mapping *mapping, uint64_t kept)
{
    if (kept < mapping->length) {
        size_t length = (size_t)kept;
        (void)munmap(mapping->bytes + length, mapping->length - length); /* cannot fail */
        mapping->length = length;
    }
}

/* It belongs to a view, so a new one needs it again. Nothing depends on it. */
static void advise(const struct mapping *mapping)
{
    (void)posix_madvise(mapping->bytes, mapping->length,
                        mapping->is_random ? POSIX_MADV_RANDOM : POSIX_MADV_NORMAL);
}

/*
 * Put a view of at least `needed` bytes in place of the one there is, with room to grow
 * if the address space has it.
 */
static enum status map(struct mapping *mapping, uint64_t needed)
{
    uint64_t wishes[] = {needed + needed / 2 + ROOM_BYTES,
                         needed + needed / 2 + ROOM_BYTES_LEAST, needed + MIB};
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        if (wishes[i] > SIZE_MAX / 2) {
            errno = EFBIG; /* no memory would help: more than a process can address */
            continue;
        }
        void *bytes =
            mmap(NULL, (size_t)wishes[i], PROT_READ, MAP_SHARED, mapping->fd, 0);
        if (bytes != MAP_FAILED) {
            unmap(mapping, 0);
            mapping->bytes = bytes;
            mapping->length = (size_t)wishes[i];
            mapping->hole_count = 0; /* the new view has none */
            advise(mapping);
            return KV_OK;
        }
    }
    return errno == ENOMEM || errno == EFBIG ? KV_NO_MEMORY : KV_IO;
}

static void note_open(struct mapping *mapping)
{
    size_t place = 0;
    while (open_mappings[place] != NULL) {
        place++;
        assert(place < MAPPINGS_MAX);
    }
    open_mappings[place] = mapping;
}

enum status mapping_open(int fd, struct mapping **mapping_out, uint64_t *length_out)
{
    struct io_info info;
    enum status status = io_inspect(fd, &info);
    if (status == KV_OK) {
        status = install_handler();
    }
    if (status != KV_OK) {
        return status;
    }
    struct mapping *mapping = calloc(1, sizeof *mapping);
    if (mapping == NULL) {
        return KV_NO_MEMORY;
    }
    mapping->fd = fd;
    mapping->retry_wait_ms = READ_RETRY_MS_MIN;
    status = map(mapping, info.length);
    if (status != KV_OK) {
        free(mapping);
        return status;
    }
    note_open(mapping);
    *mapping_out = mapping;
    *length_out = info.length;
    return KV_OK;
}

void mapping_close(struct mapping *mapping)
{
    if (mapping == NULL) {
        return;
    }
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        if (open_mappings[i] == mapping) {
            open_mappings[i] = NULL;
        }
    }
    unmap(mapping, 0);
    free(mapping);
}

void mapping_read_at_random(struct mapping *mapping, bool is_random)
{
    mapping->is_random = is_random;
    advise(mapping);
}

void mapping_will_read(const struct mapping *mapping, uint64_t offset, uint64_t length)
{
    uint64_t start = offset / page_bytes * page_bytes;
    uint64_t end = offset + length;
    end = end < mapping->length ? end : mapping->length;
    assert(start < end);
    (void)posix_madvise(mapping->bytes + start, (size_t)(end - start),
                        POSIX_MADV_WILLNEED); /* advice: nothing depends on it */
}

enum status mapping_cover(struct mapping *mapping, uint64_t length)
{
    return length <= mapping->length ? KV_OK : map(mapping, length);
}

void mapping_cut(struct mapping *mapping, uint64_t length)
{
    uint64_t page_count = (length + page_bytes - 1) / page_bytes;
    unmap(mapping, (page_count == 0 ? 1 : page_count) * page_bytes); /* never all of it */
}

enum status mapping_renew(struct mapping *mapping)
{
    void *bytes = mmap(mapping->bytes, mapping->length, PROT_READ, MAP_SHARED | MAP_FIXED,
                       mapping->fd, 0);
    if (bytes == MAP_FAILED) {
        return KV_NO_MEMORY;
    }
    mapping->hole_count = 0;
    advise(mapping);
    return KV_OK;
}

const uint8_t *mapping_bytes(const struct mapping *mapping)
{
    return mapping->bytes;
}

uint64_t mapping_lost_end(const struct mapping *mapping)
{
    KV_SIGNAL_FENCE(); /* see find_hole */
    return mapping->lost_end;
}

uint64_t mapping_fault_count(const struct mapping *mapping)
{
    KV_SIGNAL_FENCE();
    return mapping->fault_count;
}

/*
 * The first hole that shares a page with these bytes, or NULL. The compiler does not know
 * that reading them may have made one.
 */
static struct hole *find_hole(struct mapping *mapping, uint64_t offset, uint64_t length)
{
    KV_SIGNAL_FENCE();
    for (size_t i = 0; i < mapping->hole_count; i++) {
        struct hole *hole = &mapping->holes[i];
        if (offset < hole->end && offset + length > hole->start) {
            return hole;
        }
    }
    return NULL;
}

bool mapping_is_lost(struct mapping *mapping, uint64_t offset, uint64_t length)
{
    struct io_info info;
    /* Where the end is not known, it may have been cut before these bytes. */
    return find_hole(mapping, offset, length) != NULL ||
           io_inspect(mapping->fd, &info) != KV_OK || info.length < offset + length;
}

/* Have the file in place of a hole again. */
static bool fill_hole(struct mapping *mapping, struct hole *hole)
{
    void *start = mapping->bytes + hole->start;
    if (mmap(start, hole->end - hole->start, PROT_READ, MAP_SHARED | MAP_FIXED,
             mapping->fd, (off_t)hole->start) != start) {
        return false;
    }
    /* The others keep their order: what fails comes behind them, so each has its turn. */
    const struct hole *end = mapping->holes + --mapping->hole_count;
    for (; hole < end; hole++) {
        hole[0] = hole[1];
    }
    advise(mapping);
    return true;
}

/* Whether all of it can be read; else the first page that cannot is a hole. */
static bool touch(const struct mapping *mapping, uint64_t offset, uint64_t length)
{
    const volatile uint8_t *bytes = mapping->bytes;
    uint64_t fault_count = mapping_fault_count(mapping);
    for (uint64_t at = offset; at < offset + length; at += page_bytes) {
        (void)bytes[at];
        if (mapping_fault_count(mapping) != fault_count) {
            return false;
        }
    }
    (void)bytes[offset + length - 1];
    return mapping_fault_count(mapping) == fault_count;
}

/* The same of what was a hole since a moment: one that is there again always was. */
static bool touch_again(struct mapping *mapping, uint64_t offset, uint64_t length,
                        uint64_t since_ms)
{
    bool is_readable = touch(mapping, offset, length);
    struct hole *hole = is_readable ? NULL : find_hole(mapping, offset, length);
    if (hole != NULL && since_ms < hole->since_ms) {
        hole->since_ms = since_ms;
    }
    return is_readable;
}

bool mapping_read_again(struct mapping *mapping, uint64_t offset, uint64_t length)
{
    struct hole *hole = find_hole(mapping, offset, length);
    if (hole == NULL || clock_now_ms() < mapping->retry_ms) {
        return false;
    }
    uint64_t wait_ms = 2 * mapping->retry_wait_ms;
    mapping->retry_wait_ms = wait_ms < READ_RETRY_MS_MAX ? wait_ms : READ_RETRY_MS_MAX;
    uint64_t since_ms = UINT64_MAX;
    for (; hole != NULL; hole = find_hole(mapping, offset, length)) {
        since_ms = hole->since_ms < since_ms ? hole->since_ms : since_ms;
        if (!fill_hole(mapping, hole)) {
            return false;
        }
    }
    if (!touch_again(mapping, offset, length, since_ms)) {
        return false;
    }
    mapping->retry_wait_ms = READ_RETRY_MS_MIN;
    return true;
}

bool mapping_has_given_up(struct mapping *mapping, uint64_t offset, uint64_t length,
                          uint64_t patience_ms)
{
    const struct hole *hole = find_hole(mapping, offset, length);
    return hole != NULL && clock_now_ms() - hole->since_ms >= patience_ms;
}

bool mapping_read_all_again(struct mapping *mapping, uint64_t length)
{
    size_t count = mapping->hole_count;
    for (size_t i = 0; i < count && mapping->hole_count > 0; i++) {
        struct hole hole = mapping->holes[0];
        uint64_t end = hole.end < length ? hole.end : length;
        if (!fill_hole(mapping, &mapping->holes[0]) ||
            (hole.start < end &&
             !touch_again(mapping, hole.start, end - hole.start, hole.since_ms))) {
            return i > 0 || find_hole(mapping, hole.start, 1) == NULL;
        }
    }
    return true;
}
