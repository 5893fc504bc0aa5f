/* The timer wheel, among others against a model that simply looks through everything. */
#include "base/wheel.h"

#include <check.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define HOUR_MS      UINT64_C(3600000)
#define HORIZON_MS   ((UINT64_C(1) << (WHEEL_BITS * WHEEL_LEVELS)) * WHEEL_TICK_MS)

static struct wheel wheel;
static int fired;

static void count_fire(struct wheel_entry *entry, void *arg)
{
    (void)arg;
    ck_assert(!wheel_pending(entry));
    fired++;
}

static void setup(void)
{
    fired = 0;
    wheel_init(&wheel, 0);
}

START_TEST(empty_wheel)
{
    struct wheel_entry idle = {0};

    ck_assert_uint_eq(wheel_next_ms(&wheel, 0), UINT64_MAX);
    wheel_clear(&wheel, &idle);
    ck_assert(!wheel_pending(&idle));
    wheel_advance(&wheel, 1000 * HOUR_MS, count_fire, NULL);
    ck_assert_int_eq(fired, 0);
    ck_assert_uint_eq(wheel.count, 0);
}
END_TEST

/* On every power of two and beside it, from an odd start: fires at its tick and not one earlier. */
START_TEST(fires_at_its_tick)
{
    static const uint64_t starts[] = {
        0, 7, 12345, HOUR_MS + 3, HORIZON_MS - 8, HORIZON_MS * 5 - 9, HORIZON_MS * 7 + 16777216};

    for (unsigned shift = 3; shift < 34; shift++) {
        for (int beside = -9; beside <= 9; beside++) {
            struct wheel_entry entry = {0};
            uint64_t start = starts[_i];
            uint64_t due = start + (UINT64_C(1) << shift) + 32 + (uint64_t)(int64_t)beside;
            uint64_t tick_ms = (due + 7) / 8 * 8;

            setup();
            wheel_init(&wheel, start);
            wheel_set(&wheel, &entry, due);
            ck_assert(wheel_pending(&entry));
            wheel_advance(&wheel, tick_ms - 1, count_fire, NULL);
            ck_assert_int_eq(fired, 0);
            ck_assert_uint_eq(wheel_next_ms(&wheel, tick_ms - 1), 1);
            wheel_advance(&wheel, tick_ms, count_fire, NULL);
            ck_assert_int_eq(fired, 1);
            ck_assert(!wheel_pending(&entry));
            ck_assert_uint_eq(wheel.count, 0);
            ck_assert_uint_eq(wheel_next_ms(&wheel, tick_ms), UINT64_MAX);
        }
    }
}
END_TEST

START_TEST(a_past_deadline_fires_at_the_next_tick)
{
    struct wheel_entry entry = {0};

    wheel_init(&wheel, 1000);
    wheel_set(&wheel, &entry, 3);
    ck_assert_uint_le(wheel_next_ms(&wheel, 1000), WHEEL_TICK_MS);
    wheel_advance(&wheel, 1000 + WHEEL_TICK_MS, count_fire, NULL);
    ck_assert_int_eq(fired, 1);
}
END_TEST

START_TEST(time_going_back_does_nothing)
{
    struct wheel_entry entry = {0};

    wheel_init(&wheel, 1000);
    wheel_set(&wheel, &entry, 2000);
    wheel_advance(&wheel, 1500, count_fire, NULL);
    wheel_advance(&wheel, 10, count_fire, NULL);
    wheel_advance(&wheel, 1999, count_fire, NULL);
    ck_assert_int_eq(fired, 0);
    wheel_advance(&wheel, 2000, count_fire, NULL);
    ck_assert_int_eq(fired, 1);
}
END_TEST

START_TEST(set_again_moves)
{
    struct wheel_entry entry = {0};

    wheel_set(&wheel, &entry, 100);
    wheel_set(&wheel, &entry, HOUR_MS);
    ck_assert_uint_eq(wheel.count, 1);
    wheel_advance(&wheel, HOUR_MS - 1, count_fire, NULL);
    ck_assert_int_eq(fired, 0);
    wheel_set(&wheel, &entry, 2 * HOUR_MS);
    wheel_set(&wheel, &entry, HOUR_MS + 8);
    wheel_advance(&wheel, HOUR_MS + 8, count_fire, NULL);
    ck_assert_int_eq(fired, 1);
}
END_TEST

START_TEST(clearing_leaves_no_trace)
{
    struct wheel_entry entries[3] = {0};

    wheel_set(&wheel, &entries[0], 80);
    wheel_set(&wheel, &entries[1], 80);
    wheel_set(&wheel, &entries[2], HOUR_MS);
    wheel_clear(&wheel, &entries[1]);
    ck_assert_uint_eq(wheel_next_ms(&wheel, 0), 80);
    wheel_clear(&wheel, &entries[0]);
    wheel_clear(&wheel, &entries[0]);
    ck_assert_uint_eq(wheel.count, 1);
    ck_assert_uint_gt(wheel_next_ms(&wheel, 0), 80);
    wheel_clear(&wheel, &entries[2]);
    ck_assert_uint_eq(wheel_next_ms(&wheel, 0), UINT64_MAX);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        ck_assert_uint_eq(wheel.occupied[level], 0);
    }
}
END_TEST

START_TEST(beyond_the_horizon_waits_its_time)
{
    struct wheel_entry entry = {0};
    uint64_t due = 3 * HORIZON_MS + 4321 * 8;
    uint64_t now = 0;

    wheel_set(&wheel, &entry, due);
    for (int steps = 0; fired == 0; steps++) {
        uint64_t wait = wheel_next_ms(&wheel, now);

        ck_assert_uint_ge(wait, 1);
        now += wait;
        ck_assert_uint_le(now, due);
        wheel_advance(&wheel, now, count_fire, NULL);
        ck_assert_int_lt(steps, 20);
    }
    ck_assert_uint_eq(now, due);
}
END_TEST

START_TEST(the_end_of_time_is_bearable)
{
    struct wheel_entry entry = {0};

    wheel_set(&wheel, &entry, UINT64_MAX);
    wheel_advance(&wheel, 10 * HORIZON_MS, count_fire, NULL);
    ck_assert_int_eq(fired, 0);
    ck_assert(wheel_pending(&entry));
    wheel_clear(&wheel, &entry);
}
END_TEST

/* fire: clears all others that are due with it */
struct gang {
    struct wheel_entry members[8];
    int calls;
};

static void clear_the_others(struct wheel_entry *entry, void *arg)
{
    struct gang *gang = arg;

    gang->calls++;
    for (int i = 0; i < COUNT(gang->members); i++) {
        if (&gang->members[i] != entry) {
            ck_assert(wheel_pending(&gang->members[i]));
            wheel_clear(&wheel, &gang->members[i]);
        }
    }
}

START_TEST(fire_may_clear_who_is_next)
{
    struct gang gang = {0};

    for (int i = 0; i < COUNT(gang.members); i++) {
        wheel_set(&wheel, &gang.members[i], 5 * HOUR_MS);
    }
    wheel_advance(&wheel, 6 * HOUR_MS, clear_the_others, &gang);
    ck_assert_int_eq(gang.calls, 1);
    ck_assert_uint_eq(wheel.count, 0);
}
END_TEST

static void move_the_others(struct wheel_entry *entry, void *arg)
{
    struct gang *gang = arg;

    gang->calls++;
    for (int i = 0; i < COUNT(gang->members); i++) {
        if (&gang->members[i] != entry && wheel_pending(&gang->members[i])) {
            wheel_set(&wheel, &gang->members[i], 9 * HOUR_MS);
        }
    }
}

START_TEST(fire_may_move_who_is_next)
{
    struct gang gang = {0};

    for (int i = 0; i < COUNT(gang.members); i++) {
        wheel_set(&wheel, &gang.members[i], 800);
    }
    wheel_advance(&wheel, 800, move_the_others, &gang);
    ck_assert_int_eq(gang.calls, 1);
    ck_assert_uint_eq(wheel.count, COUNT(gang.members) - 1);
    wheel_advance(&wheel, 9 * HOUR_MS, count_fire, NULL);
    ck_assert_int_eq(fired, COUNT(gang.members) - 1);
}
END_TEST

static void set_myself_now(struct wheel_entry *entry, void *arg)
{
    (*(int *)arg)++;
    wheel_set(&wheel, entry, 0);
}

START_TEST(setting_oneself_in_the_past_does_not_spin)
{
    struct wheel_entry entry = {0};
    int calls = 0;

    wheel_set(&wheel, &entry, 8);
    wheel_advance(&wheel, 50 * HOUR_MS, set_myself_now, &calls);
    ck_assert_int_eq(calls, 1);
    ck_assert(wheel_pending(&entry));
    wheel_advance(&wheel, 50 * HOUR_MS + 8, set_myself_now, &calls);
    ck_assert_int_eq(calls, 2);
    wheel_clear(&wheel, &entry);
}
END_TEST

static void free_it(struct wheel_entry *entry, void *arg)
{
    (*(int *)arg)++;
    free(entry);
}

START_TEST(fire_may_free)
{
    int calls = 0;

    for (int i = 0; i < 100; i++) {
        wheel_set(&wheel, calloc(1, sizeof(struct wheel_entry)), (uint64_t)(i % 3) * 1000);
    }
    wheel_advance(&wheel, 10000, free_it, &calls);
    ck_assert_int_eq(calls, 100);
}
END_TEST

/* The naive model. */
#define N_ENTRIES 300

static struct {
    struct wheel_entry entries[N_ENTRIES];
    uint64_t due_tick[N_ENTRIES]; /* 0: not pending */
    uint64_t now_ms;
    uint64_t goal_tick;
    uint64_t last_tick; /* of the entry fired before, in this advance */
    bool meddles;
} model;

static uint64_t random_span(void)
{
    uint64_t value = (uint64_t)random() << 31 ^ (uint64_t)random();

    return value & ((UINT64_C(1) << (random() % 36)) - 1);
}

static void model_set(int i)
{
    uint64_t due_ms = model.now_ms + random_span();
    uint64_t tick;

    if (random() % 8 == 0) {
        due_ms = model.now_ms > 500 ? model.now_ms - (uint64_t)(random() % 500) : 0;
    }
    tick = (due_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
    model.due_tick[i] = tick > model.goal_tick ? tick : model.goal_tick + 1;
    wheel_set(&wheel, &model.entries[i], due_ms);
}

static void model_clear(int i)
{
    model.due_tick[i] = 0;
    wheel_clear(&wheel, &model.entries[i]);
}

static void model_meddle(void)
{
    int i = (int)(random() % N_ENTRIES);

    if (random() % 3 == 0) {
        model_clear(i);
    } else {
        model_set(i);
    }
}

static void model_fire(struct wheel_entry *entry, void *arg)
{
    ptrdiff_t i = entry - model.entries;

    ck_assert_ptr_eq(arg, &model);
    ck_assert(!wheel_pending(entry));
    ck_assert_uint_ne(model.due_tick[i], 0);
    ck_assert_uint_le(model.due_tick[i], model.goal_tick);
    ck_assert_uint_ge(model.due_tick[i], model.last_tick);
    model.last_tick = model.due_tick[i];
    model.due_tick[i] = 0;
    for (long n = model.meddles ? random() % 4 : 0; n > 0; n--) {
        model_meddle();
    }
}

/* All that can be seen from outside; next_ms against the truth. */
static void model_compare(void)
{
    uint64_t count = 0;
    uint64_t first = UINT64_MAX;
    uint64_t wait = wheel_next_ms(&wheel, model.now_ms);

    for (int i = 0; i < N_ENTRIES; i++) {
        ck_assert_int_eq(wheel_pending(&model.entries[i]), model.due_tick[i] != 0);
        if (model.due_tick[i] != 0) {
            ck_assert_uint_gt(model.due_tick[i], model.goal_tick);
            count++;
            first = model.due_tick[i] < first ? model.due_tick[i] : first;
        }
    }
    ck_assert_uint_eq(wheel.count, count);
    if (count == 0) {
        ck_assert_uint_eq(wait, UINT64_MAX);
        return;
    }
    ck_assert_uint_le(model.now_ms + wait, first * WHEEL_TICK_MS);
    /* exact within the level where it is due; a wake-up must get on with something */
    ck_assert_uint_gt(model.now_ms + wait, model.goal_tick * WHEEL_TICK_MS);
    if (first / 64 == model.goal_tick / 64) {
        ck_assert_uint_eq(model.now_ms + wait, first * WHEEL_TICK_MS);
    }
}

START_TEST(behaves_as_the_model)
{
    srandom((unsigned)_i + 1);
    memset(&model, 0, sizeof(model));
    model.now_ms = _i % 3 == 0 ? 0 : random_span() * 1000;
    model.goal_tick = model.now_ms / WHEEL_TICK_MS;
    model.meddles = _i % 2 == 0;
    wheel_init(&wheel, model.now_ms);
    for (int round = 0; round < 500; round++) {
        for (long n = random() % 6; n > 0; n--) {
            model_meddle();
        }
        switch (random() % 4) {
        case 0: /* far */
            model.now_ms += random_span();
            break;
        case 1: /* straight to where something may happen */
            if (wheel.count > 0) {
                model.now_ms += wheel_next_ms(&wheel, model.now_ms);
            }
            break;
        default: /* near */
            model.now_ms += (uint64_t)(random() % 100);
            break;
        }
        model.goal_tick = model.now_ms / WHEEL_TICK_MS;
        model.last_tick = 0;
        wheel_advance(&wheel, model.now_ms, model_fire, &model);
        model_compare();
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/wheel");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, empty_wheel);
    tcase_add_loop_test(tc, fires_at_its_tick, 0, 7);
    tcase_add_test(tc, a_past_deadline_fires_at_the_next_tick);
    tcase_add_test(tc, time_going_back_does_nothing);
    tcase_add_test(tc, set_again_moves);
    tcase_add_test(tc, clearing_leaves_no_trace);
    tcase_add_test(tc, beyond_the_horizon_waits_its_time);
    tcase_add_test(tc, the_end_of_time_is_bearable);
    tcase_add_test(tc, fire_may_clear_who_is_next);
    tcase_add_test(tc, fire_may_move_who_is_next);
    tcase_add_test(tc, setting_oneself_in_the_past_does_not_spin);
    tcase_add_test(tc, fire_may_free);
    tcase_add_loop_test(tc, behaves_as_the_model, 0, 12);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
