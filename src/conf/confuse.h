/*
 * The second opinion: libconfuse converts the merged text, and must come to the same options and
 * values as the scan did.
 */
#ifndef SLUICE_CONF_CONFUSE_H
#define SLUICE_CONF_CONFUSE_H

#include "conf.h"
#include "scan.h"

/* To be called only when the scan found no error. What libconfuse reports, and every disagreement,
 * is an error at its place. Not reentrant; may end the process. */
void conf_confuse_check(const struct conf_tree *tree, const struct scan_merged *merged,
                        struct errlist *errors);

#endif
