/* Quoting what others said. Pure. In the monitor. */
#include "check/quote.h"

#include <stdbool.h>
#include <string.h>

#include "base/json.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

/* The character at text (not at its end) as it may be shown. Returns how many bytes of text it
 * took; what stands in out is as long or shorter. */
static size_t show_character(const char *text, char out[static JSON_UNIT_MAX])
{
    size_t n = json_escape_next(text, out); /* escapes just what must not be shown */
    bool is_shown =
        n > 1 ? strncmp(out, text, n) == 0 && out[n] == '\0' : text[0] >= 0x20 && text[0] < 0x7f;

    if (is_shown) {
        memcpy(out, text, n);
        out[n] = '\0';
    } else {
        (void)strcpy(out, text[0] == '\t' ? " " : "?");
    }
    return n;
}

/* The bytes of the first line that is not empty, as a string. */
static void copy_line(char line[static QUOTE_BYTES_MAX + 1], const char *bytes, size_t n)
{
    size_t from = 0, to;

    while (from < n && is_blank(bytes[from])) {
        from++;
    }
    for (to = from; to < n && to - from < QUOTE_BYTES_MAX; to++) {
        if (bytes[to] == '\n' || bytes[to] == '\r') {
            break;
        }
        line[to - from] = bytes[to] != '\0' ? bytes[to] : '\1';
    }
    while (to > from && is_blank(bytes[to - 1])) {
        to--;
    }
    line[to - from] = '\0';
}

void quote_line(char *out, size_t size, const char *bytes, size_t n)
{
    char line[QUOTE_BYTES_MAX + 1], shown[JSON_UNIT_MAX];
    const char *at = line;
    size_t length = 0;

    copy_line(line, bytes, n);
    while (*at != '\0') {
        at += show_character(at, shown);
        if (length + strlen(shown) >= size) {
            break;
        }
        memcpy(out + length, shown, strlen(shown));
        length += strlen(shown);
    }
    out[length] = '\0';
}
