/*
 * The record of a directory's changes, and the states that may be left of them.
 */
#include "support/crash.h"

#include "support/dice.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ENTRIES_MAX = 1024,
    INODES_MAX = 128,
    PENDING_MAX = 256,
    BLOCKS_MAX = 192,
    SUBSETS_MAX = 256, /* of blocks, all of them tried up to this number */
    FULL_BLOCKS = 8,
    MIDDLE_LENGTHS_MAX = 6,
    DIRECTORY_FULL_MAX = 6, /* changes of names, all subsets tried up to this number */
    DIRECTORY_SAMPLES = 48,
};

struct bytes {
    uint8_t *at;
    size_t length;
    size_t capacity;
};

enum kind {
    KIND_PROMISE,
    KIND_CREATE,
    KIND_WRITE,
    KIND_TRUNCATE,
    KIND_SYNC,
    KIND_SYNC_NAMES,
    KIND_RENAME,
    KIND_UNLINK
};

struct entry {
    enum kind kind;
    size_t inode;
    char name[CRASH_NAME_BYTES];
    char to[CRASH_NAME_BYTES];
    uint64_t offset;
    struct bytes bytes; /* of a write */
    struct crash_promise promise;
};

struct name {
    char text[CRASH_NAME_BYTES];
    size_t inode;
};

struct names {
    struct name items[CRASH_FILES_MAX];
    size_t count;
};

struct inode {
    struct bytes first; /* when the trace began */
    struct bytes now;
    bool is_dirty;
    size_t synced_length;
    uint64_t written_end; /* of the last write, and where it was to end */
    uint64_t wanted_end;
};

struct crash_trace {
    struct entry entries[ENTRIES_MAX];
    size_t entry_count;
    size_t change_count;
    struct inode inodes[INODES_MAX];
    size_t inode_count;
    struct names first_names;
    struct names names;
    struct crash_promise promise;
    bool syncs_always;
    bool has_new_names; /* created or renamed since the directory was synced */
    const char *broken_rule;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void must_fit(size_t count, size_t max)
{
    if (count >= max) {
        (void)fprintf(stderr, "crash: a table of %zu is too small\n", max);
        abort();
    }
}

/* Bytes between the old end and a new one beyond it are zero. */
static void bytes_resize(struct bytes *bytes, size_t length)
{
    if (length > bytes->capacity) {
        bytes->capacity = length + length / 2 + 64;
        bytes->at = must(realloc(bytes->at, bytes->capacity));
    }
    if (length > bytes->length) {
        memset(bytes->at + bytes->length, 0, length - bytes->length);
    }
    bytes->length = length;
}

static void bytes_put(struct bytes *bytes, uint64_t offset, struct slice more)
{
    size_t end = (size_t)offset + more.length;
    if (more.length == 0) {
        return;
    }
    if (end > bytes->length) {
        bytes_resize(bytes, end);
    }
    memcpy(bytes->at + offset, more.bytes, more.length);
}

static void bytes_copy(struct bytes *to, struct slice from)
{
    to->length = 0;
    bytes_put(to, 0, from);
}

static void bytes_free(struct bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct bytes){0};
}

static struct slice bytes_slice(const struct bytes *bytes)
{
    return (struct slice){bytes->at, bytes->length};
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 32;
}

static uint64_t hash_bytes(struct slice bytes)
{
    uint64_t hash = mix(0, bytes.length);
    while (bytes.length >= 8) {
        uint64_t word;
        memcpy(&word, bytes.bytes, sizeof word);
        hash = mix(hash, word);
        bytes = slice_after(bytes, 8);
    }
    for (size_t i = 0; i < bytes.length; i++) {
        hash = mix(hash, bytes.bytes[i]);
    }
    return hash;
}

/* ---- Names ---- */

static struct name *find_name(struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].text, text) == 0) {
            return &names->items[i];
        }
    }
    return NULL;
}

static void put_name(struct names *names, const char *text, size_t inode)
{
    struct name *name = find_name(names, text);
    if (name == NULL) {
        must_fit(names->count, CRASH_FILES_MAX);
        name = &names->items[names->count++];
        (void)snprintf(name->text, sizeof name->text, "%s", text); /* known to fit */
    }
    name->inode = inode;
}

static void remove_name(struct names *names, const char *text, size_t inode)
{
    struct name *name = find_name(names, text);
    if (name != NULL && name->inode == inode) {
        *name = names->items[--names->count];
    }
}

static void apply_names(struct names *names, const struct entry *entry)
{
    if (entry->kind == KIND_CREATE) {
        put_name(names, entry->name, entry->inode);
    } else if (entry->kind == KIND_RENAME) {
        remove_name(names, entry->name, entry->inode);
        put_name(names, entry->to, entry->inode);
    } else {
        remove_name(names, entry->name, entry->inode);
    }
}

const struct crash_file *crash_find(const struct crash_state *state, const char *name)
{
    for (size_t i = 0; i < state->file_count; i++) {
        if (strcmp(state->files[i].name, name) == 0) {
            return &state->files[i];
        }
    }
    return NULL;
}

/* ---- Recording ---- */

struct crash_trace *crash_trace_create(void)
{
    return must(calloc(1, sizeof(struct crash_trace)));
}

static void forget(struct crash_trace *trace)
{
    for (size_t i = 0; i < trace->entry_count; i++) {
        bytes_free(&trace->entries[i].bytes);
    }
    for (size_t i = 0; i < trace->inode_count; i++) {
        bytes_free(&trace->inodes[i].first);
        bytes_free(&trace->inodes[i].now);
    }
    trace->entry_count = 0;
    trace->change_count = 0;
    trace->inode_count = 0;
    trace->first_names.count = 0;
    trace->names.count = 0;
    trace->promise = (struct crash_promise){0, 0};
    trace->has_new_names = false;
    trace->broken_rule = NULL;
}

void crash_trace_destroy(struct crash_trace *trace)
{
    forget(trace);
    free(trace);
}

static size_t add_inode(struct crash_trace *trace)
{
    must_fit(trace->inode_count, INODES_MAX);
    trace->inodes[trace->inode_count] = (struct inode){0};
    return trace->inode_count++;
}

void crash_trace_begin(struct crash_trace *trace, const struct crash_state *start,
                       bool syncs_always)
{
    forget(trace);
    trace->syncs_always = syncs_always;
    for (size_t i = 0; i < start->file_count; i++) {
        size_t inode = add_inode(trace);
        bytes_copy(&trace->inodes[inode].first, start->files[i].bytes);
        bytes_copy(&trace->inodes[inode].now, start->files[i].bytes);
        trace->inodes[inode].synced_length = start->files[i].bytes.length;
        put_name(&trace->first_names, start->files[i].name, inode);
    }
    trace->names = trace->first_names;
}

static struct entry *add_entry(struct crash_trace *trace, enum kind kind)
{
    must_fit(trace->entry_count, ENTRIES_MAX);
    struct entry *entry = &trace->entries[trace->entry_count++];
    *entry = (struct entry){.kind = kind, .promise = trace->promise};
    trace->change_count +=
        kind != KIND_PROMISE && kind != KIND_SYNC && kind != KIND_SYNC_NAMES;
    return entry;
}

static bool is_named(const char *name, const char *end)
{
    size_t length = strlen(name);
    return length >= strlen(end) && strcmp(name + length - strlen(end), end) == 0;
}

static void demand(struct crash_trace *trace, bool is_right, const char *rule)
{
    if (!is_right && trace->broken_rule == NULL) {
        trace->broken_rule = rule;
    }
}

static void note_write(struct crash_trace *trace, size_t number,
                       const struct shim_change *change)
{
    struct inode *inode = &trace->inodes[number];
    struct slice written = {change->bytes, (size_t)change->length};
    bool is_rest_of_write =
        change->offset == inode->written_end && inode->written_end < inode->wanted_end;
    /* These count for nothing until they are synced, and are written from their start. */
    bool is_side_file =
        is_named(change->name, ".new") || strstr(change->name, ".torn.") != NULL;
    demand(trace,
           !trace->syncs_always || is_side_file || !inode->is_dirty || is_rest_of_write,
           "a byte was written behind a seal that is not synced");
    bytes_put(&inode->now, change->offset, written);
    inode->is_dirty = true;
    inode->written_end = change->offset + change->length;
    inode->wanted_end = change->offset + change->wanted;
    struct entry *entry = add_entry(trace, KIND_WRITE);
    entry->inode = number;
    entry->offset = change->offset;
    bytes_copy(&entry->bytes, written);
}

static void note_truncate(struct crash_trace *trace, size_t number,
                          const struct shim_change *change)
{
    struct inode *inode = &trace->inodes[number];
    /* What was never synced may go at any time, a batch that found no room, say. */
    demand(trace,
           !trace->has_new_names || change->offset >= inode->now.length ||
               change->offset >= inode->synced_length,
           "a file was cut before the name of the copy was durable");
    bytes_resize(&inode->now, (size_t)change->offset);
    inode->is_dirty = true;
    inode->wanted_end = inode->written_end;
    struct entry *entry = add_entry(trace, KIND_TRUNCATE);
    entry->inode = number;
    entry->offset = change->offset;
}

static struct entry *add_name_entry(struct crash_trace *trace, enum kind kind,
                                    const char *name, size_t inode)
{
    struct entry *entry = add_entry(trace, kind);
    (void)snprintf(entry->name, sizeof entry->name, "%s", name); /* known to fit */
    entry->inode = inode;
    return entry;
}

/* Whether a file that is no side file has bytes that are not synced. */
static bool is_log_dirty(const struct crash_trace *trace)
{
    bool is_dirty = false;
    for (size_t i = 0; i < trace->names.count; i++) {
        const struct name *name = &trace->names.items[i];
        is_dirty = is_dirty ||
                   (is_named(name->text, ".log") && trace->inodes[name->inode].is_dirty);
    }
    return is_dirty;
}

static void note_rename(struct crash_trace *trace, size_t inode,
                        const struct shim_change *change)
{
    demand(trace, !trace->inodes[inode].is_dirty,
           "a file took another name before it was synced");
    demand(trace, !is_named(change->to, ".index") || !is_log_dirty(trace),
           "a saved index got its name before its log was synced");
    struct entry *entry = add_name_entry(trace, KIND_RENAME, change->name, inode);
    (void)snprintf(entry->to, sizeof entry->to, "%s", change->to); /* known to fit */
    apply_names(&trace->names, entry);
    trace->has_new_names = true;
}

static void note_unlink(struct crash_trace *trace, size_t inode,
                        const struct shim_change *change)
{
    /* What is half made may go at any time; anything else only when what replaces it
     * is durable. If syncs come later, other batches may be on their way meanwhile. */
    bool is_settled = !trace->has_new_names;
    for (size_t i = 0; i < trace->names.count && trace->syncs_always; i++) {
        size_t other = trace->names.items[i].inode;
        is_settled = is_settled && (other == inode || !trace->inodes[other].is_dirty);
    }
    demand(trace, is_settled || is_named(change->name, ".new"),
           "a file was unlinked before what replaces it was durable");
    apply_names(&trace->names, add_name_entry(trace, KIND_UNLINK, change->name, inode));
}

void crash_trace_witness(void *context, const struct shim_change *change)
{
    struct crash_trace *trace = context;
    if (change->call == SHIM_FSYNC && change->role == SHIM_DIRECTORY) {
        trace->has_new_names = false;
        (void)add_entry(trace, KIND_SYNC_NAMES);
        return;
    }
    struct name *name = find_name(&trace->names, change->name);
    if (change->call == SHIM_OPENAT && name == NULL && change->may_create &&
        change->role != SHIM_LOCK) {
        size_t inode = add_inode(trace);
        apply_names(&trace->names,
                    add_name_entry(trace, KIND_CREATE, change->name, inode));
        trace->has_new_names = true;
    }
    if (change->call == SHIM_OPENAT || name == NULL) {
        return;
    }
    size_t inode = name->inode;
    if (change->call == SHIM_PWRITE) {
        note_write(trace, inode, change);
    } else if (change->call == SHIM_FTRUNCATE) {
        note_truncate(trace, inode, change);
    } else if (change->call == SHIM_RENAMEAT) {
        note_rename(trace, inode, change);
    } else if (change->call == SHIM_UNLINKAT) {
        note_unlink(trace, inode, change);
    } else {
        trace->inodes[inode].is_dirty = false;
        trace->inodes[inode].synced_length = trace->inodes[inode].now.length;
        add_entry(trace, KIND_SYNC)->inode = inode;
    }
}

void crash_trace_promise(struct crash_trace *trace, struct crash_promise promise)
{
    trace->promise = promise;
    (void)add_entry(trace, KIND_PROMISE);
}

void crash_trace_promise_all(struct crash_trace *trace, struct crash_promise promise)
{
    for (size_t i = 0; i < trace->entry_count; i++) {
        trace->entries[i].promise = promise;
    }
}

/* The hash is made from the hashes of the parts, so that unchanged files cost nothing. */
static struct crash_file *add_file(struct crash_state *state, const char *name,
                                   struct slice bytes, uint64_t hash)
{
    must_fit(state->file_count, CRASH_FILES_MAX);
    struct crash_file *file = &state->files[state->file_count++];
    *file = (struct crash_file){0};
    (void)snprintf(file->name, sizeof file->name, "%s", name); /* known to fit */
    file->bytes = bytes;
    /* A sum, since the order of names means nothing. */
    state->hash += mix(hash_bytes(slice_of_text(name)), hash);
    return file;
}

void crash_trace_now(const struct crash_trace *trace, struct crash_state *state_out)
{
    *state_out = (struct crash_state){0};
    for (size_t i = 0; i < trace->names.count; i++) {
        struct slice bytes = bytes_slice(&trace->inodes[trace->names.items[i].inode].now);
        (void)add_file(state_out, trace->names.items[i].text, bytes, hash_bytes(bytes));
    }
}

size_t crash_trace_length(const struct crash_trace *trace)
{
    return trace->entry_count;
}

size_t crash_trace_change_count(const struct crash_trace *trace)
{
    return trace->change_count;
}

const char *crash_trace_broken_rule(const struct crash_trace *trace)
{
    return trace->broken_rule;
}

/* ---- Exploring ---- */

/* One version of a file that may be on the disk. */
struct content {
    struct bytes bytes;
    uint64_t hash;
    bool has_garbage;
    bool has_middle_length;
};

struct contents {
    struct content *items;
    size_t count;
};

enum fill { FILL_ZERO, FILL_GARBAGE, FILL_MIXED, FILL_COUNT };

/* How to build one version: how long the file is, and which version each block has that
 * was written to. */
struct choice {
    size_t block_bytes;
    size_t length;
    bool is_middle_length;
    enum fill fill;
    uint16_t versions[BLOCKS_MAX]; /* 0: the durable one, else an image behind it */
};

struct choices {
    struct choice *items;
    size_t count;
    size_t capacity;
};

struct disk_inode {
    struct bytes durable;
    size_t pending[PENDING_MAX]; /* writes and truncations since the last sync */
    size_t pending_count;
    struct contents contents; /* built for the place that is explored */
    uint64_t durable_hash;
};

struct disk {
    const struct crash_trace *trace;
    const struct crash_plan *plan;
    struct dice dice;
    struct names durable_names;
    size_t pending_names[PENDING_MAX];
    size_t pending_name_count;
    struct disk_inode inodes[INODES_MAX];
};

/* The file after each of its pending changes; image 0 is what the disk has for sure. */
struct images {
    struct bytes items[PENDING_MAX + 1];
    bool is_write[PENDING_MAX + 1];
    uint64_t from[PENDING_MAX + 1];
    uint64_t to[PENDING_MAX + 1];
    size_t count;
    size_t first_length; /* the first image whose length the file can have */
};

static void free_images(struct images *images)
{
    for (size_t i = 0; i < images->count; i++) {
        bytes_free(&images->items[i]);
    }
}

static void make_images(const struct disk *disk, const struct disk_inode *inode,
                        unsigned truncations, struct images *images)
{
    unsigned truncation = 0;
    images->count = 1;
    images->first_length = 0;
    images->items[0] = (struct bytes){0};
    bytes_copy(&images->items[0], bytes_slice(&inode->durable));
    for (size_t i = 0; i < inode->pending_count; i++) {
        const struct entry *entry = &disk->trace->entries[inode->pending[i]];
        bool is_write = entry->kind == KIND_WRITE;
        if (!is_write && (truncations >> truncation++ & 1) == 0) {
            continue;
        }
        size_t at = images->count++;
        struct bytes *image = &images->items[at];
        *image = (struct bytes){0};
        bytes_copy(image, bytes_slice(&images->items[at - 1]));
        images->is_write[at] = is_write;
        images->from[at] = entry->offset;
        images->to[at] = entry->offset + entry->bytes.length;
        if (is_write) {
            bytes_put(image, entry->offset, bytes_slice(&entry->bytes));
        } else {
            bytes_resize(image, (size_t)entry->offset);
            images->first_length = at;
            if (images->items[0].length > entry->offset) {
                bytes_resize(&images->items[0], (size_t)entry->offset);
            }
        }
    }
}

/* A block that was written to, and the images that changed it. */
struct block {
    size_t number;
    uint16_t versions[PENDING_MAX];
    size_t version_count;
};

struct blocks {
    struct block items[BLOCKS_MAX];
    size_t count;
    size_t subset_count; /* SUBSETS_MAX + 1: too many to try */
};

static void find_blocks(const struct images *images, size_t block_bytes,
                        struct blocks *blocks)
{
    size_t end = 0;
    blocks->count = 0;
    blocks->subset_count = 1;
    for (size_t i = 1; i < images->count; i++) {
        end = images->is_write[i] && images->to[i] > end ? (size_t)images->to[i] : end;
    }
    must_fit(end / 512, BLOCKS_MAX);
    for (size_t number = 0; number * block_bytes < end; number++) {
        struct block *block = &blocks->items[blocks->count];
        block->number = number;
        block->version_count = 0;
        for (size_t i = 1; i < images->count; i++) {
            if (images->is_write[i] && images->from[i] < (number + 1) * block_bytes &&
                images->to[i] > number * block_bytes) {
                block->versions[block->version_count++] = (uint16_t)i;
            }
        }
        if (block->version_count > 0) {
            blocks->count++;
            blocks->subset_count *= block->version_count + 1;
            if (blocks->subset_count > SUBSETS_MAX) {
                blocks->subset_count = SUBSETS_MAX + 1;
            }
        }
    }
    if (blocks->count > FULL_BLOCKS) {
        blocks->subset_count = SUBSETS_MAX + 1;
    }
}

static struct choice *add_choice(struct choices *choices, const struct choice *like)
{
    if (choices->count == choices->capacity) {
        choices->capacity = choices->capacity * 2 + 64;
        choices->items =
            must(realloc(choices->items, choices->capacity * sizeof choices->items[0]));
    }
    choices->items[choices->count] = *like;
    memset(choices->items[choices->count].versions, 0, sizeof like->versions);
    return &choices->items[choices->count++];
}

static uint16_t newest(const struct block *block)
{
    return block->versions[block->version_count - 1];
}

/* Every combination, by counting. */
static void choose_every_subset(const struct blocks *blocks, const struct choice *like,
                                struct choices *choices)
{
    for (size_t number = 0; number < blocks->subset_count; number++) {
        struct choice *choice = add_choice(choices, like);
        size_t rest = number;
        for (size_t i = 0; i < blocks->count; i++) {
            const struct block *block = &blocks->items[i];
            size_t digit = rest % (block->version_count + 1);
            rest /= block->version_count + 1;
            choice->versions[block->number] = digit == 0 ? 0 : block->versions[digit - 1];
        }
    }
}

/* What goes wrong is most often one block missing, one alone there, or a prefix. */
static void choose_subsets(struct disk *disk, const struct blocks *blocks,
                           const struct choice *like, struct choices *choices)
{
    enum { SHAPES = 5, TRIES = 60 };
    (void)add_choice(choices, like); /* none of the blocks */
    for (size_t number = 0; number < TRIES; number++) {
        struct choice *choice = add_choice(choices, like);
        size_t special = (size_t)dice_below(&disk->dice, blocks->count);
        for (size_t i = 0; i < blocks->count; i++) {
            const struct block *block = &blocks->items[i];
            size_t any = (size_t)dice_below(&disk->dice, block->version_count + 1);
            uint16_t random = any == 0 ? 0 : block->versions[any - 1];
            uint16_t chosen = newest(block);
            switch (number == 0 ? SHAPES : number % SHAPES) {
            case 0: /* one missing or old */
                chosen = i == special ? random : chosen;
                break;
            case 1: /* one alone */
                chosen = i == special ? chosen : 0;
                break;
            case 2: /* a prefix */
                chosen = i < special ? chosen : 0;
                break;
            case 3:
                chosen = random;
                break;
            case 4: /* a suffix */
                chosen = i >= special ? chosen : 0;
                break;
            default: /* all of them */
                break;
            }
            choice->versions[block->number] = chosen;
        }
    }
}

static void choose_for_length(struct disk *disk, const struct blocks *blocks,
                              struct choice like, struct choices *choices)
{
    for (int fill = 0; fill < FILL_COUNT; fill++) {
        like.fill = (enum fill)fill;
        if (blocks->count == 0) {
            (void)add_choice(choices, &like);
        } else if (blocks->subset_count <= SUBSETS_MAX) {
            choose_every_subset(blocks, &like, choices);
        } else {
            choose_subsets(disk, blocks, &like, choices);
        }
    }
}

static bool has_length(const struct images *images, size_t length)
{
    for (size_t i = images->first_length; i < images->count; i++) {
        if (images->items[i].length == length) {
            return true;
        }
    }
    return false;
}

/* Lengths that the file had, and some block ends between the least and the greatest. */
static void choose_lengths(struct disk *disk, const struct images *images,
                           const struct blocks *blocks, struct choice like,
                           struct choices *choices)
{
    size_t least = SIZE_MAX;
    size_t greatest = 0;
    for (size_t i = images->first_length; i < images->count; i++) {
        size_t length = images->items[i].length;
        least = length < least ? length : least;
        greatest = length > greatest ? length : greatest;
        like.length = length;
        choose_for_length(disk, blocks, like, choices);
    }
    size_t step = like.block_bytes;
    size_t count = greatest / step - least / step;
    for (size_t i = 0; i < count && i < MIDDLE_LENGTHS_MAX; i++) {
        size_t which =
            count <= MIDDLE_LENGTHS_MAX ? i : (size_t)dice_below(&disk->dice, count);
        like.length = (least / step + 1 + which) * step;
        like.is_middle_length = !has_length(images, like.length);
        choose_for_length(disk, blocks, like, choices);
    }
}

/* Bytes of somebody else's old file: the same at the same place, never zero. */
static uint8_t garbage_at(size_t at)
{
    struct dice dice = {at / 8};
    uint8_t byte = (uint8_t)(dice_next(&dice) >> (at % 8 * 8));
    return byte == 0 ? 0x5a : byte;
}

/* Whether bytes of a block that never reached the disk are garbage; else they are zero.
 */
static bool is_garbage_block(const struct choice *choice, size_t number)
{
    return choice->fill == FILL_GARBAGE ||
           (choice->fill == FILL_MIXED && number % 2 == 0);
}

/* A block that has no version but the durable one, which ends at `known`. */
static void build_missing(const struct choice *choice, size_t number, size_t known,
                          struct content *content)
{
    size_t from = number * choice->block_bytes;
    size_t to = from + choice->block_bytes;
    from = from > known ? from : known;
    to = to < choice->length ? to : choice->length;
    if (is_garbage_block(choice, number)) {
        for (size_t at = from; at < to; at++) {
            content->bytes.at[at] = garbage_at(at);
            content->has_garbage = true;
        }
    }
}

static void build_block(const struct choice *choice, size_t number,
                        const struct bytes *image, struct bytes *bytes)
{
    size_t from = number * choice->block_bytes;
    size_t to = from + choice->block_bytes;
    to = to < choice->length ? to : choice->length;
    memset(bytes->at + from, 0, to - from);
    size_t end = to < image->length ? to : image->length;
    if (end > from) {
        memcpy(bytes->at + from, image->at + from, end - from);
    }
}

static void build(const struct choice *choice, const struct images *images,
                  struct content *content)
{
    *content = (struct content){.has_middle_length = choice->is_middle_length};
    struct bytes *bytes = &content->bytes;
    const struct bytes *durable = &images->items[0];
    size_t known = durable->length < choice->length ? durable->length : choice->length;
    bytes_put(bytes, 0, (struct slice){durable->at, known});
    bytes_resize(bytes, choice->length);
    for (size_t number = 0; number * choice->block_bytes < choice->length; number++) {
        uint16_t version = number < BLOCKS_MAX ? choice->versions[number] : 0;
        if (version == 0) {
            build_missing(choice, number, known, content);
        } else {
            build_block(choice, number, &images->items[version], bytes);
        }
    }
    content->hash = hash_bytes(bytes_slice(bytes));
}

static bool is_known_content(const struct contents *contents, uint64_t hash)
{
    for (size_t i = 0; i < contents->count; i++) {
        if (contents->items[i].hash == hash) {
            return true;
        }
    }
    return false;
}

/* These two are never left to chance: nothing that is pending is there, or all of it. */
enum { CERTAIN_CHOICES = 2 };

static void choose_certain(const struct images *images, const struct blocks *blocks,
                           struct choice like, struct choices *choices)
{
    like.length = images->items[images->first_length].length;
    (void)add_choice(choices, &like);
    like.length = images->items[images->count - 1].length;
    struct choice *all = add_choice(choices, &like);
    for (size_t i = 0; i < blocks->count; i++) {
        all->versions[blocks->items[i].number] = newest(&blocks->items[i]);
    }
}

/* Build what was chosen, each content once. */
static void build_chosen(struct disk *disk, const struct images *images,
                         struct choices *choices, struct contents *contents)
{
    size_t max = disk->plan->contents_max;
    contents->items = must(realloc(contents->items, (contents->count + max + 1) *
                                                        sizeof contents->items[0]));
    for (size_t i = 0; i < choices->count && i < max; i++) {
        if (choices->count > max && i >= CERTAIN_CHOICES) {
            size_t other = i + (size_t)dice_below(&disk->dice, choices->count - i);
            struct choice kept = choices->items[i];
            choices->items[i] = choices->items[other];
            choices->items[other] = kept;
        }
        struct content *content = &contents->items[contents->count];
        build(&choices->items[i], images, content);
        if (is_known_content(contents, content->hash)) {
            bytes_free(&content->bytes);
        } else {
            contents->count++;
        }
    }
}

static unsigned count_truncations(const struct disk *disk, const struct disk_inode *inode)
{
    unsigned count = 0;
    for (size_t i = 0; i < inode->pending_count; i++) {
        count += disk->trace->entries[inode->pending[i]].kind == KIND_TRUNCATE;
    }
    return count;
}

/* Everything that may be on the disk of one file. */
static void make_contents(struct disk *disk, struct disk_inode *inode)
{
    static struct images images;
    static struct blocks blocks;
    unsigned truncation_count = count_truncations(disk, inode);
    unsigned every = truncation_count > 3 ? 7 : (1u << truncation_count) - 1;
    for (unsigned truncations = 0; truncations <= every; truncations++) {
        struct choices choices = {0};
        /* More than three of them: only all or none are worth a look. */
        unsigned done =
            truncation_count > 3 && truncations > 0 ? UINT32_MAX : truncations;
        make_images(disk, inode, done, &images);
        for (size_t block_bytes = 512; block_bytes <= 4096; block_bytes *= 8) {
            struct choice like = {.block_bytes = block_bytes};
            find_blocks(&images, block_bytes, &blocks);
            if (choices.count == 0) {
                choose_certain(&images, &blocks, like, &choices);
            }
            choose_lengths(disk, &images, &blocks, like, &choices);
        }
        build_chosen(disk, &images, &choices, &inode->contents);
        free(choices.items);
        free_images(&images);
        if (truncation_count > 3 && truncations > 0) {
            break;
        }
    }
}

static void free_contents(struct disk_inode *inode)
{
    for (size_t i = 0; i < inode->contents.count; i++) {
        bytes_free(&inode->contents.items[i].bytes);
    }
    free(inode->contents.items);
    inode->contents = (struct contents){0};
}

/* The directory when only some of its changes since its last sync are there. */
static struct names names_with(const struct disk *disk, uint64_t subset)
{
    struct names names = disk->durable_names;
    for (size_t i = 0; i < disk->pending_name_count; i++) {
        bool is_done = i >= 64 || (subset >> i & 1) != 0;
        if (is_done) {
            apply_names(&names, &disk->trace->entries[disk->pending_names[i]]);
        }
    }
    return names;
}

struct visit {
    crash_visitor *visit;
    void *context;
    size_t place;
    struct crash_promise promise;
};

/* Build and show one state: content i of the files that are pending, in turn. */
static void show_state(const struct disk *disk, const struct names *names,
                       const size_t picks[CRASH_FILES_MAX], const struct visit *visit)
{
    struct crash_state state = {0};
    for (size_t i = 0; i < names->count; i++) {
        const struct disk_inode *inode = &disk->inodes[names->items[i].inode];
        if (inode->contents.count == 0) {
            (void)add_file(&state, names->items[i].text, bytes_slice(&inode->durable),
                           inode->durable_hash);
            continue;
        }
        const struct content *content = &inode->contents.items[picks[i]];
        struct crash_file *file = add_file(&state, names->items[i].text,
                                           bytes_slice(&content->bytes), content->hash);
        file->has_garbage = content->has_garbage;
        file->has_middle_length = content->has_middle_length;
    }
    visit->visit(visit->context, &state, visit->promise, visit->place);
}

static void show_names(struct disk *disk, const struct names *names,
                       const struct visit *visit)
{
    size_t picks[CRASH_FILES_MAX] = {0};
    size_t open_count = 0;
    size_t last_open = 0;
    size_t most = 1;
    for (size_t i = 0; i < names->count; i++) {
        size_t count = disk->inodes[names->items[i].inode].contents.count;
        if (count > 0) {
            open_count++;
            last_open = i;
            most = count > most ? count : most;
        }
    }
    for (size_t i = 0; i < most; i++) {
        for (size_t j = 0; j < names->count; j++) {
            size_t count = disk->inodes[names->items[j].inode].contents.count;
            picks[j] = count == 0 ? 0 : (size_t)dice_below(&disk->dice, count);
        }
        if (open_count == 1) {
            picks[last_open] = i; /* every one of them */
        }
        show_state(disk, names, picks, visit);
    }
}

static void explore_place(struct disk *disk, const struct visit *visit)
{
    for (size_t i = 0; i < disk->trace->inode_count; i++) {
        if (disk->inodes[i].pending_count > 0) {
            make_contents(disk, &disk->inodes[i]);
        }
    }
    size_t count = disk->pending_name_count;
    bool is_every = count <= DIRECTORY_FULL_MAX;
    size_t subset_count = is_every ? (size_t)1 << count : DIRECTORY_SAMPLES;
    for (size_t i = 0; i < subset_count; i++) {
        uint64_t subset = is_every ? i : i == 0 ? UINT64_MAX : dice_next(&disk->dice);
        struct names names = names_with(disk, subset);
        show_names(disk, &names, visit);
    }
    for (size_t i = 0; i < disk->trace->inode_count; i++) {
        free_contents(&disk->inodes[i]);
    }
}

static void settle_inode(struct disk_inode *inode, const struct crash_trace *trace)
{
    for (size_t i = 0; i < inode->pending_count; i++) {
        const struct entry *entry = &trace->entries[inode->pending[i]];
        if (entry->kind == KIND_WRITE) {
            bytes_put(&inode->durable, entry->offset, bytes_slice(&entry->bytes));
        } else {
            bytes_resize(&inode->durable, (size_t)entry->offset);
        }
    }
    inode->pending_count = 0;
    inode->durable_hash = hash_bytes(bytes_slice(&inode->durable));
}

/* Bring the disk from before an entry to behind it. */
static void replay(struct disk *disk, size_t at)
{
    const struct entry *entry = &disk->trace->entries[at];
    struct disk_inode *inode = &disk->inodes[entry->inode];
    switch (entry->kind) {
    case KIND_PROMISE:
        break;
    case KIND_WRITE:
    case KIND_TRUNCATE:
        must_fit(inode->pending_count, PENDING_MAX);
        inode->pending[inode->pending_count++] = at;
        break;
    case KIND_CREATE:
    case KIND_RENAME:
    case KIND_UNLINK:
        must_fit(disk->pending_name_count, PENDING_MAX);
        disk->pending_names[disk->pending_name_count++] = at;
        break;
    case KIND_SYNC:
        if (!disk->plan->disk_lies) {
            settle_inode(inode, disk->trace);
        }
        break;
    case KIND_SYNC_NAMES:
        if (!disk->plan->disk_lies) {
            disk->durable_names = names_with(disk, UINT64_MAX);
            disk->pending_name_count = 0;
        }
        break;
    }
}

void crash_explore(const struct crash_trace *trace, const struct crash_plan *plan,
                   crash_visitor *visit, void *context)
{
    struct disk *disk = must(calloc(1, sizeof *disk));
    disk->trace = trace;
    disk->plan = plan;
    disk->dice.state = plan->seed;
    disk->durable_names = trace->first_names;
    for (size_t i = 0; i < trace->inode_count; i++) {
        bytes_copy(&disk->inodes[i].durable, bytes_slice(&trace->inodes[i].first));
        disk->inodes[i].durable_hash = hash_bytes(bytes_slice(&disk->inodes[i].durable));
    }
    for (size_t at = 0; at < trace->entry_count; at++) {
        replay(disk, at);
        if (at >= plan->first) {
            struct visit here = {visit, context, at, trace->entries[at].promise};
            explore_place(disk, &here);
        }
    }
    for (size_t i = 0; i < trace->inode_count; i++) {
        bytes_free(&disk->inodes[i].durable);
    }
    free(disk);
}
