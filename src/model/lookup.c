/*
 * Open addressing with at most half of the cells in use. Owns its cells, not the keys. In master.
 */
#include "lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct lookup_cell {
    const void *key; /* NULL: free */
    size_t len;
    uint64_t hash;
    uint32_t value;
};

int lookup_init(struct lookup *table, size_t n)
{
    size_t size = 8;

    while (size < n * 2) {
        size *= 2;
    }
    table->cells = calloc(size, sizeof(*table->cells));
    table->mask = table->cells != NULL ? size - 1 : 0;
    return table->cells != NULL ? 0 : -ENOMEM;
}

void lookup_fini(struct lookup *table)
{
    free(table->cells);
    *table = (struct lookup){0};
}

/* The key's cell, or the free one where it belongs. */
static struct lookup_cell *find_cell(const struct lookup *table, const void *key, size_t len,
                                     uint64_t hash)
{
    size_t at = hash & table->mask;

    for (;; at = (at + 1) & table->mask) {
        struct lookup_cell *cell = &table->cells[at];

        if (cell->key == NULL ||
            (cell->hash == hash && cell->len == len && memcmp(cell->key, key, len) == 0)) {
            return cell;
        }
    }
}

uint32_t lookup_add(struct lookup *table, const void *key, size_t len, uint32_t value)
{
    uint64_t hash = XXH3_64bits(key, len);
    struct lookup_cell *cell;

    if (table->cells == NULL) {
        return LOOKUP_NONE;
    }
    cell = find_cell(table, key, len, hash);
    if (cell->key != NULL) {
        return cell->value;
    }
    *cell = (struct lookup_cell){.key = key, .len = len, .hash = hash, .value = value};
    return LOOKUP_NONE;
}

uint32_t lookup_find(const struct lookup *table, const void *key, size_t len)
{
    const struct lookup_cell *cell;

    if (table->cells == NULL) {
        return LOOKUP_NONE;
    }
    cell = find_cell(table, key, len, XXH3_64bits(key, len));
    return cell->key != NULL ? cell->value : LOOKUP_NONE;
}
