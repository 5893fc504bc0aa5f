/*
 * Building a configuration tree. All return NULL or -ENOMEM without memory; what was built so far
 * stays valid and is freed with the tree.
 */
#ifndef SLUICE_CONF_TREE_H
#define SLUICE_CONF_TREE_H

#include "conf.h"

struct conf_tree *conf_tree_new(const struct conf_section_schema *schema);
/* The tree's own copy of path, the same one for the same path. */
const char *conf_tree_add_file(struct conf_tree *tree, const char *path);
/* title is copied; NULL for none. */
struct conf_section *conf_tree_add_section(struct conf_section *parent,
                                           const struct conf_section_schema *schema,
                                           const char *title, const char *file, int line);
/* Valid until the next option is added to the section. */
struct conf_option *conf_tree_add_option(struct conf_section *section,
                                         const struct conf_option_schema *schema, const char *file,
                                         int line);
/* raw becomes the option's, also on failure; text is the same until expanded. */
int conf_tree_add_value(struct conf_option *option, char *raw, int line);

const struct conf_option_schema *conf_schema_option(const struct conf_section_schema *schema,
                                                    const char *name);
const struct conf_section_schema *conf_schema_section(const struct conf_section_schema *schema,
                                                      const char *name);

/* What keeps text from being a name ("is empty"), or NULL for a good one. */
const char *conf_name_problem(const char *text);

#endif
