/*
 * The hierarchical timer wheel. A wheel owns no entries, only the lists they hang in. Runs in every
 * process with an event loop.
 *
 * Ticks are read as numbers to the base 64. An entry hangs on the level of the highest digit in
 * which its tick differs from now_tick, in the slot of that digit. So the slot is always ahead of
 * now_tick's own digit on that level, every entry of a level is due before every entry of the
 * levels above, and slot S of level L matters next at the one tick whose digit L is S and whose
 * lower digits are 0: on level 0 its entries are due, above they move down. At any tick at most one
 * slot matters.
 *
 * The top level has no level above it and wraps: there a slot at or behind now_tick's digit belongs
 * to the next turn. Deadlines beyond the horizon hang in the last slot before it and are looked at
 * again there, so that even they never fire early.
 */
#include "wheel.h"

#include <assert.h>
#include <stddef.h>

#define SLOTS   (1U << WHEEL_BITS)
#define TOP     (WHEEL_LEVELS - 1)
#define HORIZON (UINT64_C(1) << (WHEEL_BITS * WHEEL_LEVELS))
#define NEVER   UINT64_MAX

_Static_assert(SLOTS == 64, "a level's slots are the bits of one word");

static unsigned digit_of(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (level * WHEEL_BITS)) & (SLOTS - 1);
}

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    wheel->now_tick = now_ms / WHEEL_TICK_MS;
    wheel->goal_tick = wheel->now_tick;
    wheel->count = 0;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            LIST_INIT(&wheel->slots[level][slot]);
        }
    }
}

bool wheel_pending(const struct wheel_entry *entry)
{
    return entry->link.le_prev != NULL;
}

bool wheel_fires_by(const struct wheel_entry *entry, uint64_t ms)
{
    return wheel_pending(entry) && entry->due_tick <= ms / WHEEL_TICK_MS + 1;
}

/* Hangs an entry whose due_tick is after now_tick where it belongs. */
static void place(struct wheel *wheel, struct wheel_entry *entry)
{
    uint64_t tick = entry->due_tick;
    unsigned level;
    unsigned slot;

    if (tick - wheel->now_tick >= HORIZON) {
        tick = wheel->now_tick + HORIZON - 1;
    }
    level = (63U - (unsigned)__builtin_clzll(tick ^ wheel->now_tick)) / WHEEL_BITS;
    level = level > TOP ? TOP : level;
    slot = digit_of(tick, level);
    LIST_INSERT_HEAD(&wheel->slots[level][slot], entry, link);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

/*
 * Takes an entry off whatever list it hangs in. If that empties a slot, the slot's bit goes too:
 * the only entry of a list points back at the list's head, and the head's address says which slot
 * it is, or that it is the list of those being fired.
 */
static void unhang(struct wheel *wheel, struct wheel_entry *entry)
{
    uintptr_t head = (uintptr_t)entry->link.le_prev;
    uintptr_t first = (uintptr_t)&wheel->slots[0][0];
    bool is_last = LIST_NEXT(entry, link) == NULL;

    LIST_REMOVE(entry, link);
    entry->link.le_prev = NULL;
    if (is_last && head >= first && head - first < sizeof(wheel->slots)) {
        size_t index = (head - first) / sizeof(wheel->slots[0][0]);

        wheel->occupied[index / SLOTS] &= ~(UINT64_C(1) << (index % SLOTS));
    }
}

void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t due_ms)
{
    uint64_t tick = due_ms / WHEEL_TICK_MS + (due_ms % WHEEL_TICK_MS != 0 ? 1 : 0);

    wheel_clear(wheel, entry);
    entry->due_tick = tick > wheel->goal_tick ? tick : wheel->goal_tick + 1;
    place(wheel, entry);
    wheel->count++;
}

void wheel_clear(struct wheel *wheel, struct wheel_entry *entry)
{
    if (wheel_pending(entry)) {
        unhang(wheel, entry);
        wheel->count--;
    }
}

/*
 * The next tick at which a slot matters, and which slot that is; NEVER when the wheel is empty.
 * The lowest level that holds anything decides.
 */
static uint64_t find_next(const struct wheel *wheel, unsigned *out_level, unsigned *out_slot)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t bits = wheel->occupied[level];
        unsigned shift = level * WHEEL_BITS;
        unsigned first = (digit_of(wheel->now_tick, level) + 1) & (SLOTS - 1);
        unsigned ahead;

        if (bits == 0) {
            continue;
        }
        /* Turned so that bit 0 is the slot after now's; below the top nothing wraps round. */
        bits = first == 0 ? bits : bits >> first | bits << (SLOTS - first);
        ahead = (unsigned)__builtin_ctzll(bits) + 1;
        *out_level = level;
        *out_slot = (first + ahead - 1) & (SLOTS - 1);
        return ((wheel->now_tick >> shift) + ahead) << shift;
    }
    return NEVER;
}

/* Empties a slot: what is due at now_tick goes to due, the rest moves down (at the top: on). */
static void empty_slot(struct wheel *wheel, unsigned level, unsigned slot, struct wheel_list *due)
{
    struct wheel_list taken = LIST_HEAD_INITIALIZER(taken);
    struct wheel_entry *entry;

    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    LIST_SWAP(&taken, &wheel->slots[level][slot], wheel_entry, link);
    while ((entry = LIST_FIRST(&taken)) != NULL) {
        LIST_REMOVE(entry, link);
        if (entry->due_tick <= wheel->now_tick) {
            LIST_INSERT_HEAD(due, entry, link);
        } else {
            place(wheel, entry);
        }
    }
}

void wheel_advance(struct wheel *wheel, uint64_t now_ms, wheel_fire_fn *fire, void *arg)
{
    uint64_t goal = now_ms / WHEEL_TICK_MS;
    unsigned level = 0;
    unsigned slot = 0;
    uint64_t tick;

    assert(wheel->goal_tick == wheel->now_tick); /* not from inside fire */
    if (goal <= wheel->now_tick) {
        return;
    }
    wheel->goal_tick = goal;
    while ((tick = find_next(wheel, &level, &slot)) <= goal) {
        struct wheel_list due = LIST_HEAD_INITIALIZER(due);
        struct wheel_entry *entry;

        wheel->now_tick = tick;
        empty_slot(wheel, level, slot, &due);
        /* From the front each time: fire may take any entry off the list, or free it. */
        while ((entry = LIST_FIRST(&due)) != NULL) {
            wheel_clear(wheel, entry);
            fire(entry, arg);
        }
    }
    wheel->now_tick = goal;
}

uint64_t wheel_next_ms(const struct wheel *wheel, uint64_t now_ms)
{
    unsigned level = 0;
    unsigned slot = 0;
    uint64_t tick = find_next(wheel, &level, &slot);

    if (tick == NEVER) {
        return UINT64_MAX;
    }
    return tick * WHEEL_TICK_MS > now_ms ? tick * WHEEL_TICK_MS - now_ms : 0;
}
