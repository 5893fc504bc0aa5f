/*
 * Whose turn it is, for schedulers that go round or settle ties by turn. In workers; pure.
 *
 * The turn belongs to a backend and not to a place among the eligible ones, so that it stays where
 * it is while others come and go; its place is looked up once a fold, so that a pick never walks
 * over ineligible ones.
 */
#ifndef SLUICE_SCHED_TURN_H
#define SLUICE_SCHED_TURN_H

#include "sched.h"

struct turn {
    uint32_t next; /* index of the backend whose turn it is; may be n */
    uint32_t at;   /* its place in view.eligible, or whose turn it is instead; may be n_eligible */
};

static inline void turn_init(struct turn *turn, const struct sched_view *view, uint32_t seed)
{
    turn->next = view->n == 0 ? 0 : seed % view->n;
}

/* at follows from next; to be called with each fold. */
static inline void turn_fold(struct turn *turn, const struct sched_view *view)
{
    uint32_t from = 0, to = view->n_eligible;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (view->eligible[middle] < turn->next)
            from = middle + 1;
        else
            to = middle;
    }
    turn->at = from;
}

/* The backend at this place was chosen: the turn is its successor's. */
static inline void turn_pass(struct turn *turn, const struct sched_view *view, uint32_t at)
{
    turn->next = view->eligible[at] + 1;
    turn->at = at + 1;
}

/* Whose turn it was has it still; when it is gone, the one that followed it. */
static inline void turn_carry(struct turn *turn, const struct sched_view *view,
                              const struct turn *old, uint32_t old_n, const uint32_t *old_index)
{
    uint32_t old_next = old->next < old_n ? old->next : 0;
    uint32_t best = SCHED_NONE;

    turn->next = 0;
    for (uint32_t i = 0; i < view->n; i++) {
        if (old_index[i] != SCHED_NONE && old_index[i] >= old_next && old_index[i] < best) {
            best = old_index[i];
            turn->next = i;
        }
    }
}

#endif
