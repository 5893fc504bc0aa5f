/*
 * Pools that connect to their backends from the client's address: what does not go with that.
 */
#ifndef SLUICE_MODEL_TRANSPARENT_H
#define SLUICE_MODEL_TRANSPARENT_H

#include "build.h"

/* After the pool's other options and its backends' addresses. */
void transparent_validate_pool(struct build *build, const struct conf_section *section,
                               const struct model_pool *pool);
/* Once its pools are known. */
void transparent_validate_service(struct build *build, const struct conf_section *section,
                                  const struct model_service *service);

#endif
