/*
 * The command line: what each option sets, and what is refused.
 */
#include "options.h"

#include "base/bounds.h"
#include "support/engine.h"
#include "support/redirect.h"
#include "support/unit.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARGUMENTS_MAX = 8 };

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* getopt keeps its place between calls: 0 makes it begin anew (glibc, musl, BSD: 1). */
static enum options_result parse(const char *const *arguments, struct options *options)
{
    static char copies[ARGUMENTS_MAX][256];
    static char *argv[ARGUMENTS_MAX + 1];
    int argc = 1;
    (void)snprintf(copies[0], sizeof copies[0], "kv-store");
    argv[0] = copies[0];
    for (size_t i = 0; arguments[i] != NULL; i++) {
        assert_in_range(argc, 1, ARGUMENTS_MAX - 1);
        (void)snprintf(copies[argc], sizeof copies[argc], "%s", arguments[i]);
        argv[argc] = copies[argc];
        argc++;
    }
    argv[argc] = NULL;
    optind = 0;
    return options_parse(argc, argv, options);
}

static struct options parsed(const char *const *arguments)
{
    struct options options;
    assert_int_equal(parse(arguments, &options), OPTIONS_RUN);
    return options;
}

/* What a command line comes to, which must be right. */
#define PARSED(...) parsed((const char *const[]){__VA_ARGS__, NULL})

static void options_have_defaults(void **state)
{
    (void)state;
    struct options options = PARSED(NULL);
    assert_int_equal(options.mode, MODE_SERVE);
    assert_string_equal(options.store.path, "./kv.log");
    assert_int_equal(options.store.sync, SYNC_ALWAYS);
    assert_string_equal(options.server.listener.addresses[0], "127.0.0.1");
    assert_string_equal(options.server.listener.port, "7878");
    assert_int_equal(options.server.session.idle_ms, 10000);
    assert_int_equal(options.server.session.value_bytes_max, 64 * MIB);
}

static void options_take_every_value(void **state)
{
    (void)state;
    const char *const forms[][ARGUMENTS_MAX + 1] = {
        {"-f", "/x/log", "-a", "::1", "-p", "0", "-severysec", NULL},
        {"--file=/x/log", "--address=::1", "--port=0", "--sync=everysec", NULL},
        {"--file", "/x/log", "--address", "::1", "-p0", "--sync", "everysec", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        struct options options = parsed(forms[i]);
        assert_string_equal(options.store.path, "/x/log");
        assert_string_equal(options.server.listener.addresses[0], "::1");
        assert_string_equal(options.server.listener.port, "0");
        assert_int_equal(options.store.sync, SYNC_EVERYSEC);
    }
}

static void options_choose_what_is_done(void **state)
{
    (void)state;
    assert_int_equal(PARSED("--verify").mode, MODE_VERIFY);
    assert_int_equal(PARSED("--verify", "--verify").mode, MODE_VERIFY);
    assert_int_equal(PARSED("--follow").mode, MODE_FOLLOW);
    assert_int_equal(PARSED("--follow").format, LINES_SET);
    assert_int_equal(PARSED("--follow=resp").format, LINES_RESP);
    assert_int_equal(PARSED("--dump").mode, MODE_DUMP);
    assert_int_equal(PARSED("--dump").format, LINES_SET);
    assert_int_equal(PARSED("--dump=set").format, LINES_SET);
    assert_int_equal(PARSED("--dump=resp").format, LINES_RESP);
    struct options options = PARSED("--salvage", "/x/new", "-f", "/x/log");
    assert_int_equal(options.mode, MODE_SALVAGE);
    assert_string_equal(options.salvage_path, "/x/new");
    assert_string_equal(options.store.path, "/x/log");
}

static void f85_options_take_numbers_up_to_their_limits(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {
        {"1", 1},    {"1024", 1024},
        {"1K", KIB}, {"3M", 3 * MIB},
        {"1G", GIB}, {"4294967295", VALUE_BYTES_MAX},
        {"007", 7},  {"4194303K", 4194303 * KIB},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct options options = PARSED("--max-value", sizes[i].text);
        assert_int_equal(options.server.session.value_bytes_max, sizes[i].bytes);
    }
    assert_int_equal(PARSED("--idle", "1").server.session.idle_ms, 1000);
    assert_int_equal(PARSED("--idle", "1000000").server.session.idle_ms, 1000000000);
    struct options options = PARSED("--port", "65535");
    assert_string_equal(options.server.listener.port, "65535");
}

/* A log is never put where another one keeps its side files. */
static void f100_options_refuse_the_names_of_side_files(void **state)
{
    struct engine *engine = *state;
    const char *const refused[] = {
        "/x/kv.log.lock",      "kv.log.new",
        "./kv.log.old",        "/x.d/kv.log.index",
        "kv.log.torn.104",     "kv.log.torn.7.12",
        "a.torn.1.torn.32",    ".new",
        "kv.log.torn.x/y.new",
    };
    const char *const taken[] = {
        "kv.log",       "new",       "kv.new.log",       "kv.log.old/kv.log",
        "kv.log.torn.", "kv.log.1",  "kv.log.torn.1.gz", "kv.log.torn",
        "index",        "kv.log.ol",
    };
    struct options options;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        const char *const file[] = {"--file", refused[i], NULL};
        const char *const salvage[] = {"--salvage", refused[i], NULL};
        char line[256];
        engine_forget_messages(engine);
        assert_int_equal(parse(file, &options), OPTIONS_WRONG);
        assert_int_equal(parse(salvage, &options), OPTIONS_WRONG);
        (void)snprintf(line, sizeof line, "a side file of a log has: %s", refused[i]);
        assert_int_equal(engine_told(engine, line), 2);
    }
    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        (void)PARSED("--file", taken[i]);
    }
}

/* Each is refused with one line that names what was wrong. */
static void f85_options_refuse_what_is_wrong(void **state)
{
    struct engine *engine = *state;
    static const struct {
        const char *option;
        const char *values[10]; /* up to the first NULL, and none at all if it is that */
    } wrong[] = {
        {"--port",
         {"-1", "65536", "70000", "", "12x", " 12", "+12", "http",
          "18446744073709551617"}},
        {"--sync", {"never", "", "ALWAYS"}},
        {"--idle", {"0", "1000001", "-1", "1.5", ""}},
        {"--max-value",
         {"", "K", "-1", "4G", "4294967296", "1T", "1KB", "1k", "18446744073709551616",
          "18014398509481985K"}},
        {"--", {"argument"}},
        {"--nonsense", {NULL}},
        {"-x", {NULL}},
        {"--dump=json", {NULL}},
        {"--salvage", {NULL}},
        {"--port", {NULL}},
        {"--file", {NULL}},
        {"argument", {NULL}},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        for (size_t k = 0; k == 0 || (k < 10 && wrong[i].values[k] != NULL); k++) {
            const char *const arguments[] = {wrong[i].option, wrong[i].values[k], NULL};
            struct options options;
            engine_forget_messages(engine);
            assert_int_equal(parse(arguments, &options), OPTIONS_WRONG);
            assert_int_equal(engine_told(engine, ""), 2);
            assert_int_equal(engine_told(engine, "see kv-store --help"), 1);
        }
    }
}

static void options_say_what_they_take_instead(void **state)
{
    struct engine *engine = *state;
    static const struct {
        const char *line; /* as engine_expect_line takes it */
        const char *const arguments[4];
    } refusals[] = {
        {.line = "--port takes a number from 0 to 65535, not: 65536",
         .arguments = {"--port", "65536"}},
        {.line = "--file takes no name that a side file of a log has: kv.log.old",
         .arguments = {"--file", "kv.log.old"}},
        {.line = "--salvage takes no name that a side file of a log has: kv.log.new",
         .arguments = {"--salvage", "kv.log.new"}},
        {.line = "--sync takes always or everysec, not: never",
         .arguments = {"--sync", "never"}},
        {.line = "--idle takes seconds from 1 to 1000000, not: 0",
         .arguments = {"--idle", "0"}},
        {.line = "--max-value takes bytes from 1 to 4294967295, K, M or G behind them, "
                 "not: 4G",
         .arguments = {"--max-value", "4G"}},
        {.line = "--max-value takes bytes from 1 to 4294967295, K, M or G behind them, "
                 "not: 0",
         .arguments = {"--max-value", "0"}},
        {.line = "--dump takes =set or =resp, not: json", .arguments = {"--dump=json"}},
        {.line = "--follow takes =set or =resp, not: 1", .arguments = {"--follow=1"}},
        {.line =
             "only one of --verify, --salvage, --dump and --follow can be done at a time",
         .arguments = {"--verify", "--dump"}},
        {.line =
             "only one of --verify, --salvage, --dump and --follow can be done at a time",
         .arguments = {"--verify", "--salvage", "new.log"}},
        {.line = "--address takes an address, a name or a path, 16 times at most",
         .arguments = {"--address", ""}},
        {.line = "takes no arguments, only options: argument", .arguments = {"argument"}},
    };
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct options options;
        engine_forget_messages(engine);
        assert_int_equal(parse(refusals[i].arguments, &options), OPTIONS_WRONG);
        engine_expect_line(engine, refusals[i].line, 0, 0);
        engine_expect_line(engine, "see kv-store --help", 0, 0);
    }
}

/* What a call writes to stdout; the file is removed with the directory. */
static struct script answer_of(const struct engine *engine, const char *option)
{
    struct options options;
    struct script answer = {0};
    struct tempdir_file file = engine_file(engine, ".stdout");
    const char *const arguments[] = {option, NULL};
    int kept_fd = redirect_begin(stdout, file.path);
    enum options_result result = parse(arguments, &options);
    redirect_end(stdout, kept_fd);
    assert_int_equal(result, OPTIONS_DONE);
    script_add_file(&answer, file.path);
    script_add(&answer, (struct slice){(const uint8_t *)"", 1}); /* ends the text */
    return answer;
}

static void options_answer_help_and_version_on_stdout(void **state)
{
    const char *const named[] = {"--file", "--address",   "--port", "--sync",
                                 "--idle", "--max-value", "--help", "--version"};
    const char *const asked[] = {"-h", "--help", "-V", "--version"};
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        struct script answer = answer_of(*state, asked[i]);
        const char *text = (const char *)answer.bytes;
        for (size_t j = 0; i < 2 && j < COUNT_OF(named); j++) {
            assert_non_null(strstr(text, named[j]));
        }
        if (i >= 2) {
            assert_memory_equal(text, "kv-store ", 9);
        }
        assert_int_equal(text[answer.length - 2], '\n');
        script_free(&answer);
    }
    assert_int_equal(engine_told(*state, ""), 0);
}

/* Neither where each byte is written at once nor where it is when all is there. */
static void options_do_not_claim_an_answer_that_nobody_got(void **state)
{
    const int modes[] = {_IOFBF, _IONBF};
    static char buffer[BUFSIZ];
    const char *const version[] = {"--version", NULL};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        struct options options;
        int kept_fd = redirect_begin(stdout, "/dev/full");
        assert_int_equal(setvbuf(stdout, buffer, modes[i], sizeof buffer), 0);
        enum options_result result = parse(version, &options);
        redirect_end(stdout, kept_fd);
        assert_int_equal(setvbuf(stdout, buffer, _IOLBF, sizeof buffer), 0);
        assert_int_not_equal(result, OPTIONS_DONE);
        assert_int_not_equal(result, OPTIONS_RUN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_have_defaults),
        cmocka_unit_test(options_take_every_value),
        cmocka_unit_test(options_choose_what_is_done),
        cmocka_unit_test(f85_options_take_numbers_up_to_their_limits),
        ON_ENGINE(f100_options_refuse_the_names_of_side_files),
        ON_ENGINE(f85_options_refuse_what_is_wrong),
        ON_ENGINE(options_say_what_they_take_instead),
        cmocka_unit_test(options_do_not_claim_an_answer_that_nobody_got),
        ON_ENGINE(options_answer_help_and_version_on_stdout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
