/* Rate limits: burst, pace, what is due, and never an event too many whoever asks. */
#include "pool/rate.h"

#include <check.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 2, TAKEN_MAX = 4000 };

/* What the processes of a test share. */
static struct shared {
    _Atomic uint64_t word;
    _Atomic uint64_t clock_ns;
    _Atomic uint32_t n_ready;
    uint32_t n_taken[CHILDREN];
    uint64_t taken_ns[CHILDREN][TAKEN_MAX]; /* when, by the clock */
} * shared;

static void setup(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
}

static void teardown(void)
{
    munmap(shared, sizeof(*shared));
}

static uint32_t take_all(const struct snapshot_rate *rate, uint64_t now_ns)
{
    uint32_t n = 0;
    while (n < 1000000 && rate_take(&shared->word, rate, now_ns))
        n++;
    return n;
}

START_TEST(no_limit)
{
    const struct snapshot_rate none = {0};

    ck_assert_uint_eq(take_all(&none, 5), 1000000);
    ck_assert(rate_allows(&shared->word, &none, 5));
    ck_assert_uint_eq(atomic_load(&shared->word), 0);
}
END_TEST

START_TEST(a_burst_then_one_per_interval)
{
    const struct snapshot_rate rate = {.interval_ns = 1000, .burst = 5};

    ck_assert_uint_eq(take_all(&rate, 70000), 5);
    ck_assert_uint_eq(take_all(&rate, 70999), 0);
    ck_assert_uint_eq(take_all(&rate, 71000), 1);
    ck_assert_uint_eq(take_all(&rate, 73500), 2);
    ck_assert_uint_eq(take_all(&rate, 73999), 0);
    ck_assert_uint_eq(take_all(&rate, 74000), 1);
    ck_assert_uint_eq(take_all(&rate, 500000), 5); /* rests make no larger burst */
}
END_TEST

START_TEST(one_at_a_time)
{
    const struct snapshot_rate rate = {.interval_ns = 1000000000, .burst = 1};

    ck_assert_uint_eq(take_all(&rate, 3), 1);
    ck_assert_uint_eq(take_all(&rate, UINT64_C(1000000002)), 0);
    ck_assert_uint_eq(take_all(&rate, UINT64_C(1000000003)), 1);
}
END_TEST

/* What a slower rate has left behind delays nobody for as long as that rate would have. */
START_TEST(a_faster_rate_than_before)
{
    const struct snapshot_rate hourly = {.interval_ns = UINT64_C(3600000000000), .burst = 100};
    const struct snapshot_rate fast = {.interval_ns = 1000000, .burst = 10};

    ck_assert_uint_eq(take_all(&hourly, 5000), 100);
    ck_assert_uint_eq(rate_due_ns(&shared->word, &fast, 6000), 6000);
    ck_assert_uint_eq(take_all(&fast, 6000), 10);
    ck_assert_uint_eq(take_all(&fast, 1006000), 1);
}
END_TEST

/* Asking and taking must be of one mind, to the nanosecond. */
START_TEST(due_is_when_it_may)
{
    uint64_t now_ns = 1000000;
    int wrong = 0;

    srandom(4);
    for (uint32_t burst = 1; burst < 20; burst++) {
        const struct snapshot_rate rate = {.interval_ns = 1 + (uint64_t)random() % 500,
                                           .burst = burst};
        for (int i = 0; i < 500; i++) {
            now_ns += (uint64_t)random() % 700;
            uint64_t due_ns = rate_due_ns(&shared->word, &rate, now_ns);
            wrong += rate_allows(&shared->word, &rate, now_ns) != (due_ns <= now_ns);
            if (due_ns > now_ns) {
                wrong += rate_take(&shared->word, &rate, due_ns - 1);
                now_ns = due_ns;
            }
            wrong += !rate_allows(&shared->word, &rate, now_ns);
            wrong += !rate_take(&shared->word, &rate, now_ns);
        }
        atomic_store(&shared->word, 0);
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

/* Spins, so that all go on at the same moment; but lets others run now and then. */
static void wait_for(uint32_t n_ready)
{
    for (uint32_t spins = 1; atomic_load(&shared->n_ready) < n_ready; spins++) {
        if (spins % 10000 == 0)
            sched_yield();
    }
}

/* One of the processes: takes what it gets while time goes on, a tick with every attempt. */
static void hammer(uint32_t child, const struct snapshot_rate *rate, uint64_t tick_ns,
                   uint64_t end_ns)
{
    uint32_t n = 0;
    uint64_t now_ns = 0;

    atomic_fetch_add(&shared->n_ready, 1);
    wait_for(CHILDREN);
    while (now_ns < end_ns && n < TAKEN_MAX) {
        now_ns = atomic_fetch_add(&shared->clock_ns, tick_ns);
        if (rate_take(&shared->word, rate, now_ns))
            shared->taken_ns[child][n++] = now_ns;
    }
    shared->n_taken[child] = n;
    _exit(0);
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static uint32_t gather(uint64_t *all_ns)
{
    uint32_t n = 0;
    for (uint32_t c = 0; c < CHILDREN; c++) {
        memcpy(&all_ns[n], shared->taken_ns[c], shared->n_taken[c] * sizeof(*all_ns));
        n += shared->n_taken[c];
    }
    qsort(all_ns, n, sizeof(*all_ns), compare);
    return n;
}

/* In any stretch of time there are at most burst + length / interval. Nearly all of them are taken,
 * but for what is lost between two ticks. */
START_TEST(never_more_than_allowed)
{
    static const struct snapshot_rate rates[] = {{.interval_ns = 1000, .burst = 10},
                                                 {.interval_ns = 300, .burst = 1}};
    static uint64_t all_ns[CHILDREN * TAKEN_MAX];
    const struct snapshot_rate *rate = &rates[_i];
    const uint64_t start_ns = 1000000, end_ns = 1600000;

    atomic_store(&shared->clock_ns, start_ns);
    for (uint32_t c = 0; c < CHILDREN; c++) {
        if (fork() == 0)
            hammer(c, rate, 7, end_ns);
    }
    while (wait(NULL) > 0)
        ;
    uint32_t n = gather(all_ns), too_many = 0;
    for (uint32_t from = 0; from < n; from++) {
        for (uint32_t to = from; to < n; to++)
            too_many +=
                to - from + 1 > rate->burst + (all_ns[to] - all_ns[from]) / rate->interval_ns;
    }
    ck_assert_uint_eq(too_many, 0);
    ck_assert_uint_ge(n, (end_ns - start_ns) / rate->interval_ns * 9 / 10);
}
END_TEST

/* Both at the very same moment, again and again. */
START_TEST(exactly_the_burst_at_one_moment)
{
    enum { ROUNDS = 200 };
    const struct snapshot_rate rate = {.interval_ns = 10, .burst = 1000};

    for (uint32_t c = 0; c < CHILDREN; c++) {
        if (fork() != 0)
            continue;
        uint32_t n = 0;
        for (uint64_t round = 1; round <= ROUNDS; round++) {
            /* Nobody begins a round before everybody has ended the last one. */
            atomic_fetch_add(&shared->n_ready, 1);
            wait_for((uint32_t)round * CHILDREN);
            while (rate_take(&shared->word, &rate, round * 1000000))
                n++;
        }
        shared->n_taken[c] = n;
        _exit(0);
    }
    while (wait(NULL) > 0)
        ;
    uint32_t sum = 0;
    for (uint32_t c = 0; c < CHILDREN; c++)
        sum += shared->n_taken[c];
    ck_assert_uint_eq(sum, ROUNDS * 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool rate");
    TCase *tcase = tcase_create("rate");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, no_limit);
    tcase_add_test(tcase, a_burst_then_one_per_interval);
    tcase_add_test(tcase, one_at_a_time);
    tcase_add_test(tcase, a_faster_rate_than_before);
    tcase_add_test(tcase, due_is_when_it_may);
    tcase_add_loop_test(tcase, never_more_than_allowed, 0, 2);
    tcase_add_test(tcase, exactly_the_burst_at_one_moment);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
