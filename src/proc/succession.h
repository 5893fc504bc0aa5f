/*
 * The younger side of an upgrade: this master takes over from another, and outlives it. Also what
 * came from a supervisor, and keeping listening sockets with it. In main, then in master.
 */
#ifndef SLUICE_PROC_SUCCESSION_H
#define SLUICE_PROC_SUCCESSION_H

#include "inherited.h"

struct master;

/* In main, first of all: takes what came, and tells a predecessor, if there is one, that this
 * program knows the way. The caller's; NULL without memory. */
struct inherited *succession_receive(void);

/* In master, before anything else. inherited is owned from now on, also on failure. Returns 0 or
 * -ENOMEM. */
int succession_create(struct master *master, struct inherited *inherited);
/* The set of listeners and the supervisor are there: joins them with what came. */
void succession_prepare(struct master *master);
/* Tells the predecessor that this daemon cannot start, if it still waits for that. */
void succession_fail(struct master *master);
void succession_destroy(struct master *master);

/* Whether a predecessor still serves, so that nothing of its may be touched. */
bool succession_is_waiting(const struct master *master);
/* The text of the state that a predecessor handed over; NULL: none. Not terminated. */
const char *succession_state(const struct master *master, size_t *out_len);
/* The first model is published, and no process was started yet. */
void succession_published(struct master *master);
/* A socket that listens there (with port 0: of that name), the caller's from now on; -1: none came.
 */
int succession_take(struct master *master, const struct addr *address, const char *name);
/* All processes are started. Without a predecessor the daemon serves from now on; else that is
 * waited for. False: it cannot serve. */
bool succession_begin(struct master *master);
/* To be called once a second. */
void succession_sweep(struct master *master);
/* This daemon stops: what is left of the predecessor is to end within ms. */
void succession_stop(struct master *master, uint64_t ms);
/* Whether a predecessor still drains; pid and sessions then. */
bool succession_is_shared(const struct master *master, pid_t *out_pid, uint32_t *out_sessions);

#endif
