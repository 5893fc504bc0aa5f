/*
 * Reservations and their repair: each order of death step by step, limits under contention, and
 * processes killed at random.
 */
#include "sluice/scoreboard.h"

#include <check.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4

static struct scoreboard sb;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, WORKERS, 1, 1), 0);
    srandom(1);
}

static void teardown(void)
{
    scoreboard_destroy(&sb);
}

/* The places that the tests use. */
static const struct {
    enum sb_place place;
    uint32_t index;
} places[] = {
    {SB_SLOT, 0},   {SB_SLOT, SB_SLOTS_MAX - 1}, {SB_SERVICE, 0}, {SB_SERVICE, SERVICES_MAX - 1},
    {SB_DAEMON, 0}, {SB_QUEUE, POOLS_MAX - 1},   {SB_BUFFER, 0},
};

#define N_PLACES (sizeof(places) / sizeof(places[0]))

/* The words of a place, found without the help of what is tested. */
struct words {
    _Atomic uint32_t *count, *share, *turns;
    _Atomic uint64_t *intent;
    uint64_t word; /* what the intent says */
};

static struct words words_of(size_t place, uint32_t worker)
{
    uint32_t index = places[place].index;
    struct words words = {
        .count = &sb.header->active,
        .share = &sb.workers[worker].active,
        .turns = &sb.workers[worker].turns,
        .intent = &sb.workers[worker].intent,
        .word = (uint64_t)places[place].place << 32 | (index + 1),
    };
    if (places[place].place == SB_SLOT) {
        words.count = &sb.slot_active[index];
        words.share = &sb.slot_cells[worker * SB_SLOTS_MAX + index].active;
        words.turns = &sb.slot_cells[worker * SB_SLOTS_MAX + index].turns;
    } else if (places[place].place == SB_SERVICE) {
        words.count = &sb.services[index].active;
        words.share = &sb.service_cells[worker * SERVICES_MAX + index].active;
        words.turns = &sb.service_cells[worker * SERVICES_MAX + index].turns;
    } else if (places[place].place == SB_QUEUE) {
        words.count = &sb.pools[index].queued;
        words.share = &sb.pool_cells[worker * POOLS_MAX + index].queued;
        words.turns = &sb.pool_cells[worker * POOLS_MAX + index].turns;
    } else if (places[place].place == SB_BUFFER) {
        words.count = &sb.header->buffer_parts;
        words.share = &sb.workers[worker].buffer_parts;
        words.turns = &sb.workers[worker].buffer_turns;
    }
    return words;
}

static bool reserve(uint32_t worker, size_t place, uint32_t limit)
{
    return scoreboard_reserve(&sb, worker, places[place].place, places[place].index, limit);
}

static void release(uint32_t worker, size_t place)
{
    scoreboard_release(&sb, worker, places[place].place, places[place].index);
}

static uint32_t count_of(size_t place)
{
    return atomic_load(words_of(place, 0).count);
}

static uint32_t share_of(size_t place, uint32_t worker)
{
    return atomic_load(words_of(place, worker).share);
}

static uint32_t sum_of_shares(size_t place)
{
    uint32_t sum = 0;
    for (uint32_t w = 0; w < WORKERS; w++)
        sum += share_of(place, w);
    return sum;
}

START_TEST(reserve_and_release)
{
    size_t p = (size_t)_i;

    ck_assert(reserve(0, p, 0));
    ck_assert(reserve(0, p, 0));
    ck_assert(reserve(1, p, 0));
    ck_assert_uint_eq(count_of(p), 3);
    ck_assert_uint_eq(share_of(p, 0), 2);
    ck_assert_uint_eq(share_of(p, 1), 1);
    release(0, p);
    release(1, p);
    ck_assert_uint_eq(count_of(p), 1);
    ck_assert_uint_eq(share_of(p, 0), 1);
    ck_assert_uint_eq(share_of(p, 1), 0);
    for (uint32_t w = 0; w < WORKERS; w++)
        ck_assert_uint_eq(atomic_load(&sb.workers[w].intent), 0);
    for (size_t other = 0; other < N_PLACES; other++)
        ck_assert(other == p || count_of(other) == 0);
}
END_TEST

START_TEST(release_saturates)
{
    size_t p = (size_t)_i;

    release(0, p);
    ck_assert_uint_eq(count_of(p), 0);
    ck_assert_uint_eq(share_of(p, 0), 0);
    reserve(1, p, 0);
    release(0, p); /* not its own */
    ck_assert_uint_eq(count_of(p), 1);
    ck_assert_uint_eq(share_of(p, 1), 1);
    atomic_store(words_of(p, 1).count, 0); /* a count that is too low already */
    release(1, p);
    ck_assert_uint_eq(count_of(p), 0);
    ck_assert_uint_eq(share_of(p, 1), 0);
}
END_TEST

START_TEST(limits_hold)
{
    size_t p = (size_t)_i;

    ck_assert(reserve(0, p, 2));
    ck_assert(reserve(1, p, 2));
    ck_assert(!reserve(0, p, 2));
    ck_assert(!reserve(2, p, 1));
    ck_assert_uint_eq(count_of(p), 2);
    ck_assert_uint_eq(share_of(p, 0), 1);
    ck_assert_uint_eq(share_of(p, 2), 0);
    ck_assert_uint_eq(atomic_load(&sb.workers[0].intent), 0);
    release(1, p);
    ck_assert(reserve(2, p, 2));
    ck_assert(!reserve(2, p, 2));
    ck_assert(reserve(2, p, 0));
    ck_assert_uint_eq(count_of(p), 3);
}
END_TEST

START_TEST(peaks_are_kept)
{
    for (int i = 0; i < 3; i++) {
        scoreboard_reserve(&sb, 0, SB_SERVICE, 4, 0);
        scoreboard_reserve(&sb, 1, SB_DAEMON, 99, 2);
        scoreboard_reserve(&sb, 1, SB_QUEUE, 4, 2);
    }
    for (int i = 0; i < 3; i++)
        scoreboard_release(&sb, 0, SB_SERVICE, 4);
    scoreboard_reserve(&sb, 0, SB_SERVICE, 4, 0);
    ck_assert_uint_eq(atomic_load(&sb.services[4].peak), 3);
    ck_assert_uint_eq(atomic_load(&sb.services[5].peak), 0);
    ck_assert_uint_eq(atomic_load(&sb.header->peak), 2);
    ck_assert_uint_eq(atomic_load(&sb.pools[4].queued_peak), 2);
    ck_assert_uint_eq(atomic_load(&sb.pools[5].queued_peak), 0);
}
END_TEST

/* Death between two steps: the steps are done by hand, in the order that reservation.c states. */

enum { STEPS = 5 };

static void add(_Atomic uint32_t *word, uint32_t by)
{
    atomic_store(word, atomic_load(word) + by);
}

static void die_reserving(const struct words *words, int steps)
{
    if (steps >= 1)
        atomic_store(words->intent, words->word);
    if (steps >= 2)
        add(words->count, 1);
    if (steps >= 3)
        add(words->share, 1);
    if (steps >= 4)
        add(words->turns, 1);
    if (steps >= 5)
        atomic_store(words->intent, 0);
}

static void die_releasing(const struct words *words, int steps)
{
    if (steps >= 1)
        atomic_store(words->intent, words->word);
    if (steps >= 2)
        add(words->share, UINT32_MAX);
    if (steps >= 3)
        add(words->count, UINT32_MAX);
    if (steps >= 4)
        add(words->turns, 1);
    if (steps >= 5)
        atomic_store(words->intent, 0);
}

/* Worker 1 dies with held places and more; 0 and 2 hold some too, and go on. */
static void check_death(size_t p, uint32_t held, int steps, bool releasing)
{
    setup();
    for (uint32_t i = 0; i < held; i++)
        reserve(1, p, 0);
    reserve(0, p, 0);
    reserve(2, p, 0);
    reserve(2, p, 0);
    struct words words = words_of(p, 1);
    if (releasing)
        die_releasing(&words, steps);
    else
        die_reserving(&words, steps);
    scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(count_of(p), 3);
    ck_assert_uint_eq(share_of(p, 0), 1);
    ck_assert_uint_eq(share_of(p, 1), 0);
    ck_assert_uint_eq(share_of(p, 2), 2);
    ck_assert_uint_eq(atomic_load(words.intent), 0);
    ck_assert_uint_eq(sb.header->n_unsettled, 0);
    scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(count_of(p), 3);
    teardown();
}

START_TEST(every_step_of_reserving)
{
    for (int steps = 0; steps <= STEPS; steps++) {
        for (uint32_t held = 0; held < 3; held++)
            check_death((size_t)_i, held, steps, false);
    }
}
END_TEST

START_TEST(every_step_of_releasing)
{
    for (int steps = 0; steps <= STEPS; steps++) {
        for (uint32_t held = 1; held < 4; held++)
            check_death((size_t)_i, held, steps, true);
    }
}
END_TEST

START_TEST(refused_at_the_limit_and_died)
{
    size_t p = (size_t)_i;
    struct words words = words_of(p, 1);

    reserve(0, p, 1);
    atomic_store(words.intent, words.word); /* nothing else changes on this way */
    scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(count_of(p), 1);
}
END_TEST

START_TEST(somebody_in_the_way)
{
    size_t p = (size_t)_i;
    struct words dead = words_of(p, 1), live = words_of(p, 2);

    reserve(0, p, 0);
    die_reserving(&dead, 2);
    atomic_store(live.intent, live.word); /* stopped in the middle, and not dead */
    scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(count_of(p), 2);
    ck_assert_uint_eq(scoreboard_settle(&sb), 1);
    ck_assert_uint_eq(count_of(p), 2);
    atomic_store(live.intent, 0);
    ck_assert_uint_eq(scoreboard_settle(&sb), 0);
    ck_assert_uint_eq(count_of(p), 1);
    ck_assert_uint_eq(scoreboard_settle(&sb), 0);
    ck_assert_uint_eq(count_of(p), 1);
}
END_TEST

START_TEST(somebody_elsewhere_is_not_in_the_way)
{
    size_t p = (size_t)_i;
    struct words dead = words_of(p, 1);
    struct words live = words_of((p + 1) % N_PLACES, 2);

    die_reserving(&dead, 2);
    die_reserving(&live, 2);
    scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(sb.header->n_unsettled, 0);
    ck_assert_uint_eq(count_of(p), 0);
    ck_assert_uint_eq(atomic_load(live.count), 1);
}
END_TEST

START_TEST(two_die_on_one_place)
{
    size_t p = (size_t)_i;
    struct words first = words_of(p, 1), second = words_of(p, 2);

    reserve(0, p, 0);
    reserve(2, p, 0);
    die_reserving(&first, 2);
    die_releasing(&second, 2);
    scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(sb.header->n_unsettled, 1);
    scoreboard_repair(&sb, 2);
    ck_assert_uint_eq(sb.header->n_unsettled, 0);
    ck_assert_uint_eq(count_of(p), 1);
}
END_TEST

START_TEST(unsettled_places_are_bounded)
{
    atomic_store(&sb.workers[0].intent, 0);
    for (uint32_t i = 0; i < SB_UNSETTLED_MAX + 8; i++) {
        uint64_t word = (uint64_t)SB_SLOT << 32 | (i + 1);
        atomic_store(&sb.workers[0].intent, word); /* is in the way */
        atomic_store(&sb.workers[1].intent, word);
        sb.header->n_unsettled = i < SB_UNSETTLED_MAX ? i : SB_UNSETTLED_MAX;
        for (uint32_t u = 0; u < sb.header->n_unsettled; u++)
            sb.header->unsettled[u] = word + 1000 + u;
        scoreboard_repair(&sb, 1);
        ck_assert_uint_le(sb.header->n_unsettled, SB_UNSETTLED_MAX);
    }
    /* the same place twice is one entry */
    sb.header->n_unsettled = 0;
    for (int i = 0; i < 3; i++) {
        atomic_store(&sb.workers[1].intent, atomic_load(&sb.workers[0].intent));
        scoreboard_repair(&sb, 1);
    }
    ck_assert_uint_eq(sb.header->n_unsettled, 1);
}
END_TEST

START_TEST(everything_is_taken_out)
{
    struct sb_service_sum sum;

    for (uint32_t w = 0; w < 2; w++) {
        for (uint32_t i = 0; i < 5; i++) {
            scoreboard_reserve(&sb, w, SB_DAEMON, 0, 0);
            scoreboard_reserve(&sb, w, SB_SERVICE, i % 2, 0);
            scoreboard_reserve(&sb, w, SB_SLOT, i, 0);
            scoreboard_reserve(&sb, w, SB_QUEUE, i % 3, 0);
            scoreboard_reserve(&sb, w, SB_BUFFER, 0, 0);
        }
        for (uint32_t p = 0; p < 3; p++)
            atomic_store(&sb.pool_cells[w * POOLS_MAX + p].oldest_us, 7);
        atomic_store(&sb.workers[w].waiting, 3);
        atomic_store(&sb.workers[w].buffered_bytes, 3);
        atomic_store(&sb.workers[w].pipes, 3);
    }
    ck_assert_uint_eq(scoreboard_repair(&sb, 1), 5);
    ck_assert_uint_eq(atomic_load(&sb.header->active), 5);
    ck_assert_uint_eq(atomic_load(&sb.workers[1].active), 0);
    ck_assert_uint_eq(atomic_load(&sb.header->buffer_parts), 5);
    ck_assert_uint_eq(atomic_load(&sb.header->buffer_parts_peak), 10);
    ck_assert_uint_eq(atomic_load(&sb.workers[1].buffer_parts), 0);
    ck_assert_uint_eq(atomic_load(&sb.workers[1].waiting), 0);
    ck_assert_uint_eq(atomic_load(&sb.workers[1].buffered_bytes), 0);
    ck_assert_uint_eq(atomic_load(&sb.workers[1].pipes), 0);
    ck_assert_uint_eq(atomic_load(&sb.workers[0].waiting), 3);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_uint_eq(atomic_load(&sb.slot_active[i]), 1);
    for (uint32_t p = 0; p < 3; p++) {
        ck_assert_uint_eq(atomic_load(&sb.pools[p].queued), p == 2 ? 1 : 2);
        ck_assert_uint_eq(atomic_load(&sb.pool_cells[p].oldest_us), 7);
        ck_assert_uint_eq(atomic_load(&sb.pool_cells[POOLS_MAX + p].queued), 0);
        ck_assert_uint_eq(atomic_load(&sb.pool_cells[POOLS_MAX + p].oldest_us), 0);
    }
    for (uint32_t s = 0; s < 2; s++) {
        uint32_t each = s == 0 ? 3 : 2;
        ck_assert_uint_eq(atomic_load(&sb.services[s].active), each);
        scoreboard_sum_service(&sb, s, &sum);
        ck_assert_uint_eq(sum.ended_by[ENDING_WORKER_DIED], each);
        ck_assert_uint_eq(sum.ended, each);
    }
    ck_assert_uint_eq(scoreboard_repair(&sb, 1), 0);
    scoreboard_sum_service(&sb, 0, &sum);
    ck_assert_uint_eq(sum.ended, 3);
}
END_TEST

/* A worker that died of a wild pointer may have left anything. */
START_TEST(garbage_is_survived)
{
    static const uint64_t intents[] = {
        1,
        UINT64_C(1) << 32,
        UINT64_MAX,
        (uint64_t)SB_SLOT << 32 | (SB_SLOTS_MAX + 1),
        (uint64_t)SB_SERVICE << 32 | (SERVICES_MAX + 1),
        (uint64_t)SB_DAEMON << 32 | 2,
        (uint64_t)SB_QUEUE << 32 | (POOLS_MAX + 1),
        (uint64_t)SB_BUFFER << 32 | 2,
        UINT64_C(5) << 32 | 1,
        UINT64_C(0x100000001) << 32 | 1,
    };

    for (size_t i = 0; i < sizeof(intents) / sizeof(intents[0]); i++) {
        atomic_store(&sb.workers[1].intent, intents[i]);
        scoreboard_repair(&sb, 1);
        ck_assert_uint_eq(atomic_load(&sb.workers[1].intent), 0);
        ck_assert_uint_eq(sb.header->n_unsettled, 0);
    }
    scoreboard_reserve(&sb, 0, SB_SLOT, 3, 0);
    atomic_store(&sb.slot_cells[SB_SLOTS_MAX + 3].active, UINT32_MAX);
    scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[3]), 0);
    scoreboard_release(&sb, 0, SB_SLOT, 3);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[3]), 0);
}
END_TEST

/* Processes */

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

static bool exited_well(pid_t pid)
{
    int status;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

/* Returns when all workers are there. */
static void line_up(uint32_t worker)
{
    atomic_store(&sb.workers[worker].heartbeat_ms, 1);
    for (uint32_t w = 0; w < WORKERS; w++) {
        while (atomic_load(&sb.workers[w].heartbeat_ms) == 0)
            sched_yield();
    }
}

/*
 * Every worker holds at most one place, so with as many places as workers nobody may ever be
 * refused; and nobody, looking at any time, may see more than there are.
 */
static void hammer_and_never_be_refused(uint32_t worker)
{
    line_up(worker);
    for (int i = 0; i < 300000; i++) {
        if (!scoreboard_reserve(&sb, worker, SB_SLOT, 0, WORKERS))
            _exit(1);
        scoreboard_release(&sb, worker, SB_SLOT, 0);
    }
    _exit(0);
}

START_TEST(nobody_is_refused_while_there_is_room)
{
    pid_t pids[WORKERS];

    for (uint32_t w = 0; w < WORKERS; w++) {
        pids[w] = fork_bound();
        if (pids[w] == 0)
            hammer_and_never_be_refused(w);
    }
    int failed = 0;
    for (uint32_t w = 0; w < WORKERS; w++)
        failed += !exited_well(pids[w]);
    ck_assert_int_eq(failed, 0);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[0]), 0);
}
END_TEST

static void hammer_at_the_limit(uint32_t worker, uint32_t limit)
{
    line_up(worker);
    for (int i = 0; i < 300000; i++) {
        bool got = scoreboard_reserve(&sb, worker, SB_SLOT, 0, limit);
        if (atomic_load(&sb.slot_active[0]) > limit)
            _exit(1);
        if (got)
            scoreboard_release(&sb, worker, SB_SLOT, 0);
    }
    _exit(0);
}

START_TEST(the_count_is_never_over_the_limit)
{
    pid_t pids[WORKERS];

    for (uint32_t w = 0; w < WORKERS; w++) {
        pids[w] = fork_bound();
        if (pids[w] == 0)
            hammer_at_the_limit(w, 1 + (uint32_t)_i);
    }
    int failed = 0;
    for (uint32_t w = 0; w < WORKERS; w++)
        failed += !exited_well(pids[w]);
    ck_assert_int_eq(failed, 0);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[0]), 0);
}
END_TEST

/* xorshift: as good as nothing beside a reservation, so that deaths fall into these. */
static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Reserves and releases for ever, until stop; then ends holding what it holds. */
static void work(uint32_t worker, const _Atomic uint32_t *stop)
{
    uint32_t held[N_PLACES] = {0};

    uint32_t seed = (uint32_t)getpid();
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0) {
        uint32_t random_bits = next_random(&seed);
        size_t p = random_bits % N_PLACES;
        if (held[p] != 0 && random_bits >> 31 == 0) {
            release(worker, p);
            held[p]--;
        } else if (held[p] < 3) {
            held[p] += reserve(worker, p, p % 2 == 0 ? 5 : 0);
        }
        scoreboard_bump(&sb.workers[worker].connections_total, 1);
    }
    _exit(0);
}

static void wait_for_turns(uint32_t worker, uint64_t turns)
{
    const _Atomic uint64_t *done = &sb.workers[worker].connections_total;
    uint64_t until = atomic_load(done) + turns;
    while (atomic_load_explicit(done, memory_order_relaxed) < until)
        sched_yield();
}

static void check_counts(void)
{
    for (size_t p = 0; p < N_PLACES; p++)
        ck_assert_uint_eq(count_of(p), sum_of_shares(p));
}

/*
 * Two are killed in turn while a third goes on, which is then stopped and keeps its places: the
 * counts must be its shares. Finally it is repaired too: all counts must be zero.
 */
START_TEST(killed_at_random)
{
    _Atomic uint32_t *stop = &sb.workers[3].waiting;
    int in_the_middle = 0;

    for (int round = 0; round < 80; round++) {
        pid_t pids[3];
        atomic_store(stop, 0);
        pids[2] = fork_bound();
        if (pids[2] == 0)
            work(2, stop);
        for (uint32_t w = 0; w < 2; w++) {
            pids[w] = fork_bound();
            if (pids[w] == 0)
                work(w, stop);
            wait_for_turns(w, 1 + (uint64_t)random() % 300);
            kill(pids[w], SIGKILL);
            ck_assert_int_eq(waitpid(pids[w], NULL, 0), pids[w]);
            in_the_middle += atomic_load(&sb.workers[w].intent) != 0;
            scoreboard_repair(&sb, w);
        }
        wait_for_turns(2, 1);
        atomic_store(stop, 1);
        ck_assert(exited_well(pids[2]));
        ck_assert_uint_eq(scoreboard_settle(&sb), 0);
        ck_assert_uint_eq(share_of(0, 0) + share_of(0, 1), 0);
        check_counts();
        scoreboard_repair(&sb, 2);
        for (size_t p = 0; p < N_PLACES; p++)
            ck_assert_uint_eq(count_of(p), 0);
    }
    ck_assert_int_gt(in_the_middle, 0); /* else this has tested nothing */
}
END_TEST

/* On one place, as fast as can be. */
static void hammer(uint32_t worker, size_t place, const _Atomic uint32_t *stop)
{
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0) {
        reserve(worker, place, 0);
        scoreboard_bump(&sb.workers[worker].connections_total, 1);
        release(worker, place);
    }
    _exit(0);
}

/*
 * What a live worker does meanwhile must never be taken for what a dead one left. The dead one's
 * halves are put there by hand.
 */
START_TEST(settled_among_the_living)
{
    _Atomic uint32_t *stop = &sb.workers[3].waiting;
    size_t p = (size_t)_i;
    struct words dead = words_of(p, 2);
    pid_t pids[2];

    for (uint32_t w = 0; w < 2; w++) {
        pids[w] = fork_bound();
        if (pids[w] == 0)
            hammer(w, p, stop);
        wait_for_turns(w, 1);
    }
    for (int i = 0; i < 1000; i++) {
        atomic_store(dead.intent, dead.word);
        if (i % 3 == 0)
            atomic_fetch_add(dead.count, 1);
        scoreboard_repair(&sb, 2);
    }
    atomic_store(stop, 1);
    for (uint32_t w = 0; w < 2; w++)
        ck_assert(exited_well(pids[w]));
    ck_assert_uint_eq(scoreboard_settle(&sb), 0);
    check_counts();
}
END_TEST

int main(void)
{
    const int n = (int)N_PLACES;
    Suite *suite = suite_create("pool reservation");
    TCase *tcase = tcase_create("counting");
    TCase *steps = tcase_create("steps");
    TCase *processes = tcase_create("processes");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, reserve_and_release, 0, n);
    tcase_add_loop_test(tcase, release_saturates, 0, n);
    tcase_add_loop_test(tcase, limits_hold, 0, n);
    tcase_add_test(tcase, peaks_are_kept);
    tcase_add_loop_test(tcase, refused_at_the_limit_and_died, 0, n);
    tcase_add_loop_test(tcase, somebody_in_the_way, 0, n);
    tcase_add_loop_test(tcase, somebody_elsewhere_is_not_in_the_way, 0, n);
    tcase_add_loop_test(tcase, two_die_on_one_place, 0, n);
    tcase_add_test(tcase, unsettled_places_are_bounded);
    tcase_add_test(tcase, everything_is_taken_out);
    tcase_add_test(tcase, garbage_is_survived);
    suite_add_tcase(suite, tcase);

    tcase_set_timeout(steps, 60);
    tcase_add_loop_test(steps, every_step_of_reserving, 0, n);
    tcase_add_loop_test(steps, every_step_of_releasing, 0, n);
    suite_add_tcase(suite, steps);

    tcase_set_timeout(processes, 120);
    tcase_add_checked_fixture(processes, setup, teardown);
    tcase_add_test(processes, nobody_is_refused_while_there_is_room);
    tcase_add_loop_test(processes, the_count_is_never_over_the_limit, 0, 3);
    tcase_add_test(processes, killed_at_random);
    tcase_add_loop_test(processes, settled_among_the_living, 0, n);
    suite_add_tcase(suite, processes);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
