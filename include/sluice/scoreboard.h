/*
 * The scoreboard: live state in shared memory, mapped by master, workers and monitor before they
 * part. C11 atomics and fixed-width integers only, no pointers. Sparse: rows that nobody uses cost
 * no memory.
 *
 * Four kinds of rows, all handed out and taken back by master alone:
 *   slot     one per (pool, backend name, address): health and active count. A changed address
 *            gets a new slot; the old one drains.
 *   row      one per (pool, backend name): counters that go on when the address changes.
 *   service  one per service name.
 *   pool     one per pool name.
 * Cells hold one worker's part of a slot, row, service or pool; only that worker writes them (and
 * master after its death). Beside them stands the table of leases (pool/lease.h).
 *
 * Who writes what: reservations: workers, and master when it repairs. Health, reasons, check
 * counters: monitor. Worker rows: that worker (counters), master (pid, state, restarts).
 * Everything may be read by anyone at any time; figures that belong together may be a moment apart.
 */
#ifndef SLUICE_SCOREBOARD_H
#define SLUICE_SCOREBOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/limits.h"
#include "sluice/reasons.h"

#define SCOREBOARD_MAGIC  UINT64_C(0x3144425345434c53)
#define SCOREBOARD_LAYOUT 12

/* Pairs of an address that connections to backends come from and one that they go to. Number 0 is
 * none: not counted. They fit into 17 bits (proxy/session.h). */
#define SB_PAIRS_MAX (UINT32_C(1) << 17)

#define SB_SLOTS_MAX  (2 * BACKENDS_MAX) /* room for drained ones beside their successors */
#define SB_REASON_MAX 120

#define SB_PIN_COMMAND_MAX 32

#define SB_HISTORY_MAX 8 /* results that are kept of each check, and of each slot's together */

#define SB_CHECKS_MAX 4 /* checks of a slot with a record each; what is beyond shares the last */

#define SB_BUFFER_PART_BYTES (UINT32_C(64) << 10) /* of buffer_memory, as workers take it */

#define SB_UNSETTLED_MAX 32 /* places whose count scoreboard_repair() could not yet settle */

enum sb_health { SB_HEALTH_UNKNOWN, SB_HEALTH_UP, SB_HEALTH_DOWN, SB_HEALTH_COUNT };
enum sb_worker_state {
    SB_WORKER_STARTING,
    SB_WORKER_RUNNING,
    SB_WORKER_DRAINING,
    SB_WORKER_DEAD,
    SB_WORKER_STATE_COUNT
};

extern const char *const sb_health_names[SB_HEALTH_COUNT];             /* "unknown", "up", "down" */
extern const char *const sb_worker_state_names[SB_WORKER_STATE_COUNT]; /* "starting", … */

/*
 * A histogram of microseconds over the last minute: SB_HIST_WINDOWS windows of 10 s, the current
 * one and six complete ones. Log-linear buckets, four per octave: bucket(v) = 4·floor(log2 v) +
 * (the two bits of v after its leading one) from v = 4 up, v itself below; so a percentile is
 * within 25 % of the truth. What is above the last bucket (268 s) counts in it. Relaxed adds by
 * many writers; whoever first writes into a window of an old epoch takes its old content out.
 */
#define SB_HIST_BUCKETS   112
#define SB_HIST_WINDOWS   7
#define SB_HIST_WINDOW_MS 10000

struct sb_hist {
    _Atomic uint32_t epoch[SB_HIST_WINDOWS]; /* now_ms / SB_HIST_WINDOW_MS of its content */
    _Atomic uint32_t count[SB_HIST_WINDOWS][SB_HIST_BUCKETS];
};

/*
 * A histogram that only grows, for metrics: count[i] is of values up to 4^(i + first) and above the
 * bound before; the last one is of all that is above the last bound. first is the reader's and the
 * writer's common knowledge.
 */
#define SB_TIMES_BOUNDS 12

struct sb_times {
    _Atomic uint64_t count[SB_TIMES_BOUNDS + 1];
    _Atomic uint64_t sum;
};

#define SB_CONNECT_US_FIRST 2 /* 16 µs, 64 µs, … 67 s */
#define SB_SESSION_MS_FIRST 1 /* 4 ms, 16 ms, … 4.7 h */

/* Last results of checks, a ring: pool/history.h. */
struct sb_history {
    _Atomic uint32_t results[SB_HISTORY_MAX];
    _Atomic uint32_t n; /* that were ever written */
};

/*
 * A worker's share of a slot's active count. turns is raised at the end of every reservation and
 * release: repair knows by it that nothing happened while it was reading.
 */
struct sb_slot_cell {
    _Atomic uint32_t active, turns;
    _Atomic uint32_t upstreams, upstream_turns; /* the same for its upstreams */
};

/* What is known of a health; read and written by scoreboard_get_health() and _set_health() only. */
struct sb_health_record {
    _Atomic uint64_t since_ms;  /* monotonic; 0: never set */
    _Atomic uint32_t health;    /* enum sb_health */
    char reason[SB_REASON_MAX]; /* why; NUL-terminated */
};

/* Cold part of a slot. */
struct sb_slot {
    _Atomic uint32_t version; /* of the health record: record[version % 2] holds */
    uint32_t pad;
    struct sb_health_record record[2];
    _Atomic uint64_t checks_passed, checks_failed;
    _Atomic uint64_t last_check_ms;   /* monotonic; 0: never */
    _Atomic uint32_t last_latency_us; /* of that check */
    _Atomic uint32_t streak;          /* results alike in a row */
    _Atomic uint64_t next_check_ms;   /* monotonic */
    _Atomic uint64_t full_since_ms;   /* when slot_full was last set, monotonic */
    _Atomic uint64_t slow_from_ms;    /* when it became eligible, for slow start; 0: long ago */
    _Atomic uint32_t fresh; /* 1: there since the daemon's start, and never up nor found down by a
                               check: when it comes up, that begins no slow start */
    _Atomic uint32_t pool;  /* row of the pool that it belongs to */
    /* What its checks (agent, exec) ask for; monitor writes, and bumps health_epoch. Master when it
     * hands out the slot. */
    _Atomic uint32_t asked_permille; /* share of its weight, permille + 1; 0: nothing said */
    _Atomic uint32_t asked_admin;    /* enum admin_state; ready: nothing said */
    _Atomic uint32_t asked_limit;    /* max_connections + 1; 0: nothing said */
    _Atomic uint64_t asked_since_ms; /* since when they ask for drain (weight 0 is one),
                                        maintenance, or neither; monotonic; 0: never for any */
    /* The sessions that it has are being closed, the last one then; monotonic, 0: they are not.
     * Master writes; what it says no more, workers stop doing. */
    _Atomic uint64_t close_by_ms;
    /* What workers see of it (outlier): they count, monitor ejects. */
    _Atomic uint32_t failures;         /* in a row; any success makes it 0 */
    _Atomic uint32_t ejections;        /* in a row, for growing times */
    _Atomic uint64_t ejected_until_ms; /* monotonic; 0: it is not ejected */
    /* Upstreams; workers write. Trouble stays until the slot is used anew, or master clears it
     * because the pool's reuse settings have changed. */
    _Atomic uint32_t reuse_trouble; /* enum reuse_trouble */
    _Atomic uint32_t heard;         /* 1: it is known not to speak first */
    _Atomic uint32_t wanted;        /* upstreams that are to be closed for sessions' sake */
    /* Monitor writes. */
    struct sb_history history;      /* of all its checks, in the order in which they ended */
    _Atomic uint32_t check_records; /* bit i: record i of its checks was written and is of one that
                                       it has. Others are not read: that would take memory */
};

/* What is known of one check: its state for the slot, and how its last run ended. */
enum sb_check_state {
    SB_CHECK_UNKNOWN,
    SB_CHECK_UP,
    SB_CHECK_DOWN,
    SB_CHECK_ADVISORY, /* it has said that it has nothing to say of health, and does not count */
    SB_CHECK_STATE_COUNT
};
enum sb_check_result {
    SB_RESULT_NONE,
    SB_RESULT_PASSED,
    SB_RESULT_FAILED,
    SB_RESULT_NOTHING, /* neither; of advisory checks */
    SB_RESULT_COUNT
};
extern const char *const sb_check_state_names[SB_CHECK_STATE_COUNT]; /* "unknown", … */
extern const char *const sb_check_result_names[SB_RESULT_COUNT];     /* "none", "passed", … */

struct sb_check_text {
    _Atomic uint32_t result;    /* enum sb_check_result */
    char reason[SB_REASON_MAX]; /* NUL-terminated */
};

/* One check of one slot; written and read through pool/check_record.h. Monitor writes. */
struct sb_check {
    _Atomic uint64_t key;     /* of the check that it is of; 0: being cleared */
    _Atomic uint32_t version; /* of the text: text[version % 2] holds */
    _Atomic uint32_t state;   /* enum sb_check_state */
    _Atomic uint64_t passed, failed;
    _Atomic uint64_t last_ms, next_ms; /* monotonic; 0: never, not known */
    _Atomic uint32_t last_latency_us;
    _Atomic uint32_t streak; /* results alike in a row */
    struct sb_history history;
    struct sb_check_text text[2];
};

struct sb_row {
    _Atomic uint64_t connections_total; /* sessions bound */
    _Atomic uint64_t connect_failures;
    _Atomic uint64_t retries;   /* sessions that went elsewhere after a failure here */
    _Atomic uint64_t ports_out; /* times that there was no port left to connect from */
    _Atomic uint32_t connections_peak;
    uint32_t pad;
    struct sb_hist connect_time_us;
    struct sb_times connects_us; /* the same since the start */
};

struct sb_row_cell {
    _Atomic uint64_t bytes_in, bytes_out;
};

/* One worker's upstreams of a row: used where the pool keeps connections (reuse), else untouched.
 * There is one for each worker and backend, so it holds what is counted often and no more. */
struct sb_upstream_cell {
    _Atomic uint64_t requests;           /* with a framing: that came to their end here */
    _Atomic uint64_t opened;             /* lent: opened for the session or request */
    _Atomic uint64_t reused;             /* lent: had served before */
    _Atomic uint32_t idle, lent, pinned; /* now; pinned ones are lent too */
    uint32_t pad;
};

/* The rest, of all workers together: they add to it (scoreboard_add()). */
struct sb_upstream_row {
    _Atomic uint64_t warm; /* lent: opened ahead, never lent before */
    _Atomic uint64_t discarded[DISCARD_COUNT];
    _Atomic uint64_t stray_bytes;
    _Atomic uint64_t stale;          /* found ended or dirty when it was to be lent */
    _Atomic uint64_t ambiguous;      /* ended after a request was sent that may not be sent again */
    _Atomic uint64_t unsent_retries; /* sent elsewhere: nothing had been written */
    _Atomic uint64_t resent_retries; /* sent again, by the rules for what may be */
    _Atomic uint64_t open_failures;  /* of opening ahead */
    _Atomic uint64_t pins;           /* requests that took their upstream for the session's own */
};

/* Why reuse is off for a slot. */
enum reuse_trouble {
    REUSE_FINE,
    REUSE_SPEAKS_FIRST, /* it sent something on a connection before it was asked */
    REUSE_TROUBLE_COUNT
};
extern const char *const reuse_trouble_names[REUSE_TROUBLE_COUNT]; /* "none", "speaks_first" */

/* What is answered to who asks whether a service, or the daemon, is healthy. Master decides. */
enum sb_answer { SB_ANSWER_NONE, SB_ANSWER_NO, SB_ANSWER_YES, SB_ANSWER_COUNT };

struct sb_service {
    _Atomic uint32_t active, peak;
    _Atomic uint32_t answer;      /* enum sb_answer; by its pool alone, whatever vetoes it */
    _Atomic uint32_t counted;     /* 1: it counts for the daemon's answer */
    _Atomic uint64_t accept_rate; /* pool/rate.h */
};

struct sb_service_cell {
    _Atomic uint64_t connections_total; /* accepted */
    _Atomic uint64_t bytes_in, bytes_out;
    _Atomic uint64_t refused_by[REFUSAL_COUNT];
    _Atomic uint64_t ended_by[ENDING_COUNT];
    struct sb_times session_ms; /* how long sessions were there */
    _Atomic uint32_t active;    /* this worker's share */
    _Atomic uint32_t turns;     /* as in sb_slot_cell */
};

struct sb_pool {
    _Atomic uint32_t queued, queued_peak; /* sessions that wait for a place */
    _Atomic uint32_t freed;               /* places given back while somebody waited */
    _Atomic uint64_t backups_since_ms;    /* when backups last came into use or ceased; 0: never */
    /* Request mode: sessions whose framing found a first request, and those that then came to own
     * an upstream; the command that last did it. */
    _Atomic uint64_t framed_sessions, pinned_sessions;
    char pin_command[SB_PIN_COMMAND_MAX]; /* written byte by byte, NUL-terminated */
};

struct sb_pool_cell {
    _Atomic uint64_t oldest_us; /* when its first waiter came, monotonic; 0: none waits */
    _Atomic uint32_t queued;    /* this worker's share */
    _Atomic uint32_t turns;     /* as in sb_slot_cell */
};

/*
 * A lease: which backend a client keeps. Written by compare-and-swap only, from src/pool/lease.c,
 * which explains it.
 */
struct sb_lease {
    _Atomic uint64_t key;   /* 0: never used */
    _Atomic uint64_t value; /* backend row, sessions, end */
    _Atomic uint32_t held;  /* renewed while a session lives */
    uint32_t pad[3];
};

#define SB_LEASES_MAX (UINT32_C(1) << 20) /* 32 MiB once every place is in use; a power of two */

enum sb_pair_trouble {
    SB_PAIR_FINE,
    SB_PAIR_NO_PORT, /* connect() found none, though by our count there were some */
    SB_PAIR_ABSENT,  /* it cannot be used: not here, most often, or no way to the backend */
    SB_PAIR_TROUBLE_COUNT
};

/* What connections of one pair use: src/pool/ports.h. */
struct sb_pair {
    _Atomic uint32_t used;          /* ports, of all workers together */
    _Atomic uint32_t failures;      /* times that the kernel had no port, or not the address */
    _Atomic uint64_t shut_until_ms; /* after such a failure, monotonic; 0: it is not shut */
    /* Of the last attempt to connect from it: */
    _Atomic uint32_t trouble; /* enum sb_pair_trouble */
    _Atomic uint16_t error;   /* errno of it */
    _Atomic uint16_t in_a_row;
};

struct sb_worker {
    _Alignas(128) _Atomic int32_t pid; /* 0: none */
    _Atomic uint32_t state;            /* enum sb_worker_state */
    _Atomic uint32_t restarts;
    _Atomic uint32_t generation;    /* of the snapshot it works with */
    _Atomic uint64_t heartbeat_ms;  /* monotonic */
    _Atomic uint64_t intent;        /* what it is reserving or releasing just now; 0: nothing */
    _Atomic uint32_t active;        /* its share of the daemon's active count */
    _Atomic uint32_t turns;         /* as in sb_slot_cell, for the daemon's count */
    _Atomic uint32_t busy_permille; /* share of the last second not spent waiting */
    _Atomic uint32_t loop_lag_us;   /* longest turn in the last second */
    _Atomic uint32_t waiting;       /* sessions that wait for a backend */
    _Atomic uint64_t connections_total;
    _Atomic uint64_t accept_errors;
    _Atomic uint64_t log_dropped;
    _Atomic uint64_t buffered_bytes; /* held for slow peers */
    _Atomic uint32_t buffer_parts;   /* its share of the memory for them */
    _Atomic uint32_t buffer_turns;   /* as in sb_slot_cell, for that */
    _Atomic uint64_t spliced_bytes;
    _Atomic uint64_t pipes;     /* open, to splice with */
    _Atomic uint64_t throttled; /* bytes were left with their sender for want of it */
};

struct sb_header {
    uint64_t magic;
    uint32_t layout;
    uint32_t n_workers;
    uint64_t size_bytes;
    uint64_t started_ms; /* monotonic */
    uint64_t started_wall_ms;
    _Alignas(128) _Atomic uint32_t health_epoch; /* bumped after every change of any health, of
                                                    what is asked, of who is ejected */
    _Atomic int32_t monitor_pid;
    _Atomic uint32_t monitor_generation;
    _Atomic uint32_t monitor_restarts;
    _Atomic uint64_t monitor_heartbeat_ms;
    _Atomic uint64_t monitor_log_dropped; /* lines that the present monitor could not write */
    _Atomic uint32_t health_fail;         /* 1: the operator wants health answers to say no */
    _Atomic uint32_t health_stops;   /* 1: the daemon stops, or is about to: they say no, too */
    _Atomic uint32_t answer;         /* enum sb_answer, of the daemon, without those two */
    _Atomic uint32_t upstreams_used; /* 1: some worker has written an upstream cell. Until then none
                                        is read: even that would take memory for all of them */
    _Atomic uint32_t ports_missed;   /* the same of ports_out in rows, for master, who looks at it
                                        again and again */
    _Atomic uint32_t upgrade_timeout_ms; /* master writes: for workers that outlive it; 0: none */
    _Atomic uint32_t sources_turned; /* times that an address to connect from could be used no more,
                                        or again: then master looks through the pairs */
    _Alignas(128) _Atomic uint32_t active; /* client connections, whole daemon */
    _Atomic uint32_t peak;
    /* Memory for slow peers that workers have taken, in parts of SB_BUFFER_PART_BYTES. Written only
     * where peers are slow, read before every read. */
    _Alignas(128) _Atomic uint32_t buffer_parts;
    _Atomic uint32_t buffer_parts_peak;
    /* Master's own: intents of dead workers that scoreboard_settle() still has to settle. */
    _Alignas(128) uint64_t unsettled[SB_UNSETTLED_MAX];
    uint32_t n_unsettled;
    /* Ports that the kernel chooses from, both ends included, and how many of them it may choose;
     * 0: not known. pairs_end: no higher number was ever given to a pair; what is beyond is not to
     * be read, even that would take memory. Master writes. */
    _Alignas(128) _Atomic uint32_t port_first;
    _Atomic uint32_t port_last, ports, pairs_end;
    _Alignas(128) _Atomic uint64_t leases_refused; /* clients that found no place in the table */
    /* Of the status address; monitor writes. */
    _Atomic uint64_t status_requests, status_refused; /* refused: connections without a place */
};

/*
 * A process's handle on the mapping: pointers into shared memory. Obtained from
 * scoreboard_create(); inherited over fork. Arrays that schedulers scan are dense.
 */
struct scoreboard {
    struct sb_header *header;
    struct sb_worker *workers;        /* [n_workers] */
    _Atomic uint32_t *slot_active;    /* [SB_SLOTS_MAX] sessions, connects under way included */
    _Atomic uint8_t *slot_health;     /* [SB_SLOTS_MAX] enum sb_health */
    _Atomic uint32_t *slot_upstreams; /* [SB_SLOTS_MAX] open upstreams, idle and lent, where
                                         max_connections bounds them */
    /* [SB_SLOTS_MAX] 1: has been at its limit, and was not seen under resume_connections since */
    _Atomic uint8_t *slot_full;
    _Atomic uint64_t *slot_rate;             /* [SB_SLOTS_MAX] connect_rate: pool/rate.h */
    _Atomic uint64_t *slot_time;             /* [SB_SLOTS_MAX] response time: pool/ewma.h */
    struct sb_slot *slots;                   /* [SB_SLOTS_MAX] */
    struct sb_check *checks;                 /* [SB_CHECKS_MAX][SB_SLOTS_MAX]: what slots have one
                                                check only touch a fourth of it */
    struct sb_row *rows;                     /* [BACKENDS_MAX] */
    struct sb_service *services;             /* [SERVICES_MAX] */
    struct sb_pool *pools;                   /* [POOLS_MAX] */
    struct sb_lease *leases;                 /* [SB_LEASES_MAX] */
    struct sb_slot_cell *slot_cells;         /* [n_workers][SB_SLOTS_MAX] */
    struct sb_row_cell *row_cells;           /* [n_workers][BACKENDS_MAX] */
    struct sb_service_cell *service_cells;   /* [n_workers][SERVICES_MAX] */
    struct sb_pool_cell *pool_cells;         /* [n_workers][POOLS_MAX] */
    struct sb_upstream_cell *upstream_cells; /* [n_workers][BACKENDS_MAX] */
    struct sb_upstream_row *upstream_rows;   /* [BACKENDS_MAX] */
    struct sb_pair *pairs;                   /* [SB_PAIRS_MAX] */
    _Atomic uint16_t *pair_shares;           /* [n_workers][SB_PAIRS_MAX] of used; a port has 16
                                                bits, so that is enough */
};

/* src/pool/scoreboard.c */

/* Maps a new zeroed scoreboard, shared with later children, for 1 to WORKERS_MAX workers. Returns 0
 * or -errno (-EINVAL: not that many), *sb untouched. */
int scoreboard_create(struct scoreboard *sb, uint32_t n_workers, uint64_t now_ms, uint64_t wall_ms);
void scoreboard_destroy(struct scoreboard *sb); /* unmaps and zeroes *sb; twice is harmless */

/* src/pool/reservation.c, which explains the protocol */

/* What a reservation is of: a slot, a service, the daemon (which ignores index), a place in the
 * queue of a pool, an upstream of a slot, or a part of the memory for slow peers (index is
 * ignored). */
enum sb_place { SB_SLOT = 1, SB_SERVICE, SB_DAEMON, SB_QUEUE, SB_UPSTREAM, SB_BUFFER };

/*
 * Takes one place for this worker. limit 0: none. True when taken; false when the count is at its
 * limit, with nothing changed. Exact across workers: under a limit the shared count is raised by
 * compare-and-swap, so it is never over the limit (of all callers alike), not even for a moment,
 * and nobody is refused because of somebody else's attempt. Maintains the peaks of
 * services, daemon, queues and buffers.
 */
bool scoreboard_reserve(struct scoreboard *sb, uint32_t worker, enum sb_place place, uint32_t index,
                        uint32_t limit);
/* Gives it back. Saturates at zero: changes nothing when this worker holds no such place. */
void scoreboard_release(struct scoreboard *sb, uint32_t worker, enum sb_place place,
                        uint32_t index);

/*
 * After worker is known to be dead (waitpid) and before its successor starts: takes its shares out
 * of every count, settles the reservation it may have died in, and zeroes what it had waiting and
 * buffered. Master only; again is harmless. Returns how many sessions were taken out: its shares of
 * the services' counts. They are also counted as ENDING_WORKER_DIED of their services.
 */
uint32_t scoreboard_repair(struct scoreboard *sb, uint32_t worker);

/*
 * Settling needs a moment in which no worker reserves or releases the very same place. When there
 * was none in a bounded number of tries, that place's count stays one too high and is kept in mind:
 * master calls this now and then, and it tries again. Returns how many places are left: 0 nearly
 * always.
 */
uint32_t scoreboard_settle(struct scoreboard *sb);

/* src/pool/scoreboard.c */

/* Sums over workers. */
struct sb_row_sum {
    uint64_t bytes_in, bytes_out;
};
struct sb_service_sum {
    uint64_t connections_total, bytes_in, bytes_out, refused, ended;
    uint64_t refused_by[REFUSAL_COUNT];
    uint64_t ended_by[ENDING_COUNT];
};
struct sb_upstream_sum {
    uint64_t requests, opened, warm, reused, discarded, discarded_by[DISCARD_COUNT];
    uint64_t stray_bytes, stale, ambiguous, unsent_retries, resent_retries, open_failures, pins;
    uint64_t idle, lent, pinned;
};
void scoreboard_sum_upstreams(const struct scoreboard *sb, uint32_t row,
                              struct sb_upstream_sum *out);
void scoreboard_sum_row(const struct scoreboard *sb, uint32_t row, struct sb_row_sum *out);
void scoreboard_sum_service(const struct scoreboard *sb, uint32_t service,
                            struct sb_service_sum *out);

static inline struct sb_slot_cell *scoreboard_slot_cell(const struct scoreboard *sb,
                                                        uint32_t worker, uint32_t slot)
{
    return &sb->slot_cells[(size_t)worker * SB_SLOTS_MAX + slot];
}

static inline struct sb_check *scoreboard_check(const struct scoreboard *sb, uint32_t slot,
                                                uint32_t record)
{
    return &sb->checks[(size_t)record * SB_SLOTS_MAX + slot];
}

static inline struct sb_row_cell *scoreboard_row_cell(const struct scoreboard *sb, uint32_t worker,
                                                      uint32_t row)
{
    return &sb->row_cells[(size_t)worker * BACKENDS_MAX + row];
}

static inline struct sb_upstream_cell *scoreboard_upstream_cell(const struct scoreboard *sb,
                                                                uint32_t worker, uint32_t row)
{
    return &sb->upstream_cells[(size_t)worker * BACKENDS_MAX + row];
}

static inline struct sb_service_cell *scoreboard_service_cell(const struct scoreboard *sb,
                                                              uint32_t worker, uint32_t service)
{
    return &sb->service_cells[(size_t)worker * SERVICES_MAX + service];
}

static inline struct sb_pool_cell *scoreboard_pool_cell(const struct scoreboard *sb,
                                                        uint32_t worker, uint32_t pool)
{
    return &sb->pool_cells[(size_t)worker * POOLS_MAX + pool];
}

/* Adds to a counter that only the calling process writes: no lock prefix needed. */
static inline void scoreboard_bump(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

/* Adds to a counter that several processes write. */
static inline void scoreboard_add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* Which of struct sb_times' counts a value is in. */
static inline unsigned sb_times_bound(unsigned first, uint64_t value)
{
    unsigned bits = value > 1 ? 64 - (unsigned)__builtin_clzll(value - 1) : 0;
    unsigned bound = (bits + 1) / 2 > first ? (bits + 1) / 2 - first : 0;
    return bound < SB_TIMES_BOUNDS ? bound : SB_TIMES_BOUNDS;
}

/* Of one writer, and of several. */
static inline void sb_times_bump(struct sb_times *times, unsigned first, uint64_t value)
{
    scoreboard_bump(&times->count[sb_times_bound(first, value)], 1);
    scoreboard_bump(&times->sum, value);
}
static inline void sb_times_add(struct sb_times *times, unsigned first, uint64_t value)
{
    scoreboard_add(&times->count[sb_times_bound(first, value)], 1);
    scoreboard_add(&times->sum, value);
}

/* Sets a slot's health with its reason (cut to fit); a changed health also changes since_ms and
 * bumps health_epoch. One that becomes up begins its slow start with that, unless it was fresh.
 * Monitor, and master when it hands out a slot. Returns whether it changed. */
bool scoreboard_set_health(struct scoreboard *sb, uint32_t slot, enum sb_health health,
                           const char *reason, uint64_t now_ms);
/* A consistent copy of health, its time and reason. Never waits; a writer that stands still or died
 * in the middle is no hindrance. */
enum sb_health scoreboard_get_health(const struct scoreboard *sb, uint32_t slot,
                                     uint64_t *out_since_ms, char reason[static SB_REASON_MAX]);
/* Raises a peak. */
void scoreboard_note_peak(_Atomic uint32_t *peak, uint32_t value);

/* Zeroes everything of a slot, row or service in all workers' cells before it is used anew. */
void scoreboard_clear_slot(struct scoreboard *sb, uint32_t slot);
void scoreboard_clear_row(struct scoreboard *sb, uint32_t row);
void scoreboard_clear_service(struct scoreboard *sb, uint32_t service);
void scoreboard_clear_pool(struct scoreboard *sb, uint32_t pool);

/* src/pool/histogram.c */

void sb_hist_add(struct sb_hist *hist, uint64_t value, uint64_t now_ms);
/* Value at permille (500: median; above 1000 counts as 1000) over the last minute; 0 when there is
 * none. The upper end of its bucket. */
uint64_t sb_hist_percentile(const struct sb_hist *hist, uint32_t permille, uint64_t now_ms);

struct sb_times_sum {
    uint64_t count[SB_TIMES_BOUNDS + 1], sum;
};
/* How long connecting to the backend of a row took; how long sessions of a service were there. */
void scoreboard_sum_connects(const struct scoreboard *sb, uint32_t row, struct sb_times_sum *out);
void scoreboard_sum_sessions(const struct scoreboard *sb, uint32_t service,
                             struct sb_times_sum *out);

#endif
