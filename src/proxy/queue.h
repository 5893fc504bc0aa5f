/* The queues of pools whose backends are all full. In a worker; private to src/proxy. */
#ifndef SLUICE_PROXY_QUEUE_H
#define SLUICE_PROXY_QUEUE_H

#include "session.h"

struct queue;

/* Lets a session wait for a place in the pool (index in the snapshot), in the order in which
 * sessions first came to wait. False: the pool has no queue, or no place in it. */
bool queue_enter(struct session *s, uint32_t pool_index);
/* Out of the line; its place in the queue's count stays, so that it can come back to it. */
void queue_leave(struct session *s);
/* Whether what it has tried in vain may be tried once more. */
bool queue_forgives(const struct session *s);
/* It has found a backend, or is over: its place is another's. */
void queue_give_place_back(struct session *s);
/* A place of the slot was given back: whoever waits longest is told. */
void queue_place_freed(struct proxy *proxy, uint32_t slot);
/* Once a turn: serves whom something has changed for. */
void queue_serve(struct proxy *proxy);
/* When queue_serve() has something to do by itself; UINT64_MAX: never. */
uint64_t queue_due_ms(const struct proxy *proxy);
/* After a new snapshot. */
void queue_find_use(struct proxy *proxy);
/* At the end, when nobody waits any more. */
void queue_free_all(struct proxy *proxy);

#endif
