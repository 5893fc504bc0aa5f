/*
 * The end of what was set for a time. In master.
 */
#ifndef SLUICE_PROC_EXPIRY_H
#define SLUICE_PROC_EXPIRY_H

#include "master.h"

/* To be called whenever master's overrides have changed: waits for the next end among them, and
 * then has it carried out like a command. */
void expiry_renew(struct master *master);
/* At the end. */
void expiry_end(struct master *master);

#endif
