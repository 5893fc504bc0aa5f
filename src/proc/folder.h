/* Whether a file can be made at a path, told before anybody tries. In master and in sluiced -t. */
#ifndef SLUICE_PROC_FOLDER_H
#define SLUICE_PROC_FOLDER_H

#include <stdbool.h>

#include "base/str.h"

/*
 * Whether this process may make files in the folder that the absolute path lies in, or, where makes
 * is said and only its last part is missing, may make that folder. Returns 0, or -errno with what
 * is wrong and what would be right appended to *out_problem, the folder in question first.
 */
int folder_judge(const char *path, bool makes, struct str *out_problem);

#endif
