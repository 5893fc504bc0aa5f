/*
 * Verbs that show live tables: each row type is a view (view.h). In master.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/memory.h"
#include "ctl/request.h"
#include "ctl/view.h"

static struct view view_now(const struct request *request)
{
    return view_of(&request->host, request->now_ms, request->wall_ms);
}

/* --- show info --- */

struct info_row {
    uint64_t pid, monitor_pid, monitor_restarts, workers, descriptors_limit, log_dropped,
        monitor_log_dropped, overrides, stopping, draining_pid, draining_sessions, events_dropped,
        file_runs, file_refused, file_refused_wall_ms, confirm_until_ms, memory_master_bytes,
        memory_monitor_bytes, memory_workers_bytes;
    const char *config_file, *file_refused_error, *status, *health_answers, *connections_limited_by;
    const uint64_t *connections_by; /* in the order of bound_names */
    struct reply_uints worker_pids;
};

#define INFO(key, title, kind)                                                                     \
    {                                                                                              \
#key, title, kind, offsetof(struct info_row, key), NULL, 0                                 \
    }

static const char *const bound_names[] = {"descriptors", "ports", "memory", "services", "backends"};

static const struct column info_columns[] = {
    INFO(connections_limited_by, "limited by", COLUMN_TEXT),
    {"connections_by", "allowed by", COLUMN_COUNTERS, offsetof(struct info_row, connections_by),
     bound_names, sizeof(bound_names) / sizeof(*bound_names)},
    INFO(config_file, "configuration file", COLUMN_TEXT),
    INFO(status, "status address", COLUMN_TEXT),
    INFO(file_runs, "runs what the file says", COLUMN_BOOL),
    INFO(file_refused, "file was refused", COLUMN_BOOL),
    INFO(file_refused_wall_ms, "file was refused at", COLUMN_WALL_MS),
    INFO(file_refused_error, "first error in it", COLUMN_TEXT),
    INFO(confirm_until_ms, "to be confirmed until", COLUMN_WALL_MS),
    INFO(overrides, "overrides", COLUMN_UINT),
    INFO(stopping, "stopping", COLUMN_BOOL),
    INFO(draining_pid, "drains after upgrade, pid", COLUMN_UINT),
    INFO(draining_sessions, "its sessions", COLUMN_UINT),
    INFO(health_answers, "health answers", COLUMN_TEXT),
    INFO(workers, "workers", COLUMN_UINT),
    INFO(descriptors_limit, "descriptors per worker", COLUMN_UINT),
    INFO(pid, "master pid", COLUMN_UINT),
    INFO(monitor_pid, "monitor pid", COLUMN_UINT),
    INFO(worker_pids, "worker pids", COLUMN_UINTS),
    INFO(monitor_restarts, "monitor restarts", COLUMN_UINT),
    INFO(memory_master_bytes, "memory of master", COLUMN_BYTES),
    INFO(memory_monitor_bytes, "memory of monitor", COLUMN_BYTES),
    INFO(memory_workers_bytes, "memory of workers", COLUMN_BYTES),
    INFO(log_dropped, "log lines dropped", COLUMN_UINT),
    INFO(monitor_log_dropped, "of them the monitor's", COLUMN_UINT),
    INFO(events_dropped, "events not kept", COLUMN_UINT),
    {0},
};

static size_t list_worker_pids(const struct scoreboard *sb, uint64_t pids[static WORKERS_MAX])
{
    size_t count = 0;

    for (uint32_t i = 0; i < sb->header->n_workers && i < WORKERS_MAX; i++) {
        int32_t pid = atomic_load_explicit(&sb->workers[i].pid, memory_order_relaxed);

        if (pid > 0)
            pids[count++] = (uint64_t)pid;
    }
    return count;
}

/* One that cannot be read makes the sum unknown. */
static uint64_t sum_memory(const struct ctl_host *host, const struct reply_uints *pids)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < pids->count; i++) {
        uint64_t bytes = host->ops->memory(host->self, (pid_t)pids->items[i]);

        if (bytes == UINT64_MAX)
            return REPLY_NONE;
        sum += bytes;
    }
    return sum;
}

static void put_info(struct request *request, const struct view *view,
                     const struct ctl_host_info *info)
{
    const struct sb_header *header = view->sb->header;
    const struct ctl_host *host = &request->host;
    const struct ctl_configs *configs = host->ops->configs(host->self);
    int32_t monitor = atomic_load_explicit(&header->monitor_pid, memory_order_relaxed);
    const uint64_t bounds[] = {info->connections_by_descriptors, info->connections_by_ports,
                               info->connections_by_memory, info->connections_by_services,
                               info->connections_by_backends};
    uint64_t pids[WORKERS_MAX];
    struct info_row row = {
        .connections_limited_by = info->connections_limited_by,
        .connections_by = bounds,
        .config_file = info->config_file,
        .status = info->status,
        .overrides = view->overrides ? view->overrides->count : 0,
        .stopping = info->stopping,
        .draining_pid = info->draining_pid > 0 ? (uint64_t)info->draining_pid : REPLY_NONE,
        .draining_sessions = info->draining_pid > 0 ? info->draining_sessions : REPLY_NONE,
        .health_answers =
            atomic_load_explicit(&header->health_fail, memory_order_relaxed) ? "fail" : "auto",
        .workers = header->n_workers,
        .descriptors_limit = info->descriptors_limit,
        .pid = (uint64_t)info->pid,
        .monitor_pid = monitor > 0 ? (uint64_t)monitor : REPLY_NONE,
        .worker_pids = {pids, list_worker_pids(view->sb, pids)},
        .monitor_restarts = atomic_load_explicit(&header->monitor_restarts, memory_order_relaxed),
        .memory_master_bytes = memory_of_process(info->pid),
        .memory_monitor_bytes = monitor > 0 ? host->ops->memory(host->self, monitor) : REPLY_NONE,
        .log_dropped = info->log_dropped,
        .monitor_log_dropped =
            atomic_load_explicit(&header->monitor_log_dropped, memory_order_relaxed),
        .events_dropped = info->events_dropped,
        .file_runs = configs->file_runs,
        .file_refused = configs->refused_wall_ms != 0,
        .file_refused_wall_ms =
            configs->refused_wall_ms != 0 ? configs->refused_wall_ms : REPLY_NONE,
        .file_refused_error = configs->refused,
        .confirm_until_ms = configs->returns != 0 ? configs->until_ms : REPLY_NONE,
    };

    row.memory_workers_bytes = sum_memory(host, &row.worker_pids);
    reply_record(&request->reply, info_columns, &row);
}

static enum command_outcome run_info(struct request *request)
{
    struct view view = view_now(request);
    struct ctl_host_info info = {0};
    struct view_total total;

    request->host.ops->info(request->host.self, &info);
    view_total(&view, &info, &total);
    reply_record(&request->reply, view_total_columns, &total);
    put_info(request, &view, &info);
    return COMMAND_DONE;
}

/* --- tables --- */

static enum command_outcome run_services(struct request *request)
{
    struct view view = view_now(request);

    reply_table_begin(&request->reply, "services", view_service_columns);
    for (size_t i = 0; i < view.model->n_services; i++) {
        struct view_service row;

        view_service(&view, &view.model->services[i], &row);
        reply_row(&request->reply, &row);
        view_service_release(&row);
    }
    reply_table_end(&request->reply);
    return COMMAND_DONE;
}

static enum command_outcome run_pools(struct request *request)
{
    struct view view = view_now(request);

    reply_table_begin(&request->reply, "pools", view_pool_columns);
    for (size_t i = 0; i < view.model->n_pools; i++) {
        struct view_pool row;

        view_pool(&view, &view.model->pools[i], &row);
        reply_row(&request->reply, &row);
    }
    reply_table_end(&request->reply);
    return COMMAND_DONE;
}

static enum command_outcome run_workers(struct request *request)
{
    struct view view = view_now(request);

    reply_table_begin(&request->reply, "workers", view_worker_columns);
    for (uint32_t i = 0; i < view.sb->header->n_workers; i++) {
        struct view_worker row;

        view_worker(&view, i, &row);
        reply_row(&request->reply, &row);
    }
    reply_table_end(&request->reply);
    return COMMAND_DONE;
}

/* A row for one backend of the pool. */
typedef void put_fn(struct reply *reply, const struct view *view, const struct model_pool *pool,
                    const struct standing *standing, size_t index);

/* Those that were removed and still have sessions, also of pools that are gone. */
static void put_removed(struct request *request, const struct view *view,
                        const struct model_pool *only)
{
    const struct ctl_host *host = &request->host;

    for (uint32_t slot = 0; slot < SB_SLOTS_MAX; slot++) {
        struct ctl_drain drain;
        struct view_backend row;

        if (!host->ops->drain(host->self, slot, &drain) || !drain.removed ||
            atomic_load_explicit(&view->sb->slot_active[slot], memory_order_relaxed) == 0 ||
            (only && strcmp(drain.pool, only->name) != 0))
            continue;
        view_removed(view, &drain, slot, &row);
        reply_row(&request->reply, &row);
    }
}

/* The backends of [POOL], or of all pools. */
static enum command_outcome put_backends(struct request *request, const char *key,
                                         const struct column *columns, put_fn *put,
                                         bool with_removed)
{
    struct view view = view_now(request);
    const struct model_pool *only = NULL;

    if (request->n_args > 0) {
        only = request_find_pool(request, request->args[0]);
        if (!only)
            return COMMAND_DONE;
    }
    reply_table_begin(&request->reply, key, columns);
    for (size_t i = 0; i < view.model->n_pools; i++) {
        const struct model_pool *pool = &view.model->pools[i];
        struct standing standing;

        if (only && pool != only)
            continue;
        view_standing(&view, pool, &standing);
        for (size_t k = 0; k < pool->n_backends; k++)
            put(&request->reply, &view, pool, &standing, k);
    }
    if (with_removed)
        put_removed(request, &view, only);
    reply_table_end(&request->reply);
    return COMMAND_DONE;
}

static void put_backend(struct reply *reply, const struct view *view, const struct model_pool *pool,
                        const struct standing *standing, size_t index)
{
    struct view_backend row;

    view_backend(view, pool, standing, index, &row);
    reply_row(reply, &row);
}

/* For people a line per check. Programs get an object per backend, which holds its checks. */
static void put_check(struct reply *reply, const struct view *view, const struct model_pool *pool,
                      const struct standing *standing, size_t index)
{
    struct view_check row;
    struct view_check_line line;

    if (!view_is_watched(view, pool, index))
        return;
    view_check(view, pool, standing, index, &row);
    if (reply->as_json) {
        reply_row(reply, &row);
        return;
    }
    for (size_t i = 0; i < view_check_lines(&row); i++) {
        view_check_line(&row, i, &line);
        reply_row(reply, &line);
    }
}

static bool any_has_reuse(const struct view *view)
{
    for (size_t i = 0; i < view->model->n_pools; i++)
        if (view_has_reuse(view, &view->model->pools[i]))
            return true;
    return false;
}

static enum command_outcome run_backends(struct request *request)
{
    struct view view = view_now(request);
    struct column columns[REPLY_COLUMNS_MAX];

    return put_backends(request, "backends",
                        view_backend_columns_for_show(any_has_reuse(&view), columns), put_backend,
                        true);
}

static enum command_outcome run_checks(struct request *request)
{
    return put_backends(request, "checks",
                        request->reply.as_json ? view_check_columns : view_check_line_columns,
                        put_check, false);
}

/* --- show errors --- */

struct failure {
    const char *kind, *name, *reason;
    uint64_t count;
};

static const struct column failure_columns[] = {
    {"kind", "KIND", COLUMN_TEXT, offsetof(struct failure, kind), NULL, 0},
    {"name", "OF", COLUMN_TEXT, offsetof(struct failure, name), NULL, 0},
    {"reason", "REASON", COLUMN_TEXT, offsetof(struct failure, reason), NULL, 0},
    {"count", "COUNT", COLUMN_UINT, offsetof(struct failure, count), NULL, 0},
    {0},
};

static void put_failure(struct reply *reply, const char *kind, const char *name, const char *reason,
                        uint64_t count)
{
    struct failure row = {kind, name, reason, count};

    if (count > 0)
        reply_row(reply, &row);
}

static void put_service_failures(struct reply *reply, const struct view *view)
{
    for (size_t i = 0; i < view->model->n_services; i++) {
        const struct model_service *service = &view->model->services[i];
        struct sb_service_sum sum;

        scoreboard_sum_service(view->sb, service->row, &sum);
        for (size_t k = 0; k < REFUSAL_COUNT; k++)
            put_failure(reply, "refused", service->name, refusal_names[k], sum.refused_by[k]);
        for (size_t k = 0; k < ENDING_COUNT; k++) {
            if (k == ENDING_CLIENT_FIN || k == ENDING_BACKEND_FIN)
                continue; /* as it should be */
            put_failure(reply, "ended", service->name, ending_names[k], sum.ended_by[k]);
        }
    }
}

static void put_connect_failures(struct reply *reply, const struct view *view)
{
    for (size_t i = 0; i < view->model->n_pools; i++) {
        const struct model_pool *pool = &view->model->pools[i];

        for (size_t k = 0; k < pool->n_backends; k++) {
            const struct model_backend *backend = &pool->backends[k];
            const struct sb_row *row = &view->sb->rows[backend->row];
            STR_AUTO name = {0};

            str_printf(&name, "%s/%s", pool->name, backend->name);
            put_failure(reply, "connect", str_text(&name), "connect_failed",
                        atomic_load_explicit(&row->connect_failures, memory_order_relaxed));
        }
    }
}

static enum command_outcome run_errors(struct request *request)
{
    struct view view = view_now(request);
    struct reply *reply = &request->reply;

    reply_table_begin(reply, "failures", failure_columns);
    put_service_failures(reply, &view);
    put_connect_failures(reply, &view);
    for (uint32_t i = 0; i < view.sb->header->n_workers; i++) {
        char name[32];

        snprintf(name, sizeof(name), "worker %u", (unsigned)i);
        put_failure(reply, "accept", name, "accept_errors",
                    atomic_load_explicit(&view.sb->workers[i].accept_errors, memory_order_relaxed));
    }
    reply_table_end(reply);
    return COMMAND_DONE;
}

/* --- descriptors --- */

const struct command cmd_show_info = {
    .words = "show info",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "version, generation, uptime, pids, limits, memory",
    .run = run_info,
};

const struct command cmd_show_services = {
    .words = "show services",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "services with live figures",
    .run = run_services,
};

const struct command cmd_show_pools = {
    .words = "show pools",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "pools with live figures",
    .run = run_pools,
};

const struct command cmd_show_backends = {
    .words = "show backends",
    .level = CTL_LEVEL_READ,
    .arguments = "[POOL]",
    .help = "backends with state, why, since when, and live figures",
    .args_max = 1,
    .run = run_backends,
};

const struct command cmd_show_workers = {
    .words = "show workers",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "worker processes with live figures",
    .run = run_workers,
};

const struct command cmd_show_checks = {
    .words = "show checks",
    .level = CTL_LEVEL_READ,
    .arguments = "[POOL]",
    .help = "each health check: state, last results and why; failures and ejections by sessions",
    .args_max = 1,
    .run = run_checks,
};

const struct command cmd_show_errors = {
    .words = "show errors",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "failures by reason, of services, backends and workers",
    .run = run_errors,
};
