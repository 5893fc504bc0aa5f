/*
 * wrr: turns in proportion to weight, spread evenly. In workers; pure.
 *
 * Two structures with one promise, because each is right where the other is not. Up to SMALL_MAX
 * backends nginx's smooth algorithm looks at every backend at each turn: that costs little then,
 * gives the very order that people know from there (5,1,1 gives a a b a c a a), and sees at each
 * turn who is usable and who is not. Above, looking at all would be most of the cost of a pick, so
 * backends stand in heaps, and a pick touches a few of them. Both measure by lag: how many turns a
 * backend is behind its due. That goes over when a reload makes a small pool large or a large one
 * small; and in both a lag never pays out more than about a turn to one that was away.
 */
#include "sched.h"

#define SMALL_MAX 32

static bool is_small(uint32_t n)
{
    return n <= SMALL_MAX;
}

/*
 * Small pools
 *
 * nginx's smooth algorithm: at each turn every usable backend's lag grows by its weight, the
 * largest lag wins (the first of equals) and is lowered by the sum of the weights.
 *
 * Kept in units of weight, as nginx does, lags mean nothing any more once the sum changes:
 * 65535,1,1 leaves tens of thousands on the small ones, so when the large one goes away one of them
 * gets tens of thousands of turns in a row. Here a lag is in turns: what a turn adds is scaled so
 * that it adds up to TURN whatever the sum. With constant weights that is the same order to the
 * bit.
 *
 * When the set of usable backends changes, their lags are cut to one turn either way. Else what the
 * others had drawn in advance, or not yet got, could gather on a few while sets change again and
 * again, and one day give them a burst or a famine of many turns. That far apart lags come only so:
 * in ordinary coming and going nothing is cut, and every backend gets the sum of its shares.
 */

/* Lags stay under six turns (one, and the harmonic number of SMALL_MAX), so they fit; and of the
 * largest sum of weights (2^31) each thousandth is still worth 2^25. */
#define TURN (INT64_C(1) << 56)

struct backend {
    int64_t lag; /* what it is behind its due; TURN is one turn */
    bool usable; /* when last looked at */
};

/* Notes who is usable at this turn. Returns the sum of their weights. */
static uint64_t look(struct backend *backends, const struct sched_view *view,
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

static void cut(struct backend *backends, const struct sched_view *view)
{
    for (uint32_t i = 0; i < view->n; i++) {
        if (!backends[i].usable)
            continue;
        if (backends[i].lag > TURN)
            backends[i].lag = TURN;
        if (backends[i].lag < -TURN)
            backends[i].lag = -TURN;
    }
}

static uint32_t turn(struct backend *backends, const struct sched_view *view, uint64_t weight_sum)
{
    int64_t per_weight = TURN / (int64_t)weight_sum;
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

static uint32_t small_pick(struct backend *backends, const struct sched_view *view,
                           const struct sched_request *request)
{
    bool changed;
    uint64_t weight_sum = look(backends, view, request, &changed);

    if (weight_sum == 0)
        return SCHED_NONE;
    if (changed)
        cut(backends, view);
    return turn(backends, view, weight_sum);
}

/*
 * Large pools
 *
 * Earliest eligible virtual deadline first (Stoica and Abdel-Wahab, 1995), with picks as time: a
 * backend's period is how many picks there are to one of its turns; a turn may come from its start
 * on and should have come by its deadline, a period later; of those whose start has come, the one
 * with the earliest deadline is picked, and its next turn starts where this one should have ended.
 * So with constant weights nobody is ever a whole turn ahead of its due, nor behind it by much more
 * than one. Two heaps: those that wait for their start, by start, and those that are ready, by
 * deadline. When nobody is ready, time goes on to the next start.
 *
 * A backend that is not usable when its turn comes loses that turn, as in rr: it owes nothing and
 * is owed nothing, and those behind it are never looked at. Turns are lost one after the other; a
 * pick that finds PASSED_MAX such backends in a row searches the rest as they stand.
 *
 * Lags add up to nothing among backends that take all turns, and deadlines can be kept because of
 * that. So when weights have changed, lags are cut to a turn either way, as above, and what they
 * add up to is taken from all alike. Starts and deadlines then follow from lags anew.
 *
 * At first lags are spread over a turn, so that turns do not all come at the same time: by chance,
 * or without a seed evenly, so that equal backends go in file order.
 */

/* A pick takes so many units of time, or more: while all but a light backend are full, each takes
 * that one's period, which may be that of 2^39 picks. So time begins anew now and then. */
#define PICK    (INT64_C(1) << 16)
#define NOW_MAX (INT64_C(1) << 60)

#define PASSED_MAX 8

struct large_backend {
    int64_t start;
    int64_t period; /* rounded up, so that turns never come faster than picks; 0: not eligible */
    double lag;     /* in turns; where period is 0, or when they were last counted */
};

struct entry {
    int64_t key; /* start or deadline */
    uint32_t backend, pad;
};

struct head {
    int64_t now;
    uint32_t n_ready, n_waiting;
    bool has_heaps;
};

/* What lies where in the state. */
struct large {
    struct head *head;
    struct large_backend *backends; /* by index */
    struct entry *ready, *waiting;
};

static size_t large_bytes(uint32_t n)
{
    return sizeof(struct head) + n * (sizeof(struct large_backend) + 2 * sizeof(struct entry));
}

static struct large open_large(void *state, uint32_t n)
{
    struct large large = {.head = state};
    large.backends = (struct large_backend *)(large.head + 1);
    large.ready = (struct entry *)(large.backends + n);
    large.waiting = large.ready + n;
    return large;
}

/* Heaps of four children a node: half the levels of two, and children lie side by side. */

static void sift_down(struct entry *heap, uint32_t n, uint32_t hole, struct entry entry)
{
    for (;;) {
        uint32_t first = 4 * hole + 1;
        uint32_t end = first + 4 < n ? first + 4 : n;
        uint32_t least = first;
        for (uint32_t child = first + 1; child < end; child++)
            least = heap[child].key < heap[least].key ? child : least;
        if (least >= n || heap[least].key >= entry.key)
            break;
        heap[hole] = heap[least];
        hole = least;
    }
    heap[hole] = entry;
}

static void sift_up(struct entry *heap, uint32_t hole, struct entry entry)
{
    while (hole > 0 && heap[(hole - 1) / 4].key > entry.key) {
        heap[hole] = heap[(hole - 1) / 4];
        hole = (hole - 1) / 4;
    }
    heap[hole] = entry;
}

static void push(struct entry *heap, uint32_t *n, int64_t key, uint32_t backend)
{
    sift_up(heap, (*n)++, (struct entry){.key = key, .backend = backend});
}

static struct entry pop(struct entry *heap, uint32_t *n, uint32_t at)
{
    struct entry popped = heap[at];
    struct entry last = heap[--*n];

    if (at == *n)
        return popped;
    if (at > 0 && heap[(at - 1) / 4].key > last.key)
        sift_up(heap, at, last);
    else
        sift_down(heap, *n, at, last);
    return popped;
}

static void place(struct large *large, uint32_t i)
{
    const struct large_backend *backend = &large->backends[i];

    if (backend->start <= large->head->now)
        push(large->ready, &large->head->n_ready, backend->start + backend->period, i);
    else
        push(large->waiting, &large->head->n_waiting, backend->start, i);
}

/* Those whose start has come become ready. */
static void admit(struct large *large)
{
    struct head *head = large->head;

    if (head->n_ready == 0 && head->n_waiting > 0 && head->now < large->waiting[0].key)
        head->now = large->waiting[0].key;
    while (head->n_waiting > 0 && large->waiting[0].key <= head->now)
        place(large, pop(large->waiting, &head->n_waiting, 0).backend);
}

/* One that was owed more than a turn, because the heaps went without it, is owed no more. */
static void forgive(const struct head *head, struct large_backend *backend)
{
    int64_t oldest = head->now - backend->period - PICK;
    if (backend->start < oldest)
        backend->start = oldest;
}

/* Takes a turn from a backend that is in neither heap. */
static void charge(struct large *large, uint32_t i)
{
    struct large_backend *backend = &large->backends[i];

    forgive(large->head, backend);
    backend->start += backend->period;
    place(large, i);
}

static void fill_heaps(struct large *large, const struct sched_view *view)
{
    large->head->n_ready = large->head->n_waiting = 0;
    for (uint32_t e = 0; e < view->n_eligible; e++)
        place(large, view->eligible[e]);
}

static void begin_anew(struct large *large, const struct sched_view *view)
{
    for (uint32_t e = 0; e < view->n_eligible; e++) {
        struct large_backend *backend = &large->backends[view->eligible[e]];
        forgive(large->head, backend);
        backend->start -= large->head->now;
    }
    large->head->now = 0;
    fill_heaps(large, view);
}

/* The first in the heap's order that is usable, or SCHED_NONE. */
static uint32_t find_usable(const struct entry *heap, uint32_t n, const struct sched_view *view,
                            const struct sched_request *request)
{
    uint32_t best = SCHED_NONE;

    for (uint32_t at = 0; at < n; at++) {
        if ((best == SCHED_NONE || heap[at].key < heap[best].key) &&
            sched_usable(view, request, heap[at].backend))
            best = at;
    }
    return best;
}

static uint32_t search(struct large *large, const struct sched_view *view,
                       const struct sched_request *request)
{
    struct head *head = large->head;
    struct entry *heap = large->ready;
    uint32_t *n = &head->n_ready;
    uint32_t at = find_usable(heap, *n, view, request);

    if (at == SCHED_NONE) {
        heap = large->waiting;
        n = &head->n_waiting;
        at = find_usable(heap, *n, view, request);
    }
    if (at == SCHED_NONE)
        return SCHED_NONE;
    uint32_t i = pop(heap, n, at).backend;
    if (head->now < large->backends[i].start)
        head->now = large->backends[i].start;
    charge(large, i);
    return i;
}

static uint32_t large_pick(struct large *large, const struct sched_view *view,
                           const struct sched_request *request)
{
    struct head *head = large->head;
    uint32_t picked = SCHED_NONE;

    if (head->now > NOW_MAX)
        begin_anew(large, view);
    for (uint32_t passed = 0; picked == SCHED_NONE && passed < PASSED_MAX; passed++) {
        admit(large);
        if (head->n_ready == 0)
            return SCHED_NONE;
        uint32_t i = pop(large->ready, &head->n_ready, 0).backend;
        charge(large, i);
        if (sched_usable(view, request, i))
            picked = i;
    }
    if (picked == SCHED_NONE)
        picked = search(large, view, request);
    if (picked != SCHED_NONE)
        head->now += PICK;
    return picked;
}

static int64_t period_of(const struct sched_view *view, uint32_t i)
{
    uint64_t weight = view->weight[i];
    return weight == 0 ? 0 : (int64_t)(((uint64_t)PICK * view->weight_sum + weight - 1) / weight);
}

static bool has_changed(const struct large *large, const struct sched_view *view)
{
    for (uint32_t i = 0; i < view->n; i++) {
        if (large->backends[i].period != period_of(view, i))
            return true;
    }
    return false;
}

static double cut_lag(double lag)
{
    if (lag > 1)
        return 1;
    return lag < -1 ? -1 : lag;
}

static double count_lag(const struct head *head, const struct large_backend *backend)
{
    if (backend->period == 0)
        return backend->lag;
    return (double)(head->now - backend->start) / (double)backend->period;
}

static void set_periods(struct large *large, const struct sched_view *view)
{
    double sum = 0;

    for (uint32_t i = 0; i < view->n; i++) {
        struct large_backend *backend = &large->backends[i];
        backend->lag = cut_lag(count_lag(large->head, backend));
        backend->period = period_of(view, i);
        if (backend->period != 0)
            sum += backend->lag;
    }
    large->head->now = 0;
    for (uint32_t e = 0; e < view->n_eligible; e++) {
        struct large_backend *backend = &large->backends[view->eligible[e]];
        backend->lag -= sum / view->n_eligible;
        backend->start = -(int64_t)(backend->lag * (double)backend->period);
    }
}

static void large_fold(struct large *large, const struct sched_view *view)
{
    struct head *head = large->head;
    bool changed = has_changed(large, view);

    if (head->has_heaps && !changed)
        return;
    if (changed)
        set_periods(large, view);
    fill_heaps(large, view);
    head->has_heaps = true;
}

/* Either */

static size_t wrr_state_bytes(uint32_t n)
{
    return is_small(n) ? n * sizeof(struct backend) : large_bytes(n);
}

/* In turns. */
static double get_lag(const void *state, uint32_t n, uint32_t i)
{
    if (is_small(n))
        return (double)((const struct backend *)state)[i].lag / (double)TURN;
    struct large large = open_large((void *)state, n);
    return count_lag(large.head, &large.backends[i]);
}

static void set_lag(void *state, uint32_t n, uint32_t i, double lag)
{
    if (is_small(n))
        ((struct backend *)state)[i].lag = (int64_t)(lag * (double)TURN);
    else
        open_large(state, n).backends[i].lag = lag;
}

/* Half a turn at most, either way. */
static void wrr_init(void *state, const struct sched_view *view, uint32_t seed)
{
    for (uint32_t i = 0; i < view->n; i++) {
        double part = 0.5;
        if (seed != 0)
            part = (double)(sched_mix((uint64_t)seed << 32 | i) >> 11) * 0x1p-53;
        else if (!is_small(view->n))
            part = 1 - (i + 0.5) / view->n;
        set_lag(state, view->n, i, part - 0.5);
    }
}

static void wrr_fold(void *state, const struct sched_view *view)
{
    if (is_small(view->n))
        return;
    struct large large = open_large(state, view->n);
    large_fold(&large, view);
}

static uint32_t wrr_pick(void *state, const struct sched_view *view,
                         const struct sched_request *request)
{
    if (is_small(view->n))
        return small_pick(state, view, request);
    struct large large = open_large(state, view->n);
    return large_pick(&large, view, request);
}

/* Of the same kind everything is kept to the bit, so that a reload that changes nothing changes no
 * order. */
static void wrr_carry(void *state, const struct sched_view *view, const void *old_state,
                      uint32_t old_n, const uint32_t *old_index)
{
    bool both_small = is_small(view->n) && is_small(old_n);
    bool both_large = !is_small(view->n) && !is_small(old_n);
    struct large large, old;

    if (both_large) {
        large = open_large(state, view->n);
        old = open_large((void *)old_state, old_n);
        large.head->now = old.head->now;
    }
    for (uint32_t i = 0; i < view->n; i++) {
        uint32_t from = old_index[i];
        if (from >= old_n)
            continue;
        if (both_small)
            ((struct backend *)state)[i] = ((const struct backend *)old_state)[from];
        else if (both_large)
            large.backends[i] = old.backends[from];
        else
            set_lag(state, view->n, i, get_lag(old_state, old_n, from));
    }
}

const struct sched_ops sched_wrr = {
    .name = "wrr",
    .help = "each backend in turn, in proportion to its weight",
    .kind = SCHED_BY_TURN,
    .weighted = true,
    .state_bytes = wrr_state_bytes,
    .init = wrr_init,
    .fold = wrr_fold,
    .pick = wrr_pick,
    .carry = wrr_carry,
};
