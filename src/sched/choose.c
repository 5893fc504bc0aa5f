/*
 * The choice of a backend: leases first, then the pool's scheduler, then the fallback pool; settled
 * by a reservation. Load is looked at with each pick, everything else was folded before (fold.c).
 * In workers.
 */
#include "choose.h"

#include <string.h>
#include <xxhash.h>

#include "chooser.h"

#define LOOKS_MAX 32 /* at a pool whose places are taken faster than they are found */

/* --- who asks --- */

uint32_t chooser_tried(const struct choose_request *request, uint32_t pool, uint32_t *indices)
{
    uint32_t n = 0;
    for (uint32_t t = 0; t < request->n_tried; t++) {
        if (request->tried[t].pool == pool)
            indices[n++] = request->tried[t].index;
    }
    return n;
}

/* What of an address is hashed: no padding, no scope. */
static uint64_t hash_address(const struct addr_ip *ip, uint16_t port, uint64_t seed)
{
    struct {
        uint8_t bytes[16];
        uint16_t port;
        uint8_t family, zero;
    } key = {.port = port, .family = ip->family};
    memcpy(key.bytes, ip->bytes, sizeof(key.bytes));
    return XXH3_64bits_withSeed(&key, sizeof(key), seed);
}

struct sched_request chooser_question(const struct chooser *chooser,
                                      const struct choose_request *request, uint32_t p,
                                      const uint32_t *tried, uint32_t n_tried)
{
    const struct chooser_pool *pool = &chooser->pools[p];
    bool with_port = pool->record->hash_key == HASH_KEY_SOURCE_PORT && pool->ops != &sched_sh;
    struct sched_request question = {.tried = tried, .n_tried = n_tried, .now_us = request->now_us};

    question.key =
        hash_address(request->client, with_port ? request->client->port : 0, pool->view.seed);
    if (pool->ops->by_destination && request->destination != NULL)
        question.destination = hash_address(request->destination, 0, pool->view.seed);
    return question;
}

bool chooser_wants_destination(const struct chooser *chooser, uint32_t service)
{
    const struct snapshot_service *record = &snapshot_services(chooser->snapshot)[service];
    return chooser->pools[record->pool].ops->by_destination ||
           (record->fallback_pool != SNAPSHOT_NONE &&
            chooser->pools[record->fallback_pool].ops->by_destination);
}

/* --- leases --- */

uint64_t chooser_lease_key(const struct chooser *chooser, uint32_t service,
                           const struct addr_ip *client)
{
    const struct snapshot_service *record = &snapshot_services(chooser->snapshot)[service];
    struct addr_ip masked = *client;

    addr_ip_mask(&masked, client->family == ADDR_IPV4 ? record->persistence_mask
                                                      : record->persistence_mask6);
    return hash_address(&masked, 0, chooser->service_seeds[service]);
}

uint32_t chooser_leased(const struct chooser *chooser, uint32_t p, uint64_t lease_key,
                        const struct sched_request *request, struct lease_info *out_info)
{
    const struct chooser_pool *pool = &chooser->pools[p];

    if (!lease_find(chooser->sb, lease_key, request->now_us / 1000, out_info))
        return SCHED_NONE;
    struct row_place place = chooser->rows[out_info->row];
    if (place.pool != p || !pool->returning[place.index] || sched_was_tried(request, place.index) ||
        (pool->has_bounds && !sched_has_room(&pool->view, request, place.index)))
        return SCHED_NONE;
    return place.index;
}

/* --- asking the scheduler --- */

static bool is_held_back(const struct chooser_pool *pool)
{
    return pool->ops->kind == SCHED_BY_LOAD && pool->n_slow > 0 &&
           pool->n_slow < pool->view.n_eligible;
}

static void earn(struct chooser_pool *pool)
{
    pool->n_held = 0;
    for (uint32_t s = 0; s < pool->n_slow; s++) {
        uint32_t i = pool->slow[s];
        uint32_t credit = pool->credit[i] + pool->share[s];
        pool->credit[i] = credit < CREDIT_MAX ? credit : CREDIT_MAX;
        pool->held[i] = pool->credit[i] < CREDIT_ONE;
        pool->n_held += pool->held[i];
    }
}

/* Nobody's slow start lasts for ever in the scheduler's eyes: marks end with the pick. */
static void unhold(struct chooser_pool *pool)
{
    for (uint32_t s = 0; s < pool->n_slow; s++)
        pool->held[pool->slow[s]] = 0;
    pool->view.held = NULL;
    pool->view.bounded = pool->has_bounds;
}

uint32_t chooser_ask(struct chooser_pool *pool, const struct sched_request *request)
{
    if (!is_held_back(pool))
        return pool->ops->pick(pool->state, &pool->view, request);

    earn(pool);
    if (pool->n_held > 0) {
        pool->view.held = pool->held;
        pool->view.bounded = true;
    }
    uint32_t i = pool->ops->pick(pool->state, &pool->view, request);
    if (pool->n_held > 0) {
        unhold(pool);
        /* Better somebody in slow start than nobody. */
        if (i == SCHED_NONE)
            i = pool->ops->pick(pool->state, &pool->view, request);
    }
    if (i != SCHED_NONE && pool->factor[i] < 1000)
        pool->credit[i] -= pool->credit[i] < CREDIT_ONE ? pool->credit[i] : CREDIT_ONE;
    return i;
}

enum choice chooser_why_none(const struct chooser_pool *pool, const struct sched_request *request)
{
    for (uint32_t e = 0; e < pool->view.n_eligible; e++) {
        if (!sched_was_tried(request, pool->eligible[e]))
            return CHOICE_FULL;
    }
    if (pool->view.n_eligible > 0)
        return CHOICE_TRIED;
    return pool->survey.starting != 0 ? CHOICE_STARTING : CHOICE_NONE;
}

static bool any_usable(const struct chooser_pool *pool, const struct sched_request *request)
{
    for (uint32_t e = 0; e < pool->view.n_eligible; e++) {
        if (sched_usable(&pool->view, request, pool->eligible[e]))
            return true;
    }
    return false;
}

uint32_t chooser_behind(const struct chooser *chooser, const struct chooser_pool *pool)
{
    if (pool->record->queue == 0)
        return 0;
    return atomic_load_explicit(&chooser->sb->pools[pool->record->row].queued,
                                memory_order_relaxed);
}

bool chooser_may_serve(struct chooser *chooser, uint32_t p, uint64_t now_us)
{
    struct chooser_pool *pool = &chooser->pools[p];
    const struct sched_request nobody = {.now_us = now_us};

    chooser_refresh(chooser, pool, now_us / 1000);
    return pool->record->queue == 0 || pool->view.n_eligible == 0 || any_usable(pool, &nobody);
}

/* --- reserving --- */

/*
 * Keeps slot_full: set by whoever takes the last place, cleared by whoever next sees it under
 * resume_connections. Both may happen at once and the mark be wrong for a moment; it only counts
 * between the two marks (eligibility_is_full()), so nothing can stay shut for ever.
 */
static void note_load(struct scoreboard *sb, const struct sched_view *view, uint32_t i,
                      uint64_t now_us)
{
    uint32_t slot = view->slot[i];
    uint32_t active = sched_active(view, i);

    if (view->limit[i] == 0)
        return;
    bool was_full = atomic_load_explicit(&sb->slot_full[slot], memory_order_relaxed) != 0;
    if (active >= view->limit[i] && !was_full) {
        atomic_store_explicit(&sb->slots[slot].full_since_ms, now_us / 1000, memory_order_relaxed);
        atomic_store_explicit(&sb->slot_full[slot], 1, memory_order_relaxed);
    } else if (active < view->resume[i] && was_full) {
        atomic_store_explicit(&sb->slot_full[slot], 0, memory_order_relaxed);
    }
}

static bool reserve(struct chooser *chooser, const struct chooser_pool *pool, uint32_t i,
                    uint64_t now_us)
{
    struct scoreboard *sb = chooser->sb;
    const struct sched_view *view = &pool->view;
    uint32_t slot = view->slot[i];

    /* The rate first: one that is given back is nobody's loss, while a place that is taken for a
     * moment might be the one that somebody waits for. */
    if (!rate_take(&sb->slot_rate[slot], &view->rate[i], now_us * 1000))
        return false;
    note_load(sb, view, i, now_us);
    if (!scoreboard_reserve(sb, chooser->worker, SB_SLOT, slot, view->limit[i])) {
        if (view->rate[i].interval_ns != 0)
            rate_give_back(&sb->slot_rate[slot], &view->rate[i]);
        return false;
    }
    note_load(sb, view, i, now_us);
    scoreboard_note_peak(&sb->rows[pool->backends[i].row].connections_peak, sched_active(view, i));
    return true;
}

/* --- choosing --- */

static enum choice choose_scheduled(struct chooser *chooser, struct chooser_pool *pool,
                                    const struct sched_request *question, uint32_t *out_index)
{
    /* One whose last place somebody else took first is seen to be full at the next look. And places
     * may have moved while backends were looked at one after the other: a pool is full only when it
     * is so at a second look. */
    for (int look = 0; look < LOOKS_MAX; look++) {
        uint32_t i = chooser_ask(pool, question);
        if (i == SCHED_NONE) {
            enum choice choice = chooser_why_none(pool, question);
            if (choice != CHOICE_FULL || !any_usable(pool, question))
                return choice;
        } else if (reserve(chooser, pool, i, question->now_us)) {
            *out_index = i;
            return CHOICE_MADE;
        }
    }
    return CHOICE_FULL;
}

static enum choice choose_in(struct chooser *chooser, uint32_t p,
                             const struct choose_request *request, struct chosen *out)
{
    struct chooser_pool *pool = &chooser->pools[p];
    const struct snapshot_service *service =
        &snapshot_services(chooser->snapshot)[request->service];
    uint32_t tried[TRIED_MAX];
    uint32_t n_tried = chooser_tried(request, p, tried);
    struct sched_request question = chooser_question(chooser, request, p, tried, n_tried);
    enum choice choice = CHOICE_NONE;
    uint64_t lease_key = 0;

    chooser_refresh(chooser, pool, request->now_us / 1000);
    *out = (struct chosen){.pool = p, .index = SCHED_NONE};
    if (service->persistence_ms != 0) {
        struct lease_info info;
        lease_key = chooser_lease_key(chooser, request->service, request->client);
        out->index = chooser_leased(chooser, p, lease_key, &question, &info);
    }
    /* A lease on a backend that new clients may have too is no reason to take its place from those
     * who wait for it. */
    bool behind = request->is_new && chooser_behind(chooser, pool) > 0;
    if (behind && out->index != SCHED_NONE && pool->weight[out->index] != 0)
        out->index = SCHED_NONE;
    if (out->index != SCHED_NONE && reserve(chooser, pool, out->index, request->now_us))
        choice = CHOICE_MADE;
    else if (behind)
        choice = CHOICE_FULL;
    else
        choice = choose_scheduled(chooser, pool, &question, &out->index);
    if (choice == CHOICE_MADE && service->persistence_ms != 0)
        (void)lease_take(chooser->sb, lease_key, pool->backends[out->index].row,
                         request->now_us / 1000, &out->hold);
    return choice;
}

enum choice chooser_choose(struct chooser *chooser, const struct choose_request *request,
                           struct chosen *out)
{
    const struct snapshot_service *service =
        &snapshot_services(chooser->snapshot)[request->service];
    const struct snapshot_pool *pools = snapshot_pools(chooser->snapshot);

    *out = (struct chosen){.pool = service->pool, .index = SCHED_NONE};
    if (pools[service->pool].paused)
        return CHOICE_PAUSED;
    enum choice choice = choose_in(chooser, service->pool, request, out);

    bool nothing_left = choice == CHOICE_NONE || (choice == CHOICE_TRIED && !request->again);

    if (!nothing_left || service->fallback_pool == SNAPSHOT_NONE)
        return choice;
    if (pools[service->fallback_pool].paused) {
        out->pool = service->fallback_pool;
        return CHOICE_PAUSED;
    }
    enum choice fallback = choose_in(chooser, service->fallback_pool, request, out);
    if (fallback != CHOICE_NONE)
        return fallback;
    /* That the fallback has nothing either is no news; what was wrong with the pool itself is. */
    out->pool = service->pool;
    return choice;
}

bool chooser_is_up(struct chooser *chooser, uint32_t p, uint32_t index, uint64_t now_ms)
{
    struct chooser_pool *pool = &chooser->pools[p];

    chooser_refresh(chooser, pool, now_ms);
    struct backend_facts facts =
        eligibility_facts(pool->record, pool->backends, index, &pool->survey, chooser->sb);
    facts.full = false;
    facts.standby = false;
    return eligibility_judge(&facts) == BACKEND_UP;
}

bool chooser_wants_times(const struct chooser *chooser, uint32_t pool)
{
    return chooser->pools[pool].ops->by_time;
}

static bool is_full(const struct sched_view *view, uint32_t i)
{
    bool full = atomic_load_explicit(&view->sb->slot_full[view->slot[i]], memory_order_relaxed);
    return eligibility_is_full(sched_active(view, i), view->limit[i], view->resume[i], full);
}

uint64_t chooser_due_us(const struct chooser *chooser, uint32_t p, uint64_t now_us)
{
    const struct sched_view *view = &chooser->pools[p].view;
    uint64_t soonest_ns = UINT64_MAX;

    for (uint32_t e = 0; e < view->n_eligible; e++) {
        uint32_t i = view->eligible[e];
        /* Not the view's, which leaves it to who opens connections where they are kept. */
        const struct snapshot_rate *rate = &view->backends[i].connect_rate;
        if (rate->interval_ns == 0 || is_full(view, i))
            continue;
        uint64_t due_ns = rate_due_ns(&view->sb->slot_rate[view->slot[i]], rate, now_us * 1000);
        soonest_ns = due_ns < soonest_ns ? due_ns : soonest_ns;
    }
    return soonest_ns == UINT64_MAX ? UINT64_MAX : (soonest_ns + 999) / 1000;
}

/* --- sessions that are to end --- */

/* Why sessions of backend i are to be ended now; ENDING_COUNT: they are not. */
static enum ending ending_of(const struct chooser *chooser, const struct chooser_pool *pool,
                             uint32_t i)
{
    const struct snapshot_backend *backend = &pool->backends[i];
    struct backend_facts facts =
        eligibility_facts(pool->record, pool->backends, i, &pool->survey, chooser->sb);

    if (pool->survey.panic)
        return ENDING_COUNT;
    if (pool->record->on_down == SESSIONS_CLOSE && facts.health == SB_HEALTH_DOWN &&
        facts.has_address)
        return ENDING_BACKEND_DOWN;
    if (pool->record->on_return == SESSIONS_CLOSE && backend->backup && !pool->survey.needs_backups)
        return ENDING_PRIMARIES_BACK;
    return ENDING_COUNT;
}

bool chooser_find_endings(struct chooser *chooser, uint64_t now_ms, uint8_t *endings)
{
    bool any = false;

    for (uint32_t p = 0; p < chooser->snapshot->n_pools; p++) {
        struct chooser_pool *pool = &chooser->pools[p];
        if (pool->record->on_down != SESSIONS_CLOSE && pool->record->on_return != SESSIONS_CLOSE)
            continue;
        chooser_refresh(chooser, pool, now_ms);
        for (uint32_t i = 0; i < pool->view.n; i++) {
            enum ending ending = ending_of(chooser, pool, i);
            if (ending == ENDING_COUNT)
                continue;
            endings[pool->backends[i].slot] = (uint8_t)ending;
            any = true;
        }
    }
    return any;
}
