/*
 * What a check says first where the sessions of its pool begin with a PROXY header: that nobody is
 * behind this connection but the balancer itself, which a server then takes for its client and has
 * no other client to log. In the monitor.
 */
#ifndef SLUICE_CHECK_PREAMBLE_H
#define SLUICE_CHECK_PREAMBLE_H

#include "sluice/snapshot.h"

/* Says it, as the first bytes of a connection that is established; nothing for SEND_PROXY_OFF.
 * Returns 0, or the errno of a connection that is broken already. */
int preamble_send(int fd, enum send_proxy version);

#endif
