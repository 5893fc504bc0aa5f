/*
 * What the parts of sluice-origin share: the process, its listeners, its connections, and the table
 * of functions that each mode provides. One process, one loop, no threads.
 */
#ifndef SLUICE_TOOLS_ORIGIN_H
#define SLUICE_TOOLS_ORIGIN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "endpoint.h"

#define ORIGIN_LISTENERS_MAX 256
#define ORIGIN_NAME_MAX      63
#define ORIGIN_SCRATCH_SIZE  (256 * 1024)
#define ORIGIN_TURN_BYTES    (1024 * 1024) /* of one connection, before others get a turn */

struct origin;
struct origin_conn;

/* One behaviour. Empty slots are simply not called. */
struct origin_mode {
    const char *name;
    const char *help;
    size_t state_size;                    /* zeroed memory behind each connection */
    void (*opened)(struct origin_conn *); /* right after accept: says what it wants to hear */
    void (*readable)(struct origin_conn *);
    void (*writable)(struct origin_conn *);
    void (*timed)(struct origin_conn *);  /* origin_conn_wait() is over */
    void (*closed)(struct origin_conn *); /* releases what the state owns */
};

struct origin_config {
    const char
        *names[ORIGIN_LISTENERS_MAX]; /* of the listeners in turn; the last is for the rest */
    unsigned name_count;
    uint64_t rate;        /* bytes per second, mode slow */
    uint64_t send_bytes;  /* modes reset, halfclose, chargen */
    uint64_t after_bytes; /* mode reset */
    int backlog;
    int receive_buffer; /* bytes; 0: the kernel's choice */
    bool verbose;
};

struct origin_counters {
    uint64_t active;
    uint64_t peak;
    uint64_t total;
    uint64_t requests; /* HTTP requests understood */
};

struct origin_listener {
    struct origin *origin;
    const struct origin_mode *mode;
    struct endpoint endpoint;     /* with the real port once open */
    char text[ENDPOINT_TEXT_MAX]; /* the same, printed */
    const char *name;             /* X-Origin; not owned */
    int fd;
    struct event accept_event;
    struct event resume_event; /* accepting pauses when descriptors or memory run out */
    struct origin_counters counters;
};

LIST_HEAD(origin_conn_list, origin_conn);

struct origin {
    struct event_base *base;
    struct origin_config config;
    struct origin_listener listeners[ORIGIN_LISTENERS_MAX];
    unsigned listener_count;
    struct origin_conn_list conns;
    struct origin_conn_list dead; /* closed in this turn, freed by origin_conn_reap() */
    uint64_t in_bytes;
    uint64_t out_bytes;
    bool stopping;
    char scratch[ORIGIN_SCRATCH_SIZE]; /* holds nothing between two callbacks */
};

/* How a connection ends once its mode has nothing more to say. */
enum origin_end {
    ORIGIN_END_NONE,
    ORIGIN_END_LINGER,    /* half-close, discard input until EOF, for a second at most; close */
    ORIGIN_END_DELIVERED, /* half-close, discard input until all is acknowledged; close */
    ORIGIN_END_RESET,     /* wait until all is acknowledged; reset */
    ORIGIN_END_COUNT
};

struct origin_conn {
    LIST_ENTRY(origin_conn) link;
    struct origin_listener *listener;
    struct event read_event;
    struct event write_event;
    struct event timer_event;
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint64_t end_deadline_ns;
    int fd; /* -1 once closed */
    enum origin_end end;
    bool reading;
    bool writing;
    alignas(max_align_t) char state[]; /* the mode's own */
};

/* origin_listener.c */

/* Binds and listens. Returns 0 or a negative errno; the listener is then as before. */
int origin_listener_open(struct origin_listener *listener);
/* Starts to accept; returns 0 or a negative errno. */
int origin_listener_start(struct origin_listener *listener);
/* Stops accepting, closes, removes the file of a Unix socket. Safe to call twice. */
void origin_listener_close(struct origin_listener *listener);

/* origin_conn.c */

/* Takes the descriptor over, also on failure. */
void origin_conn_open(struct origin_listener *listener, int fd);
/* Ends it now; the memory lives on until the end of the loop's turn. reason is for --verbose. */
void origin_conn_close(struct origin_conn *conn, const char *reason);
/* Hands the connection over to the common end; the mode is not called again but for closed(). */
void origin_conn_finish(struct origin_conn *conn, enum origin_end end);
void origin_conn_reap(struct origin *origin);
/* Whether it was reset, without reading; of a connection that we have not shut ourselves. */
bool origin_conn_is_dead(const struct origin_conn *conn);

void origin_conn_want(struct origin_conn *conn, bool read, bool write);
/* Reading by edges: one call of readable() for each change, though nothing is read. */
void origin_conn_watch(struct origin_conn *conn);
void origin_conn_wait(struct origin_conn *conn, uint64_t span_ns);

/* Both count, and return the bytes moved, or a negative errno (-EAGAIN: later); read 0: the end. */
ssize_t origin_conn_read(struct origin_conn *conn, void *buf, size_t size);
ssize_t origin_conn_write(struct origin_conn *conn, const void *buf, size_t length, bool more);

/*
 * Sends the pattern from *offset up to end and moves *offset on. Returns 0 when all is sent, 1 when
 * it has to go on at the next writable(), or a negative errno.
 */
int origin_conn_send_pattern(struct origin_conn *conn, uint64_t *offset, uint64_t end);

static inline struct origin *origin_of(const struct origin_conn *conn)
{
    return conn->listener->origin;
}

static inline const struct origin_config *origin_config_of(const struct origin_conn *conn)
{
    return &conn->listener->origin->config;
}

/* The modes, each in the file that is named; origin_modes.c holds the table of them all. */
extern const struct origin_mode origin_mode_echo;  /* origin_echo.c */
extern const struct origin_mode origin_mode_slow;  /* origin_echo.c */
extern const struct origin_mode origin_mode_http;  /* origin_http.c */
extern const struct origin_mode origin_mode_reset; /* origin_modes.c, and all below */
extern const struct origin_mode origin_mode_halfclose;
extern const struct origin_mode origin_mode_silent;
extern const struct origin_mode origin_mode_hang;
extern const struct origin_mode origin_mode_discard;
extern const struct origin_mode origin_mode_chargen;

extern const struct origin_mode *const origin_modes[];
extern const size_t origin_mode_count;

#endif
