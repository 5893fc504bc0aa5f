/*
 * What outlives the daemon, as text: the operator's records, that health answers were set to say
 * no, the key of hashes, the last good configurations and whether one waits to be confirmed. JSON
 * with a version number; how it is kept in a file is proc's (state_file.h). In master.
 */
#ifndef SLUICE_MODEL_STATE_H
#define SLUICE_MODEL_STATE_H

#include "model/kept.h"
#include "model/override.h"

#define STATE_VERSION   2           /* 1 had no kept configurations */
#define STATE_BYTES_MAX (48U << 20) /* more is no state of ours: kept texts as JSON, and the rest  \
                                     */

/* A reload that is to be confirmed. */
struct state_confirm {
    uint32_t generation; /* the kept one that returns otherwise; 0: nothing waits */
    uint64_t until_ms;   /* on the wall's clock */
    char *by;            /* who asked for it */
};

struct state { /* zeroed is empty */
    uint64_t hash_seed;
    uint32_t generation; /* the last one; 0: not known */
    struct kept_configs kept;
    struct state_confirm confirm;
    char *health_fail; /* who said so, and why; NULL: nobody */
    struct overrides overrides;
};

/* Appends the text. What is not UTF-8 in it (values of the file may be anything) becomes U+FFFD. */
void state_encode(const struct state *state, struct str *out);
/*
 * Reads such a text of this version or an older one; anything unknown, missing or doubtful in it
 * refuses the whole. Ends of records are put on this start's clock: by how far they still are on
 * the wall's, now wall_ms, but never more than they were when they were said; what has ended
 * meanwhile ends at now_ms (not 0). Returns 0, -ENOMEM, or 1 with *out_problem; *out is untouched
 * then.
 */
int state_decode(const char *text, size_t len, uint64_t now_ms, uint64_t wall_ms, struct state *out,
                 struct str *out_problem);
void state_free(struct state *state);

#endif
