/*
 * Records of single checks in the scoreboard: one for each of a slot's first SB_CHECKS_MAX checks;
 * those beyond share the last one's, which then has the results of all of them. A record is found
 * by what its check is called, so that it stays the check's own through reloads, however the order
 * changes, and while monitor and master go by different snapshots. Pure but for the scoreboard.
 */
#ifndef SLUICE_POOL_CHECK_RECORD_H
#define SLUICE_POOL_CHECK_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/history.h"
#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

/* The key of check i among the n that a backend has: made of its title, and of how many before it
 * have the same. Never 0. */
uint64_t check_record_key(const struct snapshot_check *checks, uint32_t i);

/* --- monitor only --- */

/*
 * From now on the slot's records are those of these n keys, each another, n at most SB_CHECKS_MAX:
 * out[i] is of keys[i]. What is known of one of them stays; a new one's record is cleared.
 */
void check_record_assign(struct scoreboard *sb, uint32_t slot, const uint64_t *keys, uint32_t n,
                         struct sb_check **out);

struct check_record_run {
    enum sb_check_result result; /* not NONE */
    const char *reason;
    uint64_t latency_us, now_ms;
};
/* A run has ended. One that says nothing counts neither as passed nor as failed, nor in history. */
void check_record_note(struct sb_check *record, const struct check_record_run *run);
/* How it stands. next_ms 0: not known. */
void check_record_stand(struct sb_check *record, enum sb_check_state state, uint32_t streak,
                        uint64_t next_ms);

/* --- anybody --- */

struct check_record {
    enum sb_check_state state;
    enum sb_check_result result; /* NONE: no run has ended yet */
    uint32_t streak, last_latency_us;
    uint64_t passed, failed, last_ms, next_ms;
    struct history_result history[SB_HISTORY_MAX]; /* newest first */
    uint32_t n_history;
    char reason[SB_REASON_MAX]; /* of result, never of another */
};
/* What is known of the slot's check with that key; zeros where nothing is. Never waits. */
void check_record_read(const struct scoreboard *sb, uint32_t slot, uint64_t key, uint64_t now_ms,
                       struct check_record *out);

#endif
