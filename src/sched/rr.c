/*
 * Schedulers by turn: rr (each usable backend in turn) and wrr (turns in proportion to weight,
 * spread evenly). In workers; pure.
 */
#include "sched.h"

/* rr */

struct rr {
    uint32_t next; /* where the search starts; may be n */
};

static size_t rr_state_bytes(uint32_t n)
{
    (void)n;
    return sizeof(struct rr);
}

static void rr_init(void *state, const struct sched_view *view, uint32_t seed)
{
    struct rr *rr = state;
    rr->next = view->n == 0 ? 0 : seed % view->n;
}

static uint32_t rr_pick(void *state, const struct sched_view *view,
                        const struct sched_request *request)
{
    struct rr *rr = state;
    uint32_t i = rr->next;

    for (uint32_t left = view->n; left > 0; left--, i++) {
        if (i >= view->n)
            i = 0;
        if (sched_usable(view, request, i)) {
            rr->next = i + 1;
            return i;
        }
    }
    return SCHED_NONE;
}

/* Whose turn it was has it still; when it is gone, the one that followed it. */
static void rr_carry(void *state, const struct sched_view *view, const void *old_state,
                     uint32_t old_n, const uint32_t *old_index)
{
    const struct rr *old = old_state;
    struct rr *rr = state;
    uint32_t old_next = old->next < old_n ? old->next : 0;
    uint32_t best = SCHED_NONE;

    rr->next = 0;
    for (uint32_t i = 0; i < view->n; i++) {
        if (old_index[i] != SCHED_NONE && old_index[i] >= old_next && old_index[i] < best) {
            best = old_index[i];
            rr->next = i;
        }
    }
}

const struct sched_ops sched_rr = {
    .name = "rr",
    .help = "each backend in turn",
    .state_bytes = rr_state_bytes,
    .init = rr_init,
    .pick = rr_pick,
    .carry = rr_carry,
};

/*
 * wrr
 *
 * nginx's smooth algorithm: at each turn every usable backend's lag grows by its weight, the
 * largest lag wins (the first of equals) and is lowered by the sum of the weights. 5,1,1 gives a a
 * b a c a a.
 *
 * Kept in units of weight, as nginx does, lags mean nothing any more once the sum changes:
 * 65535,1,1 leaves tens of thousands on the small ones, so when the large one goes away one of them
 * gets tens of thousands of turns in a row. Here a lag is in turns: what a turn adds is scaled so
 * that it adds up to WRR_TURN whatever the sum. With constant weights that is the same order to the
 * bit.
 *
 * When the set of usable backends changes, their lags are cut to one turn either way. Else what the
 * others had drawn in advance, or not yet got, could gather on a few while sets change again and
 * again, and one day give them a burst or a famine of many turns. That far apart lags come only so:
 * in ordinary coming and going nothing is cut, and every backend gets the sum of its shares.
 */

/* Lags stay under eleven turns (one, and the n-th harmonic number of 8192), so they fit; and of the
 * largest sum of weights (2^39) each thousandth is still worth 2^17. */
#define WRR_TURN (INT64_C(1) << 56)

struct wrr_backend {
    int64_t lag; /* what it is behind its due; WRR_TURN is one turn */
    bool usable; /* when last looked at */
};

static size_t wrr_state_bytes(uint32_t n)
{
    return n * sizeof(struct wrr_backend);
}

/* Steele, Lea and Flood's splitmix64: spreads neighbouring numbers over all bits. */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Half a turn at most, either way. */
static void wrr_init(void *state, const struct sched_view *view, uint32_t seed)
{
    struct wrr_backend *backends = state;

    for (uint32_t i = 0; seed != 0 && i < view->n; i++) {
        uint64_t random = mix((uint64_t)seed << 32 | i);
        backends[i].lag = (int64_t)(random % (uint64_t)WRR_TURN) - WRR_TURN / 2;
    }
}

/* Notes who is usable at this turn. Returns the sum of their weights. */
static uint64_t wrr_look(struct wrr_backend *backends, const struct sched_view *view,
                         const struct sched_request *request, bool *out_changed)
{
    uint64_t weight_sum = 0;
    bool changed = false;

    for (uint32_t i = 0; i < view->n; i++) {
        bool usable = sched_usable(view, request, i);
        changed |= usable != backends[i].usable;
        backends[i].usable = usable;
        if (usable)
            weight_sum += view->weight[i];
    }
    *out_changed = changed;
    return weight_sum;
}

static void wrr_cut(struct wrr_backend *backends, const struct sched_view *view)
{
    for (uint32_t i = 0; i < view->n; i++) {
        if (!backends[i].usable)
            continue;
        if (backends[i].lag > WRR_TURN)
            backends[i].lag = WRR_TURN;
        if (backends[i].lag < -WRR_TURN)
            backends[i].lag = -WRR_TURN;
    }
}

static uint32_t wrr_turn(struct wrr_backend *backends, const struct sched_view *view,
                         uint64_t weight_sum)
{
    int64_t per_weight = WRR_TURN / (int64_t)weight_sum;
    uint32_t best = SCHED_NONE;

    for (uint32_t i = 0; i < view->n; i++) {
        if (!backends[i].usable)
            continue;
        backends[i].lag += view->weight[i] * per_weight;
        if (best == SCHED_NONE || backends[i].lag > backends[best].lag)
            best = i;
    }
    backends[best].lag -= (int64_t)weight_sum * per_weight;
    return best;
}

static uint32_t wrr_pick(void *state, const struct sched_view *view,
                         const struct sched_request *request)
{
    struct wrr_backend *backends = state;
    bool changed;
    uint64_t weight_sum = wrr_look(backends, view, request, &changed);

    if (weight_sum == 0)
        return SCHED_NONE;
    if (changed)
        wrr_cut(backends, view);
    return wrr_turn(backends, view, weight_sum);
}

static void wrr_carry(void *state, const struct sched_view *view, const void *old_state,
                      uint32_t old_n, const uint32_t *old_index)
{
    const struct wrr_backend *old = old_state;
    struct wrr_backend *backends = state;

    for (uint32_t i = 0; i < view->n; i++) {
        if (old_index[i] < old_n)
            backends[i] = old[old_index[i]];
    }
}

const struct sched_ops sched_wrr = {
    .name = "wrr",
    .help = "each backend in turn, in proportion to its weight",
    .weighted = true,
    .state_bytes = wrr_state_bytes,
    .init = wrr_init,
    .pick = wrr_pick,
    .carry = wrr_carry,
};
