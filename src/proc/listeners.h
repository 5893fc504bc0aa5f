/*
 * All listening sockets of the daemon: for each address one group, of one SO_REUSEPORT socket per
 * worker (TCP) or one shared socket (unix:). In master, which keeps every one open, so that a dead
 * worker's queue waits for its successor. A new model is planned, then committed or aborted.
 */
#ifndef SLUICE_PROC_LISTENERS_H
#define SLUICE_PROC_LISTENERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/errlist.h"
#include "model/model.h"

struct listeners;

struct listeners *listeners_create(uint32_t n_workers); /* NULL without memory */
/* Closes all and removes the files of unix: listeners. */
void listeners_destroy(struct listeners *listeners);

/*
 * Opens what model listens on and is not open yet; writes the port that the kernel chose back into
 * the model (for port 0). Returns 0, or -1 with every failure in errors and nothing changed.
 */
int listeners_plan(struct listeners *listeners, struct model *model, struct errlist *errors);
/* Closes what model no longer names, applies changed socket options. Workers still hold, and empty,
 * what is closed here. */
void listeners_commit(struct listeners *listeners, const struct model *model);
void listeners_abort(struct listeners *listeners);

/* The groups, for handing out, by rising id: index from 0; false at the end. *out_fd is the
 * worker's socket and stays owned here. */
bool listeners_get(const struct listeners *listeners, size_t index, uint32_t worker,
                   uint32_t *out_id, int *out_fd);

/* One socket that is no service's and in no group, the caller's own. Returns it or -errno;
 * *out_bound has the port that the kernel chose. */
int listeners_open_single(const struct addr *address, uint32_t backlog, struct addr *out_bound);

#endif
