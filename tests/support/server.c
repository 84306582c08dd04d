/*
 * Starting, watching and ending the program under test.
 */
#include "support/server.h"

#include "support/unit.h"
#include "support/watchdog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

enum {
    ARGUMENTS_MAX = 64,
    RUNNING_MAX = 8,
    RUNNER_BYTES_MAX = 1024,
    STATUS_BYTES_MAX = 256,
    EXEC_FAILED = 127
};

/* The processes that run now; 0 is a free place. */
static pid_t running[RUNNING_MAX];

/* Put one process in the place of another; 0 stands for none. */
static void replace_running(pid_t old_pid, pid_t new_pid)
{
    size_t place = 0;
    while (place < RUNNING_MAX && running[place] != old_pid) {
        place++;
    }
    assert_in_range(place, 0, RUNNING_MAX - 1);
    running[place] = new_pid;
}

static bool has_runner(void)
{
    const char *runner = getenv("KV_STORE_RUNNER");
    return runner != NULL && runner[0] != '\0';
}

/* argv of the child; texts are borrowed. */
struct arguments {
    char *words[ARGUMENTS_MAX];
    size_t count;
};

static void add_argument(struct arguments *arguments, const char *word)
{
    assert_in_range(arguments->count, 0, ARGUMENTS_MAX - 2);
    /* execvp takes pointers to char for history's sake and changes nothing. */
    union {
        const char *constant;
        char *plain;
    } same = {.constant = word};
    arguments->words[arguments->count++] = same.plain;
    arguments->words[arguments->count] = NULL;
}

/* runner: room for the runner's words, which must outlive the arguments. */
static void collect_arguments(struct arguments *arguments,
                              const struct server_launch *launch,
                              char runner[RUNNER_BYTES_MAX])
{
    const char *command = getenv("KV_STORE_RUNNER");
    int length = snprintf(runner, RUNNER_BYTES_MAX, "%s", command == NULL ? "" : command);
    assert_in_range(length, 0, RUNNER_BYTES_MAX - 1);
    char *state = NULL;
    for (char *word = strtok_r(runner, " ", &state); word != NULL;
         word = strtok_r(NULL, " ", &state)) {
        add_argument(arguments, word);
    }
    const char *program = getenv("KV_STORE_PROGRAM");
    if (program == NULL) {
        fail_msg("KV_STORE_PROGRAM must name the program to test");
    }
    add_argument(arguments, program);
    add_argument(arguments, "--port");
    add_argument(arguments, "0");
    /* However slow the machine is, no test is to meet it by accident; options may follow.
     */
    add_argument(arguments, "--idle");
    add_argument(arguments, "1000000");
    add_argument(arguments, "--file");
    add_argument(arguments, launch->log);
    for (const char *const *option = launch->options; option != NULL && *option != NULL;
         option++) {
        add_argument(arguments, *option);
    }
}

/* Children report their end as a signal that waits to be taken. */
static void block_child_signal(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    assert_int_equal(sigprocmask(SIG_BLOCK, &signals, NULL), 0);
}

static void open_in_child(const char *path, int flags, int fd)
{
    int opened = open(path, flags, 0600);
    if (opened < 0 || dup2(opened, fd) < 0) {
        _exit(EXEC_FAILED);
    }
    close(opened);
}

static void set_signals_in_child(bool blocks_stop_signals)
{
    sigset_t signals;
    sigemptyset(&signals);
    if (blocks_stop_signals) {
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGALRM);
    }
    sigprocmask(SIG_SETMASK, &signals, NULL);
}

/* Everything between fork and exec; stderr_fd: the writing end of the pipe. */
static void become_server(const struct server_launch *launch,
                          const struct arguments *arguments, int stderr_fd)
{
    open_in_child("/dev/null", O_RDONLY, STDIN_FILENO);
    if (launch->stdout_path == NULL) {
        open_in_child("/dev/null", O_WRONLY, STDOUT_FILENO);
    } else {
        open_in_child(launch->stdout_path, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    }
    dup2(stderr_fd, STDERR_FILENO);
    close(stderr_fd);
    set_signals_in_child(launch->has_hostile_parent);
    if (launch->has_hostile_parent) {
        umask(0);
    }
    if (launch->file_bytes_max > 0) {
        struct rlimit limit = {(rlim_t)launch->file_bytes_max,
                               (rlim_t)launch->file_bytes_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (launch->has_closed_stdio) {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        if (!has_runner()) {
            close(STDERR_FILENO);
        }
    }
    execvp(arguments->words[0], arguments->words);
    (void)dprintf(STDERR_FILENO, "cannot run %s\n", arguments->words[0]);
    _exit(EXEC_FAILED);
}

/* Through a second opening, so that the pipe itself stays a blocking one. */
static void fill_pipe(int write_fd)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", write_fd);
    int fd = open(path, O_WRONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    static const char filler[4096];
    while (write(fd, filler, sizeof filler) > 0) {
    }
    while (write(fd, filler, 1) > 0) {
    }
    assert_int_equal(errno, EAGAIN);
    close(fd);
}

/* Fork, with a pipe for the stderr of the child. Returns its writing end there, which may
 * take no more bytes, and -1 here. */
static int fork_child(struct server_process *server, bool has_full_stderr)
{
    int ends[2];
    block_child_signal();
    assert_int_equal(pipe(ends), 0);
    /* A server started later must not hold the pipe of an earlier one open. */
    assert_int_equal(fcntl(ends[0], F_SETFD, FD_CLOEXEC), 0);
    if (has_full_stderr) {
        fill_pipe(ends[1]);
    }
    (void)fflush(stdout); /* or the child would say it again */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        return ends[1];
    }
    replace_running(0, pid);
    close(ends[1]);
    *server = (struct server_process){.pid = pid, .stderr_fd = ends[0]};
    return -1;
}

void server_process_launch(struct server_process *server,
                           const struct server_launch *launch)
{
    struct arguments arguments = {.count = 0};
    char runner[RUNNER_BYTES_MAX];
    collect_arguments(&arguments, launch, runner);
    int stderr_fd = fork_child(server, launch->has_full_stderr);
    if (stderr_fd >= 0) {
        become_server(launch, &arguments, stderr_fd);
    }
}

void server_process_fork(struct server_process *server, int (*run)(void *context),
                         void *context)
{
    int stderr_fd = fork_child(server, false);
    if (stderr_fd >= 0) {
        dup2(stderr_fd, STDERR_FILENO);
        close(stderr_fd);
        set_signals_in_child(false);
        int status = run(context);
        (void)fflush(stdout);
        _exit(status);
    }
}

/* Returns false at the end of file. */
static bool read_messages(struct server_process *server)
{
    char bytes[4096];
    ssize_t count = read(server->stderr_fd, bytes, sizeof bytes);
    if (count < 0 && errno != EINTR) {
        fail_msg("read of stderr: %s", strerror(errno));
    }
    size_t room = sizeof server->messages - 1 - server->messages_length;
    size_t kept = count < 0 ? 0 : (size_t)count;
    kept = kept < room ? kept : room;
    memcpy(server->messages + server->messages_length, bytes, kept);
    server->messages_length += kept;
    server->messages[server->messages_length] = '\0';
    return count != 0;
}

/* The place of a text in what stderr says, once its line is whole. */
static const char *await_line_with(struct server_process *server, const char *text)
{
    uint64_t deadline_ms = watchdog_deadline_ms();
    for (;;) {
        const char *found = strstr(server->messages, text);
        if (found != NULL && strchr(found, '\n') != NULL) {
            return found;
        }
        watchdog_await(server->stderr_fd, POLLIN, deadline_ms, text);
        if (!read_messages(server)) {
            fail_msg("the program ended without \"%s\"; it said:\n%s", text,
                     server->messages);
        }
    }
}

void server_process_await_message(struct server_process *server, const char *text)
{
    (void)await_line_with(server, text);
}

void server_process_await_ready(struct server_process *server)
{
    static const char ready[] = "kv-store: listening on ";
    const char *line = await_line_with(server, ready);
    const char *end = strchr(line, '\n');
    const char *colon = end;
    while (*colon != ':') {
        colon--;
    }
    char *after = NULL;
    unsigned long port = strtoul(colon + 1, &after, 10);
    if (after != end || port == 0 || port > UINT16_MAX) {
        fail_msg("no port at the end of: %.*s", (int)(end - line), line);
    }
    server->port = (uint16_t)port;
}

/* The inode of the socket that a descriptor stands for, or 0. */
static unsigned long socket_inode(const struct server_process *server, int fd)
{
    char target[128];
    server_process_fd_target(server, fd, target, sizeof target);
    unsigned long inode = 0;
    return sscanf(target, "socket:[%lu]", &inode) == 1 ? inode : 0;
}

/* The local port of a listening IPv4 socket by its inode, or 0. */
static unsigned listening_port(unsigned long wanted_inode)
{
    enum { STATE_LISTEN = 0x0a };
    FILE *table = fopen("/proc/net/tcp", "r");
    if (table == NULL) {
        return 0;
    }
    unsigned found = 0;
    char row[512];
    while (found == 0 && fgets(row, sizeof row, table) != NULL) {
        unsigned port = 0;
        unsigned state = 0;
        unsigned long inode = 0;
        int count = sscanf(row,
                           " %*[0-9]: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x "
                           "%*x %*d %*d %lu",
                           &port, &state, &inode);
        if (count == 3 && state == STATE_LISTEN && inode == wanted_inode) {
            found = port;
        }
    }
    (void)fclose(table); /* only read */
    return found;
}

/* Leaves it to be reaped. */
static bool has_ended(const struct server_process *server)
{
    siginfo_t info = {.si_pid = 0};
    id_t id = (id_t)server->pid;
    return waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

void server_process_await_listening(struct server_process *server)
{
    enum { FDS_MAX = 64 };
    uint64_t deadline_ms = watchdog_deadline_ms();
    while (server->port == 0) {
        for (int fd = 0; fd < FDS_MAX && server->port == 0; fd++) {
            unsigned long inode = socket_inode(server, fd);
            server->port = (uint16_t)(inode == 0 ? 0 : listening_port(inode));
        }
        watchdog_check(deadline_ms, "a listening socket");
        if (has_ended(server)) {
            fail_msg("the program ended without a listening socket");
        }
        sched_yield();
    }
}

void server_process_start(struct server_process *server, const char *log,
                          const char *const *options)
{
    struct server_launch launch = {.log = log, .options = options};
    server_process_launch(server, &launch);
    server_process_await_ready(server);
}

/* Wait for the process alone; stderr is left as it is. */
static int reap(struct server_process *server)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    const struct timespec step = {.tv_sec = 1};
    uint64_t deadline_ms = watchdog_deadline_ms();
    int state = 0;
    pid_t pid = waitpid(server->pid, &state, WNOHANG);
    while (pid == 0) {
        watchdog_check(deadline_ms, "the end of the program");
        (void)sigtimedwait(&signals, NULL, &step); /* a timeout is judged above */
        pid = waitpid(server->pid, &state, WNOHANG);
    }
    assert_int_equal(pid, server->pid);
    replace_running(pid, 0);
    server->pid = 0;
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

int server_process_wait(struct server_process *server)
{
    int status = reap(server);
    /* The other end is closed now, so this ends and never blocks. */
    while (server->stderr_fd >= 0 && read_messages(server)) {
    }
    if (server->stderr_fd >= 0) {
        close(server->stderr_fd);
        server->stderr_fd = -1;
    }
    return status;
}

void server_process_signal(const struct server_process *server, int number)
{
    assert_true(server->pid > 0);
    assert_int_equal(kill(server->pid, number), 0);
}

void server_process_stop(struct server_process *server)
{
    server_process_signal(server, SIGTERM);
    int status = server_process_wait(server);
    if (status != 0) {
        fail_msg("exit status %d after SIGTERM; it said:\n%s", status, server->messages);
    }
}

void server_process_kill(struct server_process *server)
{
    server_process_signal(server, SIGKILL);
    assert_int_equal(server_process_wait(server), 128 + SIGKILL);
}

int server_process_run(struct server_process *server, const char *log,
                       const char *const *options)
{
    struct server_launch launch = {.log = log, .options = options};
    server_process_launch(server, &launch);
    return server_process_wait(server);
}

void server_process_end_all(void)
{
    for (size_t place = 0; place < RUNNING_MAX; place++) {
        if (running[place] > 0) {
            (void)kill(running[place], SIGKILL); /* it may have ended by itself */
            (void)waitpid(running[place], NULL, 0);
            running[place] = 0;
        }
    }
}

size_t server_process_fd_count(const struct server_process *server)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/fd", (long)server->pid);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    size_t count = 0;
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count - 2; /* without . and .. */
}

void server_process_fd_target(const struct server_process *server, int fd, char *target,
                              size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)server->pid, fd);
    ssize_t length = readlink(path, target, size - 1);
    target[length < 0 ? 0 : length] = '\0';
}

/* The value of one line of the kernel's account of the process; "" if there is none. */
static void read_status(const struct server_process *server, const char *name,
                        char value[STATUS_BYTES_MAX])
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)server->pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    value[0] = '\0';
    char line[STATUS_BYTES_MAX];
    while (fgets(line, sizeof line, file) != NULL) {
        size_t length = strlen(name);
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            (void)snprintf(value, STATUS_BYTES_MAX, "%s", line + length + 1);
        }
    }
    (void)fclose(file); /* only read */
}

void server_process_await_taken(const struct server_process *server, int number)
{
    uint64_t deadline_ms = watchdog_deadline_ms();
    unsigned long long bit = 1ULL << (number - 1);
    char pending[STATUS_BYTES_MAX];
    read_status(server, "ShdPnd", pending);
    while ((strtoull(pending, NULL, 16) & bit) != 0) {
        watchdog_check(deadline_ms, "a signal to be taken");
        sched_yield();
        read_status(server, "ShdPnd", pending);
    }
}

/* The first letter of its state, as ps has it. */
static char state_of(const struct server_process *server)
{
    char value[STATUS_BYTES_MAX];
    read_status(server, "State", value);
    return value[strspn(value, " \t")];
}

bool server_process_is_asleep(const struct server_process *server)
{
    char before[STATUS_BYTES_MAX];
    char after[STATUS_BYTES_MAX];
    read_status(server, "voluntary_ctxt_switches", before);
    bool is_asleep = state_of(server) == 'S';
    read_status(server, "voluntary_ctxt_switches", after);
    return is_asleep && strcmp(before, after) == 0;
}

void server_process_await_stopped(const struct server_process *server)
{
    uint64_t deadline_ms = watchdog_deadline_ms();
    while (state_of(server) != 'T') {
        watchdog_check(deadline_ms, "the program to stand still");
        sched_yield();
    }
}

/* A size that the system tells of it, or 0 where it says nothing about the program. */
static size_t read_status_kib(const struct server_process *server, const char *name)
{
    if (HAS_SANITIZER || has_runner()) {
        return 0;
    }
    char value[STATUS_BYTES_MAX];
    read_status(server, name, value);
    size_t size_kib = (size_t)strtoull(value, NULL, 10);
    assert_true(size_kib > 0);
    return size_kib;
}

size_t server_process_peak_kib(const struct server_process *server)
{
    return read_status_kib(server, "VmHWM");
}

size_t server_process_memory_kib(const struct server_process *server)
{
    return read_status_kib(server, "RssAnon");
}
