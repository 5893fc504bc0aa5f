/*
 * Events over restarts: appended as lines to FILE.events beside the state file, of which there is
 * one older part, FILE.events.1. Never holds anybody up: what cannot be written is dropped and
 * counted. In master.
 */
#ifndef SLUICE_PROC_JOURNAL_H
#define SLUICE_PROC_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/events.h"

#define JOURNAL_BYTES_MAX (1U << 20) /* of a part; then it becomes the older one */

struct journal { /* zeroed is none */
    char *path, *old_path;
    struct events *events;
    int fd;           /* -1: not open */
    uint64_t bytes;   /* of the present part */
    bool is_cut;      /* it does not end with a whole line */
    uint64_t dropped; /* events that were not written, so far */
    uint64_t tried_ms;
};

/* Restores what the parts hold, and keeps every event from now on. folder and name are the state
 * file's. Without memory there is none. */
void journal_start(struct journal *journal, const char *folder, const char *name,
                   struct events *events);
/* For one that was never started, too. */
void journal_end(struct journal *journal);

#endif
