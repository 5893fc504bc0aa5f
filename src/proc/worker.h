/* The worker process: one event loop around one proxy. */
#ifndef SLUICE_PROC_WORKER_H
#define SLUICE_PROC_WORKER_H

#include <stdint.h>

#include "sluice/scoreboard.h"

/*
 * Runs worker number id until it is drained. channel: the socketpair to master; wake: an eventfd
 * that the monitor writes to when a health changed. Both are owned. Returns the exit status.
 */
int worker_run(uint32_t id, int channel, int wake, struct scoreboard *sb);

#endif
