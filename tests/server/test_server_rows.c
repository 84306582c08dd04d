/*
 * Faults of the running program that no other file of its tests is about: too little
 * memory, copies taken while it serves, addresses that it must not listen on.
 */
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB_BYTES ((size_t)1 << 20)

/* ---- Memory ---- */

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
    size_t limit = 64 * MIB_BYTES;
    int status = 0;
    while (status == 0 && limit > 4 * MIB_BYTES) {
        limit -= MIB_BYTES;
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

/* ---- Copies ---- */

/* What a copy holds is the front of what was set, and at least what was acknowledged. */
static void expect_front(struct scene *scene, const char *copy, size_t acknowledged,
                         size_t count)
{
    struct server_process server;
    struct client client;
    server_process_start(&server, copy, NULL);
    client_open(&client, server.port);
    client_send_text(&client, "COUNT\n");
    size_t stored = strtoul(client_read_line(&client), NULL, 10);
    assert_in_range(stored, acknowledged, count);
    struct script request = {0};
    struct script reply = {0};
    for (size_t i = 0; i < stored; i++) {
        script_add_format(&request, "GET n%zu\n", i);
        script_add_format(&reply, "value-%zu\n", i);
    }
    client_exchange(&client, script_slice(&request), script_slice(&reply));
    client_close(&client);
    server_process_kill(&server);
    close(server.stderr_fd);
    script_free(&request);
    script_free(&reply);
    (void)scene; /* its own server goes on meanwhile */
}

static void f86_a_copy_of_a_log_in_use_opens(void **state)
{
    static const char *const verify[] = {"--verify", NULL};
    struct scene *scene = *state;
    size_t count = watchdog_scaled(100000, 10000);
    struct script sets = {0};
    for (size_t i = 0; i < count; i++) {
        script_add_format(&sets, "SET n%zu value-%zu\n", i, i);
    }
    struct client client = scene_client(scene);
    struct slice unsent = script_slice(&sets);
    size_t acknowledged = 0;
    for (size_t copies = 0; copies < 5; copies++) {
        while (acknowledged < (copies + 1) * count / 7) {
            assert_int_equal(client_pump(&client, &unsent), CLIENT_OPEN);
            acknowledged += client_take_lines(&client, "success");
        }
        struct script copy = {0};
        struct server_process server;
        struct tempdir_file file = tempdir_file(&scene->tempdir, "copy.log");
        script_add_file(&copy, scene->log.path);
        script_write_file(&copy, file.path);
        assert_int_equal(server_process_run(&server, file.path, verify), 0);
        expect_front(scene, file.path, acknowledged, count);
        script_free(&copy);
    }
    client_close(&client);
    script_free(&sets);
}

/* ---- Addresses ---- */

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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SCENE(f62_an_index_that_does_not_fit_into_memory_exits_1),
        ON_SERVER(f86_a_copy_of_a_log_in_use_opens),
        ON_SERVER(f92_only_the_loopback_address_is_listened_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
