/* Memory that the slab allocator gives back after a peak: which pages, how often, at what cost. The
 * kernel is asked what is there, and what is given back is written down on its way to it. */
#include "base/slab.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ITEM_BYTES  576
#define ARENA_BYTES ((size_t)64 * 1024)
#define ITEMS       900 /* of which some arenas are full */
#define PAGES_MAX   64  /* of one, whatever a page is */
#define ALL         100000

static struct slab slab;
static unsigned char *items[ITEMS];
static size_t page;
static size_t n_given; /* pages, by slab_trim */
static size_t n_calls;

int __real_madvise(void *from, size_t bytes, int advice);
int __wrap_madvise(void *from, size_t bytes, int advice);

int __wrap_madvise(void *from, size_t bytes, int advice)
{
    n_given += bytes / page;
    n_calls++;
    return __real_madvise(from, bytes, advice);
}

static void use(int i)
{
    items[i] = slab_alloc(&slab);
    memset(items[i], i % 251, slab.item_bytes);
}

static void drop(int i)
{
    slab_free(&slab, items[i]);
    items[i] = NULL;
}

static void setup(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    n_given = n_calls = 0;
    slab_init(&slab, ITEM_BYTES, ARENA_BYTES);
    for (int i = 0; i < ITEMS; i++) {
        use(i);
    }
}

static void teardown(void)
{
    slab_fini(&slab);
}

/* All but every nth. */
static void drop_most(int n)
{
    for (int i = 0; i < ITEMS; i++) {
        if (i % n != 0) {
            drop(i);
        }
    }
}

static char *arena_of(const void *item)
{
    return (char *)((uintptr_t)item & ~(uintptr_t)(ARENA_BYTES - 1));
}

static size_t count_resident(char *arena)
{
    unsigned char there[PAGES_MAX];
    size_t n = 0;

    ck_assert_int_eq(mincore(arena, ARENA_BYTES, there), 0);
    for (size_t i = 0; i < ARENA_BYTES / page; i++) {
        n += there[i] & 1;
    }
    return n;
}

/* That have a header or some of an item in use, of the arena of items[at]; 0 if an item before it
 * has the same one. */
static size_t count_needed(int at, char *arena)
{
    bool needed[PAGES_MAX] = {true};
    size_t n = 0;

    for (int i = 0; i < ITEMS; i++) {
        if (items[i] == NULL || arena_of(items[i]) != arena) {
            continue;
        }
        if (i < at) {
            return 0;
        }
        needed[(size_t)((char *)items[i] - arena) / page] = true;
        needed[(size_t)((char *)items[i] + ITEM_BYTES - 1 - arena) / page] = true;
    }
    for (size_t i = 0; i < ARENA_BYTES / page; i++) {
        n += needed[i];
    }
    return n;
}

/* Of all arenas with an item in use: resident pages that nobody needs. */
static size_t count_idle(void)
{
    size_t n = 0;

    for (int i = 0; i < ITEMS; i++) {
        if (items[i] != NULL) {
            size_t needed = count_needed(i, arena_of(items[i]));

            n += needed > 0 ? count_resident(arena_of(items[i])) - needed : 0;
        }
    }
    return n;
}

static size_t count_damaged(void)
{
    size_t n = 0;

    for (int i = 0; i < ITEMS; i++) {
        for (size_t k = 0; items[i] != NULL && k < ITEM_BYTES; k++) {
            n += items[i][k] != i % 251;
        }
    }
    return n;
}

START_TEST(only_pages_in_use_stay)
{
    size_t idle;

    drop_most(50);
    idle = count_idle();
    ck_assert_uint_gt(idle, ITEMS * ITEM_BYTES / page / 2);
    ck_assert_uint_gt(slab_trim(&slab, ALL), 0);
    ck_assert_uint_eq(count_idle(), 0);
    ck_assert_uint_ge(n_given, idle);
    ck_assert_uint_le(n_given, idle + ARENA_BYTES / page); /* the spare one's */
    ck_assert_uint_lt(n_calls, n_given / 2);               /* neighbours go together */
    ck_assert_uint_eq(count_damaged(), 0);
}
END_TEST

START_TEST(pages_go_back_once)
{
    drop_most(50);
    (void)slab_trim(&slab, ALL);
    n_given = 0;
    ck_assert_uint_eq(slab_trim(&slab, ALL), 0);
    drop(50); /* its arena is looked at again; for the others a glance does */
    (void)slab_trim(&slab, 2 * slab.arenas);
    ck_assert_uint_ge(n_given, 1);
    ck_assert_uint_le(n_given, 2);
    ck_assert_uint_eq(count_idle(), 0);
    n_given = 0;
    use(50); /* where that was, or another that lost its pages */
    drop(50);
    (void)slab_trim(&slab, ALL);
    ck_assert_uint_le(n_given, 2);
    ck_assert_uint_eq(count_idle(), 0);
}
END_TEST

START_TEST(all_can_be_used_again)
{
    size_t arenas = slab.arenas;

    for (int round = 0; round < 3; round++) {
        drop_most(20 + round);
        (void)slab_trim(&slab, ALL);
        for (int i = 0; i < ITEMS; i++) {
            if (items[i] == NULL) {
                use(i);
            }
        }
        ck_assert_uint_eq(slab.used, ITEMS);
        ck_assert_uint_eq(slab.arenas, arenas);
        ck_assert_uint_eq(count_damaged(), 0);
    }
}
END_TEST

/* One arena's a call, and each call goes on where the last one stopped. */
START_TEST(a_call_does_no_more_than_it_is_told)
{
    size_t calls = 0;

    drop_most(50);
    (void)slab_trim(&slab, 1); /* the spare one, if any */
    while (count_idle() > 0 && calls < 2 * slab.arenas) {
        n_given = 0;
        (void)slab_trim(&slab, 1);
        ck_assert_uint_le(n_given, 2 * ARENA_BYTES / page);
        calls++;
    }
    ck_assert_uint_eq(count_idle(), 0);
    ck_assert_uint_ge(calls, slab.arenas / 2);
}
END_TEST

/* The pages of large items are what takes the time: few items are many of them. */
START_TEST(pages_are_counted_like_items)
{
    enum { LARGE = 7 * 40, MOST = 256 };
    const size_t arena_pages = 8 * ARENA_BYTES / page;
    void *large[LARGE];
    struct slab large_slab;
    size_t calls = 0;

    slab_init(&large_slab, ARENA_BYTES, 8 * ARENA_BYTES);
    for (int i = 0; i < LARGE; i++) {
        large[i] = slab_alloc(&large_slab);
        memset(large[i], 1, ARENA_BYTES);
    }
    for (int i = 0; i < LARGE; i++) {
        if (i % 7 != 0) {
            slab_free(&large_slab, large[i]);
        }
    }
    for (size_t n = 1; n > 0; calls++) {
        n_given = 0;
        n = slab_trim(&large_slab, MOST);
        ck_assert_uint_le(n_given, MOST + arena_pages);
    }
    ck_assert_uint_ge(calls, 40 * 5 * (ARENA_BYTES / page) / (MOST + arena_pages));
    slab_fini(&large_slab);
}
END_TEST

/* One that is always the first, and has nothing to give, does not keep others from being looked at.
 */
START_TEST(each_arena_has_its_turn)
{
    for (int i = 150; i < ITEMS; i++) { /* the first arena stays full */
        if (i % 50 != 0) {
            drop(i);
        }
    }
    ck_assert_uint_gt(count_idle(), 0);
    for (size_t i = 0; i < 3 * slab.arenas; i++) {
        drop(5);
        (void)slab_trim(&slab, 2);
        use(5);
    }
    ck_assert_uint_eq(count_idle(), 0);
}
END_TEST

/* The arena at which the last call stopped is no more when the next one comes. */
START_TEST(arenas_may_go_between_calls)
{
    drop_most(50);
    (void)slab_trim(&slab, 200);
    for (int i = 0; i < ITEMS - 50; i++) {
        drop(i);
    }
    (void)slab_trim(&slab, 200);
    (void)slab_trim(&slab, ALL);
    (void)slab_trim(&slab, ALL);
    ck_assert_uint_eq(count_idle(), 0);
    ck_assert_uint_eq(count_damaged(), 0);
}
END_TEST

/* Each item that goes is followed by another one, as sessions are: they gather where there is most,
 * and the rest runs empty. */
START_TEST(thin_arenas_run_empty)
{
    drop_most(50);
    (void)slab_trim(&slab, ALL);
    ck_assert_uint_ge(slab.arenas, 8);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < ITEMS; i += 50) {
            drop(i);
            use(i);
        }
    }
    ck_assert_uint_le(slab.arenas, 3);
    ck_assert_uint_eq(count_damaged(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/slab_trim");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, only_pages_in_use_stay);
    tcase_add_test(tc, pages_go_back_once);
    tcase_add_test(tc, all_can_be_used_again);
    tcase_add_test(tc, a_call_does_no_more_than_it_is_told);
    tcase_add_test(tc, pages_are_counted_like_items);
    tcase_add_test(tc, each_arena_has_its_turn);
    tcase_add_test(tc, arenas_may_go_between_calls);
    tcase_add_test(tc, thin_arenas_run_empty);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
