/* Owns the pools of buffers for slow peers, and this worker's part of the memory for them. In a
 * worker. */
#include "buffer.h"

#include <stdatomic.h>
#include <string.h>

#include "session.h"

#define ARENA_BYTES (512 * 1024)

#define READ_PARTS 2    /* the largest buffer fits */
#define TRIM_MAX   1024 /* items at a time: a system call for each */

_Static_assert(FRAMER_ROOM_BYTES <= READ_PARTS * SB_BUFFER_PART_BYTES, "what a read may add");

static const size_t capacities[3] = {4096, 16384, FRAMER_ROOM_BYTES};

void buffer_init(struct proxy *proxy)
{
    for (size_t i = 0; i < 3; i++) {
        slab_init(&proxy->buffer_slabs[i], sizeof(struct buffer) + capacities[i], ARENA_BYTES);
    }
}

void buffer_fini(struct proxy *proxy)
{
    for (size_t i = 0; i < 3; i++) {
        slab_fini(&proxy->buffer_slabs[i]);
    }
}

void buffers_apply(struct proxy *proxy)
{
    uint64_t limit = proxy->snapshot->buffer_bytes / SB_BUFFER_PART_BYTES;
    uint64_t margin = (uint64_t)READ_PARTS * proxy->sb->header->n_workers;
    margin = margin < limit / 2 ? margin : limit / 2;
    proxy->buffer_parts_max = limit == 0 ? UINT32_MAX : (uint32_t)(limit - margin);
}

bool buffers_are_used_up(const struct proxy *proxy)
{
    return atomic_load_explicit(&proxy->sb->header->buffer_parts, memory_order_relaxed) >
           proxy->buffer_parts_max;
}

/* The worker's own count is exact; of the shared one it has as many whole parts as that needs. */
void buffer_count(struct proxy *proxy, int64_t by)
{
    scoreboard_bump(&proxy->row->buffered_bytes, (uint64_t)by);
    uint64_t held = atomic_load_explicit(&proxy->row->buffered_bytes, memory_order_relaxed);
    uint64_t wanted = (held + SB_BUFFER_PART_BYTES - 1) / SB_BUFFER_PART_BYTES;
    uint64_t parts = atomic_load_explicit(&proxy->row->buffer_parts, memory_order_relaxed);
    for (; parts < wanted; parts++) {
        (void)scoreboard_reserve(proxy->sb, proxy->worker, SB_BUFFER, 0, 0);
    }
    for (; parts > wanted; parts--) {
        scoreboard_release(proxy->sb, proxy->worker, SB_BUFFER, 0);
    }
}

void buffers_trim(struct proxy *proxy)
{
    for (size_t i = 1; i < 3; i++) { /* the smallest fill no page */
        (void)slab_trim(&proxy->buffer_slabs[i], TRIM_MAX);
    }
}

struct buffer *buffer_hold(struct proxy *proxy, const unsigned char *bytes, size_t n)
{
    uint32_t fit = 0;
    while (capacities[fit] < n) {
        fit++;
    }
    struct buffer *buffer = slab_alloc(&proxy->buffer_slabs[fit]);
    if (buffer == NULL) {
        return NULL;
    }
    buffer->at = 0;
    buffer->end = (uint32_t)n;
    buffer->slab = fit;
    memcpy(buffer->bytes, bytes, n);
    buffer_count(proxy, (int64_t)capacities[fit]);
    return buffer;
}

void buffer_free(struct proxy *proxy, struct buffer *buffer)
{
    if (buffer != NULL && buffer->slab != BUFFER_PIPE) {
        buffer_count(proxy, -(int64_t)capacities[buffer->slab]);
        slab_free(&proxy->buffer_slabs[buffer->slab], buffer);
    }
}
