/*
 * Answers to changes. In master.
 */
#include "ctl/change.h"

#include <inttypes.h>

#include "base/clock.h"
#include "ctl/command.h"
#include "ctl/view.h"

/* Whether what is set belongs to a backend that was added by command. */
static bool is_of_added(const struct overrides *list, const struct override *override)
{
    return override->pool && override->backend &&
           overrides_find(list, &(struct override){.kind = OVERRIDE_ADDED,
                                                   .pool = override->pool,
                                                   .backend = override->backend}) != NULL;
}

void change_describe_override(const struct overrides *list, const struct override *override,
                              struct str *out)
{
    char when[CLOCK_TEXT_MAX];

    if (override->service)
        str_printf(out, "service %s: ", override->service);
    else if (!override->pool)
        str_append(out, "global: ");
    else
        str_printf(out, "pool %s%s%s: ", override->pool, override->backend ? ", backend " : "",
                   override->backend ? override->backend : "");
    if (override->kind == OVERRIDE_ADDED)
        str_printf(out, "added, %s; the file has none of that name", override->value);
    else if (override->kind == OVERRIDE_REMOVED)
        str_printf(out, "removed; the file has it at %s", override->file_value);
    else
        str_printf(out, "%s = %s; %s %s", override->option, override->value,
                   is_of_added(list, override) ? "it was added with" : "the file says",
                   override->file_value && *override->file_value ? override->file_value
                                                                 : "nothing");
    str_printf(out, " (by %s, %s", override->by, clock_format_wall(override->wall_ms, when));
    if (override->until_wall_ms != 0)
        str_printf(out, ", until %s", clock_format_wall(override->until_wall_ms, when));
    if (override->why)
        str_printf(out, ": %s", override->why);
    str_append_char(out, ')');
}

void change_put_overrides(struct request *request)
{
    const struct overrides *list = request->host.ops->overrides(request->host.self);
    struct reply *reply = &request->reply;

    if (!reply->as_json)
        return;
    json_begin_array(&reply->json, "overrides");
    for (size_t i = 0; list && i < list->count; i++) {
        struct view_override_row row;

        view_override_row(&list->items[i], &row);
        json_begin_object(&reply->json, NULL);
        reply_members(reply, view_override_columns, &row);
        json_end_object(&reply->json);
    }
    json_end_array(&reply->json);
}

static void list_overrides(struct request *request)
{
    const struct overrides *list = request->host.ops->overrides(request->host.self);

    change_put_overrides(request);
    for (size_t i = 0; list && i < list->count; i++) {
        STR_AUTO text = {0};

        change_describe_override(list, &list->items[i], &text);
        reply_line(&request->reply, "override: %s", str_text(&text));
    }
}

void change_print_config(struct request *request, struct str *out)
{
    const struct ctl_host *host = &request->host;
    const struct overrides *list = host->ops->overrides(host->self);

    for (size_t i = 0; list && i < list->count; i++) {
        const char *unsaid = host->ops->unsaid(host->self, &list->items[i]);

        str_printf(out, "# override%s%s: ", unsaid ? " that is not below, for " : "",
                   unsaid ? unsaid : "");
        change_describe_override(list, &list->items[i], out);
        str_append_char(out, '\n');
    }
    host->ops->print(host->self, out);
}

static void put_refusal(struct json *json, const struct ctl_configs *configs)
{
    bool is_refused = configs->refused_wall_ms != 0;

    json_put_bool(json, "file_refused", is_refused);
    if (is_refused)
        json_put_uint(json, "file_refused_wall_ms", configs->refused_wall_ms);
    else
        json_put_null(json, "file_refused_wall_ms");
    if (is_refused && configs->refused)
        json_put_string(json, "file_refused_error", configs->refused);
    else
        json_put_null(json, "file_refused_error");
}

void change_put_standing(struct request *request)
{
    const struct ctl_configs *configs = request->host.ops->configs(request->host.self);
    struct reply *reply = &request->reply;
    char when[CLOCK_TEXT_MAX];

    if (reply->as_json) {
        json_put_bool(&reply->json, "file_runs", configs->file_runs);
        put_refusal(&reply->json, configs);
        if (configs->returns != 0) {
            json_put_uint(&reply->json, "returns", configs->returns);
            json_put_uint(&reply->json, "until_ms", configs->until_ms);
        } else {
            json_put_null(&reply->json, "returns");
            json_put_null(&reply->json, "until_ms");
        }
        return;
    }
    if (configs->returns != 0)
        reply_line(reply,
                   "not confirmed: generation %" PRIu32 " returns at %s unless \"confirm\" "
                   "is said",
                   configs->returns, clock_format_wall(configs->until_ms, when));
    if (configs->refused_wall_ms != 0)
        reply_line(reply,
                   "the file was refused at %s, so what runs is not what it says; first error: %s",
                   clock_format_wall(configs->refused_wall_ms, when),
                   configs->refused ? configs->refused : "not known, memory had run out");
    else if (!configs->file_runs)
        reply_line(reply, "what runs is not what the file said when it was read last; check config "
                          "says what a reload would change");
}

/* Whether the command is about the configuration as a whole. */
static bool is_of_configs(const struct request *request)
{
    return request->command == &cmd_reload || request->command == &cmd_rollback;
}

bool change_refuse(struct request *request, const struct errlist *errors, const char *outcome)
{
    STR_AUTO headline = {0};

    if (!errors || errors->errors == 0)
        return false;
    if (errors->count == 1 && errors->dropped == 0 && errors->items[0].file[0] == '\0') {
        reply_error(&request->reply, "%s", errors->items[0].text);
        return true;
    }
    str_printf(&headline, "%zu %s; %s", errors->errors, errors->errors == 1 ? "fault" : "faults",
               outcome);
    reply_refuse(&request->reply, str_text(&headline), errors);
    return true;
}

void change_gather(struct request *request, const struct errlist *errors,
                   const struct change_list *changes)
{
    for (size_t i = 0; changes && i < changes->count; i++)
        change_add(&request->gathered, "%s", changes->lines[i]);
    request->gathered.needs_restart |= changes && changes->needs_restart;
    for (size_t i = 0; errors && i < errors->count; i++) {
        const struct errlist_item *item = &errors->items[i];

        errlist_add(&request->gathered_errors, ERRLIST_WARNING, item->file, item->line,
                    item->section, "%s", item->text);
    }
}

static void list_changes(struct request *request, const struct errlist *errors,
                         const struct change_list *changes)
{
    static const struct errlist no_errors;
    struct reply *reply = &request->reply;

    reply_lines(reply, "changes", changes ? changes->lines : NULL, changes ? changes->count : 0);
    if (reply->as_json)
        json_put_bool(&reply->json, "needs_restart", changes && changes->needs_restart);
    reply_warnings(reply, errors ? errors : &no_errors);
}

void change_answer(void *arg, const struct errlist *errors, const struct change_list *changes,
                   uint32_t generation)
{
    struct request *request = arg;
    struct reply *reply = &request->reply;

    if (change_refuse(request, errors, "nothing was changed")) {
        request_finish(request);
        return;
    }
    if (reply->as_json)
        json_put_uint(&reply->json, "generation", generation);
    if (!changes || changes->count == 0)
        reply_line(reply, "nothing changed");
    list_changes(request, errors, changes);
    reply_line(reply, "generation %" PRIu32, generation);
    if (request_is_live(request)) {
        if (is_of_configs(request))
            change_put_standing(request);
        list_overrides(request);
    }
    request_finish(request);
}

void change_answer_check(void *arg, const struct errlist *errors, const struct change_list *changes,
                         uint32_t generation)
{
    struct request *request = arg;
    struct reply *reply = &request->reply;

    (void)generation; /* of the running one: nothing was made */
    if (change_refuse(request, errors, "this configuration would be refused")) {
        request_finish(request);
        return;
    }
    if (reply->as_json)
        json_put_bool(&reply->json, "valid", true);
    reply_line(reply, "the configuration is valid; %s",
               changes && changes->count > 0 ? "a reload would change:"
                                             : "a reload would change nothing");
    list_changes(request, errors, changes);
    request_finish(request);
}
