/*
 * Power loss at every place of every scenario: each state that the disk may be left in
 * is recovered, and must hold what was acknowledged and nothing that nobody wrote.
 *
 * A scenario runs once on a real directory while its changes are recorded; then each
 * state that support/crash.h builds from the record is put into that directory and
 * opened. A state with a saved index is opened once more without it: the log alone must
 * give the same. To add a scenario write a function like those below that goes through
 * lab_open, lab_batch and lab_rest, and put it into the table `scenarios`; everything
 * else follows from there, deaths of the process at each change included.
 *
 * wrap: open openat close pwrite ftruncate fdatasync fsync renameat unlinkat
 * wrap: fopen clock_gettime
 */
#include "base/bounds.h"
#include "engine/store.h"
#include "offline/salvage.h"
#include "support/crash.h"
#include "support/dice.h"
#include "support/image.h"
#include "support/keyed.h"
#include "support/redirect.h"
#include "support/tempdir.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_NAME     "kv.log"
#define SALVAGE_NAME "new.log"
#define INDEX_SUFFIX ".index"

enum {
    KEYS = 8,
    SNAPSHOTS_MAX = 48,
    VALUES_MAX = 512,
    CACHE_SLOTS = 1 << 18,
    KILLS_MAX = 400,
    SHOWN_MAX = 5, /* violations that are told in full */
};

/* What became of a state when it was recovered; from 0 on: a snapshot was found. */
enum outcome {
    OUTCOME_REFUSED = -1, /* the log is corrupt, and was left alone */
    OUTCOME_EMPTY = -2,   /* a store without keys, where no snapshot is empty */
    OUTCOME_INVENTED = -3,
    OUTCOME_FAILED = -4,
    OUTCOME_UNSTABLE = -5, /* a second start found something else, or changed something */
    OUTCOME_TAIL_LOST = -6,
    OUTCOME_STUCK = -7, /* recovered, but new writes did not work */
    OUTCOME_MEDDLED = -8,
    OUTCOME_MISLED = -9,  /* the saved index and the log alone give different answers */
    OUTCOME_DAMAGED = -10 /* values are told to be damaged, the others are a snapshot's */
};

static const char *const outcome_texts[] = {
    "",
    "refused as corrupt",
    "empty",
    "holds what nobody wrote together",
    "cannot be opened",
    "a second start does not give the same",
    "a tail was cut off and not kept",
    "takes no new writes",
    "refused, but changed something",
    "the saved index leads to other data than the log",
    "values are damaged",
};

/* All keys and their values at a moment. */
struct snapshot {
    bool has[KEYS];
    struct slice values[KEYS];
};

struct cached {
    uint64_t hash; /* 0: a free place */
    int outcome;
};

struct lab {
    struct tempdir tempdir;
    struct tempdir_file log;
    int stderr_fd;               /* the real one; meanwhile messages go nowhere */
    struct tempdir_file subject; /* what is opened after the power loss */
    const char *subject_name;
    struct crash_trace *scenario;
    struct crash_trace *recovery;
    struct crash_trace *again; /* of the second recovery of the same state */
    struct crash_plan plan;
    struct dice dice;

    /* The run of a scenario. */
    enum sync_policy sync;
    struct store *store;
    struct snapshot snapshots[SNAPSHOTS_MAX];
    size_t snapshot_count;
    struct snapshot staged;
    uint8_t *values[VALUES_MAX];
    size_t value_count;
    struct crash_promise promise;
    bool may_die; /* every change fails from some call on, as if the process were gone */
    struct slice kept; /* a tail that must stay somewhere, the log or a copy */

    /* Exploring. */
    const char *name;
    size_t parameter;
    uint64_t kill;
    struct cached *cache;
    uint64_t cached_count;
    struct crash_state on_disk; /* what is in the directory; only its names are valid */
    bool is_nested;
    uint64_t nest_every;
    uint64_t changed_count;

    /* Over all scenarios of one test. */
    uint64_t state_count;
    uint64_t distinct_count;
    uint64_t nested_count;
    uint64_t refusal_count;
    uint64_t violation_count;
    uint64_t shown_count;
};

static void open_state(void *context, const struct crash_state *state,
                       struct crash_promise promise, size_t place);

/* ---- The directory ---- */

static struct tempdir_file file_of(const struct lab *lab, const char *name)
{
    return tempdir_file(&lab->tempdir, name);
}

static void write_file(const char *path, struct slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_in_range(fd, 0, 1023);
    while (bytes.length > 0) {
        ssize_t count = write(fd, bytes.bytes, bytes.length);
        assert_true(count > 0);
        bytes = slice_after(bytes, (size_t)count);
    }
    assert_int_equal(close(fd), 0);
}

/* Make the directory hold these files and no others, but for locks. */
static void put_state(struct lab *lab, const struct crash_state *state)
{
    for (size_t i = 0; i < lab->on_disk.file_count; i++) {
        const char *name = lab->on_disk.files[i].name;
        if (crash_find(state, name) == NULL) {
            (void)unlink(file_of(lab, name).path); /* it may be gone already */
        }
    }
    for (size_t i = 0; i < state->file_count; i++) {
        write_file(file_of(lab, state->files[i].name).path, state->files[i].bytes);
    }
}

/* ---- Opening, and ending as a process does that is killed ---- */

static enum status try_open(struct lab *lab, const char *path)
{
    struct store_options options = {.path = path, .sync = lab->sync};
    return store_open(&options, &lab->store);
}

/* From the nth change on nothing reaches the disk any more. */
static void die_at(uint64_t nth)
{
    shim_fail_from(SHIM_CHANGES, SHIM_ANY, nth, EIO);
}

static void close_dead(struct lab *lab)
{
    struct store *store = lab->store;
    lab->store = NULL;
    die_at(1);
    (void)store_close(store); /* nothing of it reaches the disk */
    shim_clear_faults();
}

static struct slice key_of(size_t i)
{
    static const char names[KEYS][4] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    return slice_of_text(names[i]);
}

/* Values are made once each, so that their places tell them apart. */
static bool snapshots_equal(const struct snapshot *a, const struct snapshot *b)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (a->has[i] != b->has[i] || a->values[i].bytes != b->values[i].bytes) {
            return false;
        }
    }
    return true;
}

/* damaged_count: of the values that are there, but were told to be damaged. */
static bool is_snapshot(struct store *store, const struct snapshot *snapshot,
                        size_t *damaged_count)
{
    size_t count = 0;
    *damaged_count = 0;
    for (size_t i = 0; i < KEYS; i++) {
        struct slice value;
        enum status status = keyed_get(store, key_of(i), &value);
        bool is_damaged = snapshot->has[i] && status == KV_CORRUPT;
        bool is_right = snapshot->has[i]
                            ? status == KV_OK && slice_equal(value, snapshot->values[i])
                            : status == KV_NOT_FOUND;
        if (!is_right && !is_damaged) {
            return false;
        }
        count += snapshot->has[i];
        *damaged_count += is_damaged;
    }
    return store_count(store) == count;
}

/* Which snapshot the store holds: the newest, if one was restored later. */
static int identify(const struct lab *lab)
{
    bool is_damaged = false;
    for (size_t i = lab->snapshot_count; i > 0; i--) {
        size_t damaged_count = 0;
        if (is_snapshot(lab->store, &lab->snapshots[i - 1], &damaged_count)) {
            if (damaged_count == 0) {
                return (int)(i - 1);
            }
            is_damaged = true;
        }
    }
    return store_count(lab->store) == 0 ? OUTCOME_EMPTY
           : is_damaged                 ? OUTCOME_DAMAGED
                                        : OUTCOME_INVENTED;
}

/* Whether what was found is also what one of the allowed snapshots holds: a key that
 * came and went leaves no trace in them. */
static bool is_within(const struct lab *lab, int found, struct crash_promise allowed)
{
    for (size_t i = allowed.min; found >= 0 && i <= allowed.max; i++) {
        if (snapshots_equal(&lab->snapshots[found], &lab->snapshots[i])) {
            return true;
        }
    }
    return false;
}

/* ---- What scenarios are made of ---- */

static void promise(struct lab *lab, size_t min, size_t max)
{
    lab->promise = (struct crash_promise){min, max};
    crash_trace_promise(lab->scenario, lab->promise);
}

/* The process died: a new one starts, and what it finds it may show to clients. */
static void revive(struct lab *lab)
{
    assert_true(lab->may_die);
    lab->may_die = false;
    if (lab->store != NULL) {
        close_dead(lab);
    }
    shim_clear_faults();
    lab->plan.first = crash_trace_length(lab->scenario);
    assert_int_equal(try_open(lab, lab->log.path), KV_OK);
    int found = identify(lab);
    if (!is_within(lab, found, lab->promise)) {
        printf("%s parameter %zu kill %llu: the next start found %d\n", lab->name,
               lab->parameter, (unsigned long long)lab->kill, found);
        fail();
    }
    /* It counts as a new one: what stands behind it in the list is gone for good. */
    assert_in_range(lab->snapshot_count, 1, SNAPSHOTS_MAX - 1);
    lab->staged = lab->snapshots[found];
    lab->snapshots[lab->snapshot_count++] = lab->staged;
    promise(lab, lab->snapshot_count - 1, lab->snapshot_count - 1);
}

static void lab_open(struct lab *lab)
{
    assert_null(lab->store);
    if (try_open(lab, lab->log.path) != KV_OK) {
        revive(lab);
    }
}

/* Printable bytes that no other value has. */
static struct slice make_value(struct lab *lab, size_t length)
{
    assert_in_range(lab->value_count, 0, VALUES_MAX - 1);
    uint8_t *bytes = malloc(length + 8);
    assert_non_null(bytes);
    (void)snprintf((char *)bytes, 8, "%06zu.", lab->value_count);
    for (size_t i = 7; i < length; i++) {
        bytes[i] = (uint8_t)('a' + dice_below(&lab->dice, 26));
    }
    lab->values[lab->value_count++] = bytes;
    return (struct slice){bytes, length};
}

static void lab_set(struct lab *lab, size_t key, size_t length)
{
    struct slice value = make_value(lab, length);
    assert_int_equal(keyed_set(lab->store, key_of(key), value), KV_OK);
    lab->staged.has[key] = true;
    lab->staged.values[key] = value;
}

static void lab_delete(struct lab *lab, size_t key)
{
    enum status status = keyed_delete(lab->store, key_of(key));
    assert_true(status == KV_OK || status == KV_NOT_FOUND);
    lab->staged.has[key] = false;
    lab->staged.values[key] = (struct slice){NULL, 0};
}

/* Commit what is staged; until that has returned it may be there or not. */
static enum status lab_commit(struct lab *lab)
{
    assert_in_range(lab->snapshot_count, 1, SNAPSHOTS_MAX - 1);
    if (snapshots_equal(&lab->staged, &lab->snapshots[lab->snapshot_count - 1])) {
        return store_commit(lab->store); /* each snapshot differs from the one before */
    }
    lab->snapshots[lab->snapshot_count] = lab->staged;
    promise(lab, lab->promise.min, lab->snapshot_count++);
    enum status status = store_commit(lab->store);
    if (status == KV_OK) {
        size_t newest = lab->snapshot_count - 1;
        promise(lab, lab->sync == SYNC_ALWAYS ? newest : lab->promise.min, newest);
    } else if (status == KV_FATAL) {
        revive(lab);
    } else {
        /* Refused, and the client knows: it must never come up again. */
        lab->snapshot_count--;
        lab->staged = lab->snapshots[lab->snapshot_count - 1];
        promise(lab, lab->promise.min, lab->snapshot_count - 1);
    }
    return status;
}

/* The disk has so many bytes left for the log, until a commit without room. */
static void lab_leave_room(const struct lab *lab, size_t bytes)
{
    shim_set_space(SHIM_LOG, store_stats(lab->store).log_bytes + bytes, ENOSPC);
}

static void lab_commit_without_room(struct lab *lab)
{
    (void)lab_commit(lab); /* refused, unless the process died */
    shim_give_space();
}

/* A batch of about this many bytes: new keys, overwritten keys and a deletion. */
static void lab_batch(struct lab *lab, size_t bytes)
{
    size_t first = (size_t)dice_below(&lab->dice, KEYS);
    size_t count = bytes < 200 ? 1 : 1 + (size_t)dice_below(&lab->dice, 3);
    for (size_t i = 0; i < count; i++) {
        size_t part = bytes / count;
        lab_set(lab, (first + i) % KEYS, part > 30 ? part - 18 : 12);
    }
    if (dice_below(&lab->dice, 4) == 0) {
        lab_delete(lab, (first + count) % KEYS);
    }
    (void)lab_commit(lab);
}

/* A second and more goes by: what is late becomes durable, and the log is at rest. */
static void lab_rest(struct lab *lab)
{
    shim_advance_clock(SECOND_SEAL_MS + SYNC_LAG_MS_MAX);
    enum status status = store_maintain(lab->store, LEISURE_ALL);
    if (status == KV_FATAL) {
        revive(lab);
    } else {
        promise(lab, lab->promise.max, lab->promise.max);
    }
}

/* Everything is on disk, without a second seal. */
static void lab_sync(struct lab *lab)
{
    if (store_sync(lab->store) == KV_OK) {
        promise(lab, lab->promise.max, lab->promise.max);
    } else {
        revive(lab);
    }
}

static void lab_close(struct lab *lab)
{
    struct store *store = lab->store;
    lab->store = NULL;
    if (store_close(store) == KV_OK) {
        promise(lab, lab->promise.max, lab->promise.max);
    } else if (lab->may_die) {
        revive(lab);
        close_dead(lab);
    }
}

/* From here on the process may die, if this run is one in which it does. */
static void lab_begin(struct lab *lab)
{
    lab->plan.first = 0;
    lab->may_die = lab->kill > 0;
    if (lab->may_die) {
        die_at(lab->kill);
    }
}

/* Begin with a log of these bytes, which the disk has had for long. */
static void lab_start_from(struct lab *lab, struct slice bytes)
{
    struct crash_state state = {.file_count = 1};
    (void)snprintf(state.files[0].name, CRASH_NAME_BYTES, LOG_NAME);
    state.files[0].bytes = bytes;
    put_state(lab, &state);
    crash_trace_begin(lab->scenario, &state, lab->sync == SYNC_ALWAYS);
    promise(lab, lab->snapshot_count - 1, lab->snapshot_count - 1);
    lab_begin(lab);
}

/* ---- Recovering one state ---- */

static struct cached *find_cached(struct lab *lab, uint64_t hash)
{
    hash = hash == 0 ? 1 : hash;
    size_t at = (size_t)(hash % CACHE_SLOTS);
    while (lab->cache[at].hash != 0 && lab->cache[at].hash != hash) {
        at = (at + 1) % CACHE_SLOTS;
    }
    return &lab->cache[at];
}

static void forget_cache(struct lab *lab)
{
    memset(lab->cache, 0, CACHE_SLOTS * sizeof lab->cache[0]);
    lab->cached_count = 0;
}

/* Whether some file ends in these bytes. */
static bool is_kept(const struct crash_state *state, struct slice tail)
{
    for (size_t i = 0; i < state->file_count; i++) {
        struct slice bytes = state->files[i].bytes;
        if (bytes.length >= tail.length &&
            slice_equal(slice_after(bytes, bytes.length - tail.length), tail)) {
            return true;
        }
    }
    return tail.length == 0;
}

/* What recovery cut off the log; empty if nothing. */
static struct slice cut_tail(const struct crash_state *before,
                             const struct crash_state *after, const char *name)
{
    const struct crash_file *old = crash_find(before, name);
    const struct crash_file *new = crash_find(after, name);
    if (old == NULL || new == NULL || new->bytes.length >= old->bytes.length) {
        return (struct slice){NULL, 0};
    }
    bool is_cut = slice_equal(slice_first(old->bytes, new->bytes.length), new->bytes);
    return is_cut ? slice_after(old->bytes, new->bytes.length) : (struct slice){NULL, 0};
}

/* The store that a state gives takes writes, and they are there at the next start. */
static bool goes_on(struct lab *lab)
{
    struct slice value;
    struct slice expected = SLICE_LITERAL("after the power came back");
    shim_witness(NULL, NULL); /* the next state is put over what this does */
    if (try_open(lab, lab->subject.path) != KV_OK) {
        return false;
    }
    bool is_right = keyed_set(lab->store, key_of(0), expected) == KV_OK &&
                    store_commit(lab->store) == KV_OK;
    close_dead(lab);
    is_right = is_right && try_open(lab, lab->subject.path) == KV_OK &&
               keyed_get(lab->store, key_of(0), &value) == KV_OK &&
               slice_equal(value, expected);
    if (lab->store != NULL) {
        close_dead(lab);
    }
    return is_right;
}

/* A second start changes nothing and finds the same. */
static bool is_stable(struct lab *lab, int outcome)
{
    struct crash_state now;
    crash_trace_now(lab->recovery, &now);
    crash_trace_begin(lab->again, &now, false);
    shim_witness(crash_trace_witness, lab->again);
    bool is_same = try_open(lab, lab->subject.path) == KV_OK && identify(lab) == outcome;
    if (lab->store != NULL) {
        close_dead(lab);
    }
    return is_same && crash_trace_change_count(lab->again) == 0;
}

/* The log alone gives what it gave with the saved index beside it. */
static bool is_confirmed(struct lab *lab, int outcome)
{
    char name[CRASH_NAME_BYTES];
    struct crash_state now;
    crash_trace_now(lab->recovery, &now);
    (void)snprintf(name, sizeof name, "%s%s", lab->subject_name, INDEX_SUFFIX);
    const struct crash_file *index = crash_find(&now, name);
    if (index == NULL) {
        return true;
    }
    shim_witness(NULL, NULL); /* the next state is put over what this does */
    assert_int_equal(unlink(file_of(lab, name).path), 0);
    bool is_same = try_open(lab, lab->subject.path) == KV_OK && identify(lab) == outcome;
    if (lab->store != NULL) {
        close_dead(lab);
    }
    write_file(file_of(lab, name).path, index->bytes);
    return is_same;
}

/* Lose power again at each change of a recovery: the end must be the same. */
static void explore_recovery(struct lab *lab, int outcome, struct slice tail)
{
    struct crash_trace *kept_trace = lab->recovery;
    struct crash_plan kept_plan = lab->plan;
    struct slice kept_tail = lab->kept;
    lab->recovery = crash_trace_create();
    lab->plan.first = 0;
    lab->plan.contents_max = 24;
    lab->is_nested = true;
    lab->kept = tail.length > 0 ? tail : lab->kept;
    crash_trace_promise_all(kept_trace,
                            (struct crash_promise){(size_t)outcome, (size_t)outcome});
    crash_explore(kept_trace, &lab->plan, open_state, lab);
    crash_trace_destroy(lab->recovery);
    lab->recovery = kept_trace;
    lab->plan = kept_plan;
    lab->kept = kept_tail;
    lab->is_nested = false;
}

/* cut_out: what was cut off the log, valid as long as the state. */
static int recover_state(struct lab *lab, const struct crash_state *state,
                         struct slice *cut_out)
{
    struct crash_state now;
    put_state(lab, state);
    crash_trace_begin(lab->recovery, state, true);
    shim_witness(crash_trace_witness, lab->recovery);
    enum status status = try_open(lab, lab->subject.path);
    int outcome = status == KV_CORRUPT ? OUTCOME_REFUSED
                  : status != KV_OK    ? OUTCOME_FAILED
                                       : identify(lab);
    if (lab->store != NULL) {
        close_dead(lab);
    }
    crash_trace_now(lab->recovery, &now);
    struct slice tail = cut_tail(state, &now, lab->subject_name);
    bool has_changed = crash_trace_change_count(lab->recovery) > 0;
    /* A PATH.new may go, and an older log that is alone may get its name back before it
     * is judged; nothing else may change. */
    size_t changes_max = crash_find(state, lab->subject_name) == NULL ? 2 : 1;
    char new_name[CRASH_NAME_BYTES];
    (void)snprintf(new_name, sizeof new_name, "%s.new", lab->subject_name); /* fits */
    const struct crash_file *new_file = crash_find(state, new_name);
    if (new_file != NULL && new_file->has_garbage &&
        new_file->bytes.length <= OPENING_BYTES) {
        changes_max += 2; /* of what may be somebody's a copy is made first */
    }
    if (outcome == OUTCOME_REFUSED &&
        crash_trace_change_count(lab->recovery) > changes_max) {
        outcome = OUTCOME_MEDDLED;
    }
    if (outcome >= 0 && !is_kept(&now, tail)) {
        outcome = OUTCOME_TAIL_LOST;
    }
    if (crash_trace_broken_rule(lab->recovery) != NULL) {
        printf("%s: %s\n", lab->name, crash_trace_broken_rule(lab->recovery));
        outcome = OUTCOME_FAILED;
    }
    if (outcome >= 0 && has_changed && !is_stable(lab, outcome)) {
        outcome = OUTCOME_UNSTABLE;
    }
    /* A disk that lies may damage the log where the index says that nothing need be read.
     */
    if (outcome >= 0 && !lab->plan.disk_lies && !is_confirmed(lab, outcome)) {
        outcome = OUTCOME_MISLED;
    }
    if (outcome >= 0 && lab->distinct_count % 16 == 0 && !goes_on(lab)) {
        outcome = OUTCOME_STUCK;
    }
    lab->on_disk = now; /* its bytes are not looked at */
    if (outcome >= 0) {
        *cut_out = tail;
    }
    return outcome;
}

/* ---- Judging ---- */

static void tell_violation(struct lab *lab, const struct crash_state *state, int outcome,
                           struct crash_promise allowed, size_t place)
{
    lab->violation_count++;
    if (lab->shown_count++ >= SHOWN_MAX) {
        return;
    }
    const struct crash_file *subject = crash_find(state, lab->subject_name);
    bool has_garbage = subject != NULL && subject->has_garbage;
    const char *text = outcome < 0                        ? outcome_texts[-outcome]
                       : is_within(lab, outcome, allowed) ? "the torn tail is lost from"
                                                          : "found";
    printf(
        "VIOLATION %s parameter %zu kill %llu place %zu%s%s: %s (%d), allowed %zu-%zu\n",
        lab->name, lab->parameter, (unsigned long long)lab->kill, place,
        lab->is_nested ? " in recovery" : "", has_garbage ? " garbage" : "", text,
        outcome, allowed.min, allowed.max);
    for (size_t i = 0; i < state->file_count; i++) {
        printf("    %s: %zu bytes\n", state->files[i].name, state->files[i].bytes.length);
    }
}

/*
 * A refusal is right only for what design.md calls corruption: the tail is as long as a
 * batch that was written, has bytes that nobody wrote, and no sector of it is zero.
 */
static bool may_refuse(const struct lab *lab, const struct crash_state *state)
{
    static const uint8_t zeros[512];
    struct crash_state end;
    crash_trace_now(lab->scenario, &end);
    const struct crash_file *found = crash_find(state, lab->subject_name);
    const struct crash_file *right = crash_find(&end, lab->subject_name);
    if (found == NULL || right == NULL || !found->has_garbage ||
        found->has_middle_length) {
        return false;
    }
    size_t at = 0;
    while (at < found->bytes.length && at < right->bytes.length &&
           found->bytes.bytes[at] == right->bytes.bytes[at]) {
        at++;
    }
    for (at -= at % 512; at + 512 <= found->bytes.length; at += 512) {
        if (memcmp(found->bytes.bytes + at, zeros, 512) == 0) {
            return false;
        }
    }
    return true;
}

static bool is_allowed(const struct lab *lab, const struct crash_state *state,
                       int outcome, struct crash_promise allowed)
{
    if (lab->plan.disk_lies) {
        return outcome == OUTCOME_REFUSED || outcome == OUTCOME_EMPTY ||
               outcome == OUTCOME_DAMAGED ||
               is_within(lab, outcome, (struct crash_promise){0, allowed.max});
    }
    if (outcome == OUTCOME_REFUSED) {
        return may_refuse(lab, state);
    }
    return is_within(lab, outcome, allowed) && is_kept(state, lab->kept);
}

/* The visitor of crash_explore. */
static void open_state(void *context, const struct crash_state *state,
                       struct crash_promise allowed, size_t place)
{
    struct lab *lab = context;
    struct cached *cached = find_cached(lab, state->hash);
    lab->state_count++;
    lab->nested_count += lab->is_nested;
    if (cached->hash == 0) {
        assert_in_range(++lab->cached_count, 1, CACHE_SLOTS / 2);
        struct slice cut = {NULL, 0};
        lab->distinct_count++;
        cached->hash = state->hash == 0 ? 1 : state->hash;
        cached->outcome = recover_state(lab, state, &cut);
        lab->refusal_count += cached->outcome == OUTCOME_REFUSED;
        bool has_changed = crash_trace_change_count(lab->recovery) > 0;
        if (cached->outcome >= 0 && has_changed && !lab->is_nested &&
            lab->changed_count++ % lab->nest_every == 0) {
            explore_recovery(lab, cached->outcome, cut);
        }
    }
    if (!is_allowed(lab, state, cached->outcome, allowed)) {
        tell_violation(lab, state, cached->outcome, allowed, place);
    }
}

/* ---- Scenarios ---- */

/* Begin on an empty directory, and open a store that syncs so. */
static void lab_begin_with(struct lab *lab, enum sync_policy sync)
{
    lab->sync = sync;
    crash_trace_begin(lab->scenario, &(struct crash_state){0}, sync == SYNC_ALWAYS);
    lab_begin(lab);
    lab_open(lab);
}

/* One batch with all keys, each value so many bytes longer than the one before. */
static void lab_set_all(struct lab *lab, size_t step_bytes)
{
    for (size_t i = 0; i < KEYS; i++) {
        lab_set(lab, i, 20 + i * step_bytes);
    }
    (void)lab_commit(lab);
}

/* A log begins, and is closed and opened again. */
static void create(struct lab *lab)
{
    lab_begin(lab);
    lab_open(lab);
    lab_batch(lab, 100 + lab->parameter);
    lab_batch(lab, 700);
    lab_close(lab);
    lab_open(lab);
    lab_batch(lab, 50);
}

/* Sizes around what blocks and records make special, up to 40 KiB. */
static const size_t batch_sizes[] = {
    0,    60,   97,   200,  400,  431,   432,   433,   500,   900,   1500,
    2100, 4000, 4100, 6000, 8200, 12000, 16500, 20000, 24700, 33000, 40960,
};
enum { BATCH_SIZE_COUNT = sizeof batch_sizes / sizeof batch_sizes[0] };

/* Where a batch begins within a sector and a page. */
static const size_t alignments[] = {0,    1,    5,    6,    7,    8,    15,   16,   17,
                                    63,   64,   65,   100,  256,  447,  448,  449,  496,
                                    497,  505,  506,  507,  510,  511,  1000, 2047, 3000,
                                    3583, 4000, 4031, 4032, 4080, 4090, 4095};
enum { ALIGNMENT_COUNT = sizeof alignments / sizeof alignments[0] };

/* Pad the log so that the next batch begins at this place of a page. */
static void align(struct lab *lab, size_t place)
{
    uint64_t length = store_stats(lab->store).log_bytes;
    uint64_t least = length + record_length(2, 7) + SEAL_BYTES;
    uint64_t end = least + (place + 4096 - least % 4096) % 4096;
    lab_set(lab, 0, (size_t)(end - least) + 7);
    if (lab_commit(lab) == KV_OK) { /* else the process died, and is back */
        assert_int_equal(store_stats(lab->store).log_bytes % 4096, place);
    }
}

/* Batches of all sizes at all alignments. */
static void commit(struct lab *lab)
{
    lab_begin(lab);
    lab_open(lab);
    align(lab, alignments[lab->parameter % ALIGNMENT_COUNT]);
    if (lab->kill == 0) {
        lab->plan.first = crash_trace_length(lab->scenario) - 1;
    }
    size_t size = batch_sizes[lab->parameter % BATCH_SIZE_COUNT];
    lab_batch(lab, size);
    lab_batch(lab, 300);
}

/* A write that fails at some byte is cut back, and another batch takes its place. */
static void cut_back(struct lab *lab)
{
    static const size_t rooms[] = {0, 1, 15, 16, 40, 300, 511, 512, 700, 2047, 2900};
    lab_begin(lab);
    lab_open(lab);
    align(lab, alignments[lab->parameter % ALIGNMENT_COUNT]);
    lab_leave_room(lab, rooms[lab->parameter % (sizeof rooms / sizeof rooms[0])]);
    lab_set(lab, 3, 2800);
    lab_delete(lab, 0);
    lab_commit_without_room(lab);
    lab_batch(lab, 400 + lab->parameter * 37 % 3000);
    lab_rest(lab);
}

/* A sync fails, so the process ends; nobody knows what the disk has of the batch, which
 * is cut off by the next start or found whole, and never anything else later. */
static void failed_sync(struct lab *lab)
{
    lab_begin(lab);
    lab_open(lab);
    align(lab, alignments[lab->parameter % ALIGNMENT_COUNT]);
    lab_batch(lab, 250);
    if (lab->kill == 0) {
        size_t first = lab->plan.first;
        shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_LOG, 1, EIO);
        lab->may_die = true;
        lab_set(lab, 1, 150 + lab->parameter * 41);
        assert_int_equal(lab_commit(lab), KV_FATAL);
        lab->plan.first = first;
    }
    lab_set(lab, 1, 150 + lab->parameter * 41);
    (void)lab_commit(lab);
    lab_batch(lab, 90);
}

/* Each batch gets a second seal when nothing follows. */
static void idle_seals(struct lab *lab)
{
    lab_begin(lab);
    lab_open(lab);
    align(lab, alignments[lab->parameter % ALIGNMENT_COUNT]);
    lab_rest(lab);
    lab_batch(lab, 120);
    lab_rest(lab);
    lab_batch(lab, 900);
    lab_close(lab);
    lab_open(lab);
    lab_rest(lab);
    lab_batch(lab, 40);
    lab_close(lab);
}

/* Several batches are on their way to the disk at once. */
static void everysec(struct lab *lab)
{
    lab_begin_with(lab, SYNC_EVERYSEC);
    align(lab, alignments[lab->parameter % ALIGNMENT_COUNT]);
    lab_rest(lab);
    lab_batch(lab, 90);
    lab_batch(lab, 300 + lab->parameter * 53 % 900);
    lab_batch(lab, 60);
    lab_sync(lab);
    lab_batch(lab, 800);
    lab_batch(lab, 50);
    lab_batch(lab, 70);
    lab_leave_room(lab, 333);
    lab_set(lab, 5, 900);
    lab_commit_without_room(lab);
    lab_batch(lab, 200);
    lab_rest(lab);
    lab_batch(lab, 60);
    lab_close(lab);
}

/* The log that a scenario has made so far, with bytes behind it; owned by the lab. */
static struct slice extended_log(struct lab *lab, struct slice more)
{
    struct crash_state now;
    crash_trace_now(lab->scenario, &now);
    struct slice log = crash_find(&now, LOG_NAME)->bytes;
    uint8_t *bytes = malloc(log.length + more.length + 1);
    assert_non_null(bytes);
    memcpy(bytes, log.bytes, log.length);
    memcpy(bytes + log.length, more.bytes, more.length);
    lab->values[lab->value_count++] = bytes;
    return (struct slice){bytes, log.length + more.length};
}

/* A tail without a seal is found at the start, kept aside and cut off. */
static void torn_tail(struct lab *lab)
{
    static const size_t lengths[] = {1, 15, 64, 100, 500, 600, 1100, 2500, 5000};
    size_t length = lengths[lab->parameter % (sizeof lengths / sizeof lengths[0])];
    lab_open(lab);
    align(lab, alignments[lab->parameter * 5 % ALIGNMENT_COUNT]);
    lab_batch(lab, 200);
    struct slice tail = make_value(lab, length < 8 ? 8 : length);
    struct slice log = extended_log(lab, slice_first(tail, length));
    close_dead(lab);
    lab->kept = slice_first(tail, length);
    lab_start_from(lab, log);
    lab_open(lab);
    lab_batch(lab, 333);
}

/* The original's records, without marks: two batches' worth of sets and a deletion. */
static void import(struct lab *lab)
{
    struct image image = {0};
    for (size_t i = 0; i < 5; i++) {
        struct slice value = make_value(lab, 40 + i * lab->parameter * 61);
        image_put(&image, key_of(i % 4), value);
        lab->staged.has[i % 4] = true;
        lab->staged.values[i % 4] = value;
    }
    image_put_text(&image, "", "an empty key");
    image_delete(&image, "k2");
    lab->staged.has[2] = false;
    lab->staged.values[2] = (struct slice){NULL, 0};
    lab->snapshots[lab->snapshot_count++] = lab->staged;
    if (lab->parameter % 2 == 1) {
        struct slice torn = SLICE_LITERAL("\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\7half");
        image_append(&image, torn);
        lab->kept = torn;
    }
    lab_start_from(lab, image_slice(&image));
    image_free(&image);
    lab_open(lab);
    lab_batch(lab, 150);
}

/* One step of a compaction, or whatever else is due; what clients see stays the same. */
static void maintain(struct lab *lab)
{
    if (store_maintain(lab->store, LEISURE_ALL) == KV_FATAL) {
        revive(lab);
    }
}

/* The log is compacted while batches come in between the steps, at other places each. */
static void compaction(struct lab *lab)
{
    enum { STEPS = 8 };
    lab_begin_with(lab, lab->parameter % 3 == 2 ? SYNC_EVERYSEC : SYNC_ALWAYS);
    lab_set_all(lab, lab->parameter * 13);
    lab_batch(lab, 700);
    if (store_compact(lab->store) == KV_FATAL) {
        revive(lab);
    }
    for (size_t step = 0; step < STEPS; step++) {
        if ((lab->parameter + 1) >> (step % 4) & 1) {
            lab_batch(lab, 100 + step * 90);
        }
        if (step == lab->parameter % STEPS) {
            lab_delete(lab, step);
            (void)lab_commit(lab);
        }
        maintain(lab);
    }
    lab_close(lab);
    lab_open(lab);
    lab_batch(lab, 60);
}

/* The saved index of a clean stop, of the next one, and of one without changes. */
static void clean_stops(struct lab *lab)
{
    lab_begin_with(lab, lab->parameter % 4 == 3 ? SYNC_EVERYSEC : SYNC_ALWAYS);
    lab_set_all(lab, lab->parameter * 17);
    lab_close(lab);
    lab_open(lab);
    lab_batch(lab, 90 + lab->parameter * 61);
    lab_delete(lab, lab->parameter % KEYS);
    (void)lab_commit(lab);
    if (lab->parameter % 2 == 0) {
        lab_rest(lab);
    }
    lab_close(lab);
    lab_open(lab);
    lab_close(lab);
    lab_open(lab);
    lab_batch(lab, 400);
    lab_batch(lab, 40);
    lab_close(lab);
}

/* A compaction, and then its saved index in steps, while commands and refused batches
 * come in between. */
static void index_in_steps(struct lab *lab)
{
    enum { STEPS = 9 };
    lab_begin_with(lab, lab->parameter % 3 == 2 ? SYNC_EVERYSEC : SYNC_ALWAYS);
    lab_set_all(lab, 11);
    lab_close(lab); /* an image of the log before the compaction is there, too */
    lab_open(lab);
    lab_delete(lab, 1);
    (void)lab_commit(lab);
    if (store_compact(lab->store) == KV_FATAL) {
        revive(lab);
    }
    for (size_t step = 0; step < STEPS; step++) {
        maintain(lab);
        if ((lab->parameter >> (step % 5) & 1) != 0) {
            lab_batch(lab, 50 + step * 70);
        }
        if (step == 6) {
            lab_delete(lab, lab->parameter % KEYS);
            lab_set(lab, (lab->parameter + 1) % KEYS, 200);
            (void)lab_commit(lab);
        }
        if (step == 5 + lab->parameter % 3) {
            lab_leave_room(lab, 99);
            lab_set(lab, 4, 700);
            lab_commit_without_room(lab);
        }
    }
    lab_batch(lab, 120);
    lab_close(lab);
    lab_open(lab);
    lab_batch(lab, 30);
}

/* Its report goes nowhere. */
static bool salvage_quietly(const struct lab *lab)
{
    int kept_fd = redirect_begin(stdout, "/dev/null");
    enum status status = salvage_log(lab->log.path, lab->subject.path);
    redirect_end(stdout, kept_fd);
    return status == KV_OK;
}

/* What is intact of a damaged log goes to a new one; the old one is never touched. */
static void salvage(struct lab *lab)
{
    lab_open(lab);
    lab_batch(lab, 300);
    lab_batch(lab, 1000 + lab->parameter * 700);
    lab_rest(lab);
    struct snapshot all = lab->staged;
    struct slice log = extended_log(lab, SLICE_LITERAL("damage"));
    close_dead(lab);
    lab->snapshots[0] = (struct snapshot){0}; /* nothing salvaged: a new, empty log */
    lab->snapshots[1] = all;
    lab->snapshot_count = 1;
    lab_start_from(lab, log);
    lab->kept = log;
    lab->snapshot_count = 2;
    promise(lab, 0, 1);
    lab->subject = file_of(lab, SALVAGE_NAME);
    lab->subject_name = SALVAGE_NAME;
    if (!salvage_quietly(lab)) {
        assert_true(lab->may_die);
        lab->may_die = false;
        shim_clear_faults();
        lab->plan.first = crash_trace_length(lab->scenario);
        if (!salvage_quietly(lab)) {
            return; /* the first one got so far that there is a new log already */
        }
    }
    promise(lab, 1, 1);
}

struct scenario {
    const char *name;
    void (*run)(struct lab *lab);
    size_t parameter_count;
    size_t contents_max;
    size_t kill_parameter_count; /* so many of them are run with deaths as well */
    uint64_t nest_every;
};

/* New scenarios go here. */
static const struct scenario scenarios[] = {
    {"create", create, 12, 600, 3, 5},
    {"commit", commit, 448, 1100, 2, 400},
    {"cut back", cut_back, 44, 600, 3, 200},
    {"failed sync", failed_sync, 34, 400, 1, 200},
    {"idle seals", idle_seals, 34, 500, 3, 200},
    {"everysec", everysec, 34, 600, 2, 400},
    {"torn tail", torn_tail, 27, 300, 9, 20},
    {"import", import, 14, 300, 4, 10},
    {"salvage", salvage, 5, 300, 1, 10},
    {"compaction", compaction, 48, 300, 3, 60},
    {"clean stops", clean_stops, 12, 200, 2, 60},
    {"index in steps", index_in_steps, 32, 200, 2, 60},
};
enum { SCENARIO_COUNT = sizeof scenarios / sizeof scenarios[0] };

/* ---- Running them ---- */

static void begin_run(struct lab *lab, size_t parameter, uint64_t kill)
{
    struct crash_state empty = {0};
    shim_reset();
    shim_omit_syncs();
    shim_set_clock(1000);
    shim_set_random(parameter * 7 + 1);
    put_state(lab, &empty);
    lab->dice.state = parameter;
    lab->sync = SYNC_ALWAYS;
    lab->subject = lab->log;
    lab->subject_name = LOG_NAME;
    lab->snapshot_count = 1;
    lab->snapshots[0] = (struct snapshot){0};
    lab->staged = (struct snapshot){0};
    lab->promise = (struct crash_promise){0, 0};
    lab->kept = (struct slice){NULL, 0};
    lab->parameter = parameter;
    lab->kill = kill;
    lab->plan.first = 0;
    lab->plan.seed = parameter;
    crash_trace_begin(lab->scenario, &empty, true);
    shim_witness(crash_trace_witness, lab->scenario);
}

static void end_run(struct lab *lab)
{
    for (size_t i = 0; i < lab->value_count; i++) {
        free(lab->values[i]);
    }
    lab->value_count = 0;
}

/* Returns false if the process did not live long enough to die there. */
static bool run_once(struct lab *lab, const struct scenario *scenario, size_t parameter,
                     uint64_t kill)
{
    begin_run(lab, parameter, kill);
    scenario->run(lab);
    bool has_died = kill > 0 && !lab->may_die;
    lab->may_die = false;
    if (lab->store != NULL) {
        close_dead(lab);
    }
    shim_clear_faults();
    if (crash_trace_broken_rule(lab->scenario) != NULL) {
        lab->violation_count++;
        printf("%s parameter %zu kill %llu: %s\n", scenario->name, parameter,
               (unsigned long long)kill, crash_trace_broken_rule(lab->scenario));
    }
    if (kill == 0 || has_died) {
        crash_trace_now(lab->scenario, &lab->on_disk);
        forget_cache(lab);
        crash_explore(lab->scenario, &lab->plan, open_state, lab);
        crash_trace_now(lab->recovery, &lab->on_disk);
    } else {
        crash_trace_now(lab->scenario, &lab->on_disk);
    }
    end_run(lab);
    return has_died;
}

static void run_scenario(struct lab *lab, const struct scenario *scenario)
{
    size_t count = scenario->parameter_count;
    count = count < 6 ? count : watchdog_scaled(count, 6);
    lab->name = scenario->name;
    lab->nest_every = scenario->nest_every;
    for (size_t parameter = 0; parameter < count; parameter++) {
        lab->plan.contents_max = watchdog_scaled(scenario->contents_max, 20);
        (void)run_once(lab, scenario, parameter, 0);
    }
}

/* The process dies at each change, starts again, goes on, and then the power fails. */
static void run_with_deaths(struct lab *lab, const struct scenario *scenario)
{
    size_t count = watchdog_is_slow() ? 1 : scenario->kill_parameter_count;
    lab->name = scenario->name;
    lab->nest_every = scenario->nest_every;
    for (size_t parameter = 0; parameter < count; parameter++) {
        lab->plan.contents_max = watchdog_scaled(40, 4);
        uint64_t kill = 1;
        while (kill < KILLS_MAX && run_once(lab, scenario, parameter, kill)) {
            kill += watchdog_is_slow() ? 9 : 1;
        }
        assert_in_range(kill, 2, KILLS_MAX - 1);
    }
}

static int lab_setup(void **state)
{
    struct lab *lab = calloc(1, sizeof *lab);
    assert_non_null(lab);
    lab->cache = malloc(CACHE_SLOTS * sizeof lab->cache[0]);
    assert_non_null(lab->cache);
    lab->scenario = crash_trace_create();
    lab->recovery = crash_trace_create();
    lab->again = crash_trace_create();
    tempdir_create(&lab->tempdir);
    lab->log = tempdir_file(&lab->tempdir, LOG_NAME);
    lab->stderr_fd = getenv("KV_TEST_SHOW") == NULL ? redirect_begin(stderr, "/dev/null")
                                                    : dup(STDERR_FILENO);
    *state = lab;
    return 0;
}

static int lab_teardown(void **state)
{
    struct lab *lab = *state;
    shim_reset();
    (void)store_close(lab->store); /* whatever a failed test left it in */
    redirect_end(stderr, lab->stderr_fd);
    tempdir_remove(&lab->tempdir);
    crash_trace_destroy(lab->scenario);
    crash_trace_destroy(lab->recovery);
    crash_trace_destroy(lab->again);
    end_run(lab);
    free(lab->cache);
    free(lab);
    return 0;
}

/* Counted over the whole program. */
static uint64_t total_states;
static uint64_t total_distinct;

static void report(struct lab *lab, const char *what)
{
    printf("%-28s %9llu states, %8llu different ones recovered, %8llu in recovery, "
           "%6llu refused, %llu violations\n",
           what, (unsigned long long)lab->state_count,
           (unsigned long long)lab->distinct_count, (unsigned long long)lab->nested_count,
           (unsigned long long)lab->refusal_count,
           (unsigned long long)lab->violation_count);
    (void)fflush(stdout);       /* so that progress is seen */
    if (!lab->plan.disk_lies) { /* out of promise, so not counted with the others */
        total_states += lab->state_count;
        total_distinct += lab->distinct_count;
    }
}

static void expect_no_violation(struct lab *lab, const char *what)
{
    report(lab, what);
    assert_int_equal(lab->violation_count, 0);
}

static const struct scenario *find_scenario(const char *name)
{
    for (size_t i = 0; i < SCENARIO_COUNT; i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }
    fail_msg("no scenario %s", name);
    return NULL;
}

static void explore_scenario(void **state, const char *name)
{
    run_scenario(*state, find_scenario(name));
    expect_no_violation(*state, name);
}

static void f47_a_new_log_survives_power_loss(void **state)
{
    explore_scenario(state, "create");
}

static void f47_commits_of_all_sizes_and_alignments_survive_power_loss(void **state)
{
    explore_scenario(state, "commit");
}

static void f47_a_failed_write_that_is_cut_back_survives_power_loss(void **state)
{
    explore_scenario(state, "cut back");
}

static void f35_a_failed_sync_and_the_next_start_survive_power_loss(void **state)
{
    explore_scenario(state, "failed sync");
}

static void f47_idle_seals_survive_power_loss(void **state)
{
    explore_scenario(state, "idle seals");
}

static void f47_power_loss_takes_only_batches_that_are_not_synced_yet(void **state)
{
    explore_scenario(state, "everysec");
}

static void f56_recovery_of_a_torn_tail_survives_power_loss(void **state)
{
    explore_scenario(state, "torn tail");
}

static void f97_rewriting_a_log_of_the_original_survives_power_loss(void **state)
{
    explore_scenario(state, "import");
}

static void f88_salvage_survives_power_loss(void **state)
{
    explore_scenario(state, "salvage");
}

static void f63_compaction_while_serving_survives_power_loss(void **state)
{
    explore_scenario(state, "compaction");
}

static void f63_saved_indexes_of_clean_stops_survive_power_loss(void **state)
{
    explore_scenario(state, "clean stops");
}

static void f63_a_saved_index_that_is_taken_in_steps_survives_power_loss(void **state)
{
    explore_scenario(state, "index in steps");
}

static void f94_a_death_and_then_a_power_loss_lose_nothing_acknowledged(void **state)
{
    struct lab *lab = *state;
    for (size_t i = 0; i < SCENARIO_COUNT; i++) {
        run_with_deaths(lab, &scenarios[i]);
    }
    expect_no_violation(lab, "deaths, then power loss");
}

/* Nothing that was not synced is there: the plainest loss, at every place. */
static void f46_the_loss_of_all_that_is_not_synced_breaks_no_promise(void **state)
{
    struct lab *lab = *state;
    for (size_t i = 0; i < SCENARIO_COUNT; i++) {
        lab->name = scenarios[i].name;
        lab->nest_every = scenarios[i].nest_every;
        lab->plan.contents_max = 1;
        size_t count = watchdog_scaled(scenarios[i].parameter_count, 1);
        for (size_t parameter = 0; parameter < count && parameter < 40; parameter++) {
            (void)run_once(lab, &scenarios[i], parameter, 0);
        }
    }
    expect_no_violation(lab, "nothing unsynced is left");
}

/* No sync reaches the disk: what is found is a state of before, or a refusal. */
static void f93_a_disk_that_lies_leaves_an_earlier_state_or_a_refusal(void **state)
{
    struct lab *lab = *state;
    lab->plan.disk_lies = true;
    lab->nest_every = UINT64_MAX;
    for (size_t i = 0; i < SCENARIO_COUNT; i++) {
        lab->name = scenarios[i].name;
        lab->plan.contents_max = watchdog_scaled(24, 4);
        size_t count = watchdog_is_slow() ? 1 : 2;
        for (size_t parameter = 0; parameter < count; parameter++) {
            (void)run_once(lab, &scenarios[i], parameter, 0);
        }
    }
    expect_no_violation(lab, "a disk that lies");
}

static void f47_enough_states_were_tried(void **state)
{
    (void)state;
    printf("%llu states in all, %llu different ones recovered\n",
           (unsigned long long)total_states, (unsigned long long)total_distinct);
    assert_in_range(total_distinct, watchdog_scaled(200000, 1000), UINT32_MAX);
}

#define IN_LAB(test) cmocka_unit_test_setup_teardown(test, lab_setup, lab_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_LAB(f46_the_loss_of_all_that_is_not_synced_breaks_no_promise),
        IN_LAB(f47_a_new_log_survives_power_loss),
        IN_LAB(f47_commits_of_all_sizes_and_alignments_survive_power_loss),
        IN_LAB(f47_a_failed_write_that_is_cut_back_survives_power_loss),
        IN_LAB(f35_a_failed_sync_and_the_next_start_survive_power_loss),
        IN_LAB(f47_idle_seals_survive_power_loss),
        IN_LAB(f47_power_loss_takes_only_batches_that_are_not_synced_yet),
        IN_LAB(f56_recovery_of_a_torn_tail_survives_power_loss),
        IN_LAB(f97_rewriting_a_log_of_the_original_survives_power_loss),
        IN_LAB(f88_salvage_survives_power_loss),
        IN_LAB(f63_compaction_while_serving_survives_power_loss),
        IN_LAB(f63_saved_indexes_of_clean_stops_survive_power_loss),
        IN_LAB(f63_a_saved_index_that_is_taken_in_steps_survives_power_loss),
        IN_LAB(f94_a_death_and_then_a_power_loss_lose_nothing_acknowledged),
        IN_LAB(f93_a_disk_that_lies_leaves_an_earlier_state_or_a_refusal),
        cmocka_unit_test(f47_enough_states_were_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
