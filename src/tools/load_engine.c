/*
 * The engine of sluice-load: one event loop that hands jobs to connections.
 *
 * Without --rate a job may begin whenever a connection is free. With it, job k is due at
 * start + k / rate, whether or not a connection is free then, and its latency counts from that
 * moment: a stall of the other side shows in every request that had to wait behind it, instead of
 * being left out because the generator stalled with it (coordinated omission).
 *
 * At most CONNECTING_MAX connections are being opened at a time, so that a run with many thousands
 * does not overflow the target's accept queue by its own start.
 */
#include "load_engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "monotonic.h"

#define CONNECTING_MAX 256
#define SWEEP_MIN_NS   (5 * NS_PER_MS)
#define SWEEP_MAX_NS   (250 * NS_PER_MS)
#define REQUEST_MAX    2048

/* Jobs and connections are dealt out to the processes in turn, like cards. */
static uint64_t share_of(const struct load_options *options, uint64_t total)
{
    return total / options->processes + (options->process < total % options->processes);
}

static uint64_t due_ns(const struct load_engine *engine, uint64_t job)
{
    const struct load_options *options = engine->options;
    uint64_t nth = job * options->processes + options->process;

    return engine->stats->begin_ns +
           (uint64_t)((unsigned __int128)nth * NS_PER_SECOND / options->rate);
}

/* How many jobs this process may begin at most. */
static uint64_t quota_of(const struct load_options *options)
{
    uint64_t quota = options->requests > 0 ? share_of(options, options->requests) : UINT64_MAX;

    if (options->mode == LOAD_HOLD)
        return share_of(options, options->connections);
    if (options->rate > 0 && options->duration_ns > 0) {
        unsigned __int128 product = (unsigned __int128)options->rate * options->duration_ns;
        uint64_t due = (uint64_t)((product + NS_PER_SECOND - 1) / NS_PER_SECOND);
        uint64_t share = share_of(options, due);
        return share < quota ? share : quota;
    }
    return quota;
}

static void arm_schedule(struct load_engine *engine, uint64_t at_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / NS_PER_SECOND),
                                           .tv_nsec = (long)(at_ns % NS_PER_SECOND)}};

    if (engine->armed_ns == at_ns)
        return;
    engine->armed_ns = at_ns;
    timerfd_settime(engine->schedule_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Takes the next job if there is one to begin now. */
static bool take_job(struct load_engine *engine, uint64_t *out_job_ns)
{
    uint64_t now_ns = monotonic_ns();
    uint64_t at_ns = now_ns;

    if (engine->stopping || engine->jobs >= engine->quota)
        return false;
    if (engine->options->rate > 0) {
        at_ns = due_ns(engine, engine->jobs);
        if (at_ns > now_ns) {
            arm_schedule(engine, at_ns);
            return false;
        }
    }
    engine->jobs++;
    *out_job_ns = at_ns;
    return true;
}

static uint64_t busy_count(const struct load_engine *engine)
{
    const uint64_t *in_state = engine->in_state;

    return in_state[LOAD_CONNECTING] + in_state[LOAD_SENDING] + in_state[LOAD_RECEIVING] +
           in_state[LOAD_CLOSING];
}

static void arm_deadline(struct load_engine *engine, uint64_t span_ns)
{
    struct timeval span = monotonic_timeval(span_ns);

    engine->deadline_ns = monotonic_ns() + span_ns;
    evtimer_add(&engine->deadline_event, &span);
}

static void begin_run(struct load_engine *engine)
{
    const struct load_options *options = engine->options;
    uint64_t span_ns = options->duration_ns;

    engine->phase = LOAD_RUN;
    engine->stats->begin_ns = monotonic_ns();
    if (options->mode == LOAD_HOLD || span_ns == 0)
        return;
    /* With a rate, what fell due in time is still done, as long as a request may last. */
    if (options->rate > 0 && options->mode != LOAD_BULK)
        span_ns += options->timeout_ns;
    arm_deadline(engine, span_ns);
}

static void prepare(struct load_engine *engine)
{
    while (engine->prepared < engine->conn_count &&
           engine->in_state[LOAD_CONNECTING] < CONNECTING_MAX) {
        load_conn_open(&engine->conns[engine->prepared]);
        engine->prepared++;
    }
    if (engine->prepared == engine->conn_count && engine->in_state[LOAD_CONNECTING] == 0)
        begin_run(engine);
}

static void begin_holding(struct load_engine *engine)
{
    engine->phase = LOAD_HOLDING;
    if (engine->standing)
        engine->standing(engine->in_state[LOAD_HELD], engine->standing_arg);
    if (engine->options->duration_ns > 0)
        arm_deadline(engine, engine->options->duration_ns);
}

static void hand_out_jobs(struct load_engine *engine)
{
    uint64_t job_ns;

    for (;;) {
        struct load_conn *conn = TAILQ_FIRST(&engine->ready);
        if (!conn && engine->in_state[LOAD_CONNECTING] < CONNECTING_MAX)
            conn = TAILQ_FIRST(&engine->spare);
        if (!conn || !take_job(engine, &job_ns))
            break;
        load_conn_begin(conn, job_ns);
    }
    if (busy_count(engine) > 0 || (!engine->stopping && engine->jobs < engine->quota))
        return;
    if (engine->options->mode == LOAD_HOLD)
        begin_holding(engine);
    else
        engine->phase = LOAD_DONE;
}

/* Between two turns of the loop, never inside a callback. */
static void advance(struct load_engine *engine)
{
    if (engine->phase == LOAD_PREPARE)
        prepare(engine);
    if (engine->phase == LOAD_RUN)
        hand_out_jobs(engine);
    if (engine->phase == LOAD_HOLDING && engine->in_state[LOAD_HELD] == 0)
        engine->phase = LOAD_DONE;
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct load_engine *engine = arg;
    const struct load_options *options = engine->options;
    uint64_t now_ns = monotonic_ns();

    (void)fd;
    (void)what;
    if (now_ns < engine->deadline_ns) {
        arm_deadline(engine, engine->deadline_ns - now_ns); /* the loop's clock is a coarse one */
        return;
    }
    if (engine->phase == LOAD_RUN && options->rate == 0 && options->mode != LOAD_BULK) {
        engine->stopping = true; /* what is under way comes to its end */
        return;
    }
    if (engine->phase == LOAD_RUN && options->rate > 0 && options->mode != LOAD_BULK)
        engine->stats->errors[LOAD_UNSENT] += engine->quota - engine->jobs;
    engine->phase = LOAD_DONE;
}

static void on_schedule(evutil_socket_t fd, short what, void *arg)
{
    uint64_t expirations;

    (void)what;
    (void)arg;
    /* Only to clear it; the jobs are handed out after this turn. */
    if (read(fd, &expirations, sizeof(expirations)) < 0)
        return;
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct load_engine *engine = arg;
    uint64_t now_ns = monotonic_ns();

    (void)fd;
    (void)what;
    for (uint64_t i = 0; i < engine->conn_count && busy_count(engine) > 0; i++) {
        struct load_conn *conn = &engine->conns[i];
        if (!load_conn_is_busy(conn) || now_ns - conn->active_ns <= engine->options->timeout_ns)
            continue;
        load_conn_fail(conn, conn->state == LOAD_CONNECTING ? LOAD_CONNECT_TIMEOUT : LOAD_TIMEOUT);
    }
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct load_engine *engine = arg;

    (void)number;
    (void)what;
    engine->phase = LOAD_DONE;
}

static int build_request(struct load_engine *engine, unsigned target)
{
    const struct load_options *options = engine->options;
    const struct endpoint *endpoint = &options->targets[target];
    bool asks_close =
        options->mode != LOAD_KEEPALIVE && options->mode != LOAD_HOLD && !options->client_closes;
    char host[ENDPOINT_TEXT_MAX] = "localhost";
    char request[REQUEST_MAX];

    if (endpoint_family(endpoint) != AF_UNIX)
        endpoint_format(endpoint, host);
    int length = snprintf(request, sizeof(request),
                          "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice-load\r\n%s\r\n",
                          options->path, host, asks_close ? "Connection: close\r\n" : "");
    if (length < 0 || (size_t)length >= sizeof(request))
        return -EMSGSIZE;
    engine->requests[target] = strdup(request);
    engine->request_lengths[target] = (size_t)length;
    return engine->requests[target] ? 0 : -ENOMEM;
}

static int build_requests(struct load_engine *engine)
{
    const struct load_options *options = engine->options;
    int rc = 0;

    if (options->upload) {
        engine->upload_hash = load_upload_hash_new();
        return engine->upload_hash ? 0 : -ENOMEM;
    }
    for (unsigned i = 0; options->path && i < options->target_count && rc == 0; i++)
        rc = build_request(engine, i);
    return rc;
}

/* A process that was forked for this has them blocked until now. */
static void start_signals(struct load_engine *engine)
{
    static const int signals[2] = {SIGINT, SIGTERM};
    sigset_t both;

    sigemptyset(&both);
    for (int i = 0; i < 2; i++) {
        evsignal_assign(&engine->signal_events[i], engine->base, signals[i], on_signal, engine);
        evsignal_add(&engine->signal_events[i], NULL);
        sigaddset(&both, signals[i]);
    }
    sigprocmask(SIG_UNBLOCK, &both, NULL);
}

static int start_events(struct load_engine *engine)
{
    uint64_t sweep_ns = engine->options->timeout_ns / 8;

    sweep_ns = sweep_ns < SWEEP_MIN_NS ? SWEEP_MIN_NS : sweep_ns;
    sweep_ns = sweep_ns > SWEEP_MAX_NS ? SWEEP_MAX_NS : sweep_ns;
    struct timeval sweep = monotonic_timeval(sweep_ns);
    start_signals(engine);
    evtimer_assign(&engine->deadline_event, engine->base, on_deadline, engine);
    event_assign(&engine->sweep_event, engine->base, -1, EV_PERSIST, on_sweep, engine);
    event_assign(&engine->schedule_event, engine->base, engine->schedule_fd, EV_READ | EV_PERSIST,
                 on_schedule, engine);
    if (event_add(&engine->sweep_event, &sweep) != 0 ||
        event_add(&engine->schedule_event, NULL) != 0)
        return -ENOMEM;
    return 0;
}

static int start(struct load_engine *engine)
{
    TAILQ_INIT(&engine->spare);
    TAILQ_INIT(&engine->ready);
    engine->quota = quota_of(engine->options);
    engine->conn_count = share_of(engine->options, engine->options->connections);
    engine->conns = calloc(engine->conn_count, sizeof(*engine->conns));
    engine->base = event_base_new();
    engine->schedule_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!engine->conns || !engine->base)
        return -ENOMEM;
    if (engine->schedule_fd < 0)
        return -errno;
    int rc = build_requests(engine);
    if (rc == 0)
        rc = start_events(engine);
    if (rc != 0)
        return rc;
    for (uint64_t i = 0; i < engine->conn_count; i++)
        load_conn_init(engine, &engine->conns[i]);
    if (engine->options->mode == LOAD_KEEPALIVE)
        engine->stats->begin_ns = monotonic_ns(); /* begin_run() sets it anew */
    else
        begin_run(engine);
    return 0;
}

static void finish(struct load_engine *engine)
{
    struct load_stats *stats = engine->stats;

    stats->end_ns = monotonic_ns();
    stats->held = engine->in_state[LOAD_HELD];
    for (uint64_t i = 0; i < engine->conn_count; i++) {
        struct load_conn *conn = &engine->conns[i];
        stats->interrupted += conn->has_job;
        if (conn->state != LOAD_OVER)
            load_conn_retire(conn, LOAD_OVER);
    }
    stats->complete = true;
}

static void release(struct load_engine *engine)
{
    for (unsigned i = 0; i < LOAD_ADDRESSES_MAX; i++)
        free(engine->requests[i]);
    load_upload_hash_free(engine->upload_hash);
    if (engine->base) {
        for (int i = 0; i < 2; i++)
            if (event_initialized(&engine->signal_events[i]))
                evsignal_del(&engine->signal_events[i]);
        event_base_free(engine->base);
    }
    if (engine->schedule_fd >= 0)
        close(engine->schedule_fd);
    free(engine->conns);
    free(engine);
}

int load_engine_run(const struct load_options *options, struct load_stats *stats,
                    void (*standing)(uint64_t held, void *arg), void *arg)
{
    struct load_engine *engine = calloc(1, sizeof(*engine));

    if (!engine)
        return -ENOMEM;
    engine->options = options;
    engine->stats = stats;
    engine->standing = standing;
    engine->standing_arg = arg;
    engine->schedule_fd = -1;
    int rc = start(engine);
    if (rc == 0) {
        advance(engine);
        while (engine->phase != LOAD_DONE && event_base_loop(engine->base, EVLOOP_ONCE) >= 0)
            advance(engine);
        finish(engine);
    }
    release(engine);
    return rc;
}
