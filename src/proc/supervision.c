/*
 * The watchdog that the supervisor has on master is fed by master's own turns and by nothing else:
 * a worker that hangs is master's business (watchdog.c). In master.
 */
#include "supervision.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "master.h"
#include "succession.h"
#include "systemd.h"

#define EXTEND_MS 10000

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    systemd_feed(((struct master *)arg)->systemd);
}

int supervision_start(struct master *master)
{
    master->systemd = systemd_create();
    if (master->systemd == NULL) {
        return -ENOMEM;
    }
    uint64_t every_ms = systemd_watchdog_ms(master->systemd);
    struct timeval every = {.tv_sec = (time_t)(every_ms / 1000),
                            .tv_usec = (suseconds_t)(every_ms % 1000 * 1000)};
    if (every_ms == 0) {
        return 0;
    }
    master->feeding = event_new(master->base, -1, EV_PERSIST, on_turn, master);
    return master->feeding != NULL && event_add(master->feeding, &every) == 0 ? 0 : -ENOMEM;
}

static void tell_figures(struct master *master)
{
    uint32_t n = 0, up = 0, sessions;
    pid_t pid;
    char text[192];
    for (size_t i = 0; i < master->model->n_pools; i++) {
        const struct model_pool *pool = &master->model->pools[i];
        for (size_t j = 0; j < pool->n_backends; j++) {
            uint32_t slot = pool->backends[j].slot;
            n++;
            up += atomic_load(&master->sb.slot_health[slot]) == SB_HEALTH_UP;
        }
    }
    int len = snprintf(
        text, sizeof(text), "%s%" PRIu32 " connections, %" PRIu32 " of %" PRIu32 " backends up",
        master->leaving ? "stopping, " : "", atomic_load(&master->sb.header->active), up, n);
    if (succession_is_shared(master, &pid, &sessions)) {
        snprintf(text + len, sizeof(text) - (size_t)len,
                 "; pid %d drains %" PRIu32 " after an upgrade", (int)pid, sessions);
    }
    systemd_status(master->systemd, text);
}

void supervision_sweep(struct master *master)
{
    if (succession_is_waiting(master)) {
        return;
    }
    tell_figures(master);
    if (master->leaving) {
        systemd_extend(master->systemd, EXTEND_MS);
    }
}

void supervision_end(struct master *master)
{
    if (master->feeding != NULL) {
        event_free(master->feeding);
        master->feeding = NULL;
    }
    systemd_destroy(master->systemd);
    master->systemd = NULL;
}
