/* The allocator of tiny objects: apart, reused, and told from malloc's whichever way they come. */
#include "base/tiny.h"

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define N 20000

static bool are_neighbours(const char *a, const char *b)
{
    return a + TINY_BYTES == b;
}

START_TEST(tiny_ones_lie_side_by_side)
{
    static char *items[N];
    char pattern[TINY_BYTES];

    for (int i = 0; i < N; i++) {
        items[i] = tiny_malloc((size_t)i % (TINY_BYTES + 1));
        ck_assert_ptr_nonnull(items[i]);
        ck_assert_uint_eq((uintptr_t)items[i] % TINY_BYTES, 0);
        ck_assert(i == 0 || are_neighbours(items[i - 1], items[i]));
        memset(items[i], i, TINY_BYTES);
    }
    for (int i = 0; i < N; i++) {
        memset(pattern, i, sizeof(pattern));
        ck_assert_mem_eq(items[i], pattern, TINY_BYTES);
    }
    for (int i = 0; i < N; i++) {
        tiny_free(items[i]);
    }
    for (int i = N; i-- > 0;) {
        ck_assert_ptr_eq(tiny_malloc(TINY_BYTES), items[i]);
    }
    for (int i = 0; i < N; i++) {
        tiny_free(items[i]);
    }
}
END_TEST

START_TEST(larger_ones_are_mallocs)
{
    char *item = tiny_malloc(TINY_BYTES + 1);

    memset(item, 1, TINY_BYTES + 1);
    item = tiny_realloc(item, 1000);
    ck_assert_int_eq(item[TINY_BYTES], 1);
    item = tiny_realloc(item, TINY_BYTES); /* stays malloc's */
    ck_assert_int_eq(item[TINY_BYTES - 1], 1);
    tiny_free(item);
    tiny_free(malloc(5)); /* from before this was the allocator */
    tiny_free(NULL);
}
END_TEST

START_TEST(a_tiny_one_grows)
{
    char *item = tiny_realloc(NULL, 3);
    char *first = item;

    memcpy(item, "0123456789abcde", TINY_BYTES);
    item = tiny_realloc(item, TINY_BYTES);
    ck_assert_ptr_eq(item, first);
    item = tiny_realloc(item, 100);
    ck_assert_ptr_ne(item, first);
    ck_assert_str_eq(item, "0123456789abcde");
    ck_assert_ptr_eq(tiny_malloc(1), first);
    tiny_free(first);
    tiny_free(item);
}
END_TEST

START_TEST(what_finds_no_room_is_mallocs)
{
    static char *items[(64 << 20) / TINY_BYTES + 10];
    size_t n = sizeof(items) / sizeof(items[0]);

    for (size_t i = 0; i < n; i++) {
        items[i] = tiny_malloc(1);
        ck_assert_ptr_nonnull(items[i]);
        items[i][0] = 1;
    }
    ck_assert(!are_neighbours(items[n - 2], items[n - 1]));
    for (size_t i = 0; i < n; i++) {
        tiny_free(items[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/tiny");
    TCase *tcase = tcase_create("tiny");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, tiny_ones_lie_side_by_side);
    tcase_add_test(tcase, larger_ones_are_mallocs);
    tcase_add_test(tcase, a_tiny_one_grows);
    tcase_add_test(tcase, what_finds_no_room_is_mallocs);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
