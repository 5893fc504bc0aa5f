/*
 * Maglev lookup tables: see the header. In master. Pure.
 *
 * Whose turn it is in which round is known beforehand, so rounds are a calendar of lists. Going
 * through all backends in each round instead would cost n times the table's size where one weight
 * dwarfs the others. What takes the time is then looking for free entries: about size * ln(size)
 * looks in all, wherever in the table, so there is a bitmap of it that the cache can hold.
 */
#include "maglev.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define WORD_BITS 64

/* A backend while the table is being filled. */
struct filler {
    uint32_t entry; /* where it looks next */
    uint32_t skip;
    uint32_t next; /* in its round's list */
    /* It takes its k-th turn, k from 0, in round floor(k * largest weight / weight): from one to
     * the next these many rounds, and one more whenever remainders add up to a weight. */
    uint32_t rounds, remainder;
    uint32_t weight, carried;
};

struct filling {
    uint32_t size;
    struct filler *fillers;
    uint32_t *last; /* of each round, as index plus one; 0: nobody. Its next is the round's first */
    uint64_t *taken; /* one bit an entry */
};

uint32_t maglev_size(uint32_t n_backends)
{
    return n_backends > MAGLEV_LARGE_FROM ? MAGLEV_SIZE_LARGE : MAGLEV_SIZE;
}

struct maglev_backend maglev_backend(const char *name, uint32_t weight, uint64_t seed,
                                     uint32_t size)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(name, strlen(name), seed);
    return (struct maglev_backend){
        .offset = (uint32_t)(hash.low64 % size),
        .skip = (uint32_t)(hash.high64 % (size - 1)) + 1,
        .weight = weight,
    };
}

static uint32_t largest_weight(const struct maglev_backend *backends, uint32_t n)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (backends[i].weight > largest)
            largest = backends[i].weight;
    }
    return largest;
}

/* Puts backend i at the end of a round's list. There are as many rounds as entries at most, since
 * the largest takes one in each: what comes later never comes. */
static void enter(struct filling *filling, uint32_t i, uint64_t round)
{
    struct filler *filler = &filling->fillers[i];

    if (round >= filling->size)
        return;
    uint32_t last = filling->last[round];
    if (last == 0) {
        filler->next = i;
    } else {
        filler->next = filling->fillers[last - 1].next;
        filling->fillers[last - 1].next = i;
    }
    filling->last[round] = i + 1;
}

static void enter_all(struct filling *filling, const struct maglev_backend *backends, uint32_t n,
                      uint32_t largest)
{
    for (uint32_t i = 0; i < n; i++) {
        if (backends[i].weight == 0)
            continue;
        filling->fillers[i] = (struct filler){
            .entry = backends[i].offset,
            .skip = backends[i].skip,
            .rounds = largest / backends[i].weight,
            .remainder = largest % backends[i].weight,
            .weight = backends[i].weight,
        };
        enter(filling, i, 0);
    }
}

/* The backend's next free entry, which is taken then. There must be one. */
static uint32_t take(const struct filling *filling, struct filler *filler)
{
    uint32_t size = filling->size, skip = filler->skip, entry = filler->entry;

    while ((filling->taken[entry / WORD_BITS] >> entry % WORD_BITS & 1) != 0)
        entry = entry >= size - skip ? entry - (size - skip) : entry + skip;
    filling->taken[entry / WORD_BITS] |= UINT64_C(1) << entry % WORD_BITS;
    filler->entry = entry;
    return entry;
}

static uint64_t next_round(struct filler *filler, uint64_t round)
{
    uint64_t carried = (uint64_t)filler->carried + filler->remainder;
    bool another = carried >= filler->weight;

    filler->carried = (uint32_t)(another ? carried - filler->weight : carried);
    return round + filler->rounds + another;
}

static void fill(struct filling *filling, uint16_t *entries)
{
    uint32_t left = filling->size;

    for (uint32_t round = 0; left > 0; round++) {
        uint32_t last = filling->last[round] - 1; /* never 0: the largest is in each */
        uint32_t i, next = filling->fillers[last].next;
        do {
            i = next;
            next = filling->fillers[i].next; /* entering it in another round changes that */
            entries[take(filling, &filling->fillers[i])] = (uint16_t)i;
            left--;
            enter(filling, i, next_round(&filling->fillers[i], round));
        } while (i != last && left > 0);
    }
}

int maglev_build(const struct maglev_backend *backends, uint32_t n, uint32_t size,
                 uint16_t *entries)
{
    uint32_t largest = largest_weight(backends, n);
    if (largest == 0)
        return -EINVAL;

    struct filling filling = {
        .size = size,
        .fillers = calloc(n, sizeof(*filling.fillers)),
        .last = calloc(size, sizeof(*filling.last)),
        .taken = calloc(size / WORD_BITS + 1, sizeof(*filling.taken)),
    };
    int err = -ENOMEM;
    if (filling.fillers != NULL && filling.last != NULL && filling.taken != NULL) {
        enter_all(&filling, backends, n, largest);
        fill(&filling, entries);
        err = 0;
    }
    free(filling.fillers);
    free(filling.last);
    free(filling.taken);
    return err;
}
