/* Owns the pools of buffers for slow peers. In a worker. */
#include "buffer.h"

#include <stdatomic.h>
#include <string.h>

#include "session.h"

#define ARENA_BYTES (512 * 1024)

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

static void note_held(struct proxy *proxy, int64_t by)
{
    scoreboard_bump(&proxy->row->buffered_bytes, (uint64_t)by);
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
    note_held(proxy, (int64_t)capacities[fit]);
    return buffer;
}

void buffer_free(struct proxy *proxy, struct buffer *buffer)
{
    if (buffer != NULL) {
        note_held(proxy, -(int64_t)capacities[buffer->slab]);
        slab_free(&proxy->buffer_slabs[buffer->slab], buffer);
    }
}
