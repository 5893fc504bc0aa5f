/*
 * Counting ports by pair. A worker raises its share before the count and lowers it after: so what a
 * worker that dies in between leaves behind is a count too low by one, which is over once the
 * pair's last connection is closed, and never one too high, which would stay. In workers and
 * master.
 */
#include "ports.h"

#define SHUT_MS        1000 /* once a second for all workers, at most */
#define NO_PORT_MS_MAX 4000
#define ABSENT_MS_MAX  60000
#define DOUBLINGS_MAX  6

static _Atomic uint16_t *share_of(const struct scoreboard *sb, uint32_t worker, uint32_t pair)
{
    return &sb->pair_shares[(size_t)worker * SB_PAIRS_MAX + pair];
}

/* Saturates: what was too low once is not to become a count of four billion. */
static void lower(_Atomic uint32_t *count, uint32_t by)
{
    uint32_t old = atomic_load_explicit(count, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(count, &old, old > by ? old - by : 0,
                                                  memory_order_release, memory_order_relaxed))
        ;
}

/* Only the worker itself writes its shares. */
static void add_share(_Atomic uint16_t *share, int by)
{
    int sum = atomic_load_explicit(share, memory_order_relaxed) + by;
    atomic_store_explicit(share, (uint16_t)sum, memory_order_release);
}

bool ports_take(struct scoreboard *sb, uint32_t worker, uint32_t pair, uint32_t limit)
{
    if (pair == 0)
        return true;
    _Atomic uint16_t *share = share_of(sb, worker, pair);
    if (atomic_load_explicit(share, memory_order_relaxed) == UINT16_MAX)
        return false; /* there are no more ports than that */
    add_share(share, 1);
    uint32_t old = atomic_fetch_add_explicit(&sb->pairs[pair].used, 1, memory_order_release);
    if (limit != 0 && old >= limit) {
        lower(&sb->pairs[pair].used, 1);
        add_share(share, -1);
        return false;
    }
    return true;
}

void ports_give(struct scoreboard *sb, uint32_t worker, uint32_t pair)
{
    _Atomic uint16_t *share = share_of(sb, worker, pair);
    if (pair == 0 || atomic_load_explicit(share, memory_order_relaxed) == 0)
        return;
    lower(&sb->pairs[pair].used, 1);
    add_share(share, -1);
}

/* Tells master when an address comes or goes. */
static void set_trouble(struct scoreboard *sb, uint32_t pair, enum sb_pair_trouble trouble)
{
    uint32_t before =
        atomic_exchange_explicit(&sb->pairs[pair].trouble, trouble, memory_order_release);

    if ((before == SB_PAIR_ABSENT) != (trouble == SB_PAIR_ABSENT))
        atomic_fetch_add_explicit(&sb->header->sources_turned, 1, memory_order_release);
}

static uint64_t shut_ms(enum sb_pair_trouble trouble, unsigned in_a_row)
{
    uint64_t most = trouble == SB_PAIR_ABSENT ? ABSENT_MS_MAX : NO_PORT_MS_MAX;
    uint64_t ms = (uint64_t)SHUT_MS << (in_a_row < DOUBLINGS_MAX ? in_a_row : DOUBLINGS_MAX);

    return ms < most ? ms : most;
}

/* Workers that asked at the same time count as one in the row. */
void ports_fail(struct scoreboard *sb, uint32_t pair, enum sb_pair_trouble trouble, int error,
                uint64_t now_ms)
{
    struct sb_pair *record = &sb->pairs[pair];

    if (pair == 0)
        return;
    atomic_fetch_add_explicit(&record->failures, 1, memory_order_relaxed);
    if (ports_is_shut(sb, pair, now_ms))
        return;
    unsigned in_a_row = atomic_load_explicit(&record->in_a_row, memory_order_relaxed);

    if (ports_trouble(sb, pair) != trouble)
        in_a_row = 0;
    atomic_store_explicit(&record->shut_until_ms, now_ms + shut_ms(trouble, in_a_row),
                          memory_order_relaxed);
    atomic_store_explicit(&record->in_a_row,
                          (uint16_t)(in_a_row < DOUBLINGS_MAX ? in_a_row + 1 : in_a_row),
                          memory_order_relaxed);
    atomic_store_explicit(&record->error, (uint16_t)error, memory_order_relaxed);
    set_trouble(sb, pair, trouble);
}

void ports_succeed(struct scoreboard *sb, uint32_t pair)
{
    if (pair == 0 || ports_trouble(sb, pair) == SB_PAIR_FINE)
        return;
    atomic_store_explicit(&sb->pairs[pair].in_a_row, 0, memory_order_relaxed);
    atomic_store_explicit(&sb->pairs[pair].shut_until_ms, 0, memory_order_relaxed);
    set_trouble(sb, pair, SB_PAIR_FINE);
}

enum sb_pair_trouble ports_trouble(const struct scoreboard *sb, uint32_t pair)
{
    return (enum sb_pair_trouble)atomic_load_explicit(&sb->pairs[pair].trouble,
                                                      memory_order_acquire);
}

bool ports_are_others(const struct scoreboard *sb, uint32_t pair)
{
    uint32_t ports = atomic_load_explicit(&sb->header->ports, memory_order_relaxed);
    return ports_trouble(sb, pair) == SB_PAIR_NO_PORT &&
           (ports == 0 || ports_used(sb, pair) < ports_limit(ports));
}

bool ports_is_shut(const struct scoreboard *sb, uint32_t pair, uint64_t now_ms)
{
    return atomic_load_explicit(&sb->pairs[pair].shut_until_ms, memory_order_relaxed) > now_ms;
}

uint32_t ports_used(const struct scoreboard *sb, uint32_t pair)
{
    return atomic_load_explicit(&sb->pairs[pair].used, memory_order_relaxed);
}

bool ports_may_be_asked(const struct scoreboard *sb, uint32_t pair, uint32_t limit, uint64_t now_ms)
{
    return pair == 0 || (ports_used(sb, pair) < (limit != 0 ? limit : UINT16_MAX) &&
                         !ports_is_shut(sb, pair, now_ms));
}

bool ports_are_out(const struct scoreboard *sb, const struct snapshot_source *sources, uint32_t n,
                   uint64_t now_ms)
{
    uint32_t limit = ports_limit(atomic_load_explicit(&sb->header->ports, memory_order_relaxed));

    for (uint32_t i = 0; i < n; i++) {
        if (ports_may_be_asked(sb, sources[i].pair, limit, now_ms))
            return false;
    }
    return n > 0;
}

void ports_take_out(struct scoreboard *sb, uint32_t worker)
{
    uint32_t end = atomic_load_explicit(&sb->header->pairs_end, memory_order_acquire);
    for (uint32_t pair = 1; pair < end && pair < SB_PAIRS_MAX; pair++) {
        _Atomic uint16_t *share = share_of(sb, worker, pair);
        uint16_t had = atomic_load_explicit(share, memory_order_acquire);
        if (had == 0)
            continue;
        atomic_store_explicit(share, 0, memory_order_relaxed);
        lower(&sb->pairs[pair].used, had);
    }
}
