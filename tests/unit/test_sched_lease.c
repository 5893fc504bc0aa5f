/*
 * Choices that the pool's scheduler has no say in: leases, which come before it, and the fallback
 * pool, which comes after it.
 */
#include "sched/chooser.h"
#include "test_sched_fixture.h"

#define KEEP_MS (100 * LEASE_UNIT_MS) /* persistence; no rounding */

static struct chooser *chooser;
static struct chosen chosen;

/* Two services, each with a pool of four backends, all up; the first has persistence. */
static void setup(void)
{
    bed_setup();
    bed_add_service(0)->persistence_ms = KEEP_MS;
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

static void next_generation(void)
{
    struct chooser *next = bed_open(0, chooser);
    chooser_destroy(chooser);
    chooser = next;
}

static uint32_t active(uint32_t pool, uint32_t i)
{
    return atomic_load(&sb.slot_active[bed_slot(pool, i)]);
}

/* --- sessions --- */

struct session {
    uint32_t pool, index, slot, row;
    struct lease_hold hold;
};

static struct session begin_at(uint32_t service, const struct addr_ip *client)
{
    struct choose_request request = {
        .service = service, .client = client, .destination = client, .now_us = now_us};

    ck_assert_int_eq(chooser_choose(chooser, &request, &chosen), CHOICE_MADE);
    const struct snapshot_backend *backend = bed_backend(chosen.pool, chosen.index);
    return (struct session){.pool = chosen.pool,
                            .index = chosen.index,
                            .slot = backend->slot,
                            .row = backend->row,
                            .hold = chosen.hold};
}

static struct session begin(uint32_t client)
{
    struct addr_ip address = bed_client(client);
    return begin_at(0, &address);
}

static void end(struct session *session)
{
    scoreboard_release(&sb, 0, SB_SLOT, session->slot);
    lease_release(&sb, &session->hold, session->row, bed_now_ms(), KEEP_MS);
}

/* Where a client's session of no length goes. */
static char visit(uint32_t client)
{
    struct session session = begin(client);
    end(&session);
    return (char)('a' + session.index);
}

static char visit_at(uint32_t service, struct addr_ip client)
{
    struct session session = begin_at(service, &client);
    end(&session);
    return (char)('a' + session.index);
}

static bool find_lease(uint32_t client, struct lease_info *out)
{
    struct addr_ip address = bed_client(client);
    return lease_find(&sb, chooser_lease_key(chooser, 0, &address), bed_now_ms(), out);
}

/* --- leases --- */

START_TEST(a_client_keeps_its_backend)
{
    bed.pools[0].scheduler = (uint32_t)_i;
    start();
    char first = visit(1);
    uint32_t moved = 0;
    for (uint32_t n = 0; n < 50; n++) {
        (void)begin(100 + n); /* others load all backends */
        bed_wait(KEEP_MS - 1);
        moved += visit(1) != first;
    }
    ck_assert_uint_eq(moved, 0);
}
END_TEST

START_TEST(a_lease_ends)
{
    start();
    ck_assert_int_eq(visit(1), 'a');
    bed_wait(KEEP_MS - LEASE_UNIT_MS);
    ck_assert_int_eq(visit(1), 'a');
    bed_wait(KEEP_MS);
    ck_assert_int_eq(visit(1), 'b');

    struct session session = begin(1); /* while it lasts, and is renewed, the lease does */
    for (int i = 0; i < 10; i++) {
        bed_wait(LEASE_RENEW_MS);
        lease_renew(&sb, &session.hold, session.row, bed_now_ms());
    }
    ck_assert_int_eq(visit(1), 'b');
    end(&session);
}
END_TEST

START_TEST(sessions_join_and_leave)
{
    struct lease_info info = {0};

    start();
    ck_assert(!find_lease(1, &info));
    struct session first = begin(1), second = begin(1);
    ck_assert_uint_ne(first.hold.place, 0);
    ck_assert(find_lease(1, &info));
    ck_assert_uint_eq(info.row, BED_ROW);
    ck_assert_uint_eq(info.sessions, 2);
    end(&first);
    ck_assert(find_lease(1, &info));
    ck_assert_uint_eq(info.sessions, 1);
    end(&second);
    ck_assert(find_lease(1, &info));
    ck_assert_uint_eq(info.sessions, 0);
    ck_assert_uint_eq(info.ends_ms, bed_now_ms() + KEEP_MS);
    ck_assert_uint_eq(active(0, 0), 0);
}
END_TEST

START_TEST(without_persistence_there_is_none)
{
    struct addr_ip client = bed_client(1);

    start();
    for (const char *turn = "abcda"; *turn != '\0'; turn++)
        ck_assert_int_eq(visit_at(1, client), *turn);
    ck_assert_uint_eq(chosen.hold.place, 0);
}
END_TEST

/* What becomes of a client whose lease is on backend a when a changes. */
enum change {
    DRAIN,
    WEIGHT_ZERO,
    STANDBY,
    STANDBY_CLOSE,
    MAINTENANCE,
    DOWN,
    UNKNOWN,
    FULL,
    ABOVE_RESUME,
    RATE,
    NO_ADDRESS,
    DRAIN_DOWN,
    DRAIN_FULL,
    PANIC,
    PANIC_DRAIN,
    CHANGE_COUNT
};

static const bool stays[CHANGE_COUNT] = {
    [DRAIN] = true, [WEIGHT_ZERO] = true, [STANDBY] = true, [PANIC] = true};

static void change_health(enum change change)
{
    if (change == DOWN || change == DRAIN_DOWN || change == PANIC || change == PANIC_DRAIN)
        bed_set_health(0, 0, SB_HEALTH_DOWN);
    if (change == UNKNOWN)
        bed_set_health(0, 0, SB_HEALTH_UNKNOWN);
    for (uint32_t i = 1; i < 3 && (change == PANIC || change == PANIC_DRAIN); i++)
        bed_set_health(0, i, SB_HEALTH_DOWN);
}

static void change_backend(enum change change)
{
    struct snapshot_backend *a = bed_backend(0, 0);

    if (change == DRAIN || change == DRAIN_DOWN || change == DRAIN_FULL || change == PANIC_DRAIN)
        a->admin = ADMIN_DRAIN;
    if (change == MAINTENANCE)
        a->admin = ADMIN_MAINTENANCE;
    if (change == WEIGHT_ZERO)
        a->weight = 0;
    if (change == STANDBY || change == STANDBY_CLOSE)
        a->backup = 1;
    if (change == STANDBY_CLOSE)
        bed.pools[0].on_return = SESSIONS_CLOSE;
    if (change == FULL || change == DRAIN_FULL)
        bed_set_limit(0, 0, 1, 1); /* others' session is there */
    if (change == ABOVE_RESUME)
        bed_set_limit(0, 0, 2, 1);
    if (change == RATE)
        a->connect_rate = (struct snapshot_rate){.interval_ns = UINT64_C(1) << 40, .burst = 1};
    if (change == NO_ADDRESS)
        a->address = (struct addr){0};
    if (change == PANIC || change == PANIC_DRAIN)
        bed.pools[0].panic_threshold = 50;
}

START_TEST(who_may_return)
{
    enum change change = (enum change)_i;

    start();
    ck_assert_int_eq(visit(1), 'a');
    scoreboard_reserve(&sb, 1, SB_SLOT, bed_slot(0, 0), 0);
    change_health(change);
    change_backend(change);
    if (change == ABOVE_RESUME)
        atomic_store(&sb.slot_full[bed_slot(0, 0)], 1);
    if (change == RATE)
        ck_assert(rate_take(&sb.slot_rate[bed_slot(0, 0)], &bed_backend(0, 0)->connect_rate,
                            now_us * 1000));
    next_generation();
    char now = visit(1);
    ck_assert_msg((now == 'a') == stays[change], "change %d", _i);

    /* who had to leave has its lease elsewhere now */
    uint32_t moved = 0;
    for (int i = 0; i < 5 && !stays[change]; i++)
        moved += visit(1) != now;
    ck_assert_uint_eq(moved, 0);
}
END_TEST

START_TEST(a_lease_moves_for_good)
{
    start();
    struct session old = begin(1);
    bed_set_health(0, 0, SB_HEALTH_DOWN);
    ck_assert_int_eq(visit(1), 'b');
    bed_set_health(0, 0, SB_HEALTH_UP);
    ck_assert_int_eq(visit(1), 'b');
    end(&old); /* which is nothing to the lease any more */
    ck_assert_int_eq(visit(1), 'b');
    ck_assert_uint_eq(active(0, 0), 0);
}
END_TEST

START_TEST(a_lease_moves_to_where_a_try_succeeded)
{
    static const struct choose_tried tried[] = {{.index = 0}};

    start();
    struct session first = begin(1);
    lease_release(&sb, &first.hold, first.row, bed_now_ms(), 0); /* it could not connect */
    ck_assert_int_eq(bed_retry(chooser, 1, tried, 1, false, &chosen), CHOICE_MADE);
    ck_assert_uint_eq(chosen.index, 1);
    ck_assert_int_eq(visit(1), 'b');
}
END_TEST

/* Whoever comes while the backend is full goes elsewhere, even with a lease of many sessions. */
START_TEST(a_lease_is_no_way_around_the_limit)
{
    bed_set_limit(0, 0, 2, 2);
    start();
    (void)begin(1);
    (void)begin(1);
    ck_assert_uint_eq(active(0, 0), 2);
    ck_assert_int_eq(visit(1), 'b');
    ck_assert_uint_eq(active(0, 0), 2);
}
END_TEST

static struct addr_ip ip(const char *text)
{
    struct addr_ip address;
    ck_assert_int_eq(addr_parse_ip(text, &address), 0);
    return address;
}

START_TEST(clients_under_one_mask_share_a_lease)
{
    bed.services[0].persistence_mask = 23;
    bed.services[0].persistence_mask6 = 60;
    start();
    ck_assert_int_eq(visit_at(0, ip("192.0.2.1")), 'a');
    ck_assert_int_eq(visit_at(0, ip("2001:db8:0:10::1")), 'b');
    ck_assert_int_eq(visit_at(0, ip("192.0.3.200")), 'a');
    struct addr_ip other_port = ip("192.0.2.1");
    other_port.port = 4000;
    ck_assert_int_eq(visit_at(0, other_port), 'a');
    ck_assert_int_eq(visit_at(0, ip("2001:db8:0:1f:ffff::")), 'b');
    ck_assert_int_eq(visit_at(0, ip("192.0.4.1")), 'c');
    ck_assert_int_eq(visit_at(0, ip("2001:db8:0:20::1")), 'd');
}
END_TEST

START_TEST(another_services_lease_is_another)
{
    bed.services[1].pool = 0;
    bed.services[1].persistence_ms = KEEP_MS;
    start();
    struct addr_ip client = bed_client(1);
    ck_assert_int_eq(visit_at(0, client), 'a');
    ck_assert_int_eq(visit_at(1, client), 'b');
    ck_assert_int_eq(visit_at(0, client), 'a');
    ck_assert_int_eq(visit_at(1, client), 'b');
}
END_TEST

START_TEST(workers_share_leases)
{
    struct chooser *first;

    start();
    ck_assert_int_eq(visit(1), 'a');
    first = chooser;
    chooser = bed_open(3, NULL); /* whose turn begins elsewhere */
    ck_assert_int_eq(visit(1), 'a');
    chooser_destroy(first);
}
END_TEST

START_TEST(a_lease_outlasts_a_reload)
{
    start();
    ck_assert_int_eq(visit(1), 'a');
    /* a stands last now, with another address */
    struct snapshot_backend a = *bed_backend(0, 0);
    memmove(bed_backend(0, 0), bed_backend(0, 1), 3 * sizeof(a));
    *bed_backend(0, 3) = a;
    bed_backend(0, 3)->slot = 500;
    bed_set_health(0, 3, SB_HEALTH_UP);
    next_generation();
    struct session session = begin(1);
    ck_assert_uint_eq(session.slot, 500);
    end(&session);

    bed.pools[0].n_backends = 3; /* a is gone */
    next_generation();
    session = begin(1);
    ck_assert_uint_ne(session.row, a.row);
    end(&session);
}
END_TEST

/* Its backend is in a pool that the service does not choose from any more. */
START_TEST(a_lease_in_another_pool_is_none)
{
    start();
    ck_assert_int_eq(visit(1), 'a');
    bed.services[0].pool = 1;
    next_generation();
    struct session session = begin(1);
    ck_assert_uint_eq(session.pool, 1);
    end(&session);
}
END_TEST

/* --- the fallback pool --- */

static const struct choose_tried tried_in_both[] = {{.index = 0},
                                                    {.index = 1},
                                                    {.index = 2},
                                                    {.index = 3},
                                                    {.pool = 1, .index = 0},
                                                    {.pool = 1, .index = 1},
                                                    {.pool = 1, .index = 2},
                                                    {.pool = 1, .index = 3}};

static void set_health_of(uint32_t pool, enum sb_health health)
{
    for (uint32_t i = 0; i < 4; i++)
        bed_set_health(pool, i, health);
}

static void expect(uint32_t n_tried, bool again, enum choice choice, uint32_t pool)
{
    ck_assert_int_eq(bed_retry(chooser, 1, tried_in_both, n_tried, again, &chosen), choice);
    ck_assert_uint_eq(chosen.pool, pool);
}

static void fall_back(void)
{
    bed.services[0].persistence_ms = 0;
    bed.services[0].fallback_pool = 1;
    start();
}

START_TEST(the_fallback_takes_over)
{
    fall_back();
    expect(0, false, CHOICE_MADE, 0);
    set_health_of(0, SB_HEALTH_DOWN);
    expect(0, false, CHOICE_MADE, 1);
    ck_assert_uint_eq(active(1, 0), 1);
    expect(0, false, CHOICE_MADE, 1);
    ck_assert_uint_eq(active(1, 1), 1);
    bed_set_health(0, 3, SB_HEALTH_UP);
    expect(0, false, CHOICE_MADE, 0);
}
END_TEST

START_TEST(the_fallback_helps_who_has_tried_all)
{
    fall_back();
    expect(3, false, CHOICE_MADE, 0);
    expect(4, false, CHOICE_MADE, 1);
    expect(7, false, CHOICE_MADE, 1);
    ck_assert_uint_eq(active(1, 3), 1);
    expect(8, false, CHOICE_TRIED, 1);
    /* one of them may do a moment later: then it is waited for */
    expect(4, true, CHOICE_TRIED, 0);
    set_health_of(0, SB_HEALTH_DOWN);
    expect(4, true, CHOICE_MADE, 1);
}
END_TEST

START_TEST(the_fallback_is_not_for_the_full_or_the_starting)
{
    for (uint32_t i = 0; i < 4; i++)
        bed_set_limit(0, i, 1, 0);
    fall_back();
    for (int i = 0; i < 4; i++)
        expect(0, false, CHOICE_MADE, 0);
    expect(0, false, CHOICE_FULL, 0);
    set_health_of(0, SB_HEALTH_DOWN);
    bed_set_health(0, 0, SB_HEALTH_UNKNOWN);
    expect(0, false, CHOICE_STARTING, 0);
    ck_assert_uint_eq(active(1, 0), 0);
}
END_TEST

/* What was wrong with the pool itself is told where the fallback has nothing; else what is wrong
 * with the fallback. */
START_TEST(the_fallback_has_nothing_either)
{
    bed_set_limit(1, 0, 1, 0);
    fall_back();
    set_health_of(1, SB_HEALTH_DOWN);
    expect(4, false, CHOICE_TRIED, 0);
    set_health_of(0, SB_HEALTH_DOWN);
    expect(0, false, CHOICE_NONE, 0);

    bed_set_health(1, 1, SB_HEALTH_UNKNOWN);
    expect(0, false, CHOICE_STARTING, 1);
    bed_set_health(1, 0, SB_HEALTH_UP);
    expect(0, false, CHOICE_MADE, 1);
    expect(0, false, CHOICE_FULL, 1);
    set_health_of(0, SB_HEALTH_UP);
    expect(4, false, CHOICE_FULL, 1);
    expect(5, false, CHOICE_TRIED, 1);
}
END_TEST

static enum choice choose_new(void)
{
    struct addr_ip client = bed_client(1);
    struct choose_request request = {
        .client = &client, .destination = &client, .now_us = now_us, .is_new = true};
    return chooser_choose(chooser, &request, &chosen);
}

/* In whatever pool it comes to, whoever has another way to it. */
START_TEST(newcomers_stand_behind_those_who_wait)
{
    bed.pools[0].queue = bed.pools[1].queue = 10;
    fall_back();
    ck_assert_int_eq(choose_new(), CHOICE_MADE);
    atomic_store(&sb.pools[bed.pools[0].row].queued, 1);
    ck_assert_int_eq(choose_new(), CHOICE_FULL);
    ck_assert_uint_eq(chosen.pool, 0);
    expect(0, false, CHOICE_MADE, 0); /* no newcomer */
    atomic_store(&sb.pools[bed.pools[0].row].queued, 0);
    atomic_store(&sb.pools[bed.pools[1].row].queued, 1);
    ck_assert_int_eq(choose_new(), CHOICE_MADE);
    set_health_of(0, SB_HEALTH_DOWN);
    ck_assert_int_eq(choose_new(), CHOICE_FULL);
    ck_assert_uint_eq(chosen.pool, 1);
}
END_TEST

/* A lease on what nobody else is let to takes no place from those who wait. */
START_TEST(a_lease_goes_before_those_who_wait_for_others)
{
    bed.pools[0].queue = 10;
    start();
    ck_assert_int_eq(choose_new(), CHOICE_MADE);
    uint32_t mine = chosen.index;
    atomic_store(&sb.pools[bed.pools[0].row].queued, 1);
    ck_assert_int_eq(choose_new(), CHOICE_FULL);
    bed_backend(0, mine)->admin = ADMIN_DRAIN;
    next_generation();
    ck_assert_int_eq(choose_new(), CHOICE_MADE);
    ck_assert_uint_eq(chosen.index, mine);
}
END_TEST

START_TEST(who_waits_may_ask_again)
{
    bed.pools[0].queue = 10;
    for (uint32_t i = 0; i < 4; i++)
        bed_set_limit(0, i, 1, 0);
    start();
    ck_assert(chooser_may_serve(chooser, 0, now_us));
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(choose_new(), CHOICE_MADE);
    ck_assert(!chooser_may_serve(chooser, 0, now_us));
    scoreboard_release(&sb, 0, SB_SLOT, bed_slot(0, 2));
    ck_assert(chooser_may_serve(chooser, 0, now_us));
    ck_assert_int_eq(choose_new(), CHOICE_MADE);
    set_health_of(0, SB_HEALTH_DOWN); /* then they have to be told */
    ck_assert(chooser_may_serve(chooser, 0, now_us));
}
END_TEST

/* Nobody but those who have a lease on a backend that drains stays when the rest is gone. And who
 * has one on the fallback keeps it as long as that serves. */
START_TEST(leases_and_the_fallback)
{
    bed.services[0].fallback_pool = 1;
    start();
    ck_assert_int_eq(visit(1), 'a');
    bed_backend(0, 0)->admin = ADMIN_DRAIN;
    for (uint32_t i = 1; i < 4; i++)
        bed_set_health(0, i, SB_HEALTH_DOWN);
    next_generation();
    struct session returning = begin(1), new = begin(2), next = begin(3), again = begin(2);
    ck_assert_uint_eq(returning.pool, 0);
    ck_assert_uint_eq(returning.index, 0);
    ck_assert_uint_eq(new.pool, 1);
    ck_assert_uint_ne(next.index, new.index);
    ck_assert_uint_eq(again.pool, 1);
    ck_assert_uint_eq(again.index, new.index);

    bed_set_health(0, 2, SB_HEALTH_UP);
    again = begin(2); /* the pool itself comes first */
    ck_assert_uint_eq(again.pool, 0);
    ck_assert_uint_eq(again.index, 2);
}
END_TEST

static void add_leases(Suite *suite)
{
    TCase *tcase = tcase_create("leases");
    int n_schedulers = 0;

    while (sched_table[n_schedulers] != NULL)
        n_schedulers++;
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, a_client_keeps_its_backend, 0, n_schedulers);
    tcase_add_test(tcase, a_lease_ends);
    tcase_add_test(tcase, sessions_join_and_leave);
    tcase_add_test(tcase, without_persistence_there_is_none);
    tcase_add_loop_test(tcase, who_may_return, 0, CHANGE_COUNT);
    tcase_add_test(tcase, a_lease_moves_for_good);
    tcase_add_test(tcase, a_lease_moves_to_where_a_try_succeeded);
    tcase_add_test(tcase, a_lease_is_no_way_around_the_limit);
    tcase_add_test(tcase, clients_under_one_mask_share_a_lease);
    tcase_add_test(tcase, another_services_lease_is_another);
    tcase_add_test(tcase, workers_share_leases);
    tcase_add_test(tcase, a_lease_outlasts_a_reload);
    tcase_add_test(tcase, a_lease_in_another_pool_is_none);
    suite_add_tcase(suite, tcase);
}

static void add_fallback(Suite *suite)
{
    TCase *tcase = tcase_create("fallback");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_fallback_takes_over);
    tcase_add_test(tcase, the_fallback_helps_who_has_tried_all);
    tcase_add_test(tcase, the_fallback_is_not_for_the_full_or_the_starting);
    tcase_add_test(tcase, the_fallback_has_nothing_either);
    tcase_add_test(tcase, leases_and_the_fallback);
    tcase_add_test(tcase, newcomers_stand_behind_those_who_wait);
    tcase_add_test(tcase, a_lease_goes_before_those_who_wait_for_others);
    tcase_add_test(tcase, who_waits_may_ask_again);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("sched lease");
    add_leases(suite);
    add_fallback(suite);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
