/* Names that backends ask for, looked up by the monitor, and told to master. In the monitor. */
#ifndef SLUICE_PROC_NAME_WATCH_H
#define SLUICE_PROC_NAME_WATCH_H

#include <event2/event.h>

struct name_watch;

/* channel, to master, and base outlive it. NULL without memory. */
struct name_watch *name_watch_create(struct event_base *base, int channel);
void name_watch_destroy(struct name_watch *watch); /* NULL is allowed */
/* A MESSAGE_NAMES has come: the names of list (owned from now on) are those to be watched. */
void name_watch_take(struct name_watch *watch, int list);

#endif
