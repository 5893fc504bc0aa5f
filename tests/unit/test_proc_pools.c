/*
 * What master tells of pools as a whole: each transition once, with its figures, and nothing for
 * what has not changed, is not known yet, or is only load.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proc/master.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

enum { A, B, C, D, E, SORRY, BACKENDS };

static struct {
    struct snapshot_header header;
    struct snapshot_service services[1];
    struct snapshot_pool pools[2];
    struct snapshot_backend backends[BACKENDS];
} made;

static struct model_service services[1] = {{.name = (char *)"site", .healthz = true}};
static struct model model = {.services = services, .n_services = 1};
static struct master *master;
static size_t n_seen; /* events looked at */

/* Pool web of a to e, of which e is a backup, and pool sorry with one; all have checks. */
static void make_snapshot(void)
{
    static const char *const names[BACKENDS] = {"a", "b", "c", "d", "e", "s"};

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
    made.services[0] =
        (struct snapshot_service){.name = "site", .row = 3, .pool = 0, .fallback_pool = 1};
    made.pools[0] = (struct snapshot_pool){
        .name = "web", .row = 5, .n_backends = 5, .min_healthy = 1, .panic_threshold = 0};
    made.pools[1] = (struct snapshot_pool){
        .name = "sorry", .row = 2, .first_backend = SORRY, .n_backends = 1, .min_healthy = 1};
    for (uint32_t i = 0; i < BACKENDS; i++) {
        made.backends[i] = (struct snapshot_backend){
            .address = {.ip = {.family = ADDR_IPV4, .port = 80}},
            .slot = 10 + i,
            .row = i,
            .weight = 1,
            .n_checks = 1,
            .backup = i == E,
        };
        strcpy(made.backends[i].name, names[i]);
    }
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

static void publish_again(void)
{
    made.header.generation++;
    pools_watch(master);
}

/* Answers about health have a test of their own. */
static void skip_healthz(void)
{
    while (n_seen < events_count(master->events) &&
           strcmp(events_get(master->events, n_seen)->kind, "healthz") == 0)
        n_seen++;
}

/* The next event, looked at once. */
static const char *next_event(void)
{
    skip_healthz();
    ck_assert_msg(n_seen < events_count(master->events), "there is no further event");
    return events_get(master->events, n_seen++)->text;
}

static void nothing_more(void)
{
    skip_healthz();
    if (n_seen < events_count(master->events))
        ck_abort_msg("unexpected: %s", next_event());
}

static void quiet(void)
{
    pools_watch(master);
    nothing_more();
}

static void setup(void)
{
    make_snapshot();
    n_seen = 0;
    master = calloc(1, sizeof(*master));
    ck_assert_ptr_nonnull(master);
    ck_assert_int_eq(scoreboard_create(&master->sb, 1, 1, 1), 0);
    master->children = calloc(1, sizeof(*master->children));
    ck_assert_ptr_nonnull(master->children);
    master->events = events_create();
    master->running = &made.header;
    master->model = &model;
}

/* All are up, and that was seen. */
static void setup_up(void)
{
    setup();
    set_all(SB_HEALTH_UP);
    quiet();
}

static void teardown(void)
{
    events_destroy(master->events);
    scoreboard_destroy(&master->sb);
    free(master->children);
    free(master);
}

/* --- transitions --- */

START_TEST(a_pool_is_lost_and_restored)
{
    const struct event_record *record;

    made.services[0].fallback_pool = SNAPSHOT_NONE;
    set_all(SB_HEALTH_DOWN);
    set(SORRY, SB_HEALTH_UP);
    made.backends[A].admin = ADMIN_MAINTENANCE;
    pools_watch(master);
    skip_healthz();
    record = events_get(master->events, n_seen);
    ck_assert_str_eq(record->kind, "pool");
    ck_assert_str_eq(record->pool, "web");
    ck_assert_str_eq(record->by, "master");
    ck_assert_str_eq(next_event(),
                     "pool lost: no backend takes new sessions: 1 maintenance, 4 down");
    nothing_more();
    quiet();
    publish_again();
    nothing_more();
    set(B, SB_HEALTH_UP);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "pool restored: 1 of 5 backends takes new sessions");
    set(C, SB_HEALTH_UP);
    quiet();
}
END_TEST

START_TEST(backups_come_and_go)
{
    for (int i = A; i <= C; i++)
        set(i, SB_HEALTH_DOWN);
    quiet();
    set(D, SB_HEALTH_DOWN);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "backups in use: 0 of 1 needed primaries are up");
    set(A, SB_HEALTH_UP);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "backups no longer in use: 1 primary is up, 1 needed");
    made.pools[0].min_healthy = 3;
    publish_again();
    ck_assert_str_eq(next_event(), "backups in use: 1 of 3 needed primaries are up");
    set(E, SB_HEALTH_DOWN);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "backups no longer in use, none takes new sessions: 1 of 3 "
                                   "needed primaries are up");
    quiet();
}
END_TEST

START_TEST(panic_begins_and_ends)
{
    made.pools[0].panic_threshold = 50;
    for (int i = A; i <= B; i++)
        set(i, SB_HEALTH_DOWN);
    quiet();
    set(C, SB_HEALTH_DOWN);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "panic begins, health is ignored: 2 of 5 up, threshold 50 %");
    /* Nobody is lost in a panic, and everyone shares the load. */
    set_all(SB_HEALTH_DOWN);
    set(SORRY, SB_HEALTH_UP);
    quiet();
    for (int i = A; i <= C; i++)
        set(i, SB_HEALTH_UP);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "panic ends: 3 of 5 up, threshold 50 %");
    nothing_more();
}
END_TEST

START_TEST(backups_are_told_of_after_a_panic)
{
    made.pools[0].panic_threshold = 21;
    for (int i = A; i <= C; i++)
        set(i, SB_HEALTH_DOWN);
    set(E, SB_HEALTH_DOWN);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "panic begins, health is ignored: 1 of 5 up, threshold 21 %");
    set(D, SB_HEALTH_DOWN);
    quiet();
    made.pools[0].panic_threshold = 0;
    set(E, SB_HEALTH_UP);
    publish_again();
    ck_assert_str_eq(next_event(), "backups in use: 0 of 1 needed primaries are up");
    ck_assert_str_eq(next_event(), "panic ends: 1 of 5 up, threshold 0 %");
    nothing_more();
}
END_TEST

START_TEST(a_service_uses_its_fallback)
{
    for (int i = A; i <= E; i++)
        set(i, SB_HEALTH_DOWN);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "pool lost: no backend takes new sessions: 5 down");
    ck_assert_str_eq(events_get(master->events, n_seen)->kind, "service");
    ck_assert_str_eq(next_event(), "service site uses its fallback pool sorry: pool web has no "
                                   "eligible backend: 5 down");
    quiet();
    set(SORRY, SB_HEALTH_DOWN);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "pool lost: no backend takes new sessions: 1 down");
    ck_assert_str_eq(next_event(),
                     "service site no longer uses its fallback pool: it has no eligible backend "
                     "either");
    set(SORRY, SB_HEALTH_UP);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "pool restored: 1 of 1 backends takes new sessions");
    ck_assert_str_eq(next_event(), "service site uses its fallback pool sorry: pool web has no "
                                   "eligible backend: 5 down");
    set(B, SB_HEALTH_UP);
    set(C, SB_HEALTH_UP);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "pool restored: 2 of 5 backends take new sessions");
    ck_assert_str_eq(next_event(), "service site no longer uses its fallback pool: in pool web 2 "
                                   "of 5 backends take new sessions");
    quiet();
}
END_TEST

/* --- beginnings --- */

/* What is configured so is not news, but that a pool has nobody is. */
START_TEST(a_beginning_is_silent)
{
    set_all(SB_HEALTH_DOWN);
    set(E, SB_HEALTH_UP);
    set(SORRY, SB_HEALTH_UP);
    made.pools[0].panic_threshold = 50;
    quiet();
    set(A, SB_HEALTH_UP);
    set(B, SB_HEALTH_UP);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "backups no longer in use: 2 primaries are up, 1 needed");
    ck_assert_str_eq(next_event(), "panic ends: 3 of 5 up, threshold 50 %");
    nothing_more();
}
END_TEST

START_TEST(a_pool_that_begins_lost_is_told)
{
    set_all(SB_HEALTH_DOWN);
    set(SORRY, SB_HEALTH_UP);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "pool lost: no backend takes new sessions: 5 down");
    nothing_more();
}
END_TEST

/* Results come one after the other, and some late: nothing is told before all are there. */
START_TEST(nothing_is_told_before_health_is_known)
{
    set(SORRY, SB_HEALTH_UP);
    quiet();
    set(E, SB_HEALTH_UP);
    quiet();
    set(A, SB_HEALTH_DOWN);
    quiet();
    set(B, SB_HEALTH_UP);
    set(C, SB_HEALTH_UP);
    quiet();
    set(D, SB_HEALTH_UP);
    quiet();
}
END_TEST

START_TEST(what_is_found_at_last_is_told)
{
    set(SORRY, SB_HEALTH_UP);
    set(E, SB_HEALTH_UP);
    quiet();
    for (int i = A; i <= D; i++)
        set(i, SB_HEALTH_DOWN);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "backups in use: 0 of 1 needed primaries are up");
    nothing_more();
}
END_TEST

/* Later on, clients may go to those who are up while a newcomer is being checked. */
START_TEST(a_newcomer_holds_nothing_back)
{
    set(E, SB_HEALTH_UNKNOWN);
    for (int i = A; i <= C; i++)
        set(i, SB_HEALTH_DOWN);
    quiet();
    set(D, SB_HEALTH_DOWN);
    quiet(); /* E may yet turn out to be up */
    set(E, SB_HEALTH_DOWN);
    pools_watch(master);
    ck_assert_str_eq(next_event(), "pool lost: no backend takes new sessions: 5 down");
}
END_TEST

START_TEST(load_never_counts)
{
    for (int i = A; i < BACKENDS; i++) {
        made.backends[i].max_connections = 1;
        made.backends[i].resume_connections = 1;
        atomic_store(&master->sb.slot_active[made.backends[i].slot], 1);
    }
    publish_again();
    nothing_more();
}
END_TEST

/* Not every change is reported: a sweep looks where the epoch has moved. */
START_TEST(a_sweep_finds_what_nobody_told)
{
    made.services[0].fallback_pool = SNAPSHOT_NONE;
    pools_sweep(master);
    nothing_more();
    set_all(SB_HEALTH_DOWN);
    set(SORRY, SB_HEALTH_UP);
    pools_sweep(master);
    ck_assert_str_eq(next_event(), "pool lost: no backend takes new sessions: 5 down");
    pools_sweep(master);
    nothing_more();
}
END_TEST

/* A row that another pool has got, and one that comes back later, begin anew. */
START_TEST(rows_are_known_by_name_and_time)
{
    made.services[0].fallback_pool = SNAPSHOT_NONE;
    set_all(SB_HEALTH_DOWN);
    set(SORRY, SB_HEALTH_UP);
    publish_again();
    ck_assert_str_eq(next_event(), "pool lost: no backend takes new sessions: 5 down");
    strcpy(made.pools[0].name, "other");
    publish_again();
    ck_assert_str_eq(next_event(), "pool lost: no backend takes new sessions: 5 down");
    made.header.generation += 2; /* not there for a while */
    set_all(SB_HEALTH_UP);
    quiet();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/pools");
    TCase *begun = tcase_create("begun"), *fresh = tcase_create("fresh");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(begun, setup_up, teardown);
    tcase_add_test(begun, a_pool_is_lost_and_restored);
    tcase_add_test(begun, backups_come_and_go);
    tcase_add_test(begun, panic_begins_and_ends);
    tcase_add_test(begun, backups_are_told_of_after_a_panic);
    tcase_add_test(begun, a_service_uses_its_fallback);
    tcase_add_test(begun, a_newcomer_holds_nothing_back);
    tcase_add_test(begun, load_never_counts);
    tcase_add_test(begun, a_sweep_finds_what_nobody_told);
    tcase_add_test(begun, rows_are_known_by_name_and_time);
    suite_add_tcase(suite, begun);
    tcase_add_checked_fixture(fresh, setup, teardown);
    tcase_add_test(fresh, a_beginning_is_silent);
    tcase_add_test(fresh, a_pool_that_begins_lost_is_told);
    tcase_add_test(fresh, nothing_is_told_before_health_is_known);
    tcase_add_test(fresh, what_is_found_at_last_is_told);
    suite_add_tcase(suite, fresh);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
