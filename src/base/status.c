/*
 * Outcome texts. Clients match on these words: they are part of the protocol.
 */
#include "base/status.h"

#include <assert.h>

static const char *const texts[KV_STATUS_COUNT] = {
    [KV_OK] = "success",
    [KV_NOT_FOUND] = "no value stored",
    [KV_ALREADY_STORED] = "already stored",
    [KV_UNKNOWN_COMMAND] = "unknown command",
    [KV_USAGE] = "usage",
    [KV_EMPTY_LINE] = "empty line",
    [KV_NOT_UTF8] = "not UTF-8",
    [KV_NUL_BYTE] = "NUL byte",
    [KV_KEY_TOO_LONG] = "key too long",
    [KV_VALUE_TOO_LONG] = "value too long",
    [KV_LINE_TOO_LONG] = "line too long",
    [KV_INCOMPLETE_LINE] = "incomplete line",
    [KV_NOT_A_NUMBER] = "not a number",
    [KV_NUMBER_TOO_LARGE] = "number too large",
    [KV_NO_SPACE] = "storage full",
    [KV_IO] = "storage failed",
    [KV_CORRUPT] = "corrupt value",
    [KV_NO_MEMORY] = "out of memory",
    [KV_IDLE] = "idle too long",
    [KV_LOCKED] = "in use",
    [KV_PARTIAL] = "incomplete",
    [KV_BEHIND] = "behind",
    [KV_FATAL] = "storage failed",
};

const char *status_text(enum status status)
{
    assert(status < KV_STATUS_COUNT);
    return texts[status];
}
