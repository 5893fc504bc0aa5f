/*
 * What this machine allows: the settings and counters of the kernel that bound how many connections
 * it can carry. Read from /proc and /sys; whatever is not there or may not be read, as much is in a
 * container or a network namespace, is MACHINE_UNKNOWN, and no reader takes that for a fault. In
 * master and in sluicectl doctor.
 */
#ifndef SLUICE_PROC_MACHINE_H
#define SLUICE_PROC_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/str.h"

#define MACHINE_UNKNOWN UINT64_MAX
#define MACHINE_PORTS   65536

/* As struct machine has it. */
#define MACHINE_LINUX(major, minor) ((uint64_t)(major)*1000 + (minor))

struct machine {
    uint64_t kernel; /* Linux 6.18.3 is MACHINE_LINUX(6, 18) */
    /* Of one process: descriptors that it may have, and CPUs that it may run on. */
    uint64_t nofile_soft, nofile_hard;
    uint64_t cpus;
    /* Of all processes together. */
    uint64_t nr_open, file_max, file_used;
    uint64_t epoll_watches; /* of one user */
    uint64_t page_bytes;
    /* What the machine has, what of it is free, and what the tightest control group of the process
     * allows, of which it has used so much that cannot be taken back. No group with a limit:
     * unknown. */
    uint64_t memory_total_bytes;
    uint64_t memory_available_bytes;
    uint64_t group_max_bytes, group_used_bytes;
    /* Ports that the kernel chooses from, both ends included. */
    uint64_t port_first, port_last;
    uint64_t unprivileged_port_start;
    uint8_t reserved_ports[MACHINE_PORTS / 8]; /* a bit each: not to be chosen */
    /* Queues of what arrives. */
    uint64_t somaxconn, max_syn_backlog, syncookies, netdev_max_backlog;
    uint64_t backlog_drops; /* packets that found the last one full, since boot */
    /* TCP: vectors are minimum, default or pressure, maximum. tcp_mem is in pages, the others in
     * bytes. */
    uint64_t tcp_mem[3], tcp_rmem[3], tcp_wmem[3];
    uint64_t tcp_sockets; /* that there are now */
    uint64_t tw_reuse, migrate_req, ehash_entries;
    uint64_t conntrack_count, conntrack_max; /* unknown where the module is not loaded */
    bool conntrack_is_fixed; /* the maximum cannot be written, as in all namespaces but the first */
};

/* pid: whose limits and control group; 0 for this process. root goes before each path: "" but in
 * tests. */
void machine_read(const char *root, pid_t pid, struct machine *out);

/* Reads anew what an administrator changes while connections are there: ports and file-max. Whether
 * anything is another one than before; what cannot be read just now stays. */
bool machine_renew(const char *root, struct machine *machine);

/* How much memory there is for more: what the machine and the control group leave. */
uint64_t machine_memory_left(const struct machine *machine);
/* How much they would have if nothing were in use. */
uint64_t machine_memory_most(const struct machine *machine);
bool machine_is_reserved(const struct machine *machine, uint32_t port);
/* Whether the kernel may choose the port for a connection. */
bool machine_may_choose(const struct machine *machine, uint32_t port);
/* Appends such ports as ip_local_reserved_ports is written, as ranges: "22,1000-1010". */
void machine_append_ports(const uint8_t ports[static MACHINE_PORTS / 8], struct str *out);
/* How many ports from first to last may be chosen by the kernel. */
uint64_t machine_count_ports(const struct machine *machine, uint64_t first, uint64_t last);
/* Takes over from before what sessions use up: memory and open files. So a limit that is worked out
 * again while sessions are there is still that for all of them. */
void machine_keep_usage(struct machine *machine, const struct machine *before);
/* Whether connections may be opened from an address: it is here, or nothing can be said. */
bool machine_may_come_from(const struct addr_ip *ip);

#endif
