/*
 * Verbs that change a backend: set, and the three short forms of its admin state. Whether the value
 * is good, and whether the pool can spare the backend, is judged by the host. In master.
 */
#include "ctl/change.h"
#include "ctl/command.h"
#include "ctl/request.h"

static enum command_outcome change_backend(struct request *request,
                                           const struct ctl_setting *settings, size_t n_settings)
{
    const struct model_pool *pool = request_find_pool(request, request->args[0]);
    const struct ctl_host *host = &request->host;

    if (!pool || !request_find_backend(request, pool, request->args[1]))
        return COMMAND_DONE;
    host->ops->set_backend(host->self, request->args[0], request->args[1], settings, n_settings,
                           &request->who, request->force, change_answer, request);
    return COMMAND_PENDING;
}

static enum command_outcome run_set(struct request *request)
{
    return change_backend(request, request->options, request->n_options);
}

/* The settings stay in the request: the host may need them until it answers. */
static enum command_outcome set_admin(struct request *request, const char *value)
{
    request->options[0] = (struct ctl_setting){"admin", value};
    request->n_options = 1;
    return change_backend(request, request->options, request->n_options);
}

static enum command_outcome run_drain(struct request *request)
{
    return set_admin(request, "drain");
}

static enum command_outcome run_ready(struct request *request)
{
    return set_admin(request, "ready");
}

static enum command_outcome run_maintain(struct request *request)
{
    return set_admin(request, "maintenance");
}

const struct command cmd_set_backend = {
    .words = "set backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE | COMMAND_SETTINGS,
    .arguments = "POOL NAME option=value …",
    .help = "overrides weight, max_connections, resume_connections, connect_rate or admin of a "
            "backend",
    .args_min = 2,
    .args_max = 2,
    .run = run_set,
};

const struct command cmd_drain_backend = {
    .words = "drain backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL NAME",
    .help = "no new sessions for a backend, those it has go on (admin=drain)",
    .args_min = 2,
    .args_max = 2,
    .run = run_drain,
};

const struct command cmd_ready_backend = {
    .words = "ready backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL NAME",
    .help = "a backend takes sessions again (admin=ready)",
    .args_min = 2,
    .args_max = 2,
    .run = run_ready,
};

const struct command cmd_maintain_backend = {
    .words = "maintain backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL NAME",
    .help = "a backend is out for maintenance; closes nothing (admin=maintenance)",
    .args_min = 2,
    .args_max = 2,
    .run = run_maintain,
};
