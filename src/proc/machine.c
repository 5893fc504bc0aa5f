/* What this machine allows, from /proc. Owns nothing. In master and in sluicectl doctor. */
#include "machine.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "machine_file.h"
#include "machine_memory.h"

struct setting {
    const char *path;
    size_t offset;
    size_t n; /* numbers */
};

#define SETTING(path, field, n)                                                                    \
    {                                                                                              \
        path, offsetof(struct machine, field), n                                                   \
    }

#define CONNTRACK_MAX "/proc/sys/net/netfilter/nf_conntrack_max"
#define FILE_MAX      "/proc/sys/fs/file-max"

static const struct setting settings[] = {
    SETTING("/proc/sys/fs/nr_open", nr_open, 1),
    SETTING(FILE_MAX, file_max, 1),
    SETTING("/proc/sys/fs/file-nr", file_used, 1), /* the first: those in use */
    SETTING("/proc/sys/fs/epoll/max_user_watches", epoll_watches, 1),
    SETTING("/proc/sys/net/core/somaxconn", somaxconn, 1),
    SETTING("/proc/sys/net/core/netdev_max_backlog", netdev_max_backlog, 1),
    SETTING("/proc/sys/net/ipv4/ip_unprivileged_port_start", unprivileged_port_start, 1),
    SETTING("/proc/sys/net/ipv4/tcp_max_syn_backlog", max_syn_backlog, 1),
    SETTING("/proc/sys/net/ipv4/tcp_syncookies", syncookies, 1),
    SETTING("/proc/sys/net/ipv4/tcp_mem", tcp_mem, 3),
    SETTING("/proc/sys/net/ipv4/tcp_rmem", tcp_rmem, 3),
    SETTING("/proc/sys/net/ipv4/tcp_wmem", tcp_wmem, 3),
    SETTING("/proc/sys/net/ipv4/tcp_tw_reuse", tw_reuse, 1),
    SETTING("/proc/sys/net/ipv4/tcp_migrate_req", migrate_req, 1),
    SETTING("/proc/sys/net/ipv4/tcp_ehash_entries", ehash_entries, 1),
    SETTING("/proc/sys/net/netfilter/nf_conntrack_count", conntrack_count, 1),
    SETTING(CONNTRACK_MAX, conntrack_max, 1),
};

/* "6.18.3-amd64" */
static void read_kernel(const char *root, struct machine *out)
{
    unsigned major, minor;
    STR_AUTO text = {0};

    (void)machine_file_read(root, "/proc/sys/kernel/osrelease", &text);
    bool is_good = sscanf(str_text(&text), "%3u.%3u", &major, &minor) == 2;
    out->kernel = is_good ? MACHINE_LINUX(major, minor) : MACHINE_UNKNOWN;
}

/* --- of the process --- */

static void read_process(const char *root, pid_t pid, struct machine *out)
{
    static const char key[] = "Max open files";
    char path[64] = "/proc/self/limits";
    uint64_t limits[2] = {MACHINE_UNKNOWN, MACHINE_UNKNOWN};
    STR_AUTO text = {0};

    if (pid != 0) {
        snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
    }
    (void)machine_file_read(root, path, &text);
    const char *line = strstr(str_text(&text), key);
    if (line != NULL) {
        machine_text_numbers(line + strlen(key), limits, 2);
    }
    out->nofile_soft = limits[0];
    out->nofile_hard = limits[1];

    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    bool is_known = sched_getaffinity(pid, sizeof(cpus), &cpus) == 0;
    out->cpus = is_known ? (uint64_t)CPU_COUNT(&cpus) : MACHINE_UNKNOWN;
}

/* --- ports --- */

/* "1,2-4,10-10" */
static void read_reserved_ports(const char *root, struct machine *out)
{
    STR_AUTO text = {0};
    (void)machine_file_read(root, "/proc/sys/net/ipv4/ip_local_reserved_ports", &text);
    const char *at = str_text(&text);
    unsigned first, last;
    int used;

    memset(out->reserved_ports, 0, sizeof(out->reserved_ports));
    while (sscanf(at, "%5u%n", &first, &used) == 1) {
        at += used;
        last = first;
        if (sscanf(at, "-%5u%n", &last, &used) == 1) {
            at += used;
        }
        for (unsigned port = first; port <= last && port < MACHINE_PORTS; port++) {
            out->reserved_ports[port / 8] |= (uint8_t)(1U << port % 8);
        }
        at += *at == ',';
    }
}

static void read_ports(const char *root, struct machine *out)
{
    uint64_t range[2];
    machine_file_numbers(root, "/proc/sys/net/ipv4/ip_local_port_range", range, 2);
    out->port_first = range[0];
    out->port_last = range[1];
    read_reserved_ports(root, out);
}

bool machine_is_reserved(const struct machine *machine, uint32_t port)
{
    return port < MACHINE_PORTS && (machine->reserved_ports[port / 8] >> port % 8 & 1) != 0;
}

uint64_t machine_count_ports(const struct machine *machine, uint64_t first, uint64_t last)
{
    uint64_t n = 0, end = last < MACHINE_PORTS ? last + 1 : MACHINE_PORTS;
    for (uint64_t port = first; port < end;) {
        if (port % 8 == 0 && port + 8 <= end && machine->reserved_ports[port / 8] == 0) {
            n += 8; /* as nearly all are */
            port += 8;
        } else {
            n += !machine_is_reserved(machine, (uint32_t)port);
            port++;
        }
    }
    return n;
}

bool machine_may_choose(const struct machine *machine, uint32_t port)
{
    return port >= machine->port_first && port <= machine->port_last &&
           !machine_is_reserved(machine, port);
}

void machine_append_ports(const uint8_t ports[static MACHINE_PORTS / 8], struct str *out)
{
    const char *between = "";
    for (unsigned port = 0; port < MACHINE_PORTS; port++) {
        unsigned last = port;
        if (!(ports[port / 8] >> port % 8 & 1)) {
            continue;
        }
        while (last + 1 < MACHINE_PORTS && (ports[(last + 1) / 8] >> (last + 1) % 8 & 1)) {
            last++;
        }
        str_printf(out, last > port ? "%s%u-%u" : "%s%u", between, port, last);
        between = ",";
        port = last;
    }
}

/* --- counters --- */

/* A line for each CPU, in hexadecimal; the second number counts packets that found the queue of
 * netdev_max_backlog full (net/core/net-procfs.c, softnet_seq_show). */
static void read_backlog_drops(const char *root, struct machine *out)
{
    STR_AUTO text = {0};
    out->backlog_drops = MACHINE_UNKNOWN;
    if (!machine_file_read(root, "/proc/net/softnet_stat", &text)) {
        return;
    }
    out->backlog_drops = 0;
    for (const char *line = str_text(&text); line != NULL && *line != '\0';) {
        unsigned processed, dropped;
        if (sscanf(line, "%x %x", &processed, &dropped) == 2) {
            out->backlog_drops += dropped;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
}

/* "TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1" */
static void read_sockets(const char *root, struct machine *out)
{
    STR_AUTO text = {0};
    (void)machine_file_read(root, "/proc/net/sockstat", &text);
    const char *line = strstr(str_text(&text), "TCP: ");
    const char *count = line != NULL ? strstr(line, " alloc ") : NULL;
    machine_text_numbers(count != NULL ? count + strlen(" alloc ") : "", &out->tcp_sockets, 1);
}

/* Read-only in all network namespaces but the first (net/netfilter/nf_conntrack_standalone.c,
 * nf_conntrack_standalone_init_sysctl). */
static bool is_read_only(const char *root, const char *path)
{
    char full[PATH_MAX];
    struct stat status;
    snprintf(full, sizeof(full), "%s%s", root, path);
    return stat(full, &status) == 0 && (status.st_mode & S_IWUSR) == 0;
}

void machine_read(const char *root, pid_t pid, struct machine *out)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        uint64_t *numbers = (uint64_t *)(void *)((char *)out + settings[i].offset);
        machine_file_numbers(root, settings[i].path, numbers, settings[i].n);
    }
    out->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    out->conntrack_is_fixed = is_read_only(root, CONNTRACK_MAX);
    read_kernel(root, out);
    read_process(root, pid, out);
    read_ports(root, out);
    read_backlog_drops(root, out);
    read_sockets(root, out);
    machine_memory_read(root, pid, out);
}

bool machine_renew(const char *root, struct machine *machine)
{
    struct machine now = *machine;
    read_ports(root, &now);
    if (now.port_first == MACHINE_UNKNOWN) {
        now = *machine;
    }
    machine_file_numbers(root, FILE_MAX, &now.file_max, 1);
    if (now.file_max == MACHINE_UNKNOWN) {
        now.file_max = machine->file_max;
    }
    bool changed =
        now.file_max != machine->file_max || now.port_first != machine->port_first ||
        now.port_last != machine->port_last ||
        memcmp(now.reserved_ports, machine->reserved_ports, sizeof(now.reserved_ports)) != 0;
    *machine = now;
    return changed;
}

void machine_keep_usage(struct machine *machine, const struct machine *before)
{
    machine->memory_available_bytes = before->memory_available_bytes;
    machine->group_used_bytes = before->group_used_bytes;
    machine->file_used = before->file_used;
}

/* Asking the kernel and not the list of interfaces: whole networks may be local by a route. */
bool machine_may_come_from(const struct addr_ip *ip)
{
    struct sockaddr_storage address;
    socklen_t len = addr_ip_to_sockaddr(ip, &address);
    FD_AUTO fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 || bind(fd, (struct sockaddr *)&address, len) == 0 || errno != EADDRNOTAVAIL;
}
