/*
 * show stats: everything in one document. Its JSON names are a promise to users and tools; they
 * come from the column lists of view_columns.c. In master.
 */
#include "ctl/command.h"
#include "ctl/request.h"
#include "ctl/view.h"

static const struct column pool_members[] = {
    {"name", NULL, COLUMN_TEXT, offsetof(struct view_pool, name), NULL, 0},
    {"scheduler", NULL, COLUMN_TEXT, offsetof(struct view_pool, scheduler), NULL, 0},
    {"queued", NULL, COLUMN_UINT, offsetof(struct view_pool, queued), NULL, 0},
    {"queued_peak", NULL, COLUMN_UINT, offsetof(struct view_pool, queued_peak), NULL, 0},
    {"overrides", NULL, COLUMN_UINT, offsetof(struct view_pool, overrides), NULL, 0},
    {"panic", NULL, COLUMN_BOOL, offsetof(struct view_pool, panic), NULL, 0},
    {"backups_used", NULL, COLUMN_BOOL, offsetof(struct view_pool, backups_used), NULL, 0},
    {"paused", NULL, COLUMN_BOOL, offsetof(struct view_pool, paused), NULL, 0},
    {0},
};

static void put_workers(const struct view *view, struct reply *reply)
{
    reply_table_begin(reply, "workers", view_worker_columns);
    for (uint32_t i = 0; i < view->sb->header->n_workers; i++) {
        struct view_worker row;

        view_worker(view, i, &row);
        reply_row(reply, &row);
    }
    reply_table_end(reply);
}

static void put_services(const struct view *view, struct reply *reply)
{
    reply_table_begin(reply, "services", view_service_columns);
    for (size_t i = 0; i < view->model->n_services; i++) {
        struct view_service row;

        view_service(view, &view->model->services[i], &row);
        reply_row(reply, &row);
        view_service_release(&row);
    }
    reply_table_end(reply);
}

static void put_backends(const struct view *view, struct reply *reply,
                         const struct model_pool *pool)
{
    struct standing standing;

    view_standing(view, pool, &standing);
    reply_table_begin(reply, "backends", view_backend_columns + 1);
    for (size_t i = 0; i < pool->n_backends; i++) {
        struct view_backend row;

        view_backend(view, pool, &standing, i, &row);
        reply_row(reply, &row);
    }
    reply_table_end(reply);
}

static void put_pools(const struct view *view, struct reply *reply)
{
    if (reply->as_json)
        json_begin_array(&reply->json, "pools");
    for (size_t i = 0; i < view->model->n_pools; i++) {
        const struct model_pool *pool = &view->model->pools[i];
        struct view_pool row;

        view_pool(view, pool, &row);
        reply_line(reply, "\npool %s, %s", pool->name, pool->scheduler);
        if (reply->as_json)
            json_begin_object(&reply->json, NULL);
        reply_members(reply, pool_members, &row);
        put_backends(view, reply, pool);
        if (reply->as_json)
            json_end_object(&reply->json);
    }
    if (reply->as_json)
        json_end_array(&reply->json);
}

static void put_all(const struct ctl_host *host, uint64_t now_ms, uint64_t wall_ms,
                    struct reply *reply)
{
    struct view view = view_of(host, now_ms, wall_ms);
    struct ctl_host_info info = {0};
    struct view_total total;

    host->ops->info(host->self, &info);
    view_total(&view, &info, &total);
    reply_record(reply, view_total_columns, &total);
    reply_line(reply, "\nworkers");
    put_workers(&view, reply);
    reply_line(reply, "\nservices");
    put_services(&view, reply);
    put_pools(&view, reply);
}

static enum command_outcome run_stats(struct request *request)
{
    put_all(&request->host, request->now_ms, request->wall_ms, &request->reply);
    return COMMAND_DONE;
}

void stats_render(const struct ctl_host *host, uint64_t now_ms, uint64_t wall_ms, struct str *out)
{
    struct reply reply;

    reply_init(&reply, true, out->limit);
    put_all(host, now_ms, wall_ms, &reply);
    reply_finish(&reply);
    out->failed = out->failed || reply.is_error;
    str_append_n(out, str_text(&reply.body), reply.body.len);
    str_append_char(out, '\n');
    reply_free(&reply);
}

const struct command cmd_show_stats = {
    .words = "show stats",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "all figures in one document",
    .run = run_stats,
};
