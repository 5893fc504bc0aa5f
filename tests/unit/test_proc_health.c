/*
 * What is answered of health: a no at once, a yes again only after it has held, and what of it
 * becomes an event. Time is handed in.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proc/master.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

enum { A, B, OTHER, BACKENDS };

static struct {
    struct snapshot_header header;
    struct snapshot_service services[2];
    struct snapshot_pool pools[2];
    struct snapshot_backend backends[BACKENDS];
} made;

static struct model_service services[2];
static struct model model = {.services = services, .n_services = 2};
static struct master *master;
static size_t n_seen; /* events looked at */
static uint64_t now_ms;
static struct ctl_health answer;

/* Service site of pool web with a and b, service mail of pool other with one; all have checks. */
static void make_snapshot(void)
{
    static const char *const names[BACKENDS] = {"a", "b", "o"};

    memset(&made, 0, sizeof(made));
    made.header = (struct snapshot_header){
        .generation = 1,
        .n_services = COUNT(made.services),
        .n_pools = COUNT(made.pools),
        .n_backends = BACKENDS,
        .services_offset = offsetof(__typeof__(made), services),
        .pools_offset = offsetof(__typeof__(made), pools),
        .backends_offset = offsetof(__typeof__(made), backends),
    };
    made.services[0] = (struct snapshot_service){
        .name = "site", .row = 3, .pool = 0, .fallback_pool = SNAPSHOT_NONE};
    made.services[1] = (struct snapshot_service){
        .name = "mail", .row = 1, .pool = 1, .fallback_pool = SNAPSHOT_NONE};
    made.pools[0] = (struct snapshot_pool){.name = "web", .n_backends = 2, .min_healthy = 1};
    made.pools[1] = (struct snapshot_pool){
        .name = "other", .row = 1, .first_backend = OTHER, .n_backends = 1, .min_healthy = 1};
    for (uint32_t i = 0; i < BACKENDS; i++) {
        made.backends[i] =
            (struct snapshot_backend){.address = {.ip = {.family = ADDR_IPV4, .port = 80}},
                                      .slot = 10 + i,
                                      .row = i,
                                      .weight = 1,
                                      .n_checks = 1};
        strcpy(made.backends[i].name, names[i]);
    }
    for (int i = 0; i < COUNT(services); i++)
        services[i] = (struct model_service){.name = made.services[i].name, .healthz = true};
}

static void set(int index, enum sb_health health)
{
    scoreboard_set_health(&master->sb, made.backends[index].slot, health, "", 1000);
}

static void set_all(enum sb_health health)
{
    for (int i = A; i < BACKENDS; i++)
        set(i, health);
}

/* So much later. */
static void later(uint64_t ms)
{
    now_ms += ms;
    health_watch(master, now_ms);
}

/* index -1: the whole. Whether the answer is that one. */
static bool says(int index, bool healthy, const char *reason)
{
    health_answer(master, index < 0 ? NULL : &services[index], now_ms, &answer);
    ck_assert_str_eq(answer.reason, reason);
    return answer.healthy == healthy;
}

static const char *next_event(void)
{
    ck_assert_msg(n_seen < events_count(master->events), "there is no further event");
    return events_get(master->events, n_seen++)->text;
}

static void nothing_more(void)
{
    if (n_seen < events_count(master->events))
        ck_abort_msg("unexpected: %s", next_event());
}

static void setup(void)
{
    make_snapshot();
    n_seen = 0;
    now_ms = 1000000;
    master = calloc(1, sizeof(*master));
    ck_assert_ptr_nonnull(master);
    ck_assert_int_eq(scoreboard_create(&master->sb, 1, 1, 1), 0);
    master->events = events_create();
    master->running = &made.header;
    master->model = &model;
}

/* All are up, and that was seen. */
static void setup_up(void)
{
    setup();
    set_all(SB_HEALTH_UP);
    later(1);
    ck_assert_str_eq(next_event(), "health answers say yes: 2 services are healthy");
    nothing_more();
}

static void teardown(void)
{
    events_destroy(master->events);
    scoreboard_destroy(&master->sb);
    free(master);
}

/* --- one service --- */

START_TEST(a_no_counts_at_once)
{
    set(A, SB_HEALTH_DOWN);
    ck_assert(says(0, true, "1 of 2 backends up"));
    set(B, SB_HEALTH_DOWN);
    ck_assert(says(0, false, "no primary is up, 0 of 2: 2 down"));
    ck_assert(says(1, true, "1 of 1 backends up"));
    ck_assert(says(-1, false, "1 of 2 services are unhealthy: site"));
    ck_assert_str_eq(events_get(master->events, n_seen)->kind, "healthz");
    ck_assert_str_eq(events_get(master->events, n_seen)->pool, "web");
    ck_assert_str_eq(next_event(), "service site is unhealthy: no primary is up, 0 of 2: 2 down");
    ck_assert_str_eq(next_event(), "health answers say no: 1 of 2 services are unhealthy: site");
    nothing_more();
}
END_TEST

START_TEST(a_yes_counts_after_three_seconds)
{
    set(A, SB_HEALTH_DOWN);
    set(B, SB_HEALTH_DOWN);
    later(1);
    n_seen = 3;
    later(60000);
    set(B, SB_HEALTH_UP);
    later(1);
    ck_assert(says(0, false, "healthy again, counts in 3 s: 1 of 2 backends up"));
    later(1999);
    ck_assert(says(0, false, "healthy again, counts in 2 s: 1 of 2 backends up"));
    later(1000);
    ck_assert(says(0, false, "healthy again, counts in 1 s: 1 of 2 backends up"));
    ck_assert(says(-1, false, "1 of 2 services are unhealthy: site"));
    nothing_more();
    later(1);
    ck_assert(says(0, true, "1 of 2 backends up"));
    ck_assert_str_eq(next_event(), "service site is healthy again: 1 of 2 backends up");
    ck_assert_str_eq(next_event(), "health answers say yes: 2 services are healthy");
    nothing_more();
}
END_TEST

START_TEST(an_interruption_begins_it_anew)
{
    set(A, SB_HEALTH_DOWN);
    set(B, SB_HEALTH_DOWN);
    later(1);
    set(B, SB_HEALTH_UP);
    later(1);
    later(2900);
    set(B, SB_HEALTH_DOWN);
    later(1);
    set(B, SB_HEALTH_UP);
    later(1);
    later(2999);
    ck_assert(says(0, false, "healthy again, counts in 1 s: 1 of 2 backends up"));
    set(B, SB_HEALTH_UNKNOWN); /* that is one too */
    later(1);
    ck_assert(says(0, false, "not known yet: no primary is up, 0 of 2: 1 down, 1 starting"));
    set(B, SB_HEALTH_UP);
    later(1);
    later(2999);
    ck_assert(says(0, false, "healthy again, counts in 1 s: 1 of 2 backends up"));
    later(1);
    ck_assert(says(0, true, "1 of 2 backends up"));
}
END_TEST

/* One backend goes while another comes: there was always somebody. */
START_TEST(who_it_is_does_not_matter)
{
    set(B, SB_HEALTH_DOWN);
    later(1);
    set(B, SB_HEALTH_UP);
    set(A, SB_HEALTH_DOWN);
    later(1);
    ck_assert(says(0, true, "1 of 2 backends up"));
    nothing_more();
}
END_TEST

START_TEST(a_fallback_makes_nobody_healthy)
{
    made.services[0].fallback_pool = 1;
    set(A, SB_HEALTH_DOWN);
    set(B, SB_HEALTH_DOWN);
    ck_assert(says(0, false,
                   "no primary is up, 0 of 2: 2 down; fallback pool other serves, which makes "
                   "nobody healthy"));
}
END_TEST

/* --- beginnings --- */

START_TEST(the_first_word_counts_at_once)
{
    later(0);
    ck_assert(says(0, false, "not known yet: no primary is up, 0 of 2: 2 starting"));
    ck_assert(says(-1, false, "2 of 2 services are unhealthy: site, mail"));
    later(60000);
    set(A, SB_HEALTH_DOWN); /* the other may yet turn out to be up */
    later(1);
    set(B, SB_HEALTH_UP);
    ck_assert(says(0, true, "1 of 2 backends up"));
    set(OTHER, SB_HEALTH_UP);
    ck_assert(says(-1, true, "2 services are healthy"));
    ck_assert_str_eq(next_event(), "health answers say yes: 2 services are healthy");
    nothing_more();
}
END_TEST

START_TEST(a_bad_beginning_is_told_and_held)
{
    set_all(SB_HEALTH_DOWN);
    set(OTHER, SB_HEALTH_UP);
    later(1);
    ck_assert_str_eq(next_event(), "service site is unhealthy: no primary is up, 0 of 2: 2 down");
    nothing_more();
    set(A, SB_HEALTH_UP);
    ck_assert(says(0, false, "healthy again, counts in 3 s: 1 of 2 backends up"));
}
END_TEST

/* A reload gave the pool other addresses: nobody knows yet, and clients wait. */
START_TEST(a_reload_turns_no_answer_by_itself)
{
    made.header.generation = 2;
    made.backends[A].slot = 20;
    made.backends[B].slot = 21;
    later(1);
    ck_assert(says(0, true,
                   "not known yet, counts as healthy for 3 s: no primary is up, 0 of 2: "
                   "2 starting"));
    later(2999);
    ck_assert(says(0, true,
                   "not known yet, counts as healthy for 1 s: no primary is up, 0 of 2: "
                   "2 starting"));
    nothing_more();
    later(1);
    ck_assert(says(0, false, "not known yet: no primary is up, 0 of 2: 2 starting"));
    ck_assert_str_eq(next_event(), "service site is unhealthy: not known yet: no primary is up, 0 "
                                   "of 2: 2 starting");
    n_seen++;
    set(A, SB_HEALTH_UP);
    later(1);
    ck_assert(says(0, false, "healthy again, counts in 3 s: 1 of 2 backends up"));
}
END_TEST

START_TEST(a_service_that_a_reload_brings_begins_with_a_yes)
{
    made.header.generation = 2;
    strcpy(made.services[1].name, "news"); /* the row of mail, which is gone */
    set(OTHER, SB_HEALTH_UNKNOWN);
    later(1);
    ck_assert(says(1, true,
                   "not known yet, counts as healthy for 3 s: no primary is up, 0 of 1: "
                   "1 starting"));
    ck_assert(says(-1, true, "2 services are healthy"));
    set(OTHER, SB_HEALTH_UP);
    later(1);
    ck_assert(says(1, true, "1 of 1 backends up"));
    nothing_more();
    made.header.generation = 3;
    strcpy(made.services[1].name, "more");
    set(OTHER, SB_HEALTH_DOWN);
    later(1);
    ck_assert(says(1, false, "no primary is up, 0 of 1: 1 down"));
    ck_assert_str_eq(next_event(), "service more is unhealthy: no primary is up, 0 of 1: 1 down");
    made.header.generation = 4;
    strcpy(made.services[1].name, "last"); /* nothing of its predecessor's is held against it */
    set(OTHER, SB_HEALTH_UP);
    later(1);
    ck_assert(says(1, true, "1 of 1 backends up"));
}
END_TEST

/* --- the whole --- */

START_TEST(only_those_that_count_count)
{
    services[0].healthz = false;
    set(A, SB_HEALTH_DOWN);
    set(B, SB_HEALTH_DOWN);
    ck_assert(says(0, false, "no primary is up, 0 of 2: 2 down"));
    ck_assert(says(-1, true, "1 service is healthy"));
    services[1].healthz = false;
    ck_assert(says(-1, true, "no service counts"));
}
END_TEST

START_TEST(a_stop_is_a_no)
{
    master->leaving = true;
    master->delay_until_ms = now_ms + 7500;
    ck_assert(says(0, false, "the daemon is stopping: clients are accepted for 8 s more"));
    ck_assert(says(-1, false, "the daemon is stopping: clients are accepted for 8 s more"));
    ck_assert_str_eq(next_event(), "health answers say no: the daemon is stopping: clients are "
                                   "accepted for 8 s more");
    nothing_more();
    master->stopping = true;
    ck_assert(says(0, false, "the daemon is stopping"));
}
END_TEST

static struct ctl_who who = {.text = "uid 7 pid 42", .why = "new site"};

START_TEST(the_operator_has_the_last_word)
{
    const struct event_record *record;

    ck_assert(!health_set_fail(master, false, &who, now_ms));
    nothing_more();
    ck_assert(health_set_fail(master, true, &who, now_ms));
    ck_assert(!health_set_fail(master, true, &who, now_ms));
    ck_assert_uint_eq(atomic_load(&master->sb.header->health_fail), 1);
    record = events_get(master->events, n_seen);
    ck_assert_str_eq(record->kind, "admin");
    ck_assert_str_eq(record->by, "uid 7 pid 42");
    ck_assert_str_eq(record->why, "new site");
    ck_assert_str_eq(next_event(), "global: health auto -> fail");
    ck_assert_str_eq(next_event(),
                     "health answers say no: set global health=fail by uid 7 pid 42: new site");
    nothing_more();
    ck_assert(says(0, false, "set global health=fail by uid 7 pid 42: new site"));
    ck_assert(says(-1, false, "set global health=fail by uid 7 pid 42: new site"));
    ck_assert(health_set_fail(master, false, &who, now_ms));
    ck_assert_uint_eq(atomic_load(&master->sb.header->health_fail), 0);
    ck_assert(says(-1, true, "2 services are healthy")); /* it was so all the time */
    ck_assert_str_eq(next_event(), "global: health fail -> auto");
    ck_assert_str_eq(next_event(), "health answers say yes: 2 services are healthy");
    nothing_more();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/health");
    TCase *begun = tcase_create("begun"), *fresh = tcase_create("fresh");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(begun, setup_up, teardown);
    tcase_add_test(begun, a_no_counts_at_once);
    tcase_add_test(begun, a_yes_counts_after_three_seconds);
    tcase_add_test(begun, an_interruption_begins_it_anew);
    tcase_add_test(begun, who_it_is_does_not_matter);
    tcase_add_test(begun, a_fallback_makes_nobody_healthy);
    tcase_add_test(begun, a_reload_turns_no_answer_by_itself);
    tcase_add_test(begun, a_service_that_a_reload_brings_begins_with_a_yes);
    tcase_add_test(begun, only_those_that_count_count);
    tcase_add_test(begun, a_stop_is_a_no);
    tcase_add_test(begun, the_operator_has_the_last_word);
    suite_add_tcase(suite, begun);
    tcase_add_checked_fixture(fresh, setup, teardown);
    tcase_add_test(fresh, the_first_word_counts_at_once);
    tcase_add_test(fresh, a_bad_beginning_is_told_and_held);
    suite_add_tcase(suite, fresh);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
