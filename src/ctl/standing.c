/*
 * The standing of pools, from snapshot and scoreboard. Pure; in master.
 */
#include "ctl/standing.h"

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
