/*
 * Why connections to backends are not reused where a pool asks for it, and what would help: in the
 * words of `show upstreams` and of events. Pure; in master.
 */
#ifndef SLUICE_CTL_REUSE_ADVICE_H
#define SLUICE_CTL_REUSE_ADVICE_H

#include "base/str.h"
#include "pool/eligibility.h"
#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

/* What is known of one backend of a pool whose mode is not off. */
struct reuse_case {
    const struct snapshot_reuse *reuse;
    const struct sb_upstream_sum *sum;
    enum reuse_trouble trouble;
    enum backend_state state;
    const char *pin_command; /* "": none was told */
};

/* Appends why there is so little reuse, and what would help. Nothing where there is enough of it,
 * or too little to judge by. */
void reuse_explain(const struct reuse_case *about, struct str *out);

/* What may be done where sessions come to own their upstream by that command: half a sentence. */
const char *reuse_advise_pins(const struct snapshot_reuse *reuse, const char *command);
/* What may be done about a backend whose reuse was switched off for that: half a sentence. */
const char *reuse_advise_trouble(enum reuse_trouble trouble);

/* The command by which a session of the pool last came to own its upstream, "" for none. Returns
 * buf. */
char *reuse_pin_command(const struct sb_pool *pool, char buf[static SB_PIN_COMMAND_MAX]);

#endif
