/*
 * What changed or was refused, when, by whom and why: a ring of the last EVENTS_MAX in master, with
 * those of earlier daemons in it where they are kept.
 * Every state change an operator may ask about goes through events_add.
 */
#ifndef SLUICE_CTL_EVENTS_H
#define SLUICE_CTL_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define EVENTS_MAX 2000

/* Of all events that this version writes; ends with NULL. */
extern const char *const event_kinds[];

struct events;

struct event_record {
    uint64_t id; /* from 1, never reused */
    uint64_t wall_ms;
    uint64_t mono_ms; /* 0: of an earlier daemon, whose clock means nothing here */
    const char *kind; /* one of event_kinds, or an earlier version's */
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
/* The same of an earlier daemon: keeps its id and times, and is not handed to the sink. Ids that do
 * not rise are dropped. */
void events_restore(struct events *events, const struct event_record *record);
/* Is handed each event once it is added, until the next one; for keeping it elsewhere. */
typedef void events_sink_fn(void *arg, const struct event_record *record);
void events_set_sink(struct events *events, events_sink_fn *sink, void *arg);
size_t events_count(const struct events *events);
/* index, below events_count, 0 is the oldest kept. Valid until the next events_add. */
const struct event_record *events_get(const struct events *events, size_t index);

/* An event as a line of JSON, without its end. */
void events_format(const struct event_record *record, struct str *out);
/* Restores the event that such a line holds. False where it holds none. */
bool events_restore_line(struct events *events, const char *line, size_t len);

#endif
