/*
 * The socket of one client at a time: bytes in, framed into lines; bytes out, as many as
 * it takes. Its buffer serves one client after another.
 * Never blocks, except in conn_linger for a bounded time; knows no command and no reply.
 */
#ifndef KV_CONN_H
#define KV_CONN_H

#include "base/buffer.h"
#include "base/slice.h"

struct conn;

enum conn_result {
    CONN_DONE,    /* something was received; everything was sent */
    CONN_BLOCKED, /* nothing there yet, or no room for it; the socket takes no more now */
    CONN_ENDED,   /* the client sends no more */
    CONN_LOST     /* the connection is gone */
};

enum line {
    LINE_NONE,       /* no whole line has arrived */
    LINE_WHOLE,      /* without its LF and one CR before it */
    LINE_UNFINISHED, /* the client ended its input within it */
    LINE_TOO_LONG,   /* of which at least the first bytes are shown, if not all */
    LINE_NO_MEMORY   /* likewise, since there was no memory to hold it */
};

/*
 * Make one that has no client yet.
 *
 * line_bytes_max: the longest line that is not skipped, its end not counted.
 * conn_out: written only on KV_OK; release with conn_destroy, after conn_close.
 * KV_NO_MEMORY.
 */
enum status conn_create(size_t line_bytes_max, struct conn **conn_out);
void conn_destroy(struct conn *conn);

/* Serve this socket, which is taken over and must not block. There must be none yet. */
void conn_attach(struct conn *conn, int fd);

/*
 * Close the socket, forget everything about its client, and give memory back that only
 * large requests needed.
 */
void conn_close(struct conn *conn);

/* Likewise, but the socket stays open, and is the caller's. */
int conn_detach(struct conn *conn);

/* The socket, to be waited for; it stays the conn's. -1: there is no client. */
int conn_fd(const struct conn *conn);

/* Whether input is still expected and there is room for it. */
bool conn_can_receive(const struct conn *conn);

/* Whether input is expected for which there is no room until some is consumed. */
bool conn_is_full(const struct conn *conn);

/* Whether the client has said that it sends no more. */
bool conn_has_ended(const struct conn *conn);

/*
 * Receive once what is there; conn_can_receive must be true. Slices of lines returned so
 * far are no longer valid.
 *
 * CONN_BLOCKED: nothing was there, or there was no memory for it until some is consumed.
 * CONN_ENDED, CONN_LOST.
 */
enum conn_result conn_receive(struct conn *conn);

/*
 * The next line after the last one returned.
 *
 * line_out: valid until conn_receive; written unless it is LINE_NONE.
 */
enum line conn_next_line(struct conn *conn, struct slice *line_out);

/*
 * What has arrived of a line whose end has not; of a long one, how it begins. Valid until
 * conn_receive.
 */
struct slice conn_partial_line(const struct conn *conn);

/*
 * The place behind the last line returned, in bytes of what is not consumed; going back
 * to an earlier such place. Receiving more does not move these places.
 */
size_t conn_position(const struct conn *conn);
void conn_rewind(struct conn *conn, size_t position);

/* Give up the lines returned so far: there is no way back before them. */
void conn_consume(struct conn *conn);

/* Throw away all input received so far. */
void conn_discard_input(struct conn *conn);

/*
 * Send once as much as the socket takes.
 *
 * rest: not empty; what is left of it afterwards.
 * CONN_BLOCKED: some is left.  CONN_LOST: nothing was taken.
 */
enum conn_result conn_send(struct conn *conn, struct slice *rest);

/* How many bytes the client has taken, and has been received from it, since conn_attach.
 */
uint64_t conn_sent_bytes(const struct conn *conn);
uint64_t conn_received_bytes(const struct conn *conn);

/* Whether input was received, or thrown away, that was not consumed. */
bool conn_has_unused_input(const struct conn *conn);

/* As conn_close, but the client is told by a reset that something is missing. */
void conn_abort(struct conn *conn);

/*
 * Say that no more comes, and read what the client still sends, until a moment of
 * clock_now_ms: closing over unread input would make the system take back replies that
 * the client has not read (RFC 1122, 4.2.2.13). May be called again.
 *
 * Returns whether more may come: the client has not ended, and LINGER_BYTES_MAX have not
 * been read.
 */
bool conn_linger(struct conn *conn, uint64_t until_ms);

#endif
