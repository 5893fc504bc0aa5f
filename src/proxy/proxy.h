/*
 * The user-space data path of one worker: accepts clients, chooses backends, relays bytes,
 * accounts. In a worker, on its event base; one owner, no threads. The worker's turn is
 *
 *     event_base_loop(one round; without waiting while proxy_busy())
 *     proxy_begin_work(), and messages from master (proxy_apply, proxy_add_listener, …)
 *     proxy_turn()
 */
#ifndef SLUICE_PROXY_PROXY_H
#define SLUICE_PROXY_PROXY_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/explanation.h"
#include "sluice/scoreboard.h"
#include "sluice/session_info.h"
#include "sluice/snapshot.h"

struct proxy;

/* base, sb and wakes outlive it. worker is this process's number; wakes are the eventfds that wake
 * each worker and, last, the monitor (NULL: there is only this one). NULL without memory. */
struct proxy *proxy_create(struct event_base *base, struct scoreboard *sb, uint32_t worker,
                           const int *wakes);
/* Closes everything at once: every session ends as ENDING_DRAIN_DEADLINE. */
void proxy_destroy(struct proxy *proxy); /* NULL is allowed */

/*
 * Takes over a snapshot (from snapshot_map(); owned from now on, also on failure). Sessions go on
 * untouched; listeners that it no longer names are emptied and closed. Returns 0 or -ENOMEM with
 * the old snapshot still in force.
 */
int proxy_apply(struct proxy *proxy, const struct snapshot_header *snapshot);
/* What the worker does from now on counts as part of the turn (sb_worker.loop_lag_us), even if no
 * callback of the proxy's has run in it. */
void proxy_begin_work(struct proxy *proxy);
/* Starts accepting from fd (owned from now on), the listener of that id in the snapshot. Returns 0,
 * -ENOENT when the snapshot does not name it, -EEXIST, or -ENOMEM (fd is closed). */
int proxy_add_listener(struct proxy *proxy, uint32_t id, int fd);

/* Stops accepting: takes what waits in the queues, then closes the listeners. Sessions go on until
 * they end, or until deadline_ms (monotonic; UINT64_MAX: none). */
void proxy_drain(struct proxy *proxy, uint64_t deadline_ms);

/* Work left over that must not wait for the next event. */
bool proxy_busy(const struct proxy *proxy);
/* Left-over work, timers, waiting sessions, and the end of what died this turn. Returns the time
 * at its end (monotonic ms), so that nobody has to ask again. */
uint64_t proxy_turn(struct proxy *proxy);
/* Milliseconds from now_ms until proxy_turn() is needed even without an event; UINT64_MAX: not
 * before one. */
uint64_t proxy_next_ms(const struct proxy *proxy, uint64_t now_ms);
size_t proxy_sessions(const struct proxy *proxy);

/* Somebody has written this worker's eventfd: places may have become free. */
void proxy_woken(struct proxy *proxy);

/* Answers which backend a client would get; nothing is changed by it. */
void proxy_explain(struct proxy *proxy, const struct explanation_question *question,
                   struct explanation *out);

/* Now and then: begins the measuring of the longest turn (sb_worker.loop_lag_us) anew, and gives
 * memory back. */
void proxy_beat(struct proxy *proxy);

/* Fills out with sessions younger than after_id (0: all), oldest first: at most filter->limit and
 * at most max. Returns how many. */
size_t proxy_list(const struct proxy *proxy, const struct session_filter *filter, uint64_t after_id,
                  struct session_info *out, size_t max);

/* Closes the sessions that are there and match, evenly over the time until the deadline, whoever is
 * idle for longest first, and a bounded number a turn; what begins later is none of them. One that
 * is to be closed already goes at the sooner of the two ends. What is about a backend spares whoever
 * is no longer there when it would be his turn, and ends with the snapshot in which that backend is
 * ready again. */
void proxy_close(struct proxy *proxy, const struct session_close *wanted,
                 struct session_closing *out);

#endif
