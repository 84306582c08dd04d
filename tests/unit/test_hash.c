/*
 * SipHash-1-3: known values, and a reference written straight from the paper.
 */
#include "base/hash.h"

#include "base/bounds.h"
#include "support/dice.h"
#include "support/guarded.h"
#include "support/unit.h"

/* The key 00 01 .. 0f that the paper's appendix uses, read in little-endian order. */
static const struct hash_seed paper_seed = {
    {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};

/* Values for the first so many bytes of 00 01 02 ..; computed by another program. */
static void hash_key_gives_known_values(void **state)
{
    static const struct {
        size_t length;
        uint64_t hash;
    } cases[] = {
        {0, UINT64_C(0xabac0158050fc4dc)},   {1, UINT64_C(0xc9f49bf37d57ca93)},
        {7, UINT64_C(0xd3927d989bb11140)},   {8, UINT64_C(0x369095118d299a8e)},
        {9, UINT64_C(0x25a48eb36c063de4)},   {15, UINT64_C(0xd320d86d2a519956)},
        {16, UINT64_C(0xcc4fdd1a7d908b66)},  {63, UINT64_C(0x9d199062b7bbb3a8)},
        {300, UINT64_C(0x4016a23bda5a2224)},
    };
    (void)state;
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice key = {bytes, cases[i].length};
        assert_true(hash_key(&paper_seed, key) == cases[i].hash);
    }
}

struct sip {
    uint64_t v[4];
};

static void turn(uint64_t *word, int bits)
{
    for (int i = 0; i < bits; i++) {
        *word = (*word << 1) + (*word >> 63);
    }
}

/* One SipRound, in the order of figure 2.1 of the paper. */
static void sip_round(struct sip *sip)
{
    uint64_t *v = sip->v;
    v[0] += v[1];
    turn(&v[1], 13);
    v[1] ^= v[0];
    turn(&v[0], 32);
    v[2] += v[3];
    turn(&v[3], 16);
    v[3] ^= v[2];
    v[0] += v[3];
    turn(&v[3], 21);
    v[3] ^= v[0];
    v[2] += v[1];
    turn(&v[1], 17);
    v[1] ^= v[2];
    turn(&v[2], 32);
}

/*
 * The hash with `block_rounds` rounds a block and `last_rounds` at the end, gathering
 * each word byte by byte: the message, zeros, and the length in the very last byte.
 */
static uint64_t slow_siphash(const struct hash_seed *seed, struct slice key,
                             int block_rounds, int last_rounds)
{
    const uint64_t *k = seed->words;
    struct sip sip = {
        {k[0] ^ UINT64_C(0x736f6d6570736575), k[1] ^ UINT64_C(0x646f72616e646f6d),
         k[0] ^ UINT64_C(0x6c7967656e657261), k[1] ^ UINT64_C(0x7465646279746573)}};
    size_t padded = (key.length / 8 + 1) * 8;
    uint64_t word = 0;
    for (size_t i = 0; i < padded; i++) {
        uint8_t byte = i < key.length ? key.bytes[i] : 0;
        byte = i == padded - 1 ? (uint8_t)key.length : byte;
        word = word >> 8 | (uint64_t)byte << 56;
        if (i % 8 == 7) {
            sip.v[3] ^= word;
            for (int round = 0; round < block_rounds; round++) {
                sip_round(&sip);
            }
            sip.v[0] ^= word;
        }
    }
    sip.v[2] ^= 0xff;
    for (int round = 0; round < last_rounds; round++) {
        sip_round(&sip);
    }
    return sip.v[0] ^ sip.v[1] ^ sip.v[2] ^ sip.v[3];
}

/* The reference itself is right: the paper's test value, which is of SipHash-2-4. */
static void hash_reference_gives_the_value_of_the_paper(void **state)
{
    (void)state;
    uint8_t bytes[15];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    struct slice key = {bytes, sizeof bytes};
    assert_true(slow_siphash(&paper_seed, key, 2, 4) == UINT64_C(0xa129ca6149be45e5));
}

/*
 * Lengths pass 256, since only the lowest byte of the length is hashed, and go up to the
 * longest key. Each ends at an unreadable page, so that each begins at another alignment.
 */
static void hash_key_is_siphash_1_3_at_every_length_and_alignment(void **state)
{
    (void)state;
    struct dice dice;
    dice_begin(&dice);
    static uint8_t bytes[KEY_BYTES_MAX];
    struct guarded guarded;
    guarded_create(&guarded, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)dice_next(&dice);
    }
    for (size_t length = 0; length <= KEY_BYTES_MAX;
         length = length == 600 ? KEY_BYTES_MAX : length + 1) {
        struct hash_seed seed = {{dice_next(&dice), dice_next(&dice)}};
        struct slice key = guarded_place(&guarded, (struct slice){bytes, length});
        assert_true(hash_key(&seed, key) == slow_siphash(&seed, key, 1, 3));
    }
    guarded_destroy(&guarded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_key_gives_known_values),
        cmocka_unit_test(hash_reference_gives_the_value_of_the_paper),
        cmocka_unit_test(hash_key_is_siphash_1_3_at_every_length_and_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
