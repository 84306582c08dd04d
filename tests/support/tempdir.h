/*
 * A fresh directory for the files of one test.
 */
#ifndef KV_SUPPORT_TEMPDIR_H
#define KV_SUPPORT_TEMPDIR_H

enum { TEMPDIR_PATH_BYTES = 256, TEMPDIR_FILE_BYTES = 512 };

struct tempdir {
    char path[TEMPDIR_PATH_BYTES]; /* empty: there is none */
};

/* The path of a file in a directory, as a value so that it needs no release. */
struct tempdir_file {
    char path[TEMPDIR_FILE_BYTES];
};

/*
 * Made below $TMPDIR; else in memory, where there is a /dev/shm with room, since syncs to
 * a disk would take most of the time of the tests; else below /tmp. tempdir_remove takes
 * it away.
 */
void tempdir_create(struct tempdir *tempdir);

/* Remove the directory, its files and its empty directories. */
void tempdir_remove(struct tempdir *tempdir);

struct tempdir_file tempdir_file(const struct tempdir *tempdir, const char *name);

#endif
