/* Owns the pools of buffers for slow peers, and this worker's part of the memory for them. In a
 * worker. */
#include "buffer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

#define ARENA_BYTES (512 * 1024)

#define READ_PARTS 2 /* the largest buffer fits */
/* Items at a time, up to a system call for each, and pages: 4 MiB, in about a millisecond. */
#define TRIM_MAX 1024

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

static uint32_t parts_of(uint64_t bytes)
{
    return (uint32_t)((bytes + SB_BUFFER_PART_BYTES - 1) / SB_BUFFER_PART_BYTES);
}

/* The worker's own count is exact; of the shared one it has as many whole parts as that needs, and
 * those that it has claimed. */
static void count(struct proxy *proxy, int64_t by)
{
    scoreboard_bump(&proxy->row->buffered_bytes, (uint64_t)by);
    uint64_t held = atomic_load_explicit(&proxy->row->buffered_bytes, memory_order_relaxed);
    uint32_t wanted = parts_of(held) + proxy->buffer_parts_claimed;
    uint32_t parts = atomic_load_explicit(&proxy->row->buffer_parts, memory_order_relaxed);
    for (; parts < wanted; parts++) {
        (void)scoreboard_reserve(proxy->sb, proxy->worker, SB_BUFFER, 0, 0);
    }
    for (; parts > wanted; parts--) {
        scoreboard_release(proxy->sb, proxy->worker, SB_BUFFER, 0);
    }
}

size_t buffer_claim(struct proxy *proxy, size_t n)
{
    uint32_t wanted = parts_of(n), limit = proxy->buffer_parts_max / 2;
    while (proxy->buffer_parts_claimed < wanted && limit > 0 &&
           scoreboard_reserve(proxy->sb, proxy->worker, SB_BUFFER, 0, limit)) {
        proxy->buffer_parts_claimed++;
    }
    size_t room = (size_t)proxy->buffer_parts_claimed * SB_BUFFER_PART_BYTES;
    return room < n ? room : n;
}

void buffer_give_up_claim(struct proxy *proxy)
{
    proxy->buffer_parts_claimed = 0;
    count(proxy, 0);
}

void buffer_count_piped(struct proxy *proxy, int64_t by)
{
    uint32_t used = by > 0 ? parts_of((uint64_t)by) : 0;
    uint32_t claimed = proxy->buffer_parts_claimed;
    proxy->buffer_parts_claimed -= used < claimed ? used : claimed;
    count(proxy, by);
}

/* A claim under the limit before may be none under the new one. */
void buffers_apply(struct proxy *proxy)
{
    uint64_t limit = proxy->snapshot->buffer_bytes / SB_BUFFER_PART_BYTES;
    uint64_t margin = (uint64_t)READ_PARTS * proxy->sb->header->n_workers;
    margin = margin < limit / 2 ? margin : limit / 2;
    proxy->buffer_parts_max = limit == 0 ? UINT32_MAX : (uint32_t)(limit - margin);
    buffer_give_up_claim(proxy);
}

bool buffers_are_used_up(const struct proxy *proxy)
{
    return atomic_load_explicit(&proxy->sb->header->buffer_parts, memory_order_relaxed) >
           proxy->buffer_parts_max;
}

void buffers_trim(struct proxy *proxy)
{
    for (size_t i = 0; i < 3; i++) {
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
    count(proxy, (int64_t)capacities[fit]);
    return buffer;
}

/* As rare as it is large: no slab has that size. */
struct buffer *buffer_read(struct proxy *proxy, int fd, uint32_t n)
{
    struct buffer *buffer = malloc(sizeof(*buffer) + n);
    if (buffer == NULL || read(fd, buffer->bytes, n) != (ssize_t)n) {
        free(buffer);
        return NULL;
    }
    *buffer = (struct buffer){.end = n, .slab = BUFFER_READ};
    count(proxy, n);
    return buffer;
}

void buffer_free(struct proxy *proxy, struct buffer *buffer)
{
    if (buffer == NULL || buffer->slab == BUFFER_PIPE) {
        return;
    }
    if (buffer->slab == BUFFER_READ) {
        count(proxy, -(int64_t)buffer->end);
        free(buffer);
        return;
    }
    count(proxy, -(int64_t)capacities[buffer->slab]);
    slab_free(&proxy->buffer_slabs[buffer->slab], buffer);
}
