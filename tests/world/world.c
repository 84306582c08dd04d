/*
 * The world: the whole server under one seed. See tests/README.md.
 *
 *     world                          the scripts in tests/world/found, and some seeds
 *     world --seconds N [--seed S]   fresh seeds until the time is over
 *     world --seeds N [--seed S]     so many
 *     world --replay FILE...         saved scripts
 *     world --every FILE...          scripts, with each thing that can be done to them
 *     world --show SEED              the script of a seed
 *     world --processor-seconds N    likewise, of the processor's time
 *     --save DIRECTORY               where scripts of violations go, before the others
 *     --violations N                 stop after so many (3), likewise
 *
 * Without --seed seeds begin at 1. Exit status 1: a rule was broken.
 *
 * wrap: __assert_fail
 */
#define _GNU_SOURCE /* memfd_create */
#include "world/clock.h"
#include "world/disk.h"
#include "world/every.h"
#include "world/faults.h"
#include "world/model.h"
#include "world/process.h"
#include "world/run.h"
#include "world/shrink.h"
#include "world/small.h"
#include "world/swarm.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAVED_DIRECTORY "tests/world/found"

enum { LINE_BYTES_MAX = 1 << 20, SAVED_MAX = 500 };

struct saved {
    char path[512];
};

ssize_t __real_write(int fd, const void *bytes, size_t length);
_Noreturn void __real__exit(int status);
FILE *__real_fopen(const char *path, const char *mode);
int __real_fclose(FILE *file);
int __real_sigaction(int number, const struct sigaction *action, struct sigaction *old);
_Noreturn void __wrap___assert_fail(const char *what, const char *file, unsigned line,
                                    const char *function);
const char *__asan_default_options(void);

static FILE *out; /* what was standard output; that is the server's now */
static uint64_t seed;
static const char *save_directory;
static uint64_t violations_max = 3; /* then it stops */

/* The server's own handler of SIGBUS has the first word. */
const char *__asan_default_options(void)
{
    return "abort_on_error=1:handle_sigbus=0:allow_user_segv_handler=1";
}

void __wrap___assert_fail(const char *what, const char *file, unsigned line,
                          const char *function)
{
    violation("an assertion fails", "%s, in %s (%s, line %u)", what, function, file,
              line);
}

/* The program is broken beyond a run; say which one it was. */
static void tell_seed(int signal_number)
{
    char text[96];
    int length =
        snprintf(text, sizeof text, "world: seed %" PRIu64 " ended by signal %d\n", seed,
                 signal_number);
    (void)__real_write(STDERR_FILENO, text,
                       (size_t)length); /* nothing else can be done */
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* A wild access, or a loop without end, is a rule that is broken, as any other. */
static void note_wild_access(int signal_number)
{
    (void)snprintf(violation_rule, sizeof violation_rule, "the program ends by signal %d",
                   signal_number);
    violation_text[0] = '\0';
    siglongjmp(process_violation, 1);
}

static void catch_wild_accesses(void)
{
    struct sigaction action = {.sa_handler = note_wild_access, .sa_flags = SA_NODEFER};
    (void)sigemptyset(&action.sa_mask); /* neither can fail with valid arguments */
    (void)__real_sigaction(SIGSEGV, &action, NULL);
    (void)__real_sigaction(SIGVTALRM, &action, NULL);
}

static void take_standard_output(void)
{
    int fd = memfd_create("world", MFD_CLOEXEC);
    out = fdopen(dup(STDOUT_FILENO), "w");
    if (fd < 0 || out == NULL || dup2(fd, STDOUT_FILENO) < 0) {
        perror("world: standard output");
        __real__exit(2);
    }
}

static void print_plan(FILE *to, const struct plan *plan)
{
    struct bytes text = {0};
    for (size_t i = 0; i < plan->count; i++) {
        text.length = 0;
        plan_print(&plan->events[i], &text);
        (void)fprintf(to, "%.*s\n", (int)text.length, (const char *)text.at);
    }
    text.at = resize(text.at, 0);
}

static void save(const struct plan *plan)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/seed_%" PRIu64 ".world", save_directory, seed);
    FILE *file = __real_fopen(path, "w");
    if (file == NULL) {
        perror(path);
        return;
    }
    (void)fprintf(file, "# %s: ", violation_rule);
    for (const char *at = violation_text; *at != '\0'; at++) {
        (void)fputc(*at, file);
        if (*at == '\n') {
            (void)fputs("# ", file);
        }
    }
    (void)fprintf(file, "\n");
    print_plan(file, plan);
    (void)__real_fclose(file);
    (void)fprintf(out, "saved as %s\n", path);
}

static void tell_violation(struct plan *plan)
{
    (void)fprintf(out, "VIOLATION at seed %" PRIu64 ": %s: %s\n", seed, violation_rule,
                  violation_text);
    (void)fflush(out);
    shrink(plan);
    (void)fprintf(out, "shrunk to %zu lines: %s: %s\n", plan->count, violation_rule,
                  violation_text);
    print_plan(out, plan);
    if (save_directory != NULL) {
        save(plan);
    }
    (void)fflush(out);
}

static void print_figures(uint64_t seeds, uint64_t violations, double seconds)
{
    const struct run_figures *figures = run_figures();
    (void)fprintf(out,
                  "world: %" PRIu64 " seeds, %" PRIu64
                  " commands (%.0f a second of processor), %" PRIu64 " starts, %" PRIu64
                  " kills, %" PRIu64 " crash states, %" PRIu64 " flipped bits, %" PRIu64
                  " looks at unreadable pages, %" PRIu64
                  " lives ended by faults, %" PRIu64 " overwrites, %" PRIu64
                  " times kv; faults:",
                  seeds, model_command_count(), (double)model_command_count() / seconds,
                  figures->starts, figures->kills, figures->power_losses, figures->rots,
                  figures->unread, figures->refused_starts, disk_overwrite_count(),
                  small_ended_count());
    for (int call = 0; call < CALL_COUNT; call++) {
        if (faults_total((enum call)call) > 0) {
            (void)fprintf(out, " %s %" PRIu64, call_name((enum call)call),
                          faults_total((enum call)call));
        }
    }
    (void)fprintf(out, " cut %" PRIu64 "; %" PRIu64 " violations\n", faults_total_cut(),
                  violations);
}

/* How long to go on: what is 0 is no limit. */
struct span {
    uint64_t seeds;
    double seconds;
    double processor_seconds;
};

static bool is_over(const struct span *span, uint64_t done, double start_s)
{
    return (span->seeds > 0 && done >= span->seeds) ||
           (span->seconds > 0 && world_real_seconds() - start_s >= span->seconds) ||
           (span->processor_seconds > 0 &&
            world_processor_seconds() >= span->processor_seconds);
}

static int run_seeds(uint64_t first, struct span span)
{
    static struct plan plan;
    uint64_t violations = 0;
    uint64_t done = 0;
    uint64_t digest = 0;
    double start_s = world_real_seconds();
    for (seed = first; violations < violations_max && !is_over(&span, done, start_s);
         seed++, done++) {
        swarm_make(seed, &plan);
        bool is_right = run_plan(&plan);
        digest = digest * 31 + process_digest_now();
        if (!is_right) {
            violations++;
            (void)fprintf(out, "after %.1f s: ", world_processor_seconds());
            tell_violation(&plan);
        }
    }
    print_figures(done, violations, world_processor_seconds());
    if (span.seeds > 0) {
        (void)fprintf(out, "digest %016" PRIx64 "\n", digest);
    }
    return violations > 0 ? 1 : 0;
}

static bool load(const char *path, struct plan *plan)
{
    static char line[LINE_BYTES_MAX];
    FILE *file = __real_fopen(path, "r");
    bool is_right = file != NULL;
    plan_clear(plan);
    while (is_right && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        is_right = plan_parse(plan, line);
    }
    if (!is_right) {
        (void)fprintf(out, "%s: cannot read: %s\n", path,
                      file == NULL ? "no file" : line);
    }
    if (file != NULL) {
        (void)__real_fclose(file);
    }
    return is_right;
}

static int replay(char **paths, int count)
{
    static struct plan plan;
    int failed = 0;
    for (int i = 0; i < count; i++) {
        bool is_right = load(paths[i], &plan) && run_plan(&plan);
        const char *name =
            strrchr(paths[i], '/') == NULL ? paths[i] : strrchr(paths[i], '/') + 1;
        (void)fprintf(out, "[%s] %.*s\n", is_right ? "       OK " : "  FAILED  ",
                      (int)strcspn(name, "."), name);
        if (!is_right) {
            (void)fprintf(out, "%s: %s: %s\n%s", paths[i], violation_rule, violation_text,
                          process_diag());
            failed++;
        }
    }
    return failed > 0 ? 1 : 0;
}

static int try_every(char **paths, int count)
{
    static struct plan plan;
    static struct plan broken;
    unsigned one_of = getenv("KV_TEST_SLOW") != NULL ? EVERY_SLOW : 1;
    int failed = 0;
    for (int i = 0; i < count; i++) {
        struct every_figures figures = {0};
        bool is_right =
            load(paths[i], &plan) && every_try(&plan, one_of, &broken, &figures);
        const char *name =
            strrchr(paths[i], '/') == NULL ? paths[i] : strrchr(paths[i], '/') + 1;
        (void)fprintf(out,
                      "[%s] %.*s: %" PRIu64 " failures, %" PRIu64 " deaths, %" PRIu64
                      " fading pages, %" PRIu64 " pairs\n",
                      is_right ? "       OK " : "  FAILED  ", (int)strcspn(name, "."),
                      name, figures.failures, figures.deaths, figures.fades,
                      figures.pairs);
        if (!is_right) {
            tell_violation(&broken);
            failed++;
        }
    }
    return failed > 0 ? 1 : 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct saved *)a)->path, ((const struct saved *)b)->path);
}

/* What is run with the unit tests. */
static int run_saved(void)
{
    static struct saved saved[SAVED_MAX];
    char *paths[SAVED_MAX];
    size_t count = 0;
    DIR *directory = opendir(SAVED_DIRECTORY);
    const struct dirent *entry;
    while (directory != NULL && count < SAVED_MAX &&
           (entry = readdir(directory)) != NULL) {
        if (strstr(entry->d_name, ".world") != NULL) {
            (void)snprintf(saved[count++].path, sizeof saved[0].path, "%s/%.255s",
                           SAVED_DIRECTORY, entry->d_name);
        }
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    qsort(saved, count, sizeof saved[0], by_name);
    for (size_t i = 0; i < count; i++) {
        paths[i] = saved[i].path;
    }
    int status = count > 0 ? replay(paths, (int)count) : 0;
    int seeds_status =
        run_seeds(1, (struct span){.seeds = getenv("KV_TEST_SLOW") != NULL ? 40 : 600});
    (void)fprintf(out, "[%s] world_keeps_its_rules_for_fixed_seeds\n",
                  seeds_status == 0 ? "       OK " : "  FAILED  ");
    return status != 0 ? status : seeds_status;
}

static int run_command(int argc, char **argv)
{
    if (argc == 1) {
        return run_saved();
    }
    uint64_t first = 1;
    struct span span = {0};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--replay") == 0) {
            return replay(argv + i + 1, argc - i - 1);
        }
        if (strcmp(argv[i], "--every") == 0) {
            return try_every(argv + i + 1, argc - i - 1);
        }
        if (strcmp(argv[i], "--show") == 0) {
            static struct plan plan;
            swarm_make(strtoull(argv[i + 1], NULL, 10), &plan);
            print_plan(out, &plan);
            return 0;
        }
        if (strcmp(argv[i], "--seconds") == 0) {
            span.seconds = strtod(argv[i + 1], NULL);
        } else if (strcmp(argv[i], "--processor-seconds") == 0) {
            span.processor_seconds = strtod(argv[i + 1], NULL);
        } else if (strcmp(argv[i], "--seeds") == 0) {
            span.seeds = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            first = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--violations") == 0) {
            violations_max = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--save") == 0) {
            save_directory = argv[i + 1];
        }
    }
    if (span.seeds == 0 && span.seconds <= 0 && span.processor_seconds <= 0) {
        (void)fprintf(out, "world: see the top of world.c for how it is called\n");
        return 2;
    }
    return run_seeds(first, span);
}

int main(int argc, char **argv)
{
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("JOURNAL_STREAM");
    (void)signal(SIGABRT, tell_seed);
    catch_wild_accesses();
    take_standard_output();
    run_prepare();
    int status = run_command(argc, argv);
    (void)fflush(out);
    __real__exit(status);
}
