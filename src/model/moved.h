/*
 * How many clients of a pool that chooses by hash another configuration would send elsewhere, from
 * the tables of both. Pure. In master.
 */
#ifndef SLUICE_MODEL_MOVED_H
#define SLUICE_MODEL_MOVED_H

#include "model/model.h"

/*
 * Adds a line for each pool in which clients would go (would) or go to another backend: pools of
 * the same name that choose by hash in both. Both are whole snapshots, tables included. All
 * backends are taken as up and under their limits, and all clients as equally frequent; those that
 * the file itself keeps out (admin, backups beside primaries) are passed over as workers do it.
 * Takes time in proportion to the tables that differ, about as long as copying them.
 */
void moved_add(const struct snapshot_header *was, const struct snapshot_header *now, bool would,
               struct change_list *out);

#endif
