/*
 * The wire protocol, as bytes alone: one line to one request, one outcome to one
 * reply. Knows neither sockets nor the store.
 *
 * A request is a line ended by LF, of which one CR before it is dropped: the word of a
 * command and its arguments, `SET key value`, `KEYS` or `KEYS prefix`. protocol.c has
 * them all in one table, README.md says what they do.
 *
 * Words are parted by exactly one space; the command word is matched in any case. A
 * value is everything after the one space that follows the key. Each request gets one
 * line in reply, except KEYS, LIST, STATS and HELP: lines, then an empty one.
 */
#ifndef KV_PROTOCOL_H
#define KV_PROTOCOL_H

#include "base/buffer.h"
#include "base/slice.h"
#include "base/status.h"

enum verb {
    VERB_SET,
    VERB_GET,
    VERB_DELETE,
    VERB_ADD,
    VERB_INCR,
    VERB_EXISTS,
    VERB_KEYS,
    VERB_LIST,
    VERB_COUNT,
    VERB_STATS,
    VERB_SYNC,
    VERB_COMPACT,
    VERB_HELP,
    VERB_QUIT,
    VERB_NONE /* no command was recognised */
};

struct request {
    enum verb verb;
    struct slice key;   /* of KEYS and LIST: the prefix, empty if there is none */
    struct slice value; /* of SET and ADD */
    int64_t number;     /* of INCR: what is added */
};

/* The longest line that can be a request, without its end, for values up to a length. */
uint64_t protocol_line_bytes_max(uint64_t value_bytes_max);

/*
 * Parse one line, without its LF and the CR before it.
 *
 * line: borrowed; the slices of the request point into it, and are valid as long.
 * request_out: always written; the verb is right even where its words are not.
 * Refusals, the first that applies: KV_EMPTY_LINE, KV_NUL_BYTE, KV_NOT_UTF8,
 * KV_UNKNOWN_COMMAND, KV_USAGE, KV_KEY_TOO_LONG, KV_VALUE_TOO_LONG, KV_NOT_A_NUMBER.
 */
enum status protocol_parse(struct slice line, uint64_t value_bytes_max,
                           struct request *request_out);

/* The length of a byte order mark, which is no part of the line that it stands before. */
enum { PROTOCOL_MARK_BYTES = 3 };

/* What follows the byte order mark, if the first line of a client begins with one. */
struct slice protocol_skip_mark(struct slice line);

/* Whether a command is about one key. */
bool protocol_has_key(enum verb verb);

/* Whether a command changes the store, so that an unfinished line must not run it. */
bool protocol_is_write(enum verb verb);

/*
 * Whether the peer is no client of ours, or is leaving, and the connection must be
 * closed without a reply. Holds for a line that begins so, finished or not: `POST ` or
 * `Host:` in any case, which a web page can make a browser send, 16 03, with which TLS
 * begins (RFC 8446, 5.1), or FF F4, which telnet sends for Ctrl-C.
 */
bool protocol_is_hangup(struct slice line);

/*
 * Whether a good request is the request line of HTTP (RFC 9112, 3) too, and would store
 * its version: a web page may choose the method, and the Host: behind it comes too late.
 * So as a client's first line, ended by CR LF, it is hung up on like those.
 */
bool protocol_is_http(const struct request *request);

/*
 * Append the one-line reply for an outcome: `success`, `no value stored`, `already
 * stored`, or `error: ` and the reason. At most REPLY_LINE_BYTES_MAX bytes, for which
 * room was reserved.
 *
 * verb: gives the usage text for KV_USAGE; else unused.
 */
void protocol_put_status(struct buffer *replies, enum status status, enum verb verb);

/*
 * Append the reply to HELP; room is made for it.
 *
 * name: of the one command that is wanted; empty: of all.
 * KV_NO_MEMORY: nothing was appended.
 */
enum status protocol_put_help(struct buffer *replies, struct slice name);

/* Append one `name value` line of STATS; likewise reserved, at most as long. */
void protocol_put_stat_text(struct buffer *replies, const char *name, const char *text);
void protocol_put_stat(struct buffer *replies, const char *name, uint64_t number);

/* Append a number alone on its line; likewise. */
void protocol_put_number(struct buffer *replies, uint64_t number);

#endif
