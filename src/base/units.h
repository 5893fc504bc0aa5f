/*
 * The units of the configuration and of commands, parsed and printed: times "250ms", sizes "64k",
 * rates "100/s", whole numbers, and the nearest known word for a mistyped one. Pure.
 *
 * Every parser returns 0 and fills *out, or -EINVAL with *out_problem set to a constant text that
 * says what would be right; *out is untouched then. Numbers are decimal only: "010" is ten,
 * signs, spaces, hex and fractions are refused.
 */
#ifndef SLUICE_BASE_UNITS_H
#define SLUICE_BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "250ms", "5s", "10m", "1h", "2d"; a unit is required, except that "0" is allowed. Milliseconds,
 * at most 10 years. */
int units_parse_time(const char *text, uint64_t *out_ms, const char **out_problem);
/* "512", "64k", "1m", "2g" (powers of 1024, either case). Bytes. */
int units_parse_size(const char *text, uint64_t *out_bytes, const char **out_problem);
int units_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out,
                     const char **out_problem);
/* A rate as it was said, so that it prints back the same. */
struct units_rate {
    uint32_t count;  /* so many … 0: "none", no limit */
    uint32_t per_ms; /* … in a second, a minute or an hour */
    uint32_t burst;  /* so many may come at once; 0: not said */
};

/* "100/s", "6000/m", "1/h", with a burst "100/s:500"; "none". At least 1/h and at most 1000000/s,
 * in whichever unit; burst 1 to 1000000. */
int units_parse_rate(const char *text, struct units_rate *out, const char **out_problem);
/* true, yes, on, 1; false, no, off, 0 */
int units_parse_bool(const char *text, bool *out, const char **out_problem);

#define UNITS_TEXT_MAX 32
/* The shortest exact form that parses back: 90000 -> "90s", 60000 -> "1m", 0 -> "0s". */
char *units_format_time(uint64_t ms, char buf[static UNITS_TEXT_MAX]);
char *units_format_size(uint64_t bytes, char buf[static UNITS_TEXT_MAX]);
/* As it was parsed, but for leading zeros. */
char *units_format_rate(const struct units_rate *rate, char buf[static UNITS_TEXT_MAX]);

/*
 * The known word nearest to text by edit distance (insert, delete, replace, swap), or NULL when
 * none is near enough to be meant (more than a third of its length, at least 2). known ends with
 * NULL.
 */
const char *units_nearest(const char *text, const char *const *known);

#endif
