/*
 * The chooser's making, and its folding: what configuration, health and slow start come to for each
 * backend, in packed arrays, so that schedulers look at nothing else. Folded anew when any health
 * has changed and, during a slow start, every few milliseconds. In workers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "chooser.h"

#define WEIGHT_UNIT   1000 /* sched_view.weight of one configured unit */
#define SLOW_STEPS    200  /* in which the weight rises during a slow start … */
#define SLOW_STEP_MIN 10   /* … but no oftener than every so many ms */

/* --- construction --- */

/* At least one item, so that NULL always means no memory. */
static void *alloc_array(size_t n, size_t item_bytes)
{
    return calloc(n == 0 ? 1 : n, item_bytes);
}

static uint32_t table_len(void)
{
    uint32_t n = 0;
    while (sched_table[n] != NULL)
        n++;
    return n;
}

static int alloc_arrays(struct chooser *chooser)
{
    const struct snapshot_header *snapshot = chooser->snapshot;
    uint32_t **const words[] = {&chooser->weights, &chooser->factors, &chooser->eligibles,
                                &chooser->slots,   &chooser->limits,  &chooser->resumes,
                                &chooser->slows,   &chooser->shares,  &chooser->credits};
    const size_t n_words = sizeof(words) / sizeof(words[0]);
    bool all = true;

    for (size_t i = 0; i < n_words; i++) {
        *words[i] = alloc_array(snapshot->n_backends, sizeof(uint32_t));
        all = all && *words[i] != NULL;
    }
    chooser->rates = alloc_array(snapshot->n_backends, sizeof(*chooser->rates));
    chooser->returnings = alloc_array(snapshot->n_backends, 1);
    chooser->helds = alloc_array(snapshot->n_backends, 1);
    chooser->pools = alloc_array(snapshot->n_pools, sizeof(*chooser->pools));
    chooser->service_seeds = alloc_array(snapshot->n_services, sizeof(*chooser->service_seeds));
    return all && chooser->rates != NULL && chooser->returnings != NULL && chooser->helds != NULL &&
                   chooser->pools != NULL && chooser->service_seeds != NULL
               ? 0
               : -ENOMEM;
}

static void copy_fixed(struct chooser *chooser)
{
    const struct snapshot_header *snapshot = chooser->snapshot;

    for (uint32_t i = 0; i < snapshot->n_backends; i++) {
        const struct snapshot_backend *backend = &snapshot_backends(snapshot)[i];
        chooser->slots[i] = backend->slot;
        chooser->rates[i] = backend->connect_rate;
    }
    /* Where connections are kept, most choices need no new one: who opens one asks the rate. */
    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        const struct snapshot_pool *pool = &snapshot_pools(snapshot)[p];
        for (uint32_t i = 0; pool->reuse.mode != REUSE_OFF && i < pool->n_backends; i++)
            chooser->rates[pool->first_backend + i] = (struct snapshot_rate){0};
    }
}

/* Where the backends of leases are. */
static int map_leases(struct chooser *chooser)
{
    const struct snapshot_header *snapshot = chooser->snapshot;
    bool any = false;

    for (uint32_t i = 0; i < snapshot->n_services; i++) {
        const struct snapshot_service *service = &snapshot_services(snapshot)[i];
        chooser->service_seeds[i] =
            XXH3_64bits_withSeed(service->name, strlen(service->name), snapshot->hash_seed);
        any = any || service->persistence_ms != 0;
    }
    if (!any)
        return 0;
    chooser->rows = alloc_array(BACKENDS_MAX, sizeof(*chooser->rows));
    if (chooser->rows == NULL)
        return -ENOMEM;
    memset(chooser->rows, 0xff, BACKENDS_MAX * sizeof(*chooser->rows));
    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        const struct snapshot_pool *pool = &snapshot_pools(snapshot)[p];
        for (uint32_t i = 0; i < pool->n_backends; i++) {
            const struct snapshot_backend *backend =
                &snapshot_backends(snapshot)[pool->first_backend + i];
            chooser->rows[backend->row] =
                (struct row_place){.pool = (uint16_t)p, .index = (uint16_t)i};
        }
    }
    return 0;
}

static void point_arrays(struct chooser *chooser, struct chooser_pool *pool)
{
    uint32_t first = pool->record->first_backend;

    pool->weight = chooser->weights + first;
    pool->factor = chooser->factors + first;
    pool->eligible = chooser->eligibles + first;
    pool->limit = chooser->limits + first;
    pool->resume = chooser->resumes + first;
    pool->returning = chooser->returnings + first;
    pool->slow = chooser->slows + first;
    pool->share = chooser->shares + first;
    pool->credit = chooser->credits + first;
    pool->held = chooser->helds + first;
}

static void open_view(struct chooser *chooser, struct chooser_pool *pool)
{
    const struct snapshot_pool *record = pool->record;
    uint32_t first = record->first_backend;

    pool->view = (struct sched_view){
        .n = record->n_backends,
        .weight = pool->weight,
        .factor = pool->factor,
        .eligible = pool->eligible,
        .slot = chooser->slots + first,
        .slot_active = chooser->sb->slot_active,
        .limit = pool->limit,
        .resume = pool->resume,
        .rate = chooser->rates + first,
        .backends = pool->backends,
        .sb = chooser->sb,
        .seed =
            XXH3_64bits_withSeed(record->name, strlen(record->name), chooser->snapshot->hash_seed),
    };
    if (record->n_entries > 0) {
        pool->view.entries = snapshot_entries(chooser->snapshot) + record->first_entry;
        pool->view.n_entries = record->n_entries;
    }
}

/* --- folding --- */

/* Load is looked at with each pick; here it is left out. */
static struct backend_facts facts_without_load(const struct chooser *chooser,
                                               const struct chooser_pool *pool, uint32_t i)
{
    struct backend_facts facts =
        eligibility_facts(pool->record, pool->backends, i, &pool->survey, chooser->sb);
    facts.full = false;
    return facts;
}

static uint32_t slow_permille(const struct chooser *chooser, const struct chooser_pool *pool,
                              uint32_t i, uint64_t now_ms)
{
    const struct sb_slot *slot = &chooser->sb->slots[pool->backends[i].slot];
    return eligibility_slow_permille(
        atomic_load_explicit(&slot->slow_from_ms, memory_order_relaxed),
        pool->record->slow_start_ms, now_ms);
}

static void fold_backend(const struct chooser *chooser, struct chooser_pool *pool, uint32_t i,
                         uint64_t now_ms)
{
    struct backend_facts facts = facts_without_load(chooser, pool, i);
    uint32_t slow = slow_permille(chooser, pool, i, now_ms);
    uint32_t asked = eligibility_asked_permille(&pool->backends[i], chooser->sb);

    eligibility_limits(&pool->backends[i], chooser->sb, &pool->limit[i], &pool->resume[i]);
    pool->has_bounds |= pool->limit[i] != 0 || pool->view.rate[i].interval_ns != 0;
    pool->returning[i] = eligibility_takes_returning(&facts);
    pool->factor[i] = WEIGHT_UNIT;
    pool->weight[i] = 0;
    if (!eligibility_takes_new(&facts))
        return;
    pool->factor[i] = slow * asked < WEIGHT_UNIT ? 1 : slow * asked / WEIGHT_UNIT;
    pool->weight[i] = facts.weight * pool->factor[i];
    pool->eligible[pool->view.n_eligible++] = i;
    pool->view.weight_sum += pool->weight[i];
    if (slow < WEIGHT_UNIT)
        pool->slow[pool->n_slow++] = i;
}

/* What each slow one earns with a pick. Rules by load without weights know shares by factor only.
 */
static void set_shares(struct chooser_pool *pool)
{
    uint64_t sum = 0;

    for (uint32_t e = 0; e < pool->view.n_eligible; e++) {
        uint32_t i = pool->eligible[e];
        sum += pool->ops->weighted ? pool->weight[i] : pool->factor[i];
    }
    for (uint32_t s = 0; s < pool->n_slow; s++) {
        uint32_t i = pool->slow[s];
        uint64_t weight = pool->ops->weighted ? pool->weight[i] : pool->factor[i];
        pool->share[s] = (uint32_t)(weight * CREDIT_ONE / sum);
    }
}

static void fold(struct chooser *chooser, struct chooser_pool *pool, uint64_t now_ms)
{
    uint32_t step_ms = pool->record->slow_start_ms / SLOW_STEPS;

    if (step_ms < SLOW_STEP_MIN)
        step_ms = SLOW_STEP_MIN;
    /* In step with the clock, so that all workers weigh alike and no question moves the steps. */
    now_ms -= now_ms % step_ms;
    eligibility_survey(pool->record, pool->backends, chooser->sb, &pool->survey);
    pool->view.n_eligible = 0;
    pool->view.weight_sum = 0;
    pool->n_slow = 0;
    pool->has_bounds = false;
    for (uint32_t i = 0; i < pool->view.n; i++)
        fold_backend(chooser, pool, i, now_ms);
    pool->view.bounded = pool->has_bounds;
    set_shares(pool);
    pool->refolding_ms = pool->n_slow == 0 ? UINT64_MAX : now_ms + step_ms;
}

void chooser_refresh(struct chooser *chooser, struct chooser_pool *pool, uint64_t now_ms)
{
    /* Acquire, and first: health changed after this look brings a newer epoch. */
    uint32_t epoch = atomic_load_explicit(&chooser->sb->header->health_epoch, memory_order_acquire);
    if (pool->folded && pool->epoch == epoch && now_ms < pool->refolding_ms)
        return;
    fold(chooser, pool, now_ms);
    pool->epoch = epoch;
    pool->folded = true;
    if (pool->ops->fold != NULL)
        pool->ops->fold(pool->state, &pool->view);
}

/* --- what the schedulers take over from the previous generation --- */

/* Where the backend of a scoreboard row was. */
struct was {
    uint32_t pool; /* SNAPSHOT_NONE: nowhere */
    uint32_t index;
};

static struct was *map_rows(const struct chooser *previous)
{
    struct was *map = alloc_array(BACKENDS_MAX, sizeof(*map));
    if (map == NULL)
        return NULL;
    for (uint32_t row = 0; row < BACKENDS_MAX; row++)
        map[row].pool = SNAPSHOT_NONE;
    for (uint32_t p = 0; p < previous->snapshot->n_pools; p++) {
        const struct chooser_pool *pool = &previous->pools[p];
        for (uint32_t i = 0; i < pool->view.n; i++)
            map[pool->backends[i].row] = (struct was){.pool = p, .index = i};
    }
    return map;
}

/*
 * Fills old_index for pool p. Returns which pool it was, or SNAPSHOT_NONE. Names are compared too:
 * a row may have been given to another backend meanwhile.
 */
static uint32_t match_pool(const struct chooser *chooser, const struct chooser *previous,
                           const struct was *map, uint32_t p, uint32_t *old_index)
{
    const struct snapshot_pool *old_records = snapshot_pools(previous->snapshot);
    const char *name = snapshot_pools(chooser->snapshot)[p].name;
    const struct chooser_pool *pool = &chooser->pools[p];
    uint32_t found = SNAPSHOT_NONE;

    for (uint32_t i = 0; i < pool->view.n; i++) {
        const struct was *was = &map[pool->backends[i].row];
        old_index[i] = SCHED_NONE;
        if (was->pool == SNAPSHOT_NONE || strcmp(old_records[was->pool].name, name) != 0)
            continue;
        const struct snapshot_backend *old = &previous->pools[was->pool].backends[was->index];
        if (strcmp(old->name, pool->backends[i].name) != 0)
            continue;
        found = was->pool;
        old_index[i] = was->index;
    }
    return found;
}

static uint32_t largest_pool(const struct snapshot_header *snapshot)
{
    uint32_t largest = 0;
    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        uint32_t n = snapshot_pools(snapshot)[p].n_backends;
        if (n > largest)
            largest = n;
    }
    return largest;
}

static void carry_pool(struct chooser_pool *pool, const struct chooser_pool *old,
                       const uint32_t *old_index)
{
    for (uint32_t i = 0; i < pool->view.n; i++) {
        if (old_index[i] != SCHED_NONE)
            pool->credit[i] = old->credit[old_index[i]];
    }
    if (pool->ops->carry != NULL && pool->ops == old->ops)
        pool->ops->carry(pool->state, &pool->view, old->state, old->view.n, old_index);
}

static int carry_states(struct chooser *chooser, const struct chooser *previous)
{
    struct was *map = map_rows(previous);
    uint32_t *old_index = alloc_array(largest_pool(chooser->snapshot), sizeof(*old_index));

    for (uint32_t p = 0; map != NULL && old_index != NULL && p < chooser->snapshot->n_pools; p++) {
        uint32_t old_p = match_pool(chooser, previous, map, p, old_index);
        if (old_p != SNAPSHOT_NONE)
            carry_pool(&chooser->pools[p], &previous->pools[old_p], old_index);
    }
    int err = map == NULL || old_index == NULL ? -ENOMEM : 0;
    free(map);
    free(old_index);
    return err;
}

/* --- birth and death --- */

/* One without any weight has nothing to hash to, and so no table. */
static bool lacks_table(const struct chooser_pool *pool)
{
    bool has_weight = false;

    for (uint32_t i = 0; i < pool->record->n_backends; i++)
        has_weight = has_weight || pool->backends[i].weight > 0;
    return pool->ops->has_table && has_weight && pool->record->n_entries == 0;
}

static int open_pool(struct chooser *chooser, uint32_t p, uint64_t now_ms)
{
    struct chooser_pool *pool = &chooser->pools[p];

    pool->record = &snapshot_pools(chooser->snapshot)[p];
    if (pool->record->scheduler >= table_len())
        return -EINVAL;
    pool->ops = sched_table[pool->record->scheduler];
    pool->backends = snapshot_backends(chooser->snapshot) + pool->record->first_backend;
    if (lacks_table(pool))
        return -EINVAL;
    point_arrays(chooser, pool);
    open_view(chooser, pool);
    fold(chooser, pool, now_ms); /* init looks at weights */
    if (pool->ops->state_bytes != NULL) {
        pool->state_bytes = pool->ops->state_bytes(pool->view.n);
        pool->state = alloc_array(1, pool->state_bytes);
        if (pool->state == NULL)
            return -ENOMEM;
    }
    if (pool->ops->init != NULL)
        pool->ops->init(pool->state, &pool->view, chooser->worker);
    return 0;
}

static int open_pools(struct chooser *chooser, uint64_t now_ms)
{
    for (uint32_t p = 0; p < chooser->snapshot->n_pools; p++) {
        int err = open_pool(chooser, p, now_ms);
        if (err != 0)
            return err;
    }
    return 0;
}

static int build(struct chooser *chooser, uint64_t now_ms, const struct chooser *previous)
{
    int err = alloc_arrays(chooser);
    if (err != 0)
        return err;
    copy_fixed(chooser);
    err = map_leases(chooser);
    if (err == 0)
        err = open_pools(chooser, now_ms);
    if (err == 0 && previous != NULL)
        err = carry_states(chooser, previous);
    for (uint32_t p = 0; err == 0 && p < chooser->snapshot->n_pools; p++)
        chooser_refresh(chooser, &chooser->pools[p], now_ms);
    return err;
}

struct chooser *chooser_create(const struct snapshot_header *snapshot, struct scoreboard *sb,
                               uint32_t worker, uint64_t now_ms, const struct chooser *previous)
{
    struct chooser *chooser = alloc_array(1, sizeof(*chooser));
    if (chooser == NULL)
        return NULL;
    chooser->snapshot = snapshot;
    chooser->sb = sb;
    chooser->worker = worker;

    int err = build(chooser, now_ms, previous);
    if (err != 0) {
        chooser_destroy(chooser);
        errno = -err;
        return NULL;
    }
    return chooser;
}

void chooser_destroy(struct chooser *chooser)
{
    if (chooser == NULL)
        return;
    for (uint32_t p = 0; chooser->pools != NULL && p < chooser->snapshot->n_pools; p++)
        free(chooser->pools[p].state);
    void *const owned[] = {chooser->pools,   chooser->rows,       chooser->service_seeds,
                           chooser->weights, chooser->factors,    chooser->eligibles,
                           chooser->slots,   chooser->limits,     chooser->resumes,
                           chooser->slows,   chooser->shares,     chooser->credits,
                           chooser->rates,   chooser->returnings, chooser->helds};
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
        free(owned[i]);
    free(chooser);
}
