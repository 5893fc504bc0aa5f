/*
 * The scan's statements: options, sections and includes, and what is wrong with their structure.
 * Runs in the reading child.
 *
 * Sections are kept open by s->section and its parents, not by recursion; only an included file is
 * scanned by a nested call. What misses a "}" is found out late, by the end of the file, or earlier
 * by a section that does not belong where it stands but in one of the sections around: then the
 * missing braces are assumed.
 */
#include "scan.h"

#include <stdlib.h>
#include <string.h>

#include "scan_state.h"
#include "spell.h"

static void add_error(struct scan *s, enum errlist_severity severity, int line, const char *text)
{
    STR_AUTO path = {0};
    conf_section_path(s->section, &path);
    errlist_add(s->errors, severity, s->source->name, line, str_text(&path), "%s", text);
}

void scan_error(struct scan *s, int line, const char *format, ...)
{
    STR_AUTO text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    add_error(s, ERRLIST_ERROR, line, str_text(&text));
}

void scan_note_name_fault(struct scan *s)
{
    s->tree->name_faults++;
}

void scan_warn(struct scan *s, int line, const char *text)
{
    add_error(s, ERRLIST_WARNING, line, text);
}

void scan_fault(struct scan *s, int line, const char *format, ...)
{
    if (line == s->source->fault_line)
        return;
    s->source->fault_line = line;
    STR_AUTO text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    add_error(s, ERRLIST_ERROR, line, str_text(&text));
}

void scan_stop_memory(struct scan *s)
{
    if (!s->stopped)
        scan_error(s, 0, "out of memory while reading the configuration");
    s->stopped = true;
}

void scan_take(struct scan *s, struct lex_token *out)
{
    lex_next(&s->source->lex, out);
    switch (out->fault) {
    case LEX_UNCLOSED_STRING:
        scan_fault(s, out->line,
                   "missing closing %c; a string ends on its line, a line break in it "
                   "is written \\n",
                   out->quote);
        break;
    case LEX_UNCLOSED_COMMENT:
        scan_fault(s, out->line, "the comment that begins here is never closed; */ is missing");
        break;
    case LEX_UNCLOSED_VARIABLE:
        scan_fault(s, out->line, "a \"${\" without \"}\"; put the value in double quotes");
        break;
    case LEX_QUOTE_IN_WORD:
        scan_fault(s, out->line,
                   "a quote in the middle of an unquoted word; is the opening one "
                   "missing?");
        break;
    case LEX_TYPOGRAPHIC_QUOTE:
        scan_fault(s, out->line, "typographic quotes; write \" instead");
        break;
    case LEX_FINE:
    case LEX_FAULT_COUNT:
        break;
    }
}

struct lex_token scan_peek(const struct scan *s)
{
    struct lex ahead = s->source->lex;
    struct lex_token token;
    lex_next(&ahead, &token);
    return token;
}

void scan_emit(struct scan *s, int line, const char *text)
{
    struct scan_merged *merged = s->merged;
    if (s->errors->errors > 0 || s->stopped)
        return;
    str_append(&merged->text, text);
    for (; (text = strchr(text, '\n')); text++) {
        if ((merged->n_places & (merged->n_places - 1)) == 0) {
            struct scan_place *places = reallocarray(
                merged->places, merged->n_places ? merged->n_places * 2 : 1, sizeof *places);
            if (!places) {
                scan_stop_memory(s);
                return;
            }
            merged->places = places;
        }
        merged->places[merged->n_places++] = (struct scan_place){s->source->name, line};
    }
    if (merged->text.failed)
        scan_stop_memory(s);
}

void scan_merged_free(struct scan_merged *merged)
{
    str_free(&merged->text);
    free(merged->places);
    *merged = (struct scan_merged){0};
}

/* Closing sections */

static void close_section(struct scan *s, int line)
{
    if (s->section != s->source->base) {
        s->section = s->section->parent;
        scan_emit(s, line, "}\n");
    } else if (s->source->assumed_closes > 0) {
        s->source->assumed_closes--;
    } else {
        scan_fault(s, line, "\"}\" closes nothing; is a \"{\" missing before it?");
    }
}

static void end_source(struct scan *s, const struct lex_token *end)
{
    const struct conf_section *open = s->section;
    size_t around = 0;
    for (const struct conf_section *up = open; up != s->source->base; up = up->parent)
        around++;
    if (around > 0 && end->fault == LEX_FINE && !s->stopped) {
        if (around > 1)
            scan_fault(s, open->line,
                       "this section is not closed, nor %s around it; a \"}\" is "
                       "missing before the end of the file",
                       around == 2 ? "the one" : "the others");
        else
            scan_fault(s, open->line,
                       "this section is not closed; a \"}\" is missing before the end of the file");
    }
    s->section = s->source->base;
}

/* Where a section does not belong here but in one around, in the same file: assumes that what lies
 * between was to be closed before. */
static void assume_closed(struct scan *s, const char *name, int line)
{
    const struct conf_section *from = s->section;
    if (from == s->source->base || scan_is_unchecked(from->schema) ||
        conf_schema_section(from->schema, name))
        return;
    struct conf_section *to = s->section;
    size_t n = 0;
    while (to != s->source->base && !conf_schema_section(to->schema, name)) {
        to = to->parent;
        n++;
    }
    if (!conf_schema_section(to->schema, name))
        return;
    scan_fault(s, line,
               "a section \"%s\" cannot stand in \"%s\"; is a \"}\" missing before it? "
               "(\"%s\" begins in line %d)",
               name, from->schema->name, from->schema->name, from->line);
    s->section = to;
    s->source->assumed_closes += n;
}

/* Opening sections */

static const char *find_title_problem(const struct conf_section_schema *schema, const char *title)
{
    if (strstr(title, "${"))
        return "holds ${; names are not expanded";
    if (!schema->titled_any)
        return conf_name_problem(title);
    for (const char *p = title; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return "holds control characters";
    return *title == '\0' ? "is empty" : NULL;
}

/* Whether it is as it should be. */
static bool check_title(struct scan *s, const struct conf_section_schema *schema, const char *title,
                        int line)
{
    const char *name = schema->name;
    const char *problem = schema->titled && title ? find_title_problem(schema, title) : NULL;
    char shown[SPELL_SHOWN_MAX];
    if (schema->titled && !title)
        scan_error(s, line, "a section \"%s\" needs a name: %s \"NAME\" { … }", name, name);
    else if (!schema->titled && title)
        scan_error(s, line, "a section \"%s\" takes no name: %s { … }", name, name);
    else if (problem)
        scan_error(s, line, "the name \"%s\" %s", spell_show(title, strlen(title), shown), problem);
    else
        return true;
    return false;
}

static void check_first(struct scan *s, struct conf_section *section, int line)
{
    struct conf_section *first = scan_remember_section(s, section);
    if (!first)
        return;
    STR_AUTO name = {0};
    str_append(&name, section->schema->name);
    if (section->title)
        str_printf(&name, " \"%s\"", section->title);
    scan_note_name_fault(s);
    scan_error(s, line, "%s is given twice; first at %s:%d", str_text(&name), first->file,
               first->line);
}

static void emit_section(struct scan *s, const struct conf_section *section,
                         const char *spelled_title)
{
    STR_AUTO text = {0};
    str_printf(&text, "%s %s {\n", section->schema->name, spelled_title);
    scan_emit(s, section->line, str_text(&text));
}

/* Ends the scan where one section more would be too many: 0, or -1. */
static int check_limits(struct scan *s, int line)
{
    size_t depth = 0;
    for (const struct conf_section *up = s->section; up->parent; up = up->parent)
        depth++;
    if (depth >= CONF_DEPTH_MAX)
        scan_error(s, line, "sections are nested more than %d deep", CONF_DEPTH_MAX);
    else if (s->n_sections >= CONF_SECTIONS_MAX)
        scan_error(s, line, "more than %d sections", CONF_SECTIONS_MAX);
    else if (s->section->n_sections >= CONF_SUBSECTIONS_MAX)
        scan_error(s, line, "more than %d sections in one place", CONF_SUBSECTIONS_MAX);
    else
        return 0;
    s->stopped = true;
    return -1;
}

/* Goes into a section whose "{" was taken. title NULL: none. exact: its name is the schema's and
 * not only similar, so that its title matters. */
static void enter_section(struct scan *s, const struct conf_section_schema *schema,
                          const char *title, const char *spelled_title, int line, bool exact)
{
    if (check_limits(s, line) < 0)
        return;
    bool good = exact && check_title(s, schema, title, line);
    struct conf_section *section =
        conf_tree_add_section(s->section, schema, title, s->source->name, line);
    if (!section) {
        scan_stop_memory(s);
        return;
    }
    s->n_sections++;
    if (good)
        check_first(s, section, line);
    emit_section(s, section, spelled_title);
    s->section = section;
}

/* A section statement whose name was taken: [title] "{". title->kind LEX_END: it has none. */
static void scan_section(struct scan *s, const char *name, int line, const struct lex_token *title)
{
    assume_closed(s, name, line);
    const struct conf_section_schema *schema = conf_schema_section(s->section->schema, name);
    bool exact = schema != NULL;
    if (!exact) {
        scan_report_name(s, line, name, true);
        schema = scan_meant_section(s, name);
    }
    char shown[SPELL_SHOWN_MAX];
    SPELLING_AUTO spelling = {0};
    const char *text = NULL;
    if (!schema || scan_is_unchecked(s->section->schema)) {
        schema = &scan_unknown_section;
        text = spell_show(name, strlen(name), shown);
    } else if (title->kind != LEX_END) {
        if (spell_decode(title, &spelling) < 0) {
            scan_error(s, line, "in the name: %s", str_text(&spelling.problem));
            exact = false;
            text = spell_show(title->start, title->len, shown);
        } else {
            text = str_text(&spelling.raw);
        }
    }
    enter_section(s, schema, text, str_text(&spelling.merged), line, exact);
}

/* Options */

static void scan_option(struct scan *s, const char *name, int line)
{
    const struct conf_option_schema *schema = conf_schema_option(s->section->schema, name);
    if (!schema)
        scan_report_name(s, line, name, false);
    const struct conf_option *first = conf_find(s->section, name);
    if (schema && first) {
        scan_note_name_fault(s);
        scan_error(s, line, "\"%s\" is given twice; first at %s:%d%s", name, first->file,
                   first->line, schema->list ? ". Write one list: { …, … }" : "");
        schema = NULL;
    }
    scan_values(s, name, line, schema);
}

/* NAME = …, the sign not yet taken. */
static void scan_assignment(struct scan *s, const char *name, int line)
{
    struct lex_token sign;
    scan_take(s, &sign);
    if (sign.kind == LEX_APPEND)
        scan_fault(s, sign.line, "\"+=\" is not used here; write one list: %s = { …, … }", name);

    struct lex ahead = s->source->lex;
    struct lex_token title;
    struct lex_token open;
    lex_next(&ahead, &title);
    open = title;
    if (title.kind == LEX_STRING || title.kind == LEX_WORD)
        lex_next(&ahead, &open);
    bool is_option = conf_schema_option(s->section->schema, name) != NULL;
    bool is_section = conf_schema_section(s->section->schema, name) != NULL;
    if (open.kind != LEX_OPEN || is_option ||
        (!is_section && (open.start != title.start || !scan_starts_block(s->source->lex)))) {
        scan_option(s, name, line);
        return;
    }
    scan_fault(s, sign.line, "\"%s\" is a section; there is no \"=\" before its %s", name,
               open.start == title.start ? "\"{\"" : "name");
    if (open.start == title.start)
        title.kind = LEX_END;
    s->source->lex = ahead;
    scan_section(s, name, line, &title);
}

/* Statements */

static void scan_call(struct scan *s, const char *name, int line)
{
    struct lex_token token;
    struct lex_token argument;
    scan_take(s, &token); /* the "(" */
    scan_take(s, &argument);
    struct lex_token close = scan_peek(s);
    bool good =
        (argument.kind == LEX_STRING || argument.kind == LEX_WORD) && close.kind == LEX_PAREN_CLOSE;
    if (good)
        scan_take(s, &close);
    if (strcmp(name, "include") != 0) {
        char shown[SPELL_SHOWN_MAX];
        scan_fault(s, line, "\"%s(\": only include(\"FILE\") is written like this",
                   spell_show(name, strlen(name), shown));
        return;
    }
    if (!good) {
        scan_fault(s, line, "include takes one file or pattern: include(\"FILE\")");
        return;
    }
    SPELLING_AUTO spelling = {0};
    if (spell_decode(&argument, &spelling) < 0)
        scan_error(s, line, "include: %s", str_text(&spelling.problem));
    else
        scan_include(s, str_text(&spelling.raw), line);
}

/* A name that neither "=" nor "{" follows. */
static void scan_lone_name(struct scan *s, const char *name, int line, const struct lex_token *next)
{
    char shown[SPELL_SHOWN_MAX];
    spell_show(name, strlen(name), shown);
    const struct conf_option_schema *option = conf_schema_option(s->section->schema, name);
    bool value_follows =
        (next->kind == LEX_STRING || next->kind == LEX_WORD || next->kind == LEX_VARIABLE) &&
        next->line == line && !scan_starts_statement(s->source->lex);
    if (option && (value_follows || next->kind == LEX_OPEN)) {
        scan_fault(s, line, "missing \"=\" after \"%s\"", shown);
        scan_option(s, name, line);
        return;
    }
    const struct conf_section_schema *section = conf_schema_section(s->section->schema, name);
    if (option)
        scan_fault(s, line, "missing \"=\" and a value after \"%s\"", shown);
    else if (section)
        scan_fault(s, line, "missing \"{\" after \"%s\"; write %s%s { … }", shown, shown,
                   section->titled ? " \"NAME\"" : "");
    else if (s->source->fault_line != line)
        scan_report_name(s, line, name, false);
    if (value_follows) {
        s->source->fault_line = line;
        scan_take(s, &(struct lex_token){0});
    }
}

/* A statement that begins with a word, which was taken. */
static void scan_statement(struct scan *s, const struct lex_token *word)
{
    char *name = strndup(word->start, word->len);
    if (!name) {
        scan_stop_memory(s);
        return;
    }
    struct lex ahead = s->source->lex;
    struct lex_token next;
    struct lex_token after;
    lex_next(&ahead, &next);
    lex_next(&ahead, &after);
    bool section_here = conf_schema_section(s->section->schema, name) != NULL;
    bool list_here = !section_here && conf_schema_option(s->section->schema, name);

    if (next.kind == LEX_EQUALS || next.kind == LEX_APPEND) {
        scan_assignment(s, name, word->line);
    } else if (next.kind == LEX_OPEN && !(list_here && !scan_starts_block(s->source->lex))) {
        scan_take(s, &next);
        next.kind = LEX_END;
        scan_section(s, name, word->line, &next);
    } else if ((next.kind == LEX_STRING || next.kind == LEX_WORD) && after.kind == LEX_OPEN &&
               (next.line == word->line || section_here)) {
        scan_take(s, &next);
        scan_take(s, &after);
        scan_section(s, name, word->line, &next);
    } else if (next.kind == LEX_PAREN_OPEN) {
        scan_call(s, name, word->line);
    } else {
        scan_lone_name(s, name, word->line, &next);
    }
    free(name);
}

/* What no statement begins with; it was taken. */
static void scan_unexpected(struct scan *s, const struct lex_token *token)
{
    char shown[SPELL_SHOWN_MAX];
    spell_show(token->start, token->len, shown);
    struct lex_token next = scan_peek(s);
    if (token->kind == LEX_OPEN) {
        scan_fault(s, token->line, "\"{\" without a section's name before it");
        enter_section(s, &scan_unknown_section, "{", "", token->line, false);
    } else if (token->kind == LEX_COMMA) {
        scan_fault(s, token->line,
                   "\",\" between statements; it belongs only between the values of "
                   "a list: { …, … }");
    } else if (token->kind == LEX_JUNK && token->start[0] == ';') {
        scan_fault(s, token->line, "\";\" is not used; a statement ends by itself");
    } else if (token->kind == LEX_JUNK) {
        scan_fault(s, token->line, "unexpected \"%s\"; put a value that holds it in quotes", shown);
    } else if (token->kind == LEX_STRING &&
               (next.kind == LEX_EQUALS || next.kind == LEX_APPEND || next.kind == LEX_OPEN)) {
        scan_fault(s, token->line, "names are written without quotes: %s", shown);
        scan_statement(s, token);
    } else {
        scan_fault(s, token->line,
                   "unexpected \"%s\"; an option (NAME = VALUE) or a section "
                   "(NAME { … }) can stand here",
                   shown);
    }
}

static void scan_statements(struct scan *s)
{
    struct lex_token token;
    do {
        scan_take(s, &token);
        if (token.kind == LEX_END)
            end_source(s, &token);
        else if (token.kind == LEX_CLOSE)
            close_section(s, token.line);
        else if (token.kind == LEX_WORD)
            scan_statement(s, &token);
        else
            scan_unexpected(s, &token);
    } while (token.kind != LEX_END && !s->stopped);
    s->section = s->source->base;
}

void scan_source(struct scan *s, const char *name, const struct conf_file *file)
{
    struct scan_source source = {
        .includer = s->source,
        .name = name,
        .device = file->device,
        .inode = file->inode,
        .depth = s->source ? s->source->depth + 1 : 0,
        .base = s->section,
        .lex = {file->bytes, file->bytes + file->len, 1},
    };
    s->source = &source;
    scan_statements(s);
    s->source = source.includer;
}
