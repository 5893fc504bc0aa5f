/* Owns this worker's upstreams, from one's opening to its end: see the header. In a worker. */
#include "upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buffer.h"
#include "pool/rate.h"
#include "shelf.h"
#include "source.h"

#define OPEN_AGAIN_MS  1000 /* after a connection ahead has failed */
#define PROVEN_IDLE_MS 1000

struct sb_upstream_cell *upstream_cell(const struct proxy *proxy, uint32_t row)
{
    return scoreboard_upstream_cell(proxy->sb, proxy->worker, row);
}

struct sb_upstream_row *upstream_row(const struct proxy *proxy, uint32_t row)
{
    return &proxy->sb->upstream_rows[row];
}

/* Gauges are this worker's own words, like its counters. */
static void gauge(_Atomic uint32_t *word, int by)
{
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + (uint32_t)by,
                          memory_order_release);
}

/* Lent, it counts as one that will be idle again, as long as nothing is known to the contrary. */
static void set_returning(struct upstream *u, bool is_returning)
{
    if (u->is_returning != is_returning) {
        u->is_returning = is_returning;
        u->shelf->n_returning =
            is_returning ? u->shelf->n_returning + 1 : u->shelf->n_returning - 1;
    }
}

void upstream_unpin(struct upstream *u)
{
    if (u->pinned) {
        u->pinned = false;
        set_returning(u, u->state == UPSTREAM_LENT && !u->private);
        gauge(&upstream_cell(u->proxy, u->shelf->row)->pinned, -1);
    }
}

/* --- the end of one --- */

void upstream_unlist(struct upstream *u)
{
    struct shelf *shelf = u->shelf;
    struct sb_upstream_cell *cell = upstream_cell(u->proxy, shelf->row);
    switch (u->state) {
    case UPSTREAM_OPENING:
        TAILQ_REMOVE(&shelf->opening, u, link);
        shelf->n_opening--;
        break;
    case UPSTREAM_IDLE:
        TAILQ_REMOVE(&shelf->idle, u, link);
        shelf->n_idle--;
        gauge(&cell->idle, -1);
        shelf_note_taken(u->proxy, shelf);
        break;
    default:
        shelf->n_lent--;
        gauge(&cell->lent, -1);
        break;
    }
    upstream_unpin(u);
    set_returning(u, false);
}

void upstream_end(struct upstream *u, bool orderly)
{
    struct proxy *proxy = u->proxy;
    bool was_returning = u->is_returning;
    if (u->leg.registered) {
        event_del(&u->leg.event);
    }
    buffer_free(proxy, u->leg.pending);
    if (u->leg.fd >= 0) {
        if (orderly) {
            close(u->leg.fd);
        } else {
            socket_reset(u->leg.fd);
        }
    }
    /* Before it is off the list: others that want its port see the one or the other. */
    source_release(proxy, &u->leg);
    upstream_unlist(u);
    if (was_returning) {
        shelf_note_taken(proxy, u->shelf);
    }
    if (u->has_place) {
        scoreboard_release(proxy->sb, proxy->worker, SB_UPSTREAM, u->shelf->slot);
    }
    free(u->key);
    free(u->tail);
    slab_free(&proxy->upstream_slab, u);
}

void upstream_drop(struct upstream *u, enum discard reason, bool orderly)
{
    scoreboard_add(&upstream_row(u->proxy, u->shelf->row)->discarded[reason], 1);
    upstream_end(u, orderly);
}

static struct upstream *unbind(struct session *s)
{
    struct upstream *u = s->upstream;
    s->upstream = NULL;
    s->backend = &s->plain;
    u->session = NULL;
    return u;
}

void upstream_discard(struct session *s, enum discard reason, bool orderly)
{
    struct upstream *u = unbind(s);
    if (u->pinned && reason == DISCARD_SESSION_END) {
        reason = DISCARD_OWNED;
    }
    if (u->leg.fd < 0 || u->private) {
        upstream_end(u, orderly); /* was never open, or never to be kept */
        return;
    }
    upstream_drop(u, reason, orderly);
}

/* --- events of those that nobody has borrowed --- */

static bool may_greet(const struct upstream *u)
{
    return u->is_ahead && u->shelf->pool != SNAPSHOT_NONE &&
           shelf_pool(u->proxy, u->shelf)->reuse.mode == REUSE_WARM;
}

/* Looks at an idle one: whether it is as quiet as it should be. */
enum quiet { QUIET, QUIET_GREETED, QUIET_STRAY, QUIET_ENDED };

static enum quiet listen_to(const struct upstream *u)
{
    char byte;
    ssize_t n = recv(u->leg.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? QUIET : QUIET_ENDED;
    }
    if (n == 0 || u->leg.closing) {
        return QUIET_ENDED;
    }
    return may_greet(u) ? QUIET_GREETED : QUIET_STRAY;
}

enum discard upstream_unquiet(struct upstream *u)
{
    enum quiet quiet = listen_to(u);
    if (quiet == QUIET) {
        return DISCARD_COUNT;
    }
    if (quiet == QUIET_ENDED) {
        return DISCARD_BACKEND_CLOSED;
    }
    upstream_note_stray(u);
    return DISCARD_STRAY_BYTES;
}

static void discard_unquiet(struct upstream *u, enum quiet quiet)
{
    if (u->is_ahead && !may_greet(u)) {
        upstream_ahead_spoke(u);
    } else if (u->is_ahead) {
        upstream_ahead_ended(u);
    } else if (quiet == QUIET_ENDED) {
        upstream_drop(u, DISCARD_BACKEND_CLOSED, true);
    } else {
        upstream_note_stray(u);
        upstream_drop(u, DISCARD_STRAY_BYTES, false);
    }
}

static void idle_event(struct upstream *u)
{
    enum quiet quiet = listen_to(u);
    if (quiet == QUIET_STRAY || quiet == QUIET_ENDED) {
        discard_unquiet(u, quiet);
    }
}

/* In the place of the oldest where there are enough of them. */
static void put_idle(struct upstream *u)
{
    struct shelf *shelf = u->shelf;
    while (shelf->n_idle > 0 && shelf->n_idle >= shelf_pool(u->proxy, shelf)->reuse.max_idle) {
        upstream_drop(TAILQ_LAST(&shelf->idle, upstream_list), DISCARD_MAX_IDLE, true);
    }
    u->state = UPSTREAM_IDLE;
    u->idle_ms = u->proxy->now_ms;
    TAILQ_INSERT_HEAD(&shelf->idle, u, link);
    shelf->n_idle++;
    gauge(&upstream_cell(u->proxy, shelf->row)->idle, 1);
}

void upstream_opening_failed(struct upstream *u)
{
    struct proxy *proxy = u->proxy;
    u->shelf->open_again_ms = proxy->now_ms + OPEN_AGAIN_MS;
    scoreboard_add(&upstream_row(proxy, u->shelf->row)->open_failures, 1);
    upstream_end(u, true);
}

static void opening_event(struct upstream *u, short what)
{
    if (u->has_spoken) {
        upstream_ahead_spoke(u);
        return;
    }
    if (what & (EV_READ | EV_CLOSED) && socket_error(u->leg.fd) != 0) {
        upstream_opening_failed(u);
        return;
    }
    if (what & EV_WRITE) {
        upstream_unlist(u);
        put_idle(u);
        u->proxy->queues_due |= u->proxy->has_queues; /* somebody may wait for the connect_rate */
        /* Nothing rides on the last step of the handshake for now. */
        socket_acknowledge(u->leg.fd);
        idle_event(u);
    }
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct upstream *u = arg;
    proxy_touch(u->proxy);
    if (u->session != NULL) {
        relay_backend_event(fd, what, u->session);
        return;
    }
    u->leg.closing |= (what & EV_CLOSED) != 0;
    if (u->state == UPSTREAM_OPENING) {
        opening_event(u, what);
    } else {
        idle_event(u);
    }
}

bool upstream_register(struct upstream *u)
{
    event_assign(&u->leg.event, u->proxy->base, u->leg.fd,
                 EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, u);
    u->leg.registered = event_add(&u->leg.event, NULL) == 0;
    return u->leg.registered;
}

/* --- lending --- */

static bool has_key(const struct upstream *u, struct framing_bytes key)
{
    return u->n_key == key.n && (key.n == 0 || memcmp(u->key, key.at, key.n) == 0);
}

static bool set_key(struct upstream *u, struct framing_bytes key)
{
    if (has_key(u, key)) {
        return true;
    }
    free(u->key);
    u->key = NULL;
    u->n_key = 0;
    if (key.n == 0) {
        return true;
    }
    u->key = malloc(key.n);
    if (u->key == NULL) {
        return false;
    }
    memcpy(u->key, key.at, key.n);
    u->n_key = (uint32_t)key.n;
    return true;
}

/* What an idle one would be closed for; DISCARD_COUNT: nothing. */
enum discard upstream_fault(const struct upstream *u)
{
    const struct proxy *proxy = u->proxy;
    const struct snapshot_reuse *reuse = &shelf_pool(proxy, u->shelf)->reuse;
    if (u->settings != reuse->settings) {
        return DISCARD_CHANGED;
    }
    if (reuse->max_uses != 0 && u->uses >= reuse->max_uses) {
        return DISCARD_MAX_USES;
    }
    return proxy->now_ms >= u->expires_ms ? DISCARD_MAX_AGE : DISCARD_COUNT;
}

/* Whether its backend is not about to close it, as far as one can know: it has served again after
 * it had lain idle, or others of its kind have, or have lain idle for longer, and it was in use a
 * moment ago. Or it is fresh. */
static bool is_proven(const struct upstream *u)
{
    bool is_recent = u->proxy->now_ms - u->idle_ms < PROVEN_IDLE_MS;
    return u->uses > 1 || u->is_ahead || (shelf_is_proven(u->shelf) && is_recent);
}

static bool is_wanted(const struct upstream *u, const struct upstream_wish *wish,
                      struct framing_bytes key)
{
    return has_key(u, key) && (!wish->proven || is_proven(u));
}

/* The newest idle one with that key that is still good; NULL: none. */
static struct upstream *take_idle(struct shelf *shelf, const struct upstream_wish *wish,
                                  struct framing_bytes key)
{
    struct upstream *u, *next;
    TAILQ_FOREACH_SAFE (u, &shelf->idle, link, next) {
        if (!is_wanted(u, wish, key)) {
            continue;
        }
        enum discard fault = upstream_fault(u);
        if (fault != DISCARD_COUNT) {
            upstream_drop(u, fault, true);
            continue;
        }
        enum quiet quiet = listen_to(u);
        if (quiet == QUIET_STRAY || quiet == QUIET_ENDED) {
            scoreboard_add(&upstream_row(u->proxy, shelf->row)->stale, 1);
            discard_unquiet(u, quiet);
            continue;
        }
        u->leg.readable = quiet == QUIET_GREETED;
        return u;
    }
    return NULL;
}

/* Ages differ by up to a fifth, so that what was opened together does not end together. */
static void set_age(struct upstream *u, const struct snapshot_reuse *reuse)
{
    u->settings = reuse->settings;
    if (reuse->max_age_ms != 0) {
        uint32_t spread = reuse->max_age_ms / 5;
        uint32_t less = spread == 0 ? 0 : arc4random_uniform(spread);
        u->expires_ms = u->opened_ms + reuse->max_age_ms - less;
    }
}

struct upstream *upstream_new(struct proxy *proxy, struct shelf *shelf)
{
    struct upstream *u = slab_alloc(&proxy->upstream_slab);
    if (u == NULL) {
        return NULL;
    }
    memset(u, 0, sizeof(*u));
    u->proxy = proxy;
    u->shelf = shelf;
    u->leg.fd = -1;
    u->opened_ms = proxy->now_ms;
    u->expires_ms = UINT64_MAX;
    set_age(u, &shelf_pool(proxy, shelf)->reuse);
    return u;
}

static void lend_to(struct session *s, struct upstream *u)
{
    struct sb_upstream_cell *cell = upstream_cell(u->proxy, u->shelf->row);
    if (u->leg.fd >= 0) {
        upstream_unlist(u);
        s->reuse = u->is_ahead ? SESSION_WARM : SESSION_KEPT;
        if (u->is_ahead) {
            scoreboard_add(&upstream_row(u->proxy, u->shelf->row)->warm, 1);
        } else {
            scoreboard_bump(&cell->reused, 1);
        }
    }
    u->is_ahead = false;
    u->private |= shelf_pool(u->proxy, u->shelf)->reuse.mode == REUSE_WARM;
    u->state = UPSTREAM_LENT;
    u->shelf->n_lent++;
    gauge(&cell->lent, 1);
    set_returning(u, !u->private);
    u->session = s;
    s->upstream = u;
    s->backend = &u->leg;
}

enum lending upstream_lend(struct session *s, uint32_t pool, uint32_t index, bool is_private,
                           const struct upstream_wish *wish)
{
    struct proxy *proxy = s->proxy;
    struct shelf *shelf = shelf_get(proxy, s->slot, s->row);
    if (shelf == NULL) {
        return LENDING_NO_MEMORY;
    }
    shelf->pool = pool;
    shelf->index = index;
    bool may_lend = !is_private && !wish->fresh && !shelf_is_unheard(proxy, shelf);
    if (may_lend && shelf_may_keep(proxy, shelf)) {
        struct upstream *u = take_idle(shelf, wish, wish->next_key);
        u = u == NULL ? take_idle(shelf, wish, wish->key) : u;
        if (u != NULL) {
            lend_to(s, u);
            return LENDING_DONE;
        }
    }
    const struct snapshot_backend *backend = shelf_backend(proxy, shelf);
    if (!rate_take(&proxy->sb->slot_rate[s->slot], &backend->connect_rate,
                   proxy->woken_us * 1000)) {
        return LENDING_TOO_FAST;
    }
    struct upstream *u = upstream_new(proxy, shelf);
    if (u == NULL) {
        return LENDING_NO_MEMORY;
    }
    u->private = is_private;
    if (!upstream_make_room(u, backend->max_connections)) {
        slab_free(&proxy->upstream_slab, u);
        room_give_rate_back(proxy, backend);
        return LENDING_NO_ROOM;
    }
    lend_to(s, u);
    return LENDING_FRESH;
}

void upstream_give_back(struct session *s, struct framing_bytes key)
{
    struct upstream *u = s->upstream;
    struct proxy *proxy = u->proxy;
    struct shelf *shelf = u->shelf;
    struct leg *leg = &u->leg;
    u->uses++;
    shelf->has_proven |= u->uses > 1;
    enum discard fault =
        !shelf_may_keep(proxy, shelf) ? shelf_fault(proxy, shelf) : upstream_fault(u);
    if (fault == DISCARD_COUNT) {
        fault = shelf_doubt(proxy, shelf, exchange_is_retriable(s));
    }
    bool is_quiet = leg->pending == NULL && !leg->ended && !leg->closing;
    if (u->private || u->pinned || fault != DISCARD_COUNT || !is_quiet || !set_key(u, key) ||
        !(leg->registered || upstream_register(u))) {
        fault = fault != DISCARD_COUNT ? fault : u->pinned ? DISCARD_OWNED : DISCARD_BACKEND_CLOSED;
        upstream_discard(s, fault, true);
        return;
    }
    unbind(s);
    free(u->tail);
    u->tail = NULL;
    u->n_tail = 0;
    upstream_settle(u);
    upstream_unlist(u);
    put_idle(u);
    shelf_note_idle(proxy);
    /* What has come meanwhile was told to the session's leg. An error may have been hidden in its
     * last event, and no further one would come; but that is found when it is to be lent. */
    bool is_told = leg->readable && !leg->suspect;
    leg->suspect = false;
    if (is_told) {
        idle_event(u);
    }
}

void upstream_pin(struct session *s, const char *why)
{
    struct upstream *u = s->upstream;
    if (u->pinned) {
        return;
    }
    u->pinned = true;
    set_returning(u, false);
    shelf_note_taken(u->proxy, u->shelf);
    gauge(&upstream_cell(u->proxy, u->shelf->row)->pinned, 1);
    if (why == NULL) {
        return; /* reuse is off for this backend: no news of its clients */
    }
    scoreboard_add(&upstream_row(u->proxy, u->shelf->row)->pins, 1);
    uint32_t row =
        atomic_load_explicit(&u->proxy->sb->slots[u->shelf->slot].pool, memory_order_relaxed);
    if (row >= POOLS_MAX || s->was_pinned) {
        return;
    }
    s->was_pinned = true;
    struct sb_pool *pool = &u->proxy->sb->pools[row];
    atomic_fetch_add_explicit(&pool->pinned_sessions, 1, memory_order_relaxed);
    for (size_t i = 0; i < SB_PIN_COMMAND_MAX - 1; i++) {
        __atomic_store_n(&pool->pin_command[i], why[i], __ATOMIC_RELAXED);
        if (why[i] == '\0') {
            break;
        }
    }
}
