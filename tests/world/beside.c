/*
 * Its code is linked a second time, as one object whose names nobody else sees (see the
 * Makefile), so that nothing of it is the server's.
 */
#include "world/beside.h"

#include "base/bounds.h"
#include "base/stop.h"
#include "offline/follow.h"
#include "world/clock.h"
#include "world/descriptors.h"
#include "world/disk.h"
#include "world/mappings.h"
#include "world/memory.h"
#include "world/model.h"
#include "world/others.h"
#include "world/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_PATH "w.log"

enum { TOLD_BYTES = 500, LOOKS_AT_REST = 3 };

extern char __start_kf_data[], __stop_kf_data[];
extern char __start_kf_bss[], __stop_kf_bss[];

static struct bytes first_data;
static struct follow *follower; /* NULL: it could not begin yet */
static bool is_looking;
static uint64_t calls_to_fault; /* 0: none is to come */
static bool has_met_fault;      /* in this look */
static bool was_hindered;       /* it could not read all in its last look */
static uint64_t looked_us;
static struct bytes printed; /* and not judged yet */
static char told[TOLD_BYTES];

bool beside_is_looking(void)
{
    return is_looking;
}

void beside_fail(uint64_t nth)
{
    calls_to_fault = nth;
}

int beside_meets_fault(void)
{
    if (!is_looking || calls_to_fault == 0 || --calls_to_fault > 0) {
        return 0;
    }
    has_met_fault = true;
    return EIO;
}

/* As run.c does for the server. */
static void put_back_data(void)
{
    if (first_data.length == 0) {
        size_t length = (size_t)(__stop_kf_data - __start_kf_data);
        bytes_set_length(&first_data, length);
        memory_copy_plainly((char *)first_data.at, __start_kf_data, length);
    }
    memory_copy_plainly(__start_kf_data, (const char *)first_data.at, first_data.length);
    memory_copy_plainly(__start_kf_bss, NULL, (size_t)(__stop_kf_bss - __start_kf_bss));
}

void beside_end(void)
{
    is_looking = true;
    descriptors_close_all();
    mappings_begin_life();
    memory_release_all();
    is_looking = false;
    put_back_data();
    follower = NULL;
    was_hindered = false;
    calls_to_fault = 0;
    printed.length = 0;
    told[0] = '\0';
    model_forget_printed();
}

void beside_take(int fd, const void *bytes, size_t length)
{
    if (fd == STDOUT_FILENO) {
        bytes_put(&printed, bytes, length);
    } else {
        (void)snprintf(told, sizeof told, "%.*s", (int)length, (const char *)bytes);
    }
}

/* Nothing was printed that a power loss could take back. */
static void check_durable(void)
{
    uint64_t inode = 0;
    uint64_t end = follow_place(follower, &inode);
    if (!disk_has((size_t)inode - 1, end)) {
        violation("--follow prints what is not durable", "up to %llu of %s",
                  (unsigned long long)end, role_name(disk_role((size_t)inode - 1)));
    }
}

static void judge(void)
{
    struct slice rest = {printed.at, printed.length};
    while (rest.length > 0) {
        const uint8_t *lf = memchr(rest.bytes, '\n', rest.length);
        if (lf == NULL) {
            violation("--follow prints half a line", "%zu bytes", rest.length);
        }
        struct slice line = slice_first(rest, (size_t)(lf - rest.bytes));
        model_note_printed(line);
        rest = slice_after(rest, line.length + 1);
    }
    printed.length = 0;
}

static bool is_hindered(void)
{
    return has_met_fault || mappings_are_failing();
}

/* A drained log is kept so that one who looks often enough sees it; this one may have
 * looked too seldom, its clock has jumped, or it could not read what it saw. */
static bool may_be_behind(void)
{
    return was_hindered || is_hindered() ||
           world_now_us() - looked_us >= COMPACT_KEEP_MS * 1000;
}

void beside_note_start(void)
{
    looked_us = 0;
}

static void take_a_look(void)
{
    bool was_quiet = process_is_quiet();
    bool has_failed = false;
    enum status status = KV_OK;
    has_met_fault = false;
    is_looking = true;
    process_be_quiet(true);
    if (follower == NULL) {
        status = follow_open(LOG_PATH, LINES_SET, &follower);
        has_failed = status == KV_IO || status == KV_CORRUPT;
    }
    if (status == KV_OK) {
        status = follow_look(follower);
    }
    process_be_quiet(was_quiet);
    is_looking = false;
    if (status == KV_CORRUPT && strstr(told, "original") == NULL) {
        violation("--follow calls damaged what nobody has damaged", "%s", told);
    }
    has_failed = has_failed ||
                 ((status == KV_IO || status == KV_NO_MEMORY) && has_met_fault) ||
                 (status == KV_IO && mappings_are_failing()) ||
                 (status == KV_BEHIND && may_be_behind());
    bool could_not_read = is_hindered();
    if (has_failed) {
        beside_end(); /* its reader begins anew */
        status = KV_OK;
    }
    was_hindered = could_not_read;
    looked_us = world_now_us();
    if (status != KV_OK && status != KV_NOT_FOUND) {
        violation(status == KV_BEHIND ? "--follow falls behind" : "--follow fails", "%s",
                  told);
    }
}

void beside_look(void)
{
    if (is_looking || disk_lies() || disk_has_garbage() || others_have_touched()) {
        return;
    }
    take_a_look();
    if (printed.length > 0) {
        check_durable();
        judge();
    }
    if (follower != NULL) {
        model_check_printed(was_hindered);
    }
}

void beside_check_at_rest(void)
{
    if (disk_lies() || disk_has_garbage()) {
        return;
    }
    beside_look();
    /* It had been left behind, or could not read all, and goes on looking. */
    calls_to_fault = 0;
    for (int i = 0; i < LOOKS_AT_REST && (follower == NULL || was_hindered); i++) {
        beside_look();
    }
    model_check_all_printed();
}
