/*
 * sluice-manual: writes manual pages and the shell completion. It copies a template and puts, for
 * each line "@WHAT@", what the tables of the program say: options, commands, schedulers, reasons.
 * Runs while Sluice is built; never installed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/metrics.h"
#include "model/model.h"
#include "model/options.h"
#include "sched/sched.h"
#include "sluice/reasons.h"

#define LINE_MAX_BYTES 78

static void put_escaped(const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        fputs(word[i] == '\\' ? "\\e" : word[i] == '-' ? "\\-" : (char[]){word[i], '\0'}, stdout);
    }
}

/* Text in mdoc: a sentence a line, filled; no backslash is an escape, no line a request. */
static void put_text(const char *text)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t len = strcspn(text, " ");

        if (column > 0 && column + 1 + len > LINE_MAX_BYTES) {
            putchar('\n');
            column = 0;
        } else if (column > 0) {
            putchar(' ');
            column++;
        }
        if (column == 0 && (*text == '.' || *text == '\'')) {
            fputs("\\&", stdout);
        }
        put_escaped(text, len);
        column += len;
        if (len > 0 && strchr(".!?", text[len - 1]) != NULL && text[len] == ' ') {
            putchar('\n');
            column = 0;
        }
        text += len + strspn(text + len, " ");
    }
}

/* A text as one argument of a macro. */
static void put_argument(const char *text)
{
    putchar('"');
    for (const char *at = text; *at != '\0'; at++) {
        fputs(*at == '"'    ? "\\(dq"
              : *at == '\\' ? "\\e"
              : *at == '-'  ? "\\-"
                            : (char[]){*at, '\0'},
              stdout);
    }
    putchar('"');
}

/* --- options --- */

static const char *type_name(const struct option_def *option)
{
    static const char *const names[OPTION_TYPE_COUNT] = {[OPTION_TIME] = "time",
                                                         [OPTION_UINT] = "number",
                                                         [OPTION_AUTO] = "auto | number",
                                                         [OPTION_MODE] = "mode",
                                                         [OPTION_SIZE] = "auto | size",
                                                         [OPTION_BOOL] = "true | false",
                                                         [OPTION_RATE] = "rate",
                                                         [OPTION_WORD] = "word",
                                                         [OPTION_TEXT] = "text",
                                                         [OPTION_LIST] = "{ text, ... }",
                                                         [OPTION_SAMPLE] = "word | 1/number"};

    return names[option->type];
}

static void put_values(const struct option_def *option)
{
    STR_AUTO range = {0};
    const char *text;

    if (option->words == NULL && (option->type == OPTION_TEXT || option->type == OPTION_LIST ||
                                  option->type == OPTION_BOOL || option->type == OPTION_RATE)) {
        return;
    }
    option_describe(option, &range);
    text = str_text(&range);
    if (strncmp(text, "write ", strlen("write ")) == 0) {
        text += strlen("write ");
    }
    printf("\nTakes ");
    put_text(text);
    putchar('.');
}

static void put_option(const struct option_def *option)
{
    printf(".It Ic %s No = Ar ", option->name);
    put_argument(type_name(option));
    putchar('\n');
    put_text(option->help);
    put_values(option);
    if (option->required) {
        printf("\nRequired.");
    } else if (option->default_text != NULL && option->default_text[0] == '=') {
        printf("\nUnless given, as\n.Ic %s .", option->default_text + 1);
    } else if (option->default_text != NULL && *option->default_text != '\0' &&
               strcmp(option->default_text, "{ }") != 0) {
        printf("\nDefault: ");
        put_text(option->default_text);
        putchar('.');
    }
    if (!option->reloadable) {
        printf("\nA reload does not change it; it takes an upgrade or a restart.");
    }
    putchar('\n');
}

/* Of checks those that every kind has (kind ""), or only those of that kind. */
static bool put_options(const char *section, const char *kind)
{
    bool any = false;

    for (const struct option_def *option = option_table; option->name != NULL; option++) {
        bool has_it = strcmp(option->section, section) == 0 &&
                      (*kind == '\0' ? option->kinds == NULL
                                     : option->kinds != NULL && option_is_for(option, kind));

        if (has_it && !any) {
            printf(".Bl -tag -width Ds\n");
            any = true;
        }
        if (has_it) {
            put_option(option);
        }
    }
    if (any) {
        printf(".El\n");
    }
    return any;
}

/* --- commands --- */

static bool put_commands(void)
{
    printf(".Bl -tag -width Ds\n");
    for (const struct command *const *at = command_table; *at != NULL; at++) {
        STR_AUTO usage = {0};

        command_usage(*at, &usage);
        printf(".It ");
        put_argument(str_text(&usage));
        printf("\n.Pq %s\n", ctl_level_names[(*at)->level]);
        put_text((*at)->help);
        printf(".\n");
    }
    printf(".El\n");
    return true;
}

static void put_names(const char *const *names)
{
    for (; names != NULL && *names != NULL; names++) {
        printf(" %s=", *names);
    }
}

/* For the shell, a line each: 'words;arguments;options'. */
static bool put_completion(void)
{
    for (const struct command *const *at = command_table; *at != NULL; at++) {
        printf("    '%s;%s;", (*at)->words, (*at)->arguments != NULL ? (*at)->arguments : "");
        put_names((*at)->options);
        put_names((*at)->settings != NULL ? (*at)->settings() : NULL);
        printf("%s%s'\n", ((*at)->flags & COMMAND_CHANGES) != 0 ? " why=" : "",
               ((*at)->flags & COMMAND_FORCE) != 0 ? " force" : "");
    }
    return true;
}

/* --- schedulers and reasons --- */

static bool put_schedulers(void)
{
    printf(".Bl -tag -width maglev_bounded\n");
    for (const struct sched_ops *const *at = sched_table; *at != NULL; at++) {
        printf(".It Cm %s", (*at)->name);
        for (const char *const *alias = (*at)->aliases; alias != NULL && *alias != NULL; alias++) {
            printf(" , %s", *alias);
        }
        putchar('\n');
        put_text((*at)->help);
        printf(".\n");
    }
    printf(".El\n");
    return true;
}

static bool put_reasons(const char *const *names, const char *const *help, size_t n)
{
    printf(".Bl -tag -width half_close_timeout -compact\n");
    for (size_t i = 0; i < n; i++) {
        printf(".It Sy %s\n", names[i]);
        put_text(help[i]);
        putchar('\n');
    }
    printf(".El\n");
    return true;
}

/* --- metrics --- */

static bool put_metrics(void)
{
    printf(".Bl -tag -width Ds\n");
    for (const struct metric *metric = metric_table; metric->name != NULL; metric++) {
        const char *labels = metric_labels[metric->of];

        printf(".It Sy %s\n.Pq %s", metric->name, metric_type_names[metric->type]);
        if (*labels != '\0' || metric->label != NULL) {
            printf("\nBy %s%s%s.", labels, *labels != '\0' && metric->label != NULL ? ", " : "",
                   metric->label != NULL ? metric->label : "");
        }
        putchar('\n');
        put_text(metric->help);
        putchar('\n');
    }
    printf(".El\n");
    return true;
}

/* --- templates --- */

/* False when there is nothing of that name. */
static bool put_table(const char *what)
{
    char section[64], kind[64] = "";

    if (sscanf(what, "options %63s %63s", section, kind) >= 1) {
        return put_options(section, kind);
    }
    if (strcmp(what, "commands") == 0) {
        return put_commands();
    }
    if (strcmp(what, "completion") == 0) {
        return put_completion();
    }
    if (strcmp(what, "schedulers") == 0) {
        return put_schedulers();
    }
    if (strcmp(what, "metrics") == 0) {
        return put_metrics();
    }
    if (strcmp(what, "refusals") == 0) {
        return put_reasons(refusal_names, refusal_help, REFUSAL_COUNT);
    }
    if (strcmp(what, "endings") == 0) {
        return put_reasons(ending_names, ending_help, ENDING_COUNT);
    }
    return strcmp(what, "discards") == 0 && put_reasons(discard_names, discard_help, DISCARD_COUNT);
}

static bool put_line(char *line)
{
    size_t len = strcspn(line, "\n");

    if (len < 3 || line[0] != '@' || line[len - 1] != '@') {
        fputs(line, stdout);
        return true;
    }
    line[len - 1] = '\0';
    if (put_table(line + 1)) {
        return true;
    }
    fprintf(stderr, "sluice-manual: no table is called \"%s\"\n", line + 1);
    return false;
}

int main(int argc, char **argv)
{
    FILE *template = argc == 2 ? fopen(argv[1], "re") : NULL;
    char *line = NULL;
    size_t size = 0;
    bool good = true;

    if (template == NULL) {
        fprintf(stderr, "usage: sluice-manual TEMPLATE\n");
        return 2;
    }
    while (good && getline(&line, &size, template) != -1) {
        good = put_line(line);
    }
    free(line);
    fclose(template);
    return good && fflush(stdout) == 0 ? 0 : 1;
}
