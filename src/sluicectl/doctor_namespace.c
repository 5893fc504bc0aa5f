/*
 * Goes to the daemon's network namespace (setns(2), namespaces(7)). In sluicectl, which is one
 * thread there and ends soon after.
 */
#include "sluicectl/doctor_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"

#define OWN "/proc/self/ns/net"

/* Whoever may not look at the daemon's takes it for the same, as it mostly is. */
static bool is_another(const char *path)
{
    struct stat theirs, ours;

    return stat(path, &theirs) == 0 && stat(OWN, &ours) == 0 &&
           (theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev);
}

static int enter(const char *path)
{
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd >= 0 && setns(fd, CLONE_NEWNET) == 0 ? 0 : -errno;
}

enum doctor_namespace doctor_namespace_enter(pid_t pid, struct str *out_note)
{
    char path[64];
    int result;

    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    if (pid == 0 || !is_another(path))
        return DOCTOR_NAMESPACE_SAME;
    result = enter(path);
    if (result == 0) {
        str_append(out_note, "the daemon has a network namespace of its own: settings of the "
                             "network are those in there, and are to be made there");
        return DOCTOR_NAMESPACE_ENTERED;
    }
    str_printf(out_note,
               "the daemon has a network namespace of its own, which cannot be entered (%s): its "
               "settings of the network are unknown; ask as root, and see its show info",
               strerror(-result));
    return DOCTOR_NAMESPACE_SHUT;
}

static void forget(uint64_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        numbers[i] = MACHINE_UNKNOWN;
}

void doctor_namespace_forget(struct machine *machine)
{
    machine->port_first = machine->port_last = MACHINE_UNKNOWN;
    machine->unprivileged_port_start = MACHINE_UNKNOWN;
    machine->somaxconn = machine->max_syn_backlog = machine->syncookies = MACHINE_UNKNOWN;
    machine->tw_reuse = machine->migrate_req = machine->ehash_entries = MACHINE_UNKNOWN;
    machine->conntrack_count = machine->conntrack_max = machine->tcp_sockets = MACHINE_UNKNOWN;
    forget(machine->tcp_rmem, 3);
    forget(machine->tcp_wmem, 3);
    memset(machine->reserved_ports, 0, sizeof(machine->reserved_ports));
}
