/*
 * Two tables of words.
 */
#include "world/calls.h"

#include <errno.h>
#include <string.h>

static const char *const call_names[CALL_COUNT] = {
    [CALL_OPEN] = "open",           [CALL_OPENAT] = "openat",
    [CALL_CLOSE] = "close",         [CALL_FSTAT] = "fstat",
    [CALL_PWRITE] = "pwrite",       [CALL_FTRUNCATE] = "ftruncate",
    [CALL_FDATASYNC] = "fdatasync", [CALL_FSYNC] = "fsync",
    [CALL_FADVISE] = "fadvise",     [CALL_RENAMEAT] = "renameat",
    [CALL_UNLINKAT] = "unlinkat",   [CALL_FCNTL] = "fcntl",
    [CALL_MMAP] = "mmap",           [CALL_FOPEN] = "fopen",
    [CALL_FSTATVFS] = "fstatvfs",   [CALL_ACCEPT] = "accept",
    [CALL_RECV] = "recv",           [CALL_SEND] = "send",
    [CALL_SHUTDOWN] = "shutdown",   [CALL_POLL] = "poll",
    [CALL_LISTEN] = "listen",       [CALL_CLOCK] = "clock",
    [CALL_MALLOC] = "malloc",       [CALL_CALLOC] = "calloc",
    [CALL_REALLOC] = "realloc",     [CALL_READ] = "read",
};

static const char *const role_names[ROLE_COUNT] = {
    [ROLE_ANY] = "any",     [ROLE_OTHER] = "other", [ROLE_LOG] = "log",
    [ROLE_LOCK] = "lock",   [ROLE_NEW] = "new",     [ROLE_OLD] = "old",
    [ROLE_INDEX] = "index", [ROLE_TORN] = "torn",   [ROLE_DIRECTORY] = "directory",
};

const char *call_name(enum call call)
{
    return call_names[call];
}

const char *role_name(enum role role)
{
    return role_names[role];
}

enum call call_named(const char *name)
{
    int call = 0;
    while (call < CALL_COUNT && strcmp(call_names[call], name) != 0) {
        call++;
    }
    return (enum call)call;
}

enum role role_named(const char *name)
{
    int role = 0;
    while (role < ROLE_COUNT && strcmp(role_names[role], name) != 0) {
        role++;
    }
    return (enum role)role;
}

int outcome(int error)
{
    errno = error;
    return error == 0 ? 0 : -1;
}

enum role role_of(const char *file_name)
{
    const char *dot = strrchr(file_name, '.');
    if (strstr(file_name, ".torn.") != NULL) {
        return ROLE_TORN;
    }
    for (int role = ROLE_LOG; dot != NULL && role < ROLE_DIRECTORY; role++) {
        if (strcmp(dot + 1, role_names[role]) == 0) {
            return (enum role)role;
        }
    }
    return ROLE_OTHER;
}
