/*
 * The addresses that a pool connects to its backends from: what source_addresses says, and what is
 * wrong with it. In master, and in sluicectl doctor.
 */
#ifndef SLUICE_MODEL_SOURCES_H
#define SLUICE_MODEL_SOURCES_H

#include "model/model.h"
#include "sluice/limits.h"

struct build;
struct conf_section;

/* Sources of all backends together: each has its pool's. */
#define SOURCES_ALL_MAX 130000

struct source_list {
    struct addr_ip items[SOURCES_MAX]; /* ports 0 */
    size_t n;
};

/* Appends what an item of source_addresses names: an address, FIRST-LAST, or a network, whose first
 * and last address count, too. Returns 0, or -EINVAL with what is wrong and what would be right in
 * *out_problem, and the list as it was. */
int sources_add(struct source_list *list, const char *text, struct str *out_problem);
/* The pool's, in file order; what is wrong is left out. */
void sources_of(const struct model_pool *pool, struct source_list *out);
size_t sources_count(const struct source_list *list, enum addr_family family);
/* How many pairs of a source and a backend the pool has at most. */
size_t sources_needed(const struct model_pool *pool);
/* The same for the same addresses, however they are written. */
uint64_t sources_hash(const struct model_pool *pool);
void sources_validate(struct build *build, const struct conf_section *section,
                      const struct model_pool *pool);

#endif
