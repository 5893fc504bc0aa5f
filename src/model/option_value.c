/*
 * An option's value as it is kept: lists, secrets, comparing, copying, and the same for a whole
 * section. Text, list items and secrets belong to the section that holds them. In master.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"

/* --- lists --- */

void option_list_free(char **items)
{
    if (items == NULL) {
        return;
    }
    for (char **item = items; *item != NULL; item++) {
        free(*item);
    }
    free(items);
}

char **option_list_make(const char *const *items, size_t n)
{
    char **list = calloc(n + 1, sizeof(*list));

    for (size_t i = 0; list != NULL && i < n; i++) {
        list[i] = strdup(items[i]);
        if (list[i] == NULL) {
            option_list_free(list);
            list = NULL;
        }
    }
    return list;
}

static size_t list_count(char *const *items)
{
    size_t n = 0;

    while (items != NULL && items[n] != NULL) {
        n++;
    }
    return n;
}

char *const *option_items(const struct option_def *option, const void *section)
{
    return list_of(option, section);
}

size_t option_list_count(const struct option_def *option, const void *section)
{
    return option->type == OPTION_LIST ? list_count(list_of(option, section)) : 1;
}

/* --- secrets --- */

static size_t secrets_offset(const struct option_def *option)
{
    size_t kind = 0;

    while (strcmp(options_section((enum section_kind)kind)->name, option->section) != 0) {
        kind++;
    }
    return options_section((enum section_kind)kind)->secrets_offset;
}

static struct model_secret *find_secret(const struct model_secrets *secrets,
                                        const struct option_def *option, size_t item)
{
    for (size_t i = 0; i < secrets->count; i++) {
        if (secrets->items[i].option == option && secrets->items[i].item == item) {
            return &secrets->items[i];
        }
    }
    return NULL;
}

const char *option_secret(const struct option_def *option, const void *section, size_t item)
{
    const char *base = section;
    const void *secrets = base + secrets_offset(option);
    const struct model_secret *secret = find_secret(secrets, option, item);

    return secret != NULL ? secret->raw : NULL;
}

int option_set_secret(const struct option_def *option, void *section, size_t item, const char *raw)
{
    char *base = section;
    struct model_secrets *secrets = (void *)(base + secrets_offset(option));
    struct model_secret *known = find_secret(secrets, option, item);
    struct model_secret *items;
    char *copy;

    if (raw == NULL) {
        if (known != NULL) {
            free(known->raw);
            *known = secrets->items[--secrets->count];
        }
        return 0;
    }
    copy = strdup(raw);
    if (copy == NULL) {
        return -ENOMEM;
    }
    if (known != NULL) {
        free(known->raw);
        known->raw = copy;
        return 0;
    }
    items = reallocarray(secrets->items, secrets->count + 1, sizeof(*items));
    if (items == NULL) {
        free(copy);
        return -ENOMEM;
    }
    items[secrets->count] = (struct model_secret){.option = option, .item = item, .raw = copy};
    secrets->items = items;
    secrets->count++;
    return 0;
}

/* --- comparing and copying --- */

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool option_equal(const struct option_def *option, const void *a, const void *b)
{
    char *const *list_a;
    char *const *list_b;
    size_t n;

    if (option->type == OPTION_TEXT) {
        return text_equal(text_of(option, a), text_of(option, b));
    }
    if (option->type == OPTION_BOOL) {
        return bool_of(option, a) == bool_of(option, b);
    }
    if (option->type == OPTION_RATE) {
        return rate_equal(rate_of(option, a), rate_of(option, b));
    }
    if (option->type != OPTION_LIST) {
        return number_of(option, a) == number_of(option, b);
    }
    list_a = list_of(option, a);
    list_b = list_of(option, b);
    n = list_count(list_a);
    if (n != list_count(list_b)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list_a[i], list_b[i]) != 0) {
            return false;
        }
    }
    return true;
}

static void forget_secrets(const struct option_def *option, void *section)
{
    for (size_t i = option_list_count(option, section); i > 0; i--) {
        (void)option_set_secret(option, section, i - 1, NULL);
    }
}

static int copy_secrets(const struct option_def *option, void *to, const void *from)
{
    size_t n = option_list_count(option, to);

    for (size_t i = 0; i < n; i++) {
        if (option_set_secret(option, to, i, option_secret(option, from, i)) != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

int option_copy(const struct option_def *option, void *to, const void *from)
{
    if (option->type == OPTION_LIST) {
        char *const *items = list_of(option, from);
        char **list = NULL;

        if (items != NULL) {
            list = option_list_make((const char *const *)items, list_count(items));
        }
        if (items != NULL && list == NULL) {
            return -ENOMEM;
        }
        forget_secrets(option, to);
        option_list_free(*list_field(option, to));
        *list_field(option, to) = list;
    } else if (option->type == OPTION_TEXT) {
        const char *text = text_of(option, from);
        char *copy = text != NULL ? strdup(text) : NULL;

        if (text != NULL && copy == NULL) {
            return -ENOMEM;
        }
        free(*text_field(option, to));
        *text_field(option, to) = copy;
    } else if (option->type == OPTION_BOOL) {
        *(bool *)field_at(option, to) = bool_of(option, from);
    } else if (option->type == OPTION_RATE) {
        *(struct units_rate *)field_at(option, to) = *rate_of(option, from);
    } else {
        set_number(option, to, number_of(option, from));
    }
    return copy_secrets(option, to, from);
}

void section_fini(enum section_kind kind, void *section)
{
    const struct section_info *info = options_section(kind);
    struct model_secrets *secrets = (void *)((char *)section + info->secrets_offset);

    for (size_t i = 0; i < info->n_options; i++) {
        const struct option_def *option = &info->options[i];

        if (option->type == OPTION_TEXT) {
            free(*text_field(option, section));
            *text_field(option, section) = NULL;
        } else if (option->type == OPTION_LIST) {
            option_list_free(*list_field(option, section));
            *list_field(option, section) = NULL;
        }
    }
    for (size_t i = 0; i < secrets->count; i++) {
        free(secrets->items[i].raw);
    }
    free(secrets->items);
    *secrets = (struct model_secrets){0};
}
