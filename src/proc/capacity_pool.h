/*
 * Which backends of a pool can be given load while all of them are up. Private to capacity*.c.
 */
#ifndef SLUICE_PROC_CAPACITY_POOL_H
#define SLUICE_PROC_CAPACITY_POOL_H

#include "model/model.h"

struct capacity_walk {
    const struct model_pool *pool;
    size_t next;
    bool with_backups, has_backup;
};

struct capacity_walk capacity_walk_pool(const struct model_pool *pool);
/* The next one; NULL at the end. */
const struct model_backend *capacity_walk_next(struct capacity_walk *walk);

#endif
