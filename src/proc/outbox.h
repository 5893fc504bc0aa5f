/*
 * What waits to be told to the other end of a channel, because that end does not read just now. In
 * the monitor, for master: a master that is stopped or busy misses nothing, but what is beyond the
 * limit, and learns how much that was. On the monitor's event loop.
 */
#ifndef SLUICE_PROC_OUTBOX_H
#define SLUICE_PROC_OUTBOX_H

#include <event2/event.h>
#include <stdint.h>

#include "message.h"

struct outbox;

/* limit: how many of type MESSAGE_HEALTH may wait. base and channel outlive it. NULL without
 * memory. */
struct outbox *outbox_create(struct event_base *base, int channel, uint32_t limit);
/* What still waits is sent if that is possible at once. NULL is allowed. */
void outbox_destroy(struct outbox *outbox);
/*
 * Sends message now or when its turn comes, in the order of the calls. Copied; no descriptor goes
 * along. Of MESSAGE_HEALTH beyond the limit the oldest are kept, and the count of the others
 * follows as a MESSAGE_LOST. The other types are for what the other end has asked for, which is why
 * their number needs no limit.
 */
void outbox_send(struct outbox *outbox, const struct message *message);
/* The same for a type that uses nothing but number. */
void outbox_send_number(struct outbox *outbox, uint32_t type, uint32_t number);

#endif
