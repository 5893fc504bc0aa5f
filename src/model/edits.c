/*
 * What the operator's records make of a file's tree and the model built from it. In master.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends_file.h"
#include "conf/tree.h"
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
    return option->type != OPTION_LIST && option->reloadable && !option->file_only;
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

const char *override_name_problem(const char *name)
{
    return conf_name_problem(name);
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

static int apply_kind(const struct overrides *list, const bool *left_out, enum override_kind kind,
                      struct conf_tree *tree)
{
    int rc = 0;

    for (size_t i = 0; i < list->count && rc == 0; i++) {
        if (list->items[i].kind == kind && (left_out == NULL || !left_out[i])) {
            rc = apply_one(tree, &list->items[i]);
        }
    }
    return rc;
}

/* Kind by kind: what is set of an added backend comes after it. left_out may be NULL. */
static int apply(const struct overrides *list, const bool *left_out, struct conf_tree *tree)
{
    static const enum override_kind order[] = {OVERRIDE_REMOVED, OVERRIDE_ADDED, OVERRIDE_SET};
    int rc = 0;

    for (size_t k = 0; k < sizeof(order) / sizeof(order[0]) && rc == 0; k++) {
        rc = apply_kind(list, left_out, order[k], tree);
    }
    return rc;
}

/* What is about addresses of templates, which are in the tree by now. */
static int apply_to_addresses(const struct overrides *list, const bool *left_out,
                              struct conf_tree *tree)
{
    int rc = 0;

    for (size_t i = 0; i < list->count && rc == 0; i++) {
        const struct override *item = &list->items[i];
        const struct conf_section *section = NULL;

        if (item->kind != OVERRIDE_ADDED && item->backend != NULL &&
            names_template_length(item->backend) > 0 && (left_out == NULL || !left_out[i])) {
            section = find_section(tree, item);
        }
        if (section != NULL && section->origin != NULL) {
            rc = apply_one(tree, item);
        }
    }
    return rc;
}

/* The tree as changed, and expanded if there are names; NULL with errors, also without memory. What
 * origins point to is *out_changed. */
static struct conf_tree *make_tree(const struct overrides *list, const bool *left_out,
                                   const struct conf_tree *tree, const struct names *names,
                                   struct conf_tree **out_changed, struct errlist *errors)
{
    struct conf_tree *changed = conf_tree_copy(tree);
    struct conf_tree *expanded = NULL;
    size_t before = errors->errors;

    *out_changed = changed;
    if (changed != NULL && apply(list, left_out, changed) == 0) {
        expanded = names != NULL ? names_expand(changed, names, errors) : conf_tree_copy(changed);
    }
    if (expanded == NULL || apply_to_addresses(list, left_out, expanded) != 0) {
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL, "out of memory; nothing was changed");
    }
    if (errors->errors > before) {
        conf_tree_free(expanded);
        return NULL;
    }
    return expanded;
}

struct model *edits_build(const struct overrides *list, const bool *left_out,
                          const struct conf_tree *tree, const struct names *names,
                          const struct model_registries *registries, struct errlist *errors)
{
    struct conf_tree *changed;
    struct conf_tree *made = make_tree(list, left_out, tree, names, &changed, errors);
    struct model *model = made != NULL ? model_build(made, registries, errors) : NULL;

    conf_tree_free(made);
    conf_tree_free(changed);
    return model;
}

struct model *overrides_build(const struct overrides *list, const struct conf_tree *tree,
                              const struct names *names, const struct model_registries *registries,
                              struct errlist *errors)
{
    return edits_build(list, NULL, tree, names, registries, errors);
}

struct model *overrides_build_file(const struct overrides *list, const struct conf_tree *tree,
                                   const struct model *running,
                                   const struct model_registries *registries)
{
    struct errlist told = {0}; /* when it came into force */
    struct model *model = overrides_build(list, tree, NULL, registries, &told);

    errlist_free(&told);
    if (model != NULL && model_keep_fixed(running, model) != 0) {
        model_free(model);
        model = NULL;
    }
    return model;
}

const char *override_unsaid(const struct overrides *list, const struct conf_tree *tree,
                            const struct override *item)
{
    struct override added = {.kind = OVERRIDE_ADDED, .pool = item->pool, .backend = item->backend};
    const struct conf_section *pool;
    const struct conf_section *backend;

    if (item->backend == NULL || overrides_find(list, &added) != NULL) {
        return NULL;
    }
    pool = conf_find_section(&tree->root, "pool", item->pool);
    backend = pool != NULL ? conf_find_section(pool, "backend", item->backend) : NULL;
    if (backend != NULL) {
        return backends_file_has(backend) ? "it is about a backend of a backends_file" : NULL;
    }
    return "it is about one address of a name";
}

/* A copy of the tree without what was removed, and with what was added. NULL without memory. */
static struct conf_tree *copy_with_added(const struct overrides *list, const struct conf_tree *tree)
{
    struct conf_tree *copy = conf_tree_copy(tree);

    if (copy != NULL && (apply_kind(list, NULL, OVERRIDE_REMOVED, copy) != 0 ||
                         apply_kind(list, NULL, OVERRIDE_ADDED, copy) != 0)) {
        conf_tree_free(copy);
        return NULL;
    }
    return copy;
}

int overrides_wanted(const struct overrides *list, const struct conf_tree *tree, struct names *out)
{
    struct conf_tree *copy = copy_with_added(list, tree);
    int rc = copy != NULL ? names_wanted(copy, out) : -ENOMEM;

    conf_tree_free(copy);
    return rc;
}

struct override edits_of_template(const struct override *item, char title[static NAME_BYTES_MAX])
{
    struct override key = *item;
    size_t len = item->backend != NULL ? names_template_length(item->backend) : 0;

    if (len > 0 && len < NAME_BYTES_MAX) {
        memcpy(title, item->backend, len);
        title[len] = '\0';
        key.backend = title;
    }
    return key;
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

bool override_means_file(const struct override *item)
{
    const struct option_def *option = options_find(SECTION_BACKEND, item->option);

    return option != NULL && item->file_value != NULL &&
           means_the_same(option, item->value, item->file_value);
}

/* Typed, and written as override_get() does. */
static bool format_given(const struct conf_section *section, const char *name, struct str *out)
{
    const struct option_def *option = options_find(SECTION_BACKEND, name);
    const struct conf_option *given = conf_find(section, name);
    struct model_backend typed = {0};
    STR_AUTO problem = {0};
    bool done = option != NULL && option_set_default(option, &typed) == 0;

    if (done && given != NULL && given->n_values == 1) {
        const struct conf_value *value = &given->values[0];

        done = option_set(option, &typed, value->text, &problem) == 0 &&
               (!value->secret || option_set_secret(option, &typed, 0, value->raw) == 0);
    }
    done = done && option_given(option, &typed);
    if (done) {
        option_format(option, &typed, 0, out);
    }
    section_fini(SECTION_BACKEND, &typed);
    return done;
}

bool override_get_in_file(const struct overrides *list, const struct conf_tree *tree,
                          const struct override *key, struct str *out)
{
    struct conf_tree *copy = copy_with_added(list, tree);
    char title[NAME_BYTES_MAX];
    struct override of_template = edits_of_template(key, title);
    const struct conf_section *section = copy != NULL ? find_section(copy, key) : NULL;
    bool found;

    if (copy != NULL && section == NULL) {
        section = find_section(copy, &of_template);
    }
    found = section != NULL && format_given(section, key->option, out);
    conf_tree_free(copy);
    return found;
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
