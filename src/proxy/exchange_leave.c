/*
 * Sessions with a framing, their ends: of an upstream that is given up or given back, and of the
 * session itself, which leaves its client only when that has got what it is owed. In a worker.
 */
#include <errno.h>
#include <sys/socket.h>

#include "buffer.h"
#include "exchange.h"

/* A client that is answered while it sends may have to send all of it before it reads the answer.
 * So long it is listened to, as nginx does (lingering_timeout, lingering_time). */
#define LINGER_QUIET_MS 5000
#define LINGER_MS       30000
#define CUT_LOOK_MS     50 /* between looks whether a client may be reset */
/* What goes out without waiting for an acknowledgement: ten segments (RFC 6928). */
#define FLIGHT_BYTES (10 * 1448)

/* --- of an upstream --- */

static void let_go(struct session *s, enum discard reason, bool orderly)
{
    exchange_count_request(s);
    if (s->upstream != NULL) {
        upstream_discard(s, reason, orderly);
    }
    session_release_backend(s);
    s->watched = false;
    s->timed = false;
    s->exchange->pinned = false;
    s->exchange->is_early = false;
}

void exchange_let_go(struct session *s, enum discard reason)
{
    let_go(s, reason, reason != DISCARD_STRAY_BYTES);
}

void exchange_give_back(struct session *s, struct framing_bytes key)
{
    upstream_give_back(s, key);
    session_release_backend(s);
    s->watched = false;
    s->timed = false;
}

/* --- of the session --- */

void exchange_leave(struct session *s, bool orderly)
{
    s->exchange->phase = PHASE_LEAVING;
    s->exchange->orderly = orderly;
}

enum step exchange_refuse(struct session *s, const struct framing *verdict)
{
    struct exchange *ex = s->exchange;
    if (verdict->send.n == 0 || ex->answered || s->client.pending != NULL) {
        return exchange_fail(s, ENDING_BAD_MESSAGE);
    }
    if (!relay_deliver(s, &s->client, verdict->send.at, verdict->send.n)) {
        return STEP_OVER;
    }
    exchange_let_go(s, DISCARD_NOT_CLEAN);
    exchange_leave(s, false);
    ex->lingers = true;
    return STEP_ON;
}

enum step exchange_fail(struct session *s, enum ending reason)
{
    session_fail(s, reason);
    return s->dead ? STEP_OVER : STEP_ON;
}

/*
 * One of its client's requests has failed, and answers to earlier ones are still on their way. A
 * reset would take back what the client has not got of them, so it comes to that only when nothing
 * is left to be lost, or the client has taken nothing for a while. Where the failed request has no
 * answer yet, the client is told an orderly end: as far as it goes, everything is whole, and
 * without reuse the backend's end would have come so too. Where an answer was cut it must not pass
 * for a whole one, and some are delimited by nothing but the end: then there is no end but the
 * reset, as soon as the client's kernel has acknowledged all that came before.
 */
bool exchange_see_off(struct session *s, _Atomic uint64_t *counter)
{
    struct exchange *ex = s->exchange;
    if (ex == NULL || ex->counter != NULL || ex->phase == PHASE_OWNED ||
        (s->client.pending == NULL && socket_unsent(s->client.fd) == 0)) {
        return false;
    }
    ex->counter = counter;
    ex->is_cut = ex->answered;
    ex->lingers = !ex->answered;
    session_end_attempt(s);
    let_go(s, DISCARD_SESSION_END, false);
    exchange_leave(s, false);
    relay_uncork(&s->client);
    s->state = SESSION_BACKEND_ENDED;
    s->half_close_timeout_ms = LINGER_QUIET_MS;
    s->active_ms = s->proxy->now_ms;
    session_set_timer(s);
    session_make_ready(s);
    return true;
}

_Atomic uint64_t *exchange_counter(const struct session *s)
{
    return s->exchange == NULL ? NULL : s->exchange->counter;
}

/*
 * Closing with something of the client's unread, or before it has taken what the kernel still has
 * for it and then says something, would reset it: it would lose what it has not read yet (RFC 9112
 * 9.6). Then it is told the end first, and closed when it has ended too.
 */
static bool must_linger(struct session *s)
{
    const struct exchange *ex = s->exchange;
    if (ex->lingers || s->client.ended) {
        return ex->lingers;
    }
    return ex->client.buffer != NULL || s->client.readable ||
           (s->bytes_out > FLIGHT_BYTES && socket_unsent(s->client.fd) > 0);
}

/* The client has said something: it may go on for a while, but not for ever. */
static void note_lingering(struct session *s)
{
    uint64_t left = s->exchange->linger_until_ms - s->proxy->now_ms;
    s->half_close_timeout_ms = left < LINGER_QUIET_MS ? (uint32_t)left : LINGER_QUIET_MS;
    s->active_ms = s->proxy->now_ms;
}

static void begin_to_linger(struct session *s)
{
    struct exchange *ex = s->exchange;
    s->client.shut = true;
    s->client.corked = false;
    shutdown(s->client.fd, SHUT_WR);
    buffer_free(s->proxy, ex->client.buffer);
    ex->client.buffer = NULL;
    ex->lingers = true;
    ex->linger_until_ms = s->proxy->now_ms + LINGER_MS;
    s->state = SESSION_BACKEND_ENDED;
    note_lingering(s);
    session_set_timer(s);
}

enum ending exchange_late(const struct session *s, enum ending late)
{
    const struct exchange *ex = s->exchange;
    /* Of a client that has got all it was to get nothing is missed but its end. */
    bool is_told = ex != NULL && ex->phase == PHASE_LEAVING && ex->orderly && s->client.shut;
    bool is_quiet = is_told && !s->client.readable && s->proxy->now_ms < ex->linger_until_ms;
    return is_quiet ? ENDING_BACKEND_FIN : late;
}

/* So long it may speak, too. */
void exchange_drains(struct session *s)
{
    struct exchange *ex = s->exchange;
    if (ex == NULL || ex->phase != PHASE_LEAVING || !s->client.shut) {
        return;
    }
    if (ex->linger_until_ms < s->proxy->now_ms + LINGER_QUIET_MS) {
        ex->linger_until_ms = s->proxy->now_ms + LINGER_QUIET_MS;
    }
    note_lingering(s);
}

/* Drops what the client says. */
static enum step linger(struct session *s)
{
    struct exchange *ex = s->exchange;
    struct leg *client = &s->client;
    enum ending end = ex->orderly ? ENDING_BACKEND_FIN : ENDING_BAD_MESSAGE;
    for (size_t left = RELAY_BUDGET_BYTES; client->readable && left > 0;) {
        ssize_t n = client->ended ? 0 : recv(client->fd, s->proxy->scratch, RELAY_SCRATCH_BYTES, 0);
        if (n < 0 && errno == EAGAIN) {
            client->readable = false;
            return STEP_WAIT;
        }
        if (n < 0 && ex->orderly) {
            relay_failed(s, client, errno);
            return STEP_OVER;
        }
        if (n > 0 && s->proxy->now_ms >= ex->linger_until_ms && session_is_draining(s)) {
            exchange_drains(s);
        }
        if (n <= 0 || s->proxy->now_ms >= ex->linger_until_ms) {
            session_finish(s, n > 0 ? ENDING_HALF_CLOSE_TIMEOUT : end);
            return STEP_OVER;
        }
        left -= (size_t)n < left ? (size_t)n : left;
        note_lingering(s);
    }
    if (client->readable) {
        session_make_ready(s); /* others first */
    }
    return STEP_WAIT;
}

/* None of what it still says is of use; but it may have to say it before it reads. */
static enum step drop_ahead(struct session *s)
{
    struct leg *client = &s->client;
    for (size_t left = RELAY_BUDGET_BYTES; client->readable && !client->ended && left > 0;) {
        ssize_t n = recv(client->fd, s->proxy->scratch, RELAY_SCRATCH_BYTES, 0);
        if (n <= 0) {
            return relay_read_nothing(s, client, n) ? STEP_WAIT : STEP_OVER;
        }
        left -= (size_t)n < left ? (size_t)n : left;
    }
    if (client->readable && !client->ended) {
        session_make_ready(s); /* others first */
    }
    return STEP_WAIT;
}

/* The client is reset as soon as that takes nothing back from it. */
static enum step await_reset(struct session *s)
{
    struct exchange *ex = s->exchange;
    if (socket_unsent(s->client.fd) == 0) {
        session_finish(s, ENDING_BACKEND_RESET);
        return STEP_OVER;
    }
    if (s->proxy->now_ms >= ex->linger_until_ms) {
        ex->linger_until_ms = s->proxy->now_ms + CUT_LOOK_MS;
        session_set_timer(s);
    }
    return drop_ahead(s);
}

enum step exchange_work_leaving(struct session *s)
{
    if (s->client.pending != NULL) {
        return drop_ahead(s);
    }
    if (s->exchange->is_cut) {
        return await_reset(s);
    }
    if (s->client.shut) {
        return linger(s);
    }
    if (must_linger(s)) {
        begin_to_linger(s);
        s->client.readable |= s->client.ended;
        return linger(s);
    }
    session_finish(s, s->client.ended ? ENDING_CLIENT_FIN : ENDING_BACKEND_FIN);
    return STEP_OVER;
}
