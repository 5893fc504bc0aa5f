/*
 * Runs a framer over what a client and a backend send, as the proxy would, with any splitting of
 * the bytes, into a transcript: who was sent what, where messages begin and end, and what was said
 * of them. The same bytes must give the same transcript however they are split.
 */
#ifndef SLUICE_TESTS_FRAME_RUN_H
#define SLUICE_TESTS_FRAME_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/framer.h"

/* Everything that either side sends. Replies are taken in turn: the backend's bytes are offered
 * while a reply is awaited (early: also while a request is under way). */
struct frame_input {
    const void *client;
    size_t n_client;
    const void *backend;
    size_t n_backend;
    bool backend_ends; /* closes behind its bytes */
    bool fresh;        /* upstreams have shaken no hands: prepare() brings them to their keys, its
                          answers are among the backend's bytes. Else they come as they must be */
    bool again;        /* upstreams fail before they answer, where the request is retriable and they
                          need no preparing: how often they would is up to the splitting */
    uint64_t seed;     /* of the splitting; 0: all at once, 1: byte by byte, else random */
};

/* The transcript, for people and for comparing: lines such as
 *     request starts retriable key "" next ""
 *     to backend "GET / HTTP/1.1\r\n…"
 *     request ends
 *     to client "…"
 *     reply ends clean
 * Then also, from "…" being why: own "…", refuse "…", answered [closes], backend ends, reply ends
 * clean|not clean [pinned] [closes] [key "…"] [why "…"], prepare "…" and prepared clean|not clean,
 * and last, untaken of client (or backend) and how many bytes.
 * Pieces that follow each other to the same side are one line. A request goes to an upstream of its
 * own unless the reply before it was pinned. Where a reply has ended before its request, where the
 * client is refused, closed or owns its upstream, all ends; else when nothing can go on. The
 * harness checks the contract of framer.h (used and send within bounds, no HOLD of
 * FRAMER_HOLD_MAX, progress with every call) and aborts where it is broken. Static storage, valid
 * until the next call. */
const char *frame_run(const struct framer_ops *framer, const struct framer_options *options,
                      const struct frame_input *input);

/* All at once, byte by byte, and n random splittings give the same transcript. */
bool frame_run_alike(const struct framer_ops *framer, const struct framer_options *options,
                     const struct frame_input *input, unsigned n);

#endif
