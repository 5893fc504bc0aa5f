/*
 * One kind of check without the engine: a probe filled by hand, its runs, and all that they say.
 * Included by tests that define no check_done() of their own and use nothing of the engine.
 */
#ifndef TEST_CHECK_RUN_H
#define TEST_CHECK_RUN_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "check/check.h"
#include "sluice/scoreboard.h"
#include "test_base.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define UNUSED       __attribute__((unused))
#define WAIT_MS      20000 /* a test that is not done by then has failed */

static struct event_base *base;
static struct event *tick; /* so that no turn lasts for ever */
static const struct check_kind *kind;
static struct addr address;
static struct snapshot_check params;
static struct check_probe probe;
static _Alignas(max_align_t) unsigned char state[1024];

static struct result {
    bool passed, nothing, timed_out;
    uint32_t weight_permille, admin, max_connections;
    char reason[SB_REASON_MAX];
} result;
static int n_results; /* of the run under way */
static int n_turns;   /* of the loop */

void check_done_outcome(struct check_probe *done, const struct check_outcome *outcome)
{
    ck_assert_ptr_eq(done, &probe);
    n_results++;
    result = (struct result){.passed = outcome->passed,
                             .nothing = outcome->nothing,
                             .weight_permille = outcome->weight_permille,
                             .admin = outcome->admin,
                             .max_connections = outcome->max_connections};
    (void)snprintf(result.reason, sizeof(result.reason), "%s", outcome->reason);
}

void check_done(struct check_probe *done, bool passed, const char *reason)
{
    const struct check_outcome outcome = {.passed = passed,
                                          .weight_permille = CHECK_NOT_SAID,
                                          .admin = CHECK_NOT_SAID,
                                          .max_connections = CHECK_NOT_SAID,
                                          .reason = reason};

    check_done_outcome(done, &outcome);
}

static void ignore_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

/* One turn; at most 2 ms when nothing happens. */
static void turn_loop(void)
{
    const struct timeval pause = {.tv_usec = 2000};

    n_turns++;
    evtimer_add(tick, &pause);
    event_base_loop(base, EVLOOP_ONCE);
    evtimer_del(tick);
}

/* Turns the loop until condition holds. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        uint64_t wait_end_ms = clock_now_ms() + WAIT_MS;                                           \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_now_ms() < wait_end_ms, "waited in vain for %s", #condition);      \
            turn_loop();                                                                           \
        }                                                                                          \
    } while (0)

UNUSED static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}

/* Whether this process has a child, dead or alive. */
UNUSED static bool has_child(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void setup(void)
{
    const char *problem;

    base = precise_base();
    tick = evtimer_new(base, ignore_tick, NULL);
    params = (struct snapshot_check){.timeout_ms = WAIT_MS};
    ck_assert_int_eq(addr_parse("10.1.2.3:8080", false, &address, &problem), 0);
}

static void teardown(void)
{
    event_free(tick);
    event_base_free(base);
}

/* --- a probe's life --- */

UNUSED static void probe_begin(const struct check_kind *of, const struct check_arg *args, int n)
{
    kind = of;
    ck_assert_uint_le(kind->state_bytes, sizeof(state));
    memset(state, 0, sizeof(state));
    probe = (struct check_probe){.base = base,
                                 .address = &address,
                                 .params = &params,
                                 .args = args,
                                 .n_args = (uint32_t)n,
                                 .pool = "web",
                                 .backend = "a",
                                 .state = state};
    if (kind->prepare != NULL) {
        ck_assert_int_eq(kind->prepare(&probe), 0);
    }
}

/* One run, ended by cancel() when its time is over; then reason is what the kind has to say about
 * that, "" for nothing. Returns what start() does. */
UNUSED static int probe_run(void)
{
    uint64_t end_ms = clock_now_ms() + params.timeout_ms;
    int error;

    n_results = 0;
    result = (struct result){0};
    probe.started_us = clock_now_us();
    error = kind->start(&probe);
    while (error == 0 && n_results == 0) {
        if (clock_now_ms() >= end_ms) {
            result.timed_out = true;
            if (kind->explain_late != NULL) {
                (void)kind->explain_late(&probe, result.reason, sizeof(result.reason));
            }
            kind->cancel(&probe);
            break;
        }
        turn_loop();
    }
    ck_assert_int_eq(n_results, error == 0 && !result.timed_out);
    return error;
}

/* A whole life with one run. */
UNUSED static void probe_once(const struct check_kind *of, const struct check_arg *args, int n)
{
    probe_begin(of, args, n);
    ck_assert_int_eq(probe_run(), 0);
    if (kind->release != NULL) {
        kind->release(&probe);
    }
}

UNUSED static int run_suite(const char *name, SFun before, SFun after, const TTest **tests,
                            int n_tests)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, before, after);
    tcase_set_timeout(tc, 120);
    for (int i = 0; i < n_tests; i++) {
        tcase_add_test(tc, tests[i]);
    }
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
