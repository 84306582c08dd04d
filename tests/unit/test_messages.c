/*
 * What the operator is told: each line of the engine and of the offline modes, whole,
 * with the path, the offset and what was done about it. Each event is brought about for
 * real: a failing call, a damaged or planted file. tests/messages.sh demands that no
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
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One event: the line about it, what there is before, what happens, which call fails. */
struct event {
    const char *line; /* as engine_expect_line takes it */
    void (*prepare)(struct engine *engine);
    void (*happen)(struct engine *engine);
    struct shim_fault fault; /* only its error counts where no call is named */
};

/* The nth of these calls to such a file fails. */
#define FAILS(nth, call, role, error)                                                    \
    {                                                                                    \
        SHIM_BIT(SHIM_##call), SHIM_##role, nth, error, false                            \
    }
#define NOTHING_FAILS                                                                    \
    {                                                                                    \
        .calls = 0                                                                       \
    }

/* What OFFSET is in the line of the event that is on. */
static uint64_t told_offset;

/* Each event has a directory of its own. */
static void expect_events(const struct event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *state = NULL;
        assert_int_equal(engine_setup(&state), 0);
        struct engine *engine = state;
        engine_catch_sigbus();
        shim_omit_syncs();
        events[i].prepare(engine);
        if (events[i].fault.calls != 0) {
            shim_inject(&events[i].fault);
        }
        events[i].happen(engine);
        shim_clear_faults();
        engine_expect_line(engine, events[i].line, told_offset, events[i].fault.error);
        assert_int_equal(engine_teardown(&state), 0);
    }
}

#define EXPECT_EVENTS(events) expect_events(events, sizeof(events) / sizeof((events)[0]))

/* ---- What there is before ---- */

/* Where the value of the first record stands: its key has one byte. */
enum { FIRST_KEY = OPENING_BYTES + RECORD_HEADER_BYTES, FIRST_VALUE = FIRST_KEY + 1 };

static void have_nothing(struct engine *engine)
{
    (void)engine; /* its directory stays empty */
}

/* A log of two batches, closed without an index. */
static void have_log(struct engine *engine)
{
    engine_open(engine);
    engine_put(engine, "k", "value");
    engine_put(engine, "l", "value");
    engine_close(engine);
}

static void have_open_store(struct engine *engine)
{
    have_log(engine);
    engine_open(engine);
    told_offset = engine_log_length(engine);
}

static void have_index(struct engine *engine)
{
    engine->keeps_index = true;
    have_log(engine);
    told_offset = engine_log_length(engine);
}

static void append_to(const struct engine *engine, const char *suffix, const char *text)
{
    struct script bytes = engine_read(engine, suffix);
    told_offset = bytes.length;
    script_add_text(&bytes, text);
    engine_write(engine, suffix, script_slice(&bytes));
    script_free(&bytes);
}

static void flip_in(const struct engine *engine, const char *suffix, uint64_t offset)
{
    struct script bytes = engine_read(engine, suffix);
    bytes.bytes[offset] ^= 1;
    engine_write(engine, suffix, script_slice(&bytes));
    script_free(&bytes);
}

static void have_torn_tail(struct engine *engine)
{
    have_log(engine);
    append_to(engine, "", "xxxxx");
}

static struct tempdir_file torn_file(const struct engine *engine, int copy)
{
    char suffix[64];
    (void)snprintf(suffix, sizeof suffix, copy < 2 ? ".torn.%d" : ".torn.%d.%d",
                   (int)told_offset, copy); /* fits */
    return engine_file(engine, suffix);
}

static void write_text(const char *path, const char *text)
{
    struct script script = {0};
    script_add_text(&script, text);
    script_write_file(&script, path);
    script_free(&script);
}

/* A log of the original, with an empty key in it. */
static void have_original(struct engine *engine)
{
    struct image image = {0};
    image_put_text(&image, "k", "value");
    image_put_text(&image, "", "value");
    image_put_text(&image, "l", "value");
    engine_write(engine, "", image_slice(&image));
    image_free(&image);
}

static void have_torn_original(struct engine *engine)
{
    have_original(engine);
    append_to(engine, "", "xxx");
}

static void have_original_with_a_long_key(struct engine *engine)
{
    struct image image = {0};
    struct script key = {0};
    script_add_fill(&key, 'k', KEY_BYTES_MAX + 1);
    image_put_text(&image, "before", "value");
    told_offset = image.log.length;
    image_put(&image, script_slice(&key), SLICE_LITERAL("value"));
    engine_write(engine, "", image_slice(&image));
    script_free(&key);
    image_free(&image);
}

static void have_original_with_a_nul(struct engine *engine)
{
    struct image image = {0};
    image_put(&image, SLICE_LITERAL("bad"), SLICE_LITERAL("a\0b"));
    engine_write(engine, "", image_slice(&image));
    image_free(&image);
}

/* A compaction that has begun, in a store that is open. */
static void have_compaction(struct engine *engine)
{
    have_open_store(engine);
    assert_int_equal(store_compact(engine->store), KV_OK);
}

/* The same with an older log that is cut away in steps. */
static void have_a_large_compaction(struct engine *engine)
{
    have_open_store(engine);
    compacting_grow_log(engine, CUT_STEP_BYTES);
    assert_int_equal(store_compact(engine->store), KV_OK);
}

/* The same after kill -9. */
static void have_two_logs(struct engine *engine)
{
    have_compaction(engine);
    engine_crash(engine);
    assert_true(engine_has_file(engine, FILES_OLD));
}

static void have_only_the_older_log(struct engine *engine)
{
    have_log(engine);
    assert_int_equal(rename(engine->log.path, engine_file(engine, FILES_OLD).path), 0);
}

/* ---- What happens ---- */

static void start(struct engine *engine)
{
    (void)engine_try_open(engine); /* some of these starts go well */
}

/* One reason is enough. */
static void start_alone_told(struct engine *engine)
{
    start(engine);
    assert_int_equal(engine_told(engine, ""), 1);
}

static void commit(struct engine *engine)
{
    assert_int_equal(engine_set(engine, "k", "new"), KV_OK);
    assert_int_not_equal(store_commit(engine->store), KV_OK);
}

static void stop(struct engine *engine)
{
    struct store *store = engine->store;
    engine->store = NULL;
    (void)store_close(store); /* the line alone is looked at */
}

static void go_on(struct engine *engine)
{
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(compacting_step(engine), KV_OK);
    }
}

/* stdout is this file meanwhile. */
static enum status run_with_stdout(const char *path, struct engine *engine,
                                   enum status (*run)(const struct engine *engine))
{
    int kept_fd = redirect_begin(stdout, path);
    enum status status = run(engine);
    redirect_end(stdout, kept_fd);
    return status;
}

static enum status run_verify(const struct engine *engine)
{
    return verify_log(engine->log.path);
}

static enum status run_dump(const struct engine *engine)
{
    return dump_log(engine->log.path, LINES_SET);
}

static enum status run_salvage(const struct engine *engine)
{
    return salvage_log(engine->log.path, engine_file(engine, ".salvaged").path);
}

static void verify(struct engine *engine)
{
    (void)run_with_stdout("/dev/null", engine, run_verify);
}

static void dump(struct engine *engine)
{
    (void)run_with_stdout("/dev/null", engine, run_dump);
}

static void salvage(struct engine *engine)
{
    (void)run_with_stdout("/dev/null", engine, run_salvage);
}

/* A reason that was given is not followed by a second one. */
static void salvage_alone_told(struct engine *engine)
{
    salvage(engine);
    assert_int_equal(engine_told(engine, ""), 1);
}

static void verify_to_a_full_disk(struct engine *engine)
{
    (void)run_with_stdout("/dev/full", engine, run_verify);
}

static void dump_to_a_full_disk(struct engine *engine)
{
    (void)run_with_stdout("/dev/full", engine, run_dump);
}

static void salvage_to_a_full_disk(struct engine *engine)
{
    (void)run_with_stdout("/dev/full", engine, run_salvage);
}

static enum status run_help(const struct engine *engine)
{
    char *arguments[] = {"kv-store", "--help", NULL};
    struct options options;
    (void)engine; /* it is about no log */
    assert_int_equal(options_parse(2, arguments, &options), OPTIONS_FAILED);
    return KV_OK;
}

static void help_to_a_full_disk(struct engine *engine)
{
    (void)run_with_stdout("/dev/full", engine, run_help);
}

/* ---- Files that are refused ---- */

static void have_a_fifo(struct engine *engine)
{
    assert_int_equal(mkfifo(engine->log.path, 0600), 0);
}

static void have_a_second_link(struct engine *engine)
{
    have_log(engine);
    assert_int_equal(link(engine->log.path, engine_file(engine, ".link").path), 0);
}

static void have_a_symbolic_link(struct engine *engine)
{
    assert_int_equal(symlink("elsewhere", engine->log.path), 0);
}

static void have_another_owner(struct engine *engine)
{
    have_log(engine);
    shim_disown(SHIM_LOG);
}

static void open_without_a_name(struct engine *engine)
{
    struct files *files = NULL;
    char path[TEMPDIR_PATH_BYTES + 1];
    (void)snprintf(path, sizeof path, "%s/", engine->tempdir.path); /* fits */
    assert_int_equal(files_open(path, &files), KV_IO);
}

static void start_beside_another(struct engine *engine)
{
    pid_t holder = engine_hold_elsewhere(engine);
    assert_int_equal(engine_try_open(engine), KV_IO);
    engine_end_holder(holder);
    told_offset = (uint64_t)holder;
}

static void verify_beside_another(struct engine *engine)
{
    pid_t holder = engine_hold_elsewhere(engine);
    verify(engine);
    engine_end_holder(holder);
    told_offset = (uint64_t)holder;
}

/* Whose number is not known: fcntl does not tell it, or it lives in another namespace. */
static void start_beside_one_without_a_number(struct engine *engine)
{
    start_beside_another(engine);
}

static void start_on_what_another_has_renamed(struct engine *engine)
{
    struct engine renamed = *engine;
    pid_t holder = engine_hold_elsewhere(engine);
    renamed.log = engine_file(engine, ".1");
    assert_int_equal(rename(engine->log.path, renamed.log.path), 0);
    assert_int_equal(engine_try_open(&renamed), KV_IO);
    engine_end_holder(holder);
}

static void messages_name_files_that_are_refused(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"DIRECTORY/: cannot open the directory; giving up: ERROR", have_nothing, start,
         FAILS(1, OPEN, DIRECTORY, EACCES)},
        {"DIRECTORY/: not the name of a file, or too long; giving up", have_nothing,
         open_without_a_name, NOTHING_FAILS},
        {"PATH: is not a regular file; it is not used", have_a_fifo, start,
         NOTHING_FAILS},
        {"PATH: has more than one link; it is not used", have_a_second_link, start,
         NOTHING_FAILS},
        {"PATH: belongs to another user; it is not used", have_another_owner, start,
         NOTHING_FAILS},
        {"PATH: is a symbolic link, which is not followed", have_a_symbolic_link, start,
         NOTHING_FAILS},
        {"PATH: cannot open; it is not used: ERROR", have_log, start,
         FAILS(1, OPENAT, LOG, EACCES)},
        {"PATH: cannot inspect; it is not used: ERROR", have_log, start,
         FAILS(1, FSTAT, LOG, EIO)},
        {"PATH: cannot map the log; it is not used: ERROR",
         have_log,
         start,
         {SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENOMEM, true}},
        {"PATH: lies on a file system that lets no file be mapped into memory; it is not "
         "used",
         have_log,
         start_alone_told,
         {SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENODEV, true}},
        {"PATH.lock: cannot create; giving up: ERROR", have_nothing, start,
         FAILS(2, OPENAT, LOCK, ENOENT)},
        {"PATH.lock: cannot lock; giving up: ERROR", have_log, start,
         FAILS(1, FCNTL, LOCK, ENOLCK)},
        {"PATH: is in use by process OFFSET; giving up", have_log, start_beside_another,
         NOTHING_FAILS},
        {"PATH: is in use by process OFFSET; nothing was read: only --follow reads "
         "beside "
         "it",
         have_log, verify_beside_another, NOTHING_FAILS},
        {"PATH: is in use by another process; giving up", have_log,
         start_beside_one_without_a_number, FAILS(2, FCNTL, LOCK, EINVAL)},
        {"PATH.1: is in use by another process under another name; giving up", have_log,
         start_on_what_another_has_renamed, NOTHING_FAILS},
        {"PATH: cannot lock the log; it is not used: ERROR", have_log, start,
         FAILS(1, FCNTL, LOG, ENOLCK)},
        {"PATH: cannot inspect the log; it is not used: ERROR", have_log, start,
         FAILS(3, FSTAT, LOG, EIO)},
    };
    EXPECT_EVENTS(events);
}

static void have_an_empty_new_file(struct engine *engine);

static void messages_name_what_keeps_a_start_from_making_a_log(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH: not enough memory for a store; giving up: ERROR", have_nothing, start,
         FAILS(1, CALLOC, ANY, ENOMEM)},
        {"PATH: not enough memory for the name; giving up: ERROR", have_nothing, start,
         FAILS(1, MALLOC, ANY, ENOMEM)},
        {"PATH: not enough memory to open it; giving up", have_nothing, start,
         FAILS(1, STRDUP, ANY, ENOMEM)},
        {"PATH: cannot sync the directory; giving up: ERROR", have_nothing, start,
         FAILS(1, FSYNC, DIRECTORY, EIO)},
        {"PATH: its directory cannot be synced; a loss of power may take away the name "
         "of "
         "a file that was just made, and what was written to it: ERROR",
         have_nothing,
         start,
         {SHIM_BIT(SHIM_FSYNC), SHIM_DIRECTORY, 1, EINVAL, true}},
        {"PATH.new: cannot remove; it is left there: ERROR", have_an_empty_new_file,
         start, FAILS(1, UNLINKAT, NEW, EACCES)},
        {"PATH.new: cannot create; giving up: ERROR", have_nothing, start,
         FAILS(2, OPENAT, NEW, ENOENT)},
        {"/dev/urandom: cannot read a log id; no log is made: ERROR", have_nothing, start,
         FAILS(1, FOPEN, ANY, EMFILE)},
        {"PATH.new: cannot write the opening record; no log is made: ERROR", have_nothing,
         start, FAILS(1, PWRITE, NEW, ENOSPC)},
        {"PATH.new: cannot sync; it is not put in place: ERROR", have_nothing, start,
         FAILS(2, FDATASYNC, NEW, EIO)},
        {"PATH.new: cannot rename to PATH; the names stay: ERROR", have_nothing, start,
         FAILS(1, RENAMEAT, LOG, EIO)},
        {"PATH: cannot sync the directory after a rename; stopping: ERROR", have_nothing,
         start, FAILS(2, FSYNC, DIRECTORY, EIO)},
    };
    EXPECT_EVENTS(events);
}

/* ---- Files of somebody else ---- */

static void have_an_empty_new_file(struct engine *engine)
{
    engine_write(engine, FILES_NEW, SLICE_LITERAL(""));
}

static void have_a_short_new_file(struct engine *engine)
{
    have_log(engine);
    engine_write(engine, FILES_NEW, SLICE_LITERAL("somebody's work"));
}

/* What is worse to lose: another log, in use and then moved here. */
static void have_a_log_as_new_file(struct engine *engine)
{
    have_log(engine);
    struct script bytes = engine_read(engine, "");
    assert_int_equal(unlink(engine->log.path), 0);
    have_log(engine);
    engine_write(engine, FILES_NEW, script_slice(&bytes));
    script_free(&bytes);
}

static void write_new_file(void *engine)
{
    engine_write(engine, FILES_NEW, SLICE_LITERAL("somebody's work"));
}

static void write_log(void *engine)
{
    engine_write(engine, "", SLICE_LITERAL("somebody's work"));
}

/* Somebody comes in between. */
static void start_while_a_new_file_is_put_there(struct engine *engine)
{
    shim_before(SHIM_BIT(SHIM_FSYNC), SHIM_DIRECTORY, write_new_file, engine);
    start(engine);
    engine_expect_file(engine, FILES_NEW, SLICE_LITERAL("somebody's work"));
}

static void start_while_a_log_is_put_there(struct engine *engine)
{
    shim_before(SHIM_BIT(SHIM_FDATASYNC), SHIM_NEW, write_log, engine);
    start(engine);
    engine_expect_file(engine, "", SLICE_LITERAL("somebody's work"));
}

static void start_on_a_new_file_that_cannot_be_read(struct engine *engine)
{
    int fd = engine_map_instead(engine, SHIM_NEW, SLICE_LITERAL(""));
    start(engine);
    engine_map_again(SHIM_NEW, fd);
}

static void compact_beside_a_copy(struct engine *engine)
{
    struct script bytes = engine_read(engine, "");
    engine_write(engine, FILES_OLD, script_slice(&bytes));
    assert_int_equal(store_compact(engine->store), KV_IO);
    engine_expect_file(engine, FILES_OLD, script_slice(&bytes));
    script_free(&bytes);
}

static void compact_in_vain(struct engine *engine)
{
    assert_int_equal(store_compact(engine->store), KV_IO);
}

static void stop_beside_another_index(struct engine *engine)
{
    engine_write(engine, FILES_INDEX, SLICE_LITERAL("somebody's work"));
    stop(engine);
    engine_expect_file(engine, FILES_INDEX, SLICE_LITERAL("somebody's work"));
}

static void have_another_index(struct engine *engine)
{
    static const uint8_t bytes[200] = {1};
    have_log(engine);
    engine_write(engine, FILES_INDEX, (struct slice){bytes, sizeof bytes});
}

static void f100_messages_name_files_of_somebody_else(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH.new: holds 15 bytes that may be somebody's, kept in PATH.torn.0",
         have_a_short_new_file, start, NOTHING_FAILS},
        {"PATH.new: was not left half made here, so it is somebody's: move it away; "
         "nothing was changed",
         have_a_log_as_new_file, start, NOTHING_FAILS},
        {"PATH.new: cannot be read; it is left there", have_a_short_new_file,
         start_on_a_new_file_that_cannot_be_read, NOTHING_FAILS},
        {"PATH.new: is there already and was not made here; it is left there, and "
         "nothing is made",
         have_nothing, start_while_a_new_file_is_put_there, NOTHING_FAILS},
        {"PATH: was put there or changed meanwhile; it is not replaced", have_nothing,
         start_while_a_log_is_put_there, NOTHING_FAILS},
        {"PATH: cannot inspect; it is not replaced: ERROR", have_nothing, start,
         FAILS(2, FSTATAT, LOG, EIO)},
        {"PATH.old: is there already and is not replaced; PATH keeps its name",
         have_open_store, compact_beside_a_copy, NOTHING_FAILS},
        {"PATH.old: cannot inspect; PATH keeps its name: ERROR", have_open_store,
         compact_in_vain, FAILS(1, FSTATAT, OLD, EIO)},
        {"PATH.index: is no image of an index; reading the whole log", have_another_index,
         start, NOTHING_FAILS},
        {"PATH.index: is no image of an index, so it is somebody's; it is left there, "
         "and none is saved",
         have_open_store, stop_beside_another_index, NOTHING_FAILS},
    };
    EXPECT_EVENTS(events);
}

/* ---- A start on a log ---- */

static void have_torn_tail_with_a_copy(struct engine *engine)
{
    have_torn_tail(engine);
    write_text(torn_file(engine, 1).path, "yyyyy");
}

static void have_torn_tail_with_all_copies(struct engine *engine)
{
    have_torn_tail(engine);
    for (int copy = 1; copy < 999; copy++) {
        write_text(torn_file(engine, copy).path, "another");
    }
}

static void messages_name_the_torn_tail_and_its_copy(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH: cutting off an unfinished batch at offset OFFSET: 5 bytes, 0 whole "
         "records, kept in PATH.torn.OFFSET",
         have_torn_tail, start, NOTHING_FAILS},
        {"PATH.torn.OFFSET: cannot read; it is not used: ERROR",
         have_torn_tail_with_a_copy, start, FAILS(2, FSTAT, TORN, EIO)},
        {"PATH: too many copies of torn tails at offset OFFSET; it is not cut off",
         have_torn_tail_with_all_copies, start, NOTHING_FAILS},
        {"PATH.torn.OFFSET: cannot save the torn tail, so it is not cut off: ERROR",
         have_torn_tail, start, FAILS(1, PWRITE, TORN, ENOSPC)},
        {"PATH.torn.OFFSET: cannot create, so the torn tail is not cut off: ERROR",
         have_torn_tail, start, FAILS(2, OPENAT, TORN, ENOENT)},
        {"PATH.torn.OFFSET: cannot close, so the torn tail is not cut off: ERROR",
         have_torn_tail, start, FAILS(1, CLOSE, TORN, EIO)},
        {"PATH: cannot cut the log back to its last seal; stopping: ERROR",
         have_torn_tail, start, FAILS(1, FTRUNCATE, LOG, EIO)},
    };
    EXPECT_EVENTS(events);
}

static void have_damage(struct engine *engine)
{
    have_log(engine);
    flip_in(engine, "", FIRST_VALUE);
    told_offset = OPENING_BYTES;
}

/* More records without a seal than a batch of ours can hold. */
static void have_foreign_records(struct engine *engine)
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
    engine_write(engine, "", image_slice(&image));
    script_free(&value);
    image_free(&image);
}

static void have_a_damaged_opening(struct engine *engine)
{
    have_log(engine);
    flip_in(engine, "", 20);
    told_offset = FIRST_VALUE + 5; /* the seal */
}

static void have_a_later_format(struct engine *engine)
{
    struct image image;
    image_begin(&image, &(struct opening){.version = 2, .log_id = 1, .generation = 1});
    image_put_text(&image, "k", "value");
    image_seal(&image);
    engine_write(engine, "", image_slice(&image));
    image_free(&image);
}

static void have_a_text(struct engine *engine)
{
    engine_write(engine, "", SLICE_LITERAL("A text that somebody needs.\n"));
}

/* What the memory of the system showed is not what the disk gives. */
static void lose_the_last_seal(void *context)
{
    struct script log = engine_read(context, "");
    flip_in(context, "", log.length - 1);
    script_free(&log);
}

static void start_on_a_disk_that_forgets(struct engine *engine)
{
    shim_before(SHIM_BIT(SHIM_FADVISE), SHIM_LOG, lose_the_last_seal, engine);
    start(engine);
}

static void have_a_batch_that_is_not_at_rest(struct engine *engine)
{
    engine_open(engine);
    engine_put(engine, "k", "value");
    engine_crash(engine);
    told_offset = OPENING_BYTES;
}

/* Allocation by allocation, until the one fails that the line is about. */
static void start_without_memory(struct engine *engine)
{
    told_offset = OPENING_BYTES;
    for (uint64_t nth = 1; engine_told(engine, "cannot load") == 0; nth++) {
        assert_in_range(nth, 1, 100);
        shim_clear_faults();
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        assert_int_equal(engine_try_open(engine), KV_NO_MEMORY);
    }
}

static void messages_name_what_is_wrong_with_a_log(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH: the log is damaged at offset OFFSET, where it had been durable; nothing "
         "was changed: see --verify and --salvage",
         have_damage, start, NOTHING_FAILS},
        {"PATH: the log is damaged at offset OFFSET, where records without a seal "
         "follow; nothing was changed: see --verify and --salvage",
         have_foreign_records, start, NOTHING_FAILS},
        {"PATH: the log is damaged at offset 0: its opening record is not intact, but a "
         "mark at offset OFFSET is; nothing was changed",
         have_a_damaged_opening, start, NOTHING_FAILS},
        {"PATH: the log has format version 2, this program knows version 1; nothing was "
         "changed",
         have_a_later_format, start, NOTHING_FAILS},
        {"PATH: is not a kv-store log; nothing was changed", have_a_text, start,
         NOTHING_FAILS},
        {"PATH: the disk lacks what memory held behind offset OFFSET; reading the log "
         "as the disk has it",
         have_a_batch_that_is_not_at_rest, start_on_a_disk_that_forgets, NOTHING_FAILS},
        {"PATH: cannot load the records up to offset OFFSET: out of memory; nothing was "
         "changed",
         have_log, start_without_memory, NOTHING_FAILS},
        {"/dev/urandom: cannot read the hash seed; giving up: ERROR", have_log, start,
         FAILS(1, FOPEN, ANY, EMFILE)},
        {"PATH: cannot sync the log before reading it; giving up: ERROR", have_log, start,
         FAILS(1, FDATASYNC, LOG, EIO)},
        {"PATH: memory is not made to forget the log, so the last batch is not compared "
         "with the disk: if a sync failed before this start, a loss of power may still "
         "take it: ERROR",
         have_log, start, FAILS(1, FADVISE, LOG, ENOSYS)},
        {"PATH: cannot read the last batch anew; giving up: ERROR", have_log, start,
         FAILS(2, MMAP, LOG, ENOMEM)},
    };
    EXPECT_EVENTS(events);
}

/* ---- Pages that cannot be read ---- */

static void have_pages(struct engine *engine)
{
    static char value[20000];
    memset(value, 'v', sizeof value - 1);
    engine_open(engine);
    engine_put(engine, "k", "value");
    engine_put(engine, "l", value);
    engine_close(engine);
}

static void have_original_of_pages(struct engine *engine)
{
    struct image image = {0};
    struct script value = {0};
    script_add_fill(&value, 'v', 20000);
    image_put_text(&image, "k", "value");
    image_put(&image, SLICE_LITERAL("l"), script_slice(&value));
    engine_write(engine, "", image_slice(&image));
    script_free(&value);
    image_free(&image);
}

/* While only so many bytes of the log can be read. */
static void with_first_bytes(struct engine *engine, size_t length,
                             void (*happen)(struct engine *engine))
{
    struct script bytes = engine_read(engine, "");
    int fd =
        engine_map_instead(engine, SHIM_LOG, slice_first(script_slice(&bytes), length));
    happen(engine);
    engine_map_again(SHIM_LOG, fd);
    script_free(&bytes);
}

static void start_on_one_page(struct engine *engine)
{
    with_first_bytes(engine, 4096, start);
}

static void start_on_nothing(struct engine *engine)
{
    with_first_bytes(engine, 0, start);
}

static void salvage_one_page(struct engine *engine)
{
    with_first_bytes(engine, 4096, salvage);
}

/* All of it was read once, and cannot be any more when it is copied. */
static void start_on_a_failing_disk(struct engine *engine)
{
    struct script bytes = engine_read(engine, "");
    int fd = engine_map_instead(engine, SHIM_LOG, script_slice(&bytes));
    shim_before(SHIM_BIT(SHIM_PWRITE), SHIM_NEW, engine_cut_to_a_page, &fd);
    start(engine);
    engine_map_again(SHIM_LOG, fd);
    script_free(&bytes);
}

static void messages_name_what_cannot_be_read(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH: a part of the log cannot be read; nothing was changed", have_pages,
         start_on_nothing, NOTHING_FAILS},
        {"PATH: a part of the log cannot be read; nothing was changed", have_pages,
         start_on_one_page, NOTHING_FAILS},
        {"PATH: a part of the log cannot be read; nothing replaces it",
         have_original_of_pages, start_on_a_failing_disk, NOTHING_FAILS},
        {"PATH: parts could not be read and count as lost", have_pages, salvage_one_page,
         NOTHING_FAILS},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_what_becomes_of_a_log_of_the_original(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH: a log without marks was rewritten: 2 keys kept, 1 records with an empty "
         "key left out",
         have_original, start, NOTHING_FAILS},
        {"PATH: leaving out an incomplete record at offset OFFSET: 3 bytes, kept in "
         "PATH.torn.OFFSET",
         have_torn_original, start, NOTHING_FAILS},
        {"PATH: the record at offset OFFSET has a key of 65536 and a value of 5 bytes, "
         "more than this program keeps; nothing was changed",
         have_original_with_a_long_key, start, NOTHING_FAILS},
        {"PATH: a log without marks could not be rewritten: storage full; it is "
         "untouched",
         have_original, start, FAILS(1, PWRITE, NEW, ENOSPC)},
    };
    EXPECT_EVENTS(events);
}

/* ---- A store that is served ---- */

static void get_a_damaged_value(struct engine *engine)
{
    flip_in(engine, "", FIRST_VALUE);
    told_offset = OPENING_BYTES;
    engine_expect_failure(engine, "k", KV_CORRUPT);
}

static void walk_over_a_damaged_key(struct engine *engine)
{
    uint64_t position = 0;
    struct slice key;
    flip_in(engine, "", FIRST_KEY);
    told_offset = OPENING_BYTES;
    while (store_walk(engine->store, &position, &key) != KV_NOT_FOUND) {
    }
}

static void get_what_cannot_be_read(struct engine *engine)
{
    assert_int_equal(truncate(engine->log.path, 0), 0);
    told_offset = OPENING_BYTES;
    engine_expect_failure(engine, "k", KV_IO);
}

static void commit_to_a_log_that_was_removed(struct engine *engine)
{
    assert_int_equal(unlink(engine->log.path), 0);
    commit(engine);
}

static void commit_to_a_log_that_was_renamed(struct engine *engine)
{
    assert_int_equal(rename(engine->log.path, engine_file(engine, ".1").path), 0);
    commit(engine);
}

/* By a copy that has the same length. */
static void commit_to_a_log_that_was_replaced(struct engine *engine)
{
    struct script bytes = engine_read(engine, "");
    engine_write(engine, ".copy", script_slice(&bytes));
    assert_int_equal(rename(engine_file(engine, ".copy").path, engine->log.path), 0);
    script_free(&bytes);
    commit(engine);
}

static void commit_to_a_log_that_was_changed(struct engine *engine)
{
    append_to(engine, "", "x");
    commit(engine);
}

static void commit_when_space_has_returned(struct engine *engine)
{
    commit(engine);
    assert_int_equal(engine_set(engine, "k", "new"), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
}

static void set_without_room(struct engine *engine)
{
    disk_set_free(0);
    assert_int_equal(engine_set(engine, "k", "new"), KV_NO_SPACE);
    assert_int_equal(engine_set(engine, "k", "new"), KV_NO_SPACE);
    disk_be_real();
}

/* Its view ends a MiB behind its end. */
static void have_a_store_with_a_short_view(struct engine *engine)
{
    have_log(engine);
    shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENOMEM);
    shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 2, ENOMEM);
    engine_open(engine);
    shim_clear_faults();
    told_offset = engine_log_length(engine);
}

static void set_what_does_not_fit(struct engine *engine)
{
    static uint8_t bytes[2 * MIB];
    assert_int_equal(
        keyed_set(engine->store, slice_of_text("k"), (struct slice){bytes, sizeof bytes}),
        KV_NO_MEMORY);
}

static void messages_name_what_befalls_a_store(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH: the disk is nearly full at offset OFFSET; values are refused, what is "
         "left "
         "is for deletions and a compaction",
         have_open_store, set_without_room, NOTHING_FAILS},
        {"PATH: cannot append at offset OFFSET, batch refused: ERROR", have_open_store,
         commit, FAILS(1, PWRITE, LOG, ENOSPC)},
        {"PATH: appending works again at offset OFFSET", have_open_store,
         commit_when_space_has_returned, FAILS(1, PWRITE, LOG, ENOSPC)},
        {"PATH: no address space for the log beyond offset OFFSET; what does not fit is "
         "refused: ERROR",
         have_a_store_with_a_short_view,
         set_what_does_not_fit,
         {SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1, ENOMEM, true}},
        {"PATH: cannot sync the log at offset OFFSET; stopping, since what is on disk is "
         "unknown: ERROR",
         have_open_store, commit, FAILS(1, FDATASYNC, LOG, EIO)},
        {"PATH: cannot inspect the log; stopping: ERROR", have_open_store, commit,
         FAILS(1, FSTATAT, LOG, EIO)},
        {"PATH: the log was removed while it was served; stopping", have_open_store,
         commit_to_a_log_that_was_removed, NOTHING_FAILS},
        {"PATH: the log was renamed while it was served; stopping", have_open_store,
         commit_to_a_log_that_was_renamed, NOTHING_FAILS},
        {"PATH: another file has taken the place of the log; stopping", have_open_store,
         commit_to_a_log_that_was_replaced, NOTHING_FAILS},
        {"PATH: the log is 341 bytes long, not OFFSET: something else changed it; "
         "stopping",
         have_open_store, commit_to_a_log_that_was_changed, NOTHING_FAILS},
        {"PATH: the record at offset OFFSET is damaged, its checksum is wrong; it is not "
         "served",
         have_open_store, get_a_damaged_value, NOTHING_FAILS},
        {"PATH: the record at offset OFFSET cannot be read; it is not served",
         have_open_store, get_what_cannot_be_read, NOTHING_FAILS},
        {"PATH: the key of the record at offset OFFSET is damaged; it is not listed",
         have_open_store, walk_over_a_damaged_key, NOTHING_FAILS},
        {"PATH: cannot close the log; it is not tried again: ERROR", have_open_store,
         stop, FAILS(1, CLOSE, LOG, EIO)},
    };
    EXPECT_EVENTS(events);
}

/* ---- Compaction ---- */

static void have_a_damaged_older_record(struct engine *engine)
{
    have_compaction(engine);
    flip_in(engine, FILES_OLD, FIRST_VALUE);
}

static void compact_without_room(struct engine *engine)
{
    disk_set_free(0);
    assert_int_equal(store_compact(engine->store), KV_NO_SPACE);
    disk_be_real();
}

/* Large enough for a page that the start has not read. */
static void have_an_older_record_that_cannot_be_read(struct engine *engine)
{
    static char large[16 * 1024 + 1];
    memset(large, 'v', sizeof large - 1);
    engine_open(engine);
    engine_put(engine, "k", large);
    assert_int_equal(store_compact(engine->store), KV_OK);
    assert_int_equal(truncate(engine_file(engine, FILES_OLD).path, 4096), 0);
    told_offset = 1;
}

static void compact_without_memory(struct engine *engine)
{
    shim_fail_from(SHIM_BIT(SHIM_CALLOC), SHIM_ANY, 1, ENOMEM);
    assert_int_equal(store_compact(engine->store), KV_NO_MEMORY);
}

static void have_a_damaged_older_log(struct engine *engine)
{
    have_two_logs(engine);
    flip_in(engine, FILES_OLD, FIRST_VALUE);
    told_offset = OPENING_BYTES;
}

static void have_a_longer_older_log(struct engine *engine)
{
    have_two_logs(engine);
    append_to(engine, FILES_OLD, "x");
}

static void have_another_older_log(struct engine *engine)
{
    have_log(engine);
    struct script bytes = engine_read(engine, "");
    engine_write(engine, FILES_OLD, script_slice(&bytes));
    script_free(&bytes);
}

static void have_an_original_with_an_older_log(struct engine *engine)
{
    have_another_older_log(engine);
    have_original(engine);
}

static void have_no_older_log(struct engine *engine)
{
    have_two_logs(engine);
    assert_int_equal(unlink(engine_file(engine, FILES_OLD).path), 0);
}

static void have_only_a_text_as_older_log(struct engine *engine)
{
    engine_write(engine, FILES_OLD, SLICE_LITERAL("no log\n"));
}

static void have_an_empty_log_and_an_older_one(struct engine *engine)
{
    have_only_the_older_log(engine);
    engine_write(engine, "", SLICE_LITERAL(""));
}

/* Somebody put another file at PATH.old. */
static void go_on_beside_a_copy(struct engine *engine)
{
    engine_write(engine, ".copy", SLICE_LITERAL("somebody's work"));
    assert_int_equal(
        rename(engine_file(engine, ".copy").path, engine_file(engine, FILES_OLD).path),
        0);
    go_on(engine);
    engine_expect_file(engine, FILES_OLD, SLICE_LITERAL("somebody's work"));
}

static void messages_name_what_holds_a_compaction_up(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH: no room on the disk for a compaction; waiting for it", have_open_store,
         compact_without_room, NOTHING_FAILS},
        {"PATH: not enough memory for a compaction; waiting for it", have_open_store,
         compact_without_memory, NOTHING_FAILS},
        {"PATH.old: 1 records are damaged and cannot be copied; the file is kept",
         have_a_damaged_older_record, go_on, NOTHING_FAILS},
        {"PATH.old: some of OFFSET records that are left cannot be read; the file is "
         "kept, "
         "and they are read again later",
         have_an_older_record_that_cannot_be_read, go_on, NOTHING_FAILS},
        {"PATH.old: cannot cut the drained log away; to be tried again: ERROR",
         have_a_large_compaction, go_on, FAILS(1, FTRUNCATE, OLD, EIO)},
        {"PATH.old: another file has taken the place of the log; it is left there",
         have_compaction, go_on_beside_a_copy, NOTHING_FAILS},
        {"PATH.old: cannot remove; to be tried again: ERROR", have_compaction, go_on,
         FAILS(1, UNLINKAT, OLD, EACCES)},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_what_is_wrong_with_an_older_log(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH.old: the log is damaged at offset OFFSET; nothing was changed",
         have_a_damaged_older_log, start, NOTHING_FAILS},
        {"PATH.old: is not as long as it was when it was continued; nothing was changed",
         have_a_longer_older_log, start, NOTHING_FAILS},
        {"PATH.old: is not the log that this one continues; nothing was changed",
         have_another_older_log, start, NOTHING_FAILS},
        {"PATH.old: does not belong to a log without marks; nothing was changed",
         have_an_original_with_an_older_log, start, NOTHING_FAILS},
        {"PATH.old: is missing, and holds data that is not in the log; nothing was "
         "changed",
         have_no_older_log, start, NOTHING_FAILS},
        {"PATH.old: is no whole log, and there is none beside it; nothing was changed",
         have_only_a_text_as_older_log, start, NOTHING_FAILS},
        {"PATH: is empty, but there is an older log beside it; nothing was changed",
         have_an_empty_log_and_an_older_one, start, NOTHING_FAILS},
        {"PATH: taking up PATH.old, whose compaction had only begun",
         have_only_the_older_log, start, NOTHING_FAILS},
    };
    EXPECT_EVENTS(events);
}

/* ---- The index beside the log ---- */

static void have_an_index_alone(struct engine *engine)
{
    have_index(engine);
    assert_int_equal(unlink(engine->log.path), 0);
}

static void have_a_damaged_index(struct engine *engine)
{
    have_index(engine);
    append_to(engine, FILES_INDEX, "x");
}

static void have_the_index_of_another_log(struct engine *engine)
{
    have_index(engine);
    struct script index = engine_read(engine, FILES_INDEX);
    assert_int_equal(unlink(engine->log.path), 0);
    engine_drop_index(engine);
    have_log(engine);
    engine_write(engine, FILES_INDEX, script_slice(&index));
    script_free(&index);
}

/* Two logs with one beginning: the index of the first beside the second. */
static void have_the_index_of_another_future(struct engine *engine)
{
    have_log(engine);
    struct script before = engine_read(engine, "");
    engine->keeps_index = true;
    engine_open(engine);
    engine_put(engine, "k", "one");
    engine_close(engine);
    struct script index = engine_read(engine, FILES_INDEX);
    engine_drop_index(engine);
    engine_write(engine, "", script_slice(&before));
    engine_open(engine);
    engine_put(engine, "k", "two");
    engine_close(engine);
    engine_write(engine, FILES_INDEX, script_slice(&index));
    script_free(&before);
    script_free(&index);
}

/* The log as it was before the index was saved. */
static void have_the_log_of_before(struct engine *engine)
{
    have_log(engine);
    struct script before = engine_read(engine, "");
    engine->keeps_index = true;
    engine_open(engine);
    engine_put(engine, "k", "one");
    engine_close(engine);
    told_offset = engine_log_length(engine);
    engine_write(engine, "", script_slice(&before));
    script_free(&before);
}

static void messages_name_why_an_index_is_not_believed(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH.index: is damaged; reading the whole log", have_a_damaged_index, start,
         NOTHING_FAILS},
        {"PATH.index: is of another log; reading the whole log",
         have_the_index_of_another_log, start, NOTHING_FAILS},
        {"PATH.index: does not match the log; reading the whole log",
         have_the_index_of_another_future, start, NOTHING_FAILS},
        {"PATH.index: cannot read; it is not used: ERROR",
         have_index,
         start,
         {SHIM_BIT(SHIM_MMAP), SHIM_INDEX, 1, ENOMEM, true}},
        {"PATH: the log is 340 bytes long, but OFFSET of it were durable when .index was "
         "written; nothing was changed",
         have_the_log_of_before, start, NOTHING_FAILS},
        {"PATH: is missing or empty, but there is a .index of it: restore the log, or "
         "remove that file to begin anew; nothing was changed",
         have_an_index_alone, start, NOTHING_FAILS},
    };
    EXPECT_EVENTS(events);
}

static void messages_name_why_no_index_is_saved(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH.index: not enough memory to write it; the next start reads more of the "
         "log",
         have_open_store, stop, FAILS(1, CALLOC, ANY, ENOMEM)},
        {"PATH.new: cannot write the index; the next start reads more of the log: ERROR",
         have_open_store, stop, FAILS(1, PWRITE, NEW, ENOSPC)},
        {"PATH.new: cannot sync the index; the next start reads more of the log: ERROR",
         have_compaction, go_on, FAILS(1, FDATASYNC, NEW, EIO)},
    };
    EXPECT_EVENTS(events);
}

/* ---- The offline modes ---- */

static void have_something_salvaged(struct engine *engine)
{
    have_log(engine);
    engine_write(engine, ".salvaged", SLICE_LITERAL("somebody's work"));
}

/* It would be taken for a part of the new one, or refused with it. */
static void have_an_older_log_where_to_salvage(struct engine *engine)
{
    have_log(engine);
    engine_write(engine, ".salvaged.old", SLICE_LITERAL("somebody's work"));
}

static void verify_without_memory(struct engine *engine)
{
    told_offset = 0; /* what collects the records is made before the first is read */
    for (uint64_t nth = 1; engine_told(engine, "cannot load") == 0; nth++) {
        assert_in_range(nth, 1, 100);
        shim_clear_faults();
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        verify(engine);
    }
}

static void messages_of_the_offline_modes_name_what_stands_in_their_way(void **state)
{
    (void)state; /* each event has its own */
    static const struct event events[] = {
        {"PATH: there is no log, or an empty file; nothing was read", have_nothing,
         verify, NOTHING_FAILS},
        {"PATH: the record at offset OFFSET has a key of 65536 and a value of 5 bytes, "
         "more than this program keeps; nothing was changed",
         have_original_with_a_long_key, verify, NOTHING_FAILS},
        {"PATH: cannot load the records up to offset OFFSET: out of memory; nothing was "
         "changed",
         have_original, verify_without_memory, NOTHING_FAILS},
        {"standard output: cannot write the findings; giving up: ERROR",
         have_log,
         verify_to_a_full_disk,
         {.error = ENOSPC}},
        {"PATH: leaving out a torn tail at offset OFFSET", have_torn_tail, dump,
         NOTHING_FAILS},
        {"PATH: nothing was dumped: the log is damaged at offset OFFSET", have_damage,
         dump, NOTHING_FAILS},
        {"the key bad: no SET line can carry its value; left out: see --dump=resp",
         have_original_with_a_nul, dump, NOTHING_FAILS},
        {"standard output: cannot write; giving up: ERROR",
         have_log,
         dump_to_a_full_disk,
         {.error = ENOSPC}},
        {"standard output: cannot write the summary; PATH.salvaged is complete: ERROR",
         have_log,
         salvage_to_a_full_disk,
         {.error = ENOSPC}},
        {"standard output: cannot write the answer; giving up: ERROR",
         have_nothing,
         help_to_a_full_disk,
         {.error = ENOSPC}},
        {"PATH: there is no such log; nothing to salvage", have_nothing, salvage,
         NOTHING_FAILS},
        {"PATH: holds no intact mark, so nothing in it can be proved", have_a_text,
         salvage, NOTHING_FAILS},
        {"PATH.salvaged: is there already; salvage writes only a new log",
         have_something_salvaged, salvage_alone_told, NOTHING_FAILS},
        {"PATH.salvaged.old: is there already; salvage writes only a new log",
         have_an_older_log_where_to_salvage, salvage_alone_told, NOTHING_FAILS},
        {"PATH.salvaged.new: cannot sync; it is not put in place: ERROR", have_log,
         salvage_alone_told, FAILS(2, FDATASYNC, NEW, EIO)},
        {"/dev/urandom: cannot read the hash seed; giving up: ERROR", have_log,
         salvage_alone_told, FAILS(1, FOPEN, ANY, EMFILE)},
        {"/dev/urandom: cannot read a log id; no log is made: ERROR", have_log,
         salvage_alone_told, FAILS(2, FOPEN, ANY, EMFILE)},
        {"PATH.salvaged: cannot append at offset OFFSET, batch refused: ERROR", have_log,
         salvage_alone_told, FAILS(2, PWRITE, NEW, ENOSPC)},
    };
    EXPECT_EVENTS(events);
}

static void close_fd(void *fd)
{
    assert_int_equal(close(*(const int *)fd), 0);
}

/* As `--dump | head -1` does: the reader has what it wants, and nothing is wrong. */
static void f9_offline_modes_end_quietly_when_their_reader_goes(void **state)
{
    enum status (*const modes[])(const struct engine *engine) = {run_verify, run_dump};
    struct engine *engine = *state;
    struct tempdir_file pipe = engine_file(engine, ".pipe");
    have_log(engine);
    engine_forget_messages(engine);
    assert_int_equal(mkfifo(pipe.path, 0600), 0);
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); /* as main does */
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        int reader = open(pipe.path, O_RDONLY | O_NONBLOCK);
        assert_true(reader >= 0);
        shim_before(SHIM_BIT(SHIM_FCNTL), SHIM_LOCK, close_fd, &reader);
        assert_int_equal(run_with_stdout(pipe.path, engine, modes[i]), KV_IO);
        assert_int_equal(engine_told(engine, ""), 0);
    }
    (void)signal(SIGPIPE, before);
}

/* Whichever allocation fails, the operator is told. */
static void f71_offline_modes_without_memory_say_so(void **state)
{
    static const struct {
        enum status (*run)(const struct engine *engine);
        const char *line; /* where the second allocation fails */
    } modes[] = {
        {.run = run_verify, .line = "PATH: not enough memory to read it; giving up"},
        {.run = run_dump, .line = "PATH: not enough memory to read it; giving up"},
        {.run = run_salvage, .line = "PATH: not salvaged: out of memory"},
    };
    struct engine *engine = *state;
    have_log(engine);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        bool has_failed = true;
        for (uint64_t nth = 1; has_failed; nth++) {
            uint64_t fired = shim_fired_count();
            engine_forget_messages(engine);
            shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
            enum status status = run_with_stdout("/dev/null", engine, modes[i].run);
            shim_clear_faults();
            has_failed = shim_fired_count() > fired;
            assert_true(status == KV_OK || engine_told(engine, "") > 0);
            if (nth == 2) {
                engine_expect_line(engine, modes[i].line, 0, 0);
            }
        }
        (void)unlink(engine_file(engine, ".salvaged").path); /* if it was made */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f71_offline_modes_without_memory_say_so),
        ON_ENGINE(f9_offline_modes_end_quietly_when_their_reader_goes),
        ON_ENGINE(messages_name_files_that_are_refused),
        ON_ENGINE(messages_name_what_keeps_a_start_from_making_a_log),
        ON_ENGINE(f100_messages_name_files_of_somebody_else),
        ON_ENGINE(messages_name_the_torn_tail_and_its_copy),
        ON_ENGINE(messages_name_what_is_wrong_with_a_log),
        ON_ENGINE(messages_name_what_cannot_be_read),
        ON_ENGINE(messages_name_what_becomes_of_a_log_of_the_original),
        ON_ENGINE(messages_name_what_befalls_a_store),
        ON_ENGINE(messages_name_what_holds_a_compaction_up),
        ON_ENGINE(messages_name_what_is_wrong_with_an_older_log),
        ON_ENGINE(messages_name_why_an_index_is_not_believed),
        ON_ENGINE(messages_name_why_no_index_is_saved),
        ON_ENGINE(messages_of_the_offline_modes_name_what_stands_in_their_way),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
