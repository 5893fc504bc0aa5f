/* The slab allocator: order, alignment, giving back, and random use with patterns in every item. */
#include "base/slab.h"

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif
#ifdef SANITIZED
#include <sanitizer/asan_interface.h>
#endif

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static struct slab slab;

static void teardown(void)
{
    slab_fini(&slab);
    ck_assert_uint_eq(slab.arenas, 0);
    ck_assert_uint_eq(slab.used, 0);
}

START_TEST(items_are_aligned_and_apart)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 1000, 4000};
    size_t size = sizes[_i];
    char *before = NULL;

    slab_init(&slab, size, 4096);
    ck_assert_uint_ge(slab.item_bytes, size);
    ck_assert_uint_eq(slab.item_bytes % 16, 0);
    for (int i = 0; i < 500; i++) {
        char *item = slab_alloc(&slab);

        ck_assert_ptr_nonnull(item);
        ck_assert_uint_eq((uintptr_t)item % 16, 0);
        if (before != NULL && item > before) {
            ck_assert_uint_ge((size_t)(item - before), slab.item_bytes);
        }
        memset(item, i, size);
        before = item;
    }
    ck_assert_uint_eq(slab.used, 500);
}
END_TEST

START_TEST(items_stay_inside_their_arena)
{
    slab_init(&slab, 1024, 4096); /* four would fit but for the header */
    for (int i = 0; i < 9; i++) {
        uintptr_t item = (uintptr_t)slab_alloc(&slab);

        ck_assert_uint_eq(item / 4096, (item + 1023) / 4096);
        ck_assert_uint_ne(item % 4096, 0);
    }
    ck_assert_uint_eq(slab.arenas, 3);
}
END_TEST

START_TEST(last_freed_is_first_reused)
{
    void *items[10];

    slab_init(&slab, 64, 4096);
    for (int i = 0; i < COUNT(items); i++) {
        items[i] = slab_alloc(&slab);
    }
    slab_free(&slab, items[3]);
    slab_free(&slab, items[7]);
    slab_free(&slab, items[5]);
    ck_assert_ptr_eq(slab_alloc(&slab), items[5]);
    ck_assert_ptr_eq(slab_alloc(&slab), items[7]);
    ck_assert_ptr_eq(slab_alloc(&slab), items[3]);
}
END_TEST

START_TEST(last_freed_is_first_reused_across_arenas)
{
    void *items[9];

    slab_init(&slab, 1024, 4096); /* three an arena */
    for (int i = 0; i < COUNT(items); i++) {
        items[i] = slab_alloc(&slab);
    }
    slab_free(&slab, items[0]);
    slab_free(&slab, items[8]);
    slab_free(&slab, items[1]);
    ck_assert_ptr_eq(slab_alloc(&slab), items[1]);
    ck_assert_ptr_eq(slab_alloc(&slab), items[0]);
    ck_assert_ptr_eq(slab_alloc(&slab), items[8]);
    ck_assert_uint_eq(slab.arenas, 3);
}
END_TEST

START_TEST(empty_arenas_go_back_but_one)
{
    void *items[30];

    slab_init(&slab, 1024, 4096);
    for (int i = 0; i < COUNT(items); i++) {
        items[i] = slab_alloc(&slab);
    }
    ck_assert_uint_eq(slab.arenas, 10);
    for (int i = 0; i < COUNT(items); i++) {
        slab_free(&slab, items[i]);
    }
    ck_assert_uint_eq(slab.used, 0);
    ck_assert_uint_eq(slab.arenas, 1);
    for (int i = 0; i < 4; i++) { /* from the spare first */
        ck_assert_ptr_nonnull(slab_alloc(&slab));
        ck_assert_uint_eq(slab.arenas, i < 3 ? 1 : 2);
    }
}
END_TEST

START_TEST(one_item_to_and_fro_maps_once)
{
    void *first;

    slab_init(&slab, 48, 4096);
    first = slab_alloc(&slab);
    for (int i = 0; i < 100; i++) {
        slab_free(&slab, first);
        ck_assert_uint_eq(slab.arenas, 1);
        ck_assert_ptr_eq(slab_alloc(&slab), first);
    }
}
END_TEST

START_TEST(null_is_free)
{
    slab_init(&slab, 48, 4096);
    slab_free(&slab, NULL);
    ck_assert_uint_eq(slab.used, 0);
}
END_TEST

START_TEST(fini_takes_used_items_too)
{
    slab_init(&slab, 1024, 4096);
    for (int i = 0; i < 10; i++) { /* full arenas and a partial one */
        (void)slab_alloc(&slab);
    }
    slab_fini(&slab);
    ck_assert_uint_eq(slab.arenas, 0);
    ck_assert_ptr_nonnull(slab_alloc(&slab)); /* and it may go on */
    ck_assert_uint_eq(slab.used, 1);
}
END_TEST

static size_t count_resident(const void *from, size_t pages)
{
    unsigned char there[128];
    size_t n = 0;

    ck_assert_int_eq(mincore((void *)(uintptr_t)from, pages * 4096, there), 0);
    for (size_t i = 0; i < pages; i++) {
        n += there[i] & 1;
    }
    return n;
}

/* What is in use keeps its arena, but not the pages of what is free in it. */
START_TEST(free_items_give_their_pages_back)
{
    char *items[7];
    size_t pages = 512 * 1024 / 4096;

    slab_init(&slab, 66000, 512 * 1024);
    for (int i = 0; i < COUNT(items); i++) {
        items[i] = slab_alloc(&slab);
        memset(items[i], i, 66000);
    }
    const char *arena = (char *)((uintptr_t)items[0] & ~(uintptr_t)(512 * 1024 - 1));
    ck_assert_uint_ge(count_resident(arena, pages), 7 * 16);
    for (int i = 0; i < COUNT(items); i++) {
        if (i != 3) {
            slab_free(&slab, items[i]);
        }
    }
    ck_assert_uint_eq(slab_trim(&slab, 100), 6);
    ck_assert_uint_le(count_resident(arena, pages), 17 + 6 * 2);
    ck_assert_uint_eq(slab_trim(&slab, 100), 0);
    size_t n_kept = 0;
    for (size_t i = 0; i < 66000; i++) {
        n_kept += items[3][i] == 3;
    }
    ck_assert_uint_eq(n_kept, 66000);
    /* They are handed out again, the lowest first, and what is handed in again is trimmed again. */
    ck_assert_ptr_eq(slab_alloc(&slab), items[0]);
    memset(items[0], 6, 66000);
    slab_free(&slab, items[0]);
    ck_assert_ptr_eq(slab_alloc(&slab), items[0]);
    ck_assert_ptr_eq(slab_alloc(&slab), items[1]);
    slab_free(&slab, items[0]);
    slab_free(&slab, items[1]);
    ck_assert_uint_eq(slab_trim(&slab, 100), 2);
    ck_assert_uint_le(count_resident(arena, pages), 17 + 6 * 2);
    slab_free(&slab, items[3]); /* the spare one now */
    ck_assert_uint_eq(slab_trim(&slab, 100), 1);
    ck_assert_uint_le(count_resident(arena, pages), 7 * 2);
}
END_TEST

START_TEST(untouched_pages_stay_untouched)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t arena_bytes = 64 * page;
    unsigned char resident[64] = {0};
    char *item;
    int count = 0;

    slab_init(&slab, 128, arena_bytes);
    item = slab_alloc(&slab);
    memset(item, 1, 128);
    slab_free(&slab, item);
    (void)slab_alloc(&slab);
    ck_assert_int_eq(mincore((char *)((uintptr_t)item & ~(arena_bytes - 1)), arena_bytes, resident),
                     0);
    for (int i = 0; i < 64; i++) {
        count += resident[i] & 1;
    }
    ck_assert_int_eq(count, 1);
}
END_TEST

START_TEST(random_use)
{
    enum { SLOTS = 400 };
    static const size_t sizes[] = {16, 40, 200, 900, 5000};
    static unsigned char *items[SLOTS];
    static unsigned char patterns[SLOTS];
    size_t size = sizes[_i];
    size_t used = 0;
    size_t n_damaged = 0;

    srandom((unsigned)_i + 7);
    slab_init(&slab, size, 16384);
    for (int round = 0; round < 15000; round++) {
        /* tides, so that arenas fill up and run empty */
        bool rising = round / 5000 % 2 == 0;
        int i = (int)(random() % SLOTS);

        if (items[i] == NULL && (rising || random() % 8 == 0)) {
            items[i] = slab_alloc(&slab);
            patterns[i] = (unsigned char)random();
            memset(items[i], patterns[i], size);
            used++;
        } else if (items[i] != NULL && (!rising || random() % 8 == 0)) {
            for (size_t n = 0; n < size; n++) {
                n_damaged += items[i][n] != patterns[i];
            }
            slab_free(&slab, items[i]);
            items[i] = NULL;
            used--;
        }
        if (round % 32 == 0) {
            (void)slab_trim(&slab, 40);
        }
        if (slab.used != used) {
            ck_abort_msg("%zu used, %zu expected", slab.used, used);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        slab_free(&slab, items[i]);
        items[i] = NULL;
    }
    ck_assert_uint_eq(n_damaged, 0);
    ck_assert_uint_eq(slab.arenas, 1);
}
END_TEST

#ifdef SANITIZED
START_TEST(freed_items_are_poisoned)
{
    char *a;
    char *b;

    slab_init(&slab, 64, 4096);
    a = slab_alloc(&slab);
    b = slab_alloc(&slab);
    slab_free(&slab, a);
    ck_assert(__asan_address_is_poisoned(a));
    ck_assert(__asan_address_is_poisoned(a + 63));
    ck_assert(!__asan_address_is_poisoned(b));
    ck_assert(__asan_address_is_poisoned(b + 64)); /* never handed out */
    ck_assert_ptr_eq(slab_alloc(&slab), a);
    ck_assert(!__asan_address_is_poisoned(a));
    ck_assert(!__asan_address_is_poisoned(a + 63));
}
END_TEST
#else
START_TEST(no_memory_is_null)
{
    struct rlimit limit = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
    void *items[8];

    slab_init(&slab, 1024, 4096);
    for (int i = 0; i < 3; i++) {
        items[i] = slab_alloc(&slab);
    }
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    items[3] = slab_alloc(&slab);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_ptr_null(items[3]);
    ck_assert_uint_eq(slab.used, 3);
    ck_assert_ptr_nonnull(slab_alloc(&slab));
}
END_TEST
#endif

#ifndef NDEBUG
START_TEST(anothers_item_is_caught)
{
    struct slab other;

    slab_init(&slab, 64, 4096);
    slab_init(&other, 64, 4096);
    (void)slab_alloc(&slab);
    slab_free(&slab, slab_alloc(&other));
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("base/slab");
    TCase *tc = tcase_create("all");
    TCase *faults = tcase_create("faults");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_loop_test(tc, items_are_aligned_and_apart, 0, 8);
    tcase_add_test(tc, items_stay_inside_their_arena);
    tcase_add_test(tc, last_freed_is_first_reused);
    tcase_add_test(tc, last_freed_is_first_reused_across_arenas);
    tcase_add_test(tc, empty_arenas_go_back_but_one);
    tcase_add_test(tc, one_item_to_and_fro_maps_once);
    tcase_add_test(tc, null_is_free);
    tcase_add_test(tc, fini_takes_used_items_too);
    tcase_add_test(tc, free_items_give_their_pages_back);
    tcase_add_test(tc, untouched_pages_stay_untouched);
    tcase_add_loop_test(tc, random_use, 0, 5);
#ifdef SANITIZED
    tcase_add_test(tc, freed_items_are_poisoned);
#else
    tcase_add_test(tc, no_memory_is_null);
#endif
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
#ifndef NDEBUG
    tcase_add_test_raise_signal(faults, anothers_item_is_caught, SIGABRT);
#endif
    suite_add_tcase(suite, faults);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
