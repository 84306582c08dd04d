/*
 * What it does is durable at once. A log is shortened only while the server waits:
 * between the look at a log's length and a write to it nobody could notice.
 */
#include "world/others.h"

#include "world/disk.h"
#include "world/faults.h"
#include "world/process.h"

#include <string.h>
#include <unistd.h>

#define NAME     "w.log"
#define OWN_NAME "w.away"

ssize_t __real_pread(int fd, void *bytes, size_t length, off_t offset);

static const char own_text[] = "somebody else's";

static enum event_kind touched_by; /* EVENT_SERVE: nothing */
static bool is_served;
static size_t own_file;
static struct bytes cut_off;
static uint64_t cut_at;
static bool has_left_a_hole;

void others_begin_run(void)
{
    touched_by = EVENT_SERVE;
    has_left_a_hole = false;
}

void others_note_serving(bool is_serving)
{
    is_served = is_serving;
}

bool others_have_left_a_hole(void)
{
    return has_left_a_hole;
}

bool others_have_touched(void)
{
    return touched_by != EVENT_SERVE;
}

static void cut(size_t file, uint64_t thousandths)
{
    uint64_t length = disk_length(file);
    cut_at = length * thousandths / 1000;
    bytes_set_length(&cut_off, (size_t)(length - cut_at));
    if (__real_pread(disk_real_fd(file), cut_off.at, cut_off.length, (off_t)cut_at) !=
        (ssize_t)cut_off.length) {
        violation("the world is too small", "memory");
    }
    disk_truncate(file, cut_at);
    disk_sync(file);
}

void others_touch(const struct event *event)
{
    size_t log = disk_find(NAME);
    bool is_left_alone = !is_served || disk_lies() || others_have_touched() ||
                         disk_find_role(ROLE_OLD) != DISK_NONE ||
                         disk_find_role(ROLE_NEW) != DISK_NONE;
    if (log == DISK_NONE || is_left_alone ||
        (event->kind == EVENT_OTHER_CUTS && !process_is_waiting())) {
        return;
    }
    touched_by = event->kind;
    faults_note_touch();
    if (event->kind == EVENT_OTHER_CUTS) {
        cut(log, event->number);
        return;
    }
    (void)disk_rename(NAME, OWN_NAME); /* it is there */
    if (event->kind == EVENT_OTHER_REPLACES) {
        own_file = disk_create(NAME);
        (void)disk_write(own_file, own_text, sizeof own_text, 0); /* or it is empty */
        disk_sync(own_file);
    }
    disk_sync_names();
}

static void check_own_file(void)
{
    char text[sizeof own_text + 1];
    bool is_there = disk_find(NAME) == own_file;
    size_t length = is_there ? (size_t)disk_length(own_file) : 0;
    if (!is_there || length > sizeof own_text ||
        __real_pread(disk_real_fd(own_file), text, sizeof text, 0) != (ssize_t)length ||
        memcmp(text, own_text, length) != 0) {
        violation("somebody else's file was touched", "%s", process_diag());
    }
}

void others_put_back(void)
{
    enum event_kind kind = touched_by;
    touched_by = EVENT_SERVE;
    if (kind == EVENT_OTHER_CUTS) {
        size_t log = disk_find(NAME);
        disk_set_room(WORLD_ALL);
        if (log == DISK_NONE) {
            violation("a log that was shortened was removed", "%s", process_diag());
        }
        has_left_a_hole = has_left_a_hole || disk_has_failed_sync();
        (void)disk_write(log, cut_off.at, cut_off.length, cut_at);
        disk_sync(log);
        return;
    }
    if (kind == EVENT_SERVE) {
        return;
    }
    if (kind == EVENT_OTHER_REPLACES) {
        check_own_file();
        (void)disk_unlink(NAME); /* it is there */
    } else if (disk_find(NAME) != DISK_NONE) {
        violation("a log's name is used that somebody took away", "%s", process_diag());
    }
    (void)disk_rename(OWN_NAME, NAME); /* likewise */
    disk_sync_names();
}
