/*
 * The offline modes of the program: --verify, --salvage and --dump, run on logs that are
 * built in memory. None of them may change a log or leave a file behind but the lock.
 */
#include "base/bounds.h"
#include "log/record.h"
#include "support/image.h"
#include "support/scene.h"
#include "support/script.h"
#include "support/unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Files ---- */

static struct tempdir_file file_named(const struct scene *scene, const char *name)
{
    return tempdir_file(&scene->tempdir, name);
}

static void write_bytes(const struct scene *scene, const char *name, struct slice bytes)
{
    struct script script = {0};
    script_add(&script, bytes);
    script_write_file(&script, file_named(scene, name).path);
    script_free(&script);
}

static struct script read_bytes(const struct scene *scene, const char *name)
{
    struct script script = {0};
    script_add_file(&script, file_named(scene, name).path);
    return script;
}

static bool has_file(const struct scene *scene, const char *name)
{
    return access(file_named(scene, name).path, F_OK) == 0;
}

enum { FILES_MAX_HERE = 8, NAME_BYTES = 64 };

/* What a directory holds, but for locks and the output of the program. */
struct inventory {
    size_t count;
    struct {
        char name[NAME_BYTES];
        struct timespec changed;
        struct script bytes;
    } files[FILES_MAX_HERE];
};

static bool is_counted(const char *name)
{
    return name[0] != '.' && strstr(name, ".lock") == NULL && strcmp(name, "out") != 0;
}

static struct inventory take_inventory(const struct scene *scene)
{
    struct inventory inventory = {0};
    DIR *directory = opendir(scene->tempdir.path);
    assert_non_null(directory);
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        if (is_counted(entry->d_name)) {
            struct stat info;
            size_t i = inventory.count++;
            assert_in_range(i, 0, FILES_MAX_HERE - 1);
            (void)snprintf(inventory.files[i].name, NAME_BYTES, "%.60s", entry->d_name);
            assert_int_equal(stat(file_named(scene, entry->d_name).path, &info), 0);
            inventory.files[i].changed = info.st_mtim;
            inventory.files[i].bytes = read_bytes(scene, entry->d_name);
        }
    }
    closedir(directory);
    return inventory;
}

/* Every file is as it was, and there is none more; the inventory is released. */
static void expect_inventory(const struct scene *scene, struct inventory *inventory)
{
    struct inventory now = take_inventory(scene);
    assert_int_equal(now.count, inventory->count);
    for (size_t i = 0; i < inventory->count; i++) {
        size_t k = 0;
        while (k < now.count &&
               strcmp(now.files[k].name, inventory->files[i].name) != 0) {
            k++;
        }
        assert_in_range(k, 0, now.count - 1);
        assert_int_equal(now.files[k].changed.tv_sec, inventory->files[i].changed.tv_sec);
        assert_int_equal(now.files[k].changed.tv_nsec,
                         inventory->files[i].changed.tv_nsec);
        assert_true(slice_equal(script_slice(&now.files[k].bytes),
                                script_slice(&inventory->files[i].bytes)));
    }
    for (size_t i = 0; i < inventory->count; i++) {
        script_free(&inventory->files[i].bytes);
        script_free(&now.files[i].bytes);
    }
}

/* ---- Runs ---- */

/* What the last run printed. */
static struct script output;

static void print_output(void)
{
    print_error("it printed:\n%.*s", (int)(output.length < 2000 ? output.length : 2000),
                output.length == 0 ? "" : (const char *)output.bytes);
}

/* Run a mode on a log of that name; its output is in `output`, its messages in the
 * scene. */
static void run_on(struct scene *scene, const char *name, const char *const *options,
                   int expected)
{
    struct tempdir_file log = file_named(scene, name);
    struct tempdir_file out = file_named(scene, "out");
    struct server_launch launch = {
        .log = log.path, .options = options, .stdout_path = out.path};
    struct server_process process;
    server_process_launch(&process, &launch);
    int status = server_process_wait(&process);
    script_free(&output);
    output = (struct script){0};
    script_add_file(&output, out.path);
    if (status != expected) {
        print_output();
        fail_msg("exit status %d instead of %d; it said:\n%s", status, expected,
                 process.messages);
    }
    memcpy(scene->server.messages, process.messages, sizeof process.messages);
}

static void run(struct scene *scene, const char *const *options, int expected)
{
    run_on(scene, "kv.log", options, expected);
}

static void expect_output(struct slice expected)
{
    if (!slice_equal(script_slice(&output), expected)) {
        print_output();
        fail_msg("that is not:\n%.*s", (int)expected.length,
                 (const char *)expected.bytes);
    }
}

static void expect_said(const struct scene *scene, const char *text)
{
    if (strstr(scene->server.messages, text) == NULL) {
        fail_msg("no \"%s\" in what it said:\n%s", text, scene->server.messages);
    }
}

static bool has_printed(const char *text)
{
    size_t length = strlen(text);
    for (size_t at = 0; at + length <= output.length; at++) {
        if (memcmp(output.bytes + at, text, length) == 0) {
            return true;
        }
    }
    return false;
}

static void expect_printed(const char *text)
{
    if (!has_printed(text)) {
        print_output();
        fail_msg("there is no \"%s\" in it", text);
    }
}

/* ---- Logs ---- */

enum { BATCHES = 6 };

/*
 * Batches that end at ends[i]: each has a key of its own and sets the key "shared" anew;
 * the last one deletes the key "gone", which the first one set.
 */
static void build(struct image *image, uint64_t ends[BATCHES])
{
    image_begin_first(image);
    for (size_t i = 0; i < BATCHES; i++) {
        char key[16];
        char value[16];
        (void)snprintf(key, sizeof key, "own%zu", i);
        (void)snprintf(value, sizeof value, "version %zu", i);
        image_put_text(image, key, value);
        image_put_text(image, "shared", value);
        if (i == 0) {
            image_put_text(image, "gone", "for now");
        }
        if (i == BATCHES - 1) {
            image_delete(image, "gone");
        }
        image_seal(image);
        ends[i] = image->sealed_length;
    }
}

static uint64_t start_of(const uint64_t ends[BATCHES], size_t batch)
{
    return batch == 0 ? OPENING_BYTES : ends[batch - 1];
}

static uint64_t text_record(const char *key, const char *value)
{
    return record_length(strlen(key), strlen(value));
}

/* A log as the original program writes it. */
static void add_plain(struct script *log, struct slice key, struct slice value)
{
    uint8_t header[RECORD_HEADER_BYTES];
    record_encode_header(header, key.length, value.length);
    script_add(log, (struct slice){header, sizeof header});
    script_add(log, key);
    script_add(log, value);
}

static const char *const verify[] = {"--verify", NULL};
static const char *const dump[] = {"--dump", NULL};
static const char *const dump_resp[] = {"--dump=resp", NULL};

/* ---- --verify ---- */

/* Run --verify, which changes nothing and prints exactly this. */
static void expect_findings(struct scene *scene, int status, const char *format,
                            const uint64_t figures[5], const char *damage)
{
    struct inventory inventory = take_inventory(scene);
    struct script expected = {0};
    run(scene, verify, status);
    script_add_format(&expected,
                      "format %s\nlog_bytes %llu\nrecords %llu\nlive_keys %llu\n"
                      "dead_bytes %llu\nseals %llu\nreserve_bytes 0\n"
                      "damage %s\n",
                      format, (unsigned long long)figures[0],
                      (unsigned long long)figures[1], (unsigned long long)figures[2],
                      (unsigned long long)figures[3], (unsigned long long)figures[4],
                      damage);
    expect_output(script_slice(&expected));
    expect_inventory(scene, &inventory);
    script_free(&expected);
}

static uint64_t built_live_bytes(size_t batches)
{
    return batches * text_record("own0", "version 0") +
           text_record("shared", "version 0");
}

static void verify_counts_what_a_clean_log_holds(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    build(&image, ends);
    write_bytes(scene, "kv.log", image_slice(&image));
    uint64_t length = image_slice(&image).length;
    expect_findings(scene, 0, "sealed",
                    (uint64_t[]){length, 2 * BATCHES + 2, BATCHES + 1,
                                 length - built_live_bytes(BATCHES), BATCHES},
                    "none");
    image_free(&image);
}

static void verify_tells_a_torn_tail_and_leaves_it(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    char damage[128];
    build(&image, ends);
    image_put_text(&image, "unsealed", "value");
    uint64_t left = image_slice(&image).length - ends[BATCHES - 1];
    write_bytes(scene, "kv.log", image_slice(&image));
    (void)snprintf(damage, sizeof damage,
                   "at offset %llu, %llu bytes: torn tail, never acknowledged; cut off "
                   "at the next start",
                   (unsigned long long)ends[BATCHES - 1], (unsigned long long)left);
    expect_findings(scene, 0, "sealed",
                    (uint64_t[]){ends[BATCHES - 1] + left, 2 * BATCHES + 2, BATCHES + 1,
                                 ends[BATCHES - 1] - built_live_bytes(BATCHES), BATCHES},
                    damage);
    image_free(&image);
}

static void verify_exits_3_and_names_the_place_of_damage(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    char damage[128];
    build(&image, ends);
    uint64_t length = image_slice(&image).length;
    image_flip(&image, ends[1] + 30, 3);
    write_bytes(scene, "kv.log", image_slice(&image));
    (void)snprintf(damage, sizeof damage,
                   "at offset %llu, %llu bytes: corrupt: it had been durable, or cannot "
                   "be a torn tail",
                   (unsigned long long)ends[1], (unsigned long long)(length - ends[1]));
    /* "gone" is still there in what is intact. */
    uint64_t live = built_live_bytes(2) + text_record("gone", "for now");
    expect_findings(scene, 3, "sealed", (uint64_t[]){length, 5, 4, ends[1] - live, 2},
                    damage);
    image_free(&image);
}

static void verify_reads_a_log_of_the_original(void **state)
{
    struct scene *scene = *state;
    struct script log = {0};
    add_plain(&log, SLICE_LITERAL("a"), SLICE_LITERAL("1"));
    add_plain(&log, SLICE_LITERAL("b"), SLICE_LITERAL("2"));
    add_plain(&log, SLICE_LITERAL("a"), SLICE_LITERAL("33"));
    add_plain(&log, SLICE_LITERAL("b"), SLICE_LITERAL("\0"));
    write_bytes(scene, "kv.log", script_slice(&log));
    uint64_t live = text_record("a", "33");
    expect_findings(scene, 0, "without marks",
                    (uint64_t[]){log.length, 4, 1, log.length - live, 0}, "none");
    size_t whole = log.length;
    script_add_text(&log, "half");
    write_bytes(scene, "kv.log", script_slice(&log));
    char damage[128];
    (void)snprintf(damage, sizeof damage,
                   "at offset %zu, 4 bytes: torn tail, never acknowledged; cut off at "
                   "the next start",
                   whole);
    expect_findings(scene, 0, "without marks",
                    (uint64_t[]){log.length, 4, 1, whole - live, 0}, damage);
    script_free(&log);
}

/* PATH.old with two keys, and a log that continues it: one set anew, one deleted. */
static void build_pair(struct image *older, struct image *log)
{
    image_begin_first(older);
    image_put_text(older, "kept", "in the older log");
    image_put_text(older, "newer", "then");
    image_put_text(older, "gone", "soon");
    image_seal(older);
    image_begin_next(log, older, 2);
    image_put_text(log, "newer", "now");
    image_delete(log, "gone");
    image_seal(log);
}

static void write_pair(const struct scene *scene, uint64_t lengths[2])
{
    struct image older;
    struct image log;
    build_pair(&older, &log);
    write_bytes(scene, "kv.log", image_slice(&log));
    write_bytes(scene, "kv.log.old", image_slice(&older));
    lengths[0] = older.sealed_length;
    lengths[1] = log.sealed_length;
    image_free(&older);
    image_free(&log);
}

static void verify_reads_both_logs_of_a_compaction(void **state)
{
    struct scene *scene = *state;
    uint64_t lengths[2];
    write_pair(scene, lengths);
    uint64_t length = lengths[0] + lengths[1];
    uint64_t live = text_record("kept", "in the older log") + text_record("newer", "now");
    expect_findings(scene, 0, "sealed, being compacted",
                    (uint64_t[]){length, 5, 2, length - live, 2}, "none");
    assert_int_equal(unlink(file_named(scene, "kv.log.old").path), 0);
    struct inventory inventory = take_inventory(scene);
    run(scene, verify, 3);
    expect_said(scene, "kv.log.old: is missing");
    expect_inventory(scene, &inventory);
}

static void the_modes_refuse_what_is_not_there_or_no_log(void **state)
{
    struct scene *scene = *state;
    struct tempdir_file new_log = file_named(scene, "new.log");
    const char *const salvage_new[] = {"--salvage", new_log.path, NULL};
    const char *const *const modes[] = {verify, dump, dump_resp, salvage_new};
    for (size_t i = 0; i < 4; i++) {
        struct inventory nothing = take_inventory(scene);
        run(scene, modes[i], 1);
        assert_true(strlen(scene->server.messages) > 0);
        assert_int_equal(output.length, 0);
        expect_inventory(scene, &nothing);
    }
    write_bytes(scene, "kv.log", SLICE_LITERAL("Dear diary, this is no log at all.\n"));
    for (size_t i = 0; i < 4; i++) {
        struct inventory inventory = take_inventory(scene);
        run(scene, modes[i], 3);
        assert_true(strlen(scene->server.messages) > 0);
        assert_int_equal(output.length, 0);
        expect_inventory(scene, &inventory);
    }
}

/* A state that a crash can leave: the log has its old name and no successor yet. */
static void the_modes_read_an_older_log_without_its_successor(void **state)
{
    struct scene *scene = *state;
    struct tempdir_file new_log = file_named(scene, "new.log");
    const char *const salvage[] = {"--salvage", new_log.path, NULL};
    uint64_t lengths[2];
    write_pair(scene, lengths);
    assert_int_equal(unlink(scene->log.path), 0);
    uint64_t live = text_record("kept", "in the older log") +
                    text_record("newer", "then") + text_record("gone", "soon");
    expect_findings(scene, 0, "sealed",
                    (uint64_t[]){lengths[0], 3, 3, lengths[0] - live, 1}, "none");
    struct inventory inventory = take_inventory(scene);
    run(scene, dump, 0);
    expect_printed("SET kept in the older log\n");
    expect_printed("SET newer then\n");
    expect_printed("SET gone soon\n");
    expect_inventory(scene, &inventory);
    run(scene, salvage, 0);
    expect_printed("kept 3 keys");
    expect_printed("lost 0 bytes in all\n");
    assert_true(has_file(scene, "kv.log.old"));
    assert_false(has_file(scene, "kv.log"));
}

/* It got its name when all of it was durable, so there it has no torn tail. */
static void verify_calls_a_cut_older_log_without_its_successor_corrupt(void **state)
{
    struct scene *scene = *state;
    struct image older;
    struct image log;
    build_pair(&older, &log);
    image_cut(&older, older.sealed_length - 1);
    write_bytes(scene, "kv.log.old", image_slice(&older));
    struct inventory inventory = take_inventory(scene);
    run(scene, verify, 3);
    expect_printed("corrupt: it had been durable");
    expect_inventory(scene, &inventory);
    image_free(&older);
    image_free(&log);
}

static void the_modes_refuse_a_log_that_is_served(void **state)
{
    struct scene *scene = *state;
    struct tempdir_file new_log = file_named(scene, "new.log");
    const char *const salvage[] = {"--salvage", new_log.path, NULL};
    const char *const *const modes[] = {verify, dump, dump_resp, salvage};
    scene_start(scene, NULL);
    scene_talk_text(scene, "SET k v\n", "success\n");
    struct server_process served = scene->server;
    for (size_t i = 0; i < 4; i++) {
        run(scene, modes[i], 1);
        expect_said(scene, "is in use by process");
        assert_int_equal(output.length, 0);
        assert_false(has_file(scene, "new.log"));
    }
    scene->server = served;
    scene_talk_text(scene, "GET k\n", "v\n");
}

/* A full disk under stdout must not pass for a short log. */
static void the_modes_tell_when_nobody_takes_their_output(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    const char *const *const modes[] = {verify, dump, dump_resp};
    build(&image, ends);
    write_bytes(scene, "kv.log", image_slice(&image));
    for (size_t i = 0; i < 3; i++) {
        struct server_launch launch = {
            .log = scene->log.path, .options = modes[i], .stdout_path = "/dev/full"};
        struct server_process process;
        server_process_launch(&process, &launch);
        assert_int_equal(server_process_wait(&process), 1);
        assert_non_null(strstr(process.messages, "cannot write"));
    }
    struct tempdir_file new_log = file_named(scene, "new.log");
    const char *const salvaging[] = {"--salvage", new_log.path, NULL};
    struct server_launch launch = {
        .log = scene->log.path, .options = salvaging, .stdout_path = "/dev/full"};
    struct server_process process;
    server_process_launch(&process, &launch);
    assert_int_equal(server_process_wait(&process), 1);
    assert_null(strstr(process.messages, "not salvaged"));
    assert_non_null(strstr(process.messages, "new.log is complete"));
    image_free(&image);
}

/* Closed, stdout is no place where output gets lost in silence. */
static void f74_the_modes_fail_when_their_output_is_closed(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    struct tempdir_file new_log = file_named(scene, "new.log");
    const char *const salvaging[] = {"--salvage", new_log.path, NULL};
    const char *const asking[] = {"--version", NULL};
    const char *const *const modes[] = {verify, dump, dump_resp, salvaging, asking};
    build(&image, ends);
    write_bytes(scene, "kv.log", image_slice(&image));
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct server_launch launch = {
            .log = scene->log.path, .options = modes[i], .has_closed_stdio = true};
        struct server_process process;
        server_process_launch(&process, &launch);
        assert_int_equal(server_process_wait(&process), 1);
    }
    image_free(&image);
}

/* ---- --salvage ---- */

/* Salvage the log, which stays as it is, to a new one. */
static void salvage(struct scene *scene, const char *from, const char *to, int status)
{
    struct tempdir_file new_log = file_named(scene, to);
    const char *const options[] = {"--salvage", new_log.path, NULL};
    struct script before = read_bytes(scene, from);
    run_on(scene, from, options, status);
    struct script after = read_bytes(scene, from);
    assert_true(slice_equal(script_slice(&before), script_slice(&after)));
    script_free(&before);
    script_free(&after);
}

/* The log is whole and holds exactly the data of these requests' replies. */
static void expect_served(struct scene *scene, const char *name, const char *request,
                          const char *reply)
{
    struct server_process server;
    struct client client;
    run_on(scene, name, verify, 0);
    expect_printed("damage none\n");
    server_process_start(&server, file_named(scene, name).path, NULL);
    client_open(&client, server.port);
    client_exchange(&client, slice_of_text(request), slice_of_text(reply));
    client_close(&client);
    server_process_stop(&server);
}

/* All keys of the log that build() makes, but those of some batches. */
static void expect_salvaged(struct scene *scene, const char *name,
                            const bool is_lost[BATCHES])
{
    struct script request = {0};
    struct script reply = {0};
    size_t newest = BATCHES;
    size_t count = 0;
    for (size_t i = 0; i < BATCHES; i++) {
        script_add_format(&request, "GET own%zu\n", i);
        if (is_lost[i]) {
            script_add_text(&reply, "no value stored\n");
        } else {
            script_add_format(&reply, "version %zu\n", i);
            newest = i;
            count++;
        }
    }
    assert_in_range(newest, 0, BATCHES - 1);
    bool is_gone_back = is_lost[BATCHES - 1] && !is_lost[0];
    script_add_text(&request, "GET shared\nGET gone\nCOUNT\n");
    script_add_format(&reply, "version %zu\n%s\n%zu\n", newest,
                      is_gone_back ? "for now" : "no value stored",
                      count + 1 + (is_gone_back ? 1 : 0));
    script_add_fill(&request, '\0', 1);
    script_add_fill(&reply, '\0', 1);
    expect_served(scene, name, (const char *)request.bytes, (const char *)reply.bytes);
    script_free(&request);
    script_free(&reply);
}

static void remove_log(const struct scene *scene, const char *name)
{
    assert_int_equal(unlink(file_named(scene, name).path), 0);
}

static void f88_salvage_loses_exactly_the_damaged_batch(void **state)
{
    struct scene *scene = *state;
    for (size_t damaged = 0; damaged < BATCHES; damaged++) {
        struct image image;
        uint64_t ends[BATCHES];
        bool is_lost[BATCHES] = {false};
        char line[128];
        build(&image, ends);
        uint64_t start = start_of(ends, damaged);
        image_flip(&image, start + 18, 1); /* within the first key */
        write_bytes(scene, "kv.log", image_slice(&image));
        is_lost[damaged] = true;
        salvage(scene, "kv.log", "new.log", 0);
        (void)snprintf(line, sizeof line, "lost %llu bytes from offset %llu to %llu of ",
                       (unsigned long long)(ends[damaged] - start),
                       (unsigned long long)start, (unsigned long long)ends[damaged]);
        expect_printed(line);
        (void)snprintf(line, sizeof line, "lost %llu bytes in all\n",
                       (unsigned long long)(ends[damaged] - start));
        expect_printed(line);
        expect_salvaged(scene, "new.log", is_lost);
        /* What was salvaged needs no salvage. */
        salvage(scene, "new.log", "newer.log", 0);
        expect_printed("lost 0 bytes in all\n");
        expect_salvaged(scene, "newer.log", is_lost);
        remove_log(scene, "new.log");
        remove_log(scene, "newer.log");
        image_free(&image);
    }
}

static void f88_salvage_of_a_whole_log_loses_nothing(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    build(&image, ends);
    write_bytes(scene, "kv.log", image_slice(&image));
    salvage(scene, "kv.log", "new.log", 0);
    expect_printed("lost 0 bytes in all\n");
    expect_salvaged(scene, "new.log", (const bool[BATCHES]){false});
    image_free(&image);
}

static void f88_salvage_steps_over_several_damages(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    build(&image, ends);
    image_flip(&image, ends[0] + 7, 0);               /* the length of a key */
    image_fill(&image, ends[2] + 5, ends[2] + 60, 0); /* a hole */
    image_flip(&image, ends[4] - SEAL_BYTES + 20, 2); /* the seal of another */
    write_bytes(scene, "kv.log", image_slice(&image));
    salvage(scene, "kv.log", "new.log", 0);
    /* Behind a damaged seal nothing is proved until the one after it. */
    expect_salvaged(scene, "new.log",
                    (const bool[BATCHES]){false, true, false, true, true, true});
    image_free(&image);
}

/* Without its opening record the chain has no beginning: the first batch goes with it. */
static void f88_salvage_works_without_an_opening_record(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    build(&image, ends);
    image_fill(&image, 0, 50, 'x');
    write_bytes(scene, "kv.log", image_slice(&image));
    salvage(scene, "kv.log", "new.log", 0);
    expect_printed("from offset 0 to ");
    expect_salvaged(scene, "new.log", (const bool[BATCHES]){true});
    image_free(&image);
}

static void f88_salvage_writes_only_a_new_file(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    build(&image, ends);
    write_bytes(scene, "kv.log", image_slice(&image));
    write_bytes(scene, "other", SLICE_LITERAL("somebody's work"));
    assert_int_equal(symlink("nowhere", file_named(scene, "link").path), 0);
    assert_int_equal(mkdir(file_named(scene, "place").path, 0700), 0);
    const char *const names[] = {"other", "kv.log", "link", "place", "missing/new.log"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        salvage(scene, "kv.log", names[i], 1);
        assert_true(strlen(scene->server.messages) > 0);
        struct script other = read_bytes(scene, "other");
        assert_true(slice_equal(script_slice(&other), SLICE_LITERAL("somebody's work")));
        script_free(&other);
        assert_false(has_file(scene, "nowhere"));
        assert_false(has_file(scene, "other.new"));
        assert_false(has_file(scene, "kv.log.new"));
    }
    image_free(&image);
}

static void f88_salvage_reads_both_logs_of_a_compaction(void **state)
{
    struct scene *scene = *state;
    uint64_t lengths[2];
    write_pair(scene, lengths);
    salvage(scene, "kv.log", "new.log", 0);
    expect_printed("kept 2 keys");
    expect_printed("lost 0 bytes in all\n");
    expect_served(scene, "new.log", "GET kept\nGET newer\nGET gone\nCOUNT\n",
                  "in the older log\nnow\nno value stored\n2\n");
    assert_true(has_file(scene, "kv.log.old"));
}

static void f88_salvage_keeps_the_newer_log_beside_a_damaged_older_one(void **state)
{
    struct scene *scene = *state;
    uint64_t lengths[2];
    write_pair(scene, lengths);
    struct script older = read_bytes(scene, "kv.log.old");
    older.bytes[OPENING_BYTES + 18] ^= 1;
    write_bytes(scene, "kv.log.old", script_slice(&older));
    run(scene, verify, 3);
    salvage(scene, "kv.log", "new.log", 0);
    expect_printed("of ");
    expect_printed("kv.log.old\n");
    expect_served(scene, "new.log", "GET kept\nGET newer\nGET gone\nCOUNT\n",
                  "no value stored\nnow\nno value stored\n1\n");
    script_free(&older);
}

static void f88_f96_salvage_says_that_an_older_log_is_missing(void **state)
{
    struct scene *scene = *state;
    uint64_t lengths[2];
    char line[128];
    write_pair(scene, lengths);
    remove_log(scene, "kv.log.old");
    salvage(scene, "kv.log", "new.log", 0);
    expect_printed("lost whatever was only in ");
    expect_printed("kv.log.old, which is missing");
    (void)snprintf(line, sizeof line, "lost %llu bytes in all\n",
                   (unsigned long long)lengths[0]);
    expect_printed(line);
    expect_served(scene, "new.log", "GET kept\nGET newer\nCOUNT\n",
                  "no value stored\nnow\n1\n");
}

/* ---- --dump ---- */

static int compare_lines(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

/* The lines of a dump come in no order, so both are sorted before they are compared. */
static void expect_same_lines(const struct script *a, const struct script *b)
{
    enum { LINES_MAX = 64 };
    char *lines[2][LINES_MAX];
    size_t counts[2] = {0, 0};
    const struct script *scripts[] = {a, b};
    for (size_t side = 0; side < 2; side++) {
        struct script copy = {0};
        script_add(&copy, script_slice(scripts[side]));
        script_add_fill(&copy, '\0', 1);
        char *next = NULL;
        for (char *line = strtok_r((char *)copy.bytes, "\n", &next); line != NULL;
             line = strtok_r(NULL, "\n", &next)) {
            assert_in_range(counts[side], 0, LINES_MAX - 1);
            lines[side][counts[side]] = strdup(line);
            assert_non_null(lines[side][counts[side]]);
            counts[side]++;
        }
        qsort(lines[side], counts[side], sizeof lines[side][0], compare_lines);
        script_free(&copy);
    }
    assert_int_equal(counts[0], counts[1]);
    for (size_t i = 0; i < counts[0]; i++) {
        assert_string_equal(lines[0][i], lines[1][i]);
        free(lines[0][i]);
        free(lines[1][i]);
    }
}

struct pair {
    const char *key;
    const char *value;
};

static const struct pair pairs[] = {
    {"plain", "value"},
    {"empty", ""},
    {"spaces", "  two before, one after "},
    {"cr", "ends in CR\r"},
    {"two-crs", "\r\r"},
    {"cr-inside", "a\rb"},
    {"utf-8", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98"},
    {"\xc3\xbc", "a key beyond ASCII"},
    {"digits", "00000001"},
    {"command", "DELETE plain"},
    {"tab", "\t"},
};

enum { PAIRS = sizeof pairs / sizeof pairs[0] };

static void write_pairs_log(const struct scene *scene)
{
    struct image image;
    image_begin_first(&image);
    image_put_text(&image, "plain", "an older value");
    image_put_text(&image, "deleted", "value");
    image_seal(&image);
    for (size_t i = 0; i < PAIRS; i++) {
        image_put_text(&image, pairs[i].key, pairs[i].value);
    }
    image_delete(&image, "deleted");
    image_seal(&image);
    write_bytes(scene, "kv.log", image_slice(&image));
    image_free(&image);
}

static void a_dump_loads_again_into_the_same_state(void **state)
{
    struct scene *scene = *state;
    struct server_process server;
    struct client client;
    struct script first = {0};
    struct script replies = {0};
    write_pairs_log(scene);
    struct inventory inventory = take_inventory(scene);
    run(scene, dump, 0);
    expect_inventory(scene, &inventory);
    expect_printed("SET cr ends in CR\r\r\n");
    expect_printed("SET empty \n");
    script_add(&first, script_slice(&output));
    server_process_start(&server, file_named(scene, "new.log").path, NULL);
    client_open(&client, server.port);
    for (size_t i = 0; i < PAIRS; i++) {
        script_add_text(&replies, "success\n");
    }
    client_exchange(&client, script_slice(&first), script_slice(&replies));
    for (size_t i = 0; i < PAIRS; i++) {
        struct script request = {0};
        struct script reply = {0};
        script_add_format(&request, "GET %s\n", pairs[i].key);
        script_add_format(&reply, "%s\n", pairs[i].value);
        client_exchange(&client, script_slice(&request), script_slice(&reply));
        script_free(&request);
        script_free(&reply);
    }
    client_close(&client);
    server_process_stop(&server);
    run_on(scene, "new.log", dump, 0);
    expect_same_lines(&first, &output);
    script_free(&first);
    script_free(&replies);
}

static void a_dump_as_resp_carries_exact_bytes(void **state)
{
    struct scene *scene = *state;
    struct image image;
    image_begin_first(&image);
    image_put_text(&image, "key", "a value\r");
    image_seal(&image);
    write_bytes(scene, "kv.log", image_slice(&image));
    struct inventory inventory = take_inventory(scene);
    run(scene, dump_resp, 0);
    expect_output(SLICE_LITERAL("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$8\r\na value\r\r\n"));
    expect_inventory(scene, &inventory);
    image_free(&image);
}

/* The original lets any UTF-8 be a value, NUL included, and spaces be in a key. */
static void a_dump_names_what_no_line_can_carry(void **state)
{
    struct scene *scene = *state;
    struct script log = {0};
    add_plain(&log, SLICE_LITERAL("good"), SLICE_LITERAL("value"));
    add_plain(&log, SLICE_LITERAL("bad"), SLICE_LITERAL("a\0b"));
    write_bytes(scene, "kv.log", script_slice(&log));
    struct inventory inventory = take_inventory(scene);
    run(scene, dump, 1);
    expect_output(SLICE_LITERAL("SET good value\n"));
    expect_said(scene, "the key bad: no SET line");
    assert_null(strstr(scene->server.messages, "good"));
    expect_inventory(scene, &inventory);
    inventory = take_inventory(scene);
    run(scene, dump_resp, 0);
    static const char wanted[] = "*3\r\n$3\r\nSET\r\n$3\r\nbad\r\n$3\r\na\0b\r\n"
                                 "*3\r\n$3\r\nSET\r\n$4\r\ngood\r\n$5\r\nvalue\r\n";
    enum { FIRST = sizeof "*3\r\n$3\r\nSET\r\n$3\r\nbad\r\n$3\r\na\0b\r\n" - 1 };
    struct slice both = SLICE_LITERAL(wanted);
    struct script swapped = {0};
    script_add(&swapped, slice_after(both, FIRST));
    script_add(&swapped, slice_first(both, FIRST));
    assert_true(slice_equal(script_slice(&output), both) ||
                slice_equal(script_slice(&output), script_slice(&swapped)));
    script_free(&swapped);
    expect_inventory(scene, &inventory);
    script_free(&log);
}

static void a_dump_of_a_corrupt_log_prints_nothing(void **state)
{
    struct scene *scene = *state;
    struct image image;
    uint64_t ends[BATCHES];
    const char *const *const modes[] = {dump, dump_resp};
    build(&image, ends);
    image_flip(&image, ends[2] + 30, 3);
    write_bytes(scene, "kv.log", image_slice(&image));
    for (size_t i = 0; i < 2; i++) {
        struct inventory inventory = take_inventory(scene);
        run(scene, modes[i], 3);
        assert_int_equal(output.length, 0);
        expect_said(scene, "damaged at offset");
        expect_inventory(scene, &inventory);
    }
    image_free(&image);
}

static void a_dump_leaves_out_a_torn_tail_and_says_so(void **state)
{
    struct scene *scene = *state;
    struct image image;
    image_begin_first(&image);
    image_put_text(&image, "k", "v");
    image_seal(&image);
    image_put_text(&image, "k", "never acknowledged");
    write_bytes(scene, "kv.log", image_slice(&image));
    struct inventory inventory = take_inventory(scene);
    run(scene, dump, 0);
    expect_output(SLICE_LITERAL("SET k v\n"));
    expect_said(scene, "leaving out a torn tail");
    expect_inventory(scene, &inventory);
    image_free(&image);
}

static void a_dump_reads_both_logs_of_a_compaction(void **state)
{
    struct scene *scene = *state;
    uint64_t lengths[2];
    struct script expected = {0};
    write_pair(scene, lengths);
    struct inventory inventory = take_inventory(scene);
    run(scene, dump, 0);
    script_add_text(&expected, "SET kept in the older log\nSET newer now\n");
    expect_same_lines(&output, &expected);
    expect_inventory(scene, &inventory);
    script_free(&expected);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SCENE(verify_counts_what_a_clean_log_holds),
        ON_SCENE(verify_tells_a_torn_tail_and_leaves_it),
        ON_SCENE(verify_exits_3_and_names_the_place_of_damage),
        ON_SCENE(verify_reads_a_log_of_the_original),
        ON_SCENE(verify_reads_both_logs_of_a_compaction),
        ON_SCENE(the_modes_refuse_what_is_not_there_or_no_log),
        ON_SCENE(the_modes_read_an_older_log_without_its_successor),
        ON_SCENE(verify_calls_a_cut_older_log_without_its_successor_corrupt),
        ON_SCENE(the_modes_refuse_a_log_that_is_served),
        ON_SCENE(f74_the_modes_fail_when_their_output_is_closed),
        ON_SCENE(the_modes_tell_when_nobody_takes_their_output),
        ON_SCENE(f88_salvage_loses_exactly_the_damaged_batch),
        ON_SCENE(f88_salvage_of_a_whole_log_loses_nothing),
        ON_SCENE(f88_salvage_steps_over_several_damages),
        ON_SCENE(f88_salvage_works_without_an_opening_record),
        ON_SCENE(f88_salvage_writes_only_a_new_file),
        ON_SCENE(f88_salvage_reads_both_logs_of_a_compaction),
        ON_SCENE(f88_salvage_keeps_the_newer_log_beside_a_damaged_older_one),
        ON_SCENE(f88_f96_salvage_says_that_an_older_log_is_missing),
        ON_SCENE(a_dump_loads_again_into_the_same_state),
        ON_SCENE(a_dump_as_resp_carries_exact_bytes),
        ON_SCENE(a_dump_names_what_no_line_can_carry),
        ON_SCENE(a_dump_of_a_corrupt_log_prints_nothing),
        ON_SCENE(a_dump_leaves_out_a_torn_tail_and_says_so),
        ON_SCENE(a_dump_reads_both_logs_of_a_compaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
