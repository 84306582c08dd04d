/*
 * The data of the program are put back to what they were when it began, so that a life is
 * a process: they stand in sections of their own (see the Makefile).
 */
#define _DEFAULT_SOURCE /* setitimer */
#include "world/run.h"

#include "base/bounds.h"
#include "base/crc32c.h"
#include "base/stop.h"
#include "engine/store.h"
#include "net/server.h"
#include "offline/dump.h"
#include "offline/salvage.h"
#include "offline/verify.h"
#include "world/beside.h"
#include "world/clock.h"
#include "world/descriptors.h"
#include "world/disk.h"
#include "world/faults.h"
#include "world/files.h"
#include "world/hashes.h"
#include "world/mappings.h"
#include "world/memory.h"
#include "world/model.h"
#include "world/others.h"
#include "world/path.h"
#include "world/process.h"
#include "world/small.h"
#include "world/sockets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define LOG_PATH     "w.log"
#define SALVAGE_PATH "s.log"

enum {
    LIVES_MAX = 200,
    STOP_US_MAX = 1000000,
    STOP_SLACK_CALLS = 4000,
    RUN_SECONDS_MAX = 10
};

extern char __start_kv_data[], __stop_kv_data[];
extern char __start_kv_bss[], __stop_kv_bss[];

int __real_ftruncate(int fd, off_t length);
ssize_t __real_pread(int fd, void *bytes, size_t length, off_t offset);

static struct bytes first_data;
static struct run_figures figures;
static bool is_given_up; /* this run ends here */
static bool is_serving;

void run_prepare(void)
{
    size_t length = (size_t)(__stop_kv_data - __start_kv_data);
    bytes_set_length(&first_data, length);
    memory_copy_plainly((char *)first_data.at, __start_kv_data, length);
}

static void begin_life(void)
{
    memory_copy_plainly(__start_kv_data, (const char *)first_data.at, first_data.length);
    memory_copy_plainly(__start_kv_bss, NULL, (size_t)(__stop_kv_bss - __start_kv_bss));
    memory_release_all();
    files_begin_life();
    sockets_begin_life();
    path_begin_life();
    process_begin_life();
    model_watch(NULL);
    is_serving = false;
    others_note_serving(false);
}

/* The same for what the world itself asks: no call of it fails. */
static void begin_quiet_life(void)
{
    begin_life();
    process_be_quiet(true);
}

/*
 * An image is put in place only whole and of a log that is durable, so whatever a death
 * leaves of it fits. One of the log before the last compaction may be there still.
 */
static void check_image_was_believed(void)
{
    static const char *const doubts[] = {"index: is damaged", "does not match the log",
                                         "does not lead to the records",
                                         "is no image of an index"};
    for (size_t i = 0; i < sizeof doubts / sizeof doubts[0]; i++) {
        if (process_has_told(doubts[i]) && !disk_lies() && faults_hits()->reads == 0) {
            violation("an image that nobody damaged is not believed", "%s",
                      process_diag());
        }
    }
}

/* What main does. */
static enum status serve(void)
{
    const struct serving *serving = process_serving();
    struct store_options store_options = {
        .path = LOG_PATH,
        .sync = serving->is_everysec ? SYNC_EVERYSEC : SYNC_ALWAYS,
        .image_pace = {.growth_bytes_min = serving->image_growth_bytes,
                       .piece_bytes_min = serving->image_piece_bytes,
                       .piece_bytes_max = serving->image_piece_bytes * 3},
    };
    struct server_options server_options = {
        .listener = {.addresses = {"127.0.0.1", "127.0.0.2", "127.0.0.3"},
                     .address_count = (size_t)serving->address_count,
                     .port = "7878"},
        .session = {.idle_ms = serving->idle_s * 1000,
                    .value_bytes_max = serving->value_bytes_max},
    };
    struct store *store = NULL;
    struct listener listener;
    if (serving->path_count > 0) {
        server_options.listener.addresses[serving->address_count - 1] = PATH_OF_SOCKET;
    }
    stop_catch();
    stop_exit_cleanly();
    enum status status = listener_bind(&server_options.listener, &listener);
    if (status == KV_OK) {
        status = store_open(&store_options, &store);
    }
    if (status != KV_OK) {
        listener_close(&listener);
        return status;
    }
    check_image_was_believed();
    disk_note_judged();
    process_be_quiet(true);
    model_check_store(store);
    process_be_quiet(false);
    model_watch(store);
    is_serving = true;
    others_note_serving(true);
    status = server_run(&server_options, &listener, store);
    is_serving = false;
    others_note_serving(false);
    model_watch(NULL);
    listener_close(&listener);
    enum status close_status = store_close(store);
    return status == KV_OK ? close_status : status;
}

static void check_nothing_is_held(void)
{
    if (memory_held_bytes() > 0) {
        violation("memory is not given back", "%zu bytes", memory_held_bytes());
    }
    if (!mappings_are_gone() || descriptors_count(DESCRIPTOR_FILE) > 0 ||
        descriptors_count(DESCRIPTOR_DIRECTORY) > 0 ||
        descriptors_count(DESCRIPTOR_LISTENER) > 0 ||
        descriptors_count(DESCRIPTOR_CLIENT) > 0) {
        violation("descriptors are not given back", "%zu files",
                  descriptors_count(DESCRIPTOR_FILE));
    }
}

static void check_stop_was_short(void)
{
    uint64_t took_us = world_fair_us() - process_stop_us();
    uint64_t slack_us = process_calls_us(STOP_SLACK_CALLS);
    if (process_is_stopping() && took_us > STOP_US_MAX + slack_us) {
        violation("a stop took longer than a second", "%llu us",
                  (unsigned long long)took_us);
    }
}

/* Else space ahead may have been left, for the next start to cut off. */
static void check_ends_with_seal(bool has_failed)
{
    if (!has_failed && disk_ends_in_zero(ROLE_LOG)) {
        violation("a log at rest does not end with its last seal", "%s", process_diag());
    }
}

static void check_path_is_gone(bool has_failed)
{
    if (!has_failed && path_is_left()) {
        violation("a stop leaves the file of its socket", "%s", process_diag());
    }
}

/* How a life ended that returned. */
static void judge_end(enum status status, const struct hits *before)
{
    const struct hits *now = faults_hits();
    bool has_failed = now->io != before->io || now->space != before->space ||
                      now->memory != before->memory;
    check_nothing_is_held();
    if (status == KV_OK) {
        check_stop_was_short();
        check_ends_with_seal(has_failed);
        check_path_is_gone(has_failed);
        model_note_going_on();
        return;
    }
    figures.refused_starts++;
    if (status == KV_CORRUPT &&
        (disk_has_garbage() || disk_lies() || others_have_left_a_hole())) {
        is_given_up = true; /* it cannot be told from damage, and was not served */
        return;
    }
    if (!has_failed || status == KV_CORRUPT) {
        violation(status == KV_CORRUPT ? "a log that nobody damaged is called corrupt"
                                       : "the server ended without a reason",
                  "%s", process_diag());
    }
}

/* What the offline modes print goes to a file in memory, which takes everything. */
static void empty_output(void)
{
    (void)fflush(stdout);
    (void)__real_ftruncate(STDOUT_FILENO, 0);
    (void)lseek(STDOUT_FILENO, 0, SEEK_SET);
}

/* A life in which a log is started on and stopped, and nothing happens. */
static void look_at(const char *path)
{
    struct store *store = NULL;
    struct store_options options = {.path = path, .sync = SYNC_ALWAYS};
    begin_quiet_life();
    if (store_open(&options, &store) != KV_OK) {
        violation("a last start fails", "%s: %s", path, process_diag());
    }
    model_check_store(store);
    if (store_close(store) != KV_OK) {
        violation("a last stop fails", "%s: %s", path, process_diag());
    }
}

/* What --salvage makes of a log that is whole gives the model. */
static void check_salvage(void)
{
    begin_quiet_life();
    disk_set_room(WORLD_ALL);
    if (salvage_log(LOG_PATH, SALVAGE_PATH) != KV_OK) {
        violation("--salvage refuses what is at rest", "%s", process_diag());
    }
    empty_output();
    check_nothing_is_held();
    look_at(SALVAGE_PATH);
}

/* What was printed since the last time. */
static void take_output(struct bytes *text_out)
{
    char piece[4096];
    ssize_t count;
    text_out->length = 0;
    (void)fflush(stdout);
    while ((count = __real_pread(STDOUT_FILENO, piece, sizeof piece,
                                 (off_t)text_out->length)) > 0) {
        bytes_put(text_out, piece, (size_t)count);
    }
    empty_output();
}

static void check_dump(void)
{
    static struct bytes text;
    take_output(&text);
    model_check_dump(&text);
}

/* A log and, if there is one, its older one, as they are. */
static uint64_t sum_up_logs(void)
{
    static const enum role roles[] = {ROLE_LOG, ROLE_OLD};
    static struct bytes bytes;
    uint64_t sum = 0;
    for (size_t i = 0; i < 2; i++) {
        size_t file = disk_find_role(roles[i]);
        bytes.length = 0;
        if (file != DISK_NONE) {
            disk_read(file, &bytes);
        }
        sum =
            (sum + bytes.length) * 31 + crc32c(0, (struct slice){bytes.at, bytes.length});
    }
    return sum;
}

/* The log that --salvage made has as many keys as it says, and lacks no more than that.
 */
static void check_salvaged(void)
{
    static struct bytes text;
    struct store *store = NULL;
    struct store_options options = {.path = SALVAGE_PATH, .sync = SYNC_ALWAYS};
    take_output(&text);
    bytes_put(&text, "", 1);
    const char *kept = strstr((const char *)text.at, "kept ");
    begin_quiet_life();
    enum status status = store_open(&options, &store);
    if (status != KV_OK || kept == NULL ||
        store_count(store) != strtoull(kept + strlen("kept "), NULL, 10)) {
        violation("--salvage makes another log than it says", "%s: status %d, %" PRIu64,
                  kept == NULL ? "" : kept, (int)status,
                  status == KV_OK ? store_count(store) : 0);
    }
    if (strstr(kept, "\nlost 0 bytes in all\n") != NULL) {
        model_check_damaged(store);
    }
}

static void drop_salvaged(void)
{
    static const char *const names[] = {SALVAGE_PATH, SALVAGE_PATH ".index",
                                        SALVAGE_PATH ".lock", SALVAGE_PATH ".new"};
    begin_quiet_life();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)disk_unlink(names[i]); /* there may be none */
    }
    disk_sync_names(); /* no loss of power brings them back */
}

static void look_by_verify(void)
{
    (void)verify_log(LOG_PATH); /* --dump shows whether it is right */
}

static void look_by_dump(void)
{
    if (dump_log(LOG_PATH, LINES_SET) == KV_OK) {
        check_dump();
    }
}

static void look_by_salvage(void)
{
    if (salvage_log(LOG_PATH, SALVAGE_PATH) == KV_OK) {
        check_salvaged();
    }
    empty_output();
    drop_salvaged();
}

/* Whether something can be asked about pages that cannot be read, or soon will not be. */
static bool is_unread(void)
{
    return mappings_are_losing() && model_is_settled() && !disk_lies();
}

/* Who only reads prints what is right, or says that something is not. */
static void look_unread(void)
{
    static void (*const looks[])(void) = {look_by_verify, look_by_dump, look_by_salvage};
    for (size_t i = 0; is_unread() && i < sizeof looks / sizeof looks[0]; i++) {
        figures.unread++;
        begin_quiet_life();
        mappings_begin_look();
        looks[i]();
        empty_output();
        check_nothing_is_held();
        begin_life();
        mappings_end_look();
    }
}

/* The same, and a start serves what is right, or is refused and changes nothing. */
static void check_unread(bool is_damaged)
{
    struct store *store = NULL;
    struct store_options options = {.path = LOG_PATH, .sync = SYNC_ALWAYS};
    if (!is_unread()) {
        return;
    }
    look_unread();
    uint64_t sum = sum_up_logs();
    begin_quiet_life();
    enum status status = store_open(&options, &store);
    if (status == KV_OK) {
        model_check_damaged(store);
    } else if (sum_up_logs() != sum || (status == KV_CORRUPT && !is_damaged)) {
        violation("a start that cannot read a log changes it, or calls it corrupt", "%s",
                  process_diag());
    }
    begin_life();
}

/* What is at rest passes --verify, and --dump and --salvage give the model. */
static void check_at_rest(void)
{
    check_unread(false);
    mappings_mend();
    disk_set_room(WORLD_ALL); /* without room for a seal the last batch is not sure */
    look_at(LOG_PATH);
    beside_check_at_rest();
    begin_quiet_life();
    enum status status = verify_log(LOG_PATH);
    if (status == KV_CORRUPT && disk_lies()) {
        return; /* a start that believes the image does not read what was lost */
    }
    if (status != KV_OK) {
        violation("--verify refuses what is at rest", "%s", process_diag());
    }
    empty_output();
    if (dump_log(LOG_PATH, LINES_SET) != KV_OK) {
        violation("--dump refuses what is at rest", "%s", process_diag());
    }
    check_dump();
    check_nothing_is_held();
    check_salvage();
}

/* A start on damage refuses it, or serves what is right and says what is not. */
static void check_damage(enum role role)
{
    struct store *store = NULL;
    struct store_options options = {.path = LOG_PATH, .sync = SYNC_ALWAYS};
    uint64_t sum = sum_up_logs();
    check_unread(true);
    mappings_mend(); /* it is asked about the bit alone */
    begin_quiet_life();
    enum status status = store_open(&options, &store);
    if (status == KV_OK) {
        model_check_damaged(store);
    } else if (status != KV_CORRUPT || role == ROLE_INDEX || sum_up_logs() != sum) {
        violation("damage ends a start in another way than as corruption", "%s",
                  process_diag());
    }
    begin_life(); /* as if it had been killed */
    beside_end(); /* what it reads may be a drained log that was removed as it was */
}

/*
 * A bit of what nobody serves is flipped, and then put back, unless a start has cut it
 * off with what was no part of a batch.
 */
static void check_rot(const struct event *rot)
{
    size_t file = rot == NULL ? DISK_NONE : disk_find_role(rot->fault.role);
    if (file == DISK_NONE || disk_length(file) == 0 || !model_is_settled()) {
        return;
    }
    uint64_t offset = disk_length(file) * rot->number / 1000;
    uint64_t room = disk_room();
    disk_set_room(WORLD_ALL); /* for a copy of what is no batch */
    figures.rots++;
    disk_hold(file); /* no other takes its place when it is removed */
    disk_flip(file, offset, (unsigned)rot->bit);
    check_damage(rot->fault.role);
    disk_flip(file, offset, (unsigned)rot->bit);
    disk_release(file);
    disk_set_room(room);
}

/* One life; returns whether it was the last. */
static bool live(void)
{
    struct hits before = *faults_hits();
    uint64_t sum_before = faults_hits_sum();
    int death = sigsetjmp(process_death, 0);
    if (death != DEATH_NONE && death != DEATH_GIVEN_UP) {
        others_put_back();
    }
    if (death == DEATH_GIVEN_UP) {
        is_given_up = true;
        return true;
    }
    /* Else a write that fell short may not be seen to yet. */
    bool is_whole =
        death == DEATH_KILLED && is_serving && faults_hits_sum() == sum_before;
    if (is_whole) {
        disk_check_log();
    }
    if (death != DEATH_NONE) {
        figures.kills += death == DEATH_KILLED ? 1 : 0;
        figures.power_losses += death == DEATH_POWER ? 1 : 0;
        if (death == DEATH_POWER) {
            beside_end(); /* it ran on the same machine */
        }
        model_note_end(disk_take_failed_sync(), death == DEATH_POWER);
        small_note_life_over(death == DEATH_POWER);
        if (is_whole) {
            check_rot(process_take_rot());
        }
        return false;
    }
    begin_life();
    beside_note_start();
    figures.starts++;
    enum status status = serve();
    others_put_back();
    judge_end(status, &before);
    model_note_end(disk_take_failed_sync(), false);
    small_note_life_over(false);
    if (is_given_up) {
        return true;
    }
    if (status != KV_OK) {
        faults_clear(); /* the operator mends what was wrong */
        path_clear();
        disk_set_room(WORLD_ALL);
        return false;
    }
    model_note_stopped();
    look_unread();
    check_rot(process_take_rot());
    return process_plan_is_over();
}

static void put_length(struct bytes *log, uint64_t length)
{
    for (int shift = 56; shift >= 0; shift -= 8) {
        unsigned char byte = (unsigned char)(length >> shift);
        bytes_put(log, &byte, 1);
    }
}

static void put_record(struct bytes *log, struct slice key, struct slice value)
{
    put_length(log, key.length);
    put_length(log, value.length);
    bytes_put(log, key.bytes, key.length);
    bytes_put(log, value.bytes, value.length);
}

/* Records of a few keys, some of them deletions, and the beginning of one more. */
static void leave_original_log(uint64_t record_count)
{
    static struct bytes log;
    log.length = 0;
    for (uint64_t i = 0; i < record_count; i++) {
        char key[24];
        char value[40] = {0};
        bool is_deletion = i % 5 == 4; /* its value is the one NUL */
        int key_length = snprintf(key, sizeof key, "key-%u", (unsigned)(i % 7));
        int length = is_deletion ? 1 : snprintf(value, sizeof value, "%u.", (unsigned)i);
        struct slice key_slice = {(const void *)key, (size_t)key_length};
        struct slice value_slice = {(const void *)value, (size_t)length};
        put_record(&log, key_slice, value_slice);
        model_begin_with(key_slice, is_deletion ? NULL : &value_slice);
    }
    put_length(&log, 3);
    size_t file = disk_create(LOG_PATH);
    (void)disk_write(file, log.at, log.length, 0); /* there is room */
    disk_sync(file);
    disk_sync_names();
}

static void begin_with(const struct plan *plan)
{
    for (size_t i = 0; i < plan_leading(plan); i++) {
        if (plan->events[i].kind == EVENT_ORIGINAL) {
            leave_original_log(plan->events[i].number);
        }
    }
    for (size_t i = 0; i < plan_leading(plan); i++) {
        if (plan->events[i].kind == EVENT_LIES) {
            disk_lie();
        }
    }
}

static void run(const struct plan *plan)
{
    beside_end();
    small_begin_run();
    process_begin_run(plan);
    hashes_begin_run(process_serving());
    faults_begin_run();
    disk_begin_run();
    files_begin_run();
    sockets_begin_run();
    model_begin_run();
    others_begin_run();
    path_begin_run();
    begin_with(plan);
    int lives = 0;
    is_given_up = false;
    while (!live()) {
        if (++lives > LIVES_MAX) {
            violation("the server never comes to rest", "%s", process_diag());
        }
    }
    small_end_run();
    if (!is_given_up) {
        check_at_rest();
    }
}

/* A loop that makes no call is ended by a signal, see world.c. */
static void limit_processor_time(long seconds)
{
    struct itimerval limit = {.it_value = {.tv_sec = seconds}};
    (void)setitimer(ITIMER_VIRTUAL, &limit, NULL); /* cannot fail with valid arguments */
}

bool run_plan(const struct plan *plan)
{
    limit_processor_time(RUN_SECONDS_MAX);
    bool is_right = sigsetjmp(process_violation, 0) == 0;
    if (is_right) {
        run(plan);
    }
    begin_life();
    return is_right;
}

const struct run_figures *run_figures(void)
{
    return &figures;
}
