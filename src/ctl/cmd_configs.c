/*
 * Verbs about configurations that were: listing those that are kept, going back to one, confirming
 * the running one; and handing the running one out to be saved. In master.
 */
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "ctl/change.h"
#include "ctl/command.h"
#include "ctl/request.h"

/* --- show configs --- */

struct config_row {
    uint64_t generation, wall_ms, changes, bytes, runs, file, returns, unconfirmed;
    const char *state, *by, *why;
};

#define ROW(key, title, kind)                                                                      \
    {                                                                                              \
#key, title, kind, offsetof(struct config_row, key), NULL, 0                               \
    }

static const struct column columns[] = {
    ROW(generation, "GENERATION", COLUMN_UINT),
    ROW(wall_ms, "SINCE", COLUMN_WALL_MS),
    ROW(state, "STATE", COLUMN_TEXT),
    ROW(changes, "CHANGES", COLUMN_UINT),
    ROW(bytes, "SIZE", COLUMN_BYTES),
    ROW(by, "BY", COLUMN_TEXT),
    ROW(why, "WHY", COLUMN_TEXT),
    ROW(runs, NULL, COLUMN_BOOL),
    ROW(file, NULL, COLUMN_BOOL),
    ROW(returns, NULL, COLUMN_BOOL),
    ROW(unconfirmed, NULL, COLUMN_BOOL),
    {0},
};

static const char *const states[2][2] = {{"", "in the file"}, {"runs", "runs, in the file"}};

static const struct ctl_configs *configs_of(const struct request *request)
{
    return request->host.ops->configs(request->host.self);
}

static void put_row(struct reply *reply, const struct ctl_configs *configs,
                    const struct kept_config *item)
{
    bool runs = item->generation == configs->running;
    bool is_file = configs->file_text && strcmp(configs->file_text, item->text) == 0;
    bool returns = item->generation == configs->returns;
    const struct config_row row = {
        .generation = item->generation,
        .wall_ms = item->wall_ms,
        .changes = item->changes,
        .bytes = strlen(item->text),
        .runs = runs,
        .file = is_file,
        .returns = returns,
        .unconfirmed = item->unconfirmed,
        .state = returns ? "returns unless confirmed" : states[runs][is_file],
        .by = item->by,
        .why = item->why,
    };

    reply_row(reply, &row);
}

static uint32_t parse_generation(struct request *request, const char *word)
{
    const char *problem;
    uint64_t generation = 0;

    if (units_parse_uint(word, 1, UINT32_MAX, &generation, &problem) == 0)
        return (uint32_t)generation;
    reply_error(&request->reply, "GENERATION %s: %s; show configs lists those that are kept", word,
                problem);
    return 0;
}

static enum command_outcome show_one(struct request *request, const struct ctl_configs *configs)
{
    uint32_t generation = parse_generation(request, request->args[0]);
    const struct kept_config *kept = kept_find(configs->kept, generation);

    if (generation == 0)
        return COMMAND_DONE;
    if (!kept) {
        reply_error(&request->reply,
                    "no configuration of generation %s is kept; show configs lists those that are",
                    request->args[0]);
        return COMMAND_DONE;
    }
    if (request->reply.as_json)
        json_put_uint(&request->reply.json, "generation", generation);
    reply_document(&request->reply, "config", kept->text);
    return COMMAND_DONE;
}

static enum command_outcome run_show_configs(struct request *request)
{
    const struct ctl_configs *configs = configs_of(request);
    struct reply *reply = &request->reply;

    if (request->n_args > 0)
        return show_one(request, configs);
    if (reply->as_json)
        change_put_standing(request);
    reply_table_begin(reply, "configs", columns);
    for (size_t i = 0; i < configs->kept->count; i++)
        put_row(reply, configs, &configs->kept->items[i]);
    reply_table_end(reply);
    if (!reply->as_json)
        change_put_standing(request);
    return COMMAND_DONE;
}

/* --- going back --- */

static enum command_outcome run_rollback(struct request *request)
{
    uint32_t generation = request->n_args > 0 ? parse_generation(request, request->args[0]) : 0;

    if (request->reply.is_error)
        return COMMAND_DONE;
    request->host.ops->rollback(request->host.self, generation, &request->who, change_answer,
                                request);
    return COMMAND_PENDING;
}

static enum command_outcome run_confirm(struct request *request)
{
    static char change[] = "global: the running configuration is confirmed";
    static char *const changes[] = {change};
    struct reply *reply = &request->reply;
    struct errlist warnings = {0};

    if (!request->host.ops->confirm(request->host.self, &request->who, &warnings)) {
        reply_error(reply, "nothing waits to be confirmed; reload confirm=TIME makes it so");
        return COMMAND_DONE;
    }
    if (reply->as_json)
        json_put_uint(&reply->json, "generation",
                      request->host.ops->model(request->host.self)->generation);
    reply_lines(reply, "changes", changes, 1);
    reply_warnings(reply, &warnings);
    errlist_free(&warnings);
    return COMMAND_DONE;
}

/* --- save --- */

static void put_files(struct request *request, const struct ctl_configs *configs)
{
    struct json *json = &request->reply.json;
    struct ctl_host_info info = {0};

    request->host.ops->info(request->host.self, &info);
    json_begin_array(json, "loaded_files");
    json_put_string(json, NULL, info.config_file);
    for (char *const *file = configs->files; file && *file; file++)
        json_put_string(json, NULL, *file);
    json_end_array(json);
}

/* sluicectl writes what it gets here as JSON. */
static enum command_outcome run_save(struct request *request)
{
    struct reply *reply = &request->reply;
    STR_AUTO text = {.limit = reply->body.limit};

    change_print_config(request, &text);
    if (text.failed) {
        reply_error(reply, "the configuration is too large to be shown, or memory has run out");
        return COMMAND_DONE;
    }
    if (reply->as_json) {
        json_put_uint(&reply->json, "generation",
                      request->host.ops->model(request->host.self)->generation);
        put_files(request, configs_of(request));
    } else {
        reply_line(reply, "# not saved: the daemon writes no files for others; \"sluicectl save "
                          "FILE\" does, as you");
    }
    reply_document(reply, "config", str_text(&text));
    return COMMAND_DONE;
}

const struct command cmd_show_configs = {
    .words = "show configs",
    .level = CTL_LEVEL_ADMINISTER,
    .arguments = "[GENERATION]",
    .help = "the last good configurations, which one runs and which the file has; or one's text",
    .args_max = 1,
    .run = run_show_configs,
};

const struct command cmd_rollback = {
    .words = "rollback",
    .level = CTL_LEVEL_ADMINISTER,
    .flags = COMMAND_CHANGES,
    .arguments = "[GENERATION]",
    .help = "goes back to a kept configuration, unless told to the one before; the file stays as "
            "it is",
    .args_max = 1,
    .run = run_rollback,
};

const struct command cmd_confirm = {
    .words = "confirm",
    .level = CTL_LEVEL_ADMINISTER,
    .flags = COMMAND_CHANGES,
    .arguments = "",
    .help = "what reload confirm=TIME brought stands",
    .run = run_confirm,
};

const struct command cmd_save = {
    .words = "save",
    .level = CTL_LEVEL_ADMINISTER,
    .arguments = "FILE",
    .help = "writes the running configuration, overrides included; never over the loaded file",
    .args_min = 1,
    .args_max = 1,
    .run = run_save,
};
