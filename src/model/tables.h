/*
 * The hash tables of a snapshot's pools: which pools have one, what each follows from, and filling
 * it, by a copy from the generation before where nothing has changed. In master. Private to model.
 */
#ifndef SLUICE_MODEL_TABLES_H
#define SLUICE_MODEL_TABLES_H

#include "model/model.h"

/* Entries of the pool's table; 0 for a pool whose scheduler needs none, or no backend of which has
 * a weight. */
uint32_t table_size(const struct model_pool *pool);
/* Hash of all that a table of that size follows from: size, seed, names and weights in order. */
uint64_t table_inputs(const struct model_pool *pool, uint32_t size, uint64_t seed);
/* Fills size entries, which is not 0. Returns 0 or -ENOMEM. */
int table_build(const struct model_pool *pool, uint32_t size, uint64_t seed, uint16_t *entries);
/* Whether the tables of two pools that have one follow from the same. */
bool table_is_same(const struct snapshot_pool *a, const struct snapshot_pool *b);
/* The table in previous (may be NULL) that was made from the same as the pool's; NULL when there is
 * none. */
const uint16_t *table_find(const struct snapshot_header *previous,
                           const struct snapshot_pool *pool);

#endif
