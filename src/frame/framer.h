/*
 * Framers: where messages begin and end in a protocol, and when a backend's connection is as good
 * as new. Pure: bytes in, verdicts out; no descriptors, no clock, no memory of the caller's kept.
 * In workers, one state per session; the caller (proxy/exchange.c) moves the bytes.
 *
 * One request is outstanding at a time. The caller gives the client's bytes to request() until a
 * verdict ends the request, then the backend's bytes to reply() until a verdict ends the reply
 * (reply() may be called before the request has ended: a backend may answer early), and only then
 * what else the client has sent to request() again. An upstream that has given any byte of an
 * answer, other than interim ones, before its request had ended is not clean, whatever comes: it
 * may not have read the rest, and take that for the next request. After FRAMING_OWN neither is
 * called any more.
 *
 * In doubt a framer says FRAMING_OWN, or that the upstream is not clean; it never guesses. Whatever
 * way the same bytes are split over calls, the messages' boundaries and bytes are the same.
 */
#ifndef SLUICE_FRAME_FRAMER_H
#define SLUICE_FRAME_FRAMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/snapshot.h"

/* The most that a framer may ask to have held, on either side. */
#define FRAMER_HOLD_MAX (64 * 1024)
/* Room for bytes that are to be sent instead of those that came. */
#define FRAMER_ROOM_BYTES (FRAMER_HOLD_MAX + 1024)
/* The most that a handshake of a client may be. Longer ones own their upstream. */
#define FRAMER_KEY_MAX 1024

enum framing_verb {
    /* Nothing can be said yet: the same bytes are to come again with more behind them (at least
     * one; used is 0). Never for FRAMER_HOLD_MAX bytes or more. */
    FRAMING_HOLD,
    /* used bytes are taken; send goes to the other side (there may be none). */
    FRAMING_FORWARD,
    /* request() only: used bytes are taken, they are a whole request; send goes back to the
     * client, and no backend hears of it. */
    FRAMING_ANSWER,
    /* Not to be passed on. Nothing of this call goes to the other side; send, if any, is told to
     * the client; then the session is closed, and the upstream with it. */
    FRAMING_REFUSE,
    /* As FRAMING_FORWARD, and from here on bytes flow both ways unread: the upstream belongs to the
     * session until its end. */
    FRAMING_OWN,
};

/* Bytes that belong to somebody else. */
struct framing_bytes {
    const unsigned char *at;
    size_t n;
};

struct framing {
    enum framing_verb verb;
    size_t used;               /* bytes of this call that are taken */
    struct framing_bytes send; /* into the call's bytes, its room, or static storage */
    bool more;                 /* call again at once, even if no byte is left */
    bool ends;                 /* the request, or the reply, is complete with this */
    /* Of request(), FORWARD and OWN: */
    bool starts;    /* this begins a request: a backend is to be chosen for it */
    bool retriable; /* may be sent a second time, should the backend not answer it: it is whole in
                       this verdict, has no body and is idempotent. Together with starts and ends */
    bool waits; /* with starts: the answer may wait for what others do, and is not waited for by a
                   client that ends its sending: the backend is to learn of that at once */
    bool must_read; /* with starts: the client is to get something else than the answer as it comes,
                       so that it cannot flow unread */
    struct framing_bytes key;      /* with starts: the handshake that an upstream must have done */
    struct framing_bytes next_key; /* with starts: what it will have done after this request; the
                                      same as key unless it is part of the handshake */
    /* Of reply(), with ends: */
    bool clean;  /* nothing of this client is left behind: others may have the upstream. Its
                    handshake is then key */
    bool pinned; /* clean or not, the client's next request must go to the same upstream */
    bool closes; /* after what is sent, the client is to be closed. Also of FRAMING_ANSWER */
    /* Of FRAMING_OWN and FRAMING_REFUSE, of reply() that is pinned or not clean: why, for people
     * and counters, as a short lower-case phrase or a command's name; static storage. */
    const char *why;
};

/* Configured, per pool. */
struct framer_options {
    uint32_t length_bytes;       /* length: 1, 2, 4 or 8 */
    bool length_little_endian;   /* length */
    bool length_includes_header; /* length: the number counts itself */
    bool handshake_key;          /* resp: opening commands join the pool key; else they own */
    bool scripts;                /* resp: EVALSHA, EVAL, FCALL and their kin count as stateless */
};

struct framer_ops {
    const char *name;   /* as in the configuration */
    size_t state_bytes; /* of a state; at most FRAMER_STATE_MAX */
    /* state is zeroed by the caller; options outlive it. Cannot fail. */
    void (*init)(void *state, const struct framer_options *options);
    /* Frees what the state has come to own; NULL: never anything. */
    void (*fini)(void *state);
    /* Next bytes of the client (n may be 0 after a verdict with more). room is
     * FRAMER_ROOM_BYTES that hold until the next call. */
    struct framing (*request)(void *state, const unsigned char *bytes, size_t n,
                              unsigned char *room);
    /* Next bytes of the backend. Bytes behind the end of a reply are left untaken: they are
     * nobody's, and the caller discards the upstream. */
    struct framing (*reply)(void *state, const unsigned char *bytes, size_t n, unsigned char *room);
    /* The backend has ended its sending with nothing left unread. FORWARD with ends: that is how
     * this reply ends; REFUSE: it is cut short. */
    struct framing (*reply_ended)(void *state);
    /*
     * A fresh upstream is to be brought to the present request's key, which is not empty, before
     * the request goes out: returns what to send, valid until the next call. The answers are then
     * given to reply(), which sends none of them on and says ends with the last of them (not
     * clean: the handshake failed, and the upstream is of no use). NULL: keys are always empty.
     */
    struct framing_bytes (*prepare)(void *state);
    /* The request under way is taken back, as if its bytes had not been seen, because it is to be
     * sent again on another upstream; its bytes are not given to request() a second time, so what
     * is known of it stays: only what is known of the reply is forgotten. */
    void (*again)(void *state);
};

#define FRAMER_STATE_MAX 512

/* By enum framing_kind; NULL for FRAMING_NONE. */
extern const struct framer_ops *const framer_table[FRAMING_KIND_COUNT];
extern const struct framer_ops framer_http1, framer_resp, framer_memcached, framer_line,
    framer_length;

#endif
