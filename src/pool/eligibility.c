/*
 * Judges pools and backends: the truth table of eligibility.h in code. Pure, in every process.
 */
#include "eligibility.h"

#define SLOW_START_FROM 100 /* permille */

const char *const backend_state_names[BACKEND_STATE_COUNT] = {
    [BACKEND_MAINTENANCE] = "maintenance", [BACKEND_DOWN] = "down",
    [BACKEND_DRAINING] = "draining",       [BACKEND_STARTING] = "starting",
    [BACKEND_EJECTED] = "ejected",         [BACKEND_FULL] = "full",
    [BACKEND_STANDBY] = "standby",         [BACKEND_UP] = "up",
};

const char *const admin_state_names[ADMIN_COUNT + 1] = {
    [ADMIN_READY] = "ready",
    [ADMIN_DRAIN] = "drain",
    [ADMIN_MAINTENANCE] = "maintenance",
};

enum backend_state eligibility_judge(const struct backend_facts *facts)
{
    if (facts->admin == ADMIN_MAINTENANCE)
        return BACKEND_MAINTENANCE;
    if (facts->health == SB_HEALTH_DOWN)
        return BACKEND_DOWN;
    if (facts->admin == ADMIN_DRAIN || facts->weight == 0)
        return BACKEND_DRAINING;
    if (facts->health != SB_HEALTH_UP)
        return BACKEND_STARTING;
    if (facts->ejected)
        return BACKEND_EJECTED;
    if (facts->full)
        return BACKEND_FULL;
    return facts->standby ? BACKEND_STANDBY : BACKEND_UP;
}

/* Bad health is overlooked; what the operator said, and load, never are. */
static bool panic_lets_in(const struct backend_facts *facts)
{
    return facts->panic && facts->admin == ADMIN_READY && facts->weight != 0 &&
           facts->has_address && !facts->full;
}

bool eligibility_takes_new(const struct backend_facts *facts)
{
    switch (eligibility_judge(facts)) {
    case BACKEND_UP:
        return true;
    case BACKEND_DOWN:
    case BACKEND_EJECTED:
        return panic_lets_in(facts);
    default:
        return false;
    }
}

bool eligibility_takes_returning(const struct backend_facts *facts)
{
    switch (eligibility_judge(facts)) {
    case BACKEND_UP:
        return true;
    case BACKEND_STANDBY:
        return !facts->leaves;
    case BACKEND_DOWN:
    case BACKEND_EJECTED:
        return panic_lets_in(facts);
    case BACKEND_DRAINING:
        return facts->health == SB_HEALTH_UP && !facts->ejected && !facts->full && !facts->closing;
    default:
        return false;
    }
}

static enum sb_health health_of(const struct snapshot_backend *backend, const struct scoreboard *sb)
{
    if (backend->address.ip.family == ADDR_NONE)
        return SB_HEALTH_DOWN;
    if (backend->said_health != SAID_AUTO)
        return backend->said_health == SAID_UP ? SB_HEALTH_UP : SB_HEALTH_DOWN;
    if (backend->n_checks == 0)
        return SB_HEALTH_UP;
    return atomic_load_explicit(&sb->slot_health[backend->slot], memory_order_relaxed);
}

static bool is_ejected(const struct snapshot_backend *backend, const struct scoreboard *sb)
{
    return atomic_load_explicit(&sb->slots[backend->slot].ejected_until_ms, memory_order_relaxed) !=
           0;
}

static enum admin_state admin_of(const struct snapshot_backend *backend,
                                 const struct scoreboard *sb)
{
    _Static_assert(ADMIN_READY < ADMIN_DRAIN && ADMIN_DRAIN < ADMIN_MAINTENANCE, "by severity");
    uint32_t asked =
        atomic_load_explicit(&sb->slots[backend->slot].asked_admin, memory_order_relaxed);
    if (asked >= ADMIN_COUNT)
        asked = ADMIN_READY;
    return (enum admin_state)(asked > backend->admin ? asked : backend->admin);
}

uint32_t eligibility_asked_permille(const struct snapshot_backend *backend,
                                    const struct scoreboard *sb)
{
    uint32_t asked =
        atomic_load_explicit(&sb->slots[backend->slot].asked_permille, memory_order_relaxed);
    return asked == 0 || asked > 1000 ? 1000 : asked - 1;
}

void eligibility_limits(const struct snapshot_backend *backend, const struct scoreboard *sb,
                        uint32_t *out_limit, uint32_t *out_resume)
{
    uint32_t asked =
        atomic_load_explicit(&sb->slots[backend->slot].asked_limit, memory_order_relaxed);
    uint32_t limit = asked == 0 ? 0 : asked - 1;

    *out_limit = backend->max_connections;
    *out_resume = backend->resume_connections;
    if (limit == 0 || (*out_limit != 0 && *out_limit <= limit))
        return;
    uint32_t mark = limit - limit / 4; /* 3/4, rounded up */
    *out_limit = limit;
    *out_resume = *out_resume != 0 && *out_resume < mark ? *out_resume : mark;
}

static uint32_t weight_of(const struct snapshot_backend *backend, const struct scoreboard *sb)
{
    return eligibility_asked_permille(backend, sb) == 0 ? 0 : backend->weight;
}

void eligibility_survey(const struct snapshot_pool *pool, const struct snapshot_backend *backends,
                        const struct scoreboard *sb, struct pool_survey *out)
{
    struct pool_survey survey = {.first_backup = SNAPSHOT_NONE};

    for (uint32_t i = 0; i < pool->n_backends; i++) {
        const struct snapshot_backend *backend = &backends[i];
        if (admin_of(backend, sb) != ADMIN_READY || weight_of(backend, sb) == 0)
            continue;
        enum sb_health health = health_of(backend, sb);
        bool is_up = health == SB_HEALTH_UP && !is_ejected(backend, sb);
        survey.ready++;
        survey.up += is_up;
        survey.starting += health != SB_HEALTH_UP && health != SB_HEALTH_DOWN;
        survey.primaries_up += is_up && !backend->backup;
        if (is_up && backend->backup && survey.first_backup == SNAPSHOT_NONE)
            survey.first_backup = i;
    }
    survey.needs_backups = survey.primaries_up < pool->min_healthy;
    survey.panic = ((uint64_t)survey.up + survey.starting) * 100 <
                   (uint64_t)survey.ready * pool->panic_threshold;
    *out = survey;
}

static bool stands_by(const struct snapshot_pool *pool, const struct snapshot_backend *backend,
                      uint32_t i, const struct pool_survey *survey)
{
    if (!backend->backup || survey->panic)
        return false;
    return !survey->needs_backups ||
           (pool->backup_use == BACKUP_USE_FIRST && survey->first_backup != i);
}

struct backend_facts eligibility_facts(const struct snapshot_pool *pool,
                                       const struct snapshot_backend *backends, uint32_t i,
                                       const struct pool_survey *survey,
                                       const struct scoreboard *sb)
{
    const struct snapshot_backend *backend = &backends[i];
    uint32_t active = atomic_load_explicit(&sb->slot_active[backend->slot], memory_order_relaxed);
    bool full = atomic_load_explicit(&sb->slot_full[backend->slot], memory_order_relaxed);
    uint32_t limit, resume;

    eligibility_limits(backend, sb, &limit, &resume);
    return (struct backend_facts){
        .admin = admin_of(backend, sb),
        .health = health_of(backend, sb),
        .weight = weight_of(backend, sb),
        .ejected = is_ejected(backend, sb),
        .has_address = backend->address.ip.family != ADDR_NONE,
        .full = eligibility_is_full(active, limit, resume, full),
        .standby = stands_by(pool, backend, i, survey),
        .closing =
            atomic_load_explicit(&sb->slots[backend->slot].close_by_ms, memory_order_relaxed) != 0,
        .leaves = pool->on_return == SESSIONS_CLOSE,
        .panic = survey->panic,
    };
}

uint32_t eligibility_slow_permille(uint64_t from_ms, uint32_t period_ms, uint64_t now_ms)
{
    if (from_ms == 0 || period_ms == 0)
        return 1000;
    uint64_t age_ms = now_ms > from_ms ? now_ms - from_ms : 0;
    if (age_ms >= period_ms)
        return 1000;
    return SLOW_START_FROM + (uint32_t)(age_ms * (1000 - SLOW_START_FROM) / period_ms);
}
