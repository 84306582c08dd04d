/*
 * What the running program keeps: values of every kind and size through restarts and
 * crashes, and what KEYS, HELP and STATS tell about them.
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

/* One byte is also the length of the tombstone. */
static void f23_every_one_byte_value_survives_restart_and_crash(void **state)
{
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
    scene_talk_scripts(scene, &sets, &successes);
    expect_lasting(scene, script_slice(&gets), script_slice(&values));
    script_free(&gets);
    script_free(&values);
}

/* Data that resembles the bytes of the log itself: lengths, marks, tombstones. */
static void f26_data_that_looks_like_the_log_is_ordinary(void **state)
{
    static const char *const words[] = {
        "00000000",
        "deadbeef",
        "5ea1",
        "d4a1",
        "6b762d73746f7265",
        "6b762d73746f72650001",
        "\x01\x01\x01\x01\x01\x01\x01\x08\x01\x01\x01\x01\x01\x01\x01\x30",
        "5ea1000000000000000000000000000000000000000000ff",
        "00",
        "0",
        "\\0",
        "success",
        "error:",
        "SET",
    };
    struct scene *scene = *state;
    struct script sets = {0};
    struct script gets = {0};
    struct script successes = {0};
    struct script values = {0};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        script_add_format(&sets, "SET %s %s\nSET n%zu %s %s\n", words[i], words[i], i,
                          words[i], words[i]);
        script_add_text(&successes, "success\nsuccess\n");
        script_add_format(&gets, "GET %s\nGET n%zu\n", words[i], i);
        script_add_format(&values, "%s\n%s %s\n", words[i], words[i], words[i]);
    }
    scene_talk_scripts(scene, &sets, &successes);
    expect_lasting(scene, script_slice(&gets), script_slice(&values));
    script_free(&gets);
    script_free(&values);
}

static void f27_the_empty_value_is_a_value_and_survives_restart(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene, "SET k \nEXISTS k\nGET k\nCOUNT\n", "success\n1\n\n1\n");
    expect_lasting(scene, SLICE_LITERAL("EXISTS k\nGET k\nCOUNT\n"),
                   SLICE_LITERAL("1\n\n1\n"));
}

static void f27_one_key_set_many_times_keeps_its_last_value(void **state)
{
    struct scene *scene = *state;
    size_t count = watchdog_scaled(200000, 2000);
    struct script sets = {0};
    struct script successes = {0};
    for (size_t i = 1; i <= count; i++) {
        script_add_format(&sets, "SET k %zu\n", i);
        script_add_text(&successes, "success\n");
    }
    scene_talk_scripts(scene, &sets, &successes);
    char last[32];
    (void)snprintf(last, sizeof last, "%zu\n1\n", count);
    scene_talk_text(scene, "GET k\nCOUNT\n", last);
    scene_crash(scene);
    scene_talk_text(scene, "GET k\nCOUNT\n", last);
}

static void a_batch_sees_its_own_earlier_writes(void **state)
{
    scene_talk_text(*state,
                    "GET k\nSET k 1\nGET k\nEXISTS k\nCOUNT\nKEYS\nSET k 22\nGET k\n"
                    "DELETE k\nGET k\nEXISTS k\nCOUNT\nKEYS\nDELETE k\nSET k 333\n"
                    "GET k\nSET j \nKEYS j\nCOUNT\nDELETE j\nDELETE k\nCOUNT\n",
                    "no value stored\nsuccess\n1\n1\n1\nk\n\nsuccess\n22\n"
                    "success\nno value stored\n0\n0\n\nsuccess\nsuccess\n"
                    "333\nsuccess\nj\n\n2\nsuccess\nsuccess\n0\n");
}

static void add_stores_only_where_there_is_no_value(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene,
                    "ADD k one\nADD k two\nGET k\nDELETE k\nADD k  three \nGET k\n"
                    "ADD e \nADD e x\nGET e\nCOUNT\n",
                    "success\nalready stored\none\nsuccess\nsuccess\n three \n"
                    "success\nalready stored\n\n2\n");
    expect_lasting(scene, SLICE_LITERAL("GET k\nADD k x\nGET e\n"),
                   SLICE_LITERAL(" three \nalready stored\n\n"));
}

static void f122_incr_counts_up_to_the_limits_of_64_bits(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene,
                    "INCR n\nINCR n\nINCR n 40\nINCR n -50\nGET n\nDELETE n\nINCR n 7\n"
                    "SET up 9223372036854775806\nINCR up\nINCR up\nINCR up -0\nGET up\n"
                    "SET down -9223372036854775807\nINCR down -1\nINCR down -1\n",
                    "1\n2\n42\n-8\n-8\nsuccess\n7\n"
                    "success\n9223372036854775807\nerror: number too large\n"
                    "error: not a number\n9223372036854775807\n"
                    "success\n-9223372036854775808\nerror: number too large\n");
    expect_lasting(scene, SLICE_LITERAL("GET n\nGET up\nGET down\n"),
                   SLICE_LITERAL("7\n9223372036854775807\n-9223372036854775808\n"));
}

static void incr_of_what_is_no_number_changes_nothing(void **state)
{
    static const char *const values[] = {
        "",
        " 1",
        "1 ",
        "+1",
        "01",
        "-0",
        "-",
        "1 2",
        "x",
        "1e3",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "0x10",
    };
    struct script said = {0};
    struct script heard = {0};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        script_add_format(&said, "SET k %s\nINCR k\nGET k\n", values[i]);
        script_add_format(&heard, "success\nerror: not a number\n%s\n", values[i]);
    }
    scene_talk_scripts(*state, &said, &heard);
}

/* Read a line of LIST, whose value is long, and put its key's number into seen. */
static void expect_pair(struct client *client, const char *text, bool seen[4])
{
    static const char letters[] = "abcd";
    const char *line = client_read_line(client);
    const char *letter = strchr(letters, line[0]);
    assert_non_null(letter);
    size_t number = (size_t)(letter - letters);
    assert_false(seen[number]);
    seen[number] = true;
    assert_int_equal(line[1], ' ');
    assert_string_equal(line + 2, number == 2   ? ""
                                  : number == 3 ? text
                                                : "short  value ");
}

/* What is too long to be held is sent from the log amid the list. */
static void list_gives_each_key_with_its_value(void **state)
{
    enum { LONG_BYTES = 300000 };
    struct scene *scene = *state;
    struct script sets = {0};
    char *text = malloc(LONG_BYTES + 1);
    assert_non_null(text);
    memset(text, 'v', LONG_BYTES);
    text[LONG_BYTES] = '\0';
    script_add_text(&sets, "SET a short  value \nSET b short  value \nSET c \nSET d ");
    script_add_fill_line(&sets, 'v', LONG_BYTES);
    struct client client = scene_client(scene);
    client_send(&client, script_slice(&sets));
    client_expect_text(&client, "success\nsuccess\nsuccess\nsuccess\n");
    client_send_text(&client, "LIST\nLIST b\nLIST none\nSET b x\nLIST b\n");
    bool seen[4] = {false};
    for (size_t i = 0; i < 4; i++) {
        expect_pair(&client, text, seen);
    }
    client_expect_text(&client, "\nb short  value \n\n\nsuccess\nb x\n\n");
    client_close(&client);
    script_free(&sets);
    free(text);
}

static void a_delete_survives_restart_and_crash(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene, "SET a 1\nSET b 2\nDELETE a\n", "success\nsuccess\nsuccess\n");
    scene_restart(scene);
    scene_talk_text(scene, "GET a\nGET b\nDELETE b\n", "no value stored\n2\nsuccess\n");
    scene_crash(scene);
    scene_talk_text(scene, "GET a\nGET b\nCOUNT\n",
                    "no value stored\nno value stored\n0\n");
}

/* Reads the lines of KEYS and demands each number from 0 once. */
static void expect_numbered_keys(struct client *client, const char *prefix, size_t count)
{
    unsigned char *seen = calloc(count, 1);
    assert_non_null(seen);
    size_t lines = 0;
    for (const char *line = client_read_line(client); line[0] != '\0';
         line = client_read_line(client)) {
        assert_true(strncmp(line, prefix, strlen(prefix)) == 0);
        unsigned long number = strtoul(line + strlen(prefix), NULL, 10);
        assert_in_range(number, 0, count - 1);
        assert_int_equal(seen[number], 0);
        seen[number] = 1;
        lines++;
    }
    free(seen);
    assert_int_equal(lines, count);
}

static void keys_lists_each_key_once_and_by_prefix(void **state)
{
    struct scene *scene = *state;
    size_t count = watchdog_scaled(20000, 500);
    struct script sets = {0};
    struct script successes = {0};
    for (size_t i = 0; i < count; i++) {
        script_add_format(&sets, "SET key-%zu v\nSET other-%zu v\n", i, i);
        script_add_text(&successes, "success\nsuccess\n");
    }
    script_add_text(&sets, "SET gone v\nDELETE gone\nCOUNT\nKEYS gone\n");
    script_add_format(&successes, "success\nsuccess\n%zu\n\n", count * 2);
    struct client client = scene_client(scene);
    client_exchange(&client, script_slice(&sets), script_slice(&successes));
    client_send_text(&client, "KEYS key-\nKEYS other-\n");
    expect_numbered_keys(&client, "key-", count);
    expect_numbered_keys(&client, "other-", count);
    client_send_text(&client, "KEYS\n");
    size_t lines = 0;
    while (client_read_line(&client)[0] != '\0') {
        lines++;
    }
    assert_int_equal(lines, count * 2);
    client_close(&client);
    script_free(&sets);
    script_free(&successes);
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

static void sync_answers_success(void **state)
{
    scene_talk_text(*state, "SYNC\nSET k v\nSYNC\nGET k\n",
                    "success\nsuccess\nsuccess\nv\n");
}

static void compact_answers_success_and_loses_nothing(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene, "SET k v\nCOMPACT\nGET k\ncompact\nCOMPACT now\n",
                    "success\nsuccess\nv\nsuccess\nerror: usage: COMPACT\n");
    scene_talk_text(scene, "GET k\nSET k w\nGET k\n", "v\nsuccess\nw\n");
    scene_restart(scene);
    scene_talk_text(scene, "GET k\nCOUNT\n", "w\n1\n");
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

/* The value behind a name, up to the end of its line. */
static const char *find_stat(const struct stats *stats, const char *name)
{
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "\n%s ", name);
    const char *found = strstr(stats->text, wanted);
    if (found == NULL) {
        fail_msg("STATS has no %s:%s", name, stats->text);
        return "";
    }
    return found + strlen(wanted);
}

static unsigned long long stat_number(const struct stats *stats, const char *name)
{
    const char *value = find_stat(stats, name);
    char *end = NULL;
    unsigned long long number = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\n') {
        fail_msg("%s is no number:%s", name, stats->text);
    }
    return number;
}

static bool stat_is(const struct stats *stats, const char *name, const char *expected)
{
    const char *value = find_stat(stats, name);
    return strncmp(value, expected, strlen(expected)) == 0 &&
           value[strlen(expected)] == '\n';
}

static void stats_names_every_figure(void **state)
{
    static const char *const numbers[] = {
        "uptime_seconds",  "keys",        "log_bytes",
        "live_bytes",      "dead_bytes",  "index_bytes",
        "commands",        "gets",        "sets",
        "deletes",         "connections", "commits",
        "recovered_bytes", "recovery_ms",
    };
    struct client client = scene_client(*state);
    struct stats stats = read_stats(&client);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)stat_number(&stats, numbers[i]); /* fails where it is none */
    }
    assert_true(find_stat(&stats, "version")[0] != '\n');
    assert_true(stat_is(&stats, "sync", "always"));
    assert_int_equal(stat_number(&stats, "keys"), 0);
    assert_in_range(stat_number(&stats, "uptime_seconds"), 0, 300);
    client_close(&client);
}

static void stats_names_the_figures_of_compaction(void **state)
{
    struct client client = scene_client(*state);
    struct stats stats = read_stats(&client);
    assert_int_equal(stat_number(&stats, "compactions"), 0);
    assert_int_equal(stat_number(&stats, "compaction_percent"), 0);
    client_close(&client);
}

static void stats_follow_what_clients_do(void **state)
{
    struct scene *scene = *state;
    struct client client = scene_client(scene);
    struct stats before = read_stats(&client);
    client_exchange(
        &client, SLICE_LITERAL("SET a 1\nSET b 22\nSET a 333\nGET a\nGET x\nDELETE b\n"),
        SLICE_LITERAL("success\nsuccess\nsuccess\n333\nno value stored\n"
                      "success\n"));
    uint64_t length_before = scene_log_length(scene);
    struct stats after = read_stats(&client);
    uint64_t length_after = scene_log_length(scene);
    static const struct {
        const char *name;
        unsigned long long rise;
    } rises[] = {{"keys", 1}, {"gets", 2}, {"sets", 3}, {"deletes", 1}, {"commands", 7}};
    for (size_t i = 0; i < sizeof rises / sizeof rises[0]; i++) {
        assert_int_equal(stat_number(&after, rises[i].name),
                         stat_number(&before, rises[i].name) + rises[i].rise);
    }
    assert_true(stat_number(&after, "commits") > stat_number(&before, "commits"));
    /* A seal may follow at any moment, so the length may grow between the two looks. */
    assert_in_range(stat_number(&after, "log_bytes"), length_before, length_after);
    assert_true(stat_number(&after, "dead_bytes") > 0);
    assert_true(stat_number(&after, "live_bytes") >= strlen("a333"));
    assert_true(stat_number(&after, "live_bytes") + stat_number(&after, "dead_bytes") <=
                stat_number(&after, "log_bytes"));
    client_close(&client);
    struct client second = scene_client(scene);
    struct stats later = read_stats(&second);
    assert_int_equal(stat_number(&later, "connections"),
                     stat_number(&before, "connections") + 1);
    /* A command that waits for those before it, as COMPACT does, is one command. */
    client_exchange(&second, SLICE_LITERAL("SET c 1\nCOMPACT\n"),
                    SLICE_LITERAL("success\nsuccess\n"));
    struct stats last = read_stats(&second);
    assert_int_equal(stat_number(&last, "commands"), stat_number(&later, "commands") + 3);
    client_close(&second);
}

static void stats_tell_what_a_start_recovered(void **state)
{
    struct scene *scene = *state;
    scene_talk_text(scene, "SET a 1\nSET b 2\n", "success\nsuccess\n");
    scene_crash(scene);
    struct client client = scene_client(scene);
    struct stats stats = read_stats(&client);
    assert_int_equal(stat_number(&stats, "keys"), 2);
    assert_in_range(stat_number(&stats, "recovered_bytes"), 1, scene_log_length(scene));
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
    assert_in_range(strtoull(find_stat(&stats, "index_bytes"), NULL, 10), 0, 3 << 20);
    client_close(&client);
    if (empty_kib > 0 && !watchdog_is_slow() && memory_is_returned) {
        assert_in_range(full_kib - empty_kib, count * 20 / 1024, SIZE_MAX);
        assert_in_range(emptied_kib, 0, empty_kib + (full_kib - empty_kib) / 2);
        print_message("resident: %zu KiB empty, %zu full, %zu emptied\n", empty_kib,
                      full_kib, emptied_kib);
    }
}

static void f25_values_of_every_size_are_kept_across_restarts(void **state)
{
    struct scene *scene = *state;
    struct client client = scene_client(scene);
    for (size_t i = 0; i < value_length_count(); i++) {
        struct script request = {0};
        script_add_format(&request, "SET v%zu ", i);
        script_add_random(&request, i, value_lengths[i]);
        script_add_text(&request, "\n");
        client_exchange(&client, script_slice(&request), SLICE_LITERAL("success\n"));
        script_free(&request);
    }
    client_close(&client);
    expect_values(scene);
    scene_restart(scene);
    expect_values(scene);
    scene_crash(scene);
    expect_values(scene);
}

static void f25_one_byte_more_than_the_default_limit_is_refused(void **state)
{
    struct scene *scene = *state;
    struct script request = {0};
    script_add_text(&request, "SET k kept\nSET k ");
    script_add_fill(&request, 'x', (64 << 20) + 1);
    script_add_text(&request, "\nGET k\n");
    scene_talk(scene, script_slice(&request),
               SLICE_LITERAL("success\nerror: value too long\nkept\n"));
    script_free(&request);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(f23_every_one_byte_value_survives_restart_and_crash),
        ON_SERVER(f26_data_that_looks_like_the_log_is_ordinary),
        ON_SERVER(f27_the_empty_value_is_a_value_and_survives_restart),
        ON_SERVER(f27_one_key_set_many_times_keeps_its_last_value),
        ON_SERVER(a_batch_sees_its_own_earlier_writes),
        ON_SERVER(add_stores_only_where_there_is_no_value),
        ON_SERVER(f122_incr_counts_up_to_the_limits_of_64_bits),
        ON_SERVER(incr_of_what_is_no_number_changes_nothing),
        ON_SERVER(list_gives_each_key_with_its_value),
        ON_SERVER(a_delete_survives_restart_and_crash),
        ON_SERVER(keys_lists_each_key_once_and_by_prefix),
        ON_SERVER(every_command_that_help_names_is_carried_out),
        ON_SERVER(sync_answers_success),
        ON_SERVER(compact_answers_success_and_loses_nothing),
        ON_SERVER(stats_names_every_figure),
        ON_SERVER(stats_names_the_figures_of_compaction),
        ON_SERVER(stats_follow_what_clients_do),
        ON_SERVER(stats_tell_what_a_start_recovered),
        ON_SERVER(the_memory_of_deleted_keys_is_given_back),
        ON_SERVER(f25_values_of_every_size_are_kept_across_restarts),
        ON_SERVER(f25_one_byte_more_than_the_default_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
