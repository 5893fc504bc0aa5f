/*
 * What changed or was refused, when, by whom and why: a ring of the last EVENTS_MAX in master.
 * Every state change an operator may ask about goes through events_add.
 */
#ifndef SLUICE_CTL_EVENTS_H
#define SLUICE_CTL_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#define EVENTS_MAX 2000

struct events;

struct event_record {
    uint64_t id; /* from 1, never reused */
    uint64_t wall_ms;
    uint64_t mono_ms;
    const char *kind; /* "health", "pool", "service", "admin", "reload", "refused", "worker" … */
    const char *pool; /* "" where it is about none */
    const char *backend; /* "" likewise */
    const char *text;    /* what happened: "up -> down: connect refused" */
    const char *by;      /* "monitor", "uid 0 (login 1000) pid 42", "signal", "master" */
    const char *why;     /* "" when not said */
};

struct events *events_create(void);         /* NULL without memory */
void events_destroy(struct events *events); /* NULL is allowed */
/*
 * Copies; NULL texts count as "". Each text is cut at 500 bytes. The record's id is ignored and
 * given here; a wall_ms or mono_ms of 0 becomes now. Without memory the event is dropped.
 */
void events_add(struct events *events, const struct event_record *record);
size_t events_count(const struct events *events);
/* index, below events_count, 0 is the oldest kept. Valid until the next events_add. */
const struct event_record *events_get(const struct events *events, size_t index);

#endif
