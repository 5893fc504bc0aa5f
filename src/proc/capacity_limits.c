/*
 * How many connections the file's own limits allow: max_connections of services, and of backends.
 * They do not lower the daemon's limit: clients beyond them wait or are refused as each of them
 * says. Pure; in master and in sluicectl doctor.
 */
#include "capacity.h"
#include "capacity_pool.h"

/* --- which backends --- */

/* One in maintenance is: it comes back. */
static bool is_loadable(const struct model_backend *backend)
{
    return backend->weight > 0;
}

/* As while all are up (pool/eligibility.c): backups join in only where the others are too few even
 * then. */
static bool needs_backups(const struct model_pool *pool)
{
    uint64_t primaries = 0;
    for (size_t i = 0; i < pool->n_backends; i++) {
        primaries += is_loadable(&pool->backends[i]) && !pool->backends[i].backup;
    }
    return primaries < pool->min_healthy;
}

struct capacity_walk capacity_walk_pool(const struct model_pool *pool)
{
    return (struct capacity_walk){.pool = pool, .with_backups = needs_backups(pool)};
}

const struct model_backend *capacity_walk_next(struct capacity_walk *walk)
{
    const struct model_pool *pool = walk->pool;
    while (walk->next < pool->n_backends) {
        const struct model_backend *backend = &pool->backends[walk->next++];
        bool is_turn =
            walk->with_backups && (pool->backup_use == BACKUP_USE_ALL || !walk->has_backup);
        if (is_loadable(backend) && (!backend->backup || is_turn)) {
            walk->has_backup |= backend->backup;
            return backend;
        }
    }
    return NULL;
}

/* --- what they allow --- */

static uint64_t add(uint64_t sum, uint64_t number)
{
    return sum == CAPACITY_UNBOUNDED || number == CAPACITY_UNBOUNDED ? CAPACITY_UNBOUNDED
                                                                     : sum + number;
}

/* Of requests, clients at rest hold none. A name that is not resolved yet may become several
 * backends. */
static bool is_counted(const struct model_pool *pool, const struct model_backend *backend)
{
    return backend->max_connections != 0 && backend->address.ip.family != ADDR_NONE &&
           pool->reuse.mode != REUSE_REQUEST;
}

/* A pool without a backend that load can be given to will get one. */
static uint64_t limits_of(const struct model_pool *pool)
{
    struct capacity_walk walk = capacity_walk_pool(pool);
    const struct model_backend *backend = capacity_walk_next(&walk);
    uint64_t sum = backend != NULL ? pool->queue : CAPACITY_UNBOUNDED;
    for (; backend != NULL; backend = capacity_walk_next(&walk)) {
        sum = add(sum, is_counted(pool, backend) ? backend->max_connections : CAPACITY_UNBOUNDED);
    }
    return sum;
}

/* A fallback pool is no help to one that is full (sched/choose.c). */
uint64_t capacity_service_limits(const struct model *model, const struct model_service *service)
{
    return limits_of(&model->pools[service->pool_index]);
}

void capacity_limits_ask(const struct model *model, struct capacity_demand *out)
{
    bool used[POOLS_MAX] = {false};
    out->services = out->backends = model->n_services > 0 ? 0 : CAPACITY_UNBOUNDED;
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        bool is_limited = service->max_connections != 0;
        out->services =
            add(out->services, is_limited ? service->max_connections : CAPACITY_UNBOUNDED);
        if (!used[service->pool_index]) {
            out->backends = add(out->backends, capacity_service_limits(model, service));
        }
        used[service->pool_index] = true;
    }
}
