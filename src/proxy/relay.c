/*
 * The relay: one pump for both directions, on edge-triggered events and the worker's one scratch
 * buffer. Each direction closes by itself:
 *
 *     open ── end read ──► ended ── pending written ──► drained ── shutdown ──► shut
 *
 * and a session is over when both are, or at the first error. In a worker.
 */
#include <errno.h>
#include <sys/socket.h>

#include "buffer.h"
#include "outlier.h"
#include "pool/ewma.h"
#include "session.h"
#include "splice.h"
#include "throttle.h"
#include "upstream.h"

#define SEGMENT_BYTES 536 /* which fit for sure: RFC 9293, 3.7.1 */

/* A client that takes what it is sent is not asked when it takes more: the first answer would
 * always be "now", an event for nothing. */
static bool register_own(struct session *s, struct leg *leg)
{
    bool is_client = leg == &s->client;
    bool asks_room = !is_client || !leg->writable;
    event_assign(&leg->event, s->proxy->base, leg->fd,
                 EV_READ | (asks_room ? EV_WRITE : 0) | EV_CLOSED | EV_ET | EV_PERSIST,
                 is_client ? relay_client_event : relay_backend_event, s);
    leg->registered = event_add(&leg->event, NULL) == 0;
    return leg->registered;
}

bool relay_register(struct session *s, struct leg *leg)
{
    bool is_upstream = s->upstream != NULL && leg == s->backend;
    if (!(is_upstream ? upstream_register(s->upstream) : register_own(s, leg))) {
        if (s->attempt != NULL) {
            session_refuse(s, REFUSAL_MEMORY);
        } else {
            session_finish(s, ENDING_ERROR);
        }
        return false;
    }
    return true;
}

/* The backend has answered for the first time: how long that and the connect took. One sample for
 * both, because a connect alone would make a slow backend seem fast until its first answer. */
static void note_first_answer(struct session *s)
{
    struct proxy *proxy = s->proxy;
    uint32_t answer_us = (uint32_t)proxy->woken_us - s->asked_us;
    ewma_add(&proxy->sb->slot_time[s->slot], (uint64_t)s->connect_us + answer_us, proxy->now_ms);
    outlier_answered(s, answer_us);
    s->timed = false;
}

/* For the session's log; saturates like it. */
static void note_first_byte(struct session *s)
{
    bool is_late = s->proxy->now_ms - s->started_ms > UINT32_MAX / 1000;
    s->first_byte_us = is_late ? UINT32_MAX : (uint32_t)s->proxy->woken_us - s->first_byte_us;
}

void relay_account(struct session *s, const struct leg *from, size_t n)
{
    struct proxy *proxy = s->proxy;
    struct sb_row_cell *row = scoreboard_row_cell(proxy->sb, proxy->worker, s->row);
    struct sb_service_cell *service =
        scoreboard_service_cell(proxy->sb, proxy->worker, s->service_row);
    s->active_ms = proxy->now_ms;
    if ((s->bytes_in | s->bytes_out) == 0) {
        proxy->client_begins[s->service_row] = from == &s->client;
    }
    if (from == &s->client) {
        s->conversed |= s->backend_spoke;
        s->asked_us = (uint32_t)proxy->woken_us;
        s->backend_spoke = false;
        s->bytes_in += n;
        scoreboard_bump(&row->bytes_in, n);
        scoreboard_bump(&service->bytes_in, n);
    } else {
        if (s->timed) {
            note_first_answer(s);
        }
        if (s->bytes_out == 0) {
            note_first_byte(s);
        }
        s->backend_spoke = true;
        s->was_greeted |= s->bytes_in == 0;
        s->bytes_out += n;
        scoreboard_bump(&row->bytes_out, n);
        scoreboard_bump(&service->bytes_out, n);
    }
}

/* What a peer had sent before it reset still counts: passed on as far as it goes at once. */
static void pass_last_words(struct session *s, struct leg *from, struct leg *to)
{
    struct proxy *proxy = s->proxy;
    for (size_t left = RELAY_BUDGET_BYTES; left >= RELAY_SCRATCH_BYTES && to->pending == NULL;
         left -= RELAY_SCRATCH_BYTES) {
        ssize_t n = recv(from->fd, proxy->scratch, RELAY_SCRATCH_BYTES, MSG_DONTWAIT);
        if (n <= 0) {
            return;
        }
        relay_account(s, from, (size_t)n);
        if (send(to->fd, proxy->scratch, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n) {
            return;
        }
    }
}

/* Where bytes flow unread the other leg gets a reset. */
void relay_failed(struct session *s, struct leg *leg, int error)
{
    if (s->exchange != NULL && leg == s->backend) {
        exchange_backend_failed(s, error);
        return;
    }
    bool timed_out = error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH;
    if (leg == &s->client) {
        session_finish(s, timed_out ? ENDING_CLIENT_TIMEOUT : ENDING_CLIENT_RESET);
    } else {
        session_finish(s, timed_out ? ENDING_BACKEND_TIMEOUT : ENDING_BACKEND_RESET);
    }
}

void relay_send_failed(struct session *s, struct leg *to, int error)
{
    if (s->exchange == NULL) {
        pass_last_words(s, to, to == &s->client ? s->backend : &s->client);
    }
    relay_failed(s, to, error);
}

void relay_blocked(struct session *s, struct leg *to)
{
    to->writable = false;
    if (to == &s->client && to->registered && (event_get_events(&to->event) & EV_WRITE) == 0) {
        event_del(&to->event);
        (void)register_own(s, to); /* without memory, whoever waits next tries again */
    }
}

bool relay_flush(struct session *s, struct leg *to)
{
    struct buffer *buffer = to->pending;
    if (buffer == NULL || !to->writable) {
        return true;
    }
    ssize_t n = buffer->slab == BUFFER_PIPE ? splice_drain(buffer, to->fd)
                                            : send(to->fd, buffer->bytes + buffer->at,
                                                   buffer->end - buffer->at, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        int error = errno;
        if (buffer->slab == BUFFER_PIPE && splice_takes_back(to, error)) {
            return relay_flush(s, to);
        }
        relay_send_failed(s, to, error);
        return false;
    }
    if (n > 0) {
        s->active_ms = s->proxy->now_ms;
        s->backend_spoke &= to != s->backend; /* what it has said was no answer to this */
        buffer->at += (uint32_t)n;
    }
    if (buffer->at < buffer->end) {
        relay_blocked(s, to);
        return true;
    }
    buffer_free(s->proxy, buffer);
    to->pending = NULL;
    return true;
}

void relay_hurry(struct leg *to, size_t n)
{
    if (!to->is_prompt && (to->was_told || n > SEGMENT_BYTES)) {
        to->is_prompt = true;
        socket_push(to->fd);
    }
    to->was_told = true;
}

static bool deliver(struct session *s, struct leg *to, const unsigned char *bytes, size_t n,
                    bool more_follows)
{
    relay_hurry(to, n);
    ssize_t sent = send(to->fd, bytes, n, MSG_NOSIGNAL | (more_follows ? MSG_MORE : 0));
    to->corked = more_follows;
    if (sent == (ssize_t)n) {
        return true;
    }
    if (sent < 0) {
        if (errno != EAGAIN) {
            relay_send_failed(s, to, errno);
            return false;
        }
        sent = 0;
    }
    relay_blocked(s, to);
    to->pending = buffer_hold(s->proxy, bytes + sent, n - (size_t)sent);
    if (to->pending == NULL) {
        session_finish(s, ENDING_ERROR);
        return false;
    }
    return true;
}

bool relay_read_nothing(struct session *s, struct leg *from, ssize_t n)
{
    if (n == 0) {
        from->ended = true;
        from->suspect = false;
        return true;
    }
    if (errno == EAGAIN) {
        from->readable = false;
        from->suspect = false;
        return true;
    }
    relay_failed(s, from, errno);
    return false;
}

void relay_note_emptied(struct leg *from)
{
    from->readable = false;
    from->suspect |= from->registered;
}

bool relay_deliver(struct session *s, struct leg *to, const unsigned char *bytes, size_t n)
{
    return deliver(s, to, bytes, n, false);
}

bool relay_deliver_more(struct session *s, struct leg *to, const unsigned char *bytes, size_t n)
{
    return deliver(s, to, bytes, n, true);
}

void relay_uncork(struct leg *to)
{
    if (to->corked) {
        to->corked = false;
        socket_push(to->fd);
    }
}

/* Whether the backend may be holding back the rest of its first answer until this part of it is
 * acknowledged. Later on the kernel, on either side, does as it would without us. */
static bool may_be_waiting(const struct session *s, const struct leg *from)
{
    return from == s->backend && !from->closing && !s->conversed && !s->settled;
}

static void spend(size_t *budget, size_t n)
{
    *budget -= n < *budget ? n : *budget;
}

/* A full read, or a short one: after SPLICE_AFTER full ones in a row the flow is worth a pipe. */
static void note_read(struct leg *from, size_t n)
{
    bool is_full = n == RELAY_SCRATCH_BYTES;
    if (!is_full) {
        from->full_reads = 0;
    } else if (from->full_reads < SPLICE_AFTER) {
        from->full_reads = (from->full_reads + 1U) & 7U;
    }
    /* A short read has emptied the socket, and whatever comes later is a new event; but an end that
     * came with this very event would not be told again. Nor would an error, or what follows urgent
     * bytes, in front of which a read ends: that is what relay_still_sound() is for. */
    if (!is_full && !from->closing) {
        relay_note_emptied(from);
    }
}

static bool copy_once(struct session *s, struct leg *from, struct leg *to, size_t *budget)
{
    ssize_t n = recv(from->fd, s->proxy->scratch, RELAY_SCRATCH_BYTES, 0);
    if (n <= 0) {
        return relay_read_nothing(s, from, n);
    }
    relay_account(s, from, (size_t)n);
    spend(budget, (size_t)n);
    note_read(from, (size_t)n);
    bool is_last = from->closing && n < RELAY_SCRATCH_BYTES;
    if (!deliver(s, to, s->proxy->scratch, (size_t)n, is_last)) {
        return false;
    }
    if (n < RELAY_SCRATCH_BYTES && may_be_waiting(s, from)) {
        socket_acknowledge(from->fd);
    }
    return true;
}

/* The same by way of a pipe. A spliced byte costs half as much as a copied one. */
static bool splice_once(struct session *s, struct pipe *pipe, struct leg *from, struct leg *to,
                        size_t *budget)
{
    ssize_t n = splice_fill(pipe, from, to, 2 * *budget);
    if (n < 0 && splice_gives_way(pipe, errno)) {
        return true;
    }
    if (n == 0 || (n < 0 && errno == EAGAIN)) {
        /* No splice gets past urgent bytes, and in front of them it says what it says of an empty
         * socket, or at its end (tcp_read_sock() in the kernel's net/ipv4/tcp.c). */
        return copy_once(s, from, to, budget);
    }
    if (n < 0) {
        return relay_read_nothing(s, from, n);
    }
    relay_account(s, from, (size_t)n);
    spend(budget, (size_t)n / 2 + 1);
    if (!relay_flush(s, to)) {
        return false;
    }
    if (n < RELAY_SCRATCH_BYTES && may_be_waiting(s, from)) {
        socket_acknowledge(from->fd);
    }
    return true;
}

/* One read of from, passed on to to. False: the session is over. */
static bool move_once(struct session *s, struct leg *from, struct leg *to, size_t *budget)
{
    if (buffers_are_used_up(s->proxy)) {
        return throttle_move(s, from, to, budget);
    }
    struct pipe *pipe = from->full_reads == SPLICE_AFTER ? splice_pipe(s, from) : NULL;
    return pipe != NULL ? splice_once(s, pipe, from, to, budget) : copy_once(s, from, to, budget);
}

bool relay_pump(struct session *s, struct leg *from, struct leg *to)
{
    size_t budget = RELAY_BUDGET_BYTES;
    if (!relay_flush(s, to)) {
        return false;
    }
    while (from->readable && !from->ended && to->pending == NULL && !to->starved) {
        if (budget == 0) {
            session_make_ready(s);
            return true;
        }
        if (!move_once(s, from, to, &budget)) {
            return false;
        }
    }
    return true;
}

static void suspect(struct session *s)
{
    if (!wheel_fires_by(&s->timer, s->proxy->now_ms + SUSPECT_MS)) {
        wheel_set(&s->proxy->wheel, &s->timer, s->proxy->now_ms + SUSPECT_MS);
    }
}

static bool look_for_error(struct session *s, struct leg *leg)
{
    if (!leg->suspect || leg->fd < 0) {
        return true;
    }
    leg->suspect = false;
    int error = socket_error(leg->fd);
    if (error != 0) {
        relay_failed(s, leg, error);
        return false;
    }
    return true;
}

bool relay_still_sound(struct session *s, struct leg *leg)
{
    bool being_read = leg->readable && !leg->ended && s->in_ready;
    if (!leg->suspect || being_read) {
        return true;
    }
    if (!leg->readable && !leg->ended) {
        suspect(s);
        return true;
    }
    return look_for_error(s, leg);
}

/* from has ended and to has everything: tells to, unless the session is over anyway. */
static void pass_end(struct session *s, struct leg *from, struct leg *to)
{
    if (!from->ended || to->shut || to->pending != NULL) {
        return;
    }
    if (to == s->backend && reset_is_due(s) && reset_begin(s)) {
        return;
    }
    to->shut = true;
    to->corked = false;
    if (!to->ended) {
        s->state = from == &s->client ? SESSION_CLIENT_ENDED : SESSION_BACKEND_ENDED;
        s->active_ms = s->proxy->now_ms;
        shutdown(to->fd, SHUT_WR);
        session_set_timer(s);
    }
}

void relay_work(struct session *s)
{
    if (s->exchange != NULL) {
        exchange_work(s);
        return;
    }
    if (s->is_resetting) {
        reset_work(s);
        return;
    }
    if (!relay_pump(s, &s->client, s->backend) || !relay_pump(s, s->backend, &s->client)) {
        return;
    }
    if (!relay_still_sound(s, &s->client) || !relay_still_sound(s, s->backend)) {
        return;
    }
    pass_end(s, &s->client, s->backend);
    pass_end(s, s->backend, &s->client);
    if (s->dead || s->is_resetting) {
        return;
    }
    relay_uncork(&s->client);
    relay_uncork(s->backend);
    if (s->client.shut && s->backend->shut) {
        session_finish(s,
                       s->state == SESSION_BACKEND_ENDED ? ENDING_BACKEND_FIN : ENDING_CLIENT_FIN);
        return;
    }
    /* From here on it has to wait. Short sessions may be over before. */
    if (s->client.registered || relay_register(s, &s->client)) {
        (void)(s->backend->registered || relay_register(s, s->backend));
    }
}

static void note_event(struct leg *leg, short what)
{
    leg->readable |= (what & (EV_READ | EV_CLOSED)) != 0;
    leg->writable |= (what & EV_WRITE) != 0;
    leg->starved &= (what & EV_WRITE) == 0;
    leg->closing |= (what & EV_CLOSED) != 0;
    /* libevent tells an error condition as readable, and writable if asked, without closed. */
    leg->suspect |= (what & (EV_READ | EV_CLOSED)) == EV_READ;
}

void relay_client_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct session *s = arg;
    proxy_touch(s->proxy);
    note_event(&s->client, what);
    if (s->attempt != NULL) {
        connect_client_event(s, what);
        (void)(s->dead || relay_flush(s, &s->client)); /* answers to what it asked before */
        return;
    }
    relay_work(s);
}

void relay_backend_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct session *s = arg;
    proxy_touch(s->proxy);
    if (s->state == SESSION_CONNECTING) {
        connect_event(s, what);
        return;
    }
    note_event(s->backend, what);
    relay_work(s);
}
