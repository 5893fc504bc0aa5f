/*
 * The worker process: its loop and its conversation with master. The data path is proxy's. Owns the
 * event base and the channel.
 */
#include "worker.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/tiny.h"
#include "message.h"
#include "proxy/proxy.h"

#define HEARTBEAT_MS    500
#define MESSAGES_A_TURN 64

struct worker {
    uint32_t id;
    int channel;      /* -1 once master is gone */
    const int *wakes; /* of all workers */
    int reserve; /* given up for a moment so that a message's descriptor always finds a place */
    bool has_message;
    bool draining;
    struct scoreboard *sb;
    struct sb_worker *row;
    struct event_base *base;
    struct event channel_event, wake_event, timer;
    struct proxy *proxy;
    uint64_t timer_due_ms; /* 0: not armed */
    uint64_t beat_ms;      /* when the figures of the row were last renewed */
    uint64_t cpu_us;       /* at beat_ms */
    struct message message;
};

static void on_channel(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ((struct worker *)arg)->has_message = true;
}

/* Health has changed, or a place somebody here may be waiting for was given back. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct worker *worker = arg;
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
    proxy_woken(worker->proxy);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ((struct worker *)arg)->timer_due_ms = 0;
}

static int setup(struct worker *worker)
{
    /* Also for what is there already: it frees what malloc gave. */
    event_set_mem_functions(tiny_malloc, tiny_realloc, tiny_free);

    struct event_config *config = event_config_new();
    if (config == NULL) {
        return -ENOMEM;
    }
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    worker->base = event_base_new_with_config(config);
    event_config_free(config);
    if (worker->base == NULL) {
        return -ENOMEM;
    }
    worker->proxy = proxy_create(worker->base, worker->sb, worker->id, worker->wakes);
    if (worker->proxy == NULL) {
        return -ENOMEM;
    }
    event_assign(&worker->channel_event, worker->base, worker->channel, EV_READ | EV_PERSIST,
                 on_channel, worker);
    event_assign(&worker->wake_event, worker->base, worker->wakes[worker->id], EV_READ | EV_PERSIST,
                 on_wake, worker);
    evtimer_assign(&worker->timer, worker->base, on_timer, worker);
    if (event_add(&worker->channel_event, NULL) != 0 || event_add(&worker->wake_event, NULL) != 0) {
        return -ENOMEM;
    }
    return 0;
}

static void teardown(struct worker *worker)
{
    proxy_destroy(worker->proxy);
    if (worker->base != NULL) {
        event_base_free(worker->base);
    }
    fd_close(&worker->channel);
    fd_close(&worker->reserve);
}

/* Without master nobody can reload or replace: what is established goes on to its end, or for
 * upgrade_timeout, and the listening addresses are left to a successor. */
static void master_is_gone(struct worker *worker)
{
    uint32_t most_ms = atomic_load(&worker->sb->header->upgrade_timeout_ms);
    log_error("master is gone: no new clients, sessions go on to their end");
    event_del(&worker->channel_event);
    fd_close(&worker->channel);
    worker->draining = true;
    proxy_drain(worker->proxy, most_ms > 0 ? clock_now_ms() + most_ms : UINT64_MAX);
}

static void ask_again(struct worker *worker)
{
    worker->message.type = MESSAGE_RESYNC;
    worker->message.number = 0;
    message_send(worker->channel, &worker->message, -1);
}

static void take_snapshot(struct worker *worker, uint32_t generation, int fd)
{
    /* Sent again, perhaps because of something else that went with it. */
    if (atomic_load(&worker->row->generation) == generation &&
        atomic_load(&worker->row->state) != SB_WORKER_STARTING) {
        return;
    }
    const struct snapshot_header *snapshot = snapshot_map(fd);
    if (snapshot == NULL || proxy_apply(worker->proxy, snapshot) != 0) {
        log_error("cannot take the new configuration over", LOG_INT("generation", generation),
                  LOG_STR("error", strerror(errno)));
        ask_again(worker);
        return;
    }
    atomic_store(&worker->row->generation, generation);
    if (!worker->draining) {
        atomic_store(&worker->row->state, SB_WORKER_RUNNING);
    }
    worker->message.type = MESSAGE_READY;
    worker->message.number = generation;
    message_send(worker->channel, &worker->message, -1);
}

static void take_listener(struct worker *worker, uint32_t id, int fd)
{
    if (worker->draining) {
        close(fd);
        return;
    }
    int error = proxy_add_listener(worker->proxy, id, fd);
    if (error != 0 && error != -EEXIST) {
        ask_again(worker);
        log_error("cannot take a listener over", LOG_INT("listener", id),
                  LOG_STR("error", strerror(-error)));
    }
}

static void list_sessions(struct worker *worker)
{
    struct message_list wanted = worker->message.list;
    uint32_t number = worker->message.number;
    worker->message.type = MESSAGE_SESSIONS;
    worker->message.number = number;
    worker->message.sessions.count =
        (uint32_t)proxy_list(worker->proxy, &wanted.filter, wanted.after_id,
                             worker->message.sessions.items, MESSAGE_PAGE);
    message_send(worker->channel, &worker->message, -1);
}

static void close_sessions(struct worker *worker)
{
    struct session_close wanted = worker->message.close;
    worker->message.type = MESSAGE_CLOSING;
    proxy_close(worker->proxy, &wanted, &worker->message.closing);
    message_send(worker->channel, &worker->message, -1);
}

static void explain(struct worker *worker)
{
    struct explanation_question question = worker->message.question;
    worker->message.type = MESSAGE_EXPLANATION;
    proxy_explain(worker->proxy, &question, &worker->message.explanation);
    message_send(worker->channel, &worker->message, -1);
}

static void handle_message(struct worker *worker, int fd)
{
    const struct message *message = &worker->message;
    switch (message->type) {
    case MESSAGE_SNAPSHOT:
        take_snapshot(worker, message->number, fd);
        break;
    case MESSAGE_LISTENER:
        take_listener(worker, message->number, fd);
        return; /* fd is the proxy's now */
    case MESSAGE_DRAIN:
        worker->draining = true;
        atomic_store(&worker->row->state, SB_WORKER_DRAINING);
        proxy_drain(worker->proxy, message->deadline_ms);
        break;
    case MESSAGE_LIST:
        list_sessions(worker);
        break;
    case MESSAGE_CLOSE:
        close_sessions(worker);
        break;
    case MESSAGE_EXPLAIN:
        explain(worker);
        break;
    case MESSAGE_LOG:
        message_take_log(message, fd);
        return; /* fd is the log's now */
    default:
        break;
    }
    fd_close(&fd);
}

static void renew_reserve(struct worker *worker)
{
    if (worker->reserve < 0) {
        worker->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static void read_channel(struct worker *worker)
{
    worker->has_message = false;
    proxy_begin_work(worker->proxy);
    for (int i = 0; i < MESSAGES_A_TURN && worker->channel >= 0; i++) {
        int fd;
        fd_close(&worker->reserve);
        int got = message_receive(worker->channel, &worker->message, &fd);
        renew_reserve(worker);
        if (got == 1) {
            handle_message(worker, fd);
        } else if (got == -EAGAIN) {
            return;
        } else if (got == -EMSGSIZE) {
            log_warning("no descriptor left for what master sent; asking again");
            ask_again(worker);
        } else if (got != -EPROTO) {
            master_is_gone(worker);
        }
    }
}

static void arm_timer(struct worker *worker, uint64_t now_ms)
{
    uint64_t in_ms = proxy_next_ms(worker->proxy, now_ms);
    in_ms = in_ms < HEARTBEAT_MS ? in_ms : HEARTBEAT_MS;
    uint64_t due_ms = now_ms + in_ms;
    /* An earlier alarm than needed costs one empty turn; moving it each turn would cost more. */
    if (worker->timer_due_ms != 0 && worker->timer_due_ms <= due_ms) {
        return;
    }
    worker->timer_due_ms = due_ms;
    struct timeval tv = {.tv_sec = (time_t)(in_ms / 1000),
                         .tv_usec = (suseconds_t)(in_ms % 1000 * 1000)};
    event_add(&worker->timer, &tv);
}

static uint64_t cpu_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Twice a second: that it lives, and how busy it is. */
static void beat(struct worker *worker, uint64_t now_ms)
{
    if (now_ms - worker->beat_ms < HEARTBEAT_MS) {
        return;
    }
    uint64_t cpu_us = cpu_now_us();
    atomic_store_explicit(&worker->row->heartbeat_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&worker->row->busy_permille,
                          (uint32_t)((cpu_us - worker->cpu_us) / (now_ms - worker->beat_ms)),
                          memory_order_relaxed);
    atomic_store_explicit(&worker->row->log_dropped, log_dropped(), memory_order_relaxed);
    proxy_beat(worker->proxy);
    renew_reserve(worker);
    worker->beat_ms = now_ms;
    worker->cpu_us = cpu_us;
}

static void loop(struct worker *worker)
{
    uint64_t now_ms = clock_now_ms();
    while (!worker->draining || proxy_sessions(worker->proxy) > 0) {
        arm_timer(worker, now_ms);
        event_base_loop(worker->base,
                        EVLOOP_ONCE | (proxy_busy(worker->proxy) ? EVLOOP_NONBLOCK : 0));
        if (worker->has_message) {
            read_channel(worker);
        }
        now_ms = proxy_turn(worker->proxy);
        beat(worker, now_ms);
    }
}

int worker_run(uint32_t id, int channel, const int *wakes, struct scoreboard *sb)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL) {
        return EXIT_FAILURE;
    }
    *worker = (struct worker){.id = id,
                              .channel = channel,
                              .wakes = wakes,
                              .reserve = -1,
                              .sb = sb,
                              .row = &sb->workers[id]};
    renew_reserve(worker);
    worker->beat_ms = clock_now_ms();
    worker->cpu_us = cpu_now_us();
    int error = setup(worker);
    if (error != 0) {
        log_error("worker cannot start", LOG_STR("error", strerror(-error)));
    } else {
        loop(worker);
    }
    teardown(worker);
    free(worker);
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
