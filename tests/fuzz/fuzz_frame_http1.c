/*
 * The framer http1, as fuzz_frame.h says. And of heads that are taken: rewritten they say the same
 * of the message, ask for what was written into them and for nothing else, and fit.
 */
#include <string.h>

#include "frame/http1_head.h"
#include "fuzz_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

typedef enum http1_fault (*read_call)(struct http1_head *out_head, const unsigned char *bytes,
                                      size_t n);

static void check_rewritten(read_call read, const unsigned char *bytes, size_t n)
{
    struct http1_scan scan = {0}, again = {0};
    struct http1_head head, other;
    unsigned char *room;
    size_t whole, used;

    if (http1_scan_head(&scan, bytes, n < FRAMER_HOLD_MAX ? n : FRAMER_HOLD_MAX, 0, &whole) !=
            HTTP1_FINE ||
        whole == 0 || read(&head, bytes, whole) != HTTP1_FINE) {
        return;
    }
    room = malloc(FRAMER_ROOM_BYTES);
    expect(room != NULL);
    used = http1_rewrite(&head, "keep-alive", false, room);
    expect(used <= FRAMER_ROOM_BYTES);
    expect(http1_scan_head(&again, room, used, 0, &whole) == HTTP1_FINE && whole == used);
    /* A host, a length or a coding cannot be named away. */
    expect(read(&other, room, used) == HTTP1_FINE);
    expect(other.options == HTTP1_KEEP_ALIVE && !other.has_proxy_connection);
    expect(other.is_1_0 == head.is_1_0 && other.status == head.status);
    expect(other.is_head == head.is_head && other.is_safe == head.is_safe);
    expect(other.has_length == head.has_length && other.length == head.length);
    expect(other.is_chunked == head.is_chunked && other.n_hosts == head.n_hosts);
    expect(!other.has_upgrade || (head.options & HTTP1_UPGRADE) == 0);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FUZZ_FRAME_HEAD) {
        check_rewritten(http1_read_request, data + FUZZ_FRAME_HEAD, size - FUZZ_FRAME_HEAD);
        check_rewritten(http1_read_reply, data + FUZZ_FRAME_HEAD, size - FUZZ_FRAME_HEAD);
    }
    return fuzz_frame(&framer_http1, data, size);
}
