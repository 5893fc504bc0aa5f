/*
 * How many ports a model needs towards its backends, of all services and of one. Only backends that
 * load can be given count. Pure; in master and in sluicectl doctor.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capacity.h"
#include "capacity_pool.h"
#include "model/sources.h"
#include "pool/ports.h"

/* Where a pool connects from, and who waits in it. */
struct pool_sources {
    struct addr_ip *here; /* of source_addresses, those that are here; owned */
    size_t n;
    bool has_family[ADDR_FAMILY_COUNT]; /* in the file; else the kernel chooses */
    uint32_t queue;
    bool is_limited; /* every backend ends by its max_connections, as far as is known */
};

/* An address that is connected to, by a backend of a pool, and how many connections at most. */
struct destination {
    struct addr address;
    struct pool_sources *from;
    uint64_t most;   /* CAPACITY_UNBOUNDED: no limit */
    bool is_limited; /* before its ports are */
};

/* Destinations of pools, as they are put together. */
struct gathering {
    struct destination *list; /* has room for all backends */
    size_t n;
    struct pool_sources *sources; /* has room for all pools */
    size_t n_pools;
    struct addr_ip *scratch; /* has room for the sources of all pools */
    uint64_t beside;
    bool is_unbounded;
};

/* --- sources --- */

static int look_up(const struct model_pool *pool, capacity_here_fn *is_here,
                   struct pool_sources *out)
{
    struct source_list all;

    sources_of(pool, &all);
    *out = (struct pool_sources){.here = calloc(all.n + 1, sizeof(*out->here))};
    for (size_t i = 0; out->here != NULL && i < all.n; i++) {
        out->has_family[all.items[i].family] = true;
        if (is_here == NULL || is_here(&all.items[i])) {
            out->here[out->n++] = all.items[i];
        }
    }
    return out->here != NULL ? 0 : -ENOMEM;
}

static int compare_ips(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct addr_ip));
}

static size_t count_distinct(struct addr_ip *list, size_t n)
{
    size_t kept = 0;
    qsort(list, n, sizeof(*list), compare_ips);
    for (size_t i = 0; i < n; i++) {
        kept += i == 0 || compare_ips(&list[i - 1], &list[i]) != 0;
    }
    return kept;
}

/* Which of the backends with one address are meant. */
enum part { ALL, UNLIMITED };

static bool is_meant(const struct destination *to, enum part part)
{
    return part == ALL || !to->is_limited;
}

static bool has_family(const struct destination *group, size_t n, enum part part,
                       enum addr_family family)
{
    bool has = false;
    for (size_t i = 0; i < n; i++) {
        has |= is_meant(&group[i], part) && group[i].from->has_family[family];
    }
    return has;
}

/* From how many addresses they are connected to: a pool without one of the family in its list does
 * it from the one that the kernel chooses, which may be one of the others'. */
static uint64_t count_of_family(struct gathering *all, const struct destination *group, size_t n,
                                enum part part, enum addr_family family)
{
    const struct pool_sources *last = NULL;
    bool is_chosen = false;
    size_t found = 0;

    for (size_t i = 0; i < n; i++) {
        const struct pool_sources *from = group[i].from;
        if (!is_meant(&group[i], part) || from == last) {
            continue;
        }
        last = from;
        is_chosen |= !from->has_family[family];
        for (size_t k = 0; k < from->n; k++) {
            if (from->here[k].family == family) {
                all->scratch[found++] = from->here[k];
            }
        }
    }
    found = count_distinct(all->scratch, found);
    return found == 0 && is_chosen ? 1 : found;
}

/* Of a name that is not resolved yet the family is not known: the fewer of those that it can be. */
static uint64_t count_sources(struct gathering *all, const struct destination *group, size_t n,
                              enum part part)
{
    enum addr_family family = (enum addr_family)group->address.ip.family;
    if (family != ADDR_NONE) {
        return count_of_family(all, group, n, part, family);
    }
    uint64_t four = count_of_family(all, group, n, part, ADDR_IPV4);
    uint64_t six = count_of_family(all, group, n, part, ADDR_IPV6);
    if (!has_family(group, n, part, ADDR_IPV4)) {
        return six;
    }
    return !has_family(group, n, part, ADDR_IPV6) || four < six ? four : six;
}

/* --- destinations --- */

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
static void add_destination(const struct model_backend *backend, struct pool_sources *sources,
                            struct gathering *out)
{
    struct destination *to = &out->list[out->n];
    if (backend->address.ip.family == ADDR_UNIX) {
        out->is_unbounded |= backend->max_connections == 0;
        out->beside += backend->max_connections;
        return;
    }
    *to = (struct destination){
        .address = backend->address, .from = sources, .most = most_of(backend)};
    if (backend->address.ip.family == ADDR_NONE) {
        strncpy(to->address.path, backend->address_text, sizeof(to->address.path) - 1);
    }
    out->n++;
}

static void add_pool(const struct model_pool *pool, struct pool_sources *sources,
                     struct gathering *out)
{
    struct capacity_walk walk = capacity_walk_pool(pool);
    const struct model_backend *backend = capacity_walk_next(&walk);

    out->is_unbounded |= needs_no_ports(pool);
    sources->queue = pool->queue;
    sources->is_limited = backend != NULL;
    for (; backend != NULL; backend = capacity_walk_next(&walk)) {
        sources->is_limited &= backend->max_connections != 0;
        add_destination(backend, sources, out);
    }
}

/* --- how many pairs --- */

/* By address; those of one pool stand together. */
static int compare(const void *a, const void *b)
{
    const struct destination *left = a, *right = b;
    int order = memcmp(&left->address, &right->address, sizeof(left->address));
    return order != 0 ? order : (left->from > right->from) - (left->from < right->from);
}

/* Ports that a pair has now; without knowing, all that there can be. */
static uint64_t ports_now(const struct machine *machine)
{
    return machine->port_first == MACHINE_UNKNOWN
               ? MACHINE_PORTS
               : capacity_pair_ports(machine, machine->port_first, machine->port_last);
}

/* Backends of one address share the pairs of that address with each source, whichever pool's it is:
 * together they have no more, and those that are limited no more than that. */
static void count_group(struct gathering *all, struct destination *group, size_t n, uint64_t each,
                        struct capacity_ports *out)
{
    uint64_t limited = 0;
    for (size_t i = 0; i < n; i++) {
        group[i].is_limited = group[i].most < count_sources(all, &group[i], 1, ALL) * each;
        limited += group[i].is_limited ? group[i].most : 0;
    }
    uint64_t pairs = count_sources(all, group, n, ALL);
    uint64_t rest = count_sources(all, group, n, UNLIMITED);
    bool is_limited = limited + rest * each < pairs * each;
    for (size_t i = 0; i < n; i++) {
        group[i].from->is_limited &= is_limited && group[i].is_limited;
    }
    out->beside += is_limited ? limited : 0;
    out->pairs += is_limited ? rest : pairs;
}

/* Clients wait, without a port, for a backend that is full. Where a backend has no port left while
 * others are full, they do so too, but not once too many have none (TRIED_MAX): not counted. */
static uint64_t count_waiting(const struct gathering *all)
{
    uint64_t waiting = 0;
    for (size_t i = 0; i < all->n_pools; i++) {
        waiting += all->sources[i].is_limited ? all->sources[i].queue : 0;
    }
    return waiting;
}

static void count_ports(struct gathering *all, const struct machine *machine,
                        struct capacity_ports *out)
{
    uint64_t each = ports_now(machine);
    *out = (struct capacity_ports){.beside = all->beside};
    qsort(all->list, all->n, sizeof(*all->list), compare);
    for (size_t i = 0, next; i < all->n; i = next) {
        for (next = i + 1; next < all->n && memcmp(&all->list[next].address, &all->list[i].address,
                                                   sizeof(struct addr)) == 0;) {
            next++;
        }
        count_group(all, &all->list[i], next - i, each, out);
    }
    out->beside += count_waiting(all);
    if (all->is_unbounded || (all->n == 0 && all->beside == 0)) {
        out->pairs = CAPACITY_UNBOUNDED;
    }
}

static int gather(const struct model *model, const bool used[static POOLS_MAX],
                  capacity_here_fn *is_here, struct gathering *out)
{
    size_t n_backends = 0, n_sources = 0;
    for (size_t i = 0; i < model->n_pools; i++) {
        n_backends += used[i] ? model->pools[i].n_backends : 0;
    }
    out->list = calloc(n_backends + 1, sizeof(*out->list));
    out->sources = calloc(model->n_pools + 1, sizeof(*out->sources));
    for (size_t i = 0; out->list != NULL && out->sources != NULL && i < model->n_pools; i++) {
        struct pool_sources *sources = &out->sources[out->n_pools];
        if (!used[i]) {
            continue;
        }
        if (look_up(&model->pools[i], is_here, sources) != 0) {
            return -ENOMEM;
        }
        out->n_pools++;
        n_sources += sources->n;
        add_pool(&model->pools[i], sources, out);
    }
    out->scratch = calloc(n_sources + 1, sizeof(*out->scratch));
    return out->list != NULL && out->sources != NULL && out->scratch != NULL ? 0 : -ENOMEM;
}

static void release(struct gathering *all)
{
    for (size_t i = 0; i < all->n_pools; i++) {
        free(all->sources[i].here);
    }
    free(all->sources);
    free(all->list);
    free(all->scratch);
}

/* Of the pools that are marked. Without memory to tell they bound nothing. */
static void ports_of(const struct model *model, const bool used[static POOLS_MAX],
                     const struct machine *machine, capacity_here_fn *is_here,
                     struct capacity_ports *out)
{
    struct gathering all = {0};
    *out = (struct capacity_ports){.pairs = CAPACITY_UNBOUNDED};
    if (gather(model, used, is_here, &all) == 0) {
        count_ports(&all, machine, out);
    }
    release(&all);
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
