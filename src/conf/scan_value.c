/*
 * The scan's values: the right side of NAME = VALUE and NAME = { VALUE, … }. Runs in the reading
 * child. What is missing here is told from what follows: a word with "=", "{" or a quoted name
 * after it is the next statement and no value.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "scan_state.h"
#include "spell.h"

/* An option whose values are being read. */
struct reading {
    struct scan *s;
    const char *name; /* fit for messages */
    int line;
    const struct conf_option_schema *schema; /* NULL: unknown, nothing is kept */
    struct conf_option *option;              /* NULL: nothing is kept */
};

static bool is_value(const struct lex_token *token)
{
    return token->kind == LEX_STRING || token->kind == LEX_WORD || token->kind == LEX_VARIABLE;
}

/* Words that are values and never names: numbers, and what libconfuse takes for booleans. */
static bool is_literal(const struct lex_token *word)
{
    static const char *const booleans[] = {"true", "false", "yes", "no", "on", "off"};
    for (size_t i = 0; i < sizeof(booleans) / sizeof(booleans[0]); i++) {
        if (word->len == strlen(booleans[i]) && memcmp(word->start, booleans[i], word->len) == 0)
            return true;
    }
    return word->len > 0 && !isalpha((unsigned char)word->start[0]);
}

bool scan_starts_statement(struct lex lex)
{
    struct lex_token word;
    struct lex_token next;
    lex_next(&lex, &word);
    if (word.kind != LEX_WORD)
        return false;
    lex_next(&lex, &next);
    if (next.kind == LEX_STRING || next.kind == LEX_WORD) {
        if (is_literal(&word))
            return false;
        struct lex_token open;
        lex_next(&lex, &open);
        return open.kind == LEX_OPEN && next.line == word.line;
    }
    return next.kind == LEX_EQUALS || next.kind == LEX_APPEND || next.kind == LEX_OPEN ||
           next.kind == LEX_PAREN_OPEN;
}

bool scan_starts_block(struct lex lex)
{
    struct lex_token open;
    lex_next(&lex, &open);
    return open.kind == LEX_OPEN && scan_starts_statement(lex);
}

/* Takes a value and keeps it. */
static void read_value(struct reading *r)
{
    struct lex_token token;
    SPELLING_AUTO spelling = {0};
    scan_take(r->s, &token);
    if (spell_decode(&token, &spelling) < 0) {
        scan_error(r->s, token.line, "%s: %s", r->name, str_text(&spelling.problem));
        return;
    }
    if (spelling.note.len > 0)
        scan_warn(r->s, token.line, str_text(&spelling.note));
    if (!r->option)
        return;
    if (conf_tree_add_value(r->option, strdup(str_text(&spelling.raw)), token.line) < 0)
        scan_stop_memory(r->s);
    scan_emit(r->s, token.line, str_text(&spelling.merged));
}

/* Takes what stands behind a single value and should not. */
static void skip_surplus(struct reading *r)
{
    struct scan *s = r->s;
    for (;;) {
        struct lex ahead = s->source->lex;
        int line = ahead.line;
        struct lex_token token;
        lex_next(&ahead, &token);
        if (is_value(&token) && token.line == line && !scan_starts_statement(s->source->lex)) {
            char shown[SPELL_SHOWN_MAX];
            scan_fault(s, line,
                       "unexpected \"%s\" after the value of \"%s\"; put a value with "
                       "spaces in quotes",
                       spell_show(token.start, token.len, shown), r->name);
            s->source->lex = ahead;
            continue;
        }
        struct lex_token next;
        struct lex past_comma = ahead;
        lex_next(&ahead, &next);
        if (token.kind != LEX_COMMA || !is_value(&next) || scan_starts_statement(past_comma))
            return;
        scan_fault(s, token.line, "several values need braces around them: %s = { …, … }", r->name);
        s->source->lex = ahead;
    }
}

static void read_single(struct reading *r)
{
    struct scan *s = r->s;
    struct lex_token token = scan_peek(s);
    if (!is_value(&token) || scan_starts_statement(s->source->lex)) {
        scan_fault(s, r->line, "missing value after \"%s =\"", r->name);
        return;
    }
    read_value(r);
    scan_emit(s, token.line, "\n");
    skip_surplus(r);
}

/* Takes a "{" that stands inside of a list, and all up to its "}". */
static void skip_nested(struct reading *r)
{
    struct lex_token token;
    size_t depth = 0;
    do {
        lex_next(&r->s->source->lex, &token);
        if (token.kind == LEX_OPEN)
            depth++;
        else if (token.kind == LEX_CLOSE)
            depth--;
    } while (depth > 0 && token.kind != LEX_END);
}

/* Whether a list has no end before token: what is there is the next statement. A known name without
 * a comma before it is one even when its own "=" is missing. */
static bool ends_unclosed(const struct reading *r, const struct lex_token *token, bool separated)
{
    struct scan *s = r->s;
    if (token->kind == LEX_END || scan_starts_statement(s->source->lex))
        return true;
    if (token->kind != LEX_WORD || separated)
        return false;
    STR_AUTO name = {0};
    str_append_n(&name, token->start, token->len);
    return conf_schema_option(s->section->schema, str_text(&name)) ||
           conf_schema_section(s->section->schema, str_text(&name));
}

/* Passes by what is neither a value nor the list's end. */
static void skip_other(struct reading *r, const struct lex_token *token)
{
    struct scan *s = r->s;
    char shown[SPELL_SHOWN_MAX];
    if (token->kind == LEX_OPEN) {
        scan_fault(s, token->line, "a list cannot stand in the list of \"%s\"", r->name);
        skip_nested(r);
        return;
    }
    if (token->kind == LEX_COMMA)
        scan_fault(s, token->line, "a \",\" too many in the list of \"%s\"", r->name);
    else
        scan_fault(s, token->line, "unexpected \"%s\" in the list of \"%s\"",
                   spell_show(token->start, token->len, shown), r->name);
    scan_take(s, &(struct lex_token){0});
}

static void read_list(struct reading *r)
{
    struct scan *s = r->s;
    struct lex_token open;
    scan_take(s, &open);
    if (r->schema && !r->schema->list)
        scan_fault(s, open.line, "\"%s\" takes one value, no list", r->name);
    scan_emit(s, open.line, "{\n");

    bool separated = true;
    for (;;) {
        struct lex_token token = scan_peek(s);
        if (token.kind == LEX_CLOSE) {
            scan_take(s, &token);
            scan_emit(s, token.line, "}\n");
            return;
        }
        if (ends_unclosed(r, &token, separated)) {
            if (token.fault == LEX_FINE) /* else the comment is at fault */
                scan_error(s, open.line, "the list of \"%s\" is not closed; a \"}\" is missing",
                           r->name);
            return;
        }
        if (is_value(&token)) {
            if (!separated)
                scan_fault(s, token.line, "missing \",\" in the list of \"%s\"", r->name);
            read_value(r);
            separated = false;
        } else if (token.kind == LEX_COMMA && !separated) {
            scan_take(s, &token);
            scan_emit(s, token.line, ",\n");
            separated = true;
        } else {
            skip_other(r, &token);
        }
    }
}

void scan_values(struct scan *s, const char *name, int line,
                 const struct conf_option_schema *schema)
{
    char shown[SPELL_SHOWN_MAX];
    struct reading r = {s, spell_show(name, strlen(name), shown), line, schema, NULL};
    if (schema) {
        r.option = conf_tree_add_option(s->section, schema, s->source->name, line);
        if (!r.option)
            scan_stop_memory(s);
        scan_emit(s, line, schema->name);
        scan_emit(s, line, " = ");
    }
    if (scan_peek(s).kind == LEX_OPEN)
        read_list(&r);
    else
        read_single(&r);
}
