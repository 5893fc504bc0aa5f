/*
 * Maglev lookup tables (Eisenbud et al., NSDI 2016, section 3.4): each backend fills entries in the
 * order of its own permutation, taking turns in proportion to its weight, so that shares differ by
 * at most one entry and few entries move when a backend comes or goes. Made in master, looked up in
 * workers (hash.c). Pure.
 */
#ifndef SLUICE_SCHED_MAGLEV_H
#define SLUICE_SCHED_MAGLEV_H

#include <stdint.h>

#define MAGLEV_SIZE       65537  /* entries; both are primes */
#define MAGLEV_SIZE_LARGE 655373 /* for pools of over MAGLEV_LARGE_FROM backends */
#define MAGLEV_LARGE_FROM 600

/* A backend as the table sees it. Permutation: entry j is (offset + j * skip) mod size, with
 * 0 <= offset < size and 1 <= skip < size. */
struct maglev_backend {
    uint32_t offset, skip;
    uint32_t weight; /* 0: gets no entry */
};

uint32_t maglev_size(uint32_t n_backends);
/* offset and skip from the backend's name, keyed by seed: nobody can aim at a backend without it,
 * and balancers with the same seed agree. */
struct maglev_backend maglev_backend(const char *name, uint32_t weight, uint64_t seed,
                                     uint32_t size);
/*
 * Fills size entries, a prime number of them, with indices below n (at most 65536). Weights by
 * cumulative turns: in each round a backend's credit grows by weight / largest weight, and it takes
 * a turn for each whole one. Credit begins just short of a whole one: so everyone's first turn is
 * in the first round, and whoever has a weight has an entry while there are enough. Who share a
 * round go by who has waited longer, at first by index. Returns 0, -EINVAL when no backend has a
 * weight, -ENOMEM; entries are as they were then.
 */
int maglev_build(const struct maglev_backend *backends, uint32_t n, uint32_t size,
                 uint16_t *entries);

#endif
