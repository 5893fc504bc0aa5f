/*
 * Splicing: bulk flows pass through a pipe inside the kernel instead of through the scratch buffer.
 * The relay asks for it direction by direction, after SPLICE_AFTER full reads in a row; a direction
 * gives its pipe back after short reads, after a pause, and at the session's end. Private to
 * src/proxy.
 *
 * A pipe with bytes in it is what the receiving leg holds (leg.pending, as BUFFER_PIPE), and is
 * treated as any such bytes: nothing is read before they are gone, and no end passed on. So a pipe
 * is always empty when it is filled, and EAGAIN then says that the socket is, or that urgent bytes
 * come next, never that the pipe is full.
 */
#ifndef SLUICE_PROXY_SPLICE_H
#define SLUICE_PROXY_SPLICE_H

#include <sys/types.h>

#include "session.h"

#define SPLICE_AFTER 4 /* full reads; fits leg.full_reads */

void splice_init(struct proxy *proxy);
void splice_fini(struct proxy *proxy); /* after all sessions are gone */

/* A pipe for what from sends, empty, now that to holds nothing, with room in buffer_memory for what
 * would stay in it; NULL: the bytes are to be copied, and from->full_reads begins anew. */
struct pipe *splice_pipe(struct session *s, struct leg *from);
/* One read of at most n bytes into the pipe, which to holds then. Returns as recv() does. */
ssize_t splice_fill(struct pipe *pipe, struct leg *from, struct leg *to, size_t n);
/* After splice_fill() returned below 0: whether only splicing is at fault, and the direction goes
 * on by copying, for good where its sockets are the reason. The pipe is gone then. */
bool splice_gives_way(struct pipe *pipe, int error);
/* Writes what a pipe holds; the rest counts as held for a slow peer. Returns as send() does. */
ssize_t splice_drain(struct buffer *held, int fd);
/* The same after splice_drain(), of the pipe that to holds; what was in it is in a buffer that to
 * holds in its place. */
bool splice_takes_back(struct leg *to, int error);

/* Gives the session's pipes back, but for those with bytes in them, and lets its sockets be as they
 * were: before its upstream may become somebody else's. */
void splice_stop(struct session *s);
/* At its end: all of them, and no leg holds one any more. */
void splice_end(struct session *s);
/* Whether bytes to the backend, or to the client, are spliced now. */
bool splice_is_used(const struct session *s, bool to_client);

/* Once a turn: pauses. */
void splice_work(struct proxy *proxy);
/* When splice_work() is due without an event; UINT64_MAX: not. */
uint64_t splice_due_ms(const struct proxy *proxy);

#endif
