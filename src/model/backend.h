/*
 * What a backend's options say about each other, for files and for commands alike. Private to
 * model.
 */
#ifndef SLUICE_MODEL_BACKEND_H
#define SLUICE_MODEL_BACKEND_H

#include "options.h"

/*
 * Whether resume_connections and max_connections go together. Returns 0, or -EINVAL with what is
 * wrong with the value of changed, the one of them that was written last, appended to out_problem
 * (what is wrong; what would be right).
 */
int backend_judge_limits(const struct model_backend *backend, const char *changed,
                         struct str *out_problem);

#endif
