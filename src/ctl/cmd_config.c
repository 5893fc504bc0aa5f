/*
 * Verbs about the configuration as a whole, and the end of the daemon. In master.
 */
#include <unistd.h>

#include "ctl/change.h"
#include "ctl/command.h"
#include "ctl/format.h"
#include "ctl/request.h"
#include "ctl/view.h"

#define CONFIRM_MIN_MS 1000
#define CONFIRM_MAX_MS (UINT64_C(24) * 60 * 60 * 1000)

static enum command_outcome run_show_config(struct request *request)
{
    struct view view = view_of(&request->host, request->now_ms, request->wall_ms);
    struct reply *reply = &request->reply;
    STR_AUTO text = {.limit = reply->body.limit};

    change_print_config(request, &text);
    if (text.failed) {
        reply_error(reply, "the configuration is too large to be shown, or memory has run out");
        return COMMAND_DONE;
    }
    if (reply->as_json)
        json_put_uint(&reply->json, "generation", view.model->generation);
    reply_document(reply, "config", str_text(&text));
    return COMMAND_DONE;
}

/* That is no option of a file, so there is no line to paste. */
static void put_health(struct request *request, bool is_failed)
{
    struct reply *reply = &request->reply;
    struct ctl_health health;

    if (reply->as_json)
        json_put_string(&reply->json, "health", is_failed ? "fail" : "auto");
    if (!is_failed || reply->as_json)
        return;
    request->host.ops->health(request->host.self, NULL, &health);
    reply_line(reply, "# health answers say no: %s; set global health=auto ends it", health.reason);
}

static enum command_outcome run_show_diff(struct request *request)
{
    struct view view = view_of(&request->host, request->now_ms, request->wall_ms);
    bool is_failed = atomic_load(&view.sb->header->health_fail) != 0;
    struct reply *reply = &request->reply;
    STR_AUTO text = {.limit = reply->body.limit};

    if (view.overrides)
        overrides_print(view.overrides, view.model, &text);
    if (text.failed) {
        reply_error(reply, "what stands against the file is too much to be shown");
        return COMMAND_DONE;
    }
    if (reply->as_json)
        json_put_uint(&reply->json, "generation", view.model->generation);
    change_put_overrides(request);
    put_health(request, is_failed);
    if (!reply->as_json)
        change_put_standing(request);
    if (text.len == 0 && !is_failed && request->host.ops->configs(request->host.self)->file_runs)
        reply_line(reply, "nothing stands against the file as it was read last");
    if (text.len > 0 || reply->as_json)
        reply_document(reply, "diff", str_text(&text));
    if (reply->as_json)
        change_put_standing(request);
    return COMMAND_DONE;
}

static enum command_outcome run_check_config(struct request *request)
{
    const char *path = request->n_args > 0 ? request->args[0] : NULL;

    if (path && path[0] != '/') {
        reply_error(&request->reply,
                    "FILE must be an absolute path here: the daemon has another working directory");
        return COMMAND_DONE;
    }
    request->host.ops->check_config(request->host.self, path, &request->who, change_answer_check,
                                    request);
    return COMMAND_PENDING;
}

static enum command_outcome run_reload(struct request *request)
{
    uint64_t confirm_ms = 0;

    if (request_option_time(request, "confirm", &confirm_ms) != 0)
        return COMMAND_DONE;
    if (request_option(request, "confirm") &&
        (confirm_ms < CONFIRM_MIN_MS || confirm_ms > CONFIRM_MAX_MS)) {
        reply_error(&request->reply, "confirm=%s: write a time from 1s to 1d",
                    request_option(request, "confirm"));
        return COMMAND_DONE;
    }
    request->host.ops->reload(request->host.self, confirm_ms, &request->who, change_answer,
                              request);
    return COMMAND_PENDING;
}

static enum command_outcome run_upgrade(struct request *request)
{
    const char *path = request->n_args > 0 ? request->args[0] : NULL;

    if (path && path[0] != '/') {
        reply_error(&request->reply, "PATH must be an absolute path here: the daemon has another "
                                     "working directory");
        return COMMAND_DONE;
    }
    if (path && request->who.uid != 0 && request->who.uid != geteuid()) {
        reply_error(&request->reply, "only root and the daemon's own user may name the program; "
                                     "leave PATH out to run the installed one");
        return COMMAND_DONE;
    }
    request->host.ops->upgrade(request->host.self, path, &request->who, change_answer, request);
    return COMMAND_PENDING;
}

static void begin_stop(struct request *request)
{
    if (request_is_live(request))
        request->host.ops->stop(request->host.self, &request->who, request->within_ms);
}

/* What will happen, for people. */
static void put_stop(struct request *request, const struct model_global *global)
{
    struct reply *reply = &request->reply;
    struct ctl_host_info info = {0};
    uint64_t within_ms =
        request->within_ms == UINT64_MAX ? global->drain_timeout_ms : request->within_ms;
    char text[FORMAT_TEXT_MAX];

    request->host.ops->info(request->host.self, &info);
    if (info.stopping) {
        reply_line(reply, "it was stopping already: ending at once");
        return;
    }
    if (global->stop_delay_ms > 0)
        reply_line(reply, "stopping: health answers say no, clients are accepted for %s more",
                   format_duration(global->stop_delay_ms, text));
    reply_line(reply, "%s: sessions may go on for %s at most",
               global->stop_delay_ms > 0 ? "then" : "stopping", format_duration(within_ms, text));
}

static enum command_outcome run_stop(struct request *request)
{
    static char change[] = "global: stopping";
    static char *const changes[] = {change};
    struct view view = view_of(&request->host, request->now_ms, request->wall_ms);
    struct reply *reply = &request->reply;

    request->within_ms = UINT64_MAX;
    if (request_option_time(request, "within", &request->within_ms) != 0)
        return COMMAND_DONE;
    request->afterwards = begin_stop;
    if (reply->as_json) {
        json_put_uint(&reply->json, "generation", view.model->generation);
        reply_lines(reply, "changes", changes, 1);
    } else {
        put_stop(request, &view.model->global);
    }
    return COMMAND_DONE;
}

const struct command cmd_show_config = {
    .words = "show config",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "the running configuration in file syntax, overrides as comments before it",
    .run = run_show_config,
};

const struct command cmd_show_diff = {
    .words = "show diff",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "what was said by command and stands against the file: lines to paste, by whom and why",
    .run = run_show_diff,
};

const struct command cmd_check_config = {
    .words = "check config",
    .level = CTL_LEVEL_ADMINISTER,
    .arguments = "[FILE]",
    .help = "what a reload would say and change, and how many clients hash schedulers would move; "
            "without FILE the daemon's own file",
    .args_max = 1,
    .run = run_check_config,
};

const struct command cmd_reload = {
    .words = "reload",
    .level = CTL_LEVEL_ADMINISTER,
    .flags = COMMAND_CHANGES,
    .arguments = "[confirm=TIME]",
    .help = "reads the file again; all of it is taken or nothing, and returns unless confirmed in "
            "TIME",
    .options = (const char *const[]){"confirm", NULL},
    .run = run_reload,
};

const struct command cmd_upgrade = {
    .words = "upgrade",
    .level = CTL_LEVEL_ADMINISTER,
    .flags = COMMAND_CHANGES,
    .args_max = 1,
    .arguments = "[PATH]",
    .help = "starts the installed program, or PATH, beside this one; once it serves this one takes "
            "no new clients, and its sessions go on for upgrade_timeout",
    .run = run_upgrade,
};

const struct command cmd_stop = {
    .words = "stop",
    .level = CTL_LEVEL_ADMINISTER,
    .flags = COMMAND_CHANGES,
    .arguments = "[within=TIME]",
    .help =
        "after stop_delay stops accepting, lets sessions end for drain_timeout or TIME, ends the "
        "daemon",
    .options = (const char *const[]){"within", NULL},
    .run = run_stop,
};
