/*
 * All commands in random order against the running program and against a plain array,
 * which must agree byte for byte: pipelined, cut anywhere, mixed with requests that must
 * be refused, ended in every way a client can leave, across stops and kills. The seed is
 * printed; KV_TEST_SEED gives one.
 */
#include "base/bounds.h"
#include "support/dice.h"
#include "support/scene.h"
#include "support/script.h"
#include "support/seeded.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    KEYS = SEEDED_KEYS,
    VALUE_BYTES = 200000, /* of --max-value; large enough to be sent as a stream */
    COMMANDS_MAX = 800,   /* of a conversation */
    SINGLE_BYTES = 1500,  /* so many at most are sent one by one */
    STATS_LINES_MAX = 64
};

static const char max_value[] = "200000";

/* How a piece of the replies is compared. */
enum order { ORDER_EXACT, ORDER_KEYS, ORDER_STATS };

struct piece {
    enum order order;
    size_t end;   /* in the replies */
    size_t count; /* ORDER_STATS: of keys */
};

/* What one client says, and what it must hear. */
struct conversation {
    struct script requests;
    struct script replies;
    struct piece pieces[COMMANDS_MAX * 2 + KEYS * 2];
    size_t piece_count;
};

struct duel {
    struct dice dice;
    struct scene *scene;
    struct seeded model; /* what the program must hold */
    struct script names[KEYS];
    struct script help; /* the reply to HELP, as it was the first time */
    bool has_compaction;
    size_t commands;
    size_t refusals;
    size_t restarts;
};

static size_t below(struct duel *duel, size_t limit)
{
    return (size_t)dice_below(&duel->dice, limit);
}

/* ---- Keys and values ---- */

/* Short and long, ASCII and not, one a prefix of the other, or like the log's own words.
 */
static void name_keys(struct duel *duel)
{
    for (size_t key = 0; key < KEYS; key++) {
        struct script *name = &duel->names[key];
        switch (key % 8) {
        case 0:
            script_add_format(name, "\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87-%zu", key);
            break;
        case 1:
            script_add_format(name, "%08zx", key);
            break;
        case 2:
            script_add_format(name, "GET:%zu", key);
            break;
        case 3:
            script_add_format(name, "long-%zu-", key);
            script_add_fill(name, 'k', 100 + key);
            break;
        default:
            script_add_format(name, "key%zu", key);
            break;
        }
    }
    /* One key is a single byte, and one as long as a key can be. */
    duel->names[3].length = 1;
    script_add_fill(&duel->names[11], 'K', KEY_BYTES_MAX - duel->names[11].length);
}

static struct slice name_of(const struct duel *duel, size_t key)
{
    return script_slice(&duel->names[key]);
}

/* Values of every kind that a line can carry. */
static void add_value(struct script *script, uint64_t seed, size_t length)
{
    static const char *const texts[] = {"no value stored", "5ea1", "error: corrupt value",
                                        " spaces on both sides ",
                                        "\xf0\x9f\x94\x91\xe2\x82\xac\x01\x1f\x7f\t\v"};
    enum { TEXTS = sizeof texts / sizeof texts[0] };
    size_t kind = (size_t)(seed % (TEXTS + 10));
    if (kind < TEXTS) {
        script_add_text(script, texts[kind]);
    } else if (kind == TEXTS) {
        script_add_random(script, seed, length);
        script_add_text(script, "\r"); /* which is kept if another CR follows */
    } else if (kind == TEXTS + 1) {
        script_add_text(script, "\r\r");
    } else {
        script_add_random(script, seed, length);
    }
}

/* Mostly short, sometimes so long that it goes another way through the server. */
static size_t choose_length(struct duel *duel)
{
    size_t kind = below(duel, 200);
    if (kind < 170) {
        return below(duel, 150);
    }
    return kind < 198 ? below(duel, 6000)
                      : below(duel, watchdog_scaled(VALUE_BYTES, VALUE_BYTES / 4));
}

/* ---- Conversations ---- */

static void converse_begin(struct conversation *talk)
{
    talk->requests.length = 0;
    talk->replies.length = 0;
    talk->piece_count = 0;
}

/* Everything added to the replies since the last call is one piece of them. */
static void end_piece(struct conversation *talk, enum order order, size_t count)
{
    struct piece *last =
        talk->piece_count == 0 ? NULL : &talk->pieces[talk->piece_count - 1];
    if (last != NULL && order == ORDER_EXACT && last->order == ORDER_EXACT) {
        last->end = talk->replies.length;
        return;
    }
    assert_in_range(talk->piece_count, 0, sizeof talk->pieces / sizeof *last - 1);
    talk->pieces[talk->piece_count++] =
        (struct piece){order, talk->replies.length, count};
}

static void add_exact_reply(struct conversation *talk, const char *line)
{
    script_add_text(&talk->replies, line);
    script_add_text(&talk->replies, "\n");
    end_piece(talk, ORDER_EXACT, 0);
}

/* The command word in upper, lower or mixed case, and the end of the line. */
static void add_word(struct duel *duel, struct conversation *talk, const char *word)
{
    char text[16];
    size_t style = below(duel, 4);
    size_t length = strlen(word);
    assert_in_range(length, 1, sizeof text - 1);
    for (size_t i = 0; i <= length; i++) {
        bool is_lower = style == 0 || (style == 1 && below(duel, 2) == 0);
        bool is_letter = word[i] >= 'A' && word[i] <= 'Z';
        text[i] = (char)(is_lower && is_letter ? word[i] - 'A' + 'a' : word[i]);
    }
    script_add_text(&talk->requests, text);
}

static void end_line(struct duel *duel, struct conversation *talk)
{
    script_add_text(&talk->requests, below(duel, 4) == 0 ? "\r\n" : "\n");
}

static void add_key_request(struct duel *duel, struct conversation *talk,
                            const char *word, size_t key)
{
    add_word(duel, talk, word);
    script_add_text(&talk->requests, " ");
    script_add(&talk->requests, name_of(duel, key));
}

static void say_set(struct duel *duel, struct conversation *talk, size_t key)
{
    uint64_t seed = dice_next(&duel->dice);
    size_t length = choose_length(duel);
    seeded_set(&duel->model, key, seed, length);
    add_key_request(duel, talk, "SET", key);
    script_add_text(&talk->requests, " ");
    size_t start = talk->requests.length;
    add_value(&talk->requests, seed, length);
    size_t end = talk->requests.length;
    if (end > start && talk->requests.bytes[end - 1] == '\r') {
        script_add_text(&talk->requests, "\r\n");
    } else {
        end_line(duel, talk);
    }
    add_exact_reply(talk, "success");
}

static void hear_value(const struct duel *duel, struct conversation *talk, size_t key)
{
    const struct seeded *model = &duel->model;
    if (model->values[key].is_stored) {
        add_value(&talk->replies, model->values[key].seed, model->values[key].length);
        add_exact_reply(talk, "");
    } else {
        add_exact_reply(talk, "no value stored");
    }
}

static void say_get(struct duel *duel, struct conversation *talk, size_t key)
{
    add_key_request(duel, talk, "GET", key);
    end_line(duel, talk);
    hear_value(duel, talk, key);
}

static void say_delete(struct duel *duel, struct conversation *talk, size_t key)
{
    seeded_delete(&duel->model, key);
    add_key_request(duel, talk, "DELETE", key);
    end_line(duel, talk);
    add_exact_reply(talk, "success");
}

static void say_exists(struct duel *duel, struct conversation *talk, size_t key)
{
    add_key_request(duel, talk, "EXISTS", key);
    end_line(duel, talk);
    add_exact_reply(talk, duel->model.values[key].is_stored ? "1" : "0");
}

static void say_count(struct duel *duel, struct conversation *talk)
{
    add_word(duel, talk, "COUNT");
    end_line(duel, talk);
    script_add_format(&talk->replies, "%zu", duel->model.count);
    add_exact_reply(talk, "");
}

/* All keys, or those that share the first bytes of one. */
static void say_keys(struct duel *duel, struct conversation *talk)
{
    struct slice prefix = SLICE_LITERAL("");
    add_word(duel, talk, "KEYS");
    if (below(duel, 4) != 0) {
        prefix = name_of(duel, below(duel, KEYS));
        /* "к" takes two bytes, and half of it is no UTF-8. */
        size_t length = 2 * (1 + below(duel, 4));
        prefix = length < prefix.length ? slice_first(prefix, length) : prefix;
        script_add_text(&talk->requests, " ");
        script_add(&talk->requests, prefix);
    }
    end_line(duel, talk);
    for (size_t key = 0; key < KEYS; key++) {
        if (duel->model.values[key].is_stored &&
            slice_starts_with(name_of(duel, key), prefix)) {
            script_add(&talk->replies, name_of(duel, key));
            script_add_text(&talk->replies, "\n");
        }
    }
    script_add_text(&talk->replies, "\n");
    end_piece(talk, ORDER_KEYS, 0);
}

static void say_stats(struct duel *duel, struct conversation *talk)
{
    add_word(duel, talk, "STATS");
    end_line(duel, talk);
    end_piece(talk, ORDER_STATS, duel->model.count);
}

static void say_help(struct duel *duel, struct conversation *talk)
{
    add_word(duel, talk, "HELP");
    end_line(duel, talk);
    script_add(&talk->replies, script_slice(&duel->help));
    end_piece(talk, ORDER_EXACT, 0);
}

static void say_plain(struct duel *duel, struct conversation *talk, const char *word)
{
    add_word(duel, talk, word);
    end_line(duel, talk);
    add_exact_reply(talk, "success");
}

/* ---- What must be refused, and change nothing ---- */

static const struct exchange refused[] = {
    {BYTES("\n"), BYTES("error: empty line")},
    {BYTES("\r\n"), BYTES("error: empty line")},
    {BYTES("NOPE key4\n"), BYTES("error: unknown command")},
    {BYTES(" GET key4\n"), BYTES("error: unknown command")},
    {BYTES("GETS key4\n"), BYTES("error: unknown command")},
    {BYTES("SETkey4 value\n"), BYTES("error: unknown command")},
    {BYTES("key4\n"), BYTES("error: unknown command")},
    {BYTES("GET\n"), BYTES("error: usage: GET key")},
    {BYTES("GET \n"), BYTES("error: usage: GET key")},
    {BYTES("GET  key4\n"), BYTES("error: usage: GET key")},
    {BYTES("GET key4 \n"), BYTES("error: usage: GET key")},
    {BYTES("get key4 key5\r\n"), BYTES("error: usage: GET key")},
    {BYTES("SET\n"), BYTES("error: usage: SET key value")},
    {BYTES("SET key4\n"), BYTES("error: usage: SET key value")},
    {BYTES("SET  key4 value\n"), BYTES("error: usage: SET key value")},
    {BYTES("set \r\n"), BYTES("error: usage: SET key value")},
    {BYTES("DELETE\n"), BYTES("error: usage: DELETE key")},
    {BYTES("DELETE key4 key5\n"), BYTES("error: usage: DELETE key")},
    {BYTES("DELETE  key4\n"), BYTES("error: usage: DELETE key")},
    {BYTES("EXISTS\n"), BYTES("error: usage: EXISTS key")},
    {BYTES("EXISTS key4 key5\n"), BYTES("error: usage: EXISTS key")},
    {BYTES("KEYS a b\n"), BYTES("error: usage: KEYS [prefix]")},
    {BYTES("COUNT all\n"), BYTES("error: usage: COUNT")},
    {BYTES("SYNC \n"), BYTES("error: usage: SYNC")},
    {BYTES("SET key4 a\0b\n"), BYTES("error: NUL byte")},
    {BYTES("SET key4 \0\n"), BYTES("error: NUL byte")},
    {BYTES("SET ke\0y4 value\n"), BYTES("error: NUL byte")},
    {BYTES("GET key4\0\n"), BYTES("error: NUL byte")},
    {BYTES("SET key4 \xff\n"), BYTES("error: not UTF-8")},
    {BYTES("SET key4 \xc3\n"), BYTES("error: not UTF-8")},
    {BYTES("SET key4 \xed\xa0\x80\n"), BYTES("error: not UTF-8")},
    {BYTES("DELETE \xc0\x80\n"), BYTES("error: not UTF-8")},
    {BYTES("GET \xf4\x90\x80\x80\n"), BYTES("error: not UTF-8")},
};

static void say_refused(struct duel *duel, struct conversation *talk)
{
    const struct exchange *exchange =
        &refused[below(duel, sizeof refused / sizeof refused[0])];
    script_add(&talk->requests, exchange->request);
    script_add(&talk->replies, exchange->reply);
    add_exact_reply(talk, "");
    duel->refusals++;
}

/* One past each limit; few, since they are long. */
static void say_too_long(struct duel *duel, struct conversation *talk)
{
    static const char *const words[] = {"SET", "GET", "DELETE", "EXISTS"};
    struct script *requests = &talk->requests;
    size_t kind = below(duel, 3);
    const char *word = words[kind == 0 ? below(duel, 4) : 0];
    add_word(duel, talk, word);
    script_add_text(requests, " ");
    if (kind == 0) {
        script_add_fill(requests, 'k', KEY_BYTES_MAX + 1);
        script_add_text(requests, strcmp(word, "SET") == 0 ? " v" : "");
        add_exact_reply(talk, "error: key too long");
    } else {
        size_t more = kind == 1 ? 1 : KEY_BYTES_MAX + 1 + below(duel, 100000);
        script_add_text(requests, "key4 ");
        script_add_fill(requests, 'v', VALUE_BYTES + more);
        add_exact_reply(talk,
                        kind == 1 ? "error: value too long" : "error: line too long");
    }
    end_line(duel, talk);
    duel->refusals++;
}

/* ---- One random command ---- */

static void say_rare(struct duel *duel, struct conversation *talk)
{
    switch (below(duel, 20)) {
    case 0:
        say_stats(duel, talk);
        break;
    case 1:
        say_help(duel, talk);
        break;
    case 2:
    case 3:
    case 4:
        say_keys(duel, talk);
        break;
    case 5:
        if (below(duel, 4) == 0) {
            say_too_long(duel, talk);
            break;
        }
        say_plain(duel, talk, "SYNC");
        break;
    case 6:
        say_plain(duel, talk, duel->has_compaction ? "COMPACT" : "SYNC");
        break;
    case 7:
    case 8:
    case 9:
    case 10:
        say_count(duel, talk);
        break;
    default:
        say_refused(duel, talk);
        break;
    }
}

static void say_something(struct duel *duel, struct conversation *talk)
{
    size_t key = below(duel, KEYS);
    size_t kind = below(duel, 100);
    duel->commands++;
    if (kind < 35) {
        say_set(duel, talk, key);
    } else if (kind < 65) {
        say_get(duel, talk, key);
    } else if (kind < 75) {
        say_delete(duel, talk, key);
    } else if (kind < 82) {
        say_exists(duel, talk, key);
    } else {
        say_rare(duel, talk);
    }
}

/* ---- How a conversation ends ---- */

enum ending {
    ENDING_HALF_CLOSE,
    ENDING_CLOSE,
    ENDING_RESET,
    ENDING_QUIT,
    ENDING_UNFINISHED_READ,
    ENDING_UNFINISHED_WRITE,
    ENDING_WEB_PAGE,
    ENDING_TELNET,
    ENDING_COUNT
};

/* The last line, and after a line that closes some that must not be executed. */
static void say_last(struct duel *duel, struct conversation *talk, enum ending ending)
{
    static const char *const unfinished[] = {"SET key4 cut off", "DELETE key4",
                                             "set key4 ", "SET"};
    static const char lost[] = "SET key4 lost\nDELETE key5\nGET key6\nFLY\n";
    switch (ending) {
    case ENDING_QUIT:
        add_word(duel, talk, "QUIT");
        end_line(duel, talk);
        script_add_text(&talk->requests, lost);
        break;
    case ENDING_UNFINISHED_READ:
        script_add_text(&talk->requests, "EXISTS key4");
        add_exact_reply(talk, duel->model.values[4].is_stored ? "1" : "0");
        break;
    case ENDING_UNFINISHED_WRITE:
        script_add_text(&talk->requests, unfinished[below(duel, 4)]);
        add_exact_reply(talk, "error: incomplete line");
        break;
    case ENDING_WEB_PAGE:
        script_add_text(&talk->requests,
                        below(duel, 2) == 0 ? "POST / HTTP/1.1\r\n" : "Host: here\r\n");
        script_add_text(&talk->requests, lost);
        break;
    case ENDING_TELNET:
        script_add_text(&talk->requests, "\xff\xf4\xff\xfd\x06");
        break;
    default:
        break;
    }
}

static void leave(struct client *client, enum ending ending)
{
    switch (ending) {
    case ENDING_HALF_CLOSE:
    case ENDING_UNFINISHED_READ:
    case ENDING_UNFINISHED_WRITE:
    case ENDING_QUIT:
    case ENDING_WEB_PAGE:
    case ENDING_TELNET:
        client_expect_end(client);
        client_close(client);
        break;
    case ENDING_RESET:
        client_reset(client);
        break;
    default:
        client_close(client);
        break;
    }
}

static bool needs_half_close(enum ending ending)
{
    return ending == ENDING_HALF_CLOSE || ending == ENDING_UNFINISHED_READ ||
           ending == ENDING_UNFINISHED_WRITE;
}

/* ---- Hearing ---- */

/* The lines come in any order, each once, then the empty one. */
static void hear_keys(struct client *client, struct slice expected)
{
    struct slice left[KEYS];
    size_t count = 0;
    for (const uint8_t *lf = NULL; expected.bytes[0] != '\n';) {
        lf = memchr(expected.bytes, '\n', expected.length);
        assert_non_null(lf);
        assert_in_range(count, 0, KEYS - 1);
        left[count++] = slice_first(expected, (size_t)(lf - expected.bytes));
        expected = slice_after(expected, (size_t)(lf - expected.bytes) + 1);
    }
    for (const char *line = client_read_line(client); line[0] != '\0';
         line = client_read_line(client)) {
        size_t i = 0;
        while (i < count && !slice_equal(left[i], slice_of_text(line))) {
            i++;
        }
        if (i == count) {
            fail_msg("KEYS lists \"%.60s\", which is not due", line);
        }
        left[i] = left[--count];
    }
    if (count > 0) {
        fail_msg("KEYS lacks \"%.*s\"", (int)left[0].length, left[0].bytes);
    }
}

static void hear_stats(struct client *client, size_t key_count)
{
    char expected[32];
    bool is_found = false;
    size_t lines = 0;
    (void)snprintf(expected, sizeof expected, "keys %zu", key_count); /* fits */
    for (const char *line = client_read_line(client); line[0] != '\0';
         line = client_read_line(client)) {
        is_found = is_found || strcmp(line, expected) == 0;
        assert_non_null(strchr(line, ' '));
        lines++;
    }
    assert_in_range(lines, 1, STATS_LINES_MAX);
    if (!is_found) {
        fail_msg("STATS without \"%s\"", expected);
    }
}

/* How far a client has heard. */
struct hearing {
    size_t piece;
    size_t start; /* in the replies */
};

static struct slice due(const struct conversation *talk, const struct hearing *hearing)
{
    struct slice replies = script_slice(&talk->replies);
    size_t end = talk->pieces[hearing->piece].end;
    return slice_first(slice_after(replies, hearing->start), end - hearing->start);
}

/* Take what has arrived of a piece that can be compared byte by byte. */
static void hear_some(struct client *client, const struct conversation *talk,
                      struct hearing *hearing)
{
    while (hearing->piece < talk->piece_count &&
           talk->pieces[hearing->piece].order == ORDER_EXACT) {
        hearing->start += client_take_equal(client, due(talk, hearing));
        if (hearing->start < talk->pieces[hearing->piece].end) {
            return;
        }
        hearing->piece++;
    }
}

static void hear_rest(struct client *client, const struct conversation *talk,
                      struct hearing *hearing)
{
    for (; hearing->piece < talk->piece_count; hearing->piece++) {
        const struct piece *piece = &talk->pieces[hearing->piece];
        switch (piece->order) {
        case ORDER_EXACT:
            client_expect(client, due(talk, hearing));
            break;
        case ORDER_KEYS:
            hear_keys(client, due(talk, hearing));
            break;
        case ORDER_STATS:
            hear_stats(client, piece->count);
            break;
        }
        hearing->start = piece->end;
    }
}

/* ---- Talking ---- */

/* Send in one go, in random pieces, or the first bytes one by one. */
static size_t choose_share(struct duel *duel, size_t style, size_t sent)
{
    switch (style) {
    case 0:
        return SIZE_MAX;
    case 1:
        return 1 + below(duel, 60000);
    case 2:
        return sent < SINGLE_BYTES ? 1 : 1 + below(duel, 60000);
    default:
        return 1 + below(duel, below(duel, 3) == 0 ? 40 : 3000);
    }
}

static void talk_over(struct duel *duel, const struct conversation *talk,
                      enum ending ending)
{
    struct client client = scene_client(duel->scene);
    struct hearing hearing = {0, 0};
    struct slice unsent = script_slice(&talk->requests);
    size_t style = below(duel, 4);
    bool hears_late = below(duel, 2) == 0;
    while (unsent.length > 0) {
        size_t share = choose_share(duel, style, talk->requests.length - unsent.length);
        share = share < unsent.length ? share : unsent.length;
        client_send(&client, slice_first(unsent, share));
        unsent = slice_after(unsent, share);
        if (!hears_late && below(duel, 4) == 0) {
            hear_some(&client, talk, &hearing);
        }
    }
    if (needs_half_close(ending)) {
        client_half_close(&client);
    }
    hear_rest(&client, talk, &hearing);
    leave(&client, ending);
}

static void compare_everything(struct duel *duel, struct conversation *talk)
{
    converse_begin(talk);
    for (size_t key = 0; key < KEYS; key++) {
        say_exists(duel, talk, key);
        say_get(duel, talk, key);
    }
    say_count(duel, talk);
    say_stats(duel, talk);
    talk_over(duel, talk, ENDING_HALF_CLOSE);
}

static void start(struct duel *duel)
{
    const char *const options[] = {"--max-value", max_value, "--sync",
                                   below(duel, 3) == 0 ? "everysec" : "always", NULL};
    scene_start(duel->scene, options);
}

static void restart(struct duel *duel)
{
    if (below(duel, 2) == 0) {
        server_process_stop(&duel->scene->server);
    } else {
        server_process_kill(&duel->scene->server);
    }
    start(duel);
    duel->restarts++;
}

static void learn_help(struct duel *duel)
{
    struct client client = scene_client(duel->scene);
    client_send_text(&client, "HELP\n");
    const char *line = client_read_line(&client);
    for (; line[0] != '\0'; line = client_read_line(&client)) {
        duel->has_compaction =
            duel->has_compaction || strncmp(line, "COMPACT", strlen("COMPACT")) == 0;
        script_add_text(&duel->help, line);
        script_add_text(&duel->help, "\n");
    }
    script_add_text(&duel->help, "\n");
    client_close(&client);
}

static void duel_begin(struct duel *duel, struct scene *scene)
{
    duel->scene = scene;
    dice_begin(&duel->dice);
    name_keys(duel);
    start(duel);
    learn_help(duel);
}

static void duel_end(struct duel *duel)
{
    print_message("  %zu commands and %zu of them refused, %zu restarts\n",
                  duel->commands, duel->refusals, duel->restarts);
    for (size_t key = 0; key < KEYS; key++) {
        script_free(&duel->names[key]);
    }
    script_free(&duel->help);
    free(duel);
}

static void f11_f20_f44_every_command_agrees_with_an_array(void **state)
{
    struct duel *duel = calloc(1, sizeof *duel);
    struct conversation *talk = calloc(1, sizeof *talk);
    size_t wanted = watchdog_scaled(100000, 4000);
    assert_non_null(duel);
    assert_non_null(talk);
    duel_begin(duel, *state);
    while (duel->commands < wanted) {
        size_t count = 1 + below(duel, below(duel, 3) == 0 ? 20 : COMMANDS_MAX);
        enum ending ending = (enum ending)below(duel, ENDING_COUNT);
        converse_begin(talk);
        for (size_t i = 0; i < count; i++) {
            say_something(duel, talk);
        }
        say_last(duel, talk, ending);
        talk_over(duel, talk, ending);
        if (below(duel, 3) == 0) {
            restart(duel);
            compare_everything(duel, talk);
        }
    }
    compare_everything(duel, talk);
    server_process_stop(&duel->scene->server);
    script_free(&talk->requests);
    script_free(&talk->replies);
    free(talk);
    duel_end(duel);
}

/* ---- A disk that is full ---- */

enum { FULL_COMMANDS = 300 };

struct asked {
    enum { ASK_SET, ASK_DELETE, ASK_GET } kind;
    size_t key;
    uint64_t seed;
    size_t length;
};

static void ask(struct duel *duel, struct script *requests, struct asked *asked)
{
    static const char *const words[] = {"SET ", "DELETE ", "GET "};
    size_t kind = below(duel, 10);
    asked->kind = kind < 6 ? ASK_SET : kind < 7 ? ASK_DELETE : ASK_GET;
    asked->key = 4 + 8 * below(duel, KEYS / 8); /* short names */
    asked->seed =
        7 + 15 * dice_below(&duel->dice, UINT64_MAX / 16); /* no CR at the end */
    asked->length = below(duel, 3000);
    script_add_text(requests, words[asked->kind]);
    script_add(requests, name_of(duel, asked->key));
    if (asked->kind == ASK_SET) {
        script_add_text(requests, " ");
        add_value(requests, asked->seed, asked->length);
    }
    script_add_text(requests, "\n");
}

/* Returns whether the request was refused for want of space. */
static bool hear_answer(struct duel *duel, struct client *client,
                        const struct asked *asked)
{
    struct seeded *model = &duel->model;
    const char *line = client_read_line(client);
    bool is_stored = model->values[asked->key].is_stored;
    if (asked->kind == ASK_GET) {
        struct script value = {0};
        add_value(&value, model->values[asked->key].seed,
                  model->values[asked->key].length);
        struct slice expected =
            is_stored ? script_slice(&value) : slice_of_text("no value stored");
        if (!slice_equal(slice_of_text(line), expected)) {
            fail_msg("GET of key %zu answers \"%.60s\"", asked->key, line);
        }
        script_free(&value);
        return false;
    }
    if (strcmp(line, "success") != 0) {
        assert_string_equal(line, "error: storage full");
        return true;
    }
    if (asked->kind == ASK_SET) {
        seeded_set(model, asked->key, asked->seed, asked->length);
    } else {
        seeded_delete(model, asked->key);
    }
    return false;
}

/* Pipelined, so that a batch that is refused holds reads as well. */
static size_t write_much(struct duel *duel)
{
    struct asked asked[FULL_COMMANDS];
    struct script requests = {0};
    struct client client = scene_client(duel->scene);
    size_t refused_count = 0;
    for (size_t i = 0; i < FULL_COMMANDS; i++) {
        ask(duel, &requests, &asked[i]);
    }
    client_send(&client, script_slice(&requests));
    for (size_t i = 0; i < FULL_COMMANDS; i++) {
        refused_count += hear_answer(duel, &client, &asked[i]);
    }
    client_close(&client);
    script_free(&requests);
    duel->commands += FULL_COMMANDS;
    return refused_count;
}

/*
 * Every answer says whether a write counts; what was refused must not be seen by any
 * read, nor after a restart. The limit is raised from start to start.
 */
static void f31_f90_what_a_full_disk_refuses_is_never_seen(void **state)
{
    struct duel *duel = calloc(1, sizeof *duel);
    struct conversation *talk = calloc(1, sizeof *talk);
    assert_non_null(duel);
    assert_non_null(talk);
    duel_begin(duel, *state);
    for (size_t round = 1; round <= watchdog_scaled(20, 3); round++) {
        server_process_stop(&duel->scene->server);
        const struct server_launch launch = {
            .log = duel->scene->log.path,
            .file_bytes_max = scene_log_length(duel->scene) + below(duel, 600000),
        };
        server_process_launch(&duel->scene->server, &launch);
        server_process_await_ready(&duel->scene->server);
        duel->refusals += write_much(duel);
        duel->refusals += write_much(duel);
        compare_everything(duel, talk);
        restart(duel);
        compare_everything(duel, talk);
    }
    assert_true(duel->refusals > 0);
    server_process_stop(&duel->scene->server);
    script_free(&talk->requests);
    script_free(&talk->replies);
    free(talk);
    duel_end(duel);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SCENE(f11_f20_f44_every_command_agrees_with_an_array),
        ON_SCENE(f31_f90_what_a_full_disk_refuses_is_never_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
