/*
 * What the operator's records make of a file's tree and the model built from it. In master.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "edits.h"

#define OPTIONS_MAX 32 /* of one section, at least */

/* --- which options --- */

static void list_options(enum section_kind kind, bool (*wanted)(const struct option_def *),
                         const char *names[static OPTIONS_MAX + 1])
{
    const struct section_info *info = options_section(kind);
    size_t n = 0;

    for (size_t i = 0; i < info->n_options && n < OPTIONS_MAX; i++) {
        if (wanted(&info->options[i])) {
            names[n++] = info->options[i].name;
        }
    }
}

static bool is_settable(const struct option_def *option)
{
    return option->settable;
}

static bool is_addable(const struct option_def *option)
{
    return option->type != OPTION_LIST && strcmp(option->name, "address") != 0;
}

const char *const *override_settable_of_backend(void)
{
    static const char *names[OPTIONS_MAX + 1];

    list_options(SECTION_BACKEND, is_settable, names);
    return names;
}

static bool is_single(const struct option_def *option)
{
    return option->type != OPTION_LIST && option->reloadable;
}

const char *const *override_settable_of_pool(void)
{
    static const char *names[OPTIONS_MAX + 1];

    list_options(SECTION_POOL, is_single, names);
    return names;
}

const char *const *override_settable_of_service(void)
{
    static const char *names[OPTIONS_MAX + 1];

    list_options(SECTION_SERVICE, is_single, names);
    return names;
}

const char *const *override_settable_of_global(void)
{
    static const char *names[OPTIONS_MAX + 1];

    list_options(SECTION_GLOBAL, is_settable, names);
    return names;
}

const char *const *override_addable(void)
{
    static const char *names[OPTIONS_MAX + 1];

    list_options(SECTION_BACKEND, is_addable, names);
    return names;
}

/* --- on a tree --- */

static bool is_global(const struct override *item)
{
    return item->service == NULL && item->pool == NULL;
}

/* What a record is about; NULL when it is not there. */
static struct conf_section *find_section(struct conf_tree *tree, const struct override *item)
{
    if (is_global(item)) {
        return conf_find_section(&tree->root, "global", NULL);
    }
    struct conf_section *section = item->service != NULL
                                       ? conf_find_section(&tree->root, "service", item->service)
                                       : conf_find_section(&tree->root, "pool", item->pool);

    return section != NULL && item->backend != NULL
               ? conf_find_section(section, "backend", item->backend)
               : section;
}

static int apply_added(struct conf_tree *tree, const struct override *item)
{
    struct conf_section *pool = conf_find_section(&tree->root, "pool", item->pool);
    struct conf_section *backend;
    int rc = 0;

    if (pool == NULL) {
        return 0;
    }
    backend = conf_add_section(pool, "backend", item->backend);
    for (size_t i = 0; backend != NULL && i < item->n_settings && rc == 0; i++) {
        rc = conf_set(backend, item->settings[i].option, item->settings[i].value);
    }
    return backend != NULL && rc != -ENOMEM ? 0 : -ENOMEM;
}

static int apply_one(struct conf_tree *tree, const struct override *item)
{
    struct conf_section *section = find_section(tree, item);

    if (item->kind == OVERRIDE_ADDED) {
        return apply_added(tree, item);
    }
    if (section == NULL && is_global(item)) { /* the file has none */
        section = conf_add_section(&tree->root, "global", NULL);
        if (section == NULL) {
            return -ENOMEM;
        }
    }
    if (section == NULL) {
        return 0;
    }
    if (item->kind == OVERRIDE_REMOVED) {
        conf_remove_section(section);
        return 0;
    }
    return conf_set(section, item->option, item->value) == -ENOMEM ? -ENOMEM : 0;
}

/* Kind by kind: what is set of an added backend comes after it. left_out may be NULL. */
static int apply(const struct overrides *list, const bool *left_out, struct conf_tree *tree)
{
    static const enum override_kind order[] = {OVERRIDE_REMOVED, OVERRIDE_ADDED, OVERRIDE_SET};
    int rc = 0;

    for (size_t k = 0; k < sizeof(order) / sizeof(order[0]); k++) {
        for (size_t i = 0; i < list->count && rc == 0; i++) {
            if (list->items[i].kind == order[k] && (left_out == NULL || !left_out[i])) {
                rc = apply_one(tree, &list->items[i]);
            }
        }
    }
    return rc;
}

struct model *edits_build(const struct overrides *list, const bool *left_out,
                          const struct conf_tree *tree, const struct model_registries *registries,
                          struct errlist *errors)
{
    struct conf_tree *copy = conf_tree_copy(tree);
    struct model *model = NULL;

    if (copy == NULL || apply(list, left_out, copy) != 0) {
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL, "out of memory; nothing was changed");
    } else {
        model = model_build(copy, registries, errors);
    }
    conf_tree_free(copy);
    return model;
}

struct model *overrides_build(const struct overrides *list, const struct conf_tree *tree,
                              const struct model_registries *registries, struct errlist *errors)
{
    return edits_build(list, NULL, tree, registries, errors);
}

/* --- on a model --- */

const void *edits_find_target(const struct model *model, const struct override *key,
                              enum section_kind *out_kind)
{
    const struct model_pool *pool;

    if (is_global(key)) {
        *out_kind = SECTION_GLOBAL;
        return &model->global;
    }
    if (key->service != NULL) {
        *out_kind = SECTION_SERVICE;
        return model_find_service(model, key->service);
    }
    *out_kind = key->backend != NULL ? SECTION_BACKEND : SECTION_POOL;
    pool = model_find_pool(model, key->pool);
    return pool != NULL && key->backend != NULL
               ? (const void *)model_find_backend(pool, key->backend)
               : pool;
}

bool override_get(const struct model *model, const struct override *key, struct str *out)
{
    enum section_kind kind;
    const void *target = edits_find_target(model, key, &kind);
    const struct option_def *option = options_find(kind, key->option);

    if (target == NULL || option == NULL || !option_given(option, target)) {
        return false;
    }
    option_format(option, target, 0, out);
    return true;
}

/* Both typed, so that 010 and 10 are the same. */
static bool means_the_same(const struct option_def *option, const char *a, const char *b)
{
    struct model_backend one = {0};
    struct model_backend other = {0};
    STR_AUTO problem = {0};
    bool same = option_set_default(option, &one) == 0 && option_set_default(option, &other) == 0 &&
                (a == NULL || option_set(option, &one, a, &problem) == 0) &&
                (b == NULL || option_set(option, &other, b, &problem) == 0) &&
                option_equal(option, &one, &other);

    section_fini(SECTION_BACKEND, &one);
    section_fini(SECTION_BACKEND, &other);
    return same;
}

bool override_agrees(const struct conf_tree *tree, const char *pool, const char *backend,
                     const struct override_setting *settings, size_t n)
{
    const struct conf_section *section = conf_find_section(&tree->root, "pool", pool);
    bool same;

    section = section != NULL ? conf_find_section(section, "backend", backend) : NULL;
    same = section != NULL;
    for (size_t i = 0; same && i < n; i++) {
        const struct option_def *option = options_find(SECTION_BACKEND, settings[i].option);
        const struct conf_option *given = conf_find(section, settings[i].option);

        same = option != NULL && means_the_same(option, settings[i].value,
                                                given != NULL ? given->values[0].text : NULL);
    }
    return same;
}
