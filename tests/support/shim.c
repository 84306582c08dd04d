/*
 * Wrappers for the linker's --wrap. The real functions are weak too: a test that does
 * not wrap one leaves its __real_ name without a meaning, and never calls it.
 */
#include "support/shim.h"

#include "base/platform.h"
#include "support/dice.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { FDS_MAX = 4096, NAME_BYTES = 256, TRACE_TEXT_BYTES = 65536 };

/* Both names of a function; weak, see above. */
#define WRAPPED(result, name, parameters)                                                \
    result __real_##name parameters __attribute__((weak));                               \
    result __wrap_##name parameters __attribute__((weak))

WRAPPED(int, open, (const char *path, int flags, ...));
WRAPPED(int, openat, (int directory, const char *name, int flags, ...));
WRAPPED(int, close, (int fd));
WRAPPED(int, fstat, (int fd, struct stat *info));
WRAPPED(int, fstatat, (int directory, const char *name, struct stat *info, int flags));
WRAPPED(ssize_t, pwrite, (int fd, const void *bytes, size_t length, off_t offset));
WRAPPED(int, ftruncate, (int fd, off_t length));
WRAPPED(int, fdatasync, (int fd));
WRAPPED(int, fsync, (int fd));
WRAPPED(int, posix_fadvise, (int fd, off_t offset, off_t length, int advice));
WRAPPED(int, renameat, (int from_dir, const char *from, int to_dir, const char *to));
WRAPPED(int, unlinkat, (int directory, const char *name, int flags));
WRAPPED(int, fcntl, (int fd, int command, ...));
WRAPPED(void *, mmap,
        (void *place, size_t length, int protection, int flags, int fd, off_t offset));
WRAPPED(FILE *, fopen, (const char *path, const char *mode));
WRAPPED(int, fstatvfs, (int fd, struct statvfs *info));
WRAPPED(ssize_t, recv, (int fd, void *bytes, size_t length, int flags));
WRAPPED(ssize_t, send, (int fd, const void *bytes, size_t length, int flags));
WRAPPED(int, shutdown, (int fd, int how));
WRAPPED(int, poll, (struct pollfd * fds, nfds_t count, int timeout));
WRAPPED(int, clock_gettime, (clockid_t clock, struct timespec *now));
WRAPPED(void *, malloc, (size_t size));
WRAPPED(void *, calloc, (size_t count, size_t size));
WRAPPED(void *, realloc, (void *memory, size_t size));
WRAPPED(char *, strdup, (const char *text));

static const char *const call_names[SHIM_CALL_COUNT] = {
    "open",      "openat",    "close",  "fstat",         "fstatat",  "pwrite",
    "ftruncate", "fdatasync", "fsync",  "posix_fadvise", "renameat", "unlinkat",
    "fcntl",     "mmap",      "fopen",  "fstatvfs",      "recv",     "send",
    "shutdown",  "poll",      "malloc", "calloc",        "realloc",  "strdup",
};

static const char *const role_names[SHIM_ROLE_COUNT] = {
    "any", "other", "directory", "log", "lock", "new", "torn", "old", "index",
};

struct armed_fault {
    struct shim_fault fault;
    uint64_t seen;
};

struct state {
    struct armed_fault faults[SHIM_FAULTS_MAX];
    size_t fault_count;
    uint64_t fired_count;
    uint64_t counts[SHIM_CALL_COUNT];

    unsigned limited_calls;
    size_t bytes_max;

    enum shim_role space_role; /* SHIM_ANY: there is space enough */
    uint64_t space_length;
    int space_error;
    void (*change_space)(struct statvfs *info);

    enum shim_role disowned_role; /* SHIM_ANY: none */
    const char *read_only_name;   /* NULL: none */
    int map_instead_fd_plus_one;  /* 0: none */
    bool guards_views;
    bool loses_page;
    uint64_t lost_offset;
    enum shim_role map_instead_role;

    unsigned hook_calls;
    enum shim_role hook_role;
    void (*hook)(void *context);
    void *hook_context;

    bool omits_syncs;
    bool has_random;
    uint64_t random;

    void (*witness)(void *context, const struct shim_event *change);
    void *witness_context;

    bool is_stopped;
    uint64_t now_us;  /* since CLOCK_START_US */
    uint64_t more_us; /* that a look at a clock that runs takes, besides one */
    bool is_obeying;
    int orders_fd;
    int answers_fd;
    bool owes_answer;
    uint64_t ordered_ms; /* what is left of the last order */

    size_t event_count;
};

static struct state state;

/* Beside it, so that a reset, which tests make by the thousand, need not clear them. */
static struct shim_event events[SHIM_EVENTS_MAX];

/* What openat was told of each descriptor; empty: not opened there. */
static char fd_names[FDS_MAX][NAME_BYTES];
static bool is_directory_fd[FDS_MAX];

void shim_reset(void)
{
    memset(&state, 0, sizeof state);
}

static bool ends_in(const char *name, const char *end)
{
    size_t name_length = strlen(name);
    size_t end_length = strlen(end);
    return name_length >= end_length && strcmp(name + name_length - end_length, end) == 0;
}

static enum shim_role role_of_name(const char *name)
{
    return name[0] == '\0'                  ? SHIM_OTHER
           : ends_in(name, ".lock")         ? SHIM_LOCK
           : ends_in(name, ".new")          ? SHIM_NEW
           : ends_in(name, ".old")          ? SHIM_OLD
           : ends_in(name, ".index")        ? SHIM_INDEX
           : strstr(name, ".torn.") != NULL ? SHIM_TORN
                                            : SHIM_LOG;
}

static bool is_known(int fd)
{
    return fd >= 0 && fd < FDS_MAX;
}

static enum shim_role role_of_fd(int fd)
{
    return !is_known(fd)         ? SHIM_OTHER
           : is_directory_fd[fd] ? SHIM_DIRECTORY
                                 : role_of_name(fd_names[fd]);
}

static void name_fd(int fd, const char *name)
{
    if (is_known(fd)) {
        is_directory_fd[fd] = false;
        (void)snprintf(fd_names[fd], NAME_BYTES, "%s", name); /* only its end matters */
    }
}

static bool matches(unsigned calls, enum shim_role role, const struct shim_event *event)
{
    return (calls & SHIM_BIT(event->call)) != 0 &&
           (role == SHIM_ANY || role == event->role);
}

/* Count a call and meet the faults that are armed; returns 0 or the errno to fail with.
 */
static int meet(const struct shim_event *event)
{
    int error = 0;
    state.counts[event->call]++;
    if (state.hook != NULL && matches(state.hook_calls, state.hook_role, event)) {
        void (*hook)(void *) = state.hook;
        state.hook = NULL; /* the hook may make such calls itself */
        hook(state.hook_context);
    }
    for (size_t i = 0; i < state.fault_count; i++) {
        struct armed_fault *armed = &state.faults[i];
        if (!matches(armed->fault.calls, armed->fault.role, event)) {
            continue;
        }
        armed->seen++;
        bool fires = armed->fault.is_sticky ? armed->seen >= armed->fault.nth
                                            : armed->seen == armed->fault.nth;
        if (fires && error == 0) {
            error = armed->fault.error;
        }
    }
    state.fired_count += error != 0;
    return error;
}

static void keep(const struct shim_event *event, int error)
{
    if (state.event_count < SHIM_EVENTS_MAX) {
        events[state.event_count] = *event;
        events[state.event_count].error = error;
        state.event_count++;
    }
}

/* Returns true if the call is to fail, with errno set. */
static bool fails(const struct shim_event *event)
{
    int error = meet(event);
    if (error != 0) {
        keep(event, error);
        errno = error;
    }
    return error != 0;
}

/* Keep a call that was carried out, and tell the witness; both leave errno alone. */
static void keep_real(const struct shim_event *event, bool is_success)
{
    int kept_errno = errno;
    keep(event, is_success ? 0 : errno);
    if (is_success && state.witness != NULL && matches(SHIM_CHANGES, SHIM_ANY, event)) {
        state.witness(state.witness_context, event);
    }
    errno = kept_errno;
}

static int done(const struct shim_event *event, int result)
{
    keep_real(event, result >= 0);
    return result;
}

static ssize_t moved(const struct shim_event *event, ssize_t count)
{
    keep_real(event, count >= 0);
    return count;
}

void shim_inject(const struct shim_fault *fault)
{
    if (state.fault_count == SHIM_FAULTS_MAX) {
        abort();
    }
    state.faults[state.fault_count++] = (struct armed_fault){*fault, 0};
}

void shim_fail_once(unsigned calls, enum shim_role role, uint64_t nth, int error)
{
    shim_inject(&(struct shim_fault){calls, role, nth, error, false});
}

void shim_fail_from(unsigned calls, enum shim_role role, uint64_t nth, int error)
{
    shim_inject(&(struct shim_fault){calls, role, nth, error, true});
}

void shim_clear_faults(void)
{
    state.fault_count = 0;
}

uint64_t shim_fired_count(void)
{
    return state.fired_count;
}

void shim_limit_bytes(unsigned calls, size_t bytes_max)
{
    state.limited_calls = bytes_max == 0 ? 0 : calls;
    state.bytes_max = bytes_max;
}

void shim_set_space(enum shim_role role, uint64_t length, int error)
{
    state.space_role = role;
    state.space_length = length;
    state.space_error = error;
}

void shim_give_space(void)
{
    state.space_role = SHIM_ANY;
}

void shim_change_space(void (*change)(struct statvfs *info))
{
    state.change_space = change;
}

void shim_disown(enum shim_role role)
{
    state.disowned_role = role;
}

void shim_make_read_only(const char *name)
{
    state.read_only_name = name;
}

void shim_map_role_instead(enum shim_role role, int fd)
{
    state.map_instead_role = role;
    state.map_instead_fd_plus_one = fd + 1;
}

void shim_lose_page(uint64_t offset)
{
    state.loses_page = true;
    state.lost_offset = offset;
}

void shim_guard_views(void)
{
    state.guards_views = true;
}

void shim_before(unsigned calls, enum shim_role role, void (*hook)(void *context),
                 void *context)
{
    state.hook_calls = calls;
    state.hook_role = role;
    state.hook = hook;
    state.hook_context = context;
}

void shim_omit_syncs(void)
{
    state.omits_syncs = true;
}

void shim_set_random(uint64_t seed)
{
    state.has_random = true;
    state.random = seed;
}

void shim_witness(void (*witness)(void *context, const struct shim_event *change),
                  void *context)
{
    state.witness = witness;
    state.witness_context = context;
}

uint64_t shim_count(enum shim_call call)
{
    return state.counts[call];
}

uint64_t shim_count_all(unsigned calls)
{
    uint64_t count = 0;
    for (int call = 0; call < SHIM_CALL_COUNT; call++) {
        count += (calls & SHIM_BIT(call)) != 0 ? state.counts[call] : 0;
    }
    return count;
}

size_t shim_event_count(void)
{
    return state.event_count;
}

const struct shim_event *shim_event_at(size_t i)
{
    return &events[i];
}

void shim_forget_trace(void)
{
    state.event_count = 0;
}

const char *shim_trace_text(unsigned calls)
{
    static char text[TRACE_TEXT_BYTES];
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < state.event_count; i++) {
        const struct shim_event *event = &events[i];
        if ((calls & SHIM_BIT(event->call)) == 0 || length > sizeof text - NAME_BYTES) {
            continue;
        }
        int count = snprintf(text + length, sizeof text - length, "%s%s:%s%s",
                             length > 0 ? " " : "", call_names[event->call],
                             role_names[event->role], event->error != 0 ? "!" : "");
        length += (size_t)count;
    }
    return text;
}

static int find_name(const char *const *names, int count, const char *name)
{
    int i = 0;
    while (i < count && strcmp(names[i], name) != 0) {
        i++;
    }
    if (i == count) {
        abort(); /* a test has mistaken a name */
    }
    return i;
}

enum shim_call shim_call_named(const char *name)
{
    return (enum shim_call)find_name(call_names, SHIM_CALL_COUNT, name);
}

enum shim_role shim_role_named(const char *name)
{
    return (enum shim_role)find_name(role_names, SHIM_ROLE_COUNT, name);
}

/* Far from 0, so that a moment that was never set is seen. */
#define CLOCK_START_US UINT64_C(1000000000)

static uint64_t clock_ms(void)
{
    return (CLOCK_START_US + state.now_us) / 1000;
}

void shim_set_clock(uint64_t now_ms)
{
    state.is_stopped = true;
    state.now_us = now_ms * 1000 - CLOCK_START_US; /* it may wrap around, and back */
}

void shim_advance_clock(uint64_t ms)
{
    state.now_us += ms * 1000;
}

void shim_slow_down(uint64_t look_us)
{
    state.is_stopped = false;
    state.more_us = look_us - 1;
}

void shim_obey(int orders_fd, int answers_fd)
{
    state.is_obeying = true;
    state.orders_fd = orders_fd;
    state.answers_fd = answers_fd;
}

/* ---- Files ---- */

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    bool is_directory = (flags & O_DIRECTORY) != 0;
    struct shim_event event = {SHIM_OPEN, is_directory ? SHIM_DIRECTORY : SHIM_OTHER, 0,
                               0, 0};
    if (fails(&event)) {
        return -1;
    }
    int fd = __real_open(path, flags, mode);
    name_fd(fd, "");
    if (is_known(fd)) {
        is_directory_fd[fd] = is_directory;
    }
    return done(&event, fd);
}

static bool is_read_only(const char *name)
{
    static const char *const suffixes[] = {"", ".lock", ".new", ".old", ".index"};
    size_t length = state.read_only_name == NULL ? 0 : strlen(state.read_only_name);
    bool is_one = length > 0 && strncmp(name, state.read_only_name, length) == 0;
    bool is_suffix = is_one && strncmp(name + length, ".torn.", 6) == 0;
    for (size_t i = 0; is_one && i < sizeof suffixes / sizeof suffixes[0]; i++) {
        is_suffix = is_suffix || strcmp(name + length, suffixes[i]) == 0;
    }
    return is_suffix;
}

int __wrap_openat(int directory, const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    struct shim_event event = {.call = SHIM_OPENAT, .role = role_of_name(name)};
    if (fails(&event)) {
        return -1;
    }
    if (is_read_only(name) && (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0) {
        keep(&event, EROFS);
        errno = EROFS;
        return -1;
    }
    int fd = __real_openat(directory, name, flags, mode);
    name_fd(fd, name);
    return done(&event, fd);
}

/* An injected failure still closes: that is what systems do. */
int __wrap_close(int fd)
{
    struct shim_event event = {.call = SHIM_CLOSE, .role = role_of_fd(fd)};
    int error = meet(&event);
    name_fd(fd, "");
    int result = __real_close(fd);
    if (error != 0) {
        keep(&event, error);
        errno = error;
        return -1;
    }
    return done(&event, result);
}

static void disown(const struct shim_event *event, struct stat *info)
{
    if (state.disowned_role != SHIM_ANY && state.disowned_role == event->role) {
        info->st_uid = geteuid() + 1;
    }
}

int __wrap_fstat(int fd, struct stat *info)
{
    struct shim_event event = {.call = SHIM_FSTAT, .role = role_of_fd(fd)};
    if (fails(&event)) {
        return -1;
    }
    int result = __real_fstat(fd, info);
    disown(&event, info);
    return done(&event, result);
}

int __wrap_fstatat(int directory, const char *name, struct stat *info, int flags)
{
    struct shim_event event = {.call = SHIM_FSTATAT, .role = role_of_name(name)};
    if (fails(&event)) {
        return -1;
    }
    int result = __real_fstatat(directory, name, info, flags);
    disown(&event, info);
    return done(&event, result);
}

/* How many of the bytes asked for a call may move. */
static size_t cut_short(enum shim_call call, size_t length)
{
    if ((state.limited_calls & SHIM_BIT(call)) == 0) {
        return length;
    }
    size_t max = state.bytes_max == SHIM_HALF ? (length + 1) / 2 : state.bytes_max;
    return length < max ? length : max;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    struct shim_event event = {SHIM_PWRITE, role_of_fd(fd), (uint64_t)offset, length, 0};
    if (fails(&event)) {
        return -1;
    }
    size_t part = cut_short(SHIM_PWRITE, length);
    if (state.space_role != SHIM_ANY && state.space_role == event.role) {
        uint64_t room =
            event.offset < state.space_length ? state.space_length - event.offset : 0;
        part = part < room ? part : (size_t)room;
        if (part == 0) {
            state.fired_count++;
            keep(&event, state.space_error);
            errno = state.space_error;
            return -1;
        }
    }
    ssize_t count = __real_pwrite(fd, bytes, part, offset);
    event.length = count < 0 ? length : (uint64_t)count;
    return moved(&event, count);
}

int __wrap_ftruncate(int fd, off_t length)
{
    struct shim_event event = {SHIM_FTRUNCATE, role_of_fd(fd), (uint64_t)length, 0, 0};
    if (fails(&event)) {
        return -1;
    }
    return done(&event, __real_ftruncate(fd, length));
}

int __wrap_fdatasync(int fd)
{
    struct shim_event event = {.call = SHIM_FDATASYNC, .role = role_of_fd(fd)};
    return fails(&event) ? -1
                         : done(&event, state.omits_syncs ? 0 : __real_fdatasync(fd));
}

int __wrap_fsync(int fd)
{
    struct shim_event event = {.call = SHIM_FSYNC, .role = role_of_fd(fd)};
    return fails(&event) ? -1 : done(&event, state.omits_syncs ? 0 : __real_fsync(fd));
}

/* Returns its error instead of setting errno. */
int __wrap_posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
    struct shim_event event = {SHIM_FADVISE, role_of_fd(fd), (uint64_t)offset,
                               (uint64_t)length, 0};
    int error = meet(&event);
    if (error == 0) {
        error = __real_posix_fadvise(fd, offset, length, advice);
    }
    keep(&event, error);
    return error;
}

/* Open files go by their new names; what had that name before has none any more. */
static void rename_fds(const char *from, const char *to)
{
    for (int fd = 0; fd < FDS_MAX; fd++) {
        if (fd_names[fd][0] == '\0') {
            continue; /* most are, and this is done by the thousand */
        }
        if (strcmp(fd_names[fd], to) == 0) {
            fd_names[fd][0] = '\0';
        } else if (strcmp(fd_names[fd], from) == 0) {
            name_fd(fd, to);
        }
    }
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    struct shim_event event = {.call = SHIM_RENAMEAT, .role = role_of_name(to)};
    if (fails(&event)) {
        return -1;
    }
    int result = __real_renameat(from_dir, from, to_dir, to);
    if (result == 0) {
        rename_fds(from, to);
    }
    return done(&event, result);
}

int __wrap_unlinkat(int directory, const char *name, int flags)
{
    struct shim_event event = {.call = SHIM_UNLINKAT, .role = role_of_name(name)};
    if (fails(&event)) {
        return -1;
    }
    return done(&event, __real_unlinkat(directory, name, flags));
}

int __wrap_fcntl(int fd, int command, ...)
{
    struct shim_event event = {.call = SHIM_FCNTL, .role = role_of_fd(fd)};
    if (fails(&event)) {
        return -1;
    }
    int result;
    va_list arguments;
    va_start(arguments, command);
    if (command == F_SETLK || command == F_SETLKW || command == F_GETLK ||
        command == KV_SET_LOCK_OF_OPEN_FILE) {
        result = __real_fcntl(fd, command, va_arg(arguments, struct flock *));
    } else if (command == F_GETFD || command == F_GETFL) {
        result = __real_fcntl(fd, command);
    } else {
        result = __real_fcntl(fd, command, va_arg(arguments, int));
    }
    va_end(arguments);
    return done(&event, result);
}

/* A place for a view of a file, behind which a page cannot be read; NULL: none is had. */
static void *guarded_place(size_t length)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = (length + page - 1) / page * page;
    int fd =
        open("/dev/zero", O_RDONLY); /* a page of the file itself would keep its lock */
    void *place = __real_mmap(NULL, pages + page, PROT_NONE, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    return place == MAP_FAILED ? NULL : place;
}

/* Behind the end of a file, which no test makes that long, there is nothing to read. */
static void lose_page(void *place, int fd)
{
    const off_t nowhere = (off_t)1 << 30;
    void *page = __real_mmap(place, (size_t)sysconf(_SC_PAGESIZE), PROT_READ,
                             MAP_SHARED | MAP_FIXED, fd, nowhere);
    if (page != place) {
        abort();
    }
}

void *__wrap_mmap(void *place, size_t length, int protection, int flags, int fd,
                  off_t offset)
{
    struct shim_event event = {SHIM_MMAP, role_of_fd(fd), (uint64_t)offset, length, 0};
    if (fails(&event)) {
        return MAP_FAILED;
    }
    if (event.role == state.map_instead_role && state.map_instead_fd_plus_one > 0) {
        fd = state.map_instead_fd_plus_one - 1;
    }
    if (state.guards_views && place == NULL) {
        place = guarded_place(length);
        flags |= place == NULL ? 0 : MAP_FIXED;
    }
    void *bytes = __real_mmap(place, length, protection, flags, fd, offset);
    if (bytes != MAP_FAILED && state.loses_page && event.role == SHIM_LOG &&
        event.offset <= state.lost_offset && state.lost_offset - event.offset < length) {
        lose_page((uint8_t *)bytes + (state.lost_offset - event.offset), fd);
    }
    keep_real(&event, bytes != MAP_FAILED);
    return bytes;
}

/* A few bytes of SplitMix64, from memory: nobody asks for more at once. */
static FILE *open_random(void)
{
    static uint64_t words[8];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct dice dice = {state.random};
        words[i] = dice_next(&dice);
        state.random = dice.state;
    }
    return fmemopen(words, sizeof words, "rb");
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    struct shim_event event = {.call = SHIM_FOPEN, .role = SHIM_OTHER};
    if (fails(&event)) {
        return NULL;
    }
    FILE *file = state.has_random && strcmp(path, "/dev/urandom") == 0
                     ? open_random()
                     : __real_fopen(path, mode);
    keep_real(&event, file != NULL);
    return file;
}

int __wrap_fstatvfs(int fd, struct statvfs *info)
{
    struct shim_event event = {.call = SHIM_FSTATVFS, .role = role_of_fd(fd)};
    if (fails(&event)) {
        return -1;
    }
    int result = __real_fstatvfs(fd, info);
    if (result == 0 && state.change_space != NULL) {
        state.change_space(info);
    }
    return done(&event, result);
}

/* ---- Sockets ---- */

ssize_t __wrap_recv(int fd, void *bytes, size_t length, int flags)
{
    struct shim_event event = {.call = SHIM_RECV, .role = SHIM_OTHER, .length = length};
    if (fails(&event)) {
        return -1;
    }
    return moved(&event, __real_recv(fd, bytes, cut_short(SHIM_RECV, length), flags));
}

ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags)
{
    struct shim_event event = {.call = SHIM_SEND, .role = SHIM_OTHER, .length = length};
    if (fails(&event)) {
        return -1;
    }
    return moved(&event, __real_send(fd, bytes, cut_short(SHIM_SEND, length), flags));
}

int __wrap_shutdown(int fd, int how)
{
    struct shim_event event = {.call = SHIM_SHUTDOWN, .role = SHIM_OTHER};
    return fails(&event) ? -1 : done(&event, __real_shutdown(fd, how));
}

enum { POLLED_MAX = 64 };

/* Sleep until one of them is ready or there is an order; returns how many are ready. */
static int sleep_for_orders(struct pollfd *fds, nfds_t count)
{
    struct pollfd all[POLLED_MAX + 1];
    if (count > POLLED_MAX) {
        abort();
    }
    memcpy(all, fds, count * sizeof *fds);
    all[count] = (struct pollfd){.fd = state.orders_fd, .events = POLLIN};
    int ready = __real_poll(all, count + 1, -1);
    if (ready > 0 && all[count].revents != 0) {
        if (read(state.orders_fd, &state.ordered_ms, sizeof state.ordered_ms) !=
            sizeof state.ordered_ms) {
            _exit(EXIT_FAILURE); /* whoever gave them is gone */
        }
        state.owes_answer = true;
        /* What came before the order, a signal with it, is seen before time goes by. */
        return __real_poll(fds, count, 0);
    }
    memcpy(fds, all, count * sizeof *fds);
    return ready;
}

static void answer(uint64_t deadline_ms)
{
    state.owes_answer = false;
    if (write(state.answers_fd, &deadline_ms, sizeof deadline_ms) != sizeof deadline_ms) {
        _exit(EXIT_FAILURE);
    }
}

/* A poll whose time is another process's. */
static int poll_obeying(struct pollfd *fds, nfds_t count, int timeout)
{
    uint64_t deadline_ms = timeout < 0 ? UINT64_MAX : clock_ms() + (uint64_t)timeout;
    int ready = __real_poll(fds, count, 0);
    while (ready == 0 && clock_ms() < deadline_ms) {
        uint64_t wanted_ms = deadline_ms - clock_ms();
        uint64_t step_ms = wanted_ms < state.ordered_ms ? wanted_ms : state.ordered_ms;
        shim_advance_clock(step_ms);
        state.ordered_ms -= step_ms;
        if (clock_ms() < deadline_ms) {
            if (state.owes_answer) {
                answer(deadline_ms);
            }
            ready = sleep_for_orders(fds, count);
        }
    }
    return ready;
}

/* The clock moves on by the whole wait; when it is stopped, nothing sleeps. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    struct shim_event event = {.call = SHIM_POLL, .role = SHIM_OTHER};
    if (fails(&event)) {
        return -1;
    }
    if (state.is_obeying) {
        return done(&event, poll_obeying(fds, count, timeout));
    }
    int ready = __real_poll(fds, count, state.is_stopped ? 0 : timeout);
    if (ready == 0 && timeout > 0) {
        shim_advance_clock((uint64_t)timeout);
    }
    return done(&event, ready);
}

/* ---- Time and memory ---- */

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock != CLOCK_MONOTONIC) {
        return __real_clock_gettime(clock, now);
    }
    state.now_us += state.is_stopped ? 0 : 1 + state.more_us;
    uint64_t since_us = CLOCK_START_US + state.now_us;
    now->tv_sec = (time_t)(since_us / 1000000);
    now->tv_nsec = (long)(since_us % 1000000) * 1000;
    return 0;
}

uint64_t shim_real_clock_ms(void)
{
    struct timespec now;
    bool is_wrapped = __real_clock_gettime != NULL;
    (void)(is_wrapped ? __real_clock_gettime : clock_gettime)(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool has_no_memory(enum shim_call call)
{
    struct shim_event event = {.call = call, .role = SHIM_OTHER};
    int error = meet(&event);
    if (error != 0) {
        errno = error;
    }
    return error != 0;
}

void *__wrap_malloc(size_t size)
{
    return has_no_memory(SHIM_MALLOC) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return has_no_memory(SHIM_CALLOC) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return has_no_memory(SHIM_REALLOC) ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    return has_no_memory(SHIM_STRDUP) ? NULL : __real_strdup(text);
}
