/*
 * The simple way to split: all bytes are there, and are looked at one by one.
 */
#include "fuzz/wire.h"

#include "fuzz/fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>

enum {
    REPEATED_BYTES = 1021,
    REPEATED_LINES = 4,
    SENT_BYTES_MAX = 600000,
    LENGTH_REPEAT = 62,
    LENGTH_REST
};

void wire_begin(struct wire *wire, struct slice input)
{
    *wire = (struct wire){.input = input};
}

void wire_end(struct wire *wire)
{
    buffer_free(&wire->repeated);
    buffer_free(&wire->sent);
}

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

bool wire_next(struct wire *wire, struct piece *piece_out)
{
    if (wire->input.length == 0 || wire->sent.length > SENT_BYTES_MAX) {
        return false;
    }
    uint8_t control = take(wire, 1).bytes[0];
    unsigned length = control & 63U;
    piece_out->action = control >> 6;
    piece_out->bytes = length == LENGTH_REPEAT ? repeat(wire)
                       : length == LENGTH_REST ? take(wire, wire->input.length)
                                               : take(wire, length);
    REQUIRE(buffer_reserve(&wire->sent, piece_out->bytes.length + 1) == KV_OK);
    buffer_append(&wire->sent, piece_out->bytes);
    return true;
}

bool wire_split(struct slice *sent, size_t line_bytes_max, enum wire_line *kind_out,
                struct slice *line_out)
{
    size_t end = 0;
    if (sent->length == 0) {
        return false;
    }
    while (end < sent->length && sent->bytes[end] != '\n') {
        end++;
    }
    bool has_lf = end < sent->length;
    size_t length = end > 0 && sent->bytes[end - 1] == '\r' ? end - 1 : end;
    *line_out = slice_first(*sent, length);
    *kind_out = length > line_bytes_max ? WIRE_TOO_LONG
                : has_lf                ? WIRE_WHOLE
                                        : WIRE_UNFINISHED;
    *sent = slice_after(*sent, has_lf ? end + 1 : end);
    return true;
}

void wire_connect(int fds_out[2])
{
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds_out) == 0);
    for (int i = 0; i < 2; i++) {
        REQUIRE(fcntl(fds_out[i], F_SETFL, O_NONBLOCK) == 0);
    }
}
