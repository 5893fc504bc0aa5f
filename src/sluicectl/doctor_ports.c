/*
 * Judges ports against a plan: those towards backends, and those that are listened on. Pure. In
 * sluicectl.
 *
 * What the kernel's settings mean is from its documentation, networking/ip-sysctl.rst.
 */
#include <inttypes.h>
#include <string.h>

#include "sluicectl/doctor_judge.h"

/* --- ports towards backends --- */

/* ip-sysctl.rst: not under the ports that need privileges. */
static uint64_t first_port(const struct machine *machine)
{
    uint64_t start = machine->unprivileged_port_start;

    return start != MACHINE_UNKNOWN && start > CAPACITY_PORT_FIRST ? start : CAPACITY_PORT_FIRST;
}

static uint64_t count_ports(const struct machine *machine)
{
    return capacity_pair_ports(machine, machine->port_first, machine->port_last);
}

/* Of each pair. */
static uint64_t ports_needed(const struct doctor_plan *plan)
{
    const struct capacity_ports *ports = &plan->demand.ports;
    uint64_t rest = plan->connections > ports->beside ? plan->connections - ports->beside : 0;

    return ports->pairs == 0 ? rest : (rest + ports->pairs - 1) / ports->pairs;
}

/* Whether ports are what ends it. */
static bool needs_ports(const struct doctor_plan *plan)
{
    return capacity_ports_hold(&plan->demand.ports, 1) != CAPACITY_UNBOUNDED;
}

/* Whether the kernel finds all of a pair's ports as fast (IP_LOCAL_PORT_RANGE, which workers ask
 * for then; pool/ports.h). */
static bool is_always_fast(const struct machine *machine)
{
    return machine->kernel != MACHINE_UNKNOWN && machine->kernel >= MACHINE_LINUX(6, 3);
}

static bool is_narrow(const struct machine *machine, const struct doctor_plan *plan)
{
    uint64_t half = machine_count_ports(machine, machine->port_first, machine->port_last) / 2;

    return needs_ports(plan) &&
           ports_needed(plan) > (is_always_fast(machine) ? count_ports(machine) : half);
}

static bool can_widen(const struct machine *machine)
{
    return machine->port_first > first_port(machine) || machine->port_last < CAPACITY_PORT_LAST;
}

static void advise_range(const struct machine *machine, const struct doctor_plan *plan,
                         struct doctor_row *row)
{
    uint64_t first = first_port(machine);
    uint64_t widest = capacity_pair_ports(machine, first, CAPACITY_PORT_LAST);

    if (can_widen(machine))
        str_printf(&row->value, "%" PRIu64 " %d", first, CAPACITY_PORT_LAST);
    if (widest > 0 && widest < ports_needed(plan))
        str_printf(&row->remedy,
                   "%" PRIu64 " pairs of a source and a backend address are the least for that "
                   "many: give pools source_addresses, or add backends",
                   (plan->connections - plan->demand.ports.beside + widest - 1) / widest);
}

/*
 * ip-sysctl.rst, ip_local_port_range and ip_local_reserved_ports. A connection needs a port of its
 * own for the same two addresses and the same port of the backend; beyond half of the range the
 * kernel's search for a free one gets slow, before Linux 6.3.
 */
static bool judge_ports(const struct machine *machine, const struct doctor_plan *plan,
                        struct doctor_row *row)
{
    uint64_t pairs = plan->demand.ports.pairs;

    if (!needs_ports(plan)) {
        str_append(&row->now, "-");
        str_append(&row->needed, "0");
        str_append(&row->why,
                   "of some service, connections to backends that need no port of their own (Unix "
                   "sockets, shared by requests, or from each client's own address), or fewer than "
                   "there are ports by each backend's max_connections");
        return true;
    }
    uint64_t each = ports_needed(plan);

    str_printf(&row->needed, "%" PRIu64 " ports", each);
    if (!doctor_is_known(machine->port_first, row))
        return true;
    uint64_t ports = count_ports(machine);

    str_printf(&row->now, "%" PRIu64 " ports", ports);
    str_printf(&row->why,
               "%" PRIu64 " to %" PRIu64
               ", for each pair of a source and a backend address, here %" PRIu64
               ", less a 32nd that is left alone%s",
               machine->port_first, machine->port_last, pairs,
               is_always_fast(machine) ? "" : "; before Linux 6.3 fast up to half of the range");
    if (plan->demand.ports.beside > 0)
        str_printf(&row->why, "; beside them %" PRIu64 " by max_connections of backends",
                   plan->demand.ports.beside);
    if (pairs == 0) {
        row->state = DOCTOR_SHORT; /* no range is of any use then */
        return true;
    }
    if (!is_narrow(machine, plan))
        return true;
    row->state = each > ports ? DOCTOR_SHORT : DOCTOR_ADVICE;
    advise_range(machine, plan, row);
    return true;
}

/* Without those that are not here: what they would carry is counted nowhere. */
static bool judge_sources(const struct machine *machine, const struct doctor_plan *plan,
                          struct doctor_row *row)
{
    const struct capacity_demand *demand = &plan->demand;
    char text[ADDR_TEXT_MAX];

    (void)machine;
    if (demand->sources == 0)
        return false;
    str_printf(&row->needed, "%" PRIu64, demand->sources);
    if (!doctor_is_known(plan->is_far ? MACHINE_UNKNOWN : demand->sources_absent, row))
        return true;
    str_printf(&row->now, "%" PRIu64 " here", demand->sources - demand->sources_absent);
    if (demand->sources_absent == 0) {
        str_append(&row->why, "all of source_addresses are on this machine");
        return true;
    }
    bool is_in_vain = demand->sources_absent == demand->sources ||
                      (plan->narrow_service[0] != '\0' && plan->narrow_holds == 0);

    row->state = is_in_vain ? DOCTOR_SHORT : DOCTOR_ADVICE;
    (void)addr_ip_format(&demand->absent, false, text);
    str_printf(&row->why, "source_addresses has %s", text);
    if (demand->sources_absent > 1)
        str_printf(&row->why, " and %" PRIu64 " more", demand->sources_absent - 1);
    str_append(&row->why, " that this machine does not have now: nothing is connected from there");
    str_append(&row->remedy, "give them to an interface, or leave them out");
    return true;
}

/* Several services: all connections may come to one of them. */
static bool judge_narrow_service(const struct machine *machine, const struct doctor_plan *plan,
                                 struct doctor_row *row)
{
    (void)machine;
    if (plan->narrow_service[0] == '\0')
        return false;
    row->state = DOCTOR_ADVICE;
    str_printf(&row->now, "%" PRIu64, plan->narrow_holds);
    str_printf(&row->needed, "%" PRIu64, plan->narrow_asked);
    str_printf(&row->why,
               "service %s has the fewest pairs of addresses: fine while it is never asked "
               "to carry that many",
               plan->narrow_service);
    str_append(&row->remedy, "give its pool source_addresses, add backends, or give the service a "
                             "max_connections within that");
    return true;
}

/* --- ports that are listened on --- */

/* Whether the kernel may choose the port for a connection, now or once the range is as advised. */
static bool is_exposed(const struct machine *machine, const struct doctor_plan *plan, uint16_t port)
{
    bool is_wider = is_narrow(machine, plan) && can_widen(machine);
    uint64_t first = is_wider ? first_port(machine) : machine->port_first;
    uint64_t last = is_wider ? CAPACITY_PORT_LAST : machine->port_last;

    return port >= first && port <= last && !machine_is_reserved(machine, port);
}

/*
 * ip-sysctl.rst, ip_local_reserved_ports: never chosen by the kernel. A connection that has the
 * port of a service, or of status, keeps a daemon that is started again from listening on it.
 */
static bool judge_reserved(const struct machine *machine, const struct doctor_plan *plan,
                           struct doctor_row *row)
{
    uint8_t reserved[MACHINE_PORTS / 8];
    size_t exposed = 0;

    memcpy(reserved, machine->reserved_ports, sizeof(reserved));
    for (size_t i = 0; i < plan->n_ports; i++) {
        if (!is_exposed(machine, plan, plan->ports[i]))
            continue;
        reserved[plan->ports[i] / 8] |= (uint8_t)(1U << plan->ports[i] % 8);
        exposed++;
    }
    if (machine->port_first == MACHINE_UNKNOWN || exposed == 0)
        return false;
    row->state = DOCTOR_ADVICE;
    machine_append_ports(reserved, &row->value);
    str_printf(&row->now, "%zu missing", exposed);
    str_append(&row->needed, "0 missing");
    str_append(&row->why, "ports that the daemon listens on are among those that connections are "
                          "given: one that has it stands in the way when it is started again");
    return true;
}

const struct doctor_judge doctor_ports_judges[] = {
    {"net.ipv4.ip_local_port_range", true, judge_ports},
    {"source addresses", false, judge_sources},
    {"ports of one service", false, judge_narrow_service},
    {"net.ipv4.ip_local_reserved_ports", true, judge_reserved},
    {0},
};
