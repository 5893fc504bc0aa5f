/*
 * What a configuration asks of the machine, in figures. Pure. In sluicectl.
 */
#include "sluicectl/doctor_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_ports(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void add_port(const struct addr *address, struct doctor_plan *out, size_t *n)
{
    if (address->ip.port != 0 && *n < DOCTOR_PORTS_MAX)
        out->ports[(*n)++] = address->ip.port;
}

static void list_ports(const struct model *model, struct doctor_plan *out)
{
    const char *problem;
    struct addr status;
    size_t n = 0;

    for (size_t i = 0; i < model->n_services; i++)
        for (size_t k = 0; k < model->services[i].n_listeners; k++)
            add_port(&model->services[i].listeners[k].address, out, &n);
    if (model->global.status && addr_parse(model->global.status, true, &status, &problem) == 0)
        add_port(&status, out, &n);
    qsort(out->ports, n, sizeof(*out->ports), compare_ports);
    for (size_t i = 0; i < n; i++)
        if (out->n_ports == 0 || out->ports[out->n_ports - 1] != out->ports[i])
            out->ports[out->n_ports++] = out->ports[i];
}

static void find_backlog(const struct model *model, struct doctor_plan *out)
{
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];

        if (service->backlog <= out->backlog)
            continue;
        out->backlog = service->backlog;
        snprintf(out->backlog_service, sizeof(out->backlog_service), "%s", service->name);
    }
}

static void find_narrow_service(const struct model *model, const struct machine *machine,
                                capacity_here_fn *is_here, struct doctor_plan *out)
{
    for (size_t i = 0; model->n_services > 1 && i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        struct capacity_service alone;

        capacity_service_ask(model, service, machine, is_here, out->connections, &alone);
        if (alone.holds >= alone.asked ||
            (out->narrow_service[0] != '\0' && alone.holds >= out->narrow_holds))
            continue;
        out->narrow_holds = alone.holds;
        out->narrow_asked = alone.asked;
        snprintf(out->narrow_service, sizeof(out->narrow_service), "%s", service->name);
    }
}

static void find_limited_service(const struct model *model, struct doctor_plan *out)
{
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        uint64_t allows = capacity_service_limits(model, service);

        if (allows >= service->max_connections ||
            (out->limited_service[0] != '\0' && allows >= out->limited_allows))
            continue;
        out->limited_allows = allows;
        out->limited_asked = service->max_connections;
        snprintf(out->limited_service, sizeof(out->limited_service), "%s", service->name);
    }
}

static bool is_local(const struct addr_ip *ip)
{
    return ip->family == ADDR_UNIX || addr_ip_is_loopback(ip);
}

static void look_at_backends(const struct model *model, struct doctor_plan *out)
{
    out->backends_are_local = true;
    for (size_t i = 0; i < model->n_pools; i++)
        for (size_t k = 0; k < model->pools[i].n_backends; k++) {
            const struct addr_ip *ip = &model->pools[i].backends[k].address.ip;

            out->backends_are_local &= is_local(ip);
            out->dials_tcp |= ip->family != ADDR_UNIX;
        }
}

static uint64_t less(uint64_t used, uint64_t ours)
{
    if (used == MACHINE_UNKNOWN)
        return used;
    return used > ours ? used - ours : 0;
}

void doctor_discount(struct machine *machine, uint64_t connections)
{
    uint64_t bytes = connections * CAPACITY_EACH_BYTES;
    uint64_t sockets = connections * CAPACITY_DESCRIPTORS_EACH;

    if (machine->memory_available_bytes != MACHINE_UNKNOWN)
        machine->memory_available_bytes += bytes;
    machine->group_used_bytes = less(machine->group_used_bytes, bytes);
    machine->file_used = less(machine->file_used, sockets);
    machine->tcp_sockets = less(machine->tcp_sockets, sockets);
}

/* What the file asks for; where it leaves that to the machine, what is possible, by the file's own
 * limits too. */
static uint64_t find_scale(const struct capacity *capacity, uint32_t max_connections)
{
    uint64_t limit = capacity_limit(capacity, max_connections);
    uint64_t least = capacity_least(capacity);

    if (max_connections != 0 || least == CAPACITY_UNBOUNDED)
        return limit;
    return least == 0 ? limit : least < UINT32_MAX ? least : UINT32_MAX;
}

void doctor_plan(const struct model *model, const struct machine *machine,
                 capacity_here_fn *is_here, uint64_t connections, struct doctor_plan *out)
{
    *out = (struct doctor_plan){.connections = connections,
                                .whose = "this process",
                                .buffer_bytes = model->global.buffer_bytes};
    capacity_ask(model, machine, capacity_workers(model, machine->cpus), is_here, &out->demand);
    capacity_judge(machine, &out->demand, &out->capacity);
    if (connections == 0) {
        out->is_possible = model->global.max_connections == 0;
        out->connections = find_scale(&out->capacity, model->global.max_connections);
    }
    find_backlog(model, out);
    list_ports(model, out);
    find_narrow_service(model, machine, is_here, out);
    find_limited_service(model, out);
    look_at_backends(model, out);
}
