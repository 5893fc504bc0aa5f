/* How many client connections the daemon can carry here. Pure; in master and in sluicectl doctor.
 */
#include "capacity.h"

#include <math.h>

/* Descriptors of a worker that are neither sessions nor listeners: standard ones, loop, channel,
 * log, reserves, and what a message brings. Beside them, one to wake each worker. */
#define WORKER_BESIDE 32
/* Of master: the same, and the control socket. Beside them, a channel and a wake for each process,
 * and every worker's listening sockets. Clients of the control socket find room or are refused. */
#define MASTER_BESIDE 32
/* Of all processes: with those clients. */
#define FILES_BESIDE 96
/* How uneven workers' shares may get, in standard deviations: beyond six is one case in 10^9. */
#define DEVIATIONS 6

const char *const capacity_bound_names[CAPACITY_BOUND_COUNT] = {
    [CAPACITY_DESCRIPTORS] = "descriptors", [CAPACITY_PORTS] = "ports",
    [CAPACITY_MEMORY] = "memory",           [CAPACITY_SERVICES] = "services",
    [CAPACITY_BACKENDS] = "backends",
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

static void count_listeners(const struct model_service *service, struct capacity_demand *out)
{
    out->listeners += service->n_listeners;
    for (size_t i = 0; i < service->n_listeners; i++) {
        out->unix_listeners += service->listeners[i].address.ip.family == ADDR_UNIX;
    }
}

void capacity_ask(const struct model *model, const struct machine *machine, uint32_t workers,
                  capacity_here_fn *is_here, struct capacity_demand *out)
{
    *out = (struct capacity_demand){.workers = workers,
                                    .max_connections = model->global.max_connections,
                                    .place = model_global_place(model, "max_connections")};
    for (size_t i = 0; i < model->n_services; i++) {
        count_listeners(&model->services[i], out);
    }
    capacity_ports_ask(model, machine, is_here, out);
    capacity_limits_ask(model, out);
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

/*
 * The kernel chooses a worker for each connection by a hash (SO_REUSEPORT), so that the number of
 * one of W workers is binomial: of n = W * mean with p = 1 / W it has mean n p and variance
 * n p (1 - p) (any textbook, e.g. Feller, An Introduction to Probability Theory, chapter VI). What
 * the fullest is to have room for:
 */
static uint64_t busiest(uint64_t mean, uint32_t workers)
{
    double variance = (double)mean * (1 - 1.0 / workers);
    return mean + (uint64_t)ceil(DEVIATIONS * sqrt(variance));
}

/* The largest mean with which no worker needs more than room: m + d sqrt(m q) = room is quadratic
 * in sqrt(m), with d deviations and q = 1 - p. */
static uint64_t mean_within(uint64_t room, uint32_t workers)
{
    double half = DEVIATIONS * sqrt(1 - 1.0 / workers) / 2;
    double root = sqrt(half * half + (double)room) - half;
    uint64_t mean = (uint64_t)(root * root);
    while (busiest(mean + 1, workers) <= room) { /* what was rounded */
        mean++;
    }
    while (mean > 0 && busiest(mean, workers) > room) {
        mean--;
    }
    return mean;
}

static uint64_t by_descriptors(const struct machine *machine, const struct capacity_demand *demand)
{
    uint64_t beside = worker_beside(demand), least = CAPACITY_UNBOUNDED;
    if (machine->nofile_hard != MACHINE_UNKNOWN) {
        beside += 2 * pipes_of(machine->nofile_hard, PIPES_DESCRIPTORS);
        uint64_t usable = machine->nofile_hard > beside ? machine->nofile_hard - beside : 0;
        least = mean_within(usable / CAPACITY_DESCRIPTORS_EACH, demand->workers) * demand->workers;
        if (capacity_master_descriptors(demand) > machine->nofile_hard) {
            least = 0; /* it does not even start */
        }
    }
    if (machine->file_max != MACHINE_UNKNOWN && machine->file_used != MACHINE_UNKNOWN) {
        uint64_t used = machine->file_used + capacity_files(demand, 0);
        uint64_t usable = machine->file_max > used ? machine->file_max - used : 0;
        uint64_t system = usable / CAPACITY_DESCRIPTORS_EACH;
        least = system < least ? system : least;
    }
    return least;
}

static uint64_t by_ports(const struct machine *machine, const struct capacity_demand *demand)
{
    if (machine->port_first == MACHINE_UNKNOWN) {
        return CAPACITY_UNBOUNDED;
    }
    return capacity_ports_hold(
        &demand->ports, capacity_pair_ports(machine, machine->port_first, machine->port_last));
}

static uint64_t by_memory(const struct machine *machine)
{
    uint64_t left = machine_memory_left(machine);
    if (left == MACHINE_UNKNOWN) {
        return CAPACITY_UNBOUNDED;
    }
    return left / CAPACITY_OF * CAPACITY_SHARE / CAPACITY_EACH_BYTES;
}

void capacity_judge(const struct machine *machine, const struct capacity_demand *demand,
                    struct capacity *out)
{
    out->by[CAPACITY_DESCRIPTORS] = by_descriptors(machine, demand);
    out->by[CAPACITY_PORTS] = by_ports(machine, demand);
    out->by[CAPACITY_MEMORY] = by_memory(machine);
    out->by[CAPACITY_SERVICES] = demand->services;
    out->by[CAPACITY_BACKENDS] = demand->backends;
}

/* Of the first so many. */
static uint64_t least_of(const struct capacity *capacity, size_t n)
{
    uint64_t least = CAPACITY_UNBOUNDED;
    for (size_t i = 0; i < n; i++) {
        least = capacity->by[i] < least ? capacity->by[i] : least;
    }
    return least;
}

uint64_t capacity_least(const struct capacity *capacity)
{
    return least_of(capacity, CAPACITY_BOUND_COUNT);
}

uint32_t capacity_limit(const struct capacity *capacity, uint32_t max_connections)
{
    uint64_t least = least_of(capacity, CAPACITY_MACHINE_COUNT);
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

uint64_t capacity_master_descriptors(const struct capacity_demand *demand)
{
    uint64_t of_each = 2 + demand->listeners - demand->unix_listeners;
    return MASTER_BESIDE + demand->workers * of_each + demand->unix_listeners;
}

uint64_t capacity_descriptors(const struct capacity_demand *demand, uint64_t connections)
{
    uint64_t mean = (connections + demand->workers - 1) / demand->workers;
    uint64_t worker =
        busiest(mean, demand->workers) * CAPACITY_DESCRIPTORS_EACH + worker_beside(demand);
    worker += 2 * pipes_of(worker, PIPES_DESCRIPTORS - 2);
    uint64_t master = capacity_master_descriptors(demand);
    return worker > master ? worker : master;
}

uint64_t capacity_files(const struct capacity_demand *demand, uint64_t connections)
{
    /* What is beside is counted in each process, though they share some of it. */
    return connections * CAPACITY_DESCRIPTORS_EACH +
           (worker_beside(demand) + 2 * PIPES_MAX) * demand->workers + FILES_BESIDE;
}

static bool is_enough(const struct machine *machine, struct capacity_demand demand,
                      uint32_t workers, uint64_t connections)
{
    demand.workers = workers;
    return capacity_descriptors(&demand, connections) <= machine->nofile_hard;
}

uint32_t capacity_workers_for(const struct machine *machine, const struct capacity_demand *demand,
                              uint64_t connections)
{
    for (uint32_t workers = demand->workers; workers <= WORKERS_MAX; workers++) {
        if (is_enough(machine, *demand, workers, connections)) {
            return workers;
        }
    }
    for (uint32_t workers = demand->workers; workers > 0; workers--) {
        if (is_enough(machine, *demand, workers, connections)) {
            return workers;
        }
    }
    return 0;
}

uint64_t capacity_memory_bytes(uint64_t connections)
{
    return connections * CAPACITY_EACH_BYTES / CAPACITY_SHARE * CAPACITY_OF;
}
