/*
 * Shelves of upstreams: which there are, opening ahead, and the end of what lies there too long or
 * may not stay. In a worker.
 */
#include "shelf.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "pool/rate.h"
#include "source.h"

#define UPSTREAM_ARENA_BYTES (64 * 1024)
#define LOOK_EVERY_MS        100  /* at ages and idle times */
#define OPEN_AGAIN_MS        1000 /* after there was no room or memory for one more */
#define OPENINGS_A_TURN      32
#define KEPT_MS              200 /* idle for so long, and the backend keeps idle ones */
#define UNPROVEN_IDLE_MAX    4   /* enough to find that out by */

void upstreams_init(struct proxy *proxy)
{
    LIST_INIT(&proxy->shelves);
    SLIST_INIT(&proxy->short_shelves);
    proxy->upstreams_due_ms = UINT64_MAX;
    slab_init(&proxy->upstream_slab, sizeof(struct upstream), UPSTREAM_ARENA_BYTES);
}

/* --- shelves --- */

void shelf_note_taken(struct proxy *proxy, struct shelf *shelf)
{
    if (!shelf->is_short && shelf->pool != SNAPSHOT_NONE &&
        shelf_pool(proxy, shelf)->reuse.warm_min > 0) {
        shelf->is_short = true;
        SLIST_INSERT_HEAD(&proxy->short_shelves, shelf, short_link);
    }
}

void shelf_note_idle(struct proxy *proxy)
{
    if (proxy->upstreams_due_ms == UINT64_MAX) {
        proxy->upstreams_due_ms = proxy->now_ms + LOOK_EVERY_MS;
    }
}

struct shelf *shelf_get(struct proxy *proxy, uint32_t slot, uint32_t row)
{
    if (proxy->shelf_of_slot == NULL) {
        proxy->shelf_of_slot = calloc(SB_SLOTS_MAX, sizeof(struct shelf *));
        if (proxy->shelf_of_slot == NULL) {
            return NULL;
        }
        atomic_store_explicit(&proxy->sb->header->upstreams_used, 1, memory_order_release);
    }
    struct shelf *shelf = proxy->shelf_of_slot[slot];
    if (shelf != NULL) {
        return shelf;
    }
    shelf = calloc(1, sizeof(*shelf));
    if (shelf == NULL) {
        return NULL;
    }
    shelf->slot = slot;
    shelf->row = row;
    shelf->pool = SNAPSHOT_NONE;
    TAILQ_INIT(&shelf->idle);
    TAILQ_INIT(&shelf->opening);
    LIST_INSERT_HEAD(&proxy->shelves, shelf, link);
    proxy->shelf_of_slot[slot] = shelf;
    return shelf;
}

static void shelf_free(struct proxy *proxy, struct shelf *shelf)
{
    if (shelf->is_short) {
        SLIST_REMOVE(&proxy->short_shelves, shelf, shelf, short_link);
    }
    LIST_REMOVE(shelf, link);
    proxy->shelf_of_slot[shelf->slot] = NULL;
    free(shelf);
}

static bool is_switched_off(const struct proxy *proxy, const struct shelf *shelf)
{
    return atomic_load_explicit(&proxy->sb->slots[shelf->slot].reuse_trouble,
                                memory_order_relaxed) != REUSE_FINE;
}

bool upstream_is_switched_off(const struct upstream *u)
{
    return is_switched_off(u->proxy, u->shelf);
}

bool shelf_may_keep(const struct proxy *proxy, const struct shelf *shelf)
{
    return shelf->pool != SNAPSHOT_NONE &&
           chooser_is_up(proxy->chooser, shelf->pool, shelf->index, proxy->now_ms) &&
           !is_switched_off(proxy, shelf);
}

enum discard shelf_fault(const struct proxy *proxy, const struct shelf *shelf)
{
    if (shelf->pool == SNAPSHOT_NONE) {
        return DISCARD_CHANGED;
    }
    return is_switched_off(proxy, shelf) ? DISCARD_SWITCHED_OFF : DISCARD_NOT_UP;
}

/* --- what its pool says --- */

const struct snapshot_reuse *upstream_reuse(const struct upstream *u)
{
    return u->shelf->pool == SNAPSHOT_NONE ? NULL : &shelf_pool(u->proxy, u->shelf)->reuse;
}

void upstream_settle(struct upstream *u)
{
    if (!u->settled && u->shelf->pool != SNAPSHOT_NONE) {
        const struct snapshot_pool *pool = shelf_pool(u->proxy, u->shelf);
        bool is_unix = shelf_backend(u->proxy, u->shelf)->address.ip.family == ADDR_UNIX;
        u->settled = true;
        socket_settle(u->leg.fd, is_unix ? 0 : pool->keepalive_ms,
                      is_unix ? 0 : pool->user_timeout_ms);
    }
}

/* --- opening ahead --- */

static bool start_opening(struct upstream *u, const struct snapshot_backend *backend)
{
    bool is_open = false;
    int error = source_connect(u->proxy, &u->leg, backend, &is_open);
    if (!is_open ||
        (error != 0 && (error != EINPROGRESS || socket_met_itself(u->leg.fd, &backend->address)))) {
        return false;
    }
    return upstream_register(u);
}

static void open_ahead(struct proxy *proxy, struct shelf *shelf)
{
    const struct snapshot_backend *backend = shelf_backend(proxy, shelf);
    struct upstream *u = upstream_new(proxy, shelf);
    if (u == NULL) {
        shelf->open_again_ms = proxy->now_ms + OPEN_AGAIN_MS;
        return;
    }
    u->is_ahead = true;
    u->state = UPSTREAM_OPENING;
    TAILQ_INSERT_TAIL(&shelf->opening, u, link);
    shelf->n_opening++;
    if (!upstream_take_place(u, backend->max_connections)) {
        shelf->open_again_ms = proxy->now_ms + OPEN_AGAIN_MS; /* full: no failure */
        upstream_end(u, true);
        return;
    }
    if (!start_opening(u, backend)) {
        upstream_opening_failed(u);
    }
}

/* Those that come back are not opened anew meanwhile, or so many would have to be closed then. */
static bool is_short_of(const struct shelf *shelf, const struct snapshot_reuse *reuse)
{
    uint32_t n = shelf->n_idle + shelf->n_opening;
    return n < reuse->warm_min && n + shelf->n_returning < reuse->max_idle;
}

/* Sessions that wait for a place, or for the connect_rate, go first. */
static bool is_waited_for(const struct proxy *proxy, const struct snapshot_pool *pool)
{
    return pool->queue != 0 &&
           atomic_load_explicit(&proxy->sb->pools[pool->row].queued, memory_order_relaxed) != 0;
}

/* At most warm_min are being opened at a time, so it goes no faster than the backend takes them. */
static void refill(struct proxy *proxy, struct shelf *shelf, uint32_t *left)
{
    const struct snapshot_pool *pool = shelf_pool(proxy, shelf);
    const struct snapshot_backend *backend = shelf_backend(proxy, shelf);
    if (pool->reuse.mode == REUSE_OFF || proxy->draining || is_waited_for(proxy, pool) ||
        !shelf_may_keep(proxy, shelf)) {
        return;
    }
    while (is_short_of(shelf, &pool->reuse) && *left > 0 && proxy->now_ms >= shelf->open_again_ms) {
        if (source_is_scarce(proxy, backend) ||
            !rate_take(&proxy->sb->slot_rate[shelf->slot], &backend->connect_rate,
                       proxy->woken_us * 1000)) {
            return;
        }
        (*left)--;
        open_ahead(proxy, shelf);
    }
}

/* --- the worker's turn --- */

static void end_old(struct proxy *proxy, struct shelf *shelf)
{
    const struct snapshot_pool *pool = shelf_pool(proxy, shelf);
    struct upstream *u, *next;
    TAILQ_FOREACH_REVERSE_SAFE(u, &shelf->idle, upstream_list, link, next)
    {
        enum discard fault = upstream_fault(u);
        if (fault == DISCARD_COUNT && pool->reuse.idle_max_ms != 0 &&
            proxy->now_ms - u->idle_ms >= pool->reuse.idle_max_ms) {
            fault = DISCARD_IDLE_MAX;
        }
        if (fault == DISCARD_COUNT && shelf->n_idle > pool->reuse.max_idle) {
            fault = DISCARD_MAX_IDLE; /* which was larger once */
        }
        if (fault != DISCARD_COUNT) {
            upstream_drop(u, fault, true);
        }
    }
    TAILQ_FOREACH_SAFE (u, &shelf->opening, link, next) {
        if (u->has_spoken) {
            upstream_listen_on(u);
        } else if (proxy->now_ms - u->opened_ms >= pool->connect_timeout_ms) {
            upstream_opening_failed(u);
        }
    }
}

/* Ends everything that lies on it. */
static void clear(struct shelf *shelf, enum discard reason)
{
    struct upstream *u;
    while ((u = TAILQ_FIRST(&shelf->idle)) != NULL) {
        upstream_drop(u, reason, true);
    }
    while ((u = TAILQ_FIRST(&shelf->opening)) != NULL) {
        upstream_end(u, true);
    }
}

void upstreams_look(struct proxy *proxy)
{
    struct shelf *shelf;
    LIST_FOREACH (shelf, &proxy->shelves, link) {
        if (!shelf_may_keep(proxy, shelf)) {
            clear(shelf, shelf_fault(proxy, shelf));
        }
    }
    proxy->upstreams_due_ms = LIST_EMPTY(&proxy->shelves) ? UINT64_MAX : 0;
}

void upstreams_asked(struct proxy *proxy)
{
    struct shelf *shelf;
    LIST_FOREACH (shelf, &proxy->shelves, link) {
        shelf_let_go(proxy, shelf);
    }
}

void upstreams_apply(struct proxy *proxy)
{
    struct shelf *shelf, *next;
    const struct snapshot_pool *pools = snapshot_pools(proxy->snapshot);
    LIST_FOREACH (shelf, &proxy->shelves, link) {
        shelf->pool = SNAPSHOT_NONE;
    }
    for (uint32_t p = 0; p < proxy->snapshot->n_pools; p++) {
        const struct snapshot_backend *backends =
            snapshot_backends(proxy->snapshot) + pools[p].first_backend;
        for (uint32_t i = 0; pools[p].reuse.mode != REUSE_OFF && i < pools[p].n_backends; i++) {
            shelf = shelf_get(proxy, backends[i].slot, backends[i].row);
            if (shelf != NULL) {
                shelf->pool = p;
                shelf->index = i;
                shelf->row = backends[i].row;
            }
        }
    }
    upstreams_look(proxy);
    LIST_FOREACH_SAFE (shelf, &proxy->shelves, link, next) {
        if (shelf->pool == SNAPSHOT_NONE && shelf->n_lent == 0) {
            shelf_free(proxy, shelf);
        }
    }
}

/*
 * Before the first upstream is given to a second client, one is opened and left alone for a while:
 * a backend that greets does so then. Only for framings that take any bytes for an answer.
 */
bool shelf_is_unheard(const struct proxy *proxy, const struct shelf *shelf)
{
    const struct snapshot_reuse *reuse = &shelf_pool(proxy, shelf)->reuse;
    bool is_open = reuse->framing == FRAMING_LINE || reuse->framing == FRAMING_LENGTH;
    return is_open && reuse->mode != REUSE_OFF &&
           atomic_load_explicit(&proxy->sb->slots[shelf->slot].heard, memory_order_relaxed) == 0;
}

static void listen_for_greeting(struct proxy *proxy, struct shelf *shelf)
{
    if (!shelf_is_unheard(proxy, shelf) || proxy->draining || !shelf_may_keep(proxy, shelf)) {
        return;
    }
    const struct upstream *u = TAILQ_LAST(&shelf->idle, upstream_list);
    if (u != NULL && u->is_ahead && proxy->now_ms - u->idle_ms >= shelf_listen_ms(proxy, shelf)) {
        atomic_store_explicit(&proxy->sb->slots[shelf->slot].heard, 1, memory_order_relaxed);
    } else if (u == NULL && shelf->n_opening == 0 && proxy->now_ms >= shelf->open_again_ms) {
        open_ahead(proxy, shelf);
    }
}

/* Those that served first are the last ones of the list. */
static void look_for_proof(struct proxy *proxy, struct shelf *shelf)
{
    const struct upstream *u;
    TAILQ_FOREACH_REVERSE(u, &shelf->idle, upstream_list, link)
    {
        if (shelf_is_proven(shelf) || proxy->now_ms - u->idle_ms < KEPT_MS) {
            return;
        }
        shelf->keeps = u->uses > 0;
    }
}

/*
 * Under policy "safe" a first request that could not be sent again is only given to what is proven,
 * so where all clients send such a one, none ever serves twice. Then idle ones have to prove
 * something by themselves, and more of them than that takes would only fill the backend up. Other
 * requests, where there are any, take all of them.
 */
enum discard shelf_doubt(const struct proxy *proxy, const struct shelf *shelf, bool is_retriable)
{
    const struct snapshot_reuse *reuse = &shelf_pool(proxy, shelf)->reuse;
    const struct upstream *u;
    uint32_t n = 0;
    if (shelf_is_unheard(proxy, shelf)) {
        return DISCARD_UNHEARD;
    }
    if (reuse->mode != REUSE_REQUEST || reuse->policy != REUSE_SAFE || is_retriable ||
        shelf_is_proven(shelf)) {
        return DISCARD_COUNT;
    }
    TAILQ_FOREACH (u, &shelf->idle, link) {
        n += u->uses > 0;
    }
    return n < UNPROVEN_IDLE_MAX ? DISCARD_COUNT : DISCARD_UNPROVEN;
}

/* All shelves, now and then. Returns whether there is anything to look at again. */
static bool look_at_all(struct proxy *proxy, uint32_t *left)
{
    bool any = false;
    struct shelf *shelf;
    LIST_FOREACH (shelf, &proxy->shelves, link) {
        if (shelf->pool == SNAPSHOT_NONE) {
            continue;
        }
        end_old(proxy, shelf);
        if (!shelf_may_keep(proxy, shelf)) {
            clear(shelf, shelf_fault(proxy, shelf));
        }
        look_for_proof(proxy, shelf);
        listen_for_greeting(proxy, shelf);
        refill(proxy, shelf, left);
        any |= shelf->n_idle + shelf->n_opening > 0 ||
               shelf_pool(proxy, shelf)->reuse.warm_min > 0 || shelf_is_unheard(proxy, shelf);
    }
    return any;
}

void upstreams_work(struct proxy *proxy)
{
    uint32_t left = OPENINGS_A_TURN;
    struct shelf *shelf;
    while ((shelf = SLIST_FIRST(&proxy->short_shelves)) != NULL) {
        SLIST_REMOVE_HEAD(&proxy->short_shelves, short_link);
        shelf->is_short = false;
        if (shelf->pool != SNAPSHOT_NONE) {
            refill(proxy, shelf, &left);
        }
    }
    if (proxy->now_ms >= proxy->upstreams_due_ms) {
        bool any = look_at_all(proxy, &left);
        proxy->upstreams_due_ms = any ? proxy->now_ms + LOOK_EVERY_MS : UINT64_MAX;
    }
    if (left == 0) {
        proxy->upstreams_due_ms = proxy->now_ms + 1;
    }
}

uint64_t upstreams_due_ms(const struct proxy *proxy)
{
    return proxy->upstreams_due_ms;
}

void upstreams_fini(struct proxy *proxy)
{
    struct shelf *shelf;
    while ((shelf = LIST_FIRST(&proxy->shelves)) != NULL) {
        clear(shelf, DISCARD_SESSION_END);
        shelf_free(proxy, shelf);
    }
    free(proxy->shelf_of_slot);
    slab_fini(&proxy->upstream_slab);
}
