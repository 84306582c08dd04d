/*
 * stdout or stderr in a file for a while, which is made if it is missing.
 */
#ifndef KV_SUPPORT_REDIRECT_H
#define KV_SUPPORT_REDIRECT_H

#include <stdio.h>

/* Returns what redirect_end takes. */
int redirect_begin(FILE *stream, const char *path);

/* Whether the file took everything is not looked at: it may be /dev/full. */
void redirect_end(FILE *stream, int kept_fd);

#endif
