/*
 * The calls of store.h about one key, for tests that have no request and no group: each
 * looks its key up for itself.
 */
#ifndef KV_SUPPORT_KEYED_H
#define KV_SUPPORT_KEYED_H

#include "engine/store.h"

static inline enum status keyed_get(struct store *store, struct slice key,
                                    struct slice *value_out)
{
    struct lookup lookup;
    store_begin_lookup(store, key, &lookup);
    return store_get(store, &lookup, value_out);
}

static inline enum status keyed_exists(struct store *store, struct slice key)
{
    struct lookup lookup;
    store_begin_lookup(store, key, &lookup);
    return store_exists(store, &lookup);
}

static inline enum status keyed_set(struct store *store, struct slice key,
                                    struct slice value)
{
    struct lookup lookup;
    store_begin_lookup(store, key, &lookup);
    return store_set(store, &lookup, value);
}

static inline enum status keyed_delete(struct store *store, struct slice key)
{
    struct lookup lookup;
    store_begin_lookup(store, key, &lookup);
    return store_delete(store, &lookup);
}

#endif
