/*
 * Numbers of pairs, by their hash in a table that is made anew for each snapshot: two pairs of one
 * hash in 2^64 would share a count. In master.
 */
#include "pairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define CELLS (4 * SB_PAIRS_MAX) /* a power of two; never more than half full */

struct pairs {
    struct scoreboard *sb;
    uint64_t *hash_of; /* [SB_PAIRS_MAX] of the pair with that number; 0: free */
    uint32_t end;      /* no higher number was ever given out */
};

/* Numbers by hash, for the time of one numbering. */
struct index {
    uint32_t *cells; /* 0: empty */
    uint64_t mask;
};

struct pairs *pairs_create(struct scoreboard *sb)
{
    struct pairs *pairs = calloc(1, sizeof(*pairs));

    if (pairs == NULL) {
        return NULL;
    }
    pairs->sb = sb;
    pairs->end = 1;
    pairs->hash_of = calloc(SB_PAIRS_MAX, sizeof(*pairs->hash_of));
    if (pairs->hash_of == NULL) {
        free(pairs);
        return NULL;
    }
    return pairs;
}

void pairs_destroy(struct pairs *pairs)
{
    if (pairs != NULL) {
        free(pairs->hash_of);
    }
    free(pairs);
}

static uint64_t hash_pair(const struct addr_ip *from, const struct addr_ip *to)
{
    uint64_t hash = XXH3_64bits_withSeed(from, sizeof(*from), XXH3_64bits(to, sizeof(*to)));

    return hash != 0 ? hash : 1;
}

/* The cell of that hash, or the empty one where it would go. */
static uint32_t *find_cell(const struct pairs *pairs, const struct index *index, uint64_t hash)
{
    uint64_t at = hash & index->mask;

    while (index->cells[at] != 0 && pairs->hash_of[index->cells[at]] != hash) {
        at = (at + 1) & index->mask;
    }
    return &index->cells[at];
}

static bool is_used(const struct pairs *pairs, uint32_t number)
{
    return atomic_load_explicit(&pairs->sb->pairs[number].used, memory_order_acquire) != 0;
}

/* Calls each source of each backend with the pair's hash. */
typedef void each_fn(struct snapshot_source *source, uint64_t hash, void *arg);

static void each_source(struct snapshot_header *snapshot, each_fn *each, void *arg)
{
    const struct snapshot_backend *backends = snapshot_backends(snapshot);
    struct snapshot_source *sources = (void *)((char *)snapshot + snapshot->sources_offset);

    for (uint32_t i = 0; i < snapshot->n_backends; i++) {
        for (uint32_t j = 0; j < backends[i].n_sources; j++) {
            struct snapshot_source *source = &sources[backends[i].first_source + j];

            each(source, hash_pair(&source->ip, &backends[i].address.ip), arg);
        }
    }
}

struct numbering {
    struct pairs *pairs;
    struct index index;
    bool *is_wanted; /* by number */
    uint32_t next;   /* where to look for a free one */
};

/* Those that are known keep their number. */
static void keep(struct snapshot_source *source, uint64_t hash, void *arg)
{
    struct numbering *numbering = arg;

    source->pair = *find_cell(numbering->pairs, &numbering->index, hash);
    numbering->is_wanted[source->pair] = true;
}

static uint32_t take_free(struct numbering *numbering)
{
    struct pairs *pairs = numbering->pairs;

    while (numbering->next < SB_PAIRS_MAX && pairs->hash_of[numbering->next] != 0) {
        numbering->next++;
    }
    return numbering->next < SB_PAIRS_MAX ? numbering->next : 0;
}

static void clear_record(struct sb_pair *record)
{
    atomic_store_explicit(&record->failures, 0, memory_order_relaxed);
    atomic_store_explicit(&record->shut_until_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&record->trouble, SB_PAIR_FINE, memory_order_relaxed);
    atomic_store_explicit(&record->in_a_row, 0, memory_order_relaxed);
}

static void number_new(struct snapshot_source *source, uint64_t hash, void *arg)
{
    struct numbering *numbering = arg;
    struct pairs *pairs = numbering->pairs;
    uint32_t *cell = find_cell(pairs, &numbering->index, hash);

    if (*cell == 0) {
        uint32_t number = take_free(numbering);

        if (number == 0) {
            return;
        }
        pairs->hash_of[number] = hash;
        clear_record(&pairs->sb->pairs[number]);
        pairs->end = number >= pairs->end ? number + 1 : pairs->end;
        *cell = number;
    }
    source->pair = *cell;
}

static void fill_index(struct numbering *numbering)
{
    const struct pairs *pairs = numbering->pairs;

    memset(numbering->index.cells, 0, (numbering->index.mask + 1) * sizeof(uint32_t));
    for (uint32_t number = 1; number < pairs->end; number++) {
        if (pairs->hash_of[number] != 0) {
            *find_cell(pairs, &numbering->index, pairs->hash_of[number]) = number;
        }
    }
}

static void free_unused(struct numbering *numbering)
{
    struct pairs *pairs = numbering->pairs;

    for (uint32_t number = 1; number < pairs->end; number++) {
        if (!numbering->is_wanted[number] && !is_used(pairs, number)) {
            pairs->hash_of[number] = 0;
        }
    }
}

/* Twice as many cells as there can be numbers in them. */
static uint64_t count_cells(const struct pairs *pairs, const struct snapshot_header *snapshot)
{
    uint64_t cells = 64;

    while (cells < 2 * ((uint64_t)pairs->end + snapshot->n_sources) && cells < CELLS) {
        cells *= 2;
    }
    return cells;
}

int pairs_number(struct pairs *pairs, struct snapshot_header *snapshot)
{
    uint64_t n_cells = count_cells(pairs, snapshot);
    struct numbering numbering = {
        .pairs = pairs,
        .index = {.cells = malloc(n_cells * sizeof(uint32_t)), .mask = n_cells - 1},
        .is_wanted = calloc(pairs->end, sizeof(bool)),
        .next = 1,
    };
    int rc = numbering.index.cells == NULL || numbering.is_wanted == NULL ? -ENOMEM : 0;

    if (rc == 0) {
        fill_index(&numbering);
        each_source(snapshot, keep, &numbering);
        free_unused(&numbering);
        fill_index(&numbering);
        each_source(snapshot, number_new, &numbering);
        atomic_store_explicit(&pairs->sb->header->pairs_end, pairs->end, memory_order_release);
    }
    free(numbering.index.cells);
    free(numbering.is_wanted);
    return rc;
}
