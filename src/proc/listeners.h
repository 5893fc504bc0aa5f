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
#include "inherited.h"
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
 * worker's nth socket, -1 when it has no more, and stays owned here. It has one, but of a group
 * that was inherited from more workers. */
bool listeners_get(const struct listeners *listeners, size_t index, uint32_t worker, size_t nth,
                   uint32_t *out_id, int *out_fd);

/* --- over the end of this process --- */

/* Sockets that came with the process are taken where they match, before any is opened. inherited
 * outlives the next plan. */
void listeners_inherit(struct listeners *listeners, struct inherited *inherited);
/* While held, sockets that join an inherited group do not listen: whoever were queued there would
 * be lost if this process never came to serve. Nor are files of inherited ones removed. */
void listeners_hold(struct listeners *listeners, bool holds);
/* Files of unix: listeners stay: they are a successor's. */
void listeners_disown(struct listeners *listeners);

/* Whoever keeps copies of sockets for the next process. store() returns false to be asked again. */
struct listeners_keeper {
    bool (*store)(void *arg, const char *name, const int *fds, size_t n);
    void (*forget)(void *arg, const char *name);
};
/* keeper (NULL: none) and arg outlive listeners. It forgets what is no longer listened on. */
void listeners_keep(struct listeners *listeners, const struct listeners_keeper *keeper, void *arg);
/* Gives the keeper what it does not have yet. */
void listeners_store(struct listeners *listeners);
void listeners_forget_all(struct listeners *listeners);
/* Every socket, those of a group one after the other: at from 0; false at the end. Both stay owned
 * here. */
bool listeners_walk(const struct listeners *listeners, size_t at, int *out_fd,
                    const char **out_name);

#endif
