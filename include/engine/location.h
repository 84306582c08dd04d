/*
 * Where a record stands: what the index keeps for a key.
 */
#ifndef KV_LOCATION_H
#define KV_LOCATION_H

#include <stdbool.h>
#include <stdint.h>

/* Where a record stands, and what it needs to be trusted. */
struct location {
    uint64_t offset;     /* of the record's header; below LOG_BYTES_MAX */
    uint32_t key_length; /* 0: nowhere, there is no record */
    uint32_t value_length;
    uint32_t crc;      /* CRC-32C of the whole record */
    bool is_tombstone; /* staged delete: the key counts as absent */
    uint8_t side;      /* 0 or 1: in which of two logs; see keydir.h */
};

static inline bool location_is_nowhere(const struct location *location)
{
    return location->key_length == 0;
}

/*
 * An entry as an image of the index has it: the part it lies in is known, so of its hash
 * the low bits are left.
 */
struct index_entry {
    uint32_t hash; /* at most INDEX_ENTRY_HASH_MAX */
    struct location location;
};

#define INDEX_ENTRY_HASH_BITS 30
#define INDEX_ENTRY_HASH_MAX  ((UINT32_C(1) << INDEX_ENTRY_HASH_BITS) - 1)

#endif
