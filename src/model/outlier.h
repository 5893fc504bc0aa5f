/* The outlier section of a pool: what it means. In master. Private to model. */
#ifndef SLUICE_MODEL_OUTLIER_H
#define SLUICE_MODEL_OUTLIER_H

#include "build.h"

/* Judges what the options of the pool's section need of each other. */
void outlier_validate(struct build *build, const struct conf_section *pool_section,
                      const struct model_outlier *outlier);
/* What workers and monitor are told: all 0 where there is no section. */
struct snapshot_outlier outlier_snapshot(const struct model_outlier *outlier);

#endif
