/* The monitor process: everything that talks to backends on the daemon's own behalf. */
#ifndef SLUICE_PROC_MONITOR_H
#define SLUICE_PROC_MONITOR_H

#include <stddef.h>

#include "sluice/scoreboard.h"

/*
 * Runs the checks until master says to end or is gone. wakes: the workers' eventfds, written to
 * when a health has changed, or what checks ask for, or who is ejected. alarm: an eventfd that
 * workers write to when a backend has failed them often enough; -1: there is none. channel is
 * owned. Returns the exit status.
 */
int monitor_run(int channel, const int *wakes, size_t n_wakes, int alarm, struct scoreboard *sb);

#endif
