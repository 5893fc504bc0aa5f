/*
 * Judges the kernel's queues and TCP settings against a plan. Pure. In sluicectl.
 *
 * What the settings mean is from the kernel's documentation: networking/ip-sysctl.rst where nothing
 * else is named, admin-guide/sysctl/net.rst,
 * admin-guide/kernel-parameters.txt.
 */
#include <inttypes.h>

#include "sluicectl/doctor_judge.h"

/* Of all sockets so many have data under way at one time, each at least a page of it: the guess
 * that tcp_mem is judged by. At rest a socket takes nothing of it. */
#define BUSY_PERCENT 10
/* Buffers that are smaller at most than this hold up a connection: 1 MiB in 10 ms is 100 MiB/s. */
#define BUFFER_BYTES_MIN (1024 * 1024)
/* What the kernel chooses on a machine with enough memory. */
#define RMEM_USUAL "4096 131072 6291456"
#define WMEM_USUAL "4096 16384 4194304"
/* Sockets that share a bucket of the hash table, on average, before it is worth a boot. */
#define CHAIN_MAX 4
/* A queue that is long enough for bursts: 16 ms of a million packets a second. The kernel counts
 * drops since boot, by which alone no length would ever do. */
#define NETDEV_BACKLOG_LONG 16384

static uint64_t sockets_of(const struct doctor_plan *plan)
{
    return plan->connections * CAPACITY_DESCRIPTORS_EACH;
}

static void advise(struct doctor_row *row, uint64_t value)
{
    row->state = DOCTOR_ADVICE;
    str_printf(&row->value, "%" PRIu64, value);
}

/* --- queues --- */

static bool judge_somaxconn(const struct machine *machine, const struct doctor_plan *plan,
                            struct doctor_row *row)
{
    str_printf(&row->needed, "%" PRIu32, plan->backlog);
    if (!doctor_is_known(machine->somaxconn, row))
        return true;
    str_printf(&row->now, "%" PRIu64, machine->somaxconn);
    str_printf(&row->why,
               "clients that each worker's queue holds until they are accepted; backlog of service "
               "%s, cut to this",
               plan->backlog_service);
    if (machine->somaxconn < plan->backlog)
        advise(row, plan->backlog);
    return true;
}

/* Only read while tcp_syncookies is 0, when its last quarter is kept for clients that are known
 * (net/ipv4/tcp_input.c, tcp_conn_request). Else the queue ends at backlog. */
static bool judge_syn_backlog(const struct machine *machine, const struct doctor_plan *plan,
                              struct doctor_row *row)
{
    uint64_t needed = ((uint64_t)plan->backlog * 4 + 2) / 3;
    bool is_read = machine->syncookies == 0;

    if (is_read)
        str_printf(&row->needed, "%" PRIu64, needed);
    else
        str_append(&row->needed, "any");
    if (!doctor_is_known(machine->max_syn_backlog, row))
        return true;
    str_printf(&row->now, "%" PRIu64, machine->max_syn_backlog);
    str_append(&row->why, is_read
                              ? "handshakes under way to each listening socket, of which a quarter "
                                "is kept for known clients; backlog and a third"
                              : "only counts while tcp_syncookies is 0");
    if (is_read && machine->max_syn_backlog < needed)
        advise(row, needed);
    return true;
}

static bool judge_syncookies(const struct machine *machine, const struct doctor_plan *plan,
                             struct doctor_row *row)
{
    (void)plan;
    str_append(&row->needed, "1");
    if (!doctor_is_known(machine->syncookies, row))
        return true;
    str_printf(&row->now, "%" PRIu64, machine->syncookies);
    str_append(&row->why, "without, a flood of SYN packets shuts clients out");
    if (machine->syncookies == 0)
        advise(row, 1);
    return true;
}

/* net.rst, netdev_max_backlog: one queue for each CPU, of interfaces without a queue of their own
 * (loopback, veth) and of packets that are steered to other CPUs. It is too short when it drops. */
static bool judge_netdev_backlog(const struct machine *machine, const struct doctor_plan *plan,
                                 struct doctor_row *row)
{
    uint64_t now = machine->netdev_max_backlog;
    bool drops = machine->backlog_drops != 0 && machine->backlog_drops != MACHINE_UNKNOWN;
    bool is_short = drops && now < NETDEV_BACKLOG_LONG;

    (void)plan;
    if (!doctor_is_known(now, row))
        return true;
    str_printf(&row->now, "%" PRIu64, now);
    str_printf(&row->needed, "%" PRIu64, is_short ? NETDEV_BACKLOG_LONG : now);
    if (machine->backlog_drops == MACHINE_UNKNOWN) {
        str_append(&row->why,
                   "packets on their way to a CPU; whether any was dropped is not known");
        row->state = DOCTOR_UNKNOWN;
        return true;
    }
    str_printf(&row->why, "packets on their way to a CPU; %" PRIu64 " were dropped since boot",
               machine->backlog_drops);
    if (is_short)
        advise(row, NETDEV_BACKLOG_LONG);
    else if (drops)
        str_append(&row->why, ", before it was that long or for want of a CPU: longer is no use");
    return true;
}

/* --- buffers --- */

/* In pages. The proportions are the kernel's own: 3/4, 1 and 3/2 (net/ipv4/tcp.c, tcp_init_mem). */
static bool judge_tcp_mem(const struct machine *machine, const struct doctor_plan *plan,
                          struct doctor_row *row)
{
    uint64_t pressure = sockets_of(plan) * BUSY_PERCENT / 100;

    str_printf(&row->needed, "%" PRIu64 " pages", pressure);
    if (!doctor_is_known(machine->tcp_mem[1], row))
        return true;
    str_printf(&row->now, "%" PRIu64 " pages", machine->tcp_mem[1]);
    str_printf(&row->why,
               "data under way of all connections, beyond which buffers shrink: a page for each of "
               "%d%% of the sockets; new data stop at %" PRIu64 " MiB",
               BUSY_PERCENT, machine->tcp_mem[2] * machine->page_bytes >> 20);
    if (machine->tcp_mem[1] >= pressure)
        return true;
    row->state = DOCTOR_ADVICE;
    str_printf(&row->value, "%" PRIu64 " %" PRIu64 " %" PRIu64, pressure / 4 * 3, pressure,
               pressure / 2 * 3);
    return true;
}

static bool judge_buffers(const uint64_t buffers[static 3], const char *usual, const char *what,
                          struct doctor_row *row)
{
    str_printf(&row->needed, "%d at most", BUFFER_BYTES_MIN);
    if (!doctor_is_known(buffers[2], row))
        return true;
    str_printf(&row->now, "%" PRIu64 " at most", buffers[2]);
    str_printf(&row->why,
               "%s of a socket: %" PRIu64
               " at first; a connection moves no more than the most in a "
               "round trip",
               what, buffers[1]);
    if (buffers[2] >= BUFFER_BYTES_MIN)
        return true;
    row->state = DOCTOR_ADVICE;
    str_append(&row->value, usual);
    return true;
}

static bool judge_rmem(const struct machine *machine, const struct doctor_plan *plan,
                       struct doctor_row *row)
{
    (void)plan;
    return judge_buffers(machine->tcp_rmem, RMEM_USUAL, "receive buffer", row);
}

static bool judge_wmem(const struct machine *machine, const struct doctor_plan *plan,
                       struct doctor_row *row)
{
    (void)plan;
    return judge_buffers(machine->tcp_wmem, WMEM_USUAL, "send buffer", row);
}

/* --- connections that come and go --- */

/* 2 does it for loopback only. Where a client ends first its backend connection stays in TIME-WAIT
 * for a minute, with its port; with this, and the timestamps that are usual, a second is enough
 * (net/ipv4/tcp_ipv4.c, tcp_twsk_unique). */
static bool judge_tw_reuse(const struct machine *machine, const struct doctor_plan *plan,
                           struct doctor_row *row)
{
    bool is_needed = plan->demand.ports.pairs != CAPACITY_UNBOUNDED;
    bool is_local = plan->backends_are_local;

    str_append(&row->needed, !is_needed ? "any" : is_local ? "1 or 2" : "1");
    if (!doctor_is_known(machine->tw_reuse, row))
        return true;
    str_printf(&row->now, "%" PRIu64, machine->tw_reuse);
    str_append(&row->why, "a port towards a backend is free again after a second instead of a "
                          "minute, where clients end first");
    if (is_needed && machine->tw_reuse != 1 && !(is_local && machine->tw_reuse == 2))
        advise(row, 1);
    return true;
}

static bool judge_migrate_req(const struct machine *machine, const struct doctor_plan *plan,
                              struct doctor_row *row)
{
    if (plan->demand.workers < 2 || plan->n_ports == 0)
        return false;
    str_append(&row->needed, "1");
    if (!doctor_is_there(machine, MACHINE_LINUX(5, 14), machine->migrate_req, row))
        return true;
    str_printf(&row->now, "%" PRIu64, machine->migrate_req);
    str_append(&row->why,
               "clients in a handshake with a worker's socket go to another's when it is "
               "closed (a stop, a removed address), instead of being reset");
    if (machine->migrate_req == 0)
        advise(row, 1);
    return true;
}

/* --- tables --- */

/* Read-only: the size is set when the kernel starts (kernel-parameters.txt, thash_entries). A
 * network namespace shares the first one's table, and says so by a negative number. */
static bool judge_ehash(const struct machine *machine, const struct doctor_plan *plan,
                        struct doctor_row *row)
{
    uint64_t needed = sockets_of(plan) / CHAIN_MAX;

    str_printf(&row->needed, "%" PRIu64, needed);
    if (!doctor_is_there(machine, MACHINE_LINUX(6, 1), machine->ehash_entries, row))
        return true;
    str_printf(&row->now, "%" PRIu64, machine->ehash_entries);
    str_printf(&row->why,
               "buckets that every packet's socket is looked up in, at most %d sockets each",
               CHAIN_MAX);
    if (machine->tcp_sockets != MACHINE_UNKNOWN)
        str_printf(&row->why, "; there are %" PRIu64 " now", machine->tcp_sockets);
    if (machine->ehash_entries >= needed)
        return true;
    row->state = DOCTOR_ADVICE;
    str_printf(&row->remedy, "boot with thash_entries=%" PRIu64, needed);
    return true;
}

const struct doctor_judge doctor_network_judges[] = {
    {"net.core.somaxconn", true, judge_somaxconn},
    {"net.ipv4.tcp_max_syn_backlog", true, judge_syn_backlog},
    {"net.ipv4.tcp_syncookies", true, judge_syncookies},
    {"net.core.netdev_max_backlog", true, judge_netdev_backlog},
    {"net.ipv4.tcp_mem", true, judge_tcp_mem},
    {"net.ipv4.tcp_rmem", true, judge_rmem},
    {"net.ipv4.tcp_wmem", true, judge_wmem},
    {"net.ipv4.tcp_tw_reuse", true, judge_tw_reuse},
    {"net.ipv4.tcp_migrate_req", true, judge_migrate_req},
    {"net.ipv4.tcp_ehash_entries", false, judge_ehash},
    {0},
};
