/*
 * Written from the manual of kv and the protocol's page, not from kv.c.
 */
#include "world/small_verdict.h"

#include "base/utf8.h"
#include "support/lines.h"
#include "world/plan.h"
#include "world/process.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USUAL_PATIENCE_S = 5, STATUS_TROUBLE = 2, SHOWN = 200 };

static struct slice slice_of(const struct bytes *bytes)
{
    return (struct slice){bytes->at, bytes->length};
}

static void put_slice(struct bytes *bytes, struct slice slice)
{
    bytes_put(bytes, slice.bytes, slice.length);
}

/* ---- What it is asked ---- */

/* One more argument: so many bytes of an event's words, and what they stand for. */
static void add_argument(struct small_run *run, const char *at, size_t length)
{
    if (run->word_count == SMALL_WORDS_MAX) {
        violation("the world is too small", "for the words of kv");
    }
    char *words = plan_text(at, length);
    run->places[run->word_count++] = run->text.length;
    lines_expand(words, &run->text);
    bytes_put(&run->text, "", 1);
    (void)resize(words, 0);
}

/* Up to the next space; returns what is behind that. */
static const char *take_argument(struct small_run *run, const char *at)
{
    size_t length = strcspn(at, " ");
    add_argument(run, at, length);
    return at + length + (at[length] == ' ' ? 1 : 0);
}

/* Returns the number of arguments before the command. */
static size_t take_words(struct small_run *run, const char *at)
{
    add_argument(run, "kv", 2);
    while (*at == '-') {
        bool is_time = strncmp(at, "-t ", 3) == 0;
        at = take_argument(run, at);
        run->patience_s = is_time ? strtoull(at, NULL, 10) : run->patience_s;
        at = take_argument(run, at);
    }
    size_t first = run->word_count;
    for (int i = 0; i < 2 && *at != '\0'; i++) {
        at = take_argument(run, at);
    }
    if (*at == '<') {
        lines_expand(at + 1, &run->input);
    } else if (*at != '\0' || at[-1] == ' ') {
        add_argument(run, at, strlen(at)); /* with its spaces */
    }
    for (size_t i = 0; i < run->word_count; i++) {
        run->argv[i] = (char *)run->text.at + run->places[i];
    }
    run->argv[run->word_count] = NULL;
    return first;
}

static bool is_command(const struct small_run *run, const char *name)
{
    return strcmp(run->argv[run->command_at], name) == 0;
}

static bool is_walk(const struct small_run *run)
{
    return is_command(run, "keys") || is_command(run, "list");
}

static bool is_store(const struct small_run *run)
{
    return is_command(run, "set") || is_command(run, "add");
}

/* Whether a line was asked for before the command's own, on the same connection. */
static bool asks_first(const struct small_run *run)
{
    return is_command(run, "get") || is_command(run, "delete") || is_walk(run) ||
           is_command(run, "stats");
}

static void want_line(struct small_run *run, const char *verb, size_t from, size_t to)
{
    size_t start = run->wanted.length;
    for (size_t i = 0; verb[i] != '\0'; i++) {
        char letter = (char)toupper((unsigned char)verb[i]);
        bytes_put(&run->wanted, &letter, 1);
    }
    for (size_t i = from; i < to; i++) {
        bytes_put(&run->wanted, " ", 1);
        put_slice(&run->wanted, slice_of_text(run->argv[i]));
    }
    if (is_store(run) && run->word_count == run->command_at + 2) {
        struct slice input = slice_of(&run->input);
        bool ends_line = input.length > 0 && input.bytes[input.length - 1] == '\n';
        bytes_put(&run->wanted, " ", 1);
        put_slice(&run->wanted, slice_first(input, input.length - (ends_line ? 1 : 0)));
    }
    struct slice line = slice_after(slice_of(&run->wanted), start);
    bool ends_in_cr = line.bytes[line.length - 1] == '\r';
    run->is_odd = run->is_odd || !utf8_is_valid(line) ||
                  memchr(line.bytes, '\n', line.length) != NULL ||
                  memchr(line.bytes, 0, line.length) != NULL;
    put_slice(&run->wanted, ends_in_cr ? SLICE_LITERAL("\r\n") : SLICE_LITERAL("\n"));
    run->wanted_count++;
}

/* Words that no line carries as they are it has to refuse. */
static void want(struct small_run *run)
{
    size_t at = run->command_at;
    bool has_key = at + 1 < run->word_count;
    const char *key = has_key ? run->argv[at + 1] : "key";
    run->is_odd =
        key[0] == '\0' || strpbrk(key, " \n") != NULL ||
        (is_command(run, "incr") && at + 2 < run->word_count &&
         (run->argv[at + 2][0] == '\0' || strchr(run->argv[at + 2], ' ') != NULL));
    if (asks_first(run)) {
        bool is_of_key = is_command(run, "get") || is_command(run, "delete");
        want_line(run, is_of_key ? "exists" : "count", at + 1, at + (is_of_key ? 2 : 1));
    }
    want_line(run, run->argv[at], at + 1, run->word_count);
}

void small_verdict_begin(struct small_run *run, const char *words)
{
    struct bytes *all[] = {&run->words, &run->text,    &run->input,   &run->wanted,
                           &run->said,  &run->replied, &run->printed, &run->told};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        all[i]->length = 0;
    }
    struct small_run fresh = {.words = run->words,
                              .text = run->text,
                              .input = run->input,
                              .wanted = run->wanted,
                              .said = run->said,
                              .replied = run->replied,
                              .printed = run->printed,
                              .told = run->told,
                              .patience_s = USUAL_PATIENCE_S};
    *run = fresh;
    bytes_put(&run->words, words, strlen(words) + 1);
    run->command_at = take_words(run, words);
    want(run);
}

void small_verdict_note_reply(struct small_run *run, struct slice reply)
{
    if (run->reply_count == SMALL_LINES_MAX) {
        violation("kv asks more than it was told to", "%s", run->words.at);
    }
    put_slice(&run->replied, reply);
    run->reply_ends[run->reply_count++] = run->replied.length;
}

/* ---- What comes of it ---- */

/* The reply of a number, all of its lines. */
static struct slice reply_of(const struct small_run *run, size_t number)
{
    size_t start = number == 0 ? 0 : run->reply_ends[number - 1];
    return slice_first(slice_after(slice_of(&run->replied), start),
                       run->reply_ends[number] - start);
}

static bool take_line(struct slice *rest, struct slice *line_out)
{
    const uint8_t *lf =
        rest->length == 0 ? NULL : memchr(rest->bytes, '\n', rest->length);
    if (lf != NULL) {
        *line_out = slice_first(*rest, (size_t)(lf - rest->bytes));
        *rest = slice_after(*rest, line_out->length + 1);
    }
    return lf != NULL;
}

/* No value of the world begins so. */
static bool is_error(struct slice line)
{
    return slice_starts_with(line, SLICE_LITERAL("error: "));
}

static bool has_error(const struct small_run *run)
{
    struct slice rest = slice_of(&run->replied);
    struct slice line;
    while (take_line(&rest, &line)) {
        if (is_error(line)) {
            return true;
        }
    }
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    const struct slice *one = a;
    const struct slice *other = b;
    size_t both = one->length < other->length ? one->length : other->length;
    int order = both == 0 ? 0 : memcmp(one->bytes, other->bytes, both);
    return order != 0                    ? order
           : one->length < other->length ? -1
                                         : one->length > other->length;
}

/* The lines of a walk, without the empty one and those that say what is missing. */
static void sort_lines(struct slice reply, struct bytes *sorted)
{
    static struct bytes lines;
    struct slice line;
    lines.length = 0;
    while (take_line(&reply, &line)) {
        if (line.length > 0 && !is_error(line)) {
            bytes_put(&lines, &line, sizeof line);
        }
    }
    struct slice *list = (struct slice *)(void *)lines.at;
    size_t count = lines.length / sizeof *list;
    if (count > 0) {
        qsort(list, count, sizeof *list, by_bytes);
    }
    for (size_t i = 0; i < count; i++) {
        put_slice(sorted, list[i]);
        bytes_put(sorted, "\n", 1);
    }
}

/* The status that the whole replies mean, and what is to be printed. */
static int meaning(const struct small_run *run, struct bytes *output)
{
    struct slice first = reply_of(run, 0);
    struct slice last = reply_of(run, run->reply_count - 1);
    bool is_there = slice_equal(first, SLICE_LITERAL("1\n"));
    output->length = 0;
    if (is_walk(run)) {
        sort_lines(last, output);
    }
    if (has_error(run)) {
        return STATUS_TROUBLE;
    }
    if (is_command(run, "get") && is_there) {
        put_slice(output, last);
    } else if (is_command(run, "incr") || is_command(run, "count")) {
        put_slice(output, last);
    } else if (is_command(run, "stats")) {
        put_slice(output, slice_first(last, last.length - 1));
    }
    if (is_command(run, "get") || is_command(run, "delete") ||
        is_command(run, "exists")) {
        return is_there ? 0 : 1;
    }
    return is_command(run, "add") && !slice_equal(last, SLICE_LITERAL("success\n")) ? 1
                                                                                    : 0;
}

static int shown(const struct bytes *bytes)
{
    return (int)(bytes->length < SHOWN ? bytes->length : SHOWN);
}

_Noreturn static void tell(const struct small_run *run, const char *rule)
{
    violation(rule,
              "%.*s: status %d, printed \"%.*s\", told \"%.*s\"; said \"%.*s\", replies "
              "\"%.*s\", of which it had %llu bytes%s",
              SHOWN, (const char *)run->words.at, run->status, shown(&run->printed),
              (const char *)run->printed.at, shown(&run->told),
              (const char *)run->told.at, shown(&run->said), (const char *)run->said.at,
              shown(&run->replied), (const char *)run->replied.at,
              (unsigned long long)run->received_bytes,
              run->has_seen_end ? " and the end" : "");
}

static void check_words(const struct small_run *run)
{
    if (run->flaw != NULL) {
        tell(run, run->flaw);
    }
    if (!slice_starts_with(slice_of(&run->wanted), slice_of(&run->said)) ||
        (run->is_odd && run->said.length > 0)) {
        tell(run, "kv says what it was not asked to");
    }
    struct slice told = slice_of(&run->told);
    struct slice line = {0};
    bool is_one = slice_starts_with(told, SLICE_LITERAL("kv: ")) &&
                  take_line(&told, &line) && told.length == 0;
    if (run->status == STATUS_TROUBLE ? !is_one : run->told.length > 0) {
        tell(run, "kv tells trouble, and trouble alone, in one line");
    }
}

void small_verdict(const struct small_run *run)
{
    static struct bytes output;
    check_words(run);
    bool is_whole = run->said.length == run->wanted.length && run->has_seen_end &&
                    run->reply_count == run->wanted_count &&
                    run->received_bytes == run->replied.length;
    if (run->is_hurt || !is_whole) {
        if (run->status != STATUS_TROUBLE) {
            tell(run, "kv takes for an answer what is none");
        }
        if (!run->is_hurt && !run->has_reason && !run->is_odd) {
            tell(run, "kv gives up without a reason");
        }
        if (!run->is_hurt && !is_walk(run) && run->printed.length > 0) {
            tell(run, "kv prints an answer that is none");
        }
        return;
    }
    if (run->status != meaning(run, &output)) {
        tell(run, "kv ends with another status than the answer means");
    }
    if (!slice_equal(slice_of(&run->printed), slice_of(&output))) {
        tell(run, "kv prints something else than the answer");
    }
}
