/*
 * Who holds which place in the scoreboard: slots by (pool, backend, address), rows by (pool,
 * backend), pool rows by pool, service rows by service. Listener ids go by address alone, so that
 * an address which moves to another service keeps its sockets; only an address with port 0, which
 * stands for another port each time, goes by (service, address), as written and not as the kernel
 * chose. In master.
 *
 * Places are planned for a new model and then committed or aborted as a whole; a place that the new
 * model no longer names stays taken until its last session is gone (a pool's, until nobody waits in
 * its queue and none of its slots is left), and is handed back if a later model names it again
 * meanwhile.
 *
 * Health of a slot, decided at commit:
 *   its name does not resolve                     down
 *   no check                                      up
 *   same slot in the model before                 as it is
 *   another slot of the model before has the same
 *   address and the same checks (all but their
 *   times), and was checked                       as that one
 *   else                                          the pool's `start`
 *
 * What checks ask for (weight, admin state, limit) goes with an inherited health; of any other new
 * slot it is nothing.
 *
 * A slot begins a slow start at commit when it takes sessions (ready, with a weight) and did not in
 * the model before; but not at the daemon's start. Whether it counts as full is judged anew when
 * its limits have changed.
 */
#ifndef SLUICE_MODEL_REGISTRY_H
#define SLUICE_MODEL_REGISTRY_H

#include "model/model.h"
#include "sluice/scoreboard.h"

struct registry;

/* sb is fresh and outlives it; NULL without memory. */
struct registry *registry_create(struct scoreboard *sb);
void registry_destroy(struct registry *registry); /* NULL is allowed */

/*
 * Fills slots, rows and listener ids of everything in model; known names keep theirs, new ones get
 * free places. Listener ids count up from 0 without bound and never come back, not even for the
 * same address once it was gone: nothing may be indexed by them. The scoreboard is not touched.
 * now_ms becomes the time of health that changes. Returns 0; -ENOSPC when places run out or
 * -ENOMEM, with an error in errors and nothing changed. One plan at a time: commit or abort it
 * before the next.
 */
int registry_plan(struct registry *registry, struct model *model, uint64_t now_ms,
                  struct errlist *errors);
/*
 * Takes the planned model's places, clears the new ones and sets their health. Call it before the
 * snapshot goes out to anyone; model->generation is already the new one.
 */
void registry_commit(struct registry *registry, const struct model *model);
/* Forgets the plan; harmless without one. */
void registry_abort(struct registry *registry);
/* Frees retired places that nobody uses any more, once every process works with generation or
 * later. Does nothing while a plan is open. */
void registry_sweep(struct registry *registry, uint32_t oldest_generation_in_use);

#endif
