/*
 * What this worker sees of backends: failures in a row, counted for all workers in the scoreboard.
 * When there are enough of them the monitor is told, and judges. In a worker; private to src/proxy.
 *
 * A success makes the count 0. What a success is depends on what the pool counts as failures, or
 * one kind would hide another: with "reset" a session that ended in an orderly way, else with
 * "first_byte" an answer in time, else a connection.
 */
#ifndef SLUICE_PROXY_OUTLIER_H
#define SLUICE_PROXY_OUTLIER_H

#include "session.h"

/* After a new snapshot. */
void outlier_apply(struct proxy *proxy);

/* The session is being bound to a backend of the pool (index in the snapshot). */
void outlier_begin(struct session *s, uint32_t pool);
void outlier_connected(struct session *s);
void outlier_connect_failed(struct session *s);
/* The backend's first byte has come, answer_us after it was asked. */
void outlier_answered(struct session *s, uint64_t answer_us);
/* When the first byte is overdue (ms, monotonic); UINT64_MAX: nobody waits for it. */
uint64_t outlier_due_ms(const struct session *s);
/* Counts it if it is. */
void outlier_look(struct session *s);
/* A whole answer has come, and the backend is given up for now. */
void outlier_answer_complete(struct session *s);
/* An open session ends, still bound to its backend. */
void outlier_ended(struct session *s, enum ending reason);

#endif
