/*
 * The monitor process: the loop of the check engine, of notify programs and of the status address,
 * and the conversation
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
#include "ctl/status.h"
#include "message.h"
#include "name_watch.h"
#include "notify.h"
#include "outbox.h"

#define HEARTBEAT_MS 500
/* So long callbacks may go on before the heartbeat is looked after, however many wait: a turn with
 * hundreds of answers to search is slow, but alive. One that hangs still stops it. */
#define DISPATCH_MS 50

/* Of changes that master has not read yet: 1.4 MB at most. Beyond so many events it forgets anyway.
 */
#define OUTBOX_MAX 4096

enum priority { PRIORITY_HEARTBEAT, PRIORITY_REST, PRIORITY_COUNT };

struct monitor {
    int channel;
    const int *wakes;
    size_t n_wakes;
    struct scoreboard *sb;
    struct event_base *base;
    struct event *channel_event, *heartbeat, *alarm_event;
    struct check_engine *engine;
    struct notify *notify;
    struct outbox *outbox;
    struct status *status;                  /* NULL: there is none, or it is not ours to serve */
    const struct snapshot_header *snapshot; /* for the first status; NULL once it has it */
    struct name_watch *names;
    struct message message;
};

/* A weight may change with each check: it is worth telling of where it comes or goes altogether. */
static bool is_telling(const struct check_change *change)
{
    return change->news != CHECK_NEWS_ASKED || change->admin_from != change->admin_to;
}

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
        log_at(is_telling(change) ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "asked by checks",
               LOG_STR("pool", change->pool), LOG_STR("backend", change->backend),
               LOG_STR("asked", change->reason));
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

/* Master only records it, and has notify programs run; what decides is in the scoreboard already.
 */
static void tell_master(struct monitor *monitor, const struct check_change *change)
{
    bool is_asked = change->news == CHECK_NEWS_ASKED;
    struct message *message = &monitor->message;
    message->type = MESSAGE_HEALTH;
    message->number = 0;
    message->health = (struct message_health){.news = change->news,
                                              .from = is_asked ? change->admin_from : change->from,
                                              .to = is_asked ? change->admin_to : change->to,
                                              .lasted_ms = change->lasted_ms,
                                              .next_check_ms = change->next_check_ms};
    strlcpy(message->health.pool, change->pool, sizeof(message->health.pool));
    strlcpy(message->health.backend, change->backend, sizeof(message->health.backend));
    strlcpy(message->health.reason, change->reason, sizeof(message->health.reason));
    outbox_send(monitor->outbox, message);
}

static void on_done(void *arg, uint32_t number)
{
    struct monitor *monitor = arg;
    outbox_send_number(monitor->outbox, MESSAGE_NOTIFIED, number);
}

static void on_change(void *arg, const struct check_change *change)
{
    struct monitor *monitor = arg;
    log_change(change);
    if (is_telling(change)) {
        tell_master(monitor, change);
    }
    for (size_t i = 0; i < monitor->n_wakes; i++) {
        (void)!write(monitor->wakes[i], &(uint64_t){1}, sizeof(uint64_t));
    }
}

static void ask_for_page(void *arg, enum status_page page)
{
    struct monitor *monitor = arg;
    outbox_send_number(monitor->outbox, MESSAGE_PAGE_WANTED, page);
}

static void take_snapshot(struct monitor *monitor, uint32_t generation, int fd)
{
    const struct snapshot_header *snapshot = snapshot_map(fd);
    int error = snapshot == NULL ? -errno : check_engine_apply(monitor->engine, snapshot);
    if (error == 0 && monitor->status != NULL) {
        status_take_snapshot(monitor->status, snapshot);
    } else if (error == 0) {
        snapshot_unmap(monitor->snapshot);
        monitor->snapshot = snapshot;
    } else {
        snapshot_unmap(snapshot);
    }
    if (error != 0) {
        log_error("cannot take the new configuration over", LOG_INT("generation", generation),
                  LOG_STR("error", strerror(-error)));
        return;
    }
    atomic_store(&monitor->sb->header->monitor_generation, generation);
    outbox_send_number(monitor->outbox, MESSAGE_READY, generation);
}

/* fd is owned; -1: another daemon serves it from now on. */
static void take_status(struct monitor *monitor, int fd)
{
    struct status_host host = {.sb = monitor->sb, .ask = ask_for_page, .arg = monitor};
    status_destroy(monitor->status);
    monitor->status = fd < 0 ? NULL : status_create(monitor->base, fd, &host);
    if (monitor->status != NULL && monitor->snapshot != NULL) {
        status_take_snapshot(monitor->status, monitor->snapshot);
        monitor->snapshot = NULL;
    } else if (fd >= 0 && monitor->status == NULL) {
        log_error("the status address is not served: out of memory");
    }
}

static void handle_message(struct monitor *monitor, int fd)
{
    const struct message *message = &monitor->message;
    switch (message->type) {
    case MESSAGE_SNAPSHOT:
        take_snapshot(monitor, message->number, fd);
        break;
    case MESSAGE_NOTIFY:
        notify_run(monitor->notify, message->number, &message->notify);
        break;
    case MESSAGE_PAGE_MADE:
        if (monitor->status != NULL && message->number < STATUS_PAGE_COUNT) {
            status_take_page(monitor->status, (enum status_page)message->number, fd);
            return; /* fd is the page's now */
        }
        break;
    case MESSAGE_STATUS:
        take_status(monitor, fd);
        return; /* fd is its now */
    case MESSAGE_NAMES:
        name_watch_take(monitor->names, fd);
        return; /* fd is its now */
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
    atomic_store_explicit(&monitor->sb->header->monitor_log_dropped, log_dropped(),
                          memory_order_relaxed);
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
        event_priority_set(monitor->heartbeat, PRIORITY_HEARTBEAT) != 0 ||
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
    event_config_set_max_dispatch_interval(config, &(struct timeval){.tv_usec = DISPATCH_MS * 1000},
                                           -1, PRIORITY_REST);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (base != NULL && event_base_priority_init(base, PRIORITY_COUNT) != 0) {
        event_base_free(base);
        return NULL;
    }
    return base; /* what says nothing of priority has the middle one, which is the last of two */
}

static int setup(struct monitor *monitor, int alarm)
{
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof(seed), 0);
    monitor->base = new_base();
    if (monitor->base == NULL) {
        return -ENOMEM;
    }
    monitor->outbox = outbox_create(monitor->base, monitor->channel, OUTBOX_MAX);
    monitor->engine = check_engine_create(monitor->base, monitor->sb, seed, on_change, monitor);
    monitor->notify = notify_create(monitor->base, NOTIFY_LIMIT_MS, on_done, monitor);
    monitor->names = name_watch_create(monitor->base, monitor->channel);
    if (monitor->names == NULL || monitor->outbox == NULL || monitor->engine == NULL ||
        monitor->notify == NULL) {
        return -ENOMEM;
    }
    return listen_to(monitor, alarm);
}

static void free_event(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

static void teardown(struct monitor *monitor)
{
    status_destroy(monitor->status);
    snapshot_unmap(monitor->snapshot);
    check_engine_destroy(monitor->engine);
    notify_destroy(monitor->notify);
    name_watch_destroy(monitor->names);
    outbox_destroy(monitor->outbox);
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
