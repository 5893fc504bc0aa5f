/*
 * What master tells of reuse that does not happen: each thing once, with what would help; and that
 * backends try again when the settings are others.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proc/master.h"

enum { A, B, BACKENDS };

static struct {
    struct snapshot_header header;
    struct snapshot_pool pools[2];
    struct snapshot_backend backends[BACKENDS];
} made;

static struct model model;
static struct master *master;
static size_t n_seen; /* events looked at */
static uint64_t now_ms;

/* Pool cache of a and b, which keeps connections, and pool plain of nobody, which does not. */
static void setup(void)
{
    memset(&made, 0, sizeof(made));
    made.header = (struct snapshot_header){
        .generation = 1,
        .n_pools = 2,
        .n_backends = BACKENDS,
        .pools_offset = offsetof(__typeof__(made), pools),
        .backends_offset = offsetof(__typeof__(made), backends),
    };
    made.pools[0] = (struct snapshot_pool){
        .name = "cache",
        .row = 5,
        .n_backends = BACKENDS,
        .reuse = {.mode = REUSE_REQUEST, .framing = FRAMING_RESP, .settings = 7},
    };
    made.pools[1] = (struct snapshot_pool){.name = "plain", .row = 2, .first_backend = BACKENDS};
    for (uint32_t i = 0; i < BACKENDS; i++) {
        made.backends[i] = (struct snapshot_backend){.slot = 10 + i, .row = i, .weight = 1};
        made.backends[i].name[0] = (char)('a' + i);
    }
    n_seen = 0;
    now_ms = 100000;
    model.generation = 1;
    master = calloc(1, sizeof(*master));
    ck_assert_ptr_nonnull(master);
    ck_assert_int_eq(scoreboard_create(&master->sb, 1, 1, 1), 0);
    master->n_workers = 1;
    master->children = calloc(2, sizeof(*master->children));
    ck_assert_ptr_nonnull(master->children);
    master->children[0].pid = 1;
    atomic_store(&master->sb.workers[0].generation, 1);
    master->events = events_create();
    master->running = &made.header;
    master->model = &model;
    reuse_watch(master, now_ms);
}

static void teardown(void)
{
    events_destroy(master->events);
    scoreboard_destroy(&master->sb);
    free(master->children);
    free(master);
}

/* A second later. */
static void tick(void)
{
    now_ms += 1000;
    reuse_watch(master, now_ms);
}

/* A new generation that the worker does not have yet. */
static void publish_again(void)
{
    made.header.generation++;
    model.generation = made.header.generation;
    reuse_watch(master, now_ms);
}

static void catch_up(void)
{
    atomic_store(&master->sb.workers[0].generation, made.header.generation);
}

static const struct event_record *next_event(void)
{
    ck_assert_msg(n_seen < events_count(master->events), "there is no further event");
    return events_get(master->events, n_seen++);
}

static void nothing_more(void)
{
    if (n_seen < events_count(master->events))
        ck_abort_msg("unexpected: %s", next_event()->text);
}

static void quiet(void)
{
    tick();
    nothing_more();
}

#define says(text, part)                                                                           \
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in: %s", part, text)

/* --- backends that have switched it off --- */

static _Atomic uint32_t *trouble(int index)
{
    return &master->sb.slots[made.backends[index].slot].reuse_trouble;
}

START_TEST(trouble_is_told_once)
{
    const struct event_record *record;

    quiet();
    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    tick();
    record = next_event();
    ck_assert_str_eq(record->kind, "reuse");
    ck_assert_str_eq(record->pool, "cache");
    ck_assert_str_eq(record->backend, "a");
    ck_assert_str_eq(record->by, "master");
    ck_assert_str_eq(record->text,
                     "pool cache: backend a speaks first, so its connections are not reused: write "
                     "mode = \"warm\", in which a greeting waits for its client, or \"off\"; it is "
                     "tried again when its address or the pool's reuse settings change, not by a "
                     "reload alone");
    nothing_more();
    quiet();
    publish_again();
    catch_up();
    quiet();
    ck_assert_uint_eq(atomic_load(trouble(A)), REUSE_SPEAKS_FIRST);
    atomic_store(trouble(B), REUSE_SPEAKS_FIRST);
    tick();
    ck_assert_str_eq(next_event()->backend, "b");
    nothing_more();
}
END_TEST

START_TEST(what_is_no_trouble_is_not_told)
{
    atomic_store(trouble(A), REUSE_TROUBLE_COUNT);
    quiet();
}
END_TEST

/* Its address has changed to another of the kind, and back. */
START_TEST(trouble_is_of_a_slot)
{
    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    tick();
    next_event();
    made.backends[A].slot = 20;
    publish_again();
    nothing_more();
    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    tick();
    ck_assert_str_eq(next_event()->backend, "a");
    made.backends[A].slot = 10;
    atomic_store(trouble(A), REUSE_FINE); /* cleared, as the slot is used anew */
    publish_again();
    nothing_more();
    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    tick();
    ck_assert_str_eq(next_event()->backend, "a");
    quiet();
}
END_TEST

/* Its row may be another's by now. */
START_TEST(who_was_away_is_told_of_again)
{
    atomic_store(trouble(B), REUSE_SPEAKS_FIRST);
    tick();
    next_event();
    made.pools[0].n_backends = 1;
    publish_again();
    made.pools[0].n_backends = 2;
    strcpy(made.backends[B].name, "c");
    publish_again();
    ck_assert_str_eq(next_event()->backend, "c");
    quiet();
}
END_TEST

START_TEST(other_settings_are_tried)
{
    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    tick();
    next_event();
    made.pools[0].reuse = (struct snapshot_reuse){.mode = REUSE_WARM, .settings = 8};
    publish_again();
    quiet();
    /* The worker that still has the old ones could set it again. */
    ck_assert_uint_eq(atomic_load(trouble(A)), REUSE_SPEAKS_FIRST);
    catch_up();
    quiet();
    ck_assert_uint_eq(atomic_load(trouble(A)), REUSE_FINE);
    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    tick();
    ck_assert_str_eq(next_event()->backend, "a");
    quiet();
    ck_assert_uint_eq(atomic_load(trouble(A)), REUSE_SPEAKS_FIRST);
}
END_TEST

START_TEST(off_and_on_again_is_a_change)
{
    const struct snapshot_reuse on = made.pools[0].reuse;

    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    tick();
    next_event();
    made.pools[0].reuse = (struct snapshot_reuse){.mode = REUSE_OFF};
    publish_again();
    nothing_more();
    made.pools[0].reuse = on;
    publish_again();
    catch_up();
    quiet();
    ck_assert_uint_eq(atomic_load(trouble(A)), REUSE_FINE);
}
END_TEST

/* Its backends may have got the slots back that they had before. */
START_TEST(a_pool_that_was_away_is_tried)
{
    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    tick();
    next_event();
    made.header.generation++;
    publish_again();
    catch_up();
    quiet();
    ck_assert_uint_eq(atomic_load(trouble(A)), REUSE_FINE);
}
END_TEST

START_TEST(pools_without_reuse_are_not_looked_at)
{
    made.pools[0].reuse = (struct snapshot_reuse){.mode = REUSE_OFF};
    publish_again();
    catch_up();
    tick();
    atomic_store(trouble(A), REUSE_SPEAKS_FIRST);
    atomic_store(&master->sb.pools[5].framed_sessions, 100);
    atomic_store(&master->sb.pools[5].pinned_sessions, 100);
    quiet();
    quiet();
}
END_TEST

/* --- sessions that own --- */

/* So many more sessions, and of them so many that own, by command. */
static void sessions(uint64_t framed, uint64_t pinned, const char *command)
{
    struct sb_pool *pool = &master->sb.pools[made.pools[0].row];

    atomic_fetch_add(&pool->framed_sessions, framed);
    atomic_fetch_add(&pool->pinned_sessions, pinned);
    strcpy(pool->pin_command, command);
}

START_TEST(most_own)
{
    const struct event_record *record;

    sessions(40, 37, "SUBSCRIBE");
    tick();
    record = next_event();
    ck_assert_str_eq(record->kind, "reuse");
    ck_assert_str_eq(record->pool, "cache");
    ck_assert_str_eq(record->backend, "");
    ck_assert_str_eq(record->text,
                     "pool cache: most sessions come to own their connection to the backend, so it "
                     "is not reused: 37 of 40 within 10 s, the last by SUBSCRIBE; clients that "
                     "need it are better off with a service and a pool of their own, without "
                     "reuse");
    nothing_more();
}
END_TEST

START_TEST(a_handshake_has_its_own_advice)
{
    sessions(20, 20, "HELLO");
    tick();
    says(next_event()->text, "the last by HELLO; handshake = \"key\" lets sessions that begin "
                             "alike share");
}
END_TEST

START_TEST(half_is_not_most)
{
    sessions(40, 20, "SUBSCRIBE");
    quiet();
    sessions(1, 1, "SUBSCRIBE");
    tick();
    says(next_event()->text, ": 21 of 41 within");
}
END_TEST

START_TEST(few_prove_nothing)
{
    sessions(19, 19, "SUBSCRIBE");
    quiet();
    sessions(1, 1, "SUBSCRIBE");
    tick();
    says(next_event()->text, ": 20 of 20 within");
}
END_TEST

/* Ten seconds are looked at, not more. */
START_TEST(the_past_is_forgotten)
{
    for (int i = 0; i < 40; i++) {
        sessions(1, 1, "SUBSCRIBE");
        quiet();
    }
    for (int i = 0; i < 9; i++) {
        sessions(2, 2, "SUBSCRIBE");
        quiet();
    }
    sessions(2, 2, "SUBSCRIBE");
    tick();
    says(next_event()->text, ": 20 of 20 within");
}
END_TEST

/* Looks between two seconds, after publishing, take no samples. */
START_TEST(more_looks_make_no_difference)
{
    for (int i = 0; i < 9; i++) {
        sessions(1, 1, "SUBSCRIBE");
        for (int k = 0; k < 20; k++)
            reuse_watch(master, now_ms);
        quiet();
    }
    sessions(11, 11, "SUBSCRIBE");
    reuse_watch(master, now_ms + 899);
    nothing_more();
    tick();
    says(next_event()->text, ": 20 of 20 within");
}
END_TEST

/* Master stood still: what happened meanwhile was not within 10 s. */
START_TEST(a_long_pause_proves_nothing)
{
    sessions(100, 100, "SUBSCRIBE");
    now_ms += 60000;
    reuse_watch(master, now_ms);
    nothing_more();
    sessions(20, 20, "SUBSCRIBE");
    tick();
    says(next_event()->text, ": 20 of 20 within");
}
END_TEST

static void pass_ten_seconds(void)
{
    for (int i = 0; i < 11; i++)
        quiet();
}

START_TEST(told_again_only_after_it_was_rare)
{
    sessions(40, 40, "SUBSCRIBE");
    tick();
    next_event();
    pass_ten_seconds();
    sessions(40, 10, "SUBSCRIBE"); /* a quarter is not under a quarter */
    quiet();
    pass_ten_seconds();
    sessions(40, 40, "SUBSCRIBE");
    quiet();
    pass_ten_seconds();
    sessions(19, 0, "SUBSCRIBE"); /* too few to tell that it is over */
    quiet();
    pass_ten_seconds();
    sessions(40, 40, "SUBSCRIBE");
    quiet();
    pass_ten_seconds();
    sessions(40, 9, "SUBSCRIBE");
    quiet();
    pass_ten_seconds();
    sessions(40, 40, "PSUBSCRIBE");
    tick();
    says(next_event()->text, "the last by PSUBSCRIBE;");
    quiet();
}
END_TEST

/* Those that began earlier may come to own now. */
START_TEST(never_more_than_there_are)
{
    sessions(20, 35, "SUBSCRIBE");
    tick();
    says(next_event()->text, ": 20 of 20 within");
}
END_TEST

/* What the operator tried did not help, which is worth a word. */
START_TEST(told_anew_under_other_settings)
{
    sessions(40, 40, "HELLO");
    tick();
    next_event();
    made.pools[0].reuse.handshake_key = 1;
    made.pools[0].reuse.settings = 9;
    publish_again();
    catch_up();
    quiet();
    sessions(40, 40, "HELLO");
    tick();
    says(next_event()->text, "only where sessions begin with it");
}
END_TEST

/* What the row counted was of a pool that had another name. */
START_TEST(a_row_of_another_pool)
{
    sessions(40, 40, "HELLO");
    strcpy(made.pools[0].name, "other");
    publish_again();
    catch_up();
    quiet();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/reuse");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, trouble_is_told_once);
    tcase_add_test(tc, what_is_no_trouble_is_not_told);
    tcase_add_test(tc, trouble_is_of_a_slot);
    tcase_add_test(tc, who_was_away_is_told_of_again);
    tcase_add_test(tc, other_settings_are_tried);
    tcase_add_test(tc, off_and_on_again_is_a_change);
    tcase_add_test(tc, a_pool_that_was_away_is_tried);
    tcase_add_test(tc, pools_without_reuse_are_not_looked_at);
    tcase_add_test(tc, most_own);
    tcase_add_test(tc, a_handshake_has_its_own_advice);
    tcase_add_test(tc, half_is_not_most);
    tcase_add_test(tc, few_prove_nothing);
    tcase_add_test(tc, the_past_is_forgotten);
    tcase_add_test(tc, more_looks_make_no_difference);
    tcase_add_test(tc, a_long_pause_proves_nothing);
    tcase_add_test(tc, told_again_only_after_it_was_rare);
    tcase_add_test(tc, never_more_than_there_are);
    tcase_add_test(tc, told_anew_under_other_settings);
    tcase_add_test(tc, a_row_of_another_pool);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
