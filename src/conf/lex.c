/*
 * The lexer of the scan. Pure. It follows libconfuse's, so that both see the same words, but is
 * stricter about what only looks like one (";", a quote inside a word, a string over several
 * lines), and it leaves a fault so that what follows can still be read: an unclosed string ends on
 * its line, before the braces that stand there.
 */
#include "lex.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* What ends an unquoted word. libconfuse stops at the same, but for ";" and control characters. */
static bool ends_word(char c)
{
    return is_blank(c) || (unsigned char)c < 0x20 || c == 0x7f ||
           strchr("#\"'={}()+,*;", c) != NULL;
}

static bool starts_with(const struct lex *lex, const char *text)
{
    size_t len = strlen(text);
    return (size_t)(lex->end - lex->pos) >= len && memcmp(lex->pos, text, len) == 0;
}

static void skip_line(struct lex *lex)
{
    const char *newline = memchr(lex->pos, '\n', (size_t)(lex->end - lex->pos));
    lex->pos = newline ? newline : lex->end;
}

/* Whether it ends. */
static bool skip_block_comment(struct lex *lex)
{
    lex->pos += 2;
    for (; lex->pos < lex->end; lex->pos++) {
        if (starts_with(lex, "*/")) {
            lex->pos += 2;
            return true;
        }
        if (*lex->pos == '\n')
            lex->line++;
    }
    return false;
}

/* Goes to the next thing that is neither blank nor comment. Returns 0, or the line of a comment
 * that never ends. */
static int skip_blanks(struct lex *lex)
{
    while (lex->pos < lex->end) {
        if (*lex->pos == '\n')
            lex->line++;
        if (is_blank(*lex->pos)) {
            lex->pos++;
        } else if (*lex->pos == '#' || starts_with(lex, "//")) {
            skip_line(lex);
        } else if (starts_with(lex, "/*")) {
            int line = lex->line;
            if (!skip_block_comment(lex))
                return line;
        } else {
            break;
        }
    }
    return 0;
}

size_t lex_escape_length(const char *text, const char *end)
{
    if (end - text < 2)
        return 1;
    size_t len = 2;
    if (text[1] >= '0' && text[1] <= '9') {
        while (text + len < end && text[len] >= '0' && text[len] <= '9')
            len++;
    } else if (text[1] == 'x') {
        while (len < 4 && text + len < end && text[len] != '\0' &&
               strchr("0123456789abcdefABCDEF", text[len]))
            len++;
    }
    return len;
}

/*
 * Ends an unclosed string where it was probably meant to end: before the braces that close or open
 * something at the end of its line, so that the braces around it still match. Returns its end.
 */
static const char *guess_string_end(const char *start, const char *line_end)
{
    int surplus = 0;
    for (const char *p = start; p < line_end; p++)
        surplus += *p == '}' ? 1 : *p == '{' ? -1 : 0;

    const char *end = line_end;
    for (;;) {
        const char *trimmed = end;
        while (trimmed > start && is_blank(trimmed[-1]))
            trimmed--;
        if (trimmed > start && surplus > 0 && trimmed[-1] == '}')
            surplus--;
        else if (trimmed > start && surplus < 0 && trimmed[-1] == '{')
            surplus++;
        else
            return end == line_end ? end : trimmed;
        end = trimmed - 1;
    }
}

static void read_string(struct lex *lex, struct lex_token *out)
{
    out->kind = LEX_STRING;
    out->quote = *lex->pos++;
    out->start = lex->pos;
    const char *p = lex->pos;
    while (p < lex->end && *p != out->quote && *p != '\n') {
        if (*p == '\\' && p + 1 < lex->end) {
            p++;
            if (*p == '\n')
                lex->line++;
        }
        p++;
    }
    if (p < lex->end && *p == out->quote) {
        out->len = (size_t)(p - out->start);
        lex->pos = p + 1;
        return;
    }
    out->fault = LEX_UNCLOSED_STRING;
    p = guess_string_end(out->start, p);
    out->len = (size_t)(p - out->start);
    lex->pos = p;
}

/* An unquoted ${…}; the braces inside of a longer word are none of a word's. */
static void read_variable(struct lex *lex, struct lex_token *out)
{
    out->kind = LEX_VARIABLE;
    const char *p = lex->pos + 2;
    while (p < lex->end && *p != '}' && !ends_word(*p) && *p != '\\')
        p++;
    if (p < lex->end && *p == '}')
        p++;
    else
        out->fault = LEX_UNCLOSED_VARIABLE;
    out->len = (size_t)(p - lex->pos);
    lex->pos = p;
}

static bool has_typographic_quote(const char *text, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) /* U+2018 to U+201F */
        if (memcmp(text + i, "\xe2\x80", 2) == 0 && (unsigned char)text[i + 2] >= 0x98 &&
            (unsigned char)text[i + 2] <= 0x9f)
            return true;
    return false;
}

static void read_word(struct lex *lex, struct lex_token *out)
{
    out->kind = LEX_WORD;
    const char *p = lex->pos;
    while (p < lex->end && !ends_word(*p))
        p++;
    out->len = (size_t)(p - lex->pos);
    lex->pos = p;
    if (p < lex->end && (*p == '"' || *p == '\''))
        out->fault = LEX_QUOTE_IN_WORD;
    else if (has_typographic_quote(out->start, out->len))
        out->fault = LEX_TYPOGRAPHIC_QUOTE;
}

static void read_sign(struct lex *lex, struct lex_token *out)
{
    static const struct {
        const char *text;
        enum lex_kind kind;
    } signs[] = {
        {"=", LEX_EQUALS},     {"+=", LEX_APPEND},     {"{", LEX_OPEN},  {"}", LEX_CLOSE},
        {"(", LEX_PAREN_OPEN}, {")", LEX_PAREN_CLOSE}, {",", LEX_COMMA},
    };
    out->kind = LEX_JUNK;
    out->len = 1;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (starts_with(lex, signs[i].text)) {
            out->kind = signs[i].kind;
            out->len = strlen(signs[i].text);
        }
    }
    lex->pos += out->len;
}

void lex_next(struct lex *lex, struct lex_token *out)
{
    int comment_line = skip_blanks(lex);
    *out = (struct lex_token){.kind = LEX_END, .start = lex->pos, .line = lex->line};
    if (comment_line != 0) {
        out->fault = LEX_UNCLOSED_COMMENT;
        out->line = comment_line;
        return;
    }
    if (lex->pos == lex->end)
        return;
    if (*lex->pos == '"' || *lex->pos == '\'')
        read_string(lex, out);
    else if (starts_with(lex, "${"))
        read_variable(lex, out);
    else if (ends_word(*lex->pos))
        read_sign(lex, out);
    else
        read_word(lex, out);
}
