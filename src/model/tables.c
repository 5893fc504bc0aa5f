/*
 * Hash tables from configured names and weights. Making one takes milliseconds, so what an edit
 * does not touch is taken over. In master.
 */
#include "tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "sched/maglev.h"
#include "sched/sched.h"

uint32_t table_size(const struct model_pool *pool)
{
    uint32_t scheduler = sched_find(pool->scheduler);

    if (scheduler == SCHED_NONE || !sched_table[scheduler]->has_table) {
        return 0;
    }
    for (size_t i = 0; i < pool->n_backends; i++) {
        if (pool->backends[i].weight > 0) {
            return maglev_size((uint32_t)pool->n_backends);
        }
    }
    return 0;
}

uint64_t table_inputs(const struct model_pool *pool, uint32_t size, uint64_t seed)
{
    uint64_t sum = XXH3_64bits_withSeed(&size, sizeof(size), seed);

    for (size_t i = 0; i < pool->n_backends; i++) {
        struct {
            char name[NAME_BYTES_MAX];
            uint32_t weight;
        } input = {.weight = pool->backends[i].weight};

        (void)strlcpy(input.name, pool->backends[i].name, sizeof(input.name));
        sum = XXH3_64bits_withSeed(&input, sizeof(input), sum);
    }
    return sum;
}

/* A backend in the order of names. */
struct named {
    const char *name;
    uint16_t index; /* in the file's order */
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

/* Who fills first matters a little, so it goes by name: files that list the same backends in
 * another order, on this balancer or the next, make the same choices. */
static void sort_names(const struct model_pool *pool, struct named *sorted)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        sorted[i] = (struct named){.name = pool->backends[i].name, .index = (uint16_t)i};
    }
    qsort(sorted, pool->n_backends, sizeof(*sorted), compare_names);
}

int table_build(const struct model_pool *pool, uint32_t size, uint64_t seed, uint16_t *entries)
{
    struct maglev_backend *backends = calloc(pool->n_backends, sizeof(*backends));
    struct named *sorted = calloc(pool->n_backends, sizeof(*sorted));
    int rc = -ENOMEM;

    if (backends != NULL && sorted != NULL) {
        sort_names(pool, sorted);
        for (size_t i = 0; i < pool->n_backends; i++) {
            const struct model_backend *from = &pool->backends[sorted[i].index];

            backends[i] = maglev_backend(from->name, from->weight, seed, size);
        }
        rc = maglev_build(backends, (uint32_t)pool->n_backends, size, entries);
    }
    for (uint32_t e = 0; rc == 0 && e < size; e++) {
        entries[e] = sorted[entries[e]].index;
    }
    free(backends);
    free(sorted);
    return rc;
}

bool table_is_same(const struct snapshot_pool *a, const struct snapshot_pool *b)
{
    return a->table_inputs == b->table_inputs && a->n_entries == b->n_entries &&
           a->n_backends == b->n_backends;
}

const uint16_t *table_find(const struct snapshot_header *previous, const struct snapshot_pool *pool)
{
    const struct snapshot_pool *pools = previous != NULL ? snapshot_pools(previous) : NULL;

    for (uint32_t i = 0; pools != NULL && i < previous->n_pools; i++) {
        if (table_is_same(&pools[i], pool)) {
            return snapshot_entries(previous) + pools[i].first_entry;
        }
    }
    return NULL;
}
