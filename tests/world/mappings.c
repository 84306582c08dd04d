/*
 * wrap: mmap munmap posix_madvise
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

enum { VIEWS_MAX = 16, LOST_MAX = 4, PAGE_BYTES = 4096 };

void *__real_mmap(void *at, size_t length, int protection, int flags, int fd,
                  off_t offset);
int __real_munmap(void *at, size_t length);
int __real_sigaction(int number, const struct sigaction *action, struct sigaction *old);

void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd,
                  off_t offset);
int __wrap_munmap(void *at, size_t length);
int __wrap_posix_madvise(void *at, size_t length, int advice);

struct view {
    unsigned char *at;
    size_t length;
    size_t file;
    bool is_beside; /* of who follows the server, and reads what there is */
};

/* A page of a file; in which views the program has put something else in its place. */
struct lost {
    size_t file;
    uint64_t offset;
    bool is_hidden[VIEWS_MAX];
};

static struct view views[VIEWS_MAX];

static bool is_own(const struct view *view)
{
    return view->length > 0 && view->is_beside == beside_is_looking();
}

static struct lost losses[LOST_MAX];
static size_t lost_count;
static uint64_t failing_until_us;
static struct sigaction caught;
static int empty_fd = -1;

void mappings_begin_run(void)
{
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

/* The place of a page in a view; NULL: the view does not show it. */
static unsigned char *place_in(const struct view *view, const struct lost *lost)
{
    bool is_shown = view->length > 0 && !view->is_beside && view->file == lost->file &&
                    lost->offset + PAGE_BYTES <= view->length;
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

/* Take away what a view shows of the pages that cannot be read, in a part of it. */
static void take_pages(size_t number, const unsigned char *from, size_t length)
{
    for (size_t i = 0; i < lost_count; i++) {
        unsigned char *place = place_in(&views[number], &losses[i]);
        if (place != NULL && place >= from && place < from + length) {
            put_page(place, empty_fd, 0);
            losses[i].is_hidden[number] = false;
        }
    }
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
        take_pages(i, views[i].at, views[i].length);
    }
}

void mappings_mend(void)
{
    for (size_t i = 0; i < lost_count; i++) {
        for (size_t number = 0; number < VIEWS_MAX; number++) {
            unsigned char *place = place_in(&views[number], &losses[i]);
            if (place != NULL && !losses[i].is_hidden[number]) {
                put_page(place, disk_real_fd(losses[i].file), losses[i].offset);
            }
        }
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

/* Whether bytes of a view stand where its file, which was cut short, has no page any
 * more. */
static bool is_behind_the_end(const struct view *view, const unsigned char *from,
                              size_t length)
{
    if (view->length == 0 || view->is_beside || from < view->at ||
        from >= view->at + view->length) {
        return false;
    }
    uint64_t end = disk_length(view->file);
    end = (end + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    return (uint64_t)(from - view->at) + length > end;
}

bool mappings_have_lost(const void *bytes, size_t length)
{
    const unsigned char *from = bytes;
    for (size_t number = 0; number < VIEWS_MAX; number++) {
        if (is_behind_the_end(&views[number], from, length)) {
            return true;
        }
    }
    for (size_t i = 0; i < lost_count; i++) {
        for (size_t number = 0; number < VIEWS_MAX; number++) {
            const unsigned char *place = place_in(&views[number], &losses[i]);
            if (place != NULL && !losses[i].is_hidden[number] &&
                from < place + PAGE_BYTES && from + length > place) {
                return true;
            }
        }
    }
    return false;
}

/* Where reading is in the program's source depends on the compiler: no call is counted.
 */
static void answer(int number, siginfo_t *info, void *context)
{
    bool was_quiet = process_is_quiet();
    process_be_quiet(true);
    faults_note(CALL_READ, EIO);
    caught.sa_sigaction(number, info, context);
    process_be_quiet(was_quiet);
}

void mappings_catch(const struct sigaction *action)
{
    /* Whoever dies within it jumps out of it. */
    struct sigaction own = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    caught = *action;
    (void)sigemptyset(&own.sa_mask); /* cannot fail on a valid set */
    (void)__real_sigaction(SIGBUS, &own, NULL);
}

/* ---- Calls ---- */

static size_t note_view(unsigned char *at, size_t length, size_t file)
{
    size_t i = 0;
    while (i < VIEWS_MAX && views[i].length > 0) {
        i++;
    }
    if (i == VIEWS_MAX) {
        violation("mappings are left behind", "%d of them", VIEWS_MAX);
    }
    views[i] = (struct view){at, length, file, beside_is_looking()};
    return i;
}

static size_t find_view(const unsigned char *at)
{
    size_t i = 0;
    while (i < VIEWS_MAX && (views[i].length == 0 || at < views[i].at ||
                             at >= views[i].at + views[i].length)) {
        i++;
    }
    return i;
}

/* Zeros take the place of what cannot be read. */
static void hide_pages(const unsigned char *at, size_t length)
{
    size_t number = find_view(at);
    for (size_t i = 0; i < lost_count && number < VIEWS_MAX; i++) {
        const unsigned char *place = place_in(&views[number], &losses[i]);
        if (place != NULL && place >= at && place < at + length) {
            losses[i].is_hidden[number] = true;
        }
    }
}

void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd,
                  off_t offset)
{
    struct descriptor descriptor = descriptor_at(fd);
    bool is_file = descriptor.kind == DESCRIPTOR_FILE;
    if (descriptor.kind == DESCRIPTOR_ZERO) { /* within the handler of a signal */
        hide_pages(at, length);
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
    if (view != MAP_FAILED) {
        size_t number = (flags & MAP_FIXED) != 0
                            ? find_view(view)
                            : note_view(view, length, descriptor.number);
        take_pages(number, view, length);
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
