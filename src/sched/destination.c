/*
 * Schedulers for caches, which do best when each destination is asked of the same one: lblc (a
 * backend for each destination, as long as it is not overloaded) and lblcr (a few backends for
 * each, as many as its load needs). In workers; the least loaded is found as wlc does.
 *
 * Rules are those of LVS (Linux, net/netfilter/ipvs/ip_vs_lblc.c and ip_vs_lblcr.c): a backend with
 * A sessions and weight w is overloaded when A > w while another has 2A < w. There idle
 * destinations are forgotten, and sets shrink, after a day (sysctls lblc_expiration and
 * lblcr_expiration); idle ones after six minutes once a service remembers too many. Here all
 * workers and pools share the table of leases with clients that have persistence, and who would end
 * first makes room for others, so idle destinations get a time between the two; and sets shrink
 * after six minutes, as load changes faster than once a day.
 *
 * A destination's backends are leases without sessions, under keys made from the destination and a
 * place of 0 to SET_MAX - 1. Where lblcr has more than one, a further lease stands for six
 * minutes after each change of the set; when it is gone, the most loaded of the set goes. Workers
 * that change a set at once may add two or drop one place twice, which the same rules mend. As
 * leases name rows, a table by row finds the index.
 */
#include "pool/lease.h"
#include "sched.h"

#define KEEP_MS       (24 * 60 * 1000) /* that an unused destination is remembered … */
#define KEEP_AGED_MS  (18 * 60 * 1000) /* … or less, down to this: hits before it do not renew */
#define CHANGED_MS    (6 * 60 * 1000)  /* that a set of several stays as it is */
#define SET_MAX       4                /* backends of one destination */
#define PLACE_CHANGED SET_MAX          /* of the lease that says that its set has changed lately */

/* --- the state: that of wlc, and behind it the table of rows --- */

struct row_entry {
    uint16_t row;
    uint16_t place; /* index + 1; 0: empty */
};

_Static_assert(BACKENDS_MAX < UINT16_MAX, "row and index + 1 must fit");

/* A power of two, at least twice n: rows of a pool are mostly neighbours, so most are at home. */
static uint32_t table_len(uint32_t n)
{
    uint32_t len = 2;
    while (len < 2 * n)
        len *= 2;
    return len;
}

static struct row_entry *row_table(void *state, const struct sched_view *view)
{
    return (struct row_entry *)((char *)state + sched_wlc.state_bytes(view->n));
}

static size_t destination_state_bytes(uint32_t n)
{
    return sched_wlc.state_bytes(n) + table_len(n) * sizeof(struct row_entry);
}

static void destination_init(void *state, const struct sched_view *view, uint32_t seed)
{
    sched_wlc.init(state, view, seed);
}

static void destination_carry(void *state, const struct sched_view *view, const void *old_state,
                              uint32_t old_n, const uint32_t *old_index)
{
    sched_wlc.carry(state, view, old_state, old_n, old_index);
}

static void destination_fold(void *state, const struct sched_view *view)
{
    struct row_entry *table = row_table(state, view);
    uint32_t mask = table_len(view->n) - 1;

    sched_wlc.fold(state, view);
    for (uint32_t at = 0; at <= mask; at++)
        table[at].place = 0;
    for (uint32_t i = 0; i < view->n; i++) {
        uint32_t at = view->backends[i].row & mask;
        while (table[at].place != 0)
            at = (at + 1) & mask;
        table[at] =
            (struct row_entry){.row = (uint16_t)view->backends[i].row, .place = (uint16_t)(i + 1)};
    }
}

static uint32_t index_of_row(void *state, const struct sched_view *view, uint32_t row)
{
    const struct row_entry *table = row_table(state, view);
    uint32_t mask = table_len(view->n) - 1;

    for (uint32_t at = row & mask; table[at].place != 0; at = (at + 1) & mask) {
        if (table[at].row == row)
            return table[at].place - 1u;
    }
    return SCHED_NONE; /* of a backend that the pool no longer has */
}

/* --- load --- */

static uint32_t whole_weight(const struct sched_view *view, uint32_t i)
{
    uint32_t weight = view->weight[i] / 1000;
    return weight == 0 ? 1 : weight;
}

static bool is_overloaded(const struct sched_view *view, const struct sched_request *request,
                          uint32_t i)
{
    if (sched_active(view, i) <= whole_weight(view, i))
        return false;
    for (uint32_t e = 0; e < view->n_eligible; e++) {
        uint32_t other = view->eligible[e];
        if (2 * (uint64_t)sched_active(view, other) < whole_weight(view, other) &&
            sched_usable(view, request, other))
            return true;
    }
    return false;
}

/* (A+1)/w by cross-multiplication: 33 by 26 bits. Without a weight more than anything. */
static bool is_less_loaded(const struct sched_view *view, uint32_t a, uint32_t b)
{
    return ((uint64_t)sched_active(view, a) + 1) * view->weight[b] <
           ((uint64_t)sched_active(view, b) + 1) * view->weight[a];
}

/* --- what is remembered of a destination --- */

struct memory {
    uint32_t index; /* SCHED_NONE: nothing */
    bool aged;      /* to be renewed */
};

static uint64_t memory_key(const struct sched_view *view, const struct sched_request *request,
                           uint32_t place)
{
    return sched_mix(sched_mix(view->seed ^ request->destination) + place);
}

static struct memory recall(void *state, const struct sched_view *view,
                            const struct sched_request *request, uint32_t place)
{
    uint64_t now_ms = request->now_us / 1000;
    struct lease_info info;

    if (!lease_find(view->sb, memory_key(view, request, place), now_ms, &info))
        return (struct memory){.index = SCHED_NONE};
    return (struct memory){.index = index_of_row(state, view, info.row),
                           .aged = info.ends_ms < now_ms + KEEP_AGED_MS};
}

static bool remember(const struct sched_view *view, const struct sched_request *request,
                     uint32_t place, uint32_t i, uint32_t keep_ms)
{
    return lease_put(view->sb, memory_key(view, request, place), view->backends[i].row,
                     request->now_us / 1000, keep_ms);
}

/* --- lblc --- */

static uint32_t lblc_pick(void *state, const struct sched_view *view,
                          const struct sched_request *request)
{
    struct memory memory = recall(state, view, request, 0);
    uint32_t i = memory.index;

    if (i == SCHED_NONE || !sched_usable(view, request, i) || is_overloaded(view, request, i)) {
        i = sched_wlc.pick(state, view, request);
        memory.aged = true;
    }
    if (i != SCHED_NONE && memory.aged && !request->dry)
        (void)remember(view, request, 0, i, KEEP_MS);
    return i;
}

/* --- lblcr --- */

struct set {
    struct memory of[SET_MAX]; /* by place; holes are possible */
    uint32_t n;
};

static struct set recall_set(void *state, const struct sched_view *view,
                             const struct sched_request *request)
{
    struct set set = {0};
    for (uint32_t p = 0; p < SET_MAX; p++) {
        set.of[p] = recall(state, view, request, p);
        set.n += set.of[p].index != SCHED_NONE;
    }
    return set;
}

/* The place of the least loaded that is usable, or SCHED_NONE. */
static uint32_t least_of_set(const struct set *set, const struct sched_view *view,
                             const struct sched_request *request)
{
    uint32_t best = SCHED_NONE;
    for (uint32_t p = 0; p < SET_MAX; p++) {
        uint32_t i = set->of[p].index;
        if (i != SCHED_NONE && sched_usable(view, request, i) &&
            (best == SCHED_NONE || is_less_loaded(view, i, set->of[best].index)))
            best = p;
    }
    return best;
}

/* The place of the most loaded but for the one at spared, or SCHED_NONE. */
static uint32_t most_of_set(const struct set *set, const struct sched_view *view, uint32_t spared)
{
    uint32_t worst = SCHED_NONE;
    for (uint32_t p = 0; p < SET_MAX; p++) {
        uint32_t i = set->of[p].index;
        if (i != SCHED_NONE && p != spared &&
            (worst == SCHED_NONE || is_less_loaded(view, set->of[worst].index, i)))
            worst = p;
    }
    return worst;
}

/* A free place, or, when there is none, the most loaded gives way. */
static void add_to_set(struct set *set, const struct sched_view *view,
                       const struct sched_request *request, uint32_t i)
{
    uint32_t at = most_of_set(set, view, SCHED_NONE);

    for (uint32_t p = SET_MAX; p-- > 0;) {
        if (set->of[p].index == i)
            return;
        if (set->of[p].index == SCHED_NONE)
            at = p;
    }
    set->of[at].aged = false;
    (void)remember(view, request, at, i, KEEP_MS);
    if (set->n > 0)
        (void)remember(view, request, PLACE_CHANGED, i, CHANGED_MS);
}

/* The mark comes first: who finds no room for it leaves the set as it is. */
static void shrink_set(struct set *set, const struct sched_view *view,
                       const struct sched_request *request, uint32_t chosen)
{
    struct lease_info unused;

    if (set->n < 2 || lease_find(view->sb, memory_key(view, request, PLACE_CHANGED),
                                 request->now_us / 1000, &unused))
        return;
    if (!remember(view, request, PLACE_CHANGED, set->of[chosen].index, CHANGED_MS))
        return;
    uint32_t at = most_of_set(set, view, chosen);
    lease_drop(view->sb, memory_key(view, request, at));
    set->of[at].aged = false;
}

static void renew_set(const struct set *set, const struct sched_view *view,
                      const struct sched_request *request)
{
    for (uint32_t p = 0; p < SET_MAX; p++) {
        if (set->of[p].index != SCHED_NONE && set->of[p].aged)
            (void)remember(view, request, p, set->of[p].index, KEEP_MS);
    }
}

static uint32_t lblcr_pick(void *state, const struct sched_view *view,
                           const struct sched_request *request)
{
    struct set set = recall_set(state, view, request);
    uint32_t chosen = least_of_set(&set, view, request);
    uint32_t i = chosen == SCHED_NONE ? SCHED_NONE : set.of[chosen].index;
    bool suffices = i != SCHED_NONE && !is_overloaded(view, request, i);

    if (!suffices)
        i = sched_wlc.pick(state, view, request);
    if (i == SCHED_NONE || request->dry)
        return i;
    if (suffices)
        shrink_set(&set, view, request, chosen);
    else
        add_to_set(&set, view, request, i);
    renew_set(&set, view, request);
    return i;
}

const struct sched_ops sched_lblc = {
    .name = "lblc",
    .help = "for caches: one backend for each destination, until it is overloaded; the least "
            "loaded for its weight is then the next",
    .kind = SCHED_BY_HASH,
    .by_destination = true,
    .state_bytes = destination_state_bytes,
    .init = destination_init,
    .fold = destination_fold,
    .pick = lblc_pick,
    .carry = destination_carry,
};

const struct sched_ops sched_lblcr = {
    .name = "lblcr",
    .help = "for caches: up to four backends for each destination, one more whenever those are "
            "overloaded, one less after six minutes without a change",
    .kind = SCHED_BY_HASH,
    .by_destination = true,
    .state_bytes = destination_state_bytes,
    .init = destination_init,
    .fold = destination_fold,
    .pick = lblcr_pick,
    .carry = destination_carry,
};
