/*
 * A hash table from byte strings to numbers, for matching thousands of names at once. Its size is
 * given at the start; keys are not copied and must outlive it.
 */
#ifndef SLUICE_MODEL_LOOKUP_H
#define SLUICE_MODEL_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#define LOOKUP_NONE UINT32_MAX

struct lookup_cell;

struct lookup { /* zeroed is empty and takes nothing */
    struct lookup_cell *cells;
    size_t mask;
};

/* Room for up to n keys. Returns 0 or -ENOMEM. */
int lookup_init(struct lookup *table, size_t n);
void lookup_fini(struct lookup *table);
/* Adds, unless the key is known: then returns its value and changes nothing. Else LOOKUP_NONE. */
uint32_t lookup_add(struct lookup *table, const void *key, size_t len, uint32_t value);
/* LOOKUP_NONE when unknown. */
uint32_t lookup_find(const struct lookup *table, const void *key, size_t len);

#define LOOKUP_AUTO __attribute__((cleanup(lookup_fini))) struct lookup

#endif
