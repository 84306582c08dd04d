/*
 * What the compiler or the system may offer beyond C11 and POSIX.1-2008, each with what
 * stands in for it where it is missing. No other file names such a thing.
 *
 * KV_POSIX_ONLY leaves all of it out. What has no stand-in, since every system has it:
 * getopt_long, /dev/urandom and /dev/zero, and a mapping longer than its file that shows
 * what is appended to the file later.
 */
#ifndef KV_PLATFORM_H
#define KV_PLATFORM_H

#if defined(__GNUC__) && !defined(KV_POSIX_ONLY)
#define KV_HAVE_GNU_C 1
#else
#define KV_HAVE_GNU_C 0
#endif

/* Lets the compiler check the arguments of a printf-like function; else nothing. */
#if KV_HAVE_GNU_C
#define KV_PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define KV_PRINTF_LIKE(text, first)
#endif

/*
 * Keeps a function out of those that seldom call it, which would save registers for it
 * each time; else the compiler decides.
 */
#if KV_HAVE_GNU_C
#define KV_OUT_OF_LINE __attribute__((noinline))
#else
#define KV_OUT_OF_LINE
#endif

/* Prefetches the cache line at an address; else nothing. */
#if KV_HAVE_GNU_C
#define KV_PREFETCH(address) __builtin_prefetch(address)
#else
#define KV_PREFETCH(address) ((void)(address))
#endif

/*
 * A number of 64 bits whose bytes in memory are those of another in big-endian order,
 * where the order of the processor's own is known; else there is no such name.
 */
#if KV_HAVE_GNU_C && defined(__BYTE_ORDER__)
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define KV_BIG_ENDIAN_64(number) __builtin_bswap64(number)
#elif __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define KV_BIG_ENDIAN_64(number) (number)
#endif
#endif

/*
 * The CRC-32C and carry-less product instructions of x86-64, in functions marked as their
 * users, where the processor has them; else tables.
 */
#if KV_HAVE_GNU_C && defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#define KV_HAVE_X86_CRC32C 1
#define KV_X86_CRC32C_IS_THERE()                                                         \
    (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
#define KV_TARGET_CRC32C __attribute__((target("sse4.2,pclmul")))
#define KV_CARRYLESS_PRODUCT(a, b)                                                       \
    ((uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(                                   \
        _mm_cvtsi64_si128((long long)(a)), _mm_cvtsi64_si128((long long)(b)), 0)))
#else
#define KV_HAVE_X86_CRC32C 0
#endif

/* For sysconf: how many processors are online; else as if there were one. */
#if !defined(KV_POSIX_ONLY)
#include <unistd.h>
#endif
#if defined(_SC_NPROCESSORS_ONLN) && !defined(KV_POSIX_ONLY)
#define KV_PROCESSOR_COUNT() sysconf(_SC_NPROCESSORS_ONLN)
#else
#define KV_PROCESSOR_COUNT() 1L
#endif

/*
 * How many blocks the disk was asked to read for this process so far (getrusage, which
 * not all of POSIX has, nor the count in it); else as if there were none.
 */
#if !defined(KV_POSIX_ONLY)
#include <sys/resource.h>
static inline long kv_blocks_read(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_inblock : 0;
}
#else
static inline long kv_blocks_read(void)
{
    return 0;
}
#endif

/*
 * A lock that belongs to an open file, not to a process (F_OFD_SETLK, which the headers
 * of Linux show to GNU programs only); elsewhere a process loses its lock when it closes
 * any descriptor of the file.
 */
#if defined(__linux__) && !defined(KV_POSIX_ONLY)
#define KV_SET_LOCK_OF_OPEN_FILE 37
#else
#include <fcntl.h>
#define KV_SET_LOCK_OF_OPEN_FILE F_SETLK
#endif

/*
 * Gives memory that was freed back to the system, where the C library would keep it
 * (GNU's does, below what is in use); else it is its own business.
 */
#if defined(__GLIBC__) && !defined(KV_POSIX_ONLY)
#include <malloc.h>
#define KV_RETURN_MEMORY() ((void)malloc_trim(0))
#else
#define KV_RETURN_MEMORY() ((void)0)
#endif

/*
 * Asks Linux for huge pages where memory is touched from now on (madvise, which its
 * headers show to GNU programs only); a system may have none to give. Else nothing.
 */
#if defined(__linux__) && !defined(KV_POSIX_ONLY)
#include <stddef.h>
int madvise(void *start, size_t length, int advice);
#define KV_PREFER_HUGE_PAGES(start, length) ((void)madvise((start), (length), 14))
#else
#define KV_PREFER_HUGE_PAGES(start, length) ((void)(start), (void)(length))
#endif

/*
 * Linux begins to write bytes of a file to its disk, without waiting (sync_file_range,
 * which its headers show to GNU programs only); elsewhere they wait for the sync.
 */
#if defined(__linux__) && !defined(KV_POSIX_ONLY)
#include <sys/types.h>
int sync_file_range(int fd, off_t offset, off_t length, unsigned flags);
#define KV_BEGIN_WRITING(fd, offset, length)                                             \
    ((void)sync_file_range(fd, (off_t)(offset), (off_t)(length), 2))
#else
#define KV_BEGIN_WRITING(fd, offset, length) ((void)(fd), (void)(offset), (void)(length))
#endif

/*
 * The compiler moves nothing over it: a signal handler may have come between. Where C11's
 * atomics are missing, a call of which the compiler knows nothing has the same effect.
 */
#if !defined(__STDC_NO_ATOMICS__) && !defined(KV_POSIX_ONLY)
#include <stdatomic.h>
#define KV_SIGNAL_FENCE() atomic_signal_fence(memory_order_seq_cst)
#else
static inline void kv_do_nothing(void)
{
}
static inline void kv_signal_fence(void)
{
    static void (*volatile unknown)(void) = kv_do_nothing;
    unknown();
}
#define KV_SIGNAL_FENCE() kv_signal_fence()
#endif

#endif
