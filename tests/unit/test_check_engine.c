/* The check engine with real sockets: how health starts and moves, and how results are shared. */
#include "test_check_fixture.h"

#include "check/check.h"

/* --- how health starts --- */

START_TEST(first_pass_makes_an_unknown_slot_up)
{
    struct addr address;

    (void)listen_tcp("127.0.0.1", &address);
    (void)draft_single(&address, HOUR_MS, 5, 5);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UNKNOWN);
    WAIT_FOR(n_changes > 0);
    ck_assert_int_eq(n_changes, 1);
    ck_assert_str_eq(changes[0].pool, "web");
    ck_assert_str_eq(changes[0].backend, "a");
    ck_assert_int_eq(changes[0].from, SB_HEALTH_UNKNOWN);
    ck_assert_int_eq(changes[0].to, SB_HEALTH_UP);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_msg(starts_with(reason_of(1), "connected in "), "%s", reason_of(1));
    ck_assert_str_eq(changes[0].reason, reason_of(1));
}
END_TEST

START_TEST(first_failure_makes_an_unknown_slot_down)
{
    struct addr address;

    (void)bind_tcp("127.0.0.1", &address);
    (void)draft_single(&address, HOUR_MS, 5, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes > 0);
    ck_assert_int_eq(changes[0].to, SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "connect refused");
    ck_assert_uint_eq(failed_of(1), 1);
}
END_TEST

/* start = up, a restarted monitor, or a reload: the health is there, rise and fall count. */
START_TEST(a_slot_that_is_up_falls_only_after_fall_failures)
{
    struct addr address;

    (void)bind_tcp("127.0.0.1", &address);
    scoreboard_set_health(&sb, 1, SB_HEALTH_UP, "as before", clock_now_ms());
    draft_single(&address, HOUR_MS, 2, 4)->fast_interval_ms = 5;
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(n_changes, 0);
    WAIT_FOR(failed_of(1) == 3);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "as before");
    WAIT_FOR(n_changes > 0);
    ck_assert_uint_eq(failed_of(1), 4);
    ck_assert_int_eq(changes[0].from, SB_HEALTH_UP);
    ck_assert_int_eq(changes[0].to, SB_HEALTH_DOWN);
    ck_assert_uint_eq(atomic_load(&sb.slots[1].streak), 4);
}
END_TEST

START_TEST(a_slot_that_is_down_rises_only_after_rise_passes)
{
    struct addr address;

    (void)listen_tcp("127.0.0.1", &address);
    scoreboard_set_health(&sb, 1, SB_HEALTH_DOWN, "as before", clock_now_ms());
    draft_single(&address, HOUR_MS, 3, 2)->fast_interval_ms = 5;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) == 2);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "as before");
    WAIT_FOR(n_changes > 0);
    ck_assert_uint_eq(passed_of(1), 3);
    ck_assert_int_eq(changes[0].to, SB_HEALTH_UP);
}
END_TEST

/* Down is looked at at its own interval, a change at the fast one, all else at the long one. */
START_TEST(each_pace_has_its_interval)
{
    struct addr address;
    int fd = bind_tcp("127.0.0.1", &address);
    struct snapshot_check *check = draft_single(&address, HOUR_MS, 2, 3);
    uint64_t last_ms, next_ms;

    check->fast_interval_ms = check->down_interval_ms = 5;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(failed_of(1) >= 4);
    ck_assert_int_eq(listen(fd, 16), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_uint_eq(passed_of(1), 2);
    last_ms = atomic_load(&sb.slots[1].last_check_ms);
    next_ms = atomic_load(&sb.slots[1].next_check_ms);
    ck_assert_uint_gt(next_ms, last_ms + HOUR_MS / 100 * 94);
    ck_assert_uint_lt(next_ms, last_ms + HOUR_MS / 100 * 106);
    ck_assert_uint_lt(atomic_load(&sb.slots[1].last_latency_us), 5000000);
}
END_TEST

START_TEST(health_comes_and_goes)
{
    struct addr address;
    int fd = listen_tcp("127.0.0.1", &address);

    (void)draft_single(&address, 5, 2, 3);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP && passed_of(1) > 3);
    close(fd);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "connect refused");
    ck_assert_int_eq(listen(bind_address(&address), 16), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_int_eq(n_changes, 3);
}
END_TEST

START_TEST(unchecked_backends_are_up_and_nameless_ones_down)
{
    const struct addr none = {0};
    struct addr address = address_of("127.0.0.1:1");

    scoreboard_set_health(&sb, 2, SB_HEALTH_DOWN, "an earlier check", clock_now_ms());
    scoreboard_set_health(&sb, 5, SB_HEALTH_UP, "said before", clock_now_ms());
    draft_begin();
    draft_pool("web");
    draft_backend("a", 1, &address, 0);
    draft_backend("b", 2, &address, 0);
    draft_backend("c", 5, &address, 0);
    (void)draft_check(HOUR_MS, 1, 1);
    draft_backend("d", 3, &none, 1);
    draft_backend("e", 4, &none, 0);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(n_changes, 4);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_int_eq(health_of(2), SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(2), "not checked");
    ck_assert_str_eq(reason_of(5), "said before");
    ck_assert_int_eq(health_of(3), SB_HEALTH_DOWN);
    ck_assert_int_eq(health_of(4), SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(3), "its name does not resolve");
    ck_assert_uint_eq(check_engine_stats(engine).probes, 0);
}
END_TEST

/* --- sharing --- */

/* A Unix socket counts exactly what arrives. */
START_TEST(pools_with_the_same_check_share_one_probe)
{
    struct addr address;
    int fd = listen_unix("shared", 4096, &address);
    struct check_engine_stats stats;
    int n_accepted = 0;

    draft_begin();
    draft_pool("one");
    (void)draft_check(5, 2, 3);
    draft_backend("a", 1, &address, 1);
    draft_pool("two");
    (void)draft_check(5, 2, 3); /* another section that says the same */
    draft_backend("a", 2, &address, 1);
    draft_backend("b", 3, &address, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 1);
    WAIT_FOR(((void)(n_accepted += accept_all(fd)), passed_of(1) >= 10));
    n_accepted += accept_all(fd);
    stats = check_engine_stats(engine);
    ck_assert_uint_eq((uint64_t)n_accepted, stats.passed);
    for (uint32_t slot = 1; slot <= 3; slot++) {
        ck_assert_uint_eq(passed_of(slot), stats.passed);
        ck_assert_int_eq(health_of(slot), SB_HEALTH_UP);
    }
    ck_assert_int_eq(n_changes, 3);
}
END_TEST

START_TEST(every_parameter_makes_a_probe_of_its_own)
{
    struct addr address = address_of("127.0.0.1:9");
    struct snapshot_check *check;

    draft_begin();
    draft_pool("web");
    for (uint32_t slot = 0; slot < 8; slot++) {
        check = draft_check(HOUR_MS, 2, 3);
        check->interval_ms += slot == 1;
        check->fast_interval_ms += slot == 2;
        check->down_interval_ms += slot == 3;
        check->timeout_ms += slot == 4;
        check->rise += slot == 5;
        check->fall += slot == 6;
        check->port = slot == 7 ? 10 : 0;
        draft_backend("a", slot, &address, 1);
    }
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 8);
    /* The backend's own port, said by the check, is the same probe as said by the address. */
    check = draft_check(HOUR_MS, 2, 3);
    check->port = 9;
    draft_backend("b", 8, &address, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 8);
}
END_TEST

START_TEST(a_check_can_have_its_own_port)
{
    struct addr address, other;

    (void)bind_tcp("127.0.0.1", &address);
    (void)listen_tcp("127.0.0.1", &other);
    draft_single(&address, HOUR_MS, 1, 1)->port = other.ip.port;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes > 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
}
END_TEST

/* Each slot goes its own way to the same truth: one was unknown, one up, one down. */
START_TEST(slots_of_one_probe_keep_their_own_counts)
{
    struct addr address;

    (void)bind_tcp("127.0.0.1", &address);
    scoreboard_set_health(&sb, 2, SB_HEALTH_UP, "", clock_now_ms());
    scoreboard_set_health(&sb, 3, SB_HEALTH_DOWN, "", clock_now_ms());
    draft_begin();
    draft_pool("web");
    (void)draft_check(5, 3, 3);
    for (uint32_t slot = 1; slot <= 3; slot++) {
        draft_backend("a", slot, &address, 1);
    }
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(failed_of(1) == 1);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    ck_assert_int_eq(health_of(2), SB_HEALTH_UP);
    WAIT_FOR(failed_of(1) == 3);
    ck_assert_int_eq(health_of(2), SB_HEALTH_DOWN);
    ck_assert_int_eq(n_changes, 2);
    ck_assert_str_eq(reason_of(3), "connect refused");
}
END_TEST

/* --- several checks --- */

static void draft_two_checks(const struct addr *address, uint32_t port)
{
    draft_begin();
    draft_pool("web");
    (void)draft_check(5, 2, 2);
    draft_check(5, 2, 2)->port = port;
    draft_backend("a", 1, address, 2);
}

START_TEST(all_checks_must_pass)
{
    struct addr address, other;
    char expected[SB_REASON_MAX];
    int fd;

    (void)listen_tcp("127.0.0.1", &address);
    fd = bind_tcp("127.0.0.1", &other);
    draft_two_checks(&address, other.ip.port);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) > 2 && failed_of(1) > 2);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    (void)snprintf(expected, sizeof(expected), "tcp check 2 of 2 (port %u): connect refused",
                   other.ip.port);
    ck_assert_str_eq(reason_of(1), expected);
    ck_assert_int_eq(listen(fd, 16), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "all 2 checks pass");
    ck_assert_int_le(n_changes, 2);
}
END_TEST

START_TEST(one_pass_of_two_checks_decides_nothing)
{
    struct addr address, silent;

    (void)listen_tcp("127.0.0.1", &address);
    (void)listen_silent(&silent);
    draft_two_checks(&address, silent.ip.port);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) > 3);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UNKNOWN);
    ck_assert_int_eq(n_changes, 0);
    ck_assert_msg(starts_with(reason_of(1), "tcp check 2 of 2 (port "), "%s", reason_of(1));
    ck_assert_ptr_nonnull(strstr(reason_of(1), "no result yet"));
}
END_TEST

/* --- what the contract says about kinds --- */

START_TEST(every_kind_is_complete_and_found_by_name)
{
    int n = 0;

    for (; check_kind_names[n]; n++) {
        const struct check_kind *kind = check_kind_find(check_kind_names[n]);

        ck_assert_ptr_nonnull(kind);
        ck_assert_str_eq(kind->name, check_kind_names[n]);
        ck_assert(kind->help[0] != '\0' && kind->start && kind->cancel);
        ck_assert(strlen(kind->name) < NAME_BYTES_MAX);
    }
    ck_assert_int_gt(n, 0);
    ck_assert_ptr_null(check_kind_find("tc"));
    ck_assert_ptr_null(check_kind_find(""));
}
END_TEST

START_TEST(a_kind_may_say_more_when_its_time_is_over)
{
    struct addr address;
    struct snapshot_check *check;
    int listener = listen_tcp("127.0.0.1", &address);
    int fd = -1;

    check = draft_single(&address, HOUR_MS, 1, 1);
    (void)snprintf(check->kind, sizeof(check->kind), "redis");
    check->timeout_ms = 200;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    ck_assert_int_eq(write(fd, "-LOADI", 6), 6);
    WAIT_FOR(n_changes > 0);
    ck_assert_str_eq(reason_of(1), "got \"-LOADI\"");
    close(fd);
}
END_TEST

START_TEST(an_engine_without_snapshot_or_listener_is_quiet)
{
    struct addr address;

    check_engine_destroy(NULL);
    check_engine_destroy(engine);
    engine = check_engine_create(base, &sb, 0, NULL, NULL);
    turn_loop();
    (void)bind_tcp("127.0.0.1", &address);
    (void)draft_single(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    draft_begin();
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 0);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        first_pass_makes_an_unknown_slot_up,
        first_failure_makes_an_unknown_slot_down,
        a_slot_that_is_up_falls_only_after_fall_failures,
        a_slot_that_is_down_rises_only_after_rise_passes,
        each_pace_has_its_interval,
        health_comes_and_goes,
        unchecked_backends_are_up_and_nameless_ones_down,
        pools_with_the_same_check_share_one_probe,
        every_parameter_makes_a_probe_of_its_own,
        a_check_can_have_its_own_port,
        slots_of_one_probe_keep_their_own_counts,
        all_checks_must_pass,
        one_pass_of_two_checks_decides_nothing,
        every_kind_is_complete_and_found_by_name,
        a_kind_may_say_more_when_its_time_is_over,
        an_engine_without_snapshot_or_listener_is_quiet,
    };

    return run_suite("check/engine", tests, COUNT(tests));
}
