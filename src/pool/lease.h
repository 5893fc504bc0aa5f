/*
 * Leases: which backend a client keeps (persistence), the same for all workers and in every
 * generation. A bounded table in shared memory, eight places to a set, changed by compare-and-swap
 * only; no process can hold another up, and what a dead one left ends by itself.
 *
 * A lease counts the sessions that use it. It holds while there are any, as long as they renew it
 * (every LEASE_RENEW_MS, or a crashed worker's would never end), and after the last one until its
 * end. When a set is full the lease without sessions that would end first goes; when all have
 * sessions, a new client gets none and is counted (header.leases_refused).
 *
 * Exact but for this: a client whose first two sessions come to two workers within the same
 * microsecond may have them on two backends, and is on one of them from the next session on; a
 * client with more than 65,534 sessions at a time is held until LEASE_HOLD_MS after the last
 * renewal instead of the end. Times are good to LEASE_UNIT_MS.
 *
 * In workers, but for lease_find(), which anyone may call. Pure: time comes as an argument.
 */
#ifndef SLUICE_POOL_LEASE_H
#define SLUICE_POOL_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/scoreboard.h"

#define LEASE_UNIT_MS  64
#define LEASE_RENEW_MS 30000 /* sessions renew this often … */
#define LEASE_HOLD_MS  90000 /* … and one that was not renewed for so long has none any more */

/* A session's part in a lease; all-zero: none. 8 bytes, kept per session. */
struct lease_hold {
    uint32_t place; /* in the table, plus one */
    uint32_t tag;   /* of its key: the place may have been given to another */
};

struct lease_info {
    uint32_t row;      /* of the backend */
    uint32_t sessions; /* that hold it now */
    uint64_t ends_ms;  /* without sessions; while there are some, not before this */
};

/* key is a keyed hash of who is meant (service and client under its mask); 0 counts as 1. */

/* The lease of key, if it holds at now_ms. */
bool lease_find(const struct scoreboard *sb, uint64_t key, uint64_t now_ms, struct lease_info *out);
/*
 * A session of key begins on the backend of row: makes, moves or joins the lease. False when there
 * is no place; *out is all-zero then. *out must be given back with lease_release() by the same row.
 */
bool lease_take(struct scoreboard *sb, uint64_t key, uint32_t row, uint64_t now_ms,
                struct lease_hold *out);
/* The session lives. */
void lease_renew(struct scoreboard *sb, const struct lease_hold *hold, uint32_t row,
                 uint64_t now_ms);
/* The session has ended; the lease holds keep_ms longer. Nothing when it has moved to another
 * backend meanwhile. *hold becomes all-zero; all-zero is allowed. */
void lease_release(struct scoreboard *sb, struct lease_hold *hold, uint32_t row, uint64_t now_ms,
                   uint64_t keep_ms);
/*
 * A lease without sessions, which lasts keep_ms from now: what a cache of choices is made of
 * (lblc). Makes or moves it, or only makes it last. False when there is no place.
 */
bool lease_put(struct scoreboard *sb, uint64_t key, uint32_t row, uint64_t now_ms,
               uint64_t keep_ms);
/* Forgets it. */
void lease_drop(struct scoreboard *sb, uint64_t key);

#endif
