/*
 * Sockets that never block and waits that end.
 */
#include "support/client.h"

#include "support/unit.h"
#include "support/watchdog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENT_FDS_MAX = 4096, RECEIVE_BYTES_MIN = 65536, SHOWN_BYTES_MAX = 60 };

/* What each open client has allocated, by descriptor, in case its test fails. */
static uint8_t *allocated[CLIENT_FDS_MAX];

/* Move what is left to the front and make room for more. */
static void reserve(struct client *client)
{
    if (client->start > 0 && (client->start == client->end ||
                              client->capacity - client->end < RECEIVE_BYTES_MIN)) {
        memmove(client->bytes, client->bytes + client->start,
                client->end - client->start);
        client->end -= client->start;
        client->start = 0;
    }
    if (client->capacity - client->end < RECEIVE_BYTES_MIN) {
        size_t capacity = client->capacity * 2 + 2 * RECEIVE_BYTES_MIN;
        uint8_t *bytes = realloc(client->bytes, capacity);
        assert_non_null(bytes);
        client->bytes = bytes;
        client->capacity = capacity;
        allocated[client->fd] = bytes;
    }
}

void client_open(struct client *client, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *client = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0), .server_port = port};
    assert_in_range(client->fd, 0, CLIENT_FDS_MAX - 1);
    reserve(client);
    /* A server started later must not inherit it and keep the connection alive. */
    assert_int_equal(fcntl(client->fd, F_SETFD, FD_CLOEXEC), 0);
    assert_int_equal(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
    int on = 1;
    assert_int_equal(setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    if (connect(client->fd, (const struct sockaddr *)&address, sizeof address) != 0 &&
        errno != EINPROGRESS) {
        fail_msg("connect: %s", strerror(errno));
    }
    watchdog_await(client->fd, POLLOUT, watchdog_deadline_ms(), "a connection");
    int error = 0;
    socklen_t error_length = sizeof error;
    assert_int_equal(getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &error_length),
                     0);
    if (error != 0) {
        fail_msg("connect: %s", strerror(error));
    }
}

static void release(int fd)
{
    free(allocated[fd]);
    allocated[fd] = NULL;
    close(fd);
}

void client_close(struct client *client)
{
    release(client->fd);
    *client = (struct client){.fd = -1};
}

void client_reset(struct client *client)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    client_close(client);
}

void client_close_all(void)
{
    for (int fd = 0; fd < CLIENT_FDS_MAX; fd++) {
        if (allocated[fd] != NULL) {
            release(fd);
        }
    }
}

/* How many bytes the kernel took: 0 if none fit. The peer must still be there. */
static size_t send_some(struct client *client, struct slice bytes)
{
    ssize_t count = send(client->fd, bytes.bytes, bytes.length, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN && errno != EINTR) {
        fail_msg("send: %s", strerror(errno));
    }
    return count < 0 ? 0 : (size_t)count;
}

void client_send(struct client *client, struct slice bytes)
{
    struct slice unsent = bytes;
    while (unsent.length > 0) {
        watchdog_await(client->fd, POLLOUT, watchdog_deadline_ms(),
                       "the server to take requests");
        unsent = slice_after(unsent, send_some(client, unsent));
    }
}

void client_send_text(struct client *client, const char *text)
{
    client_send(client, slice_of_text(text));
}

size_t client_send_available(struct client *client, struct slice bytes)
{
    struct slice unsent = bytes;
    while (unsent.length > 0 && watchdog_sees(client->fd, POLLOUT)) {
        unsent = slice_after(unsent, send_some(client, unsent));
    }
    return bytes.length - unsent.length;
}

void client_half_close(struct client *client)
{
    assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
}

/* One row of the kernel's table of IPv4 connections. */
struct row {
    unsigned local_port;
    unsigned remote_port;
    unsigned unsent_bytes;
    unsigned unread_bytes;
};

static bool parse_row(const char *text, struct row *row_out)
{
    unsigned state = 0;
    int count = sscanf(text, " %*[0-9]: %*[0-9A-F]:%x %*[0-9A-F]:%x %x %x:%x",
                       &row_out->local_port, &row_out->remote_port, &state,
                       &row_out->unsent_bytes, &row_out->unread_bytes);
    return count == 5;
}

/* How far what own_port sent has come. */
struct progress_of_bytes {
    bool is_sent; /* to the last byte it is in the server's socket, or was */
    bool is_read;
};

static struct progress_of_bytes look_up(unsigned own_port, unsigned server_port)
{
    struct progress_of_bytes progress = {false, false};
    FILE *table = fopen("/proc/net/tcp", "r");
    if (table == NULL) {
        fail_msg("cannot read the kernel's table of connections");
        return progress;
    }
    char text[512];
    while (fgets(text, sizeof text, table) != NULL) {
        struct row row;
        if (!parse_row(text, &row)) {
            continue;
        }
        if (row.local_port == own_port && row.remote_port == server_port) {
            progress.is_sent = row.unsent_bytes == 0;
        }
        if (row.local_port == server_port && row.remote_port == own_port) {
            progress.is_read = row.unread_bytes == 0;
        }
    }
    (void)fclose(table); /* only read */
    return progress;
}

static struct progress_of_bytes progress_of(const struct client *client)
{
    struct sockaddr_in own;
    socklen_t length = sizeof own;
    assert_int_equal(getsockname(client->fd, (struct sockaddr *)&own, &length), 0);
    return look_up(ntohs(own.sin_port), client->server_port);
}

bool client_is_unread(const struct client *client)
{
    return !progress_of(client).is_read;
}

/* Wait until it has come so far. */
static void await_progress(const struct client *client, bool is_to_be_read)
{
    uint64_t deadline_ms = watchdog_deadline_ms();
    for (;;) {
        struct progress_of_bytes progress = progress_of(client);
        if (progress.is_sent && (progress.is_read || !is_to_be_read)) {
            return;
        }
        watchdog_check(deadline_ms, "bytes to get to the server");
        sched_yield();
    }
}

void client_await_consumed(const struct client *client)
{
    await_progress(client, true);
}

void client_await_arrived(const struct client *client)
{
    await_progress(client, false);
}

/* Take what has arrived, if anything has. */
static enum client_state receive(struct client *client)
{
    reserve(client);
    ssize_t count =
        recv(client->fd, client->bytes + client->end, client->capacity - client->end, 0);
    if (count > 0) {
        client->end += (size_t)count;
        return CLIENT_OPEN;
    }
    if (count == 0) {
        return CLIENT_ENDED;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return CLIENT_OPEN;
    }
    if (errno != ECONNRESET && errno != EPIPE) {
        fail_msg("recv: %s", strerror(errno));
    }
    return CLIENT_RESET;
}

enum client_state client_pump(struct client *client, struct slice *unsent)
{
    short events = unsent->length > 0 ? POLLIN | POLLOUT : POLLIN;
    watchdog_await(client->fd, events, watchdog_deadline_ms(), "any progress");
    if (unsent->length > 0) {
        ssize_t count = send(client->fd, unsent->bytes, unsent->length, MSG_NOSIGNAL);
        if (count > 0) {
            *unsent = slice_after(*unsent, (size_t)count);
        }
        /* That the server is gone is told by what is read below. */
    }
    return receive(client);
}

/* Printable form of the first bytes, for messages. */
struct shown {
    char text[SHOWN_BYTES_MAX * 4 + 8];
};

static struct shown show(struct slice bytes)
{
    struct shown shown = {{0}};
    size_t length = 0;
    for (size_t i = 0; i < bytes.length && i < SHOWN_BYTES_MAX; i++) {
        uint8_t byte = bytes.bytes[i];
        if (byte >= ' ' && byte < 0x7f) {
            shown.text[length++] = (char)byte;
        } else {
            (void)snprintf(shown.text + length, sizeof shown.text - length, "\\x%02x",
                           byte);
            length += 4;
        }
    }
    if (bytes.length > SHOWN_BYTES_MAX) {
        (void)snprintf(shown.text + length, sizeof shown.text - length, "...");
    }
    return shown;
}

static const char *state_text(enum client_state state)
{
    return state == CLIENT_ENDED ? "end of file" : "connection reset";
}

/* The received bytes that were not taken yet. */
static struct slice received(const struct client *client)
{
    return (struct slice){client->bytes + client->start, client->end - client->start};
}

/*
 * Compare what has arrived with the front of what must come, and take it.
 *
 * Returns how many bytes were right.
 */
static size_t take_equal(struct client *client, struct slice wanted)
{
    struct slice here = received(client);
    size_t count = here.length < wanted.length ? here.length : wanted.length;
    if (count > 0 && memcmp(here.bytes, wanted.bytes, count) != 0) {
        size_t same = 0;
        while (here.bytes[same] == wanted.bytes[same]) {
            same++;
        }
        /* Some bytes before the difference show where in the reply it stands. */
        size_t from = same < 20 ? 0 : same - 20;
        fail_msg("wrong reply\n  expected \"%s\"\n  got      \"%s\"",
                 show(slice_after(wanted, from)).text,
                 show(slice_after(here, from)).text);
    }
    client->start += count;
    return count;
}

void client_expect_while_sending(struct client *client, struct slice *unsent,
                                 struct slice reply)
{
    struct slice wanted = slice_after(reply, take_equal(client, reply));
    while (wanted.length > 0) {
        enum client_state state = client_pump(client, unsent);
        wanted = slice_after(wanted, take_equal(client, wanted));
        if (state != CLIENT_OPEN && wanted.length > 0) {
            fail_msg("%s where %zu bytes were still to come, first \"%s\"",
                     state_text(state), wanted.length, show(wanted).text);
        }
    }
}

void client_exchange(struct client *client, struct slice request, struct slice reply)
{
    struct slice unsent = request;
    client_expect_while_sending(client, &unsent, reply);
    client_send(client, unsent);
}

void client_expect(struct client *client, struct slice reply)
{
    client_exchange(client, SLICE_LITERAL(""), reply);
}

void client_expect_text(struct client *client, const char *reply)
{
    client_expect(client, slice_of_text(reply));
}

void client_expect_end(struct client *client)
{
    struct slice nothing = SLICE_LITERAL("");
    enum client_state state = CLIENT_OPEN;
    while (state == CLIENT_OPEN) {
        if (client->end > client->start) {
            fail_msg("expected the end, got \"%s\"", show(received(client)).text);
        }
        state = client_pump(client, &nothing);
    }
    assert_int_equal(client->end, client->start);
    if (state == CLIENT_RESET) {
        fail_msg("connection reset where the end was due");
    }
}

void client_finish(struct client *client, struct slice replies)
{
    client_half_close(client);
    client_expect(client, replies);
    client_expect_end(client);
    client_close(client);
}

/* The length of the line that has arrived, or SIZE_MAX if it is not whole. */
static size_t line_length(const struct client *client)
{
    struct slice here = received(client);
    const uint8_t *lf = here.length == 0 ? NULL : memchr(here.bytes, '\n', here.length);
    return lf == NULL ? SIZE_MAX : (size_t)(lf - here.bytes);
}

const char *client_read_line(struct client *client)
{
    struct slice nothing = SLICE_LITERAL("");
    size_t length = line_length(client);
    while (length == SIZE_MAX) {
        enum client_state state = client_pump(client, &nothing);
        length = line_length(client);
        if (state != CLIENT_OPEN && length == SIZE_MAX) {
            fail_msg("%s where a line was due", state_text(state));
        }
    }
    char *line = (char *)client->bytes + client->start;
    line[length] = '\0';
    client->start += length + 1;
    return line;
}

size_t client_take_lines(struct client *client, const char *text)
{
    struct slice wanted = slice_of_text(text);
    size_t count = 0;
    for (size_t length = line_length(client); length != SIZE_MAX;
         length = line_length(client)) {
        if (!slice_equal(slice_first(received(client), length), wanted)) {
            break;
        }
        client->start += length + 1;
        count++;
    }
    return count;
}

size_t client_take_equal(struct client *client, struct slice reply)
{
    struct slice nothing = SLICE_LITERAL("");
    if (watchdog_sees(client->fd, POLLIN)) {
        (void)client_pump(client, &nothing); /* an early end is found by the next call */
    }
    return take_equal(client, reply);
}
