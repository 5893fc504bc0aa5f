/*
 * The streaming JSON writer. Owns nothing: the text belongs to the str it writes into. Runs in
 * every process.
 */
#include "json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void json_init(struct json *j, struct str *out)
{
    *j = (struct json){.out = out};
}

/* Comma and key, whatever the value is. At the top there is no comma: one value, or one a line. */
static void begin_value(struct json *j, const char *key)
{
    if (j->depth > 0) {
        if (j->has_item[j->depth]) {
            str_append_char(j->out, ',');
        }
        j->has_item[j->depth] = true;
    }
    if (key != NULL) {
        json_escape(j->out, key);
        str_append_char(j->out, ':');
    }
}

static void begin_nesting(struct json *j, const char *key, char bracket)
{
    assert(j->depth + 1 < JSON_DEPTH_MAX);
    begin_value(j, key);
    str_append_char(j->out, bracket);
    j->depth++;
    j->has_item[j->depth] = false;
}

static void end_nesting(struct json *j, char bracket)
{
    assert(j->depth > 0);
    j->depth--;
    str_append_char(j->out, bracket);
}

void json_begin_object(struct json *j, const char *key)
{
    begin_nesting(j, key, '{');
}

void json_end_object(struct json *j)
{
    end_nesting(j, '}');
}

void json_begin_array(struct json *j, const char *key)
{
    begin_nesting(j, key, '[');
}

void json_end_array(struct json *j)
{
    end_nesting(j, ']');
}

void json_put_string(struct json *j, const char *key, const char *value)
{
    if (value == NULL) {
        json_put_null(j, key);
        return;
    }
    begin_value(j, key);
    json_escape(j->out, value);
}

void json_put_int(struct json *j, const char *key, int64_t value)
{
    begin_value(j, key);
    str_printf(j->out, "%" PRId64, value);
}

void json_put_uint(struct json *j, const char *key, uint64_t value)
{
    begin_value(j, key);
    str_printf(j->out, "%" PRIu64, value);
}

void json_put_bool(struct json *j, const char *key, bool value)
{
    begin_value(j, key);
    str_append(j->out, value ? "true" : "false");
}

void json_put_null(struct json *j, const char *key)
{
    begin_value(j, key);
    str_append(j->out, "null");
}

/*
 * How many bytes at p (NUL-terminated) start with a character whose lead byte is not ASCII, by
 * table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF.
 * *out_valid says whether it is whole; if not, the length is that of the longest start of a
 * character, which becomes one U+FFFD (the standard's recommended practice).
 */
static size_t measure_utf8(const unsigned char *p, bool *out_valid)
{
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t rest;
    size_t i;

    *out_valid = false;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        rest = 1;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        rest = 2;
        low = p[0] == 0xE0 ? 0xA0 : low;   /* overlong */
        high = p[0] == 0xED ? 0x9F : high; /* surrogates */
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        rest = 3;
        low = p[0] == 0xF0 ? 0x90 : low;   /* overlong */
        high = p[0] == 0xF4 ? 0x8F : high; /* above U+10FFFF */
    } else {
        return 1;
    }
    for (i = 1; i <= rest; i++) {
        if (p[i] < low || p[i] > high) { /* the closing NUL, too */
            return i;
        }
        low = 0x80;
        high = 0xBF;
    }
    *out_valid = true;
    return i;
}

/* Valid, but able to move a terminal's cursor or to look like a line's end. */
static bool is_treacherous(const unsigned char *p, size_t len)
{
    if (len == 2) {
        return p[0] == 0xC2 && p[1] < 0xA0; /* C1 controls */
    }
    return len == 3 && p[0] == 0xE2 && p[1] == 0x80 && (p[2] == 0xA8 || p[2] == 0xA9);
}

static size_t escape_wide(const unsigned char *p, char unit[static JSON_UNIT_MAX])
{
    bool valid;
    size_t len = measure_utf8(p, &valid);

    if (!valid) {
        memcpy(unit, REPLACEMENT, sizeof(REPLACEMENT));
    } else if (is_treacherous(p, len)) {
        (void)snprintf(unit, JSON_UNIT_MAX, "\\u%04x", len == 2 ? p[1] : 0x2000U + (p[2] & 0x3FU));
    } else {
        memcpy(unit, p, len);
        unit[len] = '\0';
    }
    return len;
}

size_t json_escape_next(const char *text, char unit[static JSON_UNIT_MAX])
{
    static const char shorts[][2] = {{'"', '"'},  {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'},
                                     {'\t', 't'}, {'\b', 'b'},  {'\f', 'f'}};
    const unsigned char *p = (const unsigned char *)text;

    if (p[0] >= 0x80) {
        return escape_wide(p, unit);
    }
    for (size_t i = 0; i < sizeof(shorts) / sizeof(shorts[0]); i++) {
        if (text[0] == shorts[i][0]) {
            unit[0] = '\\';
            unit[1] = shorts[i][1];
            unit[2] = '\0';
            return 1;
        }
    }
    if (p[0] < 0x20 || p[0] == 0x7F) {
        (void)snprintf(unit, JSON_UNIT_MAX, "\\u%04x", p[0]);
    } else {
        unit[0] = text[0];
        unit[1] = '\0';
    }
    return 1;
}

static bool is_plain(char c)
{
    unsigned char byte = (unsigned char)c;

    return byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
}

void json_escape(struct str *out, const char *text)
{
    char unit[JSON_UNIT_MAX];

    str_append_char(out, '"');
    while (*text != '\0') {
        size_t plain = 0;

        while (is_plain(text[plain])) {
            plain++;
        }
        str_append_n(out, text, plain);
        text += plain;
        if (*text != '\0') {
            text += json_escape_next(text, unit);
            str_append(out, unit);
        }
    }
    str_append_char(out, '"');
}
