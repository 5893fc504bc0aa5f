/*
 * Sessions with a framing, the client's half: reads requests, finds a backend for each, sends them,
 * and sends them again where that may be. In a worker.
 */
#include <errno.h>
#include <sys/socket.h>

#include "buffer.h"
#include "exchange.h"
#include "throttle.h"

#define UNSENT_TRIES_MAX 10

enum step exchange_look_for_backend(struct session *s)
{
    s->exchange->phase = PHASE_STARTING;
    s->exchange->again = false;
    connect_start(s);
    if (s->dead) {
        return STEP_OVER;
    }
    return s->attempt == NULL ? STEP_ON : STEP_WAIT;
}

void exchange_take_up_again(struct session *s, bool was_written)
{
    struct exchange *ex = s->exchange;
    struct sb_upstream_row *shared = upstream_row(s->proxy, s->row);
    if (s->backend->shut) { /* it has let go of what its client no longer waits for */
        exchange_let_go(s, DISCARD_SESSION_END);
        exchange_leave(s, true);
        session_make_ready(s);
        return;
    }
    bool may = ex->request != NULL && !ex->answered && !ex->pinned &&
               (was_written ? ex->retriable && !ex->resent : ex->unsent_tries < UNSENT_TRIES_MAX);
    if (!may) {
        if (!ex->answered && ex->phase == PHASE_ASKING) {
            scoreboard_add(&shared->ambiguous, 1);
        }
        session_fail(s, ENDING_BACKEND_RESET);
        return;
    }
    scoreboard_add(was_written ? &shared->resent_retries : &shared->unsent_retries, 1);
    ex->uncounted = false;
    ex->resent |= was_written;
    ex->fresh_only |= was_written;
    ex->unsent_tries++;
    ex->wrote = false;
    ex->is_deaf = false;
    buffer_free(s->proxy, ex->backend.buffer);
    ex->backend.buffer = NULL;
    exchange_let_go(s, DISCARD_BACKEND_CLOSED);
    if (ex->framer->again != NULL) {
        ex->framer->again(ex->state);
    }
    ex->phase = PHASE_STARTING;
    ex->again = true;
    if (!ex->working) {
        session_make_ready(s);
    }
}

void exchange_backend_failed(struct session *s, int error)
{
    struct exchange *ex = s->exchange;
    if (error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH) {
        session_fail(s, ENDING_BACKEND_TIMEOUT);
        return;
    }
    if (ex->phase == PHASE_ASKING && s->backend->pending != NULL && !ex->is_deaf) {
        /* It takes no more, but may have answered before it closed. */
        buffer_free(s->proxy, s->backend->pending);
        s->backend->pending = NULL;
        s->backend->readable = true;
        ex->is_deaf = true;
        session_make_ready(s);
        return;
    }
    switch (ex->phase) {
    case PHASE_ASKING:
        exchange_take_up_again(s, ex->wrote);
        break;
    case PHASE_PREPARING:
        exchange_take_up_again(s, false);
        break;
    default:
        session_fail(s, ENDING_BACKEND_RESET);
        break;
    }
}

/* Sends more of the request under way. */
static enum step ask(struct session *s, struct framing_bytes bytes)
{
    struct exchange *ex = s->exchange;
    if (bytes.n == 0 || ex->is_deaf) {
        return STEP_ON;
    }
    relay_hurry(s->backend, bytes.n);
    ssize_t sent = send(s->backend->fd, bytes.at, bytes.n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        if (!ex->wrote) {
            exchange_take_up_again(s, false);
            return s->dead ? STEP_OVER : STEP_ON;
        }
        /* It may have answered before it closed; reading will tell. */
        ex->is_deaf = true;
        s->backend->readable = true;
        return STEP_ON;
    }
    size_t done = sent < 0 ? 0 : (size_t)sent;
    ex->wrote |= done > 0;
    relay_account(s, &s->client, bytes.n);
    if (done < bytes.n) {
        s->backend->writable = false;
        s->backend->pending = buffer_hold(s->proxy, bytes.at + done, bytes.n - done);
        if (s->backend->pending == NULL) {
            session_finish(s, ENDING_ERROR);
            return STEP_OVER;
        }
    }
    return STEP_ON;
}

enum step exchange_send_request(struct session *s)
{
    struct exchange *ex = s->exchange;
    ex->phase = PHASE_ASKING;
    if (ex->request != NULL) {
        const struct framing_bytes bytes = {ex->request->bytes + ex->request->at,
                                            ex->request->end - ex->request->at};
        enum step step = ask(s, bytes);
        if (step == STEP_OVER || ex->phase != PHASE_ASKING) {
            return step;
        }
    }
    if (!ex->retriable || ex->resent) {
        buffer_free(s->proxy, ex->request);
        ex->request = NULL;
    }
    if (ex->owns) {
        exchange_own(s, ex->why);
    }
    return STEP_ON;
}

/* Whether a backend that has just been connected to was the first to speak. By the time that its
 * words are read the request will have reached it. One that has closed behind them is full. */
static bool has_greeted(const struct session *s)
{
    char byte;
    return s->backend->readable && !s->backend->closing &&
           recv(s->backend->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void exchange_bound(struct session *s, bool is_fresh)
{
    struct exchange *ex = s->exchange;
    bool was_working = ex->working;
    enum step step = STEP_ON;
    ex->is_fresh = is_fresh;
    if (is_fresh && has_greeted(s)) {
        upstream_switch_off(s->upstream, REUSE_SPEAKS_FIRST);
    }
    ex->owns |= upstream_is_switched_off(s->upstream);
    ex->uncounted = true;
    if (is_fresh && ex->key.n != 0 && ex->framer->prepare != NULL) {
        struct framing_bytes bytes = ex->framer->prepare(ex->state);
        ex->phase = PHASE_PREPARING;
        if (!relay_deliver(s, s->backend, bytes.at, bytes.n)) {
            return;
        }
    } else {
        step = exchange_send_request(s);
    }
    if (step != STEP_OVER && !was_working) {
        exchange_work(s);
    }
}

/* The first verdict on a request: finds it a backend, or goes on with the one that is kept. */
static enum step start_request(struct session *s, const struct framing *verdict)
{
    struct exchange *ex = s->exchange;
    if (!ex->has_asked) {
        ex->has_asked = true;
        atomic_fetch_add_explicit(&s->proxy->sb->pools[ex->pool_row].framed_sessions, 1,
                                  memory_order_relaxed);
    }
    ex->asked = verdict->ends;
    ex->retriable = verdict->retriable && ex->mode == REUSE_REQUEST;
    ex->key = verdict->key;
    ex->next_key = verdict->next_key;
    ex->wrote = false;
    ex->answered = false;
    ex->resent = false;
    ex->fresh_only = false;
    ex->is_deaf = false;
    ex->unsent_tries = 0;
    ex->waits = verdict->waits;
    ex->must_read = verdict->must_read;
    ex->owns = verdict->verb == FRAMING_OWN;
    ex->why = verdict->why;
    if (verdict->send.n > 0) {
        ex->request = buffer_hold(s->proxy, verdict->send.at, verdict->send.n);
        if (ex->request == NULL) {
            session_finish(s, ENDING_ERROR);
            return STEP_OVER;
        }
    }
    ex->phase = PHASE_STARTING;
    ex->again = s->upstream == NULL;
    return STEP_ON;
}

enum step exchange_ask_unread(struct session *s, const char *why)
{
    struct exchange *ex = s->exchange;
    struct buffer *held = ex->client.buffer;
    struct framing verdict = {
        .verb = FRAMING_OWN, .key = ex->next_key, .next_key = ex->next_key, .why = why};
    if (held != NULL) {
        verdict.send = (struct framing_bytes){held->bytes + held->at, held->end - held->at};
    }
    enum step step = start_request(s, &verdict);
    if (step != STEP_ON) {
        return step;
    }
    buffer_free(s->proxy, held);
    ex->client = (struct held){0};
    ex->fresh_only = true; /* it could not be sent again */
    return STEP_ON;
}

/* The client has no more requests for the upstream that its session has kept. */
static void give_kept_back(struct session *s)
{
    struct exchange *ex = s->exchange;
    if (s->upstream != NULL && !ex->pinned) {
        exchange_give_back(s, ex->next_key);
        s->state = SESSION_BETWEEN;
    }
}

static enum step take_verdict(struct session *s, const struct framing *verdict)
{
    struct exchange *ex = s->exchange;
    switch (verdict->verb) {
    case FRAMING_ANSWER:
        if (verdict->closes) {
            give_kept_back(s);
            exchange_leave(s, true);
        }
        if (verdict->send.n > 0 &&
            !relay_deliver(s, &s->client, verdict->send.at, verdict->send.n)) {
            return STEP_OVER;
        }
        return STEP_ON;
    case FRAMING_REFUSE:
        return exchange_refuse(s, verdict);
    default:
        break;
    }
    if (verdict->starts) {
        return start_request(s, verdict);
    }
    ex->asked |= verdict->ends;
    enum step step = ask(s, verdict->send);
    if (step == STEP_ON && verdict->verb == FRAMING_OWN && ex->phase == PHASE_ASKING) {
        exchange_own(s, verdict->why);
    }
    return step;
}

bool exchange_wants_client(struct session *s)
{
    const struct exchange *ex = s->exchange;
    /* A request may be answered while the end of it still waits to be sent. */
    if (s->backend->pending != NULL) {
        return false;
    }
    /* It may be sent whole before any of its answer is read: that holds nothing up. */
    bool is_asking = ex->phase == PHASE_ASKING && !ex->asked;
    bool is_next = ex->phase == PHASE_BETWEEN && s->client.pending == NULL;
    return is_next || (is_asking && !throttle_holds_back(s, s->backend));
}

/* The client has ended its sending, and nothing of it can be made a request any more. */
static enum step client_ended(struct session *s)
{
    if (s->exchange->phase == PHASE_BETWEEN) {
        give_kept_back(s);
    }
    session_finish(s, ENDING_CLIENT_FIN);
    return STEP_OVER;
}

/* Where the answer may wait for what others do, the backend is told of the client's end, as it
 * would be without reuse: one that can answer does, the others let go. */
static void tell_end(struct session *s)
{
    const struct exchange *ex = s->exchange;
    bool is_sent = ex->phase == PHASE_ASKING && ex->asked && s->backend->pending == NULL;
    if (is_sent && ex->waits && !s->backend->shut) {
        s->backend->shut = true;
        shutdown(s->backend->fd, SHUT_WR);
    }
}

/* Half closed, it still gets its answers, each within half_close_timeout. */
enum step exchange_look_at_client(struct session *s)
{
    struct exchange *ex = s->exchange;
    /* It has all its answers, and no request of it is waiting here. */
    bool is_all_told = s->client.pending == NULL && (ex->client.buffer == NULL || ex->client.tried);
    char byte;
    tell_end(s);
    if (!s->client.ended) {
        if (recv(s->client.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0) {
            return STEP_WAIT;
        }
        s->client.ended = true;
        s->active_ms = s->proxy->now_ms;
    }
    if (ex->phase == PHASE_ASKING && s->state == SESSION_OPEN) {
        s->state = SESSION_CLIENT_ENDED;
        session_set_timer(s);
    }
    /* Half a request stays one. */
    bool is_over = ex->phase == PHASE_BETWEEN || (ex->phase == PHASE_ASKING && !ex->asked);
    return is_over && is_all_told ? client_ended(s) : STEP_WAIT;
}

/* Whether the backend has said something before more of the request goes to it. Without a look, it
 * would pass for an answer to all of it. */
static bool has_interrupted(const struct session *s)
{
    char byte;
    return s->exchange->phase == PHASE_ASKING && s->backend->fd >= 0 &&
           recv(s->backend->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void exchange_look_before_flush(struct session *s)
{
    struct exchange *ex = s->exchange;
    if (ex->asked && !ex->is_early && s->backend->pending != NULL) {
        ex->is_early = has_interrupted(s);
    }
}

/* The framer is to see that before more of the request, where the client could take it now. */
static bool must_hear_backend(struct session *s)
{
    return s->client.readable && !s->backend->readable && s->client.pending == NULL &&
           !throttle_holds_back(s, &s->client) && has_interrupted(s);
}

enum step exchange_read_client(struct session *s)
{
    struct exchange *ex = s->exchange;
    struct proxy *proxy = s->proxy;
    size_t n = 0, at = 0;
    bool more = ex->client.more && !ex->client.tried;
    bool is_held =
        ex->client.buffer != NULL && !ex->client.tried; /* a request from before its end */
    if (must_hear_backend(s)) {
        s->backend->readable = true;
        return STEP_ON;
    }
    enum step step = exchange_gather(s, &s->client, &ex->client, &n);
    if (step != STEP_ON) {
        return step;
    }
    if (s->client.ended && !is_held) {
        return s->client.pending == NULL ? client_ended(s) : STEP_WAIT;
    }
    s->active_ms = proxy->now_ms;
    more |= n > 0;
    while (more) {
        struct framing verdict =
            ex->framer->request(ex->state, proxy->scratch + at, n - at, proxy->room);
        if (verdict.verb == FRAMING_HOLD) {
            if (n - at >= FRAMER_HOLD_MAX) {
                return exchange_fail(s, ENDING_BAD_MESSAGE);
            }
            return exchange_put_back(s, &ex->client, at, n, true);
        }
        at += verdict.used;
        ex->client.more = verdict.more;
        step = take_verdict(s, &verdict);
        if (step != STEP_ON) {
            return step;
        }
        more = (at < n || verdict.more) && exchange_wants_client(s);
    }
    return exchange_put_back(s, &ex->client, at, n, false);
}
