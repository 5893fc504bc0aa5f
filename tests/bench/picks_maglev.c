/*
 * Maglev tables: how long one takes to make, how evenly it shares, and how many entries move that
 * need not when backends leave. The two latter depend on names and seed alone, so that rounds
 * differ by their seed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picks.h"
#include "sched/maglev.h"

#define SIZE_LVS 4093 /* what Linux's mh uses unless told otherwise (ip_vs_mh.c) */

struct table {
    struct maglev_backend *backends;
    uint32_t n, size;
    uint16_t *entries;
};

static void table_open(struct table *table, uint32_t n, uint32_t size, bool mixed, uint64_t seed)
{
    *table = (struct table){
        .backends = take_memory(n, sizeof(*table->backends)),
        .n = n,
        .size = size,
        .entries = take_memory(size, sizeof(*table->entries)),
    };
    for (uint32_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof(name), "b%" PRIu32, i);
        table->backends[i] = maglev_backend(name, mixed ? pool_weight(i) : 1, seed, size);
    }
}

static void table_build(struct table *table)
{
    if (maglev_build(table->backends, table->n, table->size, table->entries) != 0)
        give_up("no table of %" PRIu32 " entries for %" PRIu32, table->size, table->n);
}

static void table_close(struct table *table)
{
    free(table->backends);
    free(table->entries);
}

/* Counted in ms; until options.ms are spent, but at least once. */
static void measure_build(uint32_t n, bool mixed, const struct options *options)
{
    char contender[64];
    struct table table;
    struct sample sample = {
        .row = "maglev-build", .contender = contender, .metric = mixed ? "mixed" : "equal"};
    int64_t spent_ns;

    snprintf(contender, sizeof(contender), "%" PRIu32 " of %" PRIu32, n, maglev_size(n));
    table_open(&table, n, maglev_size(n), mixed, options->round);
    table_build(&table); /* warm */
    int64_t began_ns = cpu_now_ns();
    do {
        table_build(&table);
        sample.operations++;
        spent_ns = cpu_now_ns() - began_ns;
    } while (spent_ns < options->ms * NS_PER_MS);
    table_close(&table);
    sample.seconds = (double)spent_ns / 1e9;
    sample.value = (double)spent_ns / 1e6 / (double)sample.operations;
    sample_print(&sample);
}

/* Coefficient of variation of entries per weight. */
static double spread_of(const struct table *table)
{
    uint32_t *counts = take_memory(table->n, sizeof(*counts));
    double sum = 0, squares = 0;

    for (uint32_t e = 0; e < table->size; e++)
        counts[table->entries[e]]++;
    for (uint32_t i = 0; i < table->n; i++) {
        double share = (double)counts[i] / table->backends[i].weight;
        sum += share;
        squares += share * share;
    }
    free(counts);
    double mean = sum / table->n;
    return sqrt(fmax(0, squares / table->n - mean * mean)) / mean;
}

static void measure_spread(uint32_t n, uint32_t size, bool mixed, const struct options *options)
{
    char contender[64];
    struct table table;

    snprintf(contender, sizeof(contender), "%" PRIu32 " of %" PRIu32, n, size);
    table_open(&table, n, size, mixed, options->round);
    table_build(&table);
    sample_print(&(struct sample){.row = "maglev-spread",
                                  .contender = contender,
                                  .metric = mixed ? "mixed" : "equal",
                                  .value = spread_of(&table),
                                  .operations = 1});
    table_close(&table);
}

/* As many different ones, drawn at random. */
static void dismiss(struct table *table, uint32_t leaving, uint64_t seed)
{
    uint64_t random = mix(seed);

    while (leaving > 0) {
        struct maglev_backend *backend = &table->backends[draw_below(&random, table->n)];
        leaving -= backend->weight != 0;
        backend->weight = 0;
    }
}

/* The share of all entries that went from one that stayed to another. */
static void measure_disruption(uint32_t leaving, uint32_t n, uint32_t size,
                               const struct options *options)
{
    uint16_t *before = take_memory(size, sizeof(*before));
    uint32_t moved = 0;
    char contender[64];
    struct table table;

    snprintf(contender, sizeof(contender), "%" PRIu32 " of %" PRIu32 " leave %" PRIu32, leaving, n,
             size);
    table_open(&table, n, size, false, options->round);
    table_build(&table);
    memcpy(before, table.entries, size * sizeof(*before));
    dismiss(&table, leaving, options->round);
    table_build(&table);
    for (uint32_t e = 0; e < size; e++)
        moved += table.entries[e] != before[e] && table.backends[before[e]].weight != 0;
    table_close(&table);
    free(before);
    sample_print(&(struct sample){.row = "maglev-disruption",
                                  .contender = contender,
                                  .metric = "moved",
                                  .value = (double)moved / size,
                                  .operations = 1});
}

void measure_maglev(const struct options *options)
{
    static const uint32_t built[] = {10, 100, 600, 1000, 4000};
    static const struct {
        uint32_t leaving, n;
    } departures[] = {{1, 100}, {10, 1000}, {100, 1000}};
    static const uint32_t shared[] = {100, 1000};
    static const uint32_t sizes[] = {MAGLEV_SIZE, MAGLEV_SIZE_LARGE, SIZE_LVS};

    for (size_t i = 0; i < 2 * sizeof(built) / sizeof(built[0]); i++)
        measure_build(built[i / 2], i % 2 != 0, options);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (size_t i = 0; i < 2 * sizeof(shared) / sizeof(shared[0]); i++)
            measure_spread(shared[i / 2], sizes[s], i % 2 != 0, options);
        for (size_t i = 0; i < sizeof(departures) / sizeof(departures[0]); i++)
            measure_disruption(departures[i].leaving, departures[i].n, sizes[s], options);
    }
}
