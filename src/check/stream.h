/*
 * A connection that a check talks over: connect, TLS where wanted, bytes out, bytes in, all
 * bounded. On libevent's bufferevents. In the monitor.
 *
 *   connecting ──► handshake (TLS) ──► open ──► lingering ──► over
 *       └───────────────┴─────────────── STREAM_ERROR ─────────▲
 */
#ifndef SLUICE_CHECK_STREAM_H
#define SLUICE_CHECK_STREAM_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "sluice/snapshot.h"

struct check_stream;

enum stream_event {
    STREAM_OPEN, /* connected, TLS done: now bytes may be sent */
    STREAM_DATA, /* more input has come; not all of it need be taken */
    STREAM_END,  /* the peer has ended in an orderly way; what is in the input stays */
    STREAM_ERROR /* reason says what: "connect refused", "connection reset", "TLS: …" */
};

/* May close the stream. reason only for STREAM_ERROR, valid during the call. */
typedef void stream_fn(void *arg, enum stream_event event, const char *reason);

struct stream_options {
    const struct addr *address;
    enum send_proxy send_proxy; /* what it begins with, before TLS too */
    const char *source;         /* local address to connect from; NULL: the kernel's choice */
    size_t input_max;        /* bytes: beyond that the peer is not read until some are taken; over
                              * TLS it may be up to one record (16 KiB) more */
    bool tls;                /* over TLS 1.2 or newer */
    bool verify;             /* whether the certificate must be valid, and for server_name if set */
    const char *server_name; /* sent as SNI unless it is an IP address; NULL: none */
};

/*
 * Opens one. The first event comes from the loop, never before the return. Returns 0 with *out, or
 * -errno when it could not be tried for want of something of our own; what is wrong with the
 * backend comes as STREAM_ERROR. Strings of options need not live longer than the call.
 */
int stream_open(struct event_base *base, const struct stream_options *options, stream_fn *fn,
                void *arg, struct check_stream **out);
/* Whether the peer's host has taken the connection: what is still awaited then is TLS, or its word.
 */
bool stream_is_connected(const struct check_stream *stream);
/* Queues bytes; once STREAM_OPEN has come. 0 or -ENOMEM. */
int stream_send(struct check_stream *stream, const void *bytes, size_t n);
/* What has come and was not taken (drained) yet; once STREAM_OPEN has come. */
struct evbuffer *stream_input(struct check_stream *stream);
/*
 * The talk is over, but the peer's end is awaited, so that the connection is not torn down under
 * it: what was queued goes out, with half_close (not over TLS) followed by our own end, and input
 * is dropped. One more event comes: STREAM_END, or STREAM_ERROR when max_ms are over before, the
 * peer says too much, or the connection breaks. 0, or -ENOMEM with nothing changed.
 */
int stream_linger(struct check_stream *stream, bool half_close, uint32_t max_ms);
/* Lets go of it; may be called from its own callback. clean: the peer has said all it had to, so it
 * gets an orderly end; else a reset, which leaves nothing behind here. NULL is allowed. */
void stream_close(struct check_stream *stream, bool clean);

/* Makes a socket connect from an address, "192.0.2.7"; NULL: from any. 0 or an errno. */
int stream_bind(int fd, const char *source);
/* "connect refused" and the like, for any errno of a socket. */
const char *stream_error_text(int error);
/* Whether an error of opening a connection says something about us and nothing about the backend.
 */
bool stream_error_is_ours(int error, const struct addr *address);
/* Whether a connection towards address has met itself: so can a connect to a local port of the
 * ephemeral range where nobody listens. It is as good as refused. */
bool stream_meets_itself(int fd, const struct addr *address);

#endif
