/* The table of all check kinds, made from the list in check.h. In the monitor; names in master. */
#include "check/check.h"

#include <string.h>

#include "check/engine.h"

#define KIND_AS_TABLE(kind) &check_kind_##kind,
#define KIND_AS_NAME(kind)  #kind,

static const struct check_kind *const kinds[] = {CHECK_KIND_LIST(KIND_AS_TABLE) NULL};

const char *const check_kind_names[] = {CHECK_KIND_LIST(KIND_AS_NAME) NULL};

const struct check_kind *check_kind_find(const char *name)
{
    for (size_t i = 0; kinds[i]; i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}
