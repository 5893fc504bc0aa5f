/*
 * Schedulers by order: first (the highest weight until it is full, then the next) and ovf (the
 * highest weight until it has as many sessions as its weight says, then the next). Backends of
 * equal weight stand in file order. In workers; pure.
 *
 * The order is by effective weight: one in slow start stands further down and moves up as its
 * weight rises. It is sorted with each fold; between folds a pick walks down it. Those in front
 * are looked at again with each pick, because any worker's session on them may have ended.
 */
#include "sched.h"

#define WEIGHT_UNIT 1000 /* of view.weight */

struct place {
    uint32_t index, slot;
    uint32_t weight;
    uint32_t room; /* ovf: sessions that its weight stands for, at least one */
};

struct order {
    uint32_t n, pad;
    struct place places[];
};

static size_t order_state_bytes(uint32_t n)
{
    return sizeof(struct order) + n * sizeof(struct place);
}

static bool is_before(const struct place *a, const struct place *b)
{
    return a->weight > b->weight || (a->weight == b->weight && a->index < b->index);
}

/* Shell's sort with Knuth's gaps (The Art of Computer Programming, 5.2.1): qsort() may allocate,
 * and a fold changes the order only a little. */
static void sort_places(struct place *places, uint32_t n)
{
    uint32_t gap = 1;

    while (gap < n / 3)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3) {
        for (uint32_t from = gap; from < n; from++) {
            struct place place = places[from];
            uint32_t to = from;
            for (; to >= gap && is_before(&place, &places[to - gap]); to -= gap)
                places[to] = places[to - gap];
            places[to] = place;
        }
    }
}

static void order_fold(void *state, const struct sched_view *view)
{
    struct order *order = state;

    order->n = view->n_eligible;
    for (uint32_t e = 0; e < view->n_eligible; e++) {
        uint32_t i = view->eligible[e];
        uint32_t units = view->weight[i] / WEIGHT_UNIT;
        order->places[e] = (struct place){.index = i,
                                          .slot = view->slot[i],
                                          .weight = view->weight[i],
                                          .room = units == 0 ? 1 : units};
    }
    sort_places(order->places, order->n);
}

static uint32_t first_pick(void *state, const struct sched_view *view,
                           const struct sched_request *request)
{
    const struct order *order = state;

    for (uint32_t p = 0; p < order->n; p++) {
        if (sched_usable(view, request, order->places[p].index))
            return order->places[p].index;
    }
    return SCHED_NONE;
}

/*
 * When all are over, LVS refuses. Here nobody is refused while a backend is usable: the least
 * loaded for its weight takes more than its weight says, as under wlc, but of equals the first in
 * the order. It is found on the way down: (A + 1) / w by cross-multiplication, 33 by 26 bits.
 */
static uint32_t ovf_pick(void *state, const struct sched_view *view,
                         const struct sched_request *request)
{
    const struct order *order = state;
    const _Atomic uint32_t *slot_active = view->slot_active;
    uint64_t least_sessions = 1, least_weight = 0; /* more than anyone's */
    uint32_t least = SCHED_NONE;

    for (uint32_t p = 0; p < order->n; p++) {
        const struct place *place = &order->places[p];
        uint64_t active = atomic_load_explicit(&slot_active[place->slot], memory_order_relaxed);
        if (active < place->room) {
            if (sched_usable(view, request, place->index))
                return place->index;
        } else if ((active + 1) * least_weight < least_sessions * place->weight &&
                   sched_usable(view, request, place->index)) {
            least_sessions = active + 1;
            least_weight = place->weight;
            least = place->index;
        }
    }
    return least;
}

static const char *const first_aliases[] = {"fo", NULL};

const struct sched_ops sched_first = {
    .name = "first",
    .aliases = first_aliases,
    .help = "the highest weight until it is full, then the next; of equals the first in the file",
    .kind = SCHED_BY_ORDER,
    .state_bytes = order_state_bytes,
    .fold = order_fold,
    .pick = first_pick,
};

const struct sched_ops sched_ovf = {
    .name = "ovf",
    .help = "the highest weight with fewer sessions than its weight, then the next; when all have "
            "as many, as wlc",
    .kind = SCHED_BY_ORDER,
    .state_bytes = order_state_bytes,
    .fold = order_fold,
    .pick = ovf_pick,
};
