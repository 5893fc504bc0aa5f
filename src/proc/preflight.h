/*
 * What only the target machine can know about a configuration: names that do not resolve, users
 * and folders that do not exist, addresses that are not here, programs that cannot be run.
 * Warnings, or errors when strict. In master and in sluiced -t.
 */
#ifndef SLUICE_PROC_PREFLIGHT_H
#define SLUICE_PROC_PREFLIGHT_H

#include <stdbool.h>

#include "base/errlist.h"
#include "machine.h"
#include "model/model.h"
#include "model/names.h"
#include "privileges.h"

/* After the look-up, names being what came of it: those without an address, but for those of pools
 * that say on_unresolved = "refuse", which have no model. */
void preflight_names(const struct model *model, const struct names *names, bool strict,
                     struct errlist *errors);
/* Whether a pool is transparent. */
bool preflight_wants_any_source(const struct model *model);
/* False, and an error for each of those pools: the workers may not serve it. */
bool preflight_workers(const struct model *model, const struct privileges *workers,
                       struct errlist *errors);
/* The same of a daemon that is yet to be started as this process, and the folders of its sockets.
 */
void preflight_start(const struct model *model, bool strict, struct errlist *errors);
/* Users, groups, log and state file of global, whether each listening address is (or may be) bound
 * here, what transparent pools need, loops, and the programs. */
void preflight_machine(const struct model *model, bool strict, struct errlist *errors);
/* Ports to listen on that the kernel may have given to a connection when the daemon is to start:
 * one warning. */
void preflight_ports(const struct model *model, const struct machine *machine,
                     struct errlist *errors);
/* Backends that are where the daemon listens itself. */
void preflight_loops(const struct model *model, struct errlist *errors);
/* The programs of notify and exec checks: whether they are there and the user that workers and
 * monitor become may run them. Waits for the file system, but not for ever. */
void preflight_programs(const struct model *model, bool strict, struct errlist *errors);

/* --- its parts --- */

enum errlist_severity preflight_grade(bool strict);
/* Users, groups and files that global names. */
void preflight_global(const struct model *model, bool strict, struct errlist *errors);
/* What it listens on, and where that is a path: whether a start could. */
void preflight_global_sockets(const struct model *model, bool strict, struct errlist *errors);

#endif
