/*
 * Patterns over bytes: bytes as they are, or regular expressions (PCRE2; bytes, not UTF-8; "." is
 * any byte). And how bytes of a stranger are shown. Pure but for a clock of the CPU: whatever the
 * pattern and whatever the bytes, a search ends within its budget. Compiling runs in master too.
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

/* At least one byte. NULL without memory. */
struct match *match_create_bytes(const void *bytes, size_t n);
/* NULL with what is wrong and where appended to *out_problem; with nothing appended: no memory. */
struct match *match_create_regex(const char *pattern, struct str *out_problem);
void match_free(struct match *match); /* NULL is allowed */

enum match_result {
    MATCH_NONE,
    MATCH_FOUND,
    MATCH_GIVEN_UP, /* the budget is spent, or the expression needs too much memory */
    MATCH_RESULT_COUNT
};

/*
 * Looks for the first place where it matches; *out_end is where that ends. seen: of bytes, so many
 * were searched without success before, and are still the same. *budget_ns is spent on it.
 */
enum match_result match_find(const struct match *match, const char *bytes, size_t n, size_t seen,
                             uint64_t *budget_ns, size_t *out_end);

#define MATCH_SHOWN_MAX 80
/* The first line of bytes (of something longer than that line with "…" after it) in double quotes,
 * at most some 60 characters, all of them printable ASCII; escapes as in steps. What has a NUL in
 * its first line is no text and is shown on beyond it. Returns buf. */
const char *match_show(const char *bytes, size_t n, char buf[static MATCH_SHOWN_MAX]);

#endif
