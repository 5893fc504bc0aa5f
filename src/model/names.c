/*
 * Addresses behind host names, from one model to the next: what was looked up once is not looked up
 * again because something else has changed. In master.
 */
#include <stdlib.h>
#include <string.h>

#include "lookup.h"
#include "model.h"

static size_t count_backends(const struct model *model)
{
    size_t n = 0;

    for (size_t i = 0; i < model->n_pools; i++) {
        n += model->pools[i].n_backends;
    }
    return n;
}

/* known[value] is the backend of that name. */
static void gather_names(const struct model *model, const struct model_backend **known,
                         struct lookup *names)
{
    uint32_t at = 0;

    for (size_t i = 0; i < model->n_pools; i++) {
        for (size_t j = 0; j < model->pools[i].n_backends; j++) {
            const struct model_backend *backend = &model->pools[i].backends[j];

            if (backend->named && backend->address.ip.family != ADDR_NONE) {
                known[at] = backend;
                (void)lookup_add(names, backend->address_text, strlen(backend->address_text), at++);
            }
        }
    }
}

static void take_address(struct model_backend *backend, const struct model_backend *const *known,
                         const struct lookup *names)
{
    uint32_t found = LOOKUP_NONE;

    if (backend->named && backend->address.ip.family == ADDR_NONE) {
        found = lookup_find(names, backend->address_text, strlen(backend->address_text));
    }
    if (found != LOOKUP_NONE) {
        backend->address = known[found]->address;
    }
}

void model_take_addresses(struct model *to, const struct model *from)
{
    LOOKUP_AUTO names = {0};
    size_t n = count_backends(from);
    const struct model_backend **known = calloc(n + 1, sizeof(*known));

    if (known == NULL || lookup_init(&names, n) != 0) {
        free(known);
        return; /* they are looked up, or stay as they are */
    }
    gather_names(from, known, &names);
    for (size_t i = 0; i < to->n_pools; i++) {
        for (size_t j = 0; j < to->pools[i].n_backends; j++) {
            take_address(&to->pools[i].backends[j], known, &names);
        }
    }
    free(known);
}
