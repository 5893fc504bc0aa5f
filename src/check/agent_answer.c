/* Reading what agents say. Pure. In the monitor. */
#include "check/agent_answer.h"

#include <string.h>

#include "check/check.h"

#define MAXCONN "maxconn:"

/* A word without a figure: what it sets to what. */
static const struct word {
    const char *text;
    enum { WORD_HEALTH, WORD_ADMIN } sets;
    uint32_t value;
} words[] = {
    {"up", WORD_HEALTH, AGENT_SAYS_UP},        {"down", WORD_HEALTH, AGENT_SAYS_DOWN},
    {"fail", WORD_HEALTH, AGENT_SAYS_DOWN},    {"failed", WORD_HEALTH, AGENT_SAYS_DOWN},
    {"stopped", WORD_HEALTH, AGENT_SAYS_DOWN}, {"ready", WORD_ADMIN, ADMIN_READY},
    {"drain", WORD_ADMIN, ADMIN_DRAIN},        {"maint", WORD_ADMIN, ADMIN_MAINTENANCE},
};

static bool is_separator(char c)
{
    return c == ' ' || c == '\t' || c == ',';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The number that n bytes are, at most max; false when they are none. */
static bool read_number(const char *digits, size_t n, uint32_t max, uint32_t *out)
{
    uint64_t number = 0;

    for (size_t i = 0; i < n; i++) {
        if (!is_digit(digits[i])) {
            return false;
        }
        number = number * 10 + (uint64_t)(digits[i] - '0');
        number = number < max ? number : max;
    }
    *out = (uint32_t)number;
    return n > 0;
}

static bool read_figure(const char *word, size_t n, struct agent_answer *out)
{
    const size_t prefix = strlen(MAXCONN);
    uint32_t percent;

    if (word[n - 1] == '%' && read_number(word, n - 1, 100, &percent)) {
        out->weight_permille = percent * 10;
        return true;
    }
    return n > prefix && strncasecmp(word, MAXCONN, prefix) == 0 &&
           read_number(word + prefix, n - prefix, CHECK_NOT_SAID - 1, &out->max_connections);
}

static bool read_word(const char *word, size_t n, struct agent_answer *out)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].text) != n || strncasecmp(words[i].text, word, n) != 0) {
            continue;
        }
        if (words[i].sets == WORD_HEALTH) {
            out->health = (enum agent_health)words[i].value;
        } else {
            out->admin = words[i].value;
        }
        return true;
    }
    return read_figure(word, n, out);
}

size_t agent_line_length(const char *bytes, size_t n)
{
    size_t length = 0;

    while (length < n && bytes[length] != '\n' && bytes[length] != '\r') {
        length++;
    }
    return length;
}

void agent_answer_read(const char *line, size_t n, struct agent_answer *out)
{
    size_t at = 0;

    *out = (struct agent_answer){.weight_permille = CHECK_NOT_SAID,
                                 .admin = CHECK_NOT_SAID,
                                 .max_connections = CHECK_NOT_SAID};
    while (at < n && line[at] != '#') {
        size_t from = at;

        while (at < n && line[at] != '#' && !is_separator(line[at])) {
            at++;
        }
        if (at == from) {
            at++;
        } else if (read_word(line + from, at - from, out)) {
            out->n_known++;
        } else {
            out->n_unknown++;
        }
    }
    out->words_end = at;
    out->why = at < n ? at + 1 : n;
}
