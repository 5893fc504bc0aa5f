/*
 * Room for one more connection to a backend where idle ones are in its way, under max_connections
 * or for want of a port: this worker's own end at once, others are asked to let one go. In a
 * worker.
 */
#include <unistd.h>

#include "pool/ports.h"
#include "pool/rate.h"
#include "shelf.h"
#include "source.h"

/* What sb_slot.wanted asks for. Who needs a port needs it now: only what ends by a reset leaves
 * none in TIME_WAIT. */
enum wanted { WANTED_NOTHING, WANTED_PLACE, WANTED_PORT };

static void ask_others(const struct proxy *proxy, uint32_t slot, enum wanted wanted)
{
    atomic_store_explicit(&proxy->sb->slots[slot].wanted, wanted, memory_order_release);
    for (uint32_t w = 0; proxy->wakes != NULL && w < proxy->sb->header->n_workers; w++) {
        if (w != proxy->worker) {
            (void)!write(proxy->wakes[w], &(uint64_t){1}, sizeof(uint64_t));
        }
    }
}

void shelf_let_go(struct proxy *proxy, struct shelf *shelf)
{
    _Atomic uint32_t *wanted = &proxy->sb->slots[shelf->slot].wanted;
    struct upstream *oldest = TAILQ_LAST(&shelf->idle, upstream_list);
    if (oldest == NULL || atomic_load_explicit(wanted, memory_order_acquire) == WANTED_NOTHING) {
        return;
    }
    uint32_t was = atomic_exchange_explicit(wanted, WANTED_NOTHING, memory_order_acq_rel);
    if (was != WANTED_NOTHING) {
        upstream_drop(oldest, DISCARD_EVICTED, was == WANTED_PLACE);
    }
}

bool upstream_take_place(struct upstream *u, uint32_t limit)
{
    struct proxy *proxy = u->proxy;
    u->has_place = limit != 0 &&
                   scoreboard_reserve(proxy->sb, proxy->worker, SB_UPSTREAM, u->shelf->slot, limit);
    return limit == 0 || u->has_place;
}

bool upstream_make_room(struct upstream *u, uint32_t limit)
{
    struct shelf *shelf = u->shelf;
    while (!upstream_take_place(u, limit)) {
        /* Of no use to the session, or it would have been lent. */
        struct upstream *oldest = TAILQ_LAST(&shelf->idle, upstream_list);
        if (oldest == NULL) {
            ask_others(u->proxy, shelf->slot, WANTED_PLACE);
            return false;
        }
        upstream_drop(oldest, DISCARD_EVICTED, true);
    }
    return true;
}

void room_give_rate_back(struct proxy *proxy, const struct snapshot_backend *backend)
{
    if (backend->connect_rate.interval_ns != 0) {
        rate_give_back(&proxy->sb->slot_rate[backend->slot], &backend->connect_rate);
    }
}

/* --- ports --- */

/* Whether the two, of whatever pools, are connected to over the same pairs. Lists of sources that
 * only overlap do not count: most of what is closed there would be of no use. */
static bool shares_ports(const struct proxy *proxy, const struct snapshot_backend *a,
                         const struct snapshot_backend *b)
{
    const struct snapshot_source *sources = snapshot_sources(proxy->snapshot);
    if (a->n_sources == 0 || a->n_sources != b->n_sources) {
        return false;
    }
    uint32_t last = a->n_sources - 1;
    return sources[a->first_source].pair == sources[b->first_source].pair &&
           sources[a->first_source + last].pair == sources[b->first_source + last].pair;
}

static struct upstream *find_with_port(const struct proxy *proxy, const struct shelf *shelf)
{
    struct upstream *u;
    TAILQ_FOREACH_REVERSE(u, &shelf->idle, upstream_list, link)
    {
        if (u->leg.pair != 0 && !ports_is_shut(proxy->sb, u->leg.pair, proxy->now_ms)) {
            return u;
        }
    }
    return NULL;
}

/* Of the backend itself rather than of one in another pool. */
static struct upstream *find_own(const struct proxy *proxy, const struct snapshot_backend *backend)
{
    struct upstream *found = NULL;
    const struct shelf *shelf;
    LIST_FOREACH (shelf, &proxy->shelves, link) {
        bool is_its = shelf->slot == backend->slot;
        if (shelf->pool == SNAPSHOT_NONE || shelf->n_idle == 0 || (found != NULL && !is_its) ||
            !shares_ports(proxy, shelf_backend(proxy, shelf), backend)) {
            continue;
        }
        struct upstream *u = find_with_port(proxy, shelf);
        found = u != NULL ? u : found;
    }
    return found;
}

static bool others_keep_some(const struct proxy *proxy, uint32_t row)
{
    for (uint32_t w = 0; w < proxy->sb->header->n_workers; w++) {
        if (w != proxy->worker &&
            atomic_load_explicit(&scoreboard_upstream_cell(proxy->sb, w, row)->idle,
                                 memory_order_acquire) != 0) {
            return true;
        }
    }
    return false;
}

/* The slot that other workers have idle ones of, again rather the backend's own; SNAPSHOT_NONE:
 * there is none. */
static uint32_t find_elsewhere(const struct proxy *proxy, const struct snapshot_backend *backend)
{
    uint32_t found = SNAPSHOT_NONE;
    const struct snapshot_pool *pools = snapshot_pools(proxy->snapshot);
    if (others_keep_some(proxy, backend->row)) {
        return backend->slot;
    }
    for (uint32_t p = 0; p < proxy->snapshot->n_pools && found == SNAPSHOT_NONE; p++) {
        const struct snapshot_backend *backends =
            snapshot_backends(proxy->snapshot) + pools[p].first_backend;
        for (uint32_t i = 0; pools[p].reuse.mode != REUSE_OFF && i < pools[p].n_backends; i++) {
            if (shares_ports(proxy, &backends[i], backend) &&
                others_keep_some(proxy, backends[i].row)) {
                found = backends[i].slot;
            }
        }
    }
    return found;
}

bool room_make_port(struct proxy *proxy, const struct snapshot_backend *backend)
{
    bool any_kept =
        atomic_load_explicit(&proxy->sb->header->upstreams_used, memory_order_acquire) != 0;
    while (any_kept && source_is_full(proxy, backend)) {
        struct upstream *own = find_own(proxy, backend);
        if (own == NULL) {
            uint32_t slot = find_elsewhere(proxy, backend);
            if (slot == SNAPSHOT_NONE) {
                return true; /* there is nothing to wait for, or its port is free by now */
            }
            ask_others(proxy, slot, WANTED_PORT);
            return false;
        }
        upstream_drop(own, DISCARD_EVICTED, false);
    }
    return true;
}
