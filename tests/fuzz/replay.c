/*
 * The saved inputs of the fuzzers through the same targets, without libFuzzer.
 *
 * Each target works through its inputs in a child, whose output goes to a file: these
 * programs say much about broken logs, and only the last of it before a failure matters.
 */
#include "fuzz/fuzz.h"

#include "support/unit.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the corpus is, seen from the top of the source, unless KV_FUZZ_CORPUS says. */
#define CORPUS "tests/fuzz/corpus"

enum { TOLD_BYTES = 2000, DIRECTORY_BYTES = 512, PATH_BYTES = 1024 };

typedef int runner(const uint8_t *data, size_t size);

/* The saved inputs in a directory of that name. */
struct target {
    const char *name;
    runner *run;
};

/* Run a target on each file of a directory; returns how many there were. */
static int replay_directory(const char *directory, runner *run)
{
    int count = 0;
    struct buffer input = {0};
    DIR *stream = opendir(directory);
    REQUIRE(stream != NULL);
    for (const struct dirent *entry = readdir(stream); entry != NULL;
         entry = readdir(stream)) {
        char path[PATH_BYTES];
        if (entry->d_name[0] == '.') {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        (void)fprintf(stderr, "== %s\n", path);
        fuzz_read(path, &input);
        (void)run(input.bytes, input.length); /* a target returns or aborts */
        count++;
    }
    (void)closedir(stream); /* only read */
    buffer_free(&input);
    return count;
}

static void replay_and_exit(const char *directory, runner *run, int output)
{
    /* What cmocka does about signals would let a child run on after an abort. */
    for (int number = 1; number < 32; number++) {
        (void)signal(number, SIG_DFL); /* some cannot be set, which is no loss */
    }
    REQUIRE(dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0);
    int count = replay_directory(directory, run);
    exit(count > 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Print the end of what a child said. */
static void tell_end(FILE *output)
{
    char text[TOLD_BYTES + 1];
    (void)fseek(output, 0, SEEK_END);
    long length = ftell(output);
    (void)fseek(output, length > TOLD_BYTES ? length - TOLD_BYTES : 0, SEEK_SET);
    size_t count = fread(text, 1, TOLD_BYTES, output);
    text[count] = '\0';
    print_error("%s\n", text);
}

static void saved_inputs_break_no_promise(void **state)
{
    const struct target *target = *state;
    char directory[DIRECTORY_BYTES];
    const char *corpus = getenv("KV_FUZZ_CORPUS");
    (void)snprintf(directory, sizeof directory, "%s/%s", corpus == NULL ? CORPUS : corpus,
                   target->name);
    FILE *output = tmpfile();
    assert_non_null(output);
    (void)fflush(stdout); /* else the child prints it once more */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        replay_and_exit(directory, target->run, fileno(output));
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    if (result != 0) {
        tell_end(output);
        fail_msg("an input in %s fails, or there is none", directory);
    }
    (void)fclose(output);
}

int main(void)
{
    static struct target targets[] = {{"protocol", fuzz_protocol},
                                      {"conn", fuzz_conn},
                                      {"scan", fuzz_scan},
                                      {"recover", fuzz_recover}};
    enum { COUNT = sizeof targets / sizeof targets[0] };
    struct CMUnitTest tests[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        tests[i] = (struct CMUnitTest){.name = targets[i].name,
                                       .test_func = saved_inputs_break_no_promise,
                                       .initial_state = &targets[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
