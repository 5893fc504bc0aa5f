/*
 * Steps of a conversation and patterns: the first line is parsed as a step, the rest is searched
 * for what the step wants. No step may crash the parser, and no search may go beyond its bytes or
 * its budget.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check/match.h"
#include "check/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static uint64_t cpu_now_ns(void)
{
    struct timespec now;

    expect(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* What was searched in vain before need not be searched again. */
static void check_resumed(struct match *match, const char *bytes, size_t n,
                          enum match_result whole, size_t whole_end)
{
    uint64_t budget_ns = MATCH_BUDGET_NS;
    size_t half = n / 2, end = 0;

    if (match_find(match, bytes, half, 0, &budget_ns, &end) != MATCH_NONE) {
        return;
    }
    end = 0;
    if (match_find(match, bytes, n, half, &budget_ns, &end) == whole) {
        expect(end == whole_end);
    } else {
        expect(budget_ns == 0 || whole == MATCH_GIVEN_UP); /* only the clock may decide otherwise */
    }
}

static void check_search(struct match *match, const char *bytes, size_t n)
{
    uint64_t budget_ns = MATCH_BUDGET_NS, start_ns = cpu_now_ns();
    size_t end = 0;
    enum match_result result = match_find(match, bytes, n, 0, &budget_ns, &end);

    expect(end <= n && budget_ns <= MATCH_BUDGET_NS);
    expect(cpu_now_ns() - start_ns < 10 * MATCH_BUDGET_NS);
    check_resumed(match, bytes, n, result, end);
}

static void check_shown(const char *bytes, size_t n)
{
    char shown[MATCH_SHOWN_MAX];
    size_t len = strlen(match_show(bytes, n, shown));

    expect(len >= 2 && len < sizeof(shown) && shown[0] == '"' && shown[len - 1] == '"');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t step_len = newline != NULL ? (size_t)(newline - data) : size;
    size_t n = newline != NULL ? size - step_len - 1 : 0;
    char *text = strndup((const char *)data, step_len);
    char *bytes = malloc(n + 1);
    STR_AUTO problem = {0};
    struct step step;
    int error;

    expect(text != NULL && bytes != NULL);
    if (n > 0) {
        memcpy(bytes, newline + 1, n);
    }
    error = step_parse(text, &step, &problem);
    expect((error == 0) == (problem.len == 0));
    if (error == 0) {
        if (step.match != NULL) {
            check_search(step.match, bytes, n);
        }
        expect(strlen(step.wanted) < sizeof(step.wanted));
        step_clear(&step);
    }
    check_shown(bytes, n);
    free(bytes);
    free(text);
    return 0;
}
