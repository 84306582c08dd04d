/*
 * wrap: mmap munmap posix_madvise crc32c
 *
 * A page that cannot be read is one of an empty file, put in its place.
 */
#define _GNU_SOURCE /* memfd_create, MAP_ANONYMOUS */
#include "world/mappings.h"

#include "base/bounds.h"
#include "world/beside.h"
#include "world/clock.h"
#include "world/descriptors.h"
#include "world/disk.h"
#include "world/faults.h"
#include "world/process.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { VIEWS_MAX = 16, LOST_MAX = 4, HOLES_MAX = 32, PAGE_BYTES = 4096 };

void *__real_mmap(void *at, size_t length, int protection, int flags, int fd,
                  off_t offset);
int __real_munmap(void *at, size_t length);
int __real_sigaction(int number, const struct sigaction *action, struct sigaction *old);

uint32_t __real_crc32c(uint32_t crc, struct slice bytes);
uint32_t __wrap_crc32c(uint32_t crc, struct slice bytes);

void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd,
                  off_t offset);
int __wrap_munmap(void *at, size_t length);
int __wrap_posix_madvise(void *at, size_t length, int advice);

/* Where the program has put zeros in the place of what cannot be read. */
struct hole {
    size_t start;
    size_t end;
};

struct view {
    unsigned char *at;
    size_t length;
    size_t file;
    bool is_beside; /* of who follows the server */
    struct hole holes[HOLES_MAX];
    size_t hole_count;
};

/* A page of a file. */
struct lost {
    size_t file;
    uint64_t offset;
};

static struct view views[VIEWS_MAX];
static struct lost losses[LOST_MAX];
static size_t lost_count;
static struct lost fading; /* a page that is about to be lost */
static bool is_fading;
static uint64_t fading_sums; /* it stands so many more */
static uint64_t look_sums;   /* as it was when a look began */
static bool is_look_at_fading;
static uint64_t failing_until_us;
static struct sigaction caught[2]; /* of the server, and of who follows it */
static int empty_fd = -1;

static bool is_own(const struct view *view)
{
    return view->length > 0 && view->is_beside == beside_is_looking();
}

void mappings_begin_run(void)
{
    is_fading = false;
    lost_count = 0;
    failing_until_us = 0;
}

void mappings_begin_life(void)
{
    for (size_t i = 0; i < VIEWS_MAX; i++) {
        if (is_own(&views[i])) {
            (void)__real_munmap(views[i].at, views[i].length); /* ours: cannot fail */
            views[i].length = 0;
        }
    }
}

bool mappings_are_gone(void)
{
    for (size_t i = 0; i < VIEWS_MAX; i++) {
        if (is_own(&views[i])) {
            return false;
        }
    }
    return true;
}

/* ---- What cannot be read ---- */

/* The number of the view that these bytes are in; VIEWS_MAX: none. */
static size_t find_view(const unsigned char *at)
{
    size_t i = 0;
    while (i < VIEWS_MAX && (views[i].length == 0 || at < views[i].at ||
                             at >= views[i].at + views[i].length)) {
        i++;
    }
    return i;
}

static bool is_hole(const struct view *view, size_t offset)
{
    for (size_t i = 0; i < view->hole_count; i++) {
        if (offset >= view->holes[i].start && offset < view->holes[i].end) {
            return true;
        }
    }
    return false;
}

/* The place of a page in a view; NULL: the view does not show it. */
static unsigned char *place_in(const struct view *view, const struct lost *lost)
{
    bool is_shown = view->length > 0 && view->file == lost->file &&
                    lost->offset + PAGE_BYTES <= view->length &&
                    !is_hole(view, (size_t)lost->offset);
    return is_shown ? view->at + lost->offset : NULL;
}

/* Map a file there, of which the page is the one at the offset. */
static void put_page(unsigned char *place, int fd, uint64_t offset)
{
    if (__real_mmap(place, PAGE_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
                    (off_t)offset) != place) {
        violation("the world is too small", "mappings");
    }
}

/* Take away what a view shows of the pages that cannot be read. */
static void take_pages(const struct view *view)
{
    for (size_t i = 0; i < lost_count; i++) {
        unsigned char *place = place_in(view, &losses[i]);
        if (place != NULL) {
            put_page(place, empty_fd, 0);
        }
    }
}

void mappings_fade_page(size_t file, uint64_t offset, uint64_t more_sums)
{
    fading = (struct lost){file, offset / PAGE_BYTES * PAGE_BYTES};
    fading_sums = more_sums;
    is_fading = true;
}

void mappings_lose_page(size_t file, uint64_t offset)
{
    if (lost_count == LOST_MAX) {
        return;
    }
    if (empty_fd < 0) {
        empty_fd = memfd_create("empty", MFD_CLOEXEC);
    }
    losses[lost_count++] =
        (struct lost){.file = file, .offset = offset / PAGE_BYTES * PAGE_BYTES};
    for (size_t i = 0; i < VIEWS_MAX; i++) {
        take_pages(&views[i]);
    }
}

static void mend_page(const struct lost *lost)
{
    for (size_t number = 0; number < VIEWS_MAX; number++) {
        unsigned char *place = place_in(&views[number], lost);
        if (place != NULL) {
            put_page(place, disk_real_fd(lost->file), lost->offset);
        }
    }
}

void mappings_begin_look(void)
{
    is_look_at_fading = is_fading;
    look_sums = fading_sums;
}

void mappings_end_look(void)
{
    if (is_look_at_fading && !is_fading && lost_count > 0) {
        mend_page(&losses[--lost_count]);
    }
    is_fading = is_look_at_fading;
    fading_sums = look_sums;
}

void mappings_forget_file(size_t file)
{
    size_t count = 0;
    for (size_t i = 0; i < lost_count; i++) {
        if (losses[i].file != file) {
            losses[count++] = losses[i];
        }
    }
    lost_count = count;
    is_fading = is_fading && fading.file != file;
}

void mappings_mend(void)
{
    is_fading = false;
    for (size_t i = 0; i < lost_count; i++) {
        mend_page(&losses[i]);
    }
    if (lost_count > 0) {
        failing_until_us = world_now_us() + READ_RETRY_MS_MAX * 1000;
    }
    lost_count = 0;
}

bool mappings_are_failing(void)
{
    return lost_count > 0 || world_now_us() < failing_until_us;
}

bool mappings_are_losing(void)
{
    return lost_count > 0 || is_fading;
}

/* Whether bytes of a view stand where its file, which was cut short, has no page any
 * more, and nothing in its place. */
static bool is_behind_the_end(const struct view *view, size_t from, size_t to)
{
    uint64_t end = disk_length(view->file);
    end = (end + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    for (size_t at = end > from ? (size_t)end : from; at < to; at += PAGE_BYTES) {
        if (!is_hole(view, at)) {
            return true;
        }
    }
    return false;
}

bool mappings_have_lost(const void *bytes, size_t length)
{
    size_t number = find_view(bytes);
    if (number == VIEWS_MAX) {
        return false;
    }
    const struct view *view = &views[number];
    const unsigned char *from = bytes;
    for (size_t i = 0; i < lost_count; i++) {
        const unsigned char *place = place_in(view, &losses[i]);
        if (place != NULL && from < place + PAGE_BYTES && from + length > place) {
            return true;
        }
    }
    size_t offset = (size_t)(from - view->at);
    return is_behind_the_end(view, offset, offset + length);
}

void mappings_note_read(struct slice bytes)
{
    size_t number = is_fading ? find_view(bytes.bytes) : VIEWS_MAX;
    const unsigned char *place =
        number < VIEWS_MAX ? place_in(&views[number], &fading) : NULL;
    if (place != NULL && bytes.bytes < place + PAGE_BYTES &&
        bytes.bytes + bytes.length > place && fading_sums-- == 0) {
        is_fading = false;
        mappings_lose_page(fading.file, fading.offset);
    }
}

uint32_t __wrap_crc32c(uint32_t crc, struct slice bytes)
{
    uint32_t sum = __real_crc32c(crc, bytes);
    mappings_note_read(bytes);
    return sum;
}

/* Where reading is in the program's source depends on the compiler: no call is counted.
 */
static void answer(int number, siginfo_t *info, void *context)
{
    bool was_quiet = process_is_quiet();
    process_be_quiet(true);
    if (!beside_is_looking()) {
        faults_note(CALL_READ, EIO);
    }
    caught[beside_is_looking()].sa_sigaction(number, info, context);
    process_be_quiet(was_quiet);
}

void mappings_catch(const struct sigaction *action)
{
    /* Whoever dies within it jumps out of it. */
    struct sigaction own = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    caught[beside_is_looking()] = *action;
    (void)sigemptyset(&own.sa_mask); /* cannot fail on a valid set */
    (void)__real_sigaction(SIGBUS, &own, NULL);
}

/* ---- Calls ---- */

static const struct view *note_view(unsigned char *at, size_t length, size_t file)
{
    size_t i = 0;
    while (i < VIEWS_MAX && views[i].length > 0) {
        i++;
    }
    if (i == VIEWS_MAX) {
        violation("mappings are left behind", "%d of them", VIEWS_MAX);
    }
    views[i] = (struct view){
        .at = at, .length = length, .file = file, .is_beside = beside_is_looking()};
    return &views[i];
}

/* Zeros take the place of what cannot be read, or the file takes it again. */
static void note_hole(struct view *view, struct hole hole, bool is_there)
{
    size_t count = 0;
    for (size_t i = 0; i < view->hole_count; i++) {
        struct hole other = view->holes[i];
        if (other.start < hole.start || other.start >= hole.end) {
            view->holes[count++] = other;
        }
    }
    view->hole_count = count;
    if (is_there && count == HOLES_MAX) {
        violation("the world is too small", "holes");
    }
    if (is_there) {
        view->holes[view->hole_count++] = hole;
    }
}

/* A part of a view is mapped anew. */
static void remap(const unsigned char *at, size_t length, bool is_hole)
{
    size_t number = find_view(at);
    if (number == VIEWS_MAX) {
        violation("memory is mapped over that was not mapped", "%zu bytes", length);
    }
    size_t start = (size_t)(at - views[number].at);
    note_hole(&views[number], (struct hole){start, start + length}, is_hole);
    take_pages(&views[number]);
}

void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd,
                  off_t offset)
{
    struct descriptor descriptor = descriptor_at(fd);
    bool is_file = descriptor.kind == DESCRIPTOR_FILE;
    if (descriptor.kind == DESCRIPTOR_ZERO) { /* within the handler of a signal */
        remap(at, length, true);
        return __real_mmap(at, length, protection, flags | MAP_ANONYMOUS, -1, 0);
    }
    int error =
        process_enter(CALL_MMAP, is_file ? disk_role(descriptor.number) : ROLE_OTHER,
                      (uint64_t)fd, length);
    if (error != 0 || !is_file) {
        errno = error != 0 ? error : EBADF;
        return MAP_FAILED;
    }
    unsigned char *view = __real_mmap(at, length, protection, flags,
                                      disk_real_fd(descriptor.number), offset);
    if (view != MAP_FAILED && (flags & MAP_FIXED) != 0) {
        remap(view, length, false);
    } else if (view != MAP_FAILED) {
        take_pages(note_view(view, length, descriptor.number));
    }
    return view;
}

int __wrap_munmap(void *at, size_t length)
{
    unsigned char *from = at;
    for (size_t i = 0; i < VIEWS_MAX; i++) {
        if (views[i].length > 0 && from >= views[i].at &&
            from + length == views[i].at + views[i].length) {
            views[i].length = (size_t)(from - views[i].at);
            return __real_munmap(at, length);
        }
    }
    violation("memory is unmapped that was not mapped", "%zu bytes", length);
}

int __wrap_posix_madvise(void *at, size_t length, int advice)
{
    (void)at; /* advice: nothing depends on it */
    (void)length;
    (void)advice;
    return 0;
}
