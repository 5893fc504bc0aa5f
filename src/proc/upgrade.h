/* The older side of an upgrade: another program takes over, and this one drains. In master. */
#ifndef SLUICE_PROC_UPGRADE_H
#define SLUICE_PROC_UPGRADE_H

#include "ctl/host.h"

struct master;

/*
 * Starts program (NULL: the file that this daemon was started from) beside this one. done is called
 * once, perhaps before the return: when it serves, or with errors when it does not and nothing has
 * changed. by and why: for events.
 */
void upgrade_start(struct master *master, const char *program, const char *by, const char *why,
                   ctl_change_fn *done, void *arg);
void upgrade_by_signal(struct master *master);
/* Whether changes are to be refused, since a successor would not know of them; says so then. */
bool upgrade_refuses(struct master *master, ctl_change_fn *done, void *arg);
/* Whether this daemon has handed over, and only drains. */
bool upgrade_is_over(const struct master *master);
/* A child may have ended. */
void upgrade_reap(struct master *master);
/* To be called once a second. */
void upgrade_sweep(struct master *master);
/* This daemon stops: a successor that does not serve yet is ended. */
void upgrade_cancel(struct master *master, const char *reason);
void upgrade_destroy(struct master *master);

#endif
