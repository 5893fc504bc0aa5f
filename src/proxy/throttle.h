/*
 * What becomes of bytes for a slow peer while buffer_memory is used up: they stay with their
 * sender. Private to src/proxy.
 */
#ifndef SLUICE_PROXY_THROTTLE_H
#define SLUICE_PROXY_THROTTLE_H

#include "session.h"

/* One read of from, passed on to to as far as it goes, of which the rest stays unread: to is
 * starved then. False: the session is over. */
bool throttle_move(struct session *s, struct leg *from, struct leg *to, size_t *budget);
/* Whether nothing is to be read for to: it takes no more now, and what it does not take could not
 * be kept. Its next event of being writable makes an end of that; it must be registered. */
bool throttle_holds_back(struct session *s, struct leg *to);
/* How much may be read into the scratch buffer behind n bytes, where all of it may have to be kept.
 */
size_t throttle_room(const struct proxy *proxy, size_t n);

#endif
