/*
 * Where connections to backends come from: opening them, from the address with the most ports left,
 * and refusing before the kernel has to search long for one. Private to src/proxy.
 */
#ifndef SLUICE_PROXY_SOURCE_H
#define SLUICE_PROXY_SOURCE_H

#include "session.h"

/* Beside errnos: no address that the backend can be connected to from has a port left, or none is
 * on this machine. It is not the backend's fault. */
#define SOURCE_NO_PORT (-1)
/* The client has no address that this backend could be connected to from. */
#define SOURCE_NO_ADDRESS (-2)

/*
 * Opens leg's descriptor, which is -1, and connects it. Returns 0, EINPROGRESS, or what connect()
 * failed with, and the descriptor is the leg's in all three; or, without one, SOURCE_NO_PORT, which
 * is counted, or what socket() failed with: then *out_opened is false.
 */
int source_connect(struct proxy *proxy, struct leg *leg, const struct snapshot_backend *backend,
                   bool *out_opened);
/*
 * The same from the client's address, with a port of the kernel's choice: its own may be in use
 * towards another service of ours, and is nothing that a server should go by. Also
 * SOURCE_NO_ADDRESS: another family, a Unix socket, an address that means nothing beyond this
 * machine or its link. Never from another address: a backend that judges clients by theirs would be
 * deceived.
 */
int source_connect_as(struct proxy *proxy, struct leg *leg, const struct snapshot_backend *backend,
                      const struct addr_ip *client, bool *out_opened);
/* The leg's descriptor is closed, or about to be: its port is free. Harmless without. */
void source_release(struct proxy *proxy, struct leg *leg);
/* Whether none is left because we use so many, so that closing a connection there gives one. */
bool source_is_full(const struct proxy *proxy, const struct snapshot_backend *backend);
/* Whether so few ports are left that none should be used ahead of need. */
bool source_is_scarce(const struct proxy *proxy, const struct snapshot_backend *backend);

#endif
