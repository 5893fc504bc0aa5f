/*
 * From an option's field back to text: for messages, for the file, and what an option takes. Pure.
 * In master.
 */
#include <string.h>

#include "base/units.h"
#include "field.h"

char *option_show(const char *text, char buf[static SHOW_MAX])
{
    size_t len = strlen(text);
    size_t room = SHOW_MAX - sizeof("\"…\"");
    size_t shown = len < room ? len : room;
    char *end = buf;

    *end++ = '"';
    /* Never half a character of UTF-8 before the ellipsis. */
    while (shown < len && shown > 0 && ((unsigned char)text[shown] & 0xC0) == 0x80) {
        shown--;
    }
    for (size_t i = 0; i < shown; i++) {
        *end++ = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    }
    (void)strcpy(end, shown < len ? "…\"" : "\"");
    return buf;
}

static void describe_words(const char *const *words, struct str *out)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        const char *before = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";

        str_printf(out, "%s\"%s\"", before, words[i]);
    }
}

void option_describe(const struct option_def *option, struct str *out)
{
    unsigned long long min = option->min;
    unsigned long long max = option->max;
    char low[UNITS_TEXT_MAX];
    char high[UNITS_TEXT_MAX];

    if (option->type == OPTION_SAMPLE) {
        str_append(out, "write ");
        describe_words(option->words, out);
        str_printf(out, ", or \"1/N\" with a whole number from 1 to %llu", max);
        return;
    }
    if (option->words != NULL) {
        str_append(out, "write ");
        describe_words(option->words, out);
        return;
    }
    switch (option->type) {
    case OPTION_TIME:
        str_printf(out, "write a time from %s to %s", units_format_time(min, low),
                   units_format_time(max, high));
        break;
    case OPTION_UINT:
        str_printf(out, "write a whole number from %llu to %llu", min, max);
        break;
    case OPTION_AUTO:
        str_printf(out, "write \"auto\" or a whole number from %llu to %llu", min, max);
        break;
    case OPTION_SIZE:
        str_printf(out, "write \"auto\" or a size from %s to %s", units_format_size(min, low),
                   units_format_size(max, high));
        break;
    case OPTION_MODE:
        str_printf(out, "write an octal file mode up to \"%04llo\", such as \"%s\"", max,
                   option->default_text);
        break;
    case OPTION_BOOL:
        str_append(out, "write true or false");
        break;
    case OPTION_RATE:
        str_append(out, "write a rate such as \"100/s\", with a burst \"100/s:500\", or \"none\"");
        break;
    case OPTION_WORD:
    case OPTION_SAMPLE:
    case OPTION_TEXT:
    case OPTION_LIST:
    case OPTION_TYPE_COUNT:
        str_append(out, "write a value, or leave the option out");
        break;
    }
}

bool option_given(const struct option_def *option, const void *section)
{
    if (option->type == OPTION_TEXT) {
        return text_of(option, section) != NULL;
    }
    if (option->type == OPTION_LIST || option->type == OPTION_BOOL || option->type == OPTION_RATE) {
        return true;
    }
    return option->default_text != NULL || number_of(option, section) != 0;
}

/* An expanded text as it has to be written: a "${" in it means itself. */
static void append_raw(const char *text, struct str *out)
{
    while (*text != '\0') {
        size_t dollars = strspn(text, "$");
        size_t rest = strcspn(text + dollars, "$");

        if (text[dollars] == '{') {
            str_append_n(out, text, dollars);
        }
        str_append_n(out, text, dollars + rest);
        text += dollars + rest;
    }
}

static void format_sample(const char *const *words, uint64_t number, struct str *out)
{
    uint64_t last = 0;

    while (last < number && words[last + 1] != NULL) {
        last++;
    }
    if (number == last) {
        str_append(out, words[last]);
    } else {
        str_printf(out, "1/%llu", (unsigned long long)(number - last + 1));
    }
}

static void format_number(const struct option_def *option, uint64_t number, struct str *out)
{
    char text[UNITS_TEXT_MAX];

    if (option->type == OPTION_TIME) {
        str_append(out, units_format_time(number, text));
    } else if (option->type == OPTION_SAMPLE) {
        format_sample(option->words, number, out);
    } else if (option->type == OPTION_WORD) {
        str_append(out, option->words[number]);
    } else if (option->type == OPTION_MODE) {
        str_printf(out, "%04llo", (unsigned long long)number);
    } else if ((option->type == OPTION_AUTO || option->type == OPTION_SIZE) && number == 0) {
        str_append(out, "auto");
    } else if (option->type == OPTION_SIZE) {
        str_append(out, units_format_size(number, text));
    } else {
        str_printf(out, "%llu", (unsigned long long)number);
    }
}

void option_format(const struct option_def *option, const void *section, size_t item,
                   struct str *out)
{
    char rate[UNITS_TEXT_MAX];
    const char *secret = option_secret(option, section, item);

    if (secret != NULL) {
        str_append(out, secret);
    } else if (option->type == OPTION_TEXT) {
        str_append(out, text_of(option, section));
    } else if (option->type == OPTION_LIST) {
        str_append(out, list_of(option, section)[item]);
    } else if (option->type == OPTION_BOOL) {
        str_append(out, bool_of(option, section) ? "true" : "false");
    } else if (option->type == OPTION_RATE) {
        str_append(out, units_format_rate(rate_of(option, section), rate));
    } else {
        format_number(option, number_of(option, section), out);
    }
}

/* Whether the file's custom is to leave out the quotes. */
static bool is_bare(const struct option_def *option, const char *text)
{
    return (option->type == OPTION_UINT || option->type == OPTION_AUTO ||
            option->type == OPTION_BOOL) &&
           text[0] != '$' && strcmp(text, "auto") != 0;
}

static void print_item(const struct option_def *option, const void *section, size_t item,
                       struct str *out)
{
    STR_AUTO value = {0};
    STR_AUTO raw = {0};

    option_format(option, section, item, &value);
    if (option_secret(option, section, item) != NULL) {
        str_append(&raw, str_text(&value));
    } else {
        append_raw(str_text(&value), &raw);
    }
    if (is_bare(option, str_text(&value))) {
        str_append(out, str_text(&raw));
    } else {
        conf_quote(out, str_text(&raw));
    }
    out->failed = out->failed || value.failed || raw.failed;
}

void option_print(const struct option_def *option, const void *section, struct str *out)
{
    size_t n = option_list_count(option, section);

    if (option->type != OPTION_LIST) {
        print_item(option, section, 0, out);
        return;
    }
    str_append(out, "{");
    for (size_t i = 0; i < n; i++) {
        str_append(out, i == 0 ? " " : ", ");
        print_item(option, section, i, out);
    }
    str_append(out, " }");
}
