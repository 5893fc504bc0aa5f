/*
 * What outlives the daemon: the operator's records, health=fail and the key of hashes come back at
 * its start, and are written after each change of them. Owns nothing: the file is in master's
 * record. In master.
 */
#ifndef SLUICE_PROC_RESTORE_H
#define SLUICE_PROC_RESTORE_H

#include "base/errlist.h"
#include "base/str.h"
#include "model/model.h"

struct master;

/*
 * At the start, before anything is published: *model (of the file, resolved) becomes the one with
 * the records that still hold; what no longer does, and what could not be read, is told. Returns
 * whether the daemon may start: not with the file of another one that runs.
 */
bool restore_start(struct master *master, struct model **model);
/* Appends the text of what is kept, as model/state.h has it. */
void restore_encode(struct master *master, struct str *out);
/* To be called whenever something of it has changed, and once the start is over. Waits for the
 * disk. When that fails, it is a warning in errors (may be NULL), in the log and an event. */
void restore_save(struct master *master, struct errlist *errors);
void restore_end(struct master *master);

#endif
