/* How many client connections the daemon can carry here. Pure; in master and in sluicectl doctor.
 */
#include "capacity.h"

#include <stdlib.h>
#include <string.h>

#include "model/sources.h"
#include "pool/ports.h"

/* Descriptors of a worker that are neither sessions nor listeners: standard ones, loop, channel,
 * log, reserves, and what a message brings. Beside them, one to wake each worker. */
#define WORKER_BESIDE 32
/* Of master: the same, the control socket and its clients. Beside them, a channel and a wake
 * for each process, and every worker's listening sockets. */
#define MASTER_BESIDE 96

const char *const capacity_bound_names[CAPACITY_BOUND_COUNT] = {
    [CAPACITY_DESCRIPTORS] = "descriptors",
    [CAPACITY_PORTS] = "ports",
    [CAPACITY_MEMORY] = "memory",
};

/* --- what is asked for --- */

uint32_t capacity_workers(const struct model *model, uint64_t cpus)
{
    if (model->global.workers > 0) {
        return model->global.workers;
    }
    if (cpus == MACHINE_UNKNOWN || cpus == 0) {
        return 1;
    }
    return cpus < WORKERS_MAX ? (uint32_t)cpus : WORKERS_MAX;
}

/* An address that is connected to, and from how many. */
struct destination {
    struct addr address;
    uint64_t sources;
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

/* Requests of all clients share a backend's connections: clients at rest have none. */
static bool shares_connections(const struct model_pool *pool)
{
    return pool->reuse.mode == REUSE_REQUEST;
}

/* Appends the pool's destinations; false when sessions of it may need no port. Of a name that is
 * not resolved yet the text stands for the address. */
static bool add_destinations(const struct model_pool *pool, capacity_here_fn *is_here,
                             struct destination *list, size_t *n)
{
    if (shares_connections(pool) || pool->transparent) { /* that has each client's own ports */
        return false;
    }
    struct pool_sources sources;
    look_up(pool, is_here, &sources);
    for (size_t i = 0; i < pool->n_backends; i++) {
        const struct model_backend *backend = &pool->backends[i];
        struct destination *to = &list[*n];
        if (backend->address.ip.family == ADDR_UNIX) {
            return false;
        }
        *to = (struct destination){.address = backend->address,
                                   .sources = count_sources(&sources, backend->address.ip.family)};
        if (backend->address.ip.family == ADDR_NONE) {
            strncpy(to->address.path, backend->address_text, sizeof(to->address.path) - 1);
        }
        (*n)++;
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct destination *left = a, *right = b;
    int order = memcmp(&left->address, &right->address, sizeof(left->address));
    if (order != 0) {
        return order;
    }
    return left->sources < right->sources ? -1 : left->sources > right->sources;
}

/* An address that several pools connect to counts once, with the most sources. */
static uint64_t count_pairs(struct destination *list, size_t n)
{
    uint64_t pairs = 0;
    qsort(list, n, sizeof(*list), compare);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 == n ||
            memcmp(&list[i].address, &list[i + 1].address, sizeof(list[i].address)) != 0) {
            pairs += list[i].sources;
        }
    }
    return pairs;
}

/* All pools, or (used) those of them that are marked. */
static uint64_t pairs_of(const struct model_pool *pools, size_t n_pools, const bool *used,
                         capacity_here_fn *is_here)
{
    size_t n_backends = 0, n = 0;
    for (size_t i = 0; i < n_pools; i++) {
        n_backends += pools[i].n_backends;
    }
    struct destination *list = calloc(n_backends + 1, sizeof(*list));
    bool is_bounded = list != NULL;
    for (size_t i = 0; is_bounded && i < n_pools; i++) {
        is_bounded = (used != NULL && !used[i]) || add_destinations(&pools[i], is_here, list, &n);
    }
    uint64_t pairs = is_bounded && n > 0 ? count_pairs(list, n) : CAPACITY_UNBOUNDED;
    free(list);
    return pairs;
}

uint64_t capacity_pool_pairs(const struct model_pool *pool, capacity_here_fn *is_here)
{
    return pairs_of(pool, 1, NULL, is_here);
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

void capacity_ask(const struct model *model, uint32_t workers, capacity_here_fn *is_here,
                  struct capacity_demand *out)
{
    bool used[POOLS_MAX] = {false};
    *out = (struct capacity_demand){.workers = workers,
                                    .max_connections = model->global.max_connections};
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        out->listeners += service->n_listeners;
        used[service->pool_index] = true;
        if (service->fallback_index != SNAPSHOT_NONE) {
            used[service->fallback_index] = true;
        }
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        if (used[i]) {
            count_absent(&model->pools[i], is_here, out);
        }
    }
    out->port_pairs = pairs_of(model->pools, model->n_pools, used, is_here);
}

/* --- what there is --- */

static uint64_t worker_beside(const struct capacity_demand *demand)
{
    return WORKER_BESIDE + demand->workers + demand->listeners;
}

/* How many a worker has to splice with: one for each so many descriptors. */
static uint64_t pipes_of(uint64_t descriptors, uint64_t each)
{
    return descriptors / each < PIPES_MAX ? descriptors / each : PIPES_MAX;
}

static uint64_t by_descriptors(const struct machine *machine, const struct capacity_demand *demand)
{
    uint64_t beside = worker_beside(demand), least = CAPACITY_UNBOUNDED;
    if (machine->nofile_hard != MACHINE_UNKNOWN) {
        beside += 2 * pipes_of(machine->nofile_hard, PIPES_DESCRIPTORS);
        uint64_t usable = machine->nofile_hard > beside ? machine->nofile_hard - beside : 0;
        least = usable / CAPACITY_DESCRIPTORS_EACH * demand->workers;
    }
    if (machine->file_max != MACHINE_UNKNOWN && machine->file_used != MACHINE_UNKNOWN) {
        uint64_t used = machine->file_used + capacity_files(demand, 0);
        uint64_t usable = machine->file_max > used ? machine->file_max - used : 0;
        uint64_t system = usable / CAPACITY_DESCRIPTORS_EACH;
        least = system < least ? system : least;
    }
    return least;
}

uint64_t capacity_pair_ports(const struct machine *machine, uint64_t first, uint64_t last)
{
    return ports_limit((uint32_t)machine_count_ports(machine, first, last));
}

static uint64_t by_ports(const struct machine *machine, const struct capacity_demand *demand)
{
    if (demand->port_pairs == CAPACITY_UNBOUNDED || machine->port_first == MACHINE_UNKNOWN) {
        return CAPACITY_UNBOUNDED;
    }
    return capacity_pair_ports(machine, machine->port_first, machine->port_last) *
           demand->port_pairs;
}

static uint64_t by_memory(const struct machine *machine)
{
    uint64_t left = machine_memory_left(machine);
    if (left == MACHINE_UNKNOWN) {
        return CAPACITY_UNBOUNDED;
    }
    return left / CAPACITY_OF * CAPACITY_SHARE / (CAPACITY_OWN_BYTES + CAPACITY_KERNEL_BYTES);
}

void capacity_judge(const struct machine *machine, const struct capacity_demand *demand,
                    struct capacity *out)
{
    out->by[CAPACITY_DESCRIPTORS] = by_descriptors(machine, demand);
    out->by[CAPACITY_PORTS] = by_ports(machine, demand);
    out->by[CAPACITY_MEMORY] = by_memory(machine);
}

uint64_t capacity_least(const struct capacity *capacity)
{
    uint64_t least = CAPACITY_UNBOUNDED;
    for (size_t i = 0; i < CAPACITY_BOUND_COUNT; i++) {
        least = capacity->by[i] < least ? capacity->by[i] : least;
    }
    return least;
}

uint32_t capacity_limit(const struct capacity *capacity, uint32_t max_connections)
{
    uint64_t least = capacity_least(capacity);
    if (max_connections != 0) {
        return max_connections;
    }
    if (least == CAPACITY_UNBOUNDED) {
        return 0;
    }
    if (least == 0) {
        return 1; /* 0 would be none */
    }
    return least < UINT32_MAX ? (uint32_t)least : UINT32_MAX;
}

const char *capacity_limited_by(const struct capacity *capacity, uint32_t max_connections)
{
    uint64_t least = capacity_least(capacity);
    if (max_connections != 0 && max_connections <= least) {
        return "max_connections";
    }
    for (size_t i = 0; least != CAPACITY_UNBOUNDED && i < CAPACITY_BOUND_COUNT; i++) {
        if (capacity->by[i] == least) {
            return capacity_bound_names[i];
        }
    }
    return "nothing";
}

uint64_t capacity_buffers(const struct machine *machine, uint32_t workers, uint64_t asked)
{
    uint64_t left = machine_memory_left(machine);
    uint64_t least = workers * CAPACITY_BUFFERS_EACH;
    uint64_t share = left == MACHINE_UNKNOWN ? 0 : left / CAPACITY_BUFFERS_OF;
    if (asked != 0) {
        return asked;
    }
    least = least > CAPACITY_BUFFERS_MIN ? least : CAPACITY_BUFFERS_MIN;
    share = share < CAPACITY_BUFFERS_MAX ? share : CAPACITY_BUFFERS_MAX;
    return share > least ? share : least;
}

/* --- what so many would need --- */

uint64_t capacity_descriptors(const struct capacity_demand *demand, uint64_t connections)
{
    uint64_t busiest = (connections + demand->workers - 1) / demand->workers;
    uint64_t worker = busiest * CAPACITY_DESCRIPTORS_EACH + worker_beside(demand);
    worker += 2 * pipes_of(worker, PIPES_DESCRIPTORS - 2);
    uint64_t master = MASTER_BESIDE + (uint64_t)demand->workers * (2 + demand->listeners);
    return worker > master ? worker : master;
}

uint64_t capacity_files(const struct capacity_demand *demand, uint64_t connections)
{
    /* What is beside is counted in each process, though they share some of it. */
    return connections * CAPACITY_DESCRIPTORS_EACH +
           (worker_beside(demand) + 2 * PIPES_MAX) * demand->workers + MASTER_BESIDE;
}

uint32_t capacity_workers_for(const struct machine *machine, const struct capacity_demand *demand,
                              uint64_t connections)
{
    struct capacity_demand with = *demand;
    for (; with.workers <= WORKERS_MAX; with.workers++) {
        if (capacity_descriptors(&with, connections) <= machine->nofile_hard) {
            return with.workers;
        }
    }
    return 0;
}

uint64_t capacity_memory_bytes(uint64_t connections)
{
    return connections * (CAPACITY_OWN_BYTES + CAPACITY_KERNEL_BYTES) / CAPACITY_SHARE *
           CAPACITY_OF;
}
