/*
 * Nothing here is shared with src/record.c: two readings of one format have to agree.
 */
#include "fuzz/model.h"

#include <stdlib.h>

enum { HEADER_BYTES = 16 };

void model_free(struct model *model)
{
    free(model->entries);
    *model = (struct model){0};
}

static size_t find(const struct model *model, struct slice key)
{
    size_t at = 0;
    while (at < model->count && !slice_equal(model->entries[at].key, key)) {
        at++;
    }
    return at;
}

const struct slice *model_get(const struct model *model, struct slice key)
{
    size_t at = find(model, key);
    return at < model->count ? &model->entries[at].value : NULL;
}

void model_set(struct model *model, struct slice key, struct slice value)
{
    size_t at = find(model, key);
    if (at == model->count) {
        if (model->count == model->capacity) {
            model->capacity = model->capacity * 2 + 16;
            model->entries =
                realloc(model->entries, model->capacity * sizeof *model->entries);
            if (model->entries == NULL) {
                abort();
            }
        }
        model->count++;
    }
    model->entries[at] = (struct model_entry){key, value};
}

void model_delete(struct model *model, struct slice key)
{
    size_t at = find(model, key);
    if (at < model->count) {
        model->entries[at] = model->entries[--model->count];
    }
}

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

size_t model_replay(struct model *model, struct slice records)
{
    struct slice key;
    struct slice value;
    size_t at = 0;
    while (model_read_record(slice_after(records, at), &key, &value)) {
        bool is_delete = value.length == 1 && value.bytes[0] == 0;
        if (key.length > 0 && is_delete) {
            model_delete(model, key);
        } else if (key.length > 0) {
            model_set(model, key, value);
        }
        at += HEADER_BYTES + key.length + value.length;
    }
    return at;
}
