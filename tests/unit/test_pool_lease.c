/*
 * Leases: every rule with a clock of the test's own, places left at any instruction, interference
 * at any instruction, and processes that take and release at the same time or are killed.
 */
#include "pool/lease.h"

#include <check.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACES 8 /* of a set, in which all keys with the same low 17 bits are */
#define SETS   (SB_LEASES_MAX / PLACES)
#define UNIT   LEASE_UNIT_MS
#define HOUR   3600000

static struct scoreboard sb;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 4, 1, 1), 0);
    srandom(5);
}

static void teardown(void)
{
    scoreboard_destroy(&sb);
}

/* Keys of one set; n from 0 on. */
static uint64_t key_in(uint64_t set, uint64_t n)
{
    return set + (n + 1) * SETS * UINT64_C(0x10001);
}

static struct lease_hold take(uint64_t key, uint32_t row, uint64_t now_ms)
{
    struct lease_hold hold;
    ck_assert(lease_take(&sb, key, row, now_ms, &hold));
    ck_assert_uint_ne(hold.place, 0);
    return hold;
}

static bool is_held(uint64_t key, uint64_t now_ms)
{
    struct lease_info info;
    return lease_find(&sb, key, now_ms, &info);
}

static void expect(uint64_t key, uint64_t now_ms, uint32_t row, uint32_t sessions)
{
    struct lease_info info = {0};
    ck_assert(lease_find(&sb, key, now_ms, &info));
    ck_assert_uint_eq(info.row, row);
    ck_assert_uint_eq(info.sessions, sessions);
}

/* From 0 on, where units of 32 bits end, and where nobody will ever be. */
static const uint64_t starts[] = {
    0,
    1,
    UNIT *(UINT64_C(1) << 32) - 120001,
    UNIT *(UINT64_C(1) << 31) - 120001,
    UINT64_MAX / 2,
    UINT64_MAX - UINT64_C(10) * 24 * HOUR,
};

#define N_STARTS (int)(sizeof(starts) / sizeof(starts[0]))

START_TEST(holds_while_used_and_a_while_longer)
{
    uint64_t t = starts[_i];
    struct lease_info info;

    ck_assert(!is_held(7, t));
    struct lease_hold first = take(7, 8191, t);
    struct lease_hold second = take(7, 8191, t + 10);
    expect(7, t + 10, 8191, 2);
    ck_assert(!is_held(8, t + 10));
    lease_release(&sb, &first, 8191, t + 20000, 5000);
    ck_assert_uint_eq(first.place, 0);
    ck_assert_uint_eq(first.tag, 0);
    expect(7, t + 20000, 8191, 1);
    lease_release(&sb, &second, 8191, t + 40000, 5000);
    expect(7, t + 40000, 8191, 0);
    ck_assert(lease_find(&sb, 7, t + 41000, &info));
    ck_assert_uint_ge(info.ends_ms, t + 45000);
    ck_assert_uint_lt(info.ends_ms, t + 45000 + UNIT);
    ck_assert(is_held(7, t + 44999));
    ck_assert(!is_held(7, t + 45000 + UNIT));
    ck_assert(!is_held(7, t + HOUR));
    take(7, 0, t + HOUR);
    expect(7, t + HOUR, 0, 1);
}
END_TEST

START_TEST(ends_at_once_if_told_so)
{
    uint64_t t = starts[_i];
    struct lease_hold hold = take(7, 3, t);

    lease_release(&sb, &hold, 3, t + 1000, 0);
    ck_assert(!is_held(7, t + 1000));
    hold = take(7, 3, t + 2000);
    lease_release(&sb, &hold, 3, t + 2000, UINT64_MAX);
    ck_assert(is_held(7, t + 2000 + UINT64_C(300) * 24 * HOUR));
}
END_TEST

START_TEST(sessions_must_renew)
{
    uint64_t t = starts[_i], end = t + 10 * LEASE_RENEW_MS;
    struct lease_hold kept = take(7, 3, t), left = take(8, 4, t);

    for (uint64_t now = t; now <= end; now += LEASE_RENEW_MS)
        lease_renew(&sb, &kept, 3, now);
    expect(7, end, 3, 1);
    expect(7, end + LEASE_HOLD_MS - UNIT, 3, 1);
    ck_assert(!is_held(7, end + LEASE_HOLD_MS + UNIT));
    expect(8, t + LEASE_HOLD_MS - UNIT, 4, 1);
    ck_assert(!is_held(8, t + LEASE_HOLD_MS + UNIT));
    /* the dead one's session counts no more, and its release says nothing */
    struct lease_hold next = take(8, 4, t + 2 * LEASE_HOLD_MS);
    expect(8, t + 2 * LEASE_HOLD_MS, 4, 1);
    lease_release(&sb, &left, 4, t + 2 * LEASE_HOLD_MS, 1000);
    expect(8, t + 2 * LEASE_HOLD_MS, 4, 1);
    lease_renew(&sb, &next, 5, t + 3 * LEASE_HOLD_MS); /* not its row */
    ck_assert(!is_held(8, t + 3 * LEASE_HOLD_MS + UNIT));
}
END_TEST

/* A renewal that was late to be written, or of a clock that lags. */
START_TEST(renewals_never_go_back)
{
    uint64_t t = starts[_i] + 2 * LEASE_HOLD_MS;
    struct lease_hold hold = take(7, 3, t);

    lease_renew(&sb, &hold, 3, t - LEASE_HOLD_MS + 2 * UNIT);
    expect(7, t + LEASE_HOLD_MS - UNIT, 3, 1);
    expect(7, t - 10 * UNIT, 3, 1); /* another clock, a little behind */
}
END_TEST

/* What was set by earlier releases holds although a worker with the other sessions is dead. */
START_TEST(the_end_outlasts_the_dead)
{
    uint64_t t = starts[_i];
    struct lease_hold hold = take(7, 3, t);

    take(7, 3, t);
    lease_release(&sb, &hold, 3, t, HOUR);
    expect(7, t + LEASE_HOLD_MS + UNIT, 3, 0);
    ck_assert(!is_held(7, t + HOUR + UNIT));
}
END_TEST

START_TEST(moves_to_another_backend)
{
    struct lease_hold first = take(7, 3, 0), second = take(7, 3, 0);
    struct lease_hold moved = take(7, 4, 10);

    expect(7, 10, 4, 1);
    lease_release(&sb, &first, 3, 20, 1000);
    expect(7, 20, 4, 1);
    struct lease_hold back = take(7, 3, 30);
    expect(7, 30, 3, 1);
    lease_release(&sb, &second, 3, 40, 1000); /* of the time before */
    lease_renew(&sb, &moved, 4, 50);
    expect(7, 50, 3, 1);
    lease_release(&sb, &back, 3, 60, 0);
    ck_assert(!is_held(7, 60));
}
END_TEST

START_TEST(nothing_is_released_twice)
{
    struct lease_hold none = {0}, stray = {.place = UINT32_MAX, .tag = 1};
    struct lease_hold hold = take(7, 3, 0), copy = hold;

    lease_release(&sb, &none, 3, 0, 1000);
    lease_renew(&sb, &none, 3, 0);
    lease_release(&sb, &stray, 3, 0, 1000);
    lease_release(&sb, &hold, 3, 0, 1000);
    lease_release(&sb, &hold, 3, 0, HOUR);
    lease_release(&sb, &copy, 3, 0, HOUR); /* no session is left to end */
    expect(7, 999, 3, 0);
    ck_assert(!is_held(7, 1000 + UNIT));
}
END_TEST

START_TEST(zero_is_a_key)
{
    take(0, 3, 0);
    expect(0, 0, 3, 1);
    expect(1, 0, 3, 1);
    take(UINT64_MAX, 4, 0);
    expect(UINT64_MAX, 0, 4, 1);
}
END_TEST

START_TEST(put_and_drop)
{
    uint64_t t = starts[_i];

    ck_assert(lease_put(&sb, 7, 3, t, 1000));
    expect(7, t + 999, 3, 0);
    ck_assert(lease_put(&sb, 7, 3, t + 500, 1000));
    expect(7, t + 1499, 3, 0);
    ck_assert(!is_held(7, t + 1500 + UNIT));
    ck_assert(lease_put(&sb, 7, 4, t + 600, 1000));
    expect(7, t + 600, 4, 0);
    lease_drop(&sb, 7);
    ck_assert(!is_held(7, t + 600));
    lease_drop(&sb, 7);
    ck_assert(lease_put(&sb, 7, 5, t + 600, 1000));
    expect(7, t + 600, 5, 0);
    struct lease_hold hold = take(7, 5, t + 700);
    lease_drop(&sb, 7);
    take(7, 5, t + 800);
    lease_release(&sb, &hold, 5, t + 900, 0); /* the dropped one */
    expect(7, t + 900, 5, 1);
}
END_TEST

/* Eight keys of set 9; 3 and 5 have sessions, the others end in the order 1 6 0 2 7 4. */
static void fill_set(uint64_t t)
{
    for (uint32_t n = 0; n < PLACES; n++) {
        struct lease_hold hold = take(key_in(9, n), 100 + n, t);
        if (n != 3 && n != 5)
            lease_release(&sb, &hold, 100 + n, t, ((n * 5 + 3) % 8 + 1) * 10000);
    }
}

static uint32_t still_held(uint64_t t)
{
    uint32_t mask = 0;
    for (uint32_t n = 0; n < 2 * PLACES; n++)
        mask |= (uint32_t)is_held(key_in(9, n), t) << n;
    return mask;
}

START_TEST(whoever_ends_first_makes_room)
{
    uint64_t t = starts[_i];

    fill_set(t);
    ck_assert_uint_eq(still_held(t), 0xff);
    take(key_in(9, 8), 200, t);
    ck_assert_uint_eq(still_held(t), 0x1fd);
    ck_assert(lease_put(&sb, key_in(9, 9), 200, t, 1000)); /* ends before all others */
    ck_assert_uint_eq(still_held(t), 0x3bd);
    take(key_in(9, 10), 200, t);
    ck_assert_uint_eq(still_held(t), 0x5bd);
    /* what has ended goes before what has not, and before what has sessions */
    t += 50000 + UNIT;
    take(key_in(9, 11), 200, t);
    ck_assert_uint_eq(still_held(t), 0xdbc);
    lease_drop(&sb, key_in(9, 7));
    take(key_in(9, 12), 200, t);
    take(key_in(9, 13), 200, t);
    ck_assert_uint_eq(still_held(t), 0x3d38);
    ck_assert_uint_eq(atomic_load(&sb.header->leases_refused), 0);
}
END_TEST

START_TEST(no_room_among_sessions)
{
    uint64_t t = starts[_i];
    struct lease_hold holds[PLACES], none = {.place = 1, .tag = 1};

    for (uint32_t n = 0; n < PLACES; n++)
        holds[n] = take(key_in(9, n), 100 + n, t);
    ck_assert(!lease_take(&sb, key_in(9, 8), 5, t, &none));
    ck_assert_uint_eq(none.place + none.tag, 0);
    ck_assert_uint_eq(atomic_load(&sb.header->leases_refused), 1);
    ck_assert(!lease_put(&sb, key_in(9, 8), 5, t, 1000));
    ck_assert_uint_eq(atomic_load(&sb.header->leases_refused), 1);
    for (uint32_t n = 0; n < PLACES; n++)
        expect(key_in(9, n), t, 100 + n, 1);
    take(key_in(9, 3), 103, t); /* who has one already needs none */
    take(key_in(10, 0), 5, t);  /* other sets have room */

    lease_release(&sb, &holds[6], 106, t, HOUR);
    take(key_in(9, 8), 5, t);
    ck_assert_uint_eq(still_held(t), 0x1bf);
    /* nobody renews: all are free, and what the old ones say concerns nobody */
    t += LEASE_HOLD_MS + UNIT;
    ck_assert_uint_eq(still_held(t), 0);
    for (uint32_t n = 0; n < PLACES; n++)
        take(key_in(9, 8 + n), 100 + n, t);
    for (uint32_t n = 0; n < PLACES; n++) {
        lease_renew(&sb, &holds[n], 100 + n, t + LEASE_HOLD_MS);
        lease_release(&sb, &holds[n], 100 + n, t, HOUR);
    }
    for (uint32_t n = 0; n < PLACES; n++)
        expect(key_in(9, 8 + n), t, 100 + n, 1);
    ck_assert_uint_eq(still_held(t + LEASE_HOLD_MS + UNIT), 0);
}
END_TEST

START_TEST(more_sessions_than_can_be_counted)
{
    enum { COUNTED = 65534, MORE = 10 };
    struct lease_hold *holds = calloc(COUNTED + MORE, sizeof(*holds));
    bool all = true;

    for (int i = 0; i < COUNTED; i++)
        all = all && lease_take(&sb, 7, 3, 0, &holds[i]);
    ck_assert(all);
    expect(7, 0, 3, COUNTED);
    struct lease_hold last = holds[COUNTED - 1];
    lease_release(&sb, &last, 3, 0, 0);
    expect(7, 0, 3, COUNTED - 1);
    for (int i = 0; i < MORE; i++)
        all = all && lease_take(&sb, 7, 3, 0, &holds[COUNTED - 1 + i]);
    ck_assert(all);
    expect(7, 0, 3, 65535);
    for (int i = 0; i < COUNTED + MORE - 1; i++)
        lease_release(&sb, &holds[i], 3, 1000, 0);
    ck_assert(is_held(7, LEASE_HOLD_MS - UNIT));
    ck_assert(!is_held(7, LEASE_HOLD_MS + UNIT));
    take(7, 3, HOUR);
    expect(7, HOUR, 3, 1);
    free(holds);
}
END_TEST

/* Whatever stands there, nothing breaks, and a while later there is room. */
START_TEST(garbage_is_survived)
{
    struct lease_info info = {0};
    bool rows_are_good = true;

    for (int round = 0; round < 3000; round++) {
        for (uint32_t n = 0; n < PLACES; n++) {
            struct sb_lease *place = &sb.leases[9 * PLACES + n];
            uint64_t value = (uint64_t)random() << 33 ^ (uint64_t)random();
            atomic_store(&place->key, key_in(9, n) ^ (uint64_t)(random() & 0xffff));
            atomic_store(&place->value, value >> (random() % 2 * 14));
            atomic_store(&place->held, (uint32_t)random());
        }
        for (uint32_t n = 0; n < PLACES; n++) {
            if (lease_find(&sb, key_in(9, n), 0, &info))
                rows_are_good = rows_are_good && info.row < BACKENDS_MAX;
            struct lease_hold hold = {.place = 9 * PLACES + n + 1, .tag = (uint32_t)random()};
            lease_renew(&sb, &hold, info.row, 0);
            lease_release(&sb, &hold, info.row, 0, 0);
            (void)lease_take(&sb, key_in(9, 8 + n), 1, 0, &hold);
        }
    }
    ck_assert(rows_are_good);
}
END_TEST

/* --- processes --- */

#define PROCESSES 3

/* A child that does not outlive the test; 0 in the child. */
static pid_t fork_bound(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

static int count_failures(const pid_t *pids, int n)
{
    int failed = 0;
    for (int i = 0; i < n; i++) {
        int status;
        failed += waitpid(pids[i], &status, 0) != pids[i] || status != 0;
    }
    return failed;
}

/* Returns when all processes have come as often as this one. */
static void meet(uint32_t process)
{
    scoreboard_bump(&sb.workers[process].heartbeat_ms, 1);
    uint64_t times = atomic_load(&sb.workers[process].heartbeat_ms);
    for (uint32_t p = 0; p < PROCESSES; p++) {
        while (atomic_load(&sb.workers[p].heartbeat_ms) < times)
            sched_yield();
    }
}

/* All take the same new key at once: had it two places, not all would be counted at one. */
static void race_for_new_keys(uint32_t process)
{
    int wrong = 0;
    for (uint64_t round = 0; round < 3000; round++) {
        struct lease_hold hold;
        struct lease_info info;
        uint64_t key = key_in(9, round);
        meet(process);
        wrong += !lease_take(&sb, key, 5, 0, &hold);
        meet(process);
        wrong += !lease_find(&sb, key, 0, &info) || info.sessions != PROCESSES || info.row != 5;
        meet(process);
        lease_release(&sb, &hold, 5, 0, HOUR);
        meet(process);
        wrong += !lease_find(&sb, key, 0, &info) || info.sessions != 0;
    }
    _exit(wrong != 0);
}

START_TEST(no_key_has_two_places)
{
    pid_t pids[PROCESSES];

    for (uint32_t p = 0; p < PROCESSES; p++) {
        pids[p] = fork_bound();
        if (pids[p] == 0)
            race_for_new_keys(p);
    }
    ck_assert_int_eq(count_failures(pids, PROCESSES), 0);
}
END_TEST

#define KEYS 24 /* of two sets: twelve for the eight places of each */

static uint64_t key_of(uint32_t n)
{
    return key_in(9 + n % 2, n / 2);
}

/* Rows that key n is ever given. */
static uint32_t row_of(uint32_t n, uint32_t random_bits)
{
    return 16 * n + random_bits % 3;
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static _Atomic uint64_t *clock_ms(void)
{
    return &sb.header->monitor_heartbeat_ms;
}

static int wrong_rows(uint64_t now_ms)
{
    int wrong = 0;
    for (uint32_t n = 0; n < KEYS; n++) {
        struct lease_info info;
        if (lease_find(&sb, key_of(n), now_ms, &info))
            wrong += info.row / 16 != n || info.row % 16 > 2;
    }
    return wrong;
}

struct session {
    struct lease_hold hold;
    uint32_t n, row;
};

/* Takes and releases as fast as can be, ten sessions at most. */
static int work(uint32_t process, uint32_t turns)
{
    struct session sessions[10] = {0};
    uint32_t random_state = process + 1;
    int wrong = 0;

    for (uint32_t turn = 0; turn < turns; turn++) {
        uint32_t bits = next_random(&random_state);
        struct session *session = &sessions[bits % 10];
        uint64_t now = atomic_load_explicit(clock_ms(), memory_order_relaxed);
        if (session->hold.place != 0) {
            lease_release(&sb, &session->hold, session->row, now, bits >> 30 == 0 ? 0 : bits >> 16);
        } else {
            session->n = (bits >> 8) % KEYS;
            session->row = row_of(session->n, bits >> 28);
            (void)lease_take(&sb, key_of(session->n), session->row, now, &session->hold);
        }
        if (bits % 64 == 0)
            lease_drop(&sb, key_of((bits >> 8) % KEYS));
        if (bits % 16 == 0)
            wrong += wrong_rows(now);
        scoreboard_bump(&sb.workers[process].connections_total, 1);
    }
    for (int s = 0; s < 10; s++)
        lease_release(&sb, &sessions[s].hold, sessions[s].row, atomic_load(clock_ms()), 1000);
    return wrong;
}

/* Nobody holds any: no session is left, all ends, and every place can be taken. */
static void check_end(uint64_t now_ms, uint64_t gone_ms)
{
    int held = 0, ended = 0, taken = 0;

    ck_assert_int_eq(wrong_rows(now_ms), 0);
    for (uint32_t n = 0; n < KEYS; n++) {
        struct lease_info info = {0};
        held += lease_find(&sb, key_of(n), now_ms, &info) && info.sessions != 0;
        ended += !is_held(key_of(n), gone_ms);
    }
    ck_assert_int_eq(held, 0);
    ck_assert_int_eq(ended, KEYS);
    for (uint32_t n = 0; n < 2 * PLACES; n++) {
        struct lease_hold hold;
        taken += lease_take(&sb, key_of(n), 1, gone_ms, &hold);
    }
    ck_assert_int_eq(taken, 2 * PLACES);
}

START_TEST(everything_returns_to_zero)
{
    pid_t pids[PROCESSES];

    atomic_store(clock_ms(), 1000000);
    for (uint32_t p = 0; p < PROCESSES; p++) {
        pids[p] = fork_bound();
        if (pids[p] == 0)
            _exit(work(p, 60000) != 0);
    }
    for (int i = 0; i < 1000; i++) {
        atomic_fetch_add(clock_ms(), 7); /* all of it less than LEASE_HOLD_MS */
        sched_yield();
    }
    ck_assert_int_eq(count_failures(pids, PROCESSES), 0);
    uint64_t now = atomic_load(clock_ms());
    check_end(now, now + 70000);
}
END_TEST

START_TEST(killed_at_random)
{
    int wrong = 0;

    for (int round = 0; round < 150; round++) {
        uint64_t now = 1000000 + (uint64_t)round * HOUR;
        pid_t pids[2];
        atomic_store(clock_ms(), now);
        for (uint32_t p = 0; p < 2; p++) {
            pids[p] = fork_bound();
            if (pids[p] == 0)
                _exit(work(p, UINT32_MAX) != 0);
        }
        uint64_t until =
            atomic_load(&sb.workers[0].connections_total) + 1 + (uint64_t)random() % 300;
        while (atomic_load(&sb.workers[0].connections_total) < until)
            sched_yield();
        for (int p = 0; p < 2; p++) {
            kill(pids[p], SIGKILL);
            waitpid(pids[p], NULL, 0);
        }
        wrong += wrong_rows(now);
        check_end(now + LEASE_HOLD_MS + UNIT, now + LEASE_HOLD_MS + UNIT + 70000);
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool lease");
    TCase *rules = tcase_create("rules");
    TCase *processes = tcase_create("processes");

    tcase_set_timeout(rules, 60);
    tcase_add_checked_fixture(rules, setup, teardown);
    tcase_add_loop_test(rules, holds_while_used_and_a_while_longer, 0, N_STARTS);
    tcase_add_loop_test(rules, ends_at_once_if_told_so, 0, N_STARTS);
    tcase_add_loop_test(rules, sessions_must_renew, 0, N_STARTS);
    tcase_add_loop_test(rules, renewals_never_go_back, 0, N_STARTS);
    tcase_add_loop_test(rules, the_end_outlasts_the_dead, 0, N_STARTS);
    tcase_add_test(rules, moves_to_another_backend);
    tcase_add_test(rules, nothing_is_released_twice);
    tcase_add_test(rules, zero_is_a_key);
    tcase_add_loop_test(rules, put_and_drop, 0, N_STARTS);
    tcase_add_loop_test(rules, whoever_ends_first_makes_room, 0, N_STARTS);
    tcase_add_loop_test(rules, no_room_among_sessions, 0, N_STARTS);
    tcase_add_test(rules, more_sessions_than_can_be_counted);
    tcase_add_test(rules, garbage_is_survived);
    suite_add_tcase(suite, rules);

    tcase_set_timeout(processes, 120);
    tcase_add_checked_fixture(processes, setup, teardown);
    tcase_add_test(processes, no_key_has_two_places);
    tcase_add_test(processes, everything_returns_to_zero);
    tcase_add_test(processes, killed_at_random);
    suite_add_tcase(suite, processes);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
