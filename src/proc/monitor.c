/*
 * The monitor process: the loop of the check engine and of notify programs, and the conversation
 * with master and workers. Owns the event base and the channel.
 */
#include "monitor.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "check/engine.h"
#include "ctl/format.h"
#include "message.h"
#include "notify.h"

#define HEARTBEAT_MS 500

struct monitor {
    int channel;
    const int *wakes;
    size_t n_wakes;
    struct scoreboard *sb;
    struct event_base *base;
    struct event *channel_event, *heartbeat, *alarm_event;
    struct check_engine *engine;
    struct notify *notify;
    struct message message;
};

static void log_change(const struct check_change *change)
{
    char lasted[FORMAT_TEXT_MAX];
    switch (change->news) {
    case CHECK_NEWS_HEALTH:
        log_info("health changed", LOG_STR("pool", change->pool),
                 LOG_STR("backend", change->backend),
                 LOG_STR("from", sb_health_names[change->from]),
                 LOG_STR("to", sb_health_names[change->to]), LOG_STR("reason", change->reason),
                 LOG_STR("after", format_duration(change->lasted_ms, lasted)));
        break;
    case CHECK_NEWS_ASKED:
        log_info("asked by checks", LOG_STR("pool", change->pool),
                 LOG_STR("backend", change->backend), LOG_STR("asked", change->reason));
        break;
    case CHECK_NEWS_EJECTED:
        log_warning("backend ejected", LOG_STR("pool", change->pool),
                    LOG_STR("backend", change->backend), LOG_STR("reason", change->reason));
        break;
    case CHECK_NEWS_RETURNED:
        log_info("backend back from ejection", LOG_STR("pool", change->pool),
                 LOG_STR("backend", change->backend), LOG_STR("reason", change->reason));
        break;
    case CHECK_NEWS_COUNT:
        break;
    }
}

/* Master only records it; the scoreboard has it already, so a full channel loses nothing that
 * decides. */
static void tell_master(struct monitor *monitor, const struct check_change *change)
{
    struct message *message = &monitor->message;
    message->type = MESSAGE_HEALTH;
    message->number = 0;
    message->health = (struct message_health){.news = change->news,
                                              .from = change->from,
                                              .to = change->to,
                                              .lasted_ms = change->lasted_ms,
                                              .next_check_ms = change->next_check_ms};
    strlcpy(message->health.pool, change->pool, sizeof(message->health.pool));
    strlcpy(message->health.backend, change->backend, sizeof(message->health.backend));
    strlcpy(message->health.reason, change->reason, sizeof(message->health.reason));
    message_send(monitor->channel, message, -1);
}

static void on_change(void *arg, const struct check_change *change)
{
    struct monitor *monitor = arg;
    log_change(change);
    if (change->news != CHECK_NEWS_ASKED) {
        tell_master(monitor, change);
    }
    for (size_t i = 0; i < monitor->n_wakes; i++) {
        (void)!write(monitor->wakes[i], &(uint64_t){1}, sizeof(uint64_t));
    }
}

static void take_snapshot(struct monitor *monitor, uint32_t generation, int fd)
{
    const struct snapshot_header *snapshot = snapshot_map(fd);
    int error = snapshot == NULL ? -errno : check_engine_apply(monitor->engine, snapshot);
    snapshot_unmap(snapshot);
    if (error != 0) {
        log_error("cannot take the new configuration over", LOG_INT("generation", generation),
                  LOG_STR("error", strerror(-error)));
        return;
    }
    atomic_store(&monitor->sb->header->monitor_generation, generation);
    monitor->message.type = MESSAGE_READY;
    monitor->message.number = generation;
    message_send(monitor->channel, &monitor->message, -1);
}

static void handle_message(struct monitor *monitor, int fd)
{
    const struct message *message = &monitor->message;
    switch (message->type) {
    case MESSAGE_SNAPSHOT:
        take_snapshot(monitor, message->number, fd);
        break;
    case MESSAGE_NOTIFY:
        notify_run(monitor->notify, &message->notify);
        break;
    case MESSAGE_DRAIN:
        event_base_loopbreak(monitor->base);
        break;
    case MESSAGE_LOG:
        message_take_log(message, fd);
        return; /* fd is the log's now */
    default:
        break;
    }
    fd_close(&fd);
}

static void on_channel(evutil_socket_t channel, short what, void *arg)
{
    (void)what;
    struct monitor *monitor = arg;
    int fd;
    int got = message_receive((int)channel, &monitor->message, &fd);
    if (got == 1) {
        handle_message(monitor, fd);
    } else if (got != -EAGAIN && got != -EPROTO && got != -EMSGSIZE) {
        event_base_loopbreak(monitor->base); /* master is gone; health stays as it is */
    }
}

static void on_heartbeat(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct monitor *monitor = arg;
    atomic_store(&monitor->sb->header->monitor_heartbeat_ms, clock_now_ms());
}

static void on_alarm(evutil_socket_t alarm, short what, void *arg)
{
    (void)what;
    struct monitor *monitor = arg;
    uint64_t raised;
    (void)!read((int)alarm, &raised, sizeof(raised));
    check_engine_alarm(monitor->engine);
}

static int listen_to(struct monitor *monitor, int alarm)
{
    struct timeval every = {.tv_usec = HEARTBEAT_MS * 1000};
    monitor->channel_event =
        event_new(monitor->base, monitor->channel, EV_READ | EV_PERSIST, on_channel, monitor);
    monitor->heartbeat = event_new(monitor->base, -1, EV_PERSIST, on_heartbeat, monitor);
    if (monitor->channel_event == NULL || monitor->heartbeat == NULL ||
        event_add(monitor->channel_event, NULL) != 0 ||
        event_add(monitor->heartbeat, &every) != 0) {
        return -ENOMEM;
    }
    if (alarm < 0) {
        return 0;
    }
    monitor->alarm_event = event_new(monitor->base, alarm, EV_READ | EV_PERSIST, on_alarm, monitor);
    return monitor->alarm_event == NULL || event_add(monitor->alarm_event, NULL) != 0 ? -ENOMEM : 0;
}

/* Not EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST, though checks change often what they wait for: until a
 * program has begun it shares our connections. One that is closed here before libevent has told the
 * kernel stays in epoll for so long, and its events go to whoever has its number by then: a check
 * that still connects would pass, and the end of a program be missed. */
static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return NULL;
    }
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static int setup(struct monitor *monitor, int alarm)
{
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof(seed), 0);
    monitor->base = new_base();
    if (monitor->base == NULL) {
        return -ENOMEM;
    }
    monitor->engine = check_engine_create(monitor->base, monitor->sb, seed, on_change, monitor);
    monitor->notify = notify_create(monitor->base, NOTIFY_LIMIT_MS);
    return monitor->engine == NULL || monitor->notify == NULL ? -ENOMEM : listen_to(monitor, alarm);
}

static void free_event(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

static void teardown(struct monitor *monitor)
{
    check_engine_destroy(monitor->engine);
    notify_destroy(monitor->notify);
    free_event(monitor->channel_event);
    free_event(monitor->heartbeat);
    free_event(monitor->alarm_event);
    if (monitor->base != NULL) {
        /* A connection that had news to tell is freed by the turn that would have told it. */
        (void)event_base_loop(monitor->base, EVLOOP_NONBLOCK);
        event_base_free(monitor->base);
    }
    fd_close(&monitor->channel);
}

int monitor_run(int channel, const int *wakes, size_t n_wakes, int alarm, struct scoreboard *sb)
{
    struct monitor monitor = {.channel = channel, .wakes = wakes, .n_wakes = n_wakes, .sb = sb};
    int error = setup(&monitor, alarm);
    if (error != 0) {
        log_error("monitor cannot start", LOG_STR("error", strerror(-error)));
    } else {
        event_base_dispatch(monitor.base);
    }
    teardown(&monitor);
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
