/*
 * Parsing and printing of times, sizes, rates, numbers and booleans, and the search for the word
 * that was meant. Pure; runs in every process.
 */
#include "units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TIME_MAX_MS (UINT64_C(3650) * 24 * 3600 * 1000)
#define RATE_MAX_MS 1000 /* events in a millisecond */
#define BURST_MAX   1000000
#define WORD_MAX    64 /* longer words are nobody's slip of the finger */

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, so that the first that divides a value prints it shortest. */
static const struct unit time_units[] = {
    {"d", 24 * 3600 * 1000}, {"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}};
static const struct unit rate_units[] = {{"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};
static const struct unit size_units[] = {{"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {"", 1}};

#define UNITS_OF(table) (table), sizeof(table) / sizeof((table)[0])

static int refuse(const char **out_problem, const char *problem)
{
    *out_problem = problem;
    return -EINVAL;
}

/*
 * Reads the digits text starts with. Returns what follows them, NULL when there is none. More than
 * fits becomes UINT64_MAX, with *out_overflow set.
 */
static const char *scan_digits(const char *text, uint64_t *out, bool *out_overflow)
{
    uint64_t value = 0;
    const char *p = text;

    *out_overflow = false;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (unsigned)(*p - '0'), &value)) {
            *out_overflow = true;
        }
    }
    *out = *out_overflow ? UINT64_MAX : value;
    return p > text ? p : NULL;
}

static const struct unit *find_unit(const struct unit *units, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(units[i].name, name) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

int units_parse_time(const char *text, uint64_t *out_ms, const char **out_problem)
{
    const struct unit *unit;
    const char *rest;
    uint64_t value;
    bool overflow;

    rest = scan_digits(text, &value, &overflow);
    if (rest == NULL) {
        return refuse(out_problem,
                      "not a time; write a number with ms, s, m, h or d, such as \"5s\"");
    }
    if (*rest == '\0' && value == 0) {
        *out_ms = 0;
        return 0;
    }
    if (*rest == '\0') {
        return refuse(out_problem,
                      "no unit; write ms, s, m, h or d after the number, such as \"5s\"");
    }
    unit = find_unit(UNITS_OF(time_units), rest);
    if (unit == NULL) {
        return refuse(out_problem,
                      "not a time; write a whole number with ms, s, m, h or d, such as \"5s\"");
    }
    if (overflow || value > TIME_MAX_MS / unit->factor) {
        return refuse(out_problem, "too long; at most 10 years, \"3650d\"");
    }
    *out_ms = value * unit->factor;
    return 0;
}

int units_parse_size(const char *text, uint64_t *out_bytes, const char **out_problem)
{
    const struct unit *unit = NULL;
    const char *rest;
    uint64_t value;
    bool overflow;

    rest = scan_digits(text, &value, &overflow);
    if (rest != NULL && strlen(rest) <= 1) {
        char name[2] = {*rest, '\0'};

        if (*rest >= 'A' && *rest <= 'Z') {
            name[0] = (char)(*rest - 'A' + 'a');
        }
        unit = find_unit(UNITS_OF(size_units), name);
    }
    if (unit == NULL) {
        return refuse(out_problem, "not a size; write a whole number of bytes, or one with k, m "
                                   "or g, such as \"64k\"");
    }
    if (overflow || value > UINT64_MAX / unit->factor) {
        return refuse(out_problem, "size too large");
    }
    *out_bytes = value * unit->factor;
    return 0;
}

int units_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out,
                     const char **out_problem)
{
    const char *rest;
    uint64_t value;
    bool overflow;

    rest = scan_digits(text, &value, &overflow);
    if (rest == NULL || *rest != '\0') {
        return refuse(out_problem, "not a whole number; write digits only, such as \"10\"");
    }
    if (overflow || value > max) {
        return refuse(out_problem, "number too large");
    }
    if (value < min) {
        return refuse(out_problem, "number too small");
    }
    *out = value;
    return 0;
}

/* What stands before the burst: "100/s". Returns what follows it, NULL when it is no such thing. */
static const char *scan_rate(const char *text, uint64_t *out_count, const struct unit **out_unit)
{
    bool overflow; /* which makes a number that is out of range anyway */
    const char *rest = scan_digits(text, out_count, &overflow);
    char name[2] = {0};

    if (rest == NULL || rest[0] != '/') {
        return NULL;
    }
    name[0] = rest[1];
    *out_unit = find_unit(UNITS_OF(rate_units), name);
    return *out_unit != NULL ? rest + 2 : NULL;
}

int units_parse_rate(const char *text, struct units_rate *out, const char **out_problem)
{
    const struct unit *unit;
    const char *rest;
    uint64_t count;
    uint64_t burst = 0;
    bool overflow;

    if (strcmp(text, "none") == 0) {
        *out = (struct units_rate){0};
        return 0;
    }
    rest = scan_rate(text, &count, &unit);
    if (rest != NULL && *rest == ':') {
        rest = scan_digits(rest + 1, &burst, &overflow);
        burst = burst == 0 ? UINT64_MAX : burst;
    }
    if (rest == NULL || *rest != '\0') {
        return refuse(out_problem, "not a rate; write a whole number with /s, /m or /h, such as "
                                   "\"100/s\", with a burst \"100/s:500\", or \"none\"");
    }
    if (count == 0 || count > unit->factor * RATE_MAX_MS) {
        return refuse(out_problem, "rate out of range; at least \"1/h\", at most \"1000000/s\"");
    }
    if (burst > BURST_MAX) {
        return refuse(out_problem, "burst out of range; 1 to 1000000");
    }
    *out = (struct units_rate){
        .count = (uint32_t)count, .per_ms = (uint32_t)unit->factor, .burst = (uint32_t)burst};
    return 0;
}

int units_parse_bool(const char *text, bool *out, const char **out_problem)
{
    /* No and yes by turns, so that the place says which. */
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i % 2 == 1;
            return 0;
        }
    }
    return refuse(out_problem, "neither true nor false; write true or false (yes, no, on, off, 1 "
                               "and 0 will do)");
}

static char *format_value(const struct unit *units, size_t n, uint64_t value,
                          char buf[static UNITS_TEXT_MAX])
{
    size_t i = 0;

    while (i + 1 < n && value % units[i].factor != 0) {
        i++;
    }
    (void)snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
    return buf;
}

char *units_format_time(uint64_t ms, char buf[static UNITS_TEXT_MAX])
{
    if (ms == 0) {
        memcpy(buf, "0s", sizeof("0s"));
        return buf;
    }
    return format_value(UNITS_OF(time_units), ms, buf);
}

char *units_format_size(uint64_t bytes, char buf[static UNITS_TEXT_MAX])
{
    if (bytes == 0) {
        memcpy(buf, "0", sizeof("0"));
        return buf;
    }
    return format_value(UNITS_OF(size_units), bytes, buf);
}

char *units_format_rate(const struct units_rate *rate, char buf[static UNITS_TEXT_MAX])
{
    const struct unit *unit = rate_units;
    int len;

    if (rate->count == 0) {
        memcpy(buf, "none", sizeof("none"));
        return buf;
    }
    while (unit->factor != rate->per_ms) {
        unit++;
    }
    len = snprintf(buf, UNITS_TEXT_MAX, "%" PRIu32 "/%s", rate->count, unit->name);
    if (rate->burst > 0) {
        (void)snprintf(buf + len, UNITS_TEXT_MAX - (size_t)len, ":%" PRIu32, rate->burst);
    }
    return buf;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * Edit distance with swaps of neighbours (optimal string alignment). Three rows suffice: a swap
 * looks two rows back. Both at most WORD_MAX long.
 */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][WORD_MAX + 1];

    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *above2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replace = above[j - 1] + (a[i - 1] != b[j - 1] ? 1 : 0);

            row[j] = min_size(replace, min_size(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = min_size(row[j], above2[j - 2] + 1);
            }
        }
    }
    return rows[a_len % 3][b_len];
}

const char *units_nearest(const char *text, const char *const *known)
{
    size_t len = strlen(text);
    size_t near = len / 3 > 2 ? len / 3 : 2;
    const char *best = NULL;

    if (len > WORD_MAX) {
        return NULL;
    }
    for (; *known != NULL; known++) {
        size_t known_len = strlen(*known);
        size_t distance;

        if (known_len > WORD_MAX) {
            continue;
        }
        distance = edit_distance(text, len, *known, known_len);
        /* Two short words with no letter in common are within two edits, yet not alike. */
        if (distance <= near && distance < min_size(len, known_len)) {
            best = *known;
            if (distance == 0) {
                break;
            }
            near = distance - 1; /* from now on only a nearer one */
        }
    }
    return best;
}
