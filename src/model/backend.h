/*
 * What a backend's options say about each other. Private to model.
 */
#ifndef SLUICE_MODEL_BACKEND_H
#define SLUICE_MODEL_BACKEND_H

#include "options.h"

/* Whether resume_connections and max_connections go together. Returns 0, or -EINVAL with what is
 * wrong with the first (what is wrong; what would be right) appended to out_problem. */
int backend_judge_limits(const struct model_backend *backend, struct str *out_problem);

#endif
