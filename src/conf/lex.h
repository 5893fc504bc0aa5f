/*
 * Words, strings and signs of a configuration file. A lexer is a plain value: a copy of it looks
 * ahead without moving the original.
 */
#ifndef SLUICE_CONF_LEX_H
#define SLUICE_CONF_LEX_H

#include <stdbool.h>
#include <stddef.h>

enum lex_kind {
    LEX_END,
    LEX_WORD,     /* unquoted */
    LEX_STRING,   /* quoted, either way */
    LEX_VARIABLE, /* an unquoted ${…} */
    LEX_EQUALS,
    LEX_APPEND, /* += */
    LEX_OPEN,
    LEX_CLOSE,
    LEX_PAREN_OPEN,
    LEX_PAREN_CLOSE,
    LEX_COMMA,
    LEX_JUNK, /* one character that nothing starts with */
    LEX_KIND_COUNT
};

enum lex_fault {
    LEX_FINE,
    LEX_UNCLOSED_STRING,
    LEX_UNCLOSED_COMMENT, /* with LEX_END; the token's line is where it opens */
    LEX_UNCLOSED_VARIABLE,
    LEX_QUOTE_IN_WORD,
    LEX_TYPOGRAPHIC_QUOTE,
    LEX_FAULT_COUNT
};

struct lex_token {
    enum lex_kind kind;
    enum lex_fault fault;
    char quote;        /* of a LEX_STRING, else 0 */
    const char *start; /* of what is between the quotes, or of all of it */
    size_t len;
    int line; /* where it starts */
};

struct lex {
    const char *pos;
    const char *end; /* *end is readable and NUL; no NUL before it */
    int line;
};

/* Takes the next token. At the end every further one is LEX_END. */
void lex_next(struct lex *lex, struct lex_token *out);
/* How many bytes the escape sequence has that starts with the backslash at text, itself included;
 * at least 1. */
size_t lex_escape_length(const char *text, const char *end);

#endif
