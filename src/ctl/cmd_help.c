/*
 * help, from the table of commands; and of the status address' metrics, from theirs. In master.
 */
#include <string.h>

#include "ctl/command.h"
#include "ctl/metrics.h"
#include "ctl/request.h"

struct row {
    const char *words, *level, *usage, *help;
};

static const struct column columns[] = {
    {"words", NULL, COLUMN_TEXT, offsetof(struct row, words), NULL, 0},
    {"usage", "COMMAND", COLUMN_TEXT, offsetof(struct row, usage), NULL, 0},
    {"level", "LEVEL", COLUMN_TEXT, offsetof(struct row, level), NULL, 0},
    {"help", "DOES", COLUMN_TEXT, offsetof(struct row, help), NULL, 0},
    {0},
};

/* Whether the command's name begins with the words, or is the beginning of them. */
static bool is_asked_for(const struct command *command, const char *const *words, size_t count)
{
    const char *name = command->words;

    for (size_t i = 0; i < count && *name; i++) {
        size_t bytes = strcspn(name, " ");

        if (strlen(words[i]) != bytes || memcmp(words[i], name, bytes) != 0)
            return false;
        name += bytes + (name[bytes] == ' ');
    }
    return true;
}

static size_t put_rows(struct request *request, const char *const *words, size_t count)
{
    size_t rows = 0;

    reply_table_begin(&request->reply, "commands", columns);
    for (const struct command *const *c = command_table; *c; c++) {
        STR_AUTO usage = {0};
        struct row row = {
            .words = (*c)->words, .level = ctl_level_names[(*c)->level], .help = (*c)->help};

        if (!is_asked_for(*c, words, count))
            continue;
        command_usage(*c, &usage);
        row.usage = str_text(&usage);
        reply_row(&request->reply, &row);
        rows++;
    }
    reply_table_end(&request->reply);
    return rows;
}

/* --- help metrics --- */

struct metric_row {
    const char *name, *type, *labels, *help;
};

static const struct column metric_row_columns[] = {
    {"name", "METRIC", COLUMN_TEXT, offsetof(struct metric_row, name), NULL, 0},
    {"type", "TYPE", COLUMN_TEXT, offsetof(struct metric_row, type), NULL, 0},
    {"labels", "LABELS", COLUMN_TEXT, offsetof(struct metric_row, labels), NULL, 0},
    {"help", "IS", COLUMN_TEXT, offsetof(struct metric_row, help), NULL, 0},
    {0},
};

static void put_metrics(struct reply *reply)
{
    reply_table_begin(reply, "metrics", metric_row_columns);
    for (const struct metric *metric = metric_table; metric->name; metric++) {
        const char *common = metric_labels[metric->of];
        STR_AUTO labels = {0};
        struct metric_row row = {
            .name = metric->name, .type = metric_type_names[metric->type], .help = metric->help};

        str_printf(&labels, "%s%s%s", common, metric->label && *common ? ", " : "",
                   metric->label ? metric->label : "");
        row.labels = str_text(&labels);
        reply_row(reply, &row);
    }
    reply_table_end(reply);
}

static enum command_outcome run_help(struct request *request)
{
    const char *nearest;

    if (request->n_args == 1 && strcmp(request->args[0], "metrics") == 0) {
        put_metrics(&request->reply);
        return COMMAND_DONE;
    }
    if (put_rows(request, request->args, request->n_args) > 0) {
        if (request->n_args == 0)
            reply_line(&request->reply,
                       "\njson as the last word: the reply is one line of JSON. force before it: "
                       "also what takes a pool's last eligible backend away.");
        return COMMAND_DONE;
    }
    nearest = command_nearest(request->args, request->n_args);
    reply_error(&request->reply, "there is no such command%s%s%s", nearest ? "; did you mean " : "",
                nearest ? nearest : "", nearest ? "?" : "");
    return COMMAND_DONE;
}

const struct command cmd_help = {
    .words = "help",
    .level = CTL_LEVEL_READ,
    .arguments = "[WORDS]",
    .help = "all commands, or those that begin with WORDS; help metrics: what /metrics gives",
    .args_max = 8,
    .run = run_help,
};
