/*
 * The language of agents, which is that of HAProxy's agent-check (its configuration manual, server
 * option "agent-check"): one line of ASCII words parted by blanks, tabs or commas, in any case.
 *
 *   75%                         that share of the configured weight; above 100 counts as 100
 *   maxconn:30                  at most so many connections; 0: no limit
 *   ready, drain, maint         the administrative state
 *   up, down, failed, stopped   health; fail too, which is what HAProxy itself understands
 *   # disk full                 why, up to the end of the line
 *
 * Of two words about the same thing the last one counts. What no word speaks of stays as it was.
 * Words that are not of this language are passed over. Pure. In the monitor.
 */
#ifndef SLUICE_CHECK_AGENT_ANSWER_H
#define SLUICE_CHECK_AGENT_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_ANSWER_MAX 1024 /* bytes of a line, its end included */

enum agent_health { AGENT_SAYS_NOTHING, AGENT_SAYS_UP, AGENT_SAYS_DOWN };

struct agent_answer {
    enum agent_health health;
    uint32_t weight_permille;    /* 0 to 1000; or CHECK_NOT_SAID */
    uint32_t admin;              /* enum admin_state; or CHECK_NOT_SAID */
    uint32_t max_connections;    /* or CHECK_NOT_SAID */
    uint32_t n_known, n_unknown; /* words */
    size_t words_end;            /* the words are in front of this byte of the line, … */
    size_t why;                  /* … and why begins here; both the line's end without one */
};

/* Length of the line that bytes begin with, without its end (CR or LF); n when there is no end. */
size_t agent_line_length(const char *bytes, size_t n);
/* Reads one line of n bytes without its end. Any bytes will do. */
void agent_answer_read(const char *line, size_t n, struct agent_answer *out);

#endif
