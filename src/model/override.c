/*
 * What the operator set beside the file: one option of one backend each, with what the file said
 * then. A file that later says something else about that very option wins over the override. A list
 * owns its strings. In master.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/units.h"
#include "lookup.h"
#include "options.h"
#include "sluice/limits.h"

#define SETTABLE_MAX 16

/* --- one option of one backend --- */

const char *const *model_backend_settable(void)
{
    static const char *names[SETTABLE_MAX + 1];
    const struct section_info *info = options_section(SECTION_BACKEND);
    size_t n = 0;

    for (size_t i = 0; i < info->n_options && n < SETTABLE_MAX; i++) {
        if (info->options[i].settable) {
            names[n++] = info->options[i].name;
        }
    }
    return names;
}

static int refuse_option(const char *name, struct str *out_problem)
{
    const char *const *settable = model_backend_settable();
    const char *nearest = units_nearest(name, settable);
    char shown[SHOW_MAX];

    str_printf(out_problem, "%s: no option that can be set; ", option_show(name, shown));
    if (nearest != NULL) {
        str_printf(out_problem, "did you mean \"%s\"?", nearest);
        return -EINVAL;
    }
    str_append(out_problem, "write one of ");
    for (size_t i = 0; settable[i] != NULL; i++) {
        str_printf(out_problem, "%s%s", i == 0 ? "" : ", ", settable[i]);
    }
    return -EINVAL;
}

int model_set_backend(struct model *model, struct model_backend *backend, const char *option,
                      const char *value, struct str *out_problem)
{
    const struct option_def *def = options_find(SECTION_BACKEND, option);
    struct model_backend before = *backend;
    STR_AUTO problem = {0};
    char shown[SHOW_MAX];
    int rc;

    (void)model; /* for options that will have to be judged against the rest */
    if (def == NULL || !def->settable) {
        return refuse_option(option, out_problem);
    }
    rc = option_set(def, backend, value, &problem);
    if (rc != 0) {
        str_printf(out_problem, "%s: %s", option,
                   rc == -ENOMEM ? "out of memory; try again later" : str_text(&problem));
        return -EINVAL;
    }
    if (backend_judge_limits(backend, option, &problem) != 0) {
        str_printf(out_problem, "%s: %s: %s", option, option_show(value, shown),
                   str_text(&problem));
        *backend = before; /* what can be set is no text, so nothing was freed */
        return -EINVAL;
    }
    (void)option_set_secret(def, backend, 0, NULL);
    return 0;
}

bool model_get_backend(const struct model_backend *backend, const char *option, struct str *out)
{
    const struct option_def *def = options_find(SECTION_BACKEND, option);

    if (def == NULL || !option_given(def, backend)) {
        return false;
    }
    option_format(def, backend, 0, out);
    return true;
}

/* --- the list --- */

static void free_item(struct override *item)
{
    free(item->pool);
    free(item->backend);
    free(item->option);
    free(item->value);
    free(item->file_value);
    free(item->by);
    free(item->why);
    *item = (struct override){0};
}

/* NULL stays NULL. False without memory. */
static bool copy_text(char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static int copy_item(struct override *to, const struct override *from)
{
    struct override copy = {.wall_ms = from->wall_ms};
    bool whole = copy_text(&copy.pool, from->pool) && copy_text(&copy.backend, from->backend) &&
                 copy_text(&copy.option, from->option) && copy_text(&copy.value, from->value) &&
                 copy_text(&copy.file_value, from->file_value) && copy_text(&copy.by, from->by) &&
                 copy_text(&copy.why, from->why);

    if (!whole) {
        free_item(&copy);
        return -ENOMEM;
    }
    *to = copy;
    return 0;
}

static struct override *find_item(const struct overrides *list, const struct override *item)
{
    for (size_t i = 0; i < list->count; i++) {
        struct override *known = &list->items[i];

        if (strcmp(known->option, item->option) == 0 &&
            strcmp(known->backend, item->backend) == 0 && strcmp(known->pool, item->pool) == 0) {
            return known;
        }
    }
    return NULL;
}

static int append_item(struct overrides *list, const struct override *item)
{
    int rc;

    if (list->count == list->cap) {
        size_t cap = list->cap > 0 ? list->cap * 2 : 16;
        struct override *items = reallocarray(list->items, cap, sizeof(*items));

        if (items == NULL) {
            return -ENOMEM;
        }
        list->items = items;
        list->cap = cap;
    }
    rc = copy_item(&list->items[list->count], item);
    list->count += rc == 0 ? 1 : 0;
    return rc;
}

int overrides_set(struct overrides *list, const struct override *item)
{
    struct override *known = find_item(list, item);
    struct override copy;

    if (known == NULL) {
        return append_item(list, item);
    }
    if (copy_item(&copy, item) != 0) {
        return -ENOMEM;
    }
    free_item(known);
    *known = copy;
    return 0;
}

void overrides_drop(struct overrides *list, const struct override *item)
{
    struct override *known = find_item(list, item);

    if (known != NULL) {
        free_item(known);
        *known = list->items[--list->count];
    }
}

void overrides_free(struct overrides *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free_item(&list->items[i]);
    }
    free(list->items);
    *list = (struct overrides){0};
}

/* --- after a reload --- */

/* Every backend of a model by its pool's place and its name, for lists of thousands. */
struct backend_key {
    uint32_t pool;
    char name[NAME_BYTES_MAX];
};

struct backend_finder {
    struct lookup pools, backends;
    struct backend_key *keys;
    struct model_backend **found; /* by the value in backends */
};

static void finder_fini(struct backend_finder *finder)
{
    lookup_fini(&finder->pools);
    lookup_fini(&finder->backends);
    free(finder->keys);
    free(finder->found);
}

static int finder_init(struct backend_finder *finder, struct model *model)
{
    uint32_t n = 0;

    for (size_t i = 0; i < model->n_pools; i++) {
        n += (uint32_t)model->pools[i].n_backends;
    }
    finder->keys = calloc(n + 1, sizeof(*finder->keys));
    finder->found = calloc(n + 1, sizeof(struct model_backend *));
    if (finder->keys == NULL || finder->found == NULL ||
        lookup_init(&finder->pools, model->n_pools) != 0 ||
        lookup_init(&finder->backends, n) != 0) {
        return -ENOMEM;
    }
    n = 0;
    for (uint32_t i = 0; i < model->n_pools; i++) {
        struct model_pool *pool = &model->pools[i];

        (void)lookup_add(&finder->pools, pool->name, strlen(pool->name), i);
        for (size_t j = 0; j < pool->n_backends; j++, n++) {
            finder->keys[n].pool = i;
            (void)strlcpy(finder->keys[n].name, pool->backends[j].name, NAME_BYTES_MAX);
            finder->found[n] = &pool->backends[j];
            (void)lookup_add(&finder->backends, &finder->keys[n], sizeof(finder->keys[n]), n);
        }
    }
    return 0;
}

static struct model_backend *finder_find(const struct backend_finder *finder,
                                         const struct override *item)
{
    struct backend_key key = {0};
    uint32_t at;

    key.pool = lookup_find(&finder->pools, item->pool, strlen(item->pool));
    if (strlcpy(key.name, item->backend, NAME_BYTES_MAX) >= NAME_BYTES_MAX) {
        return NULL;
    }
    at = lookup_find(&finder->backends, &key, sizeof(key));
    return at != LOOKUP_NONE ? finder->found[at] : NULL;
}

static void drop(struct errlist *dropped, const struct override *item,
                 const struct model_backend *backend, const char *reason)
{
    STR_AUTO section = {0};

    str_printf(&section, "pool \"%s\" / backend \"%s\"", item->pool, item->backend);
    errlist_add(dropped, ERRLIST_WARNING, backend != NULL ? backend->file : NULL,
                backend != NULL ? backend->line : 0, str_text(&section),
                "%s; the override %s=%s by %s no longer holds", reason, item->option, item->value,
                item->by != NULL ? item->by : "somebody");
}

/* Whether the file says of that option what it said when it was overridden; if not, how. */
static bool file_agrees(const struct override *item, const struct model_backend *backend,
                        struct str *out_reason)
{
    const char *then = item->file_value != NULL ? item->file_value : "";
    STR_AUTO now = {0};

    (void)model_get_backend(backend, item->option, &now);
    if (strcmp(str_text(&now), then) == 0) {
        return true;
    }
    str_printf(out_reason, "the file now says %s instead of %s",
               now.len > 0 ? str_text(&now) : "nothing", *then != '\0' ? then : "nothing");
    return false;
}

/* Applies one override to the new model. False with a reason when it cannot stand. */
static bool reapply(const struct override *item, struct model *model, struct model_backend *backend,
                    struct str *out_reason)
{
    if (backend == NULL) {
        str_append(out_reason, "the backend is gone");
        return false;
    }
    return file_agrees(item, backend, out_reason) &&
           model_set_backend(model, backend, item->option, item->value, out_reason) == 0;
}

/* Twice: one that another stands in the way of (max_connections, resume_connections) may stand once
 * that other one has been replaced. */
static void reapply_all(const struct overrides *list, struct model *model,
                        const struct backend_finder *finder, bool *stands, struct errlist *dropped)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < list->count; i++) {
            struct model_backend *backend = finder_find(finder, &list->items[i]);
            STR_AUTO reason = {0};

            stands[i] = stands[i] || reapply(&list->items[i], model, backend, &reason);
            if (pass == 1 && !stands[i]) {
                drop(dropped, &list->items[i], backend, str_text(&reason));
            }
        }
    }
}

int overrides_reapply(const struct overrides *list, struct model *model, struct overrides *kept,
                      struct errlist *dropped)
{
    struct backend_finder finder = {0};
    bool *stands = calloc(list->count + 1, sizeof(*stands));
    int rc = stands != NULL ? 0 : -ENOMEM;

    if (rc == 0 && list->count > 0) {
        rc = finder_init(&finder, model);
    }
    if (rc == 0) {
        reapply_all(list, model, &finder, stands, dropped);
    }
    for (size_t i = 0; i < list->count && rc == 0; i++) {
        rc = stands[i] ? append_item(kept, &list->items[i]) : 0;
    }
    if (rc != 0) {
        overrides_free(kept);
    }
    finder_fini(&finder);
    free(stands);
    return rc;
}
