/*
 * Sessions whose pool has a framing: request by request. Beside the relay, whose pump they do not
 * use until they come to own their upstream. Owns what a session holds between reading and passing
 * on. In a worker.
 *
 *                  a request's first bytes              a backend is bound
 *     BETWEEN ─────────────────────────────► STARTING ────────────────────► ASKING
 *        ▲                                       ▲  (PREPARING: the client's     │
 *        │                                       │   handshake first)            │
 *        │             the upstream was stale ───┘◄──────────────────────────────┤
 *        └───────────────────────────────────────────────────────────────────────┘ answered
 *
 * from everywhere to OWNED (bytes flow unread from then on) and to LEAVING (the last word to the
 * client is on its way). One request at a time: what the client sends behind it stays in the
 * kernel, or held, until its answer is complete.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "buffer.h"
#include "exchange.h"
#include "throttle.h"

#define STEPS_A_TURN 32 /* of at most one read each */

size_t exchange_bytes(void)
{
    return sizeof(struct exchange);
}

static struct framer_options options_of(const struct snapshot_reuse *reuse)
{
    return (struct framer_options){
        .length_bytes = reuse->length_bytes,
        .length_little_endian = reuse->length_little_endian != 0,
        .length_includes_header = reuse->length_includes_header != 0,
        .handshake_key = reuse->handshake_key != 0,
        .scripts = reuse->scripts != 0,
    };
}

bool exchange_begin(struct session *s)
{
    struct proxy *proxy = s->proxy;
    const struct snapshot_pool *pool = &snapshot_pools(
        proxy->snapshot)[snapshot_services(proxy->snapshot)[proxy->service_of_row[s->service_row]]
                             .pool];
    struct exchange *ex = slab_alloc(&proxy->exchange_slab);
    if (ex == NULL) {
        return false;
    }
    memset(ex, 0, sizeof(*ex));
    ex->framer = framer_table[pool->reuse.framing];
    ex->framing = pool->reuse.framing;
    ex->mode = pool->reuse.mode;
    ex->options = options_of(&pool->reuse);
    ex->framer->init(ex->state, &ex->options);
    s->exchange = ex;
    s->state = SESSION_BETWEEN;
    ex->pool_row = pool->row;
    session_set_timer(s);
    return true;
}

void exchange_free(struct session *s)
{
    struct exchange *ex = s->exchange;
    if (ex == NULL) {
        return;
    }
    exchange_count_request(s);
    s->exchange = NULL;
    if (ex->framer->fini != NULL) {
        ex->framer->fini(ex->state);
    }
    buffer_free(s->proxy, ex->client.buffer);
    buffer_free(s->proxy, ex->backend.buffer);
    buffer_free(s->proxy, ex->request);
    slab_free(&s->proxy->exchange_slab, ex);
}

bool exchange_asks(const struct session *s)
{
    return s->exchange != NULL;
}

bool exchange_is_retriable(const struct session *s)
{
    return s->exchange != NULL && s->exchange->retriable;
}

bool exchange_is_idle(const struct session *s)
{
    const struct exchange *ex = s->exchange;
    return ex != NULL && ex->phase == PHASE_BETWEEN && ex->was_served && !ex->pinned &&
           ex->client.buffer == NULL && !s->client.readable;
}

struct upstream_wish exchange_wish(const struct session *s)
{
    const struct exchange *ex = s->exchange;
    const struct snapshot_reuse *reuse =
        &snapshot_pools(s->proxy->snapshot)[s->attempt->chosen.pool].reuse;
    return (struct upstream_wish){
        .key = ex->key,
        .next_key = ex->next_key,
        /* A first request that could not be sent again is not risked on an upstream that may be
         * about to close: its client would not know to try again either. */
        .proven = reuse->mode == REUSE_REQUEST && reuse->policy == REUSE_SAFE && !ex->was_served &&
                  !ex->retriable,
        .fresh = ex->fresh_only,
    };
}

bool exchange_may_share(const struct session *s, const struct snapshot_reuse *reuse)
{
    const struct exchange *ex = s->exchange;
    if (ex == NULL) {
        return reuse->framing == FRAMING_NONE;
    }
    struct framer_options options = options_of(reuse);
    return reuse->mode == ex->mode && reuse->framing == ex->framing &&
           memcmp(&options, &ex->options, sizeof(options)) == 0;
}

void exchange_count_request(struct session *s)
{
    if (s->exchange->uncounted) {
        s->exchange->uncounted = false;
        s->exchange->requests++;
        s->exchange->last_slot = s->slot;
        scoreboard_bump(&upstream_cell(s->proxy, s->row)->requests, 1);
    }
}

/* --- holding bytes --- */

enum step exchange_gather(struct session *s, struct leg *leg, struct held *held, size_t *out_n)
{
    struct proxy *proxy = s->proxy;
    size_t n = 0;
    if (held->buffer != NULL) {
        n = held->buffer->end - held->buffer->at;
        if (held->tried && (!leg->readable || leg->ended)) {
            return STEP_WAIT;
        }
        memcpy(proxy->scratch, held->buffer->bytes + held->buffer->at, n);
    }
    *out_n = n;
    if (held->more && !held->tried) {
        held->more = false; /* what there is, if anything, is enough */
    } else if (n == 0 || held->tried) {
        if (!leg->readable || leg->ended) {
            return STEP_WAIT;
        }
        size_t room = throttle_room(proxy, n);
        ssize_t got = recv(leg->fd, proxy->scratch + n, room, 0);
        if (got < 0 && errno == EAGAIN) {
            leg->readable = false;
            leg->suspect = false;
            return STEP_WAIT;
        }
        if (got < 0) {
            relay_failed(s, leg, errno);
            return s->dead ? STEP_OVER : STEP_LOST;
        }
        if ((size_t)got < room && got > 0 && !leg->closing) {
            relay_note_emptied(leg);
        }
        leg->ended = got == 0;
        *out_n += (size_t)got;
    }
    buffer_free(proxy, held->buffer);
    held->buffer = NULL;
    return STEP_ON;
}

enum step exchange_put_back(struct session *s, struct held *held, size_t at, size_t n, bool tried)
{
    held->tried = tried;
    if (at == n) {
        return STEP_ON;
    }
    held->buffer = buffer_hold(s->proxy, s->proxy->scratch + at, n - at);
    if (held->buffer == NULL) {
        session_finish(s, ENDING_ERROR);
        return STEP_OVER;
    }
    return STEP_ON;
}

/* --- all of it --- */

/* The next request of a session that keeps its upstream. What has come on it meanwhile would pass
 * for the answer, and may be another session's. */
static enum step send_on_kept(struct session *s)
{
    struct exchange *ex = s->exchange;
    bool is_looked_at = !ex->pinned && s->upstream->uses > 0;
    enum discard fault = is_looked_at ? upstream_unquiet(s->upstream) : DISCARD_COUNT;
    if (fault != DISCARD_COUNT) {
        exchange_let_go(s, fault);
        ex->again = true;
        return STEP_ON;
    }
    ex->uncounted = true;
    return exchange_send_request(s);
}

/* Of a handshake that is repeated for the client it gets nothing. */
static bool may_read_backend(struct session *s)
{
    return s->exchange->phase == PHASE_PREPARING ||
           (s->client.pending == NULL && !throttle_holds_back(s, &s->client));
}

static enum step work_once(struct session *s)
{
    struct exchange *ex = s->exchange;
    exchange_look_before_flush(s);
    if (!relay_flush(s, &s->client) ||
        (s->backend->fd >= 0 && !ex->is_deaf && !relay_flush(s, s->backend))) {
        return s->dead ? STEP_OVER : STEP_ON;
    }
    switch (ex->phase) {
    case PHASE_STARTING:
        if (ex->again) {
            return exchange_look_for_backend(s);
        }
        return send_on_kept(s);
    case PHASE_OWNED:
        return exchange_work_owned(s);
    case PHASE_LEAVING:
        return exchange_work_leaving(s);
    default:
        break;
    }
    enum step step = STEP_WAIT;
    if (s->upstream != NULL && may_read_backend(s)) {
        step = exchange_read_backend(s);
    }
    if (step == STEP_WAIT && exchange_wants_client(s)) {
        step = exchange_read_client(s);
    }
    if (step == STEP_WAIT && (s->client.closing || s->client.ended)) {
        step = exchange_look_at_client(s);
    }
    return step == STEP_WAIT ? exchange_unblock_client(s) : step;
}

void exchange_work(struct session *s)
{
    struct exchange *ex = s->exchange;
    if (s->attempt != NULL) {
        return;
    }
    enum step step = STEP_ON;
    ex->working = true;
    for (int left = STEPS_A_TURN; step == STEP_ON && left > 0; left--) {
        step = work_once(s);
    }
    if (step == STEP_OVER) {
        return;
    }
    ex->working = false;
    if (step == STEP_ON) {
        session_make_ready(s);
        return;
    }
    if (s->attempt != NULL || !relay_still_sound(s, &s->client) ||
        !relay_still_sound(s, s->backend)) {
        return;
    }
    /* While a request is under way nothing is wanted of the client; but who may have to wait long
     * for its answer may leave. */
    bool needs_client = ex->phase != PHASE_ASKING || !ex->asked || ex->waits ||
                        s->client.pending != NULL || s->client.starved;
    if (needs_client && !s->client.registered && !relay_register(s, &s->client)) {
        return;
    }
    if (s->upstream != NULL && !s->backend->registered) {
        (void)relay_register(s, s->backend);
    }
}
