/* From model to snapshot: the bytes that go into the sealed memfd. Pure. In master. */
#ifndef SLUICE_MODEL_SNAPSHOT_BUILD_H
#define SLUICE_MODEL_SNAPSHOT_BUILD_H

#include "model/model.h"

/*
 * Lays out the snapshot of a model whose places are planned. hash_seed is what hashes of clients
 * are keyed by where the model gives none. Hash tables whose inputs are those of a pool of that
 * name in previous (may be NULL) are copied from there. The result is malloc'ed, the caller's, and
 * passes snapshot_check(). NULL without memory or beyond a bound.
 */
void *snapshot_build(const struct model *model, uint32_t generation, uint64_t hash_seed,
                     const struct snapshot_header *previous, size_t *out_bytes);

#endif
