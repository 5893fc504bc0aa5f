/*
 * The name=value words of a request: which ones its command takes, and their values. In master.
 */
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "ctl/request.h"
#include "model/override.h"

#define OPTION_CHARACTERS "abcdefghijklmnopqrstuvwxyz_"

static const char *const no_options[] = {NULL};

/* Names of a command's own options, and of those from the option table. */
static const char *const *own_options(const struct command *command)
{
    return command->options ? command->options : no_options;
}

static const char *const *settings_of(const struct command *command)
{
    return command->settings ? command->settings() : no_options;
}

static bool is_listed(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

/* The option of the file that a command cannot set; NULL: there is none of that name, or it is one
 * of the command's own words. */
static const struct option_def *find_in_file(const struct command *command, const char *name)
{
    const char *section = command->settings == override_settable_of_service ? "service"
                          : command->settings == override_settable_of_pool  ? "pool"
                          : command->settings != NULL                       ? "backend"
                                                                            : "";

    for (const struct option_def *option = option_table; option->name; option++)
        if (strcmp(option->section, section) == 0 && strcmp(option->name, name) == 0)
            return command->settings == override_addable && option->required ? NULL : option;
    return NULL;
}

/* Where the option is one of another thing that can be set: the command for that; else NULL. */
static const struct command *find_elsewhere(const struct command *command, const char *name)
{
    static const struct command *const setters[] = {&cmd_set_backend, &cmd_set_pool,
                                                    &cmd_set_service};

    for (size_t i = 0; command->settings && i < sizeof(setters) / sizeof(setters[0]); i++)
        if (setters[i] != command && is_listed(name, settings_of(setters[i])))
            return setters[i];
    return NULL;
}

static void list_known(const struct command *command, struct str *out)
{
    const char *const *lists[] = {settings_of(command), own_options(command)};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        for (const char *const *name = lists[i]; *name; name++)
            str_printf(out, "%s%s", out->len > 0 ? ", " : "", *name);
}

/* One that no command sets, or not this one. Usage lists what it has of its own, but no settings.
 */
static void refuse_unknown(struct request *request, const char *name)
{
    const struct command *elsewhere = find_elsewhere(request->command, name);
    const char *nearest = units_nearest(name, settings_of(request->command));
    STR_AUTO what = {0};
    STR_AUTO known = {0};

    if (!nearest)
        nearest = units_nearest(name, own_options(request->command));
    str_printf(&what, "unknown option %s=", name);
    list_known(request->command, &known);
    if (elsewhere)
        str_printf(&what, "; \"%s\" has it", elsewhere->words);
    else if (nearest)
        str_printf(&what, "; did you mean %s=?", nearest);
    else if (request->command->settings)
        str_printf(&what, "; known here: %s", str_text(&known));
    (void)request_refuse_usage(request, str_text(&what));
}

static void refuse_option(struct request *request, const char *name)
{
    const struct option_def *in_file = find_in_file(request->command, name);

    if (in_file)
        reply_error(&request->reply,
                    "%s= cannot be given by command%s; change it in the file, "
                    "then reload%s",
                    name, in_file->type == OPTION_LIST ? ", as it is a list" : "",
                    strcmp(name, "address") == 0
                        ? ", or add backend with that address under another name, then remove "
                          "this one"
                        : "");
    else
        refuse_unknown(request, name);
}

/* Where a word is name=value, its equals sign. A path with one in it is none. */
static char *find_equals(char *word)
{
    size_t name = strspn(word, OPTION_CHARACTERS);

    return name > 0 && word[name] == '=' ? word + name : NULL;
}

bool request_is_option(char *word)
{
    return find_equals(word) != NULL;
}

int request_parse_option(struct request *request, char *word)
{
    char *equals = find_equals(word);
    bool is_why = (request->command->flags & COMMAND_CHANGES) && strncmp(word, "why=", 4) == 0;

    *equals = '\0';
    if (!is_why && !is_listed(word, own_options(request->command)) &&
        !is_listed(word, settings_of(request->command))) {
        refuse_option(request, word);
        return -EINVAL;
    }
    if (is_why ? request->who.why != NULL : request_option(request, word) != NULL) {
        reply_bad_usage(&request->reply, "%s= is given twice", word);
        return -EINVAL;
    }
    if (is_why) {
        request->who.why = equals + 1;
        return 0;
    }
    if (request->n_options == CTL_SETTINGS_MAX) {
        reply_bad_usage(&request->reply, "more than %d options", CTL_SETTINGS_MAX);
        return -EINVAL;
    }
    request->options[request->n_options++] = (struct ctl_setting){word, equals + 1};
    return 0;
}

/* --- their values --- */

const char *request_option(const struct request *request, const char *name)
{
    for (size_t i = 0; i < request->n_options; i++)
        if (strcmp(request->options[i].option, name) == 0)
            return request->options[i].value;
    return NULL;
}

int request_option_time(struct request *request, const char *name, uint64_t *out_ms)
{
    const char *value = request_option(request, name);
    const char *problem;

    if (!value || units_parse_time(value, out_ms, &problem) == 0)
        return 0;
    reply_error(&request->reply, "%s=%s: %s", name, value, problem);
    return -EINVAL;
}

int request_take_time(struct request *request, const char *name, uint64_t *out_ms)
{
    if (!request_option(request, name))
        return 0;
    if (request_option_time(request, name, out_ms) != 0)
        return -EINVAL;
    for (size_t i = 0; i < request->n_options; i++) {
        if (strcmp(request->options[i].option, name) == 0) {
            request->n_options--;
            memmove(&request->options[i], &request->options[i + 1],
                    (request->n_options - i) * sizeof(request->options[0]));
        }
    }
    return 0;
}

int request_option_uint(struct request *request, const char *name, uint64_t min, uint64_t max,
                        uint64_t *out)
{
    const char *value = request_option(request, name);
    const char *problem;

    if (!value || units_parse_uint(value, min, max, out, &problem) == 0)
        return 0;
    reply_error(&request->reply, "%s=%s: %s", name, value, problem);
    return -EINVAL;
}
