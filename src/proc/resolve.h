/*
 * Work that may block, done in a child of its own: name look-ups. The child writes a bounded
 * answer to a pipe and ends; the parent reads it from its loop and gives up at a deadline.
 */
#ifndef SLUICE_PROC_RESOLVE_H
#define SLUICE_PROC_RESOLVE_H

#include "model/names.h"

struct event_base;

/* A look-up of names is done; the addresses are with them. */
typedef void resolve_done_fn(void *arg);
struct resolve;

/*
 * Looks up all names without answers (of names, which outlives it) for at most timeout_ms; what did
 * not resolve stays without. done is called once, from the loop, or before the return when there is
 * nothing to do (then NULL is returned). base NULL: waits instead of using a loop.
 */
struct resolve *resolve_start(struct event_base *base, struct names *names, int timeout_ms,
                              resolve_done_fn *done, void *arg);
/* Gives up without calling done. NULL is allowed. */
void resolve_cancel(struct resolve *resolve);

#endif
