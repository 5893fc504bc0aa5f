/*
 * What a commit writes into a slot of the scoreboard. In master. Private to model.
 */
#ifndef SLUICE_MODEL_SLOT_H
#define SLUICE_MODEL_SLOT_H

#include "model/model.h"
#include "place.h"
#include "sluice/scoreboard.h"

struct slot_commit {
    struct scoreboard *sb;
    uint64_t now_ms;
    bool first; /* the daemon's start: nothing is slow to start then */
};

/* What the checks that hold for a backend look at: their kinds, ports and arguments, the address,
 * whether all must pass. The same for the same in any order; 0 only where there are none. */
uint64_t slot_sum_checks(const struct model_pool *pool, const struct model_backend *backend);
/* Brings the slot of a backend of pool, whose state is still that of before the commit, in line
 * with the new model. */
void slot_commit(const struct slot_commit *commit, struct place *slot,
                 const struct model_pool *pool, const struct model_backend *backend);

#endif
