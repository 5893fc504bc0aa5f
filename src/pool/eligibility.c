/*
 * Judges backends: the truth table of eligibility.h in code. Pure, in every process.
 */
#include "eligibility.h"

const char *const backend_state_names[BACKEND_STATE_COUNT] = {
    [BACKEND_MAINTENANCE] = "maintenance", [BACKEND_DOWN] = "down", [BACKEND_DRAINING] = "draining",
    [BACKEND_STARTING] = "starting",       [BACKEND_FULL] = "full", [BACKEND_UP] = "up",
};

const char *const admin_state_names[ADMIN_COUNT + 1] = {
    [ADMIN_READY] = "ready",
    [ADMIN_DRAIN] = "drain",
    [ADMIN_MAINTENANCE] = "maintenance",
};

static bool is_full(const struct backend_facts *facts)
{
    return facts->max_connections != 0 && facts->active >= facts->max_connections;
}

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
    return is_full(facts) ? BACKEND_FULL : BACKEND_UP;
}

static enum sb_health health_of(const struct snapshot_backend *backend, const struct scoreboard *sb)
{
    if (backend->address.ip.family == ADDR_NONE)
        return SB_HEALTH_DOWN;
    if (backend->n_checks == 0)
        return SB_HEALTH_UP;
    return atomic_load_explicit(&sb->slot_health[backend->slot], memory_order_relaxed);
}

struct backend_facts eligibility_facts(const struct snapshot_backend *backend,
                                       const struct scoreboard *sb)
{
    return (struct backend_facts){
        .admin = (enum admin_state)backend->admin,
        .health = health_of(backend, sb),
        .weight = backend->weight,
        .active = atomic_load_explicit(&sb->slot_active[backend->slot], memory_order_relaxed),
        .max_connections = backend->max_connections,
    };
}
