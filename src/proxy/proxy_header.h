/*
 * The PROXY header: the first bytes of a connection to a backend, which tell it who the client is.
 * Only writes; pure. In a worker.
 *
 * Source of both forms: "The PROXY protocol, versions 1 & 2", doc/proxy-protocol.txt of HAProxy,
 * sections 2.1 and 2.2.
 */
#ifndef SLUICE_PROXY_PROXY_HEADER_H
#define SLUICE_PROXY_PROXY_HEADER_H

#include <stddef.h>

#include "base/addr.h"
#include "sluice/snapshot.h"

/* The longest that is ever written: version 1 with two IPv6 addresses without a zero in them. */
#define PROXY_HEADER_MAX 104

/*
 * Writes the header for a client and the address that it connected to, either of which may be
 * ADDR_NONE. Returns its length, all of which should go out in one send; 0 with nothing written for
 * SEND_PROXY_OFF, and where room has no place for it.
 *
 * Both addresses are told in one family: IPv4 where both are, be it as IPv4 mapped into IPv6; else
 * IPv6, with IPv4 mapped into it. Where one of them is no IP address (clients of a Unix socket have
 * none), the header says so: version 1 UNKNOWN, version 2 LOCAL, which no receiver may turn away,
 * as it may a PROXY without addresses. The backend then takes us for its client.
 */
size_t proxy_header_write(enum send_proxy version, const struct addr_ip *client,
                          const struct addr_ip *destination, void *out, size_t room);

#endif
