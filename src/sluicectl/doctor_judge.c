/*
 * Judges descriptors, memory and the file's own limits against a plan, and lists all judges. Pure.
 * In sluicectl.
 *
 * What the kernel's settings mean is from its documentation, admin-guide/sysctl/fs.rst.
 */
#include "sluicectl/doctor_judge.h"

#include <inttypes.h>
#include <string.h>

#define DESCRIPTORS_STEP                                                                           \
    1024 /* limits are asked for in these steps: room for what comes and goes */

/* LimitNOFILE of packaging/systemd/sluice.service.in. */
#define UNIT_DESCRIPTORS 1048576

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

bool doctor_is_there(const struct machine *machine, uint64_t since, uint64_t fact,
                     struct doctor_row *row)
{
    const uint64_t unit = MACHINE_LINUX(1, 0), kernel = machine->kernel;

    if (fact != MACHINE_UNKNOWN || kernel == MACHINE_UNKNOWN || kernel >= since)
        return doctor_is_known(fact, row);
    str_append(&row->now, "-");
    str_printf(&row->why,
               "not in this kernel: it came with Linux %" PRIu64 ".%" PRIu64
               ", and this is %" PRIu64 ".%" PRIu64,
               since / unit, since % unit, kernel / unit, kernel % unit);
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

/* What is written into a unit takes nothing away: neither from the unit that there is, nor from a
 * daemon that runs. */
static uint64_t ask_of_unit(const struct machine *machine, uint64_t needed)
{
    uint64_t most = needed > UNIT_DESCRIPTORS ? needed : UNIT_DESCRIPTORS;

    return machine->nofile_hard != MACHINE_UNKNOWN && machine->nofile_hard > most
               ? machine->nofile_hard
               : most;
}

static void put_directive(const struct machine *machine, uint64_t limit, struct doctor_row *row)
{
    row->directives[0] = "LimitNOFILE";
    str_printf(&row->value, "%" PRIu64, limit);
    if (machine->nr_open != MACHINE_UNKNOWN && machine->nr_open < limit)
        str_printf(&row->before,
                   "First raise fs.nr_open to %" PRIu64 " (sysctl -w fs.nr_open=%" PRIu64
                   ", and in /etc/sysctl.d): it is %" PRIu64 ", and no limit goes beyond it.",
                   limit, limit, machine->nr_open);
}

static void explain_descriptors(const struct doctor_plan *plan, uint64_t needed, struct str *out)
{
    const struct capacity_demand *demand = &plan->demand;

    if (needed == capacity_master_descriptors(demand))
        str_printf(out,
                   "master's: to listen on %" PRIu64 " addresses for %" PRIu32
                   " workers, a socket each",
                   demand->listeners, demand->workers);
    else
        str_printf(out,
                   "two for each connection of one of %" PRIu32
                   " workers%s, and what a process has beside",
                   demand->workers,
                   demand->workers > 1 ? ", whose shares the kernel's hash makes uneven" : "");
    str_printf(out, "; now: soft/hard limit of %s", plan->whose);
}

/* RLIMIT_NOFILE, getrlimit(2); the daemon raises its soft limit to the hard one. */
static bool judge_descriptors(const struct machine *machine, const struct doctor_plan *plan,
                              struct doctor_row *row)
{
    uint64_t needed = descriptors_needed(plan);
    uint64_t asked = round_up(needed, DESCRIPTORS_STEP);

    str_printf(&row->needed, "%" PRIu64, needed);
    put_directive(machine, ask_of_unit(machine, asked), row);
    if (!doctor_is_known(machine->nofile_hard, row))
        return true;
    str_printf(&row->now, "%" PRIu64 "/%" PRIu64, machine->nofile_soft, machine->nofile_hard);
    explain_descriptors(plan, needed, &row->why);
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

/* Of what the file wants to have in buffers, that for which the eighth that is kept has no room. */
static uint64_t buffers_needed(const struct doctor_plan *plan, uint64_t bytes)
{
    uint64_t kept = bytes / CAPACITY_BUFFERS_OF;

    return plan->buffer_bytes > kept ? plan->buffer_bytes - kept : 0;
}

static void explain_memory(const struct doctor_plan *plan, bool is_group, struct str *out)
{
    str_printf(
        out,
        "%s; %d bytes of ours and %d of the kernel's for each connection at rest, and an eighth "
        "kept for data under way",
        is_group ? "what its control group has left" : "what the machine has available",
        CAPACITY_OWN_BYTES, CAPACITY_KERNEL_BYTES);
    if (plan->buffer_bytes != 0) {
        str_append(out, "; with buffer_memory = ");
        append_mib(out, plan->buffer_bytes);
    }
}

static bool judge_memory(const struct machine *machine, const struct doctor_plan *plan,
                         struct doctor_row *row)
{
    uint64_t rest = capacity_memory_bytes(plan->connections);
    uint64_t needed = rest + buffers_needed(plan, rest);
    uint64_t left = machine_memory_left(machine);
    bool is_group = left < machine->memory_available_bytes;

    append_mib(&row->needed, needed);
    if (!doctor_is_known(left, row))
        return true;
    append_mib(&row->now, left);
    explain_memory(plan, is_group, &row->why);
    if (left >= needed)
        return true;
    /* Buffers are used by slow peers alone, and perhaps never. */
    bool is_short = left < rest || plan->buffer_bytes > machine_memory_most(machine);
    row->state = is_short ? DOCTOR_SHORT : DOCTOR_ADVICE;
    uint64_t asked = needed <= machine->memory_available_bytes ? needed : rest;
    if (is_group && left < asked) {
        row->directives[0] = "MemoryMax";
        str_printf(&row->value, "%" PRIu64 "M", ((machine->group_used_bytes + asked) >> 20) + 1);
    }
    str_printf(&row->remedy, "add memory%s", is_group ? ", raise MemoryMax= of the unit" : "");
    if (needed > rest)
        str_append(&row->remedy, ", lower buffer_memory in the file");
    if (left < rest)
        str_printf(&row->remedy, ", or max_connections = %" PRIu64 " in the file",
                   plan->capacity.by[CAPACITY_MEMORY]);
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

/* --- all --- */

static const struct doctor_judge judges[] = {
    {"descriptors of a process", false, judge_descriptors},
    {"fs.nr_open", true, judge_nr_open},
    {"fs.file-max", true, judge_file_max},
    {"fs.epoll.max_user_watches", true, judge_epoll},
    {"memory", false, judge_memory},
    {"max_connections of services", false, judge_services},
    {"max_connections of backends", false, judge_backends},
    {"max_connections of one service", false, judge_limited_service},
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
    judge_all(doctor_ports_judges, machine, plan, out);
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
        str_free(&row->before);
    }
    *report = (struct doctor_report){0};
}
