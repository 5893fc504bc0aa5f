/*
 * The table of leases: found, taken, renewed, released, evicted. In workers; lease_find() in any
 * process.
 *
 * A place holds a key and a value, two words that no compare-and-swap changes together:
 *
 *   key     the key, but for its low 16 bits, which its set implies; in their stead how often the
 *           place has changed hands (from 1 on; 0: never used)
 *   value   row + 1 (14 bits), turn (2), sessions (16; all ones: more than can be counted), end
 *           (32). Row field 0: no lease; then sessions 0 is nobody's place, and anything else a
 *           claim: the count of the key that is to come, and the time instead of the end.
 *   held    when it was last renewed; counts only while there are sessions
 *
 * Times are in LEASE_UNIT_MS and wrap after 8 years, so they are compared by their distance: a
 * lease that nobody touched for 4 years would seem to hold again. turn goes up whenever the row
 * changes, sessions are written off, or the place changes hands. A hold carries count and turn, so
 * a session whose lease has moved away, even there and back, changes nothing any more.
 *
 * Changing a lease is one compare-and-swap of its value. Giving a place to another key takes four
 * steps: value from what was seen to a claim; key from what was seen to the new one; a look
 * whether another place of the set has that key too; value from the claim to the lease. Whoever
 * fails in one of them begins anew, and whoever stops or dies between two leaves a claim, which
 * anybody may take over after a second, or sooner when he finds his own key under it. That is safe
 * at any moment:
 *
 *   The key changes only while there is no lease. Suppose a claimant changes it from the word w
 *   that it saw before its claim. The place has had w ever since, for no word comes twice; so
 *   nobody else came as far as a lease meanwhile, which takes a change of the key first.
 *   A lease appears only under its own key. For it replaces a claim with the very count of its key,
 *   which nobody can make once the key has changed again.
 *   So a reader that finds the same key before and after the value has the value of that key:
 *   acquire on the first two loads, release on every change, so that who sees a change sees all
 *   that came before it.
 *   No key has two leases. Of two that insert it at different places, each changes its key word
 *   before it looks at the other's, both seq_cst, so at least one sees the other. It takes the
 *   other's claim away, and then the other fails; or it finds a lease, and gives up its own claim.
 *
 * (Counts of hands wrap after 65,535; a process that stops for exactly so many is not reckoned
 * with. Nor is a value that returns to the same bits while a process stops between looking and
 * swapping: it takes four changes of hands within one time unit.)
 *
 * held is raised before the sessions that it vouches for are written, and read after them, so no
 * lease that is being taken looks abandoned. Sessions that nobody renewed are written off by a swap
 * of its own, before held is raised, so they are never revived by the next session.
 */
#include "lease.h"

#define SET_PLACES 8
#define SETS       (SB_LEASES_MAX / SET_PLACES)

#define HANDS_MASK UINT64_C(0xffff) /* how often the place has changed hands */

#define ROW_SHIFT      50
#define TURN_SHIFT     48
#define TURN_MASK      3
#define SESSIONS_SHIFT 32
#define SESSIONS_MANY  UINT32_C(0xffff)

#define TAG_KEY_MASK   UINT32_C(0x3fffffff)
#define TAG_TURN_SHIFT 30

#define HOLD_UNITS  ((LEASE_HOLD_MS + LEASE_UNIT_MS - 1) / LEASE_UNIT_MS)
#define CLAIM_UNITS 16                  /* after which its maker must have died or been stopped */
#define KEEP_MAX    (UINT32_C(1) << 30) /* units: 2 years */

#define TRIES_MAX 64 /* each is spoilt by somebody else's progress, or by a claim */

_Static_assert(SETS > HANDS_MASK, "the set must imply the bits that the count replaces");
_Static_assert(BACKENDS_MAX < 1 << (64 - ROW_SHIFT), "row + 1 must fit");

/* --- words --- */

static uint32_t row_of(uint64_t value)
{
    return (uint32_t)(value >> ROW_SHIFT) - 1;
}

static uint32_t turn_of(uint64_t value)
{
    return (uint32_t)(value >> TURN_SHIFT) & TURN_MASK;
}

static uint32_t sessions_of(uint64_t value)
{
    return (uint32_t)(value >> SESSIONS_SHIFT) & SESSIONS_MANY;
}

static uint32_t end_of(uint64_t value)
{
    return (uint32_t)value;
}

static uint64_t pack(uint32_t row_field, uint32_t turn, uint32_t sessions, uint32_t end)
{
    return (uint64_t)row_field << ROW_SHIFT | (uint64_t)(turn & TURN_MASK) << TURN_SHIFT |
           (uint64_t)sessions << SESSIONS_SHIFT | end;
}

static uint64_t lease_of(uint32_t row, uint32_t turn, uint32_t sessions, uint32_t end)
{
    return pack(row + 1, turn, sessions, end);
}

static uint64_t claim_of(uint32_t turn, uint64_t word, uint32_t now)
{
    return pack(0, turn, (uint32_t)(word & HANDS_MASK), now);
}

static uint64_t nobodys(uint32_t turn)
{
    return pack(0, turn, 0, 0);
}

/* Rows that cannot be are no leases: readers index by them. */
static bool is_lease(uint64_t value)
{
    return row_of(value) < BACKENDS_MAX;
}

static bool is_claim(uint64_t value)
{
    return value >> ROW_SHIFT == 0 && sessions_of(value) != 0;
}

static bool is_of(uint64_t word, uint64_t key)
{
    return (word & HANDS_MASK) != 0 && ((word ^ key) & ~HANDS_MASK) == 0;
}

/* The word of key at a place where now is that of another. */
static uint64_t next_word(uint64_t word, uint64_t key)
{
    uint64_t hands = (word & HANDS_MASK) % HANDS_MASK + 1;
    return (key & ~HANDS_MASK) | hands;
}

static uint32_t tag_of(uint64_t word, uint64_t value)
{
    return ((uint32_t)word & TAG_KEY_MASK) | turn_of(value) << TAG_TURN_SHIFT;
}

static bool swap(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* --- times --- */

static uint32_t unit_of(uint64_t now_ms)
{
    return (uint32_t)(now_ms / LEASE_UNIT_MS);
}

/* Never early; at once when keep_ms is 0. */
static uint32_t end_after(uint64_t now_ms, uint64_t keep_ms)
{
    if (keep_ms == 0)
        return unit_of(now_ms);
    if (keep_ms / LEASE_UNIT_MS >= KEEP_MAX)
        return unit_of(now_ms) + KEEP_MAX;
    return unit_of(now_ms) +
           (uint32_t)((now_ms % LEASE_UNIT_MS + keep_ms + LEASE_UNIT_MS - 1) / LEASE_UNIT_MS);
}

static int32_t distance(uint32_t from, uint32_t to)
{
    return (int32_t)(to - from);
}

/* Less than units away, to either side: other processes' clocks may be a little ahead. */
static bool is_near(uint32_t a, uint32_t b, uint32_t units)
{
    return a - b < units || b - a < units;
}

static void raise_held(struct sb_lease *place, uint32_t now)
{
    uint32_t held = atomic_load_explicit(&place->held, memory_order_relaxed);
    do {
        if (held == now || (distance(now, held) > 0 && is_near(held, now, HOLD_UNITS)))
            return;
    } while (!atomic_compare_exchange_weak_explicit(&place->held, &held, now, memory_order_relaxed,
                                                    memory_order_relaxed));
}

/* --- looking --- */

/* What somebody saw at a place. */
struct seen {
    struct sb_lease *place;
    uint64_t word, value; /* that belong together */
    uint32_t sessions;    /* of the value, but for those that nobody renewed */
};

/* False when it changed hands just then. */
static bool look(struct sb_lease *place, uint32_t now, struct seen *out)
{
    uint64_t word = atomic_load_explicit(&place->key, memory_order_acquire);
    uint64_t value = atomic_load_explicit(&place->value, memory_order_acquire);
    uint32_t held = atomic_load_explicit(&place->held, memory_order_relaxed);

    *out = (struct seen){.place = place, .word = word, .value = value};
    if (is_near(held, now, HOLD_UNITS))
        out->sessions = sessions_of(value);
    return atomic_load_explicit(&place->key, memory_order_relaxed) == word;
}

/* Looks only if the place has that key. */
static bool look_for(struct sb_lease *place, uint64_t key, uint32_t now, struct seen *out)
{
    return is_of(atomic_load_explicit(&place->key, memory_order_seq_cst), key) &&
           look(place, now, out) && is_of(out->word, key);
}

static struct sb_lease *set_of(const struct scoreboard *sb, uint64_t key)
{
    return &sb->leases[(key & (SETS - 1)) * SET_PLACES];
}

/* The lease of key, holding or not. */
static bool find(struct sb_lease *set, uint64_t key, uint32_t now, struct seen *out)
{
    for (uint32_t i = 0; i < SET_PLACES; i++) {
        if (look_for(&set[i], key, now, out) && is_lease(out->value))
            return true;
    }
    return false;
}

static bool holds(const struct seen *seen, uint32_t now)
{
    return seen->sessions > 0 || distance(now, end_of(seen->value)) > 0;
}

/* --- room for a new one --- */

#define PRICE_NONE INT64_MAX

/* The place that it costs least to take: the time its lease would still have had. */
static int64_t price_of(const struct seen *seen, uint32_t now)
{
    if (is_claim(seen->value))
        return is_near(end_of(seen->value), now, CLAIM_UNITS) ? PRICE_NONE : INT64_MIN;
    if (!is_lease(seen->value))
        return INT64_MIN;
    return seen->sessions > 0 ? PRICE_NONE : distance(now, end_of(seen->value));
}

/* False when there is none. *out_busy: some are being changed at this moment. */
static bool find_room(struct sb_lease *set, uint32_t now, struct seen *out, bool *out_busy)
{
    int64_t least = PRICE_NONE;

    *out_busy = false;
    for (uint32_t i = 0; i < SET_PLACES; i++) {
        struct seen seen;
        bool steady = look(&set[i], now, &seen);
        *out_busy = *out_busy || !steady || is_claim(seen.value);
        int64_t price = price_of(&seen, now);
        if (steady && price < least) {
            least = price;
            *out = seen;
        }
    }
    return least != PRICE_NONE;
}

/* --- changing --- */

struct change {
    uint64_t key;
    uint32_t row;
    uint32_t adds; /* sessions, 0 or 1 */
    uint32_t now;
    bool lasts; /* until end; else it ends as it would have, or at once if new */
    uint32_t end;
};

static uint32_t add_sessions(uint32_t sessions, uint32_t more)
{
    return sessions + more < SESSIONS_MANY ? sessions + more : SESSIONS_MANY;
}

static uint64_t changed_lease(const struct seen *seen, const struct change *change)
{
    uint32_t turn = turn_of(seen->value);
    if (row_of(seen->value) != change->row)
        return lease_of(change->row, turn + 1, change->adds,
                        change->lasts ? change->end : change->now);
    return lease_of(change->row, turn, add_sessions(seen->sessions, change->adds),
                    change->lasts ? change->end : end_of(seen->value));
}

static bool write_off(const struct seen *seen)
{
    uint64_t value = seen->value;
    return swap(&seen->place->value, value,
                lease_of(row_of(value), turn_of(value) + 1, 0, end_of(value)));
}

/* Each of these keeps *seen up to date. False: begin anew. */

static bool change_lease(struct seen *seen, const struct change *change)
{
    if (sessions_of(seen->value) != seen->sessions) {
        (void)write_off(seen);
        return false;
    }
    uint64_t value = changed_lease(seen, change);
    if (change->adds > 0)
        raise_held(seen->place, change->now);
    if (value != seen->value && !swap(&seen->place->value, seen->value, value))
        return false;
    seen->value = value;
    return true;
}

/* Whether no other place of the set has a lease of key, or may still get one: claims fail. */
static bool is_alone(struct sb_lease *set, const struct sb_lease *own, const struct change *change)
{
    for (uint32_t i = 0; i < SET_PLACES; i++) {
        struct seen seen;
        if (&set[i] == own || !look_for(&set[i], change->key, change->now, &seen))
            continue;
        if (is_lease(seen.value) || (is_claim(seen.value) && !swap(&set[i].value, seen.value,
                                                                   nobodys(turn_of(seen.value)))))
            return false;
    }
    return true;
}

static bool move_in(struct sb_lease *set, struct seen *seen, const struct change *change)
{
    struct sb_lease *place = seen->place;
    uint32_t turn = turn_of(seen->value) + 1;
    uint64_t word = next_word(seen->word, change->key);
    uint64_t claim = claim_of(turn, word, change->now);
    uint64_t old_word = seen->word;

    if (!swap(&place->value, seen->value, claim))
        return false;
    if (!atomic_compare_exchange_strong_explicit(&place->key, &old_word, word, memory_order_seq_cst,
                                                 memory_order_relaxed) ||
        !is_alone(set, place, change)) {
        (void)swap(&place->value, claim, nobodys(turn));
        return false;
    }
    raise_held(place, change->now);
    seen->word = word;
    seen->value =
        lease_of(change->row, turn, change->adds, change->lasts ? change->end : change->now);
    return swap(&place->value, claim, seen->value);
}

static bool apply(struct scoreboard *sb, const struct change *change, struct lease_hold *out)
{
    struct sb_lease *set = set_of(sb, change->key);

    for (int try = 0; try < TRIES_MAX; try++) {
        struct seen seen = {0};
        bool done = false, busy = false;
        if (find(set, change->key, change->now, &seen))
            done = change_lease(&seen, change);
        else if (find_room(set, change->now, &seen, &busy))
            done = move_in(set, &seen, change);
        else if (!busy)
            return false;
        if (done) {
            *out = (struct lease_hold){.place = (uint32_t)(seen.place - sb->leases) + 1,
                                       .tag = tag_of(seen.word, seen.value)};
            return true;
        }
    }
    return false;
}

/* --- interface --- */

static uint64_t usable_key(uint64_t key)
{
    return key == 0 ? 1 : key;
}

bool lease_find(const struct scoreboard *sb, uint64_t key, uint64_t now_ms, struct lease_info *out)
{
    uint32_t now = unit_of(now_ms);
    struct seen seen;

    key = usable_key(key);
    if (!find(set_of(sb, key), key, now, &seen) || !holds(&seen, now))
        return false;
    int32_t left = distance(now, end_of(seen.value));
    *out = (struct lease_info){
        .row = row_of(seen.value),
        .sessions = seen.sessions,
        .ends_ms = left > 0 ? (now_ms / LEASE_UNIT_MS + (uint32_t)left) * LEASE_UNIT_MS : now_ms,
    };
    return true;
}

bool lease_take(struct scoreboard *sb, uint64_t key, uint32_t row, uint64_t now_ms,
                struct lease_hold *out)
{
    struct change change = {.key = usable_key(key), .row = row, .adds = 1, .now = unit_of(now_ms)};

    *out = (struct lease_hold){0};
    if (apply(sb, &change, out))
        return true;
    atomic_fetch_add_explicit(&sb->header->leases_refused, 1, memory_order_relaxed);
    return false;
}

/* The place that hold is about, if its lease is still the same. */
static bool look_at_hold(const struct scoreboard *sb, const struct lease_hold *hold, uint32_t row,
                         uint32_t now, struct seen *out)
{
    if (hold->place == 0 || hold->place > SB_LEASES_MAX)
        return false;
    return look(&sb->leases[hold->place - 1], now, out) && is_lease(out->value) &&
           row_of(out->value) == row && tag_of(out->word, out->value) == hold->tag;
}

void lease_renew(struct scoreboard *sb, const struct lease_hold *hold, uint32_t row,
                 uint64_t now_ms)
{
    struct seen seen;

    if (look_at_hold(sb, hold, row, unit_of(now_ms), &seen))
        raise_held(seen.place, unit_of(now_ms));
}

void lease_release(struct scoreboard *sb, struct lease_hold *hold, uint32_t row, uint64_t now_ms,
                   uint64_t keep_ms)
{
    uint32_t end = end_after(now_ms, keep_ms);
    struct seen seen;

    while (look_at_hold(sb, hold, row, unit_of(now_ms), &seen)) {
        uint32_t sessions = sessions_of(seen.value);
        if (sessions == 0)
            break;
        if (sessions != SESSIONS_MANY)
            sessions--;
        if (swap(&seen.place->value, seen.value, lease_of(row, turn_of(seen.value), sessions, end)))
            break;
    }
    *hold = (struct lease_hold){0};
}

bool lease_put(struct scoreboard *sb, uint64_t key, uint32_t row, uint64_t now_ms, uint64_t keep_ms)
{
    struct change change = {.key = usable_key(key),
                            .row = row,
                            .now = unit_of(now_ms),
                            .lasts = true,
                            .end = end_after(now_ms, keep_ms)};
    struct lease_hold unused;

    return apply(sb, &change, &unused);
}

void lease_drop(struct scoreboard *sb, uint64_t key)
{
    struct seen seen;

    key = usable_key(key);
    while (find(set_of(sb, key), key, 0, &seen))
        (void)swap(&seen.place->value, seen.value, nobodys(turn_of(seen.value) + 1));
}
