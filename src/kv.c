/*
 * kv: one command to a kv-store, with an exit status. All it shares with the server are
 * words of base/.
 *
 * It says its lines, ends its side, and takes everything until the server ends the
 * other: a reply that is cut off, of whatever length, then shows, and so does a server
 * that is none. What it cannot understand is status 2 and a line on stderr.
 */
#include "base/buffer.h"
#include "base/decimal.h"
#include "base/platform.h"
#include "base/utf8.h"
#include "base/version.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { EXIT_YES, EXIT_NO, EXIT_TROUBLE };
enum { PIECE_BYTES = 65536, SECONDS_MAX = 1000000, PORT_MAX = 65535, SHOWN_MAX = 200 };

static const char help[] =
    "Usage: kv [-a ADDR] [-p PORT] [-t SECONDS] COMMAND\n"
    "One command to a kv-store.\n"
    "\n"
    "  get KEY             print its value; 1: it has none\n"
    "  set KEY [VALUE]     store a value, or what stands on standard input\n"
    "  add KEY [VALUE]     likewise if it has none; 1: it has\n"
    "  incr KEY [NUMBER]   add 1, or a number, and print the sum\n"
    "  delete KEY          1: there was nothing to delete\n"
    "  exists KEY          1: it has no value\n"
    "  keys [PREFIX]       the keys that begin so, sorted by bytes\n"
    "  list [PREFIX]       likewise, each with a space and its value\n"
    "  count  stats  compact  sync\n"
    "\n"
    "  -a ADDR             where the server listens, a /path too (KV_ADDRESS, "
    "127.0.0.1)\n"
    "  -p PORT             (KV_PORT, 7878)\n"
    "  -t SECONDS          how long it may say nothing (5)\n"
    "  -h, -V              print this, the version, and exit\n"
    "\n"
    "Exit status: 0 yes, 1 no, 2 anything else, with a line on stderr.\n";

/* What is answered: a line, or lines of which each has a space in it, or none. */
enum answer { VALUE, FLAG, NUMBER, SUCCESS, WORDS, PAIRS };

struct command {
    const char *name;
    const char *verb;
    const char *first; /* or NULL; asked before it, on the same connection */
    int least;         /* words behind it */
    int most;
    enum answer answer;
    bool is_store; /* what is stored may stand on standard input */
};

static const struct command commands[] = {
    {"get", "GET", "EXISTS", 1, 1, VALUE, false},
    {"set", "SET", NULL, 1, 2, SUCCESS, true},
    {"add", "ADD", NULL, 1, 2, SUCCESS, true},
    {"incr", "INCR", NULL, 1, 2, NUMBER, false},
    {"delete", "DELETE", "EXISTS", 1, 1, SUCCESS, false},
    {"exists", "EXISTS", NULL, 1, 1, FLAG, false},
    {"keys", "KEYS", "COUNT", 0, 1, WORDS, false},
    {"list", "LIST", "COUNT", 0, 1, PAIRS, false},
    {"count", "COUNT", NULL, 0, 0, NUMBER, false},
    {"stats", "STATS", "COUNT", 0, 0, PAIRS, false},
    {"compact", "COMPACT", NULL, 0, 0, SUCCESS, false},
    {"sync", "SYNC", NULL, 0, 0, SUCCESS, false},
};

static struct {
    const char *address; /* address, [address], name, or with a slash a path */
    const char *port;
    int64_t patience_s; /* how long it may say nothing */
} server;

_Noreturn static void give_up(const char *format, ...) KV_PRINTF_LIKE(1, 2);

_Noreturn static void give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("kv: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_TROUBLE);
}

static void put(struct buffer *buffer, struct slice bytes)
{
    if (buffer_reserve(buffer, bytes.length) != KV_OK) {
        give_up("out of memory");
    }
    buffer_append(buffer, bytes);
}

/* ---- The connection: no call on it takes longer than the user's patience ---- */

_Noreturn static void give_up_connection(const char *what)
{
    const char *reason = strerror(errno);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINPROGRESS) {
        give_up("%s: no answer for %d s; what was asked may be done yet", server.address,
                (int)server.patience_s);
    } else if (strchr(server.address, '/') != NULL) {
        give_up("%s: %s: %s", server.address, what, reason);
    }
    give_up("%s:%s: %s: %s", server.address, server.port, what, reason);
}

static int connect_to(const struct addrinfo *addresses)
{
    struct timeval patience = {.tv_sec = (time_t)server.patience_s};
    for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM, 0);
        if (fd >= 0 &&
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
            connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
            return fd; /* it and the others are closed at the end, which is near */
        }
        if (errno == EINPROGRESS || errno == EAGAIN) {
            break;
        }
    }
    give_up_connection("cannot connect");
}

static int connect_to_path(void)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct addrinfo address = {.ai_family = AF_UNIX,
                               .ai_addr = (struct sockaddr *)&path,
                               .ai_addrlen = sizeof path};
    if (strlen(server.address) >= sizeof path.sun_path) {
        give_up("%s: too long a path for a socket", server.address);
    }
    memcpy(path.sun_path, server.address, strlen(server.address));
    return connect_to(&address);
}

/* The address as the server prints it, [::1], or without the brackets. */
static int connect_to_name(void)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    char name[256];
    const char *start = server.address + (server.address[0] == '[' ? 1 : 0);
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(start, "]"), start);
    int error = getaddrinfo(name, server.port, &hints, &addresses);
    if (error != 0) {
        give_up("%s:%s: no such address: %s", server.address, server.port,
                gai_strerror(error));
    }
    return connect_to(addresses);
}

/* Say these lines, and take all that is answered. */
static struct buffer exchange(struct slice lines)
{
    struct buffer answer = {0};
    uint8_t bytes[PIECE_BYTES];
    ssize_t count = 1;
    int fd = strchr(server.address, '/') != NULL ? connect_to_path() : connect_to_name();
    /* A server that has heard enough may end while we speak; its answer says why. */
    while (lines.length > 0 && (count > 0 || errno == EINTR)) {
        count = send(fd, lines.bytes, lines.length, MSG_NOSIGNAL);
        lines = slice_after(lines, count > 0 ? (size_t)count : 0);
    }
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        give_up_connection("");
    }
    (void)shutdown(fd, SHUT_WR); /* if that fails, so does receiving */
    while ((count = recv(fd, bytes, sizeof bytes, 0)) != 0) {
        if (count > 0) {
            put(&answer, (struct slice){bytes, (size_t)count});
        } else if (errno != EINTR) {
            give_up_connection("the connection was lost");
        }
    }
    return answer;
}

/* ---- What is said ---- */

/* Append standard input, less one LF at its end. */
static void put_input(struct buffer *line)
{
    uint8_t bytes[PIECE_BYTES];
    size_t count;
    size_t start = line->length;
    while ((count = fread(bytes, 1, sizeof bytes, stdin)) > 0) {
        put(line, (struct slice){bytes, count});
    }
    if (ferror(stdin)) {
        give_up("cannot read standard input: %s", strerror(errno));
    }
    if (line->length > start && line->bytes[line->length - 1] == '\n') {
        line->length--;
    }
}

static bool is_one_word(const char *text)
{
    return text[0] != '\0' && strpbrk(text, " \n") == NULL;
}

/* The words behind a verb: a NULL is behind the last. */
static void put_words(struct buffer *line, char **words, bool is_store)
{
    for (int i = 0; i < 2 && words[i] != NULL; i++) {
        bool is_value = i == 1 && is_store;
        if (!is_value && !is_one_word(words[i])) {
            give_up("a key, prefix or number is one word, without a space or a line's "
                    "end");
        }
        put(line, SLICE_LITERAL(" "));
        put(line, slice_of_text(words[i]));
    }
    if (is_store && words[1] == NULL) {
        put(line, SLICE_LITERAL(" "));
        put_input(line);
    }
}

static void put_line(struct buffer *lines, const char *verb, char **words, bool is_store)
{
    struct buffer line = {0};
    put(&line, slice_of_text(verb));
    put_words(&line, words, is_store);
    if (memchr(line.bytes, '\n', line.length) != NULL ||
        memchr(line.bytes, 0, line.length) != NULL ||
        !utf8_is_valid(buffer_slice(&line))) {
        give_up("words are one line of UTF-8 without NUL; encode others, as with base64");
    }
    /* A line drops one CR at its end, so what ends in one gets another. */
    put(&line, line.bytes[line.length - 1] == '\r' ? SLICE_LITERAL("\r\n")
                                                   : SLICE_LITERAL("\n"));
    put(lines, buffer_slice(&line));
    buffer_free(&line);
}

/* ---- What is answered ---- */

/* The next line; there must be one, and its end. */
static struct slice take_line(struct slice *answer)
{
    const uint8_t *end =
        answer->length == 0 ? NULL : memchr(answer->bytes, '\n', answer->length);
    if (end == NULL) {
        give_up(answer->length == 0 ? "the server ended without an answer"
                                    : "the answer is cut off");
    }
    struct slice line = slice_first(*answer, (size_t)(end - answer->bytes));
    *answer = slice_after(*answer, line.length + 1);
    return line;
}

static bool is_text(struct slice line, const char *text)
{
    return slice_equal(line, slice_of_text(text));
}

_Noreturn static void refuse(struct slice line)
{
    if (slice_starts_with(line, SLICE_LITERAL("error: "))) {
        line = slice_after(line, sizeof "error: " - 1);
        give_up("%.*s", (int)(line.length < SHOWN_MAX ? line.length : SHOWN_MAX),
                (const char *)line.bytes);
    }
    give_up("this is not the answer of a kv-store");
}

static void print_line(struct slice line)
{
    (void)fwrite(line.bytes, 1, line.length, stdout); /* failures show at the end */
    (void)putchar('\n');
}

/* Whether a line in place of a value says why there is none. */
static bool is_failure(struct slice line)
{
    return is_text(line, "error: corrupt value") ||
           is_text(line, "error: storage failed") ||
           is_text(line, "error: out of memory") || is_text(line, "error: idle too long");
}

/* The status that one line says, printed if it is what was asked for. */
static int take_one(struct slice line, enum answer answer, bool is_there)
{
    int64_t number;
    bool is_yes = answer == VALUE    ? is_there && !is_failure(line)
                  : answer == FLAG   ? is_text(line, "1")
                  : answer == NUMBER ? decimal_parse(line, &number)
                                     : is_text(line, "success");
    bool is_no = answer == VALUE  ? !is_there && is_text(line, "no value stored")
                 : answer == FLAG ? is_text(line, "0")
                                  : answer == SUCCESS && is_text(line, "already stored");
    if (!is_yes && !is_no) {
        refuse(line);
    }
    if (is_yes && (answer == VALUE || answer == NUMBER)) {
        print_line(line);
    }
    return is_yes && is_there ? EXIT_YES : EXIT_NO;
}

static int by_bytes(const void *a, const void *b)
{
    const struct slice *one = a;
    const struct slice *other = b;
    size_t length = one->length < other->length ? one->length : other->length;
    int order = memcmp(one->bytes, other->bytes, length);
    return order != 0 ? order : (one->length > length) - (other->length > length);
}

/*
 * Lines, of which the last is empty, or says why something is missing; so does one with
 * a space where words are wanted.
 */
static int take_lines(struct slice answer, enum answer kind, bool is_sorted)
{
    struct buffer lines = {0};
    struct slice line = take_line(&answer);
    struct slice failure = {0};
    for (; answer.length > 0; line = take_line(&answer)) {
        bool has_space = line.length > 0 && memchr(line.bytes, ' ', line.length) != NULL;
        if (line.length > 0 && has_space == (kind == PAIRS)) {
            put(&lines, (struct slice){(const void *)&line, sizeof line});
        } else if (slice_starts_with(line, SLICE_LITERAL("error: "))) {
            failure = line;
        } else {
            refuse(line);
        }
    }
    if (line.length > 0 && !slice_starts_with(line, SLICE_LITERAL("error: "))) {
        give_up("the answer is cut off");
    }
    struct slice *list = (struct slice *)(void *)lines.bytes;
    size_t count = lines.length / sizeof *list;
    if (is_sorted && count > 0) {
        qsort(list, count, sizeof *list, by_bytes);
    }
    for (size_t i = 0; i < count; i++) {
        print_line(list[i]);
    }
    if (line.length > 0 || failure.length > 0) {
        (void)fflush(stdout); /* what there is, and then why it is not all */
        refuse(line.length > 0 ? line : failure);
    }
    return EXIT_YES;
}

/* ---- Commands ---- */

/* words: with a NULL behind the last. */
static int run(const struct command *command, char **words)
{
    struct buffer lines = {0};
    char *none[] = {NULL};
    bool has_key = command->least > 0;
    if (command->first != NULL) {
        put_line(&lines, command->first, has_key ? words : none, false);
    }
    put_line(&lines, command->verb, words, command->is_store);
    struct buffer received = exchange(buffer_slice(&lines));
    struct slice answer = buffer_slice(&received);
    bool is_there = true;
    if (command->first != NULL) {
        struct slice line = take_line(&answer);
        int64_t number = -1;
        if (!decimal_parse(line, &number) || number < 0 || (has_key && number > 1)) {
            refuse(line);
        }
        is_there = !has_key || number == 1;
    }
    if (command->answer == WORDS || command->answer == PAIRS) {
        return take_lines(answer, command->answer, command->most > 0);
    }
    struct slice line = take_line(&answer);
    if (answer.length > 0) {
        refuse(SLICE_LITERAL(""));
    }
    return take_one(line, command->answer, is_there);
}

static const struct command *find_command(const char *name, int word_count)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0 && word_count >= commands[i].least &&
            word_count <= commands[i].most) {
            return &commands[i];
        }
    }
    give_up("%s: no such command with so many words; see kv -h", name);
}

static int64_t number_of(const char *text, const char *what, int64_t max)
{
    int64_t number = 0;
    if (!decimal_parse(slice_of_text(text), &number) || number < 1 || number > max) {
        give_up("%s: %s is a number from 1 to %lld", text, what, (long long)max);
    }
    return number;
}

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' ? otherwise : value;
}

/*
 * Where standard input, output or errors are closed, something takes their place that
 * cannot be used so: a socket in it would be taken for them.
 */
static void fill_standard_places(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            exit(EXIT_TROUBLE);
        }
    }
}

/* What was printed must have got through. */
static int end(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        give_up("cannot write to standard output: %s", strerror(errno));
    }
    return status;
}

int main(int argc, char **argv)
{
    int option;
    fill_standard_places();
    server.address = from_environment("KV_ADDRESS", "127.0.0.1");
    server.port = from_environment("KV_PORT", "7878");
    server.patience_s = 5;
    while ((option = getopt(argc, argv, "a:p:t:hV")) != -1) {
        if (option == 'a') {
            server.address = optarg;
        } else if (option == 'p') {
            server.port = optarg;
        } else if (option == 't') {
            server.patience_s = number_of(optarg, "-t", SECONDS_MAX);
        } else if (option == 'h' || option == 'V') {
            (void)fputs(option == 'h' ? help : "kv " KV_VERSION "\n", stdout);
            return end(EXIT_YES);
        } else { /* getopt has said why */
            return EXIT_TROUBLE;
        }
    }
    if (optind == argc) {
        give_up("a command is wanted; see kv -h");
    }
    const struct command *command = find_command(argv[optind], argc - optind - 1);
    if (strchr(server.address, '/') == NULL) { /* getaddrinfo takes 73414 for 7878 */
        (void)number_of(server.port, "a port", PORT_MAX);
    }
    return end(run(command, argv + optind + 1));
}
