/*
 * Upstreams: connections to backends in pools that keep them (reuse), of one worker. Private to
 * src/proxy.
 *
 *                 opened ahead                      lent                given back
 *     (refill) ────────────────► OPENING ──► IDLE ◄──────────► LENT
 *     (a session finds none idle) ─────────────────────────────► LENT
 *
 * and from everywhere to its end, which has a reason (enum discard). Idle ones of a backend lie on
 * its shelf, the newest first, and stay registered with the loop: a byte, an end or an error there
 * ends them. Nothing is lent, given back or opened ahead while the backend is not up.
 *
 * Where the backend has max_connections, an open upstream holds a place of SB_UPSTREAM, so that
 * idle and lent ones of all workers together never exceed it. A session that needs one when there
 * is none makes idle ones of its own worker go, else asks the other workers to let one go.
 */
#ifndef SLUICE_PROXY_UPSTREAM_H
#define SLUICE_PROXY_UPSTREAM_H

#include "frame/framer.h"
#include "session.h"

enum upstream_state { UPSTREAM_OPENING, UPSTREAM_IDLE, UPSTREAM_LENT };

struct shelf; /* shelf.h: one a slot */

struct upstream {
    struct leg leg;
    struct proxy *proxy;
    struct session *session; /* that it is lent to */
    struct shelf *shelf;
    TAILQ_ENTRY(upstream) link;
    uint64_t opened_ms, idle_ms; /* since when */
    uint64_t expires_ms;         /* by its age; UINT64_MAX: never */
    uint64_t settings;           /* of the pool when it was opened */
    uint32_t uses;               /* that it was given back from */
    uint8_t state;               /* enum upstream_state */
    bool has_place : 1;          /* holds one of SB_UPSTREAM */
    bool private : 1;            /* never given back: its pool does not keep such as this session */
    bool settled : 1;            /* keepalive and user_timeout are set */
    bool is_ahead : 1;           /* opened ahead, not lent yet */
    bool has_spoken : 1;         /* opened ahead, and to be listened to for its end since idle_ms */
    bool pinned : 1;
    bool is_returning : 1; /* lent, and counted in its shelf's n_returning */
    uint32_t n_key;
    uint32_t n_tail, n_expected;
    unsigned char *key;  /* the handshake that it has done; NULL: none */
    unsigned char *tail; /* while it is being reset: room for n_expected bytes, of which n_tail are
                            the last that came, and the expected ones; else NULL */
};

TAILQ_HEAD(upstream_list, upstream);

/* What a session wants an upstream for. */
struct upstream_wish {
    struct framing_bytes key, next_key; /* either will do, next_key rather */
    bool proven;                        /* only one that has been reused before, or a fresh one */
    bool fresh;                         /* only a fresh one */
};

void upstreams_init(struct proxy *proxy);
void upstreams_fini(struct proxy *proxy);
/* After a new snapshot, and after some health has changed: ends the idle ones that may not stay. */
void upstreams_apply(struct proxy *proxy);
void upstreams_look(struct proxy *proxy);
/* Lets go what other workers want. */
void upstreams_asked(struct proxy *proxy);
/* Ends expired ones, opens ahead. Once a turn. */
void upstreams_work(struct proxy *proxy);
/* When upstreams_work() is due without an event; UINT64_MAX: not. */
uint64_t upstreams_due_ms(const struct proxy *proxy);

enum lending {
    LENDING_DONE,     /* s->upstream is an open one */
    LENDING_FRESH,    /* s->upstream is a new record, its leg without a descriptor */
    LENDING_NO_ROOM,  /* max_connections: one has been asked for, try again a little later */
    LENDING_TOO_FAST, /* connect_rate, and no idle one will do */
    LENDING_NO_MEMORY,
};
/* Binds an upstream of the chosen backend (its place is reserved: s->slot, s->row) to the session.
 * is_private: it will not be kept afterwards. */
enum lending upstream_lend(struct session *s, uint32_t pool, uint32_t index, bool is_private,
                           const struct upstream_wish *wish);
/* Before a connect to the backend: where idle connections hold all ports that it could have, closes
 * one. False: another worker has been asked to, try again a little later. */
bool room_make_port(struct proxy *proxy, const struct snapshot_backend *backend);
/* What was taken of the backend's connect_rate, for a connection that was not opened. */
void room_give_rate_back(struct proxy *proxy, const struct snapshot_backend *backend);
/* Registers its descriptor with the loop. False: out of memory. */
bool upstream_register(struct upstream *u);
/* Its session is done with it, and nothing of it is left behind: keeps it if that may be, for
 * clients with the same key. It is no longer the session's. */
void upstream_give_back(struct session *s, struct framing_bytes key);
/* Ends the session's upstream; by a reset unless orderly. */
void upstream_discard(struct session *s, enum discard reason, bool orderly);
/* What its pool says of reuse now; NULL: its backend is gone. */
const struct snapshot_reuse *upstream_reuse(const struct upstream *u);
/* Sets keepalive and user time-out, once. */
void upstream_settle(struct upstream *u);
/* Marks it as the session's own, until its end or until what has made it so is over. */
void upstream_pin(struct session *s, const char *why);
void upstream_unpin(struct upstream *u);
/* Whether the backend has sent something on this connection before anything of ours reached it. */
bool upstream_spoke_first(const struct upstream *u);
/* Looks at one that is kept for its session's next request: why it is to be let go, because bytes
 * (which are counted), an end or an error have come that were not read; DISCARD_COUNT: nothing has.
 */
enum discard upstream_unquiet(struct upstream *u);
/* The backend has sent bytes that nobody had asked for. */
void upstream_strayed(struct upstream *u, size_t n);
/* Switches reuse off for its backend. */
void upstream_switch_off(struct upstream *u, enum reuse_trouble trouble);
/* Reuse is off for its backend: bytes are to flow as they would without it. */
bool upstream_is_switched_off(const struct upstream *u);
/* Counters of its backend, in this worker and in all of them. */
struct sb_upstream_cell *upstream_cell(const struct proxy *proxy, uint32_t row);
struct sb_upstream_row *upstream_row(const struct proxy *proxy, uint32_t row);

#endif
