/*
 * Changes by command. In master.
 */
#ifndef SLUICE_PROC_EDIT_H
#define SLUICE_PROC_EDIT_H

#include "master.h"

/* As ctl_host_ops.edit. done is called once, perhaps before the return. */
void edit_start(struct master *master, const struct ctl_edit *asked, const struct ctl_who *who,
                bool force, ctl_change_fn *done, void *arg);
/* Without calling done. */
void edit_cancel_all(struct master *master);

/* What a line of model_diff() is about: *out_pool and *out_backend are of the model, or NULL. */
void edit_find_subject(const struct model *model, const char *line, const char **out_pool,
                       const char **out_backend);

#endif
