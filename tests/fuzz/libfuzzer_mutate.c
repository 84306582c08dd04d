/*
 * Changes to logs that keep them interesting. Bytes changed blindly hardly ever get past
 * a checksum, so most changes here are made record by record, and the marks are then
 * mended: all of them, those up to some place, or their own checksums alone.
 */
#include "base/bounds.h"
#include "base/crc32c.h"
#include "log/record.h"

enum { RECORDS_MAX = 4096 };

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
                               unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);

struct editor {
    uint8_t *bytes;
    size_t length;
    size_t length_max;
    uint64_t dice;
    size_t starts[RECORDS_MAX + 1]; /* of each record; the last is where they end */
    size_t count;                   /* of whole records */
};

static size_t below(struct editor *editor, size_t count)
{
    /* Marsaglia's xorshift64, as good as needed here. */
    editor->dice ^= editor->dice << 13;
    editor->dice ^= editor->dice >> 7;
    editor->dice ^= editor->dice << 17;
    return count == 0 ? 0 : (size_t)((editor->dice >> 16) % count);
}

static struct slice rest(const struct editor *editor, size_t at)
{
    return slice_after((struct slice){editor->bytes, editor->length}, at);
}

static void find_records(struct editor *editor)
{
    struct record record;
    editor->count = 0;
    editor->starts[0] = 0;
    while (editor->count < RECORDS_MAX &&
           record_decode(rest(editor, editor->starts[editor->count]), &record)) {
        editor->starts[editor->count + 1] =
            editor->starts[editor->count] + (size_t)record.length;
        editor->count++;
    }
}

/* Put bytes somewhere, if they fit. */
static void insert(struct editor *editor, size_t at, struct slice bytes)
{
    if (bytes.length > editor->length_max - editor->length) {
        return;
    }
    memmove(editor->bytes + at + bytes.length, editor->bytes + at, editor->length - at);
    memcpy(editor->bytes + at, bytes.bytes, bytes.length);
    editor->length += bytes.length;
}

static void cut_out(struct editor *editor, size_t from, size_t to)
{
    memmove(editor->bytes + from, editor->bytes + to, editor->length - to);
    editor->length -= to - from;
}

/* A record or mark begins there as a rule. */
static size_t some_start(struct editor *editor)
{
    return editor->starts[below(editor, editor->count + 1)];
}

static void insert_record(struct editor *editor)
{
    uint8_t bytes[RECORD_HEADER_BYTES + 64];
    size_t key_length = below(editor, 16) == 0 ? 0 : 1 + below(editor, 3);
    size_t value_length = below(editor, 4) == 0 ? below(editor, 60) : below(editor, 3);
    record_encode_header(bytes, key_length, value_length);
    uint8_t *text = bytes + RECORD_HEADER_BYTES;
    for (size_t i = 0; i < key_length + value_length; i++) {
        text[i] = (uint8_t)('a' + below(editor, 3));
    }
    if (value_length == 1 && below(editor, 2) == 0) {
        text[key_length] = 0;
    }
    insert(editor, some_start(editor),
           (struct slice){bytes, RECORD_HEADER_BYTES + key_length + value_length});
}

static uint64_t own_id(const struct editor *editor)
{
    struct opening opening;
    bool has_opening = record_decode_opening(rest(editor, 0), &opening);
    return has_opening ? opening.log_id : UINT64_C(0x6b6b6b6b6b6b6b6b);
}

static void insert_mark(struct editor *editor)
{
    uint8_t bytes[OPENING_BYTES];
    size_t at = some_start(editor);
    size_t kind = below(editor, 6);
    if (kind == 0) {
        struct drained drained = {own_id(editor), below(editor, 2)};
        record_encode_drained(bytes, &drained, at);
        insert(editor, at, (struct slice){bytes, DRAINED_BYTES});
    } else {
        struct seal seal = {own_id(editor), 0, 0};
        seal.durable_length = kind == 1 ? below(editor, at + 2) : some_start(editor);
        seal.durable_length = kind == 2 ? OPENING_BYTES : seal.durable_length;
        record_encode_seal(bytes, &seal, at);
        insert(editor, at, (struct slice){bytes, SEAL_BYTES});
    }
}

static void ensure_opening(struct editor *editor)
{
    uint8_t bytes[OPENING_BYTES];
    struct opening opening = {.version = RECORD_FORMAT_VERSION, .generation = 1};
    opening.log_id = UINT64_C(0x6b6b6b6b6b6b6b6b) + below(editor, 2);
    if (!record_decode_opening(rest(editor, 0), &opening)) {
        record_encode_opening(bytes, &opening);
        insert(editor, 0, (struct slice){bytes, sizeof bytes});
    }
}

/* Take out, double or move a run of records. */
static void shuffle(struct editor *editor)
{
    uint8_t copy[4096];
    size_t first = below(editor, editor->count);
    size_t last = first + 1 + below(editor, 3);
    last = last < editor->count ? last : editor->count;
    size_t from = editor->starts[first];
    size_t length = editor->starts[last] - from;
    size_t to = some_start(editor);
    if (last <= first || length > sizeof copy) {
        return;
    }
    memcpy(copy, editor->bytes + from, length);
    size_t action = below(editor, 3);
    if (action > 0) {
        insert(editor, to, (struct slice){copy, length});
    }
    if (action != 1 && to >= from + length) {
        cut_out(editor, from, from + length);
    }
}

/* Let libFuzzer change what is in one record, and correct its header or not. */
static void mutate_record(struct editor *editor)
{
    size_t number = below(editor, editor->count);
    if (editor->count == 0) {
        return;
    }
    size_t from = editor->starts[number] + RECORD_HEADER_BYTES;
    size_t to = editor->starts[number + 1];
    if (from < to) {
        (void)LLVMFuzzerMutate(editor->bytes + from, to - from, to - from);
    }
}

/* What crashes and bad disks do. */
static void damage(struct editor *editor)
{
    size_t at = below(editor, editor->length);
    size_t sector = at - at % SECTOR_BYTES;
    switch (below(editor, 6)) {
    case 0:
        editor->length = at;
        break;
    case 1:
        for (size_t i = sector; i < editor->length && i < sector + SECTOR_BYTES; i++) {
            editor->bytes[i] = 0;
        }
        break;
    case 2:
        if (editor->length > 0) {
            editor->bytes[at] ^= (uint8_t)(1U << below(editor, 8));
        }
        break;
    case 3:
        while (below(editor, 16) != 0 && editor->length < editor->length_max) {
            editor->bytes[editor->length++] = 0;
        }
        break;
    case 4:
        editor->length = some_start(editor);
        break;
    default:
        editor->length =
            LLVMFuzzerMutate(editor->bytes, editor->length, editor->length_max);
        break;
    }
}

/* Write the mark of the shape that stands here anew, with right checksums. */
static void mend_mark(struct editor *editor, size_t number, uint32_t chain,
                      bool mends_chain)
{
    size_t at = editor->starts[number];
    size_t length = editor->starts[number + 1] - at;
    uint8_t *place = editor->bytes + at;
    struct seal seal = {own_id(editor), 0, chain};
    struct seal found;
    if (length != SEAL_BYTES || !record_has_seal_header(rest(editor, at))) {
        return;
    }
    /* The durable length is read past a wrong checksum, digit by digit. */
    uint64_t durable_length = 0;
    for (size_t i = RECORD_HEADER_BYTES + 20; i < RECORD_HEADER_BYTES + 32; i++) {
        uint8_t c = place[i];
        durable_length =
            durable_length << 4 | (uint64_t)(c >= 'a' ? (c - 'a' + 10) & 15 : c & 15);
    }
    seal.durable_length = below(editor, 4) == 0 && durable_length > at
                              ? below(editor, at + 1)
                              : durable_length;
    if (!mends_chain && record_decode_seal(rest(editor, at), at, &found)) {
        return;
    }
    record_encode_seal(place, &seal, at);
}

static void mend(struct editor *editor)
{
    find_records(editor);
    size_t end = below(editor, 3) == 0 ? below(editor, editor->count + 1) : editor->count;
    size_t chain_end = below(editor, 6) == 0 ? below(editor, end + 1) : end;
    uint32_t chain = 0;
    for (size_t number = 0; number < end; number++) {
        size_t at = editor->starts[number];
        mend_mark(editor, number, chain, number < chain_end);
        chain = crc32c(
            chain, (struct slice){editor->bytes + at, editor->starts[number + 1] - at});
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    static struct editor editor;
    editor.bytes = data;
    editor.length = size;
    editor.length_max = size_max;
    editor.dice = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    bool is_damaging = below(&editor, 4) == 0;
    /* Without one it is a log of the original. */
    if (below(&editor, 4) != 0) {
        ensure_opening(&editor);
    }
    for (size_t steps = 1 + below(&editor, 3); steps > 0; steps--) {
        find_records(&editor);
        switch (below(&editor, 6)) {
        case 0:
        case 1:
            insert_record(&editor);
            break;
        case 2:
            insert_mark(&editor);
            break;
        case 3:
            shuffle(&editor);
            break;
        case 4:
            mutate_record(&editor);
            break;
        default:
            damage(&editor);
            break;
        }
    }
    if (below(&editor, 8) != 0) {
        mend(&editor);
    }
    if (is_damaging) {
        find_records(&editor);
        damage(&editor);
    }
    return editor.length;
}
