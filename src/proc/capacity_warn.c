/* What is said of a max_connections, and the like, that cannot be reached. Pure; in master. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "capacity.h"

#define SECTION "global"

struct warning {
    const struct machine *machine;
    const struct capacity_demand *demand;
    const struct capacity *capacity;
    struct errlist *errors;
};

/* Master's own: it cannot listen then. */
static bool lacks_descriptors(const struct machine *machine, const struct capacity_demand *demand)
{
    return capacity_master_descriptors(demand) > machine->nofile_hard;
}

static bool is_beyond(const struct warning *w, enum capacity_bound bound)
{
    if (bound == CAPACITY_DESCRIPTORS && lacks_descriptors(w->machine, w->demand)) {
        return false;
    }
    return w->demand->max_connections > w->capacity->by[bound];
}

static void warn(const struct warning *w, enum capacity_bound bound, const char *remedy)
{
    errlist_add(w->errors, ERRLIST_WARNING, w->demand->place.file, w->demand->place.line, SECTION,
                "max_connections = %u cannot be reached: %s allow%s %" PRIu64 "; %s",
                w->demand->max_connections, capacity_bound_names[bound],
                bound == CAPACITY_MEMORY ? "s" : "", w->capacity->by[bound], remedy);
}

static bool system_has_enough(const struct warning *w)
{
    uint64_t needed = capacity_files(w->demand, w->demand->max_connections);
    return w->machine->file_max == MACHINE_UNKNOWN || w->machine->file_used == MACHINE_UNKNOWN ||
           w->machine->file_max >= w->machine->file_used + needed;
}

/* No limit of a process goes beyond it (admin-guide/sysctl/fs.rst). */
static void append_nr_open(const struct machine *machine, uint64_t each, struct str *out)
{
    if (machine->nr_open != MACHINE_UNKNOWN && machine->nr_open < each) {
        str_printf(out,
                   ", and before that sysctl -w fs.nr_open=%" PRIu64
                   ", which allows no limit beyond %" PRIu64 " now",
                   each, machine->nr_open);
    }
}

/* each: what a process needs. */
static void append_limit(const struct machine *machine, const struct capacity_demand *demand,
                         uint64_t each, struct str *out)
{
    uint32_t workers = capacity_workers_for(machine, demand, demand->max_connections);
    str_printf(out,
               "start it with LimitNOFILE=%" PRIu64 " in its unit, or after ulimit -Hn %" PRIu64,
               each, each);
    append_nr_open(machine, each, out);
    if (workers != 0) {
        str_printf(out, ", or with workers = %" PRIu32, workers);
    }
}

static void warn_of_descriptors(const struct warning *w)
{
    uint32_t connections = w->demand->max_connections;
    uint64_t each = capacity_descriptors(w->demand, connections);
    STR_AUTO remedy = {0};

    if (each > w->machine->nofile_hard) {
        str_printf(&remedy, "each of %u workers may have %" PRIu64 " and needs %" PRIu64 ": ",
                   w->demand->workers, w->machine->nofile_hard, each);
        append_limit(w->machine, w->demand, each, &remedy);
    }
    if (!system_has_enough(w)) {
        str_printf(&remedy,
                   "%sall processes may have %" PRIu64 " and have %" PRIu64
                   ": sysctl -w fs.file-max=%" PRIu64,
                   remedy.len > 0 ? "; " : "", w->machine->file_max, w->machine->file_used,
                   w->machine->file_used + capacity_files(w->demand, connections));
    }
    warn(w, CAPACITY_DESCRIPTORS, str_text(&remedy));
}

static void warn_of_ports(const struct warning *w)
{
    const struct capacity_ports *ports = &w->demand->ports;
    if (ports->pairs == 0) {
        warn(w, CAPACITY_PORTS,
             "this machine has none of the source_addresses; give them to an "
             "interface, or leave them out");
        return;
    }
    uint64_t now = capacity_pair_ports(w->machine, w->machine->port_first, w->machine->port_last);
    uint64_t widest = capacity_ports_hold(
        ports, capacity_pair_ports(w->machine, CAPACITY_PORT_FIRST, CAPACITY_PORT_LAST));
    STR_AUTO remedy = {0};

    str_printf(&remedy,
               "%" PRIu64 " for each pair of a source and a backend address, here %" PRIu64, now,
               ports->pairs);
    if (ports->beside > 0) {
        str_printf(&remedy, ", and %" PRIu64 " by max_connections of backends", ports->beside);
    }
    str_append(&remedy, ": ");
    if (widest > w->capacity->by[CAPACITY_PORTS]) {
        str_printf(&remedy,
                   "sysctl -w net.ipv4.ip_local_port_range=\"%u %u\" allows %" PRIu64
                   " in all; beyond that ",
                   CAPACITY_PORT_FIRST, CAPACITY_PORT_LAST, widest);
    }
    str_append(&remedy, "give pools source_addresses, or add backends");
    warn(w, CAPACITY_PORTS, str_text(&remedy));
}

static void warn_of_memory(const struct warning *w)
{
    uint64_t left = machine_memory_left(w->machine);
    uint64_t needed = capacity_memory_bytes(w->demand->max_connections);
    bool by_group = left < w->machine->memory_available_bytes;
    STR_AUTO remedy = {0};

    str_printf(&remedy, "%" PRIu64 " MiB would be needed and %" PRIu64 " are left%s: add memory%s",
               needed >> 20, left >> 20, by_group ? " to its control group" : "",
               by_group ? ", or raise MemoryMax= of its unit" : "");
    warn(w, CAPACITY_MEMORY, str_text(&remedy));
}

static void warn_of_services(const struct warning *w)
{
    warn(w, CAPACITY_SERVICES,
         "that is what max_connections of all services come to; raise those, or lower this one");
}

static void warn_of_backends(const struct warning *w)
{
    warn(w, CAPACITY_BACKENDS,
         "that is what max_connections of all backends, and the queues of their pools, come to; "
         "raise those, add backends, or lower this one");
}

void capacity_warn(const struct machine *machine, const struct capacity_demand *demand,
                   const struct capacity *capacity, struct errlist *errors)
{
    static void (*const warnings[CAPACITY_BOUND_COUNT])(const struct warning *w) = {
        [CAPACITY_DESCRIPTORS] = warn_of_descriptors, [CAPACITY_PORTS] = warn_of_ports,
        [CAPACITY_MEMORY] = warn_of_memory,           [CAPACITY_SERVICES] = warn_of_services,
        [CAPACITY_BACKENDS] = warn_of_backends,
    };
    struct warning w = {machine, demand, capacity, errors};
    for (size_t i = 0; i < CAPACITY_BOUND_COUNT; i++) {
        if (is_beyond(&w, (enum capacity_bound)i)) {
            warnings[i](&w);
        }
    }
}

__attribute__((format(printf, 3, 4))) static void warn_of(const struct model_service *service,
                                                          struct errlist *errors,
                                                          const char *format, ...)
{
    char section[NAME_BYTES_MAX + 16];
    STR_AUTO text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    snprintf(section, sizeof(section), "service \"%s\"", service->name);
    errlist_add(errors, ERRLIST_WARNING, service->file, service->line, section, "%s",
                str_text(&text));
}

/* What it says itself, against what stands elsewhere in the file. */
static void warn_of_limits(const struct model *model, const struct model_service *service,
                           struct errlist *errors)
{
    uint64_t limits = capacity_service_limits(model, service);
    if (service->max_connections > limits) {
        warn_of(service, errors,
                "this service cannot have max_connections = %" PRIu32
                ": max_connections of its pool's backends, and the pool's queue, allow %" PRIu64
                "; raise those, add backends, or lower this one",
                service->max_connections, limits);
    }
}

void capacity_warn_services(const struct model *model, const struct machine *machine,
                            capacity_here_fn *is_here, const struct capacity_demand *demand,
                            struct errlist *errors)
{
    bool is_hidden = demand->ports.pairs == CAPACITY_UNBOUNDED;
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        struct capacity_service alone;
        warn_of_limits(model, service, errors);
        capacity_service_ask(model, service, machine, is_here, demand->max_connections, &alone);
        if (alone.holds >= alone.asked || (service->max_connections == 0 && !is_hidden)) {
            continue;
        }
        warn_of(service, errors,
                "this service cannot have max_connections = %" PRIu64
                ": ports towards its backends allow %" PRIu64
                "; give its pool source_addresses, add backends, or give the service a "
                "max_connections within that",
                alone.asked, alone.holds);
    }
}

/* --- other settings --- */

static void warn_of_master(const struct model *model, const struct machine *machine,
                           const struct capacity_demand *demand, struct errlist *errors)
{
    struct model_place place = model_global_place(model, "workers");
    uint64_t needed = capacity_descriptors(demand, demand->max_connections);
    STR_AUTO remedy = {0};
    append_limit(machine, demand, needed, &remedy);
    errlist_add(errors, ERRLIST_WARNING, place.file, place.line, SECTION,
                "master needs %" PRIu64 " descriptors to listen on %" PRIu64
                " addresses for %" PRIu32 " workers, and may have %" PRIu64 ": %s",
                capacity_master_descriptors(demand), demand->listeners, demand->workers,
                machine->nofile_hard, str_text(&remedy));
}

static void warn_of_buffers(const struct model *model, const struct machine *machine,
                            struct errlist *errors)
{
    uint64_t most = machine_memory_most(machine);
    bool by_group = most < machine->memory_total_bytes;
    if (most == MACHINE_UNKNOWN || model->global.buffer_bytes <= most) {
        return;
    }
    struct model_place place = model_global_place(model, "buffer_memory");
    errlist_add(errors, ERRLIST_WARNING, place.file, place.line, SECTION,
                "buffer_memory is %" PRIu64 " MiB, and %s has %" PRIu64
                " MiB of memory in all, which slow peers could use up: lower it, or leave it at "
                "\"auto\"%s",
                model->global.buffer_bytes >> 20, by_group ? "the control group" : "this machine",
                most >> 20, by_group ? ", or raise MemoryMax= of the unit" : "");
}

/* Of the longest, which says enough. listen(2): it is cut without a word. */
static void warn_of_backlog(const struct model *model, const struct machine *machine,
                            struct errlist *errors)
{
    const struct model_service *longest = NULL;
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        longest = longest == NULL || service->backlog > longest->backlog ? service : longest;
    }
    if (longest != NULL && longest->backlog > machine->somaxconn) {
        warn_of(longest, errors,
                "the kernel cuts backlog = %" PRIu32 " to %" PRIu64
                ": sysctl -w net.core.somaxconn=%" PRIu32 " before the daemon is started, or "
                "lower it",
                longest->backlog, machine->somaxconn, longest->backlog);
    }
}

void capacity_warn_settings(const struct model *model, const struct machine *machine,
                            const struct capacity_demand *demand, struct errlist *errors)
{
    if (lacks_descriptors(machine, demand)) {
        warn_of_master(model, machine, demand, errors);
    }
    warn_of_buffers(model, machine, errors);
    warn_of_backlog(model, machine, errors);
}

void capacity_warn_all(const struct model *model, const struct machine *machine, uint32_t workers,
                       capacity_here_fn *is_here, struct errlist *errors)
{
    struct capacity_demand demand;
    struct capacity capacity;
    capacity_ask(model, machine, workers, is_here, &demand);
    capacity_judge(machine, &demand, &capacity);
    capacity_warn(machine, &demand, &capacity, errors);
    capacity_warn_services(model, machine, is_here, &demand, errors);
    capacity_warn_settings(model, machine, &demand, errors);
}
