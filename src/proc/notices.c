/*
 * Notices of what happened to a pool or its backends, on their way to the monitor, which runs the
 * pool's notify program for them as the daemon's unprivileged user (notify.c). Owns those that wait
 * because the monitor is not there just now, or its channel is full. In master.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "master.h"

#define NOTICES_MAX 256

struct notice {
    STAILQ_ENTRY(notice) link;
    struct message_notify notify;
};

static void drop_first(struct master *master)
{
    struct notice *notice = STAILQ_FIRST(&master->notices);
    STAILQ_REMOVE_HEAD(&master->notices, link);
    master->n_notices--;
    free(notice);
}

int notices_send(struct master *master)
{
    const struct child *monitor = &master->children[master->n_workers];
    while (!STAILQ_EMPTY(&master->notices)) {
        struct message *message = &master->message;
        message->type = MESSAGE_NOTIFY;
        message->number = 0;
        message->notify = STAILQ_FIRST(&master->notices)->notify;
        int error = message_send(monitor->channel, message, -1);
        if (error != 0) {
            return error;
        }
        drop_first(master);
    }
    if (master->notices_dropped > 1) {
        log_warning("notices were dropped", LOG_INT("count", master->notices_dropped));
    }
    master->notices_dropped = 0;
    return 0;
}

/* The first of many is logged at once, the others together when all have gone. */
static void drop_newest(struct master *master, const struct message_notify *notify)
{
    const char *why =
        master->n_notices < NOTICES_MAX ? "out of memory" : "too many wait for the monitor";
    if (master->notices_dropped++ == 0) {
        log_warning("a notice is dropped, its notify program is not run", LOG_STR("why", why),
                    LOG_STR("pool", notify->pool), LOG_STR("event", notify->event),
                    LOG_STR("backend", notify->backend));
    }
}

static void enqueue(struct master *master, const struct message_notify *notify)
{
    const struct child *monitor = &master->children[master->n_workers];
    struct notice *notice = master->n_notices < NOTICES_MAX ? calloc(1, sizeof(*notice)) : NULL;
    if (notice == NULL) {
        drop_newest(master, notify);
        return;
    }
    notice->notify = *notify;
    STAILQ_INSERT_TAIL(&master->notices, notice, link);
    master->n_notices++;
    /* Without a monitor they wait for the next one: children.c sends them then. */
    if (monitor->pid > 0 && notices_send(master) == -EAGAIN) {
        event_add(monitor->writable, NULL);
    }
}

/* A text that does not fit is left out: half an address would be another one. */
static void copy_address(const struct model_pool *pool, struct message_notify *notify)
{
    const struct model_backend *backend =
        notify->backend[0] != '\0' ? model_find_backend(pool, notify->backend) : NULL;
    const char *text = backend != NULL ? model_backend_shown(backend) : "";
    if (strlen(text) < sizeof(notify->address)) {
        (void)strlcpy(notify->address, text, sizeof(notify->address));
    }
}

void notices_add(struct master *master, const char *pool, const struct message_notify *facts)
{
    const struct model_pool *found =
        master->model != NULL ? model_find_pool(master->model, pool) : NULL;
    if (found == NULL || found->notify == NULL || found->notify[0] == '\0') {
        return;
    }
    struct message_notify notify = *facts;
    notify.wall_ms = clock_wall_ms();
    (void)strlcpy(notify.pool, pool, sizeof(notify.pool));
    copy_address(found, &notify);
    (void)strlcpy(notify.program, found->notify, sizeof(notify.program)); /* validated to fit */
    enqueue(master, &notify);
}

void notices_drop_all(struct master *master)
{
    while (!STAILQ_EMPTY(&master->notices)) {
        drop_first(master);
    }
}
