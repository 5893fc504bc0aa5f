/*
 * What becomes of packets that backends of transparent pools send to clients: as this machine tells
 * by itself and by ip(8).
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_RETURN_H
#define SLUICE_SLUICECTL_DOCTOR_RETURN_H

#include <net/if.h>
#include <sys/types.h>

#include "base/str.h"
#include "proc/configuration.h"
#include "proc/machine.h"

enum doctor_family { DOCTOR_IPV4, DOCTOR_IPV6, DOCTOR_FAMILY_COUNT };

struct doctor_return {
    bool is_wanted[DOCTOR_FAMILY_COUNT]; /* by a transparent pool's backends */
    bool is_of_daemon;                   /* the capabilities are; else this process's */
    uint64_t capabilities;               /* a bit each, that are in effect */
    uint64_t src_valid_mark, rp_filter;  /* the highest of all interfaces */
    char valid_mark_at[IF_NAMESIZE];     /* an interface, or "all", that has the former */
    uint64_t nonlocal_bind, ip_forward;
    /* As ip prints them; "" where it cannot be asked. */
    struct str rules[DOCTOR_FAMILY_COUNT], routes[DOCTOR_FAMILY_COUNT];
};

/* pid: of the daemon, 0 for this process. Where no pool is transparent nothing else is read. *out
 * is to be released by doctor_return_free(). */
void doctor_return_read(const struct model *model, pid_t pid, struct doctor_return *out);
/* Whether a pool is transparent. */
bool doctor_return_wanted(const struct doctor_return *facts);
void doctor_return_free(struct doctor_return *facts); /* twice is harmless */

#endif
