/*
 * The choice of a backend. In workers. A pool's eligible weights are folded into one packed array,
 * anew whenever any health has changed since, so that schedulers look at nothing else; load is
 * looked at with each pick, and settled by the reservation.
 */
#include "choose.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool/eligibility.h"

#define WEIGHT_UNIT 1000 /* sched_view.weight of one configured unit */
#define LOOKS_MAX   32   /* at a pool whose places are taken faster than they are found */

struct chooser_pool {
    const struct sched_ops *ops;
    void *state; /* owned; NULL: the scheduler needs none */
    const struct snapshot_backend *backends;
    uint32_t *weight; /* what view.weight points at */
    struct sched_view view;
    bool folded;
    uint32_t epoch;      /* health_epoch that weight was folded at */
    uint32_t n_starting; /* backends without a check result, at that time */
};

struct chooser {
    const struct snapshot_header *snapshot;
    struct scoreboard *sb;
    uint32_t worker;
    struct chooser_pool *pools;         /* as in the snapshot */
    uint32_t *weights, *slots, *limits; /* of all backends, as in the snapshot */
};

/* Construction */

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

    chooser->pools = alloc_array(snapshot->n_pools, sizeof(*chooser->pools));
    chooser->weights = alloc_array(snapshot->n_backends, sizeof(*chooser->weights));
    chooser->slots = alloc_array(snapshot->n_backends, sizeof(*chooser->slots));
    chooser->limits = alloc_array(snapshot->n_backends, sizeof(*chooser->limits));
    if (chooser->pools == NULL || chooser->weights == NULL || chooser->slots == NULL ||
        chooser->limits == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < snapshot->n_backends; i++) {
        chooser->slots[i] = snapshot_backends(snapshot)[i].slot;
        chooser->limits[i] = snapshot_backends(snapshot)[i].max_connections;
    }
    return 0;
}

/* The one fact that is left out here is load: it is looked at with each pick. */
static enum backend_state judge_without_load(const struct snapshot_backend *backend,
                                             const struct scoreboard *sb)
{
    struct backend_facts facts = eligibility_facts(backend, sb);
    facts.max_connections = 0;
    return eligibility_judge(&facts);
}

static void refresh(struct chooser_pool *pool, const struct scoreboard *sb)
{
    /* Acquire, and first: health changed after this look brings a newer epoch. */
    uint32_t epoch = atomic_load_explicit(&sb->header->health_epoch, memory_order_acquire);
    if (pool->folded && pool->epoch == epoch)
        return;

    pool->n_starting = 0;
    for (uint32_t i = 0; i < pool->view.n; i++) {
        const struct snapshot_backend *backend = &pool->backends[i];
        enum backend_state state = judge_without_load(backend, sb);
        pool->weight[i] = eligibility_takes_new(state) ? backend->weight * WEIGHT_UNIT : 0;
        pool->n_starting += state == BACKEND_STARTING;
    }
    pool->epoch = epoch;
    pool->folded = true;
}

static int open_pool(struct chooser *chooser, uint32_t p)
{
    const struct snapshot_pool *record = &snapshot_pools(chooser->snapshot)[p];
    struct chooser_pool *pool = &chooser->pools[p];
    uint32_t first = record->first_backend;

    if (record->scheduler >= table_len())
        return -EINVAL;
    pool->ops = sched_table[record->scheduler];
    pool->backends = snapshot_backends(chooser->snapshot) + first;
    pool->weight = chooser->weights + first;
    pool->view = (struct sched_view){
        .n = record->n_backends,
        .weight = pool->weight,
        .slot = chooser->slots + first,
        .limit = chooser->limits + first,
        .slot_active = chooser->sb->slot_active,
    };
    refresh(pool, chooser->sb);
    if (pool->ops->state_bytes != NULL) {
        pool->state = alloc_array(1, pool->ops->state_bytes(record->n_backends));
        if (pool->state == NULL)
            return -ENOMEM;
    }
    if (pool->ops->init != NULL)
        pool->ops->init(pool->state, &pool->view, chooser->worker);
    return 0;
}

static int open_pools(struct chooser *chooser)
{
    for (uint32_t p = 0; p < chooser->snapshot->n_pools; p++) {
        int err = open_pool(chooser, p);
        if (err != 0)
            return err;
    }
    return 0;
}

/* What the schedulers take over from the previous generation */

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

static int carry_states(struct chooser *chooser, const struct chooser *previous)
{
    struct was *map = map_rows(previous);
    uint32_t *old_index = alloc_array(largest_pool(chooser->snapshot), sizeof(*old_index));

    for (uint32_t p = 0; map != NULL && old_index != NULL && p < chooser->snapshot->n_pools; p++) {
        struct chooser_pool *pool = &chooser->pools[p];
        uint32_t old_p = match_pool(chooser, previous, map, p, old_index);
        if (old_p == SNAPSHOT_NONE)
            continue;
        const struct chooser_pool *old = &previous->pools[old_p];
        if (pool->ops->carry != NULL && pool->ops == old->ops)
            pool->ops->carry(pool->state, &pool->view, old->state, old->view.n, old_index);
    }
    int err = map == NULL || old_index == NULL ? -ENOMEM : 0;
    free(map);
    free(old_index);
    return err;
}

struct chooser *chooser_create(const struct snapshot_header *snapshot, struct scoreboard *sb,
                               uint32_t worker, const struct chooser *previous)
{
    struct chooser *chooser = alloc_array(1, sizeof(*chooser));
    if (chooser == NULL)
        return NULL;
    chooser->snapshot = snapshot;
    chooser->sb = sb;
    chooser->worker = worker;

    int err = alloc_arrays(chooser);
    if (err == 0)
        err = open_pools(chooser);
    if (err == 0 && previous != NULL)
        err = carry_states(chooser, previous);
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
    free(chooser->pools);
    free(chooser->weights);
    free(chooser->slots);
    free(chooser->limits);
    free(chooser);
}

/* Picking */

/* Why nothing could be chosen. */
static enum choice explain_none(const struct chooser_pool *pool,
                                const struct sched_request *request)
{
    bool any_eligible = false;

    for (uint32_t i = 0; i < pool->view.n; i++) {
        if (pool->view.weight[i] == 0)
            continue;
        any_eligible = true;
        if (!sched_was_tried(request, i))
            return CHOICE_FULL;
    }
    if (any_eligible)
        return CHOICE_TRIED;
    return pool->n_starting != 0 ? CHOICE_STARTING : CHOICE_NONE;
}

static bool any_usable(const struct chooser_pool *pool, const struct sched_request *request)
{
    for (uint32_t i = 0; i < pool->view.n; i++) {
        if (sched_usable(&pool->view, request, i))
            return true;
    }
    return false;
}

static bool reserve(struct chooser *chooser, const struct chooser_pool *pool, uint32_t i)
{
    struct scoreboard *sb = chooser->sb;
    uint32_t slot = pool->view.slot[i];

    if (!scoreboard_reserve(sb, chooser->worker, SB_SLOT, slot, pool->view.limit[i]))
        return false;
    scoreboard_note_peak(&sb->rows[pool->backends[i].row].connections_peak,
                         sched_active(&pool->view, i));
    return true;
}

enum choice chooser_pick(struct chooser *chooser, uint32_t p, uint64_t key, const uint32_t *tried,
                         uint32_t n_tried, uint32_t *out_index)
{
    struct chooser_pool *pool = &chooser->pools[p];
    const struct sched_request request = {.tried = tried, .n_tried = n_tried, .key = key};

    refresh(pool, chooser->sb);
    /* One whose last place somebody else took first is seen to be full at the next look. And places
     * may have moved while backends were looked at one after the other: a pool is full only when it
     * is so at a second look. */
    for (int look = 0; look < LOOKS_MAX; look++) {
        uint32_t i = pool->ops->pick(pool->state, &pool->view, &request);
        if (i == SCHED_NONE) {
            enum choice choice = explain_none(pool, &request);
            if (choice != CHOICE_FULL || !any_usable(pool, &request))
                return choice;
        } else if (reserve(chooser, pool, i)) {
            *out_index = i;
            return CHOICE_MADE;
        }
    }
    return CHOICE_FULL;
}
