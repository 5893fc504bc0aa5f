/*
 * What the files of sessions with a framing have in common: see exchange.c. Private to them.
 */
#ifndef SLUICE_PROXY_EXCHANGE_H
#define SLUICE_PROXY_EXCHANGE_H

#include "upstream.h"

enum phase {
    PHASE_BETWEEN,
    PHASE_STARTING,
    PHASE_PREPARING,
    PHASE_ASKING,
    PHASE_OWNED,
    PHASE_LEAVING
};

/* What a step came to. */
enum step {
    STEP_ON,   /* something moved: another one may follow */
    STEP_WAIT, /* for an event */
    STEP_OVER, /* the session has ended, or bytes flow unread: nothing here is to be touched */
    STEP_LOST, /* the leg has failed, the session lives on: what was read of it is of no use */
};

/* Bytes of one side that the framer has not taken. */
struct held {
    struct buffer *buffer;
    bool tried; /* it has seen them and wants more */
    bool more;  /* it wants to be called again even without any */
};

struct exchange {
    const struct framer_ops *framer;
    struct framer_options options;
    uint32_t framing, mode, pool_row;
    struct held client, backend;
    struct buffer *request; /* first bytes of the request, as they are to be sent; NULL: sent, and
                               of no use any more */
    struct framing_bytes key, next_key; /* that the request wants; the framer's */
    const char *why;                    /* the request is to own its upstream */
    uint64_t linger_until_ms;           /* how long to listen behind the last answer; where it was
                                           cut, when to look next whether the client has it all */
    _Atomic uint64_t *counter;          /* of the end that it leaves for; NULL: none yet */
    uint32_t requests, last_slot;       /* for the log: how many, and of the last one */
    uint8_t phase;
    uint8_t unsent_tries;
    bool asked : 1;      /* the request is complete */
    bool wrote : 1;      /* some of it was written to this upstream */
    bool answered : 1;   /* some of the answer was passed on */
    bool retriable : 1;  /* may be sent a second time */
    bool resent : 1;     /* was */
    bool fresh_only : 1; /* wants an upstream of its own making */
    bool has_asked : 1;  /* counted in framed_sessions */
    bool was_served : 1; /* an earlier request was */
    bool owns : 1;       /* bytes flow unread once a backend is bound */
    bool pinned : 1;     /* the next request must go to the same upstream */
    bool shares : 1;     /* its pool would keep the upstream */
    bool is_fresh : 1;   /* nothing has come from this upstream yet */
    bool is_deaf : 1;    /* the backend takes no more of the request, but may have answered */
    bool is_early : 1;   /* it spoke while the end of the request was still waiting to be sent */
    bool orderly : 1;    /* how the session ends when it leaves */
    bool lingers : 1;    /* it leaves a client that may still be sending */
    bool is_cut : 1;     /* it leaves amid an answer */
    bool working : 1;
    bool waits : 1;     /* the request: see framer.h */
    bool must_read : 1; /* its answer */
    bool again : 1;     /* to look for a backend once more */
    bool uncounted : 1; /* a request is under way that will count as one of its backend */
    _Alignas(16) unsigned char state[FRAMER_STATE_MAX];
};

/* --- exchange.c --- */

/* Puts into the scratch buffer what is held of a side, and, where the framer wants more, what has
 * come. STEP_ON: there is something new in it, *out_n bytes; an end leaves *out_n as it was, with
 * leg->ended set. STEP_LOST: the backend's leg only. */
enum step exchange_gather(struct session *s, struct leg *leg, struct held *held, size_t *out_n);
/* Keeps bytes of the scratch buffer from at on. tried: the framer has seen them. */
enum step exchange_put_back(struct session *s, struct held *held, size_t at, size_t n, bool tried);
/* The request under way has come to its end at this backend, and counts. */
void exchange_count_request(struct session *s);

/* --- exchange_leave.c --- */

/* The session ends once the client has taken what it is still to get. */
void exchange_leave(struct session *s, bool orderly);
/* The session fails. STEP_ON: it still has to leave; STEP_OVER: it is over. */
enum step exchange_fail(struct session *s, enum ending reason);
/* The upstream and the backend's place are given up. */
void exchange_let_go(struct session *s, enum discard reason);
/* The upstream goes to others that have done the same handshake. */
void exchange_give_back(struct session *s, struct framing_bytes key);
/* The framer will not have what somebody sent: the client is told, where there are words for it. */
enum step exchange_refuse(struct session *s, const struct framing *verdict);
/* Goes on with leaving, as far as it goes now. */
enum step exchange_work_leaving(struct session *s);

/* --- exchange_ask.c --- */

enum step exchange_look_for_backend(struct session *s);
/* Begins to send the request to the bound upstream. */
enum step exchange_send_request(struct session *s);
/* The present upstream is of no use: the request goes to another, if that may be; else the session
 * is finished. */
void exchange_take_up_again(struct session *s, bool was_written);
/* Whether more of the client's bytes are wanted now. */
bool exchange_wants_client(struct session *s);
enum step exchange_read_client(struct session *s);
/* What is left of a request is about to be sent: notes whether the backend has spoken before. */
void exchange_look_before_flush(struct session *s);
/* The client may have ended its sending while nothing was wanted of it. */
enum step exchange_look_at_client(struct session *s);

/* What the client sends next is not read, but has an upstream for itself. */
enum step exchange_ask_unread(struct session *s, const char *why);

/* --- exchange_own.c --- */

/* Bytes flow unread from now on, as soon as what is in hand is passed on. why: NULL where it is no
 * news of what the client does. */
void exchange_own(struct session *s, const char *why);
enum step exchange_work_owned(struct session *s);
/* Nothing else is to be done: the client may be kept from reading by what it cannot send. */
enum step exchange_unblock_client(struct session *s);

/* --- exchange_answer.c --- */

enum step exchange_read_backend(struct session *s);

#endif
