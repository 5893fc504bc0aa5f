/*
 * Spelling of values. Pure. The decoder walks over units (an escape, or one byte) and writes two
 * forms at once: the raw value, and the unit as libconfuse shall read it, so that a different
 * understanding of any escape shows when the two are compared.
 *
 * A $ that means itself is doubled in the raw form where a "{" follows, since expansion looks at
 * the raw form only. literal counts those of the current run of $ that do; plain those after the
 * last of them, which stand as written.
 */
#include "spell.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "conf.h"

struct decoder {
    const struct lex_token *token;
    struct spelling *out;
    size_t literal;
    size_t plain;
};

struct unit {
    const char *start;
    size_t len;
    bool escaped;
    bool none; /* a continued line: stands for nothing */
    char byte;
};

static int read_number(const struct unit *unit, int base, struct decoder *d)
{
    unsigned value = 0;
    for (size_t i = base == 8 ? 1 : 2; i < unit->len; i++) {
        char c = unit->start[i];
        unsigned digit = c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
        if (digit >= (unsigned)base || i > 3)
            value = 256;
        else
            value = value * (unsigned)base + digit;
        if (value > 255) {
            str_printf(&d->out->problem, "bad escape \"%.*s\"; an octal one is \\0 to \\377",
                       (int)(unit->len > 20 ? 20 : unit->len), unit->start);
            return -1;
        }
    }
    if (value == 0) {
        str_append(&d->out->problem, "a value cannot hold a NUL byte");
        return -1;
    }
    return (int)value;
}

static void note_escape(struct decoder *d, char c)
{
    if (isalnum((unsigned char)c) && d->out->note.len == 0)
        str_printf(&d->out->note,
                   "\"\\%c\" is no known escape and means just \"%c\"; "
                   "a backslash is written \\\\",
                   c, c);
}

static int read_double_escape(struct decoder *d, struct unit *unit)
{
    static const char letters[] = "nrtbfaev";
    static const char meanings[] = "\n\r\t\b\f\a\033\v";
    char c = unit->start[1];
    const char *letter = strchr(letters, c);
    if (c == '\n') {
        unit->none = true;
    } else if (isdigit((unsigned char)c) || (c == 'x' && unit->len > 2)) {
        int value = read_number(unit, c == 'x' ? 16 : 8, d);
        if (value < 0)
            return -1;
        unit->byte = (char)value;
    } else if (letter) {
        unit->byte = meanings[letter - letters];
    } else {
        note_escape(d, c);
        unit->byte = c;
    }
    return 0;
}

/* Fills unit with what stands at p. */
static int read_unit(struct decoder *d, const char *p, const char *end, struct unit *unit)
{
    *unit = (struct unit){.start = p, .len = 1, .byte = *p};
    char quote = d->token->quote;
    if (*p == '\\' && quote != 0 && p + 1 < end) {
        if (quote == '"') {
            unit->len = lex_escape_length(p, end);
            unit->escaped = true;
            return read_double_escape(d, unit);
        }
        if (p[1] == '\n' || p[1] == '\\' || p[1] == '\'') {
            unit->len = 2;
            unit->none = p[1] == '\n';
            unit->byte = p[1];
        }
        return 0;
    }
    if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f) {
        str_printf(&d->out->problem,
                   "control character 0x%02x; write it as \\x%02x in double quotes",
                   (unsigned char)*p, (unsigned char)*p);
        return -1;
    }
    return 0;
}

static void append_dollars(struct decoder *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        str_append_char(&d->out->raw, '$');
        str_append(&d->out->merged, d->token->quote == '"' ? "\\$" : "$");
    }
}

static void append_unit(struct decoder *d, const struct unit *unit)
{
    bool means_itself = unit->escaped || d->token->quote == '\'';
    if (unit->none) {
        str_append_n(&d->out->merged, unit->start, unit->len);
        return;
    }
    if (unit->byte == '$') {
        d->literal += means_itself ? d->plain + 1 : 0;
        d->plain = means_itself ? 0 : d->plain + 1;
    } else {
        if (unit->byte == '{')
            append_dollars(d, d->literal + (means_itself ? d->plain : 0));
        d->literal = d->plain = 0;
    }
    str_append_char(&d->out->raw, unit->byte);
    if (unit->byte == '$' && !unit->escaped && d->token->quote == '"')
        str_append_char(&d->out->merged, '\\');
    str_append_n(&d->out->merged, unit->start, unit->len);
}

static int decode_units(struct decoder *d)
{
    const char *end = d->token->start + d->token->len;
    struct unit unit;
    for (const char *p = d->token->start; p < end; p += unit.len) {
        if (read_unit(d, p, end, &unit) < 0)
            return -1;
        append_unit(d, &unit);
    }
    return 0;
}

int spell_decode(const struct lex_token *token, struct spelling *out)
{
    struct lex_token quoted = *token;
    if (token->kind == LEX_VARIABLE)
        quoted.quote = '"';
    struct decoder d = {&quoted, out, 0, 0};

    char quote[2] = {quoted.quote, '\0'};
    str_append(&out->merged, quote);
    if (decode_units(&d) < 0)
        return -1;
    str_append(&out->merged, quote);

    if (out->raw.len > CONF_VALUE_BYTES_MAX) {
        str_printf(&out->problem, "a value of %zu bytes; at most %d are allowed", out->raw.len,
                   CONF_VALUE_BYTES_MAX);
        return -1;
    }
    if (!spell_utf8_valid(str_text(&out->raw), out->raw.len)) {
        str_append(&out->problem, "a value that is not UTF-8; save the file in that encoding");
        return -1;
    }
    return 0;
}

void spell_free(struct spelling *spelling)
{
    str_free(&spelling->raw);
    str_free(&spelling->merged);
    str_free(&spelling->problem);
    str_free(&spelling->note);
}

/* The length of the UTF-8 character at text, 0 if there is none. */
static size_t utf8_length(const unsigned char *text, size_t len)
{
    unsigned char c = text[0];
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || len < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (c == 0xe0 && text[1] < 0xa0) || (c == 0xf0 && text[1] < 0x90);
    bool surrogate = c == 0xed && text[1] > 0x9f;
    bool beyond = c == 0xf4 && text[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : n;
}

bool spell_utf8_valid(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    while (len > 0) {
        size_t n = utf8_length(p, len);
        if (n == 0)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

const char *spell_show(const char *text, size_t len, char buf[static SPELL_SHOWN_MAX])
{
    static const char more[] = "…";
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        if (used + 4 + sizeof more > 64) {
            memcpy(buf + used, more, sizeof more);
            return buf;
        }
        unsigned char c = (unsigned char)text[i];
        size_t n = utf8_length((const unsigned char *)text + i, len - i);
        if (n == 0 || c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(buf + used, 5, "\\x%02x", c);
            i++;
        } else {
            memcpy(buf + used, text + i, n);
            used += n;
            i += n;
        }
    }
    buf[used] = '\0';
    return buf;
}

void conf_quote(struct str *out, const char *raw)
{
    str_append_char(out, '"');
    for (; *raw; raw++) {
        unsigned char c = (unsigned char)*raw;
        if (c == '"' || c == '\\')
            str_printf(out, "\\%c", c);
        else if (c == '\n')
            str_append(out, "\\n");
        else if (c == '\r')
            str_append(out, "\\r");
        else if (c == '\t')
            str_append(out, "\\t");
        else if (c < 0x20 || c == 0x7f)
            str_printf(out, "\\x%02x", c);
        else
            str_append_char(out, (char)c);
    }
    str_append_char(out, '"');
}
