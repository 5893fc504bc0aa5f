/*
 * The reading child from its first instruction to its last.
 */
#ifndef SLUICE_CONF_CHILD_H
#define SLUICE_CONF_CHILD_H

#include "conf.h"

#define CONF_CHILD_SECONDS_MAX 60 /* after which it ends by itself, if nobody has ended it */

/* Called in the new process, with all signals blocked. Reads path, or (text not NULL) the text
 * called so, or completes again unless that is NULL, and writes the answer to answer_fd. */
__attribute__((noreturn)) void conf_child_run(int answer_fd, const char *path, const char *text,
                                              const struct conf_tree *again,
                                              const struct conf_section_schema *schema,
                                              uid_t as_user);

#endif
