/*
 * What a store should hold, by a reading of the format of its own.
 */
#ifndef KV_FUZZ_MODEL_H
#define KV_FUZZ_MODEL_H

#include "support/contents.h"

/*
 * Apply whole records as a reader of the format without marks does; records with an
 * empty key are passed over. Returns the length of the whole records.
 */
size_t model_replay(struct contents *contents, struct slice records);

/* The record that starts here. */
bool model_read_record(struct slice bytes, struct slice *key_out,
                       struct slice *value_out);

#endif
