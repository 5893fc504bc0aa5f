/*
 * What differs between two models, a line each, and taking over what a reload cannot change. Things
 * are matched by name; their options are compared through the option table. In master.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lookup.h"
#include "options.h"

void change_add(struct change_list *list, const char *format, ...)
{
    STR_AUTO line = {0};
    va_list args;

    va_start(args, format);
    str_vprintf(&line, format, args);
    va_end(args);
    if (list->count == list->cap) {
        size_t cap = list->cap > 0 ? list->cap * 2 : 16;
        char **lines = reallocarray(list->lines, cap, sizeof(*lines));

        if (lines == NULL) {
            return;
        }
        list->lines = lines;
        list->cap = cap;
    }
    list->lines[list->count] = str_take(&line);
    if (list->lines[list->count] != NULL) {
        list->count++;
    }
}

void change_list_free(struct change_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->lines[i]);
    }
    free(list->lines);
    *list = (struct change_list){0};
}

/* --- options --- */

static void add_option_change(struct change_list *out, const struct option_def *option,
                              const char *where, const char *what)
{
    change_add(out, "%s: %s %s%s", where, option->name, what,
               option->reloadable ? "" : ": needs a restart");
    out->needs_restart = out->needs_restart || !option->reloadable;
}

/* As in the file, but without quotes where they do not matter. */
static void show_value(const struct option_def *option, const void *section, size_t item,
                       struct str *out)
{
    STR_AUTO value = {0};

    if (option->type != OPTION_LIST && !option_given(option, section)) {
        str_append(out, "unset");
        return;
    }
    option_format(option, section, item, &value);
    if (value.len == 0) {
        str_append(out, "\"\"");
    }
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.data[i] <= ' ' || value.data[i] == 0x7F) {
            conf_quote(out, value.data);
            return;
        }
    }
    str_append(out, str_text(&value));
}

static void diff_single(const struct option_def *option, const void *was, const void *now,
                        const char *where, struct change_list *out)
{
    STR_AUTO what = {0};
    STR_AUTO new_text = {0};

    show_value(option, was, 0, &what);
    show_value(option, now, 0, &new_text);
    if (strcmp(str_text(&what), str_text(&new_text)) == 0) {
        str_append(&what, " has another content");
    } else {
        str_printf(&what, " -> %s", str_text(&new_text));
    }
    add_option_change(out, option, where, str_text(&what));
}

static void list_lookup(char *const *items, size_t n, struct lookup *out)
{
    if (lookup_init(out, n) == 0) {
        for (size_t i = 0; i < n; i++) {
            (void)lookup_add(out, items[i], strlen(items[i]), (uint32_t)i);
        }
    }
}

/* A line for every item of section's list that other does not have. */
static void diff_items(const struct option_def *option, const void *section,
                       const struct lookup *other, const char *verb, const char *where,
                       struct change_list *out)
{
    char *const *items = option_items(option, section);

    for (size_t i = 0; items[i] != NULL; i++) {
        STR_AUTO what = {0};

        if (lookup_find(other, items[i], strlen(items[i])) == LOOKUP_NONE) {
            show_value(option, section, i, &what);
            str_printf(&what, " %s", verb);
            add_option_change(out, option, where, str_text(&what));
        }
    }
}

static void diff_list(const struct option_def *option, const void *was, const void *now,
                      const char *where, struct change_list *out)
{
    LOOKUP_AUTO in_old = {0};
    LOOKUP_AUTO in_new = {0};
    size_t before = out->count;

    list_lookup(option_items(option, was), option_list_count(option, was), &in_old);
    list_lookup(option_items(option, now), option_list_count(option, now), &in_new);
    diff_items(option, now, &in_old, "added", where, out);
    diff_items(option, was, &in_new, "removed", where, out);
    if (out->count == before) {
        add_option_change(out, option, where, "in another order");
    }
}

/* Whether both have an "=OPTION" default, so that the line for that option says it all. */
static bool follows_another(const struct option_def *option, const void *was, const void *now)
{
    return option->default_text != NULL && option->default_text[0] == '=' &&
           option_is_default(option, was) && option_is_default(option, now);
}

static void diff_options(enum section_kind kind, const void *was, const void *now,
                         const char *where, struct change_list *out)
{
    const struct section_info *info = options_section(kind);

    for (size_t i = 0; i < info->n_options; i++) {
        const struct option_def *option = &info->options[i];

        if (option_equal(option, was, now) || follows_another(option, was, now)) {
            continue;
        }
        if (option->type == OPTION_LIST) {
            diff_list(option, was, now, where, out);
        } else {
            diff_single(option, was, now, where, out);
        }
    }
}

/* --- sections of one kind, matched by name --- */

/* An array of structs that hold their name at name_offset. */
struct named {
    const void *items;
    size_t n, bytes, name_offset;
};

static const void *named_item(const struct named *list, size_t i)
{
    return (const char *)list->items + i * list->bytes;
}

static const char *named_name(const struct named *list, size_t i)
{
    return *(char *const *)(const void *)((const char *)named_item(list, i) + list->name_offset);
}

typedef void diff_fn(const void *was, const void *now, const char *where, struct change_list *out);

static void diff_removed(const struct named *was, const struct lookup *in_new, const char *prefix,
                         const char *word, struct change_list *out)
{
    for (size_t i = 0; i < was->n; i++) {
        const char *name = named_name(was, i);

        if (lookup_find(in_new, name, strlen(name)) == LOOKUP_NONE) {
            change_add(out, "%s%s %s removed", prefix, word, name);
        }
    }
}

/*
 * Lines for what was added, changed (by compare) and removed. prefix is "" or "pool web: ".
 * order_word: what to call a changed order of those that stayed, NULL where order means nothing.
 */
static void diff_named(const struct named *was, const struct named *now, const char *prefix,
                       const char *word, const char *order_word, diff_fn *compare,
                       struct change_list *out)
{
    LOOKUP_AUTO in_old = {0};
    LOOKUP_AUTO in_new = {0};
    uint32_t last = 0;
    bool reordered = false;

    if (lookup_init(&in_old, was->n) != 0 || lookup_init(&in_new, now->n) != 0) {
        change_add(out, "%s%s: not compared, out of memory", prefix, word);
        return;
    }
    for (uint32_t i = 0; i < was->n; i++) {
        (void)lookup_add(&in_old, named_name(was, i), strlen(named_name(was, i)), i);
    }
    for (uint32_t i = 0; i < now->n; i++) {
        const char *name = named_name(now, i);
        uint32_t before = lookup_find(&in_old, name, strlen(name));
        STR_AUTO where = {0};

        (void)lookup_add(&in_new, name, strlen(name), i);
        if (before == LOOKUP_NONE) {
            change_add(out, "%s%s %s added", prefix, word, name);
            continue;
        }
        str_printf(&where, "%s%s %s", prefix, word, name);
        compare(named_item(was, before), named_item(now, i), str_text(&where), out);
        reordered = reordered || before < last;
        last = before;
    }
    diff_removed(was, &in_new, prefix, word, out);
    if (reordered && order_word != NULL) {
        change_add(out, "%sorder of %s changed", prefix, order_word);
    }
}

static void diff_check(const void *was, const void *now, const char *where, struct change_list *out)
{
    diff_options(SECTION_CHECK, was, now, where, out);
}

static void diff_checks(const struct model_check *was, size_t n_old, const struct model_check *now,
                        size_t n_new, const char *prefix, struct change_list *out)
{
    size_t bytes = sizeof(struct model_check);
    size_t name = offsetof(struct model_check, title);

    diff_named(&(struct named){was, n_old, bytes, name}, &(struct named){now, n_new, bytes, name},
               prefix, "check", NULL, diff_check, out);
}

static void diff_backend(const void *was, const void *now, const char *where,
                         struct change_list *out)
{
    const struct model_backend *a = was;
    const struct model_backend *b = now;
    STR_AUTO prefix = {0};

    str_printf(&prefix, "%s: ", where);
    diff_options(SECTION_BACKEND, a, b, where, out);
    diff_checks(a->own_checks, a->n_own_checks, b->own_checks, b->n_own_checks, str_text(&prefix),
                out);
}

/* A section that may be there once; NULL: it is not there. */
static void diff_section(enum section_kind kind, const void *was, const void *now,
                         const char *prefix, struct change_list *out)
{
    const char *name = options_section(kind)->name;
    STR_AUTO where = {0};

    if (was == NULL || now == NULL) {
        if (was != now) {
            change_add(out, "%s%s %s", prefix, name, now != NULL ? "added" : "removed");
        }
        return;
    }
    str_printf(&where, "%s%s", prefix, name);
    diff_options(kind, was, now, str_text(&where), out);
}

static void diff_pool(const void *was, const void *now, const char *where, struct change_list *out)
{
    const struct model_pool *a = was;
    const struct model_pool *b = now;
    size_t bytes = sizeof(struct model_backend);
    size_t name = offsetof(struct model_backend, name);
    STR_AUTO prefix = {0};

    str_printf(&prefix, "%s: ", where);
    diff_options(SECTION_POOL, a, b, where, out);
    diff_section(SECTION_OUTLIER, a->outlier.given ? &a->outlier : NULL,
                 b->outlier.given ? &b->outlier : NULL, str_text(&prefix), out);
    diff_section(SECTION_REUSE, a->reuse.given ? &a->reuse : NULL,
                 b->reuse.given ? &b->reuse : NULL, str_text(&prefix), out);
    diff_checks(a->checks, a->n_checks, b->checks, b->n_checks, str_text(&prefix), out);
    diff_named(&(struct named){a->backends, a->n_backends, bytes, name},
               &(struct named){b->backends, b->n_backends, bytes, name}, str_text(&prefix),
               "backend", "backends", diff_backend, out);
}

static void diff_service(const void *was, const void *now, const char *where,
                         struct change_list *out)
{
    diff_options(SECTION_SERVICE, was, now, where, out);
}

void model_diff(const struct model *old_model, const struct model *new_model,
                struct change_list *out)
{
    const struct model *a = old_model;
    const struct model *b = new_model;
    size_t service_name = offsetof(struct model_service, name);
    size_t pool_name = offsetof(struct model_pool, name);

    diff_options(SECTION_GLOBAL, &a->global, &b->global, "global", out);
    diff_named(
        &(struct named){a->services, a->n_services, sizeof(struct model_service), service_name},
        &(struct named){b->services, b->n_services, sizeof(struct model_service), service_name}, "",
        "service", NULL, diff_service, out);
    diff_named(&(struct named){a->pools, a->n_pools, sizeof(struct model_pool), pool_name},
               &(struct named){b->pools, b->n_pools, sizeof(struct model_pool), pool_name}, "",
               "pool", NULL, diff_pool, out);
}

/* Only global has such options; a test over the table keeps it so. */
int model_keep_fixed(const struct model *running, struct model *new_model)
{
    const struct section_info *info = options_section(SECTION_GLOBAL);

    for (size_t i = 0; i < info->n_options; i++) {
        if (!info->options[i].reloadable &&
            option_copy(&info->options[i], &new_model->global, &running->global) != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}
