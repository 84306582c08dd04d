/*
 * wrap: lstat chmod unlink connect
 */
#define _DEFAULT_SOURCE /* S_IFSOCK */
#include "world/path.h"

#include "world/faults.h"
#include "world/process.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MODE_OF_OURS = 0600, MODE_AT_FIRST = 0755 };

int __wrap_lstat(const char *path, struct stat *info);
int __wrap_chmod(const char *path, mode_t mode);
int __wrap_unlink(const char *path);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);

/* PATH_DEAD: a socket, on which nobody listens. */
static enum path_thing thing;
static uint64_t inode;
static mode_t mode;
static bool is_bound; /* in this life */
static uint64_t bound_inode;
static size_t bound_listener;

void path_begin_run(void)
{
    thing = PATH_NOTHING;
    path_begin_life();
}

void path_clear(void)
{
    thing = PATH_NOTHING;
}

void path_begin_life(void)
{
    is_bound = false;
}

static void put(enum path_thing what)
{
    thing = what;
    inode++;
    mode = MODE_AT_FIRST;
}

void path_touch(const struct event *event)
{
    if (process_is_waiting()) {
        put((enum path_thing)event->number);
    }
}

int path_bind(const struct sockaddr *address, size_t listener)
{
    struct sockaddr_un path;
    if (address->sa_family != AF_UNIX) {
        return 0;
    }
    memcpy(&path, address, sizeof path);
    if (thing != PATH_NOTHING || strcmp(path.sun_path, PATH_OF_SOCKET) != 0) {
        return EADDRINUSE;
    }
    put(PATH_DEAD);
    is_bound = true;
    bound_inode = inode;
    bound_listener = listener;
    return 0;
}

bool path_is_at(size_t listener)
{
    return is_bound && listener == bound_listener;
}

void path_check_listened(size_t listener)
{
    if (path_is_at(listener) && mode != MODE_OF_OURS) {
        violation("anybody can connect at the path of a socket", "its mode is %o", mode);
    }
}

bool path_is_left(void)
{
    return is_bound && inode == bound_inode && thing != PATH_NOTHING;
}

/* A call on the path begins; returns the errno. */
static int enter(uint64_t what)
{
    int error = process_enter(CALL_LISTEN, ROLE_ANY, what, 0);
    return error == 0 && thing == PATH_NOTHING ? ENOENT : error;
}

/* What the operator has to see to before a server can start. */
static int note_in_use(int error)
{
    if (!is_bound) {
        faults_note(CALL_LISTEN, EADDRINUSE);
    }
    return error;
}

int __wrap_lstat(const char *path, struct stat *info)
{
    (void)path;
    int error = enter(5);
    memset(info, 0, sizeof *info);
    info->st_mode = S_IFSOCK | mode; /* what it does not tell may look like anything */
    info->st_ino = inode;
    if (error == 0 && thing == PATH_FILE) {
        info->st_mode = S_IFREG | mode;
        (void)note_in_use(0);
    }
    return outcome(error);
}

int __wrap_chmod(const char *path, mode_t wanted)
{
    (void)path;
    int error = enter(6);
    mode = error == 0 ? wanted : mode;
    return outcome(error);
}

int __wrap_unlink(const char *path)
{
    (void)path;
    int error = enter(7);
    bool is_others = thing != PATH_DEAD || (is_bound && inode != bound_inode);
    if (error == 0 && is_others) {
        violation("what is somebody else's is removed from the path of a socket", "%d",
                  (int)thing);
    }
    if (error == 0) {
        thing = PATH_NOTHING;
    }
    return outcome(error);
}

/* By who wants to know whether anybody listens there: perhaps more do than it lets wait.
 */
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    (void)fd;
    (void)address;
    (void)length;
    int error = enter(8);
    if (error == 0) {
        error = thing != PATH_SERVER ? ECONNREFUSED
                                     : note_in_use(inode % 2 == 0 ? EAGAIN : 0);
    }
    return outcome(error);
}
