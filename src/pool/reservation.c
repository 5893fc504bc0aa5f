/*
 * Reservations: the shared counts of slots, services, queues and the daemon, each worker's share of
 * them, and their repair after a worker's death. Reserving and releasing in workers, repair in
 * master.
 *
 * A worker announces in its intent word what it is about to change, and changes in this order:
 *
 *   reserve: intent, shared count up, own share up, own turns up, intent cleared
 *   release: intent, own share down, shared count down, own turns up, intent cleared
 *
 * So at every moment a place's shared count is the sum of all shares, plus one for each worker
 * that has an intent on it and stands between the two counts. When a worker dies there, nothing
 * says whether it had done the second step; but once its share is out, whatever the shared count is
 * above the sum of the others' shares is what the dead left behind. Only that reading must not be
 * confused by workers that go on: see read_excess().
 *
 * Orderings. A process that dies stops between two machine instructions, and all it has stored is
 * seen after waitpid; so the steps need only keep their order in the code the compiler makes, which
 * release stores ensure: whatever comes before one stays before it. The next intent cannot overtake
 * the clearing of the last one (one variable), nor can a count overtake its intent (release).
 * Against a reader in parallel, acquire loads complete the pairs. Nothing needs seq_cst: no step
 * depends on what another worker's intent says.
 */
#include <sched.h>

#include "ports.h"
#include "sluice/scoreboard.h"

#define SETTLE_TRIES    1000
#define TRIES_PER_YIELD 250 /* one that was interrupted halfway needs the processor to go on */

#define INTENT_PLACE_SHIFT 32 /* place above, index + 1 below */

/* Where one worker's reservation of one place is counted. */
struct place {
    _Atomic uint32_t *count; /* of all workers */
    _Atomic uint32_t *peak;  /* NULL: none is kept */
    _Atomic uint32_t *share;
    _Atomic uint32_t *turns;
};

static uint64_t intent_of(enum sb_place place, uint32_t index)
{
    if (place == SB_DAEMON || place == SB_BUFFER)
        index = 0;
    return (uint64_t)place << INTENT_PLACE_SHIFT | (index + 1);
}

static struct place slot_place(const struct scoreboard *sb, uint32_t worker, uint32_t slot)
{
    struct sb_slot_cell *cell = scoreboard_slot_cell(sb, worker, slot);
    return (struct place){
        .count = &sb->slot_active[slot], .share = &cell->active, .turns = &cell->turns};
}

static struct place upstream_place(const struct scoreboard *sb, uint32_t worker, uint32_t slot)
{
    struct sb_slot_cell *cell = scoreboard_slot_cell(sb, worker, slot);
    return (struct place){.count = &sb->slot_upstreams[slot],
                          .share = &cell->upstreams,
                          .turns = &cell->upstream_turns};
}

static struct place service_place(const struct scoreboard *sb, uint32_t worker, uint32_t service)
{
    struct sb_service_cell *cell = scoreboard_service_cell(sb, worker, service);
    return (struct place){.count = &sb->services[service].active,
                          .peak = &sb->services[service].peak,
                          .share = &cell->active,
                          .turns = &cell->turns};
}

static struct place daemon_place(const struct scoreboard *sb, uint32_t worker)
{
    return (struct place){.count = &sb->header->active,
                          .peak = &sb->header->peak,
                          .share = &sb->workers[worker].active,
                          .turns = &sb->workers[worker].turns};
}

static struct place queue_place(const struct scoreboard *sb, uint32_t worker, uint32_t pool)
{
    struct sb_pool_cell *cell = scoreboard_pool_cell(sb, worker, pool);
    return (struct place){.count = &sb->pools[pool].queued,
                          .peak = &sb->pools[pool].queued_peak,
                          .share = &cell->queued,
                          .turns = &cell->turns};
}

static struct place buffer_place(const struct scoreboard *sb, uint32_t worker)
{
    return (struct place){.count = &sb->header->buffer_parts,
                          .peak = &sb->header->buffer_parts_peak,
                          .share = &sb->workers[worker].buffer_parts,
                          .turns = &sb->workers[worker].buffer_turns};
}

static struct place place_of(const struct scoreboard *sb, uint32_t worker, enum sb_place place,
                             uint32_t index)
{
    switch (place) {
    case SB_SLOT:
        return slot_place(sb, worker, index);
    case SB_SERVICE:
        return service_place(sb, worker, index);
    case SB_QUEUE:
        return queue_place(sb, worker, index);
    case SB_UPSTREAM:
        return upstream_place(sb, worker, index);
    case SB_BUFFER:
        return buffer_place(sb, worker);
    case SB_DAEMON:
        break;
    }
    return daemon_place(sb, worker);
}

/* Returns the raised count, 0 when it was at the limit. */
static uint32_t raise_count(_Atomic uint32_t *count, uint32_t limit)
{
    if (limit == 0)
        return atomic_fetch_add_explicit(count, 1, memory_order_release) + 1;

    uint32_t old = atomic_load_explicit(count, memory_order_relaxed);
    do {
        if (old >= limit)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(count, &old, old + 1, memory_order_release,
                                                    memory_order_relaxed));
    return old + 1;
}

static void lower_count(_Atomic uint32_t *count, uint32_t by)
{
    uint32_t old = atomic_load_explicit(count, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(count, &old, old > by ? old - by : 0,
                                                  memory_order_release, memory_order_relaxed))
        ;
}

/* Changes a word that only the calling process writes. */
static void add_own(_Atomic uint32_t *word, uint32_t by)
{
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + by,
                          memory_order_release);
}

bool scoreboard_reserve(struct scoreboard *sb, uint32_t worker, enum sb_place place, uint32_t index,
                        uint32_t limit)
{
    struct place p = place_of(sb, worker, place, index);
    _Atomic uint64_t *intent = &sb->workers[worker].intent;

    atomic_store_explicit(intent, intent_of(place, index), memory_order_release);
    uint32_t count = raise_count(p.count, limit);
    if (count != 0) {
        add_own(p.share, 1);
        add_own(p.turns, 1);
    }
    atomic_store_explicit(intent, 0, memory_order_release);
    if (count != 0 && p.peak != NULL)
        scoreboard_note_peak(p.peak, count);
    return count != 0;
}

void scoreboard_release(struct scoreboard *sb, uint32_t worker, enum sb_place place, uint32_t index)
{
    struct place p = place_of(sb, worker, place, index);
    _Atomic uint64_t *intent = &sb->workers[worker].intent;

    if (atomic_load_explicit(p.share, memory_order_relaxed) == 0)
        return; /* lowering the shared count would take somebody else's place */
    atomic_store_explicit(intent, intent_of(place, index), memory_order_release);
    add_own(p.share, UINT32_MAX); /* minus one */
    lower_count(p.count, 1);
    add_own(p.turns, 1);
    atomic_store_explicit(intent, 0, memory_order_release);
}

/* Takes a dead worker's share out of the count. Returns how much it was. */
static uint32_t take_share_out(struct place p)
{
    uint32_t share = atomic_load_explicit(p.share, memory_order_acquire);
    if (share != 0) {
        atomic_store_explicit(p.share, 0, memory_order_relaxed);
        lower_count(p.count, share);
    }
    return share;
}

static bool has_intent(const struct scoreboard *sb, uint64_t intent)
{
    for (uint32_t w = 0; w < sb->header->n_workers; w++) {
        if (atomic_load_explicit(&sb->workers[w].intent, memory_order_acquire) == intent)
            return true;
    }
    return false;
}

static uint32_t load_acquire(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* The sum only grows, so that it is the same only when every worker's is. */
static uint64_t sum_turns(const struct scoreboard *sb, enum sb_place place, uint32_t index)
{
    uint64_t sum = 0;
    for (uint32_t w = 0; w < sb->header->n_workers; w++)
        sum += load_acquire(place_of(sb, w, place, index).turns);
    return sum;
}

static uint64_t sum_shares(const struct scoreboard *sb, enum sb_place place, uint32_t index)
{
    uint64_t sum = 0;
    for (uint32_t w = 0; w < sb->header->n_workers; w++)
        sum += load_acquire(place_of(sb, w, place, index).share);
    return sum;
}

/*
 * By how much a place's count is above all shares, if no worker touched it meanwhile: then true.
 * The order is turns, shares, count, intents, turns, all acquire. Take a worker of whose
 * reservation or release one half was seen and the other not. Its intent was set before the half
 * that was seen, so the look at intents finds it, or finds it cleared already: then its turns,
 * raised before that, are found raised by the second look at them. At the first they were not, or
 * else both halves would have been seen. So it is noticed. The count alone, the same before and
 * after, would not do: one worker may have reserved and another released in between.
 */
static bool read_excess(const struct scoreboard *sb, enum sb_place place, uint32_t index,
                        uint32_t *out_excess)
{
    uint64_t turns = sum_turns(sb, place, index);
    uint64_t shares = sum_shares(sb, place, index);
    uint32_t count = load_acquire(place_of(sb, 0, place, index).count);

    if (has_intent(sb, intent_of(place, index)) || sum_turns(sb, place, index) != turns)
        return false;
    *out_excess = count > shares ? (uint32_t)(count - shares) : 0;
    return true;
}

/* Settles the place that the intent of a dead worker names. False when others were in the way. */
static bool settle(struct scoreboard *sb, uint64_t intent)
{
    enum sb_place place = (enum sb_place)(intent >> INTENT_PLACE_SHIFT);
    uint32_t index = (uint32_t)intent - 1;
    uint32_t excess;

    for (int try = 1; try <= SETTLE_TRIES; try++) {
        if (read_excess(sb, place, index, &excess)) {
            /* What the dead left is nobody's: it is the same whenever it is taken out. */
            lower_count(place_of(sb, 0, place, index).count, excess);
            return true;
        }
        if (try % TRIES_PER_YIELD == 0)
            sched_yield();
    }
    return false;
}

/* A worker that died of a wild pointer may have left anything there. */
static bool is_intent(uint64_t intent)
{
    uint32_t index = (uint32_t)intent - 1;
    switch (intent >> INTENT_PLACE_SHIFT) {
    case SB_SLOT:
    case SB_UPSTREAM:
        return index < SB_SLOTS_MAX;
    case SB_SERVICE:
        return index < SERVICES_MAX;
    case SB_QUEUE:
        return index < POOLS_MAX;
    case SB_DAEMON:
    case SB_BUFFER:
        return index == 0;
    }
    return false;
}

/* Settling is by place, whoever died: one entry does for several deaths. */
static void remember_unsettled(struct sb_header *header, uint64_t intent)
{
    for (uint32_t i = 0; i < header->n_unsettled; i++) {
        if (header->unsettled[i] == intent)
            return;
    }
    /* Beyond that many a count stays one too high; it would take as many deaths in mid-step. */
    if (header->n_unsettled < SB_UNSETTLED_MAX)
        header->unsettled[header->n_unsettled++] = intent;
}

uint32_t scoreboard_settle(struct scoreboard *sb)
{
    struct sb_header *header = sb->header;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < header->n_unsettled; i++) {
        uint64_t intent = header->unsettled[i];
        if (!settle(sb, intent))
            header->unsettled[kept++] = intent;
    }
    header->n_unsettled = kept;
    return kept;
}

static void take_queues_out(struct scoreboard *sb, uint32_t worker)
{
    for (uint32_t i = 0; i < POOLS_MAX; i++) {
        take_share_out(queue_place(sb, worker, i));
        atomic_store_explicit(&scoreboard_pool_cell(sb, worker, i)->oldest_us, 0,
                              memory_order_relaxed);
    }
}

/* Its upstreams ended with it. */
static void take_upstreams_out(struct scoreboard *sb, uint32_t worker)
{
    if (load_acquire(&sb->header->upstreams_used) == 0)
        return;
    for (uint32_t i = 0; i < BACKENDS_MAX; i++) {
        struct sb_upstream_cell *cell = scoreboard_upstream_cell(sb, worker, i);
        atomic_store_explicit(&cell->idle, 0, memory_order_relaxed);
        atomic_store_explicit(&cell->lent, 0, memory_order_relaxed);
        atomic_store_explicit(&cell->pinned, 0, memory_order_relaxed);
    }
}

static uint32_t take_services_out(struct scoreboard *sb, uint32_t worker)
{
    uint32_t sessions = 0;
    for (uint32_t i = 0; i < SERVICES_MAX; i++) {
        uint32_t share = take_share_out(service_place(sb, worker, i));
        if (share == 0)
            continue;
        struct sb_service_cell *cell = scoreboard_service_cell(sb, worker, i);
        scoreboard_bump(&cell->ended_by[ENDING_WORKER_DIED], share);
        sessions += share;
    }
    return sessions;
}

uint32_t scoreboard_repair(struct scoreboard *sb, uint32_t worker)
{
    struct sb_worker *dead = &sb->workers[worker];
    uint64_t intent = atomic_load_explicit(&dead->intent, memory_order_acquire);

    for (uint32_t i = 0; i < SB_SLOTS_MAX; i++) {
        take_share_out(slot_place(sb, worker, i));
        take_share_out(upstream_place(sb, worker, i));
    }
    take_upstreams_out(sb, worker);
    ports_take_out(sb, worker);
    take_queues_out(sb, worker);
    uint32_t sessions = take_services_out(sb, worker);
    take_share_out(daemon_place(sb, worker));
    take_share_out(buffer_place(sb, worker));
    atomic_store_explicit(&dead->waiting, 0, memory_order_relaxed);
    atomic_store_explicit(&dead->buffered_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&dead->pipes, 0, memory_order_relaxed);

    atomic_store_explicit(&dead->intent, 0, memory_order_relaxed);
    if (is_intent(intent))
        remember_unsettled(sb->header, intent);
    scoreboard_settle(sb);
    return sessions;
}
