/*
 * The scoreboard's mapping, its health records, its sums, and the clearing of its rows. In every
 * process; who may call what is said in the header.
 */
#include "sluice/scoreboard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "shared_text.h"

#define PART_ALIGN 128 /* two cache lines: the processor fetches them in pairs */

const char *const sb_health_names[SB_HEALTH_COUNT] = {
    [SB_HEALTH_UNKNOWN] = "unknown",
    [SB_HEALTH_UP] = "up",
    [SB_HEALTH_DOWN] = "down",
};

const char *const sb_check_state_names[SB_CHECK_STATE_COUNT] = {
    [SB_CHECK_UNKNOWN] = "unknown",
    [SB_CHECK_UP] = "up",
    [SB_CHECK_DOWN] = "down",
    [SB_CHECK_ADVISORY] = "advisory",
};

const char *const sb_check_result_names[SB_RESULT_COUNT] = {
    [SB_RESULT_NONE] = "none",
    [SB_RESULT_PASSED] = "passed",
    [SB_RESULT_FAILED] = "failed",
    [SB_RESULT_NOTHING] = "nothing",
};

const char *const reuse_trouble_names[REUSE_TROUBLE_COUNT] = {
    [REUSE_FINE] = "none",
    [REUSE_SPEAKS_FIRST] = "speaks_first",
};

const char *const sb_worker_state_names[SB_WORKER_STATE_COUNT] = {
    [SB_WORKER_STARTING] = "starting",
    [SB_WORKER_RUNNING] = "running",
    [SB_WORKER_DRAINING] = "draining",
    [SB_WORKER_DEAD] = "dead",
};

_Static_assert(sizeof(struct sb_worker) % PART_ALIGN == 0, "workers would share cache lines");
_Static_assert(sizeof(_Atomic uint64_t) == 8 && sizeof(_Atomic uint8_t) == 1,
               "atomics must be plain words to be shared between processes");

static void *carve(char *base, size_t *at, size_t bytes)
{
    char *part = base == NULL ? NULL : base + *at;
    *at += (bytes + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
    return part;
}

/* Points sb into a mapping at base. Returns the size of the whole; base NULL: only that. */
static size_t lay_out(struct scoreboard *sb, char *base, size_t n_workers)
{
    size_t at = 0;
    sb->header = carve(base, &at, sizeof(*sb->header));
    sb->workers = carve(base, &at, n_workers * sizeof(*sb->workers));
    sb->slot_active = carve(base, &at, SB_SLOTS_MAX * sizeof(*sb->slot_active));
    sb->slot_upstreams = carve(base, &at, SB_SLOTS_MAX * sizeof(*sb->slot_upstreams));
    sb->slot_health = carve(base, &at, SB_SLOTS_MAX * sizeof(*sb->slot_health));
    sb->slot_full = carve(base, &at, SB_SLOTS_MAX * sizeof(*sb->slot_full));
    sb->slot_rate = carve(base, &at, SB_SLOTS_MAX * sizeof(*sb->slot_rate));
    sb->slot_time = carve(base, &at, SB_SLOTS_MAX * sizeof(*sb->slot_time));
    sb->slots = carve(base, &at, SB_SLOTS_MAX * sizeof(*sb->slots));
    sb->rows = carve(base, &at, BACKENDS_MAX * sizeof(*sb->rows));
    sb->services = carve(base, &at, SERVICES_MAX * sizeof(*sb->services));
    sb->pools = carve(base, &at, POOLS_MAX * sizeof(*sb->pools));
    sb->slot_cells = carve(base, &at, n_workers * SB_SLOTS_MAX * sizeof(*sb->slot_cells));
    sb->row_cells = carve(base, &at, n_workers * BACKENDS_MAX * sizeof(*sb->row_cells));
    sb->service_cells = carve(base, &at, n_workers * SERVICES_MAX * sizeof(*sb->service_cells));
    sb->pool_cells = carve(base, &at, n_workers * POOLS_MAX * sizeof(*sb->pool_cells));
    sb->upstream_cells = carve(base, &at, n_workers * BACKENDS_MAX * sizeof(*sb->upstream_cells));
    sb->upstream_rows = carve(base, &at, BACKENDS_MAX * sizeof(*sb->upstream_rows));
    sb->pairs = carve(base, &at, SB_PAIRS_MAX * sizeof(*sb->pairs));
    sb->pair_shares = carve(base, &at, n_workers * SB_PAIRS_MAX * sizeof(*sb->pair_shares));
    sb->checks = carve(base, &at, SB_CHECKS_MAX * SB_SLOTS_MAX * sizeof(*sb->checks));
    sb->leases = carve(base, &at, SB_LEASES_MAX * sizeof(*sb->leases));
    return at;
}

int scoreboard_create(struct scoreboard *sb, uint32_t n_workers, uint64_t now_ms, uint64_t wall_ms)
{
    if (n_workers == 0 || n_workers > WORKERS_MAX)
        return -EINVAL;

    struct scoreboard made;
    size_t size = lay_out(&made, NULL, n_workers);
    void *base =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return -errno;
    lay_out(&made, base, n_workers);
    made.header->magic = SCOREBOARD_MAGIC;
    made.header->layout = SCOREBOARD_LAYOUT;
    made.header->n_workers = n_workers;
    made.header->size_bytes = size;
    made.header->started_ms = now_ms;
    made.header->started_wall_ms = wall_ms;
    *sb = made;
    return 0;
}

void scoreboard_destroy(struct scoreboard *sb)
{
    if (sb->header != NULL)
        munmap(sb->header, sb->header->size_bytes);
    *sb = (struct scoreboard){0};
}

void scoreboard_sum_row(const struct scoreboard *sb, uint32_t row, struct sb_row_sum *out)
{
    struct sb_row_sum sum = {0};
    for (uint32_t w = 0; w < sb->header->n_workers; w++) {
        const struct sb_row_cell *cell = scoreboard_row_cell(sb, w, row);
        sum.bytes_in += atomic_load_explicit(&cell->bytes_in, memory_order_relaxed);
        sum.bytes_out += atomic_load_explicit(&cell->bytes_out, memory_order_relaxed);
    }
    *out = sum;
}

static uint64_t load64(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static uint32_t load32(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* Adds n counters to sums. Returns what was added altogether. */
static uint64_t add_all(const _Atomic uint64_t *counters, uint64_t *sums, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t count = atomic_load_explicit(&counters[i], memory_order_relaxed);
        sums[i] += count;
        total += count;
    }
    return total;
}

void scoreboard_sum_upstreams(const struct scoreboard *sb, uint32_t row,
                              struct sb_upstream_sum *out)
{
    struct sb_upstream_sum sum = {0};
    const struct sb_upstream_row *shared = &sb->upstream_rows[row];
    bool is_used = load32(&sb->header->upstreams_used) != 0;
    for (uint32_t w = 0; is_used && w < sb->header->n_workers; w++) {
        const struct sb_upstream_cell *cell = scoreboard_upstream_cell(sb, w, row);
        sum.requests += load64(&cell->requests);
        sum.opened += load64(&cell->opened);
        sum.reused += load64(&cell->reused);
        sum.idle += load32(&cell->idle);
        sum.lent += load32(&cell->lent);
        sum.pinned += load32(&cell->pinned);
    }
    if (is_used) {
        sum.warm = load64(&shared->warm);
        sum.discarded = add_all(shared->discarded, sum.discarded_by, DISCARD_COUNT);
        sum.stray_bytes = load64(&shared->stray_bytes);
        sum.stale = load64(&shared->stale);
        sum.ambiguous = load64(&shared->ambiguous);
        sum.unsent_retries = load64(&shared->unsent_retries);
        sum.resent_retries = load64(&shared->resent_retries);
        sum.open_failures = load64(&shared->open_failures);
        sum.pins = load64(&shared->pins);
    }
    *out = sum;
}

void scoreboard_sum_service(const struct scoreboard *sb, uint32_t service,
                            struct sb_service_sum *out)
{
    struct sb_service_sum sum = {0};
    for (uint32_t w = 0; w < sb->header->n_workers; w++) {
        const struct sb_service_cell *cell = scoreboard_service_cell(sb, w, service);
        sum.connections_total +=
            atomic_load_explicit(&cell->connections_total, memory_order_relaxed);
        sum.bytes_in += atomic_load_explicit(&cell->bytes_in, memory_order_relaxed);
        sum.bytes_out += atomic_load_explicit(&cell->bytes_out, memory_order_relaxed);
        sum.refused += add_all(cell->refused_by, sum.refused_by, REFUSAL_COUNT);
        sum.ended += add_all(cell->ended_by, sum.ended_by, ENDING_COUNT);
    }
    *out = sum;
}

void scoreboard_note_peak(_Atomic uint32_t *peak, uint32_t value)
{
    uint32_t old = atomic_load_explicit(peak, memory_order_relaxed);
    while (old < value && !atomic_compare_exchange_weak_explicit(
                              peak, &old, value, memory_order_relaxed, memory_order_relaxed))
        ;
}

/*
 * A slot has two records of its health: the one that holds, which readers copy, and the other,
 * which the next version is written to before it is published. So a writer that stops halfway has
 * touched nothing that holds, and the next one begins again in the same place. A reader is
 * disturbed only when a version was published while it copied, since then the copied record may be
 * the one being written; so it takes its copy only if the version is still the same.
 *
 * The writer's fence keeps the publishing of the last version before the stores of this one, the
 * reader's keeps its copying before its second look; publishing is a release, the first look an
 * acquire. The text goes byte by byte: shared_text.h.
 */

static void publish(struct sb_slot *slot, enum sb_health health, uint64_t since_ms,
                    const char *reason)
{
    uint32_t version = atomic_load_explicit(&slot->version, memory_order_relaxed) + 1;
    struct sb_health_record *record = &slot->record[version % 2];

    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&record->health, health, memory_order_relaxed);
    atomic_store_explicit(&record->since_ms, since_ms, memory_order_relaxed);
    shared_text_store(record->reason, reason);
    atomic_store_explicit(&slot->version, version, memory_order_release);
}

static uint64_t present_since(const struct sb_slot *slot)
{
    uint32_t version = atomic_load_explicit(&slot->version, memory_order_relaxed);
    return atomic_load_explicit(&slot->record[version % 2].since_ms, memory_order_relaxed);
}

/* Whether the slot was fresh until now. What is only assumed before its first check changes
 * nothing: who was found down has recovered when it comes up, however early that was. */
static bool take_freshness(struct sb_slot *slot, enum sb_health health)
{
    bool found_down = health == SB_HEALTH_DOWN &&
                      atomic_load_explicit(&slot->checks_failed, memory_order_relaxed) != 0;

    if (health != SB_HEALTH_UP && !found_down)
        return false;
    return atomic_exchange_explicit(&slot->fresh, 0, memory_order_relaxed) != 0;
}

bool scoreboard_set_health(struct scoreboard *sb, uint32_t slot, enum sb_health health,
                           const char *reason, uint64_t now_ms)
{
    uint64_t since_ms = present_since(&sb->slots[slot]);
    bool changed =
        atomic_load_explicit(&sb->slot_health[slot], memory_order_relaxed) != (uint8_t)health;

    publish(&sb->slots[slot], health, changed || since_ms == 0 ? now_ms : since_ms, reason);
    bool was_fresh = take_freshness(&sb->slots[slot], health);
    if (changed) {
        if (health == SB_HEALTH_UP)
            atomic_store_explicit(&sb->slots[slot].slow_from_ms, was_fresh ? 0 : now_ms,
                                  memory_order_relaxed);
        atomic_store_explicit(&sb->slot_health[slot], (uint8_t)health, memory_order_relaxed);
        /* Release: who sees the new epoch sees the new health. */
        atomic_fetch_add_explicit(&sb->header->health_epoch, 1, memory_order_release);
    }
    return changed;
}

enum sb_health scoreboard_get_health(const struct scoreboard *sb, uint32_t slot,
                                     uint64_t *out_since_ms, char reason[static SB_REASON_MAX])
{
    const struct sb_slot *from = &sb->slots[slot];
    enum sb_health health = SB_HEALTH_UNKNOWN;

    for (int try = 0; try < SHARED_READ_TRIES; try++) {
        uint32_t version = atomic_load_explicit(&from->version, memory_order_acquire);
        const struct sb_health_record *record = &from->record[version % 2];
        health = atomic_load_explicit(&record->health, memory_order_relaxed);
        *out_since_ms = atomic_load_explicit(&record->since_ms, memory_order_relaxed);
        shared_text_load(reason, record->reason);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&from->version, memory_order_relaxed) == version)
            break;
    }
    return health;
}

static void zero32(_Atomic uint32_t *word)
{
    atomic_store_explicit(word, 0, memory_order_relaxed);
}

static void zero64(_Atomic uint64_t *word)
{
    atomic_store_explicit(word, 0, memory_order_relaxed);
}

void scoreboard_clear_slot(struct scoreboard *sb, uint32_t slot)
{
    struct sb_slot *record = &sb->slots[slot];

    scoreboard_set_health(sb, slot, SB_HEALTH_UNKNOWN, "", 0);
    publish(record, SB_HEALTH_UNKNOWN, 0, "");
    zero64(&record->checks_passed);
    zero64(&record->checks_failed);
    zero64(&record->last_check_ms);
    zero32(&record->last_latency_us);
    zero32(&record->streak);
    zero64(&record->next_check_ms);
    zero64(&record->full_since_ms);
    zero64(&record->slow_from_ms);
    zero32(&record->fresh);
    zero32(&record->pool);
    zero32(&record->asked_permille);
    zero32(&record->asked_admin);
    zero32(&record->asked_limit);
    zero64(&record->asked_since_ms);
    zero64(&record->close_by_ms);
    zero32(&record->failures);
    zero32(&record->ejections);
    zero64(&record->ejected_until_ms);
    zero32(&record->history.n);
    zero32(&record->check_records);
    zero32(&record->reuse_trouble);
    zero32(&record->heard);
    zero32(&record->wanted);
    zero32(&sb->slot_active[slot]);
    zero32(&sb->slot_upstreams[slot]);
    atomic_store_explicit(&sb->slot_full[slot], 0, memory_order_relaxed);
    zero64(&sb->slot_rate[slot]);
    zero64(&sb->slot_time[slot]);
    for (uint32_t w = 0; w < sb->header->n_workers; w++) {
        struct sb_slot_cell *cell = scoreboard_slot_cell(sb, w, slot);
        zero32(&cell->active);
        zero32(&cell->turns);
        zero32(&cell->upstreams);
        zero32(&cell->upstream_turns);
    }
}

/* Rows and services are plain counters: nobody uses the row when it is cleared, so memset may. */
void scoreboard_clear_row(struct scoreboard *sb, uint32_t row)
{
    memset(&sb->rows[row], 0, sizeof(sb->rows[row]));
    if (load32(&sb->header->upstreams_used) != 0)
        memset(&sb->upstream_rows[row], 0, sizeof(sb->upstream_rows[row]));
    for (uint32_t w = 0; w < sb->header->n_workers; w++) {
        memset(scoreboard_row_cell(sb, w, row), 0, sizeof(struct sb_row_cell));
        if (load32(&sb->header->upstreams_used) != 0)
            memset(scoreboard_upstream_cell(sb, w, row), 0, sizeof(struct sb_upstream_cell));
    }
}

void scoreboard_clear_service(struct scoreboard *sb, uint32_t service)
{
    memset(&sb->services[service], 0, sizeof(sb->services[service]));
    for (uint32_t w = 0; w < sb->header->n_workers; w++)
        memset(scoreboard_service_cell(sb, w, service), 0, sizeof(struct sb_service_cell));
}

void scoreboard_clear_pool(struct scoreboard *sb, uint32_t pool)
{
    memset(&sb->pools[pool], 0, sizeof(sb->pools[pool]));
    for (uint32_t w = 0; w < sb->header->n_workers; w++)
        memset(scoreboard_pool_cell(sb, w, pool), 0, sizeof(struct sb_pool_cell));
}
