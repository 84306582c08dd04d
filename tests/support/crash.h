/*
 * What a power loss may leave of a directory.
 *
 * A trace records the changes that the program makes to one directory, as the shim's
 * witness sees them. Going through it again, crash_explore builds after each change the
 * states that a disk may be in if the power fails there: of the names, any subset of
 * the changes since the directory was last synced; of each file, any of its blocks in
 * any version since it was last synced, any length that it had meanwhile, and truncations
 * done or not. That a file's sync makes its name durable too is never assumed. The idea
 * is that of ALICE (Pillai et al., OSDI 2014) and of LevelDB's fault injection tests.
 *
 * The trace also watches four rules on the order of changes, in every run:
 * no byte is written behind a seal that is not synced, no file takes another's name and
 * none is unlinked before the new one and its name are durable, nothing that was synced
 * is cut off a file while the name of the copy is not durable, and no saved index gets
 * its name before its log is synced.
 */
#ifndef KV_SUPPORT_CRASH_H
#define KV_SUPPORT_CRASH_H

#include "base/slice.h"
#include "support/shim.h"

enum { CRASH_FILES_MAX = 12, CRASH_NAME_BYTES = 64 };

struct crash_file {
    char name[CRASH_NAME_BYTES];
    struct slice bytes;
    bool has_garbage;       /* bytes that nobody wrote are in it, and not all are zero */
    bool has_middle_length; /* no single write gave it its length */
};

/* The files of a directory; bytes are borrowed. */
struct crash_state {
    struct crash_file files[CRASH_FILES_MAX];
    size_t file_count;
    uint64_t hash; /* of names and bytes */
};

/* NULL if there is none. */
const struct crash_file *crash_find(const struct crash_state *state, const char *name);

/* Which of the states that a test numbers may be found after a power loss. */
struct crash_promise {
    size_t min;
    size_t max;
};

struct crash_trace;

struct crash_trace *crash_trace_create(void);
void crash_trace_destroy(struct crash_trace *trace);

/*
 * Forget everything and begin with these files, all durable; they are copied.
 *
 * syncs_always: a byte behind an unsynced seal breaks a rule.
 */
void crash_trace_begin(struct crash_trace *trace, const struct crash_state *start,
                       bool syncs_always);

/* For shim_witness: context is a struct crash_trace. */
void crash_trace_witness(void *context, const struct shim_change *change);

/* What holds from the last recorded change on. */
void crash_trace_promise(struct crash_trace *trace, struct crash_promise promise);

/* The same for everything that was recorded. */
void crash_trace_promise_all(struct crash_trace *trace, struct crash_promise promise);

/* The files as the running program sees them; valid until the trace goes on. */
void crash_trace_now(const struct crash_trace *trace, struct crash_state *state_out);

/* Entries so far: changes, syncs and promises; and how many of them change a file. */
size_t crash_trace_length(const struct crash_trace *trace);
size_t crash_trace_change_count(const struct crash_trace *trace);

/* The first rule on the order that was broken; NULL: none. */
const char *crash_trace_broken_rule(const struct crash_trace *trace);

struct crash_plan {
    size_t first;        /* explore from this entry of the trace on */
    size_t contents_max; /* versions of one file at one place, sampled beyond */
    bool disk_lies;      /* no sync makes anything durable */
    uint64_t seed;       /* for what is sampled */
};

/* visit: state and what it points at are valid during the call; place: in the trace. */
typedef void crash_visitor(void *context, const struct crash_state *state,
                           struct crash_promise promise, size_t place);

void crash_explore(const struct crash_trace *trace, const struct crash_plan *plan,
                   crash_visitor *visit, void *context);

#endif
