/* The reuse section of a pool: what it means. In master. Private to model. */
#ifndef SLUICE_MODEL_REUSE_H
#define SLUICE_MODEL_REUSE_H

#include "build.h"

/* Judges what the options of the pool's section need of each other, and of the pool. */
void reuse_validate(struct build *build, const struct conf_section *pool_section,
                    const struct model_pool *pool);
/* How many bytes reuse_snapshot() needs of the snapshot's texts. */
size_t reuse_text_bytes(const struct model_reuse *reuse);
/* What workers are told: all 0 where the mode is off. The reset exchange is written to texts, from
 * *text on, which is moved behind it. */
struct snapshot_reuse reuse_snapshot(const struct model_pool *pool, char *texts, uint32_t *text);

#endif
