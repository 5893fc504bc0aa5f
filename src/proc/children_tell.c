/*
 * What master's children are told: configuration, listeners, log, names, the stop. What a child
 * should have is worked out afresh from master's state each time (children_sync), so a message that
 * did not fit a full channel is simply sent later. Owns nothing. In master.
 */
#include <errno.h>

#include "base/log.h"
#include "children.h"
#include "master.h"
#include "succession.h"
#include "upgrade.h"

bool child_is_monitor(const struct child *child)
{
    return child->id == child->master->n_workers;
}

int child_tell(struct child *child, uint32_t type, uint32_t number, int fd)
{
    struct message *message = &child->master->message;
    message->type = type;
    message->number = number;
    return message_send(child->channel, message, fd);
}

static int sync_snapshot(struct child *child)
{
    const struct master *master = child->master;
    uint32_t generation = master->model->generation;
    if (child->sent_generation == generation) {
        return 0;
    }
    int error = child_tell(child, MESSAGE_SNAPSHOT, generation, master->snapshot);
    if (error == 0) {
        child->sent_generation = generation;
    }
    return error;
}

static int sync_listeners(struct child *child)
{
    const struct listeners *listeners = child->master->listeners;
    uint32_t id;
    int fd;
    for (size_t i = 0; listeners_get(listeners, i, child->id, 0, &id, &fd); i++) {
        if (id < child->next_listener) {
            continue;
        }
        for (size_t nth = 0; listeners_get(listeners, i, child->id, nth, &id, &fd) && fd >= 0;
             nth++) {
            int error = child_tell(child, MESSAGE_LISTENER, id, fd);
            if (error != 0) {
                return error;
            }
        }
        child->next_listener = id + 1;
    }
    return 0;
}

static int sync_log(struct child *child)
{
    struct master *master = child->master;
    if (child->log_sent) {
        return 0;
    }
    master->message.log = (struct message_log){.format = master->model->global.log_format,
                                               .level = master->model->global.log_level,
                                               .target = log_target()};
    int error = child_tell(child, MESSAGE_LOG, 0, log_fd());
    child->log_sent = error == 0;
    return error;
}

/* One daemon at a time answers there, also during an upgrade. */
static int sync_status(struct child *child)
{
    const struct master *master = child->master;
    bool serves =
        master->status_fd >= 0 && !succession_is_waiting(master) && !upgrade_is_over(master);
    if (child->has_status == serves) {
        return 0;
    }
    int error = child_tell(child, MESSAGE_STATUS, 0, serves ? master->status_fd : -1);
    if (error == 0) {
        child->has_status = serves;
    }
    return error;
}

static int sync_names(struct child *child)
{
    const struct master *master = child->master;
    if (child->sent_names == master->name_news.turn) {
        return 0;
    }
    int error = child_tell(child, MESSAGE_NAMES, 0, master->name_news.list_fd);
    if (error == 0) {
        child->sent_names = master->name_news.turn;
    }
    return error;
}

static int sync_drain(struct child *child)
{
    struct master *master = child->master;
    /* The monitor goes on until the last worker has ended. */
    if (!master->stopping || child->drain_sent ||
        (child_is_monitor(child) && children_any_worker(master))) {
        return 0;
    }
    master->message.deadline_ms = master->drain_deadline_ms;
    int error = child_tell(child, MESSAGE_DRAIN, 0, -1);
    child->drain_sent = error == 0;
    return error;
}

void child_sync(struct child *child)
{
    if (child->pid == 0 || child->channel < 0) {
        return;
    }
    int error = sync_snapshot(child);
    if (error == 0 && !child_is_monitor(child) && !child->master->stopping &&
        !succession_is_waiting(child->master)) {
        error = sync_listeners(child);
    }
    if (error == 0) {
        error = sync_log(child);
    }
    if (error == 0 && child_is_monitor(child)) {
        error = sync_names(child);
    }
    if (error == 0 && child_is_monitor(child)) {
        error = sync_status(child);
    }
    if (error == 0 && child_is_monitor(child)) {
        error = notices_send(child->master);
    }
    if (error == 0) {
        error = sync_drain(child);
    }
    if (error == -EAGAIN) {
        event_add(child->writable, NULL);
    }
}

void children_sync(struct master *master)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        child_sync(&master->children[i]);
    }
}

void children_renew_log(struct master *master)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        master->children[i].log_sent = false;
    }
    children_sync(master);
}

void children_drain_anew(struct master *master)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        master->children[i].drain_sent = false;
    }
    children_sync(master);
}
