/*
 * Times, sizes, rates, numbers, booleans and the nearest word: no input may crash, what is accepted
 * must survive being printed and parsed again, what is refused must leave the output alone.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

#define UNTOUCHED UINT64_C(0x5A5A5A5A5A5A5A5A)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

typedef int parse_fn(const char *text, uint64_t *out, const char **out_problem);
typedef char *format_fn(uint64_t value, char buf[static UNITS_TEXT_MAX]);

static void check_round_trip(const char *text, parse_fn *parse, format_fn *format)
{
    uint64_t value = UNTOUCHED;
    uint64_t back = UNTOUCHED;
    const char *problem = NULL;
    char buf[UNITS_TEXT_MAX];

    if (parse(text, &value, &problem) != 0) {
        expect(problem != NULL && value == UNTOUCHED);
        return;
    }
    expect(parse(format(value, buf), &back, &problem) == 0);
    expect(back == value);
}

static void check_rate(const char *text)
{
    const struct units_rate untouched = {.count = 7, .per_ms = 8, .burst = 9};
    struct units_rate rate = untouched;
    struct units_rate back;
    const char *problem = NULL;
    char buf[UNITS_TEXT_MAX];

    if (units_parse_rate(text, &rate, &problem) != 0) {
        expect(problem != NULL && memcmp(&rate, &untouched, sizeof(rate)) == 0);
        return;
    }
    expect(rate.burst <= 1000000 && rate.count <= UINT64_C(1000) * rate.per_ms);
    expect(units_parse_rate(units_format_rate(&rate, buf), &back, &problem) == 0);
    expect(memcmp(&rate, &back, sizeof(rate)) == 0);
}

static void check_uint(const char *text)
{
    uint64_t value = UNTOUCHED;
    const char *problem = NULL;

    if (units_parse_uint(text, 10, 1000, &value, &problem) == 0) {
        expect(value >= 10 && value <= 1000);
    } else {
        expect(problem != NULL && value == UNTOUCHED);
    }
}

static void check_bool(const char *text)
{
    bool value;
    const char *problem = NULL;

    expect((units_parse_bool(text, &value, &problem) == 0) == (problem == NULL));
}

/* A text is always its own nearest word, if any is. */
static void check_nearest(const char *text)
{
    const char *const known[] = {"listen", "pool", "idle_timeout", text, NULL};
    const char *nearest = units_nearest(text, known);

    expect(nearest == NULL || strcmp(nearest, text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* of just this size, for the sanitizer to see an overrun */

    expect(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    check_round_trip(text, units_parse_time, units_format_time);
    check_round_trip(text, units_parse_size, units_format_size);
    check_rate(text);
    check_uint(text);
    check_bool(text);
    check_nearest(text);
    free(text);
    return 0;
}
