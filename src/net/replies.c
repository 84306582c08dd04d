/*
 * A client that is still sending cannot wedge a long reply: once its input no longer
 * fits, the rest is copied to the replies that are held, and execution goes on.
 */
#include "net/replies.h"

#include "base/bounds.h"
#include "base/clock.h"

#include <assert.h>

/* A walk is made in pieces of about this size. */
#define WALK_PIECE_BYTES (64 * KIB)

/* Keys that are walked over between looks at the clock. */
enum { KEYS_BETWEEN_LOOKS = 16 };

static_assert(KEYS_SLICE_COUNT % KEYS_BETWEEN_LOOKS == 0, "a slice is whole");

enum status replies_init(struct replies *replies, struct conn *conn,
                         const struct store *store)
{
    *replies = (struct replies){.conn = conn, .store = store};
    return buffer_reserve(&replies->held, REPLIES_BYTES_KEPT);
}

void replies_destroy(struct replies *replies)
{
    buffer_free(&replies->held);
    buffer_free(&replies->walk.prefix);
}

void replies_drop(struct replies *replies)
{
    replies->held.length = 0;
    replies->sent = 0;
    replies->long_reply = LONG_NONE;
    replies->is_cut_off = false;
    replies->walk.is_unfinished = false;
    buffer_trim(&replies->held, REPLIES_BYTES_KEPT);
    buffer_free(&replies->walk.prefix);
}

struct buffer *replies_held(struct replies *replies)
{
    return &replies->held;
}

/* Bytes that are held and that the client has not taken. */
static size_t backlog_of(const struct replies *replies)
{
    return replies->held.length - replies->sent;
}

/* How much more of it may be held; a walk puts the last key with what belongs to it. */
static size_t room_of(const struct replies *replies)
{
    size_t backlog = backlog_of(replies);
    return backlog < BACKLOG_BYTES_MAX ? BACKLOG_BYTES_MAX - backlog : 0;
}

bool replies_have_room(struct replies *replies)
{
    return replies->long_reply == LONG_NONE && room_of(replies) > 0 &&
           buffer_reserve(&replies->held, REPLY_LINE_BYTES_MAX) == KV_OK;
}

void replies_put_status(struct replies *replies, enum status status, enum verb verb)
{
    protocol_put_status(&replies->held, status, verb);
}

/*
 * Append what stands in the log, for which there is room. It was verified, and nobody
 * else has read since, but zeros take the place of what a disk does not give a second
 * time: then KV_IO, and nothing.
 */
static enum status put_stored(struct replies *replies, struct slice bytes)
{
    size_t length = replies->held.length;
    uint64_t fault_count = store_fault_count(replies->store);
    buffer_append(&replies->held, bytes);
    if (store_fault_count(replies->store) == fault_count) {
        return KV_OK;
    }
    replies->held.length = length;
    return KV_IO;
}

enum status replies_put_value(struct replies *replies, struct slice value)
{
    enum status status = buffer_reserve(&replies->held, value.length + 1);
    if (status == KV_OK) {
        status = put_stored(replies, value);
    }
    if (status == KV_OK) {
        buffer_append_byte(&replies->held, '\n');
    }
    return status;
}

void replies_begin_value(struct replies *replies, struct slice value)
{
    replies->long_reply = LONG_VALUE;
    replies->value = value;
}

enum status replies_begin_walk(struct replies *replies, enum verb verb,
                               struct slice prefix)
{
    replies->walk.prefix.length = 0;
    enum status status = buffer_reserve(&replies->walk.prefix, prefix.length);
    if (status == KV_OK) {
        buffer_append(&replies->walk.prefix, prefix);
        replies->walk.verb = verb;
        replies->walk.position = 0;
        replies->walk.failure = KV_OK;
        replies->walk.is_unfinished = true;
        replies->long_reply = LONG_WALK;
    }
    return status;
}

bool replies_are_unfinished(const struct replies *replies)
{
    return replies->long_reply != LONG_NONE;
}

bool replies_are_due(const struct replies *replies)
{
    return backlog_of(replies) > 0 || replies->long_reply != LONG_NONE;
}

bool replies_await_client(const struct replies *replies)
{
    return backlog_of(replies) > 0 || replies->long_reply == LONG_VALUE;
}

/* Hold the rest of the value and its LF, if there is room and memory for it. */
static void hold_rest_of_value(struct replies *replies, size_t bytes_max)
{
    if (replies->value.length >= bytes_max) {
        return;
    }
    enum status status = replies_put_value(replies, replies->value);
    replies->is_cut_off = status == KV_IO;
    if (status == KV_OK) {
        replies->long_reply = replies->walk.is_unfinished ? LONG_WALK : LONG_NONE;
    }
}

/* An empty line, unless something had to be left out: then why. */
static void end_walk(struct replies *replies)
{
    if (replies->walk.failure == KV_OK) {
        buffer_append_byte(&replies->held, '\n');
    } else {
        protocol_put_status(&replies->held, replies->walk.failure, replies->walk.verb);
    }
    replies->walk.is_unfinished = false;
    replies->long_reply = LONG_NONE;
}

/* Leave a damaged key or value out; the operator was told which. */
static void leave_out(struct replies *replies, enum status status)
{
    if (replies->walk.verb == VERB_LIST) {
        replies->walk.failure = status;
    } else {
        /* No key holds a space, so this line cannot be mistaken for one. */
        protocol_put_status(&replies->held, status, replies->walk.verb);
    }
}

/* Behind a key that stands at the end of what is held, put its value. */
static enum status put_value_of(struct replies *replies, struct slice key)
{
    struct slice value;
    struct lookup lookup;
    store_begin_lookup(replies->store, key, &lookup);
    enum status status = store_get(replies->store, &lookup, &value);
    if (status != KV_OK) {
        return status;
    }
    buffer_append_byte(&replies->held, ' ');
    if (value.length < STREAM_VALUE_BYTES_MIN) {
        return replies_put_value(replies, value);
    }
    replies_begin_value(replies, value);
    return KV_OK;
}

/*
 * Put a key, for which there is room, if it is wanted, and what goes with it; else
 * nothing. It is looked at when it was copied: in the log it may be zeros in a moment.
 */
static enum status put_key(struct replies *replies, struct slice stored)
{
    struct buffer *held = &replies->held;
    size_t length = held->length;
    enum status status = put_stored(replies, stored);
    struct slice key = slice_after(buffer_slice(held), length);
    bool is_wanted =
        status == KV_OK && slice_starts_with(key, buffer_slice(&replies->walk.prefix));
    if (is_wanted && replies->walk.verb == VERB_LIST) {
        status = put_value_of(replies, key);
    } else if (is_wanted) {
        buffer_append_byte(held, '\n');
    }
    held->length = is_wanted && status == KV_OK ? held->length : length;
    return status;
}

/* Go one step further. KV_NO_MEMORY: not gone. */
static enum status put_next(struct replies *replies)
{
    struct slice key;
    uint64_t position = replies->walk.position;
    enum status status = store_walk(replies->store, &position, &key);
    if (status == KV_NOT_FOUND) {
        end_walk(replies);
        return KV_OK;
    }
    if (status == KV_OK) {
        status = put_key(replies, key);
    }
    if (status == KV_NO_MEMORY) {
        return status;
    }
    if (status != KV_OK) {
        leave_out(replies, status);
    }
    replies->walk.position = position;
    return KV_OK;
}

/* Walk over some keys; false when there is no more room for them, or no more of them. */
static bool put_some(struct replies *replies, size_t bytes_max)
{
    struct buffer *held = &replies->held;
    size_t end = held->length + bytes_max;
    for (int i = 0; i < KEYS_BETWEEN_LOOKS; i++) {
        if (replies->long_reply != LONG_WALK || held->length >= end ||
            buffer_reserve(held, KEY_BYTES_MAX + REPLY_LINE_BYTES_MAX) != KV_OK ||
            put_next(replies) != KV_OK) {
            return false;
        }
    }
    return true;
}

/* One slice of the walk; returns whether there is room and memory for another. */
static bool go_on_walking(struct replies *replies, size_t held_max)
{
    uint64_t end_us = clock_now_us() + KEYS_SLICE_US_MAX;
    for (int i = 0; i < KEYS_SLICE_COUNT / KEYS_BETWEEN_LOOKS; i++) {
        size_t backlog = backlog_of(replies);
        if (backlog >= held_max || !put_some(replies, held_max - backlog)) {
            return false;
        }
        if (clock_now_us() >= end_us) {
            break;
        }
    }
    return true;
}

bool replies_make_more(struct replies *replies)
{
    bool must_hold = conn_is_full(replies->conn);
    bool can_go_on = false;
    if (replies->long_reply == LONG_WALK) {
        can_go_on =
            go_on_walking(replies, must_hold ? BACKLOG_BYTES_MAX : WALK_PIECE_BYTES);
    }
    /* Perhaps of a walk that has just come to it, and goes on behind it. */
    if (replies->long_reply == LONG_VALUE && must_hold) {
        hold_rest_of_value(replies, room_of(replies));
        can_go_on = replies->long_reply == LONG_WALK;
    }
    return can_go_on;
}

/* Send what is held, once. */
static enum conn_result flush(struct replies *replies)
{
    struct slice rest = slice_after(buffer_slice(&replies->held), replies->sent);
    if (rest.length == 0) {
        return CONN_DONE;
    }
    enum conn_result result = conn_send(replies->conn, &rest);
    replies->sent = replies->held.length - rest.length;
    /* What was taken is dropped once moving the rest costs little for what it frees. */
    if (replies->sent >= rest.length / 4) {
        buffer_drop_front(&replies->held, replies->sent);
        replies->sent = 0;
    }
    return result;
}

enum conn_result replies_send(struct replies *replies)
{
    enum conn_result result = replies->is_cut_off ? CONN_LOST : flush(replies);
    if (result == CONN_DONE && replies->long_reply == LONG_VALUE) {
        result = conn_send(replies->conn, &replies->value);
        if (result == CONN_DONE) {
            hold_rest_of_value(replies, 1); /* of which the LF is left */
            result = flush(replies);
        }
    }
    return result;
}
