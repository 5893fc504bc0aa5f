/*
 * Records on trees and models, for the files that deal with them. Private to model.
 */
#ifndef SLUICE_MODEL_EDITS_H
#define SLUICE_MODEL_EDITS_H

#include "options.h"
#include "override.h"
#include "sluice/limits.h"

/* overrides_build() without the records whose place in left_out (NULL: none) is true. NULL with
 * errors, also without memory. */
struct model *edits_build(const struct overrides *list, const bool *left_out,
                          const struct conf_tree *tree, const struct names *names,
                          const struct model_registries *registries, struct errlist *errors);
/* The record as one of the template where it is about an address of it, in title[], else as it is.
 */
struct override edits_of_template(const struct override *item, char title[static NAME_BYTES_MAX]);
/* What a record is about, and of what kind that is; NULL when the model does not have it. */
const void *edits_find_target(const struct model *model, const struct override *key,
                              enum section_kind *out_kind);

#endif
