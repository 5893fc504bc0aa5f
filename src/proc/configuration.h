/*
 * Reading the configuration for whoever waits for it at a terminal: the daemon before it runs, its
 * -t, and sluicectl doctor all say the same of the same file.
 */
#ifndef SLUICE_PROC_CONFIGURATION_H
#define SLUICE_PROC_CONFIGURATION_H

#include "model/model.h"
#include "model/names.h"

#define CONFIGURATION_FILE "/etc/sluice/sluice.conf" /* unless another is named */

/*
 * Reads, builds, looks up names, and compares with this machine; waits for all that. Prints what is
 * wrong to standard error. strict: what only the target machine can know counts as an error. NULL
 * when there was an error, else the caller's model_free(). out_tree and out_names (empty before):
 * get what the model was built from, the caller's conf_tree_free() and names_free(), NULL and empty
 * with an error.
 */
struct model *configuration_read(const char *file, bool strict, struct conf_tree **out_tree,
                                 struct names *out_names);
/*
 * The same for who only looks: not strict, and the model alone. Once it is made place() goes to
 * where it is to be compared with the machine; false: that is out of reach, and what only the
 * machine can know is not told.
 */
typedef bool configuration_place_fn(const struct model *model, void *arg);
struct model *configuration_read_at(const char *file, configuration_place_fn *place, void *arg);
/* Warns on standard error of a max_connections that cannot be reached with what this process may
 * have, and of ports that connections may have. A daemon that starts does so itself. */
void configuration_weigh(const struct model *model);

/* The model of a tree by itself. Its names are looked up unless they are among names, and put
 * there. Waits. NULL with an error. */
struct model *configuration_build(const struct conf_tree *tree, struct names *names,
                                  struct errlist *errors);

/* Appends it as what is in force, as a file with all defaults; names stay, and comments say what
 * they stand for. model: of the tree, with names expanded. */
void configuration_print(const struct conf_tree *tree, const struct model *model, struct str *out);

#endif
