/*
 * Nothing here is shared with src/record.c: two readings of one format have to agree.
 */
#include "fuzz/model.h"

enum { HEADER_BYTES = 16 };

static uint64_t read_number(const uint8_t *bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < 8; i++) {
        number = number * 256 + bytes[i];
    }
    return number;
}

bool model_read_record(struct slice bytes, struct slice *key_out, struct slice *value_out)
{
    if (bytes.length < HEADER_BYTES) {
        return false;
    }
    uint64_t key_length = read_number(bytes.bytes);
    uint64_t value_length = read_number(bytes.bytes + 8);
    uint64_t left = bytes.length - HEADER_BYTES;
    if (key_length > left || value_length > left - key_length) {
        return false;
    }
    *key_out = (struct slice){bytes.bytes + HEADER_BYTES, (size_t)key_length};
    *value_out =
        (struct slice){bytes.bytes + HEADER_BYTES + key_length, (size_t)value_length};
    return true;
}

size_t model_replay(struct contents *contents, struct slice records)
{
    struct slice key;
    struct slice value;
    size_t at = 0;
    while (model_read_record(slice_after(records, at), &key, &value)) {
        bool is_delete = value.length == 1 && value.bytes[0] == 0;
        if (key.length > 0) {
            uint32_t number = contents_key(contents, key);
            contents_set(contents, number,
                         is_delete ? 0 : words_put(&contents->values, value));
        }
        at += HEADER_BYTES + key.length + value.length;
    }
    return at;
}
