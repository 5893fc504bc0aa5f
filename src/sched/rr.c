/*
 * rr: each usable backend in turn. In workers; pure.
 */
#include "turn.h"

static size_t rr_state_bytes(uint32_t n)
{
    (void)n;
    return sizeof(struct turn);
}

static void rr_init(void *state, const struct sched_view *view, uint32_t seed)
{
    turn_init(state, view, seed);
}

static void rr_fold(void *state, const struct sched_view *view)
{
    turn_fold(state, view);
}

static uint32_t rr_pick(void *state, const struct sched_view *view,
                        const struct sched_request *request)
{
    struct turn *turn = state;
    uint32_t at = turn->at;

    for (uint32_t left = view->n_eligible; left > 0; left--, at++) {
        if (at >= view->n_eligible)
            at = 0;
        uint32_t i = view->eligible[at];
        if (sched_usable(view, request, i)) {
            turn_pass(turn, view, at);
            return i;
        }
    }
    return SCHED_NONE;
}

static void rr_carry(void *state, const struct sched_view *view, const void *old_state,
                     uint32_t old_n, const uint32_t *old_index)
{
    turn_carry(state, view, old_state, old_n, old_index);
}

const struct sched_ops sched_rr = {
    .name = "rr",
    .help = "each backend in turn",
    .kind = SCHED_BY_TURN,
    .state_bytes = rr_state_bytes,
    .init = rr_init,
    .fold = rr_fold,
    .pick = rr_pick,
    .carry = rr_carry,
};
