/*
 * Sessions that find no backend: who is refused, and who waits, for a health, for the end of an
 * idle connection in their way, both without a place in a queue, or in one. In a worker.
 *
 * Those who wait for a health are asked again, a bounded number a turn, when some health has
 * changed. Who was asked in this round, or came since it began, stands behind all who were not.
 */
#include "queue.h"
#include "session.h"

/* Connecting takes some ten microseconds, and the others' bytes wait meanwhile. */
#define RETRIES_A_TURN 64

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

void connect_forget_tried(struct attempt *attempt)
{
    attempt->n_tried = 0;
    attempt->held_back = attempt->portless = 0;
    attempt->forgets = false;
}

/* It will be their turn again. */
static void forget_held_back(struct attempt *attempt)
{
    uint32_t n = 0;
    uint32_t again = attempt->held_back | attempt->portless;
    for (uint32_t i = 0; i < attempt->n_tried; i++) {
        if ((again >> i & 1) == 0) {
            attempt->tried[n++] = attempt->tried[i];
        }
    }
    attempt->n_tried = n;
    attempt->held_back = attempt->portless = 0;
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

/* --- without a backend --- */

/* Until a health is known, at most START_WAIT_MS after the client came. */
static void wait_for_health(struct session *s)
{
    s->state = SESSION_WAITING;
    s->attempt->waiting = true;
    s->attempt->round = s->proxy->waiting_round;
    TAILQ_INSERT_TAIL(&s->proxy->waiting, s->attempt, waiting_link);
    atomic_fetch_add_explicit(&s->proxy->row->waiting, 1, memory_order_relaxed);
    wheel_set(&s->proxy->wheel, &s->timer, s->attempt->begun_ms + START_WAIT_MS);
}

static enum refusal why_in_vain(const struct attempt *attempt, enum refusal otherwise)
{
    if (attempt->tries > 0) {
        return REFUSAL_CONNECT_FAILED;
    }
    if (attempt->no_port) {
        return REFUSAL_SOURCE_PORTS;
    }
    return attempt->no_address ? REFUSAL_CLIENT_ADDRESS : otherwise;
}

void connect_without(struct session *s, enum choice choice)
{
    struct attempt *attempt = s->attempt;
    switch (choice) {
    case CHOICE_STARTING:
        wait_for_health(s);
        break;
    case CHOICE_FULL:
    case CHOICE_PAUSED:
        connect_wait_for_place(s);
        break;
    case CHOICE_TRIED:
        if (connect_is_held_back(attempt, attempt->chosen.pool)) {
            connect_wait_for_place(s);
            break;
        }
        if (attempt->again) {
            attempt->again = false;
            connect_forget_tried(attempt);
            s->state = SESSION_WAITING;
            wheel_set(&s->proxy->wheel, &s->timer, s->proxy->now_ms + UNIX_AGAIN_MS);
            break;
        }
        session_refuse(s, why_in_vain(attempt, REFUSAL_CONNECT_FAILED));
        break;
    default:
        session_refuse(s, why_in_vain(attempt, REFUSAL_NO_BACKEND));
        break;
    }
}

/* --- another try --- */

static void retry(struct attempt *attempt)
{
    connect_stop_waiting(attempt->session);
    connect_begin(attempt->session);
}

void connect_begin_round(struct proxy *proxy)
{
    proxy->waiting_round++;
}

bool connect_has_unasked(const struct proxy *proxy)
{
    const struct attempt *first = TAILQ_FIRST(&proxy->waiting);
    return first != NULL && first->round != proxy->waiting_round;
}

void connect_retry_waiting(struct proxy *proxy)
{
    for (uint32_t n = 0; n < RETRIES_A_TURN && connect_has_unasked(proxy); n++) {
        retry(TAILQ_FIRST(&proxy->waiting));
    }
}

void connect_retry_cramped(struct proxy *proxy)
{
    struct attempt_list again = TAILQ_HEAD_INITIALIZER(again);
    struct attempt *attempt;
    if (TAILQ_EMPTY(&proxy->cramped) || proxy->now_ms == proxy->cramped_ms) {
        return; /* once a millisecond is enough */
    }
    proxy->cramped_ms = proxy->now_ms;
    TAILQ_CONCAT(&again, &proxy->cramped, waiting_link);
    while ((attempt = TAILQ_FIRST(&again)) != NULL) {
        /* Back into the list it is expected in, so that leaving it is the same for everyone. */
        TAILQ_REMOVE(&again, attempt, waiting_link);
        TAILQ_INSERT_TAIL(&proxy->cramped, attempt, waiting_link);
        retry(attempt);
    }
}
