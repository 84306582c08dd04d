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
#include <getopt.h>
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
    "  -a, --address ADDR  where the server listens, a /path too (KV_ADDRESS, "
    "127.0.0.1)\n"
    "  -p, --port PORT     (KV_PORT, 7878)\n"
    "  -t SECONDS          how long it may say nothing (5)\n"
    "  -h, --help          print this and exit\n"
    "  -V, --version       print the version and exit\n"
    "\n"
    "Exit status: 0 yes, 1 no, 2 anything else, with a line on stderr.\n";

/* What is answered: a line, or lines of which each has a space in it, or none. */
enum answer { VALUE, NUMBER, STATUS, WORDS, PAIRS };

struct command {
    const char *name;
    const char *verb;
    const char *first; /* or NULL; asked before it, on the same connection */
    const char *words; /* as the usage shows them */
    int least;         /* words behind it */
    int most;
    enum answer answer;
    const char *yes; /* the line that is status 0 */
    const char *no;  /* or NULL */
};

static const struct command commands[] = {
    {"get", "GET", "EXISTS", " KEY", 1, 1, VALUE, NULL, "no value stored"},
    {"set", "SET", NULL, " KEY [VALUE]", 1, 2, STATUS, "success", NULL},
    {"add", "ADD", NULL, " KEY [VALUE]", 1, 2, STATUS, "success", "already stored"},
    {"incr", "INCR", NULL, " KEY [NUMBER]", 1, 2, NUMBER, NULL, NULL},
    {"delete", "DELETE", "EXISTS", " KEY", 1, 1, STATUS, "success", NULL},
    {"exists", "EXISTS", NULL, " KEY", 1, 1, STATUS, "1", "0"},
    {"keys", "KEYS", "COUNT", " [PREFIX]", 0, 1, WORDS, NULL, NULL},
    {"list", "LIST", "COUNT", " [PREFIX]", 0, 1, PAIRS, NULL, NULL},
    {"count", "COUNT", NULL, "", 0, 0, NUMBER, NULL, NULL},
    {"stats", "STATS", "COUNT", "", 0, 0, PAIRS, NULL, NULL},
    {"compact", "COMPACT", NULL, "", 0, 0, STATUS, "success", NULL},
    {"sync", "SYNC", NULL, "", 0, 0, STATUS, "success", NULL},
};

static const char *address; /* address, [address], name, or with a slash a path */
static const char *port;
static int64_t patience_s = 5; /* how long the server may say nothing */

/* All that is held, until the end of the program, which is near. */
static struct addrinfo *found;
static struct buffer lines; /* to say */
static struct buffer answer;
static struct buffer list; /* struct slice: lines of the answer */

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
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        give_up("%s: no answer for %d s; what was asked may be done yet", address,
                (int)patience_s);
    }
    const char *reason = strerror(errno);
    bool is_path = strchr(address, '/') != NULL;
    give_up("%s%s%s: %s: %s", address, is_path ? "" : ":", is_path ? "" : port, what,
            reason);
}

/*
 * The addresses of a name; it may have brackets, as the server prints it: [::1]. Nothing
 * of it is passed over: another server may answer to the rest.
 */
static void find_addresses(void)
{
    static struct sockaddr_un path = {.sun_family = AF_UNIX};
    static struct addrinfo of_path = {.ai_family = AF_UNIX,
                                      .ai_addr = (struct sockaddr *)&path,
                                      .ai_addrlen = sizeof path};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    size_t length = strlen(address);
    char name[256];
    if (strchr(address, '/') != NULL) {
        if (length >= sizeof path.sun_path) {
            give_up("%s: too long a path for a socket", address);
        }
        memcpy(path.sun_path, address, length);
        found = &of_path;
        return;
    }
    bool has_brackets = address[0] == '[' && address[length - 1] == ']';
    (void)snprintf(name, sizeof name, "%.*s", (int)length - (has_brackets ? 2 : 0),
                   address + (has_brackets ? 1 : 0));
    const char *colon = strchr(name, ':');
    if (strpbrk(name, "[]") != NULL || (colon != NULL && colon == strrchr(name, ':'))) {
        give_up("%s: no such address: a port goes into -p, brackets around all else",
                address);
    }
    int error = getaddrinfo(name, port, &hints, &found);
    if (error != 0) {
        give_up("%s:%s: no such address: %s", address, port, gai_strerror(error));
    }
}

static int open_connection(void)
{
    struct timeval patience = {.tv_sec = (time_t)patience_s};
    find_addresses();
    for (const struct addrinfo *a = found; a != NULL;
         a = errno == EINTR ? a : a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM, 0);
        if (fd >= 0 &&
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
            connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
            return fd;
        }
        if (errno == EINPROGRESS || errno == EAGAIN) {
            give_up("%s: no connection for %d s; nothing was asked", address,
                    (int)patience_s);
        }
        if (errno == EINTR) { /* we were stopped; whether it goes on depends: anew */
            (void)close(fd);
            errno = EINTR;
        }
    }
    give_up_connection("cannot connect");
}

/* Say the lines, and take all that is answered. */
static void exchange(void)
{
    struct slice rest = buffer_slice(&lines);
    uint8_t bytes[PIECE_BYTES];
    ssize_t count = 1;
    int fd = open_connection();
    /* A server that has heard enough may end while we speak; its answer says why. */
    while (rest.length > 0 && (count > 0 || errno == EINTR)) {
        count = send(fd, rest.bytes, rest.length, MSG_NOSIGNAL);
        rest = slice_after(rest, count > 0 ? (size_t)count : 0);
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
}

/* ---- What is said ---- */

/* Append standard input, less one LF at its end. */
static void put_input(void)
{
    uint8_t bytes[PIECE_BYTES];
    size_t count;
    size_t start = lines.length;
    while ((count = fread(bytes, 1, sizeof bytes, stdin)) > 0) {
        put(&lines, (struct slice){bytes, count});
    }
    if (ferror(stdin)) {
        give_up("cannot read standard input: %s", strerror(errno));
    }
    if (lines.length > start && lines.bytes[lines.length - 1] == '\n') {
        lines.length--;
    }
}

static bool is_one_word(const char *text)
{
    return text[0] != '\0' && strpbrk(text, " \n") == NULL;
}

/* A verb and the words behind it, up to a NULL; the value of a store may be no word. */
static void put_line(const char *verb, char **words, bool is_store)
{
    size_t start = lines.length;
    put(&lines, slice_of_text(verb));
    for (int i = 0; words[i] != NULL; i++) {
        bool is_value = is_store && i == 1;
        if (!is_value && !is_one_word(words[i])) {
            give_up("a key, prefix or number is one word, without a space or a line's "
                    "end");
        }
        put(&lines, SLICE_LITERAL(" "));
        put(&lines, slice_of_text(words[i]));
    }
    if (is_store && words[1] == NULL) {
        put(&lines, SLICE_LITERAL(" "));
        put_input();
    }
    struct slice line = slice_after(buffer_slice(&lines), start);
    if (memchr(line.bytes, '\n', line.length) != NULL ||
        memchr(line.bytes, 0, line.length) != NULL || !utf8_is_valid(line)) {
        give_up("words are one line of UTF-8 without NUL; encode others, as with base64");
    }
    /* A line drops one CR at its end, so what ends in one gets another. */
    bool ends_in_cr = line.bytes[line.length - 1] == '\r';
    put(&lines, ends_in_cr ? SLICE_LITERAL("\r\n") : SLICE_LITERAL("\n"));
}

/* ---- What is answered ---- */

/* The next line; there must be one, and its end. */
static struct slice take_line(struct slice *rest)
{
    const uint8_t *end =
        rest->length == 0 ? NULL : memchr(rest->bytes, '\n', rest->length);
    if (end == NULL) {
        give_up(rest->length == 0 ? "the server ended without an answer"
                                  : "the answer is cut off");
    }
    struct slice line = slice_first(*rest, (size_t)(end - rest->bytes));
    *rest = slice_after(*rest, line.length + 1);
    return line;
}

static bool is_text(struct slice line, const char *text)
{
    return text != NULL && slice_equal(line, slice_of_text(text));
}

static bool is_error(struct slice line)
{
    return slice_starts_with(line, SLICE_LITERAL("error: "));
}

_Noreturn static void refuse(struct slice line)
{
    if (!is_error(line)) {
        give_up("this is not the answer of a kv-store");
    }
    line = slice_after(line, sizeof "error: " - 1);
    give_up("%.*s", (int)(line.length < SHOWN_MAX ? line.length : SHOWN_MAX),
            (const char *)line.bytes);
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
static int take_one(const struct command *command, struct slice line, bool is_there)
{
    int64_t number;
    bool is_value = (command->answer == VALUE && is_there && !is_failure(line)) ||
                    (command->answer == NUMBER && decimal_parse(line, &number));
    bool is_no = is_text(line, command->no) && !(command->answer == VALUE && is_there);
    if (!is_value && !is_no && !is_text(line, command->yes)) {
        refuse(line);
    }
    if (is_value) {
        print_line(line);
    }
    return is_no || !is_there ? EXIT_NO : EXIT_YES;
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
static int take_lines(const struct command *command, struct slice rest)
{
    struct slice line = take_line(&rest);
    struct slice failure = {0};
    for (; rest.length > 0; line = take_line(&rest)) {
        bool has_space = line.length > 0 && memchr(line.bytes, ' ', line.length) != NULL;
        if (line.length > 0 && has_space == (command->answer == PAIRS)) {
            put(&list, (struct slice){(const void *)&line, sizeof line});
        } else if (is_error(line)) {
            failure = line;
        } else {
            refuse(line);
        }
    }
    failure = line.length > 0 ? line : failure;
    if (line.length > 0 && !is_error(line)) {
        give_up("the answer is cut off");
    }
    struct slice *first = (struct slice *)(void *)list.bytes;
    size_t count = list.length / sizeof *first;
    if (command->most > 0 && count > 0) {
        qsort(first, count, sizeof *first, by_bytes);
    }
    for (size_t i = 0; i < count; i++) {
        print_line(first[i]);
    }
    if (failure.length > 0) {
        (void)fflush(stdout); /* what there is, and then why it is not all */
        refuse(failure);
    }
    return EXIT_YES;
}

/* ---- Commands ---- */

/* words: with a NULL behind the last. */
static int run(const struct command *command, char **words)
{
    int64_t count = 1;
    bool has_key = command->least > 0;
    if (command->first != NULL) {
        put_line(command->first, (char *[]){has_key ? words[0] : NULL, NULL}, false);
    }
    put_line(command->verb, words, command->most == 2 && command->answer == STATUS);
    exchange();
    struct slice rest = buffer_slice(&answer);
    if (command->first != NULL) {
        struct slice line = take_line(&rest);
        if (!decimal_parse(line, &count) || count < 0 || (has_key && count > 1)) {
            refuse(line);
        }
    }
    if (command->answer == WORDS || command->answer == PAIRS) {
        return take_lines(command, rest);
    }
    struct slice line = take_line(&rest);
    if (rest.length > 0) {
        refuse(SLICE_LITERAL(""));
    }
    return take_one(command, line, count == 1);
}

static const struct command *find_command(const char *name, int word_count)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct command *command = &commands[i];
        if (strcmp(command->name, name) != 0) {
            continue;
        }
        if (word_count < command->least || word_count > command->most) {
            give_up("usage: kv %s%s; see kv --help", name, command->words);
        }
        return command;
    }
    give_up("%s: no such command; see kv --help", name);
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
    static const struct option long_options[] = {
        {"address", required_argument, NULL, 'a'},
        {"port", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0}};
    int option;
    fill_standard_places();
    address = from_environment("KV_ADDRESS", "127.0.0.1");
    port = from_environment("KV_PORT", "7878");
    opterr = 0; /* there is one line about a failure, and it is ours */
    /* The plus: behind the command, what begins with a minus is a word of it. */
    for (const char *word = argv[optind];
         (option = getopt_long(argc, argv, "+a:p:t:hV", long_options, NULL)) != -1;
         word = argv[optind]) {
        if (option == 'a') {
            address = optarg;
        } else if (option == 'p') {
            port = optarg;
        } else if (option == 't') {
            patience_s = number_of(optarg, "-t", SECONDS_MAX);
        } else if (option == 'h' || option == 'V') {
            (void)fputs(option == 'h' ? help : "kv " KV_VERSION "\n", stdout);
            return end(EXIT_YES);
        } else {
            give_up("%s: no such option, or it lacks its value; see kv --help", word);
        }
    }
    if (optind == argc) {
        give_up("a command is wanted; see kv --help");
    }
    const struct command *command = find_command(argv[optind], argc - optind - 1);
    if (strchr(address, '/') == NULL) { /* getaddrinfo takes 73414 for 7878 */
        (void)number_of(port, "a port", PORT_MAX);
    }
    return end(run(command, argv + optind + 1));
}
