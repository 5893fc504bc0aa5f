/*
 * The child's answer: faults and tree as one block of bytes between two processes of the same
 * binary.
 */
#ifndef SLUICE_CONF_WIRE_H
#define SLUICE_CONF_WIRE_H

#include "conf.h"

#define CONF_WIRE_BYTES_MAX ((size_t)64 * 1024 * 1024)

/* Appends the answer to out, whose limit decides; out->failed tells that it did not fit. tree NULL:
 * no tree. */
void conf_wire_encode(const struct errlist *errors, const struct conf_tree *tree, struct str *out);

/*
 * Decodes an answer, which may be anything: whatever is wrong with it gives -EBADMSG (-ENOMEM),
 * with the outputs untouched. Otherwise 0: errors is appended to, and *out_tree is the tree or
 * NULL.
 */
int conf_wire_decode(const char *bytes, size_t len, const struct conf_section_schema *schema,
                     struct errlist *errors, struct conf_tree **out_tree);

#endif
