/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), as in RFC 3720 appendix B.4.
 */
#ifndef KV_CRC32C_H
#define KV_CRC32C_H

#include "base/slice.h"

/*
 * Continue a CRC over more bytes; the CRC of nothing is 0, so
 * crc32c(crc32c(0, a), b) is the CRC of a followed by b.
 */
uint32_t crc32c(uint32_t crc, struct slice bytes);

/* The same by tables alone, on any processor; tests hold the two together. */
uint32_t crc32c_portable(uint32_t crc, struct slice bytes);

#endif
