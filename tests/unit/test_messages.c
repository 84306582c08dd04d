/*
 * What the operator is told: each line of the engine and of the offline modes, whole,
 * with the path, the offset and what was done about it. Each event is brought about for
 * real: a failing call, a damaged or planted file. tests/messages.py demands that no
 * line of the program is left out.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen poll fstatvfs
 * wrap: malloc calloc realloc strdup
 */
#include "base/bounds.h"
#include "engine/store.h"
#include "file/files.h"
#include "log/record.h"
#include "offline/dump.h"
#include "offline/salvage.h"
#include "offline/verify.h"
#include "options.h"
#include "support/compacting.h"
#include "support/disk.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/keyed.h"
#include "support/redirect.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * One event: the line about it, as engine_expect_line takes it, and the story of how it
 * came about: steps, whose words stand in a table below. In both PATH is the log.
 */
struct event {
    const char *line;
    const char *story;
};

/* Where key and value of the first record stand: its key has one byte. */
enum { FIRST_KEY = OPENING_BYTES + RECORD_HEADER_BYTES, FIRST_VALUE = FIRST_KEY + 1 };

/* ---- What a story leaves behind ---- */

/* What OFFSET and ERROR are in the line. */
static uint64_t told_offset;
static int told_error;

static pid_t holder; /* of the log, in another process; 0: nobody */

static struct {
    enum shim_role role; /* of files whose pages cannot be read; SHIM_ANY: none */
    int fd;
} lost;

static void end_story(void)
{
    if (holder != 0) {
        engine_end_holder(holder);
    }
    if (lost.role != SHIM_ANY) {
        engine_map_again(lost.role, lost.fd);
    }
    holder = 0;
    lost.role = SHIM_ANY;
}

/* ---- Steps about files: words[0] is what follows PATH in the name of one ---- */

#define WORK "somebody's work"

static void write_work(struct engine *engine, const char *const words[2])
{
    engine_write(engine, words[0], SLICE_LITERAL(WORK));
}

static void expect_work(struct engine *engine, const char *const words[2])
{
    engine_expect_file(engine, words[0], SLICE_LITERAL(WORK));
}

static void write_nothing(struct engine *engine, const char *const words[2])
{
    engine_write(engine, words[0], SLICE_LITERAL(""));
}

static void append_text(struct engine *engine, const char *const words[2])
{
    struct script bytes = engine_read(engine, words[0]);
    told_offset = bytes.length;
    script_add_text(&bytes, words[1]);
    engine_write(engine, words[0], script_slice(&bytes));
    script_free(&bytes);
}

static void cut_to_a_page(struct engine *engine, const char *const words[2])
{
    assert_int_equal(truncate(engine_file(engine, words[0]).path, 4096), 0);
}

/* Of the opening record, or of key or value of the first record, or of the last seal. */
static void flip_a_bit(struct engine *engine, const char *const words[2])
{
    struct script bytes = engine_read(engine, words[0]);
    size_t offset = strcmp(words[1], "opening") == 0 ? 20
                    : strcmp(words[1], "key") == 0   ? FIRST_KEY
                    : strcmp(words[1], "value") == 0 ? FIRST_VALUE
                                                     : bytes.length - 1;
    bytes.bytes[offset] ^= 1;
    engine_write(engine, words[0], script_slice(&bytes));
    script_free(&bytes);
}

static void copy_file(struct engine *engine, const char *const words[2])
{
    struct script bytes = engine_read(engine, words[0]);
    engine_write(engine, words[1], script_slice(&bytes));
    script_free(&bytes);
}

static void expect_same(struct engine *engine, const char *const words[2])
{
    struct script bytes = engine_read(engine, words[0]);
    engine_expect_file(engine, words[1], script_slice(&bytes));
    script_free(&bytes);
}

static void move_file(struct engine *engine, const char *const words[2])
{
    struct tempdir_file to = engine_file(engine, words[1]);
    assert_int_equal(rename(engine_file(engine, words[0]).path, to.path), 0);
}

static void remove_file(struct engine *engine, const char *const words[2])
{
    assert_int_equal(unlink(engine_file(engine, words[0]).path), 0);
}

/* Of the log, or of PATH.new, no page can be read, or only the first. */
static void lose_all(struct engine *engine, const char *const words[2])
{
    lost.role = words[0][0] == '\0' ? SHIM_LOG : SHIM_NEW;
    lost.fd = engine_map_instead(engine, lost.role, SLICE_LITERAL(""));
}

static void lose_all_but_a_page(struct engine *engine, const char *const words[2])
{
    struct script bytes = engine_read(engine, words[0]);
    lost.role = SHIM_LOG;
    lost.fd =
        engine_map_instead(engine, SHIM_LOG, slice_first(script_slice(&bytes), 4096));
    script_free(&bytes);
}

/* All of it was read once, and cannot be any more when it is copied. */
static void lose_when_copied(struct engine *engine, const char *const words[2])
{
    struct script bytes = engine_read(engine, words[0]);
    lost.role = SHIM_LOG;
    lost.fd = engine_map_instead(engine, SHIM_LOG, script_slice(&bytes));
    shim_before(SHIM_BIT(SHIM_PWRITE), SHIM_NEW, engine_cut_to_a_page, &lost.fd);
    script_free(&bytes);
}

/* ---- Logs that there may be ---- */

static void open_store(struct engine *engine)
{
    engine_open(engine);
    told_offset = engine_log_length(engine);
}

static void close_store(struct engine *engine)
{
    engine_close(engine);
    told_offset = engine_log_length(engine);
}

static void put(struct engine *engine, const char *const words[2])
{
    engine_put(engine, words[0], words[1]);
}

/* Large enough for pages that a start has not read. */
static void put_pages(struct engine *engine)
{
    static char value[20000];
    memset(value, 'v', sizeof value - 1);
    engine_put(engine, "p", value);
}

/* Two batches, closed; without an index, unless one is wanted. */
static void make_log(struct engine *engine)
{
    engine_open(engine);
    engine_put(engine, "k", "value");
    engine_put(engine, "l", "value");
    close_store(engine);
}

static void want_index(struct engine *engine)
{
    engine->keeps_index = true;
}

static void write_image(const struct engine *engine, struct image *image)
{
    engine_write(engine, "", image_slice(image));
    image_free(image);
}

/* A log of the original, with an empty key in it; one of pages; one with a long key. */
static void make_original(struct engine *engine)
{
    struct image image = {0};
    image_put_text(&image, "k", "value");
    image_put_text(&image, "", "value");
    image_put_text(&image, "l", "value");
    write_image(engine, &image);
}

static void make_original_of_pages(struct engine *engine)
{
    struct image image = {0};
    struct script value = {0};
    script_add_fill(&value, 'v', 20000);
    image_put_text(&image, "k", "value");
    image_put(&image, SLICE_LITERAL("l"), script_slice(&value));
    write_image(engine, &image);
    script_free(&value);
}

static void make_original_with_a_long_key(struct engine *engine)
{
    struct image image = {0};
    struct script key = {0};
    script_add_fill(&key, 'k', KEY_BYTES_MAX + 1);
    image_put_text(&image, "before", "value");
    told_offset = image.log.length;
    image_put(&image, script_slice(&key), SLICE_LITERAL("value"));
    write_image(engine, &image);
    script_free(&key);
}

static void make_later_format(struct engine *engine)
{
    struct image image;
    image_begin(&image, &(struct opening){.version = 2, .log_id = 1, .generation = 1});
    image_put_text(&image, "k", "value");
    image_seal(&image);
    write_image(engine, &image);
}

/* More records without a seal than a batch of ours can hold. */
static void make_foreign_records(struct engine *engine)
{
    struct image image;
    struct script value = {0};
    image_begin_first(&image);
    image_put_text(&image, "k", "value");
    image_seal(&image);
    told_offset = image.log.length;
    script_add_fill(&value, 'v', 1000000);
    while (image.log.length < told_offset + BATCH_BYTES_MAX) {
        image_put(&image, SLICE_LITERAL("k"), script_slice(&value));
    }
    image_put_text(&image, "k", "one more");
    write_image(engine, &image);
    script_free(&value);
}

/* So many copies of other torn tails. */
static void make_copies(struct engine *engine, const char *const words[2])
{
    for (int copy = 1; copy <= atoi(words[0]); copy++) {
        char suffix[64];
        (void)snprintf(suffix, sizeof suffix, copy < 2 ? ".torn.%d" : ".torn.%d.%d",
                       (int)told_offset, copy); /* fits */
        engine_write(engine, suffix, SLICE_LITERAL("other"));
    }
}

static void make_fifo(struct engine *engine)
{
    assert_int_equal(mkfifo(engine->log.path, 0600), 0);
}

static void make_link(struct engine *engine)
{
    assert_int_equal(link(engine->log.path, engine_file(engine, ".link").path), 0);
}

static void make_symbolic_link(struct engine *engine)
{
    assert_int_equal(symlink("elsewhere", engine->log.path), 0);
}

static void disown(struct engine *engine)
{
    (void)engine; /* whichever it is */
    shim_disown(SHIM_LOG);
}

static void hold(struct engine *engine)
{
    holder = engine_hold_elsewhere(engine);
    told_offset = (uint64_t)holder;
}

/* ---- What somebody does in the middle of the next step ---- */

static void write_new_file(void *engine)
{
    engine_write(engine, FILES_NEW, SLICE_LITERAL(WORK));
}

static void await_new_file(struct engine *engine)
{
    shim_before(SHIM_BIT(SHIM_FSYNC), SHIM_DIRECTORY, write_new_file, engine);
}

static void write_log(void *engine)
{
    engine_write(engine, "", SLICE_LITERAL(WORK));
}

static void await_log(struct engine *engine)
{
    shim_before(SHIM_BIT(SHIM_FDATASYNC), SHIM_NEW, write_log, engine);
}

/* What the memory of the system showed is not what the disk gives. */
static void lose_the_last_seal(void *engine)
{
    flip_a_bit(engine, (const char *const[]){"", "seal"});
}

static void await_lost_seal(struct engine *engine)
{
    shim_before(SHIM_BIT(SHIM_FADVISE), SHIM_LOG, lose_the_last_seal, engine);
}

/* ---- What is done ---- */

static void start(struct engine *engine)
{
    (void)engine_try_open(engine); /* some of these starts go well */
}

/* By another name than PATH; "/": by that of the directory. */
static void start_at(struct engine *engine, const char *const words[2])
{
    struct engine other = *engine;
    other.log = engine_file(engine, words[0]);
    if (strcmp(words[0], "/") == 0) {
        other.log = tempdir_file(&engine->tempdir, "");
    }
    assert_int_equal(engine_try_open(&other), KV_IO);
}

/* Allocation by allocation, until the one fails that the line is about. */
static void start_without_memory(struct engine *engine)
{
    for (uint64_t nth = 1; engine_told(engine, "cannot load") == 0; nth++) {
        assert_in_range(nth, 1, 100);
        shim_clear_faults();
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        start(engine);
    }
}

/* Its view ends a MiB behind its end. */
static void open_with_a_short_view(struct engine *engine)
{
    shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENOMEM);
    shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 2, ENOMEM);
    open_store(engine);
    shim_clear_faults();
}

static void commit_in_vain(struct engine *engine)
{
    assert_int_equal(engine_set(engine, "k", "new"), KV_OK);
    assert_int_not_equal(store_commit(engine->store), KV_OK);
}

static void set_in_vain(struct engine *engine)
{
    assert_int_equal(engine_set(engine, "k", "new"), KV_NO_SPACE);
}

static void set_two_mib_in_vain(struct engine *engine)
{
    static uint8_t bytes[2 * MIB];
    assert_int_equal(
        keyed_set(engine->store, slice_of_text("k"), (struct slice){bytes, sizeof bytes}),
        KV_NO_MEMORY);
}

static void get_in_vain(struct engine *engine)
{
    struct slice value;
    enum status status = keyed_get(engine->store, slice_of_text("k"), &value);
    assert_true(status == KV_CORRUPT || status == KV_IO);
}

static void walk(struct engine *engine)
{
    uint64_t position = 0;
    struct slice key;
    while (store_walk(engine->store, &position, &key) != KV_NOT_FOUND) {
    }
}

static void fill_disk(struct engine *engine)
{
    (void)engine; /* whatever it has */
    disk_set_free(0);
}

static void grow(struct engine *engine)
{
    compacting_grow_log(engine, CUT_STEP_BYTES);
}

static void begin_compaction(struct engine *engine)
{
    assert_int_equal(store_compact(engine->store), KV_OK);
}

static void compact_in_vain(struct engine *engine)
{
    assert_int_not_equal(store_compact(engine->store), KV_OK);
}

static void go_on(struct engine *engine)
{
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(compacting_step(engine), KV_OK);
    }
}

static void stop(struct engine *engine)
{
    struct store *store = engine->store;
    engine->store = NULL;
    (void)store_close(store); /* the line alone is looked at */
}

/* Of the other modes, too, the line alone is looked at. */
static void verify(struct engine *engine)
{
    int kept_fd = redirect_begin(stdout, "/dev/null");
    (void)verify_log(engine->log.path);
    redirect_end(stdout, kept_fd);
}

static void dump(struct engine *engine)
{
    int kept_fd = redirect_begin(stdout, "/dev/null");
    (void)dump_log(engine->log.path, LINES_SET);
    redirect_end(stdout, kept_fd);
}

static void salvage(struct engine *engine)
{
    int kept_fd = redirect_begin(stdout, "/dev/null");
    (void)salvage_log(engine->log.path, engine_file(engine, ".salvaged").path);
    redirect_end(stdout, kept_fd);
}

static void help_to_a_full_disk(struct engine *engine)
{
    char *arguments[] = {"kv-store", "--help", NULL};
    struct options options;
    int kept_fd = redirect_begin(stdout, "/dev/full");
    assert_int_equal(options_parse(2, arguments, &options), OPTIONS_FAILED);
    redirect_end(stdout, kept_fd);
    told_error = ENOSPC;
    (void)engine; /* it is about no log */
}

/* What OFFSET is: where the first batch begins, where its seal does, or a number. */
static void set_offset(struct engine *engine, const char *const words[2])
{
    (void)engine; /* the same in each */
    told_offset = strcmp(words[0], "opening-end") == 0 ? OPENING_BYTES
                  : strcmp(words[0], "seal") == 0      ? FIRST_VALUE + 5
                                                       : (uint64_t)atoi(words[0]);
}

/* One reason is enough. */
static void expect_one_line(struct engine *engine)
{
    assert_int_equal(engine_told(engine, ""), 1);
}

/* ---- Faults ---- */

static int error_named(const char *name)
{
    static const struct {
        const char *name;
        int error;
    } errors[] = {{"EACCES", EACCES}, {"EINVAL", EINVAL}, {"EIO", EIO},
                  {"EMFILE", EMFILE}, {"ENODEV", ENODEV}, {"ENOENT", ENOENT},
                  {"ENOLCK", ENOLCK}, {"ENOMEM", ENOMEM}, {"ENOSPC", ENOSPC},
                  {"ENOSYS", ENOSYS}};
    size_t i = 0;
    while (strcmp(errors[i].name, name) != 0) {
        assert_in_range(++i, 0, sizeof errors / sizeof errors[0] - 1);
    }
    return errors[i].error;
}

/* `fail 1 pwrite log EIO` meets the next step; with `fail-from` all later calls fail. */
static void arm_fault(char *text, bool is_sticky)
{
    char *place = NULL;
    struct shim_fault fault = {.is_sticky = is_sticky};
    fault.nth = (uint64_t)atoi(strtok_r(text, " ", &place));
    fault.calls = SHIM_BIT(shim_call_named(strtok_r(NULL, " ", &place)));
    fault.role = shim_role_named(strtok_r(NULL, " ", &place));
    fault.error = error_named(strtok_r(NULL, " ", &place));
    shim_inject(&fault);
    told_error = fault.error;
}

/* ---- Stories ---- */

struct step {
    const char *word;
    void (*happen)(struct engine *engine);
    void (*happen_to)(struct engine *engine, const char *const words[2]);
};

static const struct step steps[] = {
    {"write", NULL, write_work},
    {"expect", NULL, expect_work},
    {"empty", NULL, write_nothing},
    {"append", NULL, append_text},
    {"cut", NULL, cut_to_a_page},
    {"flip", NULL, flip_a_bit},
    {"copy", NULL, copy_file},
    {"same", NULL, expect_same},
    {"move", NULL, move_file},
    {"remove", NULL, remove_file},
    {"lose", NULL, lose_all},
    {"lose-behind-a-page", NULL, lose_all_but_a_page},
    {"lose-when-copied", NULL, lose_when_copied},
    {"open", open_store, NULL},
    {"open-with-short-view", open_with_a_short_view, NULL},
    {"close", close_store, NULL},
    {"crash", engine_crash, NULL},
    {"put", NULL, put},
    {"put-pages", put_pages, NULL},
    {"log", make_log, NULL},
    {"index", want_index, NULL},
    {"original", make_original, NULL},
    {"original-of-pages", make_original_of_pages, NULL},
    {"original-with-long-key", make_original_with_a_long_key, NULL},
    {"later-format", make_later_format, NULL},
    {"foreign-records", make_foreign_records, NULL},
    {"copies", NULL, make_copies},
    {"fifo", make_fifo, NULL},
    {"link", make_link, NULL},
    {"symlink", make_symbolic_link, NULL},
    {"disown", disown, NULL},
    {"hold", hold, NULL},
    {"await-new-file", await_new_file, NULL},
    {"await-log", await_log, NULL},
    {"await-lost-seal", await_lost_seal, NULL},
    {"start", start, NULL},
    {"start-at", NULL, start_at},
    {"start-without-memory", start_without_memory, NULL},
    {"commit", commit_in_vain, NULL},
    {"set", set_in_vain, NULL},
    {"set-two-mib", set_two_mib_in_vain, NULL},
    {"get", get_in_vain, NULL},
    {"walk", walk, NULL},
    {"fill-disk", fill_disk, NULL},
    {"grow", grow, NULL},
    {"compact", begin_compaction, NULL},
    {"compact-in-vain", compact_in_vain, NULL},
    {"go-on", go_on, NULL},
    {"stop", stop, NULL},
    {"verify", verify, NULL},
    {"dump", dump, NULL},
    {"salvage", salvage, NULL},
    {"help-to-full-disk", help_to_a_full_disk, NULL},
    {"one-line", expect_one_line, NULL},
    {"at", NULL, set_offset},
};

/* text: a word of the table and what it is about, up to two words. */
static void take_step(struct engine *engine, char *text)
{
    char *place = NULL;
    const char *word = strtok_r(text, " ", &place);
    const char *words[2] = {strtok_r(NULL, " ", &place), strtok_r(NULL, " ", &place)};
    for (size_t i = 0; i < 2; i++) {
        bool is_file = words[i] != NULL && strncmp(words[i], "PATH", 4) == 0;
        words[i] += is_file ? 4 : 0;
    }
    size_t i = 0;
    while (strcmp(steps[i].word, word) != 0) {
        assert_in_range(++i, 0, sizeof steps / sizeof steps[0] - 1);
    }
    if (steps[i].happen != NULL) {
        steps[i].happen(engine);
    } else {
        steps[i].happen_to(engine, words);
    }
}

static void tell_story(struct engine *engine, const char *story)
{
    char text[256];
    char *place = NULL;
    told_offset = 0;
    told_error = 0;
    assert_in_range(snprintf(text, sizeof text, "%s", story), 1, sizeof text - 1);
    for (char *step = strtok_r(text, ",", &place); step != NULL;
         step = strtok_r(NULL, ",", &place)) {
        step += step[0] == ' ' ? 1 : 0;
        if (strncmp(step, "fail ", 5) == 0) {
            arm_fault(step + 5, false);
        } else if (strncmp(step, "fail-from ", 10) == 0) {
            arm_fault(step + 10, true);
        } else {
            take_step(engine, step);
            shim_clear_faults();
        }
    }
    end_story();
}

/* Each event has a directory of its own. */
static void expect_events(const struct event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *state = NULL;
        assert_int_equal(engine_setup(&state), 0);
        struct engine *engine = state;
        engine_catch_sigbus();
        shim_omit_syncs();
        tell_story(engine, events[i].story);
        engine_expect_line(engine, events[i].line, told_offset, told_error);
        assert_int_equal(engine_teardown(&state), 0);
    }
}

#define EXPECT_EVENTS(events) expect_events(events, sizeof(events) / sizeof((events)[0]))

static void messages_name_files_that_are_refused(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"DIRECTORY/: cannot open the directory; giving up: ERROR",
         "fail 1 open directory EACCES, start"},
        {"DIRECTORY/: not the name of a file, or too long; giving up", "start-at /"},
        {"PATH: is not a regular file; it is not used", "fifo, start"},
        {"PATH: has more than one link; it is not used", "log, link, start"},
        {"PATH: belongs to another user; it is not used", "log, disown, start"},
        {"PATH: is a symbolic link, which is not followed", "symlink, start"},
        {"PATH: cannot open; it is not used: ERROR",
         "log, fail 1 openat log EACCES, start"},
        {"PATH: cannot inspect; it is not used: ERROR",
         "log, fail 1 fstat log EIO, start"},
        {"PATH: cannot map the log; it is not used: ERROR",
         "log, fail-from 1 mmap log ENOMEM, start"},
        {"PATH: lies on a file system that lets no file be mapped into memory; it is "
         "not used",
         "log, fail-from 1 mmap log ENODEV, start, one-line"},
        {"PATH.lock: cannot create; giving up: ERROR",
         "fail 2 openat lock ENOENT, start"},
        {"PATH.lock: cannot lock; giving up: ERROR",
         "log, fail 1 fcntl lock ENOLCK, start"},
        {"PATH: is in use by process OFFSET; giving up", "log, hold, start"},
        {"PATH: is in use by process OFFSET; only --follow reads beside it",
         "log, hold, verify"},
        {"PATH: is in use by another process; giving up",
         "log, hold, fail 2 fcntl lock EINVAL, start"},
        {"PATH.1: is in use by another process under another name; giving up",
         "log, hold, move PATH PATH.1, start-at PATH.1"},
        {"PATH: cannot lock the log; it is not used: ERROR",
         "log, fail 1 fcntl log ENOLCK, start"},
        {"PATH: cannot inspect the log; it is not used: ERROR",
         "log, fail 3 fstat log EIO, start"},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_what_keeps_a_start_from_making_a_log(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH: not enough memory for a store; giving up: ERROR",
         "fail 1 calloc any ENOMEM, start"},
        {"PATH: not enough memory for the name; giving up: ERROR",
         "fail 1 malloc any ENOMEM, start"},
        {"PATH: not enough memory to open it; giving up",
         "fail 1 strdup any ENOMEM, start"},
        {"PATH: cannot sync the directory; giving up: ERROR",
         "fail 1 fsync directory EIO, start"},
        {"PATH: its directory cannot be synced; a loss of power may take away the "
         "name of a file that was just made, and what was written to it: ERROR",
         "fail-from 1 fsync directory EINVAL, start"},
        {"PATH.new: cannot remove; it is left there: ERROR",
         "empty PATH.new, fail 1 unlinkat new EACCES, start"},
        {"PATH.new: cannot create; giving up: ERROR", "fail 2 openat new ENOENT, start"},
        {"/dev/urandom: cannot read a log id; no log is made: ERROR",
         "fail 1 fopen any EMFILE, start"},
        {"PATH.new: cannot write the opening record; no log is made: ERROR",
         "fail 1 pwrite new ENOSPC, start"},
        {"PATH.new: cannot sync; it is not put in place: ERROR",
         "fail 2 fdatasync new EIO, start"},
        {"PATH.new: cannot rename to PATH; the names stay: ERROR",
         "fail 1 renameat log EIO, start"},
        {"PATH: cannot sync the directory after a rename; stopping: ERROR",
         "fail 2 fsync directory EIO, start"},
    };
    EXPECT_EVENTS(events);
}

static void f100_messages_name_files_of_somebody_else(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH.new: holds 15 bytes that may be somebody's, kept in PATH.torn.0",
         "log, write PATH.new, start"},
        {"PATH.new: was not left half made here, so it is somebody's: move it away; "
         "nothing was changed",
         "log, move PATH PATH.kept, log, move PATH.kept PATH.new, start"},
        {"PATH.new: cannot be read; it is left there",
         "log, write PATH.new, lose PATH.new, start"},
        {"PATH.new: is there already and was not made here; it is left there, and "
         "nothing is made",
         "await-new-file, start, expect PATH.new"},
        {"PATH: was put there or changed meanwhile; it is not replaced",
         "await-log, start, expect PATH"},
        {"PATH: cannot inspect; it is not replaced: ERROR",
         "fail 2 fstatat log EIO, start"},
        {"PATH.old: is there already and is not replaced; PATH keeps its name",
         "log, open, copy PATH PATH.old, compact-in-vain, same PATH PATH.old"},
        {"PATH.old: cannot inspect; PATH keeps its name: ERROR",
         "log, open, fail 1 fstatat old EIO, compact-in-vain"},
        {"PATH.index: is no image of an index; reading the whole log",
         "log, write PATH.index, start"},
        {"PATH.index: is no image of an index, so it is somebody's; it is left there, "
         "and none is saved",
         "log, open, write PATH.index, stop, expect PATH.index"},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_the_torn_tail_and_its_copy(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH: cutting off an unfinished batch at offset OFFSET: 5 bytes, 0 whole "
         "records, kept in PATH.torn.OFFSET",
         "log, append PATH xxxxx, start"},
        {"PATH.torn.OFFSET: cannot read; it is not used: ERROR",
         "log, append PATH xxxxx, copies 1, fail 2 fstat torn EIO, start"},
        {"PATH: too many copies of torn tails at offset OFFSET; it is not cut off",
         "log, append PATH xxxxx, copies 998, start"},
        {"PATH.torn.OFFSET: cannot save the torn tail, so it is not cut off: ERROR",
         "log, append PATH xxxxx, fail 1 pwrite torn ENOSPC, start"},
        {"PATH.torn.OFFSET: cannot create, so the torn tail is not cut off: ERROR",
         "log, append PATH xxxxx, fail 2 openat torn ENOENT, start"},
        {"PATH.torn.OFFSET: cannot close, so the torn tail is not cut off: ERROR",
         "log, append PATH xxxxx, fail 1 close torn EIO, start"},
        {"PATH: cannot cut the log back to its last seal; stopping: ERROR",
         "log, append PATH xxxxx, fail 1 ftruncate log EIO, start"},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_what_is_wrong_with_a_log_or_cannot_be_read(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH: the log is damaged at offset OFFSET, where it had been durable; "
         "nothing was changed: see --verify and --salvage",
         "log, flip PATH value, start, at opening-end"},
        {"PATH: the log is damaged at offset OFFSET, where records without a seal "
         "follow; nothing was changed: see --verify and --salvage",
         "foreign-records, start"},
        {"PATH: the log is damaged at offset 0: its opening record is not intact, but "
         "a mark at offset OFFSET is; nothing was changed",
         "log, flip PATH opening, start, at seal"},
        {"PATH: the log has format version 2, this program knows version 1; nothing "
         "was changed",
         "later-format, start"},
        {"PATH: is not a kv-store log; nothing was changed", "write PATH, start"},
        {"PATH: the disk lacks what memory held behind offset OFFSET; reading the log "
         "as the disk has it",
         "open, put k value, crash, await-lost-seal, start, at opening-end"},
        {"PATH: cannot load the records up to offset OFFSET: out of memory; nothing "
         "was changed",
         "log, start-without-memory, at opening-end"},
        {"/dev/urandom: cannot read the hash seed; giving up: ERROR",
         "log, fail 1 fopen any EMFILE, start"},
        {"PATH: cannot sync the log before reading it; giving up: ERROR",
         "log, fail 1 fdatasync log EIO, start"},
        {"PATH: memory is not made to forget the log, so the last batch is not "
         "compared with the disk: if a sync failed before this start, a loss of power "
         "may still take it: ERROR",
         "log, fail 1 posix_fadvise log ENOSYS, start"},
        {"PATH: cannot read the last batch anew; giving up: ERROR",
         "log, fail 2 mmap log ENOMEM, start"},
        {"PATH: a part of the log cannot be read; nothing was changed",
         "open, put-pages, close, lose PATH, start"},
        {"PATH: a part of the log cannot be read; nothing was changed",
         "open, put-pages, close, lose-behind-a-page PATH, start"},
        {"PATH: a part of the log cannot be read; nothing replaces it",
         "original-of-pages, lose-when-copied PATH, start"},
        {"PATH: a log without marks was rewritten: 2 keys kept, 1 records with an "
         "empty key left out",
         "original, start"},
        {"PATH: leaving out an incomplete record at offset OFFSET: 3 bytes, kept in "
         "PATH.torn.OFFSET",
         "original, append PATH xxx, start"},
        {"PATH: the record at offset OFFSET has a key of 65536 and a value of 5 "
         "bytes, more than this program keeps; nothing was changed",
         "original-with-long-key, start"},
        {"PATH: a log without marks could not be rewritten: storage full; it is "
         "untouched",
         "original, fail 1 pwrite new ENOSPC, start"},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_what_befalls_a_store(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH: the disk is nearly full at offset OFFSET; values are refused, what is "
         "left is for deletions and a compaction",
         "log, open, fill-disk, set, set"},
        {"PATH: cannot append at offset OFFSET, batch refused: ERROR",
         "log, open, fail 1 pwrite log ENOSPC, commit"},
        {"PATH: appending works again at offset OFFSET",
         "log, open, fail 1 pwrite log ENOSPC, commit, put k new"},
        {"PATH: no address space for the log beyond offset OFFSET; what does not fit "
         "is refused: ERROR",
         "log, open-with-short-view, fail-from 1 mmap log ENOMEM, set-two-mib"},
        {"PATH: cannot sync the log at offset OFFSET; stopping, since what is on disk "
         "is unknown: ERROR",
         "log, open, fail 1 fdatasync log EIO, commit"},
        {"PATH: cannot inspect the log; stopping: ERROR",
         "log, open, fail 1 fstatat log EIO, commit"},
        {"PATH: the log was removed while it was served; stopping",
         "log, open, remove PATH, commit"},
        {"PATH: the log was renamed while it was served; stopping",
         "log, open, move PATH PATH.1, commit"},
        {"PATH: another file has taken the place of the log; stopping",
         "log, open, copy PATH PATH.copy, move PATH.copy PATH, commit"},
        {"PATH: the log is 341 bytes long, not OFFSET: something else changed it; "
         "stopping",
         "log, open, append PATH x, commit"},
        {"PATH: the record at offset OFFSET is damaged, its checksum is wrong; it is "
         "not served",
         "log, open, flip PATH value, get, at opening-end"},
        {"PATH: the record at offset OFFSET cannot be read; it is not served",
         "log, open, empty PATH, get, at opening-end"},
        {"PATH: the key of the record at offset OFFSET is damaged; it is not listed",
         "log, open, flip PATH key, walk, at opening-end"},
        {"PATH: cannot close the log; it is not tried again: ERROR",
         "log, open, fail 1 close log EIO, stop"},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_what_holds_a_compaction_up(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH: no room on the disk for a compaction; waiting for it",
         "log, open, fill-disk, compact-in-vain"},
        {"PATH: not enough memory for a compaction; waiting for it",
         "log, open, fail-from 1 calloc any ENOMEM, compact-in-vain"},
        {"PATH.old: 1 records are damaged and cannot be copied; the file is kept",
         "log, open, compact, flip PATH.old value, go-on"},
        {"PATH.old: some of OFFSET records that are left cannot be read; the file is "
         "kept, and they are read again later",
         "open, put-pages, compact, cut PATH.old, go-on, at 1"},
        {"PATH.old: cannot cut the drained log away; to be tried again: ERROR",
         "log, open, grow, compact, fail 1 ftruncate old EIO, go-on"},
        {"PATH.old: another file has taken the place of the log; it is left there",
         "log, open, compact, write PATH.copy, move PATH.copy PATH.old, go-on, expect "
         "PATH.old"},
        {"PATH.old: cannot remove; to be tried again: ERROR",
         "log, open, compact, fail 1 unlinkat old EACCES, go-on"},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_what_is_wrong_with_an_older_log(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH.old: the log is damaged at offset OFFSET; nothing was changed",
         "log, open, compact, crash, flip PATH.old value, start, at opening-end"},
        {"PATH.old: is not as long as it was when it was continued; nothing was changed",
         "log, open, compact, crash, append PATH.old x, start"},
        {"PATH.old: is not the log that this one continues; nothing was changed",
         "log, copy PATH PATH.old, start"},
        {"PATH.old: does not belong to a log without marks; nothing was changed",
         "log, copy PATH PATH.old, original, start"},
        {"PATH.old: is missing, and holds data that is not in the log; nothing was "
         "changed",
         "log, open, compact, crash, remove PATH.old, start"},
        {"PATH.old: is no whole log, and there is none beside it; nothing was changed",
         "write PATH.old, start"},
        {"PATH: is empty, but there is an older log beside it; nothing was changed",
         "log, move PATH PATH.old, empty PATH, start"},
        {"PATH: taking up PATH.old, whose compaction had only begun",
         "log, move PATH PATH.old, start"},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_why_an_index_is_not_believed_or_saved(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH.index: is damaged; reading the whole log",
         "index, log, append PATH.index x, start"},
        {"PATH.index: is of another log; reading the whole log",
         "index, log, move PATH.index PATH.kept, remove PATH, log, move PATH.kept "
         "PATH.index, start"},
        {"PATH.index: does not match the log; reading the whole log",
         "log, copy PATH PATH.before, index, open, put k one, close, move PATH.index "
         "PATH.kept, move PATH.before PATH, open, put k two, close, move PATH.kept "
         "PATH.index, start"},
        {"PATH.index: cannot read; it is not used: ERROR",
         "index, log, fail-from 1 mmap index ENOMEM, start"},
        {"PATH: the log is 340 bytes long, but OFFSET of it were durable when PATH.index "
         "was written; nothing was changed",
         "log, copy PATH PATH.before, index, open, put k one, close, move PATH.before "
         "PATH, start"},
        {"PATH: is missing or empty, but there is PATH.index, the index of it: restore "
         "the "
         "log, or remove that file to begin anew; nothing was changed",
         "index, log, remove PATH, start"},
        {"PATH.index: not enough memory to write it; the next start reads more of the "
         "log",
         "log, open, fail 1 calloc any ENOMEM, stop"},
        {"PATH.new: cannot write the index; the next start reads more of the log: ERROR",
         "log, open, fail 1 pwrite new ENOSPC, stop"},
        {"PATH.new: cannot sync the index; the next start reads more of the log: ERROR",
         "log, open, compact, fail 1 fdatasync new EIO, go-on"},
    };
    EXPECT_EVENTS(events);
}

static void messages_of_the_offline_modes_name_what_stands_in_their_way(void **state)
{
    (void)state; /* each event has a directory */
    static const struct event events[] = {
        {"PATH: there is no log, or an empty file; nothing was read", "verify"},
        {"PATH: leaving out a torn tail at offset OFFSET",
         "log, append PATH xxxxx, dump"},
        {"PATH: nothing was dumped: the log is damaged at offset OFFSET",
         "log, flip PATH value, dump, at opening-end"},
        {"standard output: cannot write the answer; giving up: ERROR",
         "help-to-full-disk"},
        {"PATH: there is no such log; nothing to salvage", "salvage"},
        {"PATH: holds no intact mark, so nothing in it can be proved",
         "write PATH, salvage"},
        {"PATH.salvaged: is there already; salvage writes only a new log",
         "log, write PATH.salvaged, salvage, one-line"},
        {"PATH.salvaged.old: is there already; salvage writes only a new log",
         "log, write PATH.salvaged.old, salvage, one-line"},
        {"PATH.salvaged.new: cannot sync; it is not put in place: ERROR",
         "log, fail 2 fdatasync new EIO, salvage, one-line"},
        {"/dev/urandom: cannot read the hash seed; giving up: ERROR",
         "log, fail 1 fopen any EMFILE, salvage, one-line"},
        {"/dev/urandom: cannot read a log id; no log is made: ERROR",
         "log, fail 2 fopen any EMFILE, salvage, one-line"},
        {"PATH.salvaged.new: cannot append at offset OFFSET; no new log is made: ERROR",
         "log, fail 2 pwrite new ENOSPC, salvage, one-line, at opening-end"},
    };
    EXPECT_EVENTS(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_name_files_that_are_refused),
        cmocka_unit_test(messages_name_what_keeps_a_start_from_making_a_log),
        cmocka_unit_test(f100_messages_name_files_of_somebody_else),
        cmocka_unit_test(messages_name_the_torn_tail_and_its_copy),
        cmocka_unit_test(messages_name_what_is_wrong_with_a_log_or_cannot_be_read),
        cmocka_unit_test(messages_name_what_befalls_a_store),
        cmocka_unit_test(messages_name_what_holds_a_compaction_up),
        cmocka_unit_test(messages_name_what_is_wrong_with_an_older_log),
        cmocka_unit_test(messages_name_why_an_index_is_not_believed_or_saved),
        cmocka_unit_test(messages_of_the_offline_modes_name_what_stands_in_their_way),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
