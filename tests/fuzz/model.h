/*
 * What a store should hold, as a plain array that is searched from end to end.
 */
#ifndef KV_FUZZ_MODEL_H
#define KV_FUZZ_MODEL_H

#include "base/slice.h"

struct model_entry {
    struct slice key;
    struct slice value;
};

/* All zero is an empty model. Keys and values are borrowed for its life. */
struct model {
    struct model_entry *entries;
    size_t count;
    size_t capacity;
};

void model_free(struct model *model);

/* NULL if the key has no value. */
const struct slice *model_get(const struct model *model, struct slice key);
void model_set(struct model *model, struct slice key, struct slice value);
void model_delete(struct model *model, struct slice key);

/*
 * Apply whole records as a reader of the format without marks does; records with an
 * empty key are passed over. Returns the length of the whole records.
 */
size_t model_replay(struct model *model, struct slice records);

/* The record that starts here, by a reading of the format of its own. */
bool model_read_record(struct slice bytes, struct slice *key_out,
                       struct slice *value_out);

#endif
