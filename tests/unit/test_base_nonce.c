/* Nonces: where they are put, how long a text is with them, and that no two are alike. */
#include "base/nonce.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789abcdef"

START_TEST(marks_are_replaced_and_nothing_else)
{
    static const struct {
        const char *text;
        size_t n;
        const char *put;
        size_t n_put;
    } cases[] = {
#define CASE(text, put) {text, sizeof(text) - 1, put, sizeof(put) - 1}
        CASE("", ""),
        CASE("RESET\r\n", "RESET\r\n"),
        CASE("{nonce}", DIGITS),
        CASE("PING {nonce}\r\n", "PING " DIGITS "\r\n"),
        CASE("{nonce}{nonce}", DIGITS DIGITS),
        CASE("{nonce}a\0b{nonce}", DIGITS "a\0b" DIGITS),
        CASE("{{nonce}}", "{" DIGITS "}"),
        CASE("{nonce{nonce}", "{nonce" DIGITS),
        CASE("{nonc\0e} {Nonce} {nonce } {} {x} nonce}",
             "{nonc\0e} {Nonce} {nonce } {} {x} nonce}"),
        CASE("{nonce", "{nonce"),
#undef CASE
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[64];
        size_t n = cases[i].n, n_put = cases[i].n_put;

        ck_assert_uint_eq(nonce_put(cases[i].text, n, NULL, NULL), n_put);
        memset(out, '#', sizeof(out));
        ck_assert_uint_eq(nonce_put(cases[i].text, n, DIGITS, out), n_put);
        ck_assert_mem_eq(out, cases[i].put, n_put);
        ck_assert_int_eq(out[n_put], '#');
        ck_assert_int_eq(nonce_is_in(cases[i].text, n), n != n_put);
    }
}
END_TEST

/* The bytes behind the text's end do not count. */
START_TEST(a_mark_that_is_cut_is_none)
{
    ck_assert(!nonce_is_in("{nonce}", strlen("{nonce}") - 1));
    ck_assert_uint_eq(nonce_put("{nonce}", strlen("{nonce}") - 1, NULL, NULL), 6);
}
END_TEST

START_TEST(no_two_are_alike)
{
    enum { N = 200 };
    char made[N][NONCE_BYTES];
    unsigned seen[NONCE_BYTES] = {0}; /* in each place, which of the digits */
    bool repeats = false;

    for (size_t i = 0; i < N; i++) {
        ck_assert_int_eq(nonce_make(made[i]), 0);
        for (size_t j = 0; j < i; j++) {
            repeats |= memcmp(made[i], made[j], NONCE_BYTES) == 0;
        }
        for (size_t j = 0; j < NONCE_BYTES; j++) {
            const char *digit = memchr(DIGITS, made[i][j], strlen(DIGITS));

            ck_assert_ptr_nonnull(digit);
            seen[j] |= 1U << (digit - DIGITS);
        }
    }
    ck_assert(!repeats);
    for (size_t j = 0; j < NONCE_BYTES; j++) {
        ck_assert_int_ge(__builtin_popcount(seen[j]), 12); /* of 16; all but for sure */
    }
}
END_TEST

/* Every bit is one by itself. */
START_TEST(all_of_it_is_random)
{
    enum { N = 100, BITS = 4 * NONCE_BYTES };
    uint64_t made[N];
    unsigned alike = 0;

    for (size_t i = 0; i < N; i++) {
        char nonce[NONCE_BYTES + 1] = "";

        ck_assert_int_eq(nonce_make(nonce), 0);
        made[i] = strtoull(nonce, NULL, 16);
    }
    for (unsigned a = 0; a < BITS; a++) {
        for (unsigned b = 0; b < a; b++) {
            unsigned n_equal = 0;

            for (size_t i = 0; i < N; i++) {
                n_equal += ((made[i] >> a ^ made[i] >> b) & 1) == 0;
            }
            alike += n_equal == 0 || n_equal == N;
        }
    }
    ck_assert_uint_eq(alike, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/nonce");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, marks_are_replaced_and_nothing_else);
    tcase_add_test(tcase, a_mark_that_is_cut_is_none);
    tcase_add_test(tcase, no_two_are_alike);
    tcase_add_test(tcase, all_of_it_is_random);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
