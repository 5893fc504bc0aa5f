/*
 * Files of backends: watching them, and taking over what changes.
 */
#ifndef SLUICE_PROC_BACKENDS_FILE_H
#define SLUICE_PROC_BACKENDS_FILE_H

#include "master.h"

/* Watches what the running model names. To be called when that may have changed. */
void backends_files_renew(struct master *master);
void backends_files_end(struct master *master);

#endif
