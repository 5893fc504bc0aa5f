/*
 * Conversations by steps: the kind "expect", whose steps are configured, and what the presets are
 * made of, whose steps are built in. In the monitor.
 */
#ifndef SLUICE_CHECK_EXPECT_H
#define SLUICE_CHECK_EXPECT_H

#include <event2/event_struct.h>

#include "check/check.h"
#include "check/talk.h"

/* A step of a preset. */
struct expect_preset_step {
    const char *text;   /* as in step.h */
    const char *refuse; /* an expression: where it matches and the step does not, nothing better
                         * will come. NULL: none */
};

struct expect_preset {
    const struct expect_preset_step *steps;
    uint32_t n_steps;
    enum talk_ending ending; /* after the last one */
};

struct expect_step;

/* The state of every kind whose functions are these. */
struct expect_state {
    struct talk talk;
    struct expect_step *steps;
    uint32_t n_steps;
    const struct expect_preset *preset; /* NULL: the steps are configured */
    /* Of the run under way: */
    uint32_t at;           /* the step that waits */
    size_t seen_bytes;     /* of the input, searched for it in vain */
    uint64_t budget_ns;    /* for expressions */
    uint64_t due_us;       /* of the step's own time; 0: none */
    struct event deadline; /* pending with due_us */
};

/* 0, -ENOMEM, or -EINVAL for steps that do not parse, which is a bug. */
int expect_prepare_preset(struct check_probe *probe, const struct expect_preset *preset);
void expect_release(struct check_probe *probe);
int expect_start(struct check_probe *probe);
void expect_cancel(struct check_probe *probe);
bool expect_explain_late(const struct check_probe *probe, char *out_reason, size_t size);

#endif
