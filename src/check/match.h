/*
 * Patterns over bytes: bytes as they are, or regular expressions (PCRE2; bytes, not UTF-8; "." is
 * any byte). And how bytes of a stranger are shown. Whatever the pattern and whatever the bytes, a
 * search ends within its budget, and all searches of the process together leave it most of its
 * time: a search may take the first MATCH_FREE_NS of its run's budget always, the rest only from
 * what all of them share. Not for several threads. Compiling runs in master too.
 */
#ifndef SLUICE_CHECK_MATCH_H
#define SLUICE_CHECK_MATCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct match;

/* CPU time for all searches of one run. Ordinary patterns need some microseconds, ".*x" over 64 KiB
 * without an x a few milliseconds. */
#define MATCH_BUDGET_NS UINT64_C(25000000)
/* What of that every run has; so many runs may end in one turn of the loop. */
#define MATCH_FREE_NS UINT64_C(1000000)
/* What all runs share for the rest: so much in a burst, and per second so much again. */
#define MATCH_SHARED_NS            UINT64_C(200000000)
#define MATCH_SHARED_NS_PER_SECOND UINT64_C(100000000)

/* At least one byte. NULL without memory. */
struct match *match_create_bytes(const void *bytes, size_t n);
/* NULL with what is wrong and where appended to *out_problem; with nothing appended: no memory. */
struct match *match_create_regex(const char *pattern, struct str *out_problem);
void match_free(struct match *match); /* NULL is allowed */

enum match_result {
    MATCH_NONE,
    MATCH_FOUND,
    MATCH_GIVEN_UP, /* it takes too long, or the expression needs too much memory */
    MATCH_RESULT_COUNT
};

/*
 * Looks for the first place where it matches; *out_end is where that ends. seen: of bytes, so many
 * were searched without success before, and are still the same. *budget_ns, MATCH_BUDGET_NS when
 * the run begins, is spent on it, all of it when it is given up. A pattern that was given up with
 * all there is has only the free part from then on, but for a try after 8, 16, 32, … such searches,
 * until one of them ends by itself.
 */
enum match_result match_find(struct match *match, const char *bytes, size_t n, size_t seen,
                             uint64_t *budget_ns, size_t *out_end);

#define MATCH_SHOWN_MAX   80
#define MATCH_SHOWN_WIDTH 60
/* The first line of bytes (of something longer than that line with "…" after it) in double quotes,
 * at most MATCH_SHOWN_WIDTH characters, all of them printable ASCII; escapes as in steps. What has
 * a NUL in its first line is no text and is shown on beyond it. Returns buf. */
const char *match_show(const char *bytes, size_t n, char buf[static MATCH_SHOWN_MAX]);
/* Likewise, with at most width characters; width is at most MATCH_SHOWN_WIDTH. */
const char *match_show_within(size_t width, const char *bytes, size_t n,
                              char buf[static MATCH_SHOWN_MAX]);

#endif
