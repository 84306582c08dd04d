/*
 * What the store must hold, and what each reply must therefore be.
 *
 * A write counts from its reply on. One that was received and got no reply, since its
 * client or the server was lost, is there or not, in the order of sending; it is settled
 * by a look at the store, which must show one of the states that are possible.
 */
#ifndef KV_WORLD_MODEL_H
#define KV_WORLD_MODEL_H

#include "base/slice.h"
#include "world/sockets.h"

struct store;

void model_begin_run(void);

/* The first start finds this; NULL: the key was deleted. */
void model_begin_with(struct slice key, const struct slice *value);

/* The store that is being served, or NULL: for a look between two clients. */
void model_watch(struct store *store);

/* The server has received so many bytes more, or sent some. */
void model_note_received(struct client *client, size_t count);
void model_note_sent(struct client *client);

/* The client's socket has taken so many bytes. */
void model_note_taken(struct client *client, size_t count);

/* The server has closed its end: had it a reason? */
void model_note_closed(struct client *client);

/* The server goes on, or has ended well: nobody may have been left alone before. */
void model_note_going_on(void);

/* The server is gone. After a failed sync, so may be what was not synced. */
void model_note_end(bool has_failed_sync, bool lost_power);

/* Nobody is served: what is still open is settled. */
void model_settle(void);

/* A start is complete: the store must hold one of the states that are possible. */
void model_check_store(struct store *store);

/* It has stopped as it should: everything acknowledged is durable. */
void model_note_stopped(void);

/* Whether only one state is possible. */
bool model_is_settled(void);

/*
 * The same where a bit was flipped, and pages may be lost: what is not right is called
 * corrupt, or cannot be read.
 */
void model_check_damaged(struct store *store);

/* The server waits until a moment: is there nothing that it should do before? */
void model_check_wait(uint64_t until_us);

/*
 * A line that --follow has printed; all of them so far, carried out in order, are a state
 * that the store has had. In the end they are the store. Who was hindered may not have
 * read all that there is.
 */
void model_note_printed(struct slice line);
void model_check_printed(bool was_hindered);
void model_check_all_printed(void);

/* Its reader begins anew, with an empty store. */
void model_forget_printed(void);

/* What --dump printed must be what the store holds. */
void model_check_dump(const struct bytes *text);

/* Commands that were answered, over all runs. */
uint64_t model_command_count(void);

#endif
