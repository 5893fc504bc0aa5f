/*
 * Backends that lose their sessions: drained, removed (by command, by the file, by whatever else
 * makes a new model), or of a pool that was paused with a deadline. A removed one is out of the
 * model at once, so that nobody finds it; what is kept of it here is the place in the scoreboard
 * that its sessions still hold. Owns the records, one for each such place, and their timer. In
 * master.
 *
 * What follows from model and overrides is worked out anew after each publish; a record only adds
 * since when. Who is to be closed, and by when, is said in the scoreboard (sb_slot.close_by_ms),
 * where workers look it up for each session that they are about to close: to let a backend have
 * its sessions is to take that word back. They are told again now and then, for sessions that were
 * only being connected, and for workers that were too busy.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "master.h"

#define EVENT_KIND   "drain"
#define BY_MAX       128
#define AGAIN_MS     5000 /* while they are being closed … */
#define REMAINING_MS 1000 /* … and after the deadline */

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

struct drain {
    TAILQ_ENTRY(drain) link;
    char pool[NAME_BYTES_MAX], backend[NAME_BYTES_MAX];
    char address[ADDR_TEXT_MAX];
    char by[BY_MAX]; /* of a removed one */
    uint32_t slot, row;
    bool removed;
    bool wanted;          /* during a publish: it is still so */
    uint32_t generation;  /* that it is removed from */
    uint32_t within_ms;   /* what the pool said … */
    uint64_t from_ms;     /* … and since when */
    uint64_t since_ms;    /* monotonic */
    uint64_t removed_ms;  /* likewise, if it is */
    uint64_t own_ms;      /* of a removed one: likewise, without its pool's pause */
    uint64_t deadline_ms; /* likewise; 0: none */
    uint64_t told_ms;     /* workers were told last to close its sessions; 0: never */
    bool was_empty;       /* which was told */
};

/* --- the list --- */

static void set_word(struct master *master, const struct drain *drain, uint64_t close_by_ms)
{
    _Atomic uint64_t *word = &master->sb.slots[drain->slot].close_by_ms;
    if (atomic_exchange_explicit(word, close_by_ms, memory_order_relaxed) != close_by_ms) {
        /* Whether its clients may come back is another matter now. */
        atomic_fetch_add_explicit(&master->sb.header->health_epoch, 1, memory_order_release);
    }
}

static void drop(struct master *master, struct drain *drain)
{
    set_word(master, drain, 0);
    TAILQ_REMOVE(&master->drains.list, drain, link);
    master->drains.by_slot[drain->slot] = NULL;
    free(drain);
}

/* NULL without memory: then its sessions go on without a deadline. */
static struct drain *find_or_make(struct master *master, const struct model_pool *pool,
                                  const struct model_backend *backend)
{
    struct drain *drain = master->drains.by_slot[backend->slot];
    if (drain != NULL) {
        return drain;
    }
    drain = calloc(1, sizeof(*drain));
    if (drain == NULL) {
        return NULL;
    }
    drain->slot = backend->slot;
    drain->row = backend->row;
    drain->since_ms = clock_now_ms();
    drain->from_ms = drain->since_ms;
    drain->within_ms = pool->drain_within_ms;
    drain->was_empty = LOAD(master->sb.slot_active[drain->slot]) == 0;
    (void)strlcpy(drain->pool, pool->name, sizeof(drain->pool));
    (void)strlcpy(drain->backend, backend->name, sizeof(drain->backend));
    (void)strlcpy(drain->address, model_backend_shown(backend), sizeof(drain->address));
    TAILQ_INSERT_TAIL(&master->drains.list, drain, link);
    master->drains.by_slot[drain->slot] = drain;
    return drain;
}

/* --- what a new model means --- */

static const struct override *find_override(const struct master *master, const char *pool,
                                            const char *backend, const char *option)
{
    const struct override key = {.kind = OVERRIDE_SET,
                                 .pool = (char *)(uintptr_t)pool,
                                 .backend = (char *)(uintptr_t)backend,
                                 .option = (char *)(uintptr_t)option};
    return overrides_find(master->drains.overrides, &key);
}

static void set_deadline(struct master *master, struct drain *drain, uint64_t deadline_ms)
{
    if (drain->deadline_ms != deadline_ms) {
        drain->deadline_ms = deadline_ms;
        drain->told_ms = 0;
        set_word(master, drain, 0);
    }
}

/* Of the pool's word, counted from when it began to hold for this one. */
static uint64_t default_deadline(struct drain *drain, uint32_t within_ms)
{
    if (drain->within_ms != within_ms) {
        drain->within_ms = within_ms;
        drain->from_ms = clock_now_ms();
    }
    return within_ms == 0 ? 0 : drain->from_ms + within_ms;
}

/* By when a pause closes the pool's sessions; 0: it does not. */
static uint64_t pause_end(const struct master *master, const struct model_pool *pool)
{
    const struct override *paused =
        pool != NULL && pool->paused ? find_override(master, pool->name, NULL, "paused") : NULL;
    return paused != NULL ? paused->close_ms : 0;
}

/* 0: none. */
static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms != 0 && (b_ms == 0 || a_ms < b_ms) ? a_ms : b_ms;
}

/* Those in the new model that drain, or belong to a paused pool with a deadline. */
static void look_at(struct master *master, const struct model_pool *pool,
                    const struct model_backend *backend)
{
    bool drains = backend->admin == ADMIN_DRAIN;
    const struct override *said =
        drains ? find_override(master, pool->name, backend->name, "admin") : NULL;
    if (drains && said == NULL && backend->of != NULL) { /* of the name as a whole */
        said = find_override(master, pool->name, backend->of, "admin");
    }
    uint64_t pause_ms = pause_end(master, pool);
    struct drain *drain = drains || pause_ms != 0 ? find_or_make(master, pool, backend) : NULL;
    if (drain == NULL) {
        return;
    }
    uint64_t deadline_ms = pause_ms;
    if (drains) {
        uint64_t own_ms = said != NULL && said->has_close
                              ? said->close_ms
                              : default_deadline(drain, pool->drain_within_ms);
        deadline_ms = earlier(own_ms, pause_ms);
    }
    drain->wanted = true;
    drain->removed = false;
    set_deadline(master, drain, deadline_ms);
}

static bool has_slot(const struct model *model, const struct model_pool *of, uint32_t slot)
{
    const struct model_pool *pool = model_find_pool(model, of->name);
    for (size_t i = 0; pool != NULL && i < pool->n_backends; i++) {
        if (pool->backends[i].slot == slot) {
            return true;
        }
    }
    return false;
}

/* One that is in the new model no more, or at another address there. A deadline that it had stays,
 * unless the command says another. */
static void look_at_removed(struct master *master, const struct model_pool *pool,
                            const struct model_backend *backend)
{
    struct drains *drains = &master->drains;
    struct drain *drain = find_or_make(master, pool, backend);
    if (drain == NULL) {
        return;
    }
    uint64_t within_ms = drains->has_within ? drains->within_ms : pool->drain_within_ms;
    bool keeps = !drains->has_within && drain->deadline_ms != 0;
    drain->wanted = true;
    drain->removed = true;
    drain->removed_ms = clock_now_ms();
    drain->generation = master->running->generation;
    (void)strlcpy(drain->by, drains->by != NULL ? drains->by : "the configuration",
                  sizeof(drain->by));
    drain->own_ms = drain->deadline_ms;
    if (!keeps) {
        drain->own_ms = within_ms == 0 ? 0 : clock_now_ms() + within_ms;
    }
}

/* A place that was given back is another's by now, or nobody's. */
static bool is_gone(const struct master *master, const struct drain *drain)
{
    return drain->removed && LOAD(master->sb.slot_active[drain->slot]) == 0 &&
           children_oldest_generation(master) >= drain->generation;
}

void drains_expect(struct master *master, const struct overrides *overrides, const char *by,
                   bool has_within, uint64_t within_ms)
{
    struct drains *drains = &master->drains;
    drains->overrides = overrides;
    drains->by = by;
    drains->has_within = has_within;
    drains->within_ms = within_ms;
}

void drains_publish(struct master *master, const struct model *old_model,
                    const struct model *new_model)
{
    struct drain *drain, *next;
    if (master->drains.overrides == NULL) {
        master->drains.overrides = &master->overrides;
    }
    TAILQ_FOREACH_SAFE (drain, &master->drains.list, link, next) {
        drain->wanted = drain->removed && !is_gone(master, drain);
    }
    for (size_t i = 0; old_model != NULL && i < old_model->n_pools; i++) {
        const struct model_pool *pool = &old_model->pools[i];
        for (size_t j = 0; j < pool->n_backends; j++) {
            if (!has_slot(new_model, pool, pool->backends[j].slot)) {
                look_at_removed(master, pool, &pool->backends[j]);
            }
        }
    }
    for (size_t i = 0; i < new_model->n_pools; i++) {
        const struct model_pool *pool = &new_model->pools[i];
        for (size_t j = 0; j < pool->n_backends; j++) {
            drain = master->drains.by_slot[pool->backends[j].slot];
            if (drain != NULL && drain->removed) { /* it has come back */
                drop(master, drain);
            }
            look_at(master, pool, &pool->backends[j]);
        }
    }
    TAILQ_FOREACH_SAFE (drain, &master->drains.list, link, next) {
        if (!drain->wanted) {
            drop(master, drain);
        } else if (drain->removed) {
            uint64_t pause_ms = pause_end(master, model_find_pool(new_model, drain->pool));
            set_deadline(master, drain, earlier(drain->own_ms, pause_ms));
        }
    }
    drains_expect(master, NULL, NULL, false, 0);
}

/* --- time --- */

/* When the closing begins. */
static uint64_t begins_ms(const struct master *master, const struct drain *drain)
{
    uint64_t whole_ms =
        drain->deadline_ms > drain->since_ms ? drain->deadline_ms - drain->since_ms : 0;
    uint64_t over_ms = master->model->global.close_over_ms;
    return drain->deadline_ms - (over_ms < whole_ms ? over_ms : whole_ms);
}

static uint64_t due_ms(const struct master *master, const struct drain *drain, uint64_t now_ms)
{
    if (drain->deadline_ms == 0 || master->stopping) {
        return UINT64_MAX;
    }
    if (drain->told_ms == 0) {
        return begins_ms(master, drain);
    }
    uint64_t again_ms = drain->told_ms + (now_ms < drain->deadline_ms ? AGAIN_MS : REMAINING_MS);
    return drain->told_ms < drain->deadline_ms && drain->deadline_ms < again_ms ? drain->deadline_ms
                                                                                : again_ms;
}

/* One message for all that have the same deadline. */
static void send_close(struct master *master, uint64_t deadline_ms)
{
    struct message *message = &master->message;
    message->type = MESSAGE_CLOSE;
    message->number = 0; /* nobody waits for the answer */
    message->close = (struct session_close){.filter = {.service_row = SESSION_FILTER_ANY,
                                                       .row = SESSION_FILTER_ANY,
                                                       .close_by_ms = deadline_ms},
                                            .deadline_ms = deadline_ms};
    for (uint32_t i = 0; i < master->n_workers; i++) {
        if (master->children[i].pid > 0) {
            (void)message_send(master->children[i].channel, message, -1);
        }
    }
}

static void tell(struct master *master, const struct drain *drain, const struct str *text)
{
    log_info(str_text(text), LOG_STR("pool", drain->pool), LOG_STR("backend", drain->backend));
    master_event(master, EVENT_KIND, drain->pool, drain->backend, "master", NULL, str_text(text));
}

static uint64_t to_wall(uint64_t at_ms)
{
    uint64_t now_ms = clock_now_ms();
    return at_ms > now_ms ? clock_wall_ms() + (at_ms - now_ms) : clock_wall_ms() - (now_ms - at_ms);
}

static void begin(struct master *master, struct drain *drain)
{
    uint32_t active = LOAD(master->sb.slot_active[drain->slot]);
    char until[CLOCK_TEXT_MAX];
    STR_AUTO text = {0};
    set_word(master, drain, drain->deadline_ms);
    if (active > 0) {
        str_printf(&text, "pool %s: backend %s: closing the %" PRIu32 " %s, until %s", drain->pool,
                   drain->backend, active,
                   active == 1 ? "session that remains" : "sessions that remain",
                   clock_format_wall(to_wall(drain->deadline_ms), until));
        tell(master, drain, &text);
    }
}

/* The closing of whoever is due. */
static void close_due(struct master *master, uint64_t now_ms)
{
    struct drain *drain;
    uint64_t sent_ms = 0;
    TAILQ_FOREACH (drain, &master->drains.list, link) {
        if (due_ms(master, drain, now_ms) > now_ms) {
            continue;
        }
        if (drain->told_ms == 0) {
            begin(master, drain);
        }
        drain->told_ms = now_ms;
    }
    /* By now every place says so, and one message means all that have one deadline. */
    TAILQ_FOREACH (drain, &master->drains.list, link) {
        if (drain->told_ms == now_ms && drain->deadline_ms != sent_ms &&
            LOAD(master->sb.slot_active[drain->slot]) > 0) {
            sent_ms = drain->deadline_ms;
            send_close(master, sent_ms);
        }
    }
}

static void watch_empty(struct master *master)
{
    struct drain *drain, *next;
    TAILQ_FOREACH_SAFE (drain, &master->drains.list, link, next) {
        bool is_empty = LOAD(master->sb.slot_active[drain->slot]) == 0;
        if (is_empty && !drain->was_empty) {
            STR_AUTO text = {0};
            str_printf(&text, "pool %s: backend %s%s has no session left", drain->pool,
                       drain->backend, drain->removed ? ", which was removed," : "");
            tell(master, drain, &text);
        }
        drain->was_empty = is_empty;
        if (is_gone(master, drain)) {
            drop(master, drain);
        }
    }
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    drains_work(arg);
}

void drains_renew(struct master *master)
{
    uint64_t now_ms = clock_now_ms();
    const struct drain *drain;
    uint64_t next_ms = UINT64_MAX;
    TAILQ_FOREACH (drain, &master->drains.list, link) {
        uint64_t at_ms = due_ms(master, drain, now_ms);
        next_ms = at_ms < next_ms ? at_ms : next_ms;
    }
    if (master->drains.timer == NULL) {
        master->drains.timer = evtimer_new(master->base, on_time, master);
    }
    if (master->drains.timer == NULL) {
        return; /* the sweep does it, within a second */
    }
    if (next_ms == UINT64_MAX) {
        evtimer_del(master->drains.timer);
        return;
    }
    uint64_t in_ms = next_ms > now_ms ? next_ms - now_ms : 0;
    struct timeval in = {.tv_sec = (time_t)(in_ms / 1000),
                         .tv_usec = (suseconds_t)(in_ms % 1000) * 1000};
    evtimer_add(master->drains.timer, &in);
}

void drains_work(struct master *master)
{
    uint64_t now_ms = clock_now_ms();
    close_due(master, now_ms);
    watch_empty(master);
    drains_renew(master);
}

/* --- what there is to see --- */

void drains_describe(struct master *master, const char *pool, const char *backend,
                     struct change_list *changes)
{
    const struct drain *drain;
    TAILQ_FOREACH (drain, &master->drains.list, link) {
        uint32_t active = LOAD(master->sb.slot_active[drain->slot]);
        char until[CLOCK_TEXT_MAX];
        bool is_it = strcmp(drain->pool, pool) == 0 &&
                     (backend == NULL || strcmp(drain->backend, backend) == 0);
        if (!is_it || (active == 0 && drain->deadline_ms == 0)) {
            continue;
        }
        change_add(changes, "pool %s: backend %s: %" PRIu32 " %s%s%s", drain->pool, drain->backend,
                   active, active == 1 ? "session remains" : "sessions remain",
                   drain->deadline_ms != 0 ? "; all are closed by " : ", for as long as they last",
                   drain->deadline_ms != 0 ? clock_format_wall(to_wall(drain->deadline_ms), until)
                                           : "");
    }
}

bool drains_get(const struct master *master, uint32_t slot, struct ctl_drain *out)
{
    const struct drain *drain = slot < SB_SLOTS_MAX ? master->drains.by_slot[slot] : NULL;
    if (drain == NULL) {
        return false;
    }
    *out = (struct ctl_drain){.pool = drain->pool,
                              .backend = drain->backend,
                              .address = drain->address,
                              .row = drain->row,
                              .since_ms = drain->since_ms,
                              .deadline_ms = drain->deadline_ms,
                              .removed = drain->removed,
                              .by = drain->by,
                              .removed_ms = drain->removed_ms};
    return true;
}

void drains_end(struct master *master)
{
    struct drain *drain;
    while ((drain = TAILQ_FIRST(&master->drains.list)) != NULL) {
        TAILQ_REMOVE(&master->drains.list, drain, link);
        free(drain);
    }
    if (master->drains.timer != NULL) {
        event_free(master->drains.timer);
        master->drains.timer = NULL;
    }
}
