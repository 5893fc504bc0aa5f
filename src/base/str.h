/*
 * A growing string with a limit. Appending past the limit, or without memory, marks it failed and
 * changes nothing more; callers look once, at the end. Zeroed is empty and unlimited.
 */
#ifndef SLUICE_BASE_STR_H
#define SLUICE_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct str {
    char *data; /* NUL-terminated once anything was appended, else NULL */
    size_t len; /* without the NUL */
    size_t cap;
    size_t limit; /* most bytes, 0: none */
    bool failed;
};

void str_append(struct str *s, const char *text);
void str_append_n(struct str *s, const char *bytes, size_t n);
void str_append_char(struct str *s, char c);
__attribute__((format(printf, 2, 3))) void str_printf(struct str *s, const char *format, ...);
__attribute__((format(printf, 2, 0))) void str_vprintf(struct str *s, const char *format, va_list);
/* Empties, keeps the memory, clears failed. */
void str_reset(struct str *s);
/* Releases; s is empty and usable afterwards. */
void str_free(struct str *s);
/* The text, never NULL. */
const char *str_text(const struct str *s);
/* Hands the text over (free() it; NULL if failed or out of memory); s is empty afterwards. */
char *str_take(struct str *s);

#define STR_AUTO __attribute__((cleanup(str_free))) struct str

#endif
