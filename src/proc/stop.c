/*
 * The daemon's end: stop_delay, the drain, and the end at once. Owns the timers of master's record
 * that are for it (hurry, delay). In master.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "master.h"
#include "succession.h"
#include "systemd.h"
#include "upgrade.h"

#define HURRY_MS 500

static void on_hurry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct master *master = arg;
    children_kill(master);
    event_base_loopbreak(master->base);
}

/* Sessions are reset by their workers: the kernel, closing for a process that was killed, would
 * make it look like an orderly end. Who does not manage that at once is killed. */
void master_end_now(struct master *master)
{
    master->drain_deadline_ms = clock_now_ms();
    succession_stop(master, 0);
    children_drain_anew(master);
    struct timeval in = {.tv_usec = HURRY_MS * 1000};
    if (master->hurry != NULL ||
        (master->hurry = evtimer_new(master->base, on_hurry, master)) == NULL ||
        evtimer_add(master->hurry, &in) != 0) {
        on_hurry(-1, 0, master);
    }
}

void master_leave_when_empty(struct master *master)
{
    pid_t pid;
    uint32_t sessions;
    if (!master->stopping || succession_is_shared(master, &pid, &sessions)) {
        return;
    }
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        if (master->children[i].pid > 0) {
            return;
        }
    }
    event_base_loopbreak(master->base);
}

static void begin_drain(struct master *master, const char *by)
{
    uint64_t now_ms = clock_now_ms();
    master->leaving = true;
    master->stopping = true;
    master->drain_deadline_ms =
        master->drain_ms < UINT64_MAX - now_ms ? now_ms + master->drain_ms : UINT64_MAX;
    if (!upgrade_is_over(master)) {
        systemd_stopping(master->systemd);
        listeners_forget_all(master->listeners);
    }
    succession_stop(master, master->drain_ms);
    log_info(upgrade_is_over(master) ? "draining" : "stopping", LOG_STR("by", by),
             LOG_INT("drain_ms", master->drain_ms == UINT64_MAX ? 0 : master->drain_ms),
             LOG_INT("connections",
                     atomic_load_explicit(&master->sb.header->active, memory_order_relaxed)));
    /* Ours go first: a worker then holds its queue alone, and empties it before it closes it. */
    listeners_destroy(master->listeners);
    master->listeners = listeners_create(master->n_workers);
    children_sync(master);
    master_leave_when_empty(master);
}

void master_drain(struct master *master, uint64_t drain_ms, const char *by)
{
    master->drain_ms = drain_ms;
    begin_drain(master, by);
}

void master_hasten(struct master *master, uint64_t ms)
{
    uint64_t now_ms = clock_now_ms();
    if (ms == 0) {
        master_end_now(master);
    } else if (ms < UINT64_MAX - now_ms && now_ms + ms < master->drain_deadline_ms) {
        master->drain_deadline_ms = now_ms + ms;
        children_drain_anew(master);
        succession_stop(master, ms);
    }
}

static void on_delay_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct master *master = arg;
    master_event(master, "stop", NULL, NULL, "master", NULL, "stop_delay is over: no new clients");
    begin_drain(master, "the end of stop_delay");
}

/* While clients are sent elsewhere by what health answers say, those who still come are served. */
static bool delay_drain(struct master *master, uint32_t delay_ms)
{
    struct timeval in = {.tv_sec = delay_ms / 1000,
                         .tv_usec = (suseconds_t)(delay_ms % 1000) * 1000};
    if (delay_ms == 0) {
        return false;
    }
    master->delay_until_ms = clock_now_ms() + delay_ms;
    master->delay = evtimer_new(master->base, on_delay_end, master);
    return master->delay != NULL && evtimer_add(master->delay, &in) == 0;
}

void master_stop_now(struct master *master, const char *by)
{
    log_warning("ending at once", LOG_STR("by", by));
    upgrade_cancel(master, "this daemon was told to end");
    if (!master->stopping) {
        if (master->delay != NULL) {
            event_free(master->delay);
            master->delay = NULL;
        }
        master->drain_ms = 0;
        begin_drain(master, by);
    }
    master_end_now(master);
}

void master_stop(struct master *master, uint64_t drain_ms, const char *by, const char *why)
{
    uint32_t delay_ms = master->model->global.stop_delay_ms;
    upgrade_cancel(master, "this daemon was told to stop");
    if (master->leaving) {
        master_stop_now(master, by);
        return;
    }
    master->leaving = true;
    atomic_store(&master->sb.header->health_stops, 1);
    master->drain_ms = drain_ms;
    if (!delay_drain(master, delay_ms)) {
        master_event(master, "stop", NULL, NULL, by, why, "stopping: no new clients");
        begin_drain(master, by);
        return;
    }
    log_info("stopping after stop_delay", LOG_STR("by", by), LOG_INT("stop_delay_ms", delay_ms));
    char text[128];
    snprintf(text, sizeof(text),
             "stopping: health answers say no, clients are accepted for %u ms more", delay_ms);
    master_event(master, "stop", NULL, NULL, by, why, text);
    health_watch(master, clock_now_ms());
}
