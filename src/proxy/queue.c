/*
 * Sessions that wait for a place at a backend while every eligible one is full: one queue a pool,
 * spread over the workers, first come first served. In a worker.
 *
 * Each worker keeps its own waiters in the order in which they came and publishes when its oldest
 * did (sb_pool_cell.oldest_us). Who gives a place back wakes the worker with the oldest waiter of
 * all; newcomers go behind those who wait. A worker that is woken serves its waiters as long as
 * they are the oldest and find places, and hands the turn on when somebody else's is older.
 *
 * No wake-up is lost: a waiter publishes itself and then looks at the places once more, a giver
 * gives the place back and then looks for waiters, both with a full fence in between, so at least
 * one of them sees the other. Who is being served stays published until it is known what came of
 * it. In a paused pool everyone waits, without limit and time-out, and who did so goes on waiting
 * after it was resumed, if there is no place. Who stops waiting without having been served has
 * perhaps been woken for nothing, and hands the turn on. A place that was given back by a dead
 * worker's repair wakes everyone, by master.
 */
#include "queue.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

/* A worker without a heartbeat for so long is passed over: its waiters must not hold up others'. */
#define STALE_MS 1500
/* While only a connect_rate is in the way. */
#define DUE_MIN_US 1000
/* After that a backend that could not be connected to is worth another try of who waits. */
#define FORGIVE_US 1000000
/* How many who cannot use what is free others may pass at a time. */
#define PASSED_MAX 16
/* Connecting takes some ten microseconds, and the others' bytes wait meanwhile. */
#define SERVED_A_TURN 64

struct queue {
    LIST_ENTRY(queue) link;
    struct attempt_list waiting; /* by queued_us */
    uint32_t row;                /* of the pool */
    uint64_t due_us;             /* when to look again by itself; UINT64_MAX: never */
    uint32_t generation, epoch;  /* of a paused pool: when those who wait were last asked */
    uint32_t freed;              /* sb_pool.freed when its turn was last handed on */
    bool has_newcomer;           /* since then */
    bool serving;                /* what is published stays so for the moment */
};

static struct sb_pool_cell *cell_of(const struct proxy *proxy, const struct queue *queue)
{
    return scoreboard_pool_cell(proxy->sb, proxy->worker, queue->row);
}

static void publish_oldest(const struct proxy *proxy, const struct queue *queue)
{
    const struct attempt *first = TAILQ_FIRST(&queue->waiting);
    if (queue->serving) {
        return;
    }
    atomic_store_explicit(&cell_of(proxy, queue)->oldest_us, first == NULL ? 0 : first->queued_us,
                          memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
}

static struct queue *find_or_make(struct proxy *proxy, uint32_t row)
{
    struct queue *queue;
    LIST_FOREACH (queue, &proxy->queues, link) {
        if (queue->row == row) {
            return queue;
        }
    }
    queue = calloc(1, sizeof(*queue));
    if (queue == NULL) {
        return NULL;
    }
    queue->row = row;
    queue->due_us = UINT64_MAX;
    TAILQ_INIT(&queue->waiting);
    LIST_INSERT_HEAD(&proxy->queues, queue, link);
    return queue;
}

/* Behind all who came before it; those who come back come near the front. */
static void insert(struct queue *queue, struct attempt *attempt)
{
    struct attempt *before = TAILQ_LAST(&queue->waiting, attempt_list);
    while (before != NULL && before->queued_us > attempt->queued_us) {
        before = TAILQ_PREV(before, attempt_list, waiting_link);
    }
    if (before == NULL) {
        TAILQ_INSERT_HEAD(&queue->waiting, attempt, waiting_link);
    } else {
        TAILQ_INSERT_AFTER(&queue->waiting, before, attempt, waiting_link);
    }
}

void queue_give_place_back(struct session *s)
{
    struct attempt *attempt = s->attempt;
    if (attempt->has_queue_place) {
        attempt->has_queue_place = false;
        scoreboard_release(s->proxy->sb, s->proxy->worker, SB_QUEUE, attempt->queue_row);
    }
}

/* Who is held in a paused pool is bounded by how many clients there may be at all. */
static bool take_place(struct session *s, const struct snapshot_pool *pool)
{
    struct attempt *attempt = s->attempt;
    if (attempt->has_queue_place && attempt->queue_row == pool->row) {
        return true;
    }
    queue_give_place_back(s);
    if (!scoreboard_reserve(s->proxy->sb, s->proxy->worker, SB_QUEUE, pool->row,
                            attempt->is_held ? 0 : pool->queue)) {
        return false;
    }
    attempt->has_queue_place = true;
    attempt->queue_row = pool->row;
    return true;
}

/* A rate lets the next one in by itself: nobody gives a place back. */
static void set_due(const struct proxy *proxy, struct queue *queue, uint32_t pool)
{
    uint64_t due_us = chooser_due_us(proxy->chooser, pool, proxy->woken_us);
    uint64_t soonest_us = proxy->woken_us + DUE_MIN_US;
    if (due_us != UINT64_MAX) {
        queue->due_us = due_us > soonest_us ? due_us : soonest_us;
    }
}

/* Under a pause no time runs, and that before it does not count any more. */
static void set_timeout(struct session *s, const struct snapshot_pool *pool)
{
    struct attempt *attempt = s->attempt;
    if (pool->paused) {
        attempt->timed_us = 0;
    } else if (attempt->timed_us == 0) {
        attempt->timed_us = attempt->is_held ? s->proxy->woken_us : attempt->queued_us;
    }
    if (pool->paused || pool->queue_timeout_ms == 0) {
        wheel_clear(&s->proxy->wheel, &s->timer);
    } else {
        wheel_set(&s->proxy->wheel, &s->timer, attempt->timed_us / 1000 + pool->queue_timeout_ms);
    }
}

bool queue_enter(struct session *s, uint32_t pool_index)
{
    struct proxy *proxy = s->proxy;
    struct attempt *attempt = s->attempt;
    const struct snapshot_pool *pool = &snapshot_pools(proxy->snapshot)[pool_index];
    attempt->is_held = attempt->is_held || pool->paused;
    bool may_wait = attempt->is_held || pool->queue != 0;
    struct queue *queue = may_wait ? find_or_make(proxy, pool->row) : NULL;
    bool was_counted = attempt->has_queue_place;
    if (queue == NULL || !take_place(s, pool)) {
        return false;
    }
    if (attempt->queued_us == 0) {
        attempt->queued_us = clock_now_us();
    }
    attempt->queue = queue;
    s->state = SESSION_WAITING;
    insert(queue, attempt);
    atomic_fetch_add_explicit(&proxy->row->waiting, 1, memory_order_relaxed);
    publish_oldest(proxy, queue);
    if (!queue->serving || !was_counted) {
        proxy->queues_due = true; /* the look after publishing */
        queue->has_newcomer = true;
    }
    if (!pool->paused) {
        set_due(proxy, queue, pool_index);
    }
    set_timeout(s, pool);
    return true;
}

void queue_leave(struct session *s)
{
    struct attempt *attempt = s->attempt;
    struct queue *queue = attempt->queue;
    if (queue == NULL) {
        return;
    }
    attempt->queue = NULL;
    TAILQ_REMOVE(&queue->waiting, attempt, waiting_link);
    atomic_fetch_sub_explicit(&s->proxy->row->waiting, 1, memory_order_relaxed);
    publish_oldest(s->proxy, queue);
    if (!queue->serving) {
        s->proxy->queues_due = true; /* somebody may have given it a place just now */
    }
}

/* --- whose turn it is --- */

static bool is_stale(const struct proxy *proxy, uint32_t worker)
{
    uint64_t beat_ms =
        atomic_load_explicit(&proxy->sb->workers[worker].heartbeat_ms, memory_order_relaxed);
    return worker != proxy->worker && beat_ms + STALE_MS < proxy->now_ms;
}

static void wake(struct proxy *proxy, uint32_t worker)
{
    if (worker == proxy->worker) {
        proxy->queues_due = true;
    } else if (proxy->wakes != NULL && worker < proxy->sb->header->n_workers) {
        (void)!write(proxy->wakes[worker], &(uint64_t){1}, sizeof(uint64_t));
    }
}

/* The worker with the oldest waiter of the pool; n_workers: nobody waits. One that is passed over
 * is told all the same, for when it goes on. */
static uint32_t find_oldest(struct proxy *proxy, uint32_t row)
{
    uint32_t n_workers = proxy->sb->header->n_workers;
    uint32_t oldest = n_workers;
    uint64_t oldest_us = UINT64_MAX;
    for (uint32_t w = 0; w < n_workers; w++) {
        uint64_t us = atomic_load_explicit(&scoreboard_pool_cell(proxy->sb, w, row)->oldest_us,
                                           memory_order_acquire);
        if (us == 0 || us >= oldest_us) {
            continue;
        }
        if (is_stale(proxy, w)) {
            wake(proxy, w);
            continue;
        }
        oldest_us = us;
        oldest = w;
    }
    return oldest;
}

void queue_place_freed(struct proxy *proxy, uint32_t slot)
{
    if (!proxy->has_queues) {
        return;
    }
    uint32_t row = atomic_load_explicit(&proxy->sb->slots[slot].pool, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&proxy->sb->pools[row].queued, memory_order_relaxed) != 0) {
        atomic_fetch_add_explicit(&proxy->sb->pools[row].freed, 1, memory_order_release);
        wake(proxy, find_oldest(proxy, row));
    }
}

/* --- serving --- */

/* Lets one choose. False: there is no place for it yet, it waits on where it was. */
static bool serve_one(struct proxy *proxy, struct queue *queue, struct session *s)
{
    queue->serving = true;
    queue_leave(s);
    connect_begin(s);
    queue->serving = false;
    publish_oldest(proxy, queue);
    return s->dead || s->attempt == NULL || s->attempt->queue != queue;
}

/* Somebody else's turn. It is told only when there is news, a place given back, a newcomer here or
 * somebody served, and room: workers that told each other without news would never stop. */
static void hand_on(struct proxy *proxy, struct queue *queue, uint32_t worker, bool is_news)
{
    uint32_t freed =
        atomic_load_explicit(&proxy->sb->pools[queue->row].freed, memory_order_acquire);
    uint16_t pool = proxy->pool_of_row[queue->row];
    is_news = is_news || queue->has_newcomer || freed != queue->freed;
    queue->has_newcomer = false;
    queue->freed = freed;
    if (pool != UINT16_MAX && !TAILQ_EMPTY(&queue->waiting)) {
        set_due(proxy, queue, pool); /* ours may be the first by then */
    }
    if (is_news &&
        (pool == UINT16_MAX || chooser_may_serve(proxy->chooser, pool, proxy->woken_us))) {
        wake(proxy, worker);
    }
}

static bool is_paused(const struct proxy *proxy, const struct queue *queue)
{
    uint16_t pool = proxy->pool_of_row[queue->row];
    return pool != UINT16_MAX && snapshot_pools(proxy->snapshot)[pool].paused;
}

/* Nobody's turn comes before the pool is resumed; but a service may be sent to another pool, and
 * one whose fallback this is may have its own again. */
static void ask_held(struct proxy *proxy, struct queue *queue)
{
    struct attempt_list held = TAILQ_HEAD_INITIALIZER(held);
    struct attempt *attempt;
    if (queue->generation == proxy->snapshot->generation && queue->epoch == proxy->health_epoch) {
        return;
    }
    queue->generation = proxy->snapshot->generation;
    queue->epoch = proxy->health_epoch;
    /* Each once: who came at the same time comes back behind the other. */
    TAILQ_CONCAT(&held, &queue->waiting, waiting_link);
    while ((attempt = TAILQ_FIRST(&held)) != NULL) {
        TAILQ_REMOVE(&held, attempt, waiting_link);
        TAILQ_INSERT_TAIL(&queue->waiting, attempt, waiting_link);
        (void)serve_one(proxy, queue, attempt->session);
    }
}

/* Who has tried in vain what is free now lets others pass, and has another try a second later. */
static void serve(struct proxy *proxy, struct queue *queue)
{
    struct attempt *attempt, *next;
    uint32_t passed = 0, n_served = 0;
    queue->due_us = UINT64_MAX;
    if (is_paused(proxy, queue)) {
        ask_held(proxy, queue);
        return;
    }
    for (attempt = TAILQ_FIRST(&queue->waiting); attempt != NULL && passed < PASSED_MAX;
         attempt = next) {
        uint32_t oldest = find_oldest(proxy, queue->row);
        if (oldest != proxy->worker) {
            hand_on(proxy, queue, oldest, n_served > 0);
            return;
        }
        if (n_served == SERVED_A_TURN) {
            proxy->queues_due = true;
            return;
        }
        next = TAILQ_NEXT(attempt, waiting_link);
        if (serve_one(proxy, queue, attempt->session)) {
            n_served++;
            continue;
        }
        if (attempt->n_tried == 0 && !attempt->is_held_back) {
            return;
        }
        passed++;
        uint64_t since_us = attempt->n_tried == 0 ? proxy->woken_us : attempt->failed_us;
        uint64_t again_us = since_us + FORGIVE_US;
        queue->due_us = again_us < queue->due_us ? again_us : queue->due_us;
    }
    /* Perhaps there is room for more than ours. */
    uint32_t oldest = find_oldest(proxy, queue->row);
    if (oldest != proxy->worker) {
        hand_on(proxy, queue, oldest, n_served > 0);
    }
}

bool queue_forgives(const struct session *s)
{
    const struct attempt *attempt = s->attempt;
    return attempt->queued_us != 0 && s->proxy->woken_us >= attempt->failed_us + FORGIVE_US;
}

void queue_serve(struct proxy *proxy)
{
    struct queue *queue;
    struct queue *next;
    bool all = proxy->queues_due;
    proxy->queues_due = false;
    LIST_FOREACH_SAFE (queue, &proxy->queues, link, next) {
        if (all || queue->due_us <= proxy->woken_us) {
            serve(proxy, queue);
        }
        if (TAILQ_EMPTY(&queue->waiting)) {
            LIST_REMOVE(queue, link);
            free(queue);
        }
    }
}

void queue_free_all(struct proxy *proxy)
{
    struct queue *queue;
    while ((queue = LIST_FIRST(&proxy->queues)) != NULL) {
        LIST_REMOVE(queue, link);
        free(queue);
    }
}

uint64_t queue_due_ms(const struct proxy *proxy)
{
    uint64_t soonest_us = UINT64_MAX;
    const struct queue *queue;
    LIST_FOREACH (queue, &proxy->queues, link) {
        soonest_us = queue->due_us < soonest_us ? queue->due_us : soonest_us;
    }
    return soonest_us == UINT64_MAX ? UINT64_MAX : (soonest_us + 999) / 1000;
}

void queue_find_use(struct proxy *proxy)
{
    const struct snapshot_pool *pools = snapshot_pools(proxy->snapshot);
    proxy->has_queues = false;
    for (uint32_t p = 0; p < proxy->snapshot->n_pools; p++) {
        /* Some may still wait who were held while it was paused. */
        proxy->has_queues |=
            pools[p].queue != 0 || pools[p].paused ||
            atomic_load_explicit(&proxy->sb->pools[pools[p].row].queued, memory_order_relaxed) != 0;
    }
    proxy->has_queues |= !LIST_EMPTY(&proxy->queues);
    proxy->queues_due = true;
}
