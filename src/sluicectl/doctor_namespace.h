/*
 * The network namespace that the running daemon lives in: settings of the network are those of
 * whoever reads them.
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_NAMESPACE_H
#define SLUICE_SLUICECTL_DOCTOR_NAMESPACE_H

#include <sys/types.h>

#include "base/str.h"
#include "proc/machine.h"

enum doctor_namespace {
    DOCTOR_NAMESPACE_SAME,    /* or no daemon, or it cannot be told */
    DOCTOR_NAMESPACE_ENTERED, /* another, which this process is in from now on */
    DOCTOR_NAMESPACE_SHUT,    /* another, which cannot be entered */
};

/* Goes to the daemon's, for good. What there is to be told of it is appended to *out_note. pid 0:
 * no daemon. */
enum doctor_namespace doctor_namespace_enter(pid_t pid, struct str *out_note);
/* Makes unknown what was read in a namespace that is not the daemon's. */
void doctor_namespace_forget(struct machine *machine);

#endif
