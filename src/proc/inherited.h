/*
 * What came with the process: listening sockets, in the way of systemd (LISTEN_FDS), be they from a
 * socket unit, from its descriptor store or from the daemon that this one takes over from; and the
 * things that only the latter gives. In main, then in master.
 */
#ifndef SLUICE_PROC_INHERITED_H
#define SLUICE_PROC_INHERITED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

/* "CHANNEL,HANDOVER,STDERR": numbers of descriptors, from a daemon to its successor. */
#define INHERITED_UPGRADE_VARIABLE "SLUICE_UPGRADE"
#define INHERITED_FIRST            3 /* number of the first socket, by systemd's rule */

#define INHERITED_SAME     '=' /* a name: the one before it again; long lists must be short */
#define INHERITED_NAME_MAX 256 /* of a socket in the descriptor store, with its NUL */

struct inherited;

/* Takes it all from the environment, which says nothing of it afterwards. Never NULL but without
 * memory. */
struct inherited *inherited_read(void);
/* Closes what nobody took. NULL is allowed. */
void inherited_free(struct inherited *inherited);

int inherited_channel(const struct inherited *inherited); /* to look at only; -1: none */
/* The socketpair to the predecessor, and the memory that holds what it hands over; the caller's
 * from now on. -1: there is none. */
int inherited_take_channel(struct inherited *inherited);
int inherited_take_handover(struct inherited *inherited);
/* Until the configuration has been read, what is said to standard error is for the predecessor,
 * which waits for a reason; afterwards it goes where the predecessor's goes. */
void inherited_restore_stderr(struct inherited *inherited);

/*
 * Takes the sockets that listen on address, which are the caller's then; with port 0 those of this
 * name. Each socket once, at most max. NULL has none. *out_is_ours: their file, if they have one,
 * is removed by whoever ends listening, since no socket unit made it. Returns how many.
 */
size_t inherited_take(struct inherited *inherited, const struct addr *address, const char *name,
                      int *out_fds, size_t max, bool *out_is_ours);
/* The address of a socket that nobody has taken: index from 0; false at the end. */
bool inherited_left(const struct inherited *inherited, size_t index, struct addr *out);

#endif
