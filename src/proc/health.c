/*
 * What is answered to those who ask whether services are healthy, so as to send clients here or
 * elsewhere. A no counts at once. A yes counts again only after it has been so for HOLD_MS without
 * interruption, so that an address that follows the answer does not flap; only the first word that
 * is known of a service counts at once. Owns master's record of the answers. In master.
 *
 *              pool healthy, HOLD_MS long (or the first word)
 *       ┌─────┐ ────────────────────────────────────────────► ┌─────┐
 *       │ no  │                                               │ yes │
 *       └─────┘ ◄──────────────────────────────────────────── └─────┘
 *              pool unhealthy, or PENDING_MS long not known
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "master.h"

#define HOLD_MS 3000
/* Backends that a reload brings have no check result yet, and clients wait for them. That is no
 * reason to send clients elsewhere, for as long as they wait. */
#define PENDING_MS 3000

#define EVENT_KIND "healthz"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

static bool is_failed_by_operator(const struct master *master)
{
    return LOAD(master->sb.header->health_fail) != 0;
}

static const struct snapshot_service *record_of(const struct master *master,
                                                const struct model_service *service)
{
    return &snapshot_services(master->running)[service - master->model->services];
}

static struct service_health *health_of(struct master *master, const struct model_service *service)
{
    return &master->health.services[record_of(master, service)->row];
}

/* --- looking --- */

/* What was known of it; for one that is new, nothing. A service that a reload brings begins with a
 * yes: by itself it shall not turn the daemon's answer before its health is known. */
static struct service_health *recall(struct master *master, const struct snapshot_service *service)
{
    struct service_health *health = &master->health.services[service->row];
    uint32_t generation = master->running->generation;
    if (health->generation == 0 || health->generation + 1 < generation ||
        strcmp(health->name, service->name) != 0) {
        *health = (struct service_health){.seen = STANDING_PENDING,
                                          .healthy = master->health.generation != 0};
        (void)strlcpy(health->name, service->name, sizeof(health->name));
    }
    health->generation = generation;
    return health;
}

static void look(const struct master *master, const struct snapshot_service *service,
                 struct service_health *health, uint64_t now_ms)
{
    struct standing standing;
    standing_of(master->running, service->pool, &master->sb, &standing);
    enum standing_health seen =
        service->admin == ADMIN_READY ? standing_health(&standing) : STANDING_UNHEALTHY;
    if (seen != health->seen || health->since_ms == 0) {
        health->seen = seen;
        health->since_ms = now_ms;
    }
}

static void decide(struct service_health *health, uint64_t now_ms)
{
    uint64_t age_ms = now_ms - health->since_ms;
    switch (health->seen) {
    case STANDING_HEALTHY:
        health->healthy = health->healthy || !health->decided || age_ms >= HOLD_MS;
        break;
    case STANDING_PENDING:
        if (!health->healthy || age_ms < PENDING_MS) {
            return;
        }
        health->healthy = false;
        break;
    case STANDING_UNHEALTHY:
        health->healthy = false;
        break;
    }
    health->decided = true;
}

/* --- in words --- */

static void describe_standing(const struct master *master, const struct snapshot_service *service,
                              struct str *out)
{
    struct standing standing;
    if (service->admin != ADMIN_READY) {
        str_printf(out, "the operator wants it so (admin %s)", admin_state_names[service->admin]);
        return;
    }
    standing_of(master->running, service->pool, &master->sb, &standing);
    standing_describe_health(&standing, out);
    uint32_t used = standing_pool_in_use(master->running, service, &master->sb);
    if (used != service->pool) {
        str_printf(out, "; fallback pool %s serves, which makes nobody healthy",
                   snapshot_pools(master->running)[used].name);
    }
}

/* In seconds, rounded up. */
static uint64_t seconds_left(uint64_t since_ms, uint64_t period_ms, uint64_t now_ms)
{
    uint64_t end_ms = since_ms + period_ms;
    return end_ms > now_ms ? (end_ms - now_ms + 999) / 1000 : 0;
}

static void describe_service(const struct master *master, const struct snapshot_service *service,
                             uint64_t now_ms, struct str *out)
{
    const struct service_health *health = &master->health.services[service->row];
    if (health->seen == STANDING_HEALTHY && !health->healthy) {
        str_printf(out, "healthy again, counts in %" PRIu64 " s: ",
                   seconds_left(health->since_ms, HOLD_MS, now_ms));
    } else if (health->seen == STANDING_PENDING && health->healthy) {
        str_printf(out, "not known yet, counts as healthy for %" PRIu64 " s: ",
                   seconds_left(health->since_ms, PENDING_MS, now_ms));
    } else if (health->seen == STANDING_PENDING) {
        str_append(out, "not known yet: ");
    }
    describe_standing(master, service, out);
}

/* What makes every answer a no. False: nothing does. */
static bool describe_veto(const struct master *master, uint64_t now_ms, struct str *out)
{
    if (master->stopping) {
        str_append(out, "the daemon is stopping");
    } else if (master->leaving) {
        str_printf(out, "the daemon is stopping: clients are accepted for %" PRIu64 " s more",
                   seconds_left(master->delay_until_ms, 0, now_ms));
    } else if (is_failed_by_operator(master)) {
        str_append(out, master->health.said_by);
    } else {
        return false;
    }
    return true;
}

struct tally {
    uint32_t counted, healthy;
};

static struct tally count_services(struct master *master)
{
    struct tally tally = {0};
    for (size_t i = 0; i < master->model->n_services; i++) {
        const struct model_service *service = &master->model->services[i];
        tally.counted += service->healthz;
        tally.healthy += service->healthz && health_of(master, service)->healthy;
    }
    return tally;
}

static void describe_services(struct master *master, const struct tally *tally, struct str *out)
{
    const char *separator = ": ";
    if (tally->counted == 0) {
        str_append(out, "no service counts");
        return;
    }
    if (tally->healthy == tally->counted) {
        str_printf(out, "%" PRIu32 " %s healthy", tally->counted,
                   tally->counted == 1 ? "service is" : "services are");
        return;
    }
    str_printf(out, "%" PRIu32 " of %" PRIu32 " %s unhealthy", tally->counted - tally->healthy,
               tally->counted, tally->counted == 1 ? "service is" : "services are");
    for (size_t i = 0; i < master->model->n_services; i++) {
        const struct model_service *service = &master->model->services[i];
        if (service->healthz && !health_of(master, service)->healthy) {
            str_printf(out, "%s%s", separator, service->name);
            separator = ", ";
        }
    }
}

/* --- telling --- */

static void tell_service(struct master *master, const struct snapshot_service *service,
                         uint64_t now_ms)
{
    const struct service_health *health = &master->health.services[service->row];
    STR_AUTO text = {0};
    str_printf(&text, "service %s is %s: ", service->name,
               health->healthy ? "healthy again" : "unhealthy");
    describe_service(master, service, now_ms, &text);
    log_at(health->healthy ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, str_text(&text),
           LOG_STR("service", service->name));
    master_event(master, EVENT_KIND, snapshot_pools(master->running)[service->pool].name, NULL,
                 "master", NULL, str_text(&text));
}

static void watch_service(struct master *master, const struct snapshot_service *service,
                          bool is_new_look, uint64_t now_ms)
{
    struct service_health *health = recall(master, service);
    struct service_health before = *health;
    if (is_new_look) {
        look(master, service, health, now_ms);
    }
    decide(health, now_ms);
    /* That a service begins as it should is no news. */
    bool begins = !before.decided && health->decided;
    if (health->healthy ? !begins && !before.healthy : begins || before.healthy) {
        tell_service(master, service, now_ms);
    }
}

static bool answer_of_all(struct master *master, uint64_t now_ms, struct str *out)
{
    if (describe_veto(master, now_ms, out)) {
        return false;
    }
    struct tally tally = count_services(master);
    describe_services(master, &tally, out);
    return tally.healthy == tally.counted;
}

/* Whoever answers without master (the status address) finds the answers in the scoreboard. */
static void share_answers(struct master *master)
{
    struct sb_header *header = master->sb.header;
    for (size_t i = 0; i < master->model->n_services; i++) {
        const struct model_service *service = &master->model->services[i];
        bool healthy = health_of(master, service)->healthy;
        struct sb_service *shared = &master->sb.services[service->row];
        atomic_store(&shared->counted, service->healthz);
        atomic_store(&shared->answer, healthy ? SB_ANSWER_YES : SB_ANSWER_NO);
    }
    struct tally tally = count_services(master);
    atomic_store(&header->health_stops, master->leaving || master->stopping);
    atomic_store(&header->answer, tally.healthy == tally.counted ? SB_ANSWER_YES : SB_ANSWER_NO);
}

void health_watch(struct master *master, uint64_t now_ms)
{
    struct health_answers *answers = &master->health;
    uint32_t generation = master->running->generation;
    /* Before looking: what changes meanwhile is looked at again. */
    uint32_t epoch = atomic_load(&master->sb.header->health_epoch);
    bool is_new_look = answers->generation != generation || answers->epoch != epoch;
    for (uint32_t i = 0; i < master->running->n_services; i++) {
        watch_service(master, &snapshot_services(master->running)[i], is_new_look, now_ms);
    }
    answers->generation = generation;
    answers->epoch = epoch;
    share_answers(master);
    STR_AUTO reason = {0};
    bool healthy = answer_of_all(master, now_ms, &reason);
    if (healthy != answers->healthy) {
        STR_AUTO text = {0};
        answers->healthy = healthy;
        str_printf(&text, "health answers say %s: %s", healthy ? "yes" : "no", str_text(&reason));
        log_info(str_text(&text));
        master_event(master, EVENT_KIND, NULL, NULL, "master", NULL, str_text(&text));
    }
}

/* --- answering --- */

void health_answer(struct master *master, const struct model_service *service, uint64_t now_ms,
                   struct ctl_health *out)
{
    STR_AUTO reason = {.limit = sizeof(out->reason) - 1};
    health_watch(master, now_ms);
    if (service == NULL) {
        out->healthy = answer_of_all(master, now_ms, &reason);
    } else if (describe_veto(master, now_ms, &reason)) {
        out->healthy = false;
    } else {
        out->healthy = health_of(master, service)->healthy;
        describe_service(master, record_of(master, service), now_ms, &reason);
    }
    (void)strlcpy(out->reason, str_text(&reason), sizeof(out->reason));
}

bool health_set_fail(struct master *master, bool fail, const struct ctl_who *who, uint64_t now_ms)
{
    const char *text = fail ? "global: health auto -> fail" : "global: health fail -> auto";
    if (is_failed_by_operator(master) == fail) {
        return false;
    }
    atomic_store(&master->sb.header->health_fail, fail);
    snprintf(master->health.said_by, sizeof(master->health.said_by),
             "set global health=fail by %s%s%s", who->text, who->why != NULL ? ": " : "",
             who->why != NULL ? who->why : "");
    log_info(text, LOG_STR("by", who->text));
    master_event(master, "admin", NULL, NULL, who->text, who->why, text);
    health_watch(master, now_ms);
    return true;
}
