/*
 * The calls of kv have names of their own (see the Makefile), so that nobody else's are
 * asked where they come from:
 *
 * small: getaddrinfo gai_strerror socket setsockopt connect send shutdown recv fcntl open
 * small: realloc free getenv exit stdin stdout stderr putchar fread
 */
#define _GNU_SOURCE /* fopencookie */
#include "world/small.h"

#include "support/dice.h"
#include "world/clock.h"
#include "world/process.h"
#include "world/small_verdict.h"
#include "world/sockets.h"
#include "world/stack.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

enum {
    CALLS_MAX = 200000,   /* of one that never ends */
    PAUSE_CALLS_MAX = 40, /* of the server, between two of its own */
    PIECE_BYTES_MAX = 3000,
    FIRST_DESCRIPTOR = 2000, /* no real one */
    PIECES_MAX = 16
};

/* What it waits for. */
enum waiting { FOR_ITS_TURN, FOR_ROOM, FOR_INPUT, FOR_EVER };

struct small {
    bool is_at_work;
    struct small_run run; /* what it is judged by */
    struct dice dice;     /* what befalls it */
    bool is_lucky;        /* nothing does */
    struct bytes data;    /* its own, while another runs */
    FILE *streams[3];
    size_t input_at; /* of its standard input it has so much */
    void *pieces[PIECES_MAX];
    int descriptor_count;
    uint64_t calls;

    bool is_connected;
    bool is_lost;   /* its connection was reset */
    bool is_silent; /* nothing more comes, and nobody says so */
    bool is_shut;   /* by the server */
    struct bytes inbox;
    size_t inbox_at;
    uint64_t window_bytes; /* that the server need not have received yet */

    enum waiting waiting;
    uint64_t send_us; /* how long it has told the system to wait at most; 0: for ever */
    uint64_t receive_us;
    uint64_t since_us;
    uint64_t until_us;
    uint64_t pause_calls;
};

/* Compilers leave a section out that has nothing in it. */
#pragma weak __start_kc_data
#pragma weak __stop_kc_data
#pragma weak __start_kc_bss
#pragma weak __stop_kc_bss
extern char __start_kc_data[], __stop_kc_data[];
extern char __start_kc_bss[], __stop_kc_bss[];

int small_main(int argc, char **argv);
size_t __real_fread(void *to, size_t length, size_t count, FILE *file);
int __real_fclose(FILE *file);

int small_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                      struct addrinfo **result);
const char *small_gai_strerror(int error);
int small_socket(int family, int type, int protocol);
int small_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int small_connect(int fd, const struct sockaddr *address, socklen_t length);
ssize_t small_send(int fd, const void *bytes, size_t length, int flags);
int small_shutdown(int fd, int how);
ssize_t small_recv(int fd, void *bytes, size_t length, int flags);
int small_fcntl(int fd, int command, ...);
int small_open(const char *path, int flags, ...);
void *small_realloc(void *memory, size_t length);
void small_free(void *memory);
char *small_getenv(const char *name);
_Noreturn void small_exit(int status);
int small_putchar(int byte);
size_t small_fread(void *to, size_t length, size_t count, FILE *file);

unsigned small_count;
extern FILE *small_stdin, *small_stdout, *small_stderr;
FILE *small_stdin, *small_stdout, *small_stderr;

static struct small smalls[CLIENTS_MAX];
static struct small *own; /* the one that runs */
static struct bytes first_data;
static uint64_t ended_count;

uint64_t small_ended_count(void)
{
    return ended_count;
}

bool small_is_at(unsigned number)
{
    return smalls[number].is_at_work;
}

static unsigned number_of(const struct small *small)
{
    return (unsigned)(small - smalls);
}

static struct client *client_of(const struct small *small)
{
    return sockets_client(number_of(small));
}

/* Something that happens one time in so many, unless nothing shall. */
static bool befalls(struct small *small, uint64_t times)
{
    return !small->is_lucky && dice_below(&small->dice, times) == 0;
}

/* So many bytes, or the first piece of them. */
static size_t cut(struct small *small, size_t count)
{
    size_t piece = count;
    if (count > 0 && befalls(small, 3)) {
        piece = 1 + (size_t)dice_below(&small->dice, PIECE_BYTES_MAX);
    }
    return piece < count ? piece : count;
}

/* ---- Its data: the same place for all of them ---- */

static size_t data_length(void)
{
    return (size_t)(__stop_kc_data - __start_kc_data);
}

static size_t bss_length(void)
{
    return (size_t)(__stop_kc_bss - __start_kc_bss);
}

static void keep_data(struct bytes *data)
{
    bytes_set_length(data, data_length() + bss_length());
    memory_copy_plainly((char *)data->at, __start_kc_data, data_length());
    memory_copy_plainly((char *)data->at + data_length(), __start_kc_bss, bss_length());
}

static void put_back_data(const struct bytes *data)
{
    memory_copy_plainly(__start_kc_data, (const char *)data->at, data_length());
    memory_copy_plainly(__start_kc_bss, (const char *)data->at + data_length(),
                        bss_length());
}

/* ---- Going on ---- */

static bool is_ready(const struct small *small)
{
    const struct client *client = client_of(small);
    bool is_over = small->is_lost || small->is_shut;
    switch (small->waiting) {
    case FOR_INPUT:
        return small->inbox_at < small->inbox.length || is_over;
    case FOR_ROOM:
        return small->is_lost ||
               client->said.length - client->received < small->window_bytes;
    case FOR_EVER:
        return false;
    default:
        return true;
    }
}

static bool is_out_of_time(const struct small *small)
{
    return small->is_silent || world_fair_us() >= small->until_us;
}

/* Nothing moves for so long, whatever it has told the system. */
static void check_patience(const struct small *small)
{
    uint64_t most_us = small->run.patience_s * 1000000;
    if (small->until_us > small->since_us + most_us && !is_ready(small) &&
        world_fair_us() >= small->since_us + most_us) {
        violation("kv waits longer than it was told to", "%s, for %llu s",
                  small->run.words.at, (unsigned long long)small->run.patience_s);
    }
}

static void give_back(struct small *small)
{
    for (size_t i = 0; i < PIECES_MAX; i++) {
        small->pieces[i] = resize(small->pieces[i], 0);
    }
    for (size_t i = 0; i < 3; i++) {
        if (small->streams[i] != NULL) {
            (void)__real_fclose(small->streams[i]); /* nothing stands in it */
            small->streams[i] = NULL;
        }
    }
}

/* Its end of the connection is closed: with a reset, if it has not taken everything. */
static void leave(struct small *small)
{
    struct client *client = client_of(small);
    if (!small->is_connected || small->is_lost || client->state == CLIENT_GONE) {
        return;
    }
    client->has_ended = true;
    client->has_left = true;
    client->is_reset = client->is_reset || small->inbox_at < small->inbox.length;
}

static void see_it_off(struct small *small)
{
    leave(small);
    small->is_at_work = false;
    small_count--;
    ended_count++;
    give_back(small);
    process_digest((uint64_t)small->run.status);
    process_digest_bytes(small->run.printed.at, small->run.printed.length);
    process_digest_bytes(small->run.told.at, small->run.told.length);
    small_verdict(&small->run);
}

/* On its stack. */
static void run_main(void)
{
    optind = 1;
    small_exit(small_main((int)own->run.word_count, own->run.argv));
}

static void step(struct small *small, bool is_first)
{
    own = small;
    put_back_data(&small->data);
    small_stdin = small->streams[0];
    small_stdout = small->streams[1];
    small_stderr = small->streams[2];
    process_note_progress();
    if (is_first) {
        stack_begin(number_of(small), run_main);
    } else {
        stack_go_on(number_of(small));
    }
    keep_data(&small->data);
    if (small->run.has_ended) {
        see_it_off(small);
    } else if (small->calls > CALLS_MAX) {
        violation("kv never ends", "%s", small->run.words.at);
    }
}

/* In one of its calls, until it need not wait any more. false: that took too long. */
static bool wait_for(enum waiting waiting, uint64_t us)
{
    struct small *small = own;
    small->waiting = waiting;
    small->since_us = world_fair_us();
    small->until_us = us == 0 ? WORLD_ALL : small->since_us + us;
    small->pause_calls =
        small->is_lucky ? 1 : 1 + dice_below(&small->dice, PAUSE_CALLS_MAX);
    stack_pause();
    return is_ready(small);
}

/* Another call of its; which may come at once, or after some of the server's. */
static void enter(uint64_t what, uint64_t length)
{
    process_digest(what << 32 ^ length);
    if (++own->calls > CALLS_MAX || befalls(own, 2)) {
        (void)wait_for(FOR_ITS_TURN, 0); /* which is always ready */
    }
}

static int fail(int error)
{
    own->run.has_reason = own->run.has_reason || error != EINTR;
    errno = error;
    return -1;
}

/* ---- Its calls on sockets ---- */

int small_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                      struct addrinfo **result)
{
    static struct sockaddr_in address = {.sin_family = AF_INET};
    static struct addrinfo found[2];
    (void)host;
    (void)port;
    (void)hints;
    enter(1, 0);
    if (befalls(own, 60)) {
        own->run.has_reason = true;
        return EAI_AGAIN;
    }
    found[1] = (struct addrinfo){.ai_family = AF_INET,
                                 .ai_socktype = SOCK_STREAM,
                                 .ai_addr = (struct sockaddr *)&address,
                                 .ai_addrlen = sizeof address};
    found[0] = found[1];
    found[0].ai_next = &found[1]; /* the first of two is refused */
    *result = &found[befalls(own, 4) ? 0 : 1];
    return 0;
}

const char *small_gai_strerror(int error)
{
    return error == EAI_AGAIN ? "again" : "another";
}

int small_socket(int family, int type, int protocol)
{
    (void)family;
    (void)type;
    (void)protocol;
    enter(2, 0);
    return befalls(own, 100) ? fail(EMFILE) : FIRST_DESCRIPTOR + own->descriptor_count++;
}

int small_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    struct timeval time;
    (void)fd;
    enter(3, (uint64_t)name);
    if (level != SOL_SOCKET || length != sizeof time) {
        return fail(EINVAL);
    }
    memcpy(&time, value, sizeof time);
    uint64_t us = (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
    own->send_us = name == SO_SNDTIMEO ? us : own->send_us;
    own->receive_us = name == SO_RCVTIMEO ? us : own->receive_us;
    return 0;
}

int small_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct small *small = own;
    (void)fd;
    (void)length;
    enter(4, address->sa_family);
    if (befalls(small, 40)) { /* its packets are lost */
        (void)wait_for(FOR_EVER, small->send_us);
        return fail(EINPROGRESS);
    }
    bool is_taken = client_of(small)->state != CLIENT_GONE;
    if (is_taken || !sockets_is_listening() || befalls(small, 40)) {
        return fail(address->sa_family == AF_UNIX ? ENOENT : ECONNREFUSED);
    }
    sockets_connect_small(number_of(small));
    small->is_connected = true;
    return 0;
}

ssize_t small_send(int fd, const void *bytes, size_t length, int flags)
{
    struct small *small = own;
    struct client *client = client_of(small);
    (void)fd;
    if ((flags & MSG_NOSIGNAL) == 0) {
        small->run.flaw = "kv would die of SIGPIPE";
    }
    enter(5, length);
    if (befalls(small, 40)) {
        return fail(EINTR);
    }
    if (!small->is_lost &&
        client->said.length - client->received >= small->window_bytes &&
        !wait_for(FOR_ROOM, small->send_us)) {
        return fail(EAGAIN);
    }
    if (small->is_lost) {
        return fail(EPIPE);
    }
    size_t room =
        (size_t)(small->window_bytes - (client->said.length - client->received));
    size_t count = cut(small, length < room ? length : room);
    sockets_note_saying(client);
    bytes_put(&client->said, bytes, count);
    bytes_put(&small->run.said, bytes, count);
    return (ssize_t)count;
}

int small_shutdown(int fd, int how)
{
    (void)fd;
    (void)how;
    enter(6, 0);
    if (own->is_lost) {
        errno = ENOTCONN;
        return -1;
    }
    if (own->run.said.length < own->run.wanted.length && !own->run.has_reason) {
        own->run.flaw = "kv ends its side before it has said everything";
    }
    client_of(own)->has_ended = true;
    return 0;
}

ssize_t small_recv(int fd, void *bytes, size_t length, int flags)
{
    struct small *small = own;
    (void)fd;
    (void)flags;
    enter(7, length);
    if (befalls(small, 40)) {
        return fail(EINTR);
    }
    small->waiting = FOR_INPUT;
    if (!is_ready(small) && !wait_for(FOR_INPUT, small->receive_us)) {
        return fail(EAGAIN);
    }
    size_t count = small->inbox.length - small->inbox_at;
    if (count == 0 && small->is_lost) {
        return fail(ECONNRESET);
    }
    count = cut(small, count < length ? count : length);
    memcpy(bytes, small->inbox.at + small->inbox_at, count);
    small->inbox_at += count;
    small->run.received_bytes += count;
    if (count == 0) {
        small->run.has_seen_end = true;
        small->run.has_reason = true;
    }
    return (ssize_t)count;
}

/* ---- Its other calls ---- */

int small_fcntl(int fd, int command, ...)
{
    (void)fd; /* all of the first three are open */
    (void)command;
    return 0;
}

int small_open(const char *path, int flags, ...)
{
    (void)path;
    (void)flags;
    return fail(ENOENT);
}

void *small_realloc(void *memory, size_t length)
{
    size_t at = 0;
    while (at < PIECES_MAX && own->pieces[at] != memory) {
        at++;
    }
    if (at == PIECES_MAX || befalls(own, 150)) {
        own->run.is_hurt = true;
        errno = ENOMEM;
        return NULL;
    }
    own->pieces[at] = resize(memory, length);
    return own->pieces[at];
}

void small_free(void *memory)
{
    for (size_t i = 0; memory != NULL && i < PIECES_MAX; i++) {
        if (own->pieces[i] == memory) {
            own->pieces[i] = resize(memory, 0);
            return;
        }
    }
}

char *small_getenv(const char *name)
{
    (void)name;
    return NULL;
}

void small_exit(int status)
{
    own->run.status = status;
    own->run.has_ended = true;
    (void)fflush(small_stdout); /* as exit does, which has nobody to tell */
    (void)fflush(small_stderr);
    stack_leave();
}

int small_putchar(int byte)
{
    return fputc(byte, small_stdout);
}

size_t small_fread(void *to, size_t length, size_t count, FILE *file)
{
    return __real_fread(to, length, count, file);
}

static ssize_t read_input(void *cookie, char *bytes, size_t length)
{
    struct small *small = cookie;
    enter(8, length);
    if (befalls(small, 60)) {
        small->run.is_hurt = true;
        errno = EIO;
        return -1;
    }
    size_t count = small->run.input.length - small->input_at;
    count = cut(small, count < length ? count : length);
    if (count > 0) {
        memcpy(bytes, small->run.input.at + small->input_at, count);
    }
    small->input_at += count;
    return (ssize_t)count;
}

static ssize_t write_output(void *cookie, const char *bytes, size_t length)
{
    struct small *small = cookie;
    if (befalls(small, 60)) {
        small->run.is_hurt = true;
        errno = ENOSPC;
        return 0; /* a cookie's way to say so */
    }
    bytes_put(&small->run.printed, bytes, length);
    return (ssize_t)length;
}

static ssize_t write_errors(void *cookie, const char *bytes, size_t length)
{
    struct small *small = cookie;
    bytes_put(&small->run.told, bytes, length);
    return (ssize_t)length;
}

/* ---- Its life ---- */

static void open_streams(struct small *small)
{
    small->streams[0] =
        fopencookie(small, "r", (cookie_io_functions_t){.read = read_input});
    small->streams[1] =
        fopencookie(small, "w", (cookie_io_functions_t){.write = write_output});
    small->streams[2] =
        fopencookie(small, "w", (cookie_io_functions_t){.write = write_errors});
    if (small->streams[0] == NULL || small->streams[1] == NULL ||
        small->streams[2] == NULL) {
        perror("world: the streams of kv");
        abort();
    }
    (void)setvbuf(small->streams[2], NULL, _IONBF, 0); /* cannot fail so early */
}

void small_begin(unsigned number, uint64_t luck, const char *words)
{
    struct small *small = &smalls[number];
    if (small->is_at_work || sockets_client(number)->state != CLIENT_GONE) {
        return;
    }
    struct small fresh = {.is_at_work = true,
                          .dice = {luck * 2654435761u + 1},
                          .is_lucky = luck == 0,
                          .data = small->data,
                          .inbox = small->inbox,
                          .run = small->run};
    fresh.inbox.length = 0;
    fresh.window_bytes = luck == 0 ? WORLD_ALL : 1000 + luck % 300000;
    *small = fresh;
    small_verdict_begin(&small->run, words);
    if (first_data.length == 0) {
        keep_data(&first_data);
    }
    small->data.length = 0;
    bytes_put(&small->data, first_data.at, first_data.length);
    open_streams(small);
    small_count++;
    step(small, true);
}

/* Through no fault of its own. */
static void abandon(struct small *small)
{
    if (small->is_at_work) {
        small->is_at_work = false;
        small_count--;
        give_back(small);
    }
}

void small_begin_run(void)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        abandon(&smalls[i]);
    }
}

/* Between two calls of the server they are let wait for some, while it waits for none. */
static void go_on(bool is_waiting)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct small *small = &smalls[i];
        if (!small->is_at_work) {
            continue;
        }
        check_patience(small);
        small->pause_calls -= !is_waiting && small->pause_calls > 0 ? 1 : 0;
        bool may_go_on = is_waiting || small->pause_calls == 0;
        if (is_out_of_time(small) || (may_go_on && is_ready(small))) {
            step(small, false);
        }
    }
}

void small_go_on(void)
{
    go_on(false);
}

void small_go_on_waiting(void)
{
    go_on(true);
}

uint64_t small_next_us(void)
{
    uint64_t next_us = WORLD_ALL;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        const struct small *small = &smalls[i];
        if (!small->is_at_work) {
            continue;
        }
        uint64_t most_us = small->since_us + small->run.patience_s * 1000000;
        uint64_t own_us = small->until_us < most_us ? small->until_us : most_us;
        own_us = is_ready(small) || is_out_of_time(small) ? 0 : own_us;
        next_us = own_us < next_us ? own_us : next_us;
    }
    return next_us;
}

void small_note_sent(unsigned number, const void *bytes, size_t length)
{
    bytes_put(&smalls[number].inbox, bytes, length);
}

void small_note_shut(unsigned number)
{
    smalls[number].is_shut = true;
}

/* What has come and was not taken may be lost with the connection. */
static void lose(struct small *small)
{
    size_t rest = small->inbox.length - small->inbox_at;
    small->is_lost = true;
    if (rest > 0 && befalls(small, 2)) {
        small->inbox.length -= (size_t)dice_below(&small->dice, rest + 1);
    }
}

void small_note_closed(unsigned number, bool is_reset)
{
    struct small *small = &smalls[number];
    if (is_reset) {
        lose(small);
    }
    small->is_shut = true;
}

void small_note_reply(unsigned number, struct slice reply)
{
    small_verdict_note_reply(&smalls[number].run, reply);
}

/* It comes to an end by itself: nothing that it waits for will come. */
static void run_to_its_end(struct small *small)
{
    while (small->is_at_work) {
        step(small, false);
    }
}

void small_note_life_over(bool is_silent)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct small *small = &smalls[i];
        const struct client *client = client_of(small);
        if (!small->is_at_work || !small->is_connected) {
            continue;
        }
        if (client->state != CLIENT_GONE && is_silent) {
            small->is_silent = !befalls(small, 2);
            small->is_lost = !small->is_silent;
        } else if (client->state != CLIENT_GONE) {
            small_note_closed(number_of(small), client->received < client->said.length ||
                                                    client->state == CLIENT_WAITING);
        }
        run_to_its_end(small);
    }
}

void small_end_run(void)
{
    small_note_life_over(true);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        smalls[i].is_silent = true;
        run_to_its_end(&smalls[i]);
    }
}
