/* What the supervisor hears of this daemon, and when. In master. */
#ifndef SLUICE_PROC_SUPERVISION_H
#define SLUICE_PROC_SUPERVISION_H

struct master;

/* Finds the supervisor, and feeds its watchdog from now on. Returns 0 or -ENOMEM. */
int supervision_start(struct master *master);
/* To be called once a second: figures, and that an end takes its time. */
void supervision_sweep(struct master *master);
void supervision_end(struct master *master);

#endif
