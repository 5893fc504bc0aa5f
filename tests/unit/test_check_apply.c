/* What a new snapshot changes for the check engine, and what it must leave alone. */
#include "test_check_fixture.h"

#include "pool/check_record.h"

/* One pool; backend "a" in slot 1 at a, and unless b is NULL backend "b" in slot 2 at b. */
static void draft_pair(const struct addr *a, const struct addr *b, uint32_t interval_ms)
{
    draft_begin();
    draft_pool("web");
    (void)draft_check(interval_ms, 2, 3);
    draft_backend("a", 1, a, 1);
    if (b) {
        draft_backend("b", 2, b, 1);
    }
}

START_TEST(the_same_again_changes_nothing)
{
    struct addr a, b;
    uint64_t next_ms;
    int fd = listen_unix("a", 16, &a);

    (void)listen_tcp("127.0.0.1", &b);
    draft_pair(&a, &b, HOUR_MS);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes == 2);
    next_ms = atomic_load(&sb.slots[1].next_check_ms);
    draft_pair(&a, &b, HOUR_MS);
    ck_assert_int_eq(draft_apply(), 0);
    for (int turns = 0; turns < 10; turns++) {
        turn_loop();
    }
    ck_assert_int_eq(accept_all(fd), 1);
    ck_assert_int_eq(n_changes, 2);
    ck_assert_uint_eq(passed_of(1), 1);
    ck_assert_uint_eq(atomic_load(&sb.slots[1].next_check_ms), next_ms);
}
END_TEST

/* Two failures before the reload and one after it are three in a row. */
START_TEST(counts_towards_fall_survive)
{
    struct addr a;
    int fd = listen_tcp("127.0.0.1", &a);

    draft_pair(&a, NULL, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes == 1);
    close(fd);
    WAIT_FOR(failed_of(1) == 2);
    draft_pair(&a, NULL, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes == 2);
    ck_assert_uint_eq(failed_of(1), 3);
}
END_TEST

START_TEST(changed_parameters_keep_health_and_start_counting_anew)
{
    struct addr a;
    int fd = listen_tcp("127.0.0.1", &a);

    draft_pair(&a, NULL, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes == 1);
    close(fd);
    WAIT_FOR(failed_of(1) == 2);
    draft_pair(&a, NULL, 6);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 1);
    WAIT_FOR(n_changes == 2);
    ck_assert_uint_eq(failed_of(1), 5);
}
END_TEST

START_TEST(a_new_probe_for_a_known_slot_runs_at_once)
{
    struct addr a;

    (void)listen_tcp("127.0.0.1", &a);
    draft_pair(&a, NULL, HOUR_MS);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) == 1);
    draft_pair(&a, NULL, HOUR_MS + 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) == 2);
    ck_assert_int_eq(n_changes, 1);
}
END_TEST

START_TEST(slots_no_longer_named_are_left_alone)
{
    struct addr a, b;

    (void)listen_tcp("127.0.0.1", &a);
    (void)listen_tcp("127.0.0.1", &b);
    draft_pair(&a, &b, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) > 1 && passed_of(2) > 1);
    draft_pair(&a, NULL, 5);
    ck_assert_int_eq(draft_apply(), 0);
    scoreboard_clear_slot(&sb, 2);
    WAIT_FOR(passed_of(1) > 20);
    ck_assert_uint_eq(passed_of(2), 0);
    ck_assert_int_eq(health_of(2), SB_HEALTH_UNKNOWN);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 1);
}
END_TEST

/* The probe goes on for slot 1 while slot 2 comes and goes. */
START_TEST(a_shared_probe_outlives_one_of_its_slots)
{
    struct addr a;

    (void)listen_tcp("127.0.0.1", &a);
    draft_pair(&a, &a, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(2) > 1);
    draft_pair(&a, NULL, 5);
    ck_assert_int_eq(draft_apply(), 0);
    scoreboard_clear_slot(&sb, 2);
    WAIT_FOR(passed_of(1) > 10);
    ck_assert_uint_eq(passed_of(2), 0);
}
END_TEST

START_TEST(a_new_slot_learns_at_once_what_the_probe_knows)
{
    struct addr a;

    (void)bind_tcp("127.0.0.1", &a);
    draft_pair(&a, NULL, HOUR_MS);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes == 1);
    draft_pair(&a, &a, HOUR_MS);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(n_changes, 2);
    ck_assert_str_eq(changes[1].backend, "b");
    ck_assert_int_eq(health_of(2), SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(2), "connect refused");
}
END_TEST

/* Slot 1 is given to another backend that starts as down by its pool's wish. */
START_TEST(a_slot_with_a_new_owner_starts_from_its_own_health)
{
    struct addr a;

    (void)listen_tcp("127.0.0.1", &a);
    draft_pair(&a, NULL, HOUR_MS);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes == 1);
    scoreboard_clear_slot(&sb, 1);
    scoreboard_set_health(&sb, 1, SB_HEALTH_DOWN, "start", clock_now_ms());
    draft_begin();
    draft_pool("web");
    (void)draft_check(HOUR_MS, 2, 3);
    draft_backend("other", 1, &a, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "start");
    ck_assert_int_eq(n_changes, 1);
}
END_TEST

START_TEST(taking_the_failing_check_away_makes_it_up)
{
    struct addr a, other;

    (void)listen_tcp("127.0.0.1", &a);
    (void)bind_tcp("127.0.0.1", &other);
    draft_pair(&a, NULL, HOUR_MS);
    draft.n_backends = draft.pools[0].n_backends = 0;
    draft_check(HOUR_MS, 2, 3)->port = other.ip.port;
    draft_backend("a", 1, &a, 2);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) > 0 && failed_of(1) > 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    n_changes = 0;
    draft_pair(&a, NULL, HOUR_MS);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(n_changes, 1);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_msg(starts_with(reason_of(1), "connected in"), "%s", reason_of(1));
}
END_TEST

/* New numbers for both checks of a slot that is down: the one that passed is not suspected. */
START_TEST(each_check_keeps_its_own_state_when_its_numbers_change)
{
    struct addr a, other;

    (void)listen_tcp("127.0.0.1", &a);
    (void)bind_tcp("127.0.0.1", &other);
    for (uint32_t round = 0; round < 2; round++) {
        draft_begin();
        draft_pool("web");
        (void)draft_check(HOUR_MS + round, 5, 5);
        draft_check(HOUR_MS + round, 5, 5)->port = other.ip.port;
        draft_backend("a", 1, &a, 2);
        ck_assert_int_eq(draft_apply(), 0);
        WAIT_FOR(passed_of(1) > round && failed_of(1) > round);
    }
    draft_begin();
    draft_pool("web");
    (void)draft_check(HOUR_MS + 1, 5, 5);
    draft_backend("a", 1, &a, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
}
END_TEST

START_TEST(checks_taken_away_leave_the_backend_up)
{
    struct addr a;

    (void)bind_tcp("127.0.0.1", &a);
    draft_pair(&a, NULL, HOUR_MS);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    draft_begin();
    draft_pool("web");
    draft_backend("a", 1, &a, 0);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "not checked");
    ck_assert_int_eq(n_changes, 2);
}
END_TEST

START_TEST(checks_under_way_end_without_a_result)
{
    struct addr silent, a;
    int loose, before;

    (void)listen_silent(&silent);
    (void)listen_tcp("127.0.0.1", &a);
    before = count_descriptors(&loose);
    draft_pair(&silent, &a, 5);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(2) > 3 && check_engine_stats(engine).running >= 1);
    draft_begin();
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).running, 0);
    ck_assert_uint_eq(check_engine_stats(engine).queued, 0);
    ck_assert_int_eq(count_descriptors(&loose), before);
    ck_assert_uint_eq(passed_of(1) + failed_of(1), 0);
    draft_pair(&silent, NULL, 5); /* and the same when the engine ends */
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(check_engine_stats(engine).running == 1);
    check_engine_destroy(engine);
    engine = NULL;
    ck_assert_int_eq(count_descriptors(&loose), before);
}
END_TEST

START_TEST(an_unknown_kind_is_refused_whole)
{
    struct addr a, b;

    (void)listen_tcp("127.0.0.1", &a);
    (void)listen_tcp("127.0.0.1", &b);
    draft_pair(&a, NULL, 5);
    ck_assert_int_eq(draft_apply(), 0);
    draft_pair(&a, &b, 7);
    (void)draft_check(5, 1, 1);
    memcpy(draft.checks[1].kind, "tcq", 4);
    draft_backend("c", 3, &b, 1);
    ck_assert_int_eq(draft_apply(), -EINVAL);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 1);
    WAIT_FOR(passed_of(1) > 3);
    ck_assert_uint_eq(passed_of(2), 0);
}
END_TEST

/* Snapshot upon snapshot, with checks under way all the time. */
START_TEST(a_storm_of_snapshots_does_no_harm)
{
    struct addr addresses[6];
    uint64_t random = 7;

    for (int i = 0; i < 4; i++) {
        (void)listen_tcp("127.0.0.1", &addresses[i]);
    }
    (void)bind_tcp("127.0.0.1", &addresses[4]);
    (void)listen_silent(&addresses[5]);
    for (int round = 0; round < 400; round++) {
        draft_begin();
        for (uint32_t p = 0; p < 3; p++) {
            draft_pool(p == 0 ? "x" : p == 1 ? "y" : "z");
            for (uint32_t b = 0; b < 4; b++) {
                random = random * 6364136223846793005 + 1442695040888963407;
                (void)draft_check(1 + (random >> 40) % 2, 2, 2);
                draft_check(1, 2, 2)->timeout_ms = 3;
                draft_backend("b", p * 4 + b, &addresses[(random >> 33) % 6],
                              (uint32_t)(random >> 60) % 3);
            }
        }
        ck_assert_int_eq(draft_apply(), 0);
        turn_loop();
        n_changes = 0;
    }
    WAIT_FOR(check_engine_stats(engine).passed > 100 && check_engine_stats(engine).failed > 100);
}
END_TEST

/* --- what is told of each check --- */

/* What is known of check i of slot 1, as the draft has it. */
static const struct check_record *record_of(uint32_t i)
{
    static struct check_record record;
    const struct snapshot_check *checks = &draft.checks[drafted_backend()->first_check];

    check_record_read(&sb, 1, check_record_key(checks, i), clock_now_ms(), &record);
    return &record;
}

/* Backend "a" in slot 1, at an address where somebody listens, with two checks: one of these titles
 * for each, the one that fails at other's port. */
static void draft_two(const struct addr *a, const struct addr *other, const char *passing,
                      const char *failing, bool is_failing_first)
{
    struct snapshot_check *check;

    draft_begin();
    draft_pool("web");
    for (int i = 0; i < 2; i++) {
        bool is_failing = (i == 0) == is_failing_first;

        check = draft_check(5, 1, 1);
        check->port = is_failing ? other->ip.port : 0;
        memset(check->title, 0, sizeof(check->title));
        (void)snprintf(check->title, sizeof(check->title), "%s", is_failing ? failing : passing);
    }
    draft_backend("a", 1, a, 2);
}

static void expect_both(uint32_t passing, uint32_t failing)
{
    const struct check_record *record = record_of(passing);

    ck_assert_int_eq(record->state, SB_CHECK_UP);
    ck_assert_int_eq(record->result, SB_RESULT_PASSED);
    ck_assert_msg(starts_with(record->reason, "connected in"), "%s", record->reason);
    ck_assert(record->failed == 0 && record->streak == record->passed && record->n_history > 0);
    ck_assert(record->last_ms != 0 && record->next_ms >= record->last_ms);
    record = record_of(failing);
    ck_assert_int_eq(record->state, SB_CHECK_DOWN);
    ck_assert_int_eq(record->result, SB_RESULT_FAILED);
    ck_assert_str_eq(record->reason, "connect refused");
    ck_assert(record->passed == 0 && record->streak == record->failed && record->n_history > 0);
}

START_TEST(each_check_keeps_what_is_its_own)
{
    struct addr a, other;
    uint64_t passed, failed;

    (void)listen_tcp("127.0.0.1", &a);
    (void)bind_tcp("127.0.0.1", &other);
    draft_two(&a, &other, "tcp:one", "tcp:two", false);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(record_of(0)->passed >= 3 && record_of(1)->failed >= 3);
    expect_both(0, 1);
    passed = record_of(0)->passed;
    failed = record_of(1)->failed;
    ck_assert_uint_eq(passed, passed_of(1));
    ck_assert_uint_eq(failed, failed_of(1));

    draft_two(&a, &other, "tcp:one", "tcp:two", true); /* the other way round */
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(record_of(1)->passed, passed);
    ck_assert_uint_eq(record_of(0)->failed, failed);
    WAIT_FOR(record_of(1)->passed > passed && record_of(0)->failed > failed);
    expect_both(1, 0);

    draft_two(&a, &other, "tcp:one", "tcp:three", false); /* another check */
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_gt(record_of(0)->passed, passed);
    ck_assert_uint_eq(record_of(1)->failed, 0);
    ck_assert_int_eq(record_of(1)->result, SB_RESULT_NONE);
    WAIT_FOR(record_of(1)->failed > 0);
}
END_TEST

START_TEST(a_new_monitor_goes_on_with_each_check)
{
    struct addr a, other;
    uint64_t passed, failed;

    (void)listen_tcp("127.0.0.1", &a);
    (void)bind_tcp("127.0.0.1", &other);
    draft_two(&a, &other, "tcp:one", "tcp:two", false);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(record_of(0)->passed >= 3 && record_of(1)->failed >= 3);
    passed = record_of(0)->passed;
    failed = record_of(1)->failed;
    check_engine_destroy(engine);
    ck_assert_uint_eq(record_of(0)->passed, passed);
    engine = check_engine_create(base, &sb, 12345, note_change, &sb);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(record_of(0)->passed, passed);
    ck_assert_uint_eq(record_of(1)->failed, failed);
    ck_assert_str_eq(record_of(1)->reason, "connect refused");
    WAIT_FOR(record_of(0)->passed > passed && record_of(1)->failed > failed);
}
END_TEST

/* More checks than records: the last record has the results of all that are beyond. */
START_TEST(checks_beyond_the_records_share_the_last)
{
    struct addr a;
    uint64_t others = 0;

    (void)listen_tcp("127.0.0.1", &a);
    draft_begin();
    draft_pool("web");
    for (uint32_t i = 0; i < SB_CHECKS_MAX + 2; i++) {
        struct snapshot_check *check = draft_check(HOUR_MS + i, 1, 1);

        (void)snprintf(check->title, sizeof(check->title), "tcp:%u", i);
    }
    draft_backend("a", 1, &a, SB_CHECKS_MAX + 2);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) == SB_CHECKS_MAX + 2);
    for (uint32_t i = 0; i < SB_CHECKS_MAX - 1; i++) {
        others += record_of(i)->passed;
    }
    ck_assert_uint_eq(others, SB_CHECKS_MAX - 1);
    ck_assert_uint_eq(record_of(SB_CHECKS_MAX - 1)->passed, 3);
    ck_assert_uint_eq(record_of(SB_CHECKS_MAX + 1)->passed, 3);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        the_same_again_changes_nothing,
        counts_towards_fall_survive,
        changed_parameters_keep_health_and_start_counting_anew,
        a_new_probe_for_a_known_slot_runs_at_once,
        slots_no_longer_named_are_left_alone,
        a_shared_probe_outlives_one_of_its_slots,
        a_new_slot_learns_at_once_what_the_probe_knows,
        a_slot_with_a_new_owner_starts_from_its_own_health,
        taking_the_failing_check_away_makes_it_up,
        each_check_keeps_its_own_state_when_its_numbers_change,
        checks_taken_away_leave_the_backend_up,
        checks_under_way_end_without_a_result,
        an_unknown_kind_is_refused_whole,
        a_storm_of_snapshots_does_no_harm,
        each_check_keeps_what_is_its_own,
        a_new_monitor_goes_on_with_each_check,
        checks_beyond_the_records_share_the_last,
    };

    return run_suite("check/apply", tests, COUNT(tests));
}
