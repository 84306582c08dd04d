/*
 * A client of the server, on a loopback socket: sends, reads, and fails the test with
 * both texts when a reply is not the right one. No call waits for ever.
 */
#ifndef KV_SUPPORT_CLIENT_H
#define KV_SUPPORT_CLIENT_H

#include "base/slice.h"

struct client {
    int fd;
    uint16_t server_port;
    uint8_t *bytes; /* received; those from start to end were not taken yet */
    size_t start;
    size_t end;
    size_t capacity;
};

enum client_state {
    CLIENT_OPEN,
    CLIENT_ENDED, /* the server closed in order */
    CLIENT_RESET  /* the connection was torn down, and replies may be lost */
};

/* Connect; client_close or client_reset releases what it holds. */
void client_open(struct client *client, uint16_t port);

void client_close(struct client *client);

/* Close so that the server sees a reset, not the end of the requests. */
void client_reset(struct client *client);

/* Close whatever a failed test left open. */
void client_close_all(void);

/* Send everything, reading nothing meanwhile. */
void client_send(struct client *client, struct slice bytes);
void client_send_text(struct client *client, const char *text);

/* Send what the kernel takes at once; returns how many bytes that was. */
size_t client_send_available(struct client *client, struct slice bytes);

/* Whether bytes of this client are waiting to be read by the server. */
bool client_is_unread(const struct client *client);

/* No more requests will come. */
void client_half_close(struct client *client);

/* Wait until the program itself has taken every byte from its socket. */
void client_await_consumed(const struct client *client);

/* Wait until every byte has reached its socket: it need not have been accepted. */
void client_await_arrived(const struct client *client);

/*
 * Wait until something can be done, then send from the front of *unsent, which is
 * moved on, and keep what arrives for the reading calls below.
 */
enum client_state client_pump(struct client *client, struct slice *unsent);

/* Send the request and take the reply at the same time, then compare it. */
void client_exchange(struct client *client, struct slice request, struct slice reply);

/* Take a reply, and until it is there send from the front of *unsent, as client_pump. */
void client_expect_while_sending(struct client *client, struct slice *unsent,
                                 struct slice reply);

/* Demand exactly these bytes next. */
void client_expect(struct client *client, struct slice reply);
void client_expect_text(struct client *client, const char *reply);

/* Demand that the server closes in order and that nothing comes before that. */
void client_expect_end(struct client *client);

/* No more requests will come: demand these replies, then the end, and close. */
void client_finish(struct client *client, struct slice replies);

/* The next line without its LF, as text; valid until the next call on this client. */
const char *client_read_line(struct client *client);

/* What has arrived must be the front of the reply; returns how many bytes it was. */
size_t client_take_equal(struct client *client, struct slice reply);

/* Every whole line that has arrived already: how many equal the text, until none is. */
size_t client_take_lines(struct client *client, const char *text);

#endif
