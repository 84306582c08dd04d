/*
 * Every call for a durable file fails once, and from then on, with every error that it
 * may give, at every place of a script: whatever was acknowledged is there afterwards,
 * nothing else is, and the store goes on when the fault is over.
 *
 * The same script runs over store.h, with both ways to sync, and as a client's lines
 * over a real session, where the replies are the acknowledgement. In each run the order
 * of the calls is checked as well: no byte behind a seal that is not synced, no reply
 * before the sync, and no file loses its name before what replaces it is durable.
 *
 * The index is saved at each clean stop and after each compaction, and what is read from
 * it at the next start must be what the log alone says. A failure to save it is told and
 * changes nothing else.
 *
 * To extend the script add steps to write_script; what a step may do to the model stands
 * in take_step.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen send recv clock_gettime
 * wrap: malloc calloc realloc strdup
 */
#include "base/bounds.h"
#include "engine/store.h"
#include "net/session.h"
#include "support/keyed.h"
#include "support/redirect.h"
#include "support/shim.h"
#include "support/tempdir.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    KEYS = 10,
    STEPS_MAX = 400,
    BATCH_STEPS_MAX = 32,
    MAYBE_MAX = 64,
    VALUE_BYTES_MOST = 700,
    REPLIES_BYTES = 65536,
    RUNS_OF_SESSION_MAX = 30
};

/* ---- The script ---- */

enum kind {
    STEP_SET,
    STEP_DELETE,
    STEP_GET,
    STEP_COMMIT,
    STEP_REST, /* a second and more goes by */
    STEP_SYNC,
    STEP_REOPEN,
    STEP_REOPEN_WHOLE, /* without the saved index: the log is read from its start */
    STEP_FULL,         /* the disk is full now */
    STEP_ROOM,         /* and has room again */
    STEP_COMPACT,
    STEP_MAINTAIN
};

struct step {
    enum kind kind;
    size_t key;
    int value; /* its number, from which its text follows */
};

struct script_steps {
    struct step steps[STEPS_MAX];
    size_t count;
    size_t command_count;
};

static struct script_steps script;

static void add_step(enum kind kind, size_t key)
{
    assert_in_range(script.count, 0, STEPS_MAX - 1);
    script.steps[script.count] = (struct step){kind, key, (int)script.count};
    script.count++;
    script.command_count += kind == STEP_SET || kind == STEP_DELETE || kind == STEP_GET;
}

static void add_batch(size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add_step(STEP_SET, (first + i) % KEYS);
        if (i % 3 == 2) {
            add_step(STEP_DELETE, (first + i * 7) % KEYS);
        }
        if (i % 4 == 1) {
            add_step(STEP_GET, (first + i * 3) % KEYS);
        }
    }
    add_step(STEP_COMMIT, 0);
}

/* New kinds of work go here. */
static void write_script(void)
{
    add_batch(0, KEYS);
    add_batch(3, 1);
    add_step(STEP_REST, 0);
    for (size_t i = 0; i < 8; i++) {
        add_batch(i * 3, 1 + i % 4);
    }
    add_step(STEP_FULL, 0);
    add_batch(2, 4);
    add_step(STEP_GET, 2);
    add_step(STEP_ROOM, 0);
    add_batch(4, 3);
    add_step(STEP_REOPEN, 0);
    add_batch(1, 5);
    add_step(STEP_SYNC, 0);
    add_batch(6, 2);
    add_step(STEP_REST, 0);
    add_step(STEP_REOPEN, 0);
    add_batch(7, 2);
    add_step(STEP_COMPACT, 0);
    add_batch(8, 3);
    add_step(STEP_MAINTAIN, 0);
    add_batch(9, 2);
    add_step(STEP_REOPEN, 0);
    for (size_t i = 0; i < 6; i++) {
        add_step(STEP_MAINTAIN, 0);
        add_batch(i * 2 + 1, 1 + i % 3);
    }
    add_step(STEP_COMPACT, 0);
    for (size_t i = 0; i < 8; i++) {
        add_step(STEP_MAINTAIN, 0);
    }
    add_batch(5, 6);
    add_step(STEP_DELETE, 0);
    add_step(STEP_COMMIT, 0);
    add_step(STEP_REST, 0);
    /* The index is saved in steps while batches come in between, and again at the end. */
    add_step(STEP_COMPACT, 0);
    for (size_t i = 0; i < 8; i++) {
        add_step(STEP_MAINTAIN, 0);
        add_batch(i * 3, 1 + i % 2);
    }
    add_step(STEP_REOPEN, 0);
    add_step(STEP_REOPEN, 0);
    add_batch(4, 2);
    add_step(STEP_REOPEN_WHOLE, 0);
    add_batch(1, 1);
    add_step(STEP_REOPEN, 0);
    add_step(STEP_REOPEN_WHOLE, 0);
}

/* ---- The model ---- */

/* Which value each key has; -1: none. */
struct model {
    int values[KEYS];
};

static const struct model nothing = {{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1}};

static struct slice key_of(size_t i)
{
    static const char names[KEYS][6] = {"key-0", "key-1", "key-2", "key-3", "key-4",
                                        "key-5", "key-6", "key-7", "key-8", "key-9"};
    return slice_of_text(names[i]);
}

/* Valid until the next call. */
static struct slice value_of(int number)
{
    static char text[VALUE_BYTES_MOST];
    size_t length = 8 + (size_t)number * 37 % (VALUE_BYTES_MOST - 8);
    (void)snprintf(text, sizeof text, "%06d.", number);
    memset(text + 7, 'a' + number % 26, length - 7);
    return (struct slice){(const uint8_t *)text, length};
}

enum face { FACE_STORE, FACE_SESSION };

struct run {
    struct tempdir tempdir;
    struct tempdir_file log;
    int stderr_fd;
    enum sync_policy sync;
    enum face face;
    bool wants_success; /* nothing may be refused */

    struct store *store;
    struct session *session;
    int client_fd;

    struct model committed;
    struct model staged;
    /* What a start may find after the store gave up: the last durable state, and later
     * ones up to the batch in hand. */
    struct model maybe[MAYBE_MAX];
    size_t maybe_count;

    const struct step *batch[BATCH_STEPS_MAX];
    size_t batch_count;

    uint64_t run_count;
    uint64_t died_count;
    uint64_t refused_count; /* of starts */
    uint64_t batch_refused_count;
    uint64_t fast_start_count; /* starts that had to read nothing of the log */
    const char *what;          /* is being failed, for messages */
};

/* How far a script came. */
enum end { END_GOES_ON, END_FINISHED, END_DIED, END_REFUSED };

/* stderr is away during a run, and cmocka tells its failures there. */
static void check(const struct run *run, bool is_so, const char *fact, int line)
{
    if (!is_so) {
        printf("%s: line %d: not so: %s\n", run->what, line, fact);
        fail();
    }
}

#define CHECK(run, fact) check(run, fact, #fact, __LINE__)

static bool holds(struct store *store, const struct model *model)
{
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++) {
        struct slice value;
        enum status status = keyed_get(store, key_of(i), &value);
        bool is_right =
            model->values[i] < 0
                ? status == KV_NOT_FOUND
                : status == KV_OK && slice_equal(value, value_of(model->values[i]));
        if (!is_right) {
            return false;
        }
        count += model->values[i] >= 0;
    }
    return store_count(store) == count;
}

static void settle(struct run *run)
{
    run->maybe[0] = run->committed;
    run->maybe_count = 1;
}

static void note_maybe(struct run *run, const struct model *model)
{
    assert_in_range(run->maybe_count, 0, MAYBE_MAX - 1);
    run->maybe[run->maybe_count++] = *model;
}

/* ---- The order of the calls ---- */

struct order {
    bool is_always;
    bool is_log_dirty;
    uint64_t wanted_end; /* of the write that may be going on in parts */
    uint64_t log_end;
    uint64_t synced_end; /* of the log: what stands behind it was promised to nobody */
    uint64_t new_end;
    bool is_new_dirty;
    bool has_new_file; /* one is being made, and has not got its name yet */
    bool has_new_names;
    bool has_sync_failed;
};

/* Returns the rule that a call breaks, or NULL. */
static const char *judge_write(struct order *order, const struct shim_event *event)
{
    uint64_t end = event->offset + event->length;
    if (event->role == SHIM_NEW) {
        order->is_new_dirty = true;
        order->new_end = end;
    }
    if (event->role != SHIM_LOG) {
        return NULL;
    }
    bool is_late = order->is_always && order->is_log_dirty && end != order->wanted_end;
    order->is_log_dirty = true;
    order->wanted_end = end;
    order->log_end = end;
    return is_late ? "a byte was written behind a seal that is not synced" : NULL;
}

static const char *judge_rename(struct order *order, const struct shim_event *event)
{
    bool is_log_dirty = order->is_log_dirty;
    order->has_new_names = true;
    if (event->role == SHIM_OLD) {
        order->is_log_dirty = false;
        /* A half-made file that could not be removed is begun anew, or never named. */
        order->is_new_dirty = false;
        order->has_new_file = false;
        return order->is_always && is_log_dirty
                   ? "a file took another name before it was synced"
                   : NULL;
    }
    order->has_new_file = false;
    if (event->role == SHIM_LOG) { /* it is the new file, or the older log again */
        order->is_log_dirty = false;
        order->log_end = order->new_end;
        order->synced_end = order->new_end;
    }
    if (event->role == SHIM_INDEX && is_log_dirty) {
        return "a saved index got its name before its log was synced";
    }
    return order->is_new_dirty ? "a file took another name before it was synced" : NULL;
}

static const char *judge_unlink(struct order *order, const struct shim_event *event)
{
    if (event->role == SHIM_NEW) {
        order->is_new_dirty = false;
        order->has_new_file = false;
        return NULL;
    }
    bool is_early = order->has_new_names || order->has_new_file ||
                    (order->is_always && order->is_log_dirty);
    return is_early ? "a file was unlinked before what replaces it was durable" : NULL;
}

/* What was never synced may go at any time; of anything else there must be a copy. */
static const char *judge_cut(struct order *order, const struct shim_event *event)
{
    if (event->role != SHIM_LOG) {
        return NULL;
    }
    bool is_early = event->offset < order->synced_end &&
                    (order->has_new_file || order->has_new_names);
    order->is_log_dirty = true;
    order->wanted_end = UINT64_MAX;
    order->log_end = event->offset;
    return is_early ? "the log was cut before the name of the copy was durable" : NULL;
}

static const char *judge_sync(struct order *order, const struct shim_event *event)
{
    if (event->role == SHIM_NEW) {
        order->is_new_dirty = false;
    }
    if (event->role != SHIM_LOG) {
        return NULL;
    }
    order->is_log_dirty = false;
    order->synced_end = order->log_end;
    return order->has_sync_failed ? "a sync that failed was tried again" : NULL;
}

static const char *judge_call(struct order *order, const struct shim_event *event)
{
    switch (event->call) {
    case SHIM_PWRITE:
        return judge_write(order, event);
    case SHIM_FTRUNCATE:
        return judge_cut(order, event);
    case SHIM_FDATASYNC:
        return judge_sync(order, event);
    case SHIM_FSYNC:
        order->has_new_names = false;
        return NULL;
    case SHIM_OPENAT:
        /* Another life begins with the lock, and judges what the disk has. */
        order->has_sync_failed = order->has_sync_failed && event->role != SHIM_LOCK;
        if (event->role == SHIM_NEW) {
            order->has_new_file = true;
            order->is_new_dirty = false;
        }
        return NULL;
    case SHIM_RENAMEAT:
        return judge_rename(order, event);
    case SHIM_UNLINKAT:
        return judge_unlink(order, event);
    case SHIM_SEND:
        return (order->is_always && order->is_log_dirty) || order->has_sync_failed
                   ? "a reply was sent before the sync"
                   : NULL;
    default:
        return NULL;
    }
}

static void check_order(const struct run *run)
{
    struct order order = {.is_always = run->sync == SYNC_ALWAYS};
    assert_in_range(shim_event_count(), 0, SHIM_EVENTS_MAX - 1);
    for (size_t i = 0; i < shim_event_count(); i++) {
        const struct shim_event *event = shim_event_at(i);
        if (event->error != 0) {
            order.has_sync_failed = order.has_sync_failed ||
                                    (event->call == SHIM_FDATASYNC &&
                                     event->role == SHIM_LOG && event->error != EINTR);
            continue;
        }
        const char *rule = judge_call(&order, event);
        if (rule != NULL) {
            printf("%s: call %zu: ", run->what, i);
            check(run, false, rule, __LINE__);
        }
    }
}

/* ---- Steps ---- */

static enum status open_store(struct run *run)
{
    struct store_options options = {.path = run->log.path, .sync = run->sync};
    return store_open(&options, &run->store);
}

/* The client and its session live in memory; only the store meets the faults. */
static void begin_session(struct run *run)
{
    int fds[2];
    struct session_options options = {.value_bytes_max = VALUE_BYTES_MAX_DEFAULT,
                                      .idle_ms = 10000};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
    }
    assert_int_equal(session_create(&options, run->store, &run->session), KV_OK);
    session_begin(run->session, fds[0]);
    run->client_fd = fds[1];
}

static void end_session(struct run *run)
{
    if (run->session != NULL) {
        (void)close(run->client_fd); /* a socket */
        session_end(run->session);
        session_destroy(run->session);
        run->session = NULL;
    }
}

static enum end open_run(struct run *run)
{
    enum status status = open_store(run);
    CHECK(run, status != KV_CORRUPT);
    return status == KV_OK ? END_GOES_ON : END_REFUSED;
}

/* The store gave up: it never touches a file again, but to drop a half-made one. */
static enum end die(struct run *run)
{
    size_t before = shim_event_count();
    struct store *store = run->store;
    end_session(run);
    run->store = NULL;
    (void)store_close(store); /* it has failed already */
    for (size_t i = before; i < shim_event_count(); i++) {
        const struct shim_event *event = shim_event_at(i);
        bool is_change = (SHIM_CHANGES & SHIM_BIT(event->call)) != 0;
        bool is_drop = event->call == SHIM_UNLINKAT && event->role == SHIM_NEW;
        CHECK(run, !is_change || is_drop);
    }
    return END_DIED;
}

static void refuse_batch(struct run *run)
{
    run->batch_refused_count++;
    run->staged = run->committed;
    CHECK(run, holds(run->store, &run->committed));
}

static void stage_steps(struct run *run)
{
    for (size_t i = 0; i < run->batch_count; i++) {
        const struct step *step = run->batch[i];
        struct slice value;
        enum status status = KV_OK;
        int expected = run->staged.values[step->key];
        if (step->kind == STEP_SET) {
            status = keyed_set(run->store, key_of(step->key), value_of(step->value));
            expected = status == KV_OK ? step->value : expected;
        } else if (step->kind == STEP_DELETE) {
            status = keyed_delete(run->store, key_of(step->key));
            CHECK(run,
                  (status == KV_NOT_FOUND) == (expected < 0) || status == KV_NO_MEMORY);
            expected = status == KV_OK ? -1 : expected;
            status = status == KV_NOT_FOUND ? KV_OK : status;
        } else {
            status = keyed_get(run->store, key_of(step->key), &value);
            CHECK(run, expected < 0 ? status == KV_NOT_FOUND
                                    : slice_equal(value, value_of(expected)));
            status = KV_OK;
        }
        CHECK(run, status == KV_OK || status == KV_NO_MEMORY);
        run->staged.values[step->key] = expected;
    }
}

static enum end commit_to_store(struct run *run)
{
    run->staged = run->committed;
    stage_steps(run);
    note_maybe(run, &run->staged);
    enum status status = store_commit(run->store);
    if (status == KV_FATAL) {
        return die(run);
    }
    CHECK(run, status == KV_OK || status == KV_NO_SPACE || status == KV_IO ||
                   status == KV_NO_MEMORY);
    if (status != KV_OK) {
        run->maybe_count--;
        refuse_batch(run);
        return END_GOES_ON;
    }
    run->committed = run->staged;
    if (run->sync == SYNC_ALWAYS) {
        settle(run);
    }
    return END_GOES_ON;
}

/* The lines of the batch, sent at once. */
static void send_lines(struct run *run)
{
    static char lines[REPLIES_BYTES];
    size_t length = 0;
    for (size_t i = 0; i < run->batch_count; i++) {
        const struct step *step = run->batch[i];
        struct slice value = value_of(step->value);
        const char *verb = step->kind == STEP_SET      ? "SET"
                           : step->kind == STEP_DELETE ? "DELETE"
                                                       : "GET";
        int count = snprintf(
            lines + length, sizeof lines - length, "%s %s%s%.*s\n", verb,
            (const char *)key_of(step->key).bytes, step->kind == STEP_SET ? " " : "",
            step->kind == STEP_SET ? (int)value.length : 0, (const char *)value.bytes);
        length += (size_t)count;
    }
    assert_int_equal(write(run->client_fd, lines, length), length);
}

/* Returns the reply behind the last one, without its LF. */
static struct slice next_reply(const struct run *run, struct slice *replies)
{
    const uint8_t *end =
        replies->length == 0 ? NULL : memchr(replies->bytes, '\n', replies->length);
    CHECK(run, end != NULL);
    struct slice reply = slice_first(*replies, (size_t)(end - replies->bytes));
    *replies = slice_after(*replies, reply.length + 1);
    return reply;
}

/* What the client may take for true after these replies. */
static void believe(struct run *run, struct slice replies)
{
    static const char *const refusals[] = {"error: storage full", "error: storage failed",
                                           "error: out of memory"};
    struct model model = run->committed;
    bool is_any_refused = false;
    for (size_t i = 0; i < run->batch_count; i++) {
        const struct step *step = run->batch[i];
        struct slice reply = next_reply(run, &replies);
        int *value = &model.values[step->key];
        if (step->kind == STEP_GET) {
            CHECK(run, slice_equal(reply, *value < 0 ? slice_of_text("no value stored")
                                                     : value_of(*value)));
        } else if (slice_equal(reply, slice_of_text("success"))) {
            *value = step->kind == STEP_SET ? step->value : -1;
        } else {
            bool is_known = false;
            for (size_t j = 0; j < sizeof refusals / sizeof refusals[0]; j++) {
                is_known = is_known || slice_equal(reply, slice_of_text(refusals[j]));
            }
            CHECK(run, is_known);
            is_any_refused = true;
        }
    }
    CHECK(run, replies.length == 0);
    run->batch_refused_count += is_any_refused;
    run->committed = model;
    CHECK(run, holds(run->store, &model));
}

static enum end commit_by_session(struct run *run)
{
    static uint8_t replies[REPLIES_BYTES];
    struct model all = run->committed;
    enum session_state state = SESSION_READY;
    enum status status = KV_OK;
    for (size_t i = 0; i < run->batch_count; i++) {
        const struct step *step = run->batch[i];
        if (step->kind != STEP_GET) {
            all.values[step->key] = step->kind == STEP_SET ? step->value : -1;
        }
    }
    note_maybe(run, &all);
    send_lines(run);
    for (int i = 0; i < RUNS_OF_SESSION_MAX && status == KV_OK; i++) {
        status = session_run(run->session, &state);
        if (state == SESSION_WAITING) {
            break;
        }
    }
    ssize_t count = read(run->client_fd, replies, sizeof replies);
    if (status == KV_FATAL) {
        CHECK(run, count < 0 && errno == EAGAIN); /* not one byte of a reply */
        return die(run);
    }
    CHECK(run, status == KV_OK && state == SESSION_WAITING && count > 0);
    run->maybe_count--;
    believe(run, (struct slice){replies, (size_t)count});
    if (run->sync == SYNC_ALWAYS) {
        settle(run);
    } else {
        note_maybe(run, &run->committed);
    }
    return END_GOES_ON;
}

static enum end commit_batch(struct run *run)
{
    if (run->face == FACE_STORE) {
        return commit_to_store(run);
    }
    if (run->session == NULL) {
        begin_session(run);
    }
    return commit_by_session(run);
}

/* The model stays the same; everything is durable if that succeeded. */
static enum end take_durable_step(struct run *run, enum status status)
{
    if (status == KV_FATAL) {
        return die(run);
    }
    if (status == KV_OK) {
        settle(run);
    }
    return END_GOES_ON;
}

/* A hint may go at any time, and nobody misses it. */
static void remove_index(const struct run *run)
{
    (void)unlink(
        tempdir_file(&run->tempdir, "kv.log.index").path); /* there may be none */
}

static enum end reopen(struct run *run, bool reads_whole_log)
{
    struct store *store = run->store;
    end_session(run);
    run->store = NULL;
    enum status status = store_close(store);
    CHECK(run, status == KV_OK || status == KV_IO || status == KV_FATAL);
    if (status != KV_FATAL) {
        settle(run); /* a process that ends well leaves everything to the next */
    }
    if (reads_whole_log) {
        remove_index(run);
    }
    enum end end = open_run(run);
    if (end == END_GOES_ON && status != KV_FATAL) {
        CHECK(run, holds(run->store, &run->committed));
        bool is_fast = store_stats(run->store).recovered_bytes == 0;
        CHECK(run, !is_fast || !reads_whole_log);
        run->fast_start_count += is_fast;
    }
    /* The end failed, and the next start found what there is: let it be judged. */
    return end == END_GOES_ON && status == KV_FATAL ? END_DIED : end;
}

static enum end take_step(struct run *run, const struct step *step)
{
    enum end end = END_GOES_ON;
    switch (step->kind) {
    case STEP_SET:
    case STEP_DELETE:
    case STEP_GET:
        assert_in_range(run->batch_count, 0, BATCH_STEPS_MAX - 1);
        run->batch[run->batch_count++] = step;
        break;
    case STEP_COMMIT:
        end = commit_batch(run);
        run->batch_count = 0;
        break;
    case STEP_REST:
        shim_advance_clock(SECOND_SEAL_MS + SYNC_LAG_MS_MAX);
        end = take_durable_step(run, store_maintain(run->store, LEISURE_ALL));
        break;
    case STEP_SYNC:
        end = take_durable_step(run, store_sync(run->store));
        break;
    case STEP_REOPEN:
        end = reopen(run, false);
        break;
    case STEP_REOPEN_WHOLE:
        end = reopen(run, true);
        break;
    case STEP_FULL:
        shim_set_space(SHIM_LOG, store_stats(run->store).log_bytes + 200, ENOSPC);
        break;
    case STEP_ROOM:
        shim_give_space();
        break;
    case STEP_COMPACT:
        end = store_compact(run->store) == KV_FATAL ? die(run) : END_GOES_ON;
        break;
    case STEP_MAINTAIN:
        end =
            store_maintain(run->store, LEISURE_ALL) == KV_FATAL ? die(run) : END_GOES_ON;
        break;
    }
    return end;
}

static enum end run_script(struct run *run)
{
    enum end end = open_run(run);
    for (size_t i = 0; i < script.count && end == END_GOES_ON; i++) {
        end = take_step(run, &script.steps[i]);
    }
    if (end != END_GOES_ON) {
        return end;
    }
    end = reopen(run, false);
    return end == END_GOES_ON ? END_FINISHED : end;
}

/* ---- After the script ---- */

/* The fault is over: a start works, holds what it may, and takes new writes. */
static void expect_service(struct run *run, enum end end)
{
    if (run->store == NULL) {
        CHECK(run, open_store(run) == KV_OK);
    }
    if (end == END_FINISHED) {
        CHECK(run, holds(run->store, &run->committed));
    } else {
        bool is_found = false;
        for (size_t i = run->maybe_count; i > 0 && !is_found; i--) {
            is_found = holds(run->store, &run->maybe[i - 1]);
            run->committed = run->maybe[i - 1];
        }
        CHECK(run, is_found);
    }
    for (int i = 0; i < 2; i++) {
        size_t key = (size_t)i * 5 + 2;
        run->committed.values[key] = STEPS_MAX + i;
        CHECK(run, keyed_set(run->store, key_of(key), value_of(STEPS_MAX + i)) == KV_OK);
        CHECK(run, store_commit(run->store) == KV_OK);
        CHECK(run, holds(run->store, &run->committed));
        for (int reads_whole_log = 0; reads_whole_log < 2; reads_whole_log++) {
            CHECK(run, store_close(run->store) == KV_OK);
            run->store = NULL;
            if (reads_whole_log != 0) {
                remove_index(run);
            }
            CHECK(run, open_store(run) == KV_OK);
            CHECK(run, holds(run->store, &run->committed));
        }
    }
    CHECK(run, store_close(run->store) == KV_OK);
    run->store = NULL;
}

static void remove_files(const struct run *run)
{
    DIR *directory = opendir(run->tempdir.path);
    assert_non_null(directory);
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        if (entry->d_name[0] != '.') {
            (void)unlink(tempdir_file(&run->tempdir, entry->d_name).path);
        }
    }
    closedir(directory);
}

static void begin_run(struct run *run)
{
    remove_files(run);
    shim_reset();
    shim_omit_syncs();
    shim_set_clock(1000);
    shim_set_random(1);
    run->committed = nothing;
    run->staged = nothing;
    run->batch_count = 0;
    settle(run);
}

static int lowest_free_fd(void)
{
    int fd = dup(STDOUT_FILENO);
    (void)close(fd); /* a copy */
    return fd;
}

/* One run with what is armed; returns how many of these calls the script made. */
static uint64_t run_once(struct run *run, unsigned calls)
{
    int free_fd = lowest_free_fd();
    uint64_t refused_before = run->batch_refused_count;
    enum end end = run_script(run);
    uint64_t call_count = shim_count_all(calls);
    check_order(run);
    shim_clear_faults();
    shim_give_space();
    shim_limit_bytes(0, 0);
    run->run_count++;
    run->died_count += end == END_DIED;
    run->refused_count += end == END_REFUSED;
    if (run->wants_success) {
        CHECK(run, end == END_FINISHED);
        CHECK(run, run->batch_refused_count == refused_before + 1); /* the full disk */
    }
    expect_service(run, end);
    CHECK(run, lowest_free_fd() == free_fd);
    return call_count;
}

/* ---- Sweeps ---- */

struct sweep {
    enum shim_call call;
    const char *name;
    int errors[8]; /* ends in 0 */
};

static const struct sweep sweeps[] = {
    {SHIM_PWRITE, "pwrite", {EIO, ENOSPC, EDQUOT, EINTR, EFBIG, EROFS}},
    {SHIM_FTRUNCATE, "ftruncate", {EIO, ENOSPC, EINTR, EROFS}},
    {SHIM_FDATASYNC, "fdatasync", {EIO, ENOSPC, EDQUOT, EINTR}},
    {SHIM_FSYNC, "fsync", {EIO, ENOSPC, EDQUOT, EINTR}},
    {SHIM_OPEN, "open", {EIO, EMFILE, ENOMEM, EINTR}},
    {SHIM_OPENAT, "openat", {EIO, ENOSPC, EDQUOT, EMFILE, ENOMEM, EINTR, EROFS}},
    {SHIM_RENAMEAT, "renameat", {EIO, ENOSPC, EDQUOT, ENOMEM, EINTR, EROFS}},
    {SHIM_UNLINKAT, "unlinkat", {EIO, ENOMEM, EINTR, EROFS}},
    {SHIM_FSTAT, "fstat", {EIO, ENOMEM, EINTR}},
    {SHIM_FSTATAT, "fstatat", {EIO, ENOMEM, EINTR}},
    {SHIM_CLOSE, "close", {EIO, ENOSPC, EDQUOT, EINTR}},
    {SHIM_MMAP, "mmap", {ENOMEM, EMFILE}},
    {SHIM_FADVISE, "posix_fadvise", {EIO, EINTR}},
    {SHIM_FCNTL, "fcntl", {EIO, ENOMEM, EINTR, ENOLCK}},
    {SHIM_FOPEN, "fopen", {EIO, EMFILE, ENOMEM, EINTR}},
};
enum { SWEEP_COUNT = sizeof sweeps / sizeof sweeps[0] };

static uint64_t total_runs;

/* Fail the first, second, third … of a call, until there is none that has not failed. */
static void sweep_calls(struct run *run, unsigned calls, const char *name, int error,
                        bool is_sticky, size_t stride)
{
    static char what[160];
    for (uint64_t nth = 1;; nth += stride) {
        (void)snprintf(what, sizeof what, "%s %s %s #%llu %s",
                       run->face == FACE_SESSION ? "session" : "store",
                       run->sync == SYNC_ALWAYS ? "always" : "everysec", name,
                       (unsigned long long)nth, strerror(error));
        run->what = what;
        /* What was interrupted is done again, and nobody notices; but opening
         * /dev/urandom never waits, so it is not interrupted either. */
        run->wants_success = error == EINTR && calls != SHIM_BIT(SHIM_FOPEN);
        shim_inject(&(struct shim_fault){
            .calls = calls,
            /* The session's own sockets are not for this test. */
            .role = calls == SHIM_BIT(SHIM_FCNTL) ? SHIM_LOCK : SHIM_ANY,
            .nth = nth,
            .error = error,
            .is_sticky = is_sticky,
        });
        uint64_t call_count = run_once(run, calls);
        begin_run(run);
        if (call_count < nth) {
            return;
        }
    }
}

static void sweep_all(struct run *run, size_t stride)
{
    for (size_t i = 0; i < SWEEP_COUNT; i++) {
        for (const int *error = sweeps[i].errors; *error != 0; error++) {
            sweep_calls(run, SHIM_BIT(sweeps[i].call), sweeps[i].name, *error, false,
                        stride);
            /* A call that is interrupted for ever never ends, as it must not. */
            if (*error != EINTR) {
                sweep_calls(run, SHIM_BIT(sweeps[i].call), sweeps[i].name, *error, true,
                            stride);
            }
        }
    }
}

static void report(const struct run *run, const char *what)
{
    printf("%-28s %6llu runs: %llu died, %llu starts refused, %llu batches refused\n",
           what, (unsigned long long)run->run_count, (unsigned long long)run->died_count,
           (unsigned long long)run->refused_count,
           (unsigned long long)run->batch_refused_count);
    (void)fflush(stdout); /* so that progress is seen */
    total_runs += run->run_count;
}

static int setup(void **state)
{
    struct run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    if (script.count == 0) {
        write_script();
    }
    tempdir_create(&run->tempdir);
    run->log = tempdir_file(&run->tempdir, "kv.log");
    run->what = "no fault";
    run->stderr_fd = getenv("KV_TEST_SHOW") == NULL ? redirect_begin(stderr, "/dev/null")
                                                    : dup(STDERR_FILENO);
    *state = run;
    begin_run(run);
    return 0;
}

static int teardown(void **state)
{
    struct run *run = *state;
    shim_reset();
    end_session(run);
    (void)store_close(run->store); /* whatever a failed test left it in */
    redirect_end(stderr, run->stderr_fd);
    tempdir_remove(&run->tempdir);
    free(run);
    return 0;
}

/* Without any fault the script does all that it says: else the sweeps prove nothing. */
static void f94_the_script_runs_through_without_faults(void **state)
{
    struct run *run = *state;
    for (int face = FACE_STORE; face <= FACE_SESSION; face++) {
        for (int sync = SYNC_ALWAYS; sync <= SYNC_EVERYSEC; sync++) {
            run->face = (enum face)face;
            run->sync = (enum sync_policy)sync;
            run->wants_success = true;
            assert_in_range(run_once(run, SHIM_BIT(SHIM_PWRITE)), 30, 1000);
            begin_run(run);
        }
    }
    assert_int_equal(run->died_count + run->refused_count, 0);
    assert_in_range(run->fast_start_count, 4 * 4, 4 * 20);
    assert_in_range(script.command_count, 100, 160);
    printf("the script has %zu commands in %zu steps\n", script.command_count,
           script.count);
}

static void f94_no_failing_call_breaks_a_promise(void **state)
{
    struct run *run = *state;
    sweep_all(run, watchdog_scaled(1, 23));
    report(run, "store, always");
}

static void f94_no_failing_call_breaks_a_promise_under_everysec(void **state)
{
    struct run *run = *state;
    run->sync = SYNC_EVERYSEC;
    sweep_all(run, watchdog_scaled(1, 23));
    report(run, "store, everysec");
}

/* Here it is the replies that are held against the log. */
static void f90_no_failing_call_makes_a_reply_untrue(void **state)
{
    struct run *run = *state;
    run->face = FACE_SESSION;
    sweep_all(run, watchdog_scaled(1, 37));
    report(run, "session, always");
}

static void f90_no_failing_call_makes_a_reply_untrue_under_everysec(void **state)
{
    struct run *run = *state;
    run->face = FACE_SESSION;
    run->sync = SYNC_EVERYSEC;
    sweep_all(run, watchdog_scaled(1, 41));
    report(run, "session, everysec");
}

/* Memory runs out at every place: a command is refused, or a start. */
static void f71_no_failing_allocation_breaks_a_promise(void **state)
{
    static const struct {
        enum shim_call call;
        const char *name;
    } calls[] = {{SHIM_MALLOC, "malloc"},
                 {SHIM_CALLOC, "calloc"},
                 {SHIM_REALLOC, "realloc"},
                 {SHIM_STRDUP, "strdup"}};
    struct run *run = *state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (int is_sticky = 0; is_sticky < 2; is_sticky++) {
            sweep_calls(run, SHIM_BIT(calls[i].call), calls[i].name, ENOMEM,
                        is_sticky != 0, watchdog_scaled(1, 23));
        }
    }
    report(run, "no memory");
}

/* Writes are cut short: that alone changes nothing, and a failure may follow in the
 * middle of a batch. */
static void f32_short_writes_and_failures_between_them_break_no_promise(void **state)
{
    static const size_t limits[] = {64, 100, 333, SHIM_HALF};
    struct run *run = *state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        run->what = "short writes";
        run->wants_success = true;
        shim_limit_bytes(SHIM_BIT(SHIM_PWRITE), watchdog_scaled(limits[i], SHIM_HALF));
        assert_in_range(run_once(run, SHIM_BIT(SHIM_PWRITE)), 50, 100000);
        begin_run(run);
    }
    report(run, "short writes");
}

/* Every other write and one other call fail in the same run; which writes alternates. */
static void sweep_pairs(struct run *run, enum shim_call second, size_t stride)
{
    uint64_t second_count = run_once(run, SHIM_BIT(second));
    begin_run(run);
    for (uint64_t nth = 1; nth <= second_count; nth += stride) {
        for (uint64_t write = 1 + nth % 2;; write += 2 * stride) {
            run->what = "a write and another call";
            shim_fail_once(SHIM_BIT(SHIM_PWRITE), SHIM_ANY, write, ENOSPC);
            shim_fail_from(SHIM_BIT(second), SHIM_ANY, nth, EIO);
            uint64_t write_count = run_once(run, SHIM_BIT(SHIM_PWRITE));
            begin_run(run);
            if (write_count < write) {
                break;
            }
        }
    }
}

static void f94_no_two_failing_calls_break_a_promise(void **state)
{
    static const enum shim_call seconds[] = {
        SHIM_FTRUNCATE, SHIM_FDATASYNC, SHIM_OPENAT, SHIM_FSYNC,
        SHIM_RENAMEAT,  SHIM_UNLINKAT,  SHIM_FSTAT,  SHIM_CLOSE};
    struct run *run = *state;
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        sweep_pairs(run, seconds[i], watchdog_scaled(1, 31));
    }
    report(run, "pairs of faults");
}

static void f94_enough_runs_were_made(void **state)
{
    (void)state;
    printf("%llu runs in all\n", (unsigned long long)total_runs);
    assert_in_range(total_runs, watchdog_scaled(8000, 100), UINT32_MAX);
}

#define ON_RUN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_RUN(f94_the_script_runs_through_without_faults),
        ON_RUN(f32_short_writes_and_failures_between_them_break_no_promise),
        ON_RUN(f94_no_failing_call_breaks_a_promise),
        ON_RUN(f94_no_failing_call_breaks_a_promise_under_everysec),
        ON_RUN(f90_no_failing_call_makes_a_reply_untrue),
        ON_RUN(f90_no_failing_call_makes_a_reply_untrue_under_everysec),
        ON_RUN(f94_no_two_failing_calls_break_a_promise),
        ON_RUN(f71_no_failing_allocation_breaks_a_promise),
        cmocka_unit_test(f94_enough_runs_were_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
