/*
 * The growing string. A str owns its memory; growth doubles, so that appending is cheap. Runs in
 * every process.
 */
#include "str.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

/* Makes room for n more bytes and a NUL; false, and s marked failed, where that is not allowed. */
static bool reserve(struct str *s, size_t n)
{
    size_t cap = s->cap > 0 ? s->cap : FIRST_CAP;
    size_t need;
    char *data;

    if (s->failed) {
        return false;
    }
    if (n >= SIZE_MAX / 2 - s->len || (s->limit > 0 && s->len + n > s->limit)) {
        s->failed = true;
        return false;
    }
    need = s->len + n + 1;
    if (s->data != NULL && need <= s->cap) {
        return true;
    }
    while (cap < need) {
        cap *= 2;
    }
    data = realloc(s->data, cap);
    if (data == NULL) {
        s->failed = true;
        return false;
    }
    s->data = data;
    s->cap = cap;
    return true;
}

void str_append_n(struct str *s, const char *bytes, size_t n)
{
    if (!reserve(s, n)) {
        return;
    }
    if (n > 0) {
        memcpy(s->data + s->len, bytes, n);
    }
    s->len += n;
    s->data[s->len] = '\0';
}

void str_append(struct str *s, const char *text)
{
    str_append_n(s, text, strlen(text));
}

void str_append_char(struct str *s, char c)
{
    str_append_n(s, &c, 1);
}

void str_vprintf(struct str *s, const char *format, va_list args)
{
    va_list again;
    int n;

    if (s->failed) {
        return;
    }
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, args);
    if (n < 0) {
        s->failed = true;
    } else if (reserve(s, (size_t)n)) {
        (void)vsnprintf(s->data + s->len, (size_t)n + 1, format, again);
        s->len += (size_t)n;
    }
    va_end(again);
}

void str_printf(struct str *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    str_vprintf(s, format, args);
    va_end(args);
}

void str_reset(struct str *s)
{
    s->len = 0;
    s->failed = false;
    if (s->data != NULL) {
        s->data[0] = '\0';
    }
}

void str_free(struct str *s)
{
    free(s->data);
    s->data = NULL;
    s->len = 0;
    s->cap = 0;
    s->failed = false;
}

const char *str_text(const struct str *s)
{
    return s->data != NULL ? s->data : "";
}

char *str_take(struct str *s)
{
    char *text = NULL;

    if (!s->failed) {
        text = s->data != NULL ? s->data : strdup("");
        s->data = NULL;
    }
    str_free(s);
    return text;
}
