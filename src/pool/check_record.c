/*
 * Records of single checks: see the header. In the monitor, which writes them, and in master.
 *
 * Result and reason stand twice, as a slot's health does (scoreboard.c), so that they are always of
 * one run. A record changes hands as follows: its key becomes 0, its figures are cleared, a version
 * without result is published, it gets its new key. So a reader that has copied, and then finds the
 * key and still the version that it began with, has copied nothing of another check.
 */
#include "check_record.h"

#include <string.h>
#include <xxhash.h>

#include "shared_text.h"

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

uint64_t check_record_key(const struct snapshot_check *checks, uint32_t i)
{
    uint32_t last = i < SB_CHECKS_MAX ? i : SB_CHECKS_MAX - 1;
    const char *title = checks[last].title;
    uint64_t alike = 0, key;

    for (uint32_t k = 0; k < last; k++)
        alike += strcmp(checks[k].title, title) == 0;
    key = XXH3_64bits_withSeed(title, strlen(title), alike);
    return key != 0 ? key : 1;
}

/* --- writing --- */

static void publish(struct sb_check *record, enum sb_check_result result, const char *reason)
{
    uint32_t version = LOAD(record->version) + 1;
    struct sb_check_text *text = &record->text[version % 2];

    atomic_thread_fence(memory_order_release);
    STORE(text->result, (uint32_t)result);
    shared_text_store(text->reason, reason);
    atomic_store_explicit(&record->version, version, memory_order_release);
}

/* Gives it to the check with that key. */
static void begin(struct sb_check *record, uint64_t key)
{
    STORE(record->key, 0);
    atomic_thread_fence(memory_order_release);
    STORE(record->state, SB_CHECK_UNKNOWN);
    STORE(record->passed, 0);
    STORE(record->failed, 0);
    STORE(record->last_ms, 0);
    STORE(record->next_ms, 0);
    STORE(record->last_latency_us, 0);
    STORE(record->streak, 0);
    STORE(record->history.n, 0);
    publish(record, SB_RESULT_NONE, "");
    atomic_store_explicit(&record->key, key, memory_order_release);
}

/* The record among those of the mask that is of key; SB_CHECKS_MAX: none is. */
static uint32_t find(const struct scoreboard *sb, uint32_t slot, uint32_t mask, uint64_t key)
{
    uint32_t r = 0;

    while (r < SB_CHECKS_MAX &&
           (!(mask & UINT32_C(1) << r) ||
            atomic_load_explicit(&scoreboard_check(sb, slot, r)->key, memory_order_acquire) != key))
        r++;
    return r;
}

void check_record_assign(struct scoreboard *sb, uint32_t slot, const uint64_t *keys, uint32_t n,
                         struct sb_check **out)
{
    _Atomic uint32_t *written = &sb->slots[slot].check_records;
    uint32_t before = LOAD(*written), taken = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t r = find(sb, slot, before, keys[i]);

        out[i] = r < SB_CHECKS_MAX ? scoreboard_check(sb, slot, r) : NULL;
        taken |= r < SB_CHECKS_MAX ? UINT32_C(1) << r : 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t r = (uint32_t)__builtin_ctz(~taken);

        if (out[i] != NULL)
            continue;
        out[i] = scoreboard_check(sb, slot, r);
        begin(out[i], keys[i]);
        taken |= UINT32_C(1) << r;
    }
    /* Release: who sees the bit sees the record cleared. */
    atomic_store_explicit(written, taken, memory_order_release);
}

void check_record_note(struct sb_check *record, const struct check_record_run *run)
{
    bool passed = run->result == SB_RESULT_PASSED;

    if (run->result != SB_RESULT_NOTHING) {
        scoreboard_bump(passed ? &record->passed : &record->failed, 1);
        history_add(&record->history, passed, run->latency_us, run->now_ms);
    }
    STORE(record->last_ms, run->now_ms);
    STORE(record->last_latency_us,
          run->latency_us < UINT32_MAX ? (uint32_t)run->latency_us : UINT32_MAX);
    publish(record, run->result, run->reason);
}

void check_record_stand(struct sb_check *record, enum sb_check_state state, uint32_t streak,
                        uint64_t next_ms)
{
    STORE(record->state, (uint32_t)state);
    STORE(record->streak, streak);
    STORE(record->next_ms, next_ms);
}

/* --- reading --- */

/* What stands there now, whosever it is. */
static void copy(const struct sb_check *record, uint32_t version, uint64_t now_ms,
                 struct check_record *out)
{
    const struct sb_check_text *text = &record->text[version % 2];

    *out = (struct check_record){
        .state = LOAD(record->state),
        .result = LOAD(text->result),
        .streak = LOAD(record->streak),
        .last_latency_us = LOAD(record->last_latency_us),
        .passed = LOAD(record->passed),
        .failed = LOAD(record->failed),
        .last_ms = LOAD(record->last_ms),
        .next_ms = LOAD(record->next_ms),
    };
    out->n_history = history_read(&record->history, now_ms, out->history);
    shared_text_load(out->reason, text->reason);
}

void check_record_read(const struct scoreboard *sb, uint32_t slot, uint64_t key, uint64_t now_ms,
                       struct check_record *out)
{
    uint32_t written = atomic_load_explicit(&sb->slots[slot].check_records, memory_order_acquire);
    uint32_t r = find(sb, slot, written, key);
    uint64_t found = r < SB_CHECKS_MAX ? key : 0;

    for (int try = 0; try < SHARED_READ_TRIES && found == key; try++) {
        const struct sb_check *record = scoreboard_check(sb, slot, r);
        uint32_t version = atomic_load_explicit(&record->version, memory_order_acquire);

        copy(record, version, now_ms, out);
        atomic_thread_fence(memory_order_acquire);
        found = LOAD(record->key);
        if (LOAD(record->version) == version)
            break;
    }
    if (found != key)
        *out = (struct check_record){0};
}
