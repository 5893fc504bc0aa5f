/*
 * Typing: from an option's text to its field, or to what is wrong with the text. Text and list
 * items belong to the section that holds them. Pure. In master.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "field.h"

/* `"x": what is wrong; what would be right`. Returns -EINVAL. */
static int refuse(const struct option_def *option, const char *text, const char *wrong,
                  struct str *out_problem)
{
    char shown[SHOW_MAX];

    str_printf(out_problem, "%s: %s; ", option_show(text, shown), wrong);
    option_describe(option, out_problem);
    return -EINVAL;
}

static bool all_digits(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Whether text is a time but for its number, which is beyond what units_parse_time takes. */
static bool is_long_time(const char *text)
{
    const char *problem;
    char one[8];
    size_t digits = strspn(text, "0123456789");
    uint64_t ms;

    return digits > 0 && snprintf(one, sizeof(one), "1%s", text + digits) < (int)sizeof(one) &&
           units_parse_time(one, &ms, &problem) == 0;
}

static int parse_time(const struct option_def *option, const char *text, uint64_t *out,
                      struct str *out_problem)
{
    const char *problem;
    char shown[SHOW_MAX];
    uint64_t ms;

    if (units_parse_time(text, &ms, &problem) == 0) {
        if (ms < option->min || ms > option->max) {
            return refuse(option, text, "out of range", out_problem);
        }
        *out = ms;
        return 0;
    }
    if (is_long_time(text)) {
        return refuse(option, text, "out of range", out_problem);
    }
    str_printf(out_problem, "%s: %s", option_show(text, shown), problem);
    return -EINVAL;
}

static int parse_uint(const struct option_def *option, const char *text, uint64_t *out,
                      struct str *out_problem)
{
    const char *problem;

    if (option->type == OPTION_AUTO && strcmp(text, "auto") == 0) {
        *out = 0;
        return 0;
    }
    if (units_parse_uint(text, option->min, option->max, out, &problem) != 0) {
        return refuse(option, text, all_digits(text) ? "out of range" : "not a whole number",
                      out_problem);
    }
    return 0;
}

static int parse_size(const struct option_def *option, const char *text, uint64_t *out,
                      struct str *out_problem)
{
    const char *problem;
    uint64_t bytes;

    if (strcmp(text, "auto") == 0) {
        *out = 0;
        return 0;
    }
    if (units_parse_size(text, &bytes, &problem) != 0) {
        return refuse(option, text, "not a size", out_problem);
    }
    if (bytes < option->min || bytes > option->max) {
        return refuse(option, text, "out of range", out_problem);
    }
    *out = bytes;
    return 0;
}

static int parse_mode(const struct option_def *option, const char *text, uint64_t *out,
                      struct str *out_problem)
{
    size_t len = strlen(text);
    unsigned long mode;

    if (len < 3 || len > 4 || strspn(text, "01234567") != len) {
        return refuse(option, text, "not a file mode", out_problem);
    }
    mode = strtoul(text, NULL, 8);
    if (mode > option->max) {
        return refuse(option, text, "out of range", out_problem);
    }
    *out = mode;
    return 0;
}

static int parse_word(const struct option_def *option, const char *text, uint64_t *out,
                      struct str *out_problem)
{
    const char *nearest;
    char shown[SHOW_MAX];

    for (size_t i = 0; option->words[i] != NULL; i++) {
        if (strcmp(text, option->words[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    nearest = units_nearest(text, option->words);
    if (nearest == NULL) {
        return refuse(option, text, "unknown", out_problem);
    }
    str_printf(out_problem, "%s: unknown; did you mean \"%s\"?", option_show(text, shown), nearest);
    return -EINVAL;
}

static int parse_sample(const struct option_def *option, const char *text, uint64_t *out,
                        struct str *out_problem)
{
    const char *problem;
    uint64_t last = 0;
    uint64_t every;

    if (strncmp(text, "1/", 2) != 0) {
        return parse_word(option, text, out, out_problem);
    }
    if (units_parse_uint(text + 2, 1, option->max, &every, &problem) != 0) {
        return refuse(option, text, "not one of a number", out_problem);
    }
    while (option->words[last + 1] != NULL) {
        last++;
    }
    *out = last + every - 1;
    return 0;
}

static int set_text(const struct option_def *option, void *section, const char *text,
                    struct str *out_problem)
{
    bool may_be_empty = option->default_text != NULL && option->default_text[0] == '\0';
    char *copy;

    if (*text == '\0' && !may_be_empty) {
        return refuse(option, text, "empty", out_problem);
    }
    copy = strdup(text);
    if (copy == NULL) {
        return -ENOMEM;
    }
    free(*text_field(option, section));
    *text_field(option, section) = copy;
    return 0;
}

static int set_bool(const struct option_def *option, void *section, const char *text,
                    struct str *out_problem)
{
    const char *problem;
    bool value;

    if (units_parse_bool(text, &value, &problem) != 0) {
        return refuse(option, text, "neither true nor false", out_problem);
    }
    *(bool *)field_at(option, section) = value;
    return 0;
}

static int set_rate(const struct option_def *option, void *section, const char *text,
                    struct str *out_problem)
{
    const char *problem;
    char shown[SHOW_MAX];

    if (units_parse_rate(text, field_at(option, section), &problem) != 0) {
        str_printf(out_problem, "%s: %s", option_show(text, shown), problem);
        return -EINVAL;
    }
    return 0;
}

typedef int parse_fn(const struct option_def *option, const char *text, uint64_t *out,
                     struct str *out_problem);

static int parse_number(const struct option_def *option, const char *text, uint64_t *out,
                        struct str *out_problem)
{
    static parse_fn *const parsers[OPTION_TYPE_COUNT] = {
        [OPTION_TIME] = parse_time,     [OPTION_UINT] = parse_uint, [OPTION_AUTO] = parse_uint,
        [OPTION_SIZE] = parse_size,     [OPTION_MODE] = parse_mode, [OPTION_WORD] = parse_word,
        [OPTION_SAMPLE] = parse_sample,
    };

    assert(parsers[option->type] != NULL);
    return parsers[option->type](option, text, out, out_problem);
}

int option_set(const struct option_def *option, void *section, const char *text,
               struct str *out_problem)
{
    uint64_t number;
    int rc;

    if (option->type == OPTION_TEXT) {
        return set_text(option, section, text, out_problem);
    }
    if (option->type == OPTION_BOOL) {
        return set_bool(option, section, text, out_problem);
    }
    if (option->type == OPTION_RATE) {
        return set_rate(option, section, text, out_problem);
    }
    rc = parse_number(option, text, &number, out_problem);
    if (rc == 0) {
        set_number(option, section, number);
    }
    return rc;
}

int option_judge_item(const struct option_def *option, const char *text, struct str *out_problem)
{
    uint64_t place;

    return option->words != NULL ? parse_word(option, text, &place, out_problem) : 0;
}

int option_set_list(const struct option_def *option, void *section, const char *const *items,
                    size_t n)
{
    char **list = option_list_make(items, n);

    if (list == NULL) {
        return -ENOMEM;
    }
    option_list_free(*list_field(option, section));
    *list_field(option, section) = list;
    return 0;
}

#define DEFAULT_ITEMS_MAX 4

/* The option whose value is this one's default, or NULL. */
static const struct option_def *default_source(const struct option_def *option)
{
    const struct option_def *source = option_table;

    if (option->default_text == NULL || option->default_text[0] != '=') {
        return NULL;
    }
    while (strcmp(source->section, option->section) != 0 ||
           strcmp(source->name, option->default_text + 1) != 0) {
        source++;
    }
    return source;
}

/* The items that the list has by default, cut out of buf. Returns how many. */
static size_t default_items(const struct option_def *option, char buf[static SHOW_MAX],
                            const char *items[static DEFAULT_ITEMS_MAX])
{
    char *rest = buf, *item;
    size_t n = 0;

    (void)strlcpy(buf, option->default_text != NULL ? option->default_text : "", SHOW_MAX);
    while (n < DEFAULT_ITEMS_MAX && strsep(&rest, "\"") != NULL && rest != NULL) {
        item = strsep(&rest, "\"");
        items[n++] = item;
    }
    return n;
}

int option_set_default(const struct option_def *option, void *section)
{
    const struct option_def *source = default_source(option);
    STR_AUTO problem = {0};
    const char *items[DEFAULT_ITEMS_MAX];
    char buf[SHOW_MAX];
    int rc;

    if (source != NULL) {
        set_number(option, section, number_of(source, section));
        return 0;
    }
    if (option->type == OPTION_LIST) {
        return option_set_list(option, section, items, default_items(option, buf, items));
    }
    if (option->default_text == NULL) {
        return 0; /* zeroed is "not given" */
    }
    rc = option_set(option, section, option->default_text, &problem);
    assert(rc != -EINVAL);
    return rc;
}

static bool list_is_default(const struct option_def *option, const void *section)
{
    const char *items[DEFAULT_ITEMS_MAX];
    char buf[SHOW_MAX];
    size_t n = default_items(option, buf, items);
    bool same = option_list_count(option, section) == n;

    for (size_t i = 0; same && i < n; i++) {
        same = strcmp(list_of(option, section)[i], items[i]) == 0;
    }
    return same;
}

bool option_is_default(const struct option_def *option, const void *section)
{
    const struct option_def *source = default_source(option);
    STR_AUTO problem = {0};
    struct units_rate rate = {0};
    const char *words;
    uint64_t number = 0;

    if (option_list_count(option, section) > 0 && option_secret(option, section, 0) != NULL) {
        return false;
    }
    if (source != NULL) {
        return number_of(option, section) == number_of(source, section);
    }
    if (option->default_text == NULL) {
        return !option_given(option, section);
    }
    switch (option->type) {
    case OPTION_LIST:
        return list_is_default(option, section);
    case OPTION_TEXT:
        return strcmp(text_of(option, section), option->default_text) == 0;
    case OPTION_BOOL:
        return bool_of(option, section) == (strcmp(option->default_text, "true") == 0);
    case OPTION_RATE:
        (void)units_parse_rate(option->default_text, &rate, &words);
        return rate_equal(rate_of(option, section), &rate);
    default:
        (void)parse_number(option, option->default_text, &number, &problem);
        return number_of(option, section) == number;
    }
}
