/*
 * What the operator said beside the file, as lines for the file: pasted there, they make it say
 * what runs. In master.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "edits.h"

/* "# by uid 0, 2026-…, until 2026-…: why; the file says 1", a line of its own. */
static void print_comment(const struct override *item, const char *indent, const char *what,
                          struct str *out)
{
    char when[CLOCK_TEXT_MAX];

    str_printf(out, "%s# %sby %s, %s", indent, what, item->by != NULL ? item->by : "somebody",
               clock_format_wall(item->wall_ms, when));
    if (item->until_wall_ms != 0) {
        str_printf(out, ", until %s", clock_format_wall(item->until_wall_ms, when));
    }
    if (item->why != NULL) {
        str_printf(out, ": %s", item->why);
    }
    str_append_char(out, '\n');
}

static void print_option(enum section_kind kind, const void *section, const char *name,
                         const char *indent, struct str *out)
{
    const struct option_def *option = options_find(kind, name);

    if (option != NULL) {
        str_printf(out, "%s%s = ", indent, name);
        option_print(option, section, out);
        str_append_char(out, '\n');
    }
}

static bool is_about(const struct override *item, const char *service, const char *pool,
                     const char *backend)
{
    const char *const a[] = {item->service, item->pool, item->backend};
    const char *const b[] = {service, pool, backend};
    bool same = true;

    for (size_t i = 0; i < 3; i++) {
        same =
            same && (a[i] == NULL) == (b[i] == NULL) && (a[i] == NULL || strcmp(a[i], b[i]) == 0);
    }
    return same;
}

/* All that is set of one section, which is of that model. */
static void print_set(const struct overrides *list, enum section_kind kind, const void *section,
                      const struct override *key, const char *indent, struct str *out)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct override *item = &list->items[i];
        STR_AUTO what = {0};

        if (item->kind == OVERRIDE_SET && is_about(item, key->service, key->pool, key->backend)) {
            str_printf(&what, "%s in the file; ",
                       item->file_value != NULL && *item->file_value != '\0' ? item->file_value
                                                                             : "nothing");
            print_comment(item, indent, str_text(&what), out);
            print_option(kind, section, item->option, indent, out);
        }
    }
}

/* As a whole: the file has nothing of it. */
static void print_added(const struct override *added, const struct model_backend *backend,
                        struct str *out)
{
    const struct section_info *info = options_section(SECTION_BACKEND);

    print_comment(added, "    ", "added ", out);
    str_append(out, "    backend ");
    conf_quote(out, backend->name);
    str_append(out, " {\n");
    for (size_t i = 0; i < info->n_options; i++) {
        if (option_given(&info->options[i], backend) &&
            !option_is_default(&info->options[i], backend)) {
            print_option(SECTION_BACKEND, backend, info->options[i].name, "        ", out);
        }
    }
    str_append(out, "    }\n");
}

static void print_backend(const struct overrides *list, const struct model_pool *pool,
                          const struct model_backend *backend, struct str *out)
{
    struct override key = {.kind = OVERRIDE_ADDED, .pool = pool->name, .backend = backend->name};
    const struct override *added = overrides_find(list, &key);
    STR_AUTO inside = {0};

    if (added != NULL) {
        print_added(added, backend, out);
        return;
    }
    print_set(list, SECTION_BACKEND, backend, &key, "        ", &inside);
    if (inside.len > 0) {
        str_append(out, "    backend ");
        conf_quote(out, backend->name);
        str_printf(out, " {\n%s    }\n", str_text(&inside));
    }
}

/* --- of names --- */

/* -ENOMEM, or anything else: what is unknown or does not pass is left out. */
static int type_option(const char *name, const char *value, struct model_backend *typed)
{
    const struct option_def *option = options_find(SECTION_BACKEND, name);
    STR_AUTO problem = {0};

    return option != NULL ? option_set(option, typed, value, &problem) : 0;
}

/* What the records say of a template, typed; false without memory, typed to be finished either way.
 */
static bool type_template(const struct overrides *list, const struct override *key,
                          const struct override *added, struct model_backend *typed)
{
    const struct section_info *info = options_section(SECTION_BACKEND);
    int rc = 0;

    for (size_t i = 0; i < info->n_options && rc == 0; i++) {
        rc = option_set_default(&info->options[i], typed);
    }
    for (size_t i = 0; added != NULL && i < added->n_settings && rc != -ENOMEM; i++) {
        rc = type_option(added->settings[i].option, added->settings[i].value, typed);
    }
    for (size_t i = 0; i < list->count && rc != -ENOMEM; i++) {
        const struct override *item = &list->items[i];

        if (item->kind == OVERRIDE_SET && is_about(item, NULL, key->pool, key->backend)) {
            rc = type_option(item->option, item->value, typed);
        }
    }
    return rc != -ENOMEM;
}

/* The model has its addresses only. */
static void print_template(const struct overrides *list, const struct model_pool *pool, char *name,
                           struct str *out)
{
    struct override key = {.kind = OVERRIDE_ADDED, .pool = pool->name, .backend = name};
    const struct override *added = overrides_find(list, &key);
    struct model_backend typed = {.name = name};
    STR_AUTO inside = {0};

    if (!type_template(list, &key, added, &typed)) {
        out->failed = true;
    } else if (added != NULL) {
        print_added(added, &typed, out);
    } else {
        print_set(list, SECTION_BACKEND, &typed, &key, "        ", &inside);
    }
    if (inside.len > 0) {
        str_append(out, "    backend ");
        conf_quote(out, name);
        str_printf(out, " {\n%s    }\n", str_text(&inside));
    }
    section_fini(SECTION_BACKEND, &typed);
}

/* What the file cannot say of a backend is a comment, and why. */
static void print_unsaid(const struct overrides *list, const struct model_pool *pool,
                         const char *backend, const char *why, struct str *out)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct override *item = &list->items[i];

        if (item->kind == OVERRIDE_SET && is_about(item, NULL, pool->name, backend)) {
            print_comment(item, "    ", "", out);
            str_printf(out, "    # backend \"%s\": %s = %s, %s\n", backend, item->option,
                       item->value, why);
        }
    }
}

/* Nothing can be pasted for what is to be left out, so it is said. */
static void print_removed(const struct overrides *list, const char *pool, struct str *out)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct override *item = &list->items[i];

        if (item->kind == OVERRIDE_REMOVED && strcmp(item->pool, pool) == 0) {
            print_comment(item, "    ", "removed ", out);
            str_printf(out,
                       "    # backend \"%s\" { address = \"%s\" … }: leave this section (or its "
                       "line in backends_file) out\n",
                       item->backend, item->file_value != NULL ? item->file_value : "");
        }
    }
}

/* The backend at that index; with the first address of a name also the name. */
static void print_any(const struct overrides *list, const struct model_pool *pool, size_t index,
                      struct str *out)
{
    static const char there[] = "of its line in backends_file";
    const struct model_backend *backend = &pool->backends[index];
    const char *before = index > 0 ? pool->backends[index - 1].of : NULL;
    bool is_there = model_backend_is_from_file(pool, backend);
    bool is_first = backend->of != NULL && (before == NULL || strcmp(before, backend->of) != 0);

    if (backend->of != NULL) {
        if (is_first && is_there) {
            print_unsaid(list, pool, backend->of, there, out);
        } else if (is_first) {
            print_template(list, pool, backend->of, out);
        }
        print_unsaid(list, pool, backend->name, "for one address of a name", out);
    } else if (is_there) {
        print_unsaid(list, pool, backend->name, there, out);
    } else {
        print_backend(list, pool, backend, out);
    }
}

static void print_global(const struct overrides *list, const struct model *model, struct str *out)
{
    struct override key = {.kind = OVERRIDE_SET};
    STR_AUTO inside = {0};

    print_set(list, SECTION_GLOBAL, &model->global, &key, "    ", &inside);
    if (inside.len > 0) {
        str_printf(out, "global {\n%s}\n", str_text(&inside));
    }
}

static bool has_any(const struct overrides *list, const char *service, const char *pool)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct override *item = &list->items[i];

        if ((service != NULL && item->service != NULL && strcmp(item->service, service) == 0) ||
            (pool != NULL && item->pool != NULL && strcmp(item->pool, pool) == 0)) {
            return true;
        }
    }
    return false;
}

static void open_section(const char *kind, const char *title, struct str *out)
{
    str_printf(out, "%s ", kind);
    conf_quote(out, title);
    str_append(out, " {\n");
}

void overrides_print(const struct overrides *list, const struct model *model, struct str *out)
{
    print_global(list, model, out);
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        struct override key = {.service = service->name};

        if (has_any(list, service->name, NULL)) {
            open_section("service", service->name, out);
            print_set(list, SECTION_SERVICE, service, &key, "    ", out);
            str_append(out, "}\n");
        }
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];
        struct override key = {.pool = pool->name};

        if (!has_any(list, NULL, pool->name)) {
            continue;
        }
        open_section("pool", pool->name, out);
        print_set(list, SECTION_POOL, pool, &key, "    ", out);
        for (size_t j = 0; j < pool->n_backends; j++) {
            print_any(list, pool, j, out);
        }
        print_removed(list, pool->name, out);
        str_append(out, "}\n");
    }
}
