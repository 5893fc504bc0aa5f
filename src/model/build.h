/*
 * A build under way: from a conf tree to a model. build.c types every option, validate.c and
 * listen.c then judge what no single option can. Private to model.
 */
#ifndef SLUICE_MODEL_BUILD_H
#define SLUICE_MODEL_BUILD_H

#include "lookup.h"
#include "options.h"

struct build {
    const struct conf_tree *tree;
    const struct model_registries *registries;
    struct errlist *errors;
    struct errlist warnings; /* apart, so that they never crowd errors out of the bounded list */
    struct model *model;
    size_t n_files;        /* of model->files */
    const char *last_file; /* what build_file() answered last */
    bool no_memory;
};

/* Adds a fault of section, at its option (or its item) if that is given, else at the section. */
__attribute__((format(printf, 6, 7))) void build_fault(struct build *build,
                                                       enum errlist_severity severity,
                                                       const struct conf_section *section,
                                                       const char *option, size_t item,
                                                       const char *format, ...);

/* The next subsection of that name from *cursor on (0 at first), or NULL at the end. The model's
 * arrays have the same order. */
const struct conf_section *build_next(const struct conf_section *parent, const char *name,
                                      size_t *cursor);

/* How a value that the section gives is shown in a message: secrets unexpanded. Returns buf. */
char *build_show(const struct conf_section *section, const char *option, size_t item,
                 char buf[static SHOW_MAX]);

/* validate.c */
void validate_model(struct build *build);
/* listen.c: fills the listeners of every service and finds those that collide. */
void validate_listeners(struct build *build);

#endif
