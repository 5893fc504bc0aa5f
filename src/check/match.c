/*
 * Patterns and their bounded search. The limit that PCRE2 has of its own counts backtracking steps,
 * anew for each place where a match might start, and a step may look at every byte there is: 64 KiB
 * can keep it busy for minutes within that limit. So every item of an expression calls back here
 * (PCRE2_AUTO_CALLOUT), and a clock decides: the one of this thread's CPU time, so that a busy
 * machine does not make a search fail.
 *
 * That bounds one search, not the hundreds that one turn of the loop may bring. Those share a
 * bucket of CPU time beside the little that each has for itself, and a pattern that has spent its
 * whole budget in vain hardly gets at the bucket again, or it would be empty for the others' sake.
 */
#include "check/match.h"

#define PCRE2_CODE_UNIT_WIDTH 8

#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define HEAP_KIB_MAX   4096
#define CALLS_PER_LOOK 32 /* callbacks for each look at the clock; one costs some 50 ns */

struct match {
    pcre2_code *code;    /* NULL: bytes */
    uint32_t n_given_up; /* searches in a row; a first one only with the whole budget */
    size_t n;
    char bytes[];
};

struct match *match_create_bytes(const void *bytes, size_t n)
{
    struct match *match = calloc(1, sizeof(*match) + n);

    if (match != NULL) {
        match->n = n;
        memcpy(match->bytes, bytes, n);
    }
    return match;
}

struct match *match_create_regex(const char *pattern, struct str *out_problem)
{
    struct match *match = calloc(1, sizeof(*match));
    int error;
    PCRE2_SIZE offset;
    char text[128];

    if (match == NULL) {
        return NULL;
    }
    match->code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                      PCRE2_DOTALL | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_AUTO_CALLOUT, &error,
                      &offset, NULL);
    if (match->code != NULL) {
        return match;
    }
    free(match);
    if (error != PCRE2_ERROR_HEAP_FAILED) {
        (void)pcre2_get_error_message(error, (PCRE2_UCHAR *)text, sizeof(text));
        str_printf(out_problem, "%s at offset %zu", text, (size_t)offset);
    }
    return NULL;
}

void match_free(struct match *match)
{
    if (match != NULL) {
        pcre2_code_free(match->code);
        free(match);
    }
}

/* --- searching --- */

static uint64_t cpu_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

struct watch {
    uint64_t end_ns;
    uint32_t calls;
};

static int on_callout(pcre2_callout_block *block, void *arg)
{
    struct watch *watch = arg;

    (void)block;
    return ++watch->calls % CALLS_PER_LOOK == 0 && cpu_now_ns() >= watch->end_ns
               ? PCRE2_ERROR_CALLOUT
               : 0;
}

/* The time that all searches share. */
static struct {
    uint64_t left_ns, filled_us;
} shared = {.left_ns = MATCH_SHARED_NS};

static void shared_fill(uint64_t now_us)
{
    uint64_t since_us = shared.filled_us != 0 ? now_us - shared.filled_us : 0;
    uint64_t room_ns = MATCH_SHARED_NS - shared.left_ns;
    uint64_t more_ns = since_us * (MATCH_SHARED_NS_PER_SECOND / 1000000);

    shared.left_ns += more_ns < room_ns ? more_ns : room_ns;
    shared.filled_us = now_us;
}

/* What is left of the free part, of a run with so much budget left. */
static uint64_t free_left(uint64_t budget_ns)
{
    const uint64_t taken_ns = MATCH_BUDGET_NS - MATCH_FREE_NS;

    return budget_ns > taken_ns ? budget_ns - taken_ns : 0;
}

/* How much of the run's budget this search may spend: all or, where it is not to be had, the rest
 * of the free part. In pieces the bucket would never hold enough to tell which patterns are slow.
 */
static uint64_t allowance(const struct match *match, uint64_t budget_ns)
{
    uint32_t n = match->n_given_up;
    bool may_share = n == 0 || (n >= 8 && (n & (n - 1)) == 0);

    shared_fill(clock_now_us());
    return may_share && shared.left_ns >= budget_ns ? budget_ns : free_left(budget_ns);
}

/* Takes spent_ns from the run's budget, and what is beyond the free part from the bucket. */
static void pay(uint64_t *budget_ns, uint64_t spent_ns)
{
    uint64_t free_ns = free_left(*budget_ns);
    uint64_t share_ns = spent_ns > free_ns ? spent_ns - free_ns : 0;

    shared.left_ns -= share_ns < shared.left_ns ? share_ns : shared.left_ns;
    *budget_ns -= spent_ns < *budget_ns ? spent_ns : *budget_ns;
}

static enum match_result find_regex(const struct match *match, const char *bytes, size_t n,
                                    uint64_t budget_ns, size_t *out_end)
{
    struct watch watch = {.end_ns = cpu_now_ns() + budget_ns};
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    /* Room for the whole match only; groups need no place of their own to be referred to. */
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    enum match_result result = MATCH_GIVEN_UP;

    if (context != NULL && data != NULL) {
        int count;

        (void)pcre2_set_callout(context, on_callout, &watch);
        (void)pcre2_set_heap_limit(context, HEAP_KIB_MAX);
        count = pcre2_match(match->code, (PCRE2_SPTR)bytes, n, 0, 0, data, context);
        if (count >= 0) {
            size_t end = pcre2_get_ovector_pointer(data)[1];

            *out_end = end < n ? end : n;
            result = MATCH_FOUND;
        } else if (count == PCRE2_ERROR_NOMATCH) {
            result = MATCH_NONE;
        }
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    return result;
}

static enum match_result find_bytes(const struct match *match, const char *bytes, size_t n,
                                    size_t seen, size_t *out_end)
{
    size_t from = seen >= match->n ? seen - match->n + 1 : 0;
    const char *found = memmem(bytes + from, n - from, match->bytes, match->n);

    if (found == NULL) {
        return MATCH_NONE;
    }
    *out_end = (size_t)(found - bytes) + match->n;
    return MATCH_FOUND;
}

enum match_result match_find(struct match *match, const char *bytes, size_t n, size_t seen,
                             uint64_t *budget_ns, size_t *out_end)
{
    const char *text = n > 0 ? bytes : ""; /* both searches want a pointer that is one */
    uint64_t start_ns, allowed_ns;
    enum match_result result;

    if (match->code == NULL) {
        return find_bytes(match, text, n, seen, out_end);
    }
    allowed_ns = allowance(match, *budget_ns);
    if (allowed_ns == 0) {
        *budget_ns = 0;
        return MATCH_GIVEN_UP;
    }
    start_ns = cpu_now_ns();
    result = find_regex(match, text, n, allowed_ns, out_end);
    if (result != MATCH_GIVEN_UP) {
        match->n_given_up = 0;
    } else if (match->n_given_up > 0 || allowed_ns == *budget_ns) {
        match->n_given_up++;
    }
    pay(budget_ns, cpu_now_ns() - start_ns);
    *budget_ns = result == MATCH_GIVEN_UP ? 0 : *budget_ns;
    return result;
}

/* --- showing --- */

/* The byte as it is written in a step; unit has room for it. Returns its length. */
static size_t show_byte(unsigned char byte, char unit[static 5])
{
    static const char plain[] = "\r\n\t\"\\", letters[] = "rnt\"\\";
    const char *found = byte != 0 ? strchr(plain, byte) : NULL;

    if (found != NULL) {
        return (size_t)snprintf(unit, 5, "\\%c", letters[found - plain]);
    }
    return (size_t)snprintf(unit, 5, byte >= 0x20 && byte < 0x7f ? "%c" : "\\x%02x", byte);
}

const char *match_show_within(size_t width, const char *bytes, size_t n,
                              char buf[static MATCH_SHOWN_MAX])
{
    static const char more[] = "…";
    const char *newline = n > 0 ? memchr(bytes, '\n', n) : NULL;
    size_t used = 0, i = 0, line;

    if (newline != NULL && memchr(bytes, '\0', (size_t)(newline - bytes)) != NULL) {
        newline = NULL; /* no text, so it has no lines */
    }
    line = newline != NULL && newline > bytes ? (size_t)(newline - bytes) : n;
    if (line < n && line > 1 && bytes[line - 1] == '\r') {
        line--;
    }
    buf[used++] = '"';
    for (; i < line; i++) {
        char unit[5];
        size_t len = show_byte((unsigned char)bytes[i], unit);

        if (used + len > 1 + width) {
            break;
        }
        memcpy(buf + used, unit, len);
        used += len;
    }
    if (i < line || (newline != NULL && newline + 1 < bytes + n)) {
        memcpy(buf + used, more, sizeof(more) - 1);
        used += sizeof(more) - 1;
    }
    memcpy(buf + used, "\"", 2);
    return buf;
}

const char *match_show(const char *bytes, size_t n, char buf[static MATCH_SHOWN_MAX])
{
    return match_show_within(MATCH_SHOWN_WIDTH, bytes, n, buf);
}
