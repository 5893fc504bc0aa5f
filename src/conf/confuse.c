/*
 * libconfuse: from the schema to its option tables, from the merged text to its values, and from
 * those to a comparison with the scan's tree. Runs in the reading child, since libconfuse may end
 * the process it runs in.
 *
 * Every section is declared CFGF_MULTI, so that none is made that is not in the text; every option
 * is a string without a default, so that "010" stays what it is.
 */
#include "confuse.h"

#include <confuse.h>
#include <stdlib.h>
#include <string.h>

/* libconfuse hands no pointer of ours to its error function. */
static struct {
    const struct scan_merged *merged;
    struct errlist *errors;
} reporting;

__attribute__((format(printf, 2, 0))) static void report_error(cfg_t *cfg, const char *format,
                                                               va_list args)
{
    STR_AUTO text = {0};
    struct scan_place place = {"", 0};
    size_t line = cfg->line > 0 ? (size_t)cfg->line - 1 : 0;
    if (line >= reporting.merged->n_places && line > 0)
        line = reporting.merged->n_places - 1;
    if (line < reporting.merged->n_places)
        place = reporting.merged->places[line];
    str_vprintf(&text, format, args);
    errlist_add(reporting.errors, ERRLIST_ERROR, place.file, place.line, NULL,
                "internal error: libconfuse refuses what the scan accepted: %s", str_text(&text));
}

static void free_options(cfg_opt_t *options)
{
    for (cfg_opt_t *o = options; o && o->name; o++)
        free_options(o->subopts);
    free(options);
}

static size_t count_options(const struct conf_section_schema *schema)
{
    size_t n = 0;
    for (const struct conf_option_schema *o = schema->options; o && o->name; o++)
        n++;
    for (const struct conf_section_schema *const *s = schema->sections; s && *s; s++)
        n++;
    return n;
}

/* NULL without memory. */
static cfg_opt_t *make_options(const struct conf_section_schema *schema, int depth)
{
    cfg_opt_t *options = calloc(count_options(schema) + 1, sizeof *options);
    if (!options)
        return NULL;
    cfg_opt_t *next = options;
    for (const struct conf_option_schema *o = schema->options; o && o->name; o++) {
        cfg_opt_t string = CFG_STR(o->name, NULL, CFGF_NODEFAULT);
        cfg_opt_t list = CFG_STR_LIST(o->name, NULL, CFGF_NODEFAULT);
        *next++ = o->list ? list : string;
    }
    for (const struct conf_section_schema *const *s = schema->sections;
         depth < CONF_DEPTH_MAX && s && *s; s++) {
        cfg_opt_t *sub = make_options(*s, depth + 1);
        if (!sub) {
            free_options(options);
            return NULL;
        }
        cfg_opt_t section =
            CFG_SEC((*s)->name, sub,
                    (*s)->titled ? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES : CFGF_MULTI);
        *next++ = section;
    }
    cfg_opt_t end = CFG_END();
    *next = end;
    return options;
}

/* Comparison */

__attribute__((format(printf, 4, 5))) static void disagree(const struct conf_section *section,
                                                           const char *file, int line,
                                                           const char *format, ...)
{
    STR_AUTO text = {0};
    STR_AUTO path = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    conf_section_path(section, &path);
    errlist_add(reporting.errors, ERRLIST_ERROR, file, line, str_text(&path),
                "internal error: libconfuse and the scan disagree: %s", str_text(&text));
}

static void compare_option(const struct conf_section *section, const struct conf_option *option,
                           cfg_t *cfg)
{
    cfg_opt_t *theirs = cfg_getopt(cfg, option->name);
    if (!theirs || !(theirs->flags & CFGF_MODIFIED) || theirs->nvalues != option->n_values) {
        disagree(section, option->file, option->line, "\"%s\" has %zu values, not %u", option->name,
                 option->n_values, theirs ? theirs->nvalues : 0);
        return;
    }
    for (unsigned i = 0; i < theirs->nvalues; i++) {
        const char *text = theirs->values[i]->string;
        if (!text || strcmp(text, option->values[i].raw) != 0)
            disagree(section, option->file, option->values[i].line, "\"%s\": \"%s\", not \"%s\"",
                     option->name, option->values[i].raw, text ? text : "");
    }
}

static void compare_section(const struct conf_section *section, cfg_t *cfg);

/* The n-th section of one kind. */
static void compare_subsection(const struct conf_section *section, cfg_opt_t *theirs, unsigned n)
{
    cfg_t *cfg = n < theirs->nvalues ? theirs->values[n]->section : NULL;
    const char *title = cfg && cfg->title ? cfg->title : "";
    if (!cfg)
        disagree(section, section->file, section->line, "it knows no such section");
    else if (strcmp(title, section->title ? section->title : "") != 0)
        disagree(section, section->file, section->line, "its name is \"%s\"", title);
    else
        compare_section(section, cfg);
}

static void compare_section(const struct conf_section *section, cfg_t *cfg)
{
    size_t theirs = 0;
    for (cfg_opt_t *o = cfg->opts; o->name; o++)
        theirs += o->type == CFGT_SEC ? o->nvalues : (o->flags & CFGF_MODIFIED) != 0;
    if (theirs != section->n_options + section->n_sections)
        disagree(section, section->file, section->line, "%zu statements, not %zu",
                 section->n_options + section->n_sections, theirs);

    for (size_t i = 0; i < section->n_options; i++)
        compare_option(section, &section->options[i], cfg);
    for (cfg_opt_t *o = cfg->opts; o->name; o++) {
        unsigned n = 0;
        if (o->type != CFGT_SEC)
            continue;
        for (size_t i = 0; i < section->n_sections; i++)
            if (strcmp(section->sections[i]->schema->name, o->name) == 0)
                compare_subsection(section->sections[i], o, n++);
    }
}

void conf_confuse_check(const struct conf_tree *tree, const struct scan_merged *merged,
                        struct errlist *errors)
{
    reporting.merged = merged;
    reporting.errors = errors;
    size_t before = errors->errors;
    cfg_opt_t *options = make_options(tree->root.schema, 0);
    cfg_t *cfg = options ? cfg_init(options, CFGF_NONE) : NULL;
    free_options(options);
    if (!cfg) {
        errlist_add(errors, ERRLIST_ERROR, tree->root.file, 0, NULL, "out of memory");
        return;
    }
    cfg_set_error_function(cfg, report_error);
    int result = cfg_parse_buf(cfg, str_text(&merged->text));
    if (result == CFG_SUCCESS)
        compare_section(&tree->root, cfg);
    else if (errors->errors == before)
        errlist_add(errors, ERRLIST_ERROR, tree->root.file, 0, NULL,
                    "internal error: libconfuse refuses the file without saying why");
    cfg_free(cfg);
}
