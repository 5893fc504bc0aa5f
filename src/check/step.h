/*
 * One step of a conversation, as it is written in an expect check:
 *
 *   send TEXT       send-hex 50494e47       expect TEXT       expect-hex 2b504f
 *   expect-regex RE       expect-close      expect(500ms) TEXT: within that time
 *
 * TEXT knows the escapes \r \n \t \0 \xHH \\. Pure; parsed in master to judge, in the monitor to
 * run.
 */
#ifndef SLUICE_CHECK_STEP_H
#define SLUICE_CHECK_STEP_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "check/match.h"

#define STEP_WANTED_WIDTH 24
#define STEP_WANTED_MAX   40

enum step_kind { STEP_SEND, STEP_EXPECT, STEP_EXPECT_CLOSE, STEP_KIND_COUNT };

struct step {
    enum step_kind kind;
    uint32_t deadline_ms;         /* 0: none of its own */
    struct str bytes;             /* STEP_SEND */
    struct match *match;          /* STEP_EXPECT */
    char wanted[STEP_WANTED_MAX]; /* what is waited for as it was written, printable, cut */
};

/* Returns 0; -EINVAL with what is wrong and what would be right appended to *out_problem; -ENOMEM.
 * Only with 0 *out is set, and the caller's to clear. */
int step_parse(const char *text, struct step *out, struct str *out_problem);
void step_clear(struct step *step); /* *step is empty afterwards */

#endif
