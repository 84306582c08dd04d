/*
 * A batch is every whole line that has arrived. If its commit is refused, the store is
 * as before it, so the same lines are gone through again: writes answer with the
 * refusal, reads from what is committed. Lines are taken in groups, which are gone when
 * they have been executed: what is known about a key is kept nowhere else.
 *
 * While a long reply is unfinished no line is executed.
 */
#include "net/session.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "net/commands.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>

/* A line that was taken. */
struct queued {
    struct request request;
    struct lookup *lookup; /* of its key; NULL if it has none */
    enum status refusal;   /* KV_OK, or why it cannot be executed */
    size_t start;          /* its place in the input */
};

/* Lines that are taken, looked up and executed together, before more is received. */
struct group {
    size_t line_count;
    size_t lookup_count;
    struct queued lines[GROUP_LINES_MAX];
    struct lookup lookups[GROUP_LINES_MAX];
};

/*
 * Time to use: it is spent as time goes by, and earned by bytes, but never more of it
 * than an idle client has. So one that is as slow as PROGRESS_BYTES_A_MS never runs out.
 */
struct credit {
    uint64_t until_ms;
    uint64_t bytes; /* that have earned nothing yet */
};

/* How it stands with the client who is served now. */
struct turn {
    bool is_closing; /* nothing more is executed; unread input may be coming */
    bool is_lost;
    bool is_stopped; /* the server ends */
    bool has_begun;  /* a line of it was executed */
    uint64_t last_command_ms;
    struct credit sending; /* while no reply is due */
    struct credit taking;  /* while replies are */
};

struct session {
    struct session_options options;
    struct store *store; /* borrowed */
    struct conn *conn;
    size_t line_bytes_max; /* without the mark that the conn has room for */
    struct replies replies;
    struct commands commands;
    struct turn turn;
};

enum status session_create(const struct session_options *options, struct store *store,
                           struct session **session_out)
{
    uint64_t line_bytes_max = protocol_line_bytes_max(options->value_bytes_max);
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL || line_bytes_max > SIZE_MAX / 4) {
        free(session);
        return KV_NO_MEMORY;
    }
    session->options = *options;
    session->store = store;
    session->line_bytes_max = (size_t)line_bytes_max;
    if (conn_create(session->line_bytes_max + PROTOCOL_MARK_BYTES, &session->conn) !=
            KV_OK ||
        replies_init(&session->replies, session->conn, store) != KV_OK) {
        conn_destroy(session->conn);
        free(session);
        return KV_NO_MEMORY;
    }
    commands_init(&session->commands, store, &session->replies);
    *session_out = session;
    return KV_OK;
}

void session_destroy(struct session *session)
{
    if (session == NULL) {
        return;
    }
    replies_destroy(&session->replies);
    conn_destroy(session->conn);
    free(session);
}

static struct credit full_credit(const struct session *session)
{
    return (struct credit){.until_ms = clock_now_ms() + session->options.idle_ms};
}

static void earn(const struct session *session, struct credit *credit, uint64_t bytes)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t from_ms = credit->until_ms > now_ms ? credit->until_ms : now_ms;
    bytes += credit->bytes;
    credit->bytes = bytes % PROGRESS_BYTES_A_MS;
    credit->until_ms = clock_earlier(from_ms + bytes / PROGRESS_BYTES_A_MS,
                                     now_ms + session->options.idle_ms);
}

void session_begin(struct session *session, int fd)
{
    conn_attach(session->conn, fd);
    session->turn = (struct turn){.last_command_ms = clock_now_ms()};
    session->turn.sending = full_credit(session);
}

bool session_has_begun(const struct session *session)
{
    return conn_received_bytes(session->conn) > 0;
}

int session_give_back(struct session *session)
{
    assert(!session_has_begun(session));
    return conn_detach(session->conn);
}

bool session_linger(struct session *session, uint64_t until_ms)
{
    return session->turn.is_closing && !session->turn.is_lost &&
           conn_linger(session->conn, until_ms);
}

bool session_is_cut(const struct session *session)
{
    return replies_are_due(&session->replies) ||
           (session->turn.is_stopped && conn_has_unused_input(session->conn));
}

void session_end(struct session *session)
{
    bool is_cut = session_is_cut(session);
    replies_drop(&session->replies);
    if (is_cut) {
        conn_abort(session->conn);
    } else {
        conn_close(session->conn);
    }
}

struct crowd *session_crowd(struct session *session)
{
    return &session->commands.crowd;
}

/* Whether another line may be executed now. */
static bool can_execute(struct session *session)
{
    return !session->turn.is_closing && replies_have_room(&session->replies) &&
           store_staged_bytes(session->store) < BATCH_BYTES_MAX;
}

/*
 * What a line asks for, before anything is done; one that is none of ours, to quit.
 * Returns KV_OK, or why it cannot be executed.
 */
static enum status examine(const struct session *session, enum line kind,
                           struct slice line, struct request *request_out)
{
    enum status status = KV_OK;
    bool is_short = line.length <= session->line_bytes_max;
    if (is_short && (kind == LINE_WHOLE || kind == LINE_UNFINISHED)) {
        status = protocol_parse(line, session->options.value_bytes_max, request_out);
        bool is_cut = kind == LINE_UNFINISHED && protocol_is_write(request_out->verb);
        status = is_cut ? KV_INCOMPLETE_LINE : status;
    } else {
        *request_out = (struct request){.verb = VERB_NONE};
        status = kind == LINE_NO_MEMORY ? KV_NO_MEMORY : KV_LINE_TOO_LONG;
    }
    /* No command begins as such a line does. */
    if (request_out->verb == VERB_NONE && protocol_is_hangup(line)) {
        *request_out = (struct request){.verb = VERB_QUIT};
        status = KV_OK;
    }
    return status;
}

/*
 * The first line of a client; a web page must not store anything. It ends in CR LF, as no
 * line does that kv, --dump or --follow sends.
 */
static void hang_up_on_http(struct queued *first)
{
    struct slice value = first->request.value;
    if (first->refusal == KV_OK && protocol_is_http(&first->request) &&
        value.bytes[value.length] == '\r') {
        first->request = (struct request){.verb = VERB_QUIT};
    }
}

/*
 * Take the next lines, up to a position, and look their keys up. Returns whether lines
 * ran out.
 */
static bool take_group(struct session *session, size_t position_max, struct group *group)
{
    struct slice line;
    group->line_count = 0;
    group->lookup_count = 0;
    while (group->line_count < GROUP_LINES_MAX &&
           conn_position(session->conn) < position_max) {
        size_t start = conn_position(session->conn);
        enum line kind = conn_next_line(session->conn, &line);
        if (kind == LINE_NONE) {
            break;
        }
        if (start == 0 && !session->turn.has_begun) {
            line = protocol_skip_mark(line);
        }
        struct queued *queued = &group->lines[group->line_count++];
        queued->start = start;
        queued->lookup = NULL;
        queued->refusal = examine(session, kind, line, &queued->request);
        if (queued->refusal == KV_OK && protocol_has_key(queued->request.verb)) {
            queued->lookup = &group->lookups[group->lookup_count++];
            store_begin_lookup(session->store, queued->request.key, queued->lookup);
        }
    }
    if (group->line_count > 0 && group->lines[0].start == 0 && !session->turn.has_begun) {
        hang_up_on_http(&group->lines[0]);
    }
    store_fetch(session->store, group->lookups, group->lookup_count);
    return group->line_count < GROUP_LINES_MAX;
}

/* Returns false if it had to stop; the lines not executed are put back. */
static bool execute_group(struct session *session, const struct group *group)
{
    for (size_t i = 0; i < group->line_count; i++) {
        const struct queued *queued = &group->lines[i];
        if (!can_execute(session) ||
            !commands_execute(&session->commands, &queued->request, queued->refusal,
                              queued->lookup)) {
            conn_rewind(session->conn, queued->start);
            return false;
        }
        session->turn.is_closing =
            queued->request.verb == VERB_QUIT && queued->refusal == KV_OK;
    }
    return true;
}

/*
 * Execute lines up to a position, or to the end of what has arrived if that is nearer.
 * Returns whether it stopped for want of lines.
 */
static bool execute_lines(struct session *session, size_t position_max)
{
    /* A group ends here, before input can move and before the store can be changed by
     * anybody else. */
    struct group group;
    while (can_execute(session)) {
        bool is_last = take_group(session, position_max, &group);
        if (!execute_group(session, &group)) {
            return false;
        }
        if (is_last) {
            return true;
        }
    }
    return false;
}

/* Receive once, where more can come and has room. Returns whether anything did. */
static bool receive(struct session *session)
{
    if (session->turn.is_closing) {
        /* A client that sends on must get to its replies. */
        conn_discard_input(session->conn);
    }
    if (!conn_can_receive(session->conn)) {
        return false;
    }
    bool had_begun = session_has_begun(session);
    enum conn_result received = conn_receive(session->conn);
    if (!had_begun && received == CONN_DONE) {
        commands_note_client(&session->commands);
    }
    session->turn.is_lost = received == CONN_LOST;
    return received == CONN_DONE || received == CONN_ENDED;
}

/*
 * Execute every whole line, and commit; what has arrived meanwhile shares the commit of a
 * small batch. is_out_of_lines_out: none is left that could be executed later.
 */
static enum status run_batch(struct session *session, bool *is_out_of_lines_out)
{
    struct commands *commands = &session->commands;
    uint64_t staged_bytes;
    int gathered = 0;
    commands_begin_batch(commands);
    do {
        *is_out_of_lines_out = execute_lines(session, SIZE_MAX);
        staged_bytes = store_staged_bytes(session->store);
    } while (*is_out_of_lines_out && !session->turn.is_closing && staged_bytes > 0 &&
             staged_bytes < GATHER_BYTES_MAX && gathered++ < GATHER_RECEIVES_MAX &&
             receive(session));
    enum status status = commands_commit(commands);
    if (status != KV_OK && status != KV_FATAL) {
        /* The same lines again, as far as the first pass came. A value of before may be
         * so long that it has to be sent before the rest of them. */
        size_t end = conn_position(session->conn);
        conn_rewind(session->conn, 0);
        session->turn.is_closing = false;
        *is_out_of_lines_out = execute_lines(session, end) && *is_out_of_lines_out;
        status = commands_commit(commands);
    }
    return status;
}

/* Give up the lines of the batch, and note whether the client makes progress. */
static void end_batch(struct session *session, bool was_due, uint64_t received_bytes)
{
    struct turn *turn = &session->turn;
    if (conn_position(session->conn) > 0) {
        turn->has_begun = true;
        turn->sending = full_credit(session);
        turn->last_command_ms = turn->sending.until_ms - session->options.idle_ms;
        turn->taking = was_due ? turn->taking : turn->sending;
    } else if (received_bytes > 0) {
        earn(session, &turn->sending, received_bytes);
    }
    conn_consume(session->conn);
}

/* Send what is due, once, and note whether the client takes it. */
static enum conn_result send_replies(struct session *session, bool was_due)
{
    struct turn *turn = &session->turn;
    uint64_t taken_bytes = conn_sent_bytes(session->conn);
    enum conn_result result = replies_send(&session->replies);
    bool is_due = replies_are_due(&session->replies);
    taken_bytes = conn_sent_bytes(session->conn) - taken_bytes;
    turn->is_lost = turn->is_lost || result == CONN_LOST;
    if (is_due && !replies_await_client(&session->replies)) {
        /* While keys are looked for, a client that has taken all there is keeps nobody.
         */
        turn->taking = full_credit(session);
    } else if (is_due && taken_bytes > 0) {
        earn(session, &turn->taking, taken_bytes);
    } else if (was_due && !is_due) {
        turn->sending = full_credit(session); /* it can ask again only now */
    }
    return result;
}

enum status session_run(struct session *session, enum session_state *state_out)
{
    bool was_due = replies_are_due(&session->replies);
    bool is_out_of_lines = false;
    uint64_t received_bytes = conn_received_bytes(session->conn);
    bool has_received = receive(session);
    enum status status = run_batch(session, &is_out_of_lines);
    if (status != KV_OK) {
        return status;
    }
    end_batch(session, was_due, conn_received_bytes(session->conn) - received_bytes);
    /* Telnet's Ctrl-C comes without an LF. */
    if (is_out_of_lines && protocol_is_hangup(conn_partial_line(session->conn))) {
        session->turn.is_closing = true;
    }
    bool can_make_more = replies_make_more(&session->replies);
    enum conn_result sent = send_replies(session, was_due);
    bool is_finished =
        session->turn.is_closing || (is_out_of_lines && conn_has_ended(session->conn));
    bool is_due = replies_are_due(&session->replies);
    bool can_execute_more = !is_out_of_lines && can_execute(session);
    bool can_send_more = can_make_more || (sent == CONN_DONE && is_due);
    if (session->turn.is_lost || (is_finished && !is_due)) {
        *state_out = SESSION_OVER;
    } else if (has_received || can_execute_more || can_send_more) {
        *state_out = SESSION_READY;
    } else {
        *state_out = SESSION_WAITING;
    }
    return KV_OK;
}

enum leisure session_leisure(const struct session *session)
{
    if (replies_are_unfinished(&session->replies)) {
        return LEISURE_NONE;
    }
    bool is_idle = clock_now_ms() >= session->turn.last_command_ms + LEISURE_AFTER_MS;
    return is_idle ? LEISURE_ALL : LEISURE_SOME;
}

struct session_wait session_wait(const struct session *session)
{
    struct session_wait wait = {
        .socket = {.fd = conn_fd(session->conn)},
        .idle_ms = session->turn.sending.until_ms,
    };
    if (session->turn.is_closing ? !conn_has_ended(session->conn)
                                 : conn_can_receive(session->conn)) {
        wait.socket.events = POLLIN;
    }
    if (replies_are_due(&session->replies)) {
        wait.socket.events |= POLLOUT;
        wait.idle_ms = session->turn.taking.until_ms;
    }
    return wait;
}

bool session_send_away(struct session *session)
{
    if (replies_are_due(&session->replies)) {
        session->turn.is_lost = true;
        return true;
    }
    session_stop(session, KV_IDLE);
    return false;
}

void session_stop(struct session *session, enum status reason)
{
    if (!replies_are_due(&session->replies)) {
        session->turn.taking = full_credit(session); /* its time for the last line */
    }
    if (reason != KV_OK && replies_have_room(&session->replies)) {
        replies_put_status(&session->replies, reason, VERB_NONE);
    }
    session->turn.is_stopped = reason == KV_OK;
    session->turn.is_closing = true;
}
