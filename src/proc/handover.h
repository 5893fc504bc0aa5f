/*
 * What a daemon hands to its successor, and what the two say to each other. The live part is memory
 * that both map: how healthy each backend was, and, renewed while the old one drains, how many
 * sessions it still has there. It names backends by what the file says, and not by rows, so it does
 * not depend on the scoreboard's layout. In both masters.
 *
 * The talk, over a socketpair of messages:
 *
 *     new:  HELLO                     it runs, and speaks this
 *     new:  READY                     the file is good, workers are up, health is known
 *     old:  YOURS                     control socket and state file are free
 *     new:  SERVING                   it has them, its workers accept
 *     old:  FREE                      the supervisor knows; nothing binds the two any more
 *     new:  STOP (deadline in ms)     it stops, and so shall what is left
 *     new:  FAILED (why)              instead of READY or SERVING
 */
#ifndef SLUICE_PROC_HANDOVER_H
#define SLUICE_PROC_HANDOVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "model/model.h"
#include "sluice/scoreboard.h"

enum handover_type {
    HANDOVER_HELLO = 1, /* number: pid */
    HANDOVER_READY,
    HANDOVER_YOURS,
    HANDOVER_SERVING,
    HANDOVER_FREE,
    HANDOVER_STOP, /* number: how long sessions may go on, in ms */
    HANDOVER_FAILED,
};

/* Both ends may be of different builds: this never changes, only further types are added. */
struct handover_message {
    uint32_t type;
    uint32_t pad;
    uint64_t number;
    char text[496];
};

void handover_tell(int channel, enum handover_type type, uint64_t number, const char *text);
/* Returns 1; 0 when the other is gone; -EAGAIN when there is none. */
int handover_hear(int channel, struct handover_message *out);

struct handover_header;

struct handover { /* zeroed is none */
    struct handover_header *header;
    size_t bytes;
};

/* Makes it, as of now; state: text of model/state.h. Returns a descriptor of it or -errno. */
int handover_create(const struct model *model, const struct scoreboard *sb, const struct str *state,
                    struct handover *out);
/* Renews counts of sessions; sb must be as it was at handover_create(). */
void handover_renew(struct handover *handover, const struct scoreboard *sb);

/* Maps what a predecessor made. Returns 0, or -errno when it is none that is understood. */
int handover_open(int fd, struct handover *out);
/* The text of the state; not terminated, and gone with handover. */
const char *handover_state(const struct handover *handover, size_t *out_len);
uint32_t handover_sessions(const struct handover *handover);
/* Backends that model has alike are as healthy as they were. */
void handover_apply_health(const struct handover *handover, const struct model *model,
                           struct scoreboard *sb, uint64_t now_ms);

/* The predecessor's sessions, as they count at the backends of this daemon. */
struct handover_load { /* zeroed is none */
    struct {
        uint32_t slot, count;
    } * items; /* a record's each */
    uint32_t generation;
};

/* Renews the counts. */
void handover_carry(const struct handover *handover, struct handover_load *load,
                    const struct model *model, struct scoreboard *sb);
/* Takes them out again. */
void handover_uncarry(const struct handover *handover, struct handover_load *load,
                      struct scoreboard *sb);
void handover_close(struct handover *handover);

#endif
