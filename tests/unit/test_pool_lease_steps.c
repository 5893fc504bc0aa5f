/*
 * Leases seen between any two steps: one process's call is broken off before each of its atomic
 * operations, for ever or while others do what they like. For that the table's code is compiled in
 * here, with atomic operations that say when they come; one process plays all parts.
 */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

static void before_step(void);

static uint64_t load64(const _Atomic uint64_t *word, memory_order order)
{
    before_step();
    return atomic_load_explicit(word, order);
}

static uint32_t load32(const _Atomic uint32_t *word, memory_order order)
{
    before_step();
    return atomic_load_explicit(word, order);
}

static bool swap64(_Atomic uint64_t *word, uint64_t *from, uint64_t to)
{
    before_step();
    return atomic_compare_exchange_strong(word, from, to);
}

static bool swap32(_Atomic uint32_t *word, uint32_t *from, uint32_t to)
{
    before_step();
    return atomic_compare_exchange_strong(word, from, to);
}

/* Headers with atomic operations of their own come first. */
#include "pool/lease.h"

#undef atomic_load_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit
#define atomic_load_explicit(word, order)                                                          \
    _Generic((word), _Atomic uint32_t * : load32, default : load64)(word, order)
#define atomic_compare_exchange_strong_explicit(word, from, to, done, failed) swap64(word, from, to)
#define atomic_compare_exchange_weak_explicit(word, from, to, done, failed)   swap32(word, from, to)

#include "../../src/pool/lease.c"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define SET      9
#define KEYS     12 /* of that set */
#define START_MS UINT64_C(1000000)
#define LONG_MS  (LEASE_HOLD_MS + 2 * LEASE_UNIT_MS)

static struct scoreboard sb;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 1, 1, 1), 0);
}

static void teardown(void)
{
    scoreboard_destroy(&sb);
}

static uint64_t key_of(uint32_t n)
{
    return SET + (n + 1) * SETS * UINT64_C(0x10001);
}

/* Each key has rows of its own. */
static uint32_t own_row(uint32_t n, uint32_t which)
{
    return 16 * n + which;
}

static struct sb_lease *set(void)
{
    return &sb.leases[SET * SET_PLACES];
}

static void empty_set(void)
{
    memset(set(), 0, SET_PLACES * sizeof(struct sb_lease));
}

static bool sees_wrong_row(uint64_t now_ms)
{
    bool wrong = false;
    for (uint32_t n = 0; n < KEYS; n++) {
        struct lease_info info;
        if (lease_find(&sb, key_of(n), now_ms, &info))
            wrong = wrong || info.row / 16 != n;
    }
    return wrong;
}

static bool has_two_places(uint32_t n)
{
    int found = 0;
    for (uint32_t i = 0; i < SET_PLACES; i++)
        found +=
            is_lease(atomic_load(&set()[i].value)) && is_of(atomic_load(&set()[i].key), key_of(n));
    return found > 1;
}

/* Nobody is in the middle of a call. */
static bool has_claims(void)
{
    bool any = false;
    for (uint32_t i = 0; i < SET_PLACES; i++)
        any = any || is_claim(atomic_load(&set()[i].value));
    return any;
}

static uint32_t count_sessions(uint32_t n, uint64_t now_ms)
{
    struct lease_info info = {0};
    return lease_find(&sb, key_of(n), now_ms, &info) ? info.sessions : 0;
}

/* --- death before each step --- */

static int steps_to_live; /* 0: for ever */
static jmp_buf death;

static int turmoil; /* others act before one step in so many; 0: none */
static void (*others_act)(void);

static void before_step(void)
{
    if (steps_to_live > 0 && --steps_to_live == 0)
        longjmp(death, 1);
    if (turmoil > 0) {
        int rest = turmoil;
        turmoil = 0; /* their own calls are not broken off */
        if (random() % rest == 0)
            others_act();
        turmoil = rest;
    }
}

enum call {
    CALL_TAKE_FREE,
    CALL_TAKE_EVICTING,
    CALL_TAKE_JOINING,
    CALL_TAKE_MOVING,
    CALL_TAKE_WRITING_OFF,
    CALL_RELEASE,
    CALL_PUT,
    CALL_DROP,
    CALL_COUNT
};

static struct lease_hold prepared; /* on key 2 */

/* Keys 0 to 7 fill the set; 2 and 5 have sessions, 0 would end first. */
static void prepare(enum call call)
{
    struct lease_hold hold;

    empty_set();
    for (uint32_t n = 0; n < SET_PLACES; n++) {
        lease_take(&sb, key_of(n), own_row(n, 0), START_MS, &hold);
        if (n == 2)
            prepared = hold;
        if (n != 2 && n != 5)
            lease_release(&sb, &hold, own_row(n, 0), START_MS, (n + 1) * 1000);
    }
    if (call == CALL_TAKE_FREE)
        lease_drop(&sb, key_of(3));
}

static void do_call(enum call call)
{
    struct lease_hold hold;
    switch (call) {
    case CALL_TAKE_FREE:
    case CALL_TAKE_EVICTING:
        lease_take(&sb, key_of(8), own_row(8, 0), START_MS, &hold);
        break;
    case CALL_TAKE_JOINING:
        lease_take(&sb, key_of(2), own_row(2, 0), START_MS, &hold);
        break;
    case CALL_TAKE_MOVING:
        lease_take(&sb, key_of(2), own_row(2, 1), START_MS, &hold);
        break;
    case CALL_TAKE_WRITING_OFF:
        lease_take(&sb, key_of(2), own_row(2, 0), START_MS + LONG_MS, &hold);
        break;
    case CALL_RELEASE:
        lease_release(&sb, &prepared, own_row(2, 0), START_MS, 0);
        break;
    case CALL_PUT:
        lease_put(&sb, key_of(8), own_row(8, 0), START_MS, 5000);
        break;
    case CALL_DROP:
        lease_drop(&sb, key_of(5));
        break;
    case CALL_COUNT:
        break;
    }
}

/* Whether it died: false when the call took no more than so many steps. */
static bool dies_after(enum call call, int steps)
{
    prepare(call);
    if (setjmp(death) != 0)
        return true;
    steps_to_live = steps + 1;
    do_call(call);
    steps_to_live = 0;
    return false;
}

/* Another worker takes the key, at once and on the same backend: it must succeed, and be counted.
 */
static bool can_be_taken(uint32_t n)
{
    struct lease_hold hold;
    uint32_t before = count_sessions(n, START_MS);
    bool taken = lease_take(&sb, key_of(n), own_row(n, 0), START_MS, &hold);
    uint32_t counted = count_sessions(n, START_MS);
    return taken && (counted == before + 1 || counted == 1) && !has_two_places(n);
}

static bool has_healed(uint64_t now_ms)
{
    struct lease_hold hold;
    bool healed = true;
    for (uint32_t n = 4; n < 4 + SET_PLACES; n++)
        healed = healed && lease_take(&sb, key_of(n), own_row(n, 0), now_ms, &hold);
    for (uint32_t n = 4; n < 4 + SET_PLACES; n++)
        healed = healed && count_sessions(n, now_ms) == 1;
    return healed;
}

START_TEST(death_before_each_step)
{
    enum call call = (enum call)_i;
    int steps = 0, bad = 0;

    for (; dies_after(call, steps); steps++) {
        bad += sees_wrong_row(START_MS) || !can_be_taken(2) || !can_be_taken(8) ||
               sees_wrong_row(START_MS);
        dies_after(call, steps);
        bad += !has_healed(START_MS + 2 * LONG_MS) || sees_wrong_row(START_MS + 2 * LONG_MS);
    }
    ck_assert_int_eq(bad, 0);
    ck_assert_int_gt(steps, 3);
}
END_TEST

/*
 * --- others go on meanwhile ---
 *
 * Everything is drawn: what the table has seen before, what is called, before which steps others
 * act, and what they do, at times from at once to long after sessions are written off.
 */

#define SESSIONS 6

struct session {
    struct lease_hold hold;
    uint32_t n, which;
};

static struct session sessions[SESSIONS];
static uint64_t now_ms;

static void take(struct session *session, uint64_t at_ms)
{
    (void)lease_take(&sb, key_of(session->n), own_row(session->n, session->which), at_ms,
                     &session->hold);
}

static void release(struct session *session, uint64_t at_ms)
{
    lease_release(&sb, &session->hold, own_row(session->n, session->which), at_ms,
                  (uint64_t)(random() % 4) * 1000);
}

static void put(struct session *session, uint64_t at_ms)
{
    (void)lease_put(&sb, key_of(session->n), own_row(session->n, session->which), at_ms, 2000);
}

static void drop(struct session *session, uint64_t at_ms)
{
    (void)at_ms;
    lease_drop(&sb, key_of(session->n));
}

static void renew(struct session *session, uint64_t at_ms)
{
    lease_renew(&sb, &session->hold, own_row(session->n, session->which), at_ms);
}

static void (*const calls[])(struct session *session, uint64_t at_ms) = {
    take, take, take, take, release, put, drop, renew,
};

static void draw_key(struct session *session)
{
    session->n = (uint32_t)random() % KEYS;
    session->which = (uint32_t)random() % 2;
}

/* One thing that another process does. */
static void do_something(void)
{
    static const uint64_t pauses_ms[] = {0, 0, 0, 0, 0, LEASE_UNIT_MS, 1100, LONG_MS};
    struct session *session = &sessions[random() % SESSIONS];
    struct session other = {0};

    now_ms += pauses_ms[random() % 8];
    if (session->hold.place != 0) {
        (random() % 4 == 0 ? renew : release)(session, now_ms);
    } else if (random() % 4 != 0) {
        draw_key(session);
        take(session, now_ms);
    } else {
        draw_key(&other);
        (random() % 3 == 0 ? drop : put)(&other, now_ms);
    }
}

/* Wrong rows are looked for after every step: most would soon be mended. */
static int wrong_rows;

static void do_some_things(void)
{
    for (int n = (int)(random() % 10); n > 0; n--)
        do_something();
    wrong_rows += sees_wrong_row(now_ms);
}

static void forget_everything(void)
{
    empty_set();
    memset(sessions, 0, sizeof(sessions));
    now_ms = START_MS;
    for (int n = (int)(random() % 30); n > 0; n--)
        do_something();
}

/* With all sessions ended, there is none, whoever's it was. */
static bool ends_well(struct session *own)
{
    bool well = !sees_wrong_row(now_ms) && !has_claims();
    for (uint32_t i = 0; i < SESSIONS; i++)
        release(&sessions[i], now_ms);
    release(own, now_ms);
    for (uint32_t n = 0; n < KEYS; n++)
        well = well && count_sessions(n, now_ms) == 0 && !has_two_places(n);
    return well;
}

static bool goes_well(void)
{
    struct session own = {0};
    uint32_t call = (uint32_t)random() % 8;

    forget_everything();
    draw_key(&own);
    if (calls[call] == release || calls[call] == renew)
        take(&own, now_ms);
    turmoil = 1 + (int)random() % 20;
    calls[call](&own, now_ms);
    turmoil = 0;
    return ends_well(&own);
}

START_TEST(others_go_on_meanwhile)
{
    int wrong = 0;

    srandom((unsigned)_i);
    others_act = do_some_things;
    wrong_rows = 0;
    for (int round = 0; round < 8000; round++)
        wrong += !goes_well();
    ck_assert_int_eq(wrong, 0);
    ck_assert_int_eq(wrong_rows, 0);
}
END_TEST

/*
 * As long as no time goes by, counts are exact and nobody is refused, though keys come and go: six
 * sessions of others and one's own never need more than the eight places. All are on one row and
 * end together, so that values alone tell nothing.
 */

static void take_or_release(struct session *session)
{
    if (session->hold.place != 0) {
        lease_release(&sb, &session->hold, 1, now_ms, 1000);
    } else {
        draw_key(session);
        (void)lease_take(&sb, key_of(session->n), 1, now_ms, &session->hold);
    }
}

/* In one call: less than it takes for a place to change hands four times, see lease.c. */
#define ACTS_MAX 7
static int acts;

static void take_or_release_some(void)
{
    for (int n = (int)(random() % 4); n > 0 && acts < ACTS_MAX; n--, acts++)
        take_or_release(&sessions[random() % SESSIONS]);
}

static bool counts_are_exact(const struct session *own)
{
    bool exact = true;
    for (uint32_t n = 0; n < KEYS; n++) {
        uint32_t held = own->hold.place != 0 && own->n == n;
        for (uint32_t i = 0; i < SESSIONS; i++)
            held += sessions[i].hold.place != 0 && sessions[i].n == n;
        exact = exact && count_sessions(n, now_ms) == held;
    }
    return exact;
}

START_TEST(counts_are_exact_meanwhile)
{
    int wrong = 0;

    srandom((unsigned)_i);
    others_act = take_or_release_some;
    for (int round = 0; round < 5000; round++) {
        struct session own = {0};
        forget_everything();
        for (int n = 0; n < 20; n++)
            take_or_release(&sessions[random() % SESSIONS]);
        memset(sessions, 0, sizeof(sessions)); /* of the dead, to be written off */
        now_ms += LONG_MS;
        atomic_store(&sb.header->leases_refused, 0);
        turmoil = 1 + (int)random() % 20;
        for (int n = 0; n < 10; n++) {
            acts = 0;
            take_or_release(&own);
        }
        turmoil = 0;
        wrong +=
            has_claims() || !counts_are_exact(&own) || atomic_load(&sb.header->leases_refused) != 0;
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool lease by steps");
    TCase *tcase = tcase_create("steps");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, death_before_each_step, 0, CALL_COUNT);
    tcase_add_loop_test(tcase, others_go_on_meanwhile, 0, 4);
    tcase_add_loop_test(tcase, counts_are_exact_meanwhile, 0, 4);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
