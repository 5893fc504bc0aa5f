/*
 * Connections of sluice-origin: life, events, byte counts and the ways to end. A mode gets its
 * calls from here until it closes the connection or hands it to origin_conn_finish().
 */
#include "origin.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monotonic.h"
#include "pattern.h"

#define DELIVERY_POLL_NS (5 * NS_PER_MS)
#define DELIVERY_MAX_NS  (5 * NS_PER_SECOND)
#define LINGER_MAX_NS    NS_PER_SECOND

static void log_conn(const struct origin_conn *conn, const char *what)
{
    if (!origin_config_of(conn)->verbose)
        return;
    fprintf(stderr, "%s@%s fd=%d in=%" PRIu64 " out=%" PRIu64 " %s\n", conn->listener->mode->name,
            conn->listener->text, conn->fd, conn->in_bytes, conn->out_bytes, what);
}

static bool all_acknowledged(int fd)
{
    int waiting = 0;

    return ioctl(fd, SIOCOUTQ, &waiting) != 0 || waiting == 0;
}

bool origin_conn_is_dead(const struct origin_conn *conn)
{
    struct pollfd state = {.fd = conn->fd};

    return poll(&state, 1, 0) > 0 && (state.revents & (POLLERR | POLLHUP));
}

static void reset(struct origin_conn *conn)
{
    struct linger at_once = {.l_onoff = 1};

    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    origin_conn_close(conn, "reset by us");
}

/* Discards what comes, within one turn's budget. Returns true at the end of input. */
static bool discard_input(struct origin_conn *conn)
{
    struct origin *origin = origin_of(conn);

    for (size_t taken = 0; taken < ORIGIN_TURN_BYTES;) {
        ssize_t n = origin_conn_read(conn, origin->scratch, sizeof(origin->scratch));
        if (n == -EAGAIN)
            return false;
        if (n <= 0)
            return true;
        taken += (size_t)n;
    }
    return false;
}

/* One step of the common end, after an event, a poll's interval or right at the start. */
static void end_step(struct origin_conn *conn)
{
    bool late = monotonic_ns() >= conn->end_deadline_ns;

    if (conn->end == ORIGIN_END_RESET) {
        if (origin_conn_is_dead(conn))
            origin_conn_close(conn, "client gone");
        else if (late || all_acknowledged(conn->fd))
            reset(conn);
        else
            origin_conn_wait(conn, DELIVERY_POLL_NS);
        return;
    }
    if (discard_input(conn))
        origin_conn_close(conn, "both sides ended");
    else if (late)
        origin_conn_close(conn, "lingered long enough");
    else if (conn->end == ORIGIN_END_DELIVERED && all_acknowledged(conn->fd))
        origin_conn_close(conn, "all delivered");
    else
        origin_conn_wait(conn,
                         conn->end == ORIGIN_END_DELIVERED ? DELIVERY_POLL_NS : LINGER_MAX_NS);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct origin_conn *conn = arg;
    const struct origin_mode *mode = conn->listener->mode;

    (void)fd;
    if (conn->fd < 0)
        return;
    if (conn->end != ORIGIN_END_NONE)
        end_step(conn);
    else if ((what & EV_READ) && mode->readable)
        mode->readable(conn);
    else if ((what & EV_WRITE) && mode->writable)
        mode->writable(conn);
    else if ((what & EV_TIMEOUT) && mode->timed)
        mode->timed(conn);
}

void origin_conn_open(struct origin_listener *listener, int fd)
{
    struct origin *origin = listener->origin;
    struct origin_counters *counters = &listener->counters;
    struct origin_conn *conn = calloc(1, sizeof(*conn) + listener->mode->state_size);

    if (!conn) {
        close(fd);
        return;
    }
    conn->listener = listener;
    conn->fd = fd;
    event_assign(&conn->read_event, origin->base, fd, EV_READ | EV_PERSIST, on_event, conn);
    event_assign(&conn->write_event, origin->base, fd, EV_WRITE | EV_PERSIST, on_event, conn);
    evtimer_assign(&conn->timer_event, origin->base, on_event, conn);
    LIST_INSERT_HEAD(&origin->conns, conn, link);
    counters->total++;
    if (++counters->active > counters->peak)
        counters->peak = counters->active;
    log_conn(conn, "opened");
    if (listener->mode->opened)
        listener->mode->opened(conn);
}

void origin_conn_close(struct origin_conn *conn, const char *reason)
{
    struct origin *origin = origin_of(conn);

    if (conn->fd < 0)
        return;
    log_conn(conn, reason);
    if (conn->listener->mode->closed)
        conn->listener->mode->closed(conn);
    event_del(&conn->read_event);
    event_del(&conn->write_event);
    event_del(&conn->timer_event);
    close(conn->fd);
    conn->fd = -1;
    conn->listener->counters.active--;
    LIST_REMOVE(conn, link);
    LIST_INSERT_HEAD(&origin->dead, conn, link);
}

void origin_conn_reap(struct origin *origin)
{
    struct origin_conn *conn;

    while ((conn = LIST_FIRST(&origin->dead)) != NULL) {
        LIST_REMOVE(conn, link);
        free(conn);
    }
}

void origin_conn_finish(struct origin_conn *conn, enum origin_end end)
{
    uint64_t limit_ns = end == ORIGIN_END_LINGER ? LINGER_MAX_NS : DELIVERY_MAX_NS;

    conn->end = end;
    conn->end_deadline_ns = monotonic_ns() + limit_ns;
    if (end == ORIGIN_END_RESET) {
        origin_conn_want(conn, false, false);
    } else {
        shutdown(conn->fd, SHUT_WR);
        origin_conn_want(conn, true, false);
    }
    end_step(conn);
}

static void switch_event(struct event *event, bool *current, bool wanted)
{
    if (*current == wanted)
        return;
    if (wanted ? event_add(event, NULL) == 0 : event_del(event) == 0)
        *current = wanted;
}

void origin_conn_want(struct origin_conn *conn, bool read, bool write)
{
    switch_event(&conn->read_event, &conn->reading, read);
    switch_event(&conn->write_event, &conn->writing, write);
}

void origin_conn_watch(struct origin_conn *conn)
{
    origin_conn_want(conn, false, false);
    event_assign(&conn->read_event, origin_of(conn)->base, conn->fd, EV_READ | EV_PERSIST | EV_ET,
                 on_event, conn);
    origin_conn_want(conn, true, false);
}

void origin_conn_wait(struct origin_conn *conn, uint64_t span_ns)
{
    struct timeval span = monotonic_timeval(span_ns);

    evtimer_add(&conn->timer_event, &span);
}

ssize_t origin_conn_read(struct origin_conn *conn, void *buf, size_t size)
{
    ssize_t n = recv(conn->fd, buf, size, 0);

    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    conn->in_bytes += (uint64_t)n;
    origin_of(conn)->in_bytes += (uint64_t)n;
    return n;
}

ssize_t origin_conn_write(struct origin_conn *conn, const void *buf, size_t length, bool more)
{
    ssize_t n = send(conn->fd, buf, length, MSG_NOSIGNAL | (more ? MSG_MORE : 0));

    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    conn->out_bytes += (uint64_t)n;
    origin_of(conn)->out_bytes += (uint64_t)n;
    return n;
}

int origin_conn_send_pattern(struct origin_conn *conn, uint64_t *offset, uint64_t end)
{
    for (size_t sent = 0; *offset < end;) {
        uint64_t left = end - *offset;
        size_t piece = left < PATTERN_CHUNK ? (size_t)left : PATTERN_CHUNK;

        if (sent >= ORIGIN_TURN_BYTES)
            return 1;
        ssize_t n = origin_conn_write(conn, pattern_at(*offset), piece, false);
        if (n == -EAGAIN)
            return 1;
        if (n < 0)
            return (int)n;
        *offset += (uint64_t)n;
        sent += (size_t)n;
    }
    return 0;
}
