/*
 * Who the processes are. Started as root, workers and monitor become the configured user, and
 * master keeps user id 0 (the members of a listening group must share it) with only the
 * capabilities it needs. Started as anyone else nothing changes. Workers are left CAP_NET_RAW, and
 * master with it, only if a pool is transparent when the daemon starts: with it a process may also
 * read and forge any packet of the machine.
 */
#ifndef SLUICE_PROC_PRIVILEGES_H
#define SLUICE_PROC_PRIVILEGES_H

#include <sys/types.h>

#include "base/str.h"

struct privileges {
    bool drop; /* started as root */
    uid_t uid;
    gid_t gid;
    bool any_source; /* workers may connect from addresses that are not this machine's */
};

/*
 * Finds who to become. user, group: names, or NULL for the defaults (sluice if it exists, else
 * nobody; the user's own group). Returns 0, or -ENOENT with *out_problem.
 */
int privileges_find(const char *user, const char *group, struct privileges *out,
                    struct str *out_problem);
/* Whether this process may connect from addresses that are not this machine's. */
bool privileges_has_any_source(void);
/* In a fresh child: becomes that user for good and gains nothing ever after, but keeps what
 * any_source needs if that is set. Returns 0 or -errno. */
int privileges_drop(const struct privileges *privileges);
/* In master: gives up every capability it does not need. Returns 0, or -EPERM (nothing changed). */
int privileges_trim_master(const struct privileges *privileges);

#endif
