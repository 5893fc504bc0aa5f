/*
 * Command lines of the tools. Runs before anything else in main(), owns nothing that lasts.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monotonic.h"

#define EXIT_USAGE     2
#define LONGEST_TIME_S (366.0 * 86400.0)
#define HELP_COLUMN    30

void options_refuse(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry '%s --help'.\n", program_invocation_short_name);
    exit(EXIT_USAGE);
}

static const struct options_row *find_row(const struct options_row *rows, size_t count, int key)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].key == key)
            return &rows[i];
    return NULL;
}

_Noreturn static void refuse_unknown(const char *word, const struct options_row *rows, size_t count)
{
    char known[1024] = "";
    size_t used = 0;

    for (size_t i = 0; i < count && used < sizeof(known) - 1; i++) {
        int added =
            snprintf(known + used, sizeof(known) - used, "%s--%s", i ? ", " : "", rows[i].name);
        used += added > 0 ? (size_t)added : 0;
    }
    options_refuse("unknown or ambiguous option %s; the options are %s", word, known);
}

int options_next(int argc, char **argv, const struct options_row *rows, size_t count)
{
    struct option longs[OPTIONS_MAX + 1] = {0};

    for (size_t i = 0; i < count && i < OPTIONS_MAX; i++) {
        longs[i].name = rows[i].name;
        longs[i].has_arg = rows[i].argument ? required_argument : no_argument;
        longs[i].val = rows[i].key;
    }
    opterr = 0;
    int key = getopt_long(argc, argv, ":", longs, NULL);
    if (key == ':') {
        const struct options_row *row = find_row(rows, count, optopt);
        options_refuse("--%s needs a value: --%s %s", row ? row->name : "?", row ? row->name : "?",
                       row ? row->argument : "VALUE");
    }
    if (key == '?') {
        const struct options_row *row = find_row(rows, count, optopt);
        if (row)
            options_refuse("--%s takes no value; write just --%s", row->name, row->name);
        refuse_unknown(argv[optind - 1], rows, count);
    }
    return key;
}

void options_print_help(const struct options_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int used = printf("  --%s%s%s", rows[i].name, rows[i].argument ? " " : "",
                          rows[i].argument ? rows[i].argument : "");
        printf("%*s", used < HELP_COLUMN ? HELP_COLUMN - used : 1, "");
        for (const char *at = rows[i].help; *at != '\0'; at++) {
            putchar(*at);
            if (*at == '\n')
                printf("%*s", HELP_COLUMN, "");
        }
        putchar('\n');
    }
}

static unsigned shift_of_suffix(const char *suffix)
{
    static const char letters[] = "kmgt";

    if (suffix[0] == '\0')
        return 0;
    const char *found = strchr(letters, suffix[0] | 0x20);
    if (!found || *found == '\0' || suffix[1] != '\0')
        return 64;
    return 10U * (unsigned)(found - letters + 1);
}

uint64_t options_count(const char *option, const char *text, uint64_t min, uint64_t max)
{
    size_t digits = strspn(text, "0123456789");
    unsigned shift = shift_of_suffix(text + digits);
    uint64_t value = 0;

    if (digits == 0 || digits > 19 || shift == 64)
        options_refuse(
            "%s: \"%s\" is not a whole number; write digits, with k, m, g or t if wanted", option,
            text);
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    if (value > UINT64_MAX >> shift || value << shift < min || value << shift > max)
        options_refuse("%s: %s is out of range; write %" PRIu64 " to %" PRIu64, option, text, min,
                       max);
    return value << shift;
}

static double seconds_per_unit(const char *unit)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"", 1.0}, {"s", 1.0}, {"ms", 1e-3}, {"m", 60.0}, {"h", 3600.0}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(unit, units[i].name) == 0)
            return units[i].seconds;
    return 0.0;
}

uint64_t options_time_ns(const char *option, const char *text)
{
    char *unit = NULL;
    double value = text[0] >= '0' && text[0] <= '9' ? strtod(text, &unit) : 0.0;
    double factor = unit ? seconds_per_unit(unit) : 0.0;

    if (factor == 0.0)
        options_refuse("%s: \"%s\" is not a time; write seconds, or 250ms, 5s, 2m, 1h", option,
                       text);
    if (!(value * factor >= 1e-3) || value * factor > LONGEST_TIME_S)
        options_refuse("%s: %s is out of range; write 1ms to 8784h", option, text);
    return (uint64_t)(value * factor * 1e9);
}
