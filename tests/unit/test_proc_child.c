/*
 * How children end: what a child leaves behind in the session that it led ends with it, and nobody
 * else does. Forks real processes.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proc/child.h"

#define WAIT_MS 20000 /* a test that is not done by then has failed */

#define WAIT_FOR(condition)                                                                        \
    for (uint64_t end_ms = clock_now_ms() + WAIT_MS; !(condition);) {                              \
        ck_assert_msg(clock_now_ms() < end_ms, "%s: too late", #condition);                        \
        usleep(1000);                                                                              \
    }

/* Open for writing in everybody who lives; they say a byte when they are where they belong. */
static int alive[2];

static void setup(void)
{
    ck_assert_int_eq(pipe2(alive, O_CLOEXEC | O_NONBLOCK), 0);
}

static void teardown(void)
{
    close(alive[0]);
}

static _Noreturn void stay(void)
{
    (void)alarm(WAIT_MS / 1000 * 2); /* where the test fails, nobody else ends it */
    (void)!write(alive[1], "x", 1);
    for (;;) {
        pause();
    }
}

/* Leaves a process of its group, one of another group, and one whose parent has gone. */
static _Noreturn void lead(bool ends)
{
    (void)setsid();
    if (fork() == 0) {
        stay();
    }
    if (fork() == 0) {
        (void)setpgid(0, 0);
        stay();
    }
    if (fork() == 0) {
        if (fork() == 0) {
            (void)signal(SIGTERM, SIG_IGN);
            (void)signal(SIGHUP, SIG_IGN);
            stay();
        }
        _exit(0);
    }
    if (ends) {
        _exit(3);
    }
    stay();
}

static pid_t start_leader(bool ends)
{
    pid_t pid = child_fork();

    if (pid == 0) {
        lead(ends);
    }
    return pid;
}

static void expect_bytes(int n)
{
    char byte;

    for (int i = 0; i < n; i++) {
        WAIT_FOR(read(alive[0], &byte, 1) == 1);
    }
}

/* That everybody is: then only our own end of the pipe was open, and is closed here. */
static void expect_all_dead(void)
{
    char byte;

    close(alive[1]);
    WAIT_FOR(read(alive[0], &byte, 1) == 0);
}

START_TEST(one_that_lives_is_not_reaped)
{
    pid_t pid = child_fork();
    int status = -1;

    if (pid == 0) {
        stay();
    }
    expect_bytes(1);
    ck_assert(!child_reap(pid, &status));
    ck_assert_int_eq(status, -1);
    ck_assert(!child_reap(getpid(), &status)); /* nobody's child of ours */
    child_end(&pid);
    ck_assert_int_eq(pid, 0);
    expect_all_dead();
}
END_TEST

START_TEST(its_status_is_told)
{
    pid_t pid = child_fork();
    int status;

    if (pid == 0) {
        _exit(3);
    }
    WAIT_FOR(child_reap(pid, &status));
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1);
    close(alive[1]);
}
END_TEST

START_TEST(what_a_dead_leader_leaves_is_killed)
{
    pid_t pid = start_leader(false);
    int status;

    expect_bytes(4);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    WAIT_FOR(child_reap(pid, &status));
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    expect_all_dead();
}
END_TEST

/* Some of it may begin only then. */
START_TEST(what_a_leader_that_ended_leaves_is_killed)
{
    pid_t pid = start_leader(true);
    int status;

    WAIT_FOR(child_reap(pid, &status));
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    expect_all_dead();
}
END_TEST

START_TEST(to_end_a_leader_ends_them_all)
{
    pid_t pid = start_leader(false);

    expect_bytes(4);
    child_end(&pid);
    ck_assert_int_eq(pid, 0);
    child_end(&pid);
    expect_all_dead();
}
END_TEST

/* Most children lead no session: they are in ours, and so are we. */
START_TEST(a_child_that_leads_nothing_takes_nobody_along)
{
    pid_t other = child_fork();
    pid_t pid;

    if (other == 0) {
        stay();
    }
    pid = child_fork();
    if (pid == 0) {
        stay();
    }
    expect_bytes(2);
    child_end(&pid);
    ck_assert_int_eq(waitpid(other, NULL, WNOHANG), 0);
    child_end(&other);
    expect_all_dead();
}
END_TEST

/* Nor does one that has a session of its own elsewhere. */
START_TEST(other_sessions_are_left_alone)
{
    pid_t pid = start_leader(false);
    pid_t other = child_fork();

    if (other == 0) {
        (void)setsid();
        stay();
    }
    expect_bytes(5);
    child_end(&pid);
    ck_assert_int_eq(waitpid(other, NULL, WNOHANG), 0);
    child_end(&other);
    expect_all_dead();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/child");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, one_that_lives_is_not_reaped);
    tcase_add_test(tcase, its_status_is_told);
    tcase_add_test(tcase, what_a_dead_leader_leaves_is_killed);
    tcase_add_test(tcase, what_a_leader_that_ended_leaves_is_killed);
    tcase_add_test(tcase, to_end_a_leader_ends_them_all);
    tcase_add_test(tcase, a_child_that_leads_nothing_takes_nobody_along);
    tcase_add_test(tcase, other_sessions_are_left_alone);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
