/*
 * Plumbing for tests of the storage engine.
 */
#include "support/engine.h"

#include "file/mapping.h"
#include "log/record.h"
#include "support/keyed.h"
#include "support/redirect.h"
#include "support/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char messages_name[] = "messages";

int engine_setup(void **state)
{
    struct engine *engine = calloc(1, sizeof *engine);
    assert_non_null(engine);
    shim_reset();
    tempdir_create(&engine->tempdir);
    engine->log = tempdir_file(&engine->tempdir, "kv.log");
    engine->messages = tempdir_file(&engine->tempdir, messages_name);
    engine->stderr_fd = redirect_begin(stderr, engine->messages.path);
    *state = engine;
    return 0;
}

int engine_teardown(void **state)
{
    struct engine *engine = *state;
    shim_reset();
    (void)store_close(engine->store); /* whatever the test left it in */
    redirect_end(stderr, engine->stderr_fd);
    tempdir_remove(&engine->tempdir);
    free(engine);
    return 0;
}

void engine_catch_sigbus(void)
{
    static struct sigaction kept;
    static bool is_kept;
    if (is_kept) {
        assert_int_equal(sigaction(SIGBUS, &kept, NULL), 0);
        return;
    }
    char path[] = "/tmp/kv-test-sigbus-XXXXXX";
    struct mapping *mapping = NULL;
    uint64_t length = 0;
    int fd = mkstemp(path);
    if (fd < 0 || mapping_open(fd, &mapping, &length) != KV_OK) {
        abort();
    }
    mapping_close(mapping);
    (void)close(fd); /* nothing was written */
    (void)unlink(path);
    (void)sigaction(SIGBUS, NULL, &kept); /* cannot fail for this signal */
    is_kept = true;
}

enum status engine_try_open(struct engine *engine)
{
    struct store_options options = {
        .path = engine->log.path, .sync = engine->sync, .image_pace = engine->image_pace};
    assert_null(engine->store);
    return store_open(&options, &engine->store);
}

void engine_open(struct engine *engine)
{
    assert_int_equal(engine_try_open(engine), KV_OK);
}

void engine_close(struct engine *engine)
{
    struct store *store = engine->store;
    engine->store = NULL;
    assert_int_equal(store_close(store), KV_OK);
    if (!engine->keeps_index) {
        engine_drop_index(engine);
    }
}

void engine_abandon(struct engine *engine)
{
    struct store *store = engine->store;
    engine->store = NULL;
    (void)store_close(store); /* whatever it says */
}

void engine_drop_index(const struct engine *engine)
{
    struct tempdir_file file = tempdir_file(&engine->tempdir, "kv.log.index");
    (void)unlink(file.path); /* there may be none */
}

void engine_crash(struct engine *engine)
{
    struct script log = engine_read(engine, "");
    engine_abandon(engine); /* what it did is undone at once */
    engine_drop_index(engine);
    engine_write(engine, "", script_slice(&log));
    script_free(&log);
}

void engine_kill(struct engine *engine)
{
    shim_fail_from(SHIM_CHANGES, SHIM_ANY, 1, EIO);
    engine_abandon(engine); /* whatever it wanted to do did not happen */
    shim_clear_faults();
}

pid_t engine_hold_elsewhere(struct engine *engine)
{
    return engine_take_elsewhere(engine, engine_try_open);
}

pid_t engine_take_elsewhere(struct engine *engine,
                            enum status (*take)(struct engine *engine))
{
    int ready[2];
    int alive[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(alive), 0);
    pid_t holder = fork();
    if (holder == 0) {
        (void)close(alive[1]);
        if (take(engine) != KV_OK || write(ready[1], "", 1) != 1) {
            _exit(1);
        }
        _exit((int)read(alive[0], &byte, 1)); /* nothing is ever written there */
    }
    (void)close(ready[1]); /* so that a child that fails is not waited for */
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    (void)close(alive[0]); /* the other end stays open as long as this program runs */
    return holder;
}

void engine_end_holder(pid_t holder)
{
    assert_int_equal(kill(holder, SIGKILL), 0);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
}

enum status engine_set(struct engine *engine, const char *key, const char *value)
{
    return keyed_set(engine->store, slice_of_text(key), slice_of_text(value));
}

enum status engine_delete(struct engine *engine, const char *key)
{
    return keyed_delete(engine->store, slice_of_text(key));
}

void engine_put(struct engine *engine, const char *key, const char *value)
{
    assert_int_equal(engine_set(engine, key, value), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
}

void engine_expect(struct engine *engine, const char *key, const char *value)
{
    struct slice found;
    enum status status = keyed_get(engine->store, slice_of_text(key), &found);
    assert_int_equal(status, value == NULL ? KV_NOT_FOUND : KV_OK);
    assert_int_equal(keyed_exists(engine->store, slice_of_text(key)), status);
    if (value != NULL) {
        assert_int_equal(found.length, strlen(value));
        assert_memory_equal(found.bytes, value, found.length);
    }
}

void engine_expect_failure(struct engine *engine, const char *key, enum status status)
{
    struct slice found;
    assert_int_equal(keyed_get(engine->store, slice_of_text(key), &found), status);
}

struct tempdir_file engine_file(const struct engine *engine, const char *suffix)
{
    struct tempdir_file file;
    int length = snprintf(file.path, sizeof file.path, "%s%s", engine->log.path, suffix);
    assert_in_range(length, 1, sizeof file.path - 1);
    return file;
}

bool engine_has_file(const struct engine *engine, const char *suffix)
{
    struct stat info;
    return lstat(engine_file(engine, suffix).path, &info) == 0;
}

uint64_t engine_log_length(const struct engine *engine)
{
    struct stat info;
    assert_int_equal(stat(engine->log.path, &info), 0);
    return (uint64_t)info.st_size;
}

struct script engine_read(const struct engine *engine, const char *suffix)
{
    struct script script = {0};
    script_add_file(&script, engine_file(engine, suffix).path);
    return script;
}

/*
 * In place, and cut at the end: some file systems sync a file that is cut to nothing and
 * written anew, which would take most of the time of these tests.
 */
void engine_write(const struct engine *engine, const char *suffix, struct slice bytes)
{
    struct tempdir_file path = engine_file(engine, suffix);
    FILE *file = fopen(path.path, "r+");
    if (file == NULL) {
        file = fopen(path.path, "w");
    }
    assert_non_null(file);
    if (bytes.length > 0) {
        assert_int_equal(fwrite(bytes.bytes, 1, bytes.length, file), bytes.length);
    }
    assert_int_equal(fclose(file), 0);
    struct stat info;
    assert_int_equal(stat(path.path, &info), 0);
    if ((uint64_t)info.st_size != bytes.length) {
        assert_int_equal(truncate(path.path, (off_t)bytes.length), 0);
    }
}

void engine_expect_file(const struct engine *engine, const char *suffix,
                        struct slice bytes)
{
    struct script script = engine_read(engine, suffix);
    assert_int_equal(script.length, bytes.length);
    if (bytes.length > 0) {
        assert_memory_equal(script.bytes, bytes.bytes, bytes.length);
    }
    script_free(&script);
}

void engine_flip(const struct engine *engine, uint64_t offset, uint8_t mask)
{
    uint8_t byte = 0;
    int fd = open(engine->log.path, O_RDWR);
    assert_in_range(fd, 0, 1023);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    assert_int_equal(close(fd), 0);
}

void engine_place(struct engine *engine, struct slice bytes)
{
    engine_clean(engine);
    engine_write(engine, "", bytes);
    engine_forget_messages(engine);
    shim_reset();
    shim_omit_syncs();
}

int engine_map_instead(const struct engine *engine, enum shim_role role,
                       struct slice bytes)
{
    static const char suffix[] = ".shown";
    engine_write(engine, suffix, bytes);
    int fd = open(engine_file(engine, suffix).path, O_RDWR);
    assert_in_range(fd, 0, 1023);
    assert_int_equal(unlink(engine_file(engine, suffix).path), 0);
    shim_map_role_instead(role, fd);
    return fd;
}

void engine_map_again(enum shim_role role, int fd)
{
    shim_map_role_instead(role, -1);
    assert_int_equal(close(fd), 0);
}

void engine_cut_to_a_page(void *fd)
{
    assert_int_equal(ftruncate(*(const int *)fd, 4096), 0);
}

size_t engine_count_files(const struct engine *engine, const char *text)
{
    size_t count = 0;
    DIR *directory = opendir(engine->tempdir.path);
    assert_non_null(directory);
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        count += strstr(entry->d_name, text) != NULL;
    }
    closedir(directory);
    return count;
}

void engine_clean(const struct engine *engine)
{
    DIR *directory = opendir(engine->tempdir.path);
    assert_non_null(directory);
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        bool is_side_file = strncmp(entry->d_name, "kv.log.", 7) == 0;
        if (is_side_file && strcmp(entry->d_name, "kv.log.lock") != 0) {
            struct tempdir_file file = tempdir_file(&engine->tempdir, entry->d_name);
            assert_int_equal(unlink(file.path), 0);
        }
    }
    closedir(directory);
}

/* Lines that contain a text, or that are nothing else. */
static size_t count_lines(const struct engine *engine, const char *text, bool is_whole)
{
    struct script script = {0};
    script_add_file(&script, engine->messages.path);
    script_add(&script, (struct slice){(const uint8_t *)"", 1}); /* ends the text */
    size_t count = 0;
    char *line = (char *)script.bytes + engine->messages_start;
    while (*line != '\0') {
        char *end = strchr(line, '\n');
        assert_non_null(end); /* a message is a whole line */
        *end = '\0';
        count += is_whole ? strcmp(line, text) == 0 : strstr(line, text) != NULL;
        line = end + 1;
    }
    script_free(&script);
    return count;
}

size_t engine_told(const struct engine *engine, const char *text)
{
    return count_lines(engine, text, false);
}

/* The line with its places filled in, and a NUL at its end. */
static struct script fill_in(const struct engine *engine, const char *line,
                             uint64_t offset, int error)
{
    char number[32];
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)offset); /* fits */
    const char *const places[][2] = {
        {"PATH", engine->log.path},
        {"DIRECTORY", engine->tempdir.path},
        {"OFFSET", number},
        {"ERROR", strerror(error)},
    };
    enum { COUNT = sizeof places / sizeof places[0] };
    struct script filled = {0};
    script_add_text(&filled, "kv-store: ");
    while (*line != '\0') {
        size_t i = 0;
        while (i < COUNT && strncmp(line, places[i][0], strlen(places[i][0])) != 0) {
            i++;
        }
        if (i < COUNT) {
            script_add_text(&filled, places[i][1]);
            line += strlen(places[i][0]);
        } else {
            script_add_fill(&filled, *line++, 1);
        }
    }
    script_add_fill(&filled, '\0', 1);
    return filled;
}

void engine_expect_line(const struct engine *engine, const char *line, uint64_t offset,
                        int error)
{
    struct script wanted = fill_in(engine, line, offset, error);
    size_t count = count_lines(engine, (const char *)wanted.bytes, true);
    if (count != 1) {
        struct script told = {0};
        script_add_file(&told, engine->messages.path);
        script_add_fill(&told, '\0', 1);
        /* stderr is where the messages go, so the reason goes to stdout. */
        print_message("%zu times instead of once:\n%s\nit was told:\n%s", count,
                      (const char *)wanted.bytes,
                      (const char *)told.bytes + engine->messages_start);
        fail();
    }
    script_free(&wanted);
}

void engine_forget_messages(struct engine *engine)
{
    struct stat info;
    assert_int_equal(stat(engine->messages.path, &info), 0);
    engine->messages_start = (size_t)info.st_size;
}

const char *model_key(size_t number)
{
    static char text[32];
    assert_in_range(number, 0, MODEL_KEYS - 1);
    (void)snprintf(text, sizeof text, "key-%zu", number);
    return text;
}

void model_set(struct model *model, size_t number, const char *value)
{
    assert_in_range(strlen(value), 0, MODEL_VALUE_BYTES - 1);
    model->has[number] = true;
    (void)snprintf(model->values[number], MODEL_VALUE_BYTES, "%s", value);
}

void model_delete(struct model *model, size_t number)
{
    model->has[number] = false;
}

bool model_matches(const struct model *model, struct engine *engine)
{
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        struct slice value;
        enum status status =
            keyed_get(engine->store, slice_of_text(model_key(i)), &value);
        bool is_right =
            model->has[i]
                ? status == KV_OK && slice_equal(value, slice_of_text(model->values[i]))
                : status == KV_NOT_FOUND;
        if (!is_right) {
            return false;
        }
    }
    return true;
}

/* The walk meets exactly the keys that have a value, each once. */
static void expect_walk(const struct model *model, const struct engine *engine)
{
    bool is_met[MODEL_KEYS] = {false};
    uint64_t position = 0;
    struct slice key;
    enum status status = KV_OK;
    while ((status = store_walk(engine->store, &position, &key)) == KV_OK) {
        size_t i = 0;
        while (i < MODEL_KEYS && !slice_equal(key, slice_of_text(model_key(i)))) {
            i++;
        }
        assert_in_range(i, 0, MODEL_KEYS - 1);
        assert_false(is_met[i]);
        is_met[i] = true;
    }
    assert_int_equal(status, KV_NOT_FOUND);
    assert_memory_equal(is_met, model->has, sizeof is_met);
}

void model_expect(const struct model *model, struct engine *engine)
{
    uint64_t key_count = 0;
    uint64_t live_bytes = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        const char *key = model_key(i);
        engine_expect(engine, key, model->has[i] ? model->values[i] : NULL);
        key_count += model->has[i];
        live_bytes +=
            model->has[i] ? record_length(strlen(key), strlen(model->values[i])) : 0;
    }
    struct store_stats stats = store_stats(engine->store);
    assert_int_equal(store_count(engine->store), key_count);
    assert_int_equal(stats.keys, key_count);
    assert_int_equal(stats.live_bytes, live_bytes);
    assert_int_equal(stats.dead_bytes, stats.log_bytes - live_bytes);
    expect_walk(model, engine);
}
