/*
 * Objects of 16 bytes, from one range of addresses, so that free() knows whose they are.
 */
#include "tiny.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Addresses alone cost nothing: room for 4 million objects. What finds no room is malloc's. */
#define RANGE_BYTES ((size_t)64 << 20)

union item {
    union item *next; /* while free */
    char bytes[TINY_BYTES];
};

static struct {
    union item *first, *unused, *end; /* NULL: there is no range yet, or it could not be had */
    union item *freed;
    bool was_asked;
} range;

static void make_range(void)
{
    void *at = mmap(NULL, RANGE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    range.was_asked = true;
    if (at != MAP_FAILED) {
        range.first = range.unused = at;
        range.end = range.first + RANGE_BYTES / sizeof(union item);
    }
}

static bool is_tiny(const void *item)
{
    uintptr_t at = (uintptr_t)item;
    return at >= (uintptr_t)range.first && at < (uintptr_t)range.end;
}

void *tiny_malloc(size_t size)
{
    if (size > TINY_BYTES) {
        return malloc(size);
    }
    if (!range.was_asked) {
        make_range();
    }
    union item *item = range.freed;
    if (item != NULL) {
        range.freed = item->next;
        return item;
    }
    return range.unused != range.end ? range.unused++ : malloc(size);
}

void *tiny_realloc(void *item, size_t size)
{
    if (item == NULL) {
        return tiny_malloc(size);
    }
    if (!is_tiny(item)) {
        return realloc(item, size);
    }
    if (size <= TINY_BYTES) {
        return item;
    }
    void *larger = malloc(size);
    if (larger != NULL) {
        memcpy(larger, item, TINY_BYTES);
        tiny_free(item);
    }
    return larger;
}

void tiny_free(void *item)
{
    if (!is_tiny(item)) {
        free(item);
        return;
    }
    union item *freed = item;
    freed->next = range.freed;
    range.freed = freed;
}
