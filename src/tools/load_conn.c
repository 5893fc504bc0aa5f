/*
 * Connections of sluice-load: sockets, connecting, states, errors. The structs live in one array of
 * the engine for the whole run; only sockets come and go.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load_engine.h"
#include "monotonic.h"

#define REST_NS           (10 * NS_PER_MS)
#define UNIX_TRY_AGAIN_NS (5 * NS_PER_MS)

#define TO(state) (1U << (state))

/* The chart of load_engine.h as a table. */
static const unsigned allowed_next[LOAD_STATE_COUNT] = {
    [LOAD_SPARE] = TO(LOAD_CONNECTING) | TO(LOAD_RESTING) | TO(LOAD_OVER),
    [LOAD_CONNECTING] =
        TO(LOAD_SENDING) | TO(LOAD_READY) | TO(LOAD_HELD) | TO(LOAD_RESTING) | TO(LOAD_OVER),
    [LOAD_SENDING] = TO(LOAD_RECEIVING) | TO(LOAD_RESTING) | TO(LOAD_OVER),
    [LOAD_RECEIVING] = TO(LOAD_CLOSING) | TO(LOAD_READY) | TO(LOAD_HELD) | TO(LOAD_SPARE) |
                       TO(LOAD_RESTING) | TO(LOAD_OVER),
    [LOAD_CLOSING] = TO(LOAD_SPARE) | TO(LOAD_RESTING) | TO(LOAD_OVER),
    [LOAD_READY] = TO(LOAD_SENDING) | TO(LOAD_RESTING) | TO(LOAD_OVER),
    [LOAD_HELD] = TO(LOAD_OVER),
    [LOAD_RESTING] = TO(LOAD_SPARE) | TO(LOAD_OVER),
    [LOAD_OVER] = 0,
};

static struct load_conn_list *list_of(struct load_engine *engine, enum load_state state)
{
    if (state == LOAD_SPARE)
        return &engine->spare;
    return state == LOAD_READY ? &engine->ready : NULL;
}

void load_conn_set_state(struct load_conn *conn, enum load_state state)
{
    struct load_engine *engine = conn->engine;
    struct load_conn_list *from = list_of(engine, conn->state);
    struct load_conn_list *to = list_of(engine, state);

    assert(allowed_next[conn->state] & TO(state));
    if (from)
        TAILQ_REMOVE(from, conn, link);
    if (to)
        TAILQ_INSERT_TAIL(to, conn, link);
    engine->in_state[conn->state]--;
    engine->in_state[state]++;
    conn->state = state;
}

bool load_conn_is_busy(const struct load_conn *conn)
{
    return conn->state == LOAD_CONNECTING || conn->state == LOAD_SENDING ||
           conn->state == LOAD_RECEIVING || conn->state == LOAD_CLOSING;
}

void load_conn_want_write(struct load_conn *conn, bool wanted)
{
    int rc = wanted ? event_add(&conn->write_event, NULL) : event_del(&conn->write_event);

    if (rc != 0 && wanted)
        load_conn_fail(conn, LOAD_SYSTEM);
}

static void release_socket(struct load_conn *conn)
{
    evtimer_del(&conn->timer_event);
    if (conn->fd < 0)
        return;
    event_del(&conn->read_event);
    event_del(&conn->write_event);
    close(conn->fd);
    conn->fd = -1;
}

void load_conn_retire(struct load_conn *conn, enum load_state state)
{
    release_socket(conn);
    load_conn_set_state(conn, state);
}

void load_conn_fail(struct load_conn *conn, enum load_error error)
{
    struct timeval rest = monotonic_timeval(REST_NS);

    conn->engine->stats->errors[error]++;
    conn->has_job = false;
    if (conn->engine->options->mode == LOAD_HOLD) {
        load_conn_retire(conn, LOAD_OVER);
        return;
    }
    load_conn_retire(conn, LOAD_RESTING);
    evtimer_add(&conn->timer_event, &rest);
}

void load_conn_fail_errno(struct load_conn *conn, int error)
{
    bool connecting = conn->state == LOAD_CONNECTING || conn->state == LOAD_SPARE;

    switch (error) {
    case ECONNREFUSED:
    case ENOENT: /* a Unix path that nobody serves */
        load_conn_fail(conn, LOAD_CONNECT_REFUSED);
        break;
    case ETIMEDOUT:
        load_conn_fail(conn, connecting ? LOAD_CONNECT_TIMEOUT : LOAD_TIMEOUT);
        break;
    case EHOSTUNREACH:
    case ENETUNREACH:
        load_conn_fail(conn, LOAD_UNREACHABLE);
        break;
    case EADDRNOTAVAIL:
    case EADDRINUSE:
        load_conn_fail(conn, LOAD_NO_PORT);
        break;
    case ECONNRESET:
    case EPIPE:
        load_conn_fail(conn, LOAD_RESET);
        break;
    default:
        load_conn_fail(conn, LOAD_SYSTEM);
    }
}

static int bind_source(int fd, const struct endpoint *source)
{
    int on = 1;

    /* The port is then chosen at connect(), unique for the pair and not for the source alone. */
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) != 0 ||
        bind(fd, &source->addr.any, source->length) != 0)
        return -errno;
    return 0;
}

/* A socket for the next target and source in turn. Returns it, or a negative errno. */
static int open_socket(struct load_conn *conn)
{
    struct load_engine *engine = conn->engine;
    const struct load_options *options = engine->options;
    uint64_t turn = engine->opened++ * options->processes + options->process;
    int on = 1;

    conn->target = (unsigned)(turn % options->target_count);
    int family = endpoint_family(&options->targets[conn->target]);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (options->source_count > 0) {
        uint64_t round = turn / options->target_count;
        int rc = bind_source(fd, &options->sources[round % options->source_count]);
        if (rc != 0) {
            close(fd);
            return rc;
        }
    }
    return fd;
}

void load_conn_established(struct load_conn *conn)
{
    struct load_engine *engine = conn->engine;
    uint64_t now_ns = monotonic_ns();

    engine->stats->connections++;
    histogram_record(&engine->stats->connect_ns, now_ns - conn->connect_ns);
    conn->active_ns = now_ns;
    load_conn_want_write(conn, false);
    if (event_add(&conn->read_event, NULL) != 0)
        load_conn_fail(conn, LOAD_SYSTEM);
    else if (engine->options->mode == LOAD_HOLD && !engine->options->path) {
        conn->has_job = false;
        load_conn_set_state(conn, LOAD_HELD);
    } else if (!conn->has_job)
        load_conn_set_state(conn, LOAD_READY);
    else
        load_conn_set_state(conn, LOAD_SENDING);
}

static void try_connect(struct load_conn *conn)
{
    const struct endpoint *target = &conn->engine->options->targets[conn->target];
    struct timeval again = monotonic_timeval(UNIX_TRY_AGAIN_NS);
    bool sends = conn->has_job && (conn->engine->options->path || conn->engine->options->upload);
    int rc = connect(conn->fd, &target->addr.any, target->length) == 0 ? 0 : errno;

    if (rc == EAGAIN && endpoint_family(target) == AF_UNIX) {
        evtimer_add(&conn->timer_event, &again); /* backlog full: no event would tell */
    } else if (rc != 0 && rc != EINPROGRESS) {
        load_conn_fail_errno(conn, rc);
    } else if (sends) {
        /* On the same machine the handshake is mostly over by now: sending finds out. */
        load_exchange_begin(conn);
    } else if (rc == 0) {
        load_conn_established(conn);
    } else {
        load_conn_want_write(conn, true);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct load_conn *conn = arg;

    (void)fd;
    (void)what;
    load_exchange_receive(conn);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct load_conn *conn = arg;
    int error = 0;
    socklen_t length = sizeof(error);

    (void)what;
    if (conn->state == LOAD_CONNECTING) {
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
            error = errno;
        if (error != 0) {
            load_conn_fail_errno(conn, error);
            return;
        }
        load_conn_established(conn);
    }
    if (conn->state == LOAD_SENDING)
        load_exchange_send(conn);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct load_conn *conn = arg;

    (void)fd;
    (void)what;
    if (conn->state == LOAD_CONNECTING)
        try_connect(conn);
    else if (conn->state == LOAD_RESTING)
        load_conn_set_state(conn, LOAD_SPARE);
}

void load_conn_open(struct load_conn *conn)
{
    struct event_base *base = conn->engine->base;
    int fd = open_socket(conn);

    if (fd < 0) {
        load_conn_fail_errno(conn, -fd);
        return;
    }
    conn->fd = fd;
    conn->connect_ns = conn->active_ns = monotonic_ns();
    event_assign(&conn->read_event, base, fd, EV_READ | EV_PERSIST, on_readable, conn);
    event_assign(&conn->write_event, base, fd, EV_WRITE | EV_PERSIST, on_writable, conn);
    load_conn_set_state(conn, LOAD_CONNECTING);
    try_connect(conn);
}

void load_conn_begin(struct load_conn *conn, uint64_t job_ns)
{
    conn->job_ns = job_ns;
    conn->has_job = true;
    if (conn->state == LOAD_READY) {
        conn->active_ns = monotonic_ns();
        load_conn_set_state(conn, LOAD_SENDING);
        load_exchange_begin(conn);
    } else {
        load_conn_open(conn);
    }
}

void load_conn_init(struct load_engine *engine, struct load_conn *conn)
{
    conn->engine = engine;
    conn->fd = -1;
    conn->state = LOAD_SPARE;
    engine->in_state[LOAD_SPARE]++;
    TAILQ_INSERT_TAIL(&engine->spare, conn, link);
    evtimer_assign(&conn->timer_event, engine->base, on_timer, conn);
}
