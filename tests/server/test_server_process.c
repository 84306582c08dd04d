/*
 * The life of the program in surroundings that are not kind: others that want its log or
 * its port, files that are no logs, descriptors, signals and limits that it inherits.
 */
#include "base/bounds.h"
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct tempdir_file scene_file(const struct scene *scene, const char *name)
{
    return tempdir_file(&scene->tempdir, name);
}

/* Runs the program to its end, which must have this status and a reason on stderr. */
static void expect_exit(const char *log, const char *const *options, int expected)
{
    struct server_process server;
    int status = server_process_run(&server, log, options);
    if (status != expected) {
        fail_msg("exit status %d instead of %d; it said:\n%s", status, expected,
                 server.messages);
    }
    assert_true(server.messages_length > 0);
}

static void f79_a_second_server_on_the_same_port_exits_1_and_leaves_its_log(void **state)
{
    struct scene *scene = *state;
    struct tempdir_file other = scene_file(scene, "other.log");
    char port[16];
    scene_start(scene, NULL);
    (void)snprintf(port, sizeof port, "%u", (unsigned)scene->server.port);
    const char *const options[] = {"--port", port, NULL};
    expect_exit(other.path, options, 1);
    assert_int_equal(access(other.path, F_OK), -1);
    scene_talk_text(scene, "COUNT\n", "0\n");
}

/* The server closed first, so its side of the old connection is in TIME_WAIT. */
static void f19_the_port_can_be_had_again_at_once(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, NULL);
    char port[16];
    (void)snprintf(port, sizeof port, "%u", (unsigned)scene->server.port);
    const char *const options[] = {"--port", port, NULL};
    for (size_t i = 0; i < 5; i++) {
        struct client client = scene_client(scene);
        client_exchange(&client, SLICE_LITERAL("COUNT\nQUIT\n"), SLICE_LITERAL("0\n"));
        client_expect_end(&client);
        client_close(&client);
        server_process_stop(&scene->server);
        scene_start(scene, options);
    }
}

/* Exactly these bytes are there after a start that is refused. */
static void f95_a_file_that_is_no_log_exits_3_and_stays_as_it_is(void **state)
{
    static const struct slice contents[] = {
        BYTES("Dear diary,\nthis is no log at all.\n"),
        BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        BYTES("\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\76\0\1\0\0\0"),
    };
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        struct script before = {0};
        struct script after = {0};
        script_add(&before, contents[i]);
        script_write_file(&before, scene->log.path);
        expect_exit(scene->log.path, NULL, 3);
        script_add_file(&after, scene->log.path);
        assert_true(slice_equal(script_slice(&after), contents[i]));
        script_free(&before);
        script_free(&after);
    }
}

static void f75_files_are_private_and_signals_work_whatever_is_inherited(void **state)
{
    struct scene *scene = *state;
    struct server_launch launch = {.log = scene->log.path, .has_hostile_parent = true};
    server_process_launch(&scene->server, &launch);
    server_process_await_ready(&scene->server);
    scene_talk_text(scene, "SET k v\n", "success\n");
    static const char *const names[] = {"kv.log", "kv.log.lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct stat file;
        assert_int_equal(stat(scene_file(scene, names[i]).path, &file), 0);
        assert_int_equal(file.st_mode & 07777, 0600);
    }
    server_process_stop(&scene->server);
}

static void f74_closed_standard_descriptors_do_not_end_up_in_the_log(void **state)
{
    struct scene *scene = *state;
    struct server_launch launch = {.log = scene->log.path, .has_closed_stdio = true};
    server_process_launch(&scene->server, &launch);
    server_process_await_listening(&scene->server);
    scene_talk_text(scene, "SET k v\nGET k\n", "success\nv\n");
    scene_talk_text(scene, "POST /\n", ""); /* an event that may be worth a message */
    struct client client = scene_client(scene);
    client_exchange(&client, SLICE_LITERAL("COUNT\n"), SLICE_LITERAL("1\n"));
    for (int fd = 0; fd <= 2; fd++) {
        char target[TEMPDIR_FILE_BYTES];
        server_process_fd_target(&scene->server, fd, target, sizeof target);
        assert_null(strstr(target, "kv.log"));
        assert_null(strstr(target, "socket:"));
    }
    client_close(&client);
    server_process_stop(&scene->server);
    scene_start(scene, NULL);
    scene_talk_text(scene, "GET k\nCOUNT\n", "v\n1\n");
}

/* Full from the first line on: not even the ready line finds room. */
static void f76_a_full_stderr_blocks_neither_service_nor_stop(void **state)
{
    struct scene *scene = *state;
    struct server_launch launch = {.log = scene->log.path, .has_full_stderr = true};
    server_process_launch(&scene->server, &launch);
    server_process_await_listening(&scene->server);
    for (size_t i = 0; i < 20; i++) {
        struct client client = scene_client(scene);
        client_send_text(&client, "SET k v\nPOST /\n");
        client_expect_text(&client, "success\n");
        client_expect_end(&client);
        client_close(&client);
    }
    scene_talk_text(scene, "GET k\n", "v\n");
    server_process_stop(&scene->server);
}

static void f73_a_stopped_and_continued_server_goes_on(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, NULL);
    struct client client = scene_client(scene);
    client_exchange(&client, SLICE_LITERAL("SET k v\n"), SLICE_LITERAL("success\n"));
    server_process_signal(&scene->server, SIGSTOP);
    server_process_await_stopped(&scene->server);
    client_send_text(&client, "GET k\n");
    client_await_arrived(&client);
    server_process_signal(&scene->server, SIGCONT);
    client_expect_text(&client, "v\n");
    client_close(&client);
}

/* The limit is as a disk that is full: what does not fit is refused, and told, though
 * nobody holds stderr any more; the rest goes on. */
static void f9_f31_a_file_size_limit_refuses_writes_and_nothing_else(void **state)
{
    struct scene *scene = *state;
    struct server_launch launch = {.log = scene->log.path, .file_bytes_max = 20000};
    struct script request = {0};
    server_process_launch(&scene->server, &launch);
    server_process_await_ready(&scene->server);
    close(scene->server.stderr_fd);
    scene->server.stderr_fd = -1;
    scene_talk_text(scene, "SET k kept\n", "success\n");
    script_add_text(&request, "SET big ");
    script_add_fill_line(&request, 'x', 30000);
    scene_talk(scene, script_slice(&request), SLICE_LITERAL("error: storage full\n"));
    scene_talk_text(scene, "GET k\nGET big\nSET k again\nGET k\n",
                    "kept\nno value stored\nsuccess\nagain\n");
    scene_restart(scene);
    scene_talk_text(scene, "GET k\nCOUNT\n", "again\n1\n");
    script_free(&request);
}

/* Bytes of a log of the original: so many short records. */
static void add_records(struct script *log, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char key[16];
        int length = snprintf(key, sizeof key, "%08zu", i);
        const uint8_t header[16] = {[7] = (uint8_t)length, [15] = 1};
        script_add(log, (struct slice){header, sizeof header});
        script_add_text(log, key);
        script_add_text(log, "v");
    }
}

/* Run the program on the scene's log with so much address space. */
static int run_within(struct scene *scene, size_t bytes, const char *option)
{
    const char *const options[] = {option, NULL};
    char runner[64];
    (void)snprintf(runner, sizeof runner, "prlimit --as=%zu", bytes);
    assert_int_equal(setenv("KV_STORE_RUNNER", runner, 1), 0);
    int status = server_process_run(&scene->server, scene->log.path, options);
    assert_int_equal(unsetenv("KV_STORE_RUNNER"), 0);
    return status;
}

static void f62_an_index_that_does_not_fit_into_memory_exits_1(void **state)
{
    struct scene *scene = *state;
    struct script log = {0};
    struct script now = {0};
    if (getenv("KV_STORE_RUNNER") != NULL ||
        system("prlimit --version >/dev/null") != 0) {
        skip();
    }
    scene_start(scene, NULL);
    size_t peak_kib = server_process_peak_kib(&scene->server);
    server_process_stop(&scene->server);
    if (peak_kib == 0) {
        skip(); /* a sanitizer wants address space of its own */
    }
    add_records(&log, 300000);
    script_write_file(&log, scene->log.path);
    size_t limit = 64 * MIB;
    int status = 0;
    while (status == 0 && limit > 4 * MIB) {
        limit -= MIB;
        status = run_within(scene, limit, "--verify");
    }
    assert_int_equal(status, 1);
    assert_non_null(strstr(scene->server.messages, "memory"));
    status = run_within(scene, limit, "--sync=always");
    assert_int_equal(status, 1);
    assert_non_null(strstr(scene->server.messages, "memory"));
    script_add_file(&now, scene->log.path);
    assert_int_equal(now.length, log.length);
    assert_memory_equal(now.bytes, log.bytes, log.length);
    scene_start(scene, NULL); /* with memory enough */
    scene_talk_text(scene, "COUNT\n", "300000\n");
    script_free(&log);
    script_free(&now);
}

/* All of 127.0.0.0/8 is this host, so 127.0.0.2 stands for any other of its addresses. */
static void f92_only_the_loopback_address_is_listened_on(void **state)
{
    struct scene *scene = *state;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(scene->server.port),
    };
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &address.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_in_range(fd, 0, 1023);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(close(fd), 0);
    scene_talk_text(scene, "COUNT\n", "0\n");
}

/* Where nobody would look for it after a restart, nothing is acknowledged. */
static void f101_a_log_that_was_renamed_is_not_written_to(void **state)
{
    struct scene *scene = *state;
    struct tempdir_file renamed = tempdir_file(&scene->tempdir, "kv.log.1");
    scene_start(scene, NULL);
    scene_talk_text(scene, "SET before value\n", "success\n");
    assert_int_equal(rename(scene->log.path, renamed.path), 0);
    struct client client = scene_client(scene);
    client_send_text(&client, "SET after value\n");
    assert_int_equal(server_process_wait(&scene->server), 1);
    assert_int_equal(client_take_lines(&client, "success"), 0);
    client_close(&client);
    assert_non_null(strstr(scene->server.messages,
                           "kv.log: the log was renamed while it was served; stopping"));
}

/* A log in which nothing was written: so the first server has no reason to look at it. */
static void f101_a_log_in_use_is_kept_from_a_second_server_under_any_name(void **state)
{
    struct scene *scene = *state;
    struct server_process second = {0};
    struct tempdir_file renamed = tempdir_file(&scene->tempdir, "kv.log.1");
    scene_start(scene, NULL);
    assert_int_equal(rename(scene->log.path, renamed.path), 0);
    const char *const port[] = {"--port", "0", NULL};
    const char *const verify[] = {"--verify", NULL};
    assert_int_equal(server_process_run(&second, renamed.path, port), 1);
    assert_non_null(strstr(second.messages, "in use by another process"));
    assert_int_equal(server_process_run(&second, renamed.path, verify), 1);
    server_process_kill(&scene->server);
    assert_int_equal(server_process_run(&second, renamed.path, verify), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SCENE(f101_a_log_that_was_renamed_is_not_written_to),
        ON_SCENE(f101_a_log_in_use_is_kept_from_a_second_server_under_any_name),
        ON_SCENE(f79_a_second_server_on_the_same_port_exits_1_and_leaves_its_log),
        ON_SCENE(f19_the_port_can_be_had_again_at_once),
        ON_SCENE(f95_a_file_that_is_no_log_exits_3_and_stays_as_it_is),
        ON_SCENE(f75_files_are_private_and_signals_work_whatever_is_inherited),
        ON_SCENE(f74_closed_standard_descriptors_do_not_end_up_in_the_log),
        ON_SCENE(f76_a_full_stderr_blocks_neither_service_nor_stop),
        ON_SCENE(f73_a_stopped_and_continued_server_goes_on),
        ON_SCENE(f62_an_index_that_does_not_fit_into_memory_exits_1),
        ON_SERVER(f92_only_the_loopback_address_is_listened_on),
        ON_SCENE(f9_f31_a_file_size_limit_refuses_writes_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
