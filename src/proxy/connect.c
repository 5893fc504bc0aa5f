/*
 * From an accepted client to a connected backend: choosing, trying, trying elsewhere, waiting. No
 * byte of the client's is read before a backend is connected, so every failure up to then can be
 * retried unseen. In a worker.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "outlier.h"
#include "pool/ewma.h"
#include "proxy_header.h"
#include "queue.h"
#include "session.h"
#include "session_log.h"
#include "source.h"
#include "upstream.h"

/* What one try to connect came to. */
enum try_result { TRY_UNDER_WAY, TRY_CONNECTED, TRY_LENT, TRY_FAILED, TRY_REFUSED };

/* The service's pool; NULL: the service is gone. */
static const struct snapshot_pool *current_pool(const struct session *s)
{
    const struct proxy *proxy = s->proxy;
    uint32_t service = proxy->service_of_row[s->service_row];
    if (service == SNAPSHOT_NONE) {
        return NULL;
    }
    return &snapshot_pools(proxy->snapshot)[snapshot_services(proxy->snapshot)[service].pool];
}

static const struct snapshot_pool *chosen_pool(const struct session *s)
{
    return &snapshot_pools(s->proxy->snapshot)[s->attempt->chosen.pool];
}

static const struct snapshot_backend *chosen_backend(const struct session *s)
{
    return &snapshot_backends(
        s->proxy->snapshot)[chosen_pool(s)->first_backend + s->attempt->chosen.index];
}

/* Takes the half-made connection back; the place in the backend too. */
void connect_abandon(struct session *s)
{
    if (s->attempt == NULL) {
        return;
    }
    connect_stop_waiting(s);
    if (s->upstream != NULL) {
        s->upstream->private = true; /* was never open: no loss to be counted */
        upstream_discard(s, DISCARD_SESSION_END, true);
    }
    if (s->backend->registered) {
        event_del(&s->backend->event);
        s->backend->registered = false;
    }
    if (s->backend->fd >= 0) {
        close(s->backend->fd);
        s->backend->fd = -1;
    }
    source_release(s->proxy, s->backend);
    session_release_backend(s);
}

/* At most one line a second and worker, with the number of failures that it stands for. */
static void warn_failure(struct session *s, int error)
{
    struct proxy *proxy = s->proxy;
    proxy->unwarned++;
    if (proxy->now_ms - proxy->warned_ms < 1000) {
        return;
    }
    char client[ADDR_TEXT_MAX];
    log_warning("connect to backend failed", LOG_STR("pool", chosen_pool(s)->name),
                LOG_STR("backend", chosen_backend(s)->name), LOG_STR("error", strerror(error)),
                LOG_INT("session", s->id),
                LOG_STR("client", addr_ip_format(&s->peer, true, client)),
                LOG_INT("failures", proxy->unwarned));
    proxy->warned_ms = proxy->now_ms;
    proxy->unwarned = 0;
}

/* The first bytes of the connection, where the pool wants the client named. False: the session is
 * over. */
static bool send_header(struct session *s)
{
    if (s->send_proxy == SEND_PROXY_OFF) {
        return true;
    }
    unsigned char header[PROXY_HEADER_MAX];
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(address);
    struct addr_ip destination;
    (void)getsockname(s->client.fd, (struct sockaddr *)&address, &len);
    addr_ip_from_sockaddr((struct sockaddr *)&address, &destination);
    size_t n = proxy_header_write((enum send_proxy)s->send_proxy, &s->peer, &destination, header,
                                  sizeof(header));
    return n == 0 || relay_deliver(s, s->backend, header, n);
}

static void pass_over(struct session *s)
{
    struct attempt *attempt = s->attempt;
    if (attempt->n_tried < TRIED_MAX) {
        attempt->tried[attempt->n_tried++] = (struct choose_tried){
            .pool = (uint16_t)attempt->chosen.pool, .index = (uint16_t)attempt->chosen.index};
    } else {
        attempt->forgets = true;
    }
}

/* Books a failed try and gives its place back; the next choice passes it over. */
static void note_failure(struct session *s, int error)
{
    struct attempt *attempt = s->attempt;
    struct sb_row *row = &s->proxy->sb->rows[s->row];
    atomic_fetch_add_explicit(&row->connect_failures, 1, memory_order_relaxed);
    outlier_connect_failed(s);
    if (attempt->generation == s->proxy->snapshot->generation) {
        warn_failure(s, error);
        if (s->timed) { /* or a backend that refuses at once would seem the fastest of all */
            ewma_add(&s->proxy->sb->slot_time[s->slot],
                     chosen_pool(s)->connect_timeout_ms * UINT64_C(1000), s->proxy->now_ms);
        }
        pass_over(s);
    }
    attempt->tries += attempt->queued_us == 0; /* who waits has queue_timeout for a bound */
    attempt->failed_us = s->proxy->woken_us;
    const struct snapshot_pool *pool = current_pool(s);
    if (pool != NULL && attempt->tries <= pool->retries) {
        atomic_fetch_add_explicit(&row->retries, 1, memory_order_relaxed);
    }
    connect_abandon(s);
}

/* Books how the connection was come by. */
static void note_connected(struct session *s, bool is_fresh)
{
    struct proxy *proxy = s->proxy;
    struct sb_row *row = &proxy->sb->rows[s->row];
    uint64_t connect_us = is_fresh ? clock_now_us() - s->attempt->started_us : 0;
    if (is_fresh) {
        sb_hist_add(&row->connect_time_us, connect_us, proxy->now_ms);
        sb_times_add(&row->connects_us, SB_CONNECT_US_FIRST, connect_us);
        outlier_connected(s);
        if (s->upstream != NULL) {
            scoreboard_bump(&upstream_cell(proxy, s->row)->opened, 1);
        }
    }
    s->connect_us = connect_us < UINT32_MAX ? (uint32_t)connect_us : UINT32_MAX;
    session_log_connected(s);
    if (s->timed) {
        s->asked_us = (uint32_t)proxy->woken_us; /* the clock that the answer is timed by */
    }
    if (!s->is_bound) {
        s->is_bound = true;
        atomic_fetch_add_explicit(&row->connections_total, 1, memory_order_relaxed);
    }
}

/* The last step of the handshake, without a request that it could ride on. Where clients begin
 * there will be one any moment, and it saves a packet to wait for it, a tick at most; where
 * backends do they are waiting. */
static void acknowledge(struct session *s)
{
    if (s->proxy->client_begins[s->service_row]) {
        s->handshake_waits = true;
        session_set_timer(s);
    } else {
        socket_acknowledge(s->backend->fd);
    }
}

/* A backend is there: what was only needed to find it goes. */
static void connected(struct session *s, bool is_fresh)
{
    struct proxy *proxy = s->proxy;
    note_connected(s, is_fresh);
    /* What changed while it was connecting has passed it over. */
    proxy->endings_due |= s->attempt->epoch != proxy->health_epoch ||
                          s->attempt->generation != proxy->snapshot->generation;
    slab_free(&proxy->attempt_slab, s->attempt);
    s->attempt = NULL;
    s->state = SESSION_OPEN;
    s->active_ms = proxy->now_ms;
    s->backend->writable = true;
    session_set_timer(s);
    if (!send_header(s)) {
        return;
    }
    if (s->exchange != NULL) {
        exchange_bound(s, is_fresh);
        return;
    }
    relay_work(s);
    if (!s->dead && s->bytes_in == 0 && is_fresh) {
        acknowledge(s);
    }
}

/* No connection may be opened to this backend now, which is no failure of its: as if it had been
 * found full when it was chosen, another is sought, or a place in the queue. */
static enum try_result hold_back(struct session *s)
{
    struct attempt *attempt = s->attempt;
    attempt->is_held_back = true;
    if (attempt->n_tried == TRIED_MAX) {
        connect_abandon(s);
        connect_wait_for_place(s);
        return TRY_UNDER_WAY;
    }
    attempt->held_back |= 1U << attempt->n_tried;
    pass_over(s);
    connect_abandon(s);
    return TRY_FAILED;
}

/* A connection to the backend that is open already, or a place for a new one. */
static enum lending borrow(struct session *s, const struct snapshot_pool *pool)
{
    const struct chosen *chosen = &s->attempt->chosen;
    struct upstream_wish wish = {0};
    bool shares = exchange_may_share(s, &pool->reuse);
    if (pool->reuse.mode == REUSE_OFF && s->exchange == NULL) {
        return LENDING_FRESH;
    }
    if (s->exchange != NULL) {
        wish = exchange_wish(s);
    }
    return upstream_lend(s, chosen->pool, chosen->index, !shares, &wish);
}

/* No port, or no address, is there to connect to this backend from, which is no failure of its;
 * another backend may have its own. Beyond TRIED_MAX the same one could be chosen for ever. Who
 * waits for a place tries it again with each that is given back: its port may be free by then. */
static enum try_result go_without_source(struct session *s, int error)
{
    struct attempt *attempt = s->attempt;
    attempt->no_port |= error == SOURCE_NO_PORT;
    attempt->no_address |= error == SOURCE_NO_ADDRESS;
    if (attempt->generation != s->proxy->snapshot->generation || attempt->n_tried == TRIED_MAX) {
        session_refuse(s, attempt->no_port ? REFUSAL_SOURCE_PORTS : REFUSAL_CLIENT_ADDRESS);
        return TRY_REFUSED;
    }
    if (error == SOURCE_NO_PORT) {
        attempt->is_held_back = true;
        attempt->portless |= 1U << attempt->n_tried;
    }
    pass_over(s);
    connect_abandon(s);
    return TRY_FAILED;
}

/* Whether a new connection is needed and may be opened now; if not, what comes of the try. */
static bool may_open(struct session *s, enum lending lending, enum try_result *out_result)
{
    const struct snapshot_pool *pool = chosen_pool(s);
    bool has_port = lending != LENDING_FRESH || room_make_port(s->proxy, chosen_backend(s));
    if (!has_port) {
        room_give_rate_back(s->proxy, chosen_backend(s));
    }
    if ((!has_port || lending == LENDING_NO_ROOM) && connect_wait_for_room(s, pool)) {
        *out_result = TRY_UNDER_WAY;
        return false;
    }
    if (lending == LENDING_TOO_FAST || lending == LENDING_NO_ROOM) {
        *out_result = hold_back(s);
        return false;
    }
    if (lending == LENDING_DONE) {
        queue_give_place_back(s);
        *out_result = TRY_LENT;
        return false;
    }
    return true;
}

static int open_connection(struct session *s, const struct snapshot_pool *pool,
                           const struct snapshot_backend *backend, bool *out_open)
{
    if (pool->transparent != 0) {
        return source_connect_as(s->proxy, s->backend, backend, &s->peer, out_open);
    }
    return source_connect(s->proxy, s->backend, backend, out_open);
}

/* The backend's place is reserved: opens a connection to it. */
static enum try_result try_backend(struct session *s)
{
    const struct snapshot_pool *pool = chosen_pool(s);
    const struct snapshot_backend *backend = chosen_backend(s);
    s->slot = backend->slot;
    s->row = backend->row;
    s->attempt->is_held_back = false;
    s->hold = s->attempt->chosen.hold;
    s->timed = chooser_wants_times(s->proxy->chooser, s->attempt->chosen.pool);
    s->send_proxy = (uint8_t)(pool->send_proxy & 3U);
    s->reuse = SESSION_NEW;
    outlier_begin(s, s->attempt->chosen.pool);
    s->backend_keepalive_ms = backend->address.ip.family == ADDR_UNIX ? 0 : pool->keepalive_ms;
    s->backend_user_timeout_ms =
        backend->address.ip.family == ADDR_UNIX ? 0 : pool->user_timeout_ms;
    s->attempt->started_us = clock_now_us();
    s->attempt->epoch = s->proxy->health_epoch;
    enum lending lending = borrow(s, pool);
    enum try_result result;
    if (!may_open(s, lending, &result)) {
        return result;
    }
    bool is_open = false;
    int error = lending == LENDING_FRESH ? open_connection(s, pool, backend, &is_open) : ENOMEM;
    if (error == SOURCE_NO_PORT || error == SOURCE_NO_ADDRESS) {
        return go_without_source(s, error);
    }
    queue_give_place_back(s);
    if (!is_open) {
        session_refuse(s,
                       error == EMFILE || error == ENFILE ? REFUSAL_DESCRIPTORS : REFUSAL_MEMORY);
        return TRY_REFUSED;
    }
    if (error == 0) {
        return TRY_CONNECTED;
    }
    if (error == EINPROGRESS && socket_met_itself(s->backend->fd, &backend->address)) {
        error = ECONNREFUSED;
    }
    if (error == EINPROGRESS) {
        if (!relay_register(s, s->backend)) {
            return TRY_REFUSED;
        }
        s->state = SESSION_CONNECTING;
        wheel_set(&s->proxy->wheel, &s->timer, s->proxy->now_ms + pool->connect_timeout_ms);
        return TRY_UNDER_WAY;
    }
    /* A Unix socket with a full backlog says EAGAIN, and no event will ever follow. */
    s->attempt->again |= error == EAGAIN;
    note_failure(s, error);
    return TRY_FAILED;
}

/* Which of the service's addresses the client asked for, where choosing goes by that. */
static const struct addr_ip *destination_of(struct session *s, uint32_t service)
{
    struct addr_ip *destination = &s->attempt->destination;
    if (!chooser_wants_destination(s->proxy->chooser, service)) {
        return NULL;
    }
    if (destination->family == ADDR_NONE) {
        struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof(address);
        (void)getsockname(s->client.fd, (struct sockaddr *)&address, &len);
        addr_ip_from_sockaddr((struct sockaddr *)&address, destination);
    }
    return destination;
}

static enum choice choose(struct session *s)
{
    struct proxy *proxy = s->proxy;
    struct attempt *attempt = s->attempt;
    uint32_t service = proxy->service_of_row[s->service_row];
    const struct choose_request request = {
        .service = service,
        .client = &s->peer,
        .destination = destination_of(s, service),
        .tried = attempt->tried,
        .n_tried = attempt->n_tried,
        .now_us = proxy->woken_us,
        .is_new = attempt->queued_us == 0,
        .again = attempt->again ||
                 connect_is_held_back(attempt, snapshot_services(proxy->snapshot)[service].pool),
    };
    return chooser_choose(proxy->chooser, &request, &attempt->chosen);
}

void connect_start(struct session *s)
{
    struct proxy *proxy = s->proxy;
    struct attempt *attempt = slab_alloc(&proxy->attempt_slab);
    if (attempt == NULL) {
        session_refuse(s, REFUSAL_MEMORY);
        return;
    }
    memset(attempt, 0, sizeof(*attempt));
    attempt->session = s;
    attempt->begun_ms = proxy->now_ms;
    s->attempt = attempt;
    connect_begin(s);
}

void connect_begin(struct session *s)
{
    struct proxy *proxy = s->proxy;
    struct attempt *attempt = s->attempt;
    bool forgives = queue_forgives(s);
    attempt->is_held_back = false;
    for (;;) {
        /* Nobody watches the client until there is a backend; nothing is tried twice for one who is
         * gone. */
        bool came_long_ago = attempt->tries > 0 || attempt->queued_us != 0;
        if (came_long_ago && socket_error(s->client.fd) != 0) {
            session_refuse(s, REFUSAL_CLIENT_GONE);
            return;
        }
        const struct snapshot_pool *pool = current_pool(s);
        if (pool == NULL) {
            session_refuse(s, REFUSAL_STOPPING);
            return;
        }
        if (attempt->tries > pool->retries) {
            session_refuse(s, REFUSAL_CONNECT_FAILED);
            return;
        }
        if (attempt->generation != proxy->snapshot->generation || forgives) {
            forgives = false;
            attempt->generation = proxy->snapshot->generation;
            connect_forget_tried(attempt);
        }
        if (attempt->forgets && attempt->queued_us != 0) {
            connect_wait_for_place(s); /* or what it has forgotten could be chosen for ever */
            return;
        }
        enum choice choice = choose(s);
        if (choice != CHOICE_MADE) {
            connect_without(s, choice);
            return;
        }
        enum try_result result = try_backend(s);
        if (result == TRY_CONNECTED || result == TRY_LENT) {
            connected(s, result == TRY_CONNECTED);
            return;
        }
        if (result != TRY_FAILED) {
            return;
        }
    }
}

void connect_event(struct session *s, short what)
{
    /* Writable alone is success: an error would have come with readable. */
    int error = what & (EV_READ | EV_CLOSED) ? socket_error(s->backend->fd) : 0;
    if (error != 0) {
        note_failure(s, error);
        connect_begin(s);
        return;
    }
    if (what & EV_WRITE) {
        s->backend->readable = (what & (EV_READ | EV_CLOSED)) != 0;
        s->backend->closing = (what & EV_CLOSED) != 0;
        connected(s, true);
    }
}

/* An end without a word is a client that has left; one after a request may be the way in which its
 * protocol asks. */
static bool has_left(int fd)
{
    char byte;
    return socket_error(fd) != 0 || recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void connect_client_event(struct session *s, short what)
{
    bool is_over = exchange_asks(s) ? socket_error(s->client.fd) != 0 : has_left(s->client.fd);
    if (what & (EV_READ | EV_CLOSED) && is_over) {
        session_refuse(s, REFUSAL_CLIENT_GONE);
    }
}

void connect_timed_out(struct session *s)
{
    note_failure(s, ETIMEDOUT);
    connect_begin(s);
}
