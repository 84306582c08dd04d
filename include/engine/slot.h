/*
 * What an entry of the index takes in memory: a location and some bits of a hash, packed.
 * The part that it lies in says the other bits.
 */
#ifndef KV_SLOT_H
#define KV_SLOT_H

#include "base/bounds.h"
#include "engine/location.h"

#include <assert.h>

#define SLOT_HASH_BITS INDEX_ENTRY_HASH_BITS

/* 20 bytes; a key length of 0 means that the slot is empty. */
struct slot {
    uint32_t hash; /* SLOT_HASH_BITS low bits, and two flags above them */
    uint32_t crc;
    uint32_t value_length;
    uint32_t offset_low;
    uint16_t offset_high;
    uint16_t key_length;
};

static_assert(sizeof(struct slot) == 20, "memory per key is a promise");

#define SLOT_HASH_MASK     ((UINT32_C(1) << SLOT_HASH_BITS) - 1)
#define SLOT_TOMBSTONE_BIT (UINT32_C(1) << SLOT_HASH_BITS)
#define SLOT_SIDE_BIT      (UINT32_C(2) << SLOT_HASH_BITS)

static inline uint32_t slot_hash_from(uint64_t hash)
{
    return (uint32_t)hash & SLOT_HASH_MASK;
}

static inline uint32_t slot_hash(const struct slot *slot)
{
    return slot->hash & SLOT_HASH_MASK;
}

static inline bool slot_is_empty(const struct slot *slot)
{
    return slot->key_length == 0;
}

static inline uint64_t slot_offset(const struct slot *slot)
{
    return (uint64_t)slot->offset_high << 32 | slot->offset_low;
}

static inline uint8_t slot_side(const struct slot *slot)
{
    return (uint8_t)((slot->hash & SLOT_SIDE_BIT) != 0);
}

static inline bool slot_is_tombstone(const struct slot *slot)
{
    return (slot->hash & SLOT_TOMBSTONE_BIT) != 0;
}

static inline struct slot slot_encode(uint64_t hash, const struct location *location)
{
    assert(location->offset < LOG_BYTES_MAX && location->side <= 1);
    assert(location->key_length > 0 && location->key_length <= KEY_BYTES_MAX);
    return (struct slot){
        .hash = slot_hash_from(hash) | (location->is_tombstone ? SLOT_TOMBSTONE_BIT : 0) |
                (location->side != 0 ? SLOT_SIDE_BIT : 0),
        .crc = location->crc,
        .value_length = location->value_length,
        .offset_low = (uint32_t)location->offset,
        .offset_high = (uint16_t)(location->offset >> 32),
        .key_length = (uint16_t)location->key_length,
    };
}

static inline struct location slot_decode(const struct slot *slot)
{
    return (struct location){
        .offset = slot_offset(slot),
        .key_length = slot->key_length,
        .value_length = slot->value_length,
        .crc = slot->crc,
        .is_tombstone = slot_is_tombstone(slot),
        .side = slot_side(slot),
    };
}

#endif
