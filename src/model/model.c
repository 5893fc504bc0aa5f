/*
 * The model as a whole: finding, copying, freeing. It owns everything it points to. In master.
 */
#include <stdlib.h>
#include <string.h>

#include "options.h"

/* --- freeing --- */

static void free_checks(struct model_check *checks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        section_fini(SECTION_CHECK, &checks[i]);
        free(checks[i].title);
        free(checks[i].kind);
    }
    free(checks);
}

static void free_pool(struct model_pool *pool)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        struct model_backend *backend = &pool->backends[i];

        section_fini(SECTION_BACKEND, backend);
        free_checks(backend->own_checks, backend->n_own_checks);
        free(backend->name);
    }
    free(pool->backends);
    section_fini(SECTION_POOL, pool);
    section_fini(SECTION_OUTLIER, &pool->outlier);
    section_fini(SECTION_REUSE, &pool->reuse);
    free_checks(pool->checks, pool->n_checks);
    free(pool->name);
}

static void free_service(struct model_service *service)
{
    section_fini(SECTION_SERVICE, service);
    free(service->listeners);
    free(service->name);
}

void model_free(struct model *model)
{
    if (model == NULL) {
        return;
    }
    section_fini(SECTION_GLOBAL, &model->global);
    for (size_t i = 0; i < model->n_services; i++) {
        free_service(&model->services[i]);
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        free_pool(&model->pools[i]);
    }
    free(model->services);
    free(model->pools);
    option_list_free(model->files);
    free(model);
}

/* --- copying --- */

/* What a copy needs to know of the original's files: the same place in the list of the copy. */
struct file_map {
    char **from, **to;
    size_t last; /* where the search ended last: neighbours come from the same file */
};

static const char *map_file(struct file_map *map, const char *file)
{
    if (map->from[map->last] != file) {
        map->last = 0;
        while (map->from[map->last] != NULL && map->from[map->last] != file) {
            map->last++;
        }
    }
    return map->from[map->last] != NULL ? map->to[map->last] : "";
}

/*
 * The copiers below take to zeroed and count a thing in only when free_… can handle it, so that a
 * half-made copy can be freed. All return false without memory.
 */
static bool copy_text(char **to, const char *from)
{
    *to = strdup(from);
    return *to != NULL;
}

static bool copy_checks(struct file_map *map, struct model_check **to, size_t *to_n,
                        const struct model_check *from, size_t n)
{
    *to = n > 0 ? calloc(n, sizeof(**to)) : NULL;
    if (n > 0 && *to == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct model_check *check = &(*to)[i];

        *check = from[i];
        check->title = check->kind = NULL;
        check->file = map_file(map, from[i].file);
        ++*to_n;
        if (section_own(SECTION_CHECK, check, &from[i]) != 0 ||
            !copy_text(&check->title, from[i].title) || !copy_text(&check->kind, from[i].kind)) {
            return false;
        }
    }
    return true;
}

static bool copy_backend(struct file_map *map, struct model_backend *to,
                         const struct model_backend *from)
{
    *to = *from;
    to->name = NULL;
    to->own_checks = NULL;
    to->n_own_checks = 0;
    to->file = map_file(map, from->file);
    return section_own(SECTION_BACKEND, to, from) == 0 && copy_text(&to->name, from->name) &&
           copy_checks(map, &to->own_checks, &to->n_own_checks, from->own_checks,
                       from->n_own_checks);
}

static bool copy_pool(struct file_map *map, struct model_pool *to, const struct model_pool *from)
{
    bool owned;

    *to = *from;
    to->name = NULL;
    to->checks = NULL;
    to->backends = NULL;
    to->n_checks = to->n_backends = 0;
    to->file = map_file(map, from->file);
    owned = section_own(SECTION_POOL, to, from) == 0;
    owned = section_own(SECTION_OUTLIER, &to->outlier, &from->outlier) == 0 && owned;
    owned = section_own(SECTION_REUSE, &to->reuse, &from->reuse) == 0 && owned;
    if (!owned || !copy_text(&to->name, from->name) ||
        !copy_checks(map, &to->checks, &to->n_checks, from->checks, from->n_checks)) {
        return false;
    }
    to->backends = from->n_backends > 0 ? calloc(from->n_backends, sizeof(*to->backends)) : NULL;
    if (from->n_backends > 0 && to->backends == NULL) {
        return false;
    }
    for (size_t i = 0; i < from->n_backends; i++) {
        to->n_backends++;
        if (!copy_backend(map, &to->backends[i], &from->backends[i])) {
            return false;
        }
    }
    return true;
}

static bool copy_service(struct file_map *map, struct model_service *to,
                         const struct model_service *from)
{
    size_t bytes = from->n_listeners * sizeof(*from->listeners);

    *to = *from;
    to->name = NULL;
    to->listeners = NULL;
    to->file = map_file(map, from->file);
    if (section_own(SECTION_SERVICE, to, from) != 0 || !copy_text(&to->name, from->name)) {
        return false;
    }
    to->listeners = bytes > 0 ? malloc(bytes) : NULL;
    if (to->listeners != NULL) {
        memcpy(to->listeners, from->listeners, bytes);
    }
    return bytes == 0 || to->listeners != NULL;
}

static bool copy_sections(struct file_map *map, struct model *to, const struct model *from)
{
    to->services = calloc(from->n_services + 1, sizeof(*to->services));
    to->pools = calloc(from->n_pools + 1, sizeof(*to->pools));
    if (to->services == NULL || to->pools == NULL) {
        return false;
    }
    for (size_t i = 0; i < from->n_services; i++) {
        to->n_services++;
        if (!copy_service(map, &to->services[i], &from->services[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < from->n_pools; i++) {
        to->n_pools++;
        if (!copy_pool(map, &to->pools[i], &from->pools[i])) {
            return false;
        }
    }
    return true;
}

struct model *model_copy(const struct model *model)
{
    struct model *copy = calloc(1, sizeof(*copy));
    struct file_map map;
    size_t n_files = 0;
    bool whole;

    if (copy == NULL) {
        return NULL;
    }
    while (model->files[n_files] != NULL) {
        n_files++;
    }
    copy->generation = model->generation;
    copy->global = model->global;
    whole = section_own(SECTION_GLOBAL, &copy->global, &model->global) == 0;
    copy->files = option_list_make((const char *const *)model->files, n_files);
    map = (struct file_map){.from = model->files, .to = copy->files};
    if (!whole || copy->files == NULL || !copy_sections(&map, copy, model)) {
        model_free(copy);
        return NULL;
    }
    return copy;
}

/* --- finding --- */

struct model_pool *model_find_pool(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->n_pools; i++) {
        if (strcmp(model->pools[i].name, name) == 0) {
            return &model->pools[i];
        }
    }
    return NULL;
}

struct model_backend *model_find_backend(const struct model_pool *pool, const char *name)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        if (strcmp(pool->backends[i].name, name) == 0) {
            return &pool->backends[i];
        }
    }
    return NULL;
}

struct model_service *model_find_service(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->n_services; i++) {
        if (strcmp(model->services[i].name, name) == 0) {
            return &model->services[i];
        }
    }
    return NULL;
}
