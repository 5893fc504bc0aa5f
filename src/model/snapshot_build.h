/*
 * From model to snapshot: the bytes that go into the sealed memfd. Hash tables may be many
 * megabytes of them, so they are put there one by one and never stand together anywhere else. Pure.
 * In master.
 */
#ifndef SLUICE_MODEL_SNAPSHOT_BUILD_H
#define SLUICE_MODEL_SNAPSHOT_BUILD_H

#include "model/model.h"

/*
 * Lays out the snapshot of a model whose places are planned, up to its hash tables, which stand
 * last: header.entries_offset bytes. hash_seed is what hashes of clients are keyed by where the
 * model gives none. The result is malloc'ed, the caller's, and with its tables and zeros up to
 * header.size_bytes passes snapshot_check(). NULL without memory or beyond a bound.
 */
void *snapshot_build(const struct model *model, uint32_t generation, uint64_t hash_seed,
                     size_t *out_bytes);

/* Takes bytes that follow those of the call before. Returns 0, or what ends it all. */
typedef int snapshot_put_fn(void *arg, const void *bytes, size_t n);
/*
 * Puts the hash tables of a snapshot that was built from model. Those that previous (may be NULL)
 * has a table from the same inputs for are put from there, others are made. Returns 0, -ENOMEM or
 * what put() did.
 */
int snapshot_put_tables(const struct model *model, const struct snapshot_header *built,
                        const struct snapshot_header *previous, snapshot_put_fn *put, void *arg);

#endif
