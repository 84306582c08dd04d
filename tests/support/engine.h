/*
 * A log in a directory of its own, a store on it that is driven by text, and what the
 * operator was told about it.
 */
#ifndef KV_SUPPORT_ENGINE_H
#define KV_SUPPORT_ENGINE_H

#include "engine/store.h"
#include "support/script.h"
#include "support/shim.h"
#include "support/tempdir.h"

#include <sys/types.h>

/* A test on such a directory; *state is its struct engine. The shim is reset. */
#define ON_ENGINE(test)                                                                  \
    cmocka_unit_test_setup_teardown(test, engine_setup, engine_teardown)

struct engine {
    struct tempdir tempdir;
    struct tempdir_file log;
    struct tempdir_file messages; /* where stderr goes meanwhile */
    size_t messages_start;        /* those before were forgotten */
    int stderr_fd;                /* the real one */
    enum sync_policy sync;
    struct image_pace image_pace; /* all zero: as bounds.h says */
    bool
        keeps_index; /* else PATH.index is removed after a close: the log is read whole */
    struct store *store; /* NULL: none is open */
};

int engine_setup(void **state);
int engine_teardown(void **state);

/*
 * cmocka catches SIGBUS anew for each test, and a mapping installs its handler only
 * once in a program: the first call, before any test, keeps that handler; each further
 * call puts it back.
 */
void engine_catch_sigbus(void);

/* ---- The store ---- */

enum status engine_try_open(struct engine *engine);
void engine_open(struct engine *engine);
void engine_close(struct engine *engine);

/* Close a store that has failed: there is nothing left to save. */
void engine_abandon(struct engine *engine);

/* Remove PATH.index, if there is one. */
void engine_drop_index(const struct engine *engine);

/* End as kill -9 does: the log stays as it is at this moment, PATH.index goes. */
void engine_crash(struct engine *engine);

/* The same, where nothing of what a close would do reaches any file, PATH.index too. */
void engine_kill(struct engine *engine);

enum status engine_set(struct engine *engine, const char *key, const char *value);
enum status engine_delete(struct engine *engine, const char *key);

/* One batch of one record. */
void engine_put(struct engine *engine, const char *key, const char *value);

/* value: NULL if there must be none. */
void engine_expect(struct engine *engine, const char *key, const char *value);

/* What a read of the key answers when there is no value to give. */
void engine_expect_failure(struct engine *engine, const char *key, enum status status);

/*
 * Open the store in a child process, or take there what `take` opens or locks. The child
 * holds it until engine_end_holder kills it, or until this program is gone: a failed test
 * leaves nobody behind.
 */
pid_t engine_hold_elsewhere(struct engine *engine);
pid_t engine_take_elsewhere(struct engine *engine,
                            enum status (*take)(struct engine *engine));
void engine_end_holder(pid_t holder);

/* ---- Files: suffix "" is the log ---- */

struct tempdir_file engine_file(const struct engine *engine, const char *suffix);
bool engine_has_file(const struct engine *engine, const char *suffix);
uint64_t engine_log_length(const struct engine *engine);

/* A copy of a file; released with script_free. */
struct script engine_read(const struct engine *engine, const char *suffix);
void engine_write(const struct engine *engine, const char *suffix, struct slice bytes);
void engine_expect_file(const struct engine *engine, const char *suffix,
                        struct slice bytes);

/* Change one byte of the log in place. */
void engine_flip(const struct engine *engine, uint64_t offset, uint8_t mask);

/* The log is these bytes and has no side files but its lock; the shim is reset, syncs are
 * omitted, and nothing was told. */
void engine_place(struct engine *engine, struct slice bytes);

/*
 * Mappings of the log, or of files of another role, show a file of these bytes instead.
 * Reading behind its end raises SIGBUS, as a disk that cannot be read does.
 *
 * Returns its descriptor, for whoever cuts it further; engine_map_again ends it.
 */
int engine_map_instead(const struct engine *engine, enum shim_role role,
                       struct slice bytes);
void engine_map_again(enum shim_role role, int fd);

/* For shim_before: cuts the file of such a descriptor to its first page. */
void engine_cut_to_a_page(void *fd);

/* How many files the directory has whose names contain a text. */
size_t engine_count_files(const struct engine *engine, const char *text);

/* Remove the side files of the log, but its lock. */
void engine_clean(const struct engine *engine);

/* ---- Messages ---- */

/* Lines on stderr that contain a text, since the last engine_forget_messages. */
size_t engine_told(const struct engine *engine, const char *text);
void engine_forget_messages(struct engine *engine);

/*
 * Exactly one line since then is "kv-store: " and this. In it PATH stands for the path
 * of the log, DIRECTORY for the one that it lies in, OFFSET for the number and ERROR for
 * the text of errno.
 */
void engine_expect_line(const struct engine *engine, const char *line, uint64_t offset,
                        int error);

/* ---- A model: what the store must hold ---- */

enum { MODEL_KEYS = 12, MODEL_VALUE_BYTES = 6000 };

struct model {
    bool has[MODEL_KEYS];
    char values[MODEL_KEYS][MODEL_VALUE_BYTES];
};

/* The key with a number below MODEL_KEYS; valid until the next call. */
const char *model_key(size_t number);

void model_set(struct model *model, size_t number, const char *value);
void model_delete(struct model *model, size_t number);

/* Values, existence, counts, live bytes and the walk are those of the model. */
void model_expect(const struct model *model, struct engine *engine);

/* Whether the values alone are those of the model. */
bool model_matches(const struct model *model, struct engine *engine);

#endif
