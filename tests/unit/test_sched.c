/* The table of schedulers, what is usable, and the conformance of all of them. */
#include "sched/sched.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sched_conformance.h"

START_TEST(names_are_found)
{
    ck_assert_uint_ne(sched_find("rr"), SCHED_NONE);
    ck_assert_str_eq(sched_table[sched_find("sed")]->name, "wlc");
    ck_assert_str_eq(sched_table[sched_find("fo")]->name, "first");
    ck_assert_uint_eq(sched_find("nosuch"), SCHED_NONE);
    ck_assert_uint_eq(sched_find(""), SCHED_NONE);
    ck_assert_uint_eq(sched_find("RR"), SCHED_NONE);
}
END_TEST

START_TEST(all_names_are_listed_once)
{
    const char *const *names = sched_names();
    size_t n = 0;

    for (; names[n] != NULL; n++) {
        ck_assert_uint_ne(sched_find(names[n]), SCHED_NONE);
        for (size_t other = 0; other < n; other++)
            ck_assert_str_ne(names[other], names[n]);
    }
    size_t expected = 0;
    for (size_t i = 0; sched_table[i] != NULL; i++) {
        expected++;
        const char *const *alias = sched_table[i]->aliases;
        for (; alias != NULL && *alias != NULL; alias++)
            expected++;
    }
    ck_assert_uint_eq(n, expected);
    ck_assert_ptr_eq(sched_names(), names);
}
END_TEST

/* Four backends: one under its limit, one without a weight, one at its limit, one without limits.
 */
static struct bench *create_four(void)
{
    struct bench *bench = bench_create(&sched_rr, 4);

    bench->weight[1] = 0;
    bench->limit[0] = bench->limit[2] = 5;
    bench->resume[0] = bench->resume[2] = 4;
    atomic_store(bench_active(bench, 0), 4);
    atomic_store(bench_active(bench, 2), 5);
    atomic_store(bench_active(bench, 3), UINT32_MAX);
    bench->view.bounded = true;
    return bench;
}

START_TEST(usable)
{
    struct bench *bench = create_four();
    static const uint32_t tried[] = {9, 3};
    const struct sched_request none = {0}, some = {.tried = tried, .n_tried = 2};

    ck_assert(sched_usable(&bench->view, &none, 0));
    ck_assert(!sched_usable(&bench->view, &none, 1)); /* weight 0 */
    ck_assert(!sched_usable(&bench->view, &none, 2)); /* full */
    ck_assert(sched_usable(&bench->view, &none, 3));
    ck_assert(sched_usable(&bench->view, &some, 0));
    ck_assert(!sched_usable(&bench->view, &some, 3)); /* tried */
    ck_assert_uint_eq(sched_active(&bench->view, 2), 5);
    bench->view.bounded = false; /* limits are not looked at */
    ck_assert(sched_usable(&bench->view, &none, 2));
    bench_destroy(bench);
}
END_TEST

START_TEST(room)
{
    struct bench *bench = create_four();
    struct sched_request request = {.now_us = bench->now_us};
    _Atomic uint8_t *full = &bench->sb.slot_full[bench->slot[0]];
    _Atomic uint64_t *rate = &bench->sb.slot_rate[bench->slot[3]];

    ck_assert(sched_has_room(&bench->view, &request, 0));
    atomic_store(full, 1);
    ck_assert(!sched_has_room(&bench->view, &request, 0));
    atomic_store(bench_active(bench, 0), 3); /* under resume_connections */
    ck_assert(sched_has_room(&bench->view, &request, 0));

    bench->rate[3] = (struct snapshot_rate){.interval_ns = 500, .burst = 3};
    atomic_store(rate, bench->now_us * 1000 + 1000);
    ck_assert(sched_has_room(&bench->view, &request, 3));
    atomic_store(rate, bench->now_us * 1000 + 1001);
    ck_assert(!sched_has_room(&bench->view, &request, 3));
    request.now_us++;
    ck_assert(sched_has_room(&bench->view, &request, 3));

    bench->view.held = bench->held;
    ck_assert(sched_has_room(&bench->view, &request, 3));
    bench->held[3] = 1;
    ck_assert(!sched_has_room(&bench->view, &request, 3));
    bench_destroy(bench);
}
END_TEST

/* The sequence of splitmix64 from seed 0, as its authors' program prints it. */
START_TEST(mix_is_splitmix64)
{
    const uint64_t step = UINT64_C(0x9e3779b97f4a7c15);
    ck_assert_uint_eq(sched_mix(0), UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_eq(sched_mix(step), UINT64_C(0x6e789e6aa1b965f4));
    ck_assert_uint_eq(sched_mix(2 * step), UINT64_C(0x06c45d188009454f));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched");
    TCase *tcase = tcase_create("table");

    tcase_add_test(tcase, names_are_found);
    tcase_add_test(tcase, all_names_are_listed_once);
    tcase_add_test(tcase, usable);
    tcase_add_test(tcase, room);
    tcase_add_test(tcase, mix_is_splitmix64);
    suite_add_tcase(suite, tcase);
    sched_conformance_add(suite);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
