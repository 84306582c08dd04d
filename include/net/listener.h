/*
 * Where the server listens: TCP addresses, Unix-domain sockets, or sockets that a service
 * manager hands over (sd_listen_fds(3)).
 *
 * TCP addresses are bound before anything else is done, so that one that is in use costs
 * nothing; nobody can connect before listener_open, when the store is complete.
 */
#ifndef KV_LISTENER_H
#define KV_LISTENER_H

#include "base/bounds.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct listener_options {
    /* Addresses or host names, in brackets or not; with a slash in it, a path. */
    const char *addresses[LISTENERS_MAX];
    size_t address_count;
    const char *port; /* decimal; "0" lets the system choose */
};

struct listener {
    int fds[LISTENERS_MAX]; /* they do not block; accepted ones get TCP_NODELAY */
    size_t count;
    bool are_inherited;
    struct {
        const char *path; /* borrowed from the options */
        dev_t device;
        ino_t inode;
    } files[LISTENERS_MAX]; /* of Unix-domain sockets of ours */
    size_t file_count;
};

/*
 * Bind every address that each name has, or take the sockets that are handed over. Of a
 * name those that this machine does not have are passed over.
 *
 * options: borrowed until listener_close.
 * listener_out: to be closed in any case.
 * KV_IO: one cannot be had; reported.
 */
enum status listener_bind(const struct listener_options *options,
                          struct listener *listener_out);

/* Listen, on paths too. KV_IO: one cannot be listened on; reported. */
enum status listener_open(const struct listener_options *options,
                          struct listener *listener);

/* The lines that mean ready: with real addresses and ports, where the system tells. */
void listener_tell_ready(const struct listener *listener);

/* Close all, and remove the files of Unix-domain sockets that are ours. */
void listener_close(struct listener *listener);

#endif
