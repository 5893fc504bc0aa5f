/*
 * Places by key in a tree, and a stack of free numbers. In master.
 */
#include "place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_places(const struct place *a, const struct place *b)
{
    int by_hash = compare_numbers(a->hash, b->hash);

    if (by_hash != 0 || a->key_len != b->key_len) {
        return by_hash != 0 ? by_hash : compare_numbers(a->key_len, b->key_len);
    }
    return memcmp(a->key, b->key, a->key_len);
}

/* libbsd's RB_GENERATE_STATIC wants a word that this C library does not know. */
RB_GENERATE_INTERNAL(place_tree, place, link, compare_places, static __attribute__((unused)))

void place_key_add_name(struct place_key *key, const char *name)
{
    size_t len = strnlen(name, NAME_BYTES_MAX - 1);

    memcpy(key->bytes + key->len, name, len);
    key->bytes[key->len + len] = '\0';
    key->len += len + 1;
}

void place_key_add_address(struct place_key *key, const struct addr *address)
{
    memcpy(key->bytes + key->len, address, sizeof(*address));
    key->len += sizeof(*address);
}

int space_init(struct place_space *space, uint32_t limit, bool reuse)
{
    *space = (struct place_space){.limit = limit};
    RB_INIT(&space->tree);
    if (reuse) {
        space->free = calloc(limit, sizeof(*space->free));
    }
    return reuse && space->free == NULL ? -ENOMEM : 0;
}

void space_fini(struct place_space *space)
{
    struct place *place;
    struct place *next;

    RB_FOREACH_SAFE(place, place_tree, &space->tree, next)
    {
        space_forget(space, place);
    }
    free(space->free);
    space->free = NULL;
}

static int take_number(struct place_space *space, struct place *place)
{
    if (space->n_free > 0) {
        place->index = space->free[--space->n_free];
        place->touched = true;
        return 0;
    }
    if (space->next == space->limit) {
        return -ENOSPC;
    }
    place->index = space->next++;
    return 0;
}

int space_want(struct place_space *space, const struct place_key *key, struct place **out_place)
{
    struct place *place = calloc(1, sizeof(*place) + key->len);
    struct place *known;
    int rc;

    if (place == NULL) {
        return -ENOMEM;
    }
    place->hash = XXH3_64bits(key->bytes, key->len);
    place->key_len = key->len;
    memcpy(place->key, key->bytes, key->len);
    known = RB_FIND(place_tree, &space->tree, place);
    rc = known == NULL ? take_number(space, place) : 0;
    if (known != NULL || rc != 0) {
        free(place);
        place = known;
    } else {
        place->state = PLACE_PLANNED;
        place->heir_of = HEIR_NONE;
        (void)RB_INSERT(place_tree, &space->tree, place);
    }
    if (rc == 0) {
        place->wanted = true;
        *out_place = place;
    }
    return rc;
}

void space_forget(struct place_space *space, struct place *place)
{
    RB_REMOVE(place_tree, &space->tree, place);
    free(place);
}

void space_free(struct place_space *space, struct place *place)
{
    if (space->free != NULL) {
        space->free[space->n_free++] = place->index;
    }
    space_forget(space, place);
}

bool space_is_full(const struct place_space *space)
{
    return space->next == space->limit && space->n_free == 0;
}

void space_mark(struct place_space *space)
{
    space->next_before = space->next;
    space->n_free_before = space->n_free;
}

/* What was taken from the stack of free numbers since then still stands above its top. */
void space_undo(struct place_space *space)
{
    space->next = space->next_before;
    space->n_free = space->n_free_before;
}

struct place *space_first(struct place_space *space)
{
    return RB_MIN(place_tree, &space->tree);
}

struct place *space_next(struct place *place)
{
    return RB_NEXT(place_tree, NULL, place);
}
