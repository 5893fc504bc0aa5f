/* Forking so that the child starts clean, and ending a child for sure. */
#ifndef SLUICE_PROC_CHILD_H
#define SLUICE_PROC_CHILD_H

#include <sys/types.h>

/*
 * fork() with no signal delivered in between: the child has default dispositions (SIGPIPE ignored)
 * before any can reach it, so that it never runs a handler of the parent's event loop. Returns like
 * fork().
 */
pid_t child_fork(void);
/* The child leaves the signals that a terminal or supervisor sends to the whole group to master. */
void child_ignore_group_signals(void);
/* Kills and reaps *pid and sets it to 0; harmless at 0. */
void child_end(pid_t *pid);

#endif
