/*
 * What is folded into a pool before anybody is asked: slow start, backups, panic; and whose
 * sessions are to end because of it.
 */
#include <math.h>

#include "sluice/reasons.h"
#include "test_sched_fixture.h"

#define PERIOD_MS 10000 /* slow start */

static struct chooser *chooser;
static struct chosen chosen;

static void setup(void)
{
    bed_setup();
    bed_add_service(0);
    chooser = NULL;
}

static void teardown(void)
{
    chooser_destroy(chooser);
    bed_teardown();
}

static void start(void)
{
    chooser = bed_open(0, NULL);
}

static void next_generation(void)
{
    struct chooser *next = bed_open(0, chooser);
    chooser_destroy(chooser);
    chooser = next;
}

static void release(uint32_t i)
{
    scoreboard_release(&sb, 0, SB_SLOT, bed_slot(0, i));
}

static void set_limits(uint32_t from, uint32_t to, uint32_t limit)
{
    for (uint32_t i = from; i < to; i++)
        bed_set_limit(0, i, limit, limit);
}

/* --- slow start --- */

/* Four backends, of which d has just recovered. */
static void recover(const char *scheduler)
{
    bed_add_pool(scheduler, 4)->slow_start_ms = PERIOD_MS;
    bed_set_all_health(SB_HEALTH_UP);
    bed_set_health(0, 3, SB_HEALTH_DOWN);
    bed_set_health(0, 3, SB_HEALTH_UP);
}

/* How many of n choices come to d. Sessions on d end at once, the others' when hold is not set. */
static uint32_t count_of_d(uint32_t n, bool hold)
{
    static uint32_t client;
    uint32_t count = 0, refused = 0;

    for (uint32_t p = 0; p < n; p++) {
        if (bed_choose(chooser, 0, client++, &chosen) != CHOICE_MADE) {
            refused++;
            continue;
        }
        count += chosen.index == 3;
        if (chosen.index == 3 || !hold)
            release(chosen.index);
    }
    ck_assert_uint_eq(refused, 0);
    return count;
}

/* slack: how far off chance (five standard deviations), or a turn, may be. */
static void expect_share(uint32_t n, bool hold, double share, double slack)
{
    uint32_t count = count_of_d(n, hold);
    ck_assert_msg(fabs(count - n * share) <= slack, "%u of %u instead of %.1f", count, n,
                  n * share);
}

/* The weight follows the clock, although nothing else happens. Under mh, who is not let in by his
 * hash goes on to the next entry, which may be d's again: that makes the same share. */
START_TEST(weight_rises_with_time)
{
    static const char *const schedulers[] = {"wrr", "random", "mh"};
    static const double factors[] = {0.1, 0.325, 0.55, 0.775, 1, 1};

    recover(schedulers[_i]);
    start();
    for (size_t f = 0; f < COUNT(factors); f++) {
        double share = factors[f] / (3 + factors[f]);
        /* of the table's 1021 entries d has a quarter within half a percent */
        double slack = _i == 0 ? 2 : 5 * sqrt(4000 * share * (1 - share)) + 20;
        expect_share(4000, false, share, slack);
        bed_wait(PERIOD_MS / 4);
    }
}
END_TEST

/* Held sessions load the others more and more, so that without slow start d would get them all. */
START_TEST(share_is_held_under_rules_by_load)
{
    static const char *const schedulers[] = {"lc", "wlc", "nq"};
    static const uint32_t weights[] = {1, 2, 3, 2};

    recover(schedulers[_i]);
    for (uint32_t i = 0; i < 4; i++)
        bed_backend(0, i)->weight = weights[i];
    start();
    for (int quarter = 0; quarter < 4; quarter++) {
        double factor = 0.1 + 0.225 * quarter;
        double share = _i == 0 ? factor / (3 + factor) : 2 * factor / (6 + 2 * factor);
        expect_share(3000, true, share, 3);
        bed_wait(PERIOD_MS / 4);
    }
    expect_share(1000, true, 1, 0);
}
END_TEST

/* Each of several in slow start has its own share. */
START_TEST(shares_are_each_ones_own)
{
    uint32_t counts[4] = {0};

    recover("wlc");
    bed_backend(0, 2)->weight = 3;
    bed_set_health(0, 2, SB_HEALTH_DOWN);
    bed_set_health(0, 2, SB_HEALTH_UP);
    start();
    for (uint32_t p = 0; p < 4800; p++) {
        ck_assert(bed_choose(chooser, 0, p, &chosen) == CHOICE_MADE);
        counts[chosen.index]++;
        if (chosen.index >= 2)
            release(chosen.index);
    }
    ck_assert_int_le(abs((int)counts[3] - 4800 / 24), 3); /* 0.1 of 2.4 */
    ck_assert_int_le(abs((int)counts[2] - 4800 / 8), 3);
}
END_TEST

/* The right to be picked is kept: else with a reload before each choice d would never get one. */
START_TEST(share_is_carried_over)
{
    uint32_t count = 0;

    recover("lc");
    bed_wait(PERIOD_MS / 2);
    start();
    for (uint32_t p = 0; p < 60; p++) {
        count += count_of_d(1, true);
        next_generation();
    }
    ck_assert_int_le(abs((int)count - (int)(60 * 0.55 / 3.55)), 1);
}
END_TEST

/* While d is too loaded to be picked it saves up no more than two picks. */
START_TEST(share_is_not_saved_up)
{
    recover("lc");
    start();
    atomic_store(&sb.slot_active[bed_slot(0, 3)], 10000);
    for (uint32_t p = 0; p < 2000; p++)
        ck_assert(bed_choose(chooser, 0, p, &chosen) == CHOICE_MADE && chosen.index != 3);
    atomic_store(&sb.slot_active[bed_slot(0, 3)], 0);
    ck_assert_uint_le(count_of_d(20, true), 3);
}
END_TEST

/* Better somebody in slow start than nobody, whatever the rule. */
START_TEST(nobody_is_refused_for_slow_start)
{
    static const struct choose_tried tried[] = {{.index = 0}, {.index = 1}, {.index = 2}};
    uint32_t n = 0, refused = 0;

    recover(sched_table[_i]->name);
    set_limits(0, 3, 5);
    start();
    for (uint32_t client = 0; client < 40; client++)
        refused += bed_retry(chooser, client, tried, 3, false, &chosen) != CHOICE_MADE;
    ck_assert_uint_eq(atomic_load(&sb.slot_active[bed_slot(0, 3)]), 40);
    for (; n < 200; n++)
        refused += bed_choose(chooser, 0, n, &chosen) != CHOICE_MADE;
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(atomic_load(&sb.slot_active[bed_slot(0, i)]), 5);
        bed_set_health(0, i, SB_HEALTH_DOWN);
    }
    for (; n < 400; n++)
        refused += bed_choose(chooser, 0, n, &chosen) != CHOICE_MADE;
    ck_assert_uint_eq(refused, 0);
}
END_TEST

START_TEST(none_at_the_start_or_without_a_period)
{
    recover("wrr");
    if (_i == 0)
        bed_set_all_health(SB_HEALTH_UNKNOWN); /* a new daemon, no health known */
    else
        bed.pools[0].slow_start_ms = 0;
    bed_set_all_health(SB_HEALTH_UP);
    start();
    expect_share(400, false, 0.25, 1);
}
END_TEST

/* --- who takes part --- */

/* The backends that sessions come to, as letters in order; "" for none, and why. */
static const char *participants(enum choice *out_last)
{
    static char letters[27];
    bool seen[26] = {false};
    size_t n = 0;

    for (uint32_t client = 0; client < 100; client++) {
        *out_last = bed_choose(chooser, 0, client, &chosen);
        if (*out_last != CHOICE_MADE)
            break;
        seen[chosen.index] = true;
        release(chosen.index);
    }
    for (size_t i = 0; i < 26; i++) {
        if (seen[i])
            letters[n++] = (char)('a' + i);
    }
    letters[n] = '\0';
    return letters;
}

static void expect_participants(const char *letters)
{
    enum choice last;
    ck_assert_str_eq(participants(&last), letters);
    ck_assert_int_eq(last, CHOICE_MADE);
}

static void expect_none(enum choice why)
{
    enum choice last;
    ck_assert_str_eq(participants(&last), "");
    ck_assert_int_eq(last, why);
}

/* a, b, c are primaries, d, e backups; two primaries are wanted. */
static void add_backups(enum backup_use use)
{
    struct snapshot_pool *pool = bed_add_pool("rr", 5);
    pool->min_healthy = 2;
    pool->backup_use = use;
    bed_backend(0, 3)->backup = bed_backend(0, 4)->backup = 1;
    bed_set_all_health(SB_HEALTH_UP);
}

START_TEST(backups_join_and_leave)
{
    bool first = _i == 0;

    add_backups(first ? BACKUP_USE_FIRST : BACKUP_USE_ALL);
    start();
    expect_participants("abc");
    bed_set_health(0, 0, SB_HEALTH_DOWN);
    expect_participants("bc");
    bed_set_health(0, 1, SB_HEALTH_UNKNOWN);
    expect_participants(first ? "cd" : "cde");
    bed_set_health(0, 3, SB_HEALTH_DOWN);
    expect_participants("ce");
    bed_set_health(0, 2, SB_HEALTH_DOWN);
    expect_participants("e");
    bed_set_health(0, 3, SB_HEALTH_UP);
    expect_participants(first ? "d" : "de");
    bed_set_health(0, 0, SB_HEALTH_UP);
    expect_participants(first ? "ad" : "ade");
    bed_set_health(0, 2, SB_HEALTH_UP);
    expect_participants("ac");
}
END_TEST

START_TEST(who_counts_for_backups)
{
    add_backups(BACKUP_USE_FIRST);
    bed_backend(0, 0)->admin = ADMIN_DRAIN;
    bed_backend(0, 1)->weight = 0;
    bed_backend(0, 3)->admin = ADMIN_MAINTENANCE;
    start();
    expect_participants("ce");

    bed.pools[0].min_healthy = 0;
    next_generation();
    bed_set_health(0, 2, SB_HEALTH_DOWN);
    expect_none(CHOICE_NONE);
}
END_TEST

/* Full primaries are no reason for backups: sessions queue. */
START_TEST(load_never_calls_backups)
{
    add_backups(BACKUP_USE_ALL);
    set_limits(0, 3, 1);
    start();
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(bed_choose(chooser, 0, i, &chosen), CHOICE_MADE);
    expect_none(CHOICE_FULL);
    bed_set_health(0, 0, SB_HEALTH_DOWN);
    bed_set_health(0, 1, SB_HEALTH_DOWN);
    expect_participants("de"); /* c is still full */
}
END_TEST

START_TEST(panic_overlooks_health)
{
    bed_add_pool("rr", 6)->panic_threshold = 50;
    bed_set_all_health(SB_HEALTH_UP);
    start();
    for (uint32_t i = 0; i < 3; i++)
        bed_set_health(0, i, SB_HEALTH_DOWN);
    expect_participants("def"); /* half is enough */
    bed_set_health(0, 3, SB_HEALTH_UNKNOWN);
    expect_participants("ef"); /* it may turn out to be up */
    bed_set_health(0, 3, SB_HEALTH_DOWN);
    expect_participants("abcdef");
    bed_set_health(0, 0, SB_HEALTH_UNKNOWN);
    expect_participants("ef");
    bed_set_health(0, 1, SB_HEALTH_UP);
    expect_participants("bef");
}
END_TEST

/* Who is not let in even then. Backups are, as they do not stand by. */
START_TEST(panic_overlooks_nothing_else)
{
    bed_add_pool("rr", 8)->panic_threshold = 100;
    bed_set_all_health(SB_HEALTH_DOWN);
    bed_backend(0, 0)->admin = ADMIN_DRAIN;
    bed_backend(0, 1)->admin = ADMIN_MAINTENANCE;
    bed_backend(0, 2)->weight = 0;
    bed_backend(0, 3)->address = (struct addr){0};
    bed_set_limit(0, 4, 1, 1);
    scoreboard_reserve(&sb, 1, SB_SLOT, bed_slot(0, 4), 0);
    bed_backend(0, 5)->backup = 1;
    bed_set_health(0, 6, SB_HEALTH_UNKNOWN);
    start();
    expect_participants("fh");

    bed.pools[0].panic_threshold = 0;
    next_generation();
    expect_none(CHOICE_STARTING);
}
END_TEST

/* --- sessions that are to end --- */

static uint8_t endings[SB_SLOTS_MAX];

static void expect_endings(uint32_t pool, const char *letters, enum ending ending)
{
    uint32_t wrong = 0;

    memset(endings, 0, sizeof(endings));
    ck_assert_int_eq(chooser_find_endings(chooser, bed_now_ms(), endings), *letters != '\0');
    for (; *letters != '\0'; letters++) {
        uint32_t slot = bed_slot(pool, (uint32_t)(*letters - 'a'));
        ck_assert_int_eq(endings[slot], ending);
        endings[slot] = 0;
    }
    for (uint32_t slot = 0; slot < SB_SLOTS_MAX; slot++)
        wrong += endings[slot] != 0;
    ck_assert_uint_eq(wrong, 0);
}

/* In the second pool, so that slots and not indices count. */
static void add_closing_pool(enum session_fate on_down, enum session_fate on_return)
{
    bed_add_pool("rr", 3);
    struct snapshot_pool *pool = bed_add_pool("rr", 5);
    pool->on_down = on_down;
    pool->on_return = on_return;
    for (uint32_t i = 3; i < 5; i++)
        bed_backend(1, i)->backup = 1;
    bed_set_all_health(SB_HEALTH_UP);
}

START_TEST(who_is_down_ends)
{
    add_closing_pool(SESSIONS_CLOSE, SESSIONS_KEEP);
    bed_backend(1, 1)->admin = ADMIN_DRAIN;
    bed_backend(1, 2)->address = (struct addr){0}; /* nobody has found it down */
    start();
    expect_endings(1, "", 0);
    bed_set_health(0, 0, SB_HEALTH_DOWN); /* whose pool keeps */
    bed_set_health(1, 0, SB_HEALTH_UNKNOWN);
    expect_endings(1, "", 0);
    bed_set_health(1, 0, SB_HEALTH_DOWN);
    bed_set_health(1, 1, SB_HEALTH_DOWN);
    expect_endings(1, "ab", ENDING_BACKEND_DOWN);
    bed_set_health(1, 0, SB_HEALTH_UP);
    expect_endings(1, "b", ENDING_BACKEND_DOWN);
}
END_TEST

START_TEST(who_is_not_needed_any_more_ends)
{
    add_closing_pool(SESSIONS_KEEP, SESSIONS_CLOSE);
    start();
    expect_endings(1, "de", ENDING_PRIMARIES_BACK);
    for (uint32_t i = 0; i < 3; i++)
        bed_set_health(1, i, SB_HEALTH_DOWN);
    expect_endings(1, "", 0);
    bed_set_health(1, 2, SB_HEALTH_UP);
    expect_endings(1, "de", ENDING_PRIMARIES_BACK);
}
END_TEST

START_TEST(nobody_ends_in_panic)
{
    add_closing_pool(SESSIONS_CLOSE, SESSIONS_CLOSE);
    bed.pools[1].panic_threshold = 50;
    bed.pools[1].min_healthy = 0;
    start();
    bed_set_health(1, 0, SB_HEALTH_DOWN);
    memset(endings, 0, sizeof(endings));
    ck_assert(chooser_find_endings(chooser, bed_now_ms(), endings));
    ck_assert_int_eq(endings[bed_slot(1, 0)], ENDING_BACKEND_DOWN);
    ck_assert_int_eq(endings[bed_slot(1, 3)], ENDING_PRIMARIES_BACK);
    bed_set_health(1, 1, SB_HEALTH_DOWN);
    bed_set_health(1, 2, SB_HEALTH_DOWN);
    expect_endings(1, "", 0);
}
END_TEST

static void add_slow_start(Suite *suite)
{
    TCase *tcase = tcase_create("slow start");
    int n_schedulers = 0;

    while (sched_table[n_schedulers] != NULL)
        n_schedulers++;
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, weight_rises_with_time, 0, 3);
    tcase_add_loop_test(tcase, share_is_held_under_rules_by_load, 0, 3);
    tcase_add_test(tcase, shares_are_each_ones_own);
    tcase_add_test(tcase, share_is_carried_over);
    tcase_add_test(tcase, share_is_not_saved_up);
    tcase_add_loop_test(tcase, nobody_is_refused_for_slow_start, 0, n_schedulers);
    tcase_add_loop_test(tcase, none_at_the_start_or_without_a_period, 0, 2);
    suite_add_tcase(suite, tcase);
}

static void add_participants(Suite *suite)
{
    TCase *tcase = tcase_create("participants");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, backups_join_and_leave, 0, 2);
    tcase_add_test(tcase, who_counts_for_backups);
    tcase_add_test(tcase, load_never_calls_backups);
    tcase_add_test(tcase, panic_overlooks_health);
    tcase_add_test(tcase, panic_overlooks_nothing_else);
    tcase_add_test(tcase, who_is_down_ends);
    tcase_add_test(tcase, who_is_not_needed_any_more_ends);
    tcase_add_test(tcase, nobody_ends_in_panic);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("sched fold");
    add_slow_start(suite);
    add_participants(suite);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
