/*
 * The order of a compaction's steps. What must be durable before what:
 *
 *     the log's last seal     before  PATH -> PATH.old
 *     PATH.new's opening      before  PATH -> PATH.old
 *     the name PATH.old       before  PATH.new -> PATH
 *     the name PATH           before  any record in it is acknowledged
 *     all copies              before  the drained mark counts (one seal covers both)
 *     the drained mark        before  PATH.old is cut or removed
 */
#include "engine/compact.h"

#include "base/clock.h"
#include "base/diag.h"
#include "engine/worth.h"
#include "file/room.h"
#include "log/scan.h"

#include <assert.h>
#include <inttypes.h>

/* Records of the older log are looked up so many together. */
enum { GROUP_RECORDS = 32 };

static struct log *log_of(const struct compaction *compaction)
{
    return keydir_log(compaction->keydir);
}

/* Values must leave the room that copying needs: without it nothing would be given back.
 */
static void keep_room(const struct compaction *compaction)
{
    compaction->transaction->copied_bytes =
        compaction->is_drained
            ? 0
            : worth_bytes_to_finish(compaction->keydir, compaction->cursor);
}

void compact_init(struct compaction *compaction, const struct files *files,
                  struct transaction *transaction)
{
    *compaction = (struct compaction){
        .files = files,
        .keydir = transaction->keydir,
        .transaction = transaction,
        .cursor = OPENING_BYTES,
        .retry_ms = COMPACT_RETRY_MS,
        .keep_until_ms = clock_now_ms() + COMPACT_KEEP_MS,
        .read_wait_ms = READ_RETRY_MS_MIN,
    };
    keep_room(compaction);
}

/* A new log at PATH.new, durable, that continues the one at PATH. */
static enum status make_successor(const struct compaction *compaction,
                                  const struct log *older, struct log **log_out)
{
    struct opening opening = {
        .generation = log_end(older)->generation + 1,
        .older_id = log_end(older)->log_id,
        .older_length = log_end(older)->offset,
    };
    return log_create(compaction->files, &opening, log_out);
}

/* PATH -> PATH.old, then PATH.new -> PATH; both or, unless that is fatal, none. */
static enum status change_names(struct log *log, struct log *successor)
{
    enum status status = log_rename(log, FILES_OLD);
    if (status != KV_OK) {
        return status;
    }
    status = log_publish(successor, NULL);
    if (status == KV_OK || status == KV_FATAL) {
        return status;
    }
    return log_rename(log, "") == KV_OK ? status : KV_FATAL;
}

/* Everything that may be wanting is got first: until then PATH keeps its name. */
static enum status succeed(struct compaction *compaction, struct log *log)
{
    struct log *successor = NULL;
    enum status status =
        log_cover(log); /* it is going to be walked through, to its end */
    if (status == KV_OK) {
        status = make_successor(compaction, log, &successor);
    }
    if (status != KV_OK) {
        return status;
    }
    status = change_names(log, successor);
    if (status != KV_OK) {
        (void)log_close(successor); /* it counts for nothing */
        if (status != KV_FATAL) {
            files_drop(compaction->files, FILES_NEW);
        }
        return status;
    }
    keydir_push_log(compaction->keydir, successor);
    log_read_at_random(successor, true);
    return KV_OK;
}

/* Lack of memory is told once, until it works again. */
static void tell_no_memory(struct compaction *compaction, enum status status)
{
    if (status == KV_NO_MEMORY && !compaction->has_told_no_memory) {
        diag_warnx("%s: not enough memory for a compaction; waiting for it",
                   log_path(log_of(compaction)));
    }
    compaction->has_told_no_memory = status == KV_NO_MEMORY;
}

/* What is missing is told once, until there is room again. */
static bool has_room(struct compaction *compaction)
{
    struct io_space space = room_measure(compaction->files, 0);
    uint64_t needed =
        worth_bytes_to_begin(compaction->keydir) + room_kept(&space, COMPACT_SPARE_BYTES);
    bool has_room = space.free_bytes >= needed;
    if (!has_room && !compaction->has_told_no_room) {
        diag_warnx("%s: no room on the disk for a compaction; waiting for it",
                   log_path(log_of(compaction)));
    }
    compaction->has_told_no_room = !has_room;
    return has_room;
}

/* Somebody may ask for a compaction again and again: why it does not begin is told once a
 * minute. */
static bool is_to_be_told(struct compaction *compaction, enum status status)
{
    if (status == KV_OK || status == KV_FATAL) {
        compaction->told_begin_ms = 0;
        return true;
    }
    return clock_is_due(&compaction->told_begin_ms, LOG_MESSAGE_MS);
}

enum status compact_begin(struct compaction *compaction)
{
    struct log *log = log_of(compaction);
    assert(log_durable_length(log) == log_length(log) && log_staged_bytes(log) == 0);
    compaction->retry_ms = COMPACT_RETRY_MS;
    if (!has_room(compaction)) {
        return KV_NO_SPACE;
    }
    diag_hold();
    enum status status = succeed(compaction, log);
    tell_no_memory(compaction, status);
    diag_release(is_to_be_told(compaction, status));
    if (status != KV_OK) {
        compaction->retry_ms = LOG_MESSAGE_MS; /* each time it is told */
        return status;
    }
    compaction->cursor = OPENING_BYTES;
    compaction->position = 0;
    compaction->has_found_more = false;
    compaction->unread_count = 0;
    compaction->is_stuck = false;
    compaction->is_waiting = false;
    compaction->is_drained = false;
    compaction->keep_until_ms = clock_now_ms() + COMPACT_KEEP_MS;
    compaction->read_wait_ms = READ_RETRY_MS_MIN;
    compaction->has_told_unread = false;
    keep_room(compaction);
    return KV_OK;
}

bool compact_has_work(const struct compaction *compaction)
{
    /* A damaged record may be overwritten or deleted, and then nothing holds the rest up.
     */
    return keydir_older_log(compaction->keydir) != NULL &&
           (!compaction->is_stuck || keydir_older_entries(compaction->keydir) == 0);
}

uint64_t compact_due_ms(const struct compaction *compaction)
{
    return compaction->is_drained ? compaction->keep_until_ms : 0;
}

bool compact_is_mended(const struct compaction *compaction)
{
    return (compaction->is_stuck || compaction->is_waiting) && !compaction->is_drained &&
           keydir_older_log(compaction->keydir) != NULL &&
           keydir_older_entries(compaction->keydir) == 0;
}

/* A record of the older log, and the hash of its key. */
struct walked {
    uint64_t offset;
    uint64_t hash;
    struct record record;
};

/*
 * Walk on over some records, up to one that begins at `end` or behind it: each waits for
 * the memory of the index, so it is fetched for all of them at once. Returns how many.
 */
static size_t walk_group(const struct keydir *keydir, struct record_walk *walk,
                         uint64_t end, struct walked group_out[GROUP_RECORDS])
{
    size_t count = 0;
    while (count < GROUP_RECORDS && walk->offset + walk->record.length < end &&
           record_next(walk)) {
        struct walked *walked = &group_out[count++];
        walked->offset = walk->offset;
        walked->record = walk->record;
        walked->hash = keydir_hash(keydir, walk->record.key);
        index_prefetch(keydir->index, walked->hash);
    }
    return count;
}

/* Stage a copy of a record, if it is live and passes its checksum. */
static enum status copy_record(const struct compaction *compaction,
                               const struct walked *walked)
{
    const struct record *record = &walked->record;
    struct keydir *keydir = compaction->keydir;
    struct change change = {.hash = walked->hash, .before.offset = walked->offset};
    if (record_is_mark(record) ||
        !keydir_find_at(keydir, change.hash, keydir_older_log(keydir), &change.before) ||
        keydir_verify(keydir, &change.before) != KV_OK) {
        return KV_OK; /* dead, or damaged: then it must not get a new checksum */
    }
    return transaction_copy(compaction->transaction, change, record->key, record->value);
}

/* Behind damage the records are found again after the next seal. */
static void skip_damage(struct compaction *compaction, const struct log *older)
{
    struct scan scan = {
        .log = log_bytes(older),
        .log_id = log_end(older)->log_id,
        .offset = compaction->cursor,
    };
    compaction->cursor = scan_skip_damage(&scan) ? scan.offset : log_length(older);
}

/* Go through the older log from the cursor, for one slice or as far as damage. */
static enum status copy_slice(struct compaction *compaction)
{
    const struct log *older = keydir_older_log(compaction->keydir);
    uint64_t end = compaction->cursor + COMPACT_SLICE_BYTES;
    log_will_read(older, compaction->cursor, COMPACT_SLICE_BYTES);
    enum status status = KV_OK;
    struct record_walk walk = record_walk_begin(
        slice_after(log_bytes(older), (size_t)compaction->cursor), compaction->cursor);
    struct walked group[GROUP_RECORDS];
    size_t count = GROUP_RECORDS;
    while (status == KV_OK && count == GROUP_RECORDS) {
        count = walk_group(compaction->keydir, &walk, end, group);
        for (size_t i = 0; status == KV_OK && i < count; i++) {
            status = copy_record(compaction, &group[i]);
            compaction->cursor = group[i].offset + group[i].record.length;
        }
    }
    if (status == KV_OK && compaction->cursor < end &&
        compaction->cursor < log_length(older)) {
        skip_damage(compaction, older);
    }
    return status;
}

/* What is tried again and again was told the first time. */
static enum status read_entry(const struct compaction *compaction,
                              const struct location *location, struct slice *value_out)
{
    const struct keydir *keydir = compaction->keydir;
    enum status status =
        compaction->has_told_unread ? keydir_verify(keydir, location) : KV_OK;
    return status == KV_OK ? keydir_read(keydir, location, value_out) : status;
}

/* Stage a copy of the record of an entry, if it is in the older log and undamaged. */
static enum status copy_entry(struct compaction *compaction,
                              const struct location *location)
{
    const struct keydir *keydir = compaction->keydir;
    struct slice value;
    if (!keydir_is_older(keydir, location)) {
        return KV_OK;
    }
    enum status status = read_entry(compaction, location, &value);
    if (status != KV_OK) {
        compaction->unread_count += status == KV_IO ? 1 : 0;
        return KV_OK;
    }
    struct slice key = keydir_key(keydir, location);
    struct change change = {.hash = keydir_hash(keydir, key), .before = *location};
    if (!keydir_find_at(keydir, change.hash, keydir_older_log(keydir), &change.before)) {
        compaction->unread_count++; /* the key could be read just before, not any more */
        return KV_OK;
    }
    compaction->has_found_more = true;
    return transaction_copy(compaction->transaction, change, key, value);
}

/*
 * Entries move meanwhile, and those behind a removed one may move to where the walk has
 * been: only a walk that finds nothing, and amid which nothing was removed, is the last.
 */
static void end_sweep(struct compaction *compaction)
{
    uint64_t removal_count = index_removal_count(compaction->keydir->index);
    bool is_last =
        !compaction->has_found_more && removal_count == compaction->removal_count;
    compaction->is_stuck = is_last && compaction->unread_count == 0;
    compaction->is_waiting = is_last && compaction->unread_count > 0;
    if (compaction->has_found_more) {
        compaction->read_wait_ms = READ_RETRY_MS_MIN;
    }
    compaction->has_found_more = false;
    compaction->unread_count = 0;
    compaction->removal_count = removal_count;
    compaction->position = 0;
}

/*
 * Damage in the framing of one record hides intact ones behind it from the walk through
 * the log, but not from the index: go through that for what is left, for one slice.
 */
static enum status sweep_slice(struct compaction *compaction)
{
    const struct log *log = log_of(compaction);
    struct location location;
    enum status status = KV_OK;
    for (int i = 0; status == KV_OK && i < COMPACT_SLICE_ENTRIES &&
                    log_staged_bytes(log) < COMPACT_SLICE_BYTES;
         i++) {
        if (!index_walk(compaction->keydir->index, &compaction->position, &location)) {
            end_sweep(compaction);
            return KV_OK;
        }
        status = copy_entry(compaction, &location);
    }
    return status;
}

static void tell_stuck(const struct compaction *compaction)
{
    const struct log *older = keydir_older_log(compaction->keydir);
    diag_warnx(
        "%s%s: %" PRIu64 " records are damaged and cannot be copied; the file is kept",
        log_path(older), log_suffix(older), keydir_older_entries(compaction->keydir));
}

/* Whether the walk through the index found nothing but what cannot be read. */
static bool is_between_reads(const struct compaction *compaction)
{
    return compaction->is_waiting && compaction->position == 0;
}

/* A disk that may take seconds to say that it cannot is asked ever more rarely. */
static enum status wait_for_reads(struct compaction *compaction)
{
    const struct log *older = keydir_older_log(compaction->keydir);
    if (!compaction->has_told_unread) {
        diag_warnx(
            "%s%s: some of %" PRIu64
            " records that are left cannot be read; the file is kept, and they are "
            "read again later",
            log_path(older), log_suffix(older), keydir_older_entries(compaction->keydir));
    }
    compaction->has_told_unread = true;
    uint64_t wait_ms = compaction->read_wait_ms;
    compaction->retry_ms = wait_ms;
    compaction->read_wait_ms =
        2 * wait_ms < READ_RETRY_MS_MAX ? 2 * wait_ms : READ_RETRY_MS_MAX;
    return KV_IO;
}

/*
 * Copy one slice and make it durable, or take all of the step back: also if reading the
 * older log failed meanwhile, since zeros may have come in the place of what was
 * verified. Such a step is taken again, and then finds them.
 */
static enum status copy_step(struct compaction *compaction)
{
    struct transaction *transaction = compaction->transaction;
    struct compaction before = *compaction;
    const struct log *older = keydir_older_log(compaction->keydir);
    uint64_t fault_count = log_fault_count(older);
    bool is_in_log = compaction->cursor < log_length(older);
    enum status status = is_in_log ? copy_slice(compaction) : sweep_slice(compaction);
    bool is_doubtful = log_fault_count(older) != fault_count;
    if (status != KV_OK || is_doubtful) {
        transaction_abort(transaction);
    } else if (log_staged_bytes(log_of(compaction)) > 0) {
        status = transaction_commit(transaction);
    }
    if (status != KV_OK || is_doubtful) {
        *compaction = before;
    } else if (compaction->is_stuck) {
        tell_stuck(compaction);
    } else if (is_between_reads(compaction)) {
        status = wait_for_reads(compaction);
    }
    return status;
}

/* Nothing points at the older log any more: say so, durably. */
static enum status finish_copying(struct compaction *compaction)
{
    struct log *log = log_of(compaction);
    enum status status = log_reserve(log, 0, DRAINED_BYTES);
    if (status != KV_OK) {
        return status;
    }
    log_stage_drained(log, log_end(keydir_older_log(compaction->keydir))->log_id);
    status = transaction_commit(compaction->transaction);
    if (status == KV_OK) {
        status = log_sync(log); /* whatever the policy */
    }
    compaction->is_drained = status == KV_OK;
    return status;
}

static enum status drop_step(struct compaction *compaction)
{
    struct log *older = keydir_older_log(compaction->keydir);
    /* This gives room back, and whether the next one still fits is judged by it. */
    log_look_again(log_of(compaction));
    /* One that goes at once is left whole to whoever still reads it. */
    if (log_length(older) > CUT_STEP_BYTES && !log_has_other_links(older)) {
        return log_cut_away(older, CUT_STEP_BYTES);
    }
    enum status status = log_remove(older);
    if (status != KV_OK) {
        return status;
    }
    keydir_pop_older_log(compaction->keydir);
    compaction->finished_count++;
    return KV_OK;
}

static enum status take_step(struct compaction *compaction)
{
    if (compaction->is_drained) {
        compaction->retry_ms = LOG_MESSAGE_MS; /* each time it is told */
        return drop_step(compaction);
    }
    compaction->retry_ms = COMPACT_RETRY_MS;
    const struct keydir *keydir = compaction->keydir;
    if (keydir_older_entries(keydir) == 0) {
        return finish_copying(compaction);
    }
    if (is_between_reads(compaction) && !log_read_all_again(keydir_older_log(keydir))) {
        return wait_for_reads(compaction);
    }
    return copy_step(compaction);
}

enum status compact_step(struct compaction *compaction)
{
    assert(log_staged_bytes(log_of(compaction)) == 0);
    enum status status = take_step(compaction);
    tell_no_memory(compaction, status);
    keep_room(compaction);
    return status;
}

unsigned compact_percent(const struct compaction *compaction)
{
    const struct log *older = keydir_older_log(compaction->keydir);
    return older == NULL || compaction->is_drained
               ? 100
               : (unsigned)(compaction->cursor * 100 / log_length(older));
}
