/* The table of all check kinds, made from the list in check.h. In the monitor; names in master. */
#include "check/check.h"

#include <string.h>

#include "check/engine.h"

#define KIND_AS_TABLE(kind) &check_kind_##kind,
#define KIND_AS_NAME(kind)  #kind,

static const struct check_kind *const kinds[] = {CHECK_KIND_LIST(KIND_AS_TABLE) NULL};

const char *const check_kind_names[] = {CHECK_KIND_LIST(KIND_AS_NAME) NULL};

bool check_judge(const char *name, const char *option, const char *value, struct str *out_problem)
{
    const struct check_kind *kind = check_kind_find(name);

    return kind == NULL || kind->judge == NULL || kind->judge(option, value, out_problem);
}

bool check_judge_all(const char *name, const struct check_arg *args, uint32_t n_args,
                     struct str *out_problem)
{
    const struct check_kind *kind = check_kind_find(name);

    return kind == NULL || kind->judge_all == NULL || kind->judge_all(args, n_args, out_problem);
}

const char *check_arg(const struct check_probe *probe, const char *name, const char *otherwise)
{
    for (uint32_t i = 0; i < probe->n_args; i++) {
        if (strcmp(probe->args[i].name, name) == 0) {
            return probe->args[i].value;
        }
    }
    return otherwise;
}

const struct check_kind *check_kind_find(const char *name)
{
    for (size_t i = 0; kinds[i]; i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}
