/*
 * The model as a whole: finding, freeing. It owns everything it points to. In master.
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
        free(backend->of);
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
    free(model->global.places);
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

/* --- finding --- */

struct model_place model_global_place(const struct model *model, const char *option)
{
    const struct section_info *info = options_section(SECTION_GLOBAL);
    const struct option_def *def = options_find(SECTION_GLOBAL, option);

    return def != NULL && model->global.places != NULL ? model->global.places[def - info->options]
                                                       : (struct model_place){0};
}

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

bool model_backend_is_meant(const struct model_backend *backend, const char *name)
{
    return strcmp(backend->name, name) == 0 ||
           (backend->of != NULL && strcmp(backend->of, name) == 0);
}

bool model_has_backend(const struct model_pool *pool, const char *name)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        if (model_backend_is_meant(&pool->backends[i], name)) {
            return true;
        }
    }
    return false;
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
