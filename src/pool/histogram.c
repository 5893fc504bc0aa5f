/*
 * Histograms in the scoreboard, described at struct sb_hist. Any process adds and reads; nobody
 * waits for anybody, so a figure may miss what is being added just now.
 */
#include "sluice/scoreboard.h"

static uint32_t bucket_of(uint64_t value)
{
    if (value < 4)
        return (uint32_t)value;
    uint32_t octave = 63 - (uint32_t)__builtin_clzll(value);
    uint32_t bucket = 4 * octave + (uint32_t)(value >> (octave - 2) & 3);
    return bucket < SB_HIST_BUCKETS ? bucket : SB_HIST_BUCKETS - 1;
}

/* The largest value of a bucket that bucket_of() can give. */
static uint64_t bucket_top(uint32_t bucket)
{
    if (bucket < 4)
        return bucket;
    uint32_t shift = bucket / 4 - 2;
    return ((UINT64_C(5) + bucket % 4) << shift) - 1;
}

static uint32_t epoch_at(uint64_t now_ms)
{
    return (uint32_t)(now_ms / SB_HIST_WINDOW_MS);
}

static void take_out(_Atomic uint32_t *count, uint32_t by)
{
    uint32_t old = atomic_load_explicit(count, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(count, &old, old > by ? old - by : 0,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/*
 * Turns a window of an old epoch into an empty one of this epoch. Only who wins the exchange of the
 * epoch takes the old content out, as it was before: so what others add to the new epoch meanwhile
 * stays. Relaxed suffices: at worst a reader sees old counts under the new epoch for a moment.
 */
static void renew_window(struct sb_hist *hist, uint32_t window, uint32_t old_epoch, uint32_t epoch)
{
    uint32_t old[SB_HIST_BUCKETS];
    for (uint32_t b = 0; b < SB_HIST_BUCKETS; b++)
        old[b] = atomic_load_explicit(&hist->count[window][b], memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&hist->epoch[window], &old_epoch, epoch,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    for (uint32_t b = 0; b < SB_HIST_BUCKETS; b++) {
        if (old[b] != 0)
            take_out(&hist->count[window][b], old[b]);
    }
}

void sb_hist_add(struct sb_hist *hist, uint64_t value, uint64_t now_ms)
{
    uint32_t epoch = epoch_at(now_ms);
    uint32_t window = epoch % SB_HIST_WINDOWS;
    uint32_t present = atomic_load_explicit(&hist->epoch[window], memory_order_relaxed);

    /* Newer: this caller's clock is a minute behind, its value is of no interest any more. */
    if ((int32_t)(present - epoch) > 0)
        return;
    if (present != epoch)
        renew_window(hist, window, present, epoch);
    atomic_fetch_add_explicit(&hist->count[window][bucket_of(value)], 1, memory_order_relaxed);
}

/* Adds up the windows of the last minute. Returns the total. */
static uint64_t sum_windows(const struct sb_hist *hist, uint64_t now_ms,
                            uint64_t sums[static SB_HIST_BUCKETS])
{
    uint32_t epoch = epoch_at(now_ms);
    uint64_t total = 0;

    for (uint32_t w = 0; w < SB_HIST_WINDOWS; w++) {
        uint32_t age = epoch - atomic_load_explicit(&hist->epoch[w], memory_order_relaxed);
        if (age >= SB_HIST_WINDOWS)
            continue;
        for (uint32_t b = 0; b < SB_HIST_BUCKETS; b++) {
            uint32_t count = atomic_load_explicit(&hist->count[w][b], memory_order_relaxed);
            sums[b] += count;
            total += count;
        }
    }
    return total;
}

uint64_t sb_hist_percentile(const struct sb_hist *hist, uint32_t permille, uint64_t now_ms)
{
    uint64_t sums[SB_HIST_BUCKETS] = {0};
    uint64_t total = sum_windows(hist, now_ms, sums);
    if (total == 0)
        return 0;

    uint64_t rank = (total * (permille < 1000 ? permille : 1000) + 999) / 1000;
    if (rank == 0)
        rank = 1;
    uint32_t b = 0;
    for (uint64_t below = sums[0]; below < rank; below += sums[b])
        b++;
    return bucket_top(b);
}

/* --- that only grow --- */

static void add_up(const struct sb_times *times, struct sb_times_sum *out)
{
    for (uint32_t i = 0; i <= SB_TIMES_BOUNDS; i++)
        out->count[i] += atomic_load_explicit(&times->count[i], memory_order_relaxed);
    out->sum += atomic_load_explicit(&times->sum, memory_order_relaxed);
}

void scoreboard_sum_connects(const struct scoreboard *sb, uint32_t row, struct sb_times_sum *out)
{
    *out = (struct sb_times_sum){0};
    add_up(&sb->rows[row].connects_us, out);
}

void scoreboard_sum_sessions(const struct scoreboard *sb, uint32_t service,
                             struct sb_times_sum *out)
{
    *out = (struct sb_times_sum){0};
    for (uint32_t w = 0; w < sb->header->n_workers; w++)
        add_up(&scoreboard_service_cell(sb, w, service)->session_ms, out);
}
