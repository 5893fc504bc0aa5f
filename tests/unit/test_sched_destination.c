/* lblc and lblcr: what is remembered of a destination, when it changes, and that all workers agree.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pool/lease.h"
#include "sched_bench.h"

#define MINUTE_US UINT64_C(60000000)

static struct bench *start(const struct sched_ops *ops, uint32_t n, uint32_t weight)
{
    struct bench *bench = bench_create(ops, n);
    for (uint32_t i = 0; i < n; i++)
        bench->weight[i] = weight * 1000;
    bench_init(bench, 0);
    return bench;
}

static struct sched_request request_for(struct bench *bench, uint64_t destination)
{
    struct sched_request request = bench_request(bench, NULL, 0);
    request.destination = destination;
    return request;
}

static uint32_t ask(struct bench *bench, uint64_t destination)
{
    struct sched_request request = request_for(bench, destination);
    return bench_ask(bench, &request);
}

static void expect(struct bench *bench, uint64_t destination, uint32_t i)
{
    for (int p = 0; p < 3; p++)
        ck_assert_uint_eq(ask(bench, destination), i);
}

static void set_load(struct bench *bench, uint32_t i, uint32_t active)
{
    atomic_store(bench_active(bench, i), active);
}

static void set_loads(struct bench *bench, const uint32_t *actives)
{
    for (uint32_t i = 0; i < bench->n; i++)
        set_load(bench, i, actives[i]);
}

static const struct sched_ops *const both[] = {&sched_lblc, &sched_lblcr};

/* --- what they have in common --- */

START_TEST(a_destination_stays)
{
    struct bench *bench = start(both[_i], 3, 10);

    set_loads(bench, (const uint32_t[]){3, 2, 4});
    expect(bench, 77, 1);
    set_loads(bench, (const uint32_t[]){0, 10, 0}); /* not overloaded yet */
    expect(bench, 77, 1);
    set_loads(bench, (const uint32_t[]){0, 9, 2});
    expect(bench, 78, 0);
    expect(bench, 77, 1);
    bench_destroy(bench);
}
END_TEST

START_TEST(new_destinations_go_by_load_and_weight)
{
    struct bench *bench = start(both[_i], 4, 1);
    uint32_t counts[4];

    for (uint32_t i = 0; i < 4; i++)
        bench->weight[i] = 100000 * (i + 1);
    bench_count(bench, 1000, true, counts);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_ge(counts[i], 100 * (i + 1) - 1);
        ck_assert_uint_le(counts[i], 100 * (i + 1) + 1);
    }
    bench_destroy(bench);
}
END_TEST

/* 2A < w, in whole units of weight; nobody else's load matters. */
START_TEST(overloaded_only_while_another_is_idle_enough)
{
    struct bench *bench = start(both[_i], 3, 10);

    set_loads(bench, (const uint32_t[]){0, 1, 1});
    expect(bench, 77, 0);
    set_loads(bench, (const uint32_t[]){11, 5, 5});
    expect(bench, 77, 0);
    set_loads(bench, (const uint32_t[]){11, 5, 4});
    ck_assert_uint_eq(ask(bench, 77), 2);
    bench_destroy(bench);
}
END_TEST

START_TEST(small_weights_count_as_one)
{
    struct bench *bench = start(both[_i], 2, 1);

    bench->weight[0] = bench->weight[1] = 300;
    set_loads(bench, (const uint32_t[]){0, 1});
    expect(bench, 77, 0);
    set_loads(bench, (const uint32_t[]){1, 0});
    expect(bench, 77, 0);
    set_loads(bench, (const uint32_t[]){2, 1});
    expect(bench, 77, 0);
    set_loads(bench, (const uint32_t[]){2, 0});
    ck_assert_uint_eq(ask(bench, 77), 1);
    bench_destroy(bench);
}
END_TEST

/* Who may not be chosen cannot help. */
START_TEST(help_must_be_usable)
{
    struct bench *bench = start(both[_i], 4, 10);

    set_loads(bench, (const uint32_t[]){0, 1, 1, 1});
    expect(bench, 77, 0);
    set_loads(bench, (const uint32_t[]){11, 1, 2, 6});
    bench->weight[1] = 0;
    bench->limit[2] = 2;
    expect(bench, 77, 0);
    bench->limit[2] = 3;
    ck_assert_uint_eq(ask(bench, 77), 2);
    bench_destroy(bench);
}
END_TEST

START_TEST(tried_ones_give_way)
{
    struct bench *bench = start(both[_i], 3, 10);
    const uint32_t tried[] = {0, 2};

    set_loads(bench, (const uint32_t[]){0, 1, 2});
    expect(bench, 77, 0);
    struct sched_request request = request_for(bench, 77);
    request.tried = tried;
    request.n_tried = 2;
    ck_assert_uint_eq(bench_ask(bench, &request), 1);
    bench_destroy(bench);
}
END_TEST

START_TEST(forgotten_after_a_while)
{
    struct bench *bench = start(both[_i], 2, 10);

    set_loads(bench, (const uint32_t[]){0, 1});
    expect(bench, 77, 0);
    set_loads(bench, (const uint32_t[]){1, 0});
    for (int n = 0; n < 10; n++) {
        bench->now_us += 23 * MINUTE_US; /* each use lengthens it */
        expect(bench, 77, 0);
    }
    bench->now_us += 24 * MINUTE_US - 1000;
    expect(bench, 77, 0);
    bench->now_us += 24 * MINUTE_US + LEASE_UNIT_MS * 1000;
    expect(bench, 77, 1);
    bench_destroy(bench);
}
END_TEST

/* Used often, the shared table is written to only now and then: it is only read at a hit. */
START_TEST(hits_do_not_write)
{
    struct bench *bench = start(both[_i], 2, 10);
    struct sb_lease *before = calloc(SB_LEASES_MAX, sizeof(*before));
    size_t bytes = SB_LEASES_MAX * sizeof(*before);

    ask(bench, 77);
    memcpy(before, bench->sb.leases, bytes);
    bench->now_us += 5 * MINUTE_US;
    ask(bench, 77);
    ck_assert(memcmp(before, bench->sb.leases, bytes) == 0);
    bench->now_us += 2 * MINUTE_US;
    ask(bench, 77);
    ck_assert(memcmp(before, bench->sb.leases, bytes) != 0);
    free(before);
    bench_destroy(bench);
}
END_TEST

START_TEST(questions_do_not_write)
{
    struct bench *bench = start(both[_i], 3, 10);
    struct sb_lease *before = calloc(SB_LEASES_MAX, sizeof(*before));
    size_t bytes = SB_LEASES_MAX * sizeof(*before);

    ask(bench, 77);
    set_loads(bench, (const uint32_t[]){11, 0, 0}); /* would move it, or grow the set */
    ask(bench, 77);
    bench->now_us += 10 * MINUTE_US; /* would renew, or shrink the set */
    memcpy(before, bench->sb.leases, bytes);
    for (uint64_t destination = 70; destination < 80; destination++) {
        struct sched_request request = request_for(bench, destination);
        request.dry = true;
        (void)bench_ask(bench, &request);
        set_load(bench, (uint32_t)destination % 3, 11);
        (void)bench_ask(bench, &request);
        set_load(bench, (uint32_t)destination % 3, 0);
    }
    ck_assert(memcmp(before, bench->sb.leases, bytes) == 0);
    free(before);
    bench_destroy(bench);
}
END_TEST

/* A second worker: another state, the same scoreboard. */
START_TEST(workers_agree)
{
    struct bench *bench = start(both[_i], 8, 10);
    void *own = bench->state;
    void *other = calloc(1, bench->ops->state_bytes(8));
    int odd = 0;

    bench->ops->init(other, &bench->view, 5);
    bench->ops->fold(other, &bench->view);
    for (uint64_t destination = 1; destination < 100; destination++) {
        bench->state = destination % 2 == 0 ? own : other;
        uint32_t i = ask(bench, destination);
        atomic_fetch_add(bench_active(bench, i), 1);
        bench->state = destination % 2 == 0 ? other : own;
        odd += ask(bench, destination) != i;
    }
    ck_assert_int_eq(odd, 0);
    bench->state = own;
    free(other);
    bench_destroy(bench);
}
END_TEST

/* Rows that collide wherever a table of 2n entries or so could put them. */
START_TEST(rows_are_found_whatever_they_are)
{
    enum { N = 100 };
    struct bench *bench = bench_create(both[_i], N);
    uint32_t first[N];
    int odd = 0;

    for (uint32_t i = 0; i < N; i++)
        bench->backends[i].row = i < 31 ? 8191 - 256 * i : i < 60 ? 254 + 256 * (i - 31) : i;
    bench_init(bench, 0);
    for (uint32_t d = 0; d < N; d++)
        first[d] = ask(bench, 1000 + d);
    for (uint32_t d = 0; d < N; d++)
        odd += ask(bench, 1000 + d) != first[d] || first[d] != d;
    ck_assert_int_eq(odd, 0);
    bench_destroy(bench);
}
END_TEST

/* After a reload backends have other places; who is gone is forgotten. */
START_TEST(reloads_keep_what_is_remembered)
{
    struct bench *old = start(both[_i], 4, 10);
    struct bench *new = bench_create(both[_i], 3);
    static const uint32_t rows[] = {3, 0, 9};
    static const uint32_t old_index[] = {3, 0, SCHED_NONE};

    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(ask(old, 70 + i), i);
    for (uint32_t i = 0; i < 3; i++) {
        new->weight[i] = 10000;
        new->backends[i].row = rows[i];
    }
    new->view.sb = &old->sb;
    bench_init_from(new, 0, old, old_index);
    set_loads(new, (const uint32_t[]){2, 2, 1});
    expect(new, 73, 0);
    expect(new, 70, 1);
    expect(new, 71, 2);
    expect(new, 72, 2);
    /* another pool with the same destinations */
    new->view.seed++;
    expect(new, 73, 2);
    bench_destroy(old);
    bench_destroy(new);
}
END_TEST

START_TEST(reloads_keep_whose_turn_it_is)
{
    static const uint32_t same[] = {0, 1, 2, 3};
    struct bench *old = start(both[_i], 4, 10), *new = bench_create(both[_i], 4);

    ck_assert_uint_eq(ask(old, 70), 0);
    ck_assert_uint_eq(ask(old, 71), 1);
    bench_init_from(new, 0, old, same);
    ck_assert_uint_eq(ask(new, 72), 2);
    bench_destroy(old);
    bench_destroy(new);
}
END_TEST

/* Nothing can be remembered: each time the least loaded. */
START_TEST(a_full_table_is_no_hindrance)
{
    struct bench *bench = start(both[_i], 3, 10);
    struct lease_hold hold;

    ck_assert(lease_take(&bench->sb, 1, 0, bench->now_us / 1000, &hold));
    for (uint32_t place = 0; place < SB_LEASES_MAX; place++) {
        if (place != hold.place - 1)
            memcpy(&bench->sb.leases[place], &bench->sb.leases[hold.place - 1],
                   sizeof(struct sb_lease));
    }
    set_loads(bench, (const uint32_t[]){0, 1, 1});
    ck_assert_uint_eq(ask(bench, 77), 0);
    set_loads(bench, (const uint32_t[]){1, 0, 1});
    ck_assert_uint_eq(ask(bench, 77), 1);
    ck_assert_uint_eq(atomic_load(&bench->sb.header->leases_refused), 0);
    bench_destroy(bench);
}
END_TEST

/* --- lblc --- */

START_TEST(lblc_moves_for_good)
{
    struct bench *bench = start(&sched_lblc, 3, 10);

    expect(bench, 77, 0);
    set_loads(bench, (const uint32_t[]){11, 4, 3});
    expect(bench, 77, 2);
    set_loads(bench, (const uint32_t[]){0, 0, 3});
    expect(bench, 77, 2);
    bench->weight[2] = 0;
    ck_assert_uint_ne(ask(bench, 77), 2);
    uint32_t next = ask(bench, 77);
    bench->weight[2] = 10000;
    expect(bench, 77, next);
    bench_destroy(bench);
}
END_TEST

/* --- lblcr --- */

/* Makes destination 77's set grow from backend 0 to 0, 1, … up to n backends. */
static struct bench *start_grown(uint32_t n, uint32_t grown)
{
    struct bench *bench = start(&sched_lblcr, n, 10);

    for (uint32_t i = 0; i < grown; i++) {
        for (uint32_t other = 0; other < n; other++)
            set_load(bench, other, other < i ? 11 : other == i ? 0 : 1);
        ck_assert_uint_eq(ask(bench, 77), i);
    }
    return bench;
}

/* Which backends of the set are there: each is asked for by being the only one with little load.
 * None is overloaded, and no time goes by, so that nothing changes. */
static uint32_t members(struct bench *bench)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < bench->n; i++) {
        for (uint32_t other = 0; other < bench->n; other++)
            set_load(bench, other, other == i ? 0 : 5);
        mask |= (uint32_t)(ask(bench, 77) == i) << i;
    }
    return mask;
}

START_TEST(lblcr_spreads_over_a_set)
{
    struct bench *bench = start_grown(6, 3);

    ck_assert_uint_eq(members(bench), 7);
    set_loads(bench, (const uint32_t[]){4, 3, 4, 0, 0, 0});
    expect(bench, 77, 1);
    set_loads(bench, (const uint32_t[]){9, 10, 10, 0, 0, 0});
    expect(bench, 77, 0);
    bench->weight[1] = 30000;
    set_loads(bench, (const uint32_t[]){9, 10, 10, 0, 0, 0});
    expect(bench, 77, 1);
    ck_assert_uint_eq(ask(bench, 78), 3); /* others have their own */
    bench_destroy(bench);
}
END_TEST

START_TEST(lblcr_sets_are_bounded)
{
    struct bench *bench = start_grown(6, 4);

    ck_assert_uint_eq(members(bench), 0xf);
    set_loads(bench, (const uint32_t[]){11, 12, 14, 13, 4, 3});
    ck_assert_uint_eq(ask(bench, 77), 5);
    ck_assert_uint_eq(members(bench), 0x2b); /* in the place of the most loaded */
    bench_destroy(bench);
}
END_TEST

START_TEST(lblcr_shrinks_after_six_minutes)
{
    struct bench *bench = start_grown(6, 3);

    bench->now_us += 6 * MINUTE_US - 100000;
    ck_assert_uint_eq(members(bench), 7);
    bench->now_us += 200000;
    set_loads(bench, (const uint32_t[]){2, 4, 3, 0, 0, 0});
    ck_assert_uint_eq(ask(bench, 77), 0);
    ck_assert_uint_eq(members(bench), 5);
    bench->now_us += 6 * MINUTE_US - 100000;
    ck_assert_uint_eq(members(bench), 5);
    bench->now_us += 200000;
    set_loads(bench, (const uint32_t[]){3, 0, 2, 0, 0, 0});
    ck_assert_uint_eq(ask(bench, 77), 2);
    ck_assert_uint_eq(members(bench), 4);
    bench->now_us += 20 * MINUTE_US;
    ck_assert_uint_eq(members(bench), 4); /* the last one stays */
    bench_destroy(bench);
}
END_TEST

START_TEST(lblcr_keeps_whom_it_chose)
{
    struct bench *bench = start_grown(6, 3);

    set_loads(bench, (const uint32_t[]){2, 2, 2, 0, 0, 0});
    bench->now_us += 6 * MINUTE_US + 100000;
    uint32_t i = ask(bench, 77);
    ck_assert_uint_ne(members(bench) & 1u << i, 0);
    bench_destroy(bench);
}
END_TEST

/* The least loaded of all may be in the set and overloaded: another one helps too little. */
START_TEST(lblcr_has_nobody_twice)
{
    struct bench *bench = start(&sched_lblcr, 3, 10);
    uint32_t leases = 0;

    expect(bench, 77, 0);
    bench->weight[1] = 500;
    set_loads(bench, (const uint32_t[]){11, 0, 30});
    expect(bench, 77, 0);
    for (uint32_t place = 0; place < SB_LEASES_MAX; place++)
        leases += atomic_load(&bench->sb.leases[place].key) != 0;
    ck_assert_uint_eq(leases, 1);
    bench_destroy(bench);
}
END_TEST

/* Growing is a change. */
START_TEST(lblcr_counts_from_the_last_change)
{
    struct bench *bench = start_grown(6, 2);

    bench->now_us += 4 * MINUTE_US;
    set_loads(bench, (const uint32_t[]){11, 11, 0, 1, 1, 1});
    ck_assert_uint_eq(ask(bench, 77), 2);
    bench->now_us += 4 * MINUTE_US;
    ck_assert_uint_eq(members(bench), 7);
    bench->now_us += 2 * MINUTE_US + 100000;
    set_loads(bench, (const uint32_t[]){4, 2, 3, 0, 0, 0});
    ck_assert_uint_eq(ask(bench, 77), 1);
    ck_assert_uint_eq(members(bench), 6);
    bench_destroy(bench);
}
END_TEST

START_TEST(lblcr_passes_over_who_is_down)
{
    struct bench *bench = start_grown(6, 3);

    set_loads(bench, (const uint32_t[]){1, 2, 3, 0, 0, 0});
    bench->weight[0] = 0;
    expect(bench, 77, 1);
    bench->weight[0] = 10000;
    expect(bench, 77, 0);
    bench->weight[0] = bench->weight[1] = bench->weight[2] = 0;
    uint32_t i = ask(bench, 77); /* joins the set */
    ck_assert_uint_ge(i, 3);
    expect(bench, 77, i);
    bench->weight[1] = bench->weight[2] = 10000;
    bench->now_us += 6 * MINUTE_US + 100000;
    set_loads(bench, (const uint32_t[]){0, 1, 2, 3, 3, 3});
    ck_assert_uint_eq(ask(bench, 77), 1);
    bench->weight[0] = 10000;
    ck_assert_uint_eq(members(bench), 6 | 1u << i); /* who is down goes first */
    bench_destroy(bench);
}
END_TEST

/* Sets that change all the time keep those that are seldom the least loaded. */
START_TEST(lblcr_renews_the_whole_set)
{
    struct bench *bench = start_grown(8, 2);

    for (int n = 0; n < 8; n++) {
        bench->now_us += 5 * MINUTE_US;
        /* 0 and 1 are busy but not overloaded; a third one comes, and goes down */
        uint32_t third = 2 + (uint32_t)n % 6;
        for (uint32_t i = 0; i < 8; i++)
            set_load(bench, i, i < 2 ? 11 : i == third ? 0 : 1);
        for (uint32_t i = 2; i < 8; i++)
            bench->weight[i] = i == third ? 10000 : 0;
        ck_assert_uint_eq(ask(bench, 77), third);
    }
    for (uint32_t i = 0; i < 8; i++)
        bench->weight[i] = 10000;
    ck_assert_uint_eq(members(bench) & 3, 3);
    bench_destroy(bench);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched by destination");
    TCase *common = tcase_create("both");
    TCase *lblc = tcase_create("lblc");
    TCase *lblcr = tcase_create("lblcr");

    tcase_set_timeout(common, 60);
    tcase_add_loop_test(common, a_destination_stays, 0, 2);
    tcase_add_loop_test(common, new_destinations_go_by_load_and_weight, 0, 2);
    tcase_add_loop_test(common, overloaded_only_while_another_is_idle_enough, 0, 2);
    tcase_add_loop_test(common, small_weights_count_as_one, 0, 2);
    tcase_add_loop_test(common, help_must_be_usable, 0, 2);
    tcase_add_loop_test(common, tried_ones_give_way, 0, 2);
    tcase_add_loop_test(common, forgotten_after_a_while, 0, 2);
    tcase_add_loop_test(common, hits_do_not_write, 0, 2);
    tcase_add_loop_test(common, questions_do_not_write, 0, 2);
    tcase_add_loop_test(common, workers_agree, 0, 2);
    tcase_add_loop_test(common, rows_are_found_whatever_they_are, 0, 2);
    tcase_add_loop_test(common, reloads_keep_what_is_remembered, 0, 2);
    tcase_add_loop_test(common, reloads_keep_whose_turn_it_is, 0, 2);
    tcase_add_loop_test(common, a_full_table_is_no_hindrance, 0, 2);
    suite_add_tcase(suite, common);

    tcase_add_test(lblc, lblc_moves_for_good);
    suite_add_tcase(suite, lblc);

    tcase_add_test(lblcr, lblcr_spreads_over_a_set);
    tcase_add_test(lblcr, lblcr_sets_are_bounded);
    tcase_add_test(lblcr, lblcr_shrinks_after_six_minutes);
    tcase_add_test(lblcr, lblcr_keeps_whom_it_chose);
    tcase_add_test(lblcr, lblcr_has_nobody_twice);
    tcase_add_test(lblcr, lblcr_counts_from_the_last_change);
    tcase_add_test(lblcr, lblcr_passes_over_who_is_down);
    tcase_add_test(lblcr, lblcr_renews_the_whole_set);
    suite_add_tcase(suite, lblcr);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
