/*
 * kill -9 torture of the real program:
 *
 *     torture PROGRAM KILLS [SEED]
 *
 * A client pipelines commands, most of which store rising numbers; the program is killed
 * at a random moment, under load and while it starts, and started again. Commands are
 * executed in order, so what is found then must be the outcome of some number of them, at
 * least those that were answered and at most those that were sent: nothing acknowledged
 * is missing, nothing is half there, nothing deleted comes back. Kill -9 leaves the page
 * cache alone, so the same holds under --sync everysec. SIGTERM now and then, and copies
 * of the log made by cp meanwhile, are held to the same rule.
 *
 * The exit status is 0 only if no violation was seen; the files of one are kept.
 */
#include "support/client.h"
#include "support/dice.h"
#include "support/script.h"
#include "support/server.h"
#include "support/tempdir.h"
#include "support/unit.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    KEYS = 250,
    HEAVY_KEYS = 100, /* the first ones, with values that make a compaction last */
    COUNTERS = 30,    /* the last ones, which INCR is about */
    WINDOW_MAX = 2048,
    UNSENT_BYTES_MAX = 262144,
    LOG_BYTES_KEPT = 64 * 1024 * 1024,
    SHOWN_MAX = 5,
    EXIT_CORRUPT = 3
};

/* So long that LIST of one begins no other. */
#define KEY_FORMAT "key%03zu"

/* How long the values of a round may be; that of heavy keys; those that INCR makes. */
enum { SIZES_HEAVY = 4, SIZES_COUNT, SIZES };

/* What a key holds. Number 0: nothing. Length and bytes of a value follow from it. */
struct world {
    uint64_t numbers[KEYS];
};

enum kind {
    KIND_DELETE,
    KIND_GET,
    KIND_LIST,
    KIND_ADD,
    KIND_INCR,
    KIND_SET, /* up to here with a key */
    KIND_SYNC,
    KIND_COMPACT
};

/* How often each is sent: a number from 0 to 99 stands for the first that it is below. */
static const struct {
    const char *word;
    unsigned below;
} kinds[] = {{"DELETE", 10}, {"GET", 13}, {"LIST", 15}, {"ADD", 21},
             {"INCR", 31},   {"SET", 95}, {"SYNC", 96}, {"COMPACT", 100}};

struct command {
    size_t key;
    uint64_t number;    /* what the key holds from then on */
    size_t request_end; /* in the bytes of the round */
    size_t reply_end;
};

/* The commands between two starts, in the order in which they were sent. */
struct round {
    struct world base;  /* what the program held before them */
    struct world model; /* and after all of them */
    struct command *commands;
    size_t count;
    size_t capacity;
    struct script requests;
    struct script replies;
    size_t sent_bytes;
    size_t taken_bytes; /* of the replies */
};

/* A copy that is made while the program writes. */
struct backup {
    pid_t pid; /* 0: none is being made */
    bool is_made;
    size_t commands_min; /* answered before it began */
    size_t commands_max; /* sent when it ended */
};

/* How a round goes. */
struct plan {
    size_t window;     /* commands in flight */
    unsigned sizes;    /* of values; below SIZES_HEAVY */
    size_t limit;      /* commands in all */
    int signal_number; /* what ends it */
    uint64_t delay_us; /* when */
    uint64_t backup_after;
    bool compacts;
    bool lists; /* each LIST ends a batch */
};

struct torture {
    struct dice dice;
    char disk[TEMPDIR_PATH_BYTES]; /* where directories on a disk are made */
    struct tempdir tempdir;
    struct tempdir_file log;
    struct tempdir_file copy;
    struct tempdir_file copy_old;
    size_t copies_begun;
    struct server_process server;
    struct round round;
    struct backup backup;
    uint64_t next_number;
    uint64_t start_us; /* how long a start takes, roughly */
    size_t kills_wanted;
    size_t kills;
    size_t start_kills;
    size_t terms;
    size_t kills_compacting; /* of both kinds */
    size_t backups;
    size_t backups_refused; /* for want of the older log */
    size_t torn_tails;
    size_t surviving; /* rounds after which unanswered commands were found */
    uint64_t commands_sent;
    uint64_t commands_answered;
    size_t violations;
};

/* ---- Signals at random moments ---- */

/* Whom the timer's handler signals, and how. */
static volatile sig_atomic_t victim;
static volatile sig_atomic_t victim_signal;
static timer_t timer;

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void strike(int number)
{
    (void)number;
    int kept_errno = errno;
    if (victim > 0) {
        (void)kill((pid_t)victim, (int)victim_signal); /* it may be gone already */
    }
    errno = kept_errno;
}

static void prepare_timer(void)
{
    struct sigaction action = {.sa_handler = strike};
    (void)sigemptyset(&action.sa_mask); /* cannot fail on a valid set */
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
}

static void set_timer(uint64_t delay_us)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(delay_us / 1000000),
                     .tv_nsec = (long)(delay_us % 1000000) * 1000},
    };
    assert_int_equal(timer_settime(timer, 0, &when, NULL), 0);
}

static void strike_later(const struct server_process *server, int signal_number,
                         uint64_t delay_us)
{
    victim_signal = signal_number;
    victim = (sig_atomic_t)server->pid;
    set_timer(delay_us + 1); /* 0 would mean never */
}

static void call_off(void)
{
    set_timer(0);
    victim = 0;
}

/* ---- Violations ---- */

/* What a failed helper, which ends the program, leaves behind. */
static struct torture *running;

static void report_failure(void)
{
    if (running == NULL) {
        return;
    }
    (void)fprintf(stderr, "torture: FAILED; the files are in %s\n",
                  running->tempdir.path);
    if (running->server.pid > 0) {
        (void)kill(running->server.pid, SIGKILL);
    }
}

static void complain(struct torture *torture, const char *what)
{
    torture->violations++;
    (void)fprintf(stderr, "torture: VIOLATION after %zu kills: %s\n",
                  torture->kills + torture->start_kills, what);
}

/* ---- Values ---- */

static uint64_t mix(uint64_t number)
{
    struct dice dice = {.state = number};
    return dice_next(&dice);
}

/* The low bits of a number say which lengths are likely. */
static size_t length_of(uint64_t number)
{
    static const size_t lengths_max[SIZES_COUNT][10] = {
        {20, 20, 20, 20, 100, 100, 100, 100, 100, 100},
        {20, 100, 100, 100, 100, 100, 100, 600, 600, 5000},
        {20, 100, 100, 600, 600, 600, 4200, 4200, 4200, 70000},
        {20, 100, 4200, 4200, 4200, 70000, 70000, 70000, 70000, 300000},
        {90000, 90000, 90000, 90000, 90000, 90000, 90000, 90000, 90000, 90000},
    };
    uint64_t word = mix(number);
    return (size_t)(word / 16 % (lengths_max[number % SIZES][word % 10] + 1));
}

static void add_value(struct script *script, uint64_t number)
{
    if (number % SIZES == SIZES_COUNT) {
        script_add_format(script, "%" PRIu64, number / SIZES);
    } else {
        script_add_format(script, "%" PRIu64 ":", number);
        script_add_random(script, number, length_of(number));
    }
}

/* Whether a line is the whole value that belongs to the number it begins with. */
static bool read_value(const char *line, uint64_t *number_out)
{
    struct script value = {0};
    char *end;
    uint64_t number = strtoull(line, &end, 10);
    *number_out = *end == '\0' ? number * SIZES + SIZES_COUNT : number;
    add_value(&value, *number_out);
    bool is_whole = slice_equal(slice_of_text(line), script_slice(&value));
    script_free(&value);
    return is_whole && number > 0;
}

/* ---- The commands of a round ---- */

static void apply(struct world *world, const struct command *command)
{
    world->numbers[command->key] = command->number;
}

/* What INCR makes of a key, or what it says. */
static uint64_t count_on(struct script *replies, uint64_t before, uint64_t more)
{
    if (before != 0 && before % SIZES != SIZES_COUNT) {
        script_add_text(replies, "error: not a number");
        return before;
    }
    uint64_t after = (before == 0 ? SIZES_COUNT : before) + more * SIZES;
    add_value(replies, after);
    return after;
}

/*
 * Add what must be answered to a command, and return what its key holds afterwards.
 * before: what it holds.
 */
static uint64_t add_reply(struct script *replies, enum kind kind,
                          const struct command *command, uint64_t before)
{
    switch (kind) {
    case KIND_GET:
        if (before == 0) {
            script_add_text(replies, "no value stored");
        } else {
            add_value(replies, before);
        }
        return before;
    case KIND_LIST:
        if (before != 0) {
            script_add_format(replies, KEY_FORMAT " ", command->key);
            add_value(replies, before);
            script_add_text(replies, "\n");
        }
        return before;
    case KIND_INCR:
        return count_on(replies, before, command->number);
    case KIND_ADD:
        script_add_text(replies, before == 0 ? "success" : "already stored");
        return before == 0 ? command->number : before;
    default:
        script_add_text(replies, "success");
        return kind == KIND_SET ? command->number : kind == KIND_DELETE ? 0 : before;
    }
}

/* command: its key, and the number of a new value, or how much INCR adds. */
static void add_command(struct round *round, enum kind kind, struct command command)
{
    if (round->count == round->capacity) {
        round->capacity = round->capacity * 2 + 1024;
        struct command *commands =
            realloc(round->commands, round->capacity * sizeof *commands);
        assert_non_null(commands);
        round->commands = commands;
    }
    script_add_text(&round->requests, kinds[kind].word);
    if (kind <= KIND_SET) {
        script_add_format(&round->requests, " " KEY_FORMAT, command.key);
    }
    if (kind == KIND_INCR) {
        script_add_format(&round->requests, " %" PRIu64, command.number);
    } else if (kind == KIND_SET || kind == KIND_ADD) {
        script_add_text(&round->requests, " ");
        add_value(&round->requests, command.number);
    }
    script_add_text(&round->requests, "\n");
    command.number =
        add_reply(&round->replies, kind, &command, round->model.numbers[command.key]);
    script_add_text(&round->replies, "\n");
    apply(&round->model, &command);
    command.request_end = round->requests.length;
    command.reply_end = round->replies.length;
    round->commands[round->count++] = command;
}

static void add_random_command(struct torture *torture, const struct plan *plan)
{
    struct dice *dice = &torture->dice;
    uint64_t chance = dice_below(dice, plan->compacts ? 100 : kinds[KIND_SYNC].below);
    enum kind kind = KIND_DELETE;
    while (kinds[kind].below <= chance) {
        kind++;
    }
    if (plan->compacts && torture->round.count == 0) {
        kind = KIND_COMPACT;
    } else if (kind == KIND_LIST && !plan->lists) {
        kind = KIND_GET;
    }
    struct command command = {
        .key = HEAVY_KEYS + (size_t)dice_below(dice, KEYS - HEAVY_KEYS),
        .number = torture->next_number++ * SIZES + plan->sizes,
    };
    if (kind == KIND_INCR) {
        command.number = 1 + dice_below(dice, 1000);
    }
    if (kind == KIND_INCR && dice_below(dice, 10) != 0) {
        command.key = KEYS - 1 - (size_t)dice_below(dice, COUNTERS);
    } else if (dice_below(dice, 1000) == 0) {
        command.key = (size_t)dice_below(dice, HEAVY_KEYS);
    }
    add_command(&torture->round, kind, command);
}

/* How many commands of a round end within so many bytes. */
static size_t count_sent(const struct round *round, size_t from)
{
    while (from < round->count &&
           round->commands[from].request_end <= round->sent_bytes) {
        from++;
    }
    return from;
}

static size_t count_answered(const struct round *round, size_t from)
{
    while (from < round->count && round->commands[from].reply_end <= round->taken_bytes) {
        from++;
    }
    return from;
}

static void round_begin(struct round *round)
{
    round->base = round->model;
    round->count = 0;
    round->requests.length = 0;
    round->replies.length = 0;
    round->sent_bytes = 0;
    round->taken_bytes = 0;
}

static void round_free(struct round *round)
{
    free(round->commands);
    script_free(&round->requests);
    script_free(&round->replies);
}

/* ---- What the program holds ---- */

static void ask_for_everything(struct client *client)
{
    struct script requests = {0};
    for (size_t key = 0; key < KEYS; key++) {
        script_add_format(&requests, "GET " KEY_FORMAT "\n", key);
    }
    script_add_text(&requests, "COUNT\nLIST\n");
    client_send(client, script_slice(&requests));
    script_free(&requests);
}

/* A line of LIST for each of them, in any order, then an empty one. */
static bool read_list(struct client *client, const struct world *seen, uint64_t count)
{
    bool is_right = true;
    struct world left = *seen;
    uint64_t number;
    for (const char *line = client_read_line(client); line[0] != '\0';
         line = client_read_line(client)) {
        char *end;
        size_t key = strncmp(line, "key", 3) == 0 ? strtoull(line + 3, &end, 10) : KEYS;
        is_right = is_right && key < KEYS && *end == ' ' && left.numbers[key] != 0 &&
                   read_value(end + 1, &number) && number == left.numbers[key];
        left.numbers[key < KEYS ? key : 0] = 0;
        count--;
    }
    return is_right && count == 0;
}

static void read_world(struct torture *torture, const struct server_process *server,
                       struct world *seen)
{
    struct client client;
    uint64_t count = 0;
    client_open(&client, server->port);
    ask_for_everything(&client);
    for (size_t key = 0; key < KEYS; key++) {
        const char *line = client_read_line(&client);
        seen->numbers[key] = 0;
        if (strcmp(line, "no value stored") != 0) {
            count++;
            if (!read_value(line, &seen->numbers[key])) {
                complain(torture, "a value that no client sent");
            }
        }
    }
    if (strtoull(client_read_line(&client), NULL, 10) != count) {
        complain(torture, "COUNT differs from the keys that exist");
    }
    if (!read_list(&client, seen, count)) {
        complain(torture, "LIST differs from the keys that exist");
    }
    client_close(&client);
}

/* What the first commands of a round make of what was there before it. */
static struct world world_after(const struct round *round, size_t command_count)
{
    struct world world = round->base;
    for (size_t i = 0; i < command_count; i++) {
        apply(&world, &round->commands[i]);
    }
    return world;
}

/* Tell which keys rule out every number of commands in a range. */
static void show_difference(const struct round *round, const struct world *seen,
                            size_t least, size_t most)
{
    struct world at_least = world_after(round, least);
    size_t shown = 0;
    (void)fprintf(stderr, "  %zu commands answered, %zu sent\n", least, most);
    for (size_t key = 0; key < KEYS && shown < SHOWN_MAX; key++) {
        uint64_t found = seen->numbers[key];
        bool is_possible = found == at_least.numbers[key];
        for (size_t i = least; i < most; i++) {
            const struct command *command = &round->commands[i];
            is_possible =
                is_possible || (command->key == key && command->number == found);
        }
        if (!is_possible) {
            (void)fprintf(
                stderr, "  " KEY_FORMAT " holds %" PRIu64 "; answered was %" PRIu64 "\n",
                key, found, at_least.numbers[key]);
            shown++;
        }
    }
    if (shown == 0) {
        (void)fprintf(stderr, "  each key alone is possible, but not all together\n");
    }
}

/*
 * Find a number of commands whose outcome is what was seen, from `least` to `most`.
 *
 * Returns SIZE_MAX if there is none.
 */
static size_t find_prefix(const struct round *round, const struct world *seen,
                          size_t least, size_t most)
{
    struct world world = world_after(round, least);
    size_t wrong = 0;
    for (size_t key = 0; key < KEYS; key++) {
        wrong += world.numbers[key] != seen->numbers[key];
    }
    size_t count = least;
    for (; wrong > 0 && count < most; count++) {
        const struct command *command = &round->commands[count];
        wrong -= world.numbers[command->key] != seen->numbers[command->key];
        apply(&world, command);
        wrong += world.numbers[command->key] != seen->numbers[command->key];
    }
    return wrong == 0 ? count : SIZE_MAX;
}

/* What a program that was just started holds must be the outcome of a prefix. */
static void check_world(struct torture *torture, const struct server_process *server,
                        size_t least, size_t most)
{
    struct world seen;
    struct round *round = &torture->round;
    read_world(torture, server, &seen);
    size_t count = find_prefix(round, &seen, least, most);
    if (count == SIZE_MAX) {
        complain(torture, "the state is not that after a number of commands");
        show_difference(round, &seen, least, most);
    }
    if (server == &torture->server) {
        torture->surviving += count != SIZE_MAX && count > least;
        round->model = seen;
    }
}

/* ---- Copies of the log under load ---- */

static void backup_begin(struct torture *torture)
{
    struct backup *backup = &torture->backup;
    char name[32];
    /* Each copy has a name of its own, so that it never meets side files of another. */
    (void)snprintf(name, sizeof name, "copy-%zu.log", torture->copies_begun++); /* fits */
    torture->copy = tempdir_file(&torture->tempdir, name);
    torture->copy_old = tempdir_file(&torture->tempdir, strcat(name, ".old"));
    backup->commands_min = count_answered(&torture->round, 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* The older log first: a compaction that ends meanwhile then costs nothing. For
           a moment at its start no file has the log's name; then there is no copy. */
        static const char text[] = "test ! -e \"$1.old\" || cp \"$1.old\" \"$3\" "
                                   "2>/dev/null; cp \"$1\" \"$2\" 2>/dev/null";
        execl("/bin/sh", "sh", "-c", text, "copy", torture->log.path, torture->copy.path,
              torture->copy_old.path, (char *)NULL);
        _exit(1);
    }
    backup->pid = pid;
}

/* flags: of waitpid. */
static void backup_look(struct torture *torture, int flags)
{
    struct backup *backup = &torture->backup;
    int status = 0;
    pid_t pid = 0;
    do {
        pid = backup->pid > 0 ? waitpid(backup->pid, &status, flags) : 0;
    } while (pid < 0 && errno == EINTR);
    if (pid > 0) {
        backup->pid = 0;
        backup->is_made = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        backup->commands_max = count_sent(&torture->round, backup->commands_min);
    }
}

/*
 * The copy opens, with a torn tail at worst. One taken across the start of a compaction
 * lacks its older log, which must be noticed.
 */
static void backup_check(struct torture *torture)
{
    static const char *const verify[] = {"--verify", NULL};
    struct backup *backup = &torture->backup;
    backup_look(torture, 0);
    if (!backup->is_made) {
        return;
    }
    struct server_process reader;
    torture->backups++;
    int status = server_process_run(&reader, torture->copy.path, verify);
    if (status == EXIT_CORRUPT) {
        torture->backups_refused++;
    } else if (status != 0) {
        complain(torture, "a copy of the log does not verify");
        (void)fprintf(stderr, "%s", reader.messages);
    } else {
        server_process_start(&reader, torture->copy.path, NULL);
        check_world(torture, &reader, backup->commands_min, backup->commands_max);
        server_process_stop(&reader);
    }
    (void)unlink(torture->copy.path);
    (void)unlink(torture->copy_old.path); /* mostly there is none */
}

/* ---- Rounds ---- */

static void choose_plan(struct torture *torture, struct plan *plan)
{
    static const size_t windows[] = {1, 8, 128, 1024, WINDOW_MAX};
    struct dice *dice = &torture->dice;
    bool is_long = dice_below(dice, 50) == 0;
    *plan = (struct plan){
        .window = windows[dice_below(dice, sizeof windows / sizeof windows[0])],
        .sizes = (unsigned)dice_below(dice, SIZES_HEAVY),
        .limit = SIZE_MAX,
        .signal_number = dice_below(dice, 8) == 0 ? SIGTERM : SIGKILL,
        .delay_us =
            dice_below(dice, 4) == 0 ? dice_below(dice, 3000) : dice_below(dice, 60000),
        .backup_after = dice_below(dice, 5) == 0 ? dice_below(dice, 30) : UINT64_MAX,
        .compacts = dice_below(dice, 3) != 0,
        .lists = dice_below(dice, 4) == 0,
    };
    if (is_long) {
        /* So long that the delayed sync and the second seal come due while idle. */
        plan->limit = 1 + (size_t)dice_below(dice, 3000);
        plan->delay_us = 900000 + dice_below(dice, 300000);
    }
}

/* Add commands as far as the window and the memory of this program allow. */
static void fill_window(struct torture *torture, const struct plan *plan, size_t answered)
{
    struct round *round = &torture->round;
    if (round->count - answered > plan->window / 2) {
        return;
    }
    while (round->count - answered < plan->window && round->count < plan->limit &&
           round->requests.length - round->sent_bytes < UNSENT_BYTES_MAX) {
        add_random_command(torture, plan);
    }
}

/* Send and take replies until the program is gone; every reply must be the right one. */
static void load(struct torture *torture, const struct plan *plan)
{
    struct round *round = &torture->round;
    struct client client;
    enum client_state state = CLIENT_OPEN;
    size_t answered = 0;
    client_open(&client, torture->server.port);
    strike_later(&torture->server, plan->signal_number, plan->delay_us);
    for (uint64_t turn = 0; state == CLIENT_OPEN; turn++) {
        answered = count_answered(round, answered);
        fill_window(torture, plan, answered);
        if (turn == plan->backup_after) {
            backup_begin(torture);
        }
        backup_look(torture, WNOHANG);
        struct slice unsent =
            slice_after(script_slice(&round->requests), round->sent_bytes);
        state = client_pump(&client, &unsent);
        round->sent_bytes = round->requests.length - unsent.length;
        round->taken_bytes += client_take_equal(
            &client, slice_after(script_slice(&round->replies), round->taken_bytes));
    }
    if (client.end != client.start) {
        complain(torture, "bytes behind the last reply that was due");
    }
    client_close(&client);
}

static void count_compacting(struct torture *torture)
{
    struct tempdir_file old = tempdir_file(&torture->tempdir, "kv.log.old");
    torture->kills_compacting += access(old.path, F_OK) == 0;
}

/* Kill the program while it starts, at any moment of that. */
static void kill_a_start(struct torture *torture, const struct server_launch *launch)
{
    struct server_process *server = &torture->server;
    server_process_launch(server, launch);
    strike_later(server, SIGKILL,
                 dice_below(&torture->dice, torture->start_us * 5 / 4 + 1));
    int status = server_process_wait(server);
    call_off();
    torture->start_kills++;
    count_compacting(torture);
    if (status != 128 + SIGKILL) {
        complain(torture, "it did not start after a kill");
        (void)fprintf(stderr, "  exit status %d; it said:\n%s", status, server->messages);
    }
}

/* Some starts are killed; then one must succeed at the first try. */
static void start(struct torture *torture)
{
    static const char *const always[] = {"--sync", "always", NULL};
    static const char *const everysec[] = {"--sync", "everysec", NULL};
    struct server_launch launch = {
        .log = torture->log.path,
        .options = dice_below(&torture->dice, 3) == 0 ? everysec : always,
    };
    uint64_t killed_count =
        dice_below(&torture->dice, 4) == 0 ? 1 + dice_below(&torture->dice, 3) : 0;
    for (uint64_t i = 0; i < killed_count; i++) {
        kill_a_start(torture, &launch);
    }
    uint64_t began_us = now_us();
    server_process_launch(&torture->server, &launch);
    server_process_await_ready(&torture->server);
    torture->start_us = now_us() - began_us;
    torture->torn_tails += strstr(torture->server.messages, "unfinished batch") != NULL;
}

static void end_round(struct torture *torture, const struct plan *plan)
{
    struct round *round = &torture->round;
    int status = server_process_wait(&torture->server);
    call_off();
    size_t answered = count_answered(round, 0);
    size_t sent = count_sent(round, answered);
    torture->commands_answered += answered;
    torture->commands_sent += sent;
    if (plan->signal_number == SIGTERM) {
        torture->terms++;
    } else {
        torture->kills++;
        count_compacting(torture);
    }
    int expected = plan->signal_number == SIGTERM ? 0 : 128 + SIGKILL;
    if (status != expected) {
        complain(torture, "a wrong exit status");
        (void)fprintf(stderr, "  %d; it said:\n%s", status, torture->server.messages);
    }
    backup_check(torture);
    start(torture);
    check_world(torture, &torture->server, answered, sent);
}

static void write_heavy_keys(struct torture *torture)
{
    struct client client;
    struct round *round = &torture->round;
    round_begin(round);
    for (size_t key = 0; key < HEAVY_KEYS; key++) {
        struct command command = {.key = key};
        command.number = torture->next_number++ * SIZES + SIZES_HEAVY;
        add_command(round, KIND_SET, command);
    }
    client_open(&client, torture->server.port);
    client_exchange(&client, script_slice(&round->requests),
                    script_slice(&round->replies));
    client_close(&client);
}

/*
 * On a disk most of the time goes into the sync, in memory most goes into the write:
 * there more kills hit a batch that is written in part.
 */
static void make_directory(struct torture *torture)
{
    static const char memory[] = "/dev/shm";
    bool uses_memory = dice_below(&torture->dice, 2) == 0 && access(memory, W_OK) == 0;
    assert_int_equal(setenv("TMPDIR", uses_memory ? memory : torture->disk, 1), 0);
    tempdir_create(&torture->tempdir);
    torture->log = tempdir_file(&torture->tempdir, "kv.log");
}

/* A log that has grown makes every start slow; and kills must meet the making of one. */
static void renew_log(struct torture *torture)
{
    struct stat info;
    if (stat(torture->log.path, &info) == 0 && info.st_size < LOG_BYTES_KEPT &&
        dice_below(&torture->dice, 15) != 0) {
        return;
    }
    server_process_stop(&torture->server);
    tempdir_remove(&torture->tempdir);
    make_directory(torture);
    torture->round.model = (struct world){{0}};
    start(torture);
    write_heavy_keys(torture);
}

static void run_round(struct torture *torture)
{
    struct plan plan;
    renew_log(torture);
    choose_plan(torture, &plan);
    round_begin(&torture->round);
    torture->backup = (struct backup){.pid = 0};
    load(torture, &plan);
    end_round(torture, &plan);
}

/* ---- The program ---- */

static void print_result(const struct torture *torture)
{
    printf("torture: %zu kills under load, %zu while starting, %zu of both while "
           "compacting; %zu SIGTERM\n",
           torture->kills, torture->start_kills, torture->kills_compacting,
           torture->terms);
    printf("torture: %" PRIu64 " commands sent, %" PRIu64
           " answered; %zu rounds with unanswered "
           "commands found, %zu torn tails\n",
           torture->commands_sent, torture->commands_answered, torture->surviving,
           torture->torn_tails);
    printf("torture: %zu copies, %zu of them refused for want of the older log\n",
           torture->backups, torture->backups_refused);
    printf("torture: %zu violations\n", torture->violations);
}

static void run(struct torture *torture)
{
    prepare_timer();
    const char *disk = getenv("TMPDIR");
    (void)snprintf(torture->disk, sizeof torture->disk, "%s",
                   disk == NULL || disk[0] == '\0' ? "/tmp" : disk);
    make_directory(torture);
    torture->start_us = 2000;
    torture->next_number = 1;
    start(torture);
    write_heavy_keys(torture);
    while (torture->kills + torture->start_kills < torture->kills_wanted) {
        run_round(torture);
    }
    server_process_stop(&torture->server);
    print_result(torture);
    if (torture->violations == 0) {
        tempdir_remove(&torture->tempdir);
    }
    round_free(&torture->round);
}

int main(int argc, char **argv)
{
    static struct torture torture;
    if (argc < 3 || argc > 4 || strtoull(argv[2], NULL, 10) == 0) {
        (void)fprintf(stderr, "usage: torture PROGRAM KILLS [SEED]\n");
        return 2;
    }
    torture.kills_wanted = (size_t)strtoull(argv[2], NULL, 10);
    if (setenv("KV_STORE_PROGRAM", argv[1], 1) != 0 ||
        (argc == 4 && setenv("KV_TEST_SEED", argv[3], 1) != 0)) {
        return 2;
    }
    dice_begin(&torture.dice);
    running = &torture;
    if (atexit(report_failure) != 0) {
        return 2;
    }
    run(&torture);
    if (torture.violations == 0) {
        running = NULL;
    }
    return torture.violations == 0 ? 0 : 1;
}
