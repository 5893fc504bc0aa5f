/*
 * show source-ports: how many ports are left to connect to backends from, by source address. In
 * master.
 */
#include <string.h>

#include "ctl/command.h"
#include "ctl/request.h"
#include "ctl/view.h"

#define LINES_MAX 64 /* of a pool, with a line for each source; else a line for each backend */

static void put_backend(struct reply *reply, const struct view *view, const char *pool,
                        const struct snapshot_backend *backend, bool each)
{
    uint32_t n = backend->n_sources, step = each ? 1 : n;
    struct view_ports row;

    for (uint32_t i = 0; i < n; i += step) {
        view_ports(view, backend, i, step, &row);
        row.pool = pool;
        reply_row(reply, &row);
    }
}

/* Only the backend of that name, with all of its sources; NULL: all backends. */
static void put_pool(struct reply *reply, const struct view *view, const struct model_pool *pool,
                     const char *only)
{
    const struct snapshot_pool *record = &snapshot_pools(view->snapshot)[pool - view->model->pools];
    const struct snapshot_backend *backends =
        snapshot_backends(view->snapshot) + record->first_backend;
    uint64_t n_sources = 0;

    for (uint32_t i = 0; i < record->n_backends; i++)
        n_sources += backends[i].n_sources;
    for (uint32_t i = 0; i < record->n_backends; i++)
        if (only == NULL || strcmp(backends[i].name, only) == 0)
            put_backend(reply, view, pool->name, &backends[i],
                        only != NULL || n_sources <= LINES_MAX);
}

static enum command_outcome run_ports(struct request *request)
{
    struct view view = view_of(&request->host, request->now_ms, request->wall_ms);
    struct reply *reply = &request->reply;
    const struct model_pool *only = NULL;
    const char *backend = request->n_args > 1 ? request->args[1] : NULL;

    if (request->n_args > 0) {
        only = request_find_pool(request, request->args[0]);
        if (!only)
            return COMMAND_DONE;
    }
    if (backend && !model_find_backend(only, backend)) {
        reply_error(reply, "pool %s has no backend \"%s\"; see show backends %s", only->name,
                    backend, only->name);
        return COMMAND_DONE;
    }
    reply_table_begin(reply, "source_ports", view_ports_columns);
    for (size_t i = 0; i < view.model->n_pools; i++)
        if (!only || &view.model->pools[i] == only)
            put_pool(reply, &view, &view.model->pools[i], backend);
    reply_table_end(reply);
    return COMMAND_DONE;
}

const struct command cmd_show_ports = {
    .words = "show source-ports",
    .level = CTL_LEVEL_READ,
    .arguments = "[POOL [BACKEND]]",
    .help = "ports to connect to backends from: in use and left, by source address (of a pool with "
            "many, by backend)",
    .args_max = 2,
    .run = run_ports,
};
