/*
 * Files of backends: watching them, and taking over what changes.
 */
#ifndef SLUICE_PROC_BACKENDS_FILE_H
#define SLUICE_PROC_BACKENDS_FILE_H

#include "master.h"

/* Watches what the running model names. To be called when that may have changed. */
void backends_files_renew(struct master *master);
/* All were read with the configuration that is in force now, as it is now. */
void backends_files_taken(struct master *master);
/* When that was, on the wall's clock, 0: no pool has one; *out_refused: what was wrong since, or
 * NULL. */
uint64_t backends_files_taken_ms(const struct master *master, const char **out_refused);
void backends_files_end(struct master *master);

#endif
