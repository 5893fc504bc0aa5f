/*
 * The log of sessions: one line for each one that has ended, as far as its service's session_log
 * wants it. Private to src/proxy.
 */
#ifndef SLUICE_PROXY_SESSION_LOG_H
#define SLUICE_PROXY_SESSION_LOG_H

#include "session.h"

struct session_logger *session_log_create(void); /* NULL without memory */
void session_log_destroy(struct session_logger *log);
/* After a new snapshot: what its services want, and the names of its backends. */
void session_log_apply(struct proxy *proxy);
/* A backend is connected: notes what its line is to say of that. */
void session_log_connected(struct session *s);
/* s is about to be released, and counted in counter, of its service's refused_by or ended_by. */
void session_log_ended(const struct session *s, const _Atomic uint64_t *counter);
/* A client that came to no session. peer NULL: not known. */
void session_log_turned_away(struct proxy *proxy, uint32_t service_row, const struct addr_ip *peer,
                             enum refusal reason);

#endif
