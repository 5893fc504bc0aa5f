/*
 * What all fuzz targets of framers do: whatever a client and a backend send, and however their
 * bytes come in pieces, what is made of them is the same, and the contract of framer.h is kept
 * (frame_run() aborts where it is not).
 *
 * An input begins with the seed of the splitting, then bits: the backend ends behind its bytes,
 * upstreams fail, upstreams are fresh, and options (little endian; header included or handshakes
 * join the key; scripts; two bits of how long a length is), then in two bytes, low one first, how
 * many of the bytes that follow are the client's. The rest is the backend's.
 */
#ifndef SLUICE_TESTS_FUZZ_FRAME_H
#define SLUICE_TESTS_FUZZ_FRAME_H

#include <stdint.h>
#include <stdlib.h>

#include "../unit/frame_run.h"

#define FUZZ_FRAME_HEAD 4

static inline int fuzz_frame(const struct framer_ops *framer, const uint8_t *data, size_t size)
{
    if (size < FUZZ_FRAME_HEAD) {
        return 0;
    }
    const struct framer_options options = {
        .length_little_endian = data[1] & 8,
        .length_includes_header = data[1] & 16,
        .handshake_key = data[1] & 16,
        .scripts = data[1] & 32,
        .length_bytes = 1U << (data[1] >> 6),
    };
    size_t n = size - FUZZ_FRAME_HEAD, n_client = data[2] | (size_t)data[3] << 8;
    n_client = n_client < n ? n_client : n;
    const struct frame_input input = {
        .client = data + FUZZ_FRAME_HEAD,
        .n_client = n_client,
        .backend = data + FUZZ_FRAME_HEAD + n_client,
        .n_backend = n - n_client,
        .backend_ends = data[1] & 1,
        .again = data[1] & 2,
        .fresh = data[1] & 4,
        .seed = data[0],
    };
    if (!frame_run_alike(framer, &options, &input, 2)) {
        abort();
    }
    return 0;
}

#endif
