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

START_TEST(usable)
{
    static const uint32_t weight[] = {1, 0, 1000, 1000}, slot[] = {3, 2, 1, 0},
                          limit[] = {0, 0, 5, 5}, tried[] = {9, 3};
    static _Atomic uint32_t active[] = {4, 5, 0, UINT32_MAX};
    const struct sched_view view = {4, weight, slot, limit, active};
    const struct sched_request none = {0}, some = {.tried = tried, .n_tried = 2};

    ck_assert(sched_usable(&view, &none, 0));
    ck_assert(!sched_usable(&view, &none, 1)); /* weight 0 */
    ck_assert(!sched_usable(&view, &none, 2)); /* full */
    ck_assert(sched_usable(&view, &none, 3));
    ck_assert(sched_usable(&view, &some, 0));
    ck_assert(!sched_usable(&view, &some, 3)); /* tried */
    ck_assert_uint_eq(sched_active(&view, 2), 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched");
    TCase *tcase = tcase_create("table");

    tcase_add_test(tcase, names_are_found);
    tcase_add_test(tcase, all_names_are_listed_once);
    tcase_add_test(tcase, usable);
    suite_add_tcase(suite, tcase);
    sched_conformance_add(suite);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
