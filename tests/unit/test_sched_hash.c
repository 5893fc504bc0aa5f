/*
 * Schedulers by hash: whose clients move when something changes (only those who must), how they
 * spread, and the bound of maglev_bounded.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched_conformance.h"

enum { BACKENDS = 1000, KEYS = 20000 };

static struct bench *start(const struct sched_ops *ops, uint32_t n, const uint32_t *weights)
{
    struct bench *bench = bench_create(ops, n);
    for (uint32_t i = 0; weights != NULL && i < n; i++)
        bench->weight[i] = weights[i] * 1000;
    bench_init(bench, 0);
    return bench;
}

/* Configured weights are 1 where this is used. */
static void set_factor(struct bench *bench, uint32_t i, uint32_t factor)
{
    bench->factor[i] = bench->weight[i] = factor;
}

static uint32_t pick_but(struct bench *bench, uint64_t key, const uint32_t *tried, uint32_t n_tried)
{
    struct sched_request request = bench_request(bench, tried, n_tried);
    request.key = bench->ops->by_destination ? 12345 : key;
    request.destination = bench->ops->by_destination ? key : 12345;
    return bench_ask(bench, &request);
}

static uint32_t pick(struct bench *bench, uint64_t key)
{
    return pick_but(bench, key, NULL, 0);
}

static uint64_t key_of(uint32_t client)
{
    return sched_mix(client + UINT64_C(1000000));
}

/* Where each client goes. */
static void map_clients(struct bench *bench, uint32_t *where)
{
    for (uint32_t c = 0; c < KEYS; c++)
        where[c] = pick(bench, key_of(c));
}

/* Clients who left one backend, and those who came to or went between others. */
static void compare_maps(const uint32_t *before, const uint32_t *after, uint32_t i,
                         uint32_t *out_left, uint32_t *out_others)
{
    *out_left = *out_others = 0;
    for (uint32_t c = 0; c < KEYS; c++) {
        *out_left += before[c] == i && after[c] != i;
        *out_others += before[c] != i && after[c] != before[c];
    }
}

static uint32_t count_at(const uint32_t *where, uint32_t i)
{
    uint32_t n = 0;
    for (uint32_t c = 0; c < KEYS; c++)
        n += where[c] == i;
    return n;
}

/* Five standard deviations. */
static bool is_near(uint32_t count, double due)
{
    return fabs(count - due) <= 5 * sqrt(due) + 1;
}

static uint32_t before[KEYS], after[KEYS], again[KEYS];

static const struct sched_ops *const all[] = {&sched_sh, &sched_mh, &sched_dh,
                                              &sched_maglev_bounded};

START_TEST(the_table_decides)
{
    struct bench *bench = start(all[_i], 20, NULL);
    uint32_t wrong = 0;

    for (uint32_t c = 0; c < KEYS; c++)
        wrong += pick(bench, key_of(c)) != bench->entries[key_of(c) % bench->view.n_entries];
    wrong += pick(bench, 0) != bench->entries[0];
    wrong += pick(bench, UINT64_MAX) != bench->entries[UINT64_MAX % bench->view.n_entries];
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

/* Entries that are no backend: the clients of others do not notice, and nobody is refused. */
START_TEST(a_damaged_table_misleads_nobody)
{
    struct bench *bench = start(all[_i], 20, NULL);
    uint32_t moved = 0, off = 0;

    map_clients(bench, before);
    for (uint32_t e = 1; e < bench->view.n_entries; e += 2)
        bench->entries[e] = e % 4 == 1 ? 20 : UINT16_MAX;
    map_clients(bench, after);
    for (uint32_t c = 0; c < KEYS; c++)
        moved += key_of(c) % bench->view.n_entries % 2 == 0 && after[c] != before[c];
    ck_assert_uint_eq(moved, 0);
    memset(bench->entries, 0xff, bench->view.n_entries * sizeof(*bench->entries));
    map_clients(bench, after);
    for (uint32_t i = 0; i < 20; i++)
        off += !is_near(count_at(after, i), KEYS / 20.0);
    ck_assert_uint_eq(off, 0);
    bench_destroy(bench);
}
END_TEST

START_TEST(every_worker_agrees)
{
    struct bench *bench = start(all[_i], 20, NULL), *other = bench_create(all[_i], 20);

    bench_init(other, 77);
    bench->weight[3] = bench->weight[4] = other->weight[3] = other->weight[4] = 0;
    set_factor(bench, 5, 300);
    set_factor(other, 5, 300);
    map_clients(bench, before);
    map_clients(other, after);
    ck_assert_mem_eq(before, after, sizeof(before));
    bench_destroy(bench);
    bench_destroy(other);
}
END_TEST

START_TEST(only_the_clients_of_one_that_goes_move)
{
    struct bench *bench = start(all[_i], 10, NULL);
    uint32_t left, others;

    map_clients(bench, before);
    bench->weight[3] = 0;
    map_clients(bench, after);
    compare_maps(before, after, 3, &left, &others);
    ck_assert_uint_eq(left, count_at(before, 3));
    ck_assert_uint_eq(others, 0);
    for (uint32_t i = 0; i < 10; i++) {
        if (i != 3)
            ck_assert(is_near(count_at(after, i) - count_at(before, i), left / 9.0));
    }
    bench->weight[3] = 1000;
    map_clients(bench, again);
    ck_assert_mem_eq(before, again, sizeof(before));
    bench_destroy(bench);
}
END_TEST

/* Whatever the reason, a client goes to the same other one. */
START_TEST(full_and_tried_ones_are_passed_over_alike)
{
    static const uint32_t tried[] = {3};
    struct bench *bench = start(&sched_mh, 10, NULL);
    uint32_t different = 0;

    bench->weight[3] = 0;
    map_clients(bench, before);
    bench->weight[3] = 1000;
    for (uint32_t c = 0; c < KEYS; c++)
        different += pick_but(bench, key_of(c), tried, 1) != before[c];
    bench->limit[3] = 5;
    atomic_store(bench_active(bench, 3), 5);
    map_clients(bench, after);
    ck_assert_uint_eq(different, 0);
    ck_assert_mem_eq(before, after, sizeof(before));
    bench_destroy(bench);
}
END_TEST

START_TEST(a_factor_sends_its_part_away)
{
    struct bench *bench = start(all[_i], 10, NULL);
    uint32_t left, others, came_back = 0, earlier;

    map_clients(bench, before);
    earlier = count_at(before, 3);
    for (uint32_t factor = 100; factor <= 1000; factor += 100) {
        set_factor(bench, 3, factor);
        map_clients(bench, after);
        compare_maps(before, after, 3, &left, &others);
        ck_assert_uint_eq(others, 0);
        ck_assert(is_near(left, count_at(before, 3) * (1000 - factor) / 1000.0));
        ck_assert_uint_le(left, earlier); /* who has come stays */
        came_back += earlier - left;
        earlier = left;
    }
    ck_assert_uint_eq(came_back, count_at(before, 3));
    bench_destroy(bench);
}
END_TEST

START_TEST(factors_never_refuse)
{
    struct bench *bench = start(all[_i], 2, NULL);
    uint32_t nowhere = 0, moved = 0;

    map_clients(bench, before);
    set_factor(bench, 0, 100);
    set_factor(bench, 1, 100);
    map_clients(bench, after);
    for (uint32_t c = 0; c < KEYS; c++) {
        nowhere += after[c] >= 2;
        moved += after[c] != before[c];
    }
    ck_assert_uint_eq(nowhere, 0);
    /* whom the one refuses and the other takes; whom both refuse stays where it belongs */
    ck_assert(is_near(moved, KEYS * 0.9 * 0.1));
    bench->weight[1] = 0;
    set_factor(bench, 0, 1);
    map_clients(bench, after);
    ck_assert_uint_eq(count_at(after, 0), KEYS);
    bench_destroy(bench);
}
END_TEST

/* Of a thousand only the first three, of weights 1, 2 and 3: nearly no entry leads to one of them,
 * so nearly all keys go by what comes after the probes. Or there is no table at all. */
static struct bench *start_few(bool with_table)
{
    static uint32_t weights[BACKENDS];

    for (uint32_t i = 0; i < BACKENDS; i++)
        weights[i] = 1 + i % 3;
    struct bench *bench = start(&sched_mh, with_table ? BACKENDS : 3, weights);
    if (!with_table)
        bench->view.entries = NULL;
    for (uint32_t i = 3; i < bench->n; i++)
        bench->weight[i] = 0;
    return bench;
}

START_TEST(few_are_chosen_by_weight)
{
    struct bench *bench = start_few(_i == 0);
    map_clients(bench, before);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(is_near(count_at(before, i), KEYS * (i + 1) / 6.0));
    bench_destroy(bench);
}
END_TEST

START_TEST(few_are_kept_faithfully)
{
    struct bench *bench = start_few(_i == 0);
    uint32_t left, others;

    map_clients(bench, before);
    bench->factor[2] = 500;
    bench->weight[2] = 1500;
    map_clients(bench, after);
    compare_maps(before, after, 2, &left, &others);
    ck_assert(is_near(left, count_at(before, 2) / 2.0));
    ck_assert_uint_eq(others, 0);
    bench->factor[2] = 1000;
    bench->weight[2] = 3000;
    bench->weight[1] = 0;
    map_clients(bench, after);
    compare_maps(before, after, 1, &left, &others);
    ck_assert_uint_eq(left, count_at(before, 1));
    ck_assert_uint_eq(others, 0);
    bench_destroy(bench);
}
END_TEST

/* A reload that changes the order of the file moves nobody who does not go by the table. */
START_TEST(names_decide_not_order)
{
    struct bench *bench = start_few(false), *turned = bench_create(&sched_mh, 3);
    uint32_t different = 0;

    for (uint32_t i = 0; i < 3; i++) {
        memcpy(turned->backends[i].name, bench->backends[2 - i].name, NAME_BYTES_MAX);
        turned->weight[i] = bench->weight[2 - i];
    }
    bench_init(turned, 0);
    turned->view.entries = NULL;
    map_clients(bench, before);
    map_clients(turned, after);
    for (uint32_t c = 0; c < KEYS; c++)
        different += after[c] != 2 - before[c];
    ck_assert_uint_eq(different, 0);
    bench_destroy(bench);
    bench_destroy(turned);
}
END_TEST

START_TEST(a_factor_is_no_reason_for_none)
{
    static const uint32_t tried[] = {1, 0};
    struct bench *bench = start(all[_i], 2, NULL);

    set_factor(bench, 0, 1);
    for (uint32_t c = 0; c < 100; c++)
        ck_assert_uint_eq(pick_but(bench, key_of(c), tried, 1), 0);
    ck_assert_uint_eq(pick_but(bench, 5, tried, 2), SCHED_NONE);
    bench_destroy(bench);
}
END_TEST

START_TEST(each_by_its_own_key)
{
    const struct sched_request request = {.key = 1, .destination = 2};
    struct bench *bench = start(all[_i], 50, NULL);

    ck_assert_uint_ne(bench->entries[1], bench->entries[2]);
    ck_assert_uint_eq(bench_ask(bench, &request), bench->entries[all[_i] == &sched_dh ? 2 : 1]);
    ck_assert_int_eq(bench->ops->by_destination, all[_i] == &sched_dh);
    bench_destroy(bench);
}
END_TEST

/* maglev_bounded */

static uint32_t total(const struct bench *bench)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < bench->n; i++)
        sum += atomic_load(bench_active(bench, i));
    return sum;
}

/* Begins a session on i, of sum then; false: more than the rule allows. */
static bool begin(struct bench *bench, uint32_t i, uint32_t sum)
{
    double share = bench->weight[i] / (double)bench->view.weight_sum;
    return atomic_fetch_add(bench_active(bench, i), 1) + 1 <= ceil(1.25 * sum * share);
}

static void end_one(struct bench *bench)
{
    uint32_t i = (uint32_t)random() % bench->n;
    if (atomic_load(bench_active(bench, i)) != 0)
        atomic_fetch_sub(bench_active(bench, i), 1);
}

/* Few clients with many sessions. Where sums are exact sessions may end in between. */
START_TEST(nobody_goes_over_the_bound)
{
    static const uint32_t sizes[] = {1, 2, 7, 32, 200};
    uint32_t n = sizes[_i], weights[200], over = 0;

    srandom(6);
    for (uint32_t i = 0; i < n; i++)
        weights[i] = 1 + (uint32_t)random() % 9;
    struct bench *bench = start(&sched_maglev_bounded, n, weights);
    bench->factor[n / 2] = 250;
    bench->weight[n / 2] /= 4;
    for (int p = 0; p < 5000; p++) {
        uint32_t i = pick(bench, key_of((uint32_t)random() % 3));
        over += !begin(bench, i, total(bench) + 1);
        if (n <= 32 && p % 3 != 0)
            end_one(bench);
    }
    ck_assert_uint_eq(over, 0);
    bench_destroy(bench);
}
END_TEST

/* Sessions that end are seen with the next sum: bounds may be those of the most sessions there were
 * since the last one. */
START_TEST(a_kept_sum_is_not_far_off)
{
    enum { N = 160, BETWEEN = N / 8 };
    struct bench *bench = start(&sched_maglev_bounded, N, NULL);
    uint32_t totals[BETWEEN + 1] = {0}, over = 0;

    srandom(7);
    for (uint32_t p = 0; p < 6000; p++) {
        uint32_t most = 0, i = pick(bench, key_of((uint32_t)random() % 3));
        totals[p % (BETWEEN + 1)] = total(bench);
        for (uint32_t t = 0; t <= BETWEEN; t++)
            most = totals[t] > most ? totals[t] : most;
        over += !begin(bench, i, most + BETWEEN);
        for (int end = 0; end < 60 && p % 50 == 0; end++)
            end_one(bench);
    }
    ck_assert_uint_eq(over, 0);
    bench_destroy(bench);
}
END_TEST

/* Begins n sessions of one client, step_us apart. Returns how many backends have got one. */
static uint32_t spread_one(struct bench *bench, uint32_t n, uint64_t step_us)
{
    bool used[BACKENDS] = {false};
    uint32_t n_used = 0;

    for (uint32_t p = 0; p < n; p++) {
        bench->now_us += step_us;
        uint32_t i = pick(bench, 4711);
        atomic_fetch_add(bench_active(bench, i), 1);
        n_used += !used[i];
        used[i] = true;
    }
    return n_used;
}

/* A bound of 1.25 shares: 100 sessions on 10 backends fit on 8, and do not need more. */
START_TEST(one_client_spreads_as_the_bound_demands)
{
    struct bench *bench = start(&sched_maglev_bounded, 10, NULL);
    uint32_t home = pick(bench, 4711);

    ck_assert_uint_eq(spread_one(bench, 100, 0), 8);
    ck_assert_uint_eq(atomic_load(bench_active(bench, home)), 13);
    bench_destroy(bench);
}
END_TEST

/* Where all that is known is exact: a key's own backend is passed over when, and only when, it is
 * over the bound. */
START_TEST(nobody_is_passed_over_without_need)
{
    const uint32_t weights[] = {1, 2, 3, 1, 2, 3, 1};
    struct bench *bench = start(&sched_maglev_bounded, 7, weights);
    uint32_t wrong = 0, n_home = 0;

    srandom(9);
    for (uint32_t p = 0; p < 5000; p++) {
        for (uint32_t i = 0; i < 7; i++)
            atomic_store(bench_active(bench, i), (uint32_t)random() % (3 * weights[i]));
        uint64_t key = key_of(p);
        uint32_t home = bench->entries[key % bench->view.n_entries];
        double bound = ceil(1.25 * (total(bench) + 1) * weights[home] / 13);
        bool stays = pick(bench, key) == home;
        wrong += stays != (atomic_load(bench_active(bench, home)) + 1 <= bound);
        n_home += stays;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert(n_home > 1000 && n_home < 4000);
    bench_destroy(bench);
}
END_TEST

/* A giant may have all sessions, but only if the sum grows with them. */
START_TEST(own_picks_are_counted_in)
{
    static uint32_t weights[160] = {65535};
    uint64_t key = 0;

    for (uint32_t i = 1; i < 160; i++)
        weights[i] = 1;
    struct bench *bench = start(&sched_maglev_bounded, 160, weights);
    while (pick(bench, key) != 0)
        key++;
    for (uint32_t p = 0; p < 100; p++) {
        ck_assert_uint_eq(pick(bench, key), 0);
        atomic_fetch_add(bench_active(bench, 0), 1);
    }
    bench_destroy(bench);
}
END_TEST

START_TEST(who_leaves_takes_his_sessions_out_of_the_sum)
{
    struct bench *bench = start(&sched_maglev_bounded, 400, NULL);

    atomic_store(bench_active(bench, 7), 40000);
    pick(bench, 1);
    bench->weight[7] = 0;
    ck_assert_uint_eq(spread_one(bench, 40, 0), 40);
    bench_destroy(bench);
}
END_TEST

/* Very many sessions end at once. The sum that was kept still has them, so that one backend may
 * have all that come; but not for long. */
START_TEST(an_old_sum_is_made_anew)
{
    struct bench *bench = start(&sched_maglev_bounded, 400, NULL);

    atomic_store(bench_active(bench, 7), 40000);
    pick(bench, 1);
    atomic_store(bench_active(bench, 7), 0);
    ck_assert_uint_eq(spread_one(bench, 40, _i == 0 ? 0 : 100000), _i == 0 ? 1 : 40);
    bench_destroy(bench);
}
END_TEST

/* Two of ten have room. They get far more than they would beside eight others that are not full,
 * but between them the bound holds. */
START_TEST(full_ones_leave_the_bound_to_the_rest)
{
    struct bench *bench = start(&sched_maglev_bounded, 10, NULL);

    for (uint32_t i = 2; i < 10; i++) {
        atomic_store(bench_active(bench, i), 10);
        bench->limit[i] = 10;
    }
    ck_assert_uint_eq(spread_one(bench, 1000, 0), 2);
    uint32_t a = atomic_load(bench_active(bench, 0)), b = atomic_load(bench_active(bench, 1));
    ck_assert_uint_eq(a > b ? a : b, 625);
    bench_destroy(bench);
}
END_TEST

START_TEST(the_only_one_left_is_chosen_over_its_bound)
{
    static const uint32_t tried[] = {0, 2};
    struct bench *bench = start(&sched_maglev_bounded, 3, NULL);

    atomic_store(bench_active(bench, 1), 1000);
    ck_assert_uint_ne(pick(bench, 5), 1);
    ck_assert_uint_eq(pick_but(bench, 5, tried, 2), 1);
    bench_destroy(bench);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched by hash");
    TCase *tcase = tcase_create("hash");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, the_table_decides, 0, 4);
    tcase_add_loop_test(tcase, a_damaged_table_misleads_nobody, 0, 4);
    tcase_add_loop_test(tcase, every_worker_agrees, 0, 4);
    tcase_add_loop_test(tcase, only_the_clients_of_one_that_goes_move, 0, 4);
    tcase_add_test(tcase, full_and_tried_ones_are_passed_over_alike);
    tcase_add_loop_test(tcase, a_factor_sends_its_part_away, 0, 4);
    tcase_add_test(tcase, factors_never_refuse);
    tcase_add_loop_test(tcase, few_are_chosen_by_weight, 0, 2);
    tcase_add_loop_test(tcase, few_are_kept_faithfully, 0, 2);
    tcase_add_test(tcase, names_decide_not_order);
    tcase_add_loop_test(tcase, a_factor_is_no_reason_for_none, 0, 4);
    tcase_add_loop_test(tcase, each_by_its_own_key, 0, 4);
    tcase_add_loop_test(tcase, nobody_goes_over_the_bound, 0, 5);
    tcase_add_test(tcase, a_kept_sum_is_not_far_off);
    tcase_add_test(tcase, one_client_spreads_as_the_bound_demands);
    tcase_add_test(tcase, nobody_is_passed_over_without_need);
    tcase_add_test(tcase, own_picks_are_counted_in);
    tcase_add_test(tcase, who_leaves_takes_his_sessions_out_of_the_sum);
    tcase_add_loop_test(tcase, an_old_sum_is_made_anew, 0, 2);
    tcase_add_test(tcase, full_ones_leave_the_bound_to_the_rest);
    tcase_add_test(tcase, the_only_one_left_is_chosen_over_its_bound);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
