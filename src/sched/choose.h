/*
 * A worker's runtime form of the pools of one snapshot, and the choice of a backend in it: packed
 * arrays folded from configuration and health, the scheduler's state, and the reservation of the
 * chosen backend's place. In the worker; one owner, no locks.
 */
#ifndef SLUICE_SCHED_CHOOSE_H
#define SLUICE_SCHED_CHOOSE_H

#include "sched/sched.h"
#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

struct chooser; /* all pools of one generation */

/* What a choice came to; 0 is chosen. */
enum choice {
    CHOICE_MADE,
    CHOICE_NONE,     /* no backend is eligible */
    CHOICE_FULL,     /* eligible ones exist that were not tried, all at their limits */
    CHOICE_STARTING, /* none eligible, but some have no check result yet */
    CHOICE_TRIED,    /* only backends that this session has already tried are left */
    CHOICE_COUNT
};

/*
 * Builds the runtime form. snapshot (checked) and sb stay the caller's and must outlive it.
 * previous (may be NULL; its snapshot still mapped) lends the schedulers' states of the last
 * generation, by scoreboard row, and is untouched. NULL with errno: ENOMEM, or EINVAL when a pool's
 * scheduler is not in the table.
 */
struct chooser *chooser_create(const struct snapshot_header *snapshot, struct scoreboard *sb,
                               uint32_t worker, const struct chooser *previous);
void chooser_destroy(struct chooser *chooser); /* NULL is allowed */

/*
 * Chooses a backend of pool (index into the snapshot's pools) and reserves its place for this
 * worker; the caller gives it back with scoreboard_release(SB_SLOT, slot). tried are indices within
 * the pool to pass over, each once. Linear in the pool's size, never allocates. On CHOICE_MADE
 * *out_index is the backend's index within the pool; snapshot_backends()[first_backend + index] is
 * its record. Keeps connections_peak of its row.
 */
enum choice chooser_pick(struct chooser *chooser, uint32_t pool, uint64_t key,
                         const uint32_t *tried, uint32_t n_tried, uint32_t *out_index);

#endif
