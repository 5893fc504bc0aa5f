/*
 * Maglev lookup tables: see the header. In master. Pure.
 *
 * Whose turn it is in which round is known beforehand, so rounds are a calendar of lists. Going
 * through all backends in each round instead would cost n times the table's size where one weight
 * dwarfs the others.
 *
 * What takes the time is then looking for free entries, about size * ln(size) looks in all, and
 * half of them for the last few hundred entries. Most looks are at a bitmap that the cache can
 * hold, some at once, since whether one finds anything is what a processor cannot foresee. The last
 * entries are a list instead, of which a backend takes the one that its permutation comes to first.
 */
#include "maglev.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define WORD_BITS 64
#define LOOKS     4   /* at once */
#define LAST_MAX  256 /* entries that are left when they become a list */

/* A backend while the table is being filled. */
struct filler {
    uint32_t entry; /* where it looks next */
    uint32_t offset, skip;
    uint32_t steps[LOOKS + 1]; /* how far on its next looks are: multiples of skip, from 0 */
    uint32_t next;             /* in its round's list */
    uint64_t pace;             /* place_of(); 0: not known yet */
    /* It takes its k-th turn, k from 0, in round floor(k * largest weight / weight): from one to
     * the next these many rounds, and one more whenever remainders add up to a weight. */
    uint32_t rounds, remainder;
    uint32_t weight, carried;
};

struct filling {
    uint32_t size, left;
    struct filler *fillers;
    uint32_t *last; /* of each round, as index plus one; 0: nobody. Its next is the round's first */
    uint64_t *taken; /* one bit an entry */
    uint32_t n_last; /* the same as left, once there is the list */
    uint32_t last_entries[LAST_MAX];
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

static struct filler make_filler(const struct maglev_backend *backend, uint32_t size,
                                 uint32_t largest)
{
    struct filler filler = {
        .entry = backend->offset,
        .offset = backend->offset,
        .skip = backend->skip,
        .rounds = largest / backend->weight,
        .remainder = largest % backend->weight,
        .weight = backend->weight,
    };

    for (uint32_t k = 1; k <= LOOKS; k++)
        filler.steps[k] = (uint32_t)((uint64_t)k * backend->skip % size);
    return filler;
}

static void enter_all(struct filling *filling, const struct maglev_backend *backends, uint32_t n,
                      uint32_t largest)
{
    for (uint32_t i = 0; i < n; i++) {
        if (backends[i].weight == 0)
            continue;
        filling->fillers[i] = make_filler(&backends[i], filling->size, largest);
        enter(filling, i, 0);
    }
}

/* --- the backend's next free entry --- */

/* Computes both, so that there need not be a branch: which it is cannot be foreseen either. */
static inline uint32_t step_on(uint32_t entry, uint32_t step, uint32_t size)
{
    uint32_t there = entry + step, wrapped = there - size;
    return there < size ? there : wrapped;
}

/* Whether the entry of the filler's look k from entry on is taken, as bit k. */
static inline uint32_t look(const struct filling *filling, const struct filler *filler,
                            uint32_t entry, uint32_t k)
{
    uint32_t there = step_on(entry, filler->steps[k], filling->size);
    return (uint32_t)(filling->taken[there / WORD_BITS] >> there % WORD_BITS & 1) << k;
}

static inline uint32_t find_free(const struct filling *filling, struct filler *filler)
{
    uint32_t entry = filler->entry, seen;

    for (;;) {
        _Static_assert(LOOKS == 4, "as many as here");
        seen = look(filling, filler, entry, 0) | look(filling, filler, entry, 1) |
               look(filling, filler, entry, 2) | look(filling, filler, entry, 3);
        if (seen != (1 << LOOKS) - 1)
            break;
        entry = step_on(entry, filler->steps[LOOKS], filling->size);
    }
    const uint32_t *step = &filler->steps[__builtin_ctz(~seen)];
    filler->entry = step_on(entry, step[1], filling->size);
    entry = step_on(entry, step[0], filling->size);
    filling->taken[entry / WORD_BITS] |= UINT64_C(1) << entry % WORD_BITS;
    return entry;
}

static void list_last(struct filling *filling)
{
    for (uint32_t word = 0; word <= filling->size / WORD_BITS; word++) {
        for (uint64_t left = ~filling->taken[word]; left != 0; left &= left - 1) {
            uint32_t entry = word * WORD_BITS + (uint32_t)__builtin_ctzll(left);
            if (entry < filling->size)
                filling->last_entries[filling->n_last++] = entry;
        }
    }
}

/* x to the power of size - 2: its inverse modulo a prime size (Fermat). */
static uint64_t inverse(uint64_t x, uint64_t size)
{
    uint64_t result = 1;

    for (uint64_t power = size - 2; power > 0; power /= 2) {
        if (power % 2 != 0)
            result = result * x % size;
        x = x * x % size;
    }
    return result;
}

/*
 * Entry e is number (e - offset) / skip mod size of the backend's permutation. pace is 2^64 times
 * 1 / skip over size, rounded up, so (e - offset) * pace mod 2^64 is 2^64 * number / size, give or
 * take size at most (Lemire, Kaser and Kurz, Faster remainder by direct computation, 2019): as good
 * for comparing, without a division, and with room for another number in the lowest bits. Number 0
 * is exact, so nothing wraps.
 */
static uint64_t find_pace(const struct filler *filler, uint32_t size)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)inverse(filler->skip, size) << 64) / size) + 1;
}

static inline uint64_t place_of(const struct filler *filler, uint32_t entry)
{
    return filler->pace * ((uint64_t)entry - filler->offset);
}

/* What it has passed by is taken, so the first of those left is the next. */
static uint32_t find_last(struct filling *filling, struct filler *filler)
{
    uint64_t first = UINT64_MAX;

    if (filler->pace == 0)
        filler->pace = find_pace(filler, filling->size);
    for (uint32_t k = 0; k < filling->n_last; k++) {
        uint64_t place = place_of(filler, filling->last_entries[k]);
        place = (place & ~(uint64_t)(LAST_MAX - 1)) | k;
        first = place < first ? place : first;
    }
    uint32_t k = first & (LAST_MAX - 1), entry = filling->last_entries[k];
    filling->last_entries[k] = filling->last_entries[--filling->n_last];
    return entry;
}

/* Takes it. There must be one. */
static uint32_t take(struct filling *filling, struct filler *filler)
{
    if (filling->left-- > LAST_MAX)
        return find_free(filling, filler);
    if (filling->n_last == 0)
        list_last(filling);
    return find_last(filling, filler);
}

/* --- rounds --- */

static uint64_t next_round(struct filler *filler, uint64_t round)
{
    uint64_t carried = (uint64_t)filler->carried + filler->remainder;
    bool another = carried >= filler->weight;

    filler->carried = (uint32_t)(another ? carried - filler->weight : carried);
    return round + filler->rounds + another;
}

static void fill(struct filling *filling, uint16_t *entries)
{
    for (uint32_t round = 0; filling->left > 0; round++) {
        uint32_t last = filling->last[round] - 1; /* never 0: the largest is in each */
        uint32_t i, next = filling->fillers[last].next;
        do {
            i = next;
            next = filling->fillers[i].next; /* entering it in another round changes that */
            entries[take(filling, &filling->fillers[i])] = (uint16_t)i;
            enter(filling, i, next_round(&filling->fillers[i], round));
        } while (i != last && filling->left > 0);
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
        .left = size,
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
