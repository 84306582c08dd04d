/*
 * Each file keeps what is durable and, in order, the changes since. What the system
 * shows is in a real file without a name.
 */
#define _GNU_SOURCE /* memfd_create */
#include "world/disk.h"

#include "support/dice.h"
#include "world/clock.h"
#include "world/mappings.h"
#include "world/others.h"
#include "world/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MANY_BLOCKS = 256 };
enum { HEADER_BYTES = 16, FILES_MAX = 48, NAMES_MAX = 24, NAME_CHANGES_MAX = 64 };

ssize_t __real_pwrite(int fd, const void *bytes, size_t length, off_t offset);
ssize_t __real_pread(int fd, void *bytes, size_t length, off_t offset);
int __real_ftruncate(int fd, off_t length);

/* A write, or a truncation where is_write is false. */
struct change {
    bool is_write;
    bool is_short;   /* the next one goes on where it ends */
    uint64_t offset; /* the new length, if it is none */
    size_t length;
    size_t data; /* where its bytes stand in `data` */
};

struct file {
    int fd; /* the real one, for ever */
    bool is_used;
    bool is_stale; /* a sync failed: memory and disk differ, and nobody would write */
    unsigned holders;
    uint64_t length;
    struct bytes durable;
    uint64_t dirty_since_us; /* the first of the changes */
    struct change *changes;
    size_t change_count;
    size_t believed_count; /* of them: the disk said that it has them */
    size_t change_capacity;
    struct bytes data;
};

struct name {
    char text[DISK_NAME_BYTES];
    size_t file;
};

struct names {
    struct name items[NAMES_MAX];
    size_t count;
};

/* from: empty if it is created; to: empty if it is removed. */
struct name_change {
    char from[DISK_NAME_BYTES];
    char to[DISK_NAME_BYTES];
    size_t file;
};

static struct file files[FILES_MAX];
static size_t files_made;
static struct names now;
static struct names durable;
static struct name_change name_changes[NAME_CHANGES_MAX];
static size_t name_change_count;
static uint64_t used_bytes;
static uint64_t limit_bytes;
static bool has_failed_sync;
static bool has_garbage;
static bool is_lying;
static uint64_t overwrite_count;

static void must(bool is_so, const char *what)
{
    if (!is_so) {
        violation("the world is too small", "%s", what);
    }
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

static void apply(struct names *names, const struct name_change *change)
{
    struct name *old = find_name(names, change->from);
    if (old != NULL && old->file == change->file) {
        *old = names->items[--names->count];
    }
    if (change->to[0] == '\0') {
        return;
    }
    struct name *name = find_name(names, change->to);
    if (name == NULL) {
        must(names->count < NAMES_MAX, "names");
        name = &names->items[names->count++];
        memcpy(name->text, change->to, sizeof name->text);
    }
    name->file = change->file;
}

static bool is_named(const struct names *names, size_t file)
{
    for (size_t i = 0; i < names->count; i++) {
        if (names->items[i].file == file) {
            return true;
        }
    }
    return false;
}

/* A file that nobody holds, and no disk could still have, may be another one. */
static void reuse_files(void)
{
    for (size_t i = 0; i < files_made; i++) {
        bool is_wanted =
            files[i].holders > 0 || is_named(&now, i) || is_named(&durable, i);
        for (size_t c = 0; c < name_change_count; c++) {
            is_wanted = is_wanted || name_changes[c].file == i;
        }
        if (files[i].is_used && !is_wanted) {
            used_bytes -= files[i].length;
            files[i].is_used = false;
            mappings_forget_file(i);
        }
    }
}

static void change_name(const char *from, const char *to, size_t file)
{
    if (name_change_count == NAME_CHANGES_MAX) { /* the disk gets to it by itself */
        apply(&durable, &name_changes[0]);
        name_change_count--;
        memmove(name_changes, name_changes + 1,
                name_change_count * sizeof name_changes[0]);
    }
    struct name_change *change = &name_changes[name_change_count++];
    (void)snprintf(change->from, sizeof change->from, "%s", from); /* known to fit */
    (void)snprintf(change->to, sizeof change->to, "%s", to);
    change->file = file;
    apply(&now, change);
    process_note_lasting();
    process_note_progress();
}

size_t disk_find(const char *name)
{
    struct name *found = find_name(&now, name);
    return found == NULL ? DISK_NONE : found->file;
}

size_t disk_find_role(enum role role)
{
    for (size_t i = 0; i < now.count; i++) {
        if (role_of(now.items[i].text) == role) {
            return now.items[i].file;
        }
    }
    return DISK_NONE;
}

enum role disk_role(size_t file)
{
    for (size_t i = 0; i < now.count; i++) {
        if (now.items[i].file == file) {
            return role_of(now.items[i].text);
        }
    }
    return ROLE_OTHER;
}

bool disk_rename(const char *from, const char *to)
{
    size_t file = disk_find(from);
    if (file != DISK_NONE) {
        change_name(from, to, file);
        reuse_files();
    }
    return file != DISK_NONE;
}

bool disk_unlink(const char *name)
{
    size_t file = disk_find(name);
    if (file != DISK_NONE) {
        change_name(name, "", file);
        reuse_files();
    }
    return file != DISK_NONE;
}

void disk_sync_names(void)
{
    process_note_lasting();
    if (is_lying) {
        return;
    }
    durable = now;
    name_change_count = 0;
    reuse_files();
}

/* ---- Contents ---- */

static size_t take_file(void)
{
    size_t at = 0;
    while (at < files_made && files[at].is_used) {
        at++;
    }
    must(at < FILES_MAX, "files");
    if (at == files_made) {
        files[files_made++].fd = memfd_create("world", MFD_CLOEXEC);
        must(files[at].fd >= 0, "real descriptors");
    }
    return at;
}

static void forget_changes(struct file *file)
{
    file->change_count = 0;
    file->believed_count = 0;
    file->data.length = 0;
}

size_t disk_create(const char *name)
{
    size_t at = take_file();
    struct file *file = &files[at];
    must(__real_ftruncate(file->fd, 0) == 0, "memory");
    file->is_used = true;
    file->is_stale = false;
    file->holders = 0;
    file->length = 0;
    file->durable.length = 0;
    forget_changes(file);
    change_name("", name, at);
    return at;
}

void disk_hold(size_t file)
{
    files[file].holders++;
}

void disk_release(size_t file)
{
    files[file].holders--;
    reuse_files();
}

uint64_t disk_length(size_t file)
{
    return files[file].length;
}

unsigned disk_link_count(size_t file)
{
    return is_named(&now, file) ? 1 : 0;
}

int disk_real_fd(size_t file)
{
    return files[file].fd;
}

static struct change *add_change(struct file *file)
{
    process_note_lasting();
    if (file->change_count == file->believed_count) {
        file->dirty_since_us = world_fair_us();
    }
    if (file->change_count == file->change_capacity) {
        file->change_capacity = file->change_capacity * 2 + 16;
        file->changes =
            resize(file->changes, file->change_capacity * sizeof *file->changes);
    }
    return &file->changes[file->change_count++];
}

size_t disk_write(size_t number, const void *bytes, size_t length, uint64_t offset)
{
    struct file *file = &files[number];
    uint64_t end = offset + length;
    uint64_t growth = end > file->length ? end - file->length : 0;
    uint64_t room = disk_room();
    if (growth > room) {
        length -= growth - room < length ? (size_t)(growth - room) : length;
        end = offset + length;
        growth = end > file->length ? end - file->length : 0;
    }
    if (length == 0) {
        return 0;
    }
    *add_change(file) = (struct change){
        .is_write = true, .offset = offset, .length = length, .data = file->data.length};
    bytes_put(&file->data, bytes, length);
    must(__real_pwrite(file->fd, bytes, length, (off_t)offset) == (ssize_t)length,
         "memory");
    overwrite_count += growth == 0 ? 1 : 0;
    file->length += growth;
    used_bytes += growth;
    process_note_progress();
    return length;
}

void disk_note_short(size_t number)
{
    struct file *file = &files[number];
    if (file->change_count > 0) {
        file->changes[file->change_count - 1].is_short = true;
    }
}

void disk_truncate(size_t number, uint64_t length)
{
    struct file *file = &files[number];
    *add_change(file) = (struct change){.offset = length};
    must(__real_ftruncate(file->fd, (off_t)length) == 0, "memory");
    used_bytes = used_bytes - file->length + length;
    file->length = length;
    process_note_progress();
}

static void apply_change(struct bytes *bytes, const struct file *file,
                         const struct change *change)
{
    size_t end = (size_t)change->offset + change->length;
    if (!change->is_write || end > bytes->length) {
        bytes_set_length(bytes, end);
    }
    if (change->is_write) {
        memcpy(bytes->at + change->offset, file->data.at + change->data, change->length);
    }
}

bool disk_has_other_length(size_t file)
{
    return files[file].length != files[file].durable.length;
}

/* The first of its changes are the disk's now. */
static void reach_disk(struct file *file, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        apply_change(&file->durable, file, &file->changes[i]);
    }
    file->change_count -= count;
    memmove(file->changes, file->changes + count,
            file->change_count * sizeof *file->changes);
    if (file->change_count == 0) {
        forget_changes(file);
    }
}

void disk_sync(size_t number)
{
    struct file *file = &files[number];
    process_note_lasting();
    if (is_lying) {
        file->believed_count = file->change_count;
    } else {
        reach_disk(file, file->change_count);
    }
}

bool disk_is_unsafe(void)
{
    size_t log = disk_find_role(ROLE_LOG);
    if (log == DISK_NONE) {
        return false;
    }
    bool is_named_for_good = false;
    for (size_t i = 0; i < durable.count; i++) {
        is_named_for_good =
            is_named_for_good ||
            (durable.items[i].file == log && role_of(durable.items[i].text) == ROLE_LOG);
    }
    return files[log].change_count > files[log].believed_count ||
           (!is_named_for_good && !is_lying);
}

bool disk_has(size_t number, uint64_t end)
{
    const struct file *file = &files[number];
    bool is_long = file->durable.length >= end;
    for (size_t i = 0; i < file->change_count; i++) {
        const struct change *change = &file->changes[i];
        if (change->is_write && change->offset < end) {
            return false;
        }
        is_long = is_long || !change->is_write;
    }
    return is_long;
}

uint64_t disk_unsafe_since_us(void)
{
    size_t log = disk_find_role(ROLE_LOG);
    bool is_dirty =
        log != DISK_NONE && files[log].change_count > files[log].believed_count;
    return is_dirty ? files[log].dirty_since_us : world_fair_us();
}

/* ---- What a disk may keep ---- */

/* One version of a file that is being chosen. */
struct choice {
    struct dice dice;
    uint64_t done_truncations; /* a bit each, of the first 64 */
    size_t block_bytes;
    unsigned shape; /* how blocks are chosen */
    size_t special; /* the block that differs, or where a prefix ends */
    unsigned fill;  /* 0: zeros, 1: garbage, 2: by turns */
};

static bool is_done(const struct file *file, const struct choice *choice, size_t at)
{
    size_t number = 0;
    for (size_t i = 0; i < at; i++) {
        number += file->changes[i].is_write ? 0 : 1;
    }
    return file->changes[at].is_write || number >= 64 ||
           (choice->done_truncations >> number & 1) != 0;
}

/* Bytes of somebody else's old file, never zero. */
static unsigned char garbage_at(size_t at)
{
    struct dice dice = {at / 8};
    unsigned char byte = (unsigned char)(dice_next(&dice) >> (at % 8 * 8));
    return byte == 0 ? 0x5a : byte;
}

/* How many of the changes the block shows, and whether any touch it. */
static size_t choose_version(struct choice *choice, const struct file *file, size_t block)
{
    size_t any = (size_t)dice_below(&choice->dice, file->change_count + 1);
    switch (choice->shape) {
    case 0: /* one missing or old */
        return block == choice->special ? any : file->change_count;
    case 1: /* one alone */
        return block == choice->special ? file->change_count : 0;
    case 2: /* a prefix */
        return block < choice->special ? file->change_count : 0;
    case 3:
        return any;
    case 4: /* a suffix */
        return block >= choice->special ? file->change_count : 0;
    default: /* all of them */
        return file->change_count;
    }
}

/*
 * So many changes, and what goes on with the last of them: a call that fell short and the
 * one behind it are one write, of which no block and no length shows the half. Else the
 * contract's rule, that a sector is there whole or not at all, would not hold.
 */
static size_t with_its_rest(const struct file *file, size_t version)
{
    const struct change *changes = file->changes;
    while (version > 0 && version < file->change_count && changes[version - 1].is_short &&
           changes[version].is_write &&
           changes[version].offset ==
               changes[version - 1].offset + changes[version - 1].length) {
        version++;
    }
    return version;
}

/* Copy what the first `version` changes wrote into one block. */
static void show_block(const struct file *file, const struct choice *choice,
                       size_t version, size_t from, struct bytes *bytes)
{
    size_t to = from + choice->block_bytes;
    to = to < bytes->length ? to : bytes->length;
    for (size_t i = 0; i < version; i++) {
        const struct change *change = &file->changes[i];
        size_t start = (size_t)change->offset;
        if (!change->is_write) {
            if (start < to && is_done(file, choice, i)) {
                size_t clear = start > from ? start : from;
                memset(bytes->at + clear, 0, to - clear);
            }
            continue;
        }
        size_t end = start + change->length;
        size_t first = start > from ? start : from;
        size_t last = end < to ? end : to;
        if (first < last) {
            memcpy(bytes->at + first, file->data.at + change->data + (first - start),
                   last - first);
        }
    }
}

/* Lengths that the file had since a truncation that is done, or a block's end between. */
static size_t choose_length(struct choice *choice, const struct file *file)
{
    size_t length = file->durable.length;
    size_t least = length;
    size_t greatest = length;
    size_t picked = length;
    size_t seen = 1;
    for (size_t i = 0; i < file->change_count; i++) {
        const struct change *change = &file->changes[i];
        size_t end = (size_t)change->offset + change->length;
        if (change->is_write) {
            length = end > length ? end : length;
        } else if (is_done(file, choice, i)) {
            length = end;
            least = greatest = length;
            seen = 0;
        }
        if (with_its_rest(file, i + 1) != i + 1) {
            continue;
        }
        least = length < least ? length : least;
        greatest = length > greatest ? length : greatest;
        seen++;
        picked = dice_below(&choice->dice, seen) == 0 ? length : picked;
    }
    size_t inner = greatest / choice->block_bytes - least / choice->block_bytes;
    if (choice->shape > 4) {
        return length;
    }
    if (inner > 0 && dice_below(&choice->dice, 4) == 0) {
        size_t number = (size_t)dice_below(&choice->dice, inner);
        return (least / choice->block_bytes + 1 + number) * choice->block_bytes;
    }
    return picked;
}

struct range {
    size_t first;
    size_t end;
};

/* The blocks that any change touched, or that the disk has yet to know. */
static struct range find_touched(const struct file *file, const struct choice *choice,
                                 size_t known, size_t length)
{
    size_t step = choice->block_bytes;
    size_t block_count = (length + step - 1) / step;
    struct range touched = {known / step, length > known ? block_count : 0};
    for (size_t i = 0; i < file->change_count; i++) {
        const struct change *change = &file->changes[i];
        size_t first = (size_t)change->offset / step;
        size_t end = ((size_t)change->offset + change->length + step - 1) / step;
        end = change->is_write && end < block_count ? end : block_count;
        touched.first = first < touched.first ? first : touched.first;
        touched.end = end > touched.end ? end : touched.end;
    }
    return touched;
}

/* Build it in place of what is durable; the changes are gone. */
static void choose_content(struct file *file, uint64_t seed)
{
    struct choice choice = {.dice = {seed}};
    choice.shape = (unsigned)dice_below(&choice.dice, 7);
    choice.block_bytes = dice_below(&choice.dice, 2) == 0 ? 512 : 4096;
    choice.done_truncations = choice.shape > 4 ? WORLD_ALL : dice_next(&choice.dice);
    choice.fill = (unsigned)dice_below(&choice.dice, 3);
    size_t length = choose_length(&choice, file);
    size_t known = file->durable.length < length ? file->durable.length : length;
    struct bytes *bytes = &file->durable;
    bytes_set_length(bytes, known);
    bytes_set_length(bytes, length);
    struct range touched = find_touched(file, &choice, known, length);
    size_t count = touched.end > touched.first ? touched.end - touched.first : 1;
    if (choice.shape == 3 && count > MANY_BLOCKS) {
        choice.shape = 0; /* of very many each by itself nothing would be left to read */
    }
    choice.special = touched.first + (size_t)dice_below(&choice.dice, count);
    for (size_t block = touched.first; block < touched.end; block++) {
        size_t version = with_its_rest(file, choose_version(&choice, file, block));
        size_t from = block * choice.block_bytes;
        bool is_garbage = choice.fill == 1 || (choice.fill == 2 && block % 2 == 0);
        size_t to =
            from + choice.block_bytes < length ? from + choice.block_bytes : length;
        for (size_t at = from > known ? from : known;
             version == 0 && is_garbage && at < to; at++) {
            bytes->at[at] = garbage_at(at);
            has_garbage = true;
        }
        show_block(file, &choice, version, from, bytes);
    }
    forget_changes(file);
}

static void show_durable(struct file *file)
{
    must(__real_ftruncate(file->fd, 0) == 0, "memory");
    size_t length = file->durable.length;
    must(__real_pwrite(file->fd, file->durable.at, length, 0) == (ssize_t)length,
         "memory");
    used_bytes = used_bytes - file->length + length;
    file->length = length;
    file->is_stale = false;
}

void disk_fail_sync(size_t number, uint64_t seed)
{
    enum role role = disk_role(number);
    struct file *file = &files[number];
    process_note_lasting();
    /* What a disk that lies was given before, it gives back as long as it has power. */
    reach_disk(file, file->believed_count);
    file->believed_count = 0;
    choose_content(file, seed);
    file->is_stale = true;
    bool is_log = role == ROLE_LOG || role == ROLE_OLD || others_have_touched();
    has_failed_sync = has_failed_sync || is_log;
}

bool disk_has_failed_sync(void)
{
    return has_failed_sync;
}

bool disk_take_failed_sync(void)
{
    bool has_failed = has_failed_sync;
    has_failed_sync = false;
    return has_failed;
}

void disk_forget_cache(size_t number)
{
    struct file *file = &files[number];
    if (!file->is_stale) {
        return;
    }
    process_note_lasting();
    /* What was changed since would have reached the disk; then it hides the rest. */
    reach_disk(file, file->change_count);
    file->believed_count = 0;
    /* The length is in memory for as long as the system runs; what is missing is zero. */
    bytes_set_length(&file->durable, (size_t)file->length);
    show_durable(file);
}

bool disk_has_garbage(void)
{
    return has_garbage;
}

void disk_note_judged(void)
{
    has_garbage = false;
}

static void choose_names(uint64_t seed)
{
    struct dice dice = {seed};
    uint64_t subset = dice_below(&dice, 3) == 0 ? WORLD_ALL : dice_next(&dice);
    for (size_t i = 0; i < name_change_count; i++) {
        if (i >= 64 || (subset >> i & 1) != 0) {
            apply(&durable, &name_changes[i]);
        }
    }
    now = durable;
    name_change_count = 0;
}

void disk_lie(void)
{
    is_lying = true;
}

bool disk_lies(void)
{
    return is_lying;
}

void disk_lose_power(uint64_t seed)
{
    struct dice dice = {seed};
    if (seed == 0) {
        name_change_count = 0;
    }
    choose_names(dice_next(&dice));
    for (size_t i = 0; i < files_made; i++) {
        struct file *file = &files[i];
        uint64_t own_seed = dice_next(&dice);
        if (file->is_used && (file->change_count > 0 || file->is_stale)) {
            if (seed == 0) {
                forget_changes(file);
            }
            choose_content(file, own_seed);
            show_durable(file);
        }
    }
    reuse_files();
}

uint64_t disk_length_of(enum role role)
{
    for (size_t i = 0; i < now.count; i++) {
        if (role_of(now.items[i].text) == role) {
            return files[now.items[i].file].length;
        }
    }
    return 0;
}

bool disk_ends_in_zero(enum role role)
{
    for (size_t i = 0; i < now.count; i++) {
        struct file *file = &files[now.items[i].file];
        unsigned char last = 1;
        if (role_of(now.items[i].text) == role && file->length > 0) {
            must(__real_pread(file->fd, &last, 1, (off_t)file->length - 1) == 1,
                 "memory");
            return last == 0;
        }
    }
    return false;
}

static uint64_t number_at(const unsigned char *bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

/*
 * Whether a file holds whole records up to its end, as any reader of the original's logs
 * expects it, and no mark that begins with a zero holds anything else.
 */
static bool is_whole(const struct bytes *log)
{
    size_t at = 0;
    while (log->length - at >= HEADER_BYTES) {
        uint64_t key = number_at(log->at + at);
        uint64_t value = number_at(log->at + at + 8);
        size_t left = log->length - at - HEADER_BYTES;
        if (key > left || value > left - key) {
            return false;
        }
        const unsigned char *text = log->at + at + HEADER_BYTES;
        for (size_t i = 0; key == 0 && i < value && text[0] == 0; i++) {
            if (text[i] != 0) {
                return false;
            }
        }
        at += HEADER_BYTES + (size_t)key + (size_t)value;
    }
    return at == log->length;
}

void disk_read(size_t number, struct bytes *bytes_out)
{
    const struct file *file = &files[number];
    bytes_set_length(bytes_out, (size_t)file->length);
    must(__real_pread(file->fd, bytes_out->at, bytes_out->length, 0) ==
             (ssize_t)bytes_out->length,
         "memory");
}

void disk_check_log(void)
{
    struct bytes log = {0};
    size_t file = disk_find_role(ROLE_LOG);
    if (file == DISK_NONE || is_lying || others_have_touched()) {
        return;
    }
    disk_read(file, &log);
    bool is_right = is_whole(&log);
    log.at = resize(log.at, 0);
    if (!is_right) {
        violation("a log that is served is no sequence of records", "%zu bytes",
                  log.length);
    }
}

uint64_t disk_overwrite_count(void)
{
    return overwrite_count;
}

void disk_flip(size_t number, uint64_t offset, unsigned bit)
{
    struct file *file = &files[number];
    unsigned char byte = 0;
    if (offset >= file->length) {
        return;
    }
    must(__real_pread(file->fd, &byte, 1, (off_t)offset) == 1, "memory");
    byte = (unsigned char)(byte ^ 1u << bit % 8);
    must(__real_pwrite(file->fd, &byte, 1, (off_t)offset) == 1, "memory");
    if (offset < file->durable.length) {
        file->durable.at[offset] = byte;
    }
}

void disk_set_room(uint64_t bytes)
{
    limit_bytes = bytes == WORLD_ALL ? WORLD_ALL : used_bytes + bytes;
}

uint64_t disk_room(void)
{
    return limit_bytes <= used_bytes ? 0 : limit_bytes - used_bytes;
}

void disk_begin_run(void)
{
    for (size_t i = 0; i < files_made; i++) {
        if (files[i].is_used) {
            must(__real_ftruncate(files[i].fd, 0) == 0, "memory");
        }
        files[i].is_used = false;
        files[i].holders = 0;
        forget_changes(&files[i]);
    }
    now.count = 0;
    durable.count = 0;
    name_change_count = 0;
    used_bytes = 0;
    limit_bytes = WORLD_ALL;
    is_lying = false;
    has_failed_sync = false;
    has_garbage = false;
}
