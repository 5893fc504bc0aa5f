/*
 * Pooled buffers for what a slow peer has not taken yet: three sizes, each from a slab, chosen to
 * fit the rest of one read. Private to src/proxy.
 */
#ifndef SLUICE_PROXY_BUFFER_H
#define SLUICE_PROXY_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct proxy;

struct buffer {
    uint32_t at, end; /* unsent: bytes[at..end) */
    uint32_t slab;    /* which size */
    unsigned char bytes[];
};

void buffer_init(struct proxy *proxy);
void buffer_fini(struct proxy *proxy);
/* Copies n bytes (1 to FRAMER_ROOM_BYTES). NULL without memory. */
struct buffer *buffer_hold(struct proxy *proxy, const unsigned char *bytes, size_t n);
void buffer_free(struct proxy *proxy, struct buffer *buffer); /* NULL is allowed */

#endif
