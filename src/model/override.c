/*
 * The list of what the operator said beside the file: records and their strings. In master.
 */
#include "override.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- one record --- */

static void free_item(struct override *item)
{
    for (size_t i = 0; i < item->n_settings; i++) {
        free(item->settings[i].option);
        free(item->settings[i].value);
    }
    free(item->settings);
    free(item->service);
    free(item->pool);
    free(item->backend);
    free(item->option);
    free(item->value);
    free(item->file_value);
    free(item->by);
    free(item->why);
    if (item->before != NULL) {
        free_item(item->before);
        free(item->before);
    }
    *item = (struct override){0};
}

/* NULL stays NULL. False without memory. */
static bool copy_text(char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static bool copy_settings(struct override *to, const struct override *from)
{
    to->settings = from->n_settings > 0 ? calloc(from->n_settings, sizeof(*to->settings)) : NULL;
    if (from->n_settings > 0 && to->settings == NULL) {
        return false;
    }
    for (size_t i = 0; i < from->n_settings; i++) {
        to->n_settings++;
        if (!copy_text(&to->settings[i].option, from->settings[i].option) ||
            !copy_text(&to->settings[i].value, from->settings[i].value)) {
            return false;
        }
    }
    return true;
}

static int copy_item(struct override *to, const struct override *from);

static bool copy_before(struct override *to, const struct override *from)
{
    to->before = from->before != NULL ? calloc(1, sizeof(*to->before)) : NULL;
    return from->before == NULL || (to->before != NULL && copy_item(to->before, from->before) == 0);
}

static int copy_item(struct override *to, const struct override *from)
{
    struct override copy = {.kind = from->kind,
                            .wall_ms = from->wall_ms,
                            .until_ms = from->until_ms,
                            .until_wall_ms = from->until_wall_ms,
                            .has_close = from->has_close,
                            .close_ms = from->close_ms,
                            .close_wall_ms = from->close_wall_ms};
    bool whole = copy_text(&copy.service, from->service) && copy_text(&copy.pool, from->pool) &&
                 copy_text(&copy.backend, from->backend) && copy_text(&copy.option, from->option) &&
                 copy_text(&copy.value, from->value) &&
                 copy_text(&copy.file_value, from->file_value) && copy_text(&copy.by, from->by) &&
                 copy_text(&copy.why, from->why) && copy_settings(&copy, from) &&
                 copy_before(&copy, from);

    if (!whole) {
        free_item(&copy);
        return -ENOMEM;
    }
    *to = copy;
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool override_is_same(const struct override *a, const struct override *b)
{
    return a->kind == b->kind && same_text(a->option, b->option) &&
           same_text(a->backend, b->backend) && same_text(a->pool, b->pool) &&
           same_text(a->service, b->service);
}

/* --- the list --- */

static struct override *find_item(const struct overrides *list, const struct override *key)
{
    for (size_t i = 0; i < list->count; i++) {
        if (override_is_same(&list->items[i], key)) {
            return &list->items[i];
        }
    }
    return NULL;
}

const struct override *overrides_find(const struct overrides *list, const struct override *key)
{
    return find_item(list, key);
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

static void remove_at(struct overrides *list, size_t i)
{
    free_item(&list->items[i]);
    list->count--;
    memmove(&list->items[i], &list->items[i + 1], (list->count - i) * sizeof(*list->items));
}

void overrides_drop(struct overrides *list, const struct override *item)
{
    struct override *known = find_item(list, item);

    if (known != NULL) {
        remove_at(list, (size_t)(known - list->items));
    }
}

size_t overrides_forget(struct overrides *list, const char *pool, const char *backend)
{
    size_t before = list->count;

    for (size_t i = list->count; i-- > 0;) {
        const struct override *item = &list->items[i];

        if ((pool == NULL || same_text(item->pool, pool)) &&
            (backend == NULL || same_text(item->backend, backend) ||
             (item->backend != NULL && names_is_of(item->backend, backend)))) {
            remove_at(list, i);
        }
    }
    return before - list->count;
}

size_t overrides_forget_service(struct overrides *list, const char *service)
{
    size_t before = list->count;

    for (size_t i = list->count; i-- > 0;) {
        if (same_text(list->items[i].service, service)) {
            remove_at(list, i);
        }
    }
    return before - list->count;
}

static bool is_over(const struct override *item, uint64_t now_ms)
{
    return item->until_ms != 0 && item->until_ms <= now_ms;
}

int overrides_expire(struct overrides *list, uint64_t now_ms)
{
    for (size_t i = list->count; i-- > 0;) {
        struct override *item = &list->items[i];
        struct override before;

        if (!is_over(item, now_ms)) {
            continue;
        }
        if (item->before == NULL) {
            remove_at(list, i);
            continue;
        }
        if (copy_item(&before, item->before) != 0) {
            return -ENOMEM;
        }
        free_item(item);
        *item = before;
    }
    return 0;
}

const struct override *overrides_next_end(const struct overrides *list)
{
    const struct override *next = NULL;

    for (size_t i = 0; i < list->count; i++) {
        const struct override *item = &list->items[i];

        if (item->until_ms != 0 && (next == NULL || item->until_ms < next->until_ms)) {
            next = item;
        }
    }
    return next;
}

int overrides_copy(struct overrides *to, const struct overrides *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (append_item(to, &from->items[i]) != 0) {
            overrides_free(to);
            return -ENOMEM;
        }
    }
    return 0;
}

void overrides_free(struct overrides *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free_item(&list->items[i]);
    }
    free(list->items);
    *list = (struct overrides){0};
}
