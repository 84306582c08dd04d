/*
 * However the system splits what a client sends, and however often the receiver goes
 * back, the lines are those of a simple splitter.
 */
#include "fuzz/fuzz.h"

#include "fuzz/wire.h"
#include "net/conn.h"

#include <sys/socket.h>
#include <unistd.h>

/* After a piece: read lines; read, go back and read again; read one; only receive. */
enum action { READ, READ_TWICE, READ_ONE, READ_NOTHING };

struct reader {
    struct conn *conn;
    size_t line_bytes_max;
    int peer;
    struct wire wire;
    size_t taken; /* bytes of what was sent whose lines were read and given up */
};

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
    struct slice expected;
    enum wire_line kind;
    struct slice sent = slice_after(buffer_slice(&reader->wire.sent), *place);
    enum line found = conn_next_line(reader->conn, &line);
    if (found == LINE_NONE) {
        return false;
    }
    REQUIRE(wire_split(&sent, reader->line_bytes_max, &kind, &expected));
    REQUIRE((found == LINE_WHOLE) == (kind == WIRE_WHOLE));
    REQUIRE((found == LINE_UNFINISHED) == (kind == WIRE_UNFINISHED));
    REQUIRE((found == LINE_TOO_LONG) == (kind == WIRE_TOO_LONG));
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
    wire_begin(&reader.wire, (struct slice){data + 1, size - 1});
    wire_connect(fds);
    reader.peer = fds[0];
    reader.conn = conn_for(data[0] % LIMITS);
    conn_attach(reader.conn, fds[1]);
    while (wire_next(&reader.wire, &piece)) {
        send_piece(&reader, piece.bytes);
        read_lines(&reader, (enum action)piece.action);
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
    wire_end(&reader.wire);
    return 0;
}
