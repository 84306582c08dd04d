/*
 * Well-formed UTF-8 (Unicode 15, table 3-7; RFC 3629): no overlong forms, no
 * surrogates, nothing above U+10FFFF.
 */
#ifndef KV_UTF8_H
#define KV_UTF8_H

#include "base/slice.h"

bool utf8_is_valid(struct slice text);

/* Whether all of it is ASCII without NUL, which is valid and takes one quick pass. */
bool utf8_is_plain(struct slice text);

#endif
