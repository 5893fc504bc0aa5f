/*
 * How many ports a model needs towards its backends, of all services and of one. Only backends that
 * load can be given count. Pure; in master and in sluicectl doctor.
 */
#include <stdlib.h>
#include <string.h>

#include "capacity.h"
#include "model/sources.h"
#include "pool/ports.h"

/* An address that is connected to, from how many, and how many connections at most. */
struct destination {
    struct addr address;
    uint64_t sources;
    uint64_t most; /* CAPACITY_UNBOUNDED: no limit */
};

/* Destinations of pools, as they are put together. */
struct gathering {
    struct destination *list; /* has room for all backends */
    size_t n;
    uint64_t beside;
    bool is_unbounded;
};

/* A pool's source_addresses, and which of them are here. */
struct pool_sources {
    struct source_list all, here;
};

static void look_up(const struct model_pool *pool, capacity_here_fn *is_here,
                    struct pool_sources *out)
{
    sources_of(pool, &out->all);
    out->here.n = 0;
    for (size_t i = 0; i < out->all.n; i++) {
        if (is_here == NULL || is_here(&out->all.items[i])) {
            out->here.items[out->here.n++] = out->all.items[i];
        }
    }
}

/* From how many addresses a backend is connected to: without one of its family in the list, from
 * the one that the kernel chooses. */
static uint64_t count_of_family(const struct pool_sources *sources, enum addr_family family)
{
    return sources_count(&sources->all, family) == 0 ? 1 : sources_count(&sources->here, family);
}

/* Of a name that is not resolved yet the family is not known: the fewer of those that it can be. */
static uint64_t count_sources(const struct pool_sources *sources, enum addr_family family)
{
    if (family != ADDR_NONE) {
        return count_of_family(sources, family);
    }
    uint64_t four = count_of_family(sources, ADDR_IPV4), six = count_of_family(sources, ADDR_IPV6);
    if (sources_count(&sources->all, ADDR_IPV4) == 0) {
        return six;
    }
    return sources_count(&sources->all, ADDR_IPV6) == 0 || four < six ? four : six;
}

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

/* Requests of all clients share a backend's connections: clients at rest have none. A transparent
 * pool has each client's own ports. */
static bool needs_no_ports(const struct model_pool *pool)
{
    return pool->reuse.mode == REUSE_REQUEST || pool->transparent;
}

static uint64_t most_of(const struct model_backend *backend)
{
    return backend->max_connections != 0 ? backend->max_connections : CAPACITY_UNBOUNDED;
}

/* Of a name that is not resolved yet the text stands for the address. */
static void add_destination(const struct model_backend *backend, const struct pool_sources *sources,
                            struct gathering *out)
{
    struct destination *to = &out->list[out->n];
    if (backend->address.ip.family == ADDR_UNIX) {
        out->is_unbounded |= backend->max_connections == 0;
        out->beside += backend->max_connections;
        return;
    }
    *to = (struct destination){.address = backend->address,
                               .sources = count_sources(sources, backend->address.ip.family),
                               .most = most_of(backend)};
    if (backend->address.ip.family == ADDR_NONE) {
        strncpy(to->address.path, backend->address_text, sizeof(to->address.path) - 1);
    }
    out->n++;
}

static void add_pool(const struct model_pool *pool, capacity_here_fn *is_here,
                     struct gathering *out)
{
    bool with_backups = needs_backups(pool), has_backup = false, has_limits = pool->n_backends > 0;
    struct pool_sources sources;

    out->is_unbounded |= needs_no_ports(pool);
    look_up(pool, is_here, &sources);
    for (size_t i = 0; i < pool->n_backends; i++) {
        const struct model_backend *backend = &pool->backends[i];
        bool is_next = with_backups && (pool->backup_use == BACKUP_USE_ALL || !has_backup);
        if (!is_loadable(backend) || (backend->backup && !is_next)) {
            continue;
        }
        has_backup |= backend->backup;
        has_limits &= backend->max_connections != 0;
        add_destination(backend, &sources, out);
    }
    if (has_limits) {
        out->beside += pool->queue; /* they wait without a port */
    }
}

/* --- how many pairs --- */

static int compare(const void *a, const void *b)
{
    const struct destination *left = a, *right = b;
    return memcmp(&left->address, &right->address, sizeof(left->address));
}

/* An address that several pools connect to counts once, with the most sources. */
static size_t merge(struct destination *list, size_t n)
{
    size_t kept = 0;
    qsort(list, n, sizeof(*list), compare);
    for (size_t i = 0; i < n; i++) {
        struct destination *last = kept > 0 ? &list[kept - 1] : NULL;
        if (last == NULL || compare(last, &list[i]) != 0) {
            list[kept++] = list[i];
            continue;
        }
        bool is_limited = last->most != CAPACITY_UNBOUNDED && list[i].most != CAPACITY_UNBOUNDED;
        last->most = is_limited ? last->most + list[i].most : CAPACITY_UNBOUNDED;
        last->sources = list[i].sources > last->sources ? list[i].sources : last->sources;
    }
    return kept;
}

/* Ports that a pair has now; without knowing, all that there can be. */
static uint64_t ports_now(const struct machine *machine)
{
    return machine->port_first == MACHINE_UNKNOWN
               ? MACHINE_PORTS
               : capacity_pair_ports(machine, machine->port_first, machine->port_last);
}

static void count_ports(struct gathering *all, const struct machine *machine,
                        struct capacity_ports *out)
{
    uint64_t each = ports_now(machine);
    *out = (struct capacity_ports){.beside = all->beside};
    all->n = merge(all->list, all->n);
    for (size_t i = 0; i < all->n; i++) {
        const struct destination *to = &all->list[i];
        if (to->most < to->sources * each) {
            out->beside += to->most;
        } else {
            out->pairs += to->sources;
        }
    }
    if (all->is_unbounded || (all->n == 0 && all->beside == 0)) {
        out->pairs = CAPACITY_UNBOUNDED;
    }
}

/* Of the pools that are marked. */
static void ports_of(const struct model *model, const bool used[static POOLS_MAX],
                     const struct machine *machine, capacity_here_fn *is_here,
                     struct capacity_ports *out)
{
    size_t n_backends = 0;
    for (size_t i = 0; i < model->n_pools; i++) {
        n_backends += used[i] ? model->pools[i].n_backends : 0;
    }
    struct gathering all = {.list = calloc(n_backends + 1, sizeof(*all.list))};
    *out = (struct capacity_ports){.pairs = CAPACITY_UNBOUNDED};
    if (all.list == NULL) {
        return;
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        if (used[i]) {
            add_pool(&model->pools[i], is_here, &all);
        }
    }
    count_ports(&all, machine, out);
    free(all.list);
}

uint64_t capacity_pair_ports(const struct machine *machine, uint64_t first, uint64_t last)
{
    return ports_limit((uint32_t)machine_count_ports(machine, first, last));
}

uint64_t capacity_ports_hold(const struct capacity_ports *ports, uint64_t each)
{
    bool is_by_limits = ports->pairs == 0 && ports->beside > 0;
    if (ports->pairs == CAPACITY_UNBOUNDED || is_by_limits) {
        return CAPACITY_UNBOUNDED;
    }
    return ports->pairs * each + ports->beside;
}

/* --- services --- */

/* A fallback pool is taken too where the pool has no port left (sched/choose.c). */
static void mark_pools(const struct model_service *service, bool used[static POOLS_MAX])
{
    used[service->pool_index] = true;
    if (service->fallback_index != SNAPSHOT_NONE) {
        used[service->fallback_index] = true;
    }
}

static void count_absent(const struct model_pool *pool, capacity_here_fn *is_here,
                         struct capacity_demand *out)
{
    struct source_list sources;
    sources_of(pool, &sources);
    out->sources += sources.n;
    for (size_t i = 0; is_here != NULL && i < sources.n; i++) {
        if (!is_here(&sources.items[i]) && out->sources_absent++ == 0) {
            out->absent = sources.items[i];
        }
    }
}

void capacity_ports_ask(const struct model *model, const struct machine *machine,
                        capacity_here_fn *is_here, struct capacity_demand *out)
{
    bool used[POOLS_MAX] = {false};
    for (size_t i = 0; i < model->n_services; i++) {
        mark_pools(&model->services[i], used);
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        if (used[i]) {
            count_absent(&model->pools[i], is_here, out);
        }
    }
    ports_of(model, used, machine, is_here, &out->ports);
}

void capacity_service_ask(const struct model *model, const struct model_service *service,
                          const struct machine *machine, capacity_here_fn *is_here,
                          uint64_t connections, struct capacity_service *out)
{
    bool used[POOLS_MAX] = {false};
    struct capacity_ports ports;
    bool is_own = service->max_connections != 0 &&
                  (connections == 0 || service->max_connections < connections);

    mark_pools(service, used);
    ports_of(model, used, machine, is_here, &ports);
    *out = (struct capacity_service){
        .holds = machine->port_first == MACHINE_UNKNOWN
                     ? CAPACITY_UNBOUNDED
                     : capacity_ports_hold(&ports, ports_now(machine)),
        .asked = is_own ? service->max_connections : connections,
    };
}
