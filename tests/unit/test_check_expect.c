/* The expect check: how conversations go, and what is said about those that do not. */
#include "test_check_run.h"

#include <signal.h>
#include <time.h>

#include "test_check_peer.h"

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN); /* as in the monitor */
    setup();
}

static void end(void)
{
    peer_stop();
    teardown();
}

static const char *const *steps_to_take;
static struct check_arg args[16];

static int fill_args(void)
{
    int n = 0;

    for (; steps_to_take[n] != NULL; n++) {
        args[n] = (struct check_arg){"steps", steps_to_take[n]};
    }
    return n;
}

#define STEPS(...) (steps_to_take = (const char *const[]){__VA_ARGS__, NULL})

/* A run against the peer, within that time. */
static void run_within(uint32_t timeout_ms, const struct act *script)
{
    (void)peer_start("127.0.0.1:0", script);
    address = peer.address;
    params.timeout_ms = timeout_ms;
    probe_once(check_kind_find("expect"), args, fill_args());
}

/* That it passes, in n steps. */
static void expect_pass(const struct act *script, const char *start)
{
    run_within(WAIT_MS, script);
    ck_assert_msg(result.passed, "%s", result.reason);
    ck_assert_msg(strncmp(result.reason, start, strlen(start)) == 0, "%s", result.reason);
}

static void expect_fail(const struct act *script, const char *reason)
{
    run_within(WAIT_MS, script);
    ck_assert(!result.passed && !result.timed_out);
    ck_assert_str_eq(result.reason, reason);
}

/* That its time runs out, and what it says about it. */
static void expect_late(const struct act *script, const char *reason)
{
    run_within(500, script);
    ck_assert(result.timed_out);
    ck_assert_str_eq(result.reason, reason);
}

/* --- conversations that go well --- */

START_TEST(a_question_is_answered)
{
    unsigned whole;
    int length = 0;

    STEPS("send PING\\r\\n", "expect +PONG");
    expect_pass(SCRIPT(HEAR("PING\r\n"), SAY("+PONG\r\n")), "2 steps in ");
    (void)sscanf(result.reason, "2 steps in %u us%n", &whole, &length);
    if (length == 0) {
        (void)sscanf(result.reason, "2 steps in %u.%*1u ms%n", &whole, &length);
    }
    ck_assert_msg(length == (int)strlen(result.reason), "%s", result.reason);
    WAIT_FOR(peer.saw_end || peer.saw_reset);
    ck_assert(peer.saw_reset); /* leaves nothing behind */
    ck_assert_str_eq(peer_heard(), "PING\r\n");
}
END_TEST

START_TEST(times_are_told_in_milliseconds_from_one_on)
{
    unsigned ms = 0;
    int length = 0;

    STEPS("expect x");
    expect_pass(SCRIPT(PAUSE(3), SAY("x")), "1 step in ");
    (void)sscanf(result.reason, "1 step in %u.%*1u ms%n", &ms, &length);
    ck_assert_msg(length == (int)strlen(result.reason), "%s", result.reason);
    ck_assert_uint_ge(ms, 2);
    ck_assert_uint_lt(ms, 5000);
}
END_TEST

START_TEST(the_backend_may_speak_first)
{
    STEPS("expect 220 ", "send QUIT\\r\\n", "expect 221", "expect-close");
    expect_pass(SCRIPT(SAY("220 hello\r\n"), HEAR("QUIT\r\n"), SAY("221 bye\r\n"), CLOSE),
                "4 steps in ");
}
END_TEST

START_TEST(a_byte_at_a_time_will_do)
{
    STEPS("expect-regex ^220 [^\\n]*\\n", "send x", "expect-hex 0d0a2e0d0a");
    expect_pass(SCRIPT(SAY_SLOWLY("220 hello\r\n"), HEAR("x"), SAY_SLOWLY("text\r\n.\r\n")),
                "3 steps in ");
}
END_TEST

/* What was found is taken, with all before it, and nothing after it. */
START_TEST(steps_look_at_what_follows)
{
    STEPS("expect b", "expect-regex ^cab", "expect c", "expect-regex ^$", "send ok");
    expect_pass(SCRIPT(SAY("aabcabac")), "5 steps in ");
}
END_TEST

START_TEST(a_step_does_not_find_what_was_taken)
{
    STEPS("expect a", "expect a");
    expect_late(SCRIPT(SAY("a")), "expect step 2: expected \"a\", no answer within 500 ms");
}
END_TEST

START_TEST(bytes_of_any_value_pass_both_ways)
{
    STEPS("send-hex 00ff0a", "expect \\0\\xff\\x00", "send \\0");
    expect_pass(SCRIPT(HEAR("\x00\xff\n"), SAY("\x00\xff\x00")), "3 steps in ");
}
END_TEST

/* A reset would take away what the backend has not read yet. */
START_TEST(what_was_sent_last_arrives)
{
    STEPS("expect hi", "send bye");
    expect_pass(SCRIPT(SAY("hi"), HEAR("bye"), HEAR_END, CLOSE), "2 steps in ");
    ck_assert_str_eq(peer_heard(), "bye");
    ck_assert(peer_parts_well() && peer.saw_end);
}
END_TEST

START_TEST(what_comes_before_the_close_does_not_matter)
{
    STEPS("expect-close");
    expect_pass(SCRIPT(FLOOD(200000), CLOSE), "1 step in ");
}
END_TEST

START_TEST(an_answer_and_its_end_may_come_together)
{
    STEPS("expect a", "expect b", "expect-close");
    expect_pass(SCRIPT(SAY("ab"), CLOSE), "3 steps in ");
}
END_TEST

/* --- conversations that do not --- */

START_TEST(another_answer_is_told)
{
    STEPS("send PING\\r\\n", "expect +PONG");
    expect_late(SCRIPT(HEAR("PING"), SAY("-LOADING Redis is loading\r\n")),
                "expect step 2: expected \"+PONG\", got \"-LOADING Redis is loading\"");
}
END_TEST

START_TEST(no_answer_is_told)
{
    STEPS("expect 220");
    expect_late(SCRIPT(HEAR_END), "expect step 1: expected \"220\", no answer within 500 ms");
}
END_TEST

/* Steady dripping keeps nothing alive. */
START_TEST(the_checks_time_holds_for_all_steps)
{
    uint64_t start_ms = clock_now_ms();

    STEPS("expect(10s) y");
    expect_late(
        SCRIPT(SAY_SLOWLY("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")),
        result.reason);
    ck_assert_uint_lt(clock_now_ms() - start_ms, 5000);
    ck_assert_msg(strstr(result.reason, "1: expected \"y\", got \"xxx") != NULL, "%s",
                  result.reason);
}
END_TEST

START_TEST(a_steps_own_time_may_be_over_earlier)
{
    uint64_t start_us = clock_now_us();

    STEPS("send x", "expect(30ms) y");
    expect_fail(SCRIPT(HEAR_END), "expect step 2: expected \"y\", no answer within 30 ms");
    ck_assert_uint_ge(clock_now_us() - start_us, 30000);
    ck_assert_uint_lt(clock_now_us() - start_us, 5000000);
}
END_TEST

START_TEST(a_step_in_time_leaves_the_next_one_its_own)
{
    uint64_t start_ms = clock_now_ms();

    STEPS("expect(10s) a", "expect(20ms) b", "send never");
    expect_fail(SCRIPT(SAY("ax")), "expect step 2: expected \"b\", got \"x\"");
    ck_assert_uint_lt(clock_now_ms() - start_ms, 5000);
}
END_TEST

START_TEST(a_step_in_time_leaves_nothing_to_the_next_one)
{
    STEPS("expect(100ms) a", "expect b");
    expect_pass(SCRIPT(SAY("a"), PAUSE(200), SAY("b")), "2 steps in ");
}
END_TEST

START_TEST(a_close_may_have_to_come_in_time)
{
    STEPS("expect-close(20ms)");
    expect_fail(SCRIPT(SAY("x")), "expect step 1: expected a close, none within 20 ms");
}
END_TEST

START_TEST(an_early_end_is_told)
{
    STEPS("expect a", "send x", "expect b");
    expect_fail(SCRIPT(SAY("a"), HEAR("x"), CLOSE),
                "expect step 3: expected \"b\", closed by the backend");
}
END_TEST

START_TEST(an_early_end_after_other_words_is_told)
{
    STEPS("expect +PONG");
    expect_fail(SCRIPT(SAY("-ERR max number of clients reached\r\n"), CLOSE),
                "expect step 1: expected \"+PONG\", got \"-ERR max number of clients reached\", "
                "then closed");
}
END_TEST

START_TEST(a_reset_is_told)
{
    STEPS("send x", "expect y");
    expect_fail(SCRIPT(HEAR("x"), RESET), "expect step 2: expected \"y\", connection reset");
}
END_TEST

START_TEST(nobody_there_is_told)
{
    STEPS("send x");
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
    address = peer.address;
    peer_stop();
    probe_once(check_kind_find("expect"), args, fill_args());
    ck_assert_str_eq(result.reason, "connect refused"); /* no step was taken yet */
}
END_TEST

START_TEST(too_much_is_told)
{
    STEPS("send x", "expect +PONG");
    expect_fail(SCRIPT(HEAR("x"), FLOOD((size_t)1 << 30)),
                "expect step 2: expected \"+PONG\", 64 KiB without it");
    ck_assert_uint_lt(peer.n_said, 16 << 20); /* what two sockets hold, no more */
}
END_TEST

START_TEST(as_much_as_fits_is_searched)
{
    STEPS("expect-regex x{3}y");
    expect_pass(SCRIPT(FLOOD(65000), SAY("xxxy")), "1 step in ");
}
END_TEST

START_TEST(no_answer_makes_an_expression_spin)
{
    clock_t start = clock();

    STEPS("expect-regex (x+)+[yz]");
    expect_fail(
        SCRIPT(FLOOD(60000)),
        "expect step 1: expected /(x+)+[yz]/, the expression takes too long to match what came");
    ck_assert_int_lt((clock() - start) * 1000 / CLOCKS_PER_SEC, 300);
}
END_TEST

START_TEST(what_is_not_printable_is_escaped)
{
    STEPS("expect !");
    expect_late(SCRIPT(SAY("\x1b[2J\x07\xff\"\r\nnext")),
                "expect step 1: expected \"!\", got \"\\x1b[2J\\x07\\xff\\\"…\"");
}
END_TEST

START_TEST(what_is_long_is_cut)
{
    STEPS("expect y");
    expect_late(SCRIPT(FLOOD(1000)),
                "expect step 1: expected \"y\", got "
                "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\"");
}
END_TEST

/* Between two escapes, and so that there is room for what came. */
START_TEST(what_is_awaited_is_cut_too)
{
    STEPS("expect-regex ^250[- ]OK \\x41\\x42\\xe4\\r\\n\\d+\\.$");
    expect_fail(SCRIPT(FLOOD(100), CLOSE),
                "expect step 1: expected /^250[- ]OK \\x41\\x42\\xe4\\r…/, got "
                "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\", then closed");
}
END_TEST

/* As it was written, so that it can be told from what came without its end. */
START_TEST(what_is_awaited_stands_as_it_was_written)
{
    STEPS("expect +\\x1b\"\xc3\xa4\\r\\n");
    expect_fail(SCRIPT(SAY("+"), CLOSE),
                "expect step 1: expected \"+\\x1b\"\\xc3\\xa4\\r\\n\", got \"+\", then closed");
    STEPS("expect-hex 2b0d0a");
    peer_stop();
    expect_fail(SCRIPT(SAY("+"), CLOSE), "expect step 1: expected 2b0d0a, got \"+\", then closed");
}
END_TEST

START_TEST(without_steps_it_fails)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
    address = peer.address;
    probe_once(check_kind_find("expect"), NULL, 0);
    ck_assert(!result.passed);
    ck_assert_str_eq(result.reason, "it has no steps");
}
END_TEST

START_TEST(without_steps_it_is_no_check)
{
    const struct check_arg other = {"step", "send x"}, step = {"steps", "send x"};
    STR_AUTO problem = {0};

    ck_assert(!check_judge_all("expect", &other, 1, &problem));
    ck_assert_str_eq(
        str_text(&problem),
        "no steps; write steps = { \"send PING\\r\\n\", \"expect +PONG\" } or the like");
    ck_assert(check_judge_all("expect", &step, 1, &problem));
}
END_TEST

/* --- lives --- */

START_TEST(runs_follow_each_other)
{
    STEPS("expect(1s) a", "send x");
    (void)peer_start("127.0.0.1:0", SCRIPT(SAY("a"), HEAR("x"), CLOSE));
    address = peer.address;
    probe_begin(check_kind_find("expect"), args, fill_args());
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(probe_run(), 0);
        ck_assert_msg(result.passed, "%s", result.reason);
    }
    kind->release(&probe);
    ck_assert_uint_eq(peer.n_connections, 5);
}
END_TEST

/* Wherever it is when it is cancelled, nothing is left and nothing comes any more. */
START_TEST(it_can_be_cancelled_at_any_time)
{
    int n_before, n_after;

    STEPS("expect(1s) a", "expect(1s) b", "send bye");
    (void)peer_start("127.0.0.1:0", SCRIPT(SAY("a"), PAUSE(2), SAY("b"), HEAR_END));
    address = peer.address;
    probe_begin(check_kind_find("expect"), args, fill_args());
    n_before = count_descriptors();
    for (int turns = 0; turns < 8; turns++) {
        n_results = 0;
        ck_assert_int_eq(kind->start(&probe), 0);
        for (int i = 0; i < turns && n_results == 0; i++) {
            turn_loop();
        }
        if (n_results == 0) {
            kind->cancel(&probe);
        }
        n_results = 0;
        turn_loop();
        turn_loop();
        ck_assert_int_eq(n_results, 0);
    }
    kind->release(&probe);
    WAIT_FOR(peer.saw_end || peer.saw_reset);
    peer_hang_up(false);
    n_after = count_descriptors();
    ck_assert_int_eq(n_after, n_before);
}
END_TEST

START_TEST(a_step_that_is_cancelled_has_no_time_left)
{
    uint64_t end_ms;

    STEPS("expect(40ms) a");
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
    address = peer.address;
    probe_begin(check_kind_find("expect"), args, fill_args());
    ck_assert_int_eq(kind->start(&probe), 0);
    WAIT_FOR(peer.n_connections > 0);
    turn_loop();
    if (n_results == 0) {
        kind->cancel(&probe);
    }
    n_results = 0;
    for (end_ms = clock_now_ms() + 60; clock_now_ms() < end_ms;) {
        turn_loop();
    }
    ck_assert_int_eq(n_results, 0);
    kind->release(&probe);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        a_question_is_answered,
        times_are_told_in_milliseconds_from_one_on,
        the_backend_may_speak_first,
        a_byte_at_a_time_will_do,
        steps_look_at_what_follows,
        a_step_does_not_find_what_was_taken,
        bytes_of_any_value_pass_both_ways,
        what_was_sent_last_arrives,
        what_comes_before_the_close_does_not_matter,
        an_answer_and_its_end_may_come_together,
        another_answer_is_told,
        no_answer_is_told,
        the_checks_time_holds_for_all_steps,
        a_steps_own_time_may_be_over_earlier,
        a_step_in_time_leaves_the_next_one_its_own,
        a_step_in_time_leaves_nothing_to_the_next_one,
        a_close_may_have_to_come_in_time,
        an_early_end_is_told,
        an_early_end_after_other_words_is_told,
        a_reset_is_told,
        nobody_there_is_told,
        too_much_is_told,
        as_much_as_fits_is_searched,
        no_answer_makes_an_expression_spin,
        what_is_not_printable_is_escaped,
        what_is_long_is_cut,
        what_is_awaited_is_cut_too,
        what_is_awaited_stands_as_it_was_written,
        without_steps_it_fails,
        without_steps_it_is_no_check,
        runs_follow_each_other,
        it_can_be_cancelled_at_any_time,
        a_step_that_is_cancelled_has_no_time_left,
    };

    return run_suite("check/expect", begin, end, tests, COUNT(tests));
}
