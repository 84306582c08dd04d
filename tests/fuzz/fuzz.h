/*
 * The fuzz targets: each takes any bytes and ends the program when a promise is broken.
 * libFuzzer drives them by libfuzzer_entry.c; replay.c runs the saved inputs through the
 * same functions with any compiler.
 */
#ifndef KV_FUZZ_H
#define KV_FUZZ_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes are one request line. */
int fuzz_protocol(const uint8_t *data, size_t size);

/* The bytes are what a client sends and how the system splits it; see wire.h. */
int fuzz_conn(const uint8_t *data, size_t size);

/* The bytes are a log: read in memory alone, or opened as a file. */
int fuzz_scan(const uint8_t *data, size_t size);
int fuzz_recover(const uint8_t *data, size_t size);

/* End the program, saying where and why, unless a fact holds. */
#define REQUIRE(fact) fuzz_require((fact), #fact, __FILE__, __LINE__)

void fuzz_require(bool is_fact, const char *fact, const char *file, int line);

/*
 * A copy of the exact length lets the address sanitizer see each byte too many.
 *
 * NULL if size is 0; the caller frees it.
 */
uint8_t *fuzz_copy(const uint8_t *data, size_t size);

/* Replace what the buffer holds by the bytes of a file. */
void fuzz_read(const char *path, struct buffer *buffer);

#endif
