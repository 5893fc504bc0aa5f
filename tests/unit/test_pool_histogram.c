/* Histograms against exact percentiles, their windows, and many writers at once. */
#include "sluice/scoreboard.h"

#include <check.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOP ((UINT64_C(1) << 28) - 1)

static struct sb_hist *hist;

static void setup(void)
{
    hist = mmap(NULL, sizeof(*hist), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(hist, MAP_FAILED);
}

static void teardown(void)
{
    munmap(hist, sizeof(*hist));
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Values spread evenly over the octaves, as times are. */
static uint64_t random_value(void)
{
    int bits = (int)(random() % 28);
    return ((UINT64_C(1) << bits) | ((uint64_t)random() & ((UINT64_C(1) << bits) - 1))) - 1;
}

static void assert_close(uint64_t exact, uint64_t shown)
{
    ck_assert_uint_ge(shown, exact);
    ck_assert_uint_le(4 * shown, 5 * exact);
}

static uint64_t total_in(uint32_t window)
{
    uint64_t total = 0;
    for (uint32_t b = 0; b < SB_HIST_BUCKETS; b++)
        total += atomic_load(&hist->count[window][b]);
    return total;
}

START_TEST(empty_is_zero)
{
    ck_assert_uint_eq(sb_hist_percentile(hist, 500, 0), 0);
    ck_assert_uint_eq(sb_hist_percentile(hist, 500, UINT64_C(123456789)), 0);
}
END_TEST

START_TEST(percentiles_are_within_the_promise)
{
    enum { N = 2000 };
    static const uint32_t permilles[] = {0, 1, 10, 250, 500, 900, 990, 999, 1000, 5000};
    static uint64_t values[N];

    srandom(1);
    for (int i = 0; i < N; i++) {
        values[i] = random_value();
        sb_hist_add(hist, values[i], 50000);
    }
    qsort(values, N, sizeof(values[0]), compare);
    for (size_t p = 0; p < sizeof(permilles) / sizeof(permilles[0]); p++) {
        uint64_t permille = permilles[p] > 1000 ? 1000 : permilles[p];
        uint64_t rank = (N * permille + 999) / 1000;
        assert_close(values[rank == 0 ? 0 : rank - 1],
                     sb_hist_percentile(hist, permilles[p], 50000));
    }
}
END_TEST

START_TEST(every_single_value)
{
    uint64_t now = 0;
    for (uint64_t value = 0; value < TOP; value = value < 5000 ? value + 1 : value + value / 97) {
        now += SB_HIST_WINDOWS * SB_HIST_WINDOW_MS;
        sb_hist_add(hist, value, now);
        assert_close(value, sb_hist_percentile(hist, 500, now));
    }
}
END_TEST

START_TEST(above_the_last_bucket)
{
    sb_hist_add(hist, TOP, 0);
    sb_hist_add(hist, TOP + 1, 0);
    sb_hist_add(hist, UINT64_MAX, 0);
    ck_assert_uint_eq(sb_hist_percentile(hist, 1, 0), TOP);
    ck_assert_uint_eq(sb_hist_percentile(hist, 1000, 0), TOP);
}
END_TEST

/* Written in the middle of a window: seen in it and in the six that follow. */
START_TEST(values_expire)
{
    const uint64_t now = 1000 * SB_HIST_WINDOW_MS + 5000;

    sb_hist_add(hist, 3, now);
    for (uint64_t later = 0; later < 65000; later += 2500)
        ck_assert_uint_eq(sb_hist_percentile(hist, 500, now + later), 3);
    ck_assert_uint_eq(sb_hist_percentile(hist, 500, now + 65000), 0);
    ck_assert_uint_eq(sb_hist_percentile(hist, 500, now + 1000000), 0);
}
END_TEST

START_TEST(windows_are_used_anew)
{
    for (uint64_t window = 0; window < 30; window++) {
        uint64_t now = window * SB_HIST_WINDOW_MS;
        for (int i = 0; i < 3; i++)
            sb_hist_add(hist, window, now);
        ck_assert_uint_eq(total_in((uint32_t)(window % SB_HIST_WINDOWS)), 3);
    }
    /* 23 to 29 are left, in buckets of four */
    ck_assert_uint_eq(sb_hist_percentile(hist, 1, 29 * SB_HIST_WINDOW_MS), 23);
    ck_assert_uint_eq(sb_hist_percentile(hist, 1000, 29 * SB_HIST_WINDOW_MS), 31);
}
END_TEST

START_TEST(a_clock_far_behind_changes_nothing)
{
    const uint64_t now = 100 * SB_HIST_WINDOW_MS;

    sb_hist_add(hist, 2, now);
    sb_hist_add(hist, 1, now - SB_HIST_WINDOWS * SB_HIST_WINDOW_MS);
    ck_assert_uint_eq(sb_hist_percentile(hist, 1, now), 2);
    ck_assert_uint_eq(total_in(100 % SB_HIST_WINDOWS), 1);
}
END_TEST

/* Each child goes through the windows; whoever comes first renews one that is full of old values.
 */
START_TEST(writers_lose_nothing)
{
    enum { CHILDREN = 3, ADDS = 500, FIRST = 70, LAST = 76 };

    for (uint32_t w = 0; w < SB_HIST_WINDOWS; w++) {
        for (uint32_t b = 0; b < SB_HIST_BUCKETS; b++)
            atomic_store(&hist->count[w][b], 1000);
    }
    for (int c = 0; c < CHILDREN; c++) {
        if (fork() != 0)
            continue;
        for (uint64_t window = FIRST; window <= LAST; window++) {
            for (int i = 0; i < ADDS; i++)
                sb_hist_add(hist, (uint64_t)i, window * SB_HIST_WINDOW_MS);
        }
        _exit(0);
    }
    while (wait(NULL) > 0)
        ;
    for (uint32_t window = FIRST; window <= LAST; window++)
        ck_assert_uint_eq(total_in(window % SB_HIST_WINDOWS), CHILDREN * ADDS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool histogram");
    TCase *tcase = tcase_create("histogram");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, empty_is_zero);
    tcase_add_test(tcase, percentiles_are_within_the_promise);
    tcase_add_test(tcase, every_single_value);
    tcase_add_test(tcase, above_the_last_bucket);
    tcase_add_test(tcase, values_expire);
    tcase_add_test(tcase, windows_are_used_anew);
    tcase_add_test(tcase, a_clock_far_behind_changes_nothing);
    tcase_add_test(tcase, writers_lose_nothing);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
