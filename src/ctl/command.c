/*
 * The table of verbs, and finding one in it. In master.
 */
#include "ctl/command.h"

#include <string.h>

#include "base/units.h"

#define WORDS_MAX      2 /* most words of one command's name */
#define NAME_MAX_BYTES 64

const struct command *const command_table[] = {
    &cmd_show_info,
    &cmd_show_services,
    &cmd_show_pools,
    &cmd_show_backends,
    &cmd_show_workers,
    &cmd_show_sessions,
    &cmd_show_events,
    &cmd_show_errors,
    &cmd_show_checks,
    &cmd_show_upstreams,
    &cmd_show_ports,
    &cmd_show_names,
    &cmd_show_stats,
    &cmd_show_config,
    &cmd_show_diff,
    &cmd_explain,
    &cmd_health,
    &cmd_add_backend,
    &cmd_remove_backend,
    &cmd_set_backend,
    &cmd_set_pool,
    &cmd_set_service,
    &cmd_drain_backend,
    &cmd_ready_backend,
    &cmd_maintain_backend,
    &cmd_reset_backend,
    &cmd_reset_pool,
    &cmd_reset_service,
    &cmd_reset_all,
    &cmd_pause_pool,
    &cmd_resume_pool,
    &cmd_close_session,
    &cmd_close_sessions,
    &cmd_set_global,
    &cmd_check_config,
    &cmd_reload,
    &cmd_confirm,
    &cmd_show_configs,
    &cmd_rollback,
    &cmd_save,
    &cmd_upgrade,
    &cmd_stop,
    &cmd_help,
    NULL,
};

/* How many of the words the command's name takes, 0 when it is another one. */
static size_t match(const struct command *command, const char *const *words, size_t count)
{
    const char *name = command->words;
    size_t taken = 0;

    for (;;) {
        size_t bytes = strcspn(name, " ");

        if (taken == count || strlen(words[taken]) != bytes ||
            memcmp(words[taken], name, bytes) != 0)
            return 0;
        taken++;
        if (name[bytes] == '\0')
            return taken;
        name += bytes + 1;
    }
}

const struct command *command_find(const char *const *words, size_t count, size_t *out_taken)
{
    for (const struct command *const *c = command_table; *c; c++) {
        size_t taken = match(*c, words, count);

        if (taken > 0) {
            *out_taken = taken;
            return *c;
        }
    }
    return NULL;
}

bool command_begins_with(const char *word)
{
    for (const struct command *const *c = command_table; *c; c++) {
        size_t bytes = strcspn((*c)->words, " ");

        if (strlen(word) == bytes && memcmp(word, (*c)->words, bytes) == 0)
            return true;
    }
    return false;
}

static void list_names(const char **names)
{
    size_t n = 0;

    for (const struct command *const *c = command_table; *c; c++)
        names[n++] = (*c)->words;
    names[n] = NULL;
}

const char *command_nearest(const char *const *words, size_t count)
{
    const char *names[sizeof(command_table) / sizeof(*command_table)];

    list_names(names);
    for (size_t taken = count < WORDS_MAX ? count : WORDS_MAX; taken > 0; taken--) {
        char text[NAME_MAX_BYTES] = "";
        const char *nearest;

        for (size_t i = 0; i < taken; i++) {
            if (strlen(text) + strlen(words[i]) + 2 > sizeof(text))
                return NULL;
            if (i > 0)
                strcat(text, " ");
            strcat(text, words[i]);
        }
        nearest = units_nearest(text, names);
        if (nearest)
            return nearest;
    }
    return NULL;
}

void command_usage(const struct command *command, struct str *out)
{
    str_append(out, command->words);
    if (*command->arguments)
        str_printf(out, " %s", command->arguments);
    if (command->flags & COMMAND_CHANGES)
        str_append(out, " [why=\"TEXT\"]");
    if (command->flags & COMMAND_FORCE)
        str_append(out, " [force]");
}
