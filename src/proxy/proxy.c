/*
 * The worker's data path as a whole: its snapshot, its turn, its lists. In a worker.
 */
#include "proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "buffer.h"
#include "closing.h"
#include "outlier.h"
#include "queue.h"
#include "session.h"
#include "session_log.h"
#include "splice.h"
#include "upstream.h"

#define SESSION_ARENA_BYTES (256 * 1024)
#define ATTEMPT_ARENA_BYTES (64 * 1024)

#define TRIM_MAX 2048 /* free items and pages a beat and slab: 0.2 to 0.4 ms when all go */

/* An idle connection is to take at most 700 bytes of ours. Beside its record those are what
 * libevent has for two descriptors, each a record of 16 bytes (base/tiny.h) and a pointer (evmap.c),
 * of these up to twice as many while its tables have room to grow. */
_Static_assert(sizeof(struct session) <= 700 - 2 * (16 + 2 * 8), "connections take too much memory");

struct proxy *proxy_create(struct event_base *base, struct scoreboard *sb, uint32_t worker,
                           const int *wakes)
{
    struct proxy *proxy = calloc(1, sizeof(*proxy));
    if (proxy == NULL) {
        return NULL;
    }
    proxy->base = base;
    proxy->sb = sb;
    proxy->worker = worker;
    proxy->row = &sb->workers[worker];
    proxy->wakes = wakes;
    proxy->now_ms = clock_now_ms();
    proxy->drain_deadline_ms = UINT64_MAX;
    proxy->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    LIST_INIT(&proxy->listeners);
    TAILQ_INIT(&proxy->sessions);
    TAILQ_INIT(&proxy->waiting);
    TAILQ_INIT(&proxy->cramped);
    LIST_INIT(&proxy->queues);
    STAILQ_INIT(&proxy->ready);
    STAILQ_INIT(&proxy->dead);
    wheel_init(&proxy->wheel, proxy->now_ms);
    slab_init(&proxy->session_slab, sizeof(struct session), SESSION_ARENA_BYTES);
    slab_init(&proxy->attempt_slab, sizeof(struct attempt), ATTEMPT_ARENA_BYTES);
    slab_init(&proxy->exchange_slab, exchange_bytes(), SESSION_ARENA_BYTES);
    proxy->log = session_log_create();
    if (proxy->log == NULL) {
        fd_close(&proxy->spare_fd);
        free(proxy);
        return NULL;
    }
    closing_init(proxy);
    upstreams_init(proxy);
    buffer_init(proxy);
    splice_init(proxy);
    proxy->buffer_parts_max = UINT32_MAX;
    return proxy;
}

static void free_dead(struct proxy *proxy)
{
    struct session *s;
    while ((s = STAILQ_FIRST(&proxy->dead)) != NULL) {
        STAILQ_REMOVE_HEAD(&proxy->dead, turn_link);
        slab_free(&proxy->session_slab, s);
    }
}

static void end_all(struct proxy *proxy)
{
    struct session *s, *next;
    TAILQ_FOREACH_SAFE (s, &proxy->sessions, all_link, next) {
        if (s->attempt != NULL) {
            session_refuse(s, REFUSAL_STOPPING);
        } else {
            session_finish(s, ENDING_DRAIN_DEADLINE);
        }
    }
}

void proxy_destroy(struct proxy *proxy)
{
    if (proxy == NULL) {
        return;
    }
    listener_close_all(proxy);
    end_all(proxy);
    closing_fini(proxy);
    free_dead(proxy);
    queue_free_all(proxy);
    upstreams_fini(proxy);
    session_log_destroy(proxy->log);
    log_flush();
    chooser_destroy(proxy->chooser);
    snapshot_unmap(proxy->snapshot);
    slab_fini(&proxy->session_slab);
    slab_fini(&proxy->attempt_slab);
    slab_fini(&proxy->exchange_slab);
    buffer_fini(proxy);
    splice_fini(proxy);
    fd_close(&proxy->spare_fd);
    free(proxy);
}

int proxy_apply(struct proxy *proxy, const struct snapshot_header *snapshot)
{
    proxy_touch(proxy);
    struct chooser *chooser =
        chooser_create(snapshot, proxy->sb, proxy->worker, proxy->now_ms, proxy->chooser);
    if (chooser == NULL) {
        snapshot_unmap(snapshot);
        return -ENOMEM;
    }
    /* What waits in the queue of a listener that is going still finds its service. */
    const struct snapshot_header *old = proxy->snapshot;
    struct chooser *old_chooser = proxy->chooser;
    if (old != NULL) {
        listener_close_dropped(proxy, snapshot);
    }
    proxy->snapshot = snapshot;
    proxy->chooser = chooser;
    memset(proxy->service_of_row, 0xff, sizeof(proxy->service_of_row));
    const struct snapshot_service *services = snapshot_services(snapshot);
    for (uint32_t i = 0; i < snapshot->n_services; i++) {
        proxy->service_of_row[services[i].row] = i;
    }
    closing_apply(proxy, old);
    session_log_apply(proxy);
    buffers_apply(proxy);
    listener_rebind(proxy);
    chooser_destroy(old_chooser);
    snapshot_unmap(old);
    /* Whoever waits may find a backend in the new one. */
    outlier_apply(proxy);
    upstreams_apply(proxy);
    queue_find_use(proxy);
    proxy->endings_due = true;
    connect_begin_round(proxy);
    return 0;
}

void proxy_begin_work(struct proxy *proxy)
{
    proxy_touch(proxy);
}

int proxy_add_listener(struct proxy *proxy, uint32_t id, int fd)
{
    return listener_add(proxy, id, fd);
}

void proxy_drain(struct proxy *proxy, uint64_t deadline_ms)
{
    proxy->draining = true;
    proxy->drain_deadline_ms = deadline_ms;
    proxy_touch(proxy);
    if (proxy->snapshot != NULL) {
        listener_close_all(proxy);
    }
    /* Clients between two requests would only be there to be reset at the deadline. */
    struct session *s, *next;
    TAILQ_FOREACH_SAFE (s, &proxy->sessions, all_link, next) {
        if (exchange_is_idle(s)) {
            session_finish(s, ENDING_BACKEND_FIN);
        }
    }
}

void proxy_wake(struct proxy *proxy)
{
    proxy->woken_us = clock_now_us();
    proxy->now_ms = proxy->woken_us / 1000;
}

bool proxy_busy(const struct proxy *proxy)
{
    return !STAILQ_EMPTY(&proxy->ready) || proxy->queues_due || proxy->endings_due ||
           proxy->closings_due_ms <= proxy->now_ms || connect_has_unasked(proxy);
}

/* Each flow that used its budget up gets one more; those that use that up too come next turn. */
static void work_ready(struct proxy *proxy)
{
    struct session_queue now = STAILQ_HEAD_INITIALIZER(now);
    STAILQ_CONCAT(&now, &proxy->ready);
    struct session *s;
    while ((s = STAILQ_FIRST(&now)) != NULL) {
        STAILQ_REMOVE_HEAD(&now, turn_link);
        s->in_ready = false;
        relay_work(s);
    }
}

static void look_at_health(struct proxy *proxy)
{
    uint32_t epoch = atomic_load_explicit(&proxy->sb->header->health_epoch, memory_order_acquire);
    if (epoch != proxy->health_epoch) {
        proxy->health_epoch = epoch;
        proxy->queues_due = true;
        proxy->endings_due = true;
        upstreams_look(proxy);
        connect_begin_round(proxy);
    }
}

uint64_t proxy_turn(struct proxy *proxy)
{
    proxy_touch(proxy);
    work_ready(proxy);
    look_at_health(proxy);
    connect_retry_waiting(proxy);
    endings_work(proxy);
    closing_work(proxy);
    wheel_advance(&proxy->wheel, proxy->now_ms, session_fire, proxy);
    connect_retry_cramped(proxy);
    queue_serve(proxy);
    upstreams_work(proxy);
    splice_work(proxy);
    listener_resume(proxy);
    if (proxy->draining && proxy->now_ms >= proxy->drain_deadline_ms) {
        end_all(proxy);
    }
    free_dead(proxy);
    log_flush();
    uint64_t now_us = clock_now_us();
    uint32_t lag_us = (uint32_t)(now_us - proxy->woken_us);
    if (lag_us > proxy->longest_turn_us) {
        proxy->longest_turn_us = lag_us;
    }
    proxy->woken_us = 0;
    return now_us / 1000;
}

uint64_t proxy_next_ms(const struct proxy *proxy, uint64_t now_ms)
{
    const uint64_t due[] = {
        listener_resume_ms(proxy), queue_due_ms(proxy),
        upstreams_due_ms(proxy),   splice_due_ms(proxy),
        proxy->closings_due_ms,    proxy->draining ? proxy->drain_deadline_ms : UINT64_MAX,
    };
    uint64_t next = wheel_next_ms(&proxy->wheel, now_ms);
    for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
        uint64_t in = due[i] > now_ms ? due[i] - now_ms : 0;
        next = in < next ? in : next;
    }
    if (!TAILQ_EMPTY(&proxy->cramped)) {
        next = next < 1 ? next : 1;
    }
    return next;
}

void proxy_woken(struct proxy *proxy)
{
    proxy_touch(proxy);
    proxy->queues_due = true;
    upstreams_asked(proxy);
}

static uint32_t find_service(const struct proxy *proxy, const char *name)
{
    if (proxy->snapshot == NULL) {
        return SNAPSHOT_NONE;
    }
    const struct snapshot_service *services = snapshot_services(proxy->snapshot);
    for (uint32_t i = 0; i < proxy->snapshot->n_services; i++) {
        if (strncmp(services[i].name, name, NAME_BYTES_MAX) == 0) {
            return i;
        }
    }
    return SNAPSHOT_NONE;
}

void proxy_explain(struct proxy *proxy, const struct explanation_question *question,
                   struct explanation *out)
{
    uint32_t service = find_service(proxy, question->service);
    if (service == SNAPSHOT_NONE) {
        *out = (struct explanation){.service = SNAPSHOT_NONE,
                                    .generation =
                                        proxy->snapshot == NULL ? 0 : proxy->snapshot->generation};
        return;
    }
    const struct choose_request request = {
        .service = service,
        .client = &question->client,
        .destination = question->destination.family == ADDR_NONE ? NULL : &question->destination,
        .now_us = clock_now_us(),
    };
    chooser_explain(proxy->chooser, &request, out);
}

static void trim_slabs(struct proxy *proxy)
{
    struct slab *slabs[] = {&proxy->session_slab, &proxy->attempt_slab, &proxy->upstream_slab,
                            &proxy->exchange_slab};
    for (size_t i = 0; i < sizeof(slabs) / sizeof(slabs[0]); i++) {
        (void)slab_trim(slabs[i], TRIM_MAX);
    }
    buffers_trim(proxy);
}

void proxy_beat(struct proxy *proxy)
{
    trim_slabs(proxy);
    atomic_store_explicit(&proxy->row->loop_lag_us, proxy->longest_turn_us, memory_order_relaxed);
    proxy->longest_turn_us = 0;
}

size_t proxy_sessions(const struct proxy *proxy)
{
    return proxy->n_sessions;
}

uint64_t proxy_closes_by(const struct session *s)
{
    return s->slot == SNAPSHOT_NONE
               ? 0
               : atomic_load_explicit(&s->proxy->sb->slots[s->slot].close_by_ms,
                                      memory_order_relaxed);
}

static bool is_in_rows(uint32_t row, const struct session_filter *filter)
{
    bool is_in = filter->row == SESSION_FILTER_ANY || filter->row == row;
    for (uint32_t i = 0; i < filter->n_more && i < SESSION_FILTER_MORE_MAX && !is_in; i++) {
        is_in = filter->more[i] == row;
    }
    return is_in;
}

bool proxy_matches(const struct session *s, const struct session_filter *filter)
{
    return (filter->id == 0 || filter->id == s->id) &&
           (filter->service_row == SESSION_FILTER_ANY || filter->service_row == s->service_row) &&
           is_in_rows(s->row, filter) &&
           (filter->client.ip.family == ADDR_NONE ||
            addr_cidr_contains(&filter->client, &s->peer)) &&
           (filter->close_by_ms == 0 ||
            (s->attempt == NULL && filter->close_by_ms == proxy_closes_by(s))) &&
           s->proxy->now_ms - s->active_ms >= filter->idle_ms;
}

size_t proxy_list(const struct proxy *proxy, const struct session_filter *filter, uint64_t after_id,
                  struct session_info *out, size_t max)
{
    size_t n = 0;
    size_t limit = filter->limit < max ? filter->limit : max;
    const struct session *s;
    TAILQ_FOREACH (s, &proxy->sessions, all_link) {
        if (n == limit) {
            break;
        }
        if (s->id <= after_id || !proxy_matches(s, filter)) {
            continue;
        }
        out[n++] = (struct session_info){
            .id = s->id,
            .client = s->peer,
            .service_row = s->service_row,
            .slot = s->slot,
            .row = s->row,
            .state = s->state,
            .age_ms = proxy->now_ms - s->started_ms,
            .idle_ms = proxy->now_ms - s->active_ms,
            .bytes_in = s->bytes_in,
            .bytes_out = s->bytes_out,
            .is_spliced_in = splice_is_used(s, false),
            .is_spliced_out = splice_is_used(s, true),
        };
    }
    return n;
}
