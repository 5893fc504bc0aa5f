/*
 * Tells of what happens to pools as a whole: lost and restored, backups, panic, fallback pools. By
 * health and by what the operator said, never by load. Each transition is an event and a line in
 * the log; of a loss, and of a backend's health, the pool's notify program hears too. Owns master's
 * record of how they stood. In master.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "check/engine.h"
#include "ctl/standing.h"
#include "master.h"

#define SOON_MS 10

static void tell(struct master *master, enum log_level level, const struct standing *standing,
                 const struct str *text)
{
    log_at(level, str_text(text), LOG_STR("pool", standing->pool->name));
    master_event(master, "pool", standing->pool->name, NULL, "master", NULL, str_text(text));
}

/* "2 of 3 backends take new sessions" */
static void count_takers(const struct standing *standing, struct str *out)
{
    str_printf(out, "%" PRIu32 " of %" PRIu32 " backends %s new sessions", standing->takers,
               standing->pool->n_backends, standing->takers == 1 ? "takes" : "take");
}

/* --- a pool --- */

static void notify_pool(struct master *master, const struct standing *standing, bool lost,
                        const struct str *reason)
{
    struct message_notify facts = {0};
    (void)strlcpy(facts.event, lost ? "pool_lost" : "pool_restored", sizeof(facts.event));
    (void)strlcpy(facts.from, lost ? "available" : "lost", sizeof(facts.from));
    (void)strlcpy(facts.to, lost ? "lost" : "available", sizeof(facts.to));
    (void)strlcpy(facts.reason, str_text(reason), sizeof(facts.reason));
    notices_add(master, standing->pool->name, &facts);
}

/* One whose backends are being checked for the first time is neither lost nor restored. */
static void watch_loss(struct master *master, const struct standing *standing, struct watched *was)
{
    STR_AUTO text = {0};
    if (!was->lost && standing_is_lost(standing)) {
        was->lost = true;
        str_append(&text, "pool lost: no backend takes new sessions: ");
        standing_list_states(standing, &text);
        tell(master, LOG_LEVEL_WARNING, standing, &text);
        notify_pool(master, standing, true, &text);
    } else if (was->lost && standing->takers > 0) {
        was->lost = false;
        str_append(&text, "pool restored: ");
        count_takers(standing, &text);
        tell(master, LOG_LEVEL_INFO, standing, &text);
        notify_pool(master, standing, false, &text);
    }
}

static bool uses_backups(const struct standing *standing)
{
    return standing->survey.needs_backups && standing->backups_used;
}

static void watch_backups(struct master *master, const struct standing *standing,
                          struct watched *was)
{
    const struct pool_survey *survey = &standing->survey;
    STR_AUTO text = {0};
    /* In a panic everyone shares the load: that is told as such, and this when it is over. */
    if (survey->panic || was->backups_used == uses_backups(standing)) {
        return;
    }
    was->backups_used = !was->backups_used;
    atomic_store(&master->sb.pools[standing->pool->row].backups_since_ms, clock_now_ms());
    if (was->backups_used) {
        str_append(&text, "backups in use: ");
    } else if (survey->needs_backups) {
        str_append(&text, "backups no longer in use, none takes new sessions: ");
    } else {
        str_append(&text, "backups no longer in use: ");
    }
    if (survey->needs_backups) {
        str_printf(&text, "%" PRIu32 " of %" PRIu32 " needed primaries are up",
                   survey->primaries_up, standing->pool->min_healthy);
    } else {
        str_printf(&text, "%" PRIu32 " %s up, %" PRIu32 " needed", survey->primaries_up,
                   survey->primaries_up == 1 ? "primary is" : "primaries are",
                   standing->pool->min_healthy);
        if (!was->backups_used && standing->pool->on_return == SESSIONS_CLOSE) {
            str_append(&text, "; their sessions are being closed (on_return)");
        }
    }
    tell(master, LOG_LEVEL_INFO, standing, &text);
}

static void watch_panic(struct master *master, const struct standing *standing, struct watched *was)
{
    const struct pool_survey *survey = &standing->survey;
    STR_AUTO text = {0};
    if (was->panic == survey->panic) {
        return;
    }
    was->panic = survey->panic;
    str_printf(&text, "panic %s: %" PRIu32 " of %" PRIu32 " up, threshold %" PRIu32 " %%",
               was->panic ? "begins, health is ignored" : "ends", survey->up, survey->ready,
               standing->pool->panic_threshold);
    tell(master, was->panic ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, standing, &text);
}

/* What was known of it; for one that is new, nothing. True when it is new. */
static bool recall(struct watched *was, const char *name, uint32_t generation)
{
    bool is_new =
        was->generation == 0 || was->generation + 1 < generation || strcmp(was->name, name) != 0;
    if (is_new) {
        *was = (struct watched){0};
        (void)strlcpy(was->name, name, sizeof(was->name));
    }
    was->generation = generation;
    return is_new;
}

static void watch_pool(struct master *master, uint32_t p)
{
    const struct snapshot_pool *pool = &snapshot_pools(master->running)[p];
    struct watched *was = &master->watched_pools[pool->row];
    bool is_new = recall(was, pool->name, master->running->generation);
    struct standing standing;
    standing_of(master->running, p, &master->sb, &standing);
    if (is_new && standing.survey.starting == 0) {
        /* As configured: only that nobody is there is worth a word. */
        was->backups_used = uses_backups(&standing);
        was->panic = standing.survey.panic;
    }
    was->unsettled = (is_new || was->unsettled) && standing.survey.starting > 0;
    if (was->unsettled) {
        return;
    }
    watch_loss(master, &standing, was);
    watch_backups(master, &standing, was);
    watch_panic(master, &standing, was);
}

/* --- a service --- */

static void describe_use(const struct master *master, const struct snapshot_service *service,
                         bool uses_fallback, struct str *out)
{
    const struct snapshot_pool *pool = &snapshot_pools(master->running)[service->pool];
    struct standing own;
    standing_of(master->running, service->pool, &master->sb, &own);
    if (uses_fallback) {
        str_printf(out, "service %s uses its fallback pool %s: pool %s has no eligible backend: ",
                   service->name, snapshot_pools(master->running)[service->fallback_pool].name,
                   pool->name);
        standing_list_states(&own, out);
        return;
    }
    str_printf(out, "service %s no longer uses its fallback pool: ", service->name);
    if (standing_is_lost(&own)) {
        str_append(out, "it has no eligible backend either");
    } else {
        str_printf(out, "in pool %s ", pool->name);
        count_takers(&own, out);
    }
}

static void watch_service(struct master *master, const struct snapshot_service *service)
{
    struct watched *was = &master->watched_services[service->row];
    const char *pool = snapshot_pools(master->running)[service->pool].name;
    bool is_new = recall(was, service->name, master->running->generation);
    bool uses_fallback =
        standing_pool_in_use(master->running, service, &master->sb) != service->pool;
    if (was->uses_fallback == uses_fallback) {
        return;
    }
    was->uses_fallback = uses_fallback;
    if (is_new) {
        return;
    }
    STR_AUTO text = {0};
    describe_use(master, service, uses_fallback, &text);
    log_info(str_text(&text), LOG_STR("service", service->name), LOG_STR("pool", pool));
    master_event(master, "service", pool, NULL, "master", NULL, str_text(&text));
}

void pools_watch(struct master *master)
{
    if (master->running == NULL) {
        return;
    }
    /* Before looking: what changes meanwhile is looked at by the next sweep. */
    master->watched_epoch = atomic_load(&master->sb.header->health_epoch);
    for (uint32_t p = 0; p < master->running->n_pools; p++) {
        watch_pool(master, p);
    }
    for (uint32_t s = 0; s < master->running->n_services; s++) {
        watch_service(master, &snapshot_services(master->running)[s]);
    }
    health_watch(master, clock_now_ms());
    reuse_watch(master, clock_now_ms());
}

void pools_sweep(struct master *master)
{
    notices_sweep(master);
    if (master->running == NULL) {
        return;
    }
    ports_watch(master, clock_now_ms());
    if (master->watched_epoch != atomic_load(&master->sb.header->health_epoch)) {
        pools_watch(master);
    } else {
        health_watch(master, clock_now_ms());
        reuse_watch(master, clock_now_ms());
    }
}

/* --- what the monitor reports --- */

/* What happened, for notify programs. NULL: that a backend is found up when it is new, as it should
 * be, is no news. */
static const char *event_of(const struct message_health *health)
{
    switch (health->news) {
    case CHECK_NEWS_HEALTH:
        if (health->to == SB_HEALTH_DOWN) {
            return "down";
        }
        return health->to == SB_HEALTH_UP && health->from == SB_HEALTH_DOWN ? "up" : NULL;
    case CHECK_NEWS_EJECTED:
        return "ejected";
    case CHECK_NEWS_RETURNED:
        return "back";
    default:
        return NULL;
    }
}

void pools_notify_health(struct master *master, const struct message_health *health)
{
    struct message_notify facts = {0};
    const char *event = event_of(health);
    if (event == NULL) {
        return;
    }
    const char *from = sb_health_names[health->from], *to = sb_health_names[health->to];
    from = health->news == CHECK_NEWS_RETURNED ? "ejected" : from;
    to = health->news == CHECK_NEWS_EJECTED ? "ejected" : to;
    (void)strlcpy(facts.event, event, sizeof(facts.event));
    (void)strlcpy(facts.backend, health->backend, sizeof(facts.backend));
    (void)strlcpy(facts.from, from, sizeof(facts.from));
    (void)strlcpy(facts.to, to, sizeof(facts.to));
    (void)strlcpy(facts.reason, health->reason, sizeof(facts.reason));
    notices_add(master, health->pool, &facts);
}

static void on_soon(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct master *master = arg;
    master->watch_is_due = false;
    pools_watch(master);
}

void pools_watch_soon(struct master *master)
{
    struct timeval in = {.tv_usec = SOON_MS * 1000};
    if (master->watch_is_due) {
        return;
    }
    master->watch_is_due = true;
    if (event_base_once(master->base, -1, EV_TIMEOUT, on_soon, master, &in) != 0) {
        on_soon(-1, 0, master);
    }
}
