/*
 * What the compiler or the system may offer beyond C11 and POSIX.1-2008, each
 * with what stands in for it where it is missing.
 */
#ifndef KV_PLATFORM_H
#define KV_PLATFORM_H

/* Lets the compiler check the arguments of a printf-like function; else nothing. */
#if defined(__GNUC__)
#define KV_PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define KV_PRINTF_LIKE(text, first)
#endif

/* Asks for a line of memory that will be read soon; else nothing. */
#if defined(__GNUC__)
#define KV_PREFETCH(address) __builtin_prefetch(address)
#else
#define KV_PREFETCH(address) ((void)(address))
#endif

/*
 * The CRC-32C and carry-less product instructions of x86-64, used when the processor has
 * them; else tables.
 */
#if defined(__GNUC__) && defined(__x86_64__)
#define KV_HAVE_X86_CRC32C 1
#define KV_TARGET_CRC32C   __attribute__((target("sse4.2,pclmul")))
#else
#define KV_HAVE_X86_CRC32C 0
#endif

#endif
