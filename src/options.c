/*
 * getopt_long and the reading of numbers.
 */
#include "options.h"

#include "base/bounds.h"
#include "base/diag.h"
#include "base/version.h"
#include "file/files.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT_MAX UINT64_C(65535)

static const char help_text[] =
    "Usage: kv-store [OPTION]...\n"
    "A durable key-value store that you talk to with nc.\n"
    "\n"
    "  -f, --file PATH        the log file (default ./kv.log)\n"
    "  -a, --address ADDR     address, host name or /path of a socket to listen on; may "
    "be\n"
    "                         repeated (default 127.0.0.1)\n"
    "  -p, --port PORT        TCP port; 0 picks a free one (default 7878)\n"
    "  -s, --sync WHEN        always | everysec (default always)\n"
    "      --idle SECONDS     how long an idle client may keep others waiting (default "
    "10)\n"
    "      --max-value BYTES  largest value accepted; K, M, G: powers of 1024 (default "
    "64M)\n"
    "      --verify           read the whole log, report, change nothing, exit\n"
    "      --salvage NEW      copy everything provably intact to a new log NEW, exit\n"
    "      --dump[=FORMAT]    print the live data and exit: set (SET lines, the "
    "default)\n"
    "                         or resp (for redis-cli --pipe)\n"
    "      --follow[=FORMAT]  print every change from the start of the log on, and go on "
    "as\n"
    "                         changes are made; beside a running server too\n"
    "  -h, --help             print this and exit\n"
    "  -V, --version          print the version and exit\n"
    "\n"
    "Exit status: 0 clean stop, 1 failure, 2 wrong usage, 3 the log is corrupt,\n"
    "4 --follow fell behind.\n";

/* Options without a letter of their own. */
enum {
    OPTION_IDLE = 256,
    OPTION_MAX_VALUE,
    OPTION_VERIFY,
    OPTION_SALVAGE,
    OPTION_DUMP,
    OPTION_FOLLOW
};

static const struct option long_options[] = {
    {"file", required_argument, NULL, 'f'},
    {"address", required_argument, NULL, 'a'},
    {"port", required_argument, NULL, 'p'},
    {"sync", required_argument, NULL, 's'},
    {"idle", required_argument, NULL, OPTION_IDLE},
    {"max-value", required_argument, NULL, OPTION_MAX_VALUE},
    {"verify", no_argument, NULL, OPTION_VERIFY},
    {"salvage", required_argument, NULL, OPTION_SALVAGE},
    {"dump", optional_argument, NULL, OPTION_DUMP},
    {"follow", optional_argument, NULL, OPTION_FOLLOW},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* Decimal digits, and behind them one of these units, which are powers of 1024. */
static bool read_number(const char *text, const char *units, uint64_t max,
                        uint64_t *number_out)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > (max - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    const char *unit = *at == '\0' ? NULL : strchr(units, *at);
    size_t power = unit == NULL ? 0 : (size_t)(unit - units) + 1;
    const char *end = unit == NULL ? at : at + 1;
    *number_out = number << 10 * power;
    return at != text && *end == '\0' && number <= max >> 10 * power;
}

/* What the log beside it may take for its own is no name for another one. */
static bool set_path(const char **path, const char *option, const char *text)
{
    *path = text;
    if (files_is_side_name(text)) {
        diag_errorx("%s takes no name that a side file of a log has: %s", option, text);
        return false;
    }
    return true;
}

static bool set_sync(struct options *options, const char *name)
{
    bool is_always = strcmp(name, "always") == 0;
    if (!is_always && strcmp(name, "everysec") != 0) {
        diag_errorx("--sync takes always or everysec, not: %s", name);
        return false;
    }
    options->store.sync = is_always ? SYNC_ALWAYS : SYNC_EVERYSEC;
    return true;
}

static bool add_address(struct listener_options *options, const char *text)
{
    if (text[0] == '\0' || options->address_count == LISTENERS_MAX) {
        diag_errorx("--address takes an address, a name or a path, %d times at most",
                    LISTENERS_MAX);
        return false;
    }
    options->addresses[options->address_count++] = text;
    return true;
}

static bool set_port(struct options *options, const char *text)
{
    uint64_t port = 0;
    options->server.listener.port = text;
    if (!read_number(text, "", PORT_MAX, &port)) {
        diag_errorx("--port takes a number from 0 to 65535, not: %s", text);
        return false;
    }
    return true;
}

static bool set_idle(struct options *options, const char *text)
{
    uint64_t seconds = 0;
    if (!read_number(text, "", CLIENT_IDLE_S_MAX, &seconds) || seconds == 0) {
        diag_errorx("--idle takes seconds from 1 to %llu, not: %s",
                    (unsigned long long)CLIENT_IDLE_S_MAX, text);
        return false;
    }
    options->server.session.idle_ms = seconds * 1000;
    return true;
}

static bool set_max_value(struct options *options, const char *text)
{
    uint64_t bytes = 0;
    if (!read_number(text, "KMG", VALUE_BYTES_MAX, &bytes) || bytes == 0) {
        diag_errorx(
            "--max-value takes bytes from 1 to %llu, K, M or G behind them, not: %s",
            (unsigned long long)VALUE_BYTES_MAX, text);
        return false;
    }
    options->server.session.value_bytes_max = bytes;
    return true;
}

static bool set_mode(struct options *options, enum mode mode)
{
    if (options->mode != MODE_SERVE && options->mode != mode) {
        diag_errorx(
            "only one of --verify, --salvage, --dump and --follow can be done at a time");
        return false;
    }
    options->mode = mode;
    return true;
}

/* format: NULL if there is none. */
static bool set_printing(struct options *options, enum mode mode, const char *format)
{
    bool is_set = format == NULL || strcmp(format, "set") == 0;
    if (!is_set && strcmp(format, "resp") != 0) {
        diag_errorx("%s takes =set or =resp, not: %s",
                    mode == MODE_DUMP ? "--dump" : "--follow", format);
        return false;
    }
    options->format = is_set ? LINES_SET : LINES_RESP;
    return set_mode(options, mode);
}

static bool set_option(struct options *options, int option)
{
    switch (option) {
    case 'f':
        return set_path(&options->store.path, "--file", optarg);
    case 'a':
        return add_address(&options->server.listener, optarg);
    case 'p':
        return set_port(options, optarg);
    case 's':
        return set_sync(options, optarg);
    case OPTION_IDLE:
        return set_idle(options, optarg);
    case OPTION_MAX_VALUE:
        return set_max_value(options, optarg);
    case OPTION_VERIFY:
        return set_mode(options, MODE_VERIFY);
    case OPTION_SALVAGE:
        return set_path(&options->salvage_path, "--salvage", optarg) &&
               set_mode(options, MODE_SALVAGE);
    case OPTION_DUMP:
        return set_printing(options, MODE_DUMP, optarg);
    case OPTION_FOLLOW:
        return set_printing(options, MODE_FOLLOW, optarg);
    default:
        return false; /* getopt_long has said what is wrong */
    }
}

static enum options_result answer(const char *text)
{
    if (fputs(text, stdout) < 0 || fflush(stdout) != 0) {
        diag_error("standard output: cannot write the answer; giving up");
        return OPTIONS_FAILED;
    }
    return OPTIONS_DONE;
}

/* What is wrong was said. */
static enum options_result refuse(void)
{
    diag_errorx("see kv-store --help");
    return OPTIONS_WRONG;
}

enum options_result options_parse(int argc, char **argv, struct options *options_out)
{
    int option;
    *options_out = (struct options){
        .store = {.path = "./kv.log", .sync = SYNC_ALWAYS},
        .server = {.listener = {.port = "7878"},
                   .session = {.idle_ms = CLIENT_IDLE_S_DEFAULT * 1000,
                               .value_bytes_max = VALUE_BYTES_MAX_DEFAULT}},
    };
    while ((option = getopt_long(argc, argv, "f:a:p:s:hV", long_options, NULL)) != -1) {
        if (option == 'h') {
            return answer(help_text);
        }
        if (option == 'V') {
            return answer("kv-store " KV_VERSION "\n");
        }
        if (!set_option(options_out, option)) {
            return refuse();
        }
    }
    if (optind < argc) {
        diag_errorx("takes no arguments, only options: %s", argv[optind]);
        return refuse();
    }
    if (options_out->server.listener.address_count == 0) {
        (void)add_address(&options_out->server.listener, "127.0.0.1"); /* there is room */
    }
    return OPTIONS_RUN;
}
