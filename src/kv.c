/*
 * kv: one command to a kv-store, with an exit status. All it shares with the server are
 * words of base/.
 *
 * It says its lines, ends its side, and takes everything until the server ends the
 * other: a reply that is cut off, of whatever length, then shows, and so does a server
 * that is none. What it cannot understand is status 2 and a line on stderr.
 */
#include "ask.h"

#include "base/decimal.h"
#include "base/utf8.h"
#include "base/version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_YES, EXIT_NO, EXIT_TROUBLE = ASK_TROUBLE };
enum { RECEIVE_BYTES = 65536, SECONDS_MAX = 1000000, PORT_MAX = 65535 };

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

/* What is answered; STORED: to a command whose value may stand on standard input. */
enum answer { VALUE, FLAG, STORED, SUCCESS, NUMBER, KEYS, PAIRS, STATS };

struct command {
    const char *name;
    const char *verb;
    int least; /* words behind it */
    int most;
    const char *first; /* or NULL; asked before it, on the same connection */
    enum answer answer;
};

static const struct command commands[] = {
    {"get", "GET", 1, 1, "EXISTS", VALUE},
    {"set", "SET", 1, 2, NULL, STORED},
    {"add", "ADD", 1, 2, NULL, STORED},
    {"incr", "INCR", 1, 2, NULL, NUMBER},
    {"delete", "DELETE", 1, 1, "EXISTS", SUCCESS},
    {"exists", "EXISTS", 1, 1, NULL, FLAG},
    {"keys", "KEYS", 0, 1, "COUNT", KEYS},
    {"list", "LIST", 0, 1, "COUNT", PAIRS},
    {"count", "COUNT", 0, 0, NULL, NUMBER},
    {"stats", "STATS", 0, 0, NULL, STATS},
    {"compact", "COMPACT", 0, 0, NULL, SUCCESS},
    {"sync", "SYNC", 0, 0, NULL, SUCCESS},
};

/* ---- What is said ---- */

static void check_word(const char *what, const char *word)
{
    if (word[0] == '\0' || strpbrk(word, " \n") != NULL) {
        ask_give_up("%s must be one word, without a space or a line's end", what);
    }
}

/* Append standard input, less one LF at its end. */
static void put_input(struct buffer *lines)
{
    uint8_t bytes[RECEIVE_BYTES];
    size_t count;
    size_t start = lines->length;
    while ((count = fread(bytes, 1, sizeof bytes, stdin)) > 0) {
        ask_put(lines, (struct slice){bytes, count});
    }
    if (ferror(stdin)) {
        ask_give_up("cannot read standard input: %s", strerror(errno));
    }
    if (lines->length > start && lines->bytes[lines->length - 1] == '\n') {
        lines->length--;
    }
}

/* The command's line; what is stored may stand on standard input. */
static void put_request(struct buffer *lines, const struct command *command, char **words)
{
    size_t start = lines->length;
    bool is_store = command->answer == STORED;
    ask_put(lines, slice_of_text(command->verb));
    for (int i = 0; i < 2 && words[i] != NULL; i++) {
        if (i == 0 || !is_store) {
            check_word(i == 1                ? "a number"
                       : command->least == 0 ? "a prefix"
                                             : "a key",
                       words[i]);
        }
        ask_put(lines, SLICE_LITERAL(" "));
        ask_put(lines, slice_of_text(words[i]));
        if (is_store && words[1] == NULL) {
            ask_put(lines, SLICE_LITERAL(" "));
            put_input(lines);
        }
    }
    struct slice line = slice_after(buffer_slice(lines), start);
    if (memchr(line.bytes, '\n', line.length) != NULL ||
        memchr(line.bytes, 0, line.length) != NULL || !utf8_is_valid(line)) {
        ask_give_up(
            "words are one line of UTF-8 without NUL; encode others, as with base64");
    }
    /* A line drops one CR at its end, so what ends in one gets another. */
    ask_put(lines, lines->bytes[lines->length - 1] == '\r' ? SLICE_LITERAL("\r\n")
                                                           : SLICE_LITERAL("\n"));
}

/* ---- What is answered ---- */

/* The next line; there must be one, and its end. */
static struct slice take_line(struct slice *answer)
{
    size_t length = 0;
    while (length < answer->length && answer->bytes[length] != '\n') {
        length++;
    }
    if (length == answer->length) {
        ask_give_up(length == 0 ? "the server ended without an answer"
                                : "the answer is cut off");
    }
    struct slice line = slice_first(*answer, length);
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
        ask_give_up("%.*s", (int)(line.length < 200 ? line.length : 200),
                    (const char *)line.bytes);
    }
    ask_give_up("this is not the answer of a kv-store");
}

/* The last line, behind which nothing may come. */
static struct slice take_last_line(struct slice answer)
{
    struct slice line = take_line(&answer);
    if (answer.length > 0) {
        refuse(SLICE_LITERAL(""));
    }
    return line;
}

static void print_line(struct slice line)
{
    (void)fwrite(line.bytes, 1, line.length, stdout); /* failures show at the end */
    (void)putchar('\n');
}

/* The reply to EXISTS: whether the key has a value. */
static bool is_one(struct slice line)
{
    if (!is_text(line, "1") && !is_text(line, "0")) {
        refuse(line);
    }
    return is_text(line, "1");
}

/* The reply to COUNT: only a kv-store's empty line says that there is nothing. */
static void check_count(struct slice line)
{
    int64_t number;
    if (!decimal_parse(line, &number) || number < 0) {
        refuse(line);
    }
}

static int take_value(struct slice answer, bool is_there)
{
    struct slice line = take_last_line(answer);
    bool is_failure =
        is_text(line, "error: corrupt value") || is_text(line, "error: storage failed") ||
        is_text(line, "error: out of memory") || is_text(line, "error: idle too long");
    if (is_there ? is_failure : !is_text(line, "no value stored")) {
        refuse(line);
    }
    if (is_there) {
        print_line(line);
    }
    return is_there ? EXIT_YES : EXIT_NO;
}

/* The reply to a write, or to SYNC and COMPACT. */
static int take_success(struct slice answer)
{
    struct slice line = take_last_line(answer);
    if (!is_text(line, "success") && !is_text(line, "already stored")) {
        refuse(line);
    }
    return is_text(line, "success") ? EXIT_YES : EXIT_NO;
}

static int take_number(struct slice answer)
{
    int64_t number;
    struct slice line = take_last_line(answer);
    if (!decimal_parse(line, &number)) {
        refuse(line);
    }
    print_line(line);
    return EXIT_YES;
}

static int by_bytes(const void *a, const void *b)
{
    const struct slice *one = a;
    const struct slice *other = b;
    bool is_longer = one->length > other->length;
    size_t length = is_longer ? other->length : one->length;
    int order = length == 0 ? 0 : memcmp(one->bytes, other->bytes, length);
    return order != 0 || one->length == other->length ? order : is_longer ? 1 : -1;
}

/*
 * Lines, of which the last is empty, or says why something is missing. values: each has a
 * space in it; keys have none, and an error among them is one of theirs.
 */
static int take_lines(struct slice answer, bool are_values, bool is_sorted)
{
    struct buffer lines = {0};
    struct slice line = take_line(&answer);
    struct slice failure = {0};
    while (answer.length > 0) {
        bool has_space = line.length > 0 && memchr(line.bytes, ' ', line.length) != NULL;
        if (!are_values && slice_starts_with(line, SLICE_LITERAL("error: "))) {
            failure = line;
        } else if (line.length == 0 || has_space != are_values) {
            refuse(line);
        } else {
            ask_put(&lines, (struct slice){(const void *)&line, sizeof line});
        }
        line = take_line(&answer);
    }
    struct slice *list = (struct slice *)(void *)lines.bytes;
    size_t count = lines.length / sizeof *list;
    if (are_values && !is_sorted && count == 0) {
        refuse(line); /* no STATS is empty */
    }
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

static const struct command *find_command(const char *name, int word_count)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0 && word_count >= commands[i].least &&
            word_count <= commands[i].most) {
            return &commands[i];
        }
    }
    ask_give_up("%s: no such command with so many words; see kv -h", name);
}

/* words: end with a NULL. */
static int run(const struct ask_server *server, const struct command *command,
               char **words)
{
    const struct command first = {.verb = command->first, .least = command->least};
    bool has_key = command->least > 0;
    char *key[] = {has_key ? words[0] : NULL, NULL};
    struct buffer lines = {0};
    if (command->first != NULL) {
        put_request(&lines, &first, key);
    }
    put_request(&lines, command, words);
    struct buffer received = ask_server(server, &lines);
    struct slice answer = buffer_slice(&received);
    bool is_there = true;
    if (command->first != NULL && has_key) {
        is_there = is_one(take_line(&answer));
    } else if (command->first != NULL) {
        check_count(take_line(&answer));
    }
    switch (command->answer) {
    case VALUE:
        return take_value(answer, is_there);
    case FLAG:
        return is_one(take_last_line(answer)) ? EXIT_YES : EXIT_NO;
    case NUMBER:
        return take_number(answer);
    case KEYS:
    case PAIRS:
    case STATS:
        return take_lines(answer, command->answer != KEYS, command->answer != STATS);
    case SUCCESS:
    case STORED:
        break;
    }
    int status = take_success(answer);
    return is_there ? status : EXIT_NO;
}

static int seconds_of(const char *text)
{
    int64_t seconds = 0;
    if (!decimal_parse(slice_of_text(text), &seconds) || seconds < 1 ||
        seconds > SECONDS_MAX) {
        ask_give_up("-t %s: a number of seconds is meant; see kv -h", text);
    }
    return (int)seconds;
}

/* getaddrinfo would take 73414 for 7878. */
static void check_port(const char *text)
{
    int64_t port = 0;
    if (!decimal_parse(slice_of_text(text), &port) || port < 1 || port > PORT_MAX) {
        ask_give_up("%s: a port is a number from 1 to 65535", text);
    }
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

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' ? otherwise : value;
}

/* What was printed must have got through. */
static int end(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        ask_give_up("cannot write to standard output: %s", strerror(errno));
    }
    return status;
}

int main(int argc, char **argv)
{
    struct ask_server server = {.address = from_environment("KV_ADDRESS", "127.0.0.1"),
                                .port = from_environment("KV_PORT", "7878"),
                                .patience_s = 5};
    int option;
    fill_standard_places();
    while ((option = getopt(argc, argv, "a:p:t:hV")) != -1) {
        switch (option) {
        case 'a':
            server.address = optarg;
            break;
        case 'p':
            server.port = optarg;
            break;
        case 't':
            server.patience_s = seconds_of(optarg);
            break;
        case 'h':
        case 'V':
            (void)fputs(option == 'h' ? help : "kv " KV_VERSION "\n", stdout);
            return end(EXIT_YES);
        default: /* getopt has said why */
            return EXIT_TROUBLE;
        }
    }
    if (optind == argc) {
        ask_give_up("a command is wanted; see kv -h");
    }
    const struct command *command = find_command(argv[optind], argc - optind - 1);
    if (strchr(server.address, '/') == NULL) {
        check_port(server.port);
    }
    /* A NULL follows the last word. */
    return end(run(&server, command, argv + optind + 1));
}
