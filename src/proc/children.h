/* What the files of master's children know of each other. In master. */
#ifndef SLUICE_PROC_CHILDREN_H
#define SLUICE_PROC_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>

struct child;

bool child_is_monitor(const struct child *child);

/* Sends one message with fd, which stays the caller's; -1: none. Returns 0: told, or nothing to
 * tell; -EAGAIN: later; other: the channel is broken, reaping will follow. */
int child_tell(struct child *child, uint32_t type, uint32_t number, int fd);
/* Tells it whatever it lacks; the rest follows when its channel has room. */
void child_sync(struct child *child);
/* Acts on master's message, which came from the child with fd (owned from now on; -1: none). */
void child_heard(struct child *child, int fd);

#endif
