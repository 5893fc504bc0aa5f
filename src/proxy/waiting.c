/*
 * Sessions that wait for a backend: for a health, or for the end of an idle connection in their
 * way, both without a place in a queue; and who enters one. In a worker.
 */
#include "queue.h"
#include "session.h"

void connect_stop_waiting(struct session *s)
{
    struct attempt *attempt = s->attempt;
    queue_leave(s);
    if (attempt->waiting) {
        attempt->waiting = false;
        TAILQ_REMOVE(&s->proxy->waiting, attempt, waiting_link);
        atomic_fetch_sub_explicit(&s->proxy->row->waiting, 1, memory_order_relaxed);
    }
    if (attempt->is_cramped) {
        attempt->is_cramped = false;
        TAILQ_REMOVE(&s->proxy->cramped, attempt, waiting_link);
    }
}

bool connect_is_held_back(const struct attempt *attempt, uint32_t pool)
{
    for (uint32_t i = 0; i < attempt->n_tried; i++) {
        if ((attempt->held_back >> i & 1) != 0 && attempt->tried[i].pool == pool) {
            return true;
        }
    }
    return false;
}

/* It will be their turn again. */
static void forget_held_back(struct attempt *attempt)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < attempt->n_tried; i++) {
        if ((attempt->held_back >> i & 1) == 0) {
            attempt->tried[n++] = attempt->tried[i];
        }
    }
    attempt->n_tried = n;
    attempt->held_back = 0;
}

void connect_wait_for_place(struct session *s)
{
    uint32_t pool = s->attempt->chosen.pool;
    forget_held_back(s->attempt);
    if (!queue_enter(s, pool)) {
        bool has_queue = snapshot_pools(s->proxy->snapshot)[pool].queue != 0;
        session_refuse(s, has_queue ? REFUSAL_QUEUE_FULL : REFUSAL_FULL);
        return;
    }
    /* Who leaves meanwhile is to leave the place to others. */
    (void)(s->client.registered || relay_register(s, &s->client));
}

bool connect_wait_for_room(struct session *s, const struct snapshot_pool *pool)
{
    struct proxy *proxy = s->proxy;
    struct attempt *attempt = s->attempt;
    if (attempt->cramped_ms == 0) {
        attempt->cramped_ms = proxy->now_ms;
    }
    if (proxy->now_ms - attempt->cramped_ms >= pool->connect_timeout_ms) {
        return false;
    }
    connect_abandon(s);
    s->state = SESSION_WAITING;
    if (attempt->has_queue_place && pool->queue_timeout_ms != 0) {
        wheel_set(&proxy->wheel, &s->timer, attempt->timed_us / 1000 + pool->queue_timeout_ms);
    } else {
        wheel_clear(&proxy->wheel, &s->timer);
    }
    attempt->is_cramped = true;
    TAILQ_INSERT_TAIL(&proxy->cramped, attempt, waiting_link);
    return true;
}

static void retry_all(struct attempt_list *waiting)
{
    struct attempt_list again = TAILQ_HEAD_INITIALIZER(again);
    TAILQ_CONCAT(&again, waiting, waiting_link);
    struct attempt *attempt;
    while ((attempt = TAILQ_FIRST(&again)) != NULL) {
        /* Back into the list it is expected in, so that leaving it is the same for everyone. */
        TAILQ_REMOVE(&again, attempt, waiting_link);
        TAILQ_INSERT_TAIL(waiting, attempt, waiting_link);
        connect_stop_waiting(attempt->session);
        connect_begin(attempt->session);
    }
}

void connect_retry_waiting(struct proxy *proxy)
{
    retry_all(&proxy->waiting);
}

void connect_retry_cramped(struct proxy *proxy)
{
    if (!TAILQ_EMPTY(&proxy->cramped) && proxy->now_ms != proxy->cramped_ms) {
        proxy->cramped_ms = proxy->now_ms; /* once a millisecond is enough */
        retry_all(&proxy->cramped);
    }
}
