/*
 * What the parts of sluice-load share: the command line as options, and the figures that a process
 * fills and the report reads.
 */
#ifndef SLUICE_TOOLS_LOAD_H
#define SLUICE_TOOLS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "endpoint.h"
#include "histogram.h"

#define LOAD_ADDRESSES_MAX 256
#define LOAD_PROCESSES_MAX 64
#define LOAD_ORIGINS_MAX   1024 /* a power of two; names beyond are counted together */
#define LOAD_ORIGIN_TEXT   64   /* longer names are cut */

enum load_mode {
    LOAD_CRC,       /* connect, one request, the whole answer, close */
    LOAD_KEEPALIVE, /* request after request on standing connections */
    LOAD_HOLD,      /* open connections and leave them alone */
    LOAD_BULK,      /* one long transfer for each connection */
    LOAD_MODE_COUNT
};

/* What can go wrong; each is counted by itself. Names: load_error_names. */
enum load_error {
    LOAD_CONNECT_REFUSED,
    LOAD_CONNECT_TIMEOUT,
    LOAD_UNREACHABLE,
    LOAD_NO_PORT, /* no local port is free for this source and target */
    LOAD_RESET,
    LOAD_EOF_EARLY,  /* the end came before the answer was whole */
    LOAD_EOF_IDLE,   /* an idle connection was closed without being announced */
    LOAD_BAD_STATUS, /* not 2xx or 3xx */
    LOAD_BAD_ANSWER, /* no HTTP, or not what was agreed */
    LOAD_BAD_BODY,   /* wrong length or content, or bytes after it */
    LOAD_TIMEOUT,    /* no byte for --timeout */
    LOAD_UNSENT,     /* due by --rate, and not begun --timeout after the end */
    LOAD_SYSTEM,     /* no descriptor, no memory, anything else of this machine */
    LOAD_ERROR_COUNT
};

extern const char *const load_error_names[LOAD_ERROR_COUNT];

struct load_mode_row {
    const char *name;
    const char *help;
};

extern const struct load_mode_row load_modes[LOAD_MODE_COUNT];

struct load_options {
    enum load_mode mode;
    struct endpoint targets[LOAD_ADDRESSES_MAX]; /* in turn, connection by connection */
    unsigned target_count;
    struct endpoint sources[LOAD_ADDRESSES_MAX];
    unsigned source_count; /* 0: the kernel's choice */
    uint64_t connections;
    uint64_t requests;    /* 0: as many as the duration allows */
    uint64_t duration_ns; /* 0: no limit */
    uint64_t rate;        /* requests (hold: connections) per second; 0: each after the last */
    uint64_t timeout_ns;
    uint64_t upload_bytes; /* bulk: send so much instead of asking */
    const char *path;      /* NULL in hold: no request */
    bool upload;
    bool verify;         /* the answer has to be so many bytes of the pattern as the path says */
    uint64_t body_bytes; /* with verify */
    bool client_closes;  /* crc, bulk: we close after the answer instead of asking the origin to */
    bool json;
    unsigned processes;
    unsigned process; /* which of them this one is, from 0 */
};

struct load_origin {
    char name[LOAD_ORIGIN_TEXT]; /* "": a free place */
    uint64_t answers;
};

/* Lives in memory shared by parent and children; one writer each, read when that one has ended. */
struct load_stats {
    uint64_t connections; /* opened */
    uint64_t requests;    /* answered in full and found good */
    uint64_t errors[LOAD_ERROR_COUNT];
    uint64_t interrupted; /* under way when the run was ended; no error */
    uint64_t reopened;    /* kept connections that the origin said it would close */
    uint64_t held;        /* hold: stood to the end */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t begin_ns;
    uint64_t end_ns;
    struct histogram latency_ns; /* of requests; under --rate from when each was due */
    struct histogram connect_ns;
    struct load_origin origins[LOAD_ORIGINS_MAX];
    uint64_t other_origins;
    bool complete; /* false: the process died before its end */
};

/* load_options.c: fills *out, or says what is wrong and ends the process with status 2. */
void load_options_parse(int argc, char **argv, struct load_options *out);

/* load_stats.c */
void load_stats_count_origin(struct load_stats *stats, const char *name);
void load_stats_merge(struct load_stats *into, const struct load_stats *from);
uint64_t load_stats_errors(const struct load_stats *stats);

/* load_report.c: on stdout, as text or as one line of JSON. */
void load_report(const struct load_options *options, const struct load_stats *stats);

#endif
