/*
 * pause pool, resume pool: the pool's option paused, set as any other, for people who are about to
 * switch a database over. In master.
 */
#include "ctl/change.h"
#include "ctl/command.h"
#include "ctl/request.h"

static enum command_outcome set_paused(struct request *request, const char *value, uint64_t for_ms)
{
    const struct ctl_host *host = &request->host;

    if (!request_find_pool(request, request->args[0]))
        return COMMAND_DONE;
    request->options[0] = (struct ctl_setting){"paused", value};
    request->n_options = 1;
    request->edit = (struct ctl_edit){.verb = CTL_EDIT_SET,
                                      .pool = request->args[0],
                                      .settings = request->options,
                                      .n_settings = request->n_options,
                                      .for_ms = for_ms,
                                      .has_within = request->has_within,
                                      .within_ms = request->within_ms};
    host->ops->edit(host->self, &request->edit, &request->who, request->force, change_answer,
                    request);
    return COMMAND_PENDING;
}

static enum command_outcome run_pause(struct request *request)
{
    bool ends = request_option(request, "for") != NULL;
    uint64_t for_ms = 0;

    request->has_within = request_option(request, "within") != NULL;
    if (request_take_time(request, "within", &request->within_ms) != 0 ||
        request_take_time(request, "for", &for_ms) != 0)
        return COMMAND_DONE;
    if (ends && for_ms == 0) {
        reply_error(&request->reply, "for=0s: it would end at once; write a longer time, or leave "
                                     "it out");
        return COMMAND_DONE;
    }
    return set_paused(request, "true", for_ms);
}

static enum command_outcome run_resume(struct request *request)
{
    return set_paused(request, "false", 0);
}

const struct command cmd_pause_pool = {
    .words = "pause pool",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES,
    .arguments = "POOL [within=TIME] [for=TIME]",
    .help = "new sessions wait until resume pool (paused=true), or the end of for=; those that are "
            "connected go on, and with within= those that remain are closed by its end",
    .args_min = 1,
    .args_max = 1,
    .options = (const char *const[]){"within", "for", NULL},
    .run = run_pause,
};

const struct command cmd_resume_pool = {
    .words = "resume pool",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES,
    .arguments = "POOL",
    .help = "ends a pause: those who wait get their backends (paused=false)",
    .args_min = 1,
    .args_max = 1,
    .run = run_resume,
};
