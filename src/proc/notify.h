/*
 * Notify programs of pools: run for each notice that master sends, as the daemon's unprivileged
 * user, without waiting for any. Master (notices.c) sends no more than there are places, and keeps
 * each until its program has ended. In the monitor, on its event loop.
 *
 * A program finds what has happened in its environment (empty where it does not apply):
 *
 *   SLUICE_EVENT    up, down, ejected, back, pool_lost, pool_restored
 *   SLUICE_POOL     SLUICE_BACKEND, SLUICE_ADDRESS: names, and the address as the file has it
 *   SLUICE_FROM     SLUICE_TO: unknown, up, down, ejected; of a pool available, lost
 *   SLUICE_REASON   in words
 *   SLUICE_TIME     when it happened: 2026-01-31T23:59:59.123Z
 *
 * Several run at once, and pools go before their backends, so what happened later may be told
 * earlier: SLUICE_TIME has the order. What ran when a monitor died is run once more.
 */
#ifndef SLUICE_PROC_NOTIFY_H
#define SLUICE_PROC_NOTIFY_H

#include <event2/event.h>
#include <stdint.h>

#include "message.h"

#define NOTIFY_RUNNING_MAX 8
#define NOTIFY_LIMIT_MS    30000 /* a program that takes longer is killed */

struct notify;

/* The program for that notice has ended, or cannot be run; its place is free. Called from the event
 * loop or from notify_run(), as its last act. */
typedef void notify_done_fn(void *arg, uint32_t number);

/* limit_ms: NOTIFY_LIMIT_MS but in tests. NULL without memory. base outlives it. */
struct notify *notify_create(struct event_base *base, uint32_t limit_ms, notify_done_fn *done,
                             void *arg);
/* Kills what still runs. NULL is allowed. */
void notify_destroy(struct notify *notify);
/* Runs the program; without a free place the notice is dropped. Copied. */
void notify_run(struct notify *notify, uint32_t number, const struct message_notify *notice);

struct notify_stats {
    uint32_t running;
    uint64_t ran, failed, dropped; /* so far; failed are among those that ran */
};
struct notify_stats notify_stats(const struct notify *notify);

#endif
