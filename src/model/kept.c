/* The list of good configurations. In master. */
#include "kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void free_item(struct kept_config *item)
{
    free(item->by);
    free(item->why);
    free(item->text);
    *item = (struct kept_config){0};
}

static void remove_at(struct kept_configs *list, size_t i)
{
    free_item(&list->items[i]);
    list->count--;
    memmove(&list->items[i], &list->items[i + 1], (list->count - i) * sizeof(list->items[0]));
}

static int copy_item(struct kept_config *to, const struct kept_config *from)
{
    *to = *from;
    to->by = strdup(from->by);
    to->text = strdup(from->text);
    to->why = from->why != NULL ? strdup(from->why) : NULL;
    if (to->by == NULL || to->text == NULL || (from->why != NULL && to->why == NULL)) {
        free_item(to);
        return -ENOMEM;
    }
    return 0;
}

static size_t count_bytes(const struct kept_configs *list)
{
    size_t bytes = 0;

    for (size_t i = 0; i < list->count; i++) {
        bytes += strlen(list->items[i].text);
    }
    return bytes;
}

/* Whether it fits once everything else that may go has gone. */
static bool can_fit(const struct kept_configs *list, size_t bytes, uint32_t pinned)
{
    const struct kept_config *stays = kept_find(list, pinned);

    return bytes + (stays != NULL ? strlen(stays->text) : 0) <= KEPT_BYTES_MAX;
}

static void make_room(struct kept_configs *list, size_t bytes, uint32_t pinned)
{
    size_t i = 0;

    while (list->count == KEPT_MAX || count_bytes(list) + bytes > KEPT_BYTES_MAX) {
        i += list->items[i].generation == pinned;
        remove_at(list, i);
    }
}

int kept_add(struct kept_configs *list, const struct kept_config *config, uint32_t pinned)
{
    const struct kept_config *same = kept_find_text(list, config->text);
    size_t bytes = strlen(config->text);
    struct kept_config copy;

    if (same != NULL && (same == &list->items[list->count - 1] || same->generation == pinned)) {
        return 0;
    }
    if (!can_fit(list, bytes, pinned)) {
        return -EFBIG;
    }
    if (copy_item(&copy, config) != 0) {
        return -ENOMEM;
    }
    if (same != NULL) {
        copy.unconfirmed = copy.unconfirmed && same->unconfirmed;
        remove_at(list, (size_t)(same - list->items));
    }
    make_room(list, bytes, pinned);
    list->items[list->count++] = copy;
    return 0;
}

const struct kept_config *kept_find(const struct kept_configs *list, uint32_t generation)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].generation == generation) {
            return &list->items[i];
        }
    }
    return NULL;
}

const struct kept_config *kept_find_text(const struct kept_configs *list, const char *text)
{
    for (size_t i = list->count; i-- > 0;) {
        if (strcmp(list->items[i].text, text) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

void kept_confirm(struct kept_configs *list)
{
    for (size_t i = 0; i < list->count; i++) {
        list->items[i].unconfirmed = false;
    }
}

void kept_drop_unconfirmed(struct kept_configs *list, uint32_t except)
{
    for (size_t i = list->count; i-- > 0;) {
        if (list->items[i].unconfirmed && list->items[i].generation != except) {
            remove_at(list, i);
        }
    }
}

void kept_free(struct kept_configs *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free_item(&list->items[i]);
    }
    *list = (struct kept_configs){0};
}
