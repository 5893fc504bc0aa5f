/*
 * Maglev tables: the paper's example, a model that does what the header says word by word, shares,
 * and how many entries move when backends leave.
 */
#include "sched/maglev.h"

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { BACKENDS = 1000 };

static struct maglev_backend backends[BACKENDS];
static uint16_t entries[MAGLEV_SIZE_LARGE], others[MAGLEV_SIZE_LARGE];
static uint32_t shares[BACKENDS];

static void name_backends(uint32_t n, uint64_t seed, uint32_t size)
{
    for (uint32_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof(name), "b%u", i);
        backends[i] = maglev_backend(name, 1, seed, size);
    }
}

static void build(uint32_t n, uint32_t size, uint16_t *into)
{
    memset(into, 0xff, size * sizeof(*into)); /* an entry that is left out will be out of range */
    ck_assert_int_eq(maglev_build(backends, n, size, into), 0);
}

static void count_shares(uint32_t n, uint32_t size)
{
    uint32_t outside = 0;

    memset(shares, 0, sizeof(shares));
    for (uint32_t e = 0; e < size; e++) {
        if (entries[e] < n)
            shares[entries[e]]++;
        else
            outside++;
    }
    ck_assert_uint_eq(outside, 0);
}

START_TEST(the_papers_example)
{
    static const uint16_t all[] = {1, 0, 1, 0, 2, 2, 0}, without_one[] = {0, 0, 0, 0, 2, 2, 2};
    struct maglev_backend three[] = {{3, 4, 1}, {0, 2, 1}, {3, 1, 1}};

    ck_assert_int_eq(maglev_build(three, 3, 7, entries), 0);
    ck_assert_mem_eq(entries, all, sizeof(all));
    three[1].weight = 0;
    ck_assert_int_eq(maglev_build(three, 3, 7, entries), 0);
    ck_assert_mem_eq(entries, without_one, sizeof(without_one));
}
END_TEST

START_TEST(nobody_with_a_weight)
{
    const struct maglev_backend none[] = {{1, 1, 0}, {2, 2, 0}};

    entries[0] = 77;
    ck_assert_int_eq(maglev_build(none, 0, 7, entries), -EINVAL);
    ck_assert_int_eq(maglev_build(none, 2, 7, entries), -EINVAL);
    ck_assert_uint_eq(entries[0], 77);
}
END_TEST

START_TEST(more_backends_than_entries)
{
    static const uint16_t firsts[] = {1, 0};
    const struct maglev_backend three[] = {{1, 1, 5}, {1, 1, 1}, {0, 1, 1}};

    ck_assert_int_eq(maglev_build(three, 3, 2, entries), 0);
    ck_assert_mem_eq(entries, firsts, sizeof(firsts));
}
END_TEST

START_TEST(size_follows_backends)
{
    ck_assert_uint_eq(maglev_size(1), MAGLEV_SIZE);
    ck_assert_uint_eq(maglev_size(MAGLEV_LARGE_FROM), MAGLEV_SIZE);
    ck_assert_uint_eq(maglev_size(MAGLEV_LARGE_FROM + 1), MAGLEV_SIZE_LARGE);
}
END_TEST

static bool is_prime(uint32_t x)
{
    for (uint32_t d = 2; d * d <= x; d++) {
        if (x % d == 0)
            return false;
    }
    return x > 1;
}

START_TEST(sizes_are_primes)
{
    ck_assert(is_prime(MAGLEV_SIZE));
    ck_assert(is_prime(MAGLEV_SIZE_LARGE));
}
END_TEST

START_TEST(names_decide_and_seeds_hide)
{
    uint32_t out_of_range = 0, alike = 0;

    for (uint32_t i = 0; i < 3000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "b%u", i);
        struct maglev_backend one = maglev_backend(name, i, 5, 251);
        struct maglev_backend again = maglev_backend(name, i, 5, 251);
        struct maglev_backend other = maglev_backend(name, i, 6, 251);
        out_of_range += one.offset >= 251 || one.skip < 1 || one.skip >= 251 || one.weight != i;
        out_of_range += again.offset != one.offset || again.skip != one.skip;
        alike += other.offset == one.offset && other.skip == one.skip;
    }
    ck_assert_uint_eq(out_of_range, 0);
    ck_assert_uint_le(alike, 5); /* 3000 of 251 * 250 are due to chance: 0.05 */
}
END_TEST

/* The header's words, in the simplest way: everyone's credit, round by round. */
static void model_build(const struct maglev_backend *list, uint32_t n, uint32_t size,
                        uint16_t *into)
{
    uint64_t credit[64], largest = 0;
    uint32_t line[64], at[64], left = size; /* line: who has waited longer stands before */

    for (uint32_t i = 0; i < n; i++) {
        largest = list[i].weight > largest ? list[i].weight : largest;
        line[i] = i;
        at[i] = list[i].offset;
    }
    for (uint32_t i = 0; i < n; i++)
        credit[i] = largest - 1;
    memset(into, 0xff, size * sizeof(*into));
    while (left > 0) {
        uint32_t taken[64], waiting[64], n_taken = 0, n_waiting = 0;
        for (uint32_t k = 0; k < n; k++) {
            uint32_t i = line[k];
            credit[i] += list[i].weight;
            if (credit[i] < largest || left == 0) {
                waiting[n_waiting++] = i;
                continue;
            }
            while (into[at[i]] != UINT16_MAX)
                at[i] = (at[i] + list[i].skip) % size;
            into[at[i]] = (uint16_t)i;
            credit[i] -= largest;
            taken[n_taken++] = i;
            left--;
        }
        memcpy(line, waiting, n_waiting * sizeof(*line));
        memcpy(line + n_waiting, taken, n_taken * sizeof(*line));
    }
}

static uint32_t random_weight(int kind)
{
    switch (kind) {
    case 0:
        return (uint32_t)random() % 4;
    case 1:
        return 1 + (uint32_t)random() % 65535;
    case 2:
        return random() % 5 == 0 ? 65535 : (uint32_t)random() % 3;
    default:
        return random() % 2 == 0 ? UINT32_MAX - (uint32_t)random() % 3 : (uint32_t)random();
    }
}

START_TEST(as_the_model)
{
    static const uint32_t sizes[] = {2, 3, 7, 61, 251, 257, 263, 521, 1009};
    uint32_t different = 0;

    srandom((unsigned)_i);
    for (int round = 0; round < 200; round++) {
        uint32_t size = sizes[random() % 9], n = 1 + (uint32_t)random() % 30;
        for (uint32_t i = 0; i < n; i++) {
            backends[i].offset = (uint32_t)random() % size;
            backends[i].skip = 1 + (uint32_t)random() % (size - 1);
            backends[i].weight = random_weight(_i);
        }
        backends[random() % n].weight |= 1;
        build(n, size, entries);
        model_build(backends, n, size, others);
        different += memcmp(entries, others, size * sizeof(*entries)) != 0;
    }
    ck_assert_uint_eq(different, 0);
}
END_TEST

/* In their real size, with all kinds of weights. */
START_TEST(large_ones_as_the_model)
{
    name_backends(20, 7, MAGLEV_SIZE);
    srandom((unsigned)_i);
    for (uint32_t i = 1; i < 20; i++)
        backends[i].weight = random_weight(_i);
    build(20, MAGLEV_SIZE, entries);
    model_build(backends, 20, MAGLEV_SIZE, others);
    ck_assert_mem_eq(entries, others, MAGLEV_SIZE * sizeof(*entries));
}
END_TEST

/* Balancers that share a seed must agree whatever version they are of. */
static const struct known {
    uint32_t n;
    uint64_t hash;
} knowns[] = {
    {1, UINT64_C(0x112b168938171958)},
    {20, UINT64_C(0x52339d03acb3db8f)},
    {600, UINT64_C(0x5ae0ba082b0e1432)},
    {601, UINT64_C(0xb48d6d7361d029e8)},
};

START_TEST(tables_stay_the_same)
{
    uint32_t n = knowns[_i].n, size = maglev_size(n);

    name_backends(n, 9, size);
    for (uint32_t i = 0; i < n; i++)
        backends[i].weight = 1 + i % 7 * 3;
    build(n, size, entries);
    ck_assert_uint_eq(XXH3_64bits(entries, size * sizeof(*entries)), knowns[_i].hash);
}
END_TEST

START_TEST(equal_backends_differ_by_one)
{
    name_backends(BACKENDS, 1, MAGLEV_SIZE);
    build(BACKENDS, MAGLEV_SIZE, entries);
    count_shares(BACKENDS, MAGLEV_SIZE);
    uint32_t least = shares[0], most = shares[0];
    for (uint32_t i = 0; i < BACKENDS; i++) {
        least = shares[i] < least ? shares[i] : least;
        most = shares[i] > most ? shares[i] : most;
    }
    ck_assert_uint_eq(least, 65);
    ck_assert_uint_eq(most, 66);
}
END_TEST

/*
 * After r whole rounds everyone has r * weight / largest weight, rounded up. Rounding adds up to as
 * many entries as there are backends, and so many fewer are left for rounds; the last one is cut
 * short.
 */
START_TEST(shares_follow_weights)
{
    double weight_sum = 0;
    uint32_t off = 0;

    name_backends(100, 1, MAGLEV_SIZE);
    srandom(8);
    for (uint32_t i = 0; i < 100; i++) {
        backends[i].weight = _i == 0 ? 1 + i : random_weight(1);
        weight_sum += backends[i].weight;
    }
    build(100, MAGLEV_SIZE, entries);
    count_shares(100, MAGLEV_SIZE);
    for (uint32_t i = 0; i < 100; i++) {
        double part = backends[i].weight / weight_sum;
        off += shares[i] > MAGLEV_SIZE * part + 2 || shares[i] < (MAGLEV_SIZE - 100) * part - 1;
    }
    ck_assert_uint_eq(off, 0);
}
END_TEST

START_TEST(one_dwarfs_the_other)
{
    name_backends(2, 1, MAGLEV_SIZE);
    backends[_i].weight = 65535;
    build(2, MAGLEV_SIZE, entries);
    count_shares(2, MAGLEV_SIZE);
    /* first turns, 65534 more of the large one, and a second of the small one */
    ck_assert_uint_eq(shares[_i], 65535);
    ck_assert_uint_eq(shares[1 - _i], 2);
}
END_TEST

START_TEST(everyone_has_an_entry)
{
    uint32_t with_one = 0;

    name_backends(600, 1, MAGLEV_SIZE);
    for (uint32_t i = 0; i < 300; i++)
        backends[2 * i].weight = 65535;
    build(600, MAGLEV_SIZE, entries);
    count_shares(600, MAGLEV_SIZE);
    for (uint32_t i = 0; i < 300; i++)
        with_one += shares[2 * i + 1] == 1;
    ck_assert_uint_eq(with_one, 300);
}
END_TEST

/*
 * Percent of all entries that move although their backend stays, when others leave. The expected
 * figures were computed elsewhere for the same construction with other hashes. With seed 1 these
 * names give 0.58, 2.31, 3.56, 3.03, 3.23 and 13.73; seeds 1 to 20 stay within 21 % of the figures.
 */
static const struct leaving {
    uint32_t size, n, leave;
    double moved;
} leavings[] = {
    {MAGLEV_SIZE, 100, 1, 0.55}, {MAGLEV_SIZE, 1000, 10, 2.36}, {MAGLEV_SIZE, 1000, 100, 3.5},
    {4093, 100, 1, 2.98},        {4093, 1000, 10, 3.54},        {4093, 1000, 100, 13.8},
};

START_TEST(few_entries_move)
{
    const struct leaving *leaving = &leavings[_i];
    uint32_t moved = 0, kept_by_gone = 0;

    name_backends(leaving->n, 1, leaving->size);
    build(leaving->n, leaving->size, entries);
    for (uint32_t k = 0; k < leaving->leave; k++)
        backends[k * (leaving->n / leaving->leave)].weight = 0;
    build(leaving->n, leaving->size, others);
    for (uint32_t e = 0; e < leaving->size; e++) {
        moved += entries[e] != others[e] && backends[entries[e]].weight != 0;
        kept_by_gone += backends[others[e]].weight == 0;
    }
    double percent = 100.0 * moved / leaving->size;
    ck_assert_uint_eq(kept_by_gone, 0);
    ck_assert_double_eq_tol(percent, leaving->moved, 0.25 * leaving->moved);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched maglev");
    TCase *tcase = tcase_create("maglev");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_papers_example);
    tcase_add_test(tcase, nobody_with_a_weight);
    tcase_add_test(tcase, more_backends_than_entries);
    tcase_add_test(tcase, size_follows_backends);
    tcase_add_test(tcase, sizes_are_primes);
    tcase_add_test(tcase, names_decide_and_seeds_hide);
    tcase_add_loop_test(tcase, as_the_model, 0, 4);
    tcase_add_loop_test(tcase, large_ones_as_the_model, 0, 4);
    tcase_add_loop_test(tcase, tables_stay_the_same, 0, 4);
    tcase_add_test(tcase, equal_backends_differ_by_one);
    tcase_add_loop_test(tcase, shares_follow_weights, 0, 2);
    tcase_add_loop_test(tcase, one_dwarfs_the_other, 0, 2);
    tcase_add_test(tcase, everyone_has_an_entry);
    tcase_add_loop_test(tcase, few_entries_move, 0, 6);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
