/*
 * Sessions that wait for a backend without a place in a queue: for a health, or for the end of an
 * idle connection in their way. In a worker.
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
