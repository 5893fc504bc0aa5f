/*
 * ${VAR}, ${VAR:-default} and ${file:/path} in values: conf.h says what they mean.
 */
#ifndef SLUICE_CONF_EXPAND_H
#define SLUICE_CONF_EXPAND_H

#include "conf.h"

/* Appends the expansion of raw to text. Returns 0, or -1 with every fault in problem, separated by
 * "; ". *secret is set when a file's contents went into it, and otherwise left alone. */
int conf_expand_text(const char *raw, struct str *text, bool *secret, struct str *problem);
/* Expands every value in the tree; faults go to errors at the value's place. */
void conf_expand_tree(struct conf_tree *tree, struct errlist *errors);

#endif
