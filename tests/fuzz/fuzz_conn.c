/*
 * However the system splits what a client sends, and however often the receiver goes
 * back, the lines are those of a simple splitter.
 *
 * The first byte chooses a limit for lines. The rest is a row of pieces: a control byte
 * and what it asks for.
 *     low six bits 0-61   so many bytes follow, which are sent
 *     62                  two bytes follow: the first is sent as often as the second
 *                         says, times 1,021, or times 4 if it is LF
 *     63                  the rest of the input is sent
 *     top two bits        what the receiver does after it, an action
 */
#include "fuzz/fuzz.h"

#include "net/conn.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REPEATED_BYTES = 1021,
    REPEATED_LINES = 4,
    SENT_BYTES_MAX = 600000,
    LENGTH_REPEAT = 62,
    LENGTH_REST
};

/* Read lines; read, go back and read again; read one; only receive. */
enum action { READ, READ_TWICE, READ_ONE, READ_NOTHING };

struct piece {
    struct slice bytes; /* valid until the next piece is taken */
    enum action action;
};

/* A client: what it has left to send, and all that it has sent. */
struct wire {
    struct slice input;
    struct buffer repeated;
    struct buffer sent;
};

struct reader {
    struct conn *conn;
    size_t line_bytes_max;
    int peer;
    struct wire wire;
    size_t taken; /* bytes of what was sent whose lines were read and given up */
};

/* Take bytes off the input, as many as there are. */
static struct slice take(struct wire *wire, size_t count)
{
    struct slice taken =
        slice_first(wire->input, count < wire->input.length ? count : wire->input.length);
    wire->input = slice_after(wire->input, taken.length);
    return taken;
}

static struct slice repeat(struct wire *wire)
{
    struct slice what = take(wire, 2);
    size_t count = what.length < 2 ? 0 : what.bytes[1];
    /* Each line costs a reply, so an input of many lines would take very long. */
    count *= count > 0 && what.bytes[0] == '\n' ? REPEATED_LINES : REPEATED_BYTES;
    REQUIRE(buffer_reserve(&wire->repeated, count + 1) == KV_OK);
    if (count > 0) {
        memset(wire->repeated.bytes, what.bytes[0], count);
    }
    return (struct slice){wire->repeated.bytes, count};
}

/* The next piece; false after the last one, or when very much was sent already. */
static bool next_piece(struct wire *wire, struct piece *piece_out)
{
    if (wire->input.length == 0 || wire->sent.length > SENT_BYTES_MAX) {
        return false;
    }
    uint8_t control = take(wire, 1).bytes[0];
    unsigned length = control & 63U;
    piece_out->action = (enum action)(control >> 6);
    piece_out->bytes = length == LENGTH_REPEAT ? repeat(wire)
                       : length == LENGTH_REST ? take(wire, wire->input.length)
                                               : take(wire, length);
    REQUIRE(buffer_reserve(&wire->sent, piece_out->bytes.length + 1) == KV_OK);
    buffer_append(&wire->sent, piece_out->bytes);
    return true;
}

/* Take the first line off what was sent, where all bytes are there; LINE_NONE: none is.
 */
static enum line split(struct slice *sent, size_t line_bytes_max, struct slice *line_out)
{
    size_t end = 0;
    if (sent->length == 0) {
        return LINE_NONE;
    }
    while (end < sent->length && sent->bytes[end] != '\n') {
        end++;
    }
    bool has_lf = end < sent->length;
    size_t length = end > 0 && sent->bytes[end - 1] == '\r' ? end - 1 : end;
    *line_out = slice_first(*sent, length);
    *sent = slice_after(*sent, has_lf ? end + 1 : end);
    return length > line_bytes_max ? LINE_TOO_LONG
           : has_lf                ? LINE_WHOLE
                                   : LINE_UNFINISHED;
}

/* Shorter than any buffer, about as long as one is at first, and longer. */
enum { LIMITS = 8 };
static const size_t limits[LIMITS] = {0, 1, 5, 40, 200, 262142, 262143, 500000};

/* One for each limit, serving one input after another as in the program. */
static struct conn *conn_for(size_t number)
{
    static struct conn *conns[LIMITS];
    if (conns[number] == NULL) {
        REQUIRE(conn_create(limits[number], &conns[number]) == KV_OK);
    }
    return conns[number];
}

/* The next line must be the one at this place of what was sent; moves the place on. */
static bool read_line(struct reader *reader, size_t *place)
{
    struct slice line;
    struct slice expected = {0};
    struct slice sent = slice_after(buffer_slice(&reader->wire.sent), *place);
    enum line found = conn_next_line(reader->conn, &line);
    if (found == LINE_NONE) {
        return false;
    }
    REQUIRE(found == split(&sent, reader->line_bytes_max, &expected));
    REQUIRE(found == LINE_TOO_LONG || slice_equal(line, expected));
    *place = reader->wire.sent.length - sent.length;
    return true;
}

static void read_lines(struct reader *reader, enum action action)
{
    size_t position = conn_position(reader->conn);
    size_t place = reader->taken;
    if (action == READ_NOTHING) {
        return;
    }
    while (read_line(reader, &place) && action != READ_ONE) {
    }
    if (action == READ_TWICE) {
        size_t end = place;
        conn_rewind(reader->conn, position);
        place = reader->taken;
        while (place < end) {
            REQUIRE(read_line(reader, &place));
        }
    }
    conn_consume(reader->conn);
    reader->taken = place;
}

/* Receive until nothing is there; room is made by reading lines. */
static enum conn_result receive(struct reader *reader)
{
    enum conn_result result = CONN_DONE;
    while (result == CONN_DONE) {
        if (conn_is_full(reader->conn)) {
            read_lines(reader, READ);
        }
        REQUIRE(!conn_is_full(reader->conn)); /* else no line could ever end */
        result = conn_receive(reader->conn);
    }
    return result;
}

static void send_piece(struct reader *reader, struct slice bytes)
{
    while (bytes.length > 0) {
        ssize_t count = send(reader->peer, bytes.bytes, bytes.length, MSG_NOSIGNAL);
        bytes = slice_after(bytes, count > 0 ? (size_t)count : 0);
        REQUIRE(receive(reader) == CONN_BLOCKED);
    }
}

/* What has arrived of an unfinished line begins as that line does. */
static void check_partial(struct reader *reader)
{
    struct slice partial = conn_partial_line(reader->conn);
    struct slice sent = slice_after(buffer_slice(&reader->wire.sent), reader->taken);
    REQUIRE(slice_starts_with(sent, partial));
}

int fuzz_conn(const uint8_t *data, size_t size)
{
    int fds[2];
    struct piece piece;
    struct reader reader = {0};
    if (size < 2) {
        return 0;
    }
    reader.line_bytes_max = limits[data[0] % LIMITS];
    reader.wire.input = (struct slice){data + 1, size - 1};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    REQUIRE(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    REQUIRE(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
    reader.peer = fds[0];
    reader.conn = conn_for(data[0] % LIMITS);
    conn_attach(reader.conn, fds[1]);
    while (next_piece(&reader.wire, &piece)) {
        send_piece(&reader, piece.bytes);
        read_lines(&reader, piece.action);
        check_partial(&reader);
    }
    REQUIRE(shutdown(reader.peer, SHUT_WR) == 0);
    if (conn_is_full(reader.conn)) {
        read_lines(&reader, READ);
    }
    REQUIRE(receive(&reader) == CONN_ENDED);
    REQUIRE(conn_has_ended(reader.conn) && !conn_can_receive(reader.conn));
    read_lines(&reader, READ_TWICE);
    REQUIRE(reader.taken == reader.wire.sent.length);
    conn_close(reader.conn);
    (void)close(reader.peer); /* a socket of no further use */
    buffer_free(&reader.wire.repeated);
    buffer_free(&reader.wire.sent);
    return 0;
}
