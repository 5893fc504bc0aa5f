/*
 * The standing of pools, from snapshot and scoreboard. Pure; in master.
 */
#include "ctl/standing.h"

#include <inttypes.h>

void standing_judge(const struct snapshot_pool *pool, const struct snapshot_backend *backends,
                    const struct scoreboard *sb, struct standing *out)
{
    *out = (struct standing){.pool = pool, .backends = backends};
    eligibility_survey(pool, backends, sb, &out->survey);
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        struct backend_facts facts = eligibility_facts(pool, backends, i, &out->survey, sb);

        facts.full = false;
        out->states[eligibility_judge(&facts)]++;
        if (!eligibility_takes_new(&facts))
            continue;
        out->takers++;
        out->backups_used = out->backups_used || backends[i].backup;
    }
}

void standing_of(const struct snapshot_header *snapshot, uint32_t pool, const struct scoreboard *sb,
                 struct standing *out)
{
    const struct snapshot_pool *record = &snapshot_pools(snapshot)[pool];

    standing_judge(record, snapshot_backends(snapshot) + record->first_backend, sb, out);
}

void standing_list_states(const struct standing *standing, struct str *out)
{
    const char *separator = "";

    if (standing->pool->n_backends == 0)
        str_append(out, "it has none");
    for (size_t state = 0; state < BACKEND_STATE_COUNT; state++) {
        if (standing->states[state] == 0)
            continue;
        str_printf(out, "%s%" PRIu32 " %s", separator, standing->states[state],
                   backend_state_names[state]);
        separator = ", ";
    }
}

/* Who serves while no primary is up, and no panic has everybody do it. */
static bool has_backup(const struct pool_survey *survey)
{
    return survey->needs_backups && survey->first_backup != SNAPSHOT_NONE;
}

enum standing_health standing_health(const struct standing *standing)
{
    const struct pool_survey *survey = &standing->survey;

    if (survey->primaries_up > 0 || has_backup(survey))
        return STANDING_HEALTHY;
    return survey->starting > 0 ? STANDING_PENDING : STANDING_UNHEALTHY;
}

static uint32_t count_primaries(const struct standing *standing)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < standing->pool->n_backends; i++)
        n += !standing->backends[i].backup;
    return n;
}

void standing_describe_health(const struct standing *standing, struct str *out)
{
    const struct pool_survey *survey = &standing->survey;

    if (survey->primaries_up > 0) {
        str_printf(out, "%" PRIu32 " of %" PRIu32 " backends up", survey->up,
                   standing->pool->n_backends);
        return;
    }
    str_printf(out, "no primary is up, 0 of %" PRIu32, count_primaries(standing));
    if (has_backup(survey) && standing->pool->backup_use == BACKUP_USE_ALL && survey->up > 1) {
        str_printf(out, "; %" PRIu32 " backups serve", survey->up);
        return;
    }
    if (has_backup(survey)) {
        str_printf(out, "; backup %s serves", standing->backends[survey->first_backup].name);
        return;
    }
    str_append(out, ": ");
    standing_list_states(standing, out);
    if (survey->panic)
        str_append(out, "; panic, which makes nobody healthy");
}

bool standing_is_lost(const struct standing *standing)
{
    return standing->takers == 0 && standing->survey.starting == 0;
}

uint32_t standing_pool_in_use(const struct snapshot_header *snapshot,
                              const struct snapshot_service *service, const struct scoreboard *sb)
{
    struct standing standing;

    if (service->fallback_pool == SNAPSHOT_NONE)
        return service->pool;
    standing_of(snapshot, service->pool, sb, &standing);
    if (!standing_is_lost(&standing))
        return service->pool;
    standing_of(snapshot, service->fallback_pool, sb, &standing);
    return standing_is_lost(&standing) ? service->pool : service->fallback_pool;
}
