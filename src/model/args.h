/*
 * What a check's kind is told beside address and times: its own options that have a value, defaults
 * too, in the table's order, a list's items one by one. Pure. In master. Private to model.
 */
#ifndef SLUICE_MODEL_ARGS_H
#define SLUICE_MODEL_ARGS_H

#include "model/model.h"

/* Names and values of all checks together, with their NULs. */
#define ARGS_BYTES_MAX (16 * 1024 * 1024)

typedef void args_fn(void *data, const char *name, const char *value);

/* Calls fn for each. name and value live as long as the check. */
void args_each(const struct model_check *check, args_fn *fn, void *data);
/* Adds to both. */
void args_count(const struct model_check *check, size_t *n_args, size_t *n_bytes);
/* The same for the same names and values in the same order. */
uint64_t args_hash(const struct model_check *check);
/* A list of all, *out_n of them, to be freed by free(); NULL without memory. */
struct model_arg *args_list(const struct model_check *check, size_t *out_n);

#endif
