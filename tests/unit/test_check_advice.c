/* Runs without a result: what they leave alone, and what a check that need not answer may hold up.
 */
#include "test_check_fixture.h"

static const char *answer; /* of the agent; NULL: it ends without one */
static int listener = -1;
static struct event *accepted;

static void on_accepted(evutil_socket_t fd, short what, void *arg)
{
    int client = accept4((int)fd, NULL, NULL, SOCK_CLOEXEC);

    (void)what;
    (void)arg;
    if (client >= 0 && answer != NULL) {
        (void)!send(client, answer, strlen(answer), MSG_NOSIGNAL);
    }
    close(client);
}

static struct addr start_agent(const char *says)
{
    struct addr address;

    answer = says;
    listener = listen_tcp("127.0.0.1", &address);
    accepted = event_new(base, listener, EV_READ | EV_PERSIST, on_accepted, NULL);
    event_add(accepted, NULL);
    return address;
}

static void stop_agent(void)
{
    event_free(accepted);
    close(listener);
}

static struct snapshot_check *draft_agent(const struct addr *address, uint32_t interval_ms,
                                          uint32_t rise, uint32_t fall)
{
    struct snapshot_check *check = draft_single(address, interval_ms, rise, fall);

    (void)snprintf(check->kind, sizeof(check->kind), "agent");
    return check;
}

/* So many runs of the slot's checks more. */
static void wait_for_runs(int n)
{
    for (int i = 0; i < n; i++) {
        uint64_t last_us = atomic_load(&sb.slots[1].next_check_ms);

        WAIT_FOR(atomic_load(&sb.slots[1].next_check_ms) != last_us);
    }
}

START_TEST(an_absent_agent_holds_up_nobody)
{
    struct addr address;

    close(bind_tcp("127.0.0.1", &address));
    (void)draft_agent(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes > 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "the agent does not answer: connect refused");
    wait_for_runs(3);
    ck_assert_int_eq(n_changes, 1);
    ck_assert_uint_eq(passed_of(1) + failed_of(1), 0);
    ck_assert_uint_eq(check_engine_stats(engine).passed + check_engine_stats(engine).failed, 0);
    ck_assert_uint_gt(atomic_load(&sb.slots[1].last_check_ms), 0);
}
END_TEST

START_TEST(a_silent_agent_holds_up_nobody)
{
    struct addr address;

    (void)listen_silent(&address);
    draft_agent(&address, HOUR_MS, 1, 1)->timeout_ms = 20;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes > 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "no answer within 20 ms");
    ck_assert_uint_eq(passed_of(1) + failed_of(1), 0);
}
END_TEST

/* Who joins a probe later does not wait for its next run. */
START_TEST(another_pool_is_not_held_up_either)
{
    struct addr address;

    close(bind_tcp("127.0.0.1", &address));
    (void)draft_agent(&address, HOUR_MS, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    draft_pool("other");
    draft_backend("b", 2, &address, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(health_of(2), SB_HEALTH_UP);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 1);
}
END_TEST

/* For want of a result so far, the very first one decides. */
START_TEST(its_first_word_decides)
{
    struct addr address = start_agent(NULL);

    (void)draft_agent(&address, 5, 5, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    answer = "down # maintenance\n";
    WAIT_FOR(failed_of(1) == 1);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "agent says down: maintenance");
    stop_agent();
}
END_TEST

START_TEST(what_it_said_last_holds)
{
    struct addr address = start_agent("down\n");

    (void)draft_agent(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    answer = NULL;
    wait_for_runs(3);
    answer = "75%\n";
    wait_for_runs(3);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "agent says down");
    answer = "up\n";
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    answer = NULL;
    wait_for_runs(3);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "the agent does not answer");
    ck_assert_int_eq(n_changes, 2);
    stop_agent();
}
END_TEST

/* A word that is not known is none, however often it is said: from one that has not spoken yet as
 * from one that has. */
START_TEST(strange_words_say_nothing)
{
    struct addr address = start_agent("HTTP/1.1 400 Bad Request\n");

    (void)draft_agent(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "agent says nothing known: HTTP/1.1 400 Bad Request");
    wait_for_runs(3);
    answer = "up\n";
    WAIT_FOR(passed_of(1) > 0);
    answer = "Traceback (most recent call last):\n";
    wait_for_runs(4);
    ck_assert_int_eq(n_changes, 1);
    ck_assert_uint_eq(failed_of(1), 0);
    stop_agent();
}
END_TEST

/* An agent knows what it says: nothing is counted, and a restart that was planned is no flapping.
 */
START_TEST(its_word_holds_at_once)
{
    struct addr address = start_agent("up\n");

    (void)draft_agent(&address, 5, 5, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    for (int i = 0; i < 4; i++) {
        uint64_t failed = failed_of(1), passed;

        answer = "stopped\n";
        WAIT_FOR(failed_of(1) > failed);
        ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
        passed = passed_of(1);
        answer = "up\n";
        WAIT_FOR(passed_of(1) > passed);
        ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
        ck_assert_str_eq(reason_of(1), "agent says up");
    }
    ck_assert_int_eq(n_changes, 9);
    stop_agent();
}
END_TEST

/* One pool, one backend with a tcp check and an agent at another port. */
static void draft_tcp_and_agent(const struct addr *address, const struct addr *agent)
{
    draft_begin();
    draft_pool("web");
    (void)draft_check(5, 1, 1);
    (void)snprintf(draft_check(5, 1, 1)->kind, NAME_BYTES_MAX, "agent");
    draft.checks[1].port = agent->ip.port;
    draft_backend("a", 1, address, 2);
}

START_TEST(the_others_decide_while_it_is_silent)
{
    struct addr address, agent;
    int fd = listen_tcp("127.0.0.1", &address);

    close(bind_tcp("127.0.0.1", &agent));
    draft_tcp_and_agent(&address, &agent);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    WAIT_FOR(strcmp(reason_of(1), "1 of 2 checks pass, the rest says nothing") == 0);
    ck_assert_int_eq(draft_apply(), 0); /* a reload forgets nothing of it */
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    close(fd);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    ck_assert_int_eq(n_changes, 2);
}
END_TEST

/* A backend whose other checks have no result yet waits for them, not for its agent. */
START_TEST(it_vouches_for_nobody)
{
    struct addr address, agent;

    (void)listen_silent(&address);
    close(bind_tcp("127.0.0.1", &agent));
    draft_tcp_and_agent(&address, &agent);
    ck_assert_int_eq(draft_apply(), 0);
    wait_for_runs(3);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UNKNOWN);
    ck_assert_int_eq(n_changes, 0);
}
END_TEST

/* --- health that the slot has already --- */

static void set_health(enum sb_health health)
{
    ck_assert(scoreboard_set_health(&sb, 1, health, "before", clock_now_ms()));
}

/* Of a backend that was down when the engine started: its tcp check brings it back alone. */
START_TEST(it_does_not_start_as_the_slot_is)
{
    struct addr address, agent = start_agent("75%\n");

    (void)listen_tcp("127.0.0.1", &address);
    set_health(SB_HEALTH_DOWN);
    draft_tcp_and_agent(&address, &agent);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_uint_eq(atomic_load(&sb.slots[1].asked_permille), 751);
    stop_agent();
}
END_TEST

/* The same of one that is up, where one pass would be enough. */
START_TEST(it_passes_for_nobody)
{
    struct addr address, agent = start_agent("75%\n");

    close(bind_tcp("127.0.0.1", &address));
    set_health(SB_HEALTH_UP);
    draft_tcp_and_agent(&address, &agent);
    drafted_pool()->require_any = true;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    stop_agent();
}
END_TEST

/* Nor does one that a reload adds. */
START_TEST(one_added_while_down_holds_nobody_down)
{
    struct addr address, agent = start_agent("drain\n");
    int fd = bind_tcp("127.0.0.1", &address);

    (void)draft_single(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    draft_tcp_and_agent(&address, &agent);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(listen(fd, 128), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_uint_eq(atomic_load(&sb.slots[1].asked_admin), ADMIN_DRAIN);
    stop_agent();
}
END_TEST

/* What the agent says itself outlives the engine, as soon as it is said again; until then a slot
 * keeps the health that it has. */
START_TEST(only_a_word_lets_a_slot_go)
{
    struct addr address = start_agent("down\n");

    set_health(SB_HEALTH_DOWN);
    (void)draft_agent(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(failed_of(1) > 1);
    ck_assert_int_eq(n_changes, 0);
    ck_assert_str_eq(reason_of(1), "agent says down");
    stop_agent();
}
END_TEST

/* Of an agent whose first answer is far away. */
START_TEST(one_added_while_up_holds_up_nobody)
{
    struct addr address, agent;
    uint64_t passed;

    (void)listen_tcp("127.0.0.1", &address);
    (void)listen_silent(&agent);
    (void)draft_single(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    passed = passed_of(1);
    draft_tcp_and_agent(&address, &agent);
    draft.checks[1].timeout_ms = HOUR_MS;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) > passed + 2);
    ck_assert_int_eq(n_changes, 1);
}
END_TEST

START_TEST(new_numbers_take_nobody_out)
{
    struct addr address;

    (void)listen_silent(&address);
    draft_agent(&address, HOUR_MS, 1, 1)->timeout_ms = 20;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    for (uint32_t round = 1; round < 4; round++) { /* also before its next run is over */
        draft_agent(&address, HOUR_MS + round, 1, 1)->timeout_ms = HOUR_MS;
        ck_assert_int_eq(draft_apply(), 0);
        turn_loop();
    }
    ck_assert_int_eq(n_changes, 1);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
}
END_TEST

/* Nor is anybody held down again by one that was known to be silent. */
START_TEST(new_numbers_leave_the_silent_out)
{
    struct addr address, agent;
    int fd = listen_tcp("127.0.0.1", &address);

    (void)listen_silent(&agent);
    draft_tcp_and_agent(&address, &agent);
    draft.checks[1].timeout_ms = 20;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    draft_tcp_and_agent(&address, &agent);
    draft.checks[1].timeout_ms = HOUR_MS;
    ck_assert_int_eq(draft_apply(), 0);
    close(fd);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    ck_assert_int_eq(listen(bind_address(&address), 128), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
}
END_TEST

/* What it said holds on where only the numbers change, and is no count of failures. */
START_TEST(new_numbers_keep_its_word)
{
    struct addr address = start_agent("down\n");

    (void)draft_agent(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    answer = NULL;
    (void)draft_agent(&address, 6, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    wait_for_runs(3);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    ck_assert_int_eq(n_changes, 1);
    stop_agent();
}
END_TEST

/* The check that failed is gone: what is left has a reason although its probe is new and silent. */
START_TEST(a_silent_rest_has_a_reason)
{
    struct addr address;

    close(bind_tcp("127.0.0.1", &address));
    draft_begin();
    draft_pool("web");
    (void)snprintf(draft_check(5, 1, 1)->kind, NAME_BYTES_MAX, "agent");
    (void)draft_check(5, 1, 1);
    draft_backend("a", 1, &address, 2);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    wait_for_runs(4);
    (void)draft_agent(&address, HOUR_MS, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "by earlier results");
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        an_absent_agent_holds_up_nobody,
        a_silent_agent_holds_up_nobody,
        another_pool_is_not_held_up_either,
        its_first_word_decides,
        what_it_said_last_holds,
        strange_words_say_nothing,
        its_word_holds_at_once,
        the_others_decide_while_it_is_silent,
        it_vouches_for_nobody,
        it_does_not_start_as_the_slot_is,
        it_passes_for_nobody,
        one_added_while_down_holds_nobody_down,
        only_a_word_lets_a_slot_go,
        one_added_while_up_holds_up_nobody,
        new_numbers_take_nobody_out,
        new_numbers_leave_the_silent_out,
        new_numbers_keep_its_word,
        a_silent_rest_has_a_reason,
    };

    return run_suite("check/advice", tests, COUNT(tests));
}
