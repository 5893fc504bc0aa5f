/*
 * One worker's sessions on a pool, chosen by the scheduler alone or by the whole chooser: see
 * picks.h. Nothing is measured here; what is here is measured.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "picks.h"

#define NOW_START_US 10000 /* soon after the pool's response times were seen */

void seats_open(struct seats *seats, uint32_t n, uint64_t seed)
{
    *seats = (struct seats){.slot = take_memory(n, sizeof(*seats->slot)),
                            .n = n,
                            .random = mix(seed),
                            .now_us = NOW_START_US};
    memset(seats->slot, 0xff, n * sizeof(*seats->slot));
}

void seats_close(struct seats *seats)
{
    free(seats->slot);
    *seats = (struct seats){0};
}

/* --- the scheduler alone --- */

static void fill_view(struct direct *direct)
{
    struct pool *pool = direct->pool;
    uint64_t weight_sum = 0;

    for (uint32_t i = 0; i < pool->n; i++) {
        direct->weight[i] = pool->backends[i].weight * 1000;
        direct->factor[i] = 1000;
        direct->eligible[i] = i;
        direct->slot[i] = pool->backends[i].slot;
        direct->limit[i] = pool->backends[i].max_connections;
        direct->resume[i] = pool->backends[i].resume_connections;
        weight_sum += direct->weight[i];
    }
    direct->view = (struct sched_view){
        .n = pool->n,
        .weight = direct->weight,
        .factor = direct->factor,
        .eligible = direct->eligible,
        .n_eligible = pool->n,
        .weight_sum = weight_sum,
        .slot = direct->slot,
        .slot_active = pool->sb.slot_active,
        .bounded = pool->limited,
        .limit = direct->limit,
        .resume = direct->resume,
        .rate = direct->rate,
        .backends = pool->backends,
        .sb = &pool->sb,
        .entries = snapshot_entries(pool->snapshot),
        .n_entries = snapshot_pools(pool->snapshot)->n_entries,
        .seed = pool->snapshot->hash_seed,
    };
}

/* Unlike in a worker, where a place is reserved. */
static inline void add_load(const struct direct *direct, uint32_t slot, int32_t more)
{
    _Atomic uint32_t *active = &direct->pool->sb.slot_active[slot];
    atomic_store_explicit(active,
                          atomic_load_explicit(active, memory_order_relaxed) + (uint32_t)more,
                          memory_order_relaxed);
}

static inline void direct_choose(struct direct *direct, uint32_t *seat)
{
    struct seats *seats = &direct->seats;
    struct sched_request request = {.key = draw(&seats->random)};

    request.destination = mix(draw_below(&seats->random, DESTINATIONS));
    request.now_us = seats->now_us += STEP_US;
    uint32_t i = direct->ops->pick(direct->state, &direct->view, &request);
    if (i == SCHED_NONE) {
        seats->failures++;
        *seat = SCHED_NONE;
        return;
    }
    *seat = direct->slot[i];
    add_load(direct, *seat, 1);
}

void direct_step(void *arg, uint32_t steps)
{
    struct direct *direct = arg;
    struct seats *seats = &direct->seats;

    for (; steps > 0; steps--) {
        uint32_t *seat = &seats->slot[draw_below(&seats->random, seats->n)];
        if (*seat != SCHED_NONE)
            add_load(direct, *seat, -1);
        direct_choose(direct, seat);
    }
}

void direct_open(struct direct *direct, struct pool *pool, const struct sched_ops *ops,
                 uint64_t seed)
{
    uint32_t n = pool->n;

    *direct = (struct direct){
        .pool = pool,
        .ops = ops,
        .weight = take_memory(n, sizeof(uint32_t)),
        .factor = take_memory(n, sizeof(uint32_t)),
        .eligible = take_memory(n, sizeof(uint32_t)),
        .slot = take_memory(n, sizeof(uint32_t)),
        .limit = take_memory(n, sizeof(uint32_t)),
        .resume = take_memory(n, sizeof(uint32_t)),
        .rate = take_memory(n, sizeof(*direct->rate)),
    };
    fill_view(direct);
    if (ops->state_bytes != NULL)
        direct->state = take_memory(1, ops->state_bytes(n));
    if (ops->init != NULL)
        ops->init(direct->state, &direct->view, 1);
    if (ops->fold != NULL)
        ops->fold(direct->state, &direct->view);

    seats_open(&direct->seats, n * POOL_SESSIONS, seed);
    for (uint32_t i = 0; i < direct->seats.n; i++)
        direct_choose(direct, &direct->seats.slot[i]);
    direct_step(direct, direct->seats.n);
    direct->seats.failures = 0;
}

void direct_close(struct direct *direct)
{
    void *const owned[] = {direct->state, direct->weight, direct->factor, direct->eligible,
                           direct->slot,  direct->limit,  direct->resume, direct->rate};

    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
        free(owned[i]);
    seats_close(&direct->seats);
}

/* --- the whole choice --- */

static inline void draw_ip(uint64_t *random, uint32_t n, struct addr_ip *out)
{
    uint32_t host = draw_below(random, n);
    memcpy(out->bytes, &host, sizeof(host));
}

static inline void whole_choose(struct whole *whole, uint32_t *seat)
{
    struct seats *seats = &whole->seats;
    struct addr_ip client = {.port = 1024, .family = ADDR_IPV4};
    struct addr_ip destination = {.port = 80, .family = ADDR_IPV4};
    struct choose_request request = {
        .client = &client,
        .destination = &destination,
        .now_us = seats->now_us += STEP_US,
    };
    struct chosen chosen;

    draw_ip(&seats->random, UINT32_MAX, &client);
    draw_ip(&seats->random, DESTINATIONS, &destination);
    if (chooser_choose(whole->chooser, &request, &chosen) == CHOICE_MADE) {
        *seat = whole->pool->backends[chosen.index].slot;
    } else {
        seats->failures++;
        *seat = SCHED_NONE;
    }
}

void whole_step(void *arg, uint32_t steps)
{
    struct whole *whole = arg;
    struct seats *seats = &whole->seats;

    for (; steps > 0; steps--) {
        uint32_t *seat = &seats->slot[draw_below(&seats->random, seats->n)];
        if (*seat != SCHED_NONE)
            scoreboard_release(&whole->pool->sb, whole->worker, SB_SLOT, *seat);
        whole_choose(whole, seat);
    }
}

void whole_open(struct whole *whole, struct pool *pool, uint32_t worker, uint32_t n_seats,
                uint64_t seed)
{
    *whole = (struct whole){.pool = pool, .worker = worker};
    seats_open(&whole->seats, n_seats, seed);
    whole->chooser =
        chooser_create(pool->snapshot, &pool->sb, worker, whole->seats.now_us / 1000, NULL);
    if (whole->chooser == NULL)
        give_up("no chooser: %s", strerror(errno));
    for (uint32_t i = 0; i < n_seats; i++)
        whole_choose(whole, &whole->seats.slot[i]);
    whole_step(whole, n_seats);
    whole->seats.failures = 0;
}

void whole_close(struct whole *whole)
{
    chooser_destroy(whole->chooser);
    seats_close(&whole->seats);
}
