/*
 * A lazy hierarchical timer wheel: adding, removing and moving cost O(1), advancing costs the
 * number of entries due. Deadlines are rounded up to the next tick, so nothing fires early. Owners
 * note activity elsewhere and look again when an entry fires ("lazy"), instead of moving it for
 * every byte. Takes time as an argument. One owner, no locks.
 */
#ifndef SLUICE_BASE_WHEEL_H
#define SLUICE_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define WHEEL_TICK_MS 8
#define WHEEL_BITS    6 /* slots per level: 64 */
#define WHEEL_LEVELS  5 /* horizon: 64^5 ticks of 8 ms, 99 days; then it is looked at again */

struct wheel_entry {
    LIST_ENTRY(wheel_entry) link; /* le_prev NULL: not in a wheel (zeroed is idle) */
    uint64_t due_tick;
};

LIST_HEAD(wheel_list, wheel_entry);

struct wheel {
    uint64_t now_tick;  /* all entries due up to here have been taken out */
    uint64_t goal_tick; /* ahead of now_tick only while wheel_advance is on its way there */
    uint64_t count;
    uint64_t occupied[WHEEL_LEVELS]; /* bit per slot that may hold entries */
    struct wheel_list slots[WHEEL_LEVELS][1 << WHEEL_BITS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);
/* Adds, or moves if already in. */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t due_ms);
/* Removes; harmless when idle. */
void wheel_clear(struct wheel *wheel, struct wheel_entry *entry);
bool wheel_pending(const struct wheel_entry *entry);
/* Whether it is in and due by then, or a tick later. */
bool wheel_fires_by(const struct wheel_entry *entry, uint64_t ms);
/*
 * Calls fire for every entry due at now_ms, each already removed, in the order of their ticks; fire
 * may set or clear any, itself too, but not advance. What it sets never fires in the same call,
 * however early its deadline, so that advancing always ends. A now_ms in the past does nothing.
 */
typedef void wheel_fire_fn(struct wheel_entry *entry, void *arg);
void wheel_advance(struct wheel *wheel, uint64_t now_ms, wheel_fire_fn *fire, void *arg);
/* Milliseconds until something may be due (never later than the truth), UINT64_MAX when empty. */
uint64_t wheel_next_ms(const struct wheel *wheel, uint64_t now_ms);

#endif
