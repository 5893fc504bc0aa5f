/* Ejection: its rules by a fake clock, whole pools of them likewise, and the engine's part of it.
 */
#include "check/eject.h"

#include "test_check_fixture.h"

#define RECORD(slot) (&sb.slots[slot])

static const struct snapshot_outlier usual = {.signals = OUTLIER_CONNECT,
                                              .consecutive_failures = 5,
                                              .eject_time_ms = 30000,
                                              .max_ejected = 10};
static struct ejector *ejector;
static uint64_t now_ms;

/* --- one backend --- */

START_TEST(each_ejection_in_a_row_lasts_longer)
{
    struct eject eject = {0};
    uint64_t at_ms = 1000;

    for (uint32_t n = 1; n <= EJECT_TIMES_MAX + 3; n++) {
        uint64_t times = n < EJECT_TIMES_MAX ? n : EJECT_TIMES_MAX;

        ck_assert(!eject_step(&eject, &usual, EJECT_CALM, at_ms));
        ck_assert(eject_step(&eject, &usual, EJECT_FAILING, at_ms));
        ck_assert_int_eq(eject_state(&eject), EJECT_OUT);
        ck_assert_uint_eq(eject.ejections, times);
        ck_assert_uint_eq(eject.until_ms, at_ms + 30000 * times);
        at_ms = eject.until_ms;
        ck_assert(!eject_step(&eject, &usual, EJECT_FAILING, at_ms - 1));
        ck_assert(eject_step(&eject, &usual, EJECT_FAILING, at_ms)); /* out it cannot fail */
        ck_assert_int_eq(eject_state(&eject), EJECT_IN);
    }
}
END_TEST

START_TEST(calm_takes_ejections_back_one_by_one)
{
    struct eject eject = {.ejections = 3, .calm_from_ms = 1000};

    (void)eject_step(&eject, &usual, EJECT_CALM, 30999);
    ck_assert_uint_eq(eject.ejections, 3);
    (void)eject_step(&eject, &usual, EJECT_CALM, 31000);
    ck_assert_uint_eq(eject.ejections, 2);
    (void)eject_step(&eject, &usual, EJECT_CALM, 60999);
    ck_assert_uint_eq(eject.ejections, 2);
    (void)eject_step(&eject, &usual, EJECT_FAILING, 61000); /* one back, one more */
    ck_assert_uint_eq(eject.ejections, 2);
    ck_assert_uint_eq(eject.until_ms, 121000);
    (void)eject_step(&eject, &usual, EJECT_CALM, 121000); /* being out is no calm */
    ck_assert_uint_eq(eject.ejections, 2);
    (void)eject_step(&eject, &usual, EJECT_CALM, 10000000);
    ck_assert_uint_eq(eject.ejections, 0);
}
END_TEST

/* A restarted monitor knows how many there were, but not since when it has been calm. */
START_TEST(calm_of_unknown_length_begins_now)
{
    struct eject eject = {.ejections = 2};

    (void)eject_step(&eject, &usual, EJECT_CALM, 500000);
    (void)eject_step(&eject, &usual, EJECT_CALM, 529999);
    ck_assert_uint_eq(eject.ejections, 2);
    (void)eject_step(&eject, &usual, EJECT_CALM, 530000);
    ck_assert_uint_eq(eject.ejections, 1);
}
END_TEST

START_TEST(without_rules_it_returns_at_once)
{
    const struct snapshot_outlier none = {0};
    struct eject eject = {.ejections = 4, .until_ms = 90000};

    ck_assert(eject_step(&eject, &none, EJECT_CALM, 10));
    ck_assert_int_eq(eject_state(&eject), EJECT_IN);
    ck_assert(!eject_step(&eject, &none, EJECT_CALM, 11));
    ck_assert_uint_eq(eject.ejections, 0);
}
END_TEST

START_TEST(who_is_needed_returns_before_its_time)
{
    struct eject eject = {.ejections = 2, .until_ms = 90000};

    ck_assert(!eject_step(&eject, &usual, EJECT_CALM, 10));
    ck_assert(eject_step(&eject, &usual, EJECT_NEEDED, 10));
    ck_assert_int_eq(eject_state(&eject), EJECT_IN);
    ck_assert_uint_eq(eject.ejections, 2); /* being needed is no calm */
    ck_assert(!eject_step(&eject, &usual, EJECT_NEEDED, 11));
}
END_TEST

START_TEST(a_pool_spares_only_so_many)
{
    static const struct {
        struct eject_census census;
        uint32_t max_percent;
        bool is_serving, expected;
    } cases[] = {
        {{.ready = 10, .ejected = 0, .serving = 10}, 10, true, true},
        {{.ready = 10, .ejected = 1, .serving = 9}, 10, true, false},
        {{.ready = 19, .ejected = 1, .serving = 18}, 10, true, false},
        {{.ready = 20, .ejected = 1, .serving = 19}, 10, true, true},
        {{.ready = 3, .ejected = 0, .serving = 3}, 10, true, true}, /* one may always go */
        {{.ready = 3, .ejected = 0, .serving = 3}, 0, true, true},
        {{.ready = 3, .ejected = 1, .serving = 2}, 0, true, false},
        {{.ready = 4, .ejected = 2, .serving = 2}, 100, true, true},
        {{.ready = 4, .ejected = 3, .serving = 1}, 100, true, false}, /* one always stays */
        {{.ready = 1, .ejected = 0, .serving = 1}, 100, true, false},
        {{.ready = 2, .ejected = 0, .serving = 1}, 100, false, true},
        {{.ready = 2, .ejected = 0, .serving = 0}, 100, false, false},
        {{.ready = UINT32_MAX, .ejected = 5, .serving = 9}, 100, true, true},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        ck_assert_msg(eject_is_spared(&cases[i].census, cases[i].max_percent,
                                      cases[i].is_serving) == cases[i].expected,
                      "case %d", i);
    }
}
END_TEST

/* --- pools, by a fake clock --- */

/* A pool of n unchecked backends b0, b1 … in the slots from first on, all up. */
static void draft_pool_of(const char *name, uint32_t first, uint32_t n, uint32_t max_ejected)
{
    const struct addr address = address_of("127.0.0.1:9");

    draft_pool(name);
    drafted_pool()->outlier = usual;
    drafted_pool()->outlier.max_ejected = max_ejected;
    for (uint32_t i = 0; i < n; i++) {
        char backend[16];

        (void)snprintf(backend, sizeof(backend), "b%u", i);
        draft_backend(backend, first + i, &address, 0);
        (void)scoreboard_set_health(&sb, first + i, SB_HEALTH_UP, "", 1);
    }
}

/* Hands the draft to the ejector. */
static void adopt(void)
{
    size_t size;
    unsigned char *bytes = draft_make(&size);
    const struct snapshot_header *snapshot = (const struct snapshot_header *)(void *)bytes;
    struct eject_roster *roster = ejector_prepare(snapshot);

    ck_assert_ptr_nonnull(roster);
    ejector_adopt(ejector, roster, snapshot, now_ms);
    memset(bytes, 0xff, size);
    free(bytes);
}

static void start_ejector(void)
{
    ejector_destroy(ejector);
    ejector = ejector_create(&sb, note_change, &sb);
    ck_assert_ptr_nonnull(ejector);
    now_ms = now_ms == 0 ? 1000000 : now_ms;
}

static uint64_t sweep_at(uint64_t at_ms)
{
    now_ms = at_ms;
    return ejector_sweep(ejector, now_ms);
}

static void note_failures(uint32_t slot, uint32_t times)
{
    atomic_fetch_add(&RECORD(slot)->failures, times);
}

static bool is_out(uint32_t slot)
{
    return atomic_load(&RECORD(slot)->ejected_until_ms) != 0;
}

static uint32_t count_out(uint32_t first, uint32_t n)
{
    uint32_t out = 0;

    for (uint32_t i = 0; i < n; i++) {
        out += is_out(first + i);
    }
    return out;
}

START_TEST(enough_failures_eject_for_a_while)
{
    uint32_t epoch;

    start_ejector();
    draft_begin();
    draft_pool_of("web", 1, 3, 10);
    adopt();
    note_failures(2, 4);
    epoch = atomic_load(&sb.header->health_epoch);
    ck_assert_uint_eq(sweep_at(1000000), 1001000);
    ck_assert_int_eq(n_news[CHECK_NEWS_EJECTED], 0);
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), epoch);
    note_failures(2, 1);
    ck_assert_uint_eq(sweep_at(1000500), 1001500);
    ck_assert_uint_eq(atomic_load(&RECORD(2)->ejected_until_ms), 1030500);
    ck_assert_uint_eq(atomic_load(&RECORD(2)->ejections), 1);
    ck_assert_uint_eq(atomic_load(&RECORD(2)->failures), 0);
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), epoch + 1);
    ck_assert_int_eq(health_of(2), SB_HEALTH_UP);
    ck_assert_int_eq(n_news[CHECK_NEWS_EJECTED], 1);
    ck_assert_str_eq(last_news[CHECK_NEWS_EJECTED].pool, "web");
    ck_assert_str_eq(last_news[CHECK_NEWS_EJECTED].backend, "b1");
    ck_assert_str_eq(last_news[CHECK_NEWS_EJECTED].reason,
                     "5 consecutive connect failures from workers; back in 30s");
}
END_TEST

START_TEST(when_the_time_is_over_it_is_back)
{
    uint32_t epoch;

    start_ejector();
    draft_begin();
    draft_pool_of("web", 1, 3, 10);
    adopt();
    note_failures(2, 5);
    (void)sweep_at(1000000);
    epoch = atomic_load(&sb.header->health_epoch);
    ck_assert_uint_eq(sweep_at(1029500), 1030000); /* not a second later */
    note_failures(2, 7);                           /* of sessions that were under way */
    ck_assert(is_out(2));
    (void)sweep_at(1030000);
    ck_assert(!is_out(2));
    ck_assert_uint_eq(atomic_load(&RECORD(2)->failures), 0);
    ck_assert_uint_eq(atomic_load(&RECORD(2)->slow_from_ms), 1030000);
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), epoch + 1);
    ck_assert_int_eq(n_news[CHECK_NEWS_RETURNED], 1);
    ck_assert_str_eq(last_news[CHECK_NEWS_RETURNED].backend, "b1");
    ck_assert_str_eq(last_news[CHECK_NEWS_RETURNED].reason, "its 30s are over");
    note_failures(2, 5);
    (void)sweep_at(1030100);
    ck_assert_uint_eq(atomic_load(&RECORD(2)->ejected_until_ms), 1090100);
    (void)sweep_at(1090100);
    (void)sweep_at(1120100);
    ck_assert_uint_eq(atomic_load(&RECORD(2)->ejections), 1);
    (void)sweep_at(1150100);
    ck_assert_uint_eq(atomic_load(&RECORD(2)->ejections), 0);
}
END_TEST

START_TEST(a_mass_failure_leaves_most_of_the_pool)
{
    start_ejector();
    draft_begin();
    draft_pool_of("web", 0, 40, 10);
    draft_pool_of("other", 100, 2, 10);
    adopt();
    for (uint32_t slot = 0; slot < 40; slot++) {
        note_failures(slot, 9);
    }
    note_failures(100, 5);
    note_failures(101, 5);
    (void)sweep_at(1000000);
    ck_assert_uint_eq(count_out(0, 40), 4);
    ck_assert_uint_eq(count_out(100, 2), 1);
    (void)sweep_at(1001000);
    ck_assert_uint_eq(count_out(0, 40), 4);
    atomic_store(&RECORD(39)->failures, 0); /* a success */
    (void)sweep_at(1030000);                /* four are back, and others may go */
    ck_assert_uint_eq(count_out(0, 40), 4);
    ck_assert_uint_eq(count_out(0, 4), 0);
    ck_assert_int_eq(n_news[CHECK_NEWS_RETURNED], 5);
}
END_TEST

START_TEST(the_last_that_serves_stays)
{
    start_ejector();
    draft_begin();
    draft_pool_of("web", 0, 4, 100);
    adopt();
    (void)scoreboard_set_health(&sb, 1, SB_HEALTH_DOWN, "", 1);
    (void)scoreboard_set_health(&sb, 2, SB_HEALTH_UNKNOWN, "", 1);
    for (uint32_t slot = 0; slot < 4; slot++) {
        note_failures(slot, 5);
    }
    (void)sweep_at(1000000);
    ck_assert(is_out(0));
    ck_assert(!is_out(1)); /* is down anyway */
    ck_assert(is_out(2));
    ck_assert(!is_out(3));
}
END_TEST

/* Of several that could come back it is the one whose time would be over first. */
START_TEST(one_is_back_when_nobody_else_serves)
{
    start_ejector();
    draft_begin();
    draft_pool_of("web", 0, 4, 100);
    adopt();
    note_failures(2, 5);
    (void)sweep_at(1000000);
    note_failures(0, 5);
    note_failures(1, 5);
    (void)sweep_at(1001000);
    ck_assert_uint_eq(count_out(0, 4), 3);
    (void)scoreboard_set_health(&sb, 2, SB_HEALTH_DOWN, "", 1); /* who would be first is no help */
    (void)sweep_at(1002000);
    ck_assert_uint_eq(count_out(0, 4), 3);
    (void)scoreboard_set_health(&sb, 3, SB_HEALTH_DOWN, "", 1);
    (void)sweep_at(1003000);
    ck_assert(!is_out(0));
    ck_assert(is_out(1) && is_out(2)); /* one is enough */
    ck_assert_uint_eq(atomic_load(&RECORD(0)->ejections), 1);
    ck_assert_uint_eq(atomic_load(&RECORD(0)->slow_from_ms), 1003000);
    ck_assert_int_eq(n_news[CHECK_NEWS_RETURNED], 1);
    ck_assert_str_eq(last_news[CHECK_NEWS_RETURNED].backend, "b0");
    ck_assert_str_eq(last_news[CHECK_NEWS_RETURNED].reason,
                     "nobody else of its pool serves; 28s early");
    note_failures(0, 50); /* the last that serves stays */
    (void)sweep_at(1004000);
    ck_assert(!is_out(0));
    ck_assert_int_eq(n_news[CHECK_NEWS_RETURNED], 1);
}
END_TEST

/* By the operator's word, or by that of its checks, nobody serves either; and who is not ready is
 * not called back. */
START_TEST(one_is_back_when_the_others_are_drained)
{
    start_ejector();
    draft_begin();
    draft_pool_of("web", 0, 3, 100);
    adopt();
    note_failures(0, 5);
    note_failures(1, 5);
    (void)sweep_at(1000000);
    ck_assert_uint_eq(count_out(0, 3), 2);
    draft.backends[0].admin = ADMIN_MAINTENANCE;
    adopt();
    atomic_store(&RECORD(2)->asked_admin, ADMIN_DRAIN);
    (void)sweep_at(1001000);
    ck_assert(is_out(0));
    ck_assert(!is_out(1));
}
END_TEST

/* Who gets nothing new neither fails, nor counts towards what the pool can spare. */
START_TEST(only_ready_backends_count)
{
    start_ejector();
    draft_begin();
    draft_pool_of("web", 0, 21, 10);
    draft.backends[0].admin = ADMIN_DRAIN;
    draft.backends[1].weight = 0;
    adopt();
    for (uint32_t slot = 0; slot < 21; slot++) {
        note_failures(slot, 5);
    }
    atomic_store(&RECORD(2)->asked_admin, ADMIN_DRAIN);
    atomic_store(&RECORD(3)->asked_permille, 0 + 1);
    (void)sweep_at(1000000);
    ck_assert_uint_eq(count_out(0, 4), 0);
    ck_assert_uint_eq(count_out(4, 17), 1); /* of 17, not of 21 */
    atomic_store(&RECORD(2)->asked_admin, ADMIN_READY);
    atomic_store(&RECORD(3)->asked_permille, 1 + 1);
    draft.backends[0].admin = ADMIN_READY;
    adopt();
    (void)sweep_at(1000000);
    ck_assert_uint_eq(count_out(0, 21), 2); /* of 20 */
}
END_TEST

START_TEST(reasons_name_what_is_looked_at)
{
    start_ejector();
    draft_begin();
    draft_pool_of("web", 0, 2, 10);
    draft.pools[0].outlier.signals = OUTLIER_RESET | OUTLIER_FIRST_BYTE;
    draft.pools[0].outlier.eject_time_ms = 250;
    draft.pools[0].outlier.consecutive_failures = 1;
    adopt();
    note_failures(0, 1);
    ck_assert_uint_eq(sweep_at(1000000), 1000250);
    ck_assert_str_eq(last_news[CHECK_NEWS_EJECTED].reason,
                     "1 consecutive reset or first-byte failures from workers; back in 250ms");
}
END_TEST

START_TEST(a_pool_that_stops_looking_takes_all_back)
{
    start_ejector();
    ck_assert_uint_eq(sweep_at(1000000), 0);
    draft_begin();
    draft_pool_of("web", 0, 2, 10);
    adopt();
    note_failures(0, 5);
    (void)sweep_at(1000000);
    ck_assert(is_out(0));
    adopt(); /* the same again leaves it out */
    ck_assert(is_out(0));
    draft.pools[0].outlier = (struct snapshot_outlier){0};
    adopt();
    ck_assert(!is_out(0));
    ck_assert_int_eq(n_news[CHECK_NEWS_RETURNED], 1);
    ck_assert_str_eq(last_news[CHECK_NEWS_RETURNED].backend, "b0");
    ck_assert_uint_eq(sweep_at(1000000), 0);
    note_failures(0, 50);
    (void)sweep_at(1002000);
    ck_assert(!is_out(0));
}
END_TEST

START_TEST(a_new_monitor_takes_over_what_stands)
{
    start_ejector();
    draft_begin();
    draft_pool_of("web", 0, 10, 10);
    adopt();
    note_failures(0, 5);
    (void)sweep_at(1000000);
    now_ms = 1010000;
    start_ejector();
    adopt();
    ck_assert(is_out(0));
    note_failures(1, 5);
    (void)sweep_at(1010000);
    ck_assert(!is_out(1)); /* one is out already */
    ck_assert_uint_eq(sweep_at(1029990), 1030000);
    (void)sweep_at(1030000);
    ck_assert(!is_out(0));
    ck_assert_int_eq(n_news[CHECK_NEWS_RETURNED], 1);
    ck_assert_uint_eq(atomic_load(&RECORD(0)->ejections), 1);
}
END_TEST

/* --- in the engine --- */

static void draft_quick_pair(void)
{
    draft_begin();
    draft_pool_of("web", 1, 2, 10);
    drafted_pool()->outlier.eject_time_ms = 50;
}

START_TEST(an_alarm_ejects_at_once)
{
    uint64_t start_ms;

    draft_quick_pair();
    ck_assert_int_eq(draft_apply(), 0);
    turn_loop();
    note_failures(1, 5);
    start_ms = clock_now_ms();
    for (int i = 0; i < 1000; i++) { /* of many workers */
        check_engine_alarm(engine);
    }
    WAIT_FOR(is_out(1));
    ck_assert_uint_lt(clock_now_ms() - start_ms, 900); /* no sweep came by */
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    WAIT_FOR(!is_out(1));
    ck_assert_uint_ge(clock_now_ms() - start_ms, 50);
    ck_assert_uint_lt(clock_now_ms() - start_ms, 900);
    ck_assert_int_eq(n_changes, 0);
    ck_assert_int_eq(n_news[CHECK_NEWS_EJECTED], 1);
    ck_assert_int_eq(n_news[CHECK_NEWS_RETURNED], 1);
}
END_TEST

START_TEST(a_lost_alarm_costs_a_second_at_most)
{
    turn_loop();
    draft_quick_pair();
    ck_assert_int_eq(draft_apply(), 0);
    turn_loop();
    note_failures(1, 5);
    WAIT_FOR(is_out(1));
}
END_TEST

/* Checks find the other one down: the pool does not wait for the next sweep, nor for the end of the
 * ejection. */
START_TEST(a_change_of_health_brings_back_at_once)
{
    const struct addr gone = address_of("127.0.0.1:1");
    uint64_t start_ms;

    (void)draft_single(&gone, 5, 1, 40); /* fall 40: later than the ejection */
    draft.pools[0].outlier = usual;
    draft_backend("b", 2, &gone, 0);
    (void)scoreboard_set_health(&sb, 1, SB_HEALTH_UP, "", 1);
    ck_assert_int_eq(draft_apply(), 0);
    turn_loop();
    note_failures(2, 5);
    check_engine_alarm(engine);
    WAIT_FOR(is_out(2));
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    start_ms = clock_now_ms();
    WAIT_FOR(!is_out(2));
    ck_assert_uint_lt(clock_now_ms() - start_ms, 500);
    ck_assert_int_eq(n_news[CHECK_NEWS_RETURNED], 1);
}
END_TEST

START_TEST(alarms_without_anybody_to_eject_are_harmless)
{
    check_engine_alarm(engine);
    turn_loop();
    draft_quick_pair();
    draft.pools[0].outlier = (struct snapshot_outlier){0};
    ck_assert_int_eq(draft_apply(), 0);
    note_failures(1, 5);
    check_engine_alarm(engine);
    turn_loop();
    turn_loop();
    ck_assert(!is_out(1));
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
}
END_TEST

/* Checks judge by themselves; failures of before a backend went down are forgotten when it is up.
 */
START_TEST(coming_up_forgets_failures)
{
    struct addr address;

    (void)listen_tcp("127.0.0.1", &address);
    (void)scoreboard_set_health(&sb, 1, SB_HEALTH_DOWN, "", 1);
    note_failures(1, 5);
    draft_single(&address, HOUR_MS, 2, 3)->fast_interval_ms = 5;
    draft.pools[0].outlier = usual;
    draft_backend("b", 2, &address, 0);
    ck_assert_int_eq(draft_apply(), 0);
    check_engine_alarm(engine);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_uint_eq(atomic_load(&RECORD(1)->failures), 0);
    ck_assert_int_eq(n_news[CHECK_NEWS_EJECTED], 0);
}
END_TEST

/* --- main --- */

int main(void)
{
    const TTest *tests[] = {
        each_ejection_in_a_row_lasts_longer,
        calm_takes_ejections_back_one_by_one,
        calm_of_unknown_length_begins_now,
        without_rules_it_returns_at_once,
        who_is_needed_returns_before_its_time,
        one_is_back_when_nobody_else_serves,
        one_is_back_when_the_others_are_drained,
        a_change_of_health_brings_back_at_once,
        a_pool_spares_only_so_many,
        enough_failures_eject_for_a_while,
        when_the_time_is_over_it_is_back,
        a_mass_failure_leaves_most_of_the_pool,
        the_last_that_serves_stays,
        only_ready_backends_count,
        reasons_name_what_is_looked_at,
        a_pool_that_stops_looking_takes_all_back,
        a_new_monitor_takes_over_what_stands,
        an_alarm_ejects_at_once,
        a_lost_alarm_costs_a_second_at_most,
        alarms_without_anybody_to_eject_are_harmless,
        coming_up_forgets_failures,
    };
    int status = run_suite("check/eject", tests, COUNT(tests));

    ejector_destroy(ejector);
    return status;
}
