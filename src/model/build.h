/*
 * A build under way: from a conf tree to a model. build.c types every option; validate*.c,
 * outlier.c, reuse.c and listen.c then judge what no single option can. Private to model.
 */
#ifndef SLUICE_MODEL_BUILD_H
#define SLUICE_MODEL_BUILD_H

#include "lookup.h"
#include "options.h"

struct build {
    const struct conf_tree *tree;
    const struct conf_tree *running; /* NULL: none */
    const struct model_registries *registries;
    struct errlist *errors;
    struct errlist warnings; /* apart, so that they never crowd errors out of the bounded list */
    struct model *model;
    size_t n_files;        /* of model->files */
    const char *last_file; /* what build_file() answered last */
    size_t n_arg_bytes;    /* of the checks that were judged so far */
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

/* --- validate.c --- */

/* What a pool is to the services. */
enum pool_use {
    POOL_UNUSED,
    POOL_USED,
    POOL_NEEDED, /* some service has no other that takes its clients */
};

/* What the walk over services leaves for the walk over pools. */
struct pool_names {
    struct lookup by_name; /* to the pool's index */
    const char **names;    /* of all pools, ends with NULL */
    enum pool_use *use;    /* by pool index */
};

void validate_model(struct build *build);
/* A fault when there are more than max of what. */
void validate_count(struct build *build, const struct conf_section *section, size_t n, size_t max,
                    const char *what);
/* A fault when the section's title is no usable name. */
void validate_name(struct build *build, const struct conf_section *section);
void validate_keepalive(struct build *build, const struct conf_section *section,
                        uint32_t keepalive_ms);
/* Whether the section says something for the option, and it is not empty (reported already). */
bool validate_is_written(const struct conf_section *section, const char *option, const char *value);
/* A warning when text, an item of the option, is a network written with the address of a host. */
void validate_network(struct build *build, const struct conf_section *section, const char *option,
                      size_t item, const char *text);

/* --- validate_pool.c --- */

void validate_pools(struct build *build, const struct pool_names *pools);
/* Whether the pool's scheduler goes by the client's address. */
bool validate_hashes_clients(const struct model_pool *pool);

/* --- validate_check.c --- */

/* The check sections of a pool or backend. */
void validate_checks(struct build *build, const struct conf_section *parent,
                     const struct model_check *checks, size_t n);

/* --- validate_address.c --- */

/* Fills the addresses of a backend of pool. After validate_checks() of its pool and of itself.
 * seen: addresses of the pool so far. */
void validate_addresses(struct build *build, const struct conf_section *section,
                        struct model_pool *pool, uint32_t index, struct lookup *seen);

/* --- listen.c --- */

/* Fills the listeners of every service and finds those that collide. */
void validate_listeners(struct build *build);
/* What is wrong with text as a listening address, or NULL with *out filled. */
const char *validate_listen(const char *text, struct addr *out);

#endif
