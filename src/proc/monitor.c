/*
 * The monitor process: the check engine's loop and its conversation with master and workers. Owns
 * the event base and the channel.
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
#include "message.h"

#define HEARTBEAT_MS 500

struct monitor {
    int channel;
    const int *wakes;
    size_t n_wakes;
    struct scoreboard *sb;
    struct event_base *base;
    struct event *channel_event, *heartbeat;
    struct check_engine *engine;
    struct message message;
};

static void on_change(void *arg, const char *pool, const char *backend, enum sb_health from,
                      enum sb_health to, const char *reason)
{
    struct monitor *monitor = arg;
    log_info("health changed", LOG_STR("pool", pool), LOG_STR("backend", backend),
             LOG_STR("from", sb_health_names[from]), LOG_STR("to", sb_health_names[to]),
             LOG_STR("reason", reason));
    struct message *message = &monitor->message;
    message->type = MESSAGE_HEALTH;
    message->number = 0;
    strlcpy(message->health.pool, pool, sizeof(message->health.pool));
    strlcpy(message->health.backend, backend, sizeof(message->health.backend));
    strlcpy(message->health.reason, reason, sizeof(message->health.reason));
    message->health.from = from;
    message->health.to = to;
    /* Master only records it; the scoreboard has it already, so a full channel loses nothing that
     * decides. */
    message_send(monitor->channel, message, -1);
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

static int setup(struct monitor *monitor)
{
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof(seed), 0);
    monitor->base = event_base_new();
    if (monitor->base == NULL) {
        return -ENOMEM;
    }
    monitor->engine = check_engine_create(monitor->base, monitor->sb, seed, on_change, monitor);
    monitor->channel_event =
        event_new(monitor->base, monitor->channel, EV_READ | EV_PERSIST, on_channel, monitor);
    monitor->heartbeat = event_new(monitor->base, -1, EV_PERSIST, on_heartbeat, monitor);
    struct timeval every = {.tv_usec = HEARTBEAT_MS * 1000};
    if (monitor->engine == NULL || monitor->channel_event == NULL || monitor->heartbeat == NULL ||
        event_add(monitor->channel_event, NULL) != 0 ||
        event_add(monitor->heartbeat, &every) != 0) {
        return -ENOMEM;
    }
    return 0;
}

static void teardown(struct monitor *monitor)
{
    check_engine_destroy(monitor->engine);
    if (monitor->channel_event != NULL) {
        event_free(monitor->channel_event);
    }
    if (monitor->heartbeat != NULL) {
        event_free(monitor->heartbeat);
    }
    if (monitor->base != NULL) {
        event_base_free(monitor->base);
    }
    fd_close(&monitor->channel);
}

int monitor_run(int channel, const int *wakes, size_t n_wakes, struct scoreboard *sb)
{
    struct monitor monitor = {.channel = channel, .wakes = wakes, .n_wakes = n_wakes, .sb = sb};
    int error = setup(&monitor);
    if (error != 0) {
        log_error("monitor cannot start", LOG_STR("error", strerror(-error)));
    } else {
        event_base_dispatch(monitor.base);
    }
    teardown(&monitor);
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
