/*
 * malloc() and its like for objects of at most 16 bytes without the 16 bytes of book-keeping that
 * malloc adds to each; larger ones are malloc's. For a library that makes many of them and lets the
 * allocator be replaced: libevent keeps 16 bytes for each descriptor that it ever had (struct
 * evmap_io in its evmap.c). Memory is not given back to the kernel. One for the whole process, not
 * thread-safe.
 */
#ifndef SLUICE_BASE_TINY_H
#define SLUICE_BASE_TINY_H

#include <stddef.h>

#define TINY_BYTES 16

/* NULL without memory; TINY_BYTES aligned. Of these three, pointers may also be malloc's. */
void *tiny_malloc(size_t size);
void *tiny_realloc(void *item, size_t size);
void tiny_free(void *item); /* NULL is allowed */

#endif
