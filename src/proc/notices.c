/*
 * Notices of what happened to a pool or its backends, on their way to the monitor, which runs the
 * pool's notify program for them as the daemon's unprivileged user (notify.c). Owns them until that
 * program has ended: they outlive a monitor, and what dies with it is run again by the next one. In
 * master.
 *
 *   waiting ──the monitor has a place──► sent ──its program has ended──► gone
 *      ▲                                  │
 *      └───────the monitor is gone────────┘ (twice: dropped)
 *
 * Those of pools as such go before those of backends, have a place of their own, and are dropped
 * last: when everything fails at once they say the most, and come last.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "master.h"
#include "notify.h"
#include "succession.h"
#include "upgrade.h"

#define NOTICES_MAX    512
#define LOG_EVERY_MS   1000
#define TRIES_MAX      2 /* one that a monitor dies of is not to kill all of them */
#define POOL_PLACES    1 /* of the monitor's, that backends leave free */
#define BACKEND_PLACES (NOTIFY_RUNNING_MAX - POOL_PLACES)

struct notice {
    TAILQ_ENTRY(notice) link;
    uint32_t number, tries;
    struct message_notify notify;
};

void notices_init(struct master *master)
{
    TAILQ_INIT(&master->notices.pools);
    TAILQ_INIT(&master->notices.backends);
    TAILQ_INIT(&master->notices.sent);
}

static struct notice_list *lane_of(struct notices *notices, const struct message_notify *notify)
{
    return notify->backend[0] == '\0' ? &notices->pools : &notices->backends;
}

/* --- losses --- */

/* last: one of them; NULL: others like those that were told of before. */
static void tell_dropped(struct notices *notices, const char *why,
                         const struct message_notify *last)
{
    if (last == NULL) {
        log_warning("more notices were dropped", LOG_INT("count", notices->untold));
    } else {
        log_warning("notices are dropped, their notify programs are not run",
                    LOG_INT("count", notices->untold), LOG_STR("why", why),
                    LOG_STR("pool", last->pool), LOG_STR("event", last->event),
                    LOG_STR("backend", last->backend));
    }
    notices->untold = 0;
    notices->told_at_ms = clock_now_ms();
}

static bool may_tell(const struct notices *notices)
{
    return notices->told_at_ms == 0 || clock_now_ms() - notices->told_at_ms >= LOG_EVERY_MS;
}

static void note_dropped(struct notices *notices, const char *why,
                         const struct message_notify *notify)
{
    notices->dropped++;
    notices->untold++;
    if (may_tell(notices)) {
        tell_dropped(notices, why, notify);
    }
}

void notices_sweep(struct master *master)
{
    if (master->notices.untold > 0 && may_tell(&master->notices)) {
        tell_dropped(&master->notices, "", NULL);
    }
}

static void drop(struct notices *notices, struct notice_list *list, struct notice *notice)
{
    TAILQ_REMOVE(list, notice, link);
    notices->count--;
    free(notice);
}

/* --- to the monitor and back --- */

static struct notice *find_next(struct notices *notices)
{
    if (notices->n_sent < NOTIFY_RUNNING_MAX && !TAILQ_EMPTY(&notices->pools)) {
        return TAILQ_FIRST(&notices->pools);
    }
    return notices->n_sent < BACKEND_PLACES ? TAILQ_FIRST(&notices->backends) : NULL;
}

int notices_send(struct master *master)
{
    const struct child *monitor = &master->children[master->n_workers];
    struct notices *notices = &master->notices;
    struct notice *next;
    while ((next = find_next(notices)) != NULL) {
        struct message *message = &master->message;
        message->type = MESSAGE_NOTIFY;
        message->number = next->number;
        message->notify = next->notify;
        int error = message_send(monitor->channel, message, -1);
        if (error != 0) {
            return error;
        }
        TAILQ_REMOVE(lane_of(notices, &next->notify), next, link);
        TAILQ_INSERT_TAIL(&notices->sent, next, link);
        notices->n_sent++;
    }
    return 0;
}

/* Without a monitor they wait for the next one: children.c sends them then. */
static void send_soon(struct master *master)
{
    const struct child *monitor = &master->children[master->n_workers];
    if (monitor->pid > 0 && notices_send(master) == -EAGAIN) {
        event_add(monitor->writable, NULL);
    }
}

void notices_done(struct master *master, uint32_t number)
{
    struct notices *notices = &master->notices;
    struct notice *notice;
    TAILQ_FOREACH (notice, &notices->sent, link) {
        if (notice->number == number) {
            notices->n_sent--;
            drop(notices, &notices->sent, notice);
            break;
        }
    }
    send_soon(master);
}

void notices_recall(struct master *master)
{
    struct notices *notices = &master->notices;
    struct notice *notice;
    while ((notice = TAILQ_LAST(&notices->sent, notice_list)) != NULL) {
        notices->n_sent--;
        if (++notice->tries == TRIES_MAX) {
            note_dropped(notices, "the monitor has died again before its program had ended",
                         &notice->notify);
            drop(notices, &notices->sent, notice);
            continue;
        }
        TAILQ_REMOVE(&notices->sent, notice, link);
        TAILQ_INSERT_HEAD(lane_of(notices, &notice->notify), notice, link);
    }
}

/* --- from master --- */

/* False when there is none for this one. */
static bool make_room(struct notices *notices, const struct message_notify *notify)
{
    struct notice *newest = TAILQ_LAST(&notices->backends, notice_list);
    if (notices->count < NOTICES_MAX) {
        return true;
    }
    bool is_of_pool = lane_of(notices, notify) == &notices->pools;
    bool is_room_made = is_of_pool && newest != NULL;
    note_dropped(notices, "too many wait", is_room_made ? &newest->notify : notify);
    if (is_room_made) {
        drop(notices, &notices->backends, newest);
    }
    return is_room_made;
}

static void enqueue(struct master *master, const struct message_notify *notify)
{
    struct notices *notices = &master->notices;
    if (!make_room(notices, notify)) {
        return;
    }
    struct notice *notice = calloc(1, sizeof(*notice));
    if (notice == NULL) {
        note_dropped(notices, strerror(ENOMEM), notify);
        return;
    }
    notice->number = ++notices->last_number;
    notice->notify = *notify;
    TAILQ_INSERT_TAIL(lane_of(notices, notify), notice, link);
    notices->count++;
    send_soon(master);
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
    if (succession_is_waiting(master) || upgrade_is_over(master)) {
        return; /* another daemon looks at the same backends, and is the one that serves */
    }
    struct message_notify notify = *facts;
    notify.wall_ms = clock_wall_ms();
    (void)strlcpy(notify.pool, pool, sizeof(notify.pool));
    copy_address(found, &notify);
    (void)strlcpy(notify.program, found->notify, sizeof(notify.program)); /* validated to fit */
    enqueue(master, &notify);
}

static void drop_list(struct notices *notices, struct notice_list *list)
{
    while (!TAILQ_EMPTY(list)) {
        drop(notices, list, TAILQ_FIRST(list));
    }
}

void notices_drop_all(struct master *master)
{
    struct notices *notices = &master->notices;
    if (notices->count > 0) {
        log_warning("notify programs are not run to their end: the daemon ends",
                    LOG_INT("count", notices->count));
    }
    if (notices->untold > 0) {
        tell_dropped(notices, "", NULL);
    }
    drop_list(notices, &notices->pools);
    drop_list(notices, &notices->backends);
    drop_list(notices, &notices->sent);
    notices->n_sent = 0;
}
