/*
 * Schedulers by chance: random (by weight), p2c (the less loaded of two drawn by weight) and
 * least_time (of two, the one that would answer sooner). In workers; pure.
 *
 * A draw is a random number below the sum of the weights, looked up in their running sums. One that
 * may not be chosen is drawn again up to DRAWS_MAX times, then there is a draw among usable ones
 * only, which looks at all. Both give each usable backend its weight's share of what all usable
 * ones get, so together they do too.
 */
#include "pool/ewma.h"
#include "sched.h"

#define DRAWS_MAX 8

struct chance {
    uint64_t generator; /* of splitmix64: any state is as good as any other */
    uint32_t n, pad;
    uint64_t ends[]; /* running sums of the weights, as in view.eligible */
};

/* Places are in view.eligible. */

static size_t chance_state_bytes(uint32_t n)
{
    return sizeof(struct chance) + n * sizeof(uint64_t);
}

static void chance_init(void *state, const struct sched_view *view, uint32_t seed)
{
    struct chance *chance = state;
    (void)view;
    chance->generator = sched_mix(seed); /* neighbouring seeds: far apart in the sequence */
}

static void chance_carry(void *state, const struct sched_view *view, const void *old_state,
                         uint32_t old_n, const uint32_t *old_index)
{
    const struct chance *old = old_state;
    struct chance *chance = state;
    (void)view, (void)old_n, (void)old_index;
    chance->generator = old->generator;
}

static void chance_fold(void *state, const struct sched_view *view)
{
    struct chance *chance = state;
    uint64_t sum = 0;

    for (uint32_t e = 0; e < view->n_eligible; e++) {
        sum += view->weight[view->eligible[e]];
        chance->ends[e] = sum;
    }
    chance->n = view->n_eligible;
}

/* Below limit; 0 for 0. By multiplication (Lemire, ACM TOMACS 2019) without his rejections: limits
 * are under 2^40, so nobody is off by more than one in 2^24. */
static uint64_t random_below(struct chance *chance, uint64_t limit)
{
    __extension__ typedef unsigned __int128 wide;
    uint64_t random = sched_mix(chance->generator);

    chance->generator += UINT64_C(0x9e3779b97f4a7c15); /* which sched_mix() adds first */
    return (uint64_t)((wide)random * limit >> 64);
}

/* The place of which target falls into the weight. Written for conditional moves: whether it goes
 * left or right nobody can predict. */
static uint32_t locate(const struct chance *chance, uint64_t target)
{
    const uint64_t *from = chance->ends;

    for (uint32_t n = chance->n; n > 1; n -= n / 2)
        from = from[n / 2 - 1] <= target ? from + n / 2 : from;
    return (uint32_t)(from - chance->ends);
}

/* Weighted choice in one pass: each one takes the place of what was chosen before with the
 * probability of its weight in the sum so far. */
static uint32_t draw_usable(struct chance *chance, const struct sched_view *view,
                            const struct sched_request *request, uint32_t other)
{
    uint32_t chosen = SCHED_NONE;
    uint64_t sum = 0;

    for (uint32_t e = 0; e < chance->n; e++) {
        uint32_t i = view->eligible[e];
        if (e == other || !sched_usable(view, request, i))
            continue;
        sum += view->weight[i];
        if (random_below(chance, sum) < view->weight[i])
            chosen = e;
    }
    return chosen;
}

/* Draws a usable one that is not at place other (SCHED_NONE: any). Returns its place, or
 * SCHED_NONE: there is none. */
static uint32_t draw(struct chance *chance, const struct sched_view *view,
                     const struct sched_request *request, uint32_t other)
{
    uint64_t sum = chance->n == 0 ? 0 : chance->ends[chance->n - 1];
    uint64_t gap_start = 0, gap = 0;

    if (other != SCHED_NONE) {
        gap_start = other == 0 ? 0 : chance->ends[other - 1];
        gap = chance->ends[other] - gap_start;
    }
    if (sum == gap)
        return SCHED_NONE;
    for (int d = 0; d < DRAWS_MAX; d++) {
        uint64_t target = random_below(chance, sum - gap);
        uint32_t place = locate(chance, target < gap_start ? target : target + gap);
        if (sched_usable(view, request, view->eligible[place]))
            return place;
    }
    return draw_usable(chance, view, request, other);
}

static uint32_t random_pick(void *state, const struct sched_view *view,
                            const struct sched_request *request)
{
    uint32_t place = draw(state, view, request, SCHED_NONE);
    return place == SCHED_NONE ? SCHED_NONE : view->eligible[place];
}

/* Whether backend a is strictly better than b. */
typedef bool is_better_fn(const struct sched_view *view, const struct sched_request *request,
                          uint32_t a, uint32_t b);

static inline uint32_t pick_of_two(struct chance *chance, const struct sched_view *view,
                                   const struct sched_request *request, is_better_fn *is_better)
{
    uint32_t first = draw(chance, view, request, SCHED_NONE);
    if (first == SCHED_NONE)
        return SCHED_NONE;
    uint32_t second = draw(chance, view, request, first);
    uint32_t a = view->eligible[first];
    if (second == SCHED_NONE)
        return a;
    uint32_t b = view->eligible[second];
    return is_better(view, request, b, a) ? b : a;
}

/* (A + 1) / w by cross-multiplication: 33 by 26 bits. */
static bool is_less_loaded(const struct sched_view *view, const struct sched_request *request,
                           uint32_t a, uint32_t b)
{
    (void)request;
    return ((uint64_t)sched_active(view, a) + 1) * view->weight[b] <
           ((uint64_t)sched_active(view, b) + 1) * view->weight[a];
}

static uint32_t p2c_pick(void *state, const struct sched_view *view,
                         const struct sched_request *request)
{
    return pick_of_two(state, view, request, is_less_loaded);
}

/*
 * Response time times sessions: what a further session may have to wait for. A backend of which no
 * time is known yet is compared by load alone: so it gets its share and no more, until it has
 * answered somebody. The product fits: 2^32 - 1 times 2^32.
 */
static bool is_sooner(const struct sched_view *view, const struct sched_request *request,
                      uint32_t a, uint32_t b)
{
    uint64_t now_ms = request->now_us / 1000;
    uint64_t time_a_us = ewma_fade(&view->sb->slot_time[view->slot[a]], now_ms);
    uint64_t time_b_us = ewma_fade(&view->sb->slot_time[view->slot[b]], now_ms);
    uint64_t cost_a = time_a_us * ((uint64_t)sched_active(view, a) + 1);
    uint64_t cost_b = time_b_us * ((uint64_t)sched_active(view, b) + 1);

    if (time_a_us == 0 || time_b_us == 0 || cost_a == cost_b)
        return is_less_loaded(view, request, a, b);
    return cost_a < cost_b;
}

static uint32_t least_time_pick(void *state, const struct sched_view *view,
                                const struct sched_request *request)
{
    return pick_of_two(state, view, request, is_sooner);
}

const struct sched_ops sched_random = {
    .name = "random",
    .help = "one drawn by weight",
    .kind = SCHED_BY_CHANCE,
    .weighted = true,
    .state_bytes = chance_state_bytes,
    .init = chance_init,
    .fold = chance_fold,
    .pick = random_pick,
    .carry = chance_carry,
};

static const char *const p2c_aliases[] = {"twos", NULL};

const struct sched_ops sched_p2c = {
    .name = "p2c",
    .aliases = p2c_aliases,
    .help = "of two different ones drawn by weight, the one with fewer sessions for its weight",
    .kind = SCHED_BY_CHANCE,
    .weighted = true,
    .state_bytes = chance_state_bytes,
    .init = chance_init,
    .fold = chance_fold,
    .pick = p2c_pick,
    .carry = chance_carry,
};

const struct sched_ops sched_least_time = {
    .name = "least_time",
    .help = "of two different ones drawn by weight, the one with the shorter response time times "
            "sessions",
    .kind = SCHED_BY_CHANCE,
    .by_time = true,
    .state_bytes = chance_state_bytes,
    .init = chance_init,
    .fold = chance_fold,
    .pick = least_time_pick,
    .carry = chance_carry,
};
