/*
 * What only the target machine can know about a configuration: names that do not resolve, users
 * that do not exist, addresses that are not here. Warnings, or errors when strict. In master and in
 * sluiced -t.
 */
#ifndef SLUICE_PROC_PREFLIGHT_H
#define SLUICE_PROC_PREFLIGHT_H

#include <stdbool.h>

#include "base/errlist.h"
#include "model/model.h"

/* After the look-up: names without an address. An error where the pool says on_unresolved =
 * "refuse". */
void preflight_names(const struct model *model, bool strict, struct errlist *errors);
/* Users and groups of global, and whether each listening address is (or may be) bound here. */
void preflight_machine(const struct model *model, bool strict, struct errlist *errors);

#endif
