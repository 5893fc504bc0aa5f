/*
 * health: what a load balancer in front, keepalived or a router's watcher is told of the services;
 * and the operator's word against it. In master.
 */
#include <string.h>

#include "ctl/change.h"
#include "ctl/command.h"
#include "ctl/request.h"
#include "model/override.h"

/* --- health --- */

struct service_row {
    const char *name, *reason;
    uint64_t healthy, counts;
};

static const struct column service_columns[] = {
    {"name", NULL, COLUMN_TEXT, offsetof(struct service_row, name), NULL, 0},
    {"healthy", NULL, COLUMN_BOOL, offsetof(struct service_row, healthy), NULL, 0},
    {"counts", NULL, COLUMN_BOOL, offsetof(struct service_row, counts), NULL, 0},
    {"reason", NULL, COLUMN_TEXT, offsetof(struct service_row, reason), NULL, 0},
    {0},
};

static const char *word_of(bool healthy)
{
    return healthy ? "healthy" : "unhealthy";
}

/* The line that decides; sluicectl goes by how it begins: CODEC_HEALTHY, CODEC_HEALTHY_JSON. */
static void put_whole(struct reply *reply, bool healthy, const char *reason)
{
    if (reply->as_json) {
        json_put_bool(&reply->json, "healthy", healthy);
        json_put_string(&reply->json, "reason", reason);
    }
    reply_line(reply, "%s: %s", word_of(healthy), reason);
}

static void put_service(struct reply *reply, const struct model_service *service,
                        const struct ctl_health *health)
{
    struct service_row row = {service->name, health->reason, health->healthy, service->healthz};

    if (reply->as_json)
        json_begin_object(&reply->json, NULL);
    reply_members(reply, service_columns, &row);
    if (reply->as_json)
        json_end_object(&reply->json);
    reply_line(reply, "%s %s: %s%s", service->name, word_of(health->healthy), health->reason,
               service->healthz ? "" : " (does not count)");
}

static enum command_outcome run_health(struct request *request)
{
    const struct ctl_host *host = &request->host;
    const struct model *model = host->ops->model(host->self);
    const struct model_service *only = NULL;
    struct reply *reply = &request->reply;
    struct ctl_health health;
    STR_AUTO reason = {0};

    if (request->n_args > 0) {
        only = request_find_service(request, request->args[0]);
        if (!only)
            return COMMAND_DONE;
    }
    host->ops->health(host->self, only, &health);
    if (only)
        str_printf(&reason, "service %s is %s", only->name, word_of(health.healthy));
    put_whole(reply, health.healthy, only ? str_text(&reason) : health.reason);
    if (reply->as_json)
        json_begin_array(&reply->json, "services");
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];

        if (only && service != only)
            continue;
        host->ops->health(host->self, service, &health);
        put_service(reply, service, &health);
    }
    if (reply->as_json)
        json_end_array(&reply->json);
    return COMMAND_DONE;
}

/* --- set global --- */

static enum command_outcome run_set_global(struct request *request)
{
    const struct ctl_host *host = &request->host;
    const char *value = request_option(request, "health");
    bool fail;

    if (!value) {
        return change_set_global(request);
    }
    if (request->n_options > 1) {
        reply_error(&request->reply, "health=%s goes alone: it stands until health=auto", value);
        return COMMAND_DONE;
    }
    fail = strcmp(value, "fail") == 0;
    if (!fail && strcmp(value, "auto") != 0) {
        reply_error(&request->reply,
                    "health=%s: write fail (health answers say no) or auto (they say what is so)",
                    value);
        return COMMAND_DONE;
    }
    host->ops->set_health(host->self, fail, &request->who, change_answer, request);
    return COMMAND_PENDING;
}

/* --- descriptors --- */

const struct command cmd_health = {
    .words = "health",
    .level = CTL_LEVEL_READ,
    .arguments = "[SERVICE]",
    .help = "whether the services can serve; no counts at once, yes again after 3 s of it",
    .args_max = 1,
    .run = run_health,
};

const struct command cmd_set_global = {
    .words = "set global",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES | COMMAND_SETTINGS,
    .arguments = "health=fail|auto, or log_level=LEVEL [for=TIME]",
    .help = "health answers say no (fail), so that clients are sent elsewhere, or what is so; or "
            "overrides log_level",
    .options = (const char *const[]){"health", "for", NULL},
    .settings = override_settable_of_global,
    .run = run_set_global,
};
