/*
 * Schedulers by load: lc (fewest sessions) and wlc (fewest for its weight). Connects under way
 * count as sessions, so a burst does not run to one backend. Ties go by turn, from where the last
 * choice was, not by list order. In workers; pure.
 */
#include "sched.h"

struct leastconn {
    uint32_t next; /* where the search starts; may be n */
};

static size_t leastconn_state_bytes(uint32_t n)
{
    (void)n;
    return sizeof(struct leastconn);
}

static void leastconn_init(void *state, const struct sched_view *view, uint32_t seed)
{
    struct leastconn *lc = state;
    lc->next = view->n == 0 ? 0 : seed % view->n;
}

/* How loaded a backend would be with one session more. */
struct load {
    uint64_t sessions;
    uint32_t weight; /* 0: there is none to compare with */
};

/* sessions/weight by cross-multiplication: 33 by 26 bits. */
static bool is_less(const struct load *a, const struct load *b)
{
    return a->sessions * b->weight < b->sessions * a->weight;
}

static uint32_t pick_least(struct leastconn *lc, const struct sched_view *view,
                           const struct sched_request *request, bool by_weight)
{
    struct load least = {0};
    uint32_t best = SCHED_NONE;
    uint32_t i = lc->next;

    for (uint32_t left = view->n; left > 0; left--, i++) {
        if (i >= view->n)
            i = 0;
        if (!sched_usable(view, request, i))
            continue;
        struct load load = {.sessions = (uint64_t)sched_active(view, i) + 1,
                            .weight = by_weight ? view->weight[i] : 1};
        if (best == SCHED_NONE || is_less(&load, &least)) {
            least = load;
            best = i;
        }
    }
    if (best != SCHED_NONE)
        lc->next = best + 1;
    return best;
}

static uint32_t lc_pick(void *state, const struct sched_view *view,
                        const struct sched_request *request)
{
    return pick_least(state, view, request, false);
}

static uint32_t wlc_pick(void *state, const struct sched_view *view,
                         const struct sched_request *request)
{
    return pick_least(state, view, request, true);
}

/* The load is in the scoreboard and goes on by itself: only whose turn it is in a tie is kept. */
static void leastconn_carry(void *state, const struct sched_view *view, const void *old_state,
                            uint32_t old_n, const uint32_t *old_index)
{
    const struct leastconn *old = old_state;
    struct leastconn *lc = state;

    lc->next = 0;
    for (uint32_t i = 0; i < view->n; i++) {
        if (old->next < old_n && old_index[i] == old->next)
            lc->next = i;
    }
}

const struct sched_ops sched_lc = {
    .name = "lc",
    .help = "the backend with the fewest sessions",
    .state_bytes = leastconn_state_bytes,
    .init = leastconn_init,
    .pick = lc_pick,
    .carry = leastconn_carry,
};

static const char *const wlc_aliases[] = {"sed", NULL};

const struct sched_ops sched_wlc = {
    .name = "wlc",
    .aliases = wlc_aliases,
    .help = "the backend with the fewest sessions for its weight",
    .weighted = true,
    .state_bytes = leastconn_state_bytes,
    .init = leastconn_init,
    .pick = wlc_pick,
    .carry = leastconn_carry,
};
