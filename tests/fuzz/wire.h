/*
 * A client: what it sends, in which pieces, and the lines in it as they should be found.
 *
 * The input is a row of pieces: a control byte and what it asks for.
 *     low six bits 0-61   so many bytes follow, which are sent
 *     62                  two bytes follow: the first is sent as often as the second
 *                         says, times 1,021, or times 4 if it is LF
 *     63                  the rest of the input is sent
 *     top two bits        what the receiver does after it, as each target says
 */
#ifndef KV_FUZZ_WIRE_H
#define KV_FUZZ_WIRE_H

#include "base/buffer.h"

struct piece {
    struct slice bytes; /* valid until the next piece is taken */
    unsigned action;    /* 0 to 3 */
};

struct wire {
    struct slice input;
    struct buffer repeated;
    struct buffer sent; /* all bytes so far */
};

void wire_begin(struct wire *wire, struct slice input);
void wire_end(struct wire *wire);

/* The next piece; false after the last one, or when very much was sent already. */
bool wire_next(struct wire *wire, struct piece *piece_out);

enum wire_line { WIRE_WHOLE, WIRE_UNFINISHED, WIRE_TOO_LONG };

/*
 * Take the first line off what was sent; false if there is none.
 *
 * line_out: without LF and one CR before it, of any length.
 */
bool wire_split(struct slice *sent, size_t line_bytes_max, enum wire_line *kind_out,
                struct slice *line_out);

/* A pair of connected sockets that do not block. */
void wire_connect(int fds_out[2]);

#endif
