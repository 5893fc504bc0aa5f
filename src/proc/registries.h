/* What model is told of the other components of this daemon. In master. */
#ifndef SLUICE_PROC_REGISTRIES_H
#define SLUICE_PROC_REGISTRIES_H

#include "model/model.h"

extern const struct model_registries daemon_registries;

#endif
