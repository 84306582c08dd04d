/*
 * Every outcome that some caller acts on, and the one table from outcome to text.
 */
#ifndef KV_STATUS_H
#define KV_STATUS_H

#include "base/slice.h"

enum status {
    KV_OK,
    KV_NOT_FOUND,      /* an answer, not an error */
    KV_ALREADY_STORED, /* likewise: ADD found a value */

    /* The request is at fault; nothing was done. */
    KV_UNKNOWN_COMMAND,
    KV_USAGE, /* protocol.c knows the text for each command */
    KV_EMPTY_LINE,
    KV_NOT_UTF8,
    KV_NUL_BYTE,
    KV_KEY_TOO_LONG,
    KV_VALUE_TOO_LONG,
    KV_LINE_TOO_LONG,
    KV_INCOMPLETE_LINE,
    KV_NOT_A_NUMBER,
    KV_NUMBER_TOO_LARGE,

    /* The machine is at fault; the store is as it was before. */
    KV_NO_SPACE,
    KV_IO,
    KV_CORRUPT, /* bytes read are not the bytes written */
    KV_NO_MEMORY,

    KV_IDLE, /* the connection made others wait */

    /* For the operator alone; no client meets them. */
    KV_LOCKED,  /* somebody else uses the file */
    KV_PARTIAL, /* done, but for some parts, each of which was reported */
    KV_BEHIND,  /* what was to be read was taken away meanwhile */

    /* The log cannot be trusted any more: leave without another reply. */
    KV_FATAL,
    KV_STATUS_COUNT
};

/*
 * The short fixed phrase that a client sees for an outcome: never a path, never an
 * errno text. Valid for ever.
 */
const char *status_text(enum status status);

/* The same, with its length. */
struct slice status_slice(enum status status);

#endif
