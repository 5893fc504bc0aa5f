/*
 * A pool as workers see it, written by hand: a snapshot in memory, and a scoreboard of its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picks.h"
#include "pool/ewma.h"
#include "sched/maglev.h"

#define WEIGHT_SEED 4242
#define WEIGHT_MAX  4
#define HASH_SEED   4343
#define TIME_SEED   4444
#define TIME_MAX_US 5000

uint32_t pool_weight(uint32_t i)
{
    return 1 + (uint32_t)(mix(WEIGHT_SEED + (uint64_t)i) % WEIGHT_MAX);
}

static struct snapshot_header *lay_out(uint32_t n, uint32_t n_entries)
{
    uint32_t services = (sizeof(struct snapshot_header) + 15) & ~UINT32_C(15);
    uint32_t pools = services + (uint32_t)sizeof(struct snapshot_service);
    uint32_t backends = pools + (uint32_t)sizeof(struct snapshot_pool);
    uint32_t entries = backends + n * (uint32_t)sizeof(struct snapshot_backend);
    uint32_t end = (entries + n_entries * (uint32_t)sizeof(uint16_t) + 7) & ~UINT32_C(7);
    struct snapshot_header *snapshot = take_memory(1, end);

    *snapshot = (struct snapshot_header){
        .magic = SNAPSHOT_MAGIC,
        .layout = SNAPSHOT_LAYOUT,
        .generation = 1,
        .size_bytes = end,
        .n_services = 1,
        .n_pools = 1,
        .n_backends = n,
        .services_offset = services,
        .listeners_offset = end,
        .pools_offset = pools,
        .backends_offset = backends,
        .checks_offset = end,
        .n_entries = n_entries,
        .entries_offset = entries,
        .args_offset = end,
        .sources_offset = end,
        .texts_offset = end,
        .hash_seed = HASH_SEED,
    };
    return snapshot;
}

/* No checks: they count as up. */
static void fill_backends(struct snapshot_backend *backends, uint32_t n, bool limited)
{
    for (uint32_t i = 0; i < n; i++) {
        backends[i] = (struct snapshot_backend){
            .address.ip = {.bytes = {10}, .port = 1, .family = ADDR_IPV4},
            .slot = i,
            .row = i,
            .weight = pool_weight(i),
            .max_connections = limited ? POOL_LIMIT : 0,
            .resume_connections = limited ? POOL_LIMIT * 3 / 4 : 0, /* as when it is not set */
        };
        snprintf(backends[i].name, sizeof(backends[i].name), "b%" PRIu32, i);
    }
}

static void fill_entries(const struct snapshot_backend *backends, uint32_t n, uint32_t size,
                         uint16_t *entries)
{
    struct maglev_backend *turns = take_memory(n, sizeof(*turns));

    for (uint32_t i = 0; i < n; i++)
        turns[i] = maglev_backend(backends[i].name, backends[i].weight, HASH_SEED, size);
    if (maglev_build(turns, n, size, entries) != 0)
        give_up("no hash table for %" PRIu32 " backends", n);
    free(turns);
}

void pool_open(struct pool *pool, uint32_t n, bool limited)
{
    uint32_t size = maglev_size(n);
    struct snapshot_header *snapshot = lay_out(n, size);
    char *base = (char *)snapshot;
    struct snapshot_service *service =
        (struct snapshot_service *)(void *)(base + snapshot->services_offset);
    struct snapshot_pool *record = (struct snapshot_pool *)(void *)(base + snapshot->pools_offset);
    struct snapshot_backend *backends =
        (struct snapshot_backend *)(void *)(base + snapshot->backends_offset);

    *service = (struct snapshot_service){.name = "bench", .fallback_pool = SNAPSHOT_NONE};
    *record = (struct snapshot_pool){.name = "bench", .n_backends = n, .n_entries = size};
    fill_backends(backends, n, limited);
    fill_entries(backends, n, size, (uint16_t *)(void *)(base + snapshot->entries_offset));
    if (snapshot_check(snapshot, snapshot->size_bytes) != 0)
        give_up("the snapshot is not what readers take");
    *pool = (struct pool){.snapshot = snapshot, .backends = backends, .n = n, .limited = limited};
}

void pool_close(struct pool *pool)
{
    free(pool->snapshot);
    *pool = (struct pool){0};
}

void pool_enter(struct pool *pool, uint32_t scheduler, uint32_t n_workers)
{
    struct snapshot_pool *record =
        (struct snapshot_pool *)(void *)((char *)pool->snapshot + pool->snapshot->pools_offset);
    uint64_t random = TIME_SEED;

    int err = scoreboard_create(&pool->sb, n_workers, 1, 1);
    if (err != 0)
        give_up("no scoreboard: %s", strerror(-err));
    record->scheduler = scheduler;
    for (uint32_t i = 0; i < pool->n; i++)
        ewma_add(&pool->sb.slot_time[i], 1 + draw_below(&random, TIME_MAX_US), 1);
}

void pool_leave(struct pool *pool)
{
    scoreboard_destroy(&pool->sb);
}
