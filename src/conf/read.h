/*
 * Reading a configuration within this process: what the reading child does, and tests and fuzzers
 * do by themselves.
 */
#ifndef SLUICE_CONF_READ_H
#define SLUICE_CONF_READ_H

#include "conf.h"

/* Adds what is wrong to errors, empty before, in file order. Returns the tree (conf_tree_free),
 * also when the errors are only about names, else NULL. May wait, and libconfuse may end the
 * process. */
struct conf_tree *conf_read_file(const char *path, const struct conf_section_schema *schema,
                                 struct errlist *errors);
/* Adds what the schema's complete says; tree may be NULL. */
void conf_complete(struct conf_tree *tree, struct errlist *errors);
/* As conf_load_again(): a completed copy, or NULL. */
struct conf_tree *conf_read_again(const struct conf_tree *tree, struct errlist *errors);
/* The same for a text in memory called name, in which include() is refused, and which nothing
 * completes. */
struct conf_tree *conf_read_text(const char *name, const char *text, size_t len,
                                 const struct conf_section_schema *schema, struct errlist *errors);

#endif
