/*
 * Schedulers by hash: sh and mh (by client), dh (by destination) and maglev_bounded (by client,
 * with a bound on load). In workers; pure.
 *
 * A key's way through the pool's Maglev table: entry key mod size, and where its backend may not be
 * chosen, on by a step that the key alone decides. So the clients of a backend that is down spread
 * over all others, nobody else moves, and all come back with it. What moves by itself never makes a
 * new table: a backend in slow start takes only those keys whose hash with it lies under its
 * factor, and the others go on.
 *
 * Keys that found nobody in PROBES_MAX entries go by weighted rendezvous (the logarithmic method of
 * Schindelhauer and Schomaker, SPAA 2005) among all that may be chosen: linear, but just as
 * faithful. With a tenth of the table usable that is one key in 850.
 */
#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "sched.h"

#define PROBES_MAX 64
#define FACTOR_ONE 1000

struct hash {
    /* maglev_bounded: the sum of all loads, as kept since summed_us for picks_left more picks. */
    uint64_t total, summed_us;
    uint32_t picks_left, pad;
    uint64_t ids[]; /* of backends: keyed hashes of their names, which outlast reloads */
};

static size_t hash_state_bytes(uint32_t n)
{
    return sizeof(struct hash) + n * sizeof(uint64_t);
}

static void hash_init(void *state, const struct sched_view *view, uint32_t seed)
{
    struct hash *hash = state;

    (void)seed; /* all workers must agree */
    for (uint32_t i = 0; i < view->n; i++) {
        const char *name = view->backends[i].name;
        hash->ids[i] = XXH3_64bits_withSeed(name, strlen(name), view->seed);
    }
}

/* A backend is over its bound when weight * per_weight <= active * per_active. */
struct bound {
    uint64_t per_weight, per_active;
};

struct search {
    const struct sched_view *view;
    const struct sched_request *request;
    const uint64_t *ids;
    uint64_t key;
    bool by_factor;
    const struct bound *bound;    /* NULL: none */
    bool over_factor, over_bound; /* a usable one was passed over for that */
};

static inline uint64_t hash_with(const struct search *search, uint32_t i)
{
    return sched_mix(search->key ^ search->ids[i]);
}

/* 72 bits: products of sums over 8192 backends. */
static bool is_over(const struct search *search, uint32_t i)
{
    __extension__ typedef unsigned __int128 wide;
    return (wide)search->bound->per_weight * search->view->weight[i] <=
           (wide)search->bound->per_active * sched_active(search->view, i);
}

static inline bool may_choose(struct search *search, uint32_t i)
{
    uint32_t factor = search->view->factor[i];

    if (!sched_usable(search->view, search->request, i))
        return false;
    if (search->by_factor && factor < FACTOR_ONE && hash_with(search, i) % FACTOR_ONE >= factor) {
        search->over_factor = true;
        return false;
    }
    if (search->bound != NULL && is_over(search, i)) {
        search->over_bound = true;
        return false;
    }
    return true;
}

/* Workers do not go through tables before they use them (sluice/snapshot.h): an entry that is no
 * backend is passed over as one that may not be chosen. */
static inline bool may_take(struct search *search, uint32_t entry)
{
    return entry < search->view->n && may_choose(search, entry);
}

static uint32_t probe_table(struct search *search)
{
    const uint16_t *entries = search->view->entries;
    uint64_t size = search->view->n_entries;

    if (entries == NULL || size < 2)
        return SCHED_NONE;
    uint64_t at = search->key % size;
    if (may_take(search, entries[at]))
        return entries[at];
    uint64_t step = 1 + (sched_mix(search->key) >> 32) % (size - 1);
    for (int probe = 1; probe < PROBES_MAX; probe++) {
        at += step;
        if (at >= size)
            at -= size;
        if (may_take(search, entries[at]))
            return entries[at];
    }
    return SCHED_NONE;
}

/* By configured weights: the factor has its say in may_choose(). */
static double score_of(const struct search *search, uint32_t i)
{
    const struct sched_view *view = search->view;
    double uniform = ((double)(hash_with(search, i) >> 11) + 0.5) * 0x1p-53;
    return log(uniform) * view->factor[i] / view->weight[i];
}

static uint32_t scan_all(struct search *search)
{
    const struct sched_view *view = search->view;
    uint32_t best = SCHED_NONE;
    double best_score = 0;

    for (uint32_t e = 0; e < view->n_eligible; e++) {
        uint32_t i = view->eligible[e];
        if (!may_choose(search, i))
            continue;
        double score = score_of(search, i);
        if (best == SCHED_NONE || score > best_score) {
            best = i;
            best_score = score;
        }
    }
    return best;
}

static uint32_t search_all(struct search *search)
{
    search->over_factor = search->over_bound = false;
    uint32_t i = probe_table(search);
    return i != SCHED_NONE ? i : scan_all(search);
}

static uint32_t pick_by(const struct hash *hash, const struct sched_view *view,
                        const struct sched_request *request, uint64_t key)
{
    struct search search = {
        .view = view, .request = request, .ids = hash->ids, .key = key, .by_factor = true};

    uint32_t i = search_all(&search);
    if (i == SCHED_NONE && search.over_factor) {
        search.by_factor = false;
        i = search_all(&search);
    }
    return i;
}

static uint32_t client_pick(void *state, const struct sched_view *view,
                            const struct sched_request *request)
{
    return pick_by(state, view, request, request->key);
}

static uint32_t destination_pick(void *state, const struct sched_view *view,
                                 const struct sched_request *request)
{
    return pick_by(state, view, request, request->destination);
}

/* Alike but for the key, which is whoever asks's business: it never hashes sh's with the port. */
const struct sched_ops sched_sh = {
    .name = "sh",
    .help = "by a hash of the client's address, whatever hash_key says",
    .kind = SCHED_BY_HASH,
    .has_table = true,
    .state_bytes = hash_state_bytes,
    .init = hash_init,
    .pick = client_pick,
};

static const char *const mh_aliases[] = {"maglev", NULL};

const struct sched_ops sched_mh = {
    .name = "mh",
    .aliases = mh_aliases,
    .help = "by a hash of the client, as hash_key says",
    .kind = SCHED_BY_HASH,
    .has_table = true,
    .state_bytes = hash_state_bytes,
    .init = hash_init,
    .pick = client_pick,
};

const struct sched_ops sched_dh = {
    .name = "dh",
    .help = "by a hash of the address that the client connected to",
    .kind = SCHED_BY_HASH,
    .by_destination = true,
    .has_table = true,
    .state_bytes = hash_state_bytes,
    .init = hash_init,
    .pick = destination_pick,
};

/*
 * maglev_bounded
 *
 * Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018), c = 1.25:
 * a backend is passed over while A + 1 > ceil(c * (total + 1) * w / sum of w), which is the same as
 * A >= c * (total + 1) * w / sum of w. All bounds together are more than total + 1, so somebody
 * is always under his; when only such are that this session may not have, the bound is taken among
 * those that it may.
 *
 * Up to SUM_EXACT_MAX backends total is summed at each pick. Above, a sum serves for an eighth as
 * many picks as there are backends, and SUM_AGE_MAX_US at most: eight loads looked at per pick.
 * What that costs: own picks are counted in, but sessions that end and other workers' picks are not
 * seen until the next sum. So until then bounds are too wide by what has ended, and too narrow by
 * what others have begun; were all of them too narrow, what is said above would sum anew.
 */
#define BOUND_NUMERATOR   5
#define BOUND_DENOMINATOR 4
#define SUM_EXACT_MAX     32
#define SUM_AGE_MAX_US    100000

static uint64_t sum_active(const struct sched_view *view)
{
    uint64_t sum = 0;
    for (uint32_t e = 0; e < view->n_eligible; e++)
        sum += sched_active(view, view->eligible[e]);
    return sum;
}

static uint64_t total_now(struct hash *hash, const struct sched_view *view,
                          const struct sched_request *request)
{
    if (view->n_eligible <= SUM_EXACT_MAX)
        return sum_active(view);
    if (hash->picks_left == 0 || request->now_us - hash->summed_us >= SUM_AGE_MAX_US) {
        hash->total = sum_active(view);
        hash->summed_us = request->now_us;
        hash->picks_left = view->n_eligible / 8;
    }
    hash->picks_left--;
    return hash->total;
}

static struct bound make_bound(uint64_t total, uint64_t weight_sum)
{
    return (struct bound){.per_weight = BOUND_NUMERATOR * (total + 1),
                          .per_active = BOUND_DENOMINATOR * weight_sum};
}

static struct bound bound_of_usable(const struct sched_view *view,
                                    const struct sched_request *request)
{
    uint64_t total = 0, weight_sum = 0;

    for (uint32_t e = 0; e < view->n_eligible; e++) {
        uint32_t i = view->eligible[e];
        if (!sched_usable(view, request, i))
            continue;
        total += sched_active(view, i);
        weight_sum += view->weight[i];
    }
    return make_bound(total, weight_sum);
}

static uint32_t bounded_pick(void *state, const struct sched_view *view,
                             const struct sched_request *request)
{
    struct hash *hash = state;
    struct bound bound = make_bound(total_now(hash, view, request), view->weight_sum);
    struct search search = {.view = view,
                            .request = request,
                            .ids = hash->ids,
                            .key = request->key,
                            .by_factor = true,
                            .bound = &bound};

    uint32_t i = search_all(&search);
    if (i == SCHED_NONE && search.over_factor) {
        search.by_factor = false;
        i = search_all(&search);
    }
    if (i == SCHED_NONE && search.over_bound) {
        bound = bound_of_usable(view, request);
        i = search_all(&search);
    }
    if (i == SCHED_NONE && search.over_bound) { /* loads have grown in between */
        search.bound = NULL;
        i = search_all(&search);
    }
    hash->total += i != SCHED_NONE;
    return i;
}

static void bounded_fold(void *state, const struct sched_view *view)
{
    struct hash *hash = state;
    (void)view;
    hash->picks_left = 0;
}

const struct sched_ops sched_maglev_bounded = {
    .name = "maglev_bounded",
    .help = "as mh, but nobody gets more than 1.25 times its share of the sessions",
    .kind = SCHED_BY_HASH,
    .has_table = true,
    .state_bytes = hash_state_bytes,
    .init = hash_init,
    .fold = bounded_fold,
    .pick = bounded_pick,
};
