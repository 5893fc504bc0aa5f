/* Escapes in a text that stands for bytes. Pure; in every process that reads such texts. */
#include "escape.h"

#include <ctype.h>
#include <string.h>

int escape_hex_digit(char c)
{
    return !isxdigit((unsigned char)c) ? -1 : c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

int escape_read(const char *text, size_t *out_len)
{
    static const char letters[] = "rnt0\\", meanings[] = "\r\n\t\0\\";
    const char *letter;

    *out_len = 1;
    if (text[0] != '\\') {
        return (unsigned char)text[0];
    }
    letter = text[1] != '\0' ? strchr(letters, text[1]) : NULL;
    *out_len = 2;
    if (letter != NULL) {
        return (unsigned char)meanings[letter - letters];
    }
    if (text[1] == 'x' && escape_hex_digit(text[2]) >= 0 && escape_hex_digit(text[3]) >= 0) {
        *out_len = 4;
        return escape_hex_digit(text[2]) << 4 | escape_hex_digit(text[3]);
    }
    return -1;
}

void escape_explain(const char *text, struct str *out_problem)
{
    unsigned char c = (unsigned char)text[1];

    str_append(out_problem, "unknown escape \"");
    if (c == '"') {
        str_append(out_problem, "\\\"");
    } else if (c >= 0x20 && c < 0x7F) {
        str_append_char(out_problem, (char)c);
    } else if (c != '\0') {
        str_printf(out_problem, "\\x%02x", c);
    }
    str_append(out_problem,
               "\"; the known ones are \\r \\n \\t \\0 \\xHH, and \\\\ for a backslash");
}
