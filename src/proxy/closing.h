/*
 * Sessions that are closed by command, paced: proxy_close() begins it. Private to src/proxy.
 */
#ifndef SLUICE_PROXY_CLOSING_H
#define SLUICE_PROXY_CLOSING_H

#include "session.h"

void closing_init(struct proxy *proxy);
void closing_fini(struct proxy *proxy); /* after all sessions are gone */
/* Once a turn: ends those that are due. */
void closing_work(struct proxy *proxy);
/* There is a new snapshot, in place of old (NULL: the first): what commands about a backend are still
 * to close goes on where that backend is ready again. */
void closing_apply(struct proxy *proxy, const struct snapshot_header *old);
/* The session ends, however: it is nobody's to close any more. Harmless on others. */
void closing_forget(struct session *s);

#endif
