/*
 * Pooled buffers for what a slow peer has not taken yet: three sizes, each from a slab, chosen to
 * fit the rest of one read; and the bound on all of them. Private to src/proxy.
 */
#ifndef SLUICE_PROXY_BUFFER_H
#define SLUICE_PROXY_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proxy;

/* In the place of a size: the bytes are in a pipe (splice.h), whose owner is another; or were taken
 * out of one (buffer_read()). */
#define BUFFER_PIPE UINT32_MAX
#define BUFFER_READ (UINT32_MAX - 1)

struct buffer {
    uint32_t at, end; /* unsent: bytes[at..end) */
    uint32_t slab;    /* which size */
    unsigned char bytes[];
};

void buffer_init(struct proxy *proxy);
void buffer_fini(struct proxy *proxy);
/* Copies n bytes (1 to FRAMER_ROOM_BYTES). NULL without memory. */
struct buffer *buffer_hold(struct proxy *proxy, const unsigned char *bytes, size_t n);
/* Reads n bytes, which are there, out of the pipe fd. NULL without memory, or if it fails. */
struct buffer *buffer_read(struct proxy *proxy, int fd, uint32_t n);
void buffer_free(struct proxy *proxy, struct buffer *buffer); /* NULL and pipes: nothing is done */

/*
 * buffer_memory bounds what all workers hold together. What was read is always kept; so the bound
 * is held to by not reading what may have to be kept: throttle.h. It counts as used up while there
 * would not be room for one read of every worker, or only half of it is left, so that workers that
 * look at the same moment do not go beyond it together.
 */
void buffers_apply(struct proxy *proxy); /* after a new snapshot */
bool buffers_are_used_up(const struct proxy *proxy);
/* What was held at a peak goes back to the kernel; now and then. */
void buffers_trim(struct proxy *proxy);

/*
 * Bytes that are held in pipes count too. How many stay in one is only known once they are in it.
 * So a worker claims room before it fills one, which counts for all workers as if it were used; one
 * claim, for the largest filling, does for all its pipes, one after the other. None is made where
 * half of the memory is taken.
 */
/* Makes the claim one for n bytes, or for fewer; returns for how many, 0 for none. It stays until
 * it is used or given up. */
size_t buffer_claim(struct proxy *proxy, size_t n);
void buffer_give_up_claim(struct proxy *proxy);
/* So many bytes, which were claimed, stay in a pipe; negative: so many that did are gone. */
void buffer_count_piped(struct proxy *proxy, int64_t by);

#endif
