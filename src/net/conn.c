/*
 * The receive buffer holds [start, end): lines before `at` were returned, and can be
 * returned again until they are consumed. Of a line that is too long only the head is
 * kept, at `skip_at`: what follows it is dropped up to the LF.
 */
#include "net/conn.h"

#include "base/bounds.h"
#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* So much of a skipped line is kept, for its reader to see how it begins. */
enum { LINE_HEAD_BYTES = 16 };

struct conn {
    int fd;
    size_t line_bytes_max;
    size_t input_bytes_max; /* the longest line, its CR and its LF must fit */
    struct buffer input;    /* length is `end` */
    size_t start;           /* consumed before this */
    size_t at;              /* returned before this */
    size_t searched;        /* no LF in [at, searched) */
    enum line skip;         /* LINE_NONE, or how to call the line at skip_at */
    size_t skip_at;
    bool is_starved; /* no memory for more input until some is consumed */
    bool has_ended;
    bool has_dropped;  /* input was thrown away that was not consumed */
    bool is_lingering; /* nothing more is sent; what still comes is thrown away */
    uint64_t lingered_bytes;
    uint64_t sent_bytes;
    uint64_t received_bytes;
};

enum status conn_create(size_t line_bytes_max, struct conn **conn_out)
{
    struct conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        return KV_NO_MEMORY;
    }
    conn->fd = -1;
    conn->line_bytes_max = line_bytes_max;
    conn->input_bytes_max = line_bytes_max + 2 > RECEIVE_BYTES_KEPT
                                ? line_bytes_max + 2
                                : (size_t)RECEIVE_BYTES_KEPT;
    if (buffer_reserve(&conn->input, RECEIVE_BYTES_KEPT) != KV_OK) {
        conn_destroy(conn);
        return KV_NO_MEMORY;
    }
    *conn_out = conn;
    return KV_OK;
}

void conn_destroy(struct conn *conn)
{
    if (conn == NULL) {
        return;
    }
    buffer_free(&conn->input);
    free(conn);
}

void conn_attach(struct conn *conn, int fd)
{
    assert(conn->fd < 0);
    conn->fd = fd;
}

int conn_detach(struct conn *conn)
{
    int fd = conn->fd;
    conn->fd = -1;
    conn->has_ended = false;
    conn->is_lingering = false;
    conn->lingered_bytes = 0;
    conn->sent_bytes = 0;
    conn->received_bytes = 0;
    conn_discard_input(conn);
    conn->has_dropped = false;
    buffer_trim(&conn->input, RECEIVE_BYTES_KEPT);
    return fd;
}

void conn_close(struct conn *conn)
{
    (void)close(conn_detach(conn)); /* a socket: nothing is lost that could be saved */
}

void conn_abort(struct conn *conn)
{
    struct linger at_once = {.l_onoff = 1};
    /* Where this fails the client is gone, or gets an end like any other. */
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    conn_close(conn);
}

int conn_fd(const struct conn *conn)
{
    return conn->fd;
}

bool conn_can_receive(const struct conn *conn)
{
    return !conn->has_ended && !conn_is_full(conn);
}

bool conn_is_full(const struct conn *conn)
{
    bool is_full = conn->input.length - conn->start >= conn->input_bytes_max;
    return !conn->has_ended && (is_full || conn->is_starved);
}

bool conn_has_ended(const struct conn *conn)
{
    return conn->has_ended;
}

/* Move what is left to the front of the buffer. */
static void close_gap(struct conn *conn)
{
    size_t gap = conn->start;
    buffer_drop_front(&conn->input, gap);
    conn->start = 0;
    conn->at -= gap;
    conn->searched -= gap;
    if (conn->skip != LINE_NONE) {
        conn->skip_at -= gap;
    }
}

/* Whether all that waits is one line without its end. */
static bool holds_only_a_partial_line(const struct conn *conn)
{
    size_t length = conn->input.length - conn->start;
    return conn->at == conn->start && length > 0 &&
           memchr(conn->input.bytes + conn->start, '\n', length) == NULL;
}

/* Keep no more than the head of the line that is still arriving, and drop the rest. */
static void skip_line(struct conn *conn, enum line kind)
{
    size_t end = conn->at + LINE_HEAD_BYTES;
    conn->skip = kind;
    conn->skip_at = conn->at;
    conn->input.length = end < conn->input.length ? end : conn->input.length;
    conn->searched = conn->input.length;
}

/*
 * Room for at least one byte more. A line that memory cannot hold is skipped; where lines
 * are waiting there will be room when they are consumed. false: there is none now.
 */
static bool make_room(struct conn *conn)
{
    size_t left = conn->input.length - conn->start;
    bool is_full = conn->input.length == conn->input.capacity;
    if (is_full || left <= conn->start) {
        close_gap(conn);
    }
    if (conn->input.length < conn->input.capacity) {
        return true;
    }
    size_t more = conn->input_bytes_max - conn->input.length;
    more = more < conn->input.capacity ? more : conn->input.capacity;
    if (buffer_reserve(&conn->input, more) == KV_OK) {
        return true;
    }
    conn->is_starved = !holds_only_a_partial_line(conn);
    if (!conn->is_starved) {
        skip_line(conn, LINE_NO_MEMORY);
    }
    return !conn->is_starved;
}

/* What errno says of a call on the socket that failed. */
static enum conn_result failed(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_BLOCKED : CONN_LOST;
}

enum conn_result conn_receive(struct conn *conn)
{
    assert(conn_can_receive(conn));
    if (!make_room(conn)) {
        return CONN_BLOCKED;
    }
    struct buffer *input = &conn->input;
    size_t room = input->capacity - input->length;
    size_t wanted = conn->input_bytes_max - (input->length - conn->start);
    wanted = wanted < room ? wanted : room;
    ssize_t count;
    do {
        count = recv(conn->fd, input->bytes + input->length, wanted, 0);
    } while (count < 0 && errno == EINTR);
    if (count > 0) {
        input->length += (size_t)count;
        conn->received_bytes += (uint64_t)count;
        return CONN_DONE;
    }
    if (count == 0) {
        conn->has_ended = true;
        return CONN_ENDED;
    }
    return failed();
}

static bool is_skipping(const struct conn *conn)
{
    return conn->skip != LINE_NONE && conn->skip_at == conn->at;
}

/* Return what stands there up to its end: an LF, or the end of input. */
static enum line take_line(struct conn *conn, size_t end, enum line kind,
                           struct slice *line_out)
{
    bool is_skipped = is_skipping(conn);
    bool has_cr = end > conn->at && conn->input.bytes[end - 1] == '\r';
    *line_out =
        (struct slice){conn->input.bytes + conn->at, end - conn->at - (has_cr ? 1 : 0)};
    conn->at = kind == LINE_WHOLE ? end + 1 : end;
    conn->searched = conn->at;
    if (is_skipped) {
        return conn->skip;
    }
    return line_out->length > conn->line_bytes_max ? LINE_TOO_LONG : kind;
}

enum line conn_next_line(struct conn *conn, struct slice *line_out)
{
    const uint8_t *unsearched = conn->input.bytes + conn->searched;
    size_t length = conn->input.length - conn->searched;
    const uint8_t *lf = length == 0 ? NULL : memchr(unsearched, '\n', length);
    if (lf != NULL) {
        size_t end = (size_t)(lf - conn->input.bytes);
        return take_line(conn, end, LINE_WHOLE, line_out);
    }
    if (conn->has_ended && conn->at < conn->input.length) {
        return take_line(conn, conn->input.length, LINE_UNFINISHED, line_out);
    }
    /* Without an end: keep it for later, or skip it if it is too long with its CR. */
    conn->searched = conn->input.length;
    length = conn->input.length - conn->at;
    if (is_skipping(conn)) {
        skip_line(conn, conn->skip);
    } else if (conn->skip == LINE_NONE && length > conn->line_bytes_max + 1) {
        skip_line(conn, LINE_TOO_LONG);
    }
    return LINE_NONE;
}

struct slice conn_partial_line(const struct conn *conn)
{
    struct slice line = slice_after(buffer_slice(&conn->input), conn->at);
    bool is_cut = is_skipping(conn) && line.length > LINE_HEAD_BYTES;
    return is_cut ? slice_first(line, LINE_HEAD_BYTES) : line;
}

size_t conn_position(const struct conn *conn)
{
    return conn->at - conn->start;
}

void conn_rewind(struct conn *conn, size_t position)
{
    assert(position <= conn_position(conn));
    conn->at = conn->start + position;
    conn->searched = conn->at;
}

void conn_consume(struct conn *conn)
{
    if (conn->skip != LINE_NONE && conn->skip_at < conn->at) {
        conn->skip = LINE_NONE;
    }
    conn->is_starved = conn->is_starved && conn->at == conn->start;
    conn->start = conn->at;
}

void conn_discard_input(struct conn *conn)
{
    conn->has_dropped = conn_has_unused_input(conn);
    conn->input.length = 0;
    conn->start = 0;
    conn->at = 0;
    conn->searched = 0;
    conn->skip = LINE_NONE;
    conn->is_starved = false;
}

enum conn_result conn_send(struct conn *conn, struct slice *rest)
{
    ssize_t count;
    do {
        count = send(conn->fd, rest->bytes, rest->length, MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        return failed();
    }
    *rest = slice_after(*rest, (size_t)count);
    conn->sent_bytes += (uint64_t)count;
    return rest->length == 0 ? CONN_DONE : CONN_BLOCKED;
}

uint64_t conn_sent_bytes(const struct conn *conn)
{
    return conn->sent_bytes;
}

uint64_t conn_received_bytes(const struct conn *conn)
{
    return conn->received_bytes;
}

bool conn_has_unused_input(const struct conn *conn)
{
    return conn->input.length > conn->start || conn->has_dropped ||
           conn->lingered_bytes > 0;
}

bool conn_linger(struct conn *conn, uint64_t until_ms)
{
    if (conn->has_ended || (!conn->is_lingering && shutdown(conn->fd, SHUT_WR) < 0)) {
        return false;
    }
    conn->is_lingering = true;
    uint8_t discarded[4096];
    for (uint64_t now_ms = clock_now_ms(); now_ms < until_ms; now_ms = clock_now_ms()) {
        struct pollfd in = {.fd = conn->fd, .events = POLLIN};
        int ready = poll(&in, 1, clock_poll_timeout(now_ms, until_ms));
        ssize_t count = ready > 0 ? recv(conn->fd, discarded, sizeof discarded, 0) : -1;
        bool has_come = count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN));
        conn->lingered_bytes += count > 0 ? (uint64_t)count : 0;
        if (ready != 0 && (!has_come || conn->lingered_bytes >= LINGER_BYTES_MAX)) {
            return false;
        }
    }
    return true;
}
