/*
 * The choice of backends: who may be chosen, what each outcome means, limits and rates shared by
 * several workers, what is hashed, and what goes over to the next generation. Leases and the
 * fallback pool are in test_sched_lease.c, slow start, backups and panic in test_sched_fold.c.
 */

#include "test_sched_fixture.h"

static struct chooser *chooser;
static struct chosen chosen;

/* Two services, each with a pool of four backends, "a" to "d", all up. */
static void setup(void)
{
    bed_setup();
    bed_add_service(0);
    bed_add_service(1);
    bed_add_pool("rr", 4);
    bed_add_pool("rr", 4);
    bed_set_all_health(SB_HEALTH_UP);
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

static void use(const char *scheduler)
{
    bed.pools[0].scheduler = sched_find(scheduler);
    ck_assert_uint_ne(bed.pools[0].scheduler, SCHED_NONE);
}

static enum choice outcome_of(const struct choose_tried *tried, uint32_t n_tried)
{
    return bed_retry(chooser, 1, tried, n_tried, false, &chosen);
}

static enum choice outcome(void)
{
    return outcome_of(NULL, 0);
}

/* Chooses in pool 0 and expects a backend. */
static uint32_t pick(void)
{
    ck_assert_int_eq(outcome(), CHOICE_MADE);
    ck_assert_uint_eq(chosen.pool, 0);
    ck_assert_uint_lt(chosen.index, bed.pools[0].n_backends);
    return chosen.index;
}

static void expect_order(const char *letters)
{
    for (; *letters != '\0'; letters++)
        ck_assert_int_eq('a' + (int)pick(), *letters);
}

static uint32_t active(uint32_t pool, uint32_t i)
{
    return atomic_load(&sb.slot_active[bed_slot(pool, i)]);
}

static void release(uint32_t pool, uint32_t i)
{
    scoreboard_release(&sb, 0, SB_SLOT, bed_slot(pool, i));
}

/* --- choosing --- */

START_TEST(a_choice_is_reserved)
{
    const _Atomic uint32_t *peaks[] = {&sb.rows[BED_ROW].connections_peak,
                                       &sb.rows[BED_ROW + 1].connections_peak};

    start();
    expect_order("abcda");
    ck_assert_uint_eq(chosen.hold.place, 0); /* no persistence */
    ck_assert_uint_eq(active(0, 0), 2);
    ck_assert_uint_eq(active(0, 1), 1);
    ck_assert_uint_eq(atomic_load(&scoreboard_slot_cell(&sb, 0, BED_SLOT)->active), 2);
    ck_assert_uint_eq(atomic_load(peaks[0]), 2);
    ck_assert_uint_eq(atomic_load(peaks[1]), 1);
    release(0, 0);
    ck_assert_uint_eq(atomic_load(peaks[0]), 2);

    ck_assert_int_eq(bed_choose(chooser, 1, 1, &chosen), CHOICE_MADE);
    ck_assert_uint_eq(chosen.pool, 1);
    ck_assert_uint_eq(chosen.index, 0); /* within its pool */
    ck_assert_uint_eq(active(1, 0), 1);
}
END_TEST

START_TEST(workers_start_apart)
{
    for (uint32_t w = 0; w < BED_WORKERS; w++) {
        struct chooser *of_worker = bed_open(w, NULL);
        ck_assert_int_eq(bed_choose(of_worker, 0, 1, &chosen), CHOICE_MADE);
        ck_assert_uint_eq(chosen.index, w);
        ck_assert_uint_eq(atomic_load(&scoreboard_slot_cell(&sb, w, BED_SLOT + w)->active), 1);
        chooser_destroy(of_worker);
    }
}
END_TEST

START_TEST(only_eligible_ones_are_chosen)
{
    bed_backend(0, 0)->admin = ADMIN_DRAIN;
    bed_backend(0, 1)->weight = 0;
    start();
    expect_order("cdcd");
    bed_set_health(0, 2, SB_HEALTH_DOWN);
    expect_order("ddd");
    bed_set_health(0, 2, SB_HEALTH_UNKNOWN);
    expect_order("dd");
    bed_set_health(0, 2, SB_HEALTH_UP);
    expect_order("cdcd");
}
END_TEST

START_TEST(weights_count)
{
    use("wrr");
    bed_backend(0, 0)->weight = 5;
    bed_backend(0, 3)->admin = ADMIN_MAINTENANCE;
    start();
    expect_order("aabacaa");
}
END_TEST

START_TEST(health_without_the_monitor)
{
    bed_set_all_health(SB_HEALTH_UNKNOWN);
    bed_backend(0, 1)->n_checks = 0;
    bed_backend(0, 2)->n_checks = 0;
    bed_backend(0, 2)->address = (struct addr){0}; /* does not resolve */
    start();
    expect_order("bbb");
}
END_TEST

START_TEST(none_is_eligible)
{
    static const struct choose_tried tried[] = {{.index = 2}};

    bed_set_all_health(SB_HEALTH_DOWN);
    start();
    ck_assert_int_eq(outcome(), CHOICE_NONE);
    ck_assert_uint_eq(chosen.pool, 0);

    bed_set_health(0, 2, SB_HEALTH_UNKNOWN);
    ck_assert_int_eq(outcome(), CHOICE_STARTING);
    ck_assert_int_eq(outcome_of(tried, 1), CHOICE_STARTING);
    bed_set_health(0, 2, SB_HEALTH_UP);
    ck_assert_int_eq(outcome(), CHOICE_MADE);
}
END_TEST

START_TEST(draining_is_not_starting)
{
    bed_set_all_health(SB_HEALTH_UNKNOWN);
    for (uint32_t i = 0; i < 4; i++)
        bed_backend(0, i)->admin = i % 2 == 0 ? ADMIN_DRAIN : ADMIN_MAINTENANCE;
    start();
    ck_assert_int_eq(outcome(), CHOICE_NONE);
}
END_TEST

START_TEST(an_empty_pool_has_none)
{
    bed.pools[0].n_backends = 0;
    bed.pools[0].scheduler = (uint32_t)_i;
    start();
    ck_assert_int_eq(outcome(), CHOICE_NONE);
    ck_assert_uint_eq(chooser_due_us(chooser, 0, now_us), UINT64_MAX);
}
END_TEST

START_TEST(tried_ones_are_passed_over)
{
    static const struct choose_tried all[] = {
        {.index = 3}, {.index = 1}, {.index = 0}, {.index = 2}};

    start();
    ck_assert_int_eq(outcome_of(all, 4), CHOICE_TRIED);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(outcome_of(all, 3), CHOICE_MADE);
    ck_assert_uint_eq(active(0, 2), 5);
    bed_set_health(0, 2, SB_HEALTH_DOWN);
    ck_assert_int_eq(outcome_of(all, 3), CHOICE_TRIED);
}
END_TEST

/* The same index in another pool is another backend. */
START_TEST(tried_ones_are_of_their_pool)
{
    static const struct choose_tried elsewhere[] = {
        {.pool = 1, .index = 0}, {.pool = 1, .index = 1}, {.pool = 0, .index = 2}};

    start();
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_int_eq(outcome_of(elsewhere, 3), CHOICE_MADE);
    ck_assert_uint_eq(active(0, 0), 2);
    ck_assert_uint_eq(active(0, 1), 1);
    ck_assert_uint_eq(active(0, 2), 0);
}
END_TEST

START_TEST(tried_and_full)
{
    static const struct choose_tried tried[] = {{.index = 0}, {.index = 1}, {.index = 2}};

    bed_set_limit(0, 3, 1, 0);
    start();
    ck_assert_int_eq(outcome_of(tried, 3), CHOICE_MADE);
    ck_assert_int_eq(outcome_of(tried, 3), CHOICE_FULL); /* d was not tried */
}
END_TEST

/* --- limits --- */

START_TEST(all_are_full)
{
    for (uint32_t i = 0; i < 4; i++)
        bed_set_limit(0, i, 1, 0);
    start();
    expect_order("abcd");
    ck_assert_int_eq(outcome(), CHOICE_FULL);
    ck_assert_uint_eq(active(0, 0), 1);
    ck_assert_uint_eq(chooser_due_us(chooser, 0, now_us), UINT64_MAX);
    release(0, 2);
    expect_order("c");
    ck_assert_uint_eq(atomic_load(&sb.rows[BED_ROW + 2].connections_peak), 1);
}
END_TEST

START_TEST(a_limit_holds_for_all_workers)
{
    struct chooser *choosers[BED_WORKERS];
    uint32_t made = 0, wrong = 0;

    for (uint32_t i = 0; i < 4; i++)
        bed_set_limit(0, i, 2 + i, 0);
    for (uint32_t w = 0; w < BED_WORKERS; w++)
        choosers[w] = bed_open(w, NULL);
    for (uint32_t p = 0; p < 30; p++) {
        enum choice choice = bed_choose(choosers[p % BED_WORKERS], 0, p, &chosen);
        wrong += choice != (made < 14 ? CHOICE_MADE : CHOICE_FULL);
        made += choice == CHOICE_MADE;
    }
    ck_assert_uint_eq(wrong, 0);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(active(0, i), 2 + i);
    for (uint32_t w = 0; w < BED_WORKERS; w++)
        chooser_destroy(choosers[w]);
}
END_TEST

/* One backend that fills up and empties, and what is expected of it by the words alone: full from
 * the limit on until it has been under resume. */
START_TEST(full_until_under_resume)
{
    static const uint32_t limits[][2] = {{1, 1}, {2, 1}, {2, 2}, {8, 1}, {8, 4}, {8, 8}, {100, 75}};
    uint32_t limit = limits[_i][0], resume = limits[_i][1];
    uint32_t sessions = 0, wrong = 0, refused = 0;
    bool full = false;

    bed.pools[0].n_backends = 1;
    bed_set_limit(0, 0, limit, resume);
    start();
    srandom(1);
    for (int step = 0; step < 3000; step++) {
        /* rising and falling by turns */
        if (random() % 10 < (step / 200 % 2 == 0 ? 7 : 3)) {
            bool made = outcome() == CHOICE_MADE;
            wrong += made == full;
            refused += !made;
            sessions += made;
            full = full || sessions == limit;
        } else if (sessions > 0) {
            release(0, 0);
            sessions--;
            full = full && sessions >= resume;
        }
        wrong += active(0, 0) != sessions;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_gt(refused, 0);
}
END_TEST

static void next_generation(void)
{
    struct chooser *next = bed_open(0, chooser);
    chooser_destroy(chooser);
    chooser = next;
}

static uint32_t fill(void)
{
    uint32_t n = 0;
    while (outcome() == CHOICE_MADE)
        n++;
    return n;
}

/* An edit is reckoned with at once, whatever was before. */
START_TEST(a_limit_is_raised_and_lowered)
{
    bed.pools[0].n_backends = 1;
    bed_set_limit(0, 0, 4, 3);
    start();
    ck_assert_uint_eq(fill(), 4);
    release(0, 0); /* 3: still full */
    ck_assert_int_eq(outcome(), CHOICE_FULL);

    bed_set_limit(0, 0, 5, 3);
    next_generation();
    ck_assert_uint_eq(fill(), 2);

    bed_set_limit(0, 0, 3, 2); /* 5 are there */
    next_generation();
    ck_assert_int_eq(outcome(), CHOICE_FULL);
    for (int left = 4; left >= 2; left--) {
        release(0, 0);
        ck_assert_int_eq(outcome(), CHOICE_FULL);
    }
    release(0, 0);
    ck_assert_uint_eq(fill(), 2);

    bed_set_limit(0, 0, 0, 0);
    next_generation();
    ck_assert_int_eq(outcome(), CHOICE_MADE);
}
END_TEST

/* --- rates --- */

START_TEST(a_rate_makes_full_for_a_moment)
{
    bed.pools[0].n_backends = 1;
    bed_backend(0, 0)->connect_rate = (struct snapshot_rate){.interval_ns = 100000001, .burst = 3};
    start();
    ck_assert_uint_eq(fill(), 3);
    uint64_t due_us = chooser_due_us(chooser, 0, now_us);
    ck_assert_uint_eq(due_us, now_us + 100001); /* rounded up: not before it is true */
    now_us = due_us - 1;
    ck_assert_int_eq(outcome(), CHOICE_FULL);
    ck_assert_uint_eq(active(0, 0), 3); /* a place that could not be used was given back */
    now_us = due_us;
    ck_assert_uint_eq(fill(), 1);
    bed_wait(10000);
    ck_assert_uint_eq(fill(), 3);
}
END_TEST

START_TEST(a_rate_is_shared_by_workers)
{
    struct chooser *other;

    bed.pools[0].n_backends = 1;
    bed_backend(0, 0)->connect_rate = (struct snapshot_rate){.interval_ns = 1000000, .burst = 2};
    start();
    other = bed_open(1, NULL);
    ck_assert_int_eq(outcome(), CHOICE_MADE);
    ck_assert_int_eq(bed_choose(other, 0, 1, &chosen), CHOICE_MADE);
    ck_assert_int_eq(outcome(), CHOICE_FULL);
    ck_assert_int_eq(bed_choose(other, 0, 1, &chosen), CHOICE_FULL);
    chooser_destroy(other);
}
END_TEST

/* When somebody may be free by its rate alone: the soonest, and only of those not also full. */
START_TEST(the_soonest_rate_is_due)
{
    bed_set_limit(0, 0, 1, 0);
    for (uint32_t i = 1; i < 4; i++)
        bed_backend(0, i)->connect_rate =
            (struct snapshot_rate){.interval_ns = i * UINT64_C(1000000000), .burst = 1};
    bed_set_limit(0, 1, 1, 0);
    start();
    ck_assert_uint_eq(fill(), 4);
    ck_assert_uint_eq(chooser_due_us(chooser, 0, now_us), now_us + 2000000);
    ck_assert_uint_eq(chooser_due_us(chooser, 1, now_us), UINT64_MAX);
    release(0, 1);
    ck_assert_uint_eq(chooser_due_us(chooser, 0, now_us), now_us + 1000000);
    bed_set_health(0, 1, SB_HEALTH_DOWN);
    bed_set_health(0, 2, SB_HEALTH_DOWN);
    ck_assert_int_eq(outcome(), CHOICE_FULL);
    ck_assert_uint_eq(chooser_due_us(chooser, 0, now_us), now_us + 3000000);
}
END_TEST

/* --- what is looked at --- */

START_TEST(what_choosing_looks_at)
{
    use("dh");
    bed.services[1].fallback_pool = 0;
    bed_add_pool("least_time", 1);
    bed_add_service(2);
    start();
    ck_assert(chooser_wants_destination(chooser, 0));
    ck_assert(chooser_wants_destination(chooser, 1)); /* its fallback does */
    ck_assert(!chooser_wants_destination(chooser, 2));
    ck_assert(!chooser_wants_times(chooser, 0));
    ck_assert(!chooser_wants_times(chooser, 1));
    ck_assert(chooser_wants_times(chooser, 2));
}
END_TEST

enum varying { ADDRESS, PORT, DESTINATION, SCOPE };

/* How many of the four backends 64 sessions come to that differ in one thing. */
static uint32_t spread(enum varying varying)
{
    bool seen[4] = {false};

    for (uint32_t n = 0; n < 64; n++) {
        struct addr_ip client = bed_client(varying == ADDRESS ? n : 1);
        struct addr_ip destination = bed_client(varying == DESTINATION ? n : 1);
        client.port = (uint16_t)(varying == PORT ? n : 7);
        client.scope = varying == SCOPE ? n : 0;
        struct choose_request request = {
            .client = &client, .destination = &destination, .now_us = now_us};
        if (chooser_choose(chooser, &request, &chosen) == CHOICE_MADE)
            seen[chosen.index] = true;
    }
    return (uint32_t)(seen[0] + seen[1] + seen[2] + seen[3]);
}

START_TEST(what_is_hashed)
{
    static const struct {
        const char *scheduler;
        uint32_t hash_key, spread[4];
    } cases[] = {
        {"mh", HASH_KEY_SOURCE, {4, 1, 1, 1}}, {"mh", HASH_KEY_SOURCE_PORT, {4, 4, 1, 1}},
        {"sh", HASH_KEY_SOURCE, {4, 1, 1, 1}}, {"sh", HASH_KEY_SOURCE_PORT, {4, 1, 1, 1}},
        {"dh", HASH_KEY_SOURCE, {1, 1, 4, 1}},
    };

    use(cases[_i].scheduler);
    bed.pools[0].hash_key = cases[_i].hash_key;
    start();
    for (enum varying varying = ADDRESS; varying <= SCOPE; varying++)
        ck_assert_uint_eq(spread(varying), cases[_i].spread[varying]);
}
END_TEST

/* --- generations --- */

static void expect_refusal(void)
{
    errno = 0;
    ck_assert_ptr_null(chooser_create(&bed.header, &sb, 0, bed_now_ms(), NULL));
    ck_assert_int_eq(errno, EINVAL);
}

START_TEST(what_cannot_be_served_is_refused)
{
    bed_seal();
    bed.pools[1].scheduler = 1000;
    expect_refusal();
    bed.pools[1].scheduler = sched_find("mh"); /* it has no table */
    expect_refusal();
    for (uint32_t i = 0; i < 4; i++)
        bed_backend(1, i)->weight = 0; /* then it needs none */
    start();
    chooser_destroy(NULL);
}
END_TEST

START_TEST(turns_go_on)
{
    start();
    expect_order("ab");
    next_generation();
    expect_order("cdab");
}
END_TEST

START_TEST(turns_go_on_by_row)
{
    start();
    expect_order("ab");
    /* c, whose turn it is, gets another address and goes to the front */
    struct snapshot_backend c = *bed_backend(0, 2);
    memmove(bed_backend(0, 1), bed_backend(0, 0), 2 * sizeof(c));
    *bed_backend(0, 0) = c;
    bed_backend(0, 0)->slot = 500;
    bed_set_health(0, 0, SB_HEALTH_UP);
    next_generation();
    expect_order("abcd"); /* which are c, a, b, d now */
    ck_assert_uint_eq(atomic_load(&sb.slot_active[500]), 1);
}
END_TEST

START_TEST(turns_go_on_without_and_with_some)
{
    use("wrr");
    start();
    expect_order("ab");
    /* b goes, and a new one comes in its place */
    strcpy(bed_backend(0, 1)->name, "new");
    bed_backend(0, 1)->slot = 500;
    bed_backend(0, 1)->row = 500;
    bed_set_health(0, 1, SB_HEALTH_UP);
    next_generation();
    expect_order("cdba"); /* a has had its turn */
}
END_TEST

START_TEST(turns_go_on_in_a_moved_pool)
{
    start();
    expect_order("ab");
    /* pool "p0" is the second in the file now */
    struct snapshot_pool first = bed.pools[0];
    bed.pools[0] = bed.pools[1];
    bed.pools[1] = first;
    next_generation();
    ck_assert_int_eq(bed_choose(chooser, 1, 1, &chosen), CHOICE_MADE);
    ck_assert_uint_eq(chosen.index, 2);
    ck_assert_int_eq(bed_choose(chooser, 0, 1, &chosen), CHOICE_MADE);
    ck_assert_uint_eq(chosen.index, 0);
}
END_TEST

/* What is not the same begins anew: another pool, another backend in a reused row, another rule. */
START_TEST(what_is_not_the_same_begins_anew)
{
    start();
    expect_order("ab");
    if (_i == 0)
        strcpy(bed.pools[0].name, "three");
    for (uint32_t i = 0; _i == 1 && i < 4; i++)
        bed_backend(0, i)->name[0] = 'x';
    for (uint32_t i = 0; _i == 2 && i < 4; i++)
        bed_backend(0, i)->row = 100 + i;
    if (_i == 3)
        use("wrr");
    next_generation();
    expect_order("abcd");
}
END_TEST

START_TEST(a_new_generation_has_its_own_facts)
{
    start();
    expect_order("a");
    bed_backend(0, 1)->admin = ADMIN_MAINTENANCE;
    bed_set_limit(0, 2, 1, 0);
    next_generation();
    expect_order("cdada");
}
END_TEST

/* As large as pools get in practice, all full but one, which is found whatever the rule. */
START_TEST(a_thousand_backends)
{
    bed.header.n_services = bed.header.n_pools = bed.header.n_backends = 0;
    bed_add_service(0);
    bed_add_pool(sched_table[_i]->name, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        bed_set_limit(0, i, 1, 0);
        bed_backend(0, i)->n_checks = 0;
        scoreboard_reserve(&sb, 1, SB_SLOT, bed_slot(0, i), 0);
    }
    scoreboard_release(&sb, 1, SB_SLOT, bed_slot(0, 777));
    start();
    ck_assert_int_eq(outcome(), CHOICE_MADE);
    ck_assert_uint_eq(chosen.index, 777);
    ck_assert_int_eq(outcome(), CHOICE_FULL);
}
END_TEST

static int table_len(void)
{
    int n = 0;
    while (sched_table[n] != NULL)
        n++;
    return n;
}

static void add_choices(Suite *suite)
{
    TCase *tcase = tcase_create("choices");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_choice_is_reserved);
    tcase_add_test(tcase, workers_start_apart);
    tcase_add_test(tcase, only_eligible_ones_are_chosen);
    tcase_add_test(tcase, weights_count);
    tcase_add_test(tcase, health_without_the_monitor);
    tcase_add_test(tcase, none_is_eligible);
    tcase_add_test(tcase, draining_is_not_starting);
    tcase_add_loop_test(tcase, an_empty_pool_has_none, 0, table_len());
    tcase_add_test(tcase, tried_ones_are_passed_over);
    tcase_add_test(tcase, tried_ones_are_of_their_pool);
    tcase_add_test(tcase, tried_and_full);
    tcase_add_test(tcase, what_choosing_looks_at);
    tcase_add_loop_test(tcase, what_is_hashed, 0, 5);
    suite_add_tcase(suite, tcase);
}

static void add_limits(Suite *suite)
{
    TCase *tcase = tcase_create("limits");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, all_are_full);
    tcase_add_test(tcase, a_limit_holds_for_all_workers);
    tcase_add_loop_test(tcase, full_until_under_resume, 0, 7);
    tcase_add_test(tcase, a_limit_is_raised_and_lowered);
    tcase_add_test(tcase, a_rate_makes_full_for_a_moment);
    tcase_add_test(tcase, a_rate_is_shared_by_workers);
    tcase_add_test(tcase, the_soonest_rate_is_due);
    suite_add_tcase(suite, tcase);
}

static void add_generations(Suite *suite)
{
    TCase *tcase = tcase_create("generations");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_cannot_be_served_is_refused);
    tcase_add_test(tcase, turns_go_on);
    tcase_add_test(tcase, turns_go_on_by_row);
    tcase_add_test(tcase, turns_go_on_without_and_with_some);
    tcase_add_test(tcase, turns_go_on_in_a_moved_pool);
    tcase_add_loop_test(tcase, what_is_not_the_same_begins_anew, 0, 4);
    tcase_add_test(tcase, a_new_generation_has_its_own_facts);
    tcase_add_loop_test(tcase, a_thousand_backends, 0, table_len());
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("sched choose");
    add_choices(suite);
    add_limits(suite);
    add_generations(suite);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
