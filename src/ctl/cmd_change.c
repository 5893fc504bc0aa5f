/*
 * Verbs that edit what runs: backends are added and removed, options of backends, pools and
 * services set and reset; and two of the three short forms of a backend's admin state. Whether the
 * values are good, and whether clients can spare what goes, is judged by the host. In master.
 */
#include <string.h>

#include "ctl/change.h"
#include "ctl/command.h"
#include "ctl/request.h"
#include "model/override.h"

/* What is asked stays in the request: the host needs it until it answers. Names may be NULL. */
static enum command_outcome ask_of(struct request *request, enum ctl_edit_verb verb,
                                   const char *service, const char *pool, const char *backend,
                                   uint64_t for_ms)
{
    const struct ctl_host *host = &request->host;

    request->edit = (struct ctl_edit){.verb = verb,
                                      .service = service,
                                      .pool = pool,
                                      .backend = backend,
                                      .settings = request->options,
                                      .n_settings = request->n_options,
                                      .for_ms = for_ms,
                                      .has_within = request->has_within,
                                      .within_ms = request->within_ms};
    host->ops->edit(host->self, &request->edit, &request->who, request->force, change_answer,
                    request);
    return COMMAND_PENDING;
}

/* Takes within=, for what ask() is to send. Returns 0, or -EINVAL with the reply an error. */
static int take_within(struct request *request)
{
    request->has_within = request_option(request, "within") != NULL;
    return request_take_time(request, "within", &request->within_ms);
}

/* The words are POOL, POOL NAME, or nothing. */
static enum command_outcome ask(struct request *request, enum ctl_edit_verb verb)
{
    return ask_of(request, verb, NULL, request->n_args > 0 ? request->args[0] : NULL,
                  request->n_args > 1 ? request->args[1] : NULL, 0);
}

static enum command_outcome change_backend(struct request *request, enum ctl_edit_verb verb)
{
    const struct model_pool *pool = request_find_pool(request, request->args[0]);

    if (!pool || !request_has_backend(request, pool, request->args[1]))
        return COMMAND_DONE;
    return ask(request, verb);
}

static const char *const set_options[] = {"for", NULL};

/* Sets the options that are given, for good or for=TIME. */
static enum command_outcome set(struct request *request, const char *service, const char *pool,
                                const char *backend)
{
    uint64_t for_ms = 0;
    bool given = request_option(request, "for") != NULL;

    if (request_take_time(request, "for", &for_ms) != 0)
        return COMMAND_DONE;
    if (request->n_options == 0) {
        (void)request_refuse_usage(request, "no option=value is given");
        return COMMAND_DONE;
    }
    if (given && for_ms == 0) {
        reply_error(&request->reply, "for=0s: it would end at once; write a longer time, or leave "
                                     "it out");
        return COMMAND_DONE;
    }
    return ask_of(request, CTL_EDIT_SET, service, pool, backend, for_ms);
}

enum command_outcome change_set_global(struct request *request)
{
    return set(request, NULL, NULL, NULL);
}

static enum command_outcome run_set(struct request *request)
{
    const char *const *args = request->args;
    const struct model_pool *pool = request_find_pool(request, args[0]);

    if (!pool || !request_has_backend(request, pool, args[1]))
        return COMMAND_DONE;
    return set(request, NULL, args[0], args[1]);
}

static enum command_outcome run_set_pool(struct request *request)
{
    return request_find_pool(request, request->args[0]) ? set(request, NULL, request->args[0], NULL)
                                                        : COMMAND_DONE;
}

static enum command_outcome run_set_service(struct request *request)
{
    return request_find_service(request, request->args[0])
               ? set(request, request->args[0], NULL, NULL)
               : COMMAND_DONE;
}

static enum command_outcome run_remove(struct request *request)
{
    if (take_within(request) != 0)
        return COMMAND_DONE;
    return change_backend(request, CTL_EDIT_REMOVE);
}

static enum command_outcome run_add(struct request *request)
{
    const char *problem = override_name_problem(request->args[1]);
    STR_AUTO name = {0};

    if (!request_find_pool(request, request->args[0]))
        return COMMAND_DONE;
    if (problem) {
        codec_quote(&name, request->args[1]);
        reply_error(&request->reply, "the name %s %s", str_text(&name), problem);
        return COMMAND_DONE;
    }
    memmove(&request->options[1], &request->options[0],
            request->n_options * sizeof(request->options[0]));
    request->options[0] = (struct ctl_setting){"address", request->args[2]};
    request->n_options++;
    return ask(request, CTL_EDIT_ADD);
}

static enum command_outcome set_admin(struct request *request, const char *value)
{
    request->options[0] = (struct ctl_setting){"admin", value};
    request->n_options = 1;
    if (strcmp(request->args[0], "*") != 0)
        return change_backend(request, CTL_EDIT_SET);
    return request_find_anywhere(request, request->args[1]) ? ask(request, CTL_EDIT_SET)
                                                            : COMMAND_DONE;
}

static enum command_outcome run_drain(struct request *request)
{
    if (take_within(request) != 0)
        return COMMAND_DONE;
    return set_admin(request, "drain");
}

static enum command_outcome run_ready(struct request *request)
{
    return set_admin(request, "ready");
}

/* Whether the operator has said anything about it; a removed one is in no list any more. */
static bool is_overridden(struct request *request, const char *pool, const char *backend)
{
    const struct overrides *list = request->host.ops->overrides(request->host.self);

    for (size_t i = 0; list && i < list->count; i++) {
        const struct override *item = &list->items[i];

        if (item->pool && item->backend && strcmp(item->pool, pool) == 0 &&
            strcmp(item->backend, backend) == 0)
            return true;
    }
    return false;
}

static enum command_outcome run_reset_backend(struct request *request)
{
    if (is_overridden(request, request->args[0], request->args[1]))
        return ask(request, CTL_EDIT_RESET);
    return change_backend(request, CTL_EDIT_RESET);
}

static enum command_outcome run_reset_pool(struct request *request)
{
    return request_find_pool(request, request->args[0]) ? ask(request, CTL_EDIT_RESET)
                                                        : COMMAND_DONE;
}

static enum command_outcome run_reset_service(struct request *request)
{
    return request_find_service(request, request->args[0])
               ? ask_of(request, CTL_EDIT_RESET, request->args[0], NULL, NULL, 0)
               : COMMAND_DONE;
}

static enum command_outcome run_reset_all(struct request *request)
{
    return ask(request, CTL_EDIT_RESET);
}

static const char *const within_options[] = {"within", NULL};

const struct command cmd_add_backend = {
    .words = "add backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES,
    .arguments = "POOL NAME ADDRESS [option=value …]",
    .help = "adds a backend, with the options and defaults that it would have in the file",
    .args_min = 3,
    .args_max = 3,
    .settings = override_addable,
    .run = run_add,
};

const struct command cmd_remove_backend = {
    .words = "remove backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL NAME [within=TIME]",
    .help = "takes a backend away; its sessions go on, and those that remain are closed by the end "
            "of TIME, or else of the pool's drain_within",
    .args_min = 2,
    .args_max = 2,
    .options = within_options,
    .run = run_remove,
};

const struct command cmd_set_backend = {
    .words = "set backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE | COMMAND_SETTINGS,
    .arguments = "POOL NAME option=value … [for=TIME]",
    .help = "overrides weight, max_connections, resume_connections, connect_rate or admin of a "
            "backend, or with health=up or down what its checks find (auto: no longer)",
    .args_min = 2,
    .args_max = 2,
    .options = set_options,
    .settings = override_settable_of_backend,
    .run = run_set,
};

const struct command cmd_set_pool = {
    .words = "set pool",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE | COMMAND_SETTINGS,
    .arguments = "POOL option=value … [for=TIME]",
    .help = "overrides options of a pool that have one value: scheduler, retries, queue and so on",
    .args_min = 1,
    .args_max = 1,
    .options = set_options,
    .settings = override_settable_of_pool,
    .run = run_set_pool,
};

const struct command cmd_set_service = {
    .words = "set service",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE | COMMAND_SETTINGS,
    .arguments = "SERVICE option=value … [for=TIME]",
    .help = "overrides options of a service that have one value; pool=POOL sends new clients "
            "there; admin=drain has health answers say no, admin=maintenance resets new clients",
    .args_min = 1,
    .args_max = 1,
    .options = set_options,
    .settings = override_settable_of_service,
    .run = run_set_service,
};

const struct command cmd_drain_backend = {
    .words = "drain backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL NAME [within=TIME]",
    .help = "no new sessions for a backend (admin=drain); those it has go on, and those that "
            "remain are closed by the end of TIME, or else of the pool's drain_within; POOL may "
            "be *",
    .args_min = 2,
    .args_max = 2,
    .options = within_options,
    .run = run_drain,
};

const struct command cmd_ready_backend = {
    .words = "ready backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL NAME",
    .help = "a backend takes sessions again (admin=ready), and those it has are no longer closed; "
            "POOL may be *",
    .args_min = 2,
    .args_max = 2,
    .run = run_ready,
};

const struct command cmd_reset_backend = {
    .words = "reset backend",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL NAME",
    .help = "forgets what was said of a backend by command: it is as the file has it, or gone",
    .args_min = 2,
    .args_max = 2,
    .run = run_reset_backend,
};

const struct command cmd_reset_pool = {
    .words = "reset pool",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "POOL",
    .help = "the same of a pool with all its backends",
    .args_min = 1,
    .args_max = 1,
    .run = run_reset_pool,
};

const struct command cmd_reset_service = {
    .words = "reset service",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "SERVICE",
    .help = "forgets what was said of a service by command",
    .args_min = 1,
    .args_max = 1,
    .run = run_reset_service,
};

const struct command cmd_reset_all = {
    .words = "reset all",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_FORCE,
    .arguments = "",
    .help = "forgets everything that was said by command: all is as the file has it",
    .run = run_reset_all,
};
