/*
 * The system calls of the program under test, replaced at link time: counted, traced,
 * failed, cut short, and told another time.
 *
 * A test names what it wraps in comment lines of its source, see the Makefile:
 *
 *     wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync
 *     wrap: posix_fadvise renameat unlinkat fcntl mmap fopen fstatvfs recv send shutdown
 * poll wrap: clock_gettime malloc calloc realloc strdup
 *
 * What it does not name is never seen here. All definitions are weak, so that a test
 * may replace one of them by its own. Until told otherwise every call is carried out as
 * it is. State is one for the whole program, which has one thread.
 */
#ifndef KV_SUPPORT_SHIM_H
#define KV_SUPPORT_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum shim_call {
    SHIM_OPEN,
    SHIM_OPENAT,
    SHIM_CLOSE,
    SHIM_FSTAT,
    SHIM_FSTATAT,
    SHIM_PWRITE,
    SHIM_FTRUNCATE,
    SHIM_FDATASYNC,
    SHIM_FSYNC,
    SHIM_FADVISE,
    SHIM_RENAMEAT,
    SHIM_UNLINKAT,
    SHIM_FCNTL,
    SHIM_MMAP,
    SHIM_FOPEN,
    SHIM_FSTATVFS,
    SHIM_RECV,
    SHIM_SEND,
    SHIM_SHUTDOWN,
    SHIM_POLL,
    SHIM_MALLOC,
    SHIM_CALLOC,
    SHIM_REALLOC,
    SHIM_STRDUP,
    SHIM_CALL_COUNT
};

/* Sets of calls. */
#define SHIM_BIT(call) (1u << (call))
#define SHIM_CHANGES                                                                     \
    (SHIM_BIT(SHIM_OPENAT) | SHIM_BIT(SHIM_PWRITE) | SHIM_BIT(SHIM_FTRUNCATE) |          \
     SHIM_BIT(SHIM_FDATASYNC) | SHIM_BIT(SHIM_FSYNC) | SHIM_BIT(SHIM_RENAMEAT) |         \
     SHIM_BIT(SHIM_UNLINKAT))
#define SHIM_FILES                                                                       \
    (SHIM_CHANGES | SHIM_BIT(SHIM_OPEN) | SHIM_BIT(SHIM_CLOSE) | SHIM_BIT(SHIM_FSTAT) |  \
     SHIM_BIT(SHIM_FSTATAT) | SHIM_BIT(SHIM_FADVISE) | SHIM_BIT(SHIM_FCNTL) |            \
     SHIM_BIT(SHIM_MMAP) | SHIM_BIT(SHIM_FOPEN) | SHIM_BIT(SHIM_FSTATVFS))
#define SHIM_MEMORY                                                                      \
    (SHIM_BIT(SHIM_MALLOC) | SHIM_BIT(SHIM_CALLOC) | SHIM_BIT(SHIM_REALLOC) |            \
     SHIM_BIT(SHIM_STRDUP))

/* What a file is to the program, told by the end of its name; it follows a rename. */
enum shim_role {
    SHIM_ANY, /* only to match with */
    SHIM_OTHER,
    SHIM_DIRECTORY,
    SHIM_LOG,
    SHIM_LOCK,
    SHIM_NEW,
    SHIM_TORN,
    SHIM_OLD,
    SHIM_INDEX,
    SHIM_ROLE_COUNT
};

/* Carry out every call as it is, forget counts, trace and hooks; the clock ticks. */
void shim_reset(void);

/* ---- Faults ---- */

enum { SHIM_FAULTS_MAX = 8 };

struct shim_fault {
    unsigned calls;      /* which calls it meets, SHIM_BIT each */
    enum shim_role role; /* of which files; 0, which is SHIM_ANY, means all */
    uint64_t nth;        /* which of them fails first, 1 being the next */
    int error;           /* errno; the call is not carried out (memory: NULL) */
    bool is_sticky;      /* all later ones fail as well */
};

/* Add a fault to those that are armed. */
void shim_inject(const struct shim_fault *fault);

/* The same for the nth of these calls alone, and for it and all later ones. */
void shim_fail_once(unsigned calls, enum shim_role role, uint64_t nth, int error);
void shim_fail_from(unsigned calls, enum shim_role role, uint64_t nth, int error);

void shim_clear_faults(void);

/* How many calls have failed by an injected fault since shim_reset. */
uint64_t shim_fired_count(void);

/* At most this many bytes for each pwrite, send or recv; SHIM_HALF: half of what is
 * asked, rounded up; 0: no limit. */
#define SHIM_HALF SIZE_MAX
void shim_limit_bytes(unsigned calls, size_t bytes_max);

/*
 * No file of this role may grow beyond `length` bytes: a pwrite that would is cut
 * short there, and fails with the error when nothing at all fits.
 */
void shim_set_space(enum shim_role role, uint64_t length, int error);
void shim_give_space(void);

/* What fstatvfs found passes through here before it is told; NULL: no more. */
struct statvfs;
void shim_change_space(void (*change)(struct statvfs *info));

/* fstat and fstatat tell of files of this role that they belong to somebody else. */
void shim_disown(enum shim_role role);

/*
 * The file of this name and its side files lie where nothing can be changed: opening one
 * of them to write or create it fails with EROFS.
 */
void shim_make_read_only(const char *name);

/*
 * Mappings of files of this role show another file, which may be shorter: reading behind
 * its end raises SIGBUS, as a disk that cannot be read does. -1: no more.
 */
void shim_map_role_instead(enum shim_role role, int fd);

/* From now on, until shim_reset, the page at this offset cannot be read through a new
 * mapping of the log: it raises SIGBUS, while those before and behind it do not. */
void shim_lose_page(uint64_t offset);

/* From now on, until shim_reset, the page behind each new mapping cannot be read. */
void shim_guard_views(void);

/* Call hook(context) once, before the next of these calls to such a file. */
void shim_before(unsigned calls, enum shim_role role, void (*hook)(void *context),
                 void *context);

/* fdatasync and fsync succeed without reaching a disk: for tests that lose power only in
 * a model of it, or of many small cases in a row. */
void shim_omit_syncs(void);

/* /dev/urandom gives the same bytes again for the same seed. */
void shim_set_random(uint64_t seed);

/* ---- Counts and trace ---- */

uint64_t shim_count(enum shim_call call);

/* All calls of a set. */
uint64_t shim_count_all(unsigned calls);

enum { SHIM_EVENTS_MAX = 4096 };

struct shim_event {
    enum shim_call call;
    enum shim_role role;
    uint64_t offset; /* of pwrite, posix_fadvise; new length of ftruncate */
    uint64_t length; /* bytes asked for; of pwrite, those that were written */
    int error;       /* 0 if it was carried out with success */
};

/* Call witness(context, change) after each call of SHIM_CHANGES that was carried out with
 * success, until shim_reset; NULL: no more. */
void shim_witness(void (*witness)(void *context, const struct shim_event *change),
                  void *context);

/* Events since the last shim_forget_trace; calls for memory are counted but not kept. */
size_t shim_event_count(void);
const struct shim_event *shim_event_at(size_t i);
void shim_forget_trace(void);

/*
 * The events of a set of calls in order, such as "pwrite:log fstat:log fdatasync:log";
 * one that failed ends in "!". Valid until the next call.
 */
const char *shim_trace_text(unsigned calls);

/* What has such a name in there. */
enum shim_call shim_call_named(const char *name);
enum shim_role shim_role_named(const char *name);

/*
 * ---- Time ----
 *
 * No test sees the real clock, so that none can depend on how fast a machine is: the
 * Makefile wraps clock_gettime in all of them. Until told otherwise each look at the
 * monotonic clock takes a microsecond, and a poll that ends for want of events takes its
 * timeout; nothing else takes any time.
 */

/* For watchdogs alone: the clock that runs by itself. */
uint64_t shim_real_clock_ms(void);

/* Stop the monotonic clock at a moment, or move it on from there. */
void shim_set_clock(uint64_t now_ms);
void shim_advance_clock(uint64_t ms);

/* Have the clock run, and each look at it take so long. */
void shim_slow_down(uint64_t look_us);

/*
 * Let another process move the clock, which must have been stopped. It goes on only in
 * poll, and only when that has nothing ready: then a uint64_t of milliseconds is read
 * from `orders_fd`. poll returns at each moment that it was to wait for; once the order
 * has been used up and there is nothing ready again, the moment that it is then waiting
 * for, or UINT64_MAX, is written to `answers_fd` as a uint64_t.
 */
void shim_obey(int orders_fd, int answers_fd);

#endif
