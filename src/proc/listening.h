/* Opening one listening socket, as a service wants it. In master. */
#ifndef SLUICE_PROC_LISTENING_H
#define SLUICE_PROC_LISTENING_H

#include <stdbool.h>

#include "base/addr.h"
#include "base/str.h"
#include "model/model.h"

/*
 * Opens one TCP listener. The first of a group binds without SO_REUSEPORT, so that an address that
 * another daemon listens on is refused instead of silently shared; it joins its group afterwards.
 * listens: else it is only bound. Returns a descriptor or -errno.
 */
int listening_open_tcp(const struct addr *address, bool first, bool listens,
                       const struct model_service *service);
/* Opens one on a Unix socket path, which may have been left over. Returns likewise. */
int listening_open_unix(const struct addr *address, const struct model_service *service);
/* One socket that is no service's and in no group, the caller's own. Returns it or -errno;
 * *out_bound has the port that the kernel chose. */
int listening_open_single(const struct addr *address, uint32_t backlog, struct addr *out_bound);
/* Appends what to do where the address could not be opened with that errno. */
void listening_advise(const struct addr *address, int error, struct str *out);
/* Where a socket of IP listens; of another family: as the kernel knows it. */
void listening_read_address(int fd, struct addr *out);
/* Options that accepted sockets inherit, and that a reload may change. */
void listening_set_options(int fd, const struct addr *address, const struct model_service *service);

#endif
