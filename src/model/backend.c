/*
 * What a backend's options mean together: which checks hold and where they look, how its address is
 * shown, when it takes sessions again after it was full. Pure. In master.
 */
#include "backend.h"

#include <errno.h>
#include <string.h>

const struct model_check *model_backend_checks(const struct model_pool *pool,
                                               const struct model_backend *backend,
                                               size_t *out_count)
{
    if (backend->checks != NULL) {
        *out_count = 0;
        return NULL;
    }
    if (backend->n_own_checks > 0) {
        *out_count = backend->n_own_checks;
        return backend->own_checks;
    }
    *out_count = pool->n_checks;
    return pool->checks;
}

const char *model_backend_shown(const struct model_backend *backend)
{
    const char *raw = option_secret(options_find(SECTION_BACKEND, "address"), backend, 0);

    return raw != NULL ? raw : backend->address_text;
}

struct addr model_backend_check_address(const struct model_backend *backend)
{
    struct addr address = backend->check_address;

    if (address.ip.family != ADDR_NONE && address.ip.family != ADDR_UNIX && address.ip.port == 0) {
        address.ip.port = backend->address.ip.port;
    }
    return address;
}

/* --- limits --- */

uint32_t model_backend_resume(const struct model_backend *backend)
{
    uint64_t limit = backend->max_connections;

    if (limit == 0 || backend->resume_connections != 0) {
        return limit == 0 ? 0 : backend->resume_connections;
    }
    return (uint32_t)((limit * 3 + 3) / 4);
}

int backend_judge_limits(const struct model_backend *backend, struct str *out_problem)
{
    uint32_t limit = backend->max_connections;

    if (backend->resume_connections == 0 || backend->resume_connections <= limit) {
        return 0;
    }
    if (limit == 0) {
        str_append(out_problem, "there is no max_connections to be under again; write "
                                "max_connections as well, or \"auto\" here");
        return -EINVAL;
    }
    str_append(out_problem, "above max_connections = ");
    option_print(options_find(SECTION_BACKEND, "max_connections"), backend, out_problem);
    str_append(out_problem, "; write at most that, or \"auto\" for 3/4 of it");
    return -EINVAL;
}
