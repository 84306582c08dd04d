/*
 * The life of the program: its options and exit statuses, how it starts, stops and is
 * ended, and what it does in surroundings that are not kind.
 */
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

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

static void assert_message(const struct server_process *server, const char *text)
{
    if (strstr(server->messages, text) == NULL) {
        fail_msg("no \"%s\" in what it said:\n%s", text, server->messages);
    }
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

static void f85_wrong_usage_exits_2_and_makes_no_file(void **state)
{
    static const char *const wrong[][3] = {
        {"--bogus"},
        {"-Z"},
        {"operand"},
        {"--port"},
        {"--port", "-1"},
        {"--port", "65536"},
        {"--port", "70000"},
        {"--port", "12x"},
        {"--port", "http"},
        {"--port", ""},
        {"--port", " 1"},
        {"--sync", "sometimes"},
        {"--sync", ""},
        {"--sync"},
        {"--idle", "-1"},
        {"--idle", "soon"},
        {"--idle", ""},
        {"--max-value", "4G"},
        {"--max-value", "4294967296"},
        {"--max-value", "99999999999999999999"},
        {"--max-value", "12Q"},
        {"--max-value", "K"},
        {"--max-value", "-1"},
        {"--max-value", ""},
        {"--dump=xml"},
    };
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct server_process server;
        int status = server_process_run(&server, scene->log.path, wrong[i]);
        if (status != 2) {
            fail_msg("exit status %d after %s %s; it said:\n%s", status, wrong[i][0],
                     wrong[i][1] == NULL ? "" : wrong[i][1], server.messages);
        }
        assert_true(server.messages_length > 0);
        assert_int_equal(access(scene->log.path, F_OK), -1);
    }
}

static void options_at_their_limits_are_accepted(void **state)
{
    static const char *const right[][5] = {
        {"--max-value", "4294967295"},
        {"--max-value", "3G"},
        {"--max-value", "1K"},
        {"--max-value", "1"},
        {"--sync", "always"},
        {"-s", "everysec"},
        {"--idle", "1"},
        {"--sync=everysec"},
        {"-a", "127.0.0.1"},
        {"--address", "localhost"},
        {"-p", "0", "--idle=3"},
    };
    struct scene *scene = *state;
    /* The first two are for 64 bits; builds.sh looks at what others make of them. */
    size_t first = getenv("KV_TEST_32_BIT") == NULL ? 0 : 2;
    for (size_t i = first; i < sizeof right / sizeof right[0]; i++) {
        scene_start(scene, right[i]);
        server_process_stop(&scene->server);
    }
}

static void expect_output(struct scene *scene, const char *option, const char *text)
{
    const char *const options[] = {option, NULL};
    struct tempdir_file out = scene_file(scene, "out");
    struct server_launch launch = {
        .log = scene->log.path, .options = options, .stdout_path = out.path};
    server_process_launch(&scene->server, &launch);
    assert_int_equal(server_process_wait(&scene->server), 0);
    struct script output = {0};
    script_add_file(&output, out.path);
    script_add_fill(&output, '\0', 1);
    if (strstr((const char *)output.bytes, text) == NULL) {
        fail_msg("%s prints no \"%s\" but:\n%s", option, text,
                 (const char *)output.bytes);
    }
    script_free(&output);
    assert_int_equal(access(scene->log.path, F_OK), -1);
}

static void help_and_version_print_to_stdout_and_exit_0(void **state)
{
    static const char *const words[] = {"--file", "--address",   "--port", "--sync",
                                        "--idle", "--max-value", "--help", "--version"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        expect_output(*state, "--help", words[i]);
    }
    expect_output(*state, "-h", "kv-store");
    expect_output(*state, "--version", "kv-store");
    expect_output(*state, "-V", "kv-store");
}

static void help_that_cannot_be_written_exits_1(void **state)
{
    struct scene *scene = *state;
    const char *const options[] = {"--help", NULL};
    struct server_launch launch = {
        .log = scene->log.path, .options = options, .stdout_path = "/dev/full"};
    server_process_launch(&scene->server, &launch);
    assert_int_equal(server_process_wait(&scene->server), 1);
}

static void help_names_the_offline_modes(void **state)
{
    expect_output(*state, "--help", "--verify");
    expect_output(*state, "--help", "--salvage");
    expect_output(*state, "--help", "--dump");
}

static void the_ready_line_names_address_and_port_and_stdout_is_silent(void **state)
{
    struct scene *scene = *state;
    struct tempdir_file out = scene_file(scene, "out");
    struct server_launch launch = {.log = scene->log.path, .stdout_path = out.path};
    server_process_launch(&scene->server, &launch);
    server_process_await_ready(&scene->server);
    char ready[64];
    (void)snprintf(ready, sizeof ready, "kv-store: listening on 127.0.0.1:%u\n",
                   (unsigned)scene->server.port);
    assert_message(&scene->server, ready);
    scene_talk_text(scene, "SET k v\nGET k\n", "success\nv\n");
    server_process_stop(&scene->server);
    struct stat written;
    assert_int_equal(stat(out.path, &written), 0);
    assert_int_equal(written.st_size, 0);
}

static bool has_ipv6_loopback(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    address.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has_it =
        fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return has_it;
}

static void ipv6_is_served_and_shown_in_brackets(void **state)
{
    static const char *const options[] = {"--address", "::1", NULL};
    struct scene *scene = *state;
    if (!has_ipv6_loopback()) {
        print_message("no IPv6 loopback here\n");
        skip();
    }
    scene_start(scene, options);
    char ready[64];
    (void)snprintf(ready, sizeof ready, "kv-store: listening on [::1]:%u\n",
                   (unsigned)scene->server.port);
    assert_message(&scene->server, ready);
    struct client client;
    client_open_ipv6(&client, scene->server.port);
    client_exchange(&client, SLICE_LITERAL("SET k v\nGET k\n"),
                    SLICE_LITERAL("success\nv\n"));
    client_close(&client);
}

static void f78_a_second_server_on_the_same_log_exits_1(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, NULL);
    scene_talk_text(scene, "SET k v\n", "success\n");
    size_t records = scene_log_record_count(scene);
    expect_exit(scene->log.path, NULL, 1);
    assert_int_equal(scene_log_record_count(scene), records);
    scene_talk_text(scene, "GET k\nSET k w\nGET k\n", "v\nsuccess\nw\n");
    scene_restart(scene);
    scene_talk_text(scene, "GET k\n", "w\n");
}

static void f79_a_second_server_on_the_same_port_exits_1_and_leaves_its_log(void **state)
{
    struct scene *scene = *state;
    struct tempdir_file other = scene_file(scene, "other.log");
    struct server_process server;
    server_process_start(&server, other.path, NULL);
    struct client client;
    client_open(&client, server.port);
    client_exchange(&client, SLICE_LITERAL("SET k other\n"), SLICE_LITERAL("success\n"));
    client_close(&client);
    server_process_stop(&server);
    scene_start(scene, NULL);
    char port[16];
    (void)snprintf(port, sizeof port, "%u", (unsigned)scene->server.port);
    const char *const options[] = {"--port", port, NULL};
    expect_exit(other.path, options, 1);
    scene_talk_text(scene, "COUNT\n", "0\n");
    server_process_stop(&scene->server);
    server_process_start(&scene->server, other.path, NULL);
    scene_talk_text(scene, "GET k\nCOUNT\n", "other\n1\n");
}

static void f80_a_killed_server_leaves_no_lock_behind(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, NULL);
    size_t rounds = watchdog_scaled(60, 5);
    for (size_t i = 1; i <= rounds; i++) {
        struct script request = {0};
        struct script reply = {0};
        script_add_format(&request, "SET k%zu v\nCOUNT\n", i);
        script_add_format(&reply, "success\n%zu\n", i);
        scene_talk(scene, script_slice(&request), script_slice(&reply));
        scene_crash(scene);
        script_free(&request);
        script_free(&reply);
    }
    struct script count = {0};
    script_add_format(&count, "%zu\n", rounds);
    scene_talk(scene, SLICE_LITERAL("COUNT\n"), script_slice(&count));
    script_free(&count);
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

static void f84_a_log_that_cannot_be_made_exits_1(void **state)
{
    struct scene *scene = *state;
    expect_exit(scene_file(scene, "missing/kv.log").path, NULL, 1);
}

static void f82_a_log_that_is_no_plain_file_exits_1(void **state)
{
    struct scene *scene = *state;
    struct script text = {0};
    struct tempdir_file plain = scene_file(scene, "plain");
    script_write_file(&text, plain.path);
    assert_int_equal(symlink(plain.path, scene_file(scene, "symlink").path), 0);
    assert_int_equal(symlink("nowhere", scene_file(scene, "dangling").path), 0);
    assert_int_equal(mkdir(scene_file(scene, "directory").path, 0700), 0);
    assert_int_equal(mkfifo(scene_file(scene, "fifo").path, 0600), 0);
    assert_int_equal(link(plain.path, scene_file(scene, "link").path), 0);
    static const char *const names[] = {"symlink", "dangling", "directory", "fifo",
                                        "link"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        expect_exit(scene_file(scene, names[i]).path, NULL, 1);
    }
    assert_int_equal(access(scene_file(scene, "nowhere").path, F_OK), -1);
}

static void expect_untouched(struct scene *scene, struct slice content, int status)
{
    struct script before = {0};
    script_add(&before, content);
    script_write_file(&before, scene->log.path);
    expect_exit(scene->log.path, NULL, status);
    struct script after = {0};
    script_add_file(&after, scene->log.path);
    assert_true(slice_equal(script_slice(&after), content));
    script_free(&before);
    script_free(&after);
}

static void f95_a_file_that_is_no_log_exits_3_and_stays_as_it_is(void **state)
{
    static const struct slice contents[] = {
        BYTES("Dear diary,\nthis is no log at all.\n"),
        BYTES("x"),
        BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        BYTES("\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\76\0\1\0\0\0"),
        BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    };
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        expect_untouched(*state, contents[i], 3);
    }
}

static void f50_damage_to_acknowledged_data_exits_3_and_changes_nothing(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, NULL);
    for (size_t i = 0; i < 5; i++) {
        scene_talk_text(scene, "SET first precious\nSET second 2\n",
                        "success\nsuccess\n");
    }
    server_process_stop(&scene->server);
    /* The saved index would let a start trust the log without reading it all. */
    (void)unlink(scene_file(scene, "kv.log.index").path); /* there may be none */
    struct script log = {0};
    script_add_file(&log, scene->log.path);
    size_t at = 0;
    while (memcmp(log.bytes + at, "precious", 8) != 0) {
        at++;
        assert_in_range(at, 0, log.length - 8);
    }
    log.bytes[at] ^= 0x20;
    expect_untouched(scene, script_slice(&log), 3);
    log.bytes[at] ^= 0x20;
    script_write_file(&log, scene->log.path);
    scene_start(scene, NULL);
    scene_talk_text(scene, "GET first\n", "precious\n");
    script_free(&log);
}

static void f61_an_empty_file_becomes_a_log(void **state)
{
    struct scene *scene = *state;
    struct script nothing = {0};
    script_write_file(&nothing, scene->log.path);
    scene_start(scene, NULL);
    scene_talk_text(scene, "COUNT\nSET k v\n", "0\nsuccess\n");
    scene_restart(scene);
    scene_talk_text(scene, "GET k\n", "v\n");
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

/* A write that is refused for want of space is worth a message. */
static void f9_a_stderr_that_nobody_holds_any_more_does_not_kill(void **state)
{
    struct scene *scene = *state;
    struct server_launch launch = {.log = scene->log.path, .file_bytes_max = 20000};
    server_process_launch(&scene->server, &launch);
    server_process_await_ready(&scene->server);
    close(scene->server.stderr_fd);
    scene->server.stderr_fd = -1;
    struct script request = {0};
    script_add_text(&request, "SET big ");
    script_add_fill_line(&request, 'x', 30000);
    for (size_t i = 0; i < 3; i++) {
        scene_talk(scene, script_slice(&request), SLICE_LITERAL("error: storage full\n"));
    }
    scene_talk_text(scene, "SET k v\nGET k\n", "success\nv\n");
    server_process_stop(&scene->server);
    script_free(&request);
}

/* Numbered SETs, more than a server gets through before it is stopped. */
static void add_numbered_sets(struct script *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        script_add_format(requests, "SET n%zu value-%zu\n", i, i);
    }
}

/* Demands that what is stored is a prefix of the sets, and no shorter than that. */
static void expect_acknowledged(const struct scene *scene, size_t acknowledged,
                                size_t count)
{
    struct script gets = {0};
    for (size_t i = 0; i < count; i++) {
        script_add_format(&gets, "GET n%zu\n", i);
    }
    struct client client = scene_client(scene);
    client_send(&client, script_slice(&gets));
    size_t stored = 0;
    for (size_t i = 0; i < count; i++) {
        const char *line = client_read_line(&client);
        char value[64];
        (void)snprintf(value, sizeof value, "value-%zu", i);
        if (stored == i && strcmp(line, value) == 0) {
            stored++;
        } else {
            assert_string_equal(line, "no value stored");
        }
    }
    assert_in_range(stored, acknowledged, count);
    client_close(&client);
    script_free(&gets);
}

/*
 * Sends sets and ends the server in their midst, once some were acknowledged.
 *
 * Returns how many were acknowledged in all.
 */
static size_t set_until_ended(struct scene *scene, int number, const struct script *sets,
                              size_t wanted)
{
    struct client client = scene_client(scene);
    struct slice unsent = script_slice(sets);
    size_t acknowledged = 0;
    bool is_signalled = false;
    enum client_state connection = CLIENT_OPEN;
    while (connection == CLIENT_OPEN) {
        connection = client_pump(&client, &unsent);
        acknowledged += client_take_lines(&client, "success");
        if (acknowledged >= wanted && !is_signalled) {
            server_process_signal(&scene->server, number);
            is_signalled = true;
        }
    }
    assert_true(is_signalled);
    client_close(&client);
    return acknowledged;
}

static void end_amid_a_pipeline(struct scene *scene, int number, int status)
{
    size_t count = watchdog_scaled(300000, 20000);
    struct script sets = {0};
    add_numbered_sets(&sets, count);
    scene_start(scene, NULL);
    size_t acknowledged = set_until_ended(scene, number, &sets, count / 100);
    assert_int_equal(server_process_wait(&scene->server), status);
    scene_start(scene, NULL);
    expect_acknowledged(scene, acknowledged, count);
    script_free(&sets);
}

static void f72_sigterm_amid_a_pipeline_loses_nothing_acknowledged(void **state)
{
    end_amid_a_pipeline(*state, SIGTERM, 0);
}

static void f72_sigint_amid_a_pipeline_loses_nothing_acknowledged(void **state)
{
    end_amid_a_pipeline(*state, SIGINT, 0);
}

static void f44_sigkill_amid_a_pipeline_loses_nothing_acknowledged(void **state)
{
    end_amid_a_pipeline(*state, SIGKILL, 128 + SIGKILL);
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

static void everysec_keeps_what_it_acknowledged_through_stop_and_kill(void **state)
{
    static const char *const options[] = {"--sync", "everysec", NULL};
    struct scene *scene = *state;
    scene_start(scene, options);
    scene_talk_text(scene, "SET a 1\nSYNC\nSET b 2\n", "success\nsuccess\nsuccess\n");
    server_process_stop(&scene->server);
    scene_start(scene, options);
    scene_talk_text(scene, "GET a\nGET b\nSET c 3\nDELETE a\n",
                    "1\n2\nsuccess\nsuccess\n");
    server_process_kill(&scene->server);
    scene_start(scene, options);
    scene_talk_text(scene, "GET a\nGET b\nGET c\nSYNC\n",
                    "no value stored\n2\n3\nsuccess\n");
    struct client client = scene_client(scene);
    client_send_text(&client, "STATS\n");
    bool is_told = false;
    for (const char *line = client_read_line(&client); line[0] != '\0';
         line = client_read_line(&client)) {
        is_told = is_told || strcmp(line, "sync everysec") == 0;
    }
    assert_true(is_told);
    client_close(&client);
}

/* The limit is as a disk that is full: what does not fit is refused, the rest goes on. */
static void f31_a_file_size_limit_refuses_writes_and_nothing_else(void **state)
{
    struct scene *scene = *state;
    struct server_launch launch = {.log = scene->log.path, .file_bytes_max = 20000};
    server_process_launch(&scene->server, &launch);
    server_process_await_ready(&scene->server);
    scene_talk_text(scene, "SET k kept\n", "success\n");
    struct script request = {0};
    script_add_text(&request, "SET small 1\nSET big ");
    script_add_fill(&request, 'x', 30000);
    script_add_text(&request, "\nGET k\nEXISTS small\nGET big\nDELETE k\n");
    struct client client = scene_client(scene);
    client_send(&client, script_slice(&request));
    client_half_close(&client);
    /* What arrives together is one batch, but where the bytes are cut is the network's.
     */
    const char *small = client_read_line(&client);
    bool is_small_kept = strcmp(small, "success") == 0;
    assert_true(is_small_kept || strcmp(small, "error: storage full") == 0);
    client_expect_text(&client, "error: storage full\nkept\n");
    client_expect_text(&client, is_small_kept ? "1\n" : "0\n");
    client_expect_text(&client, "no value stored\n");
    const char *deleted = client_read_line(&client);
    assert_true(strcmp(deleted, "success") == 0 ||
                strcmp(deleted, "error: storage full") == 0);
    client_expect_end(&client);
    client_close(&client);
    scene_talk_text(scene, "SET k again\nGET k\n", "success\nagain\n");
    server_process_stop(&scene->server);
    scene_start(scene, NULL);
    scene_talk_text(scene, "GET k\nGET big\n", "again\nno value stored\n");
    script_free(&request);
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
        ON_SCENE(f85_wrong_usage_exits_2_and_makes_no_file),
        ON_SCENE(options_at_their_limits_are_accepted),
        ON_SCENE(help_and_version_print_to_stdout_and_exit_0),
        ON_SCENE(help_that_cannot_be_written_exits_1),
        ON_SCENE(help_names_the_offline_modes),
        ON_SCENE(the_ready_line_names_address_and_port_and_stdout_is_silent),
        ON_SCENE(ipv6_is_served_and_shown_in_brackets),
        ON_SCENE(f78_a_second_server_on_the_same_log_exits_1),
        ON_SCENE(f79_a_second_server_on_the_same_port_exits_1_and_leaves_its_log),
        ON_SCENE(f80_a_killed_server_leaves_no_lock_behind),
        ON_SCENE(f19_the_port_can_be_had_again_at_once),
        ON_SCENE(f84_a_log_that_cannot_be_made_exits_1),
        ON_SCENE(f82_a_log_that_is_no_plain_file_exits_1),
        ON_SCENE(f95_a_file_that_is_no_log_exits_3_and_stays_as_it_is),
        ON_SCENE(f50_damage_to_acknowledged_data_exits_3_and_changes_nothing),
        ON_SCENE(f61_an_empty_file_becomes_a_log),
        ON_SCENE(f75_files_are_private_and_signals_work_whatever_is_inherited),
        ON_SCENE(f74_closed_standard_descriptors_do_not_end_up_in_the_log),
        ON_SCENE(f76_a_full_stderr_blocks_neither_service_nor_stop),
        ON_SCENE(f9_a_stderr_that_nobody_holds_any_more_does_not_kill),
        ON_SCENE(f72_sigterm_amid_a_pipeline_loses_nothing_acknowledged),
        ON_SCENE(f72_sigint_amid_a_pipeline_loses_nothing_acknowledged),
        ON_SCENE(f44_sigkill_amid_a_pipeline_loses_nothing_acknowledged),
        ON_SCENE(f73_a_stopped_and_continued_server_goes_on),
        ON_SCENE(everysec_keeps_what_it_acknowledged_through_stop_and_kill),
        ON_SCENE(f31_a_file_size_limit_refuses_writes_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
