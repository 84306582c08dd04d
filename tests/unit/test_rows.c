/*
 * Faults that concern several modules at once, each driven through the engine, a session
 * or the server in this process, where the system calls and the clock are the test's.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen recv send shutdown poll clock_gettime
 * wrap: accept listen
 */
#include "net/server.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "engine/keydir.h"
#include "file/files.h"
#include "file/io.h"
#include "net/session.h"
#include "support/compacting.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define START_MS  UINT64_C(5000000)
#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)

/* ---- A server whose accept fails ---- */

static const int passing_errors[] = {ECONNABORTED, EPROTO, EHOSTUNREACH, ENETDOWN,
                                     ETIMEDOUT};
static const int exhaustion_errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};

enum {
    PASSING_COUNT = sizeof passing_errors / sizeof passing_errors[0],
    EXHAUSTION_COUNT = sizeof exhaustion_errors / sizeof exhaustion_errors[0],
    EXHAUSTION_MINUTES = 10
};

static struct {
    size_t calls;
    size_t exhausted_calls;
    uint64_t exhausted_until_ms;
    int client_fd;
    int next_fd;
    bool has_accepted;
    bool is_served;
} acceptor;

int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __real_accept(int fd, struct sockaddr *address, socklen_t *length);
int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length);

static int connect_to(int listen_fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&address, &length), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, length), 0);
    return fd;
}

/* A client that has sent everything before it is accepted. */
static void connect_client(int listen_fd)
{
    static const char request[] = "SET k v\nGET k\n";
    acceptor.client_fd = connect_to(listen_fd);
    assert_int_equal(write(acceptor.client_fd, request, sizeof request - 1),
                     sizeof request - 1);
    assert_int_equal(shutdown(acceptor.client_fd, SHUT_WR), 0);
}

/* The client comes at once, so that accept is called until it succeeds. */
int __wrap_listen(int fd, int backlog)
{
    int result = __real_listen(fd, backlog);
    connect_client(fd);
    return result;
}

/* Some clients are lost, then descriptors are short for a while, then one is served. */
int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    size_t call = acceptor.calls++;
    if (call < PASSING_COUNT) {
        acceptor.exhausted_until_ms = clock_now_ms() + EXHAUSTION_MINUTES * MINUTE_MS;
        errno = passing_errors[call];
        return -1;
    }
    if (clock_now_ms() < acceptor.exhausted_until_ms) {
        errno = exhaustion_errors[acceptor.exhausted_calls++ % EXHAUSTION_COUNT];
        return -1;
    }
    if (!acceptor.has_accepted) {
        acceptor.has_accepted = true;
        return __real_accept(fd, address, length);
    }
    if (acceptor.is_served) {
        assert_int_equal(raise(SIGTERM), 0);
    }
    acceptor.is_served = true; /* until the next call, for which somebody is there */
    acceptor.next_fd = connect_to(fd);
    errno = EAGAIN;
    return -1;
}

/* A stop is for ever in one process, so both rows share one run of a server. */
static void f13_f14_a_failing_accept_neither_ends_the_server_nor_spins(void **state)
{
    struct engine *engine = *state;
    char reply[64];
    struct server_options options = {
        .listener = {.addresses = {"127.0.0.1"}, .address_count = 1, .port = "0"},
        .session = {.value_bytes_max = MIB, .idle_ms = 10000},
    };
    shim_set_clock(START_MS);
    engine_open(engine);
    struct listener listener;
    assert_int_equal(listener_bind(&options.listener, &listener), KV_OK);
    assert_int_equal(server_run(&options, &listener, engine->store), KV_OK);
    listener_close(&listener);
    assert_int_equal(engine_told(engine, "was lost before"), PASSING_COUNT);
    assert_in_range(engine_told(engine, "cannot accept"), EXHAUSTION_MINUTES - 1,
                    EXHAUSTION_MINUTES + 1);
    /* At most a tenth of a second apart, so that it recovers at once, and no faster. */
    assert_in_range(acceptor.exhausted_calls, EXHAUSTION_MINUTES * 60 * 10,
                    EXHAUSTION_MINUTES * 60 * 50);
    ssize_t length = read(acceptor.client_fd, reply, sizeof reply);
    assert_int_equal(length, 10);
    assert_memory_equal(reply, "success\nv\n", 10);
    assert_int_equal(close(acceptor.client_fd), 0);
    assert_int_equal(close(acceptor.next_fd), 0);
}

/* ---- A session over a disk that is slow ---- */

struct visit {
    int client_fd;
    size_t syncs;
};

/* In the midst of a sync nothing has reached the client; then half a minute goes by. */
static void look_amid_a_sync(void *context)
{
    struct visit *visit = context;
    struct pollfd in = {.fd = visit->client_fd, .events = POLLIN};
    assert_int_equal(poll(&in, 1, 0), 0);
    shim_advance_clock(30 * SECOND_MS);
    visit->syncs++;
}

static void f37_f38_no_reply_leaves_before_a_sync_however_long_it_takes(void **state)
{
    static const char request[] = "GET k\nSET k v\nGET k\n";
    static const char expected[] = "no value stored\nsuccess\nv\n";
    struct engine *engine = *state;
    struct session *session = NULL;
    enum session_state session_state = SESSION_READY;
    struct session_options options = {MIB, 10000};
    char reply[128];
    int fds[2];
    engine_open(engine);
    shim_set_clock(START_MS);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    struct visit visit = {.client_fd = fds[1]};
    assert_int_equal(session_create(&options, engine->store, &session), KV_OK);
    session_begin(session, fds[0]);
    assert_int_equal(write(fds[1], request, sizeof request - 1), sizeof request - 1);
    shim_before(SHIM_BIT(SHIM_FDATASYNC), SHIM_LOG, look_amid_a_sync, &visit);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(session_run(session, &session_state), KV_OK);
        assert_true(session_wait(session).idle_ms > clock_now_ms());
    }
    assert_int_equal(visit.syncs, 1);
    assert_int_equal(session_state, SESSION_WAITING);
    ssize_t length = read(fds[1], reply, sizeof reply);
    assert_int_equal(length, sizeof expected - 1);
    assert_memory_equal(reply, expected, sizeof expected - 1);
    assert_int_equal(close(fds[1]), 0);
    session_end(session);
    session_destroy(session);
}

/* ---- The file system ---- */

/*
 * As ext4 is after an error: nothing can be written, nor cut, and nothing was. What is
 * there can still be read.
 */
static void f41_a_read_only_file_system_leaves_reads_working(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    engine_put(engine, "k", "v");
    uint64_t length = engine_log_length(engine);
    shim_fail_from(SHIM_BIT(SHIM_PWRITE) | SHIM_BIT(SHIM_FTRUNCATE), SHIM_LOG, 1, EROFS);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(engine_set(engine, "k", "w"), KV_OK);
        assert_int_equal(store_commit(engine->store), KV_IO);
        engine_expect(engine, "k", "v");
        assert_int_equal(engine_log_length(engine), length);
    }
    assert_int_equal(engine_told(engine, "cannot append"), 1);
    shim_clear_faults();
    engine_put(engine, "k", "again");
    engine_crash(engine);
    engine_open(engine);
    engine_expect(engine, "k", "again");
}

/* To /dev/null, which takes any number of bytes and looks at none. */
static void f43_what_is_beyond_a_gibibyte_is_written_in_parts(void **state)
{
    (void)state;                    /* only the shim is wanted */
    watchdog_skip_under_valgrind(); /* which looks at each byte of three writes */
    if (sizeof(size_t) <= 4) {
        skip();
    }
    size_t length = (size_t)(2 * WRITE_BYTES_MAX + 12345);
    void *bytes =
        mmap(NULL, length, PROT_READ, MAP_PRIVATE, open("/dev/zero", O_RDONLY), 0);
    int fd = open("/dev/null", O_WRONLY);
    assert_true(bytes != MAP_FAILED);
    assert_in_range(fd, 0, 1023);
    shim_forget_trace();
    assert_int_equal(io_write_at(fd, (struct slice){bytes, length}, 7), KV_OK);
    assert_int_equal(shim_event_count(), 3);
    uint64_t offset = 7;
    for (size_t i = 0; i < 3; i++) {
        const struct shim_event *event = shim_event_at(i);
        assert_int_equal(event->call, SHIM_PWRITE);
        assert_int_equal(event->offset, offset);
        assert_int_equal(event->length, i < 2 ? WRITE_BYTES_MAX : 12345);
        offset += event->length;
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(munmap(bytes, length), 0);
}

/* ---- Hashes ---- */

/* Whoever learns which keys collide in one run has learnt nothing about the next. */
static void f28_each_start_hashes_keys_with_another_seed(void **state)
{
    (void)state;
    uint64_t hashes[8];
    for (size_t i = 0; i < 8; i++) {
        struct keydir keydir;
        assert_int_equal(keydir_init(&keydir, NULL), KV_OK);
        hashes[i] = keydir_hash(&keydir, SLICE_LITERAL("key"));
        keydir_destroy(&keydir);
        for (size_t k = 0; k < i; k++) {
            assert_true(hashes[i] != hashes[k]);
        }
    }
}

/* ---- In the long run ---- */

static size_t count_open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    size_t count = 0;
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

static size_t count_mappings(void)
{
    char line[512];
    size_t count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        count += strstr(line, "kv.log") != NULL;
    }
    (void)fclose(file); /* only read */
    return count;
}

static void compact_once(struct engine *engine)
{
    assert_int_equal(store_compact(engine->store), KV_OK);
    for (size_t i = 0; engine_has_file(engine, FILES_OLD); i++) {
        assert_int_equal(compacting_step(engine), KV_OK);
        assert_in_range(i, 0, 100);
    }
}

/* What a day of service does many times leaves nothing behind. */
static void f77_a_hundred_compactions_leave_nothing_behind(void **state)
{
    struct engine *engine = *state;
    struct model model = {0};
    char value[32];
    shim_omit_syncs();
    engine_open(engine);
    for (size_t k = 0; k < MODEL_KEYS; k++) {
        engine_put(engine, model_key(k), "first");
    }
    compact_once(engine);
    size_t files = count_open_files();
    size_t mappings = count_mappings();
    struct store_stats before = store_stats(engine->store);
    for (size_t i = 0; i < watchdog_scaled(100, 20); i++) {
        for (size_t k = 0; k < 2 * MODEL_KEYS; k++) {
            (void)snprintf(value, sizeof value, "%zu/%zu", i, k);
            engine_put(engine, model_key(k % MODEL_KEYS), value);
            model_set(&model, k % MODEL_KEYS, value);
        }
        compact_once(engine);
        model_expect(&model, engine);
    }
    struct store_stats after = store_stats(engine->store);
    assert_int_equal(count_open_files(), files);
    assert_int_equal(count_mappings(), mappings);
    assert_int_equal(after.index_bytes, before.index_bytes);
    assert_int_equal(engine_count_files(engine, "kv.log"), 2); /* and its lock */
    assert_in_range(after.log_bytes, 0, 4096);
    engine_crash(engine);
    engine_open(engine);
    model_expect(&model, engine);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_ENGINE(f13_f14_a_failing_accept_neither_ends_the_server_nor_spins),
        ON_ENGINE(f37_f38_no_reply_leaves_before_a_sync_however_long_it_takes),
        ON_ENGINE(f41_a_read_only_file_system_leaves_reads_working),
        ON_ENGINE(f43_what_is_beyond_a_gibibyte_is_written_in_parts),
        ON_ENGINE(f28_each_start_hashes_keys_with_another_seed),
        ON_ENGINE(f77_a_hundred_compactions_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
