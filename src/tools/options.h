/*
 * Command lines of the tools: one table declares each option and feeds getopt_long, the help text
 * and the error messages. Every function here that finds a mistake says what is wrong and what
 * would be right on stderr, and ends the process with status 2: they are for main() only.
 */
#ifndef SLUICE_TOOLS_OPTIONS_H
#define SLUICE_TOOLS_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#define OPTIONS_FIRST_KEY 256 /* keys of the table start here, clear of any character */
#define OPTIONS_MAX       32  /* rows in a table */

struct options_row {
    const char *name;     /* without the dashes */
    int key;              /* what options_next() returns, from OPTIONS_FIRST_KEY on */
    const char *argument; /* NULL: takes none */
    const char *help;     /* may have several lines, each started by a newline after the first */
};

_Noreturn void options_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The next option's key with its value in optarg, or -1 when only plain words are left at optind.
 */
int options_next(int argc, char **argv, const struct options_row *rows, size_t count);

void options_print_help(const struct options_row *rows, size_t count);

/* A whole number with an optional k, m, g or t (powers of 1024). option is named in messages. */
uint64_t options_count(const char *option, const char *text, uint64_t min, uint64_t max);

/* "250ms", "5s", "2m", or plain seconds with an optional fraction ("0.5"); at least 1 ms. */
uint64_t options_time_ns(const char *option, const char *text);

#endif
