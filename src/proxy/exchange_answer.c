/*
 * Sessions with a framing, the backend's half: reads answers, passes them on, and decides what
 * becomes of the upstream. In a worker.
 */
#include <string.h>

#include "buffer.h"
#include "exchange.h"
#include "outlier.h"

/* Between the commands of a handshake an upstream is not kept: one that has done all of it may be
 * there. */
static bool is_handshake(const struct exchange *ex)
{
    size_t n = ex->key.n;
    return n != ex->next_key.n || (n > 0 && memcmp(ex->key.at, ex->next_key.at, n) != 0);
}

/* The request has been answered, and the upstream goes its way. n_stray: bytes that came behind the
 * answer. */
static enum step finish_reply(struct session *s, const struct framing *verdict, size_t n_stray)
{
    struct exchange *ex = s->exchange;
    bool closes_early = !ex->asked || ex->is_deaf; /* before it had all of the request */
    bool closes = verdict->closes || closes_early;
    exchange_count_request(s);
    ex->was_served = true;
    ex->phase = PHASE_BETWEEN;
    ex->is_fresh = false;
    ex->answered = false;
    buffer_free(s->proxy, ex->request);
    ex->request = NULL;
    outlier_answer_complete(s);
    bool is_last = s->proxy->draining && ex->client.buffer == NULL && !s->client.readable;
    if (closes || (is_last && !verdict->pinned)) {
        exchange_leave(s, true);
        ex->lingers = closes_early;
    }
    if (n_stray > 0) {
        upstream_strayed(s->upstream, n_stray);
    }
    if (n_stray > 0 || s->backend->shut) {
        exchange_let_go(s, n_stray > 0 ? DISCARD_STRAY_BYTES : DISCARD_SESSION_END);
        if (verdict->pinned) {
            exchange_leave(s, true); /* what the client has begun there is lost */
        }
    } else if (verdict->pinned && !closes) {
        ex->pinned = true;
        upstream_pin(s, verdict->why);
        s->state = SESSION_OPEN;
        return STEP_ON;
    } else if (!verdict->clean || closes_early || ex->is_early) {
        exchange_let_go(s, ex->pinned ? DISCARD_OWNED : DISCARD_NOT_CLEAN);
    } else {
        ex->pinned = false;
        upstream_unpin(s->upstream);
        if (ex->mode == REUSE_SESSION && !closes && !is_handshake(ex)) {
            ex->next_key = verdict->key;
            s->state = SESSION_OPEN;
            return STEP_ON;
        }
        exchange_give_back(s, verdict->key);
    }
    ex->key = ex->next_key = verdict->key; /* as long as nothing more is understood of the client */
    s->state = SESSION_BETWEEN;
    return STEP_ON;
}

/* The answers to a client's handshake that was repeated on a fresh upstream. */
static enum step finish_preparing(struct session *s, const struct framing *verdict, bool is_stray)
{
    if (!verdict->clean || is_stray) {
        exchange_let_go(s, DISCARD_HANDSHAKE);
        return exchange_fail(s, ENDING_BACKEND_RESET);
    }
    return exchange_send_request(s);
}

/* The backend has ended its sending. */
static enum step backend_ended(struct session *s)
{
    struct exchange *ex = s->exchange;
    if (ex->phase == PHASE_BETWEEN) {
        bool was_pinned = ex->pinned;
        exchange_let_go(s, DISCARD_BACKEND_CLOSED);
        s->state = SESSION_BETWEEN;
        if (was_pinned) {
            exchange_leave(s, true);
        }
        return STEP_ON;
    }
    if (ex->phase == PHASE_PREPARING) {
        exchange_take_up_again(s, false);
        return s->dead ? STEP_OVER : STEP_ON;
    }
    struct framing verdict = ex->framer->reply_ended(ex->state);
    if (verdict.verb == FRAMING_FORWARD && verdict.ends) {
        verdict.clean = false;
        return finish_reply(s, &verdict, 0);
    }
    exchange_take_up_again(s, ex->wrote);
    return s->dead ? STEP_OVER : STEP_ON;
}

/* What has come is this session's, and the upstream too. */
static enum step backend_speaks(struct session *s, size_t n, const char *why)
{
    exchange_own(s, why);
    return exchange_put_back(s, &s->exchange->backend, 0, n, false);
}

/* Something has come that this session did not ask for. Where the upstream has served another, it
 * may be that one's. */
static enum step take_unasked(struct session *s, size_t n)
{
    if (s->exchange->pinned || s->upstream->uses == 0) {
        return backend_speaks(s, n, "unasked");
    }
    upstream_strayed(s->upstream, n);
    exchange_let_go(s, DISCARD_STRAY_BYTES);
    s->state = SESSION_BETWEEN;
    return STEP_ON;
}

/* The first bytes ever of an upstream: an answer, or a greeting that nobody waited for? */
static bool is_greeting(struct session *s)
{
    struct exchange *ex = s->exchange;
    if (!ex->is_fresh) {
        return false;
    }
    ex->is_fresh = false;
    if (!upstream_spoke_first(s->upstream)) {
        return false;
    }
    upstream_switch_off(s->upstream, REUSE_SPEAKS_FIRST);
    return true;
}

/* n_behind: bytes in hand behind it. */
static enum step take_reply(struct session *s, const struct framing *verdict, size_t n_behind)
{
    struct exchange *ex = s->exchange;
    bool more = verdict->ends ? verdict->closes : n_behind > 0 || verdict->more;
    if (verdict->verb == FRAMING_REFUSE) {
        return exchange_refuse(s, verdict);
    }
    if (verdict->send.n > 0) {
        ex->answered = true;
        struct framing_bytes send = verdict->send;
        if (!(more ? relay_deliver_more : relay_deliver)(s, &s->client, send.at, send.n)) {
            return STEP_OVER;
        }
    }
    if (verdict->verb == FRAMING_OWN) {
        exchange_own(s, verdict->why);
    }
    return STEP_ON;
}

static enum step parse_bytes(struct session *s, size_t n)
{
    struct exchange *ex = s->exchange;
    struct proxy *proxy = s->proxy;
    size_t at = 0;
    bool more = true;
    while (more) {
        struct framing verdict =
            ex->framer->reply(ex->state, proxy->scratch + at, n - at, proxy->room);
        if (verdict.verb == FRAMING_HOLD) {
            if (n - at >= FRAMER_HOLD_MAX) {
                return exchange_fail(s, ENDING_BAD_MESSAGE);
            }
            return exchange_put_back(s, &ex->backend, at, n, true);
        }
        at += verdict.used;
        enum step step = take_reply(s, &verdict, n - at);
        if (step != STEP_ON) {
            return step;
        }
        if (verdict.ends) {
            return ex->phase == PHASE_PREPARING ? finish_preparing(s, &verdict, at < n)
                                                : finish_reply(s, &verdict, n - at);
        }
        more =
            (at < n || verdict.more) && (ex->phase == PHASE_PREPARING ||
                                         (ex->phase == PHASE_ASKING && s->client.pending == NULL));
    }
    return exchange_put_back(s, &ex->backend, at, n, false);
}

static enum step parse_reply(struct session *s, size_t n)
{
    enum step step = parse_bytes(s, n);
    if (s->dead) {
        return step;
    }
    enum phase phase = s->exchange->phase;
    if (phase != PHASE_LEAVING) {
        relay_uncork(&s->client);
    }
    if (s->upstream != NULL && (phase == PHASE_ASKING || phase == PHASE_PREPARING)) {
        socket_acknowledge(s->backend->fd); /* there is more to come */
    }
    return step;
}

enum step exchange_read_backend(struct session *s)
{
    struct exchange *ex = s->exchange;
    size_t n = 0;
    size_t held = ex->backend.buffer == NULL ? 0 : ex->backend.buffer->end - ex->backend.buffer->at;
    enum step step = exchange_gather(s, s->backend, &ex->backend, &n);
    if (step != STEP_ON) {
        return step == STEP_LOST ? STEP_ON : step; /* perhaps on another upstream */
    }
    if (s->backend->ended) {
        return backend_ended(s);
    }
    if (n > held) {
        relay_account(s, s->backend, n - held);
    }
    if (ex->phase == PHASE_BETWEEN) {
        return take_unasked(s, n);
    }
    ex->is_early |= ex->asked && s->backend->pending != NULL;
    if (is_greeting(s)) {
        if (ex->phase == PHASE_ASKING) {
            return backend_speaks(s, n, NULL);
        }
        exchange_take_up_again(s, false);
        return s->dead ? STEP_OVER : STEP_ON;
    }
    return parse_reply(s, n);
}
