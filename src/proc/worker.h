/* The worker process: one event loop around one proxy. */
#ifndef SLUICE_PROC_WORKER_H
#define SLUICE_PROC_WORKER_H

#include <stdint.h>

#include "sluice/scoreboard.h"

/*
 * Runs worker number id until it is drained. channel: the socketpair to master, owned. wakes: an
 * eventfd for each worker, written to when a health has changed or a place may have become free for
 * somebody who waits there; the caller's. Returns the exit status.
 */
int worker_run(uint32_t id, int channel, const int *wakes, struct scoreboard *sb);

#endif
