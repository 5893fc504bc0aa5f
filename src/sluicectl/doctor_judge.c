/*
 * Judges descriptors, memory and ports against a plan, and lists all judges. Pure. In sluicectl.
 *
 * What the kernel's settings mean is from its documentation: admin-guide/sysctl/fs.rst and
 * networking/ip-sysctl.rst.
 */
#include "sluicectl/doctor_judge.h"

#include <inttypes.h>
#include <string.h>

#define DESCRIPTORS_STEP                                                                           \
    1024 /* limits are asked for in these steps: room for what comes and goes */

const char *const doctor_state_names[DOCTOR_STATE_COUNT] = {
    [DOCTOR_GOOD] = "ok",
    [DOCTOR_ADVICE] = "advice",
    [DOCTOR_UNKNOWN] = "unknown",
    [DOCTOR_SHORT] = "too low",
};

bool doctor_is_known(uint64_t fact, struct doctor_row *row)
{
    if (fact != MACHINE_UNKNOWN)
        return true;
    row->state = DOCTOR_UNKNOWN;
    str_append(&row->now, "unknown");
    str_append(&row->why, "cannot be read here (a container, a network namespace, or an older "
                          "kernel)");
    return false;
}

static uint64_t round_up(uint64_t number, uint64_t step)
{
    return (number + step - 1) / step * step;
}

/* --- descriptors --- */

static uint64_t descriptors_needed(const struct doctor_plan *plan)
{
    return capacity_descriptors(&plan->demand, plan->connections);
}

static void append_workers(const struct machine *machine, const struct doctor_plan *plan,
                           struct str *out)
{
    uint32_t workers = capacity_workers_for(machine, &plan->demand, plan->connections);

    if (workers != 0)
        str_printf(out, ", or workers = %" PRIu32 " in the file", workers);
}

/* RLIMIT_NOFILE, getrlimit(2); the daemon raises its soft limit to the hard one. */
static bool judge_descriptors(const struct machine *machine, const struct doctor_plan *plan,
                              struct doctor_row *row)
{
    uint64_t needed = descriptors_needed(plan);
    uint64_t asked = round_up(needed, DESCRIPTORS_STEP);

    if (machine->nofile_hard != MACHINE_UNKNOWN && machine->nofile_hard > asked)
        asked = machine->nofile_hard; /* what is written into a unit takes nothing away */
    str_printf(&row->needed, "%" PRIu64, needed);
    str_printf(&row->value, "%" PRIu64, asked);
    row->directive = "LimitNOFILE";
    if (!doctor_is_known(machine->nofile_hard, row))
        return true;
    str_printf(&row->now, "%" PRIu64 "/%" PRIu64, machine->nofile_soft, machine->nofile_hard);
    str_printf(&row->why,
               "two for each connection of one of %" PRIu32
               " workers%s, and what a process has beside; now: soft/hard limit of %s",
               plan->demand.workers,
               plan->demand.workers > 1 ? ", whose shares the kernel's hash makes uneven" : "",
               plan->whose);
    if (machine->nofile_hard >= needed)
        return true;
    row->state = DOCTOR_SHORT;
    str_printf(&row->remedy,
               "LimitNOFILE=%" PRIu64 " in the unit, ulimit -Hn %" PRIu64
               " before the daemon is started",
               asked, asked);
    append_workers(machine, plan, &row->remedy);
    return true;
}

/* fs.rst, nr_open: no process's limit goes beyond. */
static bool judge_nr_open(const struct machine *machine, const struct doctor_plan *plan,
                          struct doctor_row *row)
{
    uint64_t needed = descriptors_needed(plan);

    str_printf(&row->needed, "%" PRIu64, needed);
    if (!doctor_is_known(machine->nr_open, row))
        return true;
    str_printf(&row->now, "%" PRIu64, machine->nr_open);
    str_append(&row->why, "no limit on descriptors of a process can be set beyond this");
    if (machine->nr_open >= needed)
        return true;
    row->state = DOCTOR_SHORT;
    str_printf(&row->value, "%" PRIu64, round_up(needed, DESCRIPTORS_STEP));
    return true;
}

/* fs.rst, file-max and file-nr. */
static bool judge_file_max(const struct machine *machine, const struct doctor_plan *plan,
                           struct doctor_row *row)
{
    uint64_t needed = capacity_files(&plan->demand, plan->connections);

    if (!doctor_is_known(machine->file_max, row) || !doctor_is_known(machine->file_used, row)) {
        str_printf(&row->needed, "%" PRIu64, needed);
        return true;
    }
    needed += machine->file_used;
    str_printf(&row->needed, "%" PRIu64, needed);
    str_printf(&row->now, "%" PRIu64, machine->file_max);
    str_printf(&row->why, "open files of all processes together; %" PRIu64 " are in use by others",
               machine->file_used);
    if (machine->file_max >= needed)
        return true;
    row->state = DOCTOR_SHORT;
    str_printf(&row->value, "%" PRIu64, round_up(needed, DESCRIPTORS_STEP));
    return true;
}

/* fs.rst, epoll/max_user_watches: for each user. */
static bool judge_epoll(const struct machine *machine, const struct doctor_plan *plan,
                        struct doctor_row *row)
{
    uint64_t needed = plan->connections * CAPACITY_DESCRIPTORS_EACH;

    str_printf(&row->needed, "%" PRIu64, needed);
    if (!doctor_is_known(machine->epoll_watches, row))
        return true;
    str_printf(&row->now, "%" PRIu64, machine->epoll_watches);
    str_append(&row->why, "sockets that the processes of one user may watch");
    if (machine->epoll_watches >= needed)
        return true;
    row->state = DOCTOR_SHORT;
    str_printf(&row->value, "%" PRIu64, round_up(needed, DESCRIPTORS_STEP));
    return true;
}

/* --- memory --- */

static void append_mib(struct str *out, uint64_t bytes)
{
    str_printf(out, "%" PRIu64 " MiB", bytes >> 20);
}

static bool judge_memory(const struct machine *machine, const struct doctor_plan *plan,
                         struct doctor_row *row)
{
    uint64_t needed = capacity_memory_bytes(plan->connections);
    uint64_t left = machine_memory_left(machine);
    bool is_group = left < machine->memory_available_bytes;

    append_mib(&row->needed, needed);
    if (!doctor_is_known(left, row))
        return true;
    append_mib(&row->now, left);
    str_printf(
        &row->why,
        "%s; %d bytes of ours and %d of the kernel's for each connection at rest, and an eighth "
        "kept for data under way",
        is_group ? "what its control group has left" : "what the machine has available",
        CAPACITY_OWN_BYTES, CAPACITY_KERNEL_BYTES);
    if (left >= needed)
        return true;
    row->state = DOCTOR_SHORT;
    if (is_group) {
        row->directive = "MemoryMax";
        str_printf(&row->value, "%" PRIu64 "M", ((machine->group_used_bytes + needed) >> 20) + 1);
    }
    str_printf(&row->remedy, "add memory%s, or max_connections = %" PRIu64 " in the file",
               is_group ? ", raise MemoryMax= of the unit" : "",
               plan->capacity.by[CAPACITY_MEMORY]);
    return true;
}

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

static bool is_narrow(const struct machine *machine, const struct doctor_plan *plan)
{
    return needs_ports(plan) &&
           ports_needed(plan) >
               machine_count_ports(machine, machine->port_first, machine->port_last) / 2;
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
               ", less a 32nd that is left alone; before Linux 6.3 fast up to half of the range",
               machine->port_first, machine->port_last, pairs);
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
    str_printf(&row->now, "%" PRIu64 " here", demand->sources - demand->sources_absent);
    str_printf(&row->needed, "%" PRIu64, demand->sources);
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

/* --- limits of the file's own --- */

static bool judge_limits(const struct doctor_plan *plan, enum capacity_bound bound,
                         const char *what, const char *remedy, struct doctor_row *row)
{
    uint64_t allowed = plan->capacity.by[bound];

    if (allowed == CAPACITY_UNBOUNDED)
        return false;
    str_printf(&row->now, "%" PRIu64, allowed);
    str_printf(&row->needed, "%" PRIu64, plan->connections);
    str_printf(&row->why, "what %s come to in this file", what);
    if (allowed >= plan->connections)
        return true;
    row->state = DOCTOR_SHORT;
    str_append(&row->remedy, remedy);
    return true;
}

static bool judge_services(const struct machine *machine, const struct doctor_plan *plan,
                           struct doctor_row *row)
{
    (void)machine;
    return judge_limits(plan, CAPACITY_SERVICES, "max_connections of all services",
                        "raise max_connections of services in the file", row);
}

static bool judge_backends(const struct machine *machine, const struct doctor_plan *plan,
                           struct doctor_row *row)
{
    (void)machine;
    return judge_limits(plan, CAPACITY_BACKENDS,
                        "max_connections of all backends, and the queues of their pools,",
                        "raise max_connections of backends in the file, or add backends", row);
}

/* One whose own max_connections is out of its backends' reach. */
static bool judge_limited_service(const struct machine *machine, const struct doctor_plan *plan,
                                  struct doctor_row *row)
{
    (void)machine;
    if (plan->limited_service[0] == '\0')
        return false;
    row->state = DOCTOR_ADVICE;
    str_printf(&row->now, "%" PRIu64, plan->limited_allows);
    str_printf(&row->needed, "%" PRIu64, plan->limited_asked);
    str_printf(&row->why,
               "max_connections of service %s is beyond those of its pool's backends with the "
               "pool's queue",
               plan->limited_service);
    str_append(&row->remedy, "raise those, add backends, or lower the service's");
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

/* As ranges. */
static void append_ports(const uint8_t ports[static MACHINE_PORTS / 8], struct str *out)
{
    for (unsigned port = 0; port < MACHINE_PORTS; port++) {
        unsigned last = port;

        if (!(ports[port / 8] >> port % 8 & 1))
            continue;
        while (last + 1 < MACHINE_PORTS && (ports[(last + 1) / 8] >> (last + 1) % 8 & 1))
            last++;
        str_printf(out, last > port ? "%s%u-%u" : "%s%u", out->len > 0 ? "," : "", port, last);
        port = last;
    }
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
    append_ports(reserved, &row->value);
    str_printf(&row->now, "%zu missing", exposed);
    str_append(&row->needed, "0 missing");
    str_append(&row->why, "ports that the daemon listens on are among those that connections are "
                          "given: one that has it stands in the way when it is started again");
    return true;
}

/* --- all --- */

static const struct doctor_judge judges[] = {
    {"descriptors of a process", false, judge_descriptors},
    {"fs.nr_open", true, judge_nr_open},
    {"fs.file-max", true, judge_file_max},
    {"fs.epoll.max_user_watches", true, judge_epoll},
    {"memory", false, judge_memory},
    {"net.ipv4.ip_local_port_range", true, judge_ports},
    {"source addresses", false, judge_sources},
    {"ports of one service", false, judge_narrow_service},
    {"max_connections of services", false, judge_services},
    {"max_connections of backends", false, judge_backends},
    {"max_connections of one service", false, judge_limited_service},
    {"net.ipv4.ip_local_reserved_ports", true, judge_reserved},
    {0},
};

static void judge_all(const struct doctor_judge *list, const struct machine *machine,
                      const struct doctor_plan *plan, struct doctor_report *out)
{
    for (; list->setting && out->n_rows < DOCTOR_ROWS_MAX; list++) {
        struct doctor_row *row = &out->rows[out->n_rows];

        *row = (struct doctor_row){.setting = list->setting, .is_key = list->is_key};
        if (!list->judge(machine, plan, row))
            continue;
        out->counts[row->state]++;
        out->n_rows++;
    }
}

void doctor_judge(const struct machine *machine, const struct doctor_plan *plan,
                  struct doctor_report *out)
{
    *out = (struct doctor_report){0};
    judge_all(judges, machine, plan, out);
    judge_all(doctor_network_judges, machine, plan, out);
    judge_all(doctor_conntrack_judges, machine, plan, out);
    judge_all(doctor_transparent_judges, machine, plan, out);
}

void doctor_report_free(struct doctor_report *report)
{
    for (size_t i = 0; i < report->n_rows; i++) {
        struct doctor_row *row = &report->rows[i];

        str_free(&row->now);
        str_free(&row->needed);
        str_free(&row->why);
        str_free(&row->remedy);
        str_free(&row->value);
    }
    *report = (struct doctor_report){0};
}
