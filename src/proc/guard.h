/*
 * Guard rails: what a change would take away from clients. In master.
 */
#ifndef SLUICE_PROC_GUARD_H
#define SLUICE_PROC_GUARD_H

#include "master.h"

/*
 * Whether no pool that takes new clients now would take none with that model (which has the running
 * one's pools and services, in their order), and no service would be sent from pools that do to
 * pools that do not. If not, *out_problem gets what would happen, and what
 * to do.
 */
bool guard_permits(const struct master *master, const struct model *model, struct str *out_problem);

/* The same for when all that was set for a time has ended: whether no pool that would take new
 * clients then, with what stands, would take none with overrides. */
bool guard_permits_ends(const struct master *master, const struct overrides *overrides,
                        struct str *out_problem);

/* Whether the pool of that place takes new clients now and would take none with that model, even if
 * all that are new turn out to be healthy: whoever replaces all backends at once means to. */
bool guard_loses_pool(const struct master *master, const struct model *model, uint32_t index);

#endif
