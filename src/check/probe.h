/*
 * Inside the check engine: probes, their timing and their queue (probe.c), what a snapshot wants of
 * them (roster.c), what the results of one slot's checks say together (verdict.c), what is told of
 * each (record.c), and what becomes of that (engine.c). Not for anybody else.
 *
 *   backend ──► watched ──► link ──► probe ◄── link ◄── watched ◄── backend
 *               (a slot)                       (another pool's slot, same address, same check)
 *
 * A probe is asked by many links and knows no health; each link has its own, because slots may have
 * started from different ones.
 */
#ifndef SLUICE_CHECK_PROBE_H
#define SLUICE_CHECK_PROBE_H

#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include "check/check.h"
#include "check/eject.h"
#include "check/engine.h"
#include "check/health.h"
#include "sluice/scoreboard.h"

/* What makes two checks one probe. Compared by memcmp: zeroed before it is filled. */
struct probe_key {
    struct addr address;         /* with the check's port, if it has one */
    struct snapshot_check check; /* title "", port 0, first_arg 0: args_hash tells args apart */
    uint32_t send_proxy;         /* enum send_proxy */
    char pool[NAME_BYTES_MAX], backend[NAME_BYTES_MAX]; /* where programs are told them, or "" */
};

/* What checks ask for on behalf of a backend; each as in struct check_outcome, CHECK_NOT_SAID too.
 */
struct asked {
    uint32_t weight_permille, admin, max_connections;
};

#define ASKED_NOTHING ((struct asked){CHECK_NOT_SAID, CHECK_NOT_SAID, CHECK_NOT_SAID})

/*
 *   waiting ──due──► queued ──place free──► running ──result, time-out, could not start──► waiting
 *      ▲               │
 *      └──nobody wants─┘
 */
enum probe_state { PROBE_WAITING, PROBE_QUEUED, PROBE_RUNNING, PROBE_STATE_COUNT };

struct link {
    LIST_ENTRY(link) of_probe;
    struct probe *probe;
    struct watched *watched;
    struct health health;
    bool has_failed; /* a failure of the probe has reached it: the probe's text explains a "down" */
    bool is_mute;    /* unknown, and a run has ended without a word of health: does not count */
    char title[NAME_BYTES_MAX]; /* "http:login": of the section, not of the probe */
    uint64_t record_key;        /* pool/check_record.h */
    struct sb_check *record;    /* in the scoreboard; from its adoption on */
};

struct probe {
    struct check_probe check; /* what the kind sees */
    struct check_engine *engine;
    const struct check_kind *kind;
    struct probe_key key;
    struct check_arg *args; /* with their strings one piece of memory */
    struct asked asked;     /* what its runs have said so far */
    RB_ENTRY(probe) of_tree;
    TAILQ_ENTRY(probe) of_queue; /* queued */
    SLIST_ENTRY(probe) of_fresh; /* made for a roster under construction */
    LIST_HEAD(, link) links;
    enum probe_state state;
    bool settled;                    /* has had a whole interval: its place in time is its own */
    struct event timer;              /* waiting: the next run; running: the time-out */
    uint64_t due_us;                 /* of timer */
    char reason[SB_REASON_MAX];      /* of the last result */
    char fail_reason[SB_REASON_MAX]; /* of the last failure */
    _Alignas(max_align_t) unsigned char kind_state[];
};

RB_HEAD(probe_tree, probe);
TAILQ_HEAD(probe_queue, probe);
SLIST_HEAD(probe_list, probe);

/* What waits for its turn together, and runs out together: programs need processes, everybody else
 * connections. Neither holds up the other. */
struct lane {
    struct probe_queue queue;
    struct event pump;        /* starts what is queued */
    uint64_t paused_until_us; /* no starts before: something of our own ran out */
    uint32_t running, limit;
};

enum lane_index { LANE_CONNECTIONS, LANE_PROGRAMS, LANE_COUNT };

/* One slot that has checks. */
struct watched {
    uint32_t slot;
    uint32_t n_links;
    struct link *links; /* in the order of the checks */
    bool require_any;   /* one check that passes is enough */
    struct asked
        inherited; /* what it asked for before this engine was there, as far as that holds */
    char pool[NAME_BYTES_MAX];
    char backend[NAME_BYTES_MAX];
};

/* Everything that one snapshot wants checked. */
struct roster {
    struct watched *watched;
    struct link *links;
    uint32_t n_watched, n_links;
    uint32_t by_slot[SB_SLOTS_MAX]; /* index into watched + 1; 0: none */
};

struct check_engine {
    struct event_base *base;
    struct scoreboard *sb;
    check_change_fn *changed;
    void *arg;
    uint64_t random;
    struct roster *roster; /* NULL before the first snapshot */
    struct probe_tree probes;
    struct lane lanes[LANE_COUNT];
    struct ejector *ejector;
    struct event sweep; /* looks at what workers have seen */
    uint64_t swept_us;  /* when that was done last */
    uint64_t log_after_us;
    uint64_t postponed_logged;
    struct check_engine_stats stats;
};

/* --- probe.c --- */

/* As evtimer_add(). Fails only without memory, and only when libevent's heap of timers has never
 * been that large: so each timer claims its place when it is made, and nobody has to look later. */
int timer_set(struct event *timer, uint64_t delay_us);

struct probe *probe_find(struct check_engine *engine, const struct probe_key *key);
/*
 * A new one, in the tree, due now. check is what key was made of; its args are copied. NULL
 * without memory.
 */
struct probe *probe_create(struct check_engine *engine, const struct check_kind *kind,
                           const struct probe_key *key, const struct snapshot_header *snapshot,
                           const struct snapshot_check *check);
/* Ends it in whatever state it is. Its links are the caller's. */
void probe_destroy(struct probe *probe);
/* Empties every probe's list of links; the links are the caller's. */
void probe_forget_links(struct check_engine *engine);
/* Ends all probes without links. */
void probe_destroy_unlinked(struct check_engine *engine);

/* Sets up and takes down what starts the queued probes; nothing is left over of what failed. */
int pump_init(struct check_engine *engine);
void pump_fini(struct check_engine *engine);
/* To be called whenever the limit of descriptors may have changed. */
void pump_read_limit(struct check_engine *engine);

/* --- roster.c --- */

/*
 * What snapshot wants, as a new roster whose links know their probes but are in no list and have no
 * health yet. Missing probes are made. Returns 0, or -ENOMEM or -EINVAL with nothing left over.
 */
int roster_build(struct check_engine *engine, const struct snapshot_header *snapshot,
                 struct roster **out_roster);
void roster_free(struct roster *roster); /* NULL is allowed */
/* The entry of that slot if it is of that pool and backend; NULL too for a NULL roster. */
const struct watched *roster_find(const struct roster *roster, const struct watched *same);

/* --- verdict.c --- */

enum sb_health verdict_health(const struct watched *watched);
/* Why that is so. False when there is nothing to say that is not said already: no result has
 * explained it yet. */
bool verdict_reason(const struct watched *watched, enum sb_health health,
                    char reason[static SB_REASON_MAX]);
/* What its checks ask for together: the smallest weight, the severest admin state, the smallest
 * limit. Lets go of what is inherited as far as it does not hold any more. */
struct asked verdict_asked(struct watched *watched);
/* "weight 50%, drain, at most 30 connections"; "nothing". */
void verdict_asked_text(const struct asked *asked, char text[static SB_REASON_MAX]);

/* --- record.c --- */

/* Gives the links of watched their records, and says there how they stand. Nobody else may have
 * records of that slot. */
void record_adopt(struct check_engine *engine, struct watched *watched);
/* A run has ended, which link has taken already. */
void record_note(const struct link *link, const struct check_outcome *outcome, uint64_t latency_us,
                 uint64_t now_us);

/* --- engine.c --- */

/* Passes a probe's result to everybody it concerns. The next run's time is known already. */
void engine_fan_out(struct probe *probe, const struct check_outcome *outcome, uint64_t now_us);

#endif
