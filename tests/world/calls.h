/*
 * The system calls that the world answers in place of the system, and what a file is to
 * the program: the words in which a script and the figures name them.
 */
#ifndef KV_WORLD_CALLS_H
#define KV_WORLD_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum call {
    CALL_OPEN,
    CALL_OPENAT,
    CALL_CLOSE,
    CALL_FSTAT,
    CALL_PWRITE,
    CALL_FTRUNCATE,
    CALL_FDATASYNC,
    CALL_FSYNC,
    CALL_FADVISE,
    CALL_RENAMEAT,
    CALL_UNLINKAT,
    CALL_FCNTL,
    CALL_MMAP,
    CALL_FOPEN,
    CALL_FSTATVFS,
    CALL_ACCEPT,
    CALL_RECV,
    CALL_SEND,
    CALL_SHUTDOWN,
    CALL_POLL,
    CALL_LISTEN,
    CALL_CLOCK,
    CALL_MALLOC,
    CALL_CALLOC,
    CALL_REALLOC,
    CALL_READ, /* of a mapping: no call, but it may fail */
    CALL_COUNT
};

enum role {
    ROLE_ANY, /* only to match with */
    ROLE_OTHER,
    ROLE_LOG,
    ROLE_LOCK,
    ROLE_NEW,
    ROLE_OLD,
    ROLE_INDEX,
    ROLE_TORN,
    ROLE_DIRECTORY,
    ROLE_COUNT
};

/* NULL-safe tables of the words: as a script has them. */
const char *call_name(enum call call);
const char *role_name(enum role role);

/* CALL_COUNT, ROLE_COUNT: there is no such word. */
enum call call_named(const char *name);
enum role role_named(const char *name);

/* What a call returns that ends so: 0, or -1 with this errno. */
int outcome(int error);

/* By the end of a file's name. */
enum role role_of(const char *file_name);

#endif
