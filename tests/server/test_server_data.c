/*
 * What the running program keeps: values of every kind and size through restarts and
 * crashes, and what HELP and STATS tell.
 */
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <stdio.h>
#include <stdlib.h>

/* The same reply now, after a clean stop, and after kill -9. */
static void expect_lasting(struct scene *scene, struct slice request, struct slice reply)
{
    scene_talk(scene, request, reply);
    scene_restart(scene);
    scene_talk(scene, request, reply);
    scene_crash(scene);
    scene_talk(scene, request, reply);
}

/* One byte is also the length of the tombstone; and what resembles the log's own bytes:
 * lengths, marks, nothing. */
static void f23_f26_f27_values_that_look_like_the_log_are_ordinary(void **state)
{
    static const char *const words[] = {
        "00000000",
        "deadbeef",
        "5ea1",
        "6b762d73746f72650001",
        "\x01\x01\x01\x01\x01\x01\x01\x08\x01\x01\x01\x01\x01\x01\x01\x30",
        "5ea1000000000000000000000000000000000000000000ff",
        "\\0",
        "error:",
        "SET",
    };
    struct scene *scene = *state;
    struct script sets = {0};
    struct script successes = {0};
    struct script gets = {0};
    struct script values = {0};
    for (int byte = 0x21; byte <= 0x7e; byte++) {
        script_add_format(&sets, "SET v%02x %c\n", (unsigned)byte, byte);
        script_add_text(&successes, "success\n");
        script_add_format(&gets, "GET v%02x\n", (unsigned)byte);
        script_add_format(&values, "%c\n", byte);
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        script_add_format(&sets, "SET %s %s\n", words[i], words[i]);
        script_add_text(&successes, "success\n");
        script_add_format(&gets, "GET %s\n", words[i]);
        script_add_format(&values, "%s\n", words[i]);
    }
    script_add_text(&sets, "SET nothing \n");
    script_add_text(&successes, "success\n");
    script_add_text(&gets, "EXISTS nothing\nGET nothing\n");
    script_add_text(&values, "1\n\n");
    scene_talk_scripts(scene, &sets, &successes);
    expect_lasting(scene, script_slice(&gets), script_slice(&values));
    script_free(&gets);
    script_free(&values);
}

static void f122_incr_counts_up_to_the_limits_of_64_bits(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene,
                    "INCR n\nINCR n 40\nINCR n -50\nGET n\nDELETE n\nINCR n 7\n"
                    "SET up 9223372036854775806\nINCR up\nINCR up\nINCR up -0\nGET up\n"
                    "SET down -9223372036854775807\nINCR down -1\nINCR down -1\n",
                    "1\n41\n-9\n-9\nsuccess\n7\n"
                    "success\n9223372036854775807\nerror: number too large\n"
                    "error: not a number\n9223372036854775807\n"
                    "success\n-9223372036854775808\nerror: number too large\n");
    expect_lasting(scene, SLICE_LITERAL("GET n\nGET up\nGET down\n"),
                   SLICE_LITERAL("7\n9223372036854775807\n-9223372036854775808\n"));
}

/* A line of HELP as a request: "KEYS [prefix]   the keys that ..." is "KEYS". */
static struct script request_of(const char *help)
{
    enum { USAGE_COLUMNS = 18 };
    struct script request = {0};
    size_t length = strnlen(help, USAGE_COLUMNS);
    const char *optional = memchr(help, '[', length);
    length = optional == NULL ? length : (size_t)(optional - help);
    while (length > 0 && help[length - 1] == ' ') {
        length--;
    }
    script_add_format(&request, "%.*s", (int)length, help);
    return request;
}

/* None is only parsed: what a command has in the tables, its handler included, is there.
 */
static void every_command_that_help_names_is_carried_out(void **state)
{
    struct scene *scene = *state;
    struct client helped = scene_client(scene);
    client_send_text(&helped, "HELP\nQUIT\n");
    size_t count = 0;
    struct script requests[32];
    for (const char *line = client_read_line(&helped); line[0] != '\0';
         line = client_read_line(&helped)) {
        assert_in_range(count, 0, sizeof requests / sizeof requests[0] - 1);
        requests[count++] = request_of(line);
    }
    client_expect_end(&helped);
    client_close(&helped);
    assert_in_range(count, 11, sizeof requests / sizeof requests[0]);
    for (size_t i = 0; i < count; i++) {
        struct client client = scene_client(scene);
        script_add_text(&requests[i], "\n");
        client_send(&client, script_slice(&requests[i]));
        bool is_quit = slice_equal(script_slice(&requests[i]), SLICE_LITERAL("QUIT\n"));
        if (!is_quit) {
            client_send_text(&client, "no command\n");
            while (strcmp(client_read_line(&client), "error: unknown command") != 0) {
                /* what it answers itself is for others to judge */
            }
            client_half_close(&client); /* were it unknown, there would be one more */
        }
        client_expect_end(&client);
        client_close(&client);
        script_free(&requests[i]);
    }
}

/* One reply to STATS. */
struct stats {
    char text[4096];
};

static struct stats read_stats(struct client *client)
{
    struct stats stats = {{0}};
    size_t length = 0;
    client_send_text(client, "STATS\n");
    for (const char *line = client_read_line(client); line[0] != '\0';
         line = client_read_line(client)) {
        int count =
            snprintf(stats.text + length, sizeof stats.text - length, "\n%s", line);
        length += (size_t)count;
        assert_in_range(length, 1, sizeof stats.text - 2);
    }
    stats.text[length] = '\n';
    return stats;
}

static unsigned long long stat_number(const struct stats *stats, const char *name)
{
    char wanted[64];
    int length = snprintf(wanted, sizeof wanted, "\n%s ", name);
    const char *found = strstr(stats->text, wanted);
    char *end = NULL;
    unsigned long long number = found == NULL ? 0 : strtoull(found + length, &end, 10);
    if (found == NULL || end == found + length || *end != '\n') {
        fail_msg("STATS has no number %s:%s", name, stats->text);
    }
    return number;
}

static void stats_follow_what_clients_do(void **state)
{
    static const struct {
        const char *name;
        unsigned long long rise;
    } rises[] = {{"keys", 1},        {"gets", 2},
                 {"sets", 3},        {"deletes", 1},
                 {"commands", 7},    {"connections", 0},
                 {"compactions", 0}, {"compaction_percent", 0}};
    struct scene *scene = *state;
    struct client client = scene_client(scene);
    struct stats before = read_stats(&client);
    assert_non_null(strstr(before.text, "\nsync always\n"));
    assert_in_range(stat_number(&before, "uptime_seconds"), 0, 300);
    client_exchange(
        &client, SLICE_LITERAL("SET a 1\nSET b 22\nSET a 333\nGET a\nGET x\nDELETE b\n"),
        SLICE_LITERAL("success\nsuccess\nsuccess\n333\nno value stored\n"
                      "success\n"));
    uint64_t length_before = scene_log_length(scene);
    struct stats after = read_stats(&client);
    uint64_t length_after = scene_log_length(scene);
    for (size_t i = 0; i < sizeof rises / sizeof rises[0]; i++) {
        assert_int_equal(stat_number(&after, rises[i].name),
                         stat_number(&before, rises[i].name) + rises[i].rise);
    }
    assert_true(stat_number(&after, "commits") > stat_number(&before, "commits"));
    /* A seal may follow at any moment, so the length may grow between the two looks. */
    assert_in_range(stat_number(&after, "log_bytes"), length_before, length_after);
    assert_true(stat_number(&after, "live_bytes") + stat_number(&after, "dead_bytes") <=
                stat_number(&after, "log_bytes"));
    client_close(&client);
    scene_crash(scene);
    client = scene_client(scene);
    struct stats later = read_stats(&client);
    assert_int_equal(stat_number(&later, "keys"), 1);
    assert_int_equal(stat_number(&later, "connections"), 1);
    assert_in_range(stat_number(&later, "recovered_bytes"), 1, scene_log_length(scene));
    /* A command that waits for those before it, as COMPACT does, is one command. */
    client_exchange(&client, SLICE_LITERAL("SET c 1\nCOMPACT\n"),
                    SLICE_LITERAL("success\nsuccess\n"));
    struct stats last = read_stats(&client);
    assert_int_equal(stat_number(&last, "commands"), stat_number(&later, "commands") + 3);
    client_close(&client);
}

/* Around the sizes at which buffers, pages and ways of sending change. */
static const size_t value_lengths[] = {
    1,        2,        4095,           4096,       4097,           65535,
    65536,    65537,    128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 1024 * 1024,
    16 << 20, 64 << 20,
};

/* How many of them a run takes on. */
static size_t value_length_count(void)
{
    size_t count = sizeof value_lengths / sizeof value_lengths[0];
    return watchdog_scaled(count, count - 2);
}

static void expect_values(const struct scene *scene)
{
    struct client client = scene_client(scene);
    for (size_t i = 0; i < value_length_count(); i++) {
        struct script request = {0};
        struct script reply = {0};
        script_add_format(&request, "GET v%zu\n", i);
        script_add_random(&reply, i, value_lengths[i]);
        script_add_text(&reply, "\n");
        client_exchange(&client, script_slice(&request), script_slice(&reply));
        script_free(&request);
        script_free(&reply);
    }
    client_close(&client);
}

/* One command for each of many keys, each of which succeeds. */
static void for_each_key(struct client *client, const char *verb, size_t count)
{
    struct script requests = {0};
    struct script successes = {0};
    const char *tail = strcmp(verb, "SET") == 0 ? " " : "";
    for (size_t i = 0; i < count; i++) {
        script_add_format(&requests, "%s key-%zu%s\n", verb, i, tail);
        script_add_text(&successes, "success\n");
    }
    client_exchange(client, script_slice(&requests), script_slice(&successes));
    script_free(&requests);
    script_free(&successes);
}

/* Without the extras of platform.h it is up to the C library what it keeps. */
#ifdef KV_POSIX_ONLY
static const bool memory_is_returned = false;
#else
static const bool memory_is_returned = true;
#endif

/*
 * The memory of deleted keys is the system's again, without a restart: what stays is a
 * small part of it, and what a busy server keeps for its buffers.
 */
static void the_memory_of_deleted_keys_is_given_back(void **state)
{
    static const char *const options[] = {"--sync", "everysec", NULL};
    struct scene *scene = *state;
    size_t count = watchdog_scaled(800000, 8000);
    server_process_stop(&scene->server);
    scene_start(scene, options);
    struct client client = scene_client(scene);
    size_t empty_kib = server_process_memory_kib(&scene->server);
    for_each_key(&client, "SET", count);
    size_t full_kib = server_process_memory_kib(&scene->server);
    for_each_key(&client, "DELETE", count);
    size_t emptied_kib = server_process_memory_kib(&scene->server);
    struct stats stats = read_stats(&client);
    assert_in_range(stat_number(&stats, "index_bytes"), 0, 3 << 20);
    client_close(&client);
    if (empty_kib > 0 && !watchdog_is_slow() && memory_is_returned) {
        assert_in_range(full_kib - empty_kib, count * 20 / 1024, SIZE_MAX);
        assert_in_range(emptied_kib, 0, empty_kib + (full_kib - empty_kib) / 2);
        print_message("resident: %zu KiB empty, %zu full, %zu emptied\n", empty_kib,
                      full_kib, emptied_kib);
    }
}

static void f25_values_up_to_the_default_limit_are_kept_across_restarts(void **state)
{
    struct scene *scene = *state;
    for (size_t i = 0; i < value_length_count(); i++) {
        struct script request = {0};
        script_add_format(&request, "SET v%zu ", i);
        script_add_random(&request, i, value_lengths[i]);
        script_add_text(&request, "\n");
        scene_talk(scene, script_slice(&request), SLICE_LITERAL("success\n"));
        script_free(&request);
    }
    struct script too_long = {0};
    script_add_text(&too_long, "SET v0 ");
    script_add_fill_line(&too_long, 'x', (64 << 20) + 1);
    scene_talk(scene, script_slice(&too_long), SLICE_LITERAL("error: value too long\n"));
    script_free(&too_long);
    expect_values(scene);
    scene_restart(scene);
    expect_values(scene);
    scene_crash(scene);
    expect_values(scene);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(f23_f26_f27_values_that_look_like_the_log_are_ordinary),
        ON_SERVER(f122_incr_counts_up_to_the_limits_of_64_bits),
        ON_SERVER(every_command_that_help_names_is_carried_out),
        ON_SERVER(stats_follow_what_clients_do),
        ON_SERVER(the_memory_of_deleted_keys_is_given_back),
        ON_SERVER(f25_values_up_to_the_default_limit_are_kept_across_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
