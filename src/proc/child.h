/* Forking so that the child starts clean, and ending a child for sure, with all that it leads. */
#ifndef SLUICE_PROC_CHILD_H
#define SLUICE_PROC_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * fork() with no signal delivered in between: the child has default dispositions (SIGPIPE ignored)
 * before any can reach it, so that it never runs a handler of the parent's event loop. Returns like
 * fork().
 */
pid_t child_fork(void);
/* The child leaves the signals that a terminal or supervisor sends to the whole group to master. */
void child_ignore_group_signals(void);
/*
 * Whether the child has ended; then it is reaped, with its status as waitpid() gives it. If it led
 * a session, whoever is left of that is killed before.
 */
bool child_reap(pid_t pid, int *out_status);
/* Kills it, with its session if it leads one, reaps it and sets *pid to 0; harmless at 0. */
void child_end(pid_t *pid);

#endif
