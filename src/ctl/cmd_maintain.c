/*
 * maintain backend: its admin state is set as any other, and with close=true its sessions are
 * closed once every worker knows, so that nobody comes back to it. In master.
 */
#include <errno.h>
#include <string.h>

#include "ctl/change.h"
#include "ctl/command.h"
#include "ctl/request.h"

/* --- its sessions --- */

static void close_next(struct request *request);

/* What could not be closed does not undo the maintenance. */
static void closed(void *arg, const struct errlist *errors, const struct change_list *changes,
                   uint32_t generation, uint64_t sessions, uint64_t until_wall_ms)
{
    struct request *request = arg;

    (void)generation;
    (void)sessions;
    (void)until_wall_ms;
    change_gather(request, errors, changes);
    close_next(request);
}

/* Whether the command means the pool, and some backend of it. */
static bool is_meant(const struct request *request, const struct model_pool *pool)
{
    return (strcmp(request->args[0], "*") == 0 || strcmp(request->args[0], pool->name) == 0) &&
           model_has_backend(pool, request->args[1]);
}

/* All addresses of a name at once. */
static void close_of(struct request *request, const struct model_pool *pool)
{
    const struct ctl_host *host = &request->host;
    struct ctl_closing *closing = &request->closing;

    str_reset(&request->closing_pool);
    str_append(&request->closing_pool, pool->name);
    str_reset(&request->closing_what);
    str_printf(&request->closing_what, "pool %s, backend %s", pool->name, request->args[1]);
    closing->filter =
        (struct session_filter){.service_row = SESSION_FILTER_ANY, .row = SESSION_FILTER_ANY};
    request_filter_rows(pool, request->args[1], &closing->filter);
    closing->pool = str_text(&request->closing_pool);
    closing->backend = request->args[1];
    closing->what = str_text(&request->closing_what);
    host->ops->close(host->self, closing, &request->who, closed, request);
}

/* One pool after the other; then the reply says all of it. */
static void close_next(struct request *request)
{
    const struct model *model =
        request_is_live(request) ? request->host.ops->model(request->host.self) : NULL;

    while (model && request->n_pools_closed < model->n_pools) {
        const struct model_pool *pool = &model->pools[request->n_pools_closed++];

        if (is_meant(request, pool)) {
            close_of(request, pool);
            return;
        }
    }
    change_answer(request, &request->gathered_errors, &request->gathered,
                  request->gathered_generation);
}

static void maintained(void *arg, const struct errlist *errors, const struct change_list *changes,
                       uint32_t generation)
{
    struct request *request = arg;

    if (errors && errors->errors > 0) {
        change_answer(request, errors, changes, generation);
        return;
    }
    request->gathered_generation = generation;
    change_gather(request, errors, changes);
    close_next(request);
}

/* --- the command --- */

/* Returns 0, or -EINVAL with the reply an error. */
static int take_close(struct request *request, bool *out)
{
    const char *value = request_option(request, "close");

    *out = value && strcmp(value, "true") == 0;
    if (value && !*out && strcmp(value, "false") != 0) {
        reply_error(&request->reply, "close=%s: write true or false", value);
        return -EINVAL;
    }
    if (!*out && request_option(request, "within")) {
        reply_error(&request->reply, "within= says how long closing may take; write close=true, "
                                     "too, or leave it out");
        return -EINVAL;
    }
    return request_option_time(request, "within", &request->closing.over_ms);
}

static enum command_outcome run_maintain(struct request *request)
{
    const struct ctl_host *host = &request->host;
    const char *const *args = request->args;
    const struct model_pool *pool;
    bool closes;

    if (take_close(request, &closes) != 0)
        return COMMAND_DONE;
    if (strcmp(args[0], "*") == 0) {
        if (!request_find_anywhere(request, args[1]))
            return COMMAND_DONE;
    } else {
        pool = request_find_pool(request, args[0]);
        if (!pool || !request_has_backend(request, pool, args[1]))
            return COMMAND_DONE;
    }
    request->options[0] = (struct ctl_setting){"admin", "maintenance"};
    request->n_options = 1;
    request->edit = (struct ctl_edit){.verb = CTL_EDIT_SET,
                                      .pool = args[0],
                                      .backend = args[1],
                                      .settings = request->options,
                                      .n_settings = request->n_options};
    host->ops->edit(host->self, &request->edit, &request->who, request->force,
                    closes ? maintained : change_answer, request);
    return COMMAND_PENDING;
}

const struct command cmd_maintain_backend = {
    .words = "maintain backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL NAME [close=true [within=TIME]]",
    .help = "a backend is out for maintenance (admin=maintenance); closes nothing without "
            "close=true, with it evenly within TIME; POOL may be *",
    .args_min = 2,
    .args_max = 2,
    .options = (const char *const[]){"close", "within", NULL},
    .run = run_maintain,
};
