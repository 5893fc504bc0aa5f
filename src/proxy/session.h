/*
 * The session record and what the files of the data path do with it. Private to src/proxy.
 *
 * A session's life, and who moves it:
 *
 *            accept                 connect under way
 *   (new) ──────────► WAITING ◄───────────────► CONNECTING ──────► OPEN ──────► (dead)
 *      │                 │   no backend known      │   connected     │   both ends seen and
 *      └─────────────────┴── refused ──────────────┘                 │   drained, reset, time-out
 *                                                                    ▼
 *                                           each direction by itself:
 *                                           open → end seen → drained → shut
 *
 * session_finish() is the only way to the end; the record is freed at the end of the loop's turn.
 */
#ifndef SLUICE_PROXY_SESSION_H
#define SLUICE_PROXY_SESSION_H

#include <event2/event_struct.h>
#include <sys/queue.h>

#include "base/slab.h"
#include "base/wheel.h"
#include "frame/framer.h"
#include "proxy.h"
#include "sched/choose.h"

/* One read of the shared scratch buffer; small enough to stay in a core's second-level cache. */
#define RELAY_SCRATCH_BYTES (64 * 1024)
/* What one flow may move before others get their turn. */
#define RELAY_BUDGET_BYTES (256 * 1024)
#define ACCEPTS_PER_TURN   16
/* How long a client waits for the first check result (pool option start = "unknown"). */
#define START_WAIT_MS 3000
/* A connect to a Unix socket whose backlog is full is tried again after this. */
#define UNIX_AGAIN_MS 20
/* Socket options that only matter to long-lived sessions are set at this age: short ones never
 * pay for them. Well under the time-outs they set. */
#define SETTLE_MS 2000
/* How long an error may go unnoticed that came together with data. Looking at once would cost a
 * system call for every event, and a busy session meets it with its next one anyway. */
#define SUSPECT_MS 100
/* How long a backend may take for the reset exchange. */
#define RESET_TIMEOUT_MS 3000

struct queue;          /* queue.c */
struct buffer;         /* what a slow peer has not taken yet: buffer.h */
struct pipe;           /* splice.c */
struct upstream;       /* upstream.h */
struct exchange;       /* exchange.c */
struct shelf;          /* shelf.h */
struct session_logger; /* session_log.c */
struct closing_member; /* closing.c */

/* One side of a session. */
struct leg {
    struct event event;     /* edge-triggered; a client's for writing only once it was blocked */
    struct buffer *pending; /* bytes to be written to this leg before anything newer; NULL: none */
    int fd;
    bool registered : 1;
    bool readable : 1;  /* cleared only by a true EAGAIN */
    bool writable : 1;  /* cleared only by a short or refused write */
    bool suspect : 1;   /* the last event may have hidden an error, or more than was read */
    bool closing : 1;   /* its end is on the way: read until it is there */
    bool ended : 1;     /* its end of stream was read */
    bool shut : 1;      /* our end was passed on to it */
    bool corked : 1;    /* what was written last waits in the kernel for more to join it */
    bool was_told : 1;  /* bytes were written to it */
    bool is_prompt : 1; /* they do not wait for acknowledgements of earlier ones (TCP_NODELAY) */
    bool starved : 1;   /* bytes for it wait unread until it is writable: throttle.h */
    bool copied : 1;    /* what it sends cannot be spliced: splice.h */
    uint32_t full_reads : 3; /* in a row; at SPLICE_AFTER its bytes are spliced: splice.h */
    uint32_t pair : 17;      /* that its port is counted in; 0: none. With the above in one word */
};

/* Where the connection to the backend came from. */
enum session_reuse {
    SESSION_NEW,
    SESSION_WARM, /* opened ahead */
    SESSION_KEPT, /* used before */
    SESSION_REUSE_COUNT
};

/* What exists only until a backend is connected. */
struct attempt {
    struct session *session;
    TAILQ_ENTRY(attempt) waiting_link;
    uint64_t begun_ms;                    /* when the session began to want a backend */
    uint64_t started_us;                  /* of this try */
    struct choose_tried tried[TRIED_MAX]; /* valid for generation */
    uint32_t n_tried;
    bool forgets;       /* the last one in vain found no room there */
    uint32_t round;     /* while waiting: in which it was asked last, or came */
    uint32_t held_back; /* a bit for each of those that are passed over for now only */
    uint32_t portless;  /* for each that no port was free to connect to from */
    uint32_t generation;
    uint32_t epoch; /* health_epoch of the try under way */
    uint32_t tries;
    bool no_port;         /* some backend could not be connected to for want of a port of ours */
    bool no_address;      /* nor from the client's address, which the pool wants */
    bool again;           /* a Unix socket's backlog was full: worth another try a little later */
    bool waiting;         /* for a health: linked into proxy->waiting */
    bool is_cramped;      /* for the end of an idle connection: linked into proxy->cramped */
    bool is_held_back;    /* the last try was of a backend that cannot be connected to now */
    bool is_held;         /* waits, or did, because its pool is paused: no limit keeps it out */
    bool has_queue_place; /* counted in the queue of the pool of queue_row */
    uint32_t queue_row;
    struct queue *queue;        /* linked into it: waits for a place; NULL: not */
    uint64_t cramped_ms;        /* since when idle connections are in its way; 0: they are not */
    uint64_t failed_us;         /* of the last try in vain */
    uint64_t queued_us;         /* when it first came to wait for a place; 0: never did */
    uint64_t timed_us;          /* from when queue_timeout runs; 0: it does not */
    struct chosen chosen;       /* of the try under way */
    struct addr_ip destination; /* that the client connected to, where the pool looks at it */
};

struct session {
    struct leg client;
    struct leg plain;    /* to the backend, unless that is an upstream's */
    struct leg *backend; /* the one of the two; without a descriptor while there is no backend */
    struct wheel_entry timer;
    uint64_t active_ms; /* last byte in either direction; of the try while connecting */
    uint64_t bytes_in, bytes_out;
    uint64_t id;
    uint64_t started_ms;
    struct closing_member *closing; /* its place among those to be closed; NULL: none */
    struct addr_ip peer;
    uint32_t slot, row; /* SNAPSHOT_NONE: no backend reserved */
    uint32_t idle_timeout_ms, half_close_timeout_ms;
    uint32_t backend_keepalive_ms, backend_user_timeout_ms;
    struct lease_hold hold; /* its part in the client's lease; all-zero: none */
    uint32_t connect_us;    /* how long that took, at the last one; 0: an open one was lent */
    uint32_t queue_ms;      /* from wanting a backend to the try that found one, of all requests */
    uint32_t first_byte_us; /* from the backend's connect to its first byte; until that is there,
                               low bits of when it was connected */
    uint32_t asked_us;      /* while timed: low bits of when the backend was last sent something */
    uint32_t taken; /* bytes that both ends had taken of the kernel at the last look; low bits */
    uint16_t service_row;
    uint8_t state : 7;        /* enum session_state */
    bool handshake_waits : 1; /* its last step with the backend, for a request to ride on */
    uint8_t retries; /* tries of a backend in vain before the one that was connected, at most 255 */
    uint16_t listener;      /* low bits of its id */
    uint8_t send_proxy : 2; /* enum send_proxy, of the backend's pool */
    uint8_t reuse : 2;      /* enum session_reuse, of the last backend */
    bool in_ready : 1;
    bool settled : 1;
    bool dead : 1;
    bool timed : 1;            /* the time to the backend's first byte is wanted */
    bool watched : 1;          /* its pool counts failures of backends: outlier.h */
    bool was_pinned : 1;       /* counted as a session that came to own its upstream */
    bool is_bound : 1;         /* counted as one, in its backend's connections_total */
    bool backend_spoke : 1;    /* after all that was written to it */
    bool was_greeted : 1;      /* the backend spoke before the client */
    bool conversed : 1;        /* the client has spoken again after the backend had */
    bool is_resetting : 1;     /* reset.c */
    bool was_draining : 1;     /* at that look the kernel still had some for them */
    struct attempt *attempt;   /* NULL unless it looks for a backend */
    struct upstream *upstream; /* NULL: none is lent to it */
    struct exchange *exchange; /* NULL: its bytes flow unread */
    SLIST_HEAD(, pipe) pipes;  /* of directions that are spliced now: splice.h */
    struct proxy *proxy;
    TAILQ_ENTRY(session) all_link;
    STAILQ_ENTRY(session) turn_link; /* ready or dead: a dead one is in no ready list */
};

TAILQ_HEAD(session_list, session);
TAILQ_HEAD(attempt_list, attempt);
STAILQ_HEAD(session_queue, session);

struct listener; /* listener.c */
LIST_HEAD(listener_list, listener);

/* closing.c */
TAILQ_HEAD(closing_list, closing);

/* splice.c */
struct pipes {
    LIST_HEAD(, pipe) used, spare;
    uint32_t n, max; /* of both */
    uint64_t due_ms; /* when to look at them; UINT64_MAX: no need */
};

struct proxy {
    struct event_base *base;
    struct scoreboard *sb;
    struct sb_worker *row;
    uint32_t worker;
    uint64_t now_ms;   /* of this turn: proxy_touch() */
    uint64_t woken_us; /* when this turn's first event came; 0: none yet */
    uint32_t longest_turn_us;
    const struct snapshot_header *snapshot; /* NULL before the first */
    struct chooser *chooser;
    uint32_t service_of_row[SERVICES_MAX]; /* index in the snapshot; SNAPSHOT_NONE */
    uint16_t pool_of_row[POOLS_MAX];       /* index in the snapshot; UINT16_MAX */
    bool client_begins[SERVICES_MAX];      /* by row: spoke first in the last session */
    struct listener_list listeners;
    int spare_fd; /* given up to get rid of a client when there are no descriptors left */
    struct session_list sessions;
    struct attempt_list waiting, cramped;
    uint32_t waiting_round; /* of asking those who wait for a health: waiting.c */
    uint64_t cramped_ms;    /* when the cramped ones were last tried */
    struct session_queue ready, dead;
    size_t n_sessions;
    uint64_t next_id;
    LIST_HEAD(, queue) queues;
    bool queues_due;  /* something may have changed for those who wait in them */
    bool has_queues;  /* anybody may ever wait */
    bool endings_due; /* health has changed: some sessions may have to end */
    struct closing_list closings;
    uint64_t closings_due_ms; /* when to look at them next; UINT64_MAX: no need */
    struct session_logger *log;
    const int *wakes;      /* eventfds of all workers; NULL: there are no others */
    uint32_t health_epoch; /* at which the waiting ones were last tried */
    bool draining;
    uint64_t drain_deadline_ms;
    struct wheel wheel;
    struct slab session_slab, attempt_slab, upstream_slab, exchange_slab;
    struct slab buffer_slabs[3];
    struct pipes pipes;
    uint32_t buffer_parts_max;     /* that are taken when buffer_memory counts as used up */
    uint32_t buffer_parts_claimed; /* for what is to go through pipes: buffer.h */
    LIST_HEAD(, shelf) shelves;    /* that hold this worker's upstreams */
    SLIST_HEAD(, shelf) short_shelves;
    struct shelf **shelf_of_slot; /* [SB_SLOTS_MAX]; NULL: there never were any */
    uint32_t source_turn;         /* source.c: where to begin looking */
    uint64_t upstreams_due_ms;    /* when to look at all of them; UINT64_MAX: no need */
    uint64_t warned_ms;           /* rate limit of the connect failure warning */
    uint64_t warned_accept_ms;
    uint64_t warned_throttle_ms; /* 0: never */
    uint64_t n_throttled;        /* since then */
    uint32_t unwarned;
    unsigned char scratch[RELAY_SCRATCH_BYTES];
    unsigned char room[FRAMER_ROOM_BYTES]; /* for what framers rewrite */
};

/* --- proxy.c --- */

/* First thing in every event callback: the loop has slept, so the time is another. */
void proxy_wake(struct proxy *proxy);
static inline void proxy_touch(struct proxy *proxy)
{
    if (proxy->woken_us == 0) {
        proxy_wake(proxy);
    }
}

/* When the sessions of its backend are to be closed (sb_slot.close_by_ms); 0: they are not. */
uint64_t proxy_closes_by(const struct session *s);
bool proxy_matches(const struct session *s, const struct session_filter *filter);

/* --- session.c --- */

/* A new client of service (index in the snapshot), of the listener of that id; fd is owned from now
 * on. */
void session_start(struct proxy *proxy, uint32_t service, uint32_t listener, int fd,
                   const struct addr_ip *peer);
/* Counts and resets a client that cannot become a session. peer NULL: not known. */
void session_turn_away(struct proxy *proxy, uint32_t service_row, int fd,
                       const struct addr_ip *peer, enum refusal reason);
/* The two ways to the end. Not to be touched by the caller afterwards, but still there until the
 * turn's end. Harmless on a dead one. A refused client with a framing may live on without a backend
 * until it has got the answers to what it asked before: exchange_see_off(). */
void session_refuse(struct session *s, enum refusal reason);
void session_finish(struct session *s, enum ending reason);
/* As session_finish(), but a client with a framing is seen off first. Only for what is no news of
 * the client itself. */
void session_fail(struct session *s, enum ending reason);
/* Gives up looking for a backend, and what it holds for that. */
void session_end_attempt(struct session *s);
/* Whether an end has taken something, since the last call, of what the kernel has for it. Then it
 * was no silence that nothing was written to it meanwhile. */
bool session_is_draining(struct session *s);
/* Gives the place at its backend back, and its part in the client's lease. */
void session_release_backend(struct session *s);
/* Queues it for the turn's left-over work. */
void session_make_ready(struct session *s);
/* Sets the timer for the state it is in. */
void session_set_timer(struct session *s);
void session_fire(struct wheel_entry *entry, void *proxy);

/* --- connect.c --- */

/* Begins to look for a backend: from here until it is connected, or the session refused,
 * s->attempt is there. */
void connect_start(struct session *s);
/* Chooses a backend and begins to connect; goes on, waits, or refuses. */
void connect_begin(struct session *s);
/* The event of a backend leg while connecting. */
void connect_event(struct session *s, short what);
/* Something has happened to the client before it has a backend. */
void connect_client_event(struct session *s, short what);
/* The try under way took too long. */
void connect_timed_out(struct session *s);
/* Gives the reserved place and the unconnected descriptor back. */
void connect_abandon(struct session *s);

/* --- waiting.c --- */

/* No backend can be had: refuses or waits. */
void connect_without(struct session *s, enum choice choice);
/* What it has tried in vain may be chosen again. */
void connect_forget_tried(struct attempt *attempt);
/* Takes it out of whatever it waits in. */
void connect_stop_waiting(struct session *s);
/* Some health has changed: everyone who waits for one is to choose anew … */
void connect_begin_round(struct proxy *proxy);
/* … once a turn some of them; and whether there are more. */
void connect_retry_waiting(struct proxy *proxy);
bool connect_has_unasked(const struct proxy *proxy);
/* Other workers may have closed idle connections that were in the way. */
void connect_retry_cramped(struct proxy *proxy);
/* Whether it is only for now that some backend of the pool is passed over: for its connect_rate, or
 * for room that did not come. */
bool connect_is_held_back(const struct attempt *attempt, uint32_t pool);
/* Enters the queue of the pool that was chosen from, or is refused. */
void connect_wait_for_place(struct session *s);
/* Waits until an idle connection in the way of one more to the pool's backend is closed, which has
 * been asked for. False: that has taken connect_timeout already; nothing is done then. */
bool connect_wait_for_room(struct session *s, const struct snapshot_pool *pool);

/* --- endings.c --- */

/* Ends sessions that may not stay where they are (on_down, on_return), a bounded number a turn. */
void endings_work(struct proxy *proxy);

/* --- relay.c --- */

/* Event callback of a leg; arg is the session. */
void relay_client_event(evutil_socket_t fd, short what, void *arg);
void relay_backend_event(evutil_socket_t fd, short what, void *arg);
/* Moves bytes both ways as far as they go now. */
void relay_work(struct session *s);
/* Moves bytes one way. False: the session is over. */
bool relay_pump(struct session *s, struct leg *from, struct leg *to);
/* Writes what the leg has been holding. False: the session is over, or its request is taken up
 * again elsewhere. */
bool relay_flush(struct session *s, struct leg *to);
/* Sends bytes, keeping what the leg does not take; it must hold nothing. False: the same. */
bool relay_deliver(struct session *s, struct leg *to, const unsigned char *bytes, size_t n);
/* The same, where more bytes or the end are about to follow: they are to share a packet. */
bool relay_deliver_more(struct session *s, struct leg *to, const unsigned char *bytes, size_t n);
/* What was to follow does not for now: what waits for it goes alone. */
void relay_uncork(struct leg *to);
/* Counts bytes that came from a leg, while there is a backend. */
void relay_account(struct session *s, const struct leg *from, size_t n);
/* A leg's last event may have hidden an error. Looks at once where nothing is read from it just
 * now, else by the session's timer. False: it has failed, as below. */
bool relay_still_sound(struct session *s, struct leg *leg);
/* What it means that a read, or a peek, of from has returned n, 0 or below (see errno), and sees to
 * it. False: the session is over. */
bool relay_read_nothing(struct session *s, struct leg *from, ssize_t n);
/* A read of from came out short. There may be more behind urgent bytes, and the event that could
 * have told so may have been seen to long ago, when to was blocked: it is read again by the
 * session's timer. One that is not registered is told when it is. */
void relay_note_emptied(struct leg *from);
/* A leg has failed while it was written to: what it has said before still goes to the other one. */
void relay_send_failed(struct session *s, struct leg *to, int error);
/* A leg has failed: the session ends, or its request is taken up again elsewhere. */
void relay_failed(struct session *s, struct leg *leg, int error);
/* Before n bytes are written to a leg: the first ones go at once anyway if a segment holds them,
 * but none must wait for the acknowledgement of others (Nagle's algorithm, RFC 896). */
void relay_hurry(struct leg *to, size_t n);
/* A leg takes no more for now: it tells when it does. */
void relay_blocked(struct session *s, struct leg *to);
/* Registers a leg's descriptor with the loop. False: out of memory, the session is finished. */
bool relay_register(struct session *s, struct leg *leg);

/* --- exchange.c, and the files that share exchange.h --- */

/* A session whose pool has a framing: bytes are read request by request. False: out of memory. */
bool exchange_begin(struct session *s);
void exchange_free(struct session *s); /* harmless without one */
size_t exchange_bytes(void);           /* of one, for the slab */
/* Goes on as far as it goes now. */
void exchange_work(struct session *s);
/* What its request wants of an upstream, and whether one of the pool may be kept for others. */
struct upstream_wish exchange_wish(const struct session *s);
bool exchange_may_share(const struct session *s, const struct snapshot_reuse *reuse);
/* A backend is connected for its request. */
void exchange_bound(struct session *s, bool is_fresh);
/* The backend has failed before its answer was complete. */
void exchange_backend_failed(struct session *s, int error);
/* The session is to end, and be counted in counter. What its client is still to get of earlier
 * answers is delivered first; false: there is no such thing, or somebody sees to it already. */
bool exchange_see_off(struct session *s, _Atomic uint64_t *counter);
/* Where a session that has been seen off is counted, whatever ends it in the end; NULL: it has not
 * been. */
_Atomic uint64_t *exchange_counter(const struct session *s);
/* Its client has taken something of what the kernel has for it, within the time that it had. */
void exchange_drains(struct session *s);
/* How the session ends that nothing has come of for too long; late: without a framing. */
enum ending exchange_late(const struct session *s, enum ending late);
/* When to look whether its client is kept from reading by what it cannot send, or has taken all
 * that it is to get before a reset; UINT64_MAX: neither is to be seen. */
uint64_t exchange_due_ms(const struct session *s);
/* Whether its last request could have been sent again. */
bool exchange_is_retriable(const struct session *s);
/* Whether it was answered, and nothing more of it is in hand. */
bool exchange_is_idle(const struct session *s);
/* Whether it has got something to be answered, so that the end of the client's sending is none of
 * the session. */
bool exchange_asks(const struct session *s);

/* --- reset.c --- */

/* Whether the session's upstream can be proved quiet by the pool's reset exchange, now that the
 * client has ended. */
bool reset_is_due(const struct session *s);
/* False: nothing has been begun, and the session goes on without it. */
bool reset_begin(struct session *s);
void reset_work(struct session *s);
void reset_timed_out(struct session *s);

/* --- socket.c --- */

/* Opens and prepares a non-blocking socket towards address. Returns it or -errno. */
int socket_open_backend(const struct addr *address);
/* Whether a connect under way has met itself: towards a loopback port that nobody listens on, the
 * kernel may choose that very port as ours. */
bool socket_met_itself(int fd, const struct addr *address);
/* Acknowledges now what has come, instead of with the next data that goes there: that could be up
 * to 200 ms, and the peer may be waiting for it. After a handshake that is a server that speaks
 * first; after half an answer one that writes in small pieces, each of which waits for the
 * acknowledgement of the one before (Nagle's algorithm, RFC 896). */
void socket_acknowledge(int fd);
/* keepalive and user time-out of a connected TCP leg (0: leave). Errors are of no consequence. */
void socket_settle(int fd, uint32_t keepalive_ms, uint32_t user_timeout_ms);
/* Closes so that the peer sees a reset (an orderly close on a Unix socket). */
void socket_reset(int fd);
/* Sends what waits for more (MSG_MORE). */
void socket_push(int fd);
int socket_error(int fd); /* SO_ERROR, positive; 0: none. Fetching clears it. */
/* Bytes written that its peer has not acknowledged (TCP) or not read (Unix; in units of the
 * kernel's); 0 without a descriptor. */
uint32_t socket_unsent(int fd);

/* --- listener.c --- */

/* Starts accepting. Returns 0, -EEXIST or -ENOMEM (fd is closed). */
int listener_add(struct proxy *proxy, uint32_t id, int fd);
/* Before a new snapshot: what it no longer names is emptied, into sessions of the old one, and
 * closed. */
void listener_close_dropped(struct proxy *proxy, const struct snapshot_header *next);
/* After a new snapshot: finds each listener's service in it. */
void listener_rebind(struct proxy *proxy);
/* Empties and closes all. */
void listener_close_all(struct proxy *proxy);
/* Lets those accept again that paused for want of descriptors or memory. */
void listener_resume(struct proxy *proxy);
/* When listener_resume() is due; UINT64_MAX: nothing is paused. */
uint64_t listener_resume_ms(const struct proxy *proxy);

#endif
