/*
 * One process's run of sluice-load: the engine decides when a connection gets a job, the connection
 * does it. A job is one request (hold: one opening; a raw upload is a request too).
 */
#ifndef SLUICE_TOOLS_LOAD_ENGINE_H
#define SLUICE_TOOLS_LOAD_ENGINE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "load.h"
#include "load_answer.h"

#define LOAD_SCRATCH_SIZE (256 * 1024)
#define LOAD_TURN_BYTES   (1024 * 1024) /* of one connection, before others get a turn */

/*
 *   SPARE ──► CONNECTING ──► SENDING ──► RECEIVING ──► CLOSING ──► SPARE
 *     ▲            │            ▲            ├─► SPARE (we close)
 *     │            ├─► READY ───┘ ◄──────────┤
 *     │            └─► HELD ◄────────────────┘
 *     └── RESTING ◄── any of them, after an error          any ──► OVER
 */
enum load_state {
    LOAD_SPARE, /* no socket; may take a job */
    LOAD_CONNECTING,
    LOAD_SENDING,
    LOAD_RECEIVING,
    LOAD_CLOSING, /* the answer is whole; the origin's end has to follow */
    LOAD_READY,   /* connected; may take a job */
    LOAD_HELD,
    LOAD_RESTING, /* no socket; a moment without trying, after an error */
    LOAD_OVER,    /* takes no job any more */
    LOAD_STATE_COUNT
};

struct load_conn {
    TAILQ_ENTRY(load_conn) link; /* in the list of its state, SPARE or READY */
    struct load_engine *engine;
    struct event read_event;
    struct event write_event;
    struct event timer_event; /* rest after an error; next try on a full Unix backlog */
    uint64_t job_ns;          /* where the job's latency counts from */
    uint64_t connect_ns;
    uint64_t active_ns; /* last progress: --timeout counts from here */
    uint64_t sent_bytes;
    unsigned target;
    int fd;
    enum load_state state;
    bool has_job;
    struct answer answer;
};

TAILQ_HEAD(load_conn_list, load_conn);

enum load_phase {
    LOAD_PREPARE, /* keepalive opens its connections before the clock starts */
    LOAD_RUN,
    LOAD_HOLDING,
    LOAD_DONE,
};

struct load_engine {
    const struct load_options *options;
    struct load_stats *stats;
    struct event_base *base;
    struct load_conn *conns;
    uint64_t conn_count;
    struct load_conn_list spare;
    struct load_conn_list ready;
    uint64_t in_state[LOAD_STATE_COUNT];
    enum load_phase phase;
    bool stopping;     /* no more jobs */
    uint64_t prepared; /* connections tried in PREPARE */
    uint64_t jobs;     /* begun */
    uint64_t quota;    /* jobs to begin at most */
    uint64_t opened;   /* connection attempts: whose turn it is among targets and sources */
    char *requests[LOAD_ADDRESSES_MAX]; /* the bytes to send, by target */
    size_t request_lengths[LOAD_ADDRESSES_MAX];
    struct load_upload_hash *upload_hash; /* NULL without --upload */
    uint64_t deadline_ns;                 /* what deadline_event stands for */
    uint64_t armed_ns;                    /* what schedule_fd was last set to */
    int schedule_fd; /* a timerfd for --rate: epoll's own time-out is too coarse; or -1 */
    struct event schedule_event;
    struct event sweep_event;
    struct event deadline_event;
    struct event signal_events[2];
    void (*standing)(uint64_t held, void *arg);
    void *standing_arg;
    char scratch[LOAD_SCRATCH_SIZE]; /* holds nothing between two callbacks */
};

/*
 * Runs this process's share to its end and fills *stats. standing is called once in mode hold, when
 * every connection stands or has failed. Returns 0 or a negative errno (the run did not start).
 */
int load_engine_run(const struct load_options *options, struct load_stats *stats,
                    void (*standing)(uint64_t held, void *arg), void *arg);

/* load_conn.c: life of a connection. */

void load_conn_init(struct load_engine *engine, struct load_conn *conn);
/* Connects; with a job, goes on to it. */
void load_conn_open(struct load_conn *conn);
/* Gives a SPARE or READY connection a job. */
void load_conn_begin(struct load_conn *conn, uint64_t job_ns);
void load_conn_set_state(struct load_conn *conn, enum load_state state);
/* Counts the error, drops socket and job; the connection rests (hold: is over). */
void load_conn_fail(struct load_conn *conn, enum load_error error);
/* The same, with the error that fits an errno in the present state. */
void load_conn_fail_errno(struct load_conn *conn, int error);
/* Closes in good order and enters this state. */
void load_conn_retire(struct load_conn *conn, enum load_state state);
/* The connect has succeeded: counts it and enters READY, HELD or SENDING. */
void load_conn_established(struct load_conn *conn);
void load_conn_want_write(struct load_conn *conn, bool wanted);
/* Whether the answer should come while nothing moves: these states fall under --timeout. */
bool load_conn_is_busy(const struct load_conn *conn);

/* load_exchange.c: a request and its answer. */

/* Starts the job's request on an established (or nearly established) connection. */
void load_exchange_begin(struct load_conn *conn);
/* Sends as much as goes; from CONNECTING it also finds out whether the connection stands. */
void load_exchange_send(struct load_conn *conn);
void load_exchange_receive(struct load_conn *conn);

/* load_upload.c: what the origin should say after a raw upload. */

struct load_upload_hash *load_upload_hash_new(void); /* NULL: no memory */
void load_upload_hash_free(struct load_upload_hash *hash);
/* Hashes on up to this offset of the pattern; what was hashed before costs nothing. */
void load_upload_hash_reach(struct load_upload_hash *hash, uint64_t offset);
/* Whether the line is "COUNT HASH" of exactly what was reached. */
bool load_upload_hash_matches(const struct load_upload_hash *hash, const char *line);

#endif
