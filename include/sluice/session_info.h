/*
 * What a worker tells about its live sessions when master asks for `show sessions`, and what master
 * tells it and hears back when some are to be closed. Fixed-size records in messages over the
 * socketpair.
 */
#ifndef SLUICE_SESSION_INFO_H
#define SLUICE_SESSION_INFO_H

#include <stdint.h>

#include "base/addr.h"

#define SESSION_FILTER_ANY UINT32_MAX

enum session_state {
    SESSION_WAITING, /* for a backend to become known or free */
    SESSION_CONNECTING,
    SESSION_OPEN,
    SESSION_CLIENT_ENDED, /* the client's end was passed on, the backend still sends */
    SESSION_BACKEND_ENDED,
    SESSION_BETWEEN, /* its last request was answered; it has no backend until the next */
    SESSION_STATE_COUNT
};

extern const char *const session_state_names[SESSION_STATE_COUNT]; /* src/pool/reasons.c */

struct session_info {
    uint64_t id; /* worker id in the upper 16 bits; unique while the daemon runs */
    struct addr_ip client;
    uint32_t service_row;
    uint32_t slot, row; /* of the backend; UINT32_MAX: none yet */
    uint32_t state;     /* enum session_state */
    uint64_t age_ms, idle_ms;
    uint64_t bytes_in, bytes_out;
    uint32_t is_spliced_in, is_spliced_out; /* else copied */
};

#define SESSION_FILTER_MORE_MAX 255 /* with the first one as many as a name has addresses */

/* Which sessions are meant; ANY or zero in a field: all. */
struct session_filter {
    uint32_t service_row;    /* SESSION_FILTER_ANY: any */
    uint32_t row;            /* SESSION_FILTER_ANY: any */
    struct addr_cidr client; /* family ADDR_NONE: any */
    uint64_t idle_ms;        /* at least */
    uint32_t limit;          /* most records */
    uint32_t n_more;
    uint64_t id; /* this one alone; 0: any */
    /* Those whose backend's sessions are to be closed by then (sb_slot.close_by_ms); 0: any */
    uint64_t close_by_ms;
    uint32_t more[SESSION_FILTER_MORE_MAX]; /* rows that will do as well as row does */
    uint32_t pad;
};

/* Sessions to be closed by command: those that are there when it is taken. */
struct session_close {
    struct session_filter filter; /* limit does not count */
    uint64_t deadline_ms;         /* monotonic: when the last one goes; past: at once */
};

struct session_closing {
    uint64_t sessions; /* that match, and will be closed */
    uint64_t sooner;   /* of those, to be closed sooner by an earlier command: that stays */
    uint64_t hastened; /* of those, to be closed later by an earlier command until now */
    int32_t error;     /* 0 or -ENOMEM: then none is closed */
    uint32_t pad;
};

#endif
