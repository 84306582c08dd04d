/*
 * kill -9 torture of the real program (F44):
 *
 *     torture PROGRAM KILLS [SEED]
 *
 * A client pipelines commands; the program is killed at a random moment, under load and
 * while it starts, and started again. Commands are executed in order, so what is found
 * then must be the outcome of some number of them, at least those that were answered and
 * at most those that were sent: nothing acknowledged is missing, nothing is half there,
 * nothing deleted comes back. Kill -9 leaves the page cache alone, so the same holds
 * under --sync everysec. SIGTERM now and then, and copies of the log made by cp meanwhile
 * (F86), are held to the same rule. What is sent, and what it does, is that of the world.
 *
 * The exit status is 0 only if no violation was seen; the files of one are kept.
 */
#include "base/bounds.h"
#include "support/client.h"
#include "support/contents.h"
#include "support/lines.h"
#include "support/server.h"
#include "support/tempdir.h"
#include "support/unit.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    KEYS_FEW = 150,
    KEYS_MANY = 5000, /* in some of the logs */
    HEAVY_KEYS = 100, /* with values that make a compaction last */
    HEAVY_BYTES = 45000,
    KEYS_MAX = HEAVY_KEYS + KEYS_MANY,
    WINDOW_MAX = 2048,
    UNSENT_BYTES_MAX = 262144,
    LOG_BYTES_KEPT = 64 * 1024 * 1024,
    SHOWN_MAX = 5,
    EXIT_CORRUPT = 3
};

/* A state: by the number of a key that of its value. */
struct state {
    uint32_t held[KEYS_MAX + 1];
};

struct command {
    size_t request_end; /* in the bytes of the round */
    size_t reply_end;
    size_t writes; /* so many of the round, with this one */
};

/* The commands between two starts, in the order in which they were sent. */
struct round {
    struct state base; /* what the program held before them */
    struct writes writes;
    struct command *commands;
    size_t count;
    size_t capacity;
    struct bytes requests;
    struct bytes replies;
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
    size_t limit;      /* commands in all */
    int signal_number; /* what ends it */
    uint64_t delay_us; /* when */
    uint64_t backup_after;
    bool compacts;
    bool lists; /* each LIST ends a batch */
};

struct torture {
    struct lines lines;
    struct contents contents;      /* once all that was sent has been executed */
    char disk[TEMPDIR_PATH_BYTES]; /* where directories on a disk are made */
    struct tempdir tempdir;
    struct tempdir_file log;
    struct tempdir_file copy;
    struct tempdir_file copy_old;
    size_t copies_begun;
    struct server_process server;
    struct round round;
    struct backup backup;
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

/* ---- The commands of a round ---- */

static struct slice slice_of(const struct bytes *bytes, size_t from)
{
    return (struct slice){bytes->at + from, bytes->length - from};
}

/* What was sent must be answered like this. */
static void add_reply(struct torture *torture, const struct request *request)
{
    struct bytes *replies = &torture->round.replies;
    struct contents *contents = &torture->contents;
    struct slice reply = contents_reply(contents, request);
    if (request->verb == VERB_LIST) { /* of one key, with a space behind it */
        uint32_t key = contents_key(contents, request->key);
        uint32_t value = contents->held[key];
        reply = value == 0 ? SLICE_LITERAL("") : words_get(&contents->values, value);
        if (value != 0) {
            bytes_put(replies, request->key.bytes, request->key.length);
            bytes_put(replies, " ", 1);
            bytes_put(replies, reply.bytes, reply.length);
            bytes_put(replies, "\n", 1);
        }
        reply.length = 0;
    }
    bytes_put(replies, reply.bytes, reply.length);
    bytes_put(replies, "\n", 1);
}

/* The line that stands in the text of lines becomes a command. */
static void add_command(struct torture *torture)
{
    struct round *round = &torture->round;
    struct contents *contents = &torture->contents;
    struct request request;
    size_t start = round->requests.length;
    uint32_t value;
    if (round->count == round->capacity) {
        round->capacity = round->capacity * 2 + 1024;
        round->commands =
            resize(round->commands, round->capacity * sizeof *round->commands);
    }
    bytes_put(&torture->lines.text, "", 1);
    lines_expand((const char *)torture->lines.text.at, &round->requests);
    torture->lines.text.length = 0;
    struct slice line = contents_line(slice_of(&round->requests, start));
    assert_int_equal(protocol_parse(line, VALUE_BYTES_MAX, &request), KV_OK);
    add_reply(torture, &request);
    if (protocol_is_write(request.verb)) {
        uint32_t key = contents_key(contents, request.key);
        assert_in_range(key, 1, KEYS_MAX);
        if (contents_written(contents, &request, contents->held[key], &value)) {
            contents_set(contents, key, value);
            writes_put(&round->writes, (struct write){.key = key, .value = value});
        }
    }
    bytes_put(&round->requests, "\n", 1);
    round->commands[round->count++] = (struct command){
        round->requests.length, round->replies.length, round->writes.count};
}

static void put_heavy(struct lines *lines, uint64_t number)
{
    char text[64];
    (void)snprintf(text, sizeof text, "SET heavy%" PRIu64 " ", number); /* it fits */
    lines_put_text(lines, text);
    lines_put_letters(lines, HEAVY_BYTES, lines->kind++);
}

static void add_random_command(struct torture *torture, const struct plan *plan)
{
    struct lines *lines = &torture->lines;
    uint64_t chance = dice_below(&lines->dice, 1000);
    if (plan->compacts && (chance < 20 || torture->round.count == 0)) {
        lines_put_text(lines, "COMPACT");
    } else if (plan->lists && chance < 40) {
        lines_put_text(lines, "LIST ");
        lines_put_key(lines);
    } else if (chance == 999) {
        put_heavy(lines, dice_below(&lines->dice, HEAVY_KEYS));
    } else {
        lines_put(lines);
    }
    add_command(torture);
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

static void round_begin(struct torture *torture)
{
    struct round *round = &torture->round;
    contents_forget_unused(&torture->contents);
    round->base = (struct state){{0}};
    if (torture->contents.capacity > 0) {
        memcpy(round->base.held, torture->contents.held,
               (torture->contents.keys.count + 1) * sizeof round->base.held[0]);
    }
    round->writes.count = 0;
    round->count = 0;
    round->requests.length = 0;
    round->replies.length = 0;
    round->sent_bytes = 0;
    round->taken_bytes = 0;
}

/* ---- What the program holds ---- */

static void ask_for_everything(const struct words *keys, struct client *client)
{
    struct bytes requests = {0};
    for (uint32_t key = 1; key <= keys->count; key++) {
        struct slice name = words_get(keys, key);
        bytes_put(&requests, "GET ", 4);
        bytes_put(&requests, name.bytes, name.length);
        bytes_put(&requests, "\n", 1);
    }
    bytes_put(&requests, "COUNT\nLIST\n", 11);
    client_send(client, slice_of(&requests, 0));
    (void)resize(requests.at, 0); /* given back */
}

/* COUNT and LIST, and with them the index as a whole, say the same as GET of each key. */
static void check_walk(struct torture *torture, struct client *client, struct state *seen)
{
    struct contents found = torture->contents;
    struct request request = {.verb = VERB_LIST};
    struct bytes list = {0};
    const char *line = NULL;
    found.held = seen->held;
    contents_sum_up(&found);
    if (strtoull(client_read_line(client), NULL, 10) != found.key_count) {
        complain(torture, "COUNT differs from the keys that exist");
    }
    do {
        line = client_read_line(client);
        bytes_put(&list, line, strlen(line));
        bytes_put(&list, "\n", 1);
    } while (line[0] != '\0');
    struct hearing hearing = {.rest = slice_of(&list, 0)};
    if (contents_match_keys(&found, &hearing, &request, false) != MATCH) {
        complain(torture, "LIST differs from the keys that exist");
    }
    (void)resize(list.at, 0); /* given back */
}

static void read_state(struct torture *torture, const struct server_process *server,
                       struct state *seen)
{
    const struct contents *contents = &torture->contents;
    struct client client;
    client_open(&client, server->port);
    ask_for_everything(&contents->keys, &client);
    for (uint32_t key = 1; key <= contents->keys.count; key++) {
        struct slice line = slice_of_text(client_read_line(&client));
        bool is_stored = !slice_equal(line, contents_status(KV_NOT_FOUND, VERB_GET));
        seen->held[key] = is_stored ? words_find(&contents->values, line) : 0;
        if (is_stored && seen->held[key] == 0) {
            complain(torture, "a value that no client sent");
        }
    }
    check_walk(torture, &client, seen);
    client_close(&client);
}

/* Some keys that the commands answered do not explain. */
static void show_difference(const struct contents *contents, const uint32_t held[],
                            const struct state *seen)
{
    size_t shown = 0;
    for (uint32_t key = 1; key <= contents->keys.count && shown < SHOWN_MAX; key++) {
        if (held[key] != seen->held[key]) {
            struct slice name = words_get(&contents->keys, key);
            (void)fprintf(stderr, "  %.*s holds value %u; answered was %u\n",
                          (int)name.length, (const char *)name.bytes, seen->held[key],
                          held[key]);
            shown++;
        }
    }
}

/*
 * What a program that was just started holds must be the outcome of a number of commands,
 * from `least` to `most`.
 */
static void check_state(struct torture *torture, const struct server_process *server,
                        size_t least, size_t most)
{
    struct state seen;
    struct round *round = &torture->round;
    struct contents *contents = &torture->contents;
    struct state state = round->base;
    read_state(torture, server, &seen);
    size_t sure = least == 0 ? 0 : round->commands[least - 1].writes;
    for (size_t i = 0; i < sure; i++) {
        state.held[round->writes.items[i].key] = round->writes.items[i].value;
    }
    struct state answered = state;
    struct writes rest = {.items = round->writes.items + sure,
                          .count =
                              most == 0 ? 0 : round->commands[most - 1].writes - sure};
    size_t differing = states_differing(state.held, seen.held, contents->keys.count);
    size_t followed = writes_follow(&rest, state.held, seen.held, &differing);
    if (differing > 0) {
        complain(torture, "the state is not that after a number of commands");
        (void)fprintf(stderr, "  %zu commands answered, %zu sent\n", least, most);
        show_difference(contents, answered.held, &seen);
    }
    if (server == &torture->server) {
        torture->surviving += differing == 0 && followed > 0;
        memcpy(contents->held, seen.held,
               (contents->keys.count + 1) * sizeof seen.held[0]);
        contents_sum_up(contents);
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
        check_state(torture, &reader, backup->commands_min, backup->commands_max);
        server_process_stop(&reader);
    }
    (void)unlink(torture->copy.path);
    (void)unlink(torture->copy_old.path); /* mostly there is none */
}

/* ---- Rounds ---- */

static void choose_plan(struct torture *torture, struct plan *plan)
{
    static const uint64_t sent_features =
        (1 << LINE_FEATURES) - 1 -
        (1 << MAY_KEYS | 1 << MAY_LIST | 1 << MAY_STATS | 1 << MAY_HELP | 1 << MAY_QUIT |
         1 << MAY_BREAK);
    static const size_t windows[] = {1, 8, 128, 1024, WINDOW_MAX};
    struct lines *lines = &torture->lines;
    struct dice *dice = &lines->dice;
    bool is_long = dice_below(dice, 50) == 0;
    *plan = (struct plan){
        .window = windows[dice_below(dice, sizeof windows / sizeof windows[0])],
        .limit = SIZE_MAX,
        .signal_number = dice_below(dice, 8) == 0 ? SIGTERM : SIGKILL,
        .delay_us =
            dice_below(dice, 4) == 0 ? dice_below(dice, 3000) : dice_below(dice, 60000),
        .backup_after = dice_below(dice, 5) == 0 ? dice_below(dice, 30) : UINT64_MAX,
        .compacts = dice_below(dice, 3) != 0,
        .lists = dice_below(dice, 4) == 0,
    };
    /* Commands that get one line, and only while the client lasts. */
    lines->features = (dice_next(dice) & sent_features) | 1 << MAY_SET;
    lines->features &= ~(uint64_t)(plan->compacts ? 0 : 1 << MAY_COMPACT);
    lines->is_large = dice_below(dice, 4) == 0;
    lines->large_left = lines->is_large ? (unsigned)dice_below(dice, 100) : 0;
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
        struct slice unsent = slice_of(&round->requests, round->sent_bytes);
        state = client_pump(&client, &unsent);
        round->sent_bytes = round->requests.length - unsent.length;
        round->taken_bytes +=
            client_take_equal(&client, slice_of(&round->replies, round->taken_bytes));
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
                 dice_below(&torture->lines.dice, torture->start_us * 5 / 4 + 1));
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
        .options = dice_below(&torture->lines.dice, 3) == 0 ? everysec : always,
    };
    uint64_t killed_count = dice_below(&torture->lines.dice, 4) == 0
                                ? 1 + dice_below(&torture->lines.dice, 3)
                                : 0;
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
    check_state(torture, &torture->server, answered, sent);
}

static void write_heavy_keys(struct torture *torture)
{
    struct client client;
    struct round *round = &torture->round;
    contents_clear(&torture->contents);
    round_begin(torture);
    for (uint64_t key = 0; key < HEAVY_KEYS; key++) {
        put_heavy(&torture->lines, key);
        add_command(torture);
    }
    client_open(&client, torture->server.port);
    client_exchange(&client, slice_of(&round->requests, 0), slice_of(&round->replies, 0));
    client_close(&client);
}

/*
 * On a disk most of the time goes into the sync, in memory most goes into the write:
 * there more kills hit a batch that is written in part.
 */
static void make_directory(struct torture *torture)
{
    static const char memory[] = "/dev/shm";
    bool uses_memory =
        dice_below(&torture->lines.dice, 2) == 0 && access(memory, W_OK) == 0;
    assert_int_equal(setenv("TMPDIR", uses_memory ? memory : torture->disk, 1), 0);
    tempdir_create(&torture->tempdir);
    torture->lines.key_count =
        dice_below(&torture->lines.dice, 4) == 0 ? KEYS_MANY : KEYS_FEW;
    torture->log = tempdir_file(&torture->tempdir, "kv.log");
}

/* A log that has grown makes every start slow; and kills must meet the making of one. */
static void renew_log(struct torture *torture)
{
    struct stat info;
    if (stat(torture->log.path, &info) == 0 && info.st_size < LOG_BYTES_KEPT &&
        dice_below(&torture->lines.dice, 15) != 0) {
        return;
    }
    server_process_stop(&torture->server);
    tempdir_remove(&torture->tempdir);
    make_directory(torture);
    start(torture);
    write_heavy_keys(torture);
}

static void run_round(struct torture *torture)
{
    struct plan plan;
    renew_log(torture);
    choose_plan(torture, &plan);
    round_begin(torture);
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
    torture->lines.key_bytes = 8; /* so that none begins as another */
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
    dice_begin(&torture.lines.dice);
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
