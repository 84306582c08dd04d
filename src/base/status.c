/*
 * Outcome texts. Clients match on these words: they are part of the protocol.
 */
#include "base/status.h"

#include <assert.h>

/* A slice for a table, where SLICE_LITERAL is no constant; a NUL follows. */
#define TEXT(text)                                                                       \
    {                                                                                    \
        (const uint8_t *)(text), sizeof(text) - 1                                        \
    }

static const struct slice texts[KV_STATUS_COUNT] = {
    [KV_OK] = TEXT("success"),
    [KV_NOT_FOUND] = TEXT("no value stored"),
    [KV_ALREADY_STORED] = TEXT("already stored"),
    [KV_UNKNOWN_COMMAND] = TEXT("unknown command"),
    [KV_USAGE] = TEXT("usage"),
    [KV_EMPTY_LINE] = TEXT("empty line"),
    [KV_NOT_UTF8] = TEXT("not UTF-8"),
    [KV_NUL_BYTE] = TEXT("NUL byte"),
    [KV_KEY_TOO_LONG] = TEXT("key too long"),
    [KV_VALUE_TOO_LONG] = TEXT("value too long"),
    [KV_LINE_TOO_LONG] = TEXT("line too long"),
    [KV_INCOMPLETE_LINE] = TEXT("incomplete line"),
    [KV_NOT_A_NUMBER] = TEXT("not a number"),
    [KV_NUMBER_TOO_LARGE] = TEXT("number too large"),
    [KV_NO_SPACE] = TEXT("storage full"),
    [KV_IO] = TEXT("storage failed"),
    [KV_CORRUPT] = TEXT("corrupt value"),
    [KV_NO_MEMORY] = TEXT("out of memory"),
    [KV_IDLE] = TEXT("idle too long"),
    [KV_LOCKED] = TEXT("in use"),
    [KV_PARTIAL] = TEXT("incomplete"),
    [KV_BEHIND] = TEXT("behind"),
    [KV_FATAL] = TEXT("storage failed"),
};

struct slice status_slice(enum status status)
{
    assert(status < KV_STATUS_COUNT);
    return texts[status];
}

const char *status_text(enum status status)
{
    return (const char *)status_slice(status).bytes;
}
