/*
 * A session's beginning, its timers, and its one end. Owns the session records of a worker.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buffer.h"
#include "closing.h"
#include "outlier.h"
#include "queue.h"
#include "session.h"
#include "session_log.h"
#include "source.h"
#include "splice.h"
#include "upstream.h"

static struct sb_service_cell *service_cell(const struct proxy *proxy, uint32_t service_row)
{
    return scoreboard_service_cell(proxy->sb, proxy->worker, service_row);
}

static void refuse_fd(struct proxy *proxy, uint32_t service_row, int fd, const struct addr_ip *peer,
                      enum refusal reason)
{
    session_log_turned_away(proxy, service_row, peer, reason);
    scoreboard_bump(&service_cell(proxy, service_row)->refused_by[reason], 1);
    socket_reset(fd);
}

static void count_client(struct proxy *proxy, uint32_t service_row)
{
    scoreboard_bump(&service_cell(proxy, service_row)->connections_total, 1);
    scoreboard_bump(&proxy->row->connections_total, 1);
}

void session_turn_away(struct proxy *proxy, uint32_t service_row, int fd,
                       const struct addr_ip *peer, enum refusal reason)
{
    count_client(proxy, service_row);
    refuse_fd(proxy, service_row, fd, peer, reason);
}

/* Takes the daemon's and the service's place, or refuses. */
static bool admit(struct proxy *proxy, const struct snapshot_service *service, int fd,
                  const struct addr_ip *peer)
{
    if (service->admin == ADMIN_MAINTENANCE) {
        session_turn_away(proxy, service->row, fd, peer, REFUSAL_MAINTENANCE);
        return false;
    }
    if (!scoreboard_reserve(proxy->sb, proxy->worker, SB_DAEMON, 0,
                            proxy->snapshot->max_connections)) {
        session_turn_away(proxy, service->row, fd, peer, REFUSAL_DAEMON_LIMIT);
        return false;
    }
    if (!scoreboard_reserve(proxy->sb, proxy->worker, SB_SERVICE, service->row,
                            service->max_connections)) {
        scoreboard_release(proxy->sb, proxy->worker, SB_DAEMON, 0);
        session_turn_away(proxy, service->row, fd, peer, REFUSAL_SERVICE_LIMIT);
        return false;
    }
    return true;
}

static struct session *session_alloc(struct proxy *proxy)
{
    struct session *s = slab_alloc(&proxy->session_slab);
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, sizeof(*s));
    s->proxy = proxy;
    s->backend = &s->plain;
    return s;
}

void session_start(struct proxy *proxy, uint32_t service_index, uint32_t listener, int fd,
                   const struct addr_ip *peer)
{
    const struct snapshot_service *service = &snapshot_services(proxy->snapshot)[service_index];
    if (!admit(proxy, service, fd, peer)) {
        return;
    }
    count_client(proxy, service->row);
    struct session *s = session_alloc(proxy);
    if (s == NULL) {
        scoreboard_release(proxy->sb, proxy->worker, SB_SERVICE, service->row);
        scoreboard_release(proxy->sb, proxy->worker, SB_DAEMON, 0);
        refuse_fd(proxy, service->row, fd, peer, REFUSAL_MEMORY);
        return;
    }
    s->client.fd = fd;
    s->client.readable = true;
    s->client.writable = true;
    s->client.is_prompt = true; /* from the listening socket */
    s->backend->fd = -1;
    s->id = (uint64_t)proxy->worker << 48 | ++proxy->next_id;
    s->started_ms = proxy->now_ms;
    s->active_ms = proxy->now_ms;
    s->peer = *peer;
    s->service_row = (uint16_t)service->row;
    s->listener = (uint16_t)listener;
    s->slot = SNAPSHOT_NONE;
    s->row = SNAPSHOT_NONE;
    s->idle_timeout_ms = service->idle_timeout_ms;
    s->half_close_timeout_ms = service->half_close_timeout_ms;
    s->state = SESSION_WAITING;
    TAILQ_INSERT_TAIL(&proxy->sessions, s, all_link);
    proxy->n_sessions++;
    const struct snapshot_reuse *reuse = &snapshot_pools(proxy->snapshot)[service->pool].reuse;
    if (reuse->framing == FRAMING_NONE) {
        connect_start(s);
    } else if (exchange_begin(s)) {
        exchange_work(s);
    } else {
        session_refuse(s, REFUSAL_MEMORY);
    }
}

void session_end_attempt(struct session *s)
{
    connect_abandon(s);
    if (s->attempt != NULL) {
        queue_give_place_back(s);
        slab_free(&s->proxy->attempt_slab, s->attempt);
        s->attempt = NULL;
    }
}

static void leg_release(struct proxy *proxy, struct leg *leg, bool orderly)
{
    if (leg->registered) {
        event_del(&leg->event);
        leg->registered = false;
    }
    buffer_free(proxy, leg->pending);
    leg->pending = NULL;
    if (leg->fd >= 0 && orderly) {
        close(leg->fd);
    } else if (leg->fd >= 0) {
        if (leg->corked) {
            socket_push(leg->fd);
        }
        socket_reset(leg->fd);
    }
    leg->fd = -1;
    source_release(proxy, leg); /* not before: another worker would look for the port in vain */
}

/* How long the client's lease goes on. A backend that could not be connected to is no reason. */
static uint64_t lease_keep_ms(const struct session *s)
{
    uint32_t service = s->proxy->service_of_row[s->service_row];
    if (s->attempt != NULL || service == SNAPSHOT_NONE) {
        return 0;
    }
    return snapshot_services(s->proxy->snapshot)[service].persistence_ms;
}

void session_release_backend(struct session *s)
{
    struct proxy *proxy = s->proxy;
    if (s->slot == SNAPSHOT_NONE) {
        return;
    }
    if (s->hold.place != 0) {
        lease_release(proxy->sb, &s->hold, s->row, proxy->now_ms, lease_keep_ms(s));
    }
    scoreboard_release(proxy->sb, proxy->worker, SB_SLOT, s->slot);
    /* Who waits in the queue and gave back what it was of no use to has no news for itself. */
    if (s->attempt == NULL || !s->attempt->is_held_back || s->attempt->queued_us == 0) {
        queue_place_freed(proxy, s->slot);
    }
    s->slot = SNAPSHOT_NONE;
    s->row = SNAPSHOT_NONE;
}

/* Everything that both ends have in common: nothing of the session is left but its record. It is
 * counted, in counter, where its place is given back: whoever dies in between is counted once. */
static void release(struct session *s, bool orderly, bool client_orderly, _Atomic uint64_t *counter)
{
    struct proxy *proxy = s->proxy;
    session_log_ended(s, counter);
    closing_forget(s);
    session_end_attempt(s);
    exchange_free(s);
    splice_end(s);
    leg_release(proxy, &s->client, client_orderly);
    if (s->upstream != NULL) {
        upstream_discard(s, DISCARD_SESSION_END, orderly);
    } else {
        leg_release(proxy, s->backend, orderly);
    }
    session_release_backend(s);
    scoreboard_bump(counter, 1);
    scoreboard_release(proxy->sb, proxy->worker, SB_SERVICE, s->service_row);
    scoreboard_release(proxy->sb, proxy->worker, SB_DAEMON, 0);
    wheel_clear(&proxy->wheel, &s->timer);
    if (s->in_ready) {
        STAILQ_REMOVE(&proxy->ready, s, session, turn_link);
        s->in_ready = false;
    }
    TAILQ_REMOVE(&proxy->sessions, s, all_link);
    proxy->n_sessions--;
    s->dead = true;
    STAILQ_INSERT_TAIL(&proxy->dead, s, turn_link);
}

void session_refuse(struct session *s, enum refusal reason)
{
    if (s->dead) {
        return;
    }
    _Atomic uint64_t *counter = &service_cell(s->proxy, s->service_row)->refused_by[reason];
    bool at_once = reason == REFUSAL_CLIENT_GONE || reason == REFUSAL_STOPPING;
    if (at_once || !exchange_see_off(s, counter)) {
        release(s, false, false, counter);
    }
}

/*
 * Whether the kernel is left to deliver what it still has for the client, and the end behind it:
 * the client was told everything, and no part of it is the session's any more. A reset would take
 * it back, although nothing is wrong with it; what the session ends for, and is counted for, is the
 * other direction, or that the client has not taken or answered it within the time that it had. The
 * kernel has limits of its own for such sockets (tcp_max_orphans, tcp_orphan_retries, and the
 * listener's user time-out).
 */
static bool is_all_told(const struct session *s, enum ending reason)
{
    switch (reason) {
    case ENDING_HALF_CLOSE_TIMEOUT:
    case ENDING_BACKEND_RESET:
    case ENDING_BACKEND_TIMEOUT:
    case ENDING_BAD_MESSAGE:
        return s->client.shut && s->client.pending == NULL && socket_unsent(s->client.fd) > 0;
    default:
        return false;
    }
}

/* What is closed by command, or at the end of a drain, ends as if the other side had: the kernel
 * still delivers what was written, and clients of long-lived connections take it for the ordinary
 * end that they know how to come back from. (HAProxy's "shutdown session" does so, too.) But where
 * bytes of one side have not reached the other, or an answer is not complete, only a reset keeps a
 * part from looking like the whole. */
static bool is_orderly(const struct session *s, enum ending reason)
{
    if (reason == ENDING_OPERATOR || reason == ENDING_BACKEND_DRAINED) {
        return s->client.pending == NULL && s->backend->pending == NULL &&
               (s->exchange == NULL || exchange_is_idle(s));
    }
    return reason == ENDING_CLIENT_FIN || reason == ENDING_BACKEND_FIN;
}

void session_finish(struct session *s, enum ending reason)
{
    if (s->dead) {
        return;
    }
    outlier_ended(s, reason);
    struct sb_service_cell *cell = service_cell(s->proxy, s->service_row);
    sb_times_bump(&cell->session_ms, SB_SESSION_MS_FIRST, s->proxy->now_ms - s->started_ms);
    _Atomic uint64_t *counter = exchange_counter(s);
    if (counter == NULL) {
        counter = &cell->ended_by[reason];
    }
    bool orderly = is_orderly(s, reason);
    release(s, orderly, orderly || is_all_told(s, reason), counter);
}

void session_fail(struct session *s, enum ending reason)
{
    if (s->dead) {
        return;
    }
    outlier_ended(s, reason);
    s->watched = false;
    if (!exchange_see_off(s, &service_cell(s->proxy, s->service_row)->ended_by[reason])) {
        session_finish(s, reason);
    }
}

void session_make_ready(struct session *s)
{
    if (!s->in_ready) {
        s->in_ready = true;
        STAILQ_INSERT_TAIL(&s->proxy->ready, s, turn_link);
    }
}

static uint32_t quiet_limit_ms(const struct session *s)
{
    return s->state == SESSION_OPEN || s->state == SESSION_BETWEEN ? s->idle_timeout_ms
                                                                   : s->half_close_timeout_ms;
}

void session_set_timer(struct session *s)
{
    uint64_t due = UINT64_MAX;
    if (quiet_limit_ms(s) > 0) {
        due = s->active_ms + quiet_limit_ms(s);
    }
    if (!s->settled && s->started_ms + SETTLE_MS < due) {
        due = s->started_ms + SETTLE_MS;
    }
    if ((s->client.suspect || s->backend->suspect) && s->proxy->now_ms + SUSPECT_MS < due) {
        due = s->proxy->now_ms + SUSPECT_MS;
    }
    if (s->handshake_waits) {
        due = s->proxy->now_ms;
    }
    if (s->watched && outlier_due_ms(s) < due) {
        due = outlier_due_ms(s);
    }
    if (exchange_due_ms(s) < due) {
        due = exchange_due_ms(s);
    }
    if (s->hold.place != 0 && s->proxy->now_ms + LEASE_RENEW_MS < due) {
        due = s->proxy->now_ms + LEASE_RENEW_MS;
    }
    if (due == UINT64_MAX) {
        wheel_clear(&s->proxy->wheel, &s->timer);
    } else {
        wheel_set(&s->proxy->wheel, &s->timer, due);
    }
}

/* Both sums go on for as long as anything moves, so that the same number twice is a true silence,
 * whatever has been written in between. */
bool session_is_draining(struct session *s)
{
    uint32_t unsent = socket_unsent(s->client.fd) + socket_unsent(s->backend->fd);
    uint32_t taken = (uint32_t)(s->bytes_in + s->bytes_out) - unsent;
    bool is_draining = (unsent > 0 || s->was_draining) && taken != s->taken;
    s->was_draining = unsent > 0;
    s->taken = taken;
    return is_draining;
}

/* Nothing has been read or written for too long. False: the session has ended of it. */
static bool bear_silence(struct session *s)
{
    bool is_idle = s->state == SESSION_OPEN || s->state == SESSION_BETWEEN;
    if (session_is_draining(s)) {
        s->active_ms = s->proxy->now_ms;
        exchange_drains(s);
        return true;
    }
    session_finish(s, exchange_late(s, is_idle ? ENDING_IDLE_TIMEOUT : ENDING_HALF_CLOSE_TIMEOUT));
    return false;
}

/* What an event may have told of and nobody has seen yet: an error, or bytes behind urgent ones, in
 * front of which a read ends. Only what is there is readable: a client that seems to have more to
 * ask is not let go at the end of its request. False: the leg has failed. */
static bool look_at(struct session *s, struct leg *leg)
{
    char byte;
    if (!leg->suspect || leg->fd < 0) {
        return true;
    }
    ssize_t n = recv(leg->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) {
        return relay_read_nothing(s, leg, n);
    }
    leg->readable = true;
    return true;
}

/* False: there is nothing more to do for the session now. */
static bool look_again(struct session *s)
{
    if (!look_at(s, &s->client) || !look_at(s, s->backend)) {
        return false;
    }
    if (s->client.suspect || s->backend->suspect) {
        relay_work(s);
    }
    return !s->dead && s->attempt == NULL && !s->is_resetting;
}

static void fire_open(struct session *s)
{
    if (s->is_resetting) {
        reset_timed_out(s);
        return;
    }
    if (s->handshake_waits) {
        s->handshake_waits = false;
        if (s->bytes_in == 0) {
            socket_acknowledge(s->backend->fd);
        }
    }
    /* While its request is under way nothing was wanted of the client; but it may have left. */
    if (s->exchange != NULL && !s->client.registered && !relay_register(s, &s->client)) {
        return;
    }
    if (exchange_due_ms(s) <= s->proxy->now_ms) {
        exchange_work(s);
        if (s->dead || s->attempt != NULL) {
            return;
        }
    }
    if (!s->settled && s->proxy->now_ms >= s->started_ms + SETTLE_MS) {
        s->settled = true;
        if (s->upstream != NULL) {
            upstream_settle(s->upstream);
        } else if (s->backend->fd >= 0) {
            socket_settle(s->backend->fd, s->backend_keepalive_ms, s->backend_user_timeout_ms);
        }
    }
    bool is_late = quiet_limit_ms(s) > 0 && s->proxy->now_ms >= s->active_ms + quiet_limit_ms(s);
    if (is_late && !bear_silence(s)) {
        return;
    }
    if (!look_again(s)) {
        return;
    }
    if (s->watched) {
        outlier_look(s);
    }
    if (s->hold.place != 0) {
        lease_renew(s->proxy->sb, &s->hold, s->row, s->proxy->now_ms);
    }
    session_set_timer(s);
}

void session_fire(struct wheel_entry *entry, void *proxy)
{
    (void)proxy;
    struct session *s = (struct session *)((char *)entry - offsetof(struct session, timer));
    switch (s->state) {
    case SESSION_WAITING:
        if (s->attempt->waiting) {
            session_refuse(s, REFUSAL_START_TIMEOUT);
        } else if (s->attempt->queue != NULL || s->attempt->is_cramped) {
            session_refuse(s, REFUSAL_QUEUE_TIMEOUT);
        } else {
            connect_begin(s);
        }
        break;
    case SESSION_CONNECTING:
        connect_timed_out(s);
        break;
    default:
        fire_open(s);
        break;
    }
}
