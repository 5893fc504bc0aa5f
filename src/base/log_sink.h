/*
 * Where the log's lines go: opening it, and handing lines over without ever waiting. Private to the
 * log.
 */
#ifndef SLUICE_BASE_LOG_SINK_H
#define SLUICE_BASE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"

enum sink_kind {
    SINK_WRITE,    /* a file, or a description that does not block */
    SINK_SEND,     /* a socket, which can be told per call not to wait */
    SINK_POLLED,   /* shared with others and blocking: written only when it is ready */
    SINK_DATAGRAM, /* each line by itself, to a daemon that may go and come back */
    SINK_KIND_COUNT
};

struct log_sink {
    int fd; /* -1: none */
    enum log_target target;
    enum sink_kind kind;
    bool in_midline;    /* the last write broke off */
    uint64_t mended_ms; /* when it was last tried to find the daemon again */
};

/* Opens what "log" in the configuration names. Returns a descriptor or -errno. */
int log_sink_open(const char *target, enum log_target *out_target);
/* The same but that no file is made: -ENOENT. */
int log_sink_open_present(const char *target);
/* Takes fd over; what was there before is closed. */
void log_sink_adopt(struct log_sink *sink, int fd, enum log_target target);
/* Hands n lines over: bytes up to ends[0], from there to ends[1], and so on; byte -1 is the
 * sink's to write to. Returns how many it took. */
size_t log_sink_put(struct log_sink *sink, char *bytes, const uint32_t *ends, size_t n);

#endif
