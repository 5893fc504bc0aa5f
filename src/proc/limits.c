/*
 * How many connections the daemon takes: what the file says, or what this machine can carry. In
 * master.
 */
#include <inttypes.h>
#include <sys/resource.h>

#include "base/log.h"
#include "master.h"

#define EVENT_KIND "limit"

void limits_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void limits_look(struct master *master, bool is_first)
{
    struct machine before = master->machine;
    machine_read("", 0, &master->machine);
    if (!is_first) {
        machine_keep_usage(&master->machine, &before);
    }
}

/* What backends still have that load is no longer given to: it must not take the others' places. */
static uint64_t count_drained(const struct master *master, const struct model *model)
{
    uint64_t active = 0;
    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];
        for (size_t k = 0; k < pool->n_backends; k++) {
            if (pool->backends[k].weight == 0) {
                active += atomic_load_explicit(&master->sb.slot_active[pool->backends[k].slot],
                                               memory_order_relaxed);
            }
        }
    }
    return active;
}

uint32_t limits_find(const struct master *master, const struct model *model, struct capacity *out)
{
    struct capacity_demand demand;
    /* An address that comes later, as a virtual one does in a failover, is used at once: the limit
     * must not be that of before. */
    capacity_ask(model, &master->machine, master->n_workers, NULL, &demand);
    capacity_judge(&master->machine, &demand, out);
    uint64_t drained = count_drained(master, model);
    if (out->by[CAPACITY_PORTS] != CAPACITY_UNBOUNDED) {
        out->by[CAPACITY_PORTS] += drained;
    }
    if (out->by[CAPACITY_BACKENDS] != CAPACITY_UNBOUNDED) {
        out->by[CAPACITY_BACKENDS] += drained;
    }
    return capacity_limit(out, model->global.max_connections);
}

uint64_t limits_buffers(const struct master *master, const struct model *model)
{
    return capacity_buffers(&master->machine, master->n_workers, model->global.buffer_bytes);
}

void limits_warn(const struct master *master, const struct model *model, struct errlist *errors)
{
    capacity_warn_all(model, &master->machine, master->n_workers, machine_may_come_from, errors);
}

const char *limits_reason(const struct master *master)
{
    return capacity_limited_by(&master->capacity, master->model->global.max_connections);
}

/* --- what an administrator changes --- */

static void tell(struct master *master, uint32_t before, const char *reason_before)
{
    STR_AUTO text = {0};
    str_printf(&text,
               "settings of the kernel were changed: the limit is %" PRIu32
               " connections now, by %s; it was %" PRIu32 ", by %s",
               master->connections_limit, limits_reason(master), before, reason_before);
    log_info(str_text(&text));
    master_event(master, EVENT_KIND, NULL, NULL, "master", NULL, str_text(&text));
}

void limits_watch(struct master *master)
{
    const char *reason_before = limits_reason(master);
    uint32_t before = master->connections_limit;
    struct capacity capacity;
    if (master->stopping || !machine_renew("", &master->machine)) {
        return;
    }
    ports_tell(master);
    if (limits_find(master, master->model, &capacity) == before) {
        master->capacity = capacity;
        return;
    }
    names_rebuild(master);
    if (master->connections_limit != before) {
        tell(master, before, reason_before);
    }
}
