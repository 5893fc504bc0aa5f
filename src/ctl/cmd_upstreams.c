/*
 * show upstreams: what becomes of connections to backends where pools keep them, and why they are
 * not used again where they are not. In master.
 */
#include "ctl/command.h"
#include "ctl/request.h"
#include "ctl/view.h"

static void put_pool(struct reply *reply, const struct view *view, const struct model_pool *pool)
{
    struct standing standing;

    view_standing(view, pool, &standing);
    for (size_t i = 0; i < pool->n_backends; i++) {
        struct view_upstreams row;

        view_upstreams(view, pool, &standing, i, &row);
        reply_row(reply, &row);
    }
}

static enum command_outcome run_upstreams(struct request *request)
{
    struct view view = view_of(&request->host, request->now_ms, request->wall_ms);
    struct reply *reply = &request->reply;
    const struct model_pool *only = NULL;
    bool any = false;

    if (request->n_args > 0) {
        only = request_find_pool(request, request->args[0]);
        if (!only)
            return COMMAND_DONE;
    }
    reply_table_begin(reply, "upstreams", view_upstreams_columns);
    for (size_t i = 0; i < view.model->n_pools; i++) {
        const struct model_pool *pool = &view.model->pools[i];

        if ((only && pool != only) || !view_has_reuse(&view, pool))
            continue;
        any = true;
        put_pool(reply, &view, pool);
    }
    reply_table_end(reply);
    if (!any && only)
        reply_line(reply, "pool %s keeps no connections: its reuse mode is off", only->name);
    else if (!any)
        reply_line(reply, "no pool keeps connections: the reuse mode of all is off");
    return COMMAND_DONE;
}

const struct command cmd_show_upstreams = {
    .words = "show upstreams",
    .level = CTL_LEVEL_READ,
    .arguments = "[POOL]",
    .help = "connections to backends that are kept: use, discards, and why there is no reuse",
    .args_max = 1,
    .run = run_upstreams,
};
