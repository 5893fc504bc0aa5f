/*
 * Schedulers by load: lc (fewest sessions), wlc (fewest for its weight) and nq (an idle one first,
 * else as wlc). Connects under way count as sessions, so a burst does not run to one backend. Ties
 * go by turn, from where the last choice was, not by list order. In workers; pure.
 *
 * Loads are changed by all workers at any time, so nothing about them can be kept, and each pick
 * looks at all eligible backends. What it asks of each is therefore only its load; the dearer
 * question, whether it is usable, is for those that would win.
 */
#include "turn.h"

struct leastconn {
    struct turn turn; /* where the search starts */
    bool even;        /* all eligible backends have the same weight: then all three do as lc */
};

static size_t leastconn_state_bytes(uint32_t n)
{
    (void)n;
    return sizeof(struct leastconn);
}

static void leastconn_init(void *state, const struct sched_view *view, uint32_t seed)
{
    struct leastconn *lc = state;
    turn_init(&lc->turn, view, seed);
}

static void leastconn_fold(void *state, const struct sched_view *view)
{
    struct leastconn *lc = state;

    turn_fold(&lc->turn, view);
    lc->even = true;
    for (uint32_t e = 1; e < view->n_eligible; e++) {
        if (view->weight[view->eligible[e]] != view->weight[view->eligible[0]])
            lc->even = false;
    }
}

/* The load is in the scoreboard and goes on by itself: only whose turn it is in a tie is kept. */
static void leastconn_carry(void *state, const struct sched_view *view, const void *old_state,
                            uint32_t old_n, const uint32_t *old_index)
{
    const struct leastconn *old = old_state;
    struct leastconn *lc = state;
    turn_carry(&lc->turn, view, &old->turn, old_n, old_index);
}

/*
 * A search goes over two ranges of view.eligible, from whose turn it is to the end and then from
 * the beginning, and of equals keeps the first. Each of these looks at one range and returns the
 * place of the best, or best when there is no better; *least describes the best so far.
 */
struct least {
    uint64_t sessions; /* with one session more */
    uint64_t weight;
};

static uint32_t look_for_fewest(const struct sched_view *view, const struct sched_request *request,
                                uint32_t from, uint32_t to, struct least *least, uint32_t best)
{
    const uint32_t *eligible = view->eligible, *slot = view->slot;
    const _Atomic uint32_t *slot_active = view->slot_active;
    uint64_t fewest = least->sessions;

    for (uint32_t at = from; at < to && fewest > 1; at++) {
        uint32_t i = eligible[at];
        uint64_t sessions =
            (uint64_t)atomic_load_explicit(&slot_active[slot[i]], memory_order_relaxed) + 1;
        if (sessions < fewest && sched_usable(view, request, i)) {
            fewest = sessions;
            best = at;
        }
    }
    least->sessions = fewest;
    return best;
}

/* sessions/weight by cross-multiplication: 33 by 26 bits. idle_first: one that is idle is less than
 * one that is not, whatever they weigh. */
static inline uint32_t look_for_least(const struct sched_view *view,
                                      const struct sched_request *request, uint32_t from,
                                      uint32_t to, struct least *least, uint32_t best,
                                      bool idle_first)
{
    const uint32_t *eligible = view->eligible, *slot = view->slot, *weight = view->weight;
    const _Atomic uint32_t *slot_active = view->slot_active;
    struct least so_far = *least;

    for (uint32_t at = from; at < to; at++) {
        uint32_t i = eligible[at];
        uint64_t sessions =
            (uint64_t)atomic_load_explicit(&slot_active[slot[i]], memory_order_relaxed) + 1;
        if (idle_first && sessions > 1 && so_far.sessions == 1)
            continue;
        bool idle_wins = idle_first && sessions == 1 && so_far.sessions > 1;
        bool is_less = sessions * so_far.weight < so_far.sessions * weight[i];
        if ((idle_wins || is_less) && sched_usable(view, request, i)) {
            so_far = (struct least){.sessions = sessions, .weight = weight[i]};
            best = at;
        }
    }
    *least = so_far;
    return best;
}

static uint32_t choose(struct leastconn *lc, const struct sched_view *view, uint32_t at)
{
    if (at == SCHED_NONE)
        return SCHED_NONE;
    turn_pass(&lc->turn, view, at);
    return view->eligible[at];
}

static uint32_t lc_pick(void *state, const struct sched_view *view,
                        const struct sched_request *request)
{
    struct leastconn *lc = state;
    struct least least = {.sessions = UINT64_MAX};

    uint32_t at = look_for_fewest(view, request, lc->turn.at, view->n_eligible, &least, SCHED_NONE);
    at = look_for_fewest(view, request, 0, lc->turn.at, &least, at);
    return choose(lc, view, at);
}

static inline uint32_t pick_least(struct leastconn *lc, const struct sched_view *view,
                                  const struct sched_request *request, bool idle_first)
{
    struct least least = {.sessions = 2, .weight = 0}; /* more than anyone's, and not idle */

    if (lc->even)
        return lc_pick(lc, view, request);
    uint32_t at = look_for_least(view, request, lc->turn.at, view->n_eligible, &least, SCHED_NONE,
                                 idle_first);
    at = look_for_least(view, request, 0, lc->turn.at, &least, at, idle_first);
    return choose(lc, view, at);
}

static uint32_t wlc_pick(void *state, const struct sched_view *view,
                         const struct sched_request *request)
{
    return pick_least(state, view, request, false);
}

static uint32_t nq_pick(void *state, const struct sched_view *view,
                        const struct sched_request *request)
{
    return pick_least(state, view, request, true);
}

const struct sched_ops sched_lc = {
    .name = "lc",
    .help = "the backend with the fewest sessions",
    .kind = SCHED_BY_LOAD,
    .state_bytes = leastconn_state_bytes,
    .init = leastconn_init,
    .fold = leastconn_fold,
    .pick = lc_pick,
    .carry = leastconn_carry,
};

static const char *const wlc_aliases[] = {"sed", NULL};

const struct sched_ops sched_wlc = {
    .name = "wlc",
    .aliases = wlc_aliases,
    .help = "the backend with the fewest sessions for its weight",
    .kind = SCHED_BY_LOAD,
    .weighted = true,
    .state_bytes = leastconn_state_bytes,
    .init = leastconn_init,
    .fold = leastconn_fold,
    .pick = wlc_pick,
    .carry = leastconn_carry,
};

const struct sched_ops sched_nq = {
    .name = "nq",
    .help = "an idle backend, of several the one with the largest weight; else as wlc",
    .kind = SCHED_BY_LOAD,
    .weighted = true,
    .state_bytes = leastconn_state_bytes,
    .init = leastconn_init,
    .fold = leastconn_fold,
    .pick = nq_pick,
    .carry = leastconn_carry,
};
