/*
 * The program under test as a child process: the one that the environment names in
 * KV_STORE_PROGRAM, behind the command in KV_STORE_RUNNER if there is one (valgrind
 * with its options, say; words are parted by spaces).
 */
#ifndef KV_SUPPORT_SERVER_H
#define KV_SUPPORT_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SERVER_MESSAGES_BYTES = 16384 };

struct server_process {
    pid_t pid; /* 0: none runs */
    uint16_t port;
    int stderr_fd;                        /* -1: not ours to read */
    char messages[SERVER_MESSAGES_BYTES]; /* what stderr said so far; cut beyond */
    size_t messages_length;
};

/* How to start it; all zero but the log is an ordinary start. */
struct server_launch {
    const char *log;
    const char *const *options; /* ended by NULL; NULL: none besides log, port, idle */
    const char *stdout_path;    /* NULL: nowhere */
    bool has_closed_stdio;   /* 0, 1 and 2 are closed; 2 is not where a runner needs it */
    bool has_full_stderr;    /* stderr is a pipe that takes no more bytes */
    bool has_hostile_parent; /* umask 0 and blocked stop signals are inherited */
    uint64_t file_bytes_max; /* RLIMIT_FSIZE; 0: unlimited */
};

/* Start the program and do not wait for anything. */
void server_process_launch(struct server_process *server,
                           const struct server_launch *launch);

/*
 * The same in a child of this program: it calls run(context) and exits with what that
 * returns. For a server whose system calls the test replaces.
 */
void server_process_fork(struct server_process *server, int (*run)(void *context),
                         void *context);

/* Wait for the line that means ready, and learn the port from it. */
void server_process_await_ready(struct server_process *server);

/* Learn the port, and that it listens, where stderr cannot be read. */
void server_process_await_listening(struct server_process *server);

/* Launch with these options and wait until it is ready. */
void server_process_start(struct server_process *server, const char *log,
                          const char *const *options);

/* Read stderr until it has said a text. */
void server_process_await_message(struct server_process *server, const char *text);

/*
 * Wait for the end of the program.
 *
 * Returns its exit status, or 128 and the number of the signal that ended it.
 */
int server_process_wait(struct server_process *server);

void server_process_signal(const struct server_process *server, int number);

/* Wait until a signal sent before is no longer pending: its handler runs or has run. */
void server_process_await_taken(const struct server_process *server, int number);

/* Whether it waits for something now, and is not about to go on. */
bool server_process_is_asleep(const struct server_process *server);

/* Wait until SIGSTOP, sent before, has stopped it. */
void server_process_await_stopped(const struct server_process *server);

/* Stop it by SIGTERM, which must end in exit status 0. */
void server_process_stop(struct server_process *server);

/* End it by SIGKILL. */
void server_process_kill(struct server_process *server);

/* Launch, wait for the end, and return the exit status as server_process_wait does. */
int server_process_run(struct server_process *server, const char *log,
                       const char *const *options);

/* End by SIGKILL whatever a failed test left running. */
void server_process_end_all(void);

/* How many descriptors it has open. */
size_t server_process_fd_count(const struct server_process *server);

/* The file that a descriptor of it stands for; "" if it is closed. */
void server_process_fd_target(const struct server_process *server, int fd, char *target,
                              size_t size);

/*
 * The most memory it has ever had resident, in KiB.
 *
 * Returns 0 where that says nothing about the program: under a runner or a sanitizer.
 */
size_t server_process_peak_kib(const struct server_process *server);

/* The memory of its own that it has resident now, without files; likewise. */
size_t server_process_memory_kib(const struct server_process *server);

#endif
