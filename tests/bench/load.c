/*
 * A load generator: one connection, a number of commands in flight, every reply verified,
 * one line of name=value pairs as the result.
 *
 * It must not be what is measured. The requests of the next window are made, and the
 * replies of the last one verified, while the server works on the one between: the time
 * from a window's last reply to the next window's first request is one system call.
 */
#include "histogram.h"
#include "workload.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

/* A server that says nothing for this long has failed; large rewrites stay below it. */
#define SILENCE_S_MAX 120

/* How often the replies so far are looked at while a server is silent. */
#define SILENCE_STEP_S 2

/* How long a server that starts may take to answer. */
#define START_S_MAX 600

/* Receptions of one window whose times are kept apart; the later ones count as one. */
#define ARRIVALS_MAX 1024

#define WINDOW_BYTES_MAX ((size_t)4 << 30)

/*
 * A window is sent when the last one was answered in full, or halves take turns: one is
 * answered while the other is on its way. The first lets a server share one sync among
 * the whole window; the second keeps client and server at work at the same time. In
 * either case one window more is being made or verified.
 */
#define WINDOWS_MAX 3

struct options {
    struct workload_options workload;
    uint64_t port;
    uint64_t depth;
    uint64_t is_halved;  /* refill when half of the window was answered */
    uint64_t count_max;  /* of operations */
    const char *seconds; /* at most, or NULL */
    const char *pid;     /* the server's, to read its processor time; or NULL */
    const char *first;   /* a line sent before the measurement, or NULL */
    const char *while_exists;
    const char *since;    /* where waiting began, in seconds of the wall clock */
    bool is_reconnecting; /* a connection for each command */
    bool is_unverified;
    bool is_awaiting; /* only wait for the first good answer */
};

struct arrival {
    size_t received; /* bytes of the window's replies, up to then */
    uint64_t ns;
};

/* Commands that are sent at once, and their replies. */
struct window {
    struct operation *operations;
    size_t operation_count;
    char *request;
    size_t request_length;
    char *reply;
    size_t reply_length; /* what is expected: every right reply's length is known */
    size_t received;
    struct arrival *arrivals;
    size_t arrival_count;
    uint64_t sent_ns;
};

struct load {
    struct options options;
    struct workload *workload;
    struct sockaddr_in address;
    int fd;

    /* A ring: windows are made, sent, received and settled in order. */
    struct window windows[WINDOWS_MAX];
    size_t window_count;
    size_t window_operations; /* of a full one */
    uint64_t made, sent, received, settled;

    uint64_t operations_made;
    uint64_t operations_done;
    uint64_t deadline_ns;
    bool is_over; /* nothing more is to be sent */
    uint64_t begin_ns, end_ns;
    struct histogram latencies;
};

#if defined(__GNUC__)
static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#endif

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("load: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* cannot fail for these clocks */
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void rest(uint64_t ns)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = (long)ns};
    (void)nanosleep(&pause, NULL); /* interrupted: a shorter rest */
}

/*
 * What all threads of a process have spent on a processor, in nanoseconds: the first
 * number of schedstat, which counts time and not ticks. 0 where there is none.
 */
static uint64_t process_cpu_ns(const char *pid)
{
    char path[512];
    uint64_t total = 0;
    if (pid == NULL) {
        return 0;
    }
    (void)snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return 0;
    }
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        char text[64] = "";
        (void)snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", pid,
                       task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file != NULL) {
            if (fgets(text, sizeof text, file) != NULL) {
                total += strtoull(text, NULL, 10);
            }
            (void)fclose(file); /* only read */
        }
    }
    (void)closedir(tasks);
    return total;
}

/* Returns a connected socket, or -1. */
static int try_connect(const struct sockaddr_in *address)
{
    int on = 1;
    struct timeval step = {.tv_sec = SILENCE_STEP_S};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof step) < 0) {
        int error = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        errno = error;
        return -1;
    }
    return fd;
}

static void open_connection(struct load *load)
{
    load->fd = try_connect(&load->address);
    if (load->fd < 0) {
        fail("cannot connect to port %llu: %s", (unsigned long long)load->options.port,
             strerror(errno));
    }
}

/* Report the first reply that is not the right one, if it has arrived in full. */
static void verify_received(const struct load *load, const struct window *window)
{
    size_t start = 0;
    char request[80];
    for (size_t i = 0; i < window->operation_count; i++) {
        const struct operation *operation = &window->operations[i];
        if (operation->reply_end > window->received) {
            break;
        }
        if (!workload_is_right(load->workload, operation, window->reply + start)) {
            size_t shown = window->received - start < 60 ? window->received - start : 60;
            (void)snprintf(request, sizeof request, "%s of key %llu",
                           operation->is_read ? "read" : "write",
                           (unsigned long long)operation->key);
            fail("%s: wrong reply, it begins with '%.*s'", request, (int)shown,
                 window->reply + start);
        }
        start = operation->reply_end;
    }
}

static void fail_unanswered(const struct window *window, const char *why)
{
    size_t start = 0;
    for (size_t i = 0; window->operations[i].reply_end <= window->received; i++) {
        start = window->operations[i].reply_end;
    }
    size_t shown = window->received - start < 60 ? window->received - start : 60;
    fail("%s; the reply that is due begins with '%.*s'", why, (int)shown,
         window->reply + start);
}

/* Receive once, replies of the oldest window that is not answered in full. */
static void receive_some(struct load *load, int flags)
{
    struct window *window = &load->windows[load->received % load->window_count];
    unsigned silence_s = 0;
    ssize_t got = -1;
    while (got < 0) {
        got = recv(load->fd, window->reply + window->received,
                   window->reply_length - window->received, flags);
        if (got < 0 && errno == EAGAIN && flags == 0) {
            silence_s += SILENCE_STEP_S;
            if (silence_s >= SILENCE_S_MAX) {
                fail_unanswered(window, "the server says nothing");
            }
        } else if (got < 0 && errno == EAGAIN) {
            return;
        } else if (got < 0 && errno != EINTR) {
            fail("cannot receive: %s", strerror(errno));
        }
    }
    if (got == 0) {
        fail_unanswered(window, "the server closed the connection");
    }
    window->received += (size_t)got;
    if (window->arrival_count == ARRIVALS_MAX) {
        window->arrival_count--;
    }
    window->arrivals[window->arrival_count++] =
        (struct arrival){window->received, now_ns(CLOCK_MONOTONIC)};
    if (window->received == window->reply_length) {
        load->received++;
    }
}

/*
 * Send all of a window. A server that takes nothing more until it gets rid of replies is
 * relieved of them; so nobody waits for the other for ever.
 */
static void send_window(struct load *load)
{
    struct window *window = &load->windows[load->sent % load->window_count];
    size_t sent = 0;
    window->sent_ns = now_ns(CLOCK_MONOTONIC);
    load->sent++;
    if (load->options.is_reconnecting) {
        open_connection(load);
    }
    while (sent < window->request_length) {
        ssize_t taken = send(load->fd, window->request + sent,
                             window->request_length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken >= 0) {
            sent += (size_t)taken;
        } else if (errno == EAGAIN) {
            struct pollfd pollfd = {.fd = load->fd, .events = POLLIN | POLLOUT};
            (void)poll(&pollfd, 1, SILENCE_STEP_S * 1000);
            if ((pollfd.revents & POLLIN) != 0 && load->received < load->sent) {
                receive_some(load, MSG_DONTWAIT);
            }
        } else if (errno != EINTR) {
            fail("cannot send: %s", strerror(errno));
        }
    }
}

/* Whether nothing more is to be sent. Looks at the clock once for each window. */
static bool is_over(struct load *load)
{
    const char *while_exists = load->options.while_exists;
    load->is_over =
        load->is_over ||
        (load->deadline_ns != 0 && now_ns(CLOCK_MONOTONIC) >= load->deadline_ns) ||
        (while_exists != NULL && access(while_exists, F_OK) < 0);
    return load->is_over;
}

static bool has_more(const struct load *load)
{
    return !load->is_over && load->operations_made < load->options.count_max;
}

static void make_window(struct load *load)
{
    struct window *window = &load->windows[load->made % load->window_count];
    uint64_t left = load->options.count_max - load->operations_made;
    window->operation_count =
        left < load->window_operations ? (size_t)left : load->window_operations;
    window->request_length = 0;
    window->reply_length = 0;
    window->received = 0;
    window->arrival_count = 0;
    for (size_t i = 0; i < window->operation_count; i++) {
        struct operation *operation = &window->operations[i];
        *operation = workload_next(load->workload);
        window->request_length += workload_put_request(
            load->workload, operation, window->request + window->request_length);
        window->reply_length += workload_reply_bytes(load->workload, operation);
        operation->reply_end = window->reply_length;
    }
    load->operations_made += window->operation_count;
    load->made++;
}

/* A command has its reply when the last byte of it was received. */
static void settle_window(struct load *load)
{
    struct window *window = &load->windows[load->settled % load->window_count];
    size_t i = 0;
    for (size_t j = 0; j < window->arrival_count; j++) {
        size_t start = i;
        while (i < window->operation_count &&
               window->operations[i].reply_end <= window->arrivals[j].received) {
            i++;
        }
        histogram_add(&load->latencies, window->arrivals[j].ns - window->sent_ns,
                      i - start);
    }
    load->end_ns = window->arrivals[window->arrival_count - 1].ns;
    load->operations_done += window->operation_count;
    load->settled++;
    if (!load->options.is_unverified) {
        verify_received(load, window);
    }
}

static void run(struct load *load)
{
    size_t in_flight_max = load->window_count - 1;
    while (load->made < load->window_count && has_more(load)) {
        make_window(load);
    }
    load->begin_ns = now_ns(CLOCK_MONOTONIC);
    load->end_ns = load->begin_ns;
    if (load->options.seconds != NULL) {
        double seconds = strtod(load->options.seconds, NULL);
        load->deadline_ns = load->begin_ns + (uint64_t)(seconds * (double)NS_PER_S);
    }
    while (load->sent < load->made && load->sent < in_flight_max) {
        send_window(load);
    }
    while (load->settled < load->sent) {
        while (load->received <= load->settled) {
            receive_some(load, 0);
        }
        if (load->options.is_reconnecting) {
            (void)close(load->fd);
        }
        if (load->sent < load->made && !is_over(load)) {
            send_window(load);
        }
        settle_window(load);
        if (has_more(load)) {
            make_window(load);
        }
    }
}

/* Send one line of the user's, and return how long the one line in reply took. */
static uint64_t run_first(struct load *load)
{
    const char *end = load->options.workload.wire == WIRE_KV ? "\n" : "\r\n";
    char line[256];
    size_t received = 0;
    int length = snprintf(line, sizeof line, "%s%s", load->options.first, end);
    uint64_t begin_ns = now_ns(CLOCK_MONOTONIC);
    if (length < 0 || (size_t)length >= sizeof line ||
        send(load->fd, line, (size_t)length, MSG_NOSIGNAL) != length) {
        fail("cannot send the first line");
    }
    while (received == 0 || line[received - 1] != '\n') {
        ssize_t got = recv(load->fd, line + received, sizeof line - 1 - received, 0);
        if (got <= 0) {
            fail("no reply to the first line");
        }
        received += (size_t)got;
    }
    line[received - 1] = '\0';
    if (strcmp(line, "success") != 0 && line[0] != '+') {
        fail("%s: %s", load->options.first, line);
    }
    return now_ns(CLOCK_MONOTONIC) - begin_ns;
}

static bool allocate_windows(struct load *load)
{
    size_t depth = (size_t)load->options.depth;
    bool is_halved = load->options.is_halved > 0 && depth > 1;
    load->window_operations = is_halved ? depth / 2 : depth;
    load->window_count = is_halved ? 3 : 2;
    size_t each = workload_operation_bytes_max(load->workload);
    if (each > WINDOW_BYTES_MAX / load->window_operations) {
        fail("such values at such a depth need more than 4 GiB");
    }
    for (size_t i = 0; i < load->window_count; i++) {
        struct window *window = &load->windows[i];
        window->operations =
            calloc(load->window_operations, sizeof window->operations[0]);
        window->arrivals = calloc(ARRIVALS_MAX, sizeof window->arrivals[0]);
        window->request = malloc(each * load->window_operations);
        window->reply = malloc(each * load->window_operations);
        if (window->operations == NULL || window->arrivals == NULL ||
            window->request == NULL || window->reply == NULL) {
            return false;
        }
        /* Touched now, so that no page is first touched while time is measured. */
        memset(window->request, 1, each * load->window_operations);
        memset(window->reply, 1, each * load->window_operations);
    }
    return true;
}

static void print_result(const struct load *load, uint64_t server_cpu_ns,
                         uint64_t client_cpu_ns, uint64_t first_ns)
{
    const struct histogram *latencies = &load->latencies;
    uint64_t elapsed_ns = load->end_ns - load->begin_ns;
    double seconds = elapsed_ns > 0 ? (double)elapsed_ns / (double)NS_PER_S : 1e-9;
    double operations = load->operations_done > 0 ? (double)load->operations_done : 1;
    printf("ops=%llu seconds=%.6f ops_per_s=%.1f "
           "p50_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f "
           "server_ns_per_op=%.1f client_busy=%.3f first_us=%.1f\n",
           (unsigned long long)load->operations_done, seconds, operations / seconds,
           (double)histogram_quantile(latencies, 0.5) / 1e3,
           (double)histogram_quantile(latencies, 0.99) / 1e3,
           (double)histogram_quantile(latencies, 0.999) / 1e3,
           (double)latencies->max / 1e3, (double)server_cpu_ns / operations,
           (double)client_cpu_ns / 1e9 / seconds, (double)first_ns / 1e3);
}

/*
 * Try one command over a new connection. A server that is not there yet refuses the
 * connection; Redis takes it, and answers with an error while it reads its log.
 */
static bool is_answered(const struct load *load, struct window *window)
{
    int fd = try_connect(&load->address);
    bool is_sent = fd >= 0 && send(fd, window->request, window->request_length,
                                   MSG_NOSIGNAL) == (ssize_t)window->request_length;
    window->received = 0;
    while (is_sent && window->received < window->reply_length &&
           (window->received == 0 || window->reply[0] != '-')) {
        ssize_t got = recv(fd, window->reply + window->received,
                           window->reply_length - window->received, 0);
        if (got <= 0) {
            break;
        }
        window->received += (size_t)got;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return is_sent && window->received == window->reply_length;
}

/* Wait until a server that is starting gives the right answer, and say when that was. */
static void await_answer(struct load *load)
{
    uint64_t begin_ns = now_ns(CLOCK_MONOTONIC);
    struct window *window = &load->windows[0];
    load->options.count_max = 1;
    make_window(load);
    while (!is_answered(load, window)) {
        if (now_ns(CLOCK_MONOTONIC) - begin_ns > START_S_MAX * NS_PER_S) {
            fail("no answer from port %llu", (unsigned long long)load->options.port);
        }
        rest(200000);
    }
    double answered_s = (double)now_ns(CLOCK_REALTIME) / 1e9;
    verify_received(load, window);
    double since_s = load->options.since == NULL ? 0 : strtod(load->options.since, NULL);
    printf("first_answer_ms=%.3f\n", (answered_s - since_s) * 1e3);
}

static void measure(struct load *load)
{
    uint64_t first_ns = 0;
    if (!load->options.is_reconnecting) {
        open_connection(load);
    }
    if (load->options.first != NULL) {
        first_ns = run_first(load);
    }
    uint64_t server_before_ns = process_cpu_ns(load->options.pid);
    uint64_t client_before_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    run(load);
    uint64_t client_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - client_before_ns;
    uint64_t server_ns = process_cpu_ns(load->options.pid) - server_before_ns;
    print_result(load, server_ns, client_ns, first_ns);
}

/* What an option says, and the type of what that goes to. */
enum kind {
    NUMBER, /* uint64_t */
    NAME,   /* uint64_t: which of the names it is */
    TEXT,   /* const char * */
    FLAG    /* bool: that it is given */
};

struct rule {
    const char *name;
    enum kind kind;
    void *place;
    uint64_t max;
    const char *const *names;
    const char *help;
};

static const char *const wire_names[] = {"kv", "resp", "memcache", NULL};
static const char *const order_names[] = {"sequential", "uniform", "zipfian", NULL};
static const char *const refill_names[] = {"whole", "half", NULL};

static void fail_usage(const struct rule *rules)
{
    (void)fputs("Usage: load --port PORT [OPTION]...\n", stderr);
    for (; rules->name != NULL; rules++) {
        (void)fprintf(stderr, "  %-14s %s\n", rules->name, rules->help);
    }
    exit(2);
}

static bool parse_name(const struct rule *rule, const char *text)
{
    uint64_t *place = rule->place;
    *place = 0;
    while (rule->names[*place] != NULL && strcmp(text, rule->names[*place]) != 0) {
        ++*place;
    }
    return rule->names[*place] != NULL;
}

/* With K or M behind it, or nothing. */
static bool parse_number(const struct rule *rule, const char *text)
{
    uint64_t *place = rule->place;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;
    *place = (uint64_t)number << shift;
    return end != text && end[shift > 0 ? 1 : 0] == '\0' && errno == 0 &&
           text[0] != '-' && number <= rule->max >> shift;
}

static bool parse_option(const struct rule *rule, const char *text)
{
    if (rule->kind == TEXT) {
        *(const char **)rule->place = text;
        return true;
    }
    return rule->kind == NAME ? parse_name(rule, text) : parse_number(rule, text);
}

static void parse_options(int argc, char **argv, struct options *options)
{
    struct workload_options *workload = &options->workload;
    const struct rule rules[] = {
        {"--port", NUMBER, &options->port, UINT16_MAX, NULL, "of a server on 127.0.0.1"},
        {"--protocol", NAME, &workload->wire, 0, wire_names, "kv, resp or memcache (kv)"},
        {"--depth", NUMBER, &options->depth, 1 << 20, NULL, "commands in flight (1)"},
        {"--refill", NAME, &options->is_halved, 0, refill_names,
         "when whole or half of them were answered (whole)"},
        {"--reads", NUMBER, &workload->reads_percent, 100, NULL,
         "percent; the others are writes (100)"},
        {"--keys", NUMBER, &workload->key_count, UINT32_MAX, NULL,
         "how many there are (10000)"},
        {"--order", NAME, &workload->order, 0, order_names,
         "uniform, zipfian or sequential (uniform)"},
        {"--size", NUMBER, &workload->value_bytes, VALUE_BYTES_MAX, NULL,
         "of values (100)"},
        {"--count", NUMBER, &options->count_max, UINT64_MAX, NULL, "operations at most"},
        {"--seconds", TEXT, &options->seconds, 0, NULL, "at most"},
        {"--while-exists", TEXT, &options->while_exists, 0, NULL,
         "a path: stop when it is gone"},
        {"--pid", TEXT, &options->pid, 0, NULL,
         "of the server, to read its processor time"},
        {"--first", TEXT, &options->first, 0, NULL,
         "a line to send first, which succeeds"},
        {"--since", TEXT, &options->since, 0, NULL,
         "seconds since 1970: where --await began"},
        {"--reconnect", FLAG, &options->is_reconnecting, 0, NULL,
         "a connection for each command"},
        {"--no-verify", FLAG, &options->is_unverified, 0, NULL,
         "take any bytes of the right length"},
        {"--await", FLAG, &options->is_awaiting, 0, NULL,
         "only wait for the first right answer"},
        {NULL, FLAG, NULL, 0, NULL, NULL},
    };
    for (int i = 1; i < argc; i++) {
        const struct rule *rule = rules;
        while (rule->name != NULL && strcmp(rule->name, argv[i]) != 0) {
            rule++;
        }
        if (rule->name != NULL && rule->kind == FLAG) {
            *(bool *)rule->place = true;
        } else if (rule->name == NULL || ++i == argc || !parse_option(rule, argv[i])) {
            fail_usage(rules);
        }
    }
    bool has_end = options->count_max < UINT64_MAX || options->seconds != NULL ||
                   options->while_exists != NULL || options->is_awaiting;
    bool is_one_by_one = options->depth == 1 && options->first == NULL;
    if (!has_end || options->port == 0 || options->depth == 0 ||
        workload->key_count == 0 || workload->value_bytes == 0 ||
        (options->is_reconnecting && !is_one_by_one)) {
        fail_usage(rules);
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    load.options = (struct options){.workload = {.order = ORDER_UNIFORM,
                                                 .reads_percent = 100,
                                                 .key_count = 10000,
                                                 .value_bytes = 100,
                                                 .order_seed = now_ns(CLOCK_REALTIME)},
                                    .depth = 1,
                                    .count_max = UINT64_MAX};
    parse_options(argc, argv, &load.options);
    load.address = (struct sockaddr_in){.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)load.options.port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    load.workload = workload_create(&load.options.workload);
    if (load.workload == NULL || !allocate_windows(&load)) {
        fail("out of memory");
    }
    if (load.options.is_awaiting) {
        await_answer(&load);
    } else {
        measure(&load);
    }
    /* Buffers are the system's to take back. */
    return EXIT_SUCCESS;
}
