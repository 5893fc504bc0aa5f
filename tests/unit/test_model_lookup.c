/*
 * The hash table that matches names.
 */
#include "test_model_fixture.h"

#include "model/lookup.h"

START_TEST(adds_once_and_finds)
{
    LOOKUP_AUTO table = {0};

    ck_assert_int_eq(lookup_init(&table, 3), 0);
    ck_assert_uint_eq(lookup_find(&table, "a", 1), LOOKUP_NONE);
    ck_assert_uint_eq(lookup_add(&table, "a", 1, 7), LOOKUP_NONE);
    ck_assert_uint_eq(lookup_add(&table, "ab", 2, 8), LOOKUP_NONE);
    ck_assert_uint_eq(lookup_add(&table, "", 0, 9), LOOKUP_NONE);
    ck_assert_uint_eq(lookup_add(&table, "a", 1, 10), 7);
    ck_assert_uint_eq(lookup_find(&table, "a", 1), 7);
    ck_assert_uint_eq(lookup_find(&table, "ab", 2), 8);
    ck_assert_uint_eq(lookup_find(&table, "ab", 1), 7);
    ck_assert_uint_eq(lookup_find(&table, "", 0), 9);
}
END_TEST

START_TEST(holds_as_many_as_promised)
{
    enum { N = 10000 };
    static uint32_t keys[N + 1];
    LOOKUP_AUTO table = {0};

    ck_assert_int_eq(lookup_init(&table, N), 0);
    for (uint32_t i = 0; i <= N; i++) {
        keys[i] = i * 65536;
    }
    for (uint32_t i = 0; i < N; i++) {
        ck_assert_uint_eq(lookup_add(&table, &keys[i], sizeof(keys[i]), i), LOOKUP_NONE);
    }
    for (uint32_t i = 0; i < N; i++) {
        ck_assert_uint_eq(lookup_find(&table, &keys[i], sizeof(keys[i])), i);
    }
    ck_assert_uint_eq(lookup_find(&table, &keys[N], sizeof(keys[N])), LOOKUP_NONE);
}
END_TEST

START_TEST(empty_ones_are_harmless)
{
    struct lookup table = {0};

    ck_assert_uint_eq(lookup_find(&table, "a", 1), LOOKUP_NONE);
    ck_assert_uint_eq(lookup_add(&table, "a", 1, 1), LOOKUP_NONE);
    ck_assert_uint_eq(lookup_find(&table, "a", 1), LOOKUP_NONE);
    lookup_fini(&table);
    ck_assert_int_eq(lookup_init(&table, 0), 0);
    ck_assert_uint_eq(lookup_find(&table, "a", 1), LOOKUP_NONE);
    lookup_fini(&table);
    lookup_fini(&table);
}
END_TEST

int main(void)
{
    return RUN_SUITE("model lookup", adds_once_and_finds, holds_as_many_as_promised,
                     empty_ones_are_harmless);
}
